//! Reads everything back and reports violations of the rules in ARCHITECTURE.md.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use uuid::Uuid;

use crate::domain::insights;
use crate::model::collaborator::EmailAddress;
use crate::model::enums::EventKind;
use crate::model::error::{Error, Result};
use crate::model::file::{FileMode, Hash};
use crate::model::ids::ProjectId;
use crate::model::manifest::manifest;
use crate::storage::blob_codec::{self, Encoding};
use crate::storage::db::Db;
use crate::storage::engine_check;
use crate::storage::json_check;
use crate::storage::operator::{self, Operator, StoredBlob, StoredFile, StoredProject, StoredSnapshot, StoredVersion};

/// Rows of the log or versions read at once.
const BATCH: i64 = 5_000;
/// Encoded contents read at once: number of blobs, and decoded bytes.
const CONTENTS: usize = 200;
const CONTENT_BYTES: usize = 16 * 1024 * 1024;

/// What checksums do not cover. A checksum per row would detect a damaged message but not repair it; checksums of the
/// engine or the file system cover it with everything else.
pub const UNPROVEN: &str = "proven by SHA-256: contents of files, and the paths and contents of the files in snapshots\n\
     not covered by checksums of this service: chat messages, agent configurations, settings of\n  \
     projects and users, names, descriptions, paths of versions that no snapshot has, counts of lines,\n  \
     kinds of changes, times and metadata";

/// Counts of what was read, and the result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Projects.
    pub projects: usize,
    /// Entries of their logs.
    pub revisions: usize,
    /// Versions of their files.
    pub versions: usize,
    /// Contents.
    pub blobs: usize,
    /// Snapshots.
    pub snapshots: usize,
    /// Number of problems.
    pub problems: usize,
    /// Notes on what was checked and what was not.
    pub notes: Vec<String>,
}

/// Runs the engine's own checks, reads all projects or the given one in one state of the database, and reports each
/// problem with its project, if any, to `report`. Memory use grows with the number of a project's files and contents,
/// not with their sizes.
///
/// # Errors
/// `NotFound` for a project that does not exist; `Internal` if the database cannot be read.
pub async fn verify(
    db: &Db,
    only: Option<ProjectId>,
    report: &mut (dyn FnMut(Option<ProjectId>, String) + Send),
) -> Result<Verified> {
    let mut all = Verified::default();
    let engine = engine_check::run(db).await?;
    all.problems += engine.problems.len();
    engine.problems.into_iter().for_each(|problem| report(None, problem));
    all.notes = engine.notes;
    all.notes.push(UNPROVEN.to_owned());
    let operator = db.operator().await?;
    let projects = operator::projects(&operator, only).await?;
    if only.is_some() && projects.is_empty() {
        return Err(Error::not_found("project", "PROJECT"));
    }
    for project in &projects {
        let mut problems = 0;
        let mut wrong = |text: String| {
            problems += 1;
            report(Some(project.id), text);
        };
        all.projects += 1;
        all.revisions += log(&operator, project, &mut wrong).await?;
        let blobs = operator::blobs(&operator, project.id).await?;
        let blobs: BTreeMap<i64, StoredBlob> = blobs.into_iter().map(|blob| (blob.id, blob)).collect();
        let mut history = History::new(operator::files(&operator, project.id).await?, &blobs);
        let snapshots = operator::snapshots(&operator, project.id).await?;
        all.snapshots += snapshots.len();
        let versions = history.read(&operator, project, snapshots, &mut wrong).await?;
        history.compare_heads(&mut wrong);
        history.compare_counts(&operator, project, versions, &mut wrong).await?;
        for (of, id, what) in operator::breaches(&operator, project.id).await? {
            wrong(format!("{of} {id} {what}"));
        }
        insights::verify(&operator, project.id, &mut wrong).await?;
        json_check::undecodable(&operator, Some(project.id)).await?.into_iter().for_each(&mut wrong);
        let addresses = operator::addresses(&operator, project.id).await?;
        let strange = addresses.iter().filter(|address| {
            !EmailAddress::parse(address, "email").is_ok_and(|parsed| parsed.as_str() == address.as_str())
        });
        match strange.count() {
            0 => {}
            // Do not print the addresses: readers of the output must not learn them.
            count => wrong(format!("{count} invitations are to invalid addresses")),
        }
        all.versions += versions;
        all.blobs += contents(&operator, &blobs, &history.uses, &mut wrong).await?;
        all.problems += problems;
    }
    if only.is_none() {
        for problem in json_check::undecodable(&operator, None).await? {
            all.problems += 1;
            report(None, problem);
        }
    }
    Ok(all)
}

