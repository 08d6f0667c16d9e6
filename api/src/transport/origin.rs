//! Which origins can call this server: each setting is an origin as browsers send it, or all subdomains of a domain
//! (`https://*.example.com`).

use axum::http::{
    HeaderMap, Uri,
    header::{HOST, ORIGIN},
};

/// Whether `origin` matches one of `allowed`.
pub fn is_allowed(origin: &str, allowed: &[String]) -> bool {
    let origin = origin.to_ascii_lowercase();
    allowed.iter().any(|allowed| {
        let allowed = allowed.trim_end_matches('/');
        match allowed.split_once("*.") {
            None => origin == allowed,
            Some((scheme, domain)) => {
                let host = origin.strip_prefix(scheme).and_then(|host| host.strip_suffix(domain)?.strip_suffix('.'));
                host.is_some_and(|host| host.split('.').all(is_label))
            }
        }
    })
}

/// Whether the requesting page can connect. A browser always sends the page's Origin. Other clients send none and need
/// no check, which protects users from pages that act in their name.
pub fn may_connect(headers: &HeaderMap, uri: &Uri, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    // With HTTP/2 the host is in the request's URI.
    let host =
        headers.get(HOST).and_then(|host| host.to_str().ok()).or_else(|| uri.authority().map(|host| host.as_str()));
    // The default port of the scheme can be missing on either side.
    let is_same = |host: &str| {
        [("http://", ":80"), ("https://", ":443")].iter().any(|(scheme, port)| {
            let bare = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
            origin.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
                && origin.get(scheme.len()..).is_some_and(|rest| bare(rest) == bare(host))
        })
    };
    host.is_some_and(is_same) || is_allowed(origin, allowed)
}

/// Whether this is a label of a host name.
fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_matches_all_subdomains() {
        let allowed =
            ["https://ide.example.com", "https://*.example.app", "http://*.local.test:3000"].map(str::to_owned);
        for origin in [
            "https://ide.example.com",
            "HTTPS://IDE.example.com",
            "https://a.example.app",
            "https://pr-12--ide.example.app",
            "https://a.b.example.app",
            "http://x.local.test:3000",
        ] {
            assert!(is_allowed(origin, &allowed), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://ide.example.com",
            "https://ide.example.com:8443",
            "https://example.app",
            "https://.example.app",
            "https://a..example.app",
            "https://aexample.app",
            "http://a.example.app",
            "https://a.example.app:444",
            "https://a.example.app.evil.com",
            "https://evil.com/.example.app",
            "https://evil.com#.example.app",
            "https://user@a.example.app",
            "http://x.local.test",
        ] {
            assert!(!is_allowed(origin, &allowed), "{origin}");
        }
    }

    #[test]
    fn a_page_connects_to_its_own_host_or_where_it_is_allowed() {
        let allowed = ["https://ide.example.com/".to_owned()];
        let may = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "localhost:8080".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            may_connect(&headers, &Uri::from_static("/graphql/ws"), &allowed)
        };
        for origin in
            [None, Some("http://localhost:8080"), Some("https://LOCALHOST:8080"), Some("https://ide.example.com")]
        {
            assert!(may(origin), "{origin:?}");
        }
        for origin in [
            "null",
            "",
            "http://localhost",
            "http://localhost:8080.evil.com",
            "https://evil.example.com",
            "ftp://localhost:8080",
        ] {
            assert!(!may(Some(origin)), "{origin}");
        }
    }

    #[test]
    fn the_port_that_a_scheme_implies_makes_no_difference() {
        let may = |host: &str, origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            headers.insert(ORIGIN, origin.parse().unwrap());
            may_connect(&headers, &Uri::from_static("/graphql/ws"), &[])
        };
        for (host, origin) in [
            ("ide.example.com:443", "https://ide.example.com"),
            ("ide.example.com", "https://ide.example.com:443"),
            ("IDE.example.com:443", "HTTPS://ide.example.com:443"),
            ("ide.example.com:80", "http://ide.example.com"),
            ("[::1]:80", "http://[::1]"),
            ("ide.example.com", "http://ide.example.com"),
        ] {
            assert!(may(host, origin), "{host} {origin}");
        }
        for (host, origin) in [
            ("ide.example.com:80", "https://ide.example.com"),
            ("ide.example.com:443", "http://ide.example.com"),
            ("ide.example.com:8443", "https://ide.example.com"),
            ("ide.example.com:443", "https://ide.example.com:8443"),
            ("ide.example.com:443.evil.example", "https://ide.example.com"),
            (":443", "https://ide.example.com"),
        ] {
            assert!(!may(host, origin), "{host} {origin}");
        }
    }
}
