//! Pushed commits. Each becomes a message with its files, as in an import. All are checked before the first is written,
//! so that only a concurrent write, an outage of the database or a stop of the server can stop a push halfway.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::commit::Commit;
use super::export::{contents, groups};
use super::fsck;
use super::git::{self, Differences, NewTrees, Object, Objects, Process, Step};
use super::git_cache::{GitCache, Repository};
use super::objects::{EMPTY_TREE, parse_id};
use super::place::IMPORT;
use super::present::{After, Theirs};
use super::reading::{ABSENT, Read, read_changes, read_commit};
use super::record;
use super::tree::{MAX_TREE_BYTES, entries};
use crate::domain::chat::{add_ended_session, add_message};
use crate::domain::edit::FileStates;
use crate::domain::file::Context;
use crate::domain::sync::{self, Sync, SyncFile};
use crate::domain::write::OTHER_IMPORT;
use crate::domain::{Services, Writer};
use crate::model::actor::Actor;
use crate::model::chat::{NewMessage, NewSession};
use crate::model::enums::{FileType, MessageRole};
use crate::model::error::{Error, Result};
use crate::model::ids::{ProjectId, SessionId};
use crate::model::json::Json;
use crate::model::path::FilePath;

/// The title of the session of a push.
const TITLE: &str = "Pushed from git";

/// Maximum number of commits in a push.
const MAX_COMMITS: usize = 10_000;

/// The least memory that git may allocate at once for an object.
const MIN_ALLOCATION: usize = 64 * 1024 * 1024;

/// The codes of refusals.
const BAD_INPUT: &str = "BAD_USER_INPUT";
const CONFLICT: &str = "CONFLICT";

/// The explanation of a refusal of trees that git itself does not write.
const WRITE_AGAIN: &str = "To let git write the files of the newest commit again: \
    git rm -r -q --cached . && git add . && git commit --amend --no-edit";

/// Objects that are being received, in a repository of their own that can read those of the project.
pub struct Receiving {
    folder: TempDir,
    process: Process,
}

/// The objects of a push. They are removed when this is dropped.
pub struct Received {
    folder: TempDir,
}

/// A push that can be written.
pub struct Checked {
    received: Received,
    project: ProjectId,
    /// The revision of the files on which the first commit is based.
    revision: i32,
    steps: Vec<Step>,
    /// Has the memory of the largest commit.
    objects: Objects,
}

/// Why a push is refused, in one line, with an explanation.
#[derive(Debug)]
pub struct Refused {
    /// The reason.
    pub reason: String,
    /// The explanation; empty if there is none.
    pub explanation: String,
    /// The code that the API has for such an error.
    pub code: &'static str,
}

impl Refused {
    /// The refusal of a push that is not based on the newest commit.
    pub fn fetch_first() -> Self {
        Self { code: CONFLICT, ..Self::because("fetch first") }
    }

    /// The refusal of a push that the service does not accept.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), explanation: String::new(), code: BAD_INPUT }
    }

    /// The refusal for an error. Logs its cause.
    pub fn of(error: &Error) -> Self {
        if let Some(cause) = error.cause() {
            tracing::error!(cause, "a push failed");
        }
        Self { code: error.code(), ..Self::because(error.message()) }
    }

    /// The same with an explanation.
    #[must_use]
    pub fn explained(self, explanation: impl Into<String>) -> Self {
        Self { explanation: explanation.into(), ..self }
    }
}

/// A result of git or the service, or a refusal of the push.
type Answer<T> = Result<std::result::Result<T, Refused>>;

impl GitCache {
    /// Begins to receive the objects of a push.
    ///
    /// # Errors
    /// `Internal` if git does not start.
    pub async fn receive(&self, services: &Services, repository: &Repository) -> Result<Receiving> {
        let folder = self.scratch()?;
        git::run(folder.path(), &["init", "--quiet", "--bare", "--template="]).await?;
        let objects = std::path::absolute(repository.path.join("objects")).map_err(Error::internal)?;
        let alternates = folder.path().join("objects/info/alternates");
        std::fs::write(alternates, format!("{}\n", objects.display())).map_err(Error::internal)?;
        let mut command = git::command(folder.path());
        // A larger object is refused before it takes memory; slightly too large files get a better message later.
        let allocation = services.limits.max_file_bytes.saturating_mul(2).max(MIN_ALLOCATION);
        command.env("GIT_ALLOC_LIMIT", allocation.to_string());
        command.args(["index-pack", "--stdin", "--fix-thin", "--strict"]);
        let process = Process::start(&mut command, "index-pack")?;
        Ok(Receiving { folder, process })
    }
}

