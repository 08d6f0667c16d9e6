//! Converts errors of the service for clients: a message and `extensions.code`.

use std::any::Any;
use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use async_graphql::{Context, ErrorExtensionValues, ErrorExtensions, ServerError, Value, value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::error::{Error, FileConflict, Newest, Result};
use crate::model::merge::{Encoded, Merge};

impl From<Error> for async_graphql::Error {
    fn from(error: Error) -> Self {
        // An error without a code is for the log only: the transport layer replaces it by INTERNAL.
        match error {
            Error::Internal(cause) => return Self::new(cause),
            Error::Unavailable(cause) => return Self { source: Some(outage()), ..Self::new(cause) },
            _ => {}
        }
        let described = Self::new(error.message()).extend_with(|_, extensions| describe(&error, extensions));
        match error {
            Error::RateLimited { .. } => Self { source: Some(outage()), ..described },
            _ => described,
        }
    }
}

/// Extension with the number of seconds to wait before trying again.
pub const RETRY_AFTER: &str = "retryAfterSeconds";

/// Source of a library error that marks it as temporary: an [`Error::Unavailable`] or [`Error::RateLimited`].
struct Outage;

/// Marks an error as temporary, for [`is_outage`].
pub fn outage() -> Arc<dyn Any + Send + Sync> {
    Arc::new(Outage)
}

/// Whether the same operation can succeed later.
pub fn is_outage(error: &ServerError) -> bool {
    error.source::<Outage>().is_some()
}

/// A nullable field that becomes null if it fails, so that its siblings are kept (GraphQL specification, section
/// 6.4.4). The library does this only for `Option<Result<T>>`; a failing `Result<Option<T>>` also nulls its parent.
pub async fn or_null<T>(field: impl Future<Output = Result<Option<T>>>) -> Option<Result<T>> {
    field.await.transpose()
}

/// A list of a payload that becomes empty, with its error, if it fails: null would hide what the mutation has written.
/// In other operations a failing list nulls its parent (GraphQL specification, section 6.4.4).
pub async fn or_empty<T>(ctx: &Context<'_>, list: impl Future<Output = Result<Vec<T>>>) -> Result<Vec<T>> {
    let listed = list.await;
    if ctx.query_env.operation.node.ty != OperationType::Mutation {
        return listed;
    }
    Ok(listed.unwrap_or_else(|error| {
        let error = async_graphql::Error::from(error).into_server_error(ctx.item.pos);
        ctx.add_error(ctx.set_error_path(error));
        Vec::new()
    }))
}

/// Result of a root field: null if it fails, so that its siblings are kept. Writes of the siblings stay committed.
pub type Attempt<T> = Option<Result<T>>;

/// Runs a root field.
pub async fn attempt<T>(field: impl Future<Output = Result<T>>) -> Attempt<T> {
    Some(field.await)
}

fn describe(error: &Error, extensions: &mut ErrorExtensionValues) {
    extensions.set("code", error.code());
    match error {
        Error::BadInput { field, .. }
        | Error::NotFound { field, .. }
        | Error::PayloadTooLarge { field: Some(field), .. } => extensions.set("field", field.as_str()),
        Error::Conflict(conflict) => {
            if let Some(field) = conflict.field {
                extensions.set("field", field);
            }
            if let Some(version) = conflict.current_version {
                extensions.set("currentVersion", version);
            }
            if let Some(revision) = conflict.current_revision {
                extensions.set("currentRevision", revision);
            }
            if let Some(length) = conflict.current_length {
                extensions.set("currentLength", length);
            }
            if let Some(hash) = &conflict.current_hash {
                extensions.set("currentHash", hash.as_str());
            }
            if !conflict.paths.is_empty() {
                extensions.set("paths", conflict.paths.clone());
            }
            if let Some(merge) = &conflict.merge {
                extensions.set("merge", merged(merge));
            }
            if !conflict.files.is_empty() {
                extensions.set("files", Value::List(conflict.files.iter().map(file_conflict).collect()));
            }
        }
        Error::MayBeStored => extensions.set("mayBeStored", true),
        Error::RateLimited { retry_after: Some(seconds), .. } => extensions.set(RETRY_AFTER, *seconds),
        Error::PositionLost(Newest::Revision(revision)) => extensions.set("revision", *revision),
        Error::PositionLost(Newest::Length(length)) => extensions.set("currentLength", *length),
        _ => {}
    }
}

fn merged(merge: &Merge) -> Value {
    match &merge.encoded {
        None => value!({ "clean": merge.clean, "content": merge.text.as_str() }),
        // The text alone would make the file UTF-8.
        Some(Encoded { coding, bytes }) => value!({
            "clean": merge.clean,
            "content": merge.text.as_str(),
            "encoding": coding.name(),
            "contentBase64": STANDARD.encode(bytes),
        }),
    }
}

fn file_conflict(file: &FileConflict) -> Value {
    value!({
        "path": file.path.as_str(),
        "currentVersion": file.current_version,
        "currentHash": file.current_hash.as_deref(),
        "merge": file.merge.as_ref().map(merged),
    })
}
