//! Pushes. This server plays the part of `git receive-pack`, whose references are files; git itself checks the objects.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
    response::Response,
};

use futures::Stream;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    access::Caller,
    commands::{BRANCH, Command, Commands, Invalid, ZERO},
    fetch::response,
    packet::{Band, FLUSH, line, on_band},
    refusal::{Refusal, text},
    shared::Git,
    upload::Upload,
};
use crate::{
    domain::{
        Services,
        import_export::{
            git_cache::{MAX_SERVE_TIME, Repository},
            push::{Checked, Refused},
        },
        policy,
    },
    metrics,
    model::{actor::Actor, enums::ProjectStatus, error::Error},
    transport::{measure::Measured, operation::INTERNAL, slots::Slot},
};

/// What the server can do.
const ABILITIES: &str = concat!(
    "report-status side-band-64k delete-refs atomic ofs-delta quiet object-format=sha1 agent=antiphon/",
    env!("CARGO_PKG_VERSION")
);

/// The ability to read a response with several channels.
const BANDS: &str = "side-band-64k";

/// A body over the limit is read up to this multiple of it, and discarded.
const DRAIN_FACTOR: u64 = 4;

/// The branch and the abilities of the server, for a push.
pub(super) async fn references(git: &Arc<Git>, caller: &Caller) -> Result<Response, Box<Refusal>> {
    let _slot = git.slots.take(caller.actor.user_id).await?;
    let repository = writable(git, caller).await?;
    let first = match repository.commit() {
        Some(commit) => format!("{commit} {BRANCH}\0{ABILITIES}\n"),
        None => format!("{ZERO} capabilities^{{}}\0{ABILITIES}\n"),
    };
    let body = [&line("# service=git-receive-pack\n"), FLUSH, &line(first), FLUSH].concat();
    Ok(response("application/x-git-receive-pack-advertisement", body))
}

/// The repository of a project that the caller can write to.
async fn writable(git: &Arc<Git>, caller: &Caller) -> Result<Repository, Box<Refusal>> {
    let repository = caller.repository(git).await?;
    policy::may_write(repository.project.viewer_role)?;
    if repository.project.status == ProjectStatus::Deleted {
        return Err(text(StatusCode::FORBIDDEN, "The project is deleted."));
    }
    Ok(repository)
}

/// A push.
pub(super) async fn receive_pack(git: &Arc<Git>, caller: &Caller, body: Body) -> Result<Response, Box<Refusal>> {
    caller.require_type("application/x-git-receive-pack-request")?;
    let slot = git.slots.take(caller.actor.user_id).await?;
    let repository = writable(git, caller).await?;
    let mut upload = Upload::new(&caller.headers, body)?;
    let mut commands = Commands::default();
    let mut pack = None;
    while pack.is_none()
        && let Some(part) = upload.next().await?
    {
        pack = match commands.add(&part) {
            Ok(pack) => pack,
            Err(Invalid) => {
                upload.drain(git.max_push_bytes).await?;
                return Err(text(StatusCode::BAD_REQUEST, NOT_A_PUSH));
            }
        };
    }
    let pack = pack.ok_or_else(|| text(StatusCode::BAD_REQUEST, NOT_A_PUSH))?;
    // Before it sends a large body, git sends an empty list of commands to see whether it may.
    if commands.list.is_empty() {
        return Ok(response(RESULT, Vec::new()));
    }
    let is_refused = commands.list.iter().any(|command| command.flaw().is_some());
    let branch = commands.list.iter().find(|command| command.flaw().is_none());
    let checked = match branch {
        Some(_) if is_refused && commands.has("atomic") => Err(Refused::because("atomic push failed")),
        Some(branch) => receive(git, caller, &repository, branch, (pack, &mut upload)).await?.map(Some),
        None => Ok(None),
    };
    upload.drain(git.max_push_bytes.saturating_mul(DRAIN_FACTOR)).await?;
    let (git, services, actor) = (git.clone(), caller.state.services.clone(), caller.actor.clone());
    // In a separate task, so that a client that disconnects does not stop it halfway.
    let written = caller.state.tasks.spawn(metrics::inherited(async move {
        match checked? {
            Some(checked) => write(&git, &services, &actor, &repository, checked).await,
            None => Ok(()),
        }
    }));
    let report = report_when_written(commands, written, slot, caller.measured.clone());
    Ok(response(RESULT, Body::from_stream(report)))
}

const NOT_A_PUSH: &str = "The body is not a push.";

const RESULT: &str = "application/x-git-receive-pack-result";

