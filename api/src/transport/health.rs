//! Endpoints for operators: `/healthz` (liveness), `/readyz` (readiness, with the failing part and whether the database
//! is read-only) and `/metrics` (Prometheus), which is served only at its own address.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use futures::future::{BoxFuture, join_all};
use serde::Serialize;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{domain::Services, metrics};

/// Timeout of a check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a result is cached, so that frequent requests do not load the database.
const CACHE_TIME: Duration = Duration::from_secs(1);

/// Something that readiness depends on.
pub struct Part {
    /// Name in the response.
    pub name: &'static str,
    /// Whether the server is not ready if the check fails now.
    pub is_needed: Box<dyn Fn() -> bool + Send + Sync>,
    /// Public reason if the check fails.
    pub amiss: &'static str,
    /// The check. Its error goes to the log only.
    pub check: Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

/// Checks whether the database is read-only; false if it does not answer, which another part reports.
pub type IsReadOnly = Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// Readiness of the server.
pub struct Health {
    is_read_only: IsReadOnly,
    parts: Vec<Part>,
    draining: CancellationToken,
    last: Mutex<Option<(Instant, Readiness)>>,
}

#[derive(Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Readiness {
    ready: bool,
    read_only: bool,
    parts: Vec<PartReadiness>,
}

#[derive(Clone, PartialEq, Serialize)]
struct PartReadiness {
    name: &'static str,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Health {
    /// The server is ready if all needed parts are and `draining` is not cancelled.
    pub fn new(parts: Vec<Part>, is_read_only: IsReadOnly, draining: CancellationToken) -> Self {
        Self { is_read_only, parts, draining, last: Mutex::default() }
    }

    async fn readiness(&self) -> Readiness {
        // Locked during the checks: concurrent requests share one result.
        let mut last = self.last.lock().await;
        let before = last.as_ref().filter(|(at, _)| at.elapsed() < CACHE_TIME);
        let mut readiness = match before {
            Some((_, readiness)) => readiness.clone(),
            None => {
                let before = last.take().map(|(_, readiness)| readiness);
                let parts = join_all(self.parts.iter().map(|part| check(part, before.as_ref())));
                let (parts, read_only) = tokio::join!(parts, timeout(CHECK_TIMEOUT, (self.is_read_only)()));
                let read_only = read_only.unwrap_or(false);
                let ready = self.parts.iter().zip(&parts).all(|(part, found)| found.ready || !(part.is_needed)());
                let was_read_only = before.as_ref().is_some_and(|before| before.read_only);
                if read_only && !was_read_only {
                    tracing::warn!("the database is read-only; only reads are served");
                } else if was_read_only && !read_only {
                    tracing::info!("the database accepts writes again");
                }
                let readiness = Readiness { ready, read_only, parts };
                if readiness.ready && before.is_some_and(|before| !before.ready) {
                    tracing::info!("ready again");
                }
                last.insert((Instant::now(), readiness)).1.clone()
            }
        };
        let is_draining = self.draining.is_cancelled();
        readiness.ready &= !is_draining;
        let reason = is_draining.then_some("the server is stopping");
        readiness.parts.push(PartReadiness { name: "server", ready: !is_draining, reason });
        readiness
    }
}

async fn check(part: &Part, before: Option<&Readiness>) -> PartReadiness {
    let name = part.name;
    let cause = match timeout(CHECK_TIMEOUT, (part.check)()).await {
        Ok(Ok(())) => return PartReadiness { name, ready: true, reason: None },
        Ok(Err(cause)) => cause,
        Err(_) => format!("no answer within {} seconds", CHECK_TIMEOUT.as_secs()),
    };
    // Log only the first failure, and only of needed parts: the others log their own failures.
    if (part.is_needed)() && before.is_none_or(|before| before.parts.iter().all(|part| part.name != name || part.ready))
    {
        tracing::warn!(part = name, cause, "not ready");
    }
    PartReadiness { name, ready: false, reason: Some(part.amiss) }
}

/// `/healthz` and `/readyz`.
pub fn routes<S: Clone + Send + Sync + 'static>(health: Arc<Health>) -> Router<S> {
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(readyz)).with_state(health)
}

/// The routes of the operators' address.
pub fn operator_routes(health: Arc<Health>, services: Arc<Services>) -> Router {
    let page = || async move { ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], services.metrics_text()) };
    routes(health).route("/metrics", get(page))
}

async fn readyz(State(health): State<Arc<Health>>) -> Response {
    let readiness = health.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CACHE_CONTROL, "no-store")], Json(readiness)).into_response()
}
