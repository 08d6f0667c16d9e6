//! Replays a stream of an AI's work against a running server, and checks all of it:
//!
//! ```text
//! antiphon token --email ada@example.com
//! cargo run -p tests --example replay -- http://127.0.0.1:8080 TOKEN STREAM.jsonl
//! ```
//!
//! `agent-session` and `edges`, instead of a file, name the streams that the tests replay. The file format is described
//! in the module `workload`.

use std::{
    env, fs,
    io::{self, Write},
};

use anyhow::{Context, bail};
use tests::{
    client::Client,
    replay,
    workload::{self, Stream},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [url, token, stream] = &arguments[..] else {
        bail!("usage: replay URL TOKEN STREAM.jsonl|agent-session|edges")
    };
    let stream = match stream.as_str() {
        "agent-session" => workload::agent_session(1),
        "edges" => workload::edges(1),
        path => Stream::parse(&fs::read_to_string(path).with_context(|| format!("reading {path}"))?)?,
    };

    let turns = stream.turns.len();
    let client = Client::new(url, Some(token.clone()));
    let report = replay::replay(&client, &stream, |turn| {
        print!("\r{}: turn {} of {turns}", stream.name, turn.seq);
        let _ = io::stdout().flush();
    });
    let report = report.await;
    println!();
    let report = report?;
    println!("project {}", report.project);
    println!(
        "{} turns, {} checkpoints and {} rollbacks as they must be",
        report.turns, report.checkpoints, report.rollbacks
    );
    println!("{} versions read back with their SHA-256", report.versions);
    println!("{} revisions received, each once and in order", report.writes);
    println!("{:.1} s for {} writes and the checks between them", report.elapsed.as_secs_f64(), report.writes);
    Ok(())
}
