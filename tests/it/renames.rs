//! Given files and folders that move, when the move is a rename or only visible in a mirrored folder of a client, then
//! each keeps its identity; and a path is a file or a folder, never both.

use serde_json::{Value, json};
use tests::{
    project::{Project, each, text},
    server::Server,
};

const CHANGES: &str = "created updated deleted renamed unchanged revision
    changes { type path oldPath file { id } additions deletions diff }";

fn poem(changed: &[usize]) -> String {
    (0..20)
        .map(|n| if changed.contains(&n) { format!("another line {n}\n") } else { format!("line number {n}\n") })
        .collect()
}

async fn mirror(project: &Project, files: &[(&str, &str)]) -> Value {
    let files: Vec<Value> = files.iter().map(|(path, content)| json!({ "path": path, "content": content })).collect();
    project.write("syncFiles", json!({ "files": files, "mode": "MIRROR" }), CHANGES).await
}

/// The paths of all files and folders; folders end with a slash.
async fn paths(project: &Project) -> Vec<String> {
    let files = project.ask("files(first: 500) { nodes { path type } }").await["files"]["nodes"].take();
    let shown = |file: &Value| format!("{}{}", text(&file["path"]), if file["type"] == "FOLDER" { "/" } else { "" });
    files.as_array().unwrap().iter().map(shown).collect()
}

async fn refused(project: &Project, name: &str, input: Value, code: &str) {
    let before = project.state().await;
    let answer = project.mutate(name, input.clone(), "revision").await;
    assert_eq!(answer.error_code(), code, "{name} {input}");
    assert_eq!(project.state().await, before, "{name} {input} was refused and has written");
}

async fn folder(project: &Project, path: &str) {
    project.write("createFile", json!({ "path": path, "type": "FOLDER" }), "revision").await;
}

