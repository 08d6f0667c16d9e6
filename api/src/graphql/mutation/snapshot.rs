//! Snapshots, and going back.

use async_graphql::{Context, Enum, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use crate::domain::file::Context as Conversation;
use crate::domain::snapshot::{self, Goal, NewSnapshot, Restore, Scope};
use crate::domain::undo::{self, Taken};
use crate::graphql::context::caller;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::types::file::CodeChange;
use crate::graphql::types::project::{Project, parse_paths};
use crate::graphql::types::snapshot::ProjectSnapshot;
use crate::model::error::{Error, Result};
use crate::model::ids::{MessageId, ProjectId, ProjectSnapshotId, SessionId};
use crate::model::snapshot::SnapshotChanges;

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

/// What changes of a snapshot; what is left out stays.
#[derive(InputObject)]
struct UpdateSnapshotInput {
    /// The snapshot to change.
    snapshot_id: ID,
    /// What to call the state. Null removes it; the snapshot of a checkpoint then has its first name again.
    name: MaybeUndefined<String>,
    /// What the state is about. Null removes it.
    description: MaybeUndefined<String>,
}

/// A snapshot to delete.
#[derive(InputObject)]
struct DeleteSnapshotInput {
    /// The snapshot to delete.
    snapshot_id: ID,
}

/// What making or changing a snapshot answers.
#[derive(SimpleObject)]
struct SnapshotPayload {
    /// The snapshot after the write.
    snapshot: ProjectSnapshot,
    /// The revision that was made, or the present one if nothing changed.
    revision: i32,
}

/// What deleting a snapshot answers.
#[derive(SimpleObject)]
struct DeleteSnapshotPayload {
    /// The id of the snapshot that is gone.
    deleted_snapshot_id: ID,
    /// The project after the write.
    project: Project,
    /// The revision that was made.
    revision: i32,
}

/// A snapshot to go back to.
#[derive(InputObject)]
struct RestoreSnapshotInput {
    /// The snapshot to go back to.
    snapshot_id: ID,
    /// The revision that the caller read. If files have changed since, nothing is written and the answer is CONFLICT; with a
    /// conversation that goes back, also if it has new messages. What else happened in the project does not count.
    expected_revision: Option<i32>,
    /// What goes back: the files, a conversation, or both.
    #[graphql(default_with = "Some(RestoreScope::Files)")]
    scope: Option<RestoreScope>,
    /// Only what is written at these paths and below them; everywhere by default. What is elsewhere stays as it is.
    paths: Option<Vec<String>>,
    /// The session whose conversation goes back, if one does; by default a checkpoint's own. With the scope FILES:
    /// only what this session wrote goes back, and what others wrote since stays.
    session_id: Option<ID>,
}

/// A revision to go back to.
#[derive(InputObject)]
struct RestoreRevisionInput {
    /// The project to restore.
    project_id: ID,
    /// The number of the revision to go back to.
    revision: i32,
    /// The revision that the caller read. If files have changed since, nothing is written and the answer is CONFLICT; with a
    /// conversation that goes back, also if it has new messages. What else happened in the project does not count.
    expected_revision: Option<i32>,
    /// What goes back: the files, a conversation, or both.
    #[graphql(default_with = "Some(RestoreScope::Files)")]
    scope: Option<RestoreScope>,
    /// Only what is written at these paths and below them; everywhere by default. What is elsewhere stays as it is.
    paths: Option<Vec<String>>,
    /// The session whose conversation goes back, if one does; by default a checkpoint's own. With the scope FILES:
    /// only what this session wrote goes back, and what others wrote since stays.
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
    /// The revision. Without it and without `messageId`, the newest change that is not taken back.
    revision: Option<i32>,
    /// Takes back all that was written for this message, in one revision; in place of `revision`.
    message_id: Option<ID>,
    /// The revision that the caller read. If what can be taken back has changed since, nothing is written and the answer is CONFLICT:
    /// files, or the project's own fields. Messages do not count.
    expected_revision: Option<i32>,
}

/// What to do again.
#[derive(InputObject)]
struct RedoInput {
    /// The project in which the newest undo is taken back.
    project_id: ID,
    /// The revision that the caller read. If what can be taken back has changed since, nothing is written and the answer is CONFLICT:
    /// files, or the project's own fields. Messages do not count.
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
    /// The state before. If nothing had to change it is the present one, and this snapshot of it is not kept unless it is the one
    /// that was asked for: nothing lists or finds it.
    backup: ProjectSnapshot,
    /// What changed.
    changes: Vec<CodeChange>,
    /// Files now, folders not counted.
    file_count: i32,
    /// SHA-256 over the files now. If all files went back, it is that of the restored state. See `ProjectSnapshot.manifestSha256`.
    manifest_sha256: String,
    /// The number of messages that were hidden.
    hidden_messages: i32,
    /// The revision that was made, or the present one if nothing had to change.
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

    /// Changes the name or the description of a snapshot. Its state stays.
    async fn update_snapshot(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The snapshot and the fields to change.")] input: UpdateSnapshotInput,
    ) -> Attempt<SnapshotPayload> {
        attempt(async {
            let id = ProjectSnapshotId::parse(&input.snapshot_id, "snapshotId")?;
            let changes = SnapshotChanges { name: change(input.name), description: change(input.description) };
            let caller = caller(ctx)?;
            let (changed, revision) = caller.write(|writer| snapshot::update(writer, id, changes)).await?;
            Ok(SnapshotPayload { revision, snapshot: ProjectSnapshot(changed) })
        })
        .await
    }

    /// Deletes a snapshot: nothing lists or finds it any more. The revision that it named stays, and `restoreRevision` goes back to
    /// it. The id of a message that is a checkpoint names the same moment as before.
    async fn delete_snapshot(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The snapshot to delete.")] input: DeleteSnapshotInput,
    ) -> Attempt<DeleteSnapshotPayload> {
        attempt(async {
            let id = ProjectSnapshotId::parse(&input.snapshot_id, "snapshotId")?;
            let caller = caller(ctx)?;
            let project = caller.write(|writer| snapshot::delete(writer, id)).await?;
            let deleted_snapshot_id = id.0.into();
            Ok(DeleteSnapshotPayload { deleted_snapshot_id, revision: project.revision, project: Project(project) })
        })
        .await
    }

    /// Makes the files equal to the snapshot's (what came later is deleted, what was deleted comes back), after a snapshot
    /// named 'Pre-restore backup'. Files that are as they were get no new version; if all are, nothing is
    /// written. `Project.restorePreview` is the dry run.
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

    /// Takes back a revision that changed files or the project's own fields (`updateProject`), a restore or another undo included:
    /// what it made goes, what it removed comes back, fields are as before; messages that it hidden are listed again, and
    /// the reverse. Without arguments it goes back step by step: each time it takes back the newest change that is not taken back.
    /// What was changed since elsewhere stays, in other lines of the same file too. If later changes are in the way nothing is
    /// written, and the answer is CONFLICT with extensions { paths, files: [{ path, currentVersion, currentHash, merge }] }, and
    /// for one file { merge } as of a stale write. The same if nothing is left of what was named. Only its author takes
    /// back what hid messages of a conversation.
    async fn undo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project, and what to take back.")] input: UndoInput,
    ) -> Attempt<UndoPayload> {
        attempt(async {
            let taken = match (input.revision, input.message_id) {
                (revision, Some(message)) => Taken::Message(MessageId::parse(&message, "messageId")?, revision),
                (Some(revision), None) => Taken::Revision(revision),
                (None, None) => Taken::Newest,
            };
            undo(ctx, &input.project_id, taken, input.expected_revision).await
        })
        .await
    }

    /// The reverse of `undo`: takes back the newest undo that is not taken back, so that its change is there again.
    async fn redo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project.")] input: RedoInput,
    ) -> Attempt<UndoPayload> {
        attempt(undo(ctx, &input.project_id, Taken::NewestUndo, input.expected_revision)).await
    }
}

async fn undo(ctx: &Context<'_>, project: &ID, taken: Taken, expected: Option<i32>) -> Result<UndoPayload> {
    let project = ProjectId::parse(project, "projectId")?;
    let caller = caller(ctx)?;
    let undone = caller.write(|writer| undo::undo(writer, project, taken, expected)).await?;
    Ok(UndoPayload {
        project: Project(undone.project),
        changes: undone.changes.into_iter().map(|changed| CodeChange(changed.change)).collect(),
        file_count: undone.file_count,
        manifest_sha256: hex::encode(undone.manifest),
        shown_messages: count(undone.unfolded),
        hidden_messages: count(undone.folded),
        revision: undone.revision,
    })
}

/// What a field that can be removed changes to; `None` if it stays.
fn change(field: MaybeUndefined<String>) -> Option<Option<String>> {
    match field {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(text) => Some(Some(text)),
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
