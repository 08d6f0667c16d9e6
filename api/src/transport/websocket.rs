//! `GET /graphql/ws`, and `GET /graphql` too: GraphQL over WebSocket by the protocol `graphql-transport-ws`
//! (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>), with its close codes. The library's own socket closes
//! with codes that clients take as final, and keeps several other rules otherwise.
//!
//! A client that means to stay longer than its token holds sends a fresh one in the payload of a `ping`, in any shape that
//! `connection_init` takes; the `pong` says when it ends. The protocol leaves the payloads of both to client and server, and
//! forbids a second `connection_init`.
//!
//! One task a socket runs everything. What it holds for a client is bounded: the next result is taken from an operation
//! only when the one before it has gone to the network, so a client that reads slowly slows its operations' streams and
//! fills no queue. Operations take turns: the set that holds them wakes them first come, first served.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll, ready},
};

use async_graphql::ServerError;
use axum::{
    Extension,
    extract::{
        ConnectInfo, State,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{
        HeaderMap, StatusCode, Uri,
        header::{HOST, ORIGIN, RETRY_AFTER, UPGRADE},
    },
    response::{IntoResponse, Response},
};
use futures::{
    FutureExt, SinkExt, StreamExt,
    future::poll_fn,
    stream::{self, AbortHandle, BoxStream, SelectAll, SplitSink, SplitStream},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tracing::Instrument;

use super::{
    auth,
    listening::{self, Connection, Step},
    operation, origin,
    read_limit::ReadLimit,
    router::{AppState, RequestId},
    throttle::{Address, OpenSocket},
    values,
};
use crate::{
    domain::profile,
    metrics::Held,
    model::{actor::Actor, clock, error::Error},
};

const PROTOCOL: &str = "graphql-transport-ws";

/// How long a client may take to send `connection_init`.
const INIT_TIME: Duration = Duration::from_secs(10);
/// How many pings in a row may stay without any sign of life before the peer counts as dead.
const MAX_UNANSWERED: u32 = 2;
/// How long a closing socket is given to take the close frame and to answer it.
const CLOSE_TIME: Duration = Duration::from_secs(5);
/// How many messages may wait for the network before nothing more is read from the client.
const MAX_WAITING: usize = 64;
/// Longest payload of a `ping` that its `pong` repeats, in bytes.
const MAX_ECHO_BYTES: usize = 1024;
/// Room for reading and for writing that each socket keeps, in bytes; a message may be larger.
const BUFFER_BYTES: usize = 4 * 1024;
/// How much longer than its text a message can be, with pings beside it, in bytes.
const FRAMING_BYTES: usize = 1024;
/// Longest reason of a close frame, in bytes (RFC 6455, section 5.5: 125 for the payload, 2 of them for the code).
const MAX_REASON_BYTES: usize = 123;

const GOING_AWAY: u16 = 1001;
const TOO_BIG: u16 = 1009;
const TRY_AGAIN_LATER: u16 = 1013;
const BAD_REQUEST: u16 = 4400;
const UNAUTHORIZED: u16 = 4401;
const FORBIDDEN: u16 = 4403;
const SUBPROTOCOL_NOT_ACCEPTABLE: u16 = 4406;
const INIT_TIMEOUT: u16 = 4408;
const ALREADY_EXISTS: u16 = 4409;
const TOO_MANY_INITS: u16 = 4429;

/// Why the server closes a socket.
struct Close {
    code: u16,
    reason: String,
}

impl Close {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// How a socket ends.
enum End {
    /// The server closes it.
    Close(Close),
    /// The client has closed it, and waits for the answer that the library has made.
    ClosedByPeer,
    /// The client is gone.
    Gone,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// What a client sends.
enum FromClient<'a> {
    ConnectionInit { payload: serde_json::Value },
    Ping { payload: Option<&'a RawValue> },
    Pong,
    Subscribe { id: String, payload: &'a str },
    Complete { id: String },
}

/// What the server sends.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToClient<'a> {
    ConnectionAck,
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a RawValue>,
    },
    /// The answer to a `ping` with a token.
    #[serde(rename = "pong")]
    Refreshed {
        payload: Refreshed,
    },
    Error {
        id: &'a str,
        payload: &'a [ServerError],
    },
    /// The error of an operation whose id is no text, and is named as it was sent.
    #[serde(rename = "error")]
    ErrorOfBrokenId {
        id: &'a RawValue,
        payload: &'a [ServerError],
    },
    Complete {
        id: &'a str,
    },
}

/// When the socket's token ends, and why a fresh one was not taken.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refreshed {
    /// In seconds since the epoch, as the token's `exp` has it; null if the socket has no user.
    token_expires_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ServerError>,
}

/// Whether a request asks for a WebSocket.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Makes a WebSocket of the request, if its page may have one.
pub async fn upgrade(
    State(state): State<AppState>,
    Extension(RequestId(id)): Extension<RequestId>,
    Extension(read_limit): Extension<ReadLimit>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    uri: Uri,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    if !is_allowed_origin(&headers, &uri, &state.allow_origins) {
        return (StatusCode::FORBIDDEN, "This origin may not connect (--allow-origin).\n").into_response();
    }
    let address = state.throttle.address(peer.ip(), &headers);
    let place = match state.throttle.open_unknown_socket(address) {
        Ok(place) => place,
        // A client that only opens sockets costs no more than this.
        Err(often) => {
            let retry_after = [(RETRY_AFTER, INIT_TIME.as_secs().to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, retry_after, format!("{}\n", often.message())).into_response();
        }
    };
    let limit = state.limits.max_body_bytes;
    let mut upgrade = upgrade
        .protocols([PROTOCOL])
        .max_message_size(limit)
        .max_frame_size(limit)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES);
    let is_ours = upgrade.selected_protocol().is_some();
    // A client that asks for other protocols only fails the handshake unless it gets one of them, and would never see why.
    let other = upgrade.requested_protocols().next().cloned();
    if let (false, Some(other)) = (is_ours, other) {
        upgrade.set_selected_protocol(other);
    }
    // A token in the handshake is looked at when the connection is initialised: a browser cannot see a handshake's status.
    let token = auth::bearer(&headers).map(|token| token.map(str::to_owned));
    read_limit.set(state.limits.max_anonymous_body_bytes.saturating_add(FRAMING_BYTES));
    let task = state.tasks.token();
    let open = Held::new(&state.services.metrics().sockets);
    let serve = move |socket: WebSocket| async move {
        let _held = (task, open);
        let (sink, stream) = socket.split();
        let socket = Socket {
            state,
            id,
            token,
            address,
            place,
            read_limit,
            sink,
            stream,
            waiting: VecDeque::new(),
            is_flushed: true,
            phase: Phase::Opened,
            deadline: Instant::now() + INIT_TIME,
            connection: Connection::default(),
            operations: SelectAll::new(),
            running: HashMap::new(),
        };
        socket.serve(is_ours).await;
    };
    let span = tracing::Span::current();
    upgrade.on_upgrade(|socket| serve(socket).instrument(span))
}

/// Where a socket is in the protocol.
enum Phase {
    /// It waits for `connection_init`.
    Opened,
    /// It has been acknowledged, for this caller.
    Acknowledged(Option<Actor>),
}

struct Socket {
    state: AppState,
    /// The id of the request that the socket came from.
    id: String,
    /// The token of the handshake's header.
    token: Result<Option<String>, Error>,
    address: Option<Address>,
    /// Its place among its user's sockets, or among its address's while it has no user.
    place: Option<OpenSocket>,
    /// How much the client may send before `connection_init` is acknowledged.
    read_limit: ReadLimit,
    sink: SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    /// Messages that the network has not taken yet.
    waiting: VecDeque<Message>,
    /// Whether the network has taken everything that was to be sent.
    is_flushed: bool,
    phase: Phase,
    /// When `connection_init` must have come, and after it when the token ends.
    deadline: Instant,
    connection: Connection,
    operations: SelectAll<BoxStream<'static, (String, Step)>>,
    /// The operations under way, by the client's ids.
    running: HashMap<String, AbortHandle>,
}

impl Socket {
    async fn serve(mut self, is_ours: bool) {
        let end = if is_ours {
            self.run().await
        } else {
            Close::new(SUBPROTOCOL_NOT_ACCEPTABLE, format!("Subprotocol not acceptable: it must be {PROTOCOL}")).into()
        };
        // Whatever still runs ends with the socket.
        self.running.clear();
        self.operations.clear();
        if let End::Close(Close { code, reason }) = &end {
            tracing::debug!(code, reason, "socket closed by the server");
        }
        // The client sees the code only if it has read everything before it, and nothing that it sends meanwhile resets the
        // connection; so keep reading until it closes too.
        let finish = async {
            match end {
                End::Close(close) => {
                    // Everything before the close frame arrives before it.
                    if poll_fn(|context| poll_write(&mut self.sink, &mut self.waiting, context)).await.is_err() {
                        return;
                    }
                    let reason = Utf8Bytes::from(cut(&close.reason, MAX_REASON_BYTES));
                    if self.sink.send(Message::Close(Some(CloseFrame { code: close.code, reason }))).await.is_err() {
                        return;
                    }
                }
                End::ClosedByPeer => {}
                End::Gone => return,
            }
            while let Some(Ok(_)) = self.stream.next().await {}
        };
        // A peer that does not answer in time has received everything.
        let _ = timeout(CLOSE_TIME, finish).await;
    }

    async fn run(&mut self) -> End {
        let period = Duration::from_secs(self.state.limits.socket_ping_seconds);
        let mut ping = interval_at(Instant::now() + period, period);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unanswered = 0;
        // Made once: the loop goes round for every message.
        let shutdown = self.state.shutdown.clone();
        let mut shutdown = pin!(shutdown.cancelled());
        let mut deadline = pin!(sleep_until(self.deadline));
        let read_limit = self.read_limit.clone();
        let mut exceeded = pin!(read_limit.exceeded());
        loop {
            if deadline.deadline() != self.deadline {
                deadline.as_mut().reset(self.deadline);
            }
            tokio::select! {
                () = &mut shutdown => return Close::new(GOING_AWAY, "The server is stopping").into(),
                () = &mut exceeded => return self.too_big_before_init().into(),
                () = &mut deadline => match &self.phase {
                    Phase::Opened => return Close::new(INIT_TIMEOUT, "Connection initialisation timeout").into(),
                    Phase::Acknowledged(Some(_)) => return Close::new(FORBIDDEN, "The token has expired").into(),
                    Phase::Acknowledged(None) => self.deadline += auth::time_left(None),
                },
                _ = ping.tick() => {
                    if unanswered >= MAX_UNANSWERED {
                        tracing::debug!("the peer no longer answers");
                        return End::Gone;
                    }
                    unanswered += 1;
                    self.send(Message::Ping(Default::default()));
                }
                written = poll_fn(|context| poll_write(&mut self.sink, &mut self.waiting, context)), if !self.is_flushed => {
                    if written.is_err() {
                        return End::Gone;
                    }
                    self.is_flushed = true;
                }
                message = self.stream.next(), if self.waiting.len() < MAX_WAITING => {
                    unanswered = 0;
                    if let Err(end) = self.received(message).await {
                        return end;
                    }
                }
                Some((id, step)) = self.operations.next(), if self.is_flushed => {
                    if let Err(close) = self.stepped(&id, step) {
                        return close.into();
                    }
                    // What is ready besides goes to the network with it, as far as that takes at once.
                    while self.waiting.iter().map(size).sum::<usize>() < BUFFER_BYTES
                        && self.waiting.len() < MAX_WAITING
                        && let Some(Some((id, step))) = self.operations.next().now_or_never()
                    {
                        if let Err(close) = self.stepped(&id, step) {
                            return close.into();
                        }
                    }
                    // Mostly it takes all of it, and the loop need not go round for that.
                    match poll_fn(|context| poll_write(&mut self.sink, &mut self.waiting, context)).now_or_never() {
                        Some(Ok(())) => self.is_flushed = true,
                        Some(Err(_)) => return End::Gone,
                        None => {}
                    }
                }
            }
        }
    }

    async fn received(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(_))) => return Err(Close::new(BAD_REQUEST, "Messages must be text").into()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Close(_))) => return Err(End::ClosedByPeer),
            Some(Err(error)) if is_too_big(&error) => {
                let limit = self.state.limits.max_body_bytes;
                return Err(Close::new(
                    TOO_BIG,
                    format!("Messages must have at most {limit} bytes (--max-body-bytes)"),
                )
                .into());
            }
            Some(Err(_)) | None => return Err(End::Gone),
        };
        let limit = self.state.limits.max_anonymous_body_bytes;
        if text.len() > limit && !matches!(self.phase, Phase::Acknowledged(_)) {
            return Err(self.too_big_before_init().into());
        }
        let message = match parse(&text) {
            Ok(message) => message,
            Err(reason) => return self.unreadable(&text, &reason).map_err(End::from),
        };
        match message {
            FromClient::ConnectionInit { payload } => {
                if matches!(self.phase, Phase::Acknowledged(_)) {
                    return Err(Close::new(TOO_MANY_INITS, "Too many initialisation requests").into());
                }
                self.initialise(&payload).await?;
            }
            FromClient::Ping { payload } => {
                let stated = payload.and_then(|payload| serde_json::from_str(payload.get()).ok()).unwrap_or_default();
                match auth::from_payload(&stated) {
                    Ok(None) => {
                        let payload = payload.filter(|_| text.len() <= MAX_ECHO_BYTES);
                        self.send_message(&ToClient::Pong { payload });
                    }
                    Ok(Some(token)) => self.refresh(Ok(token)).await,
                    Err(error) => self.refresh(Err(error)).await,
                }
            }
            FromClient::Pong => {}
            FromClient::Subscribe { id, payload } => self.subscribe(id, payload)?,
            FromClient::Complete { id } => {
                if let Some(operation) = self.running.remove(&id) {
                    operation.abort();
                }
            }
        }
        Ok(())
    }

    fn too_big_before_init(&self) -> Close {
        let limit = self.state.limits.max_anonymous_body_bytes;
        Close::new(TOO_BIG, format!("Before connection_init: at most {limit} bytes (--max-anonymous-body-bytes)"))
    }

    /// Handles an unreadable message. If only its id is invalid, the operation gets an error; otherwise the socket closes.
    fn unreadable(&mut self, text: &str, reason: &str) -> Result<(), Close> {
        let id = broken_id(text).filter(|_| matches!(self.phase, Phase::Acknowledged(_)));
        let Some(id) = id else { return Err(Close::new(BAD_REQUEST, format!("Invalid message: {reason}"))) };
        let error = operation::refusal(&operation::lone_surrogate("id"), &self.id);
        self.send_message(&ToClient::ErrorOfBrokenId { id, payload: &[error] });
        Ok(())
    }

    async fn initialise(&mut self, payload: &serde_json::Value) -> Result<(), Close> {
        let (state, address) = (self.state.clone(), self.address);
        let token = match (auth::from_payload(payload), &self.token) {
            (Ok(None), Ok(token)) => Ok(token.as_deref()),
            (Ok(None), Err(error)) => Err(error.clone()),
            (stated, _) => stated,
        };
        let actor = match token {
            Ok(Some(token)) => state.verifier.verify(token).await.map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let actor = actor.map_err(|error| self.refused(error))?;
        state.throttle.admit(actor.as_ref(), address, 1).map_err(|refused| self.refused(refused.error))?;
        if let Some(actor) = &actor {
            self.place = Some(state.throttle.open_socket(actor.user_id).map_err(|error| self.refused(error))?);
            profile::meet(&state.services, actor).await;
        }
        self.deadline = Instant::now() + auth::time_left(actor.as_ref());
        self.phase = Phase::Acknowledged(actor);
        self.read_limit.lift();
        self.send_message(&ToClient::ConnectionAck);
        Ok(())
    }

    /// How a socket ends that is not initialised: for good, or to try again if the token was not the reason.
    fn refused(&self, error: Error) -> Close {
        let error = match error {
            Error::Unauthenticated(_) => {
                self.state.throttle.failed(self.address).map_or_else(|often| often.error, |()| error)
            }
            other => other,
        };
        let is_passing = error.cause().is_some() || matches!(error, Error::RateLimited { .. });
        let code = if is_passing { TRY_AGAIN_LATER } else { FORBIDDEN };
        Close::new(code, operation::refusal(&error, &self.id).message)
    }

    /// Goes on by a fresh token of the same user, or else until the present one ends.
    async fn refresh(&mut self, token: Result<&str, Error>) {
        let error = match self.fresh(token).await {
            Ok(actor) => {
                self.deadline = Instant::now() + auth::time_left(Some(&actor));
                self.phase = Phase::Acknowledged(Some(actor));
                None
            }
            Err(error) => Some(operation::refusal(&error, &self.id)),
        };
        let token_expires_at = match &self.phase {
            Phase::Acknowledged(Some(actor)) => Some(actor.expires_at),
            Phase::Acknowledged(None) | Phase::Opened => None,
        };
        self.send_message(&ToClient::Refreshed { payload: Refreshed { token_expires_at, error } });
    }

    async fn fresh(&mut self, token: Result<&str, Error>) -> Result<Actor, Error> {
        let Phase::Acknowledged(Some(present)) = &self.phase else {
            let message = "Only a socket that was opened with a token takes a fresh one: send it by connection_init.";
            return Err(Error::Unauthenticated(message.to_owned()));
        };
        let throttle = &self.state.throttle;
        throttle.admit(Some(present), self.address, 1).map_err(|often| often.error)?;
        let verified = match token {
            Ok(token) => self.state.verifier.verify(token).await,
            Err(error) => Err(error),
        };
        match verified {
            Ok(actor) if actor.user_id == present.user_id => Ok(actor),
            Ok(_) => Err(Error::Forbidden("This is another user's token: it needs a socket of its own.".to_owned())),
            Err(error @ Error::Unauthenticated(_)) => {
                Err(throttle.failed(self.address).map_or_else(|often| often.error, |()| error))
            }
            Err(error) => Err(error),
        }
    }

    fn subscribe(&mut self, id: String, payload: &str) -> Result<(), Close> {
        let Phase::Acknowledged(actor) = &self.phase else {
            return Err(Close::new(UNAUTHORIZED, "Unauthorized: there was no connection_init"));
        };
        if let Err(error) = values::check(payload, self.state.limits.max_json_values) {
            let error = operation::refusal(&error, &self.id);
            self.send_message(&ToClient::Error { id: &id, payload: &[error] });
            return Ok(());
        }
        let request = match operation::read(payload) {
            Ok(request) => request,
            // A text that was cut inside a character is no reason to end what else the client listens to.
            Err(error) if operation::has_lone_surrogate(payload) && !self.running.contains_key(&id) => {
                let error = operation::refusal(&error, &self.id);
                self.send_message(&ToClient::Error { id: &id, payload: &[error] });
                return Ok(());
            }
            Err(error) => return Err(Close::new(BAD_REQUEST, format!("Invalid message: {}", error.message()))),
        };
        if self.running.contains_key(&id) {
            return Err(Close::new(ALREADY_EXISTS, format!("Subscriber for {id} already exists")));
        }
        let request_id = clock::new_id().to_string();
        // An operation that has ended is dropped a little later, so it counts only if there are very many of them.
        let limit = self.state.limits.max_socket_operations;
        if self.running.len() >= limit || self.operations.len() >= limit.saturating_mul(2) {
            let message = format!("A socket may have {limit} operations under way (--max-socket-operations).");
            let error = operation::refusal(&Error::RateLimited { message, retry_after: None }, &request_id);
            self.send_message(&ToClient::Error { id: &id, payload: &[error] });
            return Ok(());
        }
        if let Err(often) = self.state.throttle.admit(actor.as_ref(), self.address, 1) {
            let error = operation::refusal(&often.error, &request_id);
            self.send_message(&ToClient::Error { id: &id, payload: &[error] });
            return Ok(());
        }
        match listening::start(&self.state, &self.connection, actor.clone(), request, request_id, None) {
            Ok(steps) => {
                let (steps, handle) = stream::abortable(steps);
                self.running.insert(id.clone(), handle);
                let tag = move |step| (id.clone(), step);
                self.operations.push(steps.map(tag).boxed());
            }
            Err(errors) => self.send_message(&ToClient::Error { id: &id, payload: &errors }),
        }
        Ok(())
    }

    /// # Errors
    /// How the socket ends if the client is to come back.
    fn stepped(&mut self, id: &str, step: Step) -> Result<(), Close> {
        match step {
            Step::Result(result) => self.deliver(id, result.payload()),
            // By an `error` clients end an operation for good; from this close they come back.
            Step::Interrupted => return Err(Close::new(TRY_AGAIN_LATER, "The database is away: try again later")),
            // An error ends the operation, without a `complete`.
            Step::Failed(errors) => {
                if let Some(operation) = self.running.remove(id) {
                    operation.abort();
                }
                self.send_message(&ToClient::Error { id, payload: &errors });
            }
            Step::Done => {
                self.running.remove(id);
                self.send_message(&ToClient::Complete { id });
            }
        }
        Ok(())
    }

    fn send(&mut self, message: Message) {
        self.waiting.push_back(message);
        self.is_flushed = false;
    }

    /// Sends a result. Others receive the same bytes, so they are not read again.
    fn deliver(&mut self, id: &str, payload: &str) {
        let id = serde_json::Value::from(id).to_string();
        let parts = [r#"{"type":"next","id":"#, &id, r#","payload":"#, payload, "}"];
        self.send(Message::text(parts.concat()));
    }

    fn send_message(&mut self, message: &ToClient) {
        match serde_json::to_string(message) {
            Ok(text) => self.send(Message::text(text)),
            Err(error) => tracing::error!(%error, "a message could not be written as JSON"),
        }
    }
}

/// Reads a message of a client's.
///
/// # Errors
/// What is wrong with it.
fn parse(text: &str) -> Result<FromClient<'_>, String> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        r#type: String,
        id: Option<String>,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
    }

    // serde would read an array as a struct by position.
    if !text.trim_ascii_start().starts_with('{') {
        return Err("it is not a JSON object".to_owned());
    }
    let Fields { r#type, id, payload } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let id = || id.filter(|id| !id.is_empty()).ok_or_else(|| "it has no id".to_owned());
    if payload.is_some_and(|payload| !payload.get().starts_with('{')) {
        return Err("its payload is not an object".to_owned());
    }
    match r#type.as_str() {
        "connection_init" => {
            let payload = payload.map_or(Ok(serde_json::Value::Null), |payload| serde_json::from_str(payload.get()));
            Ok(FromClient::ConnectionInit { payload: payload.map_err(|error| error.to_string())? })
        }
        "ping" => Ok(FromClient::Ping { payload }),
        "pong" => Ok(FromClient::Pong),
        "subscribe" => match payload {
            Some(payload) => Ok(FromClient::Subscribe { id: id()?, payload: payload.get() }),
            None => Err("it has no payload".to_owned()),
        },
        "complete" => Ok(FromClient::Complete { id: id()? }),
        _ => Err("its type is not one of the protocol's".to_owned()),
    }
}

