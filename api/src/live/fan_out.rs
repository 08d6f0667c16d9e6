//! Shared subscriptions: what several listeners have asked in the same words is executed once, and each receives the same bytes.
//!
//! A shared subscription keeps its newest results, so many and no more; all shared subscriptions together keep a share of the
//! server's memory, and the oldest result is the first to go. A subscriber that falls behind what is kept goes on by itself, and
//! misses nothing.
//!
//! Subscribers are notified a few at a time, so that a thousand of them do not stand before the next request. Results that come
//! meanwhile are delivered with the next round: the busier the server, the more each of them receives at once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::available_parallelism;

use async_graphql::ServerError;
use futures::future::BoxFuture;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::task::yield_now;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

use super::channel::Channel;
use super::source::{Item, Next as FromSource, Position, Source};
use crate::metrics::{HeldBytes, Metrics};
use crate::model::actor::Actor;
use crate::model::clock;
use crate::model::error::{Error, Result};
use crate::model::ids::UserId;
use crate::model::memory::{Memory, Taken};

/// How many results a shared subscription keeps for subscribers that are a little behind, and how many bytes of them.
const KEPT: usize = 256;
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Which part of the server's memory all kept results take at most.
const KEPT_SHARE: usize = 8;

/// How many events are executed at once, for each core.
const EXECUTIONS_PER_CORE: usize = 8;

/// How long executions that fail by an outage are repeated, and how long the pauses in between are, each twice as long as the one
/// before: a database that restarts is no reason to end a subscription.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// How many subscribers are notified before other work of the server gets its turn.
const NOTIFIED_AT_ONCE: usize = 32;

/// How long a shared subscription that has notified many rests at most: as long as it took, so that half of the time is for others.
const MAX_REST: Duration = Duration::from_millis(10);

/// Executes an operation for an item, or for the error that came in its place.
pub type Execute = Arc<dyn Fn(Actor, Result<Arc<Item>>) -> BoxFuture<'static, Executed> + Send + Sync>;

/// What comes of an execution: the response as JSON without a line break, with `OK` or the code of what failed in it.
pub type Executed = std::result::Result<(String, &'static str), Failure>;

/// An execution without a response that could be delivered.
#[derive(Clone, Debug)]
pub struct Failure {
    /// As the client reads them.
    pub errors: Vec<ServerError>,
    /// Whether the same may succeed when it is tried again.
    pub is_outage: bool,
    /// Whether the actor may not see (any more) what was asked for.
    pub is_not_found: bool,
}

/// A result on its way to one or several subscribers.
#[derive(Clone)]
pub struct Delivery {
    result: Arc<CountedText>,
    /// `OK`, or the code of what failed in it.
    pub code: &'static str,
    /// Where the client can resume after it.
    pub position: Option<Position>,
}

/// Counted for as long as anybody has it.
struct CountedText {
    text: String,
    _memory: Taken,
    _bytes: HeldBytes,
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
    /// Takes it from this memory.
    pub fn new(memory: Memory, metrics: Arc<Metrics>) -> Self {
        Self { memory, metrics }
    }

    /// A result of a subscription.
    ///
    /// # Errors
    /// An outage if there is no memory for it now.
    pub fn delivery(
        &self,
        text: String,
        code: &'static str,
        position: Option<Position>,
    ) -> std::result::Result<Delivery, Failure> {
        let mut memory = Taken::default();
        match self.memory.take(&mut memory, text.len()) {
            Ok(()) => Ok(self.counted(text, memory, code, position)),
            // The client does not see these: it is to come back.
            Err(_) => Err(Failure { errors: Vec::new(), is_outage: true, is_not_found: false }),
        }
    }

    /// A result that must not be lost for want of memory, such as that of a write.
    pub fn uncounted(&self, text: String, code: &'static str) -> Delivery {
        self.counted(text, Taken::default(), code, None)
    }

    fn counted(&self, text: String, memory: Taken, code: &'static str, position: Option<Position>) -> Delivery {
        let bytes = HeldBytes::new(&self.metrics.result_bytes, text.len());
        Delivery { result: Arc::new(CountedText { text, _memory: memory, _bytes: bytes }), code, position }
    }
}

/// Failed executions in a row.
#[derive(Default)]
pub struct Failures(Option<(Instant, Duration)>);

impl Failures {
    /// Waits before the next attempt, unless that would be in vain, or they have failed for long.
    pub async fn may_go_on(&mut self, failure: &Failure) -> bool {
        let (since, pause) = *self.0.get_or_insert_with(|| (Instant::now(), FIRST_PAUSE));
        if !failure.is_outage || since.elapsed() > PATIENCE {
            return false;
        }
        sleep(pause).await;
        self.0 = Some((since, (2 * pause).min(MAX_PAUSE)));
        true
    }

    /// Begins to count anew.
    pub fn are_over(&mut self) {
        self.0 = None;
    }
}

/// What subscribers that share a subscription have in common.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub document: String,
    pub operation: Option<String>,
    /// As JSON, without the one that says where to begin.
    pub variables: String,
    /// The user, if another would receive something else.
    pub user: Option<UserId>,
}

