//! Measures how long a server with many subscribers takes to stop, from the signal to the end of its process: `cargo
//! run -p tests --example stop -- URL TOKEN PID [LISTENERS]`.

use std::{process::Command, time::Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use serde_json::json;
use tests::{client::Client, project::Project};

/// Opens sockets, stops the server, and waits until its process has ended.
#[derive(Parser)]
struct Arguments {
    /// The server's `http://HOST:PORT`
    url: String,
    /// A user's token
    token: String,
    /// The server's process id
    pid: u32,
    /// The number of subscribers, each on a socket of its own
    #[arg(default_value_t = 1_000)]
    listeners: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { url, token, pid, listeners } = Arguments::parse();
    let client = Client::new(&url, Some(token));
    let project = Project::create(&client, "Stopped").await;
    let variables = json!({ "id": project.id });
    let listen = "subscription($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { revision } }";
    let mut open = Vec::with_capacity(listeners);
    for _ in 0..listeners {
        let mut listener = client.subscribe(listen, variables.clone()).await;
        listener.event().await;
        open.push(listener);
    }
    let process = format!("/proc/{pid}/stat");
    let is_there = || std::fs::read_to_string(&process);
    is_there().context("no such process")?;

    let begun = Instant::now();
    ensure!(Command::new("kill").args(["-TERM", &pid.to_string()]).status()?.success(), "the signal was not sent");
    let mut ended = Vec::with_capacity(listeners);
    for mut listener in open {
        ended.push(tokio::spawn(async move { while listener.next().await.is_some() {} }));
    }
    for end in ended {
        end.await?;
    }
    let told = begun.elapsed();
    while is_there().is_ok_and(|stat| !stat.contains(") Z ")) {
        tokio::task::yield_now().await;
    }
    println!("{listeners} listeners: all told after {told:?}, the process gone after {:?}", begun.elapsed());
    Ok(())
}
