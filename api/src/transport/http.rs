//! `POST /graphql` and `GET /graphql`: GraphQL over HTTP according to the working draft
//! (<https://graphql.github.io/graphql-over-http/draft/>), with the library's request and response types. The library's
//! own HTTP service deviates from the draft: it runs mutations by GET, accepts bodies of any size and type, and answers
//! 200 to bodies that it cannot parse.
//!
//! Status codes: a request that is not a GraphQL-over-HTTP request gets a 4xx status, whatever the client accepts. A
//! well-formed request that GraphQL refuses gets 400 (422 if the document fails validation) if the client accepts
//! `application/graphql-response+json`, and 200 if it accepts `application/json` only.

use std::{net::SocketAddr, panic::AssertUnwindSafe};

use async_graphql::{Request, parser::types::OperationType};
use axum::{
    Extension,
    body::{Body, BodyDataStream, Bytes},
    extract::{ConnectInfo, FromRequestParts, Query, State, ws::WebSocketUpgrade},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT,
            RETRY_AFTER, WWW_AUTHENTICATE,
        },
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use futures::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tracing::Instrument;

use super::{
    auth,
    coding::{self, Coding, Failure},
    operation::{self, Outcome},
    read_limit::ReadLimit,
    router::{AppState, RequestId},
    single,
    sse::{self, Format},
    throttle::{Address, TooOften},
    values, websocket,
};
use crate::{
    domain::{heavy, profile},
    graphql::{context, documents::Keep, execution},
    model::{actor::Actor, error::Error, memory::Taken},
};

/// Timeout for the next chunk of a request body.
const PIECE_TIME: Duration = Duration::from_secs(30);

/// The longest body, before and after decompression, that is decompressed at once.
const SHORT_BODY_BYTES: usize = 64 * 1024;

/// A body over the size limit is read for up to this time and this multiple of the limit, and discarded: a client that
/// is still writing when the connection closes sees a reset instead of the response.
const DRAIN_TIME: Duration = Duration::from_secs(5);
const DRAIN_FACTOR: usize = 4;

/// Media type of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    GraphqlResponse,
    Json,
}

/// A request that was refused before it became an operation.
struct Refusal {
    status: StatusCode,
    error: Error,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    fn new(status: StatusCode, error: Error) -> Box<Self> {
        Box::new(Self { status, error, header: None })
    }

    fn with(mut self: Box<Self>, name: HeaderName, value: &'static str) -> Box<Self> {
        self.header = Some((name, HeaderValue::from_static(value)));
        self
    }

    fn internal(error: Error) -> Box<Self> {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    fn no_memory(error: Error) -> Box<Self> {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error).with(RETRY_AFTER, "1")
    }

    fn rate_limited(refused: TooOften) -> Box<Self> {
        let header = Some((RETRY_AFTER, refused.retry_after.into()));
        Box::new(Self { status: StatusCode::TOO_MANY_REQUESTS, error: refused.error, header })
    }
}

/// The operations of one HTTP request, and whether they came as an array.
struct Batch {
    requests: Vec<Request>,
    is_array: bool,
}

/// Handles `/graphql` for every method.
pub async fn graphql(
    State(state): State<AppState>,
    Extension(RequestId(id)): Extension<RequestId>,
    Extension(read_limit): Extension<ReadLimit>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: axum::extract::Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    // Hasura and Apollo open WebSockets at this path.
    if parts.method == Method::GET && websocket::is_asked_for(&parts.headers) {
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &state).await;
        return websocket::upgrade(
            State(state),
            Extension(RequestId(id)),
            Extension(read_limit),
            ConnectInfo(peer),
            parts.headers,
            parts.uri,
            upgrade,
        )
        .await;
    }
    let is_single = single::is_asked_for(&parts.method, &parts.headers, &parts.uri);
    let streamed = Format::accepted(&parts.headers).map(|_| Media::Json).or(is_single.then_some(Media::Json));
    let Some(media) = negotiate(&parts.headers).or(streamed) else {
        let message =
            "The answer can be application/graphql-response+json, application/json or text/event-stream, in UTF-8.";
        return refuse(
            Media::Json,
            &Refusal::new(StatusCode::NOT_ACCEPTABLE, Error::bad_input("accept", message)),
            &id,
        );
    };
    let address = state.throttle.address(peer.ip(), &parts.headers);
    match answer(&state, &parts, body, address, media, &id).await {
        Ok(response) => response,
        Err(refusal) => {
            state.services.metrics().ended("none", None, false, refusal.error.code(), None);
            refuse(media, &refusal, &id)
        }
    }
}

