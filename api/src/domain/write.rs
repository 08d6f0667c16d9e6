//! A write is a value. [`Writer::begin`] opens a transaction and locks the project, [`Write::commit`] writes the
//! remaining rows with the event and commits, [`Write::unchanged`] leaves no trace, and dropping it rolls back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;
use uuid::Uuid;

use super::policy;
use super::services::Services;
use super::turns::{ProjectTurn, Turn};
use crate::metrics;
use crate::model::actor::Actor;
use crate::model::clock;
use crate::model::enums::{EventKind, ProjectRole, ProjectStatus};
use crate::model::error::{Conflict, Error, Result};
use crate::model::event::{Change, Event};
use crate::model::ids::{MessageId, ProjectId, SessionId};
use crate::model::limits::Limits;
use crate::model::page::Page;
use crate::model::project::{NewProject, Project, ProjectFilter, ProjectOrderField};
use crate::storage::chat::{self, MessageRow};
use crate::storage::collaborator;
use crate::storage::db::{Call, Size, Tx};
use crate::storage::event;
use crate::storage::file;
use crate::storage::file_write::{self, FileChanges};
use crate::storage::import;
use crate::storage::profile;
use crate::storage::project;
use crate::storage::revision::{self, Locked, Named, Purpose, Target};

/// The kind of object that a mutation's argument identifies, and the name of the argument.
pub(super) type Noun = (&'static str, &'static str);

impl Services {
    /// Runs a write in a separate task, so that a client that disconnects cannot cancel it halfway. This is the only
    /// way to get a [`Writer`].
    ///
    /// # Errors
    /// The errors of the write; `Internal` if it panics.
    pub async fn write<T, W>(self: &Arc<Self>, actor: &Actor, write: impl FnOnce(Writer) -> W) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let (services, actor) = (self.clone(), actor.clone());
        let writer = Writer {
            services,
            actor,
            size: Size::Small,
            horizon: None,
            imports_until: None,
            files_until: None,
            is_check: false,
        };
        let written = metrics::spawn(write(writer)).await;
        let written = written.map_err(|error| Error::internal(format!("a write panicked: {error}")))?;
        if let Err(Error::ReadOnly(_)) = &written {
            self.note_write(true);
        }
        written
    }
}

/// The author of a write, in a task that their client cannot cancel. Every use case that writes takes one.
#[derive(Clone)]
pub struct Writer {
    pub(super) services: Arc<Services>,
    pub(super) actor: Actor,
    size: Size,
    horizon: Option<Arc<Horizon>>,
    /// The revision at which an import has seen the project.
    imports_until: Option<i32>,
    /// The revision at which a push has seen the files.
    files_until: Option<i32>,
    /// Whether the writes of files are only checked.
    pub(super) is_check: bool,
}

/// The greatest revision that a payload reads as of.
#[derive(Debug)]
pub struct Horizon {
    /// The revision.
    pub revision: i32,
    /// The name of its argument.
    pub argument: String,
    /// Whether a write was refused because its revision is smaller.
    pub has_refused: AtomicBool,
}

/// The field of the conflict of an import with another one.
pub(super) const OTHER_IMPORT: &str = "import";

impl Writer {
    /// Limits on the content of requests.
    pub(super) fn limits(&self) -> &Limits {
        &self.services.limits
    }

    /// A read transaction.
    pub(super) async fn read(&self) -> Result<Tx> {
        self.services.read(&self.actor).await
    }

    /// A write transaction that is not a revision of a project.
    pub(super) async fn open(&self) -> Result<Tx> {
        let deadline = self.services.db.deadline();
        let turn = self.turn(deadline).await?;
        Ok(self.services.db.write(&self.actor, self.size, deadline).await?.holding(turn))
    }

    async fn turn(&self, deadline: Instant) -> Result<Turn> {
        let turn = self.services.turns.write(self.actor.user_id, self.size, deadline).await;
        turn.map_err(|error| self.services.or_outage(error))
    }

    async fn project_turn(&self, project: ProjectId, deadline: Instant) -> Result<Option<ProjectTurn>> {
        let turn = self.services.turns.project(project, deadline).await;
        turn.map_err(|error| self.services.or_outage(error))
    }

    /// A writer for writes of this size.
    pub(super) fn of_size(self, size: Size) -> Self {
        Self { size, ..self }
    }

    /// A writer whose payload reads as of revisions up to this one.
    pub fn reading_until(self, horizon: Option<Arc<Horizon>>) -> Self {
        Self { horizon, ..self }
    }

