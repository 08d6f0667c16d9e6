//! The public keys of an issuer, as it publishes them (JSON Web Key Set, RFC 7517, section 5): kept in memory, asked for
//! again every few minutes and where a token names a key that is not among them.
//!
//! What the issuer last said counts for as long as it cannot be asked: that it is down stops nobody who holds a token. Which
//! algorithm a key verifies is the key's to say (RFC 8725, section 3.1), and only the algorithms of [`algorithms`] exist here:
//! a shared secret in such a set would be a secret that everyone knows.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
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
use serde::Deserialize;
use tokio::{sync::Mutex, task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;

/// How long the issuer may take to answer, in all.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How often it is asked, so that a key which it withdraws does not hold for longer; and how soon again after it has failed.
const REFRESH: Duration = Duration::from_secs(5 * 60);
const RETRY: Duration = Duration::from_secs(30);
/// How often it is asked because of tokens with unknown keys: once in such a time, and a few times at once.
const ASK_AGAIN: Duration = Duration::from_secs(10);
const ASK_AT_ONCE: std::num::NonZeroU32 = std::num::NonZeroU32::new(3).unwrap();
/// Largest answer that is read, in bytes, and most keys that are kept of it.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;
const MAX_KEYS: usize = 16;
/// Size of an RSA modulus, in bytes: at least as RFC 7518, section 3.3, has it, at most what the library verifies with.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// The keys of one issuer.
pub struct Jwks {
    url: String,
    agent: ureq::Agent,
    /// None until the issuer has answered once.
    keys: RwLock<Option<Arc<[Key]>>>,
    /// How many times it has.
    answers: AtomicU64,
    is_failing: AtomicBool,
    asking: Mutex<()>,
    budget: DefaultDirectRateLimiter,
}

/// A key that verifies tokens.
pub struct Key {
    /// What tokens call it.
    pub id: Option<String>,
    /// The algorithms that it verifies: the one that it names, or those of its kind.
    pub algorithms: Vec<Algorithm>,
    /// The key itself.
    pub decoding: DecodingKey,
}

impl Key {
    /// Whether a token with this header may have been signed by this key.
    pub fn may_have_signed(&self, header: &Header) -> bool {
        self.algorithms.contains(&header.alg) && (header.kid.is_none() || header.kid == self.id)
    }
}

impl Jwks {
    /// The keys at a URL. Nothing is asked yet.
    pub fn new(url: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_TIME))
            // Who the issuer is was said by the operator, and not by whoever answers there.
            .max_redirects(0)
            .max_idle_connections(1)
            .user_agent(concat!("antiphon/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self {
            url: url.to_owned(),
            agent,
            keys: RwLock::default(),
            answers: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            asking: Mutex::default(),
            budget: RateLimiter::direct(
                Quota::with_period(ASK_AGAIN).unwrap_or(Quota::per_minute(ASK_AT_ONCE)).allow_burst(ASK_AT_ONCE),
            ),
        }
    }

    /// What the issuer last said; `None` where it has said nothing yet.
    pub fn keys(&self) -> Option<Arc<[Key]>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the issuer, and keeps what it says. Where it says nothing usable, what it said before stays.
    pub async fn refresh(self: &Arc<Self>) {
        let _asking = self.asking.lock().await;
        self.ask().await;
    }

    /// Asks the issuer because of a token with an unknown key, unless that happens too often. Says whether there is an answer
    /// newer than the call.
    pub async fn ask_again(self: &Arc<Self>) -> bool {
        let before = self.answers.load(Ordering::Acquire);
        let _asking = self.asking.lock().await;
        // Whoever asked while this one waited has the answer for both.
        if self.answers.load(Ordering::Acquire) == before && self.budget.check().is_ok() {
            self.ask().await;
        }
        self.answers.load(Ordering::Acquire) != before
    }

    /// Asks the issuer from time to time, until the server stops.
    pub async fn keep_fresh(self: Arc<Self>, stopped: CancellationToken) {
        loop {
            let pause = if self.is_failing.load(Ordering::Relaxed) { RETRY } else { REFRESH };
            tokio::select! {
                () = stopped.cancelled() => return,
                () = sleep(pause) => self.refresh().await,
            }
        }
    }

    async fn ask(self: &Arc<Self>) {
        let this = self.clone();
        // What is on its way is kept, even where the request that asked for it has gone.
        let asked = spawn_blocking(move || this.keep(this.fetch().map(usable))).await;
        if let Err(error) = asked {
            tracing::error!(%error, "asking for the issuer's keys broke off");
        }
    }

    fn keep(&self, answer: anyhow::Result<Vec<Key>>) {
        match answer {
            Ok(keys) => {
                if keys.is_empty() {
                    tracing::warn!(url = self.url, "the issuer of the tokens has no key that signs them");
                } else if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(url = self.url, "the issuer of the tokens answers again");
                }
                tracing::debug!(url = self.url, keys = keys.len(), "the issuer's keys are read");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys.into());
                self.answers.fetch_add(1, Ordering::Release);
            }
            Err(error) => {
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    let error = format!("{error:#}");
                    let so = match self.keys() {
                        Some(_) => "the keys that it last had go on to count",
                        None => "until it answers, no token that it signed is accepted",
                    };
                    tracing::warn!(url = self.url, error, "cannot read the keys of the tokens' issuer; {so}");
                }
            }
        }
    }

    /// Asks the issuer, for whoever wants to know what is there, and keeps nothing of it: each key, or why it verifies no
    /// token.
    ///
    /// # Errors
    /// Why there is no key set to be had.
    pub async fn look(self: &Arc<Self>) -> anyhow::Result<Vec<anyhow::Result<Key>>> {
        let this = self.clone();
        spawn_blocking(move || this.fetch()).await?
    }

    fn fetch(&self) -> anyhow::Result<Vec<anyhow::Result<Key>>> {
        let mut answer = self.agent.get(&self.url).call()?;
        ensure!(answer.status().is_success(), "it answers {}", answer.status());
        let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
        read(&body)
    }
}

