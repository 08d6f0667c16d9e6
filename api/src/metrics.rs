//! Metrics for operators: counters, gauges and histograms in Prometheus's format. A server has one set, and every layer
//! counts its own work.
//!
//! To add a metric, add a field, register it in the `register` function of its subject with its help text, and update it
//! where the event happens.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use parking_lot::{Mutex, RwLock};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::task::JoinHandle;
use tracing::Instrument;

/// The media type of [`Metrics::text`].
pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// Number of operation names with their own time series. Names come from clients, and each takes memory until the
/// server stops. All others count as [`OTHER`].
const MAX_NAMES: usize = 200;

/// Longest operation name with its own time series, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// Label for all names beyond [`MAX_NAMES`], and for operations that have never succeeded. It is not a valid GraphQL
/// name, so no client can use it.
const OTHER: &str = "(other)";

/// Histogram buckets of durations, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Labels of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    kind: &'static str,
    name: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    kind: &'static str,
    name: Name,
    outcome: &'static str,
}

/// Labels of a connection pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AccessLabels {
    access: &'static str,
}

/// Label of an attempt to deliver to a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
}

/// Label of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    lane: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlaceLabels {
    place: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReplicaLabels {
    replica: String,
}

type Durations<S> = Family<S, Histogram, fn() -> Histogram>;

/// The metrics of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// The names that have their own time series.
    names: RwLock<HashSet<Arc<str>>>,
    operations: Family<OutcomeLabels, Counter>,
    durations: Durations<OperationLabels>,
    operation_statements: Family<OperationLabels, Counter>,
    operation_sql: Family<OperationLabels, Counter<f64, AtomicU64>>,
    /// SQL statements sent, without transaction control.
    pub statements: Counter,
    statement_errors: Counter,
    statement_durations: Histogram,
    pool: Family<PoolLabels, Gauge>,
    pool_waiting: Family<AccessLabels, Gauge>,
    pool_waits: Durations<AccessLabels>,
    reads: Family<PlaceLabels, Counter>,
    replica_lag: Family<ReplicaLabels, Gauge<f64, AtomicU64>>,
    replica_is_usable: Family<ReplicaLabels, Gauge>,
    turns_waiting: Family<QueueLabels, Gauge>,
    turn_waits: Durations<QueueLabels>,
    /// CPU-intensive tasks waiting for a processor.
    pub heavy_waiting: Gauge,
    /// CPU-intensive tasks on many bytes, so far.
    pub heavy_tasks: Counter,
    /// Open WebSockets.
    pub sockets: Gauge,
    /// Running subscriptions.
    pub subscriptions: Gauge,
    /// Results sent to subscribers.
    pub deliveries: Counter,
    /// Subscription results kept for subscribers or on their way to them, in bytes.
    pub result_bytes: Gauge,
    lag: Histogram,
    webhook_attempts: Durations<AttemptLabels>,
    /// Size of new file contents, in bytes.
    pub blob_bytes: Counter,
    /// Their size in storage, in bytes.
    pub blob_stored_bytes: Counter,
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
    files: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let durations = || Histogram::new(SECONDS);
        let mut m = Self {
            registry: Registry::default(),
            names: RwLock::default(),
            operations: Family::default(),
            durations: Family::new_with_constructor(durations),
            operation_statements: Family::default(),
            operation_sql: Family::default(),
            statements: Counter::default(),
            statement_errors: Counter::default(),
            statement_durations: durations(),
            pool: Family::default(),
            pool_waiting: Family::default(),
            pool_waits: Family::new_with_constructor(durations),
            reads: Family::default(),
            replica_lag: Family::default(),
            replica_is_usable: Family::default(),
            turns_waiting: Family::default(),
            turn_waits: Family::new_with_constructor(durations),
            heavy_waiting: Gauge::default(),
            heavy_tasks: Counter::default(),
            sockets: Gauge::default(),
            subscriptions: Gauge::default(),
            deliveries: Counter::default(),
            result_bytes: Gauge::default(),
            lag: durations(),
            webhook_attempts: Family::new_with_constructor(durations),
            blob_bytes: Counter::default(),
            blob_stored_bytes: Counter::default(),
            cpu: Counter::default(),
            memory: Gauge::default(),
            files: Gauge::default(),
        };
        let mut registry = Registry::default();
        let ours = registry.sub_registry_with_prefix("antiphon");
        m.register_operations(ours);
        m.register_database(ours);
        m.register_queues(ours);
        m.register_subscriptions(ours);
        m.register_webhooks(ours);
        m.register_contents(ours);
        if process().is_some() {
            m.register_process(registry.sub_registry_with_prefix("process"));
        }
        m.registry = registry;
        m
    }
}

