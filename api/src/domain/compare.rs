//! Differences: between the two sides of a change, and between two revisions.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::edit::{Passage, arranged};
use super::file::{Contents, contents};
use super::file_edit::{Content, Edit};
use super::{Member, Services, Tx, heavy};
use crate::model::diff::{self, Stat};
use crate::model::enums::ChangeType;
use crate::model::error::{Error, Result};
use crate::model::file::{File, FileMode, FileSnapshot, Hash};
use crate::model::ids::{FileId, ProjectId};
use crate::model::json;
use crate::model::patch::{self, Side};
use crate::model::path::FilePath;
use crate::model::text::{Coding, decoded, shown};
use crate::storage::file::{self, End};

/// Size of the largest diff that is cached, in bytes.
const MAX_KEPT_DIFF: usize = 1024 * 1024;

/// The unified diff of a change that the caller has read; `None` if a side is not text. Reads the sides only if the
/// diff is not cached.
///
/// # Errors
/// As reading the sides; `Internal` if the diff panics.
pub async fn unified(
    services: &Services,
    change: &FileSnapshot,
    sides: impl Future<Output = Result<Sides>>,
) -> Result<Option<String>> {
    if let Some(diff) = services.db.kept_diff(change) {
        return Ok(Some(diff.as_ref().to_owned()));
    }
    let diff = sides.await?.compare(|old, new, sides| sides.diff(old, new)).await?;
    if let Some(diff) = diff.as_ref().filter(|diff| diff.len() <= MAX_KEPT_DIFF) {
        services.db.keep_diff(change, diff);
    }
    Ok(diff)
}

/// The two sides of a change, with their paths.
pub struct Sides {
    /// The path before; `None` if the file did not exist.
    pub old_path: Option<FilePath>,
    /// The path after; `None` if the file does not exist.
    pub new_path: Option<FilePath>,
    /// The mode before.
    pub old_mode: FileMode,
    /// The mode after.
    pub new_mode: FileMode,
    /// The content before.
    pub old: Option<Arc<Vec<u8>>>,
    /// The content after.
    pub new: Option<Arc<Vec<u8>>>,
    /// Whether another change of the same set takes the old path or leaves the new path.
    pub meets_others: bool,
}

impl Sides {
    /// Size of both sides in bytes.
    pub fn size(&self) -> usize {
        [&self.old, &self.new].into_iter().flatten().map(|bytes| bytes.len()).sum()
    }

    /// The unified diff of both texts.
    fn diff(&self, old: &str, new: &str) -> String {
        // git and `patch` do not know folders.
        if self.old.is_none() && self.new.is_none() {
            return String::new();
        }
        let codings = [&self.old, &self.new].into_iter().flatten().filter_map(|bytes| Some(decoded(bytes)?.1));
        let codings: BTreeSet<&str> = codings.filter(|coding| *coding != Coding::UTF_8).map(Coding::name).collect();
        let mut text = String::new();
        if !codings.is_empty() {
            // `git apply` and `patch` skip this line, and then find that the bytes differ.
            let codings: Vec<&str> = codings.into_iter().collect();
            text = format!("Shown in UTF-8, and no patch of the bytes: encoding {}\n", codings.join(", "));
        }
        let (from, to) = (self.old_path.as_ref(), self.new_path.as_ref());
        let from = from.map(|path| Side { path: path.as_str(), mode: self.old_mode });
        let to = to.map(|path| Side { path: path.as_str(), mode: self.new_mode });
        let diff = match self.meets_others {
            true => patch::unified_in_set(old, new, from, to),
            false => patch::unified(old, new, from, to),
        };
        if diff.is_empty() || text.is_empty() { diff } else { text + &diff }
    }

    /// The changes line by line, as JSON; `None` if a side is not text.
    ///
    /// # Errors
    /// `Internal` if the diff panics.
    pub async fn line_changes(self) -> Result<Option<String>> {
        let changes = self.compare(|old, new, _| json::exact(&diff::line_changes(old, new))).await?;
        changes.transpose().map_err(Error::internal)
    }

    /// The number of added and removed lines; 0 if a side is not text.
    ///
    /// # Errors
    /// `Internal` if the diff panics.
    pub async fn stat(self) -> Result<Stat> {
        Ok(self.compare(|old, new, _| diff::stat(old, new)).await?.unwrap_or_default())
    }

    async fn compare<T: Send + 'static>(
        self,
        compare: impl FnOnce(&str, &str, &Self) -> T + Send + 'static,
    ) -> Result<Option<T>> {
        let size = self.size();
        let compare = move || {
            let side = |bytes: &Option<Arc<Vec<u8>>>| bytes.clone().unwrap_or_default();
            let (old, new) = (side(&self.old), side(&self.new));
            Some(compare(&shown(&old)?, &shown(&new)?, &self))
        };
        heavy::run(size, compare).await
    }
}

