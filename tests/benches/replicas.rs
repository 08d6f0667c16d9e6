//! Measures reads with no, one and two streaming replicas of one primary: requests per second, and the processor time of
//! the primary, the replicas and the server for each request, relative to no replica.
//!
//! ```text
//! cargo bench -p tests --bench replicas -- [SECONDS]
//! ```
//!
//! Eight users read a project with its files and their versions, in a closed loop, in alternating rounds. In the second
//! half somebody else writes 50 times a second. Everything runs on this machine, so that requests per second do not
//! grow with replicas here: the primary's processor time for each request is what a replica saves.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection, PgConnection, Row};
use tests::client::Client;
use tests::database::{self, Database};
use tests::project::Project;
use tests::server::{ChildServer, serve_if_child};
use tokio::time::{MissedTickBehavior, interval};

#[path = "requests/process.rs"]
#[expect(dead_code, reason = "the bench `requests` also measures memory")]
mod process;

// The allocator of the server's own executable.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USERS: usize = 8;
const ROUNDS: usize = 3;
const QUERY: &str = "query($id: ID!) { project(id: $id) { name files(first: 20) { nodes { id path version language hash
    versions(first: 5) { nodes { version createdAt } } } } } }";

fn main() -> anyhow::Result<()> {
    if serve_if_child() {
        return Ok(());
    }
    if !database::postgres_is_here() {
        return Ok(());
    }
    let seconds = env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(Duration::from_secs(seconds)))
}

/// What requests have taken: seconds of the primary, the replicas and the server.
#[derive(Clone, Copy, Default)]
struct Cost {
    requests: f64,
    seconds: f64,
    processors: [f64; 3],
}

async fn measure(time: Duration) -> anyhow::Result<()> {
    let primary = Database::primary().await;
    let standbys = [primary.standby().await, primary.standby().await];
    let clusters =
        [server_process(&primary).await?, server_process(&standbys[0]).await?, server_process(&standbys[1]).await?];
    let mut servers = Vec::new();
    for count in 0..=standbys.len() {
        let urls: Vec<String> = standbys.iter().take(count).map(Database::server_url).collect();
        let urls = urls.join(",");
        let flags = ["--database-replica-urls", urls.as_str()];
        servers.push(ChildServer::start_with_flags(&primary, if count == 0 { &[] } else { &flags }));
    }
    let mut projects = Vec::new();
    for user in 0..USERS {
        projects.push(fill(&servers[0].user(&format!("user{user}@example.com"))).await);
    }
    let written = Project::create(&servers[0].user("writer@example.com"), "Written").await;
    written.create_file("a.py", "0\n").await;

    for is_written in [false, true] {
        let mut costs = [Cost::default(); 3];
        for _ in 0..ROUNDS {
            for (server, cost) in servers.iter().zip(&mut costs) {
                let written = is_written.then(|| written.of(&server.user("writer@example.com")));
                round(server, &projects, written, &clusters, time, cost).await?;
            }
        }
        print(is_written, &costs);
    }
    Ok(())
}

/// The id of a cluster's main process.
async fn server_process(database: &Database) -> anyhow::Result<u32> {
    let mut connection = PgConnection::connect(&database.admin_url()).await?;
    let backend: i32 = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(&mut connection).await?.try_get(0)?;
    let process = process::parent(u32::try_from(backend)?)?;
    connection.close().await?;
    Ok(process)
}

async fn fill(client: &Client) -> Project {
    let project = Project::create(client, "Read").await;
    for version in 0..6 {
        let file =
            |n: usize| json!({ "path": format!("src/{n}.py"), "content": format!("x = {version}\n").repeat(100) });
        let files: Vec<_> = (0..20).map(file).collect();
        project.write("syncFiles", json!({ "files": files }), "revision").await;
    }
    project
}

async fn round(
    server: &ChildServer,
    projects: &[Project],
    written: Option<Project>,
    clusters: &[u32; 3],
    time: Duration,
    cost: &mut Cost,
) -> anyhow::Result<()> {
    let is_over = Arc::new(AtomicBool::new(false));
    let requests = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for (user, project) in projects.iter().enumerate() {
        let (client, id) = (server.user(&format!("user{user}@example.com")), project.id.clone());
        let (is_over, requests) = (is_over.clone(), requests.clone());
        tasks.push(tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                client.gql(QUERY, json!({ "id": id })).await.ok();
                requests.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    if let Some(written) = written {
        let is_over = is_over.clone();
        tasks.push(tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(20));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !is_over.load(Ordering::Relaxed) {
                ticks.tick().await;
                written.update_file("a.py", &format!("{:?}\n", Instant::now())).await;
            }
        }));
    }
    // Warm up.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let used = || -> anyhow::Result<[f64; 3]> {
        let [primary, one, two] = clusters.map(process::processor_with_children);
        Ok([primary?, one? + two?, process::processor(server.id())?])
    };
    let (before, first, begun) = (used()?, requests.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(time).await;
    let (after, last) = (used()?, requests.load(Ordering::Relaxed));
    cost.seconds += begun.elapsed().as_secs_f64();
    cost.requests += (last - first) as f64;
    for (sum, (after, before)) in cost.processors.iter_mut().zip(after.into_iter().zip(before)) {
        *sum += after - before;
    }
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await?;
    }
    Ok(())
}

fn print(is_written: bool, costs: &[Cost; 3]) {
    println!("\n{}", if is_written { "with 50 writes a second of somebody else" } else { "reads only" });
    println!(
        "| replicas | requests a second | CPU ms a request: primary | replicas | server | primary, relative to none |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let of_request = |cost: &Cost| cost.processors.map(|seconds| seconds * 1_000.0 / cost.requests);
    let [none, ..] = of_request(&costs[0]);
    for (count, cost) in costs.iter().enumerate() {
        let [primary, replicas, server] = of_request(cost);
        let rate = cost.requests / cost.seconds;
        println!("| {count} | {rate:.0} | {primary:.2} | {replicas:.2} | {server:.2} | {:.2} |", primary / none);
    }
}
