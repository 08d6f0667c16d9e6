//! The composition root: builds a running server from the settings, for the binary and for tests.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{anyhow, ensure};
use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{DEV_EMAIL, Serve, Settings, listen::Address},
    database_url::{DatabaseUrl, for_operator},
    domain::{
        Services,
        import_export::git_cache::GitCache,
        webhook::{WebhookQueue, Webhooks},
    },
    graphql::{documents::Documents, schema},
    live::{
        Live,
        bus::{Bus, nats},
        channel::Channels,
        fan_out::{Results, SharedSubscriptions},
        webhooks::Deliverer,
    },
    migrations::{check, prepare},
    model::locks::Locks,
    secret::{SecretSource, has_keys, secret_source, verifier},
    storage::db::Db,
    transport::{
        auth::{Trusted, Verifier},
        connections::{self, Listener},
        executor::Executor,
        git::shared::Git,
        health::{Health, Part, operator_routes},
        http,
        jwks::Jwks,
        mcp::sessions::Sessions,
        public_url::PublicUrl,
        router::router,
        state::AppState,
        streams::Streams,
        throttle::Throttle,
    },
};

/// The name of the user whom the developer's link signs in, and the lifetime of its token in hours.
const DEV_USER: (&str, u32) = ("Developer", 7 * 24);