/// Checks that every revision has its log entry, and that times never decrease.
async fn log(operator: &Operator, project: &StoredProject, wrong: &mut (dyn FnMut(String) + Send)) -> Result<usize> {
    let (mut count, mut at, mut time) = (0, 0, None);
    loop {
        let events = operator::events(operator, project.id, at, BATCH).await?;
        let Some(last) = events.last() else { break };
        let read_to = last.revision;
        // A damaged index could return the same rows forever.
        if read_to <= at {
            wrong(format!("the log cannot be read after revision {at}: its order is lost"));
            break;
        }
        for event in events {
            count += 1;
            missing_revisions(at + 1, event.revision - 1, wrong);
            if EventKind::from_stored(&event.kind).is_none() {
                wrong(format!("revision {} has the unknown kind {:?}", event.revision, event.kind));
            }
            if time.is_some_and(|before| event.created_at < before) {
                wrong(format!("revision {} is of an earlier time than the one before it", event.revision));
            }
            (at, time) = (event.revision, Some(event.created_at));
        }
        at = read_to;
    }
    missing_revisions(at + 1, project.revision, wrong);
    if let Some(time) = time.filter(|time| *time > project.last_activity_at) {
        wrong(format!("the log goes to {time}, the project only to {}", project.last_activity_at));
    }
    if at > project.revision {
        wrong(format!("the log goes to revision {at}, the project only to {}", project.revision));
    }
    Ok(count)
}

fn missing_revisions(from: i32, to: i32, wrong: &mut (dyn FnMut(String) + Send)) {
    match to - from {
        ..0 => {}
        0 => wrong(format!("revision {from} has no event")),
        _ => wrong(format!("revisions {from} to {to} have no events")),
    }
}

/// The newest version of a file that was read.
struct Last {
    version: i32,
    superseded: Option<i32>,
    path: String,
    blob: Option<i64>,
    is_deleted: bool,
    mode: i16,
}

/// The files of a project while its versions are applied revision by revision.
struct History<'b> {
    files: Vec<StoredFile>,
    is_folder: HashMap<Uuid, bool>,
    last: HashMap<Uuid, Last>,
    /// The file at each path at the current revision.
    tree: BTreeMap<String, Uuid>,
    blobs: &'b BTreeMap<i64, StoredBlob>,
    /// The first version that uses each blob, as text.
    uses: HashMap<i64, String>,
}

impl<'b> History<'b> {
    fn new(files: Vec<StoredFile>, blobs: &'b BTreeMap<i64, StoredBlob>) -> Self {
        let is_folder = files.iter().map(|file| (file.id, file.file_type == "folder")).collect();
        Self { files, is_folder, last: HashMap::new(), tree: BTreeMap::new(), blobs, uses: HashMap::new() }
    }

    /// Reads the versions in the order of the revisions, and checks each snapshot's manifest at its revision.
    async fn read(
        &mut self,
        operator: &Operator,
        project: &StoredProject,
        snapshots: Vec<StoredSnapshot>,
        wrong: &mut (dyn FnMut(String) + Send),
    ) -> Result<usize> {
        let (mut count, mut at) = (0, (0, Uuid::nil()));
        let mut snapshots = snapshots.into_iter().peekable();
        let mut revision: Vec<StoredVersion> = Vec::new();
        loop {
            let versions = operator::versions(operator, project.id, at, BATCH).await?;
            let Some(last) = versions.last() else { break };
            if (last.revision, last.id) <= at {
                wrong(format!("versions cannot be read after revision {}: their order is lost", at.0));
                break;
            }
            at = (last.revision, last.id);
            count += versions.len();
            for version in versions {
                if revision.first().is_some_and(|first| first.revision != version.revision) {
                    self.apply(std::mem::take(&mut revision), wrong);
                }
                while let Some(snapshot) = snapshots.next_if(|snapshot| snapshot.revision < version.revision) {
                    self.compare_manifest(project, &snapshot, wrong);
                }
                revision.push(version);
            }
        }
        self.apply(revision, wrong);
        for snapshot in snapshots {
            self.compare_manifest(project, &snapshot, wrong);
        }
        if at.0 > project.revision {
            wrong(format!("versions go to revision {}, the project only to {}", at.0, project.revision));
        }
        Ok(count)
    }

