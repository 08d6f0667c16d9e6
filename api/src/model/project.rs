//! A project, with the counts of its overview.

use chrono::{DateTime, Utc};

use super::event::AsOf;
use super::ids::{ProjectId, UserId};
use super::json::Json;
use super::names::{ProjectRole, ProjectStatus};

/// A project as one of its members sees it.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Who owns it.
    pub owner_id: UserId,
    /// What the reader may do in it.
    pub viewer_role: ProjectRole,
    /// Its name; never empty.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The prompt it began with.
    pub initial_prompt: String,
    /// The voice agent's configuration, as the client writes it.
    pub config: Json,
    /// Whether it is in use.
    pub status: ProjectStatus,
    /// The newest revision.
    pub revision: i32,
    /// Sessions ever started.
    pub session_count: i32,
    /// Messages in all sessions.
    pub message_count: i32,
    /// Live files, folders not counted.
    pub file_count: i32,
    /// Changes of files ever made.
    pub change_count: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its own fields last changed.
    pub updated_at: DateTime<Utc>,
    /// When a member last opened it.
    pub last_accessed_at: DateTime<Utc>,
    /// When its newest session began.
    pub last_session_at: Option<DateTime<Utc>>,
    /// When anything in it last changed.
    pub last_activity_at: DateTime<Utc>,
    /// The moment as of which what is below it is read; `None` is now.
    pub as_of: Option<AsOf>,
}

/// A project's totals.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Sessions ever started.
    pub sessions: i32,
    /// Messages in all sessions.
    pub messages: i32,
    /// Live files, folders not counted.
    pub files: i32,
    /// Changes of files ever made.
    pub changes: i32,
    /// When the newest session began.
    pub last_session_at: Option<DateTime<Utc>>,
    /// When anything last changed.
    pub last_activity_at: DateTime<Utc>,
}

/// What a new project is made of.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The prompt it begins with.
    pub initial_prompt: String,
    /// The voice agent's configuration.
    pub config: Json,
}

/// Changes to a project; what is `None` stays.
#[derive(Clone, Debug, Default)]
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

/// Which projects a list keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProjectFilter {
    /// Of this status; without one, all but the deleted.
    pub status: Option<ProjectStatus>,
    /// With this text in name or description, any case.
    pub search: Option<String>,
    /// Made at or after this time.
    pub created_after: Option<DateTime<Utc>>,
    /// Made at or before this time.
    pub created_before: Option<DateTime<Utc>>,
    /// The reader's own, or those that others share with them.
    pub is_owned: Option<bool>,
}

/// What a list of projects is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProjectOrderField {
    /// The name, by its characters' codes.
    Name,
    /// When it was made.
    CreatedAt,
    /// When its own fields last changed.
    UpdatedAt,
    /// When a member last opened it.
    LastAccessedAt,
    /// When anything in it last changed.
    LastActivityAt,
}

/// The sums over a user's own projects.
#[derive(Clone, Debug, Default)]
pub struct ActivitySummary {
    /// Projects that are not deleted.
    pub projects: i64,
    /// Their sessions.
    pub sessions: i64,
    /// Their messages.
    pub messages: i64,
    /// Their live files.
    pub files: i64,
    /// Their changes.
    pub changes: i64,
    /// When anything last changed in any of them.
    pub last_activity_at: Option<DateTime<Utc>>,
}
