//! Given several writers who state the version they read, when they write at once, then no work is lost: a late writer
//! receives the present state and a merge of both changes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{
    client::Response,
    project::{Project, each, number, text},
    server::Server,
    workload::sha256,
};

const WRITERS: usize = 8;
const WRITES: usize = 5;

fn extensions(answer: &Response) -> &Value {
    assert_eq!(answer.error_code(), "CONFLICT");
    &answer.error()["extensions"]
}

/// Text and version of a file.
async fn read(project: &Project, path: &str) -> (String, i64) {
    let query = "query($id: ID!, $path: String!) { project(id: $id) { file(path: $path) { version content } } }";
    let data = project.client.gql(query, json!({ "id": project.id, "path": path })).await.ok();
    let file = &data["project"]["file"];
    (text(&file["content"]), number(&file["version"]))
}

tests::on_both! {
    async fn a_stale_writer_receives_a_merge_of_both_changes(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Merged").await;
        project.create_file("a", "1\n2\n3\n4\n5\n").await;
        project.update_file("a", "one\n2\n3\n4\n5\n").await;
        let before = project.state().await;
        let stale = json!({ "path": "a", "content": "1\n2\n3\n4\nfive\n", "expectedVersion": 1 });
        let answer = project.mutate("updateFile", stale, "revision").await;
        let shown = extensions(&answer);
        assert_eq!(shown["field"], "expectedVersion");
        assert_eq!(shown["currentVersion"], 2);
        assert_eq!(shown["currentHash"], sha256("one\n2\n3\n4\n5\n"));
        assert_eq!(shown["merge"], json!({ "clean": true, "content": "one\n2\n3\n4\nfive\n" }));
        assert_eq!(project.state().await, before);

        // The offered merge can be sent as it is.
        let merged = json!({ "path": "a", "content": shown["merge"]["content"], "expectedVersion": shown["currentVersion"] });
        let updated = project.write("updateFile", merged, "file { version content }").await;
        assert_eq!(updated["file"], json!({ "version": 3, "content": "one\n2\n3\n4\nfive\n" }));
    }

    async fn changes_of_the_same_lines_come_as_hunks(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Hunks").await;
        project.create_file("a", "top\nold\nbottom\n").await;
        project.update_file("a", "top\nnow\nbottom\n").await;
        let stale = json!({ "path": "a", "content": "top\nsent\nbottom\n", "expectedVersion": 1 });
        let answer = project.mutate("updateFile", stale, "revision").await;
        let merge = &extensions(&answer)["merge"];
        assert_eq!(merge["clean"], false);
        let lines: Vec<String> = text(&merge["content"]).lines().map(str::to_owned).collect();
        let place = |line: &str| lines.iter().position(|other| other.starts_with(line)).unwrap_or_else(|| panic!("{line}: {lines:?}"));
        let order = ["top", "<<<<<<<", "now", "=======", "sent", ">>>>>>>", "bottom"].map(place);
        assert!(order.is_sorted(), "{lines:?}");
    }

    async fn a_merge_keeps_line_ends_and_binary_contents_have_no_merge(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Bytes").await;
        project.create_file("a", "1\r\n2\r\n3\r\n4\r\n5").await;
        project.update_file("a", "one\r\n2\r\n3\r\n4\r\n5").await;
        let stale = json!({ "path": "a", "content": "1\r\n2\r\n3\r\n4\r\nfive", "expectedVersion": 1 });
        let answer = project.mutate("updateFile", stale, "revision").await;
        assert_eq!(extensions(&answer)["merge"], json!({ "clean": true, "content": "one\r\n2\r\n3\r\n4\r\nfive" }));
        // The same change on both sides is no conflict.
        let same = json!({ "path": "a", "content": "one\r\n2\r\n3\r\n4\r\n5", "expectedVersion": 1 });
        let answer = project.mutate("updateFile", same, "revision").await;
        assert_eq!(extensions(&answer)["merge"], json!({ "clean": true, "content": "one\r\n2\r\n3\r\n4\r\n5" }));

        for base64 in ["/w==", "/wA="] {
            let write = if base64 == "/w==" { "createFile" } else { "updateFile" };
            project.write(write, json!({ "path": "b", "contentBase64": base64 }), "revision").await;
        }
        let stale = json!({ "path": "b", "contentBase64": "/wE=", "expectedVersion": 1 });
        let answer = project.mutate("updateFile", stale, "revision").await;
        assert_eq!(extensions(&answer)["merge"], Value::Null);
        assert_eq!(extensions(&answer)["currentVersion"], 2);
        // A version that never existed has nothing to merge from.
        for expected in [0, -1, 99, i64::from(i32::MAX)] {
            let stale = json!({ "path": "a", "content": "x", "expectedVersion": expected });
            let answer = project.mutate("updateFile", stale, "revision").await;
            assert_eq!(extensions(&answer)["merge"], Value::Null);
        }
        // Other writes have the precondition too.
        for (name, mut input) in [("deleteFile", json!({})), ("renameFile", json!({ "newPath": "c" }))] {
            input["path"] = json!("a");
            input["expectedVersion"] = json!(1);
            let answer = project.mutate(name, input, "revision").await;
            assert_eq!(extensions(&answer)["currentVersion"], 2, "{name}");
        }
    }

    async fn only_changes_of_files_make_a_sync_stale(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Guarded").await;
        project.create_file("a", "1\n").await;
        project.create_file("b", "1\n").await;
        let seen = project.revision().await;
        let session = project.start_session().await;
        project.add_message(&session, "Hello", true).await;
        project.write("createSnapshot", json!({ "name": "Here" }), "revision").await;
        project.client.mutate("updateProject", json!({ "id": project.id, "name": "Renamed" }), "revision").await.ok();
        let sync = |content: &str, seen: i64| json!({ "files": [{ "path": "a", "content": content }], "expectedRevision": seen });
        let synced = project.write("syncFiles", sync("2\n", seen), "updated revision").await;
        assert_eq!(synced["updated"], 1);
        // A large sync too, which is prepared before its project is locked.
        let many: Vec<Value> = (0..300).map(|n| json!({ "path": format!("many/{n}"), "content": format!("{n}") })).collect();
        project.add_message(&session, "Hello again", false).await;
        let large = json!({ "files": many, "expectedRevision": synced["revision"] });
        assert_eq!(project.write("syncFiles", large.clone(), "created").await["created"], 300);

        // Files that the sync does not change are compared and listed too.
        let seen = project.revision().await;
        project.update_file("b", "2\n").await;
        project.write("deleteFile", json!({ "path": "many/7" }), "revision").await;
        project.write("renameFile", json!({ "path": "many/8", "newPath": "eight" }), "revision").await;
        for answer in [project.mutate("syncFiles", sync("3\n", seen), "revision").await,
            project.mutate("syncFiles", json!({ "files": [], "mode": "MIRROR", "expectedRevision": seen }), "revision").await] {
            let shown = extensions(&answer);
            assert_eq!((&shown["field"], &shown["currentRevision"]), (&json!("expectedRevision"), &json!(seen + 3)));
            assert_eq!(each(&shown["files"], "path"), ["b", "eight", "many/7", "many/8"]);
            assert_eq!(each(&shown["files"], "currentVersion"), [json!(2), json!(2), json!(null), json!(null)]);
        }
        for never in [-1, seen + 4] {
            assert_eq!(extensions(&project.mutate("syncFiles", sync("3\n", never), "revision").await)["currentRevision"], seen + 3);
        }
    }

    async fn markers_have_lines_of_their_own(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Markers").await;
        for (path, base, now, sent, merged) in [
            ("ends", "a", "b", "c", "<<<<<<< ours\nb\n||||||| original\na\n=======\nc\n>>>>>>> theirs\n"),
            ("crlf", "1\r\na\r\n2\r\n", "1\r\nb\r\n2\r\n", "1\r\nc\r\n2\r\n",
                "1\r\n<<<<<<< ours\r\nb\r\n||||||| original\r\na\r\n=======\r\nc\r\n>>>>>>> theirs\r\n2\r\n"),
        ] {
            project.create_file(path, base).await;
            project.update_file(path, now).await;
            let answer = project.mutate("updateFile", json!({ "path": path, "content": sent, "expectedVersion": 1 }), "revision").await;
            assert_eq!(extensions(&answer)["merge"], json!({ "clean": false, "content": merged }), "{path}");
        }
    }

    async fn a_stale_sync_names_the_files_that_differ(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Synced").await;
        for path in ["clean", "hunks", "mine", "gone", "agreed"] {
            project.create_file(path, "1\n2\n3\n4\n5\n").await;
        }
        let seen = project.revision().await;
        project.update_file("clean", "one\n2\n3\n4\n5\n").await;
        project.update_file("hunks", "now\n2\n3\n4\n5\n").await;
        project.update_file("agreed", "both\n").await;
        project.write("deleteFile", json!({ "path": "gone" }), "revision").await;
        project.create_file("new", "theirs\n").await;
        let before = project.state().await;
        let file = |path: &str, content: &str| json!({ "path": path, "content": content });
        let files = [
            file("clean", "1\n2\n3\n4\nfive\n"),
            file("hunks", "sent\n2\n3\n4\n5\n"),
            file("mine", "mine\n"),
            file("gone", "still\n"),
            file("agreed", "both\n"),
            file("new", "mine\n"),
            file("newer", "mine\n"),
        ];
        for mode in ["MERGE", "MIRROR"] {
            let stale = json!({ "files": files, "mode": mode, "expectedRevision": seen });
            let answer = project.mutate("syncFiles", stale, "revision").await;
            let shown = extensions(&answer);
            assert_eq!((&shown["field"], &shown["currentRevision"]), (&json!("expectedRevision"), &json!(seen + 5)));
            assert_eq!(each(&shown["files"], "path"), ["clean", "hunks", "gone", "new"], "{mode}");
            assert_eq!(each(&shown["files"], "currentVersion"), [json!(2), json!(2), json!(null), json!(1)]);
            let hashes = ["one\n2\n3\n4\n5\n", "now\n2\n3\n4\n5\n", "", "theirs\n"]
                .map(|text| if text.is_empty() { Value::Null } else { json!(sha256(text)) });
            assert_eq!(each(&shown["files"], "currentHash"), hashes);
            let merges = each(&shown["files"], "merge");
            assert_eq!(merges[0], json!({ "clean": true, "content": "one\n2\n3\n4\nfive\n" }));
            assert_eq!(merges[1]["clean"], false);
            assert_eq!(merges[2..], [Value::Null, Value::Null]);
        }
        assert_eq!(project.state().await, before);
        for never in [0, -1, 99] {
            let stale = json!({ "files": files, "expectedRevision": never });
            assert_eq!(extensions(&project.mutate("syncFiles", stale, "revision").await)["currentRevision"], seen + 5);
        }
    }

    async fn a_stale_sync_names_deleted_files_in_the_order_of_their_paths(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Sorted").await;
        let seen = project.revision().await;
        let mut paths = ["é", "b", "z", "a", "k", "B", "m", "c"];
        for path in paths {
            project.create_file(path, "1\n").await;
        }
        for path in paths {
            project.write("deleteFile", json!({ "path": path }), "revision").await;
        }
        let stale = json!({ "files": [{ "path": "new", "content": "" }], "expectedRevision": seen });
        let answer = project.mutate("syncFiles", stale, "revision").await;
        paths.sort_unstable();
        assert_eq!(each(&extensions(&answer)["files"], "path"), paths);
    }

    async fn two_complete_rewrites_are_one_conflict_quickly(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Rewritten").await;
        let text = |who: &str| (0..19_900).map(|line| format!("{who} {line}\n")).collect::<String>();
        project.create_file("a", &text("base")).await;
        project.update_file("a", &text("now")).await;
        let stale = json!({ "path": "a", "content": text("sent"), "expectedVersion": 1 });
        let began = Instant::now();
        let answer = project.mutate("updateFile", stale, "revision").await;
        assert_eq!(extensions(&answer)["currentVersion"], 2);
        let conflict = format!(
            "<<<<<<< ours\n{}||||||| original\n{}=======\n{}>>>>>>> theirs\n",
            text("now"),
            text("base"),
            text("sent")
        );
        assert_eq!(extensions(&answer)["merge"], json!({ "clean": false, "content": conflict }));
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }

    async fn eight_writers_with_preconditions_lose_nothing(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Hammered").await;
        let file = project.create_file("a", "").await;
        let writers = (0..WRITERS).map(|writer| {
            let project = project.clone();
            tokio::spawn(async move {
                let (mut accepted, mut refusals) = (Vec::new(), 0);
                for write in 0..WRITES {
                    let (mut now, mut version) = read(&project, "a").await;
                    loop {
                        // Each writer adds a line to the text it read, so a lost update would lose a line.
                        let content = format!("{now}{writer}.{write}\n");
                        let input = json!({ "path": "a", "content": content, "expectedVersion": version });
                        let answer = project.mutate("updateFile", input, "file { version }").await;
                        if answer.errors.is_empty() {
                            let version = number(&answer.data["updateFile"]["file"]["version"]);
                            accepted.push((version, content));
                            break;
                        }
                        let shown = extensions(&answer);
                        assert!(number(&shown["currentVersion"]) > version);
                        refusals += 1;
                        (now, version) = read(&project, "a").await;
                    }
                }
                (accepted, refusals)
            })
        });
        let (mut accepted, mut refusals) = (vec![(1, String::new())], 0);
        for writer in writers.collect::<Vec<_>>() {
            let (writes, refused) = writer.await.unwrap();
            accepted.extend(writes);
            refusals += refused;
        }
        assert!(refusals > 0, "no writes collided");

        // Every accepted text is a version, and there are no other versions.
        accepted.sort();
        let query = "query($id: ID!) { node(id: $id) { ... on ProjectFile { version content versions(first: 100) { nodes { version revision content } } } } }";
        let file = ada.gql(query, json!({ "id": file })).await.ok()["node"].take();
        let mut versions: Vec<(i64, String)> = file["versions"]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|version| (number(&version["version"]), text(&version["content"])))
            .collect();
        versions.sort();
        assert_eq!(versions, accepted);
        let all = (WRITERS * WRITES + 1) as i64;
        assert_eq!(versions.iter().map(|(version, _)| *version).collect::<Vec<_>>(), (1..=all).collect::<Vec<_>>());
        assert_eq!(number(&file["version"]), all);
        assert_eq!(text(&file["content"]).lines().count(), WRITERS * WRITES);
        let revisions = each(&file["versions"]["nodes"], "revision");
        assert_eq!(revisions, (2..=all + 1).rev().map(Value::from).collect::<Vec<_>>());
    }

    async fn eight_writers_send_the_offered_merges(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Offered").await;
        // Each writer has a paragraph of its own, so every merge is clean.
        let blank = (0..WRITERS).map(|writer| format!("<{writer}>\n\n\n\n</{writer}>\n")).collect::<String>();
        project.create_file("a", &blank).await;
        let writers = (0..WRITERS).map(|writer| {
            let (project, blank) = (project.clone(), blank.clone());
            tokio::spawn(async move {
                let mine = blank.replace(&format!("<{writer}>\n"), &format!("<{writer}>\nwritten by {writer}\n"));
                let (mut content, mut version) = (mine, 1);
                loop {
                    let input = json!({ "path": "a", "content": content, "expectedVersion": version });
                    let answer = project.mutate("updateFile", input, "file { version }").await;
                    if answer.errors.is_empty() {
                        break;
                    }
                    let shown = extensions(&answer);
                    assert_eq!(shown["merge"]["clean"], true, "{shown}");
                    (content, version) = (text(&shown["merge"]["content"]), number(&shown["currentVersion"]));
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let (content, version) = read(&project, "a").await;
        assert_eq!(version, WRITERS as i64 + 1);
        for writer in 0..WRITERS {
            assert!(content.contains(&format!("<{writer}>\nwritten by {writer}\n")), "{content}");
        }
        assert_eq!(content.lines().count(), blank.lines().count() + WRITERS);
    }
}
