//! Operations as streams of results, for the protocols that can deliver several.
//!
//! A subscription first runs alone: it is executed for each item of its topic as fast as the items are read. When it
//! has reached the newest item, it shares its executions with identical subscriptions (`live::fan_out`). If it falls
//! behind the results that they keep, it runs alone again and misses nothing.

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_graphql::{Request, ServerError, parser::types::OperationType};
use futures::{FutureExt, Stream, StreamExt, future, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

use super::{
    executor::{Asked, Executor},
    operation,
    state::AppState,
    step::{Connection, Step},
};
use crate::{
    graphql::listening::Plan,
    live::{
        fan_out::{Delivery, Execute, Executed, Failure, Failures, Next, SharedSubscriptions, Subscriber},
        source::{self, Positioned, Source, Topic},
    },
    metrics,
    model::{actor::Actor, error::Error},
};

/// The steps of an operation. Nothing runs before the first step is polled. A subscription resumes after the position
/// `resume`, if the protocol provides it.
///
/// # Errors
/// Why the operation is refused.
pub fn start(
    state: &AppState,
    connection: &Connection,
    actor: Option<Actor>,
    mut request: Request,
    request_id: String,
    resume: Option<i32>,
) -> Result<stream::BoxStream<'static, Step>, Vec<ServerError>> {
    let prepared = AssertUnwindSafe(|| {
        let (kind, name) = operation::prepare(&mut request, &state.documents, &state.limits)?;
        let plan = (kind == OperationType::Subscription).then(|| plan(&mut request, name.as_deref(), &request_id));
        let plan = plan.transpose().map_err(|error| vec![error])?;
        let document = request.parsed_query().map_err(|error| vec![error])?.clone();
        Ok((kind, name, plan, document))
    });
    let (kind, name, plan, document) = std::panic::catch_unwind(prepared)
        .unwrap_or_else(|panic| Err(vec![operation::panicked(&*panic, &request_id)]))?;
    let measured = state.measure(kind, name.as_deref(), actor.is_some(), &request_id);
    let asked = Arc::new(Asked::new(request, document, name, request_id));
    let steps = match plan {
        Some(plan) => {
            let (shared, connection) = (state.shared_subscriptions.clone(), connection.clone());
            listen(state.executor.clone(), shared, connection, asked, plan, actor, resume).boxed()
        }
        None => once(state.executor.clone(), asked, actor).boxed(),
    };
    let steps = measured.run_stream(steps.chain(stream::once(future::ready(Step::Done))));
    Ok(steps
        .inspect(move |step| match step {
            Step::Result(_) if measured.listens() => measured.delivered(),
            Step::Result(result) => measured.ended(result.code),
            Step::Failed(errors) => measured.ended(operation::code_of_all(errors)),
            Step::Interrupted => measured.ended(operation::INTERNAL),
            Step::Done => measured.ended("OK"),
        })
        .boxed())
}

fn plan(request: &mut Request, name: Option<&str>, request_id: &str) -> Result<Plan, ServerError> {
    let document = request.parsed_query()?;
    let chosen = document.operations.iter().find(|(one, _)| one.map(|one| one.as_str()) == name);
    let plan = match chosen {
        Some((_, operation)) => Plan::new(document, &operation.node),
        None => Err(Error::internal("the operation that was chosen is not in its document")),
    };
    plan.map_err(|error| operation::refusal(&error, request_id))
}

fn once(executor: Executor, asked: Arc<Asked>, actor: Option<Actor>) -> impl Stream<Item = Step> {
    stream::once(async move {
        let executed = executor.once(&asked, actor).await;
        only_result(&executor, &asked, executed).unwrap_or_else(|failure| Step::Failed(failure.errors))
    })
}

/// The result of an operation that has only one.
fn only_result(executor: &Executor, asked: &Asked, executed: Executed) -> Result<Step, Failure> {
    let (json, code) = executed?;
    asked.keep();
    Ok(Step::Result(executor.results.uncounted(json, code, None)))
}

/// How a failure ends a subscription. After an outage the client reconnects, so that no event is skipped.
fn end(failure: Failure) -> Step {
    if failure.is_outage { Step::Interrupted } else { Step::Failed(failure.errors) }
}

/// A subscription of one client.
struct SubscriptionRun {
    executor: Executor,
    shared: SharedSubscriptions,
    connection: Connection,
    asked: Arc<Asked>,
    actor: Actor,
}

/// The result of advancing a source.
enum Advanced {
    /// A result with its permit, which is held until the client has taken the result, since a connection has a limited
    /// number of permits.
    Result(Delivery, Option<OwnedSemaphorePermit>),
    CaughtUp(i32),
    End,
    Failed(Failure),
}

