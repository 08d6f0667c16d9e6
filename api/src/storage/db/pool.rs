//! The connection pool. Requests are served in order, and the connection used last is used next, so that unnecessary
//! connections become idle and are closed.
//!
//! Connections return in a known state. They are not pinged before use: if a transaction cannot be opened on one, it is
//! opened again on a new one ([`super::Db::read`], [`super::Db::write`]).

use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection as _};
use tokio::select;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::connection::Connection;
use super::file::OpenFile;
use super::hosts::Hosts;
use super::settings::TransactionSettings;
use crate::model::error::{Error, Result};
use crate::model::limits::DatabaseLimits;
use crate::storage::failure::{fail_of, is_connection_limit};

/// Idle time after which a connection is pinged: a device on the network path may have dropped it silently.
const ASK_AFTER: Duration = Duration::from_secs(30);

/// Timeout of the ping.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Time for an interrupted connection to become clean before it is closed.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// Pause before a connection is retried while the database refuses connections.
const RETRY: Duration = Duration::from_millis(100);

/// The longest time for a new connection before a returned one is used instead. A pooler without a free connection makes it
/// wait.
const SLOW: Duration = Duration::from_secs(1);

/// No new connection is tried for this long after the database refused one.
const LIMIT_HOLDS: Duration = Duration::from_secs(2);

/// The longest time for which the ROLLBACK of a read waits for the next opening on its connection, with which it is sent.
const UNSENT_TIME: Duration = Duration::from_millis(10);

/// How much longer an opening can take than the wait for a backend, so that a wait for a row ends first, by PostgreSQL.
const LOCK_MARGIN: Duration = Duration::from_secs(1);

/// Interval of checks for used connections while the pool is closed.
const DRAIN_PAUSE: Duration = Duration::from_millis(5);

pub(super) type Pool = managed::Pool<Connector>;

/// The database to connect to.
pub(super) enum Place {
    Postgres {
        hosts: Hosts,
        settings: TransactionSettings,
    },
    Sqlite {
        options: Box<SqliteConnectOptions>,
        /// The expected file; another one at its path is refused.
        file: Arc<OpenFile>,
    },
}

/// Opens connections and decides which are kept.
pub(super) struct Connector {
    place: Place,
    acquire: Duration,
    idle: Duration,
    lifetime: Duration,
    /// A connection has come back.
    returned: Notify,
    /// Notified when a connection has come back with an unsent ROLLBACK.
    unsent: watch::Sender<()>,
    /// The order of those who wait for one to come back, since the database gives no more.
    queue: Mutex<()>,
    /// When the database last refused another connection because of a limit.
    limited: parking_lot::Mutex<Option<Instant>>,
    /// Why the last attempt to connect failed.
    outage: parking_lot::Mutex<Option<String>>,
}

impl Connector {
    pub(super) fn new(place: Place, limits: &DatabaseLimits) -> Self {
        Self {
            place,
            acquire: Duration::from_secs(limits.database_acquire_seconds),
            idle: Duration::from_secs(limits.database_idle_seconds),
            lifetime: Duration::from_secs(limits.database_lifetime_seconds),
            returned: Notify::new(),
            unsent: watch::Sender::new(()),
            queue: Mutex::default(),
            limited: parking_lot::Mutex::default(),
            outage: parking_lot::Mutex::default(),
        }
    }

    /// Why no connection can be opened, if the last attempt failed.
    pub(super) fn outage(&self) -> Option<String> {
        self.outage.lock().clone()
    }

    /// The file of a SQLite database.
    pub(super) fn file(&self) -> Option<&Arc<OpenFile>> {
        match &self.place {
            Place::Postgres { .. } => None,
            Place::Sqlite { file, .. } => Some(file),
        }
    }

    /// When an opening that begins now must have a backend. Without a pooler a connection has one.
    pub(super) fn backend_deadline(&self, deadline: Instant) -> Option<Instant> {
        match &self.place {
            Place::Postgres { settings, .. } => settings.is_pooled.then(|| deadline + LOCK_MARGIN),
            Place::Sqlite { .. } => None,
        }
    }

    /// Notifies a waiter that a connection was returned.
    pub(super) fn returned(&self) {
        self.returned.notify_one();
    }

