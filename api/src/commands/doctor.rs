//! `antiphon doctor`: checks the installation for everything that is known to go wrong. It changes nothing, and
//! explains of each problem why it matters and what to do.
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

use anyhow::{anyhow, bail};
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

use super::terminal::print;
use crate::{
    config::{Settings, listen::Address, read_secret},
    connection_check,
    database_url::{DatabaseUrl, refusal},
    live::bus::nats::Servers,
    migrations::missing,
    model::clock,
    secret::{SecretSource, secret_source},
    storage::writable::refuses_writes,
    transport::{connections::Listener, jwks::Jwks},
};

/// Timeout for anything on this machine or network.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Free space below which writes will soon fail, and below which they can fail at once, in KiB.
const LOW_SPACE: u64 = 1024 * 1024;
const CRITICAL_SPACE: u64 = 64 * 1024;

/// Fewer open files than this are exhausted by the sockets of a few busy users.
const FEW_OPEN_FILES: u64 = 4096;

/// Clock difference above which tokens and times are misjudged, in seconds.
const MAX_SKEW: f64 = 2.0;

/// The oldest tested PostgreSQL version, as in `server_version_num`.
const OLDEST_POSTGRES: i32 = 150_000;

/// Connections that PostgreSQL reserves for superusers, with a margin.
const SPARE_CONNECTIONS: i64 = 10;

/// Network file systems: SQLite's write-ahead log does not work on them, because its readers and writers share memory.
const NETWORK_FILE_SYSTEMS: [&str; 11] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Fine,
    Warning,
    Broken,
}

/// The result of a check.
pub struct Finding {
    part: &'static str,
    state: State,
    what: String,
    /// Why it matters, and what to do; `None` if all is well.
    explanation: Option<(String, String)>,
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
        if let Some((why, advice)) = &self.explanation {
            writeln!(f, "         why it matters: {why}\n         what to do: {advice}")?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn fine(&mut self, part: &'static str, what: impl Into<String>) {
        self.0.push(Finding { part, state: State::Fine, what: what.into(), explanation: None });
    }

    fn warn(&mut self, part: &'static str, what: impl Into<String>, why: &str, advice: &str) {
        self.add(State::Warning, part, what.into(), why, advice);
    }

    fn broken(&mut self, part: &'static str, what: impl Into<String>, why: &str, advice: &str) {
        self.add(State::Broken, part, what.into(), why, advice);
    }

    fn add(&mut self, state: State, part: &'static str, what: String, why: &str, advice: &str) {
        self.0.push(Finding { part, state, what, explanation: Some((why.to_owned(), advice.to_owned())) });
    }
}

/// Runs all checks.
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
    match DatabaseUrl::parse(settings.store.database_url.expose()) {
        Err(error) => findings.broken(
            "database",
            format!("{error:#}"),
            "the server does not start without a database",
            "correct the URL; it is not shown here, because it can contain a password",
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
                    "correct one of the two settings",
                );
            }
            let is_reachable = match &target {
                DatabaseUrl::Sqlite(options) => check_sqlite(options, &mut findings).await,
                DatabaseUrl::Postgres(options) => check_postgres(options, settings, &mut findings).await,
            };
            if is_reachable {
                check_migrations(settings, &target, &mut findings).await;
            }
        }
    }
    findings.0
}

/// Examines the set-up and prints every finding.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let findings = examine(settings).await;
    findings.iter().try_for_each(|finding| print(&finding.to_string()))?;
    match findings.iter().filter(|finding| finding.is_broken()).count() {
        0 => Ok(()),
        broken => bail!("{broken} of {} things are broken", findings.len()),
    }
}

fn check_settings(settings: &Settings, findings: &mut Findings) {
    let before = findings.0.len();
    let limits = &settings.limits;
    if limits.max_file_bytes > limits.max_body_bytes {
        findings.warn(
            "settings",
            format!("MAX_FILE_BYTES ({}) exceeds MAX_BODY_BYTES ({})", limits.max_file_bytes, limits.max_body_bytes),
            "a file of that size does not fit into a request, so the lower limit applies",
            "raise MAX_BODY_BYTES above MAX_FILE_BYTES",
        );
    }
    if limits.max_text_bytes > limits.max_body_bytes {
        findings.warn(
            "settings",
            format!("MAX_TEXT_BYTES ({}) exceeds MAX_BODY_BYTES ({})", limits.max_text_bytes, limits.max_body_bytes),
            "a text of that size does not fit into a request, so the lower limit applies",
            "raise MAX_BODY_BYTES above MAX_TEXT_BYTES",
        );
    }
    let database = &settings.database;
    if database.database_idle_seconds > database.database_lifetime_seconds {
        findings.warn(
            "settings",
            "DATABASE_IDLE_SECONDS exceeds DATABASE_LIFETIME_SECONDS",
            "a connection is closed at the end of its lifetime in any case, so the idle limit has no effect",
            "lower DATABASE_IDLE_SECONDS or raise DATABASE_LIFETIME_SECONDS",
        );
    }
    if findings.0.len() == before {
        findings.fine("settings", "consistent");
    }
}

