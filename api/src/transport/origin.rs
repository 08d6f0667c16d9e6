//! Which origins can call this server: each setting is an origin as browsers send it, or all subdomains of a domain
//! (`https://*.example.com`).

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

/// Whether this is a label of a host name.
fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

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
}
