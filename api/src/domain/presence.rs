//! Who is here: who listens to a project now, at whichever server, and hearing of it. Nothing of it is in the history.
//!
//! A server knows its own listeners at once. On PostgreSQL it also says who they are in a table, again and again, in which the
//! others look; of a server that is gone nothing is said any more, and that is how its listeners go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::Stream;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::events::{Cursor, Feed};
use super::{Services, access};
use crate::model::actor::Actor;
use crate::model::clock;
use crate::model::error::Result;
use crate::model::ids::{ProjectId, UserId};
use crate::model::presence::{Person, Presence};
use crate::storage::presence;
pub use crate::storage::presence::of_projects;

/// How long a server waits for more to say before it says who has come or gone.
const BREATH: Duration = Duration::from_millis(100);

/// Who listens at this server.
pub struct Here {
    server: Uuid,
    stays: Mutex<Stays>,
    changed: Notify,
}

type Stays = HashMap<(ProjectId, UserId), Stay>;

/// How somebody is in a project.
struct Stay {
    subscriptions: usize,
    since: DateTime<Utc>,
}

impl Default for Here {
    fn default() -> Self {
        Self { server: clock::new_id(), stays: Mutex::default(), changed: Notify::new() }
    }
}

impl Here {
    fn stays(&self) -> MutexGuard<'_, Stays> {
        self.stays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everybody who is here, and where.
    fn all(&self) -> Vec<(ProjectId, Person)> {
        let stays = self.stays();
        let person = |user_id: UserId, stay: &Stay| Person { user_id, since: stay.since };
        stays.iter().map(|((project, user), stay)| (*project, person(*user, stay))).collect()
    }
}

/// Somebody's being here, for as long as it is kept.
pub struct Attendance {
    here: Arc<Here>,
    feed: Arc<Feed>,
    user: UserId,
}

impl Attendance {
    /// Somebody begins to listen to a project of theirs.
    pub(super) fn begin(services: &Services, feed: &Arc<Feed>, user: UserId) -> Self {
        let begun = Self { here: services.here.clone(), feed: feed.clone(), user };
        let is_first = {
            let mut stays = begun.here.stays();
            let new = || Stay { subscriptions: 0, since: clock::now() };
            let stay = stays.entry((feed.project(), user)).or_insert_with(new);
            stay.subscriptions += 1;
            stay.subscriptions == 1
        };
        if is_first {
            begun.tell();
        }
        begun
    }

    fn tell(&self) {
        self.feed.people.stir();
        self.here.changed.notify_one();
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let key = (self.feed.project(), self.user);
        let is_last = {
            let mut stays = self.here.stays();
            let is_last = stays.get_mut(&key).is_some_and(|stay| {
                stay.subscriptions -= 1;
                stay.subscriptions == 0
            });
            if is_last {
                stays.remove(&key);
            }
            is_last
        };
        if is_last {
            self.tell();
        }
    }
}

/// Those who are here, as the listeners of a project share them.
#[derive(Default)]
pub(super) struct People {
    /// Counts how often they may have changed.
    stirred: watch::Sender<u64>,
    /// What was read of the servers' table, and at which count; held by who reads for all.
    read: tokio::sync::Mutex<Option<(u64, Vec<Presence>)>>,
}

impl People {
    pub(super) fn stir(&self) {
        self.stirred.send_modify(|times| *times += 1);
    }

    /// Whether anybody wants to know.
    pub(super) fn are_watched(&self) -> bool {
        self.stirred.receiver_count() > 0
    }
}

