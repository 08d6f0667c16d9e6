//! Given executable files and links, when they are written, moved, deleted, restored, archived and exported, then their
//! modes are kept.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tests::{
    mcp::Agent,
    project::{Project, each, number, text},
    server::Server,
};

/// Path and mode of every file.
async fn modes(project: &Project) -> Vec<(String, Value)> {
    let files = project.ask("files { nodes { path mode } }").await;
    let files = files["files"]["nodes"].as_array().unwrap().clone();
    files.iter().map(|file| (text(&file["path"]), file["mode"].clone())).collect()
}

fn expected(modes: &[(&str, &str)]) -> Vec<(String, Value)> {
    modes
        .iter()
        .map(|(path, mode)| ((*path).to_owned(), if mode.is_empty() { Value::Null } else { json!(mode) }))
        .collect()
}

tests::on_both! {
    async fn a_link_has_a_target(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Links").await;
        for (field, value) in [("content", ""), ("content", "a\0b"), ("contentBase64", "YQBi"), ("contentBase64", "")] {
            let link = json!({ "path": "link", field: value, "mode": "SYMLINK" });
            let refused = project.mutate("createFile", link.clone(), "revision").await;
            assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", field), "{link}");
            let refused = project.mutate("syncFiles", json!({ "files": [link] }), "revision").await;
            assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", &*format!("files[0].{field}")));
        }
        assert_eq!(project.revision().await, 1);
        // The mode, or the contents, can also be those that are there.
        project.write("createFile", json!({ "path": "link", "content": "a", "mode": "SYMLINK" }), "revision").await;
        project.create_file("empty", "").await;
        let changed = text(&project.write("createFile", json!({ "path": "file", "content": "" }), "file { id }").await["file"]["id"]);
        let edited = number(&project.write("updateFile", json!({ "path": "file", "content": "x" }), "revision").await["revision"]);
        project.write("updateFile", json!({ "path": "file", "mode": "SYMLINK" }), "revision").await;
        let revision = project.revision().await;
        for (name, input, field) in [
            ("updateFile", json!({ "path": "link", "content": "" }), "content"),
            ("updateFile", json!({ "path": "link", "content": "a\0b" }), "content"),
            ("updateFile", json!({ "path": "link", "contentBase64": "" }), "contentBase64"),
            ("updateFile", json!({ "path": "empty", "mode": "SYMLINK" }), "mode"),
            ("syncFiles", json!({ "files": [{ "path": "link", "content": "" }] }), "files[0].content"),
            ("syncFiles", json!({ "files": [{ "path": "empty", "mode": "SYMLINK" }] }), "files"),
        ] {
            let refused = project.mutate(name, input.clone(), "revision").await;
            assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", field), "{name} {input}");
        }
        // An undo of the edit would leave a link without a target, so it is a conflict, as in git.
        let refused = project.mutate("undo", json!({ "revision": edited }), "revision").await;
        assert_eq!(refused.error_code(), "CONFLICT");
        assert_eq!(project.revision().await, revision);
        // A complete earlier version is consistent.
        let back = json!({ "fileId": changed, "version": 1 });
        let back = project.client.mutate("revertFile", back, "file { mode content }").await.ok();
        assert_eq!(back["revertFile"]["file"], json!({ "mode": "FILE", "content": "" }));
    }

    async fn a_stored_link_without_a_target_is_accepted_as_it_was_read(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Links").await;
        let database = server.database();
        let binary = json!({ "path": "nul", "contentBase64": "YQBi" });
        project.write("syncFiles", json!({ "files": [{ "path": "empty", "content": "" }, binary, { "path": "file", "content": "" }] }), "revision").await;
        // An older import could store such links.
        for (table, path) in [("project_files", "file_path"), ("file_snapshots", "path")] {
            let sql = format!("UPDATE {table} SET mode = 2 WHERE {path} IN ('empty', 'nul')");
            assert_eq!(database.execute(&sql).await, 2);
        }
        let revision = project.revision().await;
        let (empty, nul) = (json!({ "path": "empty", "content": "", "mode": "SYMLINK" }), json!({ "path": "nul", "contentBase64": "YQBi", "mode": "SYMLINK" }));
        for link in [&empty, &nul, &json!({ "path": "empty", "content": "" }), &json!({ "path": "empty", "mode": "SYMLINK" })] {
            let written = project.write("updateFile", link.clone(), "revision file { mode }").await;
            assert_eq!(written, json!({ "revision": revision, "file": { "mode": "SYMLINK" } }), "{link}");
            let synced = project.write("syncFiles", json!({ "files": [link] }), "revision unchanged").await;
            assert_eq!(synced, json!({ "revision": revision, "unchanged": 1 }), "{link}");
        }
        let agent = Agent::start(&project.client).await;
        let again = json!({ "projectId": project.id, "path": "empty", "content": "", "expectedVersion": 1 });
        assert_eq!(agent.ok("write_file", again).await["revision"], json!(revision));
        // Beside a change of another file, and with a change of its own, too.
        let files = json!({ "files": [{ "path": "empty", "content": "", "mode": "SYMLINK", "language": "text" }, nul, { "path": "file", "content": "x" }] });
        let synced = project.write("syncFiles", files, "revision unchanged").await;
        assert_eq!(synced, json!({ "revision": revision + 1, "unchanged": 1 }));
        // Other contents without a target are refused.
        for (name, input, field) in [
            ("updateFile", json!({ "path": "nul", "content": "", "mode": "SYMLINK" }), "content"),
            ("updateFile", json!({ "path": "nul", "contentBase64": "" }), "contentBase64"),
            ("updateFile", json!({ "path": "file", "contentBase64": "", "mode": "SYMLINK" }), "contentBase64"),
            ("syncFiles", json!({ "files": [empty, { "path": "nul", "content": "", "mode": "SYMLINK" }] }), "files[1].content"),
            ("syncFiles", json!({ "files": [{ "path": "nul", "contentBase64": "" }] }), "files[0].contentBase64"),
        ] {
            let refused = project.mutate(name, input.clone(), "revision").await;
            assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", field), "{name} {input}");
        }
        assert_eq!(project.revision().await, revision + 1);
    }

    async fn a_stale_write_of_a_link_is_not_merged(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Links").await;
        let (base, here) = ("1\n2\n3\n4\n5\n6\n", "one\n2\n3\n4\n5\n6\n");
        let there = "1\n2\n3\n4\n5\nsix\n";
        for (number, [before, now, sent]) in [
            ["FILE", "SYMLINK", ""],
            ["SYMLINK", "FILE", ""],
            ["SYMLINK", "SYMLINK", ""],
            ["FILE", "FILE", "SYMLINK"],
            ["FILE", "EXECUTABLE", ""],
        ]
        .into_iter()
        .enumerate()
        {
            let path = format!("file{number}");
            project.write("createFile", json!({ "path": path, "content": base, "mode": before }), "revision").await;
            let seen = project.revision().await;
            project.write("updateFile", json!({ "path": path, "content": here, "mode": now }), "revision").await;
            let mut file = json!({ "path": path, "content": there });
            if !sent.is_empty() {
                file["mode"] = json!(sent);
            }
            let sync = json!({ "files": [file], "expectedRevision": seen });
            file["expectedVersion"] = json!(1);
            let stale = project.mutate("updateFile", file, "revision").await;
            assert_eq!(stale.error_code(), "CONFLICT", "{before} {now} {sent}");
            let synced = project.mutate("syncFiles", sync, "revision").await;
            let merges = [&stale.error()["extensions"]["merge"], &synced.error()["extensions"]["files"][0]["merge"]];
            for merge in merges {
                assert_eq!(merge.is_object(), number == 4, "{before} {now} {sent}: {merge}");
            }
        }
    }

    async fn a_sync_without_contents_keeps_them(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Modes").await;
        project.create_file("a", "precious\n").await;
        project.write("createFile", json!({ "path": "folder", "type": "FOLDER" }), "revision").await;
        for file in [json!({ "path": "a", "mode": "EXECUTABLE" }), json!({ "path": "a", "content": null, "mode": "FILE" })] {
            let synced = project.write("syncFiles", json!({ "files": [file], "mode": "MERGE" }), "updated changes { additions deletions file { content mode } }").await;
            let change = json!({ "additions": 0, "deletions": 0, "file": { "content": "precious\n", "mode": file["mode"] } });
            assert_eq!(synced, json!({ "updated": 1, "changes": [change] }) , "{file}");
            project.write("syncFiles", json!({ "files": [{ "path": "folder", "type": "FOLDER" }, { "path": "b", "content": "b" }] }), "revision").await;
        }
        let again = project.write("syncFiles", json!({ "files": [{ "path": "a", "mode": "FILE" }] }), "unchanged revision").await;
        let revision = project.revision().await;
        assert_eq!(again, json!({ "unchanged": 1, "revision": revision }));

        // Without a mode there is nothing to do, and a new file has no contents to keep.
        for file in [
            json!({ "path": "a" }), json!({ "path": "a", "content": null }), json!({ "path": "a", "contentBase64": null, "language": "c" }),
            json!({ "path": "new" }), json!({ "path": "new", "mode": "EXECUTABLE" }), json!({ "path": "folder", "mode": "EXECUTABLE" }),
            json!({ "path": "folder", "mode": "SYMLINK", "type": "FILE" }),
        ] {
            for mode in ["MERGE", "MIRROR"] {
                let input = json!({ "files": [{ "path": "first", "content": "" }, file], "mode": mode });
                let refused = project.mutate("syncFiles", input, "revision").await;
                if (&file["path"], mode) == (&json!("folder"), "MERGE") {
                    assert_eq!(refused.error_code(), "CONFLICT");
                    continue;
                }
                assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", "files[1].content"), "{file}");
                assert_eq!(refused.error()["message"], "Give `content` or `contentBase64`.");
            }
        }
        assert_eq!(project.revision().await, revision);

        // A stale change of a mode names its file.
        let seen = project.revision().await;
        project.write("updateFile", json!({ "path": "a", "mode": "SYMLINK" }), "revision").await;
        let input = json!({ "files": [{ "path": "a", "mode": "EXECUTABLE" }], "expectedRevision": seen });
        let refused = project.mutate("syncFiles", input, "revision").await;
        assert_eq!(refused.error_code(), "CONFLICT");
        assert_eq!(each(&refused.error()["extensions"]["files"], "path"), [json!("a")]);
    }

    async fn modes_follow_every_write(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Modes").await;
        project.write("createFile", json!({ "path": "run.sh", "content": "#!/bin/sh\n", "mode": "EXECUTABLE" }), "revision").await;
        project.write("createFile", json!({ "path": "link", "content": "run.sh", "mode": "SYMLINK" }), "revision").await;
        project.write("createFile", json!({ "path": "folder", "type": "FOLDER" }), "revision").await;
        project.create_file("plain", "1\n").await;
        let start = [("folder", ""), ("link", "SYMLINK"), ("plain", "FILE"), ("run.sh", "EXECUTABLE")];
        assert_eq!(modes(&project).await, expected(&start));
        let then = project.revision().await;

        // A write of contents keeps the mode; a change of the mode alone is a version without line changes.
        project.update_file("run.sh", "#!/bin/sh\nexit\n").await;
        let changed = project.write("updateFile", json!({ "path": "plain", "mode": "EXECUTABLE" }),
            "file { mode version content } change { type additions deletions diff file { mode } }").await;
        assert_eq!(changed["file"], json!({ "mode": "EXECUTABLE", "version": 2, "content": "1\n" }));
        let diff = "diff --git a/plain b/plain\nold mode 100644\nnew mode 100755\n";
        assert_eq!((&changed["change"]["type"], &changed["change"]["diff"]), (&json!("UPDATE"), &json!(diff)));
        let again = project.write("updateFile", json!({ "path": "plain", "mode": "EXECUTABLE" }), "change { id }").await;
        assert_eq!(again["change"], Value::Null);
        let synced = project.write("syncFiles", json!({ "files": [
            { "path": "run.sh", "content": "#!/bin/sh\nexit\n" }, { "path": "plain", "content": "1\n", "mode": "FILE" }] }),
            "updated unchanged").await;
        assert_eq!(synced, json!({ "updated": 1, "unchanged": 1 }));
        project.write("renameFile", json!({ "path": "run.sh", "newPath": "bin/run" }), "revision").await;
        let moved = [("bin/run", "EXECUTABLE"), ("folder", ""), ("link", "SYMLINK"), ("plain", "FILE")];
        assert_eq!(modes(&project).await, expected(&moved));
        let mirrored = project.write("syncFiles", json!({ "mode": "MIRROR", "files": [
            { "path": "sbin/run", "content": "#!/bin/sh\nexit\n" }, { "path": "link", "content": "run.sh" },
            { "path": "plain", "content": "1\n" }] }), "renamed").await;
        assert_eq!(mirrored["renamed"], 1);
        assert_eq!(modes(&project).await, expected(&[("link", "SYMLINK"), ("plain", "FILE"), ("sbin/run", "EXECUTABLE")]));

        // Deleted and undone, reverted, restored.
        for path in ["link", "sbin/run"] {
            project.write("deleteFile", json!({ "path": path }), "revision").await;
        }
        for _ in 0..2 {
            project.write("undo", json!({}), "revision").await;
        }
        assert_eq!(modes(&project).await, expected(&[("link", "SYMLINK"), ("plain", "FILE"), ("sbin/run", "EXECUTABLE")]));
        let restored = project.write("restoreRevision", json!({ "revision": then }), "changes { path }").await;
        assert!(each(&restored["changes"], "path").len() >= 2);
        assert_eq!(modes(&project).await, expected(&start));
        let chmod = project.write("updateFile", json!({ "path": "run.sh", "mode": "FILE" }), "revision file { id version }").await;
        let version = chmod["file"]["version"].as_i64().unwrap();
        let preview = project.ask(&format!("restorePreview(to: {{ revision: {then} }}) {{ diff {{ path type diff }} }}")).await;
        let diff = "diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n";
        assert_eq!(preview["restorePreview"]["diff"], json!([{ "path": "run.sh", "type": "UPDATE", "diff": diff }]));
        let query = "mutation($id: ID!, $version: Int!) { revertFile(input: { fileId: $id, version: $version }) { file { mode } } }";
        let reverted = project.client.gql(query, json!({ "id": chmod["file"]["id"], "version": version - 1 })).await.ok();
        assert_eq!(reverted["revertFile"]["file"]["mode"], "EXECUTABLE");

        // A later edit and an undone mode combine; two mode changes conflict.
        let chmod = project.write("updateFile", json!({ "path": "plain", "mode": "EXECUTABLE" }), "revision").await;
        project.update_file("plain", "2\n").await;
        project.write("undo", json!({ "revision": chmod["revision"] }), "revision").await;
        assert_eq!(project.ask("file(path: \"plain\") { mode content }").await["file"], json!({ "mode": "FILE", "content": "2\n" }));
        let versions = project.ask("file(path: \"plain\") { versions(first: 2) { nodes { mode } } }").await;
        assert_eq!(each(&versions["file"]["versions"]["nodes"], "mode"), ["FILE", "EXECUTABLE"]);
        // A deleted file that is created again is a plain file, and a folder has no mode.
        project.write("deleteFile", json!({ "path": "run.sh" }), "revision").await;
        project.create_file("run.sh", "new\n").await;
        assert_eq!(project.ask("file(path: \"run.sh\") { mode }").await["file"]["mode"], "FILE");
        let answer = project.mutate("createFile", json!({ "path": "f", "type": "FOLDER", "mode": "EXECUTABLE" }), "revision").await;
        assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", "mode"));
        let answer = project.mutate("syncFiles", json!({ "files": [{ "path": "f", "type": "FOLDER", "mode": "FILE" }] }), "revision").await;
        assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", "files[0].mode"));
    }
}

