//! Media types of requests and responses.

use axum::http::{
    HeaderMap, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};

use super::refusal::Refusal;
use crate::{model::error::Error, transport::accept};

/// Media type of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    GraphqlResponse,
    Json,
}

/// The media type of the response (RFC 9110, section 12.5.1): the one that the client weighs highest. Without a
/// preference it is `application/json`, which every client reads. `None` if the client accepts neither.
pub(super) fn negotiate(headers: &HeaderMap) -> Option<Media> {
    if !headers.contains_key(ACCEPT) {
        return Some(Media::Json);
    }
    // For each type, how exactly the range named it, and its weight. The most exact range wins.
    let mut graphql = (0, 0.0);
    let mut json = (0, 0.0);
    for range in accept::ranges(headers) {
        let mut charsets = range.parameters.iter().filter(|(key, _)| key.eq_ignore_ascii_case("charset"));
        if !charsets.all(|(_, charset)| names_utf8(charset)) {
            continue;
        }
        let exactness = match range.name {
            "*/*" => 1,
            name if name.eq_ignore_ascii_case("application/*") => 2,
            _ => 3,
        };
        if exactness >= graphql.0 && (exactness < 3 || range.is("application/graphql-response+json")) {
            graphql = (exactness, range.weight);
        }
        if exactness >= json.0 && (exactness < 3 || range.is("application/json")) {
            json = (exactness, range.weight);
        }
    }
    match (graphql, json) {
        ((_, first), (_, second)) if first <= 0.0 && second <= 0.0 => None,
        ((exactness, first), (_, second)) if first > second || (first == second && exactness == 3) => {
            Some(Media::GraphqlResponse)
        }
        _ => Some(Media::Json),
    }
}

fn names_utf8(charset: &str) -> bool {
    let charset = charset.trim().trim_matches('"');
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}

/// Only JSON is accepted: a page of another site can send forms and text without a CORS preflight, but not JSON.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Box<Refusal>> {
    let unsupported = |message: &str| {
        Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Error::bad_input("content-type", message)))
    };
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/json")) {
        return unsupported("The Content-Type must be application/json.");
    }
    let mut charsets =
        parts.filter_map(|part| part.split_once('=')).filter(|(key, _)| key.eq_ignore_ascii_case("charset"));
    if charsets.any(|(_, charset)| !names_utf8(charset)) {
        return unsupported("The charset must be UTF-8.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn negotiate_picks_the_media_type_with_the_highest_weight() {
        use Media::{GraphqlResponse, Json};
        const BOTH: &str = "application/json, application/graphql-response+json";
        for (accept, media) in [
            (&[][..], Some(Json)),
            (&["*/*"], Some(Json)),
            (&["application/*"], Some(Json)),
            (&["text/html, */*;q=0.1"], Some(Json)),
            (&["application/json"], Some(Json)),
            (&["APPLICATION/GraphQL-Response+JSON"], Some(GraphqlResponse)),
            (&[BOTH], Some(GraphqlResponse)),
            (&["application/json", "application/graphql-response+json"], Some(GraphqlResponse)),
            (&["application/graphql-response+json;q=0.5, application/json;q=0.9"], Some(Json)),
            (
                &["application/graphql-response+json;charset=utf-8, application/json;charset=\"UTF-8\""],
                Some(GraphqlResponse),
            ),
            (&["*/*, application/json;q=0"], Some(GraphqlResponse)),
            (&["application/json;q=0, */*"], Some(GraphqlResponse)),
            (&["application/graphql-response+json;q=0"], None),
            (&["application/json; charset=utf-16"], None),
            (&["text/html"], None),
            (&[""], None),
        ] {
            assert_eq!(negotiate(&headers(ACCEPT, accept)), media, "{accept:?}");
        }
    }

    #[test]
    fn only_utf8_json_is_accepted() {
        for (content_type, is_read) in [
            ("application/json", true),
            ("Application/JSON ; Charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("application/graphql-response+json", false),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=x", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(require_json(&headers(CONTENT_TYPE, &[content_type])).is_ok(), is_read, "{content_type}");
        }
        assert!(require_json(&HeaderMap::new()).is_err());
    }
}
