//! Given a server, when an operator asks how it does, then it says so: alive, ready, what it has done, and why it cannot start.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    sync::mpsc,
    thread,
    time::Duration,
};

use antiphon::{config::Cli, doctor};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::{
    database::{Database, Kind},
    issuer::{Answer, Issuer, SigningKey},
    project::Project,
    server::{ChildServer, NO_SECRET, Server, settings},
};
use tokio::sync::oneshot;

const METRICS: [&str; 2] = ["--metrics-listen", "127.0.0.1:0"];

async fn ready(client: &tests::client::Client) -> (u16, Value) {
    let answer = client.send("GET", "/readyz", &[], "").await.unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// Waits until the server says that of itself.
async fn said_within_time(client: &tests::client::Client, expected: (u16, Value)) {
    let asked = async {
        loop {
            let said = ready(client).await;
            if said == expected {
                return;
            }
            // For as long as an answer holds.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), asked).await.is_err() {
        assert_eq!(ready(client).await, expected);
    }
}

/// The value of a time series, by how its line starts; 0 where there is none.
async fn metric(server: &Server, series: &str) -> f64 {
    let answer = server.operator().send("GET", "/metrics", &[], "").await.unwrap();
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

tests::on_both! {
    async fn a_server_that_is_ready_says_so_part_by_part(server: Server) {
        let anonymous = server.anonymous();
        let alive = anonymous.send("GET", "/healthz", &[], "").await.unwrap();
        assert_eq!((alive.status, &alive.body[..]), (200, &b"ok\n"[..]));
        let is_alone = server.database().file().is_some();
        let names: &[&str] = if is_alone { &["database", "migrations", "server"] } else { &["database", "migrations", "bus", "server"] };
        let parts: Vec<_> = names.iter().map(|name| json!({ "name": name, "ready": true })).collect();
        // The bus comes a little later than the server.
        said_within_time(&anonymous, (200, json!({ "ready": true, "readOnly": false, "parts": parts }))).await;
    }

    async fn a_database_that_is_not_migrated_is_named_and_nothing_of_it_told(server: Server) {
        server.database().execute("DELETE FROM seaql_migrations").await;
        let (status, said) = ready(&server.anonymous()).await;
        assert_eq!((status, &said["ready"], &said["parts"][0]["ready"]), (503, &json!(false), &json!(true)));
        let expected = json!({ "name": "migrations", "ready": false, "reason": "the database is not the one of this version" });
        assert_eq!(said["parts"][1], expected);
        let alive = server.anonymous().send("GET", "/healthz", &[], "").await.unwrap();
        assert_eq!(alive.status, 200);
    }

    async fn what_operations_cost_is_counted_by_their_names(database: Database) {
        let server = Server::start_with(&database, &METRICS).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Counted").await;
        let document = "query Names { projects { nodes { name } } }";
        for _ in 0..3 {
            ada.gql(document, json!({})).await.ok();
        }
        // A name is worth a series of its own only once a signed-in caller's operation of it has succeeded.
        server.anonymous().gql("query Stranger { projects { nodes { name } } }", json!({})).await;
        server.anonymous().gql("query Broken {", json!({})).await;
        let named = |metric: &str| format!("antiphon_{metric}{{kind=\"query\",name=\"Names\"}}");
        assert_eq!(metric(&server, r#"antiphon_operations_total{kind="query",name="Names",outcome="OK"}"#).await, 3.0);
        assert_eq!(metric(&server, &named("operation_seconds_count")).await, 3.0);
        assert_eq!(metric(&server, &named("operation_statements_total")).await, 3.0);
        assert!(metric(&server, &named("operation_sql_seconds_total")).await > 0.0);
        let other = r#"antiphon_operations_total{kind="query",name="(other)",outcome="UNAUTHENTICATED"}"#;
        assert_eq!(metric(&server, other).await, 1.0);
        let broken = r#"antiphon_operations_total{kind="none",name="",outcome="GRAPHQL_PARSE_FAILED"}"#;
        assert_eq!(metric(&server, broken).await, 1.0);
        // Nor is what never came to be an operation forgotten.
        server.anonymous().with_token(Some("x".to_owned())).gql("query Names { __typename }", json!({})).await;
        let nobody = r#"antiphon_operations_total{kind="none",name="",outcome="UNAUTHENTICATED"}"#;
        assert_eq!(metric(&server, nobody).await, 1.0);

        // A write's statements count though it has a task of its own.
        let before = server.statements();
        project.create_file("a.py", &"x\n".repeat(1000)).await;
        let sent = (server.statements() - before) as f64;
        let all: f64 = metric(&server, r#"antiphon_operation_statements_total{kind="mutation",name=""}"#).await;
        assert!(all >= sent && sent >= 3.0, "{all} of {sent}");
        assert_eq!(metric(&server, "antiphon_blob_bytes_total").await, 2000.0);
        let stored = metric(&server, "antiphon_blob_stored_bytes_total").await;
        assert!(stored > 0.0 && stored < 200.0, "{stored}");
        assert!(metric(&server, "process_resident_memory_bytes").await > 1e6);
        let idle = if database.file().is_some() { r#"{pool="read",state="idle"}"# } else { r#"{pool="all",state="idle"}"# };
        assert!(metric(&server, &format!("antiphon_pool_connections{idle}")).await >= 1.0);
        server.stop().await;
    }

    async fn listeners_and_what_they_hear_are_counted(database: Database) {
        let server = Server::start_with(&database, &METRICS).await;
        let project = Project::create(&server.user("ada@example.com"), "Heard").await;
        project.create_file("before.py", "1\n").await;
        let mut heard = project.listen(1, "revision").await;
        heard.event().await;
        assert_eq!(metric(&server, "antiphon_listeners").await, 1.0);
        assert_eq!(metric(&server, "antiphon_sockets").await, 1.0);
        // What was written before somebody listened says nothing of how fast it came.
        assert_eq!(metric(&server, "antiphon_delivery_lag_seconds_count").await, 0.0);
        project.create_file("after.py", "2\n").await;
        heard.event().await;
        assert_eq!(metric(&server, "antiphon_deliveries_total").await, 2.0);
        assert_eq!(metric(&server, "antiphon_delivery_lag_seconds_count").await, 1.0);
        drop(heard);
        server.stop().await;
    }
}

tests::on_sqlite! {
    async fn the_metrics_are_not_for_everybody(server: Server) {
        assert_eq!(server.anonymous().send("GET", "/metrics", &[], "").await.unwrap().status, 404);
    }

    async fn a_server_that_drains_serves_on_and_says_that_it_is_not_ready(database: Database) {
        let server = Server::start_with(&database, &["--drain-seconds", "2"]).await;
        let ada = server.user("ada@example.com");
        ada.gql("{ viewer { id } }", json!({})).await.ok();
        let (tell, stopped) = oneshot::channel();
        let stopping = tokio::spawn({
            let server = server.clone();
            async move {
                server.stop().await;
                let _ = tell.send(());
            }
        });
        let said = loop {
            let (status, said) = ready(&server.anonymous()).await;
            if status == 503 {
                break said;
            }
        };
        assert_eq!(said["parts"][2], json!({ "name": "server", "ready": false, "reason": "the server is stopping" }));
        ada.gql("{ viewer { id } }", json!({})).await.ok();
        stopped.await.unwrap();
        stopping.await.unwrap();
        assert!(ada.request("{ viewer { id } }", json!({})).await.is_err());
    }
}

/// Takes what is posted to it, as a collector of traces would; answers where it listens and the bodies.
fn collector() -> (String, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (tell, bodies) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while reader.read_line(&mut head).unwrap() > 2 {}
            assert!(head.starts_with("POST /v1/traces "), "{head}");
            let length =
                head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap()];
            reader.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            reader.into_inner().write_all(answer).unwrap();
            if tell.send(body).is_err() {
                return;
            }
        }
    });
    (base, bodies)
}

tests::on_both! {
    async fn traces_and_the_log_name_operations_and_hold_no_secrets(database: Database) {
        let (endpoint, bodies) = collector();
        let child = ChildServer::start_with(&database, &[
            ("LOG_FORMAT", "json"), ("RUST_LOG", "debug"), ("SLOW_OPERATION_MS", "1"), ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ]);
        let ada = child.user("ada@example.com");
        let project = Project::create(&ada, "swordfish").await;
        let document = "mutation Traced($input: CreateFileInput!) { createFile(input: $input) { revision } }";
        let input = json!({ "projectId": project.id, "path": "secret-path.py", "content": "swordfish\n".repeat(20_000) });
        ada.gql(document, json!({ "input": input })).await.ok();
        let log = child.stop();

        // Protobuf has texts as they are.
        let sent: Vec<u8> = bodies.try_iter().flatten().collect();
        let sent = String::from_utf8_lossy(&sent);
        for text in ["GraphQL mutation Traced", "POST /graphql", "service.name", "antiphon"] {
            assert!(sent.contains(text), "{text} was not sent");
        }
        // The test executable that the child is says a word of its own at its end.
        let slow = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let slow: Vec<Value> = slow.filter(|line| line["message"] == "slow operation").collect();
        let traced = slow.iter().find(|line| line["span"]["graphql.operation.name"] == "Traced").expect("a slow operation");
        assert!(traced["statements"].as_u64().unwrap() >= 3 && traced["elapsed_ms"].as_u64().unwrap() >= 1, "{traced}");
        let token = ada.token().unwrap();
        for secret in ["swordfish", "secret-path", "createFile", token, token.rsplit('.').next().unwrap()] {
            assert!(!log.contains(secret) && !sent.contains(secret), "{secret} is told");
        }
    }

    async fn a_callers_trace_goes_on_here(database: Database) {
        const TRACE: [u8; 16] = *b"\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36";
        const CALLER: [u8; 8] = *b"\x00\xf0\x67\xaa\x0b\xa9\x02\xb7";
        let holds = |sent: &[u8], bytes: &[u8]| sent.windows(bytes.len()).any(|window| window == bytes);
        let asked = async |variables: &[(&str, &str)], flags: &str| {
            let (endpoint, bodies) = collector();
            let child = ChildServer::start_with(&database, &[
                &[("LOG_FORMAT", "json"), ("RUST_LOG", "off"), ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)], variables,
            ].concat());
            let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            for parent in [parent.as_str(), "00-nonsense", "00-00000000000000000000000000000000-0000000000000000-01"] {
                let headers = [("content-type", "application/json"), ("traceparent", parent)];
                let body = json!({ "query": "query Traced { __typename }" }).to_string();
                let answer = child.user("ada@example.com").send("POST", "/graphql", &headers, body).await.unwrap();
                assert_eq!(answer.status, 200, "{parent}");
            }
            child.stop();
            bodies.try_iter().flatten().collect::<Vec<u8>>()
        };
        let sent = asked(&[], "01").await;
        assert!(holds(&sent, b"GraphQL query Traced") && holds(&sent, &TRACE) && holds(&sent, &CALLER));
        // The caller says that this trace is not to be recorded; the two that are nobody's are.
        let sent = asked(&[], "00").await;
        assert!(holds(&sent, b"GraphQL query Traced") && !holds(&sent, &TRACE));
        let sent = asked(&[("OTEL_PROPAGATORS", "none")], "01").await;
        assert!(holds(&sent, b"GraphQL query Traced") && !holds(&sent, &TRACE));
    }

    async fn the_doctor_finds_nothing_broken_where_a_server_serves(database: Database) {
        Server::start(&database).await.stop().await;
        let findings = doctor::examine(&settings(&database.server_url(), &[])).await;
        let told: String = findings.iter().map(ToString::to_string).collect();
        assert!(!findings.iter().any(doctor::Finding::is_broken), "{told}");
        for part in ["settings", "address", "secret", "database", "migrations"] {
            assert!(told.contains(&format!("ok       {part}: ")), "{told}");
        }
    }

    async fn the_doctor_says_what_is_broken_and_what_to_do(database: Database) {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let url = "postgres://nobody:hunter2@127.0.0.1:1/none";
        let wrong = ["antiphon", "--database-url", url, "--jwt-secret", "short", "--listen", &address];
        let told = doctor::examine(&Cli::parse_from(wrong).settings).await;
        let told: String = told.iter().map(ToString::to_string).collect();
        for text in ["BROKEN   address: ", "in use", "BROKEN   secret: ", "openssl rand", "BROKEN   database: ", "refused", "what to do: "] {
            assert!(told.contains(text), "{text} is not in {told}");
        }
        assert!(!told.contains("hunter2"), "{told}");
        drop(taken);

        // Migrations are missing on PostgreSQL alone: SQLite's are applied, and its file made, by the next start.
        let blank = Database::blank(database.kind()).await;
        let findings = doctor::examine(&settings(&blank.url(), &["--max-body-bytes", "1000"])).await;
        let told: String = findings.iter().map(ToString::to_string).collect();
        assert_eq!(findings.iter().any(doctor::Finding::is_broken), database.file().is_none(), "{told}");
        assert!(told.contains("warning  settings: MAX_FILE_BYTES"), "{told}");
        let expected = if database.file().is_some() { "will be made" } else { "BROKEN   migrations: " };
        assert!(told.contains(expected), "{told}");
        blank.remove().await;
    }
}

/// What the doctor says of a server with these flags on a fresh database, and whether something is broken.
async fn examined(url: &str, flags: &[&str]) -> (String, bool) {
    let findings = doctor::examine(&settings(url, flags)).await;
    (findings.iter().map(ToString::to_string).collect(), findings.iter().any(doctor::Finding::is_broken))
}

tests::on_sqlite! {
    async fn the_doctor_asks_the_issuer_for_its_keys(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec(), SigningKey::ed()]).await;
        let (at, url) = (issuer.url(), database.url());
        let asked = async |secret: &[&str]| examined(&url, &[&["--jwt-jwks-url", &at], secret].concat()).await;
        let (told, is_broken) = asked(NO_SECRET).await;
        assert!(told.contains("ok       issuer: publishes 2 keys that sign tokens: ES256 ec, EdDSA ed\n"), "{told}");
        assert!(!is_broken, "{told}");

        let symmetric = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "legacy" });
        let mixed = json!({ "keys": [symmetric, SigningKey::rsa().public()] }).to_string();
        issuer.answers(Answer::Text(mixed));
        let (told, _) = asked(NO_SECRET).await;
        assert!(told.contains("ok       issuer: publishes 1 keys") && told.contains("left out: it is of a kind"), "{told}");
        for (answer, words) in [
            (Answer::Keys(vec![]), "none of the 0 keys"),
            (Answer::Text(json!({ "keys": [symmetric] }).to_string()), "none of the 1 keys"),
            (Answer::Text("<html>".to_owned()), "is what that calls `jwks_uri`"),
            (Answer::Text(json!({ "issuer": at, "jwks_uri": at }).to_string()), "is what that calls `jwks_uri`"),
            (Answer::Status(404), "/.well-known/jwks.json"),
            (Answer::Status(500), "500"),
            (Answer::Elsewhere(at.clone()), "redirections are not followed"),
            (Answer::Nothing, "whether `curl` gets it"),
        ] {
            issuer.answers(answer);
            let (told, is_broken) = asked(NO_SECRET).await;
            assert!(is_broken && told.contains("BROKEN   issuer: ") && told.contains(words), "{words}: {told}");
        }
        issuer.stop().await;
        let (told, is_broken) = asked(NO_SECRET).await;
        assert!(is_broken && told.contains("refused") && told.contains("whether `curl` gets it"), "{told}");
        // Who has a secret too can sign in without the issuer.
        let (told, is_broken) = asked(&[]).await;
        assert!(!is_broken && told.contains("warning  issuer: "), "{told}");
    }
}