impl Receiving {
    /// Adds bytes of the pack. Returns whether git still reads.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.process.write(bytes).await
    }

    /// Ends the pack.
    ///
    /// # Errors
    /// `Internal` if git cannot be run.
    pub async fn finish(self) -> Answer<Received> {
        let ended = self.process.end().await?;
        if ended.is_success {
            return Ok(Ok(Received { folder: self.folder }));
        }
        // The cause can be this machine, such as a full disk.
        tracing::warn!(cause = ended.errors, "git refuses a pushed pack");
        Ok(Err(Refused::because("the pack is invalid").explained(ended.errors)))
    }
}

impl Received {
    /// Checks the commits up to `new`, which must follow the newest one of the repository.
    ///
    /// # Errors
    /// The errors of reads of the project.
    pub async fn check(
        self,
        services: &Services,
        actor: &Actor,
        repository: &Repository,
        new: &str,
    ) -> Answer<Checked> {
        let project = repository.project.id;
        let steps = match steps(self.folder.path(), repository.commit(), new).await? {
            Ok(steps) => steps,
            Err(refused) => return Ok(Err(refused)),
        };
        match odd_entry(self.folder.path(), repository.commit().as_deref(), new).await {
            Ok(None) => {}
            Ok(Some(why)) => return Ok(Err(Refused::because(why).explained(WRITE_AGAIN))),
            Err(error) => return Ok(Err(Refused::because(unreadable(&error)))),
        }
        let obstacles = Obstacles::read(services, actor, project).await?;
        let objects = Objects::start(self.folder.path())?.counted_in(services.memory.clone());
        let mut reader = Reader::start(services, self.folder.path(), &steps, objects)?;
        for step in &steps {
            let why = match reader.next(step).await {
                Ok(Ok(ready)) => ready.theirs.iter().find_map(|theirs| obstacles.find(&theirs.after.as_ref()?.path)),
                Ok(Err(why)) => Some(why),
                Err(error @ (Error::RateLimited { .. } | Error::PayloadTooLarge { .. })) => {
                    return Ok(Err(Refused::of(&error)));
                }
                Err(error) => Some(unreadable(&error).to_owned()),
            };
            if let Some(why) = why {
                let short = step.commit.get(..12).unwrap_or(&step.commit);
                return Ok(Err(Refused::because(format!("commit {short}: {why}"))));
            }
        }
        let objects = reader.objects;
        Ok(Ok(Checked { received: self, project, revision: repository.tip.revision, steps, objects }))
    }
}

/// Logs that git cannot read a pushed commit, and returns the reason for the client.
fn unreadable(error: &Error) -> &'static str {
    tracing::warn!(error = error.message(), cause = error.cause(), "git cannot read a pushed commit");
    "git cannot read it within its limits: has it too many files?"
}

/// Why the branch cannot be moved to an object; `None` if it is a commit, or missing.
async fn not_a_commit(folder: &Path, new: &str) -> Option<Refused> {
    let kind = git::run(folder, &["cat-file", "-t", new]).await.ok()?;
    let what = match String::from_utf8_lossy(&kind).trim_end() {
        "tag" => "an annotated tag",
        "tree" => "a tree",
        "blob" => "a blob",
        _ => return None,
    };
    let refused = Refused::because(format!("this is {what}, and the branch takes commits"));
    let is_tag = what == "an annotated tag";
    Some(if is_tag {
        refused.explained("Push its commit: git push origin 'TAG^{commit}:refs/heads/main'")
    } else {
        refused
    })
}

