//! The files of a project during an import. The changes of a commit are merged with the changes here since the last
//! import; the base of the merge is the commit's parent.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::git::{Object, Objects};
use super::record::MOVED;
use crate::domain::edit::{Changed, FileStates};
use crate::domain::sync::SyncFile;
use crate::domain::{Member, Services, Tx, access, file, project};
use crate::model::actor::Actor;
use crate::model::enums::FileType;
use crate::model::error::{Error, Result};
use crate::model::file::{File, FileMode, Hash};
use crate::model::ids::{FileId, ProjectId};
use crate::model::merge::{MAX_STEPS, merge_contents};
use crate::model::path::FilePath;
use crate::storage;

/// The files of a project.
pub(super) struct Present {
    pub(super) project: ProjectId,
    by_path: HashMap<FilePath, Here>,
    paths: HashMap<FileId, FilePath>,
    /// The files that have versions which no import wrote, including deleted files.
    edited: HashSet<FileId>,
    /// The edited file that corresponds to a path in git, with the revision that an import wrote there, or that moved the
    /// path in git.
    origins: HashMap<FilePath, (i32, FileId)>,
    /// The revision of this state.
    pub(super) revision: i32,
}

/// The most bytes of paths that a message records of the files that its commit moves.
const MAX_MOVED_BYTES: usize = 1024 * 1024;

/// A live file or folder.
#[derive(Clone, Copy)]
struct Here {
    id: FileId,
    file_type: FileType,
    mode: FileMode,
    hash: Option<Hash>,
}

/// The change of one path by a commit.
pub(super) struct Theirs {
    /// The file in the commit's parent.
    pub(super) before: Option<Before>,
    /// The file in the commit.
    pub(super) after: Option<After>,
}

/// A file of the commit's parent.
pub(super) struct Before {
    pub(super) path: FilePath,
    pub(super) object: String,
    pub(super) mode: FileMode,
}

/// A file of the commit.
pub(super) struct After {
    pub(super) path: FilePath,
    pub(super) content: Arc<Vec<u8>>,
    pub(super) mode: FileMode,
}

/// The changes of the project's files by a commit.
#[derive(Default)]
pub(super) struct Change {
    files: BTreeMap<FilePath, SyncFile>,
    deletes: BTreeSet<FilePath>,
    /// Paths where the present file is kept although the commit changed it, with the reasons.
    pub(super) kept: Vec<(FilePath, String)>,
    /// Changes of `origins`.
    origins: Vec<(FilePath, Option<FileId>)>,
}

impl Change {
    /// Whether the project already has the state of the commit.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.deletes.is_empty()
    }

    pub(super) fn files(&self) -> Vec<SyncFile> {
        self.files.values().cloned().collect()
    }

    pub(super) fn deletes(&self) -> Vec<FilePath> {
        // Paths that are written are not deleted.
        self.deletes.iter().filter(|path| !self.files.contains_key(*path)).cloned().collect()
    }

    fn write(&mut self, path: FilePath, content: &[u8], mode: FileMode) {
        let file = SyncFile {
            path: path.clone(),
            file_type: FileType::File,
            content: Some(content.to_vec()),
            mode: Some(mode),
            language: None,
        };
        self.files.insert(path, file);
    }

    /// Deletes a file that only imports have written.
    fn delete(&mut self, present: &Present, path: Option<&FilePath>) {
        let is_file =
            |path: &&FilePath| present.by_path.get(*path).is_some_and(|here| here.file_type == FileType::File);
        self.deletes.extend(path.filter(is_file).cloned());
    }

    fn keep(&mut self, path: &FilePath, why: impl Into<String>) {
        self.kept.push((path.clone(), why.into()));
    }
}