tests::on_sqlite! {
    async fn the_doctor_looks_at_the_database_file(database: Database) {
        let file = database.file().unwrap();
        let allow = |mode: u32| fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        Server::start(&database).await.stop().await;
        for (mode, broken, words) in [
            (0o600, false, "ok       database: "),
            (0o644, false, "warning  database: "),
            (0o666, true, "may be written by every user"),
        ] {
            allow(mode);
            let (told, is_broken) = examined(&database.url(), &[]).await;
            assert!(is_broken == broken && told.contains(words), "{mode:o}: {told}");
        }
        allow(0o600);
        fs::write(&file, "no database, whatever its name says".repeat(100)).unwrap();
        let (told, is_broken) = examined(&database.url(), &[]).await;
        assert!(is_broken && told.contains("BROKEN   database: ") && told.contains("not a database"), "{told}");
        let nowhere = file.parent().unwrap().join("nowhere/antiphon.db");
        let (told, is_broken) = examined(&format!("sqlite://{}", nowhere.display()), &[]).await;
        assert!(is_broken && told.contains("the folder of") && told.contains("does not exist"), "{told}");
    }

    async fn the_doctor_looks_at_the_servers_own_secret(database: Database) {
        let secret = format!("{}.secret", database.file().unwrap().display());
        let (told, is_broken) = examined(&database.url(), NO_SECRET).await;
        assert!(!is_broken && told.contains("ok       secret: the server will make its own"), "{told}");
        fs::write(&secret, "a secret that others have read by now").unwrap();
        for (mode, broken, words) in [(0o600, false, "ok       secret: the server has its own"), (0o640, true, "BROKEN   secret: ")] {
            fs::set_permissions(&secret, Permissions::from_mode(mode)).unwrap();
            let (told, is_broken) = examined(&database.url(), NO_SECRET).await;
            assert!(is_broken == broken && told.contains(words) && !told.contains("others have read"), "{mode:o}: {told}");
        }
        let (told, is_broken) = examined(&database.url(), &[NO_SECRET, &["--listen", "0.0.0.0:0"]].concat()).await;
        assert!(is_broken && told.contains("loopback") && told.contains("JWT_JWKS_URL"), "{told}");
    }

    async fn the_doctor_looks_at_the_addresses(database: Database) {
        let server = Server::start(&database).await;
        let own = server.address().to_string();
        for (flags, broken, words) in [
            (["--listen", own.as_str()].as_slice(), false, "a server of ours answers at"),
            (&["--listen", "192.0.2.1:8080"], true, "cannot be listened on"),
            (&["--listen", "127.0.0.1:8099", "--metrics-listen", "127.0.0.1:8099"], true, "METRICS_LISTEN is the same as LISTEN"),
            (&["--metrics-listen", "0.0.0.0:0"], false, "warning  metrics: 0.0.0.0:0 is reachable from other machines"),
        ] {
            let (told, is_broken) = examined(&database.url(), flags).await;
            assert!(is_broken == broken && told.contains(words), "{flags:?}: {told}");
        }
        server.stop().await;
    }
}

