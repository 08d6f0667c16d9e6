//! HTTP requests that are refused before they become operations.

use axum::http::{HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER};

use crate::{model::error::Error, transport::throttle::TooOften};

/// A request that was refused before it became an operation.
pub(in crate::transport) struct Refusal {
    pub(in crate::transport) status: StatusCode,
    pub(in crate::transport) error: Error,
    pub(in crate::transport) header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(in crate::transport) fn new(status: StatusCode, error: Error) -> Box<Self> {
        Box::new(Self { status, error, header: None })
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
            Error::RateLimited { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, error).with(RETRY_AFTER, "1"),
            Error::PayloadTooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error),
            error => Self::internal(error),
        }
    }

    pub(in crate::transport) fn rate_limited(refused: TooOften) -> Box<Self> {
        let header = Some((RETRY_AFTER, refused.retry_after.into()));
        Box::new(Self { status: StatusCode::TOO_MANY_REQUESTS, error: refused.error, header })
    }
}
