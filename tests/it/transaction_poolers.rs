//! Given PostgreSQL behind pgbouncer in transaction mode, and a direct URL for sessions, when the service uses it, then it works
//! as without a pooler: nothing of a transaction stays in a backend, and a transaction depends on nothing that another client
//! has left there.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use antiphon::{app::App, commands, config::Serve};
use futures::future::join_all;
use serde_json::json;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row, postgres::PgConnectOptions};
use tests::{
    client::Client,
    database::{Database, Kind},
    ledger::Ledger,
    pgbouncer::PgBouncer,
    project::{Project, each},
    server::{Locks, Server, run_with_database, settings},
    workload::Random,
};
use tokio::time::timeout;

use super::{
    database_faults::use_at_once,
    disk_faults::{compare, recover, rounds, wrong},
};

const MODE: &str = "pool_mode = transaction";

/// What another program with the same login can leave behind in every backend.
const DIRT: &str = "SET search_path = pg_catalog; SET statement_timeout = '1h'; SET lock_timeout = '1h';
    SET default_transaction_isolation = 'serializable'; SET row_security = off; SET plan_cache_mode = force_custom_plan;
    SET request.jwt.claims = '{\"sub\":\"00000000-0000-8000-8000-000000000000\",\"role\":\"authenticated\"}';
    SET ROLE authenticated; SET client_encoding = 'LATIN1'; SET standard_conforming_strings = off; SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo';
    DEALLOCATE ALL; PREPARE sqlx_s_1 AS SELECT 1";

/// A pooler in front of a database, with more settings.
fn start(database: &Database, more: &[&str]) -> Option<PgBouncer> {
    PgBouncer::start(&database.url(), &[&[MODE], more].concat())
}

/// A server behind the pooler, with more flags.
async fn serve(database: &Database, pooler: &PgBouncer, flags: &[&str], locks: Locks) -> Server {
    let (url, direct) = (pooler.url(&database.server_url()), database.server_url());
    let flags = [&["--database-direct-url", &direct], flags].concat();
    Server::start_behind(database, &url, &flags, locks).await
}

async fn admin(database: &Database) -> PgConnection {
    PgConnection::connect(&database.admin_url()).await.unwrap()
}

async fn examined(url: &str, flags: &[&str]) -> String {
    commands::examine(&settings(url, flags)).await.iter().map(ToString::to_string).collect()
}

/// Another client of the pooler, with the server's login.
async fn connect(pooler: &PgBouncer, database: &Database) -> PgConnection {
    let options: PgConnectOptions = pooler.url(&database.server_url()).parse().unwrap();
    // A start-up parameter that pgbouncer refuses.
    options.extra_float_digits(None).connect().await.unwrap()
}

/// Leaves [`DIRT`] in this many backends of a pooler.
async fn soil(pooler: &PgBouncer, database: &Database, backends: usize) {
    let mut clients = Vec::new();
    for _ in 0..backends {
        let mut client = connect(pooler, database).await;
        // In transactions that are open at the same time, so that each has a backend of its own.
        sqlx::raw_sql("BEGIN").execute(&mut client).await.unwrap();
        clients.push(client);
    }
    for mut client in clients {
        sqlx::raw_sql(AssertSqlSafe(format!("{DIRT}; COMMIT"))).execute(&mut client).await.unwrap();
        client.close().await.unwrap();
    }
}