async fn check_nats(settings: &Settings, findings: &mut Findings) {
    let Some(url) = &settings.live.nats_url else { return };
    let servers = match Servers::parse(url.expose()) {
        Ok(servers) => servers,
        Err(error) => {
            let advice = "correct the URL; it is not shown here, because it can contain a password";
            return findings.broken("NATS", error.message(), "the server does not start", advice);
        }
    };
    match servers.probe(CHECK_TIMEOUT).await {
        Ok(()) => findings.fine("NATS", "reachable, and a test message was received"),
        Err(error) => {
            let advice = if error.contains("cert") {
                "check that NATS's certificate is for the host in --nats-url (NATS_URL) and from an authority that \
                 this machine trusts; SSL_CERT_FILE names a PEM file of authorities to trust instead of the machine's \
                 own"
            } else {
                "check that NATS is running and reachable from this machine, that the user and password in --nats-url \
                 (NATS_URL) are correct, and that this user can publish and subscribe to `antiphon.>`"
            };
            findings.broken(
                "NATS",
                format!("not available: {error}"),
                "the server works, but its subscribers see writes of other servers only after the next sweep",
                advice,
            );
        }
    }
}

fn check_open_files(findings: &mut Findings) {
    // Available only on Linux.
    let Some(most) = std::fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(open_files) else { return };
    let what = format!("this process can open {most} files");
    if most < FEW_OPEN_FILES {
        findings.warn(
            "open files",
            what,
            "each connection is an open file; when the limit is reached, new clients have to wait",
            "run `ulimit -n 65536` before the start, or set LimitNOFILE=65536 in the systemd unit",
        );
    } else {
        findings.fine("open files", what);
    }
}

/// The soft limit on open files in /proc/self/limits (proc(5)).
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
        return findings.fine(part, format!("a running antiphon server listens on {address}"));
    }
    let why = "the server does not start";
    match error.kind() {
        ErrorKind::AddrInUse => findings.broken(
            part,
            format!("{address} is in use by another program"),
            why,
            &format!("stop that program (`ss -ltnp` shows it), or choose another address with {setting}"),
        ),
        ErrorKind::PermissionDenied => findings.broken(
            part,
            format!("no permission to listen on {address}: {error}"),
            why,
            &format!("ports below 1024 need administrator rights: choose a higher port with {setting}, behind a proxy"),
        ),
        _ => findings.broken(
            part,
            format!("cannot listen on {address}: {error}"),
            why,
            &format!("choose an address of this machine with {setting}"),
        ),
    }
}

/// Whether an antiphon server answers `/healthz` at this address.
async fn is_antiphon(address: &Address) -> bool {
    async fn responds_ok(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<bool> {
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        Ok(answer.ends_with(b"\r\n\r\nok\n"))
    }
    let answered = async {
        match address {
            Address::Tcp { host, port } => {
                let host = host.as_deref().unwrap_or("localhost");
                responds_ok(TcpStream::connect((host, *port)).await?).await
            }
            #[cfg(unix)]
            Address::Unix { path, .. } => responds_ok(tokio::net::UnixStream::connect(path).await?).await,
            #[cfg(not(unix))]
            Address::Unix { .. } => Ok(false),
        }
    };
    matches!(timeout(CHECK_TIMEOUT, answered).await, Ok(Ok(true)))
}

async fn check_metrics_address(address: &Address, listen: &Address, findings: &mut Findings) {
    let setting = "--metrics-listen (METRICS_LISTEN)";
    if address.is_same(listen) {
        return findings.broken(
            "metrics",
            format!("METRICS_LISTEN is the same as LISTEN, {address}"),
            "only one of them can listen there, and the metrics must not be public",
            &format!("choose another port with {setting}"),
        );
    }
    check_address("metrics", address, setting, findings).await;
    if !address.is_loopback() {
        findings.warn(
            "metrics",
            format!("{address} is reachable from other machines"),
            "anyone who can connect sees operation names and the load of the server without signing in",
            &format!("restrict it to your Prometheus by a firewall, or choose a loopback address with {setting}"),
        );
    }
}

fn check_secret(settings: &Settings, target: &DatabaseUrl, findings: &mut Findings) {
    let why = "without a secret no user can sign in, and the server does not start";
    match secret_source(settings, target) {
        Err(error) => findings.broken("secret", format!("{error:#}"), why, "set or correct JWT_SECRET"),
        Ok(SecretSource::Given(_)) => findings.fine("secret", "JWT_SECRET is long enough"),
        Ok(SecretSource::Nowhere) => {
            findings.fine("secret", "none; tokens are verified with the issuer's published keys")
        }
        Ok(SecretSource::OwnFile(path)) => match read_secret(&path) {
            Ok(_) => findings.fine("secret", format!("the server uses its own, {}", path.display())),
            Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::NotFound) => {
                findings.fine("secret", format!("the server will generate its own, {}", path.display()));
            }
            Err(error) => findings.broken(
                "secret",
                format!("{}: {error:#}", path.display()),
                "anyone who knows the secret can sign in as any user, so the server refuses it",
                "delete the file and restart the server; tokens signed with the old secret become invalid",
            ),
        },
    }
}

