//! The schemas of tools' arguments and results, in the dialect that most clients and models understand.

use std::sync::Arc;

use rmcp::{
    handler::server::tool::{schema_for_input, schema_for_output},
    model::JsonObject,
    schemars::JsonSchema,
};
use serde_json::{Map, Value, json};

/// The schema of a tool's arguments. An argument that can be left out is not described as nullable.
pub fn input<T: JsonSchema + 'static>() -> Arc<JsonObject> {
    let schema = schema_for_input::<T>().unwrap_or_default();
    Arc::new(portable((*schema).clone(), |_| None))
}

/// The schema of a tool's data: that of its result, or that of an error.
pub fn output<T: JsonSchema + 'static>() -> Arc<JsonObject> {
    let mut schema =
        portable((*schema_for_output::<T>()).clone(), |of_value| Some(json!([of_value, { "type": "null" }])));
    let mut result = Map::new();
    for key in ["properties", "required"] {
        result.extend(schema.remove(key).map(|value| (key.to_owned(), value)));
    }
    schema.remove("additionalProperties");
    let error = json!({
        "description": "An error: the code and the fields that the API has for it.",
        "properties": { "code": { "type": "string" }, "message": { "type": "string" } },
        "required": ["code", "message"],
    });
    schema.insert("anyOf".to_owned(), json!([result, error]));
    Arc::new(schema)
}

/// Removes what some clients do not understand: formats of numbers, lists of types, and line breaks of descriptions.
/// `nullable` returns the alternatives for a type that can be null; `None` if null need not be mentioned.
fn portable(schema: JsonObject, nullable: impl Fn(&Value) -> Option<Value> + Copy) -> JsonObject {
    let mut result = JsonObject::new();
    for (key, value) in schema {
        match (key.as_str(), value) {
            ("format", Value::String(_)) => {}
            ("description", Value::String(text)) => drop(result.insert(key, text.replace('\n', " ").into())),
            ("type", Value::Array(types)) => {
                let name = types.into_iter().find(|name| name != "null").unwrap_or(Value::Null);
                match nullable(&json!({ "type": name })) {
                    Some(alternatives) => drop(result.insert("anyOf".to_owned(), alternatives)),
                    None => drop(result.insert(key, name)),
                }
            }
            (_, Value::Object(nested)) => drop(result.insert(key, portable(nested, nullable).into())),
            (_, value) => drop(result.insert(key, value)),
        }
    }
    result
}
