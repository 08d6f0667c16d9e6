//! Why a project is not copied to or from a file.

use std::fmt;

use anyhow::anyhow;
use sea_orm::{DbErr, RuntimeErr};
use sqlx::error::ErrorKind;

/// Why a file is not imported. Nothing of it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no SQLite database, or not a whole one.
    Unreadable(String),
    /// It is a SQLite database of something else.
    Foreign(String),
    /// Another version of this service made it, which this one does not know.
    Version(String),
    /// A value is larger than the settings allow.
    TooLarge(String),
    /// It breaks the rules of a history, or has a value that cannot be read; the first problem.
    Damaged(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "the file cannot be read: {why}"),
            Self::Foreign(why) => write!(f, "the file is not an exported project: {why}"),
            Self::Version(why) => write!(f, "the file is of another version of antiphon: {why}"),
            Self::TooLarge(why) => write!(f, "the file is too large: {why}"),
            Self::Damaged(why) => write!(f, "the project is damaged: {why}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Why there is no copy.
pub(super) enum CopyError {
    /// The source cannot be read, or has what no request could have written.
    Source(String),
    /// The target cannot be read or written.
    Target(DbErr),
}

impl From<DbErr> for CopyError {
    fn from(error: DbErr) -> Self {
        Self::Target(error)
    }
}

impl From<CopyError> for anyhow::Error {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Source(why) => anyhow!(Refusal::Damaged(why)),
            CopyError::Target(error) => match constraint(&error) {
                Some(why) => anyhow!(Refusal::Damaged(why)),
                None => anyhow!("the project cannot be written: {error}"),
            },
        }
    }
}

/// What a row violates, if that is why it was refused.
fn constraint(error: &DbErr) -> Option<String> {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = error else {
        return None;
    };
    let database = cause.as_database_error().filter(|database| !matches!(database.kind(), ErrorKind::Other))?;
    Some(database.message().to_owned())
}

/// An error of the source.
pub(super) fn unread(error: DbErr) -> CopyError {
    CopyError::Source(error.to_string())
}
