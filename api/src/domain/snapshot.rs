//! Snapshots of a project, and going back to a revision.

use std::collections::HashMap;

use super::edit::{Changed, Content, Context, Edit, FileWrite, Heads};
use super::file::PROJECT;
use super::project::Target;
use super::write::Write;
use super::{Tx, Writer, access, check_name, check_optional_text, policy};
use crate::model::clock;
use crate::model::error::{Conflict, Error, Result};
use crate::model::file::Hash;
use crate::model::ids::{FileId, ProjectId, ProjectSnapshotId, SessionId};
use crate::model::manifest::manifest;
use crate::model::names::EventKind;
use crate::model::path::FilePath;
use crate::model::project::Project;
use crate::model::snapshot::ProjectSnapshot;
use crate::storage::file::{self, Head};
pub use crate::storage::snapshot::{by_created_revisions, by_ids, count, page, project_with_page};
use crate::storage::{chat, event, file_snapshot, snapshot};

/// A snapshot that a caller asks for.
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
        description,
        file_count: i32::try_from(files.len()).unwrap_or(i32::MAX),
        manifest: manifest(files.iter().map(|(path, hash)| (path.as_str(), hash))),
        created_at: write.locked.at,
        created_by: None,
        session_id: None,
        message_id: None,
    };
    snapshot::insert(&write.tx, &new).await?;
    Ok(new.id)
}

async fn read_back(tx: &Tx, id: ProjectSnapshotId) -> Result<ProjectSnapshot> {
    by_ids(tx, &[id]).await?.into_iter().next().ok_or_else(|| Error::internal("a new snapshot cannot be read"))
}

/// What a caller goes back to.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// A snapshot.
    Snapshot(ProjectSnapshotId),
    /// A revision of a project.
    Revision(ProjectId, i32),
}

/// What goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The files.
    Files,
    /// A session: its later messages are folded away.
    Conversation,
    /// Both.
    Both,
}

/// How to go back.
#[derive(Clone, Debug)]
pub struct Restore {
    /// To what.
    pub goal: Goal,
    /// What of the project.
    pub scope: Scope,
    /// Only these files and folders; all without any.
    pub paths: Option<Vec<FilePath>>,
    /// The session whose conversation goes back; a checkpoint's own without one.
    pub session_id: Option<SessionId>,
    /// The revision that the caller saw; a guard.
    pub expected_revision: Option<i32>,
}

/// What going back, or an undo, did.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The project.
    pub project: Project,
    /// The state before; an undo needs none.
    pub backup: Option<ProjectSnapshot>,
    /// What changed.
    pub changes: Vec<Changed>,
    /// Files now, folders not counted.
    pub file_count: i32,
    /// The manifest of the files now.
    pub manifest: Hash,
    /// Messages that were folded away.
    pub folded: u64,
    /// Messages that are listed again.
    pub unfolded: u64,
    /// The revision that was made.
    pub revision: i32,
}

/// Makes a project's files equal to those of an earlier moment, in one revision, after naming the state before. Files that
/// are as they were get no new version.
///
/// # Errors
/// `NotFound`, `Forbidden`; `BadInput` for a revision that is not there yet, and for a conversation without a session;
/// `Conflict` where the guard fails, or where the chosen paths do not fit what is beside them.
pub async fn restore(writer: Writer, restore: Restore) -> Result<Restored> {
    let (target, noun) = match restore.goal {
        Goal::Snapshot(id) => (Target::Snapshot(id), ("snapshot", "snapshotId")),
        Goal::Revision(project, _) => (Target::Project(project), PROJECT),
    };
    let mut write = FileWrite::begin(&writer, target, noun, Context::default()).await?;
    write.write.check_expected(restore.expected_revision)?;
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
    let folded = match restore.scope {
        Scope::Files => 0,
        Scope::Conversation | Scope::Both => fold(&mut write, &restore, at, snapshot.as_ref()).await?,
    };
    let project = write.write.locked.id;
    let heads = write.heads(&[], true).await?;
    let before = heads.after(&[]).unwrap_or_default();
    let backup = add(&write.write, present, &before, Some("Pre-restore backup".to_owned()), None).await?;
    let mut edits = Vec::new();
    if restore.scope != Scope::Conversation {
        edits = going_back(&write.write.tx, project, at, heads.by_path.values()).await?;
    }
    if let Some(paths) = &restore.paths {
        let chosen = |path: &FilePath| paths.iter().any(|chosen| path == chosen || path.is_under(chosen));
        edits.retain(|edit| chosen(&edit.path) || edit.head.as_ref().is_some_and(|head| chosen(&head.file.path)));
    }
    // All of it fits together, as it did then: only a choice of paths can meet what stays.
    let changes = write.apply(&heads, edits, "paths").await?;
    let after = Files::of(&heads, &changes);
    let whole = restore.paths.is_none() && restore.scope != Scope::Conversation;
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
        folded,
        unfolded: 0,
        revision: closed.locked.revision,
    };
    closed.commit(restored).await
}

