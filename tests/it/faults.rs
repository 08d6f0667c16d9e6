//! Given a damaged database, when the service finds the damage, then it returns only an internal error, writes nothing,
//! and serves everything else.

use serde_json::{Value, json};
use tests::{
    client::Response,
    database::{Database, Kind},
    project::{Project, text},
    server::Server,
};

async fn damage_blob_of_size(database: &Database, size: usize) {
    let bytes = match database.kind() {
        Kind::Sqlite => "x'00ff00ff'",
        Kind::Postgres => "'\\x00ff00ff'",
    };
    let damaged = database.execute(&format!("UPDATE blobs SET data = {bytes} WHERE size = {size}")).await;
    assert_eq!(damaged, 1);
}

/// Checks for an internal error: the details are only in the log, and the client gets an id to find them.
fn assert_internal_error(answer: &Response) {
    assert_eq!(answer.error_code(), "INTERNAL", "{answer:?}");
    assert_eq!(text(&answer.error()["extensions"]["requestId"]).len(), 36);
    let shown = json!(answer.errors).to_string().to_lowercase();
    for word in ["select", "sql", "blob", "chat_messages", "panicked", "sha", "zstd", ".rs"] {
        assert!(!shown.contains(word), "{word} in {shown}");
    }
}

tests::on_both! {
    async fn damaged_contents_are_found_at_every_read(database: Database) {
        // Without a cache, every read reads the database.
        let server = Server::start_with(&database, &["--content-cache-bytes", "0"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Damaged").await;
        project.create_file("fine.py", "fine\n").await;
        let file = project.create_file("damaged.py", "0123456789abcdef\n").await;
        let mut subscription = project.listen(2, "revision changes { newContent }").await;
        subscription.event().await;
        damage_blob_of_size(&database, 17).await;

        // Reading them is an error, and the rest of the answer is complete …
        let query = "query($id: ID!) { project(id: $id) { name
            damaged: file(path: \"damaged.py\") { path content } fine: file(path: \"fine.py\") { content } } }";
        let answer = ada.gql(query, json!({ "id": project.id })).await;
        assert_internal_error(&answer);
        let expected = json!({ "name": "Damaged", "damaged": { "path": "damaged.py", "content": null }, "fine": { "content": "fine\n" } });
        assert_eq!((answer.status, &answer.data["project"]), (200, &expected));
        for select in ["changes { nodes { diff } }", "changes { nodes { lineChanges } }", "diff(from: 1) { diff }"] {
            let query = format!("query($id: ID!) {{ project(id: $id) {{ {select} }} }}");
            assert_internal_error(&ada.gql(&query, json!({ "id": project.id })).await);
        }

        // … and everything else works.
        project.update_file("fine.py", "finer\n").await;
        project.write("renameFile", json!({ "path": "damaged.py", "newPath": "moved.py" }), "revision").await;
        assert_eq!(subscription.event().await["projectEvents"], json!({ "revision": 4, "changes": [{ "newContent": "finer\n" }] }));
        let errors = subscription.next().await.expect("an event").expect_err("an error");
        assert_eq!(errors[0]["extensions"]["code"], "INTERNAL");
        project.update_file("fine.py", "finest\n").await;
        assert_eq!(subscription.event().await["projectEvents"]["revision"], 6);
        let versions = ada.gql("query($id: ID!) { node(id: $id) { ... on ProjectFile { versions { totalCount } } } }", json!({ "id": file }));
        assert_eq!(versions.await.ok()["node"]["versions"]["totalCount"], 2);
        drop(subscription);
        server.stop().await;
    }

    async fn damaged_contents_affect_only_operations_that_read_them(database: Database) {
        let server = Server::start_with(&database, &["--content-cache-bytes", "0"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Damaged").await;
        let original = "0123456789abcdef\n";
        project.create_file("a.py", original).await;
        project.create_file("b.py", "fine\n").await;
        damage_blob_of_size(&database, original.len()).await;

        // Given a file with unreadable contents, when it gets new contents, then they are written …
        let select = "revision file { content } change { additions deletions }";
        let new = project.write("updateFile", json!({ "path": "a.py", "content": "new\n" }), select).await;
        assert_eq!(new, json!({ "revision": 4, "file": { "content": "new\n" }, "change": { "additions": 0, "deletions": 0 } }));

        // … but nothing restores the unreadable contents, while a restore of other files succeeds …
        let before = project.state().await;
        assert_internal_error(&project.mutate("restoreRevision", json!({ "revision": 3 }), "revision").await);
        assert_internal_error(&project.mutate("undo", json!({ "revision": 4 }), "revision").await);
        assert_eq!(project.state().await, before);
        project.update_file("b.py", "finer one\n").await;
        project.write("restoreRevision", json!({ "revision": 3, "paths": ["b.py"] }), "revision").await;
        let contents = |contents: [&str; 2]| vec![("a.py".to_owned(), contents[0].to_owned()), ("b.py".to_owned(), contents[1].to_owned())];
        assert_eq!(project.contents().await, contents(["new\n", "fine\n"]));

        // … and writing the same bytes again is refused, because they could not be read back.
        assert_internal_error(&project.mutate("updateFile", json!({ "path": "a.py", "content": original }), "revision").await);

        // A restore or a deletion replaces damaged present contents.
        project.update_file("a.py", "newer\n").await;
        damage_blob_of_size(&database, 6).await;
        project.write("restoreRevision", json!({ "revision": 4 }), "revision").await;
        assert_eq!(project.contents().await, contents(["new\n", "fine\n"]));
        damage_blob_of_size(&database, 4).await;
        project.write("deleteFile", json!({ "path": "a.py" }), "revision").await;
        assert_eq!(project.contents().await, contents(["", "fine\n"])[1..]);
        server.stop().await;
    }

    async fn errors_of_a_failing_database_reveal_no_details(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Failing").await;
        let session = project.start_session().await;
        let before = project.state().await;
        server.database().execute("ALTER TABLE chat_messages RENAME TO elsewhere").await;
        let input = json!({ "sessionId": session, "role": "USER", "content": "Lost" });
        assert_internal_error(&ada.mutate("addMessage", input.clone(), "revision").await);
        let query = "query($id: ID!) { node(id: $id) { ... on ChatSession { isActive messages { totalCount nodes { id } } } } }";
        assert_internal_error(&ada.gql(query, json!({ "id": session })).await);

        server.database().execute("ALTER TABLE elsewhere RENAME TO chat_messages").await;
        assert_eq!(project.state().await, before);
        let added = ada.mutate("addMessage", input, "revision").await.ok();
        assert_eq!(added["addMessage"]["revision"], 3);
        let node = ada.gql(query, json!({ "id": session })).await.ok()["node"].take();
        assert_eq!((&node["messages"]["totalCount"], &node["isActive"]), (&json!(1), &json!(true)));
        assert_ne!(node["messages"]["nodes"], Value::Null);
    }
}
