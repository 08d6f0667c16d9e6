//! How much memory the bodies and the operations of all callers take together.

use std::fs;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{Error, Result};

/// Memory is counted in pieces of this size.
const PIECE: usize = 1024;

/// What is free. Clones share it.
#[derive(Clone)]
pub struct Memory {
    free: Arc<Semaphore>,
    limit: usize,
}

/// Memory that is given back when this is dropped.
#[derive(Default)]
pub struct Taken(Option<OwnedSemaphorePermit>);

impl Memory {
    /// So many bytes.
    pub fn new(limit: usize) -> Self {
        let pieces = (limit / PIECE).clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(pieces)), limit }
    }

    /// How many bytes there are in all.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Half of what the machine has, or of what the process may use of it; 1 GiB if the system does not say.
    pub fn half_of_the_machine() -> usize {
        const UNKNOWN: usize = 2 << 30;
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let kilobytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            kilobytes.trim().trim_end_matches("kB").trim().parse::<usize>().ok()?.checked_mul(1024)
        });
        let group = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
        let group = group("/sys/fs/cgroup/memory.max").or_else(|| group("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
        [machine, group].into_iter().flatten().min().unwrap_or(UNKNOWN) / 2
    }

    /// Adds bytes to what is taken.
    ///
    /// # Errors
    /// `RateLimited` if fewer are free.
    pub fn take(&self, taken: &mut Taken, bytes: usize) -> Result<()> {
        let pieces = u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX);
        let Ok(more) = self.free.clone().try_acquire_many_owned(pieces) else {
            let limit = self.limit;
            return Err(Error::RateLimited {
                message: format!(
                    "The requests of all callers take {limit} bytes together (--max-memory-bytes) and no more: try again."
                ),
                retry_after: Some(1),
            });
        };
        match &mut taken.0 {
            Some(all) => all.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let memory = Memory::new(10_000);
        let mut taken = Taken::default();
        memory.take(&mut taken, 5_000).unwrap();
        memory.take(&mut taken, 4_000).unwrap();
        assert!(matches!(memory.take(&mut Taken::default(), 1_024), Err(Error::RateLimited { .. })));
        drop(taken);
        memory.take(&mut Taken::default(), 9_000).unwrap();
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(Memory::half_of_the_machine() > 1 << 20);
    }
}
