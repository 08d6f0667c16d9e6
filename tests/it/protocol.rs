//! `graphql-transport-ws` over a bare socket, rule by rule, as in PROTOCOL.md of the npm package `graphql-ws`.

use std::time::Duration;

use antiphon::model::clock;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tests::{
    client::Client,
    database::Database,
    server::{Server, token, token_with, user_id},
    socket::{Frame, Socket},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::frame::{
        Frame as RawFrame,
        coding::{Data, OpCode},
    },
};

pub const VIEWER: &str = "{ viewer { email } }";
pub const EVENTS: &str = "subscription($id: ID!, $after: Int) {
    projectEvents(projectId: $id, afterRevision: $after) { revision message { content } } }";

/// A project with one session, at revision 2.
pub struct Project {
    pub owner: Client,
    pub id: String,
    pub session: String,
}

impl Project {
    pub async fn create(owner: &Client) -> Self {
        let input = json!({ "name": "Agent", "initialPrompt": "Talk.", "config": {} });
        let create = "mutation($input: CreateProjectInput!) { createProject(input: $input) { project { id } } }";
        let created = owner.gql(create, json!({ "input": input })).await.ok();
        let id = text(&created["createProject"]["project"]["id"]);
        let start = "mutation($input: StartSessionInput!) { startSession(input: $input) { session { id } } }";
        let started = owner.gql(start, json!({ "input": { "projectId": id } })).await.ok();
        Self { owner: owner.clone(), id, session: text(&started["startSession"]["session"]["id"]) }
    }

    /// Adds a message, and returns its revision.
    pub async fn add_message(&self, content: &str) -> u64 {
        let query = "mutation($input: AddMessageInput!) { addMessage(input: $input) { revision } }";
        let input = json!({ "sessionId": self.session, "role": "USER", "content": content });
        let data = self.owner.gql(query, json!({ "input": input })).await.ok();
        data["addMessage"]["revision"].as_u64().expect("a revision")
    }

