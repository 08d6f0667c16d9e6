//! A project's log as listeners hear it: the log is the truth, a wake-up only says that there is more to read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::Stream;
use tokio::sync::watch;

use super::{Services, Tx};
use crate::model::actor::Actor;
use crate::model::chat::Message;
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::ids::{ProjectId, SessionId};
use crate::model::names::EventKind;
pub use crate::storage::event::{after, at};
use crate::storage::{chat, event};

/// How many entries a listener reads at once.
const BATCH: usize = 100;

/// A listener looks by itself this often, so that a wake-up that was lost (a write by another process) costs this delay
/// and never an event.
const SWEEP: Duration = Duration::from_secs(2);

/// The listeners of all projects.
#[derive(Default)]
pub struct Hub {
    projects: Mutex<HashMap<ProjectId, watch::Sender<i32>>>,
}

impl Hub {
    /// Tells the listeners of a project that it has reached a revision.
    pub(super) fn wake(&self, project: ProjectId, revision: i32) {
        let mut projects = self.lock();
        if let Some(sender) = projects.get(&project) {
            if sender.is_closed() {
                projects.remove(&project);
            } else {
                // Writes of one project may arrive here out of order.
                sender.send_if_modified(|newest| std::mem::replace(newest, revision.max(*newest)) < revision);
            }
        }
    }

    fn listen(&self, project: ProjectId) -> watch::Receiver<i32> {
        let mut projects = self.lock();
        projects.retain(|id, sender| *id == project || !sender.is_closed());
        projects.entry(project).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ProjectId, watch::Sender<i32>>> {
        self.projects.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Entries of a project's log after a revision (without one: after the present), of these kinds where any are named, for
/// as long as the actor may hear them. Every entry comes once and in order.
///
/// # Errors
/// `NotFound` where the actor is no member; the stream ends with an error where the database fails.
pub async fn listen(
    services: &Arc<Services>,
    actor: &Actor,
    project: ProjectId,
    kinds: Vec<EventKind>,
    after_revision: Option<i32>,
) -> Result<impl Stream<Item = Result<Event>> + use<>> {
    // From before the first read, so that nothing is written between that and the first wait.
    let woken = services.hub.listen(project);
    let start = start(services, actor, project, after_revision).await?;
    let read = move |tx: Tx, from: i32| {
        let kinds = kinds.clone();
        async move { event::after(&tx, &[project], from, &kinds, BATCH).await }
    };
    Ok(follow(services.clone(), actor.clone(), project, woken, start, read, |event: &Event| event.revision))
}

/// Messages of a session after a revision (without one: after the present), for as long as the actor may hear them.
/// Every message comes once and in order.
///
/// # Errors
/// `NotFound` where the actor cannot see the session; the stream ends with an error where the database fails.
pub async fn listen_to_session(
    services: &Arc<Services>,
    actor: &Actor,
    session: SessionId,
    after_revision: Option<i32>,
) -> Result<impl Stream<Item = Result<Message>> + use<>> {
    let found = chat::sessions_by_ids(&services.read(actor).await?, &[session]).await?.into_iter().next();
    let project = found.ok_or_else(|| Error::not_found("session", "sessionId"))?.project_id;
    let woken = services.hub.listen(project);
    let start = start(services, actor, project, after_revision).await?;
    let read = move |tx: Tx, from: i32| async move { chat::messages_after(&tx, session, from, BATCH).await };
    Ok(follow(services.clone(), actor.clone(), project, woken, start, read, |message: &Message| message.revision))
}

async fn start(services: &Services, actor: &Actor, project: ProjectId, after_revision: Option<i32>) -> Result<i32> {
    let newest = event::newest(&services.read(actor).await?, project).await?;
    let newest = newest.ok_or_else(|| Error::not_found("project", "projectId"))?;
    match after_revision {
        None => Ok(newest),
        Some(revision) if (0..=newest).contains(&revision) => Ok(revision),
        Some(_) => Err(Error::bad_input("afterRevision", format!("The project has revisions 0 to {newest}."))),
    }
}

/// Reads a log to its end, waits for more, and so on.
fn follow<T, F>(
    services: Arc<Services>,
    actor: Actor,
    project: ProjectId,
    mut woken: watch::Receiver<i32>,
    start: i32,
    read: impl Fn(Tx, i32) -> F + Send + 'static,
    revision_of: impl Fn(&T) -> i32 + Send + 'static,
) -> impl Stream<Item = Result<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<Vec<T>>> + Send,
{
    async_stream::try_stream! {
        let mut at = start;
        loop {
            woken.mark_unchanged();
            let batch = read(services.read(&actor).await?, at).await?;
            // Woken, and nothing to read: it may be that the wake-up was the end of access. What is no longer there to see is no
            // longer there to hear.
            if batch.is_empty() && event::newest(&services.read(&actor).await?, project).await?.is_none() {
                Err(Error::not_found("project", "projectId"))?;
            }
            let full = batch.len() == BATCH;
            for item in batch {
                at = revision_of(&item);
                yield item;
            }
            if !full {
                // A lost sender cannot happen while this receiver lives; waiting for the sweep would be right anyway.
                let _ = tokio::time::timeout(SWEEP, woken.changed()).await;
            }
        }
    }
}
