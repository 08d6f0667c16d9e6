//! Who is in a project: invitations, roles, leaving, and giving it to another.

use std::sync::Arc;

use super::project::{Locked, Target, deleted, event_of, lock_for, read_back};
use super::{Services, Tx, policy, write};
use crate::model::actor::Actor;
use crate::model::clock;
use crate::model::collaborator::{Collaborator, EmailAddress, EmailInvitation};
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::ids::{ProjectId, SessionId, UserId};
use crate::model::limits::Limits;
use crate::model::names::{EventKind, ProjectRole, ProjectStatus};
use crate::model::project::Project;
pub use crate::storage::collaborator::{email_invitations, invitations, invitations_count, of_projects};
use crate::storage::project::{Counts, set_owner};
use crate::storage::{chat, collaborator, event};

/// A value, with the revision that a write made, or the present one where it changed nothing.
type Written<T> = (T, i32);

const PROJECT: (&str, &str) = ("project", "projectId");

async fn lock(tx: &Tx, project: ProjectId, may: impl FnOnce(ProjectRole) -> Result<()>) -> Result<Locked> {
    lock_for(tx, Target::Project(project), Counts::default(), PROJECT, may).await
}

async fn note(tx: &Tx, actor: &Actor, locked: &Locked, ended: Option<SessionId>) -> Result<()> {
    let changed = Event { session_id: ended, ..event_of(actor, locked, EventKind::CollaboratorsChanged) };
    event::append(tx, &changed, None).await
}

/// Gives up the revision that was taken: nothing changed.
fn unchanged<T>(tx: &Tx, locked: &Locked, value: T) -> Written<T> {
    tx.abandon();
    (value, locked.revision - 1)
}

async fn present(tx: &Tx, project: ProjectId, user: UserId) -> Result<Collaborator> {
    let found = collaborator::one(tx, project, user).await?;
    found.ok_or_else(|| Error::not_found("collaborator", "userId"))
}

/// A project has exactly one owner.
fn check_role(role: ProjectRole) -> Result<()> {
    match role {
        ProjectRole::Owner => {
            Err(Error::bad_input("role", "A project has one owner; `transferOwnership` gives it to another."))
        }
        ProjectRole::Editor | ProjectRole::Viewer => Ok(()),
    }
}

async fn check_room(tx: &Tx, limits: &Limits, project: ProjectId, field: &'static str) -> Result<()> {
    let count = collaborator::count(tx, project).await?;
    super::check_room(count, limits.max_collaborators, field, "collaborators and invitations", "--max-collaborators")
}

fn no_invitation() -> Error {
    Error::not_found("invitation", "projectId")
}

/// Asks a user into a project. Who was asked already and has not answered is asked again, as what is said now.
///
/// # Errors
/// `NotFound` for a project or user that is not there; `Forbidden` for anyone but the owner; `BadInput` for the owner and for
/// the owner's role; `Conflict` for somebody who is in the project with another role.
pub async fn invite(
    services: &Arc<Services>,
    actor: &Actor,
    project: ProjectId,
    user: UserId,
    role: ProjectRole,
) -> Result<Written<Collaborator>> {
    check_role(role)?;
    let (owner, limits) = (actor.clone(), services.limits.clone());
    write(services, actor, move |tx| {
        Box::pin(async move {
            let locked = lock(tx, project, policy::may_manage_team).await?;
            if user == owner.user_id {
                return Err(Error::bad_input("userId", "You own this project: you are in it already."));
            }
            match collaborator::one(tx, project, user).await? {
                Some(present) if present.role == role => return Ok(unchanged(tx, &locked, present)),
                Some(present) if present.accepted_at.is_some() => {
                    let message = "They are in the project with another role; `changeCollaboratorRole` changes it.";
                    return Err(Error::conflict("userId", message));
                }
                Some(_) => {}
                None => check_room(tx, &limits, project, "userId").await?,
            }
            let invited = Collaborator {
                project_id: project,
                user_id: user,
                role,
                invited_by: Some(owner.user_id),
                invited_at: locked.at,
                accepted_at: None,
            };
            if !collaborator::invite(tx, &invited).await? {
                return Err(Error::not_found("user", "userId"));
            }
            note(tx, &owner, &locked, None).await?;
            Ok((invited, locked.revision))
        })
    })
    .await
}

