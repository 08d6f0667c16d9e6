//! The one connection that writes to a SQLite file, and the turns of those who want it.
//!
//! **Group commit.** A commit waits for the disk, and what it waits for is the same for one write or for many. So a write that is
//! done while others wait for their turn does not commit: it leaves its rows in the open transaction, gives the turn to the
//! next, and waits for its own turn again, in order. Each write of a group after the first is a savepoint, so that one that fails
//! is undone alone. Whose turn comes and finds the group as it was commits it, and all of it is acknowledged after that one
//! commit; if that fails, all of it has failed. A lone writer commits at once.
//!
//! A large write takes longer than any wait for the disk. It first commits the group that it finds, and itself at its end, so
//! that nobody who has written waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{DbErr, QueryResult};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::time::{Instant as Deadline, timeout_at};

use super::connection::{Connection, DbResult, breaks};
use super::file::OpenFile;
use super::pool::{Connector, close};
use super::{BUSY, Size};
use crate::model::error::{Error, Result};
use crate::model::limits::DatabaseLimits;
use crate::storage::failure::{fail, fail_of};

/// Most writes of a group. Of the wait for the disk each has a sixty-fourth then, and there is little more to be had.
const GROUP_WRITES: usize = 64;

/// How old a transaction may grow before the next writer that finishes commits it: the first of a group waits for all of it.
const GROUP_TIME: Duration = Duration::from_millis(20);

/// From which size on the log of the file is cut.
const CUT_BYTES: u64 = 64 * 1024 * 1024;

/// How long that may wait for those who read: in this time nobody writes.
const CUT_WAIT_MS: u64 = 200;

/// A SQLite file's writer.
pub(super) struct Writer {
    slot: Arc<Mutex<Slot>>,
    /// How many wait for their turn to write, those not counted who have written and wait for the commit.
    waiting: AtomicUsize,
    file: Arc<OpenFile>,
    wait: Duration,
}

/// What whoever has the turn has.
struct Slot {
    file: Arc<OpenFile>,
    /// Nothing where the connection was closed because its state was not certain.
    connection: Option<Connection>,
    group: Group,
    connector: Connector,
    /// Reads, and keeps the log from being read anew, as it is by the first who opens a file.
    anchor: Option<Connection>,
    /// The log's path, and the size at which it is cut.
    log: PathBuf,
    cut_at: u64,
}

/// Writes that are done and not committed. With any, the connection is in a transaction.
#[derive(Default)]
struct Group {
    written: Vec<oneshot::Sender<Result<()>>>,
    /// When the transaction began.
    began: Option<Instant>,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    fn is_due(&self) -> bool {
        self.written.len() >= GROUP_WRITES || self.began.is_some_and(|began| began.elapsed() >= GROUP_TIME)
    }

    /// Says how it ended to all who wait for it.
    fn tell(&mut self, outcome: &Result<()>) {
        for writer in self.written.drain(..) {
            // One who does not wait any more has nothing to learn.
            let _ = writer.send(outcome.clone());
        }
        self.began = None;
    }
}

impl Slot {
    /// Closes the connection, since what state it is in is not certain. What the group has written goes with it.
    fn close(&mut self) {
        self.connection = None;
        self.group
            .tell(&Err(Error::Unavailable("database: the writer's connection was lost before the commit".to_owned())));
    }

    fn connection(&mut self) -> DbResult<&mut Connection> {
        self.connection.as_mut().ok_or_else(|| DbErr::Custom("the connection of this transaction was lost".to_owned()))
    }

    async fn run(&mut self, text: &'static str) -> Result<()> {
        self.connection().map_err(fail)?.run(text).await.map_err(|error| fail_of(&error))?;
        Ok(())
    }

    /// Commits the open transaction and sends the result to all of the group.
    async fn commit(&mut self) -> Result<()> {
        if let Err(error) = self.file.check() {
            // A COMMIT can also write to the file (a checkpoint).
            self.connection = None;
            self.group.tell(&Err(error.clone()));
            return Err(error);
        }
        let outcome = self.run("COMMIT").await;
        if outcome.is_err() {
            self.forget_commit().await;
        }
        self.group.tell(&outcome);
        self.cut_log().await;
        outcome
    }

