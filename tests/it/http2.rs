//! Given a client or proxy that speaks HTTP/2 without TLS, when it sends requests, then it is served like one that
//! speaks HTTP/1.1, and a connection without requests is closed.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tests::{
    database::Database,
    project::Project,
    server::{self, Server},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, timeout},
};

const PATIENCE: Duration = Duration::from_secs(30);

struct Http2 {
    requests: SendRequest<Body>,
    connection: JoinHandle<hyper::Result<()>>,
    base: String,
    token: String,
}

impl Http2 {
    async fn connect(server: &Server) -> Self {
        let base = server.user("ada@example.com").base().to_owned();
        let stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap();
        let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        Self { requests, connection, base, token: server::token("ada@example.com") }
    }

    async fn send(&mut self, accept: &str, query: &str, variables: Value) -> Response<Incoming> {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let request = Request::post(format!("{}/graphql", self.base))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .header("accept", accept);
        self.requests.ready().await.unwrap();
        self.requests.send_request(request.body(Body::from(body)).unwrap()).await.unwrap()
    }

    async fn ask(&mut self, query: &str, variables: Value) -> Value {
        let response = self.send("application/json", query, variables).await;
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }
}

/// The next data of an event stream that is no comment.
async fn event(stream: &mut Incoming) -> Value {
    loop {
        let data: Bytes = timeout(PATIENCE, stream.frame()).await.unwrap().unwrap().unwrap().into_data().unwrap();
        let text = String::from_utf8(data.to_vec()).unwrap();
        if let Some(line) = text.lines().find_map(|line| line.strip_prefix("data: ")) {
            return serde_json::from_str(line).unwrap();
        }
    }
}

tests::on_both! {
    async fn requests_and_a_subscription_share_a_connection(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Two").await;
        let mut http2 = Http2::connect(&server).await;
        let query = "subscription($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { revision } }";
        let listening = http2.send("text/event-stream", query, json!({ "id": project.id })).await;
        assert_eq!(listening.status(), StatusCode::OK);
        let mut listening = listening.into_body();
        assert_eq!(event(&mut listening).await["data"]["projectEvents"]["revision"], 1);

        // Requests at the same time, while the subscription runs.
        let mut asked = Vec::new();
        for _ in 0..50 {
            http2.requests.ready().await.unwrap();
            let mut other = Http2 { requests: http2.requests.clone(), connection: tokio::spawn(async { Ok(()) }), base: http2.base.clone(), token: http2.token.clone() };
            asked.push(tokio::spawn(async move { other.ask("{ viewer { email } }", json!({})).await }));
        }
        for asked in asked {
            assert_eq!(asked.await.unwrap()["data"]["viewer"]["email"], "ada@example.com");
        }
        let write = "mutation($id: ID!) { createFile(input: { projectId: $id, path: \"a\", content: \"b\" }) { revision } }";
        assert_eq!(http2.ask(write, json!({ "id": project.id })).await["data"]["createFile"]["revision"], 2);
        assert_eq!(event(&mut listening).await["data"]["projectEvents"]["revision"], 2);

        // HTTP/1.1 is served by the same address, and errors are the same.
        assert_eq!(project.revision().await, 2);
        let wrong = http2.ask("{ nothing }", json!({})).await;
        assert!(wrong["errors"][0]["message"].as_str().unwrap().contains("nothing"), "{wrong}");
    }

    async fn a_large_body_is_refused(database: Database) {
        let server = Server::start_with(&database, &["--max-body-bytes=100000"]).await;
        let mut http2 = Http2::connect(&server).await;
        let refused = http2.send("application/json", &"#".repeat(200_000), json!({})).await;
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(http2.ask("{ __typename }", json!({})).await["data"]["__typename"], "Query");
        server.stop().await;
    }

    async fn connections_without_requests_are_closed(database: Database) {
        let server = Server::start_with(&database, &["--max-head-seconds=1"]).await;
        let project = Project::create(&server.user("ada@example.com"), "Idle").await;
        let address = project.client.base().strip_prefix("http://").unwrap().to_owned();
        // Nothing, the start of a preface, a preface without a request, and a request's head without an end.
        for sent in ["", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n"] {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            let closed = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
            assert!(closed.is_ok(), "{sent:?} keeps a connection open");
        }
        // A running subscription is a request.
        let mut http2 = Http2::connect(&server).await;
        let query = "subscription($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { revision } }";
        let mut listening = http2.send("text/event-stream", query, json!({ "id": project.id })).await.into_body();
        event(&mut listening).await;
        let mut idle = Http2::connect(&server).await;
        idle.ask("{ __typename }", json!({})).await;
        let since = Instant::now();
        timeout(PATIENCE, &mut idle.connection).await.expect("an idle connection stays open").unwrap().unwrap();
        assert!(since.elapsed() >= Duration::from_millis(900));
        project.create_file("a", "b").await;
        assert_eq!(event(&mut listening).await["data"]["projectEvents"]["revision"], 2);
        assert!(!http2.connection.is_finished());
        drop(listening);
        server.stop().await;
    }

    async fn a_large_head_is_refused_alone(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Heads").await;
        let mut http2 = Http2::connect(&server).await;
        let query = "subscription($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { revision } }";
        let mut listening = http2.send("text/event-stream", query, json!({ "id": project.id })).await.into_body();
        event(&mut listening).await;
        let plain = server.anonymous();
        for (count, size, status) in [(40, 1_000, 200), (90, 10, 200), (101, 10, 431), (10, 10_000, 431), (20, 7_000, 431)] {
            let mut request = Request::get(format!("{}/healthz", http2.base));
            let fields: Vec<(String, String)> = (0..count).map(|n| (format!("x-{n}"), "x".repeat(size))).collect();
            for (name, value) in &fields {
                request = request.header(name, value);
            }
            http2.requests.ready().await.unwrap();
            let answer = http2.requests.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), status, "{count} fields of {size} bytes by HTTP/2");
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let answer = plain.send("GET", "/healthz", &fields, Vec::new()).await.unwrap();
            assert_eq!(answer.status, status, "{count} fields of {size} bytes by HTTP/1.1");
        }
        // The other requests of the connection go on.
        project.create_file("a", "b").await;
        assert_eq!(event(&mut listening).await["data"]["projectEvents"]["revision"], 2);
    }
}
