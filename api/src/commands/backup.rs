//! `antiphon backup`: makes checked copies of a SQLite database while servers use it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tempfile::TempPath;
use tokio::time::{MissedTickBehavior, interval};

use super::{database::check_exists, serve::stop_signal, terminal::print};
use crate::{
    config::{Backup, Settings},
    database_url::{DatabaseUrl, for_operator},
    domain::import_export::{
        scratch::Scratch,
        verify::{self, Verified},
    },
    migrations::missing,
    model::clock,
    storage::{
        db::{Db, check_log, sqlite_url, vacuum_into},
        engine_check,
    },
};

/// How the names of the files of `--every` begin and end. Between them is the time (UTC), so that they sort by age.
const PREFIX: &str = "antiphon-";
const SUFFIX: &str = ".db";

/// Makes a backup in the new file `to`, readable only by its owner, and reads it back ([`examine`]). `to` exists only once the backup
/// is complete and without problems.
///
/// # Errors
/// Why there is no backup.
pub async fn backup(settings: &Settings, to: &Path) -> anyhow::Result<Option<Verified>> {
    let source = sqlite(settings, "pg_dump or the backups of your provider")?;
    check_exists(source.get_filename())?;
    ensure!(!to.is_dir(), "{} is a folder: add --every MINUTES, or name a new file", to.display());
    ensure!(fs::symlink_metadata(to).is_err(), "{} exists already", to.display());
    // First: whoever opens a file with the log of another one can damage it.
    check_log(&source).await.map_err(for_operator)?;
    is_ours(source.get_filename()).await?;
    let copy = Unfinished::next_to(to).with_context(|| format!("cannot write {}", to.display()))?;
    vacuum_into(source.get_filename(), &copy.path()).await?;
    let verified = examine(settings, &copy.path()).await?;
    copy.publish(to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(verified)
}

/// The options of the SQLite database of the settings.
///
/// # Errors
/// The settings name a PostgreSQL database; the error names what to use instead.
pub(super) fn sqlite(settings: &Settings, instead: &str) -> anyhow::Result<SqliteConnectOptions> {
    match DatabaseUrl::parse(settings.store.database_url.expose())? {
        DatabaseUrl::Sqlite(options) => Ok(*options),
        target @ DatabaseUrl::Postgres(_) => bail!("this command is for SQLite; for the {target} use {instead}"),
    }
}

/// A file that is being written, in a folder of its own next to its target: SQLite makes files beside it. Only its owner can read it. Dropping
/// it removes it.
pub(super) struct Unfinished {
    folder: Scratch,
    /// The file itself.
    pub(super) file: File,
}

impl Unfinished {
    pub(super) fn next_to(target: &Path) -> io::Result<Self> {
        let folder = Scratch::new_in(folder_of(target))?;
        let path = folder.path().join(Self::NAME);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { folder, file })
    }

    const NAME: &str = "copy.db";

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join(Self::NAME)
    }

    /// Makes the finished file appear at `target`, where no file can be, and survive a power failure.
    pub(super) fn publish(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        TempPath::try_from_path(self.path())?.persist_noclobber(target)?;
        File::open(folder_of(target))?.sync_all()
    }

    /// As [`Unfinished::publish`], in the place of the file at `target`.
    pub(super) fn replace(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(self.path(), target)?;
        File::open(folder_of(target))?.sync_all()
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks that a file is a database of this service, of any version.
///
/// # Errors
/// It is empty, or of another program, or no database.
pub(super) async fn is_ours(file: &Path) -> anyhow::Result<()> {
    const TABLES: &str = "SELECT count(*) FROM sqlite_schema \
         WHERE type = 'table' AND name IN ('seaql_migrations', 'projects', 'project_events')";
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false).disable_statement_logging();
    let mut connection = options.connect().await.with_context(|| format!("cannot read {}", file.display()))?;
    let tables: Result<i64, _> = sqlx::query_scalar(TABLES).fetch_one(&mut connection).await;
    connection.close().await?;
    let tables = tables.with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(tables == 3, "{} is not a database of antiphon: it lacks its tables", file.display());
    Ok(())
}

