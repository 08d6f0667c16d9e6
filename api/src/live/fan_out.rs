//! Shared subscriptions. Identical operations of several subscribers are executed once, and each subscriber receives
//! the same bytes.
//!
//! A shared subscription keeps a limited number of its newest results. All shared subscriptions together keep at most a
//! share of the server's memory; the oldest result is dropped first. A subscriber that needs a dropped result continues
//! on its own and misses nothing.
//!
//! Subscribers are notified a few at a time, so that a thousand of them do not delay the next request. Results that
//! arrive in the meantime are delivered in the next round: the busier the server, the more results each subscriber
//! receives at once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::thread::available_parallelism;

use async_graphql::ServerError;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::task::yield_now;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

use super::channel::Channel;
use super::source::{Item, Next as FromSource, Position, Source};
use crate::metrics::{CountedBytes, Metrics};
use crate::model::actor::Actor;
use crate::model::clock;
use crate::model::error::{Error, Result};
use crate::model::ids::UserId;
use crate::model::memory::{Memory, Taken};

/// Largest number and total size of the results that a shared subscription keeps for slower subscribers.
const KEPT: usize = 256;
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// All kept results together take at most one eighth of the server's memory.
const KEPT_SHARE: usize = 8;

/// Maximum number of events that are executed at once, per core.
const EXECUTIONS_PER_CORE: usize = 8;

/// How long executions that fail because of an outage are repeated, and the pauses in between; each pause is twice as
/// long as the previous one. A restart of the database does not end a subscription.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Number of subscribers that are notified before other tasks of the server run.
const NOTIFIED_AT_ONCE: usize = 32;

/// Longest pause after a round of notifications. The pause is as long as the round, so that other tasks get half of the
/// time.
const MAX_REST: Duration = Duration::from_millis(10);

/// Executes an operation for an item, or for an error that replaces the item.
pub type Execute = Arc<dyn Fn(Actor, Result<Arc<Item>>) -> BoxFuture<'static, Executed> + Send + Sync>;

/// The result of an execution: the response as JSON without a line break, and `OK` or the code of its error.
pub type Executed = std::result::Result<(String, &'static str), Failure>;

/// An execution without a response that can be delivered.
#[derive(Clone, Debug)]
pub struct Failure {
    /// In the form that the client receives.
    pub errors: Vec<ServerError>,
    /// Whether another attempt may succeed.
    pub is_outage: bool,
    /// Whether the actor cannot see the subject, or no longer can.
    pub is_not_found: bool,
}

/// A result for one or several subscribers.
#[derive(Clone)]
pub struct Delivery {
    result: Arc<CountedText>,
    /// `OK`, or the code of the response's error.
    pub code: &'static str,
    /// The position that the client can resume after.
    pub position: Option<Position>,
}

/// Counted in the server's memory until it is dropped.
struct CountedText {
    text: String,
    _memory: Taken,
    _bytes: CountedBytes,
}

impl Delivery {
    /// The GraphQL response as JSON, without a line break.
    pub fn payload(&self) -> &str {
        &self.result.text
    }
}

/// Counts the memory of results.
#[derive(Clone)]
pub struct Results {
    memory: Memory,
    metrics: Arc<Metrics>,
}

impl Results {
    /// Counts results in this memory.
    pub fn new(memory: Memory, metrics: Arc<Metrics>) -> Self {
        Self { memory, metrics }
    }

    /// Creates a result of a subscription.
    ///
    /// # Errors
    /// As [`Memory::take`].
    pub fn delivery(&self, text: String, code: &'static str, position: Option<Position>) -> Result<Delivery> {
        let mut memory = Taken::default();
        self.memory.take(&mut memory, text.len())?;
        Ok(self.counted(text, memory, code, position))
    }

    /// Creates a result that must not be lost for lack of memory, such as the result of a write.
    pub fn uncounted(&self, text: String, code: &'static str, position: Option<Position>) -> Delivery {
        self.counted(text, Taken::default(), code, position)
    }

    fn counted(&self, text: String, memory: Taken, code: &'static str, position: Option<Position>) -> Delivery {
        let bytes = CountedBytes::new(&self.metrics.result_bytes, text.len());
        Delivery { result: Arc::new(CountedText { text, _memory: memory, _bytes: bytes }), code, position }
    }
}

/// Consecutive failed executions.
#[derive(Default)]
pub struct Failures(Option<(Instant, Duration)>);

impl Failures {
    /// Waits before the next attempt. Returns false if another attempt cannot succeed, or if the failures have lasted
    /// too long.
    pub async fn may_go_on(&mut self, is_outage: bool) -> bool {
        let (since, pause) = *self.0.get_or_insert_with(|| (Instant::now(), FIRST_PAUSE));
        if !is_outage || since.elapsed() > PATIENCE {
            return false;
        }
        sleep(pause).await;
        self.0 = Some((since, (2 * pause).min(MAX_PAUSE)));
        true
    }

    /// Resets the count.
    pub fn are_over(&mut self) {
        self.0 = None;
    }
}

/// Subscriptions with the same key receive the same results.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub document: String,
    pub operation: Option<String>,
    /// As JSON, without the variable for the start position.
    pub variables: String,
    /// The user, if the results depend on the user.
    pub user: Option<UserId>,
}

