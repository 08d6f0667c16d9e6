//! `antiphon export --to FILE.antiphon` and `antiphon import FILE.antiphon`.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::{self, Read, Seek},
    path::Path,
};

use anyhow::{Context, bail, ensure};
use chrono::TimeDelta;
use entity::{
    agent_configuration_versions, agent_configurations, blobs, chat_messages, chat_sessions, file_snapshots,
    hidden_messages, project_events, project_files, project_snapshot_changes, project_snapshots, project_undone_files,
    project_undos, project_versions, projects, user_profiles,
};
use migration::{Migrator, MigratorTrait};
use sea_orm::{
    AccessMode, ColumnTrait, ColumnType, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait,
    IdenStatic, IsolationLevel, Iterable, TransactionTrait,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    backup::Unfinished,
    database::{existing, open},
};
use crate::{
    config::Settings,
    database_url::for_operator,
    domain::import_export::{
        project_file::{check, finish},
        scratch::Scratch,
    },
    migrations::{apply, begin, failure},
    model::{clock, ids::ProjectId},
    storage::{
        copy_error::FileRefusal,
        db::{Db, sqlite_url},
        project_copy::{Copied, Owner, Report, copy, to_file},
    },
    transport::auth::user_of,
};

/// Writes a project to the new file `to`, and reads it back. Returns the number of rows.
///
/// # Errors
/// Why there is no file.
pub(super) async fn export(
    settings: &Settings,
    db: &Db,
    project: ProjectId,
    to: &Path,
    report: Report<'_>,
) -> anyhow::Result<u64> {
    let cannot = || format!("cannot write {}", to.display());
    ensure!(fs::symlink_metadata(to).is_err(), "{} exists already", to.display());
    let (scratch, whole) =
        (Unfinished::next_to(to).with_context(cannot)?, Unfinished::next_to(to).with_context(cannot)?);
    let written = async {
        let source = snapshot(db).await.map_err(failure)?;
        let (file, rows) = to_file(&source, project, &scratch.path(), &settings.database, report).await?;
        drop(source);
        finish(file, &scratch.path(), &whole.path()).await?;
        anyhow::Ok(rows)
    };
    let rows = written.await.with_context(cannot)?;
    whole.publish(to).with_context(cannot)?;
    Ok(rows)
}

/// Imports a project from a file. It gets its old id if that is free. Returns what was imported.
///
/// # Errors
/// A [`FileRefusal`], or why the database cannot be written; then nothing is imported.
pub async fn import_file(settings: &Settings, file: &Path, email: &str, report: Report<'_>) -> anyhow::Result<Copied> {
    let (id, email) = user_of(email).map_err(for_operator)?;
    existing(settings)?;
    let folder = Scratch::new_temporary()
        .with_context(|| format!("cannot make a folder in {} (TMPDIR)", env::temp_dir().display()))?;
    let cannot = || format!("cannot write to the temporary folder {} (TMPDIR)", folder.path().display());
    // What is checked cannot change afterwards, and SQLite reads no log that lies next to the file.
    let own = folder.path().join("import.db");
    take(file, &own).await?;
    check_engine(&own, folder.path(), settings).await?;
    let source = Db::connect(&sqlite_url(&own)?, &settings.database).await.map_err(for_operator)?;
    let imported = async {
        apply(&source).await.with_context(cannot)?;
        let project = check(&source).await?;
        let db = open(settings).await?;
        let copied = async {
            let from = snapshot(&source).await.map_err(failure)?;
            let target = begin(&db).await.map_err(failure)?;
            anyhow::Ok(copy(&from, target, project, Some(&Owner { id, email }), report).await?)
        };
        let copied = copied.await;
        db.close().await;
        copied
    };
    let imported = imported.await;
    source.close().await;
    imported
}

