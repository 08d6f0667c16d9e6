//! A receiver of webhooks that records the messages, and can fail in every way.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// A message that takes longer than this fails the test. Successful tests never wait this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A message that a receiver has got.
#[derive(Clone, Debug)]
pub struct Received {
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it was sent.
    pub text: String,
    /// The body.
    pub body: Value,
    /// The status of the response; `None` if there was none.
    pub status: Option<u16>,
}

impl Received {
    /// The value of a header; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The revision of the event.
    ///
    /// # Panics
    /// If the body has none.
    pub fn revision(&self) -> i64 {
        self.body["data"]["revision"].as_i64().unwrap_or_else(|| panic!("no revision in {}", self.text))
    }
}

/// The response of a receiver.
#[derive(Clone)]
pub enum Reply {
    /// An HTTP status with a body.
    Status(u16, String),
    /// A redirect.
    Elsewhere(String),
    /// A status with a body that does not end.
    Endless(u16),
    /// No response.
    Nothing,
}

/// A receiver. Dropping it stops it.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    state: Mutex<Script>,
    count: watch::Sender<usize>,
}

struct Script {
    received: Vec<Received>,
    /// The next responses.
    next: VecDeque<Reply>,
    /// The response after those.
    reply: Reply,
}

impl Receiver {
    /// Starts a receiver that accepts every message.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address")).await
    }

    /// The same at a given address, for example at that of an earlier one.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let reply = Reply::Status(204, String::new());
        let script = Script { received: Vec::new(), next: VecDeque::new(), reply };
        let shared = Arc::new(Shared { state: Mutex::new(script), count: watch::Sender::new(0) });
        let router = Router::new().fallback(receive).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { address, shared, server }
    }

    /// The URL of its webhook.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the response from now on.
    pub fn replies(&self, reply: Reply) {
        self.shared.script().reply = reply;
    }

    /// Sets the responses to the next messages.
    pub fn replies_next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.script().next.extend(replies);
    }

    /// The messages so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.script().received.clone()
    }

    /// Waits for so many messages, and returns all.
    ///
    /// # Panics
    /// If they do not arrive.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut watched = self.shared.count.subscribe();
        let arrived = tokio::time::timeout(PATIENCE, watched.wait_for(|arrived| *arrived >= count)).await;
        assert!(arrived.is_ok(), "{} messages instead of {count}", self.received().len());
        self.received()
    }

    /// Stops it, and returns its address.
    pub async fn stop(self) -> SocketAddr {
        self.server.abort();
        while !self.server.is_finished() {
            tokio::task::yield_now().await;
        }
        self.address
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, text: String) -> Response {
    let reply = {
        let mut script = shared.script();
        let reply = script.next.pop_front().unwrap_or_else(|| script.reply.clone());
        let status = match &reply {
            Reply::Status(status, _) | Reply::Endless(status) => Some(*status),
            Reply::Elsewhere(_) => Some(302),
            Reply::Nothing => None,
        };
        let body = serde_json::from_str(&text).unwrap_or_default();
        script.received.push(Received { headers, text, body, status });
        shared.count.send_replace(script.received.len());
        reply
    };
    let status = |status| StatusCode::from_u16(status).expect("a status");
    match reply {
        Reply::Status(code, body) => (status(code), body).into_response(),
        Reply::Elsewhere(url) => (StatusCode::FOUND, [(LOCATION, url)]).into_response(),
        Reply::Endless(code) => {
            let lines = stream::repeat("garbage\u{0} ".repeat(1_000)).map(Ok::<_, std::convert::Infallible>);
            (status(code), Body::from_stream(lines)).into_response()
        }
        Reply::Nothing => std::future::pending().await,
    }
}
