//! A client like a browser: HTTP requests, and one WebSocket for each subscription.

use std::time::Duration;

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

use crate::socket::{Socket, Subscription};

/// A response that takes longer than this fails the test. Successful tests never wait this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A user's or an anonymous client of a server.
#[derive(Clone)]
pub struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    base: String,
    token: Option<String>,
}

/// An unparsed HTTP response.
#[derive(Debug)]
pub struct Raw {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// An HTTP response that arrives in parts.
pub struct Stream {
    /// The HTTP status.
    pub status: u16,
    headers: HeaderMap,
    body: hyper::body::Incoming,
    /// The text that has arrived and was not returned yet.
    text: String,
}

impl Stream {
    /// The value of a header; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The text before the next `end`; `None` if the response ends before that.
    ///
    /// # Panics
    /// If nothing arrives for too long.
    pub async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some((before, after)) = self.text.split_once(end) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.text = after;
                return Some(before);
            }
            let frame = tokio::time::timeout(crate::socket::PATIENCE, self.body.frame()).await.expect("nothing came");
            let data = frame?.ok()?.into_data().ok()?;
            self.text.push_str(std::str::from_utf8(&data).expect("UTF-8"));
        }
    }
}

/// The response to a GraphQL operation.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `data`; null if it is missing.
    pub data: Value,
    /// `errors`; empty if they are missing.
    pub errors: Vec<Value>,
}

impl Client {
    /// A client of the server at `base` (`http://HOST:PORT`), with this bearer token.
    pub fn new(base: &str, token: Option<String>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = Http::builder(TokioExecutor::new()).build(connector);
        Self { http, base: base.trim_end_matches('/').to_owned(), token }
    }

    /// The same client with another token, or none.
    pub fn with_token(&self, token: Option<String>) -> Self {
        Self { token, ..self.clone() }
    }

    /// The client's token.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Sends a request as it is, without the client's own token.
    ///
    /// # Errors
    /// If no complete response arrives.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Raw> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        let answer = async {
            let (head, body) = self.http.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Raw { status: head.status.as_u16(), headers: head.headers, body })
        };
        tokio::time::timeout(PATIENCE, answer).await.context("no answer")?
    }

    /// Sends an operation whose response can arrive in parts.
    ///
    /// # Panics
    /// If no response starts.
    pub async fn stream(&self, accept: &str, more: &[(&str, &str)], body: &Value) -> Stream {
        let headers = [&[("content-type", "application/json"), ("accept", accept)], more].concat();
        self.open_with("POST", "/graphql", &headers, body.to_string()).await
    }

    /// Sends a request without a body whose response can arrive in parts.
    ///
    /// # Panics
    /// If no response starts.
    pub async fn open(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Stream {
        self.open_with(method, path, headers, String::new()).await
    }

    /// Sends a JSON body to a path, for a response that can arrive in parts.
    ///
    /// # Panics
    /// If no response starts.
    pub async fn post_stream(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Stream {
        self.open_with("POST", path, headers, body.to_string()).await
    }

    async fn open_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Stream {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        for (name, value) in
            bearer.iter().map(|bearer| ("authorization", bearer.as_str())).chain(headers.iter().copied())
        {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        let answer = tokio::time::timeout(PATIENCE, self.http.request(request)).await.expect("in time");
        let (head, body) = answer.expect("an answer").into_parts();
        Stream { status: head.status.as_u16(), headers: head.headers, body, text: String::new() }
    }

    /// Sends an operation.
    ///
    /// # Errors
    /// If no GraphQL response arrives. A failed operation is no error here.
    pub async fn request(&self, query: &str, variables: Value) -> anyhow::Result<Response> {
        self.post(&json!({ "query": query, "variables": variables })).await
    }

    async fn post(&self, request: &Value) -> anyhow::Result<Response> {
        let body = serde_json::to_vec(request)?;
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/graphql-response+json, application/json"),
        ];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        self.send("POST", "/graphql", &headers, body).await?.graphql()
    }

    /// Sends an operation, and panics if no GraphQL response arrives.
    pub async fn gql(&self, query: &str, variables: Value) -> Response {
        self.request(query, variables).await.unwrap_or_else(|error| panic!("{error:#}\nto {query}"))
    }

    /// The same for a document with several operations.
    pub async fn named(&self, document: &str, operation: &str, variables: Value) -> Response {
        let request = json!({ "query": document, "operationName": operation, "variables": variables });
        self.post(&request).await.unwrap_or_else(|error| panic!("{error:#}\nto {operation}"))
    }

    /// Subscribes on a WebSocket of its own. The subscription may not be attached yet when this returns: pass
    /// `afterRevision` if no event can be missed.
    pub async fn subscribe(&self, query: &str, variables: Value) -> Subscription {
        Subscription::start(self.greeted().await, query, variables).await
    }

    /// The same for a document with several operations.
    pub async fn subscribe_named(&self, document: &str, operation: &str, variables: Value) -> Subscription {
        Subscription::start_named(self.greeted().await, document, Some(operation), variables).await
    }

    /// A WebSocket on which no message has been sent yet.
    pub async fn socket(&self) -> Socket {
        Socket::connect(&self.base, "graphql-transport-ws", &[]).await.expect("a WebSocket")
    }

    /// A WebSocket on which the server has acknowledged this client's token.
    pub async fn greeted(&self) -> Socket {
        let mut socket = self.socket().await;
        let payload = self.token.as_ref().map(|token| json!({ "Authorization": format!("Bearer {token}") }));
        socket.greet(payload.unwrap_or(Value::Null)).await;
        socket
    }

    /// The server's `http://HOST:PORT`.
    pub fn base(&self) -> &str {
        &self.base
    }
}

impl Raw {
    /// The body as a GraphQL response.
    ///
    /// # Errors
    /// If it is not one.
    pub fn graphql(&self) -> anyhow::Result<Response> {
        let text = String::from_utf8_lossy(&self.body);
        let mut body: Value = serde_json::from_slice(&self.body)
            .with_context(|| format!("status {}, and a body that is not JSON: {text}", self.status))?;
        ensure!(body.get("data").or(body.get("errors")).is_some(), "status {}, and no GraphQL: {text}", self.status);
        let errors = match body["errors"].take() {
            Value::Array(errors) => errors,
            _ => Vec::new(),
        };
        Ok(Response { status: self.status, data: body["data"].take(), errors })
    }

    /// The value of a header; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Response {
    /// The data of an operation that succeeded.
    ///
    /// # Errors
    /// If it has errors.
    pub fn data(self) -> anyhow::Result<Value> {
        ensure!(self.errors.is_empty(), "status {}, errors {:?}", self.status, self.errors);
        Ok(self.data)
    }

    /// The data of an operation that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Value {
        self.data().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The first error of an operation that must have failed.
    #[track_caller]
    pub fn error(&self) -> &Value {
        self.errors.first().unwrap_or_else(|| panic!("no error, but data {}", self.data))
    }

    /// `extensions.code` of the first error.
    #[track_caller]
    pub fn error_code(&self) -> &str {
        let error = self.error();
        error["extensions"]["code"].as_str().unwrap_or_else(|| panic!("no code in {error}"))
    }

    /// `extensions.field` of the first error: the invalid argument.
    #[track_caller]
    pub fn field(&self) -> &str {
        let error = self.error();
        error["extensions"]["field"].as_str().unwrap_or_else(|| panic!("no field in {error}"))
    }
}
