//! Finds webhooks with something to deliver, and delivers to many of them at once.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::sender::{Outgoing, Sender};
use crate::domain::Services;
use crate::domain::webhook::Webhooks;
use crate::domain::webhook_delivery::{Lease, Next};
use crate::domain::webhook_message::Message;
use crate::model::clock;
use crate::model::error::Result;
use crate::model::ids::{ProjectId, WebhookId};
use crate::model::webhook::{Attempt, WaitingWebhook};
use crate::storage::db::Db;
use crate::storage::webhook::{Wanted, waiting};

/// Number of messages that a webhook delivers before others get their turn, and the time after which its turn ends.
const TURN: i32 = 20;
const TURN_TIME: Duration = Duration::from_secs(5);

/// Number of webhooks that a statement finds.
const FOUND_AT_ONCE: i32 = 100_000;

/// A lease lasts so many timeouts of an attempt.
const LEASE_TIMEOUTS: u32 = 3;

/// A sweep also finds what has changed so long before the last one: a transaction can be that old.
const OVERLAP: TimeDelta = TimeDelta::minutes(5);

/// Delivers the webhooks of a server.
pub struct Deliverer {
    services: Arc<Services>,
    db: Db,
    sender: Arc<Sender>,
    /// Attempts at once.
    permits: Arc<Semaphore>,
    /// The same for each project that has some.
    shares: Mutex<HashMap<ProjectId, Weak<Semaphore>>>,
    /// The webhooks that this server delivers or will deliver, and whether there is more to deliver since.
    running: Mutex<HashMap<WebhookId, bool>>,
    /// The start of the last sweep.
    swept: Mutex<DateTime<Utc>>,
    stopped: CancellationToken,
    tasks: TaskTracker,
}

impl Deliverer {
    /// Starts to deliver until the server stops, if the services have webhooks. Returns after the first sweep.
    pub async fn start(services: &Arc<Services>, db: &Db, stopped: &CancellationToken, tasks: &TaskTracker) {
        let Some(Webhooks { limits, .. }) = &services.webhooks else { return };
        let this = Arc::new(Self {
            sender: Arc::new(Sender::new(limits)),
            permits: Arc::new(Semaphore::new(limits.webhook_concurrency)),
            services: services.clone(),
            db: db.clone(),
            shares: Mutex::default(),
            running: Mutex::default(),
            swept: Mutex::default(),
            stopped: stopped.clone(),
            tasks: tasks.clone(),
        });
        this.sweep().await;
        tasks.spawn(stopped.clone().run_until_cancelled_owned(this.run()));
    }

