//! The composition root: from settings to a running server, for `main` and the tests alike, and the other commands' way
//! to the same database and the same secret.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use futures::{FutureExt, future::join_all};
use rand::RngCore;
use sqlx::{
    ConnectOptions,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{DEV_EMAIL, Export, Import, Serve, Settings, listen::Address, read_secret},
    domain::{
        Services,
        portability::{
            export,
            import::{self, Imported, Progress},
            verify::{self, Verified},
        },
    },
    graphql::{documents::Documents, schema},
    live::{
        Live,
        bus::{Bus, nats},
        channel::Channels,
        fan_out::{Results, SharedSubscriptions},
    },
    model::{
        actor::{Actor, Claims},
        error::Error,
        ids::ProjectId,
        locks::Locks,
    },
    storage::db::{Db, check_log, postgres_options},
    transport::{
        auth::{Rules, Trusted, Verifier, user_of},
        connections::{self, Listener},
        executor::Executor,
        health::{Health, Part, operator_routes},
        jwks::Jwks,
        router::{AppState, router},
        single::Streams,
        throttle::Throttle,
    },
};

mod migrations;
pub(crate) mod place;

pub(crate) use migrations::missing;
use migrations::prepare;
pub use migrations::{migrate, take_back};

/// Shortest secret that is accepted, in bytes: HS256's own output (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// The name of whom the link of the dev login signs in, and for how many hours.
const DEV_USER: (&str, u32) = ("Developer", 7 * 24);

