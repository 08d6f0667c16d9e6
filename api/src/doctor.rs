//! `antiphon doctor`: looks at the set-up as an operator would who knows everything that can be wrong with it, changes nothing,
//! and says of each thing what it is, why it matters and what to do.
//!
//! To add a check, write a function that adds its findings to a [`Findings`] and call it in [`examine`].

use std::{
    fmt,
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::anyhow;
use sqlx::{
    ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgSslMode},
    sqlite::SqliteConnectOptions,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use crate::{
    app::{SecretSource, Target, missing, place, refusal, secret_source},
    config::{Settings, listen::Address, read_secret},
    live::bus::nats::Servers,
    model::clock,
    storage::writable::refuses_writes,
    transport::{connections::Listener, jwks::Jwks},
};

/// How long something on this machine may take to answer.
const ASK_TIME: Duration = Duration::from_secs(5);

/// Free space below which writes will soon fail, and below which they may fail at once, in KiB.
const LITTLE_SPACE: u64 = 1024 * 1024;
const NO_SPACE: u64 = 64 * 1024;

/// Fewer open files than this are used up by the sockets of a few busy users.
const FEW_OPEN_FILES: u64 = 4096;

/// How far the clocks may be apart before tokens and times are judged wrongly, in seconds.
const MAX_SKEW: f64 = 2.0;

/// The oldest PostgreSQL that is tested, as `server_version_num` has it.
const OLDEST_POSTGRES: i32 = 150_000;

/// Connections that PostgreSQL keeps for others than its superusers, and a little more.
const SPARE_CONNECTIONS: i64 = 10;

/// File systems over a network, on which SQLite's WAL does not work: its readers and writers share memory.
const NETWORK_FILE_SYSTEMS: [&str; 11] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Fine,
    Warning,
    Broken,
}

/// Something that was looked at.
pub struct Finding {
    part: &'static str,
    state: State,
    what: String,
    /// Why it matters, and what to do; of what is not fine.
    why_and_do: Option<(String, String)>,
}

impl Finding {
    /// Whether the server would not work.
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Fine => "ok",
            State::Warning => "warning",
            State::Broken => "BROKEN",
        };
        writeln!(f, "{state:<8} {}: {}", self.part, self.what)?;
        if let Some((why, advice)) = &self.why_and_do {
            writeln!(f, "         why it matters: {why}\n         what to do: {advice}")?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn fine(&mut self, part: &'static str, what: impl Into<String>) {
        self.0.push(Finding { part, state: State::Fine, what: what.into(), why_and_do: None });
    }

    fn warn(&mut self, part: &'static str, what: impl Into<String>, why: &str, advice: &str) {
        self.add(State::Warning, part, what.into(), why, advice);
    }

    fn broken(&mut self, part: &'static str, what: impl Into<String>, why: &str, advice: &str) {
        self.add(State::Broken, part, what.into(), why, advice);
    }

    fn add(&mut self, state: State, part: &'static str, what: String, why: &str, advice: &str) {
        self.0.push(Finding { part, state, what, why_and_do: Some((why.to_owned(), advice.to_owned())) });
    }
}

/// Looks at everything, and answers what there is to say of it.
pub async fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = Findings::default();
    check_settings(settings, &mut findings);
    check_open_files(&mut findings);
    let auth = &settings.auth;
    let address = settings.listen.address(auth.signing.jwt_secret.is_some() || !auth.jwt_jwks_url.is_empty());
    check_address("address", &address, "--listen (LISTEN)", &mut findings).await;
    if let Some(metrics) = &settings.observability.metrics_listen {
        check_metrics_address(metrics, &address, &mut findings).await;
    }
    check_nats(settings, &mut findings).await;
    match Target::parse(settings.store.database_url.expose()) {
        Err(error) => findings.broken(
            "database",
            format!("{error:#}"),
            "without a database there is nothing to serve",
            "correct the URL; it is not repeated here, as it may hold a password",
        ),
        Ok(target) => {
            check_secret(settings, &target, &mut findings);
            for url in &auth.jwt_jwks_url {
                check_issuer(url, auth.signing.jwt_secret.is_some(), &mut findings).await;
            }
            if let Err(error) = auth.key_sets() {
                findings.broken(
                    "issuer",
                    error.to_string(),
                    "the server does not start",
                    "correct the one or the other",
                );
            }
            let is_reachable = match &target {
                Target::Sqlite(options) => check_sqlite(options, &mut findings).await,
                Target::Postgres(options) => check_postgres(options, settings, &mut findings).await,
            };
            if is_reachable {
                check_migrations(settings, &target, &mut findings).await;
            }
        }
    }
    findings.0
}

