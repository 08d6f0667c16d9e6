//! Given a file that had other paths or kinds, when an earlier state of it is restored, then its lines keep the messages
//! that wrote them, and its versions name the paths that they had.

use serde_json::{Value, json};
use tests::{
    project::{Project, each, number, text},
    server::Server,
};

/// A project with two checkpoints: the messages with which the tests write.
async fn project(server: &Server) -> (Project, String, String) {
    let project = Project::create(&server.user("ada@example.com"), "Lineage").await;
    let session = project.start_session().await;
    let first = project.add_message(&session, "First", true).await;
    let second = project.add_message(&session, "Second", true).await;
    (project, first, second)
}

async fn write(project: &Project, name: &str, path: &str, content: &str, message: &str) -> i64 {
    let input = json!({ "path": path, "content": content, "messageId": message });
    number(&project.write(name, input, "revision").await["revision"])
}

async fn rename(project: &Project, from: &str, to: &str) {
    project.write("renameFile", json!({ "path": from, "newPath": to }), "revision").await;
}

/// First line, last line, message, and the path of the version of each range.
async fn blame(project: &Project, path: &str) -> Value {
    let select =
        format!("file(path: \"{path}\") {{ blame {{ startLine endLine message {{ content }} version {{ path }} }} }}");
    let file = project.ask(&select).await["file"].take();
    let ranges = file["blame"].as_array().unwrap_or_else(|| panic!("no list, but {file}"));
    let range = |range: &Value| {
        json!([range["startLine"], range["endLine"], range["message"]["content"], range["version"]["path"]])
    };
    ranges.iter().map(range).collect()
}

async fn paths_of_versions(project: &Project, path: &str) -> Vec<Value> {
    let file =
        project.ask(&format!("file(path: \"{path}\") {{ versions {{ nodes {{ path }} }} }}")).await["file"].take();
    each(&file["versions"]["nodes"], "path")
}

async fn restore(project: &Project, revision: i64, paths: Option<&[&str]>) -> Value {
    project
        .write("restoreRevision", json!({ "revision": revision, "paths": paths }), "revision changes { type path }")
        .await
}

tests::on_both! {
    async fn a_restored_line_keeps_its_message_after_a_rename(server: Server) {
        let (project, first, second) = project(&server).await;
        let old = write(&project, "createFile", "a.txt", "1\n2\n3\n", &first).await;
        rename(&project, "a.txt", "b.txt").await;
        write(&project, "updateFile", "b.txt", "1\ntwo\n3\n4\n", &second).await;
        assert_eq!(blame(&project, "b.txt").await, json!([[1, 1, "First", "a.txt"], [2, 2, "Second", "b.txt"], [3, 3, "First", "a.txt"], [4, 4, "Second", "b.txt"]]));
        // All files: the file moves back.
        restore(&project, old, None).await;
        assert_eq!(project.contents().await, [("a.txt".to_owned(), "1\n2\n3\n".to_owned())]);
        assert_eq!(blame(&project, "a.txt").await, json!([[1, 3, "First", "a.txt"]]));
        assert_eq!(paths_of_versions(&project, "a.txt").await, ["a.txt", "b.txt", "b.txt", "a.txt"]);
    }

    async fn a_copy_of_a_state_at_an_old_path_keeps_the_messages_of_its_lines(server: Server) {
        let (project, first, second) = project(&server).await;
        write(&project, "createFile", "a.txt", "1\n2\n3\n", &first).await;
        let old = write(&project, "updateFile", "a.txt", "1\ntwo\n3\n", &second).await;
        rename(&project, "a.txt", "b.txt").await;
        project.update_file("b.txt", "1\ntwo\n3\nfour\n").await;
        // Only the old path: the file stays at its new one, and another one gets the old state.
        restore(&project, old, Some(&["a.txt"])).await;
        let expected = json!([[1, 1, "First", "a.txt"], [2, 2, "Second", "a.txt"], [3, 3, "First", "a.txt"]]);
        assert_eq!(blame(&project, "a.txt").await, expected);
        assert_eq!(blame(&project, "b.txt").await, json!([[1, 1, "First", "a.txt"], [2, 2, "Second", "a.txt"], [3, 3, "First", "a.txt"], [4, 4, null, "b.txt"]]));
        assert_eq!(paths_of_versions(&project, "b.txt").await, ["b.txt", "b.txt", "a.txt", "a.txt"]);
        // Its later versions continue these lines.
        project.update_file("a.txt", "0\n1\ntwo\n3\n").await;
        assert_eq!(blame(&project, "a.txt").await, json!([[1, 1, null, "a.txt"], [2, 2, "First", "a.txt"], [3, 3, "Second", "a.txt"], [4, 4, "First", "a.txt"]]));

        // The same for a copy of the copy.
        let copied = project.revision().await;
        rename(&project, "a.txt", "c.txt").await;
        restore(&project, copied, Some(&["a.txt"])).await;
        assert_eq!(blame(&project, "a.txt").await, json!([[1, 1, null, "a.txt"], [2, 2, "First", "a.txt"], [3, 3, "Second", "a.txt"], [4, 4, "First", "a.txt"]]));
        // All files together are the same as each alone.
        let all = project.ask("files { nodes { path blame { startLine message { content } } } }").await;
        let counts: Vec<_> = all["files"]["nodes"].as_array().unwrap().iter().map(|file| (text(&file["path"]), file["blame"].as_array().unwrap().len())).collect();
        assert_eq!(counts, [("a.txt".to_owned(), 4), ("b.txt".to_owned(), 4), ("c.txt".to_owned(), 4)]);
    }

    async fn a_file_that_gets_the_old_state_of_its_path_keeps_the_messages_of_its_lines(server: Server) {
        let (project, first, second) = project(&server).await;
        let old = write(&project, "createFile", "a.txt", "1\n2\n3\n", &first).await;
        rename(&project, "a.txt", "b.txt").await;
        write(&project, "createFile", "a.txt", "1\nanother\n", &second).await;
        assert_eq!(blame(&project, "a.txt").await, json!([[1, 2, "Second", "a.txt"]]));
        restore(&project, old, Some(&["a.txt"])).await;
        assert_eq!(blame(&project, "a.txt").await, json!([[1, 3, "First", "a.txt"]]));
        // A new file with the same text that no restore wrote is new.
        rename(&project, "a.txt", "d.txt").await;
        write(&project, "createFile", "a.txt", "1\n2\n3\n", &second).await;
        assert_eq!(blame(&project, "a.txt").await, json!([[1, 3, "Second", "a.txt"]]));
    }
}
