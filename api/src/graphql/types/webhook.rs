//! Webhooks and their deliveries.

use async_graphql::{Context, ID, Object};

use super::event::ProjectEvent;
use super::project::Project;
use crate::graphql::context::{Caller, caller};
use crate::graphql::enums::{EventKind, WebhookDeliveryStatus};
use crate::graphql::error::or_null;
use crate::graphql::loader::{Count, Deliveries, EventAt, Part, WebhooksOf};
use crate::graphql::page::{Page, Total, connection, cut_by_id, weigh};
use crate::graphql::row::Plain;
use crate::graphql::scalar::Time;
use crate::model::error::{Error, Result};
use crate::model::ids::Within;
use crate::model::page::{self, List, Page as PageArguments};
use crate::model::project::Project as StoredProject;
use crate::model::webhook as model;

/// A webhook of a project.
pub struct Webhook(pub model::Webhook);

impl Webhook {
    /// A part of the webhooks of a project, oldest first; none for a project as of a revision.
    ///
    /// # Errors
    /// As [`cut_by_id`].
    pub async fn of_project(
        caller: &Caller,
        project: &StoredProject,
        first: Option<i32>,
        after: Option<&ID>,
    ) -> Result<Vec<Self>> {
        if project.as_of.is_some() {
            return Ok(Vec::new());
        }
        let rows = caller.load(WebhooksOf(project.id)).await?.unwrap_or_default();
        let rows = cut_by_id(caller, rows, first, after, |row| row.id.0.to_string())?;
        Ok(rows.into_iter().map(Self).collect())
    }
}

/// A URL that receives the events of a project, in order, each at least once. Messages and signatures follow Standard
/// Webhooks; docs/webhooks.md describes them. Only the owner of the project sees it.
#[Object]
impl Webhook {
    /// The id: a UUID.
    pub(super) async fn id(&self) -> ID {
        self.0.id.0.into()
    }

    /// The project whose events it receives.
    async fn project(&self, ctx: &Context<'_>) -> Result<Project> {
        super::project(ctx, self.0.project_id, None).await
    }

    /// The URL that events are sent to.
    async fn url(&self) -> &str {
        &self.0.url
    }

    /// The kinds of events that it receives; empty for all.
    async fn kinds(&self) -> Vec<EventKind> {
        self.0.kinds.iter().map(|kind| (*kind).into()).collect()
    }

    /// Whether events are sent.
    async fn is_enabled(&self) -> bool {
        self.0.is_enabled
    }

    /// The newest revision that was delivered, or that it does not receive. Events after it follow in order.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// When the delivery of the next event first failed; null if it has not failed.
    async fn failing_since(&self) -> Option<Time> {
        self.0.failing_since.map(Time)
    }

    /// When the failed delivery is repeated; null if there is none.
    async fn next_attempt_at(&self) -> Option<Time> {
        self.0.next_attempt_at.map(Time)
    }

    /// When it was disabled; null while it is enabled.
    async fn disabled_at(&self) -> Option<Time> {
        self.0.disabled_at.map(Time)
    }

    /// Why it was disabled: by the owner, by the receiver (410 Gone), or because every attempt for a day
    /// (`WEBHOOK_RETRY_SECONDS`) has failed. Null while it is enabled.
    async fn disabled_reason(&self) -> Option<&str> {
        self.0.disabled_reason.as_deref()
    }

    /// Until when events are also signed with the secret before the last rotation, also if that time has passed. Null
    /// without a rotation, or if the last one had no overlap.
    async fn previous_secret_expires_at(&self) -> Option<Time> {
        self.0.previous_secret_until.map(Time)
    }

    /// When it was created.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// When it was last changed or disabled.
    async fn updated_at(&self) -> Time {
        Time(self.0.updated_at)
    }

    /// Its deliveries, newest first: one for each event, however often it was sent. The newest 1,000 are kept.
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 100, and 20 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Page<WebhookDelivery>> {
        let page = PageArguments::parse(first, after, last, before, List::DELIVERIES)?;
        let parent = Within { project: self.0.project_id, id: self.0.id };
        let total = Total::Deliveries(Count { parent, keep: Deliveries });
        let slice = caller(ctx)?.load(Part { parent, keep: Deliveries, page }).await?.unwrap_or_default();
        Ok(connection(List::DELIVERIES, slice, total, WebhookDelivery))
    }
}

/// The delivery of an event to a webhook.
pub struct WebhookDelivery(pub model::Delivery);

impl Plain for WebhookDelivery {
    fn is_plain(field: &str) -> bool {
        !matches!(field, "webhook" | "event")
    }
}

/// The delivery of an event to a webhook, with the result of its last attempt.
#[Object]
impl WebhookDelivery {
    /// The id: a UUID, the same for all attempts.
    pub(super) async fn id(&self) -> ID {
        self.0.id.0.into()
    }

    /// The webhook that the event was sent to.
    async fn webhook(&self, ctx: &Context<'_>) -> Result<Webhook> {
        let row = caller(ctx)?.load(self.0.webhook_id).await?;
        row.map(Webhook).ok_or_else(|| Error::not_found("webhook", "id"))
    }

    /// The event; its `id` is the header `webhook-id` of every attempt.
    async fn event(&self, ctx: &Context<'_>) -> Option<Result<ProjectEvent>> {
        or_null(async {
            let event = caller(ctx)?.load(EventAt(self.0.project_id, self.0.revision)).await?;
            Ok(event.map(ProjectEvent))
        })
        .await
    }

    /// The revision of the event.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// The kind of the event.
    async fn kind(&self) -> EventKind {
        self.0.kind.into()
    }

    /// Whether the receiver has accepted it.
    async fn status(&self) -> WebhookDeliveryStatus {
        self.0.status.into()
    }

    /// How often it was sent.
    async fn attempts(&self) -> i32 {
        self.0.attempts
    }

    /// The HTTP status of the last response; null if there was none.
    async fn response_status(&self) -> Option<i32> {
        self.0.response_status
    }

    /// Why the last attempt failed, with the start of the response; null if it succeeded.
    async fn error(&self) -> Option<&str> {
        self.0.error.as_deref()
    }

    /// When the first attempt ended.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// When the last attempt ended.
    async fn last_attempt_at(&self) -> Time {
        Time(self.0.last_attempt_at)
    }

    /// When it is sent again; a past time while the webhook is disabled. Null if it is not pending.
    async fn next_attempt_at(&self) -> Option<Time> {
        self.0.next_attempt_at.map(Time)
    }

    /// When the receiver accepted it; null if it has not.
    async fn delivered_at(&self) -> Option<Time> {
        self.0.delivered_at.map(Time)
    }
}
