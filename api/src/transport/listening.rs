//! Operations as streams of results, for the doors by which more than one can come; and how a server serves many who listen
//! to the same.
//!
//! A subscription runs from where its listener stands to the newest revision, as often as there is more. First it runs for
//! its listener alone, as fast as that one reads. Then the listener joins the [`Group`] of those who have asked the same and
//! would be told the same: for them it runs once, and each takes the same bytes. A group keeps its newest results, so many and
//! no more; a listener that falls behind them runs alone again, and misses nothing.
//!
//! A group wakes its listeners a few at a time, so that a thousand of them do not stand before the next request. What comes while
//! they are woken is told with the next round: the busier the server, the more each of them is told at once.

use std::{
    collections::{HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use async_graphql::{
    Request, Response, ServerError, Variables,
    parser::types::{ExecutableDocument, OperationType},
};
use futures::{Stream, StreamExt, future, stream};
use tokio::{
    sync::{Notify, watch},
    task::yield_now,
    time::{Duration, Instant, sleep},
};
use tracing::Instrument;
use uuid::Uuid;

use super::{
    operation::{self, Outcome},
    router::AppState,
};
use crate::{
    domain::events::{Cursor, Feed},
    graphql::{
        context,
        documents::{Keep, Parsed},
        error::is_outage,
        execution,
        listening::Plan,
    },
    model::{actor::Actor, clock, error::Error, ids::UserId},
};

/// How many results a group keeps for listeners who are a little behind, and how many bytes of them.
const KEPT: usize = 256;
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// How long runs that fail by an outage are begun again, and how long the waits in between are, each twice as long as the one
/// before: a database that restarts is no reason to end a subscription.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// How many listeners are woken before whatever else the server has to do gets its turn.
const WOKEN_AT_ONCE: usize = 32;

/// How long a group that has woken many rests at most: as long as it took, so that half of the time is for others.
const MAX_REST: Duration = Duration::from_millis(10);

/// A step of an operation.
pub enum Step {
    /// It has a result.
    Result(Answer),
    /// It can no longer go on.
    Failed(Vec<ServerError>),
    /// It cannot go on here and now: the client is to come back, and to go on where it stands.
    Interrupted,
    /// It has come to its end.
    Done,
}

/// A result.
#[derive(Clone)]
pub struct Answer {
    /// The GraphQL response as JSON, without a line break.
    pub payload: Arc<str>,
    /// `OK`, or the code of what went wrong in it.
    pub code: &'static str,
    /// Of a subscription, the revision that it tells of.
    pub revision: Option<i32>,
}

/// The groups of a server.
#[derive(Clone, Default)]
pub struct Groups(Arc<Mutex<HashMap<Key, Weak<Group>>>>);

/// What those have in common who are told the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    query: String,
    operation_name: Option<String>,
    /// As JSON, without the one that says where to begin.
    variables: String,
    /// Whom it is told to, where it would be told otherwise to somebody else.
    user: Option<UserId>,
}

/// The steps of an operation; nothing of it runs before the first is asked for. `heard` is the revision that a listener has
/// heard last, where the door knows it.
///
/// # Errors
/// Why the operation is refused.
pub fn start(
    state: &AppState,
    actor: Option<Actor>,
    mut request: Request,
    request_id: String,
    heard: Option<i32>,
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
    let mut measured = state.measure(kind, name.as_deref(), actor.is_some(), &request_id);
    let state = state.clone();
    let asked = Asked {
        document,
        parsed: operation::document_of(&request),
        name,
        keep: Keep::of(&request).cloned(),
        query: std::mem::take(&mut request.query),
        operation_name: request.operation_name.take(),
        variables: std::mem::take(&mut request.variables),
    };
    let steps = match plan {
        Some(plan) => listen(state, asked, plan, actor, request_id, heard).boxed(),
        None => once(state, asked, actor, request_id).boxed(),
    };
    let steps = measured.run_stream(steps.chain(stream::once(future::ready(Step::Done))));
    Ok(steps
        .inspect(move |step| match step {
            Step::Result(_) if measured.listens() => measured.delivered(),
            Step::Result(answer) => measured.ended(answer.code),
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

/// What a client has asked for.
struct Asked {
    document: ExecutableDocument,
    /// The document as it was sent.
    parsed: Option<Arc<Parsed>>,
    /// The name of the operation in it.
    name: Option<String>,
    keep: Option<Keep>,
    query: String,
    operation_name: Option<String>,
    variables: Variables,
}

impl Asked {
    fn request(&self) -> Request {
        let mut request = Request::new(self.query.clone()).variables(self.variables.clone());
        request.operation_name.clone_from(&self.operation_name);
        request.set_parsed_query(self.document.clone());
        request
    }

    /// Keeps its document, which is now known to be valid.
    fn keep(&self) {
        if let Some(keep) = &self.keep {
            keep.keep();
        }
    }

    /// One run, with what comes of it.
    fn run(
        &self,
        state: &AppState,
        actor: Option<Actor>,
        cursor: Option<Arc<Cursor>>,
        request_id: &str,
    ) -> impl Stream<Item = Result<Answer, Vec<ServerError>>> + use<> {
        let request = context::attach(self.request(), &state.services, actor, cursor.clone());
        let responses = match &cursor {
            Some(_) => state.schema.execute_stream(request),
            None => {
                let (schema, limits) = (state.schema.clone(), state.limits.clone());
                stream::once(async move { execution::run(&schema, &limits, request).await }).boxed()
            }
        };
        let responses = AssertUnwindSafe(responses).catch_unwind();
        let (parsed, name) = (self.parsed.clone(), self.name.clone());
        let request_id = request_id.to_owned();
        responses.map(move |response| {
            let response = response.map_err(|panic| vec![operation::panicked(&*panic, &request_id)])?;
            let outcome = operation::settle(response, parsed.as_ref(), name.as_deref(), &request_id);
            let code = outcome.code();
            let response = match outcome {
                Outcome::Refused { errors } => return Err(errors),
                Outcome::Ran(response) if cursor.is_some() && has_failed(&response) => {
                    return Err(response.errors);
                }
                Outcome::Ran(response) => response,
            };
            let payload = serde_json::to_string(&response)
                .map_err(|error| vec![operation::refusal(&Error::internal(error), &request_id)])?;
            Ok(Answer { payload: payload.into(), code, revision: cursor.as_ref().and_then(|cursor| cursor.at()) })
        })
    }
}

/// Whether a run has failed: by the subscription's own field, so that no event can come of it, or anywhere by an outage, so that
/// another run may bring the event whole. Any other field that fails is an event with an error, and the next one may be better.
fn has_failed(response: &Response) -> bool {
    let has_lost_its_stream =
        response.data == async_graphql::Value::Null && response.errors.iter().any(|error| error.path.len() == 1);
    has_lost_its_stream || response.errors.iter().any(is_outage)
}

fn once(state: AppState, asked: Asked, actor: Option<Actor>, request_id: String) -> impl Stream<Item = Step> {
    async_stream::stream! {
        let mut run = asked.run(&state, actor, None, &request_id);
        while let Some(ran) = run.next().await {
            if ran.is_ok() {
                asked.keep();
            }
            yield ran.map_or_else(Step::Failed, Step::Result);
        }
    }
}

/// Failed runs in a row.
#[derive(Default)]
struct Failures(Option<(Instant, Duration)>);

impl Failures {
    /// Waits before a run is begun again, unless there is no sense in that, or it has failed for long.
    async fn may_go_on(&mut self, errors: &[ServerError]) -> bool {
        let (since, pause) = *self.0.get_or_insert_with(|| (Instant::now(), FIRST_PAUSE));
        if !errors.iter().any(is_outage) || since.elapsed() > PATIENCE {
            return false;
        }
        sleep(pause).await;
        self.0 = Some((since, (2 * pause).min(MAX_PAUSE)));
        true
    }

    fn are_over(&mut self) {
        self.0 = None;
    }
}

/// How a subscription ends by these errors. An outage is no end: nothing of what was to be told may be passed over.
fn end(errors: Vec<ServerError>) -> Step {
    if errors.iter().any(is_outage) { Step::Interrupted } else { Step::Failed(errors) }
}

fn listen(
    state: AppState,
    asked: Asked,
    plan: Plan,
    actor: Option<Actor>,
    request_id: String,
    heard: Option<i32>,
) -> impl Stream<Item = Step> {
    async_stream::stream! {
        let asked = Arc::new(asked);
        let mut cursor = Arc::new(Cursor::new(heard));
        let mut failures = Failures::default();
        loop {
            let mut run = Box::pin(asked.run(&state, actor.clone(), Some(cursor.clone()), &request_id));
            let (mut told, mut failed) = (None, None);
            while let Some(ran) = run.next().await {
                match ran {
                    Ok(answer) => {
                        asked.keep();
                        failures.are_over();
                        told = answer.revision.or(told);
                        yield Step::Result(answer);
                    }
                    Err(errors) => {
                        failed = Some(errors);
                        break;
                    }
                }
            }
            drop(run);
            if let Some(errors) = failed {
                if !failures.may_go_on(&errors).await {
                    yield end(errors);
                    return;
                }
                cursor = Arc::new(told.map_or_else(|| cursor.again(), |told| cursor.onward(told)));
                continue;
            }
            asked.keep();
            // There is no feed where what is selected is `__typename` alone.
            let (Some(actor), Some(feed), Some(mut at)) = (&actor, cursor.feed(), cursor.at()) else { return };
            if let Err(error) = feed.read(&state.services, actor).await {
                let errors = vec![operation::refusal(&error, &request_id)];
                if !failures.may_go_on(&errors).await {
                    yield end(errors);
                    return;
                }
                cursor = Arc::new(cursor.onward(at));
                continue;
            }
            failures.are_over();
            let mut member = state.groups.join(&state, &asked, &plan, feed, at, actor);
            loop {
                match member.next(&mut at).await {
                    Next::Answer(answer) => yield Step::Result(answer),
                    Next::Behind => break,
                    Next::Gone => {
                        let error = Error::not_found("project", "projectId");
                        yield Step::Failed(vec![operation::refusal(&error, &request_id)]);
                        return;
                    }
                    Next::Failed(errors) => {
                        yield end(errors);
                        return;
                    }
                }
            }
            cursor = Arc::new(cursor.onward(at));
        }
    }
}

/// Listeners who are told the same.
struct Group {
    groups: Groups,
    key: Key,
    asked: Arc<Asked>,
    feed: Arc<Feed>,
    results: Mutex<Results>,
    /// Changes when there are results, or when somebody may have to go.
    news: watch::Sender<()>,
    /// Held while listeners are woken: what is read meanwhile would only wait.
    telling: tokio::sync::Mutex<()>,
    listeners: Mutex<HashMap<Uuid, Listener>>,
}

/// One of a group, as the group knows it.
struct Listener {
    /// On whose behalf the group can run.
    actor: Actor,
    /// Told when there is something to look for.
    told: Arc<Notify>,
}

/// The newest results, in order.
struct Results {
    /// The revision after which they are kept.
    from: i32,
    /// The revision up to which there are any.
    to: i32,
    kept: VecDeque<(i32, Answer)>,
    bytes: usize,
    failed: Option<Vec<ServerError>>,
}

impl Results {
    fn push(&mut self, revision: i32, answer: Answer) {
        self.to = revision;
        self.bytes += answer.payload.len();
        self.kept.push_back((revision, answer));
        while self.kept.len() > KEPT || (self.bytes > KEPT_BYTES && self.kept.len() > 1) {
            let Some((revision, answer)) = self.kept.pop_front() else { break };
            self.from = revision;
            self.bytes -= answer.payload.len();
        }
    }

    fn after(&self, revision: i32) -> Option<&(i32, Answer)> {
        self.kept.get(self.kept.partition_point(|(kept, _)| *kept <= revision))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Groups {
    /// Makes a listener who stands at `at` one of the group of those who asked the same.
    fn join(
        &self,
        state: &AppState,
        asked: &Arc<Asked>,
        plan: &Plan,
        feed: &Arc<Feed>,
        at: i32,
        actor: &Actor,
    ) -> Member {
        let key = Key {
            query: asked.query.clone(),
            operation_name: asked.operation_name.clone(),
            variables: serde_json::to_string(&plan.telling(&asked.variables)).unwrap_or_default(),
            user: (!plan.is_same_for_all).then_some(actor.user_id),
        };
        let mut groups = lock(&self.0);
        let known = groups.get(&key).and_then(Weak::upgrade).filter(|group| Arc::ptr_eq(&group.feed, feed));
        let group = known.unwrap_or_else(|| {
            let group = Arc::new(Group {
                groups: self.clone(),
                key: key.clone(),
                asked: asked.clone(),
                feed: feed.clone(),
                results: Mutex::new(Results { from: at, to: at, kept: VecDeque::new(), bytes: 0, failed: None }),
                news: watch::Sender::default(),
                telling: tokio::sync::Mutex::default(),
                listeners: Mutex::default(),
            });
            groups.insert(key, Arc::downgrade(&group));
            let tell = tell(group.news.subscribe(), Arc::downgrade(&group));
            state.tasks.spawn(tell.instrument(tracing::Span::none()));
            state.tasks.spawn(drive(state.clone(), Arc::downgrade(&group)).instrument(tracing::Span::none()));
            group
        });
        let (id, told) = (clock::new_id(), Arc::<Notify>::default());
        lock(&group.listeners).insert(id, Listener { actor: actor.clone(), told: told.clone() });
        Member { id, group, told, user: actor.user_id }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut groups = lock(&self.groups.0);
        // Somebody may have begun another meanwhile.
        if groups.get(&self.key).is_some_and(|group| group.strong_count() == 0) {
            groups.remove(&self.key);
        }
    }
}

/// Wakes a group's listeners whenever there is news, for as long as anybody listens.
async fn tell(mut news: watch::Receiver<()>, group: Weak<Group>) {
    while news.changed().await.is_ok() {
        let Some(group) = group.upgrade() else { return };
        let listeners: Vec<_> = lock(&group.listeners).values().map(|listener| listener.told.clone()).collect();
        let _telling = group.telling.lock().await;
        let begun = Instant::now();
        for some in listeners.chunks(WOKEN_AT_ONCE) {
            some.iter().for_each(|told| told.notify_one());
            yield_now().await;
        }
        if listeners.len() > WOKEN_AT_ONCE {
            sleep(begun.elapsed().min(MAX_REST)).await;
        }
    }
}

/// Runs a group's subscription whenever there is more, for as long as anybody listens.
async fn drive(state: AppState, group: Weak<Group>) {
    let Some(mut watch) = group.upgrade().map(|group| group.feed.watch()) else { return };
    let mut members = None;
    let mut failures = Failures::default();
    loop {
        let Some(group) = group.upgrade() else { return };
        drop(group.telling.lock().await);
        let advanced = Box::pin(group.advance(&state)).await;
        let now = group.feed.members();
        if members.replace(now.clone()).is_none_or(|before| !Arc::ptr_eq(&before, &now)) {
            group.news.send_replace(());
        }
        match advanced {
            Ok(()) => {
                failures.are_over();
                drop(group);
                if !watch.changed().await {
                    return;
                }
            }
            Err(errors) => {
                let waiting = Arc::downgrade(&group);
                drop(group);
                if failures.may_go_on(&errors).await {
                    continue;
                }
                if let Some(group) = waiting.upgrade() {
                    group.fail(errors);
                }
                return;
            }
        }
    }
}

impl Group {
    /// Adds what is new to the results. It is read and executed on behalf of one of the listeners.
    async fn advance(&self, state: &AppState) -> Result<(), Vec<ServerError>> {
        let request_id = clock::new_id().to_string();
        let mut pushed = 0;
        'actors: loop {
            let actor = lock(&self.listeners).values().next().map(|listener| listener.actor.clone());
            let Some(actor) = actor else { return Ok(()) };
            let to = match self.feed.read(&state.services, &actor).await {
                Ok(to) => to,
                Err(Error::NotFound { .. }) => {
                    self.strike(&actor);
                    continue;
                }
                Err(error) => return Err(vec![operation::refusal(&error, &request_id)]),
            };
            let from = lock(&self.results).to;
            if to <= from {
                return Ok(());
            }
            let cursor = Arc::new(Cursor::of(self.feed.clone(), from));
            let mut run = std::pin::pin!(self.asked.run(state, Some(actor.clone()), Some(cursor.clone()), &request_id));
            while let Some(ran) = run.next().await {
                match ran {
                    Ok(answer) => {
                        let revision = answer.revision.unwrap_or(from);
                        lock(&self.results).push(revision, answer);
                        self.news.send_replace(());
                        pushed += 1;
                        if pushed % (KEPT / 4) == 0 {
                            // A long run must not leave everybody behind: each of them would then run alone.
                            drop(self.telling.lock().await);
                        }
                    }
                    Err(errors) if errors.iter().any(is_outage) => return Err(errors),
                    // Removed between the two.
                    Err(errors) if errors.iter().any(|error| operation::code_of(error) == Some("NOT_FOUND")) => {
                        self.strike(&actor);
                        continue 'actors;
                    }
                    Err(errors) => return Err(errors),
                }
            }
            lock(&self.results).to = cursor.at().unwrap_or(to);
            return Ok(());
        }
    }

    /// Ends the subscriptions of all of its listeners.
    fn fail(self: &Arc<Self>, errors: Vec<ServerError>) {
        {
            let mut groups = lock(&self.groups.0);
            // There may be another by now, whose log is the new one.
            if groups.get(&self.key).is_some_and(|group| group.as_ptr() == Arc::as_ptr(self)) {
                groups.remove(&self.key);
            }
        }
        lock(&self.results).failed = Some(errors);
        self.news.send_replace(());
    }

    /// Asks no more on behalf of somebody who is no member any more, and lets their own streams end.
    fn strike(&self, actor: &Actor) {
        lock(&self.listeners).retain(|_, listener| {
            let stays = listener.actor.user_id != actor.user_id;
            if !stays {
                listener.told.notify_one();
            }
            stays
        });
    }

    fn has(&self, listener: Uuid) -> bool {
        lock(&self.listeners).contains_key(&listener)
    }
}

/// One listener of a group.
struct Member {
    id: Uuid,
    group: Arc<Group>,
    told: Arc<Notify>,
    user: UserId,
}

/// What a listener of a group hears next.
enum Next {
    Answer(Answer),
    /// More than the group still has.
    Behind,
    /// They may no longer listen.
    Gone,
    Failed(Vec<ServerError>),
}

impl Member {
    /// Waits for what comes after `at`, and sets that to it.
    async fn next(&mut self, at: &mut i32) -> Next {
        loop {
            if !self.group.feed.is_heard_by(self.user) || !self.group.has(self.id) {
                return Next::Gone;
            }
            {
                let results = lock(&self.group.results);
                if let Some(errors) = &results.failed {
                    return Next::Failed(errors.clone());
                }
                if *at < results.from {
                    return Next::Behind;
                }
                if let Some((revision, answer)) = results.after(*at) {
                    *at = *revision;
                    return Next::Answer(answer.clone());
                }
                *at = results.to.max(*at);
            }
            self.told.notified().await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        lock(&self.group.listeners).remove(&self.id);
    }
}
