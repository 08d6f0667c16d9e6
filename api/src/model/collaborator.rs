//! Collaborators and invitations.

use chrono::{DateTime, Utc};

use super::enums::ProjectRole;
use super::error::{Error, Result};
use super::ids::{ProjectId, UserId};
use super::page::{Cursor, Key};
use super::profile::Profile;

/// A user's membership in a project, or an invitation.
#[derive(Clone, Debug)]
pub struct Collaborator {
    /// The project.
    pub project_id: ProjectId,
    /// The user.
    pub user_id: UserId,
    /// The role.
    pub role: ProjectRole,
    /// The user who invited them.
    pub invited_by: Option<UserId>,
    /// When they were invited.
    pub invited_at: DateTime<Utc>,
    /// When they accepted; before that they have no access.
    pub accepted_at: Option<DateTime<Utc>>,
}

impl Collaborator {
    /// The name of the list of collaborators.
    pub const LIST: &str = "collaborators";

    /// The place in the list of collaborators.
    pub fn place(&self) -> Cursor {
        Cursor(vec![Key::Time(self.invited_at), Key::Id(self.user_id.0)])
    }
}

/// An invitation to an e-mail address, as the project's owner sees it.
#[derive(Clone, Debug)]
pub struct EmailInvitation {
    /// The project.
    pub project_id: ProjectId,
    /// The address.
    pub email: EmailAddress,
    /// The role after acceptance.
    pub role: ProjectRole,
    /// The user who sent it.
    pub invited_by: Option<UserId>,
    /// When it was sent.
    pub invited_at: DateTime<Utc>,
}

impl EmailInvitation {
    /// The name of the list of invitations.
    pub const LIST: &str = "emailInvitations";

    /// The place in the list of invitations.
    pub fn place(&self) -> Cursor {
        Cursor(vec![Key::Time(self.invited_at), Key::Text(self.email.as_str().to_owned())])
    }
}

/// An invitation as the invited user sees it. It reveals only the project's name.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// The project.
    pub project_id: ProjectId,
    /// The name of the project.
    pub project_name: String,
    /// The role after acceptance.
    pub role: ProjectRole,
    /// The user who sent it, without their e-mail address.
    pub invited_by: Option<Profile>,
    /// When it was sent.
    pub invited_at: DateTime<Utc>,
}

/// Longest address, in bytes (RFC 5321, section 4.5.3.1.3, without the angle brackets).
const MAX_ADDRESS_BYTES: usize = 254;

/// An e-mail address in the form in which addresses are compared: trimmed, with ASCII letters in lower case. Other
/// letters keep their case: some have an ASCII letter as their lower case (U+212A, the kelvin sign, becomes `k`), so
/// that one user's address could match another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Parses an address. It is not checked whether it receives mail: only a token with this address can accept the
    /// invitation.
    ///
    /// # Errors
    /// `BadInput` with `field` if it is not an e-mail address.
    pub fn parse(text: &str, field: &str) -> Result<Self> {
        let address = text.trim().to_ascii_lowercase();
        let is_one = address.len() <= MAX_ADDRESS_BYTES
            && !address.contains(|character: char| character.is_whitespace() || character.is_control())
            && address.rsplit_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
        if is_one { Ok(Self(address)) } else { Err(Error::bad_input(field, "This is not an e-mail address.")) }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalized() {
        let address = EmailAddress::parse(" Ada@Example.COM\n", "email").unwrap();
        assert_eq!(address.as_str(), "ada@example.com");
        assert_ne!(EmailAddress::parse("\u{212a}ate@example.com", "email").unwrap().as_str(), "kate@example.com");
        for text in
            ["", "@", "ada", "ada@", "@example.com", "a da@example.com", "ada@exa\0mple.com", "ada@\nexample.com"]
        {
            assert!(EmailAddress::parse(text, "email").is_err(), "{text:?}");
        }
        assert!(EmailAddress::parse(&format!("{}@example.com", "a".repeat(250)), "email").is_err());
    }
}
