//! The errors for requests whose parameters do not have the form of their method. The SDK gives most of them to the
//! handler of unknown methods. It does not read lists, and ignores wrong cursors.

use rmcp::model::{
    CallToolRequestParams, InitializeRequestParams, PaginatedRequestParams, ReadResourceRequestParams,
    SubscribeRequestParams, SubscriptionsListenRequestParams, UnsubscribeRequestParams,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};

use super::answer;
use crate::model::error::Error;

/// The methods that return pages.
const PAGED: [&str; 3] = ["tools/list", "resources/list", "resources/templates/list"];

/// Why a method cannot take parameters that the SDK does not give to the handler.
pub fn refuse_early(method: &str, params: &RawValue) -> Option<Error> {
    let is_page = PAGED.contains(&method);
    if !is_page && !params.get().starts_with('[') {
        return None;
    }
    let params: Value = serde_json::from_str(params.get()).ok()?;
    let fits = params.is_null() || is_page && error::<PaginatedRequestParams>(params.clone()).is_none();
    if fits { None } else { refuse(method, Some(params)) }
}

/// Why a known method cannot take these parameters; `None` for an unknown method.
pub fn refuse(method: &str, params: Option<Value>) -> Option<Error> {
    let params = params.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let error = match method {
        "initialize" => error::<InitializeRequestParams>(params),
        "tools/call" => error::<CallToolRequestParams>(params),
        method if PAGED.contains(&method) => error::<PaginatedRequestParams>(params),
        "resources/read" => error::<ReadResourceRequestParams>(params),
        "resources/subscribe" => error::<SubscribeRequestParams>(params),
        "resources/unsubscribe" => error::<UnsubscribeRequestParams>(params),
        "subscriptions/listen" => error::<SubscriptionsListenRequestParams>(params),
        "ping" | "server/discover" => error::<serde_json::Map<String, Value>>(params),
        _ => return None,
    };
    let what = format!("The parameters of {method} do not have its form");
    Some(error.map_or_else(|| Error::bad_input("", format!("{what}.")), |error| answer::mismatch(&what, &error)))
}

fn error<T: DeserializeOwned>(params: Value) -> Option<serde_json::Error> {
    if !params.is_object() {
        // serde would accept a list of the fields.
        return Some(serde::de::Error::custom("they must be an object"));
    }
    serde_json::from_value::<T>(params).err()
}
