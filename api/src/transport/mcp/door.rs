//! The HTTP side of `/mcp`: authentication, limits and sessions. Everything that is refused here is a JSON-RPC error
//! without an id.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{ConnectInfo, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use rmcp::{
    model::SubscriptionFilter,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json, value::RawValue};

use super::{
    answer,
    handler::{Handler, Started},
    metadata, params,
    sessions::{SESSION_ID, Session},
    stream,
};
use crate::{
    domain::heavy,
    model::{actor::Actor, error::Error, memory::Taken},
    transport::{
        http::{body::read_json, caller::caller, refusal::Refusal},
        origin,
        sse::Format,
        state::{AppState, RequestId},
        throttle::Address,
        values,
    },
};

/// Error codes of JSON-RPC.
const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;
const INTERNAL_ERROR: i32 = -32_603;

/// The beginning of the message for a body that is not JSON.
const UNUSABLE: &str = "The body is not usable JSON";

/// Handles `/mcp` for every method.
pub async fn mcp(
    State(state): State<AppState>,
    Extension(RequestId(id)): Extension<RequestId>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: axum::extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let (headers, uri) = (parts.headers.clone(), parts.uri.clone());
    let address = state.throttle.address(peer.ip(), &headers);
    match answer(&state, parts, body, address, &id).await {
        Ok(response) => response,
        Err(refusal) => {
            state.services.metrics().ended("none", None, false, refusal.error.code(), None);
            refuse(&state, &headers, &uri, &refusal, &id)
        }
    }
}

async fn answer(
    state: &AppState,
    parts: Parts,
    body: Body,
    address: Option<Address>,
    id: &str,
) -> Result<Response, Box<Refusal>> {
    if ![Method::POST, Method::GET, Method::DELETE].contains(&parts.method) {
        return Err(not_allowed("Send MCP messages by POST.", "POST, GET, DELETE"));
    }
    if !origin::may_connect(&parts.headers, &parts.uri, &state.allow_origins) {
        let error = Error::Forbidden("Pages of this origin cannot call this server (--allow-origin).".to_owned());
        return Err(Refusal::new(StatusCode::FORBIDDEN, error));
    }
    // Authenticate before reading the body, which takes memory.
    let actor = caller(state, &parts.headers, address).await?;
    state.throttle.admit(actor.as_ref(), address, 1).map_err(Refusal::rate_limited)?;
    let Some(actor) = actor else {
        let error = Error::Unauthenticated("Sign in: send `Authorization: Bearer TOKEN`.".to_owned());
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, error));
    };
    let session = session(state, &parts.headers, &actor)?;
    match (&parts.method, session) {
        (&Method::GET, Some(session)) => {
            stream::open(state, session, actor, &parts.headers, id).map_err(|error| match error {
                Error::RateLimited { .. } => Refusal::new(StatusCode::TOO_MANY_REQUESTS, error),
                error => Refusal::new(StatusCode::BAD_REQUEST, error),
            })
        }
        (&Method::DELETE, Some(session)) => {
            state.mcp_sessions.end(&session);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        (&Method::POST, session) => post(state, parts, body, actor, session, id).await,
        _ => Err(not_allowed("Only a session has a stream: send its Mcp-Session-Id.", "POST")),
    }
}

fn not_allowed(message: &str, allowed: &'static str) -> Box<Refusal> {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Error::bad_input("", message)).with(ALLOW, allowed)
}

/// The session that a request names. It must belong to the caller.
fn session(state: &AppState, headers: &HeaderMap, actor: &Actor) -> Result<Option<Arc<Session>>, Box<Refusal>> {
    let Some(id) = headers.get(SESSION_ID) else { return Ok(None) };
    let found = id.to_str().ok().and_then(|id| state.mcp_sessions.find(id, actor.user_id));
    let missing =
        || Refusal::new(StatusCode::NOT_FOUND, Error::not_found("session: send `initialize` again", "mcp-session-id"));
    found.map(Some).ok_or_else(missing)
}

async fn post(
    state: &AppState,
    mut parts: Parts,
    body: Body,
    actor: Actor,
    session: Option<Arc<Session>>,
    id: &str,
) -> Result<Response, Box<Refusal>> {
    let mut memory = Taken::default();
    let body = read_json(state, &parts.headers, body, true, &mut memory).await?;
    let (max_values, all, size) = (state.limits.max_json_values, state.services.memory.clone(), body.len());
    let checked = move || {
        let mut parsed = Taken::default();
        check(&body, max_values, |bytes| all.take(&mut parsed, bytes)).map(|message| (body, message, parsed))
    };
    let (body, message, _parsed) = heavy::run_or_now(size, checked).await.map_err(Refusal::failed)??;
    for header in [CONTENT_ENCODING, CONTENT_LENGTH] {
        parts.headers.remove(header);
    }
    if let (Some(request), Some(error)) = (&message.id, message.misfit) {
        let error = answer::protocol_error(&error, id);
        let message = json!({ "jsonrpc": "2.0", "id": request, "error": error });
        return Ok(([(CACHE_CONTROL, "no-store")], Json(message)).into_response());
    }
    let running = message.id.zip(session.as_ref()).map(|(id, session)| session.begin_request(&id));
    let cancelled = running.as_ref().map(|running| running.cancelled.clone()).unwrap_or_default();
    if let (Some(id), Some(session)) = (message.cancels, &session) {
        session.cancel(&id);
    }
    let started = Started::default();
    let mut handler = Handler::new(state.clone(), actor, session, started.clone(), cancelled.clone(), id.to_owned());
    if let Some(filter) = message.listens {
        handler.begin_listening(filter).await;
    }
    let service = StreamableHttpService::new(
        move || Ok(handler.clone()),
        Arc::new(NeverSessionManager::default()),
        config(state),
    );
    let response = tokio::select! {
        biased;
        // A cancelled request gets no message: the stream of its response ends.
        () = cancelled.cancelled() => {
            return Ok(Format::Events.respond(futures::stream::empty::<Bytes>()));
        }
        response = service.handle(axum::http::Request::from_parts(parts, Body::from(body))) => response,
    };
    let mut response = readable(response.map(Body::new)).await?;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match started.lock().take() {
        Some(Ok(session)) => {
            let id = HeaderValue::from_str(&session.id).map_err(|error| Refusal::internal(Error::internal(error)))?;
            response.headers_mut().insert(SESSION_ID, id);
        }
        Some(Err(error)) => {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            if let Error::RateLimited { retry_after: Some(seconds), .. } = error {
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
        }
        None => {}
    }
    Ok(response)
}

/// Each request is served on its own. The endpoint has checked its origin and its size; a token is not sent by a page
/// that does not know it, so the host can have any name.
fn config(state: &AppState) -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .disable_allowed_hosts()
        .disable_allowed_origins()
        .with_max_request_body_bytes(usize::MAX)
        .with_sse_keep_alive(Some(std::time::Duration::from_secs(state.limits.socket_ping_seconds)))
        .with_sse_retry(None)
}

