//! Messages that are being written: text that grows, and is no part of the history before it is finished.
//!
//! Places in the text are counted in bytes of UTF-8, as its size is.

use chrono::{DateTime, Utc};

use super::chat::Message;
use super::ids::{MessageId, ProjectId, SessionId, UserId};
use super::json::Json;
use super::names::MessageRole;

/// A message that is being written.
#[derive(Clone, Debug)]
pub struct StreamingMessage {
    /// Its id, and that of the message that it becomes.
    pub id: MessageId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its session.
    pub session_id: SessionId,
    /// Who writes it, or whose AI does.
    pub author_id: UserId,
    /// Whose voice it is.
    pub role: MessageRole,
    /// How much text there is, in bytes: where the next chunk begins.
    pub length: i32,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it last grew, or was said to be alive.
    pub last_append_at: DateTime<Utc>,
    /// What the AI knows.
    pub context_data: Json,
    /// The client's own data.
    pub metadata: Json,
}

/// What a message that is to be written is made of.
#[derive(Clone, Debug)]
pub struct NewStreamingMessage {
    /// Its session.
    pub session_id: SessionId,
    /// Whose voice it is.
    pub role: MessageRole,
    /// What the AI knows.
    pub context_data: Option<Json>,
    /// The client's own data.
    pub metadata: Option<Json>,
    /// Makes a retry safe: the same key in the same session is the same message.
    pub idempotency_key: Option<String>,
}

/// Text to be added at the end of a message.
#[derive(Clone, Debug)]
pub struct NewChunk {
    /// The message.
    pub message_id: MessageId,
    /// Where it begins.
    pub offset: i32,
    /// The text; without any the message is only said to be alive.
    pub text: String,
}

/// How a message is finished.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The message.
    pub message_id: MessageId,
    /// How much text there must be, in bytes.
    pub length: Option<i32>,
    /// Whether the state of the files belongs to it.
    pub is_checkpoint: bool,
    /// The client's own data, in place of what was given at the start.
    pub metadata: Option<Json>,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The message.
    pub message_id: MessageId,
    /// How much text there is, in bytes.
    pub length: i32,
}

/// A piece of a message's text, as a listener hears it.
#[derive(Clone, Debug)]
pub struct MessageChunk {
    /// The message.
    pub message_id: MessageId,
    /// Where it begins, in bytes.
    pub offset: i32,
    /// The text.
    pub text: String,
    /// What has become of the message, where it grows no more; nothing comes after that.
    pub end: Option<MessageEnd>,
}

/// How a message has ceased to grow.
#[derive(Clone, Debug)]
pub enum MessageEnd {
    /// It is a message now.
    Finished(Box<Message>),
    /// Nothing came of it.
    Discarded,
}
