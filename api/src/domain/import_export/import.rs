//! Imports a git history into a project: each first-parent commit becomes a checkpoint of the AI with its files.

use std::path::PathBuf;
use std::sync::Arc;

use super::commit::{Commit, Signature};
use super::git::{Difference, Differences, Object, Objects, Step, first_parents};
use super::present::{After, Before, Change, Present, Sources, Theirs};
use crate::domain::chat::{self, add_message, end_session, start_session};
use crate::domain::file::{self, Context};
use crate::domain::sync::{self, Sync};
use crate::domain::{Services, access, project};
use crate::model::actor::Actor;
use crate::model::chat::{MessageFilter, NewMessage, NewSession, Session, SessionFilter};
use crate::model::enums::MessageRole;
use crate::model::error::{Error, Result};
use crate::model::file::FileMode;
use crate::model::ids::{MessageId, ProjectId, SessionId};
use crate::model::json::Json;
use crate::model::page::Page;
use crate::model::path::FilePath;
use crate::model::project::{NewProject, Project, ProjectFilter, ProjectOrderField};
use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

/// Maximum size of a commit object, in bytes.
const MAX_COMMIT_BYTES: usize = 64 * 1024 * 1024;

/// The title of the project's sessions.
const TITLE: &str = "Imported from git";
/// The key in a session's metadata that marks an import.
const IMPORT: &str = "import";
/// The key of a message's metadata with its commit.
pub(super) const COMMIT: &str = "commit";
const SUBMODULE: &str = "160000";
const ABSENT: &str = "000000";

