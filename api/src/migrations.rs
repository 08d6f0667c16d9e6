//! The migrations of a database: finds missing ones and applies them.

use anyhow::{anyhow, bail, ensure};
use migration::{Migrator, MigratorTrait, SchemaManager, unsquashed};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbErr, RuntimeErr, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait,
};

use crate::config::Serve;
use crate::database_url::for_operator;
use crate::storage::db::Db;

/// Key of PostgreSQL's advisory lock for migrations. The service takes no other lock of this kind.
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"antiphon");

/// The names of the migrations that the database lacks.
pub(crate) async fn missing(db: &Db) -> anyhow::Result<Vec<String>> {
    find_missing(db).await.map_err(failure)
}

/// Checks that the database is the one of this version. A database that does not answer passes.
///
/// # Errors
/// The difference.
pub(crate) async fn check(db: &Db) -> Result<(), String> {
    // Another file at its path must not be opened to write, which can change it.
    if !db.has_its_file() {
        return Ok(());
    }
    match find_missing(db).await {
        Ok(missing) if missing.is_empty() => Ok(()),
        Ok(missing) => Err(format!("missing: {}", missing.join(", "))),
        Err(error @ (DbErr::Custom(_) | DbErr::Migration(_))) => Err(format!("{:#}", failure(error))),
        Err(_) => Ok(()),
    }
}

/// Reads only. A login without rights of its own reads as `authenticated`.
async fn find_missing(db: &Db) -> Result<Vec<String>, DbErr> {
    const AS_CALLER: &str = "DO $$ BEGIN
        IF NOT coalesce(has_table_privilege(to_regclass('seaql_migrations'), 'SELECT'), false) AND EXISTS (
            SELECT FROM pg_roles WHERE rolname = 'authenticated' AND pg_has_role(oid, 'MEMBER'))
        THEN SET LOCAL ROLE authenticated; END IF;
    END $$";
    let tx = db.migrations().begin().await?;
    if !db.is_sqlite() {
        tx.execute_unprepared(AS_CALLER).await?;
    }
    let missing = if unsquashed::is_unsquashed(&SchemaManager::new(&tx)).await? {
        Migrator::get_migration_files()
    } else {
        Migrator::get_pending_migrations_read_only(&tx).await?
    };
    tx.rollback().await?;
    Ok(missing.iter().map(name).collect())
}

/// Ensures that all tables exist before a server starts.
pub(crate) async fn prepare(db: &Db, serve: &Serve) -> anyhow::Result<()> {
    let pending = missing(db).await?;
    if pending.is_empty() {
        return Ok(());
    }
    if db.is_sqlite() || serve.migrate {
        let applied = apply(db).await?;
        tracing::info!(migrations = applied.len(), "the database was migrated");
        return Ok(());
    }
    bail!("{}, or start with --migrate (MIGRATE=true)", lacks(&pending))
}

/// Ensures that a database has all tables of this version before a command uses them.
pub(crate) async fn require(db: &Db) -> anyhow::Result<()> {
    let pending = missing(db).await?;
    if pending.is_empty() {
        return Ok(());
    }
    if db.is_sqlite() {
        let tx = db.migrations().begin().await.map_err(failure)?;
        check_owner(&tx).await?;
        tx.rollback().await.map_err(failure)?;
    }
    bail!("{}", lacks(&pending))
}

fn lacks(pending: &[String]) -> String {
    format!("the database lacks these migrations: {}; run `antiphon migrate`", pending.join(", "))
}

pub(crate) async fn apply(db: &Db) -> anyhow::Result<Vec<String>> {
    check_right(db).await?;
    let tx = begin(db).await.map_err(failure)?;
    if db.is_sqlite() {
        check_owner(&tx).await?;
    }
    // Read again: other servers cannot migrate from here on.
    let squashed = unsquashed::squash(&SchemaManager::new(&tx)).await.map_err(failure)?;
    let mut names: Vec<String> = squashed.into_iter().collect();
    names.extend(Migrator::get_pending_migrations(&tx).await.map_err(failure)?.iter().map(name));
    Migrator::up(&tx, None).await.map_err(failure)?;
    tx.commit().await.map_err(failure)?;
    Ok(names)
}

/// Checks that the login of a PostgreSQL database can create tables.
pub(crate) async fn check_right(db: &Db) -> anyhow::Result<()> {
    if !db.is_sqlite() {
        let login = db.login().await.map_err(for_operator)?;
        login.check_encoding()?;
        ensure!(
            login.may_migrate,
            "{:?} cannot create tables: set --database-url (DATABASE_URL) to the login that owns them, or that may create \
             them",
            login.name
        );
    }
    Ok(())
}

/// Checks that a SQLite file is not the database of another program, whose URL was given by mistake.
async fn check_owner(tx: &DatabaseTransaction) -> anyhow::Result<()> {
    const FOREIGN: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'seaql_migrations') LIMIT 1";
    let found = tx.query_one_raw(Statement::from_string(tx.get_database_backend(), FOREIGN)).await.map_err(failure)?;
    ensure!(found.is_none(), "the file is the database of another program: it has tables, but not those of antiphon");
    Ok(())
}

/// Begins a transaction for migrations, so that they apply completely or not at all, and only once if two servers start
/// together. Migrations that cannot run in a transaction (PostgreSQL's CREATE INDEX CONCURRENTLY) are not possible.
pub(crate) async fn begin(db: &Db) -> Result<DatabaseTransaction, DbErr> {
    let mode = db.is_sqlite().then_some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
    let tx = db.migrations().begin_with_options(options).await?;
    if !db.is_sqlite() {
        let lock = format!("SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
        tx.execute_unprepared(&lock).await?;
    }
    Ok(tx)
}

pub(crate) fn name(migration: &migration::Migration) -> String {
    migration.name().to_owned()
}

/// Converts an error for the operator. The only custom error of the migrator is an unknown migration in the database. Errors of
/// the kind `Migration` are sentences already.
pub(crate) fn failure(error: DbErr) -> anyhow::Error {
    match error {
        DbErr::Custom(_) => anyhow!(
            "the database has migrations that this version of antiphon does not know: start the version that applied them, or \
             a later one"
        ),
        DbErr::Migration(reason) => anyhow!(reason),
        error => anyhow!("cannot migrate: {}", words(&error)),
    }
}

/// The database's own message. The driver adds a line in PostgreSQL's source to it.
fn words(error: &DbErr) -> String {
    let (DbErr::Conn(RuntimeErr::SqlxError(cause))
    | DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return error.to_string();
    };
    cause.as_database_error().map_or_else(|| cause.to_string(), |database| database.message().to_owned())
}
