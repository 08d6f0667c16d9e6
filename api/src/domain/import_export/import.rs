//! Imports a git history into a project: each first-parent commit becomes a checkpoint of the AI with its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::commit::Commit;
use super::git::{Differences, Objects, Step, first_parents};
use super::place::{Created, Destination, IMPORT, Place, TITLE, find_or_create, place};
use super::present::{Present, Sources, Theirs};
use super::reading::{Read, read_changes, read_commit};
use super::record;
use crate::domain::chat::{add_message, end_session, start_session};
use crate::domain::file::{self, Context};
use crate::domain::sync::{self, Sync};
use crate::domain::write::OTHER_IMPORT;
use crate::domain::{Services, Writer, access};
use crate::model::actor::Actor;
use crate::model::chat::{NewMessage, NewSession};
use crate::model::enums::MessageRole;
use crate::model::error::{Error, Result};
use crate::model::ids::{MessageId, ProjectId, SessionId};
use crate::model::json::Json;
use crate::model::path::FilePath;

/// Arguments of an import.
#[derive(Clone, Debug)]
pub struct Import {
    /// A git repository, or a folder inside one.
    pub repository: PathBuf,
    /// The project.
    pub destination: Destination,
    /// The branch; `HEAD` by default.
    pub branch: Option<String>,
    /// At most this many commits.
    pub max: Option<usize>,
}

/// Progress of an import.
#[derive(Clone, Debug)]
pub enum Progress {
    /// The import starts.
    Begins {
        /// Number of commits to import.
        commits: usize,
        /// Number of commits imported earlier.
        before: usize,
    },
    /// A commit was imported.
    Commit,
    /// The project is new.
    Created(Created),
    /// Another import writes to the same project, and has imported commits in the meantime.
    Overtaken {
        /// Number of these commits.
        commits: usize,
    },
    /// A path of a commit was left out.
    Skipped {
        /// The commit.
        commit: String,
        /// The path, with invalid bytes replaced.
        path: String,
        /// The reason.
        why: String,
    },
    /// A commit changed a file that was changed here as well, and the present file is kept.
    Kept {
        /// The commit.
        commit: String,
        /// The present path of the file, or the path that it would have.
        path: String,
        /// The conflict.
        why: String,
    },
    /// A part of a commit is unreadable and was replaced.
    Replaced {
        /// The commit.
        commit: String,
        /// The part and its replacement.
        what: String,
    },
}

/// Result of an import.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The project.
    pub project: ProjectId,
    /// Commits that became checkpoints.
    pub commits: usize,
    /// Number of commits that remain to be imported.
    pub left: usize,
    /// Number of versions of files that were created.
    pub versions: usize,
    /// Paths of commits that were left out.
    pub skipped: usize,
    /// Number of changes in commits for which the present file was kept.
    pub kept: usize,
    /// Number of unreadable parts of commits that were replaced.
    pub replaced: usize,
    /// Whether the oldest commit of the repository has parents that are not there: it is a shallow clone.
    pub is_shallow: bool,
}

