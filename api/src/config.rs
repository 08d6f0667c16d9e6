//! The command line and the settings, validated once. Flags win over the environment.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, ensure};
use axum::http::Uri;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, builder::FalseyValueParser};

use crate::model::limits::{DatabaseLimits, Limits};
use crate::model::locks::Locks;

/// The backend of a web IDE for voice agents: conversation and code in one history, live over GraphQL.
#[derive(Debug, Parser)]
#[command(name = "antiphon", version)]
pub struct Cli {
    /// What to do; `serve` where nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What `serve` takes, for where no command is named.
    #[command(flatten)]
    pub serve: Serve,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API (the default)
    Serve(Serve),
    /// Apply the migrations that the database lacks, or take steps back
    Migrate {
        /// Say what data is lost by taking back this many migrations; with --yes, do so
        #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
        down: Option<u32>,
        /// Take them back
        #[arg(long, requires = "down")]
        yes: bool,
    },
    /// Print a bearer token for a user of this server (needs its JWT secret)
    Token {
        /// The user's e-mail; the same e-mail is the same user
        #[arg(long)]
        email: String,
        /// The user's full name
        #[arg(long)]
        name: Option<String>,
        /// How long the token holds, in hours (at most ten years)
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=87_600))]
        hours: u32,
    },
    /// Check the set-up, and say in words what is wrong and what to do; the exit code is then 1
    Doctor,
    /// Print the GraphQL schema
    Schema,
    /// Make a git repository's history a project: each commit a checkpoint with its files
    ///
    /// Follows first parents from HEAD, oldest first. Who made a commit and when, its id, other parents and the files' modes are
    /// in the message's metadata. A symbolic link becomes a file that holds its target; submodules, and files that the service
    /// does not take, are left out and named. A part of a commit that cannot be read (a missing date, an unknown encoding) is
    /// replaced by a default and named. Run again, it continues after the last commit imported.
    Import(Import),
    /// Write a project's files as a zip archive, or its history as a git repository
    Export(Export),
    /// Read every project back, or one, and say what is wrong; the exit code is then 1
    Verify {
        /// The project's id
        project: Option<String>,
    },
}

/// What `import` takes.
#[derive(Args, Clone, Debug)]
pub struct Import {
    /// The repository, or a folder in it
    #[arg(long, value_name = "DIR")]
    pub git: PathBuf,
    /// The branch to import; else what HEAD is
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// At most this many commits in this run
    #[arg(long, value_name = "N")]
    pub max: Option<usize>,
    /// E-mail of the project's owner; the same user as a token's
    #[arg(long, default_value = DEV_EMAIL)]
    pub email: String,
    /// Name of the project; the folder's, where it is not given
    #[arg(long)]
    pub name: Option<String>,
}

/// What `export` takes.
#[derive(Args, Clone, Debug)]
pub struct Export {
    /// The project's id
    pub project: String,
    /// Archive to write: files and folders, always the same bytes for the same files
    #[arg(long, value_name = "FILE.zip", required_unless_present = "git", conflicts_with = "git")]
    pub to: Option<PathBuf>,
    /// Revision of the archive's files; the newest, where it is not given
    #[arg(long, value_name = "REVISION", conflicts_with = "git")]
    pub at: Option<i32>,
    /// Folder, new or empty, to write the history to: each message is a commit with the files that were written for it, its
    /// text the commit's message; a message without files is a commit without changes; a write that belongs to no message is
    /// a commit described by its change description. Folders without files are not git's
    #[arg(long, value_name = "DIR")]
    pub git: Option<PathBuf>,
}

/// Whom the link of the dev login signs in.
pub const DEV_EMAIL: &str = "dev@localhost";

/// What only `serve` takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Serve {
    /// Apply pending migrations first (SQLite does so anyway)
    #[arg(long, env = "MIGRATE", value_parser = FalseyValueParser::new())]
    pub migrate: bool,
    /// What keeps from callers what is not theirs. No flag and no variable sets it.
    #[arg(skip)]
    pub locks: Locks,
}

