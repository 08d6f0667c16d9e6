//! Given a streaming replica that answers reads, then users read their own writes and the revisions that they name,
//! subscribers miss nothing, and a failing replica goes unnoticed.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{
    client::Client,
    database::{Database, Kind},
    mcp::{Agent, updated},
    nats::Nats,
    project::{Project, number, with},
    server::{self, Server},
};
use tokio::time::sleep;

use super::failover::{run_with_standby, sql, until};

/// The longest time for anything to happen.
const PATIENCE: Duration = Duration::from_secs(20);

async fn server_with(primary: &Database, replicas: &[&Database]) -> Server {
    server_with_flags(primary, replicas, &[]).await
}

async fn server_with_flags(primary: &Database, replicas: &[&Database], more: &[&str]) -> Server {
    let urls: Vec<String> = replicas.iter().map(|replica| replica.server_url()).collect();
    let urls = urls.join(",");
    let flags = ["--metrics-listen", "127.0.0.1:0", "--database-replica-urls", urls.as_str()];
    Server::start_with(primary, &[&flags[..], more].concat()).await
}

/// A metric's value; 0 if there is none.
async fn metric(server: &Server, name: &str) -> f64 {
    let page = server.operator().send("GET", "/metrics", &[], "").await.unwrap();
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_default()
}

async fn reads(server: &Server, place: &str) -> f64 {
    metric(server, &format!("antiphon_reads_total{{place=\"{place}\"}}")).await
}

