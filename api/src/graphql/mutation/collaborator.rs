//! The team of a project.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::project::ProjectPayload;
use crate::domain::collaborator;
use crate::graphql::context::caller;
use crate::graphql::enums::ProjectRole;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::types::collaborator::{Collaborator, EmailInvitation};
use crate::graphql::types::project::Project;
use crate::model::collaborator::{self as model, EmailAddress};
use crate::model::error::Result;
use crate::model::ids::{ProjectId, UserId};
use crate::model::node_id::NodeId;

#[derive(Default)]
pub struct CollaboratorMutation;

/// A user and a role in a project.
#[derive(InputObject)]
struct InviteCollaboratorInput {
    /// The project that the user is invited to.
    project_id: ID,
    /// The user: the `sub` of their tokens.
    user_id: ID,
    /// EDITOR or VIEWER; a project has one owner (`transferOwnership`).
    role: ProjectRole,
}

impl InviteCollaboratorInput {
    fn part(&self) -> Result<(ProjectId, UserId, crate::model::enums::ProjectRole)> {
        let project = ProjectId::parse(&self.project_id, "projectId")?;
        Ok((project, UserId::parse(&self.user_id, "userId")?, self.role.into()))
    }
}

/// An e-mail address and a role in a project.
#[derive(InputObject)]
struct InviteByEmailInput {
    /// The project that the user is invited to.
    project_id: ID,
    /// The e-mail address, in any case.
    email: String,
    /// EDITOR or VIEWER; a project has one owner (`transferOwnership`).
    role: ProjectRole,
}

/// An invitation of an e-mail address to withdraw.
#[derive(InputObject)]
struct WithdrawEmailInvitationInput {
    /// The project that the invitation is to.
    project_id: ID,
    /// The e-mail address that was invited.
    email: String,
}

/// The invitation that the caller declines.
#[derive(InputObject)]
struct DeclineInvitationInput {
    /// The project that the caller was invited to.
    project_id: ID,
}

/// The project that the caller leaves.
#[derive(InputObject)]
struct LeaveProjectInput {
    /// The project to leave.
    project_id: ID,
}

/// A project and its new owner.
#[derive(InputObject)]
struct TransferOwnershipInput {
    /// The project that gets a new owner.
    project_id: ID,
    /// The new owner: a member of the project.
    user_id: ID,
}

/// Result of a change of a collaborator.
#[derive(SimpleObject)]
struct CollaboratorPayload {
    /// The collaborator after the write.
    collaborator: Collaborator,
    /// The project after the write.
    project: Option<Project>,
    /// The new revision, or the present one if nothing changed.
    revision: i32,
}

impl CollaboratorPayload {
    async fn of(ctx: &Context<'_>, (collaborator, revision): (model::Collaborator, i32)) -> Result<Self> {
        let project = super::project_of(ctx, collaborator.project_id).await?;
        Ok(Self { collaborator: Collaborator(collaborator), project, revision })
    }
}

/// Result of an invitation of an e-mail address. It does not depend on whether a user has this address.
#[derive(SimpleObject)]
struct EmailInvitationPayload {
    /// The invitation after the write.
    email_invitation: EmailInvitation,
    /// The project after the write.
    project: Option<Project>,
    /// The new revision, or the present one if nothing changed.
    revision: i32,
}

/// Result of leaving a project. The caller cannot read the project any more.
#[derive(SimpleObject)]
struct LeaveProjectPayload {
    /// The id of the project, for removal from the client's cache.
    project_id: ID,
    /// The new revision.
    revision: i32,
}

/// Result of declining an invitation.
#[derive(SimpleObject)]
struct DeclineInvitationPayload {
    /// The id of the project that the invitation was to.
    project_id: ID,
    /// The id of the invitation, for removal from the client's cache.
    invitation_id: ID,
}

#[Object]
impl CollaboratorMutation {
    /// Invites a user to a project. The user can read the invitation in `invitations`, and the project after accepting.
    /// A repeated invitation with another role replaces the first. The setting `MAX_COLLABORATORS` limits the
    /// collaborators and invitations of a project (100 by default).
    async fn invite_collaborator(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The user and the role.")] input: InviteCollaboratorInput,
    ) -> Attempt<CollaboratorPayload> {
        attempt(async {
            let (project, user, role) = input.part()?;
            let caller = caller(ctx)?;
            let invite = |writer| collaborator::invite(writer, project, user, role);
            CollaboratorPayload::of(ctx, caller.write(ctx, invite).await?).await
        })
        .await
    }