impl Metrics {
    fn register_operations(&self, r: &mut Registry) {
        r.register(
            "operations",
            "Completed GraphQL operations by outcome: OK or an error code. A subscription counts when it ends",
            self.operations.clone(),
        );
        r.register_with_unit("operation", "Duration of queries and mutations", Unit::Seconds, self.durations.clone());
        r.register(
            "operation_statements",
            "SQL statements of queries and mutations",
            self.operation_statements.clone(),
        );
        r.register_with_unit(
            "operation_sql",
            "Time that queries and mutations spent in SQL statements",
            Unit::Seconds,
            self.operation_sql.clone(),
        );
    }

    fn register_database(&self, r: &mut Registry) {
        r.register("sql_statements", "SQL statements, without transaction control", self.statements.clone());
        r.register("sql_errors", "SQL statements that failed", self.statement_errors.clone());
        r.register_with_unit(
            "sql_statement",
            "Duration of SQL statements",
            Unit::Seconds,
            self.statement_durations.clone(),
        );
        r.register("pool_connections", "Connections to the database", self.pool.clone());
        r.register("pool_waiting", "Transactions waiting for a connection", self.pool_waiting.clone());
        r.register_with_unit(
            "pool_wait",
            "Time until a transaction got a connection and began",
            Unit::Seconds,
            self.pool_waits.clone(),
        );
        r.register(
            "reads",
            "Transactions that read, by the server that answered: the primary or a replica",
            self.reads.clone(),
        );
        r.register_with_unit(
            "replica_lag",
            "Time since the last moment as of which a replica had every known write",
            Unit::Seconds,
            self.replica_lag.clone(),
        );
        r.register("replica_usable", "Whether a replica can be read: 1 or 0", self.replica_is_usable.clone());
    }

    fn register_queues(&self, r: &mut Registry) {
        r.register(
            "turns_waiting",
            "Tasks waiting in a queue: to read, to write, for a project, for a processor",
            self.turns_waiting.clone(),
        );
        r.register_with_unit(
            "turn_wait",
            "Waiting time of the tasks that had to queue",
            Unit::Seconds,
            self.turn_waits.clone(),
        );
        r.register("heavy_tasks", "CPU-intensive tasks on many bytes", self.heavy_tasks.clone());
        r.register("heavy_waiting", "CPU-intensive tasks waiting for a processor", self.heavy_waiting.clone());
    }

    fn register_subscriptions(&self, r: &mut Registry) {
        r.register("sockets", "Open WebSockets", self.sockets.clone());
        r.register("subscriptions", "Running subscriptions", self.subscriptions.clone());
        r.register("deliveries", "Subscription results sent", self.deliveries.clone());
        r.register_with_unit(
            "subscription_result",
            "Results of subscriptions that are kept or on their way",
            Unit::Bytes,
            self.result_bytes.clone(),
        );
        r.register_with_unit(
            "delivery_lag",
            "Time from a write until a connected subscriber gets its event",
            Unit::Seconds,
            self.lag.clone(),
        );
    }

