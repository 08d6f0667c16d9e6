//! Given a server, when an operator checks it, then it reports whether it is alive and ready, what it has done, and why
//! it cannot start.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::Duration,
};

use antiphon::{commands, config::Cli};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
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

/// Waits until the server reports this.
async fn wait_until_reported(client: &tests::client::Client, expected: (u16, Value)) {
    let asked = async {
        loop {
            let said = ready(client).await;
            if said == expected {
                return;
            }
            // An answer of `/readyz` is cached for this long.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), asked).await.is_err() {
        assert_eq!(ready(client).await, expected);
    }
}

/// The value of a time series, by the start of its line; 0 if it is missing.
async fn metric(server: &Server, series: &str) -> f64 {
    let answer = server.operator().send("GET", "/metrics", &[], "").await.unwrap();
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

tests::on_both! {
    async fn a_ready_server_reports_each_part(server: Server) {
        let anonymous = server.anonymous();
        let alive = anonymous.send("GET", "/healthz", &[], "").await.unwrap();
        assert_eq!((alive.status, &alive.body[..]), (200, &b"ok\n"[..]));
        let is_alone = server.database().file().is_some();
        let names: &[&str] = if is_alone { &["database", "migrations", "server"] } else { &["database", "migrations", "bus", "server"] };
        let parts: Vec<_> = names.iter().map(|name| json!({ "name": name, "ready": true })).collect();
        // The bus connects a little later than the server starts.
        wait_until_reported(&anonymous, (200, json!({ "ready": true, "readOnly": false, "parts": parts }))).await;
    }

    async fn a_database_that_is_not_migrated_is_reported_without_details(server: Server) {
        server.database().execute("DELETE FROM seaql_migrations").await;
        let (status, said) = ready(&server.anonymous()).await;
        assert_eq!((status, &said["ready"], &said["parts"][0]["ready"]), (503, &json!(false), &json!(true)));
        let expected = json!({ "name": "migrations", "ready": false, "reason": "the database is not the one of this version" });
        assert_eq!(said["parts"][1], expected);
        let alive = server.anonymous().send("GET", "/healthz", &[], "").await.unwrap();
        assert_eq!(alive.status, 200);
    }

    async fn operation_costs_are_counted_by_operation_name(database: Database) {
        let server = Server::start_with(&database, &METRICS).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Counted").await;
        let document = "query Names { projects { nodes { name } } }";
        for _ in 0..3 {
            ada.gql(document, json!({})).await.ok();
        }
        // A name gets a series of its own only after an operation of a signed-in caller with that name has succeeded.
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
        // Requests that never became operations are counted too.
        server.anonymous().with_token(Some("x".to_owned())).gql("query Names { __typename }", json!({})).await;
        let nobody = r#"antiphon_operations_total{kind="none",name="",outcome="UNAUTHENTICATED"}"#;
        assert_eq!(metric(&server, nobody).await, 1.0);

        // A write's statements count although it runs in a task of its own.
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
        // A connection returns to the pool shortly after its operation.
        let idle = format!("antiphon_pool_connections{idle}");
        let returned = async { while metric(&server, &idle).await < 1.0 {} };
        tokio::time::timeout(Duration::from_secs(20), returned).await.expect("an idle connection");
        server.stop().await;
    }

    async fn subscribers_and_deliveries_are_counted(database: Database) {
        let server = Server::start_with(&database, &METRICS).await;
        let project = Project::create(&server.user("ada@example.com"), "Heard").await;
        project.create_file("before.py", "1\n").await;
        let mut subscription = project.listen(1, "revision").await;
        subscription.event().await;
        assert_eq!(metric(&server, "antiphon_subscriptions").await, 1.0);
        assert_eq!(metric(&server, "antiphon_sockets").await, 1.0);
        // Events from before the subscription do not count in the delivery lag.
        assert_eq!(metric(&server, "antiphon_delivery_lag_seconds_count").await, 0.0);
        project.create_file("after.py", "2\n").await;
        subscription.event().await;
        assert_eq!(metric(&server, "antiphon_deliveries_total").await, 2.0);
        assert_eq!(metric(&server, "antiphon_delivery_lag_seconds_count").await, 1.0);
        drop(subscription);
        server.stop().await;
    }
}

tests::on_sqlite! {
    async fn the_metrics_are_only_on_the_operators_address(server: Server) {
        assert_eq!(server.anonymous().send("GET", "/metrics", &[], "").await.unwrap().status, 404);
    }

    async fn a_draining_server_keeps_serving_and_reports_not_ready(database: Database) {
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

/// Receives POST requests as a collector of traces does; returns its URL and the bodies.
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
        // An operation is logged after its response. The connection is the same.
        ada.gql("{ __typename }", json!({})).await.ok();
        let log = child.stop();

        // Protobuf contains texts as they are.
        let sent: Vec<u8> = bodies.try_iter().flatten().collect();
        let sent = String::from_utf8_lossy(&sent);
        for text in ["GraphQL mutation Traced", "POST /graphql", "service.name", "antiphon"] {
            assert!(sent.contains(text), "{text} was not sent");
        }
        // The child is a test executable, which prints a line of its own at its end.
        let slow = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let slow: Vec<Value> = slow.filter(|line| line["message"] == "slow operation").collect();
        let traced = slow.iter().find(|line| line["span"]["graphql.operation.name"] == "Traced").expect("a slow operation");
        assert!(traced["statements"].as_u64().unwrap() >= 3 && traced["elapsed_ms"].as_u64().unwrap() >= 1, "{traced}");
        let token = ada.token().unwrap();
        for secret in ["swordfish", "secret-path", "createFile", token, token.rsplit('.').next().unwrap()] {
            assert!(!log.contains(secret) && !sent.contains(secret), "{secret} is visible");
        }
    }

    async fn a_callers_trace_is_continued(database: Database) {
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
        // The caller's trace has its sampling flag off; the two without a caller's trace are recorded.
        let sent = asked(&[], "00").await;
        assert!(holds(&sent, b"GraphQL query Traced") && !holds(&sent, &TRACE));
        let sent = asked(&[("OTEL_PROPAGATORS", "none")], "01").await;
        assert!(holds(&sent, b"GraphQL query Traced") && !holds(&sent, &TRACE));
    }

    async fn the_doctor_finds_nothing_broken_if_a_server_serves(database: Database) {
        Server::start(&database).await.stop().await;
        let findings = commands::examine(&settings(&database.server_url(), &[])).await;
        let report: String = findings.iter().map(ToString::to_string).collect();
        assert!(!findings.iter().any(commands::Finding::is_broken), "{report}");
        for part in ["settings", "address", "secret", "database", "migrations"] {
            assert!(report.contains(&format!("ok       {part}: ")), "{report}");
        }
    }

    async fn the_doctor_reports_problems_and_remedies(database: Database) {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let url = "postgres://nobody:hunter2@127.0.0.1:1/none";
        let wrong = ["antiphon", "--database-url", url, "--jwt-secret", "short", "--listen", &address];
        let report = commands::examine(&Cli::parse_from(wrong).settings).await;
        let report: String = report.iter().map(ToString::to_string).collect();
        for text in ["BROKEN   address: ", "in use", "BROKEN   secret: ", "openssl rand", "BROKEN   database: ", "refused", "what to do: "] {
            assert!(report.contains(text), "{text} is not in {report}");
        }
        assert!(!report.contains("hunter2"), "{report}");
        drop(taken);

        // Only on PostgreSQL are migrations missing: the next start creates the SQLite file and migrates it.
        let blank = Database::blank(database.kind()).await;
        let findings = commands::examine(&settings(&blank.url(), &["--max-body-bytes", "1000"])).await;
        let report: String = findings.iter().map(ToString::to_string).collect();
        assert_eq!(findings.iter().any(commands::Finding::is_broken), database.file().is_none(), "{report}");
        assert!(report.contains("warning  settings: MAX_FILE_BYTES"), "{report}");
        let expected = if database.file().is_some() { "will be created" } else { "BROKEN   migrations: " };
        assert!(report.contains(expected), "{report}");
        blank.remove().await;
    }
}

/// The doctor's report for a server with these flags on a fresh database, and whether something is broken.
async fn examined(url: &str, flags: &[&str]) -> (String, bool) {
    let findings = commands::examine(&settings(url, flags)).await;
    (findings.iter().map(ToString::to_string).collect(), findings.iter().any(commands::Finding::is_broken))
}

tests::on_sqlite! {
    async fn the_doctor_requests_the_issuers_keys(database: Database) {
        let issuer = Issuer::start(&[SigningKey::ec(), SigningKey::ed()]).await;
        let (at, url) = (issuer.url(), database.url());
        let asked = async |secret: &[&str]| examined(&url, &[&["--jwt-jwks-url", &at], secret].concat()).await;
        let (report, is_broken) = asked(NO_SECRET).await;
        assert!(report.contains("ok       issuer: publishes 2 usable keys: ES256 ec, EdDSA ed\n"), "{report}");
        assert!(!is_broken, "{report}");

        let symmetric = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "legacy" });
        let mixed = json!({ "keys": [symmetric, SigningKey::rsa().public()] }).to_string();
        issuer.answers(Answer::Text(mixed));
        let (report, _) = asked(NO_SECRET).await;
        assert!(report.contains("ok       issuer: publishes 1 usable keys") && report.contains("left out: its kind is not supported"), "{report}");
        for (answer, words) in [
            (Answer::Keys(vec![]), "none of the 0 keys"),
            (Answer::Text(json!({ "keys": [symmetric] }).to_string()), "none of the 1 keys"),
            (Answer::Text("<html>".to_owned()), "contains it as `jwks_uri`"),
            (Answer::Text(json!({ "issuer": at, "jwks_uri": at }).to_string()), "contains it as `jwks_uri`"),
            (Answer::Status(404), "/.well-known/jwks.json"),
            (Answer::Status(500), "500"),
            (Answer::Elsewhere(at.clone()), "redirects are not followed"),
            (Answer::Nothing, "check with `curl`"),
        ] {
            issuer.answers(answer);
            let (report, is_broken) = asked(NO_SECRET).await;
            assert!(is_broken && report.contains("BROKEN   issuer: ") && report.contains(words), "{words}: {report}");
        }
        issuer.stop().await;
        let (report, is_broken) = asked(NO_SECRET).await;
        assert!(is_broken && report.contains("refused") && report.contains("check with `curl`"), "{report}");
        // With a secret, users can sign in without the issuer.
        let (report, is_broken) = asked(&[]).await;
        assert!(!is_broken && report.contains("warning  issuer: "), "{report}");
    }
}

