//! What a request costs beside the limit: the same work as one SQL statement that returns JSON, on the same data, in the same
//! run.
//!
//! ```text
//! cargo bench -p tests --bench requests -- [--scale 0.1] [--seconds 3] [--rounds 3] [--only sqlite|postgres] [--work Q1]
//! ```
//!
//! Sixteen connections, closed loop, keep-alive, each request a random caller's, warm. The server is a process of its own.
//! On PostgreSQL both speak for the caller, whom row-level security holds to what is theirs; the limit sends role, claims,
//! statement and commit at once, in one round trip. What counts is processor time a request (server and PostgreSQL) as a multiple of the limit's: on a machine that does
//! other work too it moves far less than requests a second. The limit's client is in this process: on PostgreSQL its time is
//! left out as that of the server's client is; on SQLite, where client and database are one, it is in.
//!
//! At scale 1: 200 users, 2,000 projects, 10,000 sessions, 400,000 messages of about 300 bytes, the busiest five sessions with
//! 10,000 each, 40,000 files of about 3 KB, 200,000 versions. It is written straight into the tables.

use std::{
    collections::HashSet,
    env, fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use antiphon::{
    model::{clock, diff},
    storage::blob_codec::{self, Encoding},
};
use anyhow::{Context, bail, ensure};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection};
use tests::{
    client::Client,
    database::{self, Database, Kind},
    server::{self, ChildServer, Locks, Server},
    workload::Random,
};

// The allocator of the server's own executable.
mod load;

use load::load;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 16;

const SESSIONS: usize = 5;
const FILES: usize = 20;
const VERSIONS: usize = 5;
/// Projects that a user owns, and that others share with them: a page of projects is full.
const OWN: usize = 10;
const SHARED: usize = 12;

fn main() -> anyhow::Result<()> {
    if server::serve_if_child() {
        return Ok(());
    }
    database::be_durable();
    let options = Options::parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let wanted = options.only.is_none_or(|only| only == kind);
        if wanted && (kind == Kind::Sqlite || database::postgres_is_here()) {
            runtime.block_on(measure(&options, kind))?;
        }
    }
    Ok(())
}

struct Options {
    scale: f64,
    window: Duration,
    rounds: usize,
    only: Option<Kind>,
    work: Option<String>,
}

impl Options {
    fn parse() -> anyhow::Result<Self> {
        let mut options = Self { scale: 0.1, window: Duration::from_secs(3), rounds: 3, only: None, work: None };
        // Cargo adds `--bench`.
        let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{name} what?"))?;
            match name.as_str() {
                "--scale" => options.scale = value.parse()?,
                "--seconds" => options.window = Duration::from_secs_f64(value.parse()?),
                "--rounds" => options.rounds = value.parse()?,
                "--work" => options.work = Some(value),
                "--only" if value == "sqlite" => options.only = Some(Kind::Sqlite),
                "--only" if value == "postgres" => options.only = Some(Kind::Postgres),
                _ => bail!("{name} {value}?"),
            }
        }
        Ok(options)
    }
}

