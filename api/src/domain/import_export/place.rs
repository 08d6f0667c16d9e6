//! The project of an import, and the position in its history at which the import continues.

use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::Value;

use super::git::{Differences, Objects, Step};
use super::present::{Present, Sources, Theirs};
use super::reading::{read_changes, read_commit};
use super::record::COMMIT;
use crate::domain::{Services, Tx, access, chat, file, policy, project};
use crate::model::actor::Actor;
use crate::model::chat::{Message, Session, SessionFilter};
use crate::model::clock;
use crate::model::enums::ProjectRole;
use crate::model::error::{Error, Result};
use crate::model::ids::{MessageId, ProjectId, SessionId};
use crate::model::json::Json;
use crate::model::page::Page;
use crate::model::project::{NewProject, Project, ProjectFilter, ProjectOrderField};
use crate::storage::import::{self, Edge};

/// The title of the project's sessions.
pub(super) const TITLE: &str = "Imported from git";
/// The key in a session's metadata that marks an import.
pub(super) const IMPORT: &str = "import";

/// The project that an import writes to.
#[derive(Clone, Debug)]
pub enum Destination {
    /// The project with this id.
    Id(ProjectId),
    /// The user's project with this name, which is created if there is none.
    Name(String),
    /// As `Name`, for the name of the repository's folder. A project with the history of the repository and another
    /// name comes before a new project.
    Folder(String),
}

/// A project that an import has created.
#[derive(Clone, Debug)]
pub struct Created {
    /// The project.
    pub project: ProjectId,
    /// Its name.
    pub name: String,
    /// Other projects of the user that have the history of the repository, with their names.
    pub others: Vec<(ProjectId, String)>,
}

/// Finds or creates the project.
///
/// # Errors
/// `NotFound` or `Forbidden` for a given id; `Conflict` if there are several projects; the errors of reading the first
/// commit if there is none.
pub(super) async fn find_or_create(
    services: &Arc<Services>,
    actor: &Actor,
    destination: &Destination,
    (repository, steps): (&Path, &[Step]),
) -> Result<(ProjectId, Option<Created>)> {
    let name = match destination {
        Destination::Id(id) => return Ok((writable(services, actor, *id).await?, None)),
        Destination::Name(name) | Destination::Folder(name) => name,
    };
    let others = match find(services, actor, destination, name, steps).await? {
        Found::One(project) => return Ok((project, None)),
        Found::None { others } => others,
    };
    // A repository that cannot be imported must not leave an empty project.
    if let Some(first) = steps.first() {
        read(services, repository, first).await?;
    }
    let new = NewProject {
        name: name.clone(),
        description: Some(TITLE.to_owned()),
        initial_prompt: String::new(),
        config: Json::object(),
    };
    if let Some(project) = services.write(actor, |writer| project::create_if_missing(writer, new)).await? {
        let others = others.into_iter().map(|project| (project.id, project.name)).collect();
        return Ok((project.id, Some(Created { project: project.id, name: project.name, others })));
    }
    // Another import has created it in the meantime.
    match find(services, actor, destination, name, steps).await? {
        Found::One(project) => Ok((project, None)),
        Found::None { .. } => {
            Err(Error::conflict("name", format!("The project {name:?} was just deleted; run the import again.")))
        }
    }
}

async fn writable(services: &Services, actor: &Actor, id: ProjectId) -> Result<ProjectId> {
    let tx = services.read(actor).await?;
    let found = project::by_ids(&tx, &[id]).await?.into_iter().next();
    let project = found.ok_or_else(|| Error::not_found("project of this user", "project"))?;
    policy::may_write(project.viewer_role)?;
    Ok(id)
}

enum Found {
    One(ProjectId),
    /// None, and the projects that have the history of the repository.
    None {
        others: Vec<Project>,
    },
}

/// Finds the project by its name, or by its history.
async fn find(
    services: &Services,
    actor: &Actor,
    destination: &Destination,
    name: &str,
    steps: &[Step],
) -> Result<Found> {
    let tx = services.read(actor).await?;
    let all = project::page(&tx, &ProjectFilter::default(), ProjectOrderField::CreatedAt, false, &Page::all()).await?;
    let all: Vec<Project> = all.rows.into_iter().map(|(_, project)| project).collect();
    let owned = all.iter().filter(|project| project.name == name && project.viewer_role == ProjectRole::Owner);
    if let Some(project) = only(owned)? {
        return Ok(Found::One(project));
    }
    let others = with_history(&tx, all, steps).await?;
    let writable = || others.iter().filter(|project| project.viewer_role != ProjectRole::Viewer);
    if let Some(project) = only(writable().filter(|project| project.name == name))? {
        return Ok(Found::One(project));
    }
    if let Destination::Folder(_) = destination
        && let Some(project) = only(writable())?
    {
        return Ok(Found::One(project));
    }
    Ok(Found::None { others })
}

fn only<'p>(projects: impl Iterator<Item = &'p Project>) -> Result<Option<ProjectId>> {
    let ids: Vec<ProjectId> = projects.map(|project| project.id).collect();
    match ids.as_slice() {
        [] => Ok(None),
        [id] => Ok(Some(*id)),
        several => {
            let several: Vec<String> = several.iter().map(|id| id.0.to_string()).collect();
            let message = format!("There are several projects; choose one with --project: {}.", several.join(", "));
            Err(Error::conflict("name", message))
        }
    }
}

