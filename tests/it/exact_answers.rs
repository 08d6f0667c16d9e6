//! Given requests at the edges of what the API accepts, when they are sent by any protocol, then the answer is the same
//! by all of them, and exact.

use serde_json::{Value, json};
use tests::{
    client::Client,
    project::{Project, number, settings, text},
    server::{Server, user_id},
    socket::Frame,
};
use tokio_tungstenite::tungstenite::Message;

const INPUT: &str = "BAD_USER_INPUT";

async fn post(client: &Client, accept: &str, body: &str) -> tests::client::Raw {
    let bearer = format!("Bearer {}", client.token().unwrap());
    let headers = [("content-type", "application/json"), ("accept", accept), ("authorization", &bearer)];
    client.send("POST", "/graphql", &headers, body.to_owned()).await.unwrap()
}

tests::on_both! {
    async fn a_value_that_cannot_be_used_ends_only_its_operation(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Duplicates").await;
        let ada = &project.client;
        let mut socket = ada.greeted().await;
        let events = "subscription($id: ID!) { projectEvents(projectId: $id, ready: true) { revision } }";
        socket.start("events", events, json!({ "id": project.id })).await;
        assert_eq!(socket.message().await["type"], "next");
        let node = r#"query($a: ID!) { node(id: $a) { id } }"#;
        for (at, payload) in [
            format!(r#"{{"query":"{node}","variables":{{"a":"x","a":"y"}}}}"#),
            format!(r#"{{"query":"{node}","variables":{{"a":"x","\u0061":"x"}}}}"#),
            format!(r#"{{"query":"{node}","variables":{{"b":{{"c":[{{"d":1,"d":1}}]}},"a":{{"e":1,"e":2}}}}}}"#),
            r#"{"query":"{ viewer { id } }","extensions":{"a":1,"a":2}}"#.to_owned(),
            r#"{"query":"{ viewer { id } }","extensions":{"persistedQuery":{"version":1,"version":1}}}"#.to_owned(),
            r#"{"query":"{ viewer { id } }","extensions":{"persistedQuery":5}}"#.to_owned(),
            r#"{"query":"{ viewer { id } }","query":"{ viewer { email } }"}"#.to_owned(),
            r#"{"query":"{ viewer { id } }","variables":{},"variables":{}}"#.to_owned(),
            r#"{"query":"{ viewer { id } }","operationName":"\ud83d"}"#.to_owned(),
        ].iter().enumerate() {
            let answer = post(ada, "application/graphql-response+json", payload).await;
            assert_eq!(answer.status, 400, "{payload}");
            let refused = answer.graphql().unwrap();
            assert_eq!((refused.error_code(), &refused.data), (INPUT, &Value::Null), "{payload}");
            for accept in ["application/json", "text/event-stream", "multipart/mixed;subscriptionSpec=1.0"] {
                let text = String::from_utf8(post(ada, accept, payload).await.body.to_vec()).unwrap();
                assert!(text.contains(INPUT), "{payload} for {accept}: {text}");
            }
            // On a socket the other operations continue.
            let id = at.to_string();
            socket.send_frame(Message::text(format!(r#"{{"type":"subscribe","id":"{id}","payload":{payload}}}"#))).await;
            let Frame::Message(error) = socket.next().await else { panic!("{payload}: the socket has ended") };
            assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!(id)), "{payload}: {error}");
            assert_eq!(error["payload"][0]["message"], refused.errors[0]["message"], "{payload}");
            assert_eq!(error["payload"][0]["extensions"]["code"], INPUT, "{payload}");
            project.create_file(&id, "").await;
            assert_eq!(socket.message().await["id"], "events");
        }
        // The id of a running operation is still refused.
        let running = r#"{"type":"subscribe","id":"events","payload":{"query":"{a}","extensions":{"a":1,"a":2}}}"#;
        socket.send_frame(Message::text(running)).await;
        let Frame::Close(code, _) = socket.next().await else { panic!("the socket is open") };
        assert_eq!(code, 4409);
    }

    async fn a_batch_is_refused_if_its_answer_could_not_be_read(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Batch").await;
        let create = |path: &str| {
            let input = json!({ "projectId": project.id, "path": path, "content": "" });
            json!({ "query": "mutation($input: CreateFileInput!) { createFile(input: $input) { revision } }", "variables": { "input": input } })
        };
        let revision = project.revision().await;
        for (accept, at) in [("text/event-stream", "a"), ("multipart/mixed;subscriptionSpec=1.0", "b"), ("text/event-stream, text/html", "c")] {
            for batch in [json!([create(at)]), json!([create(at), { "query": "{ viewer { id } }" }])] {
                let answer = post(&project.client, accept, &batch.to_string()).await;
                assert_eq!(answer.status, 406, "{accept}");
                assert_eq!(answer.graphql().unwrap().error_code(), INPUT);
            }
        }
        assert_eq!(project.revision().await, revision);
        // One operation is answered as events, and a batch as JSON if the client accepts it as well.
        let answer = post(&project.client, "text/event-stream", &create("d").to_string()).await;
        let events = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(answer.status == 200 && events.contains("event: next") && events.contains("event: complete"), "{events}");
        for accept in ["text/event-stream, application/json;q=0.1", "text/event-stream, */*;q=0.1"] {
            let answer = post(&project.client, accept, &json!([create(accept), create("d2")]).to_string()).await;
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert!(answer.status == 200 && body[0]["data"]["createFile"]["revision"].is_i64(), "{body}");
        }
    }

    async fn an_interface_has_a_list_of_interfaces(server: Server) {
        let ada = server.user("ada@example.com");
        let query = "{ __type(name: \"Node\") { interfaces { name } again: interfaces { kind } ...K } none: __type(name: \"Node\") { kind }
                user: __type(name: \"User\") { interfaces { name interfaces { name } } } id: __type(name: \"ID\") { interfaces { name } kind }
                skipped: __type(name: \"Node\") { name interfaces @skip(if: true) { name } } }
            fragment K on __Type { more: interfaces { name } }";
        let found = ada.gql(query, json!({})).await.ok();
        assert_eq!(found, json!({
            "__type": { "interfaces": [], "again": [], "more": [] },
            "none": { "kind": "INTERFACE" },
            "user": { "interfaces": [{ "name": "Node", "interfaces": [] }] },
            "id": { "interfaces": null, "kind": "SCALAR" },
            "skipped": { "name": "Node" },
        }));
        let all = ada.gql("{ __schema { types { name interfaces { name } kind } } }", json!({})).await.ok();
        for kind in all["__schema"]["types"].as_array().unwrap() {
            let has_list = kind["kind"] == "OBJECT" || kind["kind"] == "INTERFACE";
            assert_eq!(kind["interfaces"].is_array(), has_list, "{kind}");
            assert_eq!(kind.as_object().unwrap().len(), 3, "{kind}");
        }
    }

    async fn the_present_of_a_past_folder_is_a_folder(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Folders").await;
        project.create_file("d/e/x", "1").await;
        let past = project.revision().await;
        let present = async |path: &str| {
            let of = format!("project(id: \"{}\", at: {{ revision: {past} }})", project.id);
            let query = format!("{{ {of} {{ file(path: \"{path}\") {{ id present {{ id path type }} }} }} }}");
            let file = project.client.gql(&query, json!({})).await.ok()["project"]["file"].take();
            let node = format!("{{ node(id: {}) {{ ... on ProjectFile {{ id present {{ id path type }} }} }} }}", file["id"]);
            assert_eq!(project.client.gql(&node, json!({})).await.ok()["node"], file);
            file["present"].clone()
        };
        for path in ["d", "d/e"] {
            assert_eq!(present(path).await["type"], "FOLDER");
        }
        project.write("deleteFile", json!({ "path": "d/e/x" }), "revision").await;
        assert_eq!(present("d").await, Value::Null);
        project.create_file("d", "A file").await;
        for path in ["d", "d/e"] {
            assert_eq!(present(path).await, Value::Null, "{path}");
        }
        project.write("deleteFile", json!({ "path": "d" }), "revision").await;
        project.write("createFile", json!({ "path": "d/e", "type": "FOLDER" }), "revision").await;
        for path in ["d", "d/e"] {
            let folder = present(path).await;
            assert_eq!((&folder["type"], &folder["path"]), (&json!("FOLDER"), &json!(path)));
        }
        project.write("renameFile", json!({ "path": "d/e", "newPath": "f" }), "revision").await;
        project.create_file("d/e", "A file").await;
        assert_eq!(present("d/e").await, Value::Null);
        assert_eq!(present("d").await["type"], "FOLDER");
    }

    async fn negative_numbers_are_refused(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Negative").await;
        let ada = &project.client;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Hello", true).await;
        project.create_file("a", "1\n2\n").await;
        project.write("saveAgentConfiguration", settings("Agent"), "revision").await;
        let streaming = ada.mutate("startMessage", json!({ "sessionId": session, "role": "ASSISTANT" }), "messageId").await.ok();
        let streaming = text(&streaming["startMessage"]["messageId"]);
        let webhook = project.write("createWebhook", json!({ "url": "https://example.com/hook" }), "webhook { id }").await;
        let days = "insights(from: \"2026-01-01T00:00:00Z\", to: \"2026-02-01T00:00:00Z\")";
        let of_node = |id: &str, kind: &str, list: &str| format!("{{ node(id: \"{id}\") {{ ... on {kind} {{ {list} }} }} }}");
        let of_project = |select: &str| format!("{{ project(id: \"{}\") {{ {select} }} }}", project.id);
        let mut queries = vec![
            (of_project("file(path: \"a\") { blame(after: -1) { startLine } }"), "after"),
            (of_project("file(path: \"a\") { blame(after: -2147483648) { startLine } }"), "after"),
            (of_project("file(path: \"a\") { blame(first: -1) { startLine } }"), "first"),
            (of_project("file(path: \"a\", at: -1) { id }"), "at"),
            (of_project("files(at: -1) { totalCount }"), "at"),
            (of_project("children(at: -1) { totalCount }"), "at"),
            (of_project("diff(from: -1) { path }"), "from"),
            (of_project("diff(from: 0, to: -1) { path }"), "to"),
            (of_project("diff(from: 0, first: -1) { path }"), "first"),
            (of_project("events(afterRevision: -1) { revision }"), "afterRevision"),
            (of_project("events(first: -1) { revision }"), "first"),
            (of_project("events { changes(first: -1) { id } }"), "first"),
            (of_project("agentConfigurations(first: -1) { id }"), "first"),
            (of_project(&format!("{days} {{ busiestHours(first: -1) {{ messages }} }}")), "first"),
            (of_node(&session, "ChatSession", "checkpoints(first: -1) { id }"), "first"),
            (of_node(&message, "ChatMessage", "changes(first: -1) { id }"), "first"),
            (of_node(&text(&webhook["webhook"]["id"]), "Webhook", "deliveries(last: -1) { totalCount }"), "last"),
            (of_node(&format!("{session}@-1"), "ChatSession", "id"), "id"),
        ];
        for list in ["files", "children", "changes", "snapshots", "sessions"] {
            queries.push((of_project(&format!("{list}(first: -1) {{ totalCount }}")), "first"));
            queries.push((of_project(&format!("{list}(last: -1) {{ totalCount }}")), "last"));
        }
        for (query, field) in queries {
            let answer = ada.gql(&query, json!({})).await;
            assert!(!answer.errors.is_empty(), "{query}: {}", answer.data);
            assert_eq!((answer.error_code(), answer.field()), (INPUT, field), "{query}");
        }
        // A mutation is refused before it writes.
        let revision = project.revision().await;
        for (name, input, select, field) in [
            ("updateFile", json!({ "path": "a", "content": "3" }), "file { blame(after: -1) { startLine } }", "after"),
            ("undo", json!({ "revision": -1 }), "revision", "revision"),
            ("restoreRevision", json!({ "revision": -1 }), "revision", "revision"),
        ] {
            let answer = project.mutate(name, input, select).await;
            assert_eq!((answer.error_code(), answer.field()), (INPUT, field), "{name}");
        }
        for (name, input, select, field) in [
            ("appendToMessage", json!({ "messageId": streaming, "offset": -1, "text": "a" }), "length", "offset"),
            ("rotateWebhookSecret", json!({ "webhookId": webhook["webhook"]["id"], "overlapSeconds": -1 }), "secret", "overlapSeconds"),
        ] {
            let answer = ada.mutate(name, input, select).await;
            assert_eq!((answer.error_code(), answer.field()), (INPUT, field), "{name}");
        }
        assert_eq!(project.revision().await, revision);
        for (subscription, id, field) in [
            ("projectEvents(projectId: $id, afterRevision: -1) { revision }", &project.id, "afterRevision"),
            ("codeChanged(projectId: $id, afterRevision: -1) { revision }", &project.id, "afterRevision"),
            ("messageAdded(sessionId: $id, afterRevision: -1) { id }", &session, "afterRevision"),
            ("messageStream(messageId: $id, afterOffset: -1) { text }", &streaming, "afterOffset"),
        ] {
            let mut events = ada.subscribe(&format!("subscription($id: ID!) {{ {subscription} }}"), json!({ "id": id })).await;
            let refused = events.next().await.unwrap().unwrap_err();
            assert_eq!((&refused[0]["extensions"]["code"], &refused[0]["extensions"]["field"]), (&json!(INPUT), &json!(field)), "{subscription}");
        }
    }

    async fn an_invited_user_does_not_learn_the_revision(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Secret").await;
        let bob = server.user("bob@example.com");
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        let invited = json!({ "userId": user_id("bob@example.com"), "role": "EDITOR" });
        project.write("inviteCollaborator", invited, "revision").await;
        // Not even whether a revision exists: the invitation is accepted, and only the payload fails.
        let payload = "project { id files(at: 1000) { totalCount } }";
        let answer = bob.mutate_with("acceptInvitation", json!({ "projectId": project.id }), payload).await;
        assert_eq!((answer.error_code(), answer.field()), (INPUT, "at"));
        assert_eq!(answer.error()["extensions"]["committed"], true);
        let accepted = project.of(&bob).ask("viewerRole revision").await;
        assert_eq!(accepted["viewerRole"], "EDITOR");
        assert_eq!(number(&accepted["revision"]), project.revision().await);
        // A stranger learns nothing.
        let eve = server.user("eve@example.com");
        let answer = eve.mutate_with("acceptInvitation", json!({ "projectId": project.id }), payload).await;
        assert_eq!(answer.error_code(), "NOT_FOUND");
        assert!(!answer.error().to_string().contains("revision"), "{}", answer.error());
    }
}
