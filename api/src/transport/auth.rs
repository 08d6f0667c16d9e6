//! Authentication by bearer tokens (JSON Web Tokens, RFC 7519), as Supabase and other providers issue them, from the
//! `Authorization` header or from the payload of a WebSocket message.
//!
//! A token is signed with a shared secret (HS256) or with a key that its issuer publishes (see `jwks.rs`). A server can
//! have both, for example while a Supabase project migrates from one to the other. The token's header selects among the
//! server's keys and never adds to them: a key verifies the algorithms of its kind, or the one that it names (RFC 8725,
//! sections 2.1 and 3.1).

use std::sync::Arc;

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use chrono::Duration;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use quick_cache::sync::Cache;
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::jwks::{Jwks, Key};
use crate::model::{
    actor::{Actor, Claims},
    clock,
    collaborator::EmailAddress,
    error::{Error, Result},
    ids::UserId,
    profile::MAX_AVATAR_URL_BYTES,
};

/// Tolerated clock difference between the issuer and this server, in seconds.
const LEEWAY: u64 = 5;

/// Tokens longer than this are refused unread, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Capacity of the cache of valid tokens, and the longest token in it, in bytes. A token's claims take no more memory
/// than the token.
const MAX_REMEMBERED: usize = 4_096;
const MAX_REMEMBERED_BYTES: usize = 4 * 1024;

/// Role of signed-in users. Supabase's other roles are those of its service key (`service_role`) and public key
/// (`anon`).
const ROLE: &str = "authenticated";

/// Algorithms accepted for published keys.
const BY_KEY: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Seconds after which a client should try again if the issuer's keys have not been fetched yet.
const KEYS_RETRY_AFTER: u64 = 10;

/// Longest name taken from a token, in characters. Longer texts are cut.
const MAX_CLAIM_CHARS: usize = 1_000;

const BAD_SIGNATURE: &str = "The token's signature is invalid: it was signed with another secret or key.";

/// Namespace of the user ids that [`Verifier::issue`] derives from e-mail addresses (UUID version 5, RFC 9562, section
/// 5.5). Changing it would give every user of a self-signed server another id.
const USERS: Uuid = Uuid::from_u128(0x6d735a91_aa60_43a3_bad1_68490226f906);

/// Namespace of the user ids derived from `iss`, a line feed and `sub`, if `sub` is not a UUID. Changing it would give
/// each of these users another id.
const SUBJECTS: Uuid = Uuid::from_u128(0x0a1c4c1e_5b57_4f6e_9d0d_3c6f0e1b8a52);

/// Requirements for the claims of a token.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Accepted values of `iss`; empty: any.
    pub issuers: Vec<String>,
    /// Accepted values of `aud`; empty: any.
    pub audiences: Vec<String>,
    /// Accepted values of `role`; `*` accepts any. A token without a role is accepted.
    pub roles: Vec<String>,
}

/// Published keys that are trusted.
#[derive(Clone)]
pub struct Trusted {
    /// The `iss` of tokens signed with these keys; required if there are several issuers.
    pub issuer: Option<String>,
    /// The keys.
    pub jwks: Arc<Jwks>,
}

/// Verifies bearer tokens, and issues them for servers with a secret.
pub struct Verifier {
    secret: Option<Secret>,
    trusted: Vec<Trusted>,
    rules: Rules,
    /// Valid tokens by their SHA-256: the time of a lookup reveals nothing about other tokens.
    remembered: Cache<[u8; 32], Remembered>,
}

/// The result for a valid token. Checking a public-key signature takes longer than most operations.
#[derive(Clone)]
struct Remembered {
    actor: Actor,
    /// The issuer's key set at the time of the check, with its index in `trusted`. `None` for a token signed with the
    /// secret, which does not change.
    keys: Option<(usize, Arc<[Key]>)>,
}

struct Secret {
    decoding: DecodingKey,
    encoding: EncodingKey,
}

impl Verifier {
    /// A verifier for tokens that are signed with `secret` (HS256) or with a published key, and whose claims follow
    /// `rules`.
    pub fn new(secret: Option<&[u8]>, trusted: Vec<Trusted>, rules: Rules) -> Self {
        Self {
            secret: secret.map(|secret| Secret {
                decoding: DecodingKey::from_secret(secret),
                encoding: EncodingKey::from_secret(secret),
            }),
            trusted,
            rules,
            remembered: Cache::new(MAX_REMEMBERED),
        }
    }

