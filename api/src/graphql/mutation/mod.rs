//! The root of mutations, a file per noun. Every one is one transaction and one revision.

use async_graphql::MergedObject;

mod agent_configuration;
mod chat;
mod collaborator;
mod file;
mod growing_message;
mod profile;
mod project;
mod snapshot;

/// Writing. Each mutation is one transaction and one revision: all of it happens or none of it does.
#[derive(MergedObject, Default)]
pub struct Mutation(
    profile::ProfileMutation,
    project::ProjectMutation,
    chat::ChatMutation,
    growing_message::GrowingMessageMutation,
    file::FileMutation,
    snapshot::SnapshotMutation,
    collaborator::CollaboratorMutation,
    agent_configuration::AgentConfigurationMutation,
);