    /// Invites the user with an e-mail address to a project, even before they sign up. `invitations` shows it to the
    /// user whose token has this address as verified. Whether such a user exists is not revealed before they accept.
    async fn invite_by_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The address and the role.")] input: InviteByEmailInput,
    ) -> Attempt<EmailInvitationPayload> {
        attempt(async {
            let project = ProjectId::parse(&input.project_id, "projectId")?;
            let email = EmailAddress::parse(&input.email, "email")?;
            let caller = caller(ctx)?;
            let invite = |writer| collaborator::invite_email(writer, project, email, input.role.into());
            let (invited, revision) = caller.write(ctx, invite).await?;
            let project = super::project_of(ctx, invited.project_id).await?;
            Ok(EmailInvitationPayload { email_invitation: EmailInvitation(invited), project, revision })
        })
        .await
    }

    /// Withdraws an invitation of an e-mail address (`removeCollaborator` withdraws one of a user).
    async fn withdraw_email_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The invitation to withdraw.")] input: WithdrawEmailInvitationInput,
    ) -> Attempt<ProjectPayload> {
        attempt(async {
            let project = ProjectId::parse(&input.project_id, "projectId")?;
            let email = EmailAddress::parse(&input.email, "email")?;
            let caller = caller(ctx)?;
            let withdraw = |writer| collaborator::withdraw_email(writer, project, email);
            Ok(caller.write(ctx, withdraw).await?.into())
        })
        .await
    }

    /// Accepts the caller's invitation to a project; does nothing for a member.
    async fn accept_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project that the caller was invited to.")] project_id: ID,
    ) -> Attempt<CollaboratorPayload> {
        attempt(async {
            let project = ProjectId::parse(&project_id, "projectId")?;
            let caller = caller(ctx)?;
            let accept = |writer| collaborator::accept(writer, project);
            CollaboratorPayload::of(ctx, caller.write(ctx, accept).await?).await
        })
        .await
    }

    /// Declines the caller's invitation. They can be invited again.
    async fn decline_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The invitation to decline.")] input: DeclineInvitationInput,
    ) -> Attempt<DeclineInvitationPayload> {
        attempt(async {
            let project = ProjectId::parse(&input.project_id, "projectId")?;
            let caller = caller(ctx)?;
            caller.write(ctx, |writer| collaborator::decline(writer, project)).await?;
            let invitation_id = NodeId::Invitation(project, caller.actor.user_id).to_string().into();
            Ok(DeclineInvitationPayload { project_id: input.project_id, invitation_id })
        })
        .await
    }

    /// Changes the role of a collaborator or an invited user. It applies from their next write. The active session of a
    /// user who becomes a viewer ends.
    async fn change_collaborator_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The user and the new role.")] input: InviteCollaboratorInput,
    ) -> Attempt<CollaboratorPayload> {
        attempt(async {
            let (project, user, role) = input.part()?;
            let caller = caller(ctx)?;
            let change = |writer| collaborator::change_role(writer, project, user, role);
            CollaboratorPayload::of(ctx, caller.write(ctx, change).await?).await
        })
        .await
    }

    /// Removes a collaborator. The owner can remove others; members can remove themselves (`leaveProject`). The user's
    /// active session ends, their subscriptions end within a second, and their work stays in the history under their
    /// name.
    async fn remove_collaborator(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project that the user is in.")] project_id: ID,
        #[graphql(desc = "The user to remove.")] user_id: ID,
    ) -> Attempt<ProjectPayload> {
        attempt(async {
            let project = ProjectId::parse(&project_id, "projectId")?;
            let user = UserId::parse(&user_id, "userId")?;
            let caller = caller(ctx)?;
            let remove = |writer| collaborator::remove(writer, project, user);
            Ok(caller.write(ctx, remove).await?.into())
        })
        .await
    }

    /// Removes the caller from a project. The owner cannot leave before `transferOwnership`.
    async fn leave_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project to leave.")] input: LeaveProjectInput,
    ) -> Attempt<LeaveProjectPayload> {
        attempt(async {
            let project = ProjectId::parse(&input.project_id, "projectId")?;
            let caller = caller(ctx)?;
            let leave = |writer| collaborator::remove(writer, project, caller.actor.user_id);
            Ok(LeaveProjectPayload { project_id: input.project_id, revision: caller.write(ctx, leave).await?.revision })
        })
        .await
    }

    /// Transfers a project to one of its members. The former owner becomes an editor.
    async fn transfer_ownership(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project and its new owner.")] input: TransferOwnershipInput,
    ) -> Attempt<ProjectPayload> {
        attempt(async {
            let project = ProjectId::parse(&input.project_id, "projectId")?;
            let user = UserId::parse(&input.user_id, "userId")?;
            let caller = caller(ctx)?;
            let transfer = |writer| collaborator::transfer(writer, project, user);
            Ok(caller.write(ctx, transfer).await?.into())
        })
        .await
    }
}
