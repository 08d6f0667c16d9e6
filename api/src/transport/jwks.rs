//! The public keys of a token issuer (JSON Web Key Set, RFC 7517, section 5). The keys are kept in memory and fetched
//! every few minutes, and also if a token names an unknown key.
//!
//! If the issuer is unreachable, the last known keys stay valid, so that users with tokens are not affected. A key
//! determines which algorithms it verifies (RFC 8725, section 3.1), and only the algorithms of [`algorithms`] are
//! supported: a symmetric key in a published set would be a public secret.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use parking_lot::RwLock;
use serde::Deserialize;
use tokio::{sync::Mutex, task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;

/// Timeout for the whole response.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between fetches, which bounds how long a withdrawn key stays valid; and the interval after a failure.
const REFRESH: Duration = Duration::from_secs(5 * 60);
const RETRY: Duration = Duration::from_secs(30);
/// Limit on fetches because of unknown keys: one per interval, with a burst.
const REFETCH_INTERVAL: Duration = Duration::from_secs(10);
const REFETCH_BURST: std::num::NonZeroU32 = std::num::NonZeroU32::new(3).unwrap();
/// Largest response in bytes, and the number of usable keys kept.
const MAX_RESPONSE_BYTES: u64 = 256 * 1024;
const MAX_KEYS: usize = 16;
/// Accepted size of an RSA modulus in bytes: the minimum is from RFC 7518, section 3.3, the maximum from the library.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// The keys of one issuer.
pub struct Jwks {
    url: String,
    agent: ureq::Agent,
    /// `None` until the first successful fetch.
    keys: RwLock<Option<Arc<[Key]>>>,
    /// Number of successful fetches.
    fetches: AtomicU64,
    is_failing: AtomicBool,
    fetching: Mutex<()>,
    budget: DefaultDirectRateLimiter,
}

/// A key that verifies tokens.
pub struct Key {
    /// The `kid`.
    pub id: Option<String>,
    /// The algorithms that it verifies: the one in `alg`, or all of its kind.
    pub algorithms: Vec<Algorithm>,
    /// The key itself.
    pub decoding: DecodingKey,
}

impl Key {
    /// Whether this key can have signed a token with this header.
    pub fn may_have_signed(&self, header: &Header) -> bool {
        self.algorithms.contains(&header.alg) && (header.kid.is_none() || header.kid == self.id)
    }
}

impl Jwks {
    /// The keys at `url`. Does not fetch them yet.
    pub fn new(url: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            // The operator chose the issuer's address; a redirect must not change it.
            .max_redirects(0)
            .max_idle_connections(1)
            .user_agent(concat!("antiphon/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self {
            url: url.to_owned(),
            agent,
            keys: RwLock::default(),
            fetches: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            fetching: Mutex::default(),
            budget: RateLimiter::direct(
                Quota::with_period(REFETCH_INTERVAL)
                    .unwrap_or(Quota::per_minute(REFETCH_BURST))
                    .allow_burst(REFETCH_BURST),
            ),
        }
    }

    /// The last known keys; `None` before the first successful fetch.
    pub fn keys(&self) -> Option<Arc<[Key]>> {
        self.keys.read().clone()
    }

    /// Whether there is a key to verify tokens with.
    pub fn is_usable(&self) -> bool {
        self.keys().is_some_and(|keys| !keys.is_empty())
    }

    /// Fetches the keys. Keeps the previous keys if this fails.
    pub async fn refresh(self: &Arc<Self>) {
        let _guard = self.fetching.lock().await;
        self.fetch_and_keep().await;
    }

    /// Fetches the keys because of a token with an unknown key, within a rate limit. Returns whether a fetch has
    /// succeeded since the call.
    pub async fn ask_again(self: &Arc<Self>) -> bool {
        let before = self.fetches.load(Ordering::Acquire);
        let _guard = self.fetching.lock().await;
        // A fetch that finished while this call waited counts for both.
        if self.fetches.load(Ordering::Acquire) == before && self.budget.check().is_ok() {
            self.fetch_and_keep().await;
        }
        self.fetches.load(Ordering::Acquire) != before
    }

    /// Fetches the keys periodically until the server stops.
    pub async fn keep_fresh(self: Arc<Self>, stopped: CancellationToken) {
        loop {
            let pause = if self.is_failing.load(Ordering::Relaxed) { RETRY } else { REFRESH };
            tokio::select! {
                () = stopped.cancelled() => return,
                () = sleep(pause) => self.refresh().await,
            }
        }
    }

    async fn fetch_and_keep(self: &Arc<Self>) {
        let this = self.clone();
        // The fetch completes and is kept even if the request that caused it is cancelled.
        let fetched = spawn_blocking(move || this.keep(this.fetch().map(usable))).await;
        if let Err(error) = fetched {
            tracing::error!(%error, "fetching the issuer's keys failed");
        }
    }

    fn keep(&self, answer: anyhow::Result<Vec<Key>>) {
        match answer {
            Ok(keys) => {
                if keys.is_empty() {
                    tracing::warn!(url = self.url, "the token issuer publishes no usable key");
                } else if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(url = self.url, "the token issuer is reachable again");
                }
                tracing::debug!(url = self.url, keys = keys.len(), "fetched the token issuer's keys");
                *self.keys.write() = Some(keys.into());
                self.fetches.fetch_add(1, Ordering::Release);
            }
            Err(error) => {
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    let error = format!("{error:#}");
                    let consequence = match self.keys() {
                        Some(_) => "the last known keys stay valid",
                        None => "tokens signed by it are refused until it answers",
                    };
                    tracing::warn!(url = self.url, error, "cannot fetch the token issuer's keys; {consequence}");
                }
            }
        }
    }

    /// Fetches the keys for diagnosis and does not keep them. Returns each key, or why it is unusable.
    ///
    /// # Errors
    /// If there is no key set.
    pub async fn look(self: &Arc<Self>) -> anyhow::Result<Vec<anyhow::Result<Key>>> {
        let this = self.clone();
        spawn_blocking(move || this.fetch()).await?
    }

    fn fetch(&self) -> anyhow::Result<Vec<anyhow::Result<Key>>> {
        let mut answer = self.agent.get(&self.url).call()?;
        ensure!(answer.status().is_success(), "it answers with status {}", answer.status());
        let body = answer.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_vec()?;
        read(&body)
    }
}

