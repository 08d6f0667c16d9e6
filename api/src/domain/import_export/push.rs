//! Pushed commits. Each becomes a message with its files, as in an import. All are checked before the first is written,
//! so that only a concurrent write can stop a push halfway.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::chain::is_servable;
use super::commit::Commit;
use super::git::{self, Difference, Differences, Objects, Process, Step};
use super::git_cache::{GitCache, Repository};
use super::objects::parse_id;
use super::place::IMPORT;
use super::present::Theirs;
use super::reading::{Read, read_changes, read_commit};
use super::record;
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
use crate::model::file::FileMode;
use crate::model::ids::{ProjectId, SessionId};
use crate::model::json::Json;
use crate::model::path::FilePath;

/// The title of the session of a push.
const TITLE: &str = "Pushed from git";

/// Maximum number of commits in a push.
const MAX_COMMITS: usize = 10_000;

/// The most of git's error output that a client gets, in characters.
const MAX_ERROR_CHARS: usize = 1_000;

/// The least memory that git may allocate at once for an object.
const MIN_ALLOCATION: usize = 64 * 1024 * 1024;

/// The reason for which a push is refused if the client does not have the newest commits, in git's words.
const FETCH_FIRST: &str = "fetch first";

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
}

/// Why a push is refused, in one line, with an explanation.
#[derive(Debug)]
pub struct Refused {
    /// The reason.
    pub reason: String,
    /// The explanation; empty if there is none.
    pub explanation: String,
}

impl Refused {
    /// The refusal of a push that is not based on the newest commit.
    pub fn fetch_first() -> Self {
        Self { reason: FETCH_FIRST.to_owned(), explanation: String::new() }
    }

    fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), explanation: String::new() }
    }
}

/// A result of git or the service, or a refusal of the push.
type Answer<T> = Result<std::result::Result<T, Refused>>;

impl GitCache {
    /// Begins to receive the objects of a push, at most `max_bytes`.
    ///
    /// # Errors
    /// `Internal` if git does not start.
    pub async fn receive(&self, services: &Services, repository: &Repository, max_bytes: u64) -> Result<Receiving> {
        let folder = self.scratch()?;
        git::run(folder.path(), &["init", "--quiet", "--bare", "--template="]).await?;
        let objects = std::path::absolute(repository.path.join("objects")).map_err(Error::internal)?;
        let alternates = folder.path().join("objects/info/alternates");
        std::fs::write(alternates, format!("{}\n", objects.display())).map_err(Error::internal)?;
        let mut command = git::command(folder.path());
        // A larger object is refused before it takes memory; slightly too large files get a better message later.
        let allocation = services.limits.max_file_bytes.saturating_mul(2).max(MIN_ALLOCATION);
        command.env("GIT_ALLOC_LIMIT", allocation.to_string());
        command.args(["index-pack", "--stdin", "--fix-thin", "--strict"]).arg(format!("--max-input-size={max_bytes}"));
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
        let output = self.process.output().await?;
        if output.status.success() {
            return Ok(Ok(Received { folder: self.folder }));
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().chars().take(MAX_ERROR_CHARS).collect();
        Ok(Err(Refused { reason: "the pack is invalid".to_owned(), explanation: said }))
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
        let obstacles = Obstacles::read(services, actor, project).await?;
        let mut reader = Reader::start(services, self.folder.path(), &steps)?;
        for step in &steps {
            let why = match reader.next(step).await {
                Ok(Ok(ready)) => ready.theirs.iter().find_map(|theirs| obstacles.find(&theirs.after.as_ref()?.path)),
                Ok(Err(why)) => Some(why),
                Err(error) => {
                    tracing::warn!(error = error.message(), cause = error.cause(), "git cannot read a pushed commit");
                    Some("git cannot read it within its limits: has it too many files?".to_owned())
                }
            };
            if let Some(why) = why {
                let short = step.commit.get(..12).unwrap_or(&step.commit);
                return Ok(Err(Refused::because(format!("commit {short}: {why}"))));
            }
        }
        Ok(Ok(Checked { received: self, project, revision: repository.tip.revision, steps }))
    }
}

/// The new commits, oldest first.
async fn steps(folder: &Path, old: Option<String>, new: &str) -> Answer<Vec<Step>> {
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
            return Ok(Err(Refused {
                reason: "merge commits cannot be stored".to_owned(),
                explanation: format!(
                    "The commit {commit} is a merge, and this history is a line. Run `git rebase`, then push again."
                ),
            }));
        }
        is_line &= parent.as_ref() == steps.last().map(|step| &step.commit).or(old.as_ref());
        steps.push(Step { commit, parent });
    }
    if steps.len() > MAX_COMMITS {
        let explanation = format!("Push at most {MAX_COMMITS} commits at once: git push origin COMMIT:refs/heads/main");
        return Ok(Err(Refused { reason: "too many commits".to_owned(), explanation }));
    }
    let is_complete = steps.last().is_some_and(|step| step.commit == new);
    Ok(if is_line && is_complete { Ok(steps) } else { Err(Refused::because("non-fast-forward")) })
}

