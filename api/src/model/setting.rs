//! Parsers for the values of settings, for flags and environment variables.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Parses a setting that is on or off.
///
/// # Errors
/// The accepted values. Anything else is refused: a misspelled value must not switch a check on or off.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("it must be true, yes, on or 1, or false, no, off or 0".to_owned()),
    }
}

/// A parser for a number within a range.
///
/// # Errors
/// The parser returns the range.
pub fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Clone + fmt::Display,
{
    let wrong = format!("it must be a whole number from {} to {}", range.start(), range.end());
    move |text| text.trim().parse().ok().filter(|number| range.contains(number)).ok_or_else(|| wrong.clone())
}

/// The parts of a list with commas, without the blanks around them and without empty parts.
pub fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boolean_has_eight_spellings_and_no_other() {
        for text in ["true", "TRUE", " True ", "yes", "Yes", "on", "ON\n", "1"] {
            assert_eq!(boolean(text), Ok(true), "{text:?}");
        }
        for text in ["false", "False", " false ", "FALSE\t", "no", "NO", "off", "Off", "0"] {
            assert_eq!(boolean(text), Ok(false), "{text:?}");
        }
        for text in
            ["\"false\"", "'false'", "none", "disabled", "null", "-", "abc", "t", "f", "y", "n", "2", "-1", "00"]
        {
            assert!(boolean(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_list_has_no_blanks_and_no_empty_parts() {
        assert_eq!(parts(" a, b ,,c d,").collect::<Vec<_>>(), ["a", "b", "c d"]);
        assert_eq!(parts(" , ,").count(), 0);
    }

    #[test]
    fn a_number_is_within_its_range() {
        let parse = number(1..=64_usize);
        for (text, expected) in [("1", Some(1)), (" 64 ", Some(64)), ("+2", Some(2)), ("065", None), ("65", None)] {
            assert_eq!(parse(text).ok(), expected, "{text:?}");
        }
        for text in ["0", "-1", "1.5", "1e3", "0x10", "1_000", "18446744073709551615", "18446744073709551616", "a", ""]
        {
            assert_eq!(parse(text), Err("it must be a whole number from 1 to 64".to_owned()), "{text:?}");
        }
    }
}
