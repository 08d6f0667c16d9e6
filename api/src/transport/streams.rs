//! The event streams of `single.rs`: reserved or open, by their tokens.

use std::{collections::HashMap, sync::Arc};

use futures::stream::{AbortHandle, BoxStream};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    step::{Connection, Step},
    throttle::OpenSocket,
};
use crate::model::{actor::Actor, ids::UserId};

/// A started operation, with the client's id for it.
pub type Started = (String, BoxStream<'static, Step>);

/// The streams of a server, by their tokens.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<String, Arc<EventStream>>>>);

impl Streams {
    /// Reserves a stream for a user, and returns its token.
    pub fn reserve(&self, user: UserId, place: OpenSocket) -> String {
        let (sender, receiver) = unbounded_channel();
        let stream = EventStream {
            user,
            _place: place,
            sender,
            receiver: Mutex::new(Some(receiver)),
            connection: Connection::default(),
            running: Mutex::default(),
        };
        // Random, so that it cannot be guessed.
        let token = hex::encode(rand::random::<[u8; 16]>());
        self.0.lock().insert(token.clone(), Arc::new(stream));
        token
    }

    /// The stream with this token, if it belongs to this user.
    pub fn find(&self, token: &str, actor: Option<&Actor>) -> Option<Arc<EventStream>> {
        let user = actor?.user_id;
        self.0.lock().get(token).filter(|stream| stream.user == user).cloned()
    }

    /// Ends a reservation.
    pub fn remove(&self, token: &str) {
        self.0.lock().remove(token);
    }

    /// Ends a reservation, if its stream was not opened.
    pub fn remove_unopened(&self, token: &str) {
        let mut streams = self.0.lock();
        if streams.get(token).is_some_and(|stream| stream.receiver.lock().is_some()) {
            streams.remove(token);
        }
    }
}

/// A reserved or open stream.
pub struct EventStream {
    user: UserId,
    /// Its place among its user's sockets.
    _place: OpenSocket,
    sender: UnboundedSender<Started>,
    /// Taken when the stream is opened.
    receiver: Mutex<Option<UnboundedReceiver<Started>>>,
    /// Shared by the operations of the stream.
    pub connection: Connection,
    /// The running operations, by the client's ids.
    running: Mutex<HashMap<String, AbortHandle>>,
}

impl EventStream {
    /// Opens the stream; `None` if it is open already.
    pub fn open(&self) -> Option<UnboundedReceiver<Started>> {
        self.receiver.lock().take()
    }

    /// The running operations, by the client's ids.
    pub fn running(&self) -> MutexGuard<'_, HashMap<String, AbortHandle>> {
        self.running.lock()
    }

    /// Runs an operation. If the stream has just ended, so has the operation.
    pub fn start(&self, id: String, steps: BoxStream<'static, Step>) {
        let _ = self.sender.send((id, steps));
    }

    /// Ends an operation, if it is running.
    pub fn end(&self, id: &str) {
        if let Some(operation) = self.running().remove(id) {
            operation.abort();
        }
    }

    /// Ends all operations.
    pub fn end_all(&self) {
        for (_, operation) in self.running().drain() {
            operation.abort();
        }
    }
}
