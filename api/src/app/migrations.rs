//! The commands that migrate the database, and what a server asks of its migrations.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail, ensure};
use migration::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait,
};

use super::Target;
use crate::config::{Serve, Settings};
use crate::storage::db::Db;

/// The key of PostgreSQL's advisory lock on migrating; nothing else of the service's takes such a lock.
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"antiphon");

/// The names of the migrations that the database lacks.
pub(crate) async fn missing(db: &Db) -> anyhow::Result<Vec<String>> {
    let pending = pending_migrations(db).await.map_err(failure)?;
    Ok(pending.iter().map(name).collect())
}

/// The migrations that the database lacks. A login without rights of its own asks as `authenticated`.
async fn pending_migrations(db: &Db) -> Result<Vec<migration::Migration>, DbErr> {
    const AS_CALLER: &str = "DO $$ BEGIN
        IF NOT coalesce(has_table_privilege(to_regclass('seaql_migrations'), 'SELECT'), false) AND EXISTS (
            SELECT FROM pg_roles WHERE rolname = 'authenticated' AND pg_has_role(oid, 'MEMBER'))
        THEN SET LOCAL ROLE authenticated; END IF;
    END $$";
    if db.is_sqlite() {
        return Migrator::get_pending_migrations_read_only(db.migrations()).await;
    }
    let tx = db.migrations().begin().await?;
    tx.execute_unprepared(AS_CALLER).await?;
    let pending = Migrator::get_pending_migrations_read_only(&tx).await?;
    tx.rollback().await?;
    Ok(pending)
}

/// Makes sure that a server finds every table.
pub(super) async fn prepare(db: &Db, serve: &Serve) -> anyhow::Result<()> {
    let pending = missing(db).await?;
    if pending.is_empty() {
        return Ok(());
    }
    if db.is_sqlite() || serve.migrate {
        let applied = apply(db).await?;
        tracing::info!(migrations = applied.len(), "the database is up to date");
        return Ok(());
    }
    bail!(
        "the database lacks these migrations: {}; run `antiphon migrate`, or start with --migrate (MIGRATE=true)",
        pending.join(", ")
    )
}

/// Applies the migrations that the database lacks. Answers their names in the order in which that was done.
///
/// # Errors
/// Why that cannot be, for the operator; then nothing has changed.
pub async fn migrate(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let db = Target::parse(settings.store.database_url.expose())?.connect(settings).await?;
    let names = apply(&db).await?;
    db.close().await;
    Ok(names)
}

async fn apply(db: &Db) -> anyhow::Result<Vec<String>> {
    let tx = begin(db).await.map_err(failure)?;
    // Only now does nobody else migrate.
    let names = Migrator::get_pending_migrations(&tx).await.map_err(failure)?.iter().map(name).collect();
    Migrator::up(&tx, None).await.map_err(failure)?;
    tx.commit().await.map_err(failure)?;
    Ok(names)
}

/// Takes the newest `steps` migrations back, and tells `report` in words what data is lost by that. Where that is not
/// `confirmed`, it is undone. Answers the migrations' names in the order in which they are taken back.
///
/// The loss is found by trying: the tables, their rows and values are counted before and after, in one transaction. So no
/// migration has to say what it destroys, and none can forget to. Meanwhile others wait for the tables that go.
///
/// # Errors
/// Why that cannot be, or that it is not confirmed; then nothing has changed.
pub async fn take_back(
    settings: &Settings,
    steps: u32,
    confirmed: bool,
    report: &mut (dyn FnMut(String) + Send),
) -> anyhow::Result<Vec<String>> {
    let db = Target::parse(settings.store.database_url.expose())?.connect(settings).await?;
    let tx = begin(&db).await.map_err(failure)?;
    let applied = Migrator::get_applied_migrations(&tx).await.map_err(failure)?;
    let count = applied.len();
    ensure!(
        usize::try_from(steps).is_ok_and(|steps| steps <= count),
        "--down {steps}: the database has {count} migrations, and nothing has changed"
    );
    let names: Vec<String> = applied.iter().rev().take(usize::try_from(steps)?).map(name).collect();
    let before = census(&tx).await.map_err(failure)?;
    Migrator::down(&tx, Some(steps)).await.map_err(failure)?;
    let after = census(&tx).await.map_err(failure)?;
    losses(&before, &after).into_iter().for_each(report);
    if confirmed {
        tx.commit().await.map_err(failure)?;
    } else {
        tx.rollback().await.map_err(failure)?;
    }
    db.close().await;
    ensure!(
        confirmed,
        "nothing has changed: add --yes to take these migrations back, and to lose what is said above: {}",
        names.join(", ")
    );
    Ok(names)
}