/// If there is also a secret, tokens signed with it are accepted without the issuer.
async fn check_issuer(url: &str, has_secret: bool, findings: &mut Findings) {
    let state = if has_secret { State::Warning } else { State::Broken };
    let why = "tokens signed by the issuer are refused";
    let found = match Arc::new(Jwks::new(url)).look().await {
        Ok(found) => found,
        Err(error) => {
            let error = format!("{error:#}");
            let lower = error.to_lowercase();
            let advice = if lower.contains("not a json web key set") {
                "JWT_JWKS_URL must be the URL of the key set, a JSON object with `keys`; the issuer's \
                 /.well-known/openid-configuration, if it has one, contains it as `jwks_uri`"
            } else if lower.contains("it answers with status 3") {
                "redirects are not followed: set JWT_JWKS_URL to the `location` that `curl -I` shows for this URL"
            } else if lower.contains("it answers with") || lower.contains("http status") {
                "correct JWT_JWKS_URL (Supabase: https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json)"
            } else if lower.contains("certificate") || lower.contains("tls") {
                "the issuer's certificate must be for that host and from an authority that Mozilla trusts"
            } else {
                "check with `curl` whether this machine can reach it (name, firewall, proxy), or correct JWT_JWKS_URL"
            };
            return findings.add(state, "issuer", format!("cannot fetch its keys from {url}: {error}"), why, advice);
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
        let what = format!("none of the {} keys at {url} is usable{left_out}", others.len());
        let advice = "let the issuer sign with RS256, PS256, ES256, ES384 or EdDSA. An issuer that signs with a shared \
                      secret publishes no keys: then set JWT_SECRET (Supabase: the project's JWT secret)";
        return findings.add(state, "issuer", what, why, advice);
    }
    findings.fine("issuer", format!("publishes {} usable keys: {}{left_out}", usable.len(), usable.join(", ")));
}

/// Returns whether the database can be checked further.
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
            "SQLite creates the file, but not its folder",
            "create the folder, or choose another with --database-url (DATABASE_URL)",
        );
        return false;
    };
    check_file_system(&folder, findings);
    check_space(&folder, findings).await;
    if !file.exists() {
        // Try to create a file, as the server will do, and delete it.
        let probe = folder.join(format!(".antiphon-doctor-{}", clock::new_id()));
        match File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe)) {
            Ok(()) => findings.fine("database", format!("{} will be created at the first start", file.display())),
            Err(error) => findings.broken(
                "database",
                format!("{} is not writable: {error}", folder.display()),
                "SQLite creates the database there, and two more files at each start",
                "make this user its owner (chown), or choose another folder with --database-url (DATABASE_URL)",
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
            "the server does not start without a database",
            "the file and its folder must belong to this user and be writable; \"not a database\" means that the file \
             is damaged or not a SQLite database: restore a backup",
        );
        return false;
    }
    if refuses_writes(file) {
        findings.broken(
            "database",
            format!("{} is not writable", file.display()),
            "only reads are served; every write fails with READ_ONLY",
            "the file and its folder must be writable, on a disk with free space that is not mounted read-only",
        );
    } else {
        findings.fine("database", format!("{} can be opened", file.display()));
    }
    true
}

