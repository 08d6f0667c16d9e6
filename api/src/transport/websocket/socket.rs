//! An open socket. One task runs everything for it. Its memory is bounded: the next result of an operation is taken
//! only after the previous one was sent, so a client that reads slowly slows down its operations and fills no queue.
//! The operations take turns in the order in which they become ready.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    pin::pin,
};

use async_graphql::ServerError;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures::{
    FutureExt, SinkExt, StreamExt,
    future::poll_fn,
    stream::{self, AbortHandle, BoxStream, SelectAll, SplitSink, SplitStream},
};
use tokio::time::{Duration, Instant, sleep_until, timeout};

use super::protocol::{
    ALREADY_EXISTS, BAD_REQUEST, Close, FORBIDDEN, FromClient, GOING_AWAY, INIT_TIMEOUT, INVALID_TEXT,
    MAX_REASON_BYTES, PROTOCOL, PROTOCOL_ERROR, Refreshed, SUBPROTOCOL_NOT_ACCEPTABLE, TIMED_OUT, TOO_BIG,
    TOO_MANY_INITS, TRY_AGAIN_LATER, ToClient, UNAUTHORIZED, broken_id, cut, has_types, is_too_big, parse, violation,
};
use super::sending::{poll_write, size};
use crate::{
    domain::profile,
    model::{actor::Actor, clock, error::Error, memory::Taken},
    transport::{
        auth, listening, operation,
        read_limit::ReadLimit,
        state::AppState,
        step::{Connection, Step},
        throttle::{Address, OpenSocket},
        values,
    },
};

/// Timeout for `connection_init`.
pub(super) const INIT_TIME: Duration = Duration::from_secs(10);
/// Number of unanswered pings after which the peer is considered dead.
const MAX_UNANSWERED: u32 = 2;
/// Timeout for sending the close frame and receiving the answer.
const CLOSE_TIME: Duration = Duration::from_secs(5);
/// Number of unsent messages and answers to pings at which the server stops reading from the client.
const MAX_WAITING: usize = 64;
/// Bytes that a client can still send before it answers the close frame.
const REST_BYTES: usize = 64 * 1024;
/// Longest payload of a `ping` that the `pong` repeats, in bytes.
const MAX_ECHO_BYTES: usize = 1024;
/// The head of a client's control frame, with its mask, in bytes.
const CONTROL_HEAD_BYTES: usize = 6;
/// Size of the read and the write buffer of each socket, in bytes; messages can be larger.
pub(super) const BUFFER_BYTES: usize = 4 * 1024;

/// How a socket ends.
enum End {
    /// The server closes it.
    Close(Close),
    /// The client has closed it, and waits for the answer of the library.
    ClosedByPeer,
    /// The connection is lost.
    Gone,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// The state of a socket in the protocol.
enum Phase {
    /// Waiting for `connection_init`.
    Opened,
    /// Acknowledged for this caller.
    Acknowledged(Option<Actor>),
}

/// What is known of a peer since its last message.
#[derive(Default)]
struct Silence {
    /// Number of unanswered pings.
    unanswered: u32,
    /// When an incomplete message began, and how many bytes of it had arrived at the last ping.
    message: Option<(Instant, usize)>,
}

pub(super) struct Socket {
    state: AppState,
    /// The id of the request that opened the socket.
    id: String,
    /// The token of the handshake's header.
    token: Result<Option<String>, Error>,
    address: Option<Address>,
    /// The place among the user's sockets, or among those of the address before there is a user.
    place: Option<OpenSocket>,
    /// How much the client can send before `connection_init` is acknowledged, and what it has sent of a message.
    read_limit: ReadLimit,
    /// The memory of the incomplete message, and its size.
    incoming: (Taken, usize),
    sink: SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    /// Messages that were not sent yet.
    waiting: VecDeque<Message>,
    /// Answers to pings, which the library queues, since everything was sent.
    unsent_pongs: usize,
    /// Whether all messages and answers to pings were sent.
    is_flushed: bool,
    phase: Phase,
    /// The timeout for `connection_init`, and later the expiry of the token.
    deadline: Instant,
    connection: Connection,
    operations: SelectAll<BoxStream<'static, (String, Step)>>,
    /// The running operations, by the client's ids.
    running: HashMap<String, AbortHandle>,
}

impl Socket {
    /// `id` is the id of the request that opened the socket, `token` the one of its header.
    pub(super) fn new(
        state: AppState,
        id: String,
        token: Result<Option<String>, Error>,
        address: Option<Address>,
        place: Option<OpenSocket>,
        read_limit: ReadLimit,
        socket: WebSocket,
    ) -> Self {
        let (sink, stream) = socket.split();
        read_limit.begin_message();
        Self {
            state,
            id,
            token,
            address,
            place,
            read_limit,
            incoming: (Taken::default(), 0),
            sink,
            stream,
            waiting: VecDeque::new(),
            unsent_pongs: 0,
            is_flushed: true,
            phase: Phase::Opened,
            deadline: Instant::now() + INIT_TIME,
            connection: Connection::default(),
            operations: SelectAll::new(),
            running: HashMap::new(),
        }
    }

