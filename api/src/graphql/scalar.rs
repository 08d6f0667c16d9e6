//! The scalars of the API.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};

/// A moment: RFC 3339, given in UTC with microseconds; any offset is taken.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub DateTime<Utc>);

fn parse_time(value: &Value) -> Option<DateTime<Utc>> {
    let Value::String(text) = value else { return None };
    // Cut to what the databases keep, so that equal times compare as equal.
    Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc().trunc_subsecs(6))
}

/// A moment in time as RFC 3339 text. Answers are in UTC with up to microseconds; arguments can have any offset.
#[Scalar(name = "DateTime", specified_by_url = "https://datatracker.ietf.org/doc/html/rfc3339")]
impl ScalarType for Time {
    fn parse(value: Value) -> InputValueResult<Self> {
        let time = parse_time(&value).map(Self);
        time.ok_or_else(|| InputValueError::custom("a DateTime is written like 2026-01-31T12:00:00Z"))
    }

    fn is_valid(value: &Value) -> bool {
        parse_time(value).is_some()
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// Bytes that are not text: base64 (RFC 4648, section 4) with padding.
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