async fn answer(
    state: &AppState,
    parts: &Parts,
    body: Body,
    address: Option<Address>,
    media: Media,
    id: &str,
) -> Result<Response, Box<Refusal>> {
    if single::is_asked_for(&parts.method, &parts.headers, &parts.uri) {
        let actor = caller(state, &parts.headers, address).await?;
        state.throttle.admit(actor.as_ref(), address, 1).map_err(Refusal::rate_limited)?;
        let answer = single::answer(state, &parts.method, &parts.headers, &parts.uri, actor, id).await;
        return answer.map_err(|refused| Refusal::new(refused.0, refused.1));
    }
    if ![Method::GET, Method::HEAD, Method::POST].contains(&parts.method) {
        let error = Error::bad_input("", "Send GraphQL operations by POST, or queries by GET.");
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error).with(ALLOW, "GET, HEAD, POST, PUT, DELETE"));
    }
    // Authenticate before reading the body, which takes memory.
    let actor = caller(state, &parts.headers, address).await?;
    state.throttle.admit(actor.as_ref(), address, 1).map_err(Refusal::rate_limited)?;
    let mut memory = Taken::default();
    let mut batch = if parts.method == Method::POST {
        require_json(&parts.headers)?;
        let coding = Coding::of(&parts.headers).map_err(|error| {
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error).with(ACCEPT_ENCODING, coding::ACCEPTED)
        })?;
        let limit = BodyLimit::of(state, actor.is_some());
        let mut body = read_body(state, &parts.headers, body, &limit, &mut memory).await?;
        if let Some(coding) = coding {
            body = decompress(state, coding, body, &limit, &mut memory).await?;
        }
        let (max_batch, max_values) = (state.limits.max_batch, state.limits.max_json_values);
        heavy::run_or_now(body.len(), move || from_body(&body, max_batch, max_values))
            .await
            .map_err(Refusal::internal)??
    } else {
        Batch { requests: vec![from_query(&parts.uri)?], is_array: false }
    };
    let others = batch.requests.len().saturating_sub(1);
    if others > 0 {
        state.throttle.admit(actor.as_ref(), address, others).map_err(Refusal::rate_limited)?;
    }

    if parts.method != Method::POST {
        for request in &mut batch.requests {
            if let Ok((OperationType::Mutation, _)) = operation::prepare(request, &state.documents, &state.limits) {
                let error = Error::bad_input("query", "Mutations must be sent by POST.");
                return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error).with(ALLOW, "POST"));
            }
        }
    }

    if let ([request], false) = (batch.requests.as_mut_slice(), batch.is_array)
        && parts.method == Method::POST
        && let Some(token) = single::token(&parts.headers, &parts.uri)
    {
        let request = std::mem::replace(request, Request::new(""));
        return single::run(state, &token, actor, request).map_err(|refused| Refusal::new(refused.0, refused.1));
    }

    if let ([request], false) = (batch.requests.as_mut_slice(), batch.is_array)
        && let Some(format) = Format::of(state, &parts.headers, request, negotiate(&parts.headers).is_some())
    {
        let request = std::mem::replace(request, Request::new(""));
        return sse::open(state, format, request, actor, &parts.headers, id).await.map_err(|error| {
            let status = match error {
                Error::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
                Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
                ref error if error.cause().is_some() => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::BAD_REQUEST,
            };
            Refusal::new(status, error)
        });
    }

    // Runs in a separate task, so that a client that disconnects cannot cancel it halfway.
    let run = run(state.clone(), batch.requests, actor, id.to_owned());
    let run = async {
        let _memory = memory;
        run.await
    };
    let run = run.in_current_span();
    let mut outcomes = match state.tasks.spawn(run).await {
        Ok(outcomes) => outcomes,
        Err(error) => return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Error::internal(error))),
    };
    if batch.is_array {
        return Ok(reply(StatusCode::OK, media, &outcomes));
    }
    match outcomes.pop() {
        Some(outcome) => {
            let mut response = reply(status(&outcome, media), media, &outcome);
            if let Some(seconds) = outcome.retry_after() {
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            if let Outcome::Ran(answer) = outcome {
                response.headers_mut().extend(answer.http_headers);
            }
            Ok(response)
        }
        None => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Error::internal("an operation had no outcome"))),
    }
}

