//! A client of the Model Context Protocol.

use serde_json::{Value, json};

use crate::{
    client::{Client, Raw, Stream},
    project::text,
};

/// A client of MCP.
#[derive(Clone)]
pub struct Agent {
    /// Its HTTP client.
    pub client: Client,
    /// The id of its session.
    pub session: Option<String>,
}

impl Agent {
    /// An agent without a session.
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone(), session: None }
    }

    /// An agent with a session.
    pub async fn start(client: &Client) -> Self {
        let agent = Self::new(client);
        let answer = agent.post(&initialize("agent", "1.2")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer.header("mcp-session-id").to_owned();
        assert_eq!(session.len(), 32, "{answer:?}");
        let agent = Self { session: Some(session), ..agent };
        let answer = agent.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        assert_eq!((answer.status, answer.body.len()), (202, 0));
        agent
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let token = self.client.token().map(|token| ("authorization", format!("Bearer {token}")));
        let session = self.session.clone().map(|session| ("mcp-session-id", session));
        token.into_iter().chain(session).collect()
    }

    /// Sends a request with the token and the session.
    ///
    /// # Panics
    /// If no answer arrives.
    pub async fn send(&self, method: &str, more: &[(&str, &str)], body: String) -> Raw {
        let own = self.headers();
        let mut headers: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.extend_from_slice(more);
        self.client.send(method, "/mcp", &headers, body).await.expect("an answer")
    }

    /// Sends a body as a message.
    pub async fn post_text(&self, body: String) -> Raw {
        self.send("POST", &[("content-type", "application/json"), ACCEPT], body).await
    }

    /// Sends a message.
    pub async fn post(&self, message: &Value) -> Raw {
        self.post_text(message.to_string()).await
    }

    /// The message that answers a request.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let answer = self.post(&json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let message: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!((&message["jsonrpc"], &message["id"]), (&json!("2.0"), &json!(7)), "{message}");
        message
    }

    /// The result of a request that succeeds.
    pub async fn get(&self, method: &str, params: Value) -> Value {
        let message = self.ask(method, params).await;
        assert!(message.get("error").is_none(), "{message}");
        message["result"].clone()
    }

    /// The result of a tool call.
    pub async fn tool(&self, name: &str, arguments: Value) -> Value {
        self.get("tools/call", json!({ "name": name, "arguments": arguments })).await
    }

    /// The data of a tool call that succeeds.
    pub async fn ok(&self, name: &str, arguments: Value) -> Value {
        let result = self.tool(name, arguments).await;
        assert_eq!(result["isError"], false, "{result}");
        assert!(result["content"][0]["text"].as_str().is_some_and(|text| !text.is_empty()), "{result}");
        result["structuredContent"].clone()
    }

    /// The data of a tool call that fails with this code. The text begins with the code.
    pub async fn fails(&self, name: &str, arguments: Value, code: &str) -> Value {
        let result = self.tool(name, arguments).await;
        assert_eq!(
            (&result["isError"], &result["structuredContent"]["code"]),
            (&json!(true), &json!(code)),
            "{result}"
        );
        let shown = result["content"][0]["text"].as_str().unwrap();
        assert!(shown.starts_with(&format!("{code}: {}", text(&result["structuredContent"]["message"]))), "{result}");
        result["structuredContent"].clone()
    }

    /// Opens the stream of the session.
    pub async fn listen(&self, more: &[(&str, &str)]) -> Stream {
        let own = self.session.clone().unwrap_or_default();
        let headers = [&[("accept", "text/event-stream"), ("mcp-session-id", own.as_str())], more].concat();
        self.client.open("GET", "/mcp", &headers).await
    }
}

/// What a client of MCP accepts.
pub const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");

/// The first message of a client with this name and version.
pub fn initialize(name: &str, version: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2025-06-18",
        "capabilities": {}, "clientInfo": { "name": name, "version": version } } })
}

/// The next notification of a stream, with its id; `None` if the stream ends.
pub async fn next(stream: &mut Stream) -> Option<(String, Value)> {
    loop {
        let event = stream.until("\n\n").await?;
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        if let Some(data) = field("data: ") {
            return Some((field("id: ").unwrap_or_default(), serde_json::from_str(&data).expect("JSON")));
        }
    }
}

/// The URI in the next notification, which is that a resource was updated.
pub async fn updated(stream: &mut Stream) -> String {
    let (_, message) = next(stream).await.expect("a notification");
    assert_eq!(message["method"], "notifications/resources/updated", "{message}");
    text(&message["params"]["uri"])
}

/// Checks that the next notification is that files were created, deleted or renamed.
///
/// # Panics
/// If it is another one.
pub async fn list_changed(stream: &mut Stream) {
    let (_, message) = next(stream).await.expect("a notification");
    assert_eq!(message, json!({ "jsonrpc": "2.0", "method": "notifications/resources/list_changed" }));
}

/// The body of an answer.
///
/// # Panics
/// If it is not JSON.
pub fn parsed(answer: &Raw) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

/// Checks that a request was refused before it reached a method.
#[track_caller]
pub fn assert_refused(answer: &Raw, status: u16, json_rpc: i32, code: &str) {
    let message = parsed(answer);
    let error = &message["error"];
    assert_eq!((answer.status, &message["id"]), (status, &Value::Null), "{answer:?}");
    assert_eq!((&error["code"], &error["data"]["code"]), (&json!(json_rpc), &json!(code)), "{error}");
}
