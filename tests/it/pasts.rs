//! Given an object that is read at a past revision, when a client caches it by id, then the past never replaces the
//! present: it has an id of its own, which every reading argument accepts and every writing argument refuses.

use serde_json::{Value, json};
use tests::{
    client::Response,
    project::{Project, each, number, settings, text},
    server::Server,
};

const NODE: &str = "query($id: ID!) { node(id: $id) { __typename id
    ... on Project { name revision present { id name } }
    ... on ChatSession { endedAt messageCount present { id messageCount } project { id name } }
    ... on ChatMessage { isHidden present { id isHidden } session { id } }
    ... on ProjectFile { path version content isDeleted present { id version } project { id revision } }
    ... on AgentConfiguration { configName present { id configName } project { id } } } }";

async fn node(project: &Project, id: &str) -> Value {
    project.client.gql(NODE, json!({ "id": id })).await.ok()["node"].take()
}

async fn at(project: &Project, revision: i64, select: &str) -> Value {
    let query = format!("query($id: ID!, $at: Int!) {{ project(id: $id, at: {{ revision: $at }}) {{ {select} }} }}");
    project.client.gql(&query, json!({ "id": project.id, "at": revision })).await.ok()["project"].take()
}

/// Every `id` in an answer, at any depth.
fn ids(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("id").filter(|id| id.is_string()).map(text);
            own.into_iter().chain(fields.values().flat_map(ids)).collect()
        }
        Value::Array(values) => values.iter().flat_map(ids).collect(),
        _ => Vec::new(),
    }
}

fn assert_refused(answer: &Response, field: &str, plain: &str) {
    assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", field), "{answer:?}");
    let message = text(&answer.error()["message"]);
    assert!(message.contains(&format!("`{plain}`")), "{message}");
}

