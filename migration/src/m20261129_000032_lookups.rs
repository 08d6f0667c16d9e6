//! On PostgreSQL, `write_files` looks up each row by its key and keeps its plan.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const DOWN: &str = "ALTER FUNCTION {schema}.check_writer SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
    ALTER FUNCTION {schema}.take_revision SECURITY DEFINER SET search_path = pg_catalog, pg_temp;";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, include_str!("sql/postgres/lookups.sql")).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let former = include_str!("sql/postgres/exact.sql");
        let former = former.split_once("CREATE FUNCTION write_files").and_then(|(_, rest)| rest.split_once("END $$;"));
        let (former, _) = former.ok_or_else(|| DbErr::RecordNotFound("the former write_files".to_owned()))?;
        run(manager, &format!("CREATE OR REPLACE FUNCTION write_files{former}END $$; {DOWN}")).await
    }
}

async fn run(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    match manager.get_database_backend() {
        DbBackend::Postgres => row_security::run(manager, sql).await,
        _ => Ok(()),
    }
}
