//! Measures the effect of heavy users on another user: the times of that user's reads and writes, and how many of them
//! fail.
//!
//! ```text
//! cargo bench -p tests --bench fairness -- [SECONDS]
//! ```
//!
//! One user has 40 writers on a project whose row is locked (PostgreSQL only), and another repeatedly sends 20
//! concurrent syncs of 5,000 files. The third reads and writes in a project of their own, 50 times a second.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::{
    database::{self, Database, Kind},
    project::Project,
    server::Server,
};

// The allocator of the server's own executable.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const WRITERS: usize = 40;
const SYNCS: usize = 20;
const FILES: usize = 5_000;

fn main() -> anyhow::Result<()> {
    database::be_durable();
    let seconds = env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(30);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for kind in [Kind::Sqlite, Kind::Postgres] {
        if kind == Kind::Sqlite || database::postgres_is_here() {
            runtime.block_on(measure(kind, Duration::from_secs(seconds)))?;
        }
    }
    Ok(())
}

/// The outcomes of the other users' requests.
#[derive(Default)]
struct Others {
    over: AtomicBool,
    done: AtomicUsize,
    limited: AtomicUsize,
    failed: AtomicUsize,
}

impl Others {
    fn count(&self, errors: &[Value]) {
        let counter = match errors.first().map(|error| &error["extensions"]["code"]) {
            None => &self.done,
            Some(code) if code == "RATE_LIMITED" => &self.limited,
            Some(code) => {
                eprintln!("{code}");
                &self.failed
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn print(&self, what: &str) {
        let [done, limited, failed] = [&self.done, &self.limited, &self.failed].map(|n| n.load(Ordering::Relaxed));
        println!("  {what}: {done} done, {limited} RATE_LIMITED, {failed} failed");
    }
}

async fn measure(kind: Kind, time: Duration) -> anyhow::Result<()> {
    let database = Database::create(kind).await;
    let server = Server::start(&database).await;
    let [ada, bob, eve] = ["ada", "bob", "eve"].map(|name| server.user(&format!("{name}@example.com")));
    let (locked, mine) = (Project::create(&ada, "Locked").await, Project::create(&eve, "Mine").await);
    mine.create_file("main.py", "print(0)\n").await;
    let (writers, syncs) = (Arc::new(Others::default()), Arc::new(Others::default()));
    let mut tasks = Vec::new();

    let mut holder = None;
    if kind == Kind::Postgres {
        let mut connection = PgConnection::connect(&database.url()).await?;
        let lock = format!("BEGIN; SELECT FROM projects WHERE id = '{}' FOR UPDATE", locked.id);
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut connection).await?;
        holder = Some(connection);
    }
    for n in 0..WRITERS {
        let (project, writers) = (locked.clone(), writers.clone());
        tasks.push(tokio::spawn(async move {
            while !writers.over.load(Ordering::Relaxed) {
                let input = json!({ "path": format!("{n}.py"), "content": format!("print({n})\n") });
                let file = json!([input]);
                writers.count(&project.mutate("syncFiles", json!({ "files": file }), "revision").await.errors);
            }
        }));
    }
    for n in 0..SYNCS {
        let (project, syncs) = (Project::create(&bob, &format!("Sync {n}")).await, syncs.clone());
        tasks.push(tokio::spawn(async move {
            let mut round = 0;
            while !syncs.over.load(Ordering::Relaxed) {
                round += 1;
                let files: Vec<_> = (0..FILES)
                    .map(|file| json!({ "path": format!("src/{}/{file}.py", file % 50), "content": format!("x = {file}\ny = {round}\n") }))
                    .collect();
                syncs.count(&project.mutate("syncFiles", json!({ "files": files }), "revision").await.errors);
            }
        }));
    }

    let (mut reads, mut writes, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    let begun = Instant::now();
    while begun.elapsed() < time {
        let started = Instant::now();
        let query = "query($id: ID!) { project(id: $id) { name files(first: 20) { nodes { path version } } } }";
        failures.extend(eve.gql(query, json!({ "id": mine.id })).await.errors);
        reads.push(started.elapsed());
        let started = Instant::now();
        let input = json!({ "path": "main.py", "content": format!("print({})\n", writes.len()) });
        failures.extend(mine.mutate("updateFile", input, "revision").await.errors);
        writes.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(20).saturating_sub(started.elapsed())).await;
    }
    for others in [&writers, &syncs] {
        others.over.store(true, Ordering::Relaxed);
    }
    println!("{kind:?}: {} reads and writes of a third user, {} failed", reads.len(), failures.len());
    for (what, times) in [("reads", &mut reads), ("writes", &mut writes)] {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
        println!("  {what}: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms", at(0.5), at(0.99), at(1.0));
    }
    writers.print("40 writers on one project");
    syncs.print("20 syncs of 5,000 files");
    drop(holder);
    for task in tasks {
        task.await?;
    }
    server.stop().await;
    database.remove().await;
    anyhow::ensure!(failures.is_empty(), "{failures:?}");
    Ok(())
}