#[test]
fn a_pooler_in_transaction_mode_serves_with_a_direct_url() {
    run_with_database(Kind::Postgres, async |_| {
        const SCHEMA: &[&str] = &["--database-schema", "agents"];
        // One connection serves both schemas in turn.
        let pools: [(&[&str], &[&[&str]]); 3] = [
            (&[], &[&[]]),
            (&["default_pool_size = 1"], &[&[], SCHEMA]),
            (&["default_pool_size = 4", "server_round_robin = 1"], &[SCHEMA]),
        ];
        for (more, schemas) in pools {
            let database = Database::blank(Kind::Postgres).await;
            database.execute("CREATE SCHEMA agents").await;
            let Some(pooler) = start(&database, more) else { return };
            let (url, direct) = (pooler.url(&database.url()), database.url());
            for schema in schemas {
                let flags = [&["--database-direct-url", &direct], *schema].concat();
                commands::migrate(&settings(&url, &flags)).await.unwrap();
                let report = examined(&url, &flags).await;
                assert!(!report.contains("BROKEN") && report.contains("ok       pooler"), "{more:?}: {report}");
                assert!(report.contains("in transaction mode"), "{report}");

                // Given two servers, of which one has a subscription, and no sweep …
                let flags = [&flags[..], &["--sweep-seconds=3600"]].concat();
                let one = Server::start_behind(&database, &url, &flags, Locks::Both).await;
                let other = Server::start_behind(&database, &url, &flags, Locks::Both).await;
                let project = Project::create(&one.user("ada@example.com"), "Pooled").await;
                let mut subscription = project.listen(0, "revision").await;
                // … when both write, then it receives every event, and reads are complete.
                project.of(&other.user("ada@example.com")).create_file("a.py", "a\n").await;
                project.create_file("b.py", "b\n").await;
                for revision in 1..=3 {
                    assert_eq!(subscription.event().await["projectEvents"]["revision"], revision);
                }
                drop(subscription);
                assert_eq!(project.contents().await.len(), 2);
                let clients = (0..8).map(|n| one.user(&format!("user{n}@example.com")));
                assert_eq!(use_at_once(clients.collect()).await, [""; 0]);
                one.stop().await;
                other.stop().await;
                let mut wrong = Vec::new();
                let report = &mut |_, text| wrong.push(text);
                commands::verify(&settings(&url, &flags), None, report).await.unwrap();
                assert_eq!(wrong, [""; 0]);
            }
            database.remove().await;
        }
    });
}

/// What a user does among many others: every answer must be that of this user.
async fn act(server: &Server, email: String, own: &Project, other: &Project, random: &mut Random) {
    let client = server.user(&email);
    match random.below(6) {
        0 => {
            let seen = client.gql("{ viewer { email } projects { nodes { id } } }", json!({})).await.ok();
            assert_eq!(seen["viewer"]["email"], json!(email));
            assert_eq!(each(&seen["projects"]["nodes"], "id"), [json!(own.id)], "{email}");
        }
        1 => {
            let query = "query($id: ID!) { project(id: $id) { name } }";
            let seen = client.gql(query, json!({ "id": other.id })).await;
            assert!(seen.data["project"].is_null(), "{email}: {seen:?}");
        }
        2 => {
            let input = json!({ "path": "a.py", "content": "x" });
            let refused = other.of(&client).mutate("createFile", input, "revision").await;
            assert_eq!(refused.error_code(), "NOT_FOUND", "{email}: {refused:?}");
        }
        3 => {
            // One succeeds and the others are refused in their transactions.
            let input = json!({ "path": "own.py", "content": email });
            own.mutate("createFile", input, "revision").await;
            assert_eq!(own.contents().await, [("own.py".to_owned(), email)]);
        }
        4 => {
            own.mutate("touchProject", json!({}), "revision").await;
        }
        // The client hangs up in the middle.
        _ => {
            let query = "{ projects { nodes { id files(first: 20) { nodes { path content } } } } }";
            let patience = Duration::from_micros(200 + 100 * u64::try_from(random.below(40)).unwrap());
            let _ = timeout(patience, client.request(query, json!({}))).await;
        }
    }
}

