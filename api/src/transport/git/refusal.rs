//! Refused requests of git clients. The responses are texts, which git prints.

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};

pub(super) use crate::transport::http::refusal::Refusal;
use crate::{model::error::Error, transport::operation};

/// A refusal with a text.
pub(super) fn text(status: StatusCode, message: &str) -> Box<Refusal> {
    Refusal::new(status, Error::bad_input("", message))
}

/// A refusal that makes git ask for a user name and a password.
pub(super) fn unauthenticated(error: Error) -> Box<Refusal> {
    Refusal::new(StatusCode::UNAUTHORIZED, error).with(WWW_AUTHENTICATE, "Basic realm=\"Antiphon\", charset=\"UTF-8\"")
}

/// The response to a refused request.
pub(super) fn respond(refusal: &Refusal, id: &str) -> Response {
    let message = format!("{}\n", operation::refusal(&refusal.error, id).message);
    let plain = (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let mut response = (refusal.status, [plain], message).into_response();
    response.headers_mut().extend(refusal.header.clone());
    response
}

impl From<Error> for Box<Refusal> {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::NotFound { .. } => StatusCode::NOT_FOUND,
            Error::PayloadTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::RateLimited { .. } | Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::MayBeStored | Error::ReadOnly(_) => {
                return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).with(RETRY_AFTER, "10");
            }
            Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Refusal::new(status, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_names_a_time_has_it_in_the_header() {
        for (retry_after, header) in [(Some(30), "30"), (Some(120), "120"), (None, "10")] {
            let error = Error::RateLimited { message: "Try again.".to_owned(), retry_after };
            let response = respond(&Box::<Refusal>::from(error), "id");
            assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), header);
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}