/// The shared subscriptions of a server. Clones share them.
#[derive(Clone)]
pub struct SharedSubscriptions(Arc<Inner>);

struct Inner {
    known: Mutex<HashMap<Key, Weak<SharedSubscription>>>,
    kept: Kept,
    results: Results,
    /// How many events are executed at once.
    executions: Semaphore,
    tasks: TaskTracker,
}

impl SharedSubscriptions {
    /// None yet; they run in these tasks.
    pub fn new(results: Results, tasks: TaskTracker) -> Self {
        let executions = Semaphore::new(EXECUTIONS_PER_CORE * available_parallelism().map_or(1, usize::from));
        let kept = Kept { limit: results.memory.limit() / KEPT_SHARE, places: Mutex::default() };
        Self(Arc::new(Inner { known: Mutex::default(), kept, results, executions, tasks }))
    }

    /// The turn to execute an event. It is held by tasks of the server, and never while a client is waited for.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.executions.acquire().await.ok()
    }

    /// Makes a listener that has reached a revision a subscriber. `None` if its topic cannot be shared.
    pub fn join(&self, key: Key, execute: &Execute, source: &Source, at: i32, actor: &Actor) -> Option<Subscriber> {
        let mut known = lock(&self.0.known);
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
        lock(&shared.subscribers).insert(id, Subscribed { actor: actor.clone(), notified: notified.clone() });
        Some(Subscriber { id, shared, notified, user: actor.user_id })
    }
}

/// The results that all shared subscriptions keep together, the oldest first.
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
        let mut places = lock(&self.subscriptions.0.kept.places);
        if let Some((bytes, _)) = places.by_age.remove(&self.age) {
            places.bytes -= bytes;
        }
    }
}

impl SharedSubscriptions {
    fn place(&self, bytes: usize, of: &Arc<SharedSubscription>) -> Place {
        let mut places = lock(&self.0.kept.places);
        let age = places.next;
        places.next += 1;
        places.bytes += bytes;
        places.by_age.insert(age, (bytes, Arc::downgrade(of)));
        Place { subscriptions: self.clone(), age }
    }

    /// Drops the oldest results while there are too many bytes. The caller holds no window.
    fn trim(&self) {
        loop {
            let oldest = {
                let mut places = lock(&self.0.kept.places);
                if places.bytes <= self.0.kept.limit {
                    return;
                }
                let oldest = places.by_age.pop_first();
                places.bytes -= oldest.as_ref().map_or(0, |(_, (bytes, _))| *bytes);
                oldest
            };
            let Some((age, (_, shared))) = oldest else { return };
            if let Some(shared) = shared.upgrade() {
                let dropped = lock(&shared.window).drop_up_to(age);
                drop(dropped);
            }
        }
    }
}

/// A subscription that several listeners share.
struct SharedSubscription {
    subscriptions: SharedSubscriptions,
    key: Key,
    execute: Execute,
    channel: Arc<Channel>,
    source: tokio::sync::Mutex<Source>,
    window: Mutex<Window>,
    /// Notified when there are results, or when a subscriber may have lost access.
    changed: watch::Sender<()>,
    /// Held while subscribers are notified: what is read meanwhile would only wait.
    notifying: tokio::sync::Mutex<()>,
    subscribers: Mutex<HashMap<Uuid, Subscribed>>,
}

