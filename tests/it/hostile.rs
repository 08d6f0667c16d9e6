//! Hostile documents, after the lists of graphql-armor, graphql-cop and others: each is answered or refused at once by
//! the limit that it exceeds, and later requests are answered as before.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tests::{
    database::{Database, Kind},
    hostile::corpus,
    project::{Project, text},
    server::{self, ChildServer, Server, memory},
};

/// How long a response can take. Longer in debug builds, where other tests also run at the same time.
const PATIENCE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 20_000 } else { 100 });

/// How much each document can raise the peak of the server's memory, in bytes.
const MEMORY: u64 = 50_000_000;

async fn is_healthy(project: &Project) -> bool {
    project.ask("name").await["name"] == "Kept"
}

/// Sends all documents, and prints for each the time, the rise of the server's peak memory, and the sizes.
async fn send_all(project: &Project, process: u32) {
    let bearer = format!("Bearer {}", project.client.token().unwrap());
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/graphql-response+json"),
        ("authorization", &bearer),
    ];
    let mut wrong = Vec::new();
    let mut most = (Duration::ZERO, 0);
    println!("     time    memory        in       out");
    for (name, request, code, word) in corpus(&project.id) {
        let body = request.to_string();
        let before = forget_peak_memory(process);
        let began = Instant::now();
        let answer = project.client.send("POST", "/graphql", &headers, body.clone()).await;
        let took = began.elapsed();
        let grown = before.zip(memory(process, "VmHWM:")).map(|(before, peak)| peak.saturating_sub(before));
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let (inward, outward, status) = (body.len() as f64 / 1e3, answer.body.len() as f64 / 1e3, answer.status);
        let (ms, mb) = (took.as_secs_f64() * 1e3, grown.map_or(f64::NAN, |grown| grown as f64 / 1e6));
        println!("{ms:6.1} ms {mb:6.1} MB {inward:6.1} kB {outward:6.1} kB  {status}  {name}");
        let answer = answer.graphql().unwrap();
        let given = if answer.errors.is_empty() { "" } else { answer.error_code() };
        let first = answer.errors.first().unwrap_or(&Value::Null);
        let message = first["message"].as_str().unwrap_or_default();
        let is_large = grown.is_some_and(|grown| grown > MEMORY);
        if given != code || !message.contains(word) || took > PATIENCE || is_large {
            wrong.push(format!("{name}: {given:?} in {took:?} and {grown:?} bytes, {message}"));
        }
        most = (most.0.max(took), most.1.max(grown.unwrap_or_default()));
    }
    println!("the most: {:.1} ms, {:.1} MB", most.0.as_secs_f64() * 1e3, most.1 as f64 / 1e6);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Resets the peak of a process's memory to its present use, and returns that. If this is not allowed, the peak covers
/// the whole lifetime.
fn forget_peak_memory(process: u32) -> Option<u64> {
    let _ = std::fs::write(format!("/proc/{process}/clear_refs"), "5");
    memory(process, "VmHWM:")
}

#[test]
fn each_document_is_answered_or_refused_quickly_and_in_little_memory() {
    server::run_with_database(Kind::Sqlite, async |database: Database| {
        let mut child = ChildServer::start(&database);
        let project = Project::create(&child.user("ada@example.com"), "Kept").await;
        assert!(is_healthy(&project).await);
        send_all(&project, child.id()).await;
        assert!(is_healthy(&project).await);
        child.kill();
    });
}

tests::on_sqlite! {
    async fn a_socket_refuses_the_same_documents(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Kept").await;
        let mut socket = project.client.greeted().await;
        for (at, (name, request, code, _)) in corpus(&project.id).into_iter().enumerate() {
            if request.is_array() {
                continue;
            }
            let id = at.to_string();
            socket.send(json!({ "type": "subscribe", "id": id, "payload": request })).await;
            let mut given = String::new();
            loop {
                let message = socket.message().await;
                assert_eq!(message["id"], id, "{name}");
                let error = message["payload"].get(0).or_else(|| message["payload"]["errors"].get(0));
                if let Some(error) = error {
                    given = text(&error["extensions"]["code"]);
                }
                if message["type"] != "next" {
                    break;
                }
            }
            assert_eq!(given, code, "{name}");
        }
        assert!(is_healthy(&project).await);
    }

    async fn an_operation_that_takes_too_long_is_ended(database: Database) {
        let server = Server::start_with(&database, &["--max-operation-seconds=1"]).await;
        let project = Project::create(&server.user("ada@example.com"), "Kept").await;
        // Another connection holds the write lock, so this write cannot start.
        let options = SqliteConnectOptions::new().filename(database.file().unwrap());
        let mut blocker = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut blocker).await.unwrap();
        let answer = project.client.mutate("updateProject", json!({ "id": project.id, "name": "Late" }), "revision").await;
        assert_eq!(answer.error_code(), "QUERY_TOO_COMPLEX");
        assert!(text(&answer.error()["message"]).contains("--max-operation-seconds"), "{answer:?}");
        blocker.close().await.unwrap();
        server.stop().await;
    }

    async fn introspection_can_be_turned_off(database: Database) {
        let server = Server::start_with(&database, &["--introspection=false"]).await;
        let ada = server.user("ada@example.com");
        for query in [
            "{ __schema { queryType { name } } }",
            "{ s: __type(name: \"User\") { name } }",
            "{ ...F } fragment F on Query { ... { __schema { types { name } } } }",
        ] {
            let answer = ada.gql(query, json!({})).await;
            assert_eq!(answer.error_code(), "FORBIDDEN", "{query}");
            assert!(text(&answer.error()["message"]).contains("--introspection"), "{query}");
        }
        let answer = ada.gql("{ viewer { emial } }", json!({})).await;
        assert!(!text(&answer.error()["message"]).contains("email"), "{answer:?}");
        assert_eq!(ada.gql("{ __typename viewer { __typename } }", json!({})).await.ok()["viewer"]["__typename"], "User");
        server.stop().await;
    }
}
