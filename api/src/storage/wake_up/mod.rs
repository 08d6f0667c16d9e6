//! Wake-ups between servers: a project's id and its revision, nothing else. One that is lost costs a delay: the log is what is
//! read.
//!
//! They go by a [`Bus`]: what the servers' PostgreSQL notifies, or NATS. A server tells after its commit, and what is committed
//! while that is on its way goes out with the next.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::Notify;
use uuid::Uuid;

use super::db::Db;
use crate::model::ids::ProjectId;

pub mod nats;
mod postgres;

/// How long after a failure the next attempt is made.
const PAUSE: Duration = Duration::from_millis(250);

/// For how many projects there is room while nothing goes out; of the others, the sweep of those who listen must find what is
/// new.
const MAX_WAITING: usize = 10_000;

/// By which way servers wake each other's listeners.
pub enum Bus {
    /// `LISTEN` and `NOTIFY` of the database; every server hears of every write.
    Postgres(Box<PgConnectOptions>, Db),
    /// NATS; a server hears of those projects that somebody listens to there.
    Nats(nats::Servers),
}

impl Bus {
    /// NATS where there is one, and else PostgreSQL's notifications where the database has them and they are wanted.
    pub fn choose(db: &Db, notifies: bool, nats: Option<nats::Servers>) -> Option<Self> {
        match (nats, db.postgres()) {
            (Some(servers), _) => Some(Self::Nats(servers)),
            (None, Some(options)) if notifies => Some(Self::Postgres(Box::new(options), db.clone())),
            (None, _) => None,
        }
    }
}

/// What a server learns from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeUp {
    /// A project has reached a revision.
    Reached(ProjectId, i32),
    /// What was said of a project up to now may have been missed.
    LookAgain(ProjectId),
    /// Whatever was said of any project up to now may have been missed.
    LookAtAll,
}

/// What the others are yet to be told, and what is yet to be heard of them. Nothing is kept before it is opened.
#[derive(Default)]
pub struct Outbox {
    waiting: Mutex<Option<Waiting>>,
    filled: Notify,
    /// Whether the bus works, as far as is known.
    works: Arc<AtomicBool>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Waiting {
    reached: HashMap<ProjectId, i32>,
    /// The projects of which somebody here has begun to hear (true), or nobody hears any more.
    heard: HashMap<ProjectId, bool>,
}

impl Outbox {
    /// Says that somebody is about to take things out, so that it pays to put them in.
    pub fn open(&self) {
        self.lock().get_or_insert_default();
    }

    /// The others are to be told of a project's revision, in place of an earlier one.
    pub fn put(&self, project: ProjectId, revision: i32) {
        self.fill(|waiting| {
            if waiting.reached.len() < MAX_WAITING || waiting.reached.contains_key(&project) {
                let newest = waiting.reached.entry(project).or_insert(revision);
                *newest = revision.max(*newest);
            }
        });
    }

    /// Whether this server is to hear of a project from now on.
    pub fn hear(&self, project: ProjectId, is_heard: bool) {
        self.fill(|waiting| {
            waiting.heard.insert(project, is_heard);
        });
    }

    /// Whether what other servers tell is heard now; of what is not, the sweep finds what is new.
    pub fn works(&self) -> bool {
        self.works.load(Ordering::Relaxed)
    }

    fn fill(&self, put: impl FnOnce(&mut Waiting)) {
        if let Some(waiting) = &mut *self.lock() {
            put(waiting);
            self.filled.notify_one();
        }
    }

    /// Waits until there is something, and takes it out.
    async fn take(&self) -> Waiting {
        self.filled.notified().await;
        self.lock().replace(Waiting::default()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells other servers what is put into the outbox, and `heard` what they tell. Ends with its task.
pub async fn run(bus: &Bus, outbox: &Outbox, heard: impl Fn(WakeUp)) {
    match bus {
        Bus::Postgres(url, db) => postgres::run(url, db, outbox, heard).await,
        Bus::Nats(servers) => nats::run(servers, outbox, heard).await,
    }
}

fn parse(project: &str) -> Option<ProjectId> {
    Some(ProjectId(Uuid::try_parse(project).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(id: u128) -> ProjectId {
        ProjectId(Uuid::from_u128(id))
    }

    #[tokio::test]
    async fn an_outbox_keeps_the_newest_of_each_project_once_it_is_open() {
        let outbox = Outbox::default();
        outbox.put(project(1), 1);
        outbox.hear(project(1), true);
        outbox.open();
        assert_eq!(outbox.lock().as_ref(), Some(&Waiting::default()));
        for (id, revision) in [(1, 2), (2, 1), (1, 4), (1, 3)] {
            outbox.put(project(id), revision);
        }
        for is_heard in [true, false, true] {
            outbox.hear(project(3), is_heard);
        }
        outbox.open();
        let reached = HashMap::from([(project(1), 4), (project(2), 1)]);
        assert_eq!(outbox.take().await, Waiting { reached, heard: HashMap::from([(project(3), true)]) });
        assert_eq!(outbox.lock().as_ref(), Some(&Waiting::default()));
    }

    #[tokio::test]
    async fn an_outbox_that_nothing_leaves_is_bounded_and_forgets_no_listener() {
        let outbox = Outbox::default();
        outbox.open();
        for id in 0..3 * MAX_WAITING as u128 {
            outbox.put(project(id), 1);
        }
        outbox.put(project(0), 2);
        outbox.hear(project(0), true);
        let waiting = outbox.take().await;
        assert_eq!((waiting.reached.len(), waiting.reached[&project(0)]), (MAX_WAITING, 2));
        assert_eq!(waiting.heard.len(), 1);
    }
}
