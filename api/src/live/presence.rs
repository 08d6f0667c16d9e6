//! Presence: the users who subscribe to a project now, on any server. It is not part of the history.
//!
//! A server counts its own subscriptions. On PostgreSQL it also writes the users to a table at intervals, for the other
//! servers. Entries that are not renewed expire.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::shared_read::SharedRead;
use crate::domain::{Needs, Services, access};
use crate::model::actor::Actor;
use crate::model::clock;
use crate::model::error::Result;
use crate::model::ids::{ProjectId, UserId};
use crate::model::presence::{Person, Presence};
use crate::storage::db::Db;
use crate::storage::presence;
pub use crate::storage::presence::of_projects;

/// How long a server collects changes before it writes its users.
const PAUSE: Duration = Duration::from_millis(100);

/// The present users of one server.
pub struct LocalPresence {
    server: Uuid,
    subscribers: Mutex<HashMap<(ProjectId, UserId), Subscriber>>,
    changed: Notify,
    /// How long an entry of another server is valid.
    lifetime: Duration,
}

/// A user who subscribes to a project.
struct Subscriber {
    subscriptions: usize,
    since: DateTime<Utc>,
}

impl LocalPresence {
    /// No users. Entries of other servers are valid for `lifetime`.
    pub fn new(lifetime: Duration) -> Self {
        Self { server: clock::new_id(), subscribers: Mutex::default(), changed: Notify::new(), lifetime }
    }

    /// Counts one more subscription of a user, until the guard is dropped.
    pub fn enter(self: &Arc<Self>, presence: &Arc<ProjectPresence>, user: UserId) -> PresenceGuard {
        let guard = PresenceGuard { local: self.clone(), presence: presence.clone(), user };
        let is_first = {
            let mut subscribers = self.subscribers.lock();
            let subscriber = subscribers
                .entry((presence.project, user))
                .or_insert_with(|| Subscriber { subscriptions: 0, since: clock::now() });
            subscriber.subscriptions += 1;
            subscriber.subscriptions == 1
        };
        if is_first {
            guard.changed();
        }
        guard
    }

    /// The present users of a project: the users of this server, and those that another server wrote recently. Ordered
    /// by the time of arrival.
    pub fn merge(&self, project: ProjectId, written: &[Presence]) -> Vec<Person> {
        let oldest = clock::now() - self.lifetime();
        let elsewhere = written.iter().filter(|presence| {
            presence.project_id == project && presence.server_id != self.server && presence.seen_at >= oldest
        });
        let mut since: HashMap<UserId, DateTime<Utc>> = HashMap::new();
        let own = self.all().into_iter().filter(|(of, _)| *of == project).map(|(_, person)| person);
        for person in own.chain(elsewhere.map(|presence| presence.person.clone())) {
            since.entry(person.user_id).and_modify(|first| *first = person.since.min(*first)).or_insert(person.since);
        }
        let mut people: Vec<Person> = since.into_iter().map(|(user_id, since)| Person { user_id, since }).collect();
        people.sort_by_key(|person| (person.since, person.user_id));
        people
    }

    /// Writes this server's users on every change and at intervals, until dropped.
    pub async fn keep_written(&self, db: &Db) {
        let mut ticks = interval(self.lifetime / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_written = false;
        loop {
            tokio::select! {
                () = self.changed.notified() => sleep(PAUSE).await,
                _ = ticks.tick() => {}
            }
            let people = self.all();
            if is_written || !people.is_empty() {
                is_written = !people.is_empty();
                if let Err(error) = self.write(db, people).await {
                    is_written = true;
                    tracing::warn!(
                        error = error.message(),
                        ?error,
                        "cannot write the users who are present on this server"
                    );
                }
            }
        }
    }

    /// Removes this server's entries from the table.
    pub async fn leave(&self, db: &Db) {
        if let Err(error) = self.write(db, Vec::new()).await {
            tracing::debug!(?error, "cannot remove this server's presence entries; they will expire");
        }
    }

    async fn write(&self, db: &Db, people: Vec<(ProjectId, Person)>) -> Result<()> {
        let now = clock::now();
        presence::keep(db, self.server, people, now, now - self.lifetime()).await
    }

    fn lifetime(&self) -> TimeDelta {
        TimeDelta::from_std(self.lifetime).unwrap_or(TimeDelta::MAX)
    }

    fn all(&self) -> Vec<(ProjectId, Person)> {
        let person = |user_id: UserId, subscriber: &Subscriber| Person { user_id, since: subscriber.since };
        self.subscribers
            .lock()
            .iter()
            .map(|((project, user), subscriber)| (*project, person(*user, subscriber)))
            .collect()
    }
}

/// Counts one subscription until it is dropped.
pub struct PresenceGuard {
    local: Arc<LocalPresence>,
    presence: Arc<ProjectPresence>,
    user: UserId,
}

impl PresenceGuard {
    fn changed(&self) {
        self.presence.written.invalidate();
        self.local.changed.notify_one();
    }
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        let key = (self.presence.project, self.user);
        let is_last = {
            let mut subscribers = self.local.subscribers.lock();
            let is_last = subscribers.get_mut(&key).is_some_and(|subscriber| {
                subscriber.subscriptions -= 1;
                subscriber.subscriptions == 0
            });
            if is_last {
                subscribers.remove(&key);
            }
            is_last
        };
        if is_last {
            self.changed();
        }
    }
}

/// The presence entries of one project, as written by all servers, shared by the subscribers on one server.
pub struct ProjectPresence {
    project: ProjectId,
    written: SharedRead<Arc<Vec<Presence>>>,
}

impl ProjectPresence {
    /// The entries of a project, not read yet.
    pub fn new(project: ProjectId) -> Self {
        Self { project, written: SharedRead::default() }
    }

    /// Makes the next caller read the entries again.
    pub fn invalidate(&self) {
        self.written.invalidate();
    }

    /// Notifies when the users may have changed.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Whether there are subscribers.
    pub fn has_subscribers(&self) -> bool {
        self.written.has_subscribers()
    }

    /// The users who are present now. The actor must be a member.
    pub async fn people(&self, services: &Services, local: &LocalPresence, actor: &Actor) -> Result<Vec<Person>> {
        let read = |_| async {
            let tx = services.read_for_all(actor, Needs::Present).await?;
            let member = access::member(&tx, self.project).await?;
            Ok(Arc::new(of_projects(&tx, member.as_slice()).await?))
        };
        let written = self.written.get(|_| true, read).await?;
        Ok(local.merge(self.project, &written))
    }
}