fn check_settings(settings: &Settings, findings: &mut Findings) {
    let before = findings.0.len();
    let limits = &settings.limits;
    if limits.max_file_bytes > limits.max_body_bytes {
        findings.warn(
            "settings",
            format!("MAX_FILE_BYTES ({}) is above MAX_BODY_BYTES ({})", limits.max_file_bytes, limits.max_body_bytes),
            "a file of that size does not fit into a request, so the lower limit is the one that holds",
            "raise MAX_BODY_BYTES to a little more than MAX_FILE_BYTES",
        );
    }
    if limits.max_text_bytes > limits.max_body_bytes {
        findings.warn(
            "settings",
            format!("MAX_TEXT_BYTES ({}) is above MAX_BODY_BYTES ({})", limits.max_text_bytes, limits.max_body_bytes),
            "a text of that size does not fit into a request, so the lower limit is the one that holds",
            "raise MAX_BODY_BYTES to a little more than MAX_TEXT_BYTES",
        );
    }
    let database = &settings.database;
    if database.database_idle_seconds > database.database_lifetime_seconds {
        findings.warn(
            "settings",
            "DATABASE_IDLE_SECONDS is above DATABASE_LIFETIME_SECONDS",
            "a connection is closed at the end of its life, however busy, so the idle limit never comes to hold",
            "lower the one or raise the other",
        );
    }
    if findings.0.len() == before {
        findings.fine("settings", "they do not contradict each other");
    }
}

async fn check_nats(settings: &Settings, findings: &mut Findings) {
    let Some(url) = &settings.live.nats_url else { return };
    let servers = match Servers::parse(url.expose()) {
        Ok(servers) => servers,
        Err(error) => {
            let advice = "correct it; it is not repeated here, as it may hold a password";
            return findings.broken("NATS", error.message(), "the server does not start with it", advice);
        }
    };
    match servers.probe(ASK_TIME).await {
        Ok(()) => findings.fine("NATS", "it answers, and what is published there comes back"),
        Err(error) => {
            let advice = if error.contains("cert") {
                "see that NATS's certificate is for the host in --nats-url (NATS_URL), and of an authority that this machine trusts: \
                 SSL_CERT_FILE names a PEM file of those that count instead of the machine's own"
            } else {
                "check that NATS runs and that this machine reaches it, the user and password in --nats-url (NATS_URL), and that \
                 this user may publish and subscribe to `antiphon.>`"
            };
            findings.broken(
                "NATS",
                format!("it is not to be had: {error}"),
                "the server starts and serves, but its listeners hear what other servers write only at the next sweep",
                advice,
            );
        }
    }
}

fn check_open_files(findings: &mut Findings) {
    // Linux alone tells it so.
    let Some(most) = std::fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(open_files) else { return };
    let what = format!("a process like this one may have {most} open");
    if most < FEW_OPEN_FILES {
        findings.warn(
            "open files",
            what,
            "each connection is one: who comes when there are so many is left waiting",
            "`ulimit -n 65536` before the start, or LimitNOFILE=65536 in systemd's unit",
        );
    } else {
        findings.fine("open files", what);
    }
}

/// The soft limit on open files in the lines of /proc/self/limits (proc(5)).
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

async fn check_address(part: &'static str, address: &Address, setting: &str, findings: &mut Findings) {
    let error = match Listener::bind(address).await {
        Ok(_) => return findings.fine(part, format!("{address} is free")),
        Err(error) => error,
    };
    if error.kind() == ErrorKind::AddrInUse && is_antiphon(address).await {
        return findings.fine(part, format!("a server of ours answers at {address} already"));
    }
    let why = "the server cannot listen there, and does not start";
    match error.kind() {
        ErrorKind::AddrInUse => findings.broken(
            part,
            format!("{address} is in use by another program"),
            why,
            &format!("stop that program (`ss -ltnp` names it), or choose another address with {setting}"),
        ),
        ErrorKind::PermissionDenied => findings.broken(
            part,
            format!("{address} may not be listened on: {error}"),
            why,
            &format!("ports below 1024 are the administrator's: choose one above with {setting}, behind a proxy"),
        ),
        _ => findings.broken(
            part,
            format!("{address} cannot be listened on: {error}"),
            why,
            &format!("choose an address of this machine with {setting}"),
        ),
    }
}

