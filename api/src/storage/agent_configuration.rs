//! `agent_configurations` and `agent_configuration_versions`. As with files, the first table has the identity and the
//! present state, the second every past state with its range of revisions.

use chrono::{DateTime, Utc};
use entity::agent_configuration_versions;
use sea_orm::{FromQueryResult, QueryResult, Value};

use super::access::{self, Member, is_member};
use super::columns::{JSON, Long, TEXT, by_keys, columns};
use super::db::{Tx, fail};
use super::event;
use super::sql::{Order, Sql, pages, union};
use crate::model::agent_configuration::{AgentConfiguration, AgentConfigurationFilter, AgentSettings};
use crate::model::error::Result;
use crate::model::ids::{AgentConfigurationId, ProjectId, UserId, Within};
use crate::model::json::Json;
use crate::model::long_columns::{LongColumn, LongColumns, Needing};
use crate::model::page::{Cursor, Key, KeyKind, Page, Slice};

const LONG: [Long<agent_configuration_versions::Column>; 13] = [
    (agent_configuration_versions::Column::Description, LongColumn::AgentDescription, TEXT),
    (agent_configuration_versions::Column::SttConfig, LongColumn::SttConfig, JSON),
    (agent_configuration_versions::Column::TtsConfig, LongColumn::TtsConfig, JSON),
    (agent_configuration_versions::Column::LlmConfig, LongColumn::LlmConfig, JSON),
    (agent_configuration_versions::Column::VadConfig, LongColumn::VadConfig, JSON),
    (agent_configuration_versions::Column::TurnDetectionConfig, LongColumn::TurnDetectionConfig, JSON),
    (agent_configuration_versions::Column::FunctionCalls, LongColumn::FunctionCalls, JSON),
    (agent_configuration_versions::Column::ToolIntegrations, LongColumn::ToolIntegrations, JSON),
    (agent_configuration_versions::Column::AgentInstructions, LongColumn::AgentInstructions, TEXT),
    (agent_configuration_versions::Column::AgentPersonality, LongColumn::AgentPersonality, JSON),
    (agent_configuration_versions::Column::RequiredEnvVars, LongColumn::RequiredEnvVars, JSON),
    (agent_configuration_versions::Column::Dependencies, LongColumn::Dependencies, JSON),
    (agent_configuration_versions::Column::SourceFiles, LongColumn::SourceFiles, JSON),
];

/// Adds `SELECT …` of the versions `v`, up to the `WHERE`, with the author and the time of the event of their revisions.
fn select(sql: &mut Sql, needed: LongColumns) -> &mut Sql {
    columns::<agent_configuration_versions::Entity>(sql.push("SELECT "), ("v", ""), &LONG, needed);
    sql.push(
        ", c.created_at, e.created_at AS updated_at, e.actor_id FROM agent_configuration_versions v \
         JOIN agent_configurations c ON c.id = v.configuration_id \
         JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision WHERE ",
    )
}

const NEWEST_FIRST: Order = Order { columns: &[("v.version", KeyKind::Number)], descending: true };

/// The columns for the settings, which both tables have, in the order of [`values`].
pub(super) const SETTINGS: &str = "config_name, description, stt_provider, stt_model, stt_config, tts_provider, tts_model, tts_config, \
     llm_provider, llm_model, llm_config, vad_provider, vad_config, turn_detection_config, function_calls, \
     tool_integrations, agent_instructions, agent_personality, required_env_vars, dependencies, source_files";

fn values(settings: &AgentSettings) -> [Value; 21] {
    [
        settings.config_name.clone().into(),
        settings.description.as_deref().into(),
        settings.stt_provider.clone().into(),
        settings.stt_model.clone().into(),
        settings.stt_config.clone().into(),
        settings.tts_provider.clone().into(),
        settings.tts_model.clone().into(),
        settings.tts_config.clone().into(),
        settings.llm_provider.clone().into(),
        settings.llm_model.clone().into(),
        settings.llm_config.clone().into(),
        settings.vad_provider.clone().into(),
        settings.vad_config.clone().into(),
        settings.turn_detection_config.clone().into(),
        settings.function_calls.clone().into(),
        settings.tool_integrations.clone().into(),
        settings.agent_instructions.as_ref().into(),
        settings.agent_personality.clone().into(),
        settings.required_env_vars.clone().into(),
        settings.dependencies.clone().into(),
        settings.source_files.clone().into(),
    ]
}

