//! Given a budget of bytes for an operation, when it loads or returns more, then it is refused before that takes
//! memory, and the error names the setting.

use std::time::Duration;

use serde_json::json;
use tests::{
    client::{Client, Raw},
    database::{Database, Kind},
    project::Project,
    server::{Server, run_with_database, run_with_server},
    socket::Frame,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// Bytes of an operation.
const BUDGET: usize = 1_000_000;

async fn start(database: &Database) -> (Server, Project) {
    let server = Server::start_with(database, &[&format!("--max-operation-bytes={BUDGET}")]).await;
    let project = Project::create(&server.user("ada@example.com"), "Large").await;
    (server, project)
}

async fn passes(client: &Client, query: &str) {
    let answer = client.gql(query, json!({})).await;
    assert_eq!(answer.errors.len(), 0, "{query}: {:?}", answer.errors);
}

async fn is_refused(client: &Client, query: &str) {
    let answer = client.gql(query, json!({})).await;
    let error = answer.error();
    assert_eq!(error["extensions"]["code"], "QUERY_TOO_COMPLEX", "{query}: {error}");
    assert!(error["message"].as_str().unwrap().contains("--max-operation-bytes"), "{error}");
    let code = |error: &serde_json::Value| error["extensions"]["code"] == "QUERY_TOO_COMPLEX";
    assert!(answer.errors.iter().all(code), "{:?}", answer.errors);
}

fn aliases(count: usize, field: &str) -> String {
    (0..count).map(|n| format!("a{n}: {field} ")).collect()
}

tests::on_both! {
    async fn contents_that_compress_well_are_counted_by_their_size(database: Database) {
        let (server, project) = start(&database).await;
        let (ada, id) = (&project.client, &project.id);
        for n in 0..4 {
            // Different texts, so that each is a content of its own.
            project.create_file(&format!("f{n}"), &format!("{n}\n{}", "a".repeat(BUDGET * 3 / 10))).await;
        }
        let files = |select: &str, first: usize| format!("{{ project(id: \"{id}\") {{ files(first: {first}) {{ nodes {{ {select} }} }} }} }}");
        passes(ada, &files("path content", 3)).await;
        is_refused(ada, &files("path content", 4)).await;
        let file = |select: &str| format!("{{ project(id: \"{id}\") {{ file(path: \"f0\") {{ {select} }} }} }}");
        passes(ada, &file(&aliases(3, "content"))).await;
        is_refused(ada, &file(&aliases(4, "content"))).await;
        // The same for diffs and other values computed from contents.
        let changes = |select: &str| format!("{{ project(id: \"{id}\") {{ changes(first: 1) {{ nodes {{ {select} }} }} }} }}");
        passes(ada, &changes("diff newContent oldContent")).await;
        for field in ["diff", "newContent", "lineChanges"] {
            is_refused(ada, &changes(&aliases(4, field))).await;
        }
        passes(ada, &format!("{{ project(id: \"{id}\") {{ diff(from: 3, to: 4) {{ diff }} }} }}")).await;
        is_refused(ada, &format!("{{ project(id: \"{id}\") {{ {} }} }}", aliases(4, "diff(from: 3, to: 4) { diff }"))).await;
        // A refused operation leaves other requests unaffected.
        passes(ada, &files("path content", 3)).await;
        server.stop().await;
    }

    async fn messages_are_counted_when_read_and_when_returned(database: Database) {
        let (server, project) = start(&database).await;
        let session = project.start_session().await;
        for _ in 0..6 {
            project.add_message(&session, &"b".repeat(BUDGET / 5), false).await;
        }
        let messages = |select: &str, first: usize| {
            format!("{{ node(id: \"{session}\") {{ ... on ChatSession {{ messages(first: {first}) {{ nodes {{ {select} }} }} }} }} }}")
        };
        passes(&project.client, &messages("id content", 3)).await;
        // Fields that are not selected are read, too.
        is_refused(&project.client, &messages("id", 6)).await;
        passes(&project.client, &messages(&aliases(4, "content"), 1)).await;
        is_refused(&project.client, &messages(&aliases(6, "content"), 1)).await;
        // JSON counts as well.
        let metadata = json!({ "id": project.id, "config": { "text": "c".repeat(BUDGET / 5) } });
        project.client.mutate("updateProject", metadata, "revision").await.ok();
        let of_project = |select: &str| format!("{{ project(id: \"{}\") {{ {select} }} }}", project.id);
        passes(&project.client, &of_project(&aliases(4, "config"))).await;
        is_refused(&project.client, &of_project(&aliases(6, "config"))).await;
        // So does every text that callers write, in every place.
        let texts = json!({ "id": project.id, "initialPrompt": "d".repeat(BUDGET / 5), "description": "e".repeat(BUDGET / 5),
            "config": {} });
        project.client.mutate("updateProject", texts, "revision").await.ok();
        for field in ["initialPrompt", "description"] {
            passes(&project.client, &of_project(&aliases(4, field))).await;
            is_refused(&project.client, &of_project(&aliases(6, field))).await;
        }
        let count = "{ projects { nodes { stats { totalMessages } } } }";
        assert_eq!(project.client.gql(count, json!({})).await.data["projects"]["nodes"][0]["stats"]["totalMessages"], 6);
        server.stop().await;
    }
}

async fn post(client: &Client, body: String) -> Raw {
    let token = client.token().map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(token.as_deref().map(|token| ("authorization", token)));
    client.send("POST", "/graphql", &headers, body).await.unwrap()
}

fn text(raw: &Raw) -> &str {
    std::str::from_utf8(&raw.body).unwrap()
}

fn padded(bytes: usize) -> String {
    json!({ "query": "{ __typename }", "variables": { "text": "a".repeat(bytes) } }).to_string()
}

tests::on_both! {
    async fn the_body_of_an_anonymous_request_is_limited(database: Database) {
        let server = Server::start(&database).await;
        let (ada, nobody) = (server.user("ada@example.com"), server.anonymous());
        assert_eq!(post(&nobody, padded(60_000)).await.status, 200);
        let large = post(&nobody, padded(70_000)).await;
        assert_eq!(large.status, 413);
        assert!(text(&large).contains("--max-anonymous-body-bytes"), "{}", text(&large));
        assert_eq!(post(&ada, padded(70_000)).await.status, 200);
        // An invalid token is refused whatever the body is.
        let wrong = post(&nobody.with_token(Some("nonsense".to_owned())), padded(70_000)).await;
        assert_eq!(wrong.status, 401);
        server.stop().await;
    }

    async fn short_values_are_counted(database: Database) {
        let server = Server::start_with(&database, &["--max-json-values=10000"]).await;
        let ada = server.user("ada@example.com");
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
        let many = json!({ "query": query, "variables": { "ids": vec![1; 10_001] } });
        let refused = post(&ada, many.to_string()).await;
        assert_eq!(refused.status, 413);
        assert!(text(&refused).contains("--max-json-values"), "{}", text(&refused));
        // On a socket only this operation ends.
        let mut socket = ada.greeted().await;
        socket.send(json!({ "id": "1", "type": "subscribe", "payload": many })).await;
        let answer = socket.message().await;
        assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!("1")), "{answer}");
        socket.start("2", "{ viewer { email } }", json!({})).await;
        assert_eq!(socket.message().await["payload"]["data"]["viewer"]["email"], "ada@example.com");
        server.stop().await;
    }

    async fn the_memory_of_all_operations_together_is_limited(database: Database) {
        let server = Server::start_with(&database, &["--max-memory-bytes=2000000"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Large").await;
        for n in 0..3 {
            project.create_file(&format!("f{n}"), &format!("{n}{}", "a".repeat(400_000))).await;
        }
        let refused = post(&ada, padded(2_500_000)).await;
        assert_eq!(refused.status, 503);
        assert_eq!(refused.header("retry-after"), "1");
        assert!(text(&refused).contains("--max-memory-bytes"), "{}", text(&refused));
        let contents = |first: usize| format!("{{ project(id: \"{}\") {{ files(first: {first}) {{ nodes {{ content }} }} }} }}", project.id);
        let refused = ada.gql(&contents(3), json!({})).await;
        assert_eq!(refused.error()["extensions"]["code"], "RATE_LIMITED", "{}", refused.error());
        // All memory is released again.
        for _ in 0..5 {
            passes(&ada, &contents(2)).await;
            assert_eq!(post(&ada, padded(1_500_000)).await.status, 200);
        }
        server.stop().await;
    }
}

#[test]
fn the_messages_of_an_unauthenticated_socket_are_limited() {
    run_with_server(Kind::Sqlite, async |server| {
        let mut socket = server.anonymous().socket().await;
        socket.send(json!({ "type": "connection_init", "payload": { "text": "a".repeat(70_000) } })).await;
        let Frame::Close(code, reason) = socket.next().await else { panic!("the socket stays open") };
        assert_eq!(code, 1009);
        assert!(reason.contains("--max-anonymous-body-bytes"), "{reason}");
    });
}

#[test]
fn a_slow_body_is_ended() {
    run_with_database(Kind::Sqlite, async |database| {
        let server = Server::start_with(&database, &["--max-body-seconds=1"]).await;
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        // It never pauses for long.
        let drip = tokio::spawn(async move {
            while writer.write_all(b" ").await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        });
        let mut answer = Vec::new();
        timeout(Duration::from_secs(20), reader.read_to_end(&mut answer)).await.expect("an end").ok();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("--max-body-seconds"), "{answer}");
        drip.abort();
        server.stop().await;
    });
}
