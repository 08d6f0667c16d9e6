//! Checks that a PostgreSQL connection uses the requested schema, and that it keeps one session while it is open.

use std::time::Duration;

use anyhow::{anyhow, bail, ensure};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use tokio::time::timeout;

use crate::config::database::schema_name;
use crate::model::clock;
use crate::storage::db::{Hosts, set_schema};

/// Longest time in which a database that is not overloaded answers.
const ASK_TIME: Duration = Duration::from_secs(2);

/// Compares the sessions and the schema of two connections. A connection that cannot be opened is ignored.
///
/// # Errors
/// What is wrong and what to do, for the operator.
pub(crate) async fn check(hosts: &Hosts, schema: Option<&str>) -> anyhow::Result<()> {
    let (Ok(mut one), Ok(mut other)) = (hosts.connect().await, hosts.connect().await) else { return Ok(()) };
    let is_shared = is_shared(&mut one, &mut other).await;
    let _ = other.close().await;
    ensure!(
        !is_shared?,
        "the connection goes through a pooler in transaction mode: session settings, prepared statements and LISTEN do not \
         survive a transaction there; use the direct connection, or the pooler in session mode (pgbouncer: pool_mode = session; \
         Supabase: port 5432 instead of 6543)"
    );
    let checked = check_schema(&mut one, hosts.last(), schema).await;
    let _ = one.close().await;
    checked
}

/// Whether two clients share the state of a session, as behind a pooler in transaction mode. Sends nothing that such a
/// pooler would refuse, and resets what it sets.
async fn is_shared(one: &mut PgConnection, other: &mut PgConnection) -> anyhow::Result<bool> {
    let mark = clock::new_id().simple().to_string();
    let asked = "SELECT pg_backend_pid() AS backend, coalesce(current_setting('antiphon.mark', true), '') AS mark";
    sqlx::raw_sql(AssertSqlSafe(format!("SET antiphon.mark = '{mark}'"))).execute(&mut *one).await?;
    let before = sqlx::raw_sql(asked).fetch_one(&mut *one).await?;
    // If there are not enough backends for both, this one keeps its backend in the meantime.
    sqlx::raw_sql("BEGIN").execute(&mut *other).await?;
    let others = sqlx::raw_sql(asked).fetch_one(&mut *other).await?;
    let after = {
        let mut waited = std::pin::pin!(sqlx::raw_sql(asked).fetch_one(&mut *one));
        let after = timeout(ASK_TIME, waited.as_mut()).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut *other).await?;
        match after {
            Ok(after) => after?,
            // It answers when the other releases the backend: there is only one.
            Err(_) => return Ok(timeout(ASK_TIME, waited).await.is_ok()),
        }
    };
    sqlx::raw_sql("RESET antiphon.mark").execute(&mut *one).await?;
    let backend = |row: &sqlx::postgres::PgRow| row.try_get::<i32, _>("backend");
    let has_mark = |row: &sqlx::postgres::PgRow| anyhow::Ok(row.try_get::<String, _>("mark")? == mark);
    Ok(backend(&before)? != backend(&after)?
        || backend(&before)? == backend(&others)?
        || has_mark(&others)?
        || !has_mark(&after)?)
}

/// Compares the schema of a connection with the requested one.
///
/// # Errors
/// The difference, for the operator.
pub(crate) async fn check_schema(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
    schema: Option<&str>,
) -> anyhow::Result<()> {
    let of_options = options.get_options().and_then(search_path);
    if let Some(schema) = schema {
        sqlx::raw_sql(AssertSqlSafe(set_schema(schema))).execute(&mut *connection).await?;
    }
    // A login that only acts for callers has no right to use the schema itself; there is then no current schema.
    let settings = "SELECT current_schema()::text AS schema, current_setting('search_path') AS path";
    let row = sqlx::raw_sql(settings).fetch_one(&mut *connection).await?;
    let (used, path): (Option<String>, String) = (row.try_get("schema")?, row.try_get("path")?);
    let found = used.or_else(|| first(&path));
    if let Some(found) = &found {
        schema_name(found).map_err(|why| anyhow!(why))?;
    }
    let Some(asked) = schema.map(str::to_owned).or(of_options) else { return Ok(()) };
    let exists =
        format!("SELECT count(*) > 0 AS found FROM pg_namespace WHERE nspname = '{}'", asked.replace('\'', "''"));
    let is_there: bool = sqlx::raw_sql(AssertSqlSafe(exists)).fetch_one(connection).await?.try_get("found")?;
    if !is_there {
        bail!("there is no schema {asked:?} in the database: create it with CREATE SCHEMA, or set DATABASE_SCHEMA");
    }
    let found = found.unwrap_or_else(|| "none".to_owned());
    ensure!(
        found == asked,
        "the schema {asked:?} was requested, but the connection uses {found:?}: a pooler drops the start-up options of \
         the URL; set DATABASE_SCHEMA={asked} instead"
    );
    Ok(())
}

/// The first schema of the search path in the start-up options (`-c search_path=…`); `None` if it is the user's own.
fn search_path(options: &str) -> Option<String> {
    let (_, set) = options.rsplit_once("search_path=")?;
    first(set)
}

/// The first schema of a search path.
fn first(path: &str) -> Option<String> {
    let path = path.trim_start_matches(['\'', '\\', ' ']);
    let name = match path.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => {
            let name = path.split(|character: char| character == ',' || character.is_whitespace()).next()?;
            name.trim_end_matches('\'').to_owned()
        }
    };
    (!name.is_empty() && name != "$user").then_some(name)
}

/// The name before the closing quotation mark; two marks stand for one in the name.
fn unquoted(mut rest: &str) -> Option<String> {
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_start_up_options_is_the_first_of_the_last_path() {
        for (options, schema) in [
            ("-csearch_path=antiphon", Some("antiphon")),
            ("-c search_path=antiphon", Some("antiphon")),
            ("-c search_path=a,b -c statement_timeout=5s", Some("a")),
            ("-c search_path=a --search_path=\"B\"", Some("B")),
            ("-c search_path=\"$user\",public", None),
            ("-c statement_timeout=5s", None),
            ("-c search_path=", None),
            ("-c search_path='a'", Some("a")),
            ("-c search_path=\"a b\",c", Some("a b")),
            ("-c search_path=\"a\"\"b\",c", Some("a\"b")),
            ("-c search_path=\"o'x\"", Some("o'x")),
        ] {
            assert_eq!(search_path(options).as_deref(), schema, "{options}");
        }
    }
}
