//! A project's files as an archive, and its history as a git repository.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::commit::Signature;
use super::fsck::{self, is_git_folder};
use super::git::FastImport;
use super::output::Output;
use super::record::signatures;
use crate::domain::{Member, Services, Tx, access, chat, events, file};
use crate::model::actor::Actor;
use crate::model::chat::Message;
use crate::model::enums::{ChangeType, EventKind, FileType};
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::file::{FileFilter, FileMode, FileSnapshot, Hash};
use crate::model::ids::{FileId, MessageId, ProjectId, UserId};
use crate::model::page::Page;
use crate::storage::db::Db;
use crate::storage::operator::{self, Operator};

/// Entries of the log read at once.
const BATCH: usize = 200;
/// Contents read at once, in number and in bytes.
const CONTENTS: usize = 100;
const CONTENT_BYTES: usize = 16 * 1024 * 1024;

/// The owner of a project, on whose behalf it is exported, and its newest revision.
///
/// # Errors
/// `NotFound` if there is no such project.
pub async fn owner(db: &Db, project: ProjectId) -> Result<(Actor, i32)> {
    let operator = db.operator().await?;
    let found = operator::projects(&operator, Some(project)).await?.into_iter().next();
    let found = found.ok_or_else(|| Error::not_found("project", "PROJECT"))?;
    Ok((
        Actor {
            user_id: found.owner,
            expires_at: None,
            verified_email: None,
            claims: Arc::default(),
            is_machine: false,
        },
        found.revision,
    ))
}

/// Contents in groups that are read together.
pub(super) fn groups<T>(mut items: &[T], size: impl Fn(&T) -> i32) -> Vec<&[T]> {
    let mut groups = Vec::new();
    while !items.is_empty() {
        let mut bytes = 0;
        let fits = items.iter().take(CONTENTS).take_while(|item| {
            bytes += usize::try_from(size(item)).unwrap_or_default();
            bytes <= CONTENT_BYTES
        });
        let (group, rest) = items.split_at(fits.count().max(1));
        groups.push(group);
        items = rest;
    }
    groups
}

pub(super) async fn contents(
    tx: &Tx,
    project: ProjectId,
    hashes: impl Iterator<Item = Hash>,
) -> Result<HashMap<(ProjectId, Hash), Arc<Vec<u8>>>> {
    let project = access::required(tx, project).await?;
    let hashes: BTreeSet<Hash> = hashes.collect();
    let keys: Vec<_> = hashes.into_iter().map(|hash| (project, hash)).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    file::contents(tx, &keys).await?.into_iter().map(|(key, bytes)| Ok((key, bytes?))).collect()
}

/// Content of an archive.
#[derive(Clone, Debug, Default)]
pub struct Archived {
    /// Files.
    pub files: usize,
    /// Renamed paths, with the names of their entries: some extractors would misinterpret the paths.
    pub renamed: Vec<(String, String)>,
    /// Symbolic links to renamed paths, with their targets in the archive.
    pub redirected: Vec<(String, String)>,
    /// Symbolic links that could lead out of the archive or to another entry, which are stored as plain files.
    pub plain_links: Vec<String>,
}

