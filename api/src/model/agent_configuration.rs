//! Configurations of the voice agent that a project builds.

use chrono::{DateTime, Utc};

use super::ids::{AgentConfigurationId, ProjectId, UserId};
use super::json::Json;

/// One version of an agent configuration: the present one, or one of the past.
#[derive(Clone, Debug)]
pub struct AgentConfiguration {
    /// The configuration's id, the same in all its versions.
    pub id: AgentConfigurationId,
    /// Its project.
    pub project_id: ProjectId,
    /// What it says.
    pub settings: AgentSettings,
    /// Whether it is the one that the project's agent runs by.
    pub is_active: bool,
    /// Whether this version is its deletion.
    pub is_deleted: bool,
    /// The version's number, from 1.
    pub version: i32,
    /// The revision that made this version.
    pub revision: i32,
    /// When the configuration was first made.
    pub created_at: DateTime<Utc>,
    /// When this version was made.
    pub updated_at: DateTime<Utc>,
    /// Who made this version.
    pub updated_by: Option<UserId>,
}

/// What a configuration says. The shape of the JSON values is the client's.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSettings {
    /// Its name; never empty.
    pub config_name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Who turns speech into text.
    pub stt_provider: String,
    /// By which model.
    pub stt_model: String,
    /// With which options.
    pub stt_config: Json,
    /// Who turns text into speech.
    pub tts_provider: String,
    /// By which model.
    pub tts_model: String,
    /// With which options.
    pub tts_config: Json,
    /// Who answers.
    pub llm_provider: String,
    /// By which model.
    pub llm_model: String,
    /// With which options.
    pub llm_config: Json,
    /// Who detects that somebody speaks.
    pub vad_provider: String,
    /// With which options.
    pub vad_config: Json,
    /// How the end of a turn is detected.
    pub turn_detection_config: Json,
    /// Functions that the agent may call.
    pub function_calls: Json,
    /// Tools that it is connected to.
    pub tool_integrations: Json,
    /// What it is told to do.
    pub agent_instructions: String,
    /// How it is to be.
    pub agent_personality: Json,
    /// Names of the environment variables that it needs.
    pub required_env_vars: Json,
    /// Packages that it needs.
    pub dependencies: Json,
    /// The files that it is made of.
    pub source_files: Json,
}

impl AgentSettings {
    /// The texts that must be there, each with the name of its argument.
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

    /// The JSON values, each with the name of its argument.
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

/// Which configurations of a project a list keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AgentConfigurationFilter {
    /// Only the active one.
    pub active_only: bool,
    /// The deleted ones as well.
    pub include_deleted: bool,
    /// As of this revision; without one, now.
    pub at: Option<i32>,
}