/// The shared subscriptions of a server. Clones share them.
#[derive(Clone)]
pub struct SharedSubscriptions(Arc<Inner>);

struct Inner {
    known: Mutex<HashMap<Key, Weak<SharedSubscription>>>,
    kept: Kept,
    results: Results,
    /// Limits how many events are executed at once.
    executions: Semaphore,
    tasks: TaskTracker,
}

impl SharedSubscriptions {
    /// Starts without subscriptions. They will run in `tasks`.
    pub fn new(results: Results, tasks: TaskTracker) -> Self {
        let executions = Semaphore::new(EXECUTIONS_PER_CORE * available_parallelism().map_or(1, usize::from));
        let kept = Kept { limit: results.memory.limit() / KEPT_SHARE, places: Mutex::default() };
        Self(Arc::new(Inner { known: Mutex::default(), kept, results, executions, tasks }))
    }

    /// A permit to execute an event. Only tasks of the server hold one, and never while they wait for a client.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.0.executions.acquire().await.ok()
    }

    /// Adds a source that has reached revision `at` as a subscriber. `None` if its topic cannot be shared.
    pub fn join(&self, key: Key, execute: &Execute, source: &Source, at: i32, actor: &Actor) -> Option<Subscriber> {
        let mut known = self.0.known.lock();
        let shared = known.get(&key).and_then(Weak::upgrade);
        let shared = shared.filter(|shared| Arc::ptr_eq(&shared.channel, source.channel()));
        let shared = match shared {
            Some(shared) => shared,
            None => {
                let shared = Arc::new(SharedSubscription {
                    subscriptions: self.clone(),
                    key: key.clone(),
                    execute: execute.clone(),
                    channel: source.channel().clone(),
                    source: tokio::sync::Mutex::new(source.share()?),
                    window: Mutex::new(Window { from: at, to: at, kept: VecDeque::new(), bytes: 0, failed: None }),
                    changed: watch::Sender::default(),
                    notifying: tokio::sync::Mutex::default(),
                    subscribers: Mutex::default(),
                });
                known.insert(key, Arc::downgrade(&shared));
                let notify = notify(shared.changed.subscribe(), Arc::downgrade(&shared));
                self.0.tasks.spawn(notify.instrument(tracing::Span::none()));
                let run = run(shared.channel.tail.subscribe(), Arc::downgrade(&shared));
                self.0.tasks.spawn(run.instrument(tracing::Span::none()));
                shared
            }
        };
        let (id, notified) = (clock::new_id(), Arc::<Notify>::default());
        shared.subscribers.lock().insert(id, Subscribed { actor: actor.clone(), notified: notified.clone() });
        Some(Subscriber { id, shared, notified, user: actor.user_id })
    }
}

/// The results that all shared subscriptions keep, the oldest first.
struct Kept {
    limit: usize,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    next: u64,
    bytes: usize,
    by_age: BTreeMap<u64, (usize, Weak<SharedSubscription>)>,
}

/// One kept result.
struct Place {
    subscriptions: SharedSubscriptions,
    age: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.subscriptions.0.kept.places.lock();
        if let Some((bytes, _)) = places.by_age.remove(&self.age) {
            places.bytes -= bytes;
        }
    }
}

impl SharedSubscriptions {
    fn place(&self, bytes: usize, of: &Arc<SharedSubscription>) -> Place {
        let mut places = self.0.kept.places.lock();
        let age = places.next;
        places.next += 1;
        places.bytes += bytes;
        places.by_age.insert(age, (bytes, Arc::downgrade(of)));
        Place { subscriptions: self.clone(), age }
    }

    /// Drops the oldest results while there are too many bytes. The caller must not hold the lock of a window.
    fn trim(&self) {
        loop {
            let oldest = {
                let mut places = self.0.kept.places.lock();
                if places.bytes <= self.0.kept.limit {
                    return;
                }
                let oldest = places.by_age.pop_first();
                places.bytes -= oldest.as_ref().map_or(0, |(_, (bytes, _))| *bytes);
                oldest
            };
            let Some((age, (_, shared))) = oldest else { return };
            if let Some(shared) = shared.upgrade() {
                let dropped = shared.window.lock().drop_up_to(age);
                drop(dropped);
            }
        }
    }
}