/// The keys of a set. An unusable key is not an error: a set can contain keys for other purposes, and kinds of keys
/// that do not exist yet.
fn read(json: &[u8]) -> anyhow::Result<Vec<anyhow::Result<Key>>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }

    let set: Set =
        serde_json::from_slice(json).map_err(|error| anyhow!("its response is not a JSON Web Key Set: {error}"))?;
    Ok(set.keys.into_iter().map(key).collect())
}

fn usable(set: Vec<anyhow::Result<Key>>) -> Vec<Key> {
    let keys = set.into_iter().filter_map(|key| match key {
        Ok(key) => Some(key),
        Err(error) => {
            tracing::debug!(error = format!("{error:#}"), "ignored a key of the token issuer");
            None
        }
    });
    keys.take(MAX_KEYS).collect()
}

fn key(key: serde_json::Value) -> anyhow::Result<Key> {
    let jwk: Jwk = serde_json::from_value(key)?;
    let common = &jwk.common;
    ensure!(
        common.public_key_use.as_ref().is_none_or(|given| *given == PublicKeyUse::Signature),
        "its `use` is not `sig`"
    );
    let operations = common.key_operations.as_ref();
    ensure!(operations.is_none_or(|given| given.contains(&KeyOperations::Verify)), "its `key_ops` lack `verify`");
    let fits_alg =
        |algorithm: &Algorithm| common.key_algorithm.is_none_or(|given| given == KeyAlgorithm::from(*algorithm));
    let algorithms: Vec<Algorithm> = algorithms(&jwk)?.iter().copied().filter(fits_alg).collect();
    ensure!(!algorithms.is_empty(), "its `alg` is not supported");
    let decoding = DecodingKey::from_jwk(&jwk).context("it is malformed")?;
    Ok(Key { id: jwk.common.key_id, algorithms, decoding })
}

