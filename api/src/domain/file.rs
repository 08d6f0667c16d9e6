//! Files.

use std::collections::HashMap;
use std::sync::Arc;

pub use super::edit::{Changed, Context};
use super::edit::{Content, Edit, Heads, Write};
use super::project::Target;
use super::{Services, Tx, check_name, check_optional_text, write};
use crate::model::actor::Actor;
use crate::model::diff;
use crate::model::error::{Conflict, Error, Result};
use crate::model::file::{File, Hash};
use crate::model::ids::{FileId, FileSnapshotId, ProjectId};
use crate::model::limits::Limits;
use crate::model::merge::{MAX_STEPS, Merge, merge};
use crate::model::names::{EventKind, FileType};
use crate::model::path::FilePath;
use crate::storage::blob::{self, BlobId};
use crate::storage::file::{self, Head};
pub use crate::storage::file::{
    by_ids, by_paths, changes_count, changes_of_messages, changes_of_revisions, changes_page, count, page,
    versions_by_ids, versions_by_numbers, versions_page,
};

/// Contents by the project that they are in and their hash.
pub type Contents = HashMap<(ProjectId, Hash), Result<Arc<Vec<u8>>>>;

/// The contents of the blobs with these hashes, in the actor's projects. One that does not have its hash is an error of its
/// own, which leaves the others readable.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn contents(tx: &Tx, keys: &[(ProjectId, Hash)]) -> Result<Contents> {
    let mut chains = blob::by_hashes(tx, keys).await?;
    let keys = keys.to_vec();
    // Decoding takes processor time, which async threads do not have to give.
    let decode = tokio::task::spawn_blocking(move || {
        let mut contents = HashMap::with_capacity(keys.len());
        for key in keys {
            if let Some(bytes) = chains.decode_hash(key.0, &key.1).transpose() {
                contents.insert(key, bytes);
            }
        }
        contents
    });
    decode.await.map_err(Error::internal)
}

/// What a write to one file answers.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The file.
    pub file: File,
    /// The change; `None` where nothing had to be written.
    pub change: Option<Changed>,
    /// The revision that was made, or the present one.
    pub revision: i32,
}

pub(super) fn check_context(limits: &Limits, context: &Context) -> Result<()> {
    check_optional_text(limits, "changeDescription", context.change_description.as_ref())
}

fn check_content(limits: &Limits, field: &str, content: &[u8]) -> Result<()> {
    if content.len() > limits.max_file_bytes {
        let (size, max) = (content.len(), limits.max_file_bytes);
        return Err(Error::too_large(field, format!("`{field}` has {size} bytes; --max-file-bytes allows {max}.")));
    }
    Ok(())
}

/// Checks a guard on a file's version.
fn check_version(head: &Head, expected: Option<i32>) -> Result<()> {
    match expected {
        Some(expected) if expected != head.file.version => Err(Error::Conflict(Box::new(stale(head, expected)))),
        _ => Ok(()),
    }
}

fn stale(head: &Head, expected: i32) -> Conflict {
    Conflict {
        message: format!("The file is at version {}, not {expected}.", head.file.version),
        field: Some("expectedVersion"),
        current_version: Some(head.file.version),
        current_hash: head.file.hash.map(hex::encode),
        ..Conflict::default()
    }
}

/// Brings together, for each of these, what a file held when the caller saw it, what it holds now, and what the caller
/// sent; `None` where one is not there or not text, or where it would take too long.
pub(super) async fn merges(
    tx: &Tx,
    project: ProjectId,
    sides: Vec<(Option<BlobId>, Option<BlobId>, Vec<u8>)>,
) -> Result<Vec<Option<Merge>>> {
    let ids: Vec<BlobId> = sides.iter().flat_map(|(seen, now, _)| [*seen, *now]).flatten().collect();
    let mut chains = blob::of_project(tx, project, &ids, &[]).await?;
    let merge_all = move || {
        let (mut merges, mut steps) = (Vec::with_capacity(sides.len()), MAX_STEPS);
        for (seen, now, sent) in sides {
            let (Some(seen), Some(now)) = (seen, now) else {
                merges.push(None);
                continue;
            };
            let (seen, now) = (chains.decode(seen)?, chains.decode(now)?);
            let texts = (diff::text_of(&seen), diff::text_of(&now), diff::text_of(&sent));
            merges.push(match texts {
                (Some(seen), Some(now), Some(sent)) => merge(seen, now, sent, &mut steps),
                _ => None,
            });
        }
        Ok(merges)
    };
    tokio::task::spawn_blocking(merge_all).await.map_err(Error::internal)?
}

