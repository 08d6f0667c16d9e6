//! Authentication: tokens signed with an issuer's published keys, key rotation and failures of the issuer, sockets that
//! outlive their first token, rate limits, and what is never logged.

use std::time::{Duration, Instant};

use antiphon::model::clock;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tests::{
    client::{Client, Raw, Response},
    database::Database,
    issuer::{Answer, Issuer, SigningKey},
    project::text,
    server::{ChildServer, JWT_SECRET, NO_SECRET, Server, claims_of, token, token_with},
    socket::{Frame, Socket},
};

const VIEWER: &str = "{ viewer { email } }";

async fn start(database: &Database, issuer: &Issuer, more: &[&str]) -> Server {
    let url = issuer.url();
    Server::start_with(database, &[&["--jwt-jwks-url", url.as_str()], more].concat()).await
}

async fn asked_with(server: &Server, token: &str) -> Response {
    server.anonymous().with_token(Some(token.to_owned())).gql(VIEWER, json!({})).await
}

#[track_caller]
fn assert_accepted(answer: Response) {
    assert_eq!(answer.ok()["viewer"]["email"], "ada@example.com");
}

#[track_caller]
fn refused(answer: &Response, word: &str) {
    assert_eq!((answer.status, answer.error_code()), (401, "UNAUTHENTICATED"), "{answer:?}");
    let message = answer.error()["message"].as_str().unwrap();
    assert!(message.contains(word), "{message}");
}

/// A request with the test's own headers; the operation is usually `VIEWER`.
async fn post(client: &Client, headers: &[(&str, &str)], query: &str) -> Raw {
    let headers = [&[("content-type", "application/json")], headers].concat();
    client.send("POST", "/graphql", &headers, json!({ "query": query }).to_string()).await.unwrap()
}

// ───────────────────────────── published keys ─────────────────────────────

