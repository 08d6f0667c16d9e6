//! The root of mutations, a file per noun. Every one is one transaction and one revision.

use async_graphql::{Context, MergedObject};

use super::context::caller;
use super::types::project::Project;
use crate::model::error::Result;
use crate::model::ids::ProjectId;

mod agent_configuration;
mod chat;
mod collaborator;
mod file;
mod profile;
mod project;
mod snapshot;
mod streaming_message;

/// The project of a payload, read back only if the operation selects it.
async fn project_of(ctx: &Context<'_>, id: ProjectId) -> Result<Option<Project>> {
    if !ctx.look_ahead().field("project").exists() {
        return Ok(None);
    }
    Ok(caller(ctx)?.load(id).await?.map(Project))
}

/// All mutations. Each is one transaction and one revision, and succeeds or fails completely.
#[derive(MergedObject, Default)]
pub struct Mutation(
    profile::ProfileMutation,
    project::ProjectMutation,
    chat::ChatMutation,
    streaming_message::StreamingMessageMutation,
    file::FileMutation,
    snapshot::SnapshotMutation,
    collaborator::CollaboratorMutation,
    agent_configuration::AgentConfigurationMutation,
);
