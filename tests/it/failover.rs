//! Given a primary with a streaming standby, when the primary is killed and the standby promoted, then writers and
//! subscribers go on without a restart of the server, and lost history is reported.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tests::{
    client::Client,
    database::{Database, postgres_is_here},
    ledger::{Fate, Ledger},
    project::{Project, number},
    server::{Locks, Server},
    socket::Subscription,
};
use tokio::time::sleep;

const WRITERS: usize = 4;
const WRITES: usize = 60;

/// The longest time until writers and subscribers go on.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test with a primary and its standby; skips it if this machine lacks PostgreSQL.
pub(super) fn run_with_standby<F: Future<Output = ()>>(body: impl FnOnce(Database, Database) -> F) {
    if !postgres_is_here() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let primary = Database::primary().await;
        let standby = primary.standby().await;
        body(primary.clone(), standby.clone()).await;
        standby.stop().await;
    });
}

/// Runs SQL as a superuser, and returns the first row as text.
pub(super) async fn sql(database: &Database, sql: &str) -> Option<String> {
    let mut connection = PgConnection::connect(&database.admin_url()).await.unwrap();
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await;
    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.last().and_then(|row| row.try_get(0).ok())
}

/// Waits until a question has this answer.
pub(super) async fn until(database: &Database, question: &str, answer: &str) {
    let begun = Instant::now();
    while sql(database, question).await.as_deref() != Some(answer) {
        assert!(begun.elapsed() < PATIENCE, "not {answer}: {question}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn server_of(all: &[&Database]) -> Server {
    Server::start_behind(all[0], &Database::server_url_of(all), &[], Locks::Both).await
}

/// Repeats a write until it is acknowledged.
async fn until_acknowledged(ledger: &Ledger, client: &Client) {
    let begun = Instant::now();
    while ledger.write(client).await != Fate::Acknowledged {
        assert!(begun.elapsed() < PATIENCE, "no write succeeds");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Receives revisions until this one; each must follow the one before. Returns the longest pause.
async fn receive(subscription: &mut Subscription, mut at: i64, last: i64) -> Duration {
    let mut longest = Duration::ZERO;
    while at < last {
        let begun = Instant::now();
        let next = subscription.next_within(PATIENCE).await;
        let event = next.unwrap_or_else(|| panic!("ended: {:?}", subscription.end())).unwrap();
        at += 1;
        longest = longest.max(begun.elapsed());
        assert_eq!(event["projectEvents"]["revision"], at);
    }
    longest
}

#[test]
fn a_promoted_synchronous_standby_has_every_acknowledged_write() {
    run_with_standby(async |primary, standby| {
        sql(&primary, "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
        sql(&primary, "SELECT pg_reload_conf()").await;
        until(&primary, "SELECT sync_state FROM pg_stat_replication", "sync").await;
        let server = server_of(&[&primary, &standby]).await;
        let client = server.user("ada@example.com");
        let ledger = Ledger::begin(&client).await;
        let project = Project { client: client.clone(), id: ledger.project().to_owned() };
        let mut subscription = project.listen(0, "revision").await;
        let written_at_least = i64::try_from(WRITERS * WRITES).unwrap();
        let receiver = tokio::spawn(async move {
            let pause = receive(&mut subscription, 0, written_at_least).await;
            (subscription, pause)
        });

        let writers = tokio::spawn({
            let (ledger, client) = (ledger.clone(), client.clone());
            async move { ledger.write_at_once(&client, WRITERS, WRITES).await }
        });
        ledger.answered(60).await;
        primary.stop().await;
        let killed = Instant::now();
        standby.promote().await;
        let promoted = killed.elapsed();
        until_acknowledged(&ledger, &client).await;
        let written = killed.elapsed();
        writers.await.unwrap();
        let newest = project.revision().await;
        let (mut subscription, pause) = receiver.await.unwrap();
        receive(&mut subscription, written_at_least, newest).await;
        let (tally, differences) = ledger.check(&client).await;
        println!(
            "synchronous: promoted after {promoted:.1?}, written after {written:.1?}, subscribers paused for {pause:.1?}; {tally}; {:?}",
            ledger.codes()
        );
        assert!(tally.is_honest() && tally.acknowledged > 60, "{tally}: {differences:?}");
        drop(subscription);
        server.stop().await;
    });
}

#[test]
fn a_promoted_asynchronous_standby_continues_and_lost_positions_are_reported() {
    run_with_standby(async |primary, standby| {
        let server = server_of(&[&primary, &standby]).await;
        let client = server.user("ada@example.com");
        let project = Project::create(&client, "Lost").await;
        for n in 2..=5 {
            project.create_file(&format!("{n}.py"), "kept\n").await;
        }
        let mut subscription = project.listen(0, "revision").await;
        receive(&mut subscription, 0, 5).await;
        until(&primary, "SELECT (replay_lsn >= pg_current_wal_lsn())::text FROM pg_stat_replication", "true").await;

        // Given three revisions that the standby lacks and a subscriber has received …
        sql(&standby, "ALTER SYSTEM SET primary_conninfo = ''").await;
        sql(&standby, "SELECT pg_reload_conf()").await;
        until(&primary, "SELECT count(*)::text FROM pg_stat_replication", "0").await;
        for n in 6..=8 {
            project.create_file(&format!("{n}.py"), "lost\n").await;
        }
        receive(&mut subscription, 5, 8).await;
        // … when the standby takes over, then the server uses it, and the subscriber is notified.
        primary.stop().await;
        let killed = Instant::now();
        standby.promote().await;
        let begun = Instant::now();
        let input = |path: &str| json!({ "path": path, "content": "new\n" });
        while project.mutate("createFile", input("6.py"), "revision").await.errors.iter().any(|_| true) {
            assert!(begun.elapsed() < PATIENCE, "no write succeeds");
            sleep(Duration::from_millis(10)).await;
        }
        let written = killed.elapsed();
        assert_eq!(project.revision().await, 6);
        let errors = subscription.next_within(PATIENCE).await.expect("an answer").expect_err("lost");
        assert_eq!(errors[0]["extensions"]["code"], "POSITION_LOST", "{errors:?}");
        let lost = number(&errors[0]["extensions"]["revision"]);
        assert!((5..=6).contains(&lost), "{errors:?}");
        println!(
            "asynchronous: written after {written:.1?}, the lost position reported after {:.1?}",
            killed.elapsed()
        );

        // From the present on, everything is received.
        let mut refused = project.listen(8, "revision").await;
        let errors = refused.next_within(PATIENCE).await.expect("an answer").expect_err("lost");
        assert_eq!(errors[0]["extensions"]["code"], "POSITION_LOST", "{errors:?}");
        let mut again = project.listen(5, "revision").await;
        for n in 7..=9 {
            project.create_file(&format!("{n}.py"), "new\n").await;
        }
        receive(&mut again, 5, 9).await;
        drop((subscription, refused, again));
        server.stop().await;
    });
}

#[test]
fn a_server_starts_with_the_primary_in_any_place_and_refuses_standbys_alone() {
    run_with_standby(async |primary, standby| {
        for all in [[&primary, &standby], [&standby, &primary]] {
            let server = server_of(&all).await;
            Project::create(&server.user("ada@example.com"), "Found").await;
            server.stop().await;
        }
        let settings = tests::server::settings(&Database::server_url_of(&[&standby, &primary]), &[]);
        let report: String = antiphon::commands::examine(&settings).await.iter().map(ToString::to_string).collect();
        for (database, role) in [(&primary, "a primary"), (&standby, "a standby")] {
            assert!(report.contains(&format!("ok       host: {} is {role}", database.place())), "{report}");
        }
        assert!(!report.contains("BROKEN"), "{report}");
        // One host, which must be a primary; without the parameter a standby is read.
        let url = standby.server_url();
        let strict = tests::server::settings(
            &format!("{url}?target_session_attrs=read-write"),
            &["--database-acquire-seconds", "1"],
        );
        let refused = antiphon::app::App::start(strict, Default::default()).await.err().expect("refused");
        assert!(format!("{refused:#}").contains("standby"), "{refused:#}");
        let server = server_of(&[&standby]).await;
        let client = server.user("ada@example.com");
        let read = client.gql("{ projects { totalCount } }", json!({})).await.ok();
        assert_eq!(read["projects"]["totalCount"], 2);
        let refused = client
            .mutate("createProject", json!({ "name": "Refused", "initialPrompt": "", "config": {} }), "project { id }")
            .await;
        assert_eq!(refused.error_code(), "READ_ONLY");
        server.stop().await;
        primary.stop().await;
    });
}
