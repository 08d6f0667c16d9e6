//! Streaming replicas of a PostgreSQL database, which answer reads.
//!
//! A task per replica stays connected to it, and asks for its position regularly. A read goes to a replica only if the
//! replica was seen to have replayed what the read needs ([`super::wal`]); otherwise the primary answers. The same holds
//! while a replica is unavailable, is promoted, belongs to another cluster, or is too far behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use sea_orm::QueryResult;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::hosts::{Hosts, shown};
use super::pool::{self, Connector, Place, Pool};
use super::session::{Opening, Session};
use super::settings::TransactionSettings;
use super::wal::{Needs, PRIMARY_POSITION, Positions, WalPosition};
use crate::metrics::Metrics;
use crate::model::error::{Error, Result};
use crate::model::ids::UserId;
use crate::model::limits::DatabaseLimits;

/// Interval at which a replica is asked for its position.
const ASK_PERIOD: Duration = Duration::from_millis(100);

/// The same while a read waits for it.
const SHORT_PERIOD: Duration = Duration::from_millis(1);

/// How long a read for subscribers waits for a replica before the primary answers.
const PATIENCE: Duration = Duration::from_millis(10);

/// How long no read waits after one has waited in vain: subscribers of a busy project would wait for each event.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// The longest time for a connection to a replica, and for an answer about its position.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// The longest time for the beginning of a read.
pub(super) const BEGIN_TIME: Duration = Duration::from_secs(1);

/// A replica that is behind for longer answers nothing: what it shows is too old, also for users who write nothing.
const MAX_LAG: Duration = Duration::from_secs(5);

/// Pauses before a replica is tried again; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// The position of a replica. Its timeline is the one of its last restart point, or of what it receives, which only logins
/// with the role `pg_read_all_stats` see.
const POSITION: &str = "SELECT pg_is_in_recovery() AS is_standby, pg_last_wal_replay_lsn()::text AS lsn, \
     greatest((SELECT timeline_id FROM pg_control_checkpoint()), (SELECT received_tli FROM pg_stat_wal_receiver)) AS timeline";

/// Identifies a cluster: replicas have the identifier of their primary.
pub(super) const SYSTEM: &str = "SELECT system_identifier::text AS system FROM pg_control_system()";

/// The replicas of a database. Dropping the value ends their tasks.
#[derive(Default)]
pub(super) struct Replicas {
    all: Vec<Arc<Replica>>,
    pub(super) positions: Arc<Positions>,
    /// Whether other servers announce their writes; `None` if there are none.
    is_announced: Mutex<Option<Arc<AtomicBool>>>,
    /// No read waits before this moment, since one has waited in vain.
    no_wait_until: Mutex<Option<Instant>>,
    next: AtomicUsize,
    tasks: Vec<AbortHandle>,
}

/// A configured replica.
pub(super) struct Replica {
    index: usize,
    name: String,
    options: PgConnectOptions,
    settings: TransactionSettings,
    limits: DatabaseLimits,
    positions: Arc<Positions>,
    /// `None` while it is not usable.
    instance: Mutex<Option<Arc<Instance>>>,
}

/// A replica that was connected, until that connection is lost.
pub struct Instance {
    /// Its place among the replicas.
    pub index: usize,
    pub(super) pool: Pool,
    /// What it has replayed; `None` while it is too far behind, or fails.
    replayed: watch::Sender<Option<WalPosition>>,
    /// The last moment as of which it had everything.
    fresh: Mutex<Option<Instant>>,
    asked: Notify,
    /// Cancelled when the replica is lost: running reads must not wait for it.
    pub(super) lost: CancellationToken,
}

