//! Server-sent events of several operations in one response: `graphql-sse`'s single connection mode
//! (<https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>), for browsers, which open few HTTP/1.1
//! connections to a host. `PUT` reserves a stream and returns its token, `GET` opens it, `POST` with the token runs an
//! operation whose results are sent on the stream, `DELETE` ends an operation.
//!
//! A stream belongs to a user: all requests with its token must have a bearer token of that user. It exists only in the
//! memory of the server that reserved it, so a load balancer must send all requests of a client to the same server.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{Request, Value};
use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use futures::{
    StreamExt,
    stream::{AbortHandle, Abortable, BoxStream, SelectAll},
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Duration, Instant, MissedTickBehavior, interval_at, sleep},
};

use super::{
    auth, listening,
    sse::Format,
    state::AppState,
    step::Step,
    streams::{EventStream, Started, Streams},
};
use crate::{
    domain::profile,
    model::{actor::Actor, clock, error::Error},
};

const TOKEN: HeaderName = HeaderName::from_static("x-graphql-event-stream-token");

/// How long a reserved stream can stay unopened.
const OPEN_TIME: Duration = Duration::from_secs(30);

/// A response that is not a GraphQL response.
pub struct Refused(pub StatusCode, pub Error);

fn find(state: &AppState, token: &str, actor: Option<&Actor>) -> Result<Arc<EventStream>, Refused> {
    state.streams.find(token, actor).ok_or_else(|| {
        let message = "This user has no such stream on this server: reserve one by PUT.";
        Refused(StatusCode::NOT_FOUND, Error::bad_input("x-graphql-event-stream-token", message))
    })
}

/// The stream token of a request.
pub fn token(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let by_header = headers.get(TOKEN).and_then(|token| token.to_str().ok()).map(str::to_owned);
    by_header.or_else(|| parameter(uri, "token")).filter(|token| !token.is_empty())
}

fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let parameters = axum::extract::Query::<HashMap<String, String>>::try_from_uri(uri).ok()?;
    parameters.0.get(name).cloned()
}

/// Whether a request belongs to this protocol and to no other.
pub fn is_asked_for(method: &Method, headers: &HeaderMap, uri: &Uri) -> bool {
    match *method {
        Method::PUT | Method::DELETE => true,
        Method::GET => token(headers, uri).is_some() && parameter(uri, "query").is_none(),
        _ => false,
    }
}

/// Handles `PUT`, `DELETE`, and the `GET` of a stream.
///
/// # Errors
/// Why the request is refused.
pub async fn answer(
    state: &AppState,
    method: &Method,
    headers: &HeaderMap,
    uri: &Uri,
    actor: Option<Actor>,
    id: &str,
) -> Result<Response, Refused> {
    let token = token(headers, uri);
    match (method, token) {
        (&Method::PUT, _) => reserve(state, actor.as_ref()).await,
        (_, None) => {
            let message = "This requires the token of a stream; reserve one by PUT.";
            Err(Refused(StatusCode::BAD_REQUEST, Error::bad_input("x-graphql-event-stream-token", message)))
        }
        (&Method::DELETE, Some(token)) => end(state, &token, actor.as_ref(), uri),
        (_, Some(token)) => open(state, token, actor, headers, id),
    }
}

async fn reserve(state: &AppState, actor: Option<&Actor>) -> Result<Response, Refused> {
    // Anonymous callers could reserve streams without limit.
    let Some(actor) = actor else {
        let message = "Sign in: send `Authorization: Bearer TOKEN`.";
        return Err(Refused(StatusCode::UNAUTHORIZED, Error::Unauthenticated(message.to_owned())));
    };
    profile::meet(&state.services, actor).await;
    let place = state.throttle.open_socket(actor.user_id);
    let place = place.map_err(|error| Refused(StatusCode::TOO_MANY_REQUESTS, error))?;
    let token = state.streams.reserve(actor.user_id, place);
    let (streams, reserved) = (state.streams.clone(), token.clone());
    tokio::spawn(async move {
        sleep(OPEN_TIME).await;
        streams.remove_unopened(&reserved);
    });
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, token).into_response())
}

fn end(state: &AppState, token: &str, actor: Option<&Actor>, uri: &Uri) -> Result<Response, Refused> {
    let stream = find(state, token, actor)?;
    let Some(operation) = parameter(uri, "operationId").filter(|id| !id.is_empty()) else {
        let error = Error::bad_input("operationId", "This must be the id of the operation to end.");
        return Err(Refused(StatusCode::BAD_REQUEST, error));
    };
    stream.end(&operation);
    Ok(StatusCode::OK.into_response())
}

