//! The root of subscriptions. The log is what is listened to: nothing is missed, nothing comes twice, and all comes in the
//! order of revisions.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, ID, Subscription as SubscriptionRoot};
use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt};

use super::context::{Caller, caller};
use super::names::EventKind;
use super::types::chat::ChatMessage;
use super::types::event::{CodeChangeSet, ProjectEvent};
use crate::domain::events;
use crate::metrics::Metrics;
use crate::model::clock;
use crate::model::error::Result;
use crate::model::ids::{ProjectId, SessionId};
use crate::model::names;

/// Listening. `afterRevision` replays what is newer than that revision and then goes on live, without a gap, a repeat or a
/// swap between the two; without it, only what comes after the subscription. Keep the last `revision` you saw and pass it
/// when you reconnect: nothing is ever lost.
#[derive(Default)]
pub struct Subscription;

#[SubscriptionRoot]
impl Subscription {
    /// The messages of a session.
    async fn message_added(
        &self,
        ctx: &Context<'_>,
        session_id: ID,
        after_revision: Option<i32>,
    ) -> Result<impl Stream<Item = Result<ChatMessage>> + use<>> {
        let caller = caller(ctx)?;
        let session = SessionId::parse(&session_id, "sessionId")?;
        let messages = events::listen_to_session(&caller.services, &caller.actor, session, after_revision).await?;
        let lag = Lag::from_now(caller);
        Ok(messages.map(move |message| message.inspect(|message| lag.heard(message.timestamp)).map(ChatMessage)))
    }

    /// The changes of files. All files that one write changed arrive together.
    async fn code_changed(
        &self,
        ctx: &Context<'_>,
        project_id: ID,
        after_revision: Option<i32>,
    ) -> Result<impl Stream<Item = Result<CodeChangeSet>> + use<>> {
        let caller = caller(ctx)?;
        let project = ProjectId::parse(&project_id, "projectId")?;
        let kinds = vec![names::EventKind::FilesChanged, names::EventKind::ProjectRestored];
        let events = events::listen(&caller.services, &caller.actor, project, kinds, after_revision).await?;
        let lag = Lag::from_now(caller);
        Ok(events.map(move |event| event.inspect(|event| lag.heard(event.created_at)).map(CodeChangeSet)))
    }

    /// Everything that happens in a project, or the kinds of it that are named.
    ///
    /// A socket ends with its token (4403). To go on, send `{"type": "ping", "payload": {"Authorization": "Bearer …"}}` on it,
    /// with a fresh token of the same user; the `pong` says in `tokenExpiresAt` when that ends, in seconds since the epoch.
    async fn project_events(
        &self,
        ctx: &Context<'_>,
        project_id: ID,
        kinds: Option<Vec<EventKind>>,
        after_revision: Option<i32>,
    ) -> Result<impl Stream<Item = Result<ProjectEvent>> + use<>> {
        let caller = caller(ctx)?;
        let project = ProjectId::parse(&project_id, "projectId")?;
        let kinds = kinds.unwrap_or_default().into_iter().map(Into::into).collect();
        let events = events::listen(&caller.services, &caller.actor, project, kinds, after_revision).await?;
        let lag = Lag::from_now(caller);
        Ok(events.map(move |event| event.inspect(|event| lag.heard(event.created_at)).map(ProjectEvent)))
    }
}

/// Measures how long after its write a listener hears of an event. What was written before the listener came does not count:
/// it is as old as it is.
struct Lag {
    metrics: Arc<Metrics>,
    since: DateTime<Utc>,
}

impl Lag {
    fn from_now(caller: &Caller) -> Self {
        Self { metrics: caller.services.metrics().clone(), since: clock::now() }
    }

    fn heard(&self, written_at: DateTime<Utc>) {
        if written_at >= self.since {
            // Another server's clock may be ahead of ours.
            self.metrics.lag((clock::now() - written_at).to_std().unwrap_or(Duration::ZERO));
        }
    }
}
