//! The file of a SQLite database: only its owner can read it, writes go only to the file that is at its path, and nothing is
//! read from a file that others have overwritten.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Context;
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::writer::beside;
use crate::model::error::{Error, Result};
use crate::storage::failure::can_be_of_the_file;

/// The URL of a SQLite file.
///
/// # Errors
/// The path is not UTF-8.
pub fn sqlite_url(file: &Path) -> anyhow::Result<String> {
    let path = file.to_str().context("the path is not UTF-8, which SQLite needs")?;
    let segments = path.split('/').map(|segment| utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string());
    Ok(format!("sqlite://{}", segments.collect::<Vec<_>>().join("/")))
}

/// Copies one state of the database into a new or empty file. Writers continue meanwhile. The copy is a database of its own: it has no
/// `application_id`, and gets one when it is opened.
///
/// # Errors
/// Why there is no copy.
pub async fn vacuum_into(from: &Path, to: &Path) -> anyhow::Result<()> {
    let source = SqliteConnectOptions::new().filename(from);
    let to = to.to_str().context("the path is not UTF-8, which SQLite needs")?;
    let mut connection = source.create_if_missing(false).disable_statement_logging().connect().await?;
    let copied = sqlx::query("VACUUM INTO ?").bind(to).execute(&mut connection).await;
    connection.close().await?;
    copied.with_context(|| format!("cannot copy {}", from.display()))?;
    let copy = SqliteConnectOptions::new().filename(to).create_if_missing(false).disable_statement_logging();
    let mut copy = copy.connect().await?;
    let changed = sqlx::raw_sql("PRAGMA application_id = 0").execute(&mut copy).await;
    copy.close().await?;
    changed.with_context(|| format!("cannot write {to}"))?;
    Ok(())
}

/// Largest file that SQLite checks if a log was left next to it, which takes about a second.
const CHECKED_BYTES: u64 = 256 * 1024 * 1024;

/// Longest time between two checks of the file while it is only read.
const CHECK_PERIOD: Duration = Duration::from_millis(100);

/// Device and inode.
type Identity = (u64, u64);

/// The open file of a database, with SQLite's other files.
pub(super) struct OpenFile {
    path: PathBuf,
    identity: Option<Identity>,
    /// Reads the header. It stays open as long as SQLite has the file: closing any descriptor of a file drops the locks that the
    /// process holds on it.
    file: Option<File>,
    /// The `application_id` that the file had when it was opened; 0 if it had none.
    id: u32,
    opened: OnceLock<Opened>,
    checks: Mutex<Checks>,
}

/// What is wrong with the files.
#[derive(Clone, Copy)]
struct Flaw {
    what: &'static str,
    /// Whether the contents are wrong. Otherwise the open connections still read the right ones.
    spoils_reads: bool,
}

const MOVED: Flaw =
    Flaw { what: "the database's file was moved, deleted or replaced while it was open", spoils_reads: false };

const MOVED_BESIDE: Flaw = Flaw {
    what: "a file beside the database's file (-wal, -shm) was moved, deleted or replaced while it was open",
    spoils_reads: false,
};

const LOG_OVERWRITTEN: Flaw =
    Flaw { what: "the log of the database (-wal) was truncated or overwritten while it was open", spoils_reads: true };

const OVERWRITTEN: Flaw = Flaw { what: "the database's file was overwritten while it was open", spoils_reads: true };

/// The results of the checks of the files.
#[derive(Default)]
struct Checks {
    last: Option<Instant>,
    /// Whether the last check has found wrong contents.
    is_spoiled: bool,
    /// When a check last found wrong contents.
    last_spoiled: Option<Instant>,
}

/// State of the files once SQLite has opened them.
struct Opened {
    beside: [(PathBuf, Option<Identity>); 2],
    log: Option<Log>,
    /// The `application_id` of the database, and the one that the file had when it was opened: the new id of an old database can
    /// still be in the log.
    ids: [u32; 2],
    seen: Mutex<Seen>,
}

/// What is known of the database and its file.
struct Seen {
    /// The header of the file, which only SQLite's copies from the log change.
    header: Header,
    /// The copies at that time; `None` if they are unknown, or one was under way.
    copies: Option<Copies>,
    /// The stamp of this process's last commit.
    committed: Stamp,
}

