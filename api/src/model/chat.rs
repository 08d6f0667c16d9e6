//! Sessions and their messages.

use chrono::{DateTime, Utc};

use super::event::AsOf;
use super::ids::{MessageId, ProjectId, SessionId, UserId};
use super::json::Json;
use super::names::MessageRole;

/// One conversation within a project.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its project.
    pub project_id: ProjectId,
    /// Whose conversation it is; nobody else writes in it.
    pub author_id: UserId,
    /// The revision that started it.
    pub revision: i32,
    /// Its title.
    pub title: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How many messages it has.
    pub message_count: i32,
    /// Whether it goes on; an author has one active session a project.
    pub is_active: bool,
    /// The client's own data.
    pub metadata: Json,
    /// The moment as of which it was read; `None` is now.
    pub as_of: Option<AsOf>,
}

/// One message of a session.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its session.
    pub session_id: SessionId,
    /// Who wrote it, or whose AI did.
    pub author_id: UserId,
    /// The revision that added it: its place in the project's history.
    pub revision: i32,
    /// Whose voice it is.
    pub role: MessageRole,
    /// Its text.
    pub content: String,
    /// When it was added.
    pub timestamp: DateTime<Utc>,
    /// Whether the state of the files belongs to it.
    pub is_checkpoint: bool,
    /// What the AI knew, as the client writes it.
    pub context_data: Json,
    /// The client's own data.
    pub metadata: Json,
    /// The revision that folded it away; see `restore` in `domain::snapshot`.
    pub folded_revision: Option<i32>,
}

/// What a new session is made of.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its project.
    pub project_id: ProjectId,
    /// Its title.
    pub title: Option<String>,
    /// The client's own data.
    pub metadata: Option<Json>,
}

/// What a new message is made of.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its session.
    pub session_id: SessionId,
    /// Whose voice it is.
    pub role: MessageRole,
    /// Its text.
    pub content: String,
    /// Whether the state of the files belongs to it.
    pub is_checkpoint: bool,
    /// What the AI knew.
    pub context_data: Option<Json>,
    /// The client's own data.
    pub metadata: Option<Json>,
    /// Makes a retry safe: the same key in the same session is the same message.
    pub idempotency_key: Option<String>,
}

/// Which sessions a list keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionFilter {
    /// Active, or ended.
    pub is_active: Option<bool>,
    /// Of this user.
    pub author: Option<UserId>,
    /// Begun at or after this time.
    pub started_after: Option<DateTime<Utc>>,
    /// Begun at or before this time.
    pub started_before: Option<DateTime<Utc>>,
    /// As they were at this moment.
    pub until: Option<AsOf>,
}

/// Which messages a list keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MessageFilter {
    /// Of this voice.
    pub role: Option<MessageRole>,
    /// Checkpoints, or the others.
    pub is_checkpoint: Option<bool>,
    /// With this text, any case.
    pub search: Option<String>,
    /// Added at or after this time.
    pub after: Option<DateTime<Utc>>,
    /// Added at or before this time.
    pub before: Option<DateTime<Utc>>,
    /// As of this revision.
    pub until: Option<i32>,
    /// Those that a restore folded away too.
    pub include_folded: bool,
}
