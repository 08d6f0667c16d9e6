//! The routes, and what holds for all of them: a request id, a span, security headers, CORS, and an answer where a
//! handler panics.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::Request,
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{ACCEPT_ENCODING, RETRY_AFTER},
        request::Parts,
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures::FutureExt;
use opentelemetry::global;
use opentelemetry_http::HeaderExtractor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::{
    compression::{
        CompressionLayer,
        predicate::{NotForContentType, Predicate, SizeAbove},
    },
    cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer},
    decompression::RequestDecompressionLayer,
};
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{
    auth::Verifier, executor::Executor, graphiql, health, http, operation, origin, single::Streams, throttle::Throttle,
    websocket,
};
use crate::{
    domain::Services,
    graphql::documents::Documents,
    live::fan_out::SharedSubscriptions,
    model::{clock, limits::Limits},
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken from a client, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// What keeps other sites' pages apart from this server's answers, where an answer has no policy of its own. That it comes by
/// https alone is for the proxy to say which ends it (Strict-Transport-Security).
const HEADERS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];
/// Smallest answer that is compressed, in bytes.
const MIN_COMPRESSED_BYTES: u64 = 1024;

/// What the doors need to know.
#[derive(Clone)]
pub struct AppState {
    /// What executes operations.
    pub executor: Executor,
    /// The documents that operations may name.
    pub documents: Arc<Documents>,
    /// The use cases behind it.
    pub services: Arc<Services>,
    /// Says whose a token is.
    pub verifier: Arc<Verifier>,
    /// How often who may ask.
    pub throttle: Arc<Throttle>,
    /// Limits on requests.
    pub limits: Arc<Limits>,
    /// Subscriptions that several listeners share.
    pub shared_subscriptions: SharedSubscriptions,
    /// Streams that carry several operations each.
    pub streams: Streams,
    /// Origins of other sites' pages that may call this server, as browsers send them ("https://ide.example.com").
    pub allow_origins: Arc<[String]>,
    /// Whether requests can be served.
    pub health: Arc<health::Health>,
    /// From which time on an operation counts as slow and is logged; zero: none.
    pub slow_operation: Duration,
    /// Cancelled when the server stops: WebSockets close by it.
    pub shutdown: CancellationToken,
    /// What must end before the process does: sockets that say goodbye, and operations whose client has hung up. After
    /// `shutdown`, close it and wait for it (for a bounded time: a peer may take some seconds to answer a close).
    pub tasks: TaskTracker,
}

/// The id of a request, in the `x-request-id` header of its answer and in the log.
#[derive(Clone)]
pub struct RequestId(pub String);

/// All routes of the service.
pub fn router(state: AppState) -> Router {
    let origins = state.allow_origins.clone();
    let is_allowed =
        move |origin: &HeaderValue, _: &Parts| origin.to_str().is_ok_and(|origin| origin::is_allowed(origin, &origins));
    let may_have_credentials = is_allowed.clone();
    // Clients send headers of their own (traces, their names, `Last-Event-ID`): an allowed page may send any, and credentials.
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_allowed))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .allow_credentials(AllowCredentials::predicate(may_have_credentials))
        .expose_headers([X_REQUEST_ID, RETRY_AFTER])
        .max_age(Duration::from_secs(3600));
    // Who reads a body counts its bytes as they come out of its decompression.
    let graphql = any(http::graphql)
        .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(middleware::from_fn(http::keep_raw_body));
    Router::new()
        .merge(graphiql::routes())
        .route("/graphql", graphql)
        .route("/graphql/ws", get(websocket::upgrade))
        .merge(health::routes(state.health.clone()))
        .fallback(|| async { (StatusCode::NOT_FOUND, "There is nothing here: GraphQL is at /graphql.\n") })
        .layer(CompressionLayer::new().compress_when(is_worth_compressing()))
        .layer(middleware::map_request(without_zstd))
        .layer(cors)
        .layer(middleware::from_fn(guard))
        .with_state(state)
}

/// Which answers are compressed: not what fits into a packet, and no stream, whose parts must not wait for each other.
fn is_worth_compressing() -> impl Predicate {
    SizeAbove::new(MIN_COMPRESSED_BYTES)
        .and(NotForContentType::const_new("text/event-stream"))
        .and(NotForContentType::const_new("multipart/"))
}

/// Leaves zstd to clients that accept nothing else: some accept it that cannot read it.
async fn without_zstd(mut request: Request) -> Request {
    let values = request.headers().get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let accepted: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let coding = |range: &str| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_refused = |range: &str| {
        let weight = range.split_once(';').and_then(|(_, weight)| weight.split_once('='));
        weight.is_some_and(|(_, weight)| weight.trim().parse::<f32>() == Ok(0.0))
    };
    let has_other =
        accepted.iter().any(|range| matches!(coding(range).as_str(), "br" | "gzip" | "*") && !is_refused(range));
    if has_other {
        let mut others: Vec<&str> = accepted.into_iter().filter(|range| coding(range) != "zstd").collect();
        others.push("zstd;q=0");
        if let Ok(others) = HeaderValue::from_str(&others.join(", ")) {
            request.headers_mut().insert(ACCEPT_ENCODING, others);
        }
    }
    request
}

/// Wraps every request. A client may name its request itself; what it sends as `x-request-id` is taken where it is safe to
/// log and to send back. A panic anywhere below is answered like any other error of ours.
async fn guard(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_request_id(id));
    let id = given.map_or_else(|| clock::new_id().to_string(), str::to_owned);
    let header = HeaderValue::from_str(&id).ok();
    // The path alone: a query string may hold variables.
    let span = tracing::info_span!("request", otel.name = format!("{} {}", request.method(), request.uri().path()), http.method = %request.method(), url.path = request.uri().path(), request.id = id);
    let caller = global::get_text_map_propagator(|known| known.extract(&HeaderExtractor(request.headers())));
    // Refused where no traces are sent.
    let _ = span.set_parent(caller);
    request.extensions_mut().insert(RequestId(id.clone()));

    let started = Instant::now();
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let _entered = span.enter();
    let mut response = answer.unwrap_or_else(|panic| {
        let errors = operation::Outcome::from(operation::panicked(&*panic, &id));
        (StatusCode::INTERNAL_SERVER_ERROR, Json(errors)).into_response()
    });
    let elapsed_ms = started.elapsed().as_millis();
    tracing::debug!(http.status = response.status().as_u16(), elapsed_ms, "answered");

    let headers = response.headers_mut();
    headers.extend(header.map(|id| (X_REQUEST_ID, id)));
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn is_request_id(id: &str) -> bool {
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::is_request_id;

    #[test]
    fn a_request_id_is_short_and_safe_to_log() {
        assert!(is_request_id("0198f3a0-0000-7000-8000-000000000001"));
        assert!(is_request_id("Root=1-67891233-abcdef012345678912345678"));
        for id in ["", "a b", "a\tb", "é", "<script>", "{\"a\"}", &"a".repeat(129)] {
            assert!(!is_request_id(id), "{id}");
        }
    }
}