    /// Cuts the log of the file once it is large. SQLite begins it anew by itself only when nobody reads just then, so that under
    /// readers who overlap it would grow without end. This waits for those who read by it, and no longer than for a short while.
    async fn cut_log(&mut self) {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        if size(&self.log) < self.cut_at {
            return;
        }
        let cut = format!(
            "PRAGMA busy_timeout = {CUT_WAIT_MS}; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA busy_timeout = {}",
            BUSY.as_millis()
        );
        if let Some(connection) = &mut self.connection
            && let Err(error) = connection.run(cut).await
        {
            tracing::warn!(%error, "the log of the database file was not cut");
            self.connection = None;
        }
        // One who reads for long keeps it: the next attempt is for when it has grown by as much again.
        self.cut_at = size(&self.log) + CUT_BYTES;
    }
}

impl Slot {
    /// Makes what a failed commit has left of itself count for nothing. All of it may be in the log of the file, where an error came
    /// only from the wait for the disk: no connection sees it as long as one is open (the anchor), but whoever opens the file
    /// next, after a crash, would take it for committed. The next commit overwrites it, so there is one at once, of nothing.
    async fn forget_commit(&mut self) {
        self.connection = None;
        let forget = async {
            let mut connection = self.connector.connect().await?;
            let version: i64 = match connection.run("PRAGMA user_version").await?.first() {
                Some(row) => row.try_get_by_index::<i32>(0).map_or(0, i64::from),
                None => 0,
            };
            // Rewrites the first page.
            connection.run(format!("BEGIN IMMEDIATE; PRAGMA user_version = {version}; COMMIT")).await?;
            Ok::<_, sqlx::Error>(connection)
        };
        match forget.await {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => {
                tracing::error!(%error, "a commit failed, and the database takes no other: a crash now could bring it back")
            }
        }
    }
}

