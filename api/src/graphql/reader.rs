//! The view of the database that an operation has.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::domain::{Services, Tx};
use crate::model::actor::Actor;
use crate::model::budget::Budget;
use crate::model::error::Result;

/// The transaction of an operation. Its first read begins it and all reads share it, so that the result shows one
/// state.
pub struct Reader {
    services: Arc<Services>,
    actor: Actor,
    budget: Arc<Budget>,
    /// Keeps an error, too, so that the other reads of the operation do not wait for the same outage again.
    current: Mutex<Option<Result<Arc<Tx>>>>,
}

impl Reader {
    /// A view that has not begun.
    pub fn new(services: Arc<Services>, actor: Actor) -> Self {
        let budget = Budget::new(services.limits.max_operation_bytes, services.memory.clone());
        Self { services, actor, budget: Arc::new(budget), current: Mutex::default() }
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

    /// The transaction of the operation.
    pub async fn tx(&self) -> Result<Arc<Tx>> {
        let mut current = self.current.lock().await;
        if let Some(opened) = &*current {
            return opened.clone();
        }
        let opened = self.services.read(&self.actor).await.map(|tx| Arc::new(tx.within(self.budget.clone())));
        *current = Some(opened.clone());
        opened
    }

    /// Ends the transaction. The next read begins another one.
    pub async fn end(&self) {
        *self.current.lock().await = None;
    }
}
