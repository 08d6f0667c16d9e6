//! Streaming messages.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::domain::streaming_message;
use crate::graphql::context::caller;
use crate::graphql::enums::MessageRole;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::loader::Streaming;
use crate::graphql::mutation::chat::MessagePayload;
use crate::graphql::needing::selected;
use crate::graphql::scalar::Json;
use crate::graphql::types::streaming_message::StreamingMessage;
use crate::model::error::Result;
use crate::model::ids::{MessageId, SessionId};
use crate::model::node_id::NodeId;
use crate::model::streaming_message::{Finish, NewChunk, NewStreamingMessage, Progress};

#[derive(Default)]
pub struct StreamingMessageMutation;

/// Properties of a new streaming message.
#[derive(InputObject)]
struct StartMessageInput {
    /// The session to write in, one of the caller's. An ended session accepts the message and stays ended.
    session_id: ID,
    /// The sender's role.
    role: MessageRole,
    /// Context for the AI; `{}` by default.
    context_data: Option<Json>,
    /// Data of the client; `{}` by default.
    metadata: Option<Json>,
    /// Makes retries safe: the same key in the same session returns the first message with its present length.
    idempotency_key: Option<String>,
}

/// A chunk of text.
#[derive(InputObject)]
struct AppendToMessageInput {
    /// The `messageId` that `startMessage` returned.
    message_id: ID,
    /// The offset of the text, in bytes of UTF-8: the last returned `length`, 0 at first.
    offset: i32,
    /// The text to append. The setting `MAX_CHUNK_BYTES` limits its size (64 KiB by default). An empty text shows that
    /// the writer is still active.
    text: String,
}

/// Properties of the finished message.
#[derive(InputObject)]
struct FinishMessageInput {
    /// The `messageId` that `startMessage` returned.
    message_id: ID,
    /// Precondition: the size of the text, in bytes of UTF-8. If it differs, the error is CONFLICT, also if the message is
    /// finished.
    length: Option<i32>,
    /// Whether it marks the present state of the files. A checkpoint of the assistant creates a snapshot.
    #[graphql(default_with = "Some(false)")]
    is_checkpoint: Option<bool>,
    /// Data of the client, which replaces the data of `startMessage`. Null or absent: unchanged.
    metadata: Option<Json>,
}

/// A streaming message to discard without finishing it.
#[derive(InputObject)]
struct DiscardMessageInput {
    /// The `messageId` that `startMessage` returned.
    message_id: ID,
}

/// Progress of a streaming message.
#[derive(SimpleObject)]
struct StreamingMessagePayload {
    /// The id of the finished message.
    message_id: ID,
    /// The message in its present state; null once it is finished or discarded.
    streaming_message: Option<StreamingMessage>,
    /// The size of the text so far in bytes of UTF-8: the `offset` of the next chunk.
    length: i32,
}

impl StreamingMessagePayload {
    async fn of(ctx: &Context<'_>, progress: Progress) -> Result<Self> {
        // A writer that appends often does not need to read the message back.
        let message = ctx.look_ahead().field("streamingMessage");
        let streaming_message = if message.exists() {
            caller(ctx)?.load(selected(&message, Streaming(progress.message_id))).await?.map(StreamingMessage)
        } else {
            None
        };
        Ok(Self { message_id: progress.message_id.0.into(), streaming_message, length: progress.length })
    }
}

/// Result of discarding a message.
#[derive(SimpleObject)]
struct DiscardMessagePayload {
    /// The id that the message would have had.
    message_id: ID,
    /// The id of the streaming message, for removal from the client's cache.
    streaming_message_id: ID,
}

#[Object]
impl StreamingMessageMutation {
    /// Starts a message whose text is appended in chunks. Appended text survives crashes of the server and the client.
    /// When the message is finished, it becomes part of the session, with a revision and an event, under the returned
    /// `messageId`.
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
            let done = caller.write(ctx, |writer| streaming_message::start(writer, new));
            StreamingMessagePayload::of(ctx, done.await?).await
        })
        .await
    }

    /// Appends text to a message. A chunk that is sent again is acknowledged but not appended again. If it does not
    /// start at the end of the text, the error is CONFLICT, and `extensions.currentLength` is the length of the text.
    async fn append_to_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The text and its offset.")] input: AppendToMessageInput,
    ) -> Attempt<StreamingMessagePayload> {
        attempt(async {
            let chunk = NewChunk {
                message_id: MessageId::parse(&input.message_id, "messageId")?,
                offset: input.offset,
                text: input.text,
            };
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| streaming_message::append(writer, chunk));
            StreamingMessagePayload::of(ctx, done.await?).await
        })
        .await
    }

    /// Adds a streaming message with its text to the session, like `addMessage`. A repeated call returns the same
    /// result. Files that are written for the message can name it afterwards.
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
            let done = caller.write(ctx, |writer| streaming_message::finish(writer, finish));
            Ok(done.await?.into())
        })
        .await
    }

    /// Discards a streaming message. Its author and the project's owner can do this.
    async fn discard_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message to discard.")] input: DiscardMessageInput,
    ) -> Attempt<DiscardMessagePayload> {
        attempt(async {
            let id = MessageId::parse(&input.message_id, "messageId")?;
            let caller = caller(ctx)?;
            caller.write(ctx, |writer| streaming_message::discard(writer, id)).await?;
            Ok(DiscardMessagePayload {
                message_id: id.0.into(),
                streaming_message_id: NodeId::StreamingMessage(id).to_string().into(),
            })
        })
        .await
    }
}
