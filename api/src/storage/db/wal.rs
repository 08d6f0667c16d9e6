//! Positions in PostgreSQL's write-ahead log (WAL), and what a replica must have replayed before it answers a user.
//!
//! A commit has a position. A replica that has replayed it shows the commit. A server knows the positions of its own
//! commits, and those that other servers have announced. It asks the primary for its position once per second, and
//! after announcements may have been lost: all commits until then are at or before it.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use parking_lot::Mutex;
use sea_orm::QueryResult;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connection::DbResult;
use crate::model::ids::UserId;

/// Number of users with a position of their own.
const MAX_WRITERS: usize = 10_000;

/// Interval at which the primary is asked for its position.
const ASK_PERIOD: Duration = Duration::from_secs(1);

/// Columns with the primary's position, which follows all commits until now.
pub(super) const PRIMARY_POSITION: &str = "SELECT left(pg_walfile_name(wal.lsn), 8) AS timeline, wal.lsn::text AS lsn \
     FROM (SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END AS lsn) AS wal";

/// A position in the WAL. A promoted standby continues the positions on another timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalPosition {
    timeline: u32,
    lsn: u64,
}

impl WalPosition {
    pub(super) fn new(timeline: u32, lsn: &str) -> Option<Self> {
        Some(Self { timeline, lsn: parse_lsn(lsn)? })
    }

    /// Reads the columns of [`PRIMARY_POSITION`]; `None` on a standby.
    pub(super) fn of(row: &QueryResult) -> DbResult<Option<Self>> {
        let (timeline, lsn): (Option<String>, Option<String>) = (row.try_get("", "timeline")?, row.try_get("", "lsn")?);
        let timeline = timeline.and_then(|timeline| u32::from_str_radix(&timeline, 16).ok());
        Ok(timeline.zip(lsn).and_then(|(timeline, lsn)| Self::new(timeline, &lsn)))
    }

    /// Whether a replica at this position has everything up to another one. A replica of an old timeline can have a
    /// greater number, but lacks the commits of the new one.
    pub(super) fn reaches(self, other: Self) -> bool {
        self.timeline >= other.timeline && self.lsn >= other.lsn
    }

    fn max(self, other: Self) -> Self {
        Self { timeline: self.timeline.max(other.timeline), lsn: self.lsn.max(other.lsn) }
    }
}

/// The number of a position such as `0/16B3748`.
fn parse_lsn(text: &str) -> Option<u64> {
    /// Size of a page, and of the header that each begins with.
    const PAGE: (u64, u64) = (8192, 24);
    let (high, low) = text.split_once('/')?;
    let lsn = u64::from_str_radix(high, 16).ok()? << 32 | u64::from(u32::from_str_radix(low, 16).ok()?);
    // The next record begins after the header, but the last one ends before it, and a replica reports its end.
    Some(if lsn % PAGE.0 == PAGE.1 { lsn - PAGE.1 } else { lsn })
}

impl fmt::Display for WalPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}/{:X}", self.timeline, self.lsn >> 32, self.lsn & u64::from(u32::MAX))
    }
}

impl FromStr for WalPosition {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (timeline, lsn) = text.split_once('/').ok_or(())?;
        Self::new(u32::from_str_radix(timeline, 16).map_err(|_| ())?, lsn).ok_or(())
    }
}

/// The state of the database that a read needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The present one. Only the primary has it.
    Present,
    /// One with the user's own writes.
    Own,
    /// One with every write that this server knows of.
    Known,
}

/// The positions that a server knows.
#[derive(Default)]
pub struct Positions {
    known: Mutex<Known>,
    forgotten: Notify,
    announce: Mutex<Option<Announce>>,
}

/// Announces a commit to other servers.
type Announce = Box<dyn Fn(UserId, WalPosition) + Send + Sync>;

#[derive(Default)]
struct Known {
    /// How often positions were forgotten.
    generation: u64,
    /// `None` if commits may be missing.
    bounds: Option<Bounds>,
    /// The newest commit of each user, if it is after the floor.
    writers: HashMap<UserId, WalPosition>,
}

#[derive(Clone, Copy)]
struct Bounds {
    /// What every read needs.
    floor: WalPosition,
    /// The newest known position.
    newest: WalPosition,
}

impl Known {
    fn raise(&mut self, position: WalPosition) {
        match &mut self.bounds {
            // After a failover, what replicas of the old timeline have is uncertain.
            Some(bounds) if bounds.newest.timeline < position.timeline => {
                *bounds = Bounds { floor: position, newest: position };
                self.writers.clear();
            }
            Some(bounds) => bounds.newest = bounds.newest.max(position),
            None => {}
        }
    }

    fn add(&mut self, user: UserId, position: WalPosition) {
        self.raise(position);
        if self.writers.len() >= MAX_WRITERS && !self.writers.contains_key(&user) {
            match &mut self.bounds {
                Some(bounds) => bounds.floor = bounds.newest,
                None => self.generation += 1,
            }
            self.writers.clear();
        }
        self.writers.entry(user).and_modify(|known| *known = known.max(position)).or_insert(position);
    }
}

impl Positions {
    /// Sets the function that announces this server's commits.
    pub(super) fn announce_by(&self, announce: Announce) {
        *self.announce.lock() = Some(announce);
    }