/// The difference of one file between two revisions.
#[derive(Clone, Debug)]
pub struct FileDiff {
    /// The path at the second revision; for a deletion, at the first.
    pub path: FilePath,
    /// The path of a renamed file at the first revision.
    pub old_path: Option<FilePath>,
    /// The kind of change.
    pub change_type: ChangeType,
    /// The unified diff; `None` if a side is not text.
    pub diff: Option<String>,
    /// Lines added.
    pub additions: i32,
    /// Lines removed.
    pub deletions: i32,
}

/// A file at the first and at the second revision, if it exists there.
type Pair = (Option<File>, Option<File>);

/// Two revisions of a project to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Between {
    /// The project.
    pub project: ProjectId,
    /// The first revision.
    pub from: i32,
    /// The second.
    pub to: i32,
    /// Whether to compare contents; otherwise there are no diffs and line counts.
    pub with_contents: bool,
}

/// The differences for each of these, by path, of all files or of those at or below one of the paths, before or after.
/// Reads only files that changed in between. A file with damaged content is an error of its own, which leaves the others
/// readable.
pub async fn diffs(
    tx: &Tx,
    wanted: &[(Member<'_>, Between)],
    paths: Option<&[FilePath]>,
) -> Result<Vec<Result<Vec<FileDiff>>>> {
    let is_chosen = |file: &File| paths.is_none_or(|paths| file.path.is_in(paths));
    let side = |at: fn(&Between) -> i32| -> Vec<_> {
        let held = wanted.iter().map(|(project, between)| {
            let (after, until) = (between.from.min(between.to), between.from.max(between.to));
            let end = if at(between) == after { End::Start } else { End::End };
            file::StatesAt { project: *project, after, until, end }
        });
        held.collect()
    };
    let before = file::states_of_each(tx, &side(|between| between.from)).await?;
    let after = file::states_of_each(tx, &side(|between| between.to)).await?;
    let mut pairs: Vec<HashMap<FileId, Pair>> = vec![HashMap::new(); wanted.len()];
    for (place, state) in before {
        if let Some(pairs) = pairs.get_mut(place) {
            let id = state.file.id;
            pairs.entry(id).or_default().0 = Some(state.file);
        }
    }
    for (place, state) in after {
        if let Some(pairs) = pairs.get_mut(place) {
            let id = state.file.id;
            pairs.entry(id).or_default().1 = Some(state.file);
        }
    }
    let mut hashes: HashSet<(Member<'_>, Hash)> = HashSet::new();
    for (pairs, (member, between)) in pairs.iter_mut().zip(wanted) {
        pairs.retain(|_, (old, new)| match (old, new) {
            (Some(old), Some(new)) => (old.hash, &old.path, old.mode) != (new.hash, &new.path, new.mode),
            _ => true,
        });
        pairs.retain(|_, (old, new)| [old, new].into_iter().flatten().any(|file| is_chosen(file)));
        if between.with_contents {
            let files = pairs.values().flat_map(|(old, new)| [old, new]).flatten();
            hashes.extend(files.filter_map(|file| Some((*member, file.hash?))));
        }
    }
    let hashes: Vec<_> = hashes.into_iter().collect();
    let contents = if hashes.is_empty() { Contents::new() } else { contents(tx, &hashes).await? };
    let mut diffs = Vec::with_capacity(wanted.len());
    for (pairs, (_, between)) in pairs.into_iter().zip(wanted) {
        diffs.push(diff_pairs(pairs.into_values(), *between, &contents).await);
    }
    Ok(diffs)
}

async fn diff_pairs(pairs: impl Iterator<Item = Pair>, between: Between, contents: &Contents) -> Result<Vec<FileDiff>> {
    let side = |file: &Option<File>| {
        file.as_ref().and_then(|file| contents.get(&(between.project, file.hash?)).cloned()).transpose()
    };
    fn passage((old, new): &Pair) -> Passage<'_> {
        Passage { from: old.as_ref().map(|file| &file.path), to: new.as_ref().map(|file| &file.path) }
    }
    let mut pairs: Vec<Pair> = pairs.collect();
    pairs.sort_by(|a, b| {
        let (a, b) = (passage(a), passage(b));
        (a.path(), a.to.is_some()).cmp(&(b.path(), b.to.is_some()))
    });
    let pairs = arranged(pairs, passage);
    let meeting: Vec<bool> = meeting(pairs.iter().map(passage));
    let mut diffs = Vec::with_capacity(pairs.len());
    for ((old, new), meets_others) in pairs.into_iter().zip(meeting) {
        let sides = Sides {
            old: side(&old)?,
            new: side(&new)?,
            old_path: old.as_ref().map(|file| file.path.clone()),
            new_path: new.as_ref().map(|file| file.path.clone()),
            old_mode: old.map(|file| file.mode).unwrap_or_default(),
            new_mode: new.map(|file| file.mode).unwrap_or_default(),
            meets_others,
        };
        diffs.extend(sides.file_diff(between.with_contents).await?);
    }
    Ok(diffs)
}

/// For each change of a set: whether another change takes the path that its file left, or leaves the path that it
/// takes.
fn meeting<'p>(passages: impl Iterator<Item = Passage<'p>> + Clone) -> Vec<bool> {
    let left: HashSet<&FilePath> = passages.clone().filter_map(|passage| passage.left()).collect();
    let reached: HashSet<&FilePath> = passages.clone().filter_map(|passage| passage.reached()).collect();
    let meets = |passage: Passage<'_>| {
        passage.left().is_some_and(|path| reached.contains(path))
            || passage.reached().is_some_and(|path| left.contains(path))
    };
    passages.map(meets).collect()
}

