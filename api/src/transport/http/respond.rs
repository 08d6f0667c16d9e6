//! Runs the operations of a request and responds with their results.

use std::panic::AssertUnwindSafe;

use async_graphql::{Request, parser::types::OperationType};
use axum::{
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use serde::Serialize;
use tracing::Instrument;

use super::{batch::Batch, media::Media, refusal::Refusal};
use crate::{
    domain::profile,
    graphql::{context, documents::Keep, execution},
    model::{actor::Actor, error::Error, memory::Taken},
    transport::{
        operation::{self, Outcome},
        state::AppState,
    },
};

/// Runs the operations in a separate task, so that a client that disconnects cannot cancel them halfway.
pub(super) async fn respond(
    state: &AppState,
    batch: Batch,
    actor: Option<Actor>,
    memory: Taken,
    media: Media,
    id: &str,
) -> Result<Response, Box<Refusal>> {
    let run = run(state.clone(), batch.requests, actor, id.to_owned());
    let run = async {
        let _memory = memory;
        run.await
    };
    let outcomes = state.tasks.spawn(run.in_current_span()).await;
    let mut outcomes = outcomes.map_err(|error| Refusal::internal(Error::internal(error)))?;
    if batch.is_array {
        return Ok(reply(StatusCode::OK, media, &outcomes));
    }
    let outcome = outcomes.pop();
    let outcome = outcome.ok_or_else(|| Refusal::internal(Error::internal("an operation had no outcome")))?;
    let mut response = reply(status(&outcome, media), media, &outcome);
    if let Some(seconds) = outcome.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if let Outcome::Ran(answer) = outcome {
        response.headers_mut().extend(answer.http_headers);
    }
    Ok(response)
}

/// Runs the operations of one request in order, so that each sees the writes of the previous one.
pub(super) async fn run(state: AppState, requests: Vec<Request>, actor: Option<Actor>, id: String) -> Vec<Outcome> {
    let run = async {
        let mut outcomes = Vec::with_capacity(requests.len());
        for request in requests {
            let outcome = AssertUnwindSafe(run_one(&state, request, actor.as_ref(), &id)).catch_unwind().await;
            outcomes.push(outcome.unwrap_or_else(|panic| operation::panicked(&*panic, &id).into()));
        }
        outcomes
    };
    // Update the profile from the token first: an operation can read it.
    if let Some(actor) = &actor {
        profile::meet(&state.services, actor).await;
    }
    run.await
}

async fn run_one(state: &AppState, mut request: Request, actor: Option<&Actor>, id: &str) -> Outcome {
    let (kind, name) = match operation::prepare(&mut request, &state.documents, &state.limits) {
        Ok(prepared) => prepared,
        Err(error) => {
            let outcome = error.into();
            state.refused(&outcome);
            return outcome;
        }
    };
    if kind == OperationType::Subscription {
        let error = Error::bad_input(
            "query",
            "Send subscriptions by WebSocket to /graphql/ws, or here with `Accept: text/event-stream`.",
        );
        return operation::refusal(&error, id).into();
    }
    let mut measured = state.measure(kind, name.as_deref(), actor.is_some(), id);
    let keep = Keep::of(&request).cloned();
    let document = operation::document_of(&request);
    let request = context::attach(request, &state.services, &state.executor.live, actor.cloned(), None);
    let response = measured.run(execution::run(&state.executor.schema, &state.limits, request)).await;
    let outcome = operation::settle(response, document.as_ref(), name.as_deref(), id);
    if let (Some(keep), Outcome::Ran(_)) = (keep, &outcome) {
        keep.keep();
    }
    measured.ended(outcome.code());
    outcome
}

/// The HTTP status of an outcome (the draft's section "Status Codes").
fn status(outcome: &Outcome, media: Media) -> StatusCode {
    if outcome.refused_for("INTERNAL") {
        StatusCode::INTERNAL_SERVER_ERROR
    } else if outcome.refused_for("UNAVAILABLE") {
        StatusCode::SERVICE_UNAVAILABLE
    } else if media == Media::Json || matches!(outcome, Outcome::Ran(_)) {
        StatusCode::OK
    } else if outcome.refused_for("RATE_LIMITED") {
        StatusCode::TOO_MANY_REQUESTS
    } else if outcome.failed_validation() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::BAD_REQUEST
    }
}

pub(super) fn reply(status: StatusCode, media: Media, body: &impl Serialize) -> Response {
    let content_type = match media {
        Media::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        Media::Json => "application/json; charset=utf-8",
    };
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot serialize the response as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
