//! The database: connections, and transactions that know their actor.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, FromQueryResult,
    QueryResult, SqlErr, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait, Value,
};
use serde_json::json;
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

use crate::metrics::{self, Metrics};
use crate::model::actor::Actor;
use crate::model::error::{Error, Result};
use crate::model::file::FileSnapshot;
use crate::model::limits::DatabaseLimits;
use crate::model::locks::Locks;

use super::content_cache::ContentCache;
pub(super) use super::failure::fail;
use super::sql::Sql;

/// A connected database.
#[derive(Clone)]
pub struct Db {
    /// SQLite: the one connection that writes. PostgreSQL: the pool.
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    url: Arc<str>,
    metrics: Arc<Metrics>,
    locks: Locks,
    contents: ContentCache,
}

/// What the database's login may do by itself, when it is not speaking for a caller. PostgreSQL only.
#[derive(Debug)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// Whether it may speak for callers.
    pub may_serve: bool,
    /// Whether it may make tables.
    pub may_migrate: bool,
    /// Whether row-level security does not hold for it: it is the tables' owner, or above such things.
    pub reads_all: bool,
}

impl Db {
    /// Connects to `url` (`sqlite://FILE` or `postgres://…`) within the limits. Nothing is migrated.
    ///
    /// # Errors
    /// `Internal` saying why the database cannot be reached.
    pub async fn connect(url: &str, limits: &DatabaseLimits) -> Result<Self> {
        let metrics = Arc::new(Metrics::default());
        let contents = ContentCache::new(limits.content_cache_bytes)?;
        let mut options = ConnectOptions::new(url);
        options
            .max_connections(limits.database_connections)
            .acquire_timeout(Duration::from_secs(limits.database_acquire_seconds))
            .idle_timeout(Duration::from_secs(limits.database_idle_seconds))
            .max_lifetime(Duration::from_secs(limits.database_lifetime_seconds))
            .test_before_acquire(false)
            .test_before_acquire_if_idle_for(Duration::from_secs(30))
            .sqlx_logging(false);
        let open = |options: ConnectOptions| {
            let metrics = metrics.clone();
            async move {
                let mut connection = Database::connect(options).await.map_err(fail)?;
                connection.set_metric_callback(move |sent| metrics.statement(sent.elapsed, sent.failed));
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
            Ok(Self { writer, reader, url: url.into(), metrics, locks: Locks::Both, contents })
        } else {
            if limits.database_statement_seconds > 0 {
                options.statement_timeout(Duration::from_secs(limits.database_statement_seconds));
            }
            let pool = open(options).await?;
            Ok(Self { writer: pool.clone(), reader: pool, url: url.into(), metrics, locks: Locks::Both, contents })
        }
    }

    /// The connection that migrations run on.
    pub fn migrations(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// What is counted of this server.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The diff of a version with what it is compared with, where it is kept in memory; of one that the caller has read.
    pub fn kept_diff(&self, version: &FileSnapshot) -> Option<Arc<str>> {
        self.contents.diff(version)
    }

    /// Keeps the diff of a version, which stays what it is.
    pub fn keep_diff(&self, version: &FileSnapshot, diff: &str) {
        self.contents.keep_diff(version, diff);
    }

    /// Counts the connections that there are now.
    pub fn count_connections(&self) {
        if self.is_sqlite() {
            for (name, pool) in [("write", &self.writer), ("read", &self.reader)] {
                let pool = pool.get_sqlite_connection_pool();
                self.metrics.pool(name, pool.size(), pool.num_idle());
            }
        } else {
            let pool = self.writer.get_postgres_connection_pool();
            self.metrics.pool("all", pool.size(), pool.num_idle());
        }
    }

    /// Asks the database for an answer.
    ///
    /// # Errors
    /// `Internal` where none comes.
    pub async fn ping(&self) -> Result<()> {
        let reader = self.reader.clone();
        // In its own task, as whatever waits for a connection must be.
        metrics::spawn(async move { reader.ping().await }).await.map_err(Error::internal)?.map_err(fail)
    }

    /// Whether this is SQLite.
    pub fn is_sqlite(&self) -> bool {
        self.writer.get_database_backend() == DbBackend::Sqlite
    }

    /// Its URL and the pool, where this is PostgreSQL.
    pub(super) fn postgres(&self) -> Option<(&str, &sqlx::PgPool)> {
        (!self.is_sqlite()).then(|| (&*self.url, self.writer.get_postgres_connection_pool()))
    }

    /// The same database behind these locks.
    pub fn behind(self, locks: Locks) -> Self {
        Self { locks, ..self }
    }

    /// What the login may do on PostgreSQL.
    ///
    /// # Errors
    /// `Internal` where the database fails.
    pub async fn login(&self) -> Result<Login> {
        const ASKED: &str = "SELECT current_user::text AS name, \
             EXISTS (SELECT FROM pg_roles WHERE rolname = 'authenticated' AND pg_has_role(oid, \
             CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END)) AS may_serve, \
             coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_migrate, \
             coalesce(NOT row_security_active(to_regclass('projects')), false) AS reads_all";
        let asked = Statement::from_string(DbBackend::Postgres, ASKED);
        let row = self.writer.query_one_raw(asked).await.map_err(fail)?;
        let row = row.ok_or_else(|| Error::internal("the database does not say who is logged in"))?;
        Ok(Login {
            name: row.try_get("", "name").map_err(fail)?,
            may_serve: row.try_get("", "may_serve").map_err(fail)?,
            may_migrate: row.try_get("", "may_migrate").map_err(fail)?,
            reads_all: row.try_get("", "reads_all").map_err(fail)?,
        })
    }

    /// Begins a transaction that sees one state of the whole database and writes nothing. Dropping it ends it.
    ///
    /// # Errors
    /// `Internal` where no connection can be had.
    pub async fn read(&self, actor: &Actor) -> Result<Tx> {
        Ok(self.tx(self.begin(&self.reader, READ_ONLY, Some(actor)).await?, actor))
    }

    /// Begins a transaction that sees one state of the whole database, whoever's it is, and writes nothing. For the commands
    /// of the operator, who has the credentials of the tables' owner, and for what a server compares its listeners' projects
    /// with: no request comes here.
    ///
    /// # Errors
    /// `Internal` where no connection can be had.
    pub async fn operator(&self) -> Result<Operator> {
        Ok(Operator { connection: self.begin(&self.reader, READ_ONLY, None).await? })
    }

    /// Begins a transaction that may write. Dropping it rolls it back.
    ///
    /// # Errors
    /// `Internal` where no connection can be had.
    pub async fn write(&self, actor: &Actor) -> Result<Tx> {
        Ok(self.tx(self.begin(&self.writer, "", Some(actor)).await?, actor))
    }

    /// Begins a transaction, on PostgreSQL in this mode and as the caller: the role and the claims end with it. A `begin` that
    /// is cancelled half-way leaves a pooled connection inside a transaction, so it runs in a task of its own.
    async fn begin(
        &self,
        connection: &DatabaseConnection,
        mode: &'static str,
        actor: Option<&Actor>,
    ) -> Result<DatabaseTransaction> {
        let connection = connection.clone();
        let access = if mode.is_empty() { "write" } else { "read" };
        let mut options = TransactionOptions::default();
        let mut opening = String::new();
        if self.is_sqlite() {
            // Reading first and writing later fails at once in SQLite's default mode when somebody else wrote in between.
            options.sqlite_transaction_mode = mode.is_empty().then_some(SqliteTransactionMode::Immediate);
        } else {
            opening.push_str(mode);
            if let Some(actor) = actor.filter(|_| self.locks != Locks::Application) {
                opening.push_str(&speak_for(actor));
            }
            if !opening.is_empty() {
                opening.push_str(PLANNED_ONCE);
            }
        }
        let begin = async move {
            let transaction = connection.begin_with_options(options).await?;
            if !opening.is_empty() {
                // All of it is one string by the simple protocol, and so one round trip.
                transaction.execute_unprepared(&opening).await?;
            }
            Ok(transaction)
        };
        let begun = self.metrics.waiting(access, metrics::spawn(begin)).await;
        begun.map_err(Error::internal)?.map_err(fail)
    }

    fn tx(&self, connection: DatabaseTransaction, actor: &Actor) -> Tx {
        Tx {
            connection,
            actor: actor.clone(),
            locks: self.locks,
            metrics: self.metrics.clone(),
            contents: self.contents.clone(),
        }
    }

    /// Closes all connections once they are idle.
    pub async fn close(self) {
        // An error here has nobody left to hear it.
        let _ = self.reader.close().await;
        let _ = self.writer.close().await;
    }
}

/// One state of the database for all of a transaction.
const READ_ONLY: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// One plan for all values of a statement, which every page here is read by an index with. To plan it again for each costs more than
/// to run it: row-level security makes statements long.
const PLANNED_ONCE: &str = "; SET LOCAL plan_cache_mode = force_generic_plan";

/// Makes the rest of a transaction the caller's, as Supabase's services do: `auth.uid()` is the claims' `sub`. An address that
/// is not known to be the caller's is left out.
fn speak_for(actor: &Actor) -> String {
    let (user, role) = (actor.user_id.0, "authenticated");
    let claims = match &actor.verified_email {
        None => json!({ "sub": user, "role": role }),
        Some(email) => json!({ "sub": user, "role": role, "email": email.as_str(), "email_verified": true }),
    };
    format!("; SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claims = {}", literal(&claims.to_string()))
}

/// A text as a literal of PostgreSQL's, whatever `standard_conforming_strings` says. A NUL, which no text there can hold, is
/// left out.
fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 3);
    quoted.push_str("E'");
    for character in text.chars().filter(|character| *character != '\0') {
        if matches!(character, '\'' | '\\') {
            quoted.push(character);
        }
        quoted.push(character);
    }
    quoted.push('\'');
    quoted
}

