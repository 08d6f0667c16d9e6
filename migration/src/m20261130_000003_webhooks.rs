//! The webhooks of projects, and their deliveries.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{dialect, row_security};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let tables = dialect::fill(include_str!("sql/webhooks.sql"), backend);
        manager.get_connection().execute_unprepared(&tables).await?;
        if backend == DbBackend::Postgres {
            row_security::close(manager, &["webhooks", "webhook_deliveries"], &[]).await?;
            row_security::run(manager, include_str!("sql/postgres/webhooks.sql")).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        if manager.get_database_backend() == DbBackend::Postgres {
            connection.execute_unprepared("DROP FUNCTION waiting_webhooks").await?;
        }
        for table in ["webhook_deliveries", "webhooks"] {
            connection.execute_unprepared(&format!("DROP TABLE {table}")).await?;
        }
        Ok(())
    }
}
