//! The scalars of the API.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::Field;
use async_graphql::registry::{MetaType, MetaTypeId, Registry};
use async_graphql::{
    ContextSelectionSet, InputType, InputValueError, InputValueResult, Name, OutputType, Positioned, Scalar,
    ScalarType, ServerError, ServerResult, Value,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Datelike, SubsecRound, Timelike, Utc};

use super::context::caller;
use super::json_text::{RAW_VALUE_TOKEN, raw_json};
use crate::model::clock;
use crate::model::json::{self, MAX_DEPTH};
use crate::model::text::shown;

/// A time in RFC 3339 format: written in UTC with microseconds, accepted with any offset.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub DateTime<Utc>);

fn parse_time(value: &Value) -> Option<DateTime<Utc>> {
    let Value::String(text) = value else { return None };
    // The library accepts a minus sign of Unicode.
    let time = text.is_ascii().then(|| DateTime::parse_from_rfc3339(text).ok())??;
    // The library accepts second 60 in every minute; the databases would order it differently.
    if time.nanosecond() >= 1_000_000_000 {
        return None;
    }
    // Truncate to the databases' precision, so that equal times compare as equal.
    let time = time.to_utc().trunc_subsecs(6);
    // An offset can lead to a year of five digits, which SQLite does not order.
    (0..=9999).contains(&time.year()).then_some(time)
}

/// A moment in time as RFC 3339 text, without leap seconds. Responses are in UTC with up to microseconds; arguments can have any offset.
#[Scalar(name = "DateTime", specified_by_url = "https://datatracker.ietf.org/doc/html/rfc3339")]
impl ScalarType for Time {
    fn parse(value: Value) -> InputValueResult<Self> {
        let time = parse_time(&value).map(Self);
        time.ok_or_else(|| {
            InputValueError::custom("a DateTime has the format 2026-01-31T12:00:00Z, in the years 0 to 9999")
        })
    }

    fn is_valid(value: &Value) -> bool {
        parse_time(value).is_some()
    }

    fn to_value(&self) -> Value {
        Value::String(clock::rfc3339(self.0))
    }
}

/// Binary data in base64 with padding (RFC 4648, section 4).
#[derive(Clone, Debug)]
pub struct Base64(pub Vec<u8>);

/// Bytes that are not text: base64 with padding (RFC 4648, section 4).
#[Scalar(specified_by_url = "https://datatracker.ietf.org/doc/html/rfc4648#section-4")]
impl ScalarType for Base64 {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => {
                STANDARD.decode(text).map(Self).map_err(|_| InputValueError::custom("this is not base64"))
            }
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(text) if STANDARD.decode(text).is_ok())
    }

    fn to_value(&self) -> Value {
        Value::String(STANDARD.encode(&self.0))
    }
}

/// A text written by a user, which can be long. It counts against the operation's budget each time that it is returned.
pub struct Text<'t>(pub &'t str);

impl OutputType for Text<'_> {
    fn type_name() -> Cow<'static, str> {
        <String as OutputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <String as OutputType>::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        count(ctx, field, self.0.len())?;
        Ok(Value::String(self.0.to_owned()))
    }
}

/// A long text, shared with the cache instead of copied. In results a binary value is text (`transport/pieces.rs`).
pub struct SharedText(Bytes);

impl SharedText {
    /// The size in bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// The text of a content; `None` if it is not text.
    pub fn of(content: Arc<Vec<u8>>) -> Option<Self> {
        struct Content(Arc<Vec<u8>>);

        impl AsRef<[u8]> for Content {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        match shown(&content)? {
            Cow::Owned(text) => Some(text.into()),
            Cow::Borrowed(_) => Some(Self(Bytes::from_owner(Content(content)))),
        }
    }
}

impl From<String> for SharedText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl OutputType for SharedText {
    fn type_name() -> Cow<'static, str> {
        <String as OutputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <String as OutputType>::create_type_info(registry)
    }

    async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
        Ok(Value::Binary(self.0.clone()))
    }
}

/// JSON that this service made.
pub struct MadeJson(pub SharedText);

