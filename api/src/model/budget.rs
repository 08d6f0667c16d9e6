//! How many bytes one operation may load from the database, and how many it may answer.

use std::sync::{Mutex, PoisonError};

use super::error::{Error, Result};
use super::memory::{Memory, Taken};

/// Memory is taken in steps of this size.
const STEP: usize = 64 * 1024;

/// What is left for an operation, or for one event of a subscription. Its memory is given back when it is dropped.
pub struct Budget {
    limit: usize,
    memory: Memory,
    spent: Mutex<Spent>,
}

#[derive(Default)]
struct Spent {
    load: usize,
    answer: usize,
    /// How many bytes of memory are taken.
    reserved: usize,
    taken: Taken,
}

impl Budget {
    /// A budget of so many bytes to load and as many to answer.
    pub fn new(limit: usize, memory: Memory) -> Self {
        Self { limit, memory, spent: Mutex::default() }
    }

    /// Takes bytes that are to be loaded.
    ///
    /// # Errors
    /// `QueryTooComplex` if fewer are left; `RateLimited` if all operations together take too much memory.
    pub fn load(&self, bytes: usize) -> Result<()> {
        self.spend(bytes, |spent| &mut spent.load)
    }

    /// Takes bytes that are to be in the answer, each time that they are in it.
    ///
    /// # Errors
    /// As [`Budget::load`].
    pub fn answer(&self, bytes: usize) -> Result<()> {
        self.spend(bytes, |spent| &mut spent.answer)
    }

    fn spend(&self, bytes: usize, of: impl FnOnce(&mut Spent) -> &mut usize) -> Result<()> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = of(&mut spent);
        match counter.checked_add(bytes) {
            Some(sum) if sum <= self.limit => *counter = sum,
            _ => {
                let limit = self.limit;
                return Err(Error::QueryTooComplex(format!(
                    "An operation loads at most {limit} bytes, and answers as many (--max-operation-bytes): select fewer \
                     contents, or smaller pages."
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
