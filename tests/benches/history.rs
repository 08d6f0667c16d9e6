//! Measures the cost of a long history on each database: bytes compared with git's, and the time to read old versions
//! and to restore.
//!
//! ```text
//! cargo bench -p tests --bench history -- [REPOSITORY …]
//! ```
//!
//! Each git repository is imported, exported again and compared commit by commit; without an argument a history is
//! generated. Git's bytes are the pack and index of the export, which equals the imported history, after `git gc
//! --aggressive`. Times are those of HTTP requests to a server without a content cache, unless stated otherwise.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use antiphon::{
    commands,
    config::{Cli, Command as Antiphon, Settings},
    model::clock,
};
use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tests::{
    client::Client,
    database::{self, Database, Kind},
    project::Project,
    server::{JWT_SECRET, Server},
    size::size,
    workload::{self, Files},
};

// The allocator of the server's own executable.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const EMAIL: &str = "ada@example.com";
/// How many files are read: those with the most versions.
const READ_FILES: usize = 20;
/// How often each of them is read, and how often the project is restored.
const ROUNDS: usize = 5;
const COLD: &[&str] = &["--content-cache-bytes", "0"];

fn main() -> anyhow::Result<()> {
    database::be_durable();
    // Cargo adds `--bench`.
    let given = env::args().skip(1).filter(|name| !name.starts_with("--")).map(PathBuf::from);
    let folder = env::temp_dir().join(format!("antiphon-history-{}", clock::new_id()));
    fs::create_dir(&folder)?;
    let mut repositories: Vec<PathBuf> = given.collect();
    if repositories.is_empty() {
        repositories.push(made(&folder.join("made"))?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let kinds = [Kind::Sqlite, Kind::Postgres].into_iter();
    for kind in kinds.filter(|kind| *kind == Kind::Sqlite || database::postgres_is_here()) {
        for (at, repository) in repositories.iter().enumerate() {
            let export = folder.join(format!("{kind:?}-{at}"));
            runtime.block_on(measure(repository, &export, kind)).with_context(|| repository.display().to_string())?;
        }
        runtime.block_on(measure_writes(kind))?;
    }
    fs::remove_dir_all(folder)?;
    Ok(())
}

fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// A repository generated from an AI's session: a commit for each turn.
fn made(folder: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir(folder)?;
    git(folder, &["init", "-q", "-b", "main"])?;
    let (mut files, mut stream) = (Files::new(), String::new());
    for turn in &workload::agent_session(20251).turns {
        turn.apply(&mut files)?;
        let (message, at) = (turn.content.as_str(), 1_700_000_000 + u64::from(turn.seq) * 60);
        write!(
            stream,
            "commit refs/heads/main\ncommitter Ada <{EMAIL}> {at} +0000\ndata {}\n{message}\n",
            message.len()
        )?;
        stream.push_str("deleteall\n");
        for (path, content) in &files {
            write!(stream, "M 100644 inline {path}\ndata {}\n{}\n", content.text.len(), content.text)?;
        }
    }
    let mut import = Command::new("git");
    let mut import = import.arg("-C").arg(folder).args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn()?;
    import.stdin.take().context("no input")?.write_all(stream.as_bytes())?;
    ensure!(import.wait()?.success(), "git fast-import failed");
    Ok(folder.to_owned())
}

fn parse(database: &Database, arguments: &[&str]) -> anyhow::Result<(Antiphon, Settings)> {
    let url = database.url();
    let common = ["--database-url", &url, "--jwt-secret", JWT_SECRET];
    let cli = Cli::try_parse_from(["antiphon"].iter().chain(arguments).chain(&common))?;
    Ok((cli.command.context("no command")?, cli.settings))
}

async fn measure(repository: &Path, export: &Path, kind: Kind) -> anyhow::Result<()> {
    let database = Database::create(kind).await;
    let path = repository.to_str().context("a path that is not UTF-8")?;
    let (command, settings) = parse(&database, &["import", "--git", path, "--name", "history", "--email", EMAIL])?;
    let Antiphon::Import(import) = command else { bail!("no import") };
    // Migrates SQLite.
    Server::start(&database).await.stop().await;
    let (fresh, start) = (size(&database).await?.bytes, Instant::now());
    let imported = commands::import(&settings, &import, &mut |_| {}).await?;
    let elapsed = start.elapsed().as_secs_f64();
    println!("\n{} on {kind:?}", repository.display());
    println!("  {} commits, {} versions imported in {elapsed:.1} s", imported.commits, imported.versions);

    let project = imported.project.0.to_string();
    let (command, _) = parse(&database, &["export", &project, "--git", export.to_str().context("a path")?])?;
    let Antiphon::Export(wanted) = command else { bail!("no export") };
    commands::export(&settings, &wanted, &mut |_| {}).await?;
    let trees = |folder| git(folder, &["log", "--first-parent", "--format=%T", "HEAD"]);
    let (theirs, ours) = (trees(repository)?, trees(export)?);
    // A submodule is a commit of another repository, not a file.
    let files = |folder, tree: &str| -> anyhow::Result<Vec<String>> {
        let all = git(folder, &["ls-tree", "-r", tree])?;
        Ok(all.lines().filter(|line| !line.starts_with("160000 ")).map(str::to_owned).collect())
    };
    let (mut equal, mut without) = (0, 0);
    for (theirs, ours) in theirs.lines().zip(ours.lines()) {
        if theirs == ours {
            equal += 1;
        } else if files(repository, theirs)? == files(export, ours)? {
            without += 1;
        }
    }
    println!(
        "  exported: {equal} of {} commits have the same tree, {without} more except for submodules",
        theirs.lines().count()
    );

    git(export, &["gc", "-q", "--aggressive", "--prune=now"])?;
    let mut pack = 0;
    for file in fs::read_dir(export.join(".git/objects/pack"))? {
        let file = file?;
        if file.path().extension().is_some_and(|end| end == "pack" || end == "idx") {
            pack += file.metadata()?.len();
        }
    }
    let whole = size(&database).await?;
    println!(
        "  database {} bytes, {} a version; git's pack and index {pack}: {:.2} times, {:.2} without the size of an empty database",
        whole.bytes,
        whole.bytes / (imported.versions as u64).max(1),
        whole.bytes as f64 / pack as f64,
        whole.bytes.saturating_sub(fresh) as f64 / pack as f64
    );
    for (name, bytes) in whole.parts.iter().filter(|(_, bytes)| *bytes * 100 > pack) {
        println!("    {bytes:>9} {:>5.2}  {name}", *bytes as f64 / pack as f64);
    }

    let token = commands::token(&settings, EMAIL, None, 1).await?;
    for (flags, name) in [(COLD, "without a cache"), (&[][..], "with a cache of 32 MiB")] {
        let server = Server::start_with(&database, flags).await;
        let client = server.anonymous().with_token(Some(token.clone()));
        println!("  ms, with {name}                    median   worst   (times the newest)");
        read(&client, &project).await?;
        server.stop().await;
    }
    database.remove().await;
    Ok(())
}

/// Reads old versions, and restores.
async fn read(client: &Client, project: &str) -> anyhow::Result<()> {
    let query = "query($id: ID!, $after: String) { project(id: $id) { files(first: 500, after: $after) {
        pageInfo { hasNextPage endCursor } nodes { id version type } } } }";
    let (mut files, mut after) = (Vec::new(), Value::Null);
    loop {
        let mut data = client.request(query, json!({ "id": project, "after": after })).await?.data()?;
        let page = data["project"]["files"].take();
        files.extend(
            page["nodes"].as_array().context("no files")?.iter().filter(|file| file["type"] == "FILE").cloned(),
        );
        if page["pageInfo"]["hasNextPage"] != true {
            break;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
    files.sort_by_key(|file| std::cmp::Reverse(file["version"].as_i64()));
    files.truncate(READ_FILES);
    let mut ids: [Vec<Value>; 3] = Default::default();
    for file in &files {
        let query = "query($id: ID!, $skip: Int!, $after: String) { node(id: $id) { ... on ProjectFile {
            newest: versions(first: 1) { nodes { id } } oldest: versions(last: 1) { nodes { id } }
            middle: versions(first: $skip, after: $after) { pageInfo { endCursor } nodes { id } } } } }";
        let (mut to_skip, mut after) = ((file["version"].as_i64().unwrap_or(1) / 2).max(1), Value::Null);
        let data = loop {
            let skip = to_skip.min(100);
            let variables = json!({ "id": file["id"], "skip": skip, "after": after });
            let data = client.request(query, variables).await?.data()?;
            to_skip -= skip;
            if to_skip == 0 {
                break data;
            }
            after = data["node"]["middle"]["pageInfo"]["endCursor"].clone();
        };
        for (ids, name) in ids.iter_mut().zip(["newest", "middle", "oldest"]) {
            let last = data["node"][name]["nodes"].as_array().and_then(|nodes| nodes.last());
            ids.push(last.context("no version")?["id"].clone());
        }
    }
    let mut samples: [Vec<Duration>; 4] = Default::default();
    for _ in 0..ROUNDS {
        for at in 0..files.len() {
            for (samples, ids) in samples.iter_mut().zip(&ids) {
                let query = "query($id: ID!) { node(id: $id) { ... on FileSnapshot { content hash } } }";
                let start = Instant::now();
                client.request(query, json!({ "id": ids[at] })).await?.data()?;
                samples.push(start.elapsed());
            }
        }
    }

    let query = "query($id: ID!) { project(id: $id) { revision } }";
    let data = client.request(query, json!({ "id": project })).await?.data()?;
    let revision = data["project"]["revision"].as_i64().context("no revision")?;
    let restore =
        "mutation($input: RestoreRevisionInput!) { restoreRevision(input: $input) { revision changes { type } } }";
    let mut changes = 0;
    for _ in 0..ROUNDS {
        for to in [revision / 2, revision] {
            let start = Instant::now();
            let input = json!({ "projectId": project, "revision": to });
            let data = client.request(restore, json!({ "input": input })).await?.data()?;
            samples[3].push(start.elapsed());
            changes = data["restoreRevision"]["changes"].as_array().map_or(0, Vec::len);
        }
    }
    let newest = median(&samples[0]);
    let names = ["the newest version", "the middle version", "the oldest version", "restoring the middle revision"];
    for (name, samples) in names.iter().zip(&samples) {
        let worst = samples.iter().max().copied().unwrap_or_default().as_secs_f64() * 1e3;
        let middle = median(samples);
        print!("    {name:<40} {middle:>8.2} {worst:>8.2}   {:.2} {:.2}", middle / newest, worst / newest);
        println!("{}", if *name == names[3] { format!(" ({changes} files)") } else { String::new() });
    }
    Ok(())
}

