//! Given a server that logs as much as possible, when every transport is used and misused, then its log contains no
//! token, no secret and no user content.

use std::fs;

use serde_json::json;
use tests::{
    client::Client,
    database::Database,
    project::{Project, text},
    server::{ChildServer, JWT_SECRET, token, token_with},
    socket::Socket,
};

/// Part of everything that the test sends.
const MARK: &str = "swordfish";

async fn use_every_door(client: &Client, base: &str) {
    let mark = |at: &str| format!("{MARK} {at}");
    let project = Project::create(client, &mark("name")).await;
    let input = json!({ "id": project.id, "description": mark("description"), "config": { MARK: mark("config") } });
    client.mutate("updateProject", input, "revision").await.ok();
    let mut events = project.listen(0, "revision message { content metadata }").await;
    let session = project.start_session().await;
    let input = json!({ "sessionId": session, "role": "USER", "content": mark("message"), "metadata": { "a": MARK }, "contextData": { MARK: 1 } });
    client.mutate("addMessage", input, "message { content metadata contextData }").await.ok();
    project.create_file(&format!("{MARK}.py"), &mark("file")).await;
    for _ in 0..3 {
        events.event().await;
    }
    let started = project
        .client
        .mutate("startMessage", json!({ "sessionId": session, "role": "ASSISTANT" }), "messageId")
        .await
        .ok();
    let message = text(&started["startMessage"]["messageId"]);
    client
        .mutate("appendToMessage", json!({ "messageId": message, "offset": 0, "text": mark("chunk") }), "length")
        .await
        .ok();
    client.mutate("finishMessage", json!({ "messageId": message }), "message { content }").await.ok();
    client.mutate("updateProfile", json!({ "fullName": mark("full name") }), "fullName").await.ok();
    client.mutate("inviteByEmail", json!({ "email": format!("{MARK}@example.com") }), "revision").await;

    // As a query string, a batch, an event stream, multipart, a persisted document, and a socket with the token in the
    // handshake.
    let bearer = format!("Bearer {}", client.token().unwrap());
    let authorized = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let query = format!("/graphql?query=%7Bprojects(filter:%7Bsearch:%22{MARK}%22%7D)%7Bnodes%7Bname%7D%7D%7D");
    client.send("GET", &query, &authorized, "").await.unwrap();
    let batch = json!([{ "query": "{ projects { nodes { name } } }" }, { "query": format!("{{ {MARK} }}") }]);
    client.send("POST", "/graphql", &authorized, batch.to_string()).await.unwrap();
    let subscription =
        "subscription($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { message { content } } }";
    for accept in ["text/event-stream", "multipart/mixed;subscriptionSpec=1.0"] {
        let body = json!({ "query": subscription, "variables": { "id": project.id } });
        let mut stream = client.stream(accept, &[], &body).await;
        if stream.status == 200 {
            stream.until(MARK).await;
        }
    }
    let mut socket = Socket::connect(base, "graphql-transport-ws", &[("authorization", &bearer)]).await.unwrap();
    socket.greet(json!({ "headers": { "Authorization": bearer } })).await;
    socket.start("1", "{ projects { nodes { name config } } }", json!({})).await;
    socket.message().await;

    // Refused requests: documents, variables, headers, tokens, frames, bodies.
    for body in [
        format!("{{\"query\":\"{{ {MARK}\"}}"),
        format!("{{\"query\":\"{{ {MARK}(a: 1) }}\"}}"),
        format!(
            "{{\"query\":\"mutation($i: UpdateProjectInput!) {{ updateProject(input: $i) {{ revision }} }}\",\"variables\":{{\"i\":{{\"{MARK}\":1}}}}}}"
        ),
        format!(
            "{{\"query\":\"query($id: ID!) {{ project(id: $id) {{ name }} }}\",\"variables\":{{\"id\":\"{MARK}\"}}}}"
        ),
        format!("{{\"variables\":{{\"a\":{{\"{MARK}\":1,\"{MARK}\":2}}}},\"query\":\"{{ __typename }}\"}}"),
        format!("{MARK} is no JSON"),
        format!("{{\"query\":\"{{ __typename }}\",\"operationName\":\"{MARK}\"}}"),
        format!("{{\"extensions\":{{\"persistedQuery\":{{\"version\":1,\"sha256Hash\":\"{MARK}\"}}}}}}"),
    ] {
        client.send("POST", "/graphql", &authorized, body).await.unwrap();
    }
    for bearer in [
        format!("Bearer {MARK}"),
        format!("Bearer {MARK}.{MARK}.{MARK}"),
        format!("Basic {MARK}"),
        format!("Bearer {bearer}"),
    ] {
        client
            .send("POST", "/graphql", &[("authorization", bearer.as_str()), ("content-type", "application/json")], "{}")
            .await
            .unwrap();
        client.send("GET", "/graphql/ws", &[("authorization", bearer.as_str())], "").await.unwrap();
    }
    client.send("GET", &format!("/graphql?token={MARK}"), &[("cookie", MARK), ("x-custom", MARK)], "").await.unwrap();
    for frame in [format!("{MARK} is no message"), json!({ "type": MARK, "id": MARK }).to_string()] {
        let mut socket = Socket::connect(base, "graphql-transport-ws", &[]).await.unwrap();
        socket.greet(json!({ "token": client.token() })).await;
        socket.send_frame(frame.into()).await;
        socket.next().await;
    }
    let mut socket = Socket::connect(base, "graphql-transport-ws", &[]).await.unwrap();
    socket.send(json!({ "type": "connection_init", "payload": { "token": MARK } })).await;
    socket.next().await;
}

