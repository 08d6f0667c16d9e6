//! Snapshots, restore, undo and redo.

use async_graphql::{Context, Enum, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use crate::domain::file::Context as Conversation;
use crate::domain::snapshot::{self, Goal, NewSnapshot, Restore, Scope};
use crate::domain::undo::{self, UndoTarget};
use crate::graphql::context::caller;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::types::code_change::CodeChange;
use crate::graphql::types::project::Project;
use crate::graphql::types::project_input::parse_paths;
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
    /// The displayed name.
    name: Option<String>,
    /// A description of the state.
    description: Option<String>,
}

/// Changes of a snapshot.
#[derive(InputObject)]
struct UpdateSnapshotInput {
    /// The snapshot to change.
    snapshot_id: ID,
    /// The displayed name. Null removes it; a checkpoint's snapshot then gets its automatic name again. Absent:
    /// unchanged.
    name: MaybeUndefined<String>,
    /// A description of the state. Null removes it. Absent: unchanged.
    description: MaybeUndefined<String>,
}

/// A snapshot to delete.
#[derive(InputObject)]
struct DeleteSnapshotInput {
    /// The snapshot to delete.
    snapshot_id: ID,
}

/// Result of creating or changing a snapshot.
#[derive(SimpleObject)]
struct SnapshotPayload {
    /// The snapshot after the write.
    snapshot: ProjectSnapshot,
    /// The new revision, or the present one if nothing changed.
    revision: i32,
}

/// Result of deleting a snapshot.
#[derive(SimpleObject)]
struct DeleteSnapshotPayload {
    /// The id that the snapshot had, for removal from the client's cache.
    deleted_snapshot_id: ID,
    /// The project after the write.
    project: Project,
    /// The new revision.
    revision: i32,
}

/// A snapshot, and which parts to restore.
#[derive(InputObject)]
struct RestoreSnapshotInput {
    /// The snapshot whose state is restored.
    snapshot_id: ID,
    /// Precondition: the revision that the caller has read. If files have changed since then, the error is CONFLICT and
    /// nothing is written. If a session is restored, its new messages also count. Other changes do not.
    expected_revision: Option<i32>,
    /// What to restore: the files, a session, or both.
    #[graphql(default_with = "Some(RestoreScope::Files)")]
    scope: Option<RestoreScope>,
    /// Restores only these paths and everything below them; by default all paths. Other files are unchanged. Not for the
    /// scope CONVERSATION.
    paths: Option<Vec<String>>,
    /// The session to restore, one of the caller's; by default the checkpoint's own. With the scope FILES: restores
    /// only the writes of this session, and keeps later writes of others.
    session_id: Option<ID>,
}

/// A revision, and which parts to restore.
#[derive(InputObject)]
struct RestoreRevisionInput {
    /// The project to restore.
    project_id: ID,
    /// The number of the revision to restore.
    revision: i32,
    /// Precondition: the revision that the caller has read. If files have changed since then, the error is CONFLICT and
    /// nothing is written. If a session is restored, its new messages also count. Other changes do not.
    expected_revision: Option<i32>,
    /// What to restore: the files, a session, or both.
    #[graphql(default_with = "Some(RestoreScope::Files)")]
    scope: Option<RestoreScope>,
    /// Restores only these paths and everything below them; by default all paths. Other files are unchanged. Not for the
    /// scope CONVERSATION.
    paths: Option<Vec<String>>,
    /// The session to restore, one of the caller's; by default the checkpoint's own. With the scope FILES: restores
    /// only the writes of this session, and keeps later writes of others.
    session_id: Option<ID>,
}

/// The parts of a project to restore.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum RestoreScope {
    /// Only the files of the project.
    Files,
    /// Only a session: its later messages are hidden from its list; `includeHidden` still lists them.
    Conversation,
    /// The files and a session.
    Both,
}

