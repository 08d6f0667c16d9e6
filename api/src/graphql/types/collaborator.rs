//! Collaborators and invitations.

use async_graphql::{Context, ID, Object};

use super::profile::User;
use crate::graphql::enums::ProjectRole;
use crate::graphql::error::or_null;
use crate::graphql::row::Plain;
use crate::graphql::scalar::Time;
use crate::model::collaborator as model;
use crate::model::error::Result;
use crate::model::ids::UserId;
use crate::model::node_id::NodeId;

/// A collaborator of a project, or an invited user.
pub struct Collaborator(pub model::Collaborator);

/// A user who is in a project or invited to it, with the role. The owner is not a collaborator.
#[Object]
impl Collaborator {
    /// The globally unique id of the user's membership, for `node`.
    pub(super) async fn id(&self) -> ID {
        NodeId::Collaborator(self.0.project_id, self.0.user_id).to_string().into()
    }

    /// The place in the list, to pass as `after`. It holds after the user has left.
    async fn cursor(&self) -> String {
        self.0.place().encode(model::Collaborator::LIST)
    }

    /// The user who is in the project or invited to it.
    async fn user(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.user_id).await
    }

    /// What the user can do in the project.
    async fn role(&self) -> ProjectRole {
        self.0.role.into()
    }

    /// The user who sent the invitation; null if the account no longer exists.
    async fn invited_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.invited_by)).await
    }

    /// When the invitation was sent.
    async fn invited_at(&self) -> Time {
        Time(self.0.invited_at)
    }

    /// When the user accepted; null before that, while the user cannot see the project.
    async fn accepted_at(&self) -> Option<Time> {
        self.0.accepted_at.map(Time)
    }
}

/// An invitation of an e-mail address, as the project's owner sees it.
pub struct EmailInvitation(pub model::EmailInvitation);

/// An invitation of an e-mail address, as the project's owner sees it. It does not reveal whether a user has this
/// address.
#[Object]
impl EmailInvitation {
    /// The globally unique id, for `node`; only for the project's owner.
    pub(super) async fn id(&self) -> ID {
        NodeId::EmailInvitation(self.0.project_id, self.0.email.clone()).to_string().into()
    }

    /// The place in the list, to pass as `after`. It holds after the invitation is answered or withdrawn.
    async fn cursor(&self) -> String {
        self.0.place().encode(model::EmailInvitation::LIST)
    }

    /// The e-mail address, in lower case.
    async fn email(&self) -> &str {
        self.0.email.as_str()
    }

    /// What the user who accepts it can do in the project.
    async fn role(&self) -> ProjectRole {
        self.0.role.into()
    }

    /// The user who sent it; null if the account no longer exists.
    async fn invited_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.invited_by)).await
    }

    /// When it was sent.
    async fn invited_at(&self) -> Time {
        Time(self.0.invited_at)
    }
}

/// An open invitation of the caller.
pub struct Invitation(pub model::Invitation, pub UserId);

impl Plain for Invitation {
    fn is_plain(_: &str) -> bool {
        false
    }
}

/// An open invitation of the caller (`acceptInvitation`, `declineInvitation`). Before accepting, the caller sees
/// nothing else of the project.
#[Object]
impl Invitation {
    /// The globally unique id, for `node`; only for the invited user.
    pub(super) async fn id(&self) -> ID {
        NodeId::Invitation(self.0.project_id, self.1).to_string().into()
    }

    /// The id to pass to `acceptInvitation` or `declineInvitation`.
    async fn project_id(&self) -> ID {
        self.0.project_id.0.into()
    }

    /// The displayed name of the project.
    async fn project_name(&self) -> &str {
        &self.0.project_name
    }

    /// What the caller can do in the project after accepting.
    async fn role(&self) -> ProjectRole {
        self.0.role.into()
    }

    /// The user who sent it; null if the account no longer exists.
    async fn invited_by(&self) -> Option<User> {
        self.0.invited_by.clone().map(User)
    }

    /// When it was sent.
    async fn invited_at(&self) -> Time {
        Time(self.0.invited_at)
    }
}
