//! The error type of the service.
//!
//! It deliberately has no `Display`: async-graphql sends anything with `Display` to the client, so a stray `?` on a
//! database error in a resolver must not compile. Clients see [`Error::message`]; only the log sees [`Error::cause`].
//!
//! Every function that returns it can fail with `Unavailable` or `Internal`; `# Errors` sections mention only other
//! errors.

use std::time::Duration;

use super::merge::Merge;

/// Why a request was refused. The variants correspond to the API's values of `extensions.code`.
#[derive(Clone, Debug)]
pub enum Error {
    /// No token, or an invalid one.
    Unauthenticated(String),
    /// The caller can read the object but not change it.
    Forbidden(String),
    /// The object does not exist, or the caller has no access to it.
    NotFound {
        /// The kind of object ("project").
        noun: &'static str,
        /// The argument with its id.
        field: String,
    },
    /// An argument is invalid; `field` is its path within the arguments ("files[3].path").
    BadInput {
        /// Path of the argument.
        field: String,
        /// What is wrong, and what is valid.
        message: String,
    },
    /// A precondition of the caller failed, or another write came first.
    Conflict(Box<Conflict>),
    /// Something exceeds a size limit.
    PayloadTooLarge {
        /// Path of the argument; `None` for the request as a whole.
        field: Option<String>,
        /// What is too large, with the name of the setting.
        message: String,
    },
    /// Too many requests, or too long a wait for other requests; the message names the setting.
    RateLimited {
        /// Which limit was exceeded.
        message: String,
        /// Seconds to wait before trying again, if known.
        retry_after: Option<u64>,
    },
    /// The operation exceeds the cost limits; the message names the setting.
    QueryTooComplex(String),
    /// The database is read-only at the moment.
    ReadOnly(String),
    /// A subscriber's position is not in the log, which ends before it or has diverged since. The client must read the
    /// project again and subscribe from there.
    PositionLost(Newest),
    /// The connection to the database was lost during the commit, and the outcome is unknown. Clients see `UNAVAILABLE`
    /// with `mayBeStored`.
    MayBeStored,
    /// An outage; the same request can succeed later. Clients see `UNAVAILABLE`, and the text goes to the log only.
    Unavailable(String),
    /// A defect, or damaged data; the same request fails again. Clients see `INTERNAL`, and the text goes to the log
    /// only.
    Internal(String),
}

/// The current end of a subscriber's log or text, if its position is lost.
#[derive(Clone, Copy, Debug)]
pub enum Newest {
    /// The project's current revision.
    Revision(i32),
    /// The length of a streaming message, in bytes.
    Length(i32),
}

/// The current state, for a caller whose precondition failed.
#[derive(Clone, Debug, Default)]
pub struct Conflict {
    /// What the write conflicts with.
    pub message: String,
    /// The argument whose precondition failed.
    pub field: Option<&'static str>,
    /// The file's current version if `expectedVersion` failed.
    pub current_version: Option<i32>,
    /// The project's current revision if `expectedRevision` failed.
    pub current_revision: Option<i32>,
    /// Lower-case hex SHA-256 of the file's current content.
    pub current_hash: Option<String>,
    /// The streaming message's length in bytes, if a chunk does not start there.
    pub current_length: Option<i32>,
    /// The affected paths, if there are several.
    pub paths: Vec<String>,
    /// The result of merging both changes of a text.
    pub merge: Option<Merge>,
    /// The conflicting files, if the precondition was on the whole project.
    pub files: Vec<FileConflict>,
}

