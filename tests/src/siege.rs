//! Hostile users and an ordinary user at the same time. The attacks are bodies and documents that are small to send and
//! large to process. The report has the responses to each attack, the times and errors of the ordinary user, and the
//! peak of the server's memory.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{SinkExt, StreamExt};
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::{
    client::Client,
    hostile::corpus,
    project::Project,
    server::{ChildServer, memory, token},
    socket::PATIENCE,
};

const MIB: usize = 1024 * 1024;

/// The size of a siege.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Files of 10 MiB in the attacked project.
    pub large_files: usize,
    /// Files in each sync.
    pub synced_files: usize,
    /// Sockets with subscriptions that nobody reads.
    pub sockets: usize,
    /// Subscriptions on each of them.
    pub subscriptions: usize,
    /// Attackers of each kind; some kinds have a multiple of it.
    pub attackers: usize,
    /// The minimum duration of the siege.
    pub time: Duration,
    /// The minimum number of requests of the ordinary user.
    pub rounds: usize,
}

/// The result of a siege.
#[derive(Debug, Default)]
pub struct Report {
    /// The responses to each attack (`answered`, a status or a code), with their counts.
    pub attacks: BTreeMap<&'static str, BTreeMap<String, usize>>,
    /// Times of the ordinary user's reads, sorted.
    pub reads: Vec<Duration>,
    /// Times of the ordinary user's writes, sorted.
    pub writes: Vec<Duration>,
    /// Times of `/healthz`, sorted.
    pub health: Vec<Duration>,
    /// Errors that the ordinary user got.
    pub failures: Vec<String>,
    /// Peak of the server's resident memory in bytes; 0 if the system does not provide it.
    pub peak: u64,
}

impl Report {
    /// The attacks with a response that is always a bug.
    pub fn bugs(&self) -> Vec<String> {
        let is_bug = |answer: &str| answer == "INTERNAL" || answer.starts_with("500");
        let attacks = self.attacks.iter().flat_map(|(name, answers)| answers.keys().map(move |answer| (name, answer)));
        attacks.filter(|(_, answer)| is_bug(answer)).map(|(name, answer)| format!("{name}: {answer}")).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, answers) in &self.attacks {
            let answers: Vec<_> = answers.iter().map(|(answer, count)| format!("{count} {answer}")).collect();
            writeln!(f, "  {name}: {}", answers.join(", "))?;
        }
        for (name, times) in [("reads", &self.reads), ("writes", &self.writes), ("/healthz", &self.health)] {
            let at = |share: f64| times.get((times.len().saturating_sub(1) as f64 * share) as usize).copied();
            let ms = |share| at(share).unwrap_or_default().as_secs_f64() * 1e3;
            let (p50, p99, most) = (ms(0.5), ms(0.99), ms(1.0));
            writeln!(f, "  {name}: {} times, p50 {p50:.1} ms, p99 {p99:.1} ms, longest {most:.1} ms", times.len())?;
        }
        writeln!(f, "  refused to the ordinary user: {}", self.failures.len())?;
        write!(f, "  peak of resident memory: {} MiB", self.peak / MIB as u64)
    }
}

/// What all tasks share.
#[derive(Clone)]
struct Siege {
    base: String,
    report: Arc<Mutex<Report>>,
    is_over: Arc<AtomicBool>,
}

impl Siege {
    fn user(&self, name: &str) -> Client {
        Client::new(&self.base, Some(token(&format!("{name}@example.com"))))
    }