/// A subscriber, as its shared subscription knows it.
struct Subscribed {
    /// On whose behalf the subscription can be executed.
    actor: Actor,
    notified: Arc<Notify>,
}

/// The newest results, in order.
struct Window {
    /// The revision after which they are kept.
    from: i32,
    /// The revision up to which there are any.
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
    /// Adds a result. Returns those that must make room for it, to be dropped when the window is free.
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

    /// Takes out the results up to an age.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for SharedSubscription {
    fn drop(&mut self) {
        let mut known = lock(&self.subscriptions.0.known);
        // Another may have been begun meanwhile.
        if known.get(&self.key).is_some_and(|shared| shared.strong_count() == 0) {
            known.remove(&self.key);
        }
    }
}

/// Notifies the subscribers whenever something has changed, for as long as there are any.
async fn notify(mut changed: watch::Receiver<()>, shared: Weak<SharedSubscription>) {
    while changed.changed().await.is_ok() {
        let Some(shared) = shared.upgrade() else { return };
        let notified: Vec<_> = lock(&shared.subscribers).values().map(|one| one.notified.clone()).collect();
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

/// Executes a shared subscription whenever there is more, for as long as it has subscribers.
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
                if failures.may_go_on(&failure).await {
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
    /// Adds what is new to the results. It is read and executed on behalf of one of the subscribers.
    async fn advance(self: &Arc<Self>) -> std::result::Result<(), Failure> {
        let mut source = self.source.lock().await;
        let mut pushed = 0;
        loop {
            let actor = lock(&self.subscribers).values().next().map(|one| one.actor.clone());
            let Some(actor) = actor else { return Ok(()) };
            source.act_for(&actor);
            let (item, position) = match source.next().await {
                Ok(FromSource::Item((item, position))) => (Ok(item), position),
                Ok(FromSource::CaughtUp(revision)) => {
                    lock(&self.window).to = revision;
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
                        // A long run must not leave everybody behind: each of them would then go on by itself.
                        drop(self.notifying.lock().await);
                    }
                }
                Err(failure) => {
                    source.seek(lock(&self.window).to);
                    if !failure.is_not_found {
                        return Err(failure);
                    }
                    // Removed between the two.
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
        self.subscriptions.0.results.delivery(text, code, position)
    }

    fn push(self: &Arc<Self>, delivery: Delivery) {
        let place = self.subscriptions.place(delivery.payload().len(), self);
        let dropped = {
            let mut window = lock(&self.window);
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
            let mut known = lock(&self.subscriptions.0.known);
            // There may be another by now, whose log is the new one.
            if known.get(&self.key).is_some_and(|shared| shared.as_ptr() == Arc::as_ptr(self)) {
                known.remove(&self.key);
            }
        }
        lock(&self.window).failed = Some(failure);
        self.changed.send_replace(());
    }

    /// Executes no more on behalf of a user who is no member any more, and ends their subscriptions.
    fn evict(&self, actor: &Actor) {
        lock(&self.subscribers).retain(|_, one| {
            let stays = one.actor.user_id != actor.user_id;
            if !stays {
                one.notified.notify_one();
            }
            stays
        });
    }

    fn has(&self, subscriber: Uuid) -> bool {
        lock(&self.subscribers).contains_key(&subscriber)
    }
}

/// A listener that shares a subscription.
pub struct Subscriber {
    id: Uuid,
    shared: Arc<SharedSubscription>,
    notified: Arc<Notify>,
    user: UserId,
}

/// What a subscriber receives next.
#[expect(missing_docs, reason = "the names say it")]
pub enum Next {
    Delivery(Delivery),
    /// It is further back than what is kept.
    Behind,
    /// It may no longer listen.
    Evicted,
    Failed(Failure),
}

impl Subscriber {
    /// Waits for what comes after a revision, and sets that to it.
    pub async fn next(&mut self, at: &mut i32) -> Next {
        loop {
            if !self.shared.channel.tail.has_member(self.user) || !self.shared.has(self.id) {
                return Next::Evicted;
            }
            {
                let window = lock(&self.shared.window);
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
        lock(&self.shared.subscribers).remove(&self.id);
    }
}