/// Settings of every command.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite://antiphon.db", hide_env_values = true, global = true)]
    pub database_url: Secret,
    /// File with the database's URL, which only its owner may read, instead of --database-url
    #[arg(long, env = "DATABASE_URL_FILE", conflicts_with = "database_url", global = true, value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,
    /// Limits on connections to the database.
    #[command(flatten)]
    pub database: DatabaseLimits,
    /// NATS by which the servers of one database wake each other's listeners, instead of PostgreSQL's NOTIFY: nats://HOST:PORT or tls://HOST:PORT, USER:PASSWORD@ or TOKEN@ before the host where it asks for one, several servers of a cluster with commas between them. Only ids of projects and their revisions go there
    #[arg(long, env = "NATS_URL", hide_env_values = true, global = true, value_name = "URL")]
    pub nats_url: Option<Secret>,
    /// Whether the servers of one PostgreSQL wake each other's listeners by LISTEN and NOTIFY, for which this one holds a connection of its own. A pooler in transaction mode does not let them through: then only the sweep finds what other servers write
    #[arg(long, env = "NOTIFY", default_value_t = true, action = ArgAction::Set, global = true, value_name = "true|false")]
    pub notify: bool,
    /// How often the projects that are listened to are compared with the database, in seconds: how late a listener hears what another process wrote, where no notification came
    #[arg(long, env = "SWEEP_SECONDS", default_value_t = 2, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub sweep_seconds: u64,
    /// Address to listen on
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8080", global = true, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Secret of HS256 tokens (Supabase: the project's JWT secret), at least 32 bytes; without it, on SQLite and a loopback address, the server makes its own and prints a sign-in link
    #[arg(long, env = "JWT_SECRET", hide_env_values = true, global = true, value_name = "SECRET")]
    pub jwt_secret: Option<Secret>,
    /// File with that secret, which only its owner may read, instead of --jwt-secret
    #[arg(long, env = "JWT_SECRET_FILE", conflicts_with = "jwt_secret", global = true, value_name = "FILE")]
    pub jwt_secret_file: Option<PathBuf>,
    /// Where the issuer publishes the keys of its tokens (RS256, ES256, EdDSA), besides the secret or instead of it (Supabase: https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json)
    #[arg(long, env = "JWT_JWKS_URL", global = true, value_name = "URL", value_parser = jwks_url)]
    pub jwt_jwks_url: Option<String>,
    /// The `iss` that tokens must have (Supabase: https://PROJECT.supabase.co/auth/v1)
    #[arg(long, env = "JWT_ISSUER", global = true, value_name = "URL")]
    pub jwt_issuer: Option<String>,
    /// The `aud` that tokens must have
    #[arg(long, env = "JWT_AUDIENCE", default_value = "authenticated", global = true, value_name = "NAME")]
    pub jwt_audience: String,
    /// Origin of a web page that may call this server, besides its own page; `https://*.example.com` is every host below
    /// example.com; may be given several times
    #[arg(long = "allow-origin", env = "ALLOW_ORIGINS", value_delimiter = ',', global = true, value_name = "ORIGIN", value_parser = origin)]
    pub allow_origins: Vec<String>,
    /// Number of proxies before this server that add the address they see to X-Forwarded-For; 0: nobody's word is taken
    #[arg(long, env = "TRUSTED_PROXIES", default_value_t = 0, global = true, value_name = "N")]
    pub trusted_proxies: usize,
    /// GraphQL documents that requests may name by `documentId`: a folder of ID.graphql files, or a JSON file as relay-compiler,
    /// graphql-codegen or Apollo write it. Each also has the id sha256:HASH
    #[arg(long, env = "DOCUMENTS", global = true, value_name = "PATH")]
    pub documents: Option<PathBuf>,
    /// Answer the registered documents (--documents) and no others
    #[arg(long, env = "DOCUMENTS_ONLY", global = true, value_parser = FalseyValueParser::new())]
    pub documents_only: bool,
    /// Address and port of the operators' own: /metrics, /healthz and /readyz, without TLS or sign-in, so not for the world. Not
    /// served where it is not given
    #[arg(long, env = "METRICS_LISTEN", global = true, value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Time from which on a query or mutation is logged as slow, in milliseconds; 0 logs none
    #[arg(long, env = "SLOW_OPERATION_MS", default_value_t = 1_000, global = true, value_name = "MS")]
    pub slow_operation_ms: u64,
    /// How the log is written; RUST_LOG says how much of it
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t, global = true)]
    pub log_format: LogFormat,
    /// How long a server that is told to stop goes on serving, while /readyz says 503 and load balancers look elsewhere, in seconds
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 0, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=3_600))]
    pub drain_seconds: u64,
    /// How long requests under way and sockets then have to end, in seconds; the database has two more to close. Docker kills
    /// after 10 in all
    #[arg(long, env = "STOP_SECONDS", default_value_t = 7, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=3_600))]
    pub stop_seconds: u64,
    /// Limits on requests.
    #[command(flatten)]
    pub limits: Limits,
}

