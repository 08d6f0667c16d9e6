//! The client side of `graphql-transport-ws` (PROTOCOL.md of the npm package `graphql-ws`): a bare socket for tests of
//! the protocol itself, and a subscription for everything else.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
    },
};

/// A frame that takes longer than this fails the test. Successful tests never wait this long.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A WebSocket.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What a server sends on a WebSocket.
#[derive(Debug, PartialEq)]
pub enum Frame {
    /// A message, which must be JSON.
    Message(Value),
    /// The server closes, with its code (1005 if it sent none) and reason.
    Close(u16, String),
    /// The connection ended without a close frame.
    Gone,
}

impl Socket {
    /// Connects to the server at `base` (`http://HOST:PORT`), and offers these subprotocols (none if empty).
    ///
    /// # Errors
    /// If the server does not upgrade the connection; `Error::Http` contains its response.
    pub async fn connect(base: &str, protocols: &str, headers: &[(&str, &str)]) -> Result<Self, Error> {
        let mut request = format!("{}/graphql/ws", base.replacen("http", "ws", 1)).into_client_request()?;
        if !protocols.is_empty() {
            request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocols)?);
        }
        for (name, value) in headers {
            request.headers_mut().insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        }
        Ok(Self(connect_async_with_config(request, None, true).await?.0))
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Value) {
        self.send_frame(Message::text(message.to_string())).await;
    }

    /// Sends a frame of any kind.
    pub async fn send_frame(&mut self, frame: Message) {
        self.0.send(frame).await.expect("a frame can be sent");
    }

    /// The next frame from the server. WebSocket pings are answered and skipped.
    ///
    /// # Panics
    /// If nothing arrives within [`PATIENCE`].
    pub async fn next(&mut self) -> Frame {
        self.next_within(PATIENCE).await
    }

    /// The next frame from the server, with another timeout.
    ///
    /// # Panics
    /// If nothing arrives within it.
    pub async fn next_within(&mut self, patience: Duration) -> Frame {
        let frame = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let message = serde_json::from_str(&text);
                        return Frame::Message(message.unwrap_or_else(|_| panic!("not JSON: {text}")));
                    }
                    Some(Ok(Message::Close(Some(close)))) => {
                        return Frame::Close(close.code.into(), close.reason.to_string());
                    }
                    Some(Ok(Message::Close(None))) => return Frame::Close(1005, String::new()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(other)) => panic!("an unexpected frame: {other:?}"),
                    Some(Err(_)) | None => return Frame::Gone,
                }
            }
        };
        timeout(patience, frame).await.unwrap_or_else(|_| panic!("nothing arrived within {patience:?}"))
    }

    /// Waits for a WebSocket ping, and answers it.
    ///
    /// # Panics
    /// If something else arrives, or nothing within [`PATIENCE`].
    pub async fn pinged(&mut self) {
        match timeout(PATIENCE, self.0.next()).await {
            // The library answers at the socket's next use.
            Ok(Some(Ok(Message::Ping(_)))) => self.0.flush().await.expect("a pong can be sent"),
            other => panic!("no ping, but {other:?}"),
        }
    }

    /// The next message. `ping`s of the subprotocol are answered and skipped.
    ///
    /// # Panics
    /// If the server closes instead.
    pub async fn message(&mut self) -> Value {
        loop {
            match self.next().await {
                Frame::Message(message) if message["type"] == "ping" => self.send(json!({ "type": "pong" })).await,
                Frame::Message(message) => return message,
                other => panic!("no message, but {other:?}"),
            }
        }
    }

    /// Sends `connection_init` and waits for the acknowledgement.
    pub async fn greet(&mut self, payload: Value) {
        let mut init = json!({ "type": "connection_init" });
        if !payload.is_null() {
            init["payload"] = payload;
        }
        self.send(init).await;
        let answer = self.message().await;
        assert_eq!(answer["type"], "connection_ack", "{answer}");
    }

    /// Starts an operation.
    pub async fn start(&mut self, id: &str, query: &str, variables: Value) {
        self.start_named(id, query, None, variables).await;
    }

    /// The same for a document with several operations.
    pub async fn start_named(&mut self, id: &str, document: &str, operation: Option<&str>, variables: Value) {
        let payload = json!({ "query": document, "operationName": operation, "variables": variables });
        self.send(json!({ "id": id, "type": "subscribe", "payload": payload })).await;
    }
}

/// A subscription, alone on its socket.
pub struct Subscription {
    socket: Socket,
    end: Option<End>,
}

/// How a subscription ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The server completed it.
    Complete,
    /// The server refused it with errors.
    Error,
    /// The server closed the socket, with this code and reason.
    Close(u16, String),
    /// The connection broke.
    Gone,
}

impl Subscription {
    /// Starts a subscription on an acknowledged socket.
    pub async fn start(socket: Socket, query: &str, variables: Value) -> Self {
        Self::start_named(socket, query, None, variables).await
    }

    /// The same for a document with several operations.
    pub async fn start_named(mut socket: Socket, document: &str, operation: Option<&str>, variables: Value) -> Self {
        socket.start_named("1", document, operation, variables).await;
        Self { socket, end: None }
    }

    /// The next event: its data, or its errors; `None` once the subscription has ended.
    ///
    /// # Panics
    /// If nothing arrives within [`PATIENCE`].
    pub async fn next(&mut self) -> Option<Result<Value, Vec<Value>>> {
        self.next_within(PATIENCE).await
    }

    /// The next event, with another timeout.
    ///
    /// # Panics
    /// If nothing arrives within it.
    pub async fn next_within(&mut self, patience: Duration) -> Option<Result<Value, Vec<Value>>> {
        while self.end.is_none() {
            match self.socket.next_within(patience).await {
                Frame::Message(mut message) => match message["type"].as_str() {
                    Some("next") => {
                        assert_eq!(message["id"], "1", "an event of another operation: {message}");
                        let mut payload = message["payload"].take();
                        return Some(match payload["errors"].take() {
                            Value::Array(errors) if !errors.is_empty() => Err(errors),
                            _ => Ok(payload["data"].take()),
                        });
                    }
                    Some("error") => {
                        self.end = Some(End::Error);
                        let errors = message["payload"].as_array().cloned();
                        return Some(Err(errors.unwrap_or_else(|| panic!("errors that are not a list: {message}"))));
                    }
                    Some("complete") => self.end = Some(End::Complete),
                    Some("ping") => self.socket.send(json!({ "type": "pong" })).await,
                    Some("pong") => {}
                    _ => panic!("an unexpected message: {message}"),
                },
                Frame::Close(code, reason) => self.end = Some(End::Close(code, reason)),
                Frame::Gone => self.end = Some(End::Gone),
            }
        }
        None
    }

    /// The data of the next event.
    ///
    /// # Panics
    /// If errors or the end arrive instead, or nothing within [`PATIENCE`].
    pub async fn event(&mut self) -> Value {
        match self.next().await {
            Some(Ok(data)) => data,
            Some(Err(errors)) => panic!("errors: {errors:?}"),
            None => panic!("ended: {:?}", self.end),
        }
    }

    /// How the subscription ended, if it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }
}
