//! Given a server on PostgreSQL, when its connections are cut, or the database restarts, refuses writes, or has an
//! unusual isolation level, then acknowledged writes are stored, refused ones are not, and callers see no fault that
//! the server can repair.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tests::{
    client::Client,
    database::{Database, Kind},
    disk::{Fault, FaultyDisk},
    ledger::{Fate, Ledger, Tally},
    project::Project,
    server::{ChildServer, Server, run_with_database},
    workload::Random,
};

use super::disk_faults::{compare, recover, rounds, says_read_only, wrong};

const WRITERS: usize = 4;
const WRITES: usize = 6;

async fn admin(database: &Database) -> PgConnection {
    PgConnection::connect(&database.admin_url()).await.expect("a connection")
}

/// Runs SQL as a superuser; returns the number of rows.
async fn sql(connection: &mut PgConnection, sql: &str) -> usize {
    sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}")).len()
}

/// Changes a setting for new connections, and cuts the present ones.
async fn set(database: &Database, connection: &mut PgConnection, setting: &str, value: &str) {
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    sql(connection, &format!("ALTER DATABASE {name} SET {setting} = {value}")).await;
    sql(connection, CUT_ALL).await;
}

const CUT_ALL: &str = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

const CUT_ONE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
    AND pid <> pg_backend_pid() AND state IN ('active', 'idle in transaction') ORDER BY random() LIMIT 1";

#[test]
fn nothing_is_lost_if_connections_are_cut() {
    run_with_database(Kind::Postgres, async |database| {
        let server = Server::start(&database).await;
        let client = server.user("ada@example.com");
        let mut connection = admin(&database).await;
        let mut random = Random(3);
        let (mut ledgers, mut cut) = (Vec::new(), 0);
        let rounds = rounds(20);
        for _ in 0..rounds {
            let ledger = Ledger::begin(&client).await;
            let writers = tokio::spawn({
                let (ledger, client) = (ledger.clone(), client.clone());
                async move { ledger.write_at_once(&client, WRITERS, WRITES).await }
            });
            for _ in 0..3 {
                ledger.answered((ledger.count() + random.below(4)).min(WRITERS * WRITES - 1)).await;
                cut += sql(&mut connection, CUT_ONE).await;
            }
            writers.await.unwrap();
            recover(&ledger, &client).await;
            ledgers.push(ledger);
        }
        let all = compare(&ledgers, &client, "while serving", rounds).await;
        server.stop().await;
        let server = Server::start(&database).await;
        assert_eq!(compare(&ledgers, &server.user("ada@example.com"), "after a restart", rounds).await, all);
        server.stop().await;
        assert_eq!(wrong(&database).await, [""; 0]);
        println!("PostgreSQL, {cut} backends terminated: {all}");
        assert!(cut > 0);
    });
}

#[test]
fn a_restart_of_the_database_fails_no_later_write() {
    if !tests::database::postgres_is_here() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Database::alone().await;
        let server = Server::start(&database).await;
        let client = server.user("ada@example.com");
        let mut ledgers = Vec::new();
        let rounds = rounds(3);
        for _ in 0..rounds {
            // Given the maximum number of open connections …
            let ledger = Ledger::begin(&client).await;
            let read = || {
                let client = client.clone();
                tokio::spawn(
                    async move { client.gql("{ viewer { id } projects { nodes { name } } }", json!({})).await },
                )
            };
            for read in (0..50).map(|_| read()).collect::<Vec<_>>() {
                read.await.unwrap().ok();
            }
            // … when all of them are dead, then no request fails.
            database.restart().await;
            ledger.write_at_once(&client, 25, 1).await;
            for read in (0..25).map(|_| read()).collect::<Vec<_>>() {
                read.await.unwrap().ok();
            }
            ledgers.push(ledger);
        }
        let all = compare(&ledgers, &client, "after restarts", rounds).await;
        println!("PostgreSQL, restarted: {all}");
        let codes: Vec<_> = ledgers.iter().flat_map(Ledger::codes).collect();
        assert_eq!((all.refused, all.unknown), (0, 0), "{codes:?}");
        server.stop().await;
    });
}

/// PostgreSQL's write-ahead log.
const LOG: &str = "/pg_wal/";

