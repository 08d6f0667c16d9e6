//! Parses variables and extensions. Numbers keep their text, and values that cannot be represented carry a reason.

use std::borrow::Cow;

use async_graphql::indexmap::IndexMap;
use async_graphql::{Extensions, Name, Number, Value, Variables};

use crate::model::error::{Error, Result};
use crate::model::json::{LONE_SURROGATE, MAX_DEPTH, TOO_DEEP, Token, Tokens};

/// All arguments and input fields of type JSON. No input of another type has one of these names.
const JSON_INPUTS: [&str; 16] = [
    "agentPersonality",
    "config",
    "contextData",
    "dependencies",
    "functionCalls",
    "llmConfig",
    "metadata",
    "notificationPreferences",
    "requiredEnvVars",
    "sourceFiles",
    "sttConfig",
    "toolIntegrations",
    "ttsConfig",
    "turnDetectionConfig",
    "uiPreferences",
    "vadConfig",
];

/// Parses the variables of a request. A value that cannot be represented is replaced by binary data with the reason.
/// Coercion then refuses it with the argument's name; a JSON argument is refused by the write.
///
/// # Errors
/// `BadInput` if the text is not a JSON object.
pub fn variables(json: &str) -> Result<Variables> {
    let mut variables = Variables::default();
    for (name, value) in object("variables", json)? {
        variables.insert(name, value);
    }
    Ok(variables)
}

/// Parses the extensions of a request.
///
/// # Errors
/// `BadInput` if the text is not a JSON object.
pub fn extensions(json: &str) -> Result<Extensions> {
    let mut extensions = Extensions::default();
    extensions.extend(object("extensions", json)?.into_iter().map(|(name, value)| (name.to_string(), value)));
    Ok(extensions)
}

/// The reason in a value that cannot be represented, as a sentence.
pub fn flaw(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Binary(why) => Some(String::from_utf8_lossy(why)),
        _ => None,
    }
}

fn flawed(why: &str) -> Value {
    Value::Binary(why.to_owned().into_bytes().into())
}

/// An unfinished array or object.
struct Open {
    kind: Kind,
    flaw: Option<String>,
}

enum Kind {
    List(Vec<Value>),
    Object(IndexMap<Name, Value>, String),
}

/// Parses an object.
fn object(parameter: &str, json: &str) -> Result<IndexMap<Name, Value>> {
    let refuse = |why: &str| Error::bad_input(parameter, format!("`{parameter}` must be a JSON object: {why}"));
    let mut tokens = Tokens::new(json);
    let mut open = Vec::<Open>::new();
    let mut root = Value::Null;
    while let Some(token) = tokens.next().map_err(|flaw| refuse(&flaw.to_string()))? {
        let closes = matches!(token, Token::EndArray | Token::EndObject);
        if tokens.depth() + usize::from(closes) > MAX_DEPTH {
            // Skip it, and mark the innermost value that is kept.
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
                                flaw.get_or_insert_with(|| format!("The key {} is duplicated.", shown(&key)));
                            }
                            *next = key.into_owned();
                        }
                        Err(()) => return Err(lone_surrogate(parameter, &open)),
                    }
                }
                continue;
            }
            Token::EndArray | Token::EndObject => match open.pop() {
                Some(Open { flaw: Some(why), .. }) => flawed(&why),
                Some(Open { kind: Kind::List(values), .. }) => Value::List(values),
                Some(Open { kind: Kind::Object(fields, _), .. }) => Value::Object(fields),
                None => Value::Null,
            },
            Token::String(Ok(string)) => Value::String(string.into_owned()),
            Token::String(Err(())) => return Err(lone_surrogate(parameter, &open)),
            // Parsing the number could change the spelling of its exponent.
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
        Value::Object(fields) => Ok(fields),
        Value::Null => Ok(IndexMap::new()),
        value => Err(match flaw(&value) {
            Some(why) => Error::bad_input(parameter, why),
            None => refuse("this is another value."),
        }),
    }
}

/// The error for a lone surrogate, which no text can contain. Within JSON it names the argument, elsewhere the exact
/// position.
fn lone_surrogate(parameter: &str, open: &[Open]) -> Error {
    let mut field = String::new();
    for (depth, Open { kind, .. }) in open.iter().enumerate().filter(|_| parameter == "variables") {
        match kind {
            Kind::List(values) => field.push_str(&format!("[{}]", values.len())),
            Kind::Object(_, key) if JSON_INPUTS.contains(&key.as_str()) => {
                field.clone_from(key);
                break;
            }
            // The client chooses the name of this variable, so the name is left out.
            Kind::Object(_, key) if depth == 0 && open.len() > 1 && key == "input" => {}
            Kind::Object(_, key) => {
                field.push_str(if field.is_empty() || key.is_empty() { "" } else { "." });
                field.push_str(key);
            }
        }
    }
    let field = if field.is_empty() { parameter.to_owned() } else { field };
    Error::bad_input(field, format!("{LONE_SURROGATE}."))
}

/// A key shortened for a message.
fn shown(key: &str) -> String {
    let mut shown: String = key.chars().take(50).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_text() {
        let read = variables(r#"{"a": [1E5, -0, 1.0, 18446744073709551616]}"#).unwrap();
        assert_eq!(read.to_string(), "{a: [1E5, -0, 1.0, 18446744073709551616]}");
    }

    #[test]
    fn unrepresentable_values_carry_a_reason() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for (json, why) in [
            (r#"{"b":1,"c":2,"b":3}"#, "The key \"b\" is duplicated."),
            (r#"{"b":{},"b":{}}"#, "The key \"b\" is duplicated."),
        ] {
            let read = variables(&format!("{{\"a\":{json}}}")).unwrap();
            assert_eq!(flaw(&read["a"]).as_deref(), Some(why), "{json}");
        }
        assert!(variables(&format!("{{\"a\":{deep}}}")).is_ok());
        for json in [r#"{"a":1,"a":2}"#, "[1]", r#"{"a":}"#, "\"a\"", "", "{"] {
            let refused = variables(json).unwrap_err();
            assert!(matches!(refused, Error::BadInput { ref field, .. } if field == "variables"), "{json}");
        }
        for (json, named) in [
            (r#"{"c":"\ud83d"}"#, "c"),
            (r#"{"c":{"name":"\ud83d"}}"#, "c.name"),
            (r#"{"input":{"files":[{},{"path":"\udc00"}]}}"#, "files[1].path"),
            (r#"{"input":{"config":{"a":["\ud83d"]}}}"#, "config"),
            (r#"{"i":{"metadata":{"\ud83d":1}}}"#, "metadata"),
            (r#"{"\ud83d":1}"#, "variables"),
        ] {
            let refused = variables(json).unwrap_err();
            assert!(matches!(refused, Error::BadInput { ref field, .. } if field == named), "{json}: {refused:?}");
        }
        assert!(variables("null").is_ok() && extensions("{}").is_ok() && extensions("5").is_err());
    }
}
