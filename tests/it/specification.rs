//! Documents and variables are parsed and validated as in the GraphQL specification;
//! `clients/typescript/test/corpus.test.mjs` compares many more with the npm package `graphql`.

use serde_json::{Value, json};
use tests::{
    client::{Client, Response},
    database::Database,
    project::Project,
    server::Server,
    socket::Frame,
};
use tokio_tungstenite::tungstenite::Message;

const INVALID: &str = "GRAPHQL_VALIDATION_FAILED";
const SYNTAX: &str = "GRAPHQL_PARSE_FAILED";
const INPUT: &str = "BAD_USER_INPUT";

async fn post(client: &Client, body: &str) -> Response {
    let bearer = format!("Bearer {}", client.token().unwrap());
    let headers = [("content-type", "application/json"), ("accept", "application/json"), ("authorization", &bearer)];
    client.send("POST", "/graphql", &headers, body.to_owned()).await.unwrap().graphql().unwrap()
}

/// Sends the query and compares the error code. A refused operation has no data.
async fn expect(client: &Client, query: &str, variables: Value, code: &str) {
    let answer = post(client, &json!({ "query": query, "variables": variables }).to_string()).await;
    let found = if answer.errors.is_empty() { "ok" } else { answer.error_code() };
    assert_eq!(found, code, "{query} {variables}: {:?}", answer.errors);
    if code != "ok" {
        assert_eq!(answer.data, Value::Null, "{query}");
    }
}

/// The paths of the response's errors.
fn paths(answer: &Response) -> Vec<Value> {
    answer.errors.iter().map(|error| error["path"].clone()).collect()
}

