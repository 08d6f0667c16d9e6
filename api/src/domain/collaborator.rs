//! The team of a project: invitations, roles, leaving, and transfer of ownership.

use super::project::{Target, read_back, read_unlocked};
use super::write::{Noun, Write, project_is_deleted};
use super::{Tx, Writer, policy};
use crate::model::collaborator::{Collaborator, EmailAddress, EmailInvitation};
use crate::model::enums::{EventKind, ProjectRole, ProjectStatus};
use crate::model::error::{Error, Result};
use crate::model::ids::{ProjectId, UserId};
use crate::model::limits::Limits;
use crate::model::project::Project;
pub use crate::storage::collaborator::{
    email_invitations, invitations, invitations_count, invitations_into, of_projects,
};
use crate::storage::project::set_owner;
use crate::storage::{chat, collaborator, profile};

/// A value with the revision of the write, or the present revision if nothing changed.
type Written<T> = (T, i32);

const PROJECT: Noun = ("project", "projectId");

/// The kind of the events of changes of a team.
pub(super) const CHANGED: EventKind = EventKind::CollaboratorsChanged;

/// Begins a write by the owner.
async fn begin(writer: &Writer, project: ProjectId) -> Result<Write> {
    writer.begin_for(Target::Project(project), PROJECT, policy::may_manage_team).await
}

/// Commits a write and returns `value`.
async fn commit<T>(write: Write, value: T) -> Result<Written<T>> {
    let revision = write.locked.revision;
    write.commit(CHANGED, (value, revision)).await
}

/// Ends a write without changes and returns `value`.
async fn unchanged<T>(write: Write, value: T) -> Result<Written<T>> {
    let revision = write.present_revision();
    write.unchanged((value, revision)).await
}

async fn present(tx: &Tx, project: ProjectId, user: UserId) -> Result<Collaborator> {
    let found = collaborator::one(tx, project, user).await?;
    found.ok_or_else(|| Error::not_found("collaborator", "userId"))
}

/// A project has exactly one owner.
pub(super) fn check_role(role: ProjectRole) -> Result<()> {
    match role {
        ProjectRole::Owner => {
            Err(Error::bad_input("role", "A project has exactly one owner; use `transferOwnership`."))
        }
        ProjectRole::Editor | ProjectRole::Viewer => Ok(()),
    }
}

async fn check_room(tx: &Tx, limits: &Limits, project: ProjectId, field: &'static str) -> Result<()> {
    let count = collaborator::count(tx, project).await?;
    super::check_room(count, limits.max_collaborators, field, "collaborators and invitations", "--max-collaborators")
}

fn of_a_machine(message: &str) -> Error {
    Error::conflict("userId", message)
}

fn no_invitation() -> Error {
    Error::not_found("invitation", "projectId")
}

/// Invites a user to a project. An open invitation is replaced.
///
/// # Errors
/// `NotFound` if the project or user does not exist; `Forbidden` unless the actor is the owner; `BadInput` for the
/// owner and for the owner's role; `Conflict` for a member with another role.
pub async fn invite(
    writer: Writer,
    project: ProjectId,
    user: UserId,
    role: ProjectRole,
) -> Result<Written<Collaborator>> {
    check_role(role)?;
    let write = begin(&writer, project).await?;
    let (tx, owner) = (&write.tx, writer.actor.user_id);
    if user == owner {
        return Err(Error::bad_input("userId", "You are the owner of this project."));
    }
    match collaborator::one(tx, project, user).await? {
        Some(present) if present.role == role => return unchanged(write, present).await,
        Some(present) if present.accepted_at.is_some() => {
            let message = "The user is in the project with another role; use `changeCollaboratorRole`.";
            return Err(Error::conflict("userId", message));
        }
        Some(_) => {}
        None => check_room(tx, writer.limits(), project, "userId").await?,
    }
    let invited = Collaborator {
        project_id: project,
        user_id: user,
        role,
        invited_by: Some(owner),
        invited_at: write.locked.at,
        accepted_at: None,
    };
    if !collaborator::invite(tx, &invited).await? {
        return Err(Error::not_found("user", "userId"));
    }
    commit(write, invited).await
}

/// Invites an e-mail address to a project. Whether a user has the address is neither looked up nor revealed.
///
/// # Errors
/// `NotFound`; `Forbidden` unless the actor is the owner; `BadInput` for the owner's own address and for the owner's
/// role.
pub async fn invite_email(
    writer: Writer,
    project: ProjectId,
    email: EmailAddress,
    role: ProjectRole,
) -> Result<Written<EmailInvitation>> {
    check_role(role)?;
    let write = begin(&writer, project).await?;
    let (tx, owner) = (&write.tx, &writer.actor);
    if owner.verified_email.as_ref() == Some(&email) {
        return Err(Error::bad_input("email", "You are the owner of this project."));
    }
    let sent = collaborator::email_invitations(tx, &[project]).await?;
    match sent.into_iter().find(|sent| sent.email == email) {
        // An invitation older than the departure no longer counts; a new one does.
        Some(present)
            if present.role == role && !collaborator::has_lost_since(tx, project, present.invited_at).await? =>
        {
            return unchanged(write, present).await;
        }
        Some(_) => {}
        None => check_room(tx, writer.limits(), project, "email").await?,
    }
    let invited = EmailInvitation {
        project_id: project,
        email,
        role,
        invited_by: Some(owner.user_id),
        invited_at: write.locked.at,
    };
    collaborator::invite_email(tx, &invited).await?;
    commit(write, invited).await
}