/// What the endpoint reads of a message.
struct Message {
    /// The id of a request.
    id: Option<Value>,
    /// The filter of a `subscriptions/listen`.
    listens: Option<SubscriptionFilter>,
    /// The id of the request that a `notifications/cancelled` cancels.
    cancels: Option<Value>,
    /// Why the method cannot take the parameters, if the SDK does not notice it.
    misfit: Option<Error>,
}

/// Checks that a body is one JSON-RPC message. `take` reserves memory for it.
fn check(
    body: &Bytes,
    max_values: usize,
    take: impl FnOnce(usize) -> Result<(), Error>,
) -> Result<Message, Box<Refusal>> {
    #[derive(Deserialize)]
    struct Raw<'m> {
        id: Option<Value>,
        #[serde(borrow)]
        method: Option<&'m RawValue>,
        #[serde(borrow)]
        params: Option<&'m RawValue>,
    }

    #[derive(Deserialize)]
    struct Listen {
        notifications: SubscriptionFilter,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Cancelled {
        request_id: Value,
    }

    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, Error::bad_input("", message));
    let unreadable = |error: &dyn std::fmt::Display| bad(format!("{UNUSABLE}: {error}."));
    let json = std::str::from_utf8(body).map_err(|error| unreadable(&error))?;
    values::check(json, max_values).map_err(|error| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error))?;
    take(values::memory(json)).map_err(Refusal::failed)?;
    if json.trim_ascii_start().starts_with('[') {
        return Err(bad("Send one message: the protocol has no batches any more.".to_owned()));
    }
    let Raw { id, method, params } = match serde_json::from_str(json) {
        Ok(message) => message,
        Err(error) => {
            let is_json = serde_json::from_str::<IgnoredAny>(json);
            return Err(match is_json {
                Ok(_) => bad(format!("The body is not a message of JSON-RPC: {error}.")),
                Err(error) => unreadable(&error),
            });
        }
    };
    let of = |name: &str| params.filter(|_| method.is_some_and(|method| method.get() == name));
    let listens = of(r#""subscriptions/listen""#).and_then(|params| serde_json::from_str::<Listen>(params.get()).ok());
    let cancels =
        of(r#""notifications/cancelled""#).and_then(|params| serde_json::from_str::<Cancelled>(params.get()).ok());
    let misfit = params.zip(method).and_then(|(params, method)| {
        let method = serde_json::from_str::<String>(method.get()).ok()?;
        params::refuse_early(&method, params)
    });
    Ok(Message {
        id: id.filter(|id| id.is_string() || id.is_number()),
        misfit,
        listens: listens.map(|listen| listen.notifications),
        cancels: cancels.map(|cancelled| cancelled.request_id),
    })
}

/// Converts errors that the SDK sends as text to JSON-RPC errors.
async fn readable(response: Response) -> Result<Response, Box<Refusal>> {
    let is_json =
        response.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let status = response.status();
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return Ok(response);
    }
    let text = axum::body::to_bytes(response.into_body(), 64 * 1024).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    if status.is_server_error() {
        return Err(Refusal::internal(Error::internal(text)));
    }
    let unreadable = "fail to deserialize request body";
    Err(match text.strip_prefix(unreadable) {
        Some(why) => {
            let error = Error::bad_input("", format!("The body is not a message of MCP:{why}."));
            Refusal::new(StatusCode::BAD_REQUEST, error)
        }
        None => Refusal::new(status, Error::bad_input("", text)),
    })
}

/// The response to a request that was refused.
fn refuse(state: &AppState, headers: &HeaderMap, uri: &Uri, refusal: &Refusal, id: &str) -> Response {
    let (message, data) = answer::described(&refusal.error, id);
    let code = match refusal.status {
        StatusCode::BAD_REQUEST if message.starts_with(UNUSABLE) => PARSE_ERROR,
        status if status.is_server_error() => INTERNAL_ERROR,
        _ => INVALID_REQUEST,
    };
    let error = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": message, "data": data } });
    let mut response = (refusal.status, [(CACHE_CONTROL, "no-store")], Json(error)).into_response();
    response.headers_mut().extend(refusal.header.clone());
    if refusal.status == StatusCode::UNAUTHORIZED {
        let url = metadata::url(state, headers, uri);
        let with_error = if refusal.header.is_some() { "error=\"invalid_token\", " } else { "" };
        if let Ok(challenge) = HeaderValue::from_str(&format!("Bearer {with_error}resource_metadata=\"{url}\"")) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
    }
    response
}