/// Whether `/healthz` answers there.
async fn is_antiphon(address: &Address) -> bool {
    async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<bool> {
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        Ok(answer.ends_with(b"\r\n\r\nok\n"))
    }
    let answered = async {
        match address {
            Address::Tcp { host, port } => {
                let host = host.as_deref().unwrap_or("localhost");
                ask(TcpStream::connect((host, *port)).await?).await
            }
            #[cfg(unix)]
            Address::Unix { path, .. } => ask(tokio::net::UnixStream::connect(path).await?).await,
            #[cfg(not(unix))]
            Address::Unix { .. } => Ok(false),
        }
    };
    matches!(timeout(ASK_TIME, answered).await, Ok(Ok(true)))
}

async fn check_metrics_address(address: &Address, listen: &Address, findings: &mut Findings) {
    let setting = "--metrics-listen (METRICS_LISTEN)";
    if address.is_same(listen) {
        return findings.broken(
            "metrics",
            format!("METRICS_LISTEN is the same as LISTEN, {address}"),
            "one address is listened on once, and the metrics are not for everybody",
            &format!("choose another port with {setting}"),
        );
    }
    check_address("metrics", address, setting, findings).await;
    if !address.is_loopback() {
        findings.warn(
            "metrics",
            format!("{address} is reachable from other machines"),
            "whoever reaches it reads the names of operations and how busy the server is, without signing in",
            &format!("let a firewall keep it to your Prometheus, or choose a loopback address with {setting}"),
        );
    }
}

fn check_secret(settings: &Settings, target: &Target, findings: &mut Findings) {
    let why = "without it nobody can sign in, and the server does not start";
    match secret_source(settings, target) {
        Err(error) => findings.broken("secret", format!("{error:#}"), why, "set or correct JWT_SECRET"),
        Ok(SecretSource::Given(_)) => findings.fine("secret", "JWT_SECRET is long enough"),
        Ok(SecretSource::Nowhere) => {
            findings.fine("secret", "none: tokens are signed with keys that their issuer publishes")
        }
        Ok(SecretSource::OwnFile(path)) => match read_secret(&path) {
            Ok(_) => findings.fine("secret", format!("the server has its own, {}", path.display())),
            Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::NotFound) => {
                findings.fine("secret", format!("the server will make its own, {}", path.display()));
            }
            Err(error) => findings.broken(
                "secret",
                format!("{}: {error:#}", path.display()),
                "whoever reads it can sign in as anybody, so the server does not use it",
                "remove the file and start again: tokens signed with the old secret end with it",
            ),
        },
    }
}

