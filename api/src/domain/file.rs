//! Files.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

pub use super::edit::{Changed, Context};
use super::edit::{FileStates, FileWrite};
use super::file_edit::{Content, Edit};
use super::project::Target;
use super::write::Noun;
use super::{Member, Tx, Writer, check_name, check_optional_text, heavy};
use crate::model::enums::{EventKind, FileType};
use crate::model::error::{Conflict, Error, Result};
use crate::model::file::{Entry, File, FileMode, Folder, Hash};
use crate::model::ids::{FileId, FileSnapshotId, ProjectId};
use crate::model::limits::Limits;
use crate::model::merge::{MAX_STEPS, Merge, merge_contents};
use crate::model::path::FilePath;
use crate::storage::blob::{self, BlobRef};
use crate::storage::file::{self, FileState};
pub use crate::storage::file::{
    by_ids, by_paths, children_count, children_page, count, entries, page, project_with_page,
};
pub use crate::storage::file_snapshot::{
    changes_count, changes_of_messages, changes_of_revisions, changes_page, coalesced_versions_count,
    coalesced_versions_page, file_with_versions, project_with_changes, versions_by_ids, versions_by_numbers,
    versions_page,
};

pub(super) const PROJECT: Noun = ("project", "projectId");

/// Contents by the project that they are in and their hash.
pub type Contents = HashMap<(ProjectId, Hash), Result<Arc<Vec<u8>>>>;