/// The log (`-wal`) and its index (`-shm`). They stay open for the same reason as the file.
struct Log {
    log: File,
    index: File,
}

impl Log {
    fn open([log, index]: &[(PathBuf, Option<Identity>); 2]) -> Option<Self> {
        Some(Self { log: File::open(&log.0).ok()?, index: File::open(&index.0).ok()? })
    }

    /// Whether the log has the salt and all frames of its index (<https://www.sqlite.org/walformat.html>). A log that cannot be
    /// examined counts as whole. Another process can restart the log between two reads, so a difference must persist.
    fn is_whole(&self) -> bool {
        const READS: usize = 3;
        (0..READS).any(|_| self.fits_index().unwrap_or(true))
    }

    fn fits_index(&self) -> Option<bool> {
        let mut index = [0; 48];
        self.index.read_exact_at(&mut index, 0).ok()?;
        let frames = u32::from_ne_bytes(index.get(16..20)?.try_into().ok()?);
        if frames == 0 {
            return Some(true);
        }
        let page = match u16::from_ne_bytes(index.get(14..16)?.try_into().ok()?) {
            1 => 65_536,
            page => u64::from(page),
        };
        if self.log.metadata().ok()?.len() < 32 + u64::from(frames) * (24 + page) {
            return Some(false);
        }
        let mut header = [0; 32];
        self.log.read_exact_at(&mut header, 0).ok()?;
        Some(header.get(16..24) == index.get(32..40))
    }

    /// The state of the copies; `None` if the index cannot be read.
    fn copies(&self) -> Option<Copies> {
        let mut index = [0; 136];
        self.index.read_exact_at(&mut index, 0).ok()?;
        let number = |at: usize| Some(u32::from_ne_bytes(index.get(at..at + 4)?.try_into().ok()?));
        let salt = index.get(32..40)?.try_into().ok()?;
        Some(Copies { salt, frames: number(16)?, copied: number(96)?, begun: number(128)? })
    }
}

/// How much of the log SQLite has copied into the file (checkpoints), by the index of the log.
#[derive(Clone, Copy)]
struct Copies {
    /// Changes when the log begins again.
    salt: [u8; 8],
    frames: u32,
    copied: u32,
    /// Set before frames are copied.
    begun: u32,
}

impl Copies {
    fn is_under_way(self) -> bool {
        self.begun != self.copied
    }

    /// Whether the file has all commits until then.
    fn are_complete(self) -> bool {
        self.frames == 0 || self.copied >= self.frames
    }

    /// Whether nothing was copied between two states.
    fn are_those_of(self, other: Self) -> bool {
        (self.salt, self.copied, self.begun) == (other.salt, other.copied, other.begun)
    }
}

/// The number of a commit: the database's `user_version`, which each commit of a server raises. After the greatest number it begins
/// again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(u32);

impl Stamp {
    /// The value of `PRAGMA user_version`.
    pub(super) fn of(user_version: i32) -> Self {
        Self(user_version.cast_unsigned())
    }

    pub(super) fn user_version(self) -> i32 {
        self.0.cast_signed()
    }

    pub(super) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    fn is_before(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }
}

/// The header of a database file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Header([u8; 100]);

impl Header {
    fn read(file: &File) -> Option<Self> {
        let mut header = [0; 100];
        file.read_exact_at(&mut header, 0).ok()?;
        header.starts_with(b"SQLite format 3\0").then_some(Self(header))
    }

    fn number(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    }

    fn stamp(&self) -> Stamp {
        Stamp(self.number(60))
    }

    fn application_id(&self) -> u32 {
        self.number(68)
    }

    /// The size of the file, in bytes.
    fn size(&self) -> u64 {
        // 1 stands for pages of 64 KiB, which do not fit into the two bytes.
        let page = match self.number(16) >> 16 {
            1 => 65_536,
            page => page,
        };
        u64::from(page) * u64::from(self.number(28))
    }
}

impl OpenFile {
    /// Creates a missing file that only its owner can read; SQLite gives the files next to it the same mode. SQLite reports why a
    /// file cannot be created when it opens it.
    pub(super) fn make(path: &Path) {
        let _ = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    }

