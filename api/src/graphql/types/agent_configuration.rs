//! Agent configurations.

use async_graphql::{Context, ID, Object};

use super::profile::User;
use super::project::Project;
use crate::graphql::context::caller;
use crate::graphql::error::or_null;
use crate::graphql::loader::{Part, VersionsUntil};
use crate::graphql::page::{Page, Total, connection};
use crate::graphql::row::Plain;
use crate::graphql::scalar::{Json, Time};
use crate::model::agent_configuration as model;
use crate::model::error::Result;
use crate::model::ids::{ReadId, Within};
use crate::model::page::{self, Page as PageArguments};

/// What a configuration says, which it has in common with its versions.
struct AgentSettings<'a>(&'a model::AgentSettings);

#[Object]
impl<'a> AgentSettings<'a> {
    /// Its name.
    async fn config_name(&self) -> &str {
        &self.0.config_name
    }

    /// What it is for.
    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// Who turns speech into text.
    async fn stt_provider(&self) -> &str {
        &self.0.stt_provider
    }

    /// By which model.
    async fn stt_model(&self) -> &str {
        &self.0.stt_model
    }

    /// With which options; as all JSON here, of the client's own shape.
    async fn stt_config(&self) -> Json {
        Json(self.0.stt_config.clone())
    }

    /// Who turns text into speech.
    async fn tts_provider(&self) -> &str {
        &self.0.tts_provider
    }

    /// By which model.
    async fn tts_model(&self) -> &str {
        &self.0.tts_model
    }

    /// With which options.
    async fn tts_config(&self) -> Json {
        Json(self.0.tts_config.clone())
    }

    /// Who answers.
    async fn llm_provider(&self) -> &str {
        &self.0.llm_provider
    }

    /// By which model.
    async fn llm_model(&self) -> &str {
        &self.0.llm_model
    }

    /// With which options.
    async fn llm_config(&self) -> Json {
        Json(self.0.llm_config.clone())
    }

    /// Who detects that somebody speaks.
    async fn vad_provider(&self) -> &str {
        &self.0.vad_provider
    }

    /// With which options.
    async fn vad_config(&self) -> Json {
        Json(self.0.vad_config.clone())
    }

    /// How the end of a turn is detected.
    async fn turn_detection_config(&self) -> Json {
        Json(self.0.turn_detection_config.clone())
    }

    /// Functions that the agent may call.
    async fn function_calls(&self) -> Json {
        Json(self.0.function_calls.clone())
    }

    /// Tools that it is connected to.
    async fn tool_integrations(&self) -> Json {
        Json(self.0.tool_integrations.clone())
    }

    /// What it is told to do.
    async fn agent_instructions(&self) -> &str {
        &self.0.agent_instructions
    }

    /// How it is to be.
    async fn agent_personality(&self) -> Json {
        Json(self.0.agent_personality.clone())
    }

    /// Names of the environment variables that it needs; never their values, which every member would read.
    async fn required_env_vars(&self) -> Json {
        Json(self.0.required_env_vars.clone())
    }

    /// Packages that it needs.
    async fn dependencies(&self) -> Json {
        Json(self.0.dependencies.clone())
    }

    /// The files that it is made of.
    async fn source_files(&self) -> Json {
        Json(self.0.source_files.clone())
    }
}

/// A configuration of a project's voice agent. Every save is a revision and a new version; at most one of a project's is active.
/// Going back to an earlier state of the files leaves configurations alone: `restoreAgentConfiguration` is for them.
pub struct AgentConfiguration {
    pub row: Box<model::AgentConfiguration>,
    /// The revision as of which it is read; `None` is now.
    pub until: Option<i32>,
}

#[Object]
impl AgentConfiguration {
    /// Its id: a UUID, the same in all its versions, and `<uuid>@<revision>` for a configuration that is read as of a revision.
    pub(super) async fn id(&self) -> ID {
        ReadId { id: self.row.id, at: self.until }.to_string().into()
    }

    /// The configuration as it is now; null if it is deleted.
    async fn present(&self, ctx: &Context<'_>) -> Option<Result<AgentConfiguration>> {
        or_null(async {
            let row = caller(ctx)?.load(self.row.id).await?.filter(|row| !row.is_deleted);
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

    /// Whether it is the one that the project's agent runs by.
    async fn is_active(&self) -> bool {
        self.row.is_active
    }

    /// Whether it is deleted; `restoreAgentConfiguration` brings it back.
    async fn is_deleted(&self) -> bool {
        self.row.is_deleted
    }

    /// The number of its versions: what `expectedVersion` guards.
    async fn version(&self) -> i32 {
        self.row.version
    }

    /// When it was made.
    async fn created_at(&self) -> Time {
        Time(self.row.created_at)
    }

    /// When it last changed.
    async fn updated_at(&self) -> Time {
        Time(self.row.updated_at)
    }

    /// Who changed it last.
    async fn updated_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.row.updated_by)).await
    }

    /// Every version, newest first, the present one among them.
    async fn versions(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<AgentConfigurationVersion>> {
        let page = PageArguments::parse(first, after, last, before, page::LIST)?;
        let part = Part {
            parent: Within { project: self.row.project_id, id: self.row.id },
            keep: VersionsUntil(self.until),
            page,
        };
        let slice = caller(ctx)?.load(part).await?.unwrap_or_default();
        Ok(connection(slice, Total::Known(self.row.version.into()), AgentConfigurationVersion))
    }
}

/// One version of an agent configuration.
pub struct AgentConfigurationVersion(pub model::AgentConfiguration);

impl Plain for AgentConfigurationVersion {
    fn is_plain(_: &str) -> bool {
        false
    }
}

#[Object]
impl AgentConfigurationVersion {
    /// The id of the configuration.
    async fn configuration_id(&self) -> ID {
        self.0.id.0.into()
    }

    /// Its number, from 1.
    async fn version(&self) -> i32 {
        self.0.version
    }

    /// The revision that made it.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// Whether the configuration was active.
    async fn is_active(&self) -> bool {
        self.0.is_active
    }

    /// True where this version is the configuration's deletion.
    async fn is_deletion(&self) -> bool {
        self.0.is_deleted
    }

    #[graphql(flatten)]
    async fn settings(&self) -> AgentSettings<'_> {
        AgentSettings(&self.0.settings)
    }

    /// When it was made.
    async fn created_at(&self) -> Time {
        Time(self.0.updated_at)
    }

    /// Who made it.
    async fn created_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.updated_by)).await
    }
}
