//! Clones and fetches: `git upload-pack` does the work.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use futures::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    access::Caller,
    packet::{FLUSH, are_lines, line},
    refusal::{Refusal, text},
    shared::Git,
};
use crate::{
    domain::import_export::git_cache::{MAX_SERVE_TIME, Repository},
    model::{error::Error, memory::Taken},
    transport::{http::body::read_whole, measure::Measured, operation::INTERNAL, slots::Slot},
};

/// How long git takes at most to list the references.
const LIST_TIME: Duration = Duration::from_secs(30);

/// Size of the parts of a response, in bytes.
const PART_BYTES: usize = 64 * 1024;

/// Bytes of git's error output that are logged.
const LOGGED_BYTES: u64 = 4 * 1024;

/// The protocol version that the client asks for, if it is one that git knows.
fn protocol(headers: &HeaderMap) -> Option<&str> {
    let asked = headers.get("git-protocol").and_then(|value| value.to_str().ok())?;
    asked.split(':').find(|part| ["version=0", "version=1", "version=2"].contains(part))
}

/// The references of a repository.
pub(super) async fn references(git: &Arc<Git>, caller: &Caller) -> Result<Response, Box<Refusal>> {
    let _slot = git.slots.take(caller.actor.user_id).await?;
    let repository = caller.repository(git).await?;
    let protocol = protocol(&caller.headers);
    let listing = repository.upload_pack(true, protocol)?.wait_with_output();
    let listed = timeout(LIST_TIME, listing).await.map_err(Error::internal)?.map_err(Error::internal)?;
    if !listed.status.success() {
        repository.distrust();
        let cause = String::from_utf8_lossy(&listed.stderr);
        return Err(Error::internal(format!("git upload-pack: {}", cause.trim())).into());
    }
    let mut body = Vec::new();
    if protocol != Some("version=2") {
        body.extend_from_slice(&line("# service=git-upload-pack\n"));
        body.extend_from_slice(FLUSH);
    }
    body.extend_from_slice(&listed.stdout);
    Ok(response("application/x-git-upload-pack-advertisement", body))
}

/// A step of a clone or a fetch.
pub(super) async fn upload_pack(git: &Arc<Git>, caller: &Caller, body: Body) -> Result<Response, Box<Refusal>> {
    caller.require_type("application/x-git-upload-pack-request")?;
    let slot = git.slots.take(caller.actor.user_id).await?;
    let repository = caller.repository(git).await?;
    let mut memory = Taken::default();
    let asked = read_whole(&caller.state, &caller.headers, body, true, &mut memory).await?;
    if !are_lines(&asked) {
        return Err(text(StatusCode::BAD_REQUEST, "The body is not a request of a git client."));
    }
    let mut process = repository.upload_pack(false, protocol(&caller.headers))?;
    let mut input = process.stdin.take().ok_or_else(|| Error::internal("no pipe to git"))?;
    // Writes as fast as git reads. If git ends early, the reader of its output reports it.
    tokio::spawn(async move {
        let _memory = memory;
        let _ = input.write_all(&asked).await;
    });
    let output = output(process, repository, slot, caller.measured.clone());
    Ok(response("application/x-git-upload-pack-result", Body::from_stream(output)))
}

/// The output of a process while the client reads it. If the client disconnects, the process is stopped. If the process
/// fails, the response ends where it is: git clients see that it is incomplete. If there is no output, they get an error.
fn output(
    mut process: Child,
    repository: Repository,
    slot: Slot,
    measured: Arc<Measured>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    async_stream::stream! {
        let _slot = slot;
        let deadline = Instant::now() + MAX_SERVE_TIME;
        let (mut output, mut errors) = (process.stdout.take(), process.stderr.take());
        let mut beginning = Bytes::new();
        let mut has_ended = false;
        while let Some(output) = &mut output && !has_ended {
            let mut part = Vec::with_capacity(PART_BYTES);
            let read = timeout_at(deadline, output.read_buf(&mut part)).await;
            has_ended = !matches!(read, Ok(Ok(1..)));
            if !has_ended {
                let part = Bytes::from(part);
                if beginning.is_empty() {
                    beginning = part.clone();
                }
                yield Ok(part);
            }
        }
        let mut said = String::new();
        if let Some(errors) = &mut errors {
            let _ = timeout_at(deadline, errors.take(LOGGED_BYTES).read_to_string(&mut said)).await;
        }
        // A process that writes more must not wait for a reader.
        drop(errors);
        if matches!(timeout_at(deadline, process.wait()).await, Ok(Ok(status)) if status.success()) {
            return;
        }
        let failure = Failure::of(&beginning, said.trim());
        measured.ended(failure.code);
        if failure.code == INTERNAL {
            tracing::warn!(cause = said.trim(), "git upload-pack failed");
            repository.distrust();
        }
        if beginning.is_empty() {
            yield Ok(line(format!("ERR upload-pack: {}", failure.message)).into());
        }
    }
}

/// Why `git upload-pack` has failed.
struct Failure<'s> {
    code: &'static str,
    message: &'s str,
}

/// What git says of requests that it does not understand, after the lines that it can answer itself.
const MISTAKES: [&str; 9] = [
    "protocol error",
    "unexpected line",
    "expected flush",
    "no command",
    "invalid command",
    "unknown capability",
    "unknown object format",
    "mismatched object format",
    "command '",
];

impl<'s> Failure<'s> {
    /// The cause, from the beginning of the output and the error output.
    fn of(output: &[u8], said: &'s str) -> Self {
        let mut fatal = said.lines().filter_map(|line| line.strip_prefix("fatal: "));
        let mistake = fatal.find(|line| MISTAKES.iter().any(|mistake| line.contains(mistake)));
        let is_answered = output.get(4..).is_some_and(|line| line.starts_with(b"ERR "));
        match mistake {
            Some(message) => Self { code: "BAD_USER_INPUT", message },
            None if is_answered => Self { code: "BAD_USER_INPUT", message: "" },
            None => Self { code: INTERNAL, message: "the repository cannot be read now; try again" },
        }
    }
}

/// A successful response, which must not be cached.
pub(super) fn response(media_type: &'static str, body: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-cache")], body.into()).into_response()
}
