//! Who does the work, and how much it takes them under load.

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
    /// The hand-written statements, straight to the database.
    Limit,
    /// The hand-written server, which sends them.
    Node,
    PostGraphile,
    Ours,
    /// The service as a superuser, whom row-level security does not hold.
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

/// The database and the data that everybody works on.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) kind: Kind,
    /// On PostgreSQL of the server's login.
    pub(crate) url: String,
    pub(crate) postmaster: Option<u32>,
    pub(crate) data: Arc<Data>,
}

/// Somebody at work.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) who: Who,
    pub(crate) ground: Ground,
    /// Of the server; the limit has none.
    pub(crate) server: Option<(String, u32)>,
}

/// What a run gave: requests a second, times in ms, processor time a request in ms, bytes of an answer.
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

/// A connection of a contender's own.
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

    /// The answer.
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

    /// How many connections it works by: as many as are asked for, but one for the limit on SQLite, which is a loop.
    fn connections(&self, wanted: usize) -> usize {
        if self.who == Who::Limit && self.ground.kind == Kind::Sqlite { 1 } else { wanted }
    }

    /// Works for a while, in a closed loop on so many connections.
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

    /// Seconds of processor time that server and database have taken so far. The limit's client is in this process: on
    /// PostgreSQL its time is left out as that of the servers' client is; on SQLite, where client and database are one, it
    /// is in.
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
