//! `presences`: the users who are present on each server of a PostgreSQL database. A SQLite file has only one server,
//! and no such table.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::access::Member;
use super::db::{Db, Tx, fail};
use super::sql::Sql;
use crate::model::error::Result;
use crate::model::ids::{ProjectId, UserId};
use crate::model::presence::{Person, Presence};

/// The users who are present in these projects, on all servers.
pub async fn of_projects(tx: &Tx, projects: &[Member<'_>]) -> Result<Vec<Presence>> {
    if tx.is_sqlite() {
        return Ok(Vec::new());
    }
    let mut sql = Sql::new("SELECT h.* FROM presences h WHERE h.project_id IN ");
    sql.list(projects.iter().copied());
    let presence = |row: &sea_orm::QueryResult| {
        let id = |column: &str| row.try_get::<Uuid>("", column).map_err(fail);
        let time = |column: &str| row.try_get::<DateTime<Utc>>("", column).map_err(fail);
        Ok(Presence {
            project_id: ProjectId(id("project_id")?),
            person: Person { user_id: UserId(id("user_id")?), since: time("since")? },
            server_id: id("server_id")?,
            seen_at: time("seen_at")?,
        })
    };
    tx.rows(sql).await?.iter().map(presence).collect()
}

/// Replaces the entries of a server, and removes entries that were not renewed since `stale`. Servers write them, not
/// callers. Does nothing on SQLite.
pub async fn keep(
    db: &Db,
    server: Uuid,
    people: Vec<(ProjectId, Person)>,
    now: DateTime<Utc>,
    stale: DateTime<Utc>,
) -> Result<()> {
    let texts = |pick: fn(&(ProjectId, Person)) -> String| {
        let texts: Vec<_> = people.iter().map(pick).collect();
        format!("{{{}}}", texts.join(","))
    };
    let mut sql = Sql::new("SELECT renew_presences(");
    sql.bind(server).push(", ").bind(texts(|(project, _)| project.0.to_string())).push("::uuid[], ");
    sql.bind(texts(|(_, person)| person.user_id.0.to_string())).push("::uuid[], ");
    sql.bind(texts(|(_, person)| person.since.to_rfc3339())).push("::timestamptz[], ");
    sql.bind(now).push(", ").bind(stale).push(")");
    db.run_as_nobody(sql).await
}