/// Rounds of one fault of the cluster's disk, under the files whose path contains `path`.
fn survive(fault: Fault, path: &str) {
    if !tests::database::postgres_is_here() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let disk = FaultyDisk::build();
        let database = Database::on(&disk, path).await;
        let server = Server::start(&database).await;
        let client = server.user("ada@example.com");
        let mut ledgers = Vec::new();
        let rounds = rounds(3);
        for _ in 0..rounds {
            let ledger = Ledger::begin(&client).await;
            ledger.write_at_once(&client, WRITERS, WRITES).await;
            let before = disk.failed();
            disk.fail(fault);
            // Tables have free space that must be used up first.
            let most = if path == LOG { WRITES } else { 500 };
            let write = || {
                let (ledger, client) = (ledger.clone(), client.clone());
                tokio::spawn(async move {
                    for _ in 0..most {
                        if ledger.write(&client).await != Fate::Acknowledged {
                            break;
                        }
                    }
                })
            };
            let writers: Vec<_> = (0..WRITERS).map(|_| write()).collect();
            while disk.failed() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if path == LOG {
                // PostgreSQL crashes if it cannot write its log; it starts again while the writers wait.
                disk.repair();
                database.crash().await;
            }
            for writer in writers {
                writer.await.unwrap();
            }
            disk.repair();
            recover(&ledger, &client).await;
            let codes = ledger.codes();
            let allowed = ["READ_ONLY", "UNAVAILABLE", "RATE_LIMITED"];
            assert!(codes.iter().all(|code| allowed.contains(&code.as_str())), "{codes:?}");
            ledgers.push(ledger);
        }
        let all = compare(&ledgers, &client, "while serving", rounds).await;
        server.stop().await;
        assert_eq!(wrong(&database).await, [""; 0]);
        println!("PostgreSQL, {fault:?} in {path}: {all}");
    });
}

#[test]
fn nothing_is_lost_if_the_databases_tables_cannot_grow() {
    survive(Fault::Full, "/data/base/");
}

#[test]
fn nothing_is_lost_if_the_databases_log_cannot_be_written() {
    survive(Fault::Write, LOG);
}

#[test]
fn nothing_is_lost_if_the_databases_log_does_not_sync() {
    survive(Fault::Sync, LOG);
}

#[test]
fn a_database_that_refuses_writes_for_a_while_is_still_read_and_reported() {
    run_with_database(Kind::Postgres, async |database| {
        let server = Server::start(&database).await;
        let client = server.user("ada@example.com");
        let mut connection = admin(&database).await;
        let mut all = Tally::default();
        for _ in 0..rounds(5) {
            let ledger = Ledger::begin(&client).await;
            ledger.write_at_once(&client, WRITERS, WRITES).await;
            set(&database, &mut connection, "default_transaction_read_only", "on").await;
            for _ in 0..WRITERS {
                let fate = ledger.write(&client).await;
                assert_eq!(fate, Fate::Refused("READ_ONLY".to_owned()));
            }
            says_read_only(&client, true).await;
            // Known and new users can read.
            client.gql("{ projects { nodes { name } } }", json!({})).await.ok();
            let stranger = server.user(&format!("{}@example.com", ledger.count() + all.acknowledged));
            stranger.gql("{ projects { nodes { name } } }", json!({})).await.ok();
            set(&database, &mut connection, "default_transaction_read_only", "off").await;
            recover(&ledger, &client).await;
            says_read_only(&client, false).await;
            all += compare(&[ledger], &client, "while serving", 1).await;
        }
        println!("PostgreSQL, read-only for a while: {all}");
        server.stop().await;
    });
}

#[test]
fn the_isolation_level_of_the_database_makes_no_difference() {
    run_with_database(Kind::Postgres, async |database| {
        let mut connection = admin(&database).await;
        for level in ["'repeatable read'", "'serializable'"] {
            set(&database, &mut connection, "default_transaction_isolation", level).await;
            let server = Server::start(&database).await;
            let client = server.user("ada@example.com");
            let ledger = Ledger::begin(&client).await;
            ledger.write_at_once(&client, 60, 1).await;
            let codes = ledger.codes();
            let all = compare(&[ledger], &client, level, 1).await;
            println!("PostgreSQL, {level}: {all}");
            assert_eq!((all.acknowledged, codes), (60, Vec::new()), "{level}");
            server.stop().await;
        }
    });
}

