//! Who is in a project.

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

/// Who is to have which part in a project.
#[derive(InputObject)]
struct InviteCollaboratorInput {
    /// The project that the user is to be in.
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

/// Which e-mail address is to have which part in a project.
#[derive(InputObject)]
struct InviteByEmailInput {
    /// The project that the user with this address is to be in.
    project_id: ID,
    /// The e-mail address, in any case.
    email: String,
    /// EDITOR or VIEWER; a project has one owner (`transferOwnership`).
    role: ProjectRole,
}

/// An invitation to an e-mail address that is taken back.
#[derive(InputObject)]
struct WithdrawEmailInvitationInput {
    /// The project that the invitation is to.
    project_id: ID,
    /// The e-mail address that was invited.
    email: String,
}

/// An invitation that the caller answers with no.
#[derive(InputObject)]
struct DeclineInvitationInput {
    /// The project that the caller was invited to.
    project_id: ID,
}

/// A project that the caller leaves.
#[derive(InputObject)]
struct LeaveProjectInput {
    /// The project to leave.
    project_id: ID,
}

/// A project and its new owner.
#[derive(InputObject)]
struct TransferOwnershipInput {
    /// The project to hand over.
    project_id: ID,
    /// The new owner: a member of the project.
    user_id: ID,
}

/// What a change of somebody's part in a project answers.
#[derive(SimpleObject)]
struct CollaboratorPayload {
    /// The user's part in the project after the write.
    collaborator: Collaborator,
    /// The project after the write.
    project: Option<Project>,
    /// The revision that was made, or the present one if nothing changed.
    revision: i32,
}

impl CollaboratorPayload {
    async fn of(ctx: &Context<'_>, (collaborator, revision): (model::Collaborator, i32)) -> Result<Self> {
        let project = super::project_of(ctx, collaborator.project_id).await?;
        Ok(Self { collaborator: Collaborator(collaborator), project, revision })
    }
}

/// What an invitation to an e-mail address answers; the same whether anybody has that address or not.
#[derive(SimpleObject)]
struct EmailInvitationPayload {
    /// The invitation after the write.
    email_invitation: EmailInvitation,
    /// The project after the write.
    project: Option<Project>,
    /// The revision that was made, or the present one if nothing changed.
    revision: i32,
}

/// What leaving a project answers. The project itself is no longer there for the caller.
#[derive(SimpleObject)]
struct LeaveProjectPayload {
    /// The id of the project that the caller left: a client's cache can drop it.
    project_id: ID,
    /// The revision that was made.
    revision: i32,
}

/// What declining an invitation answers.
#[derive(SimpleObject)]
struct DeclineInvitationPayload {
    /// The id of the project that the invitation was to.
    project_id: ID,
    /// The id that the invitation had: a client's cache can drop it.
    invitation_id: ID,
}

#[Object]
impl CollaboratorMutation {
    /// Invites a user to a project. The user sees it after accepting; before that, `invitations` shows the invitation to
    /// them. Inviting again with another role replaces the first invitation. A project has at most as many members and
    /// invitations as the setting `MAX_COLLABORATORS` allows (100 by default).
    async fn invite_collaborator(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The user and the role.")] input: InviteCollaboratorInput,
    ) -> Attempt<CollaboratorPayload> {
        attempt(async {
            let (project, user, role) = input.part()?;
            let caller = caller(ctx)?;
            let invite = |writer| collaborator::invite(writer, project, user, role);
            CollaboratorPayload::of(ctx, caller.write(invite).await?).await
        })
        .await
    }

    /// Invites the user with an e-mail address to a project, now or once they sign up: `invitations` shows it to the user
    /// whose token says that the address is theirs and verified. Nothing reveals whether there is such a user before they
    /// accept.
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
            let (invited, revision) = caller.write(invite).await?;
            let project = super::project_of(ctx, invited.project_id).await?;
            Ok(EmailInvitationPayload { email_invitation: EmailInvitation(invited), project, revision })
        })
        .await
    }

    /// Takes an invitation to an e-mail address back (`removeCollaborator` takes back one to a user).
    async fn withdraw_email_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The invitation to take back.")] input: WithdrawEmailInvitationInput,
    ) -> Attempt<ProjectPayload> {
        attempt(async {
            let project = ProjectId::parse(&input.project_id, "projectId")?;
            let email = EmailAddress::parse(&input.email, "email")?;
            let caller = caller(ctx)?;
            let withdraw = |writer| collaborator::withdraw_email(writer, project, email);
            Ok(caller.write(withdraw).await?.into())
        })
        .await
    }

    /// Makes the caller a member of a project that they were invited to. A member stays as they are.
    async fn accept_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project that the caller was invited to.")] project_id: ID,
    ) -> Attempt<CollaboratorPayload> {
        attempt(async {
            let project = ProjectId::parse(&project_id, "projectId")?;
            let caller = caller(ctx)?;
            let accept = |writer| collaborator::accept(writer, project);
            CollaboratorPayload::of(ctx, caller.write(accept).await?).await
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
            caller.write(|writer| collaborator::decline(writer, project)).await?;
            let invitation_id = NodeId::Invitation(project, caller.actor.user_id).to_string().into();
            Ok(DeclineInvitationPayload { project_id: input.project_id, invitation_id })
        })
        .await
    }

    /// Gives a user who is in a project, or invited to it, another role. It holds from their next write on. The active
    /// session of a user who becomes a viewer ends.
    async fn change_collaborator_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The user and the new role.")] input: InviteCollaboratorInput,
    ) -> Attempt<CollaboratorPayload> {
        attempt(async {
            let (project, user, role) = input.part()?;
            let caller = caller(ctx)?;
            let change = |writer| collaborator::change_role(writer, project, user, role);
            CollaboratorPayload::of(ctx, caller.write(change).await?).await
        })
        .await
    }

    /// The owner removes anyone else; anyone removes themselves (`leaveProject`). Their active session ends, their subscriptions
    /// end within a second, and what they did stays in the history, under their name.
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
            Ok(caller.write(remove).await?.into())
        })
        .await
    }

    /// Takes the caller out of a project. Its owner cannot leave before `transferOwnership`.
    async fn leave_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project to leave.")] input: LeaveProjectInput,
    ) -> Attempt<LeaveProjectPayload> {
        attempt(async {
            let project = ProjectId::parse(&input.project_id, "projectId")?;
            let caller = caller(ctx)?;
            let leave = |writer| collaborator::remove(writer, project, caller.actor.user_id);
            Ok(LeaveProjectPayload { project_id: input.project_id, revision: caller.write(leave).await?.revision })
        })
        .await
    }

    /// Gives a project to one of its members. Its former owner becomes an editor.
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
            Ok(caller.write(transfer).await?.into())
        })
        .await
    }
}
