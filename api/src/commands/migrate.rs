//! `antiphon migrate`: applies or reverts migrations.

use std::collections::BTreeMap;

use anyhow::ensure;
use migration::{Migrator, MigratorTrait, SchemaManager, unsquashed};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};

use super::{database::existing, terminal::print};
use crate::{
    config::Settings,
    database_url::DatabaseUrl,
    migrations::{apply, begin, check_right, failure, name},
};

/// Applies migrations, and prints their names.
pub(super) async fn run_up(settings: &Settings) -> anyhow::Result<()> {
    let names = migrate(settings).await?;
    if names.is_empty() {
        return print("No pending migrations.\n");
    }
    names.iter().try_for_each(|name| print(&format!("{name} applied\n")))
}

/// Applies the missing migrations. Returns their names in order.
///
/// # Errors
/// Why a migration failed; then nothing has changed.
pub async fn migrate(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let db = DatabaseUrl::parse(settings.store.database_url.expose())?.connect_directly(settings).await?;
    let names = apply(&db).await?;
    db.close().await;
    Ok(names)
}

/// Reverts the newest `steps` migrations, and reports the lost data to `report`. If not `confirmed`, rolls back.
/// Returns the names of the migrations in the order in which they are reverted.
///
/// The loss is measured: tables, rows and values are counted before and after, in one transaction, so that migrations
/// do not have to declare what they destroy. Other sessions wait for the dropped tables in the meantime.
///
/// # Errors
/// Why it failed, or that it was not confirmed. The database is then unchanged.
pub async fn take_back(
    settings: &Settings,
    steps: u32,
    confirmed: bool,
    report: &mut (dyn FnMut(String) + Send),
) -> anyhow::Result<Vec<String>> {
    let db = existing(settings)?.connect_directly(settings).await?;
    check_right(&db).await?;
    let tx = begin(&db).await.map_err(failure)?;
    ensure!(
        !unsquashed::is_unsquashed(&SchemaManager::new(&tx)).await.map_err(failure)?,
        "--down {steps}: the database is one of the last development version; first run `antiphon migrate`"
    );
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
        "nothing has changed: add --yes to revert these migrations and lose the data listed above: {}",
        names.join(", ")
    );
    Ok(names)
}

/// A table's rows, and the number of values per column.
struct Counted {
    rows: i64,
    values: BTreeMap<String, i64>,
}

/// Counts all tables in the schema except those of the migrations.
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

/// Describes what is missing after the migrations.
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

/// Reverts migrations, and prints the loss and the names.
pub(super) async fn run_down(settings: &Settings, steps: u32, confirmed: bool) -> anyhow::Result<()> {
    let mut printed = Ok(());
    let mut report = |loss| {
        if printed.is_ok() {
            printed = print(&format!("lost: {loss}\n"));
        }
    };
    let names = take_back(settings, steps, confirmed, &mut report).await;
    printed?;
    names?.iter().try_for_each(|name| print(&format!("{name} reverted\n")))
}
