//! Variables and extensions of a request: JSON whose numbers keep their text, and whose flaws are named by their place.

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{BaseType, OperationDefinition, Type};
use async_graphql::{Extensions, Name, Number, Request, Value, Variables};

use super::scalar::JSON_INPUTS;
use crate::model::error::{Error, Result};
use crate::model::json::{LONE_SURROGATE, MAX_DEPTH, TOO_DEEP, Token, Tokens};

/// A value that cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FlawAt {
    path: Vec<Segment>,
    why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

/// The flaws of a request's variables, which go with it until its operation is known.
#[derive(Default)]
struct Flaws(Vec<FlawAt>);

/// Gives a request its variables.
///
/// # Errors
/// `BadInput` if the text is no JSON object.
pub fn attach(request: &mut Request, json: &str) -> Result<()> {
    let (fields, flaws) = object("variables", json)?;
    request.variables = Variables::default();
    for (name, value) in fields {
        request.variables.insert(name, value);
    }
    if !flaws.is_empty() {
        request.data.insert(Flaws(flaws));
    }
    Ok(())
}

/// The extensions of a request.
///
/// # Errors
/// `BadInput` if the text is no JSON object, or has what cannot be kept.
pub fn extensions(json: &str) -> Result<Extensions> {
    let (fields, flaws) = object("extensions", json)?;
    if let Some(flaw) = flaws.into_iter().next() {
        return Err(Error::bad_input("extensions", flaw.why));
    }
    let mut extensions = Extensions::default();
    extensions.extend(fields.into_iter().map(|(name, value)| (name.to_string(), value)));
    Ok(extensions)
}

/// Refuses what cannot be kept of the variables of an operation. JSON is left to the write that it is meant for, which knows
/// what its argument is called.
///
/// # Errors
/// `BadInput` naming the argument.
pub fn check(operation: &OperationDefinition, request: &Request) -> Result<()> {
    let Some(Flaws(flaws)) = request.data.get(&std::any::TypeId::of::<Flaws>()).and_then(|flaws| flaws.downcast_ref())
    else {
        return Ok(());
    };
    let is_json = |variable: &str| {
        let mut definitions = operation.variable_definitions.iter();
        definitions
            .any(|definition| definition.node.name.node == *variable && base(&definition.node.var_type.node) == "JSON")
    };
    for FlawAt { path, why } in flaws {
        let kept_for_write = path.iter().enumerate().any(|(at, segment)| match segment {
            Segment::Key(key) if at == 0 => is_json(key),
            Segment::Key(key) => JSON_INPUTS.contains(&key.as_str()),
            Segment::Index(_) => false,
        });
        if !kept_for_write {
            return Err(Error::bad_input(named(path), why.as_str()));
        }
    }
    Ok(())
}

fn base(mut kind: &Type) -> &str {
    loop {
        match &kind.base {
            BaseType::Named(name) => return name,
            BaseType::List(items) => kind = items,
        }
    }
}

/// A place as errors name arguments: `files[3].path`.
fn named(path: &[Segment]) -> String {
    let mut named = String::new();
    for (at, segment) in path.iter().enumerate() {
        match segment {
            Segment::Key(key) if at == 0 && key == "input" && path.len() > 1 => {}
            Segment::Key(key) => {
                named.push_str(if named.is_empty() { "" } else { "." });
                named.push_str(key);
            }
            Segment::Index(index) => named.push_str(&format!("[{index}]")),
        }
    }
    named
}

/// An array or object that is being read.
struct Open {
    kind: Kind,
    flaw: Option<String>,
}

enum Kind {
    List(Vec<Value>),
    Object(IndexMap<Name, Value>, String),
}

