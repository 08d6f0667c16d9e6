//! Why a project is not copied to or from a file.

use std::{env, fmt};

use anyhow::anyhow;
use sea_orm::{DbErr, RuntimeErr};
use sqlx::error::ErrorKind;

use super::failure::fail;
use crate::model::error::Error;

/// Why a file is not imported. Nothing of it is.
#[derive(Debug, PartialEq, Eq)]
pub enum FileRefusal {
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

impl fmt::Display for FileRefusal {
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

impl std::error::Error for FileRefusal {}

/// Why there is no copy.
#[derive(Debug)]
pub enum CopyError {
    /// There is no such project.
    Missing,
    /// The source cannot be read.
    Source(DbErr),
    /// The source has what no request could have written.
    Damaged(String),
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
            CopyError::Missing => anyhow!("there is no such project"),
            CopyError::Source(error) => anyhow!(FileRefusal::Damaged(error.to_string())),
            CopyError::Damaged(why) => anyhow!(FileRefusal::Damaged(why)),
            CopyError::Target(error) => match constraint(&error) {
                Some(why) => anyhow!(FileRefusal::Damaged(why)),
                None => anyhow!("the project cannot be written: {error}"),
            },
        }
    }
}

impl CopyError {
    /// The error of a request that copies a project to a temporary file.
    pub fn of_request(self) -> Error {
        let damaged = |why| Error::internal(format!("a project cannot be exported: {why}"));
        match self {
            Self::Missing => Error::not_found("project", "id"),
            Self::Source(error) => fail(error),
            Self::Damaged(why) => damaged(why),
            Self::Target(error) => constraint(&error).map_or_else(|| no_temporary_file(&error), damaged),
        }
    }
}

/// The error for a request whose temporary file cannot be written.
pub fn no_temporary_file(cause: &dyn fmt::Display) -> Error {
    tracing::warn!(%cause, folder = %env::temp_dir().display(), "a temporary file cannot be written (TMPDIR)");
    let message = "The server cannot write temporary files at the moment (TMPDIR): try again later.".to_owned();
    Error::RateLimited { message, retry_after: Some(60) }
}

/// What a row violates, if that is why it was refused.
fn constraint(error: &DbErr) -> Option<String> {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = error else {
        return None;
    };
    let database = cause.as_database_error().filter(|database| !matches!(database.kind(), ErrorKind::Other))?;
    Some(database.message().to_owned())
}
