//! The state of a server for subscriptions, and the tasks that keep it in step with other servers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::bus::{self, Bus, Received};
use super::channel::{Channel, Channels};
use super::presence::LocalPresence;
use crate::domain::Services;
use crate::model::error::Result;
use crate::model::event::Change;
use crate::model::ids::ProjectId;
use crate::model::presence::{Person, Presence};
use crate::storage::db::Db;
use crate::storage::operator;

/// State for subscriptions, one per server.
pub struct Live {
    pub(super) services: Arc<Services>,
    db: Db,
    pub(super) channels: Channels,
    pub(super) presence: Arc<LocalPresence>,
}

impl Live {
    /// Starts without subscribers. The services publish to these channels.
    pub fn new(services: Arc<Services>, db: Db, channels: Channels) -> Self {
        let lifetime = Duration::from_secs(services.limits.presence_seconds);
        Self { services, db, channels, presence: Arc::new(LocalPresence::new(lifetime)) }
    }

    /// The users who are present in a project, according to what the servers have written.
    pub fn present(&self, project: ProjectId, written: &[Presence]) -> Vec<Person> {
        self.presence.merge(project, written)
    }

    /// Whether notifications of other servers arrive.
    pub fn receives_notifications(&self) -> bool {
        self.channels.pending().works().load(Ordering::Relaxed)
    }

    /// Delivers the changes of other servers to this server's subscribers, until dropped. Uses the bus, if there is
    /// one, and a sweep that compares all projects with subscribers with the database.
    pub fn keep_in_step(self: Arc<Self>, bus: Option<Bus>, sweep: Duration) -> impl Future<Output = ()> {
        if bus.is_some() {
            // Open this before anyone can subscribe or write.
            self.channels.pending().open();
        }
        async move {
            let notified = async {
                let Some(bus) = bus else { return };
                let receive = |received| match (received, self.channels.positions()) {
                    (Received::One(notification), _) => self.channels.receive(notification),
                    (Received::Written(user, position), Some(positions)) => positions.was_written(user, position),
                    (Received::Written(..), None) => {}
                    (Received::ResyncAll, positions) => {
                        // Announcements may have been lost too.
                        if let Some(positions) = positions {
                            positions.forget();
                        }
                        self.channels.resync();
                    }
                };
                bus::run(&bus, self.channels.pending(), receive).await;
            };
            tokio::join!(notified, self.sweep_regularly(sweep), self.presence.keep_written(&self.db));
        }
    }

    async fn sweep_regularly(&self, period: Duration) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.sweep().await {
                tracing::warn!(error = error.message(), ?error, "the sweep over the projects with subscribers failed");
            }
        }
    }

    /// Notifies the channels that are behind the database or whose members have changed. Reads once for the whole
    /// server.
    async fn sweep(&self) -> Result<()> {
        let channels: HashMap<ProjectId, Arc<Channel>> =
            self.channels.all().into_iter().map(|channel| (channel.project, channel)).collect();
        if channels.is_empty() {
            return Ok(());
        }
        let projects: Vec<ProjectId> = channels.keys().copied().collect();
        let log_ends = operator::log_ends(&self.db.operator().await?, &projects).await?;
        for (project, channel) in channels {
            if !channel.tail.agrees(log_ends.get(&project)) {
                channel.publish(Change::Resync);
            } else if channel.drafts.has_subscribers() {
                // Comparing the logs does not show a side change.
                channel.publish(Change::SideChange);
            }
            if channel.presence.has_subscribers() {
                channel.presence.invalidate();
            }
        }
        Ok(())
    }

    /// Removes this server's entries from the presence table.
    pub async fn close(&self) {
        self.presence.leave(&self.db).await;
    }
}
