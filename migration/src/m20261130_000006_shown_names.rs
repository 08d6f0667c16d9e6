//! A profile without a name in its tokens has shown the e-mail address as the name. Now it shows the part before the @.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const SQLITE: &str = "UPDATE user_profiles SET full_name = substr(email, 1, instr(email, '@') - 1) \
    WHERE full_name = email AND NOT own_full_name AND instr(email, '@') > 1";
const POSTGRES: &str = "UPDATE user_profiles SET full_name = split_part(email, '@', 1) \
    WHERE full_name = email AND NOT own_full_name AND strpos(email, '@') > 1";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        if is_postgres {
            row_security::run(manager, include_str!("sql/postgres/shown_names.sql")).await?;
        }
        let rename = if is_postgres { POSTGRES } else { SQLITE };
        manager.get_connection().execute_unprepared(rename).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            row_security::run(manager, include_str!("sql/postgres/shown_names_drop.sql")).await?;
        }
        Ok(())
    }
}
