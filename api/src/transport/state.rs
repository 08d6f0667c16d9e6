//! What all endpoints share, and what belongs to one request.

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{auth::Verifier, executor::Executor, health::Health, streams::Streams, throttle::Throttle};
use crate::{
    domain::Services, graphql::documents::Documents, live::fan_out::SharedSubscriptions, model::limits::Limits,
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
    /// Verifies bearer tokens.
    pub verifier: Arc<Verifier>,
    /// Rate limits.
    pub throttle: Arc<Throttle>,
    /// Limits on requests.
    pub limits: Arc<Limits>,
    /// Shared subscriptions.
    pub shared_subscriptions: SharedSubscriptions,
    /// Event streams in single-connection mode.
    pub streams: Streams,
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

/// The id of a request, in the `x-request-id` header of its response and in the log.
#[derive(Clone)]
pub struct RequestId(pub String);