tests::on_both! {
    async fn text_in_other_encodings_is_shown_and_its_bytes_are_kept(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Encodings").await;
        let session = project.start_session().await;
        let (one, two) = (project.add_message(&session, "One", true).await, project.add_message(&session, "Two", true).await);
        // "größe\n" and "größe\nzwei\n" as UTF-16 with a byte order mark, and "# coding: latin-1\nö\n" with and without
        // another umlaut.
        for (path, first, second, before, after) in [
            ("utf16", "//5nAHIA9gDfAGUACgA=", "//5nAHIA9gDfAGUACgB6AHcAZQBpAAoA", "größe\n", "größe\nzwei\n"),
            ("latin.py", "IyBjb2Rpbmc6IGxhdGluLTEK9go=", "IyBjb2Rpbmc6IGxhdGluLTEK9gr8Cg==", "# coding: latin-1\nö\n", "# coding: latin-1\nö\nü\n"),
        ] {
            let made = json!({ "path": path, "contentBase64": first, "messageId": one });
            project.write("createFile", made, "revision").await;
            let changed = json!({ "path": path, "contentBase64": second, "messageId": two });
            let select = "file { content contentBase64 blame { startLine message { content } } }
                change { oldContent newContent diff additions deletions lineChanges }";
            let changed = project.write("updateFile", changed, select).await;
            assert_eq!((&changed["file"]["content"], &changed["file"]["contentBase64"]), (&json!(after), &json!(second)));
            let blame: Vec<Value> = each(&changed["file"]["blame"], "message").iter().map(|message| message["content"].clone()).collect();
            assert_eq!(blame, ["One", "Two"]);
            let change = &changed["change"];
            assert_eq!((&change["oldContent"], &change["newContent"]), (&json!(before), &json!(after)));
            assert_eq!((&change["additions"], &change["deletions"]), (&json!(1), &json!(0)));
            let diff = text(&change["diff"]);
            assert!(diff.ends_with(&format!("\n+{}", after.strip_prefix(before).unwrap())), "{change}");
            let coding = if path == "utf16" { "UTF-16LE" } else { "windows-1252" };
            let note = format!("Shown in UTF-8, and no patch of the bytes: encoding {coding}\ndiff --git ");
            assert!(diff.starts_with(&note), "{diff}");
        }
        // A stale write says what a merge gives, as bytes of the same encoding.
        let utf_16 = |text: &str| {
            use base64::Engine as _;
            let bytes: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
            base64::engine::general_purpose::STANDARD.encode(bytes)
        };
        let stale = json!({ "path": "utf16", "contentBase64": utf_16("grösse\n"), "expectedVersion": 1 });
        let answer = project.mutate("updateFile", stale, "revision").await;
        assert_eq!(answer.error_code(), "CONFLICT");
        let marked = "<<<<<<< ours\ngröße\nzwei\n||||||| original\ngröße\n=======\ngrösse\n>>>>>>> theirs\n";
        let merge = json!({ "clean": false, "content": marked, "encoding": "UTF-16LE", "contentBase64": utf_16(marked) });
        assert_eq!(answer.error()["extensions"]["merge"], merge);
        project.write("createFile", json!({ "path": "wide", "contentBase64": utf_16("a\nb\nö\n") }), "revision").await;
        project.write("updateFile", json!({ "path": "wide", "contentBase64": utf_16("A\nb\nö\n") }), "revision").await;
        let stale = json!({ "path": "wide", "contentBase64": utf_16("a\nb\nÖ\n"), "expectedVersion": 1 });
        let answer = project.mutate("updateFile", stale, "revision").await;
        let merge = json!({ "clean": true, "content": "A\nb\nÖ\n", "encoding": "UTF-16LE", "contentBase64": utf_16("A\nb\nÖ\n") });
        assert_eq!(answer.error()["extensions"]["merge"], merge);
        // And an undo keeps what was changed since in other lines.
        let changed = project.write("updateFile", json!({ "path": "wide", "contentBase64": utf_16("A\nb\nÖ\n") }), "revision").await;
        project.write("undo", json!({ "revision": number(&changed["revision"]) - 1 }), "revision").await;
        assert_eq!(project.ask("file(path: \"wide\") { contentBase64 }").await["file"]["contentBase64"], utf_16("a\nb\nÖ\n"));
        // Bytes without a declared encoding are no text, and UTF-32 ("g\n" in both byte orders) is not decoded.
        for (path, bytes) in [("bytes", "9go="), ("utf32le", "//4AAGcAAAAKAAAA"), ("utf32be", "AAD+/wAAAGcAAAAK")] {
            let made = json!({ "path": path, "contentBase64": bytes });
            let made = project.write("createFile", made, "file { content contentBase64 } change { diff }").await;
            let file = json!({ "content": null, "contentBase64": bytes });
            assert_eq!(made, json!({ "file": file, "change": { "diff": null } }), "{path}");
        }
    }
}

