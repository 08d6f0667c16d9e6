//! `DATABASE_URL`: identifies the database and how to connect.

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

/// Timeout of the attempt to find out why a connection fails.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// A database, identified by its URL.
#[derive(Debug)]
pub(crate) enum DatabaseUrl {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

impl DatabaseUrl {
    /// Parses the URL. Errors never contain it, since it can contain a password.
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        let unusable = "--database-url (DATABASE_URL) is not usable";
        if url.starts_with("sqlite:") {
            let options: SqliteConnectOptions = url.parse().map_err(|error| anyhow!("{unusable}: {error}"))?;
            let file = options.get_filename();
            let in_memory = file.to_str().is_some_and(|file| file.starts_with("file:") || file.is_empty());
            ensure!(
                !in_memory && !url.contains("mode=memory"),
                "{unusable}: it must name a file, such as sqlite://antiphon.db; in-memory databases are not supported"
            );
            Ok(Self::Sqlite(options))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let hint = "characters such as @ : / # % in the password must be written as %40 %3A %2F %23 %25";
            // An unescaped character in the password would cut the URL, and part of the password would be shown as host
            // or database.
            let host_on = url.split_once("://").map_or("", |(_, rest)| rest);
            let rest = host_on.find(['/', '?', '#']).and_then(|end| host_on.get(end..)).unwrap_or_default();
            ensure!(!rest.contains(['@', '#']), "{unusable}: it has an @ or a # after the host; {hint}");
            Ok(Self::Postgres(postgres_options(url).map_err(|error| anyhow!("{unusable}: {error}; {hint}"))?))
        } else {
            bail!("{unusable}: it must be sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE")
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
        // The pool reports only a timeout; a plain attempt reports the cause.
        let (refusal, advice) = match self {
            Self::Sqlite(options) => (
                refusal(&options.clone().create_if_missing(true).journal_mode(SqliteJournalMode::Wal)).await,
                "the file and its existing folder must be writable by this user, or choose another with --database-url \
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

/// Why a connection fails, in the database's own words; `None` if it succeeds.
pub(crate) async fn refusal<O: ConnectOptions<Connection: Sized>>(options: &O) -> Option<anyhow::Error> {
    match timeout(PROBE_TIME, options.connect()).await {
        Ok(Ok(_)) => None,
        Ok(Err(sqlx::Error::Io(error))) => Some(error.into()),
        Ok(Err(sqlx::Error::Database(error))) => Some(anyhow!("{}", error.message())),
        Ok(Err(error)) => Some(error.into()),
        Err(_) => Some(anyhow!("no answer within {} seconds", PROBE_TIME.as_secs())),
    }
}

/// Converts an error of the service for the operator, who can see what clients must not see.
pub(crate) fn for_operator(error: Error) -> anyhow::Error {
    match error.cause() {
        Some(cause) => anyhow!(cause.to_owned()),
        None => anyhow!(error.message()),
    }
}
