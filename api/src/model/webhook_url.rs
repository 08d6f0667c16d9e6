//! The URL of a webhook, checked as far as its text allows. The address that a name has is checked with each connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::http::Uri;

use super::error::{Error, Result};
use super::network::{Network, is_allowed};

/// Longest URL, in bytes.
const MAX_BYTES: usize = 2_048;

/// Names under which cloud providers serve the credentials of a machine, without a final dot.
const METADATA: [&str; 5] =
    ["metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"];

/// Checks a URL from a caller.
///
/// # Errors
/// `BadInput` with `field`: not an absolute URL with http or https, with a user or a fragment, or with a host that is not
/// allowed.
pub fn parse(text: &str, allowed: &[Network], field: &str) -> Result<String> {
    let refused = |why: &str| Error::bad_input(field, why);
    if text.len() > MAX_BYTES {
        return Err(refused("A URL can have at most 2,048 bytes."));
    }
    let rest = text.split_once("//").map_or("", |(_, rest)| rest);
    if !rest.split(['/', '?', '#']).next().unwrap_or_default().is_ascii() {
        return Err(refused("Write the host of the URL in Punycode, such as xn--bcher-kva.example."));
    }
    let uri: Uri = text.parse().map_err(|_| refused("This is not a URL."))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(refused("The URL must begin with https:// or http://."));
    }
    if text.contains('#') {
        return Err(refused("The URL must not have a fragment: a server does not receive it."));
    }
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    if authority.contains('@') {
        return Err(refused("The URL must not contain a user or a password; verify the signature instead."));
    }
    let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    if port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port == 0) || port.parse::<u16>().is_err()) {
        return Err(refused("The port of the URL must be a number from 1 to 65535."));
    }
    check_host(uri.host().unwrap_or_default(), allowed).map_err(|why| refused(&why))?;
    Ok(text.to_owned())
}

/// Checks the host of a URL: its form, and the address if it is one.
///
/// # Errors
/// Why the server does not connect to it.
pub fn check_host(host: &str, allowed: &[Network]) -> std::result::Result<(), String> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().map_err(|_| "The host of the URL is not an address.".to_owned())?;
        return check_address(IpAddr::V6(address), allowed);
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err("The URL needs the name of a host; write a name with other letters in Punycode.".to_owned());
    }
    // As browsers do: a name whose last part is a number is an address, which has several other spellings.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
        let address: Ipv4Addr =
            name.parse().map_err(|_| "Write the address as four numbers, such as 192.0.2.1.".to_owned())?;
        return check_address(IpAddr::V4(address), allowed);
    }
    if METADATA.contains(&name.as_str()) {
        return Err("The URL must not lead to the metadata of a cloud provider.".to_owned());
    }
    Ok(())
}

/// Checks an address to connect to.
///
/// # Errors
/// Why the server does not connect to it.
pub fn check_address(address: IpAddr, allowed: &[Network]) -> std::result::Result<(), String> {
    if is_allowed(address, allowed) {
        return Ok(());
    }
    Err(format!("The address {address} is not public; the setting WEBHOOK_ALLOW_NETWORKS allows others."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_absolute_and_leads_to_a_public_host() {
        for text in [
            "https://example.com",
            "https://example.com/hooks?token=a%20b",
            "http://example.com:8080/",
            "https://EXAMPLE.com./x",
            "https://xn--bcher-kva.example/",
            "https://8.8.8.8/x",
            "https://[2606:4700:4700::1111]:8443/x",
            "https://a_b.example/",
        ] {
            assert_eq!(parse(text, &[], "url").ok().as_deref(), Some(text));
        }
        for text in [
            "",
            "example.com",
            "/hooks",
            "//example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "javascript:alert(1)",
            "https://",
            "https:///x",
            "https://example.com/#x",
            "https://ada:secret@example.com/",
            "https://127.0.0.1@example.com/",
            "https://example.com:0/",
            "https://example.com:65536/",
            "https://example.com:x/",
            "https://exa mple.com/",
            "https://b\u{fc}cher.example/",
            "https://example.com\\@127.0.0.1/",
            "https://%31%32%37.0.0.1/",
            "http://127.0.0.1/",
            "http://127.0.0.1./",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://10.0.0.1:5432/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[fe80::1%25eth0]/",
            "http://[fd00:ec2::254]/",
            "http://metadata.google.internal/computeMetadata/v1/",
            "http://METADATA.google.internal./",
            "http://metadata/",
            "http://instance-data/",
            &format!("https://example.com/{}", "x".repeat(MAX_BYTES)),
        ] {
            assert!(parse(text, &[], "url").is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_with_other_letters_is_refused_with_a_hint() {
        let why =
            |text: &str| parse(text, &[], "url").err().map(|error| error.message().to_owned()).unwrap_or_default();
        for text in [
            "https://b\u{fc}cher.example/",
            "https://xn--a.b\u{fc}cher?x",
            "http://\u{ff11}27.0.0.1/",
            "https://b\u{fc}cher.example:8443/\u{fc}",
        ] {
            assert!(why(text).contains("xn--bcher-kva.example"), "{text}");
        }
        for text in ["https://example.com/a b\u{fc}", "b\u{fc}cher.example"] {
            assert_eq!(why(text), "This is not a URL.", "{text}");
        }
    }

    #[test]
    fn the_operator_can_allow_other_addresses() {
        let allowed = ["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        for text in ["http://127.0.0.1:8080/x", "http://[::1]:8080/"] {
            assert!(parse(text, &allowed, "url").is_ok(), "{text}");
        }
        for text in
            ["http://10.0.0.1/", "http://metadata.google.internal/", "http://[::ffff:127.0.0.1]/", "http://0x7f000001/"]
        {
            assert!(parse(text, &allowed, "url").is_err(), "{text}");
        }
    }
}