/// Repeats a read until a replica answers it.
async fn until_replica(server: &Server, client: &Client) {
    let begun = Instant::now();
    let before = reads(server, "replica").await;
    while reads(server, "replica").await <= before {
        client.gql("{ projects { totalCount } }", json!({})).await.ok();
        assert!(begun.elapsed() < PATIENCE, "no replica answers");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn replay(standby: &Database, word: &str) {
    sql(standby, &format!("SELECT pg_wal_replay_{word}()")).await;
}

/// A project of Ada, with Bob as a viewer, that the replica has.
async fn shared(primary: &Database, server: &Server) -> (Project, Project) {
    let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
    bob.gql("{ viewer { id } }", json!({})).await.ok();
    let project = Project::create(&ada, "Replicated").await;
    project.create_file("a.py", "old\n").await;
    primary.add_collaborator(&project.id, "bob@example.com", "viewer", true).await;
    until(primary, "SELECT (replay_lsn >= pg_current_wal_lsn())::text FROM pg_stat_replication", "true").await;
    until_replica(server, &bob).await;
    let of_bob = project.of(&bob);
    (project, of_bob)
}

#[test]
fn agents_read_from_the_replica_what_it_has() {
    run_with_standby(async |primary, standby| {
        let server = server_with(&primary, &[&standby]).await;
        let (ada, bob) = shared(&primary, &server).await;
        let agent = Agent::start(&bob.client).await;
        let read = |more: serde_json::Value| with(json!({ "projectId": bob.id, "path": "a.py" }), more);
        let before = reads(&server, "replica").await;
        assert_eq!(agent.ok("read_file", read(json!({}))).await["content"], "old\n");
        assert!(reads(&server, "replica").await > before);
        // Given a replica that stands still, then what it lacks is read from the primary: a revision that the agent
        // names, what it was notified of, and what it has written.
        replay(&standby, "pause").await;
        let revision = ada.update_file("a.py", "new\n").await;
        assert_eq!(agent.ok("read_file", read(json!({ "at": revision }))).await["content"], "new\n");
        let uri = format!("antiphon://{}/a.py", bob.id);
        let mut stream = agent.listen(&[]).await;
        agent.get("resources/subscribe", json!({ "uri": uri })).await;
        for content in ["newer\n", "newest\n"] {
            ada.update_file("a.py", content).await;
            assert_eq!(updated(&mut stream).await, uri);
        }
        assert_eq!(agent.ok("read_file", read(json!({}))).await["content"], "newest\n");
        let own = Agent::start(&ada.client).await;
        let written = own.ok("write_file", read(json!({ "content": "mine\n", "expectedVersion": 4 }))).await;
        assert_eq!(written["version"], 5);
        assert_eq!(own.ok("read_file", read(json!({}))).await["content"], "mine\n");
        replay(&standby, "resume").await;
        drop(stream);
        server.stop().await;
    });
}

#[test]
fn users_read_their_own_writes_and_the_revisions_that_they_name() {
    run_with_standby(async |primary, standby| {
        let server = server_with(&primary, &[&standby]).await;
        let other = server_with(&primary, &[&standby]).await;
        let (ada, bob) = shared(&primary, &server).await;
        until_replica(&other, &other.user("ada@example.com")).await;

        // Given a replica that stands still, then the author reads every write …
        replay(&standby, "pause").await;
        let paused = Instant::now();
        let revision = ada.update_file("a.py", "new\n").await;
        assert_eq!(ada.contents().await, [("a.py".to_owned(), "new\n".to_owned())]);
        assert_eq!(ada.revision().await, revision);
        // … on another server soon after, since the servers notify each other …
        let elsewhere = ada.of(&other.user("ada@example.com"));
        while elsewhere.revision().await < revision {
            assert!(paused.elapsed() < Duration::from_secs(3), "the other server has not been notified");
        }
        // … somebody else is answered by the replica …
        let before = reads(&server, "replica").await;
        let seen = bob.revision().await;
        if paused.elapsed() < Duration::from_secs(4) {
            assert_eq!((seen, reads(&server, "replica").await), (revision - 1, before + 1.0));
        }
        // … but not if they name the revision, in whatever way …
        let query =
            "query($id: ID!, $at: Moment!) { project(id: $id, at: $at) { revision file(path: \"a.py\") { content } } }";
        let read = bob.client.gql(query, json!({ "id": bob.id, "at": { "revision": revision } })).await.ok();
        assert_eq!(read["project"], json!({ "revision": revision, "file": { "content": "new\n" } }));
        let query = "query($id: ID!) { node(id: $id) { ... on Project { revision } } }";
        let read = bob.client.gql(query, json!({ "id": format!("{}@{revision}", bob.id) })).await.ok();
        assert_eq!(read["node"]["revision"], revision);
        let query = format!(
            "query($id: ID!) {{ project(id: $id) {{ events(first: 5, afterRevision: {}) {{ revision }} }} }}",
            revision - 1
        );
        let read = bob.client.gql(&query, json!({ "id": bob.id })).await.ok();
        assert_eq!(read["project"]["events"], json!([{ "revision": revision }]));
        // … and nobody reads what is more than a few seconds old.
        while bob.revision().await < revision {
            assert!(paused.elapsed() < PATIENCE, "the replica still answers");
            sleep(Duration::from_millis(50)).await;
        }

        // When it goes on, it answers the author too.
        replay(&standby, "resume").await;
        until_replica(&server, &ada.client).await;
        assert_eq!(ada.contents().await, [("a.py".to_owned(), "new\n".to_owned())]);
        // Presence is in an unlogged table, which replicas do not have.
        let query = "query($id: ID!) { project(id: $id) { presence { user { id } } } }";
        let read = bob.client.gql(query, json!({ "id": bob.id })).await.ok();
        assert_eq!(read["project"]["presence"], json!([]));
        server.stop().await;
        other.stop().await;
        primary.stop().await;
    });
}

#[test]
fn servers_announce_their_writes_by_nats() {
    run_with_standby(async |primary, standby| {
        let Some(mut nats) = Nats::start() else { return };
        let url = nats.url();
        let flags = ["--nats-url", url.as_str()];
        let server = server_with_flags(&primary, &[&standby], &flags).await;
        let other = server_with_flags(&primary, &[&standby], &flags).await;
        let (ada, _) = shared(&primary, &server).await;
        until_replica(&other, &other.user("ada@example.com")).await;
        replay(&standby, "pause").await;
        let paused = Instant::now();
        let revision = ada.update_file("a.py", "new\n").await;
        let elsewhere = ada.of(&other.user("ada@example.com"));
        while elsewhere.revision().await < revision {
            assert!(paused.elapsed() < Duration::from_secs(3), "the other server has not been notified");
        }
        // Without announcements, the primary answers.
        replay(&standby, "resume").await;
        until_replica(&other, &elsewhere.client).await;
        nats.kill();
        let begun = Instant::now();
        loop {
            let before = reads(&other, "replica").await;
            elsewhere.revision().await;
            if reads(&other, "replica").await <= before {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "a replica answers without announcements");
        }
        for content in ["one\n", "two\n"] {
            ada.update_file("a.py", content).await;
            assert_eq!(elsewhere.contents().await, [("a.py".to_owned(), content.to_owned())]);
        }
        server.stop().await;
        other.stop().await;
        primary.stop().await;
    });
}

#[test]
fn subscribers_are_served_by_replicas_and_miss_nothing() {
    run_with_standby(async |primary, standby| {
        let server = server_with(&primary, &[&standby]).await;
        let other = server_with(&primary, &[&standby]).await;
        let (ada, bob) = shared(&primary, &server).await;
        let select = "revision changes { path newContent } snapshot { id }";
        let (mut near, mut far) =
            (bob.listen(0, select).await, bob.of(&other.user("bob@example.com")).listen(0, select).await);
        let mut last = 0;
        for n in 0..30_i64 {
            match n {
                10 => replay(&standby, "pause").await,
                20 => replay(&standby, "resume").await,
                _ => {}
            }
            let content = format!("{n}\n");
            let revision = ada.update_file("a.py", &content).await;
            while last < revision {
                last += 1;
                for subscription in [&mut near, &mut far] {
                    let event = subscription.event().await["projectEvents"].take();
                    assert_eq!(number(&event["revision"]), last, "{event}");
                    if last == revision {
                        assert_eq!(event["changes"], json!([{ "path": "a.py", "newContent": content }]));
                    }
                }
            }
            // What a subscriber reads after an event is not older.
            assert!(bob.revision().await >= revision);
        }
        let by_replica = reads(&server, "replica").await + reads(&other, "replica").await;
        println!(
            "subscriptions: {by_replica} reads by the replica, {} by the primary",
            reads(&server, "primary").await
        );
        // On a busy machine the replica lags, and the primary answers more.
        assert!(by_replica > 0.0);
        // A subscriber who returns reads the whole log.
        let mut again = bob.listen(0, select).await;
        for revision in 1..=last {
            assert_eq!(again.event().await["projectEvents"]["revision"], revision);
        }
        drop((near, far, again));
        server.stop().await;
        other.stop().await;
        primary.stop().await;
    });
}

#[test]
fn a_replica_that_fails_goes_unnoticed_and_is_used_again() {
    run_with_standby(async |primary, standby| {
        let server = server_with(&primary, &[&standby]).await;
        let (ada, bob) = shared(&primary, &server).await;
        let read = || {
            let bob = bob.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    assert_eq!(bob.contents().await, [("a.py".to_owned(), "old\n".to_owned())]);
                }
            })
        };
        for fault in ["stop", "freeze"] {
            let readers: Vec<_> = (0..3).map(|_| read()).collect();
            match fault {
                "stop" => standby.stop().await,
                _ => standby.freeze(true).await,
            }
            for reader in readers {
                reader.await.unwrap();
            }
            let begun = Instant::now();
            let usable = format!("antiphon_replica_usable{{replica=\"{}\"}}", standby.place());
            while metric(&server, &usable).await > 0.0 {
                assert!(begun.elapsed() < PATIENCE, "it still counts as usable");
                sleep(Duration::from_millis(50)).await;
            }
            let ready = ada.client.send("GET", "/readyz", &[], "").await.unwrap();
            assert_eq!(ready.status, 200);
            ada.client.mutate("updateProject", json!({ "id": ada.id, "description": fault }), "revision").await.ok();
            match fault {
                "stop" => standby.restart().await,
                _ => standby.freeze(false).await,
            }
            until_replica(&server, &bob.client).await;
        }
        server.stop().await;
        primary.stop().await;
    });
}

