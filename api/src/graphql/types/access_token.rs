//! Access tokens.

use async_graphql::{Context, ID, Object};

use super::profile::User;
use crate::graphql::enums::ProjectRole;
use crate::graphql::error::or_null;
use crate::graphql::scalar::Time;
use crate::model::access_token as model;
use crate::model::error::Result;

/// An access token, as the project's owner sees it.
pub struct AccessToken(pub model::AccessToken);

/// A token with which a machine acts in one project, as the project's owner sees it. The token itself is shown only by
/// `createAccessToken`.
#[Object]
impl AccessToken {
    /// The globally unique id, for `node`; only for the project's owner.
    pub(super) async fn id(&self) -> ID {
        self.0.id.0.into()
    }

    /// The place in the list, to pass as `after`. It holds after the token is revoked.
    async fn cursor(&self) -> String {
        self.0.place().encode(model::AccessToken::LIST)
    }

    /// The name, which the work of the machine shows.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What the machine can do in the project: EDITOR or VIEWER. It becomes VIEWER when its creator does.
    async fn role(&self) -> ProjectRole {
        self.0.role.into()
    }

    /// The machine: the collaborator who writes with this token, and whom its work shows as the author. Null only if it
    /// cannot be read, so that an error here does not hide a new token.
    async fn user(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, Some(self.0.user_id))).await
    }

    /// When the token was created.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// The user who created it, then the owner. The token ends when they leave the project.
    async fn created_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, Some(self.0.created_by))).await
    }

    /// When it expires; null if it does not.
    async fn expires_at(&self) -> Option<Time> {
        self.0.expires_at.map(Time)
    }

    /// When a request was last signed in with it; null if none was. One use per minute is recorded.
    async fn last_used_at(&self) -> Option<Time> {
        self.0.last_used_at.map(Time)
    }
}