/// Why the content is unreadable. SQLite does not read it when it opens the file.
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
            format!("{} is writable by every user of this machine (mode {mode:04o})", file.display()),
            "anyone who writes to it bypasses every check of the service",
            &format!("chmod 600 {}", file.display()),
        );
    } else if mode & 0o004 != 0 {
        findings.warn(
            "database",
            format!("{} is readable by every user of this machine (mode {mode:04o})", file.display()),
            "it contains all conversations and files",
            &format!("chmod 600 {}, if other people have accounts on this machine", file.display()),
        );
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &mut Findings) {}

fn check_file_system(folder: &Path, findings: &mut Findings) {
    // Available only on Linux.
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") else { return };
    let Some((at, kind)) = file_system(&mounts, folder) else { return };
    if NETWORK_FILE_SYSTEMS.contains(&kind.as_str()) {
        findings.broken(
            "database",
            format!("{} is on a network file system ({kind} at {})", folder.display(), at.display()),
            "SQLite's write-ahead log needs shared memory and working locks, which network file systems do not \
             provide: the file gets damaged",
            "put it on a local disk, or use PostgreSQL",
        );
    }
}

/// Mount point and type of a folder's file system, from /proc/self/mounts (mounts(5)).
fn file_system(mounts: &str, folder: &Path) -> Option<(PathBuf, String)> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        // A space in a path is escaped like this.
        let at = PathBuf::from(fields.next()?.replace("\\040", " "));
        Some((at, fields.next()?.to_owned()))
    });
    // Of two mounts at the same place, the later one hides the other.
    mounts.filter(|(at, _)| folder.starts_with(at)).max_by_key(|(at, _)| at.components().count())
}

async fn check_space(folder: &Path, findings: &mut Findings) {
    let asked = timeout(CHECK_TIMEOUT, Command::new("df").arg("-Pk").arg(folder).kill_on_drop(true).output()).await;
    let Ok(Ok(output)) = asked else { return };
    let output = String::from_utf8_lossy(&output.stdout);
    let free = output.lines().nth(1).and_then(|line| line.split_ascii_whitespace().nth(3)?.parse::<u64>().ok());
    let why = "writes fail when the disk is full";
    let advice = "free some space, or move the database to a larger disk";
    match free {
        Some(free) if free < CRITICAL_SPACE => {
            findings.broken("disk", format!("{} MiB free at {}", free / 1024, folder.display()), why, advice);
        }
        Some(free) if free < LOW_SPACE => {
            findings.warn("disk", format!("{} MiB free at {}", free / 1024, folder.display()), why, advice);
        }
        Some(free) => findings.fine("disk", format!("{} GiB free", free / 1024 / 1024)),
        None => {}
    }
}

/// Returns whether the database can be checked further.
async fn check_postgres(options: &PgConnectOptions, settings: &Settings, findings: &mut Findings) -> bool {
    if let Some(error) = refusal(options).await {
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
            format!("{} cannot be opened: {error}", DatabaseUrl::Postgres(options.clone())),
            "the server does not start without a database",
            advice,
        );
        return false;
    }
    match timeout(CHECK_TIMEOUT, query_postgres(options, settings, findings)).await {
        Ok(Ok(())) => true,
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

async fn query_postgres(
    options: &PgConnectOptions,
    settings: &Settings,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    const ABOUT: &str = "SELECT current_setting('server_version_num')::int AS version, pg_backend_pid() AS backend,
        extract(epoch FROM clock_timestamp())::float8 AS now, pg_is_in_recovery() AS is_standby,
        current_setting('default_transaction_read_only')::boolean AS is_read_only,
        current_setting('max_connections')::bigint AS max_connections, rolsuper, rolbypassrls,
        coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted
        FROM pg_roles WHERE rolname = current_user";
    // A pooler in transaction mode does not support prepared statements, so none are used here.
    let mut one = options.connect().await?;
    let before = clock::now();
    let row = sqlx::raw_sql(ABOUT).fetch_one(&mut one).await?;
    let after = clock::now();

    let version: i32 = row.try_get("version")?;
    let shown = format!(
        "{} answers, version {}.{}",
        DatabaseUrl::Postgres(options.clone()),
        version / 10_000,
        version % 10_000
    );
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
    check_role(&row, findings)?;
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
    let (max, ours) = (row.try_get::<i64, _>("max_connections")?, i64::from(settings.database.database_connections));
    if ours > max - SPARE_CONNECTIONS {
        findings.warn(
            "connections",
            format!("DATABASE_CONNECTIONS is {ours}, but the database allows {max} in all"),
            "requests fail when no connection is left, also those of other programs",
            "lower DATABASE_CONNECTIONS, or raise PostgreSQL's max_connections",
        );
    }
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
    check_pooler(&mut one, options, row.try_get("backend")?, findings).await?;
    if let Err(error) =
        connection_check::check_schema(&mut one, options, settings.store.database_schema.as_deref()).await
    {
        findings.broken(
            "schema",
            format!("{error:#}"),
            "the server would use tables in the wrong schema",
            "set DATABASE_SCHEMA to an existing schema, and remove the options from the URL",
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
        "each transaction gives up those rights, but anyone who obtains the login's password can read every project",
        "use a separate login for the server, which owns nothing (docs/postgres.md, \"Two logins\")",
    );
    Ok(())
}

/// A pooler in transaction mode gives the same backend to two of its clients when neither is in a transaction.
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
            "the connection goes through a pooler in transaction mode",
            "prepared statements and LISTEN do not work across transactions there: requests fail, and subscribers see \
             writes of other servers only after the next sweep",
            "use the direct connection, or the pooler in session mode (Supabase: port 5432 instead of 6543)",
        );
    } else {
        findings.fine("pooler", "no pooler in transaction mode");
    }
    Ok(())
}

