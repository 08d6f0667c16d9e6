//! Given a server on a SQLite file, when the file or one beside it is deleted, replaced or overwritten, then no write is
//! acknowledged that would be lost, and wrong contents are an outage.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    slice,
    sync::Arc,
    time::Duration,
};

use antiphon::commands;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tests::{
    client::Client,
    database::{Database, Kind},
    ledger::{Fate, Ledger},
    project::{each, text},
    server::{ChildServer, run_with_database, settings},
};
use tokio::{sync::Barrier, time::timeout};

use super::disk_faults::{compare, recover, says_read_only, wrong};

const WRITERS: usize = 4;
const WRITES: usize = 6;
const READERS: usize = 4;

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
    assert_eq!(client.send("GET", "/readyz", &[], "").await.unwrap().status, 503);
    let before = fs::read(&file).unwrap();
    server.stop();
    assert!(fs::read(&file).unwrap() == before, "the server wrote to a foreign file");
}

/// The contents of the ledger's files, or the codes of the errors.
async fn read(ledger: &Ledger, client: &Client) -> Result<Vec<Value>, Vec<String>> {
    let query = "query($id: ID!) { project(id: $id) { files(first: 500) { nodes { content } } } }";
    let response = client.gql(query, json!({ "id": ledger.project() })).await;
    if response.errors.is_empty() {
        return Ok(each(&response.data["project"]["files"]["nodes"], "content"));
    }
    Err(response.errors.iter().map(|error| text(&error["extensions"]["code"])).collect())
}

/// While readers read, `spoil` makes the contents wrong: then all writes are refused, and reads are an outage.
async fn refuses_once_spoiled(ledger: &Ledger, client: &Client, spoil: impl FnOnce()) {
    let stored = read(ledger, client).await.expect("a read");
    let begun = Arc::new(Barrier::new(READERS + 1));
    let reader = |_| {
        let (ledger, client, begun, stored) = (ledger.clone(), client.clone(), begun.clone(), stored.clone());
        tokio::spawn(async move {
            begun.wait().await;
            let mut refused = 0;
            while refused < 5 {
                match read(&ledger, &client).await {
                    // Of the pages that SQLite still has.
                    Ok(found) => assert_eq!(found, stored),
                    Err(codes) => {
                        assert!(codes.iter().all(|code| code == "UNAVAILABLE"), "{codes:?}");
                        refused += 1;
                    }
                }
            }
        })
    };
    let readers: Vec<_> = (0..READERS).map(reader).collect();
    begun.wait().await;
    spoil();
    let refused = || ledger.codes().iter().filter(|code| *code == "READ_ONLY").count();
    let before = refused();
    ledger.write_at_once(client, WRITERS, 2).await;
    assert_eq!(refused(), before + WRITERS * 2, "{:?}", ledger.codes());
    for reader in readers {
        timeout(Duration::from_secs(60), reader).await.expect("reads are refused").unwrap();
    }
}

/// A database of another program.
async fn create_without_tables(path: &Path) {
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("CREATE TABLE other (n); DROP TABLE other").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn open_to_write(path: &Path) -> File {
    fs::OpenOptions::new().write(true).open(path).unwrap()
}

/// Damages a file; the second path is the database of another program.
type Damage = fn(&Path, &Path);

#[test]
fn wrong_contents_are_an_outage_until_the_right_ones_are_back() {
    // With the end of the file's name.
    let spoils: [(&str, Damage); 7] = [
        ("", |file, other| assert!(fs::copy(other, file).unwrap() > 0)),
        ("", |file, _| open_to_write(file).write_all_at(&[7; 4096], 0).unwrap()),
        ("", |file, _| fs::write(file, "").unwrap()),
        ("", |file, _| open_to_write(file).set_len(fs::metadata(file).unwrap().len() / 2).unwrap()),
        ("", |file, _| open_to_write(file).set_len(fs::metadata(file).unwrap().len() - 1).unwrap()),
        ("-wal", |log, _| open_to_write(log).set_len(fs::metadata(log).unwrap().len() / 2).unwrap()),
        ("-wal", |log, _| fs::write(log, "").unwrap()),
    ];
    run_with_database(Kind::Sqlite, async |database| {
        let (file, log) = (database.file().unwrap(), database.file().unwrap().with_extension("log"));
        let other = file.with_extension("other");
        create_without_tables(&other).await;
        let mut server = ChildServer::start_logging(&database, &[], File::create(&log).unwrap());
        let client = server.user("ada@example.com");
        let ledger = Ledger::begin(&client).await;
        ledger.write_at_once(&client, WRITERS, WRITES).await;
        for (end, spoil) in spoils {
            let spoiled = beside(&file, end);
            if end.is_empty() {
                // Otherwise SQLite reads most pages from the WAL.
                checkpoint(&file).await;
            }
            let (mut right, mut foreign) = (Vec::new(), Vec::new());
            let spoil = || {
                right = fs::read(&spoiled).unwrap();
                spoil(&spoiled, &other);
                foreign = fs::read(&spoiled).unwrap();
            };
            refuses_once_spoiled(&ledger, &client, spoil).await;
            assert!(fs::read(&spoiled).unwrap() == foreign, "the server wrote to a foreign file");
            fs::write(&spoiled, right).unwrap();
            recover(&ledger, &client).await;
            compare(slice::from_ref(&ledger), &client, "while serving", 1).await;
        }
        server.kill();
        let logged = fs::read_to_string(&log).unwrap();
        assert!(logged.contains("the database's file was overwritten while it was open"), "{logged}");
        assert!(logged.contains("(-wal) was truncated or overwritten while it was open"), "{logged}");
        server = ChildServer::start(&database);
        let client = server.user("ada@example.com");
        recover(&ledger, &client).await;
        compare(&[ledger], &client, "after a restart", 1).await;
        server.stop();
        assert_eq!(wrong(&database).await, [""; 0]);
    });
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
