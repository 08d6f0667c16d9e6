//! Parses what a client has sent, and names what is wrong with it.

use std::borrow::Cow;

use rmcp::model::{
    CallToolRequestParams, InitializeRequestParams, JsonObject, ReadResourceRequestParams, SubscribeRequestParams,
    SubscriptionsListenRequestParams, UnsubscribeRequestParams,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Number, Value, value::RawValue};

use crate::model::error::Error;

/// The largest integer up to which all integers have a number of their own in JavaScript.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// The methods of requests.
const METHODS: &[&str] = &[
    "initialize",
    "ping",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tools/call",
    "tools/list",
];

/// Whether requests have this method, in some version of the protocol.
pub fn is_method(method: &str) -> bool {
    METHODS.contains(&method)
}

/// The text for a request whose method is unknown, or unknown in its version of the protocol.
pub fn unknown(method: &str) -> String {
    if is_method(method) {
        format!("The protocol version of the request has no method {method}.")
    } else if method.starts_with("notifications/") {
        format!("{method} is a notification: send it without an `id`.")
    } else {
        format!("Unknown method: {method}.")
    }
}

/// Parses the arguments of a tool.
///
/// # Errors
/// `BadInput` with the argument that does not match the schema.
pub fn arguments<T: DeserializeOwned>(tool: &str, arguments: JsonObject) -> Result<T, Error> {
    let mut arguments = Value::Object(arguments);
    simplify_numbers(&mut arguments);
    parse(arguments).map_err(|(field, why)| {
        Error::bad_input(field, format!("The arguments of {tool} do not match its schema: {why}."))
    })
}

/// The error for `params` that make the SDK not recognize the message at all, or that it would ignore.
pub fn malformed(method: &str, params: &RawValue) -> Option<Error> {
    #[derive(Deserialize)]
    struct Params {
        #[serde(rename = "_meta")]
        _meta: Option<JsonObject>,
    }
    #[derive(Deserialize)]
    struct ListParams<'p> {
        #[serde(borrow, rename = "cursor")]
        _cursor: Option<Cow<'p, str>>,
    }
    let json = params.get();
    if !json.starts_with(['{', 'n']) {
        return Some(not_valid(method, String::new(), "they must be an object"));
    }
    if let Err(error) = serde_json::from_str::<Option<Params>>(json) {
        return Some(not_valid(method, "_meta".to_owned(), &error.to_string()));
    }
    let has_cursor = method.ends_with("/list");
    let error = has_cursor.then(|| serde_json::from_str::<Option<ListParams<'_>>>(json).err()).flatten()?;
    Some(not_valid(method, "cursor".to_owned(), &error.to_string()))
}

/// The error for a request of which the SDK does not recognize the method and the `params`; `None` if the method is
/// unknown.
pub fn mistake(method: &str, params: Option<Value>) -> Option<Error> {
    if !is_method(method) {
        return None;
    }
    let params = params.unwrap_or_else(|| Value::Object(JsonObject::new()));
    let wrong = match method {
        "initialize" => parse::<InitializeRequestParams>(params).err(),
        "tools/call" => parse::<CallToolRequestParams>(params).err(),
        "resources/read" => parse::<ReadResourceRequestParams>(params).err(),
        "resources/subscribe" => parse::<SubscribeRequestParams>(params).err(),
        "resources/unsubscribe" => parse::<UnsubscribeRequestParams>(params).err(),
        "subscriptions/listen" => parse::<SubscriptionsListenRequestParams>(params).err(),
        _ => None,
    };
    let (field, why) = wrong.unwrap_or_else(|| (String::new(), "they have an unknown form".to_owned()));
    Some(not_valid(method, field, &why))
}

fn not_valid(method: &str, field: String, why: &str) -> Error {
    Error::bad_input(field, format!("The parameters of {method} do not have its form: {why}."))
}