async fn measure(options: &Options, kind: Kind) -> anyhow::Result<()> {
    let database = Database::create(kind).await;
    // Migrates SQLite, and counts statements later on.
    let counting = Server::start(&database).await;
    let data = load(&database, options.scale).await?;
    let child = ChildServer::start(&database);
    let target = Target {
        kind,
        url: database.server_url(),
        child: child.user("nobody@example.com"),
        server: child.id(),
        database: match kind {
            Kind::Sqlite => None,
            Kind::Postgres => Some(postmaster(&database).await?),
        },
        data: Arc::new(data),
    };
    println!(
        "\n{kind:?}, scale {}: {} users, {} projects, {} sessions, {} files",
        options.scale,
        target.data.users.len(),
        target.data.projects.len(),
        target.data.projects.len() * SESSIONS,
        target.data.projects.len() * FILES,
    );
    let idle = memory(child.id())?;
    // The same as a superuser without row-level security: what that costs.
    let bare = (kind == Kind::Postgres).then(|| ChildServer::start_behind(&database.admin_url(), Locks::Application));
    let bare = bare.as_ref().map(|bare| Target {
        child: bare.user("nobody@example.com"),
        server: bare.id(),
        ..target.clone()
    });
    println!(
        "          limit            ours              CPU ms a request             of the limit   statements   without RLS"
    );
    println!(
        "          /s    CPU ms     /s    p50    p99  server database total        CPU      /s    a request      /s   kept"
    );
    let wanted = |work: &Work| options.work.as_ref().is_none_or(|name| *name == format!("{work:?}"));
    for work in Work::ALL.into_iter().filter(wanted) {
        let statements = statements(&counting, &target, work).await?;
        let (mut limits, mut ours, mut bares) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            limits.push(target.run(work, options.window, true).await.with_context(|| format!("{work:?}, the limit"))?);
            ours.push(target.run(work, options.window, false).await.with_context(|| format!("{work:?}"))?);
            if let Some(bare) = &bare {
                bares.push(bare.run(work, options.window, false).await.with_context(|| format!("{work:?}, bare"))?);
            }
        }
        let of = |runs: &[Figures], figure: fn(&Figures) -> f64| {
            let mut all: Vec<f64> = runs.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let (limit_rate, limit_cpu) = (of(&limits, |f| f.rate), of(&limits, Figures::total));
        let without = bare.as_ref().map_or_else(String::new, |_| {
            let rate = of(&bares, |f| f.rate);
            format!(" {rate:>7.0} {:>5.2}x", of(&ours, |f| f.rate) / rate)
        });
        println!(
            "  {work:?} {limit_rate:>8.0} {limit_cpu:>9.3} {:>6.0} {:>6.1} {:>6.1} {:>7.3} {:>8.3} {:>5.3} {:>9.2}x {:>6.2}x {statements:>8.1} {without}",
            of(&ours, |f| f.rate),
            of(&ours, |f| f.p50),
            of(&ours, |f| f.p99),
            of(&ours, |f| f.server),
            of(&ours, |f| f.database),
            of(&ours, Figures::total),
            of(&ours, Figures::total) / limit_cpu,
            of(&ours, |f| f.rate) / limit_rate,
        );
    }
    println!("  resident: {idle:.0} MiB idle, {:.0} MiB afterwards", memory(child.id())?);
    drop(child);
    counting.stop().await;
    database.remove().await;
    Ok(())
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// The caller's 20 newest projects with their counts and last activity.
    Q1,
    /// The last 50 messages of a session.
    Q2,
    /// A project with 20 files, each with its 5 newest versions.
    Q3,
    /// The 20 newest changes of a project, with their diffs.
    Q4,
    /// Add a message.
    M1,
    /// Change a file that is at a known version.
    M2,
}

impl Work {
    const ALL: [Self; 6] = [Self::Q1, Self::Q2, Self::Q3, Self::Q4, Self::M1, Self::M2];