/// The caller in a statement.
#[derive(Clone, Copy)]
pub(super) struct Me {
    id: uuid::Uuid,
    /// Whether the statement itself is to keep from them what is not theirs.
    pub(super) scopes: bool,
}

impl From<Me> for Value {
    fn from(me: Me) -> Self {
        me.id.into()
    }
}

/// A transaction on behalf of one actor. Everything in `storage` that reads or writes rows takes one.
pub struct Tx {
    pub(super) connection: DatabaseTransaction,
    pub(super) actor: Actor,
    locks: Locks,
    pub(super) metrics: Arc<Metrics>,
    pub(super) contents: ContentCache,
}

/// A transaction that reads every project, on nobody's behalf. It is no [`Tx`], so that nothing written for a request runs in
/// one, and what runs in one (`storage/operator.rs`) cannot run in a request, which has no [`Db`] to ask for it.
pub struct Operator {
    connection: DatabaseTransaction,
}

impl Operator {
    pub(super) fn is_sqlite(&self) -> bool {
        self.connection.get_database_backend() == DbBackend::Sqlite
    }

    /// Goes on as what callers are, but as none of them: a server's login may do nothing by itself. PostgreSQL only.
    pub(super) async fn be_nobody(&self) -> Result<()> {
        self.connection.execute_unprepared("SET LOCAL ROLE authenticated").await.map_err(fail)?;
        Ok(())
    }

