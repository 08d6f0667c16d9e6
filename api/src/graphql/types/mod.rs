//! The object types, a file per noun.

use async_graphql::{Context, ID, Interface};

use super::context::caller;
use super::loader::{Past, UndosOf};
use super::needing::needing;
use crate::model::error::{Error, Result};
use crate::model::ids::{MessageId, ProjectId, SessionId, UserId};

pub mod access_token;
pub mod agent_configuration;
pub mod blame;
pub mod chat;
pub mod code_change;
pub mod collaborator;
pub mod event;
pub mod file;
pub mod insights;
pub mod presence;
pub mod profile;
pub mod project;
pub mod project_input;
pub mod project_stats;
pub mod snapshot;
pub mod streaming_message;
pub mod webhook;

use access_token::AccessToken;
use agent_configuration::{AgentConfiguration, AgentConfigurationVersion};
use chat::{ChatActivity, ChatMessage, ChatSession};
use code_change::CodeChange;
use collaborator::{Collaborator, EmailInvitation, Invitation};
use event::ProjectEvent;
use file::{FileSnapshot, ProjectFile};
use presence::Presence;
use profile::{User, UserPreferences};
use project::Project;
use snapshot::ProjectSnapshot;
use streaming_message::StreamingMessage;
use webhook::{Webhook, WebhookDelivery};

/// An object that `node` finds by its id.
#[derive(Interface)]
#[graphql(field(
    name = "id",
    ty = "ID",
    desc = "The globally unique id. `<uuid>@<revision>` is the object as of that revision."
))]
pub enum Node {
    /// A user.
    User(User),
    /// A user's preferences.
    UserPreferences(UserPreferences),
    /// A project.
    Project(Project),
    /// A chat session.
    ChatSession(ChatSession),
    /// A chat message.
    ChatMessage(ChatMessage),
    /// A message in the list of recent ones.
    ChatActivity(ChatActivity),
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
    /// A version of an agent configuration.
    AgentConfigurationVersion(AgentConfigurationVersion),
    /// An entry of a project's log.
    ProjectEvent(ProjectEvent),
    /// A collaborator of a project.
    Collaborator(Collaborator),
    /// An invitation that the caller has not answered.
    Invitation(Invitation),
    /// An invitation to an e-mail address.
    EmailInvitation(EmailInvitation),
    /// A user who subscribes to a project.
    Presence(Presence),
    /// A streaming message.
    StreamingMessage(StreamingMessage),
    /// A webhook of a project.
    Webhook(Webhook),
    /// A delivery to a webhook.
    WebhookDelivery(WebhookDelivery),
    /// An access token of a machine.
    AccessToken(AccessToken),
}

/// Loads an object that a row refers to. It is missing only if the caller has left the project or was removed since the
/// row was read.
macro_rules! required {
    ($ctx:expr, $key:expr, $noun:literal) => {
        caller($ctx)?.load($key).await?.ok_or_else(|| Error::not_found($noun, "id"))
    };
}

async fn user(ctx: &Context<'_>, id: UserId) -> Result<User> {
    Ok(User(required!(ctx, needing(ctx, id), "user")?))
}

/// A project, now or as of a revision.
async fn project(ctx: &Context<'_>, id: ProjectId, at: Option<i32>) -> Result<Project> {
    match at {
        Some(at) => Ok(Project(required!(ctx, needing(ctx, Past(id, at)), "project")?)),
        None => Ok(Project(required!(ctx, needing(ctx, id), "project")?)),
    }
}

/// A session, now or as of a revision.
async fn session(ctx: &Context<'_>, id: SessionId, at: Option<i32>) -> Result<ChatSession> {
    match at {
        Some(at) => Ok(ChatSession(required!(ctx, needing(ctx, Past(id, at)), "session")?)),
        None => Ok(ChatSession(required!(ctx, needing(ctx, id), "session")?)),
    }
}

async fn optional_user(ctx: &Context<'_>, id: Option<UserId>) -> Result<Option<User>> {
    let Some(id) = id else { return Ok(None) };
    Ok(caller(ctx)?.load(needing(ctx, id)).await?.map(User))
}

async fn optional_session(ctx: &Context<'_>, id: Option<SessionId>) -> Result<Option<ChatSession>> {
    let Some(id) = id else { return Ok(None) };
    Ok(caller(ctx)?.load(needing(ctx, id)).await?.map(ChatSession))
}

async fn optional_message(ctx: &Context<'_>, id: Option<MessageId>) -> Result<Option<ChatMessage>> {
    let Some(id) = id else { return Ok(None) };
    Ok(caller(ctx)?.load(needing(ctx, id)).await?.map(ChatMessage::from))
}

/// The revisions that a revision undoes.
async fn undoes(ctx: &Context<'_>, project: ProjectId, revision: i32) -> Result<Vec<i32>> {
    let undos = caller(ctx)?.load(UndosOf(project)).await?;
    Ok(undos.map(|undos| undos.undoes(revision).to_vec()).unwrap_or_default())
}

/// The revision that undid another one.
async fn undone_by(ctx: &Context<'_>, project: ProjectId, revision: i32) -> Result<Option<i32>> {
    let undos = caller(ctx)?.load(UndosOf(project)).await?;
    Ok(undos.and_then(|undos| undos.undone_by(revision)))
}
