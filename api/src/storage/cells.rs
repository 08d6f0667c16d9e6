//! Reads rows by the order of their columns. Looking up each column by its name takes most of the time of reading a row.

use sea_orm::{QueryResult, RuntimeErr};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Decode, Postgres, Row, Sqlite, Type};

use super::db::fail;
use crate::model::error::{Error, Result};

/// A row's columns, read in order from a start column.
pub(super) struct Cells<'r> {
    row: DriverRow<'r>,
    next: usize,
}

#[derive(Clone, Copy)]
enum DriverRow<'r> {
    Postgres(&'r PgRow),
    Sqlite(&'r SqliteRow),
}

impl<'r> Cells<'r> {
    /// The columns from the named one on.
    pub(super) fn at(row: &'r QueryResult, first: &str) -> Result<Self> {
        let row = match (row.try_as_pg_row(), row.try_as_sqlite_row()) {
            (Some(row), _) => DriverRow::Postgres(row),
            (None, Some(row)) => DriverRow::Sqlite(row),
            (None, None) => return Err(Error::internal("a row of another driver")),
        };
        let next = match row {
            DriverRow::Postgres(row) => first.index(row),
            DriverRow::Sqlite(row) => first.index(row),
        };
        Ok(Self { row, next: next.map_err(unreadable)? })
    }

    /// The value of the next column.
    pub(super) fn next<T>(&mut self) -> Result<T>
    where
        T: Type<Postgres> + Decode<'r, Postgres> + Type<Sqlite> + Decode<'r, Sqlite>,
    {
        let at = self.next;
        self.next += 1;
        let value = match self.row {
            DriverRow::Postgres(row) => row.try_get(at),
            DriverRow::Sqlite(row) => row.try_get(at),
        };
        value.map_err(unreadable)
    }
}

fn unreadable(error: sqlx::Error) -> Error {
    fail(sea_orm::DbErr::Query(RuntimeErr::SqlxError(error.into())))
}