/// A file in which a sync conflicts with another write.
#[derive(Clone, Debug)]
pub struct FileConflict {
    /// The path.
    pub path: String,
    /// The current version; `None` if it is deleted.
    pub current_version: Option<i32>,
    /// Lower-case hex SHA-256 of the current content.
    pub current_hash: Option<String>,
    /// The result of merging both changes of a text.
    pub merge: Option<Merge>,
}

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A `BadInput` for the argument at `field`.
    pub fn bad_input(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::BadInput { field: field.into(), message: message.into() }
    }

    /// An `Internal` with a cause for the log.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }

    /// A `NotFound` for the `noun` whose id is in the argument `field`.
    pub fn not_found(noun: &'static str, field: impl Into<String>) -> Self {
        Self::NotFound { noun, field: field.into() }
    }

    /// The `NotFound` of a subscription to a project.
    pub fn no_project() -> Self {
        Self::not_found("project", "projectId")
    }

    /// A `PayloadTooLarge` for the argument at `field`.
    pub fn too_large(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::PayloadTooLarge { field: Some(field.into()), message: message.into() }
    }

    /// A `RateLimited` after waiting for other requests for `--database-acquire-seconds`; `what` starts the message.
    pub fn busy(what: &str, waited: Duration) -> Self {
        let seconds = waited.as_secs();
        let message = format!("{what} for {seconds} seconds (--database-acquire-seconds): try again in {seconds} s.");
        Self::RateLimited { message, retry_after: Some(seconds) }
    }

    /// A `Conflict` of the argument `field` with the current state.
    pub fn conflict(field: &'static str, message: impl Into<String>) -> Self {
        Self::Conflict(Box::new(Conflict { message: message.into(), field: Some(field), ..Conflict::default() }))
    }

    /// The value of `extensions.code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated(_) => "UNAUTHENTICATED",
            Self::Forbidden(_) => "FORBIDDEN",
            Self::NotFound { .. } => "NOT_FOUND",
            Self::BadInput { .. } => "BAD_USER_INPUT",
            Self::Conflict(_) => "CONFLICT",
            Self::PayloadTooLarge { .. } => "PAYLOAD_TOO_LARGE",
            Self::RateLimited { .. } => "RATE_LIMITED",
            Self::QueryTooComplex(_) => "QUERY_TOO_COMPLEX",
            Self::ReadOnly(_) => "READ_ONLY",
            Self::PositionLost(_) => "POSITION_LOST",
            Self::MayBeStored | Self::Unavailable(_) => "UNAVAILABLE",
            Self::Internal(_) => "INTERNAL",
        }
    }

    /// The cause for the log, of an error that clients see as `UNAVAILABLE` or `INTERNAL`.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Unavailable(cause) | Self::Internal(cause) => Some(cause),
            _ => None,
        }
    }

    /// Whether the cause is not in the request: an outage, a busy database, or a defect.
    pub fn is_passing(&self) -> bool {
        self.cause().is_some() || matches!(self, Self::RateLimited { .. })
    }

    /// The message for the client.
    pub fn message(&self) -> String {
        match self {
            Self::Unauthenticated(message)
            | Self::Forbidden(message)
            | Self::RateLimited { message, .. }
            | Self::QueryTooComplex(message)
            | Self::ReadOnly(message)
            | Self::PayloadTooLarge { message, .. }
            | Self::BadInput { message, .. } => message.clone(),
            Self::NotFound { noun, .. } => format!("There is no such {noun}."),
            Self::Conflict(conflict) => conflict.message.clone(),
            Self::PositionLost(Newest::Revision(revision)) => format!(
                "This position is not in the project's log, which is at revision {revision}: read the project again \
                 and subscribe from there."
            ),
            Self::PositionLost(Newest::Length(length)) => {
                format!("The message has only {length} bytes: discard its text and subscribe from the beginning.")
            }
            Self::MayBeStored => {
                "The connection to the database was lost while the write was stored, so it may be stored \
                 or not: read before you repeat it."
                    .to_owned()
            }
            Self::Unavailable(_) => "The database is unavailable at the moment: try again.".to_owned(),
            Self::Internal(_) => "Internal error; the log has the cause under the request id.".to_owned(),
        }
    }

    /// Prefixes the path of a `BadInput` with `parent`.
    pub fn under(self, parent: &str) -> Self {
        match self {
            Self::BadInput { field, message } => Self::BadInput { field: format!("{parent}.{field}"), message },
            other => other,
        }
    }
}
