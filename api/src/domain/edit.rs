//! Writes to files. A mutation makes a list of edits, and [`FileWrite::apply`] stores them as one revision.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use super::file_edit::{Content, Edit, Prepared, check_links, prepare};
use super::project::Target;
use super::write::{Noun, Rows, Write};
use super::{Member, Tx, Writer, heavy, policy};
use crate::model::clock;
use crate::model::enums::{ChangeType, FileType};
use crate::model::error::{Conflict, Error, FileConflict, Result};
use crate::model::file::{ChangeDescription, File, FileMode, FileSnapshot, Hash};
use crate::model::ids::{FileId, FileSnapshotId, MessageId, ProjectId, SessionId};
use crate::model::language::language_of;
use crate::model::manifest::manifest;
use crate::model::path::FilePath;
use crate::storage::blob::{self, Chains, NewBlob};
use crate::storage::file::{self, FileState};
use crate::storage::file_write::FileChanges;
use crate::storage::revision::{Conversation, Named};
use crate::storage::snapshot::Follow;

/// The session, message and description of a write.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The session in which it is made.
    pub session_id: Option<SessionId>,
    /// The message for which it is made.
    pub message_id: Option<MessageId>,
    /// The writer's description of the change.
    pub change_description: Option<String>,
}

/// A running write to the files of one project.
#[must_use = "a write that is dropped is rolled back"]
pub(super) struct FileWrite {
    pub(super) write: Write,
    pub(super) conversation: Option<Conversation>,
}

/// A change, with the file after it.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The new version.
    pub change: FileSnapshot,
    /// The file.
    pub file: File,
}

impl FileWrite {
    /// Locks the project and finds the conversation.
    pub(super) async fn begin(writer: &Writer, target: Target, noun: Noun, context: Context) -> Result<Self> {
        let named = Named { session: context.session_id, message: context.message_id };
        let mut write = writer.begin_in(target, named, noun).await?;
        let conversation = conversation(&write, &context)?;
        write.about.description = context.change_description;
        let mut write = Self { write, conversation: None };
        write.in_conversation(conversation);
        Ok(write)
    }

    /// Sets the session and message of the write.
    pub(super) fn in_conversation(&mut self, conversation: Option<Conversation>) {
        self.conversation = conversation;
        self.write.about.session = conversation.map(|conversation| conversation.session_id);
        self.write.about.message = conversation.and_then(|conversation| conversation.message_id);
    }

    /// The live files around these paths; all live files if that is as cheap, or if the message's checkpoint needs
    /// them. `contents` are those that the write brings.
    pub(super) async fn states(&self, paths: &[FilePath], contents: &[Hash], all: bool) -> Result<FileStates> {
        let Write { tx, locked, .. } = &self.write;
        /// For more paths than this, reading all files is faster.
        const MANY: usize = 500;
        let names: usize = paths.iter().map(|path| 1 + path.ancestors().count()).sum();
        if all || names + contents.len() > MANY || self.follows_checkpoint() {
            return FileStates::all(tx, locked.id).await;
        }
        let (states, are_new) = file::states_around(tx, locked.id, paths, contents).await?;
        let new = if are_new { contents.iter().copied().collect() } else { HashSet::new() };
        Ok(FileStates { new, ..FileStates::new(states, false) })
    }

    fn follows_checkpoint(&self) -> bool {
        self.conversation.is_some_and(|conversation| conversation.snapshot_id.is_some())
    }

    /// Makes the edits, in a fixed order. `states` are the live files before; errors name the argument `field`.
    pub(super) async fn apply(
        &mut self,
        states: &FileStates,
        edits: Vec<Edit>,
        field: &'static str,
    ) -> Result<Vec<Changed>> {
        let gathered = Gathered::read(&self.write.tx, self.write.locked.id, states, edits, field).await?;
        self.make(states, gathered.prepare(Some(field)).await?)
    }

    /// Makes edits that bring back stored states of files. These are accepted unchanged, with links that no write can
    /// have any more.
    pub(super) async fn bring_back(
        &mut self,
        states: &FileStates,
        edits: Vec<Edit>,
        field: &'static str,
    ) -> Result<Vec<Changed>> {
        let gathered = Gathered::read(&self.write.tx, self.write.locked.id, states, edits, field).await?;
        self.make(states, gathered.prepare(None).await?)
    }

