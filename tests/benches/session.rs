//! Measures the cost of an AI's session on each database: writes per second, bytes of the whole database per version,
//! and whether the time of a write or a rollback grows with the history.
//!
//! ```text
//! cargo bench -p tests --bench session -- [STREAM.jsonl …]
//! ```
//!
//! Without a file the streams are read from the folder in `ANTIPHON_STREAMS`; if that is not set either, a stream is
//! generated. Both databases write to disk before they acknowledge (PostgreSQL with its own defaults, SQLite with
//! `synchronous = FULL`).
//!
//! Growth is measured between projects with the same files: one with the whole stream as its history, and one that
//! starts with the state before the stream's last 29 turns. They differ only in their history. A third project, with
//! the stream's first 30 turns, shows the effect of fewer files. The measurements alternate between them, with several
//! projects of each kind, so that the samples themselves do not become the history.

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::json;
use tests::{
    client::Client,
    database::{self, Database, Kind},
    replay::Replay,
    server::Server,
    size::size,
    workload::{self, Change, Files, Stream, Turn},
};

// The allocator of the server's own executable.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Projects of each kind, and the writes to each of them.
const COPIES: usize = 4;
const WRITES: usize = 6;
const ROLLBACKS: usize = 3;

/// Checkpoints of the project with a short history.
const FEW: usize = 30;
/// How many turns a rollback goes back.
const BACK: usize = 15;

fn main() -> anyhow::Result<()> {
    database::be_durable();
    let streams = streams()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for stream in &streams {
        for kind in [Kind::Sqlite, Kind::Postgres] {
            if kind == Kind::Sqlite || database::postgres_is_here() {
                runtime.block_on(measure(stream, kind))?;
            }
        }
    }
    Ok(())
}

fn streams() -> anyhow::Result<Vec<Stream>> {
    // Cargo adds `--bench`.
    let mut files: Vec<PathBuf> = env::args().skip(1).filter(|name| !name.starts_with("--")).map(Into::into).collect();
    if let (true, Some(folder)) = (files.is_empty(), env::var_os("ANTIPHON_STREAMS")) {
        let found = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
        files = found.into_iter().filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
        files.sort();
    }
    if files.is_empty() {
        return Ok(vec![workload::agent_session(20251)]);
    }
    let read = |path: &PathBuf| Stream::parse(&fs::read_to_string(path)?).with_context(|| path.display().to_string());
    files.iter().map(read).collect()
}

async fn measure(stream: &Stream, kind: Kind) -> anyhow::Result<()> {
    let database = Database::create(kind).await;
    let server = Server::start(&database).await;
    let client = server.user("ada@example.com");
    let empty = size(&database).await?;
    let before = server.statements();
    let (whole, elapsed) = replay(&client, stream).await?;
    let statements = server.statements() - before;
    let full = size(&database).await?;

    println!("\n{} on {kind:?}", stream.name);
    println!(
        "  {} turns, {} writes in {:.1} s: {:.0} writes/s, {:.1} statements per write",
        stream.turns.len(),
        whole.revision,
        elapsed.as_secs_f64(),
        f64::from(whole.revision) / elapsed.as_secs_f64(),
        statements as f64 / f64::from(whole.revision),
    );
    // Contents that the stream itself writes. A rollback or a deletion adds rows too: these are part of the cost of the
    // versions, but do not count as versions.
    let changes = stream.turns.iter().flat_map(|turn| &turn.changes);
    let versions = changes.filter(|change| !matches!(change, Change::Delete { .. })).count() as u64;
    println!(
        "  {versions} versions ({} rows), database {} bytes, fresh {}: {} bytes per version, {} without the size of an empty database",
        full.rows,
        full.bytes,
        empty.bytes,
        full.bytes / versions,
        (full.bytes - empty.bytes) / versions
    );
    for (name, bytes) in full.parts.iter().filter(|(_, bytes)| *bytes * 200 > full.bytes - empty.bytes) {
        println!("    {:>8} {:>6} a version  {name}", bytes, bytes / versions);
    }
    growth(&client, stream, whole).await?;
    server.stop().await;
    database.remove().await;
    Ok(())
}

