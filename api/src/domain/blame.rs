//! The authors of lines.

use std::collections::{HashMap, HashSet};

use futures::future::BoxFuture;

use super::file::{Contents, contents};
use super::{Member, Tx, access, heavy};
use crate::model::diff::{self, LineOp, count_lines};
use crate::model::enums::ChangeType;
use crate::model::error::Result;
use crate::model::file::{FileSnapshot, Hash};
use crate::model::ids::{FileId, FileSnapshotId, ProjectId};
use crate::model::text::shown;
use crate::storage::file_snapshot::{self, VersionOf};

/// Lines that one version of a file wrote.
#[derive(Clone, Debug)]
pub struct BlameRange {
    /// The first line, from 1.
    pub start_line: usize,
    /// The last line.
    pub end_line: usize,
    /// The version.
    pub version: FileSnapshot,
    /// Whether an older version can have written them, which was not read.
    pub is_boundary: bool,
}

/// Maximum number of versions that [`blame`] reads; older lines are attributed to the oldest of them.
const BLAMED_VERSIONS: i32 = 1_000;

/// Maximum size of the contents that [`blame`] holds at once.
const BLAMED_BYTES: usize = 16 * 1024 * 1024;

/// Maximum number of steps that [`blame`] takes from a restored content to the file from which it was copied.
const BLAMED_COPIES: u32 = 8;

/// The version that wrote each line of these files, each up to a version; nothing for a file that is not text. A file
/// with damaged content is an error of its own. Contents are read together, one statement per 16 MiB.
pub async fn blame(tx: &Tx, wanted: &[(Member<'_>, (FileId, i32))]) -> Result<Vec<Result<Vec<BlameRange>>>> {
    blame_with_copies(tx, wanted, BLAMED_COPIES).await
}

fn blame_with_copies<'t>(
    tx: &'t Tx,
    wanted: &'t [(Member<'t>, (FileId, i32))],
    copies: u32,
) -> BoxFuture<'t, Result<Vec<Result<Vec<BlameRange>>>>> {
    Box::pin(async move {
        let mut files: Vec<History> = wanted.iter().map(|_| History::default()).collect();
        let mut restored = Vec::new();
        for VersionOf { place, version, is_restored } in
            file_snapshot::versions_until(tx, wanted, BLAMED_VERSIONS).await?
        {
            let (Some(file), Some((member, _))) = (files.get_mut(place), wanted.get(place)) else { continue };
            if is_restored && version.restores.is_none() && version.hash.is_some() && copies > 0 {
                restored.push((*member, place, file.versions.len(), version.id));
            }
            file.versions.push(version);
        }
        read_copies(tx, &mut files, &restored, copies).await?;
        let mut lines: Vec<Result<Lines>> = files.iter().map(|file| Ok(Lines::of(&file.versions))).collect();
        let mut steps: Vec<Step> = Vec::new();
        let mut bytes = 0;
        for (place, file) in files.iter_mut().enumerate() {
            for (at, version) in file.versions.iter().enumerate() {
                // A deletion has no lines; whether the old lines return depends on the next version.
                if version.change_type == ChangeType::Delete {
                    continue;
                }
                let restored = version.restores.and_then(|number| place_of(&file.versions, number));
                let earlier = restored.and_then(|at| file.versions.get(at));
                let earlier = earlier.map(|earlier| (earlier.version, earlier.hash));
                let size = usize::try_from(version.size_bytes).unwrap_or_default();
                if bytes + size > BLAMED_BYTES && !steps.is_empty() {
                    lines = follow(tx, lines, std::mem::take(&mut steps)).await?;
                    bytes = 0;
                }
                bytes += size;
                let copied = file.copied.remove(&at);
                steps.push(Step { file: place, at, version: version.clone(), earlier, copied });
            }
        }
        lines = follow(tx, lines, steps).await?;
        let blamed = lines.into_iter().zip(files);
        Ok(blamed
            .map(|(lines, file)| if file.is_deleted() { Ok(Vec::new()) } else { Ok(ranges(lines?.writers, &file)) })
            .collect())
    })
}

/// The versions of a file, and of other files whose lines they contain.
#[derive(Default)]
struct History {
    versions: Vec<FileSnapshot>,
    /// Versions of other files, and whether they are boundaries. Their indexes follow those of `versions`.
    others: Vec<(FileSnapshot, bool)>,
    /// The writers of the lines of copied contents, by the index of the version.
    copied: HashMap<usize, Vec<u32>>,
}

