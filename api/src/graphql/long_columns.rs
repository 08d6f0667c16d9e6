//! The long columns that fields return.

use crate::model::long_columns::LongColumn;

/// The long column that a field of a type returns, if it is one.
pub fn of_field(parent: &str, field: &str) -> Option<LongColumn> {
    use LongColumn as Column;
    Some(match (parent, field) {
        ("User", "avatarUrl") => Column::AvatarUrl,
        ("UserPreferences", "notificationPreferences") => Column::NotificationPreferences,
        ("UserPreferences", "uiPreferences") => Column::UiPreferences,
        ("Project", "description") => Column::ProjectDescription,
        ("Project", "initialPrompt") => Column::InitialPrompt,
        ("Project", "config") => Column::ProjectConfig,
        ("ChatSession", "metadata") => Column::SessionMetadata,
        ("ChatMessage", "content") => Column::MessageContent,
        ("ChatMessage", "contextData") => Column::MessageContextData,
        ("ChatMessage", "metadata") => Column::MessageMetadata,
        ("ChatActivity", "excerpt") => Column::MessageExcerpt,
        ("StreamingMessage", "contextData") => Column::StreamingContextData,
        ("StreamingMessage", "metadata") => Column::StreamingMetadata,
        ("CodeChange" | "FileSnapshot", "changeDescription") => Column::ChangeDescription,
        ("ProjectSnapshot", "description") => Column::SnapshotDescription,
        ("AgentConfiguration" | "AgentConfigurationVersion", field) => match field {
            "description" => Column::AgentDescription,
            "sttConfig" => Column::SttConfig,
            "ttsConfig" => Column::TtsConfig,
            "llmConfig" => Column::LlmConfig,
            "vadConfig" => Column::VadConfig,
            "turnDetectionConfig" => Column::TurnDetectionConfig,
            "functionCalls" => Column::FunctionCalls,
            "toolIntegrations" => Column::ToolIntegrations,
            "agentInstructions" => Column::AgentInstructions,
            "agentPersonality" => Column::AgentPersonality,
            "requiredEnvVars" => Column::RequiredEnvVars,
            "dependencies" => Column::Dependencies,
            "sourceFiles" => Column::SourceFiles,
            _ => return None,
        },
        _ => return None,
    })
}
