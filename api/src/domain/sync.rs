//! Syncs: make many files equal to given ones, in one revision.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::edit::{Changed, Context, FileStates, FileWrite, Gathered};
use super::file::{PROJECT, Sides, check_context, check_folder, file_content, has_lines, merges};
use super::file_edit::{Content, Edit, Prepared};
use super::project::Target;
use super::write::Write;
use super::{Tx, Writer, check_name, heavy, policy};
use crate::model::diff;
use crate::model::enums::{ChangeType, EventKind, FileType};
use crate::model::error::{Conflict, Error, FileConflict, Result};
use crate::model::file::{File, FileMode, Hash, NO_LINK_TARGET, is_link_target};
use crate::model::ids::ProjectId;
use crate::model::long_columns::LongColumns;
use crate::model::path::FilePath;
use crate::storage::blob::{self, BlobRef};
use crate::storage::db::Size;
use crate::storage::file::{self, FileState};

/// One file of a sync.
#[derive(Clone, Debug)]
pub struct SyncFile {
    /// Its path.
    pub path: FilePath,
    /// File or folder.
    pub file_type: FileType,
    /// The bytes; `None` for a folder, and for a file that keeps its contents.
    pub content: Option<Vec<u8>>,
    /// The file mode; `None` keeps it.
    pub mode: Option<FileMode>,
    /// The language; `None` keeps it, and guesses a new file's from its path.
    pub language: Option<String>,
}

/// Arguments of a sync.
#[derive(Clone, Debug)]
pub struct Sync {
    /// The project.
    pub project_id: ProjectId,
    /// The target state of the files.
    pub files: Vec<SyncFile>,
    /// Paths to delete, folders with everything below them; missing ones are skipped.
    pub deletes: Vec<FilePath>,
    /// Whether files that are not given are deleted.
    pub mirror: bool,
    /// The revision that the caller has seen, as a precondition.
    pub expected_revision: Option<i32>,
    /// Whether the precondition is only about the given paths, and those above and below them.
    pub ignores_others: bool,
    /// Whether symbolic links can have any target, as in a repository.
    pub allows_any_link: bool,
}

/// Result of a sync.
#[derive(Clone, Debug, Default)]
pub struct Synced {
    /// The changes.
    pub changes: Vec<Changed>,
    /// Number of given files that already had the target state.
    pub unchanged: usize,
    /// The new revision, or the present one if nothing changed.
    pub revision: i32,
}

/// Makes files equal to the given ones, in one revision.
///
/// # Errors
/// `NotFound`, `Forbidden`; `Conflict` if the precondition fails or a file would be below a file; `BadInput` for a path
/// that is given twice or both given and deleted, a folder with content, or a new file without; `PayloadTooLarge`.
pub async fn sync(writer: Writer, sync: Sync, context: Context) -> Result<Synced> {
    let limits = writer.limits();
    check_context(limits, &context)?;
    for (field, count) in [("files", sync.files.len()), ("deletes", sync.deletes.len())] {
        if count > limits.max_sync_files {
            let max = limits.max_sync_files;
            return Err(Error::too_large(
                field,
                format!("`{field}` has {count} paths; --max-sync-files allows {max}."),
            ));
        }
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
        check_folder(&parent, file.file_type, file.mode, file.language.as_deref())?;
        let meta = Meta { language: file.language, mode: file.mode };
        let content = match (file.file_type, file.content) {
            (FileType::File, None) if meta.mode.is_none() => return Err(no_content(index)),
            (FileType::File, None) => Content::Same,
            (file_type, content) => file_content(limits, &parent, file_type, content)?,
        };
        wanted.push((file.path, file.file_type, meta, content));
    }
    if let Some(index) = sync.deletes.iter().position(|path| paths.contains(path)) {
        return Err(Error::bad_input(format!("deletes[{index}]"), "This path is among `files` too."));
    }
    let size = size_of(&wanted, sync.deletes.len());
    let Sync { deletes, mirror, ignores_others, allows_any_link, .. } = sync;
    let job = Job { wanted, deletes, mirror, ignores_others, allows_any_link };
    let target = Target::Project(sync.project_id);
    let writer = writer.of_size(size);
    for _ in 0..if size == Size::Large { ATTEMPTS } else { 0 } {
        let Some(ahead) = Ahead::of(&writer, sync.project_id, &job).await? else { break };
        let write = FileWrite::begin(&writer, target, PROJECT, context.clone()).await?;
        if ahead.holds(&write.write).await? {
            check_revision(&write.write, &ahead.states, &job, sync.expected_revision).await?;
            return finish(write, &ahead.states, ahead.unchanged, ahead.prepared).await;
        }
        write.write.tx.rollback().await?;
    }
    let write = FileWrite::begin(&writer, target, PROJECT, context).await?;
    let given: Vec<FilePath> = job.wanted.iter().map(|(path, ..)| path).chain(&job.deletes).cloned().collect();
    let contents: Vec<Hash> = job.wanted.iter().filter_map(|(.., content)| content.hash()).collect();
    let states = write.states(&given, &contents, job.mirror).await?;
    check_revision(&write.write, &states, &job, sync.expected_revision).await?;
    let (gathered, unchanged) = gather(&write.write.tx, sync.project_id, &states, &job).await?;
    let prepared = gathered.prepare(job.links()).await?;
    finish(write, &states, unchanged, prepared).await
}

