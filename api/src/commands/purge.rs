//! `antiphon purge`: removes projects that were deleted long ago, with their histories.

use anyhow::ensure;
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, Value};
use uuid::Uuid;

use super::{database::open, terminal::print};
use crate::{config::Settings, model::clock};

/// A deleted project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Time of its last change, which is the deletion.
    pub deleted_at: DateTime<Utc>,
    /// Number of its revisions.
    pub revisions: i32,
}

/// Lists the projects that were deleted at least `days` ago. If `confirmed`, removes each in a transaction of its own, and returns those
/// that it removed: a project that somebody brings back meanwhile stays.
///
/// # Errors
/// Why the database cannot be read or changed.
pub async fn purge(settings: &Settings, days: u32, confirmed: bool) -> anyhow::Result<Vec<Deleted>> {
    let db = open(settings).await?;
    let connection = db.migrations();
    let mut projects = deleted(connection, clock::now() - TimeDelta::days(i64::from(days))).await?;
    if confirmed && !projects.is_empty() {
        lock(connection).await?;
        // An interrupted run leaves indexes behind.
        drop_indexes(connection).await?;
        create_indexes(connection).await?;
        let removed = remove(connection, &mut projects).await;
        let dropped = drop_indexes(connection).await;
        removed.and(dropped)?;
    }
    db.close().await;
    Ok(projects)
}

async fn deleted(connection: &DatabaseConnection, until: DateTime<Utc>) -> Result<Vec<Deleted>, DbErr> {
    let read = "SELECT id, name, updated_at, revision FROM projects WHERE status = 'deleted' ORDER BY updated_at";
    let rows = connection.query_all_raw(Statement::from_string(connection.get_database_backend(), read)).await?;
    let projects = rows.iter().map(|row| {
        Ok(Deleted {
            id: row.try_get("", "id")?,
            name: row.try_get("", "name")?,
            deleted_at: row.try_get("", "updated_at")?,
            revisions: row.try_get("", "revision")?,
        })
    });
    let projects: Vec<Deleted> = projects.collect::<Result<_, DbErr>>()?;
    Ok(projects.into_iter().filter(|project| project.deleted_at <= until).collect())
}

/// Removes the projects, and keeps those in the list that were removed. All other tables follow by their foreign keys.
async fn remove(connection: &DatabaseConnection, projects: &mut Vec<Deleted>) -> Result<(), DbErr> {
    const DELETE: &str = "DELETE FROM projects WHERE id = $1 AND status = 'deleted' AND revision = $2";
    let mut removed = Vec::new();
    for project in projects.drain(..) {
        let values: [Value; 2] = [project.id.into(), project.revisions.into()];
        let delete = Statement::from_sql_and_values(connection.get_database_backend(), DELETE, values);
        if connection.execute_raw(delete).await?.rows_affected() == 1 {
            removed.push(project);
        }
    }
    *projects = removed;
    Ok(())
}

/// Foreign keys without an index that begins with their column, except those to users: a request never follows them to their
/// source, but the removal of each row does.
const UNINDEXED_SQLITE: &str = r#"
    SELECT t.name AS table_name, f."from" AS column_name
    FROM sqlite_schema t JOIN pragma_foreign_key_list(t.name) f
    WHERE t.type = 'table' AND f."table" <> 'user_profiles' AND NOT EXISTS (
        SELECT 1 FROM pragma_index_list(t.name) l JOIN pragma_index_info(l.name) i
        WHERE NOT l.partial AND i.seqno = 0 AND i.name = f."from")
    ORDER BY 1, 2"#;
const UNINDEXED_POSTGRES: &str = r#"
    SELECT r.relname::text AS table_name, a.attname::text AS column_name
    FROM pg_constraint c
    JOIN pg_class r ON r.oid = c.conrelid AND r.relnamespace = current_schema()::regnamespace
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
    WHERE c.contype = 'f' AND c.confrelid <> 'user_profiles'::regclass AND NOT EXISTS (
        SELECT FROM pg_index i
        WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1] AND i.indpred IS NULL AND i.indisvalid)
    ORDER BY 1, 2"#;

/// Makes sure that this is the only purge: on PostgreSQL two would wait for each other. The lock ends with the connection. A purge can
/// take longer than a login's limit on statements.
async fn lock(connection: &DatabaseConnection) -> anyhow::Result<()> {
    const LOCK: &str = "SELECT pg_try_advisory_lock(hashtext('antiphon purge')) AS locked";
    let backend = connection.get_database_backend();
    if backend == DbBackend::Postgres {
        connection.execute_unprepared("SET statement_timeout = 0").await?;
        let row = connection.query_one_raw(Statement::from_string(backend, LOCK)).await?;
        let is_locked = row.map(|row| row.try_get("", "locked")).transpose()?.unwrap_or(false);
        ensure!(is_locked, "another purge is running");
    }
    Ok(())
}

/// How the names of the indexes of a purge begin.
const PREFIX: &str = "purge_";

/// Creates the missing indexes, so that removing a project takes time in proportion to its size, and not to the size of the
/// database. On PostgreSQL, requests continue meanwhile.
async fn create_indexes(connection: &DatabaseConnection) -> Result<(), DbErr> {
    let backend = connection.get_database_backend();
    let (unindexed, how) = match backend {
        DbBackend::Sqlite => (UNINDEXED_SQLITE, ""),
        _ => (UNINDEXED_POSTGRES, "CONCURRENTLY"),
    };
    for row in connection.query_all_raw(Statement::from_string(backend, unindexed)).await? {
        let (table, column): (String, String) = (row.try_get("", "table_name")?, row.try_get("", "column_name")?);
        let create = format!("CREATE INDEX {how} {PREFIX}{table}_{column} ON {table} ({column})");
        connection.execute_unprepared(&create).await?;
    }
    Ok(())
}

async fn drop_indexes(connection: &DatabaseConnection) -> Result<(), DbErr> {
    const SQLITE: &str = "SELECT name FROM sqlite_schema WHERE type = 'index'";
    const POSTGRES: &str = "SELECT indexname::text AS name FROM pg_indexes WHERE schemaname = current_schema()";
    let backend = connection.get_database_backend();
    let (names, how) = match backend {
        DbBackend::Sqlite => (SQLITE, ""),
        _ => (POSTGRES, "CONCURRENTLY"),
    };
    for row in connection.query_all_raw(Statement::from_string(backend, names)).await? {
        let name: String = row.try_get("", "name")?;
        if name.starts_with(PREFIX) {
            connection.execute_unprepared(&format!("DROP INDEX {how} IF EXISTS {name}")).await?;
        }
    }
    Ok(())
}

/// Purges, or lists what a purge would remove.
pub(super) async fn run(settings: &Settings, days: u32, confirmed: bool) -> anyhow::Result<()> {
    let projects = purge(settings, days, confirmed).await?;
    for Deleted { id, name, deleted_at, revisions } in &projects {
        let time = deleted_at.format("%Y-%m-%d %H:%M");
        print(&format!("{id}  deleted {time} UTC  revisions: {revisions}  {name:?}\n"))?;
    }
    let count = projects.len();
    print(&match confirmed {
        true => format!("projects removed: {count}\n"),
        false if count == 0 => format!("no project was deleted {days} days ago or earlier\n"),
        false => format!("projects to remove: {count}; nothing has changed: add --yes to remove them for ever\n"),
    })
}