impl OutputType for MadeJson {
    fn type_name() -> Cow<'static, str> {
        <Json as OutputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <Json as OutputType>::create_type_info(registry)
    }

    async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
        Ok(raw_json(self.0.0.clone()))
    }
}

/// Counts the bytes that a field returns.
fn count(ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>, bytes: usize) -> ServerResult<()> {
    let Ok(caller) = caller(ctx) else { return Ok(()) };
    let counted = caller.reader.answer(bytes);
    counted.map_err(|error| ctx.set_error_path(async_graphql::Error::from(error).into_server_error(field.pos)))
}

/// A JSON value, returned exactly as written. A value that cannot be stored is refused by the write, which knows the
/// name of its argument.
pub struct Json(pub json::Json);

impl Json {
    fn of(value: &Value) -> Self {
        let mut text = String::new();
        Self(match write(&mut text, value, 0) {
            Ok(()) => json::Json::stored(text),
            Err(why) => json::Json::flawed(&why),
        })
    }

    fn describe() -> MetaType {
        MetaType::Scalar {
            name: "JSON".to_owned(),
            description: Some("A scalar that can represent any JSON value.".to_owned()),
            is_valid: None,
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            specified_by_url: Some("https://datatracker.ietf.org/doc/html/rfc8259".to_owned()),
            directive_invocations: Vec::new(),
            requires_scopes: Vec::new(),
        }
    }
}

/// Appends a value as JSON. Binary values stand for what [`super::variables`] cannot represent.
fn write(text: &mut String, value: &Value, depth: usize) -> Result<(), Cow<'static, str>> {
    if depth > MAX_DEPTH {
        return Err(format!("{}.", json::TOO_DEEP).into());
    }
    match value {
        Value::Null => text.push_str("null"),
        Value::Boolean(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => text.push_str(number.as_str()),
        Value::String(string) => json::write_string(text, string),
        Value::Enum(name) => json::write_string(text, name),
        Value::Binary(why) => return Err(String::from_utf8_lossy(why).into_owned().into()),
        Value::List(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                write(text, value, depth + 1)?;
            }
            text.push(']');
        }
        Value::Object(fields) => {
            text.push('{');
            for (index, (name, value)) in fields.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                json::write_string(text, name);
                text.push(':');
                write(text, value, depth + 1)?;
            }
            text.push('}');
        }
    }
    Ok(())
}

impl InputType for Json {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed("JSON")
    }

    fn create_type_info(registry: &mut Registry) -> String {
        registry.create_input_type::<Self, _>(MetaTypeId::Scalar, |_| Self::describe())
    }

    fn parse(value: Option<Value>) -> InputValueResult<Self> {
        Ok(Self::of(&value.unwrap_or_default()))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.as_str().to_owned())
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }
}

impl OutputType for Json {
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed("JSON")
    }

    fn create_type_info(registry: &mut Registry) -> String {
        registry.create_output_type::<Self, _>(MetaTypeId::Scalar, |_| Self::describe())
    }

    /// A value that cannot be decoded fails alone: it becomes null with an error, and its parent is kept.
    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        count(ctx, field, self.0.as_str().len())?;
        Ok(match self.0.compact() {
            Ok(text) => Value::Object(IndexMap::from([(Name::new(RAW_VALUE_TOKEN), Value::String(text))])),
            Err(why) => {
                let cause = format!("the database contains invalid JSON: {why}");
                ctx.add_error(ctx.set_error_path(ServerError::new(cause, Some(field.pos))));
                Value::Null
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_as_given() {
        let number = |text: &str| Value::Number(text.parse().unwrap());
        let fields = [("z", number("-0")), ("a", number("1.0")), ("\n", Value::Enum(Name::new("RED")))];
        let fields = fields.map(|(name, value)| (Name::new(name), value));
        let value = Value::List(vec![Value::Object(IndexMap::from(fields)), Value::Null, Value::Boolean(true)]);
        assert_eq!(Json::of(&value).0.as_str(), r#"[{"z":-0,"a":1.0,"\n":"RED"},null,true]"#);
        let flawed = Value::List(vec![Value::Binary("It is odd.".as_bytes().into())]);
        assert_eq!(Json::of(&flawed).0.flaw(), Some("It is odd."));
    }
}
