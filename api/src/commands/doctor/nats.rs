//! NATS.

use super::finding::{CHECK_TIMEOUT, Findings};
use crate::{config::Settings, live::bus::nats::Servers};

pub(super) async fn check(settings: &Settings, findings: &mut Findings) {
    let Some(url) = &settings.live.nats_url else { return };
    let servers = match Servers::parse(url.expose()) {
        Ok(servers) => servers,
        Err(error) => {
            let advice = "correct the URL; it is not shown here, because it can contain a password";
            return findings.broken("NATS", error.message(), "the server does not start", advice);
        }
    };
    match servers.probe(CHECK_TIMEOUT).await {
        Ok(()) => findings.fine("NATS", "reachable, and a test message was received"),
        Err(error) => {
            let advice = if error.contains("cert") {
                "check that NATS's certificate is for the host in --nats-url (NATS_URL) and from an authority that \
                 this machine trusts; SSL_CERT_FILE names a PEM file of authorities to trust instead of the machine's \
                 own"
            } else {
                "check that NATS is running and reachable from this machine, that the user and password in --nats-url \
                 (NATS_URL) are correct, and that this user can publish and subscribe to `antiphon.>`"
            };
            findings.broken(
                "NATS",
                format!("not available: {error}"),
                "the server works, but its subscribers see writes of other servers only after the next sweep",
                advice,
            );
        }
    }
}
