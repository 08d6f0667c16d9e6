//! Agent configurations.

use std::collections::HashSet;

use async_graphql::{Context, ID, Object};

use super::profile::User;
use super::project::Project;
use crate::graphql::context::{Caller, caller};
use crate::graphql::error::or_null;
use crate::graphql::loader::{AgentConfigurationsOf, Part, VersionsUntil};
use crate::graphql::long_columns::of_rows;
use crate::graphql::needing::needing;
use crate::graphql::page::{Page, Total, connection, cut_by_id};
use crate::graphql::row::Plain;
use crate::graphql::scalar::{Json, Text, Time};
use crate::model::agent_configuration as model;
use crate::model::error::{Error, Result};
use crate::model::ids::{ProjectId, ReadId, Within};
use crate::model::long_columns::LongColumns;
use crate::model::node_id::NodeId;
use crate::model::page::{List, Page as PageArguments};

/// Settings of a configuration or of one of its versions.
struct AgentSettings<'a>(&'a model::AgentSettings);

#[Object]
impl<'a> AgentSettings<'a> {
    /// The displayed name; never empty.
    async fn config_name(&self) -> Text<'_> {
        Text(&self.0.config_name)
    }

    /// The purpose of the configuration.
    async fn description(&self) -> Option<Text<'_>> {
        self.0.description.as_deref().map(Text)
    }

    /// The provider of speech-to-text, such as `deepgram`.
    async fn stt_provider(&self) -> &str {
        &self.0.stt_provider
    }

    /// The speech-to-text model.
    async fn stt_model(&self) -> &str {
        &self.0.stt_model
    }

    /// Options of the speech-to-text model. The client decides the structure of all JSON in a configuration.
    async fn stt_config(&self) -> Json {
        Json(self.0.stt_config.clone())
    }

    /// The provider of text-to-speech, such as `elevenlabs`.
    async fn tts_provider(&self) -> &str {
        &self.0.tts_provider
    }

    /// The text-to-speech model.
    async fn tts_model(&self) -> &str {
        &self.0.tts_model
    }

    /// Options of the text-to-speech model.
    async fn tts_config(&self) -> Json {
        Json(self.0.tts_config.clone())
    }

    /// The provider of the language model, such as `openai`.
    async fn llm_provider(&self) -> &str {
        &self.0.llm_provider
    }

    /// The language model.
    async fn llm_model(&self) -> &str {
        &self.0.llm_model
    }

    /// Options of the language model.
    async fn llm_config(&self) -> Json {
        Json(self.0.llm_config.clone())
    }

    /// The provider of voice activity detection, such as `silero`.
    async fn vad_provider(&self) -> &str {
        &self.0.vad_provider
    }

    /// Options of voice activity detection.
    async fn vad_config(&self) -> Json {
        Json(self.0.vad_config.clone())
    }

    /// Options for detecting the end of a turn.
    async fn turn_detection_config(&self) -> Json {
        Json(self.0.turn_detection_config.clone())
    }

    /// Functions that the agent can call: `[]` if there are none.
    async fn function_calls(&self) -> Json {
        Json(self.0.function_calls.clone())
    }

    /// Tools that the agent is connected to: `[]` if there are none.
    async fn tool_integrations(&self) -> Json {
        Json(self.0.tool_integrations.clone())
    }

    /// The instructions that the agent follows.
    async fn agent_instructions(&self) -> Text<'_> {
        Text(&self.0.agent_instructions)
    }

    /// The agent's manner, such as its tone.
    async fn agent_personality(&self) -> Json {
        Json(self.0.agent_personality.clone())
    }

    /// Names of the environment variables that the agent needs, never their values: every member reads them.
    async fn required_env_vars(&self) -> Json {
        Json(self.0.required_env_vars.clone())
    }

    /// Packages that the agent needs.
    async fn dependencies(&self) -> Json {
        Json(self.0.dependencies.clone())
    }

    /// The files that the agent consists of.
    async fn source_files(&self) -> Json {
        Json(self.0.source_files.clone())
    }
}

/// A configuration of a project's voice agent, now or as of a revision.
pub struct AgentConfiguration {
    pub row: Box<model::AgentConfiguration>,
    /// The revision as of which it is read; `None` is now.
    pub until: Option<i32>,
}

impl AgentConfiguration {
    /// A part of the configurations of a project, oldest first.
    ///
    /// # Errors
    /// As [`cut_by_id`].
    pub async fn of_project(
        caller: &Caller,
        project: ProjectId,
        keep: model::AgentConfigurationFilter,
        first: Option<i32>,
        mut after: Option<ID>,
    ) -> Result<Vec<Self>> {
        let mut rows = caller.load(AgentConfigurationsOf(project, keep)).await?.unwrap_or_default();
        let id = |row: &model::AgentConfiguration| ReadId { id: row.id, at: keep.at }.to_string();
        if let Some(last) = after.take_if(|after| !rows.iter().any(|row| id(row) == after.as_str())) {
            // The row is no longer in the list, but its position is still known.
            let long_columns = LongColumns::NONE;
            let keep =
                model::AgentConfigurationFilter { active_only: false, include_deleted: true, long_columns, ..keep };
            let all = caller.load(AgentConfigurationsOf(project, keep)).await?.unwrap_or_default();
            let rest = all.iter().skip_while(|row| id(row) != last.as_str());
            let rest: HashSet<_> = rest.map(|row| row.id).collect();
            if rest.is_empty() {
                return Err(Error::bad_input("after", "No row of this list has this id."));
            }
            rows.retain(|row| rest.contains(&row.id));
        }
        let rows = cut_by_id(caller, rows, first, after.as_ref(), id)?;
        Ok(rows.into_iter().map(|row| Self { row: Box::new(row), until: keep.at }).collect())
    }
}

