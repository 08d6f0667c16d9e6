//! Who is in a project: invitations, roles, leaving, and giving it to another.

use super::project::{Target, read_back};
use super::write::{Noun, Write, project_is_deleted};
use super::{Tx, Writer, policy};
use crate::model::collaborator::{Collaborator, EmailAddress, EmailInvitation};
use crate::model::error::{Error, Result};
use crate::model::ids::{ProjectId, UserId};
use crate::model::limits::Limits;
use crate::model::names::{EventKind, ProjectRole, ProjectStatus};
use crate::model::project::Project;
pub use crate::storage::collaborator::{
    email_invitations, invitations, invitations_count, invitations_into, of_projects,
};
use crate::storage::project::set_owner;
use crate::storage::{chat, collaborator};

/// A value, with the revision that a write made, or the present one where it changed nothing.
type Written<T> = (T, i32);

const PROJECT: Noun = ("project", "projectId");

/// The kind of every event here.
const CHANGED: EventKind = EventKind::CollaboratorsChanged;

/// Begins a write of the owner's.
async fn begin(writer: &Writer, project: ProjectId) -> Result<Write> {
    writer.begin_for(Target::Project(project), PROJECT, policy::may_manage_team).await
}

/// Commits a write that made `value`.
async fn commit<T>(write: Write, value: T) -> Result<Written<T>> {
    let revision = write.locked.revision;
    write.commit(CHANGED, (value, revision)).await
}

/// Ends a write that found `value` as it is to be.
async fn unchanged<T>(write: Write, value: T) -> Result<Written<T>> {
    let revision = write.present_revision();
    write.unchanged((value, revision)).await
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
    writer: Writer,
    project: ProjectId,
    user: UserId,
    role: ProjectRole,
) -> Result<Written<Collaborator>> {
    check_role(role)?;
    let write = begin(&writer, project).await?;
    let (tx, owner) = (&write.tx, writer.actor.user_id);
    if user == owner {
        return Err(Error::bad_input("userId", "You own this project: you are in it already."));
    }
    match collaborator::one(tx, project, user).await? {
        Some(present) if present.role == role => return unchanged(write, present).await,
        Some(present) if present.accepted_at.is_some() => {
            let message = "They are in the project with another role; `changeCollaboratorRole` changes it.";
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

/// Asks whoever has an e-mail address into a project. Whether anybody has it is neither looked up nor said.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but the owner; `BadInput` for the owner's own address and for the owner's role.
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
        return Err(Error::bad_input("email", "You own this project: you are in it already."));
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

/// Takes an invitation to an e-mail address back.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but the owner.
pub async fn withdraw_email(writer: Writer, project: ProjectId, email: EmailAddress) -> Result<Project> {
    let write = begin(&writer, project).await?;
    if !collaborator::withdraw_email(&write.tx, project, &email).await? {
        return Err(Error::not_found("invitation", "email"));
    }
    let closed = write.close(CHANGED).await?;
    let project = read_back(&closed.tx, project).await?;
    closed.commit(project).await
}

/// Makes the actor a member of a project into which they were invited. A member stays as they are.
///
/// # Errors
/// `NotFound` where they have no invitation.
pub async fn accept(writer: Writer, project: ProjectId) -> Result<Written<Collaborator>> {
    let me = writer.actor.user_id;
    let Some(write) = writer.begin_as_invited(project).await? else {
        let tx = writer.read().await?;
        let present = collaborator::one(&tx, project, me).await?.ok_or_else(no_invitation)?;
        return Ok((present, read_back(&tx, project).await?.revision));
    };
    if !collaborator::accept(&write.tx, project, write.locked.at).await? {
        // Another answer came first, and this one has waited for it.
        let present = collaborator::one(&write.tx, project, me).await?.ok_or_else(no_invitation)?;
        return unchanged(write, present).await;
    }
    let joined = collaborator::one(&write.tx, project, me).await?;
    let joined = joined.ok_or_else(|| Error::internal("a new member is none"))?;
    commit(write, joined).await
}

/// Answers the actor's invitation into a project with no.
///
/// # Errors
/// `NotFound` where they have no invitation.
pub async fn decline(writer: Writer, project: ProjectId) -> Result<()> {
    let write = writer.begin_as_invited(project).await?.ok_or_else(no_invitation)?;
    // Without the invitation the actor could not add the event.
    let closed = write.close(CHANGED).await?;
    if !collaborator::decline(&closed.tx, project).await? {
        return Err(no_invitation());
    }
    closed.commit(()).await
}

/// Gives somebody who is in a project, or invited to it, another role. Who reads from now on has their session ended.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but the owner; `BadInput` for the owner's role; `Conflict` for the owner.
pub async fn change_role(
    writer: Writer,
    project: ProjectId,
    user: UserId,
    role: ProjectRole,
) -> Result<Written<Collaborator>> {
    check_role(role)?;
    let mut write = begin(&writer, project).await?;
    if user == writer.actor.user_id {
        let message = "A project has exactly one owner; `transferOwnership` gives it to another.";
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
    collaborator::set_role(&write.tx, project, user, role).await?;
    commit(write, Collaborator { role, ..present }).await
}

/// Takes somebody out of a project, or the actor themselves, and ends their session. What they did there stays, under their
/// name. Answers the project as the actor saw it last.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but the owner and the one who leaves; `Conflict` for the owner.
pub async fn remove(writer: Writer, project: ProjectId, user: UserId) -> Result<Project> {
    let me = writer.actor.user_id;
    let mut write = writer.begin_as_member(project, PROJECT).await?;
    policy::may_remove(write.locked.role, me, user)?;
    if write.locked.status == ProjectStatus::Deleted {
        return Err(project_is_deleted(PROJECT.1));
    }
    if write.locked.role == ProjectRole::Owner && user == me {
        let message = "A project has exactly one owner; `transferOwnership` first, then leave.";
        return Err(Error::conflict("userId", message));
    }
    let present = present(&write.tx, project, user).await?;
    write.about.session = chat::end_active(&write.tx, project, user, write.locked.at).await?;
    // Once they have left they could not add the event, nor read the project.
    let closed = write.close(CHANGED).await?;
    let seen = read_back(&closed.tx, project).await?;
    if present.accepted_at.is_some() {
        collaborator::remember(&closed.tx, project, user, closed.locked.at).await?;
    }
    collaborator::remove(&closed.tx, project, user).await?;
    closed.commit(seen).await
}

/// Gives a project to one of its members. Its former owner becomes an editor.
///
/// # Errors
/// `NotFound` for somebody who is not in the project; `Forbidden` for anyone but the owner; `Conflict` for somebody who has not
/// accepted yet.
pub async fn transfer(writer: Writer, project: ProjectId, user: UserId) -> Result<Project> {
    let owner = writer.actor.user_id;
    let write = begin(&writer, project).await?;
    if user == owner {
        write.unchanged(()).await?;
        return read_back(&writer.read().await?, project).await;
    }
    if present(&write.tx, project, user).await?.accepted_at.is_none() {
        return Err(Error::conflict("userId", "They have not accepted the invitation yet."));
    }
    let closed = write.close(CHANGED).await?;
    let (tx, now) = (&closed.tx, closed.locked.at);
    collaborator::remove(tx, project, user).await?;
    let stays = Collaborator {
        project_id: project,
        user_id: owner,
        role: ProjectRole::Editor,
        invited_by: Some(owner),
        invited_at: now,
        accepted_at: Some(now),
    };
    collaborator::invite(tx, &stays).await?;
    set_owner(tx, project, user).await?;
    let project = read_back(tx, project).await?;
    closed.commit(project).await
}