impl Present {
    /// Reads the files of a project.
    pub(super) async fn read(services: &Services, actor: &Actor, project: ProjectId) -> Result<Self> {
        let tx = services.read(actor).await?;
        let found = project::by_ids(&tx, &[project]).await?.into_iter().next();
        let found = found.ok_or_else(|| Error::not_found("project", "name"))?;
        let member = access::required(&tx, project).await?;
        let states = FileStates::all(&tx, project).await?;
        let mut present = Self {
            project,
            by_path: HashMap::new(),
            paths: HashMap::new(),
            edited: HashSet::new(),
            origins: HashMap::new(),
            revision: found.revision,
        };
        for state in states.by_path.into_values() {
            present.put(&state.file);
        }
        present.read_edited(&tx, member, 0).await?;
        Ok(present)
    }

    /// Reads the changes since this state.
    pub(super) async fn refresh(&mut self, services: &Services, actor: &Actor) -> Result<()> {
        let tx = services.read(actor).await?;
        let found = project::by_ids(&tx, &[self.project]).await?.into_iter().next();
        let found = found.ok_or_else(|| Error::not_found("project", "name"))?;
        if found.revision == self.revision {
            return Ok(());
        }
        let member = access::required(&tx, self.project).await?;
        let changed = storage::file::changed_after(&tx, self.project, self.revision).await?;
        if !changed.is_empty() {
            let states = storage::file::states_by_ids(&tx, self.project, &changed).await?;
            self.replace(states.iter().map(|state| &state.file));
            self.read_edited(&tx, member, self.revision).await?;
        }
        self.revision = found.revision;
        Ok(())
    }

    /// Reads which of the files that changed after a revision have versions that no import wrote, and where they are in git.
    async fn read_edited(&mut self, tx: &Tx, member: Member<'_>, after: i32) -> Result<()> {
        let mut moves = storage::import::moves(tx, member, after).await?.into_iter().peekable();
        for version in storage::import::of_edited_files(tx, member, after).await? {
            while let Some((revision, metadata)) = moves.next_if(|(revision, _)| *revision < version.revision) {
                self.follow_moves(revision, &metadata.value());
            }
            self.edited.insert(version.file);
            if version.is_imported && !version.is_deletion {
                self.found_in_git(version.path, (version.revision, version.file));
            }
        }
        moves.for_each(|(revision, metadata)| self.follow_moves(revision, &metadata.value()));
        Ok(())
    }

    /// Follows the moves in git that the metadata of a commit's message records.
    fn follow_moves(&mut self, revision: i32, metadata: &Value) {
        let path = |text: &str| FilePath::parse(text, "path").ok();
        let moved = metadata.get(MOVED).and_then(Value::as_object).into_iter().flatten();
        let moved: Vec<_> = moved
            .filter_map(|(to, from)| {
                let (_, file) = self.origins.get(&path(from.as_str()?)?)?;
                Some((path(to)?, (revision, *file)))
            })
            .collect();
        moved.into_iter().for_each(|(to, origin)| self.found_in_git(to, origin));
    }

    fn found_in_git(&mut self, path: FilePath, origin: (i32, FileId)) {
        if self.origins.get(&path).is_none_or(|known| known.0 <= origin.0) {
            self.origins.insert(path, origin);
        }
    }

    /// The paths to which a commit moves edited files, with their paths before: what [`MOVED`] records. A move of very many
    /// files is recorded in part.
    pub(super) fn moved(&self, theirs: &[Theirs]) -> Map<String, Value> {
        let (mut moved, mut room) = (Map::new(), MAX_MOVED_BYTES);
        for Theirs { before, after } in theirs {
            let Some((before, after)) = before.as_ref().zip(after.as_ref()) else { continue };
            let is_edited = || self.of_git(&before.path).is_some_and(|file| self.edited.contains(&file));
            let bytes = before.path.as_str().len() + after.path.as_str().len();
            if before.path != after.path && bytes <= room && is_edited() {
                room -= bytes;
                moved.insert(after.path.as_str().to_owned(), before.path.as_str().into());
            }
        }
        moved
    }

