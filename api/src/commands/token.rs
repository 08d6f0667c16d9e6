//! `antiphon token`: prints a bearer token.

use super::{backup::is_ours, database::check_exists};
use crate::{
    config::Settings,
    database_url::{DatabaseUrl, for_operator},
    secret::{SecretSource, secret_source, verifier},
};

/// Makes a bearer token for the user with that e-mail. Servers with the same settings accept it for `hours` hours.
///
/// # Errors
/// If no secret is configured, if there is neither a database nor a secret of the server, or if the e-mail address is invalid.
pub async fn token(settings: &Settings, email: &str, name: Option<&str>, hours: u32) -> anyhow::Result<String> {
    let target = DatabaseUrl::parse(settings.store.database_url.expose())?;
    let source = secret_source(settings, &target)?;
    if let (SecretSource::OwnFile(secret), DatabaseUrl::Sqlite(options)) = (&source, &target) {
        // A token that is signed with a new secret would be refused by the server.
        if !secret.exists() {
            check_exists(options.get_filename())?;
            is_ours(options.get_filename()).await?;
        }
    }
    verifier(settings, &source, Vec::new())?.issue(email, name, hours).map_err(for_operator)
}
