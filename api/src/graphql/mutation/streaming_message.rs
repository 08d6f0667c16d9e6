//! Streaming messages.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::domain::streaming_message;
use crate::graphql::context::caller;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::loader::Streaming;
use crate::graphql::mutation::chat::MessagePayload;
use crate::graphql::names::MessageRole;
use crate::graphql::scalar::Json;
use crate::graphql::types::streaming_message::StreamingMessage;
use crate::model::error::Result;
use crate::model::ids::{MessageId, SessionId};
use crate::model::node_id::NodeId;
use crate::model::streaming_message::{Finish, NewChunk, NewStreamingMessage, Progress};

#[derive(Default)]
pub struct StreamingMessageMutation;

/// What a message that is to be written is made of.
#[derive(InputObject)]
struct StartMessageInput {
    /// The session to write in: one of the caller's own. One that has ended takes the message and stays ended.
    session_id: ID,
    /// Who speaks.
    role: MessageRole,
    /// What the AI knows; `{}` by default.
    context_data: Option<Json>,
    /// Data of the client; `{}` by default.
    metadata: Option<Json>,
    /// Makes a retry safe: the same key in the same session answers with the first message, at whatever length it is by
    /// then.
    idempotency_key: Option<String>,
}

/// A chunk of text.
#[derive(InputObject)]
struct AppendToMessageInput {
    /// The `messageId` that `startMessage` answered.
    message_id: ID,
    /// Where the text begins, in bytes of UTF-8: the `length` of the last answer, 0 at first.
    offset: i32,
    /// The text to append, at most as many bytes as the setting `MAX_CHUNK_BYTES` allows (64 KiB by default). An empty
    /// text shows that the writer is still there.
    text: String,
}

/// How a message is finished.
#[derive(InputObject)]
struct FinishMessageInput {
    /// The `messageId` that `startMessage` answered.
    message_id: ID,
    /// The size that the text must have, in bytes of UTF-8. If it has another, the answer is CONFLICT.
    length: Option<i32>,
    /// Whether it marks the present state of the files. A checkpoint of the assistant makes a snapshot.
    #[graphql(default_with = "Some(false)")]
    is_checkpoint: Option<bool>,
    /// Data of the client, in place of what `startMessage` was given.
    metadata: Option<Json>,
}

/// A message that is not to be finished.
#[derive(InputObject)]
struct DiscardMessageInput {
    /// The `messageId` that `startMessage` answered.
    message_id: ID,
}

/// How far a message is.
#[derive(SimpleObject)]
struct StreamingMessagePayload {
    /// The id that the message has once it is finished.
    message_id: ID,
    /// The message as it is being written; null once it is finished or discarded.
    streaming_message: Option<StreamingMessage>,
    /// The size of the text so far in bytes of UTF-8: the `offset` of the next chunk.
    length: i32,
}

impl StreamingMessagePayload {
    async fn of(ctx: &Context<'_>, progress: Progress) -> Result<Self> {
        // A writer that appends often need not read back what it wrote.
        let streaming_message = if ctx.look_ahead().field("streamingMessage").exists() {
            caller(ctx)?.load(Streaming(progress.message_id)).await?.map(StreamingMessage)
        } else {
            None
        };
        Ok(Self { message_id: progress.message_id.0.into(), streaming_message, length: progress.length })
    }
}

/// What discarding a message answers.
#[derive(SimpleObject)]
struct DiscardMessagePayload {
    /// The id that the message would have had.
    message_id: ID,
    /// The id that it had while it was being written: a client's cache can drop it.
    streaming_message_id: ID,
}

#[Object]
impl StreamingMessageMutation {
    /// Begins a message whose text comes in pieces. Appended text is kept, whatever happens to the server or the client.
    /// The message becomes one of the session, with a revision and an event, when it is finished, under the `messageId`
    /// of the answer.
    async fn start_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new message without its text.")] input: StartMessageInput,
    ) -> Attempt<StreamingMessagePayload> {
        attempt(async {
            let new = NewStreamingMessage {
                session_id: SessionId::parse(&input.session_id, "sessionId")?,
                role: input.role.into(),
                context_data: input.context_data.map(|json| json.0),
                metadata: input.metadata.map(|json| json.0),
                idempotency_key: input.idempotency_key,
            };
            let caller = caller(ctx)?;
            let done = caller.write(|writer| streaming_message::start(writer, new));
            StreamingMessagePayload::of(ctx, done.await?).await
        })
        .await
    }

    /// Adds text at the end of a message. The same chunk sent again is acknowledged and not added again. If it does not
    /// begin at the end of the text, the answer is CONFLICT, and `extensions.currentLength` is where the text ends.
    async fn append_to_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The text and its place.")] input: AppendToMessageInput,
    ) -> Attempt<StreamingMessagePayload> {
        attempt(async {
            let chunk = NewChunk {
                message_id: MessageId::parse(&input.message_id, "messageId")?,
                offset: input.offset,
                text: input.text,
            };
            let caller = caller(ctx)?;
            let done = caller.write(|writer| streaming_message::append(writer, chunk));
            StreamingMessagePayload::of(ctx, done.await?).await
        })
        .await
    }

    /// Makes a streaming message one of the session, as `addMessage` would with all of its text. Sent again, it answers
    /// the same. Files that are written for the message name it after that.
    async fn finish_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message to finish.")] input: FinishMessageInput,
    ) -> Attempt<MessagePayload> {
        attempt(async {
            let finish = Finish {
                message_id: MessageId::parse(&input.message_id, "messageId")?,
                length: input.length,
                is_checkpoint: input.is_checkpoint.unwrap_or(false),
                metadata: input.metadata.map(|json| json.0),
            };
            let caller = caller(ctx)?;
            let done = caller.write(|writer| streaming_message::finish(writer, finish));
            Ok(done.await?.into())
        })
        .await
    }

    /// Drops a streaming message. Its author can, and the project's owner.
    async fn discard_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message to discard.")] input: DiscardMessageInput,
    ) -> Attempt<DiscardMessagePayload> {
        attempt(async {
            let id = MessageId::parse(&input.message_id, "messageId")?;
            let caller = caller(ctx)?;
            caller.write(|writer| streaming_message::discard(writer, id)).await?;
            Ok(DiscardMessagePayload {
                message_id: id.0.into(),
                streaming_message_id: NodeId::StreamingMessage(id).to_string().into(),
            })
        })
        .await
    }
}
