//! The webhooks of a project. Only its owner manages them, and they are not part of the history: no change of a webhook is
//! a revision. `webhook_delivery` has the steps of a delivery, which servers make on behalf of the owner.

use std::time::Duration;

use super::write::{Noun, Write};
use super::{Writer, policy};
use crate::model::clock;
use crate::model::enums::{DeliveryStatus, EventKind};
use crate::model::error::{Error, Result};
use crate::model::ids::{ProjectId, WebhookDeliveryId, WebhookId};
use crate::model::webhook::{Delivery, Webhook, later};
use crate::model::webhook_url;
use crate::storage::revision::Target;
use crate::storage::{webhook, webhook_delivery};

pub use super::webhook_queue::{WebhookQueue, Webhooks};
pub use crate::storage::webhook::{by_ids, of_projects};
pub use crate::storage::webhook_delivery::{
    by_ids as deliveries_by_ids, counts as deliveries_count, page as deliveries_page,
};

/// Properties of a new webhook.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`graphql/mutation/webhook.rs` describes the fields")]
pub struct NewWebhook {
    pub project_id: ProjectId,
    pub url: String,
    pub kinds: Vec<EventKind>,
}

/// Changes of a webhook; `None` leaves a value as it is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`graphql/mutation/webhook.rs` describes the fields")]
pub struct WebhookChanges {
    pub id: WebhookId,
    pub url: Option<String>,
    pub kinds: Option<Vec<EventKind>>,
    pub is_enabled: Option<bool>,
}

const PROJECT: Noun = ("project", "projectId");
const WEBHOOK: Noun = ("webhook", "webhookId");

/// Longest time for which the previous secret signs too.
const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

fn webhooks(writer: &Writer) -> Result<&Webhooks> {
    writer.services.webhooks.as_deref().ok_or_else(|| {
        let why = "This server has no webhooks: its operator must set WEBHOOK_SECRET (--webhook-secret).";
        Error::Forbidden(why.to_owned())
    })
}

/// Each kind once, in the order in which they were given.
fn distinct(kinds: Vec<EventKind>) -> Vec<EventKind> {
    let mut distinct = Vec::with_capacity(kinds.len());
    for kind in kinds {
        if !distinct.contains(&kind) {
            distinct.push(kind);
        }
    }
    distinct
}

/// Begins a change of a webhook by the owner of its project, and locks it.
async fn begin(writer: &Writer, id: WebhookId, noun: Noun) -> Result<(Write, Webhook)> {
    let missing = || Error::not_found(noun.0, noun.1);
    let project = {
        let tx = writer.read().await?;
        webhook::by_ids(&tx, &[id]).await?.pop().ok_or_else(missing)?.project_id
    };
    let write = writer.begin_for(Target::Project(project), noun, policy::may_manage_webhooks).await?;
    let webhook = webhook::locked(&write.tx, project, id).await?.ok_or_else(missing)?;
    Ok((write, webhook))
}

/// Adds a webhook to a project. It receives the events after the present revision. Returns it with its secret.
///
/// # Errors
/// `NotFound`; `Forbidden` unless the actor is the owner, or if the server has no webhooks; `BadInput` for the URL;
/// `Conflict` if the project has too many.
pub async fn create(writer: Writer, new: NewWebhook) -> Result<(Webhook, String)> {
    let write = writer.begin_for(Target::Project(new.project_id), PROJECT, policy::may_manage_webhooks).await?;
    let webhooks = webhooks(&writer)?;
    let url = webhook_url::parse(&new.url, &webhooks.limits.webhook_allow_networks, "url")?;
    let count = webhook::count(&write.tx, new.project_id).await?;
    super::check_room(count, webhooks.limits.max_webhooks, "projectId", "webhooks", "--max-webhooks")?;
    let now = clock::now();
    let webhook = Webhook {
        id: WebhookId(clock::new_id()),
        project_id: new.project_id,
        url,
        kinds: distinct(new.kinds),
        is_enabled: true,
        secret_number: 1,
        previous_secret_until: None,
        revision: write.present_revision(),
        failed_attempts: 0,
        failing_since: None,
        next_attempt_at: None,
        disabled_at: None,
        disabled_reason: None,
        created_at: now,
        updated_at: now,
    };
    webhook::insert(&write.tx, &webhook).await?;
    let secret = webhooks.key.secret(webhook.id, webhook.secret_number)?.text();
    let created = write.commit_beside((webhook, secret)).await?;
    webhooks.queue.changed(new.project_id);
    Ok(created)
}

