//! The URL at which clients reach this server.

use axum::http::{
    HeaderMap, HeaderName, Uri,
    header::HOST,
    uri::{Authority, PathAndQuery},
};

use crate::config::listen::Listen;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Finds the URL at which a client has reached this server.
#[derive(Clone, Debug)]
pub struct PublicUrl {
    /// The configured URL, without a slash at its end.
    configured: Option<String>,
    /// Whether a proxy sets the headers `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-Prefix`.
    is_behind_proxy: bool,
}

impl PublicUrl {
    /// The URL according to the settings.
    pub fn new(listen: &Listen) -> Self {
        Self { configured: listen.public_url.clone(), is_behind_proxy: listen.trusted_proxies > 0 }
    }

    /// The URL, without a slash at its end: the configured one, or else that of the request.
    pub fn of(&self, headers: &HeaderMap, uri: &Uri) -> String {
        if let Some(url) = &self.configured {
            return url.clone();
        }
        // The proxy in front of this server has added the last value.
        let forwarded = |name: HeaderName| {
            let value = headers.get_all(name).iter().next_back().filter(|_| self.is_behind_proxy)?.to_str().ok()?;
            value.rsplit(',').next().map(|value| value.trim().to_owned())
        };
        let scheme = forwarded(FORWARDED_PROTO).filter(|scheme| scheme == "https");
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
        let host = forwarded(FORWARDED_HOST).or(host).or_else(|| uri.authority().map(|host| host.to_string()));
        let is_host = |host: &String| host.parse::<Authority>().is_ok_and(|host| !host.as_str().contains('@'));
        let prefix = forwarded(FORWARDED_PREFIX).filter(|prefix| {
            let is_path = |path: PathAndQuery| path.query().is_none() && !path.path().contains('"');
            prefix.starts_with('/') && prefix.parse().is_ok_and(is_path)
        });
        let scheme = scheme.as_deref().unwrap_or("http");
        let host = host.filter(is_host).unwrap_or_else(|| "localhost".to_owned());
        format!("{scheme}://{host}{}", prefix.unwrap_or_default().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(is_behind_proxy: bool, headers: &[(&str, &str)]) -> String {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        PublicUrl { configured: None, is_behind_proxy }.of(&headers, &Uri::from_static("/mcp"))
    }

    #[test]
    fn the_url_follows_from_the_request() {
        let forwarded = [
            ("host", "10.0.0.1:8080"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "api.example.com"),
            ("x-forwarded-prefix", "/antiphon/"),
        ];
        assert_eq!(url(false, &forwarded), "http://10.0.0.1:8080");
        assert_eq!(url(true, &forwarded), "https://api.example.com/antiphon");
        assert_eq!(url(true, &[("host", "[::1]:8080")]), "http://[::1]:8080");
        assert_eq!(url(true, &[("host", "a"), ("x-forwarded-host", "evil.example, b")]), "http://b");
        for host in ["a b", "me@a", "a/b", ""] {
            assert_eq!(url(true, &[("host", host)]), "http://localhost", "{host}");
        }
        for prefix in ["antiphon", "/a?b", "/a b"] {
            assert_eq!(url(true, &[("host", "a"), ("x-forwarded-prefix", prefix)]), "http://a", "{prefix}");
        }
    }

    #[test]
    fn the_configured_url_comes_first() {
        let public = PublicUrl { configured: Some("https://a.example/b".to_owned()), is_behind_proxy: true };
        assert_eq!(public.of(&HeaderMap::new(), &Uri::from_static("/mcp")), "https://a.example/b");
    }
}