    /// A writer that only checks whether files can be written: the outcome is that of the write, but nothing is stored.
    pub fn only_checking(self) -> Self {
        Self { is_check: true, ..self }
    }

    /// A writer for an import that has seen the project at a revision. Its writes are refused if another import has
    /// started a session or added a message since.
    pub(super) fn importing_after(self, revision: i32) -> Self {
        Self { imports_until: Some(revision), ..self }
    }

    /// A writer for a push that has seen the files at a revision. Its writes are refused if files have changed since.
    pub(super) fn with_files_of(self, revision: i32) -> Self {
        Self { files_until: Some(revision), ..self }
    }

    /// Refuses a payload that reads as of a revision after the one that is written.
    pub(super) fn check_horizon(&self, revision: i32) -> Result<()> {
        match &self.horizon {
            Some(horizon) if horizon.revision > revision => {
                horizon.has_refused.store(true, Ordering::Relaxed);
                let message = format!("Give a revision from 0, before the first, to {revision}.");
                Err(Error::bad_input(horizon.argument.as_str(), message))
            }
            _ => Ok(()),
        }
    }

    /// The same for a write that is no revision.
    pub(super) async fn check_horizon_in(&self, tx: &Tx, project: ProjectId) -> Result<()> {
        if self.horizon.is_none() {
            return Ok(());
        }
        self.check_horizon(event::newest(tx, project).await?.unwrap_or(0))
    }

    /// Remembers the project of an object that the writer has created or can see.
    pub(super) fn knows(&self, id: Uuid, project: ProjectId) {
        self.services.projects.insert((self.actor.user_id, id), project);
    }

    /// Waits for earlier writers of the project. Checks access before waiting, so that the time reveals nothing to
    /// others.
    async fn queue(&self, target: Target, (noun, field): Noun, deadline: Instant) -> Result<Option<ProjectTurn>> {
        let services = &self.services;
        if !services.turns.are_by_project() {
            return Ok(None);
        }
        let known = services.projects.get(&(self.actor.user_id, target.id()));
        let project = match known {
            Some(project) => project,
            None => {
                let project = project::of(&self.read().await?, target).await?;
                let project = project.ok_or_else(|| Error::not_found(noun, field))?;
                self.knows(target.id(), project);
                project
            }
        };
        self.project_turn(project, deadline).await
    }

    /// Begins a write to a project as owner or editor.
    pub(super) async fn begin(&self, target: Target, noun: Noun) -> Result<Write> {
        self.begin_for(target, noun, policy::may_write).await
    }

    /// Begins a write with the permission check `may`.
    pub(super) async fn begin_for(
        &self,
        target: Target,
        noun: Noun,
        may: impl FnOnce(ProjectRole) -> Result<()>,
    ) -> Result<Write> {
        self.begin_also_deleted(target, Named::default(), noun, may).await?.of_present_project(noun)
    }

    /// Begins a write of an owner or editor that names a session or a message.
    pub(super) async fn begin_in(&self, target: Target, named: Named, noun: Noun) -> Result<Write> {
        self.begin_also_deleted(target, named, noun, policy::may_write).await?.of_present_project(noun)
    }

    /// Begins a write to a project that can be deleted.
    pub(super) async fn begin_also_deleted(
        &self,
        target: Target,
        named: Named,
        noun: Noun,
        may: impl FnOnce(ProjectRole) -> Result<()>,
    ) -> Result<Write> {
        let deadline = self.services.db.deadline();
        let turn = self.queue(target, noun, deadline).await?;
        let write = self.lock(turn, target, Purpose::Write, named, deadline).await?;
        let write = write.ok_or_else(|| Error::not_found(noun.0, noun.1))?;
        may(write.locked.role)?;
        Ok(write)
    }

    /// Begins a write that all members can make, including viewers.
    pub(super) async fn begin_as_member(&self, project: ProjectId, noun: Noun) -> Result<Write> {
        let target = Target::Project(project);
        let deadline = self.services.db.deadline();
        let turn = self.queue(target, noun, deadline).await?;
        let write = self.lock(turn, target, Purpose::Team, Named::default(), deadline).await?;
        write.ok_or_else(|| Error::not_found(noun.0, noun.1))
    }