impl Write<'_> {
    /// Makes the edits and answers for the file that the caller named: the one whose id is `id`, or the first.
    async fn finish(&self, heads: &Heads, edits: Vec<Edit>, id: Option<FileId>) -> Result<Outcome> {
        let changed = self.apply(heads, edits, EventKind::FilesChanged).await?;
        let named = changed.iter().find(|changed| id.is_none_or(|id| changed.file.id == id)).cloned();
        let change = named.ok_or_else(|| Error::internal("a write made no change"))?;
        Ok(Outcome { file: change.file.clone(), change: Some(change), revision: self.locked.revision })
    }

    fn unchanged(&self, file: File) -> Outcome {
        self.abandon();
        Outcome { file, change: None, revision: self.present_revision() }
    }
}

fn live<'h>(heads: &'h Heads, path: &FilePath) -> Result<&'h Head> {
    heads.get(path).ok_or_else(|| Error::not_found("file", "path"))
}

/// A new file or folder.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Its project.
    pub project_id: ProjectId,
    /// Where it goes.
    pub path: FilePath,
    /// File or folder.
    pub file_type: FileType,
    /// Its bytes; `None` for an empty file and for a folder.
    pub content: Option<Vec<u8>>,
    /// Its language; guessed by its path where it is not given.
    pub language: Option<String>,
}

/// Makes a file or a folder.
///
/// # Errors
/// `NotFound`, `Forbidden`; `Conflict` where there is something at the path, or a file above it; `BadInput` for a folder
/// with contents; `PayloadTooLarge`.
pub async fn create(services: &Arc<Services>, actor: &Actor, new: NewFile, context: Context) -> Result<Outcome> {
    check_context(&services.limits, &context)?;
    if let Some(language) = &new.language {
        check_name(&services.limits, "language", language)?;
    }
    let content = file_content(&services.limits, "", new.file_type, new.content)?;
    let writer = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let noun = ("project", "projectId");
            let write = Write::begin(tx, writer, Target::Project(new.project_id), noun, context).await?;
            let heads = write.heads(std::slice::from_ref(&new.path), false).await?;
            if let Some(head) = heads.get(&new.path) {
                return Err(Error::Conflict(Box::new(Conflict {
                    message: format!("There is something at {:?} already.", new.path.as_str()),
                    field: Some("path"),
                    current_version: Some(head.file.version),
                    current_hash: head.file.hash.map(hex::encode),
                    ..Conflict::default()
                })));
            }
            write.finish(&heads, vec![Edit::create(new.path, new.file_type, new.language, content)], None).await
        })
    })
    .await
}

/// Checks the contents that a caller gave to a file or a folder.
pub(super) fn file_content(
    limits: &Limits,
    parent: &str,
    file_type: FileType,
    content: Option<Vec<u8>>,
) -> Result<Content> {
    match (file_type, content) {
        (FileType::Folder, Some(_)) => Err(Error::bad_input(format!("{parent}content"), "A folder has no contents.")),
        (FileType::Folder, None) => Ok(Content::None),
        (FileType::File, content) => {
            let content = content.unwrap_or_default();
            check_content(limits, &format!("{parent}content"), &content)?;
            Ok(Content::bytes(content))
        }
    }
}

/// Names a live file, and what the caller saw of it.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its project.
    pub project_id: ProjectId,
    /// Where it is.
    pub path: FilePath,
    /// The version that the caller saw; a guard.
    pub expected_version: Option<i32>,
}

/// Replaces the contents of a file. The same contents again write nothing.
///
/// # Errors
/// `NotFound`, `Forbidden`; `Conflict` where the guard fails; `BadInput` for a folder; `PayloadTooLarge`.
pub async fn update(
    services: &Arc<Services>,
    actor: &Actor,
    named: Named,
    content: Vec<u8>,
    context: Context,
) -> Result<Outcome> {
    check_context(&services.limits, &context)?;
    check_content(&services.limits, "content", &content)?;
    let writer = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let noun = ("project", "projectId");
            let write = Write::begin(tx, writer, Target::Project(named.project_id), noun, context).await?;
            let heads = write.heads(std::slice::from_ref(&named.path), false).await?;
            let head = live(&heads, &named.path)?.clone();
            if head.file.file_type == FileType::Folder {
                return Err(Error::bad_input("path", "A folder has no contents."));
            }
            if let Some(expected) = named.expected_version.filter(|expected| *expected != head.file.version) {
                let seen = file::held_version(tx, head.file.id, None, Some(expected)).await?;
                let sides = vec![(seen.and_then(|seen| seen.blob), head.blob, content)];
                let merge = merges(tx, write.locked.id, sides).await?.pop().flatten();
                return Err(Error::Conflict(Box::new(Conflict { merge, ..stale(&head, expected) })));
            }
            let content = Content::bytes(content);
            if matches!(&content, Content::Bytes(_, hash) if Some(*hash) == head.file.hash) {
                return Ok(write.unchanged(head.file));
            }
            write.finish(&heads, vec![Edit::update(head, content)], None).await
        })
    })
    .await
}

