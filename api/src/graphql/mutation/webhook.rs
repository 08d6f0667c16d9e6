//! Webhooks.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::domain::webhook::{self, NewWebhook, WebhookChanges};
use crate::graphql::context::caller;
use crate::graphql::enums::EventKind;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::types::webhook::{Webhook, WebhookDelivery};
use crate::model::ids::{ProjectId, WebhookDeliveryId, WebhookId};

#[derive(Default)]
pub struct WebhookMutation;

/// Properties of a new webhook.
#[derive(InputObject)]
struct CreateWebhookInput {
    /// The project whose events it receives.
    project_id: ID,
    /// The URL to send events to, with https or http. By default it must lead to a public address.
    url: String,
    /// Only events of these kinds; empty or absent: all.
    kinds: Option<Vec<EventKind>>,
}

/// Changes of a webhook.
#[derive(InputObject)]
struct UpdateWebhookInput {
    /// The webhook to change.
    webhook_id: ID,
    /// The URL to send events to. Null or absent: unchanged.
    url: Option<String>,
    /// Only events of these kinds; empty: all. Null or absent: unchanged.
    kinds: Option<Vec<EventKind>>,
    /// Whether events are sent. A webhook that is enabled again continues after its `revision`. Null or absent: unchanged.
    is_enabled: Option<bool>,
}

/// A webhook to delete.
#[derive(InputObject)]
struct DeleteWebhookInput {
    /// The webhook to delete.
    webhook_id: ID,
}

/// A day, in seconds.
const DEFAULT_OVERLAP: i32 = 86_400;

/// A webhook that gets a new secret.
#[derive(InputObject)]
struct RotateWebhookSecretInput {
    /// The webhook that gets a new secret.
    webhook_id: ID,
    /// For how long events are also signed with the present secret, in seconds: 0 to 2,592,000 (30 days).
    #[graphql(default_with = "Some(DEFAULT_OVERLAP)")]
    overlap_seconds: Option<i32>,
}

/// A delivery to repeat.
#[derive(InputObject)]
struct RedeliverInput {
    /// The delivery to repeat.
    delivery_id: ID,
}

/// Result of a change of a webhook.
#[derive(SimpleObject)]
struct WebhookPayload {
    /// The webhook after the change.
    webhook: Webhook,
}

/// Result of a mutation that makes a secret.
#[derive(SimpleObject)]
struct WebhookSecretPayload {
    /// The webhook after the change.
    webhook: Webhook,
    /// The secret with which receivers verify signatures (`whsec_…`). It is never shown again.
    secret: String,
}

/// Result of deleting a webhook.
#[derive(SimpleObject)]
struct DeleteWebhookPayload {
    /// The id that the webhook had, for removal from the client's cache.
    deleted_webhook_id: ID,
}

/// Result of repeating a delivery.
#[derive(SimpleObject)]
struct RedeliverPayload {
    /// The delivery, which is pending until the event was sent.
    delivery: WebhookDelivery,
}

#[Object]
impl WebhookMutation {
    /// Adds a webhook to a project of the caller. It receives the events after the present revision. Webhooks are not part
    /// of the history: their changes are no revisions. The setting `MAX_WEBHOOKS` limits their number (20 by default). FORBIDDEN
    /// if the server has no `WEBHOOK_SECRET`.
    async fn create_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project, the URL and the kinds of events.")] input: CreateWebhookInput,
    ) -> Attempt<WebhookSecretPayload> {
        attempt(async {
            let project_id = ProjectId::parse(&input.project_id, "projectId")?;
            let kinds = input.kinds.unwrap_or_default().into_iter().map(Into::into).collect();
            let new = NewWebhook { project_id, url: input.url, kinds };
            let caller = caller(ctx)?;
            let (webhook, secret) = caller.write(ctx, |writer| webhook::create(writer, new)).await?;
            Ok(WebhookSecretPayload { webhook: Webhook(webhook), secret })
        })
        .await
    }

    /// Changes a webhook, or enables or disables it.
    async fn update_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The changes.")] input: UpdateWebhookInput,
    ) -> Attempt<WebhookPayload> {
        attempt(async {
            let changes = WebhookChanges {
                id: WebhookId::parse(&input.webhook_id, "webhookId")?,
                url: input.url,
                kinds: input.kinds.map(|kinds| kinds.into_iter().map(Into::into).collect()),
                is_enabled: input.is_enabled,
            };
            let caller = caller(ctx)?;
            let webhook = caller.write(ctx, |writer| webhook::update(writer, changes)).await?;
            Ok(WebhookPayload { webhook: Webhook(webhook) })
        })
        .await
    }

    /// Deletes a webhook with its deliveries. A message that is being sent may still arrive.
    async fn delete_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The webhook to delete.")] input: DeleteWebhookInput,
    ) -> Attempt<DeleteWebhookPayload> {
        attempt(async {
            let id = WebhookId::parse(&input.webhook_id, "webhookId")?;
            let caller = caller(ctx)?;
            caller.write(ctx, |writer| webhook::delete(writer, id)).await?;
            Ok(DeleteWebhookPayload { deleted_webhook_id: id.0.into() })
        })
        .await
    }

    /// Gives a webhook a new secret. During the overlap, events have a signature of both secrets, so that receivers can
    /// change to the new one. A rotation during the overlap ends the oldest secret at once.
    async fn rotate_webhook_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The webhook, and how long the present secret is used too.")] input: RotateWebhookSecretInput,
    ) -> Attempt<WebhookSecretPayload> {
        attempt(async {
            let id = WebhookId::parse(&input.webhook_id, "webhookId")?;
            let overlap = input.overlap_seconds.unwrap_or(DEFAULT_OVERLAP);
            let caller = caller(ctx)?;
            let rotated = caller.write(ctx, |writer| webhook::rotate_secret(writer, id, overlap)).await?;
            let (webhook, secret) = rotated;
            Ok(WebhookSecretPayload { webhook: Webhook(webhook), secret })
        })
        .await
    }

    /// Sends an event to a webhook once more, with the same `webhook-id` and without waiting for the events that are not
    /// delivered yet. If its delivery has failed and is to be repeated, it is repeated now.
    async fn redeliver(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The delivery to repeat.")] input: RedeliverInput,
    ) -> Attempt<RedeliverPayload> {
        attempt(async {
            let id = WebhookDeliveryId::parse(&input.delivery_id, "deliveryId")?;
            let caller = caller(ctx)?;
            let delivery = caller.write(ctx, |writer| webhook::redeliver(writer, id)).await?;
            Ok(RedeliverPayload { delivery: WebhookDelivery(delivery) })
        })
        .await
    }
}
