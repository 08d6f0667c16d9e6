//! Sessions and their messages.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::enums::MessageRole;
use super::event::AsOf;
use super::ids::{MessageId, ProjectId, SessionId, UserId};
use super::json::Json;
use super::search::Search;

/// A session: a part of a project's conversation, by one author.
#[derive(Clone, Debug)]
pub struct Session {
    /// The id.
    pub id: SessionId,
    /// The project.
    pub project_id: ProjectId,
    /// The author. Only the author can write in the session.
    pub author_id: UserId,
    /// The revision that started it.
    pub revision: i32,
    /// The title.
    pub title: Option<String>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Number of messages.
    pub message_count: i32,
    /// Whether it has not ended. A user has at most one active session per project.
    pub is_active: bool,
    /// Data of the client.
    pub metadata: Json,
    /// The revision at which it was read; `None` is the current one.
    pub as_of: Option<AsOf>,
}

/// A message of a session.
#[derive(Clone, Debug)]
pub struct Message {
    /// The id.
    pub id: MessageId,
    /// The project.
    pub project_id: ProjectId,
    /// The session.
    pub session_id: SessionId,
    /// The user who wrote it, or whose AI did.
    pub author_id: UserId,
    /// The revision that added it.
    pub revision: i32,
    /// The role of the author.
    pub role: MessageRole,
    /// The text.
    pub content: Arc<str>,
    /// When it was added.
    pub timestamp: DateTime<Utc>,
    /// Whether it marks a state of the files.
    pub is_checkpoint: bool,
    /// The AI's context, in a format defined by the client.
    pub context_data: Json,
    /// Data of the client.
    pub metadata: Json,
    /// The revision that hid it; see `restore` in `domain::snapshot`.
    pub hidden_revision: Option<i32>,
}

/// Input for a new session.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The project.
    pub project_id: ProjectId,
    /// The title.
    pub title: Option<String>,
    /// Data of the client.
    pub metadata: Option<Json>,
}

/// Input for a new message.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The session.
    pub session_id: SessionId,
    /// The role of the author.
    pub role: MessageRole,
    /// The text.
    pub content: String,
    /// Whether it marks a state of the files.
    pub is_checkpoint: bool,
    /// The AI's context.
    pub context_data: Option<Json>,
    /// Data of the client.
    pub metadata: Option<Json>,
    /// Makes retries safe: within a session, the same key is the same message.
    pub idempotency_key: Option<String>,
}

/// Filter for sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionFilter {
    /// Active or ended.
    pub is_active: Option<bool>,
    /// By this author.
    pub author: Option<UserId>,
    /// Started at or after this time.
    pub started_after: Option<DateTime<Utc>>,
    /// Started at or before this time.
    pub started_before: Option<DateTime<Utc>>,
    /// The revision to read at; `None` is the current one.
    pub until: Option<AsOf>,
}

/// Filter for messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MessageFilter {
    /// With this role.
    pub role: Option<MessageRole>,
    /// Checkpoints, or other messages.
    pub is_checkpoint: Option<bool>,
    /// Containing this text, case-insensitive.
    pub search: Option<Search>,
    /// Added at or after this time.
    pub after: Option<DateTime<Utc>>,
    /// Added at or before this time.
    pub before: Option<DateTime<Utc>>,
    /// Added at or before this revision.
    pub until: Option<i32>,
    /// Include hidden messages.
    pub include_hidden: bool,
}
