//! Transactions with their actors.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use sea_orm::prelude::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, ExecResult, FromQueryResult, QueryResult, SqlErr, Statement, Value};

use super::call::Call;
use super::connection::DbResult;
use super::fail;
use super::session::{Outcome, Session, TransactionId};
use super::wal::{PRIMARY_POSITION, Positions, WalPosition};
use crate::metrics::Metrics;
use crate::model::actor::Actor;
use crate::model::budget::Budget;
use crate::model::error::{Error, Result};
use crate::model::ids::ProjectId;
use crate::model::locks::Locks;
use crate::model::long_columns::LongColumns;
use crate::model::memory::Taken;
use crate::model::page::Page;
use crate::storage::content_cache::ContentCache;
use crate::storage::sql::Sql;

/// The caller in a statement.
#[derive(Clone, Copy)]
pub(in crate::storage) struct Me {
    id: uuid::Uuid,
    /// Whether the statement itself must restrict the rows to the caller's.
    pub(in crate::storage) scopes: bool,
    /// Whether the database has the table `project_members`, as on PostgreSQL.
    pub(in crate::storage) has_members: bool,
}

impl From<Me> for Value {
    fn from(me: Me) -> Self {
        me.id.into()
    }
}

/// A transaction on behalf of an actor. Every function of `storage` takes one. It is also a connection for SeaORM's
/// entities and queries.
pub struct Tx {
    pub(super) session: Session,
    /// Its id on PostgreSQL, for writes.
    pub(super) id: Option<TransactionId>,
    pub(in crate::storage) actor: Actor,
    pub(super) locks: Locks,
    pub(in crate::storage) metrics: Arc<Metrics>,
    pub(in crate::storage) contents: ContentCache,
    /// Projects for which the transaction has verified the membership. This stays true until it ends: a reading
    /// transaction sees one state of the database, and a writing one holds the project's revision lock.
    pub(in crate::storage) proven: Mutex<HashSet<ProjectId>>,
    pub(super) budget: Option<Arc<Budget>>,
    pub(super) needed: LongColumns,
    /// The positions of commits, if there are replicas.
    pub(super) positions: Option<Arc<Positions>>,
    pub(super) is_of_replica: bool,
    /// Released after the transaction has ended, since fields are dropped in order.
    pub(super) _held: Option<Box<dyn Any + Send + Sync>>,
}

/// A system transaction, which can read every project. It is not a [`Tx`], so functions for requests cannot run in it;
/// and its functions (`storage/operator.rs`) cannot run in a request, which has no [`super::Db`] to open one.
pub struct Operator {
    pub(super) session: Session,
}

impl Operator {
    pub(in crate::storage) fn is_sqlite(&self) -> bool {
        self.session.backend == DbBackend::Sqlite
    }

    /// Continues with the role of callers but without a caller: a server's login has no rights of its own. PostgreSQL
    /// only.
    pub(in crate::storage) async fn be_nobody(&self) -> Result<()> {
        self.session.run("SET LOCAL ROLE authenticated").await.map_err(fail)?;
        Ok(())
    }

    pub(in crate::storage) async fn rows(&self, sql: Sql) -> Result<Vec<QueryResult>> {
        self.session.query(sql.build(self.session.backend), None).await.map_err(fail)
    }
}

impl Tx {
    /// Keeps a value until the transaction has ended.
    pub fn holding(self, held: impl Any + Send + Sync) -> Self {
        Self { _held: Some(Box::new(held)), ..self }
    }

    /// Reads no more bytes than the budget has left.
    pub fn within(self, budget: Arc<Budget>) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Leaves blank the long columns that are not needed.
    pub fn needing(self, needed: LongColumns) -> Self {
        Self { needed, ..self }
    }

    /// The long columns that are needed.
    pub(in crate::storage) fn needed(&self) -> LongColumns {
        self.needed
    }

    /// The long columns that are needed of the rows of a page.
    pub(in crate::storage) fn needed_of(&self, page: &Page) -> LongColumns {
        self.needed.and(page.long_columns)
    }

    /// Reserves memory for what the transaction reads and drops, beyond its budget.
    ///
    /// # Errors
    /// `RateLimited` if there is not enough.
    pub fn reserve(&self, bytes: usize) -> Result<Taken> {
        let mut taken = Taken::default();
        if let Some(budget) = &self.budget {
            budget.memory().take(&mut taken, bytes)?;
        }
        Ok(taken)
    }

    /// Commits.
    ///
    /// # Errors
    /// `MayBeStored` if the outcome is unknown; for other errors nothing was written.
    pub async fn commit(self) -> Result<()> {
        self.commit_proven(None, async { false }).await
    }

