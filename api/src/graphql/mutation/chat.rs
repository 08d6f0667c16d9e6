//! Sessions and messages.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::domain::chat::{self, Added};
use crate::graphql::context::caller;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::names::MessageRole;
use crate::graphql::scalar::Json;
use crate::graphql::types::chat::{ChatMessage, ChatSession};
use crate::graphql::types::snapshot::ProjectSnapshot;
use crate::model::chat::{NewMessage, NewSession};
use crate::model::ids::{ProjectId, SessionId};

#[derive(Default)]
pub struct ChatMutation;

/// What a new session is made of.
#[derive(InputObject)]
struct StartSessionInput {
    /// Its project.
    project_id: ID,
    /// Its title.
    title: Option<String>,
    /// The client's own data; `{}` where it is left out.
    metadata: Option<Json>,
}

/// What a write to a session answers.
#[derive(SimpleObject)]
struct SessionPayload {
    /// The session.
    session: ChatSession,
    /// The revision that was made, or the present one where nothing changed.
    revision: i32,
}

/// What a new message is made of.
#[derive(InputObject)]
struct AddMessageInput {
    /// Its session: one of the caller's own that has not ended.
    session_id: ID,
    /// Whose voice it is.
    role: MessageRole,
    /// Its text.
    content: String,
    /// Whether the state of the files belongs to it. An assistant's checkpoint makes a snapshot.
    #[graphql(default_with = "Some(false)")]
    is_checkpoint: Option<bool>,
    /// What the AI knew; its shape is the client's; `{}` where it is left out.
    context_data: Option<Json>,
    /// The client's own data; `{}` where it is left out.
    metadata: Option<Json>,
    /// Makes a retry safe: the same key in the same session answers with the first message.
    idempotency_key: Option<String>,
}

/// What adding a message answers.
#[derive(SimpleObject)]
pub(super) struct MessagePayload {
    /// The message.
    message: ChatMessage,
    /// The snapshot of an assistant's checkpoint.
    snapshot: Option<ProjectSnapshot>,
    /// The revision that added it.
    revision: i32,
}

impl From<Added> for MessagePayload {
    fn from(added: Added) -> Self {
        Self { message: added.message.into(), snapshot: added.snapshot.map(ProjectSnapshot), revision: added.revision }
    }
}

#[Object]
impl ChatMutation {
    /// Ends the caller's active session of that project, then starts one.
    async fn start_session(&self, ctx: &Context<'_>, input: StartSessionInput) -> Attempt<SessionPayload> {
        attempt(async {
            let new = NewSession {
                project_id: ProjectId::parse(&input.project_id, "projectId")?,
                title: input.title,
                metadata: input.metadata.map(|json| json.0),
            };
            let caller = caller(ctx)?;
            let done = caller.write(|writer| chat::start_session(writer, new));
            let (session, revision) = done.await?;
            Ok(SessionPayload { session: ChatSession(session), revision })
        })
        .await
    }

    /// Ends a session. One that has ended stays as it is.
    async fn end_session(&self, ctx: &Context<'_>, id: ID) -> Attempt<SessionPayload> {
        attempt(async {
            let id = SessionId::parse(&id, "id")?;
            let caller = caller(ctx)?;
            let done = caller.write(|writer| chat::end_session(writer, id));
            let (session, revision) = done.await?;
            Ok(SessionPayload { session: ChatSession(session), revision })
        })
        .await
    }

    /// Adds a message. An ASSISTANT message with isCheckpoint also makes a snapshot, in the same revision; the snapshot
    /// follows the changes that name the message.
    async fn add_message(&self, ctx: &Context<'_>, input: AddMessageInput) -> Attempt<MessagePayload> {
        attempt(async {
            let new = NewMessage {
                session_id: SessionId::parse(&input.session_id, "sessionId")?,
                role: input.role.into(),
                content: input.content,
                is_checkpoint: input.is_checkpoint.unwrap_or(false),
                context_data: input.context_data.map(|json| json.0),
                metadata: input.metadata.map(|json| json.0),
                idempotency_key: input.idempotency_key,
            };
            let caller = caller(ctx)?;
            let done = caller.write(|writer| chat::add_message(writer, new));
            Ok(done.await?.into())
        })
        .await
    }
}
