//! Access tokens, with which machines act in one project.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::enums::ProjectRole;
use super::ids::{AccessTokenId, ProjectId, UserId};
use super::page::{Cursor, Key};

/// How every access token begins, so that scanners of secrets can find one.
const PREFIX: &str = "anp_";

/// Number of random bytes in a token.
const RANDOM_BYTES: usize = 32;

/// Longest name of an access token, in characters.
pub const MAX_NAME_CHARS: usize = 100;

/// An access token, as the project's owner sees it. The token itself is not stored.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The id.
    pub id: AccessTokenId,
    /// The project in which it acts.
    pub project_id: ProjectId,
    /// The machine: the user in whose name it writes.
    pub user_id: UserId,
    /// The name of the machine.
    pub name: String,
    /// Editor or viewer.
    pub role: ProjectRole,
    /// The owner who created it.
    pub created_by: UserId,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it expires; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl AccessToken {
    /// The name of the list of access tokens.
    pub const LIST: &str = "accessTokens";

    /// The place in the list of access tokens.
    pub fn place(&self) -> Cursor {
        Cursor(vec![Key::Time(self.created_at), Key::Id(self.id.0)])
    }
}

/// The text of an access token, which only its holder knows.
pub struct TokenSecret(String);

impl TokenSecret {
    /// A new one.
    pub fn random() -> Self {
        Self(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>())))
    }

    /// Whether a bearer token is an access token, valid or not.
    pub fn has_prefix(token: &str) -> bool {
        token.starts_with(PREFIX)
    }

    /// Parses a token; `None` if it cannot be one of this service.
    pub fn parse(token: &str) -> Option<Self> {
        let text = token.strip_prefix(PREFIX)?;
        // Checks the length first: decoding a text takes memory.
        let is_whole = text.len() == RANDOM_BYTES.saturating_mul(4).div_ceil(3)
            && BASE64_URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == RANDOM_BYTES);
        is_whole.then(|| Self(token.to_owned()))
    }

    /// The hash by which it is stored and found. The time of a lookup reveals nothing about other tokens.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    /// The id of the token's user: a UUID of version 8 (RFC 9562, section 5.8) from the hash of the hash, so that nobody
    /// can choose the id of a person.
    pub fn user_id(&self) -> UserId {
        let hash: [u8; 32] = Sha256::digest(self.sha256()).into();
        let mut id = u128::from_be_bytes(std::array::from_fn(|at| hash.get(at).copied().unwrap_or_default()));
        id = id & !(0xf << 76) | (0x8 << 76);
        id = id & !(0xf << 60) | (0xa << 60);
        UserId(Uuid::from_u128(id))
    }

    /// The text, to show once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_are_parsed() {
        let token = TokenSecret::random();
        let text = token.expose();
        assert_eq!(text.len(), 47);
        assert_eq!(TokenSecret::parse(text).unwrap().sha256(), token.sha256());
        assert_ne!(TokenSecret::random().sha256(), token.sha256());
        let (short, long) = (&text[..46], format!("{text}A"));
        let other = text.replacen("anp_", "anq_", 1);
        let (padded, odd, last) = (format!("{}=", &text[..46]), format!("anp_{}", "é".repeat(21)), format!("{short}_"));
        for garbled in ["", "anp_", short, &long, &other, &padded, &odd, &last, &format!("anp_{}", "!".repeat(43))] {
            assert!(TokenSecret::parse(garbled).is_none(), "{garbled}");
        }
    }
}