    /// Commits, after a last call if there is one. If the outcome is unknown, `is_written` finds out whether the rows are
    /// there.
    ///
    /// # Errors
    /// As [`Tx::commit`], and those of the call.
    pub async fn commit_proven(self, last: Option<Call>, is_written: impl Future<Output = bool> + Send) -> Result<()> {
        let positions = self.positions.as_ref();
        match self.session.commit(last, self.id.as_ref(), positions.is_some()).await? {
            Outcome::Committed(position) => {
                match (positions, position) {
                    (Some(positions), Some(position)) => positions.wrote(self.actor.user_id, position),
                    (Some(positions), None) => positions.forget(),
                    (None, _) => {}
                }
                Ok(())
            }
            Outcome::Unknown if is_written.await => {
                if let Some(positions) = positions {
                    positions.forget();
                }
                Ok(())
            }
            Outcome::Unknown => Err(Error::MayBeStored),
        }
    }

    /// Makes a call before the transaction ends.
    ///
    /// # Errors
    /// As the database.
    pub async fn call(&self, call: Call) -> Result<()> {
        self.session.execute(call.statement()).await.map_err(fail)?;
        Ok(())
    }

    /// Rolls back. Nothing was written even if this fails.
    pub async fn rollback(self) -> Result<()> {
        self.session.roll_back().await
    }

    pub(in crate::storage) fn me(&self) -> Me {
        Me { id: self.actor.user_id.0, scopes: self.locks != Locks::Database, has_members: !self.is_sqlite() }
    }

    /// Whether a replica answers. What it lacks may exist nevertheless.
    pub fn is_of_replica(&self) -> bool {
        self.is_of_replica
    }

    /// Learns the position of what the transaction has read from the primary, so that replicas are read at or after it.
    ///
    /// # Errors
    /// As the database.
    pub async fn learn_position(&self) -> Result<()> {
        if let Some(positions) = self.positions.as_ref().filter(|_| !self.is_of_replica)
            && let Some(row) = self.row(Sql::new(PRIMARY_POSITION)).await?
            && let Some(position) = WalPosition::of(&row).map_err(fail)?
        {
            positions.primary_is_at(position);
        }
        Ok(())
    }

    /// Whether this is SQLite, for the few differences in SQL.
    pub(in crate::storage) fn is_sqlite(&self) -> bool {
        self.session.backend == DbBackend::Sqlite
    }

    fn statement(&self, sql: Sql) -> Statement {
        sql.build(self.session.backend)
    }

    pub(in crate::storage) async fn execute(&self, sql: Sql) -> Result<u64> {
        Ok(self.session.execute(self.statement(sql)).await.map_err(fail)?.rows_affected())
    }

    /// Executes a statement that writes a row that can refer to a missing one. Returns whether the row was written. If the
    /// other one is missing, the transaction cannot be committed any more on PostgreSQL.
    pub(in crate::storage) async fn execute_referring(&self, sql: Sql) -> Result<bool> {
        match self.session.execute(self.statement(sql)).await {
            Ok(done) => Ok(done.rows_affected() > 0),
            Err(error) => match error.sql_err() {
                Some(SqlErr::ForeignKeyConstraintViolation(_)) => Ok(false),
                _ => Err(fail(error)),
            },
        }
    }

    pub(in crate::storage) async fn row(&self, sql: Sql) -> Result<Option<QueryResult>> {
        Ok(self.rows(sql).await?.into_iter().next())
    }

    pub(in crate::storage) async fn rows(&self, sql: Sql) -> Result<Vec<QueryResult>> {
        self.session.query(self.statement(sql), self.budget.as_deref()).await.map_err(fail)
    }

    /// The number in column `n` of the single row.
    pub(in crate::storage) async fn count(&self, sql: Sql) -> Result<i64> {
        match self.row(sql).await? {
            Some(row) => row.try_get("", "n").map_err(fail),
            None => Ok(0),
        }
    }

    /// The pairs of columns `parent` and `n`.
    pub(in crate::storage) async fn counts(&self, sql: Sql) -> Result<Vec<(uuid::Uuid, i64)>> {
        let pair =
            |row: &QueryResult| Ok((row.try_get("", "parent").map_err(fail)?, row.try_get("", "n").map_err(fail)?));
        self.rows(sql).await?.iter().map(pair).collect()
    }

    pub(in crate::storage) async fn all<M: FromQueryResult>(&self, sql: Sql) -> Result<Vec<M>> {
        let rows = self.rows(sql).await?;
        rows.iter().map(|row| M::from_query_result(row, "").map_err(fail)).collect()
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Tx {
    fn get_database_backend(&self) -> DbBackend {
        self.session.backend
    }

    async fn execute_raw(&self, statement: Statement) -> DbResult<ExecResult> {
        self.session.execute(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> DbResult<ExecResult> {
        self.session.execute(Statement::from_string(self.session.backend, sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> DbResult<Option<QueryResult>> {
        Ok(self.session.query(statement, self.budget.as_deref()).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> DbResult<Vec<QueryResult>> {
        self.session.query(statement, self.budget.as_deref()).await
    }
}
