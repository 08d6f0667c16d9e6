//! The one error type of the service.
//!
//! It has no `Display` on purpose: async-graphql turns anything with `Display` into client text, so a stray `?` on a
//! database error inside a resolver must not compile. What a client may read is [`Error::message`]; what only the log
//! may read is [`Error::cause`].

use std::time::Duration;

use super::merge::Merge;

/// Why a request was refused, as the closed set of codes in the API's `extensions.code`.
#[derive(Clone, Debug)]
pub enum Error {
    /// No caller, or a token that does not hold.
    Unauthenticated(String),
    /// The caller sees the thing and may not change it.
    Forbidden(String),
    /// There is no such thing, or the caller may not know of it.
    NotFound {
        /// The kind of thing ("project").
        noun: &'static str,
        /// The argument that named it.
        field: String,
    },
    /// An argument is not usable; `field` is its path within the arguments ("files[3].path").
    BadInput {
        /// Path of the argument.
        field: String,
        /// What is wrong with it and what would be right.
        message: String,
    },
    /// The guard that the caller gave no longer holds, or another write came first.
    Conflict(Box<Conflict>),
    /// Something exceeds a size limit.
    PayloadTooLarge {
        /// Path of the argument; `None` where it is the request as a whole.
        field: Option<String>,
        /// What is too large; names the setting.
        message: String,
    },
    /// Too many requests, or others were first for too long; the message names the setting.
    RateLimited {
        /// What there was too much of.
        message: String,
        /// After how many seconds to try again, where that is known.
        retry_after: Option<u64>,
    },
    /// The operation costs too much; the message names the setting.
    QueryTooComplex(String),
    /// The database takes no writes at the moment; reads work.
    ReadOnly(String),
    /// A listener's position is not in the log: the log ends before it, or has gone another way since. They must read the
    /// project again and listen from there.
    PositionLost(Position),
    /// An outage: the same may work when it is tried again. To clients it is `INTERNAL`; the text goes to the log alone.
    Unavailable(String),
    /// A defect, or damaged data: the same fails again. The text goes to the log and never to the client.
    Internal(String),
}

/// Where the present is, for a listener whose position is not there any more.
#[derive(Clone, Copy, Debug)]
pub enum Position {
    /// The project's present revision.
    Revision(i32),
    /// How many bytes a streaming message has.
    Length(i32),
}

/// What is there now, for a caller whose guard failed.
#[derive(Clone, Debug, Default)]
pub struct Conflict {
    /// What the caller's write ran into.
    pub message: String,
    /// The argument that no longer holds, where it is one.
    pub field: Option<&'static str>,
    /// The file's present version, where `expectedVersion` failed.
    pub current_version: Option<i32>,
    /// The project's present revision, where `expectedRevision` failed.
    pub current_revision: Option<i32>,
    /// Lower-case hex SHA-256 of the file's present content, where there is one.
    pub current_hash: Option<String>,
    /// How much text the streaming message has, in bytes, where that is not where a chunk begins.
    pub current_length: Option<i32>,
    /// The paths in question, where there are several.
    pub paths: Vec<String>,
    /// What comes of bringing both changes of a text together.
    pub merge: Option<Merge>,
    /// The files that differ, where the guard was on the whole project.
    pub files: Vec<FileConflict>,
}

/// One file in which a sync ran into another write.
#[derive(Clone, Debug)]
pub struct FileConflict {
    /// Where it is.
    pub path: String,
    /// Its present version; `None` where it is gone.
    pub current_version: Option<i32>,
    /// Lower-case hex SHA-256 of its present content.
    pub current_hash: Option<String>,
    /// What comes of bringing both changes of a text together.
    pub merge: Option<Merge>,
}

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A `BadInput` for the argument at `field`.
    pub fn bad_input(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::BadInput { field: field.into(), message: message.into() }
    }

    /// An `Internal` from anything that can describe itself to the log.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }

    /// A `NotFound` for the `noun` that the argument `field` names.
    pub fn not_found(noun: &'static str, field: impl Into<String>) -> Self {
        Self::NotFound { noun, field: field.into() }
    }

    /// A `PayloadTooLarge` for the argument at `field`.
    pub fn too_large(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::PayloadTooLarge { field: Some(field.into()), message: message.into() }
    }

    /// A `RateLimited` for somebody who has waited for others for `--database-acquire-seconds`; `what` they were first at.
    pub fn busy(what: &str, waited: Duration) -> Self {
        let seconds = waited.as_secs();
        let message = format!("{what} for {seconds} seconds (--database-acquire-seconds): try again in {seconds} s.");
        Self::RateLimited { message, retry_after: Some(seconds) }
    }

    /// A `Conflict` of the argument `field` with what is there.
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
            Self::Unavailable(_) | Self::Internal(_) => "INTERNAL",
        }
    }

    /// What only the log may read, of an error that clients see as `INTERNAL`.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Unavailable(cause) | Self::Internal(cause) => Some(cause),
            _ => None,
        }
    }

    /// Whether the same may work later, for a listener who can wait: the database is away or busy.
    pub fn is_passing(&self) -> bool {
        self.cause().is_some() || matches!(self, Self::RateLimited { .. })
    }

    /// The text a client may read.
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
            Self::PositionLost(Position::Revision(revision)) => format!(
                "This position is not in the project's log, which is at revision {revision}: read the project again, and \
                 listen from there."
            ),
            Self::PositionLost(Position::Length(length)) => {
                format!("The message has no more than {length} bytes: forget its text, and listen from the beginning.")
            }
            Self::Unavailable(_) | Self::Internal(_) => {
                "Something went wrong on our side; the request id finds it in the log.".to_owned()
            }
        }
    }

    /// The same error, named for the argument at `field` where it is a `BadInput` (whose own path goes below it).
    pub fn under(self, parent: &str) -> Self {
        match self {
            Self::BadInput { field, message } => Self::BadInput { field: format!("{parent}.{field}"), message },
            other => other,
        }
    }
}
