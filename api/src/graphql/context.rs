//! What an operation knows: its caller, the services, and its view of the database.

use std::any::TypeId;
use std::sync::Arc;

use async_graphql::{DataContext, Request};
use tokio::sync::Mutex;

use super::batch::Wanted;
use crate::domain::{Services, Tx, Writer};
use crate::live::Live;
use crate::live::source::Item;
use crate::model::actor::Actor;
use crate::model::budget::Budget;
use crate::model::error::{Error, Result};

/// What an event of a subscription is executed for: an item of its topic, or the error that came in its place.
pub type Delivered = Result<Arc<Item>>;

/// Attaches to an operation what its resolvers need. Operations without a caller can be introspected and nothing else. An
/// event of a subscription is an operation of its own, with what it is for.
pub fn attach(
    request: Request,
    services: &Arc<Services>,
    live: &Arc<Live>,
    actor: Option<Actor>,
    delivered: Option<Delivered>,
) -> Request {
    let Some(actor) = actor else { return request };
    let reader = Reader {
        services: services.clone(),
        actor: actor.clone(),
        budget: Arc::new(Budget::new(services.limits.max_operation_bytes, services.memory.clone())),
        current: Mutex::default(),
    };
    let (services, live) = (services.clone(), live.clone());
    request.data(Arc::new(Caller { services, live, actor, reader, wanted: Wanted::default(), delivered }))
}

/// The caller of an operation and their view of the database.
pub struct Caller {
    /// The use cases.
    pub services: Arc<Services>,
    /// Those who listen.
    pub live: Arc<Live>,
    /// Who asks.
    pub actor: Actor,
    /// The operation's view of the database.
    pub reader: Reader,
    /// Gathers the reads of resolvers that run side by side into one statement a kind.
    pub wanted: Wanted,
    delivered: Option<Delivered>,
}

impl Caller {
    /// The caller of a request.
    pub fn of(request: &Request) -> Option<&Arc<Self>> {
        request.data.get(&TypeId::of::<Arc<Self>>())?.downcast_ref()
    }

    /// How many seconds apart saves are at most that a list shows as one; 0 where it is to show every save.
    pub fn join_saves_seconds(&self, include_coalesced: Option<bool>) -> u32 {
        if include_coalesced.unwrap_or(false) { 0 } else { self.services.limits.join_saves_seconds }
    }

    /// What an event of a subscription is executed for.
    ///
    /// # Errors
    /// The error that came in its place; `Internal` if the operation is no subscription.
    pub fn delivered(&self) -> Result<Arc<Item>> {
        let none = || Err(Error::internal("a subscription was executed like a query"));
        self.delivered.clone().unwrap_or_else(none)
    }

    /// Runs a write. Reads after it see what it has written: its payload's, and the next mutation's.
    ///
    /// # Errors
    /// As the write.
    pub async fn write<T, W>(&self, write: impl FnOnce(Writer) -> W) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        // Before the write, so that an operation that waits for its turn to write holds no connection.
        self.wanted.forget();
        *self.reader.current.lock().await = None;
        self.services.write(&self.actor, write).await
    }
}

/// The caller of the operation.
///
/// # Errors
/// `Unauthenticated` where the operation came without a token.
pub fn caller<'c>(ctx: &impl DataContext<'c>) -> Result<&'c Caller> {
    let missing = || Error::Unauthenticated("Sign in: send `Authorization: Bearer TOKEN`.".to_owned());
    ctx.data_opt::<Arc<Caller>>().map(|caller| &**caller).ok_or_else(missing)
}

/// An operation's transaction, begun by its first read and shared by all: the whole answer shows one state.
pub struct Reader {
    services: Arc<Services>,
    actor: Actor,
    budget: Arc<Budget>,
    current: Mutex<Option<Arc<Tx>>>,
}

impl Reader {
    /// Takes bytes that are to be loaded.
    ///
    /// # Errors
    /// `QueryTooComplex` if fewer are left of the operation's budget.
    pub fn load(&self, bytes: usize) -> Result<()> {
        self.budget.load(bytes)
    }

    /// Takes bytes that are to be in the operation's answer.
    ///
    /// # Errors
    /// `QueryTooComplex` if fewer are left of its budget.
    pub fn answer(&self, bytes: usize) -> Result<()> {
        self.budget.answer(bytes)
    }

    /// The operation's transaction.
    ///
    /// # Errors
    /// `Internal` where no connection can be had.
    pub async fn tx(&self) -> Result<Arc<Tx>> {
        let mut current = self.current.lock().await;
        if let Some(tx) = &*current {
            return Ok(tx.clone());
        }
        let tx = Arc::new(self.services.read(&self.actor).await?.within(self.budget.clone()));
        *current = Some(tx.clone());
        Ok(tx)
    }
}