/// Runs SQLite's own check on a database file, and reads all projects back. `None` if an older version of this service wrote them: then
/// only SQLite's check is done.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn examine(settings: &Settings, file: &Path) -> anyhow::Result<Option<Verified>> {
    is_ours(file).await?;
    let db = Db::connect(&sqlite_url(file)?, &settings.database).await.map_err(for_operator)?;
    let examined = examine_open(&db).await;
    db.close().await;
    examined
}

async fn examine_open(db: &Db) -> anyhow::Result<Option<Verified>> {
    let mut problems = Vec::new();
    let is_old = !missing(db).await?.is_empty();
    let verified = if is_old {
        problems.extend(engine_check::run(db).await.map_err(for_operator)?.problems);
        None
    } else {
        let mut report = |_, problem| problems.push(problem);
        Some(verify::verify(db, None, &mut report).await.map_err(for_operator)?)
    };
    match problems.first() {
        None => Ok(verified),
        Some(problem) => {
            bail!("the database has {} problems, which `antiphon verify` lists; the first: {problem}", problems.len())
        }
    }
}

/// Makes a backup, or one after another.
pub(super) async fn run(settings: &Settings, options: &Backup) -> anyhow::Result<()> {
    // A stop drops the unfinished backup, which removes its file.
    tokio::select! {
        done = make(settings, options) => done,
        signal = stop_signal() => {
            signal?;
            ensure!(options.every.is_some(), "interrupted: there is no backup");
            Ok(())
        }
    }
}

async fn make(settings: &Settings, options: &Backup) -> anyhow::Result<()> {
    let Some(minutes) = options.every else {
        let verified = backup(settings, &options.to).await?;
        return print(&format!("{}: {}\n", options.to.display(), summary(verified.as_ref())));
    };
    ensure!(options.to.is_dir(), "{} must be an existing folder", options.to.display());
    let mut clock = interval(Duration::from_secs(u64::from(minutes) * 60));
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        clock.tick().await;
        match backup_in(settings, &options.to, options.keep).await {
            Ok((file, verified)) => tracing::info!("{}: {}", file.display(), summary(verified.as_ref())),
            // The next one can succeed. The older backups stay.
            Err(error) => tracing::error!("there is no new backup: {error:#}"),
        }
    }
}

/// Makes a backup in a folder, and then removes the older ones except the newest, so that `keep` are left. Backups that are named after a
/// later time, as when a clock was wrong, do not count and stay.
///
/// # Errors
/// As [`backup`]; then none is removed.
pub async fn backup_in(settings: &Settings, folder: &Path, keep: usize) -> anyhow::Result<(PathBuf, Option<Verified>)> {
    let file = folder.join(format!("{PREFIX}{}{SUFFIX}", clock::now().format("%Y%m%dT%H%M%S%.6fZ")));
    let verified = backup(settings, &file).await?;
    let mut older: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_backup) && *path < file)
        .filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file()))
        .collect();
    older.sort();
    for old in older.iter().rev().skip(keep.saturating_sub(1)) {
        if let Err(error) = fs::remove_file(old) {
            tracing::warn!("cannot remove the old backup {}: {error}", old.display());
        }
    }
    Ok((file, verified))
}

/// Whether a file has the name of a backup of `--every`. Other files in the folder are never removed.
fn is_backup(name: &str) -> bool {
    let time = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
    time.is_some_and(|time| chrono::NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%S%.fZ").is_ok())
}

/// What was read back, in one line.
pub(super) fn summary(verified: Option<&Verified>) -> String {
    match verified {
        Some(Verified { projects, revisions, versions, .. }) => {
            format!("projects: {projects}, revisions: {revisions}, versions: {versions}; no problems found")
        }
        None => "SQLite finds no problems; the projects were not read, since an older version of antiphon wrote them"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_backups_are_removed() {
        assert!(is_backup("antiphon-20261130T021500.123456Z.db"));
        for other in ["antiphon.db", "antiphon-.db", "antiphon-20261130.db", "antiphon-20261130T021500.123456Z.db.gz"] {
            assert!(!is_backup(other), "{other}");
        }
    }
}