    fn change(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Repeats an attack until the siege is over.
    fn repeat<F>(&self, tasks: &mut JoinSet<()>, name: &'static str, attack: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = String> + Send,
    {
        let siege = self.clone();
        tasks.spawn(async move {
            while !siege.is_over() {
                let answer = attack().await;
                siege.change(|report| {
                    *report.attacks.entry(name).or_default().entry(answer).or_default() += 1;
                });
                // A refused client waits a moment, as a patient attacker does.
                sleep(Duration::from_millis(5)).await;
            }
        });
    }
}

/// Runs the siege against a server on a fresh database.
///
/// # Panics
/// If the attacks cannot be prepared.
pub async fn run(server: &ChildServer, scale: Scale) -> Report {
    let siege = Siege { base: server.base().to_owned(), report: Arc::default(), is_over: Arc::default() };
    let eve = siege.user("eve");
    let large = Project::create(&eve, "Large").await;
    for n in 0..scale.large_files {
        large.create_file(&format!("{n}.txt"), &"a\n".repeat(5 * MIB)).await;
    }
    large.update_file("0.txt", &"b\n".repeat(5 * MIB)).await;
    let mine = Project::create(&siege.user("ada"), "Mine").await;
    mine.create_file("main.py", "print(0)\n").await;
    // Count from here: resets the peak (proc(5)).
    let _ = std::fs::write(format!("/proc/{}/clear_refs", server.id()), "5");

    let mut tasks = JoinSet::new();
    bodies(&siege, &mut tasks, scale.attackers);
    contents(&siege, &mut tasks, &large, scale.attackers);
    documents(&siege, &mut tasks, &large);
    syncs(&siege, &mut tasks, scale).await;
    sockets(&siege, &mut tasks, scale).await;
    ordinary_user(&siege, &mine, scale).await;
    siege.is_over.store(true, Ordering::Relaxed);
    let ended = async { while tasks.join_next().await.is_some() {} };
    if timeout(Duration::from_secs(60), ended).await.is_err() {
        tasks.shutdown().await;
    }
    let mut report = std::mem::take(&mut *siege.report.lock().unwrap_or_else(PoisonError::into_inner));
    for times in [&mut report.reads, &mut report.writes, &mut report.health] {
        times.sort_unstable();
    }
    report.peak = memory(server.id(), "VmHWM:").unwrap_or_default();
    report
}

/// Reads, writes and requests `/healthz` 50 times a second.
async fn ordinary_user(siege: &Siege, mine: &Project, scale: Scale) {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < scale.time || count < scale.rounds {
        count += 1;
        let read = Instant::now();
        let query = "query($id: ID!) { project(id: $id) { name files(first: 20) { nodes { path version } } } }";
        let mut errors = mine.client.gql(query, json!({ "id": mine.id })).await.errors;
        let written = Instant::now();
        let input = json!({ "path": "main.py", "content": format!("print({count})\n") });
        errors.extend(mine.mutate("updateFile", input, "revision").await.errors);
        let checked = Instant::now();
        let health = mine.client.send("GET", "/healthz", &[], "").await.map(|raw| raw.status);
        siege.change(|report| {
            report.reads.push(written - read);
            report.writes.push(checked - written);
            report.health.push(checked.elapsed());
            report.failures.extend(errors.iter().map(Value::to_string));
            report.failures.extend(health.err().map(|error| error.to_string()));
        });
        sleep(Duration::from_millis(20).saturating_sub(read.elapsed())).await;
    }
}

/// The code of the first error, `answered`, or a status.
async fn post(client: &Client, body: impl Into<Bytes>, encoding: &str) -> String {
    let bearer = client.token().map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json"), ("content-encoding", encoding)];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    headers.retain(|(_, value)| !value.is_empty());
    match client.send("POST", "/graphql", &headers, body).await {
        Ok(raw) => match raw.graphql() {
            Ok(answer) if answer.errors.is_empty() => "answered".to_owned(),
            Ok(answer) => answer.error_code().to_owned(),
            Err(_) => raw.status.to_string(),
        },
        // The server can close a connection instead of reading a large body.
        Err(_) => "closed".to_owned(),
    }
}

async fn ask(client: &Client, query: &str) -> String {
    post(client, json!({ "query": query }).to_string(), "").await
}

/// Compressed bodies: numbers, without a token and as a user, and blanks that arrive slowly.
fn bodies(siege: &Siege, tasks: &mut JoinSet<()>, attackers: usize) {
    let compressed = |text: String| Bytes::from(zstd::encode_all(text.as_bytes(), 3).unwrap_or_default());
    let numbers = |count: usize| {
        let numbers = format!("{}1", "1,".repeat(count - 1));
        compressed(format!(r#"{{"query":"{{__typename}}","variables":{{"a":[{numbers}]}}}}"#))
    };
    let (anyone, user) = (numbers(16 * MIB), numbers(8_000_000));
    for _ in 0..attackers * 2 {
        let (client, body) = (Client::new(&siege.base, None), anyone.clone());
        siege.repeat(tasks, "32 MiB of numbers without a token", move || {
            let (client, body) = (client.clone(), body.clone());
            async move { post(&client, body, "zstd").await }
        });
    }
    for n in 0..attackers {
        let (client, body) = (siege.user(&format!("numbers{n}")), user.clone());
        siege.repeat(tasks, "8 million numbers as variables", move || {
            let (client, body) = (client.clone(), body.clone());
            async move { post(&client, body, "zstd").await }
        });
    }
    let blanks = compressed(" ".repeat(32 * MIB));
    for n in 0..attackers * 15 {
        let (siege, blanks) = (siege.clone(), blanks.clone());
        let address = siege.base.trim_start_matches("http://").to_owned();
        let bearer =
            if n % 2 == 0 { format!("authorization: Bearer {}\r\n", token("slow@example.com")) } else { String::new() };
        siege.clone().repeat(tasks, "blanks that come slowly", move || {
            let (siege, address, bearer, blanks) = (siege.clone(), address.clone(), bearer.clone(), blanks.clone());
            async move { drip(&siege, &address, &bearer, &blanks).await.unwrap_or_else(|_| "closed".to_owned()) }
        });
    }
}

/// Sends a body almost to its end, and then a byte a second. Returns the status.
async fn drip(siege: &Siege, address: &str, bearer: &str, body: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len() + 1_000;
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\n{bearer}content-type: application/json\r\ncontent-encoding: zstd\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = [0; 12];
    while !siege.is_over() {
        match timeout(Duration::from_secs(1), stream.read_exact(&mut answer)).await {
            Ok(read) => {
                read?;
                return Ok(String::from_utf8_lossy(&answer).rsplit(' ').next().unwrap_or_default().to_owned());
            }
            Err(_) => stream.write_all(b" ").await?,
        }
    }
    Ok("still open at the end".to_owned())
}

/// Large contents under many aliases, and diffs that take long.
fn contents(siege: &Siege, tasks: &mut JoinSet<()>, large: &Project, attackers: usize) {
    let of_project = |select: &str| format!("{{ project(id: \"{}\") {{ {select} }} }}", large.id);
    let aliases = |count: usize, field: &str| (0..count).map(|n| format!("a{n}: {field} ")).collect::<String>();
    let attacks: [(&'static str, String); 4] = [
        ("contents of all files", of_project("files(first: 60) { nodes { content } }")),
        ("contents under 99 aliases", of_project(&aliases(99, "files(first: 60) { nodes { content } }"))),
        ("line changes of a file of 10 MiB", of_project("changes(first: 1) { nodes { lineChanges } }")),
        (
            "10 diffs of a file of 10 MiB",
            of_project(&aliases(10, "file(path: \"0.txt\") { versions(first: 2) { nodes { diff } } }")),
        ),
    ];
    for (name, query) in attacks {
        for _ in 0..attackers {
            let (client, query) = (large.client.clone(), query.clone());
            siege.repeat(tasks, name, move || {
                let (client, query) = (client.clone(), query.clone());
                async move { ask(&client, &query).await }
            });
        }
    }
}

fn documents(siege: &Siege, tasks: &mut JoinSet<()>, large: &Project) {
    let requests: Vec<String> = corpus(&large.id).into_iter().map(|(_, request, ..)| request.to_string()).collect();
    let requests = Arc::new(requests);
    for n in 0..2 {
        let (client, requests) = (siege.user(&format!("documents{n}")), requests.clone());
        let next = Arc::new(std::sync::atomic::AtomicUsize::new(n));
        siege.repeat(tasks, "hostile documents", move || {
            let (client, requests, next) = (client.clone(), requests.clone(), next.clone());
            async move {
                let n = next.fetch_add(2, Ordering::Relaxed);
                match requests.get(n % requests.len()) {
                    Some(request) => post(&client, request.clone(), "").await,
                    None => "answered".to_owned(),
                }
            }
        });
    }
}

/// Many syncs at once of one user.
async fn syncs(siege: &Siege, tasks: &mut JoinSet<()>, scale: Scale) {
    let client = siege.user("bob");
    for n in 0..scale.attackers * 5 {
        let project = Project::create(&client, &format!("Sync {n}")).await;
        let round = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        siege.repeat(tasks, "syncs of many files at once", move || {
            let (project, round) = (project.clone(), round.fetch_add(1, Ordering::Relaxed));
            async move {
                let file = |file: usize| json!({ "path": format!("src/{}/{file}.py", file % 50), "content": format!("x = {file}\ny = {round}\n") });
                let files: Vec<_> = (0..scale.synced_files).map(file).collect();
                let answer = project.mutate("syncFiles", json!({ "files": files }), "revision").await;
                if answer.errors.is_empty() { "answered".to_owned() } else { answer.error_code().to_owned() }
            }
        });
    }
}

/// Subscriptions that differ in one alias on sockets that nobody reads, and large messages before `connection_init`.
async fn sockets(siege: &Siege, tasks: &mut JoinSet<()>, scale: Scale) {
    let mallory = Project::create(&siege.user("mallory"), "Echoes").await;
    let session = mallory.start_session().await;
    siege.repeat(tasks, "subscriptions that nobody reads", move || {
        let (project, session) = (mallory.clone(), session.clone());
        async move {
            let mut open = Vec::new();
            for socket in 0..scale.sockets {
                let mut greeted = project.client.greeted().await;
                for n in 0..scale.subscriptions {
                    let query = format!(
                        "subscription($id: ID!) {{ messageAdded(sessionId: $id) {{ a{socket}x{n}: content }} }}"
                    );
                    greeted.start(&n.to_string(), &query, json!({ "id": session })).await;
                }
                open.push(greeted);
            }
            let mut answer = "answered".to_owned();
            for letter in ["a", "b", "c"] {
                let input = json!({ "sessionId": session, "role": "ASSISTANT", "content": letter.repeat(MIB) });
                let added = project.client.mutate("addMessage", input, "revision").await;
                if !added.errors.is_empty() {
                    added.error_code().clone_into(&mut answer);
                }
            }
            answer
        }
    });
    for _ in 0..scale.attackers {
        let base = siege.base.clone();
        siege.repeat(tasks, "messages before connection_init", move || {
            let base = base.clone();
            async move { flood(&base).await.unwrap_or_else(|_| "closed".to_owned()) }
        });
    }
}

/// Sends a large first message; returns the answer.
async fn flood(base: &str) -> anyhow::Result<String> {
    let mut request = format!("{}/graphql/ws", base.replacen("http", "ws", 1)).into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
    let (mut socket, _) = connect_async(request).await?;
    socket.send(Message::text(" ".repeat(8 * MIB))).await?;
    Ok(match timeout(PATIENCE, socket.next()).await? {
        Some(Ok(Message::Close(Some(frame)))) => format!("closed with {}", u16::from(frame.code)),
        _ => "closed".to_owned(),
    })
}
