//! Databases of the last development version, which recorded many small migrations, and in which some tables and
//! columns have older names.

use std::collections::BTreeSet;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, EntityTrait};
use sea_orm_migration::seaql_migrations;

use crate::m20261130_000000_schema::{Migration, VIEWS, create_rules};
use crate::{dialect, row_security};

/// The migrations of the last development version, oldest first.
const NAMES: [&str; 22] = [
    "m20261123_000001_tables",
    "m20261123_000002_views",
    "m20261124_000003_row_security",
    "m20261124_000004_pasts",
    "m20261124_000005_heads",
    "m20261124_000007_team",
    "m20261124_000008_locks",
    "m20261124_000009_streaming",
    "m20261124_000011_histories",
    "m20261124_000012_addresses",
    "m20261124_000013_presences",
    "m20261128_000014_clustered",
    "m20261129_000015_second_lock",
    "m20261129_000016_head_times",
    "m20261129_000020_exact",
    "m20261129_000030_exact_json",
    "m20261129_000031_profile_sources",
    "m20261129_000044_named_snapshots",
    "m20261129_000045_undone_files",
    "m20261129_000050_token_times",
    "m20261129_000060_version_numbers",
    "m20261129_000061_ended_sessions",
];

/// Whether the database is one of the last development version, complete and without anything newer. It then lacks
/// every migration of this version.
///
/// # Errors
/// [`DbErr::Migration`] if it is one of an earlier development version.
pub async fn is_unsquashed(manager: &SchemaManager<'_>) -> Result<bool, DbErr> {
    if !manager.has_table("seaql_migrations").await? {
        return Ok(false);
    }
    let rows = seaql_migrations::Entity::find().all(manager.get_connection()).await?;
    let recorded: BTreeSet<&str> = rows.iter().map(|row| row.version.as_str()).collect();
    let known = BTreeSet::from(NAMES);
    if recorded.is_empty() || !recorded.is_subset(&known) {
        return Ok(false);
    }
    if recorded != known {
        let [.., last] = NAMES;
        return Err(DbErr::Migration(format!(
            "the database was made by a development version of antiphon, and has {} of its {} migrations: first run `antiphon migrate` \
             of the last development version, whose newest migration is {last}",
            recorded.len(),
            known.len(),
        )));
    }
    Ok(true)
}

/// Converts a database of the last development version to one of [`Migration`]: renames tables and columns, replaces
/// functions, views, triggers and policies, and replaces the recorded migrations. Returns the name of the migration
/// that is now recorded; `None` for other databases, which stay as they are. Run it in a transaction.
///
/// # Errors
/// Those of [`is_unsquashed`].
pub async fn squash(manager: &SchemaManager<'_>) -> Result<Option<String>, DbErr> {
    if !is_unsquashed(manager).await? {
        return Ok(None);
    }
    let connection = manager.get_connection();
    let backend = manager.get_database_backend();
    for view in VIEWS {
        connection.execute_unprepared(&format!("DROP VIEW {view}")).await?;
    }
    if backend == DbBackend::Postgres {
        row_security::run(manager, include_str!("sql/postgres/unsquashed.sql")).await?;
    } else {
        connection.execute_unprepared(include_str!("sql/sqlite/unsquashed.sql")).await?;
    }
    connection.execute_unprepared(&dialect::fill(include_str!("sql/unsquashed.sql"), backend)).await?;
    create_rules(manager).await?;

    let (name, [.., last]) = (Migration.name().to_owned(), NAMES);
    let record = format!(
        "UPDATE seaql_migrations SET version = '{name}' WHERE version = '{last}'; \
         DELETE FROM seaql_migrations WHERE version <> '{name}'"
    );
    connection.execute_unprepared(&record).await?;
    Ok(Some(name))
}
