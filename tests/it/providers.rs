//! Given tokens of each sign-in provider, as its documentation shows them, and the settings for it, when their user
//! sends a request, then it is accepted, always as the same user, with the profile that the token describes.

use antiphon::model::clock;
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use tests::{
    client::{Client, Response},
    database::Database,
    issuer::{Issuer, SigningKey},
    project::text,
    server::{NO_SECRET, Server, token_with, user_id},
};

/// Longest address of a picture that the schema allows, in bytes.
const MAX_AVATAR_URL_BYTES: usize = 128 * 1024;

/// An address of this length in bytes.
fn address(bytes: usize) -> String {
    let start = "https://a/";
    format!("{start}{}", "x".repeat(bytes - start.len()))
}

const VIEWER: &str = "{ viewer { id email fullName avatarUrl } }";

struct Provider {
    name: &'static str,
    key: SigningKey,
    flags: &'static [&'static str],
    claims: Value,
    /// The user's id, if the token contains it.
    id: Option<&'static str>,
    email: Option<&'static str>,
    full_name: Option<&'static str>,
    avatar_url: Option<&'static str>,
}

const UUID: &str = "0b71a1a2-9f3d-4c0c-8f0a-6f7b8c9d0e1f";
const ADA: &str = "ada@example.com";

fn providers() -> Vec<Provider> {
    vec![
        Provider {
            name: "Supabase",
            key: SigningKey::ec(),
            flags: &["--jwt-issuer", "https://p.supabase.co/auth/v1"],
            claims: json!({ "iss": "https://p.supabase.co/auth/v1", "sub": UUID, "aud": "authenticated", "role": "authenticated", "email": ADA,
                "phone": "", "aal": "aal1", "session_id": UUID, "is_anonymous": false, "app_metadata": { "provider": "google" },
                "amr": [{ "method": "oauth", "timestamp": 1 }], "user_metadata": { "avatar_url": "https://a/1.png", "email": ADA,
                "email_verified": true, "full_name": "Ada Lovelace", "name": "Ada", "picture": "https://a/2.png", "sub": "117" } }),
            id: Some(UUID),
            email: Some(ADA),
            full_name: Some("Ada Lovelace"),
            avatar_url: Some("https://a/2.png"),
        },
        Provider {
            name: "Clerk, a default session token",
            key: SigningKey::rsa(),
            flags: &["--jwt-issuer", "https://clerk.example.com", "--jwt-audience", "https://ide.example.com"],
            claims: json!({ "azp": "https://ide.example.com", "fva": [0, -1], "iss": "https://clerk.example.com", "sid": "sess_2abc", "sts": "active",
                "sub": "user_2NNEqL2nrIRdJ194ndJqAHwEfxC", "v": 2, "o": { "id": "org_1", "rol": "admin", "slg": "x" } }),
            id: None,
            email: None,
            full_name: None,
            avatar_url: None,
        },
        Provider {
            name: "Clerk, with custom claims and a custom role",
            key: SigningKey::rsa(),
            flags: &["--jwt-any-audience", "--jwt-roles", "member,admin"],
            claims: json!({ "iss": "https://x.clerk.accounts.dev", "sub": "user_2NNEqL2nrIRdJ194ndJqAHwEfxC", "role": "admin", "email": ADA,
                "email_verified": "true", "name": "Ada Lovelace", "picture": "https://img.clerk.com/a" }),
            id: None,
            email: Some(ADA),
            full_name: Some("Ada Lovelace"),
            avatar_url: Some("https://img.clerk.com/a"),
        },
        Provider {
            name: "Auth0",
            key: SigningKey::rsa().by(Algorithm::PS256),
            flags: &["--jwt-issuer", "https://tenant.eu.auth0.com/", "--jwt-audience", "https://api.example.com"],
            claims: json!({ "iss": "https://tenant.eu.auth0.com/", "sub": "auth0|5f7c8ec7c33c6c004bbafe82", "scope": "openid profile email",
                "aud": ["https://api.example.com", "https://tenant.eu.auth0.com/userinfo"], "azp": "my_client_id", "nickname": "ada",
                "given_name": "Ada", "family_name": "Lovelace", "name": "Ada Lovelace", "picture": "https://s.gravatar.com/a", "email": ADA,
                "email_verified": true, "updated_at": "2026-01-01T00:00:00.000Z" }),
            id: None,
            email: Some(ADA),
            full_name: Some("Ada Lovelace"),
            avatar_url: Some("https://s.gravatar.com/a"),
        },
        Provider {
            name: "Firebase",
            key: SigningKey::rsa(),
            flags: &["--jwt-issuer", "https://securetoken.google.com/voice-ide", "--jwt-audience", "voice-ide"],
            claims: json!({ "name": "Ada Lovelace", "picture": "https://lh3.googleusercontent.com/a", "iss": "https://securetoken.google.com/voice-ide",
                "aud": "voice-ide", "auth_time": 1, "user_id": "Zx1yWvU2tSrQpOnMlKjIhGfEdCb1", "sub": "Zx1yWvU2tSrQpOnMlKjIhGfEdCb1",
                "email": ADA, "email_verified": true,
                "firebase": { "identities": { "google.com": ["117"], "email": [ADA] }, "sign_in_provider": "google.com" } }),
            id: None,
            email: Some(ADA),
            full_name: Some("Ada Lovelace"),
            avatar_url: Some("https://lh3.googleusercontent.com/a"),
        },
        Provider {
            name: "Cognito, an ID token",
            key: SigningKey::rsa(),
            flags: &[
                "--jwt-issuer",
                "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab12",
                "--jwt-audience",
                "4lq8n1example",
            ],
            claims: json!({ "sub": UUID, "email_verified": true, "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab12",
                "cognito:username": UUID, "cognito:groups": ["editors"], "given_name": "Ada", "family_name": "Lovelace", "aud": "4lq8n1example",
                "event_id": UUID, "token_use": "id", "auth_time": 1, "origin_jti": UUID, "jti": UUID, "email": ADA }),
            id: Some(UUID),
            email: Some(ADA),
            full_name: Some("Ada Lovelace"),
            avatar_url: None,
        },
        Provider {
            name: "Cognito, an access token",
            key: SigningKey::rsa(),
            flags: &[
                "--jwt-issuer",
                "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab12",
                "--jwt-audience",
                "4lq8n1example",
            ],
            claims: json!({ "sub": UUID, "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab12", "client_id": "4lq8n1example",
                "version": 2, "origin_jti": UUID, "event_id": UUID, "token_use": "access", "scope": "openid", "auth_time": 1, "jti": UUID,
                "username": "ada" }),
            id: Some(UUID),
            email: None,
            full_name: None,
            avatar_url: None,
        },
        Provider {
            name: "Keycloak",
            key: SigningKey::ec_384(),
            flags: &["--jwt-issuer", "https://sso.example.com/realms/ide", "--jwt-audience", "account"],
            claims: json!({ "jti": UUID, "iss": "https://sso.example.com/realms/ide", "aud": "account", "sub": UUID, "typ": "Bearer", "azp": "ide",
                "sid": UUID, "acr": "1", "allowed-origins": ["https://ide.example.com"], "realm_access": { "roles": ["offline_access"] },
                "scope": "openid email profile", "email_verified": false, "name": "Ada Lovelace", "preferred_username": "ada",
                "given_name": "Ada", "family_name": "Lovelace", "email": ADA }),
            id: Some(UUID),
            email: Some(ADA),
            full_name: Some("Ada Lovelace"),
            avatar_url: None,
        },
        Provider {
            name: "WorkOS",
            key: SigningKey::rsa(),
            flags: &[
                "--jwt-issuer",
                "https://api.workos.com,https://api.workos.com/user_management/client_01",
                "--jwt-any-audience",
                "--jwt-roles",
                "*",
            ],
            claims: json!({ "iss": "https://api.workos.com", "sub": "user_01HBEQKA6K4QJAS93VPE39W1JT", "sid": "session_01",
                "jti": "01", "org_id": "org_01", "role": "member", "roles": ["member"], "permissions": ["posts:read"] }),
            id: None,
            email: None,
            full_name: None,
            avatar_url: None,
        },
    ]
}

