//! The schema; built without a database.

use async_graphql::{SDLExportOptions, Schema, SchemaBuilder, ValidationMode};

use super::guard;
use super::mutation::Mutation;
use super::page::Page;
use super::query::Query;
use super::subscription::Subscription;
use super::types::agent_configuration::AgentConfigurationVersion;
use super::types::chat::{ChatActivity, ChatMessage, ChatSession};
use super::types::collaborator::Invitation;
use super::types::file::{CodeChange, FileSnapshot, ProjectFile};
use super::types::project::Project;
use super::types::snapshot::ProjectSnapshot;
use crate::model::limits::Limits;

/// The schema of the API.
pub type AppSchema = Schema<Query, Mutation, Subscription>;

/// Builds the schema. It weighs operations by what their lists may bring; what their documents may cost is checked before it
/// sees them (`guard`).
pub fn build(limits: &Limits) -> AppSchema {
    let schema = describe(Schema::build(Query::default(), Mutation::default(), Subscription))
        .limit_complexity(limits.max_query_complexity);
    // `document` has validated all that comes here: the library's own rules would judge again at each run, and only weighing is left.
    let schema = schema.validation_mode(ValidationMode::Fast);
    // Its own check of recursion counts what the guard has counted, fragments besides; it comes second.
    let schema = schema.limit_recursive_depth(limits.max_query_depth.saturating_mul(guard::NESTING));
    // What is similar to a misspelt name is the schema too.
    if limits.introspection { schema } else { schema.disable_introspection().disable_suggestions() }.finish()
}

/// The schema in its definition language.
pub fn sdl(schema: &AppSchema) -> String {
    schema.sdl_with_options(SDLExportOptions::new().include_specified_by())
}

/// Describes the types that the library makes of ours.
fn describe(schema: SchemaBuilder<Query, Mutation, Subscription>) -> SchemaBuilder<Query, Mutation, Subscription> {
    schema
        .override_output_type_description::<Page<Project>>("A page of projects, as Relay's connections are.")
        .override_output_type_description::<Page<ChatActivity>>(
            "A page of recent messages, as Relay's connections are.",
        )
        .override_output_type_description::<Page<ChatSession>>("A page of sessions, as Relay's connections are.")
        .override_output_type_description::<Page<ChatMessage>>("A page of messages, as Relay's connections are.")
        .override_output_type_description::<Page<ProjectFile>>(
            "A page of files and folders, as Relay's connections are.",
        )
        .override_output_type_description::<Page<FileSnapshot>>(
            "A page of a file's versions, as Relay's connections are.",
        )
        .override_output_type_description::<Page<CodeChange>>("A page of code changes, as Relay's connections are.")
        .override_output_type_description::<Page<ProjectSnapshot>>("A page of snapshots, as Relay's connections are.")
        .override_output_type_description::<Page<Invitation>>("A page of invitations, as Relay's connections are.")
        .override_output_type_description::<Page<AgentConfigurationVersion>>(
            "A page of a configuration's versions, as Relay's connections are.",
        )
}
