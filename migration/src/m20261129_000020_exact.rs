//! Adds file modes, restored versions, and undos.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{dialect, row_security};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The former `write_files`, as created by the migration of row-level security's second form.
const WRITES: &str = include_str!("sql/postgres/writes.sql");

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = dialect::fill(include_str!("sql/exact.sql"), manager.get_database_backend());
        manager.get_connection().execute_unprepared(&sql).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::close(manager, &["project_undos"], &[]).await?;
            row_security::run(manager, include_str!("sql/postgres/exact.sql")).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            let former =
                WRITES.split_once("CREATE FUNCTION write_files").and_then(|(_, rest)| rest.split_once("END $$;"));
            let (former, _) = former.ok_or_else(|| DbErr::RecordNotFound("the former write_files".to_owned()))?;
            let sql = format!(
                "DROP FUNCTION write_files; CREATE FUNCTION write_files{former}END $$; \
                 REVOKE ALL ON FUNCTION write_files FROM PUBLIC, anon, authenticated, service_role; \
                 GRANT EXECUTE ON FUNCTION write_files TO authenticated"
            );
            row_security::run(manager, &sql).await?;
        }
        let drop = "DROP TABLE project_undos; ALTER TABLE file_snapshots DROP COLUMN restored_version; \
            ALTER TABLE file_snapshots DROP COLUMN mode; ALTER TABLE project_files DROP COLUMN mode";
        manager.get_connection().execute_unprepared(drop).await?;
        Ok(())
    }
}
