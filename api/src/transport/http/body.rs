//! Bodies of requests: reads and decompresses them, within limits.

use axum::{
    body::{Body, BodyDataStream, Bytes},
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, EXPECT},
    },
};
use futures::StreamExt;
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::{media::require_json, refusal::Refusal};
use crate::{
    domain::heavy,
    model::{error::Error, memory::Taken},
    transport::{
        coding::{self, Coding, Failure},
        state::AppState,
    },
};

/// Timeout for the next chunk of a request body.
const PIECE_TIME: Duration = Duration::from_secs(30);

/// The work of a decoder takes as much memory as work on this many bytes. It is mostly the window; the output is
/// counted.
const DECODER_BYTES: usize = 2 * 1024 * 1024;

/// The longest body, before and after decompression, that is decompressed at once.
const SHORT_BODY_BYTES: usize = 64 * 1024;

/// A body over the size limit is read for up to this time and this multiple of the limit, and discarded: a client that
/// is still writing when the connection closes sees a reset instead of the response.
const DRAIN_TIME: Duration = Duration::from_secs(5);
const DRAIN_FACTOR: usize = 4;

/// Reads and decompresses a JSON body.
pub(in crate::transport) async fn read_json(
    state: &AppState,
    headers: &HeaderMap,
    body: Body,
    is_signed_in: bool,
    memory: &mut Taken,
) -> Result<Bytes, Box<Refusal>> {
    require_json(headers)?;
    read_whole(state, headers, body, is_signed_in, memory).await
}

/// Reads and decompresses a body.
pub(in crate::transport) async fn read_whole(
    state: &AppState,
    headers: &HeaderMap,
    body: Body,
    is_signed_in: bool,
    memory: &mut Taken,
) -> Result<Bytes, Box<Refusal>> {
    let coding = coding_of(headers)?;
    let limit = BodyLimit::of(state, is_signed_in);
    let body = read_body(state, headers, body, &limit, memory).await?;
    match coding {
        Some(coding) => decompress(state, coding, body, &limit, memory).await,
        None => Ok(body),
    }
}

/// The size limit of a body, before and after decompression.
struct BodyLimit {
    bytes: usize,
    setting: &'static str,
}

impl BodyLimit {
    fn of(state: &AppState, is_signed_in: bool) -> Self {
        let limits = &state.limits;
        if is_signed_in || limits.max_anonymous_body_bytes >= limits.max_body_bytes {
            Self { bytes: limits.max_body_bytes, setting: "--max-body-bytes" }
        } else {
            let setting = "without a token; --max-anonymous-body-bytes";
            Self { bytes: limits.max_anonymous_body_bytes, setting }
        }
    }

    fn exceeded(&self) -> Box<Refusal> {
        let message = format!("The request body has more than {} bytes ({}).", self.bytes, self.setting);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Error::PayloadTooLarge { field: None, message })
    }
}

/// Decompresses a body outside the threads that serve requests. A body that is short before and after does not wait for
/// a turn.
async fn decompress(
    state: &AppState,
    coding: Coding,
    body: Bytes,
    limit: &BodyLimit,
    memory: &mut Taken,
) -> Result<Bytes, Box<Refusal>> {
    let all = state.services.memory.clone();
    let short = limit.bytes.min(SHORT_BODY_BYTES);
    let mut plain = Err(Failure::TooLong);
    if body.len() <= SHORT_BODY_BYTES {
        plain = coding.decompress(&body, short, |plain, more| all.grow(memory, plain, more));
    }
    if matches!(plain, Err(Failure::TooLong)) && (short < limit.bytes || body.len() > SHORT_BODY_BYTES) {
        let (mut taken, bytes) = (std::mem::take(memory), limit.bytes);
        let work = move || {
            let plain = coding.decompress(&body, bytes, |plain, more| all.grow(&mut taken, plain, more));
            (plain, taken)
        };
        (plain, *memory) = heavy::run(DECODER_BYTES, work).await.map_err(Refusal::failed)?;
    }
    match plain {
        Ok(plain) => Ok(plain.into()),
        Err(Failure::TooLong) => Err(limit.exceeded()),
        Err(Failure::Damaged(error)) => Err(Refusal::new(StatusCode::BAD_REQUEST, error)),
        Err(Failure::NoMemory(error)) => Err(Refusal::failed(error)),
    }
}

/// The coding of a body; `None` if it is not compressed.
pub(in crate::transport) fn coding_of(headers: &HeaderMap) -> Result<Option<Coding>, Box<Refusal>> {
    Coding::of(headers).map_err(|error| {
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error).with(ACCEPT_ENCODING, coding::ACCEPTED)
    })
}

/// Reads a body as it is sent.
async fn read_body(
    state: &AppState,
    headers: &HeaderMap,
    body: Body,
    body_limit: &BodyLimit,
    memory: &mut Taken,
) -> Result<Bytes, Box<Refusal>> {
    let limit = body_limit.bytes;
    let deadline = Instant::now() + Duration::from_secs(state.limits.max_body_seconds);
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut stream = body.into_data_stream();
    if declared.is_none_or(|declared| declared <= limit) {
        let mut bytes = Vec::new();
        loop {
            match timeout_at(deadline.min(Instant::now() + PIECE_TIME), stream.next()).await {
                Ok(None) => return Ok(bytes.into()),
                Ok(Some(Ok(chunk))) if chunk.len() <= limit - bytes.len() => {
                    state.services.memory.grow(memory, &mut bytes, chunk.len()).map_err(Refusal::failed)?;
                    bytes.extend_from_slice(&chunk);
                }
                Ok(Some(Ok(_))) => break,
                Ok(Some(Err(_))) => {
                    return Err(Refusal::new(StatusCode::BAD_REQUEST, Error::bad_input("", "The body is incomplete.")));
                }
                Err(_) => {
                    let error = Error::bad_input("", "The body did not arrive in time (--max-body-seconds).");
                    return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, error).with(CONNECTION, "close"));
                }
            }
        }
    }
    let refusal = body_limit.exceeded();
    // With `Expect: 100-continue` do not drain: reading would make hyper send 100 Continue.
    let is_whole = !headers.contains_key(EXPECT)
        && timeout(DRAIN_TIME, drain(stream, limit.saturating_mul(DRAIN_FACTOR))).await == Ok(true);
    // The rest of the body would be read as the next request.
    Err(if is_whole { refusal } else { refusal.with(CONNECTION, "close") })
}

/// Reads and discards a body. Returns whether it ended within the limit.
async fn drain(mut stream: BodyDataStream, mut left: usize) -> bool {
    while let Some(Ok(chunk)) = stream.next().await {
        if chunk.len() > left {
            return false;
        }
        left -= chunk.len();
    }
    true
}
