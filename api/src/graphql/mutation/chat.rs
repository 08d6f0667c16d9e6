//! Sessions and messages.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::domain::chat::{self, Added};
use crate::graphql::context::caller;
use crate::graphql::enums::MessageRole;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::scalar::Json;
use crate::graphql::types::chat::{ChatMessage, ChatSession};
use crate::graphql::types::snapshot::ProjectSnapshot;
use crate::model::chat::{NewMessage, NewSession};
use crate::model::ids::{ProjectId, SessionId};

#[derive(Default)]
pub struct ChatMutation;

/// Properties of a new session.
#[derive(InputObject)]
struct StartSessionInput {
    /// The project to start it in.
    project_id: ID,
    /// The displayed title.
    title: Option<String>,
    /// Data of the client; `{}` by default.
    metadata: Option<Json>,
}

/// Result of a write to a session.
#[derive(SimpleObject)]
struct SessionPayload {
    /// The session after the write.
    session: ChatSession,
    /// The new revision, or the present one if nothing changed.
    revision: i32,
}

/// Properties of a new message.
#[derive(InputObject)]
struct AddMessageInput {
    /// A session of the caller. An ended session accepts the message and stays ended.
    session_id: ID,
    /// The sender's role.
    role: MessageRole,
    /// The text, which can be empty. The setting `MAX_TEXT_BYTES` limits its size (10 MiB by default).
    content: String,
    /// Whether it marks the present state of the files. A checkpoint of the assistant creates a snapshot.
    #[graphql(default_with = "Some(false)")]
    is_checkpoint: Option<bool>,
    /// Context for the AI; `{}` by default.
    context_data: Option<Json>,
    /// Data of the client; `{}` by default.
    metadata: Option<Json>,
    /// Makes retries safe: the same key in the same session returns the first message.
    idempotency_key: Option<String>,
}

/// Result of adding a message.
#[derive(SimpleObject)]
pub(super) struct MessagePayload {
    /// The message that was added.
    message: ChatMessage,
    /// The snapshot of a checkpoint of the assistant; otherwise null.
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
    async fn start_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new session.")] input: StartSessionInput,
    ) -> Attempt<SessionPayload> {
        attempt(async {
            let new = NewSession {
                project_id: ProjectId::parse(&input.project_id, "projectId")?,
                title: input.title,
                metadata: input.metadata.map(|json| json.0),
            };
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| chat::start_session(writer, new));
            let (session, revision) = done.await?;
            Ok(SessionPayload { session: ChatSession(session), revision })
        })
        .await
    }

    /// Ends a session; does nothing if it has ended.
    async fn end_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The session to end.")] id: ID,
    ) -> Attempt<SessionPayload> {
        attempt(async {
            let id = SessionId::parse(&id, "id")?;
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| chat::end_session(writer, id));
            let (session, revision) = done.await?;
            Ok(SessionPayload { session: ChatSession(session), revision })
        })
        .await
    }

    /// Adds a message. An ASSISTANT message with isCheckpoint also creates a snapshot, in the same revision; the
    /// snapshot includes later changes that name the message.
    async fn add_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new message.")] input: AddMessageInput,
    ) -> Attempt<MessagePayload> {
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
            let done = caller.write(ctx, |writer| chat::add_message(writer, new));
            Ok(done.await?.into())
        })
        .await
    }
}
