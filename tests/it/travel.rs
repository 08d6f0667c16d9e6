//! Given a project with a long history, when somebody reads, restores or undoes past states, then the result is exactly
//! the past state.

use serde_json::{Value, json};
use tests::{
    client::Response,
    project::{Project, each, number, text, without_moment},
    server::Server,
};

/// The fields of a project that depend on the revision.
const MOMENT: &str = "revision name description initialPrompt config status updatedAt
    stats { totalSessions totalMessages totalFiles totalChanges latestSessionAt lastActivityAt }
    sessions { totalCount nodes { id title isActive endedAt messageCount
        messages { totalCount nodes { content revision isHidden } }
        everything: messages(filter: { includeHidden: true }) { totalCount nodes { content isHidden } }
        checkpoints { content } } }
    files { totalCount nodes { id path version hash content isDeleted updatedAt } }
    file(path: \"a.py\") { version content }
    changes { totalCount nodes { revision type path oldPath newContent } }
    snapshots { totalCount nodes { id name } }
    events { revision kind }";

async fn at(project: &Project, moment: Value, select: &str) -> Response {
    let query = format!("query($id: ID!, $at: Moment) {{ project(id: $id, at: $at) {{ {select} }} }}");
    project.client.gql(&query, json!({ "id": project.id, "at": moment })).await
}

async fn revision_at(project: &Project, moment: Value) -> i64 {
    number(&at(project, moment, "revision").await.ok()["project"]["revision"])
}

/// Path, id and text of every live file.
async fn files(project: &Project) -> Value {
    project.ask("files { nodes { path id content } }").await["files"]["nodes"].take()
}

async fn manifest(project: &Project) -> String {
    let made = project.write("createSnapshot", json!({ "name": "Now" }), "snapshot { manifestSha256 }").await;
    text(&made["snapshot"]["manifestSha256"])
}

/// A write succeeds as a whole or is refused, and a refusal writes nothing.
async fn refused(project: &Project, name: &str, input: Value, code: &str) -> Response {
    let before = project.state().await;
    let answer = project.mutate(name, input.clone(), "revision").await;
    assert_eq!(answer.error_code(), code, "{name} {input}");
    assert_eq!(project.state().await, before, "{name} {input} was refused but wrote something");
    answer
}

async fn undo(project: &Project, revision: i64) -> Value {
    project.write("undo", json!({ "revision": revision }), "revision changes { type path oldPath }").await
}

tests::on_both! {
    async fn every_revision_reads_as_it_was(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Travelled").await;
        let mut seen = Vec::new();
        macro_rules! now {
            () => {
                seen.push(project.ask(MOMENT).await)
            };
        }
        now!();
        let session = project.start_session().await;
        now!();
        project.add_message(&session, "Hello", false).await;
        now!();
        let checkpoint = project.add_message(&session, "I write it", true).await;
        now!();
        for (path, content) in [("a.py", "one\n"), ("b.py", "two\n")] {
            project.write("createFile", json!({ "path": path, "content": content, "messageId": checkpoint }), "revision").await;
            now!();
        }
        project.update_file("a.py", "uno\n").await;
        now!();
        project.write("renameFile", json!({ "path": "b.py", "newPath": "lib/b.py" }), "revision").await;
        now!();
        project.add_message(&session, "More", false).await;
        now!();
        project.write("deleteFile", json!({ "path": "a.py" }), "revision").await;
        now!();
        let made = project.write("createSnapshot", json!({ "name": "Named" }), "revision snapshot { id }").await;
        now!();
        project.start_session().await;
        now!();
        let to = number(&seen[5]["revision"]);
        let input = json!({ "revision": to, "scope": "BOTH", "sessionId": session });
        let restored = project.write("restoreRevision", input, "revision hiddenMessages").await;
        assert_eq!(restored["hiddenMessages"], 1);
        now!();
        project.create_file("c.py", "three\n").await;
        now!();
        // Undo, and undo of the undo: each revision keeps its own hidden messages.
        let restored = number(&restored["revision"]);
        for (revision, hidden, shown) in [(restored, 0, 1), (restored + 2, 1, 0), (restored + 3, 0, 1)] {
            let undone = project.write("undo", json!({ "revision": revision }), "hiddenMessages shownMessages").await;
            assert_eq!(undone, json!({ "hiddenMessages": hidden, "shownMessages": shown }));
            now!();
        }
        for change in [json!({ "name": "Renamed" }), json!({ "config": { "voice": "alloy" }, "description": "Once" }),
            json!({ "status": "ARCHIVED", "initialPrompt": "Say nothing." }), json!({ "status": "ACTIVE", "description": null })] {
            let mut input = change;
            input["id"] = json!(project.id);
            ada.mutate("updateProject", input, "revision").await.ok();
            now!();
        }

        for (index, then) in seen.iter().enumerate() {
            let revision = number(&then["revision"]);
            assert_eq!(revision, index as i64 + 1);
            let read = at(&project, json!({ "revision": revision }), MOMENT).await.ok();
            let mut read = without_moment(&read["project"], revision);
            for (field, was) in then.as_object().unwrap() {
                assert_eq!(&read[field].take(), was, "`{field}` as of {revision}");
            }
        }

        // A moment can be named in several ways …
        assert_eq!(revision_at(&project, json!({ "messageId": checkpoint })).await, 6);
        let snapshot = json!({ "snapshotId": made["snapshot"]["id"] });
        assert_eq!(revision_at(&project, snapshot).await, number(&made["revision"]));
        let events = project.ask("events { revision createdAt }").await["events"].take();
        for event in events.as_array().unwrap() {
            let time = text(&event["createdAt"]);
            let until = |other: &&Value| text(&other["createdAt"]) <= time;
            let last = events.as_array().unwrap().iter().filter(until).map(|other| number(&other["revision"])).max();
            assert_eq!(Some(revision_at(&project, json!({ "time": time })).await), last);
        }
        assert_eq!(revision_at(&project, json!({ "time": "2200-01-01T00:00:00Z" })).await, seen.len() as i64);

        // Without `afterRevision`, the log at a past revision starts at its beginning too.
        let past = at(&project, json!({ "revision": 3 }), "events(afterRevision: null) { revision }").await.ok();
        assert_eq!(past["project"]["events"], json!([{ "revision": 1 }, { "revision": 2 }, { "revision": 3 }]));

        // … one at a time, and some names are unknown.
        let other = Project::create(&ada, "Other").await;
        let elsewhere = other.start_session().await;
        let elsewhere = other.add_message(&elsewhere, "There", true).await;
        for (moment, field) in [
            (json!({ "revision": seen.len() + 1 }), "revision"),
            (json!({ "revision": -1 }), "revision"),
            (json!({ "time": "2000-01-01T00:00:00Z" }), "time"),
            (json!({ "messageId": elsewhere }), "messageId"),
            (json!({ "snapshotId": elsewhere }), "snapshotId"),
        ] {
            let answer = at(&project, moment.clone(), "revision").await;
            assert_eq!((answer.error_code(), answer.field()), ("NOT_FOUND", field), "{moment}");
        }
        let both = at(&project, json!({ "revision": 1, "messageId": checkpoint }), "revision").await;
        assert!(!both.errors.is_empty());

        // For other users there is no such project, at any revision.
        let eve = project.of(&server.user("eve@example.com"));
        for moment in [json!({ "revision": 1 }), json!({ "revision": 99 }), json!({ "messageId": checkpoint })] {
            let answer = at(&eve, moment, "revision").await;
            assert_eq!((answer.data, answer.errors.len()), (json!({ "project": null }), 0));
        }
    }

    async fn a_restore_is_exact_and_matches_its_preview(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Restored").await;
        for (path, content) in [("changed", "one\n"), ("deleted", "two\n"), ("moved", "three\n"), ("same", "four\n"),
            ("x", "x\n"), ("y", "y\n"), ("empty", "")] {
            project.create_file(path, content).await;
        }
        project.write("createFile", json!({ "path": "docs", "type": "FOLDER" }), "revision").await;
        let made = project.write("createSnapshot", json!({ "name": "Good" }), "revision snapshot { id manifestSha256 fileCount }").await;
        let (snapshot, then) = (made["snapshot"].clone(), files(&project).await);
        // Every kind of change to a file, including two that swap paths and one that takes another's path.
        project.update_file("changed", "other\n").await;
        project.write("deleteFile", json!({ "path": "deleted" }), "revision").await;
        project.create_file("deleted", "another\n").await;
        project.write("renameFile", json!({ "path": "moved", "newPath": "far/away" }), "revision").await;
        project.create_file("moved/inside", "below\n").await;
        project.write("deleteFile", json!({ "path": "docs" }), "revision").await;
        for (from, to) in [("x", "z"), ("y", "x"), ("z", "y")] {
            project.write("renameFile", json!({ "path": from, "newPath": to }), "revision").await;
        }
        let later = files(&project).await;
        let before = project.revision().await;

        // The preview writes nothing and lists the changes …
        let select = format!("restorePreview(to: {{ snapshotId: {} }}) {{ revision diff {{ path oldPath type diff additions deletions }} }}", snapshot["id"]);
        let preview = project.ask(&select).await["restorePreview"].take();
        assert_eq!(preview["revision"], made["revision"]);
        let shown: Vec<_> = preview["diff"].as_array().unwrap().iter().map(|diff| json!([diff["type"], diff["oldPath"], diff["path"]])).collect();
        let expected = [
            json!(["UPDATE", null, "changed"]),
            // Created again after its deletion, it is the same file.
            json!(["UPDATE", null, "deleted"]),
            json!(["CREATE", null, "docs"]),
            json!(["RENAME", "far/away", "moved"]),
            json!(["DELETE", null, "moved/inside"]),
            json!(["RENAME", "y", "x"]),
            json!(["RENAME", "x", "y"]),
        ];
        assert_eq!(shown.len(), expected.len(), "{shown:?}");
        for change in &expected {
            assert!(shown.contains(change), "{change} is not in {shown:?}");
        }
        let changed = preview["diff"].as_array().unwrap().iter().find(|diff| diff["path"] == "changed").unwrap();
        assert_eq!(changed["diff"], "diff --git a/changed b/changed\n--- a/changed\n+++ b/changed\n@@ -1 +1 @@\n-other\n+one\n");
        assert_eq!(project.revision().await, before);

        // … and the restore makes exactly these.
        let input = json!({ "snapshotId": snapshot["id"], "projectId": null, "expectedRevision": before });
        let select = "revision manifestSha256 fileCount hiddenMessages changes { type path file { id } }
            backup { id revision name manifestSha256 }";
        let mut input = input;
        input.as_object_mut().unwrap().remove("projectId");
        let restored = project.client.mutate("restoreSnapshot", input, select).await.ok()["restoreSnapshot"].take();
        assert_eq!(restored["revision"], before + 1);
        assert_eq!(restored["manifestSha256"], snapshot["manifestSha256"]);
        assert_eq!(restored["fileCount"], snapshot["fileCount"]);
        assert_eq!(restored["hiddenMessages"], 0);
        assert_eq!(restored["changes"].as_array().unwrap().len(), expected.len());
        assert_eq!((&restored["backup"]["revision"], &restored["backup"]["name"]), (&json!(before), &json!("Pre-restore backup")));
        assert_eq!(files(&project).await, then);
        let untouched = project.ask("file(path: \"same\") { version }").await;
        assert_eq!(untouched["file"]["version"], 1);
        assert_eq!(manifest(&project).await, text(&snapshot["manifestSha256"]));

        // The restore itself can be reverted with its backup …
        let query = "mutation($id: ID!) { restoreSnapshot(input: { snapshotId: $id }) { manifestSha256 } }";
        let back = project.client.gql(query, json!({ "id": restored["backup"]["id"] })).await.ok();
        assert_eq!(back["restoreSnapshot"]["manifestSha256"], restored["backup"]["manifestSha256"]);
        assert_eq!(files(&project).await, later);
        // … and a failed precondition stops one.
        let stale = json!({ "revision": 2, "expectedRevision": before });
        let answer = refused(&project, "restoreRevision", stale, "CONFLICT").await;
        assert_eq!(answer.error()["extensions"]["currentRevision"], project.revision().await);
    }

    async fn selected_paths_are_restored_and_the_others_stay(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Parts").await;
        for path in ["a", "b", "lib/c", "lib/d", "library"] {
            project.create_file(path, "old\n").await;
        }
        let then = project.revision().await;
        for path in ["a", "b", "lib/c", "lib/d", "library"] {
            project.update_file(path, "new\n").await;
        }
        project.create_file("lib/e", "new\n").await;
        let input = json!({ "revision": then, "paths": ["/lib", "a"] });
        let preview = format!("restorePreview(to: {{ revision: {then} }}, paths: [\"lib\", \"a\"]) {{ diff {{ path }} }}");
        let preview = project.ask(&preview).await;
        assert_eq!(each(&preview["restorePreview"]["diff"], "path"), ["lib/e", "a", "lib/c", "lib/d"]);
        let restored = project.write("restoreRevision", input, "fileCount manifestSha256 changes { path }").await;
        assert_eq!(each(&restored["changes"], "path"), ["lib/e", "a", "lib/c", "lib/d"]);
        assert_eq!(restored["fileCount"], 5);
        let expected = [("a", "old\n"), ("b", "new\n"), ("lib/c", "old\n"), ("lib/d", "old\n"), ("library", "new\n")];
        assert_eq!(project.contents().await, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
        assert_eq!(manifest(&project).await, text(&restored["manifestSha256"]));

        // Only the selected paths are written: a file that moved there is deleted, and is restored at its old path if
        // that one is selected too.
        let then = project.revision().await;
        project.write("renameFile", json!({ "path": "a", "newPath": "moved" }), "revision").await;
        project.create_file("a", "other\n").await;
        let restored = project.write("restoreRevision", json!({ "revision": then, "paths": ["moved"] }), "changes { type path }").await;
        assert_eq!(restored["changes"], json!([{ "type": "DELETE", "path": "moved" }]));
        project.write("restoreRevision", json!({ "revision": then, "paths": ["moved", "a"] }), "revision").await;
        assert_eq!(project.contents().await, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
        let answer = refused(&project, "restoreRevision", json!({ "revision": 1, "paths": ["a", "nowhere"] }), "BAD_USER_INPUT").await;
        assert_eq!(answer.field(), "paths[1]");
        let answer = refused(&project, "restoreRevision", json!({ "revision": 1, "paths": ["a", "../b"] }), "BAD_USER_INPUT").await;
        assert_eq!(answer.field(), "paths[1]");
    }

    async fn a_session_is_restored_alone_or_with_the_files(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Hidden").await;
        let session = project.start_session().await;
        project.add_message(&session, "one", false).await;
        let checkpoint = project.add_message(&session, "two", true).await;
        project.add_message(&session, "three", false).await;
        // A checkpoint's files are written after its message, and here after the next message too.
        project.write("createFile", json!({ "path": "a", "content": "old\n", "messageId": checkpoint }), "revision").await;
        project.add_message(&session, "four", true).await;
        project.update_file("a", "new\n").await;
        let snapshot = "query($id: ID!) { node(id: $id) { ... on ChatMessage { snapshot { id } } } }";
        let snapshot = ada.gql(snapshot, json!({ "id": checkpoint })).await.ok()["node"]["snapshot"]["id"].take();
        let messages = async |filter: &str| {
            let select = format!("sessions {{ nodes {{ messageCount messages{filter} {{ totalCount nodes {{ content isHidden }} }} checkpoints {{ content }} }} }}");
            project.ask(&select).await["sessions"]["nodes"][0].take()
        };
        let restore = async |scope: &str| {
            let query = "mutation($input: RestoreSnapshotInput!) { restoreSnapshot(input: $input) { revision hiddenMessages changes { path } } }";
            let input = json!({ "snapshotId": snapshot, "scope": scope });
            ada.gql(query, json!({ "input": input })).await.ok()["restoreSnapshot"].take()
        };

        // The messages alone: the files stay …
        let restored = restore("CONVERSATION").await;
        assert_eq!((&restored["hiddenMessages"], &restored["changes"]), (&json!(2), &json!([])));
        assert_eq!(project.contents().await, [("a".to_owned(), "new\n".to_owned())]);
        // … the later messages leave the list, and can still be requested.
        let listed = messages("").await;
        assert_eq!(each(&listed["messages"]["nodes"], "content"), ["one", "two"]);
        assert_eq!((&listed["messages"]["totalCount"], &listed["messageCount"]), (&json!(2), &json!(4)));
        assert_eq!(each(&listed["checkpoints"], "content"), ["two"]);
        let all = messages("(filter: { includeHidden: true })").await;
        assert_eq!(each(&all["messages"]["nodes"], "content"), ["one", "two", "three", "four"]);
        assert_eq!(each(&all["messages"]["nodes"], "isHidden"), [false, false, true, true]);
        let query = "query($id: ID!) { recentActivity(projectId: $id) { totalCount nodes { excerpt } } }";
        let recent = ada.gql(query, json!({ "id": project.id })).await.ok()["recentActivity"].take();
        assert_eq!(each(&recent["nodes"], "excerpt"), ["two", "one"]);
        assert_eq!(recent["totalCount"], 2);
        // The session continues from there …
        project.add_message(&session, "three again", false).await;
        assert_eq!(each(&messages("").await["messages"]["nodes"], "content"), ["one", "two", "three again"]);
        // … and is restored again, this time with the files; hidden messages stay hidden.
        let both = restore("BOTH").await;
        assert_eq!((&both["hiddenMessages"], &each(&both["changes"], "path")), (&json!(1), &vec![json!("a")]));
        assert_eq!(project.contents().await, [("a".to_owned(), "old\n".to_owned())]);
        assert_eq!(each(&messages("").await["messages"]["nodes"], "content"), ["one", "two"]);

        // Each restore can be undone.
        let select = "shownMessages changes { path }";
        let undone = project.write("undo", json!({ "revision": both["revision"] }), select).await;
        assert_eq!((&undone["shownMessages"], &each(&undone["changes"], "path")), (&json!(1), &vec![json!("a")]));
        let undone = project.write("undo", json!({ "revision": restored["revision"] }), select).await;
        assert_eq!((&undone["shownMessages"], &undone["changes"]), (&json!(2), &json!([])));
        let listed = messages("").await;
        assert_eq!(each(&listed["messages"]["nodes"], "content"), ["one", "two", "three", "four", "three again"]);
        assert_eq!(project.contents().await, [("a".to_owned(), "new\n".to_owned())]);

        // The revision that hid the message has been undone, so it cannot be undone again; and only the author can
        // undo.
        refused(&project, "undo", json!({ "revision": restored["revision"] }), "CONFLICT").await;
        let last = restore("CONVERSATION").await;
        let eve = server.user("eve@example.com");
        eve.gql("{ viewer { id } }", json!({})).await.ok();
        server.database().add_collaborator(&project.id, "eve@example.com", "editor", true).await;
        refused(&project.of(&eve), "undo", json!({ "revision": last["revision"] }), "FORBIDDEN").await;
        project.write("undo", json!({ "revision": last["revision"] }), "revision").await;

        // A revision belongs to no session, so the caller must name one of this project.
        let input = json!({ "revision": 3, "scope": "CONVERSATION" });
        let answer = refused(&project, "restoreRevision", input.clone(), "BAD_USER_INPUT").await;
        assert_eq!(answer.field(), "sessionId");
        let other = Project::create(&ada, "Other").await.start_session().await;
        let mut input = input;
        input["sessionId"] = json!(other);
        refused(&project, "restoreRevision", input.clone(), "NOT_FOUND").await;
        input["sessionId"] = json!(session);
        let restored = project.write("restoreRevision", input, "hiddenMessages").await;
        assert_eq!(restored["hiddenMessages"], 4);
        assert_eq!(each(&messages("").await["messages"]["nodes"], "content"), ["one"]);
    }

    async fn everything_can_be_undone_including_an_undo(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Undone").await;
        project.create_file("a", "one\n").await;
        project.create_file("lib/b", "two\n").await;
        project.write("createFile", json!({ "path": "docs", "type": "FOLDER" }), "revision").await;
        project.create_file("docs/c", "three\n").await;
        let sync = json!({ "files": [{ "path": "a", "content": "A\n" }, { "path": "new", "content": "new\n" },
            { "path": "docs/c", "content": "three\n" }], "mode": "MIRROR" });
        for (name, input) in [
            ("createFile", json!({ "path": "d", "content": "four\n" })),
            ("updateFile", json!({ "path": "a", "content": "uno\n" })),
            ("renameFile", json!({ "path": "a", "newPath": "lib/a" })),
            ("renameFile", json!({ "path": "docs", "newPath": "texts/all" })),
            ("deleteFile", json!({ "path": "docs" })),
            ("syncFiles", sync),
            ("restoreRevision", json!({ "revision": 2 })),
        ] {
            let (before, start) = (files(&project).await, manifest(&project).await);
            let made = number(&project.write(name, input.clone(), "revision").await["revision"]);
            let after = files(&project).await;
            assert_ne!(before, after);
            // Undone, redone by undoing the undo, and undone once more.
            let undone = project.write("undo", json!({}), "revision manifestSha256 fileCount").await;
            assert_eq!(files(&project).await, before, "undo of {name} {input}");
            assert_eq!((&undone["revision"], &undone["manifestSha256"]), (&json!(made + 1), &json!(start)));
            undo(&project, made + 1).await;
            assert_eq!(files(&project).await, after, "undo of the undo of {name} {input}");
            undo(&project, made + 2).await;
            assert_eq!(files(&project).await, before);
        }
        let log = project.ask("changes(first: 1) { nodes { changeDescription } }").await;
        let described = text(&log["changes"]["nodes"][0]["changeDescription"]);
        assert_eq!(described, format!("Undo of revision {}", project.revision().await - 1));
    }

    async fn an_undo_restores_the_projects_fields_unless_they_changed_since(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "First").await;
        project.create_file("a", "1\n").await;
        let fields = "name description initialPrompt config status";
        let start = project.ask(fields).await;
        let update = async |changes: Value| {
            let input = tests::project::with(json!({ "id": project.id }), changes);
            let answer = project.client.mutate("updateProject", input, "revision").await.ok();
            number(&answer["updateProject"]["revision"])
        };
        let all = json!({ "name": "Second", "description": "Said", "initialPrompt": "Go", "config": { "voice": "echo" }, "status": "ARCHIVED" });
        let changed = update(all).await;
        let second = project.ask(fields).await;

        // The undo and its undo are ordinary revisions, which later readers of the history see too.
        let select = "revision changes { path } fileCount manifestSha256 hiddenMessages project { name description config status }";
        let undone = project.write("undo", json!({ "revision": changed }), select).await;
        assert_eq!((&undone["revision"], &undone["changes"], &undone["fileCount"]), (&json!(changed + 1), &json!([]), &json!(1)));
        assert_eq!(undone["project"]["description"], Value::Null);
        assert_eq!(project.ask(fields).await, start);
        undo(&project, changed + 1).await;
        assert_eq!(project.ask(fields).await, second);
        let query = format!("query($id: ID!, $at: Int!) {{ project(id: $id, at: {{ revision: $at }}) {{ {fields} }} }}");
        for (at, expected) in [(changed - 1, &start), (changed, &second), (changed + 1, &start), (changed + 2, &second)] {
            let then = project.client.gql(&query, json!({ "id": project.id, "at": at })).await.ok();
            assert_eq!(then["project"], *expected, "as of {at}");
        }
        let log = project.ask(&format!("events(afterRevision: {changed}) {{ kind changes {{ path }} }}")).await;
        let entry = json!({ "kind": "PROJECT_UPDATED", "changes": [] });
        assert_eq!(log["events"], json!([entry, entry]));

        // Another field can have changed since; the same field cannot.
        let renamed = update(json!({ "name": "Third" })).await;
        let described = update(json!({ "description": "Otherwise" })).await;
        undo(&project, renamed).await;
        assert_eq!(project.ask("name description").await, json!({ "name": "Second", "description": "Otherwise" }));
        let answer = refused(&project, "undo", json!({ "revision": changed + 2 }), "CONFLICT").await;
        assert_eq!(answer.field(), "revision");
        assert!(answer.error()["message"].as_str().unwrap().ends_with("changed since: description."), "{answer:?}");
        let answer = refused(&project, "undo", json!({ "revision": renamed }), "CONFLICT").await;
        assert!(answer.error()["message"].as_str().unwrap().ends_with("is already undone."), "{answer:?}");
        undo(&project, described).await;
        undo(&project, changed + 2).await;
        assert_eq!(project.ask(fields).await, start);

        // The owner undoes a deletion with `updateProject`; an editor cannot undo it.
        let deleted = update(json!({ "status": "DELETED" })).await;
        let answer = refused(&project, "undo", json!({ "revision": deleted }), "CONFLICT").await;
        assert!(answer.error()["message"].as_str().unwrap().contains("updateProject"), "{answer:?}");
        let back = update(json!({ "status": "ACTIVE" })).await;
        let eve = project.of(&server.user("eve@example.com"));
        eve.client.gql("{ viewer { id } }", json!({})).await.ok();
        server.database().add_collaborator(&project.id, "eve@example.com", "editor", true).await;
        refused(&eve, "undo", json!({ "revision": back }), "FORBIDDEN").await;
        undo(&project, back).await;
        assert_eq!(project.ask("status").await["status"], "DELETED");
    }

    async fn an_undo_that_would_lose_later_work_is_refused(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Overlaps").await;
        project.create_file("a", "one\n").await;
        project.create_file("b", "two\n").await;
        let sync = json!({ "files": [{ "path": "a", "content": "A\n" }, { "path": "b", "content": "B\n" }, { "path": "c", "content": "C\n" }] });
        let synced = number(&project.write("syncFiles", sync, "revision").await["revision"]);

        // Files that others have changed since block the undo …
        project.update_file("b", "beta\n").await;
        project.write("deleteFile", json!({ "path": "c" }), "revision").await;
        let answer = refused(&project, "undo", json!({ "revision": synced }), "CONFLICT").await;
        assert_eq!(answer.error()["extensions"]["paths"], json!(["b"]));
        assert_eq!(answer.field(), "revision");
        // … but changes that have been undone themselves do not, nor once they are redone.
        undo(&project, synced + 2).await;
        let answer = refused(&project, "undo", json!({ "revision": synced }), "CONFLICT").await;
        assert_eq!(answer.error()["extensions"]["paths"], json!(["b"]));

        // An older revision whose files have not changed since can be undone, whatever came after it.
        let made = project.create_file("d", "four\n").await;
        let created = project.revision().await;
        project.update_file("a", "alpha\n").await;
        let undone = undo(&project, created).await;
        assert_eq!(undone["changes"], json!([{ "type": "DELETE", "path": "d", "oldPath": null }]));

        // If another file has taken the path, the error names it.
        let deleted = project.revision().await;
        project.create_file("d", "another\n").await;
        let answer = refused(&project, "undo", json!({ "revision": deleted }), "CONFLICT").await;
        assert_eq!(answer.error()["extensions"]["paths"], json!(["d"]));
        project.write("deleteFile", json!({ "path": "d" }), "revision").await;
        project.create_file("d/below", "another\n").await;
        let answer = refused(&project, "undo", json!({ "revision": deleted }), "CONFLICT").await;
        assert_eq!(answer.error()["extensions"]["paths"], json!(["d"]));
        project.write("deleteFile", json!({ "path": "d/below" }), "revision").await;
        undo(&project, deleted).await;
        assert_eq!(project.ask("file(path: \"d\") { id }").await["file"]["id"], made);

        // Revisions that changed neither files nor the project cannot be undone, nor can missing ones; and the
        // precondition holds.
        project.start_session().await;
        let last = project.revision().await;
        for revision in [1, last, last + 1, 0, -1] {
            let answer = refused(&project, "undo", json!({ "revision": revision }), "BAD_USER_INPUT").await;
            assert_eq!(answer.field(), "revision");
        }
        let stale = json!({ "revision": last - 1, "expectedRevision": last - 2 });
        let answer = refused(&project, "undo", stale, "CONFLICT").await;
        assert_eq!(answer.error()["extensions"]["currentRevision"], last);
        let eve = project.of(&server.user("eve@example.com"));
        assert_eq!(eve.mutate("undo", json!({ "revision": last - 1 }), "revision").await.error_code(), "NOT_FOUND");
    }
}
