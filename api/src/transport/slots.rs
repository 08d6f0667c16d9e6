//! Limits on the requests of a kind that run at once, for a user and for all users.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::model::{
    error::{Error, Result},
    ids::UserId,
};

/// Counts the running requests of a kind.
pub struct Slots {
    free: Arc<Semaphore>,
    /// The same for each user who has some.
    shares: Mutex<HashMap<UserId, Weak<Semaphore>>>,
    of_all: usize,
    of_user: usize,
    /// How long a request waits for others.
    wait: Duration,
    /// Their name.
    what: &'static str,
}

impl Slots {
    /// Runs at most this many requests of all users, and of one user. Further ones wait.
    pub(super) fn new((of_all, of_user): (usize, usize), wait: Duration, what: &'static str) -> Self {
        let free = Arc::new(Semaphore::new(of_all));
        Self { free, shares: Mutex::default(), of_all, of_user, wait, what }
    }

    /// Counts a request until the returned value is dropped.
    ///
    /// # Errors
    /// `RateLimited` if the others do not end in time.
    pub(super) async fn take(&self, user: UserId) -> Result<Slot> {
        let share = {
            let mut shares = self.shares.lock();
            let known = shares.get(&user).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let share = Arc::new(Semaphore::new(self.of_user));
                shares.retain(|_, share| share.strong_count() > 0);
                shares.insert(user, Arc::downgrade(&share));
                share
            })
        };
        let refused = |who: &str, count: usize| Error::RateLimited {
            message: format!(
                "{who} can run {count} {}{} at once: try again later.",
                self.what,
                if count == 1 { "" } else { "s" }
            ),
            retry_after: Some(self.wait.as_secs()),
        };
        let own = timeout(self.wait, share.acquire_owned()).await;
        let Ok(Ok(own)) = own else { return Err(refused("A user", self.of_user)) };
        let shared = timeout(self.wait, self.free.clone().acquire_owned()).await;
        let Ok(Ok(shared)) = shared else { return Err(refused("The server", self.of_all)) };
        Ok(Slot { _own: own, shared: Some(shared) })
    }
}

/// A counted request.
pub(super) struct Slot {
    _own: OwnedSemaphorePermit,
    shared: Option<OwnedSemaphorePermit>,
}

impl Slot {
    /// Makes room for other users.
    pub(super) fn release_shared(&mut self) {
        self.shared = None;
    }
}
