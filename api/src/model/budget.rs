//! Limits on the bytes that an operation loads from the database and returns.

use parking_lot::Mutex;

use super::error::{Error, Result};
use super::memory::{Memory, Taken};

/// Memory is reserved in steps of this size.
const STEP: usize = 64 * 1024;

/// The budget of an operation, or of one event of a subscription. Dropping it releases its memory.
pub struct Budget {
    limit: usize,
    memory: Memory,
    spent: Mutex<Spent>,
}

#[derive(Default)]
struct Spent {
    load: usize,
    answer: usize,
    /// Number of reserved bytes.
    reserved: usize,
    taken: Taken,
}

impl Budget {
    /// A budget of `limit` bytes to load, and as many to return.
    pub fn new(limit: usize, memory: Memory) -> Self {
        Self { limit, memory, spent: Mutex::default() }
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The memory that it is part of.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Spends bytes to load.
    ///
    /// # Errors
    /// `QueryTooComplex` if the budget is exhausted; `RateLimited` if all operations together use too much memory.
    pub fn load(&self, bytes: usize) -> Result<()> {
        self.spend(bytes, |spent| &mut spent.load)
    }

    /// Spends bytes to return. Count a value each time that it is selected.
    ///
    /// # Errors
    /// As [`Budget::load`].
    pub fn answer(&self, bytes: usize) -> Result<()> {
        self.spend(bytes, |spent| &mut spent.answer)
    }

    /// The spent bytes to return.
    pub fn answered(&self) -> usize {
        self.spent.lock().answer
    }

    /// Takes back what was spent since [`Budget::answered`], for values that are returned again.
    pub fn take_back(&self, answered: usize) {
        let mut spent = self.spent.lock();
        spent.answer = spent.answer.min(answered);
    }

    /// Releases the memory for what was loaded, which the operation no longer needs when it ends.
    pub fn only_answers(&self) {
        let mut spent = self.spent.lock();
        spent.reserved = spent.reserved.min(spent.answer);
        let Spent { reserved, taken, .. } = &mut *spent;
        taken.shrink(*reserved);
    }

    fn spend(&self, bytes: usize, of: impl FnOnce(&mut Spent) -> &mut usize) -> Result<()> {
        let mut spent = self.spent.lock();
        let counter = of(&mut spent);
        match counter.checked_add(bytes) {
            Some(sum) if sum <= self.limit => *counter = sum,
            _ => {
                let limit = self.limit;
                return Err(Error::QueryTooComplex(format!(
                    "An operation can load and return at most {limit} bytes each (--max-operation-bytes): select fewer \
                     contents or smaller pages."
                )));
            }
        }
        let needed = spent.load.saturating_add(spent.answer);
        if needed > spent.reserved {
            let more = (needed - spent.reserved).max(STEP);
            self.memory.take(&mut spent.taken, more)?;
            spent.reserved += more;
        }
        Ok(())
    }
}