tests::on_sqlite! {
    async fn the_doctor_checks_the_database_file(database: Database) {
        let file = database.file().unwrap();
        let allow = |mode: u32| fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        Server::start(&database).await.stop().await;
        for (mode, broken, words) in [
            (0o600, false, "ok       database: "),
            (0o644, false, "warning  database: "),
            (0o666, true, "is writable by every user"),
        ] {
            allow(mode);
            let (report, is_broken) = examined(&database.url(), &[]).await;
            assert!(is_broken == broken && report.contains(words), "{mode:o}: {report}");
        }
        allow(0o600);
        fs::write(&file, "not a database, despite its name".repeat(100)).unwrap();
        let (report, is_broken) = examined(&database.url(), &[]).await;
        assert!(is_broken && report.contains("BROKEN   database: ") && report.contains("not a database"), "{report}");
        // The database of another program, whose URL was given by mistake.
        let other = file.parent().unwrap().join("other.db");
        let url = format!("sqlite://{}", other.display());
        let mut connection = SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
        sqlx::raw_sql("CREATE TABLE notes (text TEXT)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let (report, is_broken) = examined(&url, &[]).await;
        assert!(is_broken && report.contains("is not a database of antiphon"), "{report}");
        let refused = commands::token(&settings(&url, NO_SECRET), "ada@example.com", None, 1).await.unwrap_err();
        assert!(format!("{refused:#}").contains("is not a database of antiphon"), "{refused:#}");
        assert!(!PathBuf::from(format!("{}.secret", other.display())).exists());
        let nowhere = file.parent().unwrap().join("nowhere/antiphon.db");
        let (report, is_broken) = examined(&format!("sqlite://{}", nowhere.display()), &[]).await;
        assert!(is_broken && report.contains("the folder of") && report.contains("does not exist"), "{report}");
    }

    async fn the_doctor_checks_the_servers_own_secret(database: Database) {
        let secret = format!("{}.secret", database.file().unwrap().display());
        let (report, is_broken) = examined(&database.url(), NO_SECRET).await;
        assert!(!is_broken && report.contains("ok       secret: the server will generate its own"), "{report}");
        fs::write(&secret, "a secret that others have read by now").unwrap();
        for (mode, broken, words) in [(0o600, false, "ok       secret: the server uses its own"), (0o640, true, "BROKEN   secret: ")] {
            fs::set_permissions(&secret, Permissions::from_mode(mode)).unwrap();
            let (report, is_broken) = examined(&database.url(), NO_SECRET).await;
            assert!(is_broken == broken && report.contains(words) && !report.contains("others have read"), "{mode:o}: {report}");
        }
        let (report, is_broken) = examined(&database.url(), &[NO_SECRET, &["--listen", "0.0.0.0:0"]].concat()).await;
        assert!(is_broken && report.contains("loopback") && report.contains("JWT_JWKS_URL"), "{report}");
    }

    async fn the_doctor_checks_the_addresses(database: Database) {
        let server = Server::start(&database).await;
        let own = server.address().to_string();
        for (flags, broken, words) in [
            (["--listen", own.as_str()].as_slice(), false, "is in use by a running antiphon server, which is ready"),
            (&["--listen", "192.0.2.1:8080"], true, "cannot listen on"),
            (&["--listen", "127.0.0.1:8099", "--metrics-listen", "127.0.0.1:8099"], true, "METRICS_LISTEN is the same as LISTEN"),
            (&["--metrics-listen", "0.0.0.0:0"], false, "warning  metrics: 0.0.0.0:0 is reachable from other machines"),
        ] {
            let (report, is_broken) = examined(&database.url(), flags).await;
            assert!(is_broken == broken && report.contains(words), "{flags:?}: {report}");
        }
        server.stop().await;
    }

    async fn the_doctor_knows_the_server_of_another_program(database: Database) {
        for (answer, words) in [
            // Many programs answer with these words.
            ("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nok\n", "by the HTTP server of another program\n"),
            ("HTTP/1.0 404 Not Found\r\nServer: SimpleHTTP/0.6 Python/3.11\r\n\r\nnothing", "by the HTTP server of another program (\"SimpleHTTP/0.6 Python/3.11\")"),
            ("HTTP/1.0 200 OK\r\n\r\n{\"ready\":true,\"parts\":[{\"name\":\"database\"}]}", "by the HTTP server of another program\n"),
            ("SSH-2.0-OpenSSH_9.2\r\n", "by another program, which does not answer HTTP"),
            ("", "by another program, which does not answer HTTP"),
        ] {
            let other = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = other.local_addr().unwrap().to_string();
            let answering = thread::spawn(move || {
                let (mut stream, _) = other.accept().unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                (line, other)
            });
            let (report, is_broken) = examined(&database.url(), &["--listen", &address]).await;
            assert!(is_broken && report.contains("BROKEN   address: ") && report.contains(words), "{answer}: {report}");
            assert_eq!(answering.join().unwrap().0, "GET /readyz HTTP/1.0\r\n");
        }
    }
}

#[test]
fn the_doctor_checks_the_login_and_the_connections() {
    tests::server::run_with_database(Kind::Postgres, async |database: Database| {
        let (report, is_broken) = examined(&database.server_url(), &["--database-connections", "1000"]).await;
        assert!(!is_broken && report.contains("ok       role: ") && report.contains("ok       clock: "), "{report}");
        assert!(
            report.contains("ok       pooler: ")
                && report.contains("warning  connections: DATABASE_CONNECTIONS is 1000"),
            "{report}"
        );
        let (report, _) = examined(&database.admin_url(), &[]).await;
        assert!(report.contains("warning  role: the login is a superuser"), "{report}");
        let (report, _) = examined(&database.url(), &[]).await;
        assert!(report.contains("could read all projects: it owns the tables"), "{report}");
        let refused = commands::migrate(&settings(&database.server_url(), &[])).await.unwrap_err();
        assert!(format!("{refused:#}").contains("cannot create tables"), "{refused:#}");
        // Another encoding than UTF8.
        let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
        sqlx::raw_sql(
            "CREATE DATABASE antiphon_bytes OWNER antiphon ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'",
        )
        .execute(&mut admin)
        .await
        .unwrap();
        let (at, _) = database.url().rsplit_once('/').map(|(at, name)| (at.to_owned(), name.to_owned())).unwrap();
        let bytes = format!("{at}/antiphon_bytes");
        let (report, is_broken) = examined(&bytes, &[]).await;
        let refused = commands::migrate(&settings(&bytes, &[])).await.unwrap_err();
        sqlx::raw_sql("DROP DATABASE antiphon_bytes WITH (FORCE)").execute(&mut admin).await.unwrap();
        assert!(is_broken && report.contains("BROKEN   encoding: "), "{report}");
        assert!(format!("{refused:#}").contains("UTF8"), "{refused:#}");
        let wrong = database.server_url().replace("antiphon-test", "hunter2");
        let (report, is_broken) = examined(&wrong, &[]).await;
        assert!(is_broken && report.contains("check user and password") && !report.contains("hunter2"), "{report}");
        // A login that cannot take the callers' role.
        let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
        sqlx::raw_sql("CREATE ROLE antiphon_mute LOGIN PASSWORD 'antiphon-test'").execute(&mut admin).await.unwrap();
        let mute = database.server_url().replace("antiphon_server", "antiphon_mute");
        let (report, is_broken) = examined(&mute, &[]).await;
        sqlx::raw_sql("DROP ROLE antiphon_mute").execute(&mut admin).await.unwrap();
        assert!(is_broken && report.contains("GRANT authenticated TO \"antiphon_mute\""), "{report}");
    });
}

#[test]
fn a_server_reports_which_part_of_the_database_fails_and_recovers() {
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
        wait_until_reported(&client, says(200, "", "", "")).await;
        // Requests are served without the bus, so load balancers keep the server in use.
        end("query LIKE 'LISTEN%'", false).await;
        wait_until_reported(&client, says(200, "", "", late)).await;
        server.user("ada@example.com").gql("{ viewer { id } }", json!({})).await.ok();
        end("true", false).await;
        let no_answer = "the database does not answer";
        wait_until_reported(&client, says(503, no_answer, "", late)).await;
        assert_eq!(client.send("GET", "/healthz", &[], "").await.unwrap().status, 200);
        end("true", true).await;
        wait_until_reported(&client, says(200, "", "", "")).await;
        server.user("ada@example.com").gql("{ viewer { id } }", json!({})).await.ok();
        server.stop().await;
    });
}