    /// Applies the versions of one revision.
    fn apply(&mut self, versions: Vec<StoredVersion>, wrong: &mut (dyn FnMut(String) + Send)) {
        for version in &versions {
            self.check(version, wrong);
            // Remove old paths before adding new ones: two files can swap their paths.
            if let Some(last) = self.last.get(&version.file_id)
                && self.tree.get(&last.path) == Some(&version.file_id)
            {
                self.tree.remove(&last.path);
            }
        }
        for version in &versions {
            let is_deleted = version.change_type == "delete";
            if !is_deleted && let Some(other) = self.tree.insert(version.path.clone(), version.file_id) {
                wrong(format!(
                    "from revision {} on {:?} is two files: {other} and {}",
                    version.revision, version.path, version.file_id
                ));
            }
            self.last.insert(
                version.file_id,
                Last {
                    version: version.version,
                    superseded: version.superseded,
                    path: version.path.clone(),
                    blob: version.blob,
                    is_deleted,
                    mode: version.mode,
                },
            );
        }
        for version in versions.iter().filter(|version| version.change_type != "delete") {
            self.check_place(version, wrong);
        }
    }

    /// Checks a version against the previous one.
    fn check(&mut self, version: &StoredVersion, wrong: &mut (dyn FnMut(String) + Send)) {
        let name = format!("version {} of {:?} ({})", version.version, version.path, version.id);
        let before = self.last.get(&version.file_id);
        let number = before.map_or(0, |last| last.version);
        let (first, next) = (number + 1, version.version);
        match next - first {
            0 => {}
            1 => wrong(format!("version {first} of {:?} (file {}) is missing", version.path, version.file_id)),
            2.. => wrong(format!(
                "versions {first} to {} of {:?} (file {}) are missing",
                next - 1,
                version.path,
                version.file_id
            )),
            _ => wrong(format!("{name} comes after version {number}")),
        }
        if let Some(last) = before.filter(|_| next == first)
            && last.superseded != Some(version.revision)
        {
            let end = last.superseded.map_or("is still open".to_owned(), |end| format!("ends at revision {end}"));
            wrong(format!("{name} begins at revision {}, and the version before it {end}", version.revision));
        }
        if version.superseded.is_some_and(|end| end <= version.revision) {
            wrong(format!("{name} ends before it begins, at revision {}", version.superseded.unwrap_or_default()));
        }
        if FileMode::from_stored(version.mode).is_none() {
            wrong(format!("{name} has the unknown mode {}", version.mode));
        }
        let is_deleted = version.change_type == "delete";
        let was_there = before.is_some_and(|last| !last.is_deleted);
        if next == first && (version.change_type == "create") == was_there {
            wrong(format!(
                "{name} is a {:?} of a file that was {}there",
                version.change_type,
                if was_there { "" } else { "not " }
            ));
        }
        let Some(is_folder) = self.is_folder.get(&version.file_id).copied() else {
            wrong(format!("{name} is of a file that is not in this project: {}", version.file_id));
            return;
        };
        match version.blob {
            Some(blob) if is_deleted || is_folder => {
                wrong(format!(
                    "{name} is a {} with contents, blob {blob}",
                    if is_folder { "folder" } else { "deletion" }
                ));
            }
            None if !is_deleted && !is_folder => wrong(format!("{name} has no contents")),
            Some(blob) if !self.blobs.contains_key(&blob) => {
                wrong(format!("{name} has blob {blob}, which is not there"))
            }
            _ => {}
        }
        if let Some(blob) = version.blob {
            self.uses.entry(blob).or_insert(name);
        }
    }

    /// Checks that nothing is below a file.
    fn check_place(&self, version: &StoredVersion, wrong: &mut (dyn FnMut(String) + Send)) {
        let is_file = |id: &Uuid| self.is_folder.get(id) == Some(&false);
        let (path, revision) = (version.path.as_str(), version.revision);
        for (at, _) in path.match_indices('/') {
            let above = path.get(..at).unwrap_or_default();
            if self.tree.get(above).is_some_and(is_file) {
                wrong(format!("from revision {revision} on {path:?} lies below the file {above:?}"));
            }
        }
        if is_file(&version.file_id) {
            let start = format!("{path}/");
            let below = self.tree.range::<str, _>((Bound::Excluded(start.as_str()), Bound::Unbounded)).next();
            if let Some((below, _)) = below.filter(|(below, _)| below.starts_with(&start)) {
                wrong(format!("from revision {revision} on {below:?} lies below the file {path:?}"));
            }
        }
    }