fn listen(
    executor: Executor,
    shared: SharedSubscriptions,
    connection: Connection,
    asked: Arc<Asked>,
    plan: Plan,
    actor: Option<Actor>,
    resume: Option<i32>,
) -> impl Stream<Item = Step> {
    async_stream::stream! {
        // There is no topic for `__typename`, and for a caller who is not signed in.
        let (actor, topic) = match (actor, plan.topic(&asked.variables)) {
            (Some(actor), Some(topic)) => (actor, topic),
            (actor, _) => {
                let executed = executor.event(&asked, actor, None).await;
                yield only_result(&executor, &asked, executed).unwrap_or_else(end);
                return;
            }
        };
        let run = Arc::new(SubscriptionRun { executor, shared, connection, asked, actor });
        let mut source = match run.clone().open(topic, resume).await {
            Ok(source) => source,
            Err(failure) => {
                yield end(failure);
                return;
            }
        };
        loop {
            let (back, advanced) = match run.clone().advance(source).await {
                Ok(advanced) => advanced,
                Err(failure) => {
                    yield end(failure);
                    return;
                }
            };
            source = back;
            match advanced {
                Advanced::Result(result, _turn) => yield Step::Result(result),
                Advanced::CaughtUp(mut at) => {
                    let Some(mut subscriber) = run.join(&plan, &source, at) else { return };
                    loop {
                        match subscriber.next(&mut at).await {
                            Next::Delivery(result) => yield Step::Result(result),
                            Next::Behind => break,
                            Next::Evicted => {
                                yield end(run.failed(Error::no_project()).await);
                                return;
                            }
                            Next::Failed(failure) => {
                                yield end(failure);
                                return;
                            }
                        }
                    }
                    source.seek(at);
                }
                Advanced::End => return,
                Advanced::Failed(failure) => {
                    yield end(failure);
                    return;
                }
            }
        }
    }
}

impl SubscriptionRun {
    /// Runs work in a separate task, so that a client that reads slowly holds no transaction open, and its time is not
    /// counted.
    async fn in_task<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Failure> {
        match AbortOnDropHandle::new(metrics::spawn(work)).await {
            Ok(done) => Ok(done),
            Err(error) => Err(self.failed(Error::internal(error)).await),
        }
    }

    async fn failed(&self, error: Error) -> Failure {
        self.executor.failed(&self.asked, &self.actor, error).await
    }

    /// Checks the subscription and opens its topic.
    async fn open(self: Arc<Self>, topic: Result<Topic, Error>, resume: Option<i32>) -> Result<Source, Failure> {
        self.executor.check(&self.asked, &self.actor).await?;
        let run = self.clone();
        let opened = self.in_task(async move {
            let mut failures = Failures::default();
            loop {
                let opened = match &topic {
                    Ok(topic) => {
                        let live = run.executor.live.clone();
                        Source::open(live, run.actor.clone(), topic, resume).await
                    }
                    Err(error) => Err(error.clone()),
                };
                let error = match opened {
                    Ok(source) => return Ok(source),
                    Err(error) => error,
                };
                let failure = run.failed(error).await;
                if !failures.may_go_on(failure.is_outage).await {
                    return Err(failure);
                }
            }
        });
        opened.await?
    }

    /// Takes the next item of a source, and executes the subscription for it.
    async fn advance(self: Arc<Self>, mut source: Source) -> Result<(Source, Advanced), Failure> {
        let run = self.clone();
        let advanced = self.in_task(async move {
            let advanced = run.advance_here(&mut source).await;
            (source, advanced)
        });
        advanced.await
    }

    async fn advance_here(&self, source: &mut Source) -> Advanced {
        let mut failures = Failures::default();
        loop {
            match source.next().await {
                Ok(source::Next::Item(item)) => {
                    let turn = self.connection.permit().await;
                    return match self.execute(item).await {
                        Ok(result) => Advanced::Result(result, turn),
                        Err(failure) => Advanced::Failed(failure),
                    };
                }
                Ok(source::Next::CaughtUp(at)) => return Advanced::CaughtUp(at),
                Ok(source::Next::End) => return Advanced::End,
                Err(error) => {
                    let failure = self.failed(error).await;
                    if !failures.may_go_on(failure.is_outage).await {
                        return Advanced::Failed(failure);
                    }
                }
            }
        }
    }

    /// Executes the subscription for one item; repeats it during an outage.
    async fn execute(&self, (item, position): Positioned) -> Result<Delivery, Failure> {
        let mut failures = Failures::default();
        loop {
            let delivered = {
                let _turn = self.shared.turn().await;
                let actor = Some(self.actor.clone());
                let executed = self.executor.event(&self.asked, actor, Some(Ok(item.clone()))).await;
                executed.map(|(json, code)| self.executor.results.delivery(json, code, position))
            };
            let result = match delivered {
                Ok(Ok(delivery)) => Ok(delivery),
                Ok(Err(error)) => Err(self.failed(error).await),
                Err(failure) => Err(failure),
            };
            match result {
                Err(failure) if failures.may_go_on(failure.is_outage).await => {}
                result => return result,
            }
        }
    }

    /// Joins a shared subscription for the items after a revision.
    fn join(&self, plan: &Plan, source: &Source, at: i32) -> Option<Subscriber> {
        let (executor, asked) = (self.executor.clone(), self.asked.clone());
        let execute: Execute = Arc::new(move |actor, delivered| {
            let (executor, asked) = (executor.clone(), asked.clone());
            async move { executor.event(&asked, Some(actor), Some(delivered)).await }.boxed()
        });
        self.shared.join(self.asked.key(plan, &self.actor), &execute, source, at, &self.actor)
    }
}
