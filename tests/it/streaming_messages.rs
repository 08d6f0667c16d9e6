//! Given a streaming message, when chunks are repeated, late, concurrent or rejected, and when servers and clients die
//! meanwhile, then subscribers receive the text once and in order, no acknowledged text is lost, and the history
//! contains the message once it is finished.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{
    client::{Client, Response},
    database::{Database, Kind},
    nats::Nats,
    project::{Project, each, number, text},
    server::{ChildServer, Server},
    socket::{End, Subscription},
};
use tokio::time::{sleep, timeout};

const STREAM: &str = "subscription($id: ID!, $after: Int) { messageStream(messageId: $id, afterOffset: $after) {
    messageId offset text nextOffset state message { id content revision } } }";

/// Text in several languages, with characters that consist of several code points.
const PIECES: [&str; 8] =
    ["Hello", ", ", "wörld ", "\u{1f469}", "\u{200d}\u{1f4bb}", " e", "\u{301}\r\n", "```py\nprint(\"\\u{1f}\")\n```"];

async fn start(client: &Client, session: &str) -> String {
    let input = json!({ "sessionId": session, "role": "ASSISTANT" });
    let data = client.mutate("startMessage", input, "messageId length").await.ok();
    assert_eq!(data["startMessage"]["length"], 0);
    text(&data["startMessage"]["messageId"])
}

async fn append(client: &Client, id: &str, offset: i64, text: &str) -> Response {
    client.mutate("appendToMessage", json!({ "messageId": id, "offset": offset, "text": text }), "length").await
}

/// Appends a chunk that must be accepted; returns the new length.
#[track_caller]
fn append_ok(client: &Client, id: &str, offset: i64, text: &str) -> impl Future<Output = i64> + Send {
    let (client, id, text) = (client.clone(), id.to_owned(), text.to_owned());
    let caller = std::panic::Location::caller();
    async move {
        let answer = append(&client, &id, offset, &text).await;
        let data = answer.data().unwrap_or_else(|error| panic!("{caller}: {text:?} at {offset}: {error:#}"));
        number(&data["appendToMessage"]["length"])
    }
}

async fn finish(client: &Client, id: &str) -> Response {
    client
        .mutate("finishMessage", json!({ "messageId": id }), "revision message { id content revision } snapshot { id }")
        .await
}

async fn discard(client: &Client, id: &str) -> Response {
    client.mutate_with("discardMessage", json!({ "messageId": id }), "messageId").await
}

async fn listen(client: &Client, id: &str, after: i64) -> Subscription {
    client.subscribe(STREAM, json!({ "id": id, "after": after })).await
}

/// The next chunk.
async fn next_chunk(subscription: &mut Subscription) -> Value {
    subscription.event().await["messageStream"].take()
}

/// Receives a message from an offset to its end: the text, and the last chunk.
async fn receive(mut subscription: Subscription, from: i64) -> (String, Value) {
    let (mut so_far, mut at) = (String::new(), from);
    loop {
        let piece = next_chunk(&mut subscription).await;
        assert_eq!(piece["offset"], at, "{piece}");
        so_far.push_str(piece["text"].as_str().unwrap());
        at = from + so_far.len() as i64;
        assert_eq!(piece["nextOffset"], at);
        if piece["state"] != "STREAMING" {
            assert_eq!(subscription.next().await, None);
            assert_eq!(subscription.end(), Some(&End::Complete));
            return (so_far, piece);
        }
    }
}

/// The streaming messages of a session.
async fn streaming_messages(client: &Client, session: &str, select: &str) -> Value {
    let query =
        format!("query($id: ID!) {{ node(id: $id) {{ ... on ChatSession {{ streamingMessages {{ {select} }} }} }} }}");
    client.gql(&query, json!({ "id": session })).await.ok()["node"]["streamingMessages"].take()
}

#[track_caller]
fn refused(answer: &Response, code: &str, field: &str, length: Option<i64>) {
    assert_eq!(answer.error_code(), code, "{answer:?}");
    let extensions = &answer.errors[0]["extensions"];
    assert_eq!(extensions["field"], field, "{answer:?}");
    assert_eq!(extensions["currentLength"].as_i64(), length, "{answer:?}");
}

