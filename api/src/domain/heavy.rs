//! CPU-bound work: diffs, blame, merges, encoding, and decompression. Work on few bytes runs at once, since passing it
//! to another thread takes as long. All other work runs outside the threads that serve requests, and work on many bytes
//! is limited to one task per processor, so that other work is not delayed.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::model::error::{Error, Result};

/// Work on up to this many bytes takes about 0.1 ms, and a few milliseconds in the worst case: a diff of as many lines
/// that have nothing in common.
const FEW_BYTES: usize = 12 * 1024;

/// Work on up to this many bytes takes a few milliseconds, and does not wait for a permit.
const MANY_BYTES: usize = 256 * 1024;

static TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)));
static WAITING: AtomicUsize = AtomicUsize::new(0);
static STARTED: AtomicU64 = AtomicU64::new(0);

/// The number of tasks that got a permit so far.
pub fn started() -> u64 {
    STARTED.load(Ordering::Relaxed)
}

/// The number of tasks that wait for a permit.
pub fn waiting() -> usize {
    WAITING.load(Ordering::Relaxed)
}

/// Runs work on this many bytes.
///
/// # Errors
/// `Internal` if it panics.
pub async fn run<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if bytes <= FEW_BYTES {
        return Ok(work());
    }
    if bytes <= MANY_BYTES {
        return spawn_blocking(work).await.map_err(Error::internal);
    }
    let waiting = Waiting::new();
    let turn = TURNS.acquire().await.map_err(Error::internal)?;
    drop(waiting);
    STARTED.fetch_add(1, Ordering::Relaxed);
    // Hold the permit until the work ends, even if its caller has gone.
    let work = move || {
        let _turn = turn;
        work()
    };
    spawn_blocking(work).await.map_err(Error::internal)
}

/// As [`run`], but on the current thread if there are few bytes.
///
/// # Errors
/// `Internal` if it panics on another thread.
pub async fn run_or_now<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if bytes <= MANY_BYTES { Ok(work()) } else { run(bytes, work).await }
}

struct Waiting;

impl Waiting {
    fn new() -> Self {
        WAITING.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}
