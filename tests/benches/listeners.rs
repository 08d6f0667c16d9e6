//! Measures the cost of subscriptions: a thousand subscribers of one project during a burst of writes, compared with a
//! bare WebSocket of axum that broadcasts the same bytes; the cost of a write with and without them; and the memory of
//! an idle subscriber.
//!
//! ```text
//! ulimit -n 20000; cargo bench -p tests --bench listeners -- [LISTENERS] [IDLE]
//! ```
//!
//! The servers and the bare broadcast are child processes. The subscribers are in this process, and read frames with as
//! little work as possible, since they share the machine with the measured processes. They belong to ten users. The
//! time of a delivery starts before its write is sent. The writes of one project run one after the other, so the rate
//! of writes limits the rate of deliveries: on PostgreSQL it takes more than a thousand subscribers to reach the
//! server's own limit.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use axum::{
    Router,
    body::Bytes,
    extract::ws::{Message, Utf8Bytes, WebSocketUpgrade},
    routing::{get, post},
};
use serde_json::json;
use tests::{
    client::Client,
    database::{self, Database, Kind},
    project::Project,
    server::{ChildServer, serve_if_child, token},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{broadcast, watch},
    task::JoinHandle,
    time::timeout,
};

// The allocator of the server's own executable.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const WRITES: usize = 200;
const WRITERS: usize = 4;
const PEOPLE: usize = 10;
/// How many writes are timed, one after the other, and the time between their starts: a server that was just busy is
/// faster.
const TIMED: usize = 100;
const APART: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(120);

/// Makes this executable run the bare broadcast.
const BARE: &str = "ANTIPHON_BENCH_BARE";

fn main() -> anyhow::Result<()> {
    if serve_if_child() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if env::var_os(BARE).is_some() {
        return runtime.block_on(broadcast_bare());
    }
    database::be_durable();
    let mut numbers = env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let listeners = numbers.next().unwrap_or(1_000);
    let idle = numbers.next().unwrap_or(5_000);
    for kind in [Kind::Sqlite, Kind::Postgres] {
        if kind == Kind::Sqlite || database::postgres_is_here() {
            runtime.block_on(measure(kind, listeners, idle))?;
        }
    }
    Ok(())
}

/// What all subscribers have received.
#[derive(Default)]
struct Received {
    count: AtomicUsize,
    delays: Mutex<Vec<Duration>>,
}