/// The error for a file without content that has no content to keep.
fn no_content(index: usize) -> Error {
    Error::bad_input(format!("files[{index}].content"), "Give `content` or `contentBase64`.")
}

/// How often a large sync is prepared before it locks its project; the next attempt runs under the lock.
const ATTEMPTS: usize = 2;

/// The target of a sync.
struct Job {
    wanted: Vec<Wanted>,
    deletes: Vec<FilePath>,
    mirror: bool,
    ignores_others: bool,
    allows_any_link: bool,
}

impl Job {
    /// The argument with symbolic links whose targets are checked.
    fn links(&self) -> Option<&'static str> {
        (!self.allows_any_link).then_some("files")
    }

    /// Checks that new contents of a symbolic link are a target. A link that is stored without one can stay.
    fn check_target(&self, index: usize, content: &Content, mode: FileMode) -> Result<()> {
        match content {
            Content::Bytes(bytes, _)
                if !self.allows_any_link && mode == FileMode::Symlink && !is_link_target(bytes) =>
            {
                Err(Error::bad_input(format!("files[{index}].content"), NO_LINK_TARGET))
            }
            _ => Ok(()),
        }
    }
}

/// The target state of a file: path, type, other properties, content.
type Wanted = (FilePath, FileType, Meta, Content);

/// Optional properties of a file.
#[derive(Clone, Default)]
struct Meta {
    language: Option<String>,
    mode: Option<FileMode>,
}

impl Meta {
    /// Whether they differ from those of a file.
    fn differs(&self, file: &File) -> bool {
        self.mode.is_some_and(|mode| mode != file.mode) || self.language.is_some() && self.language != file.language
    }
}

/// A sync that was prepared before it locked its project, so that reading and computing does not block other writers.
struct Ahead {
    /// The revision at which it was prepared.
    revision: i32,
    states: FileStates,
    prepared: Prepared,
    unchanged: usize,
}

impl Ahead {
    /// Prepares a sync; `None` if it is invalid, which is reported under the lock.
    async fn of(writer: &Writer, project: ProjectId, job: &Job) -> Result<Option<Self>> {
        let _turn = writer.services.turns.work(writer.actor.user_id).await?;
        let tx = writer.read().await?.needing(LongColumns::NONE);
        let present = super::project::by_ids(&tx, &[project]).await?.into_iter().next();
        let Some(present) = present.filter(|present| policy::may_write(present.viewer_role).is_ok()) else {
            return Ok(None);
        };
        let states = FileStates::all(&tx, project).await?;
        let (gathered, unchanged) = match gather(&tx, project, &states, job).await {
            Ok(gathered) => gathered,
            Err(error) if error.is_passing() => return Err(error),
            Err(_) => return Ok(None),
        };
        drop(tx);
        let prepared = gathered.prepare(job.links()).await?;
        Ok(Some(Self { revision: present.revision, states, prepared, unchanged }))
    }

    /// Whether no files have changed since.
    async fn holds(&self, write: &Write) -> Result<bool> {
        Ok(self.revision == write.present_revision()
            || !file::has_changed_after(&write.tx, write.locked.id, self.revision).await?)
    }
}

/// The edits of a sync, and the number of files that already have the target state.
async fn gather(tx: &Tx, project: ProjectId, states: &FileStates, job: &Job) -> Result<(Gathered, usize)> {
    let (edits, unchanged) = plan(states, job)?;
    let edits = detect_renames(tx, project, edits).await?;
    Ok((Gathered::read(tx, project, states, edits, "files").await?, unchanged))
}

