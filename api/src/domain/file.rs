//! Files.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use super::edit::{Changed, Context};
use super::edit::{Content, Edit, Heads, Write};
use super::project::{Target, check_expected};
use super::{Services, Tx, check_name, check_optional_text, write};
use crate::model::actor::Actor;
use crate::model::diff::{self, Stat};
use crate::model::error::{Conflict, Error, Result};
use crate::model::file::{File, Hash};
use crate::model::ids::{FileId, FileSnapshotId, ProjectId};
use crate::model::limits::Limits;
use crate::model::names::{ChangeType, EventKind, FileType};
use crate::model::path::FilePath;
pub use crate::storage::blob::by_hashes;
use crate::storage::file::{self, Head};
pub use crate::storage::file::{
    by_ids, by_paths, changes_count, changes_of_messages, changes_of_revisions, changes_page, count, page,
    versions_by_ids, versions_by_numbers, versions_page,
};

/// The contents of the blobs with these hashes, in the actor's projects.
///
/// # Errors
/// `Internal` where the database fails or the bytes do not have their hash.
pub async fn contents(tx: &Tx, keys: &[(ProjectId, Hash)]) -> Result<HashMap<(ProjectId, Hash), Arc<Vec<u8>>>> {
    let mut chains = by_hashes(tx, keys).await?;
    let keys = keys.to_vec();
    // Decoding takes processor time, which async threads do not have to give.
    let decode = tokio::task::spawn_blocking(move || {
        let mut contents = HashMap::with_capacity(keys.len());
        for key in keys {
            if let Some(bytes) = chains.decode_hash(key.0, &key.1)? {
                contents.insert(key, bytes);
            }
        }
        Ok(contents)
    });
    decode.await.map_err(Error::internal)?
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

fn check_context(limits: &Limits, context: &Context) -> Result<()> {
    check_optional_text(limits, "changeDescription", context.change_description.as_ref())
}

fn check_content(limits: &Limits, field: &str, content: &[u8]) -> Result<()> {
    if content.len() > limits.max_file_bytes {
        let (size, max) = (content.len(), limits.max_file_bytes);
        return Err(Error::PayloadTooLarge(format!("`{field}` has {size} bytes; --max-file-bytes allows {max}.")));
    }
    Ok(())
}

fn check_version(head: &Head, expected: Option<i32>) -> Result<()> {
    match expected {
        Some(expected) if expected != head.file.version => Err(Error::Conflict(Conflict {
            message: format!("The file is at version {}, not {expected}.", head.file.version),
            field: Some("expectedVersion"),
            current_version: Some(head.file.version),
            current_hash: head.file.hash.map(hex::encode),
            ..Conflict::default()
        })),
        _ => Ok(()),
    }
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
    check_optional_text(&services.limits, "language", new.language.as_ref())?;
    let content = file_content(&services.limits, "", new.file_type, new.content)?;
    let writer = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let noun = ("project", "projectId");
            let write = Write::begin(tx, writer, Target::Project(new.project_id), noun, context).await?;
            let heads = write.heads(std::slice::from_ref(&new.path), false).await?;
            if let Some(head) = heads.get(&new.path) {
                return Err(Error::Conflict(Conflict {
                    message: format!("There is something at {:?} already.", new.path.as_str()),
                    field: Some("path"),
                    current_version: Some(head.file.version),
                    current_hash: head.file.hash.map(hex::encode),
                    ..Conflict::default()
                }));
            }
            write.finish(&heads, vec![Edit::create(new.path, new.file_type, new.language, content)], None).await
        })
    })
    .await
}