    pub fn events_after(&self, revision: u64) -> Value {
        json!({ "id": self.id, "after": revision })
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A socket without any messages yet, of a client without a token.
pub async fn bare(server: &Server) -> Socket {
    server.anonymous().socket().await
}

/// Expects a close frame, whose reason must not exceed the protocol's maximum length.
#[track_caller]
pub fn closed(frame: Frame) -> (u16, String) {
    let Frame::Close(code, reason) = frame else { panic!("no close, but {frame:?}") };
    assert!(reason.len() <= 123, "{reason}");
    (code, reason)
}

/// All messages until the answer to a `ping` that is sent now: everything that the server had to send so far.
pub async fn until_pong(socket: &mut Socket) -> Vec<Value> {
    socket.send(json!({ "type": "ping" })).await;
    let mut messages = Vec::new();
    loop {
        let message = socket.message().await;
        if message == json!({ "type": "pong" }) {
            return messages;
        }
        messages.push(message);
    }
}

/// Sends the frame on one acknowledged and on one unacknowledged socket, and expects a close with 4400.
async fn refuses(server: &Server, is_greeted: bool, frame: Message) {
    let mut socket = bare(server).await;
    if is_greeted {
        socket.greet(Value::Null).await;
    }
    socket.send_frame(frame.clone()).await;
    let (code, reason) = closed(socket.next().await);
    assert_eq!(code, 4400, "{frame}: {reason}");
    assert!(!reason.is_empty(), "{frame}");
}

pub fn is_next(message: &Value, id: &str) -> bool {
    message["type"] == "next" && message["id"] == id
}

// ───────────────────────────── the handshake ─────────────────────────────

tests::on_sqlite! {
    async fn the_subprotocol_is_negotiated(server: Server) {
        let base = server.anonymous().base().to_owned();
        let offered = "graphql-ws, graphql-transport-ws";
        Socket::connect(&base, offered, &[]).await.unwrap().greet(Value::Null).await;
        for other in ["", "graphql-ws"] {
            let mut socket = Socket::connect(&base, other, &[]).await.unwrap();
            let (code, reason) = closed(socket.next().await);
            assert_eq!(code, 4406, "{other}");
            assert!(reason.contains("graphql-transport-ws"), "{reason}");
        }
    }

    async fn pages_of_other_sites_connect_only_if_allowed(database: Database) {
        let server = Server::start_with(&database, &["--allow-origin", "https://ide.example.com"]).await;
        let base = server.anonymous().base().to_owned();
        for origin in [&base, "https://ide.example.com"] {
            let socket = Socket::connect(&base, "graphql-transport-ws", &[("origin", origin)]).await;
            socket.unwrap_or_else(|error| panic!("{origin}: {error}")).greet(Value::Null).await;
        }
        for origin in ["https://evil.example.com", "http://127.0.0.1:1", "null"] {
            match Socket::connect(&base, "graphql-transport-ws", &[("origin", origin)]).await.err() {
                Some(Error::Http(answer)) => assert_eq!(answer.status(), 403, "{origin}"),
                other => panic!("{origin}: {other:?}"),
            }
        }
        server.stop().await;
    }
}

// ───────────────────────────── connection_init ─────────────────────────────

tests::on_sqlite! {
    async fn a_token_is_accepted_in_the_payload_or_the_handshake(server: Server) {
        let (base, token) = (server.anonymous().base().to_owned(), token("ada@example.com"));
        let bearer = format!("Bearer {token}");
        for payload in [
            json!({ "Authorization": bearer }),
            json!({ "authorization": bearer }),
            json!({ "headers": { "Authorization": bearer } }),
            json!({ "token": token }),
        ] {
            let mut socket = bare(&server).await;
            socket.greet(payload).await;
            socket.start("1", VIEWER, json!({})).await;
            assert_eq!(socket.message().await["payload"]["data"]["viewer"]["email"], "ada@example.com");
        }
        let headers = [("authorization", bearer.as_str())];
        let mut socket = Socket::connect(&base, "graphql-transport-ws", &headers).await.unwrap();
        socket.greet(Value::Null).await;
        socket.start("1", VIEWER, json!({})).await;
        assert_eq!(socket.message().await["payload"]["data"]["viewer"]["email"], "ada@example.com");
    }

    async fn each_operation_of_a_client_without_a_token_is_refused(server: Server) {
        let mut socket = bare(&server).await;
        socket.greet(Value::Null).await;
        socket.start("1", VIEWER, json!({})).await;
        let answer = socket.message().await;
        assert_eq!(answer["payload"]["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{answer}");
        assert_eq!(socket.message().await, json!({ "type": "complete", "id": "1" }));
        socket.start("2", EVENTS, json!({ "id": clock::new_id() })).await;
        let answer = socket.message().await;
        assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!("2")));
        assert_eq!(answer["payload"][0]["extensions"]["code"], "UNAUTHENTICATED", "{answer}");
    }

    async fn an_invalid_token_closes_with_4403(server: Server) {
        let base = server.anonymous().base().to_owned();
        let expired = token_with("ada@example.com", json!({ "exp": clock::now().timestamp() - 60 }));
        for payload in [
            json!({ "Authorization": format!("Bearer {expired}") }),
            json!({ "Authorization": "Bearer nonsense" }),
            json!({ "Authorization": "Basic YTpi" }),
            json!({ "Authorization": 7 }),
            json!({ "token": ["a"] }),
        ] {
            let mut socket = bare(&server).await;
            socket.send(json!({ "type": "connection_init", "payload": payload })).await;
            let (code, reason) = closed(socket.next().await);
            assert_eq!(code, 4403, "{payload}");
            assert!(!reason.is_empty() && !reason.contains(&expired), "{reason}");
        }
        // Browsers hide the status of a handshake, so an invalid token in the handshake is reported in the same way.
        let headers = [("authorization", "Bearer nonsense")];
        let mut socket = Socket::connect(&base, "graphql-transport-ws", &headers).await.unwrap();
        socket.send(json!({ "type": "connection_init" })).await;
        assert_eq!(closed(socket.next().await).0, 4403);
    }

    async fn a_second_connection_init_closes_with_4429(server: Server) {
        let mut socket = bare(&server).await;
        socket.greet(Value::Null).await;
        socket.send(json!({ "type": "connection_init" })).await;
        assert_eq!(closed(socket.next().await).0, 4429);

        // … even if the first one has not been acknowledged yet.
        let mut socket = server.user("ada@example.com").socket().await;
        socket.send(json!({ "type": "connection_init", "payload": { "token": token("ada@example.com") } })).await;
        socket.send(json!({ "type": "connection_init" })).await;
        assert_eq!(socket.next().await, Frame::Message(json!({ "type": "connection_ack" })));
        assert_eq!(closed(socket.next().await).0, 4429);
    }

    async fn no_connection_init_closes_with_4408(server: Server) {
        let mut socket = bare(&server).await;
        // A ping does not count as initialization.
        socket.send(json!({ "type": "ping" })).await;
        assert_eq!(socket.message().await, json!({ "type": "pong" }));
        assert_eq!(closed(socket.next_within(Duration::from_secs(20)).await).0, 4408);
    }

    async fn an_operation_before_the_acknowledgement_closes_with_4401(server: Server) {
        let mut socket = bare(&server).await;
        socket.start("1", VIEWER, json!({})).await;
        assert_eq!(closed(socket.next().await).0, 4401);
    }
}

// ───────────────────────────── messages ─────────────────────────────

tests::on_sqlite! {
    async fn a_message_that_is_not_a_json_object_closes_with_4400(server: Server) {
        let deep = format!(r#"{{"type":"ping","payload":{{"a":{}}}}}"#, "[".repeat(20_000));
        for text in ["not JSON", "", "5", "null", "\"ping\"", r#"["ping"]"#, r#"{"type":"ping""#, r#"{"type":"ping"}{}"#, &deep] {
            refuses(&server, true, Message::text(text)).await;
            refuses(&server, false, Message::text(text)).await;
        }
    }

    async fn a_message_type_that_clients_do_not_send_closes_with_4400(server: Server) {
        let payload = json!({ "query": VIEWER });
        for kind in [json!("start"), json!("stop"), json!("connection_ack"), json!("next"), json!("error"), json!("Ping"), json!(""), json!(5), Value::Null] {
            let message = json!({ "type": kind, "id": "1", "payload": payload }).to_string();
            refuses(&server, true, Message::text(message.clone())).await;
            refuses(&server, false, Message::text(message)).await;
        }
        refuses(&server, true, Message::text("{}")).await;
    }

    async fn an_operation_without_a_usable_id_closes_with_4400(server: Server) {
        for id in [json!(""), json!(1), json!(["1"]), Value::Null] {
            let subscribe = json!({ "type": "subscribe", "id": id, "payload": { "query": VIEWER } });
            refuses(&server, true, Message::text(subscribe.to_string())).await;
            refuses(&server, true, Message::text(json!({ "type": "complete", "id": id }).to_string())).await;
        }
        refuses(&server, true, Message::text(json!({ "type": "subscribe", "payload": { "query": VIEWER } }).to_string())).await;
        refuses(&server, true, Message::text(json!({ "type": "complete" }).to_string())).await;
    }

    async fn a_payload_of_the_wrong_shape_closes_with_4400(server: Server) {
        for kind in ["connection_init", "ping", "pong", "subscribe"] {
            for payload in [json!("text"), json!([]), json!(5), json!(true)] {
                let message = json!({ "type": kind, "id": "1", "payload": payload });
                refuses(&server, kind != "connection_init", Message::text(message.to_string())).await;
            }
        }
        let long = "é".repeat(300);
        refuses(&server, true, Message::text(json!({ "type": "subscribe", "id": "1" }).to_string())).await;
        for payload in [
            json!({}),
            json!({ "query": null }),
            json!({ "query": 5 }),
            json!({ "query": VIEWER, "variables": long }),
            json!({ "query": VIEWER, "variables": [] }),
            json!({ "query": VIEWER, "operationName": 5 }),
            json!({ "query": VIEWER, "extensions": [] }),
        ] {
            let message = json!({ "type": "subscribe", "id": "1", "payload": payload });
            refuses(&server, true, Message::text(message.to_string())).await;
        }
    }

    async fn a_binary_frame_always_closes_with_4400(server: Server) {
        for bytes in [&br#"{"type":"ping"}"#[..], b"", b"\xff"] {
            for is_greeted in [true, false] {
                refuses(&server, is_greeted, Message::binary(bytes)).await;
            }
        }
    }

    async fn unknown_members_of_a_message_are_ignored(server: Server) {
        let mut socket = bare(&server).await;
        let init = json!({ "type": "connection_init", "payload": { "token": token("ada@example.com"), "client": "tests" }, "id": "x", "more": [1] });
        socket.send(init).await;
        assert_eq!(socket.message().await, json!({ "type": "connection_ack" }));
        socket.send(json!({ "type": "ping", "more": 1 })).await;
        assert_eq!(socket.message().await, json!({ "type": "pong" }));
        let payload = json!({ "query": VIEWER, "more": { "and": "more" }, "extensions": { "unheardOf": 1 } });
        socket.send(json!({ "type": "subscribe", "id": "1", "payload": payload, "more": null })).await;
        assert!(is_next(&socket.message().await, "1"));
        assert_eq!(socket.message().await, json!({ "type": "complete", "id": "1" }));

        // A payload can be null.
        let mut socket = bare(&server).await;
        socket.send(json!({ "type": "connection_init", "payload": null })).await;
        assert_eq!(socket.message().await, json!({ "type": "connection_ack" }));
    }

    async fn a_message_can_consist_of_any_number_of_frames(server: Server) {
        let mut socket = server.user("ada@example.com").greeted().await;
        let rename = "mutation($input: UpdateProfileInput!) { updateProfile(input: $input) { fullName } }";
        let name = "Adé ".repeat(50);
        let payload = json!({ "query": rename, "variables": { "input": { "fullName": name } } });
        let message = json!({ "type": "subscribe", "id": "1", "payload": payload }).to_string();
        // Frames split characters, and a WebSocket ping comes in between.
        let frames: Vec<_> = message.as_bytes().chunks(7).collect();
        for (at, bytes) in frames.iter().enumerate() {
            let kind = if at == 0 { Data::Text } else { Data::Continue };
            let frame = RawFrame::message(bytes.to_vec(), OpCode::Data(kind), at + 1 == frames.len());
            socket.send_frame(Message::Frame(frame)).await;
            if at % 50 == 1 {
                socket.send_frame(Message::Ping("between".into())).await;
            }
        }
        assert_eq!(socket.message().await["payload"]["data"]["updateProfile"]["fullName"], name);
        assert_eq!(socket.message().await, json!({ "type": "complete", "id": "1" }));
    }

    async fn a_message_can_arrive_byte_by_byte(server: Server) {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let head = "GET /graphql/ws HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: graphql-transport-ws\r\n\r\n";
        let init = br#"{"type":"connection_init"}"#;
        // A text frame with a mask of zeros (RFC 6455, section 5.2).
        let frame = [&[0x81, 0x80 | u8::try_from(init.len()).unwrap(), 0, 0, 0, 0], &init[..]].concat();
        for byte in head.bytes().chain(frame) {
            stream.write_all(&[byte]).await.unwrap();
        }
        let mut said = Vec::new();
        while !said.ends_with(br#"{"type":"connection_ack"}"#) {
            assert!(timeout(Duration::from_secs(10), stream.read_buf(&mut said)).await.unwrap().unwrap() > 0);
        }
    }

    async fn large_messages_arrive_whole_in_both_directions(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut socket = project.owner.greeted().await;
        let content = "é".repeat(400_000);
        let say = "mutation($input: AddMessageInput!) { addMessage(input: $input) { message { content } } }";
        socket.start("1", say, json!({ "input": { "sessionId": project.session, "role": "USER", "content": content } })).await;
        assert_eq!(socket.message().await["payload"]["data"]["addMessage"]["message"]["content"], content);
        assert_eq!(socket.message().await, json!({ "type": "complete", "id": "1" }));
    }

    async fn a_client_that_keeps_sending_still_receives_the_close_code(server: Server) {
        let mut socket = bare(&server).await;
        for _ in 0..1_000 {
            socket.send(json!({ "type": "nonsense" })).await;
        }
        assert_eq!(closed(socket.next().await).0, 4400);
    }

    async fn a_message_over_the_limit_closes_with_1009_and_names_the_setting(database: Database) {
        let server = Server::start_with(&database, &["--max-body-bytes", "2000"]).await;
        let mut socket = bare(&server).await;
        socket.greet(Value::Null).await;
        socket.start("1", &format!("{VIEWER} #{}", "x".repeat(1_500)), json!({})).await;
        assert_eq!(socket.message().await["type"], "next");
        assert_eq!(socket.message().await["type"], "complete");
        socket.start("2", &format!("{VIEWER} #{}", "x".repeat(5_000)), json!({})).await;
        let (code, reason) = closed(socket.next().await);
        assert_eq!(code, 1009);
        assert!(reason.contains("2000") && reason.contains("--max-body-bytes"), "{reason}");

        // A client that is still sending its message gets the reason too.
        let mut socket = bare(&server).await;
        socket.greet(Value::Null).await;
        socket.start("3", &format!("{VIEWER} #{}", "x".repeat(32 << 20)), json!({})).await;
        assert_eq!(closed(socket.next().await).0, 1009);

        // The same for a message in parts, each of which is within the limit.
        let mut socket = bare(&server).await;
        for part in 0..4 {
            let kind = if part == 0 { Data::Text } else { Data::Continue };
            let frame = RawFrame::message("x".repeat(900), OpCode::Data(kind), false);
            socket.send_frame(Message::Frame(frame)).await;
        }
        assert_eq!(closed(socket.next().await).0, 1009);
        server.stop().await;
    }

    async fn a_ping_is_answered_at_any_time(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut socket = bare(&server).await;
        assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());
        socket.greet(json!({ "token": token("ada@example.com") })).await;
        assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());
        socket.start("1", EVENTS, project.events_after(1)).await;
        assert!(is_next(&socket.message().await, "1"));
        assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());
    }

    async fn a_ping_is_answered_with_its_payload_and_a_pong_with_nothing(server: Server) {
        let mut socket = bare(&server).await;
        for payload in [json!({}), json!({ "at": 1, "text": "é" })] {
            socket.send(json!({ "type": "ping", "payload": payload })).await;
            assert_eq!(socket.message().await, json!({ "type": "pong", "payload": payload }));
        }
        for ping in [json!({ "type": "ping" }), json!({ "type": "ping", "payload": null })] {
            socket.send(ping).await;
            assert_eq!(socket.message().await, json!({ "type": "pong" }));
        }
        // The server does not echo long payloads.
        socket.send(json!({ "type": "ping", "payload": { "text": "x".repeat(2_000) } })).await;
        assert_eq!(socket.message().await, json!({ "type": "pong" }));
        socket.send(json!({ "type": "pong", "payload": { "unasked": true } })).await;
        assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());
    }
}

