//! The keys that sign tokens: the secret, and the issuer's published keys.

use std::{io::ErrorKind, sync::Arc};

use super::finding::{Findings, State};
use crate::{
    config::{Settings, read_secret},
    database_url::DatabaseUrl,
    secret::{SecretSource, secret_source},
    transport::jwks::Jwks,
};

pub(super) fn check_secret(settings: &Settings, target: &DatabaseUrl, findings: &mut Findings) {
    let why = "without a secret no user can sign in, and the server does not start";
    match secret_source(settings, target) {
        Err(error) => findings.broken("secret", format!("{error:#}"), why, "set or correct JWT_SECRET"),
        Ok(SecretSource::Given(_)) => findings.fine("secret", "JWT_SECRET is long enough"),
        Ok(SecretSource::Nowhere) => {
            findings.fine("secret", "none; tokens are verified with the issuer's published keys")
        }
        Ok(SecretSource::OwnFile(path)) => match read_secret(&path) {
            Ok(_) => findings.fine("secret", format!("the server uses its own, {}", path.display())),
            Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::NotFound) => {
                findings.fine("secret", format!("the server will generate its own, {}", path.display()));
            }
            Err(error) => findings.broken(
                "secret",
                format!("{}: {error:#}", path.display()),
                "anyone who knows the secret can sign in as any user, so the server refuses it",
                "delete the file and restart the server; tokens signed with the old secret become invalid",
            ),
        },
    }
}

/// If there is also a secret, tokens signed with it are accepted without the issuer.
pub(super) async fn check_issuer(url: &str, has_secret: bool, findings: &mut Findings) {
    let state = if has_secret { State::Warning } else { State::Broken };
    let why = "tokens signed by the issuer are refused";
    let found = match Arc::new(Jwks::new(url)).look().await {
        Ok(found) => found,
        Err(error) => {
            let error = format!("{error:#}");
            let lower = error.to_lowercase();
            let advice = if lower.contains("not a json web key set") {
                "JWT_JWKS_URL must be the URL of the key set, a JSON object with `keys`; the issuer's \
                 /.well-known/openid-configuration, if it has one, contains it as `jwks_uri`"
            } else if lower.contains("it answers with status 3") {
                "redirects are not followed: set JWT_JWKS_URL to the `location` that `curl -I` shows for this URL"
            } else if lower.contains("it answers with") || lower.contains("http status") {
                "correct JWT_JWKS_URL (Supabase: https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json)"
            } else if lower.contains("certificate") || lower.contains("tls") {
                "the issuer's certificate must be for that host and from an authority that Mozilla trusts"
            } else {
                "check with `curl` whether this machine can reach it (name, firewall, proxy), or correct JWT_JWKS_URL"
            };
            return findings.add(state, "issuer", format!("cannot fetch its keys from {url}: {error}"), why, advice);
        }
    };
    let (mut usable, mut others) = (Vec::new(), Vec::new());
    for key in found {
        match key {
            Ok(key) => {
                let algorithms: Vec<String> = key.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
                usable.push(format!("{} {}", algorithms.join("/"), key.id.as_deref().unwrap_or("without a name")));
            }
            Err(error) => others.push(format!("{error:#}")),
        }
    }
    let left_out = if others.is_empty() { String::new() } else { format!("; left out: {}", others.join("; ")) };
    if usable.is_empty() {
        let what = format!("none of the {} keys at {url} is usable{left_out}", others.len());
        let advice = "let the issuer sign with RS256, PS256, ES256, ES384 or EdDSA. An issuer that signs with a shared \
                      secret publishes no keys: then set JWT_SECRET (Supabase: the project's JWT secret)";
        return findings.add(state, "issuer", what, why, advice);
    }
    findings.fine("issuer", format!("publishes {} usable keys: {}{left_out}", usable.len(), usable.join(", ")));
}
