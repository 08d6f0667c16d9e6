//! How many bytes one operation may load from the database, and how many it may answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::{Error, Result};

/// What is left for an operation, or for one event of a subscription.
pub struct Budget {
    limit: usize,
    load: AtomicUsize,
    answer: AtomicUsize,
}

impl Budget {
    /// A budget of so many bytes to load and as many to answer.
    pub fn new(limit: usize) -> Self {
        Self { limit, load: AtomicUsize::new(limit), answer: AtomicUsize::new(limit) }
    }

    /// Takes bytes that are to be loaded.
    ///
    /// # Errors
    /// `QueryTooComplex` if fewer are left.
    pub fn load(&self, bytes: usize) -> Result<()> {
        self.take(&self.load, bytes)
    }

    /// Takes bytes that are to be in the answer, each time that they are in it.
    ///
    /// # Errors
    /// `QueryTooComplex` if fewer are left.
    pub fn answer(&self, bytes: usize) -> Result<()> {
        self.take(&self.answer, bytes)
    }

    fn take(&self, left: &AtomicUsize, bytes: usize) -> Result<()> {
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        taken.map(drop).map_err(|_| {
            let limit = self.limit;
            Error::QueryTooComplex(format!(
                "An operation loads at most {limit} bytes, and answers as many (--max-operation-bytes): select fewer contents, or \
                 smaller pages."
            ))
        })
    }
}
