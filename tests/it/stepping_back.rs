//! Given changes of files, when they are undone one after the other, all of one message at once, or redone, then states
//! are compared, later edits elsewhere are kept, and the log states which revision undoes which.

use serde_json::{Value, json};
use tests::{
    client::Response,
    project::{Project, each, number, text, with},
    server::Server,
    workload::sha256,
};

async fn undo(project: &Project, input: Value) -> Value {
    project.write("undo", input, "revision changes { type path oldPath revision undoes undoneBy }").await
}

async fn redo(project: &Project) -> Value {
    project.write("redo", json!({}), "revision changes { path }").await
}

async fn refused(project: &Project, name: &str, input: Value, code: &str) -> Response {
    let before = project.state().await;
    let answer = project.mutate(name, input, "revision").await;
    assert_eq!(answer.error_code(), code, "{answer:?}");
    assert_eq!(project.state().await, before);
    answer
}

async fn sync(project: &Project, files: &[(&str, &str)], more: Value) -> i64 {
    let files: Vec<Value> = files.iter().map(|(path, text)| json!({ "path": path, "content": text })).collect();
    let mut input = json!({ "files": files });
    for (name, value) in more.as_object().unwrap() {
        input[name] = value.clone();
    }
    number(&project.write("syncFiles", input, "revision").await["revision"])
}

async fn content(project: &Project, path: &str) -> Option<String> {
    let query = "query($id: ID!, $path: String!) { project(id: $id) { file(path: $path) { content } } }";
    let data = project.client.gql(query, json!({ "id": project.id, "path": path })).await.ok();
    data["project"]["file"]["content"].as_str().map(str::to_owned)
}

fn lines(changed: &[(usize, &str)]) -> String {
    let line =
        |n: usize| changed.iter().find(|(at, _)| *at == n).map_or(format!("line {n}"), |(_, text)| (*text).to_owned());
    (1..=12).map(|n| line(n) + "\n").collect()
}