/// Arguments of an import.
#[derive(Clone, Debug)]
pub struct Import {
    /// A git repository, or a folder inside one.
    pub repository: PathBuf,
    /// The name of the project, which is created if the owner has none of this name.
    pub project: String,
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

/// Imports the commits that the project does not have yet. The next run continues an interrupted one. The files changed
/// by one commit are held in memory.
///
/// # Errors
/// `Internal` with git's own message; `Conflict` if the project was not made by an import, or if the repository lacks
/// the imported commits; the errors of writes to the project.
pub async fn import(
    services: &Arc<Services>,
    actor: &Actor,
    import: Import,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Imported> {
    let steps = first_parents(&import.repository, import.branch.as_deref()).await?;
    let project = match find_project(services, actor, &import.project).await? {
        Some(project) => project,
        None => create_project(services, actor, &import.project).await?,
    };
    let place = place(services, actor, &project, &import, &steps).await?;
    let project = project.id;
    let (before, todo) = steps.split_at(place.start.min(steps.len()));
    let (todo, later) = todo.split_at(import.max.unwrap_or(usize::MAX).min(todo.len()));
    report(Progress::Begins { commits: todo.len(), before: before.len() });
    let mut objects = Objects::start(&import.repository)?;
    let is_shallow = match steps.first() {
        Some(oldest) => !read_commit(&mut objects, oldest).await?.parents.is_empty(),
        None => false,
    };
    let left = later.len();
    let mut imported =
        Imported { project, commits: 0, left, versions: 0, skipped: 0, kept: 0, replaced: 0, is_shallow };
    let Some(first) = todo.first() else { return Ok(imported) };

    let mut differences = Differences::start(&import.repository, todo)?;
    let session = match place.session.filter(|session| session.is_active) {
        Some(session) => session.id,
        None => start_import(services, actor, project).await?,
    };
    let mut present = Present::read(services, actor, project).await?;
    for step in todo {
        let differences = differences.next(&step.commit).await?;
        let mut reading = Reading { objects: &mut objects, commit: &step.commit, skipped: 0, report };
        let theirs = reading.theirs(differences, services.limits.max_file_bytes).await?;
        imported.skipped += reading.skipped;
        let started = place.unfinished.filter(|_| step.commit == first.commit);
        let message = match started {
            Some(message) => message,
            None => {
                let commit = read_commit(&mut objects, step).await?;
                for what in &commit.replaced {
                    imported.replaced += 1;
                    report(Progress::Replaced { commit: step.commit.clone(), what: what.clone() });
                }
                add_checkpoint(services, actor, session, commit, step).await?
            }
        };
        let write = Write { services, actor, message };
        let (versions, kept) = write.write(&mut present, &mut objects, &theirs).await?;
        imported.versions += versions;
        imported.kept += kept.len();
        for (path, why) in kept {
            report(Progress::Kept { commit: step.commit.clone(), path: path.as_str().to_owned(), why });
        }
        imported.commits += 1;
        report(Progress::Commit);
    }
    differences.stop().await;
    if later.is_empty() {
        services.write(actor, |writer| end_session(writer, session)).await?;
    }
    Ok(imported)
}

/// How often the merge of a commit is repeated because of concurrent writes.
const ATTEMPTS: usize = 5;

/// The files of a commit, to be written for its message.
struct Write<'s> {
    services: &'s Arc<Services>,
    actor: &'s Actor,
    message: MessageId,
}

impl Write<'_> {
    /// Merges a commit's files with the present ones. Returns the number of new versions, and the paths where the
    /// present file was kept.
    async fn write(
        &self,
        present: &mut Present,
        objects: &mut Objects,
        theirs: &[Theirs],
    ) -> Result<(usize, Vec<(FilePath, String)>)> {
        for attempt in 1.. {
            let mut sources = Sources { services: self.services, actor: self.actor, objects: &mut *objects };
            let mut change = present.merge(&mut sources, theirs).await?;
            let kept = std::mem::take(&mut change.kept);
            if change.is_empty() {
                present.follow(change, &[], present.revision);
                return Ok((0, kept));
            }
            let sync = Sync {
                project_id: present.project,
                files: change.files(),
                deletes: change.deletes(),
                mirror: false,
                expected_revision: Some(present.revision),
            };
            let context = Context { message_id: Some(self.message), ..Context::default() };
            match self.services.write(self.actor, |writer| sync::sync(writer, sync, context)).await {
                Ok(synced) => {
                    present.follow(change, &synced.changes, synced.revision);
                    return Ok((synced.changes.len(), kept));
                }
                Err(Error::Conflict(conflict)) if conflict.field == Some("expectedRevision") && attempt < ATTEMPTS => {
                    *present = Present::read(self.services, self.actor, present.project).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::internal("attempts without an end"))
    }
}

/// The actor's own project with this name.
async fn find_project(services: &Services, actor: &Actor, name: &str) -> Result<Option<Project>> {
    let keep = ProjectFilter { search: Some(name.to_owned()), ..ProjectFilter::default() };
    let tx = services.read(actor).await?;
    let found = project::page(&tx, &keep, ProjectOrderField::CreatedAt, false, &Page::all()).await?;
    let found = found.rows.into_iter().map(|(_, project)| project);
    let mut found = found.filter(|project| project.name == name && project.owner_id == actor.user_id);
    let project = found.next();
    if found.next().is_some() {
        return Err(Error::conflict("name", format!("There are several projects {name:?}; choose another --name.")));
    }
    Ok(project)
}

async fn create_project(services: &Arc<Services>, actor: &Actor, name: &str) -> Result<Project> {
    let new = NewProject {
        name: name.to_owned(),
        description: Some(TITLE.to_owned()),
        initial_prompt: String::new(),
        config: Json::object(),
    };
    services.write(actor, |writer| project::create(writer, new)).await
}

/// Starts the session of an import. Its metadata distinguishes it from the sessions of users.
async fn start_import(services: &Arc<Services>, actor: &Actor, project: ProjectId) -> Result<SessionId> {
    let metadata = Some(Json::of(&json!({ IMPORT: "git" })));
    let new = NewSession { project_id: project, title: Some(TITLE.to_owned()), metadata };
    Ok(services.write(actor, |writer| start_session(writer, new)).await?.0.id)
}

/// The position at which an import continues.
struct Place {
    /// Number of imported commits.
    start: usize,
    /// The session of the last one.
    session: Option<Session>,
    /// The message of the first commit to import, if it was written without its files.
    unfinished: Option<MessageId>,
}

/// Finds the last imported commit: the newest message of the newest import's session contains it.
async fn place(
    services: &Services,
    actor: &Actor,
    project: &Project,
    import: &Import,
    steps: &[Step],
) -> Result<Place> {
    let tx = services.read(actor).await?;
    let member = access::required(&tx, project.id).await?;
    let sessions = chat::sessions_page(&tx, &[member], &SessionFilter::default(), &Page::all()).await?;
    let sessions: Vec<Session> = sessions.into_iter().flat_map(|(_, slice)| slice.rows).map(|(_, row)| row).collect();
    let newest = Page::last(1);
    let mut imports = sessions.iter().filter(|session| session.metadata.value().get(IMPORT).is_some());
    for session in imports.clone() {
        let messages = chat::messages_page(&tx, &[(member, session.id)], &MessageFilter::default(), &newest).await?;
        let Some((_, message)) = messages.into_iter().flat_map(|(_, slice)| slice.rows).next() else { continue };
        let metadata = message.metadata.value();
        let commit = metadata.get(COMMIT).and_then(Value::as_str).unwrap_or_default();
        let step = steps.iter().enumerate().find(|(_, step)| step.commit == commit);
        let Some((at, step)) = step else {
            return Err(Error::conflict(
                "git",
                format!(
                    "The owner's project {:?} has another history: the last commit imported was {commit:?}, which is not \
                     an ancestor of HEAD in this repository. Choose another --name.",
                    project.name
                ),
            ));
        };
        let session = Some(session.clone());
        // A killed process may have written a message without its files. A commit's files are one revision, so any
        // change for the message is the complete one.
        let changes = file::changes_of_messages(&tx, &[(member, message.id)]).await?;
        if !changes.is_empty() || is_applied(services, actor, project.id, import, step).await? {
            return Ok(Place { start: at + 1, session, unfinished: None });
        }
        // If the session has ended since, a new message is needed.
        let unfinished = session.as_ref().filter(|session| session.is_active).map(|_| message.id);
        return Ok(Place { start: at, session, unfinished });
    }
    if sessions.iter().any(|session| session.metadata.value().get(IMPORT).is_none()) || project.change_count > 0 {
        let message = "There is a project of this name that no import made; choose another --name.";
        return Err(Error::conflict("name", message));
    }
    Ok(Place { start: 0, session: imports.next().cloned(), unfinished: None })
}

/// Whether a commit would change nothing.
async fn is_applied(
    services: &Services,
    actor: &Actor,
    project: ProjectId,
    import: &Import,
    step: &Step,
) -> Result<bool> {
    let mut differences = Differences::start(&import.repository, std::slice::from_ref(step))?;
    let mut objects = Objects::start(&import.repository)?;
    // Skipped files were reported the first time.
    let silent = &mut |_| {};
    let mut reading = Reading { objects: &mut objects, commit: &step.commit, skipped: 0, report: silent };
    let theirs = reading.theirs(differences.next(&step.commit).await?, services.limits.max_file_bytes).await?;
    let present = Present::read(services, actor, project).await?;
    let change: Change = present.merge(&mut Sources { services, actor, objects: &mut objects }, &theirs).await?;
    Ok(change.is_empty())
}

struct Reading<'r> {
    objects: &'r mut Objects,
    commit: &'r str,
    skipped: usize,
    report: &'r mut (dyn FnMut(Progress) + Send),
}

impl Reading<'_> {
    fn skip(&mut self, path: &[u8], why: impl Into<String>) {
        self.skipped += 1;
        let path = String::from_utf8_lossy(path).into_owned();
        (self.report)(Progress::Skipped { commit: self.commit.to_owned(), path, why: why.into() });
    }

