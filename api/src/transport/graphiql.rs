//! GraphiQL at `/`, with its files under `/graphiql/`. Its URLs are relative, so that it works behind a proxy that
//! strips a path prefix. Below a prefix without a final slash, relative URLs would lead to the parent path, and the
//! server does not see the prefix. So the page adds the slash itself before it loads anything.
//!
//! The page and its script are part of this repository (`api/graphiql/`). GraphiQL, React and the WebSocket client are
//! prebuilt npm files: `build.rs` embeds them, and then the page loads nothing from other hosts. A binary built without
//! npm loads the same files from a CDN, pinned by version and hash, and states this on the page.
//!
//! To add an example tab: write `api/graphiql/examples/NN-name.graphql` and its variables in `NN-name.json`, and add
//! the name to [`EXAMPLES`].

use std::sync::LazyLock;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

include!(concat!(env!("OUT_DIR"), "/graphiql_assets.rs"));

/// A file of an npm package, in loading order.
struct Asset {
    /// Name under `/graphiql/`, including the version.
    name: &'static str,
    /// URL of the same file on the CDN.
    cdn: &'static str,
    /// SHA-384 of the file, in the format of <https://www.w3.org/TR/SRI/>.
    integrity: &'static str,
    /// The content, if the build had npm.
    bytes: Option<&'static [u8]>,
}

/// An example tab.
pub struct Example {
    /// The file's name without extension.
    pub name: &'static str,
    /// A GraphQL document with one or more operations, to be run in order.
    pub document: &'static str,
    /// The variables of all its operations, as JSON. A string `PASTE-<NOUN>-ID` is replaced by the `id` of the field
    /// `<noun>` (project, session, message, file, snapshot, agentConfiguration) or by the field `<noun>Id` of the last
    /// mutation payload that had one.
    pub variables: &'static str,
}

macro_rules! example {
    ($name:literal) => {
        Example {
            name: $name,
            document: include_str!(concat!("../../graphiql/examples/", $name, ".graphql")),
            variables: include_str!(concat!("../../graphiql/examples/", $name, ".json")),
        }
    };
}

/// The example tabs from left to right. They can be run in this order on an empty database.
pub const EXAMPLES: &[Example] = &[
    example!("01-who-am-i"),
    example!("02-create-project"),
    example!("03-listen"),
    example!("04-conversation"),
    example!("05-files"),
    example!("06-sync-files"),
    example!("07-snapshots"),
    example!("08-overview"),
    example!("09-team"),
    example!("10-agent"),
    example!("11-streaming-answer"),
];

/// What the page runs first.
const ADD_SLASH: &str =
    "location.pathname.endsWith('/') || location.replace(location.pathname + '/' + location.search + location.hash)";

const CDN: &str = "https://cdn.jsdelivr.net";

/// For files that keep their name when they change: the browser revalidates each time.
const REVALIDATE: &str = "no-cache";
/// For files with a version in their name.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// The page, with embedded files or with the CDN.
static PAGE: LazyLock<Document> = LazyLock::new(|| Document::new(page_html(embedded()), "text/html; charset=utf-8"));
static SCRIPT: LazyLock<Document> = LazyLock::new(|| Document::new(include_str!("../../graphiql/page.js"), JAVASCRIPT));
static STYLE: LazyLock<Document> = LazyLock::new(|| Document::new(include_str!("../../graphiql/page.css"), CSS));
/// The licenses of the npm packages; empty if they are not embedded.
static LICENSE_TEXTS: LazyLock<Document> = LazyLock::new(|| Document::new(LICENSES, "text/plain; charset=utf-8"));
static TABS: LazyLock<Document> = LazyLock::new(|| Document::new(examples_json(), "application/json"));

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// The routes `/` and `/graphiql/{file}`. They are public.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(page)).route("/graphiql/{file}", get(asset))
}

/// `GET /`.
async fn page(request: HeaderMap) -> Response {
    let mut response = PAGE.answer(&request);
    let headers = response.headers_mut();
    if let Ok(policy) = content_security_policy(embedded()).parse() {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// `GET /graphiql/{file}`.
async fn asset(Path(file): Path<String>, request: HeaderMap) -> Response {
    match file.as_str() {
        "page.js" => SCRIPT.answer(&request),
        "page.css" => STYLE.answer(&request),
        "examples.json" => TABS.answer(&request),
        "LICENSES.txt" if embedded() => LICENSE_TEXTS.answer(&request),
        name => match ASSETS.iter().find(|asset| asset.name == name).and_then(|asset| asset.bytes) {
            Some(bytes) => {
                let content_type = if name.ends_with(".css") { CSS } else { JAVASCRIPT };
                ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, FOREVER), NO_SNIFFING], bytes).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

const NO_SNIFFING: (axum::http::HeaderName, &str) = (X_CONTENT_TYPE_OPTIONS, "nosniff");

/// A file of this repository with its headers.
struct Document {
    content_type: &'static str,
    etag: String,
    body: Bytes,
}

impl Document {
    fn new(text: impl Into<String>, content_type: &'static str) -> Self {
        let text = text.into();
        let etag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&text)));
        Self { content_type, etag, body: text.into() }
    }

    /// 200 with the file, or 304 if the browser's copy is current.
    fn answer(&self, request: &HeaderMap) -> Response {
        let known = request.get(IF_NONE_MATCH).is_some_and(|etag| etag.as_bytes() == self.etag.as_bytes());
        let (status, body) =
            if known { (StatusCode::NOT_MODIFIED, Bytes::new()) } else { (StatusCode::OK, self.body.clone()) };
        let headers =
            [(CONTENT_TYPE, self.content_type), (CACHE_CONTROL, REVALIDATE), (ETAG, self.etag.as_str()), NO_SNIFFING];
        (status, headers, Body::from(body)).into_response()
    }
}

