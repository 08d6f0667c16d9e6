//! Executes operations with batched reads and a time limit. This wraps the library's execution instead of using an
//! extension, which would cost a call per field.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::types::{Field, OperationType};
use async_graphql::registry::Registry;
use async_graphql::{
    ContextSelectionSet, Executor, OutputType, Positioned, Request, Response, ServerError, ServerResult, Value,
};
use tokio::time::timeout;

use super::batch;
use super::context::{Caller, caller};
use crate::metrics;
use crate::model::error::Error;
use crate::model::limits::Limits;

/// Runs a query or a mutation. A query that fails on a replica is repeated on the primary.
pub async fn run(schema: &impl Executor, limits: &Limits, mut request: Request) -> Response {
    let caller = Caller::of(&request).cloned();
    let has_replicas = caller.as_ref().is_some_and(|caller| caller.services.has_replicas());
    let again = if has_replicas { copy_of_query(&mut request) } else { None };
    let response = run_once(schema, limits, request, caller.as_ref()).await;
    match (again, caller) {
        (Some(request), Some(caller)) if !response.errors.is_empty() && caller.reader.has_used_replica() => {
            caller.wanted.forget();
            caller.reader.repeat().await;
            run_once(schema, limits, request.data(caller.clone()), Some(&caller)).await
        }
        _ => response,
    }
}

/// A copy of a prepared request, if it is a query.
fn copy_of_query(request: &mut Request) -> Option<Request> {
    let document = request.parsed_query().ok()?.clone();
    if document.operations.iter().any(|(_, operation)| operation.node.ty != OperationType::Query) {
        return None;
    }
    let mut copy = Request::new(request.query.clone()).variables(request.variables.clone());
    copy.operation_name.clone_from(&request.operation_name);
    copy.set_parsed_query(document);
    Some(copy)
}

async fn run_once(schema: &impl Executor, limits: &Limits, request: Request, caller: Option<&Arc<Caller>>) -> Response {
    let operation = async {
        // The future is large; boxing avoids moving it on the stack of every caller.
        let operation = Box::pin(schema.execute(request));
        match caller {
            Some(caller) => batch::drive(&caller.wanted, &caller.reader, operation).await,
            None => operation.await,
        }
    };
    let mut response =
        in_time(limits, operation).await.unwrap_or_else(|error| Response::from_errors(vec![ended(error)]));
    if let Some(caller) = caller {
        caller.mark_committed(&mut response.errors);
        caller.locate_refused(&mut response.errors);
    }
    response
}

/// Runs an operation within its time limit. Time spent waiting for others does not count.
///
/// # Errors
/// `QueryTooComplex` if it takes longer.
pub async fn in_time<T>(limits: &Limits, operation: impl Future<Output = T>) -> Result<T, Error> {
    let seconds = limits.max_operation_seconds;
    let mut operation = pin!(operation);
    let (mut allowed, mut waited) = (Duration::from_secs(seconds), metrics::waited());
    loop {
        if let Ok(ended) = timeout(allowed, &mut operation).await {
            return Ok(ended);
        }
        let before = std::mem::replace(&mut waited, metrics::waited());
        allowed = waited.saturating_sub(before);
        if allowed.is_zero() {
            break;
        }
    }
    Err(Error::QueryTooComplex(format!(
        "The operation takes longer than {seconds} seconds (--max-operation-seconds). Writes that it has started may \
         be completed."
    )))
}

/// The error of an operation that exceeded its time limit.
fn ended(error: Error) -> ServerError {
    let error = async_graphql::Error::from(error);
    let mut ended = ServerError::new(error.message, None);
    ended.extensions = error.extensions;
    ended
}

/// An event of a subscription, executed like an operation of its own.
pub struct Run<T>(pub T);

impl<T: OutputType> OutputType for Run<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn qualified_type_name() -> String {
        T::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let caller = caller(ctx).map_err(|error| async_graphql::Error::from(error).into_server_error(field.pos))?;
        let event = batch::drive(&caller.wanted, &caller.reader, self.0.resolve(ctx, field));
        in_time(&caller.services.limits, event).await.map_err(ended)?
    }
}
