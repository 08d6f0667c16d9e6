//! Subscriptions over HTTP: server-sent events (`graphql-sse`, distinct connections mode) and `multipart/mixed`, by the
//! same rules as on a WebSocket.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{
    client::{Client, Stream},
    database::Database,
    project::Project,
    server::{Server, token_with},
};

const EVENTS: &str = "text/event-stream";
const PARTS: &str = r#"multipart/mixed;boundary="graphql";subscriptionSpec="1.0", application/json"#;
const LISTEN: &str =
    "subscription($id: ID!, $after: Int) { projectEvents(projectId: $id, afterRevision: $after) { revision kind } }";

async fn listen(client: &Client, accept: &str, project: &Project, after: Value, more: &[(&str, &str)]) -> Stream {
    let body = json!({ "query": LISTEN, "variables": { "id": project.id, "after": after } });
    client.stream(accept, more, &body).await
}

/// The next block of an event stream that is not a comment, without the blank line that ends it.
async fn event(stream: &mut Stream) -> Option<String> {
    loop {
        let block = stream.until("\n\n").await?;
        if block != ":" {
            return Some(block);
        }
    }
}

fn next(revision: i64, kind: &str) -> String {
    let data = format!(r#"{{"data":{{"projectEvents":{{"revision":{revision},"kind":"{kind}"}}}}}}"#);
    format!("id: {revision}\nevent: next\ndata: {data}")
}

/// The next part that is not a heartbeat.
async fn part(stream: &mut Stream) -> Option<Value> {
    loop {
        let part = stream.until("\r\n--graphql").await?;
        if part.is_empty() {
            continue;
        }
        let json =
            part.strip_prefix("\r\nContent-Type: application/json\r\n\r\n").unwrap_or_else(|| panic!("{part:?}"));
        let value: Value = serde_json::from_str(json).unwrap();
        if value != json!({}) {
            return Some(value);
        }
    }
}

tests::on_both! {
    async fn an_event_stream_replays_and_continues_live(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Events").await;
        let mut stream = listen(&project.client, EVENTS, &project, json!(0), &[]).await;
        assert_eq!((stream.status, stream.header("content-type")), (200, "text/event-stream; charset=utf-8"));
        assert_eq!(event(&mut stream).await.unwrap(), next(1, "PROJECT_CREATED"));
        project.create_file("a.py", "").await;
        assert_eq!(event(&mut stream).await.unwrap(), next(2, "FILES_CHANGED"));

        // On a reconnect, the header of an `EventSource` gives the position, and takes precedence over the document.
        drop(stream);
        project.start_session().await;
        let mut again = listen(&project.client, EVENTS, &project, json!(0), &[("last-event-id", "2")]).await;
        assert_eq!(event(&mut again).await.unwrap(), next(3, "SESSION_STARTED"));

        // Such a client has the event that `ready` would deliver first.
        let query = LISTEN.replace("afterRevision: $after", "afterRevision: $after, ready: true");
        let body = json!({ "query": query, "variables": { "id": project.id, "after": 0 } });
        let mut again = project.client.stream(EVENTS, &[("last-event-id", "2")], &body).await;
        assert_eq!(event(&mut again).await.unwrap(), next(3, "SESSION_STARTED"));
    }

    async fn multipart_replays_and_continues_live(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Parts").await;
        let mut stream = listen(&project.client, PARTS, &project, json!(0), &[]).await;
        assert_eq!((stream.status, stream.header("content-type")), (200, r#"multipart/mixed;boundary="graphql";subscriptionSpec="1.0""#));
        let data = |revision: i64, kind: &str| json!({ "payload": { "data": { "projectEvents": { "revision": revision, "kind": kind } } } });
        assert_eq!(part(&mut stream).await.unwrap(), data(1, "PROJECT_CREATED"));
        project.create_file("a.py", "").await;
        assert_eq!(part(&mut stream).await.unwrap(), data(2, "FILES_CHANGED"));
    }

    async fn a_removed_member_receives_nothing_more_over_any_transport(server: Server) {
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let project = Project::create(&ada, "Removed").await;
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        let database = server.database();
        database.add_collaborator(&project.id, "bob@example.com", "viewer", true).await;
        let mut of_ada = listen(&ada, EVENTS, &project, json!(0), &[]).await;
        let mut events = listen(&bob, EVENTS, &project, json!(0), &[]).await;
        let mut parts = listen(&bob, PARTS, &project, json!(0), &[]).await;
        event(&mut events).await.unwrap();
        part(&mut parts).await.unwrap();
        database.execute("DELETE FROM project_collaborators").await;
        project.create_file("secret.py", "").await;
        let refused = event(&mut events).await.unwrap();
        assert!(refused.contains("NOT_FOUND") && !refused.contains("revision"), "{refused}");
        assert_eq!(event(&mut events).await.unwrap(), "event: complete\ndata:");
        assert_eq!(part(&mut parts).await.unwrap()["errors"][0]["extensions"]["code"], "NOT_FOUND");
        for revision in 1..=2 {
            assert!(event(&mut of_ada).await.unwrap().starts_with(&format!("id: {revision}\n")));
        }
    }
}

tests::on_sqlite! {
    async fn every_operation_can_be_answered_as_events(server: Server) {
        let ada = server.user("ada@example.com");
        let ask = async |query: &str| ada.stream(EVENTS, &[], &json!({ "query": query })).await;
        let mut answer = ask("{ viewer { email } }").await;
        let data = json!({ "data": { "viewer": { "email": "ada@example.com" } } });
        assert_eq!(event(&mut answer).await.unwrap(), format!("event: next\ndata: {data}"));
        assert_eq!(event(&mut answer).await.unwrap(), "event: complete\ndata:");
        assert_eq!(event(&mut answer).await, None);

        // Refusals are sent within the stream.
        for (query, code) in [
            ("{", "GRAPHQL_PARSE_FAILED"),
            ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
            ("subscription { a: projectEvents(projectId: \"x\") { revision } b: projectEvents(projectId: \"x\") { revision } }", "GRAPHQL_VALIDATION_FAILED"),
            ("subscription { projectEvents(projectId: \"x\") { revision } }", "BAD_USER_INPUT"),
        ] {
            let mut answer = ask(query).await;
            assert_eq!(answer.status, 200);
            let refused = event(&mut answer).await.unwrap();
            assert!(refused.starts_with("event: next\ndata: {\"errors\":[{") && refused.contains(code), "{refused}");
            assert_eq!(event(&mut answer).await.unwrap(), "event: complete\ndata:");
        }
    }

    async fn multipart_is_for_subscriptions_only(server: Server) {
        let ada = server.user("ada@example.com");
        let answer = ada.stream(PARTS, &[], &json!({ "query": "{ viewer { id } }" })).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json; charset=utf-8"));
    }

    async fn an_invalid_event_id_cannot_be_resumed(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Resumed").await;
        let answer = listen(&ada, EVENTS, &project, json!(0), &[("last-event-id", "first")]).await;
        assert_eq!(answer.status, 400);
        for (id, why) in [("-1", "BAD_USER_INPUT"), ("99", "POSITION_LOST")] {
            let mut answer = listen(&ada, EVENTS, &project, json!(0), &[("last-event-id", id)]).await;
            let refused = event(&mut answer).await.unwrap();
            assert!(refused.contains(why), "{refused}");
        }
    }

    async fn an_idle_stream_has_heartbeats(database: Database) {
        let server = Server::start_with(&database, &["--socket-ping-seconds", "1"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Quiet").await;
        let mut events = listen(&ada, EVENTS, &project, json!(1), &[]).await;
        for _ in 0..3 {
            assert_eq!(events.until("\n\n").await.unwrap(), ":");
        }
        let mut parts = listen(&ada, PARTS, &project, json!(1), &[]).await;
        assert_eq!(parts.until("\r\n--graphql").await.unwrap(), "");
        for _ in 0..2 {
            assert_eq!(parts.until("\r\n--graphql").await.unwrap(), "\r\nContent-Type: application/json\r\n\r\n{}");
        }
        server.stop().await;
    }

    async fn an_expired_token_ends_its_stream(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Ends").await;
        let exp = antiphon::model::clock::now().timestamp() + 2;
        let ada = ada.with_token(Some(token_with("ada@example.com", json!({ "exp": exp }))));
        let mut events = listen(&ada, EVENTS, &project, json!(1), &[]).await;
        let mut parts = listen(&ada, PARTS, &project, json!(1), &[]).await;
        // Without `complete`, so that a client reconnects with a fresh token. Apollo's client does not reconnect, and
        // gets the reason.
        assert_eq!(event(&mut events).await, None);
        assert_eq!(part(&mut parts).await.unwrap()["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    }

    async fn a_stopping_server_does_not_complete_its_streams(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Stops").await;
        let mut events = listen(&ada, EVENTS, &project, json!(0), &[]).await;
        event(&mut events).await.unwrap();
        server.stop().await;
        assert_eq!(event(&mut events).await, None);
    }

    async fn the_number_of_connections_of_a_user_is_limited_and_the_error_names_the_setting(database: Database) {
        let server = Server::start_with(&database, &["--max-user-sockets", "2"]).await;
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let project = Project::create(&ada, "Many").await;
        let mut first = listen(&ada, EVENTS, &project, json!(0), &[]).await;
        event(&mut first).await.unwrap();
        let socket = ada.greeted().await;
        let mut refused = listen(&ada, PARTS, &project, json!(0), &[]).await;
        let told = refused.until("}]}").await.unwrap();
        assert_eq!((refused.status, refused.header("retry-after")), (429, "10"));
        assert!(told.contains("RATE_LIMITED") && told.contains("--max-user-sockets"), "{told}");
        let mut other = ada.socket().await;
        let payload = json!({ "Authorization": format!("Bearer {}", ada.token().unwrap()) });
        other.send(json!({ "type": "connection_init", "payload": payload })).await;
        match other.next().await {
            tests::socket::Frame::Close(1013, reason) => assert!(reason.contains("--max-user-sockets"), "{reason}"),
            frame => panic!("{frame:?}"),
        }
        // Other users have their own limit, and a closed connection makes room.
        drop(bob.greeted().await);
        drop((first, socket));
        let again = async {
            while listen(&ada, EVENTS, &project, json!(0), &[]).await.status != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), again).await.expect("a free place");
        drop((refused, other));
        server.stop().await;
    }
}
