//! The newest entries of a project's log, read once for all subscribers on this server.
//!
//! A log can lose its end: a standby without the newest revisions takes over, or a backup is restored. Revisions that
//! were delivered are then assigned again. The tail keeps the last entry that it read, and each read starts with that
//! entry. If the entry is missing or different, the tail is lost for good, with every position in it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::shared_read::SharedRead;
use crate::domain::{Needs, Services, Tx, access};
use crate::model::actor::Actor;
use crate::model::clock;
use crate::model::enums::EventKind;
use crate::model::error::{Error, Newest, Result};
use crate::model::event::Event;
use crate::model::ids::{ProjectId, UserId};
use crate::storage::{event, operator, project};

/// Number of entries that are read at once.
pub(super) const BATCH: usize = 100;

/// Number of the newest entries that a tail keeps.
const KEPT: usize = 256;

/// The tail of one project's log.
pub struct LogTail {
    project: ProjectId,
    shared: SharedRead<Arc<Entries>>,
}

/// The entries that a tail has read.
#[derive(Clone)]
pub struct Entries {
    /// The revision after which entries are kept.
    from: i32,
    /// The newest revision.
    pub to: i32,
    events: VecDeque<Event>,
    last: Option<Fingerprint>,
    /// The members. The same allocation is kept until they change.
    pub members: Arc<HashSet<UserId>>,
    /// The project's revision at the time when the tail was found to be lost.
    lost: Option<i32>,
}

/// Distinguishes two entries with the same revision.
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

impl Entries {
    /// The entries after a revision; `None` if some of them are no longer kept.
    pub fn after(&self, revision: i32) -> Option<impl Iterator<Item = &Event>> {
        let skipped = self.events.partition_point(|event| event.revision <= revision);
        (self.from <= revision).then(|| self.events.range(skipped..))
    }

    fn check(&self) -> Result<()> {
        self.lost.map_or(Ok(()), |revision| Err(Error::PositionLost(Newest::Revision(revision))))
    }
}

impl LogTail {
    /// The tail of a project's log, not read yet.
    pub fn new(project: ProjectId) -> Self {
        Self { project, shared: SharedRead::default() }
    }

    /// Makes the next caller read the log, unless the tail already has this revision.
    pub fn advanced(&self, revision: i32) {
        if self.shared.latest().is_none_or(|read| read.to < revision) {
            self.shared.invalidate();
        }
    }

    /// Makes the next caller read the log.
    pub fn resync(&self) {
        self.shared.invalidate();
    }