/// Applies a patch to the files in a folder.
fn apply(program: &str, folder: &Path, patch: &str) {
    let file = folder.with_extension("patch");
    std::fs::write(&file, patch).unwrap();
    let arguments: &[&str] =
        if program == "git" { &["apply", "--whitespace=nowarn"] } else { &["-p1", "--binary", "-s"] };
    let command = Command::new(program)
        .args(arguments)
        .env("GIT_CEILING_DIRECTORIES", "/")
        .current_dir(folder)
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    let said = [command.stdout, command.stderr].concat();
    assert!(command.status.success(), "{program}: {patch}{}", String::from_utf8_lossy(&said));
}

fn tree(folder: &Path, prefix: &str, found: &mut Vec<Value>) {
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            tree(&entry.path(), &format!("{name}/"), found);
        } else if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).unwrap();
            found.push(json!({ "path": name, "mode": "SYMLINK", "content": target.to_str().unwrap() }));
        } else {
            let mode = if entry.metadata().unwrap().permissions().mode() & 0o100 == 0 { "FILE" } else { "EXECUTABLE" };
            found
                .push(json!({ "path": name, "mode": mode, "content": std::fs::read_to_string(entry.path()).unwrap() }));
        }
    }
    found.sort_by_key(|file| text(&file["path"]));
}

