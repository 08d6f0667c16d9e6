//! Snapshots, and going back.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};

use crate::domain::file::Context as Conversation;
use crate::domain::snapshot::{self, Goal, NewSnapshot, Restore, Scope};
use crate::graphql::context::caller;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::types::file::CodeChange;
use crate::graphql::types::project::{Project, parse_paths};
use crate::graphql::types::snapshot::ProjectSnapshot;
use crate::model::error::{Error, Result};
use crate::model::ids::{MessageId, ProjectId, ProjectSnapshotId, SessionId};

#[derive(Default)]
pub struct SnapshotMutation;

/// A name for the present state.
#[derive(InputObject)]
struct CreateSnapshotInput {
    /// The project whose present state gets the name.
    project_id: ID,
    /// The session in which the snapshot is made.
    session_id: Option<ID>,
    /// The message that the snapshot is made for.
    message_id: Option<ID>,
    /// What to call the state.
    name: Option<String>,
    /// What the state is about.
    description: Option<String>,
}

/// What making a snapshot answers.
#[derive(SimpleObject)]
struct SnapshotPayload {
    /// The snapshot that was made.
    snapshot: ProjectSnapshot,
    /// The revision that was made.
    revision: i32,
}

/// A snapshot to go back to.
#[derive(InputObject)]
struct RestoreSnapshotInput {
    /// The snapshot to go back to.
    snapshot_id: ID,
    /// The revision that the caller read. If the project has another by now, nothing is written and the answer is
    /// CONFLICT.
    expected_revision: Option<i32>,
    /// What goes back: the files, a conversation, or both.
    #[graphql(default_with = "Some(RestoreScope::Files)")]
    scope: Option<RestoreScope>,
    /// Only these files, and what is below these folders. Without it all.
    paths: Option<Vec<String>>,
    /// The session whose conversation goes back. Without it, that of the checkpoint.
    session_id: Option<ID>,
}

/// A revision to go back to.
#[derive(InputObject)]
struct RestoreRevisionInput {
    /// The project to restore.
    project_id: ID,
    /// The number of the revision to go back to.
    revision: i32,
    /// The revision that the caller read. If the project has another by now, nothing is written and the answer is
    /// CONFLICT.
    expected_revision: Option<i32>,
    /// What goes back: the files, a conversation, or both.
    #[graphql(default_with = "Some(RestoreScope::Files)")]
    scope: Option<RestoreScope>,
    /// Only these files, and what is below these folders. Without it all.
    paths: Option<Vec<String>>,
    /// The session whose conversation goes back. Without it, that of the checkpoint.
    session_id: Option<ID>,
}

/// What of a project goes back.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum RestoreScope {
    /// Only the files of the project.
    Files,
    /// Only a session: its later messages are hidden from its list; `includeHidden` still lists them.
    Conversation,
    /// The files and a session.
    Both,
}

/// A revision to take back.
#[derive(InputObject)]
struct UndoInput {
    /// The project to change.
    project_id: ID,
    /// The revision; the newest where it is left out.
    revision: Option<i32>,
    /// The revision that the caller read. If the project has another by now, nothing is written and the answer is
    /// CONFLICT.
    expected_revision: Option<i32>,
}

/// What an undo answers.
#[derive(SimpleObject)]
struct UndoPayload {
    /// The project after the write.
    project: Project,
    /// What changed.
    changes: Vec<CodeChange>,
    /// Files now, folders not counted.
    file_count: i32,
    /// SHA-256 over the files now; see `ProjectSnapshot.manifestSha256`.
    manifest_sha256: String,
    /// The number of hidden messages that are listed again.
    shown_messages: i32,
    /// The number of messages that are hidden again, by the undo of an undo.
    hidden_messages: i32,
    /// The revision that was made.
    revision: i32,
}

/// What going back answers.
#[derive(SimpleObject)]
struct RestorePayload {
    /// The project after the write.
    project: Project,
    /// The state before.
    backup: ProjectSnapshot,
    /// What changed.
    changes: Vec<CodeChange>,
    /// Files now, folders not counted.
    file_count: i32,
    /// SHA-256 over the files now: that of the state gone back to, where all of it was. See `ProjectSnapshot.manifestSha256`.
    manifest_sha256: String,
    /// The number of messages that were hidden.
    hidden_messages: i32,
    /// The revision that was made.
    revision: i32,
}