tests::on_both! {
    async fn a_streamed_message_is_one_revision_once_it_is_finished(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Growing").await;
        let session = project.start_session().await;
        let before = project.state().await;
        let id = start(&ada, &session).await;
        let mut early = listen(&ada, &id, 0).await;
        let first = next_chunk(&mut early).await;
        assert_eq!(first, json!({ "messageId": id, "offset": 0, "text": "", "nextOffset": 0, "state": "STREAMING", "message": null }));
        let early = tokio::spawn(receive(early, 0));
        let mut at = 0;
        for text in PIECES {
            let length = append_ok(&ada, &id, at, text).await;
            assert_eq!(length, at + text.len() as i64);
            at = length;
        }
        let whole = PIECES.concat();

        // Until then it is not part of the history, and is read from its session.
        assert_eq!(project.state().await, before);
        let shown = streaming_messages(&ada, &session, "messageId text length state role author { fullName } session { id } contextData metadata").await;
        assert_eq!(shown, json!([{ "messageId": id, "text": whole, "length": at, "state": "STREAMING", "role": "ASSISTANT",
            "author": { "fullName": "ada" }, "session": { "id": session }, "contextData": {}, "metadata": {} }]));
        let from = PIECES[..3].concat().len() as i64;
        let mut late = listen(&ada, &id, from).await;
        let rest = next_chunk(&mut late).await;
        assert_eq!(rest["text"], PIECES[3..].concat());
        drop(late);

        let input = json!({ "messageId": id, "length": at, "isCheckpoint": true, "metadata": { "tokens": 8 } });
        let select = "revision message { id content isCheckpoint metadata session { id } } snapshot { revision message { id } }";
        let done = ada.mutate("finishMessage", input.clone(), select).await.ok();
        assert_eq!(done["finishMessage"], json!({ "revision": 3, "snapshot": { "revision": 3, "message": { "id": id } },
            "message": { "id": id, "content": whole, "isCheckpoint": true, "metadata": { "tokens": 8 }, "session": { "id": session } } }));
        let (received, last) = early.await.unwrap();
        assert_eq!((received, &last["state"]), (whole.clone(), &json!("FINISHED")));
        assert_eq!(last["message"], json!({ "id": id, "content": whole, "revision": 3 }));

        // Afterwards it is an ordinary message, and repeated requests return the same.
        assert_eq!(ada.mutate("finishMessage", input, select).await.ok(), done);
        assert_eq!(streaming_messages(&ada, &session, "messageId").await, json!([]));
        let state = project.ask("revision stats { totalMessages } sessions { nodes { messageCount } } events(afterRevision: 2) { kind message { id } }").await;
        assert_eq!(state, json!({ "revision": 3, "stats": { "totalMessages": 1 }, "sessions": { "nodes": [{ "messageCount": 1 }] },
            "events": [{ "kind": "MESSAGE_ADDED", "message": { "id": id } }] }));
        let (received, last) = receive(listen(&ada, &id, from).await, from).await;
        assert_eq!((received.as_str(), &last["message"]["id"]), (&whole[from as usize..], &json!(id)));
        project.write("syncFiles", json!({ "messageId": id, "files": [{ "path": "a.py", "content": "1" }] }), "revision").await;
    }

    async fn a_chunk_is_applied_once_at_its_offset(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Chunks").await;
        let session = project.start_session().await;
        let id = start(&ada, &session).await;
        assert_eq!(append_ok(&ada, &id, 0, "").await, 0);
        assert_eq!(append_ok(&ada, &id, 0, "héllo ").await, 7);
        assert_eq!(append_ok(&ada, &id, 7, "").await, 7);
        assert_eq!(append_ok(&ada, &id, 7, "world").await, 12);

        // Repeated text is acknowledged with the current length, however it is split.
        for (offset, text) in [(7, "world"), (0, "héllo "), (0, "héllo world"), (0, "h"), (1, "éllo w"), (11, "d"), (12, ""), (0, ""), (7, "")] {
            assert_eq!(append_ok(&ada, &id, offset, text).await, 12, "{text:?} at {offset}");
        }
        // Text that differs from the stored text, or that leaves a gap, is refused.
        for (offset, text) in [(0, "hello"), (2, "llo"), (7, "World"), (7, "world!"), (0, "héllo world and more"), (13, "!"), (500, ""), (3, "")] {
            refused(&append(&ada, &id, offset, text).await, "CONFLICT", "offset", Some(12));
        }
        refused(&append(&ada, &id, -1, "x").await, "BAD_USER_INPUT", "offset", None);
        refused(&append(&ada, &id, 12, "a\0b").await, "BAD_USER_INPUT", "text", None);
        refused(&append(&ada, &id, i64::from(i32::MAX), "x").await, "PAYLOAD_TOO_LARGE", "text", None);
        assert_eq!(streaming_messages(&ada, &session, "text length").await, json!([{ "text": "héllo world", "length": 12 }]));
        let errors = listen(&ada, &id, 13).await.next().await.expect("an answer").expect_err("a refusal");
        assert_eq!((&errors[0]["extensions"]["code"], &errors[0]["extensions"]["currentLength"]), (&json!("POSITION_LOST"), &json!(12)));
        for (offset, message) in [
            (-1, "An offset is a number of bytes, 0 or more."),
            (i64::from(i32::MIN), "An offset is a number of bytes, 0 or more."),
            (2, "The message has 12 bytes, and no character begins there."),
        ] {
            let errors = listen(&ada, &id, offset).await.next().await.expect("an answer").expect_err("a refusal");
            assert_eq!(errors[0]["message"], message);
            assert_eq!((&errors[0]["extensions"]["code"], &errors[0]["extensions"]["field"]), (&json!("BAD_USER_INPUT"), &json!("afterOffset")));
        }

        // It finishes only with the stated length; late chunks are then acknowledged if the text contains them.
        let wrong = ada.mutate("finishMessage", json!({ "messageId": id, "length": 13 }), "revision").await;
        refused(&wrong, "CONFLICT", "length", Some(12));
        finish(&ada, &id).await.ok();
        // A repeated finish checks it too.
        for length in [1, 11, 13] {
            let wrong = ada.mutate("finishMessage", json!({ "messageId": id, "length": length }), "revision").await;
            refused(&wrong, "CONFLICT", "length", Some(12));
        }
        ada.mutate("finishMessage", json!({ "messageId": id, "length": 12 }), "revision").await.ok();
        for (offset, text) in [(7, "world"), (0, ""), (7, ""), (12, "")] {
            assert_eq!(append_ok(&ada, &id, offset, text).await, 12);
        }
        let errors = listen(&ada, &id, -1).await.next().await.expect("an answer").expect_err("a refusal");
        assert_eq!(errors[0]["message"], "An offset is a number of bytes, 0 or more.");
        refused(&append(&ada, &id, 12, "!").await, "CONFLICT", "messageId", Some(12));
        refused(&discard(&ada, &id).await, "CONFLICT", "messageId", Some(12));

        // A start with the same key returns the same message, before and after it is finished.
        let input = json!({ "sessionId": session, "role": "ASSISTANT", "idempotencyKey": "one", "metadata": { "a": 1 } });
        let first = ada.mutate("startMessage", input.clone(), "messageId length").await.ok();
        let id = text(&first["startMessage"]["messageId"]);
        append_ok(&ada, &id, 0, "abc").await;
        let again = json!({ "messageId": id, "length": 3 });
        assert_eq!(ada.mutate("startMessage", input.clone(), "messageId length").await.ok()["startMessage"], again);
        finish(&ada, &id).await.ok();
        assert_eq!(ada.mutate("startMessage", input.clone(), "messageId length").await.ok()["startMessage"], again);
        let said = json!({ "sessionId": session, "role": "ASSISTANT", "content": "Other", "idempotencyKey": "one" });
        assert_eq!(ada.mutate("addMessage", said, "message { id }").await.ok()["addMessage"]["message"]["id"], json!(id));

        // A discarded message leaves no trace; its subscriber is notified.
        let id = start(&ada, &session).await;
        append_ok(&ada, &id, 0, "No, ").await;
        let received = tokio::spawn(receive(listen(&ada, &id, 0).await, 0));
        discard(&ada, &id).await.ok();
        let ended = timeout(Duration::from_secs(20), received).await.expect("an end").unwrap_or_default();
        assert!(ended.1.is_null() || ended.1["state"] == "DISCARDED", "{ended:?}");
        refused(&append(&ada, &id, 4, "x").await, "NOT_FOUND", "messageId", None);
        refused(&finish(&ada, &id).await, "NOT_FOUND", "messageId", None);
        refused(&discard(&ada, &id).await, "NOT_FOUND", "messageId", None);
        assert_eq!(streaming_messages(&ada, &session, "messageId").await, json!([]));
    }

    async fn an_event_stream_resumes_where_it_was_cut(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "By HTTP").await;
        let session = project.start_session().await;
        let id = start(&ada, &session).await;
        append_ok(&ada, &id, 0, "h\u{e9}llo").await;
        let body = json!({ "query": "subscription($id: ID!) { messageStream(messageId: $id) { text state } }", "variables": { "id": id } });
        let event = async |stream: &mut tests::client::Stream| loop {
            let block = stream.until("\n\n").await.expect("an event");
            if block != ":" {
                return block;
            }
        };
        let chunk_event = |at: i64, text: &str, state: &str| {
            format!("id: {at}\nevent: next\ndata: {{\"data\":{{\"messageStream\":{{\"text\":\"{text}\",\"state\":\"{state}\"}}}}}}")
        };
        let mut stream = ada.stream("text/event-stream", &[], &body).await;
        assert_eq!(event(&mut stream).await, chunk_event(6, "h\u{e9}llo", "STREAMING"));
        append_ok(&ada, &id, 6, " you").await;
        assert_eq!(event(&mut stream).await, chunk_event(10, " you", "STREAMING"));
        drop(stream);
        finish(&ada, &id).await.ok();
        let mut again = ada.stream("text/event-stream", &[("last-event-id", "6")], &body).await;
        assert_eq!(event(&mut again).await, chunk_event(10, " you", "FINISHED"));
        assert_eq!(event(&mut again).await, "event: complete\ndata:");
    }

    async fn many_small_chunks_cost_the_same_from_the_first_to_the_last(database: Database) {
        const CHUNKS: i64 = 600;
        // The client that does not read does not answer pings either.
        let server = Server::start_with(&database, &["--socket-ping-seconds=3600"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Long").await;
        let session = project.start_session().await;
        let id = start(&ada, &session).await;
        let mut costs = Vec::new();
        let mut stopped = listen(&ada, &id, 0).await;
        assert_eq!(next_chunk(&mut stopped).await["text"], "");
        let mut whole = String::new();
        for n in 0..CHUNKS {
            let before = server.statements();
            let chunk = format!("{n:07} é");
            let length = append_ok(&ada, &id, whole.len() as i64, &chunk).await;
            whole.push_str(&chunk);
            assert_eq!(length, whole.len() as i64);
            if n == 10 || n == CHUNKS - 10 {
                // A chunk that no subscriber has read yet can be read in between.
                costs.push(server.statements() - before);
            }
        }
        assert!(costs.iter().all(|cost| *cost <= 3 + 4), "{costs:?}");
        finish(&ada, &id).await.ok();

        // A subscriber that has not read in the meantime still receives all of the text.
        let received = timeout(Duration::from_secs(60), receive(stopped, 0)).await.expect("an end");
        assert_eq!(received.0, whole);
        server.stop().await;
    }

    async fn concurrent_writers_lose_nothing(server: Server) {
        const WRITERS: usize = 6;
        const EACH: usize = 20;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Crowded").await;
        let session = project.start_session().await;
        let id = start(&ada, &session).await;
        let received = tokio::spawn(receive(listen(&ada, &id, 0).await, 0));
        let writer = |writer: usize| {
            let (ada, id) = (ada.clone(), id.clone());
            tokio::spawn(async move {
                let mut at = 0;
                for n in 0..EACH {
                    let text = format!("<{writer}.{n}>");
                    loop {
                        let answer = append(&ada, &id, at, &text).await;
                        let length = match answer.errors.first() {
                            None => answer.data["appendToMessage"]["length"].as_i64(),
                            Some(_) => {
                                assert_eq!(answer.error_code(), "CONFLICT", "{answer:?}");
                                answer.errors[0]["extensions"]["currentLength"].as_i64()
                            }
                        };
                        at = length.expect("a length");
                        if answer.errors.is_empty() {
                            break;
                        }
                    }
                }
            })
        };
        for writer in (0..WRITERS).map(writer).collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let done = finish(&ada, &id).await.ok();
        let whole = text(&done["finishMessage"]["message"]["content"]);
        for writer in 0..WRITERS {
            let mut from = 0;
            for n in 0..EACH {
                let part = format!("<{writer}.{n}>");
                assert_eq!(whole.matches(&part).count(), 1, "{part} in {whole}");
                let at = whole.find(&part).unwrap();
                assert!(at >= from, "{part} is before the one before");
                from = at;
            }
        }
        assert_eq!(whole.len(), (0..WRITERS * EACH).map(|n| format!("<{}.{}>", n / EACH, n % EACH).len()).sum::<usize>());
        assert_eq!(received.await.unwrap().0, whole);
    }

    async fn the_first_finish_counts_for_all(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Twice").await;
        let session = project.start_session().await;
        for round in 0..10 {
            let id = start(&ada, &session).await;
            append_ok(&ada, &id, 0, "All ").await;
            let (one, other, chunk) = tokio::join!(finish(&ada, &id), finish(&ada, &id), append(&ada, &id, 4, "of it"));
            let (one, other) = (one.ok(), other.ok());
            assert_eq!(one, other);
            let content = text(&one["finishMessage"]["message"]["content"]);
            // The chunk is in the text, or was refused.
            let taken = chunk.errors.is_empty();
            assert_eq!(content, if taken { "All of it" } else { "All " }, "{round}: {chunk:?}");
            if !taken {
                refused(&chunk, "CONFLICT", "messageId", Some(4));
            }
        }
        assert_eq!(project.revision().await, 12);
    }

    async fn an_abandoned_message_stalls_and_can_continue(database: Database) {
        let server = Server::start_with(&database, &["--stalled-seconds=1"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Interrupted").await;
        let session = project.start_session().await;
        let id = start(&ada, &session).await;
        let state = async |expected: &str| {
            for _ in 0..200 {
                if streaming_messages(&ada, &session, "state").await == json!([{ "state": expected }]) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
            panic!("the state did not become {expected}");
        };
        state("STALLED").await;
        // An empty chunk shows that the writer is alive.
        append_ok(&ada, &id, 0, "").await;
        state("STREAMING").await;
        state("STALLED").await;
        append_ok(&ada, &id, 0, "Then").await;
        let done = finish(&ada, &id).await.ok();
        assert_eq!(done["finishMessage"]["message"]["content"], "Then");
        server.stop().await;
    }

    async fn streaming_messages_outlive_their_session_and_not_their_project(server: Server) {
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        let project = Project::create(&ada, "Ended").await;
        server.database().add_collaborator(&project.id, "bob@example.com", "editor", true).await;
        let session = project.start_session().await;
        let id = start(&ada, &session).await;
        append_ok(&ada, &id, 0, "So far").await;
        ada.mutate_id("endSession", &session, "revision").await.ok();
        append_ok(&ada, &id, 6, "!").await;
        assert_eq!(streaming_messages(&bob, &session, "text").await, json!([{ "text": "So far!" }]));
        assert_eq!(discard(&bob, &id).await.error_code(), "FORBIDDEN");
        assert_eq!(finish(&ada, &id).await.ok()["finishMessage"]["message"]["content"], "So far!");
        let late = start(&ada, &session).await;
        append_ok(&ada, &late, 0, "Late").await;
        for answer in [append(&bob, &late, 4, "x").await, finish(&bob, &late).await] {
            assert_eq!(answer.error_code(), "FORBIDDEN", "{answer:?}");
        }
        discard(&ada, &late).await.ok();

        // So do messages and files; the session stays ended.
        let input = json!({ "sessionId": session, "role": "ASSISTANT", "content": "Late", "isCheckpoint": true });
        let added = ada.mutate("addMessage", input, "message { id session { isActive } }").await.ok()["addMessage"].take();
        assert_eq!(added["message"]["session"]["isActive"], json!(false));
        let files = json!({ "sessionId": session, "messageId": added["message"]["id"], "files": [{ "path": "late", "content": "late" }] });
        let synced = project.write("syncFiles", files, "created changes { session { id isActive messageCount } }").await;
        let session_then = json!({ "id": session, "isActive": false, "messageCount": 2 });
        assert_eq!(synced, json!({ "created": 1, "changes": [{ "session": session_then }] }));
        assert_eq!(project.ask("activeSession { id }").await["activeSession"], json!(null));

        // The owner can discard messages that others have abandoned; other members cannot.
        let of_bob = project.of(&bob).start_session().await;
        let id = start(&bob, &of_bob).await;
        for answer in [append(&ada, &id, 0, "x").await, finish(&ada, &id).await] {
            assert_eq!(answer.error_code(), "FORBIDDEN", "{answer:?}");
        }
        let mut subscription = listen(&bob, &id, 0).await;
        assert_eq!(next_chunk(&mut subscription).await["state"], "STREAMING");
        discard(&ada, &id).await.ok();
        assert_eq!(next_chunk(&mut subscription).await["state"], "DISCARDED");

        // A removed member receives nothing more.
        let own = project.start_session().await;
        let id = start(&ada, &own).await;
        let mut subscription = listen(&bob, &id, 0).await;
        assert_eq!(next_chunk(&mut subscription).await["state"], "STREAMING");
        let whom = json!({ "projectId": project.id, "userId": tests::server::user_id("bob@example.com") });
        ada.mutate_with("removeCollaborator", whom, "revision").await.ok();
        append_ok(&ada, &id, 0, "A secret").await;
        let errors = subscription.next().await.expect("an answer").expect_err("an end");
        assert_eq!(errors[0]["extensions"]["code"], "NOT_FOUND");

        ada.mutate_id("deleteProject", &project.id, "revision").await.ok();
        for answer in [append(&ada, &id, 8, "!").await, finish(&ada, &id).await] {
            refused(&answer, "CONFLICT", "messageId", None);
        }
        refused(&ada.mutate("startMessage", json!({ "sessionId": own, "role": "USER" }), "length").await, "CONFLICT", "sessionId", None);
    }

    async fn subscribers_receive_the_list_of_streaming_messages(database: Database) {
        let server = Server::start(&database).await;
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        let project = Project::create(&ada, "Which").await;
        database.add_collaborator(&project.id, "bob@example.com", "viewer", true).await;
        let session = project.start_session().await;
        let query = "subscription($id: ID!) { streamingMessages(projectId: $id) { messageId text session { id } } }";
        // On PostgreSQL Bob uses another server.
        let other = if database.kind() == Kind::Postgres { Some(Server::start(&database).await) } else { None };
        let there = other.as_ref().unwrap_or(&server).user("bob@example.com");
        let mut subscription = there.subscribe(query, json!({ "id": project.id })).await;
        let mut which = async || subscription.event().await["streamingMessages"].take();
        assert_eq!(which().await, json!([]));

        let one = start(&ada, &session).await;
        let shown = |id: &str, text: &str| json!({ "messageId": id, "text": text, "session": { "id": session } });
        assert_eq!(which().await, json!([shown(&one, "")]));
        // Appended text and other writes send no new list.
        append_ok(&ada, &one, 0, "So far").await;
        project.create_file("a.py", "").await;
        let two = start(&ada, &session).await;
        assert_eq!(which().await, json!([shown(&one, "So far"), shown(&two, "")]));
        finish(&ada, &one).await.ok();
        assert_eq!(which().await, json!([shown(&two, "")]));
        discard(&ada, &two).await.ok();
        assert_eq!(which().await, json!([]));

        // A removed member receives nothing more.
        let whom = json!({ "projectId": project.id, "userId": tests::server::user_id("bob@example.com") });
        ada.mutate_with("removeCollaborator", whom, "revision").await.ok();
        start(&ada, &session).await;
        let errors = subscription.next().await.expect("an answer").expect_err("an end");
        assert_eq!(errors[0]["extensions"]["code"], "NOT_FOUND");
        drop(subscription);
        if let Some(other) = other {
            other.stop().await;
        }
        server.stop().await;
    }

    async fn errors_name_the_limits(database: Database) {
        let flags = ["--max-chunk-bytes=10", "--max-text-bytes=35", "--max-streaming-messages=2"];
        let server = Server::start_with(&database, &flags).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Limits").await;
        let session = project.start_session().await;
        let id = start(&ada, &session).await;
        let named = async |answer: Response, code: &str, setting: &str| {
            assert_eq!(answer.error_code(), code, "{answer:?}");
            assert!(answer.errors[0]["message"].as_str().unwrap().contains(setting), "{answer:?}");
        };
        named(append(&ada, &id, 0, "12345678901").await, "PAYLOAD_TOO_LARGE", "--max-chunk-bytes").await;
        for at in [0, 10, 20] {
            append_ok(&ada, &id, at, "1234567890").await;
        }
        named(append(&ada, &id, 30, "123456").await, "PAYLOAD_TOO_LARGE", "--max-text-bytes").await;
        append_ok(&ada, &id, 30, "12345").await;
        start(&ada, &session).await;
        let third = json!({ "sessionId": session, "role": "USER" });
        named(ada.mutate("startMessage", third.clone(), "length").await, "CONFLICT", "--max-streaming-messages").await;
        finish(&ada, &id).await.ok();
        ada.mutate("startMessage", third, "length").await.ok();
        server.stop().await;
    }

    async fn a_message_streamed_at_one_server_is_received_at_another(database: Database) {
        // PostgreSQL uses notifications; two processes on one SQLite file depend on their sweeps.
        let sweep = if database.kind() == Kind::Sqlite { "--sweep-seconds=1" } else { "--sweep-seconds=3600" };
        let (one, other) = (Server::start_with(&database, &[sweep]).await, Server::start_with(&database, &[sweep]).await);
        let (ada, there) = (one.user("ada@example.com"), other.user("ada@example.com"));
        let project = Project::create(&ada, "Two servers").await;
        let session = project.start_session().await;
        let id = start(&ada, &session).await;
        let mut subscription = listen(&there, &id, 0).await;
        assert_eq!(next_chunk(&mut subscription).await["state"], "STREAMING");
        let mut whole = String::new();
        // Chunks arrive while the message is streamed: nothing else wakes the subscribers here.
        for chunk in ["One, ", "two, ", "three, "] {
            append_ok(&ada, &id, whole.len() as i64, chunk).await;
            assert_eq!(next_chunk(&mut subscription).await["text"], chunk);
            whole.push_str(chunk);
        }
        let begun = whole.len() as i64;
        let received = tokio::spawn(receive(subscription, begun));
        for n in 0..100 {
            // Both servers accept chunks.
            let (writer, chunk) = ([&ada, &there][n % 2], format!("{n} "));
            append_ok(writer, &id, whole.len() as i64, &chunk).await;
            whole.push_str(&chunk);
        }
        // A client that reconnects to the other server continues at its offset.
        let (rest, last) = {
            let mut cut = listen(&ada, &id, 0).await;
            let next = number(&next_chunk(&mut cut).await["nextOffset"]);
            drop(cut);
            let again = tokio::spawn(receive(listen(&there, &id, next).await, next));
            append_ok(&ada, &id, whole.len() as i64, "last").await;
            whole.push_str("last");
            finish(&ada, &id).await.ok();
            let (rest, last) = again.await.unwrap();
            (format!("{}{rest}", &whole[..next as usize]), last)
        };
        assert_eq!((rest.as_str(), &last["state"]), (whole.as_str(), &json!("FINISHED")));
        assert_eq!(received.await.unwrap().0, whole[begun as usize..]);
        one.stop().await;
        other.stop().await;
    }

    async fn a_message_streamed_at_one_server_is_received_at_another_by_nats(database: Database) {
        let Some(mut nats) = Nats::start() else { return };
        let url = nats.url();
        // The sweep runs too rarely to help.
        let flags = ["--sweep-seconds=3600", "--nats-url", &url];
        let (one, other) = (Server::start_with(&database, &flags).await, Server::start_with(&database, &flags).await);
        let (ada, there) = (one.user("ada@example.com"), other.user("ada@example.com"));
        // A server that sends no notifications.
        let mute = Server::start_with(&database, &["--sweep-seconds=3600", "--notify=false"]).await;
        let project = Project::create(&ada, "By NATS").await;
        let session = project.start_session().await;
        let id = start(&ada, &session).await;
        let mut subscription = listen(&there, &id, 0).await;
        assert_eq!(next_chunk(&mut subscription).await["state"], "STREAMING");
        for (at, chunk) in [(0, "One, "), (5, "two, ")] {
            append_ok(&ada, &id, at, chunk).await;
            assert_eq!(next_chunk(&mut subscription).await["text"], chunk);
        }

        // While NATS is down, writes are served as usual; missed notifications are made up for once it is back.
        nats.kill();
        append_ok(&ada, &id, 10, "three, ").await;
        nats.resume();
        assert_eq!(next_chunk(&mut subscription).await["text"], "three, ");
        nats.kill();
        append_ok(&mute.user("ada@example.com"), &id, 17, "four, ").await;
        nats.resume();
        assert_eq!(next_chunk(&mut subscription).await["text"], "four, ");
        for (at, chunk) in [(23, "five, "), (29, "six")] {
            append_ok(&ada, &id, at, chunk).await;
            assert_eq!(next_chunk(&mut subscription).await["text"], chunk);
        }
        finish(&ada, &id).await.ok();
        let last = next_chunk(&mut subscription).await;
        let message = json!({ "id": id, "content": "One, two, three, four, five, six", "revision": 3 });
        assert_eq!((&last["state"], &last["message"]), (&json!("FINISHED"), &message));
        drop(subscription);

        // A discarded message has no event in the log.
        let id = start(&there, &session).await;
        let mut subscription = listen(&ada, &id, 0).await;
        assert_eq!(next_chunk(&mut subscription).await["state"], "STREAMING");
        discard(&there, &id).await.ok();
        assert_eq!(next_chunk(&mut subscription).await["state"], "DISCARDED");
        drop(subscription);
        for server in [one, other, mute] {
            server.stop().await;
        }
    }

    async fn acknowledged_chunks_survive_the_server(database: Database) {
        let mut whole = String::new();
        let mut message: Option<(String, String)> = None;
        for _ in 0..4 {
            let mut server = ChildServer::start(&database);
            let ada = server.user("ada@example.com");
            let (session, id) = match &message {
                Some((session, id)) => (session.clone(), id.clone()),
                None => {
                    let project = Project::create(&ada, "Killed").await;
                    let session = project.start_session().await;
                    let id = start(&ada, &session).await;
                    message.insert((session, id)).clone()
                }
            };
            let shown = streaming_messages(&ada, &session, "messageId text length").await;
            assert_eq!(each(&shown, "messageId"), [json!(id)]);
            let found = text(&shown[0]["text"]);
            // The chunk that was under way can be in the text.
            assert!(found.starts_with(&whole), "{found:?} is not {whole:?} and perhaps more");
            assert_eq!(shown[0]["length"], found.len());
            whole = found;
            for n in 0..20 {
                let chunk = format!("é{n} ");
                append_ok(&ada, &id, whole.len() as i64, &chunk).await;
                whole.push_str(&chunk);
            }
            let (client, under_way, at) = (ada.clone(), id.clone(), whole.len() as i64);
            let writer = tokio::spawn(async move {
                let input = json!({ "messageId": under_way, "offset": at, "text": "under way" });
                let query = "mutation($input: AppendToMessageInput!) { appendToMessage(input: $input) { length } }";
                client.request(query, json!({ "input": input })).await.is_ok_and(|answer| answer.errors.is_empty())
            });
            server.kill();
            if writer.await.unwrap() {
                whole.push_str("under way");
            }
        }
        let server = Server::start(&database).await;
        let ada = server.user("ada@example.com");
        let (_, id) = message.unwrap();
        let content = text(&finish(&ada, &id).await.ok()["finishMessage"]["message"]["content"]);
        assert!(content.starts_with(&whole) && whole.len() + "under way".len() >= content.len(), "{content:?}");
        server.stop().await;
    }
}
