//! The servers that a PostgreSQL URL names. The driver connects to one server; of several, the first that is not a
//! standby is used, so that a failover needs no new URL.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection, Row};
use tokio::time::timeout;

use crate::model::setting::parts;

/// The longest time for a connection to one of several servers. A server that is switched off does not answer.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// The parameter that decides which server suits, as in libpq.
const SESSION_ATTRS: &str = "target_session_attrs";

/// The servers of a PostgreSQL URL, in their order. Clones share which of them was found last.
#[derive(Clone, Debug)]
pub struct Hosts {
    first: Box<PgConnectOptions>,
    others: Vec<PgConnectOptions>,
    /// Whether a standby does not suit.
    needs_primary: bool,
    /// The index of the server that was found last.
    last: Arc<AtomicUsize>,
}

impl Hosts {
    /// Parses a URL. Several servers are written as in libpq: `HOST:PORT,HOST:PORT` after the login, or lists in the
    /// parameters `host` and `port`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> sqlx::Result<Self> {
        let (url, wanted) = without_session_attrs(url);
        let mut all = split(&url)?.iter().map(|url| options(url)).collect::<sqlx::Result<Vec<_>>>()?.into_iter();
        let first = all.next().ok_or_else(|| wrong("it names no host"))?;
        let others: Vec<_> = all.map(ConnectOptions::disable_statement_logging).collect();
        let needs_primary = match wanted.as_deref() {
            None => !others.is_empty(),
            Some("any") => false,
            Some("read-write" | "primary") => true,
            Some(_) => return Err(wrong("target_session_attrs must be read-write, primary or any")),
        };
        Ok(Self { first: Box::new(first.disable_statement_logging()), others, needs_primary, last: Arc::default() })
    }

    /// One server, whatever it is.
    pub(super) fn one(options: PgConnectOptions) -> Self {
        Self { first: Box::new(options), others: Vec::new(), needs_primary: false, last: Arc::default() }
    }

    /// Splits a list of URLs with commas between them. A comma is also between the hosts of one URL.
    pub fn split_list(urls: &str) -> Vec<String> {
        let mut whole: Vec<String> = Vec::new();
        for part in parts(urls) {
            match whole.last_mut().filter(|_| !part.contains("://")) {
                Some(before) => *before = format!("{before},{part}"),
                None => whole.push(part.to_owned()),
            }
        }
        whole
    }

    /// The options of every server.
    pub fn all(&self) -> impl Iterator<Item = &PgConnectOptions> + Clone {
        std::iter::once(&*self.first).chain(&self.others)
    }

    /// The options of the server that was found last; before that, of the first.
    pub fn last(&self) -> &PgConnectOptions {
        self.all().nth(self.last.load(Ordering::Relaxed)).unwrap_or(&self.first)
    }

    /// Connects to the first server that suits, beginning with the one that was found last.
    ///
    /// # Errors
    /// The error of a server; `ConnectionRefused` if all of them are standbys.
    pub async fn connect(&self) -> sqlx::Result<PgConnection> {
        if self.others.is_empty() && !self.needs_primary {
            return Box::pin(self.first.connect()).await;
        }
        let last = self.last.load(Ordering::Relaxed);
        let count = self.others.len() + 1;
        let mut refused = None;
        for (index, options) in self.all().enumerate().cycle().skip(last).take(count) {
            // Boxed, since callers are deep in other futures.
            let connected = timeout(CONNECT_TIME, Box::pin(self.connect_to(options))).await;
            match connected.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())) {
                Ok(connection) => {
                    if self.last.swap(index, Ordering::Relaxed) != index {
                        tracing::warn!(
                            host = options.get_host(),
                            port = options.get_port(),
                            "another server of the database is used"
                        );
                    }
                    return Ok(connection);
                }
                // An error after which another attempt can succeed counts: a standby may be promoted soon.
                Err(error) if refused.as_ref().is_none_or(|refused| !is_refused(refused)) => refused = Some(error),
                Err(_) => {}
            }
        }
        Err(refused.unwrap_or_else(|| wrong("it names no host")))
    }

    async fn connect_to(&self, options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
        let mut connection = options.connect().await?;
        if self.needs_primary {
            let asked = sqlx::raw_sql("SELECT pg_is_in_recovery() AS is_standby");
            if asked.fetch_one(&mut connection).await?.try_get("is_standby")? {
                let refused = format!("{} is a standby, which is read-only", shown(options));
                return Err(std::io::Error::new(std::io::ErrorKind::ConnectionRefused, refused).into());
            }
        }
        Ok(connection)
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.last().get_username();
        let database = self.last().get_database().unwrap_or(user);
        let places: Vec<String> = self.all().map(shown).collect();
        write!(f, "PostgreSQL database {database} as {user} at {}", places.join(", "))
    }
}

