//! Compares e-mail addresses with only ASCII letters in lower case, as the service does, whatever the database's
//! locale: some other letters become ASCII letters in lower case, so that a user with such an address could accept
//! another user's invitation.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The function of team.sql; `{lower}` is the compared expression.
const MY_ADDRESS: &str =
    "CREATE OR REPLACE FUNCTION my_address() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT lower({lower})
    FROM (SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb AS claims) c
    WHERE c.claims -> 'email_verified' = 'true'
$$";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        compare(manager, "(c.claims ->> 'email') COLLATE \"C\"").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        compare(manager, "c.claims ->> 'email'").await
    }
}

async fn compare(manager: &SchemaManager<'_>, address: &str) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::Postgres {
        row_security::run(manager, &MY_ADDRESS.replace("{lower}", address)).await?;
    }
    Ok(())
}