#[test]
fn no_caller_leaks_into_the_transaction_of_another() {
    run_with_database(Kind::Postgres, async |database| {
        for locks in [Locks::Both, Locks::Database] {
            let Some(pooler) = start(&database, &["default_pool_size = 2"]) else { return };
            let server = serve(&database, &pooler, &[], locks).await;
            let email = |n: usize| format!("{locks:?}{n}@example.com").to_lowercase();
            let mut projects = Vec::new();
            for n in 0..12 {
                projects.push(Project::create(&server.user(&email(n)), "Own").await);
            }
            let projects = Arc::new(projects);
            let users = (0..12_usize).map(|n| {
                let (server, projects, email) = (server.clone(), projects.clone(), email(n));
                tokio::spawn(async move {
                    let mut random = Random(7 + u64::try_from(n).unwrap());
                    for _ in 0..rounds(12) {
                        let other = &projects[(n + 1 + random.below(11)) % 12];
                        act(&server, email.clone(), &projects[n], other, &mut random).await;
                    }
                })
            });
            // Another program soils the backends in the meantime.
            let done = Arc::new(AtomicBool::new(false));
            let soiling = tokio::spawn({
                let (done, mut client) = (done.clone(), connect(&pooler, &database).await);
                async move {
                    while !done.load(Ordering::Relaxed) {
                        let dirt = AssertSqlSafe(format!("BEGIN; {DIRT}; COMMIT"));
                        sqlx::raw_sql(dirt).execute(&mut client).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                }
            });
            for user in users.collect::<Vec<_>>() {
                user.await.unwrap();
            }
            done.store(true, Ordering::Relaxed);
            soiling.await.unwrap();
            server.stop().await;
        }
        assert_eq!(wrong(&database).await, [""; 0]);
    });
}

#[test]
fn a_backend_keeps_nothing_of_a_transaction() {
    run_with_database(Kind::Postgres, async |database| {
        let Some(pooler) = start(&database, &["default_pool_size = 1"]) else { return };
        let server = serve(&database, &pooler, &[], Locks::Both).await;
        let project = Project::create(&server.user("ada@example.com"), "Own").await;
        project.create_file("a.py", "a").await;
        project.contents().await;
        project.create_file("b.py", "b").await;
        // Given that the only backend has served reads and writes, when another client gets it, then it finds nothing.
        let left =
            "SELECT current_user::text AS role, coalesce(current_setting('request.jwt.claims', true), '') AS claims,
            (SELECT count(*) FROM pg_prepared_statements) AS statements,
            (SELECT count(*) FROM pg_settings WHERE source = 'session' AND name NOT IN ('application_name',
                'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings')) AS settings,
            (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks";
        let mut client = connect(&pooler, &database).await;
        let row = sqlx::raw_sql(left).fetch_one(&mut client).await.unwrap();
        assert_eq!(row.get::<String, _>("role"), "antiphon_server");
        assert_eq!(row.get::<String, _>("claims"), "");
        let counts = ["statements", "settings", "locks"].map(|count| row.get::<i64, _>(count));
        assert_eq!(counts, [0, 0, 0]);
        server.stop().await;
    });
}

#[test]
fn settings_and_limits_are_in_force_in_each_transaction() {
    run_with_database(Kind::Postgres, async |database| {
        let Some(pooler) = start(&database, &["default_pool_size = 2"]) else { return };
        database
            .execute(
                "CREATE TABLE seen (setting text, value text); GRANT INSERT ON seen TO PUBLIC;
                 CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     INSERT INTO public.seen SELECT name, current_setting(name) FROM unnest(ARRAY['transaction_isolation',
                         'statement_timeout', 'plan_cache_mode', 'row_security', 'TimeZone', 'DateStyle', 'client_encoding'])
                         AS name;
                     INSERT INTO public.seen SELECT 'lock_timeout', (current_setting('lock_timeout')::interval
                         BETWEEN '1 ms' AND '4 s')::text;
                     RETURN NULL;
                 END $$;
                 CREATE TRIGGER see AFTER INSERT ON project_events FOR EACH ROW EXECUTE FUNCTION see();",
            )
            .await;
        let flags = ["--database-acquire-seconds=4", "--database-statement-seconds=2"];
        let server = serve(&database, &pooler, &flags, Locks::Both).await;
        let project = Project::create(&server.user("ada@example.com"), "Limits").await;
        let input = json!({ "name": "Machine", "role": "VIEWER" });
        let created = project.mutate("createAccessToken", input, "token").await.ok();
        let token = created["createAccessToken"]["token"].as_str().unwrap().to_owned();
        let machine = project.client.with_token(Some(token));
        for n in 0..3 {
            soil(&pooler, &database, 2).await;
            // What runs without a caller does not become another one.
            machine.gql("{ viewer { isMachine } projects { totalCount } }", json!({})).await.ok();
            soil(&pooler, &database, 2).await;
            project.create_file(&format!("{n}.py"), "").await;
            assert_eq!(project.contents().await.len(), n + 1);
        }
        let mut admin = admin(&database).await;
        let seen = sqlx::raw_sql("SELECT DISTINCT setting || ' ' || value AS seen FROM seen").fetch_all(&mut admin);
        let seen: BTreeSet<String> = seen.await.unwrap().iter().map(|row| row.get("seen")).collect();
        let expected = ["DateStyle ISO, MDY", "TimeZone UTC", "client_encoding UTF8", "lock_timeout true"];
        let others = ["plan_cache_mode force_generic_plan", "row_security on", "statement_timeout 2s"];
        let isolation = ["transaction_isolation read committed"];
        assert_eq!(seen, expected.into_iter().chain(others).chain(isolation).map(str::to_owned).collect());

        // A read that waits for a table is cancelled, and a write that waits for a row.
        let begun = Instant::now();
        sqlx::raw_sql("BEGIN; LOCK TABLE project_files").execute(&mut admin).await.unwrap();
        let ask = "query($id: ID!) { project(id: $id) { files(first: 5) { nodes { path } } } }";
        let cancelled = project.client.gql(ask, json!({ "id": project.id })).await;
        assert_eq!(cancelled.error_code(), "UNAVAILABLE", "{cancelled:?}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        sqlx::raw_sql("ROLLBACK").execute(&mut admin).await.unwrap();
        server.stop().await;

        let flags = ["--database-acquire-seconds=1", "--database-statement-seconds=60"];
        let server = serve(&database, &pooler, &flags, Locks::Both).await;
        let lock = format!("BEGIN; SELECT FROM projects WHERE id = '{}' FOR UPDATE", project.id);
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut admin).await.unwrap();
        let begun = Instant::now();
        let project = project.of(&server.user("ada@example.com"));
        let locked = project.mutate("createFile", json!({ "path": "x", "content": "" }), "revision").await;
        assert_eq!(locked.error_code(), "RATE_LIMITED", "{locked:?}");
        // The backends are busy: neither reads nor writes wait for one without a limit.
        let mut holders = Vec::new();
        for _ in 0..2 {
            let mut holder = connect(&pooler, &database).await;
            sqlx::raw_sql("BEGIN").execute(&mut holder).await.unwrap();
            holders.push(holder);
        }
        for answer in [
            project.client.gql("{ projects { totalCount } }", json!({})).await,
            project.mutate("createFile", json!({ "path": "y", "content": "" }), "revision").await,
        ] {
            assert_eq!(answer.error_code(), "UNAVAILABLE", "{answer:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        for holder in holders {
            holder.close().await.unwrap();
        }
        sqlx::raw_sql("ROLLBACK").execute(&mut admin).await.unwrap();
        project.create_file("x", "").await;
        server.stop().await;
    });
}

#[test]
fn a_refused_commit_is_reported_and_leaves_nothing() {
    run_with_database(Kind::Postgres, async |database| {
        let Some(pooler) = start(&database, &["default_pool_size = 2"]) else { return };
        database
            .execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF NEW.file_path LIKE '%refused%' THEN RAISE 'refused'; END IF; RETURN NULL; END $$;
                 CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON project_files DEFERRABLE INITIALLY DEFERRED
                     FOR EACH ROW EXECUTE FUNCTION refuse();",
            )
            .await;
        let server = serve(&database, &pooler, &[], Locks::Both).await;
        let project = Project::create(&server.user("ada@example.com"), "Refused").await;
        for n in 0..8 {
            let refused = ["refused", "also refused"]
                .map(|path| project.mutate("createFile", json!({ "path": path, "content": "" }), "revision"));
            for answer in join_all(refused).await {
                assert_eq!(answer.error_code(), "INTERNAL", "{answer:?}");
            }
            project.create_file(&format!("{n}"), "").await;
        }
        assert_eq!(project.contents().await.len(), 8);
        assert_eq!(project.revision().await, 9);
        server.stop().await;
        assert_eq!(wrong(&database).await, [""; 0]);
    });
}

#[test]
fn nothing_is_lost_if_backends_are_killed_or_the_pooler_restarts() {
    const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
        AND pid <> pg_backend_pid() AND state IN ('active', 'idle in transaction') ORDER BY random() LIMIT 1";
    run_with_database(Kind::Postgres, async |database| {
        let Some(mut pooler) = start(&database, &["default_pool_size = 3"]) else { return };
        let server = serve(&database, &pooler, &[], Locks::Both).await;
        let client = server.user("ada@example.com");
        let mut admin = admin(&database).await;
        let mut random = Random(3);
        let (mut ledgers, mut cut, rounds) = (Vec::new(), 0, rounds(6));
        for round in 0..rounds {
            let ledger = Ledger::begin(&client).await;
            let writers = tokio::spawn({
                let (ledger, client) = (ledger.clone(), client.clone());
                async move { ledger.write_at_once(&client, 4, 6).await }
            });
            for _ in 0..3 {
                ledger.answered((ledger.count() + random.below(4)).min(23)).await;
                if round % 2 == 0 {
                    cut += sqlx::raw_sql(CUT).fetch_all(&mut admin).await.unwrap().len();
                } else {
                    pooler.restart();
                }
            }
            writers.await.unwrap();
            recover(&ledger, &client).await;
            ledgers.push(ledger);
        }
        let all = compare(&ledgers, &client, "while serving", rounds).await;
        server.stop().await;
        let server = serve(&database, &pooler, &[], Locks::Both).await;
        assert_eq!(compare(&ledgers, &server.user("ada@example.com"), "after a restart", rounds).await, all);
        server.stop().await;
        assert_eq!(wrong(&database).await, [""; 0]);
        println!("pgbouncer, {cut} backends terminated, {} restarts: {all}", rounds / 2 * 3);
        assert!(cut > 0);
    });
}

#[test]
fn idle_connections_of_a_restarted_pooler_fail_no_request() {
    run_with_database(Kind::Postgres, async |database| {
        let Some(mut pooler) = start(&database, &["default_pool_size = 3"]) else { return };
        let server = serve(&database, &pooler, &[], Locks::Both).await;
        let clients: Vec<Client> = (0..8).map(|n| server.user(&format!("user{n}@example.com"))).collect();
        let mut admin = admin(&database).await;
        let name = database.url().rsplit('/').next().unwrap().to_owned();
        for round in 0..4 {
            assert_eq!(use_at_once(clients.clone()).await, [""; 0], "{round}");
            if round % 2 == 0 {
                pooler.restart();
            } else {
                let cut = format!(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
                );
                sqlx::raw_sql(AssertSqlSafe(cut)).fetch_all(&mut admin).await.unwrap();
            }
        }
        server.stop().await;
    });
}

#[test]
fn a_wrong_direct_url_is_refused_with_the_reason() {
    run_with_database(Kind::Postgres, async |database| {
        let Some(pooler) = start(&database, &[]) else { return };
        let url = pooler.url(&database.server_url());
        let other = Database::create(Kind::Postgres).await;
        let elsewhere = Database::alone().await;
        // A pooler in statement mode runs no transactions.
        let Some(statements) = PgBouncer::start(&database.url(), &["pool_mode = statement"]) else { return };
        let cases = [
            (url.clone(), url.clone(), "DATABASE_DIRECT_URL) also goes through a pooler in transaction mode"),
            (url.clone(), other.server_url(), "leads to another database"),
            (url.clone(), elsewhere.server_url(), "leads to another database"),
            (url.clone(), "sqlite://a.db".to_owned(), "only PostgreSQL has poolers"),
            (url.clone(), "postgres://u:Sup3r@h/d?sslmod=x".to_owned(), "DATABASE_DIRECT_URL) is not usable"),
            (statements.url(&database.server_url()), database.server_url(), "does not run transactions"),
        ];
        for (url, direct, reason) in cases {
            let flags = ["--database-direct-url", direct.as_str()];
            let refused = App::start(settings(&url, &flags), Serve::default()).await.err().expect("refused");
            let refused = format!("{refused:#}");
            assert!(refused.contains(reason) && !refused.contains("antiphon-test"), "{direct}: {refused}");
            assert!(!refused.contains("Sup3r"), "{refused}");
            let report = examined(&url, &flags).await;
            assert!(report.contains("BROKEN") && report.contains(reason), "{direct}: {report}");
            let refused = commands::migrate(&settings(&url, &flags)).await.unwrap_err();
            assert!(format!("{refused:#}").contains(reason), "{direct}: {refused:#}");
        }
        // A pooler in statement mode without a direct URL.
        let refused = App::start(settings(&statements.url(&database.server_url()), &[]), Serve::default()).await;
        let refused = format!("{:#}", refused.err().expect("refused"));
        assert!(refused.contains("does not run transactions"), "{refused}");
        // SQLite has no pooler; a needless direct URL is reported.
        let file = Database::blank(Kind::Sqlite).await;
        let refused = App::start(settings(&file.url(), &["--database-direct-url", &database.url()]), Serve::default());
        assert!(format!("{:#}", refused.await.err().expect("refused")).contains("only PostgreSQL has poolers"));
        let report = examined(&database.server_url(), &["--database-direct-url", &database.server_url()]).await;
        assert!(report.contains("remove DATABASE_DIRECT_URL") && !report.contains("BROKEN"), "{report}");
        let unreachable = database.server_url().replace(&database.place(), "127.0.0.1:1");
        let report = examined(&url, &["--database-direct-url", &unreachable]).await;
        assert!(report.contains("cannot be opened") && report.contains("BROKEN"), "{report}");
        file.remove().await;
        other.remove().await;
    });
}

#[test]
fn an_outage_behind_a_pooler_is_reported_as_one() {
    run_with_database(Kind::Postgres, async |_| {
        let database = Database::alone().await;
        let Some(pooler) = start(&database, &["server_login_retry = 1"]) else { return };
        let server = serve(&database, &pooler, &["--database-acquire-seconds=3"], Locks::Both).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Outage").await;
        database.stop().await;
        let begun = Instant::now();
        let answers = [
            ada.gql("{ projects { totalCount } }", json!({})).await,
            project.mutate("createFile", json!({ "path": "a.py", "content": "" }), "revision").await,
        ];
        for answer in answers {
            assert_eq!(answer.error_code(), "UNAVAILABLE", "{answer:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        database.restart().await;
        let begun = Instant::now();
        while !use_at_once(vec![ada.clone()]).await.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the server does not recover");
        }
        let clients = (0..8).map(|n| server.user(&format!("user{n}@example.com")));
        assert_eq!(use_at_once(clients.collect()).await, [""; 0]);
        server.stop().await;
    });
}