/// Asks whoever has an e-mail address into a project. Whether anybody has it is neither looked up nor said.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but the owner; `BadInput` for the owner's own address and for the owner's role.
pub async fn invite_email(
    services: &Arc<Services>,
    actor: &Actor,
    project: ProjectId,
    email: EmailAddress,
    role: ProjectRole,
) -> Result<Written<EmailInvitation>> {
    check_role(role)?;
    let (owner, limits) = (actor.clone(), services.limits.clone());
    write(services, actor, move |tx| {
        Box::pin(async move {
            let locked = lock(tx, project, policy::may_manage_team).await?;
            if owner.verified_email.as_ref() == Some(&email) {
                return Err(Error::bad_input("email", "You own this project: you are in it already."));
            }
            let sent = collaborator::email_invitations(tx, &[project]).await?;
            match sent.into_iter().find(|sent| sent.email == email) {
                // For whoever has left since it is none, unless they are asked again.
                Some(present)
                    if present.role == role
                        && !collaborator::has_lost_since(tx, project, present.invited_at).await? =>
                {
                    return Ok(unchanged(tx, &locked, present));
                }
                Some(_) => {}
                None => check_room(tx, &limits, project, "email").await?,
            }
            let invited = EmailInvitation {
                project_id: project,
                email,
                role,
                invited_by: Some(owner.user_id),
                invited_at: locked.at,
            };
            collaborator::invite_email(tx, &invited).await?;
            note(tx, &owner, &locked, None).await?;
            Ok((invited, locked.revision))
        })
    })
    .await
}

/// Takes an invitation to an e-mail address back.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but the owner.
pub async fn withdraw_email(
    services: &Arc<Services>,
    actor: &Actor,
    project: ProjectId,
    email: EmailAddress,
) -> Result<Project> {
    let owner = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let locked = lock(tx, project, policy::may_manage_team).await?;
            if !collaborator::withdraw_email(tx, project, &email).await? {
                return Err(Error::not_found("invitation", "email"));
            }
            note(tx, &owner, &locked, None).await?;
            read_back(tx, project).await
        })
    })
    .await
}

/// Makes the actor a member of a project into which they were invited. A member stays as they are.
///
/// # Errors
/// `NotFound` where they have no invitation.
pub async fn accept(services: &Arc<Services>, actor: &Actor, project: ProjectId) -> Result<Written<Collaborator>> {
    let invited = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let me = invited.user_id;
            let Some(locked) = collaborator::lock_as_invited(tx, project, clock::now()).await? else {
                let present = collaborator::one(tx, project, me).await?.ok_or_else(no_invitation)?;
                return Ok((present, read_back(tx, project).await?.revision));
            };
            if !collaborator::accept(tx, project, locked.at).await? {
                // Another answer came first, and this one has waited for it.
                let present = collaborator::one(tx, project, me).await?.ok_or_else(no_invitation)?;
                return Ok(unchanged(tx, &locked, present));
            }
            note(tx, &invited, &locked, None).await?;
            let joined = collaborator::one(tx, project, me).await?;
            Ok((joined.ok_or_else(|| Error::internal("a new member is none"))?, locked.revision))
        })
    })
    .await
}

/// Answers the actor's invitation into a project with no.
///
/// # Errors
/// `NotFound` where they have no invitation.
pub async fn decline(services: &Arc<Services>, actor: &Actor, project: ProjectId) -> Result<()> {
    let invited = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let locked = collaborator::lock_as_invited(tx, project, clock::now()).await?.ok_or_else(no_invitation)?;
            note(tx, &invited, &locked, None).await?;
            if collaborator::decline(tx, project).await? { Ok(()) } else { Err(no_invitation()) }
        })
    })
    .await
}

