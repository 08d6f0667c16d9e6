//! The caller of a request, and the response to a request that is refused.

use axum::{
    http::{
        HeaderMap, StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::Response,
};

use super::{media::Media, refusal::Refusal, respond::reply};
use crate::{
    model::actor::Actor,
    transport::{
        auth,
        operation::{self, Outcome},
        state::AppState,
        throttle::Address,
    },
};

/// The actor of the request's token, if there is a token.
pub(in crate::transport) async fn caller(
    state: &AppState,
    headers: &HeaderMap,
    address: Option<Address>,
) -> Result<Option<Actor>, Box<Refusal>> {
    let verified = match auth::bearer(headers) {
        Ok(Some(token)) => state.sign_in(token).await,
        Ok(None) => return Ok(None),
        Err(error) => Err(error),
    };
    match verified {
        Ok(actor) => Ok(Some(actor)),
        Err(error) if error.is_passing() => {
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).with(RETRY_AFTER, "10"))
        }
        Err(error) => {
            state.throttle.failed(address).map_err(Refusal::rate_limited)?;
            Err(Refusal::new(StatusCode::UNAUTHORIZED, error).with(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""))
        }
    }
}

/// The response to a refused request.
pub(super) fn refuse(media: Media, refusal: &Refusal, id: &str) -> Response {
    let mut response = reply(refusal.status, media, Outcome::from(operation::refusal(&refusal.error, id)), Vec::new());
    response.headers_mut().extend(refusal.header.clone());
    response
}
