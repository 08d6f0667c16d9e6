//! Who is asking.

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
}

/// What a verified token says of its user, for the profile that is made at first sight.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The caller.
    pub actor: Actor,
    /// The token's `email`.
    pub email: Option<String>,
    /// `user_metadata.full_name` (or `name`).
    pub full_name: Option<String>,
    /// `user_metadata.avatar_url`.
    pub avatar_url: Option<String>,
}