/// The actor of the request's token, if there is a token.
async fn caller(
    state: &AppState,
    headers: &HeaderMap,
    address: Option<Address>,
) -> Result<Option<Actor>, Box<Refusal>> {
    let verified = match auth::bearer(headers) {
        Ok(Some(token)) => state.verifier.verify(token).await,
        Ok(None) => return Ok(None),
        Err(error) => Err(error),
    };
    match verified {
        Ok(actor) => Ok(Some(actor)),
        Err(error) if error.is_passing() => {
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).with(RETRY_AFTER, "10"))
        }
        Err(error) => {
            state.throttle.failed(address).map_err(Refusal::rate_limited)?;
            Err(Refusal::new(StatusCode::UNAUTHORIZED, error).with(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""))
        }
    }
}

/// Runs the operations of one request in order, so that each sees the writes of the previous one.
async fn run(state: AppState, requests: Vec<Request>, actor: Option<Actor>, id: String) -> Vec<Outcome> {
    let run = async {
        let mut outcomes = Vec::with_capacity(requests.len());
        for request in requests {
            let outcome = AssertUnwindSafe(run_one(&state, request, actor.as_ref(), &id)).catch_unwind().await;
            outcomes.push(outcome.unwrap_or_else(|panic| operation::panicked(&*panic, &id).into()));
        }
        outcomes
    };
    // Update the profile from the token first: an operation can read it.
    if let Some(actor) = &actor {
        profile::meet(&state.services, actor).await;
    }
    run.await
}

async fn run_one(state: &AppState, mut request: Request, actor: Option<&Actor>, id: &str) -> Outcome {
    let (kind, name) = match operation::prepare(&mut request, &state.documents, &state.limits) {
        Ok(prepared) => prepared,
        Err(error) => {
            let outcome = error.into();
            state.refused(&outcome);
            return outcome;
        }
    };
    if kind == OperationType::Subscription {
        let error = Error::bad_input(
            "query",
            "Send subscriptions by WebSocket to /graphql/ws, or here with `Accept: text/event-stream`.",
        );
        return operation::refusal(&error, id).into();
    }
    let mut measured = state.measure(kind, name.as_deref(), actor.is_some(), id);
    let keep = Keep::of(&request).cloned();
    let document = operation::document_of(&request);
    let request = context::attach(request, &state.services, &state.executor.live, actor.cloned(), None);
    let response = measured.run(execution::run(&state.executor.schema, &state.limits, request)).await;
    let outcome = operation::settle(response, document.as_ref(), name.as_deref(), id);
    if let (Some(keep), Outcome::Ran(_)) = (keep, &outcome) {
        keep.keep();
    }
    measured.ended(outcome.code());
    outcome
}

/// The HTTP status of an outcome (the draft's section "Status Codes").
fn status(outcome: &Outcome, media: Media) -> StatusCode {
    if outcome.refused_for("INTERNAL") {
        StatusCode::INTERNAL_SERVER_ERROR
    } else if outcome.refused_for("UNAVAILABLE") {
        StatusCode::SERVICE_UNAVAILABLE
    } else if media == Media::Json || matches!(outcome, Outcome::Ran(_)) {
        StatusCode::OK
    } else if outcome.refused_for("RATE_LIMITED") {
        StatusCode::TOO_MANY_REQUESTS
    } else if outcome.failed_validation() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::BAD_REQUEST
    }
}

fn refuse(media: Media, refusal: &Refusal, id: &str) -> Response {
    let mut response = reply(refusal.status, media, &Outcome::from(operation::refusal(&refusal.error, id)));
    response.headers_mut().extend(refusal.header.clone());
    response
}