/// A configuration of a project's voice agent. Each save creates a revision and a new version; at most one
/// configuration of a project is active. Restoring files does not change configurations; use
/// `restoreAgentConfiguration`.
#[Object]
impl AgentConfiguration {
    /// The id: a UUID, the same for all versions, or `<uuid>@<revision>` for a configuration as of a revision.
    pub(super) async fn id(&self) -> ID {
        ReadId { id: self.row.id, at: self.until }.to_string().into()
    }

    /// The configuration as it is now; null if it is deleted.
    async fn present(&self, ctx: &Context<'_>) -> Option<Result<AgentConfiguration>> {
        or_null(async {
            let row = caller(ctx)?.load(needing(ctx, self.row.id)).await?.filter(|row| !row.is_deleted);
            Ok(row.map(|row| AgentConfiguration { row: Box::new(row), until: None }))
        })
        .await
    }

    #[graphql(flatten)]
    async fn settings(&self) -> AgentSettings<'_> {
        AgentSettings(&self.row.settings)
    }

    /// Its project, as of the same revision.
    async fn project(&self, ctx: &Context<'_>) -> Result<Project> {
        super::project(ctx, self.row.project_id, self.until).await
    }

    /// Whether the project's agent uses it.
    async fn is_active(&self) -> bool {
        self.row.is_active
    }

    /// Whether it is deleted. `restoreAgentConfiguration` can restore it.
    async fn is_deleted(&self) -> bool {
        self.row.is_deleted
    }

    /// The number of its newest version, from 1. Pass it as `expectedVersion`.
    async fn version(&self) -> i32 {
        self.row.version
    }

    /// When it was first saved.
    async fn created_at(&self) -> Time {
        Time(self.row.created_at)
    }

    /// When its newest version was created.
    async fn updated_at(&self) -> Time {
        Time(self.row.updated_at)
    }

    /// The author of its newest version; null if the account no longer exists.
    async fn updated_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.row.updated_by)).await
    }

    /// All versions, newest first, including the present one; for a configuration as of a revision, those up to it.
    async fn versions(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 100, and 20 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Page<AgentConfigurationVersion>> {
        let page = PageArguments::parse(first, after, last, before, List::AGENT_CONFIGURATION_VERSIONS)?
            .needing(of_rows(&ctx.look_ahead(), "AgentConfigurationVersion"));
        let part = Part {
            parent: Within { project: self.row.project_id, id: self.row.id },
            keep: VersionsUntil(self.until),
            page,
        };
        let slice = caller(ctx)?.load(part).await?.unwrap_or_default();
        let (list, total) = (List::AGENT_CONFIGURATION_VERSIONS, Total::Known(self.row.version.into()));
        Ok(connection(list, slice, total, AgentConfigurationVersion::from))
    }
}

/// One version of an agent configuration.
pub struct AgentConfigurationVersion(pub Box<model::AgentConfiguration>);

impl From<model::AgentConfiguration> for AgentConfigurationVersion {
    fn from(row: model::AgentConfiguration) -> Self {
        Self(Box::new(row))
    }
}

impl Plain for AgentConfigurationVersion {
    fn is_plain(_: &str) -> bool {
        false
    }
}

/// One version of an agent configuration: all of its settings after one save. It never changes.
#[Object]
impl AgentConfigurationVersion {
    /// The globally unique id, for `node`.
    pub(super) async fn id(&self) -> ID {
        NodeId::AgentConfigurationVersion(self.0.id, self.0.version).to_string().into()
    }

    /// The id of the configuration that it is a version of.
    async fn configuration_id(&self) -> ID {
        self.0.id.0.into()
    }

    /// Its number, from 1, without gaps.
    async fn version(&self) -> i32 {
        self.0.version
    }

    /// The revision that created it.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// Whether the project's agent used the configuration.
    async fn is_active(&self) -> bool {
        self.0.is_active
    }

    /// Whether this version is the configuration's deletion.
    async fn is_deletion(&self) -> bool {
        self.0.is_deleted
    }

    #[graphql(flatten)]
    async fn settings(&self) -> AgentSettings<'_> {
        AgentSettings(&self.0.settings)
    }

    /// When it was saved.
    async fn created_at(&self) -> Time {
        Time(self.0.updated_at)
    }

    /// The user who saved it; null if the account no longer exists.
    async fn created_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.updated_by)).await
    }
}
