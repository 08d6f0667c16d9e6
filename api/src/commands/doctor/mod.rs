//! `antiphon doctor`: checks the installation for everything that is known to go wrong. It changes nothing, and
//! explains of each problem why it matters and what to do.
//!
//! To add a check, write a function that adds its findings to a [`Findings`] and call it in [`examine`].

use anyhow::bail;

use super::terminal::print;
use crate::{config::Settings, database_url::DatabaseUrl};

mod address;
mod finding;
mod git;
mod migrations;
mod nats;
mod open_files;
mod postgres;
mod replicas;
mod settings;
mod signing;
mod sqlite;

pub use self::finding::Finding;
use self::finding::Findings;

/// Runs all checks.
pub async fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = Findings::default();
    settings::check(settings, &mut findings);
    open_files::check(&mut findings);
    git::check(&settings.git, &mut findings);
    let auth = &settings.auth;
    let address = settings.listen.address(auth.signing.jwt_secret.is_some() || !auth.jwt_jwks_url.is_empty());
    address::check("address", &address, "--listen (LISTEN)", &mut findings).await;
    if let Some(metrics) = &settings.observability.metrics_listen {
        address::check_metrics(metrics, &address, &mut findings).await;
    }
    nats::check(settings, &mut findings).await;
    match DatabaseUrl::parse(settings.store.database_url.expose()) {
        Err(error) => findings.broken(
            "database",
            format!("{error:#}"),
            "the server does not start without a database",
            "correct the URL; it is not shown here, because it can contain a password",
        ),
        Ok(target) => {
            signing::check_secret(settings, &target, &mut findings);
            for url in &auth.jwt_jwks_url {
                signing::check_issuer(url, auth.signing.jwt_secret.is_some(), &mut findings).await;
            }
            if let Err(error) = auth.key_sets() {
                findings.broken(
                    "issuer",
                    error.to_string(),
                    "the server does not start",
                    "correct one of the two settings",
                );
            }
            let is_reachable = match &target {
                DatabaseUrl::Sqlite(options) => sqlite::check(options, &mut findings).await,
                DatabaseUrl::Postgres(hosts) => {
                    let is_reachable = postgres::check(hosts, settings, &mut findings).await;
                    replicas::check(&target, hosts, settings, &mut findings).await;
                    is_reachable
                }
            };
            if is_reachable {
                migrations::check(settings, &target, &mut findings).await;
            }
        }
    }
    findings.0
}

/// Examines the set-up and prints every finding.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let findings = examine(settings).await;
    findings.iter().try_for_each(|finding| print(&finding.to_string()))?;
    match findings.iter().filter(|finding| finding.is_broken()).count() {
        0 => Ok(()),
        broken => bail!("{broken} of {} things are broken", findings.len()),
    }
}