/// Who is in a project: those who listen here, and those of whom another server said so lately. Who came first comes first.
pub fn who(services: &Services, project: ProjectId, presences: &[Presence]) -> Vec<Person> {
    let here = &services.here;
    let lately = clock::now() - patience(services);
    let elsewhere = presences.iter().filter(|presence| {
        presence.project_id == project && presence.server_id != here.server && presence.seen_at >= lately
    });
    let mut since: HashMap<UserId, DateTime<Utc>> = HashMap::new();
    let own = here.all().into_iter().filter(|(of, _)| *of == project).map(|(_, person)| person);
    for person in own.chain(elsewhere.map(|presence| presence.person.clone())) {
        since.entry(person.user_id).and_modify(|first| *first = person.since.min(*first)).or_insert(person.since);
    }
    let mut people: Vec<Person> = since.into_iter().map(|(user_id, since)| Person { user_id, since }).collect();
    people.sort_by_key(|person| (person.since, person.user_id));
    people
}

fn patience(services: &Services) -> TimeDelta {
    TimeDelta::seconds(i64::try_from(services.limits.presence_seconds).unwrap_or(i64::MAX / 1_000))
}

/// Who is in a project of the actor's, and then again whenever that has changed. Whoever listens is one of them.
///
/// # Errors
/// `NotFound` where the actor is no member (any more); the stream ends with an error where the database fails.
pub async fn listen(
    services: &Arc<Services>,
    actor: &Actor,
    cursor: &Cursor,
    project: ProjectId,
) -> Result<impl Stream<Item = Result<Vec<Person>>> + use<>> {
    let feed = services.hub.feed(project);
    let (mut stirs, mut log) = (feed.people.stirred.subscribe(), feed.watch());
    feed.read_members(services, actor).await?;
    cursor.attend(services, &feed, actor.user_id);
    let (services, actor) = (services.clone(), actor.clone());
    Ok(async_stream::try_stream! {
        let mut told = None;
        loop {
            let stirred = *stirs.borrow_and_update();
            let people = look(&services, &actor, &feed, stirred).await?;
            if told.as_ref() != Some(&people) {
                told = Some(people.clone());
                yield people;
            }
            let goes_on = tokio::select! {
                stirred = stirs.changed() => stirred.is_ok(),
                // Somebody may not listen any more.
                changed = log.changed() => changed,
            };
            if !goes_on {
                break;
            }
        }
    })
}

async fn look(services: &Services, actor: &Actor, feed: &Feed, stirred: u64) -> Result<Vec<Person>> {
    feed.read_members(services, actor).await?;
    let project = feed.project();
    let mut read = feed.people.read.lock().await;
    if read.as_ref().is_none_or(|(then, _)| *then < stirred) {
        let tx = services.read_for_all(actor).await?;
        let member = access::member(&tx, project).await?;
        let presences = of_projects(&tx, member.as_slice()).await?;
        *read = Some((stirred, presences));
    }
    let presences = read.as_ref().map_or(&[][..], |(_, presences)| presences);
    let members = feed.members();
    Ok(who(services, project, presences).into_iter().filter(|person| members.contains(&person.user_id)).collect())
}

/// Says to the other servers who listens here, whenever that has changed and from time to time, until it is dropped.
pub(super) async fn keep(services: &Services) {
    let mut ticks = interval(Duration::from_secs(services.limits.presence_seconds) / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut has_said = false;
    loop {
        tokio::select! {
            () = services.here.changed.notified() => sleep(BREATH).await,
            _ = ticks.tick() => {}
        }
        let people = services.here.all();
        if has_said || !people.is_empty() {
            has_said = !people.is_empty();
            if let Err(error) = say(services, people).await {
                has_said = true;
                tracing::warn!(error = error.message(), ?error, "the other servers do not know who listens here");
            }
        }
    }
}

async fn say(services: &Services, people: Vec<(ProjectId, Person)>) -> Result<()> {
    let now = clock::now();
    presence::keep(&services.db, services.here.server, people, now, now - patience(services)).await
}

/// Says to the other servers that nobody listens here any more.
pub(super) async fn leave(services: &Services) {
    if let Err(error) = say(services, Vec::new()).await {
        tracing::debug!(?error, "the other servers will find out by themselves that nobody listens here");
    }
}
