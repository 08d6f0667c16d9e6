//! Snapshots of a project, and restoring a revision.

use super::compare::{self, FileDiff};
use super::edit::{Changed, Context, FileStates, FileWrite, in_order};
use super::file::PROJECT;
use super::file_edit::Edit;
pub use super::plan::Limit;
use super::project::Target;
use super::write::{Noun, Write};
use super::{Member, Tx, Writer, access, check_name, check_optional_text, plan, policy};
use crate::model::clock;
use crate::model::enums::EventKind;
use crate::model::error::{Error, Result};
use crate::model::file::Hash;
use crate::model::ids::{ProjectId, ProjectSnapshotId, SessionId};
use crate::model::manifest::manifest;
use crate::model::path::FilePath;
use crate::model::project::Project;
use crate::model::snapshot::{ProjectSnapshot, SnapshotChanges};
use crate::storage::file;
pub use crate::storage::snapshot::{by_ids, by_revisions, count, page, project_with_page};
use crate::storage::{chat, event, snapshot};

/// Arguments of a new snapshot.
#[derive(Clone, Debug)]
pub struct NewSnapshot {
    /// The project.
    pub project_id: ProjectId,
    /// Its name.
    pub name: Option<String>,
    /// What it is about.
    pub description: Option<String>,
}

/// Names the present state of a project.
///
/// # Errors
/// `NotFound`, `Forbidden`; `BadInput` for an empty name; `PayloadTooLarge`.
pub async fn create(writer: Writer, new: NewSnapshot, context: Context) -> Result<ProjectSnapshot> {
    if let Some(name) = &new.name {
        check_name(writer.limits(), "name", name)?;
    }
    check_optional_text(writer.limits(), "description", new.description.as_ref())?;
    let FileWrite { write, .. } = FileWrite::begin(&writer, Target::Project(new.project_id), PROJECT, context).await?;
    let files = file::manifest(&write.tx, write.locked.id).await?;
    let id = add(&write, write.locked.revision, &files, new.name, new.description).await?;
    let closed = write.close(EventKind::SnapshotCreated).await?;
    let snapshot = read_back(&closed.tx, id).await?;
    closed.commit(snapshot).await
}

async fn add(
    write: &Write,
    revision: i32,
    files: &[(String, Hash)],
    name: Option<String>,
    description: Option<String>,
) -> Result<ProjectSnapshotId> {
    let new = ProjectSnapshot {
        id: ProjectSnapshotId(clock::new_id()),
        project_id: write.locked.id,
        revision,
        created_revision: write.locked.revision,
        name,
        description: description.map(Into::into),
        file_count: i32::try_from(files.len()).unwrap_or(i32::MAX),
        manifest: manifest_of(files),
        created_at: write.locked.at,
        created_by: None,
        session_id: None,
        message_id: None,
    };
    snapshot::insert(&write.tx, &new).await?;
    Ok(new.id)
}

fn manifest_of(files: &[(String, Hash)]) -> Hash {
    manifest(files.iter().map(|(path, hash)| (path.as_str(), hash)))
}

async fn read_back(tx: &Tx, id: ProjectSnapshotId) -> Result<ProjectSnapshot> {
    by_ids(tx, &[id]).await?.into_iter().next().ok_or_else(|| Error::not_found(SNAPSHOT.0, SNAPSHOT.1))
}

/// The name of a snapshot in errors, and the argument with its id.
const SNAPSHOT: Noun = ("snapshot", "snapshotId");

/// Changes the name or the description of a snapshot. Without a name, a checkpoint's snapshot gets its automatic name
/// again. Also returns the revision.
///
/// # Errors
/// `NotFound`, `Forbidden`; `BadInput` for an empty name; `PayloadTooLarge`.
pub async fn update(writer: Writer, id: ProjectSnapshotId, changes: SnapshotChanges) -> Result<(ProjectSnapshot, i32)> {
    if let Some(Some(name)) = &changes.name {
        check_name(writer.limits(), "name", name)?;
    }
    check_optional_text(writer.limits(), "description", changes.description.as_ref().and_then(Option::as_ref))?;
    let write = writer.begin(Target::Snapshot(id), SNAPSHOT).await?;
    let before = read_back(&write.tx, id).await?;
    snapshot::rename(&write.tx, id, changes).await?;
    let after = read_back(&write.tx, id).await?;
    if (&before.name, &before.description) == (&after.name, &after.description) {
        let present = write.present_revision();
        return write.unchanged((before, present)).await;
    }
    let closed = write.close(EventKind::SnapshotUpdated).await?;
    snapshot::note_change(&closed.tx, closed.locked.id, closed.locked.revision, id).await?;
    let revision = closed.locked.revision;
    closed.commit((after, revision)).await
}

