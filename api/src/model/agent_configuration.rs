//! Configurations of the voice agent that a project builds.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::ids::{AgentConfigurationId, ProjectId, UserId};
use super::json::Json;
use super::long_columns::LongColumns;

/// A version of an agent configuration.
#[derive(Clone, Debug)]
pub struct AgentConfiguration {
    /// The id of the configuration, the same in all versions.
    pub id: AgentConfigurationId,
    /// The project.
    pub project_id: ProjectId,
    /// The settings.
    pub settings: AgentSettings,
    /// Whether the project's agent uses this configuration.
    pub is_active: bool,
    /// Whether this version is a deletion.
    pub is_deleted: bool,
    /// The version number, from 1.
    pub version: i32,
    /// The revision that created this version.
    pub revision: i32,
    /// When the configuration was created.
    pub created_at: DateTime<Utc>,
    /// When this version was created.
    pub updated_at: DateTime<Utc>,
    /// The user who created this version.
    pub updated_by: Option<UserId>,
}

/// The content of a configuration. Clients define the structure of the JSON values.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSettings {
    /// Name; never empty.
    pub config_name: String,
    /// Description.
    pub description: Option<Arc<str>>,
    /// Provider of speech to text.
    pub stt_provider: String,
    /// Model of speech to text.
    pub stt_model: String,
    /// Options of speech to text.
    pub stt_config: Json,
    /// Provider of text to speech.
    pub tts_provider: String,
    /// Model of text to speech.
    pub tts_model: String,
    /// Options of text to speech.
    pub tts_config: Json,
    /// Provider of the language model.
    pub llm_provider: String,
    /// The language model.
    pub llm_model: String,
    /// Options of the language model.
    pub llm_config: Json,
    /// Provider of voice activity detection.
    pub vad_provider: String,
    /// Options of voice activity detection.
    pub vad_config: Json,
    /// Options of turn detection.
    pub turn_detection_config: Json,
    /// Functions that the agent can call.
    pub function_calls: Json,
    /// Tools that the agent can use.
    pub tool_integrations: Json,
    /// Instructions for the agent.
    pub agent_instructions: Arc<str>,
    /// Personality of the agent.
    pub agent_personality: Json,
    /// Names of the required environment variables.
    pub required_env_vars: Json,
    /// Required packages.
    pub dependencies: Json,
    /// Source files of the agent.
    pub source_files: Json,
}

impl AgentSettings {
    /// The required texts with the names of their arguments.
    pub fn names(&self) -> [(&'static str, &String); 8] {
        [
            ("configName", &self.config_name),
            ("sttProvider", &self.stt_provider),
            ("sttModel", &self.stt_model),
            ("ttsProvider", &self.tts_provider),
            ("ttsModel", &self.tts_model),
            ("llmProvider", &self.llm_provider),
            ("llmModel", &self.llm_model),
            ("vadProvider", &self.vad_provider),
        ]
    }

    /// The JSON values with the names of their arguments.
    pub fn values(&self) -> [(&'static str, &Json); 11] {
        [
            ("sttConfig", &self.stt_config),
            ("ttsConfig", &self.tts_config),
            ("llmConfig", &self.llm_config),
            ("vadConfig", &self.vad_config),
            ("turnDetectionConfig", &self.turn_detection_config),
            ("functionCalls", &self.function_calls),
            ("toolIntegrations", &self.tool_integrations),
            ("agentPersonality", &self.agent_personality),
            ("requiredEnvVars", &self.required_env_vars),
            ("dependencies", &self.dependencies),
            ("sourceFiles", &self.source_files),
        ]
    }
}

/// Filter for a project's configurations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AgentConfigurationFilter {
    /// Return only the active one.
    pub active_only: bool,
    /// Include deleted ones.
    pub include_deleted: bool,
    /// The revision to read at; `None` is the current one.
    pub at: Option<i32>,
    /// The long columns of the rows that are needed.
    pub long_columns: LongColumns,
}
