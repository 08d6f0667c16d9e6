//! What the requests of git clients at a server share.

use std::sync::Arc;

use super::slots::Slots;
use crate::domain::import_export::git_cache::GitCache;

/// Git over HTTP at a server.
pub struct Git {
    /// The repositories.
    pub(super) cache: GitCache,
    /// Limits the running requests.
    pub(super) slots: Arc<Slots>,
    /// Maximum size of the body of a push.
    pub(super) max_push_bytes: u64,
}

impl Git {
    /// Serves the repositories of a cache, and accepts pushes of at most so many bytes.
    pub fn new(cache: GitCache, max_push_bytes: u64) -> Self {
        Self { cache, slots: Arc::default(), max_push_bytes }
    }
}