/// Where there is a secret too, tokens that are signed with it hold without the issuer.
async fn check_issuer(url: &str, has_secret: bool, findings: &mut Findings) {
    let state = if has_secret { State::Warning } else { State::Broken };
    let why = "no token that the issuer has signed is accepted";
    let found = match Arc::new(Jwks::new(url)).look().await {
        Ok(found) => found,
        Err(error) => {
            let error = format!("{error:#}");
            let lower = error.to_lowercase();
            let advice = if lower.contains("no json web key set") {
                "JWT_JWKS_URL must name the key set itself, a JSON object with `keys`: where the issuer has a page                  /.well-known/openid-configuration, it is what that calls `jwks_uri`"
            } else if lower.contains("it answers 3") {
                "redirections are not followed: give JWT_JWKS_URL the address that `curl -I` of this one shows as `location`"
            } else if lower.contains("it answers") || lower.contains("http status") {
                "correct JWT_JWKS_URL (Supabase: https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json)"
            } else if lower.contains("certificate") || lower.contains("tls") {
                "the issuer's certificate must be for that host and from an authority that Mozilla trusts"
            } else {
                "see whether `curl` gets it from this machine (name, firewall, proxy), and correct JWT_JWKS_URL where not"
            };
            return findings.add(state, "issuer", format!("its keys cannot be had from {url}: {error}"), why, advice);
        }
    };
    let (mut usable, mut others) = (Vec::new(), Vec::new());
    for key in found {
        match key {
            Ok(key) => {
                let algorithms: Vec<String> = key.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
                usable.push(format!("{} {}", algorithms.join("/"), key.id.as_deref().unwrap_or("without a name")));
            }
            Err(error) => others.push(format!("{error:#}")),
        }
    }
    let left_out = if others.is_empty() { String::new() } else { format!("; left out: {}", others.join("; ")) };
    if usable.is_empty() {
        let what = format!("none of the {} keys at {url} signs tokens{left_out}", others.len());
        let advice = "let the issuer sign by RS256, PS256, ES256, ES384 or EdDSA; one that signs by a secret that it shares with its services                       publishes nothing: then it is JWT_SECRET that is to be set (Supabase: the project's JWT secret)";
        return findings.add(state, "issuer", what, why, advice);
    }
    findings
        .fine("issuer", format!("publishes {} keys that sign tokens: {}{left_out}", usable.len(), usable.join(", ")));
}

/// Answers whether there is a database to go on with.
async fn check_sqlite(options: &SqliteConnectOptions, findings: &mut Findings) -> bool {
    let file = options.get_filename();
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Ok(folder) = folder.canonicalize() else {
        findings.broken(
            "database",
            format!("the folder of {} does not exist", file.display()),
            "SQLite makes the file, and not its folder",
            "make the folder, or choose another with --database-url (DATABASE_URL)",
        );
        return false;
    };
    check_file_system(&folder, findings);
    check_space(&folder, findings).await;
    if !file.exists() {
        // What the server will do, taken back at once.
        let probe = folder.join(format!(".antiphon-doctor-{}", clock::new_id()));
        match File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe)) {
            Ok(()) => findings.fine("database", format!("{} will be made at the first start", file.display())),
            Err(error) => findings.broken(
                "database",
                format!("{} cannot be written to: {error}", folder.display()),
                "SQLite keeps two files beside the database and makes them anew at each start",
                "make it this user's (chown), or choose another with --database-url (DATABASE_URL)",
            ),
        }
        return false;
    }
    check_mode(file, findings);
    let options = options.clone().create_if_missing(false);
    let refused = match refusal(&options).await {
        None => unreadable(&options).await,
        refused => refused,
    };
    if let Some(error) = refused {
        findings.broken(
            "database",
            format!("{} cannot be opened: {error:#}", file.display()),
            "without a database there is nothing to serve",
            "the file and its folder must be this user's and writable; \"not a database\" says that it is another's file \
             or damaged: restore a backup",
        );
        return false;
    }
    if refuses_writes(file) {
        findings.broken(
            "database",
            format!("{} cannot be written to", file.display()),
            "reads are served, and every write is answered READ_ONLY",
            "the file and its folder must be writable, on a disk that has room and is not mounted read-only",
        );
    } else {
        findings.fine("database", format!("{} opens", file.display()));
    }
    true
}

/// Why nothing can be read of a file that opens: only then does SQLite look at what is in it.
async fn unreadable(options: &SqliteConnectOptions) -> Option<anyhow::Error> {
    let read = async {
        let mut connection = options.connect().await?;
        sqlx::raw_sql("SELECT count(*) FROM sqlite_schema").execute(&mut connection).await?;
        connection.close().await
    };
    read.await.err().map(|error: sqlx::Error| match error {
        sqlx::Error::Database(error) => anyhow!("{}", error.message()),
        error => error.into(),
    })
}

#[cfg(unix)]
fn check_mode(file: &Path, findings: &mut Findings) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = file.metadata() else { return };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o002 != 0 {
        findings.broken(
            "database",
            format!("{} may be written by every user of this machine (mode {mode:04o})", file.display()),
            "whoever writes to it passes by every rule of the service",
            &format!("chmod 600 {}", file.display()),
        );
    } else if mode & 0o004 != 0 {
        findings.warn(
            "database",
            format!("{} may be read by every user of this machine (mode {mode:04o})", file.display()),
            "all conversations and files are in it",
            &format!("chmod 600 {}, where others than you have accounts here", file.display()),
        );
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &mut Findings) {}