/// Receives the objects of a push, and checks its commits.
async fn receive(
    git: &Arc<Git>,
    caller: &Caller,
    repository: &Repository,
    branch: &Command,
    (pack, upload): (Vec<u8>, &mut Upload),
) -> Result<Result<Checked, Refused>, Box<Refusal>> {
    if branch.old != repository.commit().as_deref().unwrap_or(ZERO) {
        return Ok(Err(Refused::fetch_first()));
    }
    let services = &caller.state.services;
    let mut receiving = git.cache.receive(services, repository, git.max_push_bytes).await?;
    let (mut bytes, mut part) = (0_u64, Some(Bytes::from(pack)));
    while let Some(more) = part {
        bytes += more.len() as u64;
        if bytes > git.max_push_bytes {
            let reason = format!("the push has more than {} bytes (MAX_PUSH_BYTES)", git.max_push_bytes);
            return Ok(Err(Refused::because(reason)));
        }
        if !receiving.write(&more).await {
            break;
        }
        part = upload.next().await?;
    }
    let check = async {
        match receiving.finish().await? {
            Ok(received) => received.check(services, &caller.actor, repository, &branch.new).await,
            Err(refused) => Ok(Err(refused)),
        }
    };
    let checked = match timeout(MAX_SERVE_TIME, check).await {
        Ok(checked) => checked?,
        Err(_) => Err(Refused::because("git has checked the objects for too long")),
    };
    if let Ok(checked) = &checked {
        caller.state.throttle.admit(Some(&caller.actor), None, checked.count()).map_err(Refusal::rate_limited)?;
    }
    Ok(checked)
}

/// Writes the commits, and checks that the repository then contains them unchanged.
async fn write(
    git: &Git,
    services: &Arc<Services>,
    actor: &Actor,
    repository: &Repository,
    checked: Checked,
) -> Result<(), Refused> {
    let commit = checked.commit().to_owned();
    checked.write(services, actor).await.unwrap_or_else(|error| Err(failed(&error)))?;
    let repository = git.cache.open(services, actor, repository.project.id).await.map_err(|error| failed(&error))?;
    if repository.contains(&commit).await.map_err(|error| failed(&error))? {
        return Ok(());
    }
    let explanation = "Fetch, and compare: the commits are stored, but not with the same ids.";
    Err(Refused { code: INTERNAL, ..Refused::because("stored as other commits").explained(explanation) })
}

/// The refusal for an error that is not about the push.
fn failed(error: &Error) -> Refused {
    if let Some(cause) = error.cause() {
        tracing::error!(cause, "a push failed");
    }
    Refused::of(error)
}

/// How often a response shows that the server still works, which git and proxies need.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The report on a push that is being written.
fn report_when_written(
    commands: Commands,
    mut written: JoinHandle<Result<(), Refused>>,
    slot: Slot,
    measured: Arc<Measured>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    async_stream::stream! {
        let _slot = slot;
        loop {
            match timeout(KEEP_ALIVE, &mut written).await {
                Ok(outcome) => {
                    let outcome = outcome.unwrap_or_else(|error| Err(failed(&Error::internal(error))));
                    if let Err(refused) = &outcome {
                        measured.ended(refused.code);
                    } else if commands.list.iter().any(|command| command.flaw().is_some()) {
                        measured.ended("BAD_USER_INPUT");
                    }
                    yield Ok(report(&commands, &outcome).into());
                    break;
                }
                Err(_) if commands.has(BANDS) => yield Ok(line([Band::Data as u8]).into()),
                Err(_) => {}
            }
        }
    }
}

/// The report on a push. The explanation is shown by git.
fn report(commands: &Commands, outcome: &Result<(), Refused>) -> Vec<u8> {
    if !commands.has("report-status") {
        return Vec::new();
    }
    let mut status = line("unpack ok\n");
    for command in &commands.list {
        let reason = match (command.flaw(), outcome) {
            (Some(flaw), _) => Some(flaw),
            (None, Ok(())) => None,
            (None, Err(refused)) => Some(refused.reason.as_str()),
        };
        status.extend(line(match reason {
            None => format!("ok {}\n", command.name),
            Some(reason) => format!("ng {} {}\n", command.name, reason.replace(char::is_control, " ")),
        }));
    }
    status.extend_from_slice(FLUSH);
    if !commands.has(BANDS) {
        return status;
    }
    let explanation =
        outcome.as_ref().err().map(|refused| refused.explanation.as_str()).filter(|text| !text.is_empty());
    let explained = explanation.map(|text| on_band(Band::Message, format!("{}\n", text.trim_end()).as_bytes()));
    [explained.unwrap_or_default(), on_band(Band::Data, &status), FLUSH.to_vec()].concat()
}