/// Changes a webhook. A webhook that is enabled again continues after the last delivered revision.
///
/// # Errors
/// `NotFound`; `BadInput` for the URL; `Forbidden` if the server has no webhooks; `Conflict` if the project is deleted.
pub async fn update(writer: Writer, changes: WebhookChanges) -> Result<Webhook> {
    let (write, mut webhook) = begin(&writer, changes.id, WEBHOOK).await?;
    let webhooks = webhooks(&writer)?;
    let now = clock::now();
    if let Some(url) = changes.url {
        webhook.url = webhook_url::parse(&url, &webhooks.limits.webhook_allow_networks, "url")?;
        try_now(&mut webhook);
    }
    if let Some(kinds) = changes.kinds {
        webhook.kinds = distinct(kinds);
        webhook_delivery::give_up_others(&write.tx, &webhook).await?;
        try_now(&mut webhook);
    }
    if let Some(is_enabled) = changes.is_enabled.filter(|is_enabled| *is_enabled != webhook.is_enabled) {
        webhook.is_enabled = is_enabled;
        webhook.disabled_at = (!is_enabled).then_some(now);
        webhook.disabled_reason = (!is_enabled).then(|| "The owner has disabled it.".to_owned());
        try_now(&mut webhook);
    }
    webhook.updated_at = now;
    webhook::save(&write.tx, &webhook).await?;
    let webhook = write.commit_beside(webhook).await?;
    webhooks.queue.changed(webhook.project_id);
    Ok(webhook)
}

/// Starts the attempts of the next delivery anew.
fn try_now(webhook: &mut Webhook) {
    (webhook.failed_attempts, webhook.failing_since, webhook.next_attempt_at) = (0, None, None);
}

/// Deletes a webhook with its deliveries.
///
/// # Errors
/// `NotFound`; `Conflict` if the project is deleted.
pub async fn delete(writer: Writer, id: WebhookId) -> Result<()> {
    let (write, webhook) = begin(&writer, id, WEBHOOK).await?;
    webhook::delete(&write.tx, webhook.project_id, id).await?;
    write.commit_beside(()).await
}

/// Gives a webhook a new secret. The previous one also signs for `overlap`. Returns the webhook with its new secret.
///
/// # Errors
/// `NotFound`; `BadInput` for the overlap; `Forbidden` if the server has no webhooks; `Conflict` if the project is deleted.
pub async fn rotate_secret(writer: Writer, id: WebhookId, overlap_seconds: i32) -> Result<(Webhook, String)> {
    let overlap =
        u64::try_from(overlap_seconds).map(Duration::from_secs).ok().filter(|overlap| *overlap <= MAX_OVERLAP);
    let overlap = overlap.ok_or_else(|| {
        Error::bad_input("overlapSeconds", format!("Give a number from 0 to {}.", MAX_OVERLAP.as_secs()))
    })?;
    let (write, mut webhook) = begin(&writer, id, WEBHOOK).await?;
    let webhooks = webhooks(&writer)?;
    let now = clock::now();
    webhook.secret_number = webhook.secret_number.saturating_add(1);
    webhook.previous_secret_until = (!overlap.is_zero()).then(|| later(now, overlap));
    webhook.updated_at = now;
    webhook::save(&write.tx, &webhook).await?;
    let secret = webhooks.key.secret(id, webhook.secret_number)?.text();
    write.commit_beside((webhook, secret)).await
}

/// Delivers an event again. If its delivery is being repeated, the next attempt is made now.
///
/// # Errors
/// `NotFound`; `Conflict` if the webhook is disabled, the server has no webhooks or the project is deleted.
pub async fn redeliver(writer: Writer, id: WebhookDeliveryId) -> Result<Delivery> {
    const DELIVERY: Noun = ("delivery", "deliveryId");
    let missing = || Error::not_found(DELIVERY.0, DELIVERY.1);
    let webhook = {
        let tx = writer.read().await?;
        webhook_delivery::by_ids(&tx, &[id]).await?.pop().ok_or_else(missing)?.webhook_id
    };
    let (write, mut webhook) = begin(&writer, webhook, DELIVERY).await?;
    let webhooks = webhooks(&writer)?;
    if !webhook.is_enabled {
        return Err(Error::conflict(DELIVERY.1, "The webhook is disabled; `updateWebhook` enables it."));
    }
    let mut delivery = webhook_delivery::by_ids(&write.tx, &[id]).await?.pop().ok_or_else(missing)?;
    let now = clock::now();
    (delivery.status, delivery.next_attempt_at) = (DeliveryStatus::Pending, Some(now));
    webhook_delivery::request(&write.tx, id, now).await?;
    if delivery.revision > webhook.revision {
        webhook.next_attempt_at = None;
        webhook::save(&write.tx, &webhook).await?;
    }
    let delivery = write.commit_beside(delivery).await?;
    webhooks.queue.changed(webhook.project_id);
    Ok(delivery)
}
