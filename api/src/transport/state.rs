//! What all endpoints share, and what belongs to one request.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    auth::Verifier, executor::Executor, git::shared::Git, health::Health, mcp::sessions::Sessions,
    public_url::PublicUrl, slots::Slots, streams::Streams, throttle::Throttle,
};
use crate::{
    domain::{Services, access_token},
    graphql::documents::Documents,
    live::fan_out::SharedSubscriptions,
    model::{access_token::TokenSecret, actor::Actor, error::Result, limits::Limits},
};

/// State shared by all endpoints.
#[derive(Clone)]
pub struct AppState {
    /// Executes operations.
    pub executor: Executor,
    /// Known documents.
    pub documents: Arc<Documents>,
    /// The use cases.
    pub services: Arc<Services>,
    /// Verifies the issuer's bearer tokens.
    pub verifier: Arc<Verifier>,
    /// Rate limits.
    pub throttle: Arc<Throttle>,
    /// Limits on requests.
    pub limits: Arc<Limits>,
    /// Git over HTTP; `None` if it is disabled.
    pub git: Option<Arc<Git>>,
    /// Limits the exports that run at once.
    pub exports: Arc<Slots>,
    /// Shared subscriptions.
    pub shared_subscriptions: SharedSubscriptions,
    /// Event streams in single-connection mode.
    pub streams: Streams,
    /// MCP sessions.
    pub mcp_sessions: Sessions,
    /// The URL at which clients reach this server.
    pub public_url: Arc<PublicUrl>,
    /// Origins of other sites whose pages can call this server, as browsers send them ("https://ide.example.com").
    pub allow_origins: Arc<[String]>,
    /// Readiness of the server.
    pub health: Arc<Health>,
    /// Operations that take at least this long are logged; zero: none.
    pub slow_operation: Duration,
    /// Cancelled when the server stops; closes WebSockets.
    pub shutdown: CancellationToken,
    /// Tasks that must end before the process does: sockets that are closing, and operations whose client has
    /// disconnected. After `shutdown`, close it and wait for it with a timeout, since a peer can take seconds to answer
    /// a close.
    pub tasks: TaskTracker,
}

impl AppState {
    /// The user of a bearer token: an access token of this service, or a token of the issuer.
    ///
    /// # Errors
    /// `Unauthenticated` with the reason, which never repeats the token.
    pub async fn sign_in(&self, token: &str) -> Result<Actor> {
        if TokenSecret::has_prefix(token) {
            return access_token::sign_in(&self.services, token).await;
        }
        self.verifier.verify(token).await
    }

    /// Whether the caller's access token was revoked.
    pub async fn is_revoked(&self, actor: &Actor) -> bool {
        actor.is_machine && access_token::is_revoked(&self.services, actor).await.unwrap_or(false)
    }

    /// Ticks when an idle connection must send something, so that proxies keep it open and a broken one is detected.
    pub fn heartbeat(&self) -> Interval {
        let period = Duration::from_secs(self.limits.socket_ping_seconds);
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }
}

/// The id of a request, in the `x-request-id` header of its response and in the log.
#[derive(Clone)]
pub struct RequestId(pub String);