fn version(row: &QueryResult) -> Result<AgentConfiguration> {
    let created_at: DateTime<Utc> = row.try_get("", "created_at").map_err(fail)?;
    let updated_at: DateTime<Utc> = row.try_get("", "updated_at").map_err(fail)?;
    let updated_by: Option<uuid::Uuid> = row.try_get("", "actor_id").map_err(fail)?;
    let row = agent_configuration_versions::Model::from_query_result(row, "").map_err(fail)?;
    Ok(AgentConfiguration {
        id: AgentConfigurationId(row.configuration_id),
        project_id: ProjectId(row.project_id),
        settings: AgentSettings {
            config_name: row.config_name,
            description: row.description.map(Into::into),
            stt_provider: row.stt_provider,
            stt_model: row.stt_model,
            stt_config: Json::stored(row.stt_config),
            tts_provider: row.tts_provider,
            tts_model: row.tts_model,
            tts_config: Json::stored(row.tts_config),
            llm_provider: row.llm_provider,
            llm_model: row.llm_model,
            llm_config: Json::stored(row.llm_config),
            vad_provider: row.vad_provider,
            vad_config: Json::stored(row.vad_config),
            turn_detection_config: Json::stored(row.turn_detection_config),
            function_calls: Json::stored(row.function_calls),
            tool_integrations: Json::stored(row.tool_integrations),
            agent_instructions: row.agent_instructions.into(),
            agent_personality: Json::stored(row.agent_personality),
            required_env_vars: Json::stored(row.required_env_vars),
            dependencies: Json::stored(row.dependencies),
            source_files: Json::stored(row.source_files),
        },
        is_active: row.is_active,
        is_deleted: row.is_deletion,
        version: row.version,
        revision: row.revision,
        created_at,
        updated_at,
        updated_by: updated_by.map(UserId),
    })
}

async fn versions(tx: &Tx, sql: Sql) -> Result<Vec<AgentConfiguration>> {
    tx.rows(sql).await?.iter().map(version).collect()
}

/// The configurations among `ids` in the actor's projects, as they are now.
pub async fn by_ids(
    tx: &Tx,
    ids: &[impl Copy + Into<Needing<AgentConfigurationId>>],
) -> Result<Vec<AgentConfiguration>> {
    let sql = by_keys(tx, ids, |sql, needed, ids: &[AgentConfigurationId]| {
        select(sql, needed)
            .push("v.superseded_revision IS NULL AND v.configuration_id IN ")
            .list(ids.iter().map(|id| id.0))
            .push(" AND ");
        is_member(sql, "v.project_id", tx.me());
    });
    let found = versions(tx, sql).await?;
    access::opened(tx, found.iter().map(|version| version.project_id));
    Ok(found)
}

/// Configurations in the actor's projects, each as of a revision, including the revision of its deletion.
/// Configurations that did not exist then are left out.
pub async fn as_of(tx: &Tx, wanted: &[Needing<(AgentConfigurationId, i32)>]) -> Result<Vec<(i32, AgentConfiguration)>> {
    let sql = union(wanted, |sql, Needing((id, at), columns)| {
        sql.push(&format!("SELECT {at} AS moment, w.* FROM ("));
        select(sql, tx.needed().and(columns)).push("v.configuration_id = ").bind(id.0);
        valid_at(sql, at).push(" AND ");
        event::reached(sql, "v.project_id", at).push(" AND ");
        is_member(sql, "v.project_id", tx.me()).push(") AS w");
        Ok(())
    })?;
    let rows = tx.rows(sql).await?;
    let rows = rows.iter().map(|row| Ok((row.try_get("", "moment").map_err(fail)?, version(row)?)));
    let found: Vec<(i32, AgentConfiguration)> = rows.collect::<Result<_>>()?;
    access::opened(tx, found.iter().map(|(_, version)| version.project_id));
    Ok(found)
}

/// Adds the condition that a version was valid at a revision.
fn valid_at(sql: &mut Sql, at: i32) -> &mut Sql {
    sql.push(" AND v.revision <= ").bind(at).push(" AND (v.superseded_revision IS NULL OR v.superseded_revision > ");
    sql.bind(at).push(")")
}

