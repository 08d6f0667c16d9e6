//! The tables, their indexes, and the trigger that counts a session's messages.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = dialect::fill(include_str!("sql/tables.sql"), manager.get_database_backend());
        manager.get_connection().execute_unprepared(&sql).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Children before their parents.
        for table in [
            "project_events",
            "project_snapshots",
            "file_snapshots",
            "blobs",
            "project_files",
            "chat_messages",
            "chat_sessions",
            "agent_configurations",
            "project_collaborators",
            "projects",
            "user_preferences",
            "user_profiles",
        ] {
            manager.drop_table(Table::drop().table(Alias::new(table)).to_owned()).await?;
        }
        if manager.get_database_backend() == sea_orm::DbBackend::Postgres {
            manager.get_connection().execute_unprepared("DROP FUNCTION count_chat_messages").await?;
        }
        Ok(())
    }
}