fn reply(status: StatusCode, media: Media, body: &impl Serialize) -> Response {
    let content_type = match media {
        Media::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        Media::Json => "application/json; charset=utf-8",
    };
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot serialize the response as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The media type of the response (RFC 9110, section 12.5.1): the one that the client weighs highest. Without a
/// preference it is `application/json`, which every client reads. `None` if the client accepts neither.
fn negotiate(headers: &HeaderMap) -> Option<Media> {
    let mut ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if ranges.peek().is_none() {
        return Some(Media::Json);
    }
    // For each type, how exactly the range named it, and its weight. The most exact range wins.
    let mut graphql = (0, 0.0);
    let mut json = (0, 0.0);
    for range in ranges.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut weight = 1.0;
        let mut is_utf8 = true;
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim().to_ascii_lowercase().as_str() {
                "q" => weight = value.trim().parse::<f32>().unwrap_or(0.0),
                "charset" => is_utf8 = names_utf8(value),
                _ => {}
            }
        }
        if !is_utf8 {
            continue;
        }
        let exactness = match name.as_str() {
            "*/*" => 1,
            "application/*" => 2,
            _ => 3,
        };
        if exactness >= graphql.0 && (exactness < 3 || name == "application/graphql-response+json") {
            graphql = (exactness, weight);
        }
        if exactness >= json.0 && (exactness < 3 || name == "application/json") {
            json = (exactness, weight);
        }
    }
    match (graphql, json) {
        ((_, first), (_, second)) if first <= 0.0 && second <= 0.0 => None,
        ((exactness, first), (_, second)) if first > second || (first == second && exactness == 3) => {
            Some(Media::GraphqlResponse)
        }
        _ => Some(Media::Json),
    }
}

fn names_utf8(charset: &str) -> bool {
    let charset = charset.trim().trim_matches('"');
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}

/// Only JSON is accepted: a page of another site can send forms and text without a CORS preflight, but not JSON.
fn require_json(headers: &HeaderMap) -> Result<(), Box<Refusal>> {
    let unsupported = |message: &str| {
        Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Error::bad_input("content-type", message)))
    };
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/json")) {
        return unsupported("The Content-Type must be application/json.");
    }
    let mut charsets =
        parts.filter_map(|part| part.split_once('=')).filter(|(key, _)| key.eq_ignore_ascii_case("charset"));
    if charsets.any(|(_, charset)| !names_utf8(charset)) {
        return unsupported("The charset must be UTF-8.");
    }
    Ok(())
}

/// The size limit of a body, before and after decompression.
struct BodyLimit {
    bytes: usize,
    setting: &'static str,
}

impl BodyLimit {
    fn of(state: &AppState, is_signed_in: bool) -> Self {
        let limits = &state.limits;
        if is_signed_in || limits.max_anonymous_body_bytes >= limits.max_body_bytes {
            Self { bytes: limits.max_body_bytes, setting: "--max-body-bytes" }
        } else {
            let setting = "without a token; --max-anonymous-body-bytes";
            Self { bytes: limits.max_anonymous_body_bytes, setting }
        }
    }

    fn exceeded(&self) -> Box<Refusal> {
        let message = format!("The request body has more than {} bytes ({}).", self.bytes, self.setting);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Error::PayloadTooLarge { field: None, message })
    }
}

/// Decompresses a body beside the threads that serve. A body that is short before and after does not wait for a turn.
async fn decompress(
    state: &AppState,
    coding: Coding,
    body: Bytes,
    limit: &BodyLimit,
    memory: &mut Taken,
) -> Result<Bytes, Box<Refusal>> {
    let all = state.services.memory.clone();
    let short = limit.bytes.min(SHORT_BODY_BYTES);
    let mut plain = Err(Failure::TooLong);
    if body.len() <= SHORT_BODY_BYTES {
        plain = coding.decompress(&body, short, |bytes| all.take(memory, bytes));
    }
    if matches!(plain, Err(Failure::TooLong)) && (short < limit.bytes || body.len() > SHORT_BODY_BYTES) {
        let (mut taken, bytes) = (std::mem::take(memory), limit.bytes);
        let work = move || {
            let plain = coding.decompress(&body, bytes, |bytes| all.take(&mut taken, bytes));
            (plain, taken)
        };
        (plain, *memory) = heavy::run(limit.bytes, work).await.map_err(Refusal::internal)?;
    }
    match plain {
        Ok(plain) => Ok(plain.into()),
        Err(Failure::TooLong) => Err(limit.exceeded()),
        Err(Failure::Damaged(error)) => Err(Refusal::new(StatusCode::BAD_REQUEST, error)),
        Err(Failure::NoMemory(error)) => Err(Refusal::no_memory(error)),
    }
}