/// The contents of the blobs with these hashes. A damaged content is an error of its own, which leaves the others
/// readable.
pub async fn contents(tx: &Tx, keys: &[(Member<'_>, Hash)]) -> Result<Contents> {
    let mut chains = blob::by_hashes(tx, keys).await?;
    let keys: Vec<(ProjectId, Hash)> = keys.iter().map(|(member, hash)| (member.project(), *hash)).collect();
    // Decoding is CPU-bound.
    heavy::run(chains.size(), move || {
        let mut contents = HashMap::with_capacity(keys.len());
        for key in keys {
            if let Some(bytes) = chains.decode_hash(key.0, &key.1).transpose() {
                contents.insert(key, bytes);
            }
        }
        contents
    })
    .await
}

/// Result of a write to a file or folder.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The file or folder.
    pub file: Entry,
    /// Its change; `None` if nothing was written, and for a folder without versions.
    pub change: Option<Changed>,
    /// All changes, including those below a folder.
    pub changes: Vec<Changed>,
    /// The new revision, or the present one if nothing changed.
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

/// Checks a precondition on a version.
fn check_version(entry: &Entry, expected: Option<i32>) -> Result<()> {
    match expected {
        Some(expected) if expected != entry.number() => Err(Error::Conflict(Box::new(stale(entry, expected)))),
        _ => Ok(()),
    }
}

fn stale(entry: &Entry, expected: i32) -> Conflict {
    Conflict {
        message: format!("{:?} is at version {}, not {expected}.", entry.path().as_str(), entry.number()),
        field: Some("expectedVersion"),
        current_version: Some(entry.number()),
        current_hash: entry.hash().map(hex::encode),
        ..Conflict::default()
    }
}

/// The conflict of a new path with a file or folder that has it.
fn occupied(path: &FilePath, field: &'static str, by: Option<&FileState>) -> Error {
    Error::Conflict(Box::new(Conflict {
        message: format!("A file or folder already exists at {:?}.", path.as_str()),
        field: Some(field),
        current_version: Some(by.map_or(0, |state| state.file.number())),
        current_hash: by.and_then(|state| state.file.hash).map(hex::encode),
        paths: vec![path.as_str().to_owned()],
        ..Conflict::default()
    }))
}

/// The inputs of the merge for a stale write of a file.
pub(super) struct Sides {
    /// The content that the writer saw.
    pub(super) seen: Option<BlobRef>,
    /// The present content.
    pub(super) now: Option<BlobRef>,
    /// The content that the writer sent.
    pub(super) sent: Arc<Vec<u8>>,
}

/// Whether a stale write of a file can be merged by lines: as in git, the target of a symbolic link is one value.
pub(super) fn has_lines(states: [Option<&FileState>; 2], sent: Option<FileMode>) -> bool {
    let modes = states.into_iter().flatten().map(|state| state.file.mode);
    modes.chain(sent).all(|mode| mode != FileMode::Symlink)
}

/// Merges, for each of these, the content that the caller saw, the present content, and the content that the caller
/// sent; `None` if one is missing or not text, or if it would take too long.
pub(super) async fn merges(tx: &Tx, project: ProjectId, sides: Vec<Sides>) -> Result<Vec<Option<Merge>>> {
    let stored: Vec<BlobRef> = sides.iter().flat_map(|sides| [sides.seen, sides.now]).flatten().collect();
    let mut chains = blob::of_project(tx, project, &stored, &[]).await?;
    let bytes = chains.size() + sides.iter().map(|sides| sides.sent.len()).sum::<usize>();
    let merge_all = move || {
        let (mut merges, mut steps) = (Vec::with_capacity(sides.len()), MAX_STEPS);
        for Sides { seen, now, sent } in sides {
            let mut read = |side: Option<BlobRef>| side.and_then(|blob| chains.decode_if_sound(blob.id));
            let (Some(seen), Some(now)) = (read(seen), read(now)) else {
                merges.push(None);
                continue;
            };
            merges.push(merge_contents(&seen, &now, &sent, &mut steps));
        }
        merges
    };
    heavy::run(bytes, merge_all).await
}

impl FileWrite {
    /// Makes an edit of one file and returns its outcome.
    async fn edit(mut self, states: &FileStates, edit: Edit, field: &'static str) -> Result<Outcome> {
        let changes = self.apply(states, vec![edit], field).await?;
        let change = changes.first().cloned().ok_or_else(|| Error::internal("a write made no change"))?;
        let file = Entry::File(change.file.clone());
        let revision = self.write.locked.revision;
        self.end(Outcome { file, change: Some(change), changes, revision }).await
    }

    async fn end(self, outcome: Outcome) -> Result<Outcome> {
        if self.write.writer.is_check {
            return self.write.unchanged(outcome).await;
        }
        self.write.commit(EventKind::FilesChanged, outcome).await
    }

    /// Makes the edits of a file, or of a folder with everything below it. `after` is the new state of a folder without
    /// a row.
    async fn edit_tree(
        mut self,
        states: &FileStates,
        edits: Vec<Edit>,
        after: Entry,
        field: &'static str,
    ) -> Result<Outcome> {
        let changes = self.apply(states, edits, field).await?;
        let own = |file: &File| changes.iter().find(|changed| changed.file.id == file.id).cloned();
        let change = after.file().and_then(own);
        let file = change.as_ref().map_or(after, |change| Entry::File(change.file.clone()));
        let revision = self.write.locked.revision;
        self.end(Outcome { file, change, changes, revision }).await
    }

    async fn unchanged(self, file: Entry) -> Result<Outcome> {
        let revision = self.write.present_revision();
        self.write.unchanged(Outcome { file, change: None, changes: Vec::new(), revision }).await
    }
}

/// The live file or folder at a path, and everything below it. A folder may have no row.
fn tree(states: &FileStates, path: &FilePath) -> Result<(Entry, Vec<FileState>)> {
    let below = states.below(path);
    let mut tree = below.clone();
    if let Some(state) = states.get(path) {
        tree.push(state.clone());
        return Ok((Entry::File(state.file.clone()), tree));
    }
    let of = |time: fn(&File) -> DateTime<Utc>| below.iter().map(move |state| time(&state.file));
    let (oldest, newest) = (of(|file| file.created_at).min(), of(|file| file.updated_at).max());
    match (below.first(), oldest, newest) {
        (Some(first), Some(created_at), Some(updated_at)) => {
            let project_id = first.file.project_id;
            let folder = Folder { project_id, path: path.clone(), is_deleted: false, created_at, updated_at };
            Ok((Entry::Folder(folder), tree))
        }
        _ => Err(Error::not_found("file", "path")),
    }
}

/// Arguments of a new file or folder.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Its project.
    pub project_id: ProjectId,
    /// Its path.
    pub path: FilePath,
    /// File or folder.
    pub file_type: FileType,
    /// The bytes; `None` for an empty file and for a folder.
    pub content: Option<Vec<u8>>,
    /// The file mode; `None` for a plain file.
    pub mode: Option<FileMode>,
    /// The language; `None` guesses it from the path.
    pub language: Option<String>,
}

/// Creates a file or a folder. A folder that only contains files can be created too: it is then kept when it is empty.
///
/// # Errors
/// `NotFound`, `Forbidden`; `Conflict` if the path is taken or below a file; `BadInput` for a folder with content, a
/// mode or a language; `PayloadTooLarge`.
pub async fn create(writer: Writer, new: NewFile, context: Context) -> Result<Outcome> {
    check_context(writer.limits(), &context)?;
    if let Some(language) = &new.language {
        check_name(writer.limits(), "language", language)?;
    }
    let content = file_content(writer.limits(), "", new.file_type, new.content)?;
    check_folder("", new.file_type, new.mode, new.language.as_deref())?;
    let write = FileWrite::begin(&writer, Target::Project(new.project_id), PROJECT, context).await?;
    let states = write.states(std::slice::from_ref(&new.path), &[], false).await?;
    if let Some(state) = states.get(&new.path) {
        return Err(occupied(&new.path, "path", Some(state)));
    }
    let edit = Edit::create(new.path, new.file_type, new.language, content).with_mode(new.mode);
    write.edit(&states, edit, "path").await
}

/// Checks that a folder has no mode and no language.
pub(super) fn check_folder(
    parent: &str,
    file_type: FileType,
    mode: Option<FileMode>,
    language: Option<&str>,
) -> Result<()> {
    if file_type == FileType::Folder && mode.is_some() {
        return Err(Error::bad_input(format!("{parent}mode"), "A folder has no mode."));
    }
    if file_type == FileType::Folder && language.is_some() {
        return Err(Error::bad_input(format!("{parent}language"), "A folder has no language."));
    }
    Ok(())
}

/// Checks the content that a caller passed for a file or a folder.
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

/// Identifies a live file, with an optional precondition.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its project.
    pub project_id: ProjectId,
    /// Its path.
    pub path: FilePath,
    /// The version that the caller has seen, as a precondition.
    pub expected_version: Option<i32>,
}