/// Counts one who waits.
struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn new(count: &'w AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Writer {
    /// Opens the file, which is made where there is none.
    pub(super) async fn open(
        connector: Connector,
        path: &Path,
        file: Arc<OpenFile>,
        limits: &DatabaseLimits,
    ) -> Result<Self> {
        let connect = async { Ok((connector.connect().await?, connector.connect().await?)) };
        let (mut connection, anchor) = connect.await.map_err(|error| fail_of(&error))?;
        file.remember(identify(&mut connection).await.unwrap_or_default());
        let slot = Slot {
            file: file.clone(),
            connection: Some(connection),
            group: Group::default(),
            connector,
            anchor: Some(anchor),
            log: beside(path, "-wal"),
            cut_at: CUT_BYTES,
        };
        Ok(Self {
            slot: Arc::new(Mutex::new(slot)),
            waiting: AtomicUsize::new(0),
            file,
            wait: Duration::from_secs(limits.database_acquire_seconds),
        })
    }

    /// # Errors
    /// `ReadOnly` where the file at the path is not the one that is open.
    pub(super) fn check_file(&self) -> Result<()> {
        self.file.check()
    }

    /// Waits for the turn to write, in the order of coming, and begins.
    pub(super) async fn turn(self: &Arc<Self>, size: Size, deadline: Deadline) -> Result<Turn> {
        let waiting = Waiting::new(&self.waiting);
        let slot = timeout_at(deadline, self.slot.clone().lock_owned())
            .await
            .map_err(|_| Error::busy("Others have been writing", self.wait))?;
        drop(waiting);
        // Of a failed begin nothing is left that would have to be undone.
        let mut turn = Turn { slot: Some(slot), writer: self.clone() };
        let begun = self.begin(turn.slot()?, size).await;
        if begun.is_err() {
            turn.slot = None;
        }
        begun.map(|()| turn)
    }

    async fn begin(&self, slot: &mut Slot, size: Size) -> Result<()> {
        self.file.check()?;
        // Reading first and writing later fails at once in SQLite's default mode when somebody else wrote in between.
        const BEGIN: &str = "BEGIN IMMEDIATE";
        if !slot.group.is_empty() && (size == Size::Large || slot.group.is_due()) {
            // The writers of the group receive the error; this write has nothing to do with it.
            let _ = slot.commit().await;
        }
        if !slot.group.is_empty() {
            let begun = slot.run("SAVEPOINT of_one").await;
            if begun.is_err() {
                slot.close();
            }
            return begun;
        }
        slot.group.began = Some(Instant::now());
        if let Some(connection) = &mut slot.connection {
            match connection.run(BEGIN).await {
                Ok(_) => return Ok(()),
                Err(error) if breaks(&error) => slot.connection = None,
                Err(error) => return Err(fail_of(&error)),
            }
        }
        // The file was checked just now, so that a new connection is to the same.
        let mut connection = slot.connector.connect().await.map_err(|error| fail_of(&error))?;
        connection.run(BEGIN).await.map_err(|error| fail_of(&error))?;
        slot.connection = Some(connection);
        Ok(())
    }

    /// Closes the connection, once nobody writes any more.
    pub(super) async fn close(&self) {
        let mut slot = self.slot.lock().await;
        let connections = [slot.anchor.take(), slot.connection.take()];
        if !self.file.is_there() {
            // The last connection that is closed copies the log into the file, which would damage a foreign one.
            std::mem::forget(connections);
            return;
        }
        // The writer is last: only it can copy the log into the file.
        for connection in connections.into_iter().flatten() {
            close(connection).await;
        }
    }

    /// Whether there is a connection, and whether nobody uses it.
    pub(super) fn count(&self) -> (u32, usize) {
        self.slot.try_lock().map_or((1, 0), |slot| (1, usize::from(slot.connection.is_some())))
    }
}

/// The database's `application_id`. A database without one gets a random one, by which a foreign file in its place is detected.
async fn identify(connection: &mut Connection) -> sqlx::Result<u32> {
    const ASK: &str = "PRAGMA application_id";
    let id = |rows: Vec<QueryResult>| rows.first().and_then(|row| row.try_get_by_index::<i32>(0).ok()).unwrap_or(0);
    if id(connection.run(ASK).await?) == 0 {
        connection.run("BEGIN IMMEDIATE").await?;
        // Another process may have set it.
        let set = match id(connection.run(ASK).await?) {
            0 => format!("PRAGMA application_id = {}; COMMIT", rand::random_range(1..i32::MAX)),
            _ => "COMMIT".to_owned(),
        };
        connection.run(set).await?;
        connection.run("PRAGMA wal_checkpoint(PASSIVE)").await?;
    }
    Ok(id(connection.run(ASK).await?).cast_unsigned())
}

/// The path of what SQLite keeps beside a file.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// A turn to write. One that is dropped undoes what was written in it.
pub(super) struct Turn {
    /// Nothing once the turn is over.
    slot: Option<OwnedMutexGuard<Slot>>,
    writer: Arc<Writer>,
}

impl Turn {
    fn slot(&mut self) -> Result<&mut Slot> {
        self.slot.as_deref_mut().ok_or_else(|| Error::internal("this turn to write is over"))
    }

    pub(super) fn connection(&mut self) -> DbResult<&mut Connection> {
        match &mut self.slot {
            Some(slot) => slot.connection(),
            None => Err(DbErr::Custom("this turn to write is over".to_owned())),
        }
    }

    /// Commits, alone or with others.
    pub(super) async fn commit(mut self) -> Result<()> {
        let slot = self.slot()?;
        if !slot.group.is_empty()
            && let Err(error) = slot.run("RELEASE of_one").await
        {
            slot.close();
            self.slot = None;
            return Err(error);
        }
        self.settle().await
    }

