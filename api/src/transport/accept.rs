//! The header `Accept` (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header::ACCEPT};

/// A media range that a client accepts.
#[derive(Clone, Debug)]
pub struct Range<'a> {
    /// Its type, such as `application/json`, in any case.
    pub name: &'a str,
    /// Its parameters, without the weight.
    pub parameters: Vec<(&'a str, &'a str)>,
    /// From 0, which means not acceptable, to 1.
    pub weight: f32,
}

impl Range<'_> {
    /// Whether this is the range of one media type.
    pub fn is(&self, media_type: &str) -> bool {
        self.name.eq_ignore_ascii_case(media_type)
    }
}

/// The ranges of a request, in order.
pub fn ranges(headers: &HeaderMap) -> impl Iterator<Item = Range<'_>> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let mut weight = 1.0;
        let mut parameters = Vec::new();
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match (key.trim(), value.trim()) {
                (key, value) if key.eq_ignore_ascii_case("q") => weight = value.parse().unwrap_or(0.0),
                parameter => parameters.push(parameter),
            }
        }
        Range { name, parameters, weight }
    })
}
