//! The plan of a restore or an undo, which a preview shows and the operation applies.
//!
//! A plan compares states (path, content, mode, deleted or not), never version numbers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::edit::{FileStates, check_tree};
use super::file_edit::{Content, Edit};
use super::{Member, Tx, heavy};
use crate::model::enums::FileType;
use crate::model::error::{Conflict, Error, FileConflict, Result};
use crate::model::event::UndoneFiles;
use crate::model::file::{File, FileMode, Hash};
use crate::model::ids::{FileId, ProjectId, SessionId};
use crate::model::merge::{MAX_STEPS, Merge, merge_contents};
use crate::model::path::FilePath;
use crate::storage::blob::{self, BlobRef, Chains};
use crate::storage::chat;
use crate::storage::file::{self, ChangedAt, End, FileState, StatesAt};
use crate::storage::file_snapshot;
use crate::storage::undo::{self, Made};

/// The target state of a file.
#[derive(Clone)]
pub(super) struct Wanted {
    path: FilePath,
    file_type: FileType,
    mode: FileMode,
    /// The language that a client set.
    language: Option<String>,
    hash: Option<Hash>,
    content: Content,
    /// The version of the same file whose lines are restored.
    restores: Option<i32>,
}

impl Wanted {
    fn of(state: &FileState) -> Option<Self> {
        (!state.file.is_deleted).then(|| Self {
            path: state.file.path.clone(),
            file_type: state.file.file_type,
            mode: state.file.mode,
            language: state.file.set_language().map(str::to_owned),
            hash: state.file.hash,
            content: Content::of(state),
            restores: Some(state.file.version),
        })
    }

    fn is_as(&self, other: &Self) -> bool {
        (&self.path, self.mode, self.hash) == (&other.path, other.mode, other.hash)
    }
}

fn same(one: Option<&Wanted>, other: Option<&Wanted>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_as(other),
        (None, None) => true,
        _ => false,
    }
}

/// The change of one file.
struct Step {
    /// The file; `None` for a new one.
    file: Option<FileId>,
    /// The present state, if the file is live.
    now: Option<FileState>,
    /// The target state.
    to: Option<Wanted>,
}

/// Restricts a restore to a part of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limit {
    /// To these files and folders.
    pub paths: Option<Vec<FilePath>>,
    /// To the writes of this session.
    pub session: Option<SessionId>,
}

impl Limit {
    /// Whether nothing is restricted.
    pub(super) fn is_none(&self) -> bool {
        self.paths.is_none() && self.session.is_none()
    }
}

/// The edits that lead from the files at one revision to those at another, within the limit. Examines only files that
/// differ.
///
/// # Errors
/// `BadInput` for a path that never existed; `NotFound` for a session of another project; `Conflict` if the result does
/// not fit the files outside the limit.
pub(super) async fn going_back(
    tx: &Tx,
    project: Member<'_>,
    (from, to): (i32, i32),
    limit: &Limit,
) -> Result<Vec<Edit>> {
    let mut steps = match limit.session {
        None => between(tx, project, from, to).await?,
        Some(session) => {
            if chat::conversation(tx, project.project(), Some(session), None).await?.is_none() {
                return Err(Error::not_found("session in this project", "sessionId"));
            }
            let made = undo::made_in(tx, project, Made::In(session), (to.min(from), from)).await?;
            let undone = undo::files(tx, project).await?;
            let taking = TakeBack { revisions: &made, undone: Some(&undone), at: from, paths: limit.paths.as_deref() };
            take_back(tx, project, taking, "sessionId").await?.steps
        }
    };
    if limit.is_none() {
        return edits(tx, project.project(), steps).await;
    }
    let states = FileStates::at(tx, project, from).await?;
    if let Some(paths) = &limit.paths {
        check_known(tx, project, paths, &steps, &states).await?;
        steps = within(steps, paths);
    }
    let edits = edits(tx, project.project(), steps).await?;
    check_tree(&states, &edits, if limit.paths.is_some() { "paths" } else { "sessionId" })?;
    Ok(edits)
}