    /// Serves the socket until it ends. A socket without our protocol is closed at once.
    pub(super) async fn serve(mut self, is_ours: bool) {
        let end = if is_ours {
            let Err(end) = self.run().await;
            end
        } else {
            Close::new(SUBPROTOCOL_NOT_ACCEPTABLE, format!("Subprotocol not acceptable: it must be {PROTOCOL}")).into()
        };
        // Running operations end with the socket.
        self.running.clear();
        self.operations.clear();
        if let End::Close(Close { code, reason }) = &end {
            tracing::debug!(code, reason, "socket closed by the server");
            if [TOO_BIG, TRY_AGAIN_LATER, PROTOCOL_ERROR, INVALID_TEXT, TIMED_OUT].contains(code) {
                // The WebSocket library does not read the rest of the message.
                self.read_limit.discard_rest();
            }
        }
        // The client sees the code only if it reads everything before it, and data from the client in the meantime must
        // not reset the connection. So keep reading until the client closes too, or sends what would take memory.
        let read_limit = self.read_limit.clone();
        read_limit.set(REST_BYTES);
        let finish = async {
            match end {
                End::Close(close) => {
                    // Send everything before the close frame first.
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
            tokio::select! {
                () = async { while let Some(Ok(_)) = self.stream.next().await {} } => {}
                () = read_limit.exceeded() => read_limit.discard_rest(),
            }
        };
        // A peer that does not answer in time has received everything.
        let _ = timeout(CLOSE_TIME, finish).await;
    }

    async fn run(&mut self) -> Result<Infallible, End> {
        let mut ping = self.state.heartbeat();
        let mut silence = Silence::default();
        // Created once, since the loop runs for every message.
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
                () = &mut shutdown => return Err(Close::new(GOING_AWAY, "The server is stopping").into()),
                () = &mut exceeded => return Err(self.too_big_before_init().into()),
                () = read_limit.grown() => self.hold_incoming()?,
                () = &mut deadline => self.expired()?,
                _ = ping.tick() => self.check_peer(&mut silence)?,
                written = poll_fn(|context| poll_write(&mut self.sink, &mut self.waiting, context)), if !self.is_flushed => {
                    written.map_err(|_| End::Gone)?;
                    self.flushed();
                }
                message = self.stream.next(), if self.waiting.len() + self.unsent_pongs < MAX_WAITING => {
                    let is_control = matches!(message, Some(Ok(Message::Ping(_) | Message::Pong(_))));
                    silence = Silence { unanswered: 0, message: silence.message.filter(|_| is_control) };
                    self.received(message).await?;
                }
                Some((id, step)) = self.operations.next(), if self.is_flushed => {
                    self.stepped(&id, step).await?;
                    // Send further messages that are ready together with this one, up to the size of the buffer.
                    while self.waiting.iter().map(size).sum::<usize>() < BUFFER_BYTES
                        && self.waiting.len() < MAX_WAITING
                        && let Some(Some((id, step))) = self.operations.next().now_or_never()
                    {
                        self.stepped(&id, step).await?;
                    }
                    // The network usually takes everything at once, which saves a turn of the loop.
                    match poll_fn(|context| poll_write(&mut self.sink, &mut self.waiting, context)).now_or_never() {
                        Some(Ok(())) => self.flushed(),
                        Some(Err(_)) => return Err(End::Gone),
                        None => {}
                    }
                }
            }
        }
    }

