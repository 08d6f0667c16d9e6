//! What users do in a project, in numbers: the activity of single revisions, and its sums per quarter of an hour, user and
//! file. All time zones since 2023 are whole quarters from UTC, so these sums can be added up to the hours of any zone.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::{Error, Result};
use super::ids::{FileId, UserId};

/// Number of revisions in a segment.
pub const SEGMENT: i32 = 256;

/// Length of a quarter of an hour, in seconds.
pub const QUARTER: i64 = 15 * 60;

/// Counts of what was done. A session's end and its length count when it ends.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub revisions: u64,
    pub user_messages: u64,
    pub assistant_messages: u64,
    pub system_messages: u64,
    pub checkpoints: u64,
    pub sessions_started: u64,
    pub sessions_ended: u64,
    /// The length of the ended sessions.
    pub session_microseconds: u64,
    /// Revisions that can be undone and are not undos or redos themselves.
    pub undoable: u64,
    pub restores: u64,
    pub undos: u64,
    pub redos: u64,
}

impl Counts {
    /// Adds other counts.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.each_mut().into_iter().zip(other.clone().each_mut()) {
            *own = own.saturating_add(*other);
        }
    }

    fn each_mut(&mut self) -> [&mut u64; 12] {
        [
            &mut self.revisions,
            &mut self.user_messages,
            &mut self.assistant_messages,
            &mut self.system_messages,
            &mut self.checkpoints,
            &mut self.sessions_started,
            &mut self.sessions_ended,
            &mut self.session_microseconds,
            &mut self.undoable,
            &mut self.restores,
            &mut self.undos,
            &mut self.redos,
        ]
    }

    /// The length of the ended sessions in seconds.
    pub fn session_seconds(&self) -> f64 {
        // Exact up to 2^53 microseconds, which are 285 years.
        self.session_microseconds as f64 / 1e6
    }

    /// Messages of all roles.
    pub fn messages(&self) -> u64 {
        self.user_messages.saturating_add(self.assistant_messages).saturating_add(self.system_messages)
    }
}

/// Changes of one file.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChanges {
    pub changes: u64,
    pub lines_added: u64,
    pub lines_removed: u64,
}

impl FileChanges {
    /// Adds other changes.
    pub fn add(&mut self, other: &Self) {
        self.changes = self.changes.saturating_add(other.changes);
        self.lines_added = self.lines_added.saturating_add(other.lines_added);
        self.lines_removed = self.lines_removed.saturating_add(other.lines_removed);
    }
}

/// What a user did in one revision. The revision that ends the session of another user has two of these.
#[derive(Clone, Debug)]
pub struct Activity {
    /// The time of the revision.
    pub at: DateTime<Utc>,
    /// The user; `None` if they no longer exist.
    pub user: Option<UserId>,
    /// What was done.
    pub counts: Counts,
    /// The changes of files.
    pub files: Vec<(FileId, FileChanges)>,
}

/// What a user did in a quarter of an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The number of the quarter since the epoch.
    pub quarter: i64,
    /// The user; `None` if they no longer exist.
    pub user: Option<UserId>,
    /// What was done.
    pub counts: Counts,
    /// The changes of files.
    pub files: BTreeMap<FileId, FileChanges>,
}

/// The number of the quarter that contains a time.
pub fn quarter_of(time: DateTime<Utc>) -> i64 {
    time.timestamp().div_euclid(QUARTER)
}

/// Sums activity by quarter and user, in this order.
pub fn sum<'a>(activity: impl IntoIterator<Item = &'a Activity>) -> Vec<Cell> {
    let mut cells: BTreeMap<(i64, Option<UserId>), Cell> = BTreeMap::new();
    for one in activity {
        let (quarter, user) = (quarter_of(one.at), one.user);
        let empty = || Cell { quarter, user, counts: Counts::default(), files: BTreeMap::new() };
        let cell = cells.entry((quarter, user)).or_insert_with(empty);
        cell.counts.add(&one.counts);
        for (file, changes) in &one.files {
            cell.files.entry(*file).or_default().add(changes);
        }
    }
    cells.into_values().collect()
}

/// The stored form of cells: users and files are numbered, and quarters are relative to the one before.
#[derive(Serialize, Deserialize)]
struct Packed {
    users: Vec<[u8; 16]>,
    files: Vec<[u8; 16]>,
    cells: Vec<PackedCell>,
}

#[derive(Serialize, Deserialize)]
struct PackedCell {
    quarters_later: i64,
    user: Option<u32>,
    counts: Counts,
    files: Vec<(u32, FileChanges)>,
}

