//! `antiphon restore`: makes a backup the database of a stopped server.

use std::{
    fs,
    io::{self, copy},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

use super::{
    backup::{Unfinished, examine, sqlite, summary},
    serve::stop_signal,
    terminal::print,
};
use crate::{
    config::{Restore, Settings},
    domain::import_export::verify::Verified,
    model::clock,
    storage::db::beside,
};

/// What a restore did.
#[derive(Debug)]
pub struct Restored {
    /// What was read from the backup; `None` if an older version wrote it.
    pub verified: Option<Verified>,
    /// The former database, if there was one.
    pub former: Option<PathBuf>,
}

/// Checks a copy of the backup, and makes it the database. The present database gets another name, and is replaced only if
/// `replace` is set. Until the
/// copy is checked, nothing changes.
///
/// # Errors
/// Why nothing is restored.
pub async fn restore(settings: &Settings, from: &Path, replace: bool) -> anyhow::Result<Restored> {
    let target = sqlite(settings, "pg_restore")?;
    // SQLite's other files are next to the file that a symbolic link leads to.
    let file = fs::canonicalize(target.get_filename()).unwrap_or_else(|_| target.get_filename().to_owned());
    ensure!(!file.is_dir(), "{} is a folder", file.display());
    ensure!(
        fs::metadata(beside(from, "-wal")).map_or(0, |log| log.len()) == 0,
        "{from} is a database in use, since {from}-wal is next to it: `antiphon backup` makes a backup of it",
        from = from.display()
    );
    let exists = ["", "-wal"].iter().any(|end| fs::symlink_metadata(beside(&file, end)).is_ok());
    ensure!(!exists || replace, "{} exists: add --yes to replace it; it is kept with another name", file.display());
    let mut new = Unfinished::next_to(&file).with_context(|| format!("cannot write {}", file.display()))?;
    let mut backup = fs::File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    copy(&mut backup, &mut new.file).with_context(|| format!("cannot copy {}", from.display()))?;
    let verified = examine(settings, &new.path()).await.with_context(|| format!("{} is no backup", from.display()))?;
    let former = if exists {
        finish_log(target).await?;
        let former = beside(&file, &format!(".replaced-{}", clock::now().format("%Y%m%dT%H%M%S%.6fZ")));
        if file.exists() {
            // Its second name, so that its path always has a database.
            fs::hard_link(&file, &former).with_context(|| format!("cannot keep {}", file.display()))?;
        }
        let replaced = move_log(&file, &former).and_then(|()| new.replace(&file));
        replaced.inspect_err(|_| bring_back(&former, &file)).map(|()| Some(former))
    } else {
        new.publish(&file).map(|()| None)
    };
    let former = former.with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Restored { verified, former })
}

/// Moves the log away. One is left only if the database is damaged: next to the new file, SQLite would take it as the log of that file.
fn move_log(file: &Path, former: &Path) -> io::Result<()> {
    for end in ["-wal", "-shm"] {
        let log = beside(file, end);
        if log.exists() {
            fs::rename(&log, beside(former, end))?;
        }
    }
    Ok(())
}

/// Undoes what was done, as far as that is possible.
fn bring_back(former: &Path, file: &Path) {
    for end in ["-wal", "-shm"] {
        let _ = fs::rename(beside(former, end), beside(file, end));
    }
    let _ = fs::remove_file(former);
}

/// Moves the log into the database. This needs the database for itself, so it also shows whether a server uses it.
async fn finish_log(target: SqliteConnectOptions) -> anyhow::Result<()> {
    let file = target.get_filename().to_owned();
    let options = target.create_if_missing(false).busy_timeout(Duration::from_secs(1)).disable_statement_logging();
    let finished = async {
        let mut connection = options.connect().await?;
        let mode = sqlx::query_scalar::<_, String>("PRAGMA journal_mode = DELETE").fetch_one(&mut connection).await;
        connection.close().await?;
        mode
    };
    match finished.await {
        Ok(mode) if mode == "delete" => Ok(()),
        Ok(_) => bail!("{} is in use: stop the server first", file.display()),
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == "5" || code == "261") => {
            bail!("{} is in use: stop the server first", file.display())
        }
        // A damaged database is a reason to restore. A server that still uses it refuses writes once the file is replaced.
        Err(_) => Ok(()),
    }
}

/// Restores, and prints what was done.
pub(super) async fn run(settings: &Settings, options: &Restore) -> anyhow::Result<()> {
    // A stop drops the unfinished restore, which removes its copy. Nothing waits between the changes of the database's files.
    let restored = tokio::select! {
        restored = restore(settings, &options.from, options.yes) => restored?,
        signal = stop_signal() => {
            signal?;
            bail!("interrupted: nothing is restored")
        }
    };
    print(&format!("restored {}: {}\n", options.from.display(), summary(restored.verified.as_ref())))?;
    match restored.former {
        Some(former) => print(&format!("the former database is {}\n", former.display())),
        None => Ok(()),
    }
}