/// Reads a body as it is sent.
async fn read_body(
    state: &AppState,
    headers: &HeaderMap,
    body: Body,
    body_limit: &BodyLimit,
    memory: &mut Taken,
) -> Result<Bytes, Box<Refusal>> {
    let limit = body_limit.bytes;
    let deadline = Instant::now() + Duration::from_secs(state.limits.max_body_seconds);
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut stream = body.into_data_stream();
    if declared.is_none_or(|declared| declared <= limit) {
        let mut bytes = Vec::new();
        loop {
            match timeout_at(deadline.min(Instant::now() + PIECE_TIME), stream.next()).await {
                Ok(None) => return Ok(bytes.into()),
                Ok(Some(Ok(chunk))) if chunk.len() <= limit - bytes.len() => {
                    state.services.memory.take(memory, chunk.len()).map_err(Refusal::no_memory)?;
                    bytes.extend_from_slice(&chunk);
                }
                Ok(Some(Ok(_))) => break,
                Ok(Some(Err(_))) => {
                    return Err(Refusal::new(StatusCode::BAD_REQUEST, Error::bad_input("", "The body is incomplete.")));
                }
                Err(_) => {
                    let error = Error::bad_input("", "The body did not arrive in time (--max-body-seconds).");
                    return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, error).with(CONNECTION, "close"));
                }
            }
        }
    }
    let refusal = body_limit.exceeded();
    // With `Expect: 100-continue` do not drain: reading would make hyper send 100 Continue.
    let is_whole = !headers.contains_key(EXPECT)
        && timeout(DRAIN_TIME, drain(stream, limit.saturating_mul(DRAIN_FACTOR))).await == Ok(true);
    // The rest of the body would be read as the next request.
    Err(if is_whole { refusal } else { refusal.with(CONNECTION, "close") })
}

/// Reads and discards a body. Returns whether it ended within the limit.
async fn drain(mut stream: BodyDataStream, mut left: usize) -> bool {
    while let Some(Ok(chunk)) = stream.next().await {
        if chunk.len() > left {
            return false;
        }
        left -= chunk.len();
    }
    true
}

fn from_body(body: &[u8], max_batch: usize, max_values: usize) -> Result<Batch, Box<Refusal>> {
    let bad_request = |error| Refusal::new(StatusCode::BAD_REQUEST, error);
    let json = std::str::from_utf8(body)
        .map_err(|error| bad_request(Error::bad_input("", format!("The body is not UTF-8: {error}."))))?;
    // RFC 8259, section 8.1: a sender must not add a byte order mark, but some do.
    let json = json.strip_prefix('\u{feff}').unwrap_or(json);
    values::check(json, max_values).map_err(|error| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error))?;
    if !json.trim_ascii_start().starts_with('[') {
        let request = operation::read(json).map_err(bad_request)?;
        return Ok(Batch { requests: vec![request], is_array: false });
    }
    let requests: Vec<&RawValue> = serde_json::from_str(json)
        .map_err(|error| bad_request(Error::bad_input("", format!("The body is not usable JSON: {error}."))))?;
    if requests.is_empty() {
        return Err(bad_request(Error::bad_input("", "The batch is empty.")));
    }
    if requests.len() > max_batch {
        let message = format!("The batch has {} operations; the limit is {max_batch} (--max-batch).", requests.len());
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Error::PayloadTooLarge { field: None, message }));
    }
    let requests = requests.iter().map(|raw| operation::read(raw.get()).map_err(bad_request));
    Ok(Batch { requests: requests.collect::<Result<_, _>>()?, is_array: true })
}