fn sign(key: &SigningKey, claims: &Value) -> String {
    let now = clock::now().timestamp();
    let mut all = json!({ "iat": now, "nbf": now, "exp": now + 3600 });
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    key.sign(&Header { kid: Some(key.id.to_owned()), ..Header::new(key.algorithm) }, &all)
}

async fn asked(server: &Server, token: &str) -> Response {
    server.anonymous().with_token(Some(token.to_owned())).gql(VIEWER, json!({})).await
}

async fn start(database: &Database, issuer: &Issuer, flags: &[&str]) -> Server {
    Server::start_with(database, &[&["--jwt-jwks-url", &issuer.url()], NO_SECRET, flags].concat()).await
}

/// The profile of the viewer, once it is stored.
async fn profile(client: &Client) -> Value {
    client.gql(VIEWER, json!({})).await.ok()["viewer"].clone()
}

tests::on_both! {
    async fn users_of_every_provider_are_accepted(database: Database) {
        let mut ids = Vec::new();
        for provider in providers() {
            let issuer = Issuer::start(std::slice::from_ref(&provider.key)).await;
            let server = start(&database, &issuer, provider.flags).await;
            let viewer = asked(&server, &sign(&provider.key, &provider.claims)).await.data();
            let viewer = viewer.unwrap_or_else(|error| panic!("{}: {error:#}", provider.name))["viewer"].clone();
            if let Some(id) = provider.id {
                assert_eq!(viewer["id"], id, "{}", provider.name);
            }
            // Several providers here use the same id, and a claim that a token lacks keeps the value from another
            // token.
            if provider.id.is_none() || provider.full_name.is_some() {
                let expected = json!([provider.email, provider.full_name, provider.avatar_url]);
                let found = json!([viewer["email"], viewer["fullName"], viewer["avatarUrl"]]);
                let named = provider.avatar_url.is_some() || provider.id.is_none();
                assert_eq!(if named { found } else { json!([found[0], found[1], null]) }, expected, "{}", provider.name);
            }
            // Another token of the same user gives the same user; another user's token gives another.
            let mut other = provider.claims.clone();
            other["jti"] = json!("another");
            assert_eq!(asked(&server, &sign(&provider.key, &other)).await.ok()["viewer"]["id"], viewer["id"], "{}", provider.name);
            other["sub"] = json!("somebody else");
            assert_ne!(asked(&server, &sign(&provider.key, &other)).await.ok()["viewer"]["id"], viewer["id"], "{}", provider.name);
            ids.push((provider.claims["iss"].clone(), provider.claims["sub"].clone(), viewer["id"].clone()));
            server.stop().await;
        }
        // The same subject of another issuer is another user.
        let clerk: Vec<_> = ids.iter().filter(|(_, sub, _)| sub == "user_2NNEqL2nrIRdJ194ndJqAHwEfxC").collect();
        assert_eq!(clerk.len(), 2);
        assert_ne!(clerk[0].2, clerk[1].2);
    }

    async fn a_profile_follows_its_token_except_for_fields_that_the_user_has_set(database: Database) {
        let server = Server::start(&database).await;
        let now = clock::now().timestamp();
        let with = |minutes: i64, email: &str, metadata: Value| {
            let claims = json!({ "sub": user_id("ada@example.com"), "iat": now + 60 * minutes, "email": email, "user_metadata": metadata });
            server.anonymous().with_token(Some(token_with("ada@example.com", claims)))
        };
        let shown = |viewer: Value| [viewer["email"].clone(), viewer["fullName"].clone(), viewer["avatarUrl"].clone()];
        let first = with(-50, "ada@example.com", json!({}));
        assert_eq!(shown(profile(&first).await), [json!("ada@example.com"), json!("ada@example.com"), Value::Null]);
        // An address that replaces a missing name changes with the address.
        let moved = with(-40, "ada@new.example", json!({}));
        assert_eq!(shown(profile(&moved).await), [json!("ada@new.example"), json!("ada@new.example"), Value::Null]);
        let named = with(-30, "ada@new.example", json!({ "full_name": "Ada", "avatar_url": "https://a/1" }));
        assert_eq!(shown(profile(&named).await), ["ada@new.example", "Ada", "https://a/1"].map(|text| json!(text)));
        // An older token, or one without the claim, changes nothing.
        assert_eq!(shown(profile(&first).await), ["ada@new.example", "Ada", "https://a/1"].map(|text| json!(text)));
        let silent = with(-20, "ada@new.example", json!({}));
        assert_eq!(shown(profile(&silent).await), ["ada@new.example", "Ada", "https://a/1"].map(|text| json!(text)));
        let married = with(-10, "ada@new.example", json!({ "full_name": "Ada Lovelace", "avatar_url": "https://a/2" }));
        assert_eq!(shown(profile(&married).await), ["ada@new.example", "Ada Lovelace", "https://a/2"].map(|text| json!(text)));

        married.mutate("updateProfile", json!({ "fullName": "The Countess" }), "fullName").await.ok();
        let newest = with(-5, "ada@newest.example", json!({ "full_name": "Ada King", "avatar_url": "https://a/3" }));
        assert_eq!(shown(profile(&newest).await), ["ada@newest.example", "The Countess", "https://a/3"].map(|text| json!(text)));
        newest.mutate("updateProfile", json!({ "avatarUrl": "https://mine" }), "fullName").await.ok();
        let last = with(-1, "ada@newest.example", json!({ "full_name": "Ada", "avatar_url": "https://a/4" }));
        assert_eq!(shown(profile(&last).await), ["ada@newest.example", "The Countess", "https://mine"].map(|text| json!(text)));
        server.stop().await;
        // The same on another server, which has seen none of these tokens.
        let server = Server::start(&database).await;
        let again = server.anonymous().with_token(first.token().map(str::to_owned));
        assert_eq!(shown(profile(&again).await), ["ada@newest.example", "The Countess", "https://mine"].map(|text| json!(text)));
        // A small picture can be in the address itself; a long address is refused.
        let picture = format!("data:image/png;base64,{}", "A".repeat(64 * 1024 / 3 * 4 + 4));
        let stored = again.mutate("updateProfile", json!({ "avatarUrl": picture }), "avatarUrl").await.ok();
        assert_eq!(stored["updateProfile"]["avatarUrl"], picture);
        let refused = again.mutate("updateProfile", json!({ "avatarUrl": address(MAX_AVATAR_URL_BYTES + 1) }), "avatarUrl").await;
        assert_eq!((refused.error_code(), refused.field()), ("PAYLOAD_TOO_LARGE", "avatarUrl"));
        // Fields that the user has removed stay empty.
        let removed = again.mutate("updateProfile", json!({ "fullName": null, "avatarUrl": null }), "fullName avatarUrl").await.ok();
        assert_eq!(removed["updateProfile"], json!({ "fullName": null, "avatarUrl": null }));
        let later = json!({ "sub": user_id("ada@example.com"), "iat": now, "email": "ada@newest.example",
            "user_metadata": { "full_name": "Ada", "avatar_url": "https://a/5" } });
        let later = server.anonymous().with_token(Some(token_with("ada@example.com", later)));
        assert_eq!(shown(profile(&later).await), [json!("ada@newest.example"), Value::Null, Value::Null]);
        server.stop().await;
    }

    async fn a_token_without_a_time_is_followed_and_sets_none(server: Server) {
        let now = clock::now().timestamp();
        let with = |minutes: Option<i64>, user: &str, email: &str| {
            let issued = minutes.map(|minutes| now + 60 * minutes);
            let mut claims = json!({ "sub": user_id(user), "email": email });
            if let Some(issued) = issued {
                claims["iat"] = json!(issued);
            }
            server.anonymous().with_token(Some(token_with(user, claims)))
        };
        let order = [
            (Some(-100), "a@example.com", "a@example.com"),
            (Some(-50), "b@example.com", "b@example.com"),
            (None, "n@example.com", "n@example.com"),
            (Some(-50), "b@example.com", "b@example.com"),
            (Some(-100), "a@example.com", "b@example.com"),
        ];
        for (minutes, email, expected) in order {
            assert_eq!(profile(&with(minutes, "ada@example.com", email)).await["email"], expected, "{minutes:?}");
        }
        for (minutes, email, expected) in [(None, "n2@example.com", "n2@example.com"), (Some(-100), "old@example.com", "old@example.com")] {
            assert_eq!(profile(&with(minutes, "bob@example.com", email)).await["email"], expected, "{minutes:?}");
        }
    }

    async fn invalid_values_are_removed_from_claims(server: Server) {
        for (email, metadata, expected) in [
            ("nul@example.com", json!({ "full_name": "A\u{0}da", "avatar_url": "https://a/\u{0}1" }), json!(["nul@example.com", "Ada", "https://a/1"])),
            ("lines@example.com", json!({ "full_name": " A\r\nda\t\u{7f}\u{85} " }), json!(["lines@example.com", "Ada", null])),
            ("none@example.com", json!({ "full_name": "\u{0}\u{1} ", "name": "Ada\u{fffe}\u{ffff}" }), json!(["none@example.com", "Ada", null])),
            ("long@example.com", json!({ "full_name": "x".repeat(2_000) }), json!(["long@example.com", "x".repeat(1_000), null])),
            ("url@example.com", json!({ "avatar_url": address(10_000) }), json!(["url@example.com", "url@example.com", address(10_000)])),
            ("shape@example.com", json!({ "full_name": ["Ada"], "avatar_url": 5 }), json!(["shape@example.com", "shape@example.com", null])),
            ("text@example.com", json!("Ada"), json!(["text@example.com", "text@example.com", null])),
        ] {
            let client = server.anonymous().with_token(Some(token_with(email, json!({ "user_metadata": metadata }))));
            for _ in 0..2 {
                let viewer = profile(&client).await;
                assert_eq!(json!([viewer["email"], viewer["fullName"], viewer["avatarUrl"]]), expected, "{email}");
            }
        }
        let odd = token_with("odd@example.com", json!({ "email": "o\u{0}dd@example.com", "email_verified": true, "sub": "o\u{0}dd|1" }));
        let viewer = profile(&server.anonymous().with_token(Some(odd))).await;
        assert_eq!((&viewer["email"], text(&viewer["id"]).len()), (&Value::Null, 36));
    }
}