/// Encodes cells for the database. Equal cells have equal bytes.
///
/// # Errors
/// `Internal` for more than 2^32 files.
pub fn pack(cells: &[Cell]) -> Result<Vec<u8>> {
    let users: BTreeSet<Uuid> = cells.iter().filter_map(|cell| Some(cell.user?.0)).collect();
    let files: BTreeSet<Uuid> = cells.iter().flat_map(|cell| cell.files.keys().map(|file| file.0)).collect();
    let numbers = |ids: &BTreeSet<Uuid>| ids.iter().copied().zip(0_u32..).collect::<BTreeMap<Uuid, u32>>();
    let (user_numbers, file_numbers) = (numbers(&users), numbers(&files));
    let number = |file: &FileId| file_numbers.get(&file.0).copied().ok_or_else(|| Error::internal("too many files"));
    let mut before = 0;
    let mut packed = Vec::with_capacity(cells.len());
    for cell in cells {
        let files = cell.files.iter().map(|(file, changes)| Ok((number(file)?, *changes)));
        packed.push(PackedCell {
            quarters_later: cell.quarter - before,
            user: cell.user.and_then(|user| user_numbers.get(&user.0).copied()),
            counts: cell.counts,
            files: files.collect::<Result<_>>()?,
        });
        before = cell.quarter;
    }
    let ids = |ids: BTreeSet<Uuid>| ids.into_iter().map(Uuid::into_bytes).collect();
    let packed = Packed { users: ids(users), files: ids(files), cells: packed };
    postcard::to_stdvec(&packed).map_err(Error::internal)
}

/// Decodes cells from the database.
///
/// # Errors
/// `Internal` if they are damaged.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Cell>> {
    let damaged = |why: &str| Error::internal(format!("a segment of a project's activity is damaged: {why}"));
    let packed: Packed = postcard::from_bytes(bytes).map_err(|error| damaged(&error.to_string()))?;
    let id = |ids: &[[u8; 16]], number: u32| {
        let id = usize::try_from(number).ok().and_then(|number| ids.get(number));
        id.map(|id| Uuid::from_bytes(*id)).ok_or_else(|| damaged("it has a number without an id"))
    };
    let mut quarter: i64 = 0;
    let mut cells = Vec::with_capacity(packed.cells.len());
    for cell in packed.cells {
        quarter = quarter.saturating_add(cell.quarters_later);
        let user = cell.user.map(|user| id(&packed.users, user).map(UserId)).transpose()?;
        let files = cell.files.into_iter().map(|(file, changes)| Ok((FileId(id(&packed.files, file)?), changes)));
        cells.push(Cell { quarter, user, counts: cell.counts, files: files.collect::<Result<_>>()? });
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_stored_and_read_back() {
        let [ada, bob] = [1, 2].map(|n| Some(UserId(Uuid::from_u128(n))));
        let [a, b] = [3, 4].map(|n| FileId(Uuid::from_u128(n)));
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let done = |time: &str, user, files: &[(FileId, u64)]| Activity {
            at: at(time),
            user,
            counts: Counts { revisions: 1, user_messages: 2, ..Counts::default() },
            files: files
                .iter()
                .map(|(file, lines_added)| {
                    (*file, FileChanges { changes: 1, lines_added: *lines_added, lines_removed: 0 })
                })
                .collect(),
        };
        let activity = [
            done("2026-01-01T00:14:59.999999Z", ada, &[(a, 300)]),
            done("2026-01-01T00:15:00Z", ada, &[(a, 1), (b, 2)]),
            done("2026-01-01T00:29:59Z", bob, &[(b, 4)]),
            done("2026-01-01T00:29:59Z", ada, &[(b, 4)]),
            done("1969-12-31T23:59:59Z", None, &[]),
        ];
        let cells = sum(&activity);
        let counted = |cell: &Cell| {
            let added: u64 = cell.files.values().map(|changes| changes.lines_added).sum();
            (cell.quarter, cell.user, cell.counts.revisions, cell.counts.messages(), added)
        };
        let counted: Vec<_> = cells.iter().map(counted).collect();
        let first = at("2026-01-01T00:00:00Z").timestamp() / QUARTER;
        let expected =
            [(-1, None, 1, 2, 0), (first, ada, 1, 2, 300), (first + 1, ada, 2, 4, 7), (first + 1, bob, 1, 2, 4)];
        assert_eq!(counted, expected);
        let bytes = pack(&cells).unwrap();
        assert_eq!(unpack(&bytes).unwrap(), cells);
        assert_eq!(pack(&sum(activity.iter().rev())).unwrap(), bytes);
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let cell = Cell { quarter: 5, user: None, counts: Counts::default(), files: BTreeMap::new() };
        let bytes = pack(&[cell]).unwrap();
        for end in 0..bytes.len() {
            assert!(unpack(&bytes[..end]).is_err(), "{end}");
        }
        // A user's number without a user.
        let packed = Packed {
            users: Vec::new(),
            files: Vec::new(),
            cells: vec![PackedCell { quarters_later: 0, user: Some(7), counts: Counts::default(), files: Vec::new() }],
        };
        assert!(unpack(&postcard::to_stdvec(&packed).unwrap()).is_err());
        assert!(unpack(&[0xff; 40]).is_err());
    }
}
