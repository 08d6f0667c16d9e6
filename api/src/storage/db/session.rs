//! An open transaction: the connection that it has, and how it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::managed::Object;
use sea_orm::{DbBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::sync::Mutex;
use tokio::time::{Instant as Deadline, sleep};

use super::connection::{Connection, DbResult, breaks, db_err};
use super::pool::{self, Connector, Pool};
use super::writer::Turn;
use crate::metrics::Metrics;
use crate::model::budget::Budget;
use crate::model::error::{Error, Result};
use crate::storage::failure::{fail, fail_of};

/// How long after an answer that a transaction is still in progress it is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// How long it is asked for.
const OUTCOME_TIME: Duration = Duration::from_secs(10);

/// How a transaction is opened.
pub(super) enum Opening {
    /// By a string that begins one; it is let go without a word.
    Read(String),
    /// By a string whose rows are wanted; it is committed.
    Write(String),
    /// By a string that ends it, too.
    Whole(String),
}

impl Opening {
    async fn open(&self, connection: &mut Connection) -> sqlx::Result<Vec<QueryResult>> {
        match self {
            Self::Read(text) => connection.begin(text.clone()).await.map(|()| Vec::new()),
            Self::Write(text) | Self::Whole(text) => connection.run(text.as_str()).await,
        }
    }
}

/// A transaction on a connection of its own.
pub(super) struct Session {
    held: Mutex<Held>,
    pub(super) backend: DbBackend,
    metrics: Arc<Metrics>,
}

impl Session {
    /// Opens a transaction on a connection of the pool; answers the rows of the opening, too. A connection that turns out to be
    /// lost, as after a restart of the database, is replaced by a new one, once: not by another that has waited as long.
    pub(super) async fn open(
        pool: &Pool,
        opening: Opening,
        deadline: Deadline,
        metrics: &Arc<Metrics>,
    ) -> Result<(Self, Vec<QueryResult>)> {
        let object = pool::take(pool, deadline).await?;
        let backend = object.backend();
        let mut held = Held { lease: Lease::Pooled(object), state: State::Busy };
        let mut opened = opening.open(held.connection().map_err(fail)?).await;
        if opened.as_ref().is_err_and(breaks) {
            tracing::debug!(error = opened.err().map(tracing::field::display), "a connection to the database was lost");
            Box::pin(held.replace()).await?;
            opened = opening.open(held.connection().map_err(fail)?).await;
        }
        let rows = match opened {
            Ok(rows) => rows,
            Err(error) => {
                if breaks(&error) {
                    held.close();
                }
                return Err(fail_of(&error));
            }
        };
        held.state = if matches!(opening, Opening::Whole(_)) { State::Ended } else { State::Ready };
        Ok((Self { held: Mutex::new(held), backend, metrics: metrics.clone() }, rows))
    }

    /// A transaction that has its turn to write to a SQLite file.
    pub(super) fn of_turn(turn: Turn, metrics: &Arc<Metrics>) -> Self {
        let held = Mutex::new(Held { lease: Lease::Turn(turn), state: State::Ready });
        Self { held, backend: DbBackend::Sqlite, metrics: metrics.clone() }
    }

    pub(super) async fn query(&self, statement: Statement, budget: Option<&Budget>) -> DbResult<Vec<QueryResult>> {
        let mut held = self.held.lock().await;
        held.state.start();
        let started = Instant::now();
        let result = held.connection()?.query(statement, budget).await;
        held.ended(started, result, &self.metrics)
    }

    pub(super) async fn execute(&self, statement: Statement) -> DbResult<ExecResult> {
        let mut held = self.held.lock().await;
        held.state.start();
        let started = Instant::now();
        let result = held.connection()?.execute(statement).await;
        held.ended(started, result, &self.metrics)
    }

    /// Runs a string of statements without values.
    pub(super) async fn run(&self, text: &str) -> DbResult<Vec<QueryResult>> {
        let mut held = self.held.lock().await;
        held.state.start();
        let started = Instant::now();
        let result = held.connection()?.run(text).await;
        held.ended(started, result, &self.metrics)
    }

    /// Commits. `xid` is the transaction's id at PostgreSQL.
    ///
    /// # Errors
    /// `Internal` if nothing was written, or if nobody can say whether anything was.
    pub(super) async fn commit(self, xid: Option<&str>) -> Result<()> {
        let mut held = self.held.into_inner();
        if held.state != State::Ready {
            // PostgreSQL answers such a COMMIT with a ROLLBACK, and no error.
            return Err(Error::internal("database: a statement of the transaction has failed, so it is not committed"));
        }
        held.state = State::Busy;
        if let Lease::Turn(_) = held.lease {
            let Lease::Turn(turn) = std::mem::replace(&mut held.lease, Lease::Closed) else { return Ok(()) };
            return turn.commit().await;
        }
        match held.connection().map_err(fail)?.run("COMMIT").await {
            Ok(_) => {
                held.state = State::Ended;
                Ok(())
            }
            Err(error) if breaks(&error) => {
                tracing::warn!(%error, "a connection was lost during a commit; asking for its outcome");
                Box::pin(held.learn_outcome(xid)).await
            }
            Err(error) => {
                held.close();
                Err(fail_of(&error))
            }
        }
    }

    /// Rolls back, and waits for it.
    pub(super) async fn roll_back(self) -> Result<()> {
        let mut held = self.held.into_inner();
        held.state = State::Busy;
        if let Lease::Turn(_) = held.lease {
            let Lease::Turn(turn) = std::mem::replace(&mut held.lease, Lease::Closed) else { return Ok(()) };
            return turn.roll_back().await;
        }
        match held.connection().map_err(fail)?.roll_back().await {
            Ok(()) => {
                held.state = State::Ended;
                Ok(())
            }
            Err(error) => {
                // Lost or not: the database rolls back what was on it.
                held.close();
                Err(fail_of(&error))
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Within a transaction, and nothing under way.
    Ready,
    /// Something is under way, or was when it was given up.
    Busy,
    /// Within a transaction of PostgreSQL's that can only be rolled back.
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

/// What a transaction holds. Whichever way it goes, its connection is left in no transaction, or closed.
struct Held {
    lease: Lease,
    state: State,
}

impl Held {
    fn connection(&mut self) -> DbResult<&mut Connection> {
        match &mut self.lease {
            Lease::Pooled(object) => Ok(object),
            Lease::Turn(turn) => turn.connection(),
            Lease::Closed => Err(DbErr::Custom("the connection of this transaction was lost".to_owned())),
        }
    }

    fn ended<T>(&mut self, started: Instant, result: sqlx::Result<T>, metrics: &Metrics) -> DbResult<T> {
        metrics.statement(started.elapsed(), result.is_err());
        match &result {
            Ok(_) if self.state == State::Busy => self.state = State::Ready,
            Ok(_) => {}
            Err(error) if breaks(error) => self.close(),
            Err(_) if matches!(self.lease, Lease::Pooled(_)) => self.state = State::Failed,
            // SQLite has undone the statement, and the transaction goes on.
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

    /// Puts a new connection in the place of one that is lost.
    async fn replace(&mut self) -> Result<()> {
        if let Lease::Pooled(object) = &mut self.lease {
            let pool = Object::pool(object).ok_or_else(|| Error::internal("the database is closed"))?;
            **object = pool.manager().connect().await.map_err(|error| fail_of(&error))?;
        }
        Ok(())
    }

    /// Finds out on a new connection whether a transaction was committed whose connection was lost meanwhile.
    async fn learn_outcome(&mut self, xid: Option<&str>) -> Result<()> {
        let unknown = "database: the connection was lost during a commit, and whether that was done is not known";
        let Some(xid) = xid else { return Err(Error::internal(unknown)) };
        let ask = format!("SELECT pg_xact_status({}::xid8) AS status", super::literal::text(xid));
        let deadline = Instant::now() + OUTCOME_TIME;
        Box::pin(self.replace()).await?;
        while Instant::now() < deadline {
            let asked = self.connection().map_err(fail)?.run(ask.as_str()).await;
            let status =
                asked.map(|rows| rows.first().and_then(|row| row.try_get::<Option<String>>("", "status").ok()?));
            match status {
                Ok(Some(status)) if status == "committed" => {
                    self.state = State::Ended;
                    return Ok(());
                }
                Ok(Some(status)) if status == "aborted" => {
                    self.state = State::Ended;
                    return Err(Error::internal("database: the connection was lost before the commit"));
                }
                // In progress: its server process has yet to notice.
                Ok(Some(_)) => sleep(ASK_AGAIN).await,
                Ok(None) => break,
                Err(_) => Box::pin(self.replace()).await?,
            }
        }
        self.close();
        Err(Error::internal(unknown))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A turn looks after itself.
        let Lease::Pooled(mut object) = std::mem::replace(&mut self.lease, Lease::Closed) else { return };
        match self.state {
            State::Ended => pool::give_back(object),
            State::Ready | State::Failed if object.is_in_transaction() => {
                if object.let_go().is_err() {
                    pool::discard(object);
                } else {
                    pool::give_back(object);
                }
            }
            _ => pool::settle(object),
        }
    }
}