/// How long a stopping server waits for the database to close.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// How long `/readyz` waits for the list of migrations.
const MIGRATIONS_TIME: Duration = Duration::from_secs(1);

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
    /// Delivers the changes of other servers to subscribers.
    in_step: JoinHandle<Option<()>>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl App {
    /// Starts a server. Applies the migrations on SQLite, and on PostgreSQL if `serve` requests it; otherwise the
    /// database must be up to date.
    ///
    /// # Errors
    /// Why the server does not start, and what to do; the text contains no secrets.
    pub async fn start(settings: Settings, serve: Serve) -> anyhow::Result<Self> {
        let target = DatabaseUrl::parse(settings.store.database_url.expose())?;
        let replicas = target.replicas(&settings)?;
        // Before anything is written, find the mistakes that are cheap to find.
        let source = secret_source(&settings, &target)?;
        let nats = settings.live.nats_url.as_ref().map(|url| nats::Servers::parse(url.expose()));
        let nats = nats.transpose().map_err(for_operator)?;
        let (listen, schema) = (&settings.listen, schema::build(&settings.limits));
        let front_end = schema::front_end(&schema)?;
        let documents =
            Documents::load(front_end, listen.documents.as_deref(), listen.documents_only, &settings.limits)?;
        let key_sets = settings.auth.key_sets()?;
        let (webhooks, bound) = (webhooks(&settings)?, Bound::bind(&settings).await?);

        let db = target.connect(&settings).await?.behind(serve.locks);
        check_login(&db, serve.locks).await?;
        prepare(&db, &serve).await?;
        let db = db.with_replicas(&replicas, &settings.database);
        let (shutdown, draining, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let trusted = fetch_keys(key_sets, &shutdown, &tasks).await;
        let key_sets: Vec<_> = trusted.iter().map(|trusted| trusted.jwks.clone()).collect();
        let verifier = verifier(&settings, &source, trusted)?;
        let sign_in_link = sign_in_link(&source, &verifier, bound.address())?;

        let bus = Bus::choose(&db, settings.live.notify, nats);
        let channels = channels(&db, bus.is_some());
        let services = services(&db, &settings, webhooks, channels.clone());
        let live = Arc::new(Live::new(services.clone(), db.clone(), channels));
        let mut parts = parts(&db, bus.is_some().then(|| live.clone()));
        parts.extend(issuer(key_sets, !matches!(source, SecretSource::Nowhere)));
        let health = Arc::new(Health::new(parts, Box::new(read_only_check(services.clone())), draining.clone()));
        let results = Results::new(services.memory.clone(), services.metrics().clone());
        let state = AppState {
            executor: Executor::new(schema, services.clone(), live.clone(), results.clone()),
            documents: Arc::new(documents),
            services: services.clone(),
            exports: http::exports(),
            verifier: Arc::new(verifier),
            throttle: Arc::new(Throttle::new(&settings.limits, listen.trusted_proxies)),
            limits: Arc::new(settings.limits.clone()),
            git: git(&settings),
            shared_subscriptions: SharedSubscriptions::new(results, tasks.clone()),
            streams: Streams::default(),
            mcp_sessions: Sessions::new(&settings.limits),
            public_url: Arc::new(PublicUrl::new(listen)),
            allow_origins: listen.allow_origins.clone().into(),
            health: health.clone(),
            slow_operation: Duration::from_millis(settings.observability.slow_operation_ms),
            shutdown: shutdown.clone(),
            tasks: tasks.clone(),
        };
        Deliverer::start(&services, &db, &shutdown, &tasks).await;
        let in_step = live.clone().keep_in_step(bus, Duration::from_secs(settings.live.sweep_seconds));
        let in_step = tokio::spawn(shutdown.clone().run_until_cancelled_owned(in_step));
        tracing::info!(address = bound.shown(), metrics = bound.metrics_address().map(tracing::field::display), database = %target, "listening");
        Ok(Self {
            address: bound.address(),
            metrics_address: bound.metrics_address(),
            sign_in_link,
            servers: bound.serve(&state, &health),
            services,
            live,
            in_step,
            draining,
            drain_time: Duration::from_secs(listen.drain_seconds),
            stop_time: Duration::from_secs(listen.stop_seconds),
            shutdown,
            tasks,
        })
    }

    /// The address that the server listens on; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The address of the metrics, if any.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// The link that opens GraphiQL signed in, if the server signs its own tokens.
    pub fn sign_in_link(&self) -> Option<&str> {
        self.sign_in_link.as_deref()
    }

    /// Number of SQL statements so far, without transaction control.
    pub fn statements(&self) -> u64 {
        self.services.metrics().statements.get()
    }

    /// Stops the server. `/readyz` reports it, and requests are served for the configured time. Then new connections
    /// are refused, running requests end, sockets and finally the database are closed. Whatever exceeds its time is
    /// abandoned.
    pub async fn stop(self) {
        self.draining.cancel();
        sleep(self.drain_time).await;
        self.shutdown.cancel();
        let quiet = async {
            // After this no request can start another task.
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

/// The sockets that the server listens on, before anything is served.
struct Bound {
    place: Address,
    listeners: Vec<Listener>,
    metrics_listeners: Vec<Listener>,
}

impl Bound {
    async fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let place = settings.listen.address(has_keys(settings));
        let listeners = bind(&place, "--listen (LISTEN)").await?;
        let metrics_listeners = match &settings.observability.metrics_listen {
            Some(address) => bind(address, "--metrics-listen (METRICS_LISTEN)").await?,
            None => Vec::new(),
        };
        Ok(Self { place, listeners, metrics_listeners })
    }

    fn address(&self) -> Option<SocketAddr> {
        self.listeners.first().and_then(Listener::address)
    }

    fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_listeners.first().and_then(Listener::address)
    }

    /// The address in the log.
    fn shown(&self) -> String {
        self.address().map_or_else(|| self.place.to_string(), |address| address.to_string())
    }

    fn serve(self, state: &AppState, health: &Arc<Health>) -> Vec<JoinHandle<()>> {
        let head_time = Duration::from_secs(state.limits.max_head_seconds);
        let serve =
            |listener, routes| tokio::spawn(connections::serve(listener, routes, head_time, state.shutdown.clone()));
        let routes = router(state.clone());
        let servers = self.listeners.into_iter().map(|listener| serve(listener, routes.clone()));
        let operator_routes = || operator_routes(health.clone(), state.services.clone());
        let metrics = self.metrics_listeners.into_iter().map(|listener| serve(listener, operator_routes()));
        servers.chain(metrics).collect()
    }
}

/// Listens; an error names the setting to change.
async fn bind(address: &Address, setting: &str) -> anyhow::Result<Vec<Listener>> {
    Listener::bind(address)
        .await
        .map_err(|error| anyhow!("cannot listen on {address}: {error}; choose another address with {setting}"))
}

/// An address at which a browser on this machine reaches the listening address.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

/// Fetches the keys of the token issuers, and keeps them fresh. The server starts even if an issuer is unavailable; its
/// tokens are refused until then.
async fn fetch_keys(
    key_sets: Vec<(&str, Option<&str>)>,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> Vec<Trusted> {
    let trusted = key_sets
        .into_iter()
        .map(|(url, issuer)| Trusted { issuer: issuer.map(str::to_owned), jwks: Arc::new(Jwks::new(url)) });
    let trusted: Vec<Trusted> = trusted.collect();
    join_all(trusted.iter().map(|trusted| trusted.jwks.refresh())).await;
    for Trusted { jwks, .. } in &trusted {
        tasks.spawn(jwks.clone().keep_fresh(shutdown.clone()));
    }
    trusted
}

/// Webhooks, if there is a secret for them.
fn webhooks(settings: &Settings) -> anyhow::Result<Option<Webhooks>> {
    let limits = &settings.webhooks.limits;
    let with_key = |key| Webhooks { key, limits: limits.clone(), queue: WebhookQueue::default() };
    Ok(settings.webhooks.key()?.map(with_key))
}

/// The use cases, which publish to these channels.
fn services(db: &Db, settings: &Settings, webhooks: Option<Webhooks>, channels: Channels) -> Arc<Services> {
    let services = Services::new(db.clone(), settings.limits.clone(), &settings.database)
        .with_webhooks(webhooks)
        .publishing_to(move |project, change| channels.publish(project, change));
    Arc::new(services)
}

/// Git over HTTP, unless it is disabled.
fn git(settings: &Settings) -> Option<Arc<Git>> {
    let git = &settings.git;
    let cache = GitCache::new(git.git_cache.as_deref(), git.git_cache_bytes);
    let wait = Duration::from_secs(settings.database.database_acquire_seconds);
    (git.git_cache_bytes > 0).then(|| Arc::new(Git::new(cache, git.max_push_bytes, wait)))
}

/// The link that opens GraphiQL signed in. Only a server with a secret of its own makes one.
fn sign_in_link(
    source: &SecretSource,
    verifier: &Verifier,
    address: Option<SocketAddr>,
) -> anyhow::Result<Option<String>> {
    let (SecretSource::OwnFile(_), Some(address)) = (source, address) else { return Ok(None) };
    let (name, hours) = DEV_USER;
    let token = verifier.issue(DEV_EMAIL, Some(name), hours).map_err(for_operator)?;
    Ok(Some(format!("http://{}/#token={token}", reachable(address))))
}

/// The channels of a server. With a bus, servers announce their commits, for reads from replicas.
fn channels(db: &Db, has_bus: bool) -> Channels {
    let channels = Channels::new(db.positions().cloned());
    if has_bus {
        let announcing = channels.clone();
        let announce = move |user, position| announcing.pending().announce(user, position);
        db.announce(channels.pending().works().clone(), announce);
    }
    channels
}

/// Checks whether the database is read-only, for `/readyz`.
fn read_only_check(services: Arc<Services>) -> impl Fn() -> BoxFuture<'static, bool> {
    move || {
        let services = services.clone();
        // In a separate task, because a `begin` must not be cancelled halfway.
        let asked = tokio::spawn(async move { services.is_read_only().await.unwrap_or(false) });
        async move { asked.await.unwrap_or(false) }.boxed()
    }
}

/// The parts that `/readyz` checks. `live` is set if the server has a bus.
fn parts(db: &Db, live: Option<Arc<Live>>) -> Vec<Part> {
    let (database, migrations) = (db.clone(), db.clone());
    let bus = live.map(|live| Part {
        name: "bus",
        is_needed: Box::new(|| false),
        amiss: "what other servers write is delivered late, by the sweep",
        check: Box::new(move || {
            let works = live.receives_notifications();
            async move { if works { Ok(()) } else { Err("it does not work".to_owned()) } }.boxed()
        }),
    });
    let needed = [
        Part {
            name: "database",
            is_needed: Box::new(|| true),
            amiss: "the database does not answer",
            check: Box::new(move || {
                let db = database.clone();
                async move { db.ping().await.map_err(|error| format!("{:#}", for_operator(error))) }.boxed()
            }),
        },
        Part {
            name: "migrations",
            is_needed: Box::new(|| true),
            amiss: "the database is not the one of this version",
            check: Box::new(move || {
                let db = migrations.clone();
                // In a separate task, because a `begin` must not be cancelled halfway.
                let check = tokio::spawn(async move { check(&db).await });
                async move {
                    match timeout(MIGRATIONS_TIME, check).await {
                        Ok(checked) => checked.map_err(|error| error.to_string())?,
                        // The part `database` reports a database that does not answer.
                        Err(_) => Ok(()),
                    }
                }
                .boxed()
            }),
        },
    ];
    needed.into_iter().chain(bus).collect()
}

/// The token issuers, if there are any. A server without a secret needs at least one of them: otherwise no user can sign in.
fn issuer(key_sets: Vec<Arc<Jwks>>, has_secret: bool) -> Option<Part> {
    let all = Arc::<[_]>::from(key_sets);
    let some = all.clone();
    (!all.is_empty()).then(|| Part {
        name: "issuer",
        is_needed: Box::new(move || !has_secret && !some.iter().any(|jwks| jwks.is_usable())),
        amiss: "the keys of a token issuer have not been fetched, or none of them is usable",
        check: Box::new(move || {
            let is_usable = all.iter().all(|jwks| jwks.is_usable());
            async move { if is_usable { Ok(()) } else { Err("a token issuer has no usable keys".to_owned()) } }.boxed()
        }),
    })
}

/// Checks that the server can act for callers, and logs unnecessary privileges.
async fn check_login(db: &Db, locks: Locks) -> anyhow::Result<()> {
    if db.is_sqlite() {
        ensure!(locks != Locks::Database, "SQLite has no row-level security");
        return Ok(());
    }
    let login = db.login().await.map_err(for_operator)?;
    login.check_encoding()?;
    let name = login.name;
    // A login that can migrate gets the right to act for callers with the migrations.
    ensure!(
        login.may_serve || login.may_migrate,
        "the login {name:?} may not speak for callers: let the database's owner run GRANT authenticated TO \"{name}\""
    );
    if login.reads_all {
        tracing::warn!(
            login = name,
            "row-level security holds, since every transaction gives up the login's own rights, but this login could read all \
             projects: let the server have one that owns nothing (docs/postgres.md, \"Two logins\")"
        );
    }
    Ok(())
}
