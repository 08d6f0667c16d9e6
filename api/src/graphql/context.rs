//! The context of an operation: its caller, the services, and its view of the database.

use std::any::TypeId;
use std::sync::{Arc, Weak};

use async_graphql::{DataContext, Request};
use tokio::sync::Mutex;

use super::batch::Wanted;
use crate::domain::events::Cursor;
use crate::domain::{Services, Tx, Writer};
use crate::model::actor::Actor;
use crate::model::budget::Budget;
use crate::model::error::{Error, Result};

/// Attaches the context that resolvers need to an operation. An operation without a caller can only use introspection.
/// With a cursor, the operation is one run of a subscription, from that position to the newest revision.
pub fn attach(
    request: Request,
    services: &Arc<Services>,
    actor: Option<Actor>,
    cursor: Option<Arc<Cursor>>,
) -> Request {
    let Some(actor) = actor else { return request };
    let reader = Reader {
        services: services.clone(),
        actor: actor.clone(),
        // The client of a subscription can be slow between two events, so a run must not keep a connection or an old
        // state of the database.
        keeps: cursor.is_none(),
        budget: Arc::new(Budget::new(services.limits.max_operation_bytes, services.memory.clone())),
        current: Mutex::default(),
    };
    request.data(Arc::new(Caller { services: services.clone(), actor, reader, wanted: Wanted::default(), cursor }))
}

/// The caller of an operation and its view of the database.
pub struct Caller {
    /// The use cases.
    pub services: Arc<Services>,
    /// The caller.
    pub actor: Actor,
    /// View of the database.
    pub reader: Reader,
    /// Batches the reads of concurrent resolvers.
    pub wanted: Wanted,
    cursor: Option<Arc<Cursor>>,
}

impl Caller {
    /// The caller of a request, if it has one.
    pub fn of(request: &Request) -> Option<&Arc<Self>> {
        request.data.get(&TypeId::of::<Arc<Self>>())?.downcast_ref()
    }

    /// The longest gap between coalesced autosaves in a list, in seconds; 0 shows each of them.
    pub fn join_saves_seconds(&self, include_coalesced: Option<bool>) -> u32 {
        if include_coalesced.unwrap_or(false) { 0 } else { self.services.limits.join_saves_seconds }
    }

    /// The position of a subscription.
    ///
    /// # Errors
    /// `Internal` if the operation is not a subscription.
    pub fn cursor(&self) -> Result<&Arc<Cursor>> {
        self.cursor.as_ref().ok_or_else(|| Error::internal("a subscription was executed like a query"))
    }

    /// Runs a write. Later reads of the operation see its result: those of its payload, and those of the next mutation.
    pub async fn write<T, W>(&self, write: impl FnOnce(Writer) -> W) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        // End the view first, so that an operation that waits for its turn to write holds no connection.
        self.wanted.forget();
        *self.reader.current.lock().await = Current::default();
        self.services.write(&self.actor, write).await
    }
}

/// The caller of the current operation.
///
/// # Errors
/// `Unauthenticated` if the operation came without a token.
pub fn caller<'c>(ctx: &impl DataContext<'c>) -> Result<&'c Caller> {
    let missing = || Error::Unauthenticated("Sign in: send `Authorization: Bearer TOKEN`.".to_owned());
    ctx.data_opt::<Arc<Caller>>().map(|caller| &**caller).ok_or_else(missing)
}

/// The transaction of an operation. Its first read begins it and all reads share it, so that the result shows one
/// state.
pub struct Reader {
    services: Arc<Services>,
    actor: Actor,
    keeps: bool,
    budget: Arc<Budget>,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    shared: Weak<Tx>,
    kept: Option<Arc<Tx>>,
}

impl Reader {
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
        if let Some(tx) = current.shared.upgrade() {
            return Ok(tx);
        }
        let tx = Arc::new(self.services.read(&self.actor).await?.within(self.budget.clone()));
        current.shared = Arc::downgrade(&tx);
        current.kept = self.keeps.then(|| tx.clone());
        Ok(tx)
    }
}
