//! The database: connections, and transactions with their actors.
//!
//! A connection is clean before it is used: alive, in no transaction, with the session settings of this module. If a
//! begin, a commit or a rollback fails on it, or if it is lost, it is closed and replaced. Work that was cancelled
//! because a client disconnected is rolled back before the connection is used again. A write is acknowledged only after
//! a successful COMMIT: if the connection is lost during it, `Session::commit` reads the outcome from PostgreSQL.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sea_orm::{ConnectOptions as SeaOptions, Database, DatabaseConnection, QueryResult, Value};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

use crate::metrics::Metrics;
use crate::model::actor::Actor;
use crate::model::error::{Error, Result};
use crate::model::file::FileSnapshot;
use crate::model::ids::UserId;
use crate::model::limits::DatabaseLimits;
use crate::model::locks::Locks;
use crate::model::long_columns::LongColumns;

use super::content_cache::ContentCache;
pub(super) use super::failure::fail;
use super::failure::fail_of;
use super::sql::Sql;
use super::writable::is_protected;
use file::OpenFile;
use pool::{Connector, Place, Pool};
use replica::{BEGIN_TIME, Replicas};
use session::{Opening, Session, TransactionId};
use settings::{TransactionSettings, quoted, speak_for};
use writer::Writer;

mod call;
mod connection;
mod file;
mod hosts;
mod literal;
mod pool;
mod replica;
mod session;
mod settings;
mod transaction;
mod wal;
mod writer;

pub use call::Call;
pub use file::{check_log, sqlite_url, vacuum_into};
pub use hosts::{Hosts, shown};
pub use replica::Instance;
pub use settings::search_path;
pub(super) use transaction::Me;
pub use transaction::{Operator, Tx};
pub use wal::{Needs, Positions, WalPosition};
pub use writer::beside;

/// How to connect to a database.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTarget<'a> {
    /// `sqlite://FILE` or `postgres://…`.
    pub url: &'a str,
    /// The servers of sessions, if `url` is a pooler in transaction mode.
    pub direct: Option<&'a Hosts>,
    /// The PostgreSQL schema.
    pub schema: Option<&'a str>,
}

/// A connected database.
#[derive(Clone)]
pub struct Db {
    /// SQLite: connections for reading. PostgreSQL: all connections.
    pool: Pool,
    /// SQLite: the connection that writes.
    writer: Option<Arc<Writer>>,
    /// The servers of sessions, if this is PostgreSQL.
    sessions: Option<Hosts>,
    settings: Arc<TransactionSettings>,
    /// A SeaORM connection for the migrator, opened on first use.
    migrations: DatabaseConnection,
    url: Arc<str>,
    replicas: Arc<Replicas>,
    metrics: Arc<Metrics>,
    locks: Locks,
    contents: ContentCache,
    readers: usize,
}

/// The size of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// A write of a message or a few files, or a read that compares nothing.
    Small,
    /// A write of thousands of files or megabytes, or a read that compares contents.
    Large,
}

/// Rights of the database login itself, without a caller. PostgreSQL only.
#[derive(Debug)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// Whether it can act for callers.
    pub may_serve: bool,
    /// Whether it can create tables.
    pub may_migrate: bool,
    /// Whether row-level security does not apply to it, as for the tables' owner and superusers.
    pub reads_all: bool,
    /// Whether the database stores Unicode.
    pub is_unicode: bool,
}

impl Login {
    /// Checks that the database stores Unicode.
    ///
    /// # Errors
    /// For the operator: it has another encoding, in which a search finds wrong texts, or texts cannot be stored.
    pub fn check_encoding(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.is_unicode,
            "the database does not have the encoding UTF8: create another one with \
             CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        );
        Ok(())
    }
}

impl Db {
    /// Connects to `url` (`sqlite://FILE` or `postgres://…`) within the limits. Does not migrate.
    ///
    /// # Errors
    /// `Internal` with the reason why the database cannot be reached.
    pub async fn connect(url: &str, limits: &DatabaseLimits) -> Result<Self> {
        Self::connect_to(ConnectionTarget { url, direct: None, schema: None }, limits).await
    }