tests::on_both! {
    async fn steps_are_undone_one_after_the_other(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Steps").await;
        for text in ["one\n", "two\n", "three\n", "four\n"] {
            sync(&project, &[("a", text)], json!({})).await;
        }
        // By revision: undoing 5 leaves `a` as 4 did, byte for byte.
        for (revision, left) in [(5, "three\n"), (4, "two\n"), (3, "one\n")] {
            undo(&project, json!({ "revision": revision })).await;
            assert_eq!(content(&project, "a").await.as_deref(), Some(left));
        }
        undo(&project, json!({ "revision": 2 })).await;
        assert_eq!(content(&project, "a").await, None);
        // Out of order: there is nothing left to undo.
        refused(&project, "undo", json!({ "revision": 4 }), "CONFLICT").await;

        // Without a revision: the newest one that is not undone. In the end all are undone, and redo restores them.
        let answer = refused(&project, "undo", json!({}), "BAD_USER_INPUT").await;
        assert_eq!(answer.error()["message"], "There is nothing to undo.");
        for back in ["one\n", "two\n", "three\n", "four\n"] {
            redo(&project).await;
            assert_eq!(content(&project, "a").await.as_deref(), Some(back));
        }
        refused(&project, "redo", json!({}), "BAD_USER_INPUT").await;
        for left in [Some("three\n"), Some("two\n"), Some("one\n"), None] {
            undo(&project, json!({})).await;
            assert_eq!(content(&project, "a").await.as_deref(), left);
        }
        // Other events are no steps, but a new change is one.
        redo(&project).await;
        redo(&project).await;
        let session = project.start_session().await;
        project.add_message(&session, "Hello", true).await;
        project.create_file("b", "new\n").await;
        project.write("createSnapshot", json!({ "name": "Here" }), "revision").await;
        let undone = undo(&project, json!({})).await;
        assert_eq!(each(&undone["changes"], "path"), ["b"]);
        let undone = undo(&project, json!({})).await;
        assert_eq!(each(&undone["changes"], "path"), ["a"]);
        assert_eq!(content(&project, "a").await.as_deref(), Some("one\n"));
    }

    async fn a_step_that_cannot_be_undone_hides_no_earlier_one(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Hidden").await;
        sync(&project, &[("old", "1\n")], json!({})).await;
        let first = sync(&project, &[("f", "1\n")], json!({})).await;
        sync(&project, &[("f", "2\n")], json!({})).await;
        sync(&project, &[("f", "1\n")], json!({})).await;
        // The oldest change of `f` is undone explicitly, so the two after it have no state to return to.
        undo(&project, json!({ "revision": first })).await;
        assert_eq!(content(&project, "f").await, None);
        undo(&project, json!({})).await;
        assert_eq!(content(&project, "old").await, None);
        // If no other step is left, the error names the conflict.
        let answer = refused(&project, "undo", json!({}), "CONFLICT").await;
        assert_eq!(answer.error()["extensions"]["paths"], json!(["f"]));
        redo(&project).await;
        assert_eq!(content(&project, "old").await.as_deref(), Some("1\n"));
    }

    async fn a_language_alone_is_no_step_and_is_never_in_the_way(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Languages").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Go", true).await;
        project.create_file("a.py", "1\n").await;
        let files = json!([{ "path": "a.py", "content": "1\n", "language": "go" }]);
        let set = project.write("syncFiles", json!({ "files": files, "messageId": message }), "revision").await;
        let texts = async || {
            let of_revision = refused(&project, "undo", json!({ "revision": set["revision"] }), "BAD_USER_INPUT").await;
            let of_message = refused(&project, "undo", json!({ "messageId": message }), "BAD_USER_INPUT").await;
            [of_revision, of_message].map(|answer| text(&answer.error()["message"]))
        };
        let before = texts().await;
        undo(&project, json!({})).await;
        assert_eq!(content(&project, "a.py").await, None);
        let answer = refused(&project, "undo", json!({}), "BAD_USER_INPUT").await;
        assert_eq!(answer.error()["message"], "There is nothing to undo.");
        assert_eq!(texts().await, before);
    }

    async fn what_later_writes_have_reverted_is_not_called_undone(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Reverted").await;
        let made = sync(&project, &[("a", "1\n")], json!({})).await;
        project.write("deleteFile", json!({ "path": "a" }), "revision").await;
        let answer = refused(&project, "undo", json!({ "revision": made }), "CONFLICT").await;
        let expected = format!("Nothing of revision {made} is left: later changes have reverted it.");
        assert_eq!(answer.error()["message"], expected);
    }

    async fn the_log_states_what_undoes_what(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Links").await;
        let made = sync(&project, &[("a", "one\n")], json!({})).await;
        let undone = undo(&project, json!({})).await;
        let change = &undone["changes"][0];
        assert_eq!((&change["undoes"], &change["undoneBy"]), (&json!([made]), &json!(null)));
        redo(&project).await;
        let log = project.ask(&format!("events(afterRevision: {}) {{ revision undoes undoneBy changes {{ undoes undoneBy changeDescription }} }}", made - 1)).await;
        let shown: Vec<Value> = log["events"].as_array().unwrap().iter()
            .map(|event| {
                assert_eq!((&event["undoes"], &event["undoneBy"]), (&event["changes"][0]["undoes"], &event["changes"][0]["undoneBy"]));
                json!([event["revision"], event["undoes"], event["undoneBy"], event["changes"][0]["changeDescription"]])
            })
            .collect();
        assert_eq!(shown, [
            json!([made, [], null, null]),
            json!([made + 1, [made], made + 2, format!("Undo of revision {made}")]),
            json!([made + 2, [made + 1], null, format!("Redo of revision {made}")]),
        ]);
        // This undoes the redo, so that the first undo is effective again.
        undo(&project, json!({})).await;
        let log = project.ask(&format!("events(afterRevision: {}) {{ undoneBy }}", made - 1)).await;
        assert_eq!(each(&log["events"], "undoneBy"), [json!(made + 1), json!(null), json!(made + 3), json!(null)]);

        // Changes of the project's own fields are steps too.
        project.client.mutate("updateProject", json!({ "id": project.id, "name": "Second" }), "revision").await.ok();
        project.client.mutate("updateProject", json!({ "id": project.id, "name": "Third" }), "revision").await.ok();
        for name in ["Second", "Links"] {
            undo(&project, json!({})).await;
            assert_eq!(project.ask("name").await["name"], name);
        }
        for name in ["Second", "Third"] {
            redo(&project).await;
            assert_eq!(project.ask("name").await["name"], name);
        }
    }

    async fn later_edits_elsewhere_are_kept(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Merged").await;
        project.create_file("a", &lines(&[])).await;
        project.create_file("b", "b\n").await;
        let both = sync(&project, &[("a", &lines(&[(2, "two")])), ("b", "B\n")], json!({})).await;
        project.update_file("a", &lines(&[(2, "two"), (10, "ten")])).await;
        undo(&project, json!({ "revision": both })).await;
        assert_eq!(content(&project, "a").await, Some(lines(&[(10, "ten")])));
        assert_eq!(content(&project, "b").await.as_deref(), Some("b\n"));

        // A later move is kept too, and so is an edit of the moved file.
        let edited = project.update_file("a", &lines(&[(2, "zwei"), (10, "ten")])).await;
        project.write("renameFile", json!({ "path": "a", "newPath": "lib/a" }), "revision").await;
        undo(&project, json!({ "revision": edited })).await;
        assert_eq!(content(&project, "lib/a").await, Some(lines(&[(10, "ten")])));
        let moved = number(&project.write("renameFile", json!({ "path": "lib/a", "newPath": "c" }), "revision").await["revision"]);
        project.update_file("c", &lines(&[(1, "one")])).await;
        let undone = undo(&project, json!({ "revision": moved })).await;
        assert_eq!((&undone["changes"][0]["type"], &undone["changes"][0]["path"]), (&json!("RENAME"), &json!("lib/a")));
        assert_eq!(content(&project, "lib/a").await, Some(lines(&[(1, "one")])));

        // A conflict is returned as for a stale write, and nothing is written.
        let touched = sync(&project, &[("lib/a", &lines(&[(1, "uno")])), ("b", "BB\n")], json!({})).await;
        project.update_file("lib/a", &lines(&[(1, "eins")])).await;
        let answer = refused(&project, "undo", json!({ "revision": touched }), "CONFLICT").await;
        let shown = &answer.error()["extensions"];
        let merged = lines(&[]).replace("line 1\n",
            "<<<<<<< ours\neins\n||||||| original\nuno\n=======\none\n>>>>>>> theirs\n");
        let merge = json!({ "clean": false, "content": merged });
        assert_eq!((&shown["field"], &shown["paths"], &shown["merge"]), (&json!("revision"), &json!(["lib/a"]), &merge));
        let version = project.ask("file(path: \"lib/a\") { version }").await["file"]["version"].take();
        let file = json!({ "path": "lib/a", "currentVersion": version, "currentHash": sha256(lines(&[(1, "eins")])), "merge": merge });
        assert_eq!((&shown["files"], &shown["currentVersion"]), (&json!([file]), &version));
        // A deleted file, and a file that the undone revision created and that was edited since, have no merge.
        project.write("deleteFile", json!({ "path": "lib/a" }), "revision").await;
        let answer = refused(&project, "undo", json!({ "revision": touched }), "CONFLICT").await;
        assert_eq!(answer.error()["extensions"]["files"], json!([{ "path": "lib/a", "currentVersion": null, "currentHash": null, "merge": null }]));
        project.create_file("made", "1\n").await;
        let made = project.revision().await;
        project.update_file("made", "2\n").await;
        refused(&project, "undo", json!({ "revision": made }), "CONFLICT").await;
    }

    async fn everything_that_one_message_wrote_is_undone_at_once(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Messages").await;
        project.create_file("a", &lines(&[])).await;
        project.create_file("kept", "kept\n").await;
        let before = project.contents().await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Done", true).await;
        let other = project.add_message(&session, "Nothing", false).await;
        let for_message = json!({ "messageId": message });
        let first = sync(&project, &[("a", &lines(&[(1, "one")])), ("new", "new\n")], for_message.clone()).await;
        project.write("renameFile", json!({ "path": "kept", "newPath": "moved", "messageId": message }), "revision").await;
        let third = sync(&project, &[("a", &lines(&[(1, "one"), (4, "four")])), ("new", "newer\n")], for_message.clone()).await;
        let done = project.contents().await;

        let undone = undo(&project, json!({ "messageId": message })).await;
        assert_eq!(undone["revision"], third + 1);
        assert_eq!(undone["changes"][0]["undoes"], json!([first, first + 1, third]));
        assert_eq!(project.contents().await, before);
        refused(&project, "undo", json!({ "messageId": message }), "CONFLICT").await;
        redo(&project).await;
        assert_eq!(project.contents().await, done);

        // Other users' edits between and after stay, and revisions that are already undone are no obstacle.
        undo(&project, json!({ "revision": third })).await;
        project.update_file("a", &lines(&[(1, "one"), (10, "ten")])).await;
        undo(&project, json!({ "messageId": message })).await;
        assert_eq!(content(&project, "a").await, Some(lines(&[(10, "ten")])));
        assert_eq!(content(&project, "new").await, None);

        let answer = refused(&project, "undo", json!({ "messageId": other }), "BAD_USER_INPUT").await;
        assert_eq!(answer.field(), "messageId");
        let answer = refused(&project, "undo", json!({ "messageId": message, "revision": first }), "BAD_USER_INPUT").await;
        assert_eq!(answer.field(), "messageId");
        let elsewhere = Project::create(&project.client, "Elsewhere").await;
        refused(&elsewhere, "undo", json!({ "messageId": message }), "NOT_FOUND").await;
        assert_eq!(text(&project.ask("name").await["name"]), "Messages");
    }

    async fn a_path_has_one_history_across_deletions(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Lineage").await;
        let session = project.start_session().await;
        let (wrote, again) = (project.add_message(&session, "Wrote", true).await, project.add_message(&session, "Again", true).await);
        let file = |content: &str, message: &str| json!({ "path": "a", "content": content, "messageId": message });
        let made = project.write("createFile", file("1\n2\n3\n", &wrote), "file { id }").await;
        project.write("deleteFile", json!({ "path": "a" }), "revision").await;
        let anew = project.write("createFile", file("1\n2\nthree\n", &again), "file { id version }").await;
        assert_eq!(anew["file"], json!({ "id": made["file"]["id"], "version": 3 }));
        let select = "file(path: \"a\") { versions { nodes { version isDeletion content } } blame { startLine endLine message { content } } }";
        let blamed = |shown: &Value| -> Vec<Value> {
            shown["file"]["blame"].as_array().unwrap().iter()
                .map(|range| json!([range["startLine"], range["endLine"], range["message"]["content"]])).collect()
        };
        let shown = project.ask(select).await;
        assert_eq!(each(&shown["file"]["versions"]["nodes"], "isDeletion"), [false, true, false]);
        assert_eq!(each(&shown["file"]["versions"]["nodes"], "content"), [json!("1\n2\nthree\n"), json!(null), json!("1\n2\n3\n")]);
        assert_eq!(blamed(&shown), [json!([1, 2, "Wrote"]), json!([3, 3, "Again"])]);

        // After a deletion and an undo, or a restore, lines keep the message that wrote them.
        project.write("deleteFile", json!({ "path": "a" }), "revision").await;
        undo(&project, json!({})).await;
        assert_eq!(blamed(&project.ask(select).await), [json!([1, 2, "Wrote"]), json!([3, 3, "Again"])]);
        let then = project.revision().await;
        project.update_file("a", "other\n").await;
        project.write("restoreRevision", json!({ "revision": then }), "revision").await;
        assert_eq!(blamed(&project.ask(select).await), [json!([1, 2, "Wrote"]), json!([3, 3, "Again"])]);
        // So do lines that a merge restores; other lines keep their author.
        let gone = project.update_file("a", "1\n2\n").await;
        project.update_file("a", "zero\n1\n2\n").await;
        let merged = project.mutate("undo", json!({ "revision": gone }), "revision").await;
        merged.data().unwrap();
        assert_eq!(blamed(&project.ask(select).await), [json!([1, 1, null]), json!([2, 3, "Wrote"]), json!([4, 4, "Again"])]);
        // Files of different kinds, and moved files, keep their identity.
        project.write("deleteFile", json!({ "path": "a" }), "revision").await;
        let folder = project.write("createFile", json!({ "path": "a", "type": "FOLDER" }), "file { id version }").await;
        assert_ne!(folder["file"]["id"], made["file"]["id"]);
        assert!(number(&folder["file"]["version"]) > 1, "a number above those of the file");
    }

    async fn what_was_gone_when_the_rest_was_taken_back_is_in_reach_once_it_is_back(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Steps").await;
        sync(&project, &[("a", "a1\n"), ("b", "b1\n")], json!({})).await;
        let both = sync(&project, &[("a", "a2\n"), ("b", "b2\n")], json!({})).await;
        let by_hand = sync(&project, &[("a", "a1\n")], json!({})).await;
        // `a` is as before already, so this takes back `b` alone …
        let taken = undo(&project, json!({ "revision": both })).await;
        assert_eq!(each(&taken["changes"], "path"), ["b"]);
        // … and the step that takes back the hand's change brings back that of `a`, which is the next step.
        let taken = undo(&project, json!({})).await;
        assert_eq!((each(&taken["changes"], "path"), content(&project, "a").await.as_deref()), (vec![json!("a")], Some("a2\n")));
        assert_eq!(each(&project.ask("events(afterRevision: 3) { undoneBy }").await["events"], "undoneBy")[0], json!(taken["revision"]));
        assert!(by_hand > both);
        let taken = undo(&project, json!({})).await;
        assert_eq!((each(&taken["changes"], "path"), content(&project, "a").await.as_deref()), (vec![json!("a")], Some("a1\n")));
        assert_eq!(content(&project, "b").await.as_deref(), Some("b1\n"));
        // Then the first revision, and no more: nothing goes round.
        undo(&project, json!({})).await;
        assert_eq!(project.contents().await, []);
        refused(&project, "undo", json!({}), "BAD_USER_INPUT").await;
        // And all of it again, step by step.
        for _ in 0..4 {
            redo(&project).await;
        }
        assert_eq!(project.contents().await, [("a".to_owned(), "a1\n".to_owned()), ("b".to_owned(), "b2\n".to_owned())]);
        refused(&project, "redo", json!({}), "BAD_USER_INPUT").await;
    }

    async fn a_redo_is_the_next_step_back(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Again").await;
        project.create_file("a", "1\n").await;
        undo(&project, json!({})).await;
        project.create_file("a/b", "2\n").await;
        project.write("deleteFile", json!({ "path": "a/b" }), "revision").await;
        redo(&project).await;
        assert_eq!(content(&project, "a").await.as_deref(), Some("1\n"));
        // While `a` is a file, nothing can be below it, so no other order of the steps is possible.
        let steps = [None, Some("2\n"), None];
        for (step, below) in steps.into_iter().enumerate() {
            undo(&project, json!({})).await;
            assert_eq!(content(&project, "a/b").await.as_deref(), below, "step {step}");
        }
        assert_eq!(project.contents().await, []);
        refused(&project, "undo", json!({}), "BAD_USER_INPUT").await;
        for _ in steps {
            redo(&project).await;
        }
        assert_eq!(project.contents().await, [("a".to_owned(), "1\n".to_owned())]);
        refused(&project, "redo", json!({}), "BAD_USER_INPUT").await;
    }

    async fn a_redo_of_any_change_is_the_next_step_back(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "First").await;
        let update = async |more: Value| {
            project.client.mutate("updateProject", with(json!({ "id": project.id }), more), "revision").await.ok();
        };
        let fields = async || {
            let read = project.ask("name description").await;
            (text(&read["name"]), read["description"].as_str().map(str::to_owned))
        };
        update(json!({ "name": "Second" })).await;
        undo(&project, json!({})).await;
        update(json!({ "description": "New" })).await;
        redo(&project).await;
        assert_eq!(fields().await, ("Second".to_owned(), Some("New".to_owned())));
        undo(&project, json!({})).await;
        assert_eq!(fields().await, ("First".to_owned(), Some("New".to_owned())));
        redo(&project).await;
        assert_eq!(fields().await.0, "Second");

        // All writes for a message at once.
        let session = project.start_session().await;
        let message = project.add_message(&session, "Go", false).await;
        let of = json!({ "sessionId": session, "messageId": message });
        sync(&project, &[("a", "1\n"), ("b", "1\n")], of.clone()).await;
        sync(&project, &[("a", "2\n")], of).await;
        let all = project.contents().await;
        undo(&project, json!({ "messageId": message })).await;
        project.create_file("c", "").await;
        redo(&project).await;
        assert_eq!(project.contents().await.len(), all.len() + 1);
        undo(&project, json!({})).await;
        assert_eq!(project.contents().await, [("c".to_owned(), String::new())]);
        redo(&project).await;

        // Messages that were hidden.
        let kept = project.revision().await;
        project.add_message(&session, "Stop", false).await;
        let hide = json!({ "revision": kept, "scope": "CONVERSATION", "sessionId": session });
        project.write("restoreRevision", hide, "revision").await;
        let shown = async || {
            let query = format!("{{ node(id: \"{session}\") {{ ... on ChatSession {{ messages {{ totalCount }} }} }} }}");
            project.client.gql(&query, json!({})).await.ok()["node"]["messages"]["totalCount"].as_i64()
        };
        undo(&project, json!({})).await;
        project.create_file("d", "").await;
        redo(&project).await;
        assert_eq!(shown().await, Some(1));
        undo(&project, json!({})).await;
        assert_eq!((shown().await, project.contents().await.len()), (Some(2), all.len() + 2));
    }

    async fn an_undo_of_a_message_takes_back_each_change_once(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Steps").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Done", false).await;
        let of = json!({ "sessionId": session, "messageId": message });
        sync(&project, &[("a", "a1\n"), ("b", "b1\n")], of.clone()).await;
        sync(&project, &[("a", "a2\n"), ("c", "c\n")], of.clone()).await;
        sync(&project, &[("a", "a1\n")], of).await;
        undo(&project, json!({})).await;
        assert_eq!(content(&project, "a").await.as_deref(), Some("a2\n"));
        let taken = undo(&project, json!({ "messageId": message })).await;
        assert_eq!(each(&taken["changes"], "path"), ["a", "b", "c"]);
        assert_eq!(project.contents().await, []);
        refused(&project, "undo", json!({}), "BAD_USER_INPUT").await;
        refused(&project, "undo", json!({ "messageId": message }), "CONFLICT").await;
        // What somebody makes by hand as it was is theirs, and not the message's.
        sync(&project, &[("b", "b1\n")], json!({})).await;
        refused(&project, "undo", json!({ "messageId": message }), "CONFLICT").await;
        undo(&project, json!({})).await;
        redo(&project).await;
        redo(&project).await;
        assert_eq!(project.contents().await.len(), 3);
    }

    async fn a_step_back_never_deletes_a_project_that_was_restored(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Steps").await;
        sync(&project, &[("a", "a\n")], json!({})).await;
        project.client.mutate_id("deleteProject", &project.id, "revision").await.ok();
        let restored = json!({ "id": project.id, "status": "ACTIVE", "name": "Back" });
        let restored = project.client.mutate("updateProject", restored, "revision").await.ok();
        undo(&project, json!({})).await;
        assert_eq!(project.ask("name status").await, json!({ "name": "Back", "status": "ACTIVE" }));
        assert_eq!(project.contents().await, []);
        // Whoever names the revision means it.
        undo(&project, json!({ "revision": restored["updateProject"]["revision"] })).await;
        assert_eq!(project.ask("status").await["status"], "DELETED");
    }

    async fn a_deletion_that_was_taken_back_is_no_step(server: Server) {
        for (before, after) in [("ARCHIVED", "ACTIVE"), ("ACTIVE", "ARCHIVED"), ("ARCHIVED", "ARCHIVED"), ("ACTIVE", "ACTIVE")] {
            let project = Project::create(&server.user("ada@example.com"), "Steps").await;
            sync(&project, &[("a", "a\n")], json!({})).await;
            let set = |status: &str| json!({ "id": project.id, "status": status });
            project.client.mutate("updateProject", set(before), "project { id }").await.ok();
            project.client.mutate_id("deleteProject", &project.id, "revision").await.ok();
            project.client.mutate("updateProject", set(after), "revision").await.ok();
            let steps = project.ask("status").await;
            assert_eq!(steps["status"], after);
            if before != "ACTIVE" && after == before {
                // The only step that changes the status now.
                undo(&project, json!({})).await;
                assert_eq!(project.ask("status").await["status"], "ACTIVE");
            }
            undo(&project, json!({})).await;
            assert_eq!(project.contents().await, [], "{before}, deleted, {after}");
        }
    }

    async fn messages_that_another_member_has_hidden_are_no_step(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Steps").await;
        sync(&project, &[("a", "1\n")], json!({})).await;
        let bob = project.of(&server.user("bob@example.com"));
        bob.client.gql("{ viewer { id } }", json!({})).await.ok();
        server.database().add_collaborator(&project.id, "bob@example.com", "editor", true).await;
        let session = bob.start_session().await;
        bob.add_message(&session, "one", false).await;
        let kept = bob.revision().await;
        bob.add_message(&session, "two", false).await;
        sync(&project, &[("a", "2\n")], json!({})).await;
        let hide = json!({ "revision": kept, "scope": "CONVERSATION", "sessionId": session });
        bob.write("restoreRevision", hide, "hiddenMessages").await;
        // The owner steps over it, in both directions …
        undo(&project, json!({})).await;
        assert_eq!(content(&project, "a").await.as_deref(), Some("1\n"));
        let undone = bob.write("undo", json!({}), "shownMessages").await;
        assert_eq!(undone["shownMessages"], 1);
        redo(&project).await;
        assert_eq!(content(&project, "a").await.as_deref(), Some("2\n"));
        // … and gets the reason if nothing else is left.
        undo(&project, json!({})).await;
        undo(&project, json!({})).await;
        assert_eq!(project.contents().await, []);
    }

    async fn a_redo_of_files_does_not_depend_on_other_changes(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Steps").await;
        sync(&project, &[("a", "1\n")], json!({})).await;
        let second = sync(&project, &[("a", "2\n")], json!({})).await;
        undo(&project, json!({ "revision": second })).await;
        let seen = project.revision().await;
        project.client.mutate("updateProject", json!({ "id": project.id, "name": "Other" }), "revision").await.ok();
        project.write("redo", json!({ "expectedRevision": seen }), "revision").await;
        assert_eq!(content(&project, "a").await.as_deref(), Some("2\n"));
        // An undo of a change that the caller has not seen is refused.
        let refused = refused(&project, "undo", json!({ "expectedRevision": seen }), "CONFLICT").await;
        assert_eq!(refused.error()["extensions"]["currentRevision"], project.revision().await);
    }
}
