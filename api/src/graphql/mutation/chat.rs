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
    /// The project to start it in.
    project_id: ID,
    /// A title to show to people.
    title: Option<String>,
    /// Data of the client; `{}` by default.
    metadata: Option<Json>,
}

/// What a write to a session answers.
#[derive(SimpleObject)]
struct SessionPayload {
    /// The session after the write.
    session: ChatSession,
    /// The revision that was made, or the present one if nothing changed.
    revision: i32,
}

/// What a new message is made of.
#[derive(InputObject)]
struct AddMessageInput {
    /// The session to add it to: one of the caller's own. One that has ended takes the message and stays ended.
    session_id: ID,
    /// Who speaks.
    role: MessageRole,
    /// The text, at most as many bytes as the setting `MAX_TEXT_BYTES` allows (10 MiB by default).
    content: String,
    /// Whether it marks the present state of the files. A checkpoint of the assistant makes a snapshot.
    #[graphql(default_with = "Some(false)")]
    is_checkpoint: Option<bool>,
    /// What the AI knew; `{}` by default.
    context_data: Option<Json>,
    /// Data of the client; `{}` by default.
    metadata: Option<Json>,
    /// Makes a retry safe: the same key in the same session answers with the first message.
    idempotency_key: Option<String>,
}

/// What adding a message answers.
#[derive(SimpleObject)]
pub(super) struct MessagePayload {
    /// The message that was added.
    message: ChatMessage,
    /// The snapshot that a checkpoint of the assistant made; else null.
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
            let done = caller.write(|writer| chat::start_session(writer, new));
            let (session, revision) = done.await?;
            Ok(SessionPayload { session: ChatSession(session), revision })
        })
        .await
    }

    /// Ends a session. One that has ended stays as it is.
    async fn end_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The session to end.")] id: ID,
    ) -> Attempt<SessionPayload> {
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
            let done = caller.write(|writer| chat::add_message(writer, new));
            Ok(done.await?.into())
        })
        .await
    }
}