    fn put(&mut self, file: &File) {
        if !file.is_deleted {
            let here = Here { id: file.id, file_type: file.file_type, mode: file.mode, hash: file.hash };
            self.by_path.insert(file.path.clone(), here);
            self.paths.insert(file.id, file.path.clone());
        }
    }

    /// Replaces the states of files. Their old paths are removed first, since others can have taken them.
    fn replace<'f>(&mut self, files: impl Iterator<Item = &'f File> + Clone) {
        for file in files.clone() {
            if let Some(path) = self.paths.remove(&file.id) {
                self.by_path.remove(&path);
            }
        }
        files.for_each(|file| self.put(file));
    }

    /// Updates the state after a change was written.
    pub(super) fn follow(&mut self, change: Change, changes: &[Changed], revision: i32) {
        self.replace(changes.iter().map(|changed| &changed.file));
        for (path, file) in change.origins {
            match file {
                Some(file) => self.origins.insert(path, (revision, file)),
                None => self.origins.remove(&path),
            };
        }
        self.revision = revision;
    }

    /// The file that corresponds to a path in git. A file that only imports have written is at its path in git.
    fn of_git(&self, path: &FilePath) -> Option<FileId> {
        let here = self.by_path.get(path).filter(|here| here.file_type == FileType::File).map(|here| here.id);
        let imported = here.filter(|file| !self.edited.contains(file));
        imported.or_else(|| self.origins.get(path).map(|(_, file)| *file)).or(here)
    }

    /// The changes of a commit to these files. Files that only imports have written are replaced by those of the
    /// commit. A file that was edited here gets the merge if there is no conflict, and is kept otherwise.
    pub(super) async fn merge(&self, from: &mut Sources<'_>, theirs: &[Theirs]) -> Result<Change> {
        let (mut change, mut merged, mut new) = (Change::default(), Vec::new(), Vec::new());
        for Theirs { before, after } in theirs {
            let file = before.as_ref().and_then(|before| self.of_git(&before.path));
            let edited = file.filter(|file| self.edited.contains(file)).zip(before.as_ref());
            match (edited, after) {
                (Some((file, before)), after) => match (self.paths.get(&file), after) {
                    (Some(path), after) => merged.push((file, self.one(from, path, before, after.as_ref()).await?)),
                    (None, Some(after)) => {
                        change.keep(&after.path, "It is deleted here and changed there.");
                        change.origins.push((after.path.clone(), Some(file)));
                    }
                    (None, None) => {}
                },
                (None, Some(after)) => new.push((before.as_ref().map(|before| &before.path), after)),
                (None, None) => change.delete(self, before.as_ref().map(|before| &before.path)),
            }
        }
        let leaves = |merged: &Merged<'_>| merged.kept.is_empty() && merged.to.as_ref() != Some(merged.path);
        let leave = merged.iter().filter(|(_, merged)| leaves(merged));
        let room = Room::new(self, &leave.map(|(_, merged)| merged.path).collect());
        for (file, merged) in merged {
            let Merged { path, to, after, content, mode, mut kept } = merged;
            if let Some(target) = to.as_ref().filter(|target| *target != path)
                && let Err(why) = room.for_file(target)
            {
                kept.push(format!("It is moved there to {target:?}. {why}", target = target.as_str()));
            }
            change.origins.extend(after.map(|after| (after.path.clone(), Some(file))));
            if !kept.is_empty() {
                // With its path, its contents and its mode.
                kept.into_iter().for_each(|why| change.keep(path, why));
                continue;
            }
            let now = self.by_path.get(path);
            let is_as_it_was =
                to.as_ref() == Some(path) && content.is_none() && now.is_some_and(|now| now.mode == mode);
            if let Some(to) = to.as_ref().filter(|_| !is_as_it_was) {
                let content = match content {
                    Some(content) => content,
                    None => self.bytes(from, path).await?,
                };
                change.write(to.clone(), &content, mode);
            }
            if to.as_ref() != Some(path) {
                change.deletes.insert(path.clone());
            }
        }
        for (before, after) in new {
            let moved = before.filter(|before| **before != after.path);
            match room.for_file(&after.path) {
                Ok(()) => {
                    change.write(after.path.clone(), &after.content, after.mode);
                    change.delete(self, moved);
                    change.origins.push((after.path.clone(), None));
                }
                Err(_) if self.is_as(&after.path, after) => change.delete(self, moved),
                Err(why) => {
                    change.keep(&after.path, why);
                    let stays = |before: &&&FilePath| self.by_path.contains_key(**before) && !self.is_as(before, after);
                    if let Some(before) = moved.as_ref().filter(stays) {
                        change.write((*before).clone(), &after.content, after.mode);
                    }
                }
            }
        }
        self.leave_out_below_files(&mut change);
        Ok(change)
    }

    /// A tree of git can have a file and a folder of the same name. The files in this folder are left out.
    fn leave_out_below_files(&self, change: &mut Change) {
        let is_file = |path: &FilePath| {
            let is_here = self.by_path.get(path).is_some_and(|here| here.file_type == FileType::File);
            change.files.contains_key(path) || is_here && !change.deletes.contains(path)
        };
        let file_above = |path: &FilePath| Some((path.clone(), path.ancestors().find(is_file)?));
        let below: Vec<(FilePath, FilePath)> = change.files.keys().filter_map(file_above).collect();
        for (path, file) in below {
            change.files.remove(&path);
            change.keep(&path, format!("{:?} is a file, so nothing can be below it.", file.as_str()));
        }
    }

    /// Whether a path has the contents and the mode that the commit gives a file.
    fn is_as(&self, path: &FilePath, after: &After) -> bool {
        let hash: Hash = Sha256::digest(&*after.content).into();
        self.by_path.get(path).is_some_and(|here| (here.hash, here.mode) == (Some(hash), after.mode))
    }

    async fn bytes(&self, from: &Sources<'_>, path: &FilePath) -> Result<Arc<Vec<u8>>> {
        let hash = self.by_path.get(path).and_then(|here| here.hash);
        let hash = hash.ok_or_else(|| Error::internal("a file without contents"))?;
        let tx = from.services.read(from.actor).await?;
        let member = access::required(&tx, self.project).await?;
        let found = file::contents(&tx, &[(member, hash)]).await?.into_iter().next();
        found.ok_or_else(|| Error::internal("the contents of a file are missing"))?.1
    }

    /// Merges the changes here and in the commit for the file at a path.
    async fn one<'t>(
        &'t self,
        from: &mut Sources<'_>,
        path: &'t FilePath,
        before: &Before,
        after: Option<&'t After>,
    ) -> Result<Merged<'t>> {
        let here = *self.by_path.get(path).ok_or_else(|| Error::internal("a file that is nowhere"))?;
        let base = match from.objects.read(&before.object, from.services.limits.max_file_bytes).await? {
            Object::Bytes(bytes) => Some(bytes),
            Object::TooLarge(_) | Object::Missing => None,
        };
        let base_hash: Option<Hash> = base.as_ref().map(|bytes| Sha256::digest(bytes).into());
        let is_base = base_hash.is_some() && here.hash == base_hash;
        let mut kept = Vec::new();
        let Some(after) = after else {
            let is_untouched = is_base && here.mode == before.mode && *path == before.path;
            if !is_untouched {
                kept.push("It is changed here and deleted there.".to_owned());
            }
            let to = (!is_untouched).then(|| path.clone());
            return Ok(Merged { path, to, after: None, content: None, mode: here.mode, kept });
        };
        let to = match (*path == before.path, after.path == before.path || after.path == *path) {
            (_, true) => path.clone(),
            (true, false) => after.path.clone(),
            (false, false) => {
                kept.push(format!("It is moved here, and there to {:?}.", after.path.as_str()));
                path.clone()
            }
        };
        let theirs: Option<Hash> = Some(Sha256::digest(&*after.content).into());
        if [here.mode, before.mode, after.mode].contains(&FileMode::Symlink) {
            let (content, mode) = merge_link(&here, (before.mode, base_hash), after).unwrap_or_else(|| {
                kept.push("It is changed here and there, and one of them is a symbolic link.".to_owned());
                (None, here.mode)
            });
            return Ok(Merged { path, to: Some(to), after: Some(after), content, mode, kept });
        }
        let mode = match (here.mode == before.mode, after.mode == before.mode || after.mode == here.mode) {
            (_, true) => here.mode,
            (true, false) => after.mode,
            (false, false) => {
                kept.push("Its mode is changed here and there.".to_owned());
                here.mode
            }
        };
        let content = if theirs == here.hash || theirs == base_hash {
            None
        } else if is_base {
            Some(after.content.clone())
        } else {
            let now = self.bytes(from, path).await?;
            let merged = base.and_then(|base| merge_contents(&base, &now, &after.content, &mut { MAX_STEPS }));
            match merged {
                Some(merged) if merged.clean => Some(Arc::new(merged.into_bytes())),
                Some(_) => {
                    kept.push("It is changed here and there in the same lines.".to_owned());
                    None
                }
                None => {
                    kept.push("It is changed here and there, and is not text, so it cannot be merged.".to_owned());
                    None
                }
            }
        };
        Ok(Merged { path, to: Some(to), after: Some(after), content, mode, kept })
    }
}

