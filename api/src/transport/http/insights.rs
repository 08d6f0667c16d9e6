//! `GET /projects/{id}/insights.csv`: the buckets of a project's insights as CSV (RFC 4180). It is a query of the API, with its
//! access rules, limits and errors. All cells are times and numbers that never begin with a sign, so that no spreadsheet takes one
//! for a formula.

use std::net::SocketAddr;

use async_graphql::{Request, Variables};
use axum::{
    Extension,
    extract::{ConnectInfo, Path, State},
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::Instrument;

use super::{
    batch::Batch,
    caller::{caller, refuse},
    media::Media,
    query_string,
    refusal::Refusal,
    respond::{reply, run},
};
use crate::{
    model::error::Error,
    transport::{
        operation::Outcome,
        state::{AppState, RequestId},
        throttle::Address,
    },
};

/// The columns after the start and the end, which are fields of the totals.
const COLUMNS: [&str; 18] = [
    "revisions",
    "messages",
    "userMessages",
    "assistantMessages",
    "systemMessages",
    "checkpoints",
    "sessionsStarted",
    "sessionsEnded",
    "sessionSeconds",
    "averageSessionSeconds",
    "changes",
    "linesAdded",
    "linesRemoved",
    "activeFiles",
    "restores",
    "undos",
    "redos",
    "undoRate",
];

/// The parameters of the URL; those that are left out have the defaults of the API.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Parameters {
    from: String,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
}

/// Handles `/projects/{id}/insights.csv`.
pub async fn insights_csv(
    State(state): State<AppState>,
    Extension(RequestId(id)): Extension<RequestId>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(project): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let address = state.throttle.address(peer.ip(), &headers);
    match answer(&state, &project, &headers, &uri, address, &id).await {
        Ok(response) => response,
        Err(refusal) => refuse(Media::Json, &refusal, &id),
    }
}

async fn answer(
    state: &AppState,
    project: &str,
    headers: &HeaderMap,
    uri: &Uri,
    address: Option<Address>,
    id: &str,
) -> Result<Response, Box<Refusal>> {
    let actor = caller(state, headers, address).await?;
    state.throttle.admit(actor.as_ref(), address, 1).map_err(Refusal::rate_limited)?;
    let parameters: Parameters = query_string::parse(uri).map_err(|why| {
        let message = format!("The parameters are `from`, `to`, `bucket` and `timeZone`, each once: {why}.");
        Refusal::new(StatusCode::BAD_REQUEST, Error::bad_input("", message))
    })?;
    let batch = Batch { requests: vec![query(project, &parameters)], is_array: false, bytes: 0 };
    let ran = state.tasks.spawn(run(state.clone(), batch, actor, id.to_owned()).in_current_span()).await;
    // The budget lasts until the table is written.
    let (mut outcomes, _budgets) = ran.map_err(|error| Refusal::internal(Error::internal(error)))?;
    let outcome = outcomes.pop();
    let outcome = outcome.ok_or_else(|| Refusal::internal(Error::internal("an operation had no outcome")))?;
    let data = match outcome {
        Outcome::Ran(response) if response.errors.is_empty() => response.data.into_json(),
        outcome => return Ok(failed(outcome)),
    };
    let data = data.map_err(|error| Refusal::internal(Error::internal(error)))?;
    let Some(Value::Array(buckets)) = data.pointer("/project/insights/buckets") else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, Error::not_found("project", "id")));
    };
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (CONTENT_DISPOSITION, "attachment; filename=\"insights.csv\""),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, table(buckets)).into_response())
}

fn query(project: &str, parameters: &Parameters) -> Request {
    let document = format!(
        "query InsightsCsv($id: ID!, $from: DateTime!, $to: DateTime!, $bucket: InsightBucket! = DAY, $timeZone: String = \"UTC\") {{
         project(id: $id) {{ insights(from: $from, to: $to, bucket: $bucket, timeZone: $timeZone) {{
         buckets {{ start end totals {{ {} }} }} }} }} }}",
        COLUMNS.join(" ")
    );
    let mut variables = json!(parameters);
    if let Some(variables) = variables.as_object_mut() {
        variables.insert("id".to_owned(), project.into());
    }
    Request::new(document).variables(Variables::from_json(variables))
}

/// The response to a query with errors, which are the same as those of the API.
fn failed(outcome: Outcome) -> Response {
    let status = match outcome.code() {
        "UNAUTHENTICATED" => StatusCode::UNAUTHORIZED,
        "FORBIDDEN" => StatusCode::FORBIDDEN,
        "NOT_FOUND" => StatusCode::NOT_FOUND,
        "RATE_LIMITED" => StatusCode::TOO_MANY_REQUESTS,
        "UNAVAILABLE" => StatusCode::SERVICE_UNAVAILABLE,
        "INTERNAL" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    let retry_after = outcome.retry_after();
    let (Outcome::Ran(async_graphql::Response { errors, .. }) | Outcome::Refused { errors }) = outcome;
    let mut response = reply(status, Media::Json, Outcome::Refused { errors }, Vec::new());
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// A line with the names of the columns, and a line for each bucket. A value that does not exist is empty.
fn table(buckets: &[Value]) -> String {
    let mut table = format!("start,end,{}\r\n", COLUMNS.join(","));
    for bucket in buckets {
        let totals = COLUMNS.map(|column| bucket.get("totals")?.get(column));
        let cells = [bucket.get("start"), bucket.get("end")].into_iter().chain(totals);
        let cells: Vec<String> = cells
            .map(|cell| match cell {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            })
            .collect();
        table.push_str(&cells.join(","));
        table.push_str("\r\n");
    }
    table
}
