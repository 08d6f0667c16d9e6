//! Who may do what in a project, as the table in ARCHITECTURE.md says (and a test holds it to). That somebody who is no member
//! sees nothing is the storage's part; this is about members.

use crate::model::error::{Error, Result};
use crate::model::ids::UserId;
use crate::model::names::ProjectRole;

fn only(allowed: bool, or_else: &str) -> Result<()> {
    if allowed { Ok(()) } else { Err(Error::Forbidden(or_else.to_owned())) }
}

/// Owners and editors write.
///
/// # Errors
/// `Forbidden` for viewers.
pub fn may_write(role: ProjectRole) -> Result<()> {
    only(role != ProjectRole::Viewer, "Viewers of a project read it and change nothing.")
}

/// Only the owner deletes a project or brings it back.
///
/// # Errors
/// `Forbidden` for everybody else.
pub fn may_delete_project(role: ProjectRole) -> Result<()> {
    only(role == ProjectRole::Owner, "Only its owner deletes a project or brings it back.")
}

/// Only the owner says who is in a project and as what, and gives it to another.
///
/// # Errors
/// `Forbidden` for everybody else.
pub fn may_manage_team(role: ProjectRole) -> Result<()> {
    only(role == ProjectRole::Owner, "Only its owner says who is in a project and as what.")
}

/// The owner removes anyone else; anyone removes themselves.
///
/// # Errors
/// `Forbidden` where neither is so.
pub fn may_remove(role: ProjectRole, actor: UserId, whom: UserId) -> Result<()> {
    only(role == ProjectRole::Owner || actor == whom, "Only its owner removes others from a project.")
}

/// Only its author writes in a session.
///
/// # Errors
/// `Forbidden` for everybody else.
pub fn may_write_in_session(author: UserId, actor: UserId) -> Result<()> {
    only(author == actor, "Only its author writes in a session.")
}

/// Its author discards a message that is being written, and the project's owner what somebody has left behind.
///
/// # Errors
/// `Forbidden` for everybody else.
pub fn may_discard(role: ProjectRole, author: UserId, actor: UserId) -> Result<()> {
    may_write(role)?;
    only(role == ProjectRole::Owner || author == actor, "Only its author discards a message, or the project's owner.")
}
