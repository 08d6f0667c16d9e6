//! Entries of a project's log.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::ids::{FileId, MessageId, ProjectId, ProjectSnapshotId, SessionId, UserId};
use super::names::EventKind;

/// One revision: who did what, when, and for which conversation.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its project.
    pub project_id: ProjectId,
    /// Its number.
    pub revision: i32,
    /// What it was.
    pub kind: EventKind,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Who.
    pub actor_id: Option<UserId>,
    /// The session it belongs to.
    pub session_id: Option<SessionId>,
    /// The message it added, or was for.
    pub message_id: Option<MessageId>,
}

/// Which revisions of a project take back which.
#[derive(Clone, Debug, Default)]
pub struct Undos {
    undoes: BTreeMap<i32, Vec<i32>>,
    undone_by: BTreeMap<i32, i32>,
    /// Of each revision that takes back others, whether a change is gone by it, and not there again.
    is_undo_of_change: BTreeMap<i32, bool>,
}

impl Undos {
    /// From pairs of a revision and one that it takes back. What a revision takes back is there again once that revision is
    /// itself taken back.
    pub fn new(pairs: &[(i32, i32)]) -> Self {
        let mut undos = Self::default();
        for (revision, undone) in pairs {
            undos.undoes.entry(*revision).or_default().push(*undone);
        }
        for (revision, undone) in &undos.undoes {
            let is_redo = undone.iter().any(|undone| undos.is_undo_of_change.get(undone) == Some(&true));
            undos.is_undo_of_change.insert(*revision, !is_redo);
        }
        // The newest first: of those nothing is taken back later.
        for (revision, undone) in undos.undoes.iter().rev() {
            if !undos.undone_by.contains_key(revision) {
                for undone in undone {
                    undos.undone_by.entry(*undone).or_insert(*revision);
                }
            }
        }
        undos
    }

    /// What a revision takes back, oldest first; nothing unless it is an undo.
    pub fn undoes(&self, revision: i32) -> &[i32] {
        self.undoes.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// The revision by which another is taken back now.
    pub fn undone_by(&self, revision: i32) -> Option<i32> {
        self.undone_by.get(&revision).copied()
    }

    /// The undos of changes, newest first. What takes back an undo is a redo, and none of them.
    pub fn of_changes(&self) -> impl Iterator<Item = i32> {
        self.undoes.keys().rev().copied().filter(|revision| self.is_undo_of_change.get(revision) == Some(&true))
    }

    /// Whether a revision is an undo.
    pub fn is_undo(&self, revision: i32) -> bool {
        self.undoes.contains_key(&revision)
    }
}

/// Which changes of files are taken back.
#[derive(Clone, Debug, Default)]
pub struct UndoneFiles(HashMap<i32, HashSet<FileId>>);

impl UndoneFiles {
    /// From rows of a revision, one of which it takes back a change, and the file. A change is there again once what takes it back
    /// is itself taken back.
    pub fn new(mut rows: Vec<(i32, i32, FileId)>) -> Self {
        // The newest first: of those nothing is taken back later.
        rows.sort_by_key(|(revision, ..)| Reverse(*revision));
        let mut undone = Self::default();
        for (revision, taken, file) in rows {
            if !undone.has(revision, file) {
                undone.0.entry(taken).or_default().insert(file);
            }
        }
        undone
    }

    /// Whether what a revision did to a file is taken back.
    pub fn has(&self, revision: i32, file: FileId) -> bool {
        self.0.get(&revision).is_some_and(|files| files.contains(&file))
    }

    /// Of how many files what a revision did is taken back.
    pub fn count(&self, revision: i32) -> usize {
        self.0.get(&revision).map_or(0, HashSet::len)
    }
}

/// A revision, with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AsOf {
    /// Its number.
    pub revision: i32,
    /// When it was made.
    pub time: DateTime<Utc>,
}

/// A name for a moment in a project's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// A revision.
    Revision(i32),
    /// The last revision at or before a time.
    Time(DateTime<Utc>),
    /// The state that belongs to a message: with what was written for it, where it is a checkpoint.
    Message(MessageId),
    /// A snapshot's.
    Snapshot(ProjectSnapshotId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_is_there_again_once_that_is_taken_back() {
        // 5 takes back 4, 6 takes back 3, 7 brings 3 back, 8 takes back 2 and 3.
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
        // 5 takes back what 3 did to both, 6 brings that back for one of them, 8 takes it back again.
        let undone = UndoneFiles::new(vec![(5, 3, a), (5, 3, b), (6, 5, a)]);
        assert_eq!((undone.has(3, a), undone.has(3, b), undone.has(5, a), undone.count(3)), (false, true, true, 1));
        let undone = UndoneFiles::new(vec![(5, 3, a), (5, 3, b), (6, 5, a), (8, 3, a)]);
        assert_eq!((undone.count(3), undone.count(5), undone.count(4)), (2, 1, 0));
    }
}
