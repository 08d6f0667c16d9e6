//! Agent configurations.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use crate::domain::agent_configuration::{self, Save};
use crate::graphql::context::caller;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::scalar::Json;
use crate::graphql::types::agent_configuration::AgentConfiguration;
use crate::model::agent_configuration::{self as model, AgentSettings};
use crate::model::ids::{AgentConfigurationId, ProjectId};
use crate::model::json::Json as Text;

#[derive(Default)]
pub struct AgentConfigurationMutation;

/// The settings of an agent configuration. An absent optional field is unchanged; null resets it to its default, `{}`
/// or `[]`. The setting `MAX_TEXT_BYTES` limits their total size (10 MiB by default).
#[derive(InputObject)]
struct SaveAgentConfigurationInput {
    /// The project that the configuration is for.
    project_id: ID,
    /// The configuration to change; by default a new one.
    id: Option<ID>,
    /// Precondition: the version that the caller has read. If the configuration has another version, the error is
    /// CONFLICT and nothing is written.
    expected_version: Option<i32>,
    /// The displayed name; not empty.
    config_name: String,
    /// The purpose of the configuration. Null removes it. Absent: unchanged.
    description: MaybeUndefined<String>,
    /// The provider of speech-to-text, such as `deepgram`.
    stt_provider: String,
    /// The speech-to-text model.
    stt_model: String,
    /// Options of the speech-to-text model. The client decides the structure of all JSON here.
    stt_config: MaybeUndefined<Json>,
    /// The provider of text-to-speech, such as `elevenlabs`.
    tts_provider: String,
    /// The text-to-speech model.
    tts_model: String,
    /// Options of the text-to-speech model.
    tts_config: MaybeUndefined<Json>,
    /// The provider of the language model, such as `openai`.
    llm_provider: String,
    /// The language model.
    llm_model: String,
    /// Options of the language model.
    llm_config: MaybeUndefined<Json>,
    /// The provider of voice activity detection; `silero` by default.
    vad_provider: MaybeUndefined<String>,
    /// Options of voice activity detection.
    vad_config: MaybeUndefined<Json>,
    /// Options for detecting the end of a turn.
    turn_detection_config: MaybeUndefined<Json>,
    /// Functions that the agent can call; `[]` by default.
    function_calls: MaybeUndefined<Json>,
    /// Tools that the agent is connected to; `[]` by default.
    tool_integrations: MaybeUndefined<Json>,
    /// The instructions that the agent follows.
    agent_instructions: String,
    /// The agent's manner, such as its tone.
    agent_personality: MaybeUndefined<Json>,
    /// Names of the environment variables that the agent needs, never their values: every member reads them.
    required_env_vars: MaybeUndefined<Json>,
    /// Packages that the agent needs; `[]` by default.
    dependencies: MaybeUndefined<Json>,
    /// The files that the agent consists of.
    source_files: MaybeUndefined<Json>,
    /// Whether the project's agent uses it; the previously active one becomes inactive. A new configuration is active
    /// unless this is false.
    is_active: Option<bool>,
}

impl SaveAgentConfigurationInput {
    /// The settings after this input is saved over the present ones.
    fn over(self, present: Option<&AgentSettings>) -> AgentSettings {
        fn keep<T: Clone>(
            given: MaybeUndefined<T>,
            present: Option<&AgentSettings>,
            of: fn(&AgentSettings) -> &T,
            default: impl FnOnce() -> T,
        ) -> T {
            match given {
                MaybeUndefined::Value(value) => value,
                MaybeUndefined::Null => default(),
                MaybeUndefined::Undefined => present.map(of).cloned().unwrap_or_else(default),
            }
        }
        let object = |given: MaybeUndefined<Json>, of| keep(given.map_value(|json| json.0), present, of, Text::object);
        let list = |given: MaybeUndefined<Json>, of| keep(given.map_value(|json| json.0), present, of, Text::list);
        AgentSettings {
            config_name: self.config_name,
            description: match self.description {
                MaybeUndefined::Value(description) => Some(description.into()),
                MaybeUndefined::Null => None,
                MaybeUndefined::Undefined => present.and_then(|present| present.description.clone()),
            },
            stt_provider: self.stt_provider,
            stt_model: self.stt_model,
            stt_config: object(self.stt_config, |present| &present.stt_config),
            tts_provider: self.tts_provider,
            tts_model: self.tts_model,
            tts_config: object(self.tts_config, |present| &present.tts_config),
            llm_provider: self.llm_provider,
            llm_model: self.llm_model,
            llm_config: object(self.llm_config, |present| &present.llm_config),
            vad_provider: keep(self.vad_provider, present, |present| &present.vad_provider, || "silero".to_owned()),
            vad_config: object(self.vad_config, |present| &present.vad_config),
            turn_detection_config: object(self.turn_detection_config, |present| &present.turn_detection_config),
            function_calls: list(self.function_calls, |present| &present.function_calls),
            tool_integrations: list(self.tool_integrations, |present| &present.tool_integrations),
            agent_instructions: self.agent_instructions.into(),
            agent_personality: object(self.agent_personality, |present| &present.agent_personality),
            required_env_vars: list(self.required_env_vars, |present| &present.required_env_vars),
            dependencies: list(self.dependencies, |present| &present.dependencies),
            source_files: object(self.source_files, |present| &present.source_files),
        }
    }
}

