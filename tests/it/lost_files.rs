//! Given a server on a SQLite file, when the file is deleted or replaced, then no write is acknowledged that would be
//! lost.

use std::{
    fs,
    path::{Path, PathBuf},
};

use antiphon::commands;
use sqlx::{Connection, SqliteConnection};
use tests::{
    database::Kind,
    ledger::{Fate, Ledger},
    server::{ChildServer, run_with_database, settings},
};

use super::disk_faults::{compare, recover, says_read_only, wrong};

const WRITERS: usize = 4;
const WRITES: usize = 6;

fn moved(file: &Path) -> PathBuf {
    file.with_extension("moved")
}

/// No write is acknowledged if it goes to a file that is no longer at the database's path.
fn refuse_without_the_file(replace: fn(&Path)) {
    run_with_database(Kind::Sqlite, async |database| {
        let file = database.file().unwrap();
        let mut server = ChildServer::start(&database);
        let client = server.user("ada@example.com");
        let ledger = Ledger::begin(&client).await;
        ledger.write_at_once(&client, WRITERS, WRITES).await;
        // Given a replaced or missing file …
        fs::copy(&file, file.with_extension("copy")).unwrap();
        fs::rename(&file, moved(&file)).unwrap();
        replace(&file);
        // … then no write is acknowledged, and the server reports the problem …
        for _ in 0..5 {
            let fate = ledger.write(&client).await;
            assert!(matches!(fate, Fate::Refused(_)), "{fate:?}");
        }
        assert_eq!(ledger.codes().iter().filter(|code| *code != "READ_ONLY").count(), 0, "{:?}", ledger.codes());
        says_read_only(&client, true).await;
        // … and once the file is back, everything is stored.
        server.kill();
        fs::rename(moved(&file), &file).unwrap();
        server = ChildServer::start(&database);
        let client = server.user("ada@example.com");
        recover(&ledger, &client).await;
        compare(&[ledger], &client, "after a restart", 1).await;
        server.stop();
        assert_eq!(wrong(&database).await, [""; 0]);
    });
}

#[test]
fn nothing_is_acknowledged_once_the_file_is_deleted() {
    refuse_without_the_file(|_| {});
}

#[test]
fn nothing_is_acknowledged_once_the_file_is_replaced() {
    refuse_without_the_file(|file| fs::rename(file.with_extension("copy"), file).unwrap());
}

#[test]
fn a_file_next_to_the_wal_of_another_is_not_opened() {
    run_with_database(Kind::Sqlite, async |database| {
        let file = database.file().unwrap();
        let beside = |end: &str| PathBuf::from(format!("{}{end}", file.display()));
        let mut server = ChildServer::start(&database);
        Ledger::begin(&server.user("ada@example.com")).await.write_at_once(&server.user("ada@example.com"), 2, 5).await;
        server.stop();
        // Given a backup, a database with later writes, and a server that is killed …
        let backup = file.with_extension("backup");
        fs::copy(&file, &backup).unwrap();
        server = ChildServer::start(&database);
        let client = server.user("ada@example.com");
        let ledger = Ledger::begin(&client).await;
        ledger.write_at_once(&client, WRITERS, 25).await;
        let mut connection = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        ledger.write_at_once(&client, WRITERS, 25).await;
        server.kill();
        assert!(fs::metadata(beside("-wal")).unwrap().len() > 0);
        // … when the backup is copied over the file and the WAL stays, then the file is not opened …
        fs::copy(&backup, &file).unwrap();
        let refused = commands::verify(&settings(&database.url(), &[]), None, &mut |_, _| {}).await;
        let refused = format!("{:?}", refused.expect_err("a file with another file's WAL"));
        assert!(refused.contains("-wal is another file's"), "{refused}");
        // … and without the WAL it is the backup.
        fs::remove_file(beside("-wal")).unwrap();
        fs::remove_file(beside("-shm")).unwrap();
        assert_eq!(wrong(&database).await, [""; 0]);
    });
}