tests::on_sqlite! {
    async fn every_algorithm_with_a_published_key_is_accepted(database: Database) {
        let rsa = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
        let keys = rsa.map(|algorithm| SigningKey::rsa().by(algorithm)).into_iter();
        for key in keys.chain([SigningKey::ec(), SigningKey::ec_384(), SigningKey::ed()]) {
            let issuer = Issuer::start(std::slice::from_ref(&key)).await;
            let server = start(&database, &issuer, &[]).await;
            assert_eq!(asked(&server, &key.token("ada@example.com")).await.ok()["viewer"]["email"], "ada@example.com", "{:?}", key.algorithm);
            if key.id == "rsa" {
                // The key determines its algorithm.
                let other = if key.algorithm == Algorithm::RS256 { Algorithm::PS256 } else { Algorithm::RS256 };
                let forged = asked(&server, &key.clone().by(other).token("ada@example.com")).await;
                assert_eq!(forged.error_code(), "UNAUTHENTICATED", "{:?}", key.algorithm);
            }
            server.stop().await;
        }
    }

    async fn keys_of_one_issuer_are_not_valid_for_another(database: Database) {
        let (one, other) = (Issuer::start(&[SigningKey::ec()]).await, Issuer::start(&[SigningKey::ed()]).await);
        let urls = format!("{},{}", one.url(), other.url());
        let flags = ["--jwt-jwks-url", &urls, "--jwt-issuer", "https://one.example,https://other.example"];
        let server = Server::start_with(&database, &[&flags[..], NO_SECRET].concat()).await;
        for (key, issuer, holds) in [
            (SigningKey::ec(), "https://one.example", true),
            (SigningKey::ed(), "https://other.example", true),
            (SigningKey::ec(), "https://other.example", false),
            (SigningKey::ed(), "https://one.example", false),
            (SigningKey::ec(), "https://third.example", false),
        ] {
            let token = sign(&key, &json!({ "iss": issuer, "sub": "ada|1", "aud": "authenticated" }));
            let answer = asked(&server, &token).await;
            assert_eq!(answer.errors.is_empty(), holds, "{issuer}: {answer:?}");
        }
        server.stop().await;
    }

    async fn audience_and_roles_are_checked_unless_turned_off(database: Database) {
        let key = SigningKey::ec();
        let issuer = Issuer::start(std::slice::from_ref(&key)).await;
        for (flags, claims, holds) in [
            (&[][..], json!({}), false),
            (&[], json!({ "aud": "authenticated" }), true),
            (&[], json!({ "aud": "authenticated", "role": "editor" }), false),
            (&["--jwt-audience", "a,b"], json!({ "aud": ["c", "b"] }), true),
            (&["--jwt-audience", "a,b"], json!({ "aud": "c", "azp": "a" }), false),
            (&["--jwt-audience", "a,b"], json!({ "azp": "a" }), true),
            (&["--jwt-audience", "a,b"], json!({ "client_id": "b" }), true),
            (&["--jwt-any-audience"], json!({}), true),
            (&["--jwt-any-audience"], json!({ "aud": "anything" }), true),
            (&["--jwt-any-audience", "--jwt-roles", "editor,owner"], json!({ "role": "owner" }), true),
            (&["--jwt-any-audience", "--jwt-roles", "editor,owner"], json!({ "role": "authenticated" }), false),
            (&["--jwt-any-audience", "--jwt-roles", "*"], json!({ "role": "whatever" }), true),
            (&["--jwt-any-audience", "--jwt-roles", "*"], json!({ "role": ["one", "two"] }), true),
            (&["--jwt-any-audience", "--jwt-roles", "*"], json!({ "role": "anon" }), false),
            (&["--jwt-any-audience", "--jwt-roles", "*"], json!({ "role": "service_role" }), false),
            (&["--jwt-audience", "", "--jwt-roles", "", "--jwt-issuer", ""], json!({ "aud": "authenticated", "role": "authenticated" }), true),
        ] {
            let server = start(&database, &issuer, flags).await;
            let mut all = json!({ "iss": "https://x.example", "sub": "ada|1" });
            for (name, value) in claims.as_object().unwrap() {
                all[name] = value.clone();
            }
            let answer = asked(&server, &sign(&key, &all)).await;
            assert_eq!(answer.errors.is_empty(), holds, "{flags:?} {claims}: {answer:?}");
            server.stop().await;
        }
    }
}
