//! Operations with several results in one HTTP response: as server-sent events by the protocol `graphql-sse`, distinct
//! connections mode (<https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>), and for subscriptions also as
//! `multipart/mixed`, as Apollo's clients request it
//! (<https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/multipart-protocol>).
//!
//! The id of an event is its position, so that a reconnecting `EventSource` resumes after its `Last-Event-ID`. If the
//! server stops or the database is unavailable for long, the response ends without completion, and the client
//! reconnects.

use async_graphql::{Request, ServerError, parser::types::OperationType};
use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use futures::{Stream, StreamExt};
use tokio::time::{Duration, sleep};

use super::{
    accept, auth, listening, operation,
    state::AppState,
    step::{Connection, Step},
};
use crate::{
    domain::profile,
    live::source::Position,
    model::{actor::Actor, error::Error},
};

/// The id of the last event that a reconnecting client has received.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The format of a sequence of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/event-stream`.
    Events,
    /// `multipart/mixed`.
    Parts,
}

impl Format {
    /// The format that a client prefers; `None` if it accepts neither.
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        let formats = accept::ranges(headers).filter(|range| range.weight > 0.0).filter_map(|range| {
            // Other clients accept multipart responses for deferred fields, which this schema does not have.
            let is_of_subscriptions = |(key, _): &(&str, &str)| key.eq_ignore_ascii_case("subscriptionSpec");
            if range.is("text/event-stream") {
                Some((range.weight, Self::Events))
            } else if range.is("multipart/mixed") && range.parameters.iter().any(is_of_subscriptions) {
                Some((range.weight, Self::Parts))
            } else {
                None
            }
        });
        // Of equal weights, the first.
        let preferred = formats.reduce(|best, other| if other.0 > best.0 { other } else { best });
        preferred.map(|(_, format)| format)
    }

    /// The format of the response to this operation. An operation with one result is sent as events only if the client
    /// does not accept JSON, since a JSON response has a status and can be compressed.
    pub fn of(state: &AppState, headers: &HeaderMap, request: &mut Request, takes_json: bool) -> Option<Self> {
        let format = Self::accepted(headers)?;
        let is_subscription = matches!(
            operation::prepare(request, &state.documents, &state.limits),
            Ok((OperationType::Subscription, _))
        );
        (is_subscription || (format == Self::Events && !takes_json)).then_some(format)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream; charset=utf-8",
            Self::Parts => r#"multipart/mixed;boundary="graphql";subscriptionSpec="1.0""#,
        }
    }

    /// The response with this body.
    pub fn respond(self, body: impl Stream<Item = Bytes> + Send + 'static) -> Response {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static(self.content_type())),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            // nginx and similar proxies would buffer the events.
            (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        ];
        (headers, Body::from_stream(body.map(Ok::<_, std::convert::Infallible>))).into_response()
    }

    /// The start of the response, sent at once so that the client sees that it has begun.
    pub fn opening(self) -> Bytes {
        match self {
            Self::Events => Bytes::from_static(b":\n\n"),
            Self::Parts => Bytes::from_static(b"\r\n--graphql"),
        }
    }

    /// Keeps proxies from closing an idle connection, and detects a broken one.
    pub fn heartbeat(self) -> Bytes {
        match self {
            Self::Events => Bytes::from_static(b":\n\n"),
            Self::Parts => part("{}"),
        }
    }

    fn result(self, payload: &str, position: Option<Position>) -> Bytes {
        match (self, position) {
            (Self::Events, Some(position)) => {
                format!("id: {}\nevent: next\ndata: {payload}\n\n", position.number()).into_bytes().into()
            }
            (Self::Events, None) => format!("event: next\ndata: {payload}\n\n").into_bytes().into(),
            (Self::Parts, _) => part(&format!(r#"{{"payload":{payload}}}"#)),
        }
    }

    /// Errors without data, as JSON.
    pub fn refused(errors: Vec<ServerError>) -> String {
        #[derive(serde::Serialize)]
        struct Refused {
            errors: Vec<ServerError>,
        }

        serde_json::to_string(&Refused { errors }).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot serialize errors as JSON");
            "{}".to_owned()
        })
    }

    fn errors(self, errors: Vec<ServerError>) -> Bytes {
        let errors = Self::refused(errors);
        match self {
            Self::Events => self.result(&errors, None),
            // An error outside the payload ends the subscription.
            Self::Parts => part(&format!(r#"{{"payload":null,{}"#, errors.trim_start_matches('{'))),
        }
    }

    fn end(self) -> Bytes {
        match self {
            // An `EventSource` ignores an event without data.
            Self::Events => Bytes::from_static(b"event: complete\ndata:\n\n"),
            Self::Parts => Bytes::from_static(b"--\r\n"),
        }
    }
}

/// A part. It includes the next boundary, since clients process a part only when they have received that.
fn part(json: &str) -> Bytes {
    format!("\r\nContent-Type: application/json\r\n\r\n{json}\r\n--graphql").into_bytes().into()
}

/// Responds to an operation in that format.
///
/// # Errors
/// Why the operation is refused.
pub async fn open(
    state: &AppState,
    format: Format,
    request: Request,
    actor: Option<Actor>,
    headers: &HeaderMap,
    id: &str,
) -> Result<Response, Error> {
    let resume = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()).map(|last| {
        let position = last.to_str().ok().and_then(|last| last.parse::<i32>().ok());
        position.ok_or_else(|| Error::bad_input("last-event-id", "This must be the id of an event: its position."))
    });
    let resume = resume.transpose()?;
    if let Some(actor) = &actor {
        profile::meet(&state.services, actor).await;
    }
    let place = actor.as_ref().map(|actor| state.throttle.open_socket(actor.user_id)).transpose()?;
    let token_time = auth::time_left(actor.as_ref());
    let steps = listening::start(state, &Connection::default(), actor, request, id.to_owned(), resume);
    let body = body(state.clone(), format, steps, token_time, id.to_owned()).map(move |bytes| {
        // Held until the response ends.
        let _place = &place;
        bytes
    });
    Ok(format.respond(body))
}

