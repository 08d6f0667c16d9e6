//! The metadata of the protected resource (RFC 9728), from which a client learns where to sign in.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::transport::state::AppState;

/// The path of the metadata.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The URL of the metadata for a request.
pub fn url(state: &AppState, headers: &HeaderMap, uri: &Uri) -> String {
    format!("{}{WELL_KNOWN}/mcp", state.public_url.of(headers, uri))
}

/// `GET /.well-known/oauth-protected-resource`, also with the path of the resource after it.
pub async fn protected_resource(
    State(state): State<AppState>,
    resource: Option<Path<String>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let base = state.public_url.of(&headers, &uri);
    let of_url = format!("{base}/mcp").parse::<Uri>().map(|url| url.path().to_owned()).unwrap_or_default();
    let is_ours = |Path(path): &Path<String>| path == "mcp" || of_url.strip_prefix('/') == Some(path.as_str());
    if resource.is_some_and(|path| !is_ours(&path)) {
        return (StatusCode::NOT_FOUND, "Not found. The protected resource is /mcp.\n").into_response();
    }
    // Other values of `iss`, such as those of tokens that this server signs itself, are no URLs.
    let issuers = state.verifier.issuers().iter();
    let issuers: Vec<&String> =
        issuers.filter(|issuer| issuer.starts_with("https://") || issuer.starts_with("http://")).collect();
    let mut metadata = json!({
        "resource": format!("{base}/mcp"),
        "resource_name": "Antiphon",
        "bearer_methods_supported": ["header"],
    });
    if let (Some(metadata), false) = (metadata.as_object_mut(), issuers.is_empty()) {
        metadata.insert("authorization_servers".to_owned(), json!(issuers));
    }
    Json(metadata).into_response()
}