/// A subscription with several subscribers.
struct SharedSubscription {
    subscriptions: SharedSubscriptions,
    key: Key,
    execute: Execute,
    channel: Arc<Channel>,
    source: tokio::sync::Mutex<Source>,
    window: Mutex<Window>,
    /// Notifies when there are results, or when a subscriber may have lost access.
    changed: watch::Sender<()>,
    /// Held during a round of notifications. Nothing is read during a round, since the results would only wait.
    notifying: tokio::sync::Mutex<()>,
    subscribers: Mutex<HashMap<Uuid, Subscribed>>,
}

/// State of a subscriber in its shared subscription.
struct Subscribed {
    /// The subscription can be executed on behalf of this actor.
    actor: Actor,
    notified: Arc<Notify>,
}

/// The newest results, in order.
struct Window {
    /// The revision after which results are kept.
    from: i32,
    /// The revision of the newest result.
    to: i32,
    kept: VecDeque<KeptResult>,
    bytes: usize,
    failed: Option<Failure>,
}

struct KeptResult {
    revision: i32,
    delivery: Delivery,
    place: Place,
}

impl Window {
    /// Adds a result. Returns the results that it displaced; drop them after releasing the lock.
    fn push(&mut self, result: KeptResult) -> Vec<KeptResult> {
        self.to = result.revision;
        self.bytes += result.delivery.payload().len();
        self.kept.push_back(result);
        let mut dropped = Vec::new();
        while self.kept.len() > KEPT || (self.bytes > KEPT_BYTES && self.kept.len() > 1) {
            dropped.extend(self.pop());
        }
        dropped
    }

    /// Removes and returns the results up to an age.
    fn drop_up_to(&mut self, age: u64) -> Vec<KeptResult> {
        let mut dropped = Vec::new();
        while self.kept.front().is_some_and(|oldest| oldest.place.age <= age) {
            dropped.extend(self.pop());
        }
        dropped
    }

    fn pop(&mut self) -> Option<KeptResult> {
        let oldest = self.kept.pop_front()?;
        self.from = oldest.revision;
        self.bytes -= oldest.delivery.payload().len();
        Some(oldest)
    }

    fn after(&self, revision: i32) -> Option<&KeptResult> {
        self.kept.get(self.kept.partition_point(|kept| kept.revision <= revision))
    }
}

impl Drop for SharedSubscription {
    fn drop(&mut self) {
        let mut known = self.subscriptions.0.known.lock();
        // A new subscription with this key may have started in the meantime.
        if known.get(&self.key).is_some_and(|shared| shared.strong_count() == 0) {
            known.remove(&self.key);
        }
    }
}

/// Notifies the subscribers of every change, until there are none.
async fn notify(mut changed: watch::Receiver<()>, shared: Weak<SharedSubscription>) {
    while changed.changed().await.is_ok() {
        let Some(shared) = shared.upgrade() else { return };
        let notified: Vec<_> = shared.subscribers.lock().values().map(|one| one.notified.clone()).collect();
        let _notifying = shared.notifying.lock().await;
        let begun = Instant::now();
        for some in notified.chunks(NOTIFIED_AT_ONCE) {
            some.iter().for_each(|notified| notified.notify_one());
            yield_now().await;
        }
        if notified.len() > NOTIFIED_AT_ONCE {
            sleep(begun.elapsed().min(MAX_REST)).await;
        }
    }
}

/// Executes a shared subscription for every change, until it has no subscribers.
async fn run(mut log: watch::Receiver<u64>, shared: Weak<SharedSubscription>) {
    let mut members = None;
    let mut failures = Failures::default();
    loop {
        let Some(shared) = shared.upgrade() else { return };
        drop(shared.notifying.lock().await);
        log.mark_unchanged();
        let advanced = Box::pin(shared.advance()).await;
        let now = shared.channel.tail.members();
        if members.replace(now.clone()).is_none_or(|before| !Arc::ptr_eq(&before, &now)) {
            shared.changed.send_replace(());
        }
        match advanced {
            Ok(()) => {
                failures.are_over();
                drop(shared);
                if log.changed().await.is_err() {
                    return;
                }
            }
            Err(failure) => {
                let waiting = Arc::downgrade(&shared);
                drop(shared);
                if failures.may_go_on(failure.is_outage).await {
                    continue;
                }
                if let Some(shared) = waiting.upgrade() {
                    shared.fail(failure);
                }
                return;
            }
        }
    }
}

