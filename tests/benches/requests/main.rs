//! Measures the cost of a request compared with other systems that do the same work, on the same database, in the same
//! run.
//!
//! ```text
//! cargo bench -p tests --bench requests -- --quick
//! cargo bench -p tests --bench requests -- [--scale 0.1] [--seconds 3] [--rounds 3] [--only sqlite|postgres] [--work Q1]
//!                                          [--only-ours] [--no-rls] [--growth]
//! ```
//!
//! `--quick` prints every table for both databases in three minutes, at scale 0.05. `--only-ours` leaves out the
//! systems that need Node.js (npm installs them from the lock file in `node/`). `--no-rls` adds the service without
//! row-level security. `--growth` compares the service with itself at ten times the history instead.
//!
//! **Systems.** All get the same load in alternating rounds: sixteen connections, closed loop, keep-alive, each request
//! from a random user, warm. Each server is one process.
//!
//! - *limit*: the hand-written statements without a server. On PostgreSQL role, claims, statement and commit take one
//!   round trip; on SQLite it is a loop of prepared statements on one connection.
//! - *Node*: a hand-written server with Node's `http` and `pg` (`node/plain.mjs`). It checks the token and sends role
//!   and claims, the same one statement, which returns the JSON of the response, and commit: three round trips.
//! - *PostGraphile*: version 5 (`node/postgraphile.mjs`), with GraphQL. It can express all of the work: its
//!   configuration declares the relations that are no foreign keys, and the writes call the same functions as the
//!   hand-written server. It does not filter out deleted rows, since it filters only by columns with an index; there
//!   are no deleted rows.
//! - *ours*: the service, with GraphQL.
//!
//! **Work.** `work.rs` contains each work as GraphQL and as SQL. All systems read the same rows under the same
//! policies. For Q4 the other systems read precomputed diffs from a table; the service computes them, and caches the
//! results in memory. The other systems write to tables of their own with policies of their own (`beside/`), in one
//! function call:
//!
//! - M1: the message, the counts of its session and project, the project's revision, and its event. The service does
//!   the same, and also has triggers that check the write, the idempotency key, and the notification of subscribers.
//! - M2: the file, if it is at the expected version, and its previous version as a whole, with a text instead of its
//!   diff. The service also computes a compressed delta, counts the lines, and writes the project's counts, an event
//!   and a notification.
//!
//! **Figures.** Processor time per request (of server and PostgreSQL separately) is the main figure: on a machine with
//! other load it varies far less than requests per second, and the ratios within one run vary less than either. Figures
//! are medians of the rounds. The clients' time does not count, except for the limit on SQLite, where client and
//! database are one process. Round trips, statements (without transaction control and claims) and bytes between server
//! and database are counted beforehand, one request at a time, through a proxy: those until the response, and `+` those
//! after it (notifications).
//!
//! At scale 1: 200 users, 2,000 projects, 10,000 sessions, 400,000 messages of about 300 bytes, the busiest five
//! sessions with 10,000 each, 40,000 files of about 3 KB, 200,000 versions. The data is written directly into the
//! tables.

mod contender;
mod data;
mod growth;
mod limit;
mod load;
mod node;
mod options;
mod process;
mod proxy;
mod rows;
mod table;
mod trips;
mod work;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use sqlx::{Connection, PgConnection};
use tests::{
    database::{self, Database, Kind},
    server::{self, ChildServer, Locks, Server},
};

use crate::{
    contender::{Contender, Figures, Ground, Who},
    load::{Shape, load},
    node::NodeServer,
    options::Options,
    work::Work,
};

// The allocator of the server's own executable.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const CONNECTIONS: usize = 16;

fn main() -> anyhow::Result<()> {
    if server::serve_if_child() {
        return Ok(());
    }
    database::be_durable();
    let options = Options::parse()?;
    let wanted = |kind| options.only.is_none_or(|only| only == kind);
    let on_postgres = wanted(Kind::Postgres) && database::postgres_is_here();
    let node = (on_postgres && !options.only_ours && !options.growth).then(node::install).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for kind in [Kind::Sqlite, Kind::Postgres] {
        if !wanted(kind) || kind == Kind::Postgres && !on_postgres {
            continue;
        }
        if options.growth {
            runtime.block_on(growth::measure(&options, kind))?;
        } else {
            runtime.block_on(measure(&options, kind, node.as_ref()))?;
        }
    }
    Ok(())
}

