//! The six views of the original system.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = dialect::fill(include_str!("sql/views.sql"), manager.get_database_backend());
        manager.get_connection().execute_unprepared(&sql).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for view in [
            "file_version_history",
            "project_collaboration_overview",
            "user_activity_summary",
            "file_change_history",
            "recent_chat_activity",
            "project_overview",
        ] {
            manager.get_connection().execute_unprepared(&format!("DROP VIEW {view}")).await?;
        }
        Ok(())
    }
}
