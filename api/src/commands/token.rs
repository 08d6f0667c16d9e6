//! `antiphon token`: prints a bearer token.

use crate::{
    config::Settings,
    database_url::{DatabaseUrl, for_operator},
    secret::{secret_source, verifier},
};

/// Makes a bearer token for the user with that e-mail. Servers with the same settings accept it for `hours` hours.
///
/// # Errors
/// If no secret is configured, or if the e-mail address is invalid.
pub fn token(settings: &Settings, email: &str, name: Option<&str>, hours: u32) -> anyhow::Result<String> {
    let target = DatabaseUrl::parse(settings.store.database_url.expose())?;
    verifier(settings, &secret_source(settings, &target)?, Vec::new())?.issue(email, name, hours).map_err(for_operator)
}