/// Folds away what came after a moment in the conversation that goes back. Answers how many messages that are.
async fn fold(write: &mut FileWrite, restore: &Restore, at: i32, snapshot: Option<&ProjectSnapshot>) -> Result<u64> {
    let Write { tx, locked, writer, .. } = &write.write;
    let session = restore.session_id.or_else(|| snapshot.and_then(|snapshot| snapshot.session_id));
    let missing = || Error::bad_input("sessionId", "Say which session's conversation goes back.");
    let session = session.ok_or_else(missing)?;
    let found = chat::conversation(tx, locked.id, Some(session), None).await?;
    let found = found.ok_or_else(|| Error::not_found("session in this project", "sessionId"))?;
    policy::may_write_in_session(found.author_id, writer.actor.user_id)?;
    // A checkpoint's files come after its message, and may come after later messages.
    let after = snapshot.map_or(at, |snapshot| snapshot.created_revision.min(at));
    let folded = chat::fold(tx, locked.id, session, after, locked.revision).await?;
    write.in_conversation(Some(found));
    Ok(folded)
}

/// How many files there are once some have changed, and their manifest.
struct Files {
    count: i32,
    manifest: Hash,
}

impl Files {
    fn of(heads: &Heads, changes: &[Changed]) -> Self {
        let files = heads.after(changes).unwrap_or_default();
        Self {
            count: i32::try_from(files.len()).unwrap_or(i32::MAX),
            manifest: manifest(files.iter().map(|(path, hash)| (path.as_str(), hash))),
        }
    }
}

/// Appends the inverse of a revision: what it made goes, what it removed comes back, what it folded away is listed again, and
/// the reverse; the project's own fields that it changed are as before.
///
/// # Errors
/// `NotFound`; `Forbidden` for viewers, where it folded somebody else's conversation, and for anyone but the owner where it brought
/// back the project; `BadInput` for a revision that changed neither files nor the project's own fields; `Conflict`, with the
/// paths, where later changes touch the same files, where the same fields have been changed or the conversation has gone back or
/// forth since, and where the guard fails.
pub async fn undo(
    writer: Writer,
    project: ProjectId,
    revision: Option<i32>,
    expected_revision: Option<i32>,
) -> Result<Restored> {
    let mut write = FileWrite::begin(&writer, Target::Project(project), PROJECT, Context::default()).await?;
    write.write.check_expected(expected_revision)?;
    let present = write.write.present_revision();
    let undone = revision.unwrap_or(present);
    let event = event::one(&write.write.tx, project, undone).await?.filter(|event| event.revision <= present);
    let missing = || Error::bad_input("revision", format!("The project has revisions 1 to {present}."));
    let kind = match event.ok_or_else(missing)?.kind {
        EventKind::FilesChanged | EventKind::ProjectRestored => EventKind::FilesChanged,
        EventKind::ProjectUpdated => EventKind::ProjectUpdated,
        _ => {
            let message = format!("Revision {undone} changed neither files nor the project's own fields.");
            return Err(Error::bad_input("revision", message));
        }
    };
    write.write.about.description = Some(format!("Undo of revision {undone}"));
    let heads = write.heads(&[], true).await?;
    let (mut changes, mut unfolded, mut folded) = (Vec::new(), 0, 0);
    if kind == EventKind::ProjectUpdated {
        super::project::undo(&write.write.tx, &write.write.locked, undone).await?;
    } else {
        let edits = inverse(&write.write.tx, project, undone).await?;
        let folding = chat::folding(&write.write.tx, project, undone).await?;
        changes = write.apply(&heads, edits, "revision").await?;
        if let Some(folding) = folding {
            policy::may_write_in_session(folding.author_id, writer.actor.user_id)?;
            if folding.changed > undone {
                let message = format!("The conversation that revision {undone} folded has been folded anew since.");
                return Err(Error::conflict("revision", message));
            }
            let Write { tx, locked, .. } = &write.write;
            (unfolded, folded) = chat::refold(tx, project, undone, locked.revision).await?;
        }
    }
    let after = Files::of(&heads, &changes);
    let closed = write.write.close(kind).await?;
    let restored = Restored {
        project: super::project::read_back(&closed.tx, project).await?,
        backup: None,
        changes,
        file_count: after.count,
        manifest: after.manifest,
        folded,
        unfolded,
        revision: closed.locked.revision,
    };
    closed.commit(restored).await
}