    /// Adds a commit of this server.
    pub(super) fn wrote(&self, user: UserId, position: WalPosition) {
        self.known.lock().add(user, position);
        if let Some(announce) = &*self.announce.lock() {
            announce(user, position);
        }
    }

    /// Adds a commit that another server has announced.
    pub fn was_written(&self, user: UserId, position: WalPosition) {
        self.known.lock().add(user, position);
    }

    /// These users may have been notified of all known writes.
    pub fn were_notified<'u>(&self, users: impl IntoIterator<Item = &'u UserId>) {
        let mut known = self.known.lock();
        let Some(Bounds { newest, .. }) = known.bounds else { return };
        users.into_iter().for_each(|user| known.add(*user, newest));
    }

    /// Commits may be missing: the primary must be asked first.
    pub fn forget(&self) {
        let mut known = self.known.lock();
        *known = Known { generation: known.generation + 1, ..Known::default() };
        drop(known);
        self.forgotten.notify_one();
    }

    /// Adds the primary's position.
    pub(super) fn primary_is_at(&self, position: WalPosition) {
        self.known.lock().raise(position);
    }

    /// The newest known position.
    pub(super) fn newest(&self) -> Option<WalPosition> {
        self.known.lock().bounds.map(|bounds| bounds.newest)
    }

    /// What a replica must have replayed for a read; `None` if only the primary can answer it.
    pub(super) fn needed(&self, needs: Needs, user: UserId) -> Option<WalPosition> {
        let known = self.known.lock();
        let Bounds { floor, newest } = known.bounds?;
        match needs {
            Needs::Present => None,
            Needs::Own => Some(known.writers.get(&user).map_or(floor, |own| own.max(floor))),
            Needs::Known => Some(newest),
        }
    }

    /// Asks the primary regularly, until dropped.
    pub(super) async fn keep<F: Future<Output = Option<WalPosition>>>(&self, ask: impl Fn() -> F) {
        loop {
            let generation = self.known.lock().generation;
            if let Some(position) = ask().await {
                let mut known = self.known.lock();
                known.raise(position);
                // A position that was asked for earlier does not cover the writes that were forgotten since.
                if known.bounds.is_none() && known.generation == generation {
                    let newest = known.writers.values().copied().fold(position, WalPosition::max);
                    known.bounds = Some(Bounds { floor: position, newest });
                }
            }
            let _ = timeout(ASK_PERIOD, self.forgotten.notified()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(text: &str) -> WalPosition {
        text.parse().unwrap()
    }

    async fn known(positions: &Positions, primary: &str) {
        let asked = timeout(Duration::from_millis(1), positions.keep(async || Some(at(primary)))).await;
        assert!(asked.is_err());
    }

    #[test]
    fn a_position_is_read_as_it_was_written() {
        for text in ["1/0/16B3748", "A/FFFFFFFF/1", "1/0/0"] {
            assert_eq!(at(text).to_string(), text);
        }
        assert_eq!(at("1/0/2000018"), at("1/0/2000000"));
        for text in ["", "1", "1/2", "x/0/1", "1/0/x", "1/0/100000000"] {
            assert!(text.parse::<WalPosition>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_user_needs_their_own_writes_and_everybody_the_floor() {
        let [ada, bob] = [1, 2].map(|id| UserId(Uuid::from_u128(id)));
        let positions = Positions::default();
        positions.wrote(ada, at("1/0/50"));
        assert_eq!(positions.needed(Needs::Own, ada), None);
        known(&positions, "1/0/100").await;
        positions.wrote(ada, at("1/0/300"));
        positions.was_written(ada, at("1/0/200"));
        assert_eq!(positions.needed(Needs::Own, ada), Some(at("1/0/300")));
        assert_eq!(positions.needed(Needs::Own, bob), Some(at("1/0/100")));
        assert_eq!(positions.needed(Needs::Known, bob), Some(at("1/0/300")));
        assert_eq!(positions.needed(Needs::Present, bob), None);
        positions.were_notified([&bob]);
        assert_eq!(positions.needed(Needs::Own, bob), Some(at("1/0/300")));

        // After a failover, a replica of the old timeline does not suit, whatever its number is.
        positions.was_written(ada, at("2/0/250"));
        let needed = positions.needed(Needs::Own, bob).unwrap();
        assert!(!at("1/0/999").reaches(needed) && at("2/0/250").reaches(needed) && !at("2/0/249").reaches(needed));

        positions.forget();
        assert_eq!(positions.needed(Needs::Own, bob), None);
        known(&positions, "2/0/400").await;
        assert_eq!(positions.needed(Needs::Own, ada), Some(at("2/0/400")));
    }

    #[tokio::test]
    async fn the_positions_of_many_users_are_bounded() {
        let positions = Positions::default();
        known(&positions, "1/0/1").await;
        for id in 0..=MAX_WRITERS as u128 {
            positions.wrote(UserId(Uuid::from_u128(id)), WalPosition { timeline: 1, lsn: 2 + id as u64 });
        }
        assert!(positions.known.lock().writers.len() <= MAX_WRITERS);
        let needed = positions.needed(Needs::Own, UserId(Uuid::from_u128(MAX_WRITERS as u128 - 1))).unwrap();
        assert!(needed.lsn > MAX_WRITERS as u64);
    }
}
