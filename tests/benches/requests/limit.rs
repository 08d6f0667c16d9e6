//! The limit: the hand-written statements, sent directly to the database. On PostgreSQL role, claims, statement and
//! commit take one round trip; on SQLite it is a loop of prepared statements.

use anyhow::{Context, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, Row, SqliteConnection};
use tests::database::Kind;
use tokio_postgres::types::ToSql;

use crate::{
    data::Request,
    work::{Statement, Value, Work},
};

pub(crate) enum Limit {
    Sqlite(SqliteConnection, Vec<Statement>),
    Postgres(Box<Pipelined>),
}

impl Limit {
    pub(crate) async fn connect(work: Work, kind: Kind, url: &str) -> anyhow::Result<Self> {
        let mut statements = work.statements(kind);
        Ok(match kind {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(url).await?;
                connection.execute("PRAGMA busy_timeout = 10000; PRAGMA synchronous = FULL").await?;
                Self::Sqlite(connection, statements)
            }
            Kind::Postgres => {
                let statement = statements.pop().context("no statement")?;
                Self::Postgres(Box::new(Pipelined::connect(url, statement).await?))
            }
        })
    }

    /// The response; empty if the work has none.
    pub(crate) async fn ask(&mut self, user: &str, request: &Request) -> anyhow::Result<String> {
        match self {
            Self::Postgres(connection) => connection.ask(user, request).await,
            Self::Sqlite(connection, statements) if statements.len() == 1 => {
                let query = query(&statements[0], user, request);
                Ok(query.fetch_one(connection).await?.try_get(0)?)
            }
            Self::Sqlite(connection, statements) => {
                let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
                for statement in statements {
                    let changed = query(statement, user, request).execute(&mut *transaction).await?;
                    ensure!(changed.rows_affected() == 1, "nothing: {}", statement.sql);
                }
                transaction.commit().await?;
                Ok(String::new())
            }
        }
    }

    pub(crate) async fn close(self) -> anyhow::Result<()> {
        if let Self::Sqlite(connection, _) = self {
            connection.close().await?;
        }
        Ok(())
    }
}

fn query<'q>(
    statement: &'q Statement,
    user: &str,
    request: &'q Request,
) -> sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments> {
    let bytes = |id: &str| hex::decode(id.replace('-', "")).unwrap_or_default();
    let query = sqlx::query(AssertSqlSafe(statement.sql.as_str()));
    statement.values.iter().fold(query, |query, value| match value {
        Value::Caller => query.bind(bytes(user)),
        Value::Target => query.bind(bytes(&request.target)),
        Value::Content => query.bind(&request.text),
        Value::Number => query.bind(request.number),
    })
}

/// A connection that sends a whole transaction at once.
pub(crate) struct Pipelined {
    client: tokio_postgres::Client,
    transaction: [tokio_postgres::Statement; 4],
    work: tokio_postgres::Statement,
    values: Vec<Value>,
}

impl Pipelined {
    async fn connect(url: &str, statement: Statement) -> anyhow::Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        let claims = "SELECT set_config('request.jwt.claims', json_build_object('sub', $1::text, 'role', 'authenticated')::text, true)";
        client.batch_execute("SET ROLE authenticated").await?;
        let transaction = [
            client.prepare("BEGIN").await?,
            client.prepare("SET LOCAL ROLE authenticated").await?,
            client.prepare(claims).await?,
            client.prepare("COMMIT").await?,
        ];
        let work = client.prepare(&statement.sql).await.with_context(|| statement.sql.clone())?;
        client.batch_execute("RESET ROLE").await?;
        Ok(Self { client, transaction, work, values: statement.values })
    }

    async fn ask(&self, user: &str, request: &Request) -> anyhow::Result<String> {
        let uuid = |id: &str| id.parse::<uuid::Uuid>();
        let (id, target, number) = (uuid(user)?, uuid(&request.target)?, request.number as i32);
        let values = self.values.iter().map(|value| match value {
            Value::Caller => &id as &(dyn ToSql + Sync),
            Value::Target => &target,
            Value::Content => &request.text,
            Value::Number => &number,
        });
        let values: Vec<_> = values.collect();
        let claimed: [&(dyn ToSql + Sync); 1] = [&user];
        let [begin, role, claims, commit] = &self.transaction;
        // They are sent in the order in which they are first polled.
        let (begun, spoken, claims, row, committed) = tokio::join!(
            biased;
            self.client.execute(begin, &[]),
            self.client.execute(role, &[]),
            self.client.execute(claims, &claimed),
            self.client.query_one(&self.work, &values),
            self.client.execute(commit, &[]),
        );
        begun?;
        spoken?;
        claims?;
        let answer = row?.try_get(0)?;
        committed?;
        Ok(answer)
    }
}