/// Why the trees of the new commits cannot be stored unchanged, because they contain what git reads but does not write:
/// entries with old modes, and empty folders.
async fn odd_entry(folder: &Path, old: Option<&str>, new: &str) -> Result<Option<String>> {
    let mut trees = NewTrees::start(folder, old, new)?;
    let mut objects = Objects::start(folder)?;
    while let Some((id, path)) = trees.next().await? {
        let Object::Bytes(tree) = objects.read(&id, MAX_TREE_BYTES).await? else { continue };
        let odd = entries(&tree).find_map(|entry| match entry.mode {
            b"40000" if entry.id == EMPTY_TREE => Some((entry.name, "is an empty folder".to_owned())),
            b"40000" | b"100644" | b"100755" | b"120000" | b"160000" => None,
            mode => Some((entry.name, format!("has the mode {}", String::from_utf8_lossy(mode)))),
        });
        if let Some((name, what)) = odd {
            let slash = if path.is_empty() { "" } else { "/" };
            let path = format!("{path}{slash}{}", String::from_utf8_lossy(name));
            return Ok(Some(format!("{path:?} {what}, which git does not write")));
        }
    }
    Ok(None)
}

/// The new commits, oldest first.
async fn steps(folder: &Path, old: Option<String>, new: &str) -> Answer<Vec<Step>> {
    if let Some(refused) = not_a_commit(folder, new).await {
        return Ok(Err(refused));
    }
    let limit = format!("--max-count={}", MAX_COMMITS + 1);
    let exclude = old.as_ref().map(|old| format!("^{old}"));
    let arguments = ["rev-list", "--topo-order", "--reverse", "--parents", &limit, new].into_iter();
    let arguments: Vec<&str> = arguments.chain(exclude.as_deref()).chain(["--"]).collect();
    let Ok(listed) = git::run(folder, &arguments).await else {
        return Ok(Err(Refused::because("the history of the commit is incomplete; push from a complete clone")));
    };
    let listed = String::from_utf8_lossy(&listed);
    let mut steps: Vec<Step> = Vec::new();
    let mut is_line = true;
    for line in listed.lines() {
        let mut ids = line.split(' ').map(str::to_owned);
        let (commit, parent, other) = (ids.next().unwrap_or_default(), ids.next(), ids.next());
        if other.is_some() {
            let explanation = format!(
                "The commit {commit} is a merge, and this history is linear. Run `git rebase`, then push again."
            );
            return Ok(Err(Refused::because("merge commits cannot be stored").explained(explanation)));
        }
        is_line &= parent.as_ref() == steps.last().map(|step| &step.commit).or(old.as_ref());
        steps.push(Step { commit, parent });
    }
    if steps.len() > MAX_COMMITS {
        let explanation = format!("Push at most {MAX_COMMITS} commits at once: git push origin COMMIT:refs/heads/main");
        return Ok(Err(Refused::because("too many commits").explained(explanation)));
    }
    let is_complete = steps.last().is_some_and(|step| step.commit == new);
    let refused = Refused { code: CONFLICT, ..Refused::because("non-fast-forward") };
    Ok(if is_line && is_complete { Ok(steps) } else { Err(refused) })
}

/// What is in the project, but not in its commits: folders with a row, and files that git refuses with their folders.
struct Obstacles {
    folders: HashSet<FilePath>,
    hidden: HashSet<FilePath>,
}

impl Obstacles {
    async fn read(services: &Services, actor: &Actor, project: ProjectId) -> Result<Self> {
        let tx = services.read(actor).await?;
        let (mut folders, mut hidden, mut attributes) = (HashSet::new(), HashSet::new(), Vec::new());
        for (path, state) in FileStates::all(&tx, project).await?.by_path {
            if state.file.file_type == FileType::Folder {
                folders.insert(path);
            } else if fsck::refuse_path(path.as_str()).is_some() {
                hidden.insert(path);
            } else if let Some(hash) = state.file.hash.filter(|_| fsck::is_attributes(path.as_str())) {
                attributes.push((path, hash, state.file.size_bytes));
            }
        }
        for group in groups(&attributes, |(.., size)| *size) {
            let contents = contents(&tx, project, group.iter().map(|(_, hash, _)| *hash)).await?;
            let is_bad = |hash| contents.get(&(project, hash)).is_none_or(|content| !fsck::can_be_attributes(content));
            hidden.extend(group.iter().filter(|(_, hash, _)| is_bad(*hash)).map(|(path, ..)| path.clone()));
        }
        folders.extend(hidden.iter().flat_map(FilePath::ancestors));
        Ok(Self { folders, hidden })
    }

