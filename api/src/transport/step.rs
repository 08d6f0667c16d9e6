//! A step of an operation that can have several results, and what the operations of one connection share.

use std::sync::Arc;

use async_graphql::ServerError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::live::fan_out::Delivery;

/// How many events of one connection are executed at once, besides shared executions.
const EXECUTIONS_AT_ONCE: usize = 4;

/// A step of an operation.
pub enum Step {
    /// A result.
    Result(Delivery),
    /// The operation failed and cannot continue.
    Failed(Vec<ServerError>),
    /// The operation cannot continue here: the client should reconnect, and resume after its position.
    Interrupted,
    /// The operation is complete.
    Done,
}

/// Shared state of the operations of one connection.
#[derive(Clone)]
pub struct Connection(Arc<Semaphore>);

impl Default for Connection {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(EXECUTIONS_AT_ONCE)))
    }
}

impl Connection {
    /// Waits for a permit to execute an event. It is held until the client has taken the result.
    pub async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        self.0.clone().acquire_owned().await.ok()
    }
}
