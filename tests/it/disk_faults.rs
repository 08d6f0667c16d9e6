//! Given a server on a SQLite file, when its disk fails or is full, or the server is killed, then acknowledged writes
//! are stored, refused ones are not, and writes continue once they can. `ANTIPHON_FAULT_ROUNDS` sets the number of
//! rounds (100 takes a few minutes).

use std::{env, process::Command, time::Duration};

use antiphon::commands;
use serde_json::{Value, json};
use tests::{
    client::Client,
    database::{Database, Kind},
    disk::{Fault, FaultyDisk, SmallDisk},
    ledger::{Fate, Ledger, Tally},
    server::{ChildServer, run_with_database, settings},
    workload::Random,
};
use tokio::time::Instant;

const WRITERS: usize = 4;
const WRITES: usize = 6;

/// How long writes can be refused after the fault has ended.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn rounds(usual: usize) -> usize {
    env::var("ANTIPHON_FAULT_ROUNDS").ok().map_or(usual, |rounds| rounds.parse().expect("a number"))
}

/// Writes until one is acknowledged, and then five times more, all of which must be acknowledged.
pub(super) async fn recover(ledger: &Ledger, client: &Client) {
    let begun = Instant::now();
    loop {
        match ledger.write(client).await {
            Fate::Acknowledged => break,
            fate => assert!(begun.elapsed() < PATIENCE, "still {fate:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..5 {
        assert_eq!(ledger.write(client).await, Fate::Acknowledged);
    }
}

/// Waits until `/readyz` reports this; its answer can be cached for a moment.
pub(super) async fn says_read_only(client: &Client, expected: bool) {
    let begun = Instant::now();
    loop {
        let ready = client.send("GET", "/readyz", &[], "").await.expect("an answer");
        let body: Value = serde_json::from_slice(&ready.body).expect("JSON");
        if body["readOnly"] == expected {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The problems that `verify` finds.
pub(super) async fn wrong(database: &Database) -> Vec<String> {
    let mut wrong = Vec::new();
    let report = &mut |_, text| wrong.push(text);
    commands::verify(&settings(&database.url(), &[]), None, report).await.expect("the database can be read");
    wrong
}

/// Compares the ledgers with the database, and fails if one acknowledgement or refusal was wrong.
pub(super) async fn compare(ledgers: &[Ledger], client: &Client, when: &str, rounds: usize) -> Tally {
    let mut all = Tally { rounds, ..Tally::default() };
    let mut differences = Vec::new();
    for ledger in ledgers {
        let (tally, different) = ledger.check(client).await;
        all += tally;
        differences.extend(different);
    }
    assert!(all.is_honest(), "{when}: {all}\n{}", differences.join("\n"));
    all
}

fn start(database: &Database, disk: &FaultyDisk) -> ChildServer {
    let variables = disk.variables(database);
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    ChildServer::start_with(database, &variables)
}

/// Rounds of one kind of fault, with a `kill -9` after every fifth.
fn survive(fault: Fault) {
    run_with_database(Kind::Sqlite, async |database| {
        let disk = FaultyDisk::build();
        let mut server = start(&database, &disk);
        let mut random = Random(fault as u64 + 1);
        let rounds = rounds(10);
        let mut ledgers = Vec::new();
        for round in 0..rounds {
            let client = server.user("ada@example.com");
            let ledger = Ledger::begin(&client).await;
            let writers = tokio::spawn({
                let (ledger, client) = (ledger.clone(), client.clone());
                async move { ledger.write_at_once(&client, WRITERS, WRITES).await }
            });
            let on = random.below(WRITERS * WRITES / 2);
            ledger.answered(on).await;
            disk.fail(fault);
            ledger.answered(on + 1 + random.below(WRITERS * WRITES / 2 - 1)).await;
            disk.repair();
            writers.await.unwrap();
            recover(&ledger, &client).await;
            compare(std::slice::from_ref(&ledger), &client, "while serving", 1).await;
            ledgers.push(ledger);
            if round % 5 == 4 {
                server.kill();
                server = start(&database, &disk);
            }
        }
        let serving = compare(&ledgers, &server.user("ada@example.com"), "while serving", rounds).await;
        server.kill();
        server = start(&database, &disk);
        let restarted = compare(&ledgers, &server.user("ada@example.com"), "after a restart", rounds).await;
        assert_eq!(serving, restarted);
        server.stop();
        assert_eq!(wrong(&database).await, [""; 0]);
        println!("SQLite, {fault:?}: {restarted}");
        assert!(disk.failed() > 0 && restarted.refused > 0, "the fault had no effect: {}", disk.failed());
    });
}

#[test]
fn nothing_is_lost_if_writes_to_the_disk_fail() {
    survive(Fault::Write);
}

#[test]
fn nothing_is_lost_if_the_disk_does_not_sync() {
    survive(Fault::Sync);
}

#[test]
fn nothing_is_lost_if_files_cannot_grow() {
    survive(Fault::Full);
}

#[test]
fn nothing_is_lost_on_a_full_disk() {
    run_with_database(Kind::Sqlite, async |_| {
        let mut all = Tally::default();
        let mut left = rounds(5);
        while left > 0 {
            // A file with more rounds than this fills the disk by itself.
            let some = left.min(10);
            left -= some;
            match fill_the_disk(some).await {
                Some(tally) => all += tally,
                None => return,
            }
        }
        println!("SQLite, tmpfs of 3 MiB: {all}");
        assert!(all.refused > 0);
    });
}

/// Rounds of a full disk on a fresh file system; none if it cannot be mounted.
async fn fill_the_disk(rounds: usize) -> Option<Tally> {
    let disk = SmallDisk::mount(3)?;
    let database = Database::file_in(disk.path());
    let mut server = ChildServer::start(&database);
    let mut all = Tally::default();
    for _ in 0..rounds {
        let client = server.user("ada@example.com");
        let ledger = Ledger::begin(&client).await;
        ledger.write_at_once(&client, WRITERS, 1).await;
        disk.fill();
        // The WAL has free space of its own that must be used up first.
        for _ in 0..100 {
            if matches!(ledger.write(&client).await, Fate::Refused(_)) {
                break;
            }
        }
        ledger.write_at_once(&client, WRITERS, 1).await;
        disk.free();
        recover(&ledger, &client).await;
        compare(std::slice::from_ref(&ledger), &client, "while serving", 1).await;
        server.kill();
        server = ChildServer::start(&database);
        all += compare(&[ledger], &server.user("ada@example.com"), "after a restart", 1).await;
    }
    server.stop();
    assert_eq!(wrong(&database).await, [""; 0]);
    Some(all)
}

#[test]
fn nothing_is_lost_if_the_server_is_killed() {
    run_with_database(Kind::Sqlite, async |database| {
        let mut server = ChildServer::start(&database);
        let rounds = rounds(5);
        let mut random = Random(9);
        let mut all = Tally::default();
        for _ in 0..rounds {
            let client = server.user("ada@example.com");
            let ledger = Ledger::begin(&client).await;
            let writers = tokio::spawn({
                let (ledger, client) = (ledger.clone(), client.clone());
                async move { ledger.write_at_once(&client, WRITERS, WRITES).await }
            });
            ledger.answered(1 + random.below(WRITERS * WRITES / 2)).await;
            server.kill();
            writers.await.unwrap();
            server = ChildServer::start(&database);
            let client = server.user("ada@example.com");
            recover(&ledger, &client).await;
            all += compare(&[ledger], &client, "after a restart", 1).await;
        }
        server.stop();
        assert_eq!(wrong(&database).await, [""; 0]);
        println!("SQLite, kill -9: {all}");
        assert!(all.unknown > 0);
    });
}

#[test]
fn a_limit_on_file_sizes_makes_the_database_read_only() {
    run_with_database(Kind::Sqlite, async |database| {
        let server = ChildServer::start(&database);
        let limit = |bytes: &str| {
            let id = server.id().to_string();
            let set = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={bytes}:")]).status();
            assert!(set.expect("prlimit (Debian's package util-linux)").success());
        };
        let client = server.user("ada@example.com");
        let ledger = Ledger::begin(&client).await;
        ledger.write_at_once(&client, WRITERS, WRITES).await;
        limit("300000");
        // Given writes beyond the limit, then they are refused …
        while ledger.write(&client).await == Fate::Acknowledged {}
        assert_eq!(ledger.write(&client).await, Fate::Refused("READ_ONLY".to_owned()));
        says_read_only(&client, true).await;
        compare(std::slice::from_ref(&ledger), &client, "beyond the limit", 1).await;
        // … until the limit is lifted.
        limit("unlimited");
        recover(&ledger, &client).await;
        compare(&[ledger], &client, "without the limit", 1).await;
        server.stop();
        assert_eq!(wrong(&database).await, [""; 0]);
    });
}

#[test]
fn a_database_on_a_read_only_disk_is_served_for_reads() {
    let Some(disk) = SmallDisk::mount(8) else { return };
    run_with_database(Kind::Sqlite, async |_| {
        let database = Database::file_in(disk.path());
        let server = ChildServer::start(&database);
        let ledger = Ledger::begin(&server.user("ada@example.com")).await;
        ledger.write_at_once(&server.user("ada@example.com"), WRITERS, WRITES).await;
        server.stop();
        // Given a disk that is read-only, then everything can be read, also by the commands, …
        disk.set_read_only(true);
        let server = ChildServer::start(&database);
        let client = server.user("ada@example.com");
        compare(std::slice::from_ref(&ledger), &client, "on a read-only disk", 1).await;
        client.gql("{ viewer { email } projects { totalCount } }", json!({})).await.ok();
        // … writes are refused, and the server reports why.
        for _ in 0..2 {
            assert_eq!(ledger.write(&client).await, Fate::Refused("READ_ONLY".to_owned()));
        }
        says_read_only(&client, true).await;
        assert_eq!(client.send("GET", "/readyz", &[], "").await.unwrap().status, 200);
        server.stop();
        assert_eq!(wrong(&database).await, [""; 0]);
        // It is written to after the next start.
        disk.set_read_only(false);
        let server = ChildServer::start(&database);
        recover(&ledger, &server.user("ada@example.com")).await;
        server.stop();
    });
}
