//! What imports of git histories have written. The metadata of their sessions has the key `import`, and that of their
//! messages the key `commit`.

use super::access::Member;
use super::chat;
use super::db::{Tx, fail};
use super::sql::{Sql, union};
use crate::model::chat::Message;
use crate::model::error::Result;
use crate::model::ids::{MessageId, ProjectId};

/// The condition that the session `s` is one of an import.
const IS_IMPORT: &str = "s.metadata LIKE '%\"import\":%'";

/// The end of a project's imported history.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The commit that was imported first.
    First,
    /// The commit that was imported last.
    Last,
}

/// The message of the first or the last imported commit of each project that has one. Hidden messages are left out.
pub async fn commits(tx: &Tx, projects: &[Member<'_>], edge: Edge) -> Result<Vec<Message>> {
    let sql = union(projects, |sql, project| {
        sql.push("SELECT m.id FROM chat_sessions s JOIN chat_messages m ON m.session_id = s.id WHERE ").push(IS_IMPORT);
        sql.push(" AND s.project_id = ").bind(project);
        sql.push(" AND m.hidden_revision IS NULL AND m.metadata LIKE '%\"commit\":%' ORDER BY m.revision");
        sql.push(if edge == Edge::First { " LIMIT 1" } else { " DESC LIMIT 1" });
        Ok(())
    })?;
    let rows = tx.rows(sql).await?;
    let ids = rows.iter().map(|row| Ok(MessageId(row.try_get("", "id").map_err(fail)?)));
    chat::messages_by_ids(tx, &ids.collect::<Result<Vec<_>>>()?).await
}

/// Whether an import has started a session or added a message in a locked project after a revision.
pub async fn has_written_after(tx: &Tx, project: ProjectId, revision: i32) -> Result<bool> {
    let mut sql = Sql::new("SELECT 1 AS n FROM project_events e JOIN chat_sessions s ON s.id = e.session_id WHERE ");
    sql.push(IS_IMPORT).push(" AND e.kind IN ('SESSION_STARTED', 'MESSAGE_ADDED') AND e.project_id = ");
    sql.bind(project.0).push(" AND e.revision > ").bind(revision).push(" LIMIT 1");
    Ok(tx.row(sql).await?.is_some())
}