    /// The file at the path now.
    pub(super) fn at(path: &Path) -> Self {
        let identity = fs::metadata(path).ok().as_ref().map(identity);
        let file = File::open(path).ok();
        let id = file.as_ref().and_then(Header::read).map_or(0, |header| header.application_id());
        Self { path: path.to_owned(), identity, file, id, opened: OnceLock::new(), checks: Mutex::default() }
    }

    /// Remembers what belongs to the file, once SQLite has opened it. `application_id` is the id of the database, and `committed` the
    /// stamp of its last commit.
    pub(super) fn remember(&self, application_id: u32, committed: Stamp) {
        let beside = ["-wal", "-shm"].map(|end| {
            let path = beside(&self.path, end);
            let identity = fs::metadata(&path).ok().as_ref().map(identity);
            (path, identity)
        });
        if let Some(header) = self.file.as_ref().and_then(Header::read) {
            let log = Log::open(&beside);
            let ids = [header.application_id(), application_id];
            let seen = Mutex::new(Seen { header, copies: None, committed });
            self.opened.get_or_init(|| Opened { beside, log, ids, seen });
        }
    }

    /// Remembers the stamp of a commit.
    pub(super) fn committed(&self, stamp: Stamp) {
        if let Some(opened) = self.opened.get() {
            opened.seen.lock().committed = stamp;
        }
    }

    /// Whether the files at the paths are the open ones. A file that cannot be examined counts as the open one.
    pub(super) fn is_there(&self) -> bool {
        self.flaw().is_none()
    }