    /// Begins the answer to an invitation; `None` if there is none.
    pub(super) async fn begin_as_invited(&self, project: ProjectId) -> Result<Option<Write>> {
        if self.services.turns.are_by_project() && !collaborator::is_invited(&self.read().await?, project).await? {
            return Ok(None);
        }
        let deadline = self.services.db.deadline();
        let turn = self.project_turn(project, deadline).await?;
        let write = self.lock(turn, Target::Project(project), Purpose::Invited, Named::default(), deadline).await?;
        if let Some(write) = &write {
            profile::ensure(&write.tx, clock::now()).await?;
        }
        Ok(write)
    }

    async fn lock(
        &self,
        turn: Option<ProjectTurn>,
        target: Target,
        purpose: Purpose,
        named: Named,
        deadline: Instant,
    ) -> Result<Option<Write>> {
        let db = &self.services.db;
        let own = self.turn(deadline).await?;
        let begin = revision::begin(db, (&self.actor, self.size), target, purpose, named, deadline);
        // On SQLite the turn was awaited above.
        let begun = if db.is_sqlite() { begin.await? } else { metrics::paused(begin).await? };
        let Some((tx, locked)) = begun else { return Ok(None) };
        let mut writer = self.clone();
        if purpose == Purpose::Invited {
            // An invited user must not learn the revision. When the payload fails, they are a member.
            writer.horizon = None;
        }
        writer.check_horizon(locked.revision)?;
        if let Some(seen) = self.imports_until
            && import::has_written_after(&tx, locked.id, seen).await?
        {
            return Err(Error::conflict(OTHER_IMPORT, "Another import writes to this project."));
        }
        if let Some(seen) = self.files_until
            && file::has_changed_after(&tx, locked.id, seen).await?
        {
            return Err(Error::conflict("expectedRevision", format!("Files have changed since revision {seen}.")));
        }
        Ok(Some(Write { tx: tx.holding(own), turn, locked, writer, about: About::default() }))
    }

    /// Creates a project, which has no subscribers yet.
    pub(super) async fn create(&self, new: NewProject) -> Result<Project> {
        self.check_horizon(1)?;
        let tx = self.open().await?;
        profile::ensure(&tx, clock::now()).await?;
        self.create_in(tx, new).await
    }

    /// Creates a project; `None` if the actor owns one of this name. Of several at once, one creates it.
    pub(super) async fn create_if_missing(&self, new: NewProject) -> Result<Option<Project>> {
        let tx = self.open().await?;
        profile::ensure(&tx, clock::now()).await?;
        profile::lock(&tx).await?;
        let owned = ProjectFilter { is_owned: Some(true), ..ProjectFilter::default() };
        let owned = project::page(&tx, &owned, ProjectOrderField::CreatedAt, false, &Page::all()).await?;
        if owned.rows.iter().any(|(_, project)| project.name == new.name) {
            tx.rollback().await?;
            return Ok(None);
        }
        self.create_in(tx, new).await.map(Some)
    }

    async fn create_in(&self, tx: Tx, new: NewProject) -> Result<Project> {
        let created = Event {
            project_id: ProjectId(clock::new_id()),
            revision: 1,
            kind: EventKind::ProjectCreated,
            created_at: clock::now(),
            actor_id: Some(self.actor.user_id),
            session_id: None,
            message_id: None,
        };
        let project = project::create(&tx, new, &created).await?;
        tx.commit().await?;
        self.services.note_write(false);
        self.knows(project.id.0, project.id);
        Ok(project)
    }
}

/// Content of a write's event besides its kind, and the rows that are written with it.
#[derive(Default)]
pub(super) struct About {
    pub(super) session: Option<SessionId>,
    pub(super) message: Option<MessageId>,
    pub(super) description: Option<String>,
    pub(super) rows: Rows,
}

/// Rows that are written together with their revision.
#[derive(Default)]
pub(super) enum Rows {
    /// None: the write has written its rows already.
    #[default]
    None,
    /// A message.
    Message(Box<MessageRow>),
    /// Changes of files.
    Files(FileChanges),
}

/// A running write to a locked project.
#[must_use = "a write that is dropped is rolled back"]
pub(super) struct Write {
    pub(super) tx: Tx,
    /// Released after the transaction has ended, since fields are dropped in order.
    turn: Option<ProjectTurn>,
    /// The project, and the proof that the actor is a member.
    pub(super) locked: Locked,
    pub(super) writer: Writer,
    pub(super) about: About,
}

impl Write {
    /// The revision before this one.
    pub(super) fn present_revision(&self) -> i32 {
        self.locked.revision - 1
    }

