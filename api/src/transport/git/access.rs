//! The caller of a git client's request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::{
    Extension,
    extract::{ConnectInfo, FromRequestParts, Path},
    http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE, request::Parts},
    response::{IntoResponse, Response},
};

use super::{
    refusal::{Refusal, respond, text, unauthenticated},
    shared::Git,
};
use crate::{
    domain::import_export::git_cache::{GitCache, Repository},
    model::{actor::Actor, error::Error, ids::ProjectId},
    transport::{
        auth, origin,
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
    /// Answers by a function that needs the caller.
    pub(super) async fn answer<A>(self, answer: impl FnOnce(Arc<Git>, Caller) -> A) -> Response
    where
        A: Future<Output = Result<Response, Box<Refusal>>>,
    {
        let id = self.id.clone();
        let answer = async {
            let message =
                "Git over HTTP is not available at this server: there is no git program, or GIT_CACHE_BYTES is 0.";
            let git = self.state.git.clone().filter(|_| GitCache::has_git());
            let git = git.ok_or_else(|| text(StatusCode::NOT_IMPLEMENTED, message))?;
            answer(git, Caller::of(self).await?).await
        };
        answer.await.unwrap_or_else(|refusal| respond(&refusal, &id))
    }
}

/// A signed-in caller.
pub(super) struct Caller {
    pub(super) state: AppState,
    pub(super) actor: Actor,
    pub(super) headers: HeaderMap,
    project: String,
}

impl Caller {
    /// Finds the caller of a request.
    pub(super) async fn of(request: Request) -> Result<Self, Box<Refusal>> {
        let Request { state, peer, project, headers, uri, .. } = request;
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
        Ok(Self { state, actor, headers, project })
    }

    /// The repository that the request names, up to date.
    pub(super) async fn repository(&self, git: &Arc<Git>) -> Result<Repository, Box<Refusal>> {
        let id = self.project.strip_suffix(EXTENSION).unwrap_or(&self.project);
        let project = ProjectId::parse(id, "id").map_err(|_| Error::not_found("project", "id"))?;
        let (git, services, actor) = (git.clone(), self.state.services.clone(), self.actor.clone());
        // In a separate task, because a client that disconnects must not cancel a transaction halfway.
        let opened = self.state.tasks.spawn(async move { git.cache.open(&services, &actor, project).await });
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