    /// The issuers that are trusted; empty: any.
    pub fn issuers(&self) -> &[String] {
        &self.rules.issuers
    }

    /// Verifies a token and returns its user.
    ///
    /// # Errors
    /// `Unauthenticated` with the reason, which never repeats the token; `RateLimited` if the issuer's keys have not
    /// been fetched yet.
    pub async fn verify(&self, token: &str) -> Result<Actor> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused("The token is too long."));
        }
        let digest = Sha256::digest(token).into();
        if let Some(actor) = self.recall(&digest, clock::now().timestamp()) {
            return Ok(actor);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| match unknown_algorithm(token) {
            Some(name) => self.wrong_algorithm(&name),
            None => self.reason(error.kind()),
        })?;
        // Extensions that a recipient must understand (RFC 7515, section 4.1.11). None is supported.
        if header.crit.is_some() {
            return Err(refused("The token has a `crit` header, and its extensions are not supported."));
        }
        let (claims, keys) = match (header.alg, &self.secret) {
            (Algorithm::HS256, Some(secret)) => {
                let decoded = decode(token, &secret.decoding, Algorithm::HS256);
                (decoded.map_err(|error| self.reason(error.kind()))?, None)
            }
            (algorithm, _) if BY_KEY.contains(&algorithm) && !self.trusted.is_empty() => {
                let (claims, keys) = self.decode_by_key(token, &header).await?;
                (claims, Some(keys))
            }
            (algorithm, _) => return Err(self.wrong_algorithm(&format!("{algorithm:?}"))),
        };
        if !claims.is_object() {
            return Err(self.reason(&ErrorKind::InvalidToken));
        }
        self.rules.check(&claims, clock::now().timestamp())?;
        let actor = read(&claims, &self.rules.roles)?;
        if token.len() <= MAX_REMEMBERED_BYTES {
            self.remembered.insert(digest, Remembered { actor: actor.clone(), keys });
        }
        Ok(actor)
    }

    /// The user of a token that was verified before. A token is verified again after its `exp` (the leeway applies only
    /// there), and after the issuer's keys were fetched again.
    fn recall(&self, digest: &[u8; 32], now: i64) -> Option<Actor> {
        let Remembered { actor, keys } = self.remembered.get(digest)?;
        let is_current = keys.is_none_or(|(at, then)| {
            self.trusted.get(at).and_then(|trusted| trusted.jwks.keys()).is_some_and(|now| Arc::ptr_eq(&then, &now))
        });
        (is_current && actor.expires_at.is_none_or(|end| now < end)).then_some(actor)
    }

    /// Checks the signature with the issuer's keys, and fetches them again if none fits. With several issuers the
    /// token's `iss` selects the issuer, and only its keys count.
    async fn decode_by_key(&self, token: &str, header: &Header) -> Result<(serde_json::Value, (usize, Arc<[Key]>))> {
        let claims = unverified_claims(token).ok_or_else(|| self.reason(&ErrorKind::InvalidToken))?;
        let claimed = claims.get("iss").and_then(serde_json::Value::as_str);
        let is_issuer = |trusted: &Trusted| trusted.issuer.as_deref().is_none_or(|issuer| claimed == Some(issuer));
        let of = self.trusted.iter().position(is_issuer).and_then(|at| Some((at, &self.trusted.get(at)?.jwks)));
        let (at, jwks) = of.ok_or_else(|| self.reason(&ErrorKind::InvalidIssuer))?;
        let mut has_refetched = false;
        loop {
            let keys = jwks.keys();
            let mut has_failed = false;
            for (keys, key) in keys.iter().flat_map(|keys| keys.iter().map(move |key| (keys, key))) {
                if !key.may_have_signed(header) {
                    continue;
                }
                match decode(token, &key.decoding, header.alg) {
                    Ok(claims) => return Ok((claims, (at, keys.clone()))),
                    Err(error) if *error.kind() == ErrorKind::InvalidSignature => has_failed = true,
                    Err(error) => return Err(self.reason(error.kind())),
                }
            }
            // The token names its key and that key does not verify it: new keys cannot help.
            let is_settled = has_failed && header.kid.is_some();
            if is_settled || has_refetched || !jwks.ask_again().await {
                return Err(match keys {
                    None => Error::RateLimited {
                        message: format!(
                            "The token cannot be verified yet: the keys of its issuer have not been fetched. Try again \
                             in {KEYS_RETRY_AFTER} s."
                        ),
                        retry_after: Some(KEYS_RETRY_AFTER),
                    },
                    Some(_) if has_failed => refused(BAD_SIGNATURE),
                    Some(_) => refused(
                        "The token is signed with a key that its issuer does not publish, or whose kind this server \
                         does not support.",
                    ),
                });
            }
            has_refetched = true;
        }
    }

    /// The reason that the client sees.
    fn reason(&self, kind: &ErrorKind) -> Error {
        match kind {
            ErrorKind::InvalidSignature => refused(BAD_SIGNATURE),
            ErrorKind::InvalidIssuer => refused("The token's `iss` is not trusted by this server."),
            _ => refused("This is not a token: a bearer token is a signed JSON Web Token with the claims of a user."),
        }
    }

    /// The error for a token that is signed with an algorithm for which this server has no key.
    fn wrong_algorithm(&self, name: &str) -> Error {
        let accepted = match (&self.secret, self.trusted.is_empty()) {
            (_, true) => "HS256",
            (None, false) => "RS, PS, ES (256 or 384) or EdDSA",
            (Some(_), false) => "HS256, RS, PS, ES (256 or 384) or EdDSA",
        };
        refused(&format!("The token must be signed with {accepted}, not with {name}."))
    }

    /// Issues a token with the claims of a Supabase token, valid for `hours` hours, for the `token` command and the dev
    /// login. The same e-mail address, in upper or lower case, is the same user.
    ///
    /// # Errors
    /// `BadInput` if the e-mail address is invalid; `Internal` if the server has no secret.
    pub fn issue(&self, email: &str, name: Option<&str>, hours: u32) -> Result<String> {
        let secret = self.secret.as_ref().ok_or_else(|| {
            Error::internal(
                "this server has no secret to sign tokens with (JWT_SECRET): only the issuer can create them",
            )
        })?;
        let (user, email) = user_of(email)?;
        let now = clock::now();
        let claims = json!({
            "iss": self.rules.issuers.first().map_or("antiphon", String::as_str),
            "sub": user.0,
            "aud": self.rules.audiences.first().map_or(ROLE, String::as_str),
            "exp": (now + Duration::hours(i64::from(hours))).timestamp(),
            "iat": now.timestamp(),
            "email": email,
            "phone": "",
            "role": self.rules.roles.iter().find(|role| *role != "*").map_or(ROLE, String::as_str),
            "aal": "aal1",
            "amr": [{ "method": "password", "timestamp": now.timestamp() }],
            "session_id": clock::new_id(),
            "is_anonymous": false,
            "app_metadata": { "provider": "email", "providers": ["email"] },
            "user_metadata": { "email": email, "email_verified": true, "full_name": name, "sub": user.0 },
        });
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret.encoding).map_err(Error::internal)
    }
}