/// Begins a transaction to migrate in, so that it happens as a whole or not at all, and once where two servers start together.
/// A migration that cannot run inside a transaction (PostgreSQL's CREATE INDEX CONCURRENTLY) would have no place here.
async fn begin(db: &Db) -> Result<DatabaseTransaction, DbErr> {
    let mode = db.is_sqlite().then_some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
    let tx = db.migrations().begin_with_options(options).await?;
    if !db.is_sqlite() {
        let lock = format!("SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
        tx.execute_unprepared(&lock).await?;
    }
    Ok(tx)
}

/// A table's rows, and how many of them have a value in each column.
struct Counted {
    rows: i64,
    values: BTreeMap<String, i64>,
}

/// Counts every table in the schema but the migrations' own.
async fn census(tx: &DatabaseTransaction) -> Result<BTreeMap<String, Counted>, DbErr> {
    const SQLITE: &str = "SELECT t.name AS table_name, c.name AS column_name FROM sqlite_schema t \
         JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    const POSTGRES: &str = "SELECT c.relname::text AS table_name, a.attname::text AS column_name FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema() \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE c.relkind IN ('r', 'p') AND pg_has_role(c.relowner, 'USAGE')";
    let backend = tx.get_database_backend();
    let catalog = if backend == DbBackend::Sqlite { SQLITE } else { POSTGRES };
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in tx.query_all_raw(Statement::from_string(backend, catalog)).await? {
        columns.entry(row.try_get("", "table_name")?).or_default().push(row.try_get("", "column_name")?);
    }
    columns.remove("seaql_migrations");
    let mut census = BTreeMap::new();
    for (table, columns) in columns {
        let counts: String = columns.iter().map(|column| format!(", count({})", quoted(column))).collect();
        let count = format!("SELECT count(*){counts} FROM {}", quoted(&table));
        let Some(row) = tx.query_one_raw(Statement::from_string(backend, count)).await? else { continue };
        let mut counted = Counted { rows: row.try_get_by_index(0)?, values: BTreeMap::new() };
        for (index, column) in columns.into_iter().enumerate() {
            counted.values.insert(column, row.try_get_by_index(index + 1)?);
        }
        census.insert(table, counted);
    }
    Ok(census)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// In words, what was there before and is not after.
fn losses(before: &BTreeMap<String, Counted>, after: &BTreeMap<String, Counted>) -> Vec<String> {
    let mut losses = Vec::new();
    for (table, counted) in before {
        let Some(left) = after.get(table) else {
            losses.push(format!("table {table} with {}", number(counted.rows, "row")));
            continue;
        };
        if left.rows < counted.rows {
            losses.push(format!("{} of table {table}", number(counted.rows - left.rows, "row")));
        }
        for (column, values) in counted.values.iter().filter(|(column, _)| !left.values.contains_key(*column)) {
            losses.push(format!("column {column} of table {table} with {}", number(*values, "value")));
        }
    }
    losses
}

fn number(count: i64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn name(migration: &migration::Migration) -> String {
    migration.name().to_owned()
}

/// In words for the operator. The migrator's one error of its own is that the database has migrations which it does not know.
fn failure(error: DbErr) -> anyhow::Error {
    match error {
        DbErr::Custom(_) => anyhow!(
            "the database has migrations that this version of antiphon does not know: start the version that made them, or \
             one after it"
        ),
        error => anyhow!("cannot migrate: {error}"),
    }
}