/// Moves a file, or a folder with all that is below it.
///
/// # Errors
/// `NotFound`, `Forbidden`; `Conflict` where the guard fails or the new path is taken; `BadInput` for a folder that would
/// move below itself, or a path that becomes too long.
pub async fn rename(
    services: &Arc<Services>,
    actor: &Actor,
    named: Named,
    new_path: FilePath,
    context: Context,
) -> Result<Outcome> {
    check_context(&services.limits, &context)?;
    if new_path.is_under(&named.path) {
        return Err(Error::bad_input("newPath", "A folder cannot move below itself."));
    }
    let writer = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let noun = ("project", "projectId");
            let write = Write::begin(tx, writer, Target::Project(named.project_id), noun, context).await?;
            let heads = write.heads(&[named.path.clone(), new_path.clone()], false).await?;
            let head = live(&heads, &named.path)?.clone();
            check_version(&head, named.expected_version)?;
            if new_path == named.path {
                return Ok(write.unchanged(head.file));
            }
            if let Some(taken) = heads.get(&new_path) {
                return Err(Error::Conflict(Box::new(Conflict {
                    message: format!("There is something at {:?} already.", new_path.as_str()),
                    field: Some("newPath"),
                    current_version: Some(taken.file.version),
                    current_hash: taken.file.hash.map(hex::encode),
                    ..Conflict::default()
                })));
            }
            let id = head.file.id;
            let mut edits = Vec::new();
            for below in heads.below(&named.path) {
                let moved = below.file.path.rebase(&named.path, &new_path);
                let too_long = || Error::bad_input("newPath", "A path below the folder would become too long.");
                edits.push(Edit::rename(below, moved.ok_or_else(too_long)?, Content::Same));
            }
            edits.push(Edit::rename(head, new_path, Content::Same));
            write.finish(&heads, edits, Some(id)).await
        })
    })
    .await
}

/// Deletes a file, or a folder with all that is below it. Its versions stay.
///
/// # Errors
/// `NotFound`, `Forbidden`; `Conflict` where the guard fails.
pub async fn delete(services: &Arc<Services>, actor: &Actor, named: Named, context: Context) -> Result<Outcome> {
    check_context(&services.limits, &context)?;
    let writer = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let noun = ("project", "projectId");
            let write = Write::begin(tx, writer, Target::Project(named.project_id), noun, context).await?;
            let heads = write.heads(std::slice::from_ref(&named.path), false).await?;
            let head = live(&heads, &named.path)?.clone();
            check_version(&head, named.expected_version)?;
            let id = head.file.id;
            let mut edits: Vec<Edit> = heads.below(&named.path).into_iter().map(Edit::delete).collect();
            edits.push(Edit::delete(head));
            write.finish(&heads, edits, Some(id)).await
        })
    })
    .await
}

/// Names an earlier version of a file.
#[derive(Clone, Copy, Debug)]
pub enum Earlier {
    /// By its id.
    Snapshot(FileSnapshotId),
    /// By its number.
    Version(i32),
}

/// Writes the contents of an earlier version as a new one; a deleted file comes back where it was.
///
/// # Errors
/// `NotFound`, `Forbidden`; `Conflict` where the guard fails or a deleted file's place is taken; `BadInput` for a version
/// that is a deletion.
pub async fn revert(
    services: &Arc<Services>,
    actor: &Actor,
    id: FileId,
    earlier: Earlier,
    expected_version: Option<i32>,
    context: Context,
) -> Result<Outcome> {
    let writer = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let noun = ("file", "fileId");
            let write = Write::begin(tx, writer, Target::File(id), noun, context).await?;
            let head = file::heads_by_ids(tx, write.locked.id, &[id]).await?.into_iter().next();
            let head = head.ok_or_else(|| Error::not_found("file", "fileId"))?;
            check_version(&head, expected_version)?;
            let (snapshot, version, field) = match earlier {
                Earlier::Snapshot(snapshot) => (Some(snapshot), None, "snapshotId"),
                Earlier::Version(version) => (None, Some(version), "version"),
            };
            let earlier = file::held_version(tx, id, snapshot, version).await?;
            let earlier = earlier.ok_or_else(|| Error::not_found("version of this file", field))?;
            if earlier.file.is_deleted {
                return Err(Error::bad_input(
                    field,
                    "This version is the file's deletion: there is nothing to go back to.",
                ));
            }
            let heads = write.heads(std::slice::from_ref(&head.file.path), false).await?;
            if head.file.is_deleted {
                let place = head.file.path.clone();
                let earlier = Head { file: File { path: place, ..earlier.file }, ..earlier };
                return write.finish(&heads, vec![Edit::revive(head, &earlier)], None).await;
            }
            if head.file.hash == earlier.file.hash {
                return Ok(write.unchanged(head.file));
            }
            write.finish(&heads, vec![Edit::update(head, Content::of(&earlier))], None).await
        })
    })
    .await
}