/// The name of an archive's entry: the path, with `%` and two hex digits for each character that some extractor would
/// misinterpret. Windows treats `\\` as a separator and `:` as the end of a drive name or the start of a stream,
/// refuses `* ? < > | "`, and drops dots and spaces at the end of a name, so that `.. ` becomes `..`. The first ASCII
/// character is escaped in names of devices and in names that some file system treats as `.git`, from which git runs
/// programs.
fn entry_name(path: &str) -> String {
    let part = |part: &str| {
        let kept = part.trim_end_matches(['.', ' ']).len();
        let first = part.find(|character: char| character.is_ascii());
        let is_special = is_device(part) || is_git_folder(part);
        let escape = |(at, character): (usize, char)| match character {
            '\\' | ':' | '*' | '?' | '<' | '>' | '|' | '"' | '\0'..'\x20' | '\x7f' => {
                format!("%{:02X}", u32::from(character))
            }
            '.' | ' ' if at >= kept => format!("%{:02X}", u32::from(character)),
            _ if is_special && first == Some(at) => format!("%{:02X}", u32::from(character)),
            _ => character.to_string(),
        };
        part.char_indices().map(escape).collect::<String>()
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The names of the entries for these paths and for the folders above them. A name that another path has itself gets `%` at
/// its end, so that no two are the same.
fn entry_names<'p>(paths: impl Iterator<Item = &'p str>) -> HashMap<&'p str, String> {
    let with_folders = |path: &'p str| {
        let folders = path.match_indices('/').filter_map(move |(at, _)| path.get(..at));
        folders.chain([path])
    };
    let paths: Vec<&str> = paths.flat_map(with_folders).collect();
    let mut taken: HashSet<String> =
        paths.iter().filter(|path| entry_name(path) == ***path).map(|path| (*path).to_owned()).collect();
    let mut names: HashMap<&str, String> = HashMap::new();
    for path in paths {
        if names.contains_key(path) {
            continue;
        }
        let mut name = match path.rsplit_once('/').and_then(|(folder, last)| Some((names.get(folder)?, last))) {
            Some((folder, last)) => format!("{folder}/{}", entry_name(last)),
            None => entry_name(path),
        };
        while name != path && !taken.insert(name.clone()) {
            name.push('%');
        }
        names.insert(path, name);
    }
    names
}

/// The entries that a file system takes for another one if it ignores case. The name of an entry in upper and then lower case is
/// close to what such systems compare.
fn ambiguous<'n>(entries: &HashSet<&'n str>) -> HashSet<&'n str> {
    let mut alike: HashMap<String, Vec<&str>> = HashMap::new();
    for entry in entries {
        alike.entry(entry.to_uppercase().to_lowercase()).or_default().push(entry);
    }
    alike.into_values().filter(|entries| entries.len() > 1).flatten().collect()
}