/// The result of [`going_back`] without a limit for each of these projects, between two revisions. Restored deleted
/// files are shown as new ones.
pub(super) async fn previews(tx: &Tx, wanted: &[(Member<'_>, (i32, i32))]) -> Result<Vec<Vec<Edit>>> {
    let steps = between_each(tx, wanted).await?;
    Ok(steps.into_iter().map(|steps| edits_of(steps, HashMap::new())).collect())
}

/// The steps from the files at one revision to those at another.
async fn between(tx: &Tx, project: Member<'_>, from: i32, to: i32) -> Result<Vec<Step>> {
    Ok(between_each(tx, &[(project, (from, to))]).await?.pop().unwrap_or_default())
}

async fn between_each(tx: &Tx, wanted: &[(Member<'_>, (i32, i32))]) -> Result<Vec<Vec<Step>>> {
    fn end(project: Member<'_>, at: i32, other: i32) -> StatesAt<'_> {
        let end = if at <= other { End::Start } else { End::End };
        StatesAt { project, after: at.min(other), until: at.max(other), end }
    }
    let from: Vec<_> = wanted.iter().map(|(project, (from, to))| end(*project, *from, *to)).collect();
    let to: Vec<_> = wanted.iter().map(|(project, (from, to))| end(*project, *to, *from)).collect();
    let mut steps: Vec<BTreeMap<FileId, Step>> = wanted.iter().map(|_| BTreeMap::new()).collect();
    fn step(steps: &mut [BTreeMap<FileId, Step>], place: usize, id: FileId) -> Option<&mut Step> {
        Some(steps.get_mut(place)?.entry(id).or_insert_with(|| Step { file: Some(id), now: None, to: None }))
    }
    for (place, state) in file::states_of_each(tx, &from).await? {
        if let Some(step) = step(&mut steps, place, state.file.id) {
            step.now = Some(state);
        }
    }
    for (place, state) in file::states_of_each(tx, &to).await? {
        if let Some(step) = step(&mut steps, place, state.file.id) {
            step.to = Wanted::of(&state);
        }
    }
    Ok(steps.into_iter().map(|steps| steps.into_values().collect()).collect())
}

/// Refuses paths that never existed: they are probably misspelt.
async fn check_known(
    tx: &Tx,
    project: Member<'_>,
    paths: &[FilePath],
    steps: &[Step],
    states: &FileStates,
) -> Result<()> {
    let targets = steps.iter().filter_map(|step| step.to.as_ref().map(|to| &to.path));
    let known: Vec<&FilePath> = states.by_path.keys().chain(targets).collect();
    for (at, path) in paths.iter().enumerate() {
        let is_known = known.iter().any(|known| *known == path || known.is_under(path));
        if !is_known && !file_snapshot::was_ever(tx, project, path).await? {
            let message = format!("There has never been anything at {:?}.", path.as_str());
            return Err(Error::bad_input(format!("paths[{at}]"), message));
        }
    }
    Ok(())
}

/// Restricts steps to writes at these paths and below them. Everything else is unchanged.
fn within(steps: Vec<Step>, paths: &[FilePath]) -> Vec<Step> {
    let chosen = |path: &FilePath| path.is_in(paths);
    let (mut kept, mut copies) = (Vec::new(), Vec::new());
    for step in steps {
        let goes = step.now.as_ref().is_some_and(|now| chosen(&now.file.path));
        let comes = step.to.as_ref().is_some_and(|to| chosen(&to.path));
        match (goes, comes) {
            (false, false) => {}
            (true, true) => kept.push(step),
            // It was moved out of the paths, or did not exist.
            (true, false) => kept.push(Step { to: None, ..step }),
            (false, true) if step.now.is_none() => kept.push(step),
            // It is now outside the paths and stays there: create another file here.
            (false, true) => copies.extend(step.to),
        }
    }
    for copy in copies {
        // If a file is at the path now, it gets the old content.
        let here = kept.iter_mut().find(|step| {
            let now = step.now.as_ref().map(|now| &now.file);
            step.to.is_none() && now.is_some_and(|now| now.path == copy.path && now.file_type == copy.file_type)
        });
        let copy = Wanted { restores: None, ..copy };
        match here {
            Some(step) => step.to = Some(copy),
            None => kept.push(Step { file: None, now: None, to: Some(copy) }),
        }
    }
    kept
}

/// The edits for steps. Reads the deleted files that are restored.
async fn edits(tx: &Tx, project: ProjectId, steps: Vec<Step>) -> Result<Vec<Edit>> {
    let back = |step: &Step| step.file.filter(|_| step.now.is_none() && step.to.is_some());
    let deleted: Vec<FileId> = steps.iter().filter_map(back).collect();
    let deleted = if deleted.is_empty() {
        HashMap::new()
    } else {
        file::states_by_ids(tx, project, &deleted).await?.into_iter().map(|state| (state.file.id, state)).collect()
    };
    Ok(edits_of(steps, deleted))
}

/// The edits, given the deleted files to restore.
fn edits_of(steps: Vec<Step>, mut deleted: HashMap<FileId, FileState>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for Step { file, now, to } in steps {
        edits.extend(match (now, to) {
            (None, None) => None,
            (Some(now), None) => Some(Edit::delete(now)),
            (None, Some(to)) => {
                let state = file.and_then(|file| deleted.remove(&file));
                let made = Edit::create(to.path, to.file_type, to.language, to.content);
                Some(Edit { restores: state.as_ref().and(to.restores), state, mode: Some(to.mode), ..made })
            }
            (Some(now), Some(to)) => {
                let is_same = now.file.hash == to.hash;
                let content = if is_same { Content::Same } else { to.content };
                let restores = to.restores.filter(|_| !is_same);
                let (moves, changes) = (now.file.path != to.path, now.file.mode != to.mode);
                let edit = if moves { Edit::rename(now, to.path, content) } else { Edit::update(now, content) };
                (moves || changes || !is_same).then_some(Edit { mode: Some(to.mode), restores, ..edit })
            }
        });
    }
    edits
}

/// The inverse of changes of files.
#[derive(Default)]
pub(super) struct Inverse {
    pub(super) edits: Vec<Edit>,
    /// The changes, by revision and file, without those that had no effect any more.
    pub(super) changes: Vec<(i32, FileId)>,
    /// Whether all changes were only of languages, which have no history.
    pub(super) only_languages: bool,
}

/// Undoes, newest first, the changes of files by revisions, and keeps later changes. Leaves out changes in `undone`.
///
/// # Errors
/// `Conflict` of the argument `field` if that is impossible, with the files and a merge.
pub(super) async fn taking_back(
    tx: &Tx,
    project: Member<'_>,
    revisions: &[i32],
    undone: Option<&UndoneFiles>,
    at: i32,
    field: &'static str,
) -> Result<Inverse> {
    let taking = TakeBack { revisions, undone, at, paths: None };
    let TakenBack { steps, changes, only_languages } = take_back(tx, project, taking, field).await?;
    Ok(Inverse { edits: edits(tx, project.project(), steps).await?, changes, only_languages })
}

/// Steps that undo changes.
#[derive(Default)]
struct TakenBack {
    steps: Vec<Step>,
    changes: Vec<(i32, FileId)>,
    only_languages: bool,
}

/// The changes to undo.
struct TakeBack<'t> {
    /// The revisions that made them.
    revisions: &'t [i32],
    /// Changes to leave out.
    undone: Option<&'t UndoneFiles>,
    /// The revision to start from.
    at: i32,
    /// Leaves out files that are not at these paths, before and after; `None` leaves out no file.
    paths: Option<&'t [FilePath]>,
}

async fn take_back(tx: &Tx, project: Member<'_>, taking: TakeBack<'_>, field: &'static str) -> Result<TakenBack> {
    let TakeBack { revisions, undone, at, paths } = taking;
    let mut changes = file::changed_at(tx, project, revisions).await?;
    changes.retain(|change| undone.is_none_or(|undone| !undone.has(change.revision, change.file)));
    changes.reverse();
    let files: HashSet<FileId> = changes.iter().map(|change| change.file).collect();
    if files.is_empty() {
        return Ok(TakenBack::default());
    }
    let files: Vec<FileId> = files.into_iter().collect();
    let mut now = file::heads_by_ids_at(tx, project, &files, at).await?;
    if let Some(paths) = paths {
        let chosen = at_paths(&changes, &now, paths);
        changes.retain(|change| chosen.contains(&change.file));
        now.retain(|state| chosen.contains(&state.file.id));
    }
    let mut stored: Vec<BlobRef> = Vec::new();
    for state in changes.iter().flat_map(|change| change.before.iter().chain([&change.after])).chain(&now) {
        stored.extend(state.blob);
    }
    let chains = blob::of_project(tx, project.project(), &stored, &[]).await?;
    let bytes = chains.size();
    let (taken, conflicts) = heavy::run(bytes, move || TakingBack::new(now, chains).run(&changes)).await?;
    if conflicts.is_empty() {
        return Ok(taken);
    }
    Err(overlap(conflicts, revisions, field))
}

/// The files that are at these paths before or after their changes are undone, or would be if nothing were in the way.
/// The changes are the newest first.
fn at_paths(changes: &[ChangedAt], now: &[FileState], paths: &[FilePath]) -> HashSet<FileId> {
    let now: HashMap<FileId, &FileState> = now.iter().map(|state| (state.file.id, state)).collect();
    let mut of_files: HashMap<FileId, Vec<&ChangedAt>> = HashMap::new();
    for change in changes {
        of_files.entry(change.file).or_default().push(change);
    }
    of_files.retain(|file, changes| reaches(changes, now.get(file).copied(), paths));
    of_files.into_keys().collect()
}

/// Whether one file is among those of [`at_paths`].
fn reaches(changes: &[&ChangedAt], now: Option<&FileState>, paths: &[FilePath]) -> bool {
    let live = |state: &FileState| (!state.file.is_deleted).then(|| state.file.path.clone());
    let mut path = now.and_then(live);
    if path.as_ref().is_some_and(|path| path.is_in(paths)) {
        return true;
    }
    let mut steps = changes.iter().map(|change| (change.before.as_ref().and_then(live), live(&change.after)));
    while let Some((before, after)) = steps.next() {
        if path == before {
            continue;
        }
        let undone = match (&before, &after, &path) {
            _ if path == after => Some(before.clone()),
            (Some(before), Some(after), Some(now)) => three_way(after, now, before).cloned().map(Some),
            _ => None,
        };
        let Some(undone) = undone else {
            // The path is in the way. Any earlier path could be the one to restore.
            let mut earlier = steps.filter_map(|(before, _)| before).chain(before);
            return now.is_some_and(|now| now.file.path.is_in(paths)) || earlier.any(|path| path.is_in(paths));
        };
        path = undone;
    }
    path.is_some_and(|path| path.is_in(paths))
}

fn overlap(files: Vec<FileConflict>, revisions: &[i32], field: &'static str) -> Error {
    let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
    let made: Vec<String> = revisions.iter().rev().map(ToString::to_string).collect();
    let made = format!("revision{} {}", if made.len() == 1 { "" } else { "s" }, made.join(", "));
    let only = if let [file] = files.as_slice() { Some(file.clone()) } else { None };
    Error::Conflict(Box::new(Conflict {
        message: format!("Files that {made} changed have been changed since: {}.", paths.join(", ")),
        field: Some(field),
        current_version: only.as_ref().and_then(|file| file.current_version),
        current_hash: only.as_ref().and_then(|file| file.current_hash.clone()),
        merge: only.and_then(|file| file.merge),
        paths,
        files,
        ..Conflict::default()
    }))
}

/// Files during an undo.
struct TakingBack {
    /// The live files.
    now: HashMap<FileId, FileState>,
    /// The target state of each file.
    to: BTreeMap<FileId, Option<Wanted>>,
    conflicts: BTreeMap<FileId, (String, Option<Merge>)>,
    changes: Vec<(i32, FileId)>,
    chains: Chains,
    steps: u64,
}

impl TakingBack {
    fn new(now: Vec<FileState>, chains: Chains) -> Self {
        let to = now.iter().map(|state| (state.file.id, Wanted::of(state))).collect();
        let now = now.into_iter().map(|state| (state.file.id, state)).collect();
        Self { now, to, conflicts: BTreeMap::new(), changes: Vec::new(), chains, steps: MAX_STEPS }
    }

    fn run(mut self, changes: &[ChangedAt]) -> (TakenBack, Vec<FileConflict>) {
        let mut only_languages = true;
        for change in changes {
            let (before, after) = (change.before.as_ref().and_then(Wanted::of), Wanted::of(&change.after));
            if same(before.as_ref(), after.as_ref()) {
                // Only the language changed. It has no history, so it is never in the way.
                self.changes.push((change.revision, change.file));
                continue;
            }
            only_languages = false;
            let now = self.to.get(&change.file).cloned().flatten();
            if same(now.as_ref(), after.as_ref()) {
                self.to.insert(change.file, before);
                self.changes.push((change.revision, change.file));
            } else if !same(now.as_ref(), before.as_ref()) {
                match self.merge(before, after, now) {
                    Ok(merged) => {
                        self.to.insert(change.file, Some(merged));
                        self.changes.push((change.revision, change.file));
                    }
                    Err(merge) => {
                        let path = self.now.get(&change.file).map_or(&change.after.file.path, |now| &now.file.path);
                        self.conflicts.entry(change.file).or_insert_with(|| (path.as_str().to_owned(), merge));
                    }
                }
            }
        }
        let Self { mut now, to, conflicts, changes, .. } = self;
        let mut conflicts: Vec<FileConflict> = conflicts
            .into_iter()
            .map(|(id, (path, merge))| {
                let live = now.get(&id).filter(|state| !state.file.is_deleted).map(|state| &state.file);
                let current_hash = live.and_then(|file| file.hash).map(hex::encode);
                FileConflict { path, current_version: live.map(File::number), current_hash, merge }
            })
            .collect();
        conflicts.sort_by(|a, b| a.path.cmp(&b.path));
        let steps = to.into_iter().map(|(id, to)| {
            let now = now.remove(&id).filter(|state| !state.file.is_deleted);
            Step { file: Some(id), now, to }
        });
        (TakenBack { steps: steps.collect(), changes, only_languages }, conflicts)
    }

    /// The state of a file after undoing a change of it and keeping later ones.
    fn merge(
        &mut self,
        before: Option<Wanted>,
        after: Option<Wanted>,
        now: Option<Wanted>,
    ) -> std::result::Result<Wanted, Option<Merge>> {
        // The file of the change was replaced or deleted since.
        let (Some(before), Some(after), Some(now)) = (before, after, now) else { return Err(None) };
        let path = three_way(&after.path, &now.path, &before.path).cloned().ok_or(None)?;
        if [&before, &after, &now].iter().any(|state| state.mode == FileMode::Symlink) {
            // As in git, mode and target of a link go together.
            let [of_before, of_after, of_now] = [&before, &after, &now].map(|state| (state.mode, state.hash));
            let (mode, _) = three_way(&of_after, &of_now, &of_before).copied().ok_or(None)?;
            let language = now.language.clone();
            return Ok(Wanted { path, mode, language, ..if of_now == of_after { before } else { now } });
        }
        let mode = three_way(&after.mode, &now.mode, &before.mode).copied().ok_or(None)?;
        let kept = Wanted { path, mode, ..now.clone() };
        if before.hash == after.hash || before.hash == now.hash {
            return Ok(kept);
        }
        if now.hash == after.hash {
            return Ok(Wanted { hash: before.hash, content: before.content, restores: before.restores, ..kept });
        }
        let merged = self.merge_texts(&after, &now, &before).ok_or(None)?;
        if !merged.clean {
            return Err(Some(merged));
        }
        let content = Content::bytes(merged.into_bytes());
        let hash = content.hash();
        Ok(Wanted { hash, content, restores: before.restores, ..kept })
    }

    fn merge_texts(&mut self, base: &Wanted, now: &Wanted, sent: &Wanted) -> Option<Merge> {
        let [base, now, sent] = [base, now, sent].map(|side| self.bytes(&side.content));
        let (base, now, sent) = (base?, now?, sent?);
        merge_contents(&base, &now, &sent, &mut self.steps)
    }

    fn bytes(&mut self, content: &Content) -> Option<Arc<Vec<u8>>> {
        match content {
            Content::Bytes(bytes, _) => Some(bytes.clone()),
            Content::Blob(blob) => self.chains.decode_if_sound(blob.id),
            Content::None | Content::Same => None,
        }
    }
}

/// The changed value of two; `None` if both changed differently.
fn three_way<'v, T: PartialEq>(base: &T, one: &'v T, other: &'v T) -> Option<&'v T> {
    match (one == base, other == base) {
        (true, _) => Some(other),
        (_, true) => Some(one),
        _ => (one == other).then_some(one),
    }
}
