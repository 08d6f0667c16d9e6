//! Given a server on a SQLite file, when the file or one beside it is deleted, replaced or overwritten, then no write is
//! acknowledged that would be lost.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use antiphon::commands;
use sqlx::{Connection, SqliteConnection};
use tests::{
    database::{Database, Kind},
    ledger::{Fate, Ledger},
    server::{ChildServer, run_with_database, settings},
};

use super::disk_faults::{compare, recover, says_read_only, wrong};

const WRITERS: usize = 4;
const WRITES: usize = 6;

fn beside(file: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", file.display()))
}

/// No write is acknowledged if it goes to a file that is no longer at the database's path. `damage` gets the file and an earlier
/// copy of it; `repair`, if that is possible, brings back everything.
fn refuse_after(damage: fn(&Path, &Path), repair: Option<fn(&Path)>) {
    run_with_database(Kind::Sqlite, async |database| {
        let file = database.file().unwrap();
        let mut server = ChildServer::start(&database);
        let client = server.user("ada@example.com");
        let ledger = Ledger::begin(&client).await;
        let copy = file.with_extension("copy");
        fs::copy(&file, &copy).unwrap();
        ledger.write_at_once(&client, WRITERS, WRITES).await;
        // Given a replaced or missing file …
        damage(&file, &copy);
        // … then no write is acknowledged, and the server reports the problem …
        for _ in 0..5 {
            let fate = ledger.write(&client).await;
            assert!(matches!(fate, Fate::Refused(_)), "{fate:?}");
        }
        assert_eq!(ledger.codes().iter().filter(|code| *code != "READ_ONLY").count(), 0, "{:?}", ledger.codes());
        says_read_only(&client, true).await;
        assert_eq!(client.send("GET", "/readyz", &[], "").await.unwrap().status, 503);
        let Some(repair) = repair else {
            // … and does not write to a foreign file when it stops.
            let before = fs::read(&file).unwrap();
            server.stop();
            assert!(fs::read(&file).unwrap() == before);
            return;
        };
        // … and once the file is back, everything is stored.
        server.kill();
        repair(&file);
        server = ChildServer::start(&database);
        let client = server.user("ada@example.com");
        recover(&ledger, &client).await;
        compare(&[ledger], &client, "after a restart", 1).await;
        server.stop();
        assert_eq!(wrong(&database).await, [""; 0]);
    });
}

fn move_away(file: &Path) {
    fs::rename(file, file.with_extension("moved")).unwrap();
}

fn bring_back(file: &Path) {
    fs::rename(file.with_extension("moved"), file).unwrap();
}

#[test]
fn nothing_is_acknowledged_once_the_file_is_deleted() {
    refuse_after(|file, _| move_away(file), Some(bring_back));
}

#[test]
fn nothing_is_acknowledged_once_the_file_is_replaced() {
    let replace = |file: &Path, copy: &Path| {
        move_away(file);
        fs::rename(copy, file).unwrap();
    };
    refuse_after(replace, Some(bring_back));
}

#[test]
fn nothing_is_acknowledged_once_the_wal_is_moved() {
    refuse_after(|file, _| move_away(&beside(file, "-wal")), Some(|file| bring_back(&beside(file, "-wal"))));
}

#[test]
fn nothing_is_acknowledged_once_the_wal_is_deleted() {
    refuse_after(|file, _| fs::remove_file(beside(file, "-wal")).unwrap(), None);
}

#[test]
fn nothing_is_acknowledged_once_the_shm_is_deleted() {
    refuse_after(|file, _| fs::remove_file(beside(file, "-shm")).unwrap(), None);
}

#[test]
fn nothing_is_acknowledged_once_the_wal_is_replaced() {
    let replace = |file: &Path, _: &Path| {
        fs::remove_file(beside(file, "-wal")).unwrap();
        fs::remove_file(beside(file, "-shm")).unwrap();
        fs::write(beside(file, "-wal"), "").unwrap();
        fs::write(beside(file, "-shm"), "").unwrap();
    };
    refuse_after(replace, None);
}

#[test]
fn nothing_is_acknowledged_once_the_wal_is_truncated() {
    refuse_after(|file, _| fs::write(beside(file, "-wal"), "").unwrap(), None);
}

#[test]
fn nothing_is_acknowledged_once_the_wal_is_overwritten_in_place() {
    let overwrite = |file: &Path, _: &Path| {
        let log = fs::OpenOptions::new().write(true).open(beside(file, "-wal")).unwrap();
        log.write_all_at(&[7; 4096], 0).unwrap();
    };
    refuse_after(overwrite, None);
}