    fn register_webhooks(&self, r: &mut Registry) {
        r.register_with_unit(
            "webhook_attempt",
            "Time until the receiver of a webhook answered, by outcome: accepted or failed",
            Unit::Seconds,
            self.webhook_attempts.clone(),
        );
    }

    /// Counts an attempt to deliver to a webhook.
    pub fn webhook_attempted(&self, time: Duration, is_accepted: bool) {
        let outcome = if is_accepted { "accepted" } else { "failed" };
        self.webhook_attempts.get_or_create(&AttemptLabels { outcome }).observe(time.as_secs_f64());
    }

    fn register_contents(&self, r: &mut Registry) {
        r.register_with_unit("blob", "Size of new file contents", Unit::Bytes, self.blob_bytes.clone());
        r.register_with_unit(
            "blob_stored",
            "Size of new file contents in storage",
            Unit::Bytes,
            self.blob_stored_bytes.clone(),
        );
    }

    /// Uses the conventional names of process metrics.
    fn register_process(&self, r: &mut Registry) {
        r.register_with_unit("cpu", "CPU time of the process", Unit::Seconds, self.cpu.clone());
        r.register_with_unit("resident_memory", "Resident memory of the process", Unit::Bytes, self.memory.clone());
        r.register("open_fds", "Open files and sockets of the process", self.files.clone());
    }

    /// Counts a completed operation. `is_known` means that it succeeded for a signed-in caller, so that its name can
    /// get its own time series. `cost` is `None` for subscriptions.
    pub fn ended(
        &self,
        kind: &'static str,
        name: Option<&str>,
        is_known: bool,
        outcome: &'static str,
        cost: Option<(Duration, &Cost)>,
    ) {
        let name = self.name(name, is_known);
        if let Some((duration, cost)) = cost {
            let of = OperationLabels { kind, name: name.clone() };
            self.durations.get_or_create(&of).observe(duration.as_secs_f64());
            self.operation_statements.get_or_create(&of).inc_by(cost.statements());
            self.operation_sql.get_or_create(&of).inc_by(cost.sql_time().as_secs_f64());
        }
        self.operations.get_or_create(&OutcomeLabels { kind, name, outcome }).inc();
    }

    fn name(&self, name: Option<&str>, is_known: bool) -> Name {
        let name = name.unwrap_or_default();
        if let Some(name) = self.names.read().get(name) {
            return Name(name.clone());
        }
        if is_known && name.len() <= MAX_NAME_BYTES {
            let mut names = self.names.write();
            if names.len() < MAX_NAMES {
                let name: Arc<str> = name.into();
                names.insert(name.clone());
                return Name(name);
            }
        }
        Name(OTHER.into())
    }

    /// Counts a SQL statement, and adds it to the cost of the current operation.
    pub fn statement(&self, duration: Duration, has_failed: bool) {
        self.statements.inc();
        if has_failed {
            self.statement_errors.inc();
        }
        self.statement_durations.observe(duration.as_secs_f64());
        // Statements outside of operations have no cost to add to.
        let _ = COST.try_with(|cost| {
            cost.statements.fetch_add(1, Ordering::Relaxed);
            cost.sql_nanoseconds.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        });
    }

    /// Measures how long a transaction waits for its connection.
    pub async fn waiting<T>(&self, access: &'static str, begin: impl Future<Output = T>) -> T {
        let of = AccessLabels { access };
        let started = Instant::now();
        let waiting = Counted::new(&self.pool_waiting.get_or_create(&of));
        let begun = begin.await;
        drop(waiting);
        self.pool_waits.get_or_create(&of).observe(started.elapsed().as_secs_f64());
        begun
    }

    /// Measures how long a task waits in a queue.
    pub async fn waiting_turn<T>(&self, lane: &'static str, wait: impl Future<Output = T>) -> T {
        let of = QueueLabels { lane };
        let started = Instant::now();
        let waiting = Counted::new(&self.turns_waiting.get_or_create(&of));
        let waited = wait.await;
        drop(waiting);
        self.turn_waits.get_or_create(&of).observe(started.elapsed().as_secs_f64());
        waited
    }

