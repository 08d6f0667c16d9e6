//! Classifies database errors, by their codes and never by their texts.

use std::sync::Arc;

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

use crate::model::error::{Conflict, Error};

/// The budget of an operation is spent.
#[derive(Clone, Debug)]
pub struct OverBudget {
    /// The error for the caller.
    pub error: Error,
    /// Whether the connection still has rows of the statement, and so must be closed.
    pub has_rows: bool,
}

impl std::fmt::Display for OverBudget {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.error.message())
    }
}

impl std::error::Error for OverBudget {}

/// Converts a database error. Its text is logged. The error for the caller only shows whether a retry can succeed, and
/// whether only writes fail.
pub fn fail(error: DbErr) -> Error {
    match &error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed) => outage(&error),
        DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause)) => {
            let cause: &Arc<sqlx::Error> = cause;
            fail_of(cause)
        }
        _ => Error::Internal(format!("database: {error}")),
    }
}

/// As [`fail`], for an error of the driver.
pub fn fail_of(error: &sqlx::Error) -> Error {
    let database = match error {
        sqlx::Error::Database(database) => database,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => return outage(error),
        sqlx::Error::AnyDriverError(cause) => match cause.downcast_ref::<OverBudget>() {
            Some(OverBudget { error, .. }) => return error.clone(),
            None => return Error::Internal(format!("database: {error}")),
        },
        _ => return Error::Internal(format!("database: {error}")),
    };
    let code = database.code().unwrap_or_default();
    match classify(&code) {
        Kind::ReadOnly(why) => {
            tracing::warn!(code = &*code, %error, "the database refused a write as read-only");
            Error::ReadOnly(format!("Only reads are possible at the moment: {why}."))
        }
        Kind::Outage => outage(error),
        Kind::Conflict => {
            tracing::warn!(code = &*code, %error, "two writes conflicted");
            Error::Conflict(Box::new(Conflict {
                message: "This write conflicts with an earlier one: try again.".to_owned(),
                ..Conflict::default()
            }))
        }
        Kind::Forbidden => {
            tracing::warn!(code = &*code, %error, "row-level security refused a write");
            Error::Forbidden("You do not have permission for this (any more).".to_owned())
        }
        Kind::Busy(why) => Error::RateLimited { message: format!("{why}: try again."), retry_after: Some(1) },
        Kind::Defect => Error::Internal(format!("database: {error}")),
    }
}

/// Whether a SQLite file with the wrong contents can be the cause: the error is an outage or a defect.
pub fn can_be_of_the_file(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(classify(&code), Kind::Outage | Kind::Defect))
}

/// Whether the database refuses a connection because there are too many.
pub fn is_connection_limit(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().is_some_and(|code| code == "53300"))
}

fn outage(error: &impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("database: {error}"))
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// The database is read-only; the reason.
    ReadOnly(&'static str),
    /// The database cannot be reached or read: the same statement can succeed later, maybe after a repair.
    Outage,
    /// Another write came first.
    Conflict,
    /// Row-level security refused it: the caller has lost the permission in the meantime.
    Forbidden,
    /// Other users or processes keep the database busy; the reason.
    Busy(&'static str),
    /// The same statement fails again.
    Defect,
}

const IS_READ_ONLY: &str = "the database is read-only";
const IS_FULL: &str = "the database's disk is full";
const IS_BROKEN: &str = "the database's disk has errors";

fn classify(code: &str) -> Kind {
    // SQLite's codes are numbers of up to four digits; PostgreSQL's SQLSTATEs have five characters.
    match code.parse::<i32>() {
        Ok(number) if code.len() < 5 => classify_sqlite(number),
        _ => classify_sqlstate(code),
    }
}

/// By SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn classify_sqlstate(code: &str) -> Kind {
    match code {
        // read_only_sql_transaction, disk_full
        "25006" => return Kind::ReadOnly(IS_READ_ONLY),
        "53100" => return Kind::ReadOnly(IS_FULL),
        // too_many_connections
        "53300" => return Kind::Busy("The database allows no more connections"),
        // query_canceled, idle_in_transaction_session_timeout, io_error, data_corrupted, index_corrupted
        "57014" | "25P03" | "58030" | "XX001" | "XX002" => return Kind::Outage,
        // lock_not_available
        "55P03" => return Kind::Busy("Another write has not ended in time (--database-acquire-seconds)"),
        // foreign_key_violation, unique_violation, deadlock_detected
        "23503" | "23505" | "40P01" => return Kind::Conflict,
        // insufficient_privilege
        "42501" => return Kind::Forbidden,
        _ => {}
    }
    match code.get(..2) {
        // Connection exceptions, rollback after a serialization failure, insufficient resources, operator intervention.
        Some("08" | "40" | "53" | "57") => Kind::Outage,
        _ => Kind::Defect,
    }
}

