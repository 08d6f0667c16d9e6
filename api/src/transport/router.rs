//! The routes, and what applies to all of them: a request id, a span, security headers, CORS, and an error response if
//! a handler panics.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::Request,
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{ACCEPT_ENCODING, RETRY_AFTER, WWW_AUTHENTICATE},
        request::Parts,
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures::FutureExt;
use opentelemetry::global;
use opentelemetry_http::HeaderExtractor;
use tower_http::{
    compression::{
        CompressionLayer,
        predicate::{NotForContentType, Predicate, SizeAbove},
    },
    cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer},
};
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{
    git, graphiql, health, http, mcp, operation, origin,
    state::{AppState, RequestId},
    websocket,
};
use crate::model::clock;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id accepted from a client, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Protect responses from pages of other sites; a response can set its own value. Strict-Transport-Security is left to
/// the proxy that terminates TLS.
const SECURITY_HEADERS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];
/// Smallest response that is compressed, in bytes.
const MIN_COMPRESSED_BYTES: u64 = 1024;

/// All routes of the service.
pub fn router(state: AppState) -> Router {
    let origins = state.allow_origins.clone();
    let is_allowed =
        move |origin: &HeaderValue, _: &Parts| origin.to_str().is_ok_and(|origin| origin::is_allowed(origin, &origins));
    let may_have_credentials = is_allowed.clone();
    // Clients send headers of their own (traces, names, `Last-Event-ID`): allowed pages can send any header, and
    // credentials.
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_allowed))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .allow_credentials(AllowCredentials::predicate(may_have_credentials))
        .max_age(Duration::from_secs(3600));
    let exposed = [X_REQUEST_ID, RETRY_AFTER];
    let of_mcp = [X_REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE, mcp::sessions::SESSION_ID];
    let mcp = mcp::routes()
        .layer(CompressionLayer::new().compress_when(is_worth_compressing()))
        .layer(middleware::map_request(choose_codings))
        .layer(cors.clone().expose_headers(of_mcp));
    Router::new()
        .merge(graphiql::routes())
        .route("/graphql", any(http::graphql))
        .route("/graphql/ws", get(websocket::upgrade))
        .route("/projects/{id}/insights.csv", get(http::insights_csv))
        .route("/projects/{id}/project.antiphon", get(http::project_file))
        .merge(git::routes())
        .merge(health::routes(state.health.clone()))
        .fallback(|| async { (StatusCode::NOT_FOUND, "Not found. The GraphQL endpoint is /graphql.\n") })
        .layer(CompressionLayer::new().compress_when(is_worth_compressing()))
        .layer(middleware::map_request(choose_codings))
        .layer(cors.expose_headers(exposed))
        .merge(mcp)
        .layer(middleware::from_fn(wrap_request))
        .with_state(state)
}

/// Compresses responses that do not fit into a packet, except packs of git and files of projects, which are compressed, and
/// streams, whose parts must not wait for each other.
fn is_worth_compressing() -> impl Predicate {
    SizeAbove::new(MIN_COMPRESSED_BYTES)
        .and(NotForContentType::const_new("text/event-stream"))
        .and(NotForContentType::const_new("multipart/"))
        .and(NotForContentType::const_new("application/x-git-"))
        .and(NotForContentType::const_new("application/vnd.sqlite3"))
}

/// Changes the accepted codings. Removes zstd if the client accepts another: some clients accept zstd but cannot read
/// it. Removes refusals of uncompressed responses, which would be known only after a mutation has run; a server can
/// ignore them (RFC 9110, section 12.5.3).
async fn choose_codings(mut request: Request) -> Request {
    let values = request.headers().get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let accepted: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let coding = |range: &str| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_refused = |range: &str| {
        let weight = range.split_once(';').and_then(|(_, weight)| weight.split_once('='));
        weight.is_some_and(|(_, weight)| weight.trim().parse::<f32>() == Ok(0.0))
    };
    let is_identity = |range: &str| matches!(coding(range).as_str(), "identity" | "*");
    let had = accepted.len();
    let mut accepted = accepted;
    accepted.retain(|range| !(is_identity(range) && is_refused(range)));
    let has_other =
        accepted.iter().any(|range| matches!(coding(range).as_str(), "br" | "gzip" | "*") && !is_refused(range));
    if has_other || accepted.len() < had {
        let mut others: Vec<&str> =
            accepted.into_iter().filter(|range| !has_other || coding(range) != "zstd").collect();
        others.push(if has_other { "zstd;q=0" } else { "identity" });
        if let Ok(others) = HeaderValue::from_str(&others.join(", ")) {
            request.headers_mut().insert(ACCEPT_ENCODING, others);
        }
    }
    request
}

/// Wraps every request. Uses the client's `x-request-id` if it is safe to log and to send back. A panic in a handler
/// becomes an internal error.
async fn wrap_request(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_request_id(id));
    let id = given.map_or_else(|| clock::new_id().to_string(), str::to_owned);
    let header = HeaderValue::from_str(&id).ok();
    // The path only: a query string can contain variables.
    let span = tracing::info_span!("request", otel.name = format!("{} {}", request.method(), request.uri().path()), http.method = %request.method(), url.path = request.uri().path(), request.id = id);
    let caller = global::get_text_map_propagator(|known| known.extract(&HeaderExtractor(request.headers())));
    // Fails if tracing is not configured.
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
    tracing::debug!(http.status = response.status().as_u16(), elapsed_ms, "request completed");

    let headers = response.headers_mut();
    headers.extend(header.map(|id| (X_REQUEST_ID, id)));
    for (name, value) in SECURITY_HEADERS {
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
