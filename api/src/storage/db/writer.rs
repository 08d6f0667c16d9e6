//! The connection that writes to a SQLite file, and the turns of its users.
//!
//! **Group commit.** The wait for the disk is the same for one write or for many. So a write that finishes while others
//! wait for their turn does not commit: it leaves its rows in the open transaction, passes the turn on, and waits for
//! its own turn again, in order. Each write of a group after the first is a savepoint, so that a failing one is undone
//! alone. If a write's turn comes again before anyone has committed, it commits the group, and all writes of the group
//! are acknowledged, or all fail. A lone writer commits at once.
//!
//! A large write takes longer than any wait for the disk. It commits the group before it starts, and commits itself at
//! its end, so that finished writes do not wait for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{DbErr, QueryResult};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::time::{Instant as Deadline, timeout_at};

use super::Size;
use super::connection::{Connection, DbResult, breaks};
use super::file::{OpenFile, Stamp};
use super::pool::{Connector, close};
use crate::model::error::{Error, Result};
use crate::model::limits::DatabaseLimits;
use crate::storage::failure::{fail, fail_of};

/// Maximum number of writes in a group. Each then bears a 64th of the wait for the disk; more gain little.
const GROUP_WRITES: usize = 64;

/// Age of a transaction at which the next finished writer commits it, since the first of a group waits for the whole
/// group.
const GROUP_TIME: Duration = Duration::from_millis(20);

/// Size at which the write-ahead log is truncated.
const CUT_BYTES: u64 = 64 * 1024 * 1024;

/// Longest time that truncation waits for readers, in which no one can write.
const CUT_WAIT_MS: u64 = 200;

/// The writer of a SQLite file.
pub(super) struct Writer {
    slot: Arc<Mutex<Slot>>,
    /// Number of tasks that wait for a turn, without those that wait for a commit.
    waiting: AtomicUsize,
    file: Arc<OpenFile>,
    wait: Duration,
}

/// What the holder of the turn uses.
struct Slot {
    file: Arc<OpenFile>,
    /// `None` if the connection was closed because its state was uncertain.
    connection: Option<Connection>,
    /// The stamp of the last commit before the open transaction.
    stamp: Stamp,
    group: Group,
    connector: Connector,
    /// A reader that prevents the log from being read again, as the first connection to a file does.
    anchor: Option<Connection>,
    /// The log's path, and the size at which it is truncated.
    log: PathBuf,
    cut_at: u64,
}

/// Finished but uncommitted writes. If there are any, the connection is in a transaction.
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

    /// Notifies all waiting writers of the outcome.
    fn tell(&mut self, outcome: &Result<()>) {
        for writer in self.written.drain(..) {
            // A writer that does not wait any more ignores it.
            let _ = writer.send(outcome.clone());
        }
        self.began = None;
    }
}

impl Slot {
    /// Closes the connection, whose state is uncertain. The writes of the group are lost.
    fn close(&mut self) {
        self.connection = None;
        self.group
            .tell(&Err(Error::Unavailable("database: the writer's connection was lost before the commit".to_owned())));
    }

    fn connection(&mut self) -> DbResult<&mut Connection> {
        self.connection.as_mut().ok_or_else(|| DbErr::Custom("the connection of this transaction was lost".to_owned()))
    }

    /// Closes the connection, which can have read wrong contents, and tells the group why nothing is written.
    fn refuse(&mut self, error: Error) -> Error {
        self.connection = None;
        self.group.tell(&Err(error.clone()));
        error
    }

    async fn run(&mut self, text: impl Into<String>) -> Result<()> {
        let ran = self.connection().map_err(fail)?.run(text).await;
        ran.map(drop).map_err(|error| fail_of(&self.file.explain(error)))
    }

    /// Commits the open transaction and sends the result to all of the group.
    async fn commit(&mut self) -> Result<()> {
        if let Err(error) = self.file.check() {
            // A COMMIT can also write to the file (a checkpoint).
            return Err(self.refuse(error));
        }
        let stamp = self.stamp.next();
        let outcome = self.run(format!("PRAGMA user_version = {}; COMMIT", stamp.user_version())).await;
        match outcome {
            Ok(()) => self.file.committed(stamp),
            Err(_) => self.forget_commit().await,
        }
        self.group.tell(&outcome);
        self.cut_log().await;
        outcome
    }

    /// Truncates the log when it is large. SQLite restarts it only at a moment without readers, so that with
    /// overlapping readers it would grow forever. Waits a short time for current readers.
    async fn cut_log(&mut self) {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        if size(&self.log) < self.cut_at {
            return;
        }
        // Each begin sets its own wait.
        let cut = format!("PRAGMA busy_timeout = {CUT_WAIT_MS}; PRAGMA wal_checkpoint(TRUNCATE)");
        if let Some(connection) = &mut self.connection
            && let Err(error) = connection.run(cut).await
        {
            tracing::warn!(%error, "the log of the database file was not cut");
            self.connection = None;
        }
        // A long-running reader prevents it: try again when the log has grown by the same size.
        self.cut_at = size(&self.log) + CUT_BYTES;
    }
}