    /// Why a file cannot be at a path.
    fn find(&self, path: &FilePath) -> Option<String> {
        if self.hidden.contains(path) {
            return Some(format!(
                "{:?} is in the project, but not in its commits, since git refuses it",
                path.as_str()
            ));
        }
        self.folders
            .contains(path)
            .then(|| format!("{:?} is a folder in the project, which git does not show", path.as_str()))
    }
}

/// Reads pushed commits in order.
struct Reader<'r> {
    services: &'r Services,
    differences: Differences,
    objects: Objects,
}

/// A commit that can be written.
struct Ready {
    message: String,
    metadata: Value,
    theirs: Vec<Theirs>,
    is_empty: bool,
}

impl<'r> Reader<'r> {
    fn start(services: &'r Services, folder: &Path, steps: &[Step], objects: Objects) -> Result<Self> {
        // The writes do not use renames.
        let differences = Differences::start(folder, steps, "--no-renames", &services.limits)?;
        Ok(Self { services, differences, objects })
    }

    /// The next commit, which must be this one, or why it cannot be written.
    async fn next(&mut self, step: &Step) -> Result<std::result::Result<Ready, String>> {
        let limits = &self.services.limits;
        self.objects.release();
        let differences = self.differences.next(&step.commit).await?;
        let written = differences.iter().filter(|difference| difference.new_mode != ABSENT);
        let mut paths = written.map(|difference| String::from_utf8_lossy(&difference.path));
        if let Some(why) = paths.find_map(|path| Some(format!("{path:?}: {}", fsck::refuse_path(&path)?))) {
            return Ok(Err(why));
        }
        let deleted = differences.iter().filter(|difference| difference.new_mode == ABSENT).count();
        // A write has a limit for written and one for deleted files.
        let (most, max) = (deleted.max(differences.len() - deleted), limits.max_sync_files);
        if most > max {
            return Ok(Err(format!("it changes {most} files; MAX_SYNC_FILES allows {max}")));
        }
        let is_empty = differences.is_empty();
        let object = read_commit(&mut self.objects, step).await?;
        let (max_file, max_all) = (limits.max_file_bytes, limits.max_body_bytes);
        let Read { theirs, skipped } = read_changes(&mut self.objects, differences, max_file, max_all).await?;
        if let Some((path, why)) = skipped.into_iter().next() {
            return Ok(Err(format!("{path:?}: {why}")));
        }
        let mut written = theirs.iter().filter_map(|theirs| theirs.after.as_ref());
        let is_bad =
            |after: &After| fsck::is_attributes(after.path.as_str()) && !fsck::can_be_attributes(&after.content);
        if let Some(after) = written.find(|after| is_bad(after)) {
            return Ok(Err(format!("{:?}: {}", after.path.as_str(), fsck::BAD_ATTRIBUTES)));
        }
        let commit = Commit::parse(&object);
        let metadata = Value::Object(record::metadata(&step.commit, &object, &commit, is_empty));
        if commit.message.len().max(metadata.to_string().len()) > limits.max_text_bytes {
            return Ok(Err(format!("it has more than {} bytes (MAX_TEXT_BYTES)", limits.max_text_bytes)));
        }
        let parent = step.parent.as_deref().and_then(parse_id);
        let again = record::tree_of(&object)
            .and_then(|tree| record::object(&metadata, &commit.message, &tree, parent.as_ref()));
        if again.as_ref() != Some(&object) {
            return Ok(Err("its headers cannot be stored".to_owned()));
        }
        Ok(Ok(Ready { message: commit.message, metadata, theirs, is_empty }))
    }
}

impl Checked {
    /// The number of commits.
    pub fn count(&self) -> usize {
        self.steps.len()
    }

