//! Projects and their statistics.

use chrono::{DateTime, Utc};

use super::enums::{ProjectRole, ProjectStatus};
use super::event::AsOf;
use super::ids::{ProjectId, UserId};
use super::json::Json;
use super::search::Search;

/// A project as one of its members sees it.
#[derive(Clone, Debug)]
pub struct Project {
    /// The id.
    pub id: ProjectId,
    /// The owner.
    pub owner_id: UserId,
    /// The reader's role.
    pub viewer_role: ProjectRole,
    /// The name; never empty.
    pub name: String,
    /// The description.
    pub description: Option<String>,
    /// The initial prompt.
    pub initial_prompt: String,
    /// The voice agent's configuration, in a format defined by the client.
    pub config: Json,
    /// The status.
    pub status: ProjectStatus,
    /// The newest revision.
    pub revision: i32,
    /// Number of sessions, including ended ones.
    pub session_count: i32,
    /// Number of messages in all sessions.
    pub message_count: i32,
    /// Number of files, without folders and deleted files.
    pub file_count: i32,
    /// Number of changes to files.
    pub change_count: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its own fields last changed.
    pub updated_at: DateTime<Utc>,
    /// When a member last opened it.
    pub last_accessed_at: DateTime<Utc>,
    /// When its newest session started.
    pub last_session_at: Option<DateTime<Utc>>,
    /// When anything in it last changed.
    pub last_activity_at: DateTime<Utc>,
    /// The revision at which nested fields are read; `None` is the current one.
    pub as_of: Option<AsOf>,
}

/// Statistics of a project.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Number of sessions, including ended ones.
    pub sessions: i32,
    /// Number of messages in all sessions.
    pub messages: i32,
    /// Number of files, without folders and deleted files.
    pub files: i32,
    /// Number of changes to files.
    pub changes: i32,
    /// When the newest session started.
    pub last_session_at: Option<DateTime<Utc>>,
    /// When anything last changed.
    pub last_activity_at: DateTime<Utc>,
}

/// Input for a new project.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// The name.
    pub name: String,
    /// The description.
    pub description: Option<String>,
    /// The initial prompt.
    pub initial_prompt: String,
    /// The voice agent's configuration.
    pub config: Json,
}

/// Changes to a project; `None` keeps the value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProjectChanges {
    /// New name.
    pub name: Option<String>,
    /// New description; `Some(None)` removes it.
    pub description: Option<Option<String>>,
    /// New prompt.
    pub initial_prompt: Option<String>,
    /// New configuration.
    pub config: Option<Json>,
    /// New status.
    pub status: Option<ProjectStatus>,
}

/// Filter for projects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProjectFilter {
    /// With this status; by default all but deleted ones.
    pub status: Option<ProjectStatus>,
    /// With this text in the name or description, case-insensitive.
    pub search: Option<Search>,
    /// Created at or after this time.
    pub created_after: Option<DateTime<Utc>>,
    /// Created at or before this time.
    pub created_before: Option<DateTime<Utc>>,
    /// Owned by the reader, or shared with the reader.
    pub is_owned: Option<bool>,
}

/// Sort order of projects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProjectOrderField {
    /// The name, by code points.
    Name,
    /// When it was created.
    CreatedAt,
    /// When its own fields last changed.
    UpdatedAt,
    /// When a member last opened it.
    LastAccessedAt,
    /// When anything in it last changed.
    LastActivityAt,
}

/// Totals over a user's own projects.
#[derive(Clone, Debug, Default)]
pub struct ActivitySummary {
    /// Number of projects, without deleted ones.
    pub projects: i64,
    /// Number of sessions.
    pub sessions: i64,
    /// Number of messages.
    pub messages: i64,
    /// Number of files, without deleted ones.
    pub files: i64,
    /// Number of changes.
    pub changes: i64,
    /// When anything last changed in any of them.
    pub last_activity_at: Option<DateTime<Utc>>,
}