    fn document(self) -> &'static str {
        match self {
            Self::Q1 => {
                "{ projects(first: 20) { nodes { id name description status createdAt updatedAt stats {
                   totalSessions totalMessages totalFiles totalChanges latestSessionAt lastActivityAt } } } }"
            }
            Self::Q2 => {
                "query($id: ID!) { node(id: $id) { ... on ChatSession {
                   messages(last: 50) { nodes { id role content timestamp isCheckpoint } } } } }"
            }
            Self::Q3 => {
                "query($id: ID!) { project(id: $id) { id name files(first: 20) { nodes {
                   id path name type language sizeBytes updatedAt
                   versions(first: 5) { nodes { version changeDescription createdAt } } } } } }"
            }
            Self::Q4 => {
                "query($id: ID!) { project(id: $id) { changes(first: 20) { nodes {
                   id revision type path additions deletions changeDescription createdAt diff } } } }"
            }
            Self::M1 => {
                "mutation($input: AddMessageInput!) { addMessage(input: $input) { revision message { id timestamp } } }"
            }
            Self::M2 => {
                "mutation($input: UpdateFileInput!) { updateFile(input: $input) { revision file { version hash } } }"
            }
        }
    }

    /// The limit. JSON is built by the database; diffs, which the server makes when asked, are there already.
    fn limit(self) -> &'static str {
        match self {
            Self::Q1 => {
                "SELECT {agg}({obj}('id', {id}(q.id), 'name', q.name, 'description', q.description, 'status', q.status,
                   'createdAt', q.created_at, 'updatedAt', q.updated_at, 'totalSessions', q.session_count,
                   'totalMessages', q.message_count, 'totalFiles', q.file_count, 'totalChanges', q.change_count,
                   'latestSessionAt', q.last_session_at, 'lastActivityAt', q.last_activity_at)){text} FROM (
                 SELECT p.* FROM projects p WHERE p.status <> 'deleted' AND p.id IN (
                   SELECT id FROM projects WHERE user_id = {caller} UNION
                   SELECT project_id FROM project_collaborators WHERE user_id = {caller} AND accepted_at IS NOT NULL)
                 ORDER BY p.updated_at DESC, p.id DESC LIMIT 20) q"
            }
            Self::Q2 => {
                "SELECT {agg}({obj}('id', {id}(q.id), 'role', q.role, 'content', q.content, 'timestamp', q.timestamp,
                   'isCheckpoint', q.is_checkpoint)){text} FROM (
                 SELECT m.* FROM chat_messages m WHERE m.session_id = {target} AND {member}
                 ORDER BY m.revision DESC LIMIT 50) q"
            }
            Self::Q3 => {
                "SELECT {obj}('id', {id}(m.project_id), 'name', m.name, 'files', (
                   SELECT {agg}({obj}('id', {id}(f.id), 'path', f.file_path, 'name', f.file_name, 'type', f.file_type,
                     'language', f.language, 'sizeBytes', f.size_bytes, 'updatedAt', f.updated_at, 'versions', (
                     SELECT {agg}({obj}('version', w.version, 'changeDescription', w.description, 'createdAt', w.created_at))
                     FROM (SELECT v.version, e.description, e.created_at FROM file_snapshots v
                       JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision
                       WHERE v.file_id = f.id ORDER BY v.version DESC LIMIT 5) w)))
                   FROM (SELECT * FROM project_files x WHERE x.project_id = m.project_id AND NOT x.is_deleted
                     ORDER BY x.file_path LIMIT 20) f)){text}
                 FROM (SELECT p.id AS project_id, p.name FROM projects p WHERE p.id = {target}) m WHERE {member}"
            }
            Self::Q4 => {
                "SELECT {agg}({obj}('id', {id}(q.id), 'revision', q.revision, 'type', q.change_type, 'path', q.file_path,
                   'additions', q.additions, 'deletions', q.deletions, 'changeDescription', q.change_description,
                   'createdAt', q.created_at, 'diff', q.diff)){text} FROM (
                 SELECT m.*, d.diff FROM file_change_history m LEFT JOIN bench_diffs d ON d.version_id = m.snapshot_id
                 WHERE m.project_id = {target} AND {member} ORDER BY m.revision DESC LIMIT 20) q"
            }
            Self::M1 => {
                "INSERT INTO chat_messages (id, project_id, session_id, user_id, revision, role, content, timestamp,
                   is_checkpoint, context_data, metadata)
                 SELECT {new}, s.project_id, s.id, s.user_id, {number}, 'user', {content}, {now}, {false}, '{}', '{}'
                 FROM chat_sessions s WHERE s.id = {target} AND s.user_id = {caller}"
            }
            Self::M2 => "SELECT bench_update({target}, {number}, {content}){text}",
        }
    }

    /// None where the database cannot do it in one statement.
    fn limit_on(self, kind: Kind) -> Option<Statement> {
        if self == Self::M2 && kind == Kind::Sqlite {
            return None;
        }
        const MEMBER: &str = "EXISTS (SELECT 1 FROM projects a WHERE a.id = m.project_id AND (a.user_id = {caller} OR EXISTS (
            SELECT 1 FROM project_collaborators c WHERE c.project_id = a.id AND c.user_id = {caller} AND c.accepted_at IS NOT NULL)))";
        let sqlite = kind == Kind::Sqlite;
        // PostgreSQL has row-level security for that.
        let mut sql = self.limit().replace("{member}", if kind == Kind::Sqlite { MEMBER } else { "true" });
        for (word, in_sqlite, in_postgres) in [
            ("{agg}", "json_group_array", "json_agg"),
            ("{obj}", "json_object", "json_build_object"),
            ("{id}", "hex", ""),
            ("{text}", "", "::text"),
            ("{new}", "randomblob(16)", "gen_random_uuid()"),
            ("{now}", "strftime('%Y-%m-%dT%H:%M:%f+00:00')", "now()"),
            ("{false}", "0", "false"),
        ] {
            sql = sql.replace(word, if sqlite { in_sqlite } else { in_postgres });
        }
        let mut count = 0;
        let named = [("{caller}", "::uuid"), ("{target}", "::uuid"), ("{content}", ""), ("{number}", "::int")].map(
            |(word, cast)| {
                let is_named = sql.contains(word);
                count += usize::from(is_named);
                sql = sql.replace(word, &format!("${count}{}", if sqlite { "" } else { cast }));
                is_named
            },
        );
        Some(Statement { sql: sql.leak(), named })
    }
}

