//! Access tokens for machines.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{dialect, row_security};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let backend = manager.get_database_backend();
        connection.execute_unprepared(&dialect::fill(include_str!("sql/access_tokens.sql"), backend)).await?;
        if backend == DbBackend::Postgres {
            row_security::close(manager, &["access_tokens"], &[]).await?;
            return row_security::run(manager, include_str!("sql/postgres/access_tokens.sql")).await;
        }
        connection.execute_unprepared(&dialect::fill(include_str!("sql/sqlite/access_tokens.sql"), backend)).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        // The users of the tokens stay, as former collaborators, so that their work keeps its author.
        connection.execute_unprepared("DELETE FROM access_tokens").await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::run(manager, include_str!("sql/postgres/access_tokens_drop.sql")).await?;
        } else {
            for trigger in ["projects_owner_changed", "project_collaborators_removed", "project_collaborators_lowered"]
            {
                connection.execute_unprepared(&format!("DROP TRIGGER {trigger}")).await?;
            }
        }
        connection.execute_unprepared("DROP TABLE access_tokens").await?;
        connection.execute_unprepared("ALTER TABLE user_profiles DROP COLUMN is_machine").await?;
        Ok(())
    }
}
