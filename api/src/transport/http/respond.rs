//! Runs the operations of a request and responds with their results.

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_graphql::{Request, parser::types::OperationType};
use axum::{
    body::Body,
    http::{
        HeaderMap, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use tracing::Instrument;

use super::{
    batch::Batch,
    media::Media,
    refusal::Refusal,
    writer::{BodyWriter, written},
};
use crate::{
    domain::{heavy, profile},
    graphql::{
        context::{self, Caller},
        documents::Keep,
        execution,
    },
    model::{actor::Actor, budget::Budget, error::Error, memory::Taken},
    transport::{
        operation::{self, Outcome},
        pieces::Pieces,
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
    let is_array = batch.is_array;
    let run = run(state.clone(), batch, actor, id.to_owned());
    let run = async {
        let _memory = memory;
        run.await
    };
    let outcomes = state.tasks.spawn(run.in_current_span()).await;
    let (mut outcomes, budgets) = outcomes.map_err(|error| Refusal::internal(Error::internal(error)))?;
    if is_array {
        return Ok(reply(StatusCode::OK, media, outcomes, budgets));
    }
    let outcome = outcomes.pop();
    let mut outcome = outcome.ok_or_else(|| Refusal::internal(Error::internal("an operation had no outcome")))?;
    let (status, retry_after) = (status(&outcome, media), outcome.retry_after());
    let headers = match &mut outcome {
        Outcome::Ran(answer) => std::mem::take(&mut answer.http_headers),
        Outcome::Refused { .. } => HeaderMap::new(),
    };
    let mut response = reply(status, media, outcome, budgets);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response.headers_mut().extend(headers);
    Ok(response)
}

/// The budgets of the operations whose results are not sent yet.
pub(in crate::transport) type Budgets = Vec<Arc<Budget>>;

/// Runs the operations of one request in order, so that each sees the writes of the previous one.
pub(super) async fn run(
    state: AppState,
    Batch { requests, bytes, .. }: Batch,
    actor: Option<Actor>,
    id: String,
) -> (Vec<Outcome>, Budgets) {
    let run = async {
        let (mut outcomes, mut budgets) = (Vec::with_capacity(requests.len()), Budgets::new());
        for request in requests {
            let run = run_one(&state, request, bytes, actor.as_ref(), &id, &mut budgets);
            let outcome = AssertUnwindSafe(run).catch_unwind().await;
            outcomes.push(outcome.unwrap_or_else(|panic| operation::panicked(&*panic, &id).into()));
        }
        budgets.iter().for_each(|budget| budget.only_answers());
        (outcomes, budgets)
    };
    // Update the profile from the token first: an operation can read it.
    if let Some(actor) = &actor {
        profile::meet(&state.services, actor).await;
    }
    run.await
}

/// `bytes` is the size of the request.
async fn run_one(
    state: &AppState,
    mut request: Request,
    bytes: usize,
    actor: Option<&Actor>,
    id: &str,
    budgets: &mut Budgets,
) -> Outcome {
    let (documents, limits) = (state.documents.clone(), state.limits.clone());
    let prepare = move || {
        let prepared = operation::prepare(&mut request, &documents, &limits);
        (request, prepared)
    };
    let (request, prepared) = match heavy::run(bytes, prepare).await {
        Ok(prepared) => prepared,
        Err(error) => return operation::refusal(&error, id).into(),
    };
    let (kind, name) = match prepared {
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
    let measured = state.measure(kind, name.as_deref(), actor.is_some(), id);
    let keep = Keep::of(&request).cloned();
    let document = operation::document_of(&request);
    let request = context::attach(request, &state.services, &state.executor.live, actor.cloned(), None);
    budgets.extend(Caller::of(&request).map(|caller| caller.reader.budget()));
    let schema = state.executor.schema_for(document.as_ref());
    let response = measured.run(execution::run(schema, &state.limits, request)).await;
    let outcome = operation::settle(response, document.as_ref(), name.as_deref(), id);
    if let Outcome::Ran(_) = &outcome {
        keep.iter().for_each(Keep::keep);
        document.iter().for_each(|document| document.accept());
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

/// A response with a JSON body. A body of several pieces is sent while it is written, and holds `budgets` until it is
/// sent.
pub(super) fn reply(status: StatusCode, media: Media, body: impl Into<Pieces>, budgets: Budgets) -> Response {
    let content_type = match media {
        Media::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        Media::Json => "application/json; charset=utf-8",
    };
    match sent(body.into(), budgets) {
        Ok(body) => (status, [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")], body).into_response(),
        Err(error) => {
            tracing::error!(error = error.cause(), "cannot serialize the response as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A body of these pieces, which holds `budgets` until it is sent.
pub(in crate::transport) fn sent(mut pieces: Pieces, budgets: Budgets) -> Result<Body, Error> {
    let first = pieces.next()?;
    Ok(if pieces.is_empty() { first.into() } else { streamed(first, pieces, budgets) })
}

/// Writes the pieces of a body as they are sent.
fn streamed(first: Vec<u8>, mut pieces: Pieces, budgets: Budgets) -> Body {
    written(async move |body: BodyWriter| {
        let _budgets = budgets;
        let mut piece = first;
        loop {
            body.write(piece).await?;
            if pieces.is_empty() {
                return Some(());
            }
            piece = pieces.next().ok()?;
        }
    })
}