async fn replay(client: &Client, stream: &Stream) -> anyhow::Result<(Replay, Duration)> {
    let start = Instant::now();
    let mut replay = Replay::begin(client, &stream.name).await?;
    for turn in &stream.turns {
        replay.write_turn(turn).await.with_context(|| format!("turn {}", turn.seq))?;
    }
    Ok((replay, start.elapsed()))
}

/// A measured project.
struct Subject {
    project: Replay,
    session: String,
    last: u32,
    paths: Vec<String>,
}

/// The same work in projects that differ in their history.
async fn growth(client: &Client, stream: &Stream, whole: Replay) -> anyhow::Result<()> {
    if stream.turns.len() < FEW * 2 {
        println!("  too short to show growth");
        return Ok(());
    }
    let first = Stream { name: "first".into(), turns: stream.turns.iter().take(FEW).map(copy).collect() };
    let last = last_turns(stream)?;
    let mut kinds: [Vec<Subject>; 3] = [Vec::new(), Vec::new(), vec![subject(client, whole, stream).await?]];
    for _ in 0..COPIES {
        kinds[0].push(subject(client, replay(client, &first).await?.0, &first).await?);
        kinds[1].push(subject(client, replay(client, &last).await?.0, &last).await?);
        if kinds[2].len() < COPIES {
            kinds[2].push(subject(client, replay(client, stream).await?.0, stream).await?);
        }
    }

    let mut writes: [Vec<Duration>; 3] = Default::default();
    let mut rollbacks: [Vec<Duration>; 3] = Default::default();
    let mut changes = [0; 3];
    for round in 0..COPIES * WRITES {
        for (subjects, samples) in kinds.iter().zip(&mut writes) {
            samples.push(subjects[round % COPIES].write(client, round).await?);
        }
    }
    for round in 0..COPIES * ROLLBACKS {
        for ((subjects, samples), changes) in kinds.iter().zip(&mut rollbacks).zip(&mut changes) {
            let subject = &subjects[round % COPIES];
            for turn in [subject.last - BACK as u32, subject.last] {
                let (elapsed, changed) = subject.restore(client, turn).await?;
                samples.push(elapsed);
                *changes += changed;
            }
        }
    }
    let [_, _, mut write] = writes.each_ref().map(|samples| median(samples));
    let [_, _, rollback] = rollbacks.each_ref().map(|samples| median(samples));
    println!("  median ms                                  files  message + 3 files  rollback (files it changes)");
    let names = [
        format!("the first {FEW} turns"),
        format!("{FEW} turns, the files of {}", stream.turns.len()),
        format!("{} turns", stream.turns.len()),
    ];
    for index in 0..3 {
        println!(
            "    {:<40} {:>5} {:>18.2} {:>9.2} ({:.1})",
            names[index],
            kinds[index][0].paths.len(),
            median(&writes[index]) * 1e3,
            median(&rollbacks[index]) * 1e3,
            changes[index] as f64 / rollbacks[index].len() as f64
        );
    }
    write /= median(&writes[1]);
    println!("    growth with only the history: write {write:.2}, rollback {:.2}", rollback / median(&rollbacks[1]));
    Ok(())
}

fn copy(turn: &Turn) -> Turn {
    Turn {
        seq: turn.seq,
        content: turn.content.clone(),
        is_checkpoint: turn.is_checkpoint,
        rollback_to: turn.rollback_to,
        changes: turn.changes.clone(),
        files: turn.files,
        manifest: turn.manifest.clone(),
    }
}

