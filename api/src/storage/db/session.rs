//! An open transaction: its connection, and how it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::managed::Object;
use sea_orm::{ConnAcquireErr, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::sync::Mutex;
use tokio::time::{Instant as Deadline, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::connection::{Connection, DbResult, breaks, budget_error, db_err};
use super::file::OpenFile;
use super::pool::{self, Connector, Pool};
use super::wal::{PRIMARY_POSITION, WalPosition};
use super::writer::Turn;
use crate::metrics::Metrics;
use crate::model::budget::Budget;
use crate::model::error::{Error, Result};
use crate::storage::failure::{OverBudget, fail, fail_of};

/// Pause before the outcome of a transaction in progress is requested again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Longest time for finding out the outcome.
const OUTCOME_TIME: Duration = Duration::from_secs(10);

/// How to open a transaction.
pub(super) enum Opening {
    /// With a string that begins it. It ends without waiting, except behind a pooler, which could give the backend to another
    /// client before the next opening on the connection.
    Read(String),
    /// With a string whose rows are needed, and the first call if there is one. It is committed.
    Write(String, Option<Call>),
    /// With a string that also ends it.
    Whole(String),
}

impl Opening {
    async fn open(&self, connection: &mut Connection) -> sqlx::Result<Vec<QueryResult>> {
        match self {
            Self::Read(text) if !connection.is_pooled() => connection.begin(text.clone()).await.map(|()| Vec::new()),
            Self::Write(text, Some(call)) => {
                // The transaction has the caller's role, to whom the function's name is visible.
                let prepare = || format!("{text}; {}; COMMIT", call.prepare());
                let is_prepared = connection.prepare(call.function, prepare).await?;
                connection.run(format!("{text}; {}", call.text(is_prepared)?)).await
            }
            Self::Read(text) | Self::Write(text, None) | Self::Whole(text) => connection.run(text.as_str()).await,
        }
    }
}

/// The id of a transaction on PostgreSQL.
pub(super) struct TransactionId {
    xid: String,
    /// When the server last recovered from a crash, in seconds since 1970. After a crash or a failover the same id can be
    /// assigned again, to another transaction.
    recovered_at: String,
}

impl TransactionId {
    /// Reads the columns `xid` and `recovered_at`.
    pub(super) fn of(row: &QueryResult) -> DbResult<Option<Self>> {
        let (xid, recovered_at): (Option<String>, Option<String>) =
            (row.try_get("", "xid")?, row.try_get("", "recovered_at")?);
        Ok(xid.zip(recovered_at).map(|(xid, recovered_at)| Self { xid, recovered_at }))
    }
}

/// How a commit without an error ended.
pub(super) enum Outcome {
    /// With its position on PostgreSQL, if it was asked for and is known.
    Committed(Option<WalPosition>),
    /// The connection was lost, and PostgreSQL does not know the transaction any more.
    Unknown,
}

/// A transaction on its own connection.
pub(super) struct Session {
    leased: Mutex<Leased>,
    pub(super) backend: DbBackend,
    metrics: Arc<Metrics>,
    /// Cancelled when the server of the connection is lost.
    lost: Option<CancellationToken>,
}

impl Session {
    /// Opens a transaction on a connection of the pool, and returns the rows of the opening. If the connection is lost,
    /// for example after a restart of the database, uses a new connection, once: another idle one may be lost too.
    pub(super) async fn open(
        pool: &Pool,
        opening: Opening,
        deadline: Deadline,
        metrics: &Arc<Metrics>,
    ) -> Result<(Self, Vec<QueryResult>)> {
        let mut object = pool::take(pool, deadline).await?;
        let backend = pool::alone(&mut object).backend();
        let mut leased = Leased { lease: Lease::Pooled(object), state: State::Busy, over_budget: None };
        let rows = match pool.manager().backend_deadline(deadline) {
            None => leased.open(&opening).await?,
            Some(limit) => match timeout_at(limit, leased.open(&opening)).await {
                Ok(opened) => opened?,
                Err(_) => {
                    leased.close();
                    // The pooler does not say whether all backends are busy or the database is away.
                    return Err(Error::Unavailable("database: the pooler had no backend in time".to_owned()));
                }
            },
        };
        leased.state = if matches!(opening, Opening::Whole(_)) { State::Ended } else { State::Ready };
        Ok((Self { leased: Mutex::new(leased), backend, metrics: metrics.clone(), lost: None }, rows))
    }

    /// A transaction with a turn to write to a SQLite file.
    pub(super) fn of_turn(turn: Turn, metrics: &Arc<Metrics>) -> Self {
        let leased = Mutex::new(Leased { lease: Lease::Turn(turn), state: State::Ready, over_budget: None });
        Self { leased, backend: DbBackend::Sqlite, metrics: metrics.clone(), lost: None }
    }

    /// The same, whose statements fail when the token is cancelled.
    pub(super) fn until(self, lost: CancellationToken) -> Self {
        Self { lost: Some(lost), ..self }
    }

    pub(super) async fn query(&self, statement: Statement, budget: Option<&Budget>) -> DbResult<Vec<QueryResult>> {
        let mut leased = self.leased.lock().await;
        leased.state.start();
        let started = Instant::now();
        let query = leased.connection()?.query(statement, budget);
        let result = match &self.lost {
            None => query.await,
            Some(lost) => lost.run_until_cancelled(query).await.unwrap_or(Err(sqlx::Error::PoolClosed)),
        };
        leased.ended(started, result, &self.metrics)
    }

    pub(super) async fn execute(&self, statement: Statement) -> DbResult<ExecResult> {
        let mut leased = self.leased.lock().await;
        leased.state.start();
        let started = Instant::now();
        let result = leased.connection()?.execute(statement).await;
        leased.ended(started, result, &self.metrics)
    }

    /// Runs a string of statements without values.
    pub(super) async fn run(&self, text: &str) -> DbResult<Vec<QueryResult>> {
        let mut leased = self.leased.lock().await;
        leased.state.start();
        let started = Instant::now();
        let result = leased.connection()?.run(text).await;
        leased.ended(started, result, &self.metrics)
    }

    /// Commits, after a last call if there is one. `id` is the transaction's id on PostgreSQL. The position is only asked for
    /// if it is needed.
    ///
    /// # Errors
    /// `Internal` if nothing was written.
    pub(super) async fn commit(
        self,
        last: Option<Call>,
        id: Option<&TransactionId>,
        needs_position: bool,
    ) -> Result<Outcome> {
        let last = match last {
            // An error of a string with the position does not show which of its statements has failed.
            Some(call) if needs_position || !call.fits_text() => {
                self.execute(call.statement()).await.map_err(fail)?;
                None
            }
            last => last,
        };
        let mut leased = self.leased.into_inner();
        if leased.state != State::Ready {
            // PostgreSQL would answer the COMMIT with a ROLLBACK, without an error.
            return Err(Error::internal("database: a statement of the transaction has failed, so it is not committed"));
        }
        leased.state = State::Busy;
        if let Lease::Turn(_) = leased.lease {
            let Lease::Turn(turn) = std::mem::replace(&mut leased.lease, Lease::Closed) else {
                return Err(Error::internal("database: the transaction has no turn"));
            };
            return turn.commit().await.map(|()| Outcome::Committed(None));
        }
        let started = Instant::now();
        let committed = leased.run_commit(last.as_ref(), needs_position).await;
        if last.is_some() {
            self.metrics.statement(started.elapsed(), committed.is_err());
        }
        match committed {
            Ok(rows) => {
                leased.state = State::Ended;
                Ok(Outcome::Committed(
                    rows.first().filter(|_| needs_position).and_then(|row| WalPosition::of(row).ok()?),
                ))
            }
            Err(error) if breaks(&error) => {
                tracing::warn!(%error, "a connection was lost during a commit; asking for its outcome");
                Box::pin(leased.learn_outcome(id)).await
            }
            // The question for the position can have failed.
            Err(error) if needs_position => match Box::pin(leased.learn_outcome(id)).await {
                Ok(outcome) => Ok(outcome),
                Err(_) => {
                    leased.close();
                    Err(fail_of(&error))
                }
            },
            Err(error) => {
                leased.close();
                Err(fail_of(&error))
            }
        }
    }

    /// Rolls back and waits for the result.
    pub(super) async fn roll_back(self) -> Result<()> {
        let mut leased = self.leased.into_inner();
        leased.state = State::Busy;
        if let Lease::Turn(_) = leased.lease {
            let Lease::Turn(turn) = std::mem::replace(&mut leased.lease, Lease::Closed) else { return Ok(()) };
            return turn.roll_back().await;
        }
        match leased.connection().map_err(fail)?.roll_back().await {
            Ok(()) => {
                leased.state = State::Ended;
                Ok(())
            }
            Err(error) => {
                // Even if the connection is lost, the database rolls back.
                leased.close();
                Err(fail_of(&error))
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a transaction, with nothing running.
    Ready,
    /// A statement is running, or was running when it was cancelled.
    Busy,
    /// In a PostgreSQL transaction that can only be rolled back.
    Failed,
    /// In no transaction.
    Ended,
}

impl State {
    fn start(&mut self) {
        if *self == Self::Ready {
            *self = Self::Busy;
        }
    }
}

enum Lease {
    Pooled(Object<Connector>),
    Turn(Turn),
    Closed,
}

/// The connection of a transaction. In all cases it ends in no transaction, or closed.
struct Leased {
    lease: Lease,
    state: State,
    /// Why the connection was closed, if that was the budget. Later statements fail for the same reason.
    over_budget: Option<OverBudget>,
}

impl Leased {
    /// Opens the transaction; on a new connection if this one is lost.
    async fn open(&mut self, opening: &Opening) -> Result<Vec<QueryResult>> {
        let mut opened = opening.open(self.connection().map_err(fail)?).await;
        if opened.as_ref().is_err_and(breaks) {
            tracing::debug!(error = opened.err().map(tracing::field::display), "a connection to the database was lost");
            Box::pin(self.replace()).await?;
            opened = opening.open(self.connection().map_err(fail)?).await;
        }
        opened.map_err(|error| {
            if breaks(&error) {
                self.close();
            }
            fail_of(&error)
        })
    }

    /// The file of a SQLite database.
    fn file(&self) -> Option<Arc<OpenFile>> {
        match &self.lease {
            Lease::Pooled(object) => Object::pool(object)?.manager().file().cloned(),
            Lease::Turn(turn) => Some(turn.file().clone()),
            Lease::Closed => None,
        }
    }

    fn connection(&mut self) -> DbResult<&mut Connection> {
        match &mut self.lease {
            Lease::Pooled(object) => Ok(pool::alone(object)),
            Lease::Turn(turn) => turn.connection(),
            Lease::Closed => Err(match self.over_budget.clone() {
                Some(over) => db_err(sqlx::Error::AnyDriverError(Box::new(over))),
                None => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
            }),
        }
    }

    /// Sends COMMIT, after the last call and before the question for the position.
    async fn run_commit(&mut self, last: Option<&Call>, needs_position: bool) -> sqlx::Result<Vec<QueryResult>> {
        let Lease::Pooled(object) = &mut self.lease else { return Err(sqlx::Error::PoolClosed) };
        let connection = pool::alone(object);
        let mut text = String::new();
        if let Some(call) = last {
            let is_prepared = connection.prepare(call.function, || call.prepare()).await?;
            text = call.text(is_prepared)? + "; ";
        }
        text.push_str("COMMIT");
        if needs_position {
            text.push_str("; ");
            text.push_str(PRIMARY_POSITION);
        }
        connection.run(text).await
    }

    fn ended<T>(&mut self, started: Instant, result: sqlx::Result<T>, metrics: &Metrics) -> DbResult<T> {
        metrics.statement(started.elapsed(), result.is_err());
        let result = result.map_err(|error| match self.file() {
            Some(file) => file.explain(error),
            None => error,
        });
        match &result {
            Ok(_) if self.state == State::Busy => self.state = State::Ready,
            Ok(_) => {}
            Err(error) if budget_error(error).is_some_and(|over| !over.has_rows) => self.state = State::Ready,
            Err(error) if breaks(error) => {
                self.over_budget = budget_error(error).cloned();
                self.close();
            }
            Err(_) if matches!(self.lease, Lease::Pooled(_)) => self.state = State::Failed,
            // SQLite has undone the statement, and the transaction continues.
            Err(_) => self.state = State::Ready,
        }
        result.map_err(db_err)
    }

    fn close(&mut self) {
        match std::mem::replace(&mut self.lease, Lease::Closed) {
            Lease::Pooled(object) => pool::discard(object),
            Lease::Turn(turn) => turn.close(),
            Lease::Closed => {}
        }
    }

    /// Replaces a lost connection by a new one.
    async fn replace(&mut self) -> Result<()> {
        if let Lease::Pooled(object) = &mut self.lease {
            let pool = Object::pool(object).ok_or_else(|| Error::internal("the database is closed"))?;
            *pool::alone(object) = pool.manager().connect().await.map_err(|error| fail_of(&error))?;
        }
        Ok(())
    }

    /// Finds out on a new connection whether a transaction was committed when its connection was lost. Waits for a
    /// database that restarts.
    async fn learn_outcome(&mut self, id: Option<&TransactionId>) -> Result<Outcome> {
        let Some(TransactionId { xid, recovered_at }) = id else { return Ok(Outcome::Unknown) };
        let xid = super::literal::text(xid);
        let ask = format!("SELECT pg_xact_status({xid}::xid8) AS status, {} AS recovered_at", super::RECOVERED_AT);
        let deadline = Instant::now() + OUTCOME_TIME;
        let mut is_lost = true;
        while Instant::now() < deadline {
            if is_lost && Box::pin(self.replace()).await.is_err() {
                sleep(ASK_AGAIN).await;
                continue;
            }
            let asked = self.connection().map_err(fail)?.run(ask.as_str()).await;
            is_lost = asked.is_err();
            let status = asked.map(|rows| {
                let text = |column| rows.first().and_then(|row| row.try_get::<Option<String>>("", column).ok()?);
                (text("status"), text("recovered_at").as_ref() == Some(recovered_at))
            });
            match status {
                Ok((Some(status), true)) if status == "committed" => {
                    self.state = State::Ended;
                    return Ok(Outcome::Committed(None));
                }
                // This can be another transaction with the same id.
                Ok((Some(status), false)) if status == "committed" => break,
                Ok((Some(status), _)) if status == "aborted" => {
                    self.state = State::Ended;
                    return Err(Error::Unavailable("database: the connection was lost before the commit".to_owned()));
                }
                // In progress: its server process has not noticed the loss yet.
                Ok((Some(_), _)) => sleep(ASK_AGAIN).await,
                Ok((None, _)) => break,
                // The promoted standby has never seen the transaction.
                Err(error) if is_in_the_future(&error) => {
                    self.close();
                    return Err(Error::Unavailable(
                        "database: the write was lost with the server that failed".to_owned(),
                    ));
                }
                Err(_) => {}
            }
        }
        self.close();
        Ok(Outcome::Unknown)
    }
}

/// Whether PostgreSQL has not assigned a transaction's id yet (invalid_parameter_value).
fn is_in_the_future(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().is_some_and(|code| code == "22023"))
}

impl Drop for Leased {
    fn drop(&mut self) {
        // A turn cleans up itself.
        let Lease::Pooled(mut object) = std::mem::replace(&mut self.lease, Lease::Closed) else { return };
        match self.state {
            State::Ended => pool::give_back(object),
            State::Ready | State::Failed if pool::alone(&mut object).is_in_transaction() => {
                pool::alone(&mut object).let_go();
                pool::give_back_unsent(object);
            }
            _ => pool::settle(object),
        }
    }
}