tests::on_sqlite! {
    async fn tokens_of_each_kind_of_published_key_are_accepted(database: Database) {
        let keys = [SigningKey::rsa(), SigningKey::ec(), SigningKey::ed()];
        let issuer = Issuer::start(&keys).await;
        let server = start(&database, &issuer, NO_SECRET).await;
        for key in &keys {
            assert_accepted(asked_with(&server, &key.token("ada@example.com")).await);
            // A token does not have to name its key.
            let unnamed = key.sign(&Header::new(key.algorithm), &claims_of("ada@example.com", json!({})));
            assert_accepted(asked_with(&server, &unnamed).await);
        }
        let mut socket = server.anonymous().with_token(Some(keys[1].token("ada@example.com"))).greeted().await;
        socket.start("1", VIEWER, json!({})).await;
        assert_eq!(socket.message().await["payload"]["data"]["viewer"]["email"], "ada@example.com");
        assert_eq!(issuer.asked(), 1);
        // No secret is configured, so tokens signed with one are refused, even if the issuer has published that secret
        // as a key.
        refused(&asked_with(&server, &token("ada@example.com")).await, "RS, PS, ES (256 or 384) or EdDSA");
        drop(socket);
        server.stop().await;
    }

    async fn a_secret_and_published_keys_work_together(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec()]).await;
        let server = start(&database, &issuer, &[]).await;
        assert_accepted(asked_with(&server, &token("ada@example.com")).await);
        assert_accepted(asked_with(&server, &SigningKey::ec().token("ada@example.com")).await);
        server.stop().await;
    }

    async fn claims_of_tokens_signed_with_published_keys_are_checked(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec()]).await;
        let server = start(&database, &issuer, &["--jwt-issuer", "https://p.supabase.co/auth/v1"]).await;
        let now = clock::now().timestamp();
        let iss = "https://p.supabase.co/auth/v1";
        let signed = |claims: Value| {
            let mut all = claims_of("ada@example.com", json!({ "iss": iss }));
            for (name, value) in claims.as_object().unwrap() {
                all[name] = value.clone();
            }
            SigningKey::ec().sign(&Header { kid: Some("ec".to_owned()), ..Header::new(Algorithm::ES256) }, &all)
        };
        assert_accepted(asked_with(&server, &signed(json!({}))).await);
        for (claims, word) in [
            (json!({ "iss": "https://evil.example" }), "`iss`"),
            (json!({ "aud": "other" }), "`aud`"),
            (json!({ "exp": now - 60 }), "expired"),
            (json!({ "nbf": now + 60 }), "not valid yet"),
            (json!({ "sub": "" }), "`sub`"),
            (json!({ "sub": null }), "`sub`"),
            (json!({ "role": "anon" }), "anonymous key"),
            (json!({ "role": "service_role" }), "service key"),
            (json!({ "role": "postgres" }), "role"),
        ] {
            refused(&asked_with(&server, &signed(claims)).await, word);
        }
        server.stop().await;
    }

    async fn lists_of_issuers_have_no_blanks(database: Database) {
        let key = SigningKey::ec();
        let issuer = Issuer::start(std::slice::from_ref(&key)).await;
        let flags = ["--jwt-issuer", "https://one.example, https://two.example,", "--jwt-audience", ", authenticated"];
        let server = start(&database, &issuer, &[&flags[..], NO_SECRET].concat()).await;
        let signed = |iss: &str| key.sign(&Header::new(key.algorithm), &claims_of("ada@example.com", json!({ "iss": iss })));
        for iss in ["https://one.example", "https://two.example"] {
            assert_accepted(asked_with(&server, &signed(iss)).await);
        }
        for iss in [" https://two.example", " "] {
            refused(&asked_with(&server, &signed(iss)).await, "`iss`");
        }
        refused(&asked_with(&server, &signed("")).await, "`iss`");
        server.stop().await;
    }

    async fn what_is_no_token_is_refused_as_such_by_a_server_with_several_issuers(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec()]).await;
        let urls = format!("{},{}", issuer.url(), issuer.url());
        let flags = ["--jwt-jwks-url", &urls, "--jwt-issuer", "https://one.example,https://two.example"];
        let server = Server::start_with(&database, &[&flags[..], NO_SECRET].concat()).await;
        let deep = format!(r#"{{"iss":"https://one.example","a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        for payload in ["5", "null", "[]", "{", r#"{"iss":"https://one.example","a":"\ud800"}"#, &deep] {
            let parts = [r#"{"alg":"ES256"}"#, payload, "signature"].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
            refused(&asked_with(&server, &parts.join(".")).await, "This is not a token");
        }
        let parts = [r#"{"alg":"ES256"}"#, r#"{"iss":"https://three.example"}"#, "signature"];
        let parts = parts.map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        refused(&asked_with(&server, &parts.join(".")).await, "`iss` is not trusted");
        server.stop().await;
    }

    async fn a_key_verifies_only_its_own_algorithm_whatever_the_token_states(database: Database) {
        let keys = [SigningKey::rsa(), SigningKey::ec(), SigningKey::ed()];
        let issuer = Issuer::start(&keys).await;
        let server = start(&database, &issuer, &[]).await;
        let claims = claims_of("ada@example.com", json!({}));
        let mut forged = Vec::new();
        for key in &keys {
            // The public key as the secret of an HS256 token, which a library that trusts the header would accept.
            let public = key.public();
            for field in ["n", "x"] {
                let Some(text) = public[field].as_str() else { continue };
                for secret in [text.as_bytes().to_vec(), BASE64_URL_SAFE_NO_PAD.decode(text).unwrap(), public.to_string().into_bytes()] {
                    let header = Header { kid: Some(key.id.to_owned()), ..Header::new(Algorithm::HS256) };
                    forged.push(encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap());
                }
            }
            // A signature of one key under the name of another.
            for other in keys.iter().filter(|other| other.id != key.id) {
                let header = Header { kid: Some(key.id.to_owned()), ..Header::new(other.algorithm) };
                forged.push(other.sign(&header, &claims));
            }
        }
        // A key that the token contains or links to.
        let stranger = SigningKey::ec_next();
        let jwk: Jwk = serde_json::from_value(stranger.public()).unwrap();
        let brought = Header { jwk: Some(jwk), kid: Some("ec".to_owned()), ..Header::new(Algorithm::ES256) };
        let elsewhere = Issuer::start(std::slice::from_ref(&stranger)).await;
        let said = Header { jku: Some(elsewhere.url()), ..Header::new(Algorithm::ES256) };
        forged.extend([stranger.sign(&brought, &claims), stranger.sign(&said, &claims)]);
        // Critical headers that this server does not support.
        let critical = Header { crit: Some(vec!["b64".to_owned()]), kid: Some("ec".to_owned()), ..Header::new(Algorithm::ES256) };
        forged.push(SigningKey::ec().sign(&critical, &claims));
        let genuine = keys[1].token("ada@example.com");
        let (unsigned, _) = genuine.rsplit_once('.').unwrap();
        let (_, body) = unsigned.split_once('.').unwrap();
        for header in [r#"{"alg":"none","kid":"ec"}"#, r#"{"alg":"None"}"#, r#"{"kid":"ec"}"#, r#"{"alg":["ES256"]}"#] {
            forged.push(format!("{}.{body}.", BASE64_URL_SAFE_NO_PAD.encode(header)));
        }
        forged.extend([format!("{unsigned}."), unsigned.to_owned()]);
        for token in forged {
            refused(&asked_with(&server, &token).await, "");
        }
        assert_eq!(elsewhere.asked(), 0);
        assert_accepted(asked_with(&server, &genuine).await);
        server.stop().await;
    }

    async fn a_new_key_is_accepted_at_once_and_a_withdrawn_one_is_refused(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec()]).await;
        let server = start(&database, &issuer, NO_SECRET).await;
        let token = SigningKey::ec().token("ada@example.com");
        assert_accepted(asked_with(&server, &token).await);
        issuer.answers(Answer::Keys(vec![SigningKey::ec_next()]));
        assert_accepted(asked_with(&server, &SigningKey::ec_next().token("ada@example.com")).await);
        refused(&asked_with(&server, &token).await, "issuer does not publish");
        // One request at the start, and one for each token with an unknown key.
        assert_eq!(issuer.asked(), 3);
        server.stop().await;
    }

    async fn many_unknown_keys_cause_few_requests_to_the_issuer(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec()]).await;
        let server = start(&database, &issuer, NO_SECRET).await;
        let claims = claims_of("mallory@example.com", json!({}));
        let flood = (0..200).map(|number| {
            let header = Header { kid: Some(format!("unknown-{number}")), ..Header::new(Algorithm::ES256) };
            let token = SigningKey::ec_next().sign(&header, &claims);
            let server = server.clone();
            async move { refused(&asked_with(&server, &token).await, "issuer does not publish") }
        });
        join_all(flood).await;
        // One request at the start, three in a burst, and one more for each ten seconds that this test can take.
        assert!((2..=6).contains(&issuer.asked()), "{}", issuer.asked());
        assert_accepted(asked_with(&server, &SigningKey::ec().token("ada@example.com")).await);
        server.stop().await;
    }

    async fn tokens_stay_valid_while_the_issuer_is_down(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec()]).await;
        let server = start(&database, &issuer, NO_SECRET).await;
        issuer.stop().await;
        refused(&asked_with(&server, &SigningKey::ec_next().token("ada@example.com")).await, "issuer does not publish");
        assert_accepted(asked_with(&server, &SigningKey::ec().token("ada@example.com")).await);
        server.stop().await;
    }

    async fn a_server_starts_without_its_issuer_and_answers_with_retry_after(database: Database) {
        let issuer = Issuer::start(&[]).await;
        let url = issuer.url();
        let address = issuer.stop().await;
        let server = Server::start_with(&database, &["--jwt-jwks-url", &url]).await;
        // The secret needs no issuer.
        assert_accepted(asked_with(&server, &token("ada@example.com")).await);
        let token = SigningKey::ec().token("ada@example.com");
        let bearer = format!("Bearer {token}");
        let answer = post(&server.anonymous(), &[("authorization", &bearer)], VIEWER).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "10"));
        let response = answer.graphql().unwrap();
        assert_eq!((response.error_code(), &response.error()["extensions"]["retryAfterSeconds"]), ("RATE_LIMITED", &json!(10)));
        assert!(text(&response.error()["message"]).contains("keys of its issuer"), "{response:?}");
        let mut socket = server.anonymous().socket().await;
        socket.send(json!({ "type": "connection_init", "payload": { "token": token } })).await;
        let Frame::Close(code, _) = socket.next().await else { panic!("no close") };
        assert_eq!(code, 1013);

        let _issuer = Issuer::start_at(address, &[SigningKey::ec()]).await;
        assert_accepted(asked_with(&server, &token).await);
        drop(socket);
        server.stop().await;
    }

    async fn the_server_is_not_ready_while_nobody_can_sign_in(database: Database) {
        let ready = async |server: &Server| {
            let answer = server.anonymous().send("GET", "/readyz", &[], "").await.unwrap();
            let mut said: Value = serde_json::from_slice(&answer.body).unwrap();
            let parts = said["parts"].as_array_mut().unwrap();
            let issuer = parts.iter().position(|part| part["name"] == "issuer").map(|at| parts.remove(at)["ready"].clone());
            (answer.status, issuer)
        };
        let huge = json!({ "keys": [SigningKey::ec().public()], "more": "x".repeat(300_000) }).to_string();
        for answer in [
            Answer::Text("<html>Please sign in</html>".to_owned()),
            Answer::Text("{\"keys\":[]}".to_owned()),
            Answer::Text(huge),
            Answer::Status(500),
        ] {
            let issuer = Issuer::start(&[SigningKey::ec()]).await;
            issuer.answers(answer);
            let server = start(&database, &issuer, NO_SECRET).await;
            assert_eq!(ready(&server).await, (503, Some(json!(false))));
            let alive = server.anonymous().send("GET", "/healthz", &[], "").await.unwrap();
            assert_eq!(alive.status, 200);
            server.stop().await;
            // With a secret others can sign in.
            let server = start(&database, &issuer, &[]).await;
            assert_eq!(ready(&server).await, (200, Some(json!(false))));
            assert_accepted(asked_with(&server, &token("ada@example.com")).await);
            // A token makes the server fetch the keys again.
            issuer.answers(Answer::Keys(vec![SigningKey::ec()]));
            assert_accepted(asked_with(&server, &SigningKey::ec().token("ada@example.com")).await);
            server.stop().await;
            let server = start(&database, &issuer, NO_SECRET).await;
            assert_eq!(ready(&server).await, (200, Some(json!(true))));
            server.stop().await;
        }
        let server = Server::start(&database).await;
        assert_eq!(ready(&server).await, (200, None));
        server.stop().await;
    }

    async fn a_token_of_an_unsupported_algorithm_is_refused_by_its_name(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec()]).await;
        let body = BASE64_URL_SAFE_NO_PAD.encode(claims_of("ada@example.com", json!({})).to_string());
        let signed = |algorithm: &str| {
            let header = json!({ "alg": algorithm, "typ": "JWT", "kid": "ec" }).to_string();
            format!("{}.{body}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode([7; 132]))
        };
        for (flags, accepted) in [(NO_SECRET, "RS, PS, ES (256 or 384) or EdDSA"), (&[][..], "HS256, RS, PS, ES")] {
            let server = start(&database, &issuer, flags).await;
            for algorithm in ["ES512", "ES256K", "HS384", "HS512", "none", "Ed448"] {
                let answer = asked_with(&server, &signed(algorithm)).await;
                refused(&answer, accepted);
                refused(&answer, &format!("not with {algorithm}."));
            }
            // Not a name.
            for algorithm in ["", "<script>", "a b", &"A".repeat(17)] {
                refused(&asked_with(&server, &signed(algorithm)).await, "This is not a token");
            }
            server.stop().await;
        }
        assert_eq!(issuer.asked(), 2);
    }

    async fn an_invalid_key_set_is_ignored(database: Database) {
        let good = Issuer::start(&[SigningKey::ec_next()]).await;
        let huge = json!({ "keys": [SigningKey::ec_next().public()], "more": "x".repeat(300_000) }).to_string();
        for wrong in [
            Answer::Text("<html>Please sign in</html>".to_owned()),
            Answer::Text("{\"keys\": 5}".to_owned()),
            Answer::Text(huge),
            Answer::Endless,
            Answer::Status(500),
            Answer::Status(404),
            Answer::Elsewhere(good.url()),
        ] {
            let issuer = Issuer::start(&[SigningKey::ec()]).await;
            let server = start(&database, &issuer, NO_SECRET).await;
            issuer.answers(wrong);
            refused(&asked_with(&server, &SigningKey::ec_next().token("ada@example.com")).await, "issuer does not publish");
            assert_eq!(issuer.asked(), 2);
            assert_accepted(asked_with(&server, &SigningKey::ec().token("ada@example.com")).await);
            server.stop().await;
        }
        assert_eq!(good.asked(), 0);
    }

    async fn a_hanging_issuer_delays_only_tokens_with_unknown_keys(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec()]).await;
        let server = start(&database, &issuer, NO_SECRET).await;
        issuer.answers(Answer::Nothing);
        let started = Instant::now();
        let waiting = tokio::spawn({
            let server = server.clone();
            async move { asked_with(&server, &SigningKey::ec_next().token("ada@example.com")).await }
        });
        while issuer.asked() < 2 {
            tokio::task::yield_now().await;
        }
        assert_accepted(asked_with(&server, &SigningKey::ec().token("ada@example.com")).await);
        assert!(!waiting.is_finished());
        refused(&waiting.await.unwrap(), "issuer does not publish");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        server.stop().await;
    }
}