/// The claims of a token with a valid signature, as any JSON. [`Rules`] checks them.
fn decode(token: &str, key: &DecodingKey, algorithm: Algorithm) -> jsonwebtoken::errors::Result<serde_json::Value> {
    let mut signature_alone = Validation::new(algorithm);
    signature_alone.validate_exp = false;
    signature_alone.validate_aud = false;
    signature_alone.set_required_spec_claims::<&str>(&[]);
    Ok(jsonwebtoken::decode(token, key, &signature_alone)?.claims)
}

/// The `alg` of a token's header if `jsonwebtoken` does not know it (such as ES512, ES256K and none). It has only the
/// characters of the registered names: it becomes a part of a message.
fn unknown_algorithm(token: &str) -> Option<String> {
    let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    let name = header.get("alg")?.as_str()?;
    let is_name =
        (1..=16).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_name && name.parse::<Algorithm>().is_err()).then(|| name.to_owned())
}

/// The claims of a token that is not verified yet; `None` if it has none that can be read.
fn unverified_claims(token: &str) -> Option<serde_json::Value> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&claims).ok().filter(serde_json::Value::is_object)
}

impl Rules {
    /// Checks the registered claims of a verified token (RFC 7519, section 4.1). `now` is in seconds since the epoch.
    fn check(&self, claims: &serde_json::Value, now: i64) -> Result<()> {
        let invalid = |claim: &str| refused(&format!("The token has no valid `{claim}`."));
        // RFC 7519 allows fractional seconds.
        let time = |claim: &str| match present(claims, claim) {
            None => Ok(None),
            Some(time) => time.as_f64().map(Some).ok_or_else(|| invalid(claim)),
        };
        let expires_at = time("exp")?.filter(|time| (0.0..1e15).contains(time)).ok_or_else(|| invalid("exp"))?;
        if text(claims, "sub").is_none() {
            return Err(invalid("sub"));
        }
        if !self.issuers.is_empty() && named(claims, "iss").is_empty() {
            return Err(invalid("iss"));
        }
        let mut audiences = named(claims, "aud");
        if audiences.is_empty() {
            // Providers that leave out `aud` name the audience in these claims (Cognito's access tokens, Clerk).
            audiences.extend(["client_id", "azp"].into_iter().flat_map(|claim| named(claims, claim)));
        }
        if !self.audiences.is_empty() && audiences.is_empty() {
            return Err(invalid("aud"));
        }
        let (now, leeway) = (now as f64, LEEWAY as f64);
        if expires_at < now - leeway {
            return Err(refused("The token has expired."));
        }
        if time("nbf")?.is_some_and(|begins_at| begins_at > now + leeway) {
            return Err(refused("The token is not valid yet."));
        }
        let is_among = |said: &[&str], known: &[String]| {
            known.is_empty() || known.iter().any(|known| said.contains(&known.as_str()))
        };
        if !is_among(&named(claims, "iss"), &self.issuers) {
            return Err(refused("The token's `iss` is not trusted by this server."));
        }
        if !is_among(&audiences, &self.audiences) {
            return Err(refused("The token's `aud` does not name this server."));
        }
        Ok(())
    }
}

