//! Given a file whose language is guessed from its path or set by a client, when the file is moved, written or read as
//! of a revision, then a guessed language follows the path, and a set one stays.

use serde_json::{Value, json};
use tests::{
    project::{Project, number},
    server::Server,
};

async fn sync(project: &Project, files: Value, more: Value) -> Value {
    let mut input = json!({ "files": files });
    for (name, value) in more.as_object().unwrap() {
        input[name] = value.clone();
    }
    project.write("syncFiles", input, "revision unchanged updated renamed").await
}

/// The language of the file at a path, now or as of a revision.
async fn language(project: &Project, path: &str, at: Option<i64>) -> Value {
    let query =
        "query($id: ID!, $path: String!, $at: Int) { project(id: $id) { file(path: $path, at: $at) { language } } }";
    let mut data = project.client.gql(query, json!({ "id": project.id, "path": path, "at": at })).await.ok();
    data["project"]["file"]["language"].take()
}

async fn rename(project: &Project, from: &str, to: &str) -> i64 {
    number(&project.write("renameFile", json!({ "path": from, "newPath": to }), "revision").await["revision"])
}

tests::on_both! {
    async fn a_guessed_language_is_the_one_of_the_path_at_each_moment(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Guessed").await;
        let id = project.create_file("q.js", "x\n").await;
        let made = project.revision().await;
        rename(&project, "q.js", "q.py").await;
        assert_eq!(language(&project, "q.js", Some(made)).await, "javascript");
        assert_eq!(language(&project, "q.py", None).await, "python");

        // Every read of the past: by the past project's lists, by the id of the past, and by the folder.
        let past = format!("{}@{made}", project.id);
        let query = "query($id: ID!, $file: ID!) { project(id: $id) { file(path: \"q.js\") { language } files(first: 9) { nodes { language } }
            children(first: 9) { nodes { ... on ProjectFile { language } } } } node(id: $file) { ... on ProjectFile { language } } }";
        let data = project.client.gql(query, json!({ "id": past, "file": format!("{id}@{made}") })).await.ok();
        let js = json!({ "language": "javascript" });
        let of_project = json!({ "file": js, "files": { "nodes": [js] }, "children": { "nodes": [js] } });
        assert_eq!(data, json!({ "project": of_project, "node": js }));

        // Undo, redo and restores.
        project.write("undo", json!({}), "revision").await;
        assert_eq!(language(&project, "q.js", None).await, "javascript");
        project.write("redo", json!({}), "revision").await;
        assert_eq!(language(&project, "q.py", None).await, "python");
        project.write("restoreRevision", json!({ "revision": made }), "revision").await;
        assert_eq!(language(&project, "q.js", None).await, "javascript");

        // To a path of an unknown language and back, with a sync, and with its folder.
        rename(&project, "q.js", "LICENSE").await;
        assert_eq!(language(&project, "LICENSE", None).await, Value::Null);
        let synced = sync(&project, json!([{ "path": "lib/q.rs", "content": "x\n" }]), json!({ "deletes": ["LICENSE"] })).await;
        assert_eq!(synced["renamed"], 1);
        assert_eq!(language(&project, "lib/q.rs", None).await, "rust");
        let before = rename(&project, "lib", "lib.py").await - 1;
        assert_eq!(language(&project, "lib.py/q.rs", None).await, "rust");
        assert_eq!(language(&project, "lib/q.rs", Some(before)).await, "rust");

        // A folder has no language, whatever its name.
        project.write("createFile", json!({ "path": "a.py", "type": "FOLDER" }), "revision").await;
        let before = rename(&project, "a.py", "b.js").await - 1;
        assert_eq!(language(&project, "a.py", Some(before)).await, Value::Null);
        assert_eq!(language(&project, "b.js", None).await, Value::Null);
    }

    async fn a_set_language_stays_with_the_file(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Set").await;
        let input = json!({ "path": "src/a.js", "content": "1\n2\n3\n4\n", "language": "flow" });
        project.write("createFile", input, "revision").await;
        let made = project.revision().await;
        let flow = json!("flow");
        rename(&project, "src/a.js", "src/b.py").await;
        assert_eq!(language(&project, "src/b.py", None).await, flow);
        rename(&project, "src", "lib").await;
        assert_eq!(language(&project, "lib/b.py", None).await, flow);
        assert_eq!(language(&project, "src/a.js", Some(made)).await, flow);
        // A rename that a sync finds, with the same and with similar contents.
        sync(&project, json!([{ "path": "c.md", "content": "1\n2\n3\n4\n" }]), json!({ "deletes": ["lib"] })).await;
        assert_eq!(language(&project, "c.md", None).await, flow);
        sync(&project, json!([{ "path": "d.css", "content": "1\n2\n3\n5\n" }]), json!({ "deletes": ["c.md"] })).await;
        assert_eq!(language(&project, "d.css", None).await, flow);
        project.write("undo", json!({}), "revision").await;
        assert_eq!(language(&project, "c.md", None).await, flow);
        project.write("redo", json!({}), "revision").await;
        assert_eq!(language(&project, "d.css", None).await, flow);

        // A copy that a restore of one path makes, and a deletion that is undone.
        project.write("restoreRevision", json!({ "revision": made, "paths": ["src"] }), "revision").await;
        assert_eq!(language(&project, "src/a.js", None).await, flow);
        project.write("deleteFile", json!({ "path": "src" }), "revision").await;
        project.write("undo", json!({}), "revision").await;
        assert_eq!(language(&project, "src/a.js", None).await, flow);

        // A new file at the path of a deleted one is another file.
        project.write("deleteFile", json!({ "path": "src/a.js" }), "revision").await;
        project.create_file("src/a.js", "new\n").await;
        assert_eq!(language(&project, "src/a.js", None).await, "javascript");
    }

    async fn a_sync_writes_a_language_alone(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Alone").await;
        project.create_file("a.js", "x\n").await;
        let before = project.revision().await;
        let file = |language: &str| json!([{ "path": "a.js", "content": "x\n", "language": language }]);
        let synced = sync(&project, file("typescript"), json!({})).await;
        assert_eq!(synced, json!({ "revision": before + 1, "unchanged": 0, "updated": 1, "renamed": 0 }));
        assert_eq!(language(&project, "a.js", None).await, "typescript");
        let event = project.ask(&format!("events(afterRevision: {before}) {{ kind }}")).await;
        assert_eq!(event, json!({ "events": [{ "kind": "FILES_CHANGED" }] }));
        // The same again changes nothing, nor does a file without a language.
        for files in [file("typescript"), json!([{ "path": "a.js", "content": "x\n" }])] {
            assert_eq!(sync(&project, files, json!({})).await["unchanged"], 1);
        }
        assert_eq!(language(&project, "a.js", None).await, "typescript");
        // With a mode, in a mirror, and back to the language of the path, which is followed again.
        sync(&project, json!([{ "path": "a.js", "mode": "EXECUTABLE", "language": "flow" }]), json!({ "mode": "MIRROR" })).await;
        assert_eq!(language(&project, "a.js", None).await, "flow");
        sync(&project, file("javascript"), json!({})).await;
        rename(&project, "a.js", "a.py").await;
        assert_eq!(language(&project, "a.py", None).await, "python");

        // A language has no history, so there is nothing to undo.
        let set = number(&sync(&project, json!([{ "path": "a.py", "content": "x\n", "language": "mojo" }]), json!({})).await["revision"]);
        let refused = project.mutate("undo", json!({ "revision": set }), "revision").await;
        assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", "revision"));
        assert_eq!(refused.error()["message"], format!("Revision {set} changed only languages of files, which have no history."));
        project.write("undo", json!({}), "revision").await;
        assert_eq!(language(&project, "a.js", None).await, "mojo");

        // A stale language names its file.
        let stale = json!({ "files": file("flow"), "expectedRevision": set });
        let refused = project.mutate("syncFiles", stale, "revision").await;
        assert_eq!((refused.error_code(), refused.field()), ("CONFLICT", "expectedRevision"));
        assert_eq!(refused.error()["extensions"]["files"][0]["path"], "a.js");
    }

    async fn a_folder_has_no_language_no_mode_and_no_contents(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Folders").await;
        project.write("createFile", json!({ "path": "made", "type": "FOLDER" }), "revision").await;
        project.create_file("implicit/a", "").await;
        let before = project.state().await;
        let folder = json!({ "path": "new", "type": "FOLDER", "language": "python" });
        for (name, input, field, message) in [
            ("updateFile", json!({ "path": "made", "mode": "EXECUTABLE" }), "mode", "A folder has no mode."),
            ("updateFile", json!({ "path": "implicit", "mode": "FILE" }), "mode", "A folder has no mode."),
            ("updateFile", json!({ "path": "made", "content": "" }), "path", "A folder has no contents."),
            ("updateFile", json!({ "path": "made", "content": "", "mode": "FILE" }), "path", "A folder has no contents."),
            ("createFile", folder.clone(), "language", "A folder has no language."),
            ("syncFiles", json!({ "files": [folder] }), "files[0].language", "A folder has no language."),
        ] {
            let refused = project.mutate(name, input.clone(), "revision").await;
            assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", field), "{name} {input}");
            assert_eq!(refused.error()["message"], message, "{name} {input}");
        }
        assert_eq!(project.state().await, before);
    }
}
