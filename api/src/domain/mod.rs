//! Use cases. Every one takes the services and the actor; a write is one transaction, one revision and one event.
//!
//! What only reads has no use case of its own: the nouns here re-export the reads of `storage`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::model::actor::Actor;
use crate::model::error::{Error, Result};
use crate::model::event::Change;
use crate::model::ids::{ProjectId, UserId};
use crate::model::json::Json;
use crate::model::limits::{DatabaseLimits, Limits};
use crate::model::memory::Memory;
use crate::storage::{db::Db, writable};

pub mod agent_configuration;
pub mod chat;
pub mod collaborator;
pub mod compare;
mod edit;
pub mod events;
pub mod file;
pub mod heavy;
pub mod node;
pub mod past;
mod plan;
pub mod policy;
pub mod portability;
pub mod profile;
pub mod project;
pub mod snapshot;
pub mod streaming_message;
pub mod sync;
mod turns;
pub mod undo;
mod write;

use self::turns::Turns;
pub use self::write::Writer;
pub use crate::storage::access::{self, Member};
pub use crate::storage::db::Tx;

/// How long a write that was refused says of the next that it would be, too.
const REFUSAL_HOLDS: Duration = Duration::from_secs(60);

/// What the use cases work with; one for a server.
pub struct Services {
    db: Db,
    /// Notifies the listeners of a project of what was committed.
    publish: Box<dyn Fn(ProjectId, Change) + Send + Sync>,
    /// What requests may contain.
    pub limits: Limits,
    /// What bodies and operations take together.
    pub memory: Memory,
    /// Who uses the database next.
    turns: Turns,
    /// The projects in which users write, by what they name when they do: that of an id never changes.
    projects: Cache<(UserId, Uuid), ProjectId>,
    /// When the database last refused a write; none since one was committed.
    refused: Mutex<Option<Instant>>,
    /// Users who have been here.
    met: profile::Met,
}

/// How many of [`Services::projects`] are remembered.
const KNOWN_PROJECTS: usize = 100_000;

impl Services {
    /// Services on a migrated database.
    pub fn new(db: Db, limits: Limits, database: &DatabaseLimits) -> Self {
        let memory = limits.max_memory_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let memory = Memory::new(memory.unwrap_or_else(Memory::half_of_the_machine));
        let turns = Turns::new(database, db.is_sqlite(), db.metrics().clone());
        Self {
            db,
            turns,
            projects: Cache::new(KNOWN_PROJECTS),
            publish: Box::new(|_, _| {}),
            limits,
            memory,
            refused: Mutex::default(),
            met: profile::Met::default(),
        }
    }

    /// The same, with somebody to notify of what is committed.
    pub fn publishing_to(self, publish: impl Fn(ProjectId, Change) + Send + Sync + 'static) -> Self {
        Self { publish: Box::new(publish), ..self }
    }

    /// What is counted of this server.
    pub fn metrics(&self) -> &Arc<Metrics> {
        self.db.metrics()
    }

    /// Everything counted so far, as Prometheus reads it.
    pub fn metrics_text(&self) -> String {
        self.db.count_connections();
        self.metrics().heavy_waiting.set(i64::try_from(heavy::waiting()).unwrap_or(i64::MAX));
        self.metrics().text()
    }

    /// A transaction that sees one state of the database and writes nothing; dropping it ends it.
    ///
    /// # Errors
    /// `RateLimited` if the actor's turn does not come in time.
    pub async fn read(&self, actor: &Actor) -> Result<Tx> {
        let deadline = self.db.deadline();
        let turn = self.turns.read(actor.user_id, deadline).await.map_err(|error| self.or_outage(error))?;
        Ok(self.db.read_until(actor, deadline).await?.holding(turn))
    }

    /// A transaction for what many share that the actor may read: it is not charged to the actor.
    ///
    /// # Errors
    /// As [`Services::read`].
    pub async fn read_for_all(&self, actor: &Actor) -> Result<Tx> {
        let deadline = self.db.deadline();
        let turn = self.turns.read_for_all(deadline).await.map_err(|error| self.or_outage(error))?;
        Ok(self.db.read_until(actor, deadline).await?.holding(turn))
    }

    /// The error of a wait: if the database cannot be reached, that is what everybody waits for.
    fn or_outage(&self, error: Error) -> Error {
        match self.db.outage() {
            Some(why) if matches!(error, Error::RateLimited { .. }) => Error::Unavailable(format!("database: {why}")),
            _ => error,
        }
    }

    /// Whether the database takes no writes, by what it says and by what came of the last write: of a disk that is full within a
    /// quota, or that fails, only a write can tell.
    ///
    /// # Errors
    /// `Unavailable` where the database does not answer.
    pub async fn is_read_only(&self) -> Result<bool> {
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(refused.is_some_and(|refused| refused.elapsed() < REFUSAL_HOLDS) || writable::is_read_only(&self.db).await?)
    }

    fn note_write(&self, refused: bool) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused.then(Instant::now);
    }

    /// Closes the database, once nobody listens any more.
    pub async fn close(&self) {
        self.db.clone().close().await;
    }
}

/// Checks that a project with so many of something has room for one more.
fn check_room(count: i64, max: usize, field: &'static str, what: &str, setting: &str) -> Result<()> {
    if usize::try_from(count).unwrap_or(usize::MAX) < max {
        return Ok(());
    }
    Err(Error::conflict(field, format!("The project has as many {what} as {setting} allows: {max}.")))
}

/// Checks a text that a caller sent against the limit on texts.
fn check_text(limits: &Limits, field: &str, text: &str) -> Result<()> {
    if text.contains('\0') {
        return Err(Error::bad_input(field, "A text cannot contain the character NUL."));
    }
    if text.len() > limits.max_text_bytes {
        let (size, max) = (text.len(), limits.max_text_bytes);
        return Err(Error::too_large(field, format!("`{field}` has {size} bytes; --max-text-bytes allows {max}.")));
    }
    Ok(())
}

/// Like [`check_text`], for a text that may be missing.
fn check_optional_text(limits: &Limits, field: &str, text: Option<&String>) -> Result<()> {
    text.map_or(Ok(()), |text| check_text(limits, field, text))
}

/// Checks a name: a text with something in it.
fn check_name(limits: &Limits, field: &str, name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::bad_input(field, "This cannot be empty."));
    }
    check_text(limits, field, name)
}

/// Checks that a JSON value can be kept, and the limit on texts.
fn check_json(limits: &Limits, field: &str, value: Option<&Json>) -> Result<()> {
    value.map_or(Ok(()), |value| match value.flaw() {
        Some(why) => Err(Error::bad_input(field, why)),
        None => check_text(limits, field, value.as_str()),
    })
}
