//! Who is asking.

use std::sync::Arc;

use super::collaborator::EmailAddress;
use super::ids::UserId;

/// The caller of a request, as a verified token names them. Every storage function takes one and scopes by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The token's `sub`.
    pub user_id: UserId,
    /// When the token ends, in seconds since the epoch; what a long-lived connection must respect.
    pub expires_at: i64,
    /// The token's `email`, where the token says that it is the user's own: what an invitation to it asks for.
    pub verified_email: Option<EmailAddress>,
    /// What else the token says.
    pub claims: Arc<Claims>,
}

/// What a verified token says of its user, for the profile that is made of it.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Claims {
    /// The token's `email`.
    pub email: Option<String>,
    /// Their name.
    pub full_name: Option<String>,
    /// Their picture.
    pub avatar_url: Option<String>,
    /// When the token was made, in seconds since the epoch.
    pub issued_at: Option<i64>,
}

impl Claims {
    /// The name that others are shown: the e-mail stands in for one, as in the original's sign-up trigger.
    pub fn shown_name(&self) -> Option<String> {
        self.full_name.clone().or_else(|| self.email.clone())
    }
}