/// Checks the contents that a caller gave to a file or a folder.
fn file_content(limits: &Limits, parent: &str, file_type: FileType, content: Option<Vec<u8>>) -> Result<Content> {
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
            check_version(&head, named.expected_version)?;
            if head.file.file_type == FileType::Folder {
                return Err(Error::bad_input("path", "A folder has no contents."));
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
                return Err(Error::Conflict(Conflict {
                    message: format!("There is something at {:?} already.", new_path.as_str()),
                    field: Some("newPath"),
                    current_version: Some(taken.file.version),
                    current_hash: taken.file.hash.map(hex::encode),
                    ..Conflict::default()
                }));
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

/// One file of a sync.
#[derive(Clone, Debug)]
pub struct SyncFile {
    /// Where it is.
    pub path: FilePath,
    /// File or folder.
    pub file_type: FileType,
    /// Its bytes; `None` for an empty file and for a folder.
    pub content: Option<Vec<u8>>,
    /// Its language; guessed by its path where it is not given.
    pub language: Option<String>,
}

/// What a sync is to do.
#[derive(Clone, Debug)]
pub struct Sync {
    /// The project.
    pub project_id: ProjectId,
    /// The files as they are to be.
    pub files: Vec<SyncFile>,
    /// Whether what is not given goes.
    pub mirror: bool,
    /// The revision that the caller saw; a guard.
    pub expected_revision: Option<i32>,
}

/// What a sync did.
#[derive(Clone, Debug, Default)]
pub struct Synced {
    /// The changes.
    pub changes: Vec<Changed>,
    /// Given files that were as they are to be.
    pub unchanged: usize,
    /// The revision that was made, or the present one.
    pub revision: i32,
}

/// Makes files equal to the given ones, in one revision.
///
/// # Errors
/// `NotFound`, `Forbidden`; `Conflict` where the guard fails or a file would lie below a file; `BadInput` for a path given
/// twice, or a folder with contents; `PayloadTooLarge`.
pub async fn sync(services: &Arc<Services>, actor: &Actor, sync: Sync, context: Context) -> Result<Synced> {
    let limits = &services.limits;
    check_context(limits, &context)?;
    if sync.files.len() > limits.max_sync_files {
        let (count, max) = (sync.files.len(), limits.max_sync_files);
        return Err(Error::PayloadTooLarge(format!("`files` has {count} files; --max-sync-files allows {max}.")));
    }
    let mut wanted = Vec::with_capacity(sync.files.len());
    let mut paths = HashSet::new();
    for (index, file) in sync.files.into_iter().enumerate() {
        let parent = format!("files[{index}].");
        if !paths.insert(file.path.clone()) {
            return Err(Error::bad_input(format!("{parent}path"), "This path is given twice."));
        }
        if let Some(language) = &file.language {
            check_name(limits, &format!("{parent}language"), language)?;
        }
        let content = file_content(limits, &parent, file.file_type, file.content)?;
        wanted.push((file.path, file.file_type, file.language, content));
    }
    let writer = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let noun = ("project", "projectId");
            let write = Write::begin(tx, writer, Target::Project(sync.project_id), noun, context).await?;
            check_expected(&write.locked, sync.expected_revision)?;
            let given: Vec<FilePath> = wanted.iter().map(|(path, ..)| path.clone()).collect();
            let heads = write.heads(&given, sync.mirror).await?;
            let (edits, unchanged) = plan(&heads, wanted, sync.mirror)?;
            if edits.is_empty() {
                write.abandon();
                return Ok(Synced { unchanged, revision: write.present_revision(), ..Synced::default() });
            }
            let changes = write.apply(&heads, edits, EventKind::FilesChanged).await?;
            Ok(Synced { changes, unchanged, revision: write.locked.revision })
        })
    })
    .await
}