impl Slot {
    /// Invalidates the remains of a failed commit. If only the wait for the disk failed, the log may contain all of it:
    /// no connection sees it while one is open (the anchor), but after a crash the next connection would treat it as
    /// committed. The next commit overwrites it, so make an empty one at once.
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

/// Counts a waiting task.
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
    /// Opens the file, and creates it if it is missing.
    pub(super) async fn open(
        connector: Connector,
        path: &Path,
        file: Arc<OpenFile>,
        limits: &DatabaseLimits,
    ) -> Result<Self> {
        let connect = async { Ok((connector.connect().await?, connector.connect().await?)) };
        let (mut connection, anchor) = connect.await.map_err(|error| fail_of(&error))?;
        let id = identify(&mut connection).await.unwrap_or_default();
        let stamp = connection.run("PRAGMA user_version").await.map_err(|error| fail_of(&error))?;
        let stamp = stamp_of(&stamp);
        file.remember(id, stamp);
        let slot = Slot {
            file: file.clone(),
            connection: Some(connection),
            stamp,
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
    /// `ReadOnly` if the file at the path is not the open one.
    pub(super) fn check_file(&self) -> Result<()> {
        self.file.check()
    }

    /// Waits for the turn to write, in order of arrival, and begins.
    pub(super) async fn turn(self: &Arc<Self>, size: Size, deadline: Deadline) -> Result<Turn> {
        let waiting = Waiting::new(&self.waiting);
        let slot = timeout_at(deadline, self.slot.clone().lock_owned())
            .await
            .map_err(|_| Error::busy("Others have been writing", self.wait))?;
        drop(waiting);
        // After a failed begin there is nothing to undo.
        let mut turn = Turn { slot: Some(slot), writer: self.clone() };
        let begun = self.begin(turn.slot()?, size, deadline).await;
        if begun.is_err() {
            turn.slot = None;
        }
        begun.map(|()| turn)
    }

    async fn begin(&self, slot: &mut Slot, size: Size, deadline: Deadline) -> Result<()> {
        if let Err(error) = self.file.check() {
            return Err(slot.refuse(error));
        }
        if !slot.group.is_empty() && (size == Size::Large || slot.group.is_due()) {
            // The writers of the group receive the error; it does not affect this write.
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
            match connection.run(begin_until(deadline)).await {
                Ok(rows) => {
                    slot.stamp = stamp_of(&rows);
                    return Ok(());
                }
                Err(error) => {
                    let error = self.file.explain(error);
                    let is_broken = breaks(&error);
                    let error = fail_of(&error);
                    // Another process writes: the wait is over, and the connection is as before.
                    if !is_broken || matches!(error, Error::RateLimited { .. }) {
                        return Err(error);
                    }
                    slot.connection = None;
                }
            }
        }
        // The file was just checked, so a new connection opens the same one.
        let mut connection = slot.connector.connect().await.map_err(|error| fail_of(&error))?;
        let rows = connection.run(begin_until(deadline)).await.map_err(|error| fail_of(&self.file.explain(error)))?;
        slot.stamp = stamp_of(&rows);
        slot.connection = Some(connection);
        Ok(())
    }

    /// Closes the connection when there are no writers.
    pub(super) async fn close(&self) {
        let mut slot = self.slot.lock().await;
        let connections = [slot.anchor.take(), slot.connection.take()];
        if !self.file.is_there() {
            // The last connection that is closed copies the log into the file, which would damage another file there.
            std::mem::forget(connections);
            return;
        }
        // The writer is last: only it can copy the log into the file.
        for connection in connections.into_iter().flatten() {
            close(connection).await;
        }
    }

    /// Whether there is a connection, and whether it is idle.
    pub(super) fn count(&self) -> (u32, usize) {
        self.slot.try_lock().map_or((1, 0), |slot| (1, usize::from(slot.connection.is_some())))
    }
}

/// Begins a write transaction, and reads the stamp of the last commit. Other processes that write are waited for until the deadline. In
/// SQLite's default mode, a transaction that reads first fails when it writes, if another write came in between.
fn begin_until(deadline: Deadline) -> String {
    let left = deadline.saturating_duration_since(Deadline::now()).as_millis();
    format!("PRAGMA busy_timeout = {left}; BEGIN IMMEDIATE; PRAGMA user_version")
}

/// The stamp in the last row.
fn stamp_of(rows: &[QueryResult]) -> Stamp {
    Stamp::of(rows.last().and_then(|row| row.try_get_by_index::<i32>(0).ok()).unwrap_or(0))
}

/// The database's `application_id`. A database without one gets a random one, which helps to detect a different file at its path.
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

/// The path of one of SQLite's files next to the database.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// A turn to write. Dropping it rolls back.
pub(super) struct Turn {
    /// `None` when the turn is over.
    slot: Option<OwnedMutexGuard<Slot>>,
    writer: Arc<Writer>,
}

impl Turn {
    fn slot(&mut self) -> Result<&mut Slot> {
        self.slot.as_deref_mut().ok_or_else(|| Error::internal("this turn to write is over"))
    }

    pub(super) fn file(&self) -> &Arc<OpenFile> {
        &self.writer.file
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

    /// Rolls back this write, and only this one. It may have read uncommitted rows of the group, so its result must not
    /// be used before the group is committed.
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

    /// Commits the open transaction, now or after the waiting writers had their turns.
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
        // Only the holder of the slot sends outcomes, so either it was sent before, or this write is still in the
        // group.
        match outcome.try_recv() {
            Ok(outcome) => outcome,
            Err(oneshot::error::TryRecvError::Closed) => lost(),
            Err(oneshot::error::TryRecvError::Empty) => slot.commit().await,
        }
    }

    /// Ends a turn after an event that left the connection in an uncertain state.
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
                // An error closes the connection, and the owner of the turn gets its own error.
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