    pub(super) async fn rows(&self, sql: Sql) -> Result<Vec<QueryResult>> {
        self.connection.query_all_raw(sql.build(self.connection.get_database_backend())).await.map_err(fail)
    }
}

impl Tx {
    /// Commits.
    ///
    /// # Errors
    /// `Internal` where that fails; then nothing was written.
    pub async fn commit(self) -> Result<()> {
        self.connection.commit().await.map_err(fail)
    }

    /// Leaves everything as it was.
    ///
    /// # Errors
    /// `Internal` where the database fails.
    pub async fn rollback(self) -> Result<()> {
        self.connection.rollback().await.map_err(fail)
    }

    pub(super) fn me(&self) -> Me {
        Me { id: self.actor.user_id.0, scopes: self.locks != Locks::Database }
    }

    /// Whether this is SQLite, for the few words in which the databases' SQL differs.
    pub(super) fn is_sqlite(&self) -> bool {
        self.connection.get_database_backend() == DbBackend::Sqlite
    }

    /// Whether row-level security holds here, and with it functions that know the caller.
    pub(super) fn is_guarded(&self) -> bool {
        !self.is_sqlite() && self.locks != Locks::Application
    }

    fn statement(&self, sql: Sql) -> Statement {
        sql.build(self.connection.get_database_backend())
    }

    pub(super) async fn execute(&self, sql: Sql) -> Result<u64> {
        Ok(self.connection.execute_raw(self.statement(sql)).await.map_err(fail)?.rows_affected())
    }

    /// Executes what may refer to a row that is not there; says whether it is.
    pub(super) async fn execute_referring(&self, sql: Sql) -> Result<bool> {
        match self.connection.execute_raw(self.statement(sql)).await {
            Ok(_) => Ok(true),
            Err(error) => match error.sql_err() {
                Some(SqlErr::ForeignKeyConstraintViolation(_)) => Ok(false),
                _ => Err(fail(error)),
            },
        }
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

/// A value in the database that this version of the service does not know.
pub(super) fn unknown(what: &str, value: &str) -> Error {
    Error::Internal(format!("the database holds an unknown {what}: {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_holds_whatever_is_in_it() {
        for (text, quoted) in [
            ("", "E''"),
            ("{\"sub\":\"a\"}", "E'{\"sub\":\"a\"}'"),
            ("O'Neil", "E'O''Neil'"),
            ("'; RESET ROLE; --", "E'''; RESET ROLE; --'"),
            ("\\'; RESET ROLE; --", "E'\\\\''; RESET ROLE; --'"),
            ("\\", "E'\\\\'"),
            ("a\0b", "E'ab'"),
            ("$$ \u{2019}\n", "E'$$ \u{2019}\n'"),
        ] {
            assert_eq!(literal(text), quoted);
        }
    }
}
