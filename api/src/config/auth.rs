//! Authentication settings.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::ensure;
use axum::http::Uri;
use clap::{ArgAction, Args};

use super::secret::{Secret, read_setting};
use crate::model::setting::boolean;

/// Which tokens are accepted.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sign-in")]
pub struct Auth {
    /// Tokens signed with a secret, and the required claims.
    #[command(flatten)]
    pub signing: Signing,
    /// URL of the issuer's published keys (RS256 to RS512, PS256 to PS512, ES256, ES384, and EdDSA with Ed25519; not
    /// ES512 or ES256K), in addition to the secret or instead of it (Supabase: https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json). Several URLs, separated by commas, need
    /// one issuer each in JWT_ISSUER, in the same order
    #[arg(long, env = "JWT_JWKS_URL", value_delimiter = ',', value_name = "URL", value_parser = jwks_url)]
    pub jwt_jwks_url: Vec<String>,
}

/// Settings for signing and verifying tokens.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sign-in")]
pub struct Signing {
    /// Secret of HS256 tokens (Supabase: the project's JWT secret), at least 32 bytes. Without it, on SQLite and a
    /// loopback address, the server generates its own and prints a sign-in link; at a Unix socket it prints none
    #[arg(long, env = "JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub jwt_secret: Option<Secret>,
    /// File with that secret, readable only by its owner, instead of --jwt-secret
    #[arg(long, env = "JWT_SECRET_FILE", conflicts_with = "jwt_secret", value_name = "FILE")]
    pub jwt_secret_file: Option<PathBuf>,
    /// Required `iss` of tokens (Supabase: https://PROJECT.supabase.co/auth/v1), or several accepted values separated
    /// by commas
    #[arg(long, env = "JWT_ISSUER", value_delimiter = ',', value_name = "URL")]
    pub jwt_issuer: Vec<String>,
    /// Required `aud` of tokens, or several accepted values separated by commas. A token without `aud` is checked by
    /// its `client_id` or `azp`
    #[arg(long, env = "JWT_AUDIENCE", value_delimiter = ',', default_value = "authenticated", value_name = "NAME")]
    pub jwt_audience: Vec<String>,
    /// Accept tokens with any audience or none, instead of --jwt-audience. Use this only if all tokens of the issuer
    /// are meant for this server
    #[arg(long, env = "JWT_ANY_AUDIENCE", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "true|false", value_parser = boolean)]
    pub jwt_any_audience: bool,
    /// Required `role` of tokens that have one, or several accepted values separated by commas, or * for any.
    /// Supabase's keys `anon` and `service_role` name no user
    #[arg(long, env = "JWT_ROLES", value_delimiter = ',', default_value = "authenticated", value_name = "ROLE")]
    pub jwt_roles: Vec<String>,
}

impl Auth {
    /// Each URL of published keys, with its issuer if there are several.
    ///
    /// # Errors
    /// Several URLs without one issuer each, or with the same one.
    pub fn key_sets(&self) -> anyhow::Result<Vec<(&str, Option<&str>)>> {
        let (urls, issuers) = (&self.jwt_jwks_url, &self.signing.jwt_issuer);
        if let [url] = urls.as_slice() {
            return Ok(vec![(url, None)]);
        }
        ensure!(
            urls.is_empty() || urls.len() == issuers.len(),
            "JWT_JWKS_URL has {} URLs and JWT_ISSUER has {} issuers: several URLs need one issuer each, in the same \
             order, so that the keys of one issuer cannot sign tokens of another",
            urls.len(),
            issuers.len()
        );
        let mut others = issuers.iter();
        while let Some(issuer) = others.next() {
            ensure!(
                urls.is_empty() || !others.as_slice().contains(issuer),
                "JWT_ISSUER has {issuer:?} twice: each issuer has one URL of its keys in JWT_JWKS_URL"
            );
        }
        Ok(urls.iter().map(String::as_str).zip(issuers.iter().map(|issuer| Some(issuer.as_str()))).collect())
    }
}

impl Signing {
    /// Reads the secret from its file, if one is given.
    ///
    /// # Errors
    /// Why the file is unusable, never its content.
    pub(super) fn read_files(&mut self) -> anyhow::Result<()> {
        if let Some(path) = &self.jwt_secret_file {
            self.jwt_secret = Some(read_setting("JWT_SECRET_FILE", path)?);
        }
        Ok(())
    }
}

/// Parses a URL of published keys. An attacker who can impersonate the issuer can sign in as any user, so the URL must
/// be https, or http to this machine or to a host name without dots, as in a container network.
///
/// # Errors
/// What is wrong; clap adds the value.
fn jwks_url(text: &str) -> Result<String, String> {
    let wrong = "it must be an https:// URL; http:// is allowed only for this machine or a host name without dots";
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
    fn key_urls_are_https_or_local() {
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
