//! `presences`: who listens at which server, where several serve one database. A SQLite file is one server's, and has none.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::db::{Db, Tx, fail};
use super::failure::fail_of;
use super::project::member;
use super::sql::Sql;
use crate::metrics;
use crate::model::error::{Error, Result};
use crate::model::ids::{ProjectId, UserId};
use crate::model::presence::{Person, Presence};

/// Who listens to these projects of the actor's, at all servers.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn of_projects(tx: &Tx, projects: &[ProjectId]) -> Result<Vec<Presence>> {
    if tx.is_sqlite() {
        return Ok(Vec::new());
    }
    let mut sql = Sql::new("SELECT h.* FROM presences h WHERE h.project_id IN ");
    sql.list(projects.iter().map(|id| id.0)).push(" AND ");
    member(&mut sql, "h.project_id", tx.me());
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

/// Says who listens at a server, in place of what it said before, and forgets whoever was not seen since `stale`. It is the
/// server that says so and no caller. Nothing happens on SQLite.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn keep(
    db: &Db,
    server: Uuid,
    here: Vec<(ProjectId, Person)>,
    now: DateTime<Utc>,
    stale: DateTime<Utc>,
) -> Result<()> {
    let Some((_, pool)) = db.postgres() else { return Ok(()) };
    let pool = pool.clone();
    let text = |pick: fn(&(ProjectId, Person)) -> String| here.iter().map(pick).collect::<Vec<_>>();
    let projects = text(|(project, _)| project.0.to_string());
    let people = text(|(_, person)| person.user_id.0.to_string());
    let begun = text(|(_, person)| person.since.to_rfc3339());
    // In a task of its own: a `begin` must not be given up half-way.
    let kept = metrics::spawn(async move {
        let mut tx = pool.begin().await?;
        sqlx::query("SET LOCAL ROLE authenticated").execute(&mut *tx).await?;
        let sql = "SELECT keep_presences($1::text::uuid, $2::text[]::uuid[], $3::text[]::uuid[], $4::text[]::timestamptz[], \
                   $5::text::timestamptz, $6::text::timestamptz)";
        let asked = sqlx::query(sql).bind(server.to_string()).bind(projects).bind(people).bind(begun);
        asked.bind(now.to_rfc3339()).bind(stale.to_rfc3339()).execute(&mut *tx).await?;
        tx.commit().await
    });
    kept.await.map_err(Error::internal)?.map_err(|error: sqlx::Error| fail_of(&error))
}
