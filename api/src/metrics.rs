//! What an operator sees of a running server: counters, gauges and histograms, written as Prometheus reads them. One set for
//! a server; every layer counts its own work in it.
//!
//! To add one, add a field, register it in [`Metrics::default`] with its help text, and count where the thing happens.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
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

/// How many names of operations have time series of their own. Names come from clients, and each costs memory for as long as
/// the server runs; what comes after these counts as [`OTHER`].
const MAX_NAMES: usize = 200;

/// The longest name that has a time series of its own, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// Stands for every name beyond [`MAX_NAMES`], and for those of operations that have never succeeded. No operation of a
/// client's has it: it is no GraphQL name.
const OTHER: &str = "(other)";

/// Bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Whose time series it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOperation {
    kind: &'static str,
    name: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    kind: &'static str,
    name: Name,
    outcome: &'static str,
}

/// A pool's connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPool {
    pool: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAccess {
    access: &'static str,
}

/// What somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLane {
    lane: &'static str,
}

type Durations<S> = Family<S, Histogram, fn() -> Histogram>;

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// The names that have time series of their own.
    names: RwLock<HashSet<Arc<str>>>,
    operations: Family<OfOutcome, Counter>,
    durations: Durations<OfOperation>,
    operation_statements: Family<OfOperation, Counter>,
    operation_sql: Family<OfOperation, Counter<f64, AtomicU64>>,
    /// SQL statements sent, transaction control not counted.
    pub statements: Counter,
    statement_errors: Counter,
    statement_durations: Histogram,
    pool: Family<OfPool, Gauge>,
    pool_waiting: Family<OfAccess, Gauge>,
    pool_waits: Durations<OfAccess>,
    turns_waiting: Family<OfLane, Gauge>,
    turn_waits: Durations<OfLane>,
    /// Pieces of work on many bytes that wait for a processor.
    pub heavy_waiting: Gauge,
    /// WebSockets that are open.
    pub sockets: Gauge,
    /// Subscriptions under way.
    pub listeners: Gauge,
    /// Results that went out to listeners.
    pub deliveries: Counter,
    /// Bytes of results that are kept for listeners, or on their way to them.
    pub result_bytes: Gauge,
    lag: Histogram,
    /// Bytes of the file contents that were written and were not there already.
    pub blob_bytes: Counter,
    /// Bytes that were kept for them.
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
            turns_waiting: Family::default(),
            turn_waits: Family::new_with_constructor(durations),
            heavy_waiting: Gauge::default(),
            sockets: Gauge::default(),
            listeners: Gauge::default(),
            deliveries: Counter::default(),
            result_bytes: Gauge::default(),
            lag: durations(),
            blob_bytes: Counter::default(),
            blob_stored_bytes: Counter::default(),
            cpu: Counter::default(),
            memory: Gauge::default(),
            files: Gauge::default(),
        };
        let r = m.registry.sub_registry_with_prefix("antiphon");
        r.register(
            "operations",
            "GraphQL operations that ended: OK, or the code of what went wrong. A subscription counts when it ends",
            m.operations.clone(),
        );
        r.register_with_unit("operation", "Time of queries and mutations", Unit::Seconds, m.durations.clone());
        r.register("operation_statements", "SQL statements of queries and mutations", m.operation_statements.clone());
        r.register_with_unit(
            "operation_sql",
            "Time that queries and mutations waited for SQL statements",
            Unit::Seconds,
            m.operation_sql.clone(),
        );
        r.register("sql_statements", "SQL statements, transaction control not counted", m.statements.clone());
        r.register("sql_errors", "SQL statements that failed", m.statement_errors.clone());
        r.register_with_unit("sql_statement", "Time of SQL statements", Unit::Seconds, m.statement_durations.clone());
        r.register("pool_connections", "Connections to the database", m.pool.clone());
        r.register("pool_waiting", "Transactions that wait for a connection", m.pool_waiting.clone());
        r.register_with_unit(
            "pool_wait",
            "Time until a transaction had a connection and had begun",
            Unit::Seconds,
            m.pool_waits.clone(),
        );
        r.register(
            "turns_waiting",
            "Those who wait for others: to read, to write, for a project, for a processor",
            m.turns_waiting.clone(),
        );
        r.register_with_unit(
            "turn_wait",
            "Time that those who had to wait for others waited",
            Unit::Seconds,
            m.turn_waits.clone(),
        );
        r.register("heavy_waiting", "Pieces of work on many bytes that wait for a processor", m.heavy_waiting.clone());
        r.register("sockets", "Open WebSockets", m.sockets.clone());
        r.register("listeners", "Subscriptions under way", m.listeners.clone());
        r.register("deliveries", "Results of subscriptions", m.deliveries.clone());
        r.register_with_unit(
            "subscription_result",
            "Results of subscriptions that are kept or on their way",
            Unit::Bytes,
            m.result_bytes.clone(),
        );
        r.register_with_unit(
            "delivery_lag",
            "Time from a write until a listener that was there has its event",
            Unit::Seconds,
            m.lag.clone(),
        );
        r.register_with_unit(
            "blob",
            "File contents written that were not there yet",
            Unit::Bytes,
            m.blob_bytes.clone(),
        );
        r.register_with_unit("blob_stored", "What was kept for them", Unit::Bytes, m.blob_stored_bytes.clone());
        if process().is_some() {
            // Under the names that every exporter gives them.
            let r = m.registry.sub_registry_with_prefix("process");
            r.register_with_unit("cpu", "CPU time of the process", Unit::Seconds, m.cpu.clone());
            r.register_with_unit("resident_memory", "Resident memory of the process", Unit::Bytes, m.memory.clone());
            r.register("open_fds", "Open files and sockets of the process", m.files.clone());
        }
        m
    }
}