/// A statement and which of caller, target, content and number it takes, in that order.
#[derive(Clone, Copy)]
struct Statement {
    sql: &'static str,
    named: [bool; 4],
}

/// What was loaded, and what has been changed since.
struct Data {
    users: Vec<User>,
    projects: Vec<Project>,
    /// A number that no revision has.
    next: AtomicI64,
}

struct User {
    id: String,
    token: String,
    projects: Vec<usize>,
}

struct Project {
    id: String,
    owner: usize,
    sessions: Vec<String>,
    files: Vec<File>,
}

struct File {
    id: String,
    path: String,
    /// Version and content, for the server and for the limit, locked while someone changes it.
    state: [Mutex<Option<(i64, String)>>; 2],
}

/// One request.
struct Request {
    user: usize,
    target: String,
    body: Vec<u8>,
    text: String,
    number: i64,
    /// Project, file and the content that it then has.
    change: Option<(usize, usize, String)>,
}

impl Data {
    fn request(&self, work: Work, limit: bool, random: &mut Random) -> Request {
        let mut user = random.below(self.users.len());
        let caller = &self.users[user];
        let mut at = caller.projects[random.below(caller.projects.len())];
        let mut request = Request {
            user,
            target: String::new(),
            body: Vec::new(),
            text: String::new(),
            number: self.next.fetch_add(1, Ordering::Relaxed),
            change: None,
        };
        let project = &self.projects[at];
        let mut variables = json!({});
        match work {
            Work::Q1 => request.target = project.id.clone(),
            Work::Q2 => request.target = project.sessions[random.below(SESSIONS)].clone(),
            Work::Q3 | Work::Q4 => request.target = project.id.clone(),
            Work::M1 => {
                // Only its author writes in a session, and only in the last one, which goes on.
                user = project.owner;
                request.target = project.sessions[SESSIONS - 1].clone();
                request.text = message(random);
                variables = json!({ "input": {
                    "sessionId": request.target, "role": "USER", "content": request.text } });
            }
            Work::M2 => loop {
                let file = random.below(FILES);
                let project = &self.projects[at];
                let found = &project.files[file];
                let state =
                    found.state[usize::from(limit)].lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
                let Some((version, content)) = state else {
                    at = random.below(self.projects.len());
                    continue;
                };
                user = project.owner;
                request.target = found.id.clone();
                request.text = random.edit(&content);
                request.number = version;
                variables = json!({ "input": {
                    "projectId": project.id, "path": found.path, "content": request.text, "expectedVersion": version } });
                request.change = Some((at, file, request.text.clone()));
                break;
            },
        }
        if !limit {
            if matches!(work, Work::Q2 | Work::Q3 | Work::Q4) {
                variables = json!({ "id": request.target });
            }
            request.body = json!({ "query": work.document(), "variables": variables }).to_string().into_bytes();
        }
        request.user = user;
        request
    }

