//! The caller of a request.

use std::sync::Arc;

use super::collaborator::EmailAddress;
use super::ids::UserId;

/// The caller, from a verified token. Every storage function takes an actor and limits its result by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The token's `sub`.
    pub user_id: UserId,
    /// When the token expires, in seconds since the epoch; `None`: never. Long-lived connections must end then.
    pub expires_at: Option<i64>,
    /// The token's `email` if the token states that it is verified. Required for invitations to this address.
    pub verified_email: Option<EmailAddress>,
    /// Other claims of the token.
    pub claims: Arc<Claims>,
    /// Whether this is the user of an access token, who acts in one project only.
    pub is_machine: bool,
}

/// Claims of a verified token that update the user's profile.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Claims {
    /// The token's `email`.
    pub email: Option<String>,
    /// Full name.
    pub full_name: Option<String>,
    /// URL of the picture.
    pub avatar_url: Option<String>,
    /// When the token was issued, in seconds since the epoch.
    pub issued_at: Option<i64>,
}

impl Claims {
    /// The name shown to others: the full name, or else the e-mail address.
    pub fn shown_name(&self) -> Option<String> {
        self.full_name.clone().or_else(|| self.email.clone())
    }
}
