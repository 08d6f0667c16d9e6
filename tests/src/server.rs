//! Servers under test, in this process and in one of their own.

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

/// The secret that every server under test knows.
pub const JWT_SECRET: &str = "a secret for tests, and long enough for HS256";

/// Runs a test on a fresh database, unless it is one that this machine does not have.
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

/// Runs a test on a server with a fresh database in PostgreSQL, behind one of its locks. Without row-level security the login
/// must be one that has rights of its own.
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

    /// Starts a server with another URL of the same database, and behind these locks.
    pub async fn start_behind(database: &Database, url: &str, flags: &[&str], locks: Locks) -> Self {
        let app = App::start(settings(url, flags), Serve { migrate: false, locks });
        let app = app.await.unwrap_or_else(|error| panic!("the server does not start: {error:#}"));
        let address = app.address().expect("an address");
        let anonymous = Client::new(&format!("http://{address}"), None);
        Self(Arc::new(Running { app: Mutex::new(Some(app)), anonymous, address, database: database.clone() }))
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// A client of the operators' own address.
    ///
    /// # Panics
    /// Where the server was not told to have one.
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

    /// How many SQL statements the server has sent so far, transaction control not counted.
    ///
    /// # Panics
    /// Where the server has been stopped.
    pub fn statements(&self) -> u64 {
        let app = self.0.app.lock().unwrap_or_else(PoisonError::into_inner);
        app.as_ref().expect("a running server").statements()
    }

    /// Stops the server as an operator would; nothing happens where it has been stopped already.
    pub async fn stop(&self) {
        let app = self.0.app.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(app) = app {
            app.stop().await;
        }
    }
}

/// A server in a process of its own, to be killed.
pub struct ChildServer {
    process: Child,
    anonymous: Client,
}

/// Tells the test executable to be a server, and on which database.
const CHILD: &str = "ANTIPHON_TEST_SERVE";
/// Makes the child log.
const LOG_FORMAT: &str = "LOG_FORMAT";
/// Behind which locks, as `Debug` writes them.
const LOCKS: &str = "ANTIPHON_TEST_LOCKS";
/// Makes the child examine the set-up instead.
const DOCTOR: &str = "ANTIPHON_TEST_DOCTOR";
/// With which flags, between spaces.
const CHILD_FLAGS: &str = "ANTIPHON_TEST_FLAGS";
/// What the child says before its address.
const LISTENING: &str = "listening on ";

impl ChildServer {
    /// Starts this same test executable again, with only its test `serve_child`, which is to call
    /// [`serve_if_child`]. The child ends with this process.
    pub fn start(database: &Database) -> Self {
        Self::spawn(&database.server_url(), |_| {})
    }

    /// The same, with more flags, as on the command line.
    pub fn start_with_flags(database: &Database, flags: &[&str]) -> Self {
        Self::spawn(&database.server_url(), |command| {
            command.env(CHILD_FLAGS, flags.join(" "));
        })
    }

    /// The same, logging to a file, with more variables in its environment.
    pub fn start_logging(database: &Database, variables: &[(&str, &str)], log: File) -> Self {
        Self::spawn(&database.server_url(), |command| {
            command.env(LOG_FORMAT, "json").envs(variables.iter().copied()).stderr(log);
        })
    }

    /// The same with another URL of the database, and behind these locks.
    pub fn start_behind(url: &str, locks: Locks) -> Self {
        Self::spawn(url, |command| {
            command.env(LOCKS, format!("{locks:?}"));
        })
    }

    /// The same, with more variables in its environment. With `LOG_FORMAT` it logs (see [`ChildServer::stop`]), and sends traces
    /// where the variables say so.
    pub fn start_with(database: &Database, variables: &[(&str, &str)]) -> Self {
        Self::spawn(&database.server_url(), |command| {
            if variables.iter().any(|(name, _)| *name == LOG_FORMAT) {
                command.stderr(Stdio::piped());
            }
            command.envs(variables.iter().copied());
        })
    }

