//! The server's own limits on sockets: how many operations a socket can have, and how slow, silent and dead clients are
//! handled.

use std::time::{Duration, Instant};

use antiphon::model::clock;
use serde_json::{Value, json};
use tests::{
    database::Database,
    server::{ChildServer, Server, token, token_with},
    socket::{End, Frame, Socket, Subscription},
};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::protocol::{EVENTS, Project, VIEWER, bare, closed, is_next, text};

tests::on_sqlite! {
    async fn the_number_of_operations_of_a_socket_is_limited_and_the_error_names_the_setting(database: Database) {
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

        // The other operations continue, and a completed one makes room.
        project.add_message("on").await;
        let mut received = [text(&socket.message().await["id"]), text(&socket.message().await["id"])];
        received.sort();
        assert_eq!(received, ["1", "2"]);
        socket.send(json!({ "type": "complete", "id": "1" })).await;
        socket.start("3", VIEWER, json!({})).await;
        assert!(is_next(&socket.message().await, "3"));
        drop(socket);
        server.stop().await;
    }

    async fn a_hot_stream_does_not_starve_another_operation_of_its_socket(server: Server) {
        const EVENTS_THERE: usize = 400;
        let project = Project::create(&server.user("ada@example.com")).await;
        let large = "x".repeat(10_000);
        for _ in 0..EVENTS_THERE {
            project.add_message(&large).await;
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
        // The network's buffers hold a few hundred kilobytes of the stream before the response's turn comes.
        let most = EVENTS_THERE / 2;
        assert!(answered.unwrap() < most && ponged.unwrap() < most, "after {answered:?} and {ponged:?} events");
    }

    async fn the_number_of_anonymous_sockets_of_an_address_is_limited(database: Database) {
        let server = Server::start_with(&database, &["--max-address-sockets", "2", "--trusted-proxies", "1"]).await;
        let base = server.anonymous().base().to_owned();
        let connect = async |address| Socket::connect(&base, "graphql-transport-ws", &[("x-forwarded-for", address)]).await;
        let (mut first, mut second) = (connect("192.0.2.1").await.unwrap(), connect("192.0.2.1").await.unwrap());
        let refused = async || match connect("192.0.2.1").await.err() {
            Some(Error::Http(answer)) => {
                assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (429, true));
                String::from_utf8(answer.body().clone().unwrap_or_default()).unwrap()
            }
            other => panic!("{other:?}"),
        };
        assert!(refused().await.contains("--max-address-sockets"));
        connect("192.0.2.2").await.unwrap();
        // A socket without a token stays anonymous for its lifetime.
        second.greet(Value::Null).await;
        refused().await;
        first.greet(json!({ "token": token("ada@example.com") })).await;
        let third = connect("192.0.2.1").await.unwrap();
        refused().await;
        drop(third);
        let again = async {
            while connect("192.0.2.1").await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), again).await.expect("a closed socket makes room");
        drop((first, second));
        server.stop().await;
    }

    async fn slow_readers_take_a_bounded_memory(database: Database) {
        const WRITES: usize = 60;
        const READERS: usize = 20;
        let server = ChildServer::start(&database);
        let (ada, large) = (server.user("ada@example.com"), "x".repeat(250_000));
        let write = async |project: &Project| {
            for _ in 0..WRITES {
                project.add_message(&large).await;
            }
        };
        // The memory that the writes themselves take.
        write(&Project::create(&ada).await).await;
        let before = server.resident_bytes();
        let project = Project::create(&ada).await;
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let mut reader = project.owner.subscribe(EVENTS, project.events_after(1)).await;
            assert_eq!(reader.event().await["projectEvents"]["revision"], 2);
            readers.push(reader);
        }
        write(&project).await;
        // Each reader is 15 MB behind.
        let each = server.resident_bytes().saturating_sub(before) / READERS as u64;
        assert!(each < 5_000_000, "{each} bytes a reader");
        for reader in &mut readers {
            assert_eq!(reader.event().await["projectEvents"]["revision"], 3);
        }
    }

    async fn a_slow_reader_receives_everything_exactly_once(server: Server) {
        // Given subscribers that do not read while far more is written than any buffer holds, one of which requested
        // its starting position …
        const MESSAGES: u64 = 120;
        let project = Project::create(&server.user("ada@example.com")).await;
        let ready = EVENTS.replace("afterRevision: $after", "afterRevision: $after, ready: true");
        let mut listeners = [
            project.owner.subscribe(EVENTS, project.events_after(0)).await,
            project.owner.subscribe(&ready, project.events_after(1)).await,
        ];
        let large = "x".repeat(100_000);
        let started = Instant::now();
        for _ in 0..MESSAGES {
            project.add_message(&large).await;
        }
        assert!(started.elapsed() < Duration::from_secs(50), "the server drops a silent peer after a minute");
        // … when they read at last, then every revision arrives, once and in order, and so do later ones.
        for listener in &mut listeners {
            for revision in 1..=MESSAGES + 2 {
                assert_eq!(listener.event().await["projectEvents"]["revision"], revision);
            }
        }
        let revision = project.add_message("and on").await;
        for listener in &mut listeners {
            assert_eq!(listener.event().await["projectEvents"]["revision"], revision);
        }
    }

    async fn a_silent_client_is_pinged_and_a_dead_one_is_dropped(database: Database) {
        let server = Server::start_with(&database, &["--socket-ping-seconds", "1"]).await;
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut dead = project.owner.greeted().await;
        let mut alive = project.owner.greeted().await;
        alive.start("1", EVENTS, project.events_after(2)).await;
        for _ in 0..5 {
            alive.pinged().await;
        }
        project.add_message("still here").await;
        assert!(is_next(&alive.message().await, "1"));
        // The other client has not answered any ping.
        assert_eq!(dead.next().await, Frame::Gone);
        server.stop().await;
    }

    async fn an_expired_token_closes_its_socket_with_4403(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        let now = clock::now().timestamp();
        let brief = project.owner.with_token(Some(token_with("ada@example.com", json!({ "exp": now + 3 }))));
        let mut listener = brief.subscribe(EVENTS, project.events_after(1)).await;
        assert_eq!(listener.event().await["projectEvents"]["revision"], 2);
        assert_eq!(listener.next().await, None);
        assert_eq!(listener.end(), Some(&End::Close(4403, "The token has expired".to_owned())));
        let late = clock::now().timestamp() - now;
        assert!((3..=4).contains(&late), "ended after {late} seconds");

        // A client that reconnects with a new token misses nothing.
        project.add_message("meanwhile").await;
        let mut again = project.owner.subscribe(EVENTS, project.events_after(2)).await;
        assert_eq!(again.event().await["projectEvents"]["message"]["content"], "meanwhile");
    }

    async fn a_close_is_answered_and_leaves_nothing_behind(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        let mut socket = project.owner.greeted().await;
        socket.start("1", EVENTS, project.events_after(2)).await;
        let close = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
        socket.send_frame(Message::Close(Some(close))).await;
        assert_eq!(closed(socket.next().await).0, 1000);
        assert_eq!(socket.next().await, Frame::Gone);
        let stop = timeout(Duration::from_secs(3), server.stop()).await;
        assert!(stop.is_ok(), "the socket's task still runs");
    }

    async fn a_stopping_server_closes_with_1001_and_subscribers_continue_elsewhere(database: Database) {
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
        project.add_message("to the next server").await;
        let mut listener = project.owner.subscribe(EVENTS, project.events_after(2)).await;
        assert_eq!(listener.event().await["projectEvents"]["message"]["content"], "to the next server");
        drop(listener);
        server.stop().await;
    }

    async fn the_operations_of_a_vanished_client_end(server: Server) {
        let project = Project::create(&server.user("ada@example.com")).await;
        for _ in 0..20 {
            let mut socket = project.owner.greeted().await;
            socket.start("1", EVENTS, project.events_after(2)).await;
            drop(socket);
        }
        // The sweep costs statements as long as there are subscribers.
        sleep(Duration::from_secs(1)).await;
        let before = server.statements();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(server.statements(), before);
    }
}
