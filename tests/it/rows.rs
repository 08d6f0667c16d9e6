//! Given rows of a list, with any selection in any order, then the answer equals the library's own: within a fragment
//! the library resolves the fields itself.

use serde_json::json;
use tests::{client::Client, database::Database, project::Project, server::Server, workload::Random};

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
    let first = ["__typename", "id"][random.below(2)];
    format!("{first} {}", some.join(" "))
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
                assert!(!ours.contains("errors"), "{row}: {ours}");
                assert_eq!(ours, theirs, "{row}");
            }
        }
    }

    async fn fields_of_a_list_that_is_selected_twice_are_merged(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Twice").await;
        let session = project.start_session().await;
        project.add_message(&session, "one", false).await;
        project.add_message(&session, "two", true).await;
        project.create_file("src/a.py", "one\n").await;
        project.update_file("src/a.py", "one\ntwo\n").await;
        let (files, messages) = (format!("project(id: \"{}\")", project.id), format!("node(id: \"{session}\")"));
        let once = [
            format!("{{ {files} {{ files {{ nodes {{ path version versions {{ nodes {{ version hash }} }} }} }} }} }}"),
            format!("{{ {messages} {{ ... on ChatSession {{ messages {{ nodes {{ content role contextData }} }} }} }} }}"),
        ];
        let twice = [
            (0, format!("{{ {files} {{ files {{ nodes {{ path version }} nodes {{ versions {{ nodes {{ version }} nodes {{ hash }} }} }} }} }} }}")),
            (0, format!("{{ {files} {{ files {{ nodes {{ path }} }} files {{ nodes {{ version versions {{ nodes {{ version hash }} }} }} }} }} }}")),
            (0, format!("{{ {files} {{ ...A ...B }} }} fragment A on Project {{ files {{ nodes {{ path version }} }} }}
                fragment B on Project {{ files {{ nodes {{ ...C }} }} }} fragment C on ProjectFile {{ versions {{ nodes {{ version ...D }} }} }}
                fragment D on FileSnapshot {{ hash }}")),
            (0, format!("{{ {files} {{ files {{ ... {{ nodes {{ path version }} }} ... {{ nodes {{ versions {{ nodes {{ version hash }} }} }} }} }} }} }}")),
            (1, format!("{{ {messages} {{ ... on ChatSession {{ messages {{ nodes {{ content }} nodes {{ role }} nodes {{ contextData }} }} }} }} }}")),
            (1, format!("{{ {messages} {{ ...A ... on ChatSession {{ messages {{ nodes {{ contextData }} }} }} }} }}
                fragment A on ChatSession {{ messages {{ nodes {{ content role }} }} }}")),
        ];
        let mut alone = Vec::new();
        for query in &once {
            alone.push(answer(&project.client, query).await);
        }
        assert!(alone[0].contains("\"hash\":\"") && alone[1].contains("\"contextData\":{}"), "{alone:?}");
        for (at, query) in &twice {
            for _ in 0..2 {
                assert_eq!(answer(&project.client, query).await, alone[*at], "{query}");
            }
        }
    }

    async fn a_list_has_what_is_selected_in_any_way(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Any way").await;
        let session = project.start_session().await;
        let input = json!({ "sessionId": session, "role": "USER", "content": "one", "metadata": { "a": 1 }, "contextData": [2] });
        project.client.mutate("addMessage", input, "revision").await.ok();
        project.create_file("a.py", "one\n").await;
        project.update_file("a.py", "one\ntwo\n").await;
        let of_versions = "version hash sizeBytes mode additions deletions createdBy { id }";
        let of_messages = "content metadata contextData";
        let versions = |row: &str, rest: &str| format!("{{ project(id: \"{}\") {{ file(path: \"a.py\") {{ versions {{ {row} }} }} }} }} {rest}", project.id);
        let messages = |row: &str, rest: &str| format!("{{ node(id: \"{session}\") {{ ... on ChatSession {{ messages {{ {row} }} }} }} }} {rest}");
        for (list, kind, fields, shown) in [
            (&versions as &dyn Fn(&str, &str) -> String, "FileSnapshot", of_versions, "\"sizeBytes\":8,\"mode\":\"FILE\",\"additions\":1"),
            (&messages, "ChatMessage", of_messages, "\"metadata\":{\"a\":1},\"contextData\":[2]"),
        ] {
            let plain = answer(&project.client, &list(&format!("nodes {{ {fields} }}"), "")).await;
            assert!(plain.contains(shown), "{plain}");
            let named = format!("fragment F on {kind} {{ {fields} }}");
            for (row, rest) in [
                ("nodes { ...F }", named.as_str()),
                ("... { nodes { ... { ...F } } }", named.as_str()),
                (&format!("nodes {{ ... on {kind} @include(if: true) {{ {fields} }} }}"), ""),
            ] {
                assert_eq!(answer(&project.client, &list(row, rest)).await, plain, "{row}");
            }
            let edges = answer(&project.client, &list("edges { node { ...F } }", &named)).await;
            assert!(edges.contains(shown), "{edges}");
        }
    }

    async fn large_rows_equal_those_of_the_library(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Large").await;
        let session = project.start_session().await;
        // JSON needs six bytes for each.
        let text = "\u{1}\u{2}\"\\é".repeat(4_000);
        for _ in 0..6 {
            project.add_message(&session, &text, false).await;
        }
        let list = format!("{{ node(id: \"{session}\") {{ ... on ChatSession {{ messages {{ nodes {{ ROW }} }} }} }} }}");
        let [ours, theirs] = ["role content", "... { role content }"].map(|row| list.replace("ROW", row));
        let (ours, theirs) = (answer(&project.client, &ours).await, answer(&project.client, &theirs).await);
        assert!(ours.len() > 400_000 && !ours.contains("errors"));
        assert_eq!(ours, theirs);
    }

    async fn values_of_variables_are_checked_in_each_request(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Variables").await;
        let query = "query($t: DateTime, $s: ProjectStatus, $n: Int) { projects(first: $n, filter: { createdAfter: $t, status: $s }) { nodes { name } } }";
        let file = "mutation($input: CreateFileInput!) { createFile(input: $input) { revision } }";
        let input = |path: &str, bytes: &str| json!({ "input": { "projectId": project.id, "path": path, "contentBase64": bytes } });
        for round in 0..3 {
            let good = project.client.gql(query, json!({ "t": "2020-01-01T00:00:00Z", "s": "ACTIVE", "n": 5 })).await.ok();
            assert_eq!(good["projects"]["nodes"], json!([{ "name": "Variables" }]));
            for wrong in [json!({ "t": "yesterday" }), json!({ "t": 5 }), json!({ "s": "NO" }), json!({ "n": "5" }), json!({ "n": 1e10 })] {
                let refused = project.client.gql(query, wrong.clone()).await;
                assert_eq!(refused.error_code(), "BAD_USER_INPUT", "{wrong}");
            }
            project.client.gql(file, input(&format!("{round}"), "AP8=")).await.ok();
            let refused = project.client.gql(file, input("wrong", "A?")).await;
            assert_eq!(refused.error_code(), "BAD_USER_INPUT");
        }
    }

    async fn literals_that_a_request_left_out_are_checked_in_the_next(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Literals").await;
        let sync = |bytes: &str| format!("syncFiles(input: {{ projectId: \"{}\", mode: MERGE, files: [{{ path: \"a\", contentBase64: \"{bytes}\" }}] }}) {{ revision }}", project.id);
        // The field that is selected twice is merged before the document is validated.
        let optional = sync("A?").replace(") { revision }", ") @include(if: $all) { revision }");
        let mutation = format!("mutation($all: Boolean!) {{ one: {0} one: {0} two: {optional} }}", sync("AP8="));
        project.client.gql(&mutation, json!({ "all": false })).await.ok();
        let other = mutation.replace("AP8=", "AP4=");
        for (text, all) in [(&other, true), (&mutation, true), (&other, true)] {
            let before = project.revision().await;
            let refused = project.client.gql(text, json!({ "all": all })).await;
            assert!(refused.data.is_null() && !refused.errors.is_empty(), "{refused:?}");
            assert_eq!(project.revision().await, before);
        }
    }

    async fn errors_of_a_list_are_reported_once(database: Database) {
        let server = Server::start_with(&database, &["--max-operation-bytes=100000"]).await;
        let ada = server.user("ada@example.com");
        for text in ["short".to_owned(), "x".repeat(300_000)] {
            let input = json!({ "name": "Budget", "description": text, "initialPrompt": text, "config": {} });
            ada.mutate("createProject", input, "revision").await.ok();
        }
        let list = "{ projects { nodes { ROW } } }";
        for row in ["name description", "description initialPrompt", "description config initialPrompt name"] {
            let [ours, theirs] = [row.to_owned(), format!("... {{ {row} }}")].map(|row| list.replace("ROW", &row));
            let (ours, theirs) = (ada.gql(&ours, json!({})).await, ada.gql(&theirs, json!({})).await);
            assert!(!ours.errors.is_empty(), "{ours:?}");
            assert_eq!((ours.data, ours.errors.len()), (theirs.data, theirs.errors.len()), "{row}: {:?}", ours.errors);
        }
        server.stop().await;
    }
}