fn body(
    state: AppState,
    format: Format,
    steps: Result<futures::stream::BoxStream<'static, Step>, Vec<ServerError>>,
    token_time: Duration,
    id: String,
) -> impl Stream<Item = Bytes> {
    async_stream::stream! {
        yield format.opening();
        let mut steps = match steps {
            Ok(steps) => steps,
            Err(errors) => {
                yield format.errors(errors);
                yield format.end();
                return;
            }
        };
        let mut heartbeat = state.heartbeat();
        let mut expired = std::pin::pin!(sleep(token_time));
        let mut shutdown = std::pin::pin!(state.shutdown.cancelled());
        loop {
            let step = tokio::select! {
                biased;
                () = &mut shutdown => return,
                // A `graphql-sse` client reconnects with a new token if the operation is not completed.
                () = &mut expired => {
                    if format == Format::Events {
                        return;
                    }
                    let error = Error::Unauthenticated("The token has expired.".to_owned());
                    Step::Failed(vec![operation::refusal(&error, &id)])
                }
                step = steps.next() => step.unwrap_or(Step::Done),
                _ = heartbeat.tick() => {
                    yield format.heartbeat();
                    continue;
                }
            };
            match step {
                Step::Result(result) => yield format.result(result.payload(), result.position),
                Step::Failed(errors) => {
                    yield format.errors(errors);
                    yield format.end();
                    return;
                }
                // Do not complete, so that the client reconnects.
                Step::Interrupted => return,
                Step::Done => {
                    yield format.end();
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::ACCEPT;

    use super::*;

    #[test]
    fn a_client_gets_what_it_accepts() {
        for (accept, format) in [
            ("text/event-stream", Some(Format::Events)),
            ("application/json;q=0.5, Text/Event-Stream", Some(Format::Events)),
            (r#"multipart/mixed;boundary="graphql";subscriptionSpec="1.0", application/json"#, Some(Format::Parts)),
            ("multipart/mixed;deferSpec=20220824, application/json", None),
            (r#"text/event-stream;q=0.5, multipart/mixed;subscriptionSpec="1.0""#, Some(Format::Parts)),
            (r#"text/event-stream, multipart/mixed;subscriptionSpec="1.0""#, Some(Format::Events)),
            (r#"text/event-stream;Q=0.0, multipart/mixed;subscriptionSpec="1.0";q=0.1"#, Some(Format::Parts)),
            ("text/event-stream;q=0", None),
            ("application/json", None),
            ("*/*", None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Format::accepted(&headers), format, "{accept}");
        }
    }

    #[test]
    fn parts_end_with_the_boundary_of_the_next() {
        let body = [
            Format::Parts.opening(),
            Format::Parts.heartbeat(),
            Format::Parts.result("{}", Some(Position::Revision(1))),
            Format::Parts.end(),
        ];
        let part = |json: &str| format!("--graphql\r\nContent-Type: application/json\r\n\r\n{json}\r\n");
        let expected = format!("\r\n{}{}--graphql--\r\n", part("{}"), part(r#"{"payload":{}}"#));
        assert_eq!(body.concat(), expected.as_bytes());
    }
}
