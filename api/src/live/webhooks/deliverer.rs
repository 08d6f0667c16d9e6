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
use crate::model::ids::{ProjectId, UserId, WebhookId};
use crate::model::webhook::{Attempt, WaitingWebhook};
use crate::storage::db::Db;
use crate::storage::webhook::{Wanted, waiting};

/// Number of messages that a webhook delivers before others do, and the time after which it stops in any case.
const BATCH: i32 = 20;
const BATCH_TIME: Duration = Duration::from_secs(5);

/// Number of webhooks that a statement finds.
const FOUND_AT_ONCE: i32 = 100_000;

/// A lease lasts so many timeouts of an attempt.
const LEASE_TIMEOUTS: u32 = 3;

/// A sweep also finds what has changed so long before the last one: a transaction can be that old.
const OVERLAP: TimeDelta = TimeDelta::minutes(5);

/// Delivers the webhooks of a server.
pub struct Deliverer {
    services: Arc<Services>,
    webhooks: Arc<Webhooks>,
    db: Db,
    sender: Arc<Sender>,
    /// Attempts at once.
    permits: Arc<Semaphore>,
    /// The same for each owner of projects that has some.
    shares: Mutex<HashMap<UserId, Weak<Semaphore>>>,
    /// The webhooks that this server delivers or will deliver, and whether there is more to deliver since.
    running: Mutex<HashMap<WebhookId, bool>>,
    stopped: CancellationToken,
    tasks: TaskTracker,
}

impl Deliverer {
    /// Starts to deliver until the server stops, if the services have webhooks. Returns after the first sweep.
    pub async fn start(services: &Arc<Services>, db: &Db, stopped: &CancellationToken, tasks: &TaskTracker) {
        let Some(webhooks) = &services.webhooks else { return };
        let this = Arc::new(Self {
            sender: Arc::new(Sender::new(&webhooks.limits)),
            permits: Arc::new(Semaphore::new(webhooks.limits.webhook_concurrency)),
            services: services.clone(),
            webhooks: webhooks.clone(),
            db: db.clone(),
            shares: Mutex::default(),
            running: Mutex::default(),
            stopped: stopped.clone(),
            tasks: tasks.clone(),
        });
        let swept = this.sweep(DateTime::default()).await;
        tasks.spawn(stopped.clone().run_until_cancelled_owned(this.run(swept)));
    }

