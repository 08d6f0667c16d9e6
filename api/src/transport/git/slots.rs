//! Limits on the git processes that run at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::model::{
    error::{Error, Result},
    ids::UserId,
};

/// Requests of all users, and of one user, that run at once.
const MAX_RUNNING: usize = 32;
const MAX_OF_USER: usize = 8;

/// How long a request waits for the others.
const WAIT_TIME: Duration = Duration::from_secs(30);

/// Counts the running requests.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    running: Mutex<HashMap<UserId, usize>>,
}

impl Default for Slots {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(MAX_RUNNING)), running: Mutex::default() }
    }
}

impl Slots {
    /// Counts a request until the returned value is dropped.
    pub(super) async fn take(self: &Arc<Self>, user: UserId) -> Result<Slot> {
        let mut slot = {
            let mut running = self.running.lock();
            let count = running.entry(user).or_default();
            if *count >= MAX_OF_USER {
                let message = format!("A user can run {MAX_OF_USER} requests of git at once: try again later.");
                return Err(Error::RateLimited { message, retry_after: Some(WAIT_TIME.as_secs()) });
            }
            *count += 1;
            Slot { slots: self.clone(), user, permit: None }
        };
        match timeout(WAIT_TIME, self.free.clone().acquire_owned()).await {
            Ok(Ok(permit)) => {
                slot.permit = Some(permit);
                Ok(slot)
            }
            _ => Err(Error::busy("The git processes of others have run", WAIT_TIME)),
        }
    }
}

/// A counted request.
pub(super) struct Slot {
    slots: Arc<Slots>,
    user: UserId,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut running = self.slots.running.lock();
        if let Some(count) = running.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.user);
            }
        }
    }
}
