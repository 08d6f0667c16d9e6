//! Who may come in: tokens signed by an issuer's published keys, what becomes of them when the issuer rotates its keys or fails,
//! sockets that outlive their first token, how often one may ask, and what is never written down.

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
fn let_in(answer: Response) {
    assert_eq!(answer.ok()["viewer"]["email"], "ada@example.com");
}

#[track_caller]
fn refused(answer: &Response, word: &str) {
    assert_eq!((answer.status, answer.error_code()), (401, "UNAUTHENTICATED"), "{answer:?}");
    let message = answer.error()["message"].as_str().unwrap();
    assert!(message.contains(word), "{message}");
}

/// A request with headers of the test's own, its operation `VIEWER` if nothing else.
async fn post(client: &Client, headers: &[(&str, &str)], query: &str) -> Raw {
    let headers = [&[("content-type", "application/json")], headers].concat();
    client.send("POST", "/graphql", &headers, json!({ "query": query }).to_string()).await.unwrap()
}

// ───────────────────────────── published keys ─────────────────────────────

tests::on_sqlite! {
    async fn tokens_of_each_kind_of_published_key_hold(database: Database) {
        let keys = [SigningKey::rsa(), SigningKey::ec(), SigningKey::ed()];
        let issuer = Issuer::start(&keys).await;
        let server = start(&database, &issuer, NO_SECRET).await;
        for key in &keys {
            let_in(asked_with(&server, &key.token("ada@example.com")).await);
            // A token need not name its key.
            let unnamed = key.sign(&Header::new(key.algorithm), &claims_of("ada@example.com", json!({})));
            let_in(asked_with(&server, &unnamed).await);
        }
        let mut socket = server.anonymous().with_token(Some(keys[1].token("ada@example.com"))).greeted().await;
        socket.start("1", VIEWER, json!({})).await;
        assert_eq!(socket.message().await["payload"]["data"]["viewer"]["email"], "ada@example.com");
        assert_eq!(issuer.asked(), 1);
        // Nobody has a secret, so no token signed with one holds, not even one that the issuer might have published.
        refused(&asked_with(&server, &token("ada@example.com")).await, "RS, PS, ES (256 or 384) or EdDSA");
        server.stop().await;
    }

    async fn a_secret_and_published_keys_hold_side_by_side(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec()]).await;
        let server = start(&database, &issuer, &[]).await;
        let_in(asked_with(&server, &token("ada@example.com")).await);
        let_in(asked_with(&server, &SigningKey::ec().token("ada@example.com")).await);
        server.stop().await;
    }

    async fn the_claims_of_a_token_by_a_published_key_are_checked_as_any(database: Database) {
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
        let_in(asked_with(&server, &signed(json!({}))).await);
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

    async fn a_key_verifies_its_own_algorithm_and_nothing_in_a_token_changes_that(database: Database) {
        let keys = [SigningKey::rsa(), SigningKey::ec(), SigningKey::ed()];
        let issuer = Issuer::start(&keys).await;
        let server = start(&database, &issuer, &[]).await;
        let claims = claims_of("ada@example.com", json!({}));
        let mut forged = Vec::new();
        for key in &keys {
            // The public half as the secret of an HS256 token, as a library that trusts the header would take it.
            let public = key.public();
            for field in ["n", "x"] {
                let Some(text) = public[field].as_str() else { continue };
                for secret in [text.as_bytes().to_vec(), BASE64_URL_SAFE_NO_PAD.decode(text).unwrap(), public.to_string().into_bytes()] {
                    let header = Header { kid: Some(key.id.to_owned()), ..Header::new(Algorithm::HS256) };
                    forged.push(encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap());
                }
            }
            // The name of one key over the signature of another.
            for other in keys.iter().filter(|other| other.id != key.id) {
                let header = Header { kid: Some(key.id.to_owned()), ..Header::new(other.algorithm) };
                forged.push(other.sign(&header, &claims));
            }
        }
        // A key that the token brings along, or says where to find.
        let stranger = SigningKey::ec_next();
        let jwk: Jwk = serde_json::from_value(stranger.public()).unwrap();
        let brought = Header { jwk: Some(jwk), kid: Some("ec".to_owned()), ..Header::new(Algorithm::ES256) };
        let elsewhere = Issuer::start(std::slice::from_ref(&stranger)).await;
        let said = Header { jku: Some(elsewhere.url()), ..Header::new(Algorithm::ES256) };
        forged.extend([stranger.sign(&brought, &claims), stranger.sign(&said, &claims)]);
        // Rules that this server does not know.
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
        let_in(asked_with(&server, &genuine).await);
        server.stop().await;
    }

    async fn a_new_key_holds_at_once_and_a_withdrawn_one_no_more(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec()]).await;
        let server = start(&database, &issuer, NO_SECRET).await;
        let token = SigningKey::ec().token("ada@example.com");
        let_in(asked_with(&server, &token).await);
        issuer.answers(Answer::Keys(vec![SigningKey::ec_next()]));
        let_in(asked_with(&server, &SigningKey::ec_next().token("ada@example.com")).await);
        refused(&asked_with(&server, &token).await, "issuer does not publish");
        // Once at the start, and once for each token whose key was not there.
        assert_eq!(issuer.asked(), 3);
        server.stop().await;
    }

    async fn unknown_keys_in_any_number_ask_the_issuer_a_few_times(database: Database) {
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
        // Three at once, and one more for each ten seconds that this may have taken; and one at the start.
        assert!((2..=6).contains(&issuer.asked()), "{}", issuer.asked());
        let_in(asked_with(&server, &SigningKey::ec().token("ada@example.com")).await);
        server.stop().await;
    }

    async fn an_issuer_that_is_down_stops_nobody_who_holds_a_token(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec()]).await;
        let server = start(&database, &issuer, NO_SECRET).await;
        issuer.stop().await;
        refused(&asked_with(&server, &SigningKey::ec_next().token("ada@example.com")).await, "issuer does not publish");
        let_in(asked_with(&server, &SigningKey::ec().token("ada@example.com")).await);
        server.stop().await;
    }

    async fn a_server_starts_without_its_issuer_and_says_to_come_again(database: Database) {
        let issuer = Issuer::start(&[]).await;
        let url = issuer.url();
        let address = issuer.stop().await;
        let server = Server::start_with(&database, &["--jwt-jwks-url", &url]).await;
        // The secret needs no issuer.
        let_in(asked_with(&server, &token("ada@example.com")).await);
        let token = SigningKey::ec().token("ada@example.com");
        let bearer = format!("Bearer {token}");
        let answer = post(&server.anonymous(), &[("authorization", &bearer)], VIEWER).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "10"));
        let response = answer.graphql().unwrap();
        assert_eq!((response.error_code(), &response.error()["extensions"][""]), ("RATE_LIMITED", &json!(10)));
        assert!(text(&response.error()["message"]).contains("keys of its issuer"), "{response:?}");
        let mut socket = server.anonymous().socket().await;
        socket.send(json!({ "type": "connection_init", "payload": { "token": token } })).await;
        let Frame::Close(code, _) = socket.next().await else { panic!("no close") };
        assert_eq!(code, 1013);

        let _issuer = Issuer::start_at(address, &[SigningKey::ec()]).await;
        let_in(asked_with(&server, &token).await);
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
            let_in(asked_with(&server, &token("ada@example.com")).await);
            // A token makes the server fetch the keys again.
            issuer.answers(Answer::Keys(vec![SigningKey::ec()]));
            let_in(asked_with(&server, &SigningKey::ec().token("ada@example.com")).await);
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

    async fn what_is_no_key_set_changes_nothing(database: Database) {
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
            let_in(asked_with(&server, &SigningKey::ec().token("ada@example.com")).await);
            server.stop().await;
        }
        assert_eq!(good.asked(), 0);
    }

    async fn an_issuer_that_does_not_answer_holds_up_only_who_needs_it(database: Database) {
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
        let_in(asked_with(&server, &SigningKey::ec().token("ada@example.com")).await);
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

/// The payload of the `pong` to a `ping` with that one.
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
    async fn a_socket_goes_on_with_a_fresh_token_of_its_user(server: Server) {
        let id = project_of(&server.user("ada@example.com")).await;
        let now = clock::now().timestamp();
        // Given a listener whose token ends in three seconds, and another that will let it,
        let short = token_with("ada@example.com", json!({ "exp": now + 3 }));
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let mut socket = server.anonymous().with_token(Some(short.clone())).greeted().await;
            socket.start("1", EVENTS, json!({ "id": id })).await;
            assert_eq!(socket.message().await["payload"]["data"]["projectEvents"]["revision"], 1);
            sockets.push(socket);
        }
        // when the one says a fresh token, then the answer says when that ends,
        let fresh = token_with("ada@example.com", json!({ "exp": now + 600 }));
        let said = pong(&mut sockets[0], json!({ "Authorization": format!("Bearer {fresh}") })).await;
        assert_eq!(said, json!({ "tokenExpiresAt": now + 600 }));
        // and when the other's has ended, then the first still hears what is written.
        let Frame::Close(code, reason) = sockets[1].next_within(Duration::from_secs(20)).await else { panic!("no close") };
        assert_eq!((code, reason.as_str()), (4403, "The token has expired"));
        let session = "mutation($id: ID!) { startSession(input: { projectId: $id, title: \"Talk\" }) { revision } }";
        server.user("ada@example.com").gql(session, json!({ "id": id })).await.ok();
        assert_eq!(sockets[0].message().await["payload"]["data"]["projectEvents"]["revision"], 2);
        // A fresh token may end sooner than the one before it.
        let now = clock::now().timestamp();
        let shorter = token_with("ada@example.com", json!({ "exp": now + 1 }));
        assert_eq!(pong(&mut sockets[0], json!({ "token": shorter })).await, json!({ "tokenExpiresAt": now + 1 }));
        let Frame::Close(code, _) = sockets[0].next_within(Duration::from_secs(20)).await else { panic!("no close") };
        assert_eq!(code, 4403);
    }
}

