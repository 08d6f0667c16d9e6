//! On PostgreSQL, `write_files` looks up each row by its key and keeps its plan.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The body of `write_files` is kept: it does the same as the previous one.
const DOWN: &str = "ALTER FUNCTION {schema}.write_files RESET plan_cache_mode RESET enable_seqscan;
    ALTER FUNCTION {schema}.check_writer SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
    ALTER FUNCTION {schema}.take_revision SECURITY DEFINER SET search_path = pg_catalog, pg_temp;";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, include_str!("sql/postgres/lookups.sql")).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, DOWN).await
    }
}

async fn run(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    match manager.get_database_backend() {
        DbBackend::Postgres => row_security::run(manager, sql).await,
        _ => Ok(()),
    }
}
