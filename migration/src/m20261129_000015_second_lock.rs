//! Simplifies row-level security: membership becomes a table, and functions replace the policies and triggers of
//! writes.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The caller's projects by role, as conditions on a project's id.
const PROJECTS: [(&str, &str); 3] = [
    ("{member}", "IN (SELECT m.project_id FROM {schema}.project_members m)"),
    ("{writer}", "IN (SELECT m.project_id FROM {schema}.project_members m WHERE m.role <> 'viewer')"),
    ("{owner}", "IN (SELECT m.project_id FROM {schema}.project_members m WHERE m.role = 'owner')"),
];

const FILES: [&str; 4] = [
    include_str!("sql/postgres/members.sql"),
    include_str!("sql/postgres/policies_away.sql"),
    include_str!("sql/postgres/policies.sql"),
    include_str!("sql/postgres/writes.sql"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        for file in FILES {
            let sql = PROJECTS.iter().fold(file.to_owned(), |sql, (word, meaning)| sql.replace(word, meaning));
            row_security::run(manager, &sql).await?;
            if file == FILES[0] {
                row_security::close(manager, &["project_members"], &[]).await?;
                row_security::run(manager, "GRANT SELECT ON project_members TO authenticated").await?;
            }
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::run(manager, include_str!("sql/postgres/second_lock_down.sql")).await?;
        }
        Ok(())
    }
}
