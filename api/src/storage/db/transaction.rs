//! Transactions that know on whose behalf they are.

use std::any::Any;
use std::sync::Arc;

use sea_orm::prelude::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, ExecResult, FromQueryResult, QueryResult, SqlErr, Statement, Value};

use super::connection::DbResult;
use super::fail;
use super::session::Session;
use crate::metrics::Metrics;
use crate::model::actor::Actor;
use crate::model::budget::Budget;
use crate::model::error::Result;
use crate::model::locks::Locks;
use crate::storage::access::Proven;
use crate::storage::content_cache::ContentCache;
use crate::storage::sql::Sql;

/// The caller in a statement.
#[derive(Clone, Copy)]
pub(in crate::storage) struct Me {
    id: uuid::Uuid,
    /// Whether the statement itself is to keep from them what is not theirs.
    pub(in crate::storage) scopes: bool,
}

impl From<Me> for Value {
    fn from(me: Me) -> Self {
        me.id.into()
    }
}

/// A transaction on behalf of one actor. Everything in `storage` that reads or writes rows takes one. It is a connection for
/// SeaORM's entities and queries, too.
pub struct Tx {
    pub(super) session: Session,
    /// Its id at PostgreSQL, where it writes there.
    pub(super) xid: Option<String>,
    pub(in crate::storage) actor: Actor,
    pub(super) locks: Locks,
    pub(in crate::storage) metrics: Arc<Metrics>,
    pub(in crate::storage) contents: ContentCache,
    /// The projects of which the actor is known to be a member.
    pub(in crate::storage) proven: Proven,
    pub(super) budget: Option<Arc<Budget>>,
    /// What is given back once the transaction has ended: fields are dropped in their order.
    pub(super) _held: Option<Box<dyn Any + Send + Sync>>,
}

/// A transaction that reads every project, on nobody's behalf. It is no [`Tx`], so that nothing written for a request runs in
/// one, and what runs in one (`storage/operator.rs`) cannot run in a request, which has no [`super::Db`] to ask for it.
pub struct Operator {
    pub(super) session: Session,
}

impl Operator {
    pub(in crate::storage) fn is_sqlite(&self) -> bool {
        self.session.backend == DbBackend::Sqlite
    }

    /// Goes on as what callers are, but as none of them: a server's login may do nothing by itself. PostgreSQL only.
    pub(in crate::storage) async fn be_nobody(&self) -> Result<()> {
        self.session.run("SET LOCAL ROLE authenticated").await.map_err(fail)?;
        Ok(())
    }

    pub(in crate::storage) async fn rows(&self, sql: Sql) -> Result<Vec<QueryResult>> {
        self.session.query(sql.build(self.session.backend), None).await.map_err(fail)
    }
}

impl Tx {
    /// Keeps something until the transaction has ended.
    pub fn holding(self, held: impl Any + Send + Sync) -> Self {
        Self { _held: Some(Box::new(held)), ..self }
    }

    /// Reads no more bytes than the budget has left.
    pub fn within(self, budget: Arc<Budget>) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Commits.
    ///
    /// # Errors
    /// As the database; then nothing was written, unless the error says that nobody knows.
    pub async fn commit(self) -> Result<()> {
        self.session.commit(self.xid.as_deref()).await
    }

    /// Leaves everything as it was.
    ///
    /// # Errors
    /// As the database; then everything is as it was all the same.
    pub async fn rollback(self) -> Result<()> {
        self.session.roll_back().await
    }

    pub(in crate::storage) fn me(&self) -> Me {
        Me { id: self.actor.user_id.0, scopes: self.locks != Locks::Database }
    }

    /// Whether this is SQLite, for the few words in which the databases' SQL differs.
    pub(in crate::storage) fn is_sqlite(&self) -> bool {
        self.session.backend == DbBackend::Sqlite
    }

    fn statement(&self, sql: Sql) -> Statement {
        sql.build(self.session.backend)
    }

    pub(in crate::storage) async fn execute(&self, sql: Sql) -> Result<u64> {
        Ok(self.session.execute(self.statement(sql)).await.map_err(fail)?.rows_affected())
    }

    /// Executes what may refer to a row that is not there; says whether it is. Where it is not, the transaction cannot be
    /// committed any more on PostgreSQL.
    pub(in crate::storage) async fn execute_referring(&self, sql: Sql) -> Result<bool> {
        match self.session.execute(self.statement(sql)).await {
            Ok(_) => Ok(true),
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

    /// The number in column `n` of the one row.
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