/// The projects whose first imported commit is in the repository.
async fn with_history(tx: &Tx, projects: Vec<Project>, steps: &[Step]) -> Result<Vec<Project>> {
    let members = access::members(tx, projects.iter().map(|project| project.id)).await?;
    let members: Vec<_> = members.into_values().collect();
    let mut found = Vec::new();
    for members in members.chunks(PROJECTS_PER_STATEMENT) {
        let first = import::commits(tx, members, Edge::First).await?;
        found
            .extend(first.iter().filter(|message| step_of(message, steps).is_some()).map(|message| message.project_id));
    }
    Ok(projects.into_iter().filter(|project| found.contains(&project.id)).collect())
}

const PROJECTS_PER_STATEMENT: usize = 100;

/// The commit of a message, and its position.
fn step_of<'s>(message: &Message, steps: &'s [Step]) -> Option<(usize, &'s Step)> {
    let metadata = message.metadata.value();
    let commit = metadata.get(COMMIT).and_then(Value::as_str)?;
    steps.iter().enumerate().find(|(_, step)| step.commit == commit)
}

/// The position at which an import continues.
pub(super) struct Place {
    /// Number of imported commits.
    pub(super) start: usize,
    /// The user's own active session of an import.
    pub(super) session: Option<SessionId>,
    /// The message of the first commit to import, if it was written without its files.
    pub(super) unfinished: Option<MessageId>,
    /// The revision at which this was read.
    pub(super) revision: i32,
}

/// Finds the last imported commit in all sessions of imports, also of other users.
///
/// # Errors
/// `Conflict` if the project was not made by an import, if the repository lacks the last imported commit, or if another
/// user is importing it.
pub(super) async fn place(
    services: &Services,
    actor: &Actor,
    project: ProjectId,
    repository: &Path,
    steps: &[Step],
) -> Result<Place> {
    let tx = services.read(actor).await?;
    let found = project::by_ids(&tx, &[project]).await?.into_iter().next();
    let found = found.ok_or_else(|| Error::not_found("project", "project"))?;
    let member = access::required(&tx, project).await?;
    let own = chat::active_sessions(&tx, &[member]).await?.into_iter().find(is_import);
    let place = Place { start: 0, session: own.map(|session| session.id), unfinished: None, revision: found.revision };
    let Some(last) = import::commits(&tx, &[member], Edge::Last).await?.into_iter().next() else {
        let sessions = chat::sessions_page(&tx, &[member], &SessionFilter::default(), &Page::all()).await?;
        let mut sessions = sessions.into_iter().flat_map(|(_, slice)| slice.rows);
        if sessions.any(|(_, session)| !is_import(&session)) || found.change_count > 0 {
            let message =
                format!("No import made the project {:?}; choose another one with --name or --project.", found.name);
            return Err(Error::conflict("name", message));
        }
        return Ok(place);
    };
    let Some((at, step)) = step_of(&last, steps) else {
        let metadata = last.metadata.value();
        let commit = metadata.get(COMMIT).and_then(Value::as_str).unwrap_or_default();
        let message = format!(
            "The project {:?} has another history: the last commit imported was {commit:?}, which is not an ancestor of \
             HEAD in this repository. Choose another project with --name or --project.",
            found.name
        );
        return Err(Error::conflict("git", message));
    };
    // A killed process may have written a message without its files. A commit's files are one revision, so any change
    // for the message is the complete one.
    let changes = file::changes_of_messages(&tx, &[(member, last.id)]).await?;
    // The next step reads in a transaction of its own.
    drop(tx);
    if !changes.is_empty() || is_applied(services, actor, project, repository, step).await? {
        return Ok(Place { start: at + 1, ..place });
    }
    if last.author_id == actor.user_id {
        return Ok(Place { start: at, unfinished: Some(last.id), ..place });
    }
    if clock::now() - last.timestamp < ABANDONED {
        let message = format!("Another user is importing commit {}; try again in a minute.", step.commit);
        return Err(Error::conflict("git", message));
    }
    // Only its author can write files for a message, so another message is needed.
    Ok(Place { start: at, ..place })
}

/// After this time without the files of a message, the import of another user has stopped.
const ABANDONED: TimeDelta = TimeDelta::minutes(1);

pub(super) fn is_import(session: &Session) -> bool {
    session.metadata.value().get(IMPORT).is_some()
}

/// Whether a commit would change nothing.
async fn is_applied(
    services: &Services,
    actor: &Actor,
    project: ProjectId,
    repository: &Path,
    step: &Step,
) -> Result<bool> {
    // Skipped files were reported the first time.
    let (theirs, mut objects) = read(services, repository, step).await?;
    let present = Present::read(services, actor, project).await?;
    let change = present.merge(&mut Sources { services, actor, objects: &mut objects }, &theirs).await?;
    Ok(change.is_empty())
}

/// Reads a commit and the files that it changes.
async fn read(services: &Services, repository: &Path, step: &Step) -> Result<(Vec<Theirs>, Objects)> {
    let mut differences =
        Differences::start(repository, std::slice::from_ref(step), "--find-renames", &services.limits)?;
    let mut objects = Objects::start(repository)?;
    read_commit(&mut objects, step).await?;
    let differences = differences.next(&step.commit).await?;
    let read = read_changes(&mut objects, differences, services.limits.max_file_bytes, usize::MAX).await?;
    Ok((read.theirs, objects))
}
