//! Updates profiles from their users' tokens, except fields that the users have set.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{dialect, row_security};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = dialect::fill(include_str!("sql/profile_sources.sql"), manager.get_database_backend());
        manager.get_connection().execute_unprepared(&sql).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::run(manager, include_str!("sql/postgres/profile_sources.sql")).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        if manager.get_database_backend() == DbBackend::Postgres {
            let sql = "DROP FUNCTION follow_token; ALTER POLICY add ON user_profiles
                WITH CHECK (id = (SELECT auth.uid()) AND is_time(created_at) AND is_time(updated_at))";
            connection.execute_unprepared(sql).await?;
        }
        for column in ["claims_at", "own_avatar_url", "own_full_name"] {
            connection.execute_unprepared(&format!("ALTER TABLE user_profiles DROP COLUMN {column}")).await?;
        }
        Ok(())
    }
}