#[test]
fn what_is_no_replica_of_the_database_is_not_read() {
    run_with_standby(async |primary, standby| {
        let foreign = Database::create(Kind::Postgres).await;
        let settings = |urls: &str| server::settings(&primary.server_url(), &["--database-replica-urls", urls]);
        let all = [&foreign, &primary, &standby];
        let server = server_with(&primary, &all).await;
        let (_, bob) = shared(&primary, &server).await;
        assert_eq!(bob.revision().await, 2);
        let lag = |database: &Database| format!("antiphon_replica_usable{{replica=\"{}\"}}", database.place());
        for (database, usable) in all.into_iter().zip([0.0, 0.0, 1.0]) {
            assert_eq!(metric(&server, &lag(database)).await, usable, "{}", database.place());
        }
        server.stop().await;

        let examined = async |urls: &str| {
            let findings = antiphon::commands::examine(&settings(urls)).await;
            findings
                .iter()
                .map(ToString::to_string)
                .filter(|finding| finding.contains(" replica: "))
                .collect::<String>()
        };
        let report = examined(&standby.server_url()).await;
        assert!(report.contains("ok       replica") && report.contains("follows the primary"), "{report}");
        let report = examined(&foreign.server_url()).await;
        assert!(report.contains("BROKEN") && report.contains("another cluster"), "{report}");
        let report = examined(&primary.server_url()).await;
        assert!(report.contains("BROKEN") && report.contains("not a standby"), "{report}");
        let report = examined("postgres://nobody:hunter2@127.0.0.1:1/none").await;
        assert!(report.contains("warning") && report.contains("cannot be reached"), "{report}");
        for (urls, why) in
            [("sqlite://a.db", "only PostgreSQL"), ("postgres://a:hun@ter2@h/d?x=1", "unknown parameter")]
        {
            let report = examined(urls).await;
            assert!(
                report.contains("BROKEN") && report.contains("DATABASE_REPLICA_URLS") && report.contains(why),
                "{report}"
            );
            assert!(!report.contains("ter2"), "{report}");
        }
        foreign.remove().await;
        primary.stop().await;
    });
}

#[test]
fn replicas_of_a_file_are_refused() {
    tests::server::run_with_database(Kind::Sqlite, async |database| {
        let flags = ["--database-replica-urls", "postgres://h/d"];
        let refused = antiphon::app::App::start(server::settings(&database.url(), &flags), Default::default()).await;
        let refused = format!("{:#}", refused.err().expect("refused"));
        assert!(refused.contains("only PostgreSQL has replicas"), "{refused}");
    });
}
