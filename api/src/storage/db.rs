//! The database: connections, and transactions that know their actor.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    FromQueryResult, IsolationLevel, QueryResult, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait,
};
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

use crate::model::actor::Actor;
use crate::model::error::{Error, Result};
use crate::model::ids::ProjectId;

use super::sql::Sql;

/// A connected database.
#[derive(Clone)]
pub struct Db {
    /// SQLite: the one connection that writes. PostgreSQL: the pool.
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    url: Arc<str>,
    statements: Arc<AtomicU64>,
}

impl Db {
    /// Connects to `url` (`sqlite://FILE` or `postgres://…`) with at most `connections` connections. Nothing is migrated.
    ///
    /// # Errors
    /// `Internal` saying why the database cannot be reached.
    pub async fn connect(url: &str, connections: u32) -> Result<Self> {
        let statements = Arc::new(AtomicU64::new(0));
        let mut options = ConnectOptions::new(url);
        options
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(10))
            .test_before_acquire(false)
            .test_before_acquire_if_idle_for(Duration::from_secs(30))
            .sqlx_logging(false);
        let open = |options: ConnectOptions| {
            let statements = statements.clone();
            async move {
                let mut connection = Database::connect(options).await.map_err(fail)?;
                connection.set_metric_callback(move |_| {
                    statements.fetch_add(1, Ordering::Relaxed);
                });
                Ok::<_, Error>(connection)
            }
        };
        if url.starts_with("sqlite:") {
            // WAL lets readers read beside the one writer. FULL: what was acknowledged survives a power cut.
            options.map_sqlx_sqlite_opts(|options| {
                options
                    .create_if_missing(true)
                    // A write touches a row in each of some twenty trees: half the default page halves what it writes.
                    .page_size(2048)
                    .foreign_keys(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(Duration::from_secs(10))
            });
            let mut one = options.clone();
            one.max_connections(1);
            let writer = open(one).await?;
            options.map_sqlx_sqlite_opts(|options| {
                options.read_only(true).foreign_keys(true).busy_timeout(Duration::from_secs(10))
            });
            let reader = open(options).await?;
            Ok(Self { writer, reader, url: url.into(), statements })
        } else {
            let pool = open(options).await?;
            Ok(Self { writer: pool.clone(), reader: pool, url: url.into(), statements })
        }
    }

    /// The connection that migrations run on.
    pub fn migrations(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// SQL statements sent so far, transaction control not counted.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Whether this is SQLite.
    pub fn is_sqlite(&self) -> bool {
        self.writer.get_database_backend() == DbBackend::Sqlite
    }

    /// Its URL and the pool, where this is PostgreSQL.
    pub(super) fn postgres(&self) -> Option<(&str, &sqlx::PgPool)> {
        (!self.is_sqlite()).then(|| (&*self.url, self.writer.get_postgres_connection_pool()))
    }

    /// Begins a transaction that sees one state of the whole database and writes nothing. Dropping it ends it.
    ///
    /// # Errors
    /// `Internal` where no connection can be had.
    pub async fn read(&self, actor: &Actor) -> Result<Tx> {
        Ok(Tx::new(Self::begin(self.read_only()).await?, actor))
    }

    /// Begins a transaction that sees one state of the whole database, whoever's it is, and writes nothing. For the commands
    /// of the operator, who has the database's own credentials: no request comes here.
    ///
    /// # Errors
    /// `Internal` where no connection can be had.
    pub async fn operator(&self) -> Result<Operator> {
        Ok(Operator { connection: Self::begin(self.read_only()).await? })
    }

    fn read_only(&self) -> impl Future<Output = std::result::Result<DatabaseTransaction, DbErr>> + Send + 'static {
        let connection = self.reader.clone();
        async move {
            match connection.get_database_backend() {
                DbBackend::Sqlite => connection.begin().await,
                _ => {
                    connection.begin_with_config(Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly)).await
                }
            }
        }
    }

    /// Begins a transaction that may write. Dropping it rolls it back.
    ///
    /// # Errors
    /// `Internal` where no connection can be had.
    pub async fn write(&self, actor: &Actor) -> Result<Tx> {
        let connection = self.writer.clone();
        // Reading first and writing later fails at once in SQLite's default mode when somebody else wrote in between.
        let mode = self.is_sqlite().then_some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
        Ok(Tx::new(Self::begin(async move { connection.begin_with_options(options).await }).await?, actor))
    }

    /// A `begin` that is cancelled half-way leaves a pooled connection inside a transaction, so it runs in its own task.
    async fn begin(
        begin: impl Future<Output = std::result::Result<DatabaseTransaction, DbErr>> + Send + 'static,
    ) -> Result<DatabaseTransaction> {
        tokio::spawn(begin).await.map_err(Error::internal)?.map_err(fail)
    }

    /// Closes all connections once they are idle.
    pub async fn close(self) {
        // An error here has nobody left to hear it.
        let _ = self.reader.close().await;
        let _ = self.writer.close().await;
    }
}