// ───────────────────────────── a fresh token on an open socket ─────────────────────────────

const EVENTS: &str = "subscription($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { revision } }";

async fn project_of(owner: &Client) -> String {
    let input = json!({ "name": "Agent", "initialPrompt": "Talk.", "config": {} });
    let create = "mutation($input: CreateProjectInput!) { createProject(input: $input) { project { id } } }";
    let created = owner.gql(create, json!({ "input": input })).await.ok();
    created["createProject"]["project"]["id"].as_str().unwrap().to_owned()
}

/// Sends a `ping` with this payload, and returns the payload of the `pong`.
async fn pong(socket: &mut Socket, payload: Value) -> Value {
    socket.send(json!({ "type": "ping", "payload": payload })).await;
    loop {
        let mut message = socket.message().await;
        if message["type"] == "pong" {
            return message["payload"].take();
        }
    }
}

tests::on_both! {
    async fn a_socket_continues_with_a_fresh_token_of_its_user(server: Server) {
        let id = project_of(&server.user("ada@example.com")).await;
        let now = clock::now().timestamp();
        // Given two subscriptions whose tokens expire in three seconds,
        let short = token_with("ada@example.com", json!({ "exp": now + 3 }));
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let mut socket = server.anonymous().with_token(Some(short.clone())).greeted().await;
            socket.start("1", EVENTS, json!({ "id": id })).await;
            assert_eq!(socket.message().await["payload"]["data"]["projectEvents"]["revision"], 1);
            sockets.push(socket);
        }
        // when one client sends a fresh token, then the answer states when that one expires,
        let fresh = token_with("ada@example.com", json!({ "exp": now + 600 }));
        let said = pong(&mut sockets[0], json!({ "Authorization": format!("Bearer {fresh}") })).await;
        assert_eq!(said, json!({ "tokenExpiresAt": now + 600 }));
        // and when the other's token has expired, then the first client still receives events.
        let Frame::Close(code, reason) = sockets[1].next_within(Duration::from_secs(20)).await else { panic!("no close") };
        assert_eq!((code, reason.as_str()), (4403, "The token has expired"));
        let session = "mutation($id: ID!) { startSession(input: { projectId: $id, title: \"Talk\" }) { revision } }";
        server.user("ada@example.com").gql(session, json!({ "id": id })).await.ok();
        assert_eq!(sockets[0].message().await["payload"]["data"]["projectEvents"]["revision"], 2);
        // A fresh token can expire sooner than the previous one.
        let now = clock::now().timestamp();
        let shorter = token_with("ada@example.com", json!({ "exp": now + 1 }));
        assert_eq!(pong(&mut sockets[0], json!({ "token": shorter })).await, json!({ "tokenExpiresAt": now + 1 }));
        let Frame::Close(code, _) = sockets[0].next_within(Duration::from_secs(20)).await else { panic!("no close") };
        assert_eq!(code, 4403);
    }
}

