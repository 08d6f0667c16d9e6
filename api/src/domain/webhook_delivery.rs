//! The steps of a delivery. A server makes them on behalf of the owner of the project: it takes the lease of a webhook,
//! reads the next messages, and records each attempt.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::webhook_message::{Batch, Message, next};
use super::{Services, Writer};
use crate::model::actor::{Actor, Claims};
use crate::model::clock;
use crate::model::enums::DeliveryStatus;
use crate::model::error::Result;
use crate::model::ids::{UserId, WebhookDeliveryId};
use crate::model::webhook::{Attempt, Delivery, GONE, WaitingWebhook, Webhook, later, retry_at};
use crate::storage::db::Needs;
use crate::storage::{webhook, webhook_delivery};

/// A lease of a webhook.
#[derive(Clone, Debug)]
pub struct Lease {
    owner: Actor,
    holder: Uuid,
    time: Duration,
    /// The webhook as it was when the lease was taken, with the failures of the next event.
    pub webhook: Webhook,
    /// Whether the next event can be delivered now. Otherwise only earlier ones are to be delivered again.
    pub is_ready: bool,
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next message.
    Continue,
    /// The lease was returned, also because the owner has changed the webhook; there may be more to deliver.
    Again,
    /// The lease is lost, or was returned because the webhook is disabled.
    End,
    /// The lease was returned; the next attempt is after this time.
    RetryAfter(Duration),
}

/// Why a webhook is disabled after the status [`GONE`].
const IS_GONE: &str = "The receiver has responded with 410 Gone.";

/// The owner of a project, as the actor of its webhooks.
fn owner(user_id: UserId) -> Actor {
    Actor { user_id, expires_at: None, verified_email: None, claims: Arc::new(Claims::default()), is_machine: false }
}

impl Services {
    /// Takes the lease of a webhook; `None` if there is nothing to deliver now, or another server delivers it.
    ///
    /// # Errors
    /// `RateLimited`, or `ReadOnly`.
    pub async fn lease_webhook(self: &Arc<Self>, found: WaitingWebhook, time: Duration) -> Result<Option<Lease>> {
        let (owner, holder) = (owner(found.owner), clock::new_id());
        let claim = |writer: Writer| async move {
            let tx = writer.open().await?;
            let claimed = webhook::claim(&tx, found.id, holder, time).await?;
            match &claimed {
                Some(_) => tx.commit().await?,
                None => tx.rollback().await?,
            }
            Ok(claimed)
        };
        let claimed = self.write(&owner, claim).await?;
        Ok(claimed.map(|(webhook, is_ready)| Lease { owner, holder, time, webhook, is_ready }))
    }

    /// The next messages of a webhook, at most so many.
    ///
    /// # Errors
    /// `NotFound` if the project has another owner now.
    pub async fn webhook_messages(&self, lease: &Lease, limit: i32) -> Result<Batch> {
        let tx = self.read_for_all(&lease.owner, Needs::Present).await?;
        next(&tx, &lease.webhook, lease.is_ready, limit).await
    }

    /// Returns a lease. The webhook moves to `revision` if it has no messages up to it.
    ///
    /// # Errors
    /// As [`Services::lease_webhook`].
    pub async fn release_webhook(self: &Arc<Self>, lease: Lease, revision: Option<i32>) -> Result<()> {
        let Lease { owner, holder, webhook, .. } = lease;
        let release = |writer: Writer| async move {
            let tx = writer.open().await?;
            if webhook::release(&tx, webhook.id, holder, revision).await? {
                webhook_delivery::prune(&tx, webhook.id).await?;
            }
            tx.commit().await
        };
        self.write(&owner, release).await
    }

