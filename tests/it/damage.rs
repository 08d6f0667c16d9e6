//! Given a database in which a bit has flipped, when it is verified, then the database engine or the rules find the
//! damage, or it is in a column that `verify` reports as unproven.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

use antiphon::{
    commands,
    domain::import_export::verify::{UNPROVEN, Verified},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use tests::{
    database::{Database, Kind},
    project::Project,
    replay::Replay,
    server::{Server, run_with_database, settings},
    workload::{self, Random},
};
use tokio::time::timeout;

const FLIPS: usize = 30;

/// Columns that checksums or rules prove: every change in them must be found.
const PROVEN: &[(&str, &str)] = &[
    ("blobs", "data sha256 size encoding depth base_id"),
    ("file_snapshots", "file_id revision superseded_revision version blob_id"),
    ("project_files", "file_path file_name parent_path file_type size_bytes version hash is_deleted"),
    ("project_snapshots", "revision file_count manifest_sha256"),
    ("project_events", "revision"),
    ("projects", "revision session_count message_count file_count change_count"),
    ("chat_sessions", "message_count"),
];

fn is_proven(table: &str, column: &str) -> bool {
    PROVEN.iter().any(|(of, columns)| *of == table && columns.split(' ').any(|proven| proven == column))
}

async fn verify(url: &str) -> anyhow::Result<(Verified, Vec<String>)> {
    let mut wrong = Vec::new();
    let verified = commands::verify(&settings(url, &[]), None, &mut |_, text| wrong.push(text)).await?;
    assert_eq!(verified.problems, wrong.len());
    Ok((verified, wrong))
}

/// Every value of every table: the values of each column, in row order.
async fn dump(file: &Path) -> sqlx::Result<BTreeMap<(String, String), Vec<String>>> {
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await?;
    let columns = "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'";
    let mut dump = BTreeMap::new();
    for row in sqlx::query(columns).fetch_all(&mut connection).await? {
        let (table, column): (String, String) = (row.get(0), row.get(1));
        let values = format!("SELECT quote(\"{column}\") FROM \"{table}\" NOT INDEXED");
        let rows = sqlx::query(AssertSqlSafe(values)).fetch_all(&mut connection).await?;
        let values = rows.iter().map(|row| row.try_get_unchecked(0)).collect::<sqlx::Result<Vec<String>>>()?;
        dump.insert((table, column), values);
    }
    connection.close().await?;
    Ok(dump)
}

/// Checks that notes fit into a terminal.
fn assert_fit(notes: &[String]) {
    let long: Vec<_> = notes.iter().flat_map(|note| note.lines()).filter(|line| line.chars().count() > 100).collect();
    assert_eq!(long, [""; 0]);
}

fn flip(file: &Path, byte: u64, bit: usize) {
    let file = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut value = [0];
    file.read_exact_at(&mut value, byte).unwrap();
    value[0] ^= 1 << bit;
    file.write_all_at(&value, byte).unwrap();
}

/// A file that contains only a session's data: no free pages, no WAL.
async fn compact(database: &Database) -> std::path::PathBuf {
    let server = Server::start(database).await;
    let mut replay = Replay::begin(&server.user("ada@example.com"), "Damaged").await.unwrap();
    for turn in workload::agent_session(3).turns.iter().take(12) {
        replay.turn(turn).await.unwrap();
    }
    server.stop().await;
    let copy = database.file().unwrap().with_extension("compact");
    let mut connection = SqliteConnection::connect(&database.url()).await.unwrap();
    let vacuum = format!("VACUUM INTO '{}'", copy.display());
    sqlx::raw_sql(AssertSqlSafe(vacuum)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    copy
}

#[test]
fn a_flipped_bit_is_found_or_is_in_an_unproven_column() {
    run_with_database(Kind::Sqlite, async |database| {
        let original = compact(&database).await;
        let before = dump(&original).await.unwrap();
        let size = original.metadata().unwrap().len() as usize;
        let mut random = Random(60);
        let (mut by_engine, mut by_rules, mut harmless, mut unproven) = (0, 0, 0, BTreeSet::new());
        for number in 0..FLIPS {
            let copy = original.with_extension(format!("flipped-{number}"));
            fs::copy(&original, &copy).unwrap();
            let (byte, bit) = (random.below(size) as u64, random.below(8));
            flip(&copy, byte, bit);
            let url = format!("sqlite://{}", copy.display());
            let verified = timeout(Duration::from_secs(60), verify(&url)).await;
            match verified.unwrap_or_else(|_| panic!("byte {byte}, bit {bit} of {}: no end", original.display())) {
                Err(_) => by_engine += 1,
                Ok((_, wrong)) if wrong.iter().any(|wrong| wrong.contains("_check: ")) => by_engine += 1,
                Ok((_, wrong)) if !wrong.is_empty() => by_rules += 1,
                Ok(_) => {
                    let after = dump(&copy).await.unwrap_or_else(|error| panic!("byte {byte}, bit {bit}: {error}"));
                    let changed = before.iter().filter(|(column, values)| after.get(*column) != Some(*values));
                    let changed: Vec<_> = changed.map(|((table, column), _)| (table, column)).collect();
                    harmless += usize::from(changed.is_empty());
                    for (table, column) in changed {
                        assert!(
                            !is_proven(table, column),
                            "byte {byte}, bit {bit}: {table}.{column} changed unnoticed"
                        );
                        unproven.insert(format!("{number}: {table}.{column}"));
                    }
                }
            }
            fs::remove_file(copy).unwrap();
        }
        println!(
            "{FLIPS} flips in {size} bytes: {by_engine} found by SQLite, {by_rules} by the rules, {harmless} in no value, \
             unproven {unproven:?}"
        );
        assert!(by_engine + by_rules > 0);
    });
}

#[test]
fn verify_includes_sqlites_own_check() {
    run_with_database(Kind::Sqlite, async |database| {
        let original = compact(&database).await;
        let url = format!("sqlite://{}", original.display());
        let (verified, wrong) = verify(&url).await.unwrap();
        assert_eq!(wrong, [""; 0]);
        assert!(verified.notes.iter().any(|note| note.contains("integrity_check")), "{:?}", verified.notes);
        assert!(verified.notes.iter().any(|note| note == UNPROVEN));
        assert_fit(&verified.notes);

        // The rules do not read indexes. The index's newest cell is at the end of its page.
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let place = "SELECT rootpage * (SELECT page_size FROM pragma_page_size) FROM sqlite_schema WHERE name = 'projects_user'";
        let end: i64 = sqlx::query_scalar(place).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        flip(&original, end as u64 - 1, 0);
        let (_, wrong) = verify(&url).await.unwrap();
        assert!(wrong.iter().any(|wrong| wrong.contains("projects_user")), "{wrong:?}");
    });
}

#[test]
fn verify_includes_postgresqls_own_check_if_permitted() {
    run_with_database(Kind::Postgres, async |database| {
        let server = Server::start(&database).await;
        let ada = server.user("ada@example.com");
        Project::create(&ada, "Checked").await;
        let notes = verify(&database.url()).await.unwrap().0.notes;
        assert_fit(&notes);
        assert!(notes.iter().any(|note| note.contains("data checksums are off")), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("CREATE EXTENSION amcheck")), "{notes:?}");

        let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
        let grant = "CREATE EXTENSION amcheck; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO antiphon";
        sqlx::raw_sql(grant).execute(&mut admin).await.unwrap();
        let (verified, wrong) = verify(&database.url()).await.unwrap();
        assert_eq!(wrong, [""; 0]);
        assert!(verified.notes.iter().any(|note| note.contains("(amcheck)")), "{:?}", verified.notes);

        // Given a row that is missing in an index …
        let index = "UPDATE pg_index SET indisready = {} WHERE indexrelid = 'projects_user'::regclass";
        sqlx::raw_sql(AssertSqlSafe(index.replace("{}", "false"))).execute(&mut admin).await.unwrap();
        let update = "SET enable_indexscan = off; SET enable_bitmapscan = off; UPDATE projects SET updated_at = now()";
        sqlx::raw_sql(update).execute(&mut admin).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(index.replace("{}", "true"))).execute(&mut admin).await.unwrap();
        // … then it is reported.
        let (_, wrong) = verify(&database.url()).await.unwrap();
        assert!(wrong.iter().any(|wrong| wrong.starts_with("index projects_user")), "{wrong:?}");
        server.stop().await;
    });
}

#[test]
fn inconsistent_memberships_are_found() {
    run_with_database(Kind::Postgres, async |database| {
        let server = Server::start(&database).await;
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        Project::create(&ada, "Checked").await;
        Project::create(&bob, "Another").await;
        assert_eq!(verify(&database.url()).await.unwrap().1, [""; 0]);

        let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
        for (damage, repair) in [
            (
                "INSERT INTO project_members SELECT u.user_id, p.id, 'editor' FROM projects p, project_members u \
                 WHERE p.name = 'Checked' AND u.project_id <> p.id",
                "DELETE FROM project_members WHERE role = 'editor'",
            ),
            ("UPDATE project_members SET role = 'viewer'", "UPDATE project_members SET role = 'owner'"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(damage)).execute(&mut admin).await.unwrap();
            let (_, wrong) = verify(&database.url()).await.unwrap();
            assert!(wrong.iter().any(|wrong| wrong.starts_with("member ")), "{damage}: {wrong:?}");
            sqlx::raw_sql(AssertSqlSafe(repair)).execute(&mut admin).await.unwrap();
            assert_eq!(verify(&database.url()).await.unwrap().1, [""; 0]);
        }
        server.stop().await;
    });
}