    /// As [`Db::connect`].
    ///
    /// # Errors
    /// As [`Db::connect`].
    pub async fn connect_to(target: ConnectionTarget<'_>, limits: &DatabaseLimits) -> Result<Self> {
        let ConnectionTarget { url, direct, schema } = target;
        let contents = ContentCache::new(limits.content_cache_bytes)?;
        let size = usize::try_from(limits.database_connections).unwrap_or(usize::MAX);
        let (mut sessions, mut settings) = (None, TransactionSettings::default());
        let (pool, writer, readers) = if url.starts_with("sqlite:") {
            ignore_file_size_signal();
            let reads: SqliteConnectOptions = url.parse().map_err(unusable)?;
            let wait = Duration::from_secs(limits.database_acquire_seconds);
            let reads = reads.read_only(true).foreign_keys(true).busy_timeout(wait).disable_statement_logging();
            let options = sqlite_options(url)?.busy_timeout(wait);
            let path = options.get_filename().to_owned();
            OpenFile::make(&path);
            // SQLite's other files are next to the file that a symbolic link leads to.
            let path = fs::canonicalize(&path).unwrap_or(path);
            let file = Arc::new(OpenFile::at(&path));
            let (reads, writer) = if is_read_only(&path) {
                (read_only_options(reads), None)
            } else {
                let writer = Connector::new(Place::Sqlite { options: Box::new(options), file: file.clone() }, limits);
                (reads, Some(Arc::new(Writer::open(writer, &path, file.clone(), limits).await?)))
            };
            let readers = Connector::new(Place::Sqlite { options: Box::new(reads), file }, limits);
            let size = limits.sqlite_readers.map_or_else(readers_by_cores, NonZeroUsize::get);
            (pool::open(readers, size).await?, writer, size)
        } else {
            let hosts = Hosts::parse(url).map_err(unusable)?;
            (settings, sessions) = match direct {
                None => (TransactionSettings::of_sessions(limits, schema), Some(hosts.clone())),
                Some(direct) => (TransactionSettings::of_transactions(limits, schema), Some(direct.clone())),
            };
            let connector = Connector::new(Place::Postgres { hosts, settings: settings.clone() }, limits);
            (pool::open(connector, size).await?, None, size)
        };
        Ok(Self {
            pool,
            writer,
            migrations: migrations(url, sessions.as_ref(), schema).await?,
            sessions,
            settings: settings.into(),
            url: url.into(),
            replicas: Arc::default(),
            metrics: Arc::default(),
            locks: Locks::Both,
            contents,
            readers,
        })
    }

    /// The same database, whose reads are also answered by these replicas.
    pub fn with_replicas(self, replicas: &[Hosts], limits: &DatabaseLimits) -> Self {
        let replicas = Replicas::follow(replicas, &self.settings, limits, &self.pool, &self.metrics);
        Self { replicas: Arc::new(replicas), ..self }
    }

    /// The positions of commits, if there are replicas.
    pub fn positions(&self) -> Option<&Arc<Positions>> {
        (!self.replicas.is_empty()).then_some(&self.replicas.positions)
    }

    /// Announces commits to other servers. Replicas answer only while `works`, since the others announce theirs.
    pub fn announce(&self, works: Arc<AtomicBool>, announce: impl Fn(UserId, WalPosition) + Send + Sync + 'static) {
        self.replicas.announced_while(works);
        self.replicas.positions.announce_by(Box::new(announce));
    }

    /// Number of replicas.
    pub fn count_replicas(&self) -> usize {
        self.replicas.count()
    }

    /// A replica that can answer a read of a user. A read for subscribers waits for it for a short time.
    pub async fn replica(&self, needs: Needs, user: UserId) -> Option<Arc<Instance>> {
        match needs {
            Needs::Present => None,
            Needs::Own => self.replicas.choose(needs, user),
            Needs::Known => self.replicas.choose_soon(needs, user).await,
        }
    }

    /// As [`Db::read`], from a replica.
    ///
    /// # Errors
    /// The replica fails, and the primary must answer.
    pub async fn read_from(&self, replica: &Arc<Instance>, actor: &Actor) -> Result<Tx> {
        let opening = Opening::Read(self.read_as(Some(actor)));
        let deadline = Instant::now() + BEGIN_TIME;
        let opened = timeout(BEGIN_TIME, Session::open(&replica.pool, opening, deadline, &self.metrics));
        let opened = self.metrics.waiting("replica", Box::pin(opened)).await;
        let opened = opened.unwrap_or_else(|_| Err(Error::Unavailable("the replica does not answer".to_owned())));
        let (session, _) = opened.inspect_err(|_| replica.failed())?;
        self.metrics.read("replica");
        Ok(Tx { is_of_replica: true, ..self.tx(session.until(replica.lost.clone()), actor) })
    }

    /// The connection that migrations run on: of several servers, the one that was found last.
    pub fn migrations(&self) -> &DatabaseConnection {
        if let Some(hosts) = &self.sessions {
            self.migrations.get_postgres_connection_pool().set_connect_options(hosts.last().clone());
        }
        &self.migrations
    }