/// Deletes a snapshot. Its revision is kept, and the files of a checkpoint's message still belong to the message.
///
/// # Errors
/// `NotFound`, `Forbidden`.
pub async fn delete(writer: Writer, id: ProjectSnapshotId) -> Result<Project> {
    let write = writer.begin(Target::Snapshot(id), SNAPSHOT).await?;
    read_back(&write.tx, id).await?;
    snapshot::delete(&write.tx, id, write.locked.revision).await?;
    let closed = write.close(EventKind::SnapshotDeleted).await?;
    snapshot::note_change(&closed.tx, closed.locked.id, closed.locked.revision, id).await?;
    let project = super::project::read_back(&closed.tx, closed.locked.id).await?;
    closed.commit(project).await
}

/// The target of a restore.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// A snapshot.
    Snapshot(ProjectSnapshotId),
    /// A revision of a project.
    Revision(ProjectId, i32),
}

/// The parts to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The files.
    Files,
    /// A session: its later messages are hidden.
    Conversation,
    /// Both.
    Both,
}

/// Arguments of a restore.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The target.
    pub goal: Goal,
    /// The parts to restore.
    pub scope: Scope,
    /// Restricts writes to these paths and below them; `None` for all paths.
    pub paths: Option<Vec<FilePath>>,
    /// The session that is restored; by default the checkpoint's own. If only files are restored,
    /// restricts them to the session's writes.
    pub session_id: Option<SessionId>,
    /// The revision that the caller has seen, as a precondition.
    pub expected_revision: Option<i32>,
}

/// Result of a restore or an undo.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The project.
    pub project: Project,
    /// The snapshot of the state before; `None` for an undo.
    pub backup: Option<ProjectSnapshot>,
    /// What changed.
    pub changes: Vec<Changed>,
    /// Number of files after it, without folders.
    pub file_count: i32,
    /// The manifest of the files after it.
    pub manifest: Hash,
    /// Number of messages that were hidden.
    pub hidden: u64,
    /// Number of messages that are shown again.
    pub shown: u64,
    /// The new revision.
    pub revision: i32,
}

/// Makes a project's files equal to those of an earlier moment, in one revision. Also creates a snapshot of the state
/// before. Unchanged files get no new version.
///
/// # Errors
/// `NotFound`, `Forbidden`; `BadInput` for a revision that does not exist yet, for a conversation without a session,
/// and for paths if only a conversation is restored; `Conflict` if the precondition fails, or if the chosen paths do not fit the other files.
pub async fn restore(writer: Writer, restore: Restore, context: Context) -> Result<Restored> {
    let Planned { mut write, at, snapshot, edits, hidden } = plan_restore(&writer, &restore, context).await?;
    let (project, present, limit) = (write.write.locked.id, write.write.present_revision(), restore.limit());
    let states = write.states(&[], &[], true).await?;
    let before = states.after(&[]).unwrap_or_default();
    if edits.is_empty() && hidden == 0 {
        return nothing_to_do(write.write, snapshot, &before).await;
    }
    let backup = add(&write.write, present, &before, Some("Pre-restore backup".to_owned()), None).await?;
    // The complete state is consistent, as it was then; only a choice of paths can conflict with other files.
    let changes = write.bring_back(&states, edits, "paths").await?;
    let after = Files::of(&states, &changes);
    let whole = limit == Limit::default() && restore.scope != Scope::Conversation;
    if whole && snapshot.is_some_and(|snapshot| snapshot.manifest != after.manifest) {
        return Err(Error::internal(format!("restoring revision {at} did not give the snapshot's manifest")));
    }
    let closed = write.write.close(EventKind::ProjectRestored).await?;
    let restored = Restored {
        project: super::project::read_back(&closed.tx, project).await?,
        backup: Some(read_back(&closed.tx, backup).await?),
        changes,
        file_count: after.count,
        manifest: after.manifest,
        hidden,
        shown: 0,
        revision: closed.locked.revision,
    };
    closed.commit(restored).await
}