/// The id of a `subscribe` message that cannot be read because the id has half of a character.
fn broken_id(text: &str) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        r#type: String,
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let Fields { r#type, id } = serde_json::from_str(text).ok()?;
    let is_broken = id.get().starts_with('"') && operation::has_lone_surrogate(id.get());
    (is_broken && r#type == "subscribe").then_some(id)
}

/// How many bytes a message has, as far as it is a result.
fn size(message: &Message) -> usize {
    if let Message::Text(text) = message { text.len() } else { 0 }
}

/// Gives the network what waits for it, as far as it takes it. Dropped while it is pending, it has lost nothing.
fn poll_write(
    sink: &mut SplitSink<WebSocket, Message>,
    waiting: &mut VecDeque<Message>,
    context: &mut Context<'_>,
) -> Poll<Result<(), axum::Error>> {
    while !waiting.is_empty() {
        ready!(sink.poll_ready_unpin(context))?;
        if let Some(message) = waiting.pop_front() {
            sink.start_send_unpin(message)?;
        }
    }
    sink.poll_flush_unpin(context)
}

/// Whether the page that asks may connect. A browser always sends the Origin of the page; other clients send none and need
/// no check, as it guards against pages that act behind a user's back.
fn is_allowed_origin(headers: &HeaderMap, uri: &Uri, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    // HTTP/2 has the host in the request's URI.
    let host =
        headers.get(HOST).and_then(|host| host.to_str().ok()).or_else(|| uri.authority().map(|host| host.as_str()));
    // The port that the scheme implies may be there or not, on either side.
    let is_same = |host: &str| {
        [("http://", ":80"), ("https://", ":443")].iter().any(|(scheme, port)| {
            let bare = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
            origin.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
                && origin.get(scheme.len()..).is_some_and(|rest| bare(rest) == bare(host))
        })
    };
    host.is_some_and(is_same) || origin::is_allowed(origin, allowed)
}

/// Whether a message was refused for its size; the library has the cause behind two doors.
fn is_too_big(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("Message too long") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The longest start of a text that has at most `bytes` bytes and ends between characters.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_messages_of_the_protocol_are_read() {
        for text in [
            r#"{"type":"connection_init"}"#,
            r#"{"type":"connection_init","payload":null}"#,
            r#"{"type":"ping","payload":{"a":1}}"#,
            r#" {"payload":{},"type":"pong"}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"{a}"}}"#,
            r#"{"type":"complete","id":"1"}"#,
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "5",
            "{}",
            r#"["ping"]"#,
            r#"{"type":5}"#,
            r#"{"type":"start","id":"1","payload":{}}"#,
            r#"{"type":"connection_init","payload":"token"}"#,
            r#"{"type":"ping","payload":[]}"#,
            r#"{"type":"subscribe","payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":1,"payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"complete"}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_page_connects_to_its_own_host_or_where_it_is_allowed() {
        let allowed = ["https://ide.example.com/".to_owned()];
        let may = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "localhost:8080".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            is_allowed_origin(&headers, &Uri::from_static("/graphql/ws"), &allowed)
        };
        for origin in
            [None, Some("http://localhost:8080"), Some("https://LOCALHOST:8080"), Some("https://ide.example.com")]
        {
            assert!(may(origin), "{origin:?}");
        }
        for origin in [
            "null",
            "",
            "http://localhost",
            "http://localhost:8080.evil.com",
            "https://evil.example.com",
            "ftp://localhost:8080",
        ] {
            assert!(!may(Some(origin)), "{origin}");
        }
    }

    #[test]
    fn the_port_that_a_scheme_implies_makes_no_difference() {
        let may = |host: &str, origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            headers.insert(ORIGIN, origin.parse().unwrap());
            is_allowed_origin(&headers, &Uri::from_static("/graphql/ws"), &[])
        };
        for (host, origin) in [
            ("ide.example.com:443", "https://ide.example.com"),
            ("ide.example.com", "https://ide.example.com:443"),
            ("IDE.example.com:443", "HTTPS://ide.example.com:443"),
            ("ide.example.com:80", "http://ide.example.com"),
            ("[::1]:80", "http://[::1]"),
            ("ide.example.com", "http://ide.example.com"),
        ] {
            assert!(may(host, origin), "{host} {origin}");
        }
        for (host, origin) in [
            ("ide.example.com:80", "https://ide.example.com"),
            ("ide.example.com:443", "http://ide.example.com"),
            ("ide.example.com:8443", "https://ide.example.com"),
            ("ide.example.com:443", "https://ide.example.com:8443"),
            ("ide.example.com:443.evil.example", "https://ide.example.com"),
            (":443", "https://ide.example.com"),
        ] {
            assert!(!may(host, origin), "{host} {origin}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(cut("short", 123), "short");
        assert_eq!(cut(&"é".repeat(100), MAX_REASON_BYTES).len(), 122);
    }
}