impl SharedSubscription {
    /// Adds the new results. They are read and executed on behalf of one of the subscribers.
    async fn advance(self: &Arc<Self>) -> std::result::Result<(), Failure> {
        let mut source = self.source.lock().await;
        let mut pushed = 0;
        loop {
            let actor = self.subscribers.lock().values().next().map(|one| one.actor.clone());
            let Some(actor) = actor else { return Ok(()) };
            source.act_for(&actor);
            let (item, position) = match source.next().await {
                Ok(FromSource::Item((item, position))) => (Ok(item), position),
                Ok(FromSource::CaughtUp(revision)) => {
                    self.window.lock().to = revision;
                    return Ok(());
                }
                Ok(FromSource::End) => return Ok(()),
                Err(Error::NotFound { .. }) => {
                    self.evict(&actor);
                    continue;
                }
                Err(error) => (Err(error), None),
            };
            match self.execute(&actor, item, position).await {
                Ok(delivery) => {
                    self.push(delivery);
                    pushed += 1;
                    if pushed % (KEPT / 4) == 0 {
                        // During a long run, wait for the subscribers: those that fall behind would each continue on
                        // their own.
                        drop(self.notifying.lock().await);
                    }
                }
                Err(failure) => {
                    source.seek(self.window.lock().to);
                    if !failure.is_not_found {
                        return Err(failure);
                    }
                    // The member was removed between the two reads.
                    self.evict(&actor);
                }
            }
        }
    }

    async fn execute(
        &self,
        actor: &Actor,
        item: Result<Arc<Item>>,
        position: Option<Position>,
    ) -> std::result::Result<Delivery, Failure> {
        let _turn = self.subscriptions.turn().await;
        let (text, code) = (self.execute)(actor.clone(), item).await?;
        let results = &self.subscriptions.0.results;
        match results.delivery(text, code, position) {
            Ok(delivery) => Ok(delivery),
            Err(error) => {
                let (text, code) = (self.execute)(actor.clone(), Err(error)).await?;
                Ok(results.uncounted(text, code, position))
            }
        }
    }

    fn push(self: &Arc<Self>, delivery: Delivery) {
        let place = self.subscriptions.place(delivery.payload().len(), self);
        let dropped = {
            let mut window = self.window.lock();
            let revision = delivery.position.map_or(window.to, Position::number);
            window.push(KeptResult { revision, delivery, place })
        };
        drop(dropped);
        self.subscriptions.trim();
        self.changed.send_replace(());
    }

    /// Ends the subscriptions of all subscribers.
    fn fail(self: &Arc<Self>, failure: Failure) {
        {
            let mut known = self.subscriptions.0.known.lock();
            // A new subscription with this key may exist, with the new log.
            if known.get(&self.key).is_some_and(|shared| shared.as_ptr() == Arc::as_ptr(self)) {
                known.remove(&self.key);
            }
        }
        self.window.lock().failed = Some(failure);
        self.changed.send_replace(());
    }

    /// Ends the subscriptions of a user who is no longer a member, and executes no more on the user's behalf.
    fn evict(&self, actor: &Actor) {
        self.subscribers.lock().retain(|_, one| {
            let stays = one.actor.user_id != actor.user_id;
            if !stays {
                one.notified.notify_one();
            }
            stays
        });
    }

    fn has(&self, subscriber: Uuid) -> bool {
        self.subscribers.lock().contains_key(&subscriber)
    }
}

/// A subscriber of a shared subscription.
pub struct Subscriber {
    id: Uuid,
    shared: Arc<SharedSubscription>,
    notified: Arc<Notify>,
    user: UserId,
}

/// The next step of a subscriber.
#[expect(missing_docs, reason = "the names say it")]
pub enum Next {
    Delivery(Delivery),
    /// The subscriber needs results that are no longer kept.
    Behind,
    /// The user has lost access.
    Evicted,
    Failed(Failure),
}

impl Subscriber {
    /// Waits for the results after revision `at`, and advances `at`.
    pub async fn next(&mut self, at: &mut i32) -> Next {
        loop {
            if !self.shared.channel.tail.has_member(self.user) || !self.shared.has(self.id) {
                return Next::Evicted;
            }
            {
                let window = self.shared.window.lock();
                if let Some(failure) = &window.failed {
                    return Next::Failed(failure.clone());
                }
                if *at < window.from {
                    return Next::Behind;
                }
                if let Some(result) = window.after(*at) {
                    *at = result.revision;
                    return Next::Delivery(result.delivery.clone());
                }
                *at = window.to.max(*at);
            }
            self.notified.notified().await;
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.shared.subscribers.lock().remove(&self.id);
    }
}