/// The address of a server for the operator.
pub fn shown(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None if options.get_host().contains(':') => format!("[{}]:{}", options.get_host(), options.get_port()),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

fn is_refused(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn wrong(what: &str) -> sqlx::Error {
    sqlx::Error::Configuration(what.into())
}

/// Removes the parameter that the driver does not know, and returns its value.
fn without_session_attrs(url: &str) -> (String, Option<String>) {
    let Some((before, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let value_of = |parameter: &str| {
        let (name, value) = parameter.split_once('=')?;
        (decoded(name) == SESSION_ATTRS).then(|| decoded(value))
    };
    let wanted = query.split('&').find_map(value_of);
    let others: Vec<&str> = query.split('&').filter(|parameter| value_of(parameter).is_none()).collect();
    (format!("{before}?{}", others.join("&")), wanted)
}

/// One URL for each server of a URL.
fn split(url: &str) -> sqlx::Result<Vec<String>> {
    let Some((scheme, rest)) = url.split_once("://") else { return Ok(vec![url.to_owned()]) };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (login, hosts) = authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
    let login = if login.is_empty() { String::new() } else { format!("{login}@") };
    if hosts.contains(',') {
        let is_whole = hosts.split(',').all(|host| !host.is_empty() && !host.starts_with(':'));
        let urls = hosts.split(',').map(|host| format!("{scheme}://{login}{host}{rest}")).collect();
        return if is_whole { Ok(urls) } else { Err(wrong("a host in its list is empty")) };
    }
    let Some((path, query)) = rest.split_once('?') else { return Ok(vec![url.to_owned()]) };
    // As in libpq, one port is that of all hosts.
    let lists: Vec<(&str, Vec<String>)> = query
        .split('&')
        .filter_map(|parameter| parameter.split_once('='))
        .map(|(name, value)| {
            (name, value.replace("%2C", ",").replace("%2c", ",").split(',').map(str::to_owned).collect())
        })
        .collect();
    let length = |name: &str| lists.iter().find(|(of, _)| *of == name).map_or(1, |(_, list)| list.len());
    let count = length("host").max(length("hostaddr"));
    let ports = length("port");
    if ports != 1 && ports != count {
        return Err(wrong("it has another number of ports than of hosts"));
    }
    let is_list = |name: &str| ["host", "hostaddr", "port"].contains(&name);
    let url_of = |index: usize| {
        let parameters = lists.iter().map(|(name, list)| match list.get(index).or(list.last()) {
            Some(value) if is_list(name) => format!("{name}={value}"),
            _ => format!("{name}={}", list.join(",")),
        });
        format!("{scheme}://{authority}{path}?{}", parameters.collect::<Vec<_>>().join("&"))
    };
    Ok((0..count).map(url_of).collect())
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The options of a URL with one server. A user without a host is accepted, as in libpq.
fn options(url: &str) -> sqlx::Result<PgConnectOptions> {
    let parsed = match without_host(url) {
        None => url.parse::<PgConnectOptions>()?,
        Some((scheme, user, rest)) => {
            // The parser does not accept a user without a host; without both it uses the local socket.
            let placed = if rest.starts_with(':') { "localhost" } else { "" };
            let options: PgConnectOptions = format!("{scheme}://{placed}{rest}").parse()?;
            let (user, password) = user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)));
            let options = if user.is_empty() { options } else { options.username(&decoded(user)) };
            password.map_or(options.clone(), |password| options.password(&decoded(password)))
        }
    };
    // In a URL an IPv6 address is in brackets, which are not part of the address.
    let address = parsed.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::to_owned);
    let parsed = match address {
        Some(address) => parsed.host(&address),
        None => parsed,
    };
    // The default since version 12, and a start-up parameter that pgbouncer refuses.
    Ok(parsed.extra_float_digits(None))
}

/// The scheme, the user and the rest of a URL that has a user and no host.
fn without_host(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (user, host) = authority.rsplit_once('@')?;
    let port = url.get(url.len() - rest.len() - host.len()..)?;
    (host.is_empty() || host.starts_with(':')).then_some((scheme, user, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(url: &str) -> Vec<String> {
        Hosts::parse(url).unwrap().all().map(shown).collect()
    }

    #[test]
    fn every_spelling_of_several_hosts_is_read() {
        for (url, expected) in [
            ("postgres://u:p@a:1,b:2/d", &["a:1", "b:2"][..]),
            ("postgres://u:p@a,b:2,[::1]:3/d?sslmode=disable", &["a:5432", "b:2", "[::1]:3"]),
            ("postgres://a,b/d?target_session_attrs=read-write", &["a:5432", "b:5432"]),
            ("postgres:///d?host=a,b&port=1,2", &["a:1", "b:2"]),
            ("postgres://u@/d?host=a%2Cb&port=7", &["a:7", "b:7"]),
            ("postgres://u@/d?host=/run/one,/run/two", &["/run/one", "/run/two"]),
            ("postgres://u@a/d", &["a:5432"]),
        ] {
            assert_eq!(places(url), expected, "{url}");
        }
        for url in ["postgres://u@a,,b/d", "postgres://u@a,:2/d", "postgres:///d?host=a,b&port=1,2,3"] {
            assert!(Hosts::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_list_of_urls_is_split_between_them() {
        for (urls, expected) in [
            ("postgres://a/d", &["postgres://a/d"][..]),
            (" postgres://a,b/d, postgresql://u:p@c/d?port=1,", &["postgres://a,b/d", "postgresql://u:p@c/d?port=1"]),
            ("", &[]),
            ("a,postgres://b/d", &["a", "postgres://b/d"]),
        ] {
            assert_eq!(Hosts::split_list(urls), expected, "{urls}");
        }
    }

    #[test]
    fn several_hosts_need_a_primary_unless_any_suits() {
        for (url, needs_primary) in [
            ("postgres://a/d", false),
            ("postgres://a,b/d", true),
            ("postgres://a,b/d?target_session_attrs=any", false),
            ("postgres://a/d?target_session_attrs=read-write", true),
            ("postgres://a/d?target_session_%61ttrs=primary&sslmode=disable", true),
        ] {
            assert_eq!(Hosts::parse(url).unwrap().needs_primary, needs_primary, "{url}");
        }
        for value in ["", "standby", "read-only", "READ-WRITE"] {
            assert!(Hosts::parse(&format!("postgres://a/d?target_session_attrs={value}")).is_err(), "{value}");
        }
        let options = Hosts::parse("postgres://u:p%40@a,b/d?application_name=x,y&target_session_attrs=any").unwrap();
        assert!(options.all().all(|options| options.get_username() == "u" && options.get_database() == Some("d")));
    }
}
