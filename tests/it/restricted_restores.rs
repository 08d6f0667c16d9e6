//! Given writes of several sessions, when a restore is restricted to a session and to paths, then only what is at these
//! paths can be in the way, arguments that the scope would ignore are refused, and a preview accepts ids of the past.

use serde_json::{Value, json};
use tests::{
    client::Response,
    project::{Project, number, text},
    server::Server,
};

async fn sync(project: &Project, session: &str, files: &[(&str, &str)]) -> i64 {
    let files: Vec<Value> = files.iter().map(|(path, text)| json!({ "path": path, "content": text })).collect();
    number(&project.write("syncFiles", json!({ "sessionId": session, "files": files }), "revision").await["revision"])
}

async fn rename(project: &Project, session: &str, from: &str, to: &str) {
    let input = json!({ "path": from, "newPath": to, "sessionId": session });
    project.write("renameFile", input, "revision").await;
}

async fn preview(project: &Project, to: Value, paths: Option<&[&str]>, session: &str) -> Response {
    let query = "query($id: ID!, $to: Moment!, $paths: [String!], $session: ID) { project(id: $id) {
        restorePreview(to: $to, paths: $paths, sessionId: $session) { revision diff { type path } } } }";
    let variables = json!({ "id": project.id, "to": to, "paths": paths, "session": session });
    project.client.gql(query, variables).await
}

/// The changes of a restore, which are also those of its preview.
async fn restore(project: &Project, revision: i64, paths: &[&str], session: &str) -> Vec<(String, String)> {
    let mut shown = preview(project, json!({ "revision": revision }), Some(paths), session).await.ok();
    let input = json!({ "revision": revision, "paths": paths, "sessionId": session });
    let restored = project.write("restoreRevision", input, "changes { type path }").await;
    assert_eq!(shown["project"]["restorePreview"]["diff"].take(), restored["changes"], "{paths:?}");
    let changes = restored["changes"].as_array().unwrap();
    changes.iter().map(|change| (text(&change["type"]), text(&change["path"]))).collect()
}

/// A restore and its preview must fail because of these files.
async fn in_the_way(project: &Project, revision: i64, paths: Option<&[&str]>, session: &str, files: &[&str]) {
    let before = project.state().await;
    let shown = preview(project, json!({ "revision": revision }), paths, session).await;
    let input = json!({ "revision": revision, "paths": paths, "sessionId": session });
    let refused = project.mutate("restoreRevision", input, "revision").await;
    for answer in [shown, refused] {
        assert_eq!(
            (answer.error_code(), &answer.error()["extensions"]["paths"]),
            ("CONFLICT", &json!(files)),
            "{paths:?}"
        );
    }
    assert_eq!(project.state().await, before);
}

fn changes(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(kind, path)| ((*kind).to_owned(), (*path).to_owned())).collect()
}