    /// As [`OpenFile::is_there`], for a new connection.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn check_connection(&self) -> sqlx::Result<()> {
        self.flaw().map_or(Ok(()), |flaw| Err(sqlx::Error::Io(io::Error::other(flaw.what))))
    }

    /// Checks that the right contents are read. Examines the files if the last check was not just before, or has failed.
    ///
    /// # Errors
    /// `Unavailable` if they are not.
    pub(super) fn check_read(&self) -> Result<()> {
        let is_due = {
            let checks = self.checks.lock();
            checks.is_spoiled || checks.last.is_none_or(|last| last.elapsed() >= CHECK_PERIOD)
        };
        match is_due.then(|| self.spoiling_flaw()).flatten() {
            Some(flaw) => Err(Error::Unavailable(format!("database: {}", flaw.what))),
            None => Ok(()),
        }
    }

    /// Whether wrong contents were found at this time or later. A connection from before can keep some in its cache.
    pub(super) fn was_spoiled_since(&self, time: Instant) -> bool {
        self.checks.lock().last_spoiled.is_some_and(|spoiled| spoiled >= time)
    }

    /// The error of a statement; or that of the files, if they are its cause: a database without the tables, for example.
    pub(super) fn explain(&self, error: sqlx::Error) -> sqlx::Error {
        match can_be_of_the_file(&error).then(|| self.spoiling_flaw()).flatten() {
            Some(flaw) => sqlx::Error::Io(io::Error::other(format!("{} ({error})", flaw.what))),
            None => error,
        }
    }

    fn spoiling_flaw(&self) -> Option<Flaw> {
        self.flaw().filter(|flaw| flaw.spoils_reads)
    }

    /// Why a write would be lost.
    fn flaw(&self) -> Option<Flaw> {
        let flaw = self.find_flaw();
        let spoiling = flaw.filter(|flaw| flaw.spoils_reads);
        let now = Instant::now();
        let mut checks = self.checks.lock();
        let was_spoiled = checks.is_spoiled;
        checks.is_spoiled = spoiling.is_some();
        checks.last = Some(now);
        if spoiling.is_some() {
            checks.last_spoiled = Some(now);
        }
        drop(checks);
        let path = self.path.display();
        match spoiling {
            Some(Flaw { what, .. }) if !was_spoiled => {
                tracing::error!(%path, "{what}: nothing is read or written; put back what was there, or restart");
            }
            None if was_spoiled => tracing::info!(%path, "the database's files have their contents again"),
            _ => {}
        }
        flaw
    }

    fn find_flaw(&self) -> Option<Flaw> {
        if !is_at(&self.path, self.identity) {
            return Some(MOVED);
        }
        let Some(opened) = self.opened.get() else {
            // A database that is only read keeps its id.
            let id = || self.file.as_ref().and_then(Header::read).map(|header| header.application_id());
            return (self.id != 0 && id() != Some(self.id)).then_some(OVERWRITTEN);
        };
        if !opened.beside.iter().all(|(path, identity)| is_at(path, *identity)) {
            return Some(MOVED_BESIDE);
        }
        if opened.log.as_ref().is_some_and(|log| !log.is_whole()) {
            return Some(LOG_OVERWRITTEN);
        }
        self.was_overwritten(opened).then_some(OVERWRITTEN)
    }

    /// Whether something other than SQLite has changed the file.
    fn was_overwritten(&self, opened: &Opened) -> bool {
        let mut seen = opened.seen.lock();
        let copies = || opened.log.as_ref().and_then(Log::copies);
        let before = copies();
        let Some((header, length)) =
            self.file.as_ref().and_then(|file| Some((Header::read(file)?, file.metadata().ok()?.len())))
        else {
            return true;
        };
        // SQLite can copy between the two reads, and then the header has no certain state.
        let settled =
            before.filter(|before| !before.is_under_way() && copies().is_some_and(|after| after.are_those_of(*before)));
        let is_unexplained = header != seen.header
            && settled.zip(seen.copies).is_some_and(|(settled, former)| settled.are_those_of(former));
        // Copies write no older header than before, and in the end that of the last commit.
        let is_older = header.stamp().is_before(seen.header.stamp())
            || before.is_some_and(Copies::are_complete) && header.stamp().is_before(seen.committed);
        // While commits are only in the log, their pages can be missing in the file.
        let is_cut = settled.is_some_and(Copies::are_complete) && length < header.size();
        if !opened.ids.contains(&header.application_id()) || is_older || is_unexplained || is_cut {
            return true;
        }
        (seen.header, seen.copies) = (header, settled);
        false
    }

    /// Checks that a write goes to the file at the path.
    ///
    /// # Errors
    /// `ReadOnly` if the write would be lost.
    pub(super) fn check(&self) -> Result<()> {
        let Some(Flaw { what, spoils_reads }) = self.flaw() else { return Ok(()) };
        if spoils_reads {
            return Err(Error::ReadOnly(format!("Nothing can be read or written at the moment: {what}.")));
        }
        let path = self.path.display();
        tracing::error!(%path, "{what}: nothing is written; put back what was there, or restart");
        Err(Error::ReadOnly(format!("Nothing can be written at the moment, reading works: {what}.")))
    }
}

fn is_at(path: &Path, expected: Option<Identity>) -> bool {
    match fs::metadata(path) {
        Ok(metadata) => Some(identity(&metadata)) == expected,
        Err(error) => expected.is_none() || error.kind() != io::ErrorKind::NotFound,
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Makes sure that a file and the log that was left next to it belong together: SQLite takes any log as the file's own.
///
/// # Errors
/// `Internal` if they do not.
pub async fn check_log(options: &SqliteConnectOptions) -> Result<()> {
    let path = options.get_filename();
    // SQLite's other files are next to the file that a symbolic link leads to.
    let file = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if !fs::metadata(beside(&file, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Ok(());
    }
    let is_small = fs::metadata(&file).is_ok_and(|file| file.len() <= CHECKED_BYTES);
    // SQLite would read more than the header, which does not fit together while a server copies the log. The process has no
    // connection yet, whose locks would end when the file is closed.
    let id = File::open(&file).ok().as_ref().and_then(Header::read).map_or(0, |header| header.application_id());
    let checked = async {
        // The last writer that closes a file copies the log into it; a reader does not.
        let options = options.clone().create_if_missing(false).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let id_with_log: i32 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut connection).await?;
        let answer = if id != 0 && id != id_with_log.cast_unsigned() {
            "the file and the log have different ids (application_id)".to_owned()
        } else if is_small {
            sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?
        } else {
            "ok".to_owned()
        };
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
         `antiphon verify`. Found: {found}"
    )))
}
