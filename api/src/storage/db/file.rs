//! The file of a SQLite database: that nobody else may read it, and that it is still the one at its path.

use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

use super::writer::beside;
use crate::model::error::{Error, Result};

/// Up to which size a file is checked if a log was left beside it. It takes about a second.
const CHECKED_BYTES: u64 = 256 * 1024 * 1024;

/// A file that is open, by what it is and not by its name.
pub(super) struct OpenFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl OpenFile {
    /// Makes the file where there is none, for its owner alone; what SQLite puts beside it takes after it. Whatever keeps it from
    /// being made keeps SQLite from opening it, which then says so.
    pub(super) fn make(path: &Path) {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let _ = options.open(path);
    }

    /// The file that is at the path now.
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: fs::metadata(path).ok().as_ref().and_then(identity) }
    }

    /// Whether the file at the path is this one. One that cannot be looked at passes for it.
    pub(super) fn is_there(&self) -> bool {
        match fs::metadata(&self.path) {
            Ok(metadata) => identity(&metadata) == self.identity,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Makes sure that what is written goes to the file at the path, and not to one that nobody will find.
    ///
    /// # Errors
    /// `ReadOnly` where that is another file, or none.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_there() {
            return Ok(());
        }
        let path = self.path.display();
        tracing::error!(%path, "the database file was moved, deleted or replaced: nothing is written; put it back, or restart");
        Err(Error::ReadOnly(
            "Nothing can be written at the moment, reading works: the database's file was moved, deleted or replaced while it \
             was open."
                .to_owned(),
        ))
    }
}

/// Makes sure that a file and the log that was left beside it belong together: SQLite takes any log as the file's own.
///
/// # Errors
/// `Internal` if they do not fit.
pub async fn check_log(options: &SqliteConnectOptions) -> Result<()> {
    let path = options.get_filename();
    let has_log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if !has_log || !fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_BYTES) {
        return Ok(());
    }
    let checked = async {
        // The last writer that closes a file copies the log into it; a reader does not.
        let options = options.clone().create_if_missing(false).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let answer: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(answer)
    };
    let found = match checked.await {
        Ok(answer) if answer == "ok" => return Ok(()),
        Ok(answer) => answer,
        Err(sqlx::Error::Database(error)) if error.message().contains("malformed") => error.to_string(),
        // What opens the file next reports it.
        Err(_) => return Ok(()),
    };
    let path = path.display();
    Err(Error::Internal(format!(
        "the database {path} is damaged, or the log {path}-wal is another file's, as when a backup is copied over a database while \
         the old log is left beside it. Move {path}-wal and {path}-shm away to use the file without the log, and run \
         `antiphon verify`. SQLite reports: {found}"
    )))
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

/// Nothing tells files apart here: each passes for the one that was there.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64)> {
    Some((0, 0))
}
