//! The root of mutations, a file per noun. A mutation that changes a project's history is one transaction and one
//! revision.

use async_graphql::MergedObject;

mod access_token;
mod agent_configuration;
mod chat;
mod collaborator;
mod file;
mod profile;
mod project;
mod snapshot;
mod streaming_message;

use self::project::project_of;

/// All mutations. Each succeeds or fails completely. A change of a project's history is one revision.
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
    access_token::AccessTokenMutation,
);
