//! Invitations to e-mail addresses, former collaborators, and the versions of agent configurations.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{dialect, row_security};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: &[&str] = &["project_invitations", "project_former_collaborators", "agent_configuration_versions"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = dialect::fill(include_str!("sql/team.sql"), manager.get_database_backend());
        manager.get_connection().execute_unprepared(&sql).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::close(manager, TABLES, &["pending_invitations"]).await?;
            row_security::run(manager, include_str!("sql/postgres/team.sql")).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        if manager.get_database_backend() == DbBackend::Postgres {
            let sql = "DROP POLICY note_team ON project_events; DROP POLICY end_others ON chat_sessions;
                DROP POLICY read_former ON user_profiles; DROP POLICY join_by_address ON project_collaborators;
                REVOKE UPDATE (invited_by, invited_at) ON project_collaborators FROM authenticated;
                DROP FUNCTION take_team_revision, forget_address_of;";
            connection.execute_unprepared(sql).await?;
        }
        let sql = "DROP INDEX agent_configurations_active; DROP TABLE agent_configuration_versions;
            DROP VIEW pending_invitations; DROP TABLE project_former_collaborators; DROP TABLE project_invitations;";
        connection.execute_unprepared(sql).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            connection.execute_unprepared("DROP FUNCTION my_address").await?;
        }
        Ok(())
    }
}
