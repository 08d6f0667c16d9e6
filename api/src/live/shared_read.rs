//! A value that one caller reads for all callers that want it.

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::error::Result;

/// The first caller reads, and the others wait for its result. A generation counts how often the value may have
/// changed: a value of an earlier generation is read again.
pub struct SharedRead<T> {
    generation: watch::Sender<u64>,
    /// Held by the caller that reads.
    reading: tokio::sync::Mutex<()>,
    latest: Mutex<Option<(u64, T)>>,
}

impl<T> Default for SharedRead<T> {
    fn default() -> Self {
        Self { generation: watch::Sender::default(), reading: tokio::sync::Mutex::default(), latest: Mutex::default() }
    }
}

impl<T: Clone> SharedRead<T> {
    /// Returns the value of the current generation. `suits` decides whether a value that another caller read can be
    /// used.
    ///
    /// # Errors
    /// The errors of `read`. The value is then unchanged.
    pub async fn get<F: Future<Output = Result<T>>>(
        &self,
        suits: impl Fn(&T) -> bool,
        read: impl FnOnce(Option<T>) -> F,
    ) -> Result<T> {
        let wanted = *self.generation.borrow();
        let fresh = || {
            let latest = self.latest.lock();
            latest.as_ref().filter(|(read, value)| *read >= wanted && suits(value)).map(|(_, value)| value.clone())
        };
        if let Some(value) = fresh() {
            return Ok(value);
        }
        let _reading = self.reading.lock().await;
        if let Some(value) = fresh() {
            return Ok(value);
        }
        let generation = *self.generation.borrow();
        let value = read(self.latest()).await?;
        *self.latest.lock() = Some((generation, value.clone()));
        Ok(value)
    }

    /// The value that was read last, of any generation.
    pub fn latest(&self) -> Option<T> {
        self.latest.lock().as_ref().map(|(_, value)| value.clone())
    }

    /// Changes the value that was read last, without changing its generation.
    pub fn amend(&self, change: impl FnOnce(&mut T)) {
        if let Some((_, value)) = &mut *self.latest.lock() {
            change(value);
        }
    }
}

impl<T> SharedRead<T> {
    /// Starts a new generation and notifies the subscribers.
    pub fn invalidate(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Notifies the subscribers of the value, without a new generation.
    pub fn notify(&self) {
        self.generation.send_modify(|_| {});
    }

    /// Notifies when the value may have changed.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Whether there are subscribers.
    pub fn has_subscribers(&self) -> bool {
        self.generation.receiver_count() > 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use tokio::task::yield_now;

    use super::*;
    use crate::model::error::Error;

    #[tokio::test]
    async fn many_askers_share_one_read_per_generation() {
        let (shared, reads) = (Arc::<SharedRead<u32>>::default(), AtomicU32::default());
        let ask = || {
            shared.get(
                |_| true,
                |_| async {
                    yield_now().await;
                    Ok(reads.fetch_add(1, Ordering::Relaxed))
                },
            )
        };
        for generation in 0..3 {
            for answer in join_all((0..10).map(|_| ask())).await {
                assert_eq!(answer.unwrap(), generation);
            }
            shared.invalidate();
        }
        // A notification without a new generation does not cause a read.
        assert_eq!(ask().await.unwrap(), 3);
        shared.notify();
        shared.amend(|value| *value = 30);
        assert_eq!(ask().await.unwrap(), 30);
    }

    #[tokio::test]
    async fn a_failed_read_and_a_value_that_does_not_suit_are_read_again() {
        let shared = SharedRead::<u32>::default();
        assert!(shared.get(|_| true, |_| async { Err(Error::internal("away")) }).await.is_err());
        assert_eq!(shared.get(|_| true, |_| async { Ok(1) }).await.unwrap(), 1);
        assert_eq!(shared.get(|value| *value > 1, |before| async move { Ok(before.unwrap() + 1) }).await.unwrap(), 2);
        assert_eq!(shared.latest(), Some(2));
    }
}