impl Metrics {
    /// Counts an operation that has ended. `is_known` says that a signed-in caller's succeeded, so that its name is worth time
    /// series of its own. `cost` is what it took, where it is one that ends by itself.
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
            let of = OfOperation { kind, name: name.clone() };
            self.durations.get_or_create(&of).observe(duration.as_secs_f64());
            self.operation_statements.get_or_create(&of).inc_by(cost.statements());
            self.operation_sql.get_or_create(&of).inc_by(cost.sql_time().as_secs_f64());
        }
        self.operations.get_or_create(&OfOutcome { kind, name, outcome }).inc();
    }

    fn name(&self, name: Option<&str>, is_known: bool) -> Name {
        let name = name.unwrap_or_default();
        if let Some(name) = self.names.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Name(name.clone());
        }
        if is_known && name.len() <= MAX_NAME_BYTES {
            let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
            if names.len() < MAX_NAMES {
                let name: Arc<str> = name.into();
                names.insert(name.clone());
                return Name(name);
            }
        }
        Name(OTHER.into())
    }

    /// Counts a SQL statement, for the operation that it is sent for too.
    pub fn statement(&self, duration: Duration, has_failed: bool) {
        self.statements.inc();
        if has_failed {
            self.statement_errors.inc();
        }
        self.statement_durations.observe(duration.as_secs_f64());
        // Outside an operation there is none to count it for.
        let _ = COST.try_with(|cost| {
            cost.statements.fetch_add(1, Ordering::Relaxed);
            cost.sql_nanoseconds.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        });
    }

    /// Says how long a transaction waited for its connection, and that it waits meanwhile.
    pub async fn waiting<T>(&self, access: &'static str, begin: impl Future<Output = T>) -> T {
        let of = OfAccess { access };
        let started = Instant::now();
        let waiting = Held::new(&self.pool_waiting.get_or_create(&of));
        let begun = begin.await;
        drop(waiting);
        self.pool_waits.get_or_create(&of).observe(started.elapsed().as_secs_f64());
        begun
    }

    /// Says how long somebody waits for others, and that they wait meanwhile.
    pub async fn waiting_turn<T>(&self, lane: &'static str, wait: impl Future<Output = T>) -> T {
        let of = OfLane { lane };
        let started = Instant::now();
        let waiting = Held::new(&self.turns_waiting.get_or_create(&of));
        let waited = wait.await;
        drop(waiting);
        self.turn_waits.get_or_create(&of).observe(started.elapsed().as_secs_f64());
        waited
    }

    /// Says how many connections a pool has, and how many of them nobody uses.
    pub fn pool(&self, pool: &'static str, size: u32, idle: usize) {
        let idle = i64::try_from(idle).unwrap_or(i64::MAX);
        self.pool.get_or_create(&OfPool { pool, state: "idle" }).set(idle);
        self.pool.get_or_create(&OfPool { pool, state: "used" }).set((i64::from(size) - idle).max(0));
    }

    /// Says how long after its write an event reached a listener.
    pub fn lag(&self, lag: Duration) {
        self.lag.observe(lag.as_secs_f64());
    }

    /// Everything counted so far, in Prometheus's text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
    pub fn text(&self) -> String {
        if let Some(process) = process() {
            self.cpu.inner().store(process.cpu_seconds.to_bits(), Ordering::Relaxed);
            self.memory.set(process.resident_bytes);
            self.files.set(process.open_files);
        }
        let mut text = String::new();
        if let Err(error) = prometheus_text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "the metrics could not be written");
        }
        text
    }
}