/// Whether a restore would change anything. Writes nothing.
///
/// # Errors
/// As [`restore`], except for files that do not fit the chosen paths.
pub async fn check(writer: Writer, restore: Restore) -> Result<bool> {
    let planned = plan_restore(&writer, &restore, Context::default()).await?;
    let changes_something = !planned.edits.is_empty() || planned.hidden > 0;
    planned.write.write.unchanged(changes_something).await
}

/// A restore that has locked its project.
struct Planned {
    write: FileWrite,
    /// The revision to restore.
    at: i32,
    snapshot: Option<ProjectSnapshot>,
    edits: Vec<Edit>,
    /// Number of messages that it has hidden.
    hidden: u64,
}

async fn plan_restore(writer: &Writer, restore: &Restore, context: Context) -> Result<Planned> {
    if restore.scope == Scope::Conversation && restore.paths.is_some() {
        let message = "The scope CONVERSATION restores no files: leave out `paths`, or restore both.";
        return Err(Error::bad_input("paths", message));
    }
    let (target, noun) = match restore.goal {
        Goal::Snapshot(id) => (Target::Snapshot(id), SNAPSHOT),
        Goal::Revision(project, _) => (Target::Project(project), PROJECT),
    };
    let mut write = FileWrite::begin(writer, target, noun, context).await?;
    let (at, snapshot) = match restore.goal {
        Goal::Snapshot(id) => {
            let snapshot = read_back(&write.write.tx, id).await?;
            (snapshot.revision, Some(snapshot))
        }
        Goal::Revision(_, revision) => (revision, None),
    };
    let present = write.write.present_revision();
    if !(1..=present).contains(&at) {
        return Err(Error::bad_input("revision", format!("The project has revisions 1 to {present}.")));
    }
    if let Some(expected) = restore.expected_revision {
        check_seen(&write.write, restore, snapshot.as_ref(), expected).await?;
    }
    let hidden = match restore.scope {
        Scope::Files => 0,
        Scope::Conversation | Scope::Both => hide(&mut write, restore, at, snapshot.as_ref()).await?,
    };
    let project = write.write.locked.id;
    let mut edits = Vec::new();
    if restore.scope != Scope::Conversation {
        let member = access::required(&write.write.tx, project).await?;
        edits = plan::going_back(&write.write.tx, member, (present, at), &restore.limit()).await?;
    }
    Ok(Planned { write, at, snapshot, edits, hidden })
}

/// Checks the precondition: what the restore replaces (files, the session's messages) has not changed since a revision.
async fn check_seen(write: &Write, restore: &Restore, goal: Option<&ProjectSnapshot>, expected: i32) -> Result<()> {
    const OF_CONVERSATIONS: &[EventKind] = &[EventKind::MessageAdded, EventKind::ProjectRestored];
    let (tx, project) = (&write.tx, write.locked.id);
    let mut holds = (0..write.present_revision()).contains(&expected);
    if holds && restore.scope != Scope::Conversation {
        holds = !file::has_changed_after(tx, project, expected).await?;
    }
    if holds && restore.scope != Scope::Files {
        let session = restore.session_of(goal);
        let member = access::required(tx, project).await?;
        holds = !event::has_after(tx, member, expected, OF_CONVERSATIONS, session).await?;
    }
    if holds { Ok(()) } else { write.check_expected(Some(expected)) }
}

impl Restore {
    /// The session that is restored.
    fn session_of(&self, goal: Option<&ProjectSnapshot>) -> Option<SessionId> {
        self.session_id.or_else(|| goal.and_then(|snapshot| snapshot.session_id))
    }

    /// The restriction of the files' part: a session restricts the files only if only files are restored.
    fn limit(&self) -> Limit {
        Limit { paths: self.paths.clone(), session: self.session_id.filter(|_| self.scope == Scope::Files) }
    }
}

