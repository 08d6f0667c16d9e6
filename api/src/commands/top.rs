//! `antiphon top`: what a server does now, from its metrics and from the database.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use chrono::TimeDelta;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::database::existing;
use super::terminal::print;
use crate::config::Settings;
use crate::config::listen::Address;
use crate::database_url::for_operator;
use crate::model::clock;
use crate::storage::db::Db;
use crate::storage::operator::{self, LiveProject};

/// Time between two pages.
const PERIOD: Duration = Duration::from_secs(2);

/// Time in which the rates of the first page are measured.
const FIRST_PERIOD: Duration = Duration::from_secs(1);

/// The longest time for the metrics.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The largest page of metrics.
const MAX_PAGE_BYTES: u64 = 16 * 1024 * 1024;

/// Number of operations, and of projects.
const ROWS: usize = 10;

/// Longest name on a page.
const NAME_WIDTH: usize = 40;

/// Entries of presence that were renewed within this time are valid.
const PRESENT: TimeDelta = TimeDelta::seconds(10);

/// The values of all metrics at one moment, by their names with labels.
struct Sample {
    at: Instant,
    values: HashMap<String, f64>,
}

impl Sample {
    async fn read(address: &Address) -> anyhow::Result<Self> {
        let asked = async {
            match address {
                Address::Tcp { host, port } => {
                    let host = host.as_deref().unwrap_or("127.0.0.1");
                    // A server that listens on all addresses listens on this one.
                    let host = if matches!(host, "0.0.0.0" | "::") { "localhost" } else { host };
                    get(TcpStream::connect((host, *port)).await?).await
                }
                Address::Unix { path, .. } => get(UnixStream::connect(path).await?).await,
            }
        };
        let page = timeout(ANSWER_TIME, asked).await.unwrap_or_else(|_| Err(anyhow!("no answer")));
        let page = page.with_context(|| {
            format!("there are no metrics at {address}: start the server with METRICS_LISTEN={address}")
        })?;
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(Self { at: Instant::now(), values: values.collect() })
    }

    fn value(&self, name: &str) -> f64 {
        self.values.get(name).copied().unwrap_or_default()
    }

    /// The labels and values of one metric.
    fn of<'s>(&'s self, metric: &str) -> impl Iterator<Item = (&'s str, f64)> {
        let prefix = format!("{metric}{{");
        self.values
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(&prefix)?.strip_suffix('}')?, *value)))
    }
}

/// Requests the metrics.
async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> anyhow::Result<String> {
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(MAX_PAGE_BYTES).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    ensure!(head.split(' ').nth(1) == Some("200"), "the answer is not 200");
    Ok(body.to_owned())
}

/// The value of a label.
fn label<'l>(labels: &'l str, name: &str) -> &'l str {
    let find = |pair: &'l str| pair.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"');
    labels.split(',').find_map(find).unwrap_or_default()
}

/// Two samples, and what happened between them.
struct Interval<'s> {
    before: &'s Sample,
    now: &'s Sample,
}

impl Interval<'_> {
    /// How much a counter has grown per second.
    fn rate(&self, name: &str) -> f64 {
        let seconds = (self.now.at - self.before.at).as_secs_f64().max(0.001);
        // A server that was restarted begins with 0.
        (self.now.value(name) - self.before.value(name)).max(0.0) / seconds
    }

    /// The sum of the rates of a metric's series.
    fn rates(&self, metric: &str, is_counted: impl Fn(&str) -> bool) -> f64 {
        let counted = self.now.of(metric).filter(|(labels, _)| is_counted(labels));
        // Rust's sum of nothing is -0.
        counted.map(|(labels, _)| self.rate(&format!("{metric}{{{labels}}}"))).fold(0.0, |sum, rate| sum + rate)
    }

    fn summary(&self, page: &mut String) -> std::fmt::Result {
        let is_failure = |labels: &str| label(labels, "outcome") != "OK";
        writeln!(
            page,
            "operations {:.1}/s, {:.1}/s failed · CPU {:.0} % · memory {:.0} MiB",
            self.rates("antiphon_operations_total", |_| true),
            self.rates("antiphon_operations_total", is_failure),
            self.rate("process_cpu_seconds_total") * 100.0,
            self.now.value("process_resident_memory_bytes") / f64::from(1 << 20),
        )?;
        let lags = self.rate("antiphon_delivery_lag_seconds_count");
        let lag = if lags > 0.0 { self.rate("antiphon_delivery_lag_seconds_sum") / lags * 1_000.0 } else { 0.0 };
        writeln!(
            page,
            "sockets {:.0} · subscriptions {:.0} · deliveries {:.1}/s, {lag:.0} ms after the write",
            self.now.value("antiphon_sockets"),
            self.now.value("antiphon_subscriptions"),
            self.rate("antiphon_deliveries_total"),
        )?;
        let connections = |state: &str| {
            let of = self.now.of("antiphon_pool_connections").filter(|(labels, _)| label(labels, "state") == state);
            of.fold(0.0, |sum, (_, value)| sum + value)
        };
        let waiting = self.now.of("antiphon_pool_waiting").fold(0.0, |sum, (_, value)| sum + value);
        write!(
            page,
            "connections {:.0} used, {:.0} idle · waiting {waiting:.0}",
            connections("used"),
            connections("idle")
        )?;
        writeln!(page, " · reads {:.1}/s", self.rates("antiphon_reads_total", |_| true))?;
        let mut replicas: Vec<_> = self.now.of("antiphon_replica_usable").collect();
        replicas.sort_unstable_by_key(|(labels, _)| *labels);
        for (labels, usable) in replicas {
            let lag = self.now.value(&format!("antiphon_replica_lag_seconds{{{labels}}}"));
            let state = if usable > 0.0 { format!("{lag:.1} s behind") } else { "not usable".to_owned() };
            writeln!(page, "replica {}: {state}", label(labels, "replica"))?;
        }
        Ok(())
    }

    /// The slowest operations since the start of the server, by their mean time.
    fn operations(&self, page: &mut String) -> std::fmt::Result {
        const COUNT: &str = "antiphon_operation_seconds_count";
        let mean = |metric: &str, labels: &str, count: f64| self.now.value(&format!("{metric}{{{labels}}}")) / count;
        let mut operations: Vec<_> = self
            .now
            .of(COUNT)
            .filter(|(_, count)| *count > 0.0)
            .map(|(labels, count)| (mean("antiphon_operation_seconds_sum", labels, count), labels, count))
            .collect();
        operations.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(other.1)));
        writeln!(
            page,
            "\n{:<NAME_WIDTH$} {:>9} {:>9} {:>9} {:>11}",
            "slowest operations", "per s", "mean ms", "SQL ms", "statements"
        )?;
        for (seconds, labels, count) in operations.into_iter().take(ROWS) {
            let name = shown(&format!("{} {}", label(labels, "kind"), label(labels, "name")));
            let rate = self.rate(&format!("{COUNT}{{{labels}}}"));
            let sql = mean("antiphon_operation_sql_seconds_total", labels, count) * 1_000.0;
            let statements = mean("antiphon_operation_statements_total", labels, count);
            writeln!(page, "{name:<NAME_WIDTH$} {rate:>9.1} {:>9.1} {sql:>9.1} {statements:>11.1}", seconds * 1_000.0)?;
        }
        Ok(())
    }
}

