//! The HTTP side of `/mcp`: authentication, limits and sessions. Everything that is refused here is a JSON-RPC error.

use std::{borrow::Cow, fmt::Display, net::SocketAddr, sync::Arc};

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
    model::{CancelledNotificationParam, RequestId as MessageId, SubscriptionFilter},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use serde::Deserialize;
use serde_json::{Value, json, map::Entry, value::RawValue};

use super::{
    answer,
    handler::{Effects, Handler},
    metadata, parameters,
    sessions::{McpSession, SESSION_ID},
    stream,
};
use crate::{
    domain::heavy,
    model::{actor::Actor, error::Error, memory::Taken},
    transport::{
        http::{
            body::read_json,
            caller::caller,
            refusal::Refusal,
            respond::{self, Budgets},
        },
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
const INVALID_PARAMS: i32 = -32_602;
const INTERNAL_ERROR: i32 = -32_603;

/// The longest response that is read to find an error of the SDK in it. Our own errors, which can be longer, have a code.
const MAX_ERROR_BYTES: usize = 4 * 1024;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Handles `/mcp` for every method.
pub async fn mcp(
    State(state): State<AppState>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: axum::extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let (headers, uri) = (parts.headers.clone(), parts.uri.clone());
    let address = state.throttle.address(peer.ip(), &headers);
    match answer(&state, parts, body, address, &request_id).await {
        Ok(response) => response,
        Err(refused) => {
            state.services.metrics().ended("none", None, false, refused.refusal.error.code(), None);
            refuse(&state, &headers, &uri, &refused, &request_id)
        }
    }
}

/// A request that was refused before its method ran.
struct Refused {
    /// The code of JSON-RPC.
    code: i32,
    /// The id of the message, if it was read.
    id: Option<MessageId>,
    refusal: Box<Refusal>,
}

impl Refused {
    fn bad(code: i32, message: String) -> Self {
        Self { code, id: None, refusal: Refusal::new(StatusCode::BAD_REQUEST, Error::bad_input("", message)) }
    }
}

impl From<Box<Refusal>> for Refused {
    fn from(refusal: Box<Refusal>) -> Self {
        let code = if refusal.status.is_server_error() { INTERNAL_ERROR } else { INVALID_REQUEST };
        Self { code, id: None, refusal }
    }
}

async fn answer(
    state: &AppState,
    parts: Parts,
    body: Body,
    address: Option<Address>,
    request_id: &str,
) -> Result<Response, Refused> {
    if ![Method::POST, Method::GET, Method::DELETE].contains(&parts.method) {
        return Err(not_allowed("Send MCP messages by POST.", "POST, GET, DELETE").into());
    }
    if !origin::may_connect(&parts.headers, &parts.uri, &state.allow_origins) {
        let error = Error::Forbidden("Pages of this origin cannot call this server (--allow-origin).".to_owned());
        return Err(Refusal::new(StatusCode::FORBIDDEN, error).into());
    }
    // Authenticate before reading the body, which takes memory.
    let actor = caller(state, &parts.headers, address).await?;
    state.throttle.admit(actor.as_ref(), address, 1).map_err(Refusal::rate_limited)?;
    let Some(actor) = actor else {
        let error = Error::Unauthenticated("Sign in: send `Authorization: Bearer TOKEN`.".to_owned());
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, error).into());
    };
    let session = session(state, &parts.headers, &actor)?;
    match (&parts.method, session) {
        (&Method::GET, Some(session)) => {
            let opened = stream::open(state, session, actor, &parts.headers, request_id);
            let status = |error: &Error| match error {
                Error::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::BAD_REQUEST,
            };
            opened.map_err(|error| Refusal::new(status(&error), error).into())
        }
        (&Method::DELETE, Some(session)) => {
            state.mcp_sessions.end(&session);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        (&Method::POST, session) => post(state, parts, body, actor, session, request_id).await,
        _ => Err(not_allowed("Only a session has a stream: send its Mcp-Session-Id.", "POST").into()),
    }
}

fn not_allowed(message: &str, allowed: &'static str) -> Box<Refusal> {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Error::bad_input("", message)).with(ALLOW, allowed)
}

/// The session that a request names. It must belong to the caller.
fn session(state: &AppState, headers: &HeaderMap, actor: &Actor) -> Result<Option<Arc<McpSession>>, Box<Refusal>> {
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
    session: Option<Arc<McpSession>>,
    request_id: &str,
) -> Result<Response, Refused> {
    let mut memory = Taken::default();
    let body = read_json(state, &parts.headers, body, true, &mut memory).await?;
    // RFC 8259, section 8.1: a sender must not add a byte order mark, but some do.
    let body = if body.starts_with(BYTE_ORDER_MARK) { body.slice(BYTE_ORDER_MARK.len()..) } else { body };
    let (max_values, all, size) = (state.limits.max_json_values, state.services.memory.clone(), body.len());
    let checked = move || {
        let mut parsed = Taken::default();
        check(&body, max_values, |bytes| all.take(&mut parsed, bytes)).map(|message| (body, message, parsed))
    };
    let (body, message, parsed) = heavy::run_or_now(size, checked).await.map_err(Refusal::failed)??;
    if let (Some(session), Some(cancelled)) = (&session, &message.cancelled) {
        session.running.cancel(cancelled);
    }
    for header in [CONTENT_ENCODING, CONTENT_LENGTH] {
        parts.headers.remove(header);
    }
    let mut handler = Handler::new(state.clone(), actor, session, (memory, parsed), request_id.to_owned());
    if let Some(filter) = message.filter {
        handler.begin_listening(filter).await;
    }
    let effects = handler.effects.clone();
    let service = StreamableHttpService::new(
        move || Ok(handler.clone()),
        Arc::new(NeverSessionManager::default()),
        config(state),
    );
    let response = service.handle(axum::http::Request::from_parts(parts, Body::from(body))).await;
    let Effects { started, budgets, is_cancelled } = std::mem::take(&mut *effects.lock());
    if is_cancelled {
        // It gets no message: the stream of its response ends.
        return Ok(Format::Events.respond(futures::stream::empty::<Bytes>()));
    }
    budgets.iter().for_each(|budget| budget.only_answers());
    let mut response = sendable(response.map(Body::new), budgets).await?;
    match started {
        Some(Ok(session)) => {
            if let Ok(id) = HeaderValue::from_str(&session.id) {
                response.headers_mut().insert(SESSION_ID, id);
            }
        }
        Some(Err(Error::RateLimited { retry_after, .. })) => {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            response.headers_mut().extend(retry_after.map(|seconds| (RETRY_AFTER, seconds.into())));
        }
        Some(Err(_)) | None => {}
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Each request is served on its own. The endpoint has checked its origin and its size. `Host` is not checked: a page
/// without the token cannot call the server.
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

/// What a message asks of this module, before the SDK handles it.
struct Checked {
    /// The filter of a `subscriptions/listen`.
    filter: Option<SubscriptionFilter>,
    /// The request that a `notifications/cancelled` cancels.
    cancelled: Option<MessageId>,
}

/// Checks that a body is one JSON-RPC message. `take` reserves memory for it.
fn check(body: &Bytes, max_values: usize, take: impl FnOnce(usize) -> Result<(), Error>) -> Result<Checked, Refused> {
    #[derive(Deserialize)]
    struct Message<'m> {
        id: Option<MessageId>,
        #[serde(borrow)]
        method: Option<Cow<'m, str>>,
        #[serde(borrow)]
        params: Option<&'m RawValue>,
    }

    #[derive(Deserialize)]
    struct Listen {
        notifications: SubscriptionFilter,
    }

    let unreadable = |error: &dyn Display| Refused::bad(PARSE_ERROR, format!("The body is not usable JSON: {error}."));
    let json = std::str::from_utf8(body).map_err(|error| unreadable(&error))?;
    values::check(json, max_values).map_err(|error| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error))?;
    take(values::memory(json)).map_err(Refusal::failed)?;
    let json = serde_json::from_str::<&RawValue>(json).map_err(|error| unreadable(&error))?.get();
    if json.starts_with('[') {
        let message = "Send one message: the protocol versions of this server have no batches.";
        return Err(Refused::bad(INVALID_REQUEST, message.to_owned()));
    }
    if !json.starts_with('{') {
        return Err(Refused::bad(INVALID_REQUEST, "A message is an object of JSON.".to_owned()));
    }
    let wrong = |error: serde_json::Error| {
        Refused::bad(INVALID_REQUEST, format!("The body is not a message of JSON-RPC: {error}."))
    };
    let message: Message = serde_json::from_str(json).map_err(wrong)?;
    if let (Some(method), Some(id), Some(params)) = (&message.method, &message.id, message.params)
        && let Some(error) = parameters::malformed(method, params)
    {
        return Err(Refused {
            code: INVALID_PARAMS,
            id: Some(id.clone()),
            refusal: Refusal::new(StatusCode::OK, error),
        });
    }
    let params = |method: &str| message.params.filter(|_| message.method.as_deref() == Some(method)).map(RawValue::get);
    let listen = params("subscriptions/listen").and_then(|params| serde_json::from_str::<Listen>(params).ok());
    let cancelled = params("notifications/cancelled")
        .and_then(|params| serde_json::from_str::<CancelledNotificationParam>(params).ok());
    Ok(Checked {
        filter: listen.map(|listen| listen.notifications),
        cancelled: cancelled.and_then(|cancelled| cancelled.request_id),
    })
}

/// Converts a response of the SDK. A refusal becomes a JSON-RPC error with the code that the API has for it. A result
/// holds `budgets` until it is sent, and a client that stops reading it loses the connection.
async fn sendable(response: Response, budgets: Budgets) -> Result<Response, Refused> {
    let (mut parts, body) = response.into_parts();
    let is_json =
        parts.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let is_refusal = parts.status.is_client_error() || parts.status.is_server_error();
    if !is_json && !is_refusal {
        return Ok(Response::from_parts(parts, body));
    }
    let failed = |error: axum::Error| Refusal::internal(Error::internal(error));
    let bytes = axum::body::to_bytes(body, usize::MAX).await.map_err(failed)?;
    if is_json {
        parts.headers.remove(CONTENT_LENGTH);
        let may_be_error = is_refusal || bytes.len() <= MAX_ERROR_BYTES;
        let bytes = if may_be_error { with_code(&bytes).unwrap_or(bytes) } else { bytes };
        let body = respond::sent(bytes.into(), budgets).map_err(Refusal::internal)?;
        return Ok(Response::from_parts(parts, body));
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if parts.status.is_server_error() {
        return Err(Refusal::internal(Error::internal(text)).into());
    }
    Err(match text.strip_prefix("fail to deserialize request body") {
        Some(why) => Refused::bad(INVALID_REQUEST, format!("The body is not a message of MCP:{why}.")),
        None => Refusal::new(parts.status, Error::bad_input("", text)).into(),
    })
}

/// The JSON-RPC error of the SDK with the code of the API. `None` if this is a result, or if it has a code.
fn with_code(text: &[u8]) -> Option<Bytes> {
    let mut message: Value = serde_json::from_slice(text).ok()?;
    let error = message.get_mut("error")?.as_object_mut()?;
    let is_internal = error.get("code").and_then(Value::as_i64) == Some(INTERNAL_ERROR.into());
    let data = error.entry("data").or_insert(Value::Null);
    if data.is_null() {
        *data = json!({});
    }
    if let Entry::Vacant(code) = data.as_object_mut()?.entry("code") {
        code.insert(if is_internal { "INTERNAL" } else { "BAD_USER_INPUT" }.into());
        return Some(message.to_string().into());
    }
    None
}

/// The response to a request that was refused.
fn refuse(state: &AppState, headers: &HeaderMap, uri: &Uri, refused: &Refused, request_id: &str) -> Response {
    let Refused { code, id, refusal } = refused;
    let (message, data) = answer::described(&refusal.error, request_id);
    let error = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message, "data": data } });
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
