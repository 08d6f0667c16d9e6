//! The PostgreSQL server, the login, and the connection to it.

use chrono::{DateTime, Utc};
use sqlx::{
    ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow, PgSslMode},
};
use tokio::time::timeout;

use super::finding::{CHECK_TIMEOUT, Findings};
use crate::{
    config::Settings,
    connection_check,
    database_url::{DatabaseUrl, refusal},
    model::clock,
    storage::db::Hosts,
};

/// Clock difference above which tokens and times are misjudged, in seconds.
const MAX_SKEW: f64 = 2.0;

/// The oldest tested PostgreSQL version, as in `server_version_num`.
const OLDEST_POSTGRES: i32 = 150_000;

/// Connections that PostgreSQL reserves for superusers, with a margin.
const SPARE_CONNECTIONS: i64 = 10;

/// Everything about the server and the login that one statement can return.
const ABOUT: &str = "SELECT current_setting('server_version_num')::int AS version,
    extract(epoch FROM clock_timestamp())::float8 AS now, pg_is_in_recovery() AS is_standby,
    current_setting('default_transaction_read_only')::boolean AS is_read_only,
    current_setting('max_connections')::bigint AS max_connections, rolsuper, rolbypassrls,
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted
    FROM pg_roles WHERE rolname = current_user";

/// Returns whether the database can be checked further.
pub(super) async fn check(hosts: &Hosts, settings: &Settings, findings: &mut Findings) -> bool {
    if let Some(error) = refusal(hosts.connect()).await {
        let error = format!("{error:#}");
        let advice = if error.contains("password") || error.contains("role") {
            "check user and password in --database-url (DATABASE_URL); write @ : / # % in them as %40 %3A %2F %23 %25"
        } else if error.contains("certificate") || error.to_lowercase().contains("tls") {
            "set sslrootcert=FILE in the URL to the authority that signed the server's certificate, and use the host \
             name of the certificate"
        } else {
            "check --database-url (DATABASE_URL), and that the server is running and reachable from this machine \
             (`pg_isready -d URL`)"
        };
        findings.broken(
            "database",
            format!("{} cannot be opened: {error}", DatabaseUrl::Postgres(hosts.clone())),
            "the server does not start without a database",
            advice,
        );
        return false;
    }
    match timeout(CHECK_TIMEOUT, check_server(hosts, settings, findings)).await {
        Ok(Ok(has_session)) => has_session,
        Ok(Err(error)) => {
            findings.broken(
                "database",
                format!("{error:#}"),
                "the server will fail in the same way",
                "check PostgreSQL's log",
            );
            false
        }
        Err(_) => {
            findings.broken(
                "database",
                "it accepts connections but does not answer",
                "the server will fail in the same way",
                "check whether it is overloaded, or whether a pooler has run out of connections",
            );
            false
        }
    }
}

/// Returns whether a session can be opened for the other checks.
async fn check_server(hosts: &Hosts, settings: &Settings, findings: &mut Findings) -> anyhow::Result<bool> {
    let options = hosts.last();
    // A pooler in transaction mode does not support prepared statements, so none are used here.
    let mut one = options.connect().await?;
    let before = clock::now();
    let row = sqlx::raw_sql(ABOUT).fetch_one(&mut one).await?;
    let after = clock::now();
    check_version(&row, hosts, findings)?;
    check_writable(&row, findings)?;
    check_role(&row, findings)?;
    check_clock(&row, (before, after), findings)?;
    check_connections(&row, settings, findings)?;
    check_encryption(&row, options, findings)?;
    let has_session = check_pooler(&mut one, hosts, settings, findings).await;
    // With a direct URL, the check of the pooler includes the schema.
    if settings.store.database_direct_url.is_none() {
        check_schema(&mut one, options, settings, findings).await;
    }
    one.close().await?;
    Ok(has_session)
}

fn check_version(row: &PgRow, hosts: &Hosts, findings: &mut Findings) -> anyhow::Result<()> {
    let version: i32 = row.try_get("version")?;
    let shown =
        format!("{} answers, version {}.{}", DatabaseUrl::Postgres(hosts.clone()), version / 10_000, version % 10_000);
    if version < OLDEST_POSTGRES {
        findings.broken(
            "database",
            shown,
            "the schema's views need security_invoker, which was added in PostgreSQL 15",
            "upgrade PostgreSQL",
        );
    } else {
        findings.fine("database", shown);
    }
    Ok(())
}

fn check_writable(row: &PgRow, findings: &mut Findings) -> anyhow::Result<()> {
    if row.try_get("is_standby")? {
        findings.broken(
            "database",
            "this is a standby, which is read-only",
            "only reads are served; every write fails with READ_ONLY",
            "use the primary in --database-url (DATABASE_URL)",
        );
    } else if row.try_get("is_read_only")? {
        findings.broken(
            "database",
            "it is read-only for this login (default_transaction_read_only)",
            "only reads are served; every write fails with READ_ONLY",
            "find out why it was set, and run ALTER DATABASE or ALTER ROLE … RESET default_transaction_read_only",
        );
    }
    Ok(())
}

fn check_role(row: &PgRow, findings: &mut Findings) -> anyhow::Result<()> {
    let right = match (row.try_get("rolsuper")?, row.try_get("rolbypassrls")?) {
        (true, _) => "is a superuser",
        (false, true) => "bypasses row-level security",
        // What it owns is known once the tables are there.
        (false, false) => return Ok(()),
    };
    findings.warn(
        "role",
        format!("the login {right}"),
        "each transaction gives up those rights, but anyone who obtains the login's password can read every project",
        "use a separate login for the server, which owns nothing (docs/postgres.md, \"Two logins\")",
    );
    Ok(())
}