async fn check_migrations(settings: &Settings, target: &DatabaseUrl, findings: &mut Findings) {
    let found = async {
        let db = target.connect(settings).await?;
        let is_sqlite = db.is_sqlite();
        let login = if is_sqlite { None } else { db.login().await.ok() };
        let found = missing(&db).await;
        db.close().await;
        // A login that can migrate gets the missing right with the migrations.
        let is_whole = found.as_ref().is_ok_and(Vec::is_empty);
        let mute = login.filter(|login| !login.may_serve && (is_whole || !login.may_migrate));
        Ok((found, is_sqlite, mute))
    };
    let found = timeout(2 * CHECK_TIMEOUT, found).await.unwrap_or_else(|_| Err(anyhow!("no answer in time")));
    let found = found.and_then(|(found, is_sqlite, mute)| {
        let Some(login) = mute else { return Ok(Some((found?, is_sqlite))) };
        findings.broken(
            "role",
            format!("the login {:?} cannot act for callers", login.name),
            "every transaction switches to the callers' role, so that row-level security applies; without the right to \
             do so it fails",
            &format!("run GRANT authenticated TO \"{}\" as the database's owner", login.name),
        );
        // A login without any rights cannot read the applied migrations either.
        Ok(found.ok().map(|missing| (missing, is_sqlite)))
    });
    match found {
        Err(error) => findings.broken(
            "migrations",
            format!("{error:#}"),
            "the server does not start on an unknown database",
            "start the antiphon version that matches the database, or use another database",
        ),
        Ok(None) => {}
        Ok(Some((missing, _))) if missing.is_empty() => findings.fine("migrations", "all are applied"),
        Ok(Some((missing, true))) => {
            findings.fine("migrations", format!("{} are pending; the next start applies them", missing.len()));
        }
        Ok(Some((missing, false))) => findings.broken(
            "migrations",
            format!("pending: {}", missing.join(", ")),
            "the server does not start on tables of another version",
            "run `antiphon migrate`, or start once with --migrate (MIGRATE=true)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_on_open_files_applies() {
        let limits =
            |soft: &str| format!("Limit  Soft Limit  Hard Limit  Units\nMax open files  {soft}  1048576  files \n");
        assert_eq!(open_files(&limits("1024")), Some(1024));
        assert_eq!(open_files(&limits("unlimited")), Some(u64::MAX));
        assert_eq!(open_files("Max processes 5 5 processes"), None);
    }

    #[test]
    fn the_innermost_mount_determines_the_file_system() {
        const MOUNTS: &str = "/dev/sda1 / ext4 rw 0 0\nhost:/srv /srv/my\\040data nfs4 rw 0 0\ntmpfs /srv/my\\040data/tmp tmpfs rw 0 0\n";
        let kind = |folder: &str| file_system(MOUNTS, Path::new(folder)).map(|(_, kind)| kind);
        assert_eq!(kind("/srv/my data/antiphon").as_deref(), Some("nfs4"));
        assert_eq!(kind("/srv/my data/tmp").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/srv/my database").as_deref(), Some("ext4"));
        assert_eq!(file_system("", Path::new("/")), None);
    }
}