/// What is in the project, but not in its commits: folders with a row, and files that git does not check out.
struct Obstacles {
    folders: HashSet<FilePath>,
    hidden: BTreeSet<FilePath>,
}

impl Obstacles {
    async fn read(services: &Services, actor: &Actor, project: ProjectId) -> Result<Self> {
        let tx = services.read(actor).await?;
        let (mut folders, mut hidden) = (HashSet::new(), BTreeSet::new());
        for (path, state) in FileStates::all(&tx, project).await?.by_path {
            let is_link = state.file.mode == FileMode::Symlink;
            if state.file.file_type == FileType::Folder {
                folders.insert(path);
            } else if path.as_str().split('/').any(|part| !is_servable(part, is_link)) {
                hidden.insert(path);
            }
        }
        Ok(Self { folders, hidden })
    }

    /// Why a file cannot be at a path.
    fn find(&self, path: &FilePath) -> Option<String> {
        let is_folder = self.folders.contains(path) || self.hidden.iter().any(|hidden| hidden.is_under(path));
        is_folder.then(|| format!("{:?} is a folder in the project, which git does not show", path.as_str()))
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
    fn start(services: &'r Services, folder: &Path, steps: &[Step]) -> Result<Self> {
        Ok(Self { services, differences: Differences::start(folder, steps)?, objects: Objects::start(folder)? })
    }

    /// The next commit, which must be this one, or why it cannot be written.
    async fn next(&mut self, step: &Step) -> Result<std::result::Result<Ready, String>> {
        let limits = &self.services.limits;
        let differences = self.differences.next(&step.commit).await?;
        if let Some(why) = differences.iter().find_map(flaw) {
            return Ok(Err(why));
        }
        if differences.len() > limits.max_sync_files {
            let max = limits.max_sync_files;
            return Ok(Err(format!("it changes {} files; MAX_SYNC_FILES allows {max}", differences.len())));
        }
        let is_empty = differences.is_empty();
        let object = read_commit(&mut self.objects, step).await?;
        let (max_file, max_all) = (limits.max_file_bytes, limits.max_body_bytes);
        let Read { theirs, skipped } = read_changes(&mut self.objects, differences, max_file, max_all).await?;
        if let Some((path, why)) = skipped.into_iter().next() {
            return Ok(Err(format!("{path:?}: {why}")));
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

/// Why a changed file cannot be stored unchanged, besides the reasons of [`read_changes`].
fn flaw(difference: &Difference) -> Option<String> {
    let path = String::from_utf8_lossy(&difference.path);
    let mode = difference.new_mode.as_str();
    if !["000000", "100644", "100755", "120000", "160000"].contains(&mode) {
        return Some(format!("{path:?} has the mode {mode}"));
    }
    let is_link = mode == "120000";
    let part = path.split('/').find(|part| !is_servable(part, is_link))?;
    Some(format!("{path:?}: git keeps {part:?} for itself"))
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
    /// The errors of writes that are not about the push.
    pub async fn write(self, services: &Arc<Services>, actor: &Actor) -> Answer<()> {
        let mut at = Position { files: self.revision, imports: self.revision };
        let metadata = Some(Json::of(&json!({ IMPORT: "git push" })));
        let new = NewSession { project_id: self.project, title: Some(TITLE.to_owned()), metadata };
        let begun = services.write(actor, |writer| add_ended_session(at.of(writer), new)).await;
        let session = match begun {
            Ok((session, revision)) => {
                at.imports = revision;
                session.id
            }
            Err(error) => return refused(error, 0, self.count()),
        };
        let mut reader = Reader::start(services, self.received.folder.path(), &self.steps)?;
        for (done, step) in self.steps.iter().enumerate() {
            let ready = match reader.next(step).await? {
                Ok(ready) => ready,
                Err(why) => return Ok(Err(Refused::because(why))),
            };
            if let Err(error) = at.write(services, actor, (self.project, session), ready).await {
                return refused(error, done, self.count());
            }
        }
        Ok(Ok(()))
    }
}

/// The refusal of a push for an error of a write.
fn refused(error: Error, done: usize, all: usize) -> Answer<()> {
    let explanation = match done {
        0 => String::new(),
        done => format!("{done} of {all} commits are stored: fetch them, and rebase the others."),
    };
    match error {
        Error::Conflict(conflict) if [Some("expectedRevision"), Some(OTHER_IMPORT)].contains(&conflict.field) => {
            Ok(Err(Refused { explanation, ..Refused::fetch_first() }))
        }
        error if error.cause().is_some() && done == 0 => Err(error),
        error => Ok(Err(Refused { reason: error.message(), explanation })),
    }
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
        let written: HashSet<&FilePath> =
            ready.theirs.iter().filter_map(|theirs| Some(&theirs.after.as_ref()?.path)).collect();
        let before = ready.theirs.iter().filter_map(|theirs| Some(&theirs.before.as_ref()?.path));
        let deletes = before.filter(|path| !written.contains(*path)).cloned().collect();
        let after = ready.theirs.iter().filter_map(|theirs| theirs.after.as_ref());
        let files = after.map(|after| SyncFile {
            path: after.path.clone(),
            file_type: FileType::File,
            content: Some(after.content.to_vec()),
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
