//! `POST /graphql` and `GET /graphql`: GraphQL over HTTP according to the working draft
//! (<https://graphql.github.io/graphql-over-http/draft/>), with the library's request and response types. The library's
//! own HTTP service deviates from the draft: it runs mutations by GET, accepts bodies of any size and type, and answers
//! 200 to bodies that it cannot parse.
//!
//! Status codes: a request that is not a GraphQL-over-HTTP request gets a 4xx status, whatever the client accepts. A
//! well-formed request that GraphQL refuses gets 400 (422 if the document fails validation) if the client accepts
//! `application/graphql-response+json`, and 200 if it accepts `application/json` only.

use std::net::SocketAddr;

use async_graphql::{Request, parser::types::OperationType};
use axum::{
    Extension,
    body::Body,
    extract::{ConnectInfo, FromRequestParts, State, ws::WebSocketUpgrade},
    http::{HeaderMap, Method, StatusCode, header::ALLOW, request::Parts},
    response::Response,
};

use super::{
    operation,
    read_limit::ReadLimit,
    single,
    sse::{self, Format},
    state::{AppState, RequestId},
    throttle::Address,
    websocket,
};
use crate::model::{actor::Actor, error::Error, memory::Taken};

mod batch;
pub(super) mod body;
pub(super) mod caller;
mod insights;
mod media;
mod project_file;
mod query_string;
pub(super) mod refusal;
pub(super) mod respond;
mod writer;

use self::{
    batch::{Batch, from_query, read_batch},
    caller::{caller, refuse},
    media::{Media, negotiate},
    refusal::Refusal,
    respond::respond,
};
pub use self::{
    insights::insights_csv,
    project_file::{exports, project_file},
};

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
    // Requests of every method can have parameters.
    query_string::check(&parts.uri).map_err(|why| {
        let message = format!("The query string is not usable: {why}.");
        Refusal::new(StatusCode::BAD_REQUEST, Error::bad_input("", message))
    })?;
    let is_single = single::is_asked_for(&parts.method, &parts.headers, &parts.uri);
    if !is_single && ![Method::GET, Method::HEAD, Method::POST].contains(&parts.method) {
        let error = Error::bad_input("", "Send GraphQL operations by POST, or queries by GET.");
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error).with(ALLOW, "GET, HEAD, POST, PUT, DELETE"));
    }
    // Authenticate before reading the body, which takes memory.
    let actor = caller(state, &parts.headers, address).await?;
    state.throttle.admit(actor.as_ref(), address, 1).map_err(Refusal::rate_limited)?;
    if is_single {
        let answer = single::answer(state, &parts.method, &parts.headers, &parts.uri, actor, id).await;
        return answer.map_err(|refused| Refusal::new(refused.0, refused.1));
    }
    let mut memory = Taken::default();
    let mut batch = if parts.method == Method::POST {
        read_batch(state, &parts.headers, body, actor.is_some(), &mut memory).await?
    } else {
        Batch { requests: vec![from_query(&parts.uri)?], is_array: false, bytes: 0 }
    };
    // A stream of events has the results of one operation. Refuse a batch before its mutations run.
    if batch.is_array && negotiate(&parts.headers).is_none() {
        let message = "The answer to a batch can be application/graphql-response+json or application/json, in UTF-8.";
        return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, Error::bad_input("accept", message)));
    }
    let others = batch.requests.len().saturating_sub(1);
    if others > 0 {
        state.throttle.admit(actor.as_ref(), address, others).map_err(Refusal::rate_limited)?;
    }
    if parts.method != Method::POST {
        refuse_mutations(state, &mut batch)?;
    }
    match EventsTo::of(state, parts, &mut batch) {
        Some((to, request)) => stream_events(state, to, request, actor, &parts.headers, id).await,
        None => respond(state, batch, actor, memory, media, id).await,
    }
}

/// A page of another site can make its users send GET requests, so these can only read.
fn refuse_mutations(state: &AppState, batch: &mut Batch) -> Result<(), Box<Refusal>> {
    for request in &mut batch.requests {
        if let Ok((OperationType::Mutation, _)) = operation::prepare(request, &state.documents, &state.limits) {
            let error = Error::bad_input("query", "Mutations must be sent by POST.");
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error).with(ALLOW, "POST"));
        }
    }
    Ok(())
}

/// Which stream the results of an operation are sent to.
enum EventsTo {
    /// The stream with this token.
    Reserved(String),
    /// The response.
    Response(Format),
}

impl EventsTo {
    /// Takes the operation of a request whose results are sent as events.
    fn of(state: &AppState, parts: &Parts, batch: &mut Batch) -> Option<(Self, Request)> {
        let ([request], false) = (batch.requests.as_mut_slice(), batch.is_array) else { return None };
        let token = (parts.method == Method::POST).then(|| single::token(&parts.headers, &parts.uri));
        let to = match token.flatten() {
            Some(token) => Self::Reserved(token),
            None => {
                let takes_json = negotiate(&parts.headers).is_some();
                Self::Response(Format::of(state, &parts.headers, request, takes_json)?)
            }
        };
        Some((to, std::mem::replace(request, Request::new(""))))
    }
}

async fn stream_events(
    state: &AppState,
    to: EventsTo,
    request: Request,
    actor: Option<Actor>,
    headers: &HeaderMap,
    id: &str,
) -> Result<Response, Box<Refusal>> {
    match to {
        EventsTo::Reserved(token) => {
            single::run(state, &token, actor, request).map_err(|refused| Refusal::new(refused.0, refused.1))
        }
        EventsTo::Response(format) => {
            let opened = sse::open(state, format, request, actor, headers, id).await;
            opened.map_err(|error| {
                let status = match error {
                    Error::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
                    Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
                    ref error if error.cause().is_some() => StatusCode::INTERNAL_SERVER_ERROR,
                    _ => StatusCode::BAD_REQUEST,
                };
                Refusal::new(status, error)
            })
        }
    }
}
