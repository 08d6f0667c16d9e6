//! The whole schema of the first release. The files in `sql` are its present state; later migrations change it in files of their
//! own.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{dialect, row_security};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The tables, those that refer to others before them.
pub(crate) const TABLES: &[&str] = &[
    "project_undone_files",
    "project_undos",
    "project_events",
    "project_snapshot_changes",
    "project_snapshots",
    "file_snapshots",
    "blobs",
    "project_files",
    "streaming_chunks",
    "streaming_messages",
    "hidden_messages",
    "chat_messages",
    "chat_sessions",
    "agent_configuration_versions",
    "agent_configurations",
    "project_former_collaborators",
    "project_invitations",
    "project_collaborators",
    "project_versions",
    "projects",
    "user_preferences",
    "user_profiles",
];

/// The tables that only PostgreSQL has.
const POSTGRES_TABLES: &[&str] = &["presences", "project_members"];

pub(crate) const VIEWS: &[&str] = &[
    "project_overview",
    "recent_chat_activity",
    "file_change_history",
    "user_activity_summary",
    "project_collaboration_overview",
    "file_version_history",
    "pending_invitations",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        if backend == DbBackend::Postgres {
            row_security::run(manager, include_str!("sql/postgres/roles.sql")).await?;
        }
        let tables = dialect::fill(include_str!("sql/tables.sql"), backend);
        manager.get_connection().execute_unprepared(&tables).await?;
        if backend == DbBackend::Postgres {
            row_security::run(manager, include_str!("sql/postgres/tables.sql")).await?;
        }
        create_rules(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        for view in VIEWS {
            connection.execute_unprepared(&format!("DROP VIEW {view}")).await?;
        }
        if is_postgres {
            // Together, since policies refer to other tables.
            let tables = [POSTGRES_TABLES, TABLES].concat().join(", ");
            connection.execute_unprepared(&format!("DROP TABLE {tables}")).await?;
            return row_security::run(manager, include_str!("sql/postgres/drop.sql")).await;
        }
        for table in TABLES {
            connection.execute_unprepared(&format!("DROP TABLE {table}")).await?;
        }
        Ok(())
    }
}

/// Creates everything that holds no data: functions, views, triggers and policies.
pub(crate) async fn create_rules(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let views = dialect::fill(include_str!("sql/views.sql"), backend);
    if backend == DbBackend::Sqlite {
        let triggers = dialect::fill(include_str!("sql/sqlite/triggers.sql"), backend);
        manager.get_connection().execute_unprepared(&(views + &triggers)).await?;
        return Ok(());
    }
    row_security::run(manager, include_str!("sql/postgres/functions.sql")).await?;
    manager.get_connection().execute_unprepared(&views).await?;
    row_security::run(manager, include_str!("sql/postgres/triggers.sql")).await?;
    row_security::close(manager, &[TABLES, POSTGRES_TABLES, &["seaql_migrations"]].concat(), VIEWS).await?;
    row_security::run(manager, include_str!("sql/postgres/policies.sql")).await
}
