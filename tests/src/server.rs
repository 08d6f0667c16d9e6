//! Servers under test, in this process and in child processes.

use std::{
    env,
    fs::{self, File},
    future::Future,
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

pub use antiphon::model::locks::Locks;
use antiphon::telemetry::Telemetry;
use antiphon::{
    app::App,
    commands,
    config::{Cli, Serve, Settings},
    model::clock,
};
use jsonwebtoken::{EncodingKey, Header, encode};
use migration::{Migrator, MigratorTrait};
use serde_json::{Value, json};

use crate::{
    client::Client,
    database::{self, Database, Kind},
    workload::sha256,
};

/// The secret of every server under test.
pub const JWT_SECRET: &str = "a secret for tests, and long enough for HS256";

/// Runs a test on a fresh database; skips it if this machine lacks the database.
pub fn run_with_database<F: Future<Output = ()>>(kind: Kind, body: impl FnOnce(Database) -> F) {
    if kind == Kind::Postgres && !database::postgres_is_here() {
        return;
    }
    runtime().block_on(async {
        let database = Database::create(kind).await;
        body(database.clone()).await;
        database.remove().await;
    });
}

/// Runs a test on a server with a fresh database.
pub fn run_with_server<F: Future<Output = ()>>(kind: Kind, body: impl FnOnce(Server) -> F) {
    run_with_database(kind, async |database| {
        let server = Server::start(&database).await;
        body(server.clone()).await;
        server.stop().await;
    });
}

/// Runs a test on a server with a fresh PostgreSQL database, behind one of its authorization layers. Without row-level
/// security the login must have rights of its own.
pub fn run_behind<F: Future<Output = ()>>(lock: Locks, body: impl FnOnce(Server) -> F) {
    run_with_database(Kind::Postgres, async |database| {
        let url = if lock == Locks::Application { database.url() } else { database.server_url() };
        let server = Server::start_behind(&database, &url, &[], lock).await;
        body(server.clone()).await;
        server.stop().await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

/// A server in this process. Clones are the same server.
#[derive(Clone)]
pub struct Server(Arc<Running>);

struct Running {
    app: Mutex<Option<App>>,
    anonymous: Client,
    address: SocketAddr,
    database: Database,
}

impl Server {
    /// Starts a server on the database.
    pub async fn start(database: &Database) -> Self {
        Self::start_with(database, &[]).await
    }

    /// Starts a server with more flags, as on the command line.
    pub async fn start_with(database: &Database, flags: &[&str]) -> Self {
        Self::start_behind(database, &database.server_url(), flags, Locks::Both).await
    }

    /// Starts a server with another URL of the same database, and behind these authorization layers.
    pub async fn start_behind(database: &Database, url: &str, flags: &[&str], locks: Locks) -> Self {
        let app = App::start(settings(url, flags), Serve { migrate: false, locks });
        let app = app.await.unwrap_or_else(|error| panic!("the server does not start: {error:#}"));
        let address = app.address().expect("an address");
        let anonymous = Client::new(&format!("http://{address}"), None);
        Self(Arc::new(Running { app: Mutex::new(Some(app)), anonymous, address, database: database.clone() }))
    }

    /// The address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// A client of the operators' address.
    ///
    /// # Panics
    /// If the server has no such address.
    pub fn operator(&self) -> Client {
        let app = self.0.app.lock().unwrap_or_else(PoisonError::into_inner);
        let address = app.as_ref().expect("a running server").metrics_address().expect("--metrics-listen");
        Client::new(&format!("http://{address}"), None)
    }

    /// The server's database.
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// A signed-in client; the same e-mail is the same user.
    pub fn user(&self, email: &str) -> Client {
        self.0.anonymous.with_token(Some(token(email)))
    }

    /// A client without a token.
    pub fn anonymous(&self) -> Client {
        self.0.anonymous.clone()
    }

    /// How many SQL statements the server has sent so far, without transaction control.
    ///
    /// # Panics
    /// If the server has been stopped.
    pub fn statements(&self) -> u64 {
        let app = self.0.app.lock().unwrap_or_else(PoisonError::into_inner);
        app.as_ref().expect("a running server").statements()
    }

    /// Stops the server as an operator would. Does nothing if it has already been stopped.
    pub async fn stop(&self) {
        let app = self.0.app.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(app) = app {
            app.stop().await;
        }
    }
}

/// A server in a child process, which a test can kill.
pub struct ChildServer {
    process: Child,
    anonymous: Client,
}

/// Makes the test executable run a server, on this database.
const CHILD: &str = "ANTIPHON_TEST_SERVE";
/// Makes the child log.
const LOG_FORMAT: &str = "LOG_FORMAT";
/// The authorization layers, as `Debug` prints them.
const LOCKS: &str = "ANTIPHON_TEST_LOCKS";
/// Makes the child run the doctor instead.
const DOCTOR: &str = "ANTIPHON_TEST_DOCTOR";
/// The server's flags, separated by spaces.
const CHILD_FLAGS: &str = "ANTIPHON_TEST_FLAGS";
/// The child prints this before its address.
const LISTENING: &str = "listening on ";

impl ChildServer {
    /// Starts this test executable again, with only its test `serve_child`, which must call [`serve_if_child`]. The
    /// child ends with this process.
    pub fn start(database: &Database) -> Self {
        Self::spawn(&database.server_url(), |_| {})
    }

    /// The same, with more flags, as on the command line.
    pub fn start_with_flags(database: &Database, flags: &[&str]) -> Self {
        Self::spawn(&database.server_url(), |command| {
            command.env(CHILD_FLAGS, flags.join(" "));
        })
    }

    /// The same, with a log file and more environment variables.
    pub fn start_logging(database: &Database, variables: &[(&str, &str)], log: File) -> Self {
        Self::spawn(&database.server_url(), |command| {
            command.env(LOG_FORMAT, "json").envs(variables.iter().copied()).stderr(log);
        })
    }

    /// The same, with another URL of the database, and behind these authorization layers.
    pub fn start_behind(url: &str, locks: Locks) -> Self {
        Self::spawn(url, |command| {
            command.env(LOCKS, format!("{locks:?}"));
        })
    }

    /// The same, with more environment variables. With `LOG_FORMAT` it logs (see [`ChildServer::stop`]), and sends
    /// traces if the variables configure that.
    pub fn start_with(database: &Database, variables: &[(&str, &str)]) -> Self {
        Self::spawn(&database.server_url(), |command| {
            if variables.iter().any(|(name, _)| *name == LOG_FORMAT) {
                command.stderr(Stdio::piped());
            }
            command.envs(variables.iter().copied());
        })
    }

    /// The same, with more environment variables and a limit on the address space in bytes, by prlimit(1).
    pub fn start_limited(database: &Database, variables: &[(&str, &str)], bytes: u64) -> Self {
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--as={bytes}")).arg(env::current_exe().expect("a path"));
        limited.envs(variables.iter().copied());
        Self::run(as_child(limited, &database.server_url()))
    }

    fn spawn(url: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = child_command(url);
        prepare(&mut command);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let address = lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix(LISTENING)?.to_owned()));
        let address = address.expect("the child starts");
        Self { process, anonymous: Client::new(&format!("http://{address}"), None) }
    }

    /// A signed-in client.
    pub fn user(&self, email: &str) -> Client {
        self.anonymous.with_token(Some(token(email)))
    }

    /// The server's `http://HOST:PORT`.
    pub fn base(&self) -> &str {
        self.anonymous.base()
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The process's resident memory in bytes (`VmRSS` in `/proc/ID/status`, proc(5)).
    ///
    /// # Panics
    /// If the process is gone.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("a process");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("VmRSS") * 1024
    }

    /// Stops the server as an operator would, and returns its log.
    ///
    /// # Panics
    /// If this fails.
    pub fn stop(mut self) -> String {
        drop(self.process.stdin.take());
        let mut log = String::new();
        if let Some(mut stderr) = self.process.stderr.take() {
            stderr.read_to_string(&mut log).expect("the log");
        }
        // Ignore the status: libtest fails because nothing reads its result any more.
        self.process.wait().expect("the child ends");
        log
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        self.process.kill().expect("the child can be killed");
        self.process.wait().expect("the child is gone");
    }
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn child_command(url: &str) -> Command {
    as_child(Command::new(env::current_exe().expect("a path")), url)
}

fn as_child(mut command: Command, url: &str) -> Command {
    command.args(["--exact", "serve_child", "--nocapture", "--test-threads=1"]).env(CHILD, url);
    command
}

/// The doctor's report in a child process, with more environment variables.
///
/// # Panics
/// If it cannot be started.
pub fn examine(database: &Database, variables: &[(&str, &str)]) -> String {
    let mut command = child_command(&database.server_url());
    let output = command.env(DOCTOR, "").envs(variables.iter().copied()).output().expect("a child");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A process's memory in bytes, by its name in proc(5) (`VmRSS:`, `VmHWM:`); `None` if the system does not provide it.
pub fn memory(process: u32, what: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// The body of the test `serve_child`, and the start of a bench's `main`. In a [`ChildServer`]'s process it serves
/// until standard input ends; in that of [`examine`] it prints the doctor's report; elsewhere it does nothing. Returns
/// whether it did something.
pub fn serve_if_child() -> bool {
    let Ok(url) = env::var(CHILD) else { return false };
    let runtime = commands::runtime().expect("a runtime");
    let asked = env::var(LOCKS).unwrap_or_default();
    let locks = [Locks::Application, Locks::Database].into_iter().find(|locks| format!("{locks:?}") == asked);
    let serve = Serve { locks: locks.unwrap_or_default(), ..Serve::default() };
    let flags = env::var(CHILD_FLAGS).unwrap_or_default();
    let settings = settings(&url, &flags.split_whitespace().collect::<Vec<_>>());
    if env::var_os(DOCTOR).is_some() {
        runtime.block_on(commands::examine(&settings)).iter().for_each(|finding| print!("{finding}"));
        return true;
    }
    let telemetry = env::var_os(LOG_FORMAT)
        .map(|_| Telemetry::start(settings.observability.log.log_format).expect("the log can be started"));
    let app = runtime.block_on(App::start(settings, serve)).expect("the server starts");
    println!("\n{LISTENING}{}", app.address().expect("an address"));
    io::stdin().read_to_end(&mut Vec::new()).expect("an end");
    runtime.block_on(async {
        app.stop().await;
        if let Some(telemetry) = telemetry {
            telemetry.finish().await;
        }
    });
    true
}

/// Migrates a database as its owner.
pub async fn migrate(database: &Database) {
    commands::migrate(&settings(&database.url(), &[])).await.unwrap_or_else(|error| panic!("{error:#}"));
}

/// Rolls back every migration of a database.
///
/// # Errors
/// If a migration cannot be rolled back.
pub async fn roll_back_all(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let all = u32::try_from(Migrator::migrations().len())?;
    commands::take_back(settings, all, true, &mut |_| {}).await
}

/// The secret for the webhooks of every server under test.
pub const WEBHOOK_SECRET: &str = "a secret for tests, and long enough for HMAC";

/// The default flags of a server under test: its secrets, and no rate limits. The sweep for webhooks would add statements to
/// those that tests count.
const SETTINGS: &[(&str, &str)] = &[
    ("--listen", "127.0.0.1:0"),
    ("--jwt-secret", JWT_SECRET),
    ("--max-user-rate", "0"),
    ("--max-address-rate", "0"),
    ("--webhook-secret", WEBHOOK_SECRET),
    ("--webhook-sweep-seconds", "3600"),
];

/// An empty `--jwt-secret` leaves the server without a secret.
pub const NO_SECRET: &[&str] = &["--jwt-secret", ""];

/// The settings of a server under test, with more flags.
///
/// # Panics
/// If the flags are invalid.
pub fn settings(database_url: &str, flags: &[&str]) -> Settings {
    let defaults = SETTINGS.iter().filter(|(name, _)| !flags.contains(name));
    let given = ["antiphon", "--database-url", database_url].into_iter();
    let given = given.chain(defaults.flat_map(|(name, value)| [*name, *value])).chain(flags.iter().copied());
    let mut settings = Cli::try_parse_from(given).unwrap_or_else(|error| panic!("{error}")).settings;
    let secret = &mut settings.auth.signing.jwt_secret;
    *secret = secret.take().filter(|secret| !secret.expose().is_empty());
    settings
}

/// The id of the user with that e-mail: a UUID of version 8 (RFC 9562) from its hash.
pub fn user_id(email: &str) -> String {
    let hash = sha256(email);
    format!("{}-{}-8{}-8{}-{}", &hash[..8], &hash[8..12], &hash[12..15], &hash[15..18], &hash[18..30])
}

/// A token for the user with that e-mail, valid for an hour, as Supabase issues it.
pub fn token(email: &str) -> String {
    token_with(email, json!({}))
}

/// The same, with some claims replaced; null removes a claim.
pub fn token_with(email: &str, claims: Value) -> String {
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    encode(&Header::default(), &claims_of(email, claims), &key).expect("a token")
}

/// The claims of a token that is valid for an hour, with some replaced; null removes a claim.
pub fn claims_of(email: &str, claims: Value) -> Value {
    let mut all = json!({
        "sub": user_id(email),
        "aud": "authenticated",
        "role": "authenticated",
        "exp": clock::now().timestamp() + 3_600,
        "email": email,
        "user_metadata": { "email": email, "email_verified": true, "full_name": email.split('@').next() },
    });
    let fields = all.as_object_mut().expect("an object");
    for (name, value) in claims.as_object().expect("an object") {
        fields.insert(name.clone(), value.clone());
    }
    fields.retain(|_, value| !value.is_null());
    all
}