impl Replicas {
    /// Follows these replicas of the database of `primary`.
    pub(super) fn follow(
        urls: &[Hosts],
        settings: &TransactionSettings,
        limits: &DatabaseLimits,
        primary: &Pool,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let primary = Primary { pool: primary.clone(), metrics: metrics.clone() };
        let positions = Arc::<Positions>::default();
        let options = urls.iter().flat_map(Hosts::all);
        let all: Vec<_> = options
            .enumerate()
            .map(|(index, options)| {
                Arc::new(Replica {
                    index,
                    name: shown(options),
                    options: options.clone(),
                    settings: settings.clone(),
                    limits: limits.clone(),
                    positions: positions.clone(),
                    instance: Mutex::default(),
                })
            })
            .collect();
        let mut tasks: Vec<_> = all
            .iter()
            .map(|replica| tokio::spawn(replica.clone().stay_connected(primary.clone())).abort_handle())
            .collect();
        if !all.is_empty() {
            let (positions, primary) = (positions.clone(), primary.clone());
            let keep = async move { positions.keep(|| primary.position()).await };
            tasks.push(tokio::spawn(keep).abort_handle());
        }
        let (is_announced, no_wait_until) = (Mutex::default(), Mutex::default());
        Self { all, positions, is_announced, no_wait_until, next: AtomicUsize::default(), tasks }
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Sets what shows whether other servers announce their writes.
    pub(super) fn announced_while(&self, works: Arc<AtomicBool>) {
        *self.is_announced.lock() = Some(works);
    }

    /// A replica that can answer a read now.
    pub(super) fn choose(&self, needs: Needs, user: UserId) -> Option<Arc<Instance>> {
        let needed = self.needed(needs, user)?;
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.all.len();
        let (before, after) = self.all.split_at_checked(first)?;
        after.iter().chain(before).find_map(|replica| replica.reaching(needed))
    }

    /// A replica that can answer a read soon.
    pub(super) async fn choose_soon(&self, needs: Needs, user: UserId) -> Option<Arc<Instance>> {
        if let Some(instance) = self.choose(needs, user) {
            return Some(instance);
        }
        if self.no_wait_until.lock().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let needed = self.needed(needs, user)?;
        let instances = self.all.iter().filter_map(|replica| replica.instance.lock().clone());
        let mut waiting: FuturesUnordered<_> = instances
            .filter(|instance| instance.replayed.borrow().is_some())
            .map(|instance| async move {
                instance.asked.notify_one();
                let reaches =
                    |replayed: &Option<WalPosition>| replayed.is_some_and(|replayed| replayed.reaches(needed));
                let reached = instance.replayed.subscribe().wait_for(reaches).await.is_ok();
                reached.then_some(instance)
            })
            .collect();
        let found = timeout(PATIENCE, waiting.next()).await.ok().flatten().flatten();
        if found.is_none() {
            *self.no_wait_until.lock() = Some(Instant::now() + IMPATIENCE);
        }
        found
    }

    fn needed(&self, needs: Needs, user: UserId) -> Option<WalPosition> {
        if self.all.is_empty() {
            return None;
        }
        let is_announced = self.is_announced.lock().as_ref().is_none_or(|works| works.load(Ordering::Relaxed));
        if is_announced { self.positions.needed(needs, user) } else { None }
    }

    /// The names of all replicas, with their lags; without one, a replica is not usable.
    pub(super) fn lags(&self) -> impl Iterator<Item = (&str, Option<Duration>)> {
        self.all.iter().map(|replica| {
            let lag = replica.instance.lock().as_ref().and_then(|instance| instance.lag());
            (replica.name.as_str(), lag)
        })
    }

    /// Number of open and of idle connections.
    pub(super) fn connections(&self) -> (usize, usize) {
        let instances = self.all.iter().filter_map(|replica| replica.instance.lock().clone());
        let status = instances.map(|instance| instance.pool.status());
        status.fold((0, 0), |(size, idle), status| (size + status.size, idle + status.available))
    }

    /// Ends the tasks and closes all connections.
    pub(super) async fn close(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        for replica in &self.all {
            let instance = replica.instance.lock().take();
            if let Some(instance) = instance {
                pool::drain(&instance.pool).await;
            }
        }
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Replica {
    fn reaching(&self, needed: WalPosition) -> Option<Arc<Instance>> {
        let instance = self.instance.lock().clone()?;
        let reaches = instance.replayed.borrow().is_some_and(|replayed| replayed.reaches(needed));
        reaches.then_some(instance)
    }

    /// Connects, and connects again after a failure.
    async fn stay_connected(self: Arc<Self>, primary: Primary) {
        let mut pause = FIRST_PAUSE;
        let mut reported = None;
        loop {
            let error = match self.connect(&primary).await {
                Ok((mut connection, instance)) => {
                    tracing::info!(replica = self.name, "reads are answered by this replica");
                    (pause, reported) = (FIRST_PAUSE, None);
                    *self.instance.lock() = Some(instance.clone());
                    let error = self.watch(&mut connection, &instance).await;
                    *self.instance.lock() = None;
                    instance.lost.cancel();
                    tokio::spawn(async move { pool::drain(&instance.pool).await });
                    error
                }
                Err(error) => error,
            };
            let error = format!("{error:#}");
            if reported.as_ref() != Some(&error) {
                tracing::warn!(replica = self.name, error, "this replica is not usable: others answer");
                reported = Some(error);
            }
            sleep(pause).await;
            pause = (2 * pause).min(MAX_PAUSE);
        }
    }

    async fn connect(&self, primary: &Primary) -> anyhow::Result<(Connection, Arc<Instance>)> {
        let connected = timeout(ANSWER_TIME, self.options.connect()).await.context("no answer")??;
        let mut connection = Connection::of_postgres(connected, self.settings.is_pooled);
        let own = ask(&mut connection, SYSTEM).await?.try_get::<String>("", "system")?;
        let of_primary = primary.ask(SYSTEM).await.map_err(|error| anyhow!("{error:?}"))?;
        ensure!(of_primary.try_get::<String>("", "system")? == own, "it is not a replica of the database");
        self.position(&mut connection).await?;
        let place = Place::Postgres { hosts: Hosts::one(self.options.clone()), settings: self.settings.clone() };
        let size = usize::try_from(self.limits.database_connections).unwrap_or(usize::MAX);
        let pool =
            timeout(ANSWER_TIME, pool::open(Connector::new(place, &self.limits), size)).await.context("no answer")?;
        let instance = Instance {
            index: self.index,
            pool: pool.map_err(|error| anyhow!("{error:?}"))?,
            replayed: watch::Sender::default(),
            fresh: Mutex::default(),
            asked: Notify::new(),
            lost: CancellationToken::new(),
        };
        Ok((connection, Arc::new(instance)))
    }

    /// Keeps the position up to date until the replica fails.
    async fn watch(&self, connection: &mut Connection, instance: &Instance) -> anyhow::Error {
        let mut target: Option<(WalPosition, Instant)> = None;
        let mut short_until = Instant::now();
        loop {
            let newest = self.positions.newest().map(|newest| (newest, Instant::now()));
            let position = match self.position(connection).await {
                Ok(position) => position,
                Err(error) => return error,
            };
            target = target.or(newest);
            if let Some((_, at)) = target.filter(|(target, _)| position.reaches(*target)) {
                *instance.fresh.lock() = Some(at);
                target = None;
            }
            let is_fresh = instance.lag().is_some_and(|lag| lag < MAX_LAG);
            instance.replayed.send_replace(is_fresh.then_some(position));
            // Reads that wait share the questions.
            if Instant::now() < short_until {
                sleep(SHORT_PERIOD).await;
            } else if timeout(ASK_PERIOD, instance.asked.notified()).await.is_ok() {
                short_until = Instant::now() + PATIENCE;
            }
        }
    }

    async fn position(&self, connection: &mut Connection) -> anyhow::Result<WalPosition> {
        let row = ask(connection, POSITION).await?;
        if !row.try_get::<bool>("", "is_standby")? {
            bail!("it is not a standby");
        }
        let (timeline, lsn): (i32, Option<String>) = (row.try_get("", "timeline")?, row.try_get("", "lsn")?);
        let position = lsn.and_then(|lsn| WalPosition::new(u32::try_from(timeline).ok()?, &lsn));
        position.context("it has replayed nothing")
    }
}

impl Instance {
    /// How long ago it had everything.
    fn lag(&self) -> Option<Duration> {
        self.fresh.lock().map(|fresh| fresh.elapsed())
    }

    /// A read failed: others answer until the replica answers the next question about its position.
    pub(super) fn failed(&self) {
        self.replayed.send_replace(None);
    }
}

async fn ask(connection: &mut Connection, question: &str) -> anyhow::Result<QueryResult> {
    let rows = timeout(ANSWER_TIME, connection.run(question)).await.context("no answer")??;
    rows.into_iter().next().context("no row")
}

/// The primary, which is asked questions outside of transactions.
#[derive(Clone)]
struct Primary {
    pool: Pool,
    metrics: Arc<Metrics>,
}

impl Primary {
    async fn ask(&self, question: &str) -> Result<QueryResult> {
        let (deadline, opening) = (self.pool.manager().deadline(), Opening::Whole(question.to_owned()));
        let (_, rows) = Box::pin(Session::open(&self.pool, opening, deadline, &self.metrics)).await?;
        rows.into_iter().next().ok_or_else(|| Error::internal("the primary has not answered a question"))
    }

    async fn position(&self) -> Option<WalPosition> {
        WalPosition::of(&self.ask(PRIMARY_POSITION).await.ok()?).ok()?
    }
}