/// The string at `key`, if it is not empty.
fn text<'c>(object: &'c serde_json::Value, key: &str) -> Option<&'c str> {
    object.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// The strings of a claim that is a string or an array.
fn named<'c>(claims: &'c serde_json::Value, claim: &str) -> Vec<&'c str> {
    match claims.get(claim) {
        Some(serde_json::Value::Array(values)) => values.iter().filter_map(serde_json::Value::as_str).collect(),
        Some(value) => value.as_str().filter(|text| !text.is_empty()).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Reads the user from verified claims.
fn read(claims: &serde_json::Value, accepted: &[String]) -> Result<Actor> {
    check_role(claims, accepted)?;
    let subject = text(claims, "sub").unwrap_or_default();
    let user_id = UserId::parse(subject, "sub").unwrap_or_else(|_| {
        let issuer = named(claims, "iss").first().copied().unwrap_or_default();
        UserId(Uuid::new_v5(&SUBJECTS, format!("{issuer}\n{subject}").as_bytes()))
    });
    let time = |claim: &str| claims.get(claim).and_then(serde_json::Value::as_f64);
    let email = text(claims, "email").filter(|email| !email.contains(char::is_control));
    let verified_email = email.filter(|_| has_verified_email(claims));
    let verified_email = verified_email.and_then(|email| EmailAddress::parse(email, "email").ok());
    let said = Claims {
        email: email.map(str::to_owned),
        full_name: full_name(claims),
        avatar_url: avatar_url(claims),
        // The cast truncates fractions and saturates.
        issued_at: time("iat").map(|time| time as i64),
    };
    let expires_at = time("exp").map(|time| time as i64);
    Ok(Actor { user_id, expires_at, verified_email, claims: Arc::new(said), is_machine: false })
}

fn check_role(claims: &serde_json::Value, accepted: &[String]) -> Result<()> {
    let roles = match present(claims, "role") {
        None => return Ok(()),
        Some(_) => named(claims, "role"),
    };
    if roles.iter().any(|role| accepted.iter().any(|accepted| accepted == role)) {
        return Ok(());
    }
    if roles.contains(&"anon") {
        return Err(refused("This is the project's anonymous key: sign in, and send the user's token."));
    }
    if roles.contains(&"service_role") {
        return Err(refused("This is the project's service key: it names no user, and must not leave the backend."));
    }
    match accepted {
        [] => Err(refused("The token must have no role.")),
        accepted if accepted.iter().any(|accepted| accepted == "*") => Ok(()),
        [role] => Err(refused(&format!("The token's role must be \"{role}\"."))),
        roles => Err(refused(&format!("The token's role must be one of \"{}\".", roles.join("\", \"")))),
    }
}

/// The first non-empty one of these claims: at the top level (OpenID Connect Core, section 5.1), then in Supabase's
/// `user_metadata`.
fn profile_claim(claims: &serde_json::Value, names: &[&str]) -> Option<String> {
    first_claim(claims, names, |text| clean(text, MAX_CLAIM_CHARS))
}

fn first_claim(claims: &serde_json::Value, names: &[&str], read: impl Fn(&str) -> Option<String>) -> Option<String> {
    let places = [Some(claims), claims.get("user_metadata")];
    places.into_iter().flatten().find_map(|object| names.iter().find_map(|name| read(text(object, name)?)))
}

/// The whole URL of the picture, since a part of it leads nowhere.
fn avatar_url(claims: &serde_json::Value) -> Option<String> {
    const { assert!(MAX_TOKEN_BYTES <= MAX_AVATAR_URL_BYTES, "a token has no longer URL than a profile") };
    first_claim(claims, &["picture", "avatar_url"], |text| clean(text, usize::MAX))
}

fn full_name(claims: &serde_json::Value) -> Option<String> {
    let from_parts = || {
        let parts = [profile_claim(claims, &["given_name"]), profile_claim(claims, &["family_name"])];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    };
    let written = profile_claim(claims, &["full_name", "name"]);
    written.or_else(from_parts).or_else(|| profile_claim(claims, &["preferred_username", "nickname"]))
}

/// A text for a profile, without characters that cannot be displayed: the databases differ in whether they accept them.
fn clean(text: &str, max_chars: usize) -> Option<String> {
    let is_shown = |character: &char| !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}');
    let shown: String = text.chars().filter(is_shown).take(max_chars).collect();
    let shown = shown.trim();
    (!shown.is_empty()).then(|| shown.to_owned())
}