#[Object]
impl SnapshotMutation {
    /// Names the present state of a project.
    async fn create_snapshot(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project and the name.")] input: CreateSnapshotInput,
    ) -> Attempt<SnapshotPayload> {
        attempt(async {
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
            let done = caller.write(|writer| snapshot::create(writer, new, conversation));
            let made = done.await?;
            Ok(SnapshotPayload { revision: made.created_revision, snapshot: ProjectSnapshot(made) })
        })
        .await
    }

    /// Makes the files equal to the snapshot's (what came later is deleted, what was deleted comes back), after a snapshot
    /// named 'Pre-restore backup'. Files that are as they were get no new version. `Project.restorePreview` is the dry run.
    async fn restore_snapshot(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The snapshot, and what goes back.")] input: RestoreSnapshotInput,
    ) -> Attempt<RestorePayload> {
        attempt(async {
            let goal = Goal::Snapshot(ProjectSnapshotId::parse(&input.snapshot_id, "snapshotId")?);
            restore(ctx, goal, input.scope, input.paths, input.session_id, input.expected_revision).await
        })
        .await
    }

    /// Makes the files equal to those of a revision, as `restoreSnapshot` does.
    async fn restore_revision(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The revision, and what goes back.")] input: RestoreRevisionInput,
    ) -> Attempt<RestorePayload> {
        attempt(async {
            let goal = Goal::Revision(ProjectId::parse(&input.project_id, "projectId")?, input.revision);
            restore(ctx, goal, input.scope, input.paths, input.session_id, input.expected_revision).await
        })
        .await
    }

    /// Appends the inverse of a revision that changed files or the project's own fields (`updateProject`), a restore or another
    /// undo included: what it made goes, what it removed comes back, fields are as before; messages that it hidden are
    /// listed again, and the reverse. Where later changes touch the same files (then with extensions { paths }), fields or
    /// messages nothing is written, and the answer is CONFLICT. Only its author takes back what hid messages of a conversation.
    async fn undo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project and the revision.")] input: UndoInput,
    ) -> Attempt<UndoPayload> {
        attempt(async {
            let project = ProjectId::parse(&input.project_id, "projectId")?;
            let caller = caller(ctx)?;
            let undo = |writer| snapshot::undo(writer, project, input.revision, input.expected_revision);
            let undone = caller.write(undo).await?;
            Ok(UndoPayload {
                project: Project(undone.project),
                changes: undone.changes.into_iter().map(|changed| CodeChange(changed.change)).collect(),
                file_count: undone.file_count,
                manifest_sha256: hex::encode(undone.manifest),
                shown_messages: count(undone.unfolded),
                hidden_messages: count(undone.folded),
                revision: undone.revision,
            })
        })
        .await
    }
}

fn count(messages: u64) -> i32 {
    i32::try_from(messages).unwrap_or(i32::MAX)
}

async fn restore(
    ctx: &Context<'_>,
    goal: Goal,
    scope: Option<RestoreScope>,
    paths: Option<Vec<String>>,
    session: Option<ID>,
    expected_revision: Option<i32>,
) -> Result<RestorePayload> {
    let restore = Restore {
        goal,
        scope: match scope.unwrap_or(RestoreScope::Files) {
            RestoreScope::Files => Scope::Files,
            RestoreScope::Conversation => Scope::Conversation,
            RestoreScope::Both => Scope::Both,
        },
        paths: parse_paths(paths)?,
        session_id: session.map(|id| SessionId::parse(&id, "sessionId")).transpose()?,
        expected_revision,
    };
    let caller = caller(ctx)?;
    let restored = caller.write(|writer| snapshot::restore(writer, restore)).await?;
    let backup = restored.backup.ok_or_else(|| Error::internal("a restore made no backup"))?;
    Ok(RestorePayload {
        project: Project(restored.project),
        backup: ProjectSnapshot(backup),
        changes: restored.changes.into_iter().map(|changed| CodeChange(changed.change)).collect(),
        file_count: restored.file_count,
        manifest_sha256: hex::encode(restored.manifest),
        hidden_messages: count(restored.folded),
        revision: restored.revision,
    })
}