tests::on_sqlite! {
    async fn an_unsuitable_token_changes_nothing_on_a_socket(server: Server) {
        let expires = clock::now().timestamp() + 600;
        let own = token_with("ada@example.com", json!({ "exp": expires }));
        let mut socket = server.anonymous().with_token(Some(own.clone())).greeted().await;
        let expired = token_with("ada@example.com", json!({ "exp": expires - 3_600 }));
        for (payload, code) in [
            (json!({ "token": token("bob@example.com") }), "FORBIDDEN"),
            (json!({ "token": expired }), "UNAUTHENTICATED"),
            (json!({ "token": "nonsense" }), "UNAUTHENTICATED"),
            (json!({ "token": 5 }), "UNAUTHENTICATED"),
            (json!({ "headers": { "authorization": "Basic YTpi" } }), "UNAUTHENTICATED"),
        ] {
            let said = pong(&mut socket, payload.clone()).await;
            assert_eq!(said["error"]["extensions"]["code"], code, "{payload}: {said}");
            assert_eq!(said["tokenExpiresAt"], expires);
            assert!(!said.to_string().contains(&expired));
        }
        socket.start("1", VIEWER, json!({})).await;
        assert_eq!(socket.message().await["payload"]["data"]["viewer"]["email"], "ada@example.com");

        // A socket without a user cannot get one in this way, before or after the acknowledgement.
        for mut socket in [server.anonymous().socket().await, server.anonymous().greeted().await] {
            let said = pong(&mut socket, json!({ "token": own })).await;
            let code = &said["error"]["extensions"]["code"];
            assert_eq!((&said["tokenExpiresAt"], code), (&Value::Null, &json!("UNAUTHENTICATED")));
        }
    }
}

