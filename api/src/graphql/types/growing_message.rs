//! Messages that are being written.

use async_graphql::{Context, ID, Object};

use super::chat::{ChatMessage, ChatSession};
use super::profile::User;
use crate::graphql::context::caller;
use crate::graphql::loader::TextOf;
use crate::graphql::names::{MessageRole, MessageState};
use crate::graphql::scalar::{Json, Time};
use crate::model::clock;
use crate::model::error::Result;
use crate::model::growing_message::{self as model, MessageEnd};
use crate::model::ids::Within;

/// A message that is being written (`startMessage`). It is no part of the history before it is finished.
pub struct GrowingMessage(pub model::GrowingMessage);

#[Object]
impl GrowingMessage {
    /// The id of the message that it becomes.
    async fn message_id(&self) -> ID {
        self.0.id.0.into()
    }

    /// Its session.
    async fn session(&self, ctx: &Context<'_>) -> Result<ChatSession> {
        super::session(ctx, self.0.session_id, None).await
    }

    /// Who writes it, or whose AI does.
    async fn author(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.author_id).await
    }

    /// Whose voice it is.
    async fn role(&self) -> MessageRole {
        self.0.role.into()
    }

    /// Its text so far. Finished while it was read, it may have none here.
    async fn text(&self, ctx: &Context<'_>) -> Result<String> {
        Ok(caller(ctx)?.load(TextOf(Within { project: self.0.project_id, id: self.0.id })).await?.unwrap_or_default())
    }

    /// How much text there is, in bytes of UTF-8: the `offset` of the next chunk.
    async fn length(&self) -> i32 {
        self.0.length
    }

    /// GROWING, or INTERRUPTED where nothing was appended for a time that the server sets (30 seconds by default): then its
    /// writer has probably gone. It can be continued, finished or discarded all the same.
    async fn state(&self, ctx: &Context<'_>) -> Result<MessageState> {
        let patience = caller(ctx)?.services.limits.interrupted_seconds;
        let stands = (clock::now() - self.0.last_append_at).num_seconds();
        let is_interrupted = u64::try_from(stands).is_ok_and(|stands| stands >= patience);
        Ok(if is_interrupted { MessageState::Interrupted } else { MessageState::Growing })
    }

    /// When it began.
    async fn started_at(&self) -> Time {
        Time(self.0.started_at)
    }

    /// When something was last appended.
    async fn last_append_at(&self) -> Time {
        Time(self.0.last_append_at)
    }

    /// What the AI knows, as the client writes it.
    async fn context_data(&self) -> Json {
        Json(self.0.context_data.clone())
    }

    /// The client's own data.
    async fn metadata(&self) -> Json {
        Json(self.0.metadata.clone())
    }
}

/// A piece of a message's text, as `messageStream` tells it. Put one behind the other they are the text.
pub struct MessageChunk(pub model::MessageChunk);

#[Object]
impl MessageChunk {
    /// The message's id.
    async fn message_id(&self) -> ID {
        self.0.message_id.0.into()
    }

    /// Where the text begins, in bytes of UTF-8.
    async fn offset(&self) -> i32 {
        self.0.offset
    }

    /// The text. The first and the last piece may have none.
    async fn text(&self) -> &str {
        &self.0.text
    }

    /// Where the next piece begins: keep it, and pass it as `afterOffset` when you reconnect.
    async fn next_offset(&self) -> i32 {
        self.0.offset.saturating_add(i32::try_from(self.0.text.len()).unwrap_or(i32::MAX))
    }

    /// GROWING, or of the last piece FINISHED or DISCARDED.
    async fn state(&self) -> MessageState {
        match &self.0.end {
            None => MessageState::Growing,
            Some(MessageEnd::Finished(_)) => MessageState::Finished,
            Some(MessageEnd::Discarded) => MessageState::Discarded,
        }
    }

    /// The message, once it is finished.
    async fn message(&self) -> Option<ChatMessage> {
        match &self.0.end {
            Some(MessageEnd::Finished(message)) => Some((**message).clone().into()),
            Some(MessageEnd::Discarded) | None => None,
        }
    }
}