/// Gives somebody who is in a project, or invited to it, another role. Who reads from now on has their session ended.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but the owner; `BadInput` for the owner's role; `Conflict` for the owner.
pub async fn change_role(
    services: &Arc<Services>,
    actor: &Actor,
    project: ProjectId,
    user: UserId,
    role: ProjectRole,
) -> Result<Written<Collaborator>> {
    check_role(role)?;
    let owner = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let locked = lock(tx, project, policy::may_manage_team).await?;
            if user == owner.user_id {
                let message = "A project has exactly one owner; `transferOwnership` gives it to another.";
                return Err(Error::conflict("userId", message));
            }
            let present = present(tx, project, user).await?;
            if present.role == role {
                return Ok(unchanged(tx, &locked, present));
            }
            let ended = match role {
                ProjectRole::Viewer => chat::end_active(tx, project, user, locked.at).await?,
                ProjectRole::Owner | ProjectRole::Editor => None,
            };
            collaborator::set_role(tx, project, user, role).await?;
            note(tx, &owner, &locked, ended).await?;
            Ok((Collaborator { role, ..present }, locked.revision))
        })
    })
    .await
}

/// Takes somebody out of a project, or the actor themselves, and ends their session. What they did there stays, under their
/// name. Answers the project as the actor saw it last.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but the owner and the one who leaves; `Conflict` for the owner.
pub async fn remove(services: &Arc<Services>, actor: &Actor, project: ProjectId, user: UserId) -> Result<Project> {
    let remover = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let locked = collaborator::lock_as_member(tx, project, clock::now()).await?;
            let locked = locked.ok_or_else(|| Error::not_found("project", "projectId"))?;
            policy::may_remove(locked.role, remover.user_id, user)?;
            if locked.status == ProjectStatus::Deleted {
                return Err(deleted("projectId"));
            }
            if locked.role == ProjectRole::Owner && user == remover.user_id {
                let message = "A project has exactly one owner; `transferOwnership` first, then leave.";
                return Err(Error::conflict("userId", message));
            }
            let present = present(tx, project, user).await?;
            let seen = read_back(tx, project).await?;
            let ended = chat::end_active(tx, project, user, locked.at).await?;
            note(tx, &remover, &locked, ended).await?;
            if present.accepted_at.is_some() {
                collaborator::remember(tx, project, user, locked.at).await?;
            }
            collaborator::remove(tx, project, user).await?;
            Ok(seen)
        })
    })
    .await
}

/// Gives a project to one of its members. Its former owner becomes an editor.
///
/// # Errors
/// `NotFound` for somebody who is not in the project; `Forbidden` for anyone but the owner; `Conflict` for somebody who has not
/// accepted yet.
pub async fn transfer(services: &Arc<Services>, actor: &Actor, project: ProjectId, user: UserId) -> Result<Project> {
    let owner = actor.clone();
    let transferred = write(services, actor, move |tx| {
        Box::pin(async move {
            let locked = lock(tx, project, policy::may_manage_team).await?;
            if user == owner.user_id {
                tx.abandon();
                return Ok(None);
            }
            if present(tx, project, user).await?.accepted_at.is_none() {
                return Err(Error::conflict("userId", "They have not accepted the invitation yet."));
            }
            note(tx, &owner, &locked, None).await?;
            collaborator::remove(tx, project, user).await?;
            let stays = Collaborator {
                project_id: project,
                user_id: owner.user_id,
                role: ProjectRole::Editor,
                invited_by: Some(owner.user_id),
                invited_at: locked.at,
                accepted_at: Some(locked.at),
            };
            collaborator::invite(tx, &stays).await?;
            set_owner(tx, project, user).await?;
            read_back(tx, project).await.map(Some)
        })
    })
    .await?;
    match transferred {
        Some(project) => Ok(project),
        None => read_back(&services.read(actor).await?, project).await,
    }
}
