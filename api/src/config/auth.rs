//! Which tokens hold.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use axum::http::Uri;
use clap::{Args, builder::FalseyValueParser};

use super::secret::{Secret, read_secret};

/// What tokens are signed with, and what they must say.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sign-in")]
pub struct Auth {
    /// What is signed with a secret.
    #[command(flatten)]
    pub signing: Signing,
    /// Where the issuer publishes the keys of its tokens (RS, PS and ES 256 to 512, EdDSA), besides the secret or instead of it (Supabase: https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json). Several, with commas between them, if there is an issuer in JWT_ISSUER for each, in the same order
    #[arg(long, env = "JWT_JWKS_URL", value_delimiter = ',', value_name = "URL", value_parser = jwks_url)]
    pub jwt_jwks_url: Vec<String>,
}

/// What the server needs to sign tokens of its own, and to know them again.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sign-in")]
pub struct Signing {
    /// Secret of HS256 tokens (Supabase: the project's JWT secret), at least 32 bytes; without it, on SQLite and a loopback address, the server makes its own and prints a sign-in link
    #[arg(long, env = "JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub jwt_secret: Option<Secret>,
    /// File with that secret, which only its owner may read, instead of --jwt-secret
    #[arg(long, env = "JWT_SECRET_FILE", conflicts_with = "jwt_secret", value_name = "FILE")]
    pub jwt_secret_file: Option<PathBuf>,
    /// The `iss` that tokens must have (Supabase: https://PROJECT.supabase.co/auth/v1); one of several, with commas between them
    #[arg(long, env = "JWT_ISSUER", value_delimiter = ',', value_name = "URL")]
    pub jwt_issuer: Vec<String>,
    /// The `aud` that tokens must have, or, if they have none, their `client_id` or `azp`; one of several, with commas between them
    #[arg(long, env = "JWT_AUDIENCE", value_delimiter = ',', default_value = "authenticated", value_name = "NAME")]
    pub jwt_audience: Vec<String>,
    /// Accept tokens that were made for any audience, or for none, instead of --jwt-audience: only for an issuer whose tokens are all meant for this server
    #[arg(long, env = "JWT_ANY_AUDIENCE", value_parser = FalseyValueParser::new())]
    pub jwt_any_audience: bool,
    /// The `role` that a user's token may have, if it has one; one of several, with commas between them, or * for any. Supabase's keys `anon` and `service_role` name no user
    #[arg(long, env = "JWT_ROLES", value_delimiter = ',', default_value = "authenticated", value_name = "ROLE")]
    pub jwt_roles: Vec<String>,
}

impl Auth {
    /// Each place of published keys, with the issuer whose tokens they sign if there are several.
    ///
    /// # Errors
    /// Several places without an issuer for each.
    pub fn key_sets(&self) -> anyhow::Result<Vec<(&str, Option<&str>)>> {
        let (urls, issuers) = (&self.jwt_jwks_url, &self.signing.jwt_issuer);
        if let [url] = urls.as_slice() {
            return Ok(vec![(url, None)]);
        }
        ensure!(
            urls.is_empty() || urls.len() == issuers.len(),
            "JWT_JWKS_URL names {} places and JWT_ISSUER {} issuers: with several there must be one issuer for each place, in the \
             same order, so that no issuer's keys sign for another",
            urls.len(),
            issuers.len()
        );
        Ok(urls.iter().map(String::as_str).zip(issuers.iter().map(|issuer| Some(issuer.as_str()))).collect())
    }
}

impl Signing {
    /// With what the file holds.
    ///
    /// # Errors
    /// Why the file is not usable, never what is in it.
    pub(super) fn read_files(&mut self) -> anyhow::Result<()> {
        if let Some(path) = &self.jwt_secret_file {
            let read = read_secret(path);
            self.jwt_secret =
                Some(read.with_context(|| format!("JWT_SECRET_FILE, {}, is not usable", path.display()))?);
        }
        Ok(())
    }
}

/// Whoever can answer in the issuer's place can sign in as anybody, so keys come by https, or from this machine or the
/// container network beside it, where names have no dots.
///
/// # Errors
/// What is wrong with it; clap adds the text itself.
fn jwks_url(text: &str) -> Result<String, String> {
    let wrong = "it must be an https:// URL; http:// goes to this machine alone, or to a host whose name has no dot";
    let uri: Uri = text.trim().parse().map_err(|_| wrong.to_owned())?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_near = match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => !host.contains('.'),
    };
    let is_bare = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") if !host.is_empty() && is_bare => Ok(uri.to_string()),
        Some("http") if !host.is_empty() && is_bare && is_near => Ok(uri.to_string()),
        _ => Err(wrong.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_https_or_from_near() {
        for text in [
            "https://p.supabase.co/auth/v1/.well-known/jwks.json",
            "https://10.0.0.1:8443/jwks",
            "http://localhost:9999/jwks",
            "http://127.0.0.1:9999/jwks?a=b",
            "http://[::1]/jwks",
            "http://kong:8000/auth/v1/.well-known/jwks.json",
        ] {
            assert_eq!(jwks_url(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "/jwks",
            "p.supabase.co",
            "http://p.supabase.co/jwks",
            "http://10.0.0.1/",
            "file:///etc/passwd",
            "https://",
            "https://me:pw@p.supabase.co/jwks",
            "ftp://localhost/",
            "http://[fe80::1]/jwks",
        ] {
            assert!(jwks_url(text).is_err(), "{text}");
        }
    }
}
