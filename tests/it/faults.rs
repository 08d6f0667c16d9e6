//! Given a database that somebody or something has damaged, when the service comes upon it, then it says that something went
//! wrong and nothing more, writes nothing, and serves everything else.

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

/// An answer that tells the log alone what happened, and the client where to look for it.
fn tells_nothing(answer: &Response) {
    assert_eq!(answer.error_code(), "INTERNAL", "{answer:?}");
    assert_eq!(text(&answer.error()["extensions"]["requestId"]).len(), 36);
    let shown = json!(answer.errors).to_string().to_lowercase();
    for word in ["select", "sql", "blob", "chat_messages", "panicked", "sha", "zstd", ".rs"] {
        assert!(!shown.contains(word), "{word} in {shown}");
    }
}

tests::on_both! {
    async fn damaged_contents_are_found_out_at_every_read(database: Database) {
        // Nothing is in memory, so that every read is one from the database.
        let server = Server::start_with(&database, &["--content-cache-bytes", "0"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Damaged").await;
        project.create_file("fine.py", "fine\n").await;
        let file = project.create_file("damaged.py", "0123456789abcdef\n").await;
        let mut heard = project.listen(2, "revision changes { newContent }").await;
        heard.event().await;
        damage_blob_of_size(&database, 17).await;

        // Whoever reads them hears so, and gets all the rest of the answer …
        let query = "query($id: ID!) { project(id: $id) { name
            damaged: file(path: \"damaged.py\") { path content } fine: file(path: \"fine.py\") { content } } }";
        let answer = ada.gql(query, json!({ "id": project.id })).await;
        tells_nothing(&answer);
        let expected = json!({ "name": "Damaged", "damaged": { "path": "damaged.py", "content": null }, "fine": { "content": "fine\n" } });
        assert_eq!((answer.status, &answer.data["project"]), (200, &expected));
        for select in ["changes { nodes { diff } }", "changes { nodes { lineChanges } }", "diff(from: 1) { diff }"] {
            let query = format!("query($id: ID!) {{ project(id: $id) {{ {select} }} }}");
            tells_nothing(&ada.gql(&query, json!({ "id": project.id })).await);
        }

        // … and all the rest goes on.
        project.update_file("fine.py", "finer\n").await;
        project.write("renameFile", json!({ "path": "damaged.py", "newPath": "moved.py" }), "revision").await;
        assert_eq!(heard.event().await["projectEvents"], json!({ "revision": 4, "changes": [{ "newContent": "finer\n" }] }));
        let errors = heard.next().await.expect("an event").expect_err("an error");
        assert_eq!(errors[0]["extensions"]["code"], "INTERNAL");
        project.update_file("fine.py", "finest\n").await;
        assert_eq!(heard.event().await["projectEvents"]["revision"], 6);
        let versions = ada.gql("query($id: ID!) { node(id: $id) { ... on ProjectFile { versions { totalCount } } } }", json!({ "id": file }));
        assert_eq!(versions.await.ok()["node"]["versions"]["totalCount"], 2);
        server.stop().await;
    }

    async fn damaged_contents_stand_in_the_way_of_nothing_that_does_without_them(database: Database) {
        let server = Server::start_with(&database, &["--content-cache-bytes", "0"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Damaged").await;
        let original = "0123456789abcdef\n";
        project.create_file("a.py", original).await;
        project.create_file("b.py", "fine\n").await;
        damage_blob_of_size(&database, original.len()).await;

        // Given a file whose contents cannot be read, when it gets new ones, then they are written …
        let select = "revision file { content } change { additions deletions }";
        let new = project.write("updateFile", json!({ "path": "a.py", "content": "new\n" }), select).await;
        assert_eq!(new, json!({ "revision": 4, "file": { "content": "new\n" }, "change": { "additions": 0, "deletions": 0 } }));

        // … but nothing goes back to what cannot be read, and what goes back beside it does …
        let before = project.state().await;
        tells_nothing(&project.mutate("restoreRevision", json!({ "revision": 3 }), "revision").await);
        tells_nothing(&project.mutate("undo", json!({ "revision": 4 }), "revision").await);
        assert_eq!(project.state().await, before);
        project.update_file("b.py", "finer one\n").await;
        project.write("restoreRevision", json!({ "revision": 3, "paths": ["b.py"] }), "revision").await;
        let contents = |contents: [&str; 2]| vec![("a.py".to_owned(), contents[0].to_owned()), ("b.py".to_owned(), contents[1].to_owned())];
        assert_eq!(project.contents().await, contents(["new\n", "fine\n"]));

        // … nor are the same bytes acknowledged as long as they could not be read back.
        tells_nothing(&project.mutate("updateFile", json!({ "path": "a.py", "content": original }), "revision").await);

        // A damaged present is left by going back, and by deleting.
        project.update_file("a.py", "newer\n").await;
        damage_blob_of_size(&database, 6).await;
        project.write("restoreRevision", json!({ "revision": 4 }), "revision").await;
        assert_eq!(project.contents().await, contents(["new\n", "fine\n"]));
        damage_blob_of_size(&database, 4).await;
        project.write("deleteFile", json!({ "path": "a.py" }), "revision").await;
        assert_eq!(project.contents().await, contents(["", "fine\n"])[1..]);
        server.stop().await;
    }

    async fn a_database_that_fails_fails_in_silence(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Failing").await;
        let session = project.start_session().await;
        let before = project.state().await;
        server.database().execute("ALTER TABLE chat_messages RENAME TO elsewhere").await;
        let input = json!({ "sessionId": session, "role": "USER", "content": "Lost" });
        tells_nothing(&ada.mutate("addMessage", input.clone(), "revision").await);
        let query = "query($id: ID!) { node(id: $id) { ... on ChatSession { isActive messages { totalCount nodes { id } } } } }";
        tells_nothing(&ada.gql(query, json!({ "id": session })).await);

        server.database().execute("ALTER TABLE elsewhere RENAME TO chat_messages").await;
        assert_eq!(project.state().await, before);
        let added = ada.mutate("addMessage", input, "revision").await.ok();
        assert_eq!(added["addMessage"]["revision"], 3);
        let node = ada.gql(query, json!({ "id": session })).await.ok()["node"].take();
        assert_eq!((&node["messages"]["totalCount"], &node["isActive"]), (&json!(1), &json!(true)));
        assert_ne!(node["messages"]["nodes"], Value::Null);
    }
}
