//! Given snapshots, when they are renamed, deleted and searched for, then lists, nodes and the log follow, and the revisions that
//! they named stay.

use serde_json::{Value, json};
use tests::{
    project::{Project, each, number, text},
    server::Server,
};

const SELECT: &str = "revision snapshot { id name description revision project { revision } }";

/// The names in the list of snapshots that a filter keeps, and the total.
async fn found(project: &Project, filter: Value) -> (Vec<Value>, Value) {
    let query = "query($id: ID!, $filter: ProjectSnapshotFilter) { project(id: $id) { snapshots(filter: $filter) { totalCount nodes { name } } } }";
    let data = project.client.gql(query, json!({ "id": project.id, "filter": filter })).await.ok();
    let list = &data["project"]["snapshots"];
    (each(&list["nodes"], "name"), list["totalCount"].clone())
}

tests::on_both! {
    async fn a_snapshot_is_renamed_and_the_log_says_so(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Names").await;
        project.create_file("a", "one\n").await;
        let made = project.write("createSnapshot", json!({ "name": "First", "description": "What it is" }), SELECT).await;
        let id = text(&made["snapshot"]["id"]);
        let mut events = project.listen(3, "revision kind snapshot { id name }").await;

        let renamed = ada.mutate("updateSnapshot", json!({ "snapshotId": id, "name": "Better" }), SELECT).await.ok();
        let expected = json!({ "id": id, "name": "Better", "description": "What it is", "revision": 3, "project": { "revision": 4 } });
        assert_eq!(renamed["updateSnapshot"], json!({ "revision": 4, "snapshot": expected }));
        let heard = events.event().await["projectEvents"].take();
        assert_eq!(heard, json!({ "revision": 4, "kind": "SNAPSHOT_UPDATED", "snapshot": { "id": id, "name": "Better" } }));

        // The same name again is no revision.
        let again = ada.mutate("updateSnapshot", json!({ "snapshotId": id, "name": "Better" }), "revision").await.ok();
        assert_eq!(again["updateSnapshot"]["revision"], 4);
        let nothing = ada.mutate("updateSnapshot", json!({ "snapshotId": id }), "revision").await.ok();
        assert_eq!(nothing["updateSnapshot"]["revision"], 4);
        // Null removes it.
        let input = json!({ "snapshotId": id, "name": null, "description": null });
        let bare = ada.mutate("updateSnapshot", input, SELECT).await.ok();
        assert_eq!((&bare["updateSnapshot"]["snapshot"]["name"], &bare["updateSnapshot"]["snapshot"]["description"]), (&Value::Null, &Value::Null));
        assert_eq!(bare["updateSnapshot"]["revision"], 5);
        // The log names the same snapshot at both, and at its creation.
        let log = project.ask("events(afterRevision: 2) { revision snapshot { id } }").await;
        assert_eq!(each(&log["events"], "snapshot"), vec![json!({ "id": id }); 3]);
    }

    async fn a_deleted_snapshot_is_nowhere_and_its_revision_stays(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Names").await;
        project.create_file("a", "one\n").await;
        let made = project.write("createSnapshot", json!({ "name": "First" }), SELECT).await;
        let (id, named) = (text(&made["snapshot"]["id"]), number(&made["snapshot"]["revision"]));
        let at = project.update_file("a", "two\n").await;
        let mut events = project.listen(at, "revision kind snapshot { id name }").await;

        let deleted = ada.mutate("deleteSnapshot", json!({ "snapshotId": id }), "revision deletedSnapshotId project { id revision snapshots { totalCount } }").await.ok();
        let expected = json!({ "revision": at + 1, "deletedSnapshotId": id,
            "project": { "id": project.id, "revision": at + 1, "snapshots": { "totalCount": 0 } } });
        assert_eq!(deleted["deleteSnapshot"], expected);
        let heard = events.event().await["projectEvents"].take();
        assert_eq!(heard, json!({ "revision": at + 1, "kind": "SNAPSHOT_DELETED", "snapshot": { "id": id, "name": "First" } }));

        // No reader finds it, in the past as little as now …
        let query = "query($id: ID!, $project: ID!) { node(id: $id) { id } nodes(ids: [$id]) { id }
            project(id: $project) { snapshots { nodes { id } } events(first: 1, afterRevision: 2) { revision snapshot { id } } }
            then: project(id: $project, at: { revision: 3 }) { snapshots { totalCount nodes { id } } } }";
        let read = ada.gql(query, json!({ "id": id, "project": project.id })).await.ok();
        let nowhere = json!({ "node": null, "nodes": [null],
            "project": { "snapshots": { "nodes": [] }, "events": [{ "revision": 3, "snapshot": null }] },
            "then": { "snapshots": { "totalCount": 0, "nodes": [] } } });
        assert_eq!(read, nowhere);
        let query = "query($id: ID!, $project: ID!) { project(id: $project, at: { snapshotId: $id }) { id } }";
        let answer = ada.gql(query, json!({ "id": id, "project": project.id })).await;
        assert_eq!(answer.error_code(), "NOT_FOUND");
        // … and no write …
        for (name, more) in [("deleteSnapshot", json!({})), ("updateSnapshot", json!({ "name": "Back" })), ("restoreSnapshot", json!({}))] {
            let answer = ada.mutate(name, tests::project::with(json!({ "snapshotId": id }), more), "revision").await;
            assert_eq!((answer.error_code(), answer.field()), ("NOT_FOUND", "snapshotId"), "{name}");
        }
        // … and the state that it named is still there.
        assert_eq!(project.revision().await, at + 1);
        project.write("restoreRevision", json!({ "revision": named }), "revision").await;
        assert_eq!(project.contents().await, [("a".to_owned(), "one\n".to_owned())]);
    }

    async fn a_checkpoint_without_its_snapshot_keeps_its_moment(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Names").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Here you are", true).await;
        let written = json!({ "path": "a", "content": "one\n", "sessionId": session, "messageId": message });
        let at = number(&project.write("createFile", written, "revision").await["revision"]);
        let query = "query($id: ID!) { node(id: $id) { ... on ChatMessage { snapshot { id name } } } }";
        let snapshot = ada.gql(query, json!({ "id": message })).await.ok()["node"]["snapshot"].take();
        let (id, first_name) = (text(&snapshot["id"]), text(&snapshot["name"]));
        assert!(first_name.starts_with("Auto-snapshot: "), "{first_name}");

        // It is found by the name that it has from the beginning, by one of its own, and by its first again.
        assert_eq!(found(&project, json!({ "search": "auto-SNAPSHOT: 2" })).await, (vec![json!(first_name)], json!(1)));
        ada.mutate("updateSnapshot", json!({ "snapshotId": id, "name": "Greeting" }), "revision").await.ok();
        assert_eq!(found(&project, json!({ "search": "auto-snapshot" })).await, (vec![], json!(0)));
        assert_eq!(found(&project, json!({ "search": "greet" })).await, (vec![json!("Greeting")], json!(1)));
        assert_eq!(found(&project, json!({ "messageId": message })).await, (vec![json!("Greeting")], json!(1)));
        ada.mutate("updateSnapshot", json!({ "snapshotId": id, "name": null }), "revision").await.ok();
        assert_eq!(found(&project, json!({ "search": first_name })).await.1, json!(1));

        ada.mutate("deleteSnapshot", json!({ "snapshotId": id }), "revision").await.ok();
        assert_eq!(ada.gql(query, json!({ "id": message })).await.ok()["node"]["snapshot"], Value::Null);
        assert_eq!(found(&project, json!({ "messageId": message })).await.1, json!(0));
        // What is written for the message still belongs to it, and its moment follows.
        let more = json!({ "path": "b", "content": "two\n", "sessionId": session, "messageId": message });
        let later = number(&project.write("createFile", more, "revision").await["revision"]);
        assert!(later > at);
        let query = "query($project: ID!, $message: ID!) { project(id: $project, at: { messageId: $message }) { revision } }";
        let then = ada.gql(query, json!({ "project": project.id, "message": message })).await.ok();
        assert_eq!(then["project"]["revision"], later);
    }

    async fn snapshots_are_found_by_text_and_message(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Names").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "One", false).await;
        for (name, description, of) in [("100% done", None, None), ("Draft", Some("Übung, 100%"), Some(&message)), ("A_b", None, None)] {
            let input = json!({ "name": name, "description": description, "sessionId": of.map(|_| &session), "messageId": of });
            project.write("createSnapshot", input, "revision").await;
        }
        assert_eq!(found(&project, json!({})).await, (vec![json!("A_b"), json!("Draft"), json!("100% done")], json!(3)));
        assert_eq!(found(&project, Value::Null).await.1, json!(3));
        assert_eq!(found(&project, json!({ "search": "100%" })).await, (vec![json!("Draft"), json!("100% done")], json!(2)));
        assert_eq!(found(&project, json!({ "search": "A_B" })).await, (vec![json!("A_b")], json!(1)));
        assert_eq!(found(&project, json!({ "search": "a%b" })).await, (vec![], json!(0)));
        assert_eq!(found(&project, json!({ "search": "" })).await.1, json!(3));
        assert_eq!(found(&project, json!({ "messageId": message })).await, (vec![json!("Draft")], json!(1)));
        assert_eq!(found(&project, json!({ "messageId": message, "search": "done" })).await.1, json!(0));
        // A message as of a revision keeps what was there then; a page goes on within the filter.
        assert_eq!(found(&project, json!({ "messageId": format!("{message}@3") })).await.1, json!(0));
        let query = "query($id: ID!, $after: String) { project(id: $id) { snapshots(filter: { search: \"100\" }, first: 1, after: $after) {
            nodes { name } pageInfo { hasNextPage endCursor } } } }";
        let first = ada.gql(query, json!({ "id": project.id })).await.ok()["project"]["snapshots"].take();
        assert_eq!((&first["nodes"], &first["pageInfo"]["hasNextPage"]), (&json!([{ "name": "Draft" }]), &json!(true)));
        let next = ada.gql(query, json!({ "id": project.id, "after": first["pageInfo"]["endCursor"] })).await.ok()["project"]["snapshots"].take();
        assert_eq!((&next["nodes"], &next["pageInfo"]["hasNextPage"]), (&json!([{ "name": "100% done" }]), &json!(false)));

        for (filter, field) in [(json!({ "messageId": "nonsense" }), "filter.messageId"), (json!({ "search": "a\0" }), "filter.search"),
            (json!({ "search": "a".repeat(1_001) }), "filter.search")] {
            let query = "query($id: ID!, $filter: ProjectSnapshotFilter) { project(id: $id) { snapshots(filter: $filter) { totalCount } } }";
            let answer = ada.gql(query, json!({ "id": project.id, "filter": filter })).await;
            assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", field), "{filter}");
        }
    }
}
