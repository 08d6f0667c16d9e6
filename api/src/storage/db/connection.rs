//! A connection, with the same interface for both databases.

use chrono::DateTime;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, TryFutureExt, TryStreamExt};
use sea_orm::{DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values};
use sea_query_sqlx::SqlxValues;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgRow, PgSeverity, PgValueFormat};
use sqlx::sqlite::SqliteError;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column, Connection as _, PgConnection, Row, SqliteConnection, TypeInfo};
use sqlx_core::transaction::TransactionManager;

use crate::model::budget::Budget;
use crate::model::error::Error;
use crate::storage::failure::OverBudget;

type PgTransactions = <sqlx::Postgres as sqlx::Database>::TransactionManager;
type SqliteTransactions = <sqlx::Sqlite as sqlx::Database>::TransactionManager;

/// A connection to either database. Statements with values are prepared once and cached, except behind a pooler.
pub(super) enum Connection {
    Postgres {
        connection: PgConnection,
        /// Whether a pooler gives each transaction another backend. A statement that was prepared is then not there.
        is_pooled: bool,
        /// The names of the statements that [`Connection::prepare`] has prepared.
        prepared: Vec<&'static str>,
    },
    Sqlite(SqliteConnection),
}

impl Connection {
    /// A new connection to PostgreSQL.
    pub(super) fn of_postgres(connection: PgConnection, is_pooled: bool) -> Self {
        Self::Postgres { connection, is_pooled, prepared: Vec::new() }
    }

    pub(super) fn backend(&self) -> DbBackend {
        match self {
            Self::Postgres { .. } => DbBackend::Postgres,
            Self::Sqlite(_) => DbBackend::Sqlite,
        }
    }

    /// Whether a pooler gives each transaction another backend.
    pub(super) fn is_pooled(&self) -> bool {
        matches!(self, Self::Postgres { is_pooled: true, .. })
    }