tests::on_sqlite! {
    async fn a_token_that_does_not_fit_changes_nothing_on_a_socket(server: Server) {
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

        // A socket without a user gets none in this way, before or after it is acknowledged.
        for mut socket in [server.anonymous().socket().await, server.anonymous().greeted().await] {
            let said = pong(&mut socket, json!({ "token": own })).await;
            let code = &said["error"]["extensions"]["code"];
            assert_eq!((&said["tokenExpiresAt"], code), (&Value::Null, &json!("UNAUTHENTICATED")));
        }
    }
}

// ───────────────────────────── how often ─────────────────────────────

tests::on_sqlite! {
    async fn a_user_who_asks_too_often_is_told_when_to_come_again_by_every_door(database: Database) {
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

        // On a socket that is open it is the operation that fails; a new one is told to try again.
        socket.start("1", VIEWER, json!({})).await;
        let message = socket.message().await;
        assert_eq!((&message["type"], &message["payload"][0]["extensions"]["code"]), (&json!("error"), &json!("RATE_LIMITED")));
        // A batch counts for each of its operations, so ten do not fit where one might again by now.
        let batch = json!(vec![json!({ "query": VIEWER }); 10]).to_string();
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        assert_eq!(ada.send("POST", "/graphql", &headers, batch).await.unwrap().status, 429);
        // Somebody else at the same address is somebody else.
        assert_eq!(server.user("bob@example.com").gql(VIEWER, json!({})).await.status, 200);
        server.stop().await;
    }

    async fn failed_tokens_shut_out_their_address_and_nobody_who_is_signed_in_there(database: Database) {
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
        let mut socket = Socket::connect(client.base(), "graphql-transport-ws", &[office]).await.unwrap();
        socket.greet(json!({ "Authorization": bearer })).await;
        // What the client wrote into the header itself makes it nobody else, and another address is another.
        let pretending = ("x-forwarded-for", "198.51.100.7, 192.0.2.1");
        assert_eq!(post(&client, &[pretending], "{ __typename }").await.status, 429);
        let elsewhere = ("x-forwarded-for", "192.0.2.2");
        assert_eq!(post(&client, &[elsewhere], "{ __typename }").await.status, 200);
        server.stop().await;
    }

    async fn a_user_may_have_so_many_sockets(database: Database) {
        let server = Server::start_with(&database, &["--max-user-sockets", "2"]).await;
        let ada = server.user("ada@example.com");
        let (first, _second) = (ada.greeted().await, ada.greeted().await);
        let mut third = ada.socket().await;
        third.send(json!({ "type": "connection_init", "payload": { "token": ada.token() } })).await;
        let Frame::Close(code, reason) = third.next().await else { panic!("no close") };
        assert_eq!(code, 1013);
        assert!(reason.contains("--max-user-sockets"), "{reason}");
        server.user("bob@example.com").greeted().await;
        // The place of one that has gone is free as soon as the server has noticed.
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
        server.stop().await;
    }
}

// ───────────────────────────── what is said and written down ─────────────────────────────

tests::on_sqlite! {
    async fn every_answer_has_the_headers_that_keep_pages_apart(server: Server) {
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
    async fn no_token_secret_or_content_is_in_the_log_however_much_is_logged(database: Database) {
        let path = std::env::temp_dir().join(format!("antiphon-log-{}", clock::new_id()));
        let log = std::fs::File::create(&path).unwrap();
        let mut server = ChildServer::start_logging(&database, &[("RUST_LOG", "debug,antiphon=trace")], log);
        let ada = server.user("ada@example.com");
        let bad = encode(&Header::default(), &claims_of("ada@example.com", json!({})), &EncodingKey::from_secret(b"another")).unwrap();
        let fresh = token_with("ada@example.com", json!({ "exp": clock::now().timestamp() + 600 }));

        // Given a user who signs in by both doors, writes, asks wrongly, and comes with tokens that do not hold,
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

        // then the log tells of all that, and has none of these in it.
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
