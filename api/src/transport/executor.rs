//! Executes operations of all protocols: a query or mutation once, a subscription once for each item of its topic.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_graphql::{Request, Response, ServerError, Value, Variables, parser::types::ExecutableDocument};
use futures::{FutureExt, StreamExt, stream::BoxStream};

use super::{
    operation::{self, Outcome},
    pieces::Pieces,
};
use crate::{
    domain::Services,
    graphql::{
        context::{self, Caller, Delivered},
        documents::{Keep, Parsed},
        error::is_outage,
        execution,
        horizon::Horizon,
        listening::Plan,
        schema::{self, AppSchema},
    },
    live::{
        Live,
        fan_out::{Executed, Failure, Key, Results},
    },
    model::{actor::Actor, error::Error},
};

/// Executes operations.
#[derive(Clone)]
pub struct Executor {
    /// The schema.
    pub schema: AppSchema,
    /// The schema without the library's validator.
    unvalidated: AppSchema,
    /// The use cases.
    pub services: Arc<Services>,
    /// State for subscriptions.
    pub live: Arc<Live>,
    /// Counts the memory of results.
    pub results: Results,
}

/// An operation of a client.
pub struct Asked {
    document: ExecutableDocument,
    /// The document that was sent.
    parsed: Option<Arc<Parsed>>,
    /// The name of the operation in the document.
    name: Option<String>,
    horizon: Horizon,
    keep: Option<Keep>,
    query: String,
    operation_name: Option<String>,
    /// The variables.
    pub variables: Variables,
    request_id: String,
}

impl Asked {
    /// The operation of a prepared request; `name` is its name in the document.
    pub fn new(mut request: Request, document: ExecutableDocument, name: Option<String>, request_id: String) -> Self {
        Self {
            document,
            parsed: operation::document_of(&request),
            name,
            horizon: Horizon::of_request(&request),
            keep: Keep::of(&request).cloned(),
            query: std::mem::take(&mut request.query),
            operation_name: request.operation_name.take(),
            variables: std::mem::take(&mut request.variables),
            request_id,
        }
    }

    fn request(&self) -> Request {
        let mut request = Request::new(self.query.clone()).variables(self.variables.clone());
        request.operation_name.clone_from(&self.operation_name);
        request.set_parsed_query(self.document.clone());
        request.data.insert(self.horizon.clone());
        if let Some(parsed) = &self.parsed {
            request.data.insert(parsed.clone());
        }
        request
    }

    /// Stores the document, which is now known to be valid.
    pub fn keep(&self) {
        if let Some(keep) = &self.keep {
            keep.keep();
        }
        if let Some(parsed) = &self.parsed {
            parsed.accept();
        }
    }

    /// The key of the shared subscription.
    pub fn key(&self, plan: &Plan, actor: &Actor) -> Key {
        Key {
            document: self.query.clone(),
            operation: self.operation_name.clone(),
            variables: serde_json::to_string(&plan.shared_variables(&self.variables)).unwrap_or_default(),
            user: (!plan.is_same_for_all).then_some(actor.user_id),
        }
    }
}

impl Executor {
    /// An executor of the operations of a schema.
    pub fn new(schema: AppSchema, services: Arc<Services>, live: Arc<Live>, results: Results) -> Self {
        let unvalidated = schema::build_without_validator(&services.limits);
        Self { schema, unvalidated, services, live, results }
    }

    /// The schema that executes a document. The library's validator takes a large part of the time of a small operation.
    pub fn schema_for(&self, parsed: Option<&Arc<Parsed>>) -> &AppSchema {
        if parsed.is_some_and(|parsed| parsed.is_accepted()) { &self.unvalidated } else { &self.schema }
    }