    /// The deadline of a wait that begins now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.acquire
    }

    /// Opens a connection. Retries while the database refuses connections, for example during a restart, for as long as
    /// a request waits.
    pub(super) async fn connect(&self) -> sqlx::Result<Connection> {
        let deadline = self.deadline();
        loop {
            match self.connect_once().await {
                Err(error) if is_passing(&error) && Instant::now() + RETRY < deadline => sleep(RETRY).await,
                connected => return connected,
            }
        }
    }

    /// As [`Connector::connect`], but fails at once if the database has a limit on connections, and if another connection comes back
    /// first.
    async fn connect_or_settle(&self) -> sqlx::Result<Connection> {
        if self.limited.lock().is_some_and(|limited| limited.elapsed() < LIMIT_HOLDS) {
            return Err(sqlx::Error::PoolTimedOut);
        }
        let connect = async {
            loop {
                match self.connect_once().await {
                    Err(error) if is_passing(&error) && !is_connection_limit(&error) => sleep(RETRY).await,
                    connected => return connected,
                }
            }
        };
        let overtaken = async {
            sleep(SLOW).await;
            self.returned.notified().await;
        };
        select! {
            connected = connect => {
                if connected.as_ref().is_err_and(is_connection_limit) {
                    tracing::warn!("the database allows no more connections: requests wait for those that there are");
                    *self.limited.lock() = Some(Instant::now());
                }
                connected
            }
            () = overtaken => {
                *self.limited.lock() = Some(Instant::now());
                Err(sqlx::Error::PoolTimedOut)
            }
        }
    }

    async fn connect_once(&self) -> sqlx::Result<Connection> {
        let connected = self.try_connect().await;
        let outage = connected.as_ref().err().filter(|error| !is_limit(error));
        *self.outage.lock() = outage.map(ToString::to_string);
        connected
    }

    async fn try_connect(&self) -> sqlx::Result<Connection> {
        match &self.place {
            Place::Postgres { hosts, settings } => {
                let connect = async {
                    let (connection, is_pooled) = (hosts.connect().await?, settings.is_pooled);
                    let mut connection = Connection::of_postgres(connection, is_pooled);
                    if let Some(set) = &settings.on_connect {
                        connection.run(set.as_str()).await?;
                    }
                    Ok(connection)
                };
                timeout(self.acquire, connect).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            }
            Place::Sqlite { options, file } => {
                // A connection that writes would change another program's database (`journal_mode`).
                file.check_connection()?;
                let connect = async {
                    let mut connection = Connection::Sqlite(options.connect().await?);
                    // The first read opens the files next to the database by their names.
                    connection.run("SELECT count(*) FROM sqlite_schema").await?;
                    Ok::<_, sqlx::Error>(connection)
                };
                let connection = connect.await.map_err(|error| file.explain(error))?;
                // The file was opened by its name, so check that it is the expected one.
                file.check_connection()?;
                Ok(connection)
            }
        }
    }

    /// Connections to a file are few and are kept: they work even if there is no file at its path any more. One that was open
    /// while the file had wrong contents can have some in its cache.
    fn keeps(&self, metrics: &Metrics) -> bool {
        match self.file() {
            Some(file) => !file.was_spoiled_since(metrics.created),
            None => metrics.last_used() < self.idle && metrics.age() < self.lifetime,
        }
    }
}

/// Whether a refused connection may succeed soon.
fn is_passing(error: &sqlx::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    match error {
        sqlx::Error::Io(error) => matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset),
        sqlx::Error::Database(error) => error.is_transient_in_connect_phase(),
        _ => false,
    }
}

impl managed::Manager for Connector {
    /// In a mutex, so that [`send_unsent`] reaches it in the pool. Its user has it [`alone`] and takes no lock.
    type Type = parking_lot::Mutex<Connection>;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<Self::Type> {
        Ok(parking_lot::Mutex::new(self.connect_or_settle().await?))
    }

    async fn recycle(&self, connection: &mut Self::Type, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if !self.keeps(metrics) {
            return Err(RecycleError::message("old"));
        }
        if metrics.last_used() >= ASK_AFTER {
            timeout(ANSWER_TIME, connection.get_mut().ping()).await.map_err(|_| RecycleError::message("silent"))??;
        }
        Ok(())
    }
}

/// Opens a pool of at most `size` connections. Opens the first at once; for a file, all of them.
pub(super) async fn open(connector: Connector, size: usize) -> Result<Pool> {
    let (wait, period) = (connector.acquire, connector.idle.min(connector.lifetime) / 4);
    let pool = Pool::builder(connector)
        .max_size(size)
        .queue_mode(QueueMode::Lifo)
        .wait_timeout(Some(wait))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(Error::internal)?;
    let at_once = if matches!(pool.manager().place, Place::Sqlite { .. }) { size } else { 1 };
    let mut made = Vec::new();
    for _ in 0..at_once {
        made.push(take(&pool, pool.manager().deadline()).await?);
    }
    drop(made);
    tokio::spawn(close_idle(pool.weak(), period));
    tokio::spawn(send_unsent(pool.weak(), pool.manager().unsent.subscribe()));
    Ok(pool)
}

