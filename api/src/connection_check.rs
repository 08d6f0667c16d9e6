//! Checks that PostgreSQL connections keep one session while they are open, or that there is a direct URL for sessions, and
//! that they use the requested schema.

use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use rand::random;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use tokio::time::timeout;

use crate::config::database::schema_name;
use crate::model::clock;
use crate::storage::db::{Hosts, search_path};

/// Longest time in which a database that is not overloaded answers.
const ASK_TIME: Duration = Duration::from_secs(2);

const IN_TRANSACTION_MODE: &str = "the connection goes through a pooler in transaction mode: session settings, prepared statements and LISTEN do not \
     survive a transaction there; set --database-direct-url (DATABASE_DIRECT_URL) to the URL of the database without the \
     pooler, or use that connection, or the pooler in session mode (pgbouncer: pool_mode = session; Supabase: port 5432 \
     instead of 6543)";

const DIRECT_IN_TRANSACTION_MODE: &str = "--database-direct-url (DATABASE_DIRECT_URL) also goes through a pooler in transaction mode: LISTEN, migrations and locks \
     need a session; set it to the URL of the database without the pooler, or of a pooler in session mode (Supabase: port \
     5432 instead of 6543)";

/// Checks the connections of a server. Returns the schema to use. A connection that cannot be opened is ignored.
///
/// # Errors
/// What is wrong and what to do, for the operator.
pub(crate) async fn check(
    hosts: &Hosts,
    direct: Option<&Hosts>,
    schema: Option<&str>,
) -> anyhow::Result<Option<String>> {
    let requested = schema.map(str::to_owned);
    match direct {
        None => {
            let Ok(mut one) = hosts.connect().await else { return Ok(requested) };
            ensure!(has_session(&mut one, hosts).await?, IN_TRANSACTION_MODE);
            check_schema(&mut one, hosts.last(), schema).await?;
            let _ = one.close().await;
            Ok(requested)
        }
        Some(direct) => {
            let Ok(mut one) = direct.connect().await else { return Ok(requested) };
            ensure!(has_session(&mut one, direct).await?, DIRECT_IN_TRANSACTION_MODE);
            // A schema in the options of the pooler's URL is set by statements, like that of the setting.
            let of_options = hosts.last().get_options().and_then(first_of_options);
            let asked = requested.or(of_options);
            let used = check_schema(&mut one, direct.last(), asked.as_deref()).await?;
            if let Ok(mut pooled) = hosts.connect().await {
                check_same(&mut pooled, &mut one, hosts, direct).await?;
                let _ = pooled.close().await;
            }
            let _ = one.close().await;
            Ok(used)
        }
    }
}

/// Whether a connection has a session of its own, unlike one through a pooler in transaction mode. Needs another connection to
/// find out; if there is none, it has one.
///
/// # Errors
/// The pooler does not run transactions.
pub(crate) async fn has_session(one: &mut PgConnection, hosts: &Hosts) -> anyhow::Result<bool> {
    let Ok(mut other) = hosts.connect().await else { return Ok(true) };
    let is_shared = is_shared(one, &mut other).await;
    let _ = other.close().await;
    Ok(!is_shared?)
}

/// Whether two clients share the state of a session, as behind a pooler in transaction mode. Sends nothing that such a
/// pooler would refuse, and resets what it sets.
async fn is_shared(one: &mut PgConnection, other: &mut PgConnection) -> anyhow::Result<bool> {
    let mark = clock::new_id().simple().to_string();
    let asked = "SELECT pg_backend_pid() AS backend, coalesce(current_setting('antiphon.mark', true), '') AS mark";
    sqlx::raw_sql(AssertSqlSafe(format!("SET antiphon.mark = '{mark}'"))).execute(&mut *one).await?;
    let before = sqlx::raw_sql(asked).fetch_one(&mut *one).await?;
    // If there are not enough backends for both, this one keeps its backend in the meantime.
    begin(other).await?;
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

async fn begin(connection: &mut PgConnection) -> anyhow::Result<()> {
    let begun = sqlx::raw_sql("BEGIN").execute(connection).await.map(drop);
    begun.context("the pooler does not run transactions (pgbouncer: pool_mode must be transaction or session)")
}

/// Checks that the two URLs lead to the same database: only there is a lock of one seen by the other. A copy of the database has
/// the same name, and a standby the same content.
async fn check_same(
    pooled: &mut PgConnection,
    direct: &mut PgConnection,
    hosts: &Hosts,
    direct_hosts: &Hosts,
) -> anyhow::Result<()> {
    let take = format!("SELECT pg_try_advisory_xact_lock({}) AS is_free", random::<i64>());
    begin(pooled).await?;
    sqlx::raw_sql(AssertSqlSafe(take.as_str())).execute(&mut *pooled).await?;
    let row = sqlx::raw_sql(AssertSqlSafe(take)).fetch_one(direct).await?;
    sqlx::raw_sql("ROLLBACK").execute(pooled).await?;
    ensure!(
        !row.try_get::<bool, _>("is_free")?,
        "--database-direct-url (DATABASE_DIRECT_URL) leads to another database than --database-url (DATABASE_URL): {direct_hosts} \
         is not the one behind {hosts}"
    );
    Ok(())
}

/// Compares the schema of a connection with the requested one. Returns the schema that it uses.
///
/// # Errors
/// The difference, for the operator.
pub(crate) async fn check_schema(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
    schema: Option<&str>,
) -> anyhow::Result<Option<String>> {
    // A login that only acts for callers has no right to use the schema itself; there is then no current schema.
    const ASKED: &str = "SELECT current_schema()::text AS schema, current_setting('search_path') AS path";
    let of_options = options.get_options().and_then(first_of_options);
    // In a transaction, since a pooler can give the next statement another backend.
    let set = schema.map_or(String::new(), |schema| format!("SET LOCAL {}; ", search_path(schema)));
    let row = sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; {set}{ASKED}"))).fetch_one(&mut *connection).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
    let row = row?;
    let (used, path): (Option<String>, String) = (row.try_get("schema")?, row.try_get("path")?);
    let found = used.or_else(|| first(&path));
    if let Some(found) = &found {
        schema_name(found).map_err(|why| anyhow!(why))?;
    }
    let Some(asked) = schema.map(str::to_owned).or(of_options) else { return Ok(found) };
    let exists =
        format!("SELECT count(*) > 0 AS found FROM pg_namespace WHERE nspname = '{}'", asked.replace('\'', "''"));
    let is_there: bool = sqlx::raw_sql(AssertSqlSafe(exists)).fetch_one(connection).await?.try_get("found")?;
    if !is_there {
        bail!("there is no schema {asked:?} in the database: create it with CREATE SCHEMA, or set DATABASE_SCHEMA");
    }
    let used = found.as_deref().unwrap_or("none");
    ensure!(
        used == asked,
        "the schema {asked:?} was requested, but the connection uses {used:?}: a pooler drops the start-up options of \
         the URL; set DATABASE_SCHEMA={asked} instead"
    );
    Ok(found)
}

/// The first schema of the search path in the start-up options (`-c search_path=…`); `None` if it is the user's own.
fn first_of_options(options: &str) -> Option<String> {
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
            assert_eq!(first_of_options(options).as_deref(), schema, "{options}");
        }
    }
}