/// Withdraws the invitation of an e-mail address.
///
/// # Errors
/// `NotFound`; `Forbidden` unless the actor is the owner.
pub async fn withdraw_email(writer: Writer, project: ProjectId, email: EmailAddress) -> Result<Project> {
    let write = begin(&writer, project).await?;
    if !collaborator::withdraw_email(&write.tx, project, &email).await? {
        return Err(Error::not_found("invitation", "email"));
    }
    let closed = write.close(CHANGED).await?;
    let project = read_back(&closed.tx, project).await?;
    closed.commit(project).await
}

/// Accepts the actor's invitation to a project. Does nothing if the actor is a member.
///
/// # Errors
/// `NotFound` if there is no invitation.
pub async fn accept(writer: Writer, project: ProjectId) -> Result<Written<Collaborator>> {
    let me = writer.actor.user_id;
    let Some(write) = writer.begin_as_invited(project).await? else {
        let tx = writer.read().await?;
        let present = collaborator::one(&tx, project, me).await?.ok_or_else(no_invitation)?;
        return Ok((present, read_unlocked(&tx, project, PROJECT).await?.revision));
    };
    if !collaborator::accept(&write.tx, project, write.locked.at).await? {
        // A concurrent request has answered first.
        let present = collaborator::one(&write.tx, project, me).await?.ok_or_else(no_invitation)?;
        return unchanged(write, present).await;
    }
    let joined = collaborator::one(&write.tx, project, me).await?;
    let joined = joined.ok_or_else(|| Error::internal("a new member is none"))?;
    commit(write, joined).await
}

/// Declines the actor's invitation to a project.
///
/// # Errors
/// `NotFound` if there is no invitation.
pub async fn decline(writer: Writer, project: ProjectId) -> Result<()> {
    let write = writer.begin_as_invited(project).await?.ok_or_else(no_invitation)?;
    // Append the event first: without the invitation the actor could not.
    let closed = write.close(CHANGED).await?;
    if !collaborator::decline(&closed.tx, project).await? {
        return Err(no_invitation());
    }
    closed.commit(()).await
}

/// Changes the role of a collaborator or of an invitation. A new viewer's session is ended.
///
/// # Errors
/// `NotFound`; `Forbidden` unless the actor is the owner; `BadInput` for the owner's role; `Conflict` for the owner, and
/// for the user of an access token.
pub async fn change_role(
    writer: Writer,
    project: ProjectId,
    user: UserId,
    role: ProjectRole,
) -> Result<Written<Collaborator>> {
    check_role(role)?;
    let mut write = begin(&writer, project).await?;
    if user == writer.actor.user_id {
        let message = "A project has exactly one owner; use `transferOwnership`.";
        return Err(Error::conflict("userId", message));
    }
    let present = present(&write.tx, project, user).await?;
    if present.role == role {
        return unchanged(write, present).await;
    }
    write.about.session = match role {
        ProjectRole::Viewer => chat::end_active(&write.tx, project, user, write.locked.at).await?,
        ProjectRole::Owner | ProjectRole::Editor => None,
    };
    if !collaborator::set_role(&write.tx, project, user, role).await? {
        return Err(of_a_machine("The role of an access token does not change: create another token."));
    }
    commit(write, Collaborator { role, ..present }).await
}

/// Removes a user from a project, or lets the actor leave, and ends the user's session. The user's work keeps their
/// name. Returns the project as the actor last saw it.
///
/// # Errors
/// `NotFound`; `Forbidden` unless the actor is the owner or the user; `Conflict` for the owner.
pub async fn remove(writer: Writer, project: ProjectId, user: UserId) -> Result<Project> {
    let me = writer.actor.user_id;
    let mut write = writer.begin_as_member(project, PROJECT).await?;
    policy::may_remove(write.locked.role, &writer.actor, user)?;
    profile::refuse_machine(&write.tx).await?;
    if write.locked.status == ProjectStatus::Deleted {
        return Err(project_is_deleted(PROJECT.1));
    }
    if write.locked.role == ProjectRole::Owner && user == me {
        let message = "A project has exactly one owner; use `transferOwnership` before leaving.";
        return Err(Error::conflict("userId", message));
    }
    let present = present(&write.tx, project, user).await?;
    write.about.session = chat::end_active(&write.tx, project, user, write.locked.at).await?;
    // Append the event first: after leaving, the actor could neither append it nor read the project.
    let closed = write.close(CHANGED).await?;
    let seen = read_back(&closed.tx, project).await?;
    if present.accepted_at.is_some() {
        collaborator::remember(&closed.tx, project, user, closed.locked.at).await?;
    }
    collaborator::remove(&closed.tx, project, user).await?;
    closed.commit(seen).await
}

/// Transfers a project to a member. The former owner becomes an editor.
///
/// # Errors
/// `NotFound` if the user is not in the project; `Forbidden` unless the actor is the owner; `Conflict` if the user has
/// not accepted yet, or is a machine.
pub async fn transfer(writer: Writer, project: ProjectId, user: UserId) -> Result<Project> {
    let owner = writer.actor.user_id;
    let write = begin(&writer, project).await?;
    if user == owner {
        write.unchanged(()).await?;
        return read_unlocked(&writer.read().await?, project, PROJECT).await;
    }
    if present(&write.tx, project, user).await?.accepted_at.is_none() {
        return Err(Error::conflict("userId", "The user has not accepted the invitation yet."));
    }
    let closed = write.close(CHANGED).await?;
    let (tx, now) = (&closed.tx, closed.locked.at);
    let stays = Collaborator {
        project_id: project,
        user_id: owner,
        role: ProjectRole::Editor,
        invited_by: Some(owner),
        invited_at: now,
        accepted_at: Some(now),
    };
    collaborator::invite(tx, &stays).await?;
    if !set_owner(tx, project, user).await? {
        return Err(of_a_machine("An access token cannot own a project."));
    }
    let project = read_back(tx, project).await?;
    closed.commit(project).await
}