/// Runs an operation and sends its results to a stream.
///
/// # Errors
/// Why it was not started. GraphQL errors are results.
pub fn run(state: &AppState, token: &str, actor: Option<Actor>, request: Request) -> Result<Response, Refused> {
    let stream = find(state, token, actor.as_ref())?;
    let id = match request.extensions.get("operationId") {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        _ => {
            let error =
                Error::bad_input("extensions.operationId", "This must be an id chosen by the client, as a string.");
            return Err(Refused(StatusCode::BAD_REQUEST, error));
        }
    };
    let limit = state.limits.max_socket_operations;
    let (handle, registration) = AbortHandle::new_pair();
    {
        let mut running = stream.running();
        if running.contains_key(&id) {
            let error = Error::bad_input("extensions.operationId", "An operation with this id is running.");
            return Err(Refused(StatusCode::CONFLICT, error));
        }
        if running.len() >= limit {
            let message = format!("A stream can run {limit} operations at once (--max-socket-operations).");
            return Err(Refused(StatusCode::TOO_MANY_REQUESTS, Error::RateLimited { message, retry_after: None }));
        }
        running.insert(id.clone(), handle);
    }
    let steps = match listening::start(state, &stream.connection, actor, request, clock::new_id().to_string(), None) {
        Ok(steps) => steps,
        Err(errors) => futures::stream::once(async move { Step::Failed(errors) }).boxed(),
    };
    let steps = Abortable::new(steps, registration).boxed();
    stream.start(id, steps);
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Ends the operations and the reservation of a stream when its response ends for any reason.
struct Opened {
    streams: Streams,
    token: String,
    stream: Arc<EventStream>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.streams.remove(&self.token);
        self.stream.end_all();
    }
}

fn open(
    state: &AppState,
    token: String,
    actor: Option<Actor>,
    headers: &HeaderMap,
    id: &str,
) -> Result<Response, Refused> {
    if Format::accepted(headers) != Some(Format::Events) {
        let error = Error::bad_input(ACCEPT.as_str(), "A stream is sent as text/event-stream.");
        return Err(Refused(StatusCode::NOT_ACCEPTABLE, error));
    }
    let stream = find(state, &token, actor.as_ref())?;
    let Some(receiver) = stream.open() else {
        let error = Error::bad_input("x-graphql-event-stream-token", "This stream is already open.");
        return Err(Refused(StatusCode::CONFLICT, error));
    };
    let opened = Opened { streams: state.streams.clone(), token, stream };
    tracing::debug!(request.id = id, "a stream of several operations was opened");
    let body = body(state.clone(), opened, receiver, auth::time_left(actor.as_ref()));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(body.map(Ok::<_, std::convert::Infallible>))).into_response())
}

fn body(
    state: AppState,
    opened: Opened,
    mut started: UnboundedReceiver<Started>,
    token_time: Duration,
) -> impl futures::Stream<Item = Bytes> {
    async_stream::stream! {
        yield Format::Events.opening();
        let period = Duration::from_secs(state.limits.socket_ping_seconds);
        let mut heartbeat = interval_at(Instant::now() + period, period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expired = std::pin::pin!(sleep(token_time));
        let mut shutdown = std::pin::pin!(state.shutdown.cancelled());
        let mut operations: SelectAll<BoxStream<'static, (String, Step)>> = SelectAll::new();
        loop {
            let (id, step) = tokio::select! {
                biased;
                // Do not complete anything: the client reconnects with a new token and subscribes again.
                () = &mut shutdown => return,
                () = &mut expired => return,
                Some((id, steps)) = started.recv() => {
                    operations.push(steps.map(move |step| (id.clone(), step)).boxed());
                    continue;
                }
                Some(step) = operations.next() => step,
                _ = heartbeat.tick() => {
                    yield Format::Events.heartbeat();
                    continue;
                }
            };
            match step {
                Step::Result(result) => yield next(&id, result.payload()),
                Step::Failed(errors) => {
                    yield next(&id, &Format::refused(errors));
                    yield complete(&id);
                    opened.stream.end(&id);
                }
                Step::Interrupted => return,
                Step::Done => {
                    yield complete(&id);
                    opened.stream.end(&id);
                }
            }
        }
    }
}

fn next(id: &str, payload: &str) -> Bytes {
    let id = serde_json::Value::from(id);
    format!("event: next\ndata: {{\"id\":{id},\"payload\":{payload}}}\n\n").into_bytes().into()
}

fn complete(id: &str) -> Bytes {
    let id = serde_json::Value::from(id);
    format!("event: complete\ndata: {{\"id\":{id}}}\n\n").into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_json() {
        assert_eq!(next("a\"\n", "{}"), "event: next\ndata: {\"id\":\"a\\\"\\n\",\"payload\":{}}\n\n");
        assert_eq!(complete("1"), "event: complete\ndata: {\"id\":\"1\"}\n\n");
    }

    #[test]
    fn the_token_comes_as_a_header_or_a_parameter() {
        let with = HeaderMap::from_iter([(TOKEN, HeaderValue::from_static("a"))]);
        let uri = |text: &'static str| Uri::from_static(text);
        assert_eq!(token(&with, &uri("/graphql?token=b")).as_deref(), Some("a"));
        assert_eq!(token(&HeaderMap::new(), &uri("/graphql?token=b")).as_deref(), Some("b"));
        assert_eq!(token(&HeaderMap::new(), &uri("/graphql?token=")), None);
        assert!(is_asked_for(&Method::GET, &with, &uri("/graphql")));
        assert!(!is_asked_for(&Method::GET, &with, &uri("/graphql?query=a")));
        assert!(is_asked_for(&Method::PUT, &HeaderMap::new(), &uri("/graphql")));
        assert!(!is_asked_for(&Method::POST, &with, &uri("/graphql")));
    }
}
