//! Streaming messages: text that is appended, and that enters the history when it is finished. Offsets are bytes of
//! UTF-8.

use chrono::{DateTime, Utc};

use super::chat::Message;
use super::enums::MessageRole;
use super::ids::{MessageId, ProjectId, SessionId, UserId};
use super::json::Json;

/// A message that is being streamed.
#[derive(Clone, Debug)]
pub struct StreamingMessage {
    /// Also the id of the finished message.
    pub id: MessageId,
    /// The project of the session.
    pub project_id: ProjectId,
    /// The session.
    pub session_id: SessionId,
    /// The user who writes the message, or whose AI does.
    pub author_id: UserId,
    /// The role of the sender.
    pub role: MessageRole,
    /// Size of the text in bytes, which is the offset of the next chunk.
    pub length: i32,
    /// Start time.
    pub started_at: DateTime<Utc>,
    /// Time of the last append, including empty ones.
    pub last_append_at: DateTime<Utc>,
    /// Context for the AI.
    pub context_data: Json,
    /// The client's own data.
    pub metadata: Json,
}

/// A streaming message to be started.
#[derive(Clone, Debug)]
pub struct NewStreamingMessage {
    /// The session.
    pub session_id: SessionId,
    /// The role of the sender.
    pub role: MessageRole,
    /// Context for the AI.
    pub context_data: Option<Json>,
    /// The client's own data.
    pub metadata: Option<Json>,
    /// Makes retries safe: the same key in the same session is the same message.
    pub idempotency_key: Option<String>,
}

/// Text to be appended to a message.
#[derive(Clone, Debug)]
pub struct NewChunk {
    /// The message.
    pub message_id: MessageId,
    /// Offset of the text in bytes.
    pub offset: i32,
    /// The text. An empty text only shows that the writer is still active.
    pub text: String,
}

/// How to finish a message.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The message.
    pub message_id: MessageId,
    /// The expected size of the text in bytes.
    pub length: Option<i32>,
    /// Whether the message is a checkpoint.
    pub is_checkpoint: bool,
    /// The client's own data, which replaces the data of the start.
    pub metadata: Option<Json>,
}

/// The progress of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The message.
    pub message_id: MessageId,
    /// Size of the text in bytes.
    pub length: i32,
}

/// A part of a message's text, as a subscriber receives it.
#[derive(Clone, Debug)]
pub struct MessageChunk {
    /// The message.
    pub message_id: MessageId,
    /// Offset in bytes.
    pub offset: i32,
    /// The text.
    pub text: String,
    /// How the message ended; set in the last part.
    pub end: Option<MessageEnd>,
}

/// How a streaming message ended.
#[derive(Clone, Debug)]
pub enum MessageEnd {
    /// It is now part of the history.
    Finished(Box<Message>),
    /// It was discarded.
    Discarded,
}