    async fn run(self: Arc<Self>, mut swept: DateTime<Utc>) {
        let period = Duration::from_secs(self.webhooks.limits.webhook_sweep_seconds);
        let mut sweeps = interval_at(Instant::now() + period, period);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                projects = self.webhooks.queue.take() => drop(self.find(Wanted::Projects(projects)).await),
                _ = sweeps.tick() => swept = self.sweep(swept).await,
            }
        }
    }

    /// Finds what has changed since the last sweep that did not fail, and returns the time of the last one now.
    async fn sweep(self: &Arc<Self>, last: DateTime<Utc>) -> DateTime<Utc> {
        let now = clock::now();
        let since = last.checked_sub_signed(OVERLAP).unwrap_or(last);
        if self.find(Wanted::DueOrChanged(since)).await { now } else { last }
    }

    /// Starts to deliver the webhooks that have something to deliver. Returns whether they could be read.
    async fn find(self: &Arc<Self>, wanted: Wanted) -> bool {
        let found = async { waiting(&self.db.operator().await?, &wanted, FOUND_AT_ONCE).await }.await;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(
                    error = error.message(),
                    cause = error.cause(),
                    "webhooks cannot be read; the next sweep repeats it"
                );
                return false;
            }
        };
        let queue = &self.webhooks.queue;
        queue.know(found.iter().map(|webhook| webhook.project));
        if let Wanted::Projects(projects) = wanted {
            let without =
                projects.into_iter().filter(|project| found.iter().all(|webhook| webhook.project != *project));
            queue.forget(without);
        }
        for webhook in found {
            self.begin(webhook);
        }
        true
    }

    fn begin(self: &Arc<Self>, webhook: WaitingWebhook) {
        let mut running = self.running.lock();
        // Such a webhook is leased and therefore not due, and its messages may have been read before the last write.
        if let Some(again) = running.get_mut(&webhook.id) {
            *again = true;
            return;
        }
        if !webhook.is_due {
            return;
        }
        running.insert(webhook.id, false);
        drop(running);
        self.tasks.spawn(self.clone().deliver(webhook));
    }

    /// Delivers a webhook, batch by batch, until there is nothing more to deliver.
    async fn deliver(self: Arc<Self>, webhook: WaitingWebhook) {
        loop {
            let Some(permits) = self.stopped.run_until_cancelled(self.permits(webhook.owner)).await else { break };
            let delivered = self.deliver_batch(webhook).await;
            drop(permits);
            let is_more = delivered.unwrap_or_else(|error| {
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

    /// Waits for a permit of the owner, who has a quarter of them however many projects there are, and then for one of all
    /// owners.
    async fn permits(&self, owner: UserId) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let share = {
            let mut shares = self.shares.lock();
            let known = shares.get(&owner).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let share = Arc::new(Semaphore::new((self.webhooks.limits.webhook_concurrency / 4).max(1)));
                shares.retain(|_, share| share.strong_count() > 0);
                shares.insert(owner, Arc::downgrade(&share));
                share
            })
        };
        let of_owner = share.acquire_owned().await.ok()?;
        Some((of_owner, self.permits.clone().acquire_owned().await.ok()?))
    }

    /// Delivers a few messages. Returns whether there may be more.
    async fn deliver_batch(self: &Arc<Self>, webhook: WaitingWebhook) -> Result<bool> {
        let time = Duration::from_secs(self.webhooks.limits.webhook_timeout_seconds) * LEASE_TIMEOUTS;
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
        let batch = self.services.webhook_messages(lease, BATCH).await?;
        let start = Instant::now();
        let is_over = || self.stopped.is_cancelled() || start.elapsed() > BATCH_TIME;
        for requested in &batch.redeliveries {
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
            let retry = (Duration::from_secs(self.webhooks.limits.webhook_retry_seconds), rand::random::<f64>());
            let next = self.services.record_attempt(lease, message, &attempt, retry).await?;
            if next != Next::Continue {
                return Ok(next);
            }
        }
        // Otherwise a requested delivery that cannot be read would be read again without an end.
        let was_work =
            !batch.messages.is_empty() || !batch.redeliveries.is_empty() || batch.until > lease.webhook.revision;
        self.services.release_webhook(lease.clone(), until).await?;
        Ok(if was_work { Next::Again } else { Next::End })
    }

    /// Signs and sends a message.
    async fn send(&self, lease: &Lease, message: &Message) -> Result<Attempt> {
        let now = clock::now();
        let (webhook, timestamp) = (&lease.webhook, now.timestamp());
        let mut signatures = Vec::new();
        for number in webhook.secrets(now) {
            let secret = self.webhooks.key.secret(webhook.id, number)?;
            signatures.push(secret.sign(&message.id, timestamp, &message.body)?);
        }
        let outgoing = Outgoing {
            url: webhook.url.clone(),
            id: message.id.clone(),
            timestamp,
            signatures: signatures.join(" "),
            body: message.body.clone(),
        };
        let start = Instant::now();
        let attempt = self.sender.send(outgoing).await;
        self.services.metrics().webhook_attempted(start.elapsed(), attempt.error.is_none());
        Ok(attempt)
    }

    fn retry_after(self: &Arc<Self>, project: ProjectId, pause: Duration) {
        let (this, stopped) = (self.clone(), self.stopped.clone());
        let retry = async move {
            sleep(pause).await;
            this.webhooks.queue.changed(project);
        };
        self.tasks.spawn(stopped.run_until_cancelled_owned(retry));
    }
}
