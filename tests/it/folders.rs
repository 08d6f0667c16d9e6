//! Given implicit folders (only files below them) and explicitly created ones, when they are listed, moved, deleted and
//! restored, then they behave as folders.

use serde_json::{Value, json};
use tests::{
    project::{Project, each, number, text, without_moment},
    server::Server,
};

const ENTRY: &str = "id path name parentPath type version isDeleted hash content";

async fn children(project: &Project, arguments: &str) -> Value {
    project.ask(&format!("children{arguments} {{ totalCount nodes {{ {ENTRY} }} }}")).await["children"].take()
}

async fn refused(project: &Project, name: &str, input: Value, code: &str, field: &str) {
    let before = project.state().await;
    let answer = project.mutate(name, input.clone(), "revision").await;
    assert_eq!((answer.error_code(), answer.field()), (code, field), "{name} {input}: {answer:?}");
    assert_eq!(project.state().await, before, "{name} {input} was refused and has written");
}

async fn filled(server: &Server, name: &str) -> Project {
    let project = Project::create(&server.user("ada@example.com"), name).await;
    for path in
        ["readme", "src/main.py", "src/lib/a.py", "src/lib/b.py", "src-2", "src.py", "\u{e9}t\u{e9}/\u{1f600}/c"]
    {
        project.create_file(path, &format!("{path}\n")).await;
    }
    project
}

