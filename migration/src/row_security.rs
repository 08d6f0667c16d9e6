//! Row-level security on PostgreSQL. Every migration that creates a table or a view there [`close`]s it, and then
//! [`run`]s the grants to the role `authenticated` that the service needs, with a policy for each granted command. A
//! test fails for tables that are not closed or have no policies.

use sea_orm_migration::SchemaManager;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

/// Also closes the tables' sequences: identity columns need no privilege of their own.
const SEQUENCES: &str = "DO $$ DECLARE sequence regclass; BEGIN
    FOR sequence IN SELECT s.oid::regclass FROM pg_class s JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
        WHERE s.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.refobjid IN ({tables})
    LOOP EXECUTE format('REVOKE ALL ON SEQUENCE %s FROM PUBLIC, anon, authenticated, service_role', sequence); END LOOP;
END $$;";

/// The caller's projects by role, as conditions on a project's id.
const PROJECTS: [(&str, &str); 3] = [
    ("{member}", "IN (SELECT m.project_id FROM {schema}.project_members m)"),
    ("{writer}", "IN (SELECT m.project_id FROM {schema}.project_members m WHERE m.role <> 'viewer')"),
    ("{owner}", "IN (SELECT m.project_id FROM {schema}.project_members m WHERE m.role = 'owner')"),
];

/// Revokes all privileges on tables and views, except the owner's. This includes those from default privileges, which
/// Supabase sets in the schema `public`.
pub(crate) async fn close(manager: &SchemaManager<'_>, tables: &[&str], views: &[&str]) -> Result<(), DbErr> {
    let all = [tables, views].concat().join(", ");
    let mut sql = format!("REVOKE ALL ON {all} FROM PUBLIC, anon, authenticated, service_role;");
    let names: Vec<String> = tables.iter().map(|table| format!("'{table}'::regclass")).collect();
    sql.push_str(&SEQUENCES.replace("{tables}", &names.join(", ")));
    for table in tables {
        sql.push_str(&format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"));
    }
    run(manager, &sql).await
}

/// Runs SQL. `{member}`, `{writer}` and `{owner}` are replaced by conditions, and `{schema}` by the quoted schema of
/// the tables: functions that run as the owner pin their search path, and must name the schema of their tables.
pub(crate) async fn run(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let query = Statement::from_string(DbBackend::Postgres, "SELECT quote_ident(current_schema()) AS schema");
    let row = connection.query_one_raw(query).await?.ok_or_else(|| DbErr::RecordNotFound("a schema".to_owned()))?;
    let schema: String = row.try_get("", "schema")?;
    let sql = PROJECTS.iter().fold(sql.to_owned(), |sql, (word, condition)| sql.replace(word, condition));
    connection.execute_unprepared(&sql.replace("{schema}", &schema)).await?;
    Ok(())
}