/// Activates or deactivates a configuration.
#[derive(InputObject)]
struct SetAgentConfigurationActiveInput {
    /// The configuration to change.
    id: ID,
    /// Whether the project's agent uses it; the previously active one becomes inactive.
    is_active: bool,
    /// Precondition: the version that the caller has read. If the configuration has another version, the error is
    /// CONFLICT and nothing is written.
    expected_version: Option<i32>,
}

/// A configuration to delete.
#[derive(InputObject)]
struct DeleteAgentConfigurationInput {
    /// The configuration to delete.
    id: ID,
    /// Precondition: the version that the caller has read. If the configuration has another version, the error is
    /// CONFLICT and nothing is written.
    expected_version: Option<i32>,
}

/// A version of a configuration to restore.
#[derive(InputObject)]
struct RestoreAgentConfigurationInput {
    /// The configuration to restore, deleted or not.
    id: ID,
    /// The number of the version to restore.
    version: i32,
    /// Precondition: the version that the caller has read. If the configuration has another version, the error is
    /// CONFLICT and nothing is written.
    expected_version: Option<i32>,
}

/// Result of a write to an agent configuration.
#[derive(SimpleObject)]
struct AgentConfigurationPayload {
    /// The configuration after the write.
    agent_configuration: AgentConfiguration,
    /// The new revision, or the present one if nothing changed.
    revision: i32,
}

impl From<(model::AgentConfiguration, i32)> for AgentConfigurationPayload {
    fn from((row, revision): (model::AgentConfiguration, i32)) -> Self {
        Self { agent_configuration: AgentConfiguration { row: Box::new(row), until: None }, revision }
    }
}

#[Object]
impl AgentConfigurationMutation {
    /// Creates or changes an agent configuration. If it becomes active, the previously active one becomes inactive in
    /// the same revision.
    async fn save_agent_configuration(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The configuration and its settings.")] input: SaveAgentConfigurationInput,
    ) -> Attempt<AgentConfigurationPayload> {
        attempt(async {
            let save = Save {
                project_id: ProjectId::parse(&input.project_id, "projectId")?,
                id: input.id.as_ref().map(|id| AgentConfigurationId::parse(id, "id")).transpose()?,
                is_active: input.is_active,
                expected_version: input.expected_version,
            };
            let caller = caller(ctx)?;
            let settings = |present: Option<&AgentSettings>| input.over(present);
            let done = caller.write(ctx, |writer| agent_configuration::save(writer, save, settings));
            Ok(done.await?.into())
        })
        .await
    }

    /// Activates or deactivates an agent configuration without changing its settings.
    async fn set_agent_configuration_active(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The configuration, and whether it is active.")] input: SetAgentConfigurationActiveInput,
    ) -> Attempt<AgentConfigurationPayload> {
        attempt(async {
            let id = AgentConfigurationId::parse(&input.id, "id")?;
            let caller = caller(ctx)?;
            let set = |writer| agent_configuration::set_active(writer, id, input.is_active, input.expected_version);
            Ok(caller.write(ctx, set).await?.into())
        })
        .await
    }

    /// Deletes an agent configuration. Its versions are kept.
    async fn delete_agent_configuration(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The configuration to delete.")] input: DeleteAgentConfigurationInput,
    ) -> Attempt<AgentConfigurationPayload> {
        attempt(async {
            let id = AgentConfigurationId::parse(&input.id, "id")?;
            let caller = caller(ctx)?;
            let delete = |writer| agent_configuration::delete(writer, id, input.expected_version);
            Ok(caller.write(ctx, delete).await?.into())
        })
        .await
    }

    /// Restores a version of an agent configuration as a new version. A deleted configuration is restored as inactive.
    async fn restore_agent_configuration(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The configuration and the version.")] input: RestoreAgentConfigurationInput,
    ) -> Attempt<AgentConfigurationPayload> {
        attempt(async {
            let id = AgentConfigurationId::parse(&input.id, "id")?;
            let caller = caller(ctx)?;
            let restore = |writer| agent_configuration::restore(writer, id, input.version, input.expected_version);
            Ok(caller.write(ctx, restore).await?.into())
        })
        .await
    }
}
