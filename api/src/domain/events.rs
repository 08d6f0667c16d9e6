//! A project's log as listeners hear it: the log is the truth, a wake-up only says that there is more to read.
//!
//! A project that anyone on this server listens to has one [`Feed`]. It is read once a wake-up, whoever listens, by one of
//! those who do; the others take what it keeps. Who stands further back than it keeps reads the log, so that what is kept is
//! bounded and nothing is missed.
//!
//! A log can lose its end: a standby that lacked the newest revisions takes over, or a backup is restored. Numbers that were heard
//! are then given again. A feed remembers the last entry that it read, and each read begins with that one: where it is not there
//! any more, or is another, the feed is lost, and so is the position of everybody who listens by it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;

use super::presence::{self, Attendance, People};
use super::streaming_message::Growths;
use super::{Services, Tx, access};
use crate::model::actor::Actor;
use crate::model::chat::Message;
use crate::model::clock;
use crate::model::error::{Error, Position, Result};
use crate::model::event::Event;
use crate::model::ids::{ProjectId, SessionId, UserId};
use crate::model::names::EventKind;
pub use crate::storage::event::{after, at};
use crate::storage::wake_up::{self, Bus, Outbox, WakeUp};
use crate::storage::{chat, event, operator, project};

/// How many entries are read at once.
const BATCH: usize = 100;

/// How many of the newest entries a feed keeps.
const KEPT: usize = 256;

/// The feeds of all projects that are listened to.
#[derive(Default)]
pub struct Hub(Arc<Feeds>);

#[derive(Default)]
struct Feeds {
    known: Mutex<HashMap<ProjectId, Weak<Feed>>>,
    /// What other servers are to be told, and to tell.
    outbox: Outbox,
}

impl Hub {
    /// Tells everybody who listens to a project, on this server and others, that it has reached a revision.
    pub(super) fn wake(&self, project: ProjectId, revision: i32) {
        self.wake_here(project, revision);
        self.0.outbox.put(project, revision);
    }

    /// Whether this server hears at once what others write, where it has a bus.
    pub fn hears_others(&self) -> bool {
        self.0.outbox.works()
    }

    /// Tells those on other servers that something has changed of which the log does not know: by a revision that every project
    /// has passed, which makes nobody read the log.
    pub(super) fn wake_beside(&self, project: ProjectId) {
        self.0.outbox.put(project, 0);
    }

    fn wake_here(&self, project: ProjectId, revision: i32) {
        if let Some(feed) = self.feed_of(project) {
            // Wake-ups of one project may arrive here out of order.
            feed.due.send_if_modified(|due| {
                let is_new = due.revision < revision;
                due.revision = due.revision.max(revision);
                is_new
            });
            feed.stir();
        }
    }

    /// Makes all feeds be read again: wake-ups may have been lost.
    fn wake_all(&self) {
        for feed in self.all() {
            feed.look_again();
        }
    }

    pub(super) fn feed(&self, project: ProjectId) -> Arc<Feed> {
        let mut feeds = lock(&self.0.known);
        let known = feeds.get(&project).and_then(Weak::upgrade).filter(|feed| feed.lost().is_none());
        known.unwrap_or_else(|| {
            let feed = Arc::new(Feed {
                project,
                feeds: self.0.clone(),
                due: watch::Sender::default(),
                beside: watch::Sender::default(),
                growing: Growths::default(),
                people: People::default(),
                reading: tokio::sync::Mutex::default(),
                known: Mutex::default(),
            });
            feeds.insert(project, Arc::downgrade(&feed));
            self.0.outbox.hear(project, true);
            feed
        })
    }

    pub(super) fn feed_of(&self, project: ProjectId) -> Option<Arc<Feed>> {
        // Upgraded outside of the lock it could be the last of its kind, and would want the lock when dropped.
        let feed = lock(&self.0.known).get(&project).cloned();
        feed.and_then(|feed| feed.upgrade())
    }