/// Whether Windows treats a name as a device, with any extension and in any case.
fn is_device(name: &str) -> bool {
    let stem = name.split(['.', ':']).next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let is_numbered = |stem: &str| {
        let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
        number.is_some_and(|number| {
            matches!(number, "\u{b9}" | "\u{b2}" | "\u{b3}")
                || (number.len() == 1 && number.as_bytes().iter().all(u8::is_ascii_digit))
        })
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") || is_numbered(&stem)
}

/// The target of a link at a path in an archive with these names: the entry of the file that it leads to. `None` if it could
/// lead out of the archive, also if that is unpacked next to other files, or to another entry. All `..` must come first,
/// since a name before them could be another link. What is not in the archive must have unambiguous names.
fn target_in(names: &HashMap<&str, String>, taken: &HashSet<&str>, path: &str, target: &str) -> Option<String> {
    if target.is_empty() || target.starts_with('/') || target.contains('\0') {
        return None;
    }
    let folder_of = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let inside =
        |folder: &str, name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    // A path and its entry.
    let mut place = folder_of(path);
    let mut entry = names.get(place.as_str()).cloned().unwrap_or_default();
    let (mut goes_down, mut parts) = (false, Vec::new());
    for part in target.split('/') {
        match part {
            "" | "." => parts.push(part.to_owned()),
            ".." if goes_down || place.is_empty() => return None,
            ".." => {
                (place, entry) = (folder_of(&place), folder_of(&entry));
                parts.push(part.to_owned());
            }
            part => {
                goes_down = true;
                place = inside(&place, part);
                let as_it_is = inside(&entry, part);
                entry = match names.get(place.as_str()) {
                    Some(name) => name.clone(),
                    None if entry_name(part) == part && !taken.contains(as_it_is.as_str()) => as_it_is,
                    None => return None,
                };
                parts.push(entry.rsplit('/').next().unwrap_or_default().to_owned());
            }
        }
    }
    Some(parts.join("/"))
}

/// Writes the files and folders as of a revision to a zip archive, ordered by path and without times, so that the same
/// files always produce the same archive.
///
/// # Errors
/// `BadInput` for a revision that does not exist; `Internal` if the archive cannot be written.
pub async fn archive(
    services: &Services,
    (owner, newest): (&Actor, i32),
    project: ProjectId,
    at: Option<i32>,
    to: &Path,
) -> Result<Archived> {
    let at = at.unwrap_or(newest);
    if !(1..=newest).contains(&at) {
        return Err(Error::bad_input("at", format!("The project has revisions 1 to {newest}.")));
    }
    let cannot = |error: &dyn std::fmt::Display| Error::internal(format!("cannot write {}: {error}", to.display()));
    let tx = services.read(owner).await?;
    let of = (access::required(&tx, project).await?, Some(at));
    let files = file::page(&tx, &[of], &FileFilter::default(), &Page::all()).await?;
    let files: Vec<_> = files.into_iter().flat_map(|(_, slice)| slice.rows).map(|(_, file)| file).collect();

    let (output, file) = Output::create(to).map_err(|error| cannot(&error))?;
    let mut zip = ZipWriter::new(BufWriter::new(file));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default());
    let mut archived = Archived::default();
    let names = entry_names(files.iter().map(|file| file.path.as_str()));
    let taken: HashSet<&str> = names.values().map(String::as_str).collect();
    // If case is ignored, such a link could stand in for a folder that leads to another link, and so out of the archive.
    let ambiguous = ambiguous(&taken);
    for group in groups(&files, |file| file.size_bytes) {
        let contents = contents(&tx, project, group.iter().filter_map(|file| file.hash)).await?;
        for file in group {
            let path = file.path.as_str();
            let name = names.get(path).ok_or_else(|| Error::internal(format!("{path:?} has no name")))?;
            if name != path {
                archived.renamed.push((path.to_owned(), name.clone()));
            }
            if file.file_type == FileType::Folder {
                zip.add_directory(name.as_str(), options.unix_permissions(0o755)).map_err(|error| cannot(&error))?;
                continue;
            }
            let content = file.hash.and_then(|hash| contents.get(&(project, hash)));
            let content = content.ok_or_else(|| Error::internal(format!("{path:?} has no contents")))?;
            archived.files += 1;
            let can_link = file.mode == FileMode::Symlink && !ambiguous.contains(name.as_str());
            let given = std::str::from_utf8(content).ok().filter(|_| can_link);
            if let Some(target) = given.and_then(|given| target_in(&names, &taken, path, given)) {
                zip.add_symlink(name, &target, options).map_err(|error| cannot(&error))?;
                if given != Some(target.as_str()) {
                    archived.redirected.push((path.to_owned(), target));
                }
                continue;
            }
            if file.mode == FileMode::Symlink {
                archived.plain_links.push(path.to_owned());
            }
            let permissions = if file.mode == FileMode::Executable { 0o755 } else { 0o644 };
            zip.start_file(name.as_str(), options.unix_permissions(permissions)).map_err(|error| cannot(&error))?;
            zip.write_all(content).map_err(|error| cannot(&error))?;
        }
    }
    let written = zip.finish().map_err(|error| cannot(&error))?;
    let written = written.into_inner().map_err(|error| cannot(error.error()))?;
    output.publish(written).map_err(|error| cannot(&error))?;
    Ok(archived)
}

/// Result of an export to git.
#[derive(Clone, Debug, Default)]
pub struct Exported {
    /// Commits.
    pub commits: usize,
    /// Versions of files that git cannot store, with the reasons.
    pub skipped: Vec<String>,
    /// Paths of the history that the file system of the folder does not accept.
    pub not_checked_out: Vec<String>,
    /// Authors and committers that git does not accept as they were.
    pub repaired: BTreeSet<String>,
}