#[test]
fn the_doctor_looks_at_the_login_and_the_connections() {
    tests::server::run_with_database(Kind::Postgres, async |database: Database| {
        let (told, is_broken) = examined(&database.server_url(), &["--database-connections", "1000"]).await;
        assert!(!is_broken && told.contains("ok       role: ") && told.contains("ok       clock: "), "{told}");
        assert!(
            told.contains("ok       pooler: ") && told.contains("warning  connections: DATABASE_CONNECTIONS is 1000"),
            "{told}"
        );
        let (told, _) = examined(&database.admin_url(), &[]).await;
        assert!(told.contains("warning  role: the login is a superuser"), "{told}");
        let wrong = database.server_url().replace("antiphon-test", "hunter2");
        let (told, is_broken) = examined(&wrong, &[]).await;
        assert!(is_broken && told.contains("check user and password") && !told.contains("hunter2"), "{told}");
        // One that nobody lets speak for callers.
        let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
        sqlx::raw_sql("CREATE ROLE antiphon_mute LOGIN PASSWORD 'antiphon-test'").execute(&mut admin).await.unwrap();
        let mute = database.server_url().replace("antiphon_server", "antiphon_mute");
        let (told, is_broken) = examined(&mute, &[]).await;
        sqlx::raw_sql("DROP ROLE antiphon_mute").execute(&mut admin).await.unwrap();
        assert!(is_broken && told.contains("GRANT authenticated TO \"antiphon_mute\""), "{told}");
    });
}