    async fn run(self: Arc<Self>) {
        let Some(Webhooks { queue, limits, .. }) = &self.services.webhooks else { return };
        let period = Duration::from_secs(limits.webhook_sweep_seconds);
        let mut sweeps = interval_at(Instant::now() + period, period);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                projects = queue.take() => self.find(Wanted::Projects(projects)).await,
                _ = sweeps.tick() => self.sweep().await,
            }
        }
    }

    async fn sweep(self: &Arc<Self>) {
        let since = std::mem::replace(&mut *self.swept.lock(), clock::now());
        self.find(Wanted::DueOrChanged(since.checked_sub_signed(OVERLAP).unwrap_or(since))).await;
    }

    /// Starts to deliver the webhooks that have something to deliver.
    async fn find(self: &Arc<Self>, wanted: Wanted) {
        let found = async { waiting(&self.db.operator().await?, &wanted, FOUND_AT_ONCE).await }.await;
        let (found, webhooks) = match (found, &self.services.webhooks) {
            (Ok(found), Some(webhooks)) => (found, webhooks),
            (Err(error), _) => {
                tracing::warn!(
                    error = error.message(),
                    cause = error.cause(),
                    "webhooks cannot be read; the next sweep repeats it"
                );
                return;
            }
            (Ok(_), None) => return,
        };
        webhooks.queue.know(found.iter().map(|webhook| webhook.project));
        if let Wanted::Projects(projects) = wanted {
            let without =
                projects.into_iter().filter(|project| found.iter().all(|webhook| webhook.project != *project));
            webhooks.queue.forget(without);
        }
        for webhook in found.into_iter().filter(|webhook| webhook.is_due) {
            self.begin(webhook);
        }
    }

    fn begin(self: &Arc<Self>, webhook: WaitingWebhook) {
        let mut running = self.running.lock();
        if let Some(again) = running.get_mut(&webhook.id) {
            *again = true;
            return;
        }
        running.insert(webhook.id, false);
        drop(running);
        self.tasks.spawn(self.clone().deliver(webhook));
    }

    /// Delivers a webhook, in turns with others, until there is nothing more to deliver.
    async fn deliver(self: Arc<Self>, webhook: WaitingWebhook) {
        loop {
            let Some(permits) = self.stopped.run_until_cancelled(self.permits(webhook.project)).await else { break };
            let turn = self.turn(webhook).await;
            drop(permits);
            let is_more = turn.unwrap_or_else(|error| {
                let (error, cause) = (error.message(), error.cause());
                tracing::warn!(webhook = %webhook.id.0, error, cause, "a webhook is not delivered; the next sweep repeats it");
                false
            });
            if is_more {
                continue;
            }
            // Under one lock, so that a write in between is either seen here or starts another delivery.
            let mut running = self.running.lock();
            if !running.get_mut(&webhook.id).is_some_and(std::mem::take) {
                running.remove(&webhook.id);
                return;
            }
        }
        self.running.lock().remove(&webhook.id);
    }

    /// Waits for the turn of a project, and then for the turn among all projects. A project has a quarter of the permits.
    async fn permits(&self, project: ProjectId) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let share = {
            let mut shares = self.shares.lock();
            let known = shares.get(&project).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let limit = self.services.webhooks.as_ref().map_or(1, |webhooks| webhooks.limits.webhook_concurrency);
                let share = Arc::new(Semaphore::new((limit / 4).max(1)));
                shares.retain(|_, share| share.strong_count() > 0);
                shares.insert(project, Arc::downgrade(&share));
                share
            })
        };
        let of_project = share.acquire_owned().await.ok()?;
        Some((of_project, self.permits.clone().acquire_owned().await.ok()?))
    }

    /// Delivers a few messages. Returns whether there may be more.
    async fn turn(self: &Arc<Self>, webhook: WaitingWebhook) -> Result<bool> {
        let Some(Webhooks { limits, .. }) = &self.services.webhooks else { return Ok(false) };
        let time = Duration::from_secs(limits.webhook_timeout_seconds) * LEASE_TIMEOUTS;
        let Some(mut lease) = self.services.lease_webhook(webhook, time).await? else { return Ok(false) };
        match self.messages(&mut lease).await {
            Ok(Next::Continue | Next::Again) => Ok(!self.stopped.is_cancelled()),
            Ok(Next::End) => Ok(false),
            Ok(Next::RetryAfter(pause)) => {
                self.retry_after(webhook.project, pause);
                Ok(false)
            }
            Err(error) => {
                // If this fails too, the lease ends by itself.
                let _ = self.services.release_webhook(lease, None).await;
                Err(error)
            }
        }
    }

    /// Delivers the next messages, and returns the lease.
    async fn messages(&self, lease: &mut Lease) -> Result<Next> {
        let batch = self.services.webhook_messages(lease, TURN).await?;
        let start = Instant::now();
        let is_over = || self.stopped.is_cancelled() || start.elapsed() > TURN_TIME;
        for requested in &batch.again {
            if is_over() {
                break;
            }
            let attempt = self.send(lease, &requested.1).await?;
            let next = self.services.record_redelivery(lease, requested, &attempt).await?;
            if next != Next::Continue {
                return Ok(next);
            }
        }
        let mut until = lease.is_ready.then_some(batch.until);
        for message in &batch.messages {
            if is_over() {
                until = None;
                break;
            }
            let attempt = self.send(lease, message).await?;
            let retry = (self.retry_time(), rand::random::<f64>());
            let next = self.services.record_attempt(lease, message, &attempt, retry).await?;
            if next != Next::Continue {
                return Ok(next);
            }
        }
        self.services.release_webhook(lease.clone(), until).await?;
        Ok(Next::Again)
    }

    fn retry_time(&self) -> Duration {
        let seconds = self.services.webhooks.as_ref().map(|webhooks| webhooks.limits.webhook_retry_seconds);
        Duration::from_secs(seconds.unwrap_or_default())
    }

    /// Signs and sends a message.
    async fn send(&self, lease: &Lease, message: &Message) -> Result<Attempt> {
        let now = clock::now();
        let (webhook, timestamp) = (&lease.webhook, now.timestamp());
        let mut signatures = Vec::new();
        if let Some(webhooks) = &self.services.webhooks {
            for number in webhook.secrets(now) {
                signatures.push(webhooks.key.secret(webhook.id, number)?.sign(
                    &message.id,
                    timestamp,
                    &message.body,
                )?);
            }
        }
        let outgoing = Outgoing {
            url: webhook.url.clone(),
            id: message.id.clone(),
            timestamp,
            signatures: signatures.join(" "),
            body: message.body.clone(),
        };
        Ok(self.sender.send(outgoing).await)
    }

    fn retry_after(self: &Arc<Self>, project: ProjectId, pause: Duration) {
        let (this, stopped) = (self.clone(), self.stopped.clone());
        let retry = async move {
            sleep(pause).await;
            if let Some(webhooks) = &this.services.webhooks {
                webhooks.queue.changed(project);
            }
        };
        self.tasks.spawn(stopped.run_until_cancelled_owned(retry));
    }
}