/// Writes a project's history as a git repository to an empty or new folder: one commit per message, with the files
/// that were written for it, and one for each write without a message. git does not store folders.
///
/// # Errors
/// `BadInput` for a folder that is not empty; `Internal` with git's own message.
pub async fn history(
    services: &Services,
    owner: &Actor,
    project: ProjectId,
    to: &Path,
    report: &mut (dyn FnMut(usize) + Send),
) -> Result<Exported> {
    let tx = services.read(owner).await?;
    // Commits contain e-mail addresses, which members cannot see of each other.
    let people = services.db.operator().await?;
    let member = access::required(&tx, project).await?;
    let last_of = last_writes(&tx, member).await?;
    let mut history = History {
        tx: &tx,
        operator: &people,
        project,
        git: FastImport::start(to).await?,
        tree: BTreeMap::new(),
        paths: HashMap::new(),
        touched: BTreeSet::new(),
        people: HashMap::new(),
        exported: Exported::default(),
    };
    let mut at = 0;
    loop {
        let log = events::after(&tx, &[member], at, &[], BATCH).await?;
        let Some(last) = log.last() else { break };
        at = last.revision;
        let revisions: Vec<_> = log.iter().map(|event| (member, event.revision)).collect();
        let mut changes: HashMap<i32, Vec<FileSnapshot>> = HashMap::new();
        for change in file::changes_of_revisions(&tx, &revisions).await? {
            changes.entry(change.revision).or_default().push(change);
        }
        let ids: Vec<MessageId> = log.iter().filter_map(|event| event.message_id).collect();
        let messages = if ids.is_empty() { Vec::new() } else { chat::messages_by_ids(&tx, &ids).await? };
        let messages: HashMap<MessageId, Message> = messages.into_iter().map(|message| (message.id, message)).collect();
        for event in log {
            let changes = changes.remove(&event.revision).unwrap_or_default();
            let message = event.message_id.filter(|_| writes_for_message(&event)).and_then(|id| messages.get(&id));
            history.apply(&changes);
            match message {
                Some(message) if last_of.get(&message.id) == Some(&event.revision) => {
                    history.commit_message(message).await?;
                }
                None if !changes.is_empty() => history.commit_write(&event, &changes).await?,
                // A message whose files follow later, or a change that git does not store.
                _ => {}
            }
        }
        report(history.exported.commits);
    }
    let History { git, mut exported, .. } = history;
    exported.not_checked_out = git.finish(exported.commits).await?;
    Ok(exported)
}

/// Whether a log entry that names a message is the message itself or a write to its files.
pub(super) fn writes_for_message(event: &Event) -> bool {
    !matches!(event.kind, EventKind::SnapshotCreated | EventKind::SnapshotUpdated | EventKind::SnapshotDeleted)
}

/// The revision of the last write for each message. The message's commit is placed there, like its snapshot.
async fn last_writes(tx: &Tx, member: Member<'_>) -> Result<HashMap<MessageId, i32>> {
    let (mut last, mut at) = (HashMap::new(), 0);
    loop {
        let log = events::after(tx, &[member], at, &[], 5_000).await?;
        let Some(newest) = log.last() else { return Ok(last) };
        at = newest.revision;
        let named = log.iter().filter(|event| writes_for_message(event));
        last.extend(named.filter_map(|event| Some((event.message_id?, event.revision))));
    }
}

struct History<'t> {
    tx: &'t Tx,
    operator: &'t Operator,
    project: ProjectId,
    git: FastImport,
    /// The files at the current revision.
    tree: BTreeMap<String, Place>,
    /// The path of each file.
    paths: HashMap<FileId, String>,
    /// The paths that may differ from the last commit's.
    touched: BTreeSet<String>,
    people: HashMap<UserId, (String, String)>,
    exported: Exported,
}

#[derive(Clone, Copy)]
struct Place {
    file: FileId,
    hash: Hash,
    size: i32,
    mode: FileMode,
}