    /// Makes prepared edits. `states` are the live files for which they were prepared.
    pub(super) fn make(&mut self, states: &FileStates, prepared: Prepared) -> Result<Vec<Changed>> {
        let (changed, blobs) = self.change(prepared)?;
        let mut follow = None;
        if let Some(id) = self.conversation.and_then(|conversation| conversation.snapshot_id) {
            let files = match states.after(&changed) {
                Some(files) => files,
                None => return Err(Error::internal("a checkpoint was read without all files")),
            };
            let manifest = manifest(files.iter().map(|(path, hash)| (path.as_str(), hash)));
            follow = Some(Follow { id, file_count: i32::try_from(files.len()).unwrap_or(i32::MAX), manifest });
        }
        let files = changed.iter().map(|changed| (changed.file.clone(), changed.change.clone())).collect();
        self.write.about.rows = Rows::Files(FileChanges { blobs, files, follow });
        Ok(changed)
    }

    /// The changes that edits make, with the contents that the project does not have yet.
    fn change(&self, prepared: Prepared) -> Result<(Vec<Changed>, Vec<NewBlob>)> {
        let Write { locked, writer, about, .. } = &self.write;
        let project = locked.id;
        let Prepared { edits, new_blobs } = prepared;
        let mut changed = Vec::with_capacity(edits.len());
        let description = about.description.as_deref();
        let description = description.map_or(ChangeDescription::None, |text| ChangeDescription::Text(text.into()));
        // A file can arrive at a path at which another one is deleted.
        let mut deleted: HashMap<FilePath, i32> = HashMap::new();
        for (edit, prepared) in edits {
            let is_file = edit.file_type == FileType::File;
            let is_deleted = edit.change_type == ChangeType::Delete;
            let before = edit.state.as_ref().map(|state| &state.file);
            let mode = if is_file { edit.mode_after() } else { FileMode::File };
            // A file created at the path of a deleted one shares only its history.
            let is_same = |file: &&File| !file.is_deleted || edit.restores.is_some();
            let language = edit
                .language
                .as_deref()
                .or_else(|| before.filter(is_same).and_then(File::set_language))
                .or_else(|| is_file.then(|| language_of(&edit.path)).flatten())
                .map(str::to_owned);
            let version = before.map_or(0, |file| file.version).saturating_add(1);
            let others = edit.others.max(deleted.get(&edit.path).copied().unwrap_or_default());
            let number = before.map_or(0, File::number).max(others).saturating_add(1);
            if is_deleted {
                deleted.insert(edit.path.clone(), number);
            }
            let file = File {
                id: before.map_or_else(|| FileId(clock::new_id()), |file| file.id),
                project_id: project,
                path: edit.path.clone(),
                file_type: edit.file_type,
                language,
                size_bytes: prepared.size,
                mode,
                version,
                version_offset: number.saturating_sub(version),
                hash: prepared.hash,
                is_deleted,
                created_at: before.map_or(locked.at, |file| file.created_at),
                updated_at: locked.at,
            };
            let change = FileSnapshot {
                id: FileSnapshotId(clock::new_id()),
                project_id: project,
                file_id: file.id,
                revision: locked.revision,
                version,
                version_offset: file.version_offset,
                follows: version.saturating_sub(1),
                path: edit.path,
                change_type: edit.change_type,
                additions: prepared.stat.additions,
                deletions: prepared.stat.deletions,
                hash: prepared.hash,
                size_bytes: prepared.size,
                mode,
                restores: edit.restores,
                change_description: description.clone(),
                created_at: locked.at,
                created_by: Some(writer.actor.user_id),
                session_id: about.session,
                message_id: about.message,
            };
            changed.push(Changed { change, file });
        }
        Ok((changed, new_blobs))
    }
}

/// Edits, with the contents that are needed to prepare them.
pub(super) struct Gathered {
    project: ProjectId,
    edits: Vec<Edit>,
    chains: Chains,
}