/// What has to change for the wanted files to be there, and how many are already.
fn plan(
    heads: &Heads,
    wanted: Vec<(FilePath, FileType, Option<String>, Content)>,
    mirror: bool,
) -> Result<(Vec<Edit>, usize)> {
    let (mut edits, mut unchanged) = (Vec::new(), 0);
    let mut gone: HashMap<FilePath, Head> = HashMap::new();
    if mirror {
        gone.extend(heads.by_path.iter().map(|(path, head)| (path.clone(), head.clone())));
        for (path, ..) in &wanted {
            // The folders of what is given stay; so does what is given, unless a file becomes a folder or the reverse.
            for folder in path.ancestors() {
                if gone.get(&folder).is_some_and(|head| head.file.file_type == FileType::Folder) {
                    gone.remove(&folder);
                }
            }
        }
    }
    let mut new = Vec::new();
    for (path, file_type, language, content) in wanted {
        match heads.get(&path) {
            Some(head) if head.file.file_type == file_type => {
                gone.remove(&path);
                match &content {
                    Content::Bytes(_, hash) if Some(*hash) != head.file.hash => {
                        edits.push(Edit { language, ..Edit::update(head.clone(), content) });
                    }
                    _ => unchanged += 1,
                }
            }
            Some(_) if !mirror => {
                let message = format!("{:?} is a file here and a folder there.", path.as_str());
                return Err(Error::conflict("files", message));
            }
            _ => new.push((path, file_type, language, content)),
        }
    }
    new.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, file_type, language, content) in new {
        // A file that vanishes here and appears there with the same contents has moved.
        let moved = match &content {
            Content::Bytes(bytes, hash) if !bytes.is_empty() => {
                let same = gone.values().filter(|head| head.file.hash == Some(*hash));
                let best = same.min_by_key(|head| (head.file.path.name() != path.name(), head.file.path.clone()));
                best.map(|head| head.file.path.clone())
            }
            _ => None,
        };
        match moved.and_then(|from| gone.remove(&from)) {
            Some(head) => edits.push(Edit { language, ..Edit::rename(head, path, Content::Same) }),
            None => edits.push(Edit::create(path, file_type, language, content)),
        }
    }
    edits.extend(gone.into_values().map(Edit::delete));
    Ok((edits, unchanged))
}

impl Synced {
    /// How many changes were of this kind.
    pub fn count(&self, change_type: ChangeType) -> usize {
        self.changes.iter().filter(|changed| changed.change.change_type == change_type).count()
    }
}

/// The two sides of a change, with the paths at which they are.
pub struct Sides {
    /// Where the file was; `None` where there was none.
    pub old_path: Option<FilePath>,
    /// Where it is; `None` where there is none.
    pub new_path: Option<FilePath>,
    /// What it held.
    pub old: Option<Arc<Vec<u8>>>,
    /// What it holds.
    pub new: Option<Arc<Vec<u8>>>,
}

impl Sides {
    /// The unified diff; `None` where a side is not text.
    ///
    /// # Errors
    /// `Internal` where the diff panics.
    pub async fn unified(self) -> Result<Option<String>> {
        self.compare(|old, new, sides| {
            diff::unified(
                old,
                new,
                sides.old_path.as_ref().map(FilePath::as_str),
                sides.new_path.as_ref().map(FilePath::as_str),
            )
        })
        .await
    }

    /// The changes line by line, as JSON; `None` where a side is not text.
    ///
    /// # Errors
    /// `Internal` where the diff panics.
    pub async fn line_changes(self) -> Result<Option<serde_json::Value>> {
        let changes = self.compare(|old, new, _| serde_json::to_value(diff::line_changes(old, new))).await?;
        changes.transpose().map_err(Error::internal)
    }

    /// Comparing large texts takes processor time, which async threads do not have to give. For small ones a thread of its
    /// own would cost more than the comparison, and a list of changes would take one for each.
    async fn compare<T: Send + 'static>(
        self,
        compare: impl FnOnce(&str, &str, &Self) -> T + Send + 'static,
    ) -> Result<Option<T>> {
        /// Bytes on both sides that are compared within a fraction of a millisecond.
        const SMALL: usize = 32 * 1024;
        let length = |bytes: &Option<Arc<Vec<u8>>>| bytes.as_ref().map_or(0, |bytes| bytes.len());
        let is_small = length(&self.old) + length(&self.new) <= SMALL;
        let compare = move || {
            let side = |bytes: &Option<Arc<Vec<u8>>>| bytes.clone().unwrap_or_default();
            let (old, new) = (side(&self.old), side(&self.new));
            Some(compare(diff::text_of(&old)?, diff::text_of(&new)?, &self))
        };
        if is_small {
            return Ok(compare());
        }
        tokio::task::spawn_blocking(compare).await.map_err(Error::internal)
    }
}