/// Whether the token's e-mail address is verified. A top-level `email_verified` (OpenID Connect Core, section 5.1)
/// comes from the issuer and decides; some issuers write it as a string. Supabase sets it only in `user_metadata`,
/// which users can write, but it puts an address into `email` only after confirmation, unless the operator has disabled
/// confirmation.
fn has_verified_email(claims: &serde_json::Value) -> bool {
    let is_true = |value: &serde_json::Value| {
        value.as_bool().unwrap_or_else(|| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
    };
    let stated = |object: &serde_json::Value| present(object, "email_verified").map(is_true);
    stated(claims).or_else(|| claims.get("user_metadata").and_then(stated)).unwrap_or(false)
        && !present(claims, "is_anonymous").is_some_and(is_true)
}

/// The user id of an e-mail address in self-issued tokens, and the address as they spell it.
///
/// # Errors
/// `BadInput` if the address is invalid.
pub fn user_of(email: &str) -> Result<(UserId, String)> {
    let email = email.trim().to_lowercase();
    if !email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()) {
        return Err(Error::bad_input("email", "This is not an e-mail address."));
    }
    Ok((UserId(Uuid::new_v5(&USERS, email.as_bytes())), email))
}

/// The token in the `Authorization` header; `None` if there is no such header.
///
/// # Errors
/// `Unauthenticated` if the header is not a single `Bearer` token (RFC 6750, section 2.1).
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused("There is more than one Authorization header."));
    }
    let value = value.to_str().map_err(|_| refused("The Authorization header must be ASCII."))?;
    after_scheme(value)
}

/// The token in the `Authorization` header, as [`bearer`], or as the password of the scheme `Basic` (RFC 7617) with any
/// user name. Some clients send it as the user name, without a password.
///
/// # Errors
/// `Unauthenticated` if the header is malformed.
pub fn password(headers: &HeaderMap) -> Result<Option<String>> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let basic = value.trim().split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Basic"));
    let Some((_, encoded)) = basic.filter(|_| headers.get_all(AUTHORIZATION).iter().count() == 1) else {
        return Ok(bearer(headers)?.map(str::to_owned));
    };
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((user, password)) = decoded.as_deref().and_then(|pair| pair.split_once(':')) else {
        return Err(refused("The Authorization is not a user name and a password."));
    };
    let token = if password.is_empty() { user } else { password };
    Ok(Some(token.to_owned()).filter(|token| !token.is_empty()))
}

