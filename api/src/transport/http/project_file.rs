//! `GET /projects/{id}/project.antiphon`: the owner downloads a whole project as one file. With `Accept: multipart/mixed`
//! the progress precedes the file.

use std::{env, fs::File, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{ConnectInfo, Path, State},
    http::{
        HeaderMap, HeaderName, Method, StatusCode,
        header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use futures::stream;
use serde_json::json;
use tokio::{
    io::AsyncReadExt,
    pin, select,
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::Instrument;

use super::{
    caller::{caller, refuse},
    media::Media,
    refusal::Refusal,
    writer::{BodyWriter, written},
};
use crate::{
    domain::import_export::{
        project_file::{Export, SUFFIX, no_temporary_file},
        scratch::{Scratch, remove_abandoned},
    },
    model::{error::Error, ids::ProjectId},
    transport::{
        accept,
        operation::{self, Outcome},
        slots::{Slot, Slots},
        state::{AppState, RequestId},
        throttle::Address,
    },
};

/// The registered type of SQLite files.
const FILE_TYPE: &str = "application/vnd.sqlite3";

/// How often the progress is sent. Proxies close connections that are silent for long.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

/// Size of the pieces of a file, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Exports of all users that are made at once, and of one user that are made or sent.
const MAX_RUNNING: (usize, usize) = (4, 1);

/// How long an export waits for the others.
const WAIT_TIME: Duration = Duration::from_secs(5);

/// Limits the exports of a server, and removes the files that those of a killed server left.
pub fn exports() -> Arc<Slots> {
    remove_abandoned(&env::temp_dir());
    Arc::new(Slots::new(MAX_RUNNING, WAIT_TIME, "export"))
}

/// Handles `/projects/{id}/project.antiphon`.
pub async fn project_file(
    State(state): State<AppState>,
    Extension(RequestId(id)): Extension<RequestId>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(project): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let address = state.throttle.address(peer.ip(), &headers);
    match answer(&state, &project, (&method, &headers), address, &id).await {
        Ok(response) => response,
        Err(refusal) => refuse(Media::Json, &refusal, &id),
    }
}

async fn answer(
    state: &AppState,
    project: &str,
    (method, headers): (&Method, &HeaderMap),
    address: Option<Address>,
    id: &str,
) -> Result<Response, Box<Refusal>> {
    let actor = caller(state, headers, address).await?;
    state.throttle.admit(actor.as_ref(), address, 1).map_err(Refusal::rate_limited)?;
    let actor = actor.ok_or_else(|| {
        let error = Error::Unauthenticated("Sign in: send a token as `Authorization: Bearer …`.".to_owned());
        Refusal::new(StatusCode::UNAUTHORIZED, error).with(WWW_AUTHENTICATE, "Bearer")
    })?;
    let project = ProjectId::parse(project, "id")?;
    let mut slot = state.exports.take(actor.user_id).await?;
    let export = Export::begin(&state.services, &actor, project).await?;
    let attachment = format!("attachment; filename=\"{}.{SUFFIX}\"", project.0);
    let cached = [(CACHE_CONTROL, "no-store")];
    if prefers_parts(headers) {
        let boundary = hex::encode(rand::random::<[u8; 16]>());
        let content_type = [(CONTENT_TYPE, format!("multipart/mixed; boundary={boundary}"))];
        // nginx and similar proxies would buffer the progress.
        let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
        if method == Method::HEAD {
            return Ok((cached, unbuffered, content_type, of_unknown_length()).into_response());
        }
        let id = id.to_owned();
        let body = written(move |body| {
            let parts = Parts { body, boundary, attachment, id, slot };
            parts.write(export).in_current_span()
        });
        return Ok((cached, unbuffered, content_type, body).into_response());
    }
    let headers = [(CONTENT_TYPE, FILE_TYPE.to_owned()), (CONTENT_DISPOSITION, attachment)];
    if method == Method::HEAD {
        return Ok((cached, headers, of_unknown_length()).into_response());
    }
    let made = Made::by(export, &mut |_, _| ()).await?;
    slot.release_shared();
    let length = [(CONTENT_LENGTH, made.bytes.to_string())];
    let body = written(async move |body: BodyWriter| {
        let _slot = slot;
        made.write(&body).await
    });
    Ok((cached, headers, length, body).into_response())
}

/// The body of a response to HEAD, whose length is known only when the file is made: hyper would send the length of an empty
/// body.
fn of_unknown_length() -> Body {
    Body::from_stream(stream::empty::<io::Result<Vec<u8>>>())
}

/// Whether a client names the type with the progress, and does not prefer the plain file.
fn prefers_parts(headers: &HeaderMap) -> bool {
    let weight = |name: &str| {
        let named = accept::ranges(headers).filter(|range| range.is(name));
        named.map(|range| range.weight).reduce(f32::max).unwrap_or_default()
    };
    let parts = weight("multipart/mixed");
    parts > 0.0 && parts >= weight(FILE_TYPE)
}

/// An exported project. Its file has no name any more, and is gone when it is closed.
struct Made {
    file: File,
    bytes: u64,
}

impl Made {
    async fn by(export: Export, report: &mut (dyn FnMut(u64, u64) + Send + Sync)) -> Result<Self, Error> {
        let cannot = |error: io::Error| no_temporary_file(&error);
        // The system's folder for temporary files can have very many entries.
        let folder =
            tokio::task::spawn_blocking(Scratch::new_temporary).await.map_err(Error::internal)?.map_err(cannot)?;
        let path = folder.path().join("project").with_extension(SUFFIX);
        export.write(&path, report).await?;
        let file = File::open(&path).map_err(cannot)?;
        let bytes = file.metadata().map_err(cannot)?.len();
        Ok(Self { file, bytes })
    }

    async fn write(self, body: &BodyWriter) -> Option<()> {
        let mut file = tokio::fs::File::from_std(self.file);
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            if file.read_buf(&mut piece).await.ok()? == 0 {
                return Some(());
            }
            body.write(piece).await?;
        }
    }
}

/// A body with parts (RFC 2046, section 5.1): the progress, and then the file or an error.
struct Parts {
    body: BodyWriter,
    boundary: String,
    /// The `Content-Disposition` of the file.
    attachment: String,
    /// The request's id.
    id: String,
    slot: Slot,
}

impl Parts {
    async fn write(mut self, export: Export) -> Option<()> {
        let (sender, progress) = watch::channel((0, None));
        let mut report = |rows, total| {
            sender.send_replace((rows, Some(total)));
        };
        let made = {
            let making = Made::by(export, &mut report);
            pin!(making);
            let mut ticks = interval(PROGRESS_PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                select! {
                    biased;
                    made = &mut making => break made,
                    () = self.body.closed() => return None,
                    _ = ticks.tick() => {
                        let progress = *progress.borrow();
                        self.write_progress(progress).await?;
                    }
                }
            }
        };
        self.slot.release_shared();
        match made {
            Ok(made) => {
                let progress = *progress.borrow();
                self.write_progress(progress).await?;
                let head = format!(
                    "--{}\r\nContent-Type: {FILE_TYPE}\r\nContent-Disposition: {}\r\nContent-Length: {}\r\n\r\n",
                    self.boundary, self.attachment, made.bytes
                );
                self.body.write(head.into_bytes()).await?;
                made.write(&self.body).await?;
                self.body.write(b"\r\n".to_vec()).await?;
            }
            Err(error) => {
                let outcome = Outcome::from(operation::refusal(&error, &self.id));
                self.write_json(&serde_json::to_value(&outcome).ok()?).await?;
            }
        }
        self.body.write(format!("--{}--\r\n", self.boundary).into_bytes()).await
    }

    /// Sends the number of copied rows and of all, which is null until it is known.
    async fn write_progress(&self, (rows, total): (u64, Option<u64>)) -> Option<()> {
        self.write_json(&json!({ "rows": rows, "totalRows": total })).await
    }

    async fn write_json(&self, value: &serde_json::Value) -> Option<()> {
        let part = format!("--{}\r\nContent-Type: application/json\r\n\r\n{value}\r\n", self.boundary);
        self.body.write(part.into_bytes()).await
    }
}
