//! Named revisions.

use std::sync::Arc;

use super::file::Hash;
use super::ids::{MessageId, ProjectId, ProjectSnapshotId, SessionId, UserId};
use super::search::Search;
use chrono::{DateTime, Utc};

/// A named revision of a project, which can be restored.
#[derive(Clone, Debug)]
pub struct ProjectSnapshot {
    /// The id.
    pub id: ProjectSnapshotId,
    /// The project.
    pub project_id: ProjectId,
    /// The named revision. For a checkpoint it advances with the files written for its message.
    pub revision: i32,
    /// The revision that created the snapshot.
    pub created_revision: i32,
    /// The name.
    pub name: Option<String>,
    /// The description.
    pub description: Option<Arc<str>>,
    /// Number of files, without folders.
    pub file_count: i32,
    /// Hash over all paths and contents; see `model::manifest`.
    pub manifest: Hash,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// The user who created it.
    pub created_by: Option<UserId>,
    /// The session it was created in.
    pub session_id: Option<SessionId>,
    /// The message it belongs to.
    pub message_id: Option<MessageId>,
}

/// Filter of a list of snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnapshotFilter {
    /// Only the snapshots that existed at this revision.
    pub until: Option<i32>,
    /// Only snapshots whose name or description contains this text, ignoring case.
    pub search: Option<Search>,
    /// Only the snapshots of this message.
    pub message: Option<MessageId>,
}

/// Changes of a snapshot. `None` keeps the value.
#[derive(Clone, Debug, Default)]
pub struct SnapshotChanges {
    /// The new name.
    pub name: Option<Option<String>>,
    /// The new description.
    pub description: Option<Option<String>>,
}

/// The name of an automatic snapshot for a checkpoint.
pub fn automatic_name(at: DateTime<Utc>) -> String {
    at.format("Auto-snapshot: %Y-%m-%d %H:%M").to_string()
}

/// The name of the snapshot for an imported commit: the first non-empty line of its message.
pub fn first_line(message: &str) -> Option<String> {
    message.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}