/// Time until the token expires, at most a year because a timer has a maximum; a year without an end.
pub fn time_left(actor: Option<&Actor>) -> std::time::Duration {
    const LONGEST: u64 = 365 * 24 * 3600;
    let end = actor.and_then(|actor| actor.expires_at);
    let left = end.map(|end| end.saturating_sub(clock::now().timestamp()));
    let left = left.map_or(LONGEST, |left| u64::try_from(left).unwrap_or(0));
    std::time::Duration::from_secs(left.min(LONGEST))
}

/// The token in the payload of a `connection_init` or a `ping`, in any of the shapes that clients use:
/// `{"Authorization": "Bearer …"}` (or `authorization`), the same inside `{"headers": …}`, or `{"token": "…"}`. `None`
/// without any of these.
///
/// # Errors
/// `Unauthenticated` if one of them is malformed.
pub fn from_payload(payload: &serde_json::Value) -> Result<Option<&str>> {
    for object in [Some(payload), payload.get("headers")].into_iter().flatten() {
        for key in ["Authorization", "authorization"] {
            if let Some(value) = present(object, key) {
                let value = value.as_str().ok_or_else(|| refused("The Authorization must be a string."))?;
                return after_scheme(value);
            }
        }
    }
    match present(payload, "token") {
        Some(serde_json::Value::String(token)) => Ok(Some(token.as_str()).filter(|token| !token.is_empty())),
        Some(_) => Err(refused("The token must be a string.")),
        None => Ok(None),
    }
}

fn present<'a>(object: &'a serde_json::Value, key: &str) -> Option<&'a serde_json::Value> {
    object.get(key).filter(|value| !value.is_null())
}

/// The token of an `Authorization` value, after the scheme, which must be `Bearer` (case-insensitive).
fn after_scheme(value: &str) -> Result<Option<&str>> {
    match value.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => Ok(Some(token.trim())),
        None if value.trim().is_empty() => Ok(None),
        _ => Err(refused("The Authorization must be \"Bearer\", a space, and the token.")),
    }
}