tests::on_both! {
    async fn no_content_and_no_credentials_are_logged_at_any_level(database: Database) {
        let path = std::env::temp_dir().join(format!("antiphon-log-{}", antiphon::model::clock::new_id()));
        for level in ["trace", "trace,tungstenite=trace,tokio_tungstenite=trace,hyper=trace,sqlx=trace"] {
            let server = ChildServer::start_logging(&database, &[("RUST_LOG", level)], fs::File::create(&path).unwrap());
            let email = format!("{MARK}@example.com");
            let client = server.user(&email);
            use_every_door(&client, server.base()).await;
            // A token whose user has no name, and one with more claims.
            let odd = token_with(&email, json!({ "user_metadata": { "full_name": MARK }, "sub": format!("{MARK}|1") }));
            client.with_token(Some(odd.clone())).gql("{ viewer { fullName } }", json!({})).await.ok();
            // JSON that cannot be read.
            database.execute(&format!("UPDATE projects SET config = '{{{MARK}'")).await;
            client.gql("{ projects { nodes { config } } }", json!({})).await;
            server.stop();
            let log = fs::read_to_string(&path).unwrap();
            assert!(log.contains("\"level\":\"TRACE\"") || log.contains("\"level\":\"DEBUG\""), "{log:.500}");
            let signed = token(&email);
            let signature = |token: &str| token.rsplit_once('.').unwrap().1.to_owned();
            for secret in [MARK, JWT_SECRET, ":antiphon-test", &signature(&signed), &signature(&odd), signed.split('.').nth(1).unwrap()] {
                let line = log.lines().find(|line| line.contains(secret));
                assert!(line.is_none(), "{secret}: {}", line.unwrap_or_default());
            }
        }
        fs::remove_file(&path).unwrap();
    }

    async fn a_first_start_logs_the_migrations_in_one_line(database: Database) {
        let blank = Database::blank(database.kind()).await;
        let path = std::env::temp_dir().join(format!("antiphon-log-{}", antiphon::model::clock::new_id()));
        if blank.file().is_none() {
            tests::server::migrate(&blank).await;
        }
        let server = ChildServer::start_logging(&blank, &[("RUST_LOG", "")], fs::File::create(&path).unwrap());
        server.stop();
        let log = fs::read_to_string(&path).unwrap();
        let before: Vec<&str> = log.lines().take_while(|line| !line.contains("listening")).collect();
        assert!(before.len() <= 2, "{before:#?}");
        if blank.file().is_some() {
            assert!(before.iter().any(|line| line.contains("was migrated")), "{before:#?}");
        }
        fs::remove_file(&path).unwrap();
        blank.remove().await;
    }
}
