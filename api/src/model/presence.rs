//! Who is here: who listens to a project now.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::ids::{ProjectId, UserId};

/// Somebody who listens to a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub user_id: UserId,
    /// Since when, without a break.
    pub since: DateTime<Utc>,
}

/// Somebody who listens to a project at one server.
#[derive(Clone, Debug)]
pub struct Presence {
    /// The project.
    pub project_id: ProjectId,
    /// Who, and since when.
    pub person: Person,
    /// The server.
    pub server_id: Uuid,
    /// When it last said so.
    pub seen_at: DateTime<Utc>,
}