/// The content, if it changes, and the mode of a file that is a symbolic link on one side: as in git, mode and target go
/// together. `None` if both sides have changed them.
fn merge_link(here: &Here, base: (FileMode, Option<Hash>), after: &After) -> Option<(Option<Arc<Vec<u8>>>, FileMode)> {
    let ours = (here.mode, here.hash);
    let theirs = (after.mode, Some(Sha256::digest(&*after.content).into()));
    if theirs == base || theirs == ours {
        return Some((None, here.mode));
    }
    (ours == base).then(|| (Some(after.content.clone()), after.mode))
}

/// Inputs of a merge.
pub(super) struct Sources<'s> {
    pub(super) services: &'s Services,
    pub(super) actor: &'s Actor,
    pub(super) objects: &'s mut Objects,
}

/// The result for a file that was edited here.
struct Merged<'t> {
    /// The present path.
    path: &'t FilePath,
    /// The new path; `None` to delete it.
    to: Option<FilePath>,
    after: Option<&'t After>,
    /// `None` keeps the content.
    content: Option<Arc<Vec<u8>>>,
    mode: FileMode,
    /// Why the present file is kept as it is; empty if it is not.
    kept: Vec<String>,
}

/// Checks which paths are free next to the edited files.
struct Room<'p> {
    files: HashSet<&'p FilePath>,
    folders: HashSet<FilePath>,
}

impl<'p> Room<'p> {
    fn new(present: &'p Present, vacated: &HashSet<&FilePath>) -> Self {
        let edited = present.by_path.iter().filter(|(_, here)| present.edited.contains(&here.id));
        let edited: Vec<_> = edited.filter(|(path, _)| !vacated.contains(path)).collect();
        let folders =
            edited.iter().filter(|(_, here)| here.file_type == FileType::Folder).map(|(path, _)| (*path).clone());
        let folders = folders.chain(edited.iter().flat_map(|(path, _)| path.ancestors())).collect();
        let files = edited.iter().filter(|(_, here)| here.file_type == FileType::File).map(|(path, _)| *path).collect();
        Self { files, folders }
    }

    /// Why a file cannot be placed at a path.
    fn for_file(&self, path: &FilePath) -> std::result::Result<(), String> {
        if self.files.contains(path) {
            return Err("There is another file here.".to_owned());
        }
        if self.folders.contains(path) {
            return Err("It is a folder here.".to_owned());
        }
        match path.ancestors().find(|folder| self.files.contains(folder)) {
            Some(folder) => Err(format!("{:?} is a file here.", folder.as_str())),
            None => Ok(()),
        }
    }
}
