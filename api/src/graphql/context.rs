//! What an operation knows: its caller, the services, and its view of the database.

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

/// Attaches to an operation what its resolvers need. Operations without a caller can be introspected and nothing else. With a
/// cursor it is one run of a subscription: from where that stands to the newest revision.
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
        // Between two events of a subscription its client may take its time: a run must not hold on to a connection, nor to
        // what the database was like.
        keeps: cursor.is_none(),
        budget: Arc::new(Budget::new(services.limits.max_operation_bytes, services.memory.clone())),
        current: Mutex::default(),
    };
    request.data(Arc::new(Caller { services: services.clone(), actor, reader, wanted: Wanted::default(), cursor }))
}

/// The caller of an operation and their view of the database.
pub struct Caller {
    /// The use cases.
    pub services: Arc<Services>,
    /// Who asks.
    pub actor: Actor,
    /// The operation's view of the database.
    pub reader: Reader,
    /// Gathers the reads of resolvers that run side by side into one statement a kind.
    pub wanted: Wanted,
    cursor: Option<Arc<Cursor>>,
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

    /// Where the listener stands, of a subscription.
    ///
    /// # Errors
    /// `Internal` where the operation is something else.
    pub fn cursor(&self) -> Result<&Arc<Cursor>> {
        self.cursor.as_ref().ok_or_else(|| Error::internal("a subscription was executed like a query"))
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
        *self.reader.current.lock().await = Current::default();
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
        if let Some(tx) = current.shared.upgrade() {
            return Ok(tx);
        }
        let tx = Arc::new(self.services.read(&self.actor).await?.within(self.budget.clone()));
        current.shared = Arc::downgrade(&tx);
        current.kept = self.keeps.then(|| tx.clone());
        Ok(tx)
    }
}
