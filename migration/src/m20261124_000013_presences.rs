//! Presence with several servers on one database.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // A SQLite file has one server, which knows its own subscribers.
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared(include_str!("sql/postgres/presences.sql")).await?;
            row_security::close(manager, &["presences"], &[]).await?;
            row_security::run(manager, include_str!("sql/postgres/presences_security.sql")).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared("DROP FUNCTION keep_presences; DROP TABLE presences").await?;
        }
        Ok(())
    }
}
