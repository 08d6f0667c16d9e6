//! Numbers of versions that never repeat at one path. On PostgreSQL, `write_files` also looks up each row by its key and keeps its
//! plan.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{dialect, row_security};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Contains the former `write_files`.
const EXACT: &str = include_str!("sql/postgres/exact.sql");

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = dialect::fill(include_str!("sql/version_numbers.sql"), manager.get_database_backend());
        manager.get_connection().execute_unprepared(&sql).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::run(manager, include_str!("sql/postgres/version_numbers.sql")).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            let former =
                EXACT.split_once("CREATE FUNCTION write_files").and_then(|(_, rest)| rest.split_once("END $$;"));
            let (former, _) = former.ok_or_else(|| DbErr::RecordNotFound("the former write_files".to_owned()))?;
            let sql = format!(
                "DROP FUNCTION write_files; CREATE FUNCTION write_files{former}END $$; \
                 REVOKE ALL ON FUNCTION write_files FROM PUBLIC, anon, authenticated, service_role; \
                 GRANT EXECUTE ON FUNCTION write_files TO authenticated; \
                 ALTER FUNCTION {{schema}}.check_writer SECURITY DEFINER SET search_path = pg_catalog, pg_temp; \
                 ALTER FUNCTION {{schema}}.take_revision SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
            );
            row_security::run(manager, &sql).await?;
        }
        let drop = "DROP INDEX file_snapshots_arrival; ALTER TABLE file_snapshots DROP COLUMN version_offset; \
            ALTER TABLE project_files DROP COLUMN version_offset";
        manager.get_connection().execute_unprepared(drop).await?;
        Ok(())
    }
}
