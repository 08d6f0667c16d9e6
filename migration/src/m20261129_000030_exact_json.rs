//! Stores JSON as text on PostgreSQL: `jsonb` changes numbers and the order of keys, and cannot represent some values.
//! SQLite has stored text from the start.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const SETTINGS: &[&str] = &[
    "stt_config",
    "tts_config",
    "llm_config",
    "vad_config",
    "turn_detection_config",
    "function_calls",
    "tool_integrations",
    "agent_personality",
    "required_env_vars",
    "dependencies",
    "source_files",
];

const COLUMNS: [(&str, &[&str]); 8] = [
    ("user_preferences", &["notification_preferences", "ui_preferences"]),
    ("projects", &["config"]),
    ("project_versions", &["config"]),
    ("chat_sessions", &["metadata"]),
    ("chat_messages", &["context_data", "metadata"]),
    ("growing_messages", &["context_data", "metadata"]),
    ("agent_configurations", SETTINGS),
    ("agent_configuration_versions", SETTINGS),
];

/// Recreates functions and views around `{alter}`, since they prevent changes of the types that they use. {from} and
/// {to} are the types.
const REBUILD: &str = "DO $rebuild$
DECLARE
    found record;
    functions text[] := '{}';
    views text[] := '{}';
    definition text;
BEGIN
    FOR found IN SELECT p.oid, p.oid::regprocedure AS signature FROM pg_proc p
        WHERE p.pronamespace = quote_ident(current_schema())::regnamespace AND p.proname IN ('create_project', 'add_message')
    LOOP
        definition := pg_get_functiondef(found.oid);
        FOR found IN SELECT found.signature, unnest(ARRAY['config', 'context_data', 'metadata']) AS name LOOP
            definition := replace(definition, found.name || ' {from}', found.name || ' {to}');
        END LOOP;
        functions := functions || definition;
        EXECUTE 'DROP FUNCTION ' || found.signature;
    END LOOP;
    FOR found IN SELECT c.oid, c.relname, array_to_string(c.reloptions, ', ') AS options FROM pg_class c
        WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind = 'v'
          AND c.relname IN ('project_overview', 'recent_chat_activity')
    LOOP
        views := views || format('CREATE VIEW {schema}.%I %s AS %s', found.relname,
            coalesce('WITH (' || found.options || ')', ''), pg_get_viewdef(found.oid));
        EXECUTE format('DROP VIEW {schema}.%I', found.relname);
    END LOOP;
    {alter}
    FOREACH definition IN ARRAY functions || views LOOP
        EXECUTE definition;
    END LOOP;
END $rebuild$;
REVOKE ALL ON FUNCTION create_project, add_message FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION create_project, add_message TO authenticated;
REVOKE ALL ON project_overview, recent_chat_activity FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON project_overview, recent_chat_activity TO authenticated;";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        rebuild(manager, "jsonb", "text").await
    }

    /// # Errors
    /// Fails without changes if a value cannot be represented as `jsonb`.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        rebuild(manager, "text", "jsonb").await
    }
}

async fn rebuild(manager: &SchemaManager<'_>, from: &str, to: &str) -> Result<(), DbErr> {
    if manager.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let mut alter = String::new();
    for (table, columns) in COLUMNS {
        let columns: Vec<String> =
            columns.iter().map(|column| format!("ALTER COLUMN {column} TYPE {to} USING {column}::{to}")).collect();
        alter.push_str(&format!("ALTER TABLE {{schema}}.{table} {};", columns.join(", ")));
    }
    row_security::run(manager, &REBUILD.replace("{alter}", &alter).replace("{from}", from).replace("{to}", to)).await
}