tests::on_both! {
    async fn an_implicit_folder_exists_as_long_as_something_is_below_it(server: Server) {
        let project = filled(&server, "Listed").await;
        let top = children(&project, "").await;
        assert_eq!(each(&top["nodes"], "path"), ["readme", "src", "src-2", "src.py", "\u{e9}t\u{e9}"]);
        assert_eq!(each(&top["nodes"], "type"), ["FILE", "FOLDER", "FILE", "FILE", "FOLDER"]);
        assert_eq!(top["totalCount"], 5);
        let src = children(&project, "(of: \"/src/\")").await;
        assert_eq!(each(&src["nodes"], "path"), ["src/lib", "src/main.py"]);
        let deep = children(&project, "(of: \"\u{e9}t\u{e9}\")").await;
        assert_eq!(each(&deep["nodes"], "path"), ["\u{e9}t\u{e9}/\u{1f600}"]);
        for nowhere in ["src/main.py", "src/li", "sr", "nowhere"] {
            let none = children(&project, &format!("(of: \"{nowhere}\")")).await;
            assert_eq!(none, json!({ "totalCount": 0, "nodes": [] }), "{nowhere}");
        }

        // It is found by its path and by its id, and has only these fields.
        let lib = project.ask(&format!("file(path: \"src/lib\") {{ {ENTRY} language sizeBytes contentBase64 createdAt updatedAt
            blame {{ startLine }} versions {{ totalCount nodes {{ id }} }} }}")).await["file"].take();
        let shown = json!([lib["path"], lib["name"], lib["parentPath"], lib["type"], lib["version"], lib["hash"], lib["content"], lib["isDeleted"]]);
        assert_eq!(shown, json!(["src/lib", "lib", "src", "FOLDER", 0, null, null, false]));
        assert_eq!(lib["versions"], json!({ "totalCount": 0, "nodes": [] }));
        assert_eq!(src["nodes"][0]["id"], lib["id"]);
        let times = project.ask("files(under: \"src/lib\") { nodes { createdAt } }").await;
        let times = each(&times["files"]["nodes"], "createdAt");
        assert_eq!((&lib["createdAt"], &lib["updatedAt"]), (&times[0], &times[1]));
        let node = "query($id: ID!) { node(id: $id) { id ... on ProjectFile { path } } nodes(ids: [$id, $id]) { id } }";
        let found = project.client.gql(node, json!({ "id": lib["id"] })).await.ok();
        assert_eq!(found["node"], json!({ "id": lib["id"], "path": "src/lib" }));
        assert_eq!(each(&found["nodes"], "id"), [lib["id"].clone(), lib["id"].clone()]);
        // Other users do not find it.
        let eve = server.user("eve@example.com");
        assert_eq!(eve.gql(node, json!({ "id": lib["id"] })).await.ok()["node"], Value::Null);
        assert_eq!(project.of(&eve).ask("children { totalCount }").await, Value::Null);

        // Pages.
        let first = project.ask("children(first: 2) { pageInfo { endCursor hasNextPage } nodes { path } }").await["children"].take();
        assert_eq!((each(&first["nodes"], "path"), &first["pageInfo"]["hasNextPage"]), (vec![json!("readme"), json!("src")], &json!(true)));
        let after = first["pageInfo"]["endCursor"].clone();
        let rest = children(&project, &format!("(first: 10, after: {after})")).await;
        assert_eq!(each(&rest["nodes"], "path"), ["src-2", "src.py", "\u{e9}t\u{e9}"]);
        let last = children(&project, &format!("(last: 1, before: {after})")).await;
        assert_eq!(each(&last["nodes"], "path"), ["readme"]);

        // An implicit folder disappears with its last file; an explicit one stays, with its own id.
        let then = project.revision().await;
        project.write("createFile", json!({ "path": "src/lib", "type": "FOLDER" }), "revision").await;
        assert_eq!(project.client.gql(node, json!({ "id": lib["id"] })).await.ok()["node"], Value::Null);
        for path in ["src/main.py", "src/lib/a.py", "src/lib/b.py"] {
            project.write("deleteFile", json!({ "path": path }), "revision").await;
        }
        assert_eq!(each(&children(&project, "(of: \"src\")").await["nodes"], "path"), ["src/lib"]);
        let gone = project.write("deleteFile", json!({ "path": "src/lib" }), "file { version } change { path }").await;
        assert_eq!(gone, json!({ "file": { "version": 2 }, "change": { "path": "src/lib" } }));
        assert_eq!(each(&children(&project, "").await["nodes"], "path"), ["readme", "src-2", "src.py", "\u{e9}t\u{e9}"]);
        // Each revision has its own tree.
        assert_eq!(without_moment(&children(&project, &format!("(at: {then})")).await, then), top);
        let found = project.ask(&format!("file(path: \"src/lib\", at: {then}) {{ {ENTRY} }} now: file(path: \"src/lib\") {{ id }}")).await;
        assert_eq!((&without_moment(&found["file"], then), &found["now"]), (&src["nodes"][0], &Value::Null));
    }

    async fn a_folder_moves_and_is_deleted_with_its_contents(server: Server) {
        let project = filled(&server, "Moved").await;
        let mut listener = project.listen(project.revision().await, "revision changes { type path oldPath }").await;
        let before = project.contents().await;
        let select = "file { path type version isDeleted } change { path } changes { type path oldPath } revision";

        // Moved: one revision, and every subscriber receives all of it.
        let moved = project.write("renameFile", json!({ "path": "src", "newPath": "lib/python" }), select).await;
        assert_eq!(moved["file"], json!({ "path": "lib/python", "type": "FOLDER", "version": 0, "isDeleted": false }));
        assert_eq!(moved["change"], Value::Null);
        let expected = json!([
            { "type": "RENAME", "path": "lib/python/lib/a.py", "oldPath": "src/lib/a.py" },
            { "type": "RENAME", "path": "lib/python/lib/b.py", "oldPath": "src/lib/b.py" },
            { "type": "RENAME", "path": "lib/python/main.py", "oldPath": "src/main.py" },
        ]);
        assert_eq!(moved["changes"], expected);
        let event = listener.event().await["projectEvents"].take();
        assert_eq!(event, json!({ "revision": moved["revision"], "changes": expected }));
        assert_eq!(project.ask("file(path: \"src\") { id }").await["file"], Value::Null);

        // Changes of letter case only, and moves to its parent and back.
        for (from, to) in [("lib", "Lib"), ("Lib/python", "Lib/Python"), ("Lib/Python", "Lib"), ("Lib", "src")] {
            project.write("renameFile", json!({ "path": from, "newPath": to }), "revision").await;
            listener.event().await;
        }
        assert_eq!(project.contents().await, before);

        // A folder moves only to a free path.
        project.write("createFile", json!({ "path": "made", "type": "FOLDER" }), "revision").await;
        listener.event().await;
        for (from, to, code, field) in [
            ("src", "src/lib/deeper", "BAD_USER_INPUT", "newPath"),
            ("src", "readme", "CONFLICT", "newPath"),
            ("src", "readme/src", "CONFLICT", "newPath"),
            ("src", "made", "CONFLICT", "newPath"),
            ("made", "src", "CONFLICT", "newPath"),
            ("readme", "src", "CONFLICT", "newPath"),
            ("readme", "src/lib", "CONFLICT", "newPath"),
            ("src/lib", "src", "CONFLICT", "newPath"),
            ("nowhere", "somewhere", "NOT_FOUND", "path"),
        ] {
            refused(&project, "renameFile", json!({ "path": from, "newPath": to }), code, field).await;
        }
        refused(&project, "createFile", json!({ "path": "src", "content": "" }), "CONFLICT", "path").await;
        refused(&project, "createFile", json!({ "path": "readme/a", "content": "" }), "CONFLICT", "path").await;
        refused(&project, "updateFile", json!({ "path": "src", "content": "" }), "BAD_USER_INPUT", "path").await;
        refused(&project, "syncFiles", json!({ "files": [{ "path": "src", "content": "" }] }), "CONFLICT", "files").await;
        refused(&project, "deleteFile", json!({ "path": "sr" }), "NOT_FOUND", "path").await;
        // An implicit folder has no version for a precondition.
        for (name, input) in [("deleteFile", json!({ "path": "src" })), ("renameFile", json!({ "path": "src", "newPath": "b" }))] {
            let mut input = input;
            input["expectedVersion"] = json!(1);
            let answer = project.mutate(name, input, "revision").await;
            assert_eq!((answer.error_code(), answer.field()), ("CONFLICT", "expectedVersion"));
            assert_eq!(answer.error()["extensions"]["currentVersion"], 0);
        }
        let same = project.write("renameFile", json!({ "path": "src", "newPath": "src/" }), "revision changes { path }").await;
        assert_eq!(same, json!({ "revision": project.revision().await, "changes": [] }));

        // Deleted, and an undo restores everything.
        let gone = project.write("deleteFile", json!({ "path": "src" }), select).await;
        assert_eq!(gone["file"], json!({ "path": "src", "type": "FOLDER", "version": 0, "isDeleted": true }));
        assert_eq!(each(&gone["changes"], "path"), ["src/lib/a.py", "src/lib/b.py", "src/main.py"]);
        assert_eq!(listener.event().await["projectEvents"]["changes"], gone["changes"]);
        assert_eq!(project.ask("file(path: \"src\") { id }").await["file"], Value::Null);
        project.write("undo", json!({}), "revision").await;
        assert_eq!(number(&listener.event().await["projectEvents"]["revision"]), number(&gone["revision"]) + 1);
        assert!(before.iter().all(|(path, content)| path == "made" || !content.is_empty()));
        let after = project.contents().await;
        assert_eq!(after.iter().filter(|(path, _)| path != "made").cloned().collect::<Vec<_>>(), before);

        // A sync deletes it too, and a file takes its path in the same revision.
        let sync = json!({ "files": [{ "path": "src", "content": "a file\n" }], "deletes": ["src/main.py", "src/lib", "nowhere"] });
        let synced = project.write("syncFiles", sync, "created deleted").await;
        assert_eq!(synced, json!({ "created": 1, "deleted": 3 }));
        assert_eq!(project.ask("file(path: \"src\") { type }").await["file"]["type"], "FILE");

        // The error of a mismatch names its argument.
        let made = project.ask("file(path: \"made\") { id }").await["file"]["id"].take();
        project.write("deleteFile", json!({ "path": "made" }), "revision").await;
        let deleted = project.revision().await;
        project.create_file("made", "taken\n").await;
        refused(&project, "undo", json!({ "revision": deleted }), "CONFLICT", "revision").await;
        refused(&project, "restoreRevision", json!({ "revision": number(&gone["revision"]) - 1, "paths": ["src/lib"] }), "CONFLICT", "paths").await;
        let revert = json!({ "fileId": made, "version": 1 });
        let answer = project.client.mutate("revertFile", revert, "revision").await;
        assert_eq!((answer.error_code(), answer.field()), ("CONFLICT", "fileId"));
        assert_eq!(text(&answer.error()["extensions"]["paths"][0]), "made");

        // A viewer cannot move or delete a folder, and a stranger finds none.
        let eve = project.of(&server.user("eve@example.com"));
        for (name, input) in [("deleteFile", json!({ "path": "src" })), ("renameFile", json!({ "path": "src", "newPath": "b" }))] {
            assert_eq!(eve.mutate(name, input, "revision").await.error_code(), "NOT_FOUND");
        }
    }
}