/// A revision to undo.
#[derive(InputObject)]
struct UndoInput {
    /// The project to change.
    project_id: ID,
    /// The revision to undo. Without it and without `messageId`: the newest change of any member that is not undone.
    revision: Option<i32>,
    /// Undoes everything that was written for this message, in one revision; instead of `revision`.
    message_id: Option<ID>,
    /// Precondition: the revision that the caller has read. If files, or the fields of the project that the undo writes,
    /// have changed since then, the error is CONFLICT and nothing is written. Messages do not count.
    expected_revision: Option<i32>,
}

/// A project in which to redo a change.
#[derive(InputObject)]
struct RedoInput {
    /// The project in which to undo the newest undo.
    project_id: ID,
    /// Precondition: the revision that the caller has read. If files, or the fields of the project that the undo writes,
    /// have changed since then, the error is CONFLICT and nothing is written. Messages do not count.
    expected_revision: Option<i32>,
}

/// Result of an undo.
#[derive(SimpleObject)]
struct UndoPayload {
    /// The project after the write.
    project: Project,
    /// What changed.
    changes: Vec<CodeChange>,
    /// The number of files after it, without folders.
    file_count: i32,
    /// SHA-256 over the files after it; see `ProjectSnapshot.manifestSha256`.
    manifest_sha256: String,
    /// The number of messages that are shown again.
    shown_messages: i32,
    /// The number of messages that are hidden again, by the undo of an undo.
    hidden_messages: i32,
    /// The new revision.
    revision: i32,
}

