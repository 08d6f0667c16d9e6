//! Given a budget of bytes for an operation, when it loads or returns more, then it is refused before that takes
//! memory, and the error names the setting.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{
    client::{Client, Raw},
    database::{Database, Kind},
    project::Project,
    server::{ChildServer, Server, memory, run_with_database, run_with_server},
    socket::Frame,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, ToSocketAddrs},
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
    async fn an_object_that_is_reached_often_takes_memory_once(database: Database) {
        const TEXT: usize = 1 << 20;
        let text = "x".repeat(TEXT);
        let child = ChildServer::start(&database);
        let ada = child.user("ada@example.com");
        let create = json!({ "name": "Often", "initialPrompt": text, "description": text, "config": {} });
        let id = ada.mutate("createProject", create, "project { id }").await.ok()["createProject"]["project"]["id"].take();
        let files: Vec<Value> = (0..300).map(|n| json!({ "path": format!("{n}"), "content": "" })).collect();
        let sync = json!({ "projectId": id, "mode": "MERGE", "files": files });
        ada.mutate("syncFiles", sync, "revision").await.ok();
        let ids: Vec<&Value> = std::iter::repeat_n(&id, 90).collect();
        let before = memory(child.id(), "VmHWM:").unwrap();
        for (query, variables) in [
            ("query($id: ID!) { project(id: $id) { files(first: 300) { nodes { project { name } } } } }", json!({ "id": id })),
            ("query($ids: [ID!]!) { nodes(ids: $ids) { ... on Project { id name } } }", json!({ "ids": ids })),
        ] {
            let answer = ada.gql(query, variables).await;
            assert!(answer.errors.is_empty(), "{query}: {:?}", answer.errors);
        }
        let aliases = format!("query($id: ID!) {{ {} }}", aliases(30, "project(id: $id) { name }"));
        assert!(ada.gql(&aliases, json!({ "id": id })).await.errors.is_empty());
        let grown = memory(child.id(), "VmHWM:").unwrap().saturating_sub(before);
        assert!(grown < 80 * TEXT as u64, "{} MiB", grown >> 20);
        child.stop();
    }

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

    async fn a_field_beyond_the_budget_leaves_the_other_fields(database: Database) {
        let (server, project) = start(&database).await;
        let session = project.start_session().await;
        for n in 0..4 {
            project.add_message(&session, &format!("{n}{}", "a".repeat(BUDGET * 3 / 10)), false).await;
        }
        let id = &project.id;
        let large = format!("node(id: \"{session}\") {{ ... on ChatSession {{ messages {{ nodes {{ content }} }} }} }}");
        let small = format!("project(id: \"{id}\") {{ name files {{ nodes {{ path }} }} sessions {{ nodes {{ id }} }} }} viewer {{ id }}");
        for query in [format!("{{ large: {large} {small} }}"), format!("{{ {small} large: {large} }}")] {
            let answer = project.client.gql(&query, json!({})).await;
            let codes: Vec<_> = answer.errors.iter().map(|error| &error["extensions"]["code"]).collect();
            assert_eq!(codes, ["QUERY_TOO_COMPLEX"], "{:?}", answer.errors);
            assert_eq!(answer.data["large"], Value::Null);
            assert_eq!(answer.data["project"]["sessions"]["nodes"][0]["id"], session.as_str());
            assert!(answer.data["viewer"]["id"].is_string(), "{}", answer.data);
        }
        // If far more would have to be received, the connection is closed, and the other fields name the same reason.
        for n in 4..12 {
            project.add_message(&session, &format!("{n}{}", "a".repeat(BUDGET * 3 / 10)), false).await;
        }
        let answer = project.client.gql(&format!("{{ large: {large} {small} }}"), json!({})).await;
        assert!(answer.errors.iter().all(|error| error["extensions"]["code"] == "QUERY_TOO_COMPLEX"), "{:?}", answer.errors);
        passes(&project.client, "{ viewer { id } }").await;
        server.stop().await;
    }

    async fn an_error_tells_that_its_mutation_is_committed(database: Database) {
        let (server, project) = start(&database).await;
        let session = project.start_session().await;
        let revision = project.revision().await;
        let add = |role: &str| format!(
            "mutation($text: String!) {{ added: addMessage(input: {{ sessionId: \"{session}\", role: {role}, content: $text }}) {{ message {{ {} }} }}
                 missing: deleteProject(id: \"00000000-0000-0000-0000-000000000000\") {{ revision }} }}",
            aliases(4, "content"),
        );
        let text = json!({ "text": "a".repeat(BUDGET * 3 / 10) });
        let answer = project.client.gql(&add("USER"), text.clone()).await;
        let errors: Vec<_> = answer.errors.iter().map(|error| (&error["path"][0], &error["extensions"]["code"], &error["extensions"]["committed"])).collect();
        let expected = [
            (&json!("added"), &json!("QUERY_TOO_COMPLEX"), &json!(true)),
            (&json!("missing"), &json!("NOT_FOUND"), &Value::Null),
        ];
        assert_eq!(errors, expected);
        assert_eq!(project.revision().await, revision + 1);
        // Nothing is committed if the arguments are wrong.
        let answer = project.client.gql(&add("NOBODY"), text).await;
        assert!(answer.errors.iter().all(|error| error["extensions"]["committed"].is_null()), "{:?}", answer.errors);
        assert_eq!(project.revision().await, revision + 1);
        server.stop().await;
    }

    async fn recent_activity_reads_only_the_messages_of_its_page(database: Database) {
        let (server, first) = start(&database).await;
        let mut projects = vec![first];
        for n in 0..5 {
            projects.push(Project::create(&server.user("ada@example.com"), &n.to_string()).await);
        }
        for project in &projects {
            project.add_message(&project.start_session().await, &"a".repeat(BUDGET * 3 / 10), true).await;
        }
        let ada = &projects[0].client;
        for place in ["first: 2", "last: 2"] {
            passes(ada, &format!("{{ recentActivity({place}) {{ nodes {{ message {{ content }} }} }} }}")).await;
        }
        is_refused(ada, "{ recentActivity { nodes { message { content } } } }").await;
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
        passes(&project.client, &messages("id", 6)).await;
        is_refused(&project.client, &messages("content", 6)).await;
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
        drop(socket);
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
        assert_eq!(refused.status, 413);
        assert!(text(&refused).contains("--max-memory-bytes"), "{}", text(&refused));
        let contents = |first: usize| format!("{{ project(id: \"{}\") {{ files(first: {first}) {{ nodes {{ content }} }} }} }}", project.id);
        let refused = ada.gql(&contents(3), json!({})).await;
        assert_eq!(refused.error()["extensions"]["code"], "PAYLOAD_TOO_LARGE", "{}", refused.error());
        // All memory is released again.
        for _ in 0..5 {
            passes(&ada, &contents(2)).await;
            assert_eq!(post(&ada, padded(500_000)).await.status, 200);
        }
        server.stop().await;
    }

    async fn parsed_values_are_counted_in_the_memory_of_all(database: Database) {
        let server = Server::start_with(&database, &["--max-memory-bytes=8000000"]).await;
        let ada = server.user("ada@example.com");
        let numbers = |count: usize| json!({ "query": "{ __typename }", "variables": { "a": vec![1; count] } });
        // 400 KB of text are 25 MB of values.
        let refused = post(&ada, numbers(200_000).to_string()).await;
        assert_eq!(refused.status, 413);
        assert!(text(&refused).contains("--max-memory-bytes"), "{}", text(&refused));
        assert_eq!(post(&ada, numbers(20_000).to_string()).await.status, 200);
        // On a socket only this operation ends.
        let mut socket = ada.greeted().await;
        socket.send(json!({ "id": "1", "type": "subscribe", "payload": numbers(200_000) })).await;
        let answer = socket.message().await;
        assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!("1")), "{answer}");
        assert_eq!(answer["payload"][0]["extensions"]["code"], "PAYLOAD_TOO_LARGE", "{answer}");
        socket.send(json!({ "id": "2", "type": "subscribe", "payload": numbers(20_000) })).await;
        assert_eq!(socket.message().await["type"], "next");
        drop(socket);
        server.stop().await;
    }

    async fn an_event_that_never_has_room_is_reported(database: Database) {
        let server = Server::start_with(&database, &["--max-memory-bytes=4000000"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Large").await;
        let session = project.start_session().await;
        let revision = project.revision().await;
        // In JSON each of these bytes is six.
        project.add_message(&session, "small", false).await;
        project.add_message(&session, &"\u{1}".repeat(100_000), false).await;
        project.add_message(&session, "another", false).await;
        let times = |count: usize| (0..count).map(|n| format!("a{n}: content ")).collect::<String>();
        let many = times(40);
        for selected in [many.clone(), format!("{many} session {{ project {{ viewerRole }} }}")] {
            // The event is delivered without its data.
            let mut socket = ada.greeted().await;
            let subscription = format!(
                "subscription($id: ID!, $after: Int) {{
                    messageAdded(sessionId: $id, afterRevision: $after) {{ {selected} }} }}"
            );
            socket.start("1", &subscription, json!({ "id": session, "after": revision })).await;
            let answers = [socket.message().await, socket.message().await, socket.message().await];
            assert_eq!(answers[0]["payload"]["data"]["messageAdded"]["a0"], "small");
            assert_eq!(answers[1]["payload"]["errors"][0]["extensions"]["code"], "PAYLOAD_TOO_LARGE");
            assert_eq!(answers[2]["payload"]["data"]["messageAdded"]["a0"], "another");

            // The values have room, but not their JSON: the subscription ends.
            let mut socket = ada.greeted().await;
            let subscription = subscription.replace(&many, &times(8));
            socket.start("1", &subscription, json!({ "id": session, "after": revision })).await;
            assert_eq!(socket.message().await["type"], "next");
            let refused = socket.message().await;
            assert_eq!(refused["type"], "error");
            assert_eq!(refused["payload"][0]["extensions"]["code"], "PAYLOAD_TOO_LARGE", "{refused}");
        }
        server.stop().await;
    }

    async fn a_response_is_counted_until_it_is_sent(database: Database) {
        const FILE: usize = 2_500_000;
        let flags = ["--max-memory-bytes=37500000", "--content-cache-bytes=0"];
        let server = Server::start_with(&database, &flags).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Large").await;
        // Characters of several bytes and escapes, so that the parts of a response are cut anywhere.
        let line = "\"é\\\u{1f600}\t\u{1}\n";
        let files: Vec<String> = (0..4).map(|n| format!("{n}{}", line.repeat(FILE / line.len()))).collect();
        for (n, file) in files.iter().enumerate() {
            project.create_file(&format!("f{n}"), file).await;
        }
        let all = format!("{{ project(id: \"{}\") {{ files(first: 4) {{ nodes {{ content }} }} }} }}", project.id);
        let answer = ada.gql(&all, json!({})).await;
        let nodes = answer.data["project"]["files"]["nodes"].as_array().unwrap();
        assert!(nodes.iter().zip(&files).all(|(node, file)| node["content"] == file.as_str()));

        // Given clients that do not read their responses …
        let body = json!({ "query": all }).to_string();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            ada.token().unwrap(),
            body.len()
        );
        let mut stalled = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'H');
            stalled.push(stream);
        }
        // … then their memory is not free, small requests pass, …
        let refused = ada.gql(&all, json!({})).await;
        assert_eq!(refused.error()["extensions"]["code"], "RATE_LIMITED", "{}", refused.error());
        passes(&ada, "{ viewer { email } }").await;
        // … and when the clients have gone, it is free again.
        drop(stalled);
        let freed = async {
            while !ada.gql(&all, json!({})).await.errors.is_empty() {}
        };
        timeout(Duration::from_secs(30), freed).await.unwrap();
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