/// By result code (<https://www.sqlite.org/rescode.html>); the lowest byte is the primary code.
fn classify_sqlite(code: i32) -> Kind {
    /// SQLITE_IOERR_WRITE, _FSYNC, _DIR_FSYNC, _TRUNCATE, _DELETE, _SHMOPEN, _SHMSIZE.
    const WRITING: [i32; 7] = [778, 1034, 1290, 1546, 2570, 4618, 4874];
    match code {
        // SQLITE_CONSTRAINT_FOREIGNKEY, _PRIMARYKEY, _UNIQUE
        787 | 1555 | 2067 => return Kind::Conflict,
        // SQLITE_BUSY, _BUSY_RECOVERY: another process holds the lock.
        5 | 261 => return Kind::Busy("Another process has blocked writes for too long"),
        _ => {}
    }
    match code & 0xff {
        // SQLITE_READONLY, SQLITE_FULL, SQLITE_IOERR
        8 => Kind::ReadOnly(IS_READ_ONLY),
        13 => Kind::ReadOnly(IS_FULL),
        10 if WRITING.contains(&code) => Kind::ReadOnly(IS_BROKEN),
        // SQLITE_BUSY, _LOCKED, _NOMEM, _INTERRUPT, _IOERR, _CORRUPT, _CANTOPEN, _PROTOCOL, _FORMAT, _NOTADB
        5 | 6 | 7 | 9 | 10 | 11 | 14 | 15 | 24 | 26 => Kind::Outage,
        _ => Kind::Defect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_classified_by_code() {
        for (code, kind) in [
            ("25006", Kind::ReadOnly(IS_READ_ONLY)),
            ("53100", Kind::ReadOnly(IS_FULL)),
            ("57P01", Kind::Outage),
            ("08006", Kind::Outage),
            ("40001", Kind::Outage),
            ("57014", Kind::Outage),
            ("58030", Kind::Outage),
            ("42P01", Kind::Defect),
            ("XX000", Kind::Defect),
            ("XX001", Kind::Outage),
            ("23503", Kind::Conflict),
            ("42501", Kind::Forbidden),
            ("23514", Kind::Defect),
            ("", Kind::Defect),
        ] {
            assert_eq!(classify_sqlstate(code), kind, "{code}");
        }
        assert!(["55P03", "53300"].iter().all(|code| matches!(classify_sqlstate(code), Kind::Busy(_))));
        assert!([5, 261].iter().all(|code| matches!(classify_sqlite(*code), Kind::Busy(_))));
        for (code, kind) in [
            (8, Kind::ReadOnly(IS_READ_ONLY)),
            (1032, Kind::ReadOnly(IS_READ_ONLY)),
            (13, Kind::ReadOnly(IS_FULL)),
            (1034, Kind::ReadOnly(IS_BROKEN)),
            (266, Kind::Outage),
            (517, Kind::Outage),
            (11, Kind::Outage),
            (267, Kind::Outage),
            (26, Kind::Outage),
            (787, Kind::Conflict),
            (275, Kind::Defect),
            (1, Kind::Defect),
        ] {
            assert_eq!(classify_sqlite(code), kind, "{code}");
        }
    }
}
