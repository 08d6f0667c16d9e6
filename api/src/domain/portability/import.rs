//! A git history becomes a project: each commit, by first parents, one checkpoint of the AI with its files.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::commit::{Commit, Signature};
use super::git::{Difference, Differences, Object, Objects, Step, first_parents};
use crate::domain::chat::{self, add_message, end_session, start_session};
use crate::domain::file::{self, Context};
use crate::domain::sync::{self, Sync, SyncFile};
use crate::domain::{Services, Tx, access, project};
use crate::model::actor::Actor;
use crate::model::chat::{MessageFilter, NewMessage, NewSession, Session, SessionFilter};
use crate::model::error::{Error, Result};
use crate::model::file::Hash;
use crate::model::ids::{MessageId, ProjectId, SessionId};
use crate::model::json::Json;
use crate::model::names::{FileType, MessageRole};
use crate::model::page::Page;
use crate::model::path::FilePath;
use crate::model::project::{NewProject, Project, ProjectFilter, ProjectOrderField};

/// Largest commit object that is read, in bytes.
const MAX_COMMIT_BYTES: usize = 64 * 1024 * 1024;

/// What the project and the sessions of an import are called.
const TITLE: &str = "Imported from git";
/// By this key of its metadata a session is known as an import's.
const IMPORT: &str = "import";
/// The key of a message's metadata that names its commit.
pub(super) const COMMIT: &str = "commit";
/// The key of a message's metadata that has the modes of its files that are no plain ones, or became plain ones.
pub(super) const MODES: &str = "modes";
/// A plain file's mode, as git writes it.
pub(super) const PLAIN: &str = "100644";
const SUBMODULE: &str = "160000";
const ABSENT: &str = "000000";

/// What to import.
#[derive(Clone, Debug)]
pub struct Import {
    /// A git repository, or a folder in one.
    pub repository: PathBuf,
    /// The name of the project, which is made where its owner has none of this name.
    pub project: String,
    /// The branch; where there is none, what `HEAD` is.
    pub branch: Option<String>,
    /// At most this many commits.
    pub max: Option<usize>,
}

/// What an import says while it is under way.
#[derive(Clone, Debug)]
pub enum Progress {
    /// There are this many commits to import, after this many that were imported before.
    Begins {
        /// To import.
        commits: usize,
        /// Imported before.
        before: usize,
    },
    /// One more commit is a checkpoint.
    Commit,
    /// A path of a commit was left out.
    Skipped {
        /// The commit.
        commit: String,
        /// The path, as far as it is text.
        path: String,
        /// Why.
        why: String,
    },
    /// Something of a commit cannot be read, and something else stands for it.
    Replaced {
        /// The commit.
        commit: String,
        /// What, and by what.
        what: String,
    },
}

/// What an import did.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The project.
    pub project: ProjectId,
    /// Commits that became checkpoints.
    pub commits: usize,
    /// Commits that are still to be imported.
    pub left: usize,
    /// Versions of files that they made.
    pub versions: usize,
    /// Paths of commits that were left out.
    pub skipped: usize,
    /// Parts of commits that could not be read, and for which something else stands.
    pub replaced: usize,
}

