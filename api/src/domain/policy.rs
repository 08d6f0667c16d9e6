//! Permissions of a project's members, as in the table of ARCHITECTURE.md (a test compares them). The storage hides
//! projects from everyone else.

use crate::model::actor::Actor;
use crate::model::enums::ProjectRole;
use crate::model::error::{Error, Result};
use crate::model::ids::UserId;

fn only(allowed: bool, or_else: &str) -> Result<()> {
    if allowed { Ok(()) } else { Err(Error::Forbidden(or_else.to_owned())) }
}

/// Owners and editors can write.
///
/// # Errors
/// `Forbidden` for viewers.
pub fn may_write(role: ProjectRole) -> Result<()> {
    only(role != ProjectRole::Viewer, "Viewers can read the project but not change it.")
}

/// Only the owner can delete or restore a project.
///
/// # Errors
/// `Forbidden` for other members.
pub fn may_delete_project(role: ProjectRole) -> Result<()> {
    only(role == ProjectRole::Owner, "Only the owner can delete or restore a project.")
}

/// Only the owner can manage the team and transfer the project.
///
/// # Errors
/// `Forbidden` for other members.
pub fn may_manage_team(role: ProjectRole) -> Result<()> {
    only(role == ProjectRole::Owner, "Only the owner can manage the team of a project.")
}

/// Only the owner can manage the webhooks.
///
/// # Errors
/// `Forbidden` for other members.
pub fn may_manage_webhooks(role: ProjectRole) -> Result<()> {
    only(role == ProjectRole::Owner, "Only the owner can manage the webhooks of a project.")
}

/// Only the owner can export the whole project.
///
/// # Errors
/// `Forbidden` for other members.
pub fn may_export(role: ProjectRole) -> Result<()> {
    only(role == ProjectRole::Owner, "Only the owner can export a whole project.")
}

/// The owner can remove anyone else; all people can leave.
///
/// # Errors
/// `Forbidden` otherwise.
pub fn may_remove(role: ProjectRole, actor: &Actor, whom: UserId) -> Result<()> {
    let leaves = actor.user_id == whom && !actor.is_machine;
    only(role == ProjectRole::Owner || leaves, "Only the owner can remove others, and access tokens, from a project.")
}

/// A machine has nothing outside of its project: it creates no projects and has no settings.
///
/// # Errors
/// `Forbidden` for machines.
pub fn may_act_outside_projects(actor: &Actor) -> Result<()> {
    only(!actor.is_machine, "An access token acts only in its project.")
}

/// Only its author can write in a session.
///
/// # Errors
/// `Forbidden` for other members.
pub fn may_write_in_session(author: UserId, actor: UserId) -> Result<()> {
    only(author == actor, "Only the author can write in a session.")
}

/// The author can discard a streaming message. The project's owner can too, since the author may have abandoned it.
///
/// # Errors
/// `Forbidden` for other members.
pub fn may_discard(role: ProjectRole, author: UserId, actor: UserId) -> Result<()> {
    may_write(role)?;
    only(role == ProjectRole::Owner || author == actor, "Only the author or the project's owner can discard a message.")
}