    /// Reads the changes of a commit. Leaves out what cannot be imported, as if it were not in the commit.
    async fn theirs(&mut self, differences: Vec<Difference>, max_bytes: usize) -> Result<Vec<Theirs>> {
        let mut theirs = Vec::with_capacity(differences.len());
        for difference in differences {
            let was_file = ![ABSENT, SUBMODULE].contains(&difference.old_mode.as_str());
            // Ignore the deletion of a file that was never imported.
            let before = parse_path(&difference.old_path).ok().filter(|_| was_file).map(|path| Before {
                path,
                object: difference.old_object,
                mode: FileMode::from_git(&difference.old_mode),
            });
            let mut after = None;
            if difference.new_mode != ABSENT {
                let content = match parse_path(&difference.path) {
                    Err(why) => Err(why),
                    Ok(_) if difference.new_mode == SUBMODULE => Err("It is a submodule.".to_owned()),
                    Ok(path) => match self.objects.read(&difference.object, max_bytes).await? {
                        Object::Bytes(bytes) => Ok((path, Arc::new(bytes))),
                        Object::TooLarge(size) => {
                            Err(format!("It has {size} bytes; --max-file-bytes allows {max_bytes}."))
                        }
                        Object::Missing => Err("Its contents are missing in the repository.".to_owned()),
                    },
                };
                let mode = FileMode::from_git(&difference.new_mode);
                match content {
                    Ok((path, content)) => after = Some(After { path, content, mode }),
                    Err(why) => self.skip(&difference.path, why),
                }
            }
            if before.is_some() || after.is_some() {
                theirs.push(Theirs { before, after });
            }
        }
        Ok(theirs)
    }
}