/// The connection of its only user.
pub(super) fn alone(object: &mut Object<Connector>) -> &mut Connection {
    object.get_mut()
}

/// Sends the ROLLBACKs of idle connections, until the pool is dropped.
async fn send_unsent(pool: managed::WeakPool<Connector>, mut unsent: watch::Receiver<()>) {
    while unsent.changed().await.is_ok() {
        sleep(UNSENT_TIME).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.retain(|connection, _| connection.lock().flush().is_ok());
    }
}

/// Closes idle connections, until the pool is dropped.
async fn close_idle(pool: managed::WeakPool<Connector>, period: Duration) {
    loop {
        sleep(period).await;
        let Some(pool) = pool.upgrade() else { return };
        if pool.is_closed() {
            return;
        }
        for connection in pool.retain(|_, metrics| pool.manager().keeps(&metrics)).removed {
            close(connection.into_inner()).await;
        }
    }
}

/// Takes a connection, waiting until one is free or until `deadline`. If the database allows fewer connections than the
/// pool, this waits for a returned one.
pub(super) async fn take(pool: &Pool, deadline: Instant) -> Result<Object<Connector>> {
    let connector = pool.manager();
    let taken = async {
        if let Some(object) = get(pool).await? {
            return Ok(object);
        }
        let _turn = connector.queue.lock().await;
        loop {
            if let Some(object) = get(pool).await? {
                return Ok(object);
            }
            // The limit may have been raised meanwhile.
            let _ = timeout(LIMIT_HOLDS, connector.returned.notified()).await;
        }
    };
    timeout_at(deadline, taken).await.unwrap_or_else(|_| {
        Err(match connector.outage() {
            Some(why) => Error::Unavailable(format!("database: {why}")),
            None => Error::busy("No connection to the database was free", connector.acquire),
        })
    })
}

/// A pooled or new connection; `None` if the database allows no more.
async fn get(pool: &Pool) -> Result<Option<Object<Connector>>> {
    match pool.get().await {
        Ok(object) => Ok(Some(object)),
        Err(PoolError::Backend(error)) if is_limit(&error) => Ok(None),
        Err(PoolError::Timeout(TimeoutType::Wait)) => {
            Err(Error::busy("No connection to the database was free", pool.manager().acquire))
        }
        Err(PoolError::Backend(error)) => Err(fail_of(&error)),
        Err(error) => Err(Error::Unavailable(format!("database: {error}"))),
    }
}

/// Whether a connection failed because of a limit: the database refuses it, or a pooler makes it wait.
fn is_limit(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::PoolTimedOut) || is_connection_limit(error)
}

/// Returns a connection to the pool.
pub(super) fn give_back(object: Object<Connector>) {
    let pool = Object::pool(&object);
    drop(object);
    if let Some(pool) = pool {
        pool.manager().returned();
    }
}

/// Returns a connection with an unsent ROLLBACK to the pool.
pub(super) fn give_back_unsent(object: Object<Connector>) {
    let pool = Object::pool(&object);
    drop(object);
    if let Some(pool) = pool {
        pool.manager().returned();
        pool.manager().unsent.send_replace(());
    }
}

/// Closes a connection and frees its place.
pub(super) fn discard(object: Object<Connector>) {
    let pool = Object::pool(&object);
    drop(Object::take(object));
    if let Some(pool) = pool {
        pool.manager().returned();
    }
}

/// Cleans an interrupted connection and returns it to the pool, or closes it.
pub(super) fn settle(mut object: Object<Connector>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        discard(object);
        return;
    };
    runtime.spawn(async move {
        if matches!(timeout(SETTLE_TIME, alone(&mut object).roll_back()).await, Ok(Ok(()))) {
            give_back(object);
        } else {
            discard(object);
        }
    });
}

/// Closes a connection and ignores errors.
pub(super) async fn close(connection: Connection) {
    let closing = async {
        match connection {
            Connection::Postgres { connection, .. } => connection.close().await,
            Connection::Sqlite(connection) => connection.close().await,
        }
    };
    let _ = timeout(ANSWER_TIME, closing).await;
}

/// Closes all connections as they are returned.
pub(super) async fn drain(pool: &Pool) {
    loop {
        for connection in pool.retain(|_, _| false).removed {
            close(connection.into_inner()).await;
        }
        if pool.status().size == 0 {
            return pool.close();
        }
        sleep(DRAIN_PAUSE).await;
    }
}
