//! The HTTP side of `/mcp`: authentication, limits and sessions. Everything that is refused here is a JSON-RPC error.

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
    model::{ErrorCode, ProtocolVersion},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use serde_json::{Value, json, map::Entry};

use super::{
    answer,
    handler::{Effects, Handler, PROTOCOL_VERSIONS},
    message::{INTERNAL_ERROR, Refused, check},
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
    },
};

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
        (&Method::DELETE, None) => {
            let error = Error::bad_input("mcp-session-id", "Send the Mcp-Session-Id of the session to end.");
            Err(Refusal::new(StatusCode::BAD_REQUEST, error).into())
        }
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
    let mut response = sendable(response.map(Body::new), budgets).await.map_err(|refused| refused.of(message.id))?;
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
    if let Some(why) = text.strip_prefix("fail to deserialize request body") {
        return Err(Refused::invalid("", format!("The body is not a message of MCP:{why}.")));
    }
    let error = match parts.status {
        StatusCode::NOT_ACCEPTABLE => {
            Error::bad_input("accept", "The Accept header must name application/json and text/event-stream.")
        }
        StatusCode::BAD_REQUEST => {
            let versions: Vec<&str> = PROTOCOL_VERSIONS.iter().map(ProtocolVersion::as_str).collect();
            let message = format!("The MCP-Protocol-Version must be one of {}.", versions.join(", "));
            Error::bad_input("mcp-protocol-version", message)
        }
        _ => Error::bad_input("", text),
    };
    Err(Refusal::new(parts.status, error).into())
}

/// The JSON-RPC error of the SDK with the code of the API. `None` if this is a result, or if it has a code.
fn with_code(text: &[u8]) -> Option<Bytes> {
    let mut message: Value = serde_json::from_slice(text).ok()?;
    let error = message.get_mut("error")?.as_object_mut()?;
    let kind = error.get("code").and_then(Value::as_i64);
    let data = error.entry("data").or_insert(Value::Null);
    if data.is_null() {
        *data = json!({});
    }
    let Entry::Vacant(code) = data.as_object_mut()?.entry("code") else { return None };
    code.insert(if kind == Some(INTERNAL_ERROR.into()) { "INTERNAL" } else { "BAD_USER_INPUT" }.into());
    // The text of the SDK is only the name of the method.
    if kind == Some(ErrorCode::METHOD_NOT_FOUND.0.into())
        && let Some(method) = error.get("message").and_then(Value::as_str)
    {
        let text = parameters::unknown(method);
        error.insert("message".to_owned(), text.into());
    }
    Some(message.to_string().into())
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