    /// Notifies when there may be more entries or other members.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.subscribe()
    }

    /// Whether a user was a member when the log was last read.
    pub fn has_member(&self, user: UserId) -> bool {
        self.shared.latest().is_some_and(|read| read.members.contains(&user))
    }

    /// The members when the log was last read. The same allocation is returned until they change.
    pub fn members(&self) -> Arc<HashSet<UserId>> {
        self.shared.latest().map(|read| read.members.clone()).unwrap_or_default()
    }

    /// Whether the tail is lost.
    pub fn is_lost(&self) -> bool {
        self.shared.latest().is_some_and(|read| read.lost.is_some())
    }

    /// Whether the tail agrees with the database. True if nothing was read yet.
    pub fn agrees(&self, log_end: Option<&operator::LogEnd>) -> bool {
        let Some(read) = self.shared.latest() else { return true };
        log_end.is_some_and(|log_end| {
            read.to == log_end.revision
                && read.last.is_none_or(|last| last.created_at == log_end.at)
                && *read.members == log_end.members
        })
    }

    /// Reads the new entries, if the log may have changed since the last read.
    ///
    /// # Errors
    /// `NotFound` if the actor is not a member, or is no longer one; `PositionLost` if the tail is lost.
    pub async fn read(&self, services: &Services, actor: &Actor) -> Result<Arc<Entries>> {
        let suits = |read: &Arc<Entries>| read.lost.is_some() || read.members.contains(&actor.user_id);
        // Notify the subscribers of changed members, and of a lost tail, even without a notification.
        let is_other = AtomicBool::default();
        let read = self.shared.get(suits, |before| async {
            let read = match before.clone() {
                Some(before) if before.lost.is_some() => return Ok(before),
                before => Arc::new(self.extend(services, actor, before).await?),
            };
            let has_changed =
                before.is_some_and(|before| !Arc::ptr_eq(&before.members, &read.members) || read.lost.is_some());
            is_other.store(has_changed, Ordering::Relaxed);
            Ok(read)
        });
        let read = read.await?;
        if is_other.into_inner() {
            self.shared.notify();
        }
        read.check()?;
        Ok(read)
    }

    async fn extend(&self, services: &Services, actor: &Actor, before: Option<Arc<Entries>>) -> Result<Entries> {
        let tx = services.read_for_all(actor, Needs::Known).await?;
        let is_of_replica = tx.is_of_replica();
        let read = self.extend_in(tx, services, actor, before.clone()).await;
        if !is_of_replica || read.as_ref().is_ok_and(|read| read.lost.is_none()) {
            return read;
        }
        // The replica may lack what the primary has returned before.
        let tx = services.read_for_all(actor, Needs::Present).await?;
        self.extend_in(tx, services, actor, before).await
    }

    async fn extend_in(
        &self,
        tx: Tx,
        services: &Services,
        actor: &Actor,
        before: Option<Arc<Entries>>,
    ) -> Result<Entries> {
        let members = project::members(&tx, self.project).await?;
        if !members.contains(&actor.user_id) {
            self.remove_member(actor.user_id);
            return Err(Error::no_project());
        }
        let newest = async || event::newest(&tx, self.project).await?.ok_or_else(Error::no_project);
        let mut read = match before {
            Some(before) => (*before).clone(),
            None => {
                let to = newest().await?;
                let members = Arc::default();
                Entries { from: to, to, events: VecDeque::new(), last: None, members, lost: None }
            }
        };
        if *read.members != members {
            read.members = Arc::new(members);
        }
        let now = clock::now();
        // Read the last entry again, to check that it is still the same.
        let mut from = read.to.saturating_sub(1);
        let mut is_first = true;
        loop {
            let member = access::required(&tx, self.project).await?;
            let mut batch = event::after(&tx, &[member], from, &[], BATCH).await?;
            let is_full = batch.len() == BATCH;
            if is_first {
                let again = batch.first().filter(|event| event.revision == read.to).map(Fingerprint::of);
                if again.is_none() || read.last.is_some_and(|last| Some(last) != again) {
                    let revision = newest().await?;
                    if !tx.is_of_replica() {
                        tracing::warn!(project = %self.project.0, revision, "the end of the log was replaced: positions in it are lost");
                    }
                    read.lost = Some(revision);
                    return Ok(read);
                }
                batch.remove(0);
                read.last = again;
                is_first = false;
            }
            for event in batch {
                // Another server's clock may be ahead.
                services.metrics().lag((now - event.created_at).to_std().unwrap_or_default());
                (read.last, read.to) = (Some(Fingerprint::of(&event)), event.revision);
                read.events.push_back(event);
                if read.events.len() > KEPT {
                    read.from = read.events.pop_front().map_or(read.from, |event| event.revision);
                }
            }
            from = read.to;
            if !is_full {
                // The events are executed on replicas that have them.
                tx.learn_position().await?;
                return Ok(read);
            }
        }
    }

    fn remove_member(&self, user: UserId) {
        self.shared.amend(|read| {
            if read.members.contains(&user) {
                let members = read.members.iter().copied().filter(|member| *member != user).collect();
                *read = Arc::new(Entries { members: Arc::new(members), ..(**read).clone() });
            }
        });
        self.shared.notify();
    }
}