    /// Undoes what was written in this turn, and nothing that others have. What was read in it may be what others of the group have
    /// written: nobody is to answer by that before it is committed.
    pub(super) async fn roll_back(mut self) -> Result<()> {
        let slot = self.slot()?;
        let is_alone = slot.group.is_empty();
        let undone = slot.run(if is_alone { "ROLLBACK" } else { "ROLLBACK TO of_one; RELEASE of_one" }).await;
        if undone.is_err() {
            slot.close();
        }
        if undone.is_err() || is_alone {
            self.slot = None;
            return undone;
        }
        self.settle().await
    }

    /// Commits what is in the open transaction, now or when those who wait have had their turn.
    async fn settle(mut self) -> Result<()> {
        let waits = self.writer.waiting.load(Ordering::SeqCst) > 0;
        let slot = self.slot()?;
        if !waits || slot.group.is_due() {
            let outcome = slot.commit().await;
            self.slot = None;
            return outcome;
        }
        let (sender, mut outcome) = oneshot::channel();
        slot.group.written.push(sender);
        self.slot = None;
        let lost = || Err(Error::Unavailable("database: the group of this write has gone without a commit".to_owned()));
        let mut slot = tokio::select! {
            biased;
            outcome = &mut outcome => return outcome.unwrap_or_else(|_| lost()),
            slot = self.writer.slot.clone().lock_owned() => slot,
        };
        // Only who has the slot tells of an outcome, so that it was told by now or this one is in the group yet.
        match outcome.try_recv() {
            Ok(outcome) => outcome,
            Err(oneshot::error::TryRecvError::Closed) => lost(),
            Err(oneshot::error::TryRecvError::Empty) => slot.commit().await,
        }
    }

    /// Ends a turn in which something has happened after which the connection's state is not certain.
    pub(super) fn close(mut self) {
        if let Some(mut slot) = self.slot.take() {
            slot.close();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(mut slot) = self.slot.take() else { return };
        if slot.connection.is_none() {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let turn = Self { slot: Some(slot), writer: self.writer.clone() };
                // An error has closed the connection, and whoever the turn was of has their own.
                runtime.spawn(async move { turn.roll_back().await.is_ok() });
            }
            Err(_) => slot.close(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::super::pool::Place;
    use super::super::sqlite_options;
    use super::*;

    async fn open(path: &Path) -> Arc<Writer> {
        let limits = DatabaseLimits {
            database_connections: 16,
            sqlite_readers: None,
            database_user_connections: 4,
            database_acquire_seconds: 10,
            database_idle_seconds: 600,
            database_lifetime_seconds: 1_800,
            database_statement_seconds: 30,
            content_cache_bytes: 0,
        };
        let options = Box::new(sqlite_options(&format!("sqlite://{}", path.display())).unwrap());
        OpenFile::make(path);
        let file = Arc::new(OpenFile::at(path));
        let connector = Connector::new(Place::Sqlite { options, file: file.clone() }, &limits);
        Arc::new(Writer::open(connector, path, file, &limits).await.unwrap())
    }

    #[tokio::test]
    async fn a_large_write_keeps_nobody_waiting_who_has_written() {
        let folder = std::env::temp_dir().join(crate::model::clock::new_id().to_string());
        std::fs::create_dir(&folder).unwrap();
        let writer = open(&folder.join("antiphon.db")).await;
        let mut small = writer.turn(Size::Small, Deadline::now() + Duration::from_secs(10)).await.unwrap();
        small.connection().unwrap().run("CREATE TABLE written (n integer)").await.unwrap();
        let next = writer.clone();
        let large =
            tokio::spawn(async move { next.turn(Size::Large, Deadline::now() + Duration::from_secs(10)).await });
        while writer.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let small = tokio::spawn(small.commit());
        let large = large.await.unwrap().unwrap();
        timeout(Duration::from_secs(10), small).await.unwrap().unwrap().unwrap();
        large.commit().await.unwrap();
        writer.close().await;
        std::fs::remove_dir_all(folder).unwrap();
    }
}
