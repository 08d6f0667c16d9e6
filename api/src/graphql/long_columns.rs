//! The long columns that fields return.

use async_graphql::Lookahead;

use crate::model::long_columns::{LongColumn, LongColumns};

/// The long columns that a list selects of its rows, which have this type.
pub fn of_rows(list: &Lookahead<'_>, row: &str) -> LongColumns {
    let rows = [list.field("nodes"), list.field("edges").field("node")];
    rows.iter().fold(LongColumns::NONE, |columns, rows| columns.or(of_object(rows, row)))
}

/// The long columns that an operation selects of an object of this type.
pub fn of_object(object: &Lookahead<'_>, kind: &str) -> LongColumns {
    let fields = object.selection_fields();
    let fields = fields.iter().flat_map(|field| field.selection_set());
    let own = LongColumns::of(fields.filter_map(|field| of_field(kind, field.name())));
    match kind {
        // Both are made of the same row.
        "ChatActivity" => own.or(of_object(&object.field("message"), "ChatMessage")),
        _ => own,
    }
}

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