/// A name without control characters, which could change the terminal, and of a limited length.
fn shown(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).take(NAME_WIDTH).collect()
}

fn projects(page: &mut String, found: Result<Vec<LiveProject>, String>) -> std::fmt::Result {
    writeln!(page, "\n{:<NAME_WIDTH$} {:>9} {:>9} {:>20}", "projects in use", "users", "revision", "last activity")?;
    match found {
        Err(why) => writeln!(page, "not shown: {why}"),
        Ok(projects) => projects.into_iter().try_for_each(|project| {
            let at = project.last_activity_at.format("%Y-%m-%d %H:%M:%S");
            let users = project.users.map_or_else(|| "-".to_owned(), |users| users.to_string());
            writeln!(page, "{:<NAME_WIDTH$} {users:>9} {:>9} {at:>20}", shown(&project.name), project.revision)
        }),
    }
}

async fn live(db: Result<&Db, &String>) -> Result<Vec<LiveProject>, String> {
    let db = db.map_err(String::clone)?;
    let read = async {
        if !db.is_sqlite() && !db.login().await?.reads_all {
            return Ok(Err(
                "on PostgreSQL this needs the owner's login in DATABASE_URL, or in DATABASE_DIRECT_URL if it is set"
                    .to_owned(),
            ));
        }
        let operator = db.operator().await?;
        operator::live(&operator, clock::now() - PRESENT, ROWS).await.map(Ok)
    };
    read.await.unwrap_or_else(|error| Err(format!("{:#}", for_operator(error))))
}

/// The pages of one server.
pub struct Top {
    address: Address,
    /// The database, or why there is none.
    db: Result<Db, String>,
    before: Sample,
}

impl Top {
    /// Begins to observe the server with these settings.
    ///
    /// # Errors
    /// The server has no metrics.
    pub async fn begin(settings: &Settings) -> anyhow::Result<Self> {
        let address = settings.observability.metrics_listen.clone();
        let address = address.context(
            "start the server with METRICS_LISTEN=127.0.0.1:9090, and give `top` the same setting (--metrics-listen)",
        )?;
        let before = Sample::read(&address).await?;
        let db = match existing(settings) {
            Ok(target) => Ok(target.connect(settings).await?),
            Err(missing) => Err(format!("{missing:#}")),
        };
        Ok(Self { address, db, before })
    }

    /// The next page.
    ///
    /// # Errors
    /// The server has no metrics any more.
    pub async fn page(&mut self) -> anyhow::Result<String> {
        let now = Sample::read(&self.address).await?;
        let mut page = format!("antiphon at {}, {}\n", self.address, clock::now().format("%Y-%m-%d %H:%M:%S UTC"));
        let interval = Interval { before: &self.before, now: &now };
        interval.summary(&mut page)?;
        interval.operations(&mut page)?;
        projects(&mut page, live(self.db.as_ref()).await)?;
        self.before = now;
        Ok(page)
    }
}

/// Prints a page every two seconds, or only one.
pub(super) async fn run(settings: &Settings, once: bool) -> anyhow::Result<()> {
    const CLEAR: &str = "\x1b[2J\x1b[H";
    let mut top = Top::begin(settings).await?;
    sleep(FIRST_PERIOD).await;
    loop {
        let page = top.page().await?;
        if once {
            return print(&page);
        }
        print(&if stdout().is_terminal() { format!("{CLEAR}{page}") } else { format!("{page}\n") })?;
        sleep(PERIOD).await;
    }
}