    /// Checks a precondition on the project's revision.
    pub(super) fn check_expected(&self, expected: Option<i32>) -> Result<()> {
        let current = self.present_revision();
        match expected {
            Some(expected) if expected != current => Err(Error::Conflict(Box::new(Conflict {
                message: format!("The project is at revision {current}, not {expected}."),
                field: Some("expectedRevision"),
                current_revision: Some(current),
                ..Conflict::default()
            }))),
            _ => Ok(()),
        }
    }

    fn of_present_project(self, noun: Noun) -> Result<Self> {
        if self.locked.status == ProjectStatus::Deleted { Err(project_is_deleted(noun.1)) } else { Ok(self) }
    }

    /// Writes the rows and the event, and commits. If it fails, nothing is written.
    pub(super) async fn commit<T>(self, kind: EventKind, value: T) -> Result<T> {
        let (closed, last) = self.record(kind).await?;
        closed.commit_after(last, value).await
    }

    /// Writes the rows and the event. After this the project's row has its final state.
    pub(super) async fn close(self, kind: EventKind) -> Result<Closed> {
        let (closed, last) = self.record(kind).await?;
        if let Some(call) = last {
            closed.tx.call(call).await?;
        }
        Ok(closed)
    }

    /// Writes the rows and the event; on PostgreSQL the returned call does this.
    async fn record(self, kind: EventKind) -> Result<(Closed, Option<Call>)> {
        let Self { tx, turn, locked, writer, about } = self;
        let event = Event {
            project_id: locked.id,
            revision: locked.revision,
            kind,
            created_at: locked.at,
            actor_id: Some(writer.actor.user_id),
            session_id: about.session,
            message_id: about.message,
        };
        let last = match about.rows {
            Rows::None => revision::record(&tx, &event, about.description).await?,
            Rows::Message(new) => chat::add_message(&tx, &event, *new).await?,
            Rows::Files(changes) => file_write::write(&tx, &event, about.description, changes).await?,
        };
        Ok((Closed { tx, turn, locked, services: writer.services, actor: writer.actor }, last))
    }

    /// Commits what is not part of the history, without a revision.
    pub(super) async fn commit_beside<T>(self, value: T) -> Result<T> {
        self.tx.commit().await?;
        self.writer.services.note_write(false);
        Ok(value)
    }

    /// Ends the write without a trace.
    ///
    /// # Errors
    /// `BadInput` if the payload reads as of the revision that the write would have had.
    pub(super) async fn unchanged<T>(self, value: T) -> Result<T> {
        self.writer.check_horizon(self.present_revision())?;
        self.tx.rollback().await?;
        Ok(value)
    }
}

/// A write with its event. Before the commit, the use case can read the project back, or remove what the actor needed
/// to append the event: their membership or invitation.
#[must_use = "a write that is dropped is rolled back"]
pub(super) struct Closed {
    pub(super) tx: Tx,
    turn: Option<ProjectTurn>,
    pub(super) locked: Locked,
    services: Arc<Services>,
    actor: Actor,
}

impl Closed {
    /// Commits, then notifies the project's subscribers.
    pub(super) async fn commit<T>(self, value: T) -> Result<T> {
        self.commit_after(None, value).await
    }

    async fn commit_after<T>(self, last: Option<Call>, value: T) -> Result<T> {
        let (services, actor, locked) = (&self.services, &self.actor, &self.locked);
        self.tx.commit_proven(last, async { is_written(services, actor, locked).await.unwrap_or(false) }).await?;
        drop(self.turn);
        self.services.note_write(false);
        (self.services.publish)(self.locked.id, Change::Advanced(self.locked.revision));
        self.services.roll_up(&self.actor, self.locked.id, self.locked.revision);
        if let Some(webhooks) = &self.services.webhooks {
            webhooks.queue.written(self.locked.id);
        }
        Ok(value)
    }
}

/// Whether a write is in the log. Its time has microseconds, so that another write does not have the same.
async fn is_written(services: &Services, actor: &Actor, locked: &Locked) -> Result<bool> {
    let tx = services.read(actor).await?;
    let found = event::one(&tx, locked.id, locked.revision).await?;
    Ok(found.is_some_and(|event| event.created_at == locked.at && event.actor_id == Some(actor.user_id)))
}

/// The conflict of a write with the deletion of its project.
pub(super) fn project_is_deleted(field: &'static str) -> Error {
    Error::conflict(field, "The project is deleted; `updateProject` with status ACTIVE restores it.")
}