    /// Ends a socket whose `connection_init` is late, or whose token has expired.
    fn expired(&mut self) -> Result<(), Close> {
        match &self.phase {
            Phase::Opened => Err(Close::new(INIT_TIMEOUT, "Connection initialisation timeout")),
            Phase::Acknowledged(Some(_)) => Err(Close::new(FORBIDDEN, "The token has expired")),
            Phase::Acknowledged(None) => {
                self.deadline += auth::time_left(None);
                Ok(())
            }
        }
    }

    /// Pings a peer, unless it is silent for too long.
    fn check_peer(&mut self, silence: &mut Silence) -> Result<(), End> {
        let arrived = self.read_limit.of_message();
        match &silence.message {
            _ if arrived == 0 => silence.message = None,
            None => silence.message = Some((Instant::now(), arrived)),
            Some((began, before)) => {
                if began.elapsed() > Duration::from_secs(self.state.limits.max_body_seconds) {
                    return Err(Close::new(TIMED_OUT, "The message did not arrive in time (--max-body-seconds)").into());
                }
                // A client cannot answer within a frame that it sends.
                if arrived > *before {
                    *silence = Silence { unanswered: 0, message: Some((*began, arrived)) };
                }
            }
        }
        if silence.unanswered >= MAX_UNANSWERED {
            tracing::debug!("the peer does not answer any more");
            return Err(End::Gone);
        }
        silence.unanswered += 1;
        self.send(Message::Ping(Default::default()));
        Ok(())
    }

    /// Reserves memory for the incomplete message.
    fn hold_incoming(&mut self) -> Result<(), Close> {
        let (taken, held) = &mut self.incoming;
        let arrived = self.read_limit.of_message();
        // The library copies what it has of a message in fragments when it makes room for more.
        let needed = arrived.saturating_mul(2).min(self.state.limits.max_body_bytes).max(arrived);
        let taken = self.state.services.memory.take(taken, needed.saturating_sub(*held));
        taken.map_err(|error| Close::new(TRY_AGAIN_LATER, error.message()))?;
        *held = needed.max(*held);
        Ok(())
    }

    async fn received(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        // Released when the message is handled.
        let mut _memory = Taken::default();
        if matches!(message, Some(Ok(Message::Text(_) | Message::Binary(_)))) {
            self.read_limit.begin_message();
            (_memory, _) = std::mem::take(&mut self.incoming);
        }
        let text = match message {
            Some(Ok(Message::Text(text))) => {
                _memory.shrink(text.len());
                text
            }
            Some(Ok(Message::Binary(_))) => return Err(Close::new(BAD_REQUEST, "Messages must be text").into()),
            Some(Ok(control @ (Message::Ping(_) | Message::Pong(_)))) => {
                self.handle_control(&control);
                return Ok(());
            }
            Some(Ok(Message::Close(_))) => return Err(End::ClosedByPeer),
            Some(Err(error)) if is_too_big(&error) => {
                let limit = self.state.limits.max_body_bytes;
                return Err(Close::new(
                    TOO_BIG,
                    format!("Messages must have at most {limit} bytes (--max-body-bytes)"),
                )
                .into());
            }
            Some(Err(error)) => return Err(violation(&error).map_or(End::Gone, End::Close)),
            None => return Err(End::Gone),
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
            FromClient::Subscribe { id, payload } => {
                self.check_token().await?;
                self.subscribe(id, payload)?;
            }
            FromClient::Complete { id } => {
                if let Some(operation) = self.running.remove(&id) {
                    operation.abort();
                }
            }
        }
        Ok(())
    }

