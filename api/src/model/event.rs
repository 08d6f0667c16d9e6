//! Entries of a project's log.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::enums::EventKind;
use super::ids::{FileId, MessageId, ProjectId, ProjectSnapshotId, SessionId, UserId};

/// An entry of the log.
#[derive(Clone, Debug)]
pub struct Event {
    /// The project.
    pub project_id: ProjectId,
    /// The revision.
    pub revision: i32,
    /// The kind of change.
    pub kind: EventKind,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// The user who made the change.
    pub actor_id: Option<UserId>,
    /// The session it belongs to.
    pub session_id: Option<SessionId>,
    /// The message that it added, or that it was made for.
    pub message_id: Option<MessageId>,
}

/// A notification that a project has changed. It carries no data: subscribers read the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The log has reached a revision.
    Advanced(i32),
    /// Something that is not in the log has changed.
    SideChange,
    /// Notifications can be lost: read everything again.
    Resync,
}

/// Which revisions of a project undo which.
#[derive(Clone, Debug, Default)]
pub struct Undos {
    undoes: BTreeMap<i32, Vec<i32>>,
    undone_by: BTreeMap<i32, i32>,
    /// For each undo, whether it removes a change (true) or restores one (false).
    is_undo_of_change: BTreeMap<i32, bool>,
}

impl Undos {
    /// Builds the relation from pairs of an undo and a revision that it undoes. If an undo is undone itself, the
    /// changes that it undid are present again.
    pub fn new(pairs: &[(i32, i32)]) -> Self {
        let mut undos = Self::default();
        for (revision, undone) in pairs {
            undos.undoes.entry(*revision).or_default().push(*undone);
        }
        for (revision, undone) in &undos.undoes {
            let is_redo = undone.iter().any(|undone| undos.is_undo_of_change.get(undone) == Some(&true));
            undos.is_undo_of_change.insert(*revision, !is_redo);
        }
        // Newest first: the newest undo is not undone by a later one.
        for (revision, undone) in undos.undoes.iter().rev() {
            if !undos.undone_by.contains_key(revision) {
                for undone in undone {
                    undos.undone_by.entry(*undone).or_insert(*revision);
                }
            }
        }
        undos
    }

    /// The revisions that `revision` undoes, oldest first; empty unless it is an undo.
    pub fn undoes(&self, revision: i32) -> &[i32] {
        self.undoes.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// The revision that currently undoes `revision`.
    pub fn undone_by(&self, revision: i32) -> Option<i32> {
        self.undone_by.get(&revision).copied()
    }

    /// The undos of changes, newest first. A redo, which undoes an undo, is not one of them.
    pub fn of_changes(&self) -> impl Iterator<Item = i32> {
        self.undoes.keys().rev().copied().filter(|revision| self.is_undo_of_change.get(revision) == Some(&true))
    }

    /// Whether `revision` is the undo of a change (true) or of an undo (false); `None` if it is no undo.
    pub fn is_undo_of_change(&self, revision: i32) -> Option<bool> {
        self.is_undo_of_change.get(&revision).copied()
    }
}

/// Which changes of files are undone.
#[derive(Clone, Debug, Default)]
pub struct UndoneFiles(HashMap<i32, HashSet<FileId>>);

impl UndoneFiles {
    /// Reads rows of an undo's revision, the revision that it undoes, and the file. Undoing an undo makes the change
    /// effective again.
    pub fn new(mut rows: Vec<(i32, i32, FileId)>) -> Self {
        // Newest first: later undos decide whether an earlier one is effective.
        rows.sort_by_key(|(revision, ..)| Reverse(*revision));
        let mut undone = Self::default();
        for (revision, taken, file) in rows {
            if !undone.has(revision, file) {
                undone.0.entry(taken).or_default().insert(file);
            }
        }
        undone
    }

    /// Whether the change of a file in a revision is undone.
    pub fn has(&self, revision: i32, file: FileId) -> bool {
        self.0.get(&revision).is_some_and(|files| files.contains(&file))
    }

    /// The number of files whose change in a revision is undone.
    pub fn count(&self, revision: i32) -> usize {
        self.0.get(&revision).map_or(0, HashSet::len)
    }
}

/// A revision and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AsOf {
    /// The revision.
    pub revision: i32,
    /// When it was written.
    pub time: DateTime<Utc>,
}

/// A reference to a point in a project's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// A revision.
    Revision(i32),
    /// The last revision at or before a time.
    Time(DateTime<Utc>),
    /// The state of a message: for a checkpoint, with the files written for it.
    Message(MessageId),
    /// The revision of a snapshot.
    Snapshot(ProjectSnapshotId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undoing_an_undo_restores_the_change() {
        // 5 undoes 4, 6 undoes 3, 7 restores 3, 8 undoes 2 and 3.
        let undos = Undos::new(&[(5, 4), (6, 3), (7, 6), (8, 2), (8, 3)]);
        let by: Vec<Option<i32>> = (1..=8).map(|revision| undos.undone_by(revision)).collect();
        assert_eq!(by, [None, Some(8), Some(8), Some(5), None, Some(7), None, None]);
        assert_eq!(undos.undoes(8), [2, 3]);
        assert_eq!(undos.of_changes().collect::<Vec<_>>(), [8, 6, 5]);
        assert_eq!(Undos::new(&[(5, 4), (6, 5), (7, 6)]).undone_by(4), Some(5));
    }

    #[test]
    fn changes_are_taken_back_file_by_file() {
        let [a, b] = [1, 2].map(|n| FileId(uuid::Uuid::from_u128(n)));
        // 5 undoes the change of 3 to both files, 6 restores one of them, 8 undoes it again.
        let undone = UndoneFiles::new(vec![(5, 3, a), (5, 3, b), (6, 5, a)]);
        assert_eq!((undone.has(3, a), undone.has(3, b), undone.has(5, a), undone.count(3)), (false, true, true, 1));
        let undone = UndoneFiles::new(vec![(5, 3, a), (5, 3, b), (6, 5, a), (8, 3, a)]);
        assert_eq!((undone.count(3), undone.count(5), undone.count(4)), (2, 1, 0));
    }
}
