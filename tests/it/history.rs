//! Given files that are created, changed, moved, deleted and restored, then every step can be read, compared and
//! undone, and every byte comes back as it was written.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tests::{
    client::Client,
    project::{Project, each, number, text},
    server::Server,
    workload::sha256,
};

/// Successive contents, each a different kind of step.
const STEPS: &[&str] = &[
    "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n",
    "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nTEN\n",
    "ONE\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nTEN\n",
    "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\neleven\n",
    "two\nthree\nfour\n",
    "two\nthree\nfour",
    "two\r\nthree\r\nfour",
    "two\r\nthree\nfour\r",
    "",
    "\n",
    "no newline at the end",
    "\u{feff}# bytes that \u{2028} are no line ends \u{b}\u{c}\u{85}\nÄ 概要 👩\u{200d}💻\n",
    "-- a\n++ b\n@@ -1 +1 @@\n\\ No newline at end of file\n",
    "",
];

/// Applies a unified diff strictly: every line and every count must match.
fn patch(old: &str, diff: &str) -> String {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let (mut new, mut at) = (Vec::<String>::new(), 0);
    let mut lines = diff.split_inclusive('\n').skip_while(|line| !line.starts_with("@@")).peekable();
    while let Some(header) = lines.next() {
        let ranges = header.strip_prefix("@@ -").unwrap().strip_suffix(" @@\n").unwrap();
        let (from, to) = ranges.split_once(" +").unwrap();
        let [(start, count), (new_start, new_count)] = [from, to].map(|range| {
            let (start, count) = range.split_once(',').unwrap_or((range, "1"));
            let (start, count): (usize, usize) = (start.parse().unwrap(), count.parse().unwrap());
            (if count == 0 { start } else { start - 1 }, count)
        });
        new.extend(old[at..start].iter().map(|line| (*line).to_owned()));
        at = start;
        assert_eq!(new.len(), new_start, "{diff}");
        while at < start + count || new.len() < new_start + new_count {
            let (sign, mut line) = lines.next().unwrap().split_at(1);
            if lines.next_if_eq(&"\\ No newline at end of file\n").is_some() {
                line = &line[..line.len() - 1];
            }
            if sign != "+" {
                assert_eq!(old[at], line, "{diff}");
                at += 1;
            }
            if sign != "-" {
                new.push(line.to_owned());
            }
        }
    }
    new.extend(old[at..].iter().map(|line| (*line).to_owned()));
    new.concat()
}

/// The same from `lineChanges`: replaces and checks every line.
fn replace_lines(old: &str, changes: &Value) -> Vec<String> {
    let lines = |text: &str| text.split_terminator('\n').map(str::to_owned).collect::<Vec<_>>();
    let (old, mut new, mut at) = (lines(old), Vec::new(), 0);
    for change in changes.as_array().unwrap() {
        let start = number(&change["oldStart"]) as usize - 1;
        new.extend(old[at..start].iter().cloned());
        at = start;
        assert_eq!(new.len() + 1, number(&change["newStart"]) as usize, "{change}");
        for line in change["lines"].as_array().unwrap() {
            let op = change["op"].as_str().unwrap();
            if op != "insert" {
                assert_eq!(old[at], line.as_str().unwrap());
                at += 1;
            }
            if op != "delete" {
                new.push(text(line));
            }
        }
    }
    new.extend(old[at..].iter().cloned());
    new
}

async fn node(client: &Client, kind: &str, id: &Value, select: &str) -> Value {
    let query = format!("query($id: ID!) {{ node(id: $id) {{ ... on {kind} {{ {select} }} }} }}");
    client.gql(&query, json!({ "id": id })).await.ok()["node"].take()
}