    fn hash(&self, blob: Option<i64>) -> Option<Hash> {
        Hash::try_from(self.blobs.get(&blob?)?.sha256.as_slice()).ok()
    }

    /// Checks a snapshot against the files at the current revision.
    fn compare_manifest(
        &self,
        project: &StoredProject,
        snapshot: &StoredSnapshot,
        wrong: &mut (dyn FnMut(String) + Send),
    ) {
        let name = format!("snapshot {} of revision {}", snapshot.id, snapshot.revision);
        let (made, newest) = (snapshot.created_revision, project.revision);
        if !(1..=newest).contains(&snapshot.revision) || !(1..=newest).contains(&made) {
            wrong(format!("{name}, made at {made}, is outside the project's revisions 1 to {newest}"));
        }
        let files: Vec<(&str, Hash)> = self
            .tree
            .iter()
            .filter_map(|(path, id)| Some((path.as_str(), self.hash(self.last.get(id)?.blob)?)))
            .collect();
        if i32::try_from(files.len()) != Ok(snapshot.file_count) {
            wrong(format!("{name} says it has {} files and has {}", snapshot.file_count, files.len()));
        }
        let found = manifest(files.iter().map(|(path, hash)| (*path, hash)));
        if found.as_slice() != snapshot.manifest {
            let said = hex::encode(&snapshot.manifest);
            wrong(format!(
                "{name} says its manifest is {said}; the files at that revision give {}",
                hex::encode(found)
            ));
        }
    }

    /// Checks that each file's row matches its newest version.
    fn compare_heads(&self, wrong: &mut (dyn FnMut(String) + Send)) {
        for file in &self.files {
            let name = format!("file {:?} ({})", file.path, file.id);
            let Some(last) = self.last.get(&file.id) else {
                wrong(format!("{name} has no versions"));
                continue;
            };
            if let Some(end) = last.superseded {
                wrong(format!(
                    "{name}: its newest version, {}, ends at revision {end}, and none follows",
                    last.version
                ));
            }
            let blob = last.blob.and_then(|blob| self.blobs.get(&blob));
            let (name_of_path, parent) = match file.path.rsplit_once('/') {
                Some((parent, name)) => (name, Some(parent)),
                None => (file.path.as_str(), None),
            };
            let size = blob.map_or(0, |blob| blob.size);
            for (what, differs) in [
                ("version", file.version != last.version),
                ("path", file.path != last.path),
                ("hash", file.hash.as_deref() != blob.map(|blob| blob.sha256.as_slice())),
                ("size", file.size != size),
                ("mode", file.mode != last.mode),
                ("deletion", file.is_deleted != last.is_deleted),
                ("name", file.name != name_of_path),
                ("folder", file.parent.as_deref() != parent),
            ] {
                if differs {
                    wrong(format!("{name}: the {what} on its row is not that of its newest version, {}", last.version));
                }
            }
        }
    }

    /// Checks the counts on the project's row and on its sessions'.
    async fn compare_counts(
        &self,
        operator: &Operator,
        project: &StoredProject,
        versions: usize,
        wrong: &mut (dyn FnMut(String) + Send),
    ) -> Result<()> {
        let sessions = operator::sessions(operator, project.id).await?;
        for session in &sessions {
            let (said, found) = (session.message_count, session.messages);
            if i64::from(said) != found {
                wrong(format!("session {} says it has {said} messages and has {found}", session.id));
            }
            if session.unlogged > 0 {
                wrong(format!("{} messages of session {} are not in the log", session.unlogged, session.id));
            }
            if session.wrongly_hidden > 0 {
                wrong(format!(
                    "{} messages of session {} are not hidden as recorded in hidden_messages",
                    session.wrongly_hidden, session.id
                ));
            }
            if session.without_snapshot > 0 {
                let count = session.without_snapshot;
                wrong(format!("{count} checkpoints of session {} have no snapshot", session.id));
            }
        }
        let files = self.files.iter().filter(|file| !file.is_deleted && file.file_type == "file").count();
        let found = [
            i64::try_from(sessions.len()).unwrap_or(i64::MAX),
            sessions.iter().map(|session| session.messages).sum(),
            i64::try_from(files).unwrap_or(i64::MAX),
            i64::try_from(versions).unwrap_or(i64::MAX),
        ];
        let names = ["sessions", "messages", "files", "changes"];
        for ((name, said), found) in names.iter().zip(project.counts).zip(found) {
            if i64::from(said) != found {
                wrong(format!("the project's row says it has {said} {name}; there are {found}"));
            }
        }
        Ok(())
    }
}

