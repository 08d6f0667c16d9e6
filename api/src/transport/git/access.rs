//! The caller of a git client's request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use axum::{
    Extension,
    body::{Body, HttpBody},
    extract::{ConnectInfo, FromRequestParts, Path},
    http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE, request::Parts},
    response::{IntoResponse, Response},
};
use futures::StreamExt;

use super::{
    refusal::{Refusal, respond, text, unauthenticated},
    shared::Git,
};
use crate::{
    domain::import_export::git_cache::{GitCache, Repository},
    metrics,
    model::{actor::Actor, error::Error, ids::ProjectId},
    transport::{
        auth,
        measure::Measured,
        origin,
        state::{AppState, RequestId},
    },
};

/// The extension of repositories in URLs, which can be left out.
const EXTENSION: &str = ".git";

/// A request without its body.
pub(super) struct Request {
    state: AppState,
    id: String,
    peer: SocketAddr,
    project: String,
    headers: HeaderMap,
    uri: Uri,
}

impl FromRequestParts<AppState> for Request {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let Extension(RequestId(id)) =
            Extension::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        let ConnectInfo(peer) =
            ConnectInfo::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        let Path(mut names) = Path::<HashMap<String, String>>::from_request_parts(parts, state)
            .await
            .map_err(IntoResponse::into_response)?;
        let project = names.remove("project").unwrap_or_default();
        Ok(Self { state: state.clone(), id, peer, project, headers: parts.headers.clone(), uri: parts.uri.clone() })
    }
}

impl Request {
    /// Answers by a function that needs the caller. Measures the request as an operation with this name.
    pub(super) async fn answer<A>(
        self,
        kind: OperationType,
        name: &str,
        answer: impl FnOnce(Arc<Git>, Caller) -> A,
    ) -> Response
    where
        A: Future<Output = Result<Response, Box<Refusal>>>,
    {
        let (id, state) = (self.id.clone(), self.state.clone());
        let message =
            "Git over HTTP is not available at this server: there is no git program, or GIT_CACHE_BYTES is 0.";
        let git = state.git.clone().filter(|_| GitCache::has_git());
        let git = git.ok_or_else(|| text(StatusCode::NOT_IMPLEMENTED, message));
        let called = async { Ok::<_, Box<Refusal>>((git?, Caller::of(self, kind, name).await?)) };
        let (git, caller) = match called.await {
            Ok(found) => found,
            Err(refusal) => {
                state.services.metrics().ended("none", None, false, refusal.error.code(), None);
                return respond(&refusal, &id);
            }
        };
        let measured = caller.measured.clone();
        match measured.run(answer(git, caller)).await {
            Ok(response) => until_the_end(measured, response),
            Err(refusal) => {
                measured.ended(refusal.error.code());
                respond(&refusal, &id)
            }
        }
    }
}

/// Measures a response until its body has ended.
fn until_the_end(measured: Arc<Measured>, response: Response) -> Response {
    if response.body().size_hint().exact().is_some() {
        measured.ended("OK");
        return response;
    }
    response.map(|body| {
        let mut parts = body.into_data_stream();
        Body::from_stream(async_stream::stream! {
            while let Some(part) = parts.next().await {
                yield part;
            }
            measured.ended("OK");
        })
    })
}

/// A signed-in caller.
pub(super) struct Caller {
    pub(super) state: AppState,
    pub(super) actor: Actor,
    pub(super) headers: HeaderMap,
    /// The request as an operation. It has succeeded if the response ends before something else is recorded.
    pub(super) measured: Arc<Measured>,
    project: String,
}

impl Caller {
    /// Finds the caller of a request, and begins to measure it as an operation with this name.
    async fn of(request: Request, kind: OperationType, name: &str) -> Result<Self, Box<Refusal>> {
        let Request { state, peer, project, headers, uri, id } = request;
        if !origin::may_connect(&headers, &uri, &state.allow_origins) {
            let message = "The page at this origin cannot use the server (--allow-origin).";
            return Err(text(StatusCode::FORBIDDEN, message));
        }
        let address = state.throttle.address(peer.ip(), &headers);
        let actor = match auth::password(&headers) {
            Ok(Some(token)) => state.sign_in(&token).await,
            Ok(None) => {
                state.throttle.admit(None, address, 1).map_err(Refusal::rate_limited)?;
                let message = "Sign in with a token as the password, and any user name.";
                return Err(unauthenticated(Error::Unauthenticated(message.to_owned())));
            }
            Err(error) => Err(error),
        };
        let actor = match actor {
            Ok(actor) => actor,
            Err(error) if error.is_passing() => return Err(error.into()),
            Err(error) => {
                state.throttle.failed(address).map_err(Refusal::rate_limited)?;
                return Err(unauthenticated(error));
            }
        };
        state.throttle.admit(Some(&actor), address, 1).map_err(Refusal::rate_limited)?;
        let measured = Arc::new(state.measure(kind, Some(name), true, &id));
        Ok(Self { state, actor, headers, measured, project })
    }

    /// The repository that the request names, up to date.
    pub(super) async fn repository(&self, git: &Arc<Git>) -> Result<Repository, Box<Refusal>> {
        let id = self.project.strip_suffix(EXTENSION).unwrap_or(&self.project);
        let project = ProjectId::parse(id, "id").map_err(|_| Error::not_found("project", "id"))?;
        let (git, services, actor) = (git.clone(), self.state.services.clone(), self.actor.clone());
        // In a separate task, because a client that disconnects must not cancel a transaction halfway.
        let open = async move { git.cache.open(&services, &actor, project).await };
        let opened = self.state.tasks.spawn(metrics::inherited(open));
        Ok(opened.await.map_err(Error::internal)??)
    }

    /// Checks the media type of the request's body. Pages of other sites cannot send it without permission.
    pub(super) fn require_type(&self, expected: &str) -> Result<(), Box<Refusal>> {
        let given = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if given == Some(expected) {
            return Ok(());
        }
        Err(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, &format!("The body must be {expected}.")))
    }
}
