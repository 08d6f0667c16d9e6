//! `graphql-transport-ws` over a bare socket, rule by rule: PROTOCOL.md of npm `graphql-ws`, and what this server adds to it
//! (who may connect, how much a socket may ask for, what a slow or silent client meets).

use std::time::{Duration, Instant};

use antiphon::model::clock;
use serde_json::{Value, json};
use tests::{
    client::Client,
    database::Database,
    server::{Server, token, token_with},
    socket::{End, Frame, Socket, Subscription},
};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{
        CloseFrame,
        frame::{
            Frame as RawFrame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};

const VIEWER: &str = "{ viewer { email } }";
const EVENTS: &str = "subscription($id: ID!, $after: Int) {
    projectEvents(projectId: $id, afterRevision: $after) { revision message { content } } }";

/// A project with one session, at revision 2.
struct Project {
    owner: Client,
    id: String,
    session: String,
}

impl Project {
    async fn create(owner: &Client) -> Self {
        let input = json!({ "name": "Agent", "initialPrompt": "Talk.", "config": {} });
        let create = "mutation($input: CreateProjectInput!) { createProject(input: $input) { project { id } } }";
        let created = owner.gql(create, json!({ "input": input })).await.ok();
        let id = text(&created["createProject"]["project"]["id"]);
        let start = "mutation($input: StartSessionInput!) { startSession(input: $input) { session { id } } }";
        let started = owner.gql(start, json!({ "input": { "projectId": id } })).await.ok();
        Self { owner: owner.clone(), id, session: text(&started["startSession"]["session"]["id"]) }
    }

    /// Adds a message, and answers its revision.
    async fn say(&self, content: &str) -> u64 {
        let query = "mutation($input: AddMessageInput!) { addMessage(input: $input) { revision } }";
        let input = json!({ "sessionId": self.session, "role": "USER", "content": content });
        let data = self.owner.gql(query, json!({ "input": input })).await.ok();
        data["addMessage"]["revision"].as_u64().expect("a revision")
    }

