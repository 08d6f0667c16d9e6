//! Limits the memory that all request bodies and operations use together.

use std::fs;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{Error, Result};

/// Memory is counted in units of this size.
const UNIT: usize = 1024;

/// This part of the memory is for small holders alone, so that a few large requests do not refuse everyone's small
/// ones.
const RESERVE: usize = 8;

/// A holder of more bytes is not small, nor is a holder of more than the reserve.
const SMALL: usize = 1024 * 1024;

/// The available memory, shared between clones.
#[derive(Clone)]
pub struct Memory {
    free: Arc<Semaphore>,
    limit: usize,
}

/// Reserved memory. Dropping it releases the memory.
#[derive(Default)]
pub struct Taken(Option<OwnedSemaphorePermit>);

impl Taken {
    /// Releases all but this many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        if let Some(held) = &mut self.0 {
            let excess = held.num_permits().saturating_sub(bytes.div_ceil(UNIT));
            drop(held.split(excess));
        }
    }
}

impl Memory {
    /// `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let units = (limit / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(units)), limit }
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Half of the machine's memory or of the control group's limit; 1 GiB if neither is known.
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

    /// Reserves more memory for a vector that is about to be full, and allocates it. The vector grows by a quarter, or
    /// by `more` bytes.
    ///
    /// # Errors
    /// As [`Memory::take`], and if the system has no memory.
    pub fn grow(&self, taken: &mut Taken, bytes: &mut Vec<u8>, more: usize) -> Result<()> {
        if bytes.capacity() - bytes.len() >= more {
            return Ok(());
        }
        let more = more.max(bytes.len() / 4);
        self.take(taken, more)?;
        bytes.try_reserve_exact(more).map_err(|_| self.exhausted())
    }

    fn exhausted(&self) -> Error {
        let limit = self.limit;
        let message = format!(
            "The requests of all callers together reached the limit of {limit} bytes (--max-memory-bytes): try again."
        );
        Error::RateLimited { message, retry_after: Some(1) }
    }

    fn too_large(&self) -> Error {
        let limit = self.limit;
        let message = format!(
            "The request needs more memory than there is for all requests together, {limit} bytes (--max-memory-bytes)."
        );
        Error::PayloadTooLarge { field: None, message }
    }

    /// Reserves more memory. The last eighth is only for holders of at most 1 MiB.
    ///
    /// # Errors
    /// `RateLimited` if not enough is available, `PayloadTooLarge` if there can never be enough.
    pub fn take(&self, taken: &mut Taken, bytes: usize) -> Result<()> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let held = taken.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let reserve = self.limit / UNIT / RESERVE;
        let is_small = held.saturating_add(units as usize) <= reserve.min(SMALL / UNIT);
        if !is_small && (held.saturating_add(units as usize)).saturating_add(reserve) > self.limit / UNIT {
            return Err(self.too_large());
        }
        let has_room = is_small || self.free.available_permits() >= (units as usize).saturating_add(reserve);
        let more = has_room.then(|| self.free.clone().try_acquire_many_owned(units));
        let Some(Ok(more)) = more else { return Err(self.exhausted()) };
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
    fn dropping_releases_the_memory() {
        let memory = Memory::new(16 * UNIT);
        let mut taken = Taken::default();
        memory.take(&mut taken, 8 * UNIT).unwrap();
        memory.take(&mut taken, 6 * UNIT).unwrap();
        assert!(matches!(memory.take(&mut Taken::default(), 3 * UNIT), Err(Error::RateLimited { .. })));
        drop(taken);
        memory.take(&mut Taken::default(), 14 * UNIT).unwrap();
    }

    #[test]
    fn a_request_that_never_has_room_is_too_large() {
        let memory = Memory::new(16 * UNIT);
        let mut taken = Taken::default();
        assert!(matches!(memory.take(&mut taken, 15 * UNIT), Err(Error::PayloadTooLarge { .. })));
        memory.take(&mut taken, 8 * UNIT).unwrap();
        assert!(matches!(memory.take(&mut taken, 7 * UNIT), Err(Error::PayloadTooLarge { .. })));
        memory.take(&mut taken, 6 * UNIT).unwrap();
    }

    #[test]
    fn small_requests_have_room_beside_large_ones() {
        let memory = Memory::new(32 * SMALL);
        let mut large = Taken::default();
        memory.take(&mut large, 27 * SMALL).unwrap();
        assert!(memory.take(&mut large, 2 * SMALL).is_err());
        let mut small: Vec<Taken> = (0..5).map(|_| Taken::default()).collect();
        for taken in &mut small {
            memory.take(taken, SMALL / 2).unwrap();
            memory.take(taken, SMALL / 2).unwrap();
        }
        assert!(memory.take(&mut Taken::default(), 1).is_err());
        // A small request that becomes large needs the room of a large one.
        drop(large);
        memory.take(small.first_mut().unwrap(), SMALL).unwrap();
    }

    #[test]
    fn the_memory_of_the_machine_is_detected() {
        assert!(Memory::half_of_the_machine() > 1 << 20);
    }
}