    fn settle(&self, request: Request, limit: bool) {
        if let Some((project, file, content)) = request.change {
            let state = &self.projects[project].files[file].state[usize::from(limit)];
            *state.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((request.number + 1, content));
        }
    }
}

/// About 300 bytes.
fn message(random: &mut Random) -> String {
    let mut text = random.document();
    text.truncate(200 + random.below(200));
    text
}

#[derive(Clone)]
struct Target {
    kind: Kind,
    /// On PostgreSQL of the server's login.
    url: String,
    child: Client,
    server: u32,
    database: Option<u32>,
    data: Arc<Data>,
}

/// What a run gave: requests a second, times in ms, and processor time a request in ms.
struct Figures {
    rate: f64,
    p50: f64,
    p99: f64,
    server: f64,
    database: f64,
}

impl Figures {
    fn total(&self) -> f64 {
        self.server + self.database
    }
}

impl Target {
    async fn run(&self, work: Work, window: Duration, limit: bool) -> anyhow::Result<Figures> {
        let statement = work.limit_on(self.kind);
        if limit && statement.is_none() {
            return Ok(Figures { rate: f64::NAN, p50: f64::NAN, p99: f64::NAN, server: f64::NAN, database: f64::NAN });
        }
        let count = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let warm = Arc::new(AtomicBool::new(false));
        let mut workers = Vec::new();
        for worker in 0..CONNECTIONS {
            let (target, count, stop, warm) = (self.clone(), count.clone(), stop.clone(), warm.clone());
            let mut random = Random(self.data.next.fetch_add(1, Ordering::Relaxed) as u64 * 977 + worker as u64);
            let mut connection = Limit::connect(statement.filter(|_| limit), self.kind, &self.url).await?;
            // A connection of its own.
            let client = Client::new(self.child.base(), None);
            workers.push(tokio::spawn(async move {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = target.data.request(work, limit, &mut random);
                    let start = Instant::now();
                    if let (true, Some(statement)) = (limit, statement) {
                        connection.ask(statement, &target.data.users[request.user].id, &request).await?;
                    } else {
                        let bearer = format!("Bearer {}", target.data.users[request.user].token);
                        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
                        let answer = client.send("POST", "/graphql", &headers, request.body.clone()).await?;
                        let text = String::from_utf8_lossy(&answer.body);
                        ensure!(answer.status == 200 && !text.contains("\"errors\""), "{text}");
                    }
                    if warm.load(Ordering::Relaxed) {
                        times.push(start.elapsed());
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    target.data.settle(request, limit);
                }
                connection.close().await?;
                anyhow::Ok(times)
            }));
        }
        tokio::time::sleep(window / 3).await;
        warm.store(true, Ordering::Relaxed);
        let (start, before) = (Instant::now(), self.processor(limit)?);
        tokio::time::sleep(window).await;
        let (requests, after) = (count.load(Ordering::Relaxed) as f64, self.processor(limit)?);
        let elapsed = start.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for worker in workers {
            times.extend(worker.await??);
        }
        times.sort_unstable();
        let percentile =
            |of: f64| times.get((times.len() as f64 * of) as usize).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        let cost = |(before, after): (f64, f64)| (after - before) * 1e3 / requests;
        Ok(Figures {
            rate: requests / elapsed,
            p50: percentile(0.5),
            p99: percentile(0.99),
            server: cost((before.0, after.0)),
            database: cost((before.1, after.1)),
        })
    }

