//! Follows what a client watches, as long as the client may.

use std::pin::Pin;

use async_graphql::parser::types::OperationType;
use tokio::{
    sync::watch,
    time::{Interval, Sleep, sleep},
};

use super::{
    sessions::Watched,
    watch::{Notice, Watch},
};
use crate::{
    model::{actor::Actor, error::Result},
    transport::{auth, measure::Measured, state::AppState},
};

/// What a stream of notifications sends next.
pub enum Step {
    /// A notification.
    Notice(Notice),
    /// A sign of life.
    Heartbeat,
}

/// A stream of notifications.
pub struct Following {
    state: AppState,
    actor: Actor,
    watch: Watch,
    heartbeat: Interval,
    expired: Pin<Box<Sleep>>,
    measured: Measured,
}

impl Following {
    /// Begins to follow.
    pub fn new(state: AppState, actor: Actor, watched: watch::Sender<Watched>, request_id: &str) -> Self {
        let (live, services) = (state.executor.live.clone(), state.services.clone());
        let watch = Watch::new(live, services, actor.clone(), watched);
        let measured = state.measure(OperationType::Subscription, Some("mcp stream"), true, request_id);
        let expired = Box::pin(sleep(auth::time_left(Some(&actor))));
        Self { heartbeat: state.heartbeat(), state, actor, watch, expired, measured }
    }

    /// The next step; `None` if the stream ends: because of `stopped`, because the server stops, or because the token has
    /// expired or was revoked.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub async fn next(&mut self, stopped: impl Future<Output = ()>) -> Result<Option<Step>> {
        tokio::select! {
            biased;
            () = self.state.shutdown.cancelled() => Ok(None),
            () = stopped => Ok(None),
            () = &mut self.expired => Ok(None),
            _ = self.heartbeat.tick() => {
                let is_revoked = self.state.is_revoked(&self.actor).await;
                Ok((!is_revoked).then_some(Step::Heartbeat))
            }
            notice = self.watch.next() => match notice {
                Ok(notice) => {
                    self.measured.delivered();
                    Ok(Some(Step::Notice(notice)))
                }
                Err(error) => {
                    self.measured.ended(error.code());
                    Err(error)
                }
            },
        }
    }
}