impl Gathered {
    /// Checks that the edits fit the present files, and reads what they need.
    pub(super) async fn read(
        tx: &Tx,
        project: ProjectId,
        states: &FileStates,
        edits: Vec<Edit>,
        field: &'static str,
    ) -> Result<Self> {
        check_tree(states, &edits, field)?;
        let mut edits = in_order(edits);
        continue_lineages(tx, project, &mut edits).await?;
        let (mut stored, mut hashes) = (Vec::new(), Vec::new());
        for edit in &edits {
            if !matches!(edit.content, Content::Same) || edit.becomes_link() {
                stored.extend(edit.live_blob());
            }
            match &edit.content {
                Content::Bytes(_, hash) if states.new.contains(hash) => {}
                Content::Bytes(_, hash) => hashes.push(*hash),
                Content::Blob(blob) => stored.push(*blob),
                Content::None | Content::Same => {}
            }
        }
        let chains = blob::of_project(tx, project, &stored, &hashes).await?;
        Ok(Self { project, edits, chains })
    }

    /// Counts the lines that the edits add and remove, and encodes new contents. This is CPU-bound. With `links`, the
    /// name of an argument, checks the targets of symbolic links.
    pub(super) async fn prepare(self, links: Option<&'static str>) -> Result<Prepared> {
        let Self { project, edits, mut chains } = self;
        let sent = edits.iter().map(|edit| match &edit.content {
            Content::Bytes(bytes, _) => bytes.len(),
            _ => 0,
        });
        let bytes = chains.size() + sent.sum::<usize>();
        heavy::run(bytes, move || {
            if let Some(field) = links {
                check_links(&edits, &mut chains, field)?;
            }
            prepare(edits, chains, project)
        })
        .await?
    }
}

/// A file created at the path of a deleted file becomes the next version of that file: a path has one lineage. If a
/// file takes the path of another file, its version numbers continue above those of the other file.
async fn continue_lineages(tx: &Tx, project: ProjectId, edits: &mut [Edit]) -> Result<()> {
    let arrives = |edit: &&mut Edit| matches!(edit.change_type, ChangeType::Create | ChangeType::Rename);
    let paths: Vec<FilePath> = edits.iter_mut().filter(arrives).map(|edit| edit.path.clone()).collect();
    if paths.is_empty() {
        return Ok(());
    }
    let mut ever: HashMap<FilePath, Vec<FileState>> = HashMap::new();
    for (path, state) in file::ever_at(tx, project, &paths).await? {
        ever.entry(path).or_default().push(state);
    }
    let mut taken: HashSet<FileId> = edits.iter().filter_map(|edit| Some(edit.state.as_ref()?.file.id)).collect();
    for edit in edits.iter_mut().filter(arrives) {
        let Some(ever) = ever.get(&edit.path) else { continue };
        if edit.state.is_none() {
            let goes_on = |state: &&FileState| {
                let file = &state.file;
                file.is_deleted
                    && file.path == edit.path
                    && file.file_type == edit.file_type
                    && !taken.contains(&file.id)
            };
            // The last one is the newest.
            edit.state = ever.iter().rev().find(goes_on).cloned();
            taken.extend(edit.state.as_ref().map(|state| state.file.id));
        }
        let own = edit.state.as_ref().map(|state| state.file.id);
        let others = ever.iter().filter(|state| Some(state.file.id) != own);
        edit.others = others.map(|state| state.file.number()).max().unwrap_or_default();
    }
    Ok(())
}

/// The session and message that a write names.
fn conversation(write: &Write, context: &Context) -> Result<Option<Conversation>> {
    if context.session_id.is_none() && context.message_id.is_none() {
        return Ok(None);
    }
    let Some(found) = write.locked.conversation else {
        let (noun, field) = match context.session_id {
            Some(_) => ("session in this project", "sessionId"),
            None => ("message in this project (a message that is still streamed must be finished first)", "messageId"),
        };
        return Err(Error::not_found(noun, field));
    };
    if context.message_id.is_some() && found.message_id.is_none() {
        let noun = "message in this session (a message that is still streamed must be finished first)";
        return Err(Error::not_found(noun, "messageId"));
    }
    policy::may_write_in_session(found.author_id, write.writer.actor.user_id)?;
    Ok(Some(found))
}

