//! The body of a push, as it arrives, decompressed and within limits.

use std::io::Write;
use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream, Bytes},
    http::{HeaderMap, StatusCode, header::CONNECTION},
};
use flate2::write::MultiGzDecoder;
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::refusal::{Refusal, text};
use crate::{
    domain::import_export::git_cache::MAX_SERVE_TIME,
    model::error::Error,
    transport::{coding::Coding, http::body::coding_of},
};

/// Timeout for the next part.
const PART_TIME: Duration = Duration::from_secs(60);

/// The body of a push.
pub(super) struct Upload {
    parts: BodyDataStream,
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
    deadline: Instant,
}

impl Upload {
    pub(super) fn new(headers: &HeaderMap, body: Body) -> Result<Self, Box<Refusal>> {
        let decoder = match coding_of(headers)? {
            None => None,
            Some(Coding::Gzip) => Some(MultiGzDecoder::new(Vec::new())),
            Some(_) => {
                return Err(text(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "The body of a push can only be compressed by gzip.",
                ));
            }
        };
        Ok(Self { parts: body.into_data_stream(), decoder, deadline: Instant::now() + MAX_SERVE_TIME })
    }

    /// The next part; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Box<Refusal>> {
        let incomplete = || Refusal::new(StatusCode::BAD_REQUEST, Error::bad_input("", "The body is incomplete."));
        let deadline = self.deadline.min(Instant::now() + PART_TIME);
        let part = match timeout_at(deadline, self.parts.next()).await {
            Ok(None) => {
                let is_complete = self.decoder.take().is_none_or(|decoder| decoder.finish().is_ok());
                return if is_complete { Ok(None) } else { Err(incomplete()) };
            }
            Ok(Some(Ok(part))) => part,
            Ok(Some(Err(_))) => return Err(incomplete()),
            Err(_) => {
                let refusal = text(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time.");
                return Err(refusal.with(CONNECTION, "close"));
            }
        };
        let Some(decoder) = &mut self.decoder else { return Ok(Some(part)) };
        decoder.write_all(&part).map_err(|_| incomplete())?;
        Ok(Some(std::mem::take(decoder.get_mut()).into()))
    }

    /// Reads the rest, so that the client reads the response.
    pub(super) async fn drain(&mut self, mut max_bytes: u64) -> Result<(), Box<Refusal>> {
        while let Some(part) = self.next().await? {
            max_bytes = max_bytes.checked_sub(part.len() as u64).ok_or_else(|| {
                text(StatusCode::PAYLOAD_TOO_LARGE, "The push is too large (MAX_PUSH_BYTES).").with(CONNECTION, "close")
            })?;
        }
        Ok(())
    }
}
