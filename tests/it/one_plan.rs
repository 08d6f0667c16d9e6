//! Given any history, when somebody previews a restore and then restores, then both agree, only selected paths are
//! written, and nothing is written if there is nothing to do.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{
    client::Response,
    database::Kind,
    project::{Project, each, number},
    server::Server,
    workload::Random,
};

const CHANGE: &str = "type path oldPath additions deletions diff";

async fn preview(project: &Project, to: i64, paths: Option<&[&str]>, session: Option<&str>) -> Response {
    let query = format!(
        "query($id: ID!, $to: Int!, $paths: [String!], $session: ID) {{ project(id: $id) {{
         restorePreview(to: {{ revision: $to }}, paths: $paths, sessionId: $session) {{ diff {{ {CHANGE} }} }} }} }}"
    );
    project.client.gql(&query, json!({ "id": project.id, "to": to, "paths": paths, "session": session })).await
}

fn sorted(changes: &Value) -> BTreeSet<String> {
    changes
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            json!([
                change["type"],
                change["oldPath"],
                change["path"],
                change["additions"],
                change["deletions"],
                change["diff"]
            ])
            .to_string()
        })
        .collect()
}

/// Previews, restores and compares. Returns how many files changed; `None` if the restore was refused.
async fn compare(
    project: &Project,
    to: i64,
    paths: Option<&[&str]>,
    session: Option<&str>,
    said: &str,
) -> Option<usize> {
    let before = project.state().await;
    let revision = number(&before["revision"]);
    let shown = preview(project, to, paths, session).await;
    let input = json!({ "revision": to, "paths": paths, "sessionId": session });
    let restored = project.mutate("restoreRevision", input, &format!("revision changes {{ {CHANGE} }}")).await;
    if !restored.errors.is_empty() {
        assert_eq!(shown.error_code(), restored.error_code(), "{said}: {restored:?}");
        assert_eq!(shown.error()["message"], restored.error()["message"], "{said}");
        assert_eq!(shown.error()["extensions"]["paths"], restored.error()["extensions"]["paths"], "{said}");
        assert_eq!(project.state().await, before, "{said}");
        return None;
    }
    let shown =
        shown.data().unwrap_or_else(|error| panic!("{said}: {error:#}"))["project"]["restorePreview"]["diff"].take();
    let restored = restored.data().unwrap()["restoreRevision"].take();
    assert_eq!(sorted(&shown), sorted(&restored["changes"]), "{said}");
    let changes = restored["changes"].as_array().unwrap();
    assert_eq!(number(&restored["revision"]), revision + i64::from(!changes.is_empty()), "{said}");
    if changes.is_empty() {
        assert_eq!(project.state().await, before, "{said}");
    }
    for change in changes.iter().filter(|_| paths.is_some()) {
        for path in ["path", "oldPath"].iter().filter_map(|field| change[field].as_str()) {
            let chosen = paths.unwrap().iter().any(|chosen| path == *chosen || path.starts_with(&format!("{chosen}/")));
            assert!(chosen, "{said}: {change}");
        }
    }
    Some(changes.len())
}

const PLACES: &[&str] = &["a", "b", "x", "y", "d", "d/a", "d/x", "e/a"];

async fn step(random: &mut Random, project: &Project, session: &str) {
    let place = |random: &mut Random| PLACES[random.below(PLACES.len())];
    let text: String = (0..random.below(5)).map(|n| format!("{n} {}\n", random.below(3))).collect();
    let (path, other) = (place(random), place(random));
    let session = (random.below(2) == 0).then_some(session);
    let (name, input) = match random.below(8) {
        0..=1 => ("createFile", json!({ "path": path, "content": text, "sessionId": session })),
        2..=3 => ("updateFile", json!({ "path": path, "content": text, "sessionId": session })),
        4 => ("renameFile", json!({ "path": path, "newPath": other, "sessionId": session })),
        5 => ("deleteFile", json!({ "path": path, "sessionId": session })),
        6 => ("updateFile", json!({ "path": path, "mode": if random.below(2) == 0 { "EXECUTABLE" } else { "FILE" } })),
        _ => (
            "syncFiles",
            json!({ "files": [{ "path": path, "content": text }, { "path": format!("{other}z"), "content": text }], "sessionId": session }),
        ),
    };
    // Some of these writes are refused; the history consists of the others.
    project.mutate(name, input, "revision").await;
}

