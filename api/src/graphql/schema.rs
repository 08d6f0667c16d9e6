//! The schema, built without a database.

use std::sync::{Arc, OnceLock};

use async_graphql::{SDLExportOptions, Schema, SchemaBuilder, ValidationMode};

use super::document::FrontEnd;
use super::guard;
use super::mutation::Mutation;
use super::page::Page;
use super::query::Query;
use super::subscription::Subscription;
use super::types::agent_configuration::AgentConfigurationVersion;
use super::types::chat::{ChatActivity, ChatMessage, ChatSession};
use super::types::code_change::CodeChange;
use super::types::collaborator::Invitation;
use super::types::file::{FileSnapshot, ProjectFile};
use super::types::project::Project;
use super::types::snapshot::ProjectSnapshot;
use super::types::webhook::WebhookDelivery;
use crate::model::limits::Limits;

/// The schema of the API.
pub type AppSchema = Schema<Query, Mutation, Subscription>;

/// Builds the schema with limits on the number of rows that lists can return. The cost limits of documents are checked
/// earlier (`guard`).
pub fn build(limits: &Limits) -> AppSchema {
    build_with(limits, ValidationMode::Strict)
}

/// As [`build`], without the library's validator.
pub fn build_without_validator(limits: &Limits) -> AppSchema {
    build_with(limits, ValidationMode::Fast)
}

fn build_with(limits: &Limits, validation: ValidationMode) -> AppSchema {
    let schema = describe(Schema::build(Query::default(), Mutation::default(), Subscription))
        .limit_complexity(limits.max_query_complexity)
        .validation_mode(validation);
    // The library also limits the nesting of fields and fragments; the guard is stricter and comes first.
    let schema = schema.limit_recursive_depth(limits.max_query_depth.saturating_mul(guard::NESTING));
    // Suggestions for misspelt names would reveal the schema.
    if limits.introspection { schema } else { schema.disable_introspection().disable_suggestions() }.finish()
}

/// The front end for the schema. The servers of a process share it: parsing the schema takes most of the time of a start.
///
/// # Errors
/// What is wrong with the schema.
pub fn front_end(schema: &AppSchema) -> anyhow::Result<Arc<FrontEnd>> {
    static SHARED: OnceLock<Arc<FrontEnd>> = OnceLock::new();
    if let Some(front_end) = SHARED.get() {
        return Ok(front_end.clone());
    }
    let front_end = Arc::new(FrontEnd::new(&schema.sdl())?);
    Ok(SHARED.get_or_init(|| front_end).clone())
}

/// The arguments of the built-in directives, with their descriptions in introspection, which the library does not
/// print.
const DIRECTIVES: [(&str, &str, &str); 4] = [
    ("skip", "if: Boolean!", "Skipped when true."),
    ("include", "if: Boolean!", "Included when true."),
    (
        "deprecated",
        "reason: String = \"No longer supported\"",
        "A reason for why it is deprecated, formatted using Markdown syntax",
    ),
    ("specifiedBy", "url: String!", "URL that specifies the behavior of this scalar."),
];

/// The schema in the schema definition language.
pub fn sdl(schema: &AppSchema) -> String {
    let sdl = schema.sdl_with_options(SDLExportOptions::new().include_specified_by());
    DIRECTIVES.into_iter().fold(sdl, |sdl, (name, argument, description)| {
        let described = format!("directive @{name}(\n\t\"\"\"\n\t{description}\n\t\"\"\"\n\t{argument}\n)");
        sdl.replace(&format!("directive @{name}({argument})"), &described)
    })
}

/// Describes the types that the library generates.
fn describe(schema: SchemaBuilder<Query, Mutation, Subscription>) -> SchemaBuilder<Query, Mutation, Subscription> {
    schema
        .override_output_type_description::<Page<Project>>("A page of projects, in the form of Relay's connections.")
        .override_output_type_description::<Page<ChatActivity>>(
            "A page of recent messages, in the form of Relay's connections.",
        )
        .override_output_type_description::<Page<ChatSession>>(
            "A page of sessions, in the form of Relay's connections.",
        )
        .override_output_type_description::<Page<ChatMessage>>(
            "A page of messages, in the form of Relay's connections.",
        )
        .override_output_type_description::<Page<ProjectFile>>(
            "A page of files and folders, in the form of Relay's connections.",
        )
        .override_output_type_description::<Page<FileSnapshot>>(
            "A page of a file's versions, in the form of Relay's connections.",
        )
        .override_output_type_description::<Page<CodeChange>>(
            "A page of code changes, in the form of Relay's connections.",
        )
        .override_output_type_description::<Page<ProjectSnapshot>>(
            "A page of snapshots, in the form of Relay's connections.",
        )
        .override_output_type_description::<Page<Invitation>>(
            "A page of invitations, in the form of Relay's connections.",
        )
        .override_output_type_description::<Page<AgentConfigurationVersion>>(
            "A page of a configuration's versions, in the form of Relay's connections.",
        )
        .override_output_type_description::<Page<WebhookDelivery>>(
            "A page of a webhook's deliveries, in the form of Relay's connections.",
        )
}