/// A stream that results in the same files in [`FEW`] turns: one turn that creates the state before the last ones, and
/// the last ones.
fn last_turns(stream: &Stream) -> anyhow::Result<Stream> {
    let (before, last) = stream.turns.split_at(stream.turns.len() + 1 - FEW);
    let mut files = Files::new();
    before.iter().try_for_each(|turn| turn.apply(&mut files))?;
    let start = before.last().context("turns before the last ones")?;
    let changes = files.into_iter().map(|(path, content)| Change::Create { path, content }).collect();
    let start = Turn { changes, rollback_to: None, is_checkpoint: true, ..copy(start) };
    // A turn that rolled back becomes ordinary changes.
    let last = last.iter().map(|turn| Turn { rollback_to: None, ..copy(turn) });
    Ok(Stream { name: "last".into(), turns: [start].into_iter().chain(last).collect() })
}

async fn subject(client: &Client, project: Replay, stream: &Stream) -> anyhow::Result<Subject> {
    let query =
        "query($id: ID!) { project(id: $id) { activeSession { id } files(first: 500) { nodes { path type } } } }";
    let data = client.request(query, json!({ "id": project.id })).await?.data()?;
    let session = data["project"]["activeSession"]["id"].as_str().context("no session")?.to_owned();
    let files = data["project"]["files"]["nodes"].as_array().context("no files")?;
    let paths = files.iter().filter(|file| file["type"] == "FILE").filter_map(|file| file["path"].as_str());
    let last = stream.turns.last().context("no turn")?.seq;
    Ok(Subject { project, session, last, paths: paths.map(str::to_owned).collect() })
}

impl Subject {
    /// A checkpoint and three files for it.
    async fn write(&self, client: &Client, round: usize) -> anyhow::Result<Duration> {
        let say = "mutation($input: AddMessageInput!) { addMessage(input: $input) { message { id } revision } }";
        let sync = "mutation($input: SyncFilesInput!) { syncFiles(input: $input) { revision updated } }";
        let message =
            json!({ "sessionId": self.session, "role": "ASSISTANT", "content": "Three files", "isCheckpoint": true });
        let count = self.paths.len();
        let contents: Vec<_> = (0..3)
            .map(|n| {
                let path = &self.paths[(round * 3 + n) % count];
                let lines: Vec<_> = (0..60)
                    .map(|line| format!("line {line} of file {n} as of {}\n", if line % 20 == n { round } else { 0 }))
                    .collect();
                json!({ "path": path, "content": lines.concat() })
            })
            .collect();
        let start = Instant::now();
        let said = client.request(say, json!({ "input": message })).await?.data()?;
        let input = json!({
            "projectId": self.project.id, "sessionId": self.session, "messageId": said["addMessage"]["message"]["id"],
            "files": contents,
        });
        let synced = client.request(sync, json!({ "input": input })).await?.data()?;
        let elapsed = start.elapsed();
        ensure!(synced["syncFiles"]["updated"] == 3, "{synced}");
        Ok(elapsed)
    }

    /// Restores the state after a turn; returns the time and how many files changed.
    async fn restore(&self, client: &Client, turn: u32) -> anyhow::Result<(Duration, usize)> {
        let done = self.project.done.get(&turn).context("no such turn")?;
        let query =
            "mutation($input: RestoreRevisionInput!) { restoreRevision(input: $input) { revision changes { type } } }";
        let input = json!({ "projectId": self.project.id, "revision": done.revision });
        let (query, input, name) = match &done.snapshot {
            None => (query.to_owned(), input, "restoreRevision"),
            Some(snapshot) => {
                (query.replace("Revision", "Snapshot"), json!({ "snapshotId": snapshot }), "restoreSnapshot")
            }
        };
        let start = Instant::now();
        let data = client.request(&query, json!({ "input": input })).await?.data()?;
        Ok((start.elapsed(), data[name]["changes"].as_array().map_or(0, Vec::len)))
    }
}

/// In seconds.
fn median(samples: &[Duration]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2].as_secs_f64()
}
