//! A fresh database for each test.
//!
//! PostgreSQL runs from the machine's own binaries: one cluster for the whole test process, in a temporary folder,
//! started for the first test that needs it, and removed when the process ends in any way. Without the binaries, tests
//! on PostgreSQL are skipped with a warning; if `CI` or `ANTIPHON_REQUIRE_POSTGRES` is set, they fail.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use antiphon::model::clock;
use anyhow::{Context, ensure};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tokio::sync::OnceCell;

use crate::{
    disk::FaultyDisk,
    server::{self, user_id},
};

/// The kind of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    Sqlite,
    /// A database in the process's own cluster.
    Postgres,
}

/// A database for one test. Clones are the same database.
#[derive(Clone)]
pub struct Database(Arc<Place>);

enum Place {
    File(Folder),
    Elsewhere(PathBuf),
    Named { cluster: &'static Cluster, name: String },
}

impl Database {
    /// A fresh database; on PostgreSQL it is already migrated.
    pub async fn create(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::blank(kind).await,
            Kind::Postgres => {
                let cluster = cluster().expect("PostgreSQL");
                cluster.template.get_or_init(|| cluster.make_template()).await;
                cluster.create_database(Some(TEMPLATE)).await
            }
        }
    }

    /// A fresh database without tables.
    pub async fn blank(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self(Arc::new(Place::File(Folder::new().expect("a temporary folder")))),
            Kind::Postgres => cluster().expect("PostgreSQL").create_database(None).await,
        }
    }

    /// A SQLite file in a folder that the caller creates and removes.
    pub fn file_in(folder: &Path) -> Self {
        Self::at(&folder.join("antiphon.db"))
    }

    /// A SQLite file that the caller removes.
    pub fn at(file: &Path) -> Self {
        Self(Arc::new(Place::Elsewhere(file.to_owned())))
    }

    /// A fresh database in a PostgreSQL cluster of its own, which a test can restart; it ends with the process.
    pub async fn alone() -> Self {
        let cluster = Cluster::leak(Setup { options: NOT_DURABLE, ..Setup::default() }).await;
        cluster.template.get_or_init(|| cluster.make_template()).await;
        cluster.create_database(Some(TEMPLATE)).await
    }

    /// As [`Database::alone`], durable, with this disk under the files whose path contains `path` ("/pg_wal/").
    pub async fn on(disk: &FaultyDisk, path: &str) -> Self {
        let cluster = Cluster::leak(Setup { environment: disk.under(path), ..Setup::default() }).await;
        cluster.template.get_or_init(|| cluster.make_template()).await;
        cluster.create_database(Some(TEMPLATE)).await
    }

    /// A fresh database in a cluster of its own that can have standbys: commits are sent to them, but not to the disk.
    pub async fn primary() -> Self {
        let cluster = Cluster::leak(Setup { options: SENT_TO_STANDBYS, ..Setup::default() }).await;
        cluster.template.get_or_init(|| cluster.make_template()).await;
        cluster.create_database(Some(TEMPLATE)).await
    }

    /// The same database on a new streaming standby of its cluster.
    pub async fn standby(&self) -> Self {
        let Place::Named { cluster, name } = &*self.0 else { panic!("this is a file") };
        let primary = cluster.url_of("postgres", "postgres");
        let setup = Setup { options: SENT_TO_STANDBYS, primary, ..Setup::default() };
        let standby = Cluster::leak(setup).await;
        Self(Arc::new(Place::Named { cluster: standby, name: name.clone() }))
    }

    /// Makes the standby of this database the primary.
    pub async fn promote(&self) {
        self.control("promote").await;
    }

    /// Stops all processes of the database's cluster as if its machine did not answer, or lets them go on.
    pub async fn freeze(&self, is_frozen: bool) {
        self.control(if is_frozen { "freeze" } else { "thaw" }).await;
    }

    /// The host and port of the database's cluster.
    pub fn place(&self) -> String {
        let Place::Named { cluster, .. } = *self.0 else { panic!("this is a file") };
        format!("127.0.0.1:{}", cluster.port)
    }

    /// The URL of a server's login for several clusters: a server uses the one that is the primary.
    pub fn server_url_of(all: &[&Self]) -> String {
        let places: Vec<String> = all.iter().map(|database| database.place()).collect();
        all.first().expect("a database").server_url().replace(&places[0], &places.join(","))
    }

    /// Restarts the database's own cluster, which cuts all connections; or starts it, if it is stopped.
    pub async fn restart(&self) {
        self.control("restart").await;
    }

    /// Crashes the database's own cluster, if it is still running, and starts it again.
    pub async fn crash(&self) {
        self.control("crash").await;
    }

    /// Stops the database's own cluster at once.
    pub async fn stop(&self) {
        self.control("stop").await;
    }

    async fn control(&self, word: &'static str) {
        let Place::Named { cluster, .. } = *self.0 else { panic!("this is a file") };
        let done = tokio::task::spawn_blocking(|| cluster.control(word)).await;
        done.expect("no panic").expect("PostgreSQL obeys");
    }

    /// The database's kind.
    pub fn kind(&self) -> Kind {
        match *self.0 {
            Place::File(_) | Place::Elsewhere(_) => Kind::Sqlite,
            Place::Named { .. } => Kind::Postgres,
        }
    }

    /// The URL of the database's owner, who migrates it.
    pub fn url(&self) -> String {
        match &*self.0 {
            Place::File(folder) => format!("sqlite://{}/antiphon.db", folder.0.display()),
            Place::Elsewhere(file) => format!("sqlite://{}", file.display()),
            Place::Named { cluster, name } => cluster.url_of(LOGIN, name),
        }
    }

    /// The URL of a server's login: on PostgreSQL one that owns nothing and can only take the callers' role.
    pub fn server_url(&self) -> String {
        match &*self.0 {
            Place::File(_) | Place::Elsewhere(_) => self.url(),
            Place::Named { cluster, name } => cluster.url_of(SERVER_LOGIN, name),
        }
    }

    /// The URL of a superuser, who can also change the system tables.
    pub fn admin_url(&self) -> String {
        match &*self.0 {
            Place::File(_) | Place::Elsewhere(_) => self.url(),
            Place::Named { cluster, name } => cluster.url_of("postgres", name),
        }
    }

    /// The file, if this is SQLite.
    pub fn file(&self) -> Option<PathBuf> {
        match &*self.0 {
            Place::File(folder) => Some(folder.0.join("antiphon.db")),
            Place::Elsewhere(file) => Some(file.clone()),
            Place::Named { .. } => None,
        }
    }

    /// Runs SQL directly on the database, for changes that the API does not offer. Returns the number of affected rows.
    pub async fn execute(&self, sql: &str) -> u64 {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        match self.kind() {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url()).await.expect("a connection");
                sql.execute(&mut connection).await.expect("SQL").rows_affected()
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url()).await.expect("a connection");
                sql.execute(&mut connection).await.expect("SQL").rows_affected()
            }
        }
    }

    /// An id as a literal of this database's SQL.
    pub fn uuid(&self, id: &str) -> String {
        match self.kind() {
            Kind::Sqlite => format!("x'{}'", id.replace('-', "")),
            Kind::Postgres => format!("'{id}'"),
        }
    }

    /// Makes a user, whom the server has seen, an invited or accepted collaborator.
    pub async fn add_collaborator(&self, project: &str, email: &str, role: &str, is_accepted: bool) {
        let (project, user) = (self.uuid(project), self.uuid(&user_id(email)));
        let accepted_at = if is_accepted { "created_at" } else { "NULL" };
        let sql = format!(
            "INSERT INTO project_collaborators (project_id, user_id, role, invited_by, invited_at, accepted_at)
             SELECT id, {user}, '{role}', user_id, created_at, {accepted_at} FROM projects WHERE id = {project}"
        );
        assert_eq!(self.execute(&sql).await, 1);
    }

    /// Drops the database. After a failed test it stays until the process ends.
    pub async fn remove(self) {
        if let Place::Named { cluster, name } = &*self.0 {
            cluster.execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.expect("the database can be dropped");
        }
    }
}