    /// Records the attempt to deliver the next event. After a success the webhook moves to its revision.
    ///
    /// # Errors
    /// As [`Services::lease_webhook`].
    pub async fn record_attempt(
        self: &Arc<Self>,
        lease: &mut Lease,
        message: &Message,
        attempt: &Attempt,
        (retry_time, jitter): (Duration, f64),
    ) -> Result<Next> {
        let now = clock::now();
        let mut delivery = delivery(&lease.webhook, message, attempt);
        let (id, holder) = (lease.webhook.id, lease.holder);
        let Some(error) = &attempt.error else { return self.record_success(lease, delivery).await };
        let since = lease.webhook.failing_since.unwrap_or(now);
        let failed = lease.webhook.failed_attempts.saturating_add(1);
        let retry_at = retry_at(failed, since, now, retry_time, jitter).filter(|_| attempt.status != Some(GONE));
        let pause = retry_at.map(|at| (at - now).to_std().unwrap_or_default()).ok_or_else(|| match attempt.status {
            Some(GONE) => IS_GONE.to_owned(),
            _ => format!("Every attempt since {} has failed. The last error: {error}", since.format("%F %T UTC")),
        });
        delivery.status = if pause.is_ok() { DeliveryStatus::Pending } else { DeliveryStatus::Failed };
        delivery.next_attempt_at = pause.as_ref().ok().map(|pause| later(now, *pause));
        let is_disabled = pause.is_err();
        let next = pause.as_ref().map_or(Next::End, |pause| Next::RetryAfter(*pause));
        let changed_at = lease.webhook.updated_at;
        let fail = |writer: Writer| async move {
            let tx = writer.open().await?;
            let pause = pause.as_ref().map(|pause| *pause).map_err(String::as_str);
            let is_unchanged = webhook::fail_attempt(&tx, (id, holder), changed_at, (now, since), pause).await?;
            if is_unchanged {
                webhook_delivery::save(&tx, &delivery).await?;
            } else {
                webhook::release(&tx, id, holder, None).await?;
            }
            tx.commit().await?;
            Ok(is_unchanged)
        };
        let is_unchanged = self.write(&lease.owner, fail).await?;
        if is_unchanged && is_disabled {
            // Without the reason, which can contain what the receiver responded.
            let (project, status) = (lease.webhook.project_id.0, attempt.status);
            tracing::warn!(webhook = %id.0, %project, status, "a webhook was disabled");
        }
        // The owner has changed the webhook during the attempt: the next one is made at once.
        Ok(if is_unchanged { next } else { Next::Again })
    }

    async fn record_success(self: &Arc<Self>, lease: &mut Lease, delivery: Delivery) -> Result<Next> {
        let (id, holder, time, revision) = (lease.webhook.id, lease.holder, lease.time, delivery.revision);
        let known = lease.webhook.updated_at;
        let advance = |writer: Writer| async move {
            let tx = writer.open().await?;
            let Some(changed_at) = webhook::advance(&tx, id, holder, revision, time).await? else {
                return Ok(Next::End);
            };
            webhook_delivery::save(&tx, &delivery).await?;
            if changed_at != known {
                webhook::release(&tx, id, holder, None).await?;
            }
            tx.commit().await?;
            Ok(if changed_at == known { Next::Continue } else { Next::Again })
        };
        let next = self.write(&lease.owner, advance).await?;
        (lease.webhook.failed_attempts, lease.webhook.failing_since) = (0, None);
        Ok(next)
    }

    /// Records the attempt to deliver an event again. The webhook does not move, and there is no other attempt. If the
    /// receiver is gone, the webhook is disabled.
    ///
    /// # Errors
    /// As [`Services::lease_webhook`].
    pub async fn record_redelivery(
        self: &Arc<Self>,
        lease: &Lease,
        (requested, message): &(Option<DateTime<Utc>>, Message),
        attempt: &Attempt,
    ) -> Result<Next> {
        let requested = *requested;
        let mut delivery = delivery(&lease.webhook, message, attempt);
        if attempt.error.is_some() {
            delivery.status = DeliveryStatus::Failed;
        }
        let (id, holder, time, changed_at) = (lease.webhook.id, lease.holder, lease.time, lease.webhook.updated_at);
        let (now, is_gone) = (clock::now(), attempt.status == Some(GONE));
        let record = |writer: Writer| async move {
            let tx = writer.open().await?;
            if !webhook::prolong(&tx, id, holder, time).await? {
                return Ok(Next::End);
            }
            webhook_delivery::answer(&tx, &delivery, requested).await?;
            let is_disabled =
                is_gone && webhook::fail_attempt(&tx, (id, holder), changed_at, (now, now), Err(IS_GONE)).await?;
            tx.commit().await?;
            Ok(if is_disabled { Next::End } else { Next::Continue })
        };
        self.write(&lease.owner, record).await
    }
}

/// The delivery after an attempt that has succeeded.
fn delivery(webhook: &Webhook, message: &Message, attempt: &Attempt) -> Delivery {
    let now = clock::now();
    let is_delivered = attempt.error.is_none();
    Delivery {
        id: WebhookDeliveryId(clock::new_id()),
        webhook_id: webhook.id,
        project_id: webhook.project_id,
        revision: message.revision,
        kind: message.kind,
        status: DeliveryStatus::Succeeded,
        attempts: 1,
        response_status: attempt.status.map(i32::from),
        error: attempt.error.clone(),
        created_at: now,
        last_attempt_at: now,
        next_attempt_at: None,
        delivered_at: is_delivered.then_some(now),
    }
}
