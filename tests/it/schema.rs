//! Given `tests/contract.graphql`, the API that clients are written for, then the service's schema contains all of it,
//! and its additions break no client; and `schema.graphql` is the printed schema.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use antiphon::{config::Cli, graphql::schema};
use async_graphql::{
    Name, Positioned,
    parser::{
        parse_schema,
        types::{
            DirectiveDefinition, FieldDefinition, InputValueDefinition, TypeDefinition, TypeKind, TypeSystemDefinition,
        },
    },
};
use serde_json::json;
use tests::server::Server;

/// Parts of the contract that the service does not have yet: types, and fields of types. The list must only shrink.
const NOT_YET: &[&str] = &[];

fn printed() -> String {
    let settings = Cli::try_parse_from(["antiphon"]).unwrap().settings;
    schema::sdl(&schema::build(&settings.limits))
}

#[test]
fn schema_graphql_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema.graphql");
    let kept = fs::read_to_string(path).unwrap_or_default();
    let printed = printed();
    let differs = kept.trim_end().lines().zip(printed.trim_end().lines()).position(|(kept, printed)| kept != printed);
    let line = differs.unwrap_or(kept.trim_end().lines().count().min(printed.trim_end().lines().count())) + 1;
    assert!(
        kept.trim_end() == printed.trim_end(),
        "schema.graphql is out of date, from line {line} on; to update it, run:\n    cargo run -- schema > schema.graphql"
    );
}

#[test]
fn every_description_in_the_schema_adds_information() {
    let mut poor = Vec::new();
    let mut check = |place: String, description: Option<&Positioned<String>>| {
        // Words of the item's name, and for members also of the type's name, add no information.
        let known = words(&place);
        let said = description.map(|description| words(&description.node)).unwrap_or_default();
        if said.iter().all(|word| known.contains(word)) {
            poor.push(format!("{place}: {:?}", description.map(|description| &description.node)));
        }
    };
    for (name, definition) in types(&printed()) {
        check(name.clone(), definition.description.as_ref());
        let mut inputs = |of: &str, inputs: &[Positioned<InputValueDefinition>]| {
            for Positioned { node: input, .. } in inputs {
                check(format!("{of}.{}", input.name.node), input.description.as_ref());
            }
        };
        let fields = match &definition.kind {
            TypeKind::Object(object) => &object.fields,
            TypeKind::Interface(interface) => &interface.fields,
            TypeKind::InputObject(object) => {
                inputs(&name, &object.fields);
                continue;
            }
            TypeKind::Enum(values) => {
                for Positioned { node: value, .. } in &values.values {
                    check(format!("{name}.{}", value.value.node), value.description.as_ref());
                }
                continue;
            }
            _ => continue,
        };
        for Positioned { node: field, .. } in fields {
            inputs(&format!("{name}.{}", field.name.node), &field.arguments);
        }
        for Positioned { node: field, .. } in fields {
            check(format!("{name}.{}", field.name.node), field.description.as_ref());
        }
    }
    for directive in directives(&printed()) {
        let name = format!("@{}", directive.name.node);
        check(name.clone(), directive.description.as_ref());
        for Positioned { node: argument, .. } in &directive.arguments {
            check(format!("{name}.{}", argument.name.node), argument.description.as_ref());
        }
    }
    assert!(poor.is_empty(), "{} places describe nothing but their names:\n{}", poor.len(), poor.join("\n"));
}

/// The meaningful words of a name or a text, in lower case and without a plural "s".
fn words(text: &str) -> BTreeSet<String> {
    let (mut apart, mut is_small) = (String::new(), false);
    for character in text.chars() {
        if character.is_uppercase() && is_small {
            apart.push(' ');
        }
        is_small = !character.is_uppercase();
        apart.extend(character.to_lowercase());
    }
    let words = apart.split(|character: char| !character.is_alphanumeric()).map(|word| word.trim_end_matches('s'));
    let empty = ["", "the", "a", "an", "it", "their", "of"];
    words.filter(|word| !empty.contains(word)).map(str::to_owned).collect()
}

#[test]
fn scalars_name_their_specification() {
    let printed = printed();
    for (scalar, specification) in [
        ("DateTime", "https://datatracker.ietf.org/doc/html/rfc3339"),
        ("Base64", "https://datatracker.ietf.org/doc/html/rfc4648#section-4"),
        ("JSON", "https://datatracker.ietf.org/doc/html/rfc8259"),
    ] {
        assert!(printed.contains(&format!("scalar {scalar} @specifiedBy(url: \"{specification}\")")), "{scalar}");
    }
}

