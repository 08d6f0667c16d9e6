//! `DATABASE_URL`: identifies the database and how to connect.

use std::{fmt, time::Duration};

use anyhow::{anyhow, bail, ensure};
use percent_encoding::percent_decode_str;
use sqlx::{
    ConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tokio::time::timeout;

use crate::{
    config::Settings,
    connection_check,
    model::error::Error,
    storage::db::{ConnectionTarget, Db, Hosts, check_log},
};

/// Timeout of the attempt to find out why a connection fails.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// A database, identified by its URL.
#[derive(Debug)]
pub(crate) enum DatabaseUrl {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Hosts),
}

/// The beginning of an error about a URL.
const UNUSABLE: &str = "--database-url (DATABASE_URL) is not usable";

/// The parameters that are read. The driver ignores any other, and logs its value, which can be a password.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "target_session_attrs",
];

/// Checks the parameters of a PostgreSQL URL, of which `rest` is what follows the host.
///
/// # Errors
/// An unknown parameter, without its value: a misspelled `sslmode` must not connect without TLS.
fn check_parameters(rest: &str) -> Result<(), String> {
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        // A part without a name can be the end of a password.
        let Some((name, _)) = parameter.split_once('=') else {
            return Err("a parameter has no value; & in a value must be written as %26".to_owned());
        };
        let name = percent_decode_str(name).decode_utf8_lossy();
        let is_option = name.strip_prefix("options[").is_some_and(|name| name.ends_with(']'));
        if !is_option && !PARAMETERS.contains(&&*name) {
            return Err(format!("it has the unknown parameter {name:?}; known are {}", PARAMETERS.join(", ")));
        }
    }
    Ok(())
}