tests::on_both! {
    async fn an_object_at_a_past_revision_has_an_id_of_its_own(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "First").await;
        let p = project.id.clone();
        let session = project.start_session().await;
        let message = project.add_message(&session, "Hello", true).await;
        let file = project.create_file("src/a.py", "one\n").await;
        let saved = project.write("saveAgentConfiguration", settings("First"), "agentConfiguration { id }").await;
        let configuration = text(&saved["agentConfiguration"]["id"]);
        let then = project.revision().await;
        project.update_file("src/a.py", "two\n").await;
        project.add_message(&session, "More", false).await;
        ada.mutate("updateProject", json!({ "id": p, "name": "Second" }), "revision").await.ok();
        let second = json!({ "id": configuration, "configName": "Second" });
        project.write("saveAgentConfiguration", tests::project::with(settings("Second"), second), "revision").await;
        let past = |id: &str| format!("{id}@{then}");

        // From the project at a past revision: it and everything below it, in lists, edges and links back.
        let everything = "id sessions { nodes { id project { id } messages { nodes { id session { id project { id } } } edges { node { id } } } checkpoints { id } } }
            activeSession { id } agentConfigurations { id project { id } }
            file(path: \"src/a.py\") { id content project { id } } files { nodes { id } edges { node { id } } }
            children { nodes { id project { id } } } folder: file(path: \"src\") { id present { path } }";
        let read = at(&project, then, everything).await;
        let (mut found, folder) = (ids(&read), format!("{p}@{then}/src"));
        found.sort();
        found.dedup();
        let mut expected = [&p, &session, &message, &file, &configuration].map(|id| past(id)).to_vec();
        expected.push(folder.clone());
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(read["file"]["content"], "one\n");

        // From the revision of a file, a list or a snapshot.
        let select = format!("revision file(path: \"src/a.py\", at: {then}) {{ id content project {{ id name }} }} files(at: {then}) {{ nodes {{ id }} }}
            children(of: \"src\", at: {then}) {{ nodes {{ id }} }} snapshots {{ nodes {{ id project {{ id }} revision files {{ nodes {{ id content }} }} }} }}");
        let read = project.ask(&select).await;
        assert_eq!(read["file"], json!({ "id": past(&file), "content": "one\n", "project": { "id": past(&p), "name": "First" } }));
        for list in ["files", "children"] {
            assert_eq!(read[list]["nodes"], json!([{ "id": past(&file) }]));
        }
        let snapshot = &read["snapshots"]["nodes"][0];
        assert_eq!(snapshot["project"]["id"], json!(p), "a snapshot never changes, and has a plain id");
        assert_eq!(snapshot["files"]["nodes"], json!([]));
        let named = project.write("createSnapshot", json!({}), "snapshot { id revision files { nodes { id content } } }").await;
        let revision = number(&named["snapshot"]["revision"]);
        assert_eq!(named["snapshot"]["files"]["nodes"], json!([{ "id": format!("{file}@{revision}"), "content": "two\n" }]));

        // Objects of the present have plain ids, also below an object that never changes.
        let present = project.ask("id sessions { nodes { id messages { nodes { id } } } } files { nodes { id versions { nodes { file { id } } } } }
            file(path: \"src/a.py\") { id } agentConfigurations { id } changes { nodes { file { id } session { id } } }
            events { session { id } message { id } changes { file { id } } }").await;
        assert!(ids(&present).iter().all(|id| !id.contains('@')), "{present}");

        // `node` accepts each of these ids, and links to the present.
        let seen = node(&project, &past(&file)).await;
        assert_eq!(seen, json!({ "__typename": "ProjectFile", "id": past(&file), "path": "src/a.py", "version": 1, "content": "one\n",
            "isDeleted": false, "present": { "id": file, "version": 2 }, "project": { "id": past(&p), "revision": then } }));
        let seen = node(&project, &past(&p)).await;
        assert_eq!(seen, json!({ "__typename": "Project", "id": past(&p), "name": "First", "revision": then, "present": { "id": p, "name": "Second" } }));
        let seen = node(&project, &past(&session)).await;
        assert_eq!(seen, json!({ "__typename": "ChatSession", "id": past(&session), "endedAt": null, "messageCount": 1,
            "present": { "id": session, "messageCount": 2 }, "project": { "id": past(&p), "name": "First" } }));
        let seen = node(&project, &past(&message)).await;
        assert_eq!(seen, json!({ "__typename": "ChatMessage", "id": past(&message), "isHidden": false,
            "present": { "id": message, "isHidden": false }, "session": { "id": past(&session) } }));
        let seen = node(&project, &past(&configuration)).await;
        assert_eq!(seen, json!({ "__typename": "AgentConfiguration", "id": past(&configuration), "configName": "First",
            "present": { "id": configuration, "configName": "Second" }, "project": { "id": past(&p) } }));
        let seen = node(&project, &folder).await;
        assert_eq!(seen, json!({ "__typename": "ProjectFile", "id": folder, "path": "src", "version": 0, "content": null,
            "isDeleted": false, "present": { "id": format!("{p}/src"), "version": 0 }, "project": { "id": past(&p), "revision": then } }));

        // A file of the past has the versions of then, and a list takes a folder of the past.
        let query = format!("versions: file(path: \"src/a.py\", at: {then}) {{ versions {{ totalCount nodes {{ version }} pageInfo {{ hasNextPage hasPreviousPage }} }} }}
            last: file(path: \"src/a.py\", at: {then}) {{ versions(last: 1) {{ nodes {{ version }} }} }} now: file(path: \"src/a.py\") {{ versions {{ totalCount }} }}");
        let read = project.ask(&query).await;
        let only = json!({ "totalCount": 1, "nodes": [{ "version": 1 }], "pageInfo": { "hasNextPage": false, "hasPreviousPage": false } });
        assert_eq!(read["versions"]["versions"], only);
        assert_eq!((&read["last"]["versions"]["nodes"], &read["now"]["versions"]["totalCount"]), (&json!([{ "version": 1 }]), &json!(2)));
        for (folder, count) in [(folder.clone(), 1), (format!("{p}/src"), 2), (format!("{p}/nowhere"), 0), (format!("{file}/src"), 0)] {
            let query = "query($id: ID!, $folder: ID!) { project(id: $id) { changes(filter: { fileId: $folder }) { totalCount nodes { path } } } }";
            let read = project.client.gql(query, json!({ "id": p, "folder": folder })).await.ok();
            assert_eq!(read["project"]["changes"]["totalCount"], count, "{folder}");
        }

        // The present links to itself; a deleted object has no present.
        assert_eq!(node(&project, &file).await["present"], json!({ "id": file, "version": 2 }));
        project.write("deleteFile", json!({ "path": "src/a.py" }), "revision").await;
        for (id, is_deleted) in [(past(&file), false), (file.clone(), true)] {
            let seen = node(&project, &id).await;
            assert_eq!((&seen["present"], &seen["isDeleted"]), (&Value::Null, &json!(is_deleted)));
        }
        assert_eq!(node(&project, &folder).await["present"], Value::Null);

        // Each revision of one object is a different object, also when many are read at once.
        let all: Vec<String> = (0..=then + 2).map(|at| format!("{file}@{at}")).collect();
        let nodes = ada.gql("query($ids: [ID!]!) { nodes(ids: $ids) { id ... on ProjectFile { content } } }", json!({ "ids": all })).await.ok();
        let made = then - 1;
        let expected = all.iter().enumerate().map(|(at, id)| match at as i64 {
            at if at < made => Value::Null,
            at => json!({ "id": id, "content": if at <= then { "one\n" } else { "two\n" } }),
        });
        assert_eq!(nodes["nodes"], expected.collect::<Value>());
    }

    async fn an_id_with_an_invalid_revision_names_nothing(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Young").await;
        let file = project.create_file("a.py", "one\n").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Hello", true).await;
        let saved = project.write("saveAgentConfiguration", settings("First"), "agentConfiguration { id }").await;
        let configuration = text(&saved["agentConfiguration"]["id"]);
        let newest = project.revision().await;
        let user = text(&ada.gql("{ viewer { id } }", json!({})).await.ok()["viewer"]["id"]);
        let version = text(&project.ask("files { nodes { versions { nodes { id } } } }").await["files"]["nodes"][0]["versions"]["nodes"][0]["id"]);

        // A revision that the project has not reached, or at which the object did not exist …
        for id in [&project.id, &file, &session, &message, &configuration] {
            assert_eq!(node(&project, &format!("{id}@{newest}")).await["id"], json!(format!("{id}@{newest}")));
            for at in [0, newest + 1, i64::from(i32::MAX)] {
                assert_eq!(node(&project, &format!("{id}@{at}")).await, Value::Null, "{at}");
            }
        }
        for id in [&file, &session, &message, &configuration] {
            assert_eq!(node(&project, &format!("{id}@1")).await, Value::Null);
        }
        assert_eq!(node(&project, &format!("{}@{}/a", project.id, newest + 1)).await, Value::Null);
        // … objects that never change …
        for id in [user, version] {
            assert_eq!(node(&project, &format!("{id}@{newest}")).await, Value::Null);
        }
        // … and malformed ids.
        for at in ["", "-1", "+1", "01", "1.0", "x", "2147483648", "1@1", " 1"] {
            let answer = ada.gql(NODE, json!({ "id": format!("{file}@{at}") })).await;
            assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", "id"), "{at:?}");
            let read = ada.gql("query($id: ID!) { project(id: $id) { id } }", json!({ "id": format!("{}@{at}", project.id) })).await;
            assert_eq!((read.error_code(), &read.error()["message"]), ("BAD_USER_INPUT", &answer.error()["message"]), "{at:?}");
        }
        let read = ada.gql("query($id: ID!) { project(id: $id) { id } }", json!({ "id": format!("{}@1@2", project.id) })).await;
        assert_eq!(read.error()["message"], "This is not an id of this API.");

        // Other users see neither the present nor the past.
        let bob = project.of(&server.user("bob@example.com"));
        for id in [&project.id, &file, &session, &message, &configuration] {
            assert_eq!(node(&bob, &format!("{id}@{newest}")).await, Value::Null);
        }
        assert_eq!(node(&bob, &format!("{}@{newest}/a", project.id)).await, Value::Null);
    }

    async fn every_reading_argument_accepts_an_id_of_the_past(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Read").await;
        let p = project.id.clone();
        let session = project.start_session().await;
        let message = project.add_message(&session, "I write it", true).await;
        let file = text(&project.write("createFile", json!({ "path": "a.py", "content": "one\n", "messageId": message }), "file { id }").await["file"]["id"]);
        let then = project.revision().await;
        project.write("updateFile", json!({ "path": "a.py", "content": "two\n", "messageId": message }), "revision").await;
        project.add_message(&session, "More", false).await;
        ada.mutate("updateProject", json!({ "id": p, "name": "Renamed" }), "revision").await.ok();
        let past = |id: &str| format!("{id}@{then}");

        let query = "query($id: ID!) { project(id: $id) { id name revision } }";
        let read = ada.gql(query, json!({ "id": past(&p) })).await.ok();
        assert_eq!(read["project"], json!({ "id": past(&p), "name": "Read", "revision": then }));
        let answer = ada.gql("query($id: ID!) { project(id: $id, at: { revision: 1 }) { id } }", json!({ "id": past(&p) })).await;
        assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", "at"));

        let query = "query($id: ID!) { recentActivity(projectId: $id) { totalCount nodes { id excerpt message { id } session { id } project { id } } } }";
        let read = ada.gql(query, json!({ "id": past(&p) })).await.ok();
        assert_eq!(read["recentActivity"], json!({ "totalCount": 1, "nodes": [{ "id": format!("activity:{}", past(&message)), "excerpt": "I write it",
            "message": { "id": past(&message) }, "session": { "id": past(&session) }, "project": { "id": past(&p) } }] }));
        let read = ada.gql(query, json!({ "id": p })).await.ok();
        assert_eq!(read["recentActivity"]["totalCount"], 2);
        assert!(ids(&read).iter().all(|id| !id.contains('@')), "{read}");
        let read = ada.gql(query, json!({ "id": format!("{p}@99") })).await.ok();
        assert_eq!(read["recentActivity"], json!({ "totalCount": 0, "nodes": [] }));

        for (field, id) in [("sessionId", &session), ("messageId", &message), ("fileId", &file)] {
            for (id, count) in [(id.clone(), 2), (past(id), 1), (format!("{id}@{}", then - 1), 0)] {
                let select = format!("changes(filter: {{ {field}: \"{id}\" }}) {{ totalCount nodes {{ id newContent }} }}");
                let read = project.ask(&select).await;
                assert_eq!((&read["changes"]["totalCount"], read["changes"]["nodes"].as_array().unwrap().len()), (&json!(count), count), "{field} {id}");
            }
        }

        // A checkpoint at a past revision goes no further than that revision, and does not exist before it was written.
        let query = "query($id: ID!, $m: ID!) { project(id: $id, at: { messageId: $m }) { revision restorePreview(to: { messageId: $m }) { revision } } }";
        for (id, revision) in [(message.clone(), then + 1), (past(&message), then), (format!("{message}@{}", then - 1), then - 1)] {
            let read = ada.gql(query, json!({ "id": p, "m": id })).await.ok();
            assert_eq!(read["project"], json!({ "revision": revision, "restorePreview": { "revision": revision } }), "{id}");
        }
        let answer = ada.gql(query, json!({ "id": p, "m": format!("{message}@1") })).await;
        assert_eq!((answer.error_code(), answer.field()), ("NOT_FOUND", "messageId"));

        // A subscription with such an id receives the later events, with ids of the present.
        let query = "subscription($id: ID!) { projectEvents(projectId: $id) { revision message { id } changes { file { id version } } } }";
        let mut subscription = ada.subscribe(query, json!({ "id": past(&p) })).await;
        let event = subscription.event().await["projectEvents"].take();
        assert_eq!(event, json!({ "revision": then + 1, "message": { "id": message }, "changes": [{ "file": { "id": file, "version": 2 } }] }));
        let query = "subscription($id: ID!) { messageAdded(sessionId: $id) { id content } }";
        let mut subscription = ada.subscribe(query, json!({ "id": past(&session) })).await;
        assert_eq!(subscription.event().await["messageAdded"]["content"], "More");
        let query = "subscription($id: ID!) { codeChanged(projectId: $id) { revision } }";
        let mut subscription = ada.subscribe(query, json!({ "id": past(&p) })).await;
        assert_eq!(subscription.event().await["codeChanged"]["revision"], then + 1);
    }

    async fn every_writing_argument_refuses_an_id_of_the_past_and_names_the_plain_one(server: Server) {
        let ada = server.user("ada@example.com");
        let ids = crate::access::Ids::of(&ada, "ada@example.com").await;
        let project = Project { client: ada.clone(), id: ids.project.clone() };
        let before = project.state().await;
        let mut tried = 0;
        for (name, (variables, select)) in ids.changes() {
            // Each argument and each input field that takes an id, in turn.
            let is_id = |name: &str| name == "id" || name.ends_with("Id");
            let of_input = variables["input"].as_object().into_iter().flatten().map(|(field, value)| (true, field.clone(), value.clone()));
            let own = variables.as_object().unwrap().iter().map(|(field, value)| (false, field.clone(), value.clone()));
            for (is_of_input, field, id) in of_input.chain(own).filter(|(_, field, _)| is_id(field)) {
                let mut variables = variables.clone();
                let place = if is_of_input { &mut variables["input"] } else { &mut variables };
                place[field.as_str()] = json!(format!("{}@2", text(&id)));
                assert_refused(&crate::access::change(&ada, name, &variables, select).await, &field, &text(&id));
                tried += 1;
            }
        }
        for name in ["createFile", "updateFile", "renameFile", "deleteFile", "revertFile", "syncFiles", "createSnapshot"] {
            for (field, id) in [("sessionId", &ids.session), ("messageId", &ids.message)] {
                let (mut variables, select) = ids.changes().remove(name).unwrap();
                variables["input"][field] = json!(format!("{id}@2"));
                assert_refused(&crate::access::change(&ada, name, &variables, select).await, field, id);
                tried += 1;
            }
        }
        assert!(tried > 40, "{tried}");
        assert_eq!(project.state().await, before);
    }

    async fn a_past_has_its_own_sessions(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Sessions").await;
        let first = project.start_session().await;
        let one = project.revision().await;
        let second = project.start_session().await;
        let two = project.revision().await;
        ada.mutate_id("endSession", &second, "revision").await.ok();
        let three = project.revision().await;
        for (revision, active) in [(1, None), (one, Some(&first)), (two, Some(&second)), (three, None)] {
            let active = active.map(|id| format!("{id}@{revision}"));
            let read = at(&project, revision, "activeSession { id isActive } sessions { nodes { id isActive } }
                active: sessions(filter: { isActive: true }) { totalCount nodes { id } } ended: sessions(filter: { isActive: false }) { totalCount nodes { isActive } }").await;
            assert_eq!(read["activeSession"], json!(active.as_ref().map(|id| json!({ "id": id, "isActive": true }))), "{revision}");
            assert_eq!(each(&read["active"]["nodes"], "id"), active.iter().map(|id| json!(id)).collect::<Vec<_>>(), "{revision}");
            let all = read["sessions"]["nodes"].as_array().unwrap().len();
            assert_eq!(read["ended"]["totalCount"], all - active.iter().len());
            assert_eq!(read["ended"]["nodes"].as_array().unwrap().len(), all - active.iter().len());
        }
    }
}
