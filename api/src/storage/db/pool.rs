//! The connection pool. Requests are served in order, and the connection used last is used next, so that unnecessary
//! connections become idle and are closed.
//!
//! Connections return in a known state. They are not pinged before use: if a transaction cannot be opened on one, it is
//! opened again on a new one ([`super::Db::read`], [`super::Db::write`]).

use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection as _};
use tokio::time::{Instant, sleep, timeout};

use super::connection::Connection;
use super::file::OpenFile;
use crate::model::error::{Error, Result};
use crate::model::limits::DatabaseLimits;
use crate::storage::failure::fail_of;

/// Idle time after which a connection is pinged: a device on the network path may have dropped it silently.
const ASK_AFTER: Duration = Duration::from_secs(30);

/// Timeout of the ping.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Time for an interrupted connection to become clean before it is closed.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// Pause before a connection is retried while the database refuses connections.
const RETRY: Duration = Duration::from_millis(100);

/// Interval of checks for used connections while the pool is closed.
const DRAIN_PAUSE: Duration = Duration::from_millis(5);

pub(super) type Pool = managed::Pool<Connector>;

/// The database to connect to.
pub(super) enum Place {
    Postgres {
        options: Box<PgConnectOptions>,
        /// Statements that are run first on each connection.
        settings: String,
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
}

impl Connector {
    pub(super) fn new(place: Place, limits: &DatabaseLimits) -> Self {
        Self {
            place,
            acquire: Duration::from_secs(limits.database_acquire_seconds),
            idle: Duration::from_secs(limits.database_idle_seconds),
            lifetime: Duration::from_secs(limits.database_lifetime_seconds),
        }
    }

    /// Opens a connection. Retries while the database refuses connections, for example during a restart, for as long as
    /// a request waits.
    pub(super) async fn connect(&self) -> sqlx::Result<Connection> {
        let deadline = Instant::now() + self.acquire;
        loop {
            match self.connect_once().await {
                Err(error) if is_passing(&error) && Instant::now() + RETRY < deadline => sleep(RETRY).await,
                connected => return connected,
            }
        }
    }

    async fn connect_once(&self) -> sqlx::Result<Connection> {
        match &self.place {
            Place::Postgres { options, settings } => {
                let connect = async {
                    let mut connection = Connection::Postgres(options.connect().await?);
                    connection.run(settings.as_str()).await?;
                    Ok(connection)
                };
                timeout(self.acquire, connect).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            }
            Place::Sqlite { options, file } => {
                let mut connection = Connection::Sqlite(options.connect().await?);
                // The first read opens the files next to the database by their names.
                connection.run("SELECT count(*) FROM sqlite_schema").await?;
                // The file was opened by its name, so check that it is the expected one.
                if file.is_there() {
                    Ok(connection)
                } else {
                    Err(sqlx::Error::Io(std::io::Error::other("the database file was moved, deleted or replaced")))
                }
            }
        }
    }

    /// Connections to a file are few and are kept: they work even if there is no file at its path any more.
    fn keeps(&self, metrics: &Metrics) -> bool {
        matches!(self.place, Place::Sqlite { .. }) || metrics.last_used() < self.idle && metrics.age() < self.lifetime
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
    type Type = Connection;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<Connection> {
        self.connect().await
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if !self.keeps(metrics) {
            return Err(RecycleError::message("old"));
        }
        connection.flush()?;
        if metrics.last_used() >= ASK_AFTER {
            timeout(ANSWER_TIME, connection.ping()).await.map_err(|_| RecycleError::message("silent"))??;
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
        made.push(take(&pool).await?);
    }
    drop(made);
    tokio::spawn(close_idle(pool.weak(), period));
    Ok(pool)
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
            close(connection).await;
        }
    }
}

/// Takes a connection, waiting until one is free.
pub(super) async fn take(pool: &Pool) -> Result<Object<Connector>> {
    pool.get().await.map_err(|error| match error {
        PoolError::Timeout(TimeoutType::Wait) => {
            Error::busy("No connection to the database was free", pool.manager().acquire)
        }
        PoolError::Backend(error) => fail_of(&error),
        error => Error::Unavailable(format!("database: {error}")),
    })
}

/// Cleans an interrupted connection and returns it to the pool, or closes it.
pub(super) fn settle(mut object: Object<Connector>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        drop(Object::take(object));
        return;
    };
    runtime.spawn(async move {
        if !matches!(timeout(SETTLE_TIME, object.roll_back()).await, Ok(Ok(()))) {
            drop(Object::take(object));
        }
    });
}

/// Closes a connection and ignores errors.
pub(super) async fn close(connection: Connection) {
    let closing = async {
        match connection {
            Connection::Postgres(connection) => connection.close().await,
            Connection::Sqlite(connection) => connection.close().await,
        }
    };
    let _ = timeout(ANSWER_TIME, closing).await;
}

/// Closes all connections as they are returned.
pub(super) async fn drain(pool: &Pool) {
    loop {
        for connection in pool.retain(|_, _| false).removed {
            close(connection).await;
        }
        if pool.status().size == 0 {
            return pool.close();
        }
        sleep(DRAIN_PAUSE).await;
    }
}