/// Imports the commits that the project does not have yet. The next run continues an interrupted one, and of several
/// runs at once each continues after the commits of the others. The files changed by one commit are held in memory.
///
/// # Errors
/// `BadInput` if there is no repository or commit, and for a commit that changes too many files; `Internal` with git's own
/// message; `NotFound` or `Forbidden` for a given project; `Conflict` if the project was not made by an import, or if the
/// repository lacks the imported commits; the errors of writes to the project.
pub async fn import(
    services: &Arc<Services>,
    actor: &Actor,
    import: Import,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Imported> {
    let repository = import.repository.as_path();
    let steps = first_parents(repository, import.branch.as_deref()).await?;
    let (project, created) = find_or_create(services, actor, &import.destination, (repository, &steps)).await?;
    if let Some(created) = created {
        report(Progress::Created(created));
    }
    let mut place_now = place(services, actor, project, repository, &steps).await?;
    let start = place_now.start.min(steps.len());
    let end = import.max.map_or(steps.len(), |max| start.saturating_add(max).min(steps.len()));
    report(Progress::Begins { commits: end - start, before: start });
    let mut objects = Objects::start(repository)?;
    let is_shallow = match steps.first() {
        Some(oldest) => !Commit::parse(&read_commit(&mut objects, oldest).await?).parents.is_empty(),
        None => false,
    };
    let left = steps.len() - end;
    let imported = Imported { project, commits: 0, left, versions: 0, skipped: 0, kept: 0, replaced: 0, is_shallow };
    if start == end {
        return Ok(imported);
    }
    let present = Present::read(services, actor, project).await?;
    let mut run = Run { services, actor, repository, objects, present, session: None, seen: 0, imported, report };
    let mut done = start;
    loop {
        let todo = steps.get(place_now.start..end).unwrap_or_default();
        match run.commits(todo, &place_now, &mut done).await {
            Err(Error::Conflict(conflict)) if conflict.field == Some(OTHER_IMPORT) => {
                place_now = place(services, actor, project, repository, &steps).await?;
                (run.report)(Progress::Overtaken { commits: place_now.start.min(end).saturating_sub(done) });
                done = done.max(place_now.start);
            }
            ended => break ended?,
        }
    }
    if let Some(session) = run.session.filter(|_| left == 0) {
        services.write(actor, |writer| end_session(writer, session)).await?;
    }
    Ok(run.imported)
}

/// How often the merge of a commit is repeated because of concurrent writes to the same files.
const ATTEMPTS: usize = 20;

/// A running import.
struct Run<'r> {
    services: &'r Arc<Services>,
    actor: &'r Actor,
    repository: &'r Path,
    objects: Objects,
    present: Present,
    session: Option<SessionId>,
    /// The revision until which no other import has written.
    seen: i32,
    imported: Imported,
    report: &'r mut (dyn FnMut(Progress) + Send),
}

