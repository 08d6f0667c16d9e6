//! A git history becomes a project: each commit, by first parents, one checkpoint of the AI with its files.

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
use crate::model::error::{Error, Result};
use crate::model::file::FileMode;
use crate::model::ids::{MessageId, ProjectId, SessionId};
use crate::model::json::Json;
use crate::model::names::MessageRole;
use crate::model::page::Page;
use crate::model::path::FilePath;
use crate::model::project::{NewProject, Project, ProjectFilter, ProjectOrderField};
use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

/// Largest commit object that is read, in bytes.
const MAX_COMMIT_BYTES: usize = 64 * 1024 * 1024;

/// What the project and the sessions of an import are called.
const TITLE: &str = "Imported from git";
/// By this key of its metadata a session is known as an import's.
const IMPORT: &str = "import";
/// The key of a message's metadata that names its commit.
pub(super) const COMMIT: &str = "commit";
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
    /// A commit changed a file that was changed here as well, and what is here stays.
    Kept {
        /// The commit.
        commit: String,
        /// Where the file is here, or would be.
        path: String,
        /// What stands against each other.
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
    /// Changes of commits in whose place stays what is here.
    pub kept: usize,
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
    let mut imported =
        Imported { project, commits: 0, left: later.len(), versions: 0, skipped: 0, kept: 0, replaced: 0 };
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

/// How often a commit is merged anew because somebody writes at the same time.
const ATTEMPTS: usize = 5;

/// The files of a commit, to be written for its message.
struct Write<'s> {
    services: &'s Arc<Services>,
    actor: &'s Actor,
    message: MessageId,
}

impl Write<'_> {
    /// Brings a commit's files together with what is there. Returns how many versions that made, and where what is here stays.
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
        if !changes.is_empty() || is_applied(services, actor, project.id, import, step).await? {
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
    // What is left out was reported the first time.
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

    /// Reads what a commit does. What cannot be taken is left out: it is as if the commit did not have it.
    async fn theirs(&mut self, differences: Vec<Difference>, max_bytes: usize) -> Result<Vec<Theirs>> {
        let mut theirs = Vec::with_capacity(differences.len());
        for difference in differences {
            let was_file = ![ABSENT, SUBMODULE].contains(&difference.old_mode.as_str());
            // What never came does not go.
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
