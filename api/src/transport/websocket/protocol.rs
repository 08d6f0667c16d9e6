//! The protocol `graphql-transport-ws`: its messages and close codes.

use std::borrow::Cow;
use std::collections::HashMap;

use async_graphql::ServerError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::transport::operation;

/// The name of the protocol in a handshake.
pub(super) const PROTOCOL: &str = "graphql-transport-ws";

/// Longest reason in a close frame, in bytes (RFC 6455, section 5.5: 125 for the payload, 2 of them for the code).
pub(super) const MAX_REASON_BYTES: usize = 123;

pub(super) const GOING_AWAY: u16 = 1001;
pub(super) const PROTOCOL_ERROR: u16 = 1002;
pub(super) const INVALID_TEXT: u16 = 1007;
pub(super) const TIMED_OUT: u16 = 1008;
pub(super) const TOO_BIG: u16 = 1009;
pub(super) const TRY_AGAIN_LATER: u16 = 1013;
pub(super) const BAD_REQUEST: u16 = 4400;
pub(super) const UNAUTHORIZED: u16 = 4401;
pub(super) const FORBIDDEN: u16 = 4403;
pub(super) const SUBPROTOCOL_NOT_ACCEPTABLE: u16 = 4406;
pub(super) const INIT_TIMEOUT: u16 = 4408;
pub(super) const ALREADY_EXISTS: u16 = 4409;
pub(super) const TOO_MANY_INITS: u16 = 4429;

/// Why the server closes a socket.
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: String,
}

impl Close {
    pub(super) fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// A message from a client.
pub(super) enum FromClient<'a> {
    ConnectionInit { payload: serde_json::Value },
    Ping { payload: Option<&'a RawValue> },
    Pong,
    Subscribe { id: String, payload: &'a str },
    Complete { id: String },
}

/// A message from the server.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToClient<'a> {
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
    /// An error of an operation whose id is not valid text; the id is repeated as it was sent.
    #[serde(rename = "error")]
    ErrorOfBrokenId {
        id: &'a RawValue,
        payload: &'a [ServerError],
    },
    Complete {
        id: &'a str,
    },
}

/// When the socket's token expires, and why a new one was refused.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refreshed {
    /// In seconds since the epoch, like the token's `exp`; null if the socket has no user, or the token does not expire.
    pub(super) token_expires_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ServerError>,
}

/// Parses a message from a client.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<FromClient<'_>, String> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        r#type: String,
        id: Option<String>,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
    }

    // serde would accept an array as a struct.
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

/// Whether the values in the payload of a `subscribe` message have the types of the protocol. If a key is duplicated, its
/// last value counts.
pub(super) fn has_types(payload: &str) -> bool {
    if operation::has_lone_surrogate(payload) {
        return true;
    }
    let Ok(fields) = serde_json::from_str::<HashMap<Cow<'_, str>, &RawValue>>(payload) else { return false };
    let starts_with = |name: &str, start: &str| fields.get(name).is_some_and(|value| value.get().starts_with(start));
    let is =
        |name: &str, start: &str| !fields.contains_key(name) || starts_with(name, start) || starts_with(name, "null");
    let is_named = starts_with("documentId", "\"") || starts_with("extensions", "{");
    (starts_with("query", "\"") || is_named && is("query", "null"))
        && is("documentId", "\"")
        && is("operationName", "\"")
        && is("variables", "{")
        && is("extensions", "{")
}

/// The id of a `subscribe` message that is unreadable because its id contains half of a surrogate pair.
pub(super) fn broken_id(text: &str) -> Option<&RawValue> {
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

/// The longest prefix of a text that has at most `bytes` bytes and ends between characters.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

/// Whether a message was refused for its size. The library wraps the cause twice.
pub(super) fn is_too_big(error: &axum::Error) -> bool {
    says(error, "Message too long")
}

/// How a socket ends whose client breaks the rules of RFC 6455 (section 7.4.1).
pub(super) fn violation(error: &axum::Error) -> Option<Close> {
    // A client that disconnects without a close frame has broken no rule that it could be told.
    if says(error, "without closing handshake") {
        return None;
    }
    let codes = [("WebSocket protocol error", PROTOCOL_ERROR), ("UTF-8", INVALID_TEXT)];
    let (_, code) = codes.into_iter().find(|(text, _)| says(error, text))?;
    Some(Close::new(code, error.to_string()))
}

/// Whether an error of the WebSocket library, which has no types here, contains a text.
fn says(error: &axum::Error, text: &str) -> bool {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.any(|error| error.to_string().contains(text))
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
    fn payloads_have_the_types_of_the_protocol() {
        for payload in [
            r#"{"query":"{a}"}"#,
            r#"{"query":"{a}","variables":null,"operationName":"a","extensions":{}}"#,
            r#"{"query":"{a}","variables":{"a":1,"a":2}}"#,
            r#"{"query":"{a}","query":"{b}"}"#,
            r#"{"extensions":{"persistedQuery":1}}"#,
            r#"{"documentId":"a"}"#,
            r#"{"query":"\ud800"}"#,
        ] {
            assert!(has_types(payload), "{payload}");
        }
        for payload in [
            "{}",
            r#"{"query":5}"#,
            r#"{"query":null}"#,
            r#"{"query":"{a}","variables":[]}"#,
            r#"{"query":"{a}","variables":"{}"}"#,
            r#"{"query":"{a}","operationName":{}}"#,
            r#"{"query":"{a}","extensions":5}"#,
            r#"{"query":5,"documentId":"a"}"#,
        ] {
            assert!(!has_types(payload), "{payload}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(cut("short", 123), "short");
        assert_eq!(cut(&"é".repeat(100), MAX_REASON_BYTES).len(), 122);
    }
}
