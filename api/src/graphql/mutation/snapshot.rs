//! Snapshots, and going back.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::domain::file::Context as Conversation;
use crate::domain::snapshot::{self, Moment, NewSnapshot, Restored};
use crate::graphql::context::caller;
use crate::graphql::types::file::CodeChange;
use crate::graphql::types::project::Project;
use crate::graphql::types::snapshot::ProjectSnapshot;
use crate::model::error::Result;
use crate::model::ids::{MessageId, ProjectId, ProjectSnapshotId, SessionId};

#[derive(Default)]
pub struct SnapshotMutation;

/// A name for the present state.
#[derive(InputObject)]
struct CreateSnapshotInput {
    /// The project.
    project_id: ID,
    /// The session in which it is made.
    session_id: Option<ID>,
    /// The message for which it is made.
    message_id: Option<ID>,
    /// Its name.
    name: Option<String>,
    /// What it is about.
    description: Option<String>,
}

/// What making a snapshot answers.
#[derive(SimpleObject)]
struct SnapshotPayload {
    /// The snapshot.
    snapshot: ProjectSnapshot,
    /// The revision that was made.
    revision: i32,
}

/// A snapshot to go back to.
#[derive(InputObject)]
struct RestoreSnapshotInput {
    /// The snapshot.
    snapshot_id: ID,
    /// The revision that the caller saw: where the project has another by now, nothing is written and the answer is CONFLICT.
    expected_revision: Option<i32>,
}

/// A revision to go back to.
#[derive(InputObject)]
struct RestoreRevisionInput {
    /// The project.
    project_id: ID,
    /// The revision.
    revision: i32,
    /// The revision that the caller saw: where the project has another by now, nothing is written and the answer is CONFLICT.
    expected_revision: Option<i32>,
}

/// What going back answers.
#[derive(SimpleObject)]
struct RestorePayload {
    /// The project.
    project: Project,
    /// The state before.
    backup: ProjectSnapshot,
    /// What changed.
    changes: Vec<CodeChange>,
    /// The revision that was made.
    revision: i32,
}

impl From<Restored> for RestorePayload {
    fn from(restored: Restored) -> Self {
        Self {
            project: Project(restored.project),
            backup: ProjectSnapshot(restored.backup),
            changes: restored.changes.into_iter().map(|changed| CodeChange(changed.change)).collect(),
            revision: restored.revision,
        }
    }
}

#[Object]
impl SnapshotMutation {
    /// Names the present state of a project.
    async fn create_snapshot(&self, ctx: &Context<'_>, input: CreateSnapshotInput) -> Result<SnapshotPayload> {
        let conversation = Conversation {
            session_id: input.session_id.map(|id| SessionId::parse(&id, "sessionId")).transpose()?,
            message_id: input.message_id.map(|id| MessageId::parse(&id, "messageId")).transpose()?,
            change_description: None,
        };
        let new = NewSnapshot {
            project_id: ProjectId::parse(&input.project_id, "projectId")?,
            name: input.name,
            description: input.description,
        };
        let caller = caller(ctx)?;
        let done = caller.done(snapshot::create(&caller.services, &caller.actor, new, conversation));
        let made = done.await?;
        Ok(SnapshotPayload { revision: made.created_revision, snapshot: ProjectSnapshot(made) })
    }

    /// Makes the files equal to the snapshot's (what came later is deleted, what was deleted comes back), after a snapshot
    /// named 'Pre-restore backup'. Files that are as they were get no new version.
    async fn restore_snapshot(&self, ctx: &Context<'_>, input: RestoreSnapshotInput) -> Result<RestorePayload> {
        let to = Moment::Snapshot(ProjectSnapshotId::parse(&input.snapshot_id, "snapshotId")?);
        restore(ctx, to, input.expected_revision).await
    }

    /// The same, to any revision.
    async fn restore_revision(&self, ctx: &Context<'_>, input: RestoreRevisionInput) -> Result<RestorePayload> {
        let to = Moment::Revision(ProjectId::parse(&input.project_id, "projectId")?, input.revision);
        restore(ctx, to, input.expected_revision).await
    }
}

async fn restore(ctx: &Context<'_>, to: Moment, expected_revision: Option<i32>) -> Result<RestorePayload> {
    let caller = caller(ctx)?;
    let done = caller.done(snapshot::restore(&caller.services, &caller.actor, to, expected_revision));
    Ok(done.await?.into())
}