/// How long a stopping server waits for the database to close.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// How long an attempt to learn why there is no connection may take.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// A running server.
pub struct App {
    address: Option<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    sign_in_link: Option<String>,
    services: Arc<Services>,
    live: Arc<Live>,
    servers: Vec<JoinHandle<()>>,
    draining: CancellationToken,
    drain_time: Duration,
    stop_time: Duration,
    /// Keeps listeners in step with other servers.
    in_step: JoinHandle<Option<()>>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl App {
    /// Starts a server. SQLite is migrated first; PostgreSQL only where `serve` says so, and must else be up to date.
    ///
    /// # Errors
    /// What keeps it from starting and what to do about it, for the operator; no secret is in it.
    pub async fn start(settings: Settings, serve: Serve) -> anyhow::Result<Self> {
        let target = Target::parse(settings.store.database_url.expose())?;
        // Before anything is written: the mistakes that cost nothing to find.
        let source = secret_source(&settings, &target)?;
        let nats =
            settings.live.nats_url.as_ref().map(|url| nats::Servers::parse(url.expose())).transpose().map_err(words)?;
        let listen = &settings.listen;
        let schema = schema::build(&settings.limits);
        let documents =
            Documents::load(&schema.sdl(), listen.documents.as_deref(), listen.documents_only, &settings.limits)?;
        let key_sets = settings.auth.key_sets()?;
        let place = listen.address(has_keys(&settings));
        let listeners = bind(&place, "--listen (LISTEN)").await?;
        let address = listeners.first().and_then(Listener::address);
        let metrics_listeners = match &settings.observability.metrics_listen {
            Some(address) => bind(address, "--metrics-listen (METRICS_LISTEN)").await?,
            None => Vec::new(),
        };
        let metrics_address = metrics_listeners.first().and_then(Listener::address);

        let db = target.connect(&settings).await?.behind(serve.locks);
        check_login(&db, serve.locks).await?;
        prepare(&db, &serve).await?;
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let keys = |(url, issuer): (&str, Option<&str>)| Trusted {
            issuer: issuer.map(str::to_owned),
            jwks: Arc::new(Jwks::new(url)),
        };
        let trusted: Vec<Trusted> = key_sets.into_iter().map(keys).collect();
        // An issuer that is down keeps nothing from starting; its tokens wait for it.
        join_all(trusted.iter().map(|trusted| trusted.jwks.refresh())).await;
        for Trusted { jwks, .. } in &trusted {
            tasks.spawn(jwks.clone().keep_fresh(shutdown.clone()));
        }
        let verifier = verifier(&settings, &source, trusted)?;
        let sign_in_link = match source {
            SecretSource::Given(_) | SecretSource::Nowhere => None,
            SecretSource::OwnFile(_) => {
                let (name, hours) = DEV_USER;
                let token = verifier.issue(DEV_EMAIL, Some(name), hours).map_err(words)?;
                address.map(|address| format!("http://{}/#token={token}", reachable(address)))
            }
        };

        let draining = CancellationToken::new();
        let bus = Bus::choose(&db, settings.live.notify, nats);
        let channels = Channels::default();
        let published = channels.clone();
        let services = Services::new(db.clone(), settings.limits.clone(), &settings.database)
            .publishing_to(move |project, change| published.publish(project, change));
        let services = Arc::new(services);
        let live = Arc::new(Live::new(services.clone(), db.clone(), channels));
        let parts = parts(&db, bus.is_some().then(|| live.clone()));
        let asked = services.clone();
        let is_read_only = move || {
            let services = asked.clone();
            // In a task of its own: a `begin` must not be given up half-way.
            let asked = tokio::spawn(async move { services.is_read_only().await.unwrap_or(false) });
            async move { asked.await.unwrap_or(false) }.boxed()
        };
        let health = Arc::new(Health::new(parts, Box::new(is_read_only), draining.clone()));
        let results = Results::new(services.memory.clone(), services.metrics().clone());
        let router = router(AppState {
            executor: Executor { schema, services: services.clone(), live: live.clone(), results: results.clone() },
            documents: Arc::new(documents),
            services: services.clone(),
            verifier: Arc::new(verifier),
            throttle: Arc::new(Throttle::new(&settings.limits, listen.trusted_proxies)),
            limits: Arc::new(settings.limits.clone()),
            shared_subscriptions: SharedSubscriptions::new(results, tasks.clone()),
            streams: Streams::default(),
            allow_origins: listen.allow_origins.clone().into(),
            health: health.clone(),
            slow_operation: Duration::from_millis(settings.observability.slow_operation_ms),
            shutdown: shutdown.clone(),
            tasks: tasks.clone(),
        });
        let head_time = Duration::from_secs(services.limits.max_head_seconds);
        let in_step = live.clone().keep_in_step(bus, Duration::from_secs(settings.live.sweep_seconds));
        let in_step = tokio::spawn(shutdown.clone().run_until_cancelled_owned(in_step));
        let serve_on =
            |listener, router| tokio::spawn(connections::serve(listener, router, head_time, shutdown.clone()));
        let mut servers: Vec<_> = listeners.into_iter().map(|listener| serve_on(listener, router.clone())).collect();
        for listener in metrics_listeners {
            servers.push(serve_on(listener, operator_routes(health.clone(), services.clone())));
        }
        let shown = address.map_or_else(|| place.to_string(), |address| address.to_string());
        tracing::info!(address = shown, metrics = metrics_address.map(tracing::field::display), database = %target, "listening");
        let drain_time = Duration::from_secs(listen.drain_seconds);
        let stop_time = Duration::from_secs(listen.stop_seconds);
        Ok(Self {
            address,
            metrics_address,
            sign_in_link,
            services,
            servers,
            live,
            in_step,
            draining,
            drain_time,
            stop_time,
            shutdown,
            tasks,
        })
    }

    /// Where the server listens; `None` for a path.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where the metrics are, if anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// The link that opens GraphiQL signed in, where the server signs its own tokens.
    pub fn sign_in_link(&self) -> Option<&str> {
        self.sign_in_link.as_deref()
    }

    /// SQL statements sent so far, transaction control not counted.
    pub fn statements(&self) -> u64 {
        self.services.metrics().statements.get()
    }

    /// Stops: says at `/readyz` that it does, and serves on for the time set; then no new connections, requests under way
    /// end, sockets are closed with a word, and then the database is. What takes longer than it may is left behind.
    pub async fn stop(self) {
        self.draining.cancel();
        sleep(self.drain_time).await;
        self.shutdown.cancel();
        let quiet = async {
            // Only then can no request start another task.
            let _ = tokio::join!(join_all(self.servers), self.in_step);
            self.tasks.close();
            self.tasks.wait().await;
        };
        if timeout(self.stop_time, quiet).await.is_err() {
            tracing::warn!("some requests or sockets have not ended in time");
        }
        let closed = async {
            self.live.close().await;
            self.services.close().await;
        };
        if timeout(CLOSE_TIME, closed).await.is_err() {
            tracing::warn!("some transactions have not ended in time; the database rolls them back");
        }
        tracing::info!("stopped");
    }
}

/// Listens, or says which setting to change.
async fn bind(address: &Address, setting: &str) -> anyhow::Result<Vec<Listener>> {
    Listener::bind(address)
        .await
        .map_err(|error| anyhow!("cannot listen on {address}: {error}; choose another address with {setting}"))
}

/// An address by which a browser on this machine reaches the one that is listened on.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

/// What `/readyz` speaks of. `live` is that of a server that has a bus.
fn parts(db: &Db, live: Option<Arc<Live>>) -> Vec<Part> {
    let (database, migrations) = (db.clone(), db.clone());
    let bus = live.map(|live| Part {
        name: "bus",
        is_needed: false,
        amiss: "what other servers write is delivered late, by the sweep",
        check: Box::new(move || {
            let works = live.receives_notifications();
            async move { if works { Ok(()) } else { Err("it does not work".to_owned()) } }.boxed()
        }),
    });
    let needed = [
        Part {
            name: "database",
            is_needed: true,
            amiss: "the database does not answer",
            check: Box::new(move || {
                let db = database.clone();
                async move { db.ping().await.map_err(|error| format!("{:#}", words(error))) }.boxed()
            }),
        },
        Part {
            name: "migrations",
            is_needed: true,
            amiss: "the database is not the one of this version",
            check: Box::new(move || {
                let db = migrations.clone();
                // In a task of its own: a `begin` must not be given up half-way.
                let check = tokio::spawn(async move { missing(&db).await.map_err(|error| format!("{error:#}")) });
                async move {
                    match check.await.map_err(|error| error.to_string())?? {
                        missing if missing.is_empty() => Ok(()),
                        missing => Err(format!("missing: {}", missing.join(", "))),
                    }
                }
                .boxed()
            }),
        },
    ];
    needed.into_iter().chain(bus).collect()
}

/// A bearer token for the user with that e-mail, which holds for `hours` hours at the server with the same settings.
///
/// # Errors
/// Why there is no secret to sign it with, or that this is no e-mail address.
pub fn token(settings: &Settings, email: &str, name: Option<&str>, hours: u32) -> anyhow::Result<String> {
    let target = Target::parse(settings.store.database_url.expose())?;
    verifier(settings, &secret_source(settings, &target)?, Vec::new())?.issue(email, name, hours).map_err(words)
}

/// Imports a git history; what it says meanwhile goes to `report`.
///
/// # Errors
/// Why it stopped, for the operator; what was imported by then stays, and the next run continues there.
pub async fn import(
    settings: &Settings,
    import: &Import,
    report: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<Imported> {
    let (user_id, email) = user_of(&import.email).map_err(words)?;
    let claims = Arc::new(Claims { email: Some(email), ..Claims::default() });
    let actor = Actor { user_id, expires_at: i64::MAX, verified_email: None, claims };
    let repository = import.git.canonicalize().with_context(|| format!("cannot open {}", import.git.display()))?;
    let project = import.name.clone().or_else(|| name_of(&repository)).context("choose a --name for the project")?;
    // These limits are on what requests may cost; the operator may spend more.
    let mut limits = settings.limits.clone();
    (limits.max_sync_files, limits.max_text_bytes) = (usize::MAX, usize::MAX);
    let services = Arc::new(Services::new(open(settings, false).await?, limits, &settings.database));
    let import = import::Import { repository, project, branch: import.branch.clone(), max: import.max };
    let imported = import::import(&services, &actor, import, report).await;
    services.close().await;
    imported.map_err(words)
}

/// The name of a repository's folder.
fn name_of(repository: &Path) -> Option<String> {
    let folder = repository.ancestors().find(|folder| !folder.ends_with(".git"))?;
    let name = folder.file_name()?.to_string_lossy();
    Some(name.strip_suffix(".git").unwrap_or(&name).to_owned())
}

/// Exports a project's files or its history. Answers what there is to say of it, line by line; `report` hears how many
/// commits there are meanwhile.
///
/// # Errors
/// Why it cannot be done, for the operator.
pub async fn export(
    settings: &Settings,
    export: &Export,
    report: &mut (dyn FnMut(usize) + Send),
) -> anyhow::Result<Vec<String>> {
    let project = ProjectId::parse(&export.project, "PROJECT").map_err(words)?;
    let db = open(settings, true).await?;
    let (owner, newest) = export::owner(&db, project).await.map_err(words)?;
    let services = Services::new(db, settings.limits.clone(), &settings.database);
    let said = match (&export.to, &export.git) {
        (Some(to), _) => {
            let archived = export::archive(&services, (&owner, newest), project, export.at, to).await.map_err(words)?;
            let renamed = archived.renamed.into_iter().map(|(path, name)| format!("renamed: {path:?} is {name:?}"));
            let links =
                archived.plain_links.into_iter().map(|path| format!("no link: {path:?} leads out of the archive"));
            renamed.chain(links).chain([format!("{} files written to {}", archived.files, to.display())]).collect()
        }
        (None, Some(folder)) => {
            let exported = export::history(&services, &owner, project, folder, report).await.map_err(words)?;
            let left_out = exported.skipped.into_iter().map(|path| format!("left out: {path}"));
            let in_history = exported.not_checked_out.into_iter();
            let in_history = in_history.map(|path| format!("in the history, not checked out: {path:?}"));
            left_out
                .chain(in_history)
                .chain([format!("{} commits written to {}", exported.commits, folder.display())])
                .collect()
        }
        (None, None) => bail!("export what? give --to or --git"),
    };
    services.close().await;
    Ok(said)
}

/// Reads every project back, or the one named, and tells `report` what is wrong, and of which project.
///
/// # Errors
/// Why the database cannot be read, for the operator.
pub async fn verify(
    settings: &Settings,
    project: Option<&str>,
    report: &mut (dyn FnMut(Option<ProjectId>, String) + Send),
) -> anyhow::Result<Verified> {
    let project = project.map(|project| ProjectId::parse(project, "PROJECT")).transpose().map_err(words)?;
    let db = open(settings, true).await?;
    let verified = verify::verify(&db, project, report).await;
    db.close().await;
    verified.map_err(words)
}

/// The database of a command that needs its tables. One that `must_be_there` is not made by a slip in its name.
async fn open(settings: &Settings, must_be_there: bool) -> anyhow::Result<Db> {
    let target = Target::parse(settings.store.database_url.expose())?;
    if let Target::Sqlite(options) = &target {
        ensure!(
            !must_be_there || options.get_filename().exists(),
            "there is no {target}; see --database-url (DATABASE_URL)"
        );
    }
    let db = target.connect(settings).await?;
    prepare(&db, &Serve::default()).await?;
    if !db.is_sqlite() {
        let login = db.login().await.map_err(words)?;
        ensure!(
            login.reads_all,
            "{:?} owns no tables, and this command reads whole projects: give --database-url (DATABASE_URL) the login that \
             `antiphon migrate` has",
            login.name
        );
    }
    Ok(db)
}

/// What the database's URL says.
#[derive(Debug)]
pub(crate) enum Target {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

impl Target {
    /// Errors never repeat the URL: it may hold a password.
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
            // What is cut off by a stray one would pass for the host or the database, and be named in messages.
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
            Self::Sqlite(options) => check_log(options).await.map_err(words)?,
            Self::Postgres(options) => timeout(PROBE_TIME, place::check(options, schema)).await.unwrap_or(Ok(()))?,
        }
        let error = match Db::connect_in(settings.store.database_url.expose(), schema, &settings.database).await {
            Ok(db) => return Ok(db),
            Err(error) => words(error),
        };
        // A pool that gave up says only that it did; one plain attempt says why.
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

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

/// Why a connection cannot be had, in the database's own words; none where it can.
pub(crate) async fn refusal<O: ConnectOptions<Connection: Sized>>(options: &O) -> Option<anyhow::Error> {
    match timeout(PROBE_TIME, options.connect()).await {
        Ok(Ok(_)) => None,
        Ok(Err(sqlx::Error::Io(error))) => Some(error.into()),
        Ok(Err(sqlx::Error::Database(error))) => Some(anyhow!("{}", error.message())),
        Ok(Err(error)) => Some(error.into()),
        Err(_) => Some(anyhow!("no answer within {} seconds", PROBE_TIME.as_secs())),
    }
}

/// Makes sure that a server can speak for its callers, and that what it can do besides is known.
async fn check_login(db: &Db, locks: Locks) -> anyhow::Result<()> {
    if db.is_sqlite() {
        ensure!(locks != Locks::Database, "SQLite has no row-level security");
        return Ok(());
    }
    let login = db.login().await.map_err(words)?;
    let name = login.name;
    // Who migrates becomes one who may speak for callers.
    ensure!(
        login.may_serve || login.may_migrate,
        "the login {name:?} may not speak for callers: let the database's owner run GRANT authenticated TO \"{name}\""
    );
    if login.reads_all {
        tracing::warn!(
            login = name,
            "row-level security holds, since every transaction gives up the login's own rights, but this login could read all \
             projects: let the server have one that owns nothing (README, \"Two logins\")"
        );
    }
    Ok(())
}

/// Where the secret of the tokens comes from.
#[derive(Debug, PartialEq)]
pub(crate) enum SecretSource {
    Given(String),
    /// There is none: every token is signed with a key that its issuer publishes.
    Nowhere,
    /// A file of the server's own, beside the SQLite file; with it goes the dev login.
    OwnFile(PathBuf),
}

/// A secret of its own is for a server that nobody else can reach: anyone who can open its sign-in link is let in.
pub(crate) fn secret_source(settings: &Settings, target: &Target) -> anyhow::Result<SecretSource> {
    if let Some(secret) = &settings.auth.signing.jwt_secret {
        let secret = secret.expose();
        ensure!(
            secret.len() >= MIN_SECRET_BYTES,
            "JWT_SECRET (--jwt-secret) has {} bytes and must have at least {MIN_SECRET_BYTES}: `openssl rand -hex 32` \
             makes one",
            secret.len()
        );
        return Ok(SecretSource::Given(secret.to_owned()));
    }
    if !settings.auth.jwt_jwks_url.is_empty() {
        return Ok(SecretSource::Nowhere);
    }
    let advice = "set JWT_JWKS_URL or JWT_SECRET (Supabase: the project's signing keys or its JWT secret; else \
                  `openssl rand -hex 32` makes one)";
    let Target::Sqlite(options) = target else {
        bail!("on PostgreSQL the secret of the tokens must be given: {advice}");
    };
    let address = settings.listen.address(false);
    ensure!(
        address.is_loopback(),
        "without a secret for tokens the server listens on a loopback address only, and {address} is none: {advice}, or listen \
         on 127.0.0.1"
    );
    let mut path = options.get_filename().to_owned().into_os_string();
    path.push(".secret");
    Ok(SecretSource::OwnFile(path.into()))
}

/// Whether tokens are signed with what others know, too.
fn has_keys(settings: &Settings) -> bool {
    settings.auth.signing.jwt_secret.is_some() || !settings.auth.jwt_jwks_url.is_empty()
}

fn verifier(settings: &Settings, source: &SecretSource, trusted: Vec<Trusted>) -> anyhow::Result<Verifier> {
    let secret = match source {
        SecretSource::Given(secret) => Some(secret.clone()),
        SecretSource::Nowhere => None,
        SecretSource::OwnFile(path) => Some(
            own_secret(path).with_context(|| format!("the server's own secret, {}, is not usable", path.display()))?,
        ),
    };
    let secret = secret.as_ref().map(String::as_bytes);
    let signing = &settings.auth.signing;
    let rules = Rules {
        issuers: signing.jwt_issuer.clone(),
        audiences: if signing.jwt_any_audience { Vec::new() } else { signing.jwt_audience.clone() },
        roles: signing.jwt_roles.clone(),
    };
    Ok(Verifier::new(secret, trusted, rules))
}

/// The secret in the file, which is made where it is missing.
fn own_secret(path: &Path) -> anyhow::Result<String> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => {
            let mut bytes = [0; 32];
            rand::rng().fill_bytes(&mut bytes);
            let secret = hex::encode(bytes);
            file.write_all(format!("{secret}\n").as_bytes())?;
            file.sync_all()?;
            Ok(secret)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let secret = read_secret(path)?.expose().to_owned();
            ensure!(
                secret.len() >= MIN_SECRET_BYTES,
                "it holds less than {MIN_SECRET_BYTES} bytes: remove it for a new one"
            );
            Ok(secret)
        }
        Err(error) => Err(error.into()),
    }
}

/// An error of the service in words for the operator, who may read what clients may not.
fn words(error: Error) -> anyhow::Error {
    match error.cause() {
        Some(cause) => anyhow!(cause.to_owned()),
        None => anyhow!(error.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Cli, model::clock};

    fn source(flags: &[&str]) -> Result<SecretSource, String> {
        // Flags that the environment of the tests could set are always given.
        let url = if flags.contains(&"--database-url") { &[][..] } else { &["--database-url", "sqlite://data/a.db"] };
        let listen = if flags.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:8080"] };
        let settings = Cli::try_parse_from([&["antiphon"], url, listen, flags].concat()).unwrap().settings;
        let target = Target::parse(settings.store.database_url.expose()).unwrap();
        secret_source(&settings, &target).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_given_secret_is_taken_anywhere_if_it_is_long_enough() {
        let long = "s".repeat(32);
        for more in [&["--listen", "0.0.0.0:80"][..], &["--database-url", "postgres://u:p@h/d"], &[]] {
            let flags = [&["--jwt-secret", long.as_str()], more].concat();
            assert_eq!(source(&flags), Ok(SecretSource::Given(long.clone())));
        }
        for short in ["s", &"s".repeat(31)] {
            let message = source(&["--jwt-secret", short]).unwrap_err();
            assert!(message.contains("at least 32"), "{message}");
        }
    }

    #[test]
    fn published_keys_need_no_secret_anywhere_and_make_no_dev_login() {
        let keys = ["--jwt-jwks-url", "https://p.supabase.co/auth/v1/.well-known/jwks.json"];
        for more in [&["--listen", "0.0.0.0:80"][..], &["--database-url", "postgres://u:p@h/d"], &[]] {
            assert_eq!(source(&[&keys, more].concat()), Ok(SecretSource::Nowhere), "{more:?}");
        }
        let settings = Cli::try_parse_from([&["antiphon"][..], &keys].concat()).unwrap().settings;
        let message = format!("{:#}", token(&settings, "ada@example.com", None, 1).unwrap_err());
        assert!(message.contains("no secret") && message.contains("JWT_SECRET"), "{message}");
        // A secret beside the keys is held to the same rules as one alone.
        assert!(source(&[&keys[..], &["--jwt-secret", "short"]].concat()).is_err());
    }

    #[test]
    fn a_server_makes_its_own_secret_on_sqlite_and_loopback_only() {
        let own = Ok(SecretSource::OwnFile(PathBuf::from("data/a.db.secret")));
        for address in ["127.0.0.1:8080", "127.0.0.53:0", "[::1]:8080", "[::ffff:127.0.0.1]:8080"] {
            assert_eq!(source(&["--listen", address]), own, "{address}");
        }
        for address in ["0.0.0.0:8080", "[::]:8080", "192.168.1.5:8080", "[::ffff:10.0.0.1]:80"] {
            let message = source(&["--listen", address]).unwrap_err();
            assert!(message.contains("JWT_SECRET") && message.contains(address), "{message}");
        }
        let message = source(&["--database-url", "postgres://u:hunter2@h/d"]).unwrap_err();
        assert!(message.contains("JWT_SECRET") && !message.contains("hunter2"), "{message}");
        let beside = source(&["--database-url", "sqlite:///srv/b%20c.db?mode=rwc"]);
        assert_eq!(beside, Ok(SecretSource::OwnFile(PathBuf::from("/srv/b c.db.secret"))));
    }

    #[test]
    fn the_servers_own_secret_stays_the_same_and_its_owners() {
        let path = std::env::temp_dir().join(format!("antiphon-secret-{}", clock::new_id()));
        let made = own_secret(&path).unwrap();
        assert_eq!(made.len(), 64);
        assert_eq!(own_secret(&path).unwrap(), made);

        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            for mode in [0o640, 0o604, 0o620] {
                std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
                let message = own_secret(&path).unwrap_err().to_string();
                assert!(message.contains("others") && !message.contains(&made), "{message}");
            }
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        }

        std::fs::write(&path, "short\n").unwrap();
        assert!(own_secret(&path).unwrap_err().to_string().contains("32 bytes"));
        std::fs::remove_file(&path).unwrap();
        let missing = path.join("folder/secret");
        assert!(own_secret(&missing).is_err());
    }

    #[test]
    fn a_database_url_is_checked_without_being_repeated() {
        for url in ["sqlite://a.db", "sqlite:a.db", "sqlite:///a.db?mode=rwc", "postgres://u:p@h/d", "postgresql:///d"]
        {
            assert!(Target::parse(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "hunter2",
            "a.db",
            "mysql://u:hunter2@h/d",
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://",
            "sqlite://a.db?mode=memory",
            "sqlite://a.db?mode=hunter",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2#@h/d",
            "postgres://u:hunter2/@h/d",
            "postgres://u:5/hunter2@h/d",
            "postgres://u:5?hunter2@h/d",
            "postgres://u:5@hunter2#@h/d",
        ] {
            let message = format!("{:#}", Target::parse(url).unwrap_err());
            assert!(message.contains("DATABASE_URL") && !message.contains("hunter2"), "{url}: {message}");
        }
        let told = Target::parse("postgres://u:hunter2@db.example:6543/d").unwrap().to_string();
        assert_eq!(told, "PostgreSQL database d as u at db.example:6543");
    }
}