    /// The metrics of this server.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The cached diff of a version that the caller has read.
    pub fn kept_diff(&self, version: &FileSnapshot) -> Option<Arc<str>> {
        self.contents.diff(version)
    }

    /// Caches the diff of a version, which never changes.
    pub fn keep_diff(&self, version: &FileSnapshot, diff: &str) {
        self.contents.keep_diff(version, diff);
    }

    /// Updates the metrics of connections.
    pub fn count_connections(&self) {
        let status = self.pool.status();
        let (name, size) =
            (if self.is_sqlite() { "read" } else { "all" }, u32::try_from(status.size).unwrap_or(u32::MAX));
        self.metrics.pool(name, size, status.available);
        if let Some(writer) = &self.writer {
            let (size, idle) = writer.count();
            self.metrics.pool("write", size, idle);
        }
        if !self.replicas.is_empty() {
            let (size, idle) = self.replicas.connections();
            self.metrics.pool("replica", u32::try_from(size).unwrap_or(u32::MAX), idle);
        }
        for (name, lag) in self.replicas.lags() {
            self.metrics.replica(name, lag);
        }
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    /// `ReadOnly` if a SQLite file is not the one at its path any more, until a restart.
    pub async fn ping(&self) -> Result<()> {
        if let Some(writer) = &self.writer {
            writer.check_file()?;
        }
        self.operator().await?.rows(Sql::new("SELECT 1")).await.map(drop)
    }

    /// Whether the open file of a SQLite database is at its path, with its own contents.
    pub fn has_its_file(&self) -> bool {
        self.pool.manager().file().is_none_or(|file| file.is_there())
    }

    /// The number of connections that read; on PostgreSQL they also write.
    pub fn readers(&self) -> usize {
        self.readers
    }

    /// Whether this is SQLite.
    pub fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }

    /// The servers of sessions, if this is PostgreSQL.
    pub fn postgres(&self) -> Option<Hosts> {
        self.sessions.clone()
    }

    /// The same database with these authorization layers.
    pub fn behind(self, locks: Locks) -> Self {
        Self { locks, ..self }
    }

    /// The rights of the login on PostgreSQL.
    pub async fn login(&self) -> Result<Login> {
        const ASKED: &str = "SELECT current_user::text AS name, \
             EXISTS (SELECT FROM pg_roles WHERE rolname = 'authenticated' AND pg_has_role(oid, \
             CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END)) AS may_serve, \
             coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_migrate, \
             coalesce(NOT row_security_active(to_regclass('projects')), false) AS reads_all, \
             current_setting('server_encoding') = 'UTF8' AS is_unicode";
        let rows = self.operator().await?.rows(Sql::new(ASKED)).await?;
        let row = rows.first().ok_or_else(|| Error::internal("the database does not say who is logged in"))?;
        Ok(Login {
            name: row.try_get("", "name").map_err(fail)?,
            may_serve: row.try_get("", "may_serve").map_err(fail)?,
            may_migrate: row.try_get("", "may_migrate").map_err(fail)?,
            reads_all: row.try_get("", "reads_all").map_err(fail)?,
            is_unicode: row.try_get("", "is_unicode").map_err(fail)?,
        })
    }

    /// Begins a read transaction that sees one state of the database. Dropping it ends it.
    ///
    /// # Errors
    /// `Internal` if there is no connection, `RateLimited` if none was free for too long.
    pub async fn read(&self, actor: &Actor) -> Result<Tx> {
        self.read_until(actor, self.deadline()).await
    }