/// The configurations of each of these projects, oldest first.
pub async fn of_projects(
    tx: &Tx,
    projects: &[Member<'_>],
    keep: AgentConfigurationFilter,
) -> Result<Vec<AgentConfiguration>> {
    let mut sql = Sql::new("");
    select(&mut sql, tx.needed().and(keep.long_columns)).push("v.project_id IN ").list(projects.iter().copied());
    match keep.at {
        Some(at) => valid_at(&mut sql, at),
        None => sql.push(" AND v.superseded_revision IS NULL"),
    };
    if keep.active_only {
        sql.push(" AND v.is_active");
    }
    if !keep.include_deleted {
        sql.push(" AND NOT v.is_deletion");
    }
    // SQLite would sort the rows with their long columns.
    let mut found = versions(tx, sql).await?;
    found.sort_by_key(|version| (version.project_id, version.created_at, version.id));
    Ok(found)
}

/// The number of a project's configurations, without deleted ones.
pub async fn count(tx: &Tx, project: ProjectId) -> Result<i64> {
    let mut sql = Sql::new("SELECT count(*) AS n FROM agent_configuration_versions WHERE project_id = ");
    sql.bind(project.0).push(" AND superseded_revision IS NULL AND NOT is_deletion");
    tx.count(sql).await
}

/// The versions of each of these configurations, newest first, up to a revision if one is given.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn versions_page(
    tx: &Tx,
    configurations: &[(Member<'_>, AgentConfigurationId)],
    until: Option<i32>,
    page: &Page,
) -> Result<Vec<(Within<AgentConfigurationId>, Slice<AgentConfiguration>)>> {
    let sql = pages(configurations, NEWEST_FIRST, page, |sql, (project, configuration)| {
        select(sql, tx.needed_of(page))
            .push("v.configuration_id = ")
            .bind(configuration.0)
            .push(" AND v.project_id = ")
            .bind(project);
        if let Some(until) = until {
            sql.push(" AND v.revision <= ").bind(until);
        }
    })?;
    let rows = versions(tx, sql).await?.into_iter().map(|row| {
        let parent = Within { project: row.project_id, id: row.id };
        (parent, Cursor(vec![Key::Number(row.version.into())]), row)
    });
    Ok(super::group(rows.collect(), page))
}

/// One version of a configuration in one of the actor's projects.
pub async fn by_version(tx: &Tx, id: AgentConfigurationId, number: i32) -> Result<Option<AgentConfiguration>> {
    let mut sql = Sql::new("");
    select(&mut sql, tx.needed())
        .push("v.configuration_id = ")
        .bind(id.0)
        .push(" AND v.version = ")
        .bind(number)
        .push(" AND ");
    is_member(&mut sql, "v.project_id", tx.me());
    Ok(versions(tx, sql).await?.into_iter().next())
}

/// The versions with these configurations and numbers, in the actor's projects.
pub async fn versions_by_numbers(
    tx: &Tx,
    wanted: &[Needing<(AgentConfigurationId, i32)>],
) -> Result<Vec<AgentConfiguration>> {
    let sql = by_keys(tx, wanted, |sql, needed, wanted: &[(AgentConfigurationId, i32)]| {
        select(sql, needed)
            .pairs("(v.configuration_id, v.version)", wanted.iter().map(|(id, number)| (id.0, *number)))
            .push(" AND ");
        is_member(sql, "v.project_id", tx.me());
    });
    let found = versions(tx, sql).await?;
    access::opened(tx, found.iter().map(|version| version.project_id));
    Ok(found)
}

/// The versions that these revisions created.
pub async fn by_revisions(tx: &Tx, revisions: &[(Member<'_>, i32)]) -> Result<Vec<AgentConfiguration>> {
    let mut sql = Sql::new("");
    select(&mut sql, tx.needed()).pairs("(v.project_id, v.revision)", revisions.iter().copied());
    let mut found = versions(tx, sql).await?;
    found.sort_by_key(|version| (version.project_id, version.revision, version.created_at, version.id));
    Ok(found)
}

/// Makes the other configurations of a locked project inactive.
pub async fn deactivate_others(
    tx: &Tx,
    project: ProjectId,
    id: AgentConfigurationId,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut sql = Sql::new("UPDATE agent_configurations SET is_active = ");
    sql.bind(false).push(", version = version + 1, updated_at = ").bind(now).push(" WHERE is_active AND project_id = ");
    sql.bind(project.0).push(" AND id <> ").bind(id.0);
    tx.execute(sql).await?;
    Ok(())
}

/// Creates or changes a configuration of a locked project. [`record`] stores its version.
pub async fn save(tx: &Tx, saved: &AgentConfiguration) -> Result<()> {
    let mut sql = Sql::new(
        "INSERT INTO agent_configurations (id, project_id, user_id, created_at, updated_at, is_active, version, ",
    );
    let identity: [Value; 7] = [
        saved.id.0.into(),
        saved.project_id.0.into(),
        tx.me().into(),
        saved.created_at.into(),
        saved.updated_at.into(),
        saved.is_active.into(),
        saved.version.into(),
    ];
    sql.push(SETTINGS).push(") VALUES ").list(identity.into_iter().chain(values(&saved.settings)));
    sql.push(" ON CONFLICT (id) DO UPDATE SET updated_at = excluded.updated_at, is_active = excluded.is_active, version = excluded.version");
    for column in SETTINGS.split(", ") {
        sql.push(&format!(", {column} = excluded.{column}"));
    }
    tx.execute(sql).await?;
    Ok(())
}

/// Stores a version of every changed configuration of a locked project; the version of `deleted` is a deletion.
pub async fn record(tx: &Tx, project: ProjectId, revision: i32, deleted: Option<AgentConfigurationId>) -> Result<()> {
    const SUPERSEDE: &str = "UPDATE agent_configuration_versions SET superseded_revision = $1 \
        WHERE superseded_revision IS NULL AND project_id = $2 \
        AND version < (SELECT c.version FROM agent_configurations c WHERE c.id = configuration_id)";
    tx.execute(Sql::with(SUPERSEDE, [revision.into(), project.0.into()])).await?;
    let insert = format!(
        "INSERT INTO agent_configuration_versions (configuration_id, version, project_id, is_active, revision, is_deletion, {SETTINGS}) \
         SELECT c.id, c.version, c.project_id, c.is_active, $1, coalesce(c.id = $2, false), {SETTINGS} \
         FROM agent_configurations c WHERE c.project_id = $3 AND NOT EXISTS ( \
         SELECT 1 FROM agent_configuration_versions v WHERE v.configuration_id = c.id AND v.version = c.version)",
    );
    tx.execute(Sql::with(&insert, [revision.into(), deleted.map(|id| id.0).into(), project.0.into()])).await?;
    Ok(())
}