fn parse_path(path: &[u8]) -> std::result::Result<FilePath, String> {
    match std::str::from_utf8(path) {
        Ok(text) => FilePath::parse(text, "path").map_err(|error| error.message()),
        Err(_) => Err("Its path is not UTF-8.".to_owned()),
    }
}

async fn read_commit(objects: &mut Objects, step: &Step) -> Result<Commit> {
    match objects.read(&step.commit, MAX_COMMIT_BYTES).await? {
        Object::Bytes(bytes) => Ok(Commit::parse(&bytes)),
        Object::TooLarge(_) | Object::Missing => Err(Error::internal(format!("commit {} cannot be read", step.commit))),
    }
}

async fn add_checkpoint(
    services: &Arc<Services>,
    actor: &Actor,
    session: SessionId,
    commit: Commit,
    step: &Step,
) -> Result<MessageId> {
    let mut metadata = Map::new();
    metadata.insert(COMMIT.to_owned(), json!(step.commit));
    write_signature(&mut metadata, &AUTHOR, &commit.author);
    if commit.committer != commit.author {
        write_signature(&mut metadata, &COMMITTER, &commit.committer);
    }
    if commit.parents.len() > 1 {
        metadata.insert("parents".to_owned(), json!(commit.parents));
    }
    let new = NewMessage {
        session_id: session,
        role: MessageRole::Assistant,
        content: commit.message,
        is_checkpoint: true,
        context_data: None,
        metadata: Some(Json::of(&Value::Object(metadata))),
        idempotency_key: None,
    };
    Ok(services.write(actor, |writer| add_message(writer, new)).await?.message.id)
}

/// The keys of a message's metadata with an author or committer and the time.
pub(super) struct SignatureKeys {
    name: &'static str,
    email: &'static str,
    at: &'static str,
    /// The time as in the commit; set only if `at` cannot express it.
    raw: &'static str,
}

pub(super) const AUTHOR: SignatureKeys =
    SignatureKeys { name: "author", email: "authorEmail", at: "authoredAt", raw: "authorDate" };
/// Set only if the committer is not the author.
pub(super) const COMMITTER: SignatureKeys =
    SignatureKeys { name: "committer", email: "committerEmail", at: "committedAt", raw: "committerDate" };

fn write_signature(metadata: &mut Map<String, Value>, keys: &SignatureKeys, signature: &Signature) {
    metadata.insert(keys.name.to_owned(), json!(signature.name));
    metadata.insert(keys.email.to_owned(), json!(signature.email));
    match signature.time() {
        Some(at) => metadata.insert(keys.at.to_owned(), json!(at.to_rfc3339_opts(SecondsFormat::Secs, true))),
        None => metadata.insert(keys.raw.to_owned(), json!(signature.raw_date())),
    };
}

/// Reads what [`write_signature`] wrote.
pub(super) fn read_signature(metadata: &Value, keys: &SignatureKeys) -> Option<Signature> {
    let text = |key: &str| metadata.get(key).and_then(Value::as_str);
    let (name, email) = (text(keys.name)?.to_owned(), text(keys.email)?.to_owned());
    if let Some(date) = text(keys.raw) {
        return Signature::with_raw_date(name, email, date);
    }
    let at = chrono::DateTime::parse_from_rfc3339(text(keys.at)?).ok()?;
    Some(Signature::at(name, email, at))
}