tests::on_both! {
    async fn a_file_that_moved_and_was_edited_keeps_its_id(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Moved").await;
        let poem_id = project.create_file("poem.txt", &poem(&[])).await;
        let other = project.create_file("other.txt", "something else\nentirely\n").await;
        let synced = mirror(&project, &[("texts/poem.md", &poem(&[3, 7])), ("other.txt", "something else\nentirely\n")]).await;
        assert_eq!([&synced["renamed"], &synced["created"], &synced["deleted"], &synced["updated"], &synced["unchanged"]], [1, 0, 0, 0, 1]);
        let change = &synced["changes"][0];
        assert_eq!(each(&synced["changes"], "type"), ["RENAME"]);
        assert_eq!((&change["oldPath"], &change["path"]), (&json!("poem.txt"), &json!("texts/poem.md")));
        assert_eq!((&change["additions"], &change["deletions"]), (&json!(2), &json!(2)));
        assert_eq!(change["file"]["id"], poem_id);
        let diff = text(&change["diff"]);
        assert!(diff.contains("\nrename from poem.txt\nrename to texts/poem.md\n--- a/poem.txt\n+++ b/texts/poem.md\n"), "{diff}");
        // Its language is detected again, and its history continues.
        let file = project.ask("file(path: \"texts/poem.md\") { id language version versions { nodes { path } } }").await["file"].take();
        assert_eq!((&file["id"], &file["language"], &file["version"]), (&json!(poem_id), &json!("markdown"), &json!(2)));
        assert_eq!(each(&file["versions"]["nodes"], "path"), ["texts/poem.md", "poem.txt"]);
        let revision = project.revision().await;
        let diffs = project.ask(&format!("diff(from: {}) {{ type path oldPath }}", revision - 1)).await;
        assert_eq!(diffs["diff"], json!([{ "type": "RENAME", "path": "texts/poem.md", "oldPath": "poem.txt" }]));
        assert_ne!(other, poem_id);
    }

    async fn dissimilar_files_are_not_renames(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Unlike").await;
        project.create_file("a", &poem(&[])).await;
        project.create_file("empty", "").await;
        project.write("createFile", json!({ "path": "bytes", "contentBase64": "/wD/AP8A/wA=" }), "revision").await;
        let most: Vec<usize> = (0..16).collect();
        let synced = mirror(&project, &[("b", &poem(&most)), ("void", ""), ("text", "text\n")]).await;
        assert_eq!([&synced["renamed"], &synced["created"], &synced["deleted"]], [0, 3, 3]);
        // `MERGE` keeps files that the input omits, so nothing has moved either.
        let files = json!({ "files": [{ "path": "c", "content": poem(&most) }] });
        let synced = project.write("syncFiles", files, CHANGES).await;
        assert_eq!([&synced["renamed"], &synced["created"], &synced["deleted"]], [0, 1, 0]);
    }

    async fn of_equal_files_the_one_with_the_most_similar_name_moves(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Menu").await;
        let pizza = project.create_file("menu/pizza.json", "{}\n").await;
        let salami = project.create_file("menu/salami.json", "{}\n").await;
        let synced = mirror(&project, &[("menu/salami2.json", "{}\n"), ("menu/pizza.json", "{}\n")]).await;
        assert_eq!(synced["renamed"], 1);
        let synced = mirror(&project, &[("salami3.json", "{}\n"), ("old/pizza.json", "{}\n")]).await;
        assert_eq!(synced["renamed"], 2);
        let at = "pizza: file(path: \"old/pizza.json\") { id } salami: file(path: \"salami3.json\") { id }";
        assert_eq!(project.ask(at).await, json!({ "pizza": { "id": pizza }, "salami": { "id": salami } }));
    }

    async fn each_of_many_files_moves_to_its_most_similar_one(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Many").await;
        let one = project.create_file("one", &poem(&[])).await;
        let two = project.create_file("two", &poem(&[0, 1, 2, 3, 4])).await;
        let three = project.create_file("three", &poem(&[10, 11, 12, 13, 14, 15])).await;
        let synced = mirror(&project, &[
            ("new/3", &poem(&[10, 11, 12, 13, 14, 15, 16])),
            ("new/2", &poem(&[0, 1, 2, 3, 4, 5])),
            ("new/1", &poem(&[19])),
            ("new/copy", &poem(&[])),
        ]).await;
        assert_eq!([&synced["renamed"], &synced["created"], &synced["deleted"]], [3, 1, 0]);
        let files = project.ask("files { nodes { path id } }").await["files"]["nodes"].take();
        let id = |path: &str| files.as_array().unwrap().iter().find(|file| file["path"] == path).unwrap()["id"].clone();
        // Equal contents come first: the copy is the moved file, and the edited one is new.
        assert_eq!((id("new/copy"), id("new/2"), id("new/3")), (json!(one), json!(two), json!(three)));
        let moved = synced["revision"].clone();
        // All of it is undone together.
        project.write("undo", json!({ "revision": moved }), "revision").await;
        assert_eq!(paths(&project).await, ["one", "three", "two"]);
        let back = project.ask("files { nodes { id } }").await;
        assert_eq!(each(&back["files"]["nodes"], "id"), [one, three, two]);
    }

    async fn a_folder_moves_with_its_contents(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Folders").await;
        for path in ["src", "src/deep", "src/empty", "srcs"] {
            folder(&project, path).await;
        }
        for path in ["src/a", "src/deep/b", "src-a", "srcs/c", "src.txt"] {
            project.create_file(path, path).await;
        }
        let ids = each(&project.ask("files(under: \"src\") { nodes { id } }").await["files"]["nodes"], "id");
        assert_eq!(ids.len(), 5);
        let moved = project.write("renameFile", json!({ "path": "src", "newPath": "lib/code" }), "revision file { path type } ").await;
        assert_eq!(moved["file"], json!({ "path": "lib/code", "type": "FOLDER" }));
        let expected = ["lib/code/", "lib/code/a", "lib/code/deep/", "lib/code/deep/b", "lib/code/empty/", "src-a", "src.txt", "srcs/", "srcs/c"];
        assert_eq!(paths(&project).await, expected);
        assert_eq!(each(&project.ask("files(under: \"lib/code\") { nodes { id } }").await["files"]["nodes"], "id"), ids);
        let content = project.ask("file(path: \"lib/code/deep/b\") { content parentPath name }").await;
        assert_eq!(content["file"], json!({ "content": "src/deep/b", "parentPath": "lib/code/deep", "name": "b" }));
        let changes = project.ask("changes(first: 5) { nodes { type revision oldPath } }").await["changes"]["nodes"].take();
        assert!(each(&changes, "type").iter().all(|kind| kind == "RENAME"));
        assert!(each(&changes, "revision").iter().all(|revision| *revision == moved["revision"]));

        // It cannot move into itself, nor onto another file or folder.
        refused(&project, "renameFile", json!({ "path": "lib/code", "newPath": "lib/code/deep/x" }), "BAD_USER_INPUT").await;
        refused(&project, "renameFile", json!({ "path": "lib/code", "newPath": "srcs" }), "CONFLICT").await;
        refused(&project, "renameFile", json!({ "path": "lib/code", "newPath": "src-a/x" }), "CONFLICT").await;
        // The old path is free again, and the folder can move back.
        project.create_file("src/a", "new").await;
        refused(&project, "renameFile", json!({ "path": "lib/code", "newPath": "src" }), "CONFLICT").await;
        project.write("deleteFile", json!({ "path": "src/a" }), "revision").await;
        project.write("renameFile", json!({ "path": "lib/code", "newPath": "src" }), "revision").await;
        assert_eq!(each(&project.ask("files(under: \"src\") { nodes { id } }").await["files"]["nodes"], "id"), ids);
    }

    async fn a_folder_is_deleted_and_restored_with_its_contents(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Removed").await;
        folder(&project, "docs").await;
        folder(&project, "docs/empty").await;
        project.create_file("docs/a", "a\n").await;
        project.create_file("docs.md", "b\n").await;
        let before = paths(&project).await;
        let revision = project.revision().await;
        let deleted = project.write("deleteFile", json!({ "path": "docs" }), "revision file { path isDeleted }").await;
        assert_eq!(deleted["file"], json!({ "path": "docs", "isDeleted": true }));
        assert_eq!(paths(&project).await, ["docs.md"]);
        assert_eq!(project.revision().await, revision + 1);
        refused(&project, "deleteFile", json!({ "path": "docs" }), "NOT_FOUND").await;
        // A file can take its path …
        project.create_file("docs", "a file\n").await;
        assert_eq!(paths(&project).await, ["docs", "docs.md"]);
        // … until a restore makes it a folder again, and removes the file.
        project.write("restoreRevision", json!({ "revision": revision }), "revision").await;
        assert_eq!(paths(&project).await, before);
    }

    async fn a_path_is_a_file_or_a_folder_never_both(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "One").await;
        folder(&project, "folder").await;
        project.create_file("file", "x").await;
        project.create_file("implied/below", "x").await;
        for (path, kind) in [("file", "FILE"), ("file", "FOLDER"), ("folder", "FILE"), ("folder", "FOLDER"), ("file/below", "FILE"),
            ("file/below/deep", "FOLDER"), ("implied", "FILE")] {
            refused(&project, "createFile", json!({ "path": path, "type": kind }), "CONFLICT").await;
        }
        refused(&project, "renameFile", json!({ "path": "file", "newPath": "folder" }), "CONFLICT").await;
        refused(&project, "renameFile", json!({ "path": "file", "newPath": "implied" }), "CONFLICT").await;
        refused(&project, "renameFile", json!({ "path": "folder", "newPath": "file/x" }), "CONFLICT").await;
        refused(&project, "updateFile", json!({ "path": "folder", "content": "x" }), "BAD_USER_INPUT").await;
        for (path, kind) in [("file", "FOLDER"), ("folder", "FILE"), ("implied", "FILE"), ("file/below", "FILE")] {
            let content = (kind == "FILE").then_some("");
            let input = json!({ "files": [{ "path": path, "type": kind, "content": content }] });
            refused(&project, "syncFiles", input, "CONFLICT").await;
        }
        let both = json!({ "files": [{ "path": "n", "content": "x" }, { "path": "n/below", "content": "x" }], "mode": "MIRROR" });
        refused(&project, "syncFiles", both, "CONFLICT").await;
        let twice = json!({ "files": [{ "path": "n", "content": "x" }, { "path": "/n", "type": "FOLDER" }] });
        refused(&project, "syncFiles", twice, "BAD_USER_INPUT").await;

        // A mirror can turn one into the other: the old object is deleted, and the new one has another id.
        let files = json!({ "files": [{ "path": "file", "type": "FOLDER" }, { "path": "folder", "content": "y" },
            { "path": "implied", "content": "z" }], "mode": "MIRROR" });
        let synced = project.write("syncFiles", files, CHANGES).await;
        assert_eq!([&synced["created"], &synced["deleted"], &synced["renamed"]], [3, 3, 0]);
        assert_eq!(paths(&project).await, ["file/", "folder", "implied"]);
        project.write("undo", json!({}), "revision").await;
        assert_eq!(paths(&project).await, ["file", "folder/", "implied/below"]);

        // A folder can be created above existing files, and then contains them.
        folder(&project, "implied").await;
        project.write("renameFile", json!({ "path": "implied", "newPath": "named" }), "revision").await;
        assert_eq!(paths(&project).await, ["file", "folder/", "named/", "named/below"]);
    }
}
