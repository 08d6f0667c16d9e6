//! Hostile documents, after the lists of graphql-armor, graphql-cop and others: each is answered or refused at once by
//! the limit that it exceeds, and later requests are answered as before.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tests::{
    database::{Database, Kind},
    project::{Project, text},
    server::{self, ChildServer, Server, memory},
};

/// How long a response can take. Longer in debug builds, where other tests also run at the same time.
const PATIENCE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 20_000 } else { 100 });

/// How much each document can raise the peak of the server's memory, in bytes.
const MEMORY: u64 = 50_000_000;

fn request(query: impl Into<String>) -> Value {
    json!({ "query": query.into() })
}

/// Each fragment spreads the next one that many times.
fn explosion(levels: usize, spreads: usize, end: &str) -> String {
    let mut document = "{ ...F0 }".to_owned();
    for level in 0..levels {
        let spread = format!("...F{} ", level + 1).repeat(spreads);
        write!(document, " fragment F{level} on Query {{ {spread}}}").unwrap();
    }
    write!(document, " fragment F{levels} on Query {{ {end} }}").unwrap();
    document
}

/// A name, the request, the code that it is refused with (empty: it is answered) and, for limits, the setting that the
/// error names.
fn corpus(project: &str) -> Vec<(&'static str, Value, &'static str, &'static str)> {
    const COMPLEX: &str = "QUERY_TOO_COMPLEX";
    const INVALID: &str = "GRAPHQL_VALIDATION_FAILED";
    const SYNTAX: &str = "GRAPHQL_PARSE_FAILED";
    const INPUT: &str = "BAD_USER_INPUT";
    let many = |count: usize, text: &str| text.repeat(count);
    let numbered = |count: usize, text: &str| (0..count).map(|n| text.replace('#', &n.to_string())).collect::<String>();
    let nested = |count: usize, open: &str, middle: &str, close: &str| {
        format!("{}{middle}{}", many(count, open), many(count, close))
    };
    let introspection = nested(5, "fields { type { ofType { ", "name", " } } }");
    let of_project = |select: &str| request(format!("{{ project(id: \"{project}\") {{ {select} }} }}"));
    let batch = |count: usize| Value::from(vec![request("{ __typename }"); count]);
    vec![
        (
            "aliases of a field",
            request(format!("{{ {} }}", numbered(101, "a#: __typename "))),
            COMPLEX,
            "--max-root-fields",
        ),
        ("aliases below the root", of_project(&numbered(101, "a#: name ")), COMPLEX, "--max-query-aliases"),
        (
            "aliases of an expensive field",
            request(format!("{{ {} }}", numbered(1_000, "a#: viewer { id } "))),
            COMPLEX,
            "--max-root-fields",
        ),
        (
            "aliases in a fragment",
            request(format!(
                "{{ viewer {{ {} }} }} fragment F on User {{ {} }}",
                many(20, "...F "),
                numbered(10, "a#: id ")
            )),
            COMPLEX,
            "--max-query-aliases",
        ),
        (
            "mutations by alias",
            request(format!("mutation {{ {} }}", numbered(31, "a#: updateProfile(input: {}) { id } "))),
            COMPLEX,
            "--max-root-fields",
        ),
        ("a batch", batch(11), "PAYLOAD_TOO_LARGE", "--max-batch"),
        ("a large batch", batch(10_000), "PAYLOAD_TOO_LARGE", "--max-batch"),
        ("a repeated field", of_project(&many(1_000, "name ")), "", ""),
        ("a field repeated too often", of_project(&many(3_000, "name ")), COMPLEX, "--max-query-fields"),
        (
            "directives",
            request(format!("{{ __typename {} }}", many(51, "@include(if: true) "))),
            COMPLEX,
            "--max-query-directives",
        ),
        ("unknown directives", request(format!("{{ __typename {} }}", many(10, "@aa "))), INVALID, ""),
        (
            "directives of an operation",
            request(format!("query {} {{ __typename }}", many(1_000, "@aa "))),
            COMPLEX,
            "--max-query-directives",
        ),
        (
            "directives of variables",
            request(format!("query($a: Int {}) {{ __typename }}", many(1_000, "@aa "))),
            COMPLEX,
            "--max-query-directives",
        ),
        (
            "directives in fragments",
            request(explosion(6, 4, "__typename @skip(if: false)")),
            COMPLEX,
            "--max-query-fields",
        ),
        (
            "circular introspection",
            request(format!("{{ __schema {{ types {{ {introspection} }} }} }}")),
            COMPLEX,
            "lists",
        ),
        (
            "circular introspection by fragments",
            request(
                "{ __schema { types { ...A } } } fragment A on __Type { fields { type { ...B } } } fragment B on __Type { ofType { fields { type { ofType { fields { name } } } } } }",
            ),
            COMPLEX,
            "lists",
        ),
        (
            "deep introspection",
            request(format!("{{ __schema {{ types {{ {} }} }} }}", nested(10, "fields { type { ", "name", " } } "))),
            COMPLEX,
            "--max-query-depth",
        ),
        (
            "wide introspection",
            request(format!(
                "{{ __schema {{ {} }} }}",
                numbered(20, "t#: types { fields { type { ofType { fields { name } } } } } ")
            )),
            "",
            "",
        ),
        ("deep nesting", request(nested(25, "{ viewer ", "{ id }", " }")), COMPLEX, "--max-query-depth"),
        ("brackets of selections", request(nested(50_000, "{a", "", "}")), COMPLEX, "--max-query-tokens"),
        ("brackets that close", request(nested(2_000, "{a", "{a}", "}")), COMPLEX, "128"),
        ("brackets that never close", request(many(4_000, "{a")), COMPLEX, "128"),
        ("brackets of values", request(format!("{{ a(b: {}) }}", nested(4_000, "[", "", "]"))), COMPLEX, "128"),
        (
            "brackets of types",
            request(format!("query($a: {}) {{ a }}", nested(4_000, "[", "Int", "]"))),
            COMPLEX,
            "128",
        ),
        ("brackets of objects", request(format!("{{ a(b: {}) }}", nested(2_000, "{a:", "1", "}"))), COMPLEX, "128"),
        (
            "brackets just below the limit",
            request(format!("{{ viewer {{ id(b: {}) }} }}", nested(120, "[", "", "]"))),
            INVALID,
            "",
        ),
        (
            "inline fragments",
            request(format!("{{ {} }}", nested(100, "... on Query { ", "__typename", " }"))),
            COMPLEX,
            "--max-query-depth",
        ),
        ("fragments that double", request(explosion(30, 2, "__typename")), COMPLEX, "--max-query-fields"),
        ("fragments by ten", request(explosion(31, 10, "viewer { id }")), COMPLEX, "--max-query-fields"),
        (
            "fragments that end in a missing one",
            request(explosion(40, 10, "...Missing")),
            COMPLEX,
            "--max-query-fields",
        ),
        (
            "circular fragments",
            request("{ ...A } fragment A on Query { ...B ...B } fragment B on Query { ...A ...A }"),
            INVALID,
            "",
        ),
        ("a fragment that spreads itself", request("{ ...A } fragment A on Query { ...A }"), INVALID, ""),
        (
            "circular fragments through a field",
            request("{ viewer { ...A } } fragment A on User { ... on User { ...A } }"),
            INVALID,
            "",
        ),
        (
            "circular fragments that are not used",
            request(format!("{{ __typename }} {}", numbered(200, "fragment F# on Query { ...F# ...F# } "))),
            INVALID,
            "",
        ),
        ("a long chain of fragments", request(explosion(700, 1, "__typename")), COMPLEX, "--max-query-depth"),
        (
            "fragments that are not used",
            request(format!("{{ __typename }} {}", numbered(1_000, "fragment F# on Query { a } "))),
            INVALID,
            "",
        ),
        ("operations", request(numbered(1_200, "query Q# { viewer { id } } ")), COMPLEX, "--max-query-fields"),
        (
            "variables",
            request(format!("query({}) {{ __typename }}", numbered(10_000, "$v#: Int "))),
            COMPLEX,
            "--max-query-tokens",
        ),
        (
            "a usual number of variables",
            request(format!("query({}) {{ __typename }}", numbered(2_000, "$v#: Int "))),
            INVALID,
            "",
        ),
        ("arguments", request(format!("{{ viewer({}) {{ id }} }}", numbered(2_000, "a#: 1 "))), INVALID, ""),
        ("unknown fields", request(format!("{{ viewer {{ {} }} }}", numbered(1_900, "nam# "))), INVALID, ""),
        (
            "a huge integer",
            request(format!("{{ projects(first: {}) {{ totalCount }} }}", many(100_000, "9"))),
            INVALID,
            "",
        ),
        ("a huge float", request("{ projects(first: 1e999999999) { totalCount } }"), INVALID, ""),
        (
            "a huge exponent in variables",
            json!({ "query": "query($n: Int) { projects(first: $n) { totalCount } }", "variables": { "n": 1e300 } }),
            INPUT,
            "",
        ),
        (
            "a negative page",
            request("{ projects(first: -1) { nodes { sessions(first: -2147483648) { totalCount } } } }"),
            INPUT,
            "",
        ),
        ("a page beyond 2^31", request("{ projects(first: 2147483648) { totalCount } }"), INVALID, ""),
        (
            "nested pages",
            of_project("sessions(first: 100) { nodes { messages(first: 500) { nodes { content } } } }"),
            COMPLEX,
            "--max-query-complexity",
        ),
        (
            "nested pages, by variable",
            json!({ "query": "query($n: Int) { projects(first: $n) { nodes { sessions(last: $n) { nodes { messages(first: $n) { nodes { id } } } } } } }", "variables": { "n": 100 } }),
            COMPLEX,
            "--max-query-complexity",
        ),
        (
            "nested pages, by default",
            request("{ projects { nodes { sessions { nodes { messages { nodes { changes { diff } } } } } } } }"),
            COMPLEX,
            "--max-query-complexity",
        ),
        (
            "pages in circles",
            request(format!(
                "{{ viewer {{ id }} projects {{ nodes {{ {} }} }} }}",
                nested(4, "sessions { nodes { project { ", "id", " } } }")
            )),
            COMPLEX,
            "--max-query-",
        ),
        (
            "diffs by alias",
            of_project(&numbered(100, "a#: snapshots(first: 100) { nodes { diff { diff } } } ")),
            COMPLEX,
            "--max-query-complexity",
        ),
        (
            "a list as a bomb",
            json!({ "query": "query($ids: [ID!]!) { nodes(ids: $ids) { id } }", "variables": { "ids": vec!["x"; 100_000] } }),
            COMPLEX,
            "--max-query-complexity",
        ),
        (
            "a list in the document",
            request(format!("{{ nodes(ids: [{}]) {{ id }} }}", many(9_000, "\"x\""))),
            INPUT,
            "",
        ),
        (
            "nested variables",
            json!({ "query": "query($c: JSON!) { viewer { id } }", "variables": { "c": (0..100).fold(json!(1), |inner, _| json!([inner])) } }),
            INVALID,
            "",
        ),
        ("a long string", request(format!("{{ node(id: \"{}\") {{ id }} }}", many(250_000, "x"))), INPUT, ""),
        (
            "a string that is too long",
            request(format!("{{ node(id: \"{}\") {{ id }} }}", many(300_000, "x"))),
            COMPLEX,
            "--max-query-bytes",
        ),
        ("only commas", request(format!("{{ __typename }}{}", many(250_000, ","))), "", ""),
        ("only comments", request(format!("{}{{ __typename }}", many(120_000, "#\n"))), "", ""),
        ("a string that never ends", request(format!("{{ node(id: \"{}", many(250_000, "x"))), SYNTAX, ""),
        ("a block string that never ends", request(format!("{{ node(id: \"\"\"{}", many(120_000, "\\\""))), SYNTAX, ""),
        ("a long name", request(format!("{{ {} }}", many(250_000, "x"))), INVALID, ""),
        ("unicode", request(format!("{{ {} }}", many(50_000, "\u{202e}\u{e9}"))), SYNTAX, ""),
        ("lone surrogates", request(r#"{ node(id: "\uD800") { id } }"#), SYNTAX, ""),
        ("NUL", request("{ node(id: \"\u{0}\") { id } }"), INPUT, ""),
        ("control characters", request("{ \u{7f}\u{1b}[31m }"), SYNTAX, ""),
        ("a byte order mark", request("\u{feff}{ __typename }"), "", ""),
        ("punctuation", request(many(5_000, "!")), SYNTAX, ""),
        ("dots", request(format!("{{ {} }}", many(3_000, "..."))), SYNTAX, ""),
        ("types instead of operations", request("type A { a: Int }"), INVALID, ""),
        ("SQL", request("{ projects(filter: { search: \"'; drop table projects; --\" }) { totalCount } }"), "", ""),
    ]
}

async fn is_healthy(project: &Project) -> bool {
    project.ask("name").await["name"] == "Kept"
}

/// Sends all documents, and prints for each the time, the rise of the server's peak memory, and the sizes.
async fn send_all(project: &Project, process: u32) {
    let bearer = format!("Bearer {}", project.client.token().unwrap());
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/graphql-response+json"),
        ("authorization", &bearer),
    ];
    let mut wrong = Vec::new();
    let mut most = (Duration::ZERO, 0);
    println!("     time    memory        in       out");
    for (name, request, code, word) in corpus(&project.id) {
        let body = request.to_string();
        let before = forget_peak_memory(process);
        let began = Instant::now();
        let answer = project.client.send("POST", "/graphql", &headers, body.clone()).await;
        let took = began.elapsed();
        let grown = before.zip(memory(process, "VmHWM:")).map(|(before, peak)| peak.saturating_sub(before));
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let (inward, outward, status) = (body.len() as f64 / 1e3, answer.body.len() as f64 / 1e3, answer.status);
        let (ms, mb) = (took.as_secs_f64() * 1e3, grown.map_or(f64::NAN, |grown| grown as f64 / 1e6));
        println!("{ms:6.1} ms {mb:6.1} MB {inward:6.1} kB {outward:6.1} kB  {status}  {name}");
        let answer = answer.graphql().unwrap();
        let given = if answer.errors.is_empty() { "" } else { answer.error_code() };
        let first = answer.errors.first().unwrap_or(&Value::Null);
        let message = first["message"].as_str().unwrap_or_default();
        let is_large = grown.is_some_and(|grown| grown > MEMORY);
        if given != code || !message.contains(word) || took > PATIENCE || is_large {
            wrong.push(format!("{name}: {given:?} in {took:?} and {grown:?} bytes, {message}"));
        }
        most = (most.0.max(took), most.1.max(grown.unwrap_or_default()));
    }
    println!("the most: {:.1} ms, {:.1} MB", most.0.as_secs_f64() * 1e3, most.1 as f64 / 1e6);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Resets the peak of a process's memory to its present use, and returns that. If this is not allowed, the peak covers
/// the whole lifetime.
fn forget_peak_memory(process: u32) -> Option<u64> {
    let _ = std::fs::write(format!("/proc/{process}/clear_refs"), "5");
    memory(process, "VmHWM:")
}

#[test]
fn each_document_is_answered_or_refused_quickly_and_in_little_memory() {
    server::run_with_database(Kind::Sqlite, async |database: Database| {
        let mut child = ChildServer::start(&database);
        let project = Project::create(&child.user("ada@example.com"), "Kept").await;
        assert!(is_healthy(&project).await);
        send_all(&project, child.id()).await;
        assert!(is_healthy(&project).await);
        child.kill();
    });
}

tests::on_sqlite! {
    async fn a_socket_refuses_the_same_documents(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Kept").await;
        let mut socket = project.client.greeted().await;
        for (at, (name, request, code, _)) in corpus(&project.id).into_iter().enumerate() {
            if request.is_array() {
                continue;
            }
            let id = at.to_string();
            socket.send(json!({ "type": "subscribe", "id": id, "payload": request })).await;
            let mut given = String::new();
            loop {
                let message = socket.message().await;
                assert_eq!(message["id"], id, "{name}");
                let error = message["payload"].get(0).or_else(|| message["payload"]["errors"].get(0));
                if let Some(error) = error {
                    given = text(&error["extensions"]["code"]);
                }
                if message["type"] != "next" {
                    break;
                }
            }
            assert_eq!(given, code, "{name}");
        }
        assert!(is_healthy(&project).await);
    }

    async fn an_operation_that_takes_too_long_is_ended(database: Database) {
        let server = Server::start_with(&database, &["--max-operation-seconds=1"]).await;
        let project = Project::create(&server.user("ada@example.com"), "Kept").await;
        // Another connection holds the write lock, so this write cannot start.
        let options = SqliteConnectOptions::new().filename(database.file().unwrap());
        let mut blocker = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut blocker).await.unwrap();
        let answer = project.client.mutate("updateProject", json!({ "id": project.id, "name": "Late" }), "revision").await;
        assert_eq!(answer.error_code(), "QUERY_TOO_COMPLEX");
        assert!(text(&answer.error()["message"]).contains("--max-operation-seconds"), "{answer:?}");
        blocker.close().await.unwrap();
        server.stop().await;
    }

    async fn introspection_can_be_turned_off(database: Database) {
        let server = Server::start_with(&database, &["--introspection=false"]).await;
        let ada = server.user("ada@example.com");
        for query in [
            "{ __schema { queryType { name } } }",
            "{ s: __type(name: \"User\") { name } }",
            "{ ...F } fragment F on Query { ... { __schema { types { name } } } }",
        ] {
            let answer = ada.gql(query, json!({})).await;
            assert_eq!(answer.error_code(), "FORBIDDEN", "{query}");
            assert!(text(&answer.error()["message"]).contains("--introspection"), "{query}");
        }
        let answer = ada.gql("{ viewer { emial } }", json!({})).await;
        assert!(!text(&answer.error()["message"]).contains("email"), "{answer:?}");
        assert_eq!(ada.gql("{ __typename viewer { __typename } }", json!({})).await.ok()["viewer"]["__typename"], "User");
        server.stop().await;
    }
}
