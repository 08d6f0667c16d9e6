//! How errors of the service reach clients: a message and `extensions.code`.

use async_graphql::{ErrorExtensionValues, ErrorExtensions};

use crate::model::error::{Error, Result};

impl From<Error> for async_graphql::Error {
    fn from(error: Error) -> Self {
        // An error without a code is one that only the log may read: the transport answers INTERNAL in its place.
        if let Error::Internal(cause) = error {
            return Self::new(cause);
        }
        Self::new(error.message()).extend_with(|_, extensions| describe(&error, extensions))
    }
}

/// A field that may be null, and that is null where it fails: its siblings are kept (GraphQL specification, section 6.4.4). The
/// library does so for an `Option<Result<T>>` alone; a `Result<Option<T>>` that fails takes its parent with it.
pub async fn or_null<T>(field: impl Future<Output = Result<Option<T>>>) -> Option<Result<T>> {
    field.await.transpose()
}

fn describe(error: &Error, extensions: &mut ErrorExtensionValues) {
    extensions.set("code", error.code());
    match error {
        Error::BadInput { field, .. } | Error::NotFound { field, .. } => extensions.set("field", field.as_str()),
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
            if let Some(hash) = &conflict.current_hash {
                extensions.set("currentHash", hash.as_str());
            }
            if !conflict.paths.is_empty() {
                extensions.set("paths", conflict.paths.clone());
            }
        }
        _ => {}
    }
}
