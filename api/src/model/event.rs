//! Entries of a project's log.

use chrono::{DateTime, Utc};

use super::ids::{MessageId, ProjectId, ProjectSnapshotId, SessionId, UserId};
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

/// A revision, with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AsOf {
    /// Its number.
    pub revision: i32,
    /// When it was made.
    pub time: DateTime<Utc>,
}

/// A name for a moment in a project's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// A revision.
    Revision(i32),
    /// The last revision at or before a time.
    Time(DateTime<Utc>),
    /// The state that belongs to a message: with what was written for it, where it is a checkpoint.
    Message(MessageId),
    /// A snapshot's.
    Snapshot(ProjectSnapshotId),
}