/// Copies a file whose header states its length.
async fn take(file: &Path, own: &Path) -> anyhow::Result<()> {
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let cannot = || format!("cannot read {}", file.display());
    // Before it is opened: a pipe would wait for its writer.
    let found = fs::metadata(file).with_context(cannot)?;
    ensure!(found.is_file(), "{} is not a file", file.display());
    let mut source = File::open(file).with_context(cannot)?;
    let mut header = [0; 100];
    let is_whole = source.read_exact(&mut header).is_ok() && header.starts_with(MAGIC);
    let number = |at: usize, count: usize| {
        header.get(at..at + count).unwrap_or_default().iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let page = if number(16, 2) == 1 { 65_536 } else { number(16, 2) };
    let length = page * number(28, 4);
    if !is_whole {
        bail!(FileRefusal::Unreadable("it is no SQLite database".to_owned()));
    }
    if length != found.len() {
        let why = format!("it has {} bytes, and its header says {length}", found.len());
        bail!(FileRefusal::Unreadable(why));
    }
    let cannot = || format!("cannot copy {} to {} (TMPDIR)", file.display(), own.display());
    source.rewind().with_context(cannot)?;
    let mut copy = File::create_new(own).with_context(cannot)?;
    let copied = tokio::task::spawn_blocking(move || io::copy(&mut source, &mut copy)).await?.with_context(cannot)?;
    if copied != length {
        bail!(FileRefusal::Unreadable("it changes while it is read".to_owned()));
    }
    Ok(())
}

/// Checks the file's schema, that SQLite can read it, and the sizes and times of its values, before anything else reads it.
async fn check_engine(own: &Path, folder: &Path, settings: &Settings) -> anyhow::Result<()> {
    let mut connection = read(own).await.map_err(unreadable)?;
    let applied = applied(&mut connection).await?;
    let expected = schema_of(applied, folder, settings).await?;
    if schema(&mut connection).await.map_err(unreadable)? != expected {
        bail!(FileRefusal::Foreign("its tables are not those of antiphon".to_owned()));
    }
    for check in ["PRAGMA integrity_check(1)", "PRAGMA foreign_key_check"] {
        let rows = sqlx::raw_sql(check).fetch_all(&mut connection).await.map_err(unreadable)?;
        let problem = rows.iter().find_map(|row| {
            let text: String = row.try_get(0).unwrap_or_default();
            (text != "ok").then_some(text)
        });
        if let Some(problem) = problem {
            bail!(FileRefusal::Unreadable(format!("{check} finds {problem}")));
        }
    }
    check_sizes(&mut connection, settings).await?;
    check_times(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

async fn read(file: &Path) -> sqlx::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true).immutable(true);
    let options = options.pragma("trusted_schema", "OFF").pragma("cell_size_check", "ON");
    options.disable_statement_logging().connect().await
}

fn unreadable(error: sqlx::Error) -> FileRefusal {
    let text = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
    FileRefusal::Unreadable(text)
}

/// How many of this version's migrations made the file.
async fn applied(connection: &mut SqliteConnection) -> anyhow::Result<usize> {
    let known: Vec<String> = Migrator::get_migration_files().iter().map(crate::migrations::name).collect();
    let rows = sqlx::raw_sql("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'seaql_migrations'");
    let tables: i64 = rows.fetch_one(&mut *connection).await.and_then(|row| row.try_get(0)).map_err(unreadable)?;
    if tables == 0 {
        bail!(FileRefusal::Foreign("it has no table of antiphon".to_owned()));
    }
    let rows = sqlx::raw_sql("SELECT version FROM seaql_migrations ORDER BY version").fetch_all(connection);
    let rows = rows.await.map_err(unreadable)?;
    let applied: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(unreadable)?;
    if applied.is_empty() || !known.starts_with(&applied) {
        let last = applied.last().map_or("none", String::as_str);
        bail!(FileRefusal::Version(format!("its newest migration is {last:?}")));
    }
    Ok(applied.len())
}

/// Everything that the schema consists of.
async fn schema(connection: &mut SqliteConnection) -> sqlx::Result<BTreeSet<[String; 4]>> {
    let read = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let rows = sqlx::raw_sql(read).fetch_all(connection).await?;
    let text = |row: &sqlx::sqlite::SqliteRow, at: usize| row.try_get::<String, _>(at);
    rows.iter().map(|row| Ok([text(row, 0)?, text(row, 1)?, text(row, 2)?, text(row, 3)?])).collect()
}

/// The schema after this many migrations.
async fn schema_of(applied: usize, folder: &Path, settings: &Settings) -> anyhow::Result<BTreeSet<[String; 4]>> {
    let path = folder.join("schema.db");
    let db = Db::connect(&sqlite_url(&path)?, &settings.database).await.map_err(for_operator)?;
    let made = Migrator::up(db.migrations(), Some(u32::try_from(applied)?)).await.map_err(failure);
    db.close().await;
    made.with_context(|| format!("cannot write {} (TMPDIR)", path.display()))?;
    let mut connection = read(&path).await?;
    let schema = schema(&mut connection).await?;
    connection.close().await?;
    Ok(schema)
}

/// Checks that no content of a file is larger than a request could have written, and that no text contains NUL. The size of texts is
/// not limited, as for the commit messages of `import --git`.
async fn check_sizes(connection: &mut SqliteConnection, settings: &Settings) -> anyhow::Result<()> {
    let limits = &settings.limits;
    let most = limits.max_file_bytes.max(limits.max_text_bytes);
    let lengths = copied_columns().into_iter().filter_map(|Column { table, name, of }| {
        let (longest, nul) = match of {
            ColumnType::Text | ColumnType::String(_) => {
                ("0".to_owned(), format!("max(instr(CAST({name} AS blob), x'00'))"))
            }
            ColumnType::VarBinary(_) | ColumnType::Blob => {
                (format!("max(length(CAST({name} AS blob)))"), "0".to_owned())
            }
            _ => return None,
        };
        Some((table, format!("SELECT coalesce({longest}, 0), coalesce({nul}, 0) FROM {table}")))
    });
    let contents = ("blobs", "SELECT coalesce(max(size), 0), 0 FROM blobs".to_owned());
    for (table, longest) in lengths.chain([contents]) {
        let row = sqlx::raw_sql(AssertSqlSafe(longest)).fetch_one(&mut *connection).await.map_err(unreadable)?;
        let (longest, nul): (i64, i64) = (row.try_get(0).map_err(unreadable)?, row.try_get(1).map_err(unreadable)?);
        if !usize::try_from(longest).is_ok_and(|longest| longest <= most) {
            let why = format!(
                "a value of the table {table} has {longest} bytes; MAX_FILE_BYTES and MAX_TEXT_BYTES are lower"
            );
            bail!(FileRefusal::TooLarge(why));
        }
        if nul > 0 {
            bail!(FileRefusal::Damaged(format!("a text of the table {table} contains NUL")));
        }
    }
    Ok(())
}

/// How much the clock of the server that wrote a file can be ahead.
const CLOCK_DIFFERENCE: TimeDelta = TimeDelta::minutes(5);

/// Checks that all times are in UTC, in the form that the service writes, and neither before the year 1 nor in the future: the
/// log compares times, and later writes could not be earlier.
async fn check_times(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    let latest = (clock::now() + CLOCK_DIFFERENCE).to_rfc3339();
    for Column { table, name, of } in copied_columns() {
        if !matches!(of, ColumnType::TimestampWithTimeZone) {
            continue;
        }
        let wrong = format!(
            "SELECT count(*) FROM {table} WHERE {name} IS NOT NULL AND NOT (typeof({name}) = 'text' \
             AND substr({name}, 1, 19) GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]' \
             AND (substr({name}, 20) = '+00:00' OR substr({name}, 20) GLOB '.[0-9]*+00:00') \
             AND {name} >= '0001' AND {name} <= '{latest}')"
        );
        let row = sqlx::raw_sql(AssertSqlSafe(wrong)).fetch_one(&mut *connection).await.map_err(unreadable)?;
        let wrong: i64 = row.try_get(0).map_err(unreadable)?;
        if wrong > 0 {
            let why = format!(
                "{wrong} times in the column {name} of the table {table} are in the future, before the year 1, or in \
                 another form than that of antiphon"
            );
            bail!(FileRefusal::Damaged(why));
        }
    }
    Ok(())
}

/// A column of a table that is copied.
struct Column {
    table: &'static str,
    name: &'static str,
    of: ColumnType,
}

fn copied_columns() -> Vec<Column> {
    let project =
        [columns::<projects::Entity>(), columns::<project_versions::Entity>(), columns::<user_profiles::Entity>()];
    let conversation =
        [columns::<chat_sessions::Entity>(), columns::<chat_messages::Entity>(), columns::<hidden_messages::Entity>()];
    let configurations = [columns::<agent_configurations::Entity>(), columns::<agent_configuration_versions::Entity>()];
    let files = [columns::<project_files::Entity>(), columns::<file_snapshots::Entity>(), columns::<blobs::Entity>()];
    let log = [
        columns::<project_snapshots::Entity>(),
        columns::<project_snapshot_changes::Entity>(),
        columns::<project_events::Entity>(),
        columns::<project_undos::Entity>(),
        columns::<project_undone_files::Entity>(),
    ];
    project.into_iter().chain(conversation).chain(configurations).chain(files).chain(log).flatten().collect()
}

fn columns<E: EntityTrait>() -> Vec<Column> {
    let table = E::default().table_name();
    E::Column::iter()
        .map(|column| Column { table, name: column.as_str(), of: column.def().get_column_type().clone() })
        .collect()
}

/// A transaction that sees one state of the database.
async fn snapshot(db: &Db) -> Result<DatabaseTransaction, DbErr> {
    let connection = db.migrations();
    if connection.get_database_backend() == DbBackend::Sqlite {
        return connection.begin().await;
    }
    let level = Some(IsolationLevel::RepeatableRead);
    let tx = connection.begin_with_config(level, Some(AccessMode::ReadOnly)).await?;
    tx.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
    Ok(tx)
}