/// The old and the new path of a changed file; `None` if the file does not exist before or after the change.
#[derive(Clone, Copy)]
pub(super) struct Passage<'p> {
    pub(super) from: Option<&'p FilePath>,
    pub(super) to: Option<&'p FilePath>,
}

impl<'p> Passage<'p> {
    /// The path of the change.
    pub(super) fn path(&self) -> Option<&'p FilePath> {
        self.to.or(self.from)
    }

    /// The old path, if the file leaves it.
    pub(super) fn left(&self) -> Option<&'p FilePath> {
        self.from.filter(|_| self.from != self.to)
    }

    /// The new path, if the file was not there before.
    pub(super) fn reached(&self) -> Option<&'p FilePath> {
        self.to.filter(|_| self.from != self.to)
    }
}

impl Edit {
    /// The old and the new path of its file.
    pub(super) fn passage(&self) -> Passage<'_> {
        let from = self.state.as_ref().map(|state| &state.file).filter(|file| !file.is_deleted).map(|file| &file.path);
        Passage { from, to: (self.change_type != ChangeType::Delete).then_some(&self.path) }
    }
}

/// The order of the changes within one revision.
fn order(change_type: ChangeType) -> u8 {
    match change_type {
        ChangeType::Delete => 0,
        ChangeType::Rename => 1,
        ChangeType::Update => 2,
        ChangeType::Create => 3,
    }
}

/// The edits of one revision in the order in which they are made.
pub(super) fn in_order(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by(|a, b| (order(a.change_type), &a.path).cmp(&(order(b.change_type), &b.path)));
    arranged(edits, Edit::passage)
}

/// Changes in their order, except that a change comes after those that make room for it: files at its new path, above
/// it or below it leave first. So the diffs can be applied one after the other. In a circle of changes, the first one
/// comes first.
pub(super) fn arranged<T>(changes: Vec<T>, passage: impl Fn(&T) -> Passage<'_>) -> Vec<T> {
    let leavers: BTreeMap<&str, usize> =
        changes.iter().enumerate().filter_map(|(at, change)| Some((passage(change).left()?.as_str(), at))).collect();
    let makes_room = |change: &T| -> Vec<usize> {
        let Some(to) = passage(change).reached() else { return Vec::new() };
        let folder = format!("{}/", to.as_str());
        let below = leavers
            .range::<str, _>((Bound::Included(folder.as_str()), Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(&folder));
        let above = to.ancestors().filter_map(|folder| leavers.get(folder.as_str()).copied()).collect::<Vec<_>>();
        leavers.get(to.as_str()).copied().into_iter().chain(above).chain(below.map(|(_, at)| *at)).collect()
    };
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Waits,
        Placed,
    }
    let (mut marks, mut places) = (vec![Mark::New; changes.len()], Vec::with_capacity(changes.len()));
    for first in 0..changes.len() {
        let mut stack = vec![first];
        while let Some(at) = stack.last().copied() {
            let (Some(mark), Some(change)) = (marks.get_mut(at), changes.get(at)) else { break };
            match mark {
                Mark::New => {
                    *mark = Mark::Waits;
                    let before = makes_room(change);
                    stack.extend(before.into_iter().filter(|before| marks.get(*before) == Some(&Mark::New)));
                }
                Mark::Waits => {
                    *mark = Mark::Placed;
                    places.push(at);
                    stack.pop();
                }
                Mark::Placed => drop(stack.pop()),
            }
        }
    }
    let mut changes: Vec<Option<T>> = changes.into_iter().map(Some).collect();
    places.into_iter().filter_map(|at| changes.get_mut(at)?.take()).collect()
}

/// Live files by their paths.
pub(super) struct FileStates {
    pub(super) by_path: HashMap<FilePath, FileState>,
    /// Whether these are all live files of the project.
    complete: bool,
    /// Contents that the project does not have yet, as far as known.
    new: HashSet<Hash>,
}