    /// As [`Db::read`], with a wait that has begun earlier.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub async fn read_until(&self, actor: &Actor, deadline: Instant) -> Result<Tx> {
        let session = self.begin_read(Some(actor), deadline).await?;
        self.metrics.read("primary");
        Ok(self.tx(session, actor))
    }

    /// The deadline of a wait for the database that begins now.
    pub fn deadline(&self) -> Instant {
        self.pool.manager().deadline()
    }

    /// Why the database is unreachable, if the last attempt to connect failed.
    pub fn outage(&self) -> Option<String> {
        self.pool.manager().outage()
    }

    /// Begins a read-only system transaction that sees one state of the whole database. It is for the operator's
    /// commands, which use the login of the tables' owner, and for comparing projects that have subscribers with the
    /// database. Requests cannot open one.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub async fn operator(&self) -> Result<Operator> {
        Ok(Operator { session: self.begin_read(None, self.deadline()).await? })
    }

    async fn begin_read(&self, actor: Option<&Actor>, deadline: Instant) -> Result<Session> {
        if let Some(file) = self.pool.manager().file() {
            file.check_read()?;
        }
        let opening = if self.is_sqlite() { "BEGIN".to_owned() } else { self.read_as(actor) };
        // Boxed, since callers are deep in resolvers.
        let opened = Box::pin(Session::open(&self.pool, Opening::Read(opening), deadline, &self.metrics));
        Ok(self.metrics.waiting("read", opened).await?.0)
    }

    /// Begins a write transaction. Dropping it rolls back.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub async fn write(&self, actor: &Actor, size: Size, deadline: Instant) -> Result<Tx> {
        if let Some(writer) = &self.writer {
            let turn = self.metrics.waiting("write", Box::pin(writer.turn(size, deadline))).await?;
            return Ok(self.tx(Session::of_turn(turn, &self.metrics), actor));
        }
        if self.is_sqlite() {
            return Err(Error::ReadOnly(
                "Only reads are possible at the moment: the database is read-only.".to_owned(),
            ));
        }
        let text =
            format!("{}; SELECT {TRANSACTION_ID}, {RECOVERED_AT} AS recovered_at", self.write_as(actor, deadline));
        Ok(self.begin_write(actor, Opening::Write(text, None), deadline).await?.0)
    }

    /// Begins a write transaction on PostgreSQL with the call of a function, whose rows are also returned. This takes one
    /// round trip. The rows are in text format; columns are read in the usual way.
    ///
    /// # Errors
    /// As [`Db::read`], and those of the function.
    pub(super) async fn write_with<const N: usize>(
        &self,
        actor: &Actor,
        function: &'static str,
        values: [Value; N],
        deadline: Instant,
    ) -> Result<(Tx, Vec<QueryResult>)> {
        let first = Call::first(function, values);
        self.begin_write(actor, Opening::Write(self.write_as(actor, deadline), Some(first)), deadline).await
    }

    async fn begin_write(&self, actor: &Actor, opening: Opening, deadline: Instant) -> Result<(Tx, Vec<QueryResult>)> {
        let opened = Box::pin(Session::open(&self.pool, opening, deadline, &self.metrics));
        let (session, rows) = self.metrics.waiting("write", opened).await?;
        let id = rows.first().map(|row| TransactionId::of(row).map_err(fail)).transpose()?.flatten();
        Ok((Tx { id, ..self.tx(session, actor) }, rows))
    }

    /// Opens a write transaction on PostgreSQL.
    fn write_as(&self, actor: &Actor, deadline: Instant) -> String {
        // The wait for a row is part of the whole wait.
        let left = deadline.saturating_duration_since(Instant::now()).max(LEAST_LOCK_WAIT).as_millis();
        let (settings, caller) = (&self.settings.on_begin, speak_for(actor, self.locks));
        format!("{WRITE}{settings}; SET LOCAL lock_timeout = {left}{caller}")
    }

    /// Runs and commits a statement with the role of callers but without a caller, for data of the server itself. Does
    /// nothing on SQLite, whose file has one server.
    pub(super) async fn run_as_nobody(&self, sql: Sql) -> Result<()> {
        if self.is_sqlite() {
            return Ok(());
        }
        self.as_nobody(WRITE, sql).await.map(drop)
    }

    /// Opens a read transaction on PostgreSQL.
    fn read_as(&self, actor: Option<&Actor>) -> String {
        let caller = actor.map_or(String::new(), |actor| speak_for(actor, self.locks));
        format!("{READ}{}{caller}", self.settings.on_begin)
    }

    /// Reads data of the server itself, without a caller: on PostgreSQL with the role of callers.
    pub(super) async fn read_as_nobody(&self, sql: Sql) -> Result<Vec<QueryResult>> {
        if self.is_sqlite() {
            return self.operator().await?.rows(sql).await;
        }
        self.as_nobody(READ, sql).await
    }

    /// Runs a statement in a transaction of its own, with the role of callers, by one round trip.
    async fn as_nobody(&self, begin: &str, sql: Sql) -> Result<Vec<QueryResult>> {
        let statement = literal::render(sql.text(), sql.values())?;
        let text = format!("{begin}{}; SET LOCAL ROLE authenticated; {statement}; COMMIT", self.settings.on_begin);
        Ok(Session::open(&self.pool, Opening::Whole(text), self.deadline(), &self.metrics).await?.1)
    }

    fn tx(&self, session: Session, actor: &Actor) -> Tx {
        Tx {
            session,
            id: None,
            actor: actor.clone(),
            locks: self.locks,
            metrics: self.metrics.clone(),
            contents: self.contents.clone(),
            proven: parking_lot::Mutex::default(),
            budget: None,
            needed: LongColumns::default(),
            positions: self.positions().cloned(),
            is_of_replica: false,
            _held: None,
        }
    }

    /// Closes all connections when they are idle.
    pub async fn close(self) {
        // Errors are of no use here.
        let _ = self.migrations.close().await;
        self.replicas.close().await;
        pool::drain(&self.pool).await;
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }
}