async fn measure(kind: Kind, listeners: usize, idle: usize) -> anyhow::Result<()> {
    println!("\n{kind:?}: {listeners} listeners, {WRITES} writes by {WRITERS} writers");
    let database = Database::create(kind).await;
    let server = ChildServer::start_with_flags(&database, &["--max-user-sockets", "100000"]);
    let ada = server.user("person-0@example.com");
    let project = Project::create(&ada, "Listened to").await;
    let session = project.start_session().await;
    let mut tokens = Vec::new();
    for person in 0..PEOPLE {
        let email = format!("person-{person}@example.com");
        server.user(&email).gql("{ viewer { id } }", json!({})).await.ok();
        if person > 0 {
            database.add_collaborator(&project.id, &email, "viewer", true).await;
        }
        tokens.push(token(&email));
    }
    let host = server.base().trim_start_matches("http://").to_owned();
    let resident_before = server.resident_bytes() as f64;

    let alone = timed_writes(&ada, &session, async |_| {}).await?;
    let starts: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let received = Arc::new(Received::default());
    let (attached, mut attaching) = watch::channel(0);
    let attached = Arc::new(attached);
    let before = project.revision().await;
    let after = before;
    let listen = |token: &str| {
        let query = "subscription($id: ID!, $after: Int) { projectEvents(projectId: $id, afterRevision: $after) { revision kind createdAt actor { id fullName } message { id role content } } }";
        let payload = json!({ "query": query, "variables": { "id": project.id, "after": after } });
        [
            json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {token}") } }).to_string(),
            json!({ "type": "subscribe", "id": "1", "payload": payload }).to_string(),
        ]
    };
    let mut tasks = Vec::new();
    for n in 0..listeners {
        let socket = open(&host, "/graphql/ws", &listen(&tokens[n % PEOPLE])).await?;
        tasks.push(count_events(socket, received.clone(), starts.clone(), attached.clone()));
    }
    attaching.wait_for(|attached| *attached == listeners).await?;
    let all = async |writes: usize| {
        let wanted = writes * listeners;
        let done = async {
            while received.count.load(Ordering::Relaxed) < wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, done).await.with_context(|| format!("{} received", received.count.load(Ordering::Relaxed)))
    };

    // One after the other, each received by all before the next.
    let together = timed_writes(&ada, &session, async |n| all(n + 1).await.expect("all receive it")).await?;
    println!(
        "  a write   {:.2} ms alone, {:.2} ms with {listeners} listeners: {:.2} x",
        ms(alone),
        ms(together),
        together.as_secs_f64() / alone.as_secs_f64()
    );

    let base = received.count.swap(0, Ordering::Relaxed);
    ensure!(base == TIMED * listeners, "{base} received");
    received.delays.lock().expect("no panic").clear();
    let (start, cpu) = (Instant::now(), processor(server.id())?);
    let writers = (0..WRITERS).map(|writer| {
        let (ada, session, starts) = (ada.clone(), session.clone(), starts.clone());
        tokio::spawn(async move {
            for n in 0..WRITES / WRITERS {
                starts.lock().expect("no panic").push(Instant::now());
                add_message(&ada, &session, &format!("{writer} {n} {}", "x".repeat(200))).await.expect("a write");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await?;
    }
    all(WRITES).await?;
    let (time, cpu) = (start.elapsed(), processor(server.id())? - cpu);
    // This includes the writes themselves.
    let ours = report("antiphon", &received, listeners, time, cpu);
    println!(
        "  resident  {:.1} MiB before, {:.1} MiB after",
        mib(resident_before),
        mib(server.resident_bytes() as f64)
    );
    drop(tasks);

    let bare = Bare::start()?;
    let received = Arc::new(Received::default());
    let starts: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let mut tasks = Vec::new();
    for _ in 0..listeners {
        let socket = open(&bare.address, "/ws", &[]).await?;
        tasks.push(count_events(socket, received.clone(), starts.clone(), attached.clone()));
    }
    let payload = json!({ "data": { "projectEvents": {
        "revision": 1_234, "kind": "MESSAGE_ADDED", "createdAt": "2026-01-01T00:00:00.000000Z",
        "actor": { "id": session, "fullName": "person-0" },
        "message": { "id": session, "role": "USER", "content": format!("0 1 {}", "x".repeat(200)) } } } });
    // With the members in the server's order.
    let event = format!(r#"{{"type":"next","id":"1","payload":{payload}}}"#);
    let (start, cpu) = (Instant::now(), processor(bare.process.id())?);
    let publish = Client::new(&format!("http://{}", bare.address), None);
    let writers = (0..WRITERS).map(|_| {
        let (publish, event, starts) = (publish.clone(), event.clone(), starts.clone());
        tokio::spawn(async move {
            for _ in 0..WRITES / WRITERS {
                starts.lock().expect("no panic").push(Instant::now());
                publish.send("POST", "/publish", &[], event.clone()).await.expect("published");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await?;
    }
    let wanted = WRITES * listeners;
    let done = async {
        while received.count.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, done).await.context("the bare broadcast is not received")?;
    let (time, cpu) = (start.elapsed(), processor(bare.process.id())? - cpu);
    let theirs = report("bare axum", &received, listeners, time, cpu);
    println!("  of the bare broadcast's deliveries: {:.2}", ours / theirs);
    drop((tasks, bare));

    let server = ChildServer::start_with_flags(&database, &["--max-user-sockets", "100000"]);
    let host = server.base().trim_start_matches("http://").to_owned();
    server.user("person-0@example.com").gql("{ viewer { id } }", json!({})).await.ok();
    let (before, after) =
        (server.resident_bytes() as f64, project.of(&server.user("person-0@example.com")).revision().await);
    let mut sockets = Vec::new();
    let query =
        "subscription($id: ID!, $after: Int) { projectEvents(projectId: $id, afterRevision: $after) { revision } }";
    for n in 0..idle {
        let payload = json!({ "query": query, "variables": { "id": project.id, "after": after - 1 } });
        let init = json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {}", tokens[n % PEOPLE]) } });
        let subscribe = json!({ "type": "subscribe", "id": "1", "payload": payload });
        let mut socket = open(&host, "/graphql/ws", &[init.to_string(), subscribe.to_string()]).await?;
        // The last event has arrived, so the subscription is attached.
        while !socket.next().await?.windows(10).any(|bytes| bytes == b"\"revision\"") {}
        sockets.push(socket);
    }
    let each = (server.resident_bytes() as f64 - before) / idle as f64 / 1024.0;
    println!("  idle      {idle} listeners take {each:.1} KiB each");
    database.remove().await;
    Ok(())
}

async fn add_message(client: &Client, session: &str, content: &str) -> anyhow::Result<()> {
    let query = "mutation($input: AddMessageInput!) { addMessage(input: $input) { revision } }";
    let input = json!({ "sessionId": session, "role": "USER", "content": content });
    client.request(query, json!({ "input": input })).await?.data().map(drop)
}

/// The median time of writes, one after the other.
async fn timed_writes(client: &Client, session: &str, received: impl AsyncFn(usize)) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    let mut ticks = tokio::time::interval(APART);
    for n in 0..TIMED {
        ticks.tick().await;
        let start = Instant::now();
        add_message(client, session, &format!("timed {n}")).await?;
        times.push(start.elapsed());
        received(n).await;
    }
    times.sort();
    Ok(times[TIMED / 2])
}

fn report(name: &str, received: &Received, listeners: usize, time: Duration, cpu: f64) -> f64 {
    let deliveries = (WRITES * listeners) as f64;
    let mut delays = received.delays.lock().expect("no panic");
    delays.sort();
    let p99 = delays.get(delays.len() * 99 / 100).copied().unwrap_or_default();
    let (rate, each) = (deliveries / time.as_secs_f64(), cpu * 1e6 / deliveries);
    println!("  {name:<9} {rate:.0} deliveries/s, p99 {:.0} ms, {each:.1} us of processor time each", ms(p99));
    rate
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(bytes: f64) -> f64 {
    bytes / 1024.0 / 1024.0
}

/// Counts the events of a socket, as long as the task runs.
fn count_events(
    mut socket: Frames,
    received: Arc<Received>,
    starts: Arc<Mutex<Vec<Instant>>>,
    attached: Arc<watch::Sender<usize>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok(frame) = socket.next().await {
            if frame.starts_with(br#"{"type":"next""#) {
                let start = starts.lock().expect("no panic").get(count).copied();
                if let Some(start) = start {
                    received.delays.lock().expect("no panic").push(start.elapsed());
                    count += 1;
                }
                received.count.fetch_add(1, Ordering::Relaxed);
            } else if frame.starts_with(br#"{"type":"connection_ack""#) {
                attached.send_modify(|attached| *attached += 1);
            }
        }
    })
}

/// A WebSocket that only reads frames.
struct Frames {
    stream: TcpStream,
    buffer: Vec<u8>,
    at: usize,
}

/// Connects and sends these messages.
async fn open(host: &str, path: &str, messages: &[String]) -> anyhow::Result<Frames> {
    let mut stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: graphql-transport-ws\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    ensure!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    for message in messages {
        // A text frame with a mask of zeros (RFC 6455, section 5.2).
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(u16::try_from(message.len())?.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(message.as_bytes());
        stream.write_all(&frame).await?;
    }
    Ok(Frames { stream, buffer: Vec::new(), at: 0 })
}

impl Frames {
    /// The payload of the next frame.
    async fn next(&mut self) -> io::Result<&[u8]> {
        loop {
            let rest = &self.buffer[self.at..];
            let length = match rest {
                [_, length, ..] if *length < 126 => Some((2, usize::from(*length))),
                [_, 126, high, low, ..] => Some((4, usize::from(u16::from_be_bytes([*high, *low])))),
                _ => None,
            };
            if let Some((head, length)) = length.filter(|(head, length)| rest.len() >= head + length) {
                let start = self.at + head;
                self.at = start + length;
                return Ok(&self.buffer[start..start + length]);
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The process of the bare broadcast.
struct Bare {
    process: Child,
    address: String,
}

impl Bare {
    fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let mut process = command.env(BARE, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        BufReader::new(process.stdout.take().context("a pipe")?).read_line(&mut address)?;
        Ok(Self { process, address: address.trim().to_owned() })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends each posted body to all connected clients, until standard input ends.
async fn broadcast_bare() -> anyhow::Result<()> {
    let (sender, _) = broadcast::channel::<Utf8Bytes>(1_024);
    let publisher = sender.clone();
    let router = Router::new()
        .route(
            "/ws",
            get(async move |upgrade: WebSocketUpgrade| {
                let mut messages = sender.subscribe();
                upgrade.protocols(["graphql-transport-ws"]).on_upgrade(async move |mut socket| {
                    while let Ok(message) = messages.recv().await {
                        if socket.send(Message::Text(message)).await.is_err() {
                            break;
                        }
                    }
                })
            }),
        )
        .route(
            "/publish",
            post(async move |body: Bytes| {
                if let Ok(text) = Utf8Bytes::try_from(body) {
                    let _ = publisher.send(text);
                }
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let end = async {
        let _ = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await;
    };
    tokio::select! {
        served = axum::serve(listener, router).into_future() => Ok(served?),
        () = end => Ok(()),
    }
}

/// Processor time of a process, in seconds: fields 14 and 15 of `/proc/ID/stat` (proc(5)), in hundredths.
fn processor(id: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("no stat")?;
    let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}