/// Opens a WebSocket by hand.
pub(super) async fn handshake(address: impl ToSocketAddrs) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "GET /graphql/ws HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        sec-websocket-protocol: graphql-transport-ws\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream
}

/// The start of a text of `length` bytes as a client's frames have it, in fragments if there are several.
fn frames(length: u64, fragments: usize, sent: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for fragment in 0..fragments {
        // A text, then what continues it; none is the last but a single one.
        bytes.push(if fragments == 1 { 0x81 } else { u8::from(fragment == 0) });
        // Masked by zeros.
        bytes.push(0xff);
        bytes.extend(length.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.resize(bytes.len() + sent, b' ');
    }
    bytes
}

#[test]
fn a_message_before_connection_init_is_refused_while_it_comes() {
    run_with_server(Kind::Sqlite, async |server| {
        // Given the start of a message of 10 MiB, and fragments without an end …
        for bytes in [frames(10_485_760, 1, 100_000), frames(10_000, 10, 10_000), frames(100, 1_000, 100)] {
            let mut stream = handshake(server.address()).await;
            stream.write_all(&bytes).await.unwrap();
            // … then the server waits for no more.
            let mut head = [0; 4];
            timeout(Duration::from_secs(5), stream.read_exact(&mut head)).await.expect("it is refused").unwrap();
            assert_eq!((head[0], u16::from_be_bytes([head[2], head[3]])), (0x88, 1009));
            let mut reason = vec![0; usize::from(head[1]) - 2];
            stream.read_exact(&mut reason).await.unwrap();
            assert!(String::from_utf8_lossy(&reason).contains("--max-anonymous-body-bytes"));
        }
        // A socket that has said who it is may send more.
        let mut socket = server.user("ada@example.com").greeted().await;
        for id in ["1", "2"] {
            let query = "query($text: String) { a: __typename @skip(if: false) b: __typename }";
            socket
                .start(id, query.replace("($text: String)", "").as_str(), json!({ "text": "a".repeat(200_000) }))
                .await;
            assert_eq!(socket.message().await["type"], "next");
            assert_eq!(socket.message().await["type"], "complete");
        }
    });
}

/// Bytes of the results of subscriptions that a server holds.
async fn result_bytes(server: &Server) -> f64 {
    let answer = server.operator().send("GET", "/metrics", &[], "").await.unwrap();
    let line = text(&answer).lines().find_map(|line| line.strip_prefix("antiphon_subscription_result_bytes "));
    line.expect("the metric is there").parse().unwrap()
}

tests::on_both! {
    async fn results_of_all_shared_subscriptions_have_one_budget(database: Database) {
        const SOCKETS: usize = 10;
        const SUBSCRIPTIONS: usize = 10;
        const MEMORY: usize = 32 * 1024 * 1024;
        const MESSAGE: usize = 256 * 1024;
        let flags = [&format!("--max-memory-bytes={MEMORY}"), "--metrics-listen=127.0.0.1:0"];
        let server = Server::start_with(&database, &flags).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Echoes").await;
        let session = project.start_session().await;
        let revision = project.revision().await;

        // Given subscriptions that differ in one alias, of which half are on sockets that nobody reads …
        let mut sockets = Vec::new();
        for socket in 0..SOCKETS {
            let mut greeted = ada.greeted().await;
            for n in 0..SUBSCRIPTIONS {
                let query = format!("subscription($id: ID!, $after: Int) {{
                    messageAdded(sessionId: $id, afterRevision: $after) {{ a{socket}x{n}: content }} }}");
                greeted.start(&n.to_string(), &query, json!({ "id": session, "after": revision })).await;
            }
            sockets.push(greeted);
        }
        for letter in ["a", "b", "c"] {
            project.add_message(&session, &letter.repeat(MESSAGE), false).await;
        }

        // … then those who read receive everything, in order, and all results together take no more than the budget.
        let read = sockets.split_off(SOCKETS / 2);
        let mut readers: Vec<_> = read.into_iter().zip(SOCKETS / 2..).map(|(mut greeted, socket)| tokio::spawn(async move {
            let mut received = [0; SUBSCRIPTIONS];
            while received.iter().sum::<usize>() < 3 * SUBSCRIPTIONS {
                let message = match greeted.next_within(Duration::from_secs(60)).await {
                    Frame::Message(message) => message,
                    other => panic!("{other:?} after {received:?}"),
                };
                let n: usize = message["id"].as_str().unwrap().parse().unwrap();
                let content = message["payload"]["data"]["messageAdded"][format!("a{socket}x{n}")].as_str().unwrap();
                let letter = ["a", "b", "c"][received[n]];
                assert!(content.len() == MESSAGE && content.starts_with(letter), "{n}: {}", content.len());
                received[n] += 1;
            }
            greeted
        })).collect();
        let mut most: f64 = 0.0;
        while !readers.iter().all(|reader| reader.is_finished()) {
            most = most.max(result_bytes(&server).await);
        }
        for reader in readers.drain(..) {
            sockets.push(reader.await.unwrap());
        }
        assert!(most > 0.0 && most <= MEMORY as f64, "{most}");
        // What is kept for those who are behind is a part of it.
        let slow = (SOCKETS / 2 * 5 * MESSAGE) as f64;
        let rest = result_bytes(&server).await;
        assert!(rest <= (MEMORY / 8) as f64 + slow, "{rest}");

        // Nothing is left of it once the sockets are closed.
        drop(sockets);
        let gone = async {
            while result_bytes(&server).await > 0.0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), gone).await.expect("results go with their sockets");
        server.stop().await;
    }
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