/// Imports what the project does not have yet. A run that was interrupted is continued by the next. The files that one
/// commit changes are held in memory.
///
/// # Errors
/// `Internal` with git's own words; `Conflict` where the project has other things than an import, or the repository no
/// longer has what was imported; whatever a write to the project may answer.
pub async fn import(
    services: &Arc<Services>,
    actor: &Actor,
    import: Import,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Imported> {
    let steps = first_parents(&import.repository, import.branch.as_deref()).await?;
    let project = match find_project(services, actor, &import.project).await? {
        Some(project) => project,
        None => {
            let new = NewProject {
                name: import.project.clone(),
                description: Some(TITLE.to_owned()),
                initial_prompt: String::new(),
                config: Json::object(),
            };
            services.write(actor, |writer| project::create(writer, new)).await?
        }
    };

    let place = place(services, actor, &project, &import, &steps).await?;
    let project = project.id;
    let (before, todo) = steps.split_at(place.start.min(steps.len()));
    let (todo, later) = todo.split_at(import.max.unwrap_or(usize::MAX).min(todo.len()));
    report(Progress::Begins { commits: todo.len(), before: before.len() });
    let mut imported = Imported { project, commits: 0, left: later.len(), versions: 0, skipped: 0, replaced: 0 };
    let Some(first) = todo.first() else { return Ok(imported) };

    let mut differences = Differences::start(&import.repository, todo)?;
    let mut objects = Objects::start(&import.repository)?;
    let session = match place.session.filter(|session| session.is_active) {
        Some(session) => session.id,
        None => {
            let metadata = Some(Json::of(&json!({ IMPORT: "git" })));
            let title = Some(TITLE.to_owned());
            let new = NewSession { project_id: project, title, metadata };
            services.write(actor, |writer| start_session(writer, new)).await?.0.id
        }
    };
    for step in todo {
        let differences = differences.next(&step.commit).await?;
        let mut reading = Reading { objects: &mut objects, commit: &step.commit, skipped: 0, report };
        let change = reading.change(differences, services.limits.max_file_bytes).await?;
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
                add_checkpoint(services, actor, session, commit, step, change.modes).await?
            }
        };
        if !change.files.is_empty() || !change.deletes.is_empty() {
            let sync = Sync {
                project_id: project,
                files: change.files,
                deletes: change.deletes,
                mirror: false,
                expected_revision: None,
            };
            let context = Context { message_id: Some(message), ..Context::default() };
            imported.versions += services.write(actor, |writer| sync::sync(writer, sync, context)).await?.changes.len();
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

/// The actor's own project of that name.
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

/// Where an import goes on.
struct Place {
    /// How many commits are done.
    start: usize,
    /// The session of the last one.
    session: Option<Session>,
    /// The message of the first commit to import, where it was written and its files were not.
    unfinished: Option<MessageId>,
}

/// Finds the last commit that was imported: it is named by the newest message of the newest import's session.
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
                format!("The last commit imported was {commit:?}, which HEAD of this repository does not come from."),
            ));
        };
        let session = Some(session.clone());
        // A process that was killed may have written a message and not its files. A commit's files are one revision, so
        // any change for the message is all of them.
        let changes = file::changes_of_messages(&tx, &[(member, message.id)]).await?;
        if !changes.is_empty() || is_applied(services, &tx, project.id, import, step).await? {
            return Ok(Place { start: at + 1, session, unfinished: None });
        }
        // In a session that somebody has ended since, it is another message's turn.
        let unfinished = session.as_ref().filter(|session| session.is_active).map(|_| message.id);
        return Ok(Place { start: at, session, unfinished });
    }
    if sessions.iter().any(|session| session.metadata.value().get(IMPORT).is_none()) || project.change_count > 0 {
        let message = "There is a project of this name that no import made; choose another --name.";
        return Err(Error::conflict("name", message));
    }
    Ok(Place { start: 0, session: imports.next().cloned(), unfinished: None })
}