async fn finish(mut write: FileWrite, states: &FileStates, unchanged: usize, prepared: Prepared) -> Result<Synced> {
    if prepared.is_empty() {
        let revision = write.write.present_revision();
        return write.write.unchanged(Synced { unchanged, revision, ..Synced::default() }).await;
    }
    let changes = write.make(states, prepared)?;
    let revision = write.write.locked.revision;
    write.write.commit(EventKind::FilesChanged, Synced { changes, unchanged, revision }).await
}

/// Whether files to which the precondition applies have changed after a revision.
async fn has_changed(write: &Write, job: &Job, after: i32) -> Result<bool> {
    let (tx, project) = (&write.tx, write.locked.id);
    let has_any = file::has_changed_after(tx, project, after).await?;
    if !has_any || !job.ignores_others {
        return Ok(has_any);
    }
    let given: HashSet<FilePath> = job.wanted.iter().map(|(path, ..)| path).chain(&job.deletes).cloned().collect();
    let folders: HashSet<FilePath> = given.iter().flat_map(FilePath::ancestors).collect();
    let changed = file::changed_after(tx, project, after).await?;
    let now = file::states_by_ids(tx, project, &changed).await?;
    let then = file::states_before(tx, project, after).await?;
    let mut paths = now.iter().chain(&then).map(|state| &state.file.path);
    Ok(paths.any(|path| {
        given.contains(path) || folders.contains(path) || path.ancestors().any(|folder| given.contains(&folder))
    }))
}

/// Checks the precondition that no files have changed since a revision; its conflict names the files.
async fn check_revision(write: &Write, states: &FileStates, job: &Job, expected: Option<i32>) -> Result<()> {
    let Some(expected) = expected else { return Ok(()) };
    let current = write.present_revision();
    let is_past = (0..current).contains(&expected);
    if expected == current || is_past && !has_changed(write, job, expected).await? {
        return Ok(());
    }
    Err(Error::Conflict(Box::new(Conflict {
        message: match is_past {
            true => format!("Files have changed since revision {expected}: the project is at revision {current}."),
            false => format!("The project is at revision {current}, not {expected}."),
        },
        field: Some("expectedRevision"),
        current_revision: Some(current),
        files: conflicts(write, states, job, expected).await?,
        ..Conflict::default()
    })))
}

/// More files than this make a sync a large write.
const MANY_FILES: usize = 200;

/// More bytes than this make a sync a large write, too.
const MANY_BYTES: usize = 1 << 20;

fn size_of(wanted: &[Wanted], deletes: usize) -> Size {
    let bytes = wanted.iter().map(|(.., content)| match content {
        Content::Bytes(bytes, _) => bytes.len(),
        _ => 0,
    });
    if wanted.len() + deletes > MANY_FILES || bytes.sum::<usize>() > MANY_BYTES { Size::Large } else { Size::Small }
}

/// Maximum number of files that the error of a refused sync describes.
const MAX_CONFLICTS: usize = 100;

/// The files that have changed since the caller saw the project and differ from the caller's target: those of the sync,
/// then the others.
async fn conflicts(write: &Write, states: &FileStates, job: &Job, seen_at: i32) -> Result<Vec<FileConflict>> {
    let (tx, project) = (&write.tx, write.locked.id);
    let changed = file::changed_after(tx, project, seen_at).await?;
    let mut changed = file::states_by_ids(tx, project, &changed).await?;
    changed.sort_by(|a, b| a.file.path.cmp(&b.file.path));
    let seen = file::states_before(tx, project, seen_at).await?;
    let seen: HashMap<FilePath, FileState> = seen.into_iter().map(|state| (state.file.path.clone(), state)).collect();
    let of_path = |path: &FilePath, state: Option<&FileState>| FileConflict {
        path: path.as_str().to_owned(),
        current_version: state.map(|state| state.file.number()),
        current_hash: state.and_then(|state| state.file.hash).map(hex::encode),
        merge: None,
    };
    let (mut files, mut sides) = (Vec::new(), Vec::new());
    for (path, _, meta, content) in &job.wanted {
        let sent = match content {
            Content::Bytes(sent, _) => Some(sent.clone()),
            Content::Same => None,
            Content::None | Content::Blob(_) => continue,
        };
        let state = states.get(path);
        let touched = match state {
            Some(state) => {
                let holds_other = sent.is_some() && state.file.hash != content.hash();
                (holds_other || meta.differs(&state.file))
                    && changed.iter().any(|changed| changed.file.id == state.file.id)
            }
            None => seen.contains_key(path),
        };
        if !touched || files.len() == MAX_CONFLICTS {
            continue;
        }
        let seen = seen.get(path);
        if let Some(sent) = sent.filter(|_| has_lines([seen, state], meta.mode)) {
            let [seen, now] = [seen, state].map(|state| state.and_then(|state| state.blob));
            sides.push((files.len(), Sides { seen, now, sent }));
        }
        files.push(of_path(path, state));
    }
    let (places, sides): (Vec<usize>, Vec<Sides>) = sides.into_iter().unzip();
    for (place, merge) in places.into_iter().zip(merges(tx, project, sides).await?) {
        if let Some(file) = files.get_mut(place) {
            file.merge = merge;
        }
    }
    // Files that the sync does not mention, or would delete. There is nothing to merge at the old path of a moved file.
    let given: HashSet<&FilePath> = job.wanted.iter().map(|(path, ..)| path).collect();
    let mut others: Vec<(FilePath, Option<&FileState>)> = Vec::new();
    for state in &changed {
        let live = Some(state).filter(|state| !state.file.is_deleted);
        others.extend(live.map(|state| (state.file.path.clone(), Some(state))));
    }
    let gone = seen.keys().filter(|path| states_lack(&changed, path));
    others.extend(gone.map(|path| (path.clone(), None)));
    others.retain(|(path, _)| !given.contains(path));
    others.sort_by(|(a, _), (b, _)| a.cmp(b));
    let room = MAX_CONFLICTS.saturating_sub(files.len());
    files.extend(others.into_iter().take(room).map(|(path, state)| of_path(&path, state)));
    if files.is_empty() {
        // The changed file already has the caller's target state.
        files.extend(
            changed
                .iter()
                .take(MAX_CONFLICTS)
                .map(|state| of_path(&state.file.path, Some(state).filter(|state| !state.file.is_deleted))),
        );
    }
    Ok(files)
}

