//! `/git/PROJECT.git`: projects as repositories for git clients, by the smart HTTP protocol (gitprotocol-http(5)).
//! Errors are texts, which git prints.

use async_graphql::parser::types::OperationType::{Mutation, Query};
use axum::{
    Router,
    body::Body,
    extract::RawQuery,
    http::StatusCode,
    response::Response,
    routing::{any, get, post},
};

use super::state::AppState;

mod access;
mod commands;
mod fetch;
mod packet;
mod push;
mod refusal;
pub mod shared;
mod upload;

use self::{access::Request, refusal::text};

/// The routes below `/git`.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/git/{project}/info/refs", get(references))
        .route("/git/{project}/git-upload-pack", post(upload_pack))
        .route("/git/{project}/git-receive-pack", post(receive_pack))
        .route("/git/{project}/{*rest}", any(other))
}

/// `GET /git/PROJECT.git/info/refs?service=…`: the branch and the abilities of the server.
async fn references(request: Request, RawQuery(query): RawQuery) -> Response {
    match query.as_deref() {
        Some("service=git-upload-pack") => {
            let answer = async |git, caller| fetch::references(&git, &caller).await;
            request.answer(Query, "git-upload-pack refs", answer).await
        }
        Some("service=git-receive-pack") => {
            let answer = async |git, caller| push::references(&git, &caller).await;
            request.answer(Query, "git-receive-pack refs", answer).await
        }
        _ => {
            let message = "This server speaks only git's smart HTTP protocol: use git 1.6.6 or newer.";
            request.answer(Query, OTHER, async |_, _| Err(text(StatusCode::FORBIDDEN, message))).await
        }
    }
}

/// `POST /git/PROJECT.git/git-upload-pack`: a step of a clone or a fetch.
async fn upload_pack(request: Request, body: Body) -> Response {
    let answer = async |git, caller| fetch::upload_pack(&git, &caller, body).await;
    request.answer(Query, "git-upload-pack", answer).await
}

/// `POST /git/PROJECT.git/git-receive-pack`: a push.
async fn receive_pack(request: Request, body: Body) -> Response {
    let answer = async |git, caller| push::receive_pack(&git, &caller, body).await;
    request.answer(Mutation, "git-receive-pack", answer).await
}

/// Every other path: files of the dumb protocol, and mistakes.
async fn other(request: Request) -> Response {
    let message = "There is nothing here: git clients use /git/PROJECT.git.";
    request.answer(Query, OTHER, async |_, _| Err(text(StatusCode::NOT_FOUND, message))).await
}

/// The name of requests that no git client sends, in the metrics.
const OTHER: &str = "git other";
