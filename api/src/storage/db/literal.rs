//! Values as PostgreSQL literals, for statements that are sent together with the beginning or the end of a transaction: the
//! simple protocol has no parameters.

use sea_orm::Value;
use sea_orm::sea_query::ArrayType;

use crate::model::error::{Error, Result};

/// A text as a literal, independent of `standard_conforming_strings`. Drops NUL, which PostgreSQL's texts cannot
/// contain.
pub(super) fn text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 3);
    quoted.push_str("E'");
    for character in text.chars().filter(|character| *character != '\0') {
        if matches!(character, '\'' | '\\') {
            quoted.push(character);
        }
        quoted.push(character);
    }
    quoted.push('\'');
    quoted
}

/// A statement with literals instead of `$1`, `$2` ….
///
/// # Errors
/// `Internal` for a value of an unsupported type.
pub(super) fn render(sql: &str, values: &[Value]) -> Result<String> {
    let mut rendered = String::with_capacity(sql.len() + 40 * values.len());
    let mut rest = sql;
    let mut quote = None;
    while let Some(at) = rest.find(['$', '\'', '"']) {
        let (before, from) = rest.split_at(at);
        rendered.push_str(before);
        let mut characters = from.chars();
        let sign = characters.next();
        let digits = characters.as_str();
        let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
        let (number, after) = digits.split_at(end);
        if sign == Some('$') && quote.is_none() && !number.is_empty() {
            let value = number.parse::<usize>().ok().and_then(|number| values.get(number.checked_sub(1)?));
            rendered.push_str(&literal(value.ok_or_else(|| Error::internal("a placeholder has no value"))?)?);
            rest = after;
            continue;
        }
        if sign != Some('$') {
            // A doubled quote closes and opens again.
            quote = match quote {
                None => sign,
                Some(open) if Some(open) == sign => None,
                open => open,
            };
        }
        rendered.extend(sign);
        rest = digits;
    }
    rendered.push_str(rest);
    Ok(rendered)
}

fn literal(value: &Value) -> Result<String> {
    /// With the type, like a bound value: functions are resolved by the types of their arguments.
    fn typed(value: Option<String>, kind: &str) -> String {
        format!("{}::{kind}", value.unwrap_or_else(|| "NULL".to_owned()))
    }
    Ok(match value {
        Value::Bool(value) => typed(value.map(|value| value.to_string()), "boolean"),
        // Quoted, since `-1::int` is the negation of `1::int`, which fails for i32::MIN.
        Value::SmallInt(value) => typed(value.map(|value| format!("'{value}'")), "smallint"),
        Value::Int(value) => typed(value.map(|value| format!("'{value}'")), "integer"),
        Value::BigInt(value) => typed(value.map(|value| format!("'{value}'")), "bigint"),
        Value::String(value) => typed(value.as_deref().map(text), "text"),
        Value::Uuid(value) => typed(value.map(|value| format!("'{value}'")), "uuid"),
        Value::ChronoDateTimeUtc(value) => {
            let time = |time: &chrono::DateTime<chrono::Utc>| time.format("'%Y-%m-%d %H:%M:%S%.6f+00'").to_string();
            typed(value.as_ref().map(time), "timestamptz")
        }
        Value::Bytes(value) => typed(value.as_ref().map(|bytes| format!("E'\\\\x{}'", hex::encode(bytes))), "bytea"),
        Value::Array(kind, values) => array(kind, values.as_ref().map(|values| values.as_slice()))?,
        other => return Err(Error::Internal(format!("no literal is made of {other:?}"))),
    })
}

fn array(kind: &ArrayType, values: Option<&[Value]>) -> Result<String> {
    let kind = match kind {
        ArrayType::SmallInt => "smallint",
        ArrayType::Int => "integer",
        ArrayType::BigInt => "bigint",
        ArrayType::String => "text",
        ArrayType::Uuid => "uuid",
        ArrayType::Bytes => "bytea",
        other => return Err(Error::Internal(format!("no literal is made of an array of {other:?}"))),
    };
    let Some(values) = values else { return Ok(format!("NULL::{kind}[]")) };
    let values = values.iter().map(literal).collect::<Result<Vec<_>>>()?;
    Ok(format!("ARRAY[{}]::{kind}[]", values.join(", ")))
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};
    use uuid::Uuid;

    use super::*;

    fn rendered<const N: usize>(sql: &str, values: [Value; N]) -> Result<String> {
        render(sql, &values)
    }

    #[test]
    fn a_literal_holds_whatever_is_in_it() {
        for (value, quoted) in [
            ("", "E''"),
            ("{\"sub\":\"a\"}", "E'{\"sub\":\"a\"}'"),
            ("O'Neil", "E'O''Neil'"),
            ("'; RESET ROLE; --", "E'''; RESET ROLE; --'"),
            ("\\'; RESET ROLE; --", "E'\\\\''; RESET ROLE; --'"),
            ("\\", "E'\\\\'"),
            ("a\0b", "E'ab'"),
            ("$$ \u{2019}\n", "E'$$ \u{2019}\n'"),
        ] {
            assert_eq!(text(value), quoted);
        }
    }

    #[test]
    fn each_kind_of_value_keeps_its_type() {
        let time = Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap() + chrono::Duration::microseconds(6);
        for (value, quoted) in [
            (Value::from(Uuid::nil()), "'00000000-0000-0000-0000-000000000000'::uuid"),
            (Value::from(None::<Uuid>), "NULL::uuid"),
            (Value::from(i32::MIN), "'-2147483648'::integer"),
            (Value::from(i64::MAX), "'9223372036854775807'::bigint"),
            (Value::from(true), "true::boolean"),
            (Value::from("it's $1"), "E'it''s $1'::text"),
            (Value::from(time), "'2026-01-02 03:04:05.000006+00'::timestamptz"),
            (Value::from(vec![0_u8, 255]), "E'\\\\x00ff'::bytea"),
            (Value::from(vec![1_i16, -2]), "ARRAY['1'::smallint, '-2'::smallint]::smallint[]"),
            (Value::from(vec!["a'b".to_owned(), String::new()]), "ARRAY[E'a''b'::text, E''::text]::text[]"),
            (Value::from(Vec::<Uuid>::new()), "ARRAY[]::uuid[]"),
            (Value::from(None::<Vec<i32>>), "NULL::integer[]"),
        ] {
            assert_eq!(rendered("$1", [value]).unwrap(), quoted);
        }
        assert!(rendered("$1", [Value::from(1.5_f64)]).is_err());
    }

    #[test]
    fn placeholders_are_found_outside_of_quotes_and_nowhere_else() {
        let values = [Value::from(1), Value::from("$1 '$2' \"")];
        let sql = "SELECT f($2, $1), '$1''$2', \"$1\", $2 || 'a', 1$";
        let text = "E'$1 ''$2'' \"'::text";
        let expected = format!("SELECT f({text}, '1'::integer), '$1''$2', \"$1\", {text} || 'a', 1$");
        assert_eq!(rendered(sql, values).unwrap(), expected);
        for sql in ["$1", "$0", "$99999999999999999999"] {
            assert!(rendered(sql, []).is_err(), "{sql}");
        }
    }
}
