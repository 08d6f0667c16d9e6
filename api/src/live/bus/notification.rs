//! Notifications between servers: their text, and those that are still to be sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::model::event::Change;
use crate::model::ids::{ProjectId, UserId};
use crate::storage::db::WalPosition;

/// Pause after a failure.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// Number of projects whose notifications are kept while the bus fails. The sweep finds the changes of the others.
const MAX_WAITING: usize = 10_000;

/// A change in a project.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    pub project: ProjectId,
    pub change: Change,
}

/// What a server receives from the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A notification of one project.
    One(Notification),
    /// A user's commit on another server, for reads from replicas.
    Written(UserId, WalPosition),
    /// Notifications of any project may have been lost.
    ResyncAll,
}

/// The notifications to be sent to other servers, and the projects to subscribe to on the bus. Nothing is kept before
/// `open`.
#[derive(Default)]
pub struct PendingNotifications {
    waiting: Mutex<Option<Waiting>>,
    filled: Notify,
    /// Whether the bus worked at the last use.
    pub(super) works: Arc<AtomicBool>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) changes: HashMap<ProjectId, Change>,
    /// Users who have written on this server, with the position of their last commit. Only if there are replicas.
    pub(super) writers: HashMap<UserId, WalPosition>,
    /// Projects to subscribe to (true) or to unsubscribe from (false) on the bus.
    pub(super) subscriptions: HashMap<ProjectId, bool>,
}

impl PendingNotifications {
    /// Starts to keep notifications. Call it just before `run`.
    pub fn open(&self) {
        self.waiting.lock().get_or_insert_default();
    }

    /// Adds a notification. A higher revision replaces a lower one, and any revision replaces a side change.
    pub fn put(&self, Notification { project, change }: Notification) {
        self.fill(|waiting| {
            if waiting.changes.len() < MAX_WAITING || waiting.changes.contains_key(&project) {
                let newest = waiting.changes.entry(project).or_insert(change);
                if supersedes(change, *newest) {
                    *newest = change;
                }
            }
        });
    }

    /// Adds a user's commit.
    pub fn announce(&self, user: UserId, position: WalPosition) {
        self.fill(|waiting| {
            if waiting.writers.len() < MAX_WAITING || waiting.writers.contains_key(&user) {
                waiting.writers.insert(user, position);
            }
        });
    }

    /// Sets whether this server receives the notifications of a project.
    pub fn subscribe(&self, project: ProjectId, is_wanted: bool) {
        self.fill(|waiting| {
            waiting.subscriptions.insert(project, is_wanted);
        });
    }

    /// Whether notifications of other servers arrive. If not, the sweep finds the changes.
    pub fn works(&self) -> &Arc<AtomicBool> {
        &self.works
    }

    fn fill(&self, put: impl FnOnce(&mut Waiting)) {
        if let Some(waiting) = &mut *self.waiting.lock() {
            put(waiting);
            self.filled.notify_one();
        }
    }

    /// Waits until there is something to send, and takes it.
    pub(super) async fn take(&self) -> Waiting {
        self.filled.notified().await;
        self.waiting.lock().replace(Waiting::default()).unwrap_or_default()
    }
}

fn supersedes(change: Change, before: Change) -> bool {
    match (change, before) {
        (Change::Advanced(revision), Change::Advanced(before)) => revision > before,
        (Change::Advanced(_), Change::SideChange) | (Change::Resync, _) => true,
        (Change::Advanced(_), Change::Resync) | (Change::SideChange, _) => false,
    }
}

/// A change as text: `@7` is revision 7 of the log, `side` is a side change.
pub(super) fn text_of(change: Change) -> String {
    match change {
        Change::Advanced(revision) => format!("@{revision}"),
        Change::SideChange => "side".to_owned(),
        Change::Resync => "resync".to_owned(),
    }
}

pub(super) fn change_of(text: &str) -> Option<Change> {
    match text {
        "side" => Some(Change::SideChange),
        "resync" => Some(Change::Resync),
        text => Some(Change::Advanced(text.strip_prefix('@')?.parse().ok()?)),
    }
}

/// A user's commit as text: `USER:POSITION`.
pub(super) fn written_text(user: UserId, position: WalPosition) -> String {
    format!("{}:{position}", user.0)
}

pub(super) fn written_of(text: &str) -> Option<Received> {
    let (user, position) = text.split_once(':')?;
    Some(Received::Written(UserId(Uuid::try_parse(user).ok()?), position.parse().ok()?))
}

pub(super) fn project_of(text: &str) -> Option<ProjectId> {
    Some(ProjectId(Uuid::try_parse(text).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(id: u128) -> ProjectId {
        ProjectId(Uuid::from_u128(id))
    }

    fn put(pending: &PendingNotifications, id: u128, change: Change) {
        pending.put(Notification { project: project(id), change });
    }

    #[tokio::test]
    async fn the_newest_notification_of_each_project_is_kept_once_it_is_open() {
        let pending = PendingNotifications::default();
        put(&pending, 1, Change::Advanced(1));
        pending.subscribe(project(1), true);
        pending.open();
        assert_eq!(pending.waiting.lock().as_ref(), Some(&Waiting::default()));
        for (id, revision) in [(1, 2), (2, 1), (1, 4), (1, 3)] {
            put(&pending, id, Change::Advanced(revision));
        }
        put(&pending, 1, Change::SideChange);
        put(&pending, 4, Change::SideChange);
        for is_wanted in [true, false, true] {
            pending.subscribe(project(3), is_wanted);
        }
        pending.open();
        let changes = HashMap::from([
            (project(1), Change::Advanced(4)),
            (project(2), Change::Advanced(1)),
            (project(4), Change::SideChange),
        ]);
        let subscriptions = HashMap::from([(project(3), true)]);
        assert_eq!(pending.take().await, Waiting { changes, subscriptions, ..Waiting::default() });
        assert_eq!(pending.waiting.lock().as_ref(), Some(&Waiting::default()));
    }

    #[tokio::test]
    async fn what_nobody_takes_out_is_bounded_and_no_subscription_is_forgotten() {
        let pending = PendingNotifications::default();
        pending.open();
        for id in 0..3 * MAX_WAITING as u128 {
            put(&pending, id, Change::Advanced(1));
        }
        put(&pending, 0, Change::Advanced(2));
        pending.subscribe(project(0), true);
        let waiting = pending.take().await;
        assert_eq!((waiting.changes.len(), waiting.changes[&project(0)]), (MAX_WAITING, Change::Advanced(2)));
        assert_eq!(waiting.subscriptions.len(), 1);
    }

    #[test]
    fn an_announced_commit_is_read_as_it_was_written() {
        let (user, position) = (UserId(Uuid::from_u128(7)), "2/A/1F".parse().unwrap());
        assert_eq!(written_of(&written_text(user, position)), Some(Received::Written(user, position)));
        for text in ["", ":", "7:2/A/1F", &format!("{}:2/A", user.0), &user.0.to_string()] {
            assert_eq!(written_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_change_is_read_as_it_was_written() {
        for change in [Change::Advanced(7), Change::SideChange, Change::Resync] {
            assert_eq!(change_of(&text_of(change)), Some(change));
        }
        for text in ["", "7", "@", "@x", "@9999999999", "@7 ", "sides"] {
            assert_eq!(change_of(text), None, "{text}");
        }
    }
}
