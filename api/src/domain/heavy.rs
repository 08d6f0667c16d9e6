//! CPU-bound work: diffs, blame, merges, encoding, and decompression. Work on few bytes runs at once, since passing it
//! to another thread takes as long. All other work runs outside the threads that serve requests. Work on many bytes has
//! threads of its own with a low priority, one per processor, so that it does not delay requests; and the memory of
//! concurrent work is limited.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread::{self, available_parallelism};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;

use crate::model::error::{Error, Result};

/// Work on up to this many bytes takes about 0.1 ms, and a few milliseconds in the worst case: a diff of as many lines
/// that have nothing in common.
const FEW_BYTES: usize = 12 * 1024;

/// Work on up to this many bytes takes a few milliseconds, and does not wait for a permit.
const MANY_BYTES: usize = 256 * 1024;

/// Memory that work takes per byte of its input, at most: results, and tables of lines (`cargo bench -p tests --bench
/// siege`).
const MEMORY_PER_BYTE: usize = 5;

/// The memory of concurrent work, unless [`limit`] sets another.
const DEFAULT_MEMORY: usize = 256 * 1024 * 1024;

/// Input is counted in units of this size.
const UNIT: usize = 64 * 1024;

/// The priority of the threads of large work, for nice(2): they get a quarter of the time of a busy processor. With
/// less, work that holds a connection to the database would delay those who wait for it.
const NICENESS: i32 = 5;

static LIMIT: OnceLock<usize> = OnceLock::new();
static INPUT: LazyLock<Input> = LazyLock::new(|| {
    let units = (*LIMIT.get_or_init(|| DEFAULT_MEMORY) / MEMORY_PER_BYTE / UNIT).clamp(1, Semaphore::MAX_PERMITS);
    Input { free: Semaphore::new(units), units: u32::try_from(units).unwrap_or(u32::MAX) }
});
static THREADS: OnceLock<Sender<Task>> = OnceLock::new();
static WAITING: AtomicUsize = AtomicUsize::new(0);
static STARTED: AtomicU64 = AtomicU64::new(0);

type Task = Box<dyn FnOnce() + Send>;

/// The input that concurrent work can have. Larger work runs alone.
struct Input {
    free: Semaphore,
    units: u32,
}

/// Limits the memory of concurrent work of this process. Call it before there is work; the first call decides.
pub fn limit(bytes: usize) {
    LIMIT.get_or_init(|| bytes);
}

/// The number of large tasks that started so far.
pub fn started() -> u64 {
    STARTED.load(Ordering::Relaxed)
}

/// The number of large tasks that wait.
pub fn waiting() -> usize {
    WAITING.load(Ordering::Relaxed)
}

/// Runs work on this many bytes.
///
/// # Errors
/// `Internal` if it panics; `RateLimited` if the system has no thread for it.
pub async fn run<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if bytes <= FEW_BYTES {
        return Ok(work());
    }
    if bytes <= MANY_BYTES {
        return spawn_blocking(work).await.map_err(Error::internal);
    }
    let waiting = Waiting::new();
    let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(INPUT.units);
    let input = INPUT.free.acquire_many(units).await.map_err(Error::internal)?;
    let (sender, result) = oneshot::channel();
    // The work keeps its permit until it ends, even if its caller has gone.
    let task = move || {
        let _input = input;
        drop(waiting);
        STARTED.fetch_add(1, Ordering::Relaxed);
        // The caller can have gone.
        let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
    };
    threads()?.send(Box::new(task)).map_err(Error::internal)?;
    result.await.map_err(Error::internal)?.map_err(|_| Error::internal("work on many bytes panicked"))
}

/// As [`run`], but on the current thread if there are few bytes.
///
/// # Errors
/// `Internal` if it panics on another thread.
pub async fn run_or_now<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if bytes <= MANY_BYTES { Ok(work()) } else { run(bytes, work).await }
}

/// The queue of the threads of large work, which the first call starts.
fn threads() -> Result<&'static Sender<Task>> {
    if let Some(running) = THREADS.get() {
        return Ok(running);
    }
    let (sender, tasks) = channel::<Task>();
    let tasks = Arc::new(Mutex::new(tasks));
    let start = |_| {
        let tasks = tasks.clone();
        thread::Builder::new().name("heavy".to_owned()).spawn(move || work_off(&tasks)).is_ok()
    };
    let count = (0..available_parallelism().map_or(1, NonZero::get)).map(start).filter(|started| *started).count();
    if count == 0 {
        let message = "The server has no thread for this at the moment: try again.".to_owned();
        return Err(Error::RateLimited { message, retry_after: Some(1) });
    }
    // The threads of a concurrent first call end, since their queue is dropped.
    Ok(THREADS.get_or_init(|| sender))
}

fn work_off(tasks: &Mutex<Receiver<Task>>) {
    // On Linux the priority belongs to the thread. Without it the work is done as well.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
    loop {
        let task = tasks.lock().recv();
        match task {
            Ok(task) => task(),
            Err(_) => return,
        }
    }
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
