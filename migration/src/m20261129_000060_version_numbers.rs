//! Numbers of versions that never repeat at one path.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{dialect, row_security};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The former `write_files`.
const LOOKUPS: &str = include_str!("sql/postgres/lookups.sql");

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
            let former = LOOKUPS.split_once("END $$;").map(|(former, _)| former);
            let former = former.ok_or_else(|| DbErr::RecordNotFound("the former write_files".to_owned()))?;
            let sql = format!(
                "DROP FUNCTION write_files; {former}END $$; \
                 REVOKE ALL ON FUNCTION write_files FROM PUBLIC, anon, authenticated, service_role; \
                 GRANT EXECUTE ON FUNCTION write_files TO authenticated"
            );
            row_security::run(manager, &sql).await?;
        }
        let drop = "DROP INDEX file_snapshots_arrival; ALTER TABLE file_snapshots DROP COLUMN version_offset; \
            ALTER TABLE project_files DROP COLUMN version_offset";
        manager.get_connection().execute_unprepared(drop).await?;
        Ok(())
    }
}
