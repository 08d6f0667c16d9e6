//! HTTP requests that are refused before they become operations.

use axum::http::{HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER};

use crate::{model::error::Error, transport::throttle::TooOften};

/// When to try again if the error does not know, in seconds.
const TRY_AGAIN_SECONDS: u64 = 10;

/// A request that was refused before it became an operation.
pub(in crate::transport) struct Refusal {
    pub(in crate::transport) status: StatusCode,
    pub(in crate::transport) error: Error,
    pub(in crate::transport) header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// An error that passes says in the header when to try again.
    pub(in crate::transport) fn new(status: StatusCode, error: Error) -> Box<Self> {
        let seconds = match &error {
            Error::RateLimited { retry_after, .. } => Some(retry_after.unwrap_or(TRY_AGAIN_SECONDS)),
            Error::Unavailable(_) => Some(TRY_AGAIN_SECONDS),
            _ => None,
        };
        let header = seconds.map(|seconds| (RETRY_AFTER, seconds.into()));
        Box::new(Self { status, error, header })
    }

    pub(in crate::transport) fn with(mut self: Box<Self>, name: HeaderName, value: &'static str) -> Box<Self> {
        self.header = Some((name, HeaderValue::from_static(value)));
        self
    }

    pub(in crate::transport) fn internal(error: Error) -> Box<Self> {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    /// The error of work for the request.
    pub(in crate::transport) fn failed(error: Error) -> Box<Self> {
        match error {
            Error::RateLimited { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, error),
            Error::PayloadTooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error),
            error => Self::internal(error),
        }
    }

    pub(in crate::transport) fn rate_limited(refused: TooOften) -> Box<Self> {
        Self::new(StatusCode::TOO_MANY_REQUESTS, refused.error)
    }
}
