//! Streaming messages: text that is appended, and is not in the history before it is finished. Offsets are bytes of UTF-8.

use chrono::{DateTime, Utc};

use super::chat::Message;
use super::ids::{MessageId, ProjectId, SessionId, UserId};
use super::json::Json;
use super::names::MessageRole;

/// A message that is being streamed.
#[derive(Clone, Debug)]
pub struct StreamingMessage {
    /// Also the id of the message that it becomes.
    pub id: MessageId,
    /// The project of the session.
    pub project_id: ProjectId,
    /// Its session.
    pub session_id: SessionId,
    /// The user who writes it, or whose AI does.
    pub author_id: UserId,
    /// Who speaks.
    pub role: MessageRole,
    /// The size of the text, in bytes: where the next chunk begins.
    pub length: i32,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When text was last appended, if only an empty one.
    pub last_append_at: DateTime<Utc>,
    /// What the AI knows.
    pub context_data: Json,
    /// The client's own data.
    pub metadata: Json,
}

/// A message that is to be started.
#[derive(Clone, Debug)]
pub struct NewStreamingMessage {
    /// Its session.
    pub session_id: SessionId,
    /// Who speaks.
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
    /// Where it begins, in bytes.
    pub offset: i32,
    /// An empty text only shows that the writer is still there.
    pub text: String,
}

/// How a message is finished.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The message.
    pub message_id: MessageId,
    /// The size that the text must have, in bytes.
    pub length: Option<i32>,
    /// Whether the state of the files belongs to it.
    pub is_checkpoint: bool,
    /// The client's own data, which replaces that of the start.
    pub metadata: Option<Json>,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The message.
    pub message_id: MessageId,
    /// The size of the text, in bytes.
    pub length: i32,
}

/// A piece of a message's text, as a listener receives it.
#[derive(Clone, Debug)]
pub struct MessageChunk {
    /// The message.
    pub message_id: MessageId,
    /// Where it begins, in bytes.
    pub offset: i32,
    /// The text.
    pub text: String,
    /// What became of the message; it is the last piece then.
    pub end: Option<MessageEnd>,
}

/// What became of a streaming message.
#[derive(Clone, Debug)]
pub enum MessageEnd {
    /// It is a message now.
    Finished(Box<Message>),
    /// It was dropped.
    Discarded,
}