/// While connections are cut, the answers of readers are counted.
#[test]
fn reads_during_cut_connections_are_complete_or_refused() {
    run_with_database(Kind::Postgres, async |database| {
        let server = Server::start(&database).await;
        let client = server.user("ada@example.com");
        let project = Project::create(&client, "Read").await;
        for n in 0..5 {
            project.create_file(&format!("{n}.py"), &format!("{n}\n")).await;
        }
        let expected = project.contents().await;
        let done = Arc::new(AtomicBool::new(false));
        let reader = |client: Client| {
            let (id, done, expected) = (project.id.clone(), done.clone(), expected.len());
            tokio::spawn(async move {
                let query =
                    "query($id: ID!) { project(id: $id) { files(first: 500) { totalCount nodes { path content } } } }";
                let (mut whole, mut refused) = (0, 0);
                while !done.load(Ordering::Relaxed) {
                    let answer = client.gql(query, json!({ "id": id })).await;
                    if answer.errors.is_empty() {
                        let files = &answer.data["project"]["files"];
                        assert_eq!(files["nodes"].as_array().map(Vec::len), Some(expected), "{files}");
                        whole += 1;
                    } else {
                        refused += 1;
                    }
                }
                (whole, refused)
            })
        };
        let readers: Vec<_> = (0..4).map(|_| reader(client.clone())).collect();
        let mut connection = admin(&database).await;
        let mut cut = 0;
        while cut < rounds(20) {
            cut += sql(&mut connection, CUT_ONE).await;
        }
        done.store(true, Ordering::Relaxed);
        let (mut whole, mut refused) = (0, 0);
        for reader in readers {
            let (some, others) = reader.await.unwrap();
            (whole, refused) = (whole + some, refused + others);
        }
        println!("PostgreSQL, {cut} backends of readers terminated: {whole} answers complete, {refused} refused");
        assert!(whole > 0);
        server.stop().await;
    });
}

/// Reads and writes of many users at once; returns the codes of their errors.
pub(super) async fn use_at_once(clients: Vec<Client>) -> Vec<String> {
    let users = clients.into_iter().map(|client| {
        tokio::spawn(async move {
            let mut codes = Vec::new();
            for _ in 0..4 {
                let input = json!({ "name": "New", "initialPrompt": "", "config": {} });
                for answer in [
                    client.mutate("createProject", input, "revision").await,
                    client.gql("{ projects { totalCount } }", json!({})).await,
                ] {
                    if !answer.errors.is_empty() {
                        codes.push(answer.error_code().to_owned());
                    }
                }
            }
            codes
        })
    });
    let mut codes = Vec::new();
    for user in users.collect::<Vec<_>>() {
        codes.extend(user.await.unwrap());
    }
    codes
}

fn users(of: impl Fn(&str) -> Client, count: usize) -> Vec<Client> {
    (0..count).map(|n| of(&format!("user{n}@example.com"))).collect()
}