fn from_query(uri: &Uri) -> Result<Request, Box<Refusal>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Parameters {
        query: Option<String>,
        document_id: Option<String>,
        operation_name: Option<String>,
        variables: Option<String>,
        extensions: Option<String>,
    }

    let bad_request = |error| Refusal::new(StatusCode::BAD_REQUEST, error);
    let Query(parameters) = Query::<Parameters>::try_from_uri(uri).map_err(|_| {
        bad_request(Error::bad_input("", "The query string repeats a parameter, or is not URL-encoded."))
    })?;
    // The draft allows an empty value for an absent parameter.
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    operation::request(operation::Parameters {
        query: given(parameters.query),
        document_id: given(parameters.document_id),
        operation_name: given(parameters.operation_name),
        variables: given(parameters.variables).as_deref(),
        extensions: given(parameters.extensions).as_deref(),
    })
    .map_err(bad_request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn negotiate_picks_the_media_type_with_the_highest_weight() {
        use Media::{GraphqlResponse, Json};
        const BOTH: &str = "application/json, application/graphql-response+json";
        for (accept, media) in [
            (&[][..], Some(Json)),
            (&["*/*"], Some(Json)),
            (&["application/*"], Some(Json)),
            (&["text/html, */*;q=0.1"], Some(Json)),
            (&["application/json"], Some(Json)),
            (&["APPLICATION/GraphQL-Response+JSON"], Some(GraphqlResponse)),
            (&[BOTH], Some(GraphqlResponse)),
            (&["application/json", "application/graphql-response+json"], Some(GraphqlResponse)),
            (&["application/graphql-response+json;q=0.5, application/json;q=0.9"], Some(Json)),
            (
                &["application/graphql-response+json;charset=utf-8, application/json;charset=\"UTF-8\""],
                Some(GraphqlResponse),
            ),
            (&["*/*, application/json;q=0"], Some(GraphqlResponse)),
            (&["application/json;q=0, */*"], Some(GraphqlResponse)),
            (&["application/graphql-response+json;q=0"], None),
            (&["application/json; charset=utf-16"], None),
            (&["text/html"], None),
            (&[""], None),
        ] {
            assert_eq!(negotiate(&headers(ACCEPT, accept)), media, "{accept:?}");
        }
    }

    #[test]
    fn only_utf8_json_is_accepted() {
        for (content_type, is_read) in [
            ("application/json", true),
            ("Application/JSON ; Charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("application/graphql-response+json", false),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=x", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(require_json(&headers(CONTENT_TYPE, &[content_type])).is_ok(), is_read, "{content_type}");
        }
        assert!(require_json(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_body_is_one_request_or_a_limited_batch() {
        const ONE: &str = r#"{"query":"{a}"}"#;
        let read = |body: &str| from_body(body.as_bytes(), 2, 100).map(|batch| (batch.requests.len(), batch.is_array));
        let refused = |body: &str| read(body).err().map(|refusal| (refusal.status.as_u16(), refusal.error.code()));
        assert_eq!(read(ONE).ok(), Some((1, false)));
        assert_eq!(read(&format!("\u{feff}{ONE}")).ok(), Some((1, false)));
        assert_eq!(read(&format!(" [{ONE}, {ONE}] ")).ok(), Some((2, true)));
        assert_eq!(refused(&format!("[{ONE},{ONE},{ONE}]")), Some((413, "PAYLOAD_TOO_LARGE")));
        for body in ["", "[]", "[1]", "[[\"{a}\"]]", "5", "null", "{", "[", r#"{"query":"{a}"} x"#] {
            assert_eq!(refused(body), Some((400, "BAD_USER_INPUT")), "{body}");
        }
        assert!(from_body(b"{\"query\":\"\xff\"}", 2, 100).is_err());
    }

    #[test]
    fn an_empty_query_parameter_is_absent() {
        let request =
            from_query(&Uri::from_static("/graphql?query=%7Ba%7D&operationName=&variables=%7B%22b%22:1%7D")).ok();
        let request = request.unwrap();
        assert_eq!((request.query.as_str(), request.operation_name, request.variables.len()), ("{a}", None, 1));
        for uri in ["/graphql", "/graphql?query=", "/graphql?query=a&query=b", "/graphql?query=a&variables=b"] {
            assert!(from_query(&uri.parse().unwrap()).is_err(), "{uri}");
        }
    }
}
