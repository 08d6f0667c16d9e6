//! Integrity checks of the database engine.

use std::collections::BTreeMap;

use sea_orm::QueryResult;

use super::db::{Db, Operator, fail};
use super::sql::Sql;
use crate::model::error::{Error, Result};

/// Result of the checks.
#[derive(Debug, Default)]
pub struct EngineCheck {
    /// Notes on what was checked and what was not.
    pub notes: Vec<String>,
    /// Problems that the checks found.
    pub problems: Vec<String>,
}

impl EngineCheck {
    /// Returns the rows; records an error as a problem.
    fn rows_or_problem(&mut self, what: &str, answer: Result<Vec<QueryResult>>) -> Result<Vec<QueryResult>> {
        match answer {
            Err(Error::Internal(why) | Error::Unavailable(why)) => {
                self.problems.push(format!("{what}: {why}"));
                Ok(Vec::new())
            }
            answer => answer,
        }
    }
}

/// Runs the engine's own checks for which the login has the privileges.
///
/// # Errors
/// If the database is unavailable. Failing checks are problems in the result.
pub async fn run(db: &Db) -> Result<EngineCheck> {
    let mut check = EngineCheck::default();
    if db.is_sqlite() {
        sqlite(db, &mut check).await?
    } else {
        postgres(db, &mut check).await?
    }
    Ok(check)
}

async fn sqlite(db: &Db, check: &mut EngineCheck) -> Result<()> {
    let operator = db.operator().await?;
    let answer = operator.rows(Sql::new("PRAGMA integrity_check")).await;
    for row in check.rows_or_problem("integrity_check", answer)? {
        let line: String = row.try_get_by_index(0).map_err(fail)?;
        if line != "ok" {
            check.problems.extend(line.lines().map(|line| format!("integrity_check: {line}")));
        }
    }
    let answer = operator.rows(Sql::new("PRAGMA foreign_key_check")).await;
    let mut orphans: BTreeMap<(String, String), usize> = BTreeMap::new();
    for row in check.rows_or_problem("foreign_key_check", answer)? {
        let names = (row.try_get("", "table").map_err(fail)?, row.try_get("", "parent").map_err(fail)?);
        *orphans.entry(names).or_default() += 1;
    }
    let orphans = orphans.iter().map(|((table, parent), count)| {
        format!("foreign_key_check: {count} rows of {table} refer to missing rows of {parent}")
    });
    check.problems.extend(orphans);
    check.notes.push(
        "SQLite has checked its file (integrity_check, foreign_key_check)\n  \
         it has no page checksums, so a changed letter in a text is not detected"
            .to_owned(),
    );
    Ok(())
}

async fn postgres(db: &Db, check: &mut EngineCheck) -> Result<()> {
    // The schema of amcheck, if it is installed and this login can use it.
    const ASKED: &str = "SELECT current_setting('data_checksums') = 'on' AS has_checksums, (SELECT \
                         quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
                         WHERE e.extname = 'amcheck' AND NOT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = \
                         n.oid AND p.proname IN ('bt_index_check', 'verify_heapam') AND NOT \
                         has_function_privilege(p.oid, 'EXECUTE'))) AS amcheck";
    let operator = db.operator().await?;
    let asked = operator.rows(Sql::new(ASKED)).await?;
    let Some(asked) = asked.first() else { return Ok(()) };
    let has_checksums: bool = asked.try_get("", "has_checksums").map_err(fail)?;
    check.notes.push(
        if has_checksums {
            "PostgreSQL's data checksums are on: each page is checked when it is read"
        } else {
            "PostgreSQL's data checksums are off (pg_checksums --enable)\n  \
             a page that changed on disk is not detected"
        }
        .to_owned(),
    );
    let Some(schema) = asked.try_get::<Option<String>>("", "amcheck").map_err(fail)? else {
        check.notes.push(
            "PostgreSQL has not compared its indexes with its tables\n  this requires CREATE EXTENSION amcheck, and \
             GRANT EXECUTE\n  on its functions bt_index_check and verify_heapam to this login"
                .to_owned(),
        );
        return Ok(());
    };
    let (indexes, tables) = (relations(&operator, INDEXES).await?, relations(&operator, TABLES).await?);
    drop(operator);
    for (oid, name) in &indexes {
        let mut sql = Sql::new("SELECT ");
        sql.push(&schema).push(".bt_index_check(").bind(*oid).push("::oid::regclass, true) IS NULL AS checked");
        // The engine reports a problem as an error, which ends the transaction. So each check has its own.
        let answer = db.operator().await?.rows(sql).await;
        check.rows_or_problem(&format!("index {name}"), answer)?;
    }
    for (oid, name) in &tables {
        let mut sql = Sql::new("SELECT msg FROM ");
        sql.push(&schema).push(".verify_heapam(").bind(*oid).push("::oid::regclass)");
        let answer = db.operator().await?.rows(sql).await;
        for row in check.rows_or_problem(&format!("table {name}"), answer)? {
            check.problems.push(format!("table {name}: {}", row.try_get::<String>("", "msg").map_err(fail)?));
        }
    }
    let (indexes, tables) = (indexes.len(), tables.len());
    check.notes.push(format!("PostgreSQL has checked {indexes} indexes and {tables} tables (amcheck)"));
    Ok(())
}

const INDEXES: &str = "SELECT c.oid::bigint AS oid, c.relname::text AS name FROM pg_index i \
     JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree' \
     JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema() \
     WHERE i.indisvalid AND i.indisready ORDER BY c.relname";

const TABLES: &str = "SELECT c.oid::bigint AS oid, c.relname::text AS name FROM pg_class c \
     JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema() \
     WHERE c.relkind = 'r' ORDER BY c.relname";

async fn relations(operator: &Operator, sql: &str) -> Result<Vec<(i64, String)>> {
    let rows = operator.rows(Sql::new(sql)).await?;
    rows.iter().map(|row| Ok((row.try_get("", "oid").map_err(fail)?, row.try_get("", "name").map_err(fail)?))).collect()
}
