//! Reads of an operation's resolvers, gathered: what they ask for side by side is read at once, however many rows ask. A
//! batch begins when all of them wait, and not after some time (as the library's loader has it), so that the number of
//! statements depends on the operation and not on how fast its resolvers come to their questions.

use std::any::Any;
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::task::AtomicWaker;

use super::context::Reader;
use crate::domain::Tx;
use crate::model::error::{Error, Result};

/// Names something that resolvers ask for.
pub trait Key: Clone + Eq + Hash + Send + Sync + 'static {
    /// What is read.
    type Value: Clone + Send + 'static;

    /// Reads for all keys at once; one without an answer has nothing, or nothing that the caller may see.
    ///
    /// # Errors
    /// As the read.
    fn read(tx: &Tx, keys: &[Self]) -> impl Future<Output = Result<HashMap<Self, Self::Value>>> + Send;
}

/// What the resolvers of an operation wait for, by kind, in the order in which the kinds were first asked for.
#[derive(Default)]
pub struct Wanted {
    kinds: Mutex<Vec<Box<dyn Kind>>>,
    /// Keys with values that were read before anybody asked.
    ready: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl Wanted {
    /// What there is for a key. Waits until [`drive`] reads it.
    ///
    /// # Errors
    /// As the read.
    pub async fn load<K: Key>(&self, key: K) -> Result<Option<K::Value>> {
        if let Some(value) = self.take_ready(&key) {
            return Ok(Some(value));
        }
        // Not tokio's, which may keep an answer back to let other tasks run: the operation would seem to wait for it.
        let (sender, answer) = oneshot::channel();
        self.ask(key, sender);
        answer.await.map_err(|_| Error::internal("a read was given up"))?
    }

    /// Keeps what was read together with something else, for the next who asks for it.
    pub fn prepare<K: Key>(&self, key: K, value: K::Value) {
        lock(&self.ready).push(Box::new((key, value)));
    }

    /// Forgets what was prepared: it was read before a write.
    pub fn forget(&self) {
        lock(&self.ready).clear();
    }

    fn take_ready<K: Key>(&self, key: &K) -> Option<K::Value> {
        let mut ready = lock(&self.ready);
        let is_it = |ready: &Box<dyn Any + Send>| ready.downcast_ref::<(K, K::Value)>().is_some_and(|it| it.0 == *key);
        let at = ready.iter().position(is_it)?;
        let (_, value) = *ready.swap_remove(at).downcast::<(K, K::Value)>().ok()?;
        Some(value)
    }

    fn ask<K: Key>(&self, key: K, sender: Sender<K>) {
        let mut kinds = lock(&self.kinds);
        let same = kinds.iter_mut().find_map(|kind| (&mut **kind as &mut dyn Any).downcast_mut::<Asked<K>>());
        match same {
            Some(asked) => asked.0.entry(key).or_default().push(sender),
            None => kinds.push(Box::new(Asked(HashMap::from([(key, vec![sender])])))),
        }
    }

    fn take(&self) -> Vec<Box<dyn Kind>> {
        std::mem::take(&mut *lock(&self.kinds))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Sender<K> = oneshot::Sender<Result<Option<<K as Key>::Value>>>;

/// Keys of one kind, and who asked for each.
struct Asked<K: Key>(HashMap<K, Vec<Sender<K>>>);

trait Kind: Any + Send {
    fn answer(self: Box<Self>, reader: &Reader) -> BoxFuture<'_, ()>;
}

impl<K: Key> Kind for Asked<K> {
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
                // A resolver that has gone away needs no answer.
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

/// Runs an operation, and reads what its resolvers want whenever it can go no further.
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
                // It has only paused, and asks to be polled again.
                return Poll::Pending;
            }
            if batch.is_none() {
                let kinds = wanted.take();
                if kinds.is_empty() {
                    return Poll::Pending;
                }
                batch = Some(Box::pin(async move {
                    // Shared by them all, also where the operation does not keep it. Where there is none, each says so.
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

/// Wakes the task, and remembers that the operation asked for it.
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
