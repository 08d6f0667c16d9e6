//! Streaming messages.

use async_graphql::{Context, ID, Object};

use super::chat::{ChatMessage, ChatSession};
use super::profile::User;
use crate::graphql::context::caller;
use crate::graphql::enums::{MessageRole, MessageState};
use crate::graphql::loader::StreamingText;
use crate::graphql::scalar::{Json, Text, Time};
use crate::model::clock;
use crate::model::error::Result;
use crate::model::ids::Within;
use crate::model::node_id::NodeId;
use crate::model::streaming_message::{self as model, MessageEnd};

/// A streaming message.
pub struct StreamingMessage(pub model::StreamingMessage);

/// A streaming message (`startMessage`). It enters the history with `finishMessage`.
#[Object]
impl StreamingMessage {
    /// The globally unique id, for `node` while the message is being written.
    pub(super) async fn id(&self) -> ID {
        NodeId::StreamingMessage(self.0.id).to_string().into()
    }

    /// The id of the finished message.
    async fn message_id(&self) -> ID {
        self.0.id.0.into()
    }

    /// The session that the message is written in.
    async fn session(&self, ctx: &Context<'_>) -> Result<ChatSession> {
        super::session(ctx, self.0.session_id, None).await
    }

    /// The user who writes it, or whose AI does.
    async fn author(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.author_id).await
    }

    /// The sender's role.
    async fn role(&self) -> MessageRole {
        self.0.role.into()
    }

    /// The text so far. It can be empty if the message was finished in the meantime.
    async fn text(&self, ctx: &Context<'_>) -> Result<String> {
        let caller = caller(ctx)?;
        let text =
            caller.load(StreamingText(Within { project: self.0.project_id, id: self.0.id })).await?.unwrap_or_default();
        caller.reader.answer(text.len())?;
        Ok(text)
    }

    /// The size of the text so far in bytes of UTF-8: the `offset` of the next chunk.
    async fn length(&self) -> i32 {
        self.0.length
    }

    /// STREAMING, or STALLED if nothing was appended for `STALLED_SECONDS` (a setting, 30 by default). A stalled
    /// message can still be continued, finished or discarded.
    async fn state(&self, ctx: &Context<'_>) -> Result<MessageState> {
        let patience = caller(ctx)?.services.limits.stalled_seconds;
        let stands = (clock::now() - self.0.last_append_at).num_seconds();
        let is_stalled = u64::try_from(stands).is_ok_and(|stands| stands >= patience);
        Ok(if is_stalled { MessageState::Stalled } else { MessageState::Streaming })
    }

    /// When `startMessage` created it.
    async fn started_at(&self) -> Time {
        Time(self.0.started_at)
    }

    /// When text was last appended.
    async fn last_append_at(&self) -> Time {
        Time(self.0.last_append_at)
    }

    /// Context for the AI; `{}` unless the client set it.
    async fn context_data(&self) -> Json {
        Json(self.0.context_data.clone())
    }

    /// Data of the client; `{}` unless the client set it.
    async fn metadata(&self) -> Json {
        Json(self.0.metadata.clone())
    }
}

/// A part of a message's text.
pub struct MessageChunk(pub model::MessageChunk);

/// A part of a message's text, as delivered by `messageStream`. The parts in sequence are the text.
#[Object]
impl MessageChunk {
    /// The id of the finished message.
    async fn message_id(&self) -> ID {
        self.0.message_id.0.into()
    }

    /// The offset of this part, in bytes of UTF-8.
    async fn offset(&self) -> i32 {
        self.0.offset
    }

    /// The text of this part. The first and the last part can be empty.
    async fn text(&self) -> Text<'_> {
        Text(&self.0.text)
    }

    /// The offset of the next part, in bytes of UTF-8. Pass it as `afterOffset` when you reconnect.
    async fn next_offset(&self) -> i32 {
        self.0.offset.saturating_add(i32::try_from(self.0.text.len()).unwrap_or(i32::MAX))
    }

    /// STREAMING; for the last part FINISHED or DISCARDED.
    async fn state(&self) -> MessageState {
        match &self.0.end {
            None => MessageState::Streaming,
            Some(MessageEnd::Finished(_)) => MessageState::Finished,
            Some(MessageEnd::Discarded) => MessageState::Discarded,
        }
    }

    /// The finished message; null before that.
    async fn message(&self) -> Option<ChatMessage> {
        match &self.0.end {
            Some(MessageEnd::Finished(message)) => Some((**message).clone().into()),
            Some(MessageEnd::Discarded) | None => None,
        }
    }
}
