//! Presence: the users who listen to a project now.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::ids::{ProjectId, UserId};

/// A user who listens to a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The user.
    pub user_id: UserId,
    /// Since when without a break.
    pub since: DateTime<Utc>,
}

/// A user who listens to a project at one server.
#[derive(Clone, Debug)]
pub struct Presence {
    /// What is listened to.
    pub project_id: ProjectId,
    /// The user, and since when.
    pub person: Person,
    /// The server.
    pub server_id: Uuid,
    /// When the server last wrote this.
    pub seen_at: DateTime<Utc>,
}