fn refused(message: &str) -> Error {
    Error::Unauthenticated(message.to_owned())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const SECRET: &[u8] = b"a secret of thirty-two bytes or more";

    fn verifier() -> Verifier {
        Verifier::new(Some(SECRET), Vec::new(), rules(&[]))
    }

    fn rules(issuers: &[&str]) -> Rules {
        Rules {
            issuers: issuers.iter().map(|issuer| (*issuer).to_owned()).collect(),
            audiences: vec!["authenticated".to_owned()],
            roles: vec!["authenticated".to_owned()],
        }
    }

    fn verify(verifier: &Verifier, token: &str) -> Result<Actor> {
        verifier.verify(token).now_or_never().expect("a token signed with the secret is verified without waiting")
    }

    fn signed(claims: &serde_json::Value, algorithm: Algorithm, secret: &[u8]) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret)).unwrap()
    }

    fn claims(change: serde_json::Value) -> serde_json::Value {
        let mut claims = json!({
            "sub": "0198f3a0-0000-7000-8000-000000000001", "aud": "authenticated", "role": "authenticated",
            "exp": clock::now().timestamp() + 60,
        });
        for (key, value) in change.as_object().unwrap() {
            match value {
                serde_json::Value::Null => claims.as_object_mut().unwrap().remove(key),
                value => claims.as_object_mut().unwrap().insert(key.clone(), value.clone()),
            };
        }
        claims
    }

    fn verdict(verifier: &Verifier, change: serde_json::Value) -> String {
        match verify(verifier, &signed(&claims(change), Algorithm::HS256, SECRET)) {
            Ok(_) => "ok".to_owned(),
            Err(error) => {
                assert_eq!(error.code(), "UNAUTHENTICATED");
                error.message()
            }
        }
    }

    #[test]
    fn an_issued_token_verifies_and_an_email_always_names_the_same_user() {
        let verifier = verifier();
        let ada = verify(&verifier, &verifier.issue("Ada@Example.com", Some("Ada"), 1).unwrap()).unwrap();
        let again = verify(&verifier, &verifier.issue("ada@example.com ", None, 1).unwrap()).unwrap();
        let bob = verify(&verifier, &verifier.issue("bob@example.com", None, 1).unwrap()).unwrap();
        assert_eq!(ada.user_id, again.user_id);
        assert_ne!(ada.user_id, bob.user_id);
        assert_eq!(ada.claims.email.as_deref(), Some("ada@example.com"));
        assert_eq!(ada.claims.full_name.as_deref(), Some("Ada"));
        assert_eq!(again.claims.full_name, None);
        let end = ada.expires_at.unwrap();
        assert!((end - clock::now().timestamp() - 3600).abs() < 5);
        assert_eq!(verifier.issue("nobody", None, 1).unwrap_err().code(), "BAD_USER_INPUT");
    }

    #[test]
    fn valid_tokens_are_cached_until_they_expire_and_invalid_ones_never() {
        let verifier = verifier();
        let digest = |token: &str| <[u8; 32]>::from(Sha256::digest(token));
        let token = verifier.issue("ada@example.com", None, 1).unwrap();
        let now = clock::now().timestamp();
        assert!(verifier.recall(&digest(&token), now).is_none());
        let ada = verify(&verifier, &token).unwrap();
        assert_eq!(verifier.recall(&digest(&token), now).unwrap(), ada);
        assert_eq!(verify(&verifier, &token).unwrap(), ada);
        assert!(verifier.recall(&digest(&token), ada.expires_at.unwrap() - 1).is_some());
        assert!(verifier.recall(&digest(&token), ada.expires_at.unwrap()).is_none());
        let forged = signed(&claims(json!({})), Algorithm::HS256, b"another secret of thirty-two bytes");
        assert!(verify(&verifier, &forged).is_err());
        assert!(verifier.recall(&digest(&forged), now).is_none());
        let long = signed(&claims(json!({ "more": "x".repeat(MAX_REMEMBERED_BYTES) })), Algorithm::HS256, SECRET);
        assert!(verify(&verifier, &long).is_ok());
        assert!(verifier.recall(&digest(&long), now).is_none());
    }

    #[test]
    fn the_iss_must_match_if_the_server_names_an_issuer() {
        let strict = Verifier::new(Some(SECRET), Vec::new(), rules(&["https://x.supabase.co/auth/v1"]));
        assert_eq!(verdict(&strict, json!({ "iss": "https://x.supabase.co/auth/v1" })), "ok");
        assert!(verdict(&strict, json!({ "iss": "https://y.supabase.co/auth/v1" })).contains("`iss`"));
        assert!(verdict(&strict, json!({})).contains("`iss`"));
        assert!(verify(&strict, &strict.issue("ada@example.com", None, 1).unwrap()).is_ok());
    }

    #[test]
    fn a_refusal_names_the_invalid_claim() {
        let verifier = verifier();
        let now = clock::now().timestamp();
        assert_eq!(verdict(&verifier, json!({})), "ok");
        assert_eq!(verdict(&verifier, json!({ "role": null })), "ok");
        assert_eq!(verdict(&verifier, json!({ "aud": ["other", "authenticated"] })), "ok");
        assert_eq!(verdict(&verifier, json!({ "exp": now - 2, "nbf": now + 2 })), "ok");
        for (change, word) in [
            (json!({ "exp": now - 60 }), "expired"),
            (json!({ "exp": null }), "`exp`"),
            (json!({ "exp": "tomorrow" }), "`exp`"),
            (json!({ "nbf": now + 60 }), "not valid yet"),
            (json!({ "aud": "other" }), "`aud`"),
            (json!({ "aud": null }), "`aud`"),
            (json!({ "sub": null }), "`sub`"),
            (json!({ "sub": "" }), "`sub`"),
            (json!({ "sub": 5 }), "`sub`"),
            (json!({ "nbf": "now" }), "`nbf`"),
            (json!({ "exp": -1 }), "`exp`"),
            (json!({ "role": "anon" }), "anonymous key"),
            (json!({ "role": "service_role" }), "service key"),
            (json!({ "role": "postgres" }), "role"),
        ] {
            let message = verdict(&verifier, change.clone());
            assert!(message.contains(word), "{change}: {message}");
        }
        assert!(verify(&verifier, &signed(&claims(json!({ "exp": 1e300 })), Algorithm::HS256, SECRET)).is_err());
    }

    #[test]
    fn only_hs256_with_the_servers_secret_is_accepted() {
        let verifier = verifier();
        let claims = claims(json!({}));
        assert!(verify(&verifier, &signed(&claims, Algorithm::HS256, b"another secret")).is_err());
        assert!(verify(&verifier, &signed(&claims, Algorithm::HS512, SECRET)).unwrap_err().message().contains("HS256"));
        let unsigned = format!(
            "{}.{}.",
            BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#),
            BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        for token in [unsigned.as_str(), "", "a.b.c", "no token", &"a".repeat(MAX_TOKEN_BYTES + 1)] {
            assert_eq!(verify(&verifier, token).unwrap_err().code(), "UNAUTHENTICATED", "{token}");
        }
    }

    #[test]
    fn an_address_is_verified_if_the_issuer_states_it() {
        let verifier = verifier();
        let email = |change: serde_json::Value| {
            let token = signed(&claims(change), Algorithm::HS256, SECRET);
            verify(&verifier, &token).unwrap().verified_email.map(|email| email.as_str().to_owned())
        };
        let ada = Some("ada@example.com".to_owned());
        let (yes, no) = (json!({ "email_verified": true }), json!({ "email_verified": false }));
        assert_eq!(email(json!({ "email": "Ada@Example.com", "email_verified": true })), ada);
        assert_eq!(email(json!({ "email": "Ada@Example.com", "email_verified": "true" })), ada);
        assert_eq!(email(json!({ "email": "Ada@Example.com", "user_metadata": yes })), ada);
        assert_eq!(email(json!({ "email": "ada@example.com", "email_verified": true, "user_metadata": no })), ada);
        for change in [
            json!({ "email": "ada@example.com" }),
            json!({ "email": "ada@example.com", "email_verified": false, "user_metadata": yes }),
            json!({ "email": "ada@example.com", "email_verified": "false", "user_metadata": yes }),
            json!({ "email": "ada@example.com", "email_verified": 1 }),
            json!({ "email": "ada@\u{0}example.com", "email_verified": true }),
            json!({ "email": "ada@example.com", "user_metadata": no }),
            json!({ "email": "ada@example.com", "user_metadata": "email_verified" }),
            json!({ "email": "ada@example.com", "email_verified": true, "is_anonymous": true }),
            json!({ "email": "", "email_verified": true }),
            json!({ "email": "nobody", "email_verified": true }),
            json!({ "user_metadata": { "email": "ada@example.com", "email_verified": true } }),
        ] {
            assert_eq!(email(change.clone()), None, "{change}");
        }
        assert_eq!(
            verify(&verifier, &verifier.issue("ada@example.com", None, 1).unwrap()).unwrap().verified_email,
            Some(EmailAddress::parse("ada@example.com", "").unwrap())
        );
    }

    #[test]
    fn tokens_are_found_in_every_supported_place() {
        let header = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(|token| token.map(str::to_owned))
        };
        assert_eq!(header("Bearer abc").unwrap().as_deref(), Some("abc"));
        assert_eq!(header("bearer  abc ").unwrap().as_deref(), Some("abc"));
        assert!(header("Basic abc").is_err());
        assert!(header("abc").is_err());
        assert_eq!(bearer(&HeaderMap::new()).unwrap(), None);

        let init = |payload: serde_json::Value| from_payload(&payload).map(|token| token.map(str::to_owned));
        for payload in [
            json!({ "Authorization": "Bearer abc" }),
            json!({ "authorization": "Bearer abc" }),
            json!({ "headers": { "Authorization": "Bearer abc" } }),
            json!({ "token": "abc" }),
        ] {
            assert_eq!(init(payload.clone()).unwrap().as_deref(), Some("abc"), "{payload}");
        }
        for payload in [json!(null), json!({}), json!({ "Authorization": null }), json!({ "Authorization": "" })] {
            assert_eq!(init(payload).unwrap(), None);
        }
        for payload in [json!({ "Authorization": 7 }), json!({ "Authorization": "abc" }), json!({ "token": ["abc"] })] {
            assert!(init(payload).is_err());
        }
    }
}
