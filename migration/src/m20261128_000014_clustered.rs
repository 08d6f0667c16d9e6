//! On SQLite, stores agent configurations and their versions in the tree of their primary key, like other tables that
//! are read by key; each had a second tree. Rows and definitions are unchanged.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// In the order of their references.
const TABLES: [&str; 2] = ["agent_configuration_versions", "agent_configurations"];

const CLUSTERED: &str = " WITHOUT ROWID";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        rebuild(manager, |table| format!("{table}{CLUSTERED}")).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        rebuild(manager, |table| table.trim_end_matches(CLUSTERED).to_owned()).await
    }
}

/// Recreates the tables from their stored definitions.
async fn rebuild(manager: &SchemaManager<'_>, change: fn(&str) -> String) -> Result<(), DbErr> {
    if manager.get_database_backend() != DbBackend::Sqlite {
        return Ok(());
    }
    let db = manager.get_connection();
    let mut anew = Vec::new();
    for table in TABLES {
        // The table itself before its indexes.
        let query =
            "SELECT type, sql FROM sqlite_schema WHERE tbl_name = $1 AND sql IS NOT NULL ORDER BY type = 'index'";
        let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Sqlite, query, [table.into()])).await?;
        let mut statements = Vec::new();
        for row in rows {
            let (kind, sql): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            statements.push(if kind == "table" { change(&sql) } else { sql });
        }
        statements.insert(1, format!("INSERT INTO {table} SELECT * FROM moved_{table}; DROP TABLE moved_{table}"));
        anew.push(statements);
        db.execute_unprepared(&format!("CREATE TABLE moved_{table} AS SELECT * FROM {table}; DROP TABLE {table}"))
            .await?;
    }
    for statements in anew.iter().rev() {
        db.execute_unprepared(&statements.join(";\n")).await?;
    }
    Ok(())
}
