//! The body of a push, as it arrives, decompressed and within limits.

use std::io::Write;
use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream, Bytes},
    http::{HeaderMap, StatusCode, header::CONNECTION},
};
use flate2::write::MultiGzDecoder;
use futures::StreamExt;
use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::refusal::{Refusal, text};
use crate::{
    domain::import_export::git_cache::MAX_SERVE_TIME,
    model::error::Error,
    transport::{coding::Coding, http::body::coding_of},
};

/// Timeout for the next part.
const PART_TIME: Duration = Duration::from_secs(60);

/// The most bytes that are decompressed at once. They can become a thousand times as many.
const PIECE_BYTES: usize = 4 * 1024;

/// The body of a push.
pub(super) struct Upload {
    parts: BodyDataStream,
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
    /// What has arrived and is not decompressed yet.
    compressed: Bytes,
    deadline: Instant,
}

/// The refusal of a body that breaks off.
fn incomplete() -> Box<Refusal> {
    Refusal::new(StatusCode::BAD_REQUEST, Error::bad_input("", "The body is incomplete."))
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
        let (compressed, deadline) = (Bytes::new(), Instant::now() + MAX_SERVE_TIME);
        Ok(Self { parts: body.into_data_stream(), decoder, compressed, deadline })
    }

    /// The next part; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Box<Refusal>> {
        if self.decoder.is_some() && self.compressed.is_empty() {
            match self.arrived().await? {
                Some(part) => self.compressed = part,
                None => {
                    let finished = self.decoder.take().map(MultiGzDecoder::finish).transpose();
                    return finished.map(|rest| rest.map(Bytes::from)).map_err(|_| incomplete());
                }
            }
        }
        let Some(decoder) = &mut self.decoder else { return self.arrived().await };
        // Many pieces can have arrived at once.
        yield_now().await;
        let piece = self.compressed.split_to(PIECE_BYTES.min(self.compressed.len()));
        decoder.write_all(&piece).and_then(|()| decoder.flush()).map_err(|_| incomplete())?;
        Ok(Some(std::mem::take(decoder.get_mut()).into()))
    }

    /// The next part as it arrives.
    async fn arrived(&mut self) -> Result<Option<Bytes>, Box<Refusal>> {
        let deadline = self.deadline.min(Instant::now() + PART_TIME);
        match timeout_at(deadline, self.parts.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(part))) => Ok(Some(part)),
            Ok(Some(Err(_))) => Err(incomplete()),
            Err(_) => {
                let refusal = text(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time.");
                Err(refusal.with(CONNECTION, "close"))
            }
        }
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
