//! Batches the reads of an operation's resolvers: keys that are requested concurrently are read by one statement. A
//! batch starts when all resolvers are waiting, not after a delay as in the library's loader, so that the number of
//! statements depends only on the operation and not on timing.

use std::any::Any;
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::reader::Reader;
use crate::domain::Tx;
use crate::model::error::{Error, Result};

/// Key of something that resolvers read.
pub trait Key: Clone + Eq + Hash + Send + Sync + 'static {
    /// The value of a key.
    type Value: Clone + Send + 'static;

    /// Reads all keys at once. The result lacks keys that do not exist or that the caller cannot access.
    fn read(tx: &Tx, keys: &[Self]) -> impl Future<Output = Result<HashMap<Self, Self::Value>>> + Send;
}

/// Pending keys of an operation, by type, in the order of the first request.
#[derive(Default)]
pub struct Wanted {
    kinds: Mutex<Vec<Box<dyn Kind>>>,
    /// Keys with values that were read in advance.
    ready: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl Wanted {
    /// The value for a key. Waits until [`drive`] reads it.
    pub async fn load<K: Key>(&self, key: K) -> Result<Option<K::Value>> {
        if let Some(value) = self.take_ready(&key) {
            return Ok(Some(value));
        }
        // Not Tokio's channel: for cooperative scheduling it can delay a message, and the operation would seem to wait.
        let (sender, answer) = oneshot::channel();
        self.ask(key, sender);
        answer.await.map_err(|_| Error::internal("a read was cancelled"))?
    }

    /// Stores a value that was read together with something else, for the next request for its key.
    pub fn prepare<K: Key>(&self, key: K, value: K::Value) {
        self.ready.lock().push(Box::new((key, value)));
    }

    /// Discards stored values, which were read before a write.
    pub fn forget(&self) {
        self.ready.lock().clear();
    }

    fn take_ready<K: Key>(&self, key: &K) -> Option<K::Value> {
        let mut ready = self.ready.lock();
        let is_it = |ready: &Box<dyn Any + Send>| ready.downcast_ref::<(K, K::Value)>().is_some_and(|it| it.0 == *key);
        let at = ready.iter().position(is_it)?;
        let (_, value) = *ready.swap_remove(at).downcast::<(K, K::Value)>().ok()?;
        Some(value)
    }

    fn ask<K: Key>(&self, key: K, sender: Sender<K>) {
        let mut kinds = self.kinds.lock();
        let same = kinds.iter_mut().find_map(|kind| (&mut **kind as &mut dyn Any).downcast_mut::<Pending<K>>());
        match same {
            Some(asked) => asked.0.entry(key).or_default().push(sender),
            None => kinds.push(Box::new(Pending(HashMap::from([(key, vec![sender])])))),
        }
    }

    fn take(&self) -> Vec<Box<dyn Kind>> {
        std::mem::take(&mut *self.kinds.lock())
    }
}

type Sender<K> = oneshot::Sender<Result<Option<<K as Key>::Value>>>;

/// Keys of one type, and the resolvers that wait for each.
struct Pending<K: Key>(HashMap<K, Vec<Sender<K>>>);

trait Kind: Any + Send {
    fn answer(self: Box<Self>, reader: &Reader) -> BoxFuture<'_, ()>;
}

impl<K: Key> Kind for Pending<K> {
    fn answer(self: Box<Self>, reader: &Reader) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let keys: Vec<K> = self.0.keys().cloned().collect();
            let read = async { K::read(&*reader.tx().await?, &keys).await };
            let mut values = read.await;
            for (key, mut senders) in self.0 {
                let answer = match &mut values {
                    Ok(values) => Ok(values.remove(&key)),
                    Err(error) => Err(error.clone()),
                };
                let last = senders.pop();
                // Ignore resolvers that no longer wait.
                for sender in senders {
                    let _ = sender.send(answer.clone());
                }
                if let Some(last) = last {
                    let _ = last.send(answer);
                }
            }
        })
    }
}

/// Runs an operation, and reads the pending keys whenever it cannot proceed otherwise.
pub async fn drive<T>(wanted: &Wanted, reader: &Reader, operation: impl Future<Output = T>) -> T {
    let mut operation = pin!(operation);
    let mut batch: Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = None;
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    poll_fn(move |task| {
        loop {
            woken.task.register(task.waker());
            woken.again.store(false, Ordering::SeqCst);
            if let Poll::Ready(done) = operation.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(done);
            }
            if woken.again.load(Ordering::SeqCst) {
                // The operation has only yielded and will be polled again.
                return Poll::Pending;
            }
            if batch.is_none() {
                let kinds = wanted.take();
                if kinds.is_empty() {
                    return Poll::Pending;
                }
                batch = Some(Box::pin(async move {
                    // Shared by all reads of the batch, even if the operation does not keep it. If it cannot begin,
                    // each read fails with its own error.
                    let _tx = reader.tx().await;
                    for kind in kinds {
                        kind.answer(reader).await;
                    }
                }));
            }
            if batch.as_mut().is_some_and(|batch| batch.as_mut().poll(task).is_pending()) {
                return Poll::Pending;
            }
            batch = None;
        }
    })
    .await
}

/// Wakes the task, and records that the operation asked to be polled.
#[derive(Default)]
struct Woken {
    again: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        self.task.wake();
    }
}
