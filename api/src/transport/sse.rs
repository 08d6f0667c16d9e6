//! Operations whose results come one after the other in one HTTP answer: as server-sent events by the protocol `graphql-sse`,
//! distinct connections mode (<https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>), and for subscriptions as
//! `multipart/mixed` too, as Apollo's clients ask for it
//! (<https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/multipart-protocol>).
//!
//! Each event of a subscription has its position as its id, so that an `EventSource` that comes back resumes after its
//! `Last-Event-ID`. When the server stops, or the database is away for long, an answer ends without having been completed, and
//! the client comes back.

use async_graphql::{Request, ServerError, parser::types::OperationType};
use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval_at, sleep};

use super::{
    auth,
    listening::{self, Connection, Step},
    operation,
    router::AppState,
};
use crate::{
    domain::profile,
    live::source::Position,
    model::{actor::Actor, error::Error},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How the results follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/event-stream`.
    Events,
    /// `multipart/mixed`.
    Parts,
}

impl Format {
    /// The one that a client accepts; `None` if it accepts neither.
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).find_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let mut parts =
                parts.filter_map(|part| part.split_once('=')).map(|(key, value)| (key.trim(), value.trim()));
            let is_refused =
                |(key, value): (&str, &str)| key.eq_ignore_ascii_case("q") && value.parse::<f32>() == Ok(0.0);
            if parts.clone().any(is_refused) {
                return None;
            }
            if name.eq_ignore_ascii_case("text/event-stream") {
                return Some(Self::Events);
            }
            // Others ask for parts to be given deferred fields, which this schema does not have.
            let is_ours = name.eq_ignore_ascii_case("multipart/mixed")
                && parts.any(|(key, _)| key.eq_ignore_ascii_case("subscriptionSpec"));
            is_ours.then_some(Self::Parts)
        })
    }

    /// The format of the answer to this operation. One that ends with one result comes as events, and only to a client that does
    /// not accept JSON: that has a status and can be compressed.
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

    /// What opens the answer, so that its client sees at once that it has begun.
    pub fn opening(self) -> Bytes {
        match self {
            Self::Events => Bytes::from_static(b":\n\n"),
            Self::Parts => Bytes::from_static(b"\r\n--graphql"),
        }
    }

    /// Keeps proxies from taking the connection for dead, and notices if it is.
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
            tracing::error!(%error, "errors could not be written as JSON");
            "{}".to_owned()
        })
    }

    fn errors(self, errors: Vec<ServerError>) -> Bytes {
        let errors = Self::refused(errors);
        match self {
            Self::Events => self.result(&errors, None),
            // An error beside the payload, and not in it, ends the subscription.
            Self::Parts => part(&format!(r#"{{"payload":null,{}"#, errors.trim_start_matches('{'))),
        }
    }

    fn end(self) -> Bytes {
        match self {
            // Without a line of data an `EventSource` would drop it.
            Self::Events => Bytes::from_static(b"event: complete\ndata:\n\n"),
            Self::Parts => Bytes::from_static(b"--\r\n"),
        }
    }
}

/// A part; its closing boundary is there as well, since clients take a part as whole only when they see that.
fn part(json: &str) -> Bytes {
    format!("\r\nContent-Type: application/json\r\n\r\n{json}\r\n--graphql").into_bytes().into()
}

/// Answers an operation in that format.
///
/// # Errors
/// Why there is to be no such answer.
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
        // Held for as long as the answer goes on.
        let _place = &place;
        Ok::<_, std::convert::Infallible>(bytes)
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(format.content_type())),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // A proxy of nginx's kind would keep the events back until it has many.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn body(
    state: AppState,
    format: Format,
    steps: Result<futures::stream::BoxStream<'static, Step>, Vec<ServerError>>,
    token_time: Duration,
    id: String,
) -> impl futures::Stream<Item = Bytes> {
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
        let period = Duration::from_secs(state.limits.socket_ping_seconds);
        let mut heartbeat = interval_at(Instant::now() + period, period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expired = std::pin::pin!(sleep(token_time));
        let mut shutdown = std::pin::pin!(state.shutdown.cancelled());
        loop {
            let step = tokio::select! {
                biased;
                () = &mut shutdown => return,
                // A client of `graphql-sse` comes back, with a fresh token, from what was not completed.
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
                // Not completed, so that the client comes back.
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
    use super::*;

    #[test]
    fn a_client_gets_what_it_accepts() {
        for (accept, format) in [
            ("text/event-stream", Some(Format::Events)),
            ("application/json;q=0.5, Text/Event-Stream", Some(Format::Events)),
            (r#"multipart/mixed;boundary="graphql";subscriptionSpec="1.0", application/json"#, Some(Format::Parts)),
            ("multipart/mixed;deferSpec=20220824, application/json", None),
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
