//! Row-level security on PostgreSQL, for every migration that makes a table or a view there: it [`close`]s them, and then
//! [`run`]s the grants to the role `authenticated` that the service needs, with a policy for each command granted. A test
//! fails on a table without.

use sea_orm_migration::SchemaManager;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

/// Closes tables and views to everybody but their owner, also to those to whom the database's default privileges have opened
/// them: Supabase's schema `public` has such.
pub(crate) async fn close(manager: &SchemaManager<'_>, tables: &[&str], views: &[&str]) -> Result<(), DbErr> {
    let all = [tables, views].concat().join(", ");
    let mut sql = format!("REVOKE ALL ON {all} FROM PUBLIC, anon, authenticated, service_role;");
    for table in tables {
        sql.push_str(&format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"));
    }
    run(manager, &sql).await
}

/// Runs SQL in which `{schema}` is the tables' own schema, quoted: functions that run as the owner pin their search path, and
/// must say where their tables are.
pub(crate) async fn run(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let asked = Statement::from_string(DbBackend::Postgres, "SELECT quote_ident(current_schema()) AS schema");
    let row = connection.query_one_raw(asked).await?.ok_or_else(|| DbErr::RecordNotFound("a schema".to_owned()))?;
    let schema: String = row.try_get("", "schema")?;
    connection.execute_unprepared(&sql.replace("{schema}", &schema)).await?;
    Ok(())
}
