//! Streaming messages.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{dialect, row_security};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = dialect::fill(include_str!("sql/streaming.sql"), manager.get_database_backend());
        manager.get_connection().execute_unprepared(&sql).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::close(manager, &["growing_messages", "growing_chunks"], &[]).await?;
            row_security::run(manager, include_str!("sql/postgres/streaming.sql")).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["growing_chunks", "growing_messages"] {
            manager.get_connection().execute_unprepared(&format!("DROP TABLE {table}")).await?;
        }
        Ok(())
    }
}
