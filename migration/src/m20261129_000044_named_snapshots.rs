//! Renaming and deleting snapshots.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{dialect, row_security};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The former `record_revision`, as created by the migration of row-level security's second form.
const WRITES: &str = include_str!("sql/postgres/writes.sql");

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = dialect::fill(include_str!("sql/named_snapshots.sql"), manager.get_database_backend());
        manager.get_connection().execute_unprepared(&sql).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::close(manager, &["project_snapshot_changes"], &[]).await?;
            row_security::run(manager, include_str!("sql/postgres/named_snapshots.sql")).await?;
            let kinds = "'SNAPSHOT_CREATED', 'SNAPSHOT_UPDATED', 'SNAPSHOT_DELETED',";
            row_security::run(manager, &record_revision()?.replace("'SNAPSHOT_CREATED',", kinds)).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::run(manager, &record_revision()?).await?;
            let sql = "DROP POLICY change ON project_snapshots;
                REVOKE UPDATE (name, description, deleted_revision) ON project_snapshots FROM authenticated";
            row_security::run(manager, sql).await?;
        }
        let drop = "DROP TABLE project_snapshot_changes; ALTER TABLE project_snapshots DROP COLUMN deleted_revision";
        manager.get_connection().execute_unprepared(drop).await?;
        Ok(())
    }
}

fn record_revision() -> Result<String, DbErr> {
    let found = WRITES.split_once("CREATE FUNCTION record_revision").and_then(|(_, rest)| rest.split_once("END $$;"));
    let (body, _) = found.ok_or_else(|| DbErr::RecordNotFound("record_revision".to_owned()))?;
    Ok(format!("CREATE OR REPLACE FUNCTION record_revision{body}END $$"))
}