// ───────────────────────────── operations ─────────────────────────────

tests::on_sqlite! {
    async fn a_query_and_a_mutation_have_one_result_and_complete(server: Server) {
        let mut socket = server.user("ada@example.com").greeted().await;
        socket.start("q", VIEWER, json!({})).await;
        let data = json!({ "data": { "viewer": { "email": "ada@example.com" } } });
        assert_eq!(socket.message().await, json!({ "type": "next", "id": "q", "payload": data }));
        assert_eq!(socket.message().await, json!({ "type": "complete", "id": "q" }));

        let rename = "mutation($input: UpdateProfileInput!) { updateProfile(input: $input) { fullName } }";
        socket.start("m", rename, json!({ "input": { "fullName": "Ada L." } })).await;
        assert_eq!(socket.message().await["payload"]["data"]["updateProfile"]["fullName"], "Ada L.");
        assert_eq!(socket.message().await, json!({ "type": "complete", "id": "m" }));
        // After `complete`, the id is free again.
        socket.start("m", VIEWER, json!({})).await;
        assert!(is_next(&socket.message().await, "m"));
        assert_eq!(socket.message().await["type"], "complete");
        assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());
    }

    async fn the_operation_of_a_document_is_chosen_by_name(server: Server) {
        let mut socket = server.user("ada@example.com").greeted().await;
        let query = "query A { viewer { id } } query B { viewer { email } }";
        let payload = json!({ "query": query, "operationName": "B", "variables": null, "extensions": null });
        socket.send(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
        let answer = socket.message().await;
        assert_eq!(answer["payload"]["data"], json!({ "viewer": { "email": "ada@example.com" } }));
    }

    async fn a_refused_operation_has_an_error_and_no_complete(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut socket = project.owner.greeted().await;
        let nested = format!("{{ {} id {} }}", "viewer { ".repeat(40), "}".repeat(40));
        let unknown = json!({ "id": clock::new_id() });
        for (query, variables, code) in [
            ("{", json!({}), "GRAPHQL_PARSE_FAILED"),
            ("{ nothing }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
            ("query A { viewer { id } } query B { viewer { id } }", json!({}), "BAD_USER_INPUT"),
            (EVENTS, json!({}), "BAD_USER_INPUT"),
            (EVENTS, json!({ "id": "no id" }), "BAD_USER_INPUT"),
            (EVENTS, project.events_after(1_000), "POSITION_LOST"),
            (EVENTS, unknown, "NOT_FOUND"),
            (nested.as_str(), json!({}), "QUERY_TOO_COMPLEX"),
        ] {
            socket.start("1", query, variables).await;
            let answer = socket.message().await;
            assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!("1")), "{query}: {answer}");
            let errors = answer["payload"].as_array().unwrap_or_else(|| panic!("no list: {answer}"));
            assert_eq!(errors[0]["extensions"]["code"], code, "{query}: {answer}");
            assert!(errors[0]["message"].is_string(), "{answer}");
            assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new(), "{query}");
        }
    }

    async fn a_failed_field_is_a_result_with_errors(server: Server) {
        let mut socket = server.user("ada@example.com").greeted().await;
        socket.start("1", "{ viewer { email } project(id: \"no id\") { id } }", json!({})).await;
        let answer = socket.message().await;
        assert!(is_next(&answer, "1"), "{answer}");
        let data = json!({ "viewer": { "email": "ada@example.com" }, "project": null });
        assert_eq!(answer["payload"]["data"], data);
        assert_eq!(answer["payload"]["errors"][0]["path"], json!(["project"]));
        assert_eq!(socket.message().await, json!({ "type": "complete", "id": "1" }));
    }

    async fn an_id_in_use_closes_with_4409_for_every_operation(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        let say = "mutation($input: AddMessageInput!) { addMessage(input: $input) { revision } }";
        let input = json!({ "input": { "sessionId": project.session, "role": "USER", "content": "unsaid" } });
        let before = project.add_message("said").await;
        let long = "é".repeat(200);
        for (id, query, variables) in [
            ("same", VIEWER, json!({})),
            ("same", say, input),
            ("same", EVENTS, project.events_after(1)),
            ("same", "{", json!({})),
            (&long, VIEWER, json!({})),
        ] {
            let mut socket = project.owner.greeted().await;
            socket.start(id, EVENTS, project.events_after(before - 1)).await;
            assert!(is_next(&socket.message().await, id));
            socket.start(id, query, variables).await;
            let (code, reason) = closed(socket.next().await);
            assert_eq!(code, 4409, "{query}");
            let whole = format!("Subscriber for {id} already exists");
            assert!(if id == long { whole.starts_with(&reason) } else { reason == whole }, "{reason}");
        }
        // The refused operation has not run.
        assert_eq!(project.add_message("next").await, before + 1);
    }

    async fn an_error_at_run_time_ends_an_operation_without_complete_and_frees_its_id(server: Server) {
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let project = Project::create(&ada).await;
        bob.gql(VIEWER, json!({})).await.ok();
        server.database().add_collaborator(&project.id, "bob@example.com", "viewer", true).await;
        let mut socket = bob.greeted().await;
        socket.start("1", EVENTS, project.events_after(1)).await;
        assert!(is_next(&socket.message().await, "1"));
        let remove = "mutation($project: ID!, $user: ID!) { removeCollaborator(projectId: $project, userId: $user) { revision } }";
        ada.gql(remove, json!({ "project": project.id, "user": user_id("bob@example.com") })).await.ok();
        let answer = socket.message().await;
        assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!("1")), "{answer}");
        assert_eq!(answer["payload"][0]["extensions"]["code"], "NOT_FOUND", "{answer}");
        project.add_message("unheard").await;
        assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());
        socket.start("1", VIEWER, json!({})).await;
        assert!(is_next(&socket.message().await, "1"));
        assert_eq!(socket.message().await, json!({ "type": "complete", "id": "1" }));
    }

    async fn a_stream_ends_when_its_client_completes_it(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        for n in 0..100 {
            project.add_message(&n.to_string().repeat(5_000)).await;
        }
        let mut socket = project.owner.greeted().await;
        for round in 0..10 {
            socket.start("hot", EVENTS, project.events_after(0)).await;
            for _ in 0..=round {
                assert!(is_next(&socket.message().await, "hot"));
            }
            socket.send(json!({ "type": "complete", "id": "hot" })).await;
            // Messages already on their way can still arrive; after the pong nothing does.
            let late = until_pong(&mut socket).await;
            assert!(late.iter().all(|message| is_next(message, "hot")) && late.len() < 90, "{}", late.len());
            assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());
        }
        socket.start("hot", EVENTS, project.events_after(101)).await;
        assert_eq!(socket.message().await["payload"]["data"]["projectEvents"]["revision"], 102);
    }

    async fn a_result_that_its_client_completed_is_not_sent(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut socket = project.owner.greeted().await;
        // Given a mutation that waits for another writer …
        let mut writer = SqliteConnection::connect(&server.database().url()).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
        let say = "mutation($input: AddMessageInput!) { addMessage(input: $input) { revision } }";
        socket.start("1", say, json!({ "input": { "sessionId": project.session, "role": "USER", "content": "late" } })).await;
        for _ in 0..20 {
            assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());
        }
        // … when its client completes it, then its id is free at once …
        socket.send(json!({ "type": "complete", "id": "1" })).await;
        socket.start("1", VIEWER, json!({})).await;
        assert_eq!(socket.message().await["payload"]["data"]["viewer"]["email"], "ada@example.com");
        assert_eq!(socket.message().await, json!({ "type": "complete", "id": "1" }));
        // … and no result is sent, although the write is done: a started write always runs to its end.
        sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
        assert_eq!(project.add_message("later").await, 4);
        assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());
    }

    async fn a_complete_can_cross_the_servers_own(server: Server) {
        let mut socket = server.user("ada@example.com").greeted().await;
        for round in 0..200 {
            let id = round.to_string();
            socket.start(&id, VIEWER, json!({})).await;
            if round % 3 == 0 {
                assert!(is_next(&socket.message().await, &id));
            }
            socket.send(json!({ "type": "complete", "id": id })).await;
            for message in until_pong(&mut socket).await {
                assert_eq!(message["id"], id, "{message}");
                assert!(message["type"] == "next" || message["type"] == "complete", "{message}");
            }
        }
    }

    async fn a_completed_subscription_receives_nothing_more_and_frees_its_id(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut socket = project.owner.greeted().await;
        socket.start("1", EVENTS, project.events_after(1)).await;
        assert!(is_next(&socket.message().await, "1"));
        socket.send(json!({ "type": "complete", "id": "1" })).await;
        assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());
        let revision = project.add_message("unheard").await;
        // An unknown or completed id is no error.
        socket.send(json!({ "type": "complete", "id": "1" })).await;
        socket.send(json!({ "type": "complete", "id": "never" })).await;
        assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());

        socket.start("1", EVENTS, project.events_after(revision)).await;
        project.add_message("heard").await;
        let event = socket.message().await;
        assert!(is_next(&event, "1"), "{event}");
        assert_eq!(event["payload"]["data"]["projectEvents"]["message"]["content"], "heard");
    }

    async fn operations_share_a_socket_and_each_result_carries_its_id(server: Server) {
        let ada = server.user("ada@example.com");
        let (one, two) = (Project::create(&ada).await, Project::create(&ada).await);
        let mut socket = ada.greeted().await;
        socket.start("one", EVENTS, one.events_after(2)).await;
        socket.start("two", EVENTS, two.events_after(2)).await;
        for (project, id) in [(&one, "one"), (&two, "two"), (&one, "one")] {
            project.add_message(id).await;
            let event = socket.message().await;
            assert!(is_next(&event, id), "{event}");
            assert_eq!(event["payload"]["data"]["projectEvents"]["message"]["content"], id);
        }
    }
}