/// `asked` is this machine's time before and after the statement.
fn check_clock(
    row: &PgRow,
    (before, after): (DateTime<Utc>, DateTime<Utc>),
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let middle = (before + (after - before) / 2).timestamp_micros() as f64 / 1e6;
    let skew = row.try_get::<f64, _>("now")? - middle - (after - before).num_microseconds().unwrap_or(0) as f64 / 2e6;
    if skew.abs() > MAX_SKEW {
        findings.warn(
            "clock",
            format!("the database's clock and this machine's are {:.1} seconds apart", skew.abs()),
            "tokens expire too early or too late, and the times of writes of several servers are inconsistent",
            "synchronize both by NTP (`timedatectl` shows the state of this machine)",
        );
    } else {
        findings.fine("clock", "the clocks of the database and this machine agree");
    }
    Ok(())
}

fn check_connections(row: &PgRow, settings: &Settings, findings: &mut Findings) -> anyhow::Result<()> {
    let (max, ours) = (row.try_get::<i64, _>("max_connections")?, i64::from(settings.database.database_connections));
    if ours > max - SPARE_CONNECTIONS {
        findings.warn(
            "connections",
            format!("DATABASE_CONNECTIONS is {ours}, but the database allows {max} in all"),
            "requests fail when no connection is left, also those of other programs",
            "lower DATABASE_CONNECTIONS, or raise PostgreSQL's max_connections",
        );
    }
    Ok(())
}

fn check_encryption(row: &PgRow, options: &PgConnectOptions, findings: &mut Findings) -> anyhow::Result<()> {
    let is_remote = options.get_socket().is_none() && !matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1");
    let is_encrypted: bool = row.try_get("is_encrypted")?;
    if is_remote && !is_encrypted {
        findings.warn(
            "encryption",
            "the connection to the database is not encrypted",
            "anyone on the network path can read all conversations and the password exchange",
            "add sslmode=verify-full&sslrootcert=FILE to --database-url (DATABASE_URL)",
        );
    } else if is_remote && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull | PgSslMode::VerifyCa) {
        findings.warn(
            "encryption",
            "the connection to the database is encrypted, but the server's identity is not verified",
            "an attacker on the network path can impersonate the database",
            "add sslmode=verify-full&sslrootcert=FILE to --database-url (DATABASE_URL)",
        );
    }
    Ok(())
}

/// What is broken, why it matters, and the remedy.
type Problem = (String, &'static str, &'static str);

/// A pooler in transaction mode needs another URL for sessions. Returns whether there is a usable one.
async fn check_pooler(one: &mut PgConnection, hosts: &Hosts, settings: &Settings, findings: &mut Findings) -> bool {
    const NAME: &str = "pooler";
    match examine_pooler(one, hosts, settings).await {
        Ok((is_needless, Some(_))) if is_needless => findings.warn(
            NAME,
            "--database-direct-url (DATABASE_DIRECT_URL) is set, but --database-url leads to no pooler in transaction mode",
            "each statement is prepared again whenever it is used, which takes about twice the time",
            "remove DATABASE_DIRECT_URL",
        ),
        Ok((_, Some(direct))) => findings.fine(NAME, format!("in transaction mode; sessions use {direct}")),
        Ok((_, None)) => findings.fine(NAME, "no pooler in transaction mode"),
        Err((what, why, remedy)) => {
            findings.broken(NAME, what, why, remedy);
            return false;
        }
    }
    true
}

/// Whether the connection has sessions of its own, and the direct URL that the settings name.
async fn examine_pooler(
    one: &mut PgConnection,
    hosts: &Hosts,
    settings: &Settings,
) -> Result<(bool, Option<Hosts>), Problem> {
    const NO_START: &str = "the server does not start";
    let has_session = connection_check::has_session(one, hosts).await.map_err(|error| {
        (format!("{error:#}"), NO_START, "use the pooler in session or transaction mode, or the direct connection")
    })?;
    let direct = DatabaseUrl::Postgres(hosts.clone()).direct(settings).map_err(|error| {
        let remedy = "correct the URL; it is not shown here, because it can contain a password";
        (format!("{error:#}"), NO_START, remedy)
    })?;
    let Some(direct) = direct else {
        if has_session {
            return Ok((true, None));
        }
        return Err((
            "the connection goes through a pooler in transaction mode".to_owned(),
            "LISTEN, migrations and locks need a session, which does not survive a transaction there; the server does not \
             start",
            "set DATABASE_DIRECT_URL to the URL of the database without the pooler, or use the pooler in session mode \
             (Supabase: port 5432 instead of 6543)",
        ));
    };
    if let Some(refusal) = refusal(direct.connect()).await {
        return Err((
            format!("--database-direct-url (DATABASE_DIRECT_URL) cannot be opened: {refusal:#}"),
            "the server does not start, and migrations and commands fail",
            "check the URL, and that the database is reachable from this machine without the pooler",
        ));
    }
    let schema = settings.store.database_schema.as_deref();
    connection_check::check(hosts, Some(&direct), schema).await.map_err(|error| {
        (format!("{error:#}"), NO_START, "set DATABASE_DIRECT_URL to the URL of the same database without the pooler")
    })?;
    Ok((has_session, Some(direct)))
}

async fn check_schema(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
    settings: &Settings,
    findings: &mut Findings,
) {
    let schema = settings.store.database_schema.as_deref();
    if let Err(error) = connection_check::check_schema(connection, options, schema).await {
        findings.broken(
            "schema",
            format!("{error:#}"),
            "the server would use tables in the wrong schema",
            "set DATABASE_SCHEMA to an existing schema, and remove the options from the URL",
        );
    }
}
