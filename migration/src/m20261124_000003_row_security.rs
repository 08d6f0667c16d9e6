//! Row-level security on PostgreSQL. SQLite has none: only the service has access to the file.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The existing tables; `seaql_migrations` belongs to the migrator.
const TABLES: &[&str] = &[
    "user_profiles",
    "user_preferences",
    "projects",
    "project_collaborators",
    "agent_configurations",
    "chat_sessions",
    "chat_messages",
    "project_files",
    "blobs",
    "file_snapshots",
    "project_snapshots",
    "project_events",
    "seaql_migrations",
];

const VIEWS: &[&str] = &[
    "project_overview",
    "recent_chat_activity",
    "file_change_history",
    "user_activity_summary",
    "project_collaboration_overview",
    "file_version_history",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::run(manager, include_str!("sql/postgres/roles.sql")).await?;
            row_security::close(manager, TABLES, VIEWS).await?;
            row_security::run(manager, include_str!("sql/postgres/row_security.sql")).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::run(manager, include_str!("sql/postgres/row_security_down.sql")).await?;
        }
        Ok(())
    }
}