/// A root field that can fail is nullable, so that its siblings are kept. The exceptions here cannot fail for signed-in
/// callers, or are prescribed by the contract.
#[test]
fn fields_of_roots_are_nullable() {
    let types = types(&printed());
    let required = |root: &str| {
        let TypeKind::Object(object) = &types[root].kind else { panic!("{root}") };
        let fields = object.fields.iter().filter(|field| !field.node.ty.node.nullable);
        fields.map(|field| field.node.name.node.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(required("Mutation"), [""; 0]);
    assert_eq!(required("Query"), ["viewer", "projects", "nodes"]);
}

#[test]
fn the_schema_holds_the_contract() {
    let missing = missing(include_str!("../contract.graphql"), &printed());
    let unexpected: Vec<_> = missing.iter().filter(|(place, _)| !NOT_YET.contains(&place.as_str())).collect();
    let lines: Vec<_> = unexpected.iter().map(|(place, what)| format!("{place}: {what}")).collect();
    assert!(lines.is_empty(), "the schema breaks the contract (tests/contract.graphql):\n{}", lines.join("\n"));

    let done: Vec<_> = NOT_YET.iter().filter(|place| !missing.iter().any(|(missing, _)| missing == *place)).collect();
    assert!(done.is_empty(), "the schema has these now; remove them from NOT_YET: {done:?}");
}

#[test]
fn a_breach_of_the_contract_is_found() {
    let contract = "
        type Query { a(x: Int, y: [E!]! = [A]): [Int!]! b: Int }
        interface I { id: ID! } type T implements I { id: ID! } enum E { A B } scalar S
        union U = T input P { x: Int = 1 }";
    let find = |from: &str, to: &str| {
        assert!(contract.contains(from));
        let places = missing(contract, &contract.replace(from, to)).into_iter().map(|(place, _)| place);
        places.collect::<Vec<_>>()
    };
    assert_eq!(find("b: Int", "b: Int c(z: Int, w: Int! = 1): Int!"), [""; 0]);
    assert_eq!(find("x: Int, y: [E!]! = [A]", "y: [E!]! = [A], x: Int"), [""; 0]);
    assert_eq!(find("scalar S", "scalar S type New { x(y: Int!): Int }"), [""; 0]);
    assert_eq!(find("b: Int", ""), ["Query.b"]);
    assert_eq!(find("b: Int", "b: Int!"), ["Query.b"]);
    assert_eq!(find("[Int!]!", "[Int]!"), ["Query.a"]);
    assert_eq!(find("x: Int, y", "y"), ["Query.a(x)"]);
    assert_eq!(find("x: Int, y", "x: Int!, y"), ["Query.a(x)"]);
    assert_eq!(find("x: Int, y", "x: Int, z: Int!, y"), ["Query.a(z)"]);
    assert_eq!(find("= [A]", "= [B]"), ["Query.a(y)"]);
    assert_eq!(find("implements I ", ""), ["T"]);
    assert_eq!(find("A B", "A"), ["E.B"]);
    assert_eq!(find("A B", "A B C"), ["E.C"]);
    assert_eq!(find("scalar S", "enum S { X }"), ["S"]);
    assert_eq!(find("scalar S", ""), ["S"]);
    assert_eq!(find("= T", "= T | Query"), ["U.Query"]);
    assert_eq!(find("Int = 1", "Int = 2"), ["P.x"]);
    assert_eq!(find("Int = 1", "Int = 1 y: Int!"), ["P.y"]);
}

/// Places of the contract that a schema lacks or defines differently, and the problem.
type Missing = Vec<(String, String)>;

/// Compares a schema with the contract. It can add types, fields, and optional arguments and input fields; but no enum
/// values or union members, which a client that handles all known cases could not handle.
fn missing(contract: &str, schema: &str) -> Missing {
    let (contract, schema) = (types(contract), types(schema));
    let mut missing = Missing::new();
    for (name, ours) in &contract {
        match schema.get(name) {
            Some(theirs) => compare(name, &ours.kind, &theirs.kind, &mut missing),
            None => missing.push((name.clone(), "is missing".to_owned())),
        }
    }
    missing
}

fn types(schema: &str) -> BTreeMap<String, TypeDefinition> {
    let document = parse_schema(schema).unwrap_or_else(|error| panic!("{error}"));
    let types = document.definitions.into_iter().filter_map(|definition| match definition {
        TypeSystemDefinition::Type(definition) => Some((definition.node.name.node.to_string(), definition.node)),
        _ => None,
    });
    types.collect()
}

fn directives(schema: &str) -> Vec<DirectiveDefinition> {
    let document = parse_schema(schema).unwrap_or_else(|error| panic!("{error}"));
    let directives = document.definitions.into_iter().filter_map(|definition| match definition {
        TypeSystemDefinition::Directive(definition) => Some(definition.node),
        _ => None,
    });
    directives.collect()
}

tests::on_both! {
    async fn introspection_describes_directives_like_the_printed_schema(server: Server) {
        let query = "{ __schema { directives { name description args { name description } } } }";
        let answer = server.user("ada@example.com").gql(query, json!({})).await.ok();
        let served = answer["__schema"]["directives"].as_array().unwrap();
        for printed in directives(&printed()) {
            let served = served.iter().find(|served| served["name"] == printed.name.node.as_str()).unwrap();
            let text = |description: &Option<Positioned<String>>| description.as_ref().map(|text| text.node.clone());
            assert_eq!(served["description"], json!(text(&printed.description)), "{}", printed.name.node);
            let arguments = printed.arguments.iter().map(|argument| {
                json!({ "name": argument.node.name.node.as_str(), "description": text(&argument.node.description) })
            });
            assert_eq!(served["args"], json!(arguments.collect::<Vec<_>>()), "{}", printed.name.node);
        }
    }
}

fn compare(name: &str, wanted: &TypeKind, found: &TypeKind, missing: &mut Missing) {
    match (wanted, found) {
        (TypeKind::Scalar, TypeKind::Scalar) => {}
        (TypeKind::Object(wanted), TypeKind::Object(found)) => {
            for interface in wanted.implements.iter().filter(|interface| !found.implements.contains(interface)) {
                missing.push((name.to_owned(), format!("does not implement {}", interface.node)));
            }
            fields(name, &wanted.fields, &found.fields, missing);
        }
        (TypeKind::Interface(wanted), TypeKind::Interface(found)) => {
            fields(name, &wanted.fields, &found.fields, missing);
        }
        (TypeKind::InputObject(wanted), TypeKind::InputObject(found)) => {
            inputs(|field| format!("{name}.{field}"), &wanted.fields, &found.fields, missing);
        }
        (TypeKind::Enum(wanted), TypeKind::Enum(found)) => {
            let names = |values: &[Positioned<async_graphql::parser::types::EnumValueDefinition>]| {
                values.iter().map(|value| value.node.value.node.clone()).collect::<Vec<_>>()
            };
            same(name, &names(&wanted.values), &names(&found.values), missing);
        }
        (TypeKind::Union(wanted), TypeKind::Union(found)) => {
            let names = |members: &[Positioned<Name>]| members.iter().map(|name| name.node.clone()).collect::<Vec<_>>();
            same(name, &names(&wanted.members), &names(&found.members), missing);
        }
        _ => missing.push((name.to_owned(), "is a different kind of type".to_owned())),
    }
}

fn same(name: &str, wanted: &[Name], found: &[Name], missing: &mut Missing) {
    let lacks = |of: &[Name], what: &Name| !of.contains(what);
    missing.extend(wanted.iter().filter(|w| lacks(found, w)).map(|w| (format!("{name}.{w}"), "is missing".to_owned())));
    missing.extend(found.iter().filter(|f| lacks(wanted, f)).map(|f| (format!("{name}.{f}"), "is new".to_owned())));
}

fn fields(
    name: &str,
    wanted: &[Positioned<FieldDefinition>],
    found: &[Positioned<FieldDefinition>],
    missing: &mut Missing,
) {
    for Positioned { node: wanted, .. } in wanted {
        let place = format!("{name}.{}", wanted.name.node);
        let Some(found) = found.iter().map(|found| &found.node).find(|found| found.name == wanted.name) else {
            missing.push((place, "is missing".to_owned()));
            continue;
        };
        if wanted.ty != found.ty {
            missing.push((place.clone(), format!("is {}, and must be {}", found.ty.node, wanted.ty.node)));
        }
        inputs(|argument| format!("{place}({argument})"), &wanted.arguments, &found.arguments, missing);
    }
}

fn inputs(
    place: impl Fn(&Name) -> String,
    wanted: &[Positioned<InputValueDefinition>],
    found: &[Positioned<InputValueDefinition>],
    missing: &mut Missing,
) {
    let describe = |input: &InputValueDefinition| match &input.default_value {
        Some(default) => format!("{} = {}", input.ty.node, default.node),
        None => input.ty.node.to_string(),
    };
    for Positioned { node: wanted, .. } in wanted {
        match found.iter().map(|found| &found.node).find(|found| found.name == wanted.name) {
            None => missing.push((place(&wanted.name.node), "is missing".to_owned())),
            Some(found) if wanted.ty != found.ty || wanted.default_value != found.default_value => {
                let what = format!("is {}, and must be {}", describe(found), describe(wanted));
                missing.push((place(&wanted.name.node), what));
            }
            Some(_) => {}
        }
    }
    for Positioned { node: new, .. } in found.iter().filter(|new| !wanted.iter().any(|w| w.node.name == new.node.name))
    {
        if !new.ty.node.nullable && new.default_value.is_none() {
            missing.push((place(&new.name.node), "is new and required".to_owned()));
        }
    }
}
