//! What the requests of git clients at a server share.

use std::time::Duration;

use crate::domain::import_export::git_cache::GitCache;
use crate::transport::slots::Slots;

/// Requests of all users, and of one user, that run at once.
const MAX_RUNNING: (usize, usize) = (32, 8);

/// Git over HTTP at a server.
pub struct Git {
    /// The repositories.
    pub(super) cache: GitCache,
    /// Limits the running requests.
    pub(super) slots: Slots,
    /// Maximum size of the body of a push.
    pub(super) max_push_bytes: u64,
}

impl Git {
    /// Serves the repositories of a cache, and accepts pushes of at most so many bytes. A request waits so long for the
    /// others.
    pub fn new(cache: GitCache, max_push_bytes: u64, wait: Duration) -> Self {
        Self { cache, slots: Slots::new(MAX_RUNNING, wait, "git request"), max_push_bytes }
    }
}