/// Measures writes of a known size.
async fn measure_writes(kind: Kind) -> anyhow::Result<()> {
    println!("\nmade projects on {kind:?}");
    for (flags, name) in [(COLD, "without a cache"), (&[][..], "with a cache of 32 MiB")] {
        let database = Database::create(kind).await;
        let server = Server::start_with(&database, flags).await;
        let project = Project::create(&server.user(EMAIL), "Two hundred").await;
        let mut revisions = Vec::new();
        for round in 0..20 {
            let files = (0..200).map(|n| {
                let lines: String = (0..80)
                    .map(|line| {
                        format!("line {line} of file {n} as of {}\n", if line % 20 == round { round } else { 0 })
                    })
                    .collect();
                json!({ "path": format!("src/{n}.py"), "content": lines })
            });
            project.write("syncFiles", json!({ "files": files.collect::<Vec<_>>() }), "revision").await;
            revisions.push(project.revision().await);
        }
        let mut samples = Vec::new();
        for round in 0..9 {
            let to = revisions[if round % 2 == 0 { 9 } else { 19 }];
            let start = Instant::now();
            project.write("restoreRevision", json!({ "revision": to }), "revision").await;
            samples.push(start.elapsed());
        }
        println!("  restoring all of 200 files, with {name}: {:.1} ms", median(&samples));
        if flags.is_empty() {
            println!("  detecting renames, up to its limit: {:.0} ms", renames(&project).await);
        }
        server.stop().await;
        database.remove().await;
    }
    Ok(())
}

/// How many milliseconds longer a sync of new files takes if as many files are deleted: their lines are short, which
/// takes longest to compare, and no two files are similar.
async fn renames(project: &Project) -> f64 {
    let files = |round: usize| {
        let files = (0..12_usize).map(|n| {
            let lines: String = (0..120_000_usize).map(|line| format!("{:x}\n", line * 24 + n * 2 + round)).collect();
            json!({ "path": format!("{round}/{n}"), "content": lines })
        });
        files.collect::<Vec<_>>()
    };
    let gone: Vec<String> = (0..12).map(|n| format!("0/{n}")).collect();
    let mut times = Vec::new();
    for (round, deletes) in [(0, vec![]), (1, gone)] {
        let input = json!({ "files": files(round), "deletes": deletes });
        let start = Instant::now();
        project.write("syncFiles", input, "revision").await;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times[1] - times[0]
}

/// In milliseconds.
fn median(samples: &[Duration]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3
}