/// The changes that edits would make, in the form of [`diffs`] and in the order of the edits, with or without contents.
pub(super) async fn of_edits(tx: &Tx, wanted: &[(Member<'_>, Vec<Edit>, bool)]) -> Result<Vec<Result<Vec<FileDiff>>>> {
    let mut hashes: HashSet<(Member<'_>, Hash)> = HashSet::new();
    for (project, edits, _) in wanted.iter().filter(|(.., with_contents)| *with_contents) {
        hashes.extend(edits.iter().filter_map(|edit| Some((*project, live(edit)?.hash?))));
        hashes.extend(edits.iter().filter_map(|edit| Some((*project, edit.content.hash()?))));
    }
    let keys: Vec<_> = hashes.into_iter().collect();
    let contents = if keys.is_empty() { Contents::new() } else { contents(tx, &keys).await? };
    let mut all = Vec::with_capacity(wanted.len());
    for (project, edits, with_contents) in wanted {
        all.push(diff_edits(project.project(), edits, *with_contents, &contents).await);
    }
    Ok(all)
}

/// The file that an edit changes, if it is live.
fn live(edit: &Edit) -> Option<&File> {
    edit.state.as_ref().map(|state| &state.file).filter(|file| !file.is_deleted)
}

async fn diff_edits(
    project: ProjectId,
    edits: &[Edit],
    with_contents: bool,
    contents: &Contents,
) -> Result<Vec<FileDiff>> {
    let read = |hash: Option<Hash>| hash.and_then(|hash| contents.get(&(project, hash)).cloned()).transpose();
    let meeting: Vec<bool> = meeting(edits.iter().map(|edit| edit.passage()));
    let mut diffs = Vec::with_capacity(edits.len());
    for (edit, meets_others) in edits.iter().zip(meeting) {
        let old = live(edit);
        let stays = edit.change_type != ChangeType::Delete;
        let old_hash = old.and_then(|file| file.hash);
        let sides = Sides {
            old: read(old_hash)?,
            new: match &edit.content {
                Content::Same => read(old_hash)?,
                Content::Bytes(bytes, _) => Some(bytes.clone()),
                content => read(content.hash())?,
            },
            old_path: old.map(|file| file.path.clone()),
            new_path: stays.then(|| edit.path.clone()),
            old_mode: old.map(|file| file.mode).unwrap_or_default(),
            new_mode: edit.mode_after(),
            meets_others,
        };
        diffs.extend(sides.file_diff(with_contents).await?);
    }
    Ok(diffs)
}

impl Sides {
    /// The difference, with lines if `with_contents`; `None` if neither side exists.
    async fn file_diff(self, with_contents: bool) -> Result<Option<FileDiff>> {
        let (change_type, path) = match (self.old_path.clone(), self.new_path.clone()) {
            (None, Some(path)) => (ChangeType::Create, path),
            (Some(path), None) => (ChangeType::Delete, path),
            (Some(old), Some(path)) if old == path => (ChangeType::Update, path),
            (Some(_), Some(path)) => (ChangeType::Rename, path),
            (None, None) => return Ok(None),
        };
        let old_path = self.old_path.clone().filter(|_| change_type == ChangeType::Rename);
        let compared = if with_contents {
            self.compare(|old, new, sides| (sides.diff(old, new), diff::stat(old, new))).await?
        } else {
            None
        };
        let (diff, stat) = compared.map_or((None, Stat::default()), |(diff, stat)| (Some(diff), stat));
        let (additions, deletions) = (stat.additions, stat.deletions);
        Ok(Some(FileDiff { path, old_path, change_type, diff, additions, deletions }))
    }
}