    /// All rows of a statement. Reads to the end even if one row is needed: otherwise a later error would go unnoticed,
    /// and the transaction that it ended would be committed.
    ///
    /// With a budget, rows are counted as they arrive ([`counted`]).
    pub(super) fn query<'c>(
        &'c mut self,
        statement: Statement,
        budget: Option<&'c Budget>,
    ) -> BoxFuture<'c, sqlx::Result<Vec<QueryResult>>> {
        let (sql, values) = parts(statement);
        match (self, budget) {
            (Self::Postgres { connection, is_pooled, .. }, None) => {
                let query = sqlx::query_with(sql, values).persistent(!*is_pooled);
                rows(query.fetch_all(connection).map(|rows| with_times(rows?)))
            }
            (Self::Sqlite(connection), None) => rows(sqlx::query_with(sql, values).fetch_all(connection)),
            (Self::Postgres { connection, is_pooled, .. }, Some(budget)) => {
                let size = |row: &PgRow, column: usize| row.try_get_raw(column).ok()?.as_bytes().ok().map(<[u8]>::len);
                let query = sqlx::query_with(sql, values).persistent(!*is_pooled);
                rows(counted(query.fetch(connection), budget, size).map(|rows| with_times(rows?)))
            }
            (Self::Sqlite(connection), Some(budget)) => {
                let size = |row: &SqliteRow, column: usize| {
                    row.try_get_unchecked::<Option<&[u8]>, _>(column).ok()?.map(<[u8]>::len)
                };
                rows(counted(sqlx::query_with(sql, values).fetch(connection), budget, size))
            }
        }
    }

    pub(super) fn execute(&mut self, statement: Statement) -> BoxFuture<'_, sqlx::Result<ExecResult>> {
        let (sql, values) = parts(statement);
        match self {
            Self::Postgres { connection, is_pooled, .. } => {
                sqlx::query_with(sql, values).persistent(!*is_pooled).execute(connection).map_ok(Into::into).boxed()
            }
            Self::Sqlite(connection) => sqlx::query_with(sql, values).execute(connection).map_ok(Into::into).boxed(),
        }
    }

    /// The rows of a string of statements, which is sent in one piece, unprepared.
    pub(super) fn run(&mut self, text: impl Into<String>) -> BoxFuture<'_, sqlx::Result<Vec<QueryResult>>> {
        let text = sqlx::raw_sql(AssertSqlSafe(text.into()));
        match self {
            Self::Postgres { connection, .. } => rows(text.fetch_all(connection)),
            Self::Sqlite(connection) => rows(text.fetch_all(connection)),
        }
    }

    /// Prepares a statement by a name, once, so that a string of statements can execute it without parsing and planning it.
    /// `text` makes the string that does this. Returns whether the statement is prepared.
    pub(super) async fn prepare(&mut self, name: &'static str, text: impl FnOnce() -> String) -> sqlx::Result<bool> {
        match self {
            Self::Postgres { is_pooled: false, prepared, .. } if prepared.contains(&name) => Ok(true),
            Self::Postgres { is_pooled: false, .. } => {
                self.run(text()).await?;
                if let Self::Postgres { prepared, .. } = self {
                    prepared.push(name);
                }
                Ok(true)
            }
            Self::Postgres { .. } | Self::Sqlite(_) => Ok(false),
        }
    }

    /// Opens a transaction with a string, in one round trip. It ends with [`Connection::let_go`].
    pub(super) async fn begin(&mut self, opening: String) -> sqlx::Result<()> {
        let opening = sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(opening));
        match self {
            Self::Postgres { connection, .. } => PgTransactions::begin(connection, Some(opening)).await,
            Self::Sqlite(connection) => SqliteTransactions::begin(connection, Some(opening)).await,
        }
    }

    /// Ends the transaction of [`Connection::begin`] without waiting: the next user of the connection reads the answer. On
    /// PostgreSQL the ROLLBACK is sent with the next opening, or before it by [`Connection::flush`].
    pub(super) fn let_go(&mut self) {
        match self {
            Self::Postgres { connection, .. } => PgTransactions::start_rollback(connection),
            Self::Sqlite(connection) => SqliteTransactions::start_rollback(connection),
        }
    }

    /// Rolls back a transaction, however it began and whatever still runs in it.
    pub(super) async fn roll_back(&mut self) -> sqlx::Result<()> {
        match self {
            Self::Postgres { connection, .. } if connection.is_in_transaction() => {
                PgTransactions::rollback(connection).await
            }
            Self::Sqlite(connection) if connection.is_in_transaction() => {
                SqliteTransactions::rollback(connection).await
            }
            _ => self.run("ROLLBACK").await.map(drop),
        }
    }

    /// Whether [`Connection::begin`] has opened a transaction.
    pub(super) fn is_in_transaction(&self) -> bool {
        match self {
            Self::Postgres { connection, .. } => connection.is_in_transaction(),
            Self::Sqlite(connection) => connection.is_in_transaction(),
        }
    }

    /// Sends and receives as far as possible without waiting. After an error the connection is unusable.
    pub(super) fn flush(&mut self) -> sqlx::Result<()> {
        match self {
            Self::Postgres { connection, .. } => connection.flush().now_or_never().unwrap_or(Ok(())),
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Checks that the other side answers.
    pub(super) async fn ping(&mut self) -> sqlx::Result<()> {
        match self {
            Self::Postgres { connection, .. } => connection.ping().await,
            Self::Sqlite(connection) => connection.ping().await,
        }
    }
}

fn parts(statement: Statement) -> (AssertSqlSafe<String>, SqlxValues) {
    let Statement { sql, values, .. } = statement;
    (AssertSqlSafe(sql), SqlxValues(values.unwrap_or(Values(Vec::new()))))
}

/// Boxed, since callers are deep in resolvers and the stack is limited.
fn rows<'c, R: Into<QueryResult> + Send + 'c>(
    fetched: impl Future<Output = sqlx::Result<Vec<R>>> + Send + 'c,
) -> BoxFuture<'c, sqlx::Result<Vec<QueryResult>>> {
    fetched.map_ok(|rows| rows.into_iter().map(Into::into).collect()).boxed()
}

