//! The activity of projects, for insights.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{dialect, row_security};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let table = dialect::fill(include_str!("sql/activity.sql"), backend);
        manager.get_connection().execute_unprepared(&table).await?;
        if backend == DbBackend::Postgres {
            row_security::close(manager, &["project_activity"], &[]).await?;
            row_security::run(manager, include_str!("sql/postgres/activity.sql")).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        if manager.get_database_backend() == DbBackend::Postgres {
            connection.execute_unprepared("DROP FUNCTION store_activity").await?;
        }
        connection.execute_unprepared("DROP TABLE project_activity").await?;
        Ok(())
    }
}
