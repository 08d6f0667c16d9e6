//! Settings of webhooks.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;

use super::secret::{Secret, read_setting};
use crate::model::limits::WebhookLimits;
use crate::model::webhook_secret::WebhookKey;

/// Shortest accepted secret, in bytes: the output size of HMAC-SHA256.
const MIN_SECRET_BYTES: usize = 32;

/// Webhooks.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Webhooks")]
pub struct Webhooks {
    /// Secret from which the secrets of webhooks are derived, at least 32 bytes, the same on all servers. Without it there
    /// are no webhooks. A new secret replaces the secrets of all webhooks
    #[arg(long, env = "WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub webhook_secret: Option<Secret>,
    /// File with that secret, readable only by its owner, instead of --webhook-secret
    #[arg(long, env = "WEBHOOK_SECRET_FILE", conflicts_with = "webhook_secret", value_name = "FILE")]
    pub webhook_secret_file: Option<PathBuf>,
    /// Limits on webhooks.
    #[command(flatten)]
    pub limits: WebhookLimits,
}

impl Webhooks {
    /// Reads the secret from its file, if one is given.
    ///
    /// # Errors
    /// Why the file is unusable, never its content.
    pub(super) fn read_files(&mut self) -> anyhow::Result<()> {
        if let Some(path) = &self.webhook_secret_file {
            self.webhook_secret = Some(read_setting("WEBHOOK_SECRET_FILE", path)?);
        }
        Ok(())
    }

    /// The key from which the secrets of webhooks are derived, if there is one.
    ///
    /// # Errors
    /// The secret is too short.
    pub fn key(&self) -> anyhow::Result<Option<WebhookKey>> {
        let Some(secret) = &self.webhook_secret else { return Ok(None) };
        let bytes = secret.expose().as_bytes();
        ensure!(
            bytes.len() >= MIN_SECRET_BYTES,
            "WEBHOOK_SECRET (--webhook-secret) has {} bytes and must have at least {MIN_SECRET_BYTES}: `openssl rand \
             -hex 32` makes one",
            bytes.len()
        );
        Ok(Some(WebhookKey::new(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Cli;

    #[test]
    fn a_secret_for_webhooks_has_at_least_32_bytes() {
        let key = |flags: &[&str]| {
            let settings = Cli::try_parse_from([&["antiphon"], flags].concat()).unwrap().settings;
            settings.webhooks.key().map(|key| key.is_some()).map_err(|error| error.to_string())
        };
        assert_eq!((key(&[]), key(&["--webhook-secret", &"s".repeat(32)])), (Ok(false), Ok(true)));
        let message = key(&["--webhook-secret", &"s".repeat(31)]).unwrap_err();
        assert!(message.contains("WEBHOOK_SECRET") && message.contains("at least 32"), "{message}");
    }

    #[test]
    fn networks_are_given_by_commas_or_refused_by_name() {
        let given = ["antiphon", "--webhook-allow-networks", "10.0.0.0/8,::1"];
        let settings = Cli::try_parse_from(given).unwrap().settings;
        assert_eq!(settings.webhooks.limits.webhook_allow_networks.len(), 2);
        let error = Cli::try_parse_from(["antiphon", "--webhook-allow-networks", "intranet"]).unwrap_err().to_string();
        assert!(error.contains("--webhook-allow-networks") && error.contains("10.0.0.0/8"), "{error}");
    }
}
