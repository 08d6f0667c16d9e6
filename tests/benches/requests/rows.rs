//! Inserts many rows at once into a table.

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tests::database::{Database, Kind};

pub(crate) struct Table {
    postgres: bool,
    head: String,
    rows: String,
    count: usize,
}

/// A value of a row.
#[derive(Clone, Copy)]
pub(crate) enum Cell<'a> {
    Id(&'a str),
    Text(&'a str),
    Bytes(&'a [u8]),
    Number(i64),
    Flag(bool),
    Null,
}

impl Table {
    pub(crate) fn new(kind: Kind, head: &str) -> Self {
        Self { postgres: kind == Kind::Postgres, head: head.to_owned(), rows: String::new(), count: 0 }
    }

    pub(crate) async fn add(&mut self, loader: &mut Loader, cells: &[Cell<'_>]) -> anyhow::Result<()> {
        self.rows.push_str(if self.count == 0 { "(" } else { ",(" });
        for (index, cell) in cells.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            self.rows.push_str(comma);
            self.rows.push_str(&match cell {
                Cell::Id(id) if self.postgres => format!("'{id}'"),
                Cell::Id(id) => format!("X'{}'", id.replace('-', "")),
                Cell::Text(text) => format!("'{}'", text.replace('\'', "''")),
                Cell::Bytes(bytes) if self.postgres => format!("'\\x{}'", hex::encode(bytes)),
                Cell::Bytes(bytes) => format!("X'{}'", hex::encode(bytes)),
                Cell::Number(number) => number.to_string(),
                Cell::Flag(flag) => flag.to_string(),
                Cell::Null => "NULL".to_owned(),
            });
        }
        self.rows.push(')');
        self.count += 1;
        if self.count == 500 { self.flush(loader).await } else { Ok(()) }
    }

    pub(crate) async fn flush(&mut self, loader: &mut Loader) -> anyhow::Result<()> {
        if self.count > 0 {
            loader.execute(&format!("INSERT INTO {} VALUES {}", self.head, self.rows)).await?;
            self.rows.clear();
            self.count = 0;
        }
        Ok(())
    }
}

pub(crate) enum Loader {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Loader {
    pub(crate) async fn connect(database: &Database) -> anyhow::Result<Self> {
        Ok(match database.kind() {
            Kind::Sqlite => Self::Sqlite(SqliteConnection::connect(&database.url()).await?),
            Kind::Postgres => Self::Postgres(PgConnection::connect(&database.url()).await?),
        })
    }

    pub(crate) async fn execute(&mut self, sql: &str) -> anyhow::Result<()> {
        let start = sql.chars().take(200).collect::<String>();
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop),
            Self::Postgres(connection) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop),
        }
        .context(start)
    }
}
