//! The file of a SQLite database: its permissions, and whether it is still the one at its path.

use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

use super::writer::beside;
use crate::model::error::{Error, Result};

/// Largest file that is checked if a log was left next to it. The check takes about a second.
const CHECKED_BYTES: u64 = 256 * 1024 * 1024;

/// An open file, identified by device and inode, not by its name.
pub(super) struct OpenFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl OpenFile {
    /// Creates a missing file, readable by its owner only; SQLite's other files get the same mode. Errors are ignored,
    /// because SQLite then reports them when it opens the file.
    pub(super) fn make(path: &Path) {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let _ = options.open(path);
    }

    /// The file at the path now.
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: fs::metadata(path).ok().as_ref().and_then(identity) }
    }

    /// Whether this file is still at the path. True if this cannot be determined.
    pub(super) fn is_there(&self) -> bool {
        match fs::metadata(&self.path) {
            Ok(metadata) => identity(&metadata) == self.identity,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Checks that writes go to the file at the path.
    ///
    /// # Errors
    /// `ReadOnly` if another file or none is there.
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

/// Checks that a file and the log next to it belong together: SQLite applies any log.
///
/// # Errors
/// `Internal` if they do not.
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
        // The next connection reports it.
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

/// Files cannot be distinguished here, so no replacement is detected.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64)> {
    Some((0, 0))
}
