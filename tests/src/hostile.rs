//! Hostile documents, after the lists of graphql-armor, graphql-cop and others.

use std::fmt::Write;

use serde_json::{Value, json};

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
pub fn corpus(project: &str) -> Vec<(&'static str, Value, &'static str, &'static str)> {
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
            INPUT,
            "At most 100 ids",
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