/// The rows, if all their times can be decoded. The driver panics for a time out of its range, such as `infinity`.
fn with_times(rows: Vec<PgRow>) -> sqlx::Result<Vec<PgRow>> {
    const MICROSECONDS_FROM_1970_TO_2000: i64 = 946_684_800_000_000;
    let Some(first) = rows.first() else { return Ok(rows) };
    let columns = first.columns().iter();
    let times = columns.filter(|column| column.type_info().name() == "TIMESTAMPTZ").map(Column::ordinal);
    for column in times.collect::<Vec<_>>() {
        for row in &rows {
            let Some(micros) = row.try_get_raw(column).ok().filter(|value| value.format() == PgValueFormat::Binary)
            else {
                continue;
            };
            // NULL has no bytes.
            let Some(micros) =
                micros.as_bytes().ok().and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)))
            else {
                continue;
            };
            let time = micros.checked_add(MICROSECONDS_FROM_1970_TO_2000).and_then(DateTime::from_timestamp_micros);
            if time.is_none() {
                let source = format!("the time {micros} (microseconds since 2000) is out of range").into();
                return Err(sqlx::Error::ColumnDecode { index: column.to_string(), source });
            }
        }
    }
    Ok(rows)
}

/// All rows, if their texts and bytes are within the budget. Otherwise it receives up to as many bytes again, one row at a time, so that
/// the transaction can continue.
async fn counted<R: Row>(
    mut fetched: impl Stream<Item = sqlx::Result<R>> + Unpin + Send,
    budget: &Budget,
    size: impl Fn(&R, usize) -> Option<usize> + Send,
) -> sqlx::Result<Vec<R>> {
    /// Values of these types can be large.
    const LARGE: [&str; 5] = ["TEXT", "BLOB", "BYTEA", "JSON", "JSONB"];
    let mut rows = Vec::new();
    let mut large = None;
    let mut exceeded = None;
    while let Some(row) = fetched.try_next().await? {
        let large: &Vec<usize> = large.get_or_insert_with(|| {
            let columns = row.columns().iter().enumerate();
            columns.filter(|(_, column)| LARGE.contains(&column.type_info().name())).map(|(index, _)| index).collect()
        });
        let bytes: usize = large.iter().filter_map(|column| size(&row, *column)).sum();
        match exceeded {
            None => match budget.load(bytes) {
                Ok(()) => rows.push(row),
                Err(error) => {
                    rows = Vec::new();
                    exceeded = Some((error, bytes));
                }
            },
            Some((error, excess)) if excess > budget.limit() => return Err(over_budget(error, true)),
            Some((error, excess)) => exceeded = Some((error, excess.saturating_add(bytes))),
        }
    }
    match exceeded {
        None => Ok(rows),
        Some((error, _)) => Err(over_budget(error, false)),
    }
}

fn over_budget(error: Error, has_rows: bool) -> sqlx::Error {
    sqlx::Error::AnyDriverError(Box::new(OverBudget { error, has_rows }))
}

/// The error of [`counted`], if it is one.
pub(super) fn budget_error(error: &sqlx::Error) -> Option<&OverBudget> {
    match error {
        sqlx::Error::AnyDriverError(cause) => cause.downcast_ref(),
        _ => None,
    }
}

/// Whether a connection must be closed after this error: it is lost, or its state is uncertain. Errors of a statement
/// itself do not count.
pub(super) fn breaks(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            // The codes are those of prepared statements that do not fit any more; a new connection prepares them again.
            Some(error) => {
                matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
                    || matches!(error.code(), "0A000" | "26000" | "42P05")
            }
            None => !is_of_the_statement(&**error),
        },
        // Errors of this side, about a statement's values or rows.
        sqlx::Error::RowNotFound
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Encode(_)
        | sqlx::Error::Decode(_) => false,
        _ => true,
    }
}

/// Whether SQLite has undone only the statement. Other errors may have rolled back the transaction
/// (<https://www.sqlite.org/lang_transaction.html>, "Response To Errors Within A Transaction").
fn is_of_the_statement(error: &dyn DatabaseError) -> bool {
    const ERROR: i32 = 1;
    const TOOBIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    const RANGE: i32 = 25;
    let code = error.try_downcast_ref::<SqliteError>().and_then(|error| error.code());
    let code = code.and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, ERROR | TOOBIG | CONSTRAINT | MISMATCH | RANGE))
}

/// Converts an error to SeaORM's.
pub(super) fn db_err(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

/// A result with SeaORM's error.
pub(super) type DbResult<T> = Result<T, DbErr>;