/// Parses a value. An error is the path of the field that is wrong, and the reason.
fn parse<T: DeserializeOwned>(value: Value) -> Result<T, (String, String)> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let why = error.into_inner().to_string();
        // The path leads to the object in which a field is missing.
        let field = why.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let parent = if path == "." { String::new() } else { path };
        match field {
            Some(field) if parent.is_empty() => (field.to_owned(), why),
            Some(field) => (format!("{parent}.{field}"), why),
            None => (parent, why),
        }
    })
}

/// Writes integers such as `2.0` as `2`: JSON has one type of numbers, but the parser has two.
fn simplify_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let integer = number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() <= MAX_SAFE_INTEGER);
            if let Some(integer) = integer.and_then(|integer| format!("{integer:.0}").parse::<i64>().ok()) {
                *number = Number::from(integer);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(simplify_numbers),
        Value::Object(fields) => fields.values_mut().for_each(simplify_numbers),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        first: Option<i32>,
        at: Option<u32>,
        path: String,
    }

    fn sample(text: &str) -> Result<Sample, Error> {
        arguments("sample", serde_json::from_str(text).unwrap())
    }

    #[test]
    fn integers_have_any_spelling() {
        for (text, first) in
            [("2", 2), ("2.0", 2), ("2.000", 2), ("20e-1", 2), ("0.2e1", 2), ("-0.0", 0), ("1E3", 1_000)]
        {
            let parsed = sample(&format!(r#"{{"path":"a","first":{text}}}"#)).unwrap();
            assert_eq!(parsed, Sample { first: Some(first), at: None, path: "a".to_owned() }, "{text}");
        }
    }

    #[test]
    fn an_error_names_the_argument() {
        for (text, wrong) in [
            (r#"{"path":5}"#, "path"),
            (r#"{}"#, "path"),
            (r#"{"path":"a","first":1.5}"#, "first"),
            (r#"{"path":"a","first":3000000000}"#, "first"),
            (r#"{"path":"a","first":1e400}"#, "first"),
            (r#"{"path":"a","at":-1}"#, "at"),
            (r#"{"path":"a","at":[1]}"#, "at"),
            (r#"{"path":"a","other":1}"#, "other"),
        ] {
            assert!(matches!(sample(text), Err(Error::BadInput { field, .. }) if field == wrong), "{text}");
        }
    }

    #[test]
    fn the_mistake_in_a_request_is_named() {
        let field = |method: &str, params: Option<Value>| match mistake(method, params) {
            Some(Error::BadInput { field, .. }) => field,
            other => panic!("{method}: {other:?}"),
        };
        assert_eq!(field("tools/call", None), "name");
        assert_eq!(field("tools/call", Some(json!({ "name": "a", "arguments": [] }))), "arguments");
        assert_eq!(field("resources/read", Some(json!({ "uri": 5 }))), "uri");
        assert_eq!(
            field("subscriptions/listen", Some(json!({ "notifications": { "resourceSubscriptions": 5 } }))),
            "notifications.resourceSubscriptions"
        );
        assert!(mistake("tools/none", None).is_none());
        let malformed = |params: &str| {
            let error = malformed("tools/list", serde_json::from_str(params).unwrap());
            error.map(|error| if let Error::BadInput { field, .. } = error { field } else { panic!("{error:?}") })
        };
        assert_eq!(malformed(r#"{"_meta":5}"#).as_deref(), Some("_meta"));
        assert_eq!(malformed(r#"{"cursor":5}"#).as_deref(), Some("cursor"));
        for params in ["5", "\"x\"", "[1]", "[]"] {
            assert_eq!(malformed(params).as_deref(), Some(""), "{params}");
        }
        for params in ["null", "{}", r#"{"_meta":{},"a":1}"#, r#"{"_meta":null}"#, r#"{"cursor":"\n"}"#] {
            assert_eq!(malformed(params), None, "{params}");
        }
    }
}