/// A name with time series of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name(Arc<str>);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        (&*self.0).encode(encoder)
    }
}

/// Counts itself in a gauge for as long as it lives.
#[derive(Debug)]
pub struct Held(Gauge);

impl Held {
    /// One more.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts bytes in a gauge for as long as it lives.
#[derive(Debug)]
pub struct HeldBytes(Gauge, i64);

impl HeldBytes {
    /// So many more.
    pub fn new(gauge: &Gauge, bytes: usize) -> Self {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        gauge.inc_by(bytes);
        Self(gauge.clone(), bytes)
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.0.dec_by(self.1);
    }
}

/// What an operation has asked of the database.
#[derive(Debug, Default)]
pub struct Cost {
    statements: AtomicU64,
    sql_nanoseconds: AtomicU64,
    pauses: Mutex<Pauses>,
}

/// When an operation has waited for others.
#[derive(Debug, Default)]
struct Pauses {
    ended: Duration,
    /// Since when it waits, and how many of its tasks do.
    current: Option<(Instant, usize)>,
}

impl Cost {
    /// Statements sent, transaction control not counted.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Time until they were answered, summed.
    pub fn sql_time(&self) -> Duration {
        Duration::from_nanos(self.sql_nanoseconds.load(Ordering::Relaxed))
    }
}

impl Cost {
    fn pauses(&self) -> MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operation's pause, until it is dropped.
struct Pause(Arc<Cost>);

impl Pause {
    fn begin(cost: Arc<Cost>) -> Self {
        let mut pauses = cost.pauses();
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
        let mut pauses = self.0.pauses();
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

/// Waits for others: the present operation does not spend the time that this takes.
pub async fn paused<T>(wait: impl Future<Output = T>) -> T {
    let _pause = COST.try_with(Arc::clone).ok().map(Pause::begin);
    wait.await
}

/// How long the present operation has waited for others so far.
pub fn waited() -> Duration {
    let waited = |cost: &Arc<Cost>| {
        let pauses = cost.pauses();
        pauses.ended + pauses.current.map_or(Duration::ZERO, |(since, _)| since.elapsed())
    };
    COST.try_with(waited).unwrap_or_default()
}

tokio::task_local! {
    /// The operation that the present task works for.
    static COST: Arc<Cost>;
}

/// Counts what the future asks of the database in `cost`.
pub async fn counted<T>(cost: Arc<Cost>, work: impl Future<Output = T>) -> T {
    COST.scope(cost, work).await
}

/// Polls a stream, and counts in `cost` what that asks of the database.
pub fn counted_stream<S: Stream + Unpin>(
    cost: &Arc<Cost>,
    stream: &mut S,
    context: &mut Context<'_>,
) -> Poll<Option<S::Item>> {
    COST.sync_scope(cost.clone(), || stream.poll_next_unpin(context))
}

/// Spawns a task that belongs to what the present one does: it is counted and logged as its part.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    let work = work.in_current_span();
    match COST.try_with(Arc::clone) {
        Ok(cost) => tokio::spawn(counted(cost, work)),
        Err(_) => tokio::spawn(work),
    }
}

struct Process {
    cpu_seconds: f64,
    resident_bytes: i64,
    open_files: i64,
}

/// What Linux says of this process (proc(5)); nothing elsewhere.
fn process() -> Option<Process> {
    /// `sysconf(_SC_CLK_TCK)`, which is 100 on every architecture that Rust runs on.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the command's name, which may hold anything: field 3 and on; 14 and 15 are the ticks.
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
    fn names_of_clients_take_bounded_room() {
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
    async fn statements_count_for_the_operation_whose_task_they_come_from() {
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
