//! Given a budget of bytes for an operation, when more is loaded or answered than it has, then the operation is refused before that
//! takes memory, and the error names the setting.

use serde_json::json;
use tests::{client::Client, database::Database, project::Project, server::Server};

/// Bytes of an operation.
const BUDGET: usize = 1_000_000;

async fn start(database: &Database) -> (Server, Project) {
    let server = Server::start_with(database, &[&format!("--max-operation-bytes={BUDGET}")]).await;
    let project = Project::create(&server.user("ada@example.com"), "Large").await;
    (server, project)
}

async fn passes(client: &Client, query: &str) {
    let answer = client.gql(query, json!({})).await;
    assert_eq!(answer.errors.len(), 0, "{query}: {:?}", answer.errors);
}

async fn is_refused(client: &Client, query: &str) {
    let answer = client.gql(query, json!({})).await;
    let error = answer.error();
    assert_eq!(error["extensions"]["code"], "QUERY_TOO_COMPLEX", "{query}: {error}");
    assert!(error["message"].as_str().unwrap().contains("--max-operation-bytes"), "{error}");
    let code = |error: &serde_json::Value| error["extensions"]["code"] == "QUERY_TOO_COMPLEX";
    assert!(answer.errors.iter().all(code), "{:?}", answer.errors);
}

fn aliases(count: usize, field: &str) -> String {
    (0..count).map(|n| format!("a{n}: {field} ")).collect()
}

tests::on_both! {
    async fn contents_that_compress_well_are_counted_by_their_size(database: Database) {
        let (server, project) = start(&database).await;
        let (ada, id) = (&project.client, &project.id);
        for n in 0..4 {
            // Different, so that each is a content of its own.
            project.create_file(&format!("f{n}"), &format!("{n}\n{}", "a".repeat(BUDGET * 3 / 10))).await;
        }
        let files = |select: &str, first: usize| format!("{{ project(id: \"{id}\") {{ files(first: {first}) {{ nodes {{ {select} }} }} }} }}");
        passes(ada, &files("path content", 3)).await;
        is_refused(ada, &files("path content", 4)).await;
        let file = |select: &str| format!("{{ project(id: \"{id}\") {{ file(path: \"f0\") {{ {select} }} }} }}");
        passes(ada, &file(&aliases(3, "content"))).await;
        is_refused(ada, &file(&aliases(4, "content"))).await;
        // The same for what is made of contents.
        let changes = |select: &str| format!("{{ project(id: \"{id}\") {{ changes(first: 1) {{ nodes {{ {select} }} }} }} }}");
        passes(ada, &changes("diff newContent oldContent")).await;
        for field in ["diff", "newContent", "lineChanges"] {
            is_refused(ada, &changes(&aliases(4, field))).await;
        }
        passes(ada, &format!("{{ project(id: \"{id}\") {{ diff(from: 3, to: 4) {{ diff }} }} }}")).await;
        is_refused(ada, &format!("{{ project(id: \"{id}\") {{ {} }} }}", aliases(4, "diff(from: 3, to: 4) { diff }"))).await;
        // What is refused has cost the server nothing that others would miss.
        passes(ada, &files("path content", 3)).await;
        server.stop().await;
    }

    async fn messages_are_counted_as_they_are_read_and_as_they_are_answered(database: Database) {
        let (server, project) = start(&database).await;
        let session = project.start_session().await;
        for _ in 0..6 {
            project.add_message(&session, &"b".repeat(BUDGET / 5), false).await;
        }
        let messages = |select: &str, first: usize| {
            format!("{{ node(id: \"{session}\") {{ ... on ChatSession {{ messages(first: {first}) {{ nodes {{ {select} }} }} }} }} }}")
        };
        passes(&project.client, &messages("id content", 3)).await;
        // Also what is not selected is read.
        is_refused(&project.client, &messages("id", 6)).await;
        passes(&project.client, &messages(&aliases(4, "content"), 1)).await;
        is_refused(&project.client, &messages(&aliases(6, "content"), 1)).await;
        let count = "{ projects { nodes { stats { totalMessages } } } }";
        assert_eq!(project.client.gql(count, json!({})).await.data["projects"]["nodes"][0]["stats"]["totalMessages"], 6);
        server.stop().await;
    }
}