/// The algorithms of a key's kind.
fn algorithms(key: &Jwk) -> anyhow::Result<&'static [Algorithm]> {
    const RSA: &[Algorithm] =
        &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
    match &key.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = BASE64_URL_SAFE_NO_PAD.decode(&rsa.n)?;
            ensure!(RSA_BYTES.contains(&modulus.len()), "its modulus has {} bytes", modulus.len());
            Ok(RSA)
        }
        AlgorithmParameters::EllipticCurve(key) => {
            let (bytes, algorithms): (usize, &[Algorithm]) = match key.curve {
                EllipticCurve::P256 => (32, &[Algorithm::ES256]),
                EllipticCurve::P384 => (48, &[Algorithm::ES384]),
                ref curve => bail!("its curve, {curve:?}, is not supported"),
            };
            for coordinate in [&key.x, &key.y] {
                ensure!(
                    BASE64_URL_SAFE_NO_PAD.decode(coordinate)?.len() == bytes,
                    "its coordinates have the wrong length"
                );
            }
            Ok(algorithms)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Ok(&[Algorithm::EdDSA]),
        _ => bail!("its kind is not supported"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn count(keys: serde_json::Value) -> usize {
        usable(read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()).len()
    }

    #[test]
    fn unusable_keys_are_left_out() {
        let ec = |change: serde_json::Value| {
            // The base point of P-256 (FIPS 186-4, D.1.2.3).
            let mut key = json!({
                "kty": "EC", "crv": "P-256", "kid": "1",
                "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
            });
            for (name, value) in change.as_object().unwrap() {
                key[name] = value.clone();
            }
            json!([key])
        };
        for right in [
            json!({}),
            json!({ "use": "sig" }),
            json!({ "alg": "ES256" }),
            json!({ "key_ops": ["verify"] }),
            json!({ "more": 5 }),
        ] {
            assert_eq!(count(ec(right.clone())), 1, "{right}");
        }
        for wrong in [
            json!({ "use": "enc" }),
            json!({ "alg": "RS256" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "new" }),
            json!({ "key_ops": ["encrypt"] }),
            json!({ "crv": "P-384" }),
            json!({ "crv": "P-999" }),
            json!({ "kty": "oct", "k": "c2VjcmV0" }),
            json!({ "x": 5 }),
            json!({ "x": "?" }),
        ] {
            assert_eq!(count(ec(wrong.clone())), 0, "{wrong}");
        }
        let secret = json!({ "kty": "oct", "k": "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcyBvciBtb3Jl", "alg": "HS256" });
        assert_eq!(count(json!([secret])), 0);
        let rsa =
            |bytes: usize| json!([{ "kty": "RSA", "n": BASE64_URL_SAFE_NO_PAD.encode(vec![255; bytes]), "e": "AQAB" }]);
        assert_eq!([128, 256, 512, 513].map(|bytes| count(rsa(bytes))), [0, 1, 1, 0]);
        // An unreadable key does not affect the others.
        assert_eq!(count(json!([5, {}, ec(json!({}))[0], { "kty": "future" }])), 1);
        assert_eq!(count(vec![ec(json!({}))[0].clone(); MAX_KEYS + 1].into()), MAX_KEYS);
    }

    #[test]
    fn an_invalid_key_set_is_an_error_and_an_empty_one_is_not() {
        for text in ["", "<html>", "{}", "[]", "{\"keys\":{}}", "null"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(count(json!([])), 0);
    }
}
