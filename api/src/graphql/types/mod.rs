//! The object types, a file per noun.

use async_graphql::{Context, ID, Interface};

use super::context::caller;
use super::loader::UndosOf;
use crate::model::error::{Error, Result};
use crate::model::ids::ProjectId;

pub mod agent_configuration;
pub mod chat;
pub mod collaborator;
pub mod event;
pub mod file;
pub mod growing_message;
pub mod presence;
pub mod profile;
pub mod project;
pub mod snapshot;

use agent_configuration::AgentConfiguration;
use chat::{ChatMessage, ChatSession};
use file::{CodeChange, FileSnapshot, ProjectFile};
use profile::User;
use project::Project;
use snapshot::ProjectSnapshot;

/// Anything with an id that is unique among all things.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Its id."))]
pub enum Node {
    /// A user.
    User(User),
    /// A project.
    Project(Project),
    /// A chat session.
    ChatSession(ChatSession),
    /// A chat message.
    ChatMessage(ChatMessage),
    /// A file.
    ProjectFile(ProjectFile),
    /// A version of a file.
    FileSnapshot(FileSnapshot),
    /// A code change.
    CodeChange(CodeChange),
    /// A snapshot of a project.
    ProjectSnapshot(ProjectSnapshot),
    /// An agent configuration.
    AgentConfiguration(AgentConfiguration),
}

/// Loads what a row refers to and what must therefore be there, unless the caller has lost sight of the project since they
/// read the row: by leaving it, or by being removed.
macro_rules! required {
    ($ctx:expr, $key:expr, $noun:literal) => {
        caller($ctx)?.load($key).await?.ok_or_else(|| Error::not_found($noun, "id"))
    };
}

async fn user(ctx: &Context<'_>, id: crate::model::ids::UserId) -> Result<User> {
    Ok(User(required!(ctx, id, "user")?))
}

async fn project(ctx: &Context<'_>, id: crate::model::ids::ProjectId) -> Result<Project> {
    Ok(Project(required!(ctx, id, "project")?))
}

async fn session(ctx: &Context<'_>, id: crate::model::ids::SessionId) -> Result<ChatSession> {
    Ok(ChatSession(required!(ctx, id, "session")?))
}

async fn optional_user(ctx: &Context<'_>, id: Option<crate::model::ids::UserId>) -> Result<Option<User>> {
    let Some(id) = id else { return Ok(None) };
    Ok(caller(ctx)?.load(id).await?.map(User))
}

async fn optional_session(ctx: &Context<'_>, id: Option<crate::model::ids::SessionId>) -> Result<Option<ChatSession>> {
    let Some(id) = id else { return Ok(None) };
    Ok(caller(ctx)?.load(id).await?.map(ChatSession))
}

async fn optional_message(ctx: &Context<'_>, id: Option<crate::model::ids::MessageId>) -> Result<Option<ChatMessage>> {
    let Some(id) = id else { return Ok(None) };
    Ok(caller(ctx)?.load(id).await?.map(ChatMessage))
}

/// The revisions that a revision takes back.
async fn undoes(ctx: &Context<'_>, project: ProjectId, revision: i32) -> Result<Vec<i32>> {
    let undos = caller(ctx)?.load(UndosOf(project)).await?;
    Ok(undos.map(|undos| undos.undoes(revision).to_vec()).unwrap_or_default())
}

/// The revision that has taken another back.
async fn undone_by(ctx: &Context<'_>, project: ProjectId, revision: i32) -> Result<Option<i32>> {
    let undos = caller(ctx)?.load(UndosOf(project)).await?;
    Ok(undos.and_then(|undos| undos.undone_by(revision)))
}