impl Settings {
    /// The settings with what their files hold, which must be nobody else's to read.
    ///
    /// # Errors
    /// Which file is not usable and why, never what is in it.
    pub fn with_files(mut self) -> anyhow::Result<Self> {
        if let Some(path) = &self.database_url_file {
            let read = read_secret(path);
            self.database_url =
                read.with_context(|| format!("DATABASE_URL_FILE, {}, is not usable", path.display()))?;
        }
        if let Some(path) = &self.jwt_secret_file {
            let read = read_secret(path);
            self.jwt_secret =
                Some(read.with_context(|| format!("JWT_SECRET_FILE, {}, is not usable", path.display()))?);
        }
        Ok(self)
    }
}

/// The secret in a file, without the line break at its end.
///
/// # Errors
/// The file cannot be read, or others than its owner can; then what is in it may be known by now.
pub fn read_secret(path: &Path) -> anyhow::Result<Secret> {
    let mut file = File::open(path)?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions());
        ensure!(
            mode & 0o077 == 0,
            "others than its owner may read or write it (mode {:04o}, must be 0600 or 0400), so what it holds may be known \
             by now: make a new one",
            mode & 0o7777
        );
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| anyhow!("it cannot be read as text: {error}"))?;
    Ok(Secret(text.trim().to_owned()))
}

/// Whoever can answer in the issuer's place can sign in as anybody, so keys come by https, or from this machine or the
/// container network beside it, where names have no dots.
///
/// # Errors
/// What is wrong with it; clap adds the text itself.
fn jwks_url(text: &str) -> Result<String, String> {
    let wrong = "it must be an https:// URL; http:// goes to this machine alone, or to a host whose name has no dot";
    let uri: Uri = text.trim().parse().map_err(|_| wrong.to_owned())?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_near = match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => !host.contains('.'),
    };
    let is_bare = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") if !host.is_empty() && is_bare => Ok(uri.to_string()),
        Some("http") if !host.is_empty() && is_bare && is_near => Ok(uri.to_string()),
        _ => Err(wrong.to_owned()),
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    #[default]
    Auto,
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// An origin as browsers send it (RFC 6454, section 6.2): lower case, without the port that the scheme implies.
///
/// # Errors
/// What is wrong with it; clap adds the text itself.
fn origin(text: &str) -> Result<String, String> {
    let lower = text.trim().to_ascii_lowercase();
    let uri: Uri = lower.parse().map_err(|_| NO_ORIGIN.to_owned())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(NO_ORIGIN.to_owned()) };
    let host = format!("{scheme}://{}", authority.host());
    let whole = authority.port_u16().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    // A wildcard stands for whatever is below a domain, and not below a top-level one.
    let is_plain = match authority.host().strip_prefix("*.") {
        Some(domain) => domain.contains('.') && !domain.contains('*'),
        None => !host.contains('*'),
    };
    // What else was there would never match what a browser sends.
    if lower != whole || !is_plain {
        return Err(NO_ORIGIN.to_owned());
    }
    Ok(match (scheme, authority.port_u16()) {
        ("http", Some(80)) | ("https", Some(443)) => host,
        _ => whole,
    })
}

