//! Who is in a project, and who was asked.

use chrono::{DateTime, Utc};

use super::error::{Error, Result};
use super::ids::{ProjectId, UserId};
use super::names::ProjectRole;
use super::profile::Profile;

/// Somebody's part in a project.
#[derive(Clone, Debug)]
pub struct Collaborator {
    /// The project.
    pub project_id: ProjectId,
    /// Who.
    pub user_id: UserId,
    /// What they may do.
    pub role: ProjectRole,
    /// Who asked them in.
    pub invited_by: Option<UserId>,
    /// When they were asked.
    pub invited_at: DateTime<Utc>,
    /// When they said yes; until then they see nothing.
    pub accepted_at: Option<DateTime<Utc>>,
}

/// An invitation to an e-mail address, as the owner of the project sees it.
#[derive(Clone, Debug)]
pub struct EmailInvitation {
    /// The project.
    pub project_id: ProjectId,
    /// The address.
    pub email: EmailAddress,
    /// What whoever it belongs to may do once they have accepted.
    pub role: ProjectRole,
    /// Who asked them in.
    pub invited_by: Option<UserId>,
    /// When.
    pub invited_at: DateTime<Utc>,
}

/// An invitation as the person invited sees it: of the project no more than its name.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// The project.
    pub project_id: ProjectId,
    /// Its name.
    pub project_name: String,
    /// What they may do once they have accepted.
    pub role: ProjectRole,
    /// Who asked them in, without an address.
    pub invited_by: Option<Profile>,
    /// When.
    pub invited_at: DateTime<Utc>,
}

/// Longest address in bytes (RFC 5321, section 4.5.3.1.3, without the angle brackets).
const MAX_ADDRESS_BYTES: usize = 254;

/// An e-mail address in the one spelling by which addresses are compared: without space around it, its ASCII letters in lower
/// case. Of other letters the case counts: some have the lower case of an ASCII letter (U+212A, the sign of the kelvin, that of
/// `k`), and whoever has an address with one would answer to another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Reads an address. Whether it takes mail is not asked: only its owner's token can answer to it.
    ///
    /// # Errors
    /// `BadInput` naming `field` for what cannot be one.
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
    fn addresses_have_one_spelling() {
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
