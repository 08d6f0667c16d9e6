//! Given rows of a list, with any selection in any order, then the answer equals the library's own: within a fragment
//! the library resolves the fields itself.

use serde_json::json;
use tests::{client::Client, project::Project, server::Server, workload::Random};

const MESSAGE: &[&str] = &[
    "__typename",
    "id",
    "role",
    "content",
    "timestamp",
    "revision",
    "isCheckpoint",
    "contextData",
    "metadata",
    "isHidden",
    "author { id fullName }",
    "session { id title }",
    "changes { id path }",
    "snapshot { id }",
];
const FILE: &[&str] = &[
    "__typename",
    "id",
    "path",
    "name",
    "parentPath",
    "type",
    "language",
    "sizeBytes",
    "version",
    "hash",
    "isDeleted",
    "createdAt",
    "updatedAt",
    "content",
    "contentBase64",
    "project { id }",
    "versions(first: 2) { nodes { version path } }",
];
const CHANGE: &[&str] = &[
    "__typename",
    "id",
    "revision",
    "type",
    "path",
    "oldPath",
    "additions",
    "deletions",
    "coalescedCount",
    "changeDescription",
    "createdAt",
    "oldContent",
    "newContent",
    "diff",
    "lineChanges",
    "createdBy { id }",
    "file { id }",
    "message { id }",
];
const PROJECT: &[&str] = &[
    "__typename",
    "id",
    "name",
    "description",
    "initialPrompt",
    "config",
    "status",
    "createdAt",
    "updatedAt",
    "revision",
    "viewerRole",
    "stats { totalFiles totalChanges totalMessages lastActivityAt }",
    "stats { __typename latestSessionAt }",
    "owner { id }",
    "activeSession { id }",
];

/// Some of the fields, some with aliases, some twice, some behind a directive.
fn selection(random: &mut Random, fields: &[&str]) -> String {
    let some = (0..1 + random.below(8)).map(|at| {
        let field = fields[random.below(fields.len())];
        match random.below(8) {
            0 => format!("as{at}: {field}"),
            1 => match field.split_once([' ', '(']) {
                Some(_) => field.to_owned(),
                None => format!("{field} @include(if: {})", random.below(2) == 0),
            },
            _ => field.to_owned(),
        }
    });
    let some: Vec<String> = some.collect();
    // At least one field that is not skipped.
    format!("__typename {}", some.join(" "))
}

/// As text: the order of keys is part of the answer.
async fn answer(client: &Client, query: &str) -> String {
    let body = json!({ "query": query }).to_string();
    let bearer = format!("Bearer {}", client.token().expect("a token"));
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let raw = client.send("POST", "/graphql", &headers, body.into_bytes()).await.expect("an answer");
    String::from_utf8_lossy(&raw.body).into_owned()
}

tests::on_both! {
    async fn rows_equal_those_of_the_library(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Rows").await;
        let session = project.start_session().await;
        for (text, is_checkpoint) in [("one", false), ("two", true)] {
            project.add_message(&session, text, is_checkpoint).await;
        }
        project.create_file("src/a.py", "one\n").await;
        project.create_file("b.txt", "two").await;
        project.update_file("src/a.py", "one\ntwo\n").await;
        let project_id = &project.id;
        let lists = [
            (MESSAGE, format!("{{ node(id: \"{session}\") {{ ... on ChatSession {{ messages {{ nodes {{ ROW }} edges {{ node {{ ROW }} }} }} }} }} }}")),
            (FILE, format!("{{ project(id: \"{project_id}\") {{ files {{ nodes {{ ROW }} }} }} }}")),
            (CHANGE, format!("{{ project(id: \"{project_id}\") {{ changes {{ nodes {{ ROW }} }} }} }}")),
            (PROJECT, "{ projects { nodes { ROW } } }".to_owned()),
        ];
        let mut random = Random(1);
        for (fields, list) in &lists {
            for _ in 0..40 {
                let row = selection(&mut random, fields);
                let [ours, theirs] = [row.clone(), format!("... {{ {row} }}")].map(|row| list.replace("ROW", &row));
                let (ours, theirs) = (answer(&project.client, &ours).await, answer(&project.client, &theirs).await);
                assert!(ours.contains("__typename") && !ours.contains("errors"), "{row}: {ours}");
                assert_eq!(ours, theirs, "{row}");
            }
        }
    }
}