/// The keys of a set. One that verifies no token is no error of the set's, whatever is wrong with it: sets may hold keys for
/// anything, and kinds of keys that are yet to be invented.
fn read(json: &[u8]) -> anyhow::Result<Vec<anyhow::Result<Key>>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }

    let set: Set =
        serde_json::from_slice(json).map_err(|error| anyhow!("its answer is no JSON Web Key Set: {error}"))?;
    Ok(set.keys.into_iter().map(key).collect())
}

fn usable(set: Vec<anyhow::Result<Key>>) -> Vec<Key> {
    let keys = set.into_iter().filter_map(|key| match key {
        Ok(key) => Some(key),
        Err(error) => {
            tracing::debug!(error = format!("{error:#}"), "a key of the issuer's verifies no token");
            None
        }
    });
    keys.take(MAX_KEYS).collect()
}

fn key(key: serde_json::Value) -> anyhow::Result<Key> {
    let jwk: Jwk = serde_json::from_value(key)?;
    let common = &jwk.common;
    ensure!(common.public_key_use.as_ref().is_none_or(|given| *given == PublicKeyUse::Signature), "its use is another");
    let operations = common.key_operations.as_ref();
    ensure!(operations.is_none_or(|given| given.contains(&KeyOperations::Verify)), "its operations are others");
    let is_meant =
        |algorithm: &Algorithm| common.key_algorithm.is_none_or(|given| given == KeyAlgorithm::from(*algorithm));
    let algorithms: Vec<Algorithm> = algorithms(&jwk)?.iter().copied().filter(is_meant).collect();
    ensure!(!algorithms.is_empty(), "its algorithm is another");
    let decoding = DecodingKey::from_jwk(&jwk).context("it is malformed")?;
    Ok(Key { id: jwk.common.key_id, algorithms, decoding })
}

/// The algorithms that a key can be for, by its kind.
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
                _ => bail!("its curve is not used here"),
            };
            for coordinate in [&key.x, &key.y] {
                ensure!(BASE64_URL_SAFE_NO_PAD.decode(coordinate)?.len() == bytes, "it is no point of its curve");
            }
            Ok(algorithms)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Ok(&[Algorithm::EdDSA]),
        _ => bail!("it is of a kind that is not used here"),
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
    fn keys_that_are_not_for_tokens_are_left_out() {
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
        // One that cannot be read takes no other with it.
        assert_eq!(count(json!([5, {}, ec(json!({}))[0], { "kty": "future" }])), 1);
        assert_eq!(count(vec![ec(json!({}))[0].clone(); MAX_KEYS + 1].into()), MAX_KEYS);
    }

    #[test]
    fn what_is_no_key_set_is_an_error_and_an_empty_one_is_not() {
        for text in ["", "<html>", "{}", "[]", "{\"keys\":{}}", "null"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(count(json!([])), 0);
    }
}