fn check_file_system(folder: &Path, findings: &mut Findings) {
    // Linux alone tells it so.
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") else { return };
    let Some((at, kind)) = file_system(&mounts, folder) else { return };
    if NETWORK_FILE_SYSTEMS.contains(&kind.as_str()) {
        findings.broken(
            "database",
            format!("{} is on a network file system ({kind} at {})", folder.display(), at.display()),
            "SQLite's write-ahead log needs memory that all its processes share, and locks that such systems break: the file \
             gets damaged",
            "put it on a local disk, or use PostgreSQL",
        );
    }
}

/// Where the file system of a folder is mounted, and its kind, by the lines of mounts(5).
fn file_system(mounts: &str, folder: &Path) -> Option<(PathBuf, String)> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        // The file writes a space of a path like this.
        let at = PathBuf::from(fields.next()?.replace("\\040", " "));
        Some((at, fields.next()?.to_owned()))
    });
    // Of two at the same place the later one hides the other.
    mounts.filter(|(at, _)| folder.starts_with(at)).max_by_key(|(at, _)| at.components().count())
}

async fn check_space(folder: &Path, findings: &mut Findings) {
    let asked = timeout(ASK_TIME, Command::new("df").arg("-Pk").arg(folder).kill_on_drop(true).output()).await;
    let Ok(Ok(output)) = asked else { return };
    let output = String::from_utf8_lossy(&output.stdout);
    let free = output.lines().nth(1).and_then(|line| line.split_ascii_whitespace().nth(3)?.parse::<u64>().ok());
    let why = "a write that finds no room fails, and is not lost only because it was never acknowledged";
    let advice = "make room, or move the database to a larger disk";
    match free {
        Some(free) if free < NO_SPACE => {
            findings.broken("disk", format!("{} MiB are left at {}", free / 1024, folder.display()), why, advice);
        }
        Some(free) if free < LITTLE_SPACE => {
            findings.warn("disk", format!("{} MiB are left at {}", free / 1024, folder.display()), why, advice);
        }
        Some(free) => findings.fine("disk", format!("{} GiB are left", free / 1024 / 1024)),
        None => {}
    }
}

/// Answers whether there is a database to go on with.
async fn check_postgres(options: &PgConnectOptions, settings: &Settings, findings: &mut Findings) -> bool {
    if let Some(error) = refusal(options).await {
        let error = format!("{error:#}");
        let advice = if error.contains("password") || error.contains("role") {
            "check user and password in --database-url (DATABASE_URL); @ : / # % in them are written %40 %3A %2F %23 %25"
        } else if error.contains("certificate") || error.to_lowercase().contains("tls") {
            "name the authority that signed the server's certificate with sslrootcert=FILE in the URL, and the host as the \
             certificate has it"
        } else {
            "check that it runs and that this machine reaches it (`pg_isready -d URL`), and --database-url (DATABASE_URL)"
        };
        findings.broken(
            "database",
            format!("{} cannot be opened: {error}", Target::Postgres(options.clone())),
            "without a database there is nothing to serve",
            advice,
        );
        return false;
    }
    match timeout(ASK_TIME, ask_postgres(options, settings, findings)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            findings.broken("database", format!("{error:#}"), "the server will meet the same", "see PostgreSQL's log");
            false
        }
        Err(_) => {
            findings.broken(
                "database",
                "it lets us in and then does not answer",
                "the server will meet the same",
                "see whether it is overloaded, or a pooler in between has no connection left",
            );
            false
        }
    }
}

