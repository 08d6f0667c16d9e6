//! Limits the number of values in a JSON text: each takes memory once parsed, however short its text is.

use crate::model::error::{Error, Result};

/// Checks the number of values before the JSON is parsed.
///
/// # Errors
/// `PayloadTooLarge` if there are more than `limit`.
pub fn check(json: &str, limit: usize) -> Result<()> {
    // A value takes at least two bytes, with the comma after it.
    if json.len() / 2 <= limit || count(json) <= limit {
        return Ok(());
    }
    let message = format!("The JSON of a request can have at most {limit} values (--max-json-values).");
    Err(Error::PayloadTooLarge { field: None, message })
}

/// Memory for a JSON text once it is parsed, in bytes: its values, and its strings twice, since an operation copies its
/// arguments.
pub fn memory(json: &str) -> usize {
    /// A value, its share of the free places in a list, and the digits of a number.
    const VALUE: usize = 128;
    2 * json.len() + VALUE * count(json)
}

/// An upper bound: one for each comma, colon, and opening bracket outside of strings.
fn count(json: &str) -> usize {
    let (mut values, mut in_string, mut is_escaped) = (1, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b',' | b':' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (json, values) in [("1", 1), ("[1,2,3]", 4), (r#"{"a":"b,c:[{\",","d":[]}"#, 6), (r#"["\\",1]"#, 3)] {
            assert_eq!(count(json), values, "{json}");
        }
    }

    #[test]
    fn too_many_values_are_refused() {
        let many = format!("[{}1]", "1,".repeat(1_000));
        assert!(check(&many, 1_002).is_ok());
        assert!(matches!(check(&many, 1_000), Err(Error::PayloadTooLarge { .. })));
        // A long string is one value.
        assert!(check(&format!("[\"{}\"]", ",".repeat(10_000)), 10).is_ok());
    }
}