    fn handle_control(&mut self, frame: &Message) {
        if let Message::Ping(payload) | Message::Pong(payload) = frame {
            self.read_limit.forget(payload.len() + CONTROL_HEAD_BYTES);
        }
        if matches!(frame, Message::Ping(_)) {
            // The library has queued the answer, however many it has.
            self.unsent_pongs += 1;
            self.is_flushed = false;
        }
    }

    fn too_big_before_init(&self) -> Close {
        let limit = self.state.limits.max_anonymous_body_bytes;
        Close::new(TOO_BIG, format!("Before connection_init: at most {limit} bytes (--max-anonymous-body-bytes)"))
    }

    /// Handles an unreadable message. If only its id is invalid, the operation gets an error; otherwise the socket
    /// closes.
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
            Ok(Some(token)) => state.sign_in(token).await.map(Some),
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

    /// How a socket without `connection_init` ends: for good, or with a retry if the token was not the reason.
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

    /// Replaces the token by a new one of the same user. If that fails, the socket continues until the present token
    /// expires.
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
            Phase::Acknowledged(Some(actor)) => actor.expires_at,
            Phase::Acknowledged(None) | Phase::Opened => None,
        };
        self.send_message(&ToClient::Refreshed { payload: Refreshed { token_expires_at, error } });
    }

    async fn fresh(&mut self, token: Result<&str, Error>) -> Result<Actor, Error> {
        let Phase::Acknowledged(Some(present)) = &self.phase else {
            let message = "Only a socket that was opened with a token accepts a new one: send it by connection_init.";
            return Err(Error::Unauthenticated(message.to_owned()));
        };
        let throttle = &self.state.throttle;
        throttle.admit(Some(present), self.address, 1).map_err(|often| often.error)?;
        let verified = match token {
            Ok(token) => self.state.sign_in(token).await,
            Err(error) => Err(error),
        };
        match verified {
            Ok(actor) if actor.user_id == present.user_id => Ok(actor),
            Ok(_) => Err(Error::Forbidden("This is another user's token: use another socket.".to_owned())),
            Err(error @ Error::Unauthenticated(_)) => {
                Err(throttle.failed(self.address).map_or_else(|often| often.error, |()| error))
            }
            Err(error) => Err(error),
        }
    }

    /// Checks that no operation with the id is running.
    fn check_id(&self, id: &str) -> Result<(), Close> {
        match self.running.contains_key(id) {
            true => Err(Close::new(ALREADY_EXISTS, format!("Subscriber for {id} already exists"))),
            false => Ok(()),
        }
    }

    fn subscribe(&mut self, id: String, payload: &str) -> Result<(), Close> {
        let Phase::Acknowledged(actor) = &self.phase else {
            return Err(Close::new(UNAUTHORIZED, "Unauthorized: there was no connection_init"));
        };
        if let Err(error) = values::check(payload, self.state.limits.max_json_values) {
            self.refuse(&id, operation::refusal(&error, &self.id));
            return Ok(());
        }
        let mut memory = Taken::default();
        if let Err(error) = self.state.services.memory.take(&mut memory, values::memory(payload)) {
            self.refuse(&id, operation::refusal(&error, &self.id));
            return Ok(());
        }
        let request = match operation::read(payload) {
            Ok(request) => request,
            // A value that cannot be used must not end the client's other operations.
            Err(error) if has_types(payload) => {
                self.check_id(&id)?;
                self.refuse(&id, operation::refusal(&error, &self.id));
                return Ok(());
            }
            Err(error) => return Err(Close::new(BAD_REQUEST, format!("Invalid message: {}", error.message()))),
        };
        self.check_id(&id)?;
        let request_id = clock::new_id().to_string();
        // A finished operation is dropped a little later, so count only if there are very many.
        let limit = self.state.limits.max_socket_operations;
        if self.running.len() >= limit || self.operations.len() >= limit.saturating_mul(2) {
            let message = format!("A socket can run {limit} operations at once (--max-socket-operations).");
            self.refuse(&id, operation::refusal(&Error::RateLimited { message, retry_after: None }, &request_id));
            return Ok(());
        }
        if let Err(often) = self.state.throttle.admit(actor.as_ref(), self.address, 1) {
            self.refuse(&id, operation::refusal(&often.error, &request_id));
            return Ok(());
        }
        match listening::start(&self.state, &self.connection, actor.clone(), request, request_id, None) {
            Ok(steps) => {
                let (steps, handle) = stream::abortable(steps);
                self.running.insert(id.clone(), handle);
                let tag = move |step| {
                    let _memory = &memory;
                    (id.clone(), step)
                };
                self.operations.push(steps.map(tag).boxed());
            }
            Err(errors) => self.send_message(&ToClient::Error { id: &id, payload: &errors }),
        }
        Ok(())
    }

    fn refuse(&mut self, id: &str, error: ServerError) {
        self.send_message(&ToClient::Error { id, payload: &[error] });
    }

    /// # Errors
    /// How the socket ends if the client should reconnect, or if its access token was revoked.
    async fn stepped(&mut self, id: &str, step: Step) -> Result<(), Close> {
        match step {
            Step::Result(result) => self.deliver(id, result.payload()),
            // Clients treat an `error` as the end of an operation; after this close they reconnect.
            Step::Interrupted => {
                return Err(Close::new(TRY_AGAIN_LATER, "The database is unavailable: try again later"));
            }
            // An error ends the operation, without a `complete`.
            Step::Failed(errors) => {
                if let Some(operation) = self.running.remove(id) {
                    operation.abort();
                }
                self.send_message(&ToClient::Error { id, payload: &errors });
                if errors.iter().any(|error| operation::code_of(error) == Some("NOT_FOUND")) {
                    self.check_token().await?;
                }
            }
            Step::Done => {
                self.running.remove(id);
                self.send_message(&ToClient::Complete { id });
            }
        }
        Ok(())
    }

    /// Looks up whether the access token of a machine was revoked: before each operation, as for each HTTP request, and after
    /// one that has lost its object.
    ///
    /// # Errors
    /// How the socket ends if it was.
    async fn check_token(&mut self) -> Result<(), Close> {
        let Phase::Acknowledged(Some(actor)) = &self.phase else { return Ok(()) };
        if self.state.is_revoked(actor).await {
            return Err(Close::new(FORBIDDEN, "The access token was revoked"));
        }
        Ok(())
    }

    fn flushed(&mut self) {
        (self.unsent_pongs, self.is_flushed) = (0, true);
    }

    fn send(&mut self, message: Message) {
        self.waiting.push_back(message);
        self.is_flushed = false;
    }

    /// Sends a result. Other subscribers receive the same bytes, so they are not parsed again.
    fn deliver(&mut self, id: &str, payload: &str) {
        let id = serde_json::Value::from(id).to_string();
        let parts = [r#"{"type":"next","id":"#, &id, r#","payload":"#, payload, "}"];
        self.send(Message::text(parts.concat()));
    }

    fn send_message(&mut self, message: &ToClient) {
        match serde_json::to_string(message) {
            Ok(text) => self.send(Message::text(text)),
            Err(error) => tracing::error!(%error, "cannot serialize a message as JSON"),
        }
    }
}