/// A transaction on behalf of one actor. Everything in `storage` that reads or writes rows takes one.
pub struct Tx {
    pub(super) connection: DatabaseTransaction,
    pub(super) actor: Actor,
    /// The revision that this transaction is.
    pub(super) taken: OnceLock<(ProjectId, i32)>,
    abandoned: AtomicBool,
}

/// A transaction that reads every project, on nobody's behalf. It is no [`Tx`], so that nothing written for a request runs in
/// one, and what runs in one (`storage/operator.rs`) cannot run in a request, which has no [`Db`] to ask for it.
pub struct Operator {
    connection: DatabaseTransaction,
}

impl Operator {
    pub(super) async fn rows(&self, sql: Sql) -> Result<Vec<QueryResult>> {
        self.connection.query_all_raw(sql.build(self.connection.get_database_backend())).await.map_err(fail)
    }
}

impl Tx {
    fn new(connection: DatabaseTransaction, actor: &Actor) -> Self {
        Self { connection, actor: actor.clone(), taken: OnceLock::new(), abandoned: AtomicBool::new(false) }
    }

    /// Makes [`Tx::finish`] leave no trace: the write turned out to change nothing.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Commits, or rolls back where the write was abandoned. Answers the revision that was committed, where it was one.
    ///
    /// # Errors
    /// `Internal` where the commit fails; then nothing was written.
    pub async fn finish(self) -> Result<Option<(ProjectId, i32)>> {
        if self.abandoned.into_inner() {
            self.connection.rollback().await.map_err(fail)?;
            Ok(None)
        } else {
            self.connection.commit().await.map_err(fail)?;
            Ok(self.taken.into_inner())
        }
    }

    pub(super) fn me(&self) -> uuid::Uuid {
        self.actor.user_id.0
    }

    /// Whether this is SQLite, for the few words in which the databases' SQL differs.
    pub(super) fn is_sqlite(&self) -> bool {
        self.connection.get_database_backend() == DbBackend::Sqlite
    }

    fn statement(&self, sql: Sql) -> Statement {
        sql.build(self.connection.get_database_backend())
    }

    pub(super) async fn execute(&self, sql: Sql) -> Result<u64> {
        Ok(self.connection.execute_raw(self.statement(sql)).await.map_err(fail)?.rows_affected())
    }

    pub(super) async fn row(&self, sql: Sql) -> Result<Option<QueryResult>> {
        self.connection.query_one_raw(self.statement(sql)).await.map_err(fail)
    }

    pub(super) async fn rows(&self, sql: Sql) -> Result<Vec<QueryResult>> {
        self.connection.query_all_raw(self.statement(sql)).await.map_err(fail)
    }

    /// The number in column `n` of the one row.
    pub(super) async fn count(&self, sql: Sql) -> Result<i64> {
        match self.row(sql).await? {
            Some(row) => row.try_get("", "n").map_err(fail),
            None => Ok(0),
        }
    }

    /// The pairs of columns `parent` and `n`.
    pub(super) async fn counts(&self, sql: Sql) -> Result<Vec<(uuid::Uuid, i64)>> {
        let pair =
            |row: &QueryResult| Ok((row.try_get("", "parent").map_err(fail)?, row.try_get("", "n").map_err(fail)?));
        self.rows(sql).await?.iter().map(pair).collect()
    }

    pub(super) async fn all<M: FromQueryResult>(&self, sql: Sql) -> Result<Vec<M>> {
        let rows = self.rows(sql).await?;
        rows.iter().map(|row| M::from_query_result(row, "").map_err(fail)).collect()
    }
}

/// What a database says when it fails is for the log.
pub(super) fn fail(error: DbErr) -> Error {
    Error::Internal(format!("database: {error}"))
}

/// A value in the database that this version of the service does not know.
pub(super) fn unknown(what: &str, value: &str) -> Error {
    Error::Internal(format!("the database holds an unknown {what}: {value:?}"))
}
