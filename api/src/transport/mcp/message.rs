//! The body of a `POST /mcp`: one message of JSON-RPC. It is checked here first, because the SDK answers most mistakes
//! with one text that names none of them.

use std::fmt::Display;

use axum::{body::Bytes, http::StatusCode};
use rmcp::model::{CancelledNotificationParam, RequestId as MessageId, SubscriptionFilter};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::parameters;
use crate::{
    model::error::Error,
    transport::{http::refusal::Refusal, values},
};

/// Error codes of JSON-RPC.
const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;
const INVALID_PARAMS: i32 = -32_602;
pub(super) const INTERNAL_ERROR: i32 = -32_603;

/// A request that was refused before its method ran.
pub(super) struct Refused {
    /// The code of JSON-RPC.
    pub(super) code: i32,
    /// The id of the request, if it was read.
    pub(super) id: Option<MessageId>,
    pub(super) refusal: Box<Refusal>,
}

impl Refused {
    fn bad(code: i32, field: &str, message: impl Into<String>) -> Self {
        Self { code, id: None, refusal: Refusal::new(StatusCode::BAD_REQUEST, Error::bad_input(field, message)) }
    }

    /// A body that is JSON, but not a message.
    pub(super) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::bad(INVALID_REQUEST, field, message)
    }

    /// The same in response to a request.
    pub(super) fn of(self, id: Option<MessageId>) -> Self {
        Self { id, ..self }
    }
}

impl From<Box<Refusal>> for Refused {
    fn from(refusal: Box<Refusal>) -> Self {
        let code = if refusal.status.is_server_error() { INTERNAL_ERROR } else { INVALID_REQUEST };
        Self { code, id: None, refusal }
    }
}

/// What a message asks of this module, before the SDK handles it.
pub(super) struct Checked {
    /// The id of a request.
    pub(super) id: Option<MessageId>,
    /// The filter of a `subscriptions/listen`.
    pub(super) filter: Option<SubscriptionFilter>,
    /// The request that a `notifications/cancelled` cancels.
    pub(super) cancelled: Option<MessageId>,
}

/// Checks that a body is one message. `take` reserves memory for it.
pub(super) fn check(
    body: &Bytes,
    max_values: usize,
    take: impl FnOnce(usize) -> Result<(), Error>,
) -> Result<Checked, Refused> {
    #[derive(Deserialize)]
    struct Listen {
        notifications: SubscriptionFilter,
    }

    let unreadable =
        |error: &dyn Display| Refused::bad(PARSE_ERROR, "", format!("The body is not usable JSON: {error}."));
    let json = std::str::from_utf8(body).map_err(|error| unreadable(&error))?;
    values::check(json, max_values).map_err(|error| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error))?;
    take(values::memory(json)).map_err(Refusal::failed)?;
    let json = serde_json::from_str::<&RawValue>(json).map_err(|error| unreadable(&error))?.get();
    if json.starts_with('[') {
        return Err(Refused::invalid("", "Send one message: the protocol versions of this server have no batches."));
    }
    if !json.starts_with('{') {
        return Err(Refused::invalid("", "A message is a JSON object."));
    }
    let fields = serde_json::from_str::<Fields>(json)
        .map_err(|error| Refused::invalid("", format!("The body is not a message of JSON-RPC: {error}.")))?;
    let (id, method) = fields.identify()?;
    if let Some(error) = fields.params.and_then(|params| parameters::malformed(&method, params)) {
        let status = if id.is_some() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        return Err(Refused { code: INVALID_PARAMS, id, refusal: Refusal::new(status, error) });
    }
    let params = |of: &str| fields.params.filter(|_| method == of).map(RawValue::get);
    let listen = params("subscriptions/listen").and_then(|params| serde_json::from_str::<Listen>(params).ok());
    let cancelled = params("notifications/cancelled")
        .and_then(|params| serde_json::from_str::<CancelledNotificationParam>(params).ok());
    Ok(Checked {
        id,
        filter: listen.map(|listen| listen.notifications),
        cancelled: cancelled.and_then(|cancelled| cancelled.request_id),
    })
}

/// The fields of a message. A field that is `null` is present.
#[derive(Deserialize)]
struct Fields<'m> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'m RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'m RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'m RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'m RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'m RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'m RawValue>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&'de RawValue>::deserialize(deserializer).map(Some)
}

impl Fields<'_> {
    /// The id and the method of a request, or the method of a notification.
    fn identify(&self) -> Result<(Option<MessageId>, String), Refused> {
        let text = |value: &RawValue| serde_json::from_str::<String>(value.get()).ok();
        if self.jsonrpc.and_then(text).as_deref() != Some("2.0") {
            return Err(Refused::invalid("jsonrpc", "`jsonrpc` must be \"2.0\"."));
        }
        let is_response = self.result.is_some() || self.error.is_some();
        if is_response && self.method.is_none() {
            return Err(Refused::invalid("", "This server sends no requests, so it accepts no responses."));
        }
        let id = self.id.map(|id| serde_json::from_str::<MessageId>(id.get())).transpose();
        let id = id.map_err(|_| Refused::invalid("id", "`id` must be a string, or an integer of at most 64 bits."))?;
        let wrong = |field: &str, message: &str| Err(Refused::invalid(field, message).of(id.clone()));
        let Some(method) = self.method else {
            return wrong("method", "`method` is missing.");
        };
        let Some(method) = text(method) else {
            return wrong("method", "`method` must be a string.");
        };
        if is_response {
            return wrong("", "A message has either a `method`, or a `result` or `error`.");
        }
        if id.is_none() && parameters::is_method(&method) {
            return wrong("id", &format!("{method} is a request: send it with an `id`."));
        }
        Ok((id, method))
    }
}
