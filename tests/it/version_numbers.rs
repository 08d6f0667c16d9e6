//! Given a path that one file leaves and another takes, when a client that read the first writes with its version, then it is a
//! CONFLICT; a client that read the second writes.

use serde_json::{Value, json};
use tests::{
    project::{Project, number},
    server::Server,
};

async fn rename(project: &Project, path: &str, new_path: &str) -> i64 {
    let input = json!({ "path": path, "newPath": new_path });
    number(&project.write("renameFile", input, "file { version }").await["file"]["version"])
}

async fn version(project: &Project, path: &str) -> i64 {
    number(&project.ask(&format!("file(path: {path:?}) {{ version }}")).await["file"]["version"])
}

/// Writes to `a` in every guarded way with a version that was read of another file.
async fn assert_refused(project: &Project, seen: i64) {
    let now = version(project, "a").await;
    assert_ne!(now, seen);
    let revision = project.revision().await;
    for (name, input) in [
        ("updateFile", json!({ "path": "a", "content": "old1\nmine\n", "expectedVersion": seen })),
        ("renameFile", json!({ "path": "a", "newPath": "elsewhere", "expectedVersion": seen })),
        ("deleteFile", json!({ "path": "a", "expectedVersion": seen })),
    ] {
        let refused = project.mutate(name, input, "revision").await;
        assert_eq!((refused.error_code(), refused.field()), ("CONFLICT", "expectedVersion"), "{name}");
        assert_eq!(refused.error()["extensions"]["currentVersion"], json!(now), "{name}");
    }
    assert_eq!(project.revision().await, revision);
}

/// Writes to `a` with the version that a read returns.
async fn assert_accepted(project: &Project, content: &str) {
    let seen = version(project, "a").await;
    let input = json!({ "path": "a", "content": content, "expectedVersion": seen });
    let written =
        project.write("updateFile", input, "file { version content versions { totalCount nodes { version } } }").await;
    let file = &written["file"];
    assert_eq!((number(&file["version"]), &file["content"]), (seen + 1, &json!(content)));
    let numbers: Vec<i64> =
        file["versions"]["nodes"].as_array().unwrap().iter().map(|node| number(&node["version"])).collect();
    assert_eq!(file["versions"]["totalCount"], json!(numbers.len()));
    assert!(numbers.windows(2).all(|pair| pair[0] > pair[1]), "{numbers:?}");
}

tests::on_both! {
    async fn a_new_file_has_no_version_of_the_one_that_moved_away(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Names").await;
        project.create_file("a", "old1\n").await;
        rename(&project, "a", "b").await;
        project.create_file("a", "fresh\n").await;
        assert_refused(&project, 1).await;
        assert_accepted(&project, "fresh\nmore\n").await;
        assert_eq!(project.contents().await, [("a".to_owned(), "fresh\nmore\n".to_owned()), ("b".to_owned(), "old1\n".to_owned())]);

        // The same by a sync, which finds the move by itself.
        rename(&project, "b", "c").await;
        project.write("syncFiles", json!({ "files": [{ "path": "b", "content": "other\n" }] }), "revision").await;
        let input = json!({ "path": "b", "content": "x", "expectedVersion": 2 });
        assert_eq!(project.mutate("updateFile", input, "revision").await.error_code(), "CONFLICT");
    }

    async fn a_moved_file_has_no_version_of_the_one_that_was_deleted(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Names").await;
        project.create_file("a", "one\n").await;
        project.create_file("z", "z\n").await;
        project.update_file("a", "two\n").await;
        assert_eq!(version(&project, "a").await, 2);
        project.write("deleteFile", json!({ "path": "a" }), "revision").await;
        rename(&project, "z", "a").await;
        for seen in [1, 2, 3] {
            assert_refused(&project, seen).await;
        }
        assert_accepted(&project, "z\nmore\n").await;

        // Files that change places, and one that comes back.
        project.create_file("k", "k\n").await;
        let seen = version(&project, "a").await;
        rename(&project, "a", "t").await;
        rename(&project, "k", "a").await;
        assert_refused(&project, seen).await;
        let seen = version(&project, "a").await;
        rename(&project, "a", "k").await;
        rename(&project, "t", "a").await;
        assert_refused(&project, seen).await;
        assert_accepted(&project, "z\nagain\n").await;
    }

    async fn a_file_that_arrives_in_the_revision_that_deletes_another_has_a_number_of_its_own(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Names").await;
        project.create_file("a", "old1\n").await;
        let first = project.revision().await;
        rename(&project, "a", "b").await;
        let fresh = project.create_file("a", "fresh\n").await;
        project.update_file("a", "fresh 2\n").await;
        let seen = version(&project, "a").await;
        project.write("restoreRevision", json!({ "revision": first }), "revision").await;
        assert_refused(&project, seen).await;
        assert_eq!(project.contents().await, [("a".to_owned(), "old1\n".to_owned())]);
        let query = "query($id: ID!) { node(id: $id) { ... on ProjectFile { path isDeleted version } } }";
        let deleted = project.client.gql(query, json!({ "id": fresh })).await.ok();
        assert_eq!(deleted["node"], json!({ "path": "a", "isDeleted": true, "version": seen + 1 }));
        assert_eq!(version(&project, "a").await, seen + 2);
    }

    async fn a_version_is_reverted_to_by_its_number(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Names").await;
        project.create_file("a", "old1\n").await;
        rename(&project, "a", "b").await;
        let file = project.create_file("a", "fresh\n").await;
        let first = version(&project, "a").await;
        project.update_file("a", "later\n").await;
        let select = "file { content version }";
        let input = json!({ "fileId": file, "version": first, "expectedVersion": first + 1 });
        let back = project.client.mutate("revertFile", input, select).await.ok();
        assert_eq!(back["revertFile"]["file"], json!({ "content": "fresh\n", "version": first + 2 }));
        let none: Value = json!({ "fileId": file, "version": 1 });
        assert_eq!(project.client.mutate("revertFile", none, select).await.error_code(), "NOT_FOUND");
        // A stale write is merged from the version that its number names.
        let input = json!({ "path": "a", "content": "later\nmine\n", "expectedVersion": first + 1 });
        let refused = project.mutate("updateFile", input, "revision").await;
        assert_eq!(refused.error()["extensions"]["merge"]["clean"], json!(false), "{:?}", refused.error());
    }
}
