//! Snapshots of a project, and going back to a revision.

use std::collections::HashMap;
use std::sync::Arc;

use super::edit::{Changed, Content, Context, Edit, Write};
use super::project::{Target, check_expected};
use super::{Services, Tx, check_name, check_optional_text, write};
use crate::model::actor::Actor;
use crate::model::clock;
use crate::model::error::{Error, Result};
use crate::model::file::Hash;
use crate::model::ids::{FileId, ProjectId, ProjectSnapshotId};
use crate::model::manifest::manifest;
use crate::model::names::EventKind;
use crate::model::project::Project;
use crate::model::snapshot::ProjectSnapshot;
use crate::storage::file::{self, Head};
use crate::storage::snapshot;
pub use crate::storage::snapshot::{by_created_revisions, by_ids, count, page};

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
pub async fn create(
    services: &Arc<Services>,
    actor: &Actor,
    new: NewSnapshot,
    context: Context,
) -> Result<ProjectSnapshot> {
    if let Some(name) = &new.name {
        check_name(&services.limits, "name", name)?;
    }
    check_optional_text(&services.limits, "description", new.description.as_ref())?;
    let writer = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let noun = ("project", "projectId");
            let write = Write::begin(tx, writer, Target::Project(new.project_id), noun, context).await?;
            let files = file::manifest(tx, write.locked.id).await?;
            let revision = write.locked.revision;
            let id = add(tx, &write, revision, &files, new.name, new.description).await?;
            write.note(EventKind::SnapshotCreated).await?;
            read_back(tx, id).await
        })
    })
    .await
}

async fn add(
    tx: &Tx,
    write: &Write<'_>,
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
        created_at: write.now(),
        created_by: None,
        session_id: None,
        message_id: None,
    };
    snapshot::insert(tx, &new).await?;
    Ok(new.id)
}

async fn read_back(tx: &Tx, id: ProjectSnapshotId) -> Result<ProjectSnapshot> {
    by_ids(tx, &[id]).await?.into_iter().next().ok_or_else(|| Error::internal("a new snapshot cannot be read"))
}

/// What a caller goes back to.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// A snapshot.
    Snapshot(ProjectSnapshotId),
    /// A revision of a project.
    Revision(ProjectId, i32),
}

/// What going back did.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The project.
    pub project: Project,
    /// The state before.
    pub backup: ProjectSnapshot,
    /// What changed.
    pub changes: Vec<Changed>,
    /// The revision that was made.
    pub revision: i32,
}

/// Makes a project's files equal to those of an earlier moment, in one revision, after naming the state before. Files that
/// are as they were get no new version.
///
/// # Errors
/// `NotFound`, `Forbidden`; `BadInput` for a revision that is not there yet; `Conflict` where the guard fails.
pub async fn restore(
    services: &Arc<Services>,
    actor: &Actor,
    to: Moment,
    expected_revision: Option<i32>,
) -> Result<Restored> {
    let writer = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let (target, noun) = match to {
                Moment::Snapshot(id) => (Target::Snapshot(id), ("snapshot", "snapshotId")),
                Moment::Revision(project, _) => (Target::Project(project), ("project", "projectId")),
            };
            let write = Write::begin(tx, writer, target, noun, Context::default()).await?;
            check_expected(&write.locked, expected_revision)?;
            let (at, expected) = match to {
                Moment::Snapshot(id) => {
                    let snapshot = read_back(tx, id).await?;
                    (snapshot.revision, Some(snapshot.manifest))
                }
                Moment::Revision(_, revision) => (revision, None),
            };
            if !(1..=write.present_revision()).contains(&at) {
                let message = format!("The project has revisions 1 to {}.", write.present_revision());
                return Err(Error::bad_input("revision", message));
            }
            let project = write.locked.id;
            let heads = write.heads(&[], true).await?;
            let before = heads.after(&[]).unwrap_or_default();
            let name = Some("Pre-restore backup".to_owned());
            let backup = add(tx, &write, write.present_revision(), &before, name, None).await?;
            let edits = going_back(tx, project, at, heads.by_path.values()).await?;
            let changes = write.apply(&heads, edits, EventKind::ProjectRestored).await?;
            let after = heads.after(&changes).unwrap_or_default();
            let reached = manifest(after.iter().map(|(path, hash)| (path.as_str(), hash)));
            if expected.is_some_and(|expected| expected != reached) {
                return Err(Error::internal(format!("restoring revision {at} did not give the snapshot's manifest")));
            }
            let project = super::project::by_ids(tx, &[project]).await?.into_iter().next();
            Ok(Restored {
                project: project.ok_or_else(|| Error::internal("a locked project cannot be read"))?,
                backup: read_back(tx, backup).await?,
                changes,
                revision: write.locked.revision,
            })
        })
    })
    .await
}

/// The edits that lead from the live files back to the state at a revision, file by file: a rename is undone, a deleted
/// file comes back as itself. Only files that changed since are looked at.
async fn going_back(tx: &Tx, project: ProjectId, at: i32, heads: impl Iterator<Item = &Head>) -> Result<Vec<Edit>> {
    let changed = file::changed_after(tx, project, at).await?;
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let mut live: HashMap<FileId, Head> = heads.map(|head| (head.file.id, head.clone())).collect();
    let held = file::held(tx, project, at, (at, i32::MAX)).await?;
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