    /// Seconds of processor time that server and database have taken so far.
    fn processor(&self, limit: bool) -> anyhow::Result<(f64, f64)> {
        let server = match (limit, self.kind) {
            (false, _) => processor(self.server)?.0,
            (true, Kind::Sqlite) => processor(std::process::id())?.0,
            (true, Kind::Postgres) => 0.0,
        };
        let Some(postmaster) = self.database else { return Ok((server, 0.0)) };
        let (own, children) = processor(postmaster)?;
        let mut database = own + children;
        for entry in fs::read_dir("/proc")? {
            let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // It may have ended meanwhile, and is then in its parent's.
            if parent(id).is_ok_and(|parent| parent == postmaster) {
                database += processor(id).map_or(0.0, |(own, _)| own);
            }
        }
        Ok((server, database))
    }
}

/// Field `n`, from 1, of `/proc/ID/stat` (proc(5)).
fn stat<const N: usize>(id: u32, fields: [usize; N]) -> anyhow::Result<[u64; N]> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The second field is a name that may hold anything.
    let (_, rest) = text.rsplit_once(')').context("no name")?;
    let all: Vec<&str> = rest.split_whitespace().collect();
    let mut values = [0; N];
    for (value, field) in values.iter_mut().zip(fields) {
        *value = all.get(field - 3).context("no such field")?.parse()?;
    }
    Ok(values)
}

fn parent(id: u32) -> anyhow::Result<u32> {
    Ok(stat(id, [4])?[0] as u32)
}

/// Processor time of a process and of its children that have ended, in seconds.
fn processor(id: u32) -> anyhow::Result<(f64, f64)> {
    /// `sysconf(_SC_CLK_TCK)`, which is this on every Linux.
    const TICKS: f64 = 100.0;
    let [user, system, children_user, children_system] = stat(id, [14, 15, 16, 17])?;
    Ok(((user + system) as f64 / TICKS, (children_user + children_system) as f64 / TICKS))
}

/// Resident memory in MiB.
fn memory(id: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

async fn postmaster(database: &Database) -> anyhow::Result<u32> {
    let mut connection = PgConnection::connect(&database.url()).await?;
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
    parent(backend as u32)
}

/// A connection straight to the database.
enum Limit {
    None,
    Sqlite(SqliteConnection),
    Postgres(Box<Pipelined>),
}

/// A connection that sends a whole transaction at once.
struct Pipelined {
    client: tokio_postgres::Client,
    transaction: [tokio_postgres::Statement; 4],
    work: tokio_postgres::Statement,
}

impl Pipelined {
    async fn connect(url: &str, statement: Statement) -> anyhow::Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        let claims = "SELECT set_config('request.jwt.claims', json_build_object('sub', $1::text, 'role', 'authenticated')::text, true)";
        client.batch_execute("SET ROLE authenticated").await?;
        let transaction = [
            client.prepare("BEGIN").await?,
            client.prepare("SET LOCAL ROLE authenticated").await?,
            client.prepare(claims).await?,
            client.prepare("COMMIT").await?,
        ];
        let work = client.prepare(statement.sql).await?;
        client.batch_execute("RESET ROLE").await?;
        Ok(Self { client, transaction, work })
    }

    /// Whether it was answered, or wrote.
    async fn ask(&self, statement: Statement, user: &str, request: &Request) -> anyhow::Result<bool> {
        let (id, number) = (uuid(user)?, request.number as i32);
        let target = uuid(&request.target)?;
        let all: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&id, &target, &request.text, &number];
        let values: Vec<_> = all.into_iter().zip(statement.named).filter(|(_, is_named)| *is_named).collect();
        let values: Vec<_> = values.into_iter().map(|(value, _)| value).collect();
        let [begin, role, claims, commit] = &self.transaction;
        let claimed: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&user];
        // They are sent in the order in which they are first polled.
        let (begun, spoken, claims, rows, committed) = tokio::join!(
            biased;
            self.client.execute(begin, &[]),
            self.client.execute(role, &[]),
            self.client.execute(claims, &claimed),
            async {
                if statement.sql.starts_with("INSERT") {
                    return Ok(self.client.execute(&self.work, &values).await? == 1);
                }
                Ok(!self.client.query_one(&self.work, &values).await?.try_get::<_, &str>(0)?.is_empty())
            },
            self.client.execute(commit, &[]),
        );
        begun?;
        spoken?;
        claims?;
        let answered: Result<bool, tokio_postgres::Error> = rows;
        let answered = answered?;
        committed?;
        Ok(answered)
    }
}