/// Whether PostgreSQL can be tested; prints a warning if not.
///
/// # Panics
/// If PostgreSQL is required and missing, or does not start.
pub fn postgres_is_here() -> bool {
    static WARNED: OnceLock<()> = OnceLock::new();
    if cluster().is_none() {
        let required = ["CI", "ANTIPHON_REQUIRE_POSTGRES"].into_iter().find(|name| env::var_os(name).is_some());
        if let Some(name) = required {
            panic!(
                "PostgreSQL's binaries are missing (initdb in PATH or /usr/lib/postgresql/*/bin), and {name} is set"
            );
        }
        // Directly to the terminal: libtest would capture it.
        WARNED.get_or_init(|| {
            let _ = io::stderr().write_all(
                b"\n*** SKIPPED: every test on PostgreSQL. Its binaries are missing (initdb in PATH or \
                  /usr/lib/postgresql/*/bin);\n*** the tests named `postgres` pass without testing anything.\n\n",
            );
        });
    }
    cluster().is_some()
}

/// A temporary folder, removed with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> io::Result<Self> {
        let path = env::temp_dir().join(format!("antiphon-test-{}", clock::new_id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The owner of each database, not a superuser, and the login of the servers under test.
const LOGIN: &str = "antiphon";
const SERVER_LOGIN: &str = "antiphon_server";
const PASSWORD: &str = "antiphon-test";
/// What PostgreSQL stores of the password. With one iteration instead of 4,096: those took a tenth of the tests' time.
const PASSWORD_HASH: &str = "SCRAM-SHA-256$1:c2FsdCBvZiB0ZXN0cy4uLg==$13BCFUIG+8GZOl6AuWPei2p1thtncGYzekQA4B1rxsc=:d0etCEBlKZpgaSicG0y4nvjK3wOif/GlqGYPf3k4HyE=";
const TEMPLATE: &str = "antiphon_template";

/// Creates a cluster in the current folder, prints the result, and stops, restarts or promotes the cluster for each
/// line of standard input. When standard input ends, that is, with the test process, it removes everything. `$1`:
/// PostgreSQL's binaries; `$2`: the port; `$3`: the first SQL to run; `$4`: more server options; `$5`: the cluster to
/// be a standby of, if any.
const KEEPER: &str = r#"
trap '' PIPE # the process can be gone before it reads the word
folder=$PWD
create() {
  if [ -n "$5" ]
  then "$1/pg_basebackup" -D "$folder/data" -d "$5" -R -X stream -c fast --no-sync </dev/null >log 2>&1
  else "$1/initdb" -D "$folder/data" -U postgres -A password --pwfile=password -E UTF8 --locale=C --no-sync </dev/null >log 2>&1 &&
    echo "$3" | "$1/postgres" --single -D "$folder/data" postgres >>log 2>&1
  fi
}
control() { "$pg_ctl" -D "$folder/data" -l log -w "$@" </dev/null >>log 2>&1; }
processes() { head -n 1 data/postmaster.pid; cat /proc/$(head -n 1 data/postmaster.pid)/task/*/children; }
signal() { # a process may have ended since it was listed
  for process in $(processes); do kill -"$1" "$process" || [ ! -e "/proc/$process" ] || return 1; done 2>>log
}
pg_ctl=$1/pg_ctl
if create "$@" &&
   "$1/pg_ctl" -D "$folder/data" -l log -w start -o "-p $2 -c listen_addresses=127.0.0.1 -c unix_socket_directories='' \
     -c max_connections=300 $4" </dev/null >>log 2>&1
then echo ready; else echo failed; fi
while read -r word; do
  case $word in
    stop) control -m immediate stop ;;
    crash) control -m immediate restart ;;
    freeze) signal STOP ;;
    thaw) signal CONT ;;
    *) control -m fast "$word" ;;
  esac && echo "$word" || echo failed
done
"$1/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1
cd / && rm -rf "$folder"
"#;

/// Durability, which tests do not need and would wait for.
const NOT_DURABLE: &str = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off";

static DURABLE: AtomicBool = AtomicBool::new(false);

/// Commits wait for a synchronous standby, if there is one.
const SENT_TO_STANDBYS: &str = "-c fsync=off -c full_page_writes=off -c wal_receiver_status_interval=1";

/// Makes the process's cluster as durable as one in production, for honest measurements. Call it before the first
/// database is created.
pub fn be_durable() {
    DURABLE.store(true, Ordering::Relaxed);
}

#[derive(Default)]
struct Setup {
    options: &'static str,
    /// URL of the cluster that this one is a standby of; empty for a primary.
    primary: String,
    environment: Vec<(&'static str, String)>,
}

struct Cluster {
    port: u16,
    template: OnceCell<()>,
    /// The keeper's standard input, which keeps the cluster alive while it is open, and its output.
    keeper: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

/// The process's cluster; `None` without binaries.
fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER
        .get_or_init(|| {
            let binaries = binaries()?;
            let options = if DURABLE.load(Ordering::Relaxed) { "" } else { NOT_DURABLE };
            let started = Cluster::start(&binaries, &Setup { options, ..Setup::default() });
            Some(started.unwrap_or_else(|error| panic!("PostgreSQL does not start: {error:#}")))
        })
        .as_ref()
}

/// The folder of `initdb`: the one in PATH, otherwise the newest of Debian's packages.
fn binaries() -> Option<PathBuf> {
    let in_path = env::split_paths(&env::var_os("PATH")?).find_map(|folder| folder.join("initdb").canonicalize().ok());
    let in_path = in_path.and_then(|initdb| Some(initdb.parent()?.to_owned()));
    let version = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = || {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        Some(versions.max_by_key(|folder| version(folder))?.join("bin"))
    };
    in_path.or_else(installed).filter(|folder| folder.join("initdb").exists() && folder.join("pg_ctl").exists())
}

/// The path of one of PostgreSQL's programs.
///
/// # Panics
/// If PostgreSQL is missing.
pub fn postgres_tool(name: &str) -> PathBuf {
    binaries().expect("PostgreSQL").join(name)
}

/// A user (uid, gid) for PostgreSQL, which refuses to run as root.
pub(crate) fn unprivileged_user() -> anyhow::Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let mut fields = users.lines().map(|line| line.split(':')).find(|line| line.clone().next() == Some(name))?;
        Some((fields.nth(2)?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).context("root, and no user `postgres` or `nobody`")
}

impl Cluster {
    /// Starts a cluster that ends with the process.
    async fn leak(setup: Setup) -> &'static Self {
        let binaries = binaries().expect("PostgreSQL");
        let started = tokio::task::spawn_blocking(move || Self::start(&binaries, &setup)).await;
        let started = started.expect("no panic");
        Box::leak(Box::new(started.unwrap_or_else(|error| panic!("PostgreSQL does not start: {error:#}"))))
    }

    fn start(binaries: &Path, setup: &Setup) -> anyhow::Result<Self> {
        let folder = Folder::new()?;
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700))?;
        let password = folder.0.join("password");
        fs::write(&password, PASSWORD)?;

        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(binaries).arg(port.to_string()).current_dir(&folder.0);
        keeper.arg(format!(
            "CREATE ROLE {LOGIN} LOGIN CREATEROLE PASSWORD '{PASSWORD_HASH}'\n\
             CREATE ROLE {SERVER_LOGIN} LOGIN NOINHERIT PASSWORD '{PASSWORD_HASH}'\n\
             ALTER ROLE postgres PASSWORD '{PASSWORD_HASH}'"
        ));
        keeper.args([setup.options, &setup.primary]).envs(setup.environment.iter().cloned());
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // In a process group of its own: an interrupt at the terminal ends the test process, and the keeper then cleans
        // up.
        keeper.env("LC_ALL", "C").process_group(0);
        if fs::metadata(&folder.0)?.uid() == 0 {
            let (user, group) = unprivileged_user()?;
            chown(&folder.0, Some(user), Some(group))?;
            chown(&password, Some(user), Some(group))?;
            keeper.uid(user).gid(group);
        }

        let mut keeper = keeper.spawn()?;
        let life = keeper.stdin.take().context("no pipe")?;
        let mut said = BufReader::new(keeper.stdout.take().context("no pipe")?);
        let mut word = String::new();
        said.read_line(&mut word)?;
        let log = || fs::read_to_string(folder.0.join("log")).unwrap_or_default();
        ensure!(word == "ready\n", "{}", log());
        // From here on the keeper removes the folder.
        std::mem::forget(folder);
        Ok(Self { port, template: OnceCell::new(), keeper: Mutex::new((life, said)) })
    }

    fn control(&self, word: &str) -> anyhow::Result<()> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = String::new();
        keeper.0.write_all(format!("{word}\n").as_bytes())?;
        keeper.1.read_line(&mut done)?;
        ensure!(done.trim_end() == word, "PostgreSQL does not {word}");
        Ok(())
    }

    fn url_of(&self, login: &str, database: &str) -> String {
        format!("postgres://{login}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url_of("postgres", "postgres")).await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.with_context(|| sql.to_owned())?;
        Ok(connection.close().await?)
    }

    /// Migrates one database; every other one is a copy of it.
    async fn make_template(&'static self) {
        // If the migrations failed for the previous test, report the reason again for the next one.
        self.execute(&format!("DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")).await.expect("no template");
        self.execute(&format!("CREATE DATABASE {TEMPLATE} OWNER {LOGIN}")).await.expect("a template");
        let template = Database(Arc::new(Place::Named { cluster: self, name: TEMPLATE.to_owned() }));
        server::migrate(&template).await;
        self.execute(&format!("GRANT authenticated TO {SERVER_LOGIN}")).await.expect("a login for servers");
    }

    async fn create_database(&'static self, template: Option<&str>) -> Database {
        let name = format!("test_{}", clock::new_id().simple());
        let template = template.unwrap_or("template1");
        let sql = format!("CREATE DATABASE {name} OWNER {LOGIN} TEMPLATE {template}");
        self.execute(&sql).await.expect("a fresh database");
        Database(Arc::new(Place::Named { cluster: self, name }))
    }
}