    /// Executes a query or mutation.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn once(&self, asked: &Asked, actor: Option<Actor>) -> Executed {
        let request = context::attach(asked.request(), &self.services, &self.live, actor, None);
        let response = execution::run(self.schema_for(asked.parsed.as_ref()), &self.services.limits, request);
        settled(asked, AssertUnwindSafe(response).catch_unwind().await, |_| false)
    }

    /// Checks that a subscription can be executed, before its first item.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn check(&self, asked: &Asked, actor: &Actor) -> Result<(), Failure> {
        let delivered = Some(Err(Error::not_found("item", "")));
        let request = context::attach(asked.request(), &self.services, &self.live, Some(actor.clone()), delivered);
        let response = first(self.schema.execute_stream(request)).await;
        let response = response.map_err(|panic| refused(vec![operation::panicked(&*panic, &asked.request_id)]))?;
        match operation::settle(response, asked.parsed.as_ref(), asked.name.as_deref(), &asked.request_id) {
            Outcome::Refused { errors } => Err(refused(errors)),
            Outcome::Ran(_) => {
                asked.keep();
                Ok(())
            }
        }
    }

    /// Executes a subscription for an item; without a topic there is none.
    ///
    /// # Errors
    /// Why there is no response that can be delivered.
    pub async fn event(&self, asked: &Asked, actor: Option<Actor>, delivered: Option<Delivered>) -> Executed {
        let attach = |delivered| context::attach(asked.request(), &self.services, &self.live, actor.clone(), delivered);
        let request = attach(delivered.clone());
        let caller = Caller::of(&request).cloned();
        let schema = self.schema_for(asked.parsed.as_ref());
        let mut response = first(schema.execute_stream(request)).await;
        let has_errors = response.as_ref().is_ok_and(|response| !response.errors.is_empty());
        if has_errors && caller.is_some_and(|caller| caller.reader.has_used_replica()) {
            // The primary may have what the replica lacks.
            let request = attach(delivered);
            if let Some(caller) = Caller::of(&request) {
                caller.reader.need_the_present();
            }
            response = first(schema.execute_stream(request)).await;
        }
        settled(asked, response, has_failed)
    }

    /// Converts an error that ends a subscription to an error of its field.
    pub async fn failed(&self, asked: &Asked, actor: &Actor, error: Error) -> Failure {
        match self.event(asked, Some(actor.clone()), Some(Err(error))).await {
            Err(failure) => failure,
            Ok(_) => refused(vec![operation::refusal(&Error::internal("an error was no error"), "")]),
        }
    }
}

/// The only response to an event.
async fn first(mut responses: BoxStream<'static, Response>) -> std::thread::Result<Response> {
    AssertUnwindSafe(responses.next()).catch_unwind().await.map(Option::unwrap_or_default)
}

fn settled(
    asked: &Asked,
    response: std::thread::Result<Response>,
    has_failed: impl FnOnce(&Response) -> bool,
) -> Executed {
    let response = response.map_err(|panic| refused(vec![operation::panicked(&*panic, &asked.request_id)]))?;
    let outcome = operation::settle(response, asked.parsed.as_ref(), asked.name.as_deref(), &asked.request_id);
    let code = outcome.code();
    let response = match outcome {
        Outcome::Refused { errors } => return Err(refused(errors)),
        Outcome::Ran(response) if has_failed(&response) => return Err(refused(response.errors)),
        Outcome::Ran(response) => response,
    };
    let json = Pieces::from(Outcome::Ran(response)).into_text();
    let json = json.map_err(|error| refused(vec![operation::refusal(&error, &asked.request_id)]))?;
    Ok((json, code))
}

fn refused(errors: Vec<ServerError>) -> Failure {
    let is_outage = errors.iter().any(is_outage);
    let is_not_found = errors.iter().any(|error| operation::code_of(error) == Some("NOT_FOUND"));
    Failure { errors, is_outage, is_not_found }
}

/// Whether an event has failed: if the subscription's own field failed there is no event, and after an outage another
/// execution may return the complete event. An event with another failed field is delivered with its error.
fn has_failed(response: &Response) -> bool {
    let has_no_event = response.data == Value::Null && response.errors.iter().any(|error| error.path.len() == 1);
    has_no_event || response.errors.iter().any(is_outage)
}