tests::on_both! {
    async fn every_diff_is_a_patch(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Patches").await;
        let mut random = tests::workload::Random(7);
        let places = ["a", "b c", "d/\"e\"", "d/f", "größe", "-g", "h\\i"];
        let root = tempfile(&server);
        for step in 0..60 {
            let (path, other) = (places[random.below(places.len())], places[random.below(places.len())]);
            let body: String = (0..random.below(6)).map(|_| format!("line {}\n", random.below(4))).collect();
            let body = if random.below(4) == 0 { body.trim_end().to_owned() } else { body };
            let mode = ["FILE", "EXECUTABLE", "SYMLINK"][random.below(3)];
            let content = if mode == "SYMLINK" { "target".to_owned() } else { body.clone() };
            let (name, input) = match random.below(7) {
                0..=1 => ("createFile", json!({ "path": path, "content": content, "mode": mode })),
                2 => ("updateFile", json!({ "path": path, "content": body, "mode": "FILE" })),
                3 => ("updateFile", json!({ "path": path, "mode": if mode == "SYMLINK" { "FILE" } else { mode } })),
                4 => ("deleteFile", json!({ "path": path })),
                5 => ("undo", json!({})),
                _ => ("renameFile", json!({ "path": path, "newPath": other })),
            };
            let before = project.revision().await;
            project.mutate(name, input.clone(), "revision").await;
            let after = project.revision().await;
            let shown = project.ask(&format!("diff(from: {before}, to: {after}) {{ diff }} events(afterRevision: {before}) {{ changes {{ diff }} }}
                then: files(at: {before}) {{ nodes {{ path mode content }} }} now: files(at: {after}) {{ nodes {{ path mode content }} }}")).await;
            let diffs: String = each(&shown["diff"], "diff").iter().map(text).collect();
            if after > before {
                let of_changes: String = each(&shown["events"][0]["changes"], "diff").iter().map(text).collect();
                assert_eq!(of_changes.is_empty(), diffs.is_empty(), "{name} {input}");
            }
            for program in ["git", "patch"] {
                let folder = root.join(format!("{step}-{program}"));
                std::fs::create_dir_all(&folder).unwrap();
                for file in shown["then"]["nodes"].as_array().unwrap() {
                    put(&folder, file);
                }
                if !diffs.is_empty() {
                    apply(program, &folder, &diffs);
                }
                let mut found = Vec::new();
                tree(&folder, "", &mut found);
                let mut expected = shown["now"]["nodes"].as_array().unwrap().clone();
                expected.sort_by_key(|file| text(&file["path"]));
                assert_eq!(found, expected, "{program} {name} {input}: {diffs}");
            }
        }
        std::fs::remove_dir_all(root).unwrap();
    }
}

/// A step of a history with swaps, circles, and folders in place of files; all are files, or all are links.
async fn shuffle(random: &mut tests::workload::Random, project: &Project, are_links: bool) {
    let places = ["a", "b", "c", "a/x", "b/x", "d"];
    let place = |random: &mut tests::workload::Random| places[random.below(places.len())];
    let rename = async |path: &str, new_path: &str| {
        project.mutate("renameFile", json!({ "path": path, "newPath": new_path }), "revision").await;
    };
    let (path, other) = (place(random), place(random));
    match random.below(7) {
        0..=1 => {
            let (mode, content) = if are_links {
                ("SYMLINK", format!("to-{}", random.below(9)))
            } else {
                ("FILE", format!("{}\n1\n2\n3\n4\n", random.below(9)))
            };
            let deletes: Vec<&str> = places
                .into_iter()
                .filter(|place| place.starts_with(&format!("{path}/")) || path.starts_with(&format!("{place}/")))
                .collect();
            let file = json!({ "path": path, "content": content, "mode": mode });
            project.mutate("syncFiles", json!({ "files": [file], "deletes": deletes }), "revision").await;
        }
        2 => drop(project.mutate("deleteFile", json!({ "path": path }), "revision").await),
        3 => rename(path, other).await,
        4 => {
            rename(path, "t").await;
            rename(other, path).await;
            rename("t", other).await;
        }
        5 => {
            rename("a", "t").await;
            rename("b", "a").await;
            rename("c", "b").await;
            rename("t", "c").await;
        }
        _ => drop(project.mutate("undo", json!({}), "revision").await),
    }
}

tests::on_both! {
    async fn all_diffs_together_are_a_patch(server: Server) {
        let root = tempfile(&server).with_extension("sets");
        for seed in 1..=40 {
            let mut random = tests::workload::Random(seed);
            let project = Project::create(&server.user("ada@example.com"), "Sets").await;
            for path in ["a", "b", "c"] {
                let (mode, content) = if seed % 2 == 0 { ("SYMLINK", format!("to-{path}")) } else { ("FILE", format!("{path}\n1\n2\n3\n4\n5\n")) };
                project.write("createFile", json!({ "path": path, "content": content, "mode": mode }), "revision").await;
            }
            let before = project.revision().await;
            for _ in 0..=random.below(6) {
                shuffle(&mut random, &project, seed % 2 == 0).await;
            }
            let after = project.revision().await;
            let shown = project.ask(&format!("diff(from: {before}, to: {after}) {{ diff }} back: diff(from: {after}, to: {before}) {{ diff }}
                then: files(at: {before}) {{ nodes {{ path mode content }} }} now: files(at: {after}) {{ nodes {{ path mode content }} }}")).await;
            for (diff, from, to) in [("diff", "then", "now"), ("back", "now", "then")] {
                let folder = root.join(format!("{seed}-{diff}"));
                std::fs::create_dir_all(&folder).unwrap();
                for file in shown[from]["nodes"].as_array().unwrap() {
                    put(&folder, file);
                }
                let diffs: String = each(&shown[diff], "diff").iter().map(text).collect();
                if !diffs.is_empty() {
                    apply("git", &folder, &diffs);
                }
                let mut found = Vec::new();
                tree(&folder, "", &mut found);
                let mut expected = shown[to]["nodes"].as_array().unwrap().clone();
                expected.sort_by_key(|file| text(&file["path"]));
                assert_eq!(found, expected, "seed {seed}: {diffs}");
            }
        }
        std::fs::remove_dir_all(root).unwrap();
    }
}

fn tempfile(server: &Server) -> std::path::PathBuf {
    let kind = format!("{:?}", server.database().kind());
    std::env::temp_dir().join(format!("antiphon-patches-{kind}-{}", std::process::id()))
}

fn put(folder: &Path, file: &Value) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(text(&file["path"]));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    if file["mode"] == "SYMLINK" {
        std::os::unix::fs::symlink(text(&file["content"]), &path).unwrap();
        return;
    }
    std::fs::write(&path, text(&file["content"])).unwrap();
    let bits = if file["mode"] == "EXECUTABLE" { 0o755 } else { 0o644 };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).unwrap();
}

/// Unpacks an archive by a program of others.
fn unpack(archive: &Path, to: &Path) -> String {
    std::fs::create_dir_all(to).unwrap();
    // Python's own unpacking drops modes and links, so that this does what `unzip` does with them.
    let program = "import os, sys, zipfile
archive, to = zipfile.ZipFile(sys.argv[1]), sys.argv[2]
assert archive.testzip() is None
for entry in archive.infolist():
    mode, path = entry.external_attr >> 16, os.path.join(to, entry.filename)
    if mode & 0o170000 == 0o120000:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(archive.read(entry).decode(), path)
    else:
        archive.extract(entry, to)
        os.chmod(path, mode & 0o777)
";
    let (archive, folder) = (archive.to_str().unwrap(), to.to_str().unwrap());
    let unzip = Command::new("unzip").args(["-q", archive, "-d", folder]).output();
    let unpacked = match unzip {
        Ok(unpacked) => unpacked,
        Err(_) => Command::new("python3").args(["-c", program, archive, folder]).output().unwrap(),
    };
    String::from_utf8_lossy(&[unpacked.stdout, unpacked.stderr].concat()).into_owned()
}

tests::on_both! {
    async fn other_programs_unpack_an_archive_with_links(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Archive").await;
        let files = json!([
            { "path": "bin/run", "content": "#!/bin/sh\n", "mode": "EXECUTABLE" },
            { "path": "bin/again", "content": "run", "mode": "SYMLINK" },
            { "path": "größe", "content": "bin/run", "mode": "SYMLINK" },
            { "path": "up/down", "content": "../plain", "mode": "SYMLINK" },
            { "path": "plain", "content": "1\n" },
        ]);
        project.write("syncFiles", json!({ "files": files }), "revision").await;
        let folder = crate::import_export::Folder::new();
        let to = folder.path("a.zip");
        crate::import_export::export(server.database(), &project.id, &["--to", to.to_str().unwrap()]).await.unwrap();
        let unpacked = folder.path("unpacked");
        assert_eq!(unpack(&to, &unpacked), "");
        let mut found = Vec::new();
        tree(&unpacked, "", &mut found);
        let expected = project.ask("files { nodes { path mode content } }").await["files"]["nodes"].take();
        assert_eq!(json!(found), expected);
    }
}
