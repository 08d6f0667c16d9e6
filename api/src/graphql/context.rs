//! The context of an operation: its caller, the services, and its view of the database.

use std::any::TypeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_graphql::{Context, DataContext, PathSegment, Pos, Request, ServerError};
use parking_lot::Mutex;

use super::batch::Wanted;
use super::documents::Parsed;
use super::horizon::Horizon;
use super::json_text::WrittenJson;
use super::reader::Reader;
use crate::domain::{self, Needs, Services, Size, Writer};
use crate::live::Live;
use crate::live::source::Item;
use crate::model::actor::Actor;
use crate::model::error::{Error, Result};

/// An item of a subscription's topic, or the error in its place.
pub type Delivered = Result<Arc<Item>>;

/// Attaches the context that resolvers need to an operation. An operation without a caller can only use introspection.
/// Each event of a subscription is an operation of its own, for a delivered item.
pub fn attach(
    request: Request,
    services: &Arc<Services>,
    live: &Arc<Live>,
    actor: Option<Actor>,
    delivered: Option<Delivered>,
) -> Request {
    let Some(actor) = actor else { return request };
    let horizon = Horizon::of_request(&request);
    let needs = match &delivered {
        Some(_) => Needs::Known,
        None if horizon.names_a_state => Needs::Present,
        None => Needs::Own,
    };
    let parsed = Parsed::of(&request);
    let size = parsed.map_or(Size::Small, |parsed| parsed.size);
    let merges_nothing = parsed.is_some_and(|parsed| parsed.merges_nothing);
    let reader = Reader::new(services.clone(), actor.clone(), needs, size, horizon.long_columns);
    let (services, live) = (services.clone(), live.clone());
    let (wanted, committed, refused, json) =
        (Wanted::default(), Mutex::default(), Mutex::default(), WrittenJson::default());
    request.data(Arc::new(Caller {
        services,
        live,
        actor,
        reader,
        wanted,
        merges_nothing,
        delivered,
        horizon,
        committed,
        refused,
        json,
    }))
}

/// The caller of an operation and its view of the database.
pub struct Caller {
    /// The use cases.
    pub services: Arc<Services>,
    /// The subscriptions of this server.
    pub live: Arc<Live>,
    /// The caller.
    pub actor: Actor,
    /// View of the database.
    pub reader: Reader,
    /// Batches the reads of concurrent resolvers.
    pub wanted: Wanted,
    /// Whether each object in the result comes from one selection of a field ([`Parsed::merges_nothing`]).
    pub merges_nothing: bool,
    delivered: Option<Delivered>,
    horizon: Horizon,
    /// The response names of the committed mutations.
    committed: Mutex<Vec<String>>,
    /// The fields of payloads for which mutations were refused.
    refused: Mutex<Vec<(Vec<PathSegment>, Pos)>>,
    /// The lists that are resolved to JSON.
    pub json: WrittenJson,
}

impl Caller {
    /// The caller of a request, if it has one.
    pub fn of(request: &Request) -> Option<&Arc<Self>> {
        request.data.get(&TypeId::of::<Arc<Self>>())?.downcast_ref()
    }

    /// The longest gap between coalesced autosaves in a list, in seconds; 0 shows each of them.
    pub fn autosave_coalesce_seconds(&self, include_coalesced: Option<bool>) -> u32 {
        if include_coalesced.unwrap_or(false) { 0 } else { self.services.limits.autosave_coalesce_seconds }
    }

    /// The item for which this event of a subscription is executed.
    ///
    /// # Errors
    /// The error in its place; `Internal` if the operation is not a subscription.
    pub fn delivered(&self) -> Result<Arc<Item>> {
        let none = || Err(Error::internal("a subscription was executed like a query"));
        self.delivered.clone().unwrap_or_else(none)
    }

    /// Runs a write. Later reads of the operation see its result: those of its payload, and those of the next mutation.
    /// A payload that reads as of a later revision refuses the write.
    pub async fn write<T, W>(&self, ctx: &Context<'_>, write: impl FnOnce(Writer) -> W) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        // End the view first, so that an operation that waits for its turn to write holds no connection.
        self.wanted.forget();
        self.reader.end().await;
        // A payload is not read again if it fails.
        self.reader.need_the_present();
        let mutation = &ctx.item.node.response_key().node;
        let latest = self.horizon.of(mutation);
        let horizon = latest.map(|latest| {
            let (revision, argument) = (latest.revision, latest.argument.clone());
            Arc::new(domain::Horizon { revision, argument, has_refused: AtomicBool::default() })
        });
        let done = self.services.write(&self.actor, |writer| write(writer.reading_until(horizon.clone()))).await;
        if let Some(field) = latest.and_then(|latest| latest.field.as_ref())
            && horizon.is_some_and(|horizon| horizon.has_refused.load(Ordering::Relaxed))
        {
            self.refused.lock().push(field.clone());
        }
        let done = done?;
        self.committed.lock().push(mutation.to_string());
        Ok(done)
    }

    /// Moves the errors of mutations that were refused for a field of their payloads to these fields.
    pub fn locate_refused(&self, errors: &mut [ServerError]) {
        for (path, pos) in self.refused.lock().iter() {
            let of_root = |error: &&mut ServerError| error.path.len() == 1 && error.path.first() == path.first();
            if let Some(error) = errors.iter_mut().find(of_root) {
                error.path.clone_from(path);
                error.locations = vec![*pos];
            }
        }
    }

    /// Marks the errors below committed mutations, and errors of the whole operation if a mutation is committed: a
    /// payload that cannot be read is null, and the client must not repeat the mutation.
    pub fn mark_committed(&self, errors: &mut [ServerError]) {
        let committed = self.committed.lock();
        let is_below = |error: &ServerError| match error.path.first() {
            Some(PathSegment::Field(name)) => committed.contains(name),
            _ => !committed.is_empty(),
        };
        for error in errors.iter_mut().filter(|error| is_below(error)) {
            error.extensions.get_or_insert_default().set("committed", true);
        }
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
