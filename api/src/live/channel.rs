//! A channel for each project with subscribers on this server: their shared state, and their notifications.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::bus::{Notification, PendingNotifications};
use super::changed_files::ChangedFiles;
use super::drafts::Drafts;
use super::log_tail::LogTail;
use super::presence::ProjectPresence;
use crate::model::event::Change;
use crate::model::ids::ProjectId;
use crate::storage::db::Positions;

/// Shortest time between two notifications of other servers about side changes of one project.
const SIDE_CHANGE_PERIOD: Duration = Duration::from_millis(50);

/// The channels of a server. Clones share them.
#[derive(Clone)]
pub struct Channels(Arc<Inner>);

struct Inner {
    open: Mutex<HashMap<ProjectId, Weak<Channel>>>,
    /// Notifications to be sent to other servers.
    pending: PendingNotifications,
    /// The positions of commits, if there are replicas.
    positions: Option<Arc<Positions>>,
    /// Projects whose side changes are sent to other servers at the end of the period.
    side_changes: Mutex<HashSet<ProjectId>>,
}

/// What the subscribers of a project share.
#[expect(missing_docs, reason = "the names say it")]
pub struct Channel {
    pub project: ProjectId,
    pub tail: LogTail,
    pub changed_files: ChangedFiles,
    pub drafts: Drafts,
    pub presence: Arc<ProjectPresence>,
    channels: Arc<Inner>,
}

impl Channels {
    /// No channels. With replicas, a user reads at least what they have been notified of.
    pub fn new(positions: Option<Arc<Positions>>) -> Self {
        Self(Arc::new(Inner {
            open: Mutex::default(),
            pending: PendingNotifications::default(),
            positions,
            side_changes: Mutex::default(),
        }))
    }

    /// The positions of commits, if there are replicas.
    pub fn positions(&self) -> Option<&Positions> {
        self.0.positions.as_deref()
    }

    /// Notifies the subscribers of a project, on this server and others, of a change that was committed here.
    pub fn publish(&self, project: ProjectId, change: Change) {
        self.receive(Notification { project, change });
        match change {
            Change::SideChange => self.publish_later(project),
            change => self.0.pending.put(Notification { project, change }),
        }
    }

    /// Notifies other servers of a side change at the end of the period, together with others: chunks of text arrive
    /// quickly.
    fn publish_later(&self, project: ProjectId) {
        if !self.0.side_changes.lock().insert(project) {
            return;
        }
        let channels = self.0.clone();
        tokio::spawn(async move {
            sleep(SIDE_CHANGE_PERIOD).await;
            channels.side_changes.lock().remove(&project);
            channels.pending.put(Notification { project, change: Change::SideChange });
        });
    }

    /// Notifies the subscribers on this server.
    pub fn receive(&self, Notification { project, change }: Notification) {
        if let Some(channel) = self.get(project) {
            if let Some(positions) = self.positions() {
                positions.were_notified(&*channel.tail.members());
            }
            channel.publish(change);
        }
    }

    /// Makes all channels read everything again.
    pub fn resync(&self) {
        self.all().iter().for_each(|channel| channel.publish(Change::Resync));
    }

    /// Notifications to be sent to other servers.
    pub fn pending(&self) -> &PendingNotifications {
        &self.0.pending
    }

    /// Returns the channel of a project. Opens a new one if there is none, or if the project's log was replaced.
    pub fn open(&self, project: ProjectId) -> Arc<Channel> {
        let mut open = self.0.open.lock();
        let known = open.get(&project).and_then(Weak::upgrade).filter(|channel| !channel.tail.is_lost());
        known.unwrap_or_else(|| {
            let channel = Arc::new(Channel {
                project,
                tail: LogTail::new(project),
                changed_files: ChangedFiles::new(project),
                drafts: Drafts::new(project),
                presence: Arc::new(ProjectPresence::new(project)),
                channels: self.0.clone(),
            });
            open.insert(project, Arc::downgrade(&channel));
            self.0.pending.subscribe(project, true);
            channel
        })
    }

    fn get(&self, project: ProjectId) -> Option<Arc<Channel>> {
        // Do not upgrade under the lock: this could be the last reference, and dropping it takes the lock.
        let channel = self.0.open.lock().get(&project).cloned();
        channel.and_then(|channel| channel.upgrade())
    }

    /// All channels.
    pub fn all(&self) -> Vec<Arc<Channel>> {
        let channels: Vec<_> = self.0.open.lock().values().cloned().collect();
        channels.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Channel {
    /// Notifies the subscribers of this channel.
    pub fn publish(&self, change: Change) {
        match change {
            Change::Advanced(revision) => self.tail.advanced(revision),
            Change::SideChange => {}
            Change::Resync => self.tail.resync(),
        }
        self.drafts.invalidate();
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let mut open = self.channels.open.lock();
        // A new channel may have been opened in the meantime.
        if open.get(&self.project).is_some_and(|channel| channel.strong_count() == 0) {
            open.remove(&self.project);
            self.channels.pending.subscribe(self.project, false);
        }
    }
}