async fn ask_postgres(options: &PgConnectOptions, settings: &Settings, findings: &mut Findings) -> anyhow::Result<()> {
    const ABOUT: &str = "SELECT current_setting('server_version_num')::int AS version, pg_backend_pid() AS backend,
        extract(epoch FROM clock_timestamp())::float8 AS now, pg_is_in_recovery() AS is_standby,
        current_setting('default_transaction_read_only')::boolean AS is_read_only,
        current_setting('max_connections')::bigint AS max_connections, rolsuper, rolbypassrls,
        coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted
        FROM pg_roles WHERE rolname = current_user";
    // A pooler in transaction mode takes no prepared statement: these are sent without.
    let mut one = options.connect().await?;
    let before = clock::now();
    let row = sqlx::raw_sql(ABOUT).fetch_one(&mut one).await?;
    let after = clock::now();

    let version: i32 = row.try_get("version")?;
    let shown =
        format!("{} answers, version {}.{}", Target::Postgres(options.clone()), version / 10_000, version % 10_000);
    if version < OLDEST_POSTGRES {
        findings.broken(
            "database",
            shown,
            "the views of the schema need what came with PostgreSQL 15 (security_invoker)",
            "upgrade PostgreSQL",
        );
    } else {
        findings.fine("database", shown);
    }
    if row.try_get("is_standby")? {
        findings.broken(
            "database",
            "this is a standby, which takes no writes",
            "reads are served, and every write is answered READ_ONLY",
            "name the primary in --database-url (DATABASE_URL)",
        );
    } else if row.try_get("is_read_only")? {
        findings.broken(
            "database",
            "it is read-only for this login (default_transaction_read_only)",
            "reads are served, and every write is answered READ_ONLY",
            "ALTER DATABASE or ALTER ROLE … RESET default_transaction_read_only, or see who has set it and why",
        );
    }
    check_role(&row, findings)?;
    let middle = (before + (after - before) / 2).timestamp_micros() as f64 / 1e6;
    let skew = row.try_get::<f64, _>("now")? - middle - (after - before).num_microseconds().unwrap_or(0) as f64 / 2e6;
    if skew.abs() > MAX_SKEW {
        findings.warn(
            "clock",
            format!("the database's clock and this machine's are {:.1} seconds apart", skew.abs()),
            "tokens end too early or too late, and the times of several servers' writes do not fit together",
            "let both keep time by NTP (`timedatectl` says whether this one does)",
        );
    } else {
        findings.fine("clock", "the database's and this machine's agree");
    }
    let (max, ours) = (row.try_get::<i64, _>("max_connections")?, i64::from(settings.database.database_connections));
    if ours > max - SPARE_CONNECTIONS {
        findings.warn(
            "connections",
            format!("DATABASE_CONNECTIONS is {ours}, and the database takes {max} in all"),
            "requests fail when none is left, those of other programs too",
            "lower the one, or raise PostgreSQL's max_connections",
        );
    }
    let is_remote = options.get_socket().is_none() && !matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1");
    let is_encrypted: bool = row.try_get("is_encrypted")?;
    if is_remote && !is_encrypted {
        findings.warn(
            "encryption",
            "the connection to the database is not encrypted",
            "everybody on the way reads all conversations and the password's exchange",
            "add sslmode=verify-full&sslrootcert=FILE to --database-url (DATABASE_URL)",
        );
    } else if is_remote && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull | PgSslMode::VerifyCa) {
        findings.warn(
            "encryption",
            "the connection to the database is encrypted, and nobody has checked to whom",
            "somebody on the way can pass for the database",
            "add sslmode=verify-full&sslrootcert=FILE to --database-url (DATABASE_URL)",
        );
    }
    check_pooler(&mut one, options, row.try_get("backend")?, findings).await?;
    if let Err(error) = place::check_schema(&mut one, options, settings.store.database_schema.as_deref()).await {
        findings.broken(
            "schema",
            format!("{error:#}"),
            "tables would be made, or looked for, where nobody wants them",
            "set DATABASE_SCHEMA to a schema that is there, and leave the options out of the URL",
        );
    }
    one.close().await?;
    Ok(())
}

fn check_role(row: &sqlx::postgres::PgRow, findings: &mut Findings) -> anyhow::Result<()> {
    let right = match (row.try_get("rolsuper")?, row.try_get("rolbypassrls")?) {
        (true, _) => "is a superuser",
        (false, true) => "bypasses row-level security",
        (false, false) => {
            findings.fine("role", "the login has no rights beyond its own tables");
            return Ok(());
        }
    };
    findings.warn(
        "role",
        format!("the login {right}"),
        "each transaction gives those rights up, but whoever gets hold of the login reads every project",
        "let the server log in as a role made for it, which owns nothing (README, \"Two logins\")",
    );
    Ok(())
}

