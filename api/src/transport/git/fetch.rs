//! Clones and fetches: `git upload-pack` does the work.

use std::sync::Arc;
use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    access::Caller,
    packet::{FLUSH, line},
    refusal::Refusal,
    shared::Git,
};
use crate::{
    domain::import_export::git_cache::{MAX_SERVE_TIME, Repository},
    model::{error::Error, memory::Taken},
    transport::{http::body::read_whole, slots::Slot},
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
    let mut process = repository.upload_pack(false, protocol(&caller.headers))?;
    let mut input = process.stdin.take().ok_or_else(|| Error::internal("no pipe to git"))?;
    // Writes as fast as git reads. If git ends early, the reader of its output reports it.
    tokio::spawn(async move {
        let _memory = memory;
        let _ = input.write_all(&asked).await;
    });
    Ok(response("application/x-git-upload-pack-result", Body::from_stream(output(process, repository, slot))))
}

/// The output of a process while the client reads it. If the client disconnects, the process is stopped.
fn output(
    mut process: Child,
    repository: Repository,
    slot: Slot,
) -> impl futures::Stream<Item = std::io::Result<Bytes>> {
    async_stream::try_stream! {
        let _slot = slot;
        let deadline = Instant::now() + MAX_SERVE_TIME;
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let mut output = process.stdout.take().ok_or_else(|| std::io::Error::other("no pipe from git"))?;
        loop {
            let mut part = Vec::with_capacity(PART_BYTES);
            if timeout_at(deadline, output.read_buf(&mut part)).await.map_err(late)?? == 0 {
                break;
            }
            yield Bytes::from(part);
        }
        let mut errors = String::new();
        if let Some(stderr) = process.stderr.take() {
            let _ = stderr.take(LOGGED_BYTES).read_to_string(&mut errors).await;
        }
        let status = timeout_at(deadline, process.wait()).await.map_err(late)??;
        if !status.success() {
            tracing::debug!(cause = errors.trim(), "git upload-pack failed");
            repository.distrust();
            Err(std::io::Error::other("git upload-pack failed"))?;
        }
    }
}

/// A successful response, which must not be cached.
pub(super) fn response(media_type: &'static str, body: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-cache")], body.into()).into_response()
}