    /// Sets the number of connections of a pool, and how many of them are idle.
    pub fn pool(&self, pool: &'static str, size: u32, idle: usize) {
        let idle = i64::try_from(idle).unwrap_or(i64::MAX);
        self.pool.get_or_create(&PoolLabels { pool, state: "idle" }).set(idle);
        self.pool.get_or_create(&PoolLabels { pool, state: "used" }).set((i64::from(size) - idle).max(0));
    }

    /// Counts a transaction that reads.
    pub fn read(&self, place: &'static str) {
        self.reads.get_or_create(&PlaceLabels { place }).inc();
    }

    /// Sets how far a replica is behind; `None` if it is not connected.
    pub fn replica(&self, name: &str, lag: Option<Duration>) {
        let of = ReplicaLabels { replica: name.to_owned() };
        self.replica_is_usable.get_or_create(&of).set(lag.is_some().into());
        match lag {
            Some(lag) => drop(self.replica_lag.get_or_create(&of).set(lag.as_secs_f64())),
            None => drop(self.replica_lag.remove(&of)),
        }
    }

    /// Records the time from a write until a subscriber gets its event.
    pub fn lag(&self, lag: Duration) {
        self.lag.observe(lag.as_secs_f64());
    }

    /// All metrics in Prometheus's text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
    pub fn text(&self) -> String {
        if let Some(process) = process() {
            self.cpu.inner().store(process.cpu_seconds.to_bits(), Ordering::Relaxed);
            self.memory.set(process.resident_bytes);
            self.files.set(process.open_files);
        }
        let mut text = String::new();
        if let Err(error) = prometheus_text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "cannot write the metrics");
        }
        text
    }
}

/// A name with its own time series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name(Arc<str>);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        (&*self.0).encode(encoder)
    }
}

/// Increments a gauge until it is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// Increments the gauge.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Bytes counted in a gauge until this value is dropped.
#[derive(Debug)]
pub struct CountedBytes(Gauge, i64);

impl CountedBytes {
    /// Adds `bytes`.
    pub fn new(gauge: &Gauge, bytes: usize) -> Self {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        gauge.inc_by(bytes);
        Self(gauge.clone(), bytes)
    }
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        self.0.dec_by(self.1);
    }
}

/// The database cost of an operation.
#[derive(Debug, Default)]
pub struct Cost {
    statements: AtomicU64,
    sql_nanoseconds: AtomicU64,
    pauses: Mutex<Pauses>,
}

/// Time that an operation has spent waiting for others.
#[derive(Debug, Default)]
struct Pauses {
    ended: Duration,
    /// The start of the current pause, and the number of waiting tasks.
    current: Option<(Instant, usize)>,
}

impl Cost {
    /// Statements sent, without transaction control.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Sum of the durations of the statements.
    pub fn sql_time(&self) -> Duration {
        Duration::from_nanos(self.sql_nanoseconds.load(Ordering::Relaxed))
    }
}

/// Pauses an operation until it is dropped.
struct Pause(Arc<Cost>);

impl Pause {
    fn begin(cost: Arc<Cost>) -> Self {
        let mut pauses = cost.pauses.lock();
        pauses.current = Some(match pauses.current {
            Some((since, tasks)) => (since, tasks + 1),
            None => (Instant::now(), 1),
        });
        drop(pauses);
        Self(cost)
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let mut pauses = self.0.pauses.lock();
        if let Some((since, tasks)) = pauses.current {
            if tasks > 1 {
                pauses.current = Some((since, tasks - 1));
            } else {
                pauses.ended += since.elapsed();
                pauses.current = None;
            }
        }
    }
}

