//! The kind of object that an id belongs to.

use uuid::Uuid;

use super::db::{Tx, fail};
use super::sql::Sql;
use crate::model::error::Result;

/// The kinds of objects with their own ids. Code changes share the ids of their versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A user.
    User,
    /// A project.
    Project,
    /// A chat session.
    Session,
    /// A chat message.
    Message,
    /// A file.
    File,
    /// A version of a file.
    FileSnapshot,
    /// A snapshot of a project.
    ProjectSnapshot,
    /// An agent configuration.
    AgentConfiguration,
    /// An access token.
    AccessToken,
}

const TABLES: [(Kind, &str); 9] = [
    (Kind::User, "user_profiles"),
    (Kind::Project, "projects"),
    (Kind::Session, "chat_sessions"),
    (Kind::Message, "chat_messages"),
    (Kind::File, "project_files"),
    (Kind::FileSnapshot, "file_snapshots"),
    (Kind::ProjectSnapshot, "project_snapshots"),
    (Kind::AgentConfiguration, "agent_configurations"),
    (Kind::AccessToken, "access_tokens"),
];

/// Finds the kinds of these ids. This does not check access; reading the object does.
pub async fn kinds(tx: &Tx, ids: &[Uuid]) -> Result<Vec<(Uuid, Kind)>> {
    let mut sql = Sql::new("");
    for (index, (_, table)) in TABLES.iter().enumerate() {
        sql.push(if index == 0 { "" } else { " UNION ALL " })
            .push(&format!("SELECT {index} AS kind, id FROM {table} WHERE id IN "));
        sql.list(ids.iter().copied());
    }
    let mut kinds = Vec::new();
    for row in tx.rows(sql).await? {
        let index: i32 = row.try_get("", "kind").map_err(fail)?;
        let kind = usize::try_from(index).ok().and_then(|index| TABLES.get(index));
        if let Some((kind, _)) = kind {
            kinds.push((row.try_get("", "id").map_err(fail)?, *kind));
        }
    }
    Ok(kinds)
}