/// Reads an object. What cannot be kept is replaced by bytes, which nothing else is read as, and listed with its place.
fn object(parameter: &str, json: &str) -> Result<(IndexMap<Name, Value>, Vec<FlawAt>)> {
    let refuse = |why: &str| Error::bad_input(parameter, format!("`{parameter}` must be a JSON object: {why}"));
    let mut tokens = Tokens::new(json);
    let (mut open, mut flaws) = (Vec::<Open>::new(), Vec::new());
    let mut root = Value::Null;
    while let Some(token) = tokens.next().map_err(|flaw| refuse(&flaw.to_string()))? {
        let closes = matches!(token, Token::EndArray | Token::EndObject);
        if tokens.depth() + usize::from(closes) > MAX_DEPTH {
            // Left out; the innermost that is kept stands for it.
            if let Some(inner) = open.last_mut() {
                inner.flaw.get_or_insert_with(|| format!("{TOO_DEEP}."));
            }
            continue;
        }
        let value = match token {
            Token::Array => {
                open.push(Open { kind: Kind::List(Vec::new()), flaw: None });
                continue;
            }
            Token::Object => {
                open.push(Open { kind: Kind::Object(IndexMap::new(), String::new()), flaw: None });
                continue;
            }
            Token::Key(key) => {
                if let Some(Open { kind: Kind::Object(fields, next), flaw }) = open.last_mut() {
                    match key {
                        Ok(key) => {
                            if fields.contains_key(&*key) {
                                flaw.get_or_insert_with(|| format!("The key {} is there twice.", shown(&key)));
                            }
                            *next = key.into_owned();
                        }
                        Err(()) => drop(flaw.get_or_insert_with(|| format!("{LONE_SURROGATE}."))),
                    }
                }
                continue;
            }
            Token::EndArray | Token::EndObject => match open.pop() {
                Some(Open { flaw: Some(why), .. }) => flawed(&open, &mut flaws, why),
                Some(Open { kind: Kind::List(values), .. }) => Value::List(values),
                Some(Open { kind: Kind::Object(fields, _), .. }) => Value::Object(fields),
                None => Value::Null,
            },
            Token::String(Ok(string)) => Value::String(string.into_owned()),
            Token::String(Err(())) => flawed(&open, &mut flaws, format!("{LONE_SURROGATE}.")),
            // What parses a number's text would write its exponent anew.
            Token::Number(number) => Value::Number(Number::from_string_unchecked(number.to_owned())),
            Token::True => Value::Boolean(true),
            Token::False => Value::Boolean(false),
            Token::Null => Value::Null,
        };
        match open.last_mut().map(|inner| &mut inner.kind) {
            Some(Kind::List(values)) => values.push(value),
            Some(Kind::Object(fields, key)) => drop(fields.insert(Name::new(&key), value)),
            None => root = value,
        }
    }
    match root {
        Value::Object(fields) => Ok((fields, flaws)),
        Value::Null => Ok((IndexMap::new(), flaws)),
        Value::Binary(_) => {
            let why = flaws.pop().map(|flaw| flaw.why).unwrap_or_default();
            Err(Error::bad_input(parameter, why))
        }
        _ => Err(refuse("this is none.")),
    }
}

fn flawed(open: &[Open], flaws: &mut Vec<FlawAt>, why: String) -> Value {
    let path = open.iter().map(|open| match &open.kind {
        Kind::List(values) => Segment::Index(values.len()),
        Kind::Object(_, key) => Segment::Key(key.clone()),
    });
    let value = Value::Binary(why.clone().into_bytes().into());
    flaws.push(FlawAt { path: path.collect(), why });
    value
}

/// A key as a message shows it.
fn shown(key: &str) -> String {
    let mut shown: String = key.chars().take(50).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::{parse_query, types::DocumentOperations};

    use super::*;

    /// The argument at fault, if one is.
    fn judged(query: &str, variables: &str) -> std::result::Result<(), (String, String)> {
        let mut request = Request::new(query);
        let refused = |error| match error {
            Error::BadInput { field, message } => (field, message),
            other => panic!("{other:?}"),
        };
        attach(&mut request, variables).map_err(refused)?;
        let DocumentOperations::Single(operation) = parse_query(query).unwrap().operations else { panic!("one") };
        check(&operation.node, &request).map_err(refused)
    }

    #[test]
    fn a_flaw_is_named_by_its_place_and_json_is_left_to_the_write() {
        let query = "query($input: I!, $a: JSON, $b: [JSON!]!, $c: String) { x }";
        for (variables, field) in [
            (r#"{"c":"\ud83d"}"#, "c"),
            (r#"{"input":{"name":"\ud83d"}}"#, "name"),
            (r#"{"input":{"files":[{"path":"a"},{"path":"b","path":"c"}]}}"#, "files[1]"),
            (r#"{"input":{"a":1,"a":1}}"#, "input"),
            (r#"{"c":1,"c":2}"#, "variables"),
            (r#"[1]"#, "variables"),
            (r#"{"c":}"#, "variables"),
        ] {
            assert_eq!(judged(query, variables).map_err(|(field, _)| field), Err(field.to_owned()), "{variables}");
        }
        let deep = "[".repeat(200) + &"]".repeat(200);
        for variables in [
            r#"{"a":{"x":1,"x":2}}"#,
            r#"{"b":["\ud83d"]}"#,
            r#"{"input":{"config":{"x":[{"y":"\udc00"}]},"name":"a"}}"#,
            &format!("{{\"a\":{deep}}}"),
            "null",
            "{}",
        ] {
            assert_eq!(judged(query, variables), Ok(()), "{variables}");
        }
    }

    #[test]
    fn numbers_keep_their_text() {
        let mut request = Request::new("");
        attach(&mut request, r#"{"a": [1E5, -0, 1.0, 18446744073709551616]}"#).unwrap();
        assert_eq!(request.variables.to_string(), "{a: [1E5, -0, 1.0, 18446744073709551616]}");
    }
}
