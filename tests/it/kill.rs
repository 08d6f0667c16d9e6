//! Given a write under way, when the server dies or its client disconnects, then acknowledged writes are stored, and
//! others are stored completely or not at all.

use std::sync::Arc;

use hyper_util::client::legacy;
use serde_json::{Value, json};
use tests::{
    client::Client,
    database::Database,
    replay::Replay,
    server::{ChildServer, Server},
    workload,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

/// The revisions of a project's log, page by page.
async fn log(client: &Client, project: &str) -> Vec<u64> {
    let query =
        "query($id: ID!, $after: Int!) { project(id: $id) { events(afterRevision: $after, first: 100) { revision } } }";
    let mut revisions = Vec::new();
    loop {
        let after = revisions.last().copied().unwrap_or(0);
        let data = client.gql(query, json!({ "id": project, "after": after })).await.ok();
        let page = data["project"]["events"].as_array().expect("a page").clone();
        if page.is_empty() {
            return revisions;
        }
        revisions.extend(page.iter().map(|event| event["revision"].as_u64().expect("a revision")));
    }
}

async fn revision(client: &Client, project: &str) -> u64 {
    let data = client.gql("query($id: ID!) { project(id: $id) { revision } }", json!({ "id": project })).await.ok();
    data["project"]["revision"].as_u64().expect("a revision")
}

tests::on_both! {
    async fn acknowledged_writes_survive_a_killed_server(database: Database) {
        let stream = Arc::new(workload::agent_session(2));
        let mut server = ChildServer::start(&database);
        for turns in [3, 10, 20] {
            // Given a replay that is killed while it writes …
            let client = server.user("ada@example.com");
            let mut replay = Replay::begin(&client, "Killed").await.unwrap();
            let (progress, mut watcher) = watch::channel(0);
            let writer = tokio::spawn({
                let stream = stream.clone();
                async move {
                    for turn in &stream.turns {
                        if let Err(error) = replay.turn(turn).await {
                            return (replay, error);
                        }
                        progress.send_replace(turn.seq);
                    }
                    panic!("the server was not killed");
                }
            });
            let _ = watcher.wait_for(|done| *done >= turns).await;
            server.kill();
            let (replay, error) = writer.await.unwrap();
            assert!(replay.done.len() >= turns as usize, "ended before it was killed: {error:#}");
            assert!(error.chain().any(|cause| cause.is::<hyper::Error>() || cause.is::<legacy::Error>()), "{error:#}");

            // … when the server starts again on the same database …
            server = ChildServer::start(&database);
            let client = server.user("ada@example.com");
            let replay = replay.continue_as(&client);

            // … then all acknowledged writes are stored, and at most the write under way in addition; and the replay
            // continues.
            let now = revision(&client, &replay.id).await;
            let acknowledged = u64::from(replay.revision);
            assert!(now == acknowledged || now == acknowledged + 1, "revision {now}, acknowledged {acknowledged}");
            assert_eq!(log(&client, &replay.id).await, (1..=now).collect::<Vec<_>>());
            for turn in stream.turns.iter().take(replay.done.len()) {
                replay.check_turn(turn).await.unwrap_or_else(|error| panic!("turn {}: {error:#}", turn.seq));
            }
            let query = "mutation($input: UpdateProjectInput!) { updateProject(input: $input) { revision } }";
            let data = client.gql(query, json!({ "input": { "id": replay.id, "description": "Goes on" } })).await.ok();
            assert_eq!(data["updateProject"]["revision"], now + 1);
        }
    }

    async fn a_disconnected_clients_write_is_stored_completely_or_not_at_all(database: Database) {
        const FILES: u64 = 40;
        let server = Server::start(&database).await;
        let ada = server.user("ada@example.com");
        let project = Replay::begin(&ada, "Hung up").await.unwrap().id;
        let before = revision(&ada, &project).await;

        // Given clients that disconnect during their request or the response, each at another moment …
        let mut whole = 0;
        let attempts = 24;
        for attempt in 0..attempts {
            let files: Vec<Value> =
                (0..FILES).map(|n| json!({ "path": format!("try-{attempt}/{n}.txt"), "content": format!("{n}") })).collect();
            let query = "mutation($input: SyncFilesInput!) { syncFiles(input: $input) { revision } }";
            let variables = json!({ "input": { "projectId": project, "files": files } });
            let body = json!({ "query": query, "variables": variables }).to_string();
            let head = format!(
                "POST /graphql HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n",
                server.address(),
                ada.token().unwrap(),
                body.len(),
            );
            let mut connection = TcpStream::connect(server.address()).await.unwrap();
            connection.write_all(head.as_bytes()).await.unwrap();
            if attempt % 4 == 3 {
                connection.write_all(&body.as_bytes()[..body.len() / 2]).await.unwrap();
            } else {
                connection.write_all(body.as_bytes()).await.unwrap();
                whole += 1;
            }
            // The reads take the time of a few round trips, so some clients disconnect later than others.
            for _ in 0..attempt / 4 {
                revision(&ada, &project).await;
            }
            if attempt % 8 == 0 {
                let mut first = [0];
                connection.read_exact(&mut first).await.unwrap();
            }
        }

        // … when all requests have ended …
        server.stop().await;
        let server = Server::start(&database).await;
        let ada = server.user("ada@example.com");

        // … then each client has left all of its files in one revision, or nothing.
        let mut written = 0;
        for attempt in 0..attempts {
            let query = "query($id: ID!, $under: String!) { project(id: $id) {
                files(under: $under, first: 500) { nodes { type } } } }";
            let data = ada.gql(query, json!({ "id": project, "under": format!("try-{attempt}") })).await.ok();
            let nodes = data["project"]["files"]["nodes"].as_array().unwrap();
            let files = nodes.iter().filter(|file| file["type"] == "FILE").count() as u64;
            assert!(files == 0 || files == FILES, "attempt {attempt} has left {files} files");
            assert!(files == 0 || attempt % 4 != 3, "part of a request was executed");
            assert!(files == FILES || attempt % 8 != 0, "attempt {attempt} was acknowledged but is not stored");
            written += files / FILES;
        }
        assert!(written <= whole);
        let now = revision(&ada, &project).await;
        assert_eq!(now, before + written);
        assert_eq!(log(&ada, &project).await, (1..=now).collect::<Vec<_>>());
        server.stop().await;
    }
}
