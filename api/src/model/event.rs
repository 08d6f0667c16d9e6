//! Entries of a project's log.

use chrono::{DateTime, Utc};

use super::ids::{MessageId, ProjectId, SessionId, UserId};
use super::names::EventKind;

/// One revision: who did what, when, and for which conversation.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its project.
    pub project_id: ProjectId,
    /// Its number.
    pub revision: i32,
    /// What it was.
    pub kind: EventKind,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Who.
    pub actor_id: Option<UserId>,
    /// The session it belongs to.
    pub session_id: Option<SessionId>,
    /// The message it added, or was for.
    pub message_id: Option<MessageId>,
}
