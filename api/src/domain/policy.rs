//! Who may do what in a project. That somebody who is no member sees nothing is the storage's part; this is about members.

use crate::model::error::{Error, Result};
use crate::model::ids::UserId;
use crate::model::names::ProjectRole;

/// Owners and editors write.
///
/// # Errors
/// `Forbidden` for viewers.
pub fn may_write(role: ProjectRole) -> Result<()> {
    match role {
        ProjectRole::Owner | ProjectRole::Editor => Ok(()),
        ProjectRole::Viewer => Err(Error::Forbidden("Viewers of a project read it and change nothing.".to_owned())),
    }
}

/// Only the owner deletes a project or brings it back.
///
/// # Errors
/// `Forbidden` for everybody else.
pub fn may_delete_project(role: ProjectRole) -> Result<()> {
    match role {
        ProjectRole::Owner => Ok(()),
        _ => Err(Error::Forbidden("Only its owner deletes a project or brings it back.".to_owned())),
    }
}

/// Only its author writes in a session.
///
/// # Errors
/// `Forbidden` for everybody else.
pub fn may_write_in_session(author: UserId, actor: UserId) -> Result<()> {
    if author == actor { Ok(()) } else { Err(Error::Forbidden("Only its author writes in a session.".to_owned())) }
}