    /// The newest commit.
    pub fn commit(&self) -> &str {
        self.steps.last().map_or("", |step| &step.commit)
    }

    /// Writes the commits in order. If one is refused, those before it are stored.
    ///
    /// # Errors
    /// The refusal, with the number of stored commits.
    pub async fn write(self, services: &Arc<Services>, actor: &Actor) -> std::result::Result<(), Refused> {
        let Self { received, project, revision, steps, objects } = self;
        let count = steps.len();
        let mut at = Position { files: revision, imports: revision };
        let metadata = Some(Json::of(&json!({ IMPORT: "git push" })));
        let new = NewSession { project_id: project, title: Some(TITLE.to_owned()), metadata };
        let begun = services.write(actor, |writer| add_ended_session(at.of(writer), new)).await;
        let session = match begun {
            Ok((session, revision)) => {
                at.imports = revision;
                session.id
            }
            Err(error) => return Err(refused(&error, 0, count)),
        };
        let folder = received.folder.path();
        let mut reader = Reader::start(services, folder, &steps, objects).map_err(|error| refused(&error, 0, count))?;
        for (done, step) in steps.iter().enumerate() {
            let failed = |error: Error| refused(&error, done, count);
            let ready = reader.next(step).await.map_err(failed)?;
            let ready = ready.map_err(|why| Refused::because(why).explained(stored(done, count)))?;
            at.write(services, actor, (project, session), ready).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// How many commits of a push are stored; empty if there are none.
fn stored(done: usize, all: usize) -> String {
    match done {
        0 => String::new(),
        done => format!("{done} of {all} commits are stored: fetch them, and rebase the others."),
    }
}

/// The refusal of a push that fails after so many commits.
fn refused(error: &Error, done: usize, all: usize) -> Refused {
    let refused = match error {
        Error::Conflict(conflict) if [Some("expectedRevision"), Some(OTHER_IMPORT)].contains(&conflict.field) => {
            Refused::fetch_first()
        }
        error => Refused::of(error),
    };
    refused.explained(stored(done, all))
}

/// The revisions until which nobody else has changed files, and no other import or push has written.
#[derive(Clone, Copy)]
struct Position {
    files: i32,
    imports: i32,
}

impl Position {
    fn of(self, writer: Writer) -> Writer {
        writer.importing_after(self.imports).with_files_of(self.files)
    }

    /// Writes a commit: its message, then its files.
    async fn write(
        &mut self,
        services: &Arc<Services>,
        actor: &Actor,
        (project_id, session_id): (ProjectId, SessionId),
        ready: Ready,
    ) -> Result<()> {
        let at = *self;
        let new = NewMessage {
            session_id,
            role: MessageRole::Assistant,
            content: ready.message,
            is_checkpoint: true,
            context_data: None,
            metadata: Some(Json::of(&ready.metadata)),
            idempotency_key: None,
        };
        let added = services.write(actor, |writer| add_message(at.of(writer), new)).await?;
        self.imports = added.revision;
        if ready.is_empty {
            return Ok(());
        }
        let (before, after): (Vec<_>, Vec<_>) =
            ready.theirs.into_iter().map(|theirs| (theirs.before, theirs.after)).unzip();
        let written: HashSet<FilePath> = after.iter().flatten().map(|after| after.path.clone()).collect();
        let before = before.into_iter().flatten().map(|before| before.path);
        let deletes = before.filter(|path| !written.contains(path)).collect();
        let files = after.into_iter().flatten().map(|after| SyncFile {
            path: after.path,
            file_type: FileType::File,
            content: Some(Arc::unwrap_or_clone(after.content)),
            mode: Some(after.mode),
            language: None,
        });
        let sync = Sync {
            project_id,
            files: files.collect(),
            deletes,
            mirror: false,
            expected_revision: Some(at.files),
            ignores_others: false,
            allows_any_link: true,
        };
        let context = Context { message_id: Some(added.message.id), ..Context::default() };
        let seen = self.imports;
        let synced = services.write(actor, |writer| sync::sync(writer.importing_after(seen), sync, context)).await?;
        self.files = synced.revision;
        Ok(())
    }
}
