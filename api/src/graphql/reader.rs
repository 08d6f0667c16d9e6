//! The view of the database that an operation has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;

use crate::domain::{Needs, Services, Size, Tx};
use crate::model::actor::Actor;
use crate::model::budget::Budget;
use crate::model::error::Result;
use crate::model::long_columns::LongColumns;

/// The transaction of an operation. Its first read begins it and all reads share it, so that the result shows one
/// state.
pub struct Reader {
    services: Arc<Services>,
    actor: Actor,
    budget: Arc<Budget>,
    needs: parking_lot::Mutex<Needs>,
    size: Size,
    long_columns: LongColumns,
    /// Whether a replica has answered.
    has_used_replica: AtomicBool,
    /// Keeps an error, too, so that the other reads of the operation do not wait for the same outage again.
    current: Mutex<Option<Result<Arc<Tx>>>>,
}

impl Reader {
    /// A view that has not begun.
    pub fn new(services: Arc<Services>, actor: Actor, needs: Needs, size: Size, long_columns: LongColumns) -> Self {
        let budget = Arc::new(Budget::new(services.limits.max_operation_bytes, services.memory.clone()));
        let (needs, has_used_replica) = (parking_lot::Mutex::new(needs), AtomicBool::default());
        Self { services, actor, budget, needs, size, long_columns, has_used_replica, current: Mutex::default() }
    }

    /// Whether the operation can be repeated with another result: a replica may fail, or lack what the operation names.
    pub fn has_used_replica(&self) -> bool {
        self.has_used_replica.load(Ordering::Relaxed)
    }

    /// Reads the present state from now on, which only the primary has.
    pub fn need_the_present(&self) {
        *self.needs.lock() = Needs::Present;
    }

    /// Begins again, on the primary.
    pub async fn repeat(&self) {
        self.end().await;
        self.need_the_present();
        self.has_used_replica.store(false, Ordering::Relaxed);
    }

    /// Spends bytes to load from the operation's budget.
    ///
    /// # Errors
    /// `QueryTooComplex` if the budget is exhausted.
    pub fn load(&self, bytes: usize) -> Result<()> {
        self.budget.load(bytes)
    }

    /// Spends bytes to return from the operation's budget.
    ///
    /// # Errors
    /// `QueryTooComplex` if the budget is exhausted.
    pub fn answer(&self, bytes: usize) -> Result<()> {
        self.budget.answer(bytes)
    }

    /// The bytes to return that the operation has spent.
    pub fn answered(&self) -> usize {
        self.budget.answered()
    }

    /// Takes back what was spent since the operation had spent this many bytes to return.
    pub fn take_back(&self, answered: usize) {
        self.budget.take_back(answered);
    }

    /// The budget of the operation.
    pub fn budget(&self) -> Arc<Budget> {
        self.budget.clone()
    }

    /// The transaction of the operation.
    pub async fn tx(&self) -> Result<Arc<Tx>> {
        let mut current = self.current.lock().await;
        if let Some(opened) = &*current {
            return opened.clone();
        }
        let needs = *self.needs.lock();
        let opened = self.services.read_with(&self.actor, needs, self.size).await;
        let opened = opened.map(|tx| Arc::new(tx.within(self.budget.clone()).needing(self.long_columns)));
        if opened.as_ref().is_ok_and(|tx| tx.is_of_replica()) {
            self.has_used_replica.store(true, Ordering::Relaxed);
        }
        *current = Some(opened.clone());
        opened
    }

    /// Ends the transaction. The next read begins another one.
    pub async fn end(&self) {
        *self.current.lock().await = None;
    }
}