impl History<'_> {
    /// Applies the changes of one revision.
    fn apply(&mut self, changes: &[FileSnapshot]) {
        for change in changes {
            // Two files can swap their paths in one revision, so remove all old paths first.
            let Some(path) = self.paths.remove(&change.file_id) else { continue };
            if self.tree.get(&path).is_some_and(|place| place.file == change.file_id) {
                self.tree.remove(&path);
            }
            self.touched.insert(path);
        }
        for change in changes.iter().filter(|change| change.change_type != ChangeType::Delete) {
            let path = change.path.as_str();
            // A folder has no content.
            let Some(hash) = change.hash else { continue };
            if let Some(why) = fsck::refuse_path(path) {
                self.exported.skipped.push(format!("{path:?} at revision {}: {why}", change.revision));
                continue;
            }
            let place = Place { file: change.file_id, hash, size: change.size_bytes, mode: change.mode };
            self.tree.insert(path.to_owned(), place);
            self.paths.insert(change.file_id, path.to_owned());
            self.touched.insert(path.to_owned());
        }
    }

    async fn commit_message(&mut self, message: &Message) -> Result<()> {
        let metadata = message.metadata.value();
        let (author, committer) = match signatures(&metadata) {
            Some(signatures) => signatures,
            None => {
                let author = self.person(Some(message.author_id), message.timestamp).await?;
                (author.clone(), author)
            }
        };
        self.commit(&author, &committer, &message.content).await
    }

    async fn commit_write(&mut self, event: &Event, changes: &[FileSnapshot]) -> Result<()> {
        let author = self.person(event.actor_id, event.created_at).await?;
        let description = changes.iter().find_map(|change| change.change_description.text().map(str::to_owned));
        let description = description.unwrap_or_else(|| match (event.kind, changes) {
            (EventKind::ProjectRestored, _) => "Restore an earlier state".to_owned(),
            (_, [one]) => format!("{} {}", verb(one.change_type), one.path),
            (_, many) => format!("Change {} files", many.len()),
        });
        self.commit(&author, &author, &description).await
    }

    /// Writes a commit of the current files.
    async fn commit(&mut self, author: &Signature, committer: &Signature, message: &str) -> Result<()> {
        let repaired = [author, committer].into_iter().filter(|signature| signature.is_repaired());
        let shown = repaired.map(|person| format!("{} <{}> {}", person.name, person.email, person.raw_date()));
        self.exported.repaired.extend(shown);
        self.git.commit(author, committer, message).await?;
        let touched = std::mem::take(&mut self.touched);
        // Delete first: a file can become a folder, or the reverse.
        let (there, gone): (Vec<String>, Vec<String>) =
            touched.into_iter().partition(|path| self.tree.contains_key(path));
        for path in &gone {
            self.git.delete(path).await?;
        }
        let there: Vec<(&String, Place)> =
            there.iter().filter_map(|path| Some((path, *self.tree.get(path)?))).collect();
        for group in groups(&there, |(_, place)| place.size) {
            let contents = contents(self.tx, self.project, group.iter().map(|(_, place)| place.hash)).await?;
            for (path, place) in group {
                let content = contents.get(&(self.project, place.hash));
                let content = content.ok_or_else(|| Error::internal(format!("{path:?} has no contents")))?;
                if fsck::is_attributes(path) && !fsck::can_be_attributes(content) {
                    self.exported.skipped.push(format!("{path:?}: {}", fsck::BAD_ATTRIBUTES));
                    self.git.delete(path).await?;
                    continue;
                }
                self.git.modify(path, place.mode.as_git(), content).await?;
            }
        }
        self.exported.commits += 1;
        Ok(())
    }

    /// A member of the project as the author of a commit.
    async fn person(&mut self, id: Option<UserId>, at: DateTime<Utc>) -> Result<Signature> {
        let at = at.fixed_offset();
        let Some(id) = id else { return Ok(Signature::at("Unknown".to_owned(), String::new(), at)) };
        if !self.people.contains_key(&id) {
            let (name, email) = operator::person(self.operator, id).await?;
            let email = email.unwrap_or_else(|| id.0.to_string());
            let name = name.unwrap_or_else(|| email.clone());
            self.people.insert(id, (name, email));
        }
        let (name, email) = self.people.get(&id).cloned().unwrap_or_default();
        Ok(Signature::at(name, email, at))
    }
}

