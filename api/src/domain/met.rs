//! The users whose profiles this server has created or updated, so that it need not do so for each request.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::actor::{Actor, Claims};
use crate::model::ids::UserId;

/// Maximum number of remembered users. One more makes the server forget all of them, which costs one statement each.
const SEEN_USERS: usize = 100_000;

/// Pause after a failed attempt to create a profile.
const PAUSE: Duration = Duration::from_secs(1);

/// Users whose profile exists and matches their token, or is being written, as far as this server knows. Nothing relies
/// on it: writes that refer to the profile create it themselves, and reads work without it.
#[derive(Default)]
pub struct Met(Mutex<Known>);

/// The claims of the newest token of a user that this server has seen.
#[derive(Clone, Copy)]
struct Said {
    hash: u64,
    issued_at: Option<i64>,
}

impl Said {
    fn by(claims: &Claims) -> Self {
        let mut hasher = DefaultHasher::new();
        (&claims.email, &claims.full_name, &claims.avatar_url).hash(&mut hasher);
        Self { hash: hasher.finish(), issued_at: claims.issued_at }
    }
}

#[derive(Default)]
struct Known {
    users: HashMap<UserId, Said>,
    failed: Option<Instant>,
}

impl Met {
    /// Whether to update a profile: for the first token of a user, or for a different one that is not older.
    pub fn begin(&self, actor: &Actor) -> bool {
        let said = Said::by(&actor.claims);
        let mut known = self.0.lock();
        let is_known = known.users.get(&actor.user_id).is_some_and(|before| {
            before.hash == said.hash
                || matches!((before.issued_at, said.issued_at), (Some(before), Some(now)) if now < before)
        });
        if is_known || known.failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
            return false;
        }
        if known.users.len() >= SEEN_USERS {
            known.users.clear();
        }
        known.users.insert(actor.user_id, said);
        true
    }

    /// Forgets a user whose profile is missing, so that the next request creates it.
    pub fn forget(&self, user: UserId) {
        self.0.lock().users.remove(&user);
    }

    /// Forgets a user whose profile could not be updated, and pauses updates.
    pub fn failed(&self, user: UserId) {
        let mut known = self.0.lock();
        known.users.remove(&user);
        known.failed = Some(Instant::now());
    }
}
