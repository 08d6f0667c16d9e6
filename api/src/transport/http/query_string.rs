//! Parameters of a URL.

use axum::{extract::Query, http::Uri};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

/// Parses the query string. Bytes that are not UTF-8 are an error: the extractor of axum replaces them.
///
/// # Errors
/// What is wrong, as a part of a sentence.
pub(super) fn parse<T: DeserializeOwned>(uri: &Uri) -> Result<T, String> {
    let text = uri.query().unwrap_or_default();
    if percent_decode_str(text).decode_utf8().is_err() {
        return Err("it is not UTF-8".to_owned());
    }
    let Query(parameters) = Query::<T>::try_from_uri(uri).map_err(|error| error.body_text())?;
    Ok(parameters)
}
