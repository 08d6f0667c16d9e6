//! Given an import whose files were edited here, when the repository is imported again, then both sides come together by a merge
//! whose base is the last import, and what cannot is named and stays as it is here.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink};

use serde_json::json;
use tests::{
    database::Database,
    project::{Project, text},
    server::Server,
};

use crate::import_export::{Folder, Repository, assert_sound, export, owner, try_import};

/// A project that was imported from a repository with these files, and a server at it.
struct Imported {
    database: Database,
    repository: Repository,
    project: Project,
    server: Server,
    _folder: Folder,
}

const LINES: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";

fn line(n: usize, text: &str) -> String {
    LINES.replace(&format!("{n}\n"), &format!("{text}\n"))
}

impl Imported {
    async fn new(database: Database, files: &[(&str, &[u8])]) -> Self {
        let folder = Folder::new();
        let repository = Repository::init(folder.path("original"));
        for (path, content) in files {
            repository.write(path, content);
        }
        repository.commit("First");
        let (imported, _) = try_import(&database, &repository.0, "ide", &[]).await.unwrap();
        let server = Server::start(&database).await;
        let project = Project { client: owner(&server).await, id: imported.project.0.to_string() };
        Self { database, repository, project, server, _folder: folder }
    }

    /// Imports what is new; returns what was named.
    async fn again(&self) -> Vec<String> {
        let (imported, named) = try_import(&self.database, &self.repository.0, "ide", &[]).await.unwrap();
        assert_eq!((imported.kept, imported.left), (named.len(), 0));
        assert_sound(&self.database).await;
        named
    }

    async fn files(&self) -> BTreeMap<String, String> {
        self.project.contents().await.into_iter().collect()
    }

    async fn rename(&self, from: &str, to: &str) {
        self.project.write("renameFile", json!({ "path": from, "newPath": to }), "revision").await;
    }

    async fn delete(&self, path: &str) {
        self.project.write("deleteFile", json!({ "path": path }), "revision").await;
    }
}

