//! Work that takes processor time: diffs, blame, merges, encoding, and decompression. It runs beside the threads that serve requests. Of work on
//! many bytes there is only as much at once as there are processors, so that other work gets its turn.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::model::error::{Error, Result};

/// Work on no more bytes than this takes a few milliseconds, and does not wait for a turn.
const MANY_BYTES: usize = 256 * 1024;

static TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)));
static WAITING: AtomicUsize = AtomicUsize::new(0);
static STARTED: AtomicU64 = AtomicU64::new(0);

/// The number of pieces of work on many bytes that were given a turn.
pub fn started() -> u64 {
    STARTED.load(Ordering::Relaxed)
}

/// How many pieces of work wait for their turn.
pub fn waiting() -> usize {
    WAITING.load(Ordering::Relaxed)
}

/// Runs a piece of work on so many bytes.
///
/// # Errors
/// `Internal` if it panics.
pub async fn run<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if bytes <= MANY_BYTES {
        return spawn_blocking(work).await.map_err(Error::internal);
    }
    let waiting = Waiting::new();
    let turn = TURNS.acquire().await.map_err(Error::internal)?;
    drop(waiting);
    STARTED.fetch_add(1, Ordering::Relaxed);
    // The turn ends with the work, also if nobody waits for its result any more.
    let work = move || {
        let _turn = turn;
        work()
    };
    spawn_blocking(work).await.map_err(Error::internal)
}

/// The same, without a change of threads for work on few bytes.
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