impl DatabaseUrl {
    /// Parses the URL. Errors never contain it, since it can contain a password.
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        let unusable = UNUSABLE;
        if url.starts_with("sqlite:") {
            let options: SqliteConnectOptions = url.parse().map_err(|error| anyhow!("{unusable}: {error}"))?;
            let file = options.get_filename();
            let in_memory = file.to_str().is_some_and(|file| file.starts_with("file:") || file.is_empty());
            ensure!(
                !in_memory && !url.contains("mode=memory"),
                "{unusable}: it must name a file, such as sqlite://antiphon.db; in-memory databases are not supported"
            );
            Ok(Self::Sqlite(Box::new(options)))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let hint = "characters such as @ : / # % in the password must be written as %40 %3A %2F %23 %25";
            // An unescaped character in the password would cut the URL, and part of the password would be shown as host
            // or database.
            let host_on = url.split_once("://").map_or("", |(_, rest)| rest);
            let rest = host_on.find(['/', '?', '#']).and_then(|end| host_on.get(end..)).unwrap_or_default();
            ensure!(!rest.contains(['@', '#']), "{unusable}: it has an @ or a # after the host; {hint}");
            check_parameters(rest).map_err(|wrong| anyhow!("{unusable}: {wrong}"))?;
            let authority = host_on.strip_suffix(rest).unwrap_or(host_on);
            let has_zone = authority.rsplit_once('[').is_some_and(|(_, address)| address.contains('%'));
            ensure!(!has_zone, "{unusable}: an address with a zone must be a parameter, as in ?host=fe80::1%25eth0");
            Ok(Self::Postgres(Hosts::parse(url).map_err(|error| anyhow!("{unusable}: {error}; {hint}"))?))
        } else {
            bail!("{unusable}: it must be sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE")
        }
    }

    /// Parses the URLs of the replicas of this database.
    pub(crate) fn replicas(&self, settings: &Settings) -> anyhow::Result<Vec<Hosts>> {
        let unusable = "--database-replica-urls (DATABASE_REPLICA_URLS) is not usable";
        let Some(urls) = &settings.replicas.database_replica_urls else { return Ok(Vec::new()) };
        ensure!(matches!(self, Self::Postgres(_)), "{unusable}: only PostgreSQL has replicas");
        let urls = Hosts::split_list(urls.expose());
        urls.iter()
            .map(|url| match Self::parse(url) {
                Ok(Self::Postgres(hosts)) => Ok(hosts),
                Ok(Self::Sqlite(_)) => Err(anyhow!("{unusable}: only PostgreSQL has replicas")),
                Err(error) => Err(anyhow!("{}", format!("{error:#}").replace(UNUSABLE, unusable))),
            })
            .collect()
    }

    /// Parses the URL of sessions, if there is one.
    pub(crate) fn direct(&self, settings: &Settings) -> anyhow::Result<Option<Hosts>> {
        let unusable = format!("{DIRECT} is not usable");
        let Some(url) = &settings.store.database_direct_url else { return Ok(None) };
        match (self, Self::parse(url.expose())) {
            (Self::Postgres(_), Ok(Self::Postgres(hosts))) => Ok(Some(hosts)),
            (_, Ok(_)) => Err(anyhow!("{unusable}: only PostgreSQL has poolers; remove it")),
            (_, Err(error)) => Err(anyhow!("{}", format!("{error:#}").replace(UNUSABLE, &unusable))),
        }
    }

    /// Connects for requests.
    pub(crate) async fn connect(&self, settings: &Settings) -> anyhow::Result<Db> {
        let direct = self.direct(settings)?;
        if let Some(hosts) = &direct
            && let Some(cause) = refusal(hosts.connect()).await
        {
            return Err(cannot_open(&Self::Postgres(hosts.clone()), &cause, DIRECT));
        }
        let schema = self.check(direct.as_ref(), settings).await?;
        let (url, direct) = (settings.store.database_url.expose(), direct.as_ref());
        let target = ConnectionTarget { url, direct, schema: schema.as_deref() };
        self.open(target, "--database-url (DATABASE_URL)", settings).await
    }

    /// Connects for a command of the operator, which needs sessions: without the pooler.
    pub(crate) async fn connect_directly(&self, settings: &Settings) -> anyhow::Result<Db> {
        let direct = self.direct(settings)?.zip(settings.store.database_direct_url.as_ref());
        let Some((hosts, url)) = direct else { return self.connect(settings).await };
        let schema = self.check(Some(&hosts), settings).await?;
        let target = ConnectionTarget { url: url.expose(), direct: None, schema: schema.as_deref() };
        Self::Postgres(hosts).open(target, DIRECT, settings).await
    }

    /// Checks what a connection would not reveal. Returns the schema to use.
    async fn check(&self, direct: Option<&Hosts>, settings: &Settings) -> anyhow::Result<Option<String>> {
        let schema = settings.store.database_schema.as_deref();
        match self {
            Self::Sqlite(options) => {
                check_log(options).await.map_err(for_operator)?;
                Ok(None)
            }
            Self::Postgres(hosts) => match timeout(PROBE_TIME, connection_check::check(hosts, direct, schema)).await {
                Ok(checked) => checked,
                Err(_) if direct.is_some() => Err(anyhow!(
                    "the pooler or the database did not answer within {} seconds: check that both run and have a free \
                     connection, and start again",
                    PROBE_TIME.as_secs()
                )),
                // A database that does not answer is reported when it is opened.
                Err(_) => Ok(schema.map(str::to_owned)),
            },
        }
    }

    async fn open(&self, target: ConnectionTarget<'_>, setting: &str, settings: &Settings) -> anyhow::Result<Db> {
        tracing::debug!(database = %self, "connecting");
        let error = match Db::connect_to(target, &settings.database).await {
            Ok(db) => return Ok(db),
            Err(error) => for_operator(error),
        };
        // The pool reports only a timeout; a plain attempt reports the cause.
        let refusal = match self {
            Self::Sqlite(options) => {
                refusal(options.clone().create_if_missing(true).journal_mode(SqliteJournalMode::Wal).connect()).await
            }
            Self::Postgres(hosts) => refusal(hosts.connect()).await,
        };
        Err(cannot_open(self, &refusal.unwrap_or(error), setting))
    }
}

