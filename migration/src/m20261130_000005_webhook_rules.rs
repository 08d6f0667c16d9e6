//! Rules for the rows of webhooks on PostgreSQL, where owners can write them directly. On SQLite only the service writes.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::row_security;

/// The kinds of events.
const KINDS: &str = "'PROJECT_CREATED', 'PROJECT_UPDATED', 'SESSION_STARTED', 'SESSION_ENDED', 'MESSAGE_ADDED', 'FILES_CHANGED', \
    'SNAPSHOT_CREATED', 'SNAPSHOT_UPDATED', 'SNAPSHOT_DELETED', 'PROJECT_RESTORED', 'COLLABORATORS_CHANGED', \
    'AGENT_CONFIGURATION_CHANGED'";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            let rules = include_str!("sql/postgres/webhook_rules.sql").replace("{kinds}", KINDS);
            row_security::run(manager, &rules).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::run(manager, include_str!("sql/postgres/webhook_rules_drop.sql")).await?;
        }
        Ok(())
    }
}