// ───────────────────────────── rate limits ─────────────────────────────

tests::on_sqlite! {
    async fn every_transport_reports_retry_after_to_a_user_over_the_rate_limit(database: Database) {
        let server = Server::start_with(&database, &["--max-user-rate", "1"]).await;
        let ada = server.user("ada@example.com");
        let mut socket = ada.greeted().await;
        let bearer = format!("Bearer {}", ada.token().unwrap());
        let mut limited = None;
        for _ in 0..100 {
            let answer = post(&ada, &[("authorization", &bearer)], VIEWER).await;
            if answer.status != 200 {
                limited = Some(answer);
                break;
            }
        }
        let limited = limited.expect("a refusal");
        assert_eq!(limited.status, 429);
        assert!(limited.header("retry-after").parse::<u64>().unwrap() >= 1);
        let answer = limited.graphql().unwrap();
        assert_eq!(answer.error_code(), "RATE_LIMITED");
        assert!(answer.error()["message"].as_str().unwrap().contains("--max-user-rate"), "{answer:?}");

        // On an open socket the operation fails; a new socket is refused with a time to retry after.
        socket.start("1", VIEWER, json!({})).await;
        let message = socket.message().await;
        assert_eq!((&message["type"], &message["payload"][0]["extensions"]["code"]), (&json!("error"), &json!("RATE_LIMITED")));
        // A batch counts once for each operation, so ten do not fit although a single one might by now.
        let batch = json!(vec![json!({ "query": VIEWER }); 10]).to_string();
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        assert_eq!(ada.send("POST", "/graphql", &headers, batch).await.unwrap().status, 429);
        // Another user at the same address has a limit of their own.
        assert_eq!(server.user("bob@example.com").gql(VIEWER, json!({})).await.status, 200);
        drop(socket);
        server.stop().await;
    }

    async fn failed_tokens_block_their_address_but_no_signed_in_user_there(database: Database) {
        let server = Server::start_with(&database, &["--max-address-rate", "1", "--trusted-proxies", "1"]).await;
        let client = server.anonymous();
        let office = ("x-forwarded-for", "203.0.113.9, 192.0.2.1");
        let failing = [("authorization", "Bearer nonsense"), office];
        assert_eq!(post(&client, &failing, VIEWER).await.status, 401);
        let refused = post(&client, &failing, VIEWER).await;
        assert_eq!((refused.status, refused.graphql().unwrap().error_code()), (429, "RATE_LIMITED"));
        assert_eq!(post(&client, &[office], "{ __typename }").await.status, 429);
        let mut socket = Socket::connect(client.base(), "graphql-transport-ws", &[office]).await.unwrap();
        socket.send(json!({ "type": "connection_init", "payload": { "token": "nonsense" } })).await;
        let Frame::Close(code, reason) = socket.next().await else { panic!("no close") };
        assert_eq!(code, 1013, "{reason}");
        assert!(reason.contains("--max-address-rate"), "{reason}");

        let bearer = format!("Bearer {}", token("ada@example.com"));
        for _ in 0..20 {
            let answer = post(&client, &[("authorization", &bearer), office], VIEWER).await;
            assert_eq!(answer.status, 200);
        }
        let mut accepted = Socket::connect(client.base(), "graphql-transport-ws", &[office]).await.unwrap();
        accepted.greet(json!({ "Authorization": bearer })).await;
        // A value that the client itself adds to the header has no effect; another address has a limit of its own.
        let pretending = ("x-forwarded-for", "198.51.100.7, 192.0.2.1");
        assert_eq!(post(&client, &[pretending], "{ __typename }").await.status, 429);
        let elsewhere = ("x-forwarded-for", "192.0.2.2");
        assert_eq!(post(&client, &[elsewhere], "{ __typename }").await.status, 200);
        drop((socket, accepted));
        server.stop().await;
    }

    async fn the_number_of_sockets_of_a_user_is_limited(database: Database) {
        let server = Server::start_with(&database, &["--max-user-sockets", "2"]).await;
        let ada = server.user("ada@example.com");
        let (first, second) = (ada.greeted().await, ada.greeted().await);
        let mut third = ada.socket().await;
        third.send(json!({ "type": "connection_init", "payload": { "token": ada.token() } })).await;
        let Frame::Close(code, reason) = third.next().await else { panic!("no close") };
        assert_eq!(code, 1013);
        assert!(reason.contains("--max-user-sockets"), "{reason}");
        server.user("bob@example.com").greeted().await;
        // A closed socket stops counting as soon as the server notices that it is closed.
        drop(first);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let mut socket = ada.socket().await;
            socket.send(json!({ "type": "connection_init", "payload": { "token": ada.token() } })).await;
            match socket.next().await {
                Frame::Message(_) => break,
                other => assert!(Instant::now() < deadline, "{other:?}"),
            }
        }
        drop((second, third));
        server.stop().await;
    }
}

