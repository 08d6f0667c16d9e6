//! Given two servers on one PostgreSQL and subscribers on both, when connections are cut, a server is killed again and
//! again, and the database (and NATS, if used) restarts, then every subscriber ends with every revision once and in
//! order.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tests::{
    client::Client,
    database::{self, Database},
    nats::Nats,
    project::{Project, number},
    server::{ChildServer, token},
    workload::Random,
};
use tokio::{sync::watch, time::timeout};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

const LISTENERS: usize = 20;
const WRITERS: usize = 4;
/// More than the 256 entries of a log that a server keeps in memory.
const WRITES: usize = 400;
/// How often each subscriber's connection is cut: 100 times in all.
const CUTS: usize = 5;
const KILLS: usize = 4;

/// The longest time without an event or a successful write.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long a refused client waits before it tries again.
const PAUSE: Duration = Duration::from_millis(50);

const PEOPLE: [&str; 3] = ["ada@example.com", "bob@example.com", "eve@example.com"];

/// The present addresses of the servers; a dead server keeps its address.
#[derive(Clone)]
struct Servers(Arc<Mutex<[String; 2]>>);

impl Servers {
    fn base(&self, index: usize) -> String {
        self.0.lock().unwrap()[index % 2].clone()
    }
}

/// Writes its share of messages, each once, to any server that accepts it.
async fn write(servers: Servers, session: String, writer: usize, done: Arc<watch::Sender<usize>>) {
    let query = "mutation($input: AddMessageInput!) { addMessage(input: $input) { revision } }";
    for n in 0..WRITES / WRITERS {
        let text = format!("{writer} {n}");
        let input = json!({ "sessionId": session, "role": "USER", "content": text, "idempotencyKey": text });
        let mut tries = 0;
        let written = async {
            loop {
                let client = Client::new(&servers.base(writer + n + tries), Some(token(PEOPLE[0])));
                match client.request(query, json!({ "input": input })).await.and_then(|answer| answer.data()) {
                    Ok(data) => return number(&data["addMessage"]["revision"]),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
                tries += 1;
            }
        };
        timeout(PATIENCE, written).await.expect("a server accepts the write");
        done.send_modify(|done| *done += 1);
    }
}

/// Receives everything up to the last revision, and reconnects whenever its connection ends.
async fn listen(servers: Servers, project: String, listener: usize, last: i64, connections: Arc<AtomicUsize>) {
    // The viewer's own address is null for others: these subscribers share nothing with others.
    let select = ["revision", "revision message { content }", "revision actor { email }"][listener % 3];
    let query = format!(
        "subscription($id: ID!, $after: Int) {{ projectEvents(projectId: $id, afterRevision: $after) {{ {select} }} }}"
    );
    let person = PEOPLE[listener % PEOPLE.len()];
    let mut random = Random(listener as u64);
    let mut cuts: Vec<i64> = (0..CUTS).map(|_| random.below(last as usize - 10) as i64).collect();
    cuts.sort_unstable();
    let mut received = 0_i64;
    let mut tries = listener;
    while received < last {
        tries += 1;
        let mut request =
            format!("{}/graphql/ws", servers.base(tries).replacen("http", "ws", 1)).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
        let Ok(Ok((mut socket, _))) = timeout(PATIENCE, connect_async(request)).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        connections.fetch_add(1, Ordering::Relaxed);
        let variables = json!({ "id": project, "after": received });
        for message in [
            json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {}", token(person)) } }),
            json!({ "type": "subscribe", "id": "1", "payload": { "query": query, "variables": variables } }),
        ] {
            // If the socket is dead already, the next read fails.
            let _ = socket.send(Message::text(message.to_string())).await;
        }
        while received < last {
            let next = timeout(PATIENCE, socket.next()).await;
            let next =
                next.unwrap_or_else(|_| panic!("subscriber {listener} received nothing after revision {received}"));
            let Some(Ok(message)) = next else { break };
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            match message["type"].as_str() {
                Some("connection_ack") => continue,
                // The database was down during the execution: reconnect and request the missed events again.
                Some("next") if message["payload"]["errors"].is_array() => break,
                Some("next") => {}
                _ => break,
            }
            let revision = number(&message["payload"]["data"]["projectEvents"]["revision"]);
            assert_eq!(revision, received + 1, "listener {listener}: {text}");
            received = revision;
            if cuts.first().is_some_and(|cut| *cut < received) {
                cuts.remove(0);
                break;
            }
        }
    }
    assert!(cuts.is_empty());
}

/// The faults, one after the other.
#[derive(Clone, Copy)]
enum Fault {
    Kill,
    RestartDatabase,
    RestartNats,
}

fn survive(flags: &[&str], mut nats: Option<Nats>) {
    if !database::postgres_is_here() {
        return;
    }
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Database::alone().await;
        let start = async || {
            let (database, flags) = (database.clone(), flags.clone());
            let start = move || {
                let flags: Vec<_> = flags.iter().map(String::as_str).collect();
                ChildServer::start_with_flags(&database, &flags)
            };
            tokio::task::spawn_blocking(start).await.unwrap()
        };
        let (mut one, other) = (start().await, start().await);
        let project = Project::create(&one.user(PEOPLE[0]), "Chaos").await;
        let session = project.start_session().await;
        for person in &PEOPLE[1..] {
            one.user(person).gql("{ viewer { id } }", json!({})).await.ok();
            database.add_collaborator(&project.id, person, "viewer", true).await;
        }
        let last = project.revision().await + WRITES as i64;
        let servers = Servers(Arc::new(Mutex::new([one.base().to_owned(), other.base().to_owned()])));

        let connections = Arc::new(AtomicUsize::new(0));
        let listener =
            |listener| tokio::spawn(listen(servers.clone(), project.id.clone(), listener, last, connections.clone()));
        let listeners: Vec<_> = (0..LISTENERS).map(listener).collect();
        let (done, mut progress) = watch::channel(0);
        let done = Arc::new(done);
        let writer = |writer| tokio::spawn(write(servers.clone(), session.clone(), writer, done.clone()));
        let writers: Vec<_> = (0..WRITERS).map(writer).collect();

        let mut blows = vec![Fault::Kill; KILLS];
        blows.insert(3, Fault::RestartDatabase);
        if nats.is_some() {
            blows.insert(2, Fault::RestartNats);
        }
        for (at, blow) in blows.iter().enumerate() {
            progress.wait_for(|done| *done >= WRITES * (at + 1) / (blows.len() + 1)).await.unwrap();
            match (blow, &mut nats) {
                (Fault::RestartDatabase, _) => database.restart().await,
                (Fault::RestartNats, Some(nats)) => {
                    nats.kill();
                    nats.resume();
                }
                _ => {
                    one.kill();
                    one = start().await;
                    servers.0.lock().unwrap()[0] = one.base().to_owned();
                }
            }
        }
        for writer in writers {
            writer.await.unwrap();
        }
        for listener in listeners {
            listener.await.unwrap();
        }
        let connections = connections.load(Ordering::Relaxed);
        assert!(connections >= LISTENERS * (CUTS + 1), "{connections}");
        let project = project.of(&other.user(PEOPLE[0]));
        assert_eq!(project.revision().await, last);
    });
}

#[test]
fn every_subscriber_receives_every_revision_once_and_in_order_through_all_faults() {
    survive(&["--sweep-seconds", "2"], None);
}

#[test]
fn the_same_without_notifications() {
    survive(&["--sweep-seconds", "1", "--notify", "false"], None);
}

#[test]
fn the_same_with_nats() {
    let Some(nats) = Nats::start() else { return };
    survive(&["--sweep-seconds", "2", "--nats-url", &nats.url()], Some(nats));
}
