//! `DATABASE_URL`: which database it names, and how a command opens it.

use std::{fmt, time::Duration};

use anyhow::{anyhow, bail, ensure};
use sqlx::{
    ConnectOptions,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tokio::time::timeout;

use crate::{
    config::Settings,
    connection_check,
    model::error::Error,
    storage::db::{Db, check_log, postgres_options},
};

/// Longest time for the attempt that finds out why a connection fails.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// A database, as its URL names it.
#[derive(Debug)]
pub(crate) enum DatabaseUrl {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

impl DatabaseUrl {
    /// Parses the URL. Errors never repeat it: it can hold a password.
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        let amiss = "--database-url (DATABASE_URL) is not usable";
        if url.starts_with("sqlite:") {
            let options: SqliteConnectOptions = url.parse().map_err(|error| anyhow!("{amiss}: {error}"))?;
            let file = options.get_filename();
            let in_memory = file.to_str().is_some_and(|file| file.starts_with("file:") || file.is_empty());
            ensure!(
                !in_memory && !url.contains("mode=memory"),
                "{amiss}: it must name a file, as in sqlite://antiphon.db; nothing is kept in memory alone"
            );
            Ok(Self::Sqlite(options))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let hint = "characters such as @ : / # % in the password must be written as %40 %3A %2F %23 %25";
            // A stray one in the password cuts it in two, and a part would be shown as the host or the database.
            let host_on = url.split_once("://").map_or("", |(_, rest)| rest);
            let rest = host_on.find(['/', '?', '#']).and_then(|end| host_on.get(end..)).unwrap_or_default();
            ensure!(!rest.contains(['@', '#']), "{amiss}: it has an @ or a # after the host; {hint}");
            Ok(Self::Postgres(postgres_options(url).map_err(|error| anyhow!("{amiss}: {error}; {hint}"))?))
        } else {
            bail!("{amiss}: it must be sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE")
        }
    }

    pub(crate) async fn connect(&self, settings: &Settings) -> anyhow::Result<Db> {
        tracing::debug!(database = %self, "connecting");
        let schema = settings.store.database_schema.as_deref();
        match self {
            Self::Sqlite(options) => check_log(options).await.map_err(for_operator)?,
            Self::Postgres(options) => {
                timeout(PROBE_TIME, connection_check::check(options, schema)).await.unwrap_or(Ok(()))?
            }
        }
        let error = match Db::connect_in(settings.store.database_url.expose(), schema, &settings.database).await {
            Ok(db) => return Ok(db),
            Err(error) => for_operator(error),
        };
        // The pool only reports that it gave up. A plain attempt reports the cause.
        let (refusal, advice) = match self {
            Self::Sqlite(options) => (
                refusal(&options.clone().create_if_missing(true).journal_mode(SqliteJournalMode::Wal)).await,
                "its folder must exist and both must be writable by this user, or choose another with --database-url \
                 (DATABASE_URL)",
            ),
            Self::Postgres(options) => {
                (refusal(options).await, "check that it runs, and --database-url (DATABASE_URL)")
            }
        };
        let cause = refusal.unwrap_or(error);
        Err(anyhow!("cannot open {self}: {cause:#}; {advice}"))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(options) => write!(f, "SQLite file {}", options.get_filename().display()),
            Self::Postgres(options) => {
                let user = options.get_username();
                let database = options.get_database().unwrap_or(user);
                write!(f, "PostgreSQL database {database} as {user} at ")?;
                match options.get_socket() {
                    Some(folder) => write!(f, "{}", folder.display()),
                    None => write!(f, "{}:{}", options.get_host(), options.get_port()),
                }
            }
        }
    }
}

/// Why a connection cannot be had, in the database's own for_operator; none where it can.
pub(crate) async fn refusal<O: ConnectOptions<Connection: Sized>>(options: &O) -> Option<anyhow::Error> {
    match timeout(PROBE_TIME, options.connect()).await {
        Ok(Ok(_)) => None,
        Ok(Err(sqlx::Error::Io(error))) => Some(error.into()),
        Ok(Err(sqlx::Error::Database(error))) => Some(anyhow!("{}", error.message())),
        Ok(Err(error)) => Some(error.into()),
        Err(_) => Some(anyhow!("no answer within {} seconds", PROBE_TIME.as_secs())),
    }
}

/// An error of the service in for_operator for the operator, who may read what clients may not.
pub(crate) fn for_operator(error: Error) -> anyhow::Error {
    match error.cause() {
        Some(cause) => anyhow!(cause.to_owned()),
        None => anyhow!(error.message()),
    }
}