/// Makes a write beyond the limit on file sizes (`ulimit -f`) fail with an error. By default the signal ends the
/// process.
fn ignore_file_size_signal() {
    const SIGXFSZ: i32 = 25;
    // The handler stays for the life of the process.
    if let Err(error) = signal(SignalKind::from_raw(SIGXFSZ)) {
        tracing::warn!(%error, "SIGXFSZ cannot be handled");
    }
}

/// Readers of a SQLite file. They are CPU-bound, so more of them than processors have no benefit; more than four did
/// not help in measurements. One more is left for others when a user uses all of these.
fn readers_by_cores() -> usize {
    std::thread::available_parallelism().map_or(2, NonZeroUsize::get).clamp(2, 4) + 1
}

/// How long a migration waits for another process that writes.
const BUSY: Duration = Duration::from_secs(10);

/// Number of pages in the log after which SQLite copies them to the file: 8 MiB.
const CHECKPOINT_PAGES: &str = "4096";

/// Size to which the log is truncated when it restarts.
const WAL_KEPT_BYTES: &str = "16777216";

/// The shortest wait of a write for a row, even after a long wait for its turn.
const LEAST_LOCK_WAIT: Duration = Duration::from_millis(100);

/// One state of the database for the whole transaction.
const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Explicit, since a database can have another default: a write that waited for another must see its result. Read-only
/// mode is left to the server's setting.
const WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// The id by which the outcome is read if the connection is lost during the commit. A standby has none.
const TRANSACTION_ID: &str = "CASE WHEN NOT pg_is_in_recovery() THEN pg_current_xact_id()::text END AS xid";

/// When PostgreSQL last recovered from a crash: recovery discards the statistics. Another server has another time.
const RECOVERED_AT: &str = "extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time())::text";

/// Options for opening a SQLite file to write.
fn sqlite_options(url: &str) -> Result<SqliteConnectOptions> {
    let options: SqliteConnectOptions = url.parse().map_err(unusable)?;
    // WAL lets readers run next to the writer. FULL: acknowledged writes survive a power failure.
    Ok(options
        .create_if_missing(true)
        // A write changes a row in each of about twenty trees: half the default page size halves the written data.
        .page_size(2048)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        // Pages that several writes change are copied to the file once.
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", WAL_KEPT_BYTES)
        .disable_statement_logging())
}

/// Whether a file is there that cannot be written to.
fn is_read_only(path: &Path) -> bool {
    path.exists() && is_protected(path)
}

/// How a file is opened that cannot be written to. SQLite reads a file with a log only if it can create the index of
/// the log, unless the file is declared immutable; then it ignores the log, so that this requires an empty one.
fn read_only_options(options: SqliteConnectOptions) -> SqliteConnectOptions {
    let has_log = std::fs::metadata(writer::beside(options.get_filename(), "-wal")).is_ok_and(|log| log.len() > 0);
    options.create_if_missing(false).read_only(true).immutable(!has_log).disable_statement_logging()
}

/// A connection for migrations, opened on first use and closed soon.
async fn migrations(url: &str, sessions: Option<&Hosts>, schema: Option<&str>) -> Result<DatabaseConnection> {
    // SeaORM parses URLs differently, so its result is replaced.
    let mut options = SeaOptions::new(if sessions.is_some() { "postgres://localhost" } else { url });
    options.max_connections(1).connect_lazy(true).sqlx_logging(false).idle_timeout(Duration::from_secs(10));
    if let Some(hosts) = sessions.cloned() {
        options.map_sqlx_postgres_opts(move |_| hosts.last().clone());
        if let Some(schema) = schema {
            options.set_schema_search_path(quoted(schema));
        }
    } else {
        let mut kept = sqlite_options(url)?;
        if is_read_only(kept.get_filename()) {
            kept = read_only_options(url.parse::<SqliteConnectOptions>().map_err(unusable)?);
        }
        options.map_sqlx_sqlite_opts(move |_| kept.clone());
    }
    Database::connect(options).await.map_err(fail)
}

fn unusable(error: sqlx::Error) -> Error {
    fail_of(&error)
}

/// An error for a value in the database that this version does not know.
pub(super) fn unknown(what: &str, value: &str) -> Error {
    Error::Internal(format!("the database holds an unknown {what}: {value:?}"))
}
