//! Access tokens of machines.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::domain::access_token::{self, NewAccessToken};
use crate::graphql::context::caller;
use crate::graphql::enums::ProjectRole;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::scalar::Time;
use crate::graphql::types::access_token::AccessToken;
use crate::graphql::types::project::Project;
use crate::model::ids::{AccessTokenId, ProjectId};

#[derive(Default)]
pub struct AccessTokenMutation;

/// Properties of a new access token.
#[derive(InputObject)]
struct CreateAccessTokenInput {
    /// The project in which the machine acts.
    project_id: ID,
    /// The name, which the work of the machine shows; not empty, at most 100 characters.
    name: String,
    /// EDITOR or VIEWER.
    role: ProjectRole,
    /// When it expires, in the future. Null or absent: never.
    expires_at: Option<Time>,
}

/// The access token to revoke.
#[derive(InputObject)]
struct RevokeAccessTokenInput {
    /// Its id in `Project.accessTokens`.
    access_token_id: ID,
}

/// Result of creating an access token.
#[derive(SimpleObject)]
struct CreateAccessTokenPayload {
    /// The token itself, to send as `Authorization: Bearer`. It is not stored and cannot be read again.
    token: String,
    /// The new access token.
    access_token: AccessToken,
    /// The project after the write.
    project: Option<Project>,
    /// The new revision.
    revision: i32,
}

/// Result of revoking an access token.
#[derive(SimpleObject)]
struct RevokeAccessTokenPayload {
    /// The id of the access token, for removal from the client's cache.
    access_token_id: ID,
    /// The project after the write.
    project: Project,
    /// The new revision.
    revision: i32,
}

#[Object]
impl AccessTokenMutation {
    /// Creates a token with which a machine acts in this project only. Only the owner can. The machine becomes a
    /// collaborator with the role; it cannot leave, own the project or act outside of it. Its role is never more than
    /// that of its creator, and it loses access when they do. The setting `MAX_ACCESS_TOKENS` limits the tokens of a
    /// project (20 by default).
    async fn create_access_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new access token.")] input: CreateAccessTokenInput,
    ) -> Attempt<CreateAccessTokenPayload> {
        attempt(async {
            let new = NewAccessToken {
                project_id: ProjectId::parse(&input.project_id, "projectId")?,
                name: input.name,
                role: input.role.into(),
                expires_at: input.expires_at.map(|time| time.0),
            };
            let caller = caller(ctx)?;
            let (token, secret, revision) = caller.write(ctx, |writer| access_token::create(writer, new)).await?;
            let project = super::project_of(ctx, token.project_id).await?;
            Ok(CreateAccessTokenPayload {
                token: secret.expose().to_owned(),
                access_token: AccessToken(token),
                project,
                revision,
            })
        })
        .await
    }

    /// Revokes an access token: it is no longer valid on any server, and its subscriptions end within a second. Its work
    /// stays in the history under its name. Only the project's owner can, also in a deleted project.
    async fn revoke_access_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The access token to revoke.")] input: RevokeAccessTokenInput,
    ) -> Attempt<RevokeAccessTokenPayload> {
        attempt(async {
            let id = AccessTokenId::parse(&input.access_token_id, "accessTokenId")?;
            let caller = caller(ctx)?;
            let project = caller.write(ctx, |writer| access_token::revoke(writer, id)).await?;
            let (revision, project) = (project.revision, Project(project));
            Ok(RevokeAccessTokenPayload { access_token_id: id.0.into(), project, revision })
        })
        .await
    }
}