/// Whether none of these live files is at a path.
fn states_lack(states: &[FileState], path: &FilePath) -> bool {
    !states.iter().any(|state| !state.file.is_deleted && state.file.path == *path)
}

/// Minimum similarity of contents for a rename: git's default.
const SIMILAR: f32 = 0.5;

/// Maximum number of pairs of deleted and created files that are compared.
const MAX_PAIRS: usize = 10_000;

/// Maximum number of bytes of such pairs that are compared. `cargo bench -p tests --bench history` measures the time
/// for short lines, which take longest.
const MAX_COMPARED: usize = 32 << 20;

/// Finds renames with changes among deleted and created files.
async fn detect_renames(tx: &Tx, project: ProjectId, edits: Vec<Edit>) -> Result<Vec<Edit>> {
    let (mut gone, mut new, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for edit in edits {
        match (&edit.change_type, &edit.content, edit.state.as_ref().and_then(|state| state.blob)) {
            (ChangeType::Delete, _, Some(blob)) => gone.push((blob, edit)),
            (ChangeType::Create, Content::Bytes(bytes, _), _) if !bytes.is_empty() => new.push(edit),
            _ => rest.push(edit),
        }
    }
    if gone.is_empty() || new.is_empty() || gone.len() * new.len() > MAX_PAIRS {
        rest.extend(gone.into_iter().map(|(_, edit)| edit).chain(new));
        return Ok(rest);
    }
    let stored: Vec<BlobRef> = gone.iter().map(|(blob, _)| *blob).collect();
    let mut chains = blob::of_project(tx, project, &stored, &[]).await?;
    let sent = new.iter().map(|edit| match &edit.content {
        Content::Bytes(bytes, _) => bytes.len(),
        _ => 0,
    });
    let bytes = chains.size() + sent.sum::<usize>();
    let compare = move || {
        let (mut pairs, mut left) = (Vec::new(), MAX_COMPARED);
        for (from, (blob, _)) in gone.iter().enumerate() {
            let Some(old) = chains.decode_if_sound(blob.id) else { continue };
            for (to, edit) in new.iter().enumerate() {
                let Content::Bytes(bytes, _) = &edit.content else { continue };
                let (small, large) = (old.len().min(bytes.len()), old.len().max(bytes.len()));
                if small as f32 >= large as f32 * SIMILAR && small + large <= left {
                    left -= small + large;
                    let alike = diff::similarity(&old, bytes);
                    if alike >= SIMILAR {
                        pairs.push((alike, from, to));
                    }
                }
            }
        }
        // The most similar first; equal ones by path, so that the same sync always makes the same changes.
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
        let mut gone: Vec<Option<Edit>> = gone.into_iter().map(|(_, edit)| Some(edit)).collect();
        let mut new: Vec<Option<Edit>> = new.into_iter().map(Some).collect();
        for (_, from, to) in pairs {
            let (Some(from), Some(to)) = (gone.get_mut(from), new.get_mut(to)) else { continue };
            if from.is_none() || to.is_none() {
                continue;
            }
            if let (Some(Edit { state: Some(state), .. }), Some(created)) = (from.take(), to.take()) {
                let moved = Edit::rename(state, created.path, created.content);
                rest.push(Edit { language: created.language, ..moved }.with_mode(created.mode));
            }
        }
        rest.extend(gone.into_iter().flatten().chain(new.into_iter().flatten()));
        rest
    };
    heavy::run(bytes, compare).await
}

/// The edits for the wanted files, and the number of files that already have the target state.
fn plan(states: &FileStates, job: &Job) -> Result<(Vec<Edit>, usize)> {
    let (wanted, deletes, mirror) = (job.wanted.clone(), &job.deletes, job.mirror);
    let (mut edits, mut unchanged) = (Vec::new(), 0);
    let mut gone: HashMap<FilePath, FileState> = HashMap::new();
    for path in deletes {
        gone.extend(states.get(path).map(|state| (path.clone(), state.clone())));
        gone.extend(states.below(path).into_iter().map(|below| (below.file.path.clone(), below)));
    }
    if mirror {
        gone.extend(states.by_path.iter().map(|(path, state)| (path.clone(), state.clone())));
        for (path, ..) in &wanted {
            // Keep the folders of the given files, and the given files, unless a file becomes a folder or the reverse.
            for folder in path.ancestors() {
                if gone.get(&folder).is_some_and(|state| state.file.file_type == FileType::Folder) {
                    gone.remove(&folder);
                }
            }
        }
    }
    let mut new = Vec::new();
    for (index, (path, file_type, meta, content)) in wanted.into_iter().enumerate() {
        match states.get(&path) {
            Some(state) if state.file.file_type == file_type => {
                gone.remove(&path);
                let is_same = matches!(content, Content::Same) || content.hash() == state.file.hash;
                if is_same && !meta.differs(&state.file) {
                    unchanged += 1;
                } else {
                    let content = if is_same { Content::Same } else { content };
                    job.check_target(index, &content, meta.mode.unwrap_or(state.file.mode))?;
                    let edit = Edit { language: meta.language, ..Edit::update(state.clone(), content) };
                    edits.push(edit.with_mode(meta.mode));
                }
            }
            Some(_) if !mirror && !gone.contains_key(&path) => {
                let message = format!("{:?} is a file here and a folder there.", path.as_str());
                return Err(Error::conflict("files", message));
            }
            _ if matches!(content, Content::Same) => return Err(no_content(index)),
            _ => new.push((path, file_type, meta, content, index)),
        }
    }
    new.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, file_type, Meta { language, mode }, content, index) in new {
        // A file that is deleted at one path and created at another with the same content was renamed.
        let moved = match &content {
            Content::Bytes(bytes, hash) if !bytes.is_empty() => {
                let same = gone.values().filter(|state| state.file.hash == Some(*hash));
                let best = same.min_by_key(|state| {
                    let state: &FileState = state;
                    let (old, new) = (state.file.path.name(), path.name());
                    (old != new, Reverse(common(old, new)), &state.file.path)
                });
                best.map(|state| state.file.path.clone())
            }
            _ => None,
        };
        match moved.and_then(|from| gone.remove(&from)) {
            Some(state) => edits.push(Edit { language, ..Edit::rename(state, path, Content::Same) }.with_mode(mode)),
            None => {
                job.check_target(index, &content, mode.unwrap_or_default())?;
                edits.push(Edit::create(path, file_type, language, content).with_mode(mode));
            }
        }
    }
    let mut gone: Vec<FileState> = gone.into_values().collect();
    gone.sort_by(|a, b| a.file.path.cmp(&b.file.path));
    edits.extend(gone.into_iter().map(Edit::delete));
    Ok((edits, unchanged))
}

/// The number of bytes that two names have in common at their beginnings and ends.
fn common(one: &str, other: &str) -> usize {
    let count = |pairs: &mut dyn Iterator<Item = (u8, u8)>| pairs.take_while(|(one, other)| one == other).count();
    let begin = count(&mut one.bytes().zip(other.bytes()));
    begin + count(&mut one.bytes().rev().zip(other.bytes().rev()))
}

impl Synced {
    /// The number of changes of this kind.
    pub fn count(&self, change_type: ChangeType) -> usize {
        self.changes.iter().filter(|changed| changed.change.change_type == change_type).count()
    }
}