/// The setting of the URL without the pooler.
const DIRECT: &str = "--database-direct-url (DATABASE_DIRECT_URL)";

fn cannot_open(target: &DatabaseUrl, cause: &anyhow::Error, setting: &str) -> anyhow::Error {
    let advice = match target {
        DatabaseUrl::Sqlite(_) => {
            "the file and its existing folder must be writable by this user, or choose another with"
        }
        DatabaseUrl::Postgres(_) => "check that it runs, and",
    };
    anyhow!("cannot open {target}: {cause:#}; {advice} {setting}")
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(options) => write!(f, "SQLite file {}", options.get_filename().display()),
            Self::Postgres(hosts) => hosts.fmt(f),
        }
    }
}

/// Why a connection fails, in the database's own words; `None` if it succeeds.
pub(crate) async fn refusal<C>(connect: impl Future<Output = sqlx::Result<C>>) -> Option<anyhow::Error> {
    match timeout(PROBE_TIME, connect).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn host(url: &str) -> String {
        match DatabaseUrl::parse(url).unwrap() {
            DatabaseUrl::Postgres(hosts) => hosts.last().get_host().to_owned(),
            DatabaseUrl::Sqlite(_) => panic!("{url} is not SQLite"),
        }
    }

    #[test]
    fn an_unknown_parameter_is_refused_without_its_value() {
        for parameters in [
            "sslpassword=Sup3r",
            "sslmod=Sup3r",
            "SSLMODE=Sup3r",
            "ssl_mode=Sup3r",
            "sslmode=require&passwd=Sup3r",
            "pass%77d=Sup3r",
            "options[=Sup3r",
            "connect_timeout=Sup3r",
            "password=a&Sup3r",
            "Sup3r",
            "=Sup3r",
        ] {
            let message = format!("{:#}", DatabaseUrl::parse(&format!("postgres://u@h/d?{parameters}")).unwrap_err());
            assert!(message.contains("parameter") && !message.contains("Sup3r"), "{parameters}: {message}");
        }
        for parameters in [
            "",
            "sslmode=verify-full&sslrootcert=/ca.pem",
            "host=/run/postgresql&port=5433",
            "options[statement_timeout]=5s&application_name=a%26b",
            "ssl%6Dode=disable&",
        ] {
            assert!(DatabaseUrl::parse(&format!("postgres://u@h/d?{parameters}")).is_ok(), "{parameters}");
        }
    }

    #[test]
    fn an_ipv6_host_loses_its_brackets() {
        for (url, expected) in [
            ("postgres://u@[::1]:5432/d", "::1"),
            ("postgres://[::1]/d", "::1"),
            ("postgres://u:p@[2001:db8::7]/d?sslmode=disable", "2001:db8::7"),
            ("postgres://u@h/d?host=[::1]", "::1"),
            ("postgres://u@h/d?host=::1", "::1"),
            ("postgres:///d?host=%5B::1%5D", "::1"),
            ("postgres://u@h/d?host=[fe80::1%25eth0]", "fe80::1%eth0"),
            ("postgres://u@h/d?hostaddr=::1", "::1"),
            ("postgres://u@db.example/d", "db.example"),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
        let message = DatabaseUrl::parse("postgres://u@[fe80::1%25eth0]/d").unwrap_err().to_string();
        assert!(message.contains("?host="), "{message}");
        let shown = DatabaseUrl::parse("postgres://u@[::1]:5433/d").unwrap().to_string();
        assert_eq!(shown, "PostgreSQL database d as u at [::1]:5433");
        let shown =
            DatabaseUrl::parse("postgres://u:p@db1,db2:7/d?target_session_attrs=read-write").unwrap().to_string();
        assert_eq!(shown, "PostgreSQL database d as u at db1:5432, db2:7");
    }
}