impl History {
    /// The version with an index, and whether it is a boundary.
    fn version(&self, at: usize) -> Option<(&FileSnapshot, bool)> {
        match self.versions.get(at) {
            Some(version) => Some((version, at == 0 && version.change_type != ChangeType::Create)),
            None => {
                let (version, is_boundary) = self.others.get(at.checked_sub(self.versions.len())?)?;
                Some((version, *is_boundary))
            }
        }
    }

    fn is_deleted(&self) -> bool {
        self.versions.last().is_none_or(|last| last.change_type == ChangeType::Delete)
    }

    /// Adds the lines of another file, which the version at an index copies.
    fn copy(&mut self, at: usize, lines: Vec<BlameRange>) {
        let mut writers = Vec::new();
        for BlameRange { start_line, end_line, version, is_boundary } in lines {
            let known = self.others.iter().position(|(other, _)| other.id == version.id);
            let other = known.unwrap_or_else(|| {
                self.others.push((version, is_boundary));
                self.others.len() - 1
            });
            writers.extend(std::iter::repeat_n(index(self.versions.len() + other), end_line + 1 - start_line));
        }
        self.copied.insert(at, writers);
    }
}

/// Reads the lines of the files that restored contents were copied from. Each of `restored` is a version with the index
/// of its file and its index in the file.
async fn read_copies(
    tx: &Tx,
    files: &mut [History],
    restored: &[(Member<'_>, usize, usize, FileSnapshotId)],
    copies: u32,
) -> Result<()> {
    if restored.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = restored.iter().map(|(member, _, _, id)| (*member, *id)).collect();
    let sources = file_snapshot::copied(tx, &ids).await?;
    let found = restored.iter().filter_map(|(member, place, at, id)| Some((*place, *at, (*member, *sources.get(id)?))));
    let (places, wanted): (Vec<_>, Vec<_>) = found.map(|(place, at, source)| ((place, at), source)).unzip();
    if wanted.is_empty() {
        return Ok(());
    }
    for ((place, at), lines) in places.into_iter().zip(blame_with_copies(tx, &wanted, copies - 1).await?) {
        if let (Some(file), Ok(lines)) = (files.get_mut(place), lines) {
            file.copy(at, lines);
        }
    }
    Ok(())
}

/// The index of the version with a number.
fn place_of(versions: &[FileSnapshot], number: i32) -> Option<usize> {
    let first = versions.first()?.version;
    usize::try_from(number.checked_sub(first)?).ok().filter(|at| *at < versions.len())
}

/// The lines of a file at one of its versions.
#[derive(Default)]
struct Lines {
    text: String,
    /// For each line, the index of the version that wrote it.
    writers: Vec<u32>,
    /// The same for earlier versions that a later one restores, by number.
    kept: HashMap<i32, Vec<u32>>,
}

impl Lines {
    fn of(versions: &[FileSnapshot]) -> Self {
        let kept = versions.iter().filter_map(|version| Some((version.restores?, Vec::new()))).collect();
        Self { kept, ..Self::default() }
    }

    /// Advances to the text of a step. Copied lines have their own writers, restored lines get the writers of the
    /// earlier version, and other lines that existed before keep theirs.
    fn go_on(&mut self, text: &str, step: &Step, earlier: Option<(i32, &str)>) {
        let inherited = || inherit(&self.writers, &self.text, text, index(step.at));
        let mut writers = step.copied.clone().unwrap_or_else(inherited);
        let earlier = earlier.and_then(|(number, old)| Some((self.kept.get(&number)?, old)));
        if let Some((kept, old)) = earlier.filter(|(kept, _)| !kept.is_empty()) {
            /// Not an index of a version.
            const NOBODY: u32 = u32::MAX;
            let restored = inherit(kept, old, text, NOBODY);
            for (writer, restored) in writers.iter_mut().zip(restored) {
                if restored != NOBODY {
                    *writer = restored;
                }
            }
        }
        if let Some(kept) = self.kept.get_mut(&step.version.version) {
            kept.clone_from(&writers);
        }
        self.writers = writers;
        text.clone_into(&mut self.text);
    }
}

/// One version of a file to advance to.
struct Step {
    /// The index of the file.
    file: usize,
    /// The index of the version in the file's list.
    at: usize,
    version: FileSnapshot,
    /// Number and content of the restored version.
    earlier: Option<(i32, Option<Hash>)>,
    /// The writers of its lines, if its content is a copy of another file's.
    copied: Option<Vec<u32>>,
}

/// Advances the lines of files through their versions.
async fn follow(tx: &Tx, mut lines: Vec<Result<Lines>>, steps: Vec<Step>) -> Result<Vec<Result<Lines>>> {
    let mut hashes: HashSet<(ProjectId, Hash)> = HashSet::new();
    for Step { version, earlier, .. } in &steps {
        let earlier = earlier.and_then(|(_, hash)| hash);
        hashes.extend([version.hash, earlier].into_iter().flatten().map(|hash| (version.project_id, hash)));
    }
    let hashes: Vec<_> = hashes.into_iter().collect();
    let sizes = steps.iter().map(|step| usize::try_from(step.version.size_bytes).unwrap_or_default());
    let _memory = tx.reserve(sizes.sum())?;
    let hashes: Vec<_> =
        access::within(tx, &hashes, |key| key.0).await?.into_iter().map(|(member, key)| (member, key.1)).collect();
    let contents = if hashes.is_empty() { Contents::new() } else { contents(tx, &hashes).await? };
    let bytes = contents.values().flatten().map(|bytes| bytes.len()).sum();
    let follow = move || {
        for step in &steps {
            let Some(file) = lines.get_mut(step.file) else { continue };
            let Ok(before) = file else { continue };
            let read = |hash: Option<Hash>| contents.get(&(step.version.project_id, hash?));
            match read(step.version.hash) {
                Some(Err(damage)) => *file = Err(damage.clone()),
                Some(Ok(bytes)) if let Some(text) = shown(bytes) => {
                    let earlier = step.earlier.and_then(|(number, hash)| Some((number, read(hash)?.as_ref().ok()?)));
                    let earlier = earlier.and_then(|(number, bytes)| Some((number, shown(bytes)?)));
                    let earlier = earlier.as_ref().map(|(number, text)| (*number, text.as_ref()));
                    before.go_on(&text, step, earlier);
                }
                // Content that is not text has no lines; all lines of the next text are new.
                _ => *before = Lines { kept: std::mem::take(&mut before.kept), ..Lines::default() },
            }
        }
        lines
    };
    heavy::run(bytes, follow).await
}

/// The index of a version. [`BLAMED_VERSIONS`] limits their number.
fn index(version: usize) -> u32 {
    u32::try_from(version).unwrap_or(u32::MAX)
}

/// Joins adjacent lines of the same version.
fn ranges(writers: Vec<u32>, file: &History) -> Vec<BlameRange> {
    let mut ranges: Vec<BlameRange> = Vec::new();
    let mut last = None;
    for (line, writer) in writers.into_iter().enumerate() {
        match ranges.last_mut() {
            Some(range) if last == Some(writer) => range.end_line = line + 1,
            _ => {
                let Some((version, is_boundary)) = file.version(writer as usize) else { continue };
                let version = version.clone();
                ranges.push(BlameRange { start_line: line + 1, end_line: line + 1, version, is_boundary });
            }
        }
        last = Some(writer);
    }
    ranges
}

/// The writers of the lines of `new`. Lines that `old` has too keep theirs.
fn inherit(writers: &[u32], old: &str, new: &str, writer: u32) -> Vec<u32> {
    let mut inherited = Vec::with_capacity(count_lines(new));
    let mut kept = 0;
    for change in diff::line_changes(old, new) {
        let start = usize::try_from(change.old_start).unwrap_or(usize::MAX).saturating_sub(1);
        let count = change.lines.count();
        inherited.extend_from_slice(writers.get(kept..start).unwrap_or_default());
        kept = kept.max(start);
        match change.op {
            LineOp::Equal => {
                inherited.extend_from_slice(writers.get(start..start + count).unwrap_or_default());
                kept = start + count;
            }
            LineOp::Delete => kept = start + count,
            LineOp::Insert => inherited.extend(std::iter::repeat_n(writer, count)),
        }
    }
    inherited.extend_from_slice(writers.get(kept..).unwrap_or_default());
    inherited
}