/// A pooler in transaction mode lends the same backend to two of its clients as soon as neither is in a transaction.
async fn check_pooler(
    one: &mut PgConnection,
    options: &PgConnectOptions,
    backend: i32,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let mut other = options.connect().await?;
    let second: i32 =
        sqlx::raw_sql("SELECT pg_backend_pid() AS backend").fetch_one(&mut other).await?.try_get("backend")?;
    let again: i32 = sqlx::raw_sql("SELECT pg_backend_pid() AS backend").fetch_one(one).await?.try_get("backend")?;
    other.close().await?;
    if backend == second || backend != again {
        findings.broken(
            "pooler",
            "there is a pooler in transaction mode between here and the database",
            "prepared statements and LISTEN do not survive a transaction there: requests fail, and listeners of another server's \
             writes wait for the sweep",
            "use the direct connection, or the pooler in session mode (Supabase: port 5432 in place of 6543)",
        );
    } else {
        findings.fine("pooler", "none in transaction mode is in between");
    }
    Ok(())
}

async fn check_migrations(settings: &Settings, target: &Target, findings: &mut Findings) {
    let found = async {
        let db = target.connect(settings).await?;
        let is_sqlite = db.is_sqlite();
        let login = if is_sqlite { None } else { db.login().await.ok() };
        let found = missing(&db).await;
        db.close().await;
        // Who may migrate gets what is missing with the migrations.
        let is_whole = found.as_ref().is_ok_and(Vec::is_empty);
        let mute = login.filter(|login| !login.may_serve && (is_whole || !login.may_migrate));
        Ok((found, is_sqlite, mute))
    };
    let found = timeout(2 * ASK_TIME, found).await.unwrap_or_else(|_| Err(anyhow!("no answer in time")));
    let found = found.and_then(|(found, is_sqlite, mute)| {
        let Some(login) = mute else { return Ok(Some((found?, is_sqlite))) };
        findings.broken(
            "role",
            format!("the login {:?} may not speak for callers", login.name),
            "every transaction takes its caller's role, so that row-level security holds; without it none begins",
            &format!("let the database's owner run GRANT authenticated TO \"{}\"", login.name),
        );
        // One that may do nothing cannot see them either.
        Ok(found.ok().map(|missing| (missing, is_sqlite)))
    });
    match found {
        Err(error) => findings.broken(
            "migrations",
            format!("{error:#}"),
            "the server does not start on a database that it does not know",
            "start the version of antiphon that the database is of, or name another database",
        ),
        Ok(None) => {}
        Ok(Some((missing, _))) if missing.is_empty() => findings.fine("migrations", "all are applied"),
        Ok(Some((missing, true))) => {
            findings.fine("migrations", format!("{} are missing; the next start applies them", missing.len()));
        }
        Ok(Some((missing, false))) => findings.broken(
            "migrations",
            format!("these are missing: {}", missing.join(", ")),
            "the server does not start on tables of another version",
            "run `antiphon migrate`, or start once with --migrate (MIGRATE=true)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_open_files_is_the_soft_one() {
        let limits =
            |soft: &str| format!("Limit  Soft Limit  Hard Limit  Units\nMax open files  {soft}  1048576  files \n");
        assert_eq!(open_files(&limits("1024")), Some(1024));
        assert_eq!(open_files(&limits("unlimited")), Some(u64::MAX));
        assert_eq!(open_files("Max processes 5 5 processes"), None);
    }

    #[test]
    fn the_file_system_of_a_folder_is_the_innermost_mounted() {
        const MOUNTS: &str = "/dev/sda1 / ext4 rw 0 0\nhost:/srv /srv/my\\040data nfs4 rw 0 0\ntmpfs /srv/my\\040data/tmp tmpfs rw 0 0\n";
        let kind = |folder: &str| file_system(MOUNTS, Path::new(folder)).map(|(_, kind)| kind);
        assert_eq!(kind("/srv/my data/antiphon").as_deref(), Some("nfs4"));
        assert_eq!(kind("/srv/my data/tmp").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/srv/my database").as_deref(), Some("ext4"));
        assert_eq!(file_system("", Path::new("/")), None);
    }
}