// ───────────────────────────── headers and logs ─────────────────────────────

tests::on_sqlite! {
    async fn every_response_has_the_cross_origin_headers(server: Server) {
        let client = server.anonymous();
        for path in ["/", "/graphiql/page.js", "/graphql?query=%7B__typename%7D", "/graphql", "/healthz", "/nothing"] {
            let answer = client.send("GET", path, &[("origin", "https://evil.example.com")], "").await.unwrap();
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("cross-origin-opener-policy", "same-origin"),
                ("cross-origin-resource-policy", "same-origin"),
            ] {
                assert_eq!(answer.header(name), value, "{path}");
            }
            let policy = answer.header("content-security-policy");
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            for absent in ["set-cookie", "access-control-allow-origin", "access-control-allow-credentials", "server"] {
                assert_eq!(answer.header(absent), "", "{path}");
            }
        }
        let asking = [
            ("origin", "https://evil.example.com"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        let answer = client.send("OPTIONS", "/graphql", &asking, "").await.unwrap();
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
}

tests::on_both! {
    async fn the_log_contains_no_token_secret_or_content_at_any_level(database: Database) {
        let path = std::env::temp_dir().join(format!("antiphon-log-{}", clock::new_id()));
        let log = std::fs::File::create(&path).unwrap();
        let mut server = ChildServer::start_logging(&database, &[("RUST_LOG", "debug,antiphon=trace")], log);
        let ada = server.user("ada@example.com");
        let bad = encode(&Header::default(), &claims_of("ada@example.com", json!({})), &EncodingKey::from_secret(b"another")).unwrap();
        let fresh = token_with("ada@example.com", json!({ "exp": clock::now().timestamp() + 600 }));

        // Given a user who uses HTTP and WebSocket, writes, sends invalid requests and uses invalid tokens,
        let create = "mutation($input: CreateProjectInput!) { createProject(input: $input) { project { id } } }";
        let input = json!({ "name": "Agent", "initialPrompt": "a prompt that is nobody's business", "config": {} });
        ada.gql(create, json!({ "input": input })).await.ok();
        ada.gql("{ nonsense(text: \"a literal that is nobody's business\") }", json!({})).await.error();
        ada.with_token(Some(bad.clone())).gql(VIEWER, json!({})).await.error();
        let mut socket = ada.greeted().await;
        pong(&mut socket, json!({ "token": fresh })).await;
        pong(&mut socket, json!({ "token": bad })).await;
        socket.start("1", VIEWER, json!({})).await;
        socket.message().await;
        drop(socket);
        let mut socket = ada.socket().await;
        socket.send(json!({ "type": "connection_init", "payload": { "token": bad } })).await;
        assert!(matches!(socket.next().await, Frame::Close(4403, _)));
        server.kill();

        // then the log mentions all of this, and contains none of these values.
        let log = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(log.contains("listening") && log.contains("request completed") && log.contains("socket closed by the server"), "{log}");
        let signature = |token: &str| token.rsplit_once('.').unwrap().1.to_owned();
        let secrets = [
            JWT_SECRET.to_owned(),
            signature(ada.token().unwrap()),
            signature(&bad),
            signature(&fresh),
            ada.token().unwrap().split('.').nth(1).unwrap().to_owned(),
            "nobody's business".to_owned(),
            database.url(),
        ];
        for secret in secrets.iter().filter(|secret| !secret.starts_with("sqlite:")) {
            let line = log.lines().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "{secret} is in the log: {}", line.unwrap_or_default());
        }
    }
}