    fn all(&self) -> Vec<Arc<Feed>> {
        let feeds: Vec<_> = lock(&self.0.known).values().cloned().collect();
        feeds.iter().filter_map(Weak::upgrade).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a feed is yet to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Due {
    /// The newest revision that it has been told of.
    revision: i32,
    /// How often it has been asked to look whatever it was told.
    round: u64,
}

/// The newest of a project's log, and who may hear it.
pub struct Feed {
    project: ProjectId,
    feeds: Arc<Feeds>,
    due: watch::Sender<Due>,
    /// Counts how often something may have changed, in the log or beside it.
    beside: watch::Sender<u64>,
    /// The messages of the project whose growth is listened to.
    pub(super) growing: Growths,
    /// Who listens to it.
    pub(super) people: People,
    /// Held by who reads for all.
    reading: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

/// What tells an entry of a log from another of the same revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    created_at: DateTime<Utc>,
    kind: EventKind,
}

impl Fingerprint {
    fn of(event: &Event) -> Self {
        Self { created_at: event.created_at, kind: event.kind }
    }
}

#[derive(Default)]
struct Known {
    /// The last entry that was read.
    last: Option<Fingerprint>,
    /// The revision that the project had when the log turned out not to be the one that was read.
    lost: Option<i32>,
    /// The revision after which entries are kept, and the last that was read; none before the first read.
    span: Option<(i32, i32)>,
    events: VecDeque<Event>,
    members: Arc<HashSet<UserId>>,
    round: u64,
}

impl Feed {
    /// The project.
    pub(super) fn project(&self) -> ProjectId {
        self.project
    }

    /// Says when there may be more to read.
    pub fn watch(&self) -> Watch {
        Watch(self.due.subscribe())
    }

    /// Whether a user was a member of the project when its log was last read.
    pub fn is_heard_by(&self, user: UserId) -> bool {
        lock(&self.known).members.contains(&user)
    }

    /// The members when the log was last read: one allocation for as long as they stay the same.
    pub fn members(&self) -> Arc<HashSet<UserId>> {
        lock(&self.known).members.clone()
    }

    /// The project's revision when the log turned out not to be the one that was read; none as long as it is.
    pub fn lost(&self) -> Option<i32> {
        lock(&self.known).lost
    }

    /// Reads what is new, if nobody has since the last wake-up. Answers the newest revision.
    ///
    /// # Errors
    /// `NotFound` where the actor is no member (any more); `PositionLost` where the log is another than the one that was read;
    /// `Unavailable` or `Internal` where the database fails.
    pub async fn read(&self, services: &Services, actor: &Actor) -> Result<i32> {
        let _reading = self.reading.lock().await;
        let due = *self.due.borrow();
        let span = {
            let known = lock(&self.known);
            if let Some(revision) = known.lost {
                return Err(Error::PositionLost(Position::Revision(revision)));
            }
            match known.span {
                Some((_, to))
                    if to >= due.revision && known.round >= due.round && known.members.contains(&actor.user_id) =>
                {
                    return Ok(to);
                }
                span => span,
            }
        };
        let tx = services.read_for_all(actor).await?;
        let members = project::members(&tx, self.project).await?;
        if !members.contains(&actor.user_id) {
            let mut known = lock(&self.known);
            let rest = known.members.iter().copied().filter(|member| *member != actor.user_id).collect();
            self.set_members(&mut known, rest);
            return Err(gone());
        }
        let from = match span {
            Some((_, to)) => to,
            None => event::newest(&tx, self.project).await?.ok_or_else(gone)?,
        };
        // Once more with the last entry that was read, to see that it is still that one.
        let (mut to, mut events, mut last) = (from.saturating_sub(1), Vec::new(), None);
        loop {
            let member = access::required(&tx, self.project).await?;
            let mut batch = event::after(&tx, &[member], to, &[], BATCH).await?;
            let is_full = batch.len() == BATCH;
            if last.is_none() {
                let again = batch.first().filter(|event| event.revision == from).map(Fingerprint::of);
                let before = lock(&self.known).last;
                if again.is_none() || before.is_some_and(|before| Some(before) != again) {
                    let revision = event::newest(&tx, self.project).await?.ok_or_else(gone)?;
                    return Err(self.lose(revision));
                }
                batch.remove(0);
                (to, last) = (from, again);
            }
            last = batch.last().map(Fingerprint::of).or(last);
            to = batch.last().map_or(to, |event| event.revision);
            events.extend(batch);
            let surplus = events.len().saturating_sub(KEPT);
            events.drain(..surplus);
            if !is_full {
                break;
            }
        }

        let now = clock::now();
        for event in &events {
            // Another server's clock may be ahead of ours.
            services.metrics().lag((now - event.created_at).to_std().unwrap_or_default());
        }
        let mut known = lock(&self.known);
        let from = span.map_or(to, |(from, _)| from);
        known.events.extend(events);
        let surplus = known.events.len().saturating_sub(KEPT);
        known.events.drain(..surplus);
        // What is kept has no gaps, so its first entry says what is not kept.
        let from = known.events.front().map_or(from, |first| from.max(first.revision - 1));
        known.span = Some((from, to));
        known.last = last;
        known.round = due.round;
        // What there was to read before this read began is there now: more than that was never true, and what is must not wait
        // for it.
        self.due.send_if_modified(|now| {
            if now.revision == due.revision {
                now.revision = due.revision.min(to);
            }
            false
        });
        self.set_members(&mut known, members);
        Ok(to)
    }

    /// Ends this feed: its project's log is another now. Who listens from here on gets a feed of its own.
    fn lose(&self, revision: i32) -> Error {
        tracing::warn!(project = %self.project.0, revision, "the log is not the one that was read: positions in it are lost");
        lock(&self.known).lost = Some(revision);
        self.look_again();
        self.people.stir();
        Error::PositionLost(Position::Revision(revision))
    }

    /// Reads who may hear of the project, for those who have no position in its log: where that is lost, they begin anew.
    pub(super) async fn read_members(&self, services: &Services, actor: &Actor) -> Result<()> {
        match self.read(services, actor).await {
            Ok(_) => Ok(()),
            Err(Error::PositionLost(_)) => Err(Error::Unavailable("the project's log is another now".to_owned())),
            Err(error) => Err(error),
        }
    }

    fn set_members(&self, known: &mut Known, members: HashSet<UserId>) {
        if *known.members != members {
            let has_listeners = !known.members.is_empty();
            known.members = Arc::new(members);
            if has_listeners {
                // Whoever has just read this may have had another reason to: those who wait must see who may still listen.
                self.look_again();
            }
        }
    }

    /// The entries after a revision up to the last that was read, with that; none where they are no longer kept.
    fn after(&self, revision: i32) -> Option<(Vec<Event>, i32)> {
        let known = lock(&self.known);
        let (from, to) = known.span?;
        let skipped = known.events.partition_point(|event| event.revision <= revision);
        (from <= revision).then(|| (known.events.range(skipped..).cloned().collect(), to.max(revision)))
    }

    fn look_again(&self) {
        self.due.send_modify(|due| due.round += 1);
        self.stir();
    }

    /// Says that something may have changed that is not in the log.
    pub(super) fn stir(&self) {
        self.beside.send_modify(|times| *times += 1);
    }

    /// Hears of every [`Feed::stir`], of the log's wake-ups too.
    pub(super) fn beside(&self) -> watch::Receiver<u64> {
        self.beside.subscribe()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut feeds = lock(&self.feeds.known);
        // Somebody may have begun another meanwhile.
        if feeds.get(&self.project).is_some_and(|feed| feed.strong_count() == 0) {
            feeds.remove(&self.project);
            self.feeds.outbox.hear(self.project, false);
        }
    }
}

pub(super) fn gone() -> Error {
    Error::not_found("project", "projectId")
}

/// Says when a feed may have more to read.
pub struct Watch(watch::Receiver<Due>);

impl Watch {
    /// Waits until there may be more than when this was last asked; false once there can be no more.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// Where a listener stands: what one run of a subscription begins with and leaves behind.
#[derive(Default)]
pub struct Cursor {
    feed: OnceLock<Arc<Feed>>,
    /// Where the run began.
    start: OnceLock<i32>,
    /// The last revision that was handed on or passed over.
    at: OnceLock<AtomicI32>,
    /// The listener's being here.
    attendance: OnceLock<Arc<Attendance>>,
    /// Whether the listener has been told anything yet.
    has_told: bool,
}

impl Cursor {
    /// Where the subscription's own arguments say, or after the revision that was heard last, where the client says so.
    pub fn new(heard: Option<i32>) -> Self {
        let cursor = Self::default();
        if let Some(heard) = heard {
            cursor.begin_at(heard);
        }
        cursor
    }

    /// After a revision that this feed's listeners have heard.
    pub fn of(feed: Arc<Feed>, revision: i32) -> Self {
        let cursor = Self { feed: OnceLock::from(feed), has_told: true, ..Self::default() };
        cursor.begin_at(revision);
        cursor
    }

    /// The same listener's, after another revision.
    pub fn onward(&self, revision: i32) -> Self {
        let cursor =
            Self { feed: self.feed.clone(), attendance: self.attendance.clone(), has_told: true, ..Self::default() };
        cursor.begin_at(revision);
        cursor
    }

    /// The same listener's, where the run began, of which they have been told nothing.
    pub fn again(&self) -> Self {
        let start = self.start.get().copied();
        Self {
            feed: self.feed.clone(),
            attendance: self.attendance.clone(),
            has_told: self.has_told,
            ..Self::new(start)
        }
    }

    fn begin_at(&self, start: i32) {
        self.start.get_or_init(|| start);
        self.advance(start);
    }

    /// The feed; none before the subscription has begun.
    pub fn feed(&self) -> Option<&Arc<Feed>> {
        self.feed.get()
    }

    /// The revision, or of a streaming message how much of it was handed on; none before the subscription has begun.
    pub fn at(&self) -> Option<i32> {
        self.at.get().map(|at| at.load(Ordering::Relaxed))
    }

    pub(super) fn advance(&self, revision: i32) {
        self.at.get_or_init(AtomicI32::default).store(revision, Ordering::Relaxed);
    }

    /// Whether the listener has been told anything yet.
    pub(super) fn has_told(&self) -> bool {
        self.has_told
    }

    /// Makes the listener be here for as long as they listen.
    pub(super) fn attend(&self, services: &Services, feed: &Arc<Feed>, user: UserId) {
        self.attendance.get_or_init(|| Arc::new(Attendance::begin(services, feed, user)));
    }

    /// Takes the place that the client asked for.
    async fn begin(
        &self,
        services: &Services,
        actor: &Actor,
        project: ProjectId,
        after_revision: Option<i32>,
    ) -> Result<Arc<Feed>> {
        if let Some(feed) = self.feed() {
            return Ok(feed.clone());
        }
        // From before the first read, so that nothing is written between that and the first wait.
        let feed = services.hub.feed(project);
        let newest = event::newest(&services.read(actor).await?, project).await?.ok_or_else(gone)?;
        let start = self.at().or(after_revision).unwrap_or(newest);
        if start < 0 {
            return Err(Error::bad_input("afterRevision", "Revisions begin with 1; 0 is before all of them."));
        }
        if start > newest {
            return Err(Error::PositionLost(Position::Revision(newest)));
        }
        self.begin_at(start);
        self.attend(services, &feed, actor.user_id);
        Ok(self.feed.get_or_init(|| feed).clone())
    }
}

/// Entries of a project's log from where the cursor stands (a new one: after `after_revision`, or without it after the
/// present) to the newest, of these kinds where any are named. Every entry comes once and in order. Whoever asks to be told that
/// they are attached (`ready`) first gets the entry before those, of whatever kind.
///
/// # Errors
/// `NotFound` where the actor is no member; `PositionLost` where the log does not reach `after_revision`. The stream ends with an
/// error where the log is lost or the database fails.
pub async fn listen(
    services: &Arc<Services>,
    actor: &Actor,
    cursor: &Arc<Cursor>,
    project: ProjectId,
    kinds: Vec<EventKind>,
    after_revision: Option<i32>,
    ready: bool,
) -> Result<impl Stream<Item = Result<Event>> + use<>> {
    let feed = cursor.begin(services, actor, project, after_revision).await?;
    let first = if ready && !cursor.has_told() {
        let start = cursor.at().unwrap_or_default();
        let tx = services.read(actor).await?;
        let member = access::required(&tx, project).await?;
        let found = event::after(&tx, &[member], start.saturating_sub(1), &[], 1).await?;
        found.into_iter().find(|event| event.revision == start)
    } else {
        None
    };
    let wanted = kinds.clone();
    let live = move |events: Vec<Event>| {
        Some(events.into_iter().filter(|event| wanted.is_empty() || wanted.contains(&event.kind)).collect())
    };
    let read = move |tx: Tx, from: i32| {
        let kinds = kinds.clone();
        async move { event::after(&tx, &[access::required(&tx, project).await?], from, &kinds, BATCH).await }
    };
    let at = Place { services: services.clone(), actor: actor.clone(), feed, cursor: cursor.clone() };
    let events = replay(at, live, read, |event: &Event| event.revision);
    Ok(stream::iter(first.map(Ok)).chain(events))
}

/// Messages of a session, likewise.
///
/// # Errors
/// `NotFound` where the actor cannot see the session; the stream ends with an error where the database fails.
pub async fn listen_to_session(
    services: &Arc<Services>,
    actor: &Actor,
    cursor: &Arc<Cursor>,
    session: SessionId,
    after_revision: Option<i32>,
) -> Result<impl Stream<Item = Result<Message>> + use<>> {
    let project = match cursor.feed() {
        Some(feed) => feed.project,
        None => {
            let found = chat::sessions_by_ids(&services.read(actor).await?, &[session]).await?.into_iter().next();
            found.ok_or_else(|| Error::not_found("session", "sessionId"))?.project_id
        }
    };
    let feed = cursor.begin(services, actor, project, after_revision).await?;
    let live = move |events: Vec<Event>| {
        let is_ours =
            |event: &Event| event.kind == EventKind::MessageAdded && event.session_id.is_none_or(|id| id == session);
        (!events.iter().any(is_ours)).then(Vec::new)
    };
    let read = move |tx: Tx, from: i32| async move { chat::messages_after(&tx, session, from, BATCH).await };
    let at = Place { services: services.clone(), actor: actor.clone(), feed, cursor: cursor.clone() };
    Ok(replay(at, live, read, |message: &Message| message.revision))
}

/// Who reads which log, and from where.
struct Place {
    services: Arc<Services>,
    actor: Actor,
    feed: Arc<Feed>,
    cursor: Arc<Cursor>,
}

/// What there is to hear up to the newest revision: from the feed where it keeps what `live` needs, or else from the log.
fn replay<T, F>(
    place: Place,
    live: impl Fn(Vec<Event>) -> Option<Vec<T>> + Send + 'static,
    read: impl Fn(Tx, i32) -> F + Send + 'static,
    revision_of: impl Fn(&T) -> i32 + Send + 'static,
) -> impl Stream<Item = Result<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<Vec<T>>> + Send,
{
    let Place { services, actor, feed, cursor } = place;
    async_stream::try_stream! {
        loop {
            let at = cursor.at().unwrap_or_default();
            if let Some(revision) = feed.lost() {
                Err(Error::PositionLost(Position::Revision(revision)))?;
            }
            // Who may hear what is kept was found out when it was read; of anyone else, the log's own read decides.
            let kept = feed.is_heard_by(actor.user_id).then(|| feed.after(at)).flatten();
            let kept = kept.and_then(|(events, to)| Some((live(events)?, to)));
            let (items, to, is_full) = match kept {
                Some((items, to)) => (items, to, false),
                None => {
                    let tx = services.read(&actor).await?;
                    let newest = event::newest(&tx, feed.project).await?.ok_or_else(gone)?;
                    let items = read(tx, at).await?;
                    let is_full = items.len() == BATCH;
                    (items, newest, is_full)
                }
            };
            for item in items {
                cursor.advance(revision_of(&item));
                yield item;
            }
            if !is_full {
                cursor.advance(to);
                break;
            }
        }
    }
}

/// Keeps the listeners of this server in step with what others write, until it is dropped: wakes them by what comes by the bus,
/// where there is one, and compares all of their projects with the database every `sweep`.
pub fn keep_awake(services: Arc<Services>, bus: Option<Bus>, sweep: Duration) -> impl Future<Output = ()> {
    if bus.is_some() {
        // Before anybody can listen or write.
        services.hub.0.outbox.open();
    }
    async move {
        let hub = &services.hub;
        let told = async {
            let Some(bus) = bus else { return };
            let heard = |wake_up| match wake_up {
                WakeUp::Reached(project, revision) => hub.wake_here(project, revision),
                WakeUp::LookAgain(project) => hub.feed_of(project).iter().for_each(|feed| feed.look_again()),
                WakeUp::LookAtAll => hub.wake_all(),
            };
            wake_up::run(&bus, &hub.0.outbox, heard).await;
        };
        let swept = async {
            let mut ticks = tokio::time::interval(sweep);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if let Err(error) = services.sweep().await {
                    tracing::warn!(
                        error = error.message(),
                        ?error,
                        "the sweep over the projects that are listened to failed"
                    );
                }
            }
        };
        tokio::join!(told, swept, presence::keep(&services));
    }
}

impl Services {
    /// Wakes the feeds that the database is ahead of, or whose members are others now: one read for the whole server.
    async fn sweep(&self) -> Result<()> {
        let feeds: Vec<_> = self.hub.all();
        let feeds: HashMap<ProjectId, Arc<Feed>> = feeds.into_iter().map(|feed| (feed.project, feed)).collect();
        if feeds.is_empty() {
            return Ok(());
        }
        let projects: Vec<ProjectId> = feeds.keys().copied().collect();
        let mut found = operator::heads(&self.db.operator().await?, &projects).await?;
        for (project, feed) in feeds {
            let head = found.remove(&project);
            let is_known = {
                let known = lock(&feed.known);
                match (known.span, head) {
                    // Nobody has read it yet; who is about to will see everything.
                    (None, _) => true,
                    (Some((_, to)), Some(head)) => {
                        to == head.revision
                            && known.last.is_none_or(|last| last.created_at == head.at)
                            && *known.members == head.members
                    }
                    (Some(_), None) => false,
                }
            };
            if !is_known {
                feed.look_again();
            } else if feed.beside.receiver_count() > 0 {
                // Of what is beside the log only a look can tell.
                feed.stir();
            }
            if feed.people.are_watched() {
                feed.people.stir();
            }
        }
        Ok(())
    }
}