/// Replaces the content of a file, its mode, or both. Writes nothing if nothing changes.
///
/// # Errors
/// `NotFound`, `Forbidden`; `Conflict` if the precondition fails; `BadInput` for a folder; `PayloadTooLarge`.
pub async fn update(
    writer: Writer,
    named: Named,
    content: Option<Vec<u8>>,
    mode: Option<FileMode>,
    context: Context,
) -> Result<Outcome> {
    check_context(writer.limits(), &context)?;
    if let Some(content) = &content {
        check_content(writer.limits(), "content", content)?;
    }
    let content = content.map_or(Content::Same, Content::bytes);
    let write = FileWrite::begin(&writer, Target::Project(named.project_id), PROJECT, context).await?;
    let states = write.states(std::slice::from_ref(&named.path), content.hash().as_slice(), false).await?;
    let (entry, _) = tree(&states, &named.path)?;
    let Some(state) = states.get(&named.path).filter(|state| state.file.file_type == FileType::File).cloned() else {
        check_folder("", FileType::Folder, mode.filter(|_| matches!(content, Content::Same)), None)?;
        return Err(Error::bad_input("path", "A folder has no contents."));
    };
    if let Some(expected) = named.expected_version.filter(|expected| *expected != state.file.number()) {
        let tx = &write.write.tx;
        let seen = file::state_of_version(tx, state.file.id, None, Some(expected)).await?;
        let is_text = has_lines([seen.as_ref(), Some(&state)], mode);
        let merge = match content {
            Content::Bytes(sent, _) if is_text => {
                let sides = vec![Sides { seen: seen.and_then(|seen| seen.blob), now: state.blob, sent }];
                merges(tx, named.project_id, sides).await?.pop().flatten()
            }
            Content::Bytes(..) | Content::None | Content::Same | Content::Blob(_) => None,
        };
        return Err(Error::Conflict(Box::new(Conflict { merge, ..stale(&entry, expected) })));
    }
    let content = if content.hash() == state.file.hash { Content::Same } else { content };
    if matches!(content, Content::Same) && mode.is_none_or(|mode| mode == state.file.mode) {
        return write.unchanged(entry).await;
    }
    write.edit(&states, Edit::update(state, content).with_mode(mode), "path").await
}