/// Waits for others. This time does not count against the current operation's time limit.
pub async fn paused<T>(wait: impl Future<Output = T>) -> T {
    let _pause = COST.try_with(Arc::clone).ok().map(Pause::begin);
    wait.await
}

/// How long the current operation has waited for others so far.
pub fn waited() -> Duration {
    let waited = |cost: &Arc<Cost>| {
        let pauses = cost.pauses.lock();
        pauses.ended + pauses.current.map_or(Duration::ZERO, |(since, _)| since.elapsed())
    };
    COST.try_with(waited).unwrap_or_default()
}

tokio::task_local! {
    /// The cost of the current task's operation.
    static COST: Arc<Cost>;
}

/// Adds the statements of a future to `cost`.
pub async fn counted<T>(cost: Arc<Cost>, work: impl Future<Output = T>) -> T {
    COST.scope(cost, work).await
}

/// Polls a stream, and adds its statements to `cost`.
pub fn counted_stream<S: Stream + Unpin>(
    cost: &Arc<Cost>,
    stream: &mut S,
    context: &mut Context<'_>,
) -> Poll<Option<S::Item>> {
    COST.sync_scope(cost.clone(), || stream.poll_next_unpin(context))
}

/// Work of another task that is counted and logged as part of the current operation.
pub fn inherited<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let cost = COST.try_with(Arc::clone).ok();
    let work = work.in_current_span();
    async move {
        match cost {
            Some(cost) => counted(cost, work).await,
            None => work.await,
        }
    }
}

/// Spawns a task that is counted and logged as part of the current operation.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(inherited(work))
}

struct Process {
    cpu_seconds: f64,
    resident_bytes: i64,
    open_files: i64,
}

/// Resource usage of this process from proc(5); `None` on systems other than Linux.
fn process() -> Option<Process> {
    /// `sysconf(_SC_CLK_TCK)`, which is 100 on every architecture that Rust runs on.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the command's name, which can contain anything: field 3 onwards. Fields 14 and 15 are the ticks.
    let mut ticks = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11).map(str::parse::<f64>);
    let cpu_seconds = (ticks.next()?.ok()? + ticks.next()?.ok()?) / TICKS_PER_SECOND;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    let open_files = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(Process {
        cpu_seconds,
        resident_bytes: resident.parse::<i64>().ok()?.saturating_mul(1024),
        open_files: i64::try_from(open_files).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_names_take_bounded_memory() {
        let metrics = Metrics::default();
        let ended = |name: &str, is_known| metrics.ended("query", Some(name), is_known, "OK", None);
        ended("Stranger", false);
        ended("Ada", true);
        ended("Ada", false);
        ended(&"a".repeat(MAX_NAME_BYTES + 1), true);
        let text = metrics.text();
        assert!(text.contains(r#"antiphon_operations_total{kind="query",name="Ada",outcome="OK"} 2"#), "{text}");
        assert!(text.contains(r#"antiphon_operations_total{kind="query",name="(other)",outcome="OK"} 2"#), "{text}");
        for name in 0..3 * MAX_NAMES {
            ended(&format!("Name{name}"), true);
        }
        let series = metrics.text().lines().filter(|line| line.starts_with("antiphon_operations_total{")).count();
        assert_eq!(series, MAX_NAMES + 1);
    }

    #[tokio::test]
    async fn statements_count_for_the_operation_of_their_task() {
        let metrics = Arc::new(Metrics::default());
        let cost = Arc::new(Cost::default());
        let second = Duration::from_secs(1);
        metrics.statement(second, false);
        counted(cost.clone(), async {
            metrics.statement(second, true);
            let metrics = metrics.clone();
            spawn(async move { metrics.statement(second, false) }).await.unwrap();
        })
        .await;
        assert_eq!((cost.statements(), cost.sql_time()), (2, 2 * second));
        assert_eq!(metrics.statements.get(), 3);
        assert!(metrics.text().contains("antiphon_sql_errors_total 1\n"));
    }
}
