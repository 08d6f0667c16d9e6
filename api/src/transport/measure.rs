//! Observability of operations, for all endpoints: a span, metrics, and a log line for a slow operation. Of what the
//! client sent, only the operation's name is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_graphql::parser::types::OperationType;
use futures::Stream;

use super::{operation::Outcome, state::AppState};
use crate::metrics::{Cost, Counted, Metrics, counted, counted_stream};

/// Longest operation name in a span or the log, in characters.
const MAX_NAME: usize = 100;

impl AppState {
    /// Starts to measure an operation.
    pub(super) fn measure(
        &self,
        kind: OperationType,
        name: Option<&str>,
        is_signed_in: bool,
        request_id: &str,
    ) -> Measured {
        Measured::begin(self.services.metrics(), kind, name, is_signed_in, request_id, self.slow_operation)
    }

    /// Counts a request that was refused before it became an operation.
    pub(super) fn refused(&self, outcome: &Outcome) {
        self.services.metrics().ended("none", None, false, outcome.code(), None);
    }
}

/// A running operation. Dropping it before it has ended means that the client disconnected or that it panicked.
pub struct Measured {
    metrics: Arc<Metrics>,
    kind: &'static str,
    name: Option<String>,
    is_signed_in: bool,
    request_id: String,
    span: tracing::Span,
    started: Instant,
    cost: Arc<Cost>,
    slow: Duration,
    listens: Option<Counted>,
    has_ended: AtomicBool,
}

impl Measured {
    /// Starts to measure an operation. An operation that takes at least `slow` is logged; zero disables this.
    fn begin(
        metrics: &Arc<Metrics>,
        kind: OperationType,
        name: Option<&str>,
        is_signed_in: bool,
        request_id: &str,
        slow: Duration,
    ) -> Self {
        let listens = (kind == OperationType::Subscription).then(|| Counted::new(&metrics.subscriptions));
        let kind = match kind {
            OperationType::Query => "query",
            OperationType::Mutation => "mutation",
            OperationType::Subscription => "subscription",
        };
        let shown: String = name.unwrap_or_default().chars().take(MAX_NAME).collect();
        let title = format!("GraphQL {kind} {shown}");
        let span = tracing::info_span!(
            "GraphQL",
            otel.name = title.trim_end(),
            graphql.operation.r#type = kind,
            graphql.operation.name = shown,
            request.id = request_id
        );
        Self {
            metrics: metrics.clone(),
            kind,
            name: name.map(str::to_owned),
            is_signed_in,
            request_id: request_id.to_owned(),
            span,
            started: Instant::now(),
            cost: Arc::default(),
            slow,
            listens,
            has_ended: AtomicBool::new(false),
        }
    }

    /// Runs a query or mutation within the span, and counts its cost.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        counted(self.cost.clone(), tracing::Instrument::instrument(work, self.span.clone())).await
    }

    /// Wraps a stream of results, so that it runs within the span and its cost is counted.
    pub fn run_stream<S: Stream + Unpin>(&self, mut results: S) -> impl Stream<Item = S::Item> + use<S> {
        let (cost, span) = (self.cost.clone(), self.span.clone());
        futures::stream::poll_fn(move |context| {
            let _entered = span.enter();
            counted_stream(&cost, &mut results, context)
        })
    }

    /// Counts a result sent to a subscriber.
    pub fn delivered(&self) {
        self.metrics.deliveries.inc();
    }

    /// Whether this is a subscription.
    pub fn listens(&self) -> bool {
        self.listens.is_some()
    }

    /// Records the outcome, as [`Outcome::code`] names it. Later calls have no effect.
    pub fn ended(&self, outcome: &'static str) {
        if self.has_ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let is_known = outcome == "OK" && self.is_signed_in;
        let duration = self.started.elapsed();
        let cost = (!self.listens()).then_some((duration, &*self.cost));
        self.metrics.ended(self.kind, self.name.as_deref(), is_known, outcome, cost);
        if !self.listens() && !self.slow.is_zero() && duration >= self.slow {
            tracing::warn!(
                parent: &self.span,
                elapsed_ms = millis(duration),
                statements = self.cost.statements(),
                sql_ms = millis(self.cost.sql_time()),
                request.id = self.request_id,
                outcome,
                "slow operation"
            );
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.ended(if std::thread::panicking() {
            "INTERNAL"
        } else if self.listens() {
            // The usual end of a subscription: the client stops it.
            "OK"
        } else {
            "CANCELLED"
        });
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