#[test]
fn a_server_says_what_of_the_database_is_gone_and_that_it_is_back() {
    tests::server::run_with_database(Kind::Postgres, async |_| {
        let database = Database::alone().await;
        let server = Server::start(&database).await;
        let client = server.anonymous();
        let part = |name: &str, amiss: &str| match amiss {
            "" => json!({ "name": name, "ready": true }),
            amiss => json!({ "name": name, "ready": false, "reason": amiss }),
        };
        let says = |status: u16, database: &str, migrations: &str, bus: &str| {
            let parts =
                [part("database", database), part("migrations", migrations), part("bus", bus), part("server", "")];
            (status, json!({ "ready": status == 200, "readOnly": false, "parts": parts }))
        };
        let late = "what other servers write is delivered late, by the sweep";
        let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
        let mut end = async |backends: &str, can_come_back: bool| {
            let word = if can_come_back { "LOGIN" } else { "NOLOGIN" };
            let of = "FROM pg_stat_activity WHERE usename = 'antiphon_server'";
            let sql =
                format!("ALTER ROLE antiphon_server {word}; SELECT pg_terminate_backend(pid) {of} AND {backends}");
            sqlx::raw_sql(AssertSqlSafe(sql.as_str())).execute(&mut admin).await.unwrap();
        };
        said_within_time(&client, says(200, "", "", "")).await;
        // Requests are served without the bus, so that no load balancer need look elsewhere.
        end("query LIKE 'LISTEN%'", false).await;
        said_within_time(&client, says(200, "", "", late)).await;
        server.user("ada@example.com").gql("{ viewer { id } }", json!({})).await.ok();
        end("true", false).await;
        let no_answer = "the database does not answer";
        said_within_time(&client, says(503, no_answer, "the database is not the one of this version", late)).await;
        assert_eq!(client.send("GET", "/healthz", &[], "").await.unwrap().status, 200);
        end("true", true).await;
        said_within_time(&client, says(200, "", "", "")).await;
        server.user("ada@example.com").gql("{ viewer { id } }", json!({})).await.ok();
        server.stop().await;
    });
}