tests::on_both! {
    async fn preview_and_restore_agree_over_random_histories(server: Server) {
        let ada = server.user("ada@example.com");
        let (mut carried_out, mut refused) = (0, 0);
        // Other histories on each database: the plan is made by the same code.
        let first = if server.database().kind() == Kind::Sqlite { 1 } else { 5 };
        for seed in first..first + 4 {
            let mut random = Random(seed);
            let project = Project::create(&ada, "Plans").await;
            let session = project.start_session().await;
            for n in 0..40 {
                step(&mut random, &project, &session).await;
                if n % 4 != 3 {
                    continue;
                }
                let to = 1 + random.below(project.revision().await as usize) as i64;
                let paths: Vec<&str> = (0..=random.below(3)).map(|_| PLACES[random.below(PLACES.len())]).collect();
                let paths = (random.below(3) > 0).then_some(paths);
                let of = (random.below(3) == 0).then_some(session.as_str());
                let said = format!("seed {seed}, step {n}: to {to}, paths {paths:?}, session {of:?}");
                match compare(&project, to, paths.as_deref(), of, &said).await {
                    Some(_) => carried_out += 1,
                    None => refused += 1,
                }
            }
        }
        assert!(carried_out > 15 && refused > 0, "{carried_out} carried out, {refused} refused");
    }

    async fn paths_limit_what_is_written(server: Server) {
        let ada = server.user("ada@example.com");
        // Files that were elsewhere at that revision do not return to unselected paths.
        let project = Project::create(&ada, "Moved and deleted").await;
        project.create_file("a", "a\n").await;
        project.write("renameFile", json!({ "path": "a", "newPath": "d/x" }), "revision").await;
        project.write("deleteFile", json!({ "path": "d/x" }), "revision").await;
        assert_eq!(compare(&project, 2, Some(&["d"]), None, "d").await, Some(0));
        assert_eq!(project.contents().await, []);
        assert_eq!(compare(&project, 2, Some(&["a"]), None, "a").await, Some(1));
        assert_eq!(project.contents().await, [("a".to_owned(), "a\n".to_owned())]);
        assert_eq!(compare(&project, 3, Some(&["d"]), None, "d again").await, Some(1));
        // `a` was `d/x` at that revision, and still exists: `d/x` is a copy of its old content.
        assert_eq!(project.contents().await, [("a", "a\n"), ("d/x", "a\n")].map(|(path, text)| (path.to_owned(), text.to_owned())));

        // Another file has taken its path.
        let project = Project::create(&ada, "Taken").await;
        project.create_file("x", "old\n").await;
        project.write("renameFile", json!({ "path": "x", "newPath": "y" }), "revision").await;
        project.create_file("x", "new\n").await;
        assert_eq!(compare(&project, 2, Some(&["y"]), None, "y").await, Some(1));
        assert_eq!(project.contents().await, [("x".to_owned(), "new\n".to_owned())]);
        assert_eq!(compare(&project, 2, Some(&["x"]), None, "x").await, Some(2));
        assert_eq!(project.contents().await, [("x".to_owned(), "old\n".to_owned())]);

        // A restore that conflicts with unselected files is refused by both.
        let project = Project::create(&ada, "In the way").await;
        project.create_file("d/x", "x\n").await;
        project.write("deleteFile", json!({ "path": "d/x" }), "revision").await;
        project.create_file("d", "a file\n").await;
        assert_eq!(compare(&project, 2, Some(&["d/x"]), None, "below a file").await, None);
        assert_eq!(compare(&project, 2, Some(&["d"]), None, "the file too").await, Some(2));
    }

    async fn nothing_to_do_writes_nothing(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Nothing").await;
        project.create_file("a", "a\n").await;
        let made = project.write("createSnapshot", json!({ "name": "Here" }), "revision snapshot { id revision manifestSha256 }").await;
        let state = project.state().await;
        let select = "revision manifestSha256 fileCount changes { path } backup { id name revision manifestSha256 }";
        for input in [json!({ "revision": made["revision"] }), json!({ "revision": 1, "paths": [] }), json!({ "revision": 2, "paths": ["a"] })] {
            let restored = project.write("restoreRevision", input.clone(), select).await;
            assert_eq!((&restored["revision"], &restored["changes"]), (&made["revision"], &json!([])), "{input}");
            assert_eq!((&restored["fileCount"], &restored["backup"]["manifestSha256"]), (&json!(1), &restored["manifestSha256"]), "{input}");
        }
        let mutation = "mutation($id: ID!) { restoreSnapshot(input: { snapshotId: $id }) { revision backup { id } } }";
        let restored = project.client.gql(mutation, json!({ "id": made["snapshot"]["id"] })).await.ok();
        assert_eq!(restored["restoreSnapshot"], json!({ "revision": made["revision"], "backup": { "id": made["snapshot"]["id"] } }));
        assert_eq!(project.state().await, state);
        let session = project.start_session().await;
        let input = json!({ "revision": 2, "scope": "CONVERSATION", "sessionId": session });
        let restored = project.write("restoreRevision", input, "revision hiddenMessages").await;
        assert_eq!(restored, json!({ "revision": project.revision().await, "hiddenMessages": 0 }));

        // A misspelt path is refused; a path that existed once is accepted.
        for (paths, field) in [(json!(["b"]), "paths[0]"), (json!(["a", "a/b"]), "paths[1]"), (json!(["a", "A"]), "paths[1]")] {
            let answer = project.mutate("restoreRevision", json!({ "revision": 1, "paths": paths }), "revision").await;
            assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", field), "{paths}");
        }
        assert_eq!(preview(&project, 1, Some(&["b"]), None).await.error_code(), "BAD_USER_INPUT");

        // A revision that does not exist is the same error for both.
        for revision in [0, -1, 999] {
            assert_eq!(compare(&project, revision, None, None, "no such revision").await, None);
            let refused = preview(&project, revision, None, None).await;
            assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", "revision"));
        }
    }

    async fn only_changes_of_files_are_in_the_way_of_a_restore_of_files(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Guards").await;
        let session = project.start_session().await;
        project.create_file("a", "1\n").await;
        let then = project.revision().await;
        project.update_file("a", "2\n").await;
        for (name, input, files_matter) in [
            ("undo", json!({}), true),
            ("restoreRevision", json!({ "revision": then }), true),
            ("restoreRevision", json!({ "revision": then, "scope": "BOTH", "sessionId": session }), true),
        ] {
            let seen = project.revision().await;
            let both = input["scope"] == "BOTH";
            if both {
                project.start_session().await;
            }
            if !both {
                project.add_message(&session, "Hello", false).await;
            }
            let guarded = tests::project::with(input.clone(), json!({ "expectedRevision": seen }));
            let done = project.mutate(name, guarded.clone(), "revision").await;
            let done = number(&done.ok()[name]["revision"]);
            assert_eq!(done, project.revision().await, "{name}");
            project.update_file("a", &format!("{done}\n")).await;
            let refused = project.mutate(name, guarded, "revision").await;
            assert_eq!((refused.error_code(), refused.field(), files_matter), ("CONFLICT", "expectedRevision", true), "{name}");
        }
        // A message that would be hidden is in the way of a restore of its conversation, and a name in that of its undo.
        let current = project.start_session().await;
        let seen = project.revision().await;
        project.add_message(&current, "Unseen", false).await;
        let input = json!({ "revision": seen, "scope": "CONVERSATION", "sessionId": current, "expectedRevision": seen });
        assert_eq!(project.mutate("restoreRevision", input, "revision").await.error_code(), "CONFLICT");
        project.client.mutate("updateProject", json!({ "id": project.id, "name": "One" }), "revision").await.ok();
        let renamed = project.revision().await;
        project.update_file("a", "later\n").await;
        project.write("undo", json!({ "revision": renamed, "expectedRevision": renamed }), "revision").await;
        let stale = json!({ "revision": renamed, "expectedRevision": renamed });
        assert_eq!(project.mutate("undo", stale, "revision").await.error_code(), "CONFLICT");
    }

    async fn an_undo_in_whose_way_something_is_names_it(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "In the way").await;
        project.create_file("d/a", "d\n").await;
        let moved = project.write("renameFile", json!({ "path": "d", "newPath": "e" }), "revision").await;
        project.create_file("d/a", "new\n").await;
        let refused = project.mutate("undo", json!({ "revision": moved["revision"] }), "revision").await;
        assert_eq!((refused.error_code(), each(&refused.error()["extensions"]["files"], "path")), ("CONFLICT", vec![json!("d/a")]));
        assert_eq!(refused.error()["extensions"]["files"][0]["currentVersion"], project.ask("file(path: \"d/a\") { version }").await["file"]["version"]);

        project.create_file("a", "a\n").await;
        let gone = project.write("deleteFile", json!({ "path": "a" }), "revision").await;
        project.create_file("a/b", "b\n").await;
        let refused = project.mutate("undo", json!({ "revision": gone["revision"] }), "revision").await;
        assert_eq!((refused.error_code(), each(&refused.error()["extensions"]["files"], "path")), ("CONFLICT", vec![json!("a/b")]));
        assert_eq!(refused.error()["message"], "A file cannot be at \"a\", since \"a/b\" is there.");
    }

    async fn entries_at_one_path_are_read_in_parts(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Parts").await;
        for path in ["a", "b", "x"] {
            project.create_file(path, &format!("{path}\n")).await;
        }
        let from = project.revision().await;
        project.write("createSnapshot", json!({}), "revision").await;
        project.write("deleteFile", json!({ "path": "a" }), "revision").await;
        project.write("renameFile", json!({ "path": "x", "newPath": "a" }), "revision").await;
        project.update_file("b", "B\n").await;
        let expected = [json!(["a", "DELETE"]), json!(["a", "RENAME"]), json!(["b", "UPDATE"])];
        for list in [
            format!("list: diff(from: {from}, ARGUMENTS) {{ cursor path type }}"),
            "snapshots(first: 1) { nodes { id diff(ARGUMENTS) { cursor path type } } }".to_owned(),
            format!("list: restorePreview(to: {{ revision: {from} }}) {{ diff(ARGUMENTS) {{ cursor path type }} }}"),
        ] {
            let (mut found, mut after) = (Vec::new(), String::new());
            loop {
                let mut answer = project.ask(&list.replace("ARGUMENTS", &format!("first: 1{after}"))).await;
                let rows = if answer["list"].is_array() {
                    answer["list"].take()
                } else if answer["list"].is_object() {
                    answer["list"]["diff"].take()
                } else {
                    answer["snapshots"]["nodes"][0]["diff"].take()
                };
                let Some(row) = rows.as_array().unwrap().first().cloned() else { break };
                after = format!(", after: {}", row["cursor"]);
                found.push(json!([row["path"], row["type"]]));
                assert!(found.len() < 9);
            }
            match list.contains("restorePreview") {
                true => assert_eq!(found, [json!(["x", "RENAME"]), json!(["b", "UPDATE"]), json!(["a", "CREATE"])]),
                false => assert_eq!(found, expected, "{list}"),
            }
        }
        let rest = project.ask(&format!("diff(from: {from}, after: \"a\") {{ path }}")).await;
        assert_eq!(each(&rest["diff"], "path"), ["b"]);
    }

    async fn a_session_limits_a_restore_to_its_own_writes(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Sessions").await;
        project.create_file("a", "1\n2\n3\n4\n5\n6\n7\n").await;
        project.create_file("b", "b\n").await;
        let then = project.revision().await;
        let session = project.start_session().await;
        let write = |path: &str, content: &str| json!({ "path": path, "content": content, "sessionId": session });
        project.write("updateFile", write("a", "one\n2\n3\n4\n5\n6\n7\n"), "revision").await;
        project.update_file("a", "one\n2\n3\n4\n5\n6\nseven\n").await;
        project.update_file("b", "B\n").await;
        project.write("createFile", write("c", "c\n"), "revision").await;
        assert_eq!(compare(&project, then, None, Some(&session), "session").await, Some(2));
        let expected = [("a", "1\n2\n3\n4\n5\n6\nseven\n"), ("b", "B\n")].map(|(path, text)| (path.to_owned(), text.to_owned()));
        assert_eq!(project.contents().await, expected);
        // Sessions of other projects are not found, and later writes of others conflict.
        let other = Project::create(&project.client, "Other").await.start_session().await;
        assert_eq!(preview(&project, then, None, Some(&other)).await.error_code(), "NOT_FOUND");
        project.write("updateFile", write("b", "BB\n"), "revision").await;
        project.update_file("b", "BBB\n").await;
        assert_eq!(compare(&project, then, None, Some(&session), "overwritten").await, None);
        let shown = preview(&project, then, None, Some(&session)).await;
        assert_eq!(each(&shown.error()["extensions"]["files"], "path"), ["b"]);
    }
}