/// The edits that take back what a revision did to files, where nothing has been done to them since.
async fn inverse(tx: &Tx, project: ProjectId, revision: i32) -> Result<Vec<Edit>> {
    let Some(member) = access::member(tx, project).await? else { return Ok(Vec::new()) };
    let made = file_snapshot::changes_of_revisions(tx, &[(member, revision)]).await?;
    let ids: Vec<FileId> = made.iter().map(|change| change.file_id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let heads = file::heads_by_ids(tx, project, &ids).await?;
    let mut heads: HashMap<FileId, Head> = heads.into_iter().map(|head| (head.file.id, head)).collect();
    let before = file::held_before(tx, project, revision).await?;
    let mut before: HashMap<FileId, Head> = before.into_iter().map(|head| (head.file.id, head)).collect();
    let (mut edits, mut overlaps) = (Vec::new(), Vec::new());
    for change in made {
        let head = heads.remove(&change.file_id).ok_or_else(|| Error::internal("a changed file has no row"))?;
        if head.file.version != change.version {
            overlaps.push(head.file.path.as_str().to_owned());
            continue;
        }
        match before.remove(&change.file_id).filter(|before| !before.file.is_deleted) {
            // It was not there, or deleted.
            None => edits.push(Edit::delete(head)),
            Some(before) if head.file.is_deleted => edits.push(Edit::revive(head, &before)),
            Some(before) => {
                let same = head.file.hash == before.file.hash;
                let content = if same { Content::Same } else { Content::of(&before) };
                if head.file.path == before.file.path {
                    edits.push(Edit::update(head, content));
                } else {
                    edits.push(Edit::rename(head, before.file.path, content));
                }
            }
        }
    }
    if overlaps.is_empty() {
        return Ok(edits);
    }
    overlaps.sort_unstable();
    Err(Error::Conflict(Box::new(Conflict {
        message: format!("Files that revision {revision} changed have been changed since: {}.", overlaps.join(", ")),
        field: Some("revision"),
        paths: overlaps,
        ..Conflict::default()
    })))
}

/// The edits that lead from the live files back to the state at a revision, file by file: a rename is undone, a deleted
/// file comes back as itself. Only files that changed since are looked at.
async fn going_back(tx: &Tx, project: ProjectId, at: i32, heads: impl Iterator<Item = &Head>) -> Result<Vec<Edit>> {
    let changed = file::changed_after(tx, project, at).await?;
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let mut live: HashMap<FileId, Head> = heads.map(|head| (head.file.id, head.clone())).collect();
    let held = file::held(tx, project, at).await?;
    let mut held: HashMap<FileId, Head> = held.into_iter().map(|head| (head.file.id, head)).collect();
    let deleted: Vec<FileId> = held.keys().filter(|id| !live.contains_key(id)).copied().collect();
    let mut deleted: HashMap<FileId, Head> = if deleted.is_empty() {
        HashMap::new()
    } else {
        file::heads_by_ids(tx, project, &deleted).await?.into_iter().map(|head| (head.file.id, head)).collect()
    };
    let mut edits = Vec::new();
    for id in changed {
        match (held.remove(&id), live.remove(&id)) {
            (None, None) => {}
            (None, Some(head)) => edits.push(Edit::delete(head)),
            (Some(earlier), None) => {
                let head = deleted.remove(&id).ok_or_else(|| Error::internal("a deleted file has no row"))?;
                edits.push(Edit::revive(head, &earlier));
            }
            (Some(earlier), Some(head)) => {
                let same = head.file.hash == earlier.file.hash;
                let content = if same { Content::Same } else { Content::of(&earlier) };
                if head.file.path != earlier.file.path {
                    edits.push(Edit::rename(head, earlier.file.path, content));
                } else if !same {
                    edits.push(Edit::update(head, content));
                }
            }
        }
    }
    Ok(edits)
}
