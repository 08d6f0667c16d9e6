//! The secrets of webhooks, and signatures by Standard Webhooks (<https://www.standardwebhooks.com>).
//!
//! A secret is derived from the server's secret, the webhook's id and a number that a rotation raises. The database
//! therefore contains no secret, and every server of a database computes the same.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::error::{Error, Result};
use super::ids::WebhookId;

/// Distinguishes these secrets from any other use of the server's secret.
const PURPOSE: &[u8] = b"antiphon webhook secret";

/// The server's secret, from which the secrets of webhooks are derived.
#[derive(Clone)]
pub struct WebhookKey(Vec<u8>);

/// The secret of a webhook.
#[derive(PartialEq, Eq)]
pub struct WebhookSecret([u8; 32]);

impl WebhookKey {
    /// The key with these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_owned())
    }

    /// The secret of a webhook with a number.
    ///
    /// # Errors
    /// None in practice: every key is valid.
    pub fn secret(&self, webhook: WebhookId, number: i32) -> Result<WebhookSecret> {
        hmac(&self.0, &[PURPOSE, webhook.0.as_bytes(), &number.to_be_bytes()]).map(WebhookSecret)
    }
}

impl WebhookSecret {
    /// The secret as receivers configure it.
    pub fn text(&self) -> String {
        format!("whsec_{}", BASE64_STANDARD.encode(self.0))
    }

    /// A signature of a message that is sent at a time, in seconds since the epoch.
    ///
    /// # Errors
    /// As [`WebhookKey::secret`].
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> Result<String> {
        let timestamp = timestamp.to_string();
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body.as_bytes()];
        Ok(format!("v1,{}", BASE64_STANDARD.encode(hmac(&self.0, &parts)?)))
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Result<[u8; 32]> {
    let mut hmac = <Hmac<Sha256> as Mac>::new_from_slice(key).map_err(Error::internal)?;
    parts.iter().for_each(|part| hmac.update(part));
    Ok(hmac.finalize().into_bytes().into())
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookKey(…)")
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// The example of the libraries of Standard Webhooks.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let secret = BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let mac = hmac(&secret, &[b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}"]).unwrap();
        assert_eq!(BASE64_STANDARD.encode(mac), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_webhook_and_each_number_has_its_own_secret() {
        let [key, other] = [&b"a secret of the server"[..], b"another"].map(WebhookKey::new);
        let [a, b] = [1, 2].map(|n| WebhookId(Uuid::from_u128(n)));
        let secret = |key: &WebhookKey, webhook, number| key.secret(webhook, number).unwrap().text();
        assert_eq!(secret(&key, a, 1), secret(&key, a, 1));
        let all = [secret(&key, a, 1), secret(&key, a, 2), secret(&key, b, 1), secret(&other, a, 1)];
        for (at, one) in all.iter().enumerate() {
            assert!(one.starts_with("whsec_") && BASE64_STANDARD.decode(&one[6..]).unwrap().len() == 32, "{one}");
            assert!(all.iter().skip(at + 1).all(|other| one != other), "{one}");
        }
        let signed = key.secret(a, 1).unwrap().sign("event:1", 1_614_265_330, "{}").unwrap();
        assert!(
            signed.starts_with("v1,")
                && signed != key.secret(a, 2).unwrap().sign("event:1", 1_614_265_330, "{}").unwrap()
        );
        assert_eq!(format!("{key:?} {:?}", key.secret(a, 1).unwrap()), "WebhookKey(…) WebhookSecret(…)");
    }
}
