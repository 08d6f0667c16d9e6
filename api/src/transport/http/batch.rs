//! The operations of one HTTP request.

use async_graphql::Request;
use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, Uri},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    body::{BodyLimit, coding_of, decompress, read_body},
    media::require_json,
    query_string,
    refusal::Refusal,
};
use crate::{
    domain::heavy,
    model::{error::Error, memory::Taken},
    transport::{operation, state::AppState, values},
};

/// The operations of one HTTP request, and whether they came as an array.
pub(super) struct Batch {
    pub(super) requests: Vec<Request>,
    pub(super) is_array: bool,
    /// The size of the body.
    pub(super) bytes: usize,
}

/// Reads the operations of a POST request.
pub(super) async fn read_batch(
    state: &AppState,
    headers: &HeaderMap,
    body: Body,
    is_signed_in: bool,
    memory: &mut Taken,
) -> Result<Batch, Box<Refusal>> {
    require_json(headers)?;
    let coding = coding_of(headers)?;
    let limit = BodyLimit::of(state, is_signed_in);
    let mut body = read_body(state, headers, body, &limit, memory).await?;
    if let Some(coding) = coding {
        body = decompress(state, coding, body, &limit, memory).await?;
    }
    let (max_batch, max_values) = (state.limits.max_batch, state.limits.max_json_values);
    let (all, size) = (state.services.memory.clone(), body.len());
    let read = move || {
        let mut parsed = Taken::default();
        let batch = from_body(&body, max_batch, max_values, |bytes| all.take(&mut parsed, bytes));
        (batch, parsed)
    };
    let (batch, parsed) = heavy::run_or_now(size, read).await.map_err(Refusal::failed)?;
    // The body itself is no longer needed.
    *memory = parsed;
    batch
}

/// `take` reserves memory for the parsed body.
fn from_body(
    body: &[u8],
    max_batch: usize,
    max_values: usize,
    take: impl FnOnce(usize) -> Result<(), Error>,
) -> Result<Batch, Box<Refusal>> {
    let bad_request = |error| Refusal::new(StatusCode::BAD_REQUEST, error);
    let json = std::str::from_utf8(body)
        .map_err(|error| bad_request(Error::bad_input("", format!("The body is not UTF-8: {error}."))))?;
    // RFC 8259, section 8.1: a sender must not add a byte order mark, but some do.
    let json = json.strip_prefix('\u{feff}').unwrap_or(json);
    values::check(json, max_values).map_err(|error| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error))?;
    take(values::memory(json)).map_err(Refusal::failed)?;
    if !json.trim_ascii_start().starts_with('[') {
        let request = operation::read(json).map_err(bad_request)?;
        return Ok(Batch { requests: vec![request], is_array: false, bytes: body.len() });
    }
    let requests: Vec<&RawValue> = serde_json::from_str(json)
        .map_err(|error| bad_request(Error::bad_input("", format!("The body is not usable JSON: {error}."))))?;
    if requests.is_empty() {
        return Err(bad_request(Error::bad_input("", "The batch is empty.")));
    }
    if requests.len() > max_batch {
        let message = format!("The batch has {} operations; the limit is {max_batch} (--max-batch).", requests.len());
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Error::PayloadTooLarge { field: None, message }));
    }
    let requests = requests.iter().map(|raw| operation::read(raw.get()).map_err(bad_request));
    Ok(Batch { requests: requests.collect::<Result<_, _>>()?, is_array: true, bytes: body.len() })
}

pub(super) fn from_query(uri: &Uri) -> Result<Request, Box<Refusal>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Parameters {
        query: Option<String>,
        document_id: Option<String>,
        operation_name: Option<String>,
        variables: Option<String>,
        extensions: Option<String>,
    }

    let bad_request = |error| Refusal::new(StatusCode::BAD_REQUEST, error);
    let parameters: Parameters = query_string::parse(uri)
        .map_err(|why| bad_request(Error::bad_input("", format!("The query string is not usable: {why}."))))?;
    // The draft allows an empty value for an absent parameter.
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    operation::request(operation::Parameters {
        query: given(parameters.query),
        document_id: given(parameters.document_id),
        operation_name: given(parameters.operation_name),
        variables: given(parameters.variables).as_deref(),
        extensions: given(parameters.extensions).as_deref(),
    })
    .map_err(bad_request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_request_or_a_limited_batch() {
        const ONE: &str = r#"{"query":"{a}"}"#;
        let read = |body: &str| {
            from_body(body.as_bytes(), 2, 100, |_| Ok(())).map(|batch| (batch.requests.len(), batch.is_array))
        };
        let refused = |body: &str| read(body).err().map(|refusal| (refusal.status.as_u16(), refusal.error.code()));
        assert_eq!(read(ONE).ok(), Some((1, false)));
        assert_eq!(read(&format!("\u{feff}{ONE}")).ok(), Some((1, false)));
        assert_eq!(read(&format!(" [{ONE}, {ONE}] ")).ok(), Some((2, true)));
        assert_eq!(refused(&format!("[{ONE},{ONE},{ONE}]")), Some((413, "PAYLOAD_TOO_LARGE")));
        for body in ["", "[]", "[1]", "[[\"{a}\"]]", "5", "null", "{", "[", r#"{"query":"{a}"} x"#] {
            assert_eq!(refused(body), Some((400, "BAD_USER_INPUT")), "{body}");
        }
        assert!(from_body(b"{\"query\":\"\xff\"}", 2, 100, |_| Ok(())).is_err());
    }

    #[test]
    fn an_empty_query_parameter_is_absent() {
        let request =
            from_query(&Uri::from_static("/graphql?query=%7Ba%7D&operationName=&variables=%7B%22b%22:1%7D")).ok();
        let request = request.unwrap();
        assert_eq!((request.query.as_str(), request.operation_name, request.variables.len()), ("{a}", None, 1));
        let no_text = "/graphql?query=%7Ba(b:%22%FF%22)%7D";
        for uri in ["/graphql", "/graphql?query=", "/graphql?query=a&query=b", "/graphql?query=a&variables=b", no_text]
        {
            assert!(from_query(&uri.parse().unwrap()).is_err(), "{uri}");
        }
    }
}
