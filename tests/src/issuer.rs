//! An issuer of tokens that publishes its keys, and can fail in every way.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt, stream};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::server::claims_of;

/// A key that signs tokens. The keys of this module are only for tests.
#[derive(Clone)]
pub struct SigningKey {
    /// The id under which it is published.
    pub id: &'static str,
    /// The algorithm of its signatures.
    pub algorithm: Algorithm,
    encoding: EncodingKey,
}

impl SigningKey {
    /// An RSA key of 2,048 bits, for RS256.
    pub fn rsa() -> Self {
        let encoding = EncodingKey::from_rsa_der(include_bytes!("keys/rsa.der"));
        Self { id: "rsa", algorithm: Algorithm::RS256, encoding }
    }

    /// A key on P-256, for ES256.
    pub fn ec() -> Self {
        let encoding = EncodingKey::from_ec_der(include_bytes!("keys/ec.der"));
        Self { id: "ec", algorithm: Algorithm::ES256, encoding }
    }

    /// Another key on P-256.
    pub fn ec_next() -> Self {
        let encoding = EncodingKey::from_ec_der(include_bytes!("keys/ec-next.der"));
        Self { id: "ec-next", algorithm: Algorithm::ES256, encoding }
    }

    /// A key on P-384, for ES384.
    pub fn ec_384() -> Self {
        let encoding = EncodingKey::from_ec_der(include_bytes!("keys/ec-384.der"));
        Self { id: "ec-384", algorithm: Algorithm::ES384, encoding }
    }

    /// The same key for another algorithm of its kind.
    pub fn by(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// A key on Curve25519, for EdDSA.
    pub fn ed() -> Self {
        let encoding = EncodingKey::from_ed_der(include_bytes!("keys/ed.der"));
        Self { id: "ed", algorithm: Algorithm::EdDSA, encoding }
    }

    /// The public key, as an issuer publishes it.
    pub fn public(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.encoding, self.algorithm).expect("a public key");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        (jwk["kid"], jwk["use"]) = (json!(self.id), json!("sig"));
        jwk
    }

    /// A token that names this key and is valid for an hour.
    pub fn token(&self, email: &str) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) };
        self.sign(&header, &claims_of(email, json!({})))
    }

    /// A token with any header.
    pub fn sign(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.encoding).expect("a token")
    }
}

/// The response of an issuer.
pub enum Answer {
    /// A key set with these keys.
    Keys(Vec<SigningKey>),
    /// Any text.
    Text(String),
    /// An HTTP status.
    Status(u16),
    /// A redirect to a place with keys.
    Elsewhere(String),
    /// A text that does not end.
    Endless,
    /// No answer.
    Nothing,
}

/// An issuer. Dropping it stops it.
pub struct Issuer {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    answer: Mutex<Answer>,
    asked: AtomicUsize,
}

impl Issuer {
    /// Starts an issuer with these keys.
    pub async fn start(keys: &[SigningKey]) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), keys).await
    }

    /// Starts an issuer at a given address, for example at that of a previous or later one.
    pub async fn start_at(address: SocketAddr, keys: &[SigningKey]) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { answer: Mutex::new(Answer::Keys(keys.to_vec())), asked: AtomicUsize::new(0) });
        let router = Router::new().route("/jwks.json", get(answer)).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { address, shared, server }
    }

    /// The URL of its keys.
    pub fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    /// Sets the answer from now on.
    pub fn answers(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// The number of requests that it has received.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Stops the issuer, and returns its address.
    pub async fn stop(self) -> SocketAddr {
        self.server.abort();
        while !self.server.is_finished() {
            tokio::task::yield_now().await;
        }
        self.address
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>) -> Response {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let made = match &*shared.answer.lock().unwrap_or_else(PoisonError::into_inner) {
        Answer::Keys(keys) => {
            let keys: Vec<_> = keys.iter().map(SigningKey::public).collect();
            json!({ "keys": keys }).to_string().into_response()
        }
        Answer::Text(text) => text.clone().into_response(),
        Answer::Status(status) => StatusCode::from_u16(*status).expect("a status").into_response(),
        Answer::Elsewhere(url) => (StatusCode::FOUND, [(LOCATION, url.clone())]).into_response(),
        Answer::Endless => {
            let lines = stream::repeat("{\"keys\":[ ".repeat(1_000)).map(Ok::<_, std::convert::Infallible>);
            Body::from_stream(lines).into_response()
        }
        Answer::Nothing => StatusCode::NO_CONTENT.into_response(),
    };
    if made.status() == StatusCode::NO_CONTENT {
        std::future::pending::<()>().await;
    }
    made
}
