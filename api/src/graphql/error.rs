//! How errors of the service reach clients: a message and `extensions.code`.

use async_graphql::{ErrorExtensionValues, ErrorExtensions};

use crate::model::error::Error;

impl From<Error> for async_graphql::Error {
    fn from(error: Error) -> Self {
        // An error without a code is one that only the log may read: the transport answers INTERNAL in its place.
        if let Error::Internal(cause) = error {
            return Self::new(cause);
        }
        Self::new(error.message()).extend_with(|_, extensions| describe(&error, extensions))
    }
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
