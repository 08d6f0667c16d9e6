//! Listening: what changes in a project reaches those who listen to it.
//!
//! The log is the truth; a notification only says that there is more to read, so a lost one costs a delay and never an event.
//! Each project that is listened to has a [`Channel`](channel::Channel), whose parts are read once a change, whoever listens.
//! A listener has a [`Source`](source::Source) of its own, and shares the execution of what it delivers (`fan_out`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::domain::Services;
use crate::model::actor::Actor;
use crate::model::error::{Error, Result};
use crate::model::event::Change;
use crate::model::ids::ProjectId;
use crate::model::presence::{Person, Presence};
use crate::storage::db::Db;
use crate::storage::operator;

pub mod bus;
pub mod channel;
mod drafts;
pub mod fan_out;
mod log_tail;
pub mod presence;
mod shared_read;
pub mod source;

use self::bus::{Bus, Received};
use self::channel::{Channel, Channels};
use self::presence::LocalPresence;
use self::source::{Source, Topic};

/// What a server needs for those who listen; one for a server.
pub struct Live {
    services: Arc<Services>,
    db: Db,
    channels: Channels,
    presence: Arc<LocalPresence>,
}

impl Live {
    /// Without a listener yet. The services publish to these channels.
    pub fn new(services: Arc<Services>, db: Db, channels: Channels) -> Self {
        let lifetime = Duration::from_secs(services.limits.presence_seconds);
        Self { services, db, channels, presence: Arc::new(LocalPresence::new(lifetime)) }
    }

    /// Opens a topic for a listener who resumes after a position, if the client states one beside the topic.
    ///
    /// # Errors
    /// `NotFound` if the actor cannot see it; `PositionLost` or `BadInput` if it cannot begin there.
    pub async fn open(self: &Arc<Self>, actor: &Actor, topic: &Topic, resume: Option<i32>) -> Result<Source> {
        Source::open(self.clone(), actor.clone(), topic, resume).await
    }

    /// The users who listen to a project, of what the servers have written.
    pub fn present(&self, project: ProjectId, written: &[Presence]) -> Vec<Person> {
        self.presence.merge(project, written)
    }

    /// Whether notifications of other servers arrive.
    pub fn receives_notifications(&self) -> bool {
        self.channels.pending().works()
    }

    /// Keeps the listeners of this server in step with what others write, until it is dropped: by the bus, if there is one, and
    /// by a sweep that compares all of their projects with the database.
    pub fn keep_in_step(self: Arc<Self>, bus: Option<Bus>, sweep: Duration) -> impl Future<Output = ()> {
        if bus.is_some() {
            // Before anybody can listen or write.
            self.channels.pending().open();
        }
        async move {
            let notified = async {
                let Some(bus) = bus else { return };
                let receive = |received| match received {
                    Received::One(notification) => self.channels.receive(notification),
                    Received::ResyncAll => self.channels.resync(),
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
                tracing::warn!(error = error.message(), ?error, "the sweep over the projects with listeners failed");
            }
        }
    }

    /// Notifies the channels that the database is ahead of, or whose members have changed: one read for the whole server.
    async fn sweep(&self) -> Result<()> {
        let channels: HashMap<ProjectId, Arc<Channel>> =
            self.channels.all().into_iter().map(|channel| (channel.project, channel)).collect();
        if channels.is_empty() {
            return Ok(());
        }
        let projects: Vec<ProjectId> = channels.keys().copied().collect();
        let heads = operator::heads(&self.db.operator().await?, &projects).await?;
        for (project, channel) in channels {
            if !channel.tail.agrees(heads.get(&project)) {
                channel.publish(Change::Resync);
            } else if channel.drafts.has_subscribers() {
                // A comparison of logs does not show a side change.
                channel.publish(Change::SideChange);
            }
            if channel.presence.has_subscribers() {
                channel.presence.invalidate();
            }
        }
        Ok(())
    }

    /// Removes this server's listeners from what the others read.
    pub async fn close(&self) {
        self.presence.leave(&self.db).await;
    }
}

fn gone() -> Error {
    Error::not_found("project", "projectId")
}
