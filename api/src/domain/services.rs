//! The shared state of the use cases, and their read transactions.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::time::Instant;
use uuid::Uuid;

use super::heavy;
use super::met::Met;
use super::turns::{Flow, Turns};
use super::webhook_queue::Webhooks;
use crate::metrics::Metrics;
use crate::model::access_token::TokenSecret;
use crate::model::actor::Actor;
use crate::model::error::{Error, Result};
use crate::model::event::Change;
use crate::model::ids::{ProjectId, UserId};
use crate::model::limits::{DatabaseLimits, Limits};
use crate::model::memory::Memory;
use crate::storage::db::{Db, Needs, Size, Tx};
use crate::storage::{access_token, operator};

/// How long the server counts as read-only after a refused write.
const REFUSAL_HOLDS: Duration = Duration::from_secs(60);

/// Shared state of the use cases, one per server.
pub struct Services {
    pub(super) db: Db,
    /// Notifies the subscribers of a project of a committed change.
    pub(super) publish: Box<dyn Fn(ProjectId, Change) + Send + Sync>,
    /// Limits on the content of requests.
    pub limits: Limits,
    /// Limits on database connections.
    pub(super) database_limits: DatabaseLimits,
    /// Total memory for request bodies and operations.
    pub memory: Memory,
    /// Schedules the use of the database.
    pub(super) turns: Turns,
    /// The projects that users write to, by the ids in their requests. The project of an id never changes.
    pub(super) projects: Cache<(UserId, Uuid), ProjectId>,
    /// When the database last refused a write; `None` since the last commit.
    refused: Mutex<Option<Instant>>,
    /// Users whose profiles are up to date.
    pub(super) met: Met,
    /// When this server last recorded a use of an access token, by its user.
    pub(super) token_uses: Cache<UserId, Instant>,
    /// The number of segments of activity that this server has stored, or is storing, by project.
    pub(super) rolled_up: Cache<ProjectId, i32>,
    /// Webhooks; `None` if the server has no secret for them.
    pub webhooks: Option<Arc<Webhooks>>,
}

/// CPU-bound work takes as much memory as one WORK_SHARE-th of the limit for requests, in addition to it.
const WORK_SHARE: usize = 4;

/// Maximum number of entries in [`Services::projects`] and [`Services::rolled_up`].
const KNOWN_PROJECTS: usize = 100_000;

/// Stands for the users of access tokens until they are known, in the turns.
const UNKNOWN_MACHINES: UserId = UserId(Uuid::nil());

/// Maximum number of entries in [`Services::token_uses`].
const KNOWN_TOKENS: usize = 10_000;

impl Services {
    /// Services on a migrated database.
    pub fn new(db: Db, limits: Limits, database: &DatabaseLimits) -> Self {
        let memory = limits.max_memory_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let memory = Memory::new(memory.unwrap_or_else(Memory::half_of_the_machine));
        heavy::limit(memory.limit() / WORK_SHARE);
        let turns = Turns::new(database, db.readers(), db.count_replicas(), db.is_sqlite(), db.metrics().clone());
        Self {
            db,
            turns,
            projects: Cache::new(KNOWN_PROJECTS),
            publish: Box::new(|_, _| {}),
            limits,
            database_limits: database.clone(),
            memory,
            refused: Mutex::default(),
            met: Met::default(),
            token_uses: Cache::new(KNOWN_TOKENS),
            rolled_up: Cache::new(KNOWN_PROJECTS),
            webhooks: None,
        }
    }

    /// Services with webhooks, if these are given.
    pub fn with_webhooks(self, webhooks: Option<Webhooks>) -> Self {
        Self { webhooks: webhooks.map(Arc::new), ..self }
    }

    /// Sets the function that is notified of committed changes.
    pub fn publishing_to(self, publish: impl Fn(ProjectId, Change) + Send + Sync + 'static) -> Self {
        Self { publish: Box::new(publish), ..self }
    }

    /// The metrics of this server.
    pub fn metrics(&self) -> &Arc<Metrics> {
        self.db.metrics()
    }

    /// Whether replicas answer reads.
    pub fn has_replicas(&self) -> bool {
        self.db.count_replicas() > 0
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
        self.read_of_size(actor, Size::Small).await
    }

    async fn read_of_size(&self, actor: &Actor, size: Size) -> Result<Tx> {
        let deadline = self.db.deadline();
        let turn = self.turns.read(actor.user_id, size, deadline).await.map_err(|error| self.or_outage(error))?;
        Ok(self.db.read_until(actor, deadline).await?.holding(turn))
    }

    /// As [`Services::read`], from a replica that has what the read needs, if there is one.
    ///
    /// # Errors
    /// As [`Services::read`].
    pub async fn read_with(&self, actor: &Actor, needs: Needs, size: Size) -> Result<Tx> {
        match self.read_replica(actor, needs, (Some(actor.user_id), size)).await? {
            Some(tx) => Ok(tx),
            None => self.read_of_size(actor, size).await,
        }
    }

    async fn read_replica(&self, actor: &Actor, needs: Needs, flow: Flow) -> Result<Option<Tx>> {
        let Some(replica) = self.db.replica(needs, actor.user_id).await else { return Ok(None) };
        let turn = self.turns.replica(replica.index, flow, self.db.deadline()).await?;
        match self.db.read_from(&replica, actor).await {
            Ok(tx) => Ok(Some(tx.holding(turn))),
            Err(error) => {
                tracing::debug!(?error, "a replica fails, and the primary answers");
                Ok(None)
            }
        }
    }

    /// A transaction for reads that are shared by several actors: it is not charged to the actor.
    ///
    /// # Errors
    /// As [`Services::read`].
    pub async fn read_for_all(&self, actor: &Actor, needs: Needs) -> Result<Tx> {
        if let Some(tx) = self.read_replica(actor, needs, (None, Size::Small)).await? {
            return Ok(tx);
        }
        let deadline = self.db.deadline();
        let turn = self.turns.read_for_all(deadline).await.map_err(|error| self.or_outage(error))?;
        Ok(self.db.read_until(actor, deadline).await?.holding(turn))
    }

    /// The user of an access token. A token that this server has seen has the share of its user. All others have the share
    /// of one user together, since anyone can send tokens that do not exist.
    ///
    /// # Errors
    /// As [`Services::read`].
    pub(super) async fn find_access_token(&self, secret: &TokenSecret) -> Result<Option<access_token::Machine>> {
        let deadline = self.db.deadline();
        // Nobody but the holder of a token knows the id that follows from it.
        let user = Some(secret.user_id()).filter(|user| self.token_uses.get(user).is_some());
        let _turn = self
            .turns
            .read(user.unwrap_or(UNKNOWN_MACHINES), Size::Small, deadline)
            .await
            .map_err(|error| self.or_outage(error))?;
        access_token::find(&self.db, secret.sha256()).await
    }

    /// The error of a wait that was too long: `Unavailable` if the database cannot be reached.
    pub(super) fn or_outage(&self, error: Error) -> Error {
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
        let refused = *self.refused.lock();
        Ok(refused.is_some_and(|refused| refused.elapsed() < REFUSAL_HOLDS)
            || operator::is_read_only(&self.db.operator().await?).await?)
    }

    pub(super) fn note_write(&self, refused: bool) {
        *self.refused.lock() = refused.then(Instant::now);
    }

    /// Closes the database. Call this when there are no subscribers any more.
    pub async fn close(&self) {
        self.db.clone().close().await;
    }
}
