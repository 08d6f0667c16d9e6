//! Given objects in lists, when a client requests one of them by its id, then it gets the same object if it has access;
//! and a list without pages is read in parts, or refused if it is too long.

use serde_json::{Value, json};
use tests::{
    client::Client,
    database::Database,
    project::{Project, each, settings, text},
    server::{Server, user_id},
};

/// The result of `node` for an id.
async fn node(client: &Client, id: &str) -> Value {
    client.gql("query($id: ID!) { node(id: $id) { __typename id } }", json!({ "id": id })).await.ok()["node"].take()
}

/// Every object in an answer that has a type and an id.
fn objects(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(fields) => {
            let named = [&value["__typename"], &value["id"]];
            let own =
                named.iter().all(|part| part.is_string()).then(|| json!({ "__typename": named[0], "id": named[1] }));
            own.into_iter().chain(fields.values().flat_map(objects)).collect()
        }
        Value::Array(values) => values.iter().flat_map(objects).collect(),
        _ => Vec::new(),
    }
}

/// A list of a project that has no pages: its name, and the field of a row that the next part begins after.
struct Parts {
    list: &'static str,
    row: &'static str,
    after: fn(&Value) -> String,
}

tests::behind_each_lock! {
    async fn everything_in_a_list_can_be_found_by_id(server: Server) {
        let [ada, bob, eve, mallory] = ["ada", "bob", "eve", "mallory"].map(|name| server.user(&format!("{name}@example.com")));
        for client in [&bob, &eve, &mallory] {
            client.gql("{ viewer { id } }", json!({})).await.ok();
        }
        let project = Project::create(&ada, "Shared").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Hello", true).await;
        project.create_file("a.py", "one\n").await;
        let started = ada.mutate("startMessage", json!({ "sessionId": session, "role": "ASSISTANT" }), "messageId streamingMessage { id length }").await.ok();
        let streaming = text(&started["startMessage"]["messageId"]);
        assert_eq!(started["startMessage"]["streamingMessage"], json!({ "id": format!("streaming-message:{streaming}"), "length": 0 }));
        project.write("saveAgentConfiguration", settings("Agent"), "revision").await;
        for (email, role) in [("bob@example.com", "VIEWER"), ("eve@example.com", "EDITOR")] {
            project.write("inviteCollaborator", json!({ "userId": user_id(email), "role": role }), "revision").await;
        }
        bob.mutate_with("acceptInvitation", json!({ "projectId": project.id }), "revision").await.ok();
        project.write("inviteByEmail", json!({ "email": "later@example.com", "role": "VIEWER" }), "revision project { id }").await;
        project.write("createAccessToken", json!({ "name": "Machine", "role": "VIEWER" }), "revision").await;
        let mut listening = project.listen(0, "revision").await;
        listening.event().await;

        // Every list, for the owner of all objects …
        let everything = "{ viewer { __typename id preferences { __typename id } }
            recentActivity(first: 3) { nodes { __typename id } } invitations(first: 3) { nodes { __typename id } }
            projects(first: 2) { nodes { __typename id owner { __typename id }
                sessions(first: 2) { nodes { __typename id checkpoints { __typename id } streamingMessages { __typename id } messages(first: 3) { nodes { __typename id changes { __typename id } } } } }
                files(first: 3) { nodes { __typename id versions(first: 3) { nodes { __typename id } } } } changes(first: 3) { nodes { __typename id } } snapshots(first: 3) { nodes { __typename id } }
                events(first: 30) { __typename id agentConfigurationVersions { __typename id } } presence { __typename id }
                collaborators { __typename id user { __typename id } } emailInvitations { __typename id } accessTokens { __typename id user { __typename id } }
                agentConfigurations { __typename id versions(first: 3) { nodes { __typename id } } } } } }";
        let seen = objects(&ada.gql(everything, json!({})).await.ok());
        let mut kinds: Vec<_> = seen.iter().map(|object| text(&object["__typename"])).collect();
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds, ["AccessToken", "AgentConfiguration", "AgentConfigurationVersion", "ChatActivity", "ChatMessage", "ChatSession", "CodeChange", "Collaborator",
            "EmailInvitation", "FileSnapshot", "Presence", "Project", "ProjectEvent", "ProjectFile", "ProjectSnapshot", "StreamingMessage", "User", "UserPreferences"]);
        let of = |ids: &[Value]| ids.iter().map(|object| text(&object["id"])).collect::<Vec<_>>();
        let ids = of(&seen);
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        // Some objects appear more than once, but no two objects share an id.
        let named: std::collections::BTreeSet<_> = seen.iter().map(Value::to_string).collect();
        assert_eq!(unique.len(), named.len());
        let all = ada.gql("query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", json!({ "ids": ids })).await.ok();
        assert_eq!(all["nodes"], json!(seen));

        // … and for other callers.
        for object in &seen {
            let (kind, id) = (text(&object["__typename"]), text(&object["id"]));
            assert_eq!(node(&ada, &id).await, *object);
            let is_owners = ["AccessToken", "EmailInvitation", "UserPreferences"].contains(&kind.as_str());
            assert_eq!(node(&bob, &id).await, if is_owners { Value::Null } else { object.clone() }, "{kind} to a viewer");
            assert_eq!(node(&mallory, &id).await, Value::Null, "{kind} to a stranger");
            // Data about themselves is visible to them: their profile, and behind only one of the two locks their own
            // membership.
            if !id.ends_with(&user_id("eve@example.com")) {
                assert_eq!(node(&eve, &id).await, Value::Null, "{kind} to the invited");
            }
        }
        let invited = eve.gql("{ invitations { nodes { __typename id projectName } } }", json!({})).await.ok();
        let invited = objects(&invited);
        let id = text(&invited[0]["id"]);
        assert_eq!(node(&eve, &id).await, invited[0]);
        for other in [&ada, &bob, &mallory] {
            assert_eq!(node(other, &id).await, Value::Null);
        }

        // Objects that have ended are not found any more, and the payload contains their id.
        drop(listening);
        let declined = eve.mutate_with("declineInvitation", json!({ "projectId": project.id }), "invitationId").await.ok();
        assert_eq!(declined["declineInvitation"]["invitationId"], json!(id));
        assert_eq!(node(&eve, &id).await, Value::Null);
        let discarded = ada.mutate_with("discardMessage", json!({ "messageId": streaming }), "messageId streamingMessageId").await.ok();
        let gone = text(&discarded["discardMessage"]["streamingMessageId"]);
        assert!(ids.contains(&gone));
        assert_eq!(node(&ada, &gone).await, Value::Null);
        // A message is not a streaming message, and vice versa.
        assert_eq!(node(&ada, &format!("streaming-message:{message}")).await, Value::Null);
        for id in [format!("event:{}:99", project.id), format!("agent-configuration-version:{}:1", project.id), format!("collaborator:{}:{}", project.id, user_id("mallory@example.com"))] {
            assert_eq!(node(&ada, &id).await, Value::Null, "{id}");
        }
    }
}

