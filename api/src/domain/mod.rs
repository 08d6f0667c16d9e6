//! Use cases. Each takes the services and the actor. A write is one transaction, one revision and one event. All use
//! cases fail with `Internal` if the database fails.
//!
//! Reads have no use cases: the modules here re-export the functions of `storage`.

use std::sync::atomic::Ordering;
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
pub mod import_export;
pub mod node;
pub mod past;
mod plan;
pub mod policy;
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

/// How long a refused write predicts that the next one is refused too.
const REFUSAL_HOLDS: Duration = Duration::from_secs(60);

/// Shared state of the use cases, one per server.
pub struct Services {
    db: Db,
    /// Notifies the subscribers of a project of a committed change.
    publish: Box<dyn Fn(ProjectId, Change) + Send + Sync>,
    /// Limits on the content of requests.
    pub limits: Limits,
    /// Total memory for request bodies and operations.
    pub memory: Memory,
    /// Schedules the use of the database.
    turns: Turns,
    /// The projects that users write to, by the ids in their requests. The project of an id never changes.
    projects: Cache<(UserId, Uuid), ProjectId>,
    /// When the database last refused a write; `None` since the last commit.
    refused: Mutex<Option<Instant>>,
    /// Users who have been here.
    met: profile::Met,
}

/// Maximum number of entries in [`Services::projects`].
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

    /// Sets the function that is notified of committed changes.
    pub fn publishing_to(self, publish: impl Fn(ProjectId, Change) + Send + Sync + 'static) -> Self {
        Self { publish: Box::new(publish), ..self }
    }

    /// The metrics of this server.
    pub fn metrics(&self) -> &Arc<Metrics> {
        self.db.metrics()
    }

    /// All metrics in Prometheus' text format.
    pub fn metrics_text(&self) -> String {
        self.db.count_connections();
        self.metrics().heavy_tasks.inner().store(heavy::started(), Ordering::Relaxed);
        self.metrics().heavy_waiting.set(i64::try_from(heavy::waiting()).unwrap_or(i64::MAX));
        self.metrics().text()
    }

    /// A read-only transaction that sees one state of the database; dropping it ends it.
    ///
    /// # Errors
    /// `RateLimited` if the actor's turn does not come in time.
    pub async fn read(&self, actor: &Actor) -> Result<Tx> {
        let deadline = self.db.deadline();
        let turn = self.turns.read(actor.user_id, deadline).await.map_err(|error| self.or_outage(error))?;
        Ok(self.db.read_until(actor, deadline).await?.holding(turn))
    }

    /// A transaction for reads that are shared by several actors: it is not charged to the actor.
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

    /// Whether the database refuses writes, according to its state and to the result of the last write: a full quota or
    /// a failing disk shows only in a write.
    ///
    /// # Errors
    /// `Unavailable` if the database does not answer.
    pub async fn is_read_only(&self) -> Result<bool> {
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(refused.is_some_and(|refused| refused.elapsed() < REFUSAL_HOLDS) || writable::is_read_only(&self.db).await?)
    }

    fn note_write(&self, refused: bool) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused.then(Instant::now);
    }

    /// Closes the database. Call this when there are no subscribers any more.
    pub async fn close(&self) {
        self.db.clone().close().await;
    }
}

/// Checks that a project has room for one more object.
fn check_room(count: i64, max: usize, field: &'static str, what: &str, setting: &str) -> Result<()> {
    if usize::try_from(count).unwrap_or(usize::MAX) < max {
        return Ok(());
    }
    Err(Error::conflict(field, format!("The project has {max} {what}, the limit of {setting}.")))
}

/// Checks a text from a caller against the limit on texts.
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

/// As [`check_text`], for an optional text.
fn check_optional_text(limits: &Limits, field: &str, text: Option<&String>) -> Result<()> {
    text.map_or(Ok(()), |text| check_text(limits, field, text))
}

/// Checks a name, which must not be empty.
fn check_name(limits: &Limits, field: &str, name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::bad_input(field, "This cannot be empty."));
    }
    check_text(limits, field, name)
}

/// Checks that a JSON value can be stored, and the limit on texts.
fn check_json(limits: &Limits, field: &str, value: Option<&Json>) -> Result<()> {
    value.map_or(Ok(()), |value| match value.flaw() {
        Some(why) => Err(Error::bad_input(field, why)),
        None => check_text(limits, field, value.as_str()),
    })
}
