//! URIs of files: `antiphon://PROJECT/PATH`, with the path percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::model::{
    error::{Error, Result},
    ids::ProjectId,
    path::{FilePath, MAX_PATH_BYTES},
};

const SCHEME: &str = "antiphon://";

/// The template of all URIs.
pub const TEMPLATE: &str = "antiphon://{projectId}/{+path}";

/// The longest URI: the id and a slash have 37 bytes, and each byte of the path can be encoded as three.
const MAX_BYTES: usize = SCHEME.len() + 37 + 3 * MAX_PATH_BYTES;

/// Encodes all characters except the unreserved ones (RFC 3986, section 2.3) and the slash.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The URI of a file.
pub fn of(project: ProjectId, path: &FilePath) -> String {
    format!("{SCHEME}{}/{}", project.0, utf8_percent_encode(path.as_str(), ENCODED))
}

/// Parses the URI of a file.
///
/// # Errors
/// `BadInput` if it is none.
pub fn parse(uri: &str) -> Result<(ProjectId, FilePath)> {
    let wrong =
        || Error::bad_input("uri", "The URI of a file is antiphon://PROJECT_ID/PATH, with PATH percent-encoded.");
    if uri.len() > MAX_BYTES {
        return Err(Error::bad_input("uri", format!("A URI can have at most {MAX_BYTES} bytes.")));
    }
    let (project, path) = uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
    if path.contains(['?', '#']) {
        return Err(wrong());
    }
    let path = percent_decode_str(path).decode_utf8().map_err(|_| wrong())?;
    Ok((ProjectId::parse(project, "uri")?, FilePath::parse(&path, "uri")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_contains_every_path() {
        let project = ProjectId(uuid::Uuid::from_u128(7));
        for path in ["a", "src/a b.py", "100%/ä/?#[x].md", "a\\b", "日本/語.txt", "%41"] {
            let path = FilePath::parse(path, "path").unwrap();
            let uri = of(project, &path);
            assert!(uri.bytes().all(|byte| byte.is_ascii_graphic()), "{uri}");
            assert_eq!(parse(&uri).unwrap(), (project, path));
        }
        let uri = |path: &str| format!("antiphon://{}/{path}", project.0);
        assert_eq!(parse(&uri("/src//./a.py")).unwrap().1.as_str(), "src/a.py");
        let longest = uri(&"%41".repeat(MAX_PATH_BYTES));
        assert_eq!((longest.len(), parse(&longest).is_ok()), (MAX_BYTES, true));
        assert!(parse(&uri(&format!("{}a", "./".repeat(MAX_PATH_BYTES * 3 / 2)))).is_err());
        for wrong in ["", "antiphon://", "antiphon://x/a", "file:///a", "antiphon:///a"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "..", "a/../b", "%FF", "a?b", "a#b", "%00"] {
            assert!(parse(&uri(wrong)).is_err(), "{wrong}");
        }
    }
}
