//! Measures a server under all attacks at once: the times of an ordinary user, what the attacks got, and the peak of the server's memory.
//!
//! ```text
//! cargo bench -p tests --bench siege -- [SECONDS]
//! ```
//!
//! The server may use 1 GiB of address space, and a quarter of it for requests.

use std::{env, time::Duration};

use tests::{
    database::{self, Database, Kind},
    server::{ChildServer, serve_if_child},
    siege::{self, Scale},
};

// The allocator of the server's own executable.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ADDRESS_SPACE: u64 = 1024 * 1024 * 1024;

/// A quarter of the address space is for requests.
const MEMORY: [(&str, &str); 1] = [("MAX_MEMORY_BYTES", "268435456")];

fn main() -> anyhow::Result<()> {
    if serve_if_child() {
        return Ok(());
    }
    database::be_durable();
    let seconds = env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(30);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for kind in [Kind::Sqlite, Kind::Postgres] {
        if kind == Kind::Postgres && !database::postgres_is_here() {
            continue;
        }
        runtime.block_on(async {
            let database = Database::create(kind).await;
            let server = ChildServer::start_limited(&database, &MEMORY, ADDRESS_SPACE);
            let time = Duration::from_secs(seconds);
            let (attackers, rounds) = (4, 0);
            let scale = Scale {
                large_files: 60,
                synced_files: 5_000,
                sockets: 10,
                subscriptions: 100,
                attackers,
                time,
                rounds,
            };
            let report = siege::run(&server, scale).await;
            println!("{kind:?}\n{report}");
            drop(server);
            database.remove().await;
            let bugs = report.bugs();
            anyhow::ensure!(bugs.is_empty() && report.failures.is_empty(), "{bugs:?} {:?}", report.failures);
            Ok(())
        })?;
    }
    Ok(())
}