/// Whether the project's files are already as a commit left them, as far as it changed them.
async fn is_applied(services: &Services, tx: &Tx, project: ProjectId, import: &Import, step: &Step) -> Result<bool> {
    let mut differences = Differences::start(&import.repository, std::slice::from_ref(step))?;
    let mut objects = Objects::start(&import.repository)?;
    // What is left out was said the first time.
    let silent = &mut |_| {};
    let mut reading = Reading { objects: &mut objects, commit: &step.commit, skipped: 0, report: silent };
    let change = reading.change(differences.next(&step.commit).await?, services.limits.max_file_bytes).await?;
    let wanted = change.files.into_iter().map(|file| {
        let hash: Hash = Sha256::digest(file.content.unwrap_or_default()).into();
        (file.path, Some(hash))
    });
    let wanted: HashMap<FilePath, Option<Hash>> =
        wanted.chain(change.deletes.into_iter().map(|path| (path, None))).collect();
    let project = access::required(tx, project).await?;
    let keys: Vec<_> = wanted.keys().map(|path| (project, path.clone())).collect();
    let mut found: HashMap<FilePath, Option<Hash>> = HashMap::new();
    for keys in keys.chunks(1_000) {
        found.extend(file::by_paths(tx, None, keys).await?.into_iter().map(|file| (file.path, file.hash)));
    }
    Ok(wanted.into_iter().all(|(path, hash)| found.get(&path).copied().flatten() == hash))
}

/// What a commit does to the files.
#[derive(Default)]
struct Change {
    files: Vec<SyncFile>,
    deletes: Vec<FilePath>,
    modes: Map<String, Value>,
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

    async fn change(&mut self, differences: Vec<Difference>, max_bytes: usize) -> Result<Change> {
        let mut change = Change::default();
        for difference in differences {
            let goes = difference.new_mode == ABSENT;
            let parsed = match std::str::from_utf8(&difference.path) {
                Ok(text) => FilePath::parse(text, "path").map_err(|error| error.message()),
                Err(_) => Err("Its path is not UTF-8.".to_owned()),
            };
            let path = match parsed {
                Ok(path) => path,
                Err(why) => {
                    // What never came need not be told to go.
                    if !goes {
                        self.skip(&difference.path, why);
                    }
                    continue;
                }
            };
            if goes {
                change.deletes.push(path);
                continue;
            }
            let content = if difference.new_mode == SUBMODULE {
                Err("It is a submodule.".to_owned())
            } else {
                match self.objects.read(&difference.object, max_bytes).await? {
                    Object::Bytes(bytes) => Ok(bytes),
                    Object::TooLarge(size) => Err(format!("It has {size} bytes; --max-file-bytes allows {max_bytes}.")),
                    Object::Missing => Err("Its contents are missing in the repository.".to_owned()),
                }
            };
            match content {
                Ok(content) => {
                    if difference.new_mode != PLAIN || ![PLAIN, ABSENT].contains(&difference.old_mode.as_str()) {
                        change.modes.insert(path.as_str().to_owned(), difference.new_mode.into());
                    }
                    change.files.push(SyncFile {
                        path,
                        file_type: FileType::File,
                        content: Some(content),
                        language: None,
                    });
                }
                // What was there before is not what the commit has.
                Err(why) => {
                    self.skip(&difference.path, why);
                    change.deletes.push(path);
                }
            }
        }
        Ok(change)
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
    modes: Map<String, Value>,
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
    if !modes.is_empty() {
        metadata.insert(MODES.to_owned(), Value::Object(modes));
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

/// The keys of a message's metadata that say who made its commit, and when.
pub(super) struct SignatureKeys {
    name: &'static str,
    email: &'static str,
    at: &'static str,
    /// As the commit writes it; only there where `at` cannot say it.
    raw: &'static str,
}

pub(super) const AUTHOR: SignatureKeys =
    SignatureKeys { name: "author", email: "authorEmail", at: "authoredAt", raw: "authorDate" };
/// Only there where it is not the author.
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

/// Reads back what [`write_signature`] wrote.
pub(super) fn read_signature(metadata: &Value, keys: &SignatureKeys) -> Option<Signature> {
    let text = |key: &str| metadata.get(key).and_then(Value::as_str);
    let (name, email) = (text(keys.name)?.to_owned(), text(keys.email)?.to_owned());
    if let Some(date) = text(keys.raw) {
        return Signature::with_raw_date(name, email, date);
    }
    let at = chrono::DateTime::parse_from_rfc3339(text(keys.at)?).ok()?;
    Some(Signature::at(name, email, at))
}
