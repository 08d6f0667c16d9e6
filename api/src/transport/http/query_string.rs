//! Parameters of a URL.

use axum::{extract::Query, http::Uri};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

/// Checks the encoding of the query string. The extractor of axum replaces bytes that are not UTF-8, and takes a `%` without
/// digits as it is.
///
/// # Errors
/// What is wrong, as a part of a sentence.
pub(super) fn check(uri: &Uri) -> Result<(), String> {
    let text = uri.query().unwrap_or_default();
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(is_escape) {
        return Err(
            "it has a % without two hexadecimal digits after it (write %25 for the character itself)".to_owned()
        );
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(_) => Ok(()),
        Err(_) => Err("it is not UTF-8".to_owned()),
    }
}

/// Parses the query string.
///
/// # Errors
/// What is wrong, as a part of a sentence.
pub(super) fn parse<T: DeserializeOwned>(uri: &Uri) -> Result<T, String> {
    check(uri)?;
    let Query(parameters) = Query::<T>::try_from_uri(uri).map_err(|error| error.body_text())?;
    Ok(parameters)
}
