//! Tests of valid and invalid documents.

use async_graphql::{Variables, parser::types::ExecutableDocument};
use serde_json::json;

use super::*;

const SDL: &str = r#"
    type Query { node(id: ID!): Node, list(of: [ID!], filter: Filter, size: Int = 5): [User!]!, config(value: JSON): JSON, at: User }
    type Mutation { take(input: Input!): Int }
    type Subscription { event(from: Int): Event!, other: Int }
    interface Node { id: ID! }
    type User implements Node { id: ID!, name: String, friend: User, kind: Kind }
    type Event implements Node { id: ID!, kind: Kind!, user: User }
    enum Kind { ONE TWO }
    input Filter { text: String, kind: Kind, one: One, more: [Filter!] }
    input Input { name: String!, size: Int! = 5, filter: Filter, config: JSON }
    input One @oneOf { a: Int, b: ID }
    scalar JSON
    directive @oneOf on INPUT_OBJECT
    schema { query: Query, mutation: Mutation, subscription: Subscription }
"#;

fn front_end() -> FrontEnd {
    FrontEnd::new(SDL).unwrap()
}

fn read(text: &str) -> Result<ExecutableDocument, Vec<Fault>> {
    let front_end = front_end();
    front_end.validate(&front_end.parse(text)?)
}

fn operation(document: &ExecutableDocument) -> &OperationDefinition {
    document.operations.iter().next().map(|(_, operation)| &operation.node).unwrap()
}

#[test]
fn a_document_is_converted_as_the_librarys_own_parser_reads_it() {
    for text in [
        "{ at { id } }",
        "query A($a: ID! = \"x\", $b: [[Int!]]! = [[1, -2]]) @include(if: true) { n: node(id: $a) @skip(if: false) { id } }",
        "{ list(of: [\"a\", $b], filter: { text: \"t\", more: [{ kind: ONE }] }, size: 3) { ...F ... { name } ... on Node @include(if: true) { id } } } fragment F on User @skip(if: true) { name }",
        "mutation { take(input: { name: \"\\u00e9\\n\", size: 1, config: { a: [1.5, true, null, { b: null }] } }) }",
        "subscription S { event(from: -0) { kind } }",
        "query A { at { id } }\n\n # comment, with commas\nquery B {\r\n  at {\r    name } }",
    ] {
        let theirs = async_graphql::parser::parse_query(text).unwrap();
        let ours = front_end().parse(text).unwrap().document;
        let fragments = |document: &ExecutableDocument| {
            let mut all: Vec<_> = document.fragments.iter().map(|each| format!("{each:?}")).collect();
            all.sort();
            all
        };
        let operations = |document: &ExecutableDocument| {
            let mut all: Vec<_> = document.operations.iter().map(|each| strip(&format!("{each:?}"))).collect();
            all.sort();
            all
        };
        assert_eq!(operations(&ours), operations(&theirs), "{text}");
        assert_eq!(fragments(&ours).len(), fragments(&theirs).len(), "{text}");
    }
}

