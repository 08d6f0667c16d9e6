//! Addresses to listen on, and what callers can use.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use axum::http::Uri;
use clap::{ArgAction, Args};

use crate::model::setting::{boolean, number};

/// Addresses, pages and documents.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Listening")]
pub struct Listen {
    /// Address to listen on: ADDRESS:PORT, NAME:PORT, :PORT (all addresses), or unix:PATH (a socket of mode 0660;
    /// unix:PATH?mode=0666 for another) [default: 127.0.0.1:8080]
    #[arg(long = "listen", env = "LISTEN", value_name = "ADDRESS")]
    pub address: Option<Address>,
    /// Port to listen on at all addresses if there is no --listen, as hosting platforms set it. Without a secret or
    /// keys, the server listens only on 127.0.0.1
    #[arg(long, env = "PORT", value_name = "PORT")]
    pub port: Option<u16>,
    /// Origin of a web page that can call this server, in addition to its own page; `https://*.example.com` matches
    /// every subdomain of example.com. Can be repeated
    #[arg(long = "allow-origin", env = "ALLOW_ORIGINS", value_delimiter = ',', value_name = "ORIGIN", value_parser = origin)]
    pub allow_origins: Vec<String>,
    /// Number of proxies in front of this server that append to X-Forwarded-For, or to Forwarded if they remove the
    /// other; 0: ignore both headers. From 0 to 100
    #[arg(long, env = "TRUSTED_PROXIES", default_value_t = 0, value_name = "N", value_parser = number(0_usize..=100))]
    pub trusted_proxies: usize,
    /// URL at which clients reach this server, with the path that a proxy removes, such as https://api.example.com/antiphon.
    /// MCP clients are referred to it for sign-in. By default it follows from the headers of each request
    #[arg(long, env = "PUBLIC_URL", value_name = "URL", value_parser = public_url)]
    pub public_url: Option<String>,
    /// GraphQL documents that requests can refer to by `documentId`: a folder of ID.graphql files, or a JSON file as
    /// written by relay-compiler, graphql-codegen or Apollo. Each document also has the id sha256:HASH
    #[arg(long, env = "DOCUMENTS", value_name = "PATH")]
    pub documents: Option<PathBuf>,
    /// Accept only registered documents (--documents)
    #[arg(long, env = "DOCUMENTS_ONLY", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "true|false", value_parser = boolean)]
    pub documents_only: bool,
    /// Time to keep serving after a stop signal while /readyz returns 503 and load balancers move away, in seconds.
    /// From 0 to 3600
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 0, value_name = "SECONDS", value_parser = number(0_u64..=3_600))]
    pub drain_seconds: u64,
    /// Time that running requests and sockets then have to end, in seconds. Closing the database takes up to two more.
    /// Docker kills a container after 10 seconds in all. From 0 to 3600
    #[arg(long, env = "STOP_SECONDS", default_value_t = 7, value_name = "SECONDS", value_parser = number(0_u64..=3_600))]
    pub stop_seconds: u64,
}

impl Listen {
    /// The address to listen on. A port alone means all addresses only if the server has a secret or keys.
    pub fn address(&self, has_keys: bool) -> Address {
        let loopback = |port| Address::Tcp { host: Some(Ipv4Addr::LOCALHOST.to_string()), port };
        match (&self.address, self.port) {
            (Some(address), _) => address.clone(),
            (None, Some(port)) if has_keys => Address::Tcp { host: None, port },
            (None, Some(port)) => loopback(port),
            (None, None) => loopback(8080),
        }
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// An IP address or a host name; `None` for all addresses.
        host: Option<String>,
        /// The port; 0 for any free port.
        port: u16,
    },
    /// A Unix socket.
    Unix {
        /// Path of the socket.
        path: PathBuf,
        /// Permissions of the socket.
        mode: u32,
    },
}

impl Address {
    /// Whether it is reachable only from this machine.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp { host: None, .. } => false,
            Self::Tcp { host: Some(host), .. } => match host.parse::<IpAddr>() {
                Ok(address) => address.to_canonical().is_loopback(),
                Err(_) => host.eq_ignore_ascii_case("localhost"),
            },
            Self::Unix { .. } => true,
        }
    }

    /// Whether both are the same port of the same address.
    pub fn is_same(&self, other: &Self) -> bool {
        self == other && !matches!(self, Self::Tcp { port: 0, .. })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host: None, port } => write!(f, ":{port}"),
            Self::Tcp { host: Some(host), port } if host.parse::<Ipv6Addr>().is_ok() => write!(f, "[{host}]:{port}"),
            Self::Tcp { host: Some(host), port } => write!(f, "{host}:{port}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "an address is ADDRESS:PORT, NAME:PORT, :PORT, a port, or unix:PATH, for example \
                             127.0.0.1:8080, localhost:8080, [::1]:8080, :8080 or unix:/run/antiphon.sock";
        let text = text.trim();
        let wrong = || WRONG.to_owned();
        if let Some(path) = text.strip_prefix("unix:") {
            return socket(path.strip_prefix("//").unwrap_or(path)).ok_or_else(wrong);
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port),
            None => ("", text),
        };
        let digits = port.bytes().all(|digit| digit.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(bracketed) => {
                Some(bracketed.and_then(|host| host.parse::<Ipv6Addr>().ok()).ok_or_else(wrong)?.to_string())
            }
            None if host.is_empty() || host == "*" => None,
            None if is_name(host) => Some(host.to_owned()),
            None => return Err(wrong()),
        };
        Ok(Self::Tcp { host, port })
    }
}

/// Whether it is an IPv4 address or a host name, without a colon.
fn is_name(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn socket(text: &str) -> Option<Address> {
    let (path, mode) = match text.split_once("?mode=") {
        Some((path, mode)) => (path, u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777)?),
        None => (text, 0o660),
    };
    (!path.is_empty() && !Path::new(path).ends_with("..")).then(|| Address::Unix { path: path.into(), mode })
}