    fn events_after(&self, revision: u64) -> Value {
        json!({ "id": self.id, "after": revision })
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A socket on which nothing has been said, of a client without a token.
async fn bare(server: &Server) -> Socket {
    server.anonymous().socket().await
}

/// The close frame that must come next, its reason as long as one may be.
#[track_caller]
fn closed(frame: Frame) -> (u16, String) {
    let Frame::Close(code, reason) = frame else { panic!("no close, but {frame:?}") };
    assert!(reason.len() <= 123, "{reason}");
    (code, reason)
}

/// Everything that comes until the answer to a `ping` sent now: what the server had to say up to here.
async fn until_pong(socket: &mut Socket) -> Vec<Value> {
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

fn is_next(message: &Value, id: &str) -> bool {
    message["type"] == "next" && message["id"] == id
}

// ───────────────────────────── the handshake ─────────────────────────────

tests::on_sqlite! {
    async fn the_protocol_is_chosen_among_those_offered(server: Server) {
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

    async fn a_page_of_another_site_may_not_connect_unless_it_is_allowed(database: Database) {
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
    async fn a_token_may_come_in_the_payload_or_in_the_handshake(server: Server) {
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

    async fn a_client_without_a_token_learns_of_it_from_each_operation(server: Server) {
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

    async fn a_token_that_does_not_hold_closes_with_4403(server: Server) {
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
        // A browser cannot see a handshake's status, so a bad token there is told in the same way.
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

        // … even where the first has not been acknowledged yet.
        let mut socket = server.user("ada@example.com").socket().await;
        socket.send(json!({ "type": "connection_init", "payload": { "token": token("ada@example.com") } })).await;
        socket.send(json!({ "type": "connection_init" })).await;
        assert_eq!(socket.next().await, Frame::Message(json!({ "type": "connection_ack" })));
        assert_eq!(closed(socket.next().await).0, 4429);
    }

    async fn no_connection_init_closes_with_4408(server: Server) {
        let mut socket = bare(&server).await;
        // Pings are no initialisation.
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
    async fn a_message_that_the_protocol_does_not_have_closes_with_4400(server: Server) {
        let long = "é".repeat(300);
        for message in [
            "not JSON".to_owned(),
            String::new(),
            json!(["connection_init"]).to_string(),
            json!({}).to_string(),
            json!({ "type": "start", "id": "1", "payload": { "query": VIEWER } }).to_string(),
            json!({ "type": "connection_ack" }).to_string(),
            json!({ "type": "next", "id": "1", "payload": {} }).to_string(),
            json!({ "type": "ping", "payload": "text" }).to_string(),
            json!({ "type": "subscribe", "payload": { "query": VIEWER } }).to_string(),
            json!({ "type": "subscribe", "id": 1, "payload": { "query": VIEWER } }).to_string(),
            json!({ "type": "subscribe", "id": "", "payload": { "query": VIEWER } }).to_string(),
            json!({ "type": "subscribe", "id": "1" }).to_string(),
            json!({ "type": "subscribe", "id": "1", "payload": {} }).to_string(),
            json!({ "type": "subscribe", "id": "1", "payload": { "query": 5 } }).to_string(),
            json!({ "type": "subscribe", "id": "1", "payload": { "query": VIEWER, "variables": long } }).to_string(),
            json!({ "type": "complete" }).to_string(),
        ] {
            let mut socket = bare(&server).await;
            socket.greet(Value::Null).await;
            socket.send_frame(Message::text(message.clone())).await;
            let (code, reason) = closed(socket.next().await);
            assert_eq!(code, 4400, "{message}");
            assert!(reason.starts_with("Invalid message: "), "{message}: {reason}");
        }
        let mut socket = bare(&server).await;
        socket.send_frame(Message::binary(r#"{"type":"connection_init"}"#)).await;
        assert_eq!(closed(socket.next().await).0, 4400);
    }

    async fn a_client_that_goes_on_talking_sees_the_close_code_all_the_same(server: Server) {
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

        // The same where it comes in parts, none of which is too long.
        let mut socket = bare(&server).await;
        for part in 0..4 {
            let kind = if part == 0 { Data::Text } else { Data::Continue };
            let frame = RawFrame::message("x".repeat(900), OpCode::Data(kind), false);
            socket.send_frame(Message::Frame(frame)).await;
        }
        assert_eq!(closed(socket.next().await).0, 1009);
        server.stop().await;
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
        // A payload of any size would make the server say back whatever it is told.
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
        // Once complete, an id is free.
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

    async fn an_operation_that_is_refused_has_an_error_and_no_complete(server: Server) {
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
            (EVENTS, project.events_after(1_000), "BAD_USER_INPUT"),
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

    async fn a_field_that_fails_is_a_result_with_errors(server: Server) {
        let mut socket = server.user("ada@example.com").greeted().await;
        socket.start("1", "{ viewer { email } project(id: \"no id\") { id } }", json!({})).await;
        let answer = socket.message().await;
        assert!(is_next(&answer, "1"), "{answer}");
        let data = json!({ "viewer": { "email": "ada@example.com" }, "project": null });
        assert_eq!(answer["payload"]["data"], data);
        assert_eq!(answer["payload"]["errors"][0]["path"], json!(["project"]));
        assert_eq!(socket.message().await, json!({ "type": "complete", "id": "1" }));
    }

    async fn an_id_in_use_closes_with_4409(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut socket = project.owner.greeted().await;
        socket.start("same", EVENTS, project.events_after(1)).await;
        assert!(is_next(&socket.message().await, "same"));
        socket.start("same", VIEWER, json!({})).await;
        assert_eq!(closed(socket.next().await), (4409, "Subscriber for same already exists".to_owned()));
    }

    async fn a_listener_that_completes_hears_nothing_more_and_frees_its_id(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut socket = project.owner.greeted().await;
        socket.start("1", EVENTS, project.events_after(1)).await;
        assert!(is_next(&socket.message().await, "1"));
        socket.send(json!({ "type": "complete", "id": "1" })).await;
        assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());
        let revision = project.say("unheard").await;
        // An id that nobody has, or no longer has, is no error.
        socket.send(json!({ "type": "complete", "id": "1" })).await;
        socket.send(json!({ "type": "complete", "id": "never" })).await;
        assert_eq!(until_pong(&mut socket).await, Vec::<Value>::new());

        socket.start("1", EVENTS, project.events_after(revision)).await;
        project.say("heard").await;
        let event = socket.message().await;
        assert!(is_next(&event, "1"), "{event}");
        assert_eq!(event["payload"]["data"]["projectEvents"]["message"]["content"], "heard");
    }

    async fn operations_share_a_socket_and_say_whose_each_result_is(server: Server) {
        let ada = server.user("ada@example.com");
        let (one, two) = (Project::create(&ada).await, Project::create(&ada).await);
        let mut socket = ada.greeted().await;
        socket.start("one", EVENTS, one.events_after(2)).await;
        socket.start("two", EVENTS, two.events_after(2)).await;
        for (project, id) in [(&one, "one"), (&two, "two"), (&one, "one")] {
            project.say(id).await;
            let event = socket.message().await;
            assert!(is_next(&event, id), "{event}");
            assert_eq!(event["payload"]["data"]["projectEvents"]["message"]["content"], id);
        }
    }
}

// ───────────────────────────── how much, how fast, how long ─────────────────────────────

tests::on_sqlite! {
    async fn a_socket_has_so_many_operations_and_is_told_which_setting_says_so(database: Database) {
        let server = Server::start_with(&database, &["--max-socket-operations", "2"]).await;
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut socket = project.owner.greeted().await;
        for id in ["1", "2"] {
            socket.start(id, EVENTS, project.events_after(2)).await;
        }
        socket.start("3", VIEWER, json!({})).await;
        let answer = socket.message().await;
        assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!("3")), "{answer}");
        assert_eq!(answer["payload"][0]["extensions"]["code"], "RATE_LIMITED");
        assert!(text(&answer["payload"][0]["message"]).contains("--max-socket-operations"));

        // The others go on, and one that completes makes room.
        project.say("on").await;
        let mut heard = [text(&socket.message().await["id"]), text(&socket.message().await["id"])];
        heard.sort();
        assert_eq!(heard, ["1", "2"]);
        socket.send(json!({ "type": "complete", "id": "1" })).await;
        socket.start("3", VIEWER, json!({})).await;
        assert!(is_next(&socket.message().await, "3"));
        server.stop().await;
    }

    async fn a_hot_stream_does_not_starve_another_operation_of_its_socket(server: Server) {
        const EVENTS_THERE: usize = 400;
        let project = Project::create(&server.user("ada@example.com")).await;
        let large = "x".repeat(10_000);
        for _ in 0..EVENTS_THERE {
            project.say(&large).await;
        }
        let mut socket = project.owner.greeted().await;
        socket.start("hot", EVENTS, project.events_after(0)).await;
        assert!(is_next(&socket.message().await, "hot"));
        socket.start("asked", VIEWER, json!({})).await;
        socket.send(json!({ "type": "ping" })).await;
        let (mut hot, mut answered, mut ponged) = (1, None, None);
        while answered.is_none() || ponged.is_none() {
            match socket.message().await {
                message if is_next(&message, "hot") => hot += 1,
                message if is_next(&message, "asked") => answered = Some(hot),
                message if message["type"] == "pong" => ponged = Some(hot),
                message => assert_eq!(message, json!({ "type": "complete", "id": "asked" })),
            }
        }
        // The network's buffers hold a few hundred kilobytes of the stream before the answer's turn comes.
        let most = EVENTS_THERE / 2;
        assert!(answered.unwrap() < most && ponged.unwrap() < most, "after {answered:?} and {ponged:?} events");
    }

    async fn a_slow_reader_misses_nothing(server: Server) {
        // Given a listener that does not read while far more is written than any buffer holds …
        const MESSAGES: u64 = 300;
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut listener = project.owner.subscribe(EVENTS, project.events_after(0)).await;
        let large = "x".repeat(100_000);
        let started = Instant::now();
        for _ in 0..MESSAGES {
            project.say(&large).await;
        }
        assert!(started.elapsed() < Duration::from_secs(50), "the server gives a silent peer up after a minute");
        // … when it reads at last, then every revision is there, once and in order, and so is what comes after.
        for revision in 1..=MESSAGES + 2 {
            assert_eq!(listener.event().await["projectEvents"]["revision"], revision);
        }
        let revision = project.say("and on").await;
        assert_eq!(listener.event().await["projectEvents"]["revision"], revision);
    }

    async fn a_client_that_only_listens_is_pinged_and_one_that_is_dead_is_let_go(database: Database) {
        let server = Server::start_with(&database, &["--socket-ping-seconds", "1"]).await;
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut dead = project.owner.greeted().await;
        let mut alive = project.owner.greeted().await;
        alive.start("1", EVENTS, project.events_after(2)).await;
        for _ in 0..5 {
            alive.pinged().await;
        }
        project.say("still here").await;
        assert!(is_next(&alive.message().await, "1"));
        // The other one has answered nothing meanwhile.
        assert_eq!(dead.next().await, Frame::Gone);
        server.stop().await;
    }

    async fn a_token_that_ends_ends_its_socket_with_4403(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        let now = clock::now().timestamp();
        let brief = project.owner.with_token(Some(token_with("ada@example.com", json!({ "exp": now + 3 }))));
        let mut listener = brief.subscribe(EVENTS, project.events_after(1)).await;
        assert_eq!(listener.event().await["projectEvents"]["revision"], 2);
        assert_eq!(listener.next().await, None);
        assert_eq!(listener.end(), Some(&End::Close(4403, "The token has expired".to_owned())));
        let late = clock::now().timestamp() - now;
        assert!((3..=4).contains(&late), "ended after {late} seconds");

        // Whoever comes back with a new token misses nothing.
        project.say("meanwhile").await;
        let mut again = project.owner.subscribe(EVENTS, project.events_after(2)).await;
        assert_eq!(again.event().await["projectEvents"]["message"]["content"], "meanwhile");
    }

    async fn a_client_that_closes_is_answered_and_leaves_nothing_behind(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut socket = project.owner.greeted().await;
        socket.start("1", EVENTS, project.events_after(2)).await;
        let close = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
        socket.send_frame(Message::Close(Some(close))).await;
        assert_eq!(closed(socket.next().await).0, 1000);
        assert_eq!(socket.next().await, Frame::Gone);
        let stop = timeout(Duration::from_secs(3), server.stop()).await;
        assert!(stop.is_ok(), "the socket's task is still there");
    }

    async fn a_server_that_stops_says_1001_and_a_listener_goes_on_elsewhere(database: Database) {
        let server = Server::start(&database).await;
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut listener = Subscription::start(project.owner.greeted().await, EVENTS, project.events_after(0)).await;
        let mut idle = bare(&server).await;
        assert_eq!(listener.event().await["projectEvents"]["revision"], 1);
        assert_eq!(listener.event().await["projectEvents"]["revision"], 2);
        let stopping = tokio::spawn({
            let server = server.clone();
            async move {
                let started = Instant::now();
                server.stop().await;
                started.elapsed()
            }
        });
        assert_eq!(closed(idle.next().await).0, 1001);
        assert_eq!(listener.next().await, None);
        assert!(matches!(listener.end(), Some(End::Close(1001, _))), "{:?}", listener.end());
        drop((idle, listener));
        let took = stopping.await.unwrap();
        assert!(took < Duration::from_secs(3), "stopping took {took:?}");

        let server = Server::start(&database).await;
        let project = Project { owner: server.user("ada@example.com"), ..project };
        project.say("to the next server").await;
        let mut listener = project.owner.subscribe(EVENTS, project.events_after(2)).await;
        assert_eq!(listener.event().await["projectEvents"]["message"]["content"], "to the next server");
        server.stop().await;
    }

    async fn a_client_that_vanishes_takes_its_operations_with_it(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        for _ in 0..20 {
            let mut socket = project.owner.greeted().await;
            socket.start("1", EVENTS, project.events_after(2)).await;
            drop(socket);
        }
        // The listeners' sweep costs statements for as long as there are listeners.
        sleep(Duration::from_secs(1)).await;
        let before = server.statements();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(server.statements(), before);
    }
}