/// Decodes all blobs, bases first. A content is released after the last blob that is based on it.
async fn contents(
    operator: &Operator,
    blobs: &BTreeMap<i64, StoredBlob>,
    uses: &HashMap<i64, String>,
    wrong: &mut (dyn FnMut(String) + Send),
) -> Result<usize> {
    let mut children: HashMap<i64, Vec<i64>> = HashMap::new();
    let mut stack = Vec::new();
    for blob in blobs.values() {
        match blob.base {
            Some(base) => children.entry(base).or_default().push(blob.id),
            None => stack.push(blob.id),
        }
        if !uses.contains_key(&blob.id) {
            wrong(format!("blob {} belongs to no version", blob.id));
        }
    }
    // Depth first, so that at most two contents of a long chain are in memory.
    let mut order = Vec::with_capacity(blobs.len());
    while let Some(id) = stack.pop() {
        order.push(id);
        stack.extend(children.get(&id).into_iter().flatten());
    }
    if order.len() < blobs.len() {
        let count = blobs.len() - order.len();
        wrong(format!("{count} blobs build on each other in a circle, or on blobs that are not there"));
    }
    let mut waiting: HashMap<i64, usize> = children.iter().map(|(id, children)| (*id, children.len())).collect();
    let mut decoded: HashMap<i64, Option<Vec<u8>>> = HashMap::new();
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let size = |id: &i64| blobs.get(id).map_or(0, |blob| usize::try_from(blob.size).unwrap_or_default());
        let fits = rest.iter().take(CONTENTS).take_while(|id| {
            bytes += size(id);
            bytes <= CONTENT_BYTES
        });
        let (batch, later) = rest.split_at(fits.count().max(1));
        rest = later;
        let mut data: HashMap<i64, Vec<u8>> = operator::blob_data(operator, batch).await?.into_iter().collect();
        for id in batch {
            let (Some(blob), Some(data)) = (blobs.get(id), data.remove(id)) else { continue };
            // This command serves no requests, so it can decode on this thread.
            let content = decode(blob, &data, blobs, &decoded);
            if let Err(why) = &content {
                let user = uses.get(id).map_or("no version", String::as_str);
                wrong(format!("blob {id}, the contents of {user}: {why}"));
            }
            if let Some(base) = blob.base
                && let Some(left) = waiting.get_mut(&base)
            {
                *left -= 1;
                if *left == 0 {
                    decoded.remove(&base);
                }
            }
            if waiting.contains_key(id) {
                decoded.insert(*id, content.ok());
            }
        }
    }
    Ok(order.len())
}

fn decode(
    blob: &StoredBlob,
    data: &[u8],
    blobs: &BTreeMap<i64, StoredBlob>,
    decoded: &HashMap<i64, Option<Vec<u8>>>,
) -> std::result::Result<Vec<u8>, String> {
    let encoding = Encoding::try_from(blob.encoding).map_err(|error| error.to_string())?;
    if (encoding == Encoding::ZstdDelta) != blob.base.is_some() {
        return Err("it is a delta without a base, or has a base and is no delta".to_owned());
    }
    let depth = blob.base.and_then(|base| blobs.get(&base)).map_or(0, |base| base.depth + 1);
    if blob.depth != depth || depth > blob_codec::MAX_DEPTH {
        return Err(format!("its depth is {depth}, its row says {}", blob.depth));
    }
    let base = match blob.base {
        None => None,
        Some(id) => {
            let base = decoded.get(&id).and_then(Option::as_deref);
            Some(base.ok_or_else(|| format!("it builds on blob {id}, which cannot be read"))?)
        }
    };
    let sha256 = Hash::try_from(blob.sha256.as_slice()).map_err(|_| "its hash has a wrong length".to_owned())?;
    let size = usize::try_from(blob.size).map_err(|_| "its size is negative".to_owned())?;
    blob_codec::decode(encoding, data, base, size, &sha256).map_err(|error| error.to_string())
}