/// What differs in one file between two revisions.
#[derive(Clone, Debug)]
pub struct FileDiff {
    /// Where it is at the second; of a deletion, at the first.
    pub path: FilePath,
    /// Where a renamed file was at the first.
    pub old_path: Option<FilePath>,
    /// What happened to it.
    pub change_type: ChangeType,
    /// The unified diff; `None` where a side is not text.
    pub diff: Option<String>,
    /// Lines added.
    pub additions: i32,
    /// Lines removed.
    pub deletions: i32,
}

/// What differs between two revisions of a project of the actor's, by path. Only files that changed between them are read.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn diff(tx: &Tx, project: ProjectId, from: i32, to: i32) -> Result<Vec<FileDiff>> {
    let between = (from.min(to), from.max(to));
    let before = file::held(tx, project, from, between).await?;
    let after = file::held(tx, project, to, between).await?;
    let mut pairs: HashMap<FileId, (Option<File>, Option<File>)> = HashMap::new();
    for head in before {
        let id = head.file.id;
        pairs.entry(id).or_default().0 = Some(head.file);
    }
    for head in after {
        let id = head.file.id;
        pairs.entry(id).or_default().1 = Some(head.file);
    }
    pairs.retain(|_, (old, new)| match (old, new) {
        (Some(old), Some(new)) => old.hash != new.hash || old.path != new.path,
        _ => true,
    });
    let files = pairs.values().flat_map(|(old, new)| [old, new]).flatten();
    let mut hashes: Vec<(ProjectId, Hash)> = files.filter_map(|file| Some((project, file.hash?))).collect();
    hashes.sort_unstable();
    hashes.dedup();
    let contents = if hashes.is_empty() { HashMap::new() } else { contents(tx, &hashes).await? };
    let side = |file: &Option<File>| file.as_ref().and_then(|file| contents.get(&(project, file.hash?)).cloned());
    let mut diffs = Vec::with_capacity(pairs.len());
    for (old, new) in pairs.into_values() {
        let sides = Sides {
            old: side(&old),
            new: side(&new),
            old_path: old.as_ref().map(|file| file.path.clone()),
            new_path: new.as_ref().map(|file| file.path.clone()),
        };
        let (change_type, path) = match (sides.old_path.clone(), sides.new_path.clone()) {
            (None, Some(path)) => (ChangeType::Create, path),
            (Some(path), None) => (ChangeType::Delete, path),
            (Some(old), Some(path)) if old == path => (ChangeType::Update, path),
            (Some(_), Some(path)) => (ChangeType::Rename, path),
            (None, None) => continue,
        };
        let old_path = sides.old_path.clone().filter(|_| change_type == ChangeType::Rename);
        let compared = sides.compare(|old, new, sides| {
            let paths = (sides.old_path.as_ref().map(FilePath::as_str), sides.new_path.as_ref().map(FilePath::as_str));
            (diff::unified(old, new, paths.0, paths.1), diff::stat(old, new))
        });
        let (diff, stat) = compared.await?.map_or((None, Stat::default()), |(diff, stat)| (Some(diff), stat));
        diffs.push(FileDiff {
            path,
            old_path,
            change_type,
            diff,
            additions: stat.additions,
            deletions: stat.deletions,
        });
    }
    diffs.sort_by(|a, b| a.path.cmp(&b.path).then_with(|| a.old_path.cmp(&b.old_path)));
    Ok(diffs)
}