/// `/readyz`: its status, and the names of the parts that are not ready.
async fn ready(client: &Client) -> (u16, Vec<String>) {
    let answer = client.send("GET", "/readyz", &[], "").await.unwrap();
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let parts = said["parts"].as_array().unwrap().iter().filter(|part| part["ready"] == false);
    (answer.status, parts.map(|part| part["name"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn a_database_with_fewer_connections_than_the_pool_serves_everybody() {
    run_with_database(Kind::Postgres, async |database| {
        let mut connection = admin(&database).await;
        let name = database.url().rsplit('/').next().unwrap().to_owned();
        sql(&mut connection, &format!("ALTER DATABASE {name} CONNECTION LIMIT 3")).await;
        let server = Server::start(&database).await;
        assert_eq!(use_at_once(users(|email| server.user(email), 16)).await, [""; 0]);
        let (status, parts) = ready(&server.user("ada@example.com")).await;
        assert!(status == 200 && !parts.contains(&"migrations".to_owned()), "{parts:?}");
        // Once there are more, they are used.
        sql(&mut connection, &format!("ALTER DATABASE {name} CONNECTION LIMIT -1")).await;
        assert_eq!(use_at_once(users(|email| server.user(email), 16)).await, [""; 0]);
        server.stop().await;
    });
}

#[test]
fn an_outage_is_reported_as_one() {
    run_with_database(Kind::Postgres, async |_| {
        let database = Database::alone().await;
        let server = Server::start_with(&database, &["--database-acquire-seconds=3"]).await;
        let clients = users(|email| server.user(email), 4);
        assert_eq!(use_at_once(clients.clone()).await, [""; 0]);
        let project = Project::create(&clients[0], "Outage").await;
        // Given a database that is away …
        database.stop().await;
        let begun = std::time::Instant::now();
        let queued = (0..8).map(|n| {
            let project = project.clone();
            tokio::spawn(async move {
                project.mutate("createFile", json!({ "path": format!("{n}.py"), "content": "" }), "revision").await
            })
        });
        let queued: Vec<_> = queued.collect();
        let read = clients[1].gql("{ projects { totalCount } }", json!({})).await;
        // … then reads, writes and queued writes receive the code of an outage, in time …
        assert_eq!(read.error_code(), "UNAVAILABLE", "{read:?}");
        assert!(read.error()["extensions"]["retryAfterSeconds"].is_number(), "{read:?}");
        for answer in queued {
            let answer = answer.await.unwrap();
            assert_eq!(answer.error_code(), "UNAVAILABLE", "{answer:?}");
        }
        // … after one wait, although a read begins its transaction ahead of its resolvers …
        assert!(begun.elapsed() < std::time::Duration::from_secs(6), "{:?}", begun.elapsed());
        // … `/readyz` reports the database alone …
        let (status, parts) = ready(&clients[0]).await;
        assert_eq!(status, 503);
        assert!(parts.contains(&"database".to_owned()) && !parts.contains(&"migrations".to_owned()), "{parts:?}");
        // … and all works again when it is back.
        database.restart().await;
        assert_eq!(use_at_once(clients).await, [""; 0]);
        server.stop().await;
    });
}

/// Asserts that this many writes at once are refused after one wait of two seconds.
async fn refused_after_one_wait(project: &Project, writers: usize) {
    let begun = std::time::Instant::now();
    let writers = (0..writers).map(|n| {
        let project = project.clone();
        tokio::spawn(async move {
            project.mutate("createFile", json!({ "path": format!("{n}.py"), "content": "" }), "revision").await
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        let answer = writer.await.unwrap();
        assert_eq!(answer.error_code(), "RATE_LIMITED", "{answer:?}");
        assert!(!answer.error()["message"].as_str().unwrap().contains("server"), "{answer:?}");
    }
    assert!(begun.elapsed() < std::time::Duration::from_millis(3_500), "{:?}", begun.elapsed());
}

#[test]
fn all_waits_of_a_write_share_one_bound() {
    run_with_database(Kind::Postgres, async |database| {
        let server = Server::start_with(&database, &["--database-acquire-seconds=2"]).await;
        let project = Project::create(&server.user("ada@example.com"), "Locked").await;
        let mut holder = admin(&database).await;
        let mut holds = holder.begin().await.unwrap();
        let lock = format!("SELECT FROM projects WHERE id = '{}' FOR UPDATE", project.id);
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *holds).await.unwrap();
        refused_after_one_wait(&project, 40).await;
        holds.rollback().await.unwrap();
        project.create_file("last.py", "").await;
        server.stop().await;
    });
}

#[test]
fn the_wait_for_another_process_that_writes_is_bounded() {
    run_with_database(Kind::Sqlite, async |database| {
        let server = Server::start_with(&database, &["--database-acquire-seconds=2"]).await;
        let project = Project::create(&server.user("ada@example.com"), "Locked").await;
        let mut holder = SqliteConnection::connect(&database.url()).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
        refused_after_one_wait(&project, 5).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
        project.create_file("last.py", "").await;
        holder.close().await.unwrap();
        server.stop().await;
    });
}

#[test]
fn a_time_out_of_range_is_an_error_and_no_panic() {
    run_with_database(Kind::Postgres, async |database| {
        let path = std::env::temp_dir().join(format!("antiphon-log-{}", antiphon::model::clock::new_id()));
        let server = ChildServer::start_logging(&database, &[], std::fs::File::create(&path).unwrap());
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Times").await;
        for time in ["infinity", "-infinity", "294276-12-31 23:59:59+00"] {
            for (column, field) in
                [("last_accessed_at", "lastAccessedAt"), ("created_at", "createdAt"), ("updated_at", "updatedAt")]
            {
                let id = &project.id;
                let set = format!("UPDATE projects SET {column} = '{time}' WHERE id = '{id}'");
                sql(&mut admin(&database).await, &set).await;
                let answer = ada.gql(&format!("{{ projects {{ nodes {{ {field} }} }} }}"), json!({})).await;
                assert_eq!(answer.error_code(), "INTERNAL", "{column} = {time}: {answer:?}");
                sql(&mut admin(&database).await, &format!("UPDATE projects SET {column} = now() WHERE id = '{id}'"))
                    .await;
            }
        }
        assert!(ada.gql("{ projects { nodes { createdAt } } }", json!({})).await.errors.is_empty());
        server.stop();
        let log = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(log.contains("out of range") && !log.contains("panic"), "{log}");
    });
}
