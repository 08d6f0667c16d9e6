//! Values of results as JSON.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, Value};
use bytes::Bytes;

/// The key with which the library marks raw JSON text, as serde_json does.
pub const RAW_VALUE_TOKEN: &str = "$serde_json::private::RawValue";

/// JSON text as a value.
pub fn raw_json(json: impl Into<Bytes>) -> Value {
    Value::Object(IndexMap::from([(Name::new(RAW_VALUE_TOKEN), Value::Binary(json.into()))]))
}

/// Lists are resolved to JSON up to this many bytes in an operation: JSON can be longer than the values that the budget
/// of the operation counts.
const MAX_BYTES: usize = 256 * 1024;

/// The lists of an operation that are resolved to JSON.
#[derive(Default)]
pub struct WrittenJson {
    bytes: AtomicUsize,
}

impl WrittenJson {
    /// Writes a list, of at most the passed number of bytes. `None` if `write` cannot.
    pub fn write(&self, write: impl FnOnce(&mut Vec<u8>, usize) -> Option<()>) -> Option<Vec<u8>> {
        let limit = MAX_BYTES.checked_sub(self.bytes.load(Ordering::Relaxed))?;
        let mut json = Vec::new();
        write(&mut json, limit)?;
        self.bytes.fetch_add(json.len(), Ordering::Relaxed);
        Some(json)
    }
}

/// Appends a string.
pub fn write_string(text: &str, json: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(json, text);
}

/// Appends a value. Binary values are texts, and objects with the token are JSON (`graphql/scalar.rs`).
pub fn write(value: &Value, json: &mut Vec<u8>) {
    match value {
        Value::Null => json.extend_from_slice(b"null"),
        Value::Boolean(value) => json.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Number(number) => json.extend_from_slice(number.as_str().as_bytes()),
        Value::String(text) => write_string(text, json),
        Value::Enum(name) => write_string(name, json),
        Value::Binary(text) => write_string(&String::from_utf8_lossy(text), json),
        Value::List(items) => {
            json.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    json.push(b',');
                }
                write(item, json);
            }
            json.push(b']');
        }
        Value::Object(fields) => match fields.get(RAW_VALUE_TOKEN) {
            Some(Value::String(raw)) => json.extend_from_slice(raw.as_bytes()),
            Some(Value::Binary(raw)) => json.extend_from_slice(raw),
            _ => {
                json.push(b'{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        json.push(b',');
                    }
                    write_string(name, json);
                    json.push(b':');
                    write(value, json);
                }
                json.push(b'}');
            }
        },
    }
}