tests::on_both! {
    async fn a_file_outside_the_paths_is_not_in_the_way(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Outside").await;
        let (a, b) = (project.start_session().await, project.start_session().await);
        let base = sync(&project, &b, &[("f", "f\n"), ("g", "g\n"), ("lib/h", "h\n")]).await;
        let snapshot = project.write("createSnapshot", json!({}), "snapshot { id }").await["snapshot"]["id"].clone();
        // Session A writes `f` and `g` in one sync and others alone; B writes some of them again.
        sync(&project, &a, &[("f", "A\n"), ("g", "A\n")]).await;
        sync(&project, &a, &[("lib/h", "A\n")]).await;
        sync(&project, &b, &[("g", "B\n"), ("lib/h", "B\n")]).await;
        in_the_way(&project, base, None, &a, &["g", "lib/h"]).await;
        in_the_way(&project, base, Some(&["f", "g"]), &a, &["g"]).await;
        in_the_way(&project, base, Some(&["lib"]), &a, &["lib/h"]).await;
        assert_eq!(restore(&project, base, &["f"], &a).await, changes(&[("UPDATE", "f")]));
        let contents = [("f", "f\n"), ("g", "B\n"), ("lib/h", "B\n")];
        assert_eq!(project.contents().await, contents.map(|(path, text)| (path.to_owned(), text.to_owned())));

        // The same for a snapshot.
        project.write("undo", json!({}), "revision").await;
        let input = json!({ "snapshotId": snapshot, "paths": ["f"], "sessionId": a });
        let restored = project.client.mutate("restoreSnapshot", input, "changes { path }").await.ok();
        assert_eq!(restored["restoreSnapshot"]["changes"], json!([{ "path": "f" }]));
    }

    async fn a_file_is_in_the_way_at_the_path_that_it_would_get(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Moved").await;
        let (a, b) = (project.start_session().await, project.start_session().await);
        let base = sync(&project, &b, &[("f", "f\n"), ("g", "g\n"), ("old/p", "p\n"), ("t", "t\n")]).await;
        rename(&project, &a, "g", "tmp").await;
        rename(&project, &a, "tmp", "h").await;
        rename(&project, &a, "old/p", "new/p").await;
        sync(&project, &a, &[("f", "A\n"), ("h", "A\n"), ("new/p", "A\n"), ("t", "A\n")]).await;
        sync(&project, &b, &[("h", "B\n"), ("new/p", "B\n")]).await;
        project.write("deleteFile", json!({ "path": "t", "sessionId": b }), "revision").await;
        // Where it is, and where it was; not where it only passed.
        in_the_way(&project, base, Some(&["h"]), &a, &["h"]).await;
        in_the_way(&project, base, Some(&["g"]), &a, &["h"]).await;
        in_the_way(&project, base, Some(&["old"]), &a, &["new/p"]).await;
        in_the_way(&project, base, Some(&["t"]), &a, &["t"]).await;
        assert_eq!(restore(&project, base, &["tmp"], &a).await, []);
        assert_eq!(restore(&project, base, &["f", "tmp"], &a).await, changes(&[("UPDATE", "f")]));

        // B has moved a file that A moved: its old and its present path are in the way, other paths are not.
        rename(&project, &a, "f", "f2").await;
        rename(&project, &b, "f2", "f3").await;
        sync(&project, &a, &[("z", "A\n")]).await;
        in_the_way(&project, base, Some(&["f"]), &a, &["f3"]).await;
        in_the_way(&project, base, Some(&["f3"]), &a, &["f3"]).await;
        assert_eq!(restore(&project, base, &["z"], &a).await, changes(&[("DELETE", "z")]));
    }

    async fn a_conversation_has_no_paths(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Talk").await;
        let session = project.start_session().await;
        let base = sync(&project, &session, &[("f", "f\n")]).await;
        let snapshot = project.write("createSnapshot", json!({}), "snapshot { id }").await["snapshot"]["id"].clone();
        project.add_message(&session, "Hello", false).await;
        let before = project.state().await;
        for paths in [json!(["nope/never"]), json!(["f"]), json!([])] {
            let input = json!({ "scope": "CONVERSATION", "sessionId": session, "paths": paths });
            let (mut revision, mut named) = (input.clone(), input);
            (revision["revision"], named["snapshotId"]) = (json!(base), snapshot.clone());
            let refused = project.mutate("restoreRevision", revision, "revision").await;
            assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", "paths"));
            let refused = ada.mutate("restoreSnapshot", named, "revision").await;
            assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", "paths"));
        }
        assert_eq!(project.state().await, before);
        // Null is the same as absent, and with both parts the paths restrict the files.
        let input = json!({ "revision": base, "scope": "CONVERSATION", "sessionId": session, "paths": null });
        assert_eq!(project.write("restoreRevision", input, "hiddenMessages").await["hiddenMessages"], 1);
        sync(&project, &session, &[("f", "2\n"), ("g", "2\n")]).await;
        let input = json!({ "revision": base, "scope": "BOTH", "sessionId": session, "paths": ["f"] });
        assert_eq!(project.write("restoreRevision", input, "changes { path }").await["changes"], json!([{ "path": "f" }]));
    }

    async fn a_preview_accepts_ids_of_the_past(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Preview").await;
        let session = project.start_session().await;
        let base = sync(&project, &session, &[("f", "f\n")]).await;
        let named = project.write("createSnapshot", json!({}), "snapshot { id }").await["snapshot"]["id"].clone();
        let made = project.revision().await;
        sync(&project, &session, &[("f", "2\n")]).await;
        let newest = project.revision().await;
        let (named, revision) = (text(&named), json!({ "revision": base }));
        let expected = preview(&project, revision.clone(), None, &session).await.ok();
        for at in [base, made, newest] {
            let shown = preview(&project, revision.clone(), None, &format!("{session}@{at}")).await.ok();
            assert_eq!(shown, expected, "{at}");
        }
        for at in [made, newest] {
            let to = json!({ "snapshotId": format!("{named}@{at}") });
            let shown = preview(&project, to, None, &format!("{session}@{at}")).await.ok();
            assert_eq!(shown["project"]["restorePreview"]["diff"], expected["project"]["restorePreview"]["diff"], "{at}");
        }

        // An id of a moment at which the object did not exist, of another project, and of no moment.
        let other = Project::create(&ada, "Other").await;
        let others = other.start_session().await;
        for id in [format!("{session}@1"), format!("{session}@{}", newest + 1), format!("{others}@2"), others] {
            let refused = preview(&project, revision.clone(), None, &id).await;
            assert_eq!((refused.error_code(), refused.field()), ("NOT_FOUND", "sessionId"), "{id}");
        }
        for at in [base, newest + 1] {
            let refused = preview(&project, json!({ "snapshotId": format!("{named}@{at}") }), None, &session).await;
            assert_eq!((refused.error_code(), refused.field()), ("NOT_FOUND", "snapshotId"), "{at}");
        }
        let refused = preview(&project, revision, None, "nonsense@2").await;
        assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", "sessionId"));
        // A write still refuses them.
        let input = json!({ "revision": base, "sessionId": format!("{session}@{made}") });
        let refused = project.mutate("restoreRevision", input, "revision").await;
        assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", "sessionId"));
    }
}