async fn measure(options: &Options, kind: Kind, node: Option<&PathBuf>) -> anyhow::Result<()> {
    let database = Database::create(kind).await;
    // Migrates SQLite.
    let counting = Server::start(&database).await;
    let ground = ground(&database, Shape::usual(options.scale)).await?;
    println!("\n{kind:?}, scale {}: {}", options.scale, ground.data.summary());
    let works = options.works();
    let trips = match kind {
        Kind::Sqlite => trips::count_statements(&ground, &counting, &works).await?,
        Kind::Postgres => trips::count(&ground, node.map(PathBuf::as_path), &works).await?,
    };
    counting.stop().await;

    let child = ChildServer::start(&database);
    let bare = (kind == Kind::Postgres && options.no_rls)
        .then(|| ChildServer::start_behind(&database.admin_url(), Locks::Application));
    let others = [Who::Node, Who::PostGraphile].into_iter().filter(|_| kind == Kind::Postgres);
    let others = others.filter_map(|who| Some((who, NodeServer::start(node?, who, &ground.url))));
    let others: Vec<_> = others.map(|(who, server)| anyhow::Ok((who, server?))).collect::<Result<_, _>>()?;

    let contender = |who, server| Contender { who, ground: ground.clone(), server };
    let of = |child: &ChildServer| Some((child.base().to_owned(), child.id()));
    let mut contenders = vec![contender(Who::Limit, None)];
    contenders.extend(others.iter().map(|(who, server)| contender(*who, Some(server.server()))));
    contenders.push(contender(Who::Ours, of(&child)));
    contenders.extend(bare.as_ref().map(|bare| contender(Who::OursWithoutPolicies, of(bare))));
    let idle = memory(&contenders)?;

    table::head();
    let mut rows = Vec::new();
    for work in works {
        check(&contenders, work).await?;
        let mut runs = vec![Vec::new(); contenders.len()];
        for _ in 0..options.rounds {
            for (contender, runs) in contenders.iter().zip(&mut runs) {
                runs.push(contender.run(work, options.window, CONNECTIONS).await?);
            }
        }
        let of_work: Vec<_> = contenders.iter().map(|contender| contender.who).zip(runs).collect();
        let of_work = of_work.iter().map(|(who, runs)| (*who, Figures::median(runs))).collect();
        table::print(work, &of_work, &trips);
        rows.push((work, of_work));
    }
    table::verdict(&rows);
    for ((who, idle), (_, after)) in idle.iter().zip(memory(&contenders)?) {
        println!("  resident: {idle:>4.0} MiB idle, {after:>4.0} MiB afterwards, {}", who.name());
    }
    if kind == Kind::Sqlite {
        group_commit(options, contenders.iter().find(|contender| contender.who == Who::Ours)).await?;
    }
    drop((child, bare, others));
    database.remove().await;
    Ok(())
}

/// Fills the database.
async fn ground(database: &Database, shape: Shape) -> anyhow::Result<Ground> {
    let data = Arc::new(load(database, shape).await?);
    let postmaster = match database.kind() {
        Kind::Sqlite => None,
        Kind::Postgres => {
            let mut connection = PgConnection::connect(&database.url()).await?;
            let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
            Some(process::parent(backend as u32)?)
        }
    };
    Ok(Ground { kind: database.kind(), url: database.server_url(), postmaster, data })
}

/// Checks that all systems return the same number of items.
async fn check(contenders: &[Contender], work: Work) -> anyhow::Result<()> {
    if matches!(work, Work::M1 | Work::M2 | Work::Restore) {
        return Ok(());
    }
    let mut found = Vec::new();
    for contender in contenders {
        let request = contender.ground.data.request(work, contender.who, &mut tests::workload::Random(1));
        let mut connection = contender.connect(work).await?;
        let answer = contender.ask(&mut connection, work, &request).await;
        let answer = answer.with_context(|| format!("{work:?} by {}", contender.who.name()))?;
        found.push(answer.matches(work.mark()).count());
    }
    anyhow::ensure!(found[0] > 0 && found.iter().all(|count| *count == found[0]), "{work:?}: {found:?}");
    Ok(())
}

fn memory(contenders: &[Contender]) -> anyhow::Result<Vec<(Who, f64)>> {
    let servers = contenders.iter().filter_map(|contender| Some((contender.who, contender.server.as_ref()?.1)));
    servers.map(|(who, id)| Ok((who, process::memory(id)?))).collect()
}

/// Measures how many messages one client and many clients write: concurrent writes are committed together.
async fn group_commit(options: &Options, ours: Option<&Contender>) -> anyhow::Result<()> {
    let ours = ours.context("the service is not among the systems")?;
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        alone.push(ours.run(Work::M1, options.window, 1).await?);
        together.push(ours.run(Work::M1, options.window, CONNECTIONS).await?);
    }
    let (alone, together) = (Figures::median(&alone), Figures::median(&together));
    println!(
        "  writers: one client writes {:.0} messages per second ({:.3} CPU ms each), {CONNECTIONS} clients {:.0} ({:.3}): {:.2}x",
        alone.rate,
        alone.total(),
        together.rate,
        together.total(),
        together.rate / alone.rate,
    );
    Ok(())
}
