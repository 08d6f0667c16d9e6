//! The results of tools: a text for the model, and the same as data.

use std::fmt::Write;

use rmcp::{
    ErrorData,
    model::{CallToolResult, ContentBlock},
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    model::error::{Conflict, Error, Result},
    transport::operation,
};

/// The result of a tool.
pub struct Answer {
    /// The texts for the model.
    texts: Vec<String>,
    /// The same as data.
    data: Value,
}

impl Answer {
    /// A result with this text.
    ///
    /// # Errors
    /// `Internal` if the data cannot be JSON.
    pub fn new(text: impl Into<String>, data: &impl Serialize) -> Result<Self> {
        Ok(Self { texts: vec![text.into()], data: serde_json::to_value(data).map_err(Error::internal)? })
    }

    /// The size of the texts and of the data, in bytes.
    pub fn size(&self) -> usize {
        self.texts.iter().map(String::len).sum::<usize>().saturating_add(size_of(&self.data))
    }

    /// The same with another text, which the client shows separately.
    pub fn and(mut self, text: impl Into<String>) -> Self {
        self.texts.push(text.into());
        self
    }
}

/// The size of a value as JSON, in bytes, without its punctuation.
fn size_of(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(size_of).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size_of(value)).sum(),
        Value::Number(number) => number.as_str().len(),
        Value::Null | Value::Bool(_) => 4,
    }
}

/// The result of a tool for the client.
pub fn result(answer: Result<Answer>, request_id: &str) -> CallToolResult {
    match answer {
        Ok(answer) => {
            let mut result = CallToolResult::structured(answer.data);
            result.content = answer.texts.into_iter().map(ContentBlock::text).collect();
            result
        }
        Err(error) => {
            let (message, mut data) = described(&error, request_id);
            let text = advice(&error, &message);
            data.insert("message".to_owned(), message.into());
            let mut result = CallToolResult::structured_error(Value::Object(data));
            result.content = vec![ContentBlock::text(text)];
            result
        }
    }
}

/// The message and the extensions that the API has for an error. The cause of an internal error is only logged.
pub fn described(error: &Error, request_id: &str) -> (String, Map<String, Value>) {
    let (message, extensions) = if error.cause().is_some() {
        let refusal = operation::refusal(error, request_id);
        (refusal.message, refusal.extensions)
    } else {
        let error = async_graphql::Error::from(error.clone());
        (error.message, error.extensions)
    };
    let data = extensions.and_then(|extensions| serde_json::to_value(extensions).ok());
    let data = data.and_then(|data| match data {
        Value::Object(data) => Some(data),
        _ => None,
    });
    (message, data.unwrap_or_default())
}

/// The error of a request that is not a tool call.
pub fn protocol_error(error: &Error, request_id: &str) -> ErrorData {
    let (message, data) = described(error, request_id);
    let data = Some(Value::Object(data));
    match error {
        Error::NotFound { .. } => ErrorData::resource_not_found(message, data),
        error if error.is_passing() => ErrorData::internal_error(message, data),
        _ => ErrorData::invalid_params(message, data),
    }
}

/// The text of an error, with what helps the model to continue.
fn advice(error: &Error, message: &str) -> String {
    let mut text = format!("{}: {message}", error.code());
    match error {
        Error::Conflict(conflict) => advise_after_conflict(&mut text, conflict),
        Error::BadInput { field, .. } if !field.is_empty() => {
            let _ = write!(text, "\nThe argument is `{field}`.");
        }
        Error::MayBeStored => text.push_str("\nRead the file, or the history, before you repeat the call."),
        _ => {}
    }
    text
}

fn advise_after_conflict(text: &mut String, conflict: &Conflict) {
    if let Some(version) = conflict.current_version {
        let _ = write!(text, "\nThe present version is {version}");
        if let Some(hash) = &conflict.current_hash {
            let _ = write!(text, ", the hash of its content {hash}");
        }
        text.push('.');
        if matches!(conflict.field, Some("expectedVersion" | "expectedHash")) {
            let _ =
                write!(text, " Read the file again, apply your change to it, and pass `expectedVersion`: {version}.");
        }
    }
    if let Some(revision) = conflict.current_revision {
        let _ = write!(text, "\nThe project is at revision {revision}.");
    }
    for file in &conflict.files {
        let version = file.current_version.map_or("deleted".to_owned(), |version| format!("version {version}"));
        let _ = write!(text, "\n{}: {version}", file.path);
    }
    if let Some(merge) = &conflict.merge {
        let how = if merge.clean { "without conflicts" } else { "with conflict markers" };
        let _ = write!(text, "\nBoth changes merged, {how}, are in `merge.content`.");
    }
}