/// Removes the positions of nodes that have none or several in the text.
fn strip(debug: &str) -> String {
    let mut kept = String::new();
    let mut rest = debug;
    while let Some((before, after)) = rest.split_once("Pos(") {
        kept.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    kept + rest
}

#[test]
fn what_the_parser_drops_is_refused() {
    for text in [
        "{ list(size true) { id } }",
        "{ list(size) { id } }",
        "{ list() { id } }",
        "query () { at { id } }",
        "{ at { } }",
        "{ at { ... } }",
        "{ at { ...on } } fragment on on User { id }",
        "{ list(filter: { text }) { id } }",
        "{ at @include() { id } }",
        "{ at { id } } }",
        "{ list(of: [$]) { id } }",
        "query ($a: ) { at { id } }",
        "query ($a: ID = $b) { node(id: $a) { id } }",
        "\"a\" { at { id } }",
    ] {
        let faults = read(text).unwrap_err();
        assert_eq!(faults.first().unwrap().kind, FaultKind::Syntax, "{text}: {faults:?}");
    }
}

#[test]
fn faults_say_where_they_are() {
    for (text, at, field) in [
        ("{ at { id } }\n%", (2, 1), None),
        ("{ at { \u{e9} } }", (1, 8), None),
        ("{\n  nope\n}", (2, 3), None),
        ("{\r\n  list(filter: { more: [{ kind: THREE }] }) { id } }", (2, 33), Some("filter.more[0].kind")),
        ("mutation { take(input: { name: 5 }) }", (1, 32), Some("name")),
        ("mutation { take(input: { size: 5 }) }", (1, 24), Some("name")),
        ("mutation { take(input: { name: \"a\", size: null }) }", (1, 43), Some("size")),
        ("{ list(filter: { one: {} }) { id } }", (1, 23), Some("filter.one")),
        ("query ($a: Int = \"x\") { list(size: $a) { id } }", (1, 18), Some("a")),
        ("{ node(id: $a) { id } }", (1, 12), None),
    ] {
        let faults = read(text).unwrap_err();
        let fault = faults.first().unwrap();
        assert_eq!((fault.pos.line, fault.pos.column), at, "{text}: {fault:?}");
        match (&fault.kind, field) {
            (FaultKind::Literal(found), Some(field)) => assert_eq!(found, field, "{text}"),
            (_, None) => {}
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn ids_may_be_integers_of_any_size() {
    let document = read("{ list(of: [1, 99999999999999999999, -99999999999999999999]) { id } }").unwrap();
    let debug = format!("{document:?}");
    assert!(debug.contains("String(\"99999999999999999999\")") && debug.contains("Number(1)"), "{debug}");
}

#[test]
fn a_subscription_becomes_one_field() {
    let document = read(
        "subscription { ...F ... on Subscription { event { id } } } fragment F on Subscription { event { kind ...G } other @skip(if: true) } fragment G on Event { id }",
    )
    .unwrap();
    assert_eq!(operation(&document).selection_set.node.items.len(), 1);
    let names: Vec<&str> = document.fragments.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["G"]);
    assert!(read("subscription { event { id } other }").is_err());
    assert!(read("subscription ($b: Boolean!) { event @include(if: $b) { id } }").is_err());
}

fn coerce(variables: &str, given: serde_json::Value) -> Result<serde_json::Value, String> {
    let document = read(&format!("query ({variables}) {{ {} at {{ id }} }}", uses(variables)))
        .unwrap_or_else(|faults| panic!("{variables}: {faults:?}"));
    match front_end().coerce(&document, operation(&document), Variables::from_json(given)) {
        Ok(variables) => Ok(serde_json::to_value(variables).unwrap()),
        Err(faults) => match &faults[0].kind {
            FaultKind::Input(field) => Err(field.clone()),
            other => panic!("{other:?}"),
        },
    }
}

/// A selection that uses the variable.
fn uses(variable: &str) -> &'static str {
    if variable.contains("Filter") {
        "list(filter: $v) { id }"
    } else if variable.contains("[ID") {
        "list(of: $v) { id }"
    } else if variable.contains("Int") {
        "list(size: $v) { id }"
    } else if variable.contains("JSON") {
        "config(value: $v)"
    } else {
        "node(id: $v) { id }"
    }
}

#[test]
fn variables_are_coerced() {
    for (variable, given, coerced) in [
        ("$v: Int", json!({}), Ok(json!({}))),
        ("$v: Int = 3", json!({}), Ok(json!({ "v": 3 }))),
        ("$v: Int = 3", json!({ "v": null }), Ok(json!({ "v": null }))),
        ("$v: Int", json!({ "v": 4.0, "other": 5 }), Ok(json!({ "v": 4 }))),
        ("$v: Int", json!({ "v": 4.5 }), Err("size")),
        ("$v: Int", json!({ "v": 2_147_483_648_u64 }), Err("size")),
        ("$v: ID!", json!({}), Err("id")),
        ("$v: ID!", json!({ "v": 5 }), Ok(json!({ "v": "5" }))),
        ("$v: ID!", json!({ "v": 1e20 }), Ok(json!({ "v": "100000000000000000000" }))),
        ("$v: ID!", json!({ "v": [] }), Err("id")),
        ("$v: [ID!]", json!({ "v": "a" }), Ok(json!({ "v": ["a"] }))),
        ("$v: [ID!]", json!({ "v": ["a", null] }), Err("of[1]")),
        ("$v: Filter", json!({ "v": [] }), Err("filter")),
        ("$v: Filter", json!({ "v": { "more": { "text": "a" } } }), Ok(json!({ "v": { "more": [{ "text": "a" }] } }))),
        ("$v: Filter", json!({ "v": { "more": [{ "kind": "THREE" }] } }), Err("filter.more[0].kind")),
        ("$v: Filter", json!({ "v": { "one": { "a": 1, "b": "c" } } }), Err("filter.one")),
        ("$v: Filter", json!({ "v": { "nope": null } }), Err("filter.nope")),
        ("$v: JSON", json!({ "v": { "a": [1.5, null] } }), Ok(json!({ "v": { "a": [1.5, null] } }))),
    ] {
        let found = coerce(variable, given.clone());
        assert_eq!(found, coerced.map_err(str::to_owned), "{variable} {given}");
    }
}

/// Run `cargo test -p antiphon --lib front_end_costs -- --ignored --nocapture`, with `--release` for meaningful
/// figures.
#[test]
#[ignore = "prints what a document costs"]
#[allow(clippy::print_stdout)]
fn front_end_costs() {
    let front_end = FrontEnd::new(include_str!("../../../../schema.graphql")).unwrap();
    for (name, text) in [("introspection", INTROSPECTION_QUERY), ("40 lines", FORTY_LINES)] {
        let runs = 300;
        let time = |mut run: Box<dyn FnMut() + '_>| {
            let began = std::time::Instant::now();
            (0..runs).for_each(|_| run());
            began.elapsed().as_secs_f64() * 1e6 / f64::from(runs)
        };
        let document = front_end.validate(&front_end.parse(text).unwrap()).unwrap();
        let parse = time(Box::new(|| drop(front_end.parse(text).unwrap())));
        let all = time(Box::new(|| drop(front_end.validate(&front_end.parse(text).unwrap()).unwrap())));
        let theirs = time(Box::new(|| drop(async_graphql::parser::parse_query(text).unwrap())));
        let cached = time(Box::new(|| drop(document.clone())));
        println!(
            "{name}: {all:.0} us the first time ({parse:.0} of them parse and convert), {cached:.1} from the cache; async-graphql parses in {theirs:.0}"
        );
    }
}

/// The query that GraphiQL sends.
const INTROSPECTION_QUERY: &str = r"
query IntrospectionQuery {
  __schema {
    description queryType { name kind } mutationType { name kind } subscriptionType { name kind }
    types { ...FullType }
    directives { name description isRepeatable locations args(includeDeprecated: true) { ...InputValue } }
  }
}
fragment FullType on __Type {
  kind name description specifiedByURL
  fields(includeDeprecated: true) {
    name description args(includeDeprecated: true) { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason
  }
  inputFields(includeDeprecated: true) { ...InputValue }
  interfaces { ...TypeRef }
  enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...TypeRef }
}
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated deprecationReason }
fragment TypeRef on __Type {
  kind name
  ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
    ofType { kind name ofType { kind name ofType { kind name } } } } } } } } }
}";

const FORTY_LINES: &str = r#"
query Overview($id: ID!, $first: Int = 20, $after: String, $files: Boolean = true) {
  viewer {
    ...Person
    preferences { editorTheme }
  }
  project(id: $id) {
    id
    name
    description
    owner {
      ...Person
    }
    stats { totalFiles }
    files(first: $first, after: $after) @include(if: $files) {
      nodes {
        id
        path
        version
        updatedAt
      }
      pageInfo { hasNextPage endCursor }
      totalCount
    }
    sessions(first: 5) {
      nodes {
        id
        title
        messages(last: 10, filter: { role: ASSISTANT, search: "tool" }) {
          nodes { id role content }
        }
      }
    }
  }
  projects(first: 10, filter: { isOwned: true }, orderBy: { field: NAME, direction: ASC }) {
    nodes { id name updatedAt }
  }
}
fragment Person on User {
  id
  fullName
}"#;