/// Ends a restore without changes. The returned backup describes the present state but is not stored.
async fn nothing_to_do(write: Write, goal: Option<ProjectSnapshot>, files: &[(String, Hash)]) -> Result<Restored> {
    let present = write.present_revision();
    let (file_count, manifest) = (i32::try_from(files.len()).unwrap_or(i32::MAX), manifest_of(files));
    let backup = goal.filter(|goal| goal.manifest == manifest).unwrap_or_else(|| ProjectSnapshot {
        id: ProjectSnapshotId(clock::new_id()),
        project_id: write.locked.id,
        revision: present,
        created_revision: present,
        name: None,
        description: None,
        file_count,
        manifest,
        created_at: write.locked.at,
        created_by: None,
        session_id: None,
        message_id: None,
    });
    let project = super::project::read_back(&write.tx, write.locked.id).await?;
    let (changes, backup) = (Vec::new(), Some(backup));
    let unchanged = Restored { project, backup, changes, file_count, manifest, hidden: 0, shown: 0, revision: present };
    write.unchanged(unchanged).await
}

/// A preview of restoring a revision of a project from another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Preview {
    /// The project.
    pub project: ProjectId,
    /// The revision to start from.
    pub from: i32,
    /// The revision to restore.
    pub to: i32,
    /// The restriction.
    pub limit: Limit,
    /// Whether to compare contents.
    pub with_contents: bool,
}

/// The changes that [`restore`] would make in each of these, by the same plan. An impossible one is an error of its
/// own.
pub async fn previews(tx: &Tx, wanted: &[(Member<'_>, Preview)]) -> Result<Vec<Result<Vec<FileDiff>>>> {
    let mut plans: Vec<Result<Vec<Edit>>> = Vec::with_capacity(wanted.len());
    let whole: Vec<_> = wanted.iter().filter(|(_, preview)| preview.limit.is_none()).collect();
    let whole: Vec<_> = whole.into_iter().map(|(member, preview)| (*member, (preview.from, preview.to))).collect();
    let mut whole = if whole.is_empty() { Vec::new() } else { plan::previews(tx, &whole).await? }.into_iter();
    for (member, preview) in wanted {
        plans.push(match preview.limit.is_none() {
            true => Ok(whole.next().unwrap_or_default()),
            false => plan::going_back(tx, *member, (preview.from, preview.to), &preview.limit).await,
        });
    }
    let (mut edits, mut refused) = (Vec::new(), Vec::new());
    for (plan, (member, preview)) in plans.into_iter().zip(wanted) {
        let (plan, error) = plan.map_or_else(|error| (Vec::new(), Some(error)), |plan| (in_order(plan), None));
        edits.push((*member, plan, preview.with_contents));
        refused.push(error);
    }
    let diffs = compare::of_edits(tx, &edits).await?.into_iter().zip(refused);
    Ok(diffs.map(|(diffs, refused)| refused.map_or(diffs, Err)).collect())
}

/// Hides the messages after a moment in the restored conversation. Returns their number.
async fn hide(write: &mut FileWrite, restore: &Restore, at: i32, snapshot: Option<&ProjectSnapshot>) -> Result<u64> {
    let Write { tx, locked, writer, .. } = &write.write;
    let session = restore.session_of(snapshot);
    let missing = || Error::bad_input("sessionId", "Give `sessionId`: the session to restore.");
    let session = session.ok_or_else(missing)?;
    let found = chat::conversation(tx, locked.id, Some(session), None).await?;
    let found = found.ok_or_else(|| Error::not_found("session in this project", "sessionId"))?;
    policy::may_write_in_session(found.author_id, writer.actor.user_id)?;
    // A checkpoint's files come after its message, and possibly after later messages.
    let after = snapshot.map_or(at, |snapshot| snapshot.created_revision.min(at));
    let hidden = chat::hide(tx, locked.id, session, after, locked.revision).await?;
    write.in_conversation(Some(found));
    Ok(hidden)
}

/// The number of files after changes, and their manifest.
pub(super) struct Files {
    pub(super) count: i32,
    pub(super) manifest: Hash,
}

impl Files {
    pub(super) fn of(states: &FileStates, changes: &[Changed]) -> Self {
        let files = states.after(changes).unwrap_or_default();
        Self { count: i32::try_from(files.len()).unwrap_or(i32::MAX), manifest: manifest_of(&files) }
    }
}