const NO_ORIGIN: &str = "an origin is scheme://host or scheme://host:port, without a path or a slash at its end, for example \
                         https://ide.example.com; https://*.example.com is every host below example.com";

/// A setting whose value must not appear in logs.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn an_origin_is_taken_as_a_browser_would_send_it() {
        for (text, sent) in [
            ("https://ide.example.com", "https://ide.example.com"),
            (" HTTPS://IDE.Example.com:443", "https://ide.example.com"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://example.com:80", "https://example.com:80"),
            ("tauri://localhost", "tauri://localhost"),
            ("https://*.Example.app", "https://*.example.app"),
            ("http://*.local.test:3000", "http://*.local.test:3000"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(sent), "{text}");
        }
        for text in [
            "",
            "*",
            "null",
            "ide.example.com",
            "localhost:5173",
            "/path",
            "https://",
            "https://ide.example.com/",
            "https://ide.example.com/app",
            "https://ide.example.com?a",
            "https://ide.example.com#a",
            "https://me:pw@ide.example.com",
            "https://*",
            "https://*.com",
            "https://a*.example.com",
            "https://a.*.example.com",
            "https://*.*.example.com",
            "https://a.example.com https://b.example.com",
            "https://b\u{fc}cher.example",
            "https://ide.example.com:port",
            "https://ide.example.com:99999",
            "https://ide.example.com:",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_come_by_https_or_from_near() {
        for text in [
            "https://p.supabase.co/auth/v1/.well-known/jwks.json",
            "https://10.0.0.1:8443/jwks",
            "http://localhost:9999/jwks",
            "http://127.0.0.1:9999/jwks?a=b",
            "http://[::1]/jwks",
            "http://kong:8000/auth/v1/.well-known/jwks.json",
        ] {
            assert_eq!(jwks_url(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "/jwks",
            "p.supabase.co",
            "http://p.supabase.co/jwks",
            "http://10.0.0.1/",
            "file:///etc/passwd",
            "https://",
            "https://me:pw@p.supabase.co/jwks",
            "ftp://localhost/",
            "http://[fe80::1]/jwks",
        ] {
            assert!(jwks_url(text).is_err(), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_may_come_from_a_file_that_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("antiphon-setting-{}", crate::model::clock::new_id()));
        std::fs::write(&path, "postgres://u:hunter2@h/d\n").unwrap();
        let given = ["antiphon", "--database-url-file", path.to_str().unwrap()];
        let settings = || Cli::try_parse_from(given).unwrap().settings.with_files();
        for mode in [0o644, 0o640, 0o602] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let message = format!("{:#}", settings().unwrap_err());
            assert!(message.contains("DATABASE_URL_FILE") && !message.contains("hunter2"), "{message}");
        }
        for mode in [0o600, 0o400] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let settings = settings().unwrap();
            assert_eq!(settings.database_url.expose(), "postgres://u:hunter2@h/d");
            assert!(!format!("{settings:?}").contains("hunter2"));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(settings().is_err());
        let both = ["antiphon", "--jwt-secret", "a", "--jwt-secret-file", "b"];
        assert!(Cli::try_parse_from(both).is_err());
    }

    #[test]
    fn several_origins_come_by_comma_or_flag() {
        let given =
            ["antiphon", "--allow-origin", "https://a.example,https://b.example", "--allow-origin", "http://c.example"];
        let settings = Cli::try_parse_from(given).unwrap().settings;
        assert_eq!(settings.allow_origins, ["https://a.example", "https://b.example", "http://c.example"]);
        assert!(Cli::try_parse_from(["antiphon", "--allow-origin", "https://a.example/"]).is_err());
    }
}