/// Result of a restore.
#[derive(SimpleObject)]
struct RestorePayload {
    /// The project after the write.
    project: Project,
    /// A snapshot of the state before. If nothing changed, it describes the present state and is not stored, unless it
    /// is the requested snapshot.
    backup: ProjectSnapshot,
    /// The changes of files.
    changes: Vec<CodeChange>,
    /// The number of files after it, without folders.
    file_count: i32,
    /// SHA-256 over the files after it; after a complete restore, the hash of the restored state. See
    /// `ProjectSnapshot.manifestSha256`.
    manifest_sha256: String,
    /// The number of messages that were hidden.
    hidden_messages: i32,
    /// The new revision, or the present one if nothing changed.
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
            let done = caller.write(ctx, |writer| snapshot::create(writer, new, conversation));
            let made = done.await?;
            Ok(SnapshotPayload { revision: made.created_revision, snapshot: ProjectSnapshot(made) })
        })
        .await
    }

    /// Changes the name or the description of a snapshot. Its state is unchanged.
    async fn update_snapshot(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The snapshot and the fields to change.")] input: UpdateSnapshotInput,
    ) -> Attempt<SnapshotPayload> {
        attempt(async {
            let id = ProjectSnapshotId::parse(&input.snapshot_id, "snapshotId")?;
            let changes = SnapshotChanges { name: change(input.name), description: change(input.description) };
            let caller = caller(ctx)?;
            let (changed, revision) = caller.write(ctx, |writer| snapshot::update(writer, id, changes)).await?;
            Ok(SnapshotPayload { revision, snapshot: ProjectSnapshot(changed) })
        })
        .await
    }

    /// Deletes a snapshot, which is then no longer listed or found. Its revision is kept, and `restoreRevision` can
    /// restore it. The id of a checkpoint's message identifies the same moment as before.
    async fn delete_snapshot(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The snapshot to delete.")] input: DeleteSnapshotInput,
    ) -> Attempt<DeleteSnapshotPayload> {
        attempt(async {
            let id = ProjectSnapshotId::parse(&input.snapshot_id, "snapshotId")?;
            let caller = caller(ctx)?;
            let project = caller.write(ctx, |writer| snapshot::delete(writer, id)).await?;
            let deleted_snapshot_id = id.0.into();
            Ok(DeleteSnapshotPayload { deleted_snapshot_id, revision: project.revision, project: Project(project) })
        })
        .await
    }

    /// Makes the files equal to the snapshot's: deletes later files and restores deleted ones, after creating a
    /// snapshot named 'Pre-restore backup'. Unchanged files get no new version; if all are unchanged, nothing is
    /// written. `Project.restorePreview` shows the result in advance.
    async fn restore_snapshot(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The snapshot, and what to restore.")] input: RestoreSnapshotInput,
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
        #[graphql(desc = "The revision, and what to restore.")] input: RestoreRevisionInput,
    ) -> Attempt<RestorePayload> {
        attempt(async {
            let goal = Goal::Revision(ProjectId::parse(&input.project_id, "projectId")?, input.revision);
            restore(ctx, goal, input.scope, input.paths, input.session_id, input.expected_revision).await
        })
        .await
    }

    /// Undoes a revision that changed files or the project's own fields (`updateProject`), including restores and other
    /// undos: removes what it created, restores what it deleted, resets fields, shows messages that it hid, and the
    /// reverse. Without `revision` and `messageId` it goes back step by step: each call undoes the newest change of any
    /// member that is not undone; a redo is a change too. A step never deletes a project that was restored: it skips that
    /// change. A step also passes over changes that cannot be undone now, because later changes are in the way; if no
    /// other change is left, their error is the answer. Later changes elsewhere are kept, including those in other lines
    /// of the same files. If later changes are in the way of a given revision or message, nothing is written, and the
    /// error is CONFLICT with extensions { paths, files: [{ path, currentVersion, currentHash, merge }] }, and for one
    /// file { merge } as for a stale write. It is also CONFLICT if nothing of the revision is left: it is already undone,
    /// or later changes have reverted it. Languages of files have no history and are not undone. Only the author of a
    /// session can undo a revision that hid its messages.
    async fn undo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project, and what to undo.")] input: UndoInput,
    ) -> Attempt<UndoPayload> {
        attempt(async {
            let target = match (input.revision, input.message_id) {
                (revision, Some(message)) => UndoTarget::Message(MessageId::parse(&message, "messageId")?, revision),
                (Some(revision), None) => UndoTarget::Revision(revision),
                (None, None) => UndoTarget::Newest,
            };
            undo(ctx, &input.project_id, target, input.expected_revision).await
        })
        .await
    }

    /// The reverse of `undo`: undoes the newest undo of any member that is not undone, so that its change is effective
    /// again.
    async fn redo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project.")] input: RedoInput,
    ) -> Attempt<UndoPayload> {
        attempt(undo(ctx, &input.project_id, UndoTarget::NewestUndo, input.expected_revision)).await
    }
}

async fn undo(ctx: &Context<'_>, project: &ID, target: UndoTarget, expected: Option<i32>) -> Result<UndoPayload> {
    let project = ProjectId::parse(project, "projectId")?;
    let caller = caller(ctx)?;
    let undone =
        caller.write(ctx, |writer| undo::undo(writer, project, target, expected, Conversation::default())).await?;
    Ok(UndoPayload {
        project: Project(undone.project),
        changes: undone.changes.into_iter().map(|changed| CodeChange(changed.change)).collect(),
        file_count: undone.file_count,
        manifest_sha256: hex::encode(undone.manifest),
        shown_messages: count(undone.shown),
        hidden_messages: count(undone.hidden),
        revision: undone.revision,
    })
}

/// The change of a removable field; `None` keeps it.
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
    let restored = caller.write(ctx, |writer| snapshot::restore(writer, restore, Conversation::default())).await?;
    let backup = restored.backup.ok_or_else(|| Error::internal("a restore made no backup"))?;
    Ok(RestorePayload {
        project: Project(restored.project),
        backup: ProjectSnapshot(backup),
        changes: restored.changes.into_iter().map(|changed| CodeChange(changed.change)).collect(),
        file_count: restored.file_count,
        manifest_sha256: hex::encode(restored.manifest),
        hidden_messages: count(restored.hidden),
        revision: restored.revision,
    })
}