pub(super) fn verb(change_type: ChangeType) -> &'static str {
    match change_type {
        ChangeType::Create => "Create",
        ChangeType::Update => "Change",
        ChangeType::Delete => "Delete",
        ChangeType::Rename => "Rename to",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_inside_or_is_none() {
        let names = entry_names(["a/link"].into_iter());
        let target_in = |target| target_in(&names, &HashSet::new(), "a/link", target);
        for target in ["b", "./b", "../b", "../a/b", "b/"] {
            assert_eq!(target_in(target).as_deref(), Some(target));
        }
        for target in [
            "",
            "/etc/passwd",
            "../../b",
            "../../a/b",
            "x/../b",
            "..\\..\\b",
            "C:/b",
            "b\0",
            ".. /.. /b",
            "nul",
            ".git/hooks",
        ] {
            assert_eq!(target_in(target), None, "{target:?}");
        }
    }

    #[test]
    fn entries_that_differ_only_in_case_are_ambiguous() {
        let names =
            entry_names(["P/A", "P/a/l", "Straße", "STRASSE", "\u{212a}", "k", "ſ", "s", "x/y", "X.y"].into_iter());
        let taken = names.values().map(String::as_str).collect();
        let mut found: Vec<&str> = ambiguous(&taken).into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, ["P/A", "P/a", "STRASSE", "Straße", "k", "s", "ſ", "\u{212a}"]);
    }

    #[test]
    fn a_link_leads_to_the_entry_of_its_target() {
        let names = entry_names(["a%3Ab", "a:b/link", "a:b/c|", "d/link", "t:u"].into_iter());
        let taken = names.values().map(String::as_str).collect();
        for (path, target, expected) in [
            ("link", "a:b/c|", Some("a%3Ab%/c%7C")),
            ("link", "a:b", Some("a%3Ab%")),
            ("link", "a%3Ab", Some("a%3Ab")),
            ("d/link", ".././a:b//c|/", Some(".././a%3Ab%//c%7C/")),
            ("a:b/link", "c|", Some("c%7C")),
            ("a:b/link", "../a:b/missing", Some("../a%3Ab%/missing")),
            ("a:b/link", "..", Some("..")),
            ("a:b/link", "../../d", None),
            ("link", "a:b/mis:sing", None),
            // The entry of another path.
            ("link", "t%3Au", None),
        ] {
            assert_eq!(target_in(&names, &taken, path, target).as_deref(), expected, "{path}: {target}");
        }
    }

    #[test]
    fn entries_of_archives_have_names_that_no_extractor_mistakes() {
        for (path, name) in [
            ("src/main.py", "src/main.py"),
            (".env", ".env"),
            ("größe/a b.c", "größe/a b.c"),
            ("..\\..\\evil.exe", "..%5C..%5Cevil.exe"),
            ("C:/evil.exe", "C%3A/evil.exe"),
            ("a/.. /b", "a/%2E%2E%20/b"),
            (".../a.", "%2E%2E%2E/a%2E"),
            ("nul", "%6Eul"),
            ("a/AUX/b", "a/%41UX/b"),
            ("CON.txt", "%43ON.txt"),
            ("nul.tar.gz", "%6Eul.tar.gz"),
            ("prn .txt", "%70rn .txt"),
            ("com1", "%63om1"),
            ("LPT\u{b2}.md", "%4CPT\u{b2}.md"),
            ("conin$", "%63onin$"),
            ("a*b?c<d>e|f\"g", "a%2Ab%3Fc%3Cd%3Ee%7Cf%22g"),
            (".git/config", "%2Egit/config"),
            ("a/.GIT", "a/%2EGIT"),
            ("git~1/hooks", "%67it~1/hooks"),
            ("GIT~2", "%47IT~2"),
            (".g\u{200c}it", "%2Eg\u{200c}it"),
            ("\u{200e}.git", "\u{200e}%2Egit"),
            (".git.", ".git%2E"),
            (".git::$INDEX_ALLOCATION", ".git%3A%3A$INDEX_ALLOCATION"),
            ("console.py", "console.py"),
            ("com10/nullable.rs", "com10/nullable.rs"),
            (".gitignore", ".gitignore"),
            (".github/git~a", ".github/git~a"),
        ] {
            assert_eq!(entry_name(path), name);
        }
    }

    #[test]
    fn no_two_entries_have_the_same_name() {
        let paths = ["a:b/c", "a:b/d:", "a%3Ab", "a%3Ab%", "x:y", "x%3Ay/z", "x%3Ay/z:", "x%3Ay/z%3A"];
        let names = entry_names(paths.into_iter());
        let named: Vec<&str> = paths.iter().map(|path| names[path].as_str()).collect();
        let expected =
            ["a%3Ab%%/c", "a%3Ab%%/d%3A", "a%3Ab", "a%3Ab%", "x%3Ay%", "x%3Ay/z", "x%3Ay/z%3A%", "x%3Ay/z%3A"];
        assert_eq!(named, expected);
    }
}