/// Moves a file, or a folder with everything below it.
///
/// # Errors
/// `NotFound`, `Forbidden`; `Conflict` if the precondition fails, or if the new path is taken or below a file;
/// `BadInput` for a move below itself, or a path that becomes too long.
pub async fn rename(writer: Writer, named: Named, new_path: FilePath, context: Context) -> Result<Outcome> {
    check_context(writer.limits(), &context)?;
    if new_path.is_under(&named.path) {
        return Err(Error::bad_input("newPath", "Nothing can move below itself."));
    }
    let write = FileWrite::begin(&writer, Target::Project(named.project_id), PROJECT, context).await?;
    let states = write.states(&[named.path.clone(), new_path.clone()], &[], false).await?;
    let (entry, moving) = tree(&states, &named.path)?;
    check_version(&entry, named.expected_version)?;
    if new_path == named.path {
        return write.unchanged(entry).await;
    }
    // The moved files leave room: "a/b" can become "a" if "a" contains nothing else.
    let stays = |state: &FileState| state.file.path != named.path && !state.file.path.is_under(&named.path);
    let taken = states.get(&new_path);
    if taken.is_some() || states.below(&new_path).iter().any(stays) {
        return Err(occupied(&new_path, "newPath", taken));
    }
    let mut edits = Vec::with_capacity(moving.len());
    for state in moving {
        let moved = state.file.path.rebase(&named.path, &new_path);
        let too_long = || Error::bad_input("newPath", "A path below the folder would become too long.");
        edits.push(Edit::rename(state, moved.ok_or_else(too_long)?, Content::Same));
    }
    let updated_at = write.write.locked.at;
    let after = match entry {
        Entry::Folder(folder) => Entry::Folder(Folder { path: new_path, updated_at, ..folder }),
        file => file,
    };
    write.edit_tree(&states, edits, after, "newPath").await
}

/// Deletes a file, or a folder with everything below it. Its versions are kept.
///
/// # Errors
/// `NotFound`, `Forbidden`; `Conflict` if the precondition fails.
pub async fn delete(writer: Writer, named: Named, context: Context) -> Result<Outcome> {
    check_context(writer.limits(), &context)?;
    let write = FileWrite::begin(&writer, Target::Project(named.project_id), PROJECT, context).await?;
    let states = write.states(std::slice::from_ref(&named.path), &[], false).await?;
    let (entry, going) = tree(&states, &named.path)?;
    check_version(&entry, named.expected_version)?;
    let updated_at = write.write.locked.at;
    let after = match entry {
        Entry::Folder(folder) => Entry::Folder(Folder { is_deleted: true, updated_at, ..folder }),
        file => file,
    };
    write.edit_tree(&states, going.into_iter().map(Edit::delete).collect(), after, "path").await
}

/// Identifies an earlier version of a file.
#[derive(Clone, Copy, Debug)]
pub enum Earlier {
    /// By its id.
    Snapshot(FileSnapshotId),
    /// By its number.
    Version(i32),
}

/// Writes the content of an earlier version as a new one; a deleted file is restored at its path.
///
/// # Errors
/// `NotFound`, `Forbidden`; `Conflict` if the precondition fails or a deleted file's path is taken; `BadInput` for a
/// version that is a deletion.
pub async fn revert(
    writer: Writer,
    id: FileId,
    earlier: Earlier,
    expected_version: Option<i32>,
    context: Context,
) -> Result<Outcome> {
    let write = FileWrite::begin(&writer, Target::File(id), ("file", "fileId"), context).await?;
    let tx = &write.write.tx;
    let state = file::states_by_ids(tx, write.write.locked.id, &[id]).await?.into_iter().next();
    let state = state.ok_or_else(|| Error::not_found("file", "fileId"))?;
    let entry = Entry::File(state.file.clone());
    check_version(&entry, expected_version)?;
    let (snapshot, version, field) = match earlier {
        Earlier::Snapshot(snapshot) => (Some(snapshot), None, "snapshotId"),
        Earlier::Version(version) => (None, Some(version), "version"),
    };
    let earlier = file::state_of_version(tx, id, snapshot, version).await?;
    let earlier = earlier.ok_or_else(|| Error::not_found("version of this file", field))?;
    if earlier.file.is_deleted {
        let message = "This version is the file's deletion: there is nothing to go back to.";
        return Err(Error::bad_input(field, message));
    }
    let states = write.states(std::slice::from_ref(&state.file.path), &[], false).await?;
    if state.file.is_deleted {
        let place = state.file.path.clone();
        let earlier = FileState { file: File { path: place, ..earlier.file }, ..earlier };
        return write.edit(&states, Edit::revive(state, &earlier), "fileId").await;
    }
    if (state.file.hash, state.file.mode) == (earlier.file.hash, earlier.file.mode) {
        return write.unchanged(entry).await;
    }
    let content = if state.file.hash == earlier.file.hash { Content::Same } else { Content::of(&earlier) };
    write.edit(&states, Edit::update(state, content).restoring(&earlier), "fileId").await
}