/// Copies all of the WAL into the file, from another process.
async fn checkpoint(file: &Path) {
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[test]
fn nothing_is_acknowledged_once_another_database_is_copied_over_the_file() {
    run_with_database(Kind::Sqlite, async |other| {
        let server = ChildServer::start(&other);
        let client = server.user("eve@example.com");
        // It is larger and newer than the one that it replaces.
        Ledger::begin(&client).await.write_at_once(&client, WRITERS, 5 * WRITES).await;
        server.stop();
        run_overwrite(|_, other| other.to_owned(), &other.file().unwrap()).await;
    });
    run_with_database(Kind::Sqlite, async |text| {
        fs::write(text.file().unwrap(), "This is no database.").unwrap();
        run_overwrite(|_, text| text.to_owned(), &text.file().unwrap()).await;
    });
}

#[test]
fn nothing_is_acknowledged_once_a_backup_is_copied_over_the_file() {
    run_with_database(Kind::Sqlite, async |unused| {
        run_overwrite(|file, _| file.with_extension("copy"), &unused.file().unwrap()).await;
    });
}

/// Overwrites the file of a server in place, which keeps its inode.
async fn run_overwrite(source: fn(&Path, &Path) -> PathBuf, other: &Path) {
    let database = Database::create(Kind::Sqlite).await;
    let file = database.file().unwrap();
    let server = ChildServer::start(&database);
    let client = server.user("ada@example.com");
    let ledger = Ledger::begin(&client).await;
    // A checkpoint by another process is no overwrite.
    checkpoint(&file).await;
    fs::copy(&file, file.with_extension("copy")).unwrap();
    ledger.write_at_once(&client, WRITERS, 5 * WRITES).await;
    checkpoint(&file).await;
    assert_eq!(ledger.write(&client).await, Fate::Acknowledged);
    fs::copy(source(&file, other), &file).unwrap();
    for _ in 0..5 {
        assert_eq!(ledger.write(&client).await, Fate::Refused("READ_ONLY".to_owned()));
    }
    says_read_only(&client, true).await;
    let before = fs::read(&file).unwrap();
    server.stop();
    assert!(fs::read(&file).unwrap() == before, "the server wrote to a foreign file");
}

/// Copies a backup over the file of the server that has created it.
async fn copy_a_backup_over(database: &Database, is_by_command: bool, is_checkpointed: bool) {
    let file = database.file().unwrap();
    let backup = file.with_extension("backup");
    let server = ChildServer::start(database);
    let client = server.user("ada@example.com");
    let ledger = Ledger::begin(&client).await;
    for _ in 0..3 {
        assert_eq!(ledger.write(&client).await, Fate::Acknowledged);
    }
    if is_by_command {
        commands::backup(&settings(&database.url(), &[]), &backup).await.unwrap();
    } else {
        let mut connection = SqliteConnection::connect(&database.url()).await.unwrap();
        let copied = sqlx::query("VACUUM INTO ?").bind(backup.to_str().unwrap()).execute(&mut connection).await;
        copied.unwrap();
        connection.close().await.unwrap();
    }
    for _ in 0..3 {
        assert_eq!(ledger.write(&client).await, Fate::Acknowledged);
    }
    if is_checkpointed {
        checkpoint(&file).await;
    }
    fs::copy(&backup, &file).unwrap();
    assert_eq!(ledger.write(&client).await, Fate::Refused("READ_ONLY".to_owned()));
    says_read_only(&client, true).await;
    assert_eq!(client.send("GET", "/readyz", &[], "").await.unwrap().status, 503);
    let before = fs::read(&file).unwrap();
    server.stop();
    assert!(fs::read(&file).unwrap() == before, "the server wrote to a foreign file");
}

#[test]
fn nothing_is_acknowledged_once_a_backup_is_copied_over_the_file_of_a_first_start() {
    run_with_database(Kind::Sqlite, async |database| copy_a_backup_over(&database, true, true).await);
    run_with_database(Kind::Sqlite, async |database| copy_a_backup_over(&database, true, false).await);
    run_with_database(Kind::Sqlite, async |database| copy_a_backup_over(&database, false, true).await);
    run_with_database(Kind::Sqlite, async |database| copy_a_backup_over(&database, false, false).await);
}

#[test]
fn a_backup_that_is_moved_next_to_the_wal_of_a_first_start_is_not_opened() {
    run_with_database(Kind::Sqlite, async |database| {
        let (file, settings) = (database.file().unwrap(), settings(&database.url(), &[]));
        let backup = file.with_extension("backup");
        let mut server = ChildServer::start(&database);
        let client = server.user("ada@example.com");
        let ledger = Ledger::begin(&client).await;
        commands::backup(&settings, &backup).await.unwrap();
        ledger.write_at_once(&client, 1, WRITES).await;
        server.kill();
        fs::rename(&backup, &file).unwrap();
        let refused = commands::verify(&settings, None, &mut |_, _| {}).await;
        let refused = format!("{:?}", refused.expect_err("a file with another file's WAL"));
        assert!(refused.contains("-wal is another file's"), "{refused}");
        // Without the WAL it is the backup.
        fs::remove_file(beside(&file, "-wal")).unwrap();
        fs::remove_file(beside(&file, "-shm")).unwrap();
        assert_eq!(wrong(&database).await, [""; 0]);
    });
}

#[test]
fn a_file_next_to_the_wal_of_another_is_not_opened() {
    run_with_database(Kind::Sqlite, async |database| {
        let file = database.file().unwrap();
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
        checkpoint(&file).await;
        ledger.write_at_once(&client, WRITERS, 25).await;
        server.kill();
        assert!(fs::metadata(beside(&file, "-wal")).unwrap().len() > 0);
        // … when the backup is copied over the file and the WAL stays, then the file is not opened …
        fs::copy(&backup, &file).unwrap();
        let refused = commands::verify(&settings(&database.url(), &[]), None, &mut |_, _| {}).await;
        let refused = format!("{:?}", refused.expect_err("a file with another file's WAL"));
        assert!(refused.contains("-wal is another file's"), "{refused}");
        // … nor is a backup made of it, which would change it.
        let present = || [file.clone(), beside(&file, "-wal")].map(|path| fs::read(path).unwrap());
        let before = present();
        let refused = commands::backup(&settings(&database.url(), &[]), &file.with_extension("new")).await;
        let refused = format!("{:?}", refused.expect_err("a file with another file's WAL"));
        assert!(refused.contains("-wal is another file's"), "{refused}");
        assert!(present() == before);
        // Without the WAL it is the backup.
        fs::remove_file(beside(&file, "-wal")).unwrap();
        fs::remove_file(beside(&file, "-shm")).unwrap();
        assert_eq!(wrong(&database).await, [""; 0]);
    });
}