/// Whether the npm files are embedded.
fn embedded() -> bool {
    ASSETS.iter().all(|asset| asset.bytes.is_some())
}

fn page_html(embedded: bool) -> String {
    let tags: Vec<String> = ASSETS
        .iter()
        .map(|asset| {
            let (url, check) = if embedded {
                (format!("graphiql/{}", asset.name), String::new())
            } else {
                (asset.cdn.to_owned(), format!(" integrity=\"{}\" crossorigin=\"anonymous\"", asset.integrity))
            };
            if asset.name.ends_with(".css") {
                format!("<link rel=\"stylesheet\" href=\"{url}\"{check}>")
            } else {
                format!("<script defer src=\"{url}\"{check}></script>")
            }
        })
        .collect();
    let notice = if embedded {
        "<a href=\"graphiql/LICENSES.txt\" target=\"_blank\">Licenses</a>"
    } else {
        "<span id=\"notice\">Built without npm: this page loads GraphiQL from cdn.jsdelivr.net.</span>"
    };
    include_str!("../../graphiql/index.html")
        .replace("<!-- add slash -->", &format!("<script>{ADD_SLASH}</script>"))
        .replace("<!-- assets -->", &tags.join("\n    "))
        .replace("<!-- notice -->", notice)
}

/// The Content-Security-Policy of the page (<https://www.w3.org/TR/CSP3/>).
fn content_security_policy(embedded: bool) -> String {
    let cdn = if embedded { String::new() } else { format!(" {CDN}") };
    let own = BASE64_STANDARD.encode(Sha256::digest(ADD_SLASH));
    // GraphiQL's style sheet contains its fonts and a few images as data: URLs.
    format!(
        "default-src 'none'; script-src 'self' 'sha256-{own}'{cdn}; style-src 'self'{cdn}; img-src 'self' data:; font-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The example tabs as the page's script expects them.
fn examples_json() -> String {
    let tabs: Vec<_> = EXAMPLES
        .iter()
        .map(|example| serde_json::json!({ "document": example.document, "variables": example.variables.trim_end() }))
        .collect();
    serde_json::Value::from(tabs).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sha2::Sha384;

    use super::*;

    #[test]
    fn embedded_files_have_the_hashes_of_the_cdn_page() {
        for asset in ASSETS {
            let Some(bytes) = asset.bytes else { continue };
            let hash = format!("sha384-{}", BASE64_STANDARD.encode(Sha384::digest(bytes)));
            assert_eq!(hash, asset.integrity, "{}: correct api/graphiql/assets.tsv", asset.name);
        }
    }

    #[test]
    fn embedded_packages_come_with_their_licenses() {
        for asset in ASSETS.iter().filter(|asset| asset.bytes.is_some()) {
            let package = asset.name.rsplit_once('-').unwrap().0;
            assert!(LICENSES.contains(&format!("── {package} ──")), "{package}");
        }
        assert!(!embedded() || LICENSES.contains("Permission is hereby granted"));
    }

    #[test]
    fn the_embedded_page_names_no_other_host() {
        let page = page_html(true);
        assert!(!page.contains("://"), "{page}");
        assert!(!content_security_policy(true).contains("://"));
    }

    #[test]
    fn the_cdn_page_pins_every_file_and_states_its_source() {
        let page = page_html(false);
        assert_eq!(page.matches("integrity=\"sha384-").count(), ASSETS.len());
        assert_eq!(page.matches(CDN).count(), ASSETS.len());
        assert!(page.contains("Built without npm"));
        assert!(content_security_policy(false).contains(CDN));
    }

    #[test]
    fn every_example_file_is_a_tab() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/graphiql/examples");
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().unwrap() == "graphql")
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, EXAMPLES.iter().map(|example| example.name).collect::<Vec<_>>());
    }

    #[test]
    fn the_variables_of_every_example_are_an_object() {
        for example in EXAMPLES {
            let variables: serde_json::Value = serde_json::from_str(example.variables).unwrap();
            assert!(variables.is_object(), "{}", example.name);
        }
    }

    #[tokio::test]
    async fn an_unchanged_page_returns_304_and_an_unknown_file_404() {
        let first = page(HeaderMap::new()).await;
        assert_eq!(first.status(), StatusCode::OK);
        let mut again = HeaderMap::new();
        again.insert(IF_NONE_MATCH, first.headers().get(ETAG).unwrap().clone());
        assert_eq!(page(again).await.status(), StatusCode::NOT_MODIFIED);
        let unknown = asset(Path("../Cargo.toml".to_owned()), HeaderMap::new()).await;
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    }
}