tests::on_both! {
    async fn strings_are_stored_as_they_are_written(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Strings").await;
        for (at, (literal, text)) in [
            (r#""""x \"""doc\""" y""""#, r#"x """doc""" y"#),
            ("\"\"\"\n    a\n  \n      b\n    \n\"\"\"", "a\n\n  b"),
            ("\"\"\"\n\n  a\n\n  b\n\n\"\"\"", "a\n\nb"),
            ("\"\"\"  a\n   b\n    c\"\"\"", "  a\nb\n c"),
            ("\"\"\"\r\n\ta\r\n\t\tb\r\n\"\"\"", "a\n\tb"),
            (r#""""\n \u0041 \\ """"#, r"\n \u0041 \\ "),
            (r#""""a "b" c\"""""""#, r#"a "b" c""""#),
            (r#""\u{1F600}""#, "\u{1f600}"),
            (r#""\ud83d\ude00""#, "\u{1f600}"),
            (r#""\u00e9\n\t\"\\\/""#, "\u{e9}\n\t\"\\/"),
            ("\"\u{1f600} # { \"", "\u{1f600} # { "),
        ]
        .into_iter()
        .enumerate()
        {
            let query = format!(
                "mutation {{ createFile(input: {{ projectId: \"{}\", path: \"{at}\", content: {literal} }}) {{ file {{ content }} }} }}",
                project.id
            );
            let answer = project.client.gql(&query, json!({})).await.ok();
            assert_eq!(answer["createFile"]["file"]["content"], text, "{literal}");
        }
        for literal in [r#""\ud83d""#, r#""\ude00\ud83d""#, r#""\u{110000}""#, r#""\u{}""#, "\"a\nb\"", r#""\x41""#, r#""a"#] {
            let query = format!("{{ projects(filter: {{ search: {literal} }}) {{ totalCount }} }}");
            expect(&project.client, &query, json!({}), SYNTAX).await;
        }
    }

    async fn an_invalid_document_does_not_run_at_all(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Kept").await;
        let before = project.state().await;
        let rename = |more: &str| format!("mutation {{ updateProject(input: {{ id: \"{}\", name: \"Changed\" }}) {{ revision }} {more} }}", project.id);
        for (more, code) in [
            ("__typename @aa", INVALID),
            ("__typename(a: 1)", INVALID),
            ("...F", INVALID),
            ("x: updateProject(input: { id: \"a\", status: \"ACTIVE\" }) { revision }", INVALID),
            ("x: updateProject(input: { id: \"a\", id: \"b\" }) { revision }", INVALID),
            ("x: updateProject(input: { id: \"a\", config: $a }) { revision }", INVALID),
            ("x: updateProject(input: { id: \"a\", config: { b: [$a] } }) { revision }", INVALID),
            ("updateProject(input: { id: \"a\", name: \"Other\" }) { revision }", INVALID),
            ("x: updateProject(input { id: \"a\" }) { revision }", SYNTAX),
            ("x: updateProject(input: { id: \"a\" }) { revision @defer }", INVALID),
        ] {
            expect(&project.client, &rename(more), json!({}), code).await;
        }
        assert_eq!(project.state().await, before);
        expect(&project.client, &rename(""), json!({}), "ok").await;
    }

    async fn a_mutation_that_is_selected_several_times_runs_once(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Once").await;
        let session = project.start_session().await;
        let add = |more: &str| format!("addMessage(input: {{ sessionId: $s, role: USER, content: \"once\" }}) {{ {more} }}");
        let (message, revision) = (add("message { id }"), add("message { id content } revision"));
        for selection in [
            format!("{message} {revision}"),
            format!("{message} ... on Mutation {{ {revision} }}"),
            format!("{message} ... @include(if: $yes) {{ {revision} }}"),
            format!("{message} {revision} x: addMessage(input: {{ sessionId: $s, role: USER, content: $unused }}) @skip(if: $yes) {{ revision }}"),
            "...A ...B".to_owned(),
            "...B ...B ...A".to_owned(),
            "...A @skip(if: $no) ...B ...A".to_owned(),
        ] {
            let variables = ["$yes", "$no", "$unused"].into_iter().zip(["Boolean = true", "Boolean = false", "String! = \"-\""]);
            let fragments = [("...A", format!("fragment A on Mutation {{ {message} }}")), ("...B", format!("fragment B on Mutation {{ {revision} }}"))];
            let used: String = variables.filter(|(name, _)| selection.contains(name)).map(|(name, ty)| format!(", {name}: {ty}")).collect();
            let fragments: String = fragments.into_iter().filter(|(spread, _)| selection.contains(spread)).map(|(_, fragment)| fragment).collect();
            let query = format!("mutation M($s: ID!{used}) {{ {selection} }} {fragments}");
            let before = project.revision().await;
            let answer = project.client.gql(&query, json!({ "s": session })).await.ok();
            let added = &answer["addMessage"];
            assert_eq!((&added["revision"], &added["message"]["content"]), (&json!(before + 1), &json!("once")), "{query}");
            assert!(added["message"]["id"].is_string(), "{query}");
            assert_eq!(project.revision().await, before + 1, "{query}");
        }
        // Other response keys are other fields.
        let before = project.revision().await;
        let twice = format!("mutation($s: ID!) {{ a: {message} b: {message} }}");
        project.client.gql(&twice, json!({ "s": session })).await.ok();
        assert_eq!(project.revision().await, before + 2);
    }

    async fn a_failing_field_that_is_selected_twice_has_one_error(server: Server) {
        let ada = server.user("ada@example.com");
        let answer = ada.gql("{ node(id: \"x\") { id } ... { node(id: \"x\") { __typename } } viewer { id } }", json!({})).await;
        assert_eq!(paths(&answer), [json!(["node"])]);
        assert!(answer.data["viewer"]["id"].is_string());
    }

    async fn directives_on_typename_and_commas_are_read_as_specified(server: Server) {
        let ada = server.user("ada@example.com");
        let asked = async |query: &str| ada.gql(query, json!({ "a": true })).await.ok();
        for (query, data) in [
            ("query($a: Boolean!) { __typename @include(if: $a) }", json!({ "__typename": "Query" })),
            ("query($a: Boolean!) { __typename @skip(if: $a) }", json!({})),
            ("query($a: Boolean!) { ...F } fragment F on Query { t: __typename @include(if: $a) }", json!({ "t": "Query" })),
            ("query($a: Boolean!) { viewer { __typename @include(if: $a) } }", json!({ "viewer": { "__typename": "User" } })),
            ("query($a: Boolean!) { __schema { __typename @skip(if: $a) } }", json!({ "__schema": {} })),
            ("mutation($a: Boolean!) { __typename @include(if: $a) }", json!({ "__typename": "Mutation" })),
            ("{a,:__typename}", json!({ "a": "Query" })),
            ("{,a:,__typename,}", json!({ "a": "Query" })),
            ("{...,on Query{__typename}}", json!({ "__typename": "Query" })),
            ("{...,F} fragment,F,on,Query,{__typename}", json!({ "__typename": "Query" })),
            ("{ # a, b\n viewer,{__typename,} }", json!({ "viewer": { "__typename": "User" } })),
        ] {
            assert_eq!(asked(query).await, data, "{query}");
        }
        let answer = ada.gql("{ projects(filter: { search: \"\u{1f600}é\" }) { zzz } }", json!({})).await;
        assert_eq!(answer.error()["locations"], json!([{ "line": 1, "column": 41 }]), "columns are UTF-16 units");
        let answer = ada.gql("query($ids: [ID!]!) { viewer { id } nodes(ids: $ids) { id } }", json!({ "ids": vec!["x"; 101] })).await;
        assert_eq!((answer.error_code(), answer.field(), &paths(&answer)[..]), (INPUT, "ids", &[json!(["nodes"])][..]));
    }

    async fn variables_of_the_wrong_type_are_refused_before_anything_runs(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Kept").await;
        let before = project.state().await;
        let both = "mutation($n: UpdateProjectInput!, $f: SyncFilesInput!) { updateProject(input: $n) { revision } syncFiles(input: $f) { revision } }";
        let name = json!({ "id": project.id, "name": "Changed" });
        for (sync, field) in [
            (json!([]), "input"),
            (json!("x"), "input"),
            (json!(5), "input"),
            (json!(null), "input"),
            (json!({}), "projectId"),
            (json!({ "projectId": project.id, "files": [{ "path": "a", "nope": 1 }] }), "files[0].nope"),
            (json!({ "projectId": project.id, "files": [{ "path": "a" }, { "path": 5 }] }), "files[1].path"),
            (json!({ "projectId": project.id, "files": [], "mode": "merge" }), "mode"),
            (json!({ "projectId": project.id, "files": [], "expectedRevision": 1.5 }), "expectedRevision"),
            (json!({ "projectId": project.id, "files": [], "expectedRevision": "1" }), "expectedRevision"),
            (json!({ "projectId": project.id, "files": [], "expectedRevision": 2_147_483_648_i64 }), "expectedRevision"),
            (json!({ "projectId": [project.id], "files": [] }), "projectId"),
            (json!({ "projectId": true, "files": [] }), "projectId"),
        ] {
            let answer = post(&project.client, &json!({ "query": both, "variables": { "n": name, "f": sync } }).to_string()).await;
            assert_eq!((answer.error_code(), answer.field()), (INPUT, field), "{sync}");
            assert_eq!(answer.data, Value::Null, "{sync}");
        }
        assert_eq!(project.state().await, before);
    }

    async fn an_absent_variable_is_an_absent_argument(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Described").await;
        let describe = "mutation($id: ID!, $d: String) { updateProject(input: { id: $id, description: $d }) { project { description } } }";
        let described = async |variables: Value| project.client.gql(describe, variables).await.ok()["updateProject"]["project"]["description"].take();
        assert_eq!(described(json!({ "id": project.id, "d": "What it is for" })).await, "What it is for");
        assert_eq!(described(json!({ "id": project.id })).await, "What it is for");
        assert_eq!(described(json!({ "id": project.id, "d": null })).await, Value::Null);
        let events = "query($id: ID!, $after: Int) { project(id: $id) { events(afterRevision: $after) { revision } } }";
        let all = project.client.gql(events, json!({ "id": project.id })).await.ok();
        assert!(!all["project"]["events"].as_array().unwrap().is_empty());
    }

    async fn errors_name_the_field_also_inside_lists(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Paths").await;
        project.create_file("a.py", "one\n").await;
        project.create_file("b.py", "one\n").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Two files", true).await;
        for path in ["c.py", "d.py"] {
            project.write("createFile", json!({ "path": path, "messageId": message }), "revision").await;
        }
        project.write("saveAgentConfiguration", tests::project::settings("Agent"), "revision").await;
        let ada = &project.client;
        for (query, path) in [
            ("{ projects(first: 1) { nodes { f: files(at: 99999) { totalCount } } } }", json!(["projects", "nodes", 0, "f"])),
            ("{ projects(first: 1) { edges { node { ...F } } } } fragment F on Project { name g: files(at: 99999) { totalCount } }", json!(["projects", "edges", 0, "node", "g"])),
            ("{ projects(first: 1) { nodes { id files { nodes { path v: versions(first: -1) { totalCount } } } } } }", json!(["projects", "nodes", 0, "files", "nodes", 0, "v"])),
            ("{ p: projects(first: 1) { nodes { ... { ... on Project { files(first: -5) { totalCount } } } } } }", json!(["p", "nodes", 0, "files"])),
            ("{ projects(first: 1) { nodes { events(first: 2) { changes(first: 1) { file { v: versions(first: -1) { totalCount } } } } } } }", json!(["projects", "nodes", 0, "events", 1, "changes", 0, "file", "v"])),
            ("{ projects(first: 1) { nodes { sessions(first: 1) { nodes { checkpoints(first: 1) { changes(first: 1) { file { v: versions(first: -1) { totalCount } } } } } } } } }",
                json!(["projects", "nodes", 0, "sessions", "nodes", 0, "checkpoints", 0, "changes", 0, "file", "v"])),
            ("{ projects(first: 1) { nodes { agentConfigurations(first: 1) { v: versions(first: -1) { totalCount } } } } }", json!(["projects", "nodes", 0, "agentConfigurations", 0, "v"])),
        ] {
            let answer = ada.gql(query, json!({})).await;
            assert!(paths(&answer).contains(&path), "{query}: {:?}", answer.errors);
            let text = Value::from(answer.errors.clone()).to_string();
            assert!(!text.contains("\\u0000"), "{text}");
        }
        let nodes = format!("{{ nodes(ids: [\"{0}\", \"{0}\"]) {{ id ... on Project {{ h: files(at: 99999) {{ totalCount }} }} }} }}", project.id);
        let answer = ada.gql(&nodes, json!({})).await;
        assert!(paths(&answer).iter().all(|path| path[0] == "nodes" && path[2] == "h"), "{:?}", answer.errors);
        assert!(!answer.errors.is_empty());
        // In streams, too.
        let mut socket = ada.greeted().await;
        socket.start("1", "{ projects(first: 1) { nodes { f: files(at: 99999) { totalCount } } } }", json!({})).await;
        assert_eq!(socket.message().await["payload"]["errors"][0]["path"], json!(["projects", "nodes", 0, "f"]));
    }
}

tests::on_sqlite! {
    async fn documents_are_validated_as_in_the_specification(server: Server) {
        let ada = server.user("ada@example.com");
        for (query, code) in [
            ("{ __typename @aa }", INVALID),
            ("{ __typename(a: 1) }", INVALID),
            ("query($a: ID) { node(id: $a) { id } }", INVALID),
            ("query($a: ID = null) { node(id: $a) { id } }", INVALID),
            ("{ viewer { x: id ...F } } fragment F on User { x: email }", INVALID),
            ("{ projects(filter: { status: \"ACTIVE\" }) { totalCount } }", INVALID),
            ("{ projects(first: \"x\") { totalCount } }", INVALID),
            ("{ projects(filter: { search: \"a\", search: \"b\" }) { totalCount } }", INVALID),
            ("query ( ) { viewer { id } }", SYNTAX),
            ("{ viewer { ...on } } fragment on on User { id }", SYNTAX),
            ("\"What it does\" query Viewer { viewer { id } }", "ok"),
            ("query (\"\"\"Whose\"\"\" $id: ID = \"a\") { nodes(ids: [\"a\", \"b\"]) { id } node(id: $id) { id } }", "ok"),
            ("{ projects(first true) { totalCount } }", SYNTAX),
            ("{ nodes(ids: [\"a\"]) { id } nodes(ids: [\"a\", \"b\"]) { id } }", INVALID),
            ("{ node(id: 99999999999999999999) { id } }", "ok"),
            ("{ projects(first: -0) { totalCount } }", "ok"),
            ("{ viewer { ...F } } fragment F on User { id ...F }", INVALID),
            ("{ project(id: \"a\", at: { revision: 1, messageId: \"a\" }) { id } }", INVALID),
            ("query($r: Int) { project(id: \"a\", at: { revision: $r }) { id } }", INVALID),
            ("{ viewer { ... @defer { id } } }", INVALID),
            ("type A { b: Int }", INVALID),
        ] {
            let answer = post(&ada, &json!({ "query": query }).to_string()).await;
            let refusal = answer.errors.iter().find(|error| error.get("path").is_none());
            let found = refusal.map_or("ok", |error| error["extensions"]["code"].as_str().unwrap());
            assert_eq!(found, code, "{query}: {:?}", answer.errors);
            if let Some(error) = refusal {
                assert!(error["locations"][0]["line"].is_u64(), "{query}: {error}");
            }
        }
        let answer = post(&ada, &json!({ "query": "{ viewer { ...F @defer } } fragment F on User { id }" }).to_string()).await;
        assert!(answer.error()["message"].as_str().unwrap().contains("does not support @defer"));
        let answer = post(&ada, &json!({ "query": "{ nope also viewer { neither } }" }).to_string()).await;
        assert_eq!(answer.errors.len(), 3, "{:?}", answer.errors);
        assert_eq!(answer.errors[2]["locations"], json!([{ "line": 1, "column": 22 }]));
    }

    async fn numbers_in_variables_can_be_written_in_any_form(server: Server) {
        let ada = server.user("ada@example.com");
        let query = "query($n: Int) { projects(first: $n) { totalCount } }";
        for (number, code) in [("1", "ok"), ("1.0", "ok"), ("1e2", "ok"), ("10e-1", "ok"), ("-0.0", "ok"), ("1.5", INPUT), ("1e300", INPUT), ("\"1\"", INPUT)] {
            let answer = post(&ada, &format!("{{\"query\":{},\"variables\":{{\"n\":{number}}}}}", json!(query))).await;
            assert_eq!(if answer.errors.is_empty() { "ok" } else { answer.error_code() }, code, "{number}");
        }
    }

    async fn conditions_use_the_defaults_of_variables(server: Server) {
        let ada = server.user("ada@example.com");
        for (query, variables, keys) in [
            ("query($b: Boolean = true) { viewer { id @include(if: $b) email } }", json!({}), &["email", "id"][..]),
            ("query($b: Boolean = true) { viewer { id @skip(if: $b) email } }", json!({}), &["email"]),
            ("query($b: Boolean = true) { viewer { id @include(if: $b) email } }", json!({ "b": false }), &["email"]),
            ("query($b: Boolean! = false) { viewer { ...F @include(if: $b) email } } fragment F on User { id }", json!({}), &["email"]),
            ("query($b: Boolean = false) { viewer { ... @skip(if: $b) { id } email } }", json!({}), &["email", "id"]),
        ] {
            let answer = ada.gql(query, variables).await.ok();
            let found: Vec<&String> = answer["viewer"].as_object().unwrap().keys().collect();
            assert_eq!(found, keys, "{query}");
        }
    }

    async fn an_empty_operation_name_counts_as_none(server: Server) {
        let ada = server.user("ada@example.com");
        for query in ["{ viewer { email } }", "query A { viewer { email } }"] {
            let body = json!({ "query": query, "operationName": "" });
            assert_eq!(post(&ada, &body.to_string()).await.ok()["viewer"]["email"], "ada@example.com");
            let mut socket = ada.greeted().await;
            socket.send(json!({ "type": "subscribe", "id": "1", "payload": body })).await;
            assert_eq!(socket.message().await["payload"]["data"]["viewer"]["email"], "ada@example.com");
        }
        let several = json!({ "query": "query A { viewer { id } } query B { viewer { id } }", "operationName": "" });
        assert_eq!(post(&ada, &several.to_string()).await.error_code(), INPUT);
    }

    async fn only_the_chosen_operation_counts(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Chosen").await;
        let ada = &project.client;
        let aliases = |count: usize| (0..count).map(|n| format!("a{n}: id ")).collect::<String>();
        let costly = "x: projects { nodes { files { nodes { versions(last: 100) { nodes { id } } } } } }";
        let id = json!({ "x": project.id });
        for (a, variables, b) in [
            // Variables belong to an operation.
            ("query A { viewer { id } }", json!({}), "query B($x: Int!) { projects(first: $x) { nodes { id } } }".to_owned()),
            ("query A { viewer { id } }", json!({}), "query B($x: Int!) { ...F } fragment F on Query { projects(first: $x) { nodes { id } } }".to_owned()),
            ("query A($x: ID!) { viewer { id } project(id: $x) { id } }", id.clone(), "query B($x: Int) { projects(first: $x) { nodes { id } } }".to_owned()),
            ("query A($x: ID!) { viewer { id } project(id: $x) { id } }", id, "query B($x: Int = -1) { projects(first: $x) { nodes { id } } }".to_owned()),
            // So do limits.
            ("query A { viewer { id } }", json!({}), format!("query B {{ viewer {{ {} }} }} query C {{ viewer {{ {} }} }}", aliases(60), aliases(60))),
            ("query A { viewer { id } }", json!({}), format!("query B {{ {costly} y{costly} }}")),
        ] {
            let query = format!("{a} {b}");
            // The second time from the cache.
            for _ in 0..2 {
                let body = json!({ "query": query, "operationName": "A", "variables": variables }).to_string();
                assert!(post(ada, &body).await.ok()["viewer"]["id"].is_string(), "{query}");
            }
        }
        let both = format!("query A {{ viewer {{ id }} }} query B {{ {costly} y{costly} }}");
        let second = json!({ "query": both, "operationName": "B" }).to_string();
        let first = json!({ "query": both, "operationName": "A" }).to_string();
        for _ in 0..2 {
            post(ada, &first).await.ok();
            assert_eq!(post(ada, &second).await.error_code(), "QUERY_TOO_COMPLEX");
        }
    }

    async fn a_lone_surrogate_ends_only_its_operation(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Surrogates").await;
        let ada = &project.client;
        let add = r#"{"query":"mutation($c: String!) { appendToMessage(input: { messageId: \"a\", offset: 0, content: $c }) { revision } }","variables":{"c":"Hello \ud83d"}}"#;
        let in_text = r#"{"query":"{ node(id: \"\ud83d\") { id } }"}"#;
        let mut socket = ada.greeted().await;
        socket.start("events", "subscription($id: ID!) { projectEvents(projectId: $id, ready: true) { revision } }", json!({ "id": project.id })).await;
        assert_eq!(socket.message().await["type"], "next");
        for (id, payload) in [("1", add), ("2", in_text)] {
            let frame = format!(r#"{{"type":"subscribe","id":"{id}","payload":{payload}}}"#);
            socket.send_frame(Message::text(frame)).await;
            let Frame::Message(refused) = socket.next().await else { panic!("the socket has ended") };
            assert_eq!((refused["type"].as_str(), refused["id"].as_str()), (Some("error"), Some(id)), "{refused}");
            assert_eq!(refused["payload"][0]["extensions"]["code"], INPUT);
            assert!(refused["payload"][0]["message"].as_str().unwrap().contains("lone surrogate"), "{refused}");
        }
        // Other operations continue.
        project.create_file("a.py", "one\n").await;
        assert_eq!(socket.message().await["id"], "events");

        let bearer = format!("Bearer {}", ada.token().unwrap());
        for accept in ["application/json", "application/graphql-response+json", "text/event-stream"] {
            for body in [add.to_owned(), in_text.to_owned(), format!("[{add}]")] {
                let headers = [("content-type", "application/json"), ("accept", accept), ("authorization", &bearer)];
                let answer = ada.send("POST", "/graphql", &headers, body).await.unwrap();
                assert_eq!(answer.status, 400, "{accept}");
                let answer = answer.graphql().unwrap();
                assert_eq!(answer.error_code(), INPUT);
                assert!(answer.error()["message"].as_str().unwrap().contains("lone surrogate"), "{:?}", answer.errors);
            }
        }
    }

    async fn a_subscription_can_select_its_field_in_every_way(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Heard").await;
        for selection in [
            "...F } fragment F on Subscription { e: projectEvents(projectId: $id, ready: true) { revision kind }",
            "... { e: projectEvents(projectId: $id, ready: true) { revision kind } }",
            "e: projectEvents(projectId: $id, ready: true) { revision } e: projectEvents(projectId: $id, ready: true) { kind }",
            "e: projectEvents(projectId: $id, ready: true) @include(if: true) { revision ...G } } fragment G on ProjectEvent { kind",
        ] {
            let query = format!("subscription($id: ID!) {{ {selection} }}");
            let mut subscription = project.client.subscribe(&query, json!({ "id": project.id })).await;
            let event = subscription.event().await;
            assert!(event["e"]["revision"].is_u64() && event["e"]["kind"].is_string(), "{selection}: {event}");
        }
        for selection in ["__typename", "projectEvents(projectId: $id) { revision } presence(projectId: $id) { user { id } }"] {
            let query = format!("subscription($id: ID!) {{ {selection} }}");
            let mut subscription = project.client.subscribe(&query, json!({ "id": project.id })).await;
            let errors = subscription.next().await.unwrap().unwrap_err();
            assert_eq!(errors[0]["extensions"]["code"], INVALID, "{selection}");
        }
    }

    async fn without_introspection_errors_suggest_no_names(database: Database) {
        let server = Server::start_with(&database, &["--introspection=false"]).await;
        let ada = server.user("ada@example.com");
        for query in ["{ viewr { id } }", "{ viewer { emial } }", "{ projects(frist: 1) { totalCount } }", "{ projects(filter: { serch: \"a\" }) { totalCount } }"] {
            let answer = post(&ada, &json!({ "query": query }).to_string()).await;
            let text = Value::from(answer.errors.clone()).to_string();
            assert!(!text.to_lowercase().contains("did you mean") && !text.contains("createdBefore"), "{text}");
        }
        assert_eq!(post(&ada, r#"{"query":"{ __schema { queryType { name } } }"}"#).await.error_code(), "FORBIDDEN");
        server.stop().await;
    }
}