tests::on_both! {
    async fn a_list_without_pages_is_read_in_parts_or_refused_if_it_is_too_long(database: Database) {
        let server = Server::start_with(&database, &["--max-list-rows=3"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Long").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "1", true).await;
        for n in ["2", "3", "4", "5"] {
            project.add_message(&session, n, true).await;
        }
        let snapshot = text(&project.write("createSnapshot", json!({}), "snapshot { id }").await["snapshot"]["id"]);
        let files: Vec<Value> = ["a", "b", "c", "d", "e"].map(|path| json!({ "path": path, "content": "1\n2\n3\n4\n5\n" })).to_vec();
        project.write("syncFiles", json!({ "files": files, "messageId": message }), "revision").await;
        for (lines, n) in [("1\nx\n3\n4\n5\n", 1), ("1\nx\n3\ny\n5\n", 2)] {
            project.write("updateFile", json!({ "path": "a", "content": lines, "changeDescription": format!("{n}") }), "revision").await;
        }
        for n in 0..5 {
            let saved = project.write("saveAgentConfiguration", settings(&format!("{n}")), "agentConfiguration { id }").await;
            ada.mutate("deleteAgentConfiguration", json!({ "id": saved["agentConfiguration"]["id"] }), "revision").await.ok();
        }
        let around = |of: &str| match of {
            "project" => format!("project(id: \"{}\")", project.id),
            "session" => format!("node(id: \"{session}\") {{ ... on ChatSession"),
            "message" => format!("node(id: \"{message}\") {{ ... on ChatMessage"),
            "snapshot" => format!("node(id: \"{snapshot}\") {{ ... on ProjectSnapshot"),
            "file" => format!("project(id: \"{}\") {{ file(path: \"a\")", project.id),
            "preview" => format!("project(id: \"{}\") {{ restorePreview(to: {{ revision: 1 }})", project.id),
            _ => panic!("{of}"),
        };
        let id = |row: &Value| row["id"].to_string();
        let path = |row: &Value| row["path"].to_string();
        for (of, Parts { list, row, after }) in [
            ("session", Parts { list: "checkpoints", row: "id content", after: id }),
            ("message", Parts { list: "changes", row: "id path", after: id }),
            ("project", Parts { list: "agentConfigurations(includeDeleted: true)", row: "id configName", after: id }),
            ("project", Parts { list: "diff(from: 1)", row: "path additions", after: path }),
            ("snapshot", Parts { list: "diff", row: "path additions", after: path }),
            ("preview", Parts { list: "diff", row: "path type", after: path }),
            ("file", Parts { list: "blame", row: "startLine endLine", after: |row| row["endLine"].to_string() }),
        ] {
            let ask = async |arguments: &str| {
                let (name, own) = list.split_once('(').map_or((list, ""), |(name, own)| (name, own.trim_end_matches(')')));
                let arguments = [own, arguments].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(", ");
                let arguments = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
                let around = around(of);
                let close = if around.contains('{') { "} }" } else { "}" };
                ada.gql(&format!("{{ around: {around} {{ list: {name}{arguments} {{ {row} }} {close} }}"), json!({})).await
            };
            let rows = |mut data: Value| {
                let around = data["around"].take();
                let inner = ["file", "restorePreview"].iter().map(|name| &around[*name]).find(|inner| inner.is_object()).unwrap_or(&around);
                inner["list"].as_array().unwrap_or_else(|| panic!("{of} {list}: {around}")).clone()
            };
            let refused = ask("").await;
            assert_eq!(refused.error_code(), "QUERY_TOO_COMPLEX", "{of} {list}");
            assert!(text(&refused.error()["message"]).contains("--max-list-rows"), "{:?}", refused.error());
            for wrong in ["first: 4", "first: -1"] {
                let answer = ask(wrong).await;
                assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", "first"), "{of} {list}");
            }
            assert_eq!(rows(ask("first: 0").await.ok()), [Value::Null; 0]);

            // In parts of two: every row once and in order.
            let (mut all, mut begin) = (Vec::new(), String::new());
            loop {
                let part = rows(ask(&format!("first: 2{begin}")).await.ok());
                let Some(last) = part.last() else { break };
                begin = format!(", after: {}", after(last));
                all.extend(part);
            }
            assert_eq!(all.len(), 5, "{of} {list}: {all:?}");
            let keys: std::collections::BTreeSet<_> = all.iter().map(after).collect();
            assert_eq!(keys.len(), 5, "{of} {list}");
            // The rest at once, if it is short enough.
            assert_eq!(rows(ask(&format!("after: {}", after(&all[1]))).await.ok()), all[2..], "{of} {list}");
            if row.starts_with("id ") {
                for wrong in ["\"nonsense\"", "\"0192f3a4-5b6c-7d8e-9f00-112233445566\""] {
                    let answer = ask(&format!("first: 1, after: {wrong}")).await;
                    assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", "after"), "{of} {list}");
                }
            }
        }

        // All changes of a write are returned, unless a part is requested.
        let events = project.ask("events { revision changes { path } part: changes(first: 2) { path } }").await;
        let event = events["events"].as_array().unwrap().iter().find(|event| event["changes"].as_array().unwrap().len() > 1).unwrap();
        assert_eq!((each(&event["changes"], "path").len(), each(&event["part"], "path")), (5, vec![json!("a"), json!("b")]));
        let people = project.ask("collaborators(first: 3) { id } emailInvitations(first: 0) { id }").await;
        assert_eq!(people, json!({ "collaborators": [], "emailInvitations": [] }));
        server.stop().await;
    }
}