/// The types and paths of a list of changes.
fn steps(changes: &Value) -> Vec<(String, String)> {
    changes.as_array().unwrap().iter().map(|change| (text(&change["type"]), text(&change["path"]))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

tests::on_both! {
    async fn every_step_of_a_file_can_be_read_and_applied(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Steps").await;
        let file = project.create_file("notes.txt", STEPS[0]).await;
        for content in &STEPS[1..] {
            project.update_file("notes.txt", content).await;
        }

        let select = "versions(first: 100) { nodes { id version revision path content hash sizeBytes isDeletion diff additions deletions createdBy { fullName } } }";
        let versions = node(&ada, "ProjectFile", &json!(file), select).await["versions"]["nodes"].take();
        let select = "changes(first: 100) { nodes { type oldContent newContent oldPath diff lineChanges additions deletions revision } }";
        let changes = project.ask(select).await["changes"]["nodes"].take();
        for (at, content) in STEPS.iter().enumerate() {
            let (version, change) = (&versions[STEPS.len() - 1 - at], &changes[STEPS.len() - 1 - at]);
            assert_eq!(version["version"], at + 1);
            assert_eq!(version["revision"], at + 2);
            assert_eq!(version["content"], *content);
            assert_eq!(version["hash"], sha256(content));
            assert_eq!(version["sizeBytes"], content.len());
            assert_eq!((&version["isDeletion"], &version["path"]), (&json!(false), &json!("notes.txt")));
            assert_eq!(version["createdBy"]["fullName"], "ada");

            let old = if at == 0 { "" } else { STEPS[at - 1] };
            assert_eq!(change["type"], if at == 0 { "CREATE" } else { "UPDATE" });
            assert_eq!(change["oldContent"], if at == 0 { Value::Null } else { json!(old) });
            assert_eq!((&change["newContent"], &change["oldPath"]), (&json!(content), &Value::Null));
            assert_eq!(change["diff"], version["diff"]);
            let diff = text(&change["diff"]);
            assert_eq!(patch(old, &diff), *content, "{diff}");
            let head = if at == 0 { "new file mode 100644\n--- /dev/null\n+++ b/notes.txt\n@@" } else { "--- a/notes.txt\n+++ b/notes.txt\n@@" };
            let head = format!("diff --git a/notes.txt b/notes.txt\n{head}");
            assert!(diff.starts_with(&head), "{diff}");
            assert_eq!(replace_lines(old, &change["lineChanges"]), content.split_terminator('\n').collect::<Vec<_>>());
            let count = |op: &str| {
                let runs = change["lineChanges"].as_array().unwrap().iter().filter(|run| run["op"] == op);
                runs.map(|run| run["lines"].as_array().unwrap().len()).sum::<usize>()
            };
            assert_eq!((&change["additions"], &change["deletions"]), (&json!(count("insert")), &json!(count("delete"))));
            assert_eq!((&version["additions"], &version["deletions"]), (&change["additions"], &change["deletions"]));

            // Writing the same content again is no step.
            if at == STEPS.len() - 1 {
                let same = project.write("updateFile", json!({ "path": "notes.txt", "content": content }), "revision change { id } file { version }").await;
                assert_eq!(same, json!({ "revision": at + 2, "change": null, "file": { "version": at + 1 } }));
            }
        }
        // Runs of equal lines are shortened to three lines of context.
        let expected = json!([
            { "op": "equal", "oldStart": 7, "newStart": 7, "lines": ["seven", "eight", "nine"] },
            { "op": "delete", "oldStart": 10, "newStart": 10, "lines": ["ten"] },
            { "op": "insert", "oldStart": 11, "newStart": 10, "lines": ["TEN"] },
        ]);
        assert_eq!(changes[STEPS.len() - 2]["lineChanges"], expected);

        // Any state in between can be read, and any two compared.
        for (at, content) in STEPS.iter().enumerate() {
            let then = project.ask(&format!("file(path: \"notes.txt\", at: {}) {{ content version }}", at + 2)).await;
            assert_eq!(then["file"], json!({ "content": content, "version": at + 1 }));
        }
        for (from, to) in [(2, 6), (6, 2), (3, 12), (1, 5), (5, 1)] {
            let diff = project.ask(&format!("diff(from: {from}, to: {to}) {{ path type diff additions deletions }}")).await["diff"].take();
            let content = |revision: usize| if revision == 1 { "" } else { STEPS[revision - 2] };
            assert_eq!(patch(content(from), &text(&diff[0]["diff"])), content(to));
            assert_eq!(diff[0]["type"], if from == 1 { "CREATE" } else if to == 1 { "DELETE" } else { "UPDATE" });
        }
        assert_eq!(project.ask("diff(from: 2, to: 2) { path }").await["diff"], json!([]));
        assert_eq!(project.ask("diff(from: 10, to: 15) { path }").await["diff"], json!([]));
    }

    async fn binary_contents_come_back_as_they_were_written(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Bytes").await;
        let all: Vec<u8> = (0..=255).collect();
        let nul = b"text with a \0 in it".to_vec();
        let mut files = Vec::new();
        for (path, bytes) in [("all.bin", &all), ("nul.txt", &nul)] {
            let input = json!({ "path": path, "contentBase64": STANDARD.encode(bytes) });
            files.push(project.write("createFile", input, "file { id content contentBase64 hash sizeBytes } change { diff lineChanges additions newContent }").await);
        }
        assert_eq!(files[0]["file"]["contentBase64"], STANDARD.encode(&all));
        assert_eq!((&files[0]["file"]["content"], &files[0]["file"]["sizeBytes"]), (&Value::Null, &json!(256)));
        assert_eq!(files[0]["change"], json!({ "diff": null, "lineChanges": null, "additions": 0, "newContent": null }));
        assert_eq!(files[1]["file"]["content"], String::from_utf8(nul).unwrap());
        assert_eq!(files[1]["file"]["contentBase64"], Value::Null);

        // From binary to text and back.
        project.update_file("all.bin", "text now\n").await;
        let changed: Vec<u8> = all.iter().rev().copied().collect();
        project.write("updateFile", json!({ "path": "all.bin", "contentBase64": STANDARD.encode(&changed) }), "revision").await;
        let versions = node(&ada, "ProjectFile", &files[0]["file"]["id"], "versions { nodes { content contentBase64 diff } }").await;
        let nodes = &versions["versions"]["nodes"];
        assert_eq!(each(nodes, "content"), [Value::Null, json!("text now\n"), Value::Null]);
        assert_eq!(each(nodes, "contentBase64"), [json!(STANDARD.encode(&changed)), Value::Null, json!(STANDARD.encode(&all))]);
        assert_eq!(each(nodes, "diff"), [const { Value::Null }; 3]);
        let diff = project.ask("diff(from: 3) { path type diff additions }").await["diff"].take();
        assert_eq!(diff, json!([{ "path": "all.bin", "type": "UPDATE", "diff": null, "additions": 0 }]));
        let reverted = ada.mutate("revertFile", json!({ "fileId": files[0]["file"]["id"], "version": 1 }), "file { contentBase64 }").await.ok();
        assert_eq!(reverted["revertFile"]["file"]["contentBase64"], STANDARD.encode(&all));

        // Text sent in Base64 is text.
        project.write("createFile", json!({ "path": "a.txt", "contentBase64": STANDARD.encode("Ä\r\n") }), "revision").await;
        assert_eq!(project.ask("file(path: \"a.txt\") { content contentBase64 }").await["file"], json!({ "content": "Ä\r\n", "contentBase64": null }));
    }

    async fn files_and_folders_move_with_their_history(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Moves").await;
        project.write("createFile", json!({ "path": "src", "type": "FOLDER" }), "revision").await;
        let id = project.create_file("src/a.py", "a = 1\n").await;
        project.create_file("src/deep/b.py", "b = 1\n").await;
        project.create_file("src-old.py", "old\n").await;

        let input = json!({ "path": "src/a.py", "newPath": "main.py", "expectedVersion": 1, "changeDescription": "Up" });
        let select = "revision file { id path name parentPath version language content } change { type path oldPath oldContent newContent diff additions deletions changeDescription }";
        let moved = project.write("renameFile", input, select).await;
        let expected = json!({ "id": id, "path": "main.py", "name": "main.py", "parentPath": null, "version": 2, "language": "python", "content": "a = 1\n" });
        assert_eq!(moved["file"], expected);
        assert_eq!(moved["change"]["type"], "RENAME");
        assert_eq!((&moved["change"]["oldPath"], &moved["change"]["path"]), (&json!("src/a.py"), &json!("main.py")));
        assert_eq!((&moved["change"]["oldContent"], &moved["change"]["newContent"]), (&json!("a = 1\n"), &json!("a = 1\n")));
        assert_eq!((&moved["change"]["additions"], &moved["change"]["deletions"]), (&json!(0), &json!(0)));
        assert!(text(&moved["change"]["diff"]).contains("rename from src/a.py\nrename to main.py\n"));
        assert_eq!(project.ask("file(path: \"src/a.py\") { id }").await["file"], Value::Null);

        // A move to the present path changes nothing.
        let before = project.state().await;
        let same = project.write("renameFile", json!({ "path": "main.py", "newPath": "/main.py" }), "change { id } file { version }").await;
        assert_eq!(same, json!({ "change": null, "file": { "version": 2 } }));
        assert_eq!(project.state().await, before);

        // A folder moves with everything below it, but not with paths that only share its prefix.
        let input = json!({ "path": "src", "newPath": "lib/new" });
        let moved = project.write("renameFile", input, "revision file { path type } change { oldPath }").await;
        assert_eq!(moved["file"], json!({ "path": "lib/new", "type": "FOLDER" }));
        assert_eq!(moved["change"]["oldPath"], "src");
        let paths = each(&project.ask("files { nodes { path } }").await["files"]["nodes"], "path");
        assert_eq!(paths, ["lib/new", "lib/new/deep/b.py", "main.py", "src-old.py"]);
        let events = project.ask(&format!("events(afterRevision: {}) {{ changes {{ type path oldPath }} }}", number(&moved["revision"]) - 1)).await;
        let expected = json!([{ "type": "RENAME", "path": "lib/new", "oldPath": "src" }, { "type": "RENAME", "path": "lib/new/deep/b.py", "oldPath": "src/deep/b.py" }]);
        assert_eq!(events["events"][0]["changes"], expected);

        // Between two revisions a move is one change, with its edits.
        project.update_file("lib/new/deep/b.py", "b = 2\n").await;
        let diff = project.ask("diff(from: 5) { path oldPath type diff }").await["diff"].take();
        assert_eq!(each(&diff, "path"), ["lib/new", "lib/new/deep/b.py", "main.py"]);
        assert_eq!(each(&diff, "oldPath"), ["src", "src/deep/b.py", "src/a.py"]);
        assert_eq!(each(&diff, "type"), ["RENAME"; 3]);
        assert_eq!(patch("b = 1\n", &text(&diff[1]["diff"])), "b = 2\n");

        // Reverting to a version restores its content; the path stays.
        let reverted = ada.mutate("revertFile", json!({ "fileId": id, "version": 1 }), "change { id } file { path version }").await.ok();
        assert_eq!(reverted["revertFile"], json!({ "change": null, "file": { "path": "main.py", "version": 2 } }));
    }

    async fn deleted_files_stay_in_the_history(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Deleted").await;
        let first = project.create_file("a.py", "first\n").await;
        project.write("createFile", json!({ "path": "docs", "type": "FOLDER" }), "revision").await;
        project.create_file("docs/b.md", "text\n").await;
        let select = "revision file { id isDeleted content hash version } change { type oldContent newContent diff additions deletions }";
        let deleted = project.write("deleteFile", json!({ "path": "a.py", "expectedVersion": 1 }), select).await;
        assert_eq!(deleted["file"], json!({ "id": first, "isDeleted": true, "content": null, "hash": null, "version": 2 }));
        let diff = "diff --git a/a.py b/a.py\ndeleted file mode 100644\n--- a/a.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-first\n";
        let expected = json!({ "type": "DELETE", "oldContent": "first\n", "newContent": null, "diff": diff, "additions": 0, "deletions": 1 });
        assert_eq!(deleted["change"], expected);
        assert_eq!(project.ask("file(path: \"a.py\") { id }").await["file"], Value::Null);
        assert_eq!(project.ask("file(path: \"a.py\", at: 4) { content }").await["file"]["content"], "first\n");
        let again = project.mutate("deleteFile", json!({ "path": "a.py" }), "revision").await;
        assert_eq!(again.error_code(), "NOT_FOUND");

        // A file that is created at the same path is the same file, with its deletion in its history …
        let second = project.create_file("a.py", "second\n").await;
        assert_eq!(first, second);
        let revert = async |id: &str, version: i64, select: &str| ada.mutate("revertFile", json!({ "fileId": id, "version": version }), select).await;
        let deletion = revert(&first, 2, "revision").await;
        assert_eq!((deletion.error_code(), deletion.field()), ("BAD_USER_INPUT", "version"));

        // … and can be restored from there, if no other file has taken its path.
        project.write("deleteFile", json!({ "path": "a.py" }), "revision").await;
        project.create_file("b.py", "second\n").await;
        project.write("renameFile", json!({ "path": "b.py", "newPath": "a.py" }), "revision").await;
        assert_eq!(revert(&first, 1, "revision").await.error_code(), "CONFLICT");
        project.write("renameFile", json!({ "path": "a.py", "newPath": "b.py" }), "revision").await;
        let back = revert(&first, 1, "file { id path version content isDeleted } change { type oldContent newContent }").await.ok();
        assert_eq!(back["revertFile"]["file"], json!({ "id": first, "path": "a.py", "version": 7, "content": "first\n", "isDeleted": false }));
        assert_eq!(back["revertFile"]["change"], json!({ "type": "CREATE", "oldContent": null, "newContent": "first\n" }));
        let versions = node(&ada, "ProjectFile", &json!(first), "versions { nodes { isDeletion content diff } }").await;
        assert_eq!(each(&versions["versions"]["nodes"], "isDeletion"), [false, true, false, true, false]);
        assert_eq!(each(&versions["versions"]["nodes"], "content"), [json!("first\n"), Value::Null, json!("second\n"), Value::Null, json!("first\n")]);

        // A folder is deleted with all its contents.
        let gone = project.write("deleteFile", json!({ "path": "docs" }), "revision file { path isDeleted }").await;
        assert_eq!(gone["file"], json!({ "path": "docs", "isDeleted": true }));
        assert_eq!(project.contents().await, pairs(&[("a.py", "first\n"), ("b.py", "second\n")]));
        let stats = project.ask("stats { totalFiles totalChanges } files(includeDeleted: true) { totalCount }").await;
        assert_eq!(stats, json!({ "stats": { "totalFiles": 2, "totalChanges": 12 }, "files": { "totalCount": 4 } }));
    }

    async fn a_sync_writes_only_differences(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Sync").await;
        let select = "created updated deleted renamed unchanged revision changes { type path oldPath }";
        let sync = async |files: &[(&str, &str)], mode: &str| {
            let files: Vec<Value> = files.iter().map(|(path, content)| json!({ "path": path, "content": content })).collect();
            project.write("syncFiles", json!({ "files": files, "mode": mode }), select).await
        };
        let counts = |synced: &Value| ["created", "updated", "deleted", "renamed", "unchanged"].map(|field| number(&synced[field]));
        let first = sync(&[("a", "1"), ("b", "2"), ("docs/c", "3")], "MERGE").await;
        assert_eq!((counts(&first), &first["revision"]), ([3, 0, 0, 0, 0], &json!(2)));
        let before = project.state().await;
        let same = sync(&[("docs/c", "3"), ("a", "1"), ("b", "2")], "MIRROR").await;
        assert_eq!((counts(&same), &same["revision"], &same["changes"]), ([0, 0, 0, 0, 3], &json!(2), &json!([])));
        assert_eq!(counts(&sync(&[], "MERGE").await), [0; 5]);
        assert_eq!(project.state().await, before);

        let merged = sync(&[("b", "two"), ("d", "4")], "MERGE").await;
        assert_eq!((counts(&merged), steps(&merged["changes"])), ([1, 1, 0, 0, 0], pairs(&[("UPDATE", "b"), ("CREATE", "d")])));
        let mirrored = sync(&[("b", "two"), ("moved/c", "3"), ("e", "5")], "MIRROR").await;
        assert_eq!(counts(&mirrored), [1, 0, 2, 1, 1]);
        assert_eq!(steps(&mirrored["changes"]), pairs(&[("DELETE", "a"), ("DELETE", "d"), ("RENAME", "moved/c"), ("CREATE", "e")]));
        assert_eq!(mirrored["changes"][2]["oldPath"], "docs/c");
        assert_eq!(project.contents().await, pairs(&[("b", "two"), ("e", "5"), ("moved/c", "3")]));

        // Files and folders swap places.
        let turned = sync(&[("b/x", "two"), ("moved", "3")], "MIRROR").await;
        assert_eq!(counts(&turned), [0, 0, 1, 2, 0]);
        assert_eq!(project.contents().await, pairs(&[("b/x", "two"), ("moved", "3")]));
        sync(&[("moved", "two"), ("b/x", "3")], "MIRROR").await;
        assert_eq!(project.contents().await, pairs(&[("b/x", "3"), ("moved", "two")]));
        assert_eq!(counts(&sync(&[], "MIRROR").await), [0, 0, 2, 0, 0]);
        assert_eq!(project.contents().await, []);

        // Many files in deep folders work as well as a few.
        let deep = "d/".repeat(400);
        let files: Vec<(String, &str)> = (0..150).map(|n| (format!("{n}/{deep}x"), "deep")).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (path.as_str(), *content)).collect();
        assert_eq!(counts(&sync(&files, "MERGE").await), [150, 0, 0, 0, 0]);
    }

    async fn the_snapshot_of_a_checkpoint_follows_its_message(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Follow").await;
        project.create_file("a.py", "v1\n").await;
        let session = project.start_session().await;
        let first = json!(project.add_message(&session, "I write v2", true).await);
        let snapshot = async |message: &Value| node(&ada, "ChatMessage", message, "snapshot { id name revision fileCount manifestSha256 createdBy { fullName } files { nodes { path content } } }").await["snapshot"].take();
        let before = snapshot(&first).await;
        assert!(text(&before["name"]).starts_with("Auto-snapshot: 20"), "{before}");
        assert_eq!((&before["fileCount"], &before["createdBy"]["fullName"]), (&json!(1), &json!("ada")));
        for (name, input) in [
            ("updateFile", json!({ "path": "a.py", "content": "v2\n" })),
            ("createFile", json!({ "path": "b.py", "content": "new\n" })),
            ("renameFile", json!({ "path": "b.py", "newPath": "c.py" })),
            ("createFile", json!({ "path": "d.py", "content": "" })),
            ("deleteFile", json!({ "path": "d.py" })),
        ] {
            let mut input = input;
            input["messageId"] = first.clone();
            project.write(name, input, "revision").await;
        }
        let after = snapshot(&first).await;
        assert_eq!((&after["id"], &after["fileCount"]), (&before["id"], &json!(2)));
        assert_eq!(after["revision"], project.revision().await);
        assert_eq!(after["files"]["nodes"], json!([{ "path": "a.py", "content": "v2\n" }, { "path": "c.py", "content": "new\n" }]));
        assert_ne!(after["manifestSha256"], before["manifestSha256"]);

        // Writes for no message, for another message or only for the session do not move the snapshot.
        let second = json!(project.add_message(&session, "I write v3", true).await);
        project.update_file("a.py", "v2.5\n").await;
        project.write("updateFile", json!({ "path": "a.py", "content": "v3\n", "sessionId": session, "messageId": second }), "revision").await;
        project.write("updateFile", json!({ "path": "a.py", "content": "v3.5\n", "sessionId": session }), "revision").await;
        assert_eq!(snapshot(&first).await, after);
        assert_eq!(snapshot(&second).await["files"]["nodes"][0]["content"], "v3\n");

        // So a rollback to "I write v2" restores v2.
        let restored = ada.mutate("restoreSnapshot", json!({ "snapshotId": after["id"] }), "revision").await.ok();
        assert_eq!(project.contents().await, pairs(&[("a.py", "v2\n"), ("c.py", "new\n")]));
        let made = project.write("createSnapshot", json!({}), "snapshot { manifestSha256 name }").await;
        assert_eq!(made["snapshot"], json!({ "manifestSha256": after["manifestSha256"], "name": null }));
        assert_eq!(number(&restored["restoreSnapshot"]["revision"]) + 1, project.revision().await);

        // A user's checkpoint, and an assistant's message without the checkpoint flag, create no snapshot.
        let input = json!({ "sessionId": session, "role": "USER", "content": "Mine", "isCheckpoint": true });
        let added = ada.mutate("addMessage", input, "snapshot { id } message { isCheckpoint snapshot { id } }").await.ok();
        assert_eq!(added["addMessage"], json!({ "snapshot": null, "message": { "isCheckpoint": true, "snapshot": null } }));
    }

    async fn a_restore_gives_the_exact_state_and_changes_nothing_else(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Restore").await;
        let kept = project.create_file("kept.py", "kept\n").await;
        project.create_file("changed.py", "old\r\n").await;
        let moved = project.create_file("moved.py", "moved\n").await;
        let deleted = project.create_file("deleted.py", "deleted\n").await;
        project.create_file("place", "a file here\n").await;
        project.write("createFile", json!({ "path": "empty", "type": "FOLDER" }), "revision").await;
        let then = project.contents().await;
        let at = project.revision().await;
        let named = project.write("createSnapshot", json!({ "name": "Then" }), "snapshot { id }").await["snapshot"]["id"].take();

        project.update_file("changed.py", "new\n").await;
        project.write("renameFile", json!({ "path": "moved.py", "newPath": "sub/moved.py" }), "revision").await;
        project.update_file("sub/moved.py", "moved and changed\n").await;
        project.write("deleteFile", json!({ "path": "deleted.py" }), "revision").await;
        project.write("deleteFile", json!({ "path": "empty" }), "revision").await;
        project.create_file("deleted.py", "another\n").await;
        project.create_file("later.py", "later\n").await;
        project.write("deleteFile", json!({ "path": "place" }), "revision").await;
        project.create_file("place/inside.py", "a folder there\n").await;
        let now = project.contents().await;
        let last = project.revision().await;
        let diff = node(&ada, "ProjectSnapshot", &named, "diff { type path }").await;
        assert_eq!(diff["diff"], project.ask(&format!("diff(from: {at}) {{ type path }}")).await["diff"]);
        assert_eq!(diff["diff"].as_array().unwrap().len(), 7);

        // There …
        let select = "revision backup { id name revision fileCount } changes { type path oldPath } project { revision stats { totalFiles } }";
        let restored = ada.mutate("restoreSnapshot", json!({ "snapshotId": named, "expectedRevision": last }), select).await.ok()["restoreSnapshot"].take();
        assert_eq!(project.contents().await, then);
        assert_eq!(restored["project"], json!({ "revision": last + 1, "stats": { "totalFiles": 5 } }));
        let backup = restored["backup"]["id"].clone();
        assert_eq!(restored["backup"], json!({ "id": backup, "name": "Pre-restore backup", "revision": last, "fileCount": 6 }));
        let expected = pairs(&[("DELETE", "later.py"), ("DELETE", "place/inside.py"), ("RENAME", "moved.py"),
            ("UPDATE", "changed.py"), ("UPDATE", "deleted.py"), ("CREATE", "empty"), ("CREATE", "place")]);
        assert_eq!(steps(&restored["changes"]), expected);
        let ids = project.ask("kept: file(path: \"kept.py\") { id version } moved: file(path: \"moved.py\") { id version } deleted: file(path: \"deleted.py\") { id version }").await;
        assert_eq!(ids["kept"], json!({ "id": kept, "version": 1 }));
        assert_eq!(ids["moved"], json!({ "id": moved, "version": 4 }));
        // Created, deleted, created again, and restored.
        assert_eq!(ids["deleted"], json!({ "id": deleted, "version": 4 }));
        assert_eq!(project.ask(&format!("diff(from: {at}) {{ path }}")).await["diff"], json!([]));

        // … and back again, from the backup …
        ada.mutate("restoreSnapshot", json!({ "snapshotId": backup }), "revision").await.ok();
        assert_eq!(project.contents().await, now);

        // … and to any revision, including the first and the last.
        let input = json!({ "revision": 1 });
        let emptied = project.write("restoreRevision", input, "revision changes { type } project { stats { totalFiles } }").await;
        assert_eq!(emptied["project"]["stats"]["totalFiles"], 0);
        assert_eq!(each(&emptied["changes"], "type"), ["DELETE"; 6]);
        assert_eq!(project.contents().await, []);
        project.write("restoreRevision", json!({ "revision": at }), "revision").await;
        assert_eq!(project.contents().await, then);
        let present = project.revision().await;
        let same = project.write("restoreRevision", json!({ "revision": present, "expectedRevision": present }), "revision backup { revision } changes { id }").await;
        assert_eq!(same, json!({ "revision": present, "backup": { "revision": present }, "changes": [] }));

        // The history has only grown.
        for (revision, contents) in [(at, &then), (last, &now), (last + 1, &then), (last + 2, &now)] {
            let files = project.ask(&format!("files(at: {revision}, first: 100) {{ nodes {{ path content }} }}")).await;
            let files = files["files"]["nodes"].as_array().unwrap().clone();
            let files: Vec<_> = files.iter().map(|file| (text(&file["path"]), file["content"].as_str().unwrap_or("-").to_owned())).collect();
            assert_eq!(files, *contents);
        }
        assert_eq!(node(&ada, "ProjectFile", &json!(kept), "versions { totalCount }").await["versions"]["totalCount"], 3);
    }

    async fn a_retry_with_the_same_key_returns_the_first_message(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Retry").await;
        let session = project.start_session().await;
        let select = "revision snapshot { id } message { id content }";
        let add = async |session: &str, content: &str, key: &str| {
            let input = json!({ "sessionId": session, "role": "ASSISTANT", "content": content, "isCheckpoint": true, "idempotencyKey": key });
            ada.mutate("addMessage", input, select).await.ok()["addMessage"].take()
        };
        let first = add(&session, "First", "key 1").await;
        let before = project.state().await;
        assert_eq!(add(&session, "First", "key 1").await, first);
        assert_eq!(add(&session, "Something else", "key 1").await, first);
        assert_eq!(project.state().await, before);
        let other = add(&session, "First", "key 2").await;
        assert_eq!((&other["revision"], &other["message"]["content"]), (&json!(4), &json!("First")));

        // Concurrent retries return one message.
        let answers = futures::future::join_all((0..8).map(|_| add(&session, "At once", "key 3"))).await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(project.revision().await, 5);

        // Keys belong to a session, and an ended session still answers for its own.
        let next = project.start_session().await;
        assert_eq!(add(&next, "Next", "key 1").await["message"]["content"], "Next");
        assert_eq!(add(&session, "Too late", "key 1").await, first);
        let input = json!({ "sessionId": session, "role": "USER", "content": "Too late" });
        let late = ada.mutate("addMessage", input, "message { content session { isActive } }").await.ok();
        assert_eq!(late["addMessage"]["message"], json!({ "content": "Too late", "session": { "isActive": false } }));
    }

    async fn a_user_has_one_active_session_in_a_project(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Sessions").await;
        let other = Project::create(&ada, "Other").await;
        let elsewhere = other.start_session().await;
        let first = project.start_session().await;
        let second = project.start_session().await;
        let listed = project.ask("sessions { nodes { id isActive endedAt } } activeSession { id startedAt }").await;
        assert_eq!(listed["activeSession"]["id"], second);
        assert_eq!(each(&listed["sessions"]["nodes"], "id"), [second.clone(), first.clone()]);
        assert_eq!(each(&listed["sessions"]["nodes"], "isActive"), [true, false]);
        assert_eq!(listed["sessions"]["nodes"][1]["endedAt"], listed["activeSession"]["startedAt"]);
        assert_eq!(other.ask("activeSession { id }").await["activeSession"]["id"], elsewhere);

        let ended = ada.mutate_id("endSession", &second, "revision session { isActive endedAt }").await.ok()["endSession"].take();
        assert_eq!((&ended["revision"], &ended["session"]["isActive"]), (&json!(4), &json!(false)));
        assert!(ended["session"]["endedAt"].is_string());
        let before = project.state().await;
        let again = ada.mutate_id("endSession", &second, "revision session { isActive endedAt }").await.ok()["endSession"].take();
        assert_eq!(again, ended);
        assert_eq!(project.state().await, before);
        assert_eq!(project.ask("activeSession { id }").await["activeSession"], Value::Null);

        // However many sessions start at once.
        futures::future::join_all((0..6).map(|_| project.start_session())).await;
        let active = project.ask("sessions(filter: { isActive: true }) { totalCount } revision").await;
        assert_eq!(active, json!({ "sessions": { "totalCount": 1 }, "revision": 10 }));
    }

    async fn a_write_without_changes_makes_no_revision(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Still").await;
        project.create_file("a.py", "a\n").await;
        let before = project.state().await;
        let select = "revision project { revision updatedAt stats { lastActivityAt } }";
        let input = json!({ "id": project.id, "name": "Still", "config": {}, "status": "ACTIVE" });
        let answer = ada.mutate("updateProject", input, select).await.ok()["updateProject"].take();
        let expected = json!({ "revision": 2, "project": { "revision": 2, "updatedAt": before["updatedAt"],
            "stats": { "lastActivityAt": before["stats"]["lastActivityAt"] } } });
        assert_eq!(answer, expected);
        ada.mutate("updateProject", json!({ "id": project.id }), "revision").await.ok();
        project.update_file("a.py", "a\n").await;
        project.write("syncFiles", json!({ "files": [{ "path": "a.py", "content": "a\n" }] }), "revision").await;
        assert_eq!(project.state().await, before);

        let touched = ada.mutate_id("touchProject", &project.id, "revision").await.ok();
        assert_eq!(touched["touchProject"]["revision"], 2);
        let mut after = project.state().await;
        assert!(text(&after["lastAccessedAt"]) > text(&before["lastAccessedAt"]));
        after["lastAccessedAt"] = before["lastAccessedAt"].clone();
        assert_eq!(after, before);
    }

    async fn values_of_clients_come_back_unchanged(server: Server) {
        let ada = server.user("ada@example.com");
        let config = json!({ "text": "\\u0000 as text, \"quoted\" \u{2028}", "number": 1.5, "large": 9007199254740993_i64,
            "list": [1, [], {}, null, true], "": "empty name", "deep": { "deep": { "deep": [{ "deep": "" }] } } });
        let input = json!({ "name": " A  name ", "description": "", "initialPrompt": "", "config": config });
        let made = ada.mutate("createProject", input, "project { id name description initialPrompt config }").await.ok();
        let project = Project { client: ada.clone(), id: text(&made["createProject"]["project"]["id"]) };
        let read = project.ask("id name description initialPrompt config").await;
        assert_eq!(read, made["createProject"]["project"]);
        assert_eq!((&read["config"], &read["name"], &read["description"]), (&config, &json!(" A  name "), &json!("")));
        let session = project.write("startSession", json!({ "metadata": config }), "session { id metadata }").await["session"].take();
        assert_eq!(session["metadata"], config);
        let content = "Two\r\nlines, and \u{1b}[31m Ä 👩\u{200d}💻 \u{2028}";
        let input = json!({ "sessionId": session["id"], "role": "SYSTEM", "content": content, "contextData": config, "metadata": [1] });
        let id = ada.mutate("addMessage", input, "message { id }").await.ok()["addMessage"]["message"]["id"].take();
        let message = node(&ada, "ChatMessage", &id, "content role contextData metadata").await;
        assert_eq!(message, json!({ "content": content, "role": "SYSTEM", "contextData": config, "metadata": [1] }));

        // `null` clears a description; an omitted field stays.
        let input = json!({ "id": project.id, "description": null });
        let updated = ada.mutate("updateProject", input, "project { name description }").await.ok();
        assert_eq!(updated["updateProject"]["project"], json!({ "name": " A  name ", "description": null }));
    }

    async fn texts_that_look_like_sql_are_stored_unchanged(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Quoted").await;
        let session = project.start_session().await;
        let texts = ["'; COMMIT; DROP TABLE projects; --", "\\'; ROLLBACK; --", "\\", "'", "\\x00 \\u0000 \\000", "E'a' $1 $2 $$ :a ?",
            "{\"a\",NULL}", "ARRAY[NULL]::text[])", "\"; /*", "\u{2019}\u{ff07}\u{301}"];
        for (n, short) in texts.into_iter().enumerate() {
            // PostgreSQL receives short values within the statement, and long ones beside it.
            for (size, text) in [("short", short.to_owned()), ("long", short.repeat(40_000 / short.len()))] {
                let data = json!({ short: text });
                let input = json!({ "sessionId": session, "role": "USER", "content": text, "contextData": data, "metadata": data,
                    "idempotencyKey": format!("{size} {short}") });
                let added = project.client.mutate("addMessage", input, "message { id }").await.ok();
                let id = &added["addMessage"]["message"]["id"];
                let message = node(&project.client, "ChatMessage", id, "content contextData metadata").await;
                assert_eq!(message, json!({ "content": text, "contextData": data, "metadata": data }), "{size} {short}");

                let path = format!("it's $1; -- \"{n}\"/{size}.txt");
                let input = json!({ "path": path, "content": text, "language": short, "changeDescription": text, "sessionId": session });
                project.write("createFile", input, "revision").await;
                let read = format!("file(path: {}) {{ path content language versions {{ nodes {{ changeDescription }} }} }}", json!(path));
                let file = project.ask(&read).await["file"].take();
                let versions = json!({ "nodes": [{ "changeDescription": text }] });
                assert_eq!(file, json!({ "path": path, "content": text, "language": short, "versions": versions }), "{size} {short}");
            }
        }
        assert_eq!(project.revision().await, 2 + 4 * i64::try_from(texts.len()).unwrap());
    }
}
