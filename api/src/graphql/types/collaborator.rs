//! Who is in a project, and who was asked.

use async_graphql::{Context, ID, Object};

use super::profile::User;
use crate::graphql::error::or_null;
use crate::graphql::names::ProjectRole;
use crate::graphql::row::Plain;
use crate::graphql::scalar::Time;
use crate::model::collaborator as model;
use crate::model::error::Result;

/// Somebody's part in a project.
pub struct Collaborator(pub model::Collaborator);

#[Object]
impl Collaborator {
    /// Who.
    async fn user(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.user_id).await
    }

    /// What they may do.
    async fn role(&self) -> ProjectRole {
        self.0.role.into()
    }

    /// Who asked them in.
    async fn invited_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.invited_by)).await
    }

    /// When they were asked.
    async fn invited_at(&self) -> Time {
        Time(self.0.invited_at)
    }

    /// When they said yes; until then they see nothing.
    async fn accepted_at(&self) -> Option<Time> {
        self.0.accepted_at.map(Time)
    }
}

/// An invitation to an e-mail address, as the owner of the project sees it. It says nothing of whether anybody has the address.
pub struct EmailInvitation(pub model::EmailInvitation);

#[Object]
impl EmailInvitation {
    /// The address, in lower case.
    async fn email(&self) -> &str {
        self.0.email.as_str()
    }

    /// What whoever accepts it may do.
    async fn role(&self) -> ProjectRole {
        self.0.role.into()
    }

    /// Who sent it.
    async fn invited_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.invited_by)).await
    }

    /// When.
    async fn invited_at(&self) -> Time {
        Time(self.0.invited_at)
    }
}

/// An invitation that the caller has not answered (`acceptInvitation`, `declineInvitation`). Until they have accepted, this is
/// all that they see of the project.
pub struct Invitation(pub model::Invitation);

impl Plain for Invitation {
    fn is_plain(_: &str) -> bool {
        false
    }
}

#[Object]
impl Invitation {
    /// The project's id.
    async fn project_id(&self) -> ID {
        self.0.project_id.0.into()
    }

    /// The project's name.
    async fn project_name(&self) -> &str {
        &self.0.project_name
    }

    /// What the caller may do once they have accepted.
    async fn role(&self) -> ProjectRole {
        self.0.role.into()
    }

    /// Who asked.
    async fn invited_by(&self) -> Option<User> {
        self.0.invited_by.clone().map(User)
    }

    /// When.
    async fn invited_at(&self) -> Time {
        Time(self.0.invited_at)
    }
}
