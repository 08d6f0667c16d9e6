//! The interfaces that clients of other servers expect: a WebSocket at `/graphql`, header names in the usual case, and
//! the single connection mode of `graphql-sse`.

use serde_json::{Value, json};
use tests::{
    client::{Client, Raw, Stream},
    database::Database,
    project::Project,
    server::{Server, token_with},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const STREAM_TOKEN: &str = "x-graphql-event-stream-token";

/// The head of the response to a WebSocket handshake.
async fn handshake(server: &Server, path: &str, protocol_header: &str) -> String {
    let mut connection = TcpStream::connect(server.address()).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol_header}: graphql-transport-ws\r\n\r\n",
        server.address()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(connection.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

async fn ask(client: &Client, method: &str, path: &str, stream: Option<&str>, body: Value) -> Raw {
    let bearer = format!("Bearer {}", client.token().unwrap_or_default());
    let mut headers = vec![("content-type", "application/json")];
    if client.token().is_some() {
        headers.push(("authorization", &bearer));
    }
    headers.extend(stream.map(|stream| (STREAM_TOKEN, stream)));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    client.send(method, path, &headers, body).await.unwrap()
}

async fn reserve(client: &Client) -> String {
    let answer = ask(client, "PUT", "/graphql", None, Value::Null).await;
    assert_eq!((answer.status, answer.header("content-type")), (201, "text/plain; charset=utf-8"));
    String::from_utf8(answer.body.to_vec()).unwrap()
}

async fn run(client: &Client, stream: &str, id: &str, query: &str, variables: Value) -> u16 {
    let body = json!({ "query": query, "variables": variables, "extensions": { "operationId": id } });
    ask(client, "POST", "/graphql", Some(stream), body).await.status
}

/// The next event of a stream: its type and its data.
async fn event(stream: &mut Stream) -> Option<(String, Value)> {
    loop {
        let text = stream.until("\n\n").await?;
        let Some(text) = text.strip_prefix("event: ") else { continue };
        let (kind, data) = text.split_once("\ndata: ").unwrap();
        return Some((kind.to_owned(), serde_json::from_str(data).unwrap()));
    }
}

async fn stream_of(client: &Client, token: &str) -> Stream {
    client.open("GET", &format!("/graphql?token={token}"), &[("accept", "text/event-stream")]).await
}

async fn open(client: &Client, token: &str) -> Stream {
    let stream = stream_of(client, token).await;
    assert_eq!((stream.status, stream.header("content-type")), (200, "text/event-stream; charset=utf-8"));
    stream
}

tests::on_sqlite! {
    async fn a_socket_can_be_opened_at_graphql(server: Server) {
        for path in ["/graphql/ws", "/graphql"] {
            let answer = handshake(&server, path, "Sec-WebSocket-Protocol").await;
            assert!(answer.starts_with("HTTP/1.1 101 "), "{path}: {answer}");
        }
        // Without an upgrade, the path works as before.
        let answer = server.anonymous().send("GET", "/graphql?query=%7B__typename%7D", &[], "").await.unwrap();
        assert_eq!(answer.graphql().unwrap().ok()["__typename"], "Query");
    }

    async fn header_names_have_the_usual_case(server: Server) {
        for name in ["Sec-WebSocket-Protocol", "sec-websocket-protocol", "SEC-WEBSOCKET-PROTOCOL"] {
            let answer = handshake(&server, "/graphql/ws", name).await;
            assert!(answer.contains(&format!("\r\n{name}: graphql-transport-ws\r\n")), "{answer}");
            assert!(answer.contains("\r\nConnection: ") && answer.contains("\r\nSec-Websocket-Accept: "), "{answer}");
        }
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("\r\nContent-Length: ") && answer.contains("\r\nX-Request-Id: "), "{answer}");
    }

    async fn one_stream_carries_several_operations(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Streamed").await;
        let token = reserve(&ada).await;
        // The results of an operation that starts before the stream is open arrive once it is.
        assert_eq!(run(&ada, &token, "1", "{ viewer { email } }", json!({})).await, 202);
        let mut stream = open(&ada, &token).await;
        let next = |id: &str, data: Value| ("next".to_owned(), json!({ "id": id, "payload": { "data": data } }));
        let complete = |id: &str| ("complete".to_owned(), json!({ "id": id }));
        assert_eq!(event(&mut stream).await, Some(next("1", json!({ "viewer": { "email": "ada@example.com" } }))));
        assert_eq!(event(&mut stream).await, Some(complete("1")));

        let events = "subscription($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { revision } }";
        for id in ["a", "b"] {
            assert_eq!(run(&ada, &token, id, events, json!({ "id": project.id })).await, 202);
            assert_eq!(event(&mut stream).await, Some(next(id, json!({ "projectEvents": { "revision": 1 } }))));
        }
        assert_eq!(run(&ada, &token, "a", events, json!({ "id": project.id })).await, 409);
        assert_eq!(ask(&ada, "DELETE", "/graphql?operationId=b", Some(&token), Value::Null).await.status, 200);
        project.create_file("a.py", "one\n").await;
        assert_eq!(event(&mut stream).await, Some(next("a", json!({ "projectEvents": { "revision": 2 } }))));
        // A refusal is a result, and its id can be used again.
        for _ in 0..2 {
            assert_eq!(run(&ada, &token, "c", "{ nope }", json!({})).await, 202);
            let (kind, refused) = event(&mut stream).await.unwrap();
            assert_eq!((kind.as_str(), &refused["id"]), ("next", &json!("c")));
            assert_eq!(refused["payload"]["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED");
            assert_eq!(event(&mut stream).await, Some(complete("c")));
        }
        assert_eq!(ask(&ada, "POST", "/graphql", Some(&token), json!({ "query": "{ viewer { id } }" })).await.status, 400);
        assert_eq!(ask(&ada, "DELETE", "/graphql", Some(&token), Value::Null).await.status, 400);
        // A token has only one stream.
        let second = stream_of(&ada, &token).await;
        assert_eq!(second.status, 409);
    }

    async fn a_stream_belongs_to_its_user(server: Server) {
        let (ada, eve) = (server.user("ada@example.com"), server.user("eve@example.com"));
        assert_eq!(ask(&server.anonymous(), "PUT", "/graphql", None, Value::Null).await.status, 401);
        let token = reserve(&ada).await;
        for client in [&eve, &server.anonymous()] {
            assert_eq!(run(client, &token, "1", "{ __typename }", json!({})).await, 404);
            assert_eq!(ask(client, "DELETE", "/graphql?operationId=1", Some(&token), Value::Null).await.status, 404);
            assert_eq!(stream_of(client, &token).await.status, 404);
        }
        assert_eq!(run(&ada, "no such stream", "1", "{ __typename }", json!({})).await, 404);
        assert_eq!(ask(&ada, "DELETE", "/graphql?operationId=1", None, Value::Null).await.status, 400);
        let mut stream = open(&ada, &token).await;
        assert_eq!(run(&ada, &token, "1", "{ viewer { id } }", json!({})).await, 202);
        assert_eq!(event(&mut stream).await.unwrap().0, "next");
        drop(stream);
        // Closing the stream's connection ends it.
        for _ in 0..100 {
            if run(&ada, &token, "2", "{ viewer { id } }", json!({})).await == 404 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("the stream still exists");
    }

    async fn a_stream_has_limits_and_ends_with_its_token(database: Database) {
        let server = Server::start_with(&database, &["--max-user-sockets=2", "--max-socket-operations=2"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Bounded").await;
        let first = reserve(&ada).await;
        let exp = antiphon::model::clock::now().timestamp() + 3;
        let brief = ada.with_token(Some(token_with("ada@example.com", json!({ "exp": exp }))));
        let second = reserve(&brief).await;
        let full = ask(&ada, "PUT", "/graphql", None, Value::Null).await;
        assert_eq!((full.status, full.header("retry-after")), (429, "10"));
        let events = "subscription($id: ID!) { projectEvents(projectId: $id) { revision } }";
        for (id, status) in [("1", 202), ("2", 202), ("3", 429)] {
            assert_eq!(run(&ada, &first, id, events, json!({ "id": project.id })).await, status);
        }
        let operation = json!({ "query": events, "variables": { "id": project.id }, "extensions": { "operationId": "4" } });
        let full = ask(&ada, "POST", "/graphql", Some(&first), operation).await;
        assert_eq!((full.status, full.header("retry-after")), (429, "10"));
        let mut stream = open(&brief, &second).await;
        assert_eq!(run(&ada, &second, "1", events, json!({ "id": project.id })).await, 202);
        assert_eq!(event(&mut stream).await, None);
        server.stop().await;
    }
}
