//! The systems that are compared, and their figures under load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tests::{client::Client, database::Kind, workload::Random};

use crate::{
    data::{Data, Request},
    limit::Limit,
    process,
    work::Work,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The hand-written statements, sent directly to the database.
    Limit,
    /// The hand-written server, which sends the same statements.
    Node,
    PostGraphile,
    Ours,
    /// The service with a superuser's login, to which row-level security does not apply.
    OursWithoutPolicies,
}

impl Who {
    pub(crate) fn is_service(self) -> bool {
        matches!(self, Self::Ours | Self::OursWithoutPolicies)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Node => "Node",
            Self::PostGraphile => "PostGraphile",
            Self::Ours => "ours",
            Self::OursWithoutPolicies => "ours, no RLS",
        }
    }
}

/// The database and the data that all contenders use.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) kind: Kind,
    /// On PostgreSQL the URL of the server's login.
    pub(crate) url: String,
    pub(crate) postmaster: Option<u32>,
    pub(crate) data: Arc<Data>,
}

/// A running contender.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) who: Who,
    pub(crate) ground: Ground,
    /// Address and process of the server; the limit has none.
    pub(crate) server: Option<(String, u32)>,
}

/// The figures of a run: requests per second, times in ms, processor time per request in ms, bytes of a response.
#[derive(Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) server: f64,
    pub(crate) database: f64,
    pub(crate) bytes: f64,
}

impl Figures {
    pub(crate) fn total(&self) -> f64 {
        self.server + self.database
    }

    /// The median of each figure.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| {
            let mut all: Vec<f64> = runs.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self {
            rate: of(|f| f.rate),
            p50: of(|f| f.p50),
            p99: of(|f| f.p99),
            server: of(|f| f.server),
            database: of(|f| f.database),
            bytes: of(|f| f.bytes),
        }
    }
}

/// A connection of a contender.
pub(crate) enum Connection {
    Database(Box<Limit>),
    Http(Client),
}

impl Contender {
    pub(crate) async fn connect(&self, work: Work) -> anyhow::Result<Connection> {
        Ok(match &self.server {
            None => Connection::Database(Box::new(Limit::connect(work, self.ground.kind, &self.ground.url).await?)),
            Some((base, _)) => Connection::Http(Client::new(base, None)),
        })
    }

    /// Sends a request; returns the response.
    pub(crate) async fn ask(
        &self,
        connection: &mut Connection,
        work: Work,
        request: &Request,
    ) -> anyhow::Result<String> {
        let user = &self.ground.data.users[request.user];
        match connection {
            Connection::Database(limit) => limit.ask(&user.id, request).await,
            Connection::Http(client) => {
                let bearer = format!("Bearer {}", user.token);
                let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
                let path = if self.who == Who::Node { format!("/{work:?}") } else { "/graphql".to_owned() };
                let answer = client.send("POST", &path, &headers, request.body.clone()).await?;
                let text = String::from_utf8(answer.body.into())?;
                ensure!(answer.status == 200 && !text.contains("\"errors\""), "{} {text}", answer.status);
                Ok(text)
            }
        }
    }

    /// How many connections it uses: as many as requested, but one for the limit on SQLite, which is a single loop.
    fn connections(&self, wanted: usize) -> usize {
        if self.who == Who::Limit && self.ground.kind == Kind::Sqlite { 1 } else { wanted }
    }

    /// Runs for a while, in a closed loop on this many connections.
    pub(crate) async fn run(&self, work: Work, window: Duration, connections: usize) -> anyhow::Result<Figures> {
        let (count, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (stop, warm) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut workers = Vec::new();
        for worker in 0..self.connections(connections) {
            let (contender, data) = (self.clone(), self.ground.data.clone());
            let (count, bytes, stop, warm) = (count.clone(), bytes.clone(), stop.clone(), warm.clone());
            let mut random = Random(data.seed() + worker as u64);
            let mut connection = self.connect(work).await?;
            workers.push(tokio::spawn(async move {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = data.request(work, contender.who, &mut random);
                    let start = Instant::now();
                    let answer = contender.ask(&mut connection, work, &request).await?;
                    if warm.load(Ordering::Relaxed) {
                        times.push(start.elapsed());
                        count.fetch_add(1, Ordering::Relaxed);
                        bytes.fetch_add(answer.len() as u64, Ordering::Relaxed);
                    }
                    data.settle(request, contender.who);
                }
                if let Connection::Database(limit) = connection {
                    limit.close().await?;
                }
                anyhow::Ok(times)
            }));
        }
        tokio::time::sleep(window / 3).await;
        warm.store(true, Ordering::Relaxed);
        let (start, before) = (Instant::now(), self.processor()?);
        tokio::time::sleep(window).await;
        let (requests, after) = (count.load(Ordering::Relaxed) as f64, self.processor()?);
        let elapsed = start.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for worker in workers {
            times.extend(worker.await?.with_context(|| format!("{work:?} by {}", self.who.name()))?);
        }
        times.sort_unstable();
        let percentile =
            |of: f64| times.get((times.len() as f64 * of) as usize).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        let cost = |before: f64, after: f64| (after - before) * 1e3 / requests;
        Ok(Figures {
            rate: requests / elapsed,
            p50: percentile(0.5),
            p99: percentile(0.99),
            server: cost(before.0, after.0),
            database: cost(before.1, after.1),
            bytes: bytes.load(Ordering::Relaxed) as f64 / times.len() as f64,
        })
    }

    /// The processor time in seconds of server and database so far. The limit's client is in this process: on
    /// PostgreSQL its time does not count, as for the servers' client; on SQLite, where client and database are one
    /// process, it counts.
    fn processor(&self) -> anyhow::Result<(f64, f64)> {
        let server = match (&self.server, self.ground.kind) {
            (Some((_, id)), _) => process::processor(*id)?,
            (None, Kind::Sqlite) => process::processor(std::process::id())?,
            (None, Kind::Postgres) => 0.0,
        };
        let database = self.ground.postmaster.map(process::processor_with_children).transpose()?;
        Ok((server, database.unwrap_or_default()))
    }
}