impl FileStates {
    fn new(states: Vec<FileState>, complete: bool) -> Self {
        let by_path = states.into_iter().map(|state| (state.file.path.clone(), state)).collect();
        Self { by_path, complete, new: HashSet::new() }
    }

    /// All live files of a project.
    pub(super) async fn all(tx: &Tx, project: ProjectId) -> Result<Self> {
        Ok(Self::new(file::states(tx, project).await?, true))
    }

    /// All files that were live at a revision.
    pub(super) async fn at(tx: &Tx, project: Member<'_>, at: i32) -> Result<Self> {
        Ok(Self::new(file::heads_at(tx, project, at).await?, true))
    }

    pub(super) fn get(&self, path: &FilePath) -> Option<&FileState> {
        self.by_path.get(path)
    }

    /// The live files strictly below a folder.
    pub(super) fn below(&self, folder: &FilePath) -> Vec<FileState> {
        self.by_path.values().filter(|state| state.file.path.is_under(folder)).cloned().collect()
    }

    /// Paths and hashes of all live files after these changes; `None` if not all are known.
    pub(super) fn after(&self, changed: &[Changed]) -> Option<Vec<(String, Hash)>> {
        if !self.complete {
            return None;
        }
        let mut files: HashMap<FileId, &File> =
            self.by_path.values().map(|state| (state.file.id, &state.file)).collect();
        files.extend(changed.iter().map(|changed| (changed.file.id, &changed.file)));
        let live = files.into_values().filter(|file| !file.is_deleted);
        Some(live.filter_map(|file| Some((file.path.as_str().to_owned(), file.hash?))).collect())
    }
}

/// Checks that after the edits each path has one entry, and that nothing is below a file.
pub(super) fn check_tree(states: &FileStates, edits: &[Edit], field: &'static str) -> Result<()> {
    // The files that keep their paths, and the paths that the edits fill.
    let (mut stays, mut comes): (BTreeMap<&FilePath, &File>, BTreeMap<&FilePath, FileType>) = Default::default();
    stays.extend(states.by_path.iter().map(|(path, state)| (path, &state.file)));
    for edit in edits {
        if let Some(state) = edit.state.as_ref().filter(|state| !state.file.is_deleted) {
            stays.remove(&state.file.path);
        }
    }
    for edit in edits.iter().filter(|edit| edit.change_type != ChangeType::Delete) {
        let is_twice = comes.insert(&edit.path, edit.file_type).is_some();
        if is_twice || stays.contains_key(&edit.path) {
            let message = format!("A file or folder already exists at {:?}.", edit.path.as_str());
            return Err(taken(&edit.path, field, message, stays.get(&edit.path).copied()));
        }
    }
    let all = stays.keys().chain(comes.keys());
    for path in all.filter(|path| path.as_str().contains('/')) {
        for folder in path.ancestors() {
            let (there, new) = (stays.get(&folder).copied(), comes.get(&folder));
            if there.map(|file| file.file_type).or(new.copied()) != Some(FileType::File) {
                continue;
            }
            if there.is_none()
                && let Some(below) = stays.get(*path)
            {
                let message = format!("A file cannot be at {:?}, since {:?} is there.", folder.as_str(), path.as_str());
                return Err(taken(&folder, field, message, Some(below)));
            }
            let message = format!("{:?} is a file, so nothing can be below it: {:?}.", folder.as_str(), path.as_str());
            return Err(taken(&folder, field, message, there));
        }
    }
    Ok(())
}

/// The conflict of an edit with an entry at a path, above it or below it.
fn taken(path: &FilePath, field: &'static str, message: String, in_the_way: Option<&File>) -> Error {
    let paths = vec![path.as_str().to_owned()];
    let in_the_way = in_the_way.map(|file| FileConflict {
        path: file.path.as_str().to_owned(),
        current_version: Some(file.number()),
        current_hash: file.hash.map(hex::encode),
        merge: None,
    });
    let files = in_the_way.into_iter().collect();
    Error::Conflict(Box::new(Conflict { message, field: Some(field), paths, files, ..Conflict::default() }))
}
