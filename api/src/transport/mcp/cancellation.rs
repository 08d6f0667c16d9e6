//! Calls that the client cancels while they run.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use rmcp::model::RequestId;
use tokio_util::sync::CancellationToken;

/// A call that can be cancelled until it begins to write, so that no part of a write is missing.
#[derive(Default)]
pub struct Cancellation {
    state: Mutex<State>,
    token: CancellationToken,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Runs,
    Writes,
    Cancelled,
}

impl Cancellation {
    /// Cancels the call, unless it has begun to write.
    fn cancel(&self) {
        let mut state = self.state.lock();
        if *state == State::Runs {
            *state = State::Cancelled;
            self.token.cancel();
        }
    }

    /// Begins to write. Returns whether the call may: it must not if it was cancelled.
    pub fn begin_to_write(&self) -> bool {
        let mut state = self.state.lock();
        if *state == State::Runs {
            *state = State::Writes;
        }
        *state == State::Writes
    }

    /// Whether the call was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the call is cancelled.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}

/// The running calls of a session, by the ids of their requests.
#[derive(Default)]
pub struct RunningCalls(Mutex<HashMap<RequestId, Arc<Cancellation>>>);

impl RunningCalls {
    /// Registers a call until the guard is dropped.
    pub fn begin(&self, id: RequestId) -> RunningCall<'_> {
        let cancellation = Arc::<Cancellation>::default();
        self.0.lock().insert(id.clone(), cancellation.clone());
        RunningCall { calls: self, id, cancellation }
    }

    /// Cancels the call of a request, if it runs.
    pub fn cancel(&self, id: &RequestId) {
        if let Some(call) = self.0.lock().get(id) {
            call.cancel();
        }
    }
}

/// A registered call.
pub struct RunningCall<'c> {
    calls: &'c RunningCalls,
    id: RequestId,
    /// How it is cancelled.
    pub cancellation: Arc<Cancellation>,
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.calls.0.lock().remove(&self.id);
    }
}
