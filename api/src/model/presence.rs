//! Presence: the users who subscribe to a project now.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::ids::{ProjectId, UserId};

/// A user who subscribes to a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The user.
    pub user_id: UserId,
    /// Start of the uninterrupted presence.
    pub since: DateTime<Utc>,
}

/// A user who subscribes to a project on one server.
#[derive(Clone, Debug)]
pub struct Presence {
    /// The project.
    pub project_id: ProjectId,
    /// The user, with the start time.
    pub person: Person,
    /// The server.
    pub server_id: Uuid,
    /// When the server last wrote this entry.
    pub seen_at: DateTime<Utc>,
}