/// Parses an origin as browsers send it (RFC 6454, section 6.2): in lower case, without the default port of the scheme.
///
/// # Errors
/// What is wrong; clap adds the value.
fn origin(text: &str) -> Result<String, String> {
    let lower = text.trim().to_ascii_lowercase();
    let uri: Uri = lower.parse().map_err(|_| NO_ORIGIN.to_owned())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(NO_ORIGIN.to_owned()) };
    let host = format!("{scheme}://{}", authority.host());
    let whole = authority.port_u16().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    // A wildcard matches all subdomains of a domain, but not of a top-level domain.
    let is_plain = match authority.host().strip_prefix("*.") {
        Some(domain) => domain.contains('.') && !domain.contains('*'),
        None => !host.contains('*'),
    };
    // Anything more would never match what a browser sends.
    if lower != whole || !is_plain {
        return Err(NO_ORIGIN.to_owned());
    }
    Ok(match (scheme, authority.port_u16()) {
        ("http", Some(80)) | ("https", Some(443)) => host,
        _ => whole,
    })
}

/// Parses the URL of this server, without a slash at its end.
///
/// # Errors
/// What is wrong; clap adds the value.
fn public_url(text: &str) -> Result<String, String> {
    let wrong = || "it is an http:// or https:// URL without a query, for example https://api.example.com".to_owned();
    let uri: Uri = text.trim().parse().map_err(|_| wrong())?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if !is_web || !has_host || uri.query().is_some() || text.contains(['#', '"']) {
        return Err(wrong());
    }
    Ok(uri.to_string().trim_end_matches('/').to_owned())
}

const NO_ORIGIN: &str = "an origin is scheme://host or scheme://host:port, without a path or a trailing slash, for \
                         example https://ide.example.com; https://*.example.com matches every subdomain of example.com";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_normalized_as_browsers_send_it() {
        for (text, sent) in [
            ("https://ide.example.com", "https://ide.example.com"),
            (" HTTPS://IDE.Example.com:443", "https://ide.example.com"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://example.com:80", "https://example.com:80"),
            ("tauri://localhost", "tauri://localhost"),
            ("https://*.Example.app", "https://*.example.app"),
            ("http://*.local.test:3000", "http://*.local.test:3000"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(sent), "{text}");
        }
        for text in [
            "",
            "*",
            "null",
            "ide.example.com",
            "localhost:5173",
            "/path",
            "https://",
            "https://ide.example.com/",
            "https://ide.example.com/app",
            "https://ide.example.com?a",
            "https://ide.example.com#a",
            "https://me:pw@ide.example.com",
            "https://*",
            "https://*.com",
            "https://a*.example.com",
            "https://a.*.example.com",
            "https://*.*.example.com",
            "https://a.example.com https://b.example.com",
            "https://b\u{fc}cher.example",
            "https://ide.example.com:port",
            "https://ide.example.com:99999",
            "https://ide.example.com:",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_accepted_in_every_usual_form() {
        let tcp = |host: Option<&str>, port| Ok(Address::Tcp { host: host.map(str::to_owned), port });
        for (text, address, shown) in [
            ("127.0.0.1:8080", tcp(Some("127.0.0.1"), 8080), "127.0.0.1:8080"),
            ("0.0.0.0:80", tcp(Some("0.0.0.0"), 80), "0.0.0.0:80"),
            (":8080", tcp(None, 8080), ":8080"),
            ("*:8080", tcp(None, 8080), ":8080"),
            ("8080", tcp(None, 8080), ":8080"),
            (" 0 ", tcp(None, 0), ":0"),
            ("localhost:8080", tcp(Some("localhost"), 8080), "localhost:8080"),
            ("my-host.internal:1", tcp(Some("my-host.internal"), 1), "my-host.internal:1"),
            ("[::]:8080", tcp(Some("::"), 8080), "[::]:8080"),
            ("[::1]:65535", tcp(Some("::1"), 65535), "[::1]:65535"),
            ("unix:/run/a.sock", Ok(Address::Unix { path: "/run/a.sock".into(), mode: 0o660 }), "unix:/run/a.sock"),
            ("unix:///run/a.sock", Ok(Address::Unix { path: "/run/a.sock".into(), mode: 0o660 }), "unix:/run/a.sock"),
            ("unix:a.sock?mode=0666", Ok(Address::Unix { path: "a.sock".into(), mode: 0o666 }), "unix:a.sock"),
        ] {
            let parsed = text.parse::<Address>();
            assert_eq!(parsed, address, "{text}");
            assert_eq!(parsed.unwrap().to_string(), shown);
        }
        for text in [
            "",
            ":",
            "::1",
            "::1:8080",
            "[::1]",
            "[::1]8080",
            "[localhost]:80",
            "[::1:80",
            "a:b",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:65536",
            ":-1",
            ":+1",
            "http://localhost:80",
            "a/b:80",
            "unix:",
            "unix://",
            "unix:/a?mode=9",
            "unix:/a?mode=7777",
            "localhost:8080/",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_addresses_are_recognized() {
        let is_loopback = |text: &str| text.parse::<Address>().unwrap().is_loopback();
        for text in
            ["127.0.0.1:1", "127.0.0.53:0", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "LOCALHOST:1", "unix:/a"]
        {
            assert!(is_loopback(text), "{text}");
        }
        for text in
            [":1", "0.0.0.0:1", "[::]:1", "192.168.1.5:1", "[::ffff:10.0.0.1]:1", "localhost.example.com:1", "host:1"]
        {
            assert!(!is_loopback(text), "{text}");
        }
    }
}