impl Run<'_> {
    /// Imports commits from a place on, and counts them in `done`.
    ///
    /// # Errors
    /// `Conflict` with [`OTHER_IMPORT`] if another import writes to the project.
    async fn commits(&mut self, steps: &[Step], from: &Place, done: &mut usize) -> Result<()> {
        let Some(first) = steps.first() else { return Ok(()) };
        let mut differences = Differences::start(self.repository, steps, "--find-renames", &self.services.limits)?;
        self.seen = from.revision;
        self.present.refresh(self.services, self.actor).await?;
        let session = match from.session {
            Some(session) => session,
            None => self.start_session().await?,
        };
        self.session = Some(session);
        for step in steps {
            let differences = differences.next(&step.commit).await?;
            let is_empty = differences.is_empty();
            let max_bytes = self.services.limits.max_file_bytes;
            let Read { theirs, skipped } = read_changes(&mut self.objects, differences, max_bytes, usize::MAX).await?;
            let (message, replaced) = match from.unfinished.filter(|_| step.commit == first.commit) {
                Some(message) => (message, Vec::new()),
                None => {
                    let object = read_commit(&mut self.objects, step).await?;
                    let mut commit = Commit::parse(&object);
                    let replaced = std::mem::take(&mut commit.replaced);
                    let mut metadata = record::metadata(&step.commit, &object, &commit, is_empty);
                    let moved = self.present.moved(&theirs);
                    if !moved.is_empty() {
                        metadata.insert(record::MOVED.to_owned(), moved.into());
                    }
                    (self.add_checkpoint(session, commit, metadata).await?, replaced)
                }
            };
            let (versions, kept) = self.write(message, &theirs).await?;
            self.imported.versions += versions;
            self.imported.skipped += skipped.len();
            self.imported.kept += kept.len();
            self.imported.replaced += replaced.len();
            let commit = || step.commit.clone();
            for (path, why) in skipped {
                (self.report)(Progress::Skipped { commit: commit(), path, why });
            }
            for what in replaced {
                (self.report)(Progress::Replaced { commit: commit(), what });
            }
            for (path, why) in kept {
                (self.report)(Progress::Kept { commit: commit(), path: path.as_str().to_owned(), why });
            }
            self.imported.commits += 1;
            *done += 1;
            (self.report)(Progress::Commit);
        }
        differences.stop().await;
        Ok(())
    }

    /// Starts the session of an import. Its metadata distinguishes it from the sessions of users.
    async fn start_session(&mut self) -> Result<SessionId> {
        let metadata = Some(Json::of(&json!({ IMPORT: "git" })));
        let new = NewSession { project_id: self.present.project, title: Some(TITLE.to_owned()), metadata };
        let seen = self.seen;
        let start = |writer: Writer| start_session(writer.importing_after(seen), new);
        let (session, revision) = self.services.write(self.actor, start).await?;
        self.seen = revision;
        Ok(session.id)
    }

    /// Merges a commit's files with the present ones and writes them for its message. Returns the number of new
    /// versions, and the paths where the present file was kept.
    async fn write(&mut self, message: MessageId, theirs: &[Theirs]) -> Result<(usize, Vec<(FilePath, String)>)> {
        let seen = self.seen;
        // Only the revision of the message may be missing.
        if seen > self.present.revision + 1 {
            self.present.refresh(self.services, self.actor).await?;
        }
        for attempt in 1.. {
            let present = &mut self.present;
            let mut sources = Sources { services: self.services, actor: self.actor, objects: &mut self.objects };
            let mut change = present.merge(&mut sources, theirs).await?;
            let kept = std::mem::take(&mut change.kept);
            let known = present.revision.max(seen);
            if change.is_empty() {
                present.follow(change, &[], known);
                return Ok((0, kept));
            }
            let sync = Sync {
                project_id: present.project,
                files: change.files(),
                deletes: change.deletes(),
                mirror: false,
                expected_revision: Some(known),
                ignores_others: true,
                allows_any_link: true,
            };
            let context = Context { message_id: Some(message), ..Context::default() };
            let write = |writer: Writer| sync::sync(writer.importing_after(seen), sync, context);
            match self.services.write(self.actor, write).await {
                Ok(synced) => {
                    // After revisions of others, the next commit reads their changes. A sync without changes has the
                    // revision of the newest one.
                    let is_next = !synced.changes.is_empty() && synced.revision == known + 1;
                    let revision = if is_next { synced.revision } else { known };
                    present.follow(change, &synced.changes, revision);
                    return Ok((synced.changes.len(), kept));
                }
                Err(Error::Conflict(conflict)) if conflict.field == Some("expectedRevision") && attempt < ATTEMPTS => {
                    present.refresh(self.services, self.actor).await?;
                    if self.has_files(message).await? {
                        // Another import has completed the commit.
                        return Ok((0, Vec::new()));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::internal("attempts without an end"))
    }

    async fn has_files(&self, message: MessageId) -> Result<bool> {
        let tx = self.services.read(self.actor).await?;
        let member = access::required(&tx, self.present.project).await?;
        Ok(!file::changes_of_messages(&tx, &[(member, message)]).await?.is_empty())
    }

    async fn add_checkpoint(
        &mut self,
        session: SessionId,
        commit: Commit,
        metadata: Map<String, Value>,
    ) -> Result<MessageId> {
        let new = NewMessage {
            session_id: session,
            role: MessageRole::Assistant,
            content: commit.message,
            is_checkpoint: true,
            context_data: None,
            metadata: Some(Json::of(&Value::Object(metadata))),
            idempotency_key: None,
        };
        let seen = self.seen;
        let added = self.services.write(self.actor, |writer| add_message(writer.importing_after(seen), new)).await?;
        self.seen = added.revision;
        Ok(added.message.id)
    }
}
