//! Messages that are being written.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::domain::growing_message;
use crate::graphql::context::caller;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::mutation::chat::MessagePayload;
use crate::graphql::names::MessageRole;
use crate::graphql::scalar::Json;
use crate::model::growing_message::{Finish, Grown, NewChunk, NewGrowingMessage};
use crate::model::ids::{MessageId, SessionId};

#[derive(Default)]
pub struct GrowingMessageMutation;

/// What a message that is to be written is made of.
#[derive(InputObject)]
struct StartMessageInput {
    /// Its session: one of the caller's own that has not ended.
    session_id: ID,
    /// Whose voice it is.
    role: MessageRole,
    /// What the AI knows; its shape is the client's; `{}` where it is left out.
    context_data: Option<Json>,
    /// The client's own data; `{}` where it is left out.
    metadata: Option<Json>,
    /// Makes a retry safe: the same key in the same session answers with the first message, however far that is.
    idempotency_key: Option<String>,
}

/// A chunk of text.
#[derive(InputObject)]
struct AppendToMessageInput {
    /// The message.
    message_id: ID,
    /// Where the text begins, in bytes of UTF-8: the `length` that was answered last, 0 at first.
    offset: i32,
    /// The text. An empty one says that the writer is still there.
    text: String,
}

/// How a message is finished.
#[derive(InputObject)]
struct FinishMessageInput {
    /// The message.
    message_id: ID,
    /// How much text there must be, in bytes of UTF-8; else CONFLICT.
    length: Option<i32>,
    /// Whether the state of the files belongs to it. An assistant's checkpoint makes a snapshot.
    #[graphql(default_with = "Some(false)")]
    is_checkpoint: Option<bool>,
    /// The client's own data, in place of what was given at the start.
    metadata: Option<Json>,
}

/// How far a message is.
#[derive(SimpleObject)]
struct GrowthPayload {
    /// Its id.
    message_id: ID,
    /// How much text there is, in bytes of UTF-8: the `offset` of the next chunk.
    length: i32,
}

impl From<Grown> for GrowthPayload {
    fn from(grown: Grown) -> Self {
        Self { message_id: grown.message_id.0.into(), length: grown.length }
    }
}

/// What discarding a message answers.
#[derive(SimpleObject)]
struct DiscardMessagePayload {
    /// The id that it had.
    message_id: ID,
}

#[Object]
impl GrowingMessageMutation {
    /// Begins a message whose text comes bit by bit. What is appended is kept, whatever happens to the server or the client; it
    /// becomes a message, a revision and an event when it is finished, under the id that is answered here.
    async fn start_message(&self, ctx: &Context<'_>, input: StartMessageInput) -> Attempt<GrowthPayload> {
        attempt(async {
            let new = NewGrowingMessage {
                session_id: SessionId::parse(&input.session_id, "sessionId")?,
                role: input.role.into(),
                context_data: input.context_data.map(|json| json.0),
                metadata: input.metadata.map(|json| json.0),
                idempotency_key: input.idempotency_key,
            };
            let caller = caller(ctx)?;
            let done = caller.write(|writer| growing_message::start(writer, new));
            Ok(done.await?.into())
        })
        .await
    }

    /// Adds text at the end of a message. Sent again, the same chunk is acknowledged and not added again. Where it does not
    /// begin where the text ends, the answer is CONFLICT, and its `extensions.currentLength` says where that is.
    async fn append_to_message(&self, ctx: &Context<'_>, input: AppendToMessageInput) -> Attempt<GrowthPayload> {
        attempt(async {
            let chunk = NewChunk {
                message_id: MessageId::parse(&input.message_id, "messageId")?,
                offset: input.offset,
                text: input.text,
            };
            let caller = caller(ctx)?;
            let done = caller.write(|writer| growing_message::append(writer, chunk));
            Ok(done.await?.into())
        })
        .await
    }

    /// Makes a growing message one of the session, as `addMessage` would with all of its text. Again, it answers the same. Files
    /// that are written for the message name it once it is finished.
    async fn finish_message(&self, ctx: &Context<'_>, input: FinishMessageInput) -> Attempt<MessagePayload> {
        attempt(async {
            let finish = Finish {
                message_id: MessageId::parse(&input.message_id, "messageId")?,
                length: input.length,
                is_checkpoint: input.is_checkpoint.unwrap_or(false),
                metadata: input.metadata.map(|json| json.0),
            };
            let caller = caller(ctx)?;
            let done = caller.write(|writer| growing_message::finish(writer, finish));
            Ok(done.await?.into())
        })
        .await
    }

    /// Lets nothing come of a growing message: its author may, and the project's owner.
    async fn discard_message(&self, ctx: &Context<'_>, message_id: ID) -> Attempt<DiscardMessagePayload> {
        attempt(async {
            let id = MessageId::parse(&message_id, "messageId")?;
            let caller = caller(ctx)?;
            caller.write(|writer| growing_message::discard(writer, id)).await?;
            Ok(DiscardMessagePayload { message_id: id.0.into() })
        })
        .await
    }
}
