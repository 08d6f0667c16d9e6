//! Who is in a project.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::project::ProjectPayload;
use crate::domain::collaborator;
use crate::graphql::context::{Caller, caller};
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::names::ProjectRole;
use crate::graphql::types::collaborator::{Collaborator, EmailInvitation};
use crate::graphql::types::project::Project;
use crate::model::collaborator::{self as model, EmailAddress};
use crate::model::error::Result;
use crate::model::ids::{ProjectId, UserId};

#[derive(Default)]
pub struct CollaboratorMutation;

/// Who is to have which part in a project.
#[derive(InputObject)]
struct InviteCollaboratorInput {
    /// The project.
    project_id: ID,
    /// The user: the `sub` of their tokens.
    user_id: ID,
    /// EDITOR or VIEWER; a project has one owner (`transferOwnership`).
    role: ProjectRole,
}

impl InviteCollaboratorInput {
    fn part(&self) -> Result<(ProjectId, UserId, crate::model::names::ProjectRole)> {
        let project = ProjectId::parse(&self.project_id, "projectId")?;
        Ok((project, UserId::parse(&self.user_id, "userId")?, self.role.into()))
    }
}

/// Which e-mail address is to have which part in a project.
#[derive(InputObject)]
struct InviteByEmailInput {
    /// The project.
    project_id: ID,
    /// The address, in any case of its letters.
    email: String,
    /// EDITOR or VIEWER; a project has one owner (`transferOwnership`).
    role: ProjectRole,
}

/// What a change of somebody's part in a project answers.
#[derive(SimpleObject)]
struct CollaboratorPayload {
    /// Their part now.
    collaborator: Collaborator,
    /// The project.
    project: Option<Project>,
    /// The revision that was made, or the present one where nothing changed.
    revision: i32,
}

impl CollaboratorPayload {
    async fn of(caller: &Caller, (collaborator, revision): (model::Collaborator, i32)) -> Result<Self> {
        let project = caller.load(collaborator.project_id).await?.map(Project);
        Ok(Self { collaborator: Collaborator(collaborator), project, revision })
    }
}

/// What an invitation to an e-mail address answers; the same whether anybody has that address or not.
#[derive(SimpleObject)]
struct EmailInvitationPayload {
    /// The invitation.
    email_invitation: EmailInvitation,
    /// The revision that was made, or the present one where nothing changed.
    revision: i32,
}

/// What leaving a project answers. The project itself is no longer there for the caller.
#[derive(SimpleObject)]
struct LeaveProjectPayload {
    /// The project's id.
    project_id: ID,
    /// The revision that was made.
    revision: i32,
}

/// What declining an invitation answers.
#[derive(SimpleObject)]
struct DeclineInvitationPayload {
    /// The project's id.
    project_id: ID,
}

#[Object]
impl CollaboratorMutation {
    /// Asks a user into a project. They see it once they have accepted; meanwhile `invitations` shows it to them. Asking again
    /// with another role replaces what they were asked before.
    async fn invite_collaborator(
        &self,
        ctx: &Context<'_>,
        input: InviteCollaboratorInput,
    ) -> Attempt<CollaboratorPayload> {
        attempt(async {
            let (project, user, role) = input.part()?;
            let caller = caller(ctx)?;
            let invite = |writer| collaborator::invite(writer, project, user, role);
            CollaboratorPayload::of(caller, caller.write(invite).await?).await
        })
        .await
    }

    /// Asks whoever has an e-mail address into a project, now or once they sign up: `invitations` shows it to the user whose
    /// token says that the address is theirs and verified. Nothing tells whether there is such a user before they accept.
    async fn invite_by_email(&self, ctx: &Context<'_>, input: InviteByEmailInput) -> Attempt<EmailInvitationPayload> {
        attempt(async {
            let project = ProjectId::parse(&input.project_id, "projectId")?;
            let email = EmailAddress::parse(&input.email, "email")?;
            let caller = caller(ctx)?;
            let invite = |writer| collaborator::invite_email(writer, project, email, input.role.into());
            let (invited, revision) = caller.write(invite).await?;
            Ok(EmailInvitationPayload { email_invitation: EmailInvitation(invited), revision })
        })
        .await
    }

    /// Takes an invitation to an e-mail address back (`removeCollaborator` takes back one to a user).
    async fn withdraw_email_invitation(
        &self,
        ctx: &Context<'_>,
        project_id: ID,
        email: String,
    ) -> Attempt<ProjectPayload> {
        attempt(async {
            let project = ProjectId::parse(&project_id, "projectId")?;
            let email = EmailAddress::parse(&email, "email")?;
            let caller = caller(ctx)?;
            let withdraw = |writer| collaborator::withdraw_email(writer, project, email);
            Ok(caller.write(withdraw).await?.into())
        })
        .await
    }

    /// Makes the caller a member of a project into which they were invited; who is one already stays as they are.
    async fn accept_invitation(&self, ctx: &Context<'_>, project_id: ID) -> Attempt<CollaboratorPayload> {
        attempt(async {
            let project = ProjectId::parse(&project_id, "projectId")?;
            let caller = caller(ctx)?;
            let accept = |writer| collaborator::accept(writer, project);
            CollaboratorPayload::of(caller, caller.write(accept).await?).await
        })
        .await
    }

    /// Answers the caller's invitation with no. They can be asked again.
    async fn decline_invitation(&self, ctx: &Context<'_>, project_id: ID) -> Attempt<DeclineInvitationPayload> {
        attempt(async {
            let project = ProjectId::parse(&project_id, "projectId")?;
            let caller = caller(ctx)?;
            caller.write(|writer| collaborator::decline(writer, project)).await?;
            Ok(DeclineInvitationPayload { project_id })
        })
        .await
    }

    /// Gives somebody who is in a project, or invited to it, another role. It holds from their next write on; who becomes a
    /// viewer has their active session ended.
    async fn change_collaborator_role(
        &self,
        ctx: &Context<'_>,
        input: InviteCollaboratorInput,
    ) -> Attempt<CollaboratorPayload> {
        attempt(async {
            let (project, user, role) = input.part()?;
            let caller = caller(ctx)?;
            let change = |writer| collaborator::change_role(writer, project, user, role);
            CollaboratorPayload::of(caller, caller.write(change).await?).await
        })
        .await
    }

    /// The owner removes anyone else; anyone removes themselves (`leaveProject`). Their active session ends, their subscriptions
    /// end within a second, and what they did stays in the history, under their name.
    async fn remove_collaborator(&self, ctx: &Context<'_>, project_id: ID, user_id: ID) -> Attempt<ProjectPayload> {
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
    async fn leave_project(&self, ctx: &Context<'_>, project_id: ID) -> Attempt<LeaveProjectPayload> {
        attempt(async {
            let project = ProjectId::parse(&project_id, "projectId")?;
            let caller = caller(ctx)?;
            let leave = |writer| collaborator::remove(writer, project, caller.actor.user_id);
            Ok(LeaveProjectPayload { project_id, revision: caller.write(leave).await?.revision })
        })
        .await
    }

    /// Gives a project to one of its members. Its former owner becomes an editor.
    async fn transfer_ownership(&self, ctx: &Context<'_>, project_id: ID, user_id: ID) -> Attempt<ProjectPayload> {
        attempt(async {
            let project = ProjectId::parse(&project_id, "projectId")?;
            let user = UserId::parse(&user_id, "userId")?;
            let caller = caller(ctx)?;
            let transfer = |writer| collaborator::transfer(writer, project, user);
            Ok(caller.write(transfer).await?.into())
        })
        .await
    }
}
