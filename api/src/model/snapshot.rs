//! Named revisions.

use super::file::Hash;
use super::ids::{MessageId, ProjectId, ProjectSnapshotId, SessionId, UserId};
use chrono::{DateTime, Utc};

/// A name for a revision of a project: what one click goes back to.
#[derive(Clone, Debug)]
pub struct ProjectSnapshot {
    /// Its id.
    pub id: ProjectSnapshotId,
    /// Its project.
    pub project_id: ProjectId,
    /// The revision it names; a checkpoint's follows what is written for its message.
    pub revision: i32,
    /// The revision that made it.
    pub created_revision: i32,
    /// Its name.
    pub name: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// Files in it, folders not counted.
    pub file_count: i32,
    /// Hash over all paths and contents: see `model::manifest`.
    pub manifest: Hash,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// In which session.
    pub session_id: Option<SessionId>,
    /// For which message.
    pub message_id: Option<MessageId>,
}

/// Which snapshots a list keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnapshotFilter {
    /// Those that this revision had.
    pub until: Option<i32>,
    /// Those whose name or description contains this text, in any case.
    pub search: Option<String>,
    /// Those that were made for this message.
    pub message: Option<MessageId>,
}

/// What changes of a snapshot; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct SnapshotChanges {
    /// Its name.
    pub name: Option<Option<String>>,
    /// What it is about.
    pub description: Option<Option<String>>,
}

/// The name of the snapshot that a checkpoint makes at a time.
pub fn automatic_name(at: DateTime<Utc>) -> String {
    at.format("Auto-snapshot: %Y-%m-%d %H:%M").to_string()
}

/// The name of the snapshot of an imported commit: the first line of its message that says something.
pub fn first_line(message: &str) -> Option<String> {
    message.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}
