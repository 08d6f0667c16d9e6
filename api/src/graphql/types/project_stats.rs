//! Totals of projects.

use async_graphql::{ComplexObject, Context, SimpleObject};

use crate::graphql::context::caller;
use crate::graphql::loader::CollaboratorsOf;
use crate::graphql::row::Plain;
use crate::graphql::scalar::Time;
use crate::model::error::Result;
use crate::model::ids::ProjectId;

/// A project's totals; the present ones are stored, not counted.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct ProjectStats {
    #[graphql(skip)]
    pub(super) project_id: ProjectId,
    /// The number of sessions ever started.
    pub(super) total_sessions: i32,
    /// The number of messages in all sessions, including hidden ones.
    pub(super) total_messages: i32,
    /// The number of files that are not deleted, without folders.
    pub(super) total_files: i32,
    /// The number of all changes of files.
    pub(super) total_changes: i32,
    /// When the newest session started; null if there is none.
    pub(super) latest_session_at: Option<Time>,
    /// When anything in the project last changed.
    pub(super) last_activity_at: Time,
}

#[ComplexObject]
impl ProjectStats {
    /// The number of editors and viewers that the project has now, with machines. The owner, and users who are only invited,
    /// are not counted.
    async fn total_collaborators(&self, ctx: &Context<'_>) -> Result<usize> {
        let all = caller(ctx)?.load(CollaboratorsOf(self.project_id)).await?.unwrap_or_default();
        Ok(all.iter().filter(|collaborator| collaborator.accepted_at.is_some()).count())
    }
}

impl Plain for ProjectStats {
    fn is_plain(field: &str) -> bool {
        field != "totalCollaborators"
    }
}

/// The totals of the caller's own projects that are not deleted.
#[derive(SimpleObject)]
pub struct ActivitySummary {
    /// The number of the caller's own projects that are not deleted.
    pub total_projects: i32,
    /// The number of sessions ever started in them.
    pub total_sessions: i32,
    /// The number of messages in them.
    pub total_messages: i32,
    /// The number of files in them that are not deleted.
    pub total_files: i32,
    /// The number of all changes of files in them.
    pub total_changes: i32,
    /// When anything in them last changed; null if there are none.
    pub last_activity_at: Option<Time>,
}