fn map(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

tests::on_both! {
    async fn edits_in_other_lines_come_together(database: Database) {
        let both = Imported::new(database, &[("a", LINES.as_bytes()), ("b", LINES.as_bytes()), ("c", b"c\n")]).await;
        both.project.update_file("a", &line(1, "here")).await;
        both.project.create_file("new", "new\n").await;
        both.repository.write("a", line(9, "there")).write("b", line(5, "there")).commit("Second");
        assert_eq!(both.again().await, [""; 0]);
        let merged = line(1, "here").replace("9\n", "there\n");
        let expected = map(&[("a", &merged), ("b", &line(5, "there")), ("c", "c\n"), ("new", "new\n")]);
        assert_eq!(both.files().await, expected);
        // Nothing is left to do, and the next commit finds its base.
        assert_eq!(both.again().await, [""; 0]);
        both.repository.write("a", line(9, "there").replace("5\n", "again\n")).commit("Third");
        assert_eq!(both.again().await, [""; 0]);
        assert_eq!(both.files().await["a"], merged.replace("5\n", "again\n"));
        both.server.stop().await;
    }

    async fn a_file_that_was_moved_on_both_sides_stays_one_file(database: Database) {
        let both = Imported::new(database, &[("a", LINES.as_bytes())]).await;
        both.rename("a", "b").await;
        both.repository.git(&["mv", "a", "c"]);
        both.repository.commit("Second");
        assert_eq!(both.again().await, ["b: It is moved here, and there to \"c\"."]);
        assert_eq!(both.files().await, map(&[("b", LINES)]));
        // A later import follows the file that is at another path there.
        both.repository.write("c", line(9, "there")).commit("Third");
        assert_eq!(both.again().await, [""; 0]);
        assert_eq!(both.files().await, map(&[("b", &line(9, "there"))]));
        both.project.update_file("b", &line(9, "there").replace("1\n", "here\n")).await;
        both.repository.write("c", line(9, "there").replace("5\n", "again\n")).commit("Fourth");
        assert_eq!(both.again().await, [""; 0]);
        let merged = line(9, "there").replace("1\n", "here\n").replace("5\n", "again\n");
        assert_eq!(both.files().await, map(&[("b", &merged)]));
        // Wherever it moves there.
        both.repository.git(&["mv", "c", "d"]);
        both.repository.commit("Fifth");
        assert_eq!(both.again().await, ["b: It is moved here, and there to \"d\"."]);
        both.repository.write("d", line(9, "there").replace("5\n", "at d\n")).write("c", "new\n").commit("Sixth");
        assert_eq!(both.again().await, [""; 0]);
        let merged = merged.replace("again\n", "at d\n");
        assert_eq!(both.files().await, map(&[("b", &merged), ("c", "new\n")]));
        both.repository.git(&["rm", "-q", "c", "d"]);
        both.repository.commit("Seventh");
        assert_eq!(both.again().await, ["b: It is changed here and deleted there."]);
        assert_eq!(both.files().await, map(&[("b", &merged)]));
        both.server.stop().await;
    }

    async fn a_file_that_is_kept_is_followed_where_it_is_there(database: Database) {
        let content = |path: &str, first: &str| {
            let rest: String = (2..=12).map(|number| format!("{number} of {path}\n")).collect();
            format!("{first}\n{rest}")
        };
        let files = ["edited", "gone"].map(|path| (path, content(path, "1")));
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
        let imported = Imported::new(database, &files).await;
        imported.project.update_file("edited", &content("edited", "here")).await;
        imported.delete("gone").await;
        let repository = &imported.repository;
        repository.git(&["mv", "edited", "away"]);
        repository.git(&["mv", "gone", "elsewhere"]);
        repository.write("away", content("edited", "there")).commit("Second");
        let mut named = imported.again().await;
        named.sort();
        assert_eq!(named, ["edited: It is changed here and there in the same lines.", "elsewhere: It is deleted here and changed there."]);
        let end = |text: String| text.replace("12 of", "twelve of");
        repository.write("away", end(content("edited", "there"))).write("elsewhere", content("gone", "there")).commit("Third");
        assert_eq!(imported.again().await, ["elsewhere: It is deleted here and changed there."]);
        assert_eq!(imported.files().await, map(&[("edited", &end(content("edited", "here")))]));
        imported.server.stop().await;
    }

    async fn edits_in_the_same_lines_stay_and_are_named(database: Database) {
        let both = Imported::new(database, &[("a", LINES.as_bytes()), ("b", b"b\n")]).await;
        both.project.update_file("a", &line(5, "here")).await;
        both.repository.write("a", line(5, "there")).write("b", "B\n").commit("Second");
        let named = both.again().await;
        assert_eq!(named, ["a: It is changed here and there in the same lines."]);
        assert_eq!(both.files().await, map(&[("a", &line(5, "here")), ("b", "B\n")]));
        // Once is enough, whether or not the commit changed anything else.
        assert_eq!(both.again().await, [""; 0]);
        both.repository.write("a", line(5, "there too")).commit("Third");
        assert_eq!(both.again().await.len(), 1);
        let messages = "sessions { nodes { messages(first: 50) { totalCount } } }";
        let before = both.project.ask(messages).await;
        assert_eq!(both.again().await, [""; 0]);
        assert_eq!(both.project.ask(messages).await, before);
        assert_eq!(both.files().await["a"], line(5, "here"));
        // The same on both sides is no conflict.
        both.project.update_file("a", &line(5, "both")).await;
        both.repository.write("a", line(5, "both")).commit("Fourth");
        assert_eq!(both.again().await, [""; 0]);
        assert_eq!(both.files().await["a"], line(5, "both"));
        both.server.stop().await;
    }

    async fn a_conflict_keeps_the_whole_file(database: Database) {
        // Each has lines of its own, so that git recognizes the moved ones.
        let content = |path: &str, first: &str| {
            let rest: String = (2..=12).map(|number| format!("{number} of {path}\n")).collect();
            format!("{first}\n{rest}")
        };
        let paths = ["executable", "moved", "both", "here"];
        let files = paths.map(|path| (path, content(path, "1")));
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
        let imported = Imported::new(database, &files).await;
        // Given an own edit of a line that the commit changes too, with the mode, the path, or both.
        for path in ["executable", "moved", "both"] {
            imported.project.update_file(path, &content(path, "here")).await;
        }
        // And a file that is moved on both sides, and changed there.
        imported.rename("here", "elsewhere").await;
        let repository = &imported.repository;
        for (from, to) in [("moved", "away"), ("both", "gone"), ("here", "there")] {
            repository.git(&["mv", from, to]);
        }
        for (path, from) in [("executable", "executable"), ("away", "moved"), ("gone", "both"), ("there", "here")] {
            repository.write(path, content(from, "there"));
        }
        repository.git(&["add", "--all"]);
        repository.git(&["update-index", "--chmod=+x", "executable", "gone"]);
        repository.git(&["commit", "-q", "-m", "Second"]);
        let mut named = imported.again().await;
        named.sort();
        let lines_conflict = |path: &str| format!("{path}: It is changed here and there in the same lines.");
        let moved = "elsewhere: It is moved here, and there to \"there\".".to_owned();
        assert_eq!(named, [lines_conflict("both"), moved, lines_conflict("executable"), lines_conflict("moved")]);
        let mut expected: BTreeMap<String, String> = ["executable", "moved", "both"]
            .map(|path| (path.to_owned(), content(path, "here")))
            .into();
        expected.insert("elsewhere".to_owned(), content("here", "1"));
        assert_eq!(imported.files().await, expected);
        let modes = imported.project.ask("files(first: 50) { nodes { mode } }").await;
        assert!(modes["files"]["nodes"].as_array().unwrap().iter().all(|file| file["mode"] == "FILE"), "{modes}");
        assert_eq!(imported.again().await, [""; 0]);
        imported.server.stop().await;
    }

    async fn a_link_without_a_target_is_left_out(database: Database) {
        let imported = Imported::new(database, &[("a", b"a\n"), ("b", b"b\n")]).await;
        let repository = &imported.repository;
        repository.write("target", "");
        let object = repository.git(&["hash-object", "-w", "target"]);
        repository.remove("target").write("b", "B\n");
        repository.git(&["add", "--all"]);
        repository.git(&["update-index", "--add", "--cacheinfo", &format!("120000,{object},l")]);
        repository.git(&["commit", "-q", "-m", "A link to nothing"]);
        let (done, named) = try_import(&imported.database, &repository.0, "ide", &[]).await.unwrap();
        assert_eq!((done.commits, done.skipped, done.kept), (1, 1, 0));
        assert!(named[0].starts_with("l: ") && named[0].contains("symbolic link"), "{named:?}");
        assert_eq!(imported.files().await, map(&[("a", "a\n"), ("b", "B\n")]));
        imported.server.stop().await;
    }

    async fn a_file_renamed_here_is_there_once(database: Database) {
        let both = Imported::new(database, &[("a", LINES.as_bytes()), ("b", b"b\n"), ("c", b"c\n")]).await;
        both.rename("a", "src/a").await;
        both.rename("b", "src/b").await;
        both.repository.write("a", line(9, "there")).commit("Second");
        assert_eq!(both.again().await, [""; 0]);
        assert_eq!(both.files().await, map(&[("src/a", &line(9, "there")), ("src/b", "b\n"), ("c", "c\n")]));
        // And again, across runs; with an edit of its own; deleted there.
        both.project.update_file("src/a", &line(9, "there").replace("1\n", "here\n")).await;
        both.repository.write("a", line(9, "there").replace("5\n", "five\n"));
        both.repository.git(&["rm", "-q", "b"]);
        both.repository.commit("Third");
        assert_eq!(both.again().await, ["src/b: It is changed here and deleted there."]);
        let merged = "here\n2\n3\n4\nfive\n6\n7\n8\nthere\n";
        assert_eq!(both.files().await, map(&[("src/a", merged), ("src/b", "b\n"), ("c", "c\n")]));
        // A new file at the old path is another file.
        both.repository.write("b", "another\n").commit("Fourth");
        assert_eq!(both.again().await, [""; 0]);
        assert_eq!(both.files().await["b"], "another\n");
        assert_eq!(both.files().await["src/b"], "b\n");
        // And stays another one in the next run.
        both.repository.write("b", "more\n").commit("Fifth");
        assert_eq!(both.again().await, [""; 0]);
        assert_eq!(both.files().await["b"], "more\n");
        assert_eq!(both.files().await["src/b"], "b\n");
        both.server.stop().await;
    }

    async fn an_edit_for_a_message_that_names_a_commit_is_an_edit(database: Database) {
        let both = Imported::new(database, &[("a", LINES.as_bytes())]).await;
        let session = both.project.start_session().await;
        let input = json!({ "sessionId": session, "role": "ASSISTANT", "content": "Done", "metadata": { "commit": "abc" } });
        let added = both.project.client.mutate("addMessage", input, "message { id }").await.ok();
        let edit = json!({ "path": "a", "content": line(1, "here"), "messageId": added["addMessage"]["message"]["id"] });
        both.project.write("updateFile", edit, "revision").await;
        both.repository.write("a", line(9, "there")).commit("Second");
        assert_eq!(both.again().await, [""; 0]);
        assert_eq!(both.files().await["a"], line(1, "here").replace("9\n", "there\n"));
        both.server.stop().await;
    }

    async fn a_file_renamed_there_takes_the_edit_along(database: Database) {
        let both = Imported::new(database, &[("a", LINES.as_bytes()), ("b", b"b\nb\nb\n"), ("c", b"c\nc\nc\n")]).await;
        both.project.update_file("a", &line(1, "here")).await;
        both.rename("c", "here").await;
        both.rename("b", "both").await;
        both.repository.git(&["mv", "a", "moved"]);
        both.repository.write("moved", line(9, "there"));
        both.repository.git(&["mv", "c", "there"]);
        both.repository.git(&["mv", "b", "both"]);
        both.repository.commit("Second");
        assert_eq!(both.again().await, ["here: It is moved here, and there to \"there\"."]);
        let merged = line(1, "here").replace("9\n", "there\n");
        assert_eq!(both.files().await, map(&[("moved", &merged), ("here", "c\nc\nc\n"), ("both", "b\nb\nb\n")]));
        let query = "file(path: \"moved\") { versions { nodes { path } } }";
        let versions = both.project.ask(query).await;
        assert_eq!(text(&versions["file"]["versions"]["nodes"][1]["path"]), "a");
        both.server.stop().await;
    }

    async fn deletions_on_one_side_and_changes_on_the_other_are_named(database: Database) {
        let both = Imported::new(database, &[("a", b"a\n"), ("b", b"b\n"), ("c", b"c\n"), ("d", b"d\n"), ("e", b"e\n")]).await;
        both.delete("a").await;
        both.delete("b").await;
        both.project.update_file("c", "C\n").await;
        both.repository.write("a", "A\n");
        both.repository.git(&["rm", "-q", "b", "c", "d"]);
        both.repository.commit("Second");
        let named = both.again().await;
        assert_eq!(named, ["a: It is deleted here and changed there.", "c: It is changed here and deleted there."]);
        assert_eq!(both.files().await, map(&[("c", "C\n"), ("e", "e\n")]));
        both.server.stop().await;
    }

    async fn what_is_added_on_both_sides_stays_as_it_is_here(database: Database) {
        let both = Imported::new(database, &[("a", b"a\n")]).await;
        for (path, content) in [("same", "same\n"), ("other", "here\n"), ("folder/x", "x\n"), ("file", "file\n")] {
            both.project.create_file(path, content).await;
        }
        both.repository.write("same", "same\n").write("other", "there\n").write("folder", "no folder\n");
        both.repository.write("file/y", "y\n").write("fine", "fine\n").commit("Second");
        let mut named = both.again().await;
        named.sort();
        assert_eq!(named, ["file/y: \"file\" is a file here.", "folder: It is a folder here.", "other: There is another file here."]);
        let expected = map(&[("a", "a\n"), ("same", "same\n"), ("other", "here\n"), ("folder/x", "x\n"), ("file", "file\n"), ("fine", "fine\n")]);
        assert_eq!(both.files().await, expected);
        assert_eq!(both.again().await, [""; 0]);
        both.server.stop().await;
    }

    async fn bytes_modes_and_codings(database: Database) {
        let utf_16 = |text: &str| -> Vec<u8> {
            std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
        };
        let files: &[(&str, &[u8])] = &[("bytes", b"\0\xff1"), ("kept", b"\0\xff1"), ("run", b"run\n"), ("here", b"here\n"), ("wide", &utf_16("a\nb\nc\n"))];
        let both = Imported::new(database, files).await;
        let project = &both.project;
        let base64 = |bytes: &[u8]| { use base64::Engine as _; base64::engine::general_purpose::STANDARD.encode(bytes) };
        project.write("updateFile", json!({ "path": "bytes", "contentBase64": base64(b"\0\xff2") }), "revision").await;
        project.write("updateFile", json!({ "path": "wide", "contentBase64": base64(&utf_16("A\nb\nc\n")) }), "revision").await;
        project.update_file("run", "changed\n").await;
        project.write("updateFile", json!({ "path": "here", "mode": "EXECUTABLE" }), "revision").await;
        both.repository.write("bytes", b"\0\xff3").write("kept", b"\0\xff4").write("wide", utf_16("a\nb\nC\n")).write("here", "there\n");
        both.repository.git(&["add", "."]);
        both.repository.git(&["update-index", "--chmod=+x", "run"]);
        both.repository.git(&["commit", "-q", "-m", "Second"]);
        assert_eq!(both.again().await, ["bytes: It is changed here and there, and is not text, so it cannot be merged."]);
        let query = "files(first: 50) { nodes { path mode content contentBase64 } }";
        let read = project.ask(query).await;
        let of = |path: &str| read["files"]["nodes"].as_array().unwrap().iter().find(|file| file["path"] == path).unwrap().clone();
        assert_eq!(of("bytes")["contentBase64"], base64(b"\0\xff2"));
        assert_eq!(of("kept")["contentBase64"], base64(b"\0\xff4"));
        assert_eq!(of("wide")["contentBase64"], base64(&utf_16("A\nb\nC\n")));
        assert_eq!((&of("run")["mode"], &of("run")["content"]), (&json!("EXECUTABLE"), &json!("changed\n")));
        assert_eq!((&of("here")["mode"], &of("here")["content"]), (&json!("EXECUTABLE"), &json!("there\n")));
        both.server.stop().await;
    }

    async fn the_mode_and_the_target_of_a_link_stay_together(database: Database) {
        let imported = Imported::new(database, &[("edited", LINES.as_bytes()), ("executable", LINES.as_bytes()), ("there", LINES.as_bytes()), ("b", b"b\n")]).await;
        let project = &imported.project;
        project.update_file("edited", &line(5, "Five")).await;
        project.write("updateFile", json!({ "path": "executable", "mode": "EXECUTABLE" }), "revision").await;
        for path in ["edited", "executable", "there"] {
            fs::remove_file(imported.repository.0.join(path)).unwrap();
            symlink("b", imported.repository.0.join(path)).unwrap();
        }
        imported.repository.commit("Links");
        let named = imported.again().await;
        assert_eq!(named.len(), 2, "{named:?}");
        assert!(named.iter().all(|named| named.contains("symbolic link")), "{named:?}");
        let file = async |path: &str| project.ask(&format!("file(path: \"{path}\") {{ mode content }}")).await["file"].take();
        assert_eq!(file("edited").await, json!({ "mode": "FILE", "content": line(5, "Five") }));
        assert_eq!(file("executable").await, json!({ "mode": "EXECUTABLE", "content": LINES }));
        assert_eq!(file("there").await, json!({ "mode": "SYMLINK", "content": "b" }));

        // A link with another target here that becomes a file there.
        project.update_file("there", "elsewhere").await;
        fs::remove_file(imported.repository.0.join("there")).unwrap();
        imported.repository.write("there", LINES.as_bytes());
        imported.repository.commit("A file again");
        assert_eq!(imported.again().await.len(), 1);
        assert_eq!(file("there").await, json!({ "mode": "SYMLINK", "content": "elsewhere" }));
    }

    async fn a_commit_that_is_only_a_conflict_is_imported_once(database: Database) {
        let imported = Imported::new(database, &[("a", b"a\n"), ("b", b"b\n")]).await;
        imported.project.create_file("q", "mine\n").await;
        imported.repository.git(&["mv", "a", "q"]);
        imported.repository.commit("Only a rename");
        assert_eq!(imported.again().await.len(), 1);
        let revision = imported.project.revision().await;
        assert_eq!(imported.again().await, [""; 0]);
        assert_eq!(imported.project.revision().await, revision);
        assert_eq!(imported.files().await, map(&[("a", "a\n"), ("b", "b\n"), ("q", "mine\n")]));
    }

    async fn what_was_restored_here_is_an_edit_too(database: Database) {
        let both = Imported::new(database, &[("a", LINES.as_bytes()), ("b", b"b\n")]).await;
        both.project.update_file("a", &line(2, "here")).await;
        both.project.write("undo", json!({}), "revision").await;
        both.repository.write("a", line(9, "there")).commit("Second");
        assert_eq!(both.again().await, [""; 0]);
        assert_eq!(both.files().await["a"], line(9, "there"));
        let to = both._folder.path("exported");
        export(&both.database, &both.project.id, &["--git", to.to_str().unwrap()]).await.unwrap();
        assert_eq!(fs::read_to_string(to.join("a")).unwrap(), line(9, "there"));
        both.server.stop().await;
    }
}