    fn spawn(url: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = child_command(url);
        prepare(&mut command);
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

    /// Where it listens: `http://HOST:PORT`.
    pub fn base(&self) -> &str {
        self.anonymous.base()
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How much memory it has, of what the machine has (`VmRSS` in `/proc/ID/status`, proc(5)).
    ///
    /// # Panics
    /// Where it is gone.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("a process");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("VmRSS") * 1024
    }

    /// Stops the server as an operator would, and answers what it has logged.
    ///
    /// # Panics
    /// Where it fails.
    pub fn stop(mut self) -> String {
        drop(self.process.stdin.take());
        let mut log = String::new();
        if let Some(mut stderr) = self.process.stderr.take() {
            stderr.read_to_string(&mut log).expect("the log");
        }
        // Its status says nothing: libtest has nobody left to print its result to.
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
    let mut command = Command::new(env::current_exe().expect("a path"));
    command.args(["--exact", "serve_child", "--nocapture", "--test-threads=1"]).env(CHILD, url);
    command
}

/// What the doctor says in a process of its own, with more variables in its environment.
///
/// # Panics
/// Where it cannot be started.
pub fn examine(database: &Database, variables: &[(&str, &str)]) -> String {
    let mut command = child_command(&database.server_url());
    let output = command.env(DOCTOR, "").envs(variables.iter().copied()).output().expect("a child");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A process's memory, in bytes, by the name that proc(5) has for it (`VmRSS:`, `VmHWM:`); none where the system does not say.
pub fn memory(process: u32, what: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// What the test `serve_child` does, and the `main` of a bench before anything else: in a [`ChildServer`]'s process serves
/// until its standard input ends, in that of [`examine`] says what the doctor does, elsewhere nothing. Says whether it did.
pub fn serve_if_child() -> bool {
    let Ok(url) = env::var(CHILD) else { return false };
    let runtime = runtime();
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

/// Takes every migration of a database back.
///
/// # Errors
/// Why that cannot be.
pub async fn take_back_all(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let all = u32::try_from(Migrator::migrations().len())?;
    commands::take_back(settings, all, true, &mut |_| {}).await
}

/// What a server under test is told where the flags say nothing else: its secret, and to let each user do as much as they can.
const SETTINGS: &[(&str, &str)] =
    &[("--listen", "127.0.0.1:0"), ("--jwt-secret", JWT_SECRET), ("--max-user-rate", "0"), ("--max-address-rate", "0")];

/// The flag `--jwt-secret` with nothing after it leaves the server without one.
pub const NO_SECRET: &[&str] = &["--jwt-secret", ""];

/// Settings as a server under test has them, with more flags.
///
/// # Panics
/// Where the flags are not to be understood.
pub fn settings(database_url: &str, flags: &[&str]) -> Settings {
    let unsaid = SETTINGS.iter().filter(|(name, _)| !flags.contains(name));
    let given = ["antiphon", "--database-url", database_url].into_iter();
    let given = given.chain(unsaid.flat_map(|(name, value)| [*name, *value])).chain(flags.iter().copied());
    let mut settings = Cli::try_parse_from(given).unwrap_or_else(|error| panic!("{error}")).settings;
    let secret = &mut settings.auth.signing.jwt_secret;
    *secret = secret.take().filter(|secret| !secret.expose().is_empty());
    settings
}

/// The id of the user with that e-mail: a UUID of version 8 (RFC 9562) made of its hash.
pub fn user_id(email: &str) -> String {
    let hash = sha256(email);
    format!("{}-{}-8{}-8{}-{}", &hash[..8], &hash[8..12], &hash[12..15], &hash[15..18], &hash[18..30])
}

/// An hour's token for the user with that e-mail, as Supabase would issue it.
pub fn token(email: &str) -> String {
    token_with(email, json!({}))
}

/// The same, with some claims replaced (by null: left out).
pub fn token_with(email: &str, claims: Value) -> String {
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    encode(&Header::default(), &claims_of(email, claims), &key).expect("a token")
}

/// The claims of an hour's token, with some replaced (by null: left out).
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