impl Limit {
    async fn connect(statement: Option<Statement>, kind: Kind, url: &str) -> anyhow::Result<Self> {
        Ok(match (statement, kind) {
            (None, _) => Self::None,
            (Some(_), Kind::Sqlite) => {
                let mut connection = SqliteConnection::connect(url).await?;
                connection.execute("PRAGMA busy_timeout = 10000; PRAGMA synchronous = FULL").await?;
                Self::Sqlite(connection)
            }
            (Some(statement), Kind::Postgres) => Self::Postgres(Box::new(Pipelined::connect(url, statement).await?)),
        })
    }

    async fn ask(&mut self, statement: Statement, user: &str, request: &Request) -> anyhow::Result<()> {
        let answered = match self {
            Self::None => true,
            Self::Postgres(connection) => connection.ask(statement, user, request).await?,
            Self::Sqlite(connection) => {
                let mut query = sqlx::query(statement.sql);
                if statement.named[0] {
                    query = query.bind(bytes(user));
                }
                if statement.named[1] {
                    query = query.bind(bytes(&request.target));
                }
                if statement.named[2] {
                    query = query.bind(&request.text);
                }
                if statement.named[3] {
                    query = query.bind(request.number);
                }
                if statement.sql.starts_with("INSERT") {
                    query.execute(connection).await?.rows_affected() == 1
                } else {
                    query.fetch_one(connection).await?.get::<&str, _>(0).len() > 2
                }
            }
        };
        ensure!(answered, "nothing: {}", statement.sql);
        Ok(())
    }

    async fn close(self) -> anyhow::Result<()> {
        if let Self::Sqlite(connection) = self {
            connection.close().await?;
        }
        Ok(())
    }
}

fn uuid(id: &str) -> anyhow::Result<uuid::Uuid> {
    Ok(id.parse()?)
}

fn bytes(id: &str) -> Vec<u8> {
    hex::decode(id.replace('-', "")).unwrap_or_default()
}

/// Statements of one request, transaction control not counted, once its caller is known.
async fn statements(server: &Server, target: &Target, work: Work) -> anyhow::Result<f64> {
    let client = server.anonymous();
    let mut random = Random(7);
    let mut counts = Vec::new();
    for _ in 0..5 {
        let request = target.data.request(work, false, &mut random);
        let client = client.with_token(Some(target.data.users[request.user].token.clone()));
        client.request("{ viewer { id } }", json!({})).await?.data()?;
        let body: serde_json::Value = serde_json::from_slice(&request.body)?;
        let before = server.statements();
        client.request(work.document(), body["variables"].clone()).await?.data()?;
        counts.push(server.statements() - before);
        target.data.settle(request, false);
    }
    counts.sort_unstable();
    Ok(counts[2] as f64)
}
