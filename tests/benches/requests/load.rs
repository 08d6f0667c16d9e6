//! Writes the data set directly into the tables.

use std::{
    collections::HashSet,
    sync::{Mutex, atomic::AtomicI64},
    time::Duration,
};

use antiphon::{
    model::{
        clock, diff,
        file::FileMode,
        patch::{self, Side},
    },
    storage::blob_codec::{self, Encoding},
};
use anyhow::Context;
use tests::{
    database::{Database, Kind},
    server,
    workload::{self, Random},
};

use crate::{
    data::{Data, File, OWN, Project, SESSIONS, SHARED, User, message},
    rows::{Cell, Loader, Table},
};

/// How many objects of each kind there are.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// 1 stands for 200 users, each with [`OWN`] projects.
    pub(crate) scale: f64,
    /// Per ordinary session.
    pub(crate) messages: usize,
    /// Per project.
    pub(crate) files: usize,
    /// Per file.
    pub(crate) versions: usize,
}

impl Shape {
    /// (400,000 - 5 * 10,000) / 9,995 messages per session.
    pub(crate) fn usual(scale: f64) -> Self {
        Self { scale, messages: 35, files: 20, versions: 5 }
    }
}

/// Files per sync.
const SYNCED: usize = 4;

/// Tables of the bench's own, and the SQL that fills them.
const POSTGRES: &str = include_str!("beside/postgres.sql");
const SQLITE: &str = include_str!("beside/sqlite.sql");
const FILL: &str = include_str!("beside/fill.sql");

/// Fills the tables with the rows that the service would write for the same requests.
pub(crate) async fn load(database: &Database, shape: Shape) -> anyhow::Result<Data> {
    let kind = database.kind();
    let mut loader = Loader::connect(database).await?;
    loader.execute("BEGIN").await?;
    loader.execute(if kind == Kind::Sqlite { SQLITE } else { POSTGRES }).await?;
    let users = ((200.0 * shape.scale) as usize).max(2);
    let (usual, busy) = (shape.messages, (10_000.0 * shape.scale) as usize);
    let syncs = shape.files * shape.versions / SYNCED / SESSIONS;
    let mut random = Random(20251);
    let start = clock::now() - Duration::from_secs(40 * 86_400);
    let time = |seconds: u64| (start + Duration::from_secs(seconds)).to_rfc3339();

    let mut all = Vec::new();
    let mut profiles = Table::new(kind, "user_profiles (id, email, full_name, created_at, updated_at)");
    let mut preferences = Table::new(
        kind,
        "user_preferences (user_id, editor_theme, auto_save_enabled, notification_preferences, ui_preferences, created_at, updated_at)",
    );
    for index in 0..users {
        let email = format!("user{index}@example.com");
        let (id, at) = (server::user_id(&email), time(0));
        let name = Cell::Text(&email);
        profiles.add(&mut loader, &[Cell::Id(&id), name, name, Cell::Text(&at), Cell::Text(&at)]).await?;
        let (none, at) = (Cell::Text("{}"), Cell::Text(&at));
        preferences
            .add(&mut loader, &[Cell::Id(&id), Cell::Text("vs-dark"), Cell::Flag(true), none, none, at, at])
            .await?;
        all.push(User { token: server::token(&email), id, projects: Vec::new() });
    }
    profiles.flush(&mut loader).await?;
    preferences.flush(&mut loader).await?;

    let mut projects = Table::new(
        kind,
        "projects (id, user_id, name, description, initial_prompt, config, status, revision, session_count, message_count, file_count, \
         change_count, created_at, updated_at, last_accessed_at, last_session_at, last_activity_at)",
    );
    let mut members = Table::new(kind, "project_collaborators (project_id, user_id, role, invited_at, accepted_at)");
    let mut sessions = Table::new(
        kind,
        "chat_sessions (id, project_id, user_id, revision, title, started_at, ended_at, message_count, is_active, metadata)",
    );
    let mut messages = Table::new(
        kind,
        "chat_messages (id, project_id, session_id, user_id, revision, role, content, timestamp, is_checkpoint, context_data, metadata)",
    );
    let mut events = Table::new(
        kind,
        "project_events (project_id, revision, kind, actor_id, session_id, message_id, description, created_at)",
    );
    let mut files = Table::new(
        kind,
        "project_files (id, project_id, file_path, file_name, parent_path, file_type, language, size_bytes, version, hash, is_deleted, \
         created_at, updated_at)",
    );
    let mut blobs = Table::new(kind, "blobs (id, project_id, sha256, size, encoding, depth, base_id, data)");
    let mut versions = Table::new(
        kind,
        "file_snapshots (id, project_id, file_id, revision, superseded_revision, version, additions, deletions, blob_id, change_type, path)",
    );
    let mut diffs = Table::new(kind, "bench_diffs (version_id, diff)");
    let mut copied = Vec::new();

    let mut made = Vec::new();
    let mut blob = 0;
    for index in 0..users * OWN {
        let owner = index / OWN;
        let (id, user) = (clock::new_id().to_string(), all[owner].id.clone());
        all[owner].projects.push(index);
        // Rows that refer to others come after them, so each project is flushed when it is complete.
        let mut clock_seconds = index as u64;
        let mut revision = 1;
        let mut session_ids: Vec<String> = Vec::new();
        let mut session_rows = Vec::new();
        let mut message_rows = Vec::new();
        let mut event_rows = vec![(1, "PROJECT_CREATED", None, None, None, time(clock_seconds))];
        type OwnFile = (String, String, Vec<(i64, String, String)>);
        let mut own: Vec<OwnFile> = (0..shape.files)
            .map(|n| (clock::new_id().to_string(), format!("src/part{}/file_{n:03}.py", n % 4), Vec::new()))
            .collect();
        let (mut turn, mut synced) = (0, 0);
        let mut contents = HashSet::new();
        for session in 0..SESSIONS {
            revision += 1;
            clock_seconds += 600;
            let session_id = clock::new_id().to_string();
            event_rows.push((revision, "SESSION_STARTED", Some(session), None, None, time(clock_seconds)));
            let count = if index < 5 && session == 0 { busy.max(usual) } else { usual };
            session_rows.push((session_id.clone(), revision, time(clock_seconds), count));
            session_ids.push(session_id);
            for n in 0..count {
                revision += 1;
                clock_seconds += 20;
                let message_id = clock::new_id().to_string();
                let role = if n % 2 == 0 { "user" } else { "assistant" };
                message_rows.push((
                    message_id.clone(),
                    session,
                    revision,
                    role,
                    message(&mut random),
                    time(clock_seconds),
                ));
                event_rows.push((
                    revision,
                    "MESSAGE_ADDED",
                    Some(session),
                    Some(message_id.clone()),
                    None,
                    time(clock_seconds),
                ));
                if n % (count / syncs) == count / syncs - 1 && turn < (session + 1) * syncs {
                    revision += 1;
                    let at = time(clock_seconds + 5);
                    synced = revision;
                    for file in 0..SYNCED {
                        let (_, _, versions) = &mut own[(turn * SYNCED + file) % shape.files];
                        // An edit can lead back to the content of an earlier version, which is stored once. This
                        // content must be new.
                        let content = loop {
                            let content = match versions.last() {
                                Some((_, content, _)) => random.edit(content),
                                None => random.document() + &random.document(),
                            };
                            if contents.insert(content.clone()) {
                                break content;
                            }
                        };
                        versions.push((revision, content, at.clone()));
                    }
                    event_rows.push((
                        revision,
                        "FILES_CHANGED",
                        Some(session),
                        Some(message_id),
                        Some("As you asked"),
                        at,
                    ));
                    turn += 1;
                }
            }
        }

        let (first, last) = (time(index as u64), time(clock_seconds));
        let total = message_rows.len() as i64;
        projects
            .add(
                &mut loader,
                &[
                    Cell::Id(&id),
                    Cell::Id(&user),
                    Cell::Text(&format!("Project {index}")),
                    Cell::Text("A voice agent"),
                    Cell::Text("Make me a voice agent"),
                    Cell::Text("{}"),
                    Cell::Text("active"),
                    Cell::Number(revision),
                    Cell::Number(SESSIONS as i64),
                    Cell::Number(total),
                    Cell::Number(shape.files as i64),
                    Cell::Number((shape.files * shape.versions) as i64),
                    Cell::Text(&first),
                    Cell::Text(&last),
                    Cell::Text(&last),
                    Cell::Text(&last),
                    Cell::Text(&last),
                ],
            )
            .await?;
        projects.flush(&mut loader).await?;
        for (n, (session, at_revision, at, _)) in session_rows.iter().enumerate() {
            let is_active = n == SESSIONS - 1;
            let ended = if is_active { Cell::Null } else { Cell::Text(&last) };
            // The trigger counts the messages.
            sessions
                .add(
                    &mut loader,
                    &[
                        Cell::Id(session),
                        Cell::Id(&id),
                        Cell::Id(&user),
                        Cell::Number(*at_revision),
                        Cell::Text("Work"),
                        Cell::Text(at),
                        ended,
                        Cell::Number(0),
                        Cell::Flag(is_active),
                        Cell::Text("{}"),
                    ],
                )
                .await?;
        }
        sessions.flush(&mut loader).await?;
        for (message, session, at_revision, role, content, at) in &message_rows {
            messages
                .add(
                    &mut loader,
                    &[
                        Cell::Id(message),
                        Cell::Id(&id),
                        Cell::Id(&session_ids[*session]),
                        Cell::Id(&user),
                        Cell::Number(*at_revision),
                        Cell::Text(role),
                        Cell::Text(content),
                        Cell::Text(at),
                        Cell::Flag(false),
                        Cell::Text("{}"),
                        Cell::Text("{}"),
                    ],
                )
                .await?;
        }
        messages.flush(&mut loader).await?;
        for (at_revision, event, session, message, description, at) in &event_rows {
            let session = session.map(|session: usize| session_ids[session].clone());
            events
                .add(
                    &mut loader,
                    &[
                        Cell::Id(&id),
                        Cell::Number(*at_revision),
                        Cell::Text(event),
                        Cell::Id(&user),
                        session.as_deref().map_or(Cell::Null, Cell::Id),
                        message.as_deref().map_or(Cell::Null, Cell::Id),
                        description.map_or(Cell::Null, Cell::Text),
                        Cell::Text(at),
                    ],
                )
                .await?;
        }
        events.flush(&mut loader).await?;

        let mut states = Vec::new();
        for (file, path, history) in own {
            let (_, content, at) = history.last().context("a file without versions")?;
            let hash = hex::decode(workload::sha256(content))?;
            let (parent, name) = path.rsplit_once('/').context("no folder")?;
            files
                .add(
                    &mut loader,
                    &[
                        Cell::Id(&file),
                        Cell::Id(&id),
                        Cell::Text(&path),
                        Cell::Text(name),
                        Cell::Text(parent),
                        Cell::Text("file"),
                        Cell::Text("python"),
                        Cell::Number(content.len() as i64),
                        Cell::Number(history.len() as i64),
                        Cell::Bytes(&hash),
                        Cell::Flag(false),
                        Cell::Text(&history[0].2),
                        Cell::Text(at),
                    ],
                )
                .await?;
            files.flush(&mut loader).await?;
            let mut before: Option<(&str, i64)> = None;
            let mut depth = 0;
            for (n, (at_revision, content, _)) in history.iter().enumerate() {
                blob += 1;
                let encoded = blob_codec::encode(content.as_bytes(), before.map(|(text, _)| text.as_bytes()));
                let base = before.filter(|_| encoded.encoding == Encoding::ZstdDelta).map(|(_, id)| id);
                depth = base.map_or(0, |_| depth + 1);
                let hash = hex::decode(workload::sha256(content))?;
                blobs
                    .add(
                        &mut loader,
                        &[
                            Cell::Number(blob),
                            Cell::Id(&id),
                            Cell::Bytes(&hash),
                            Cell::Number(content.len() as i64),
                            Cell::Number(encoded.encoding as i64),
                            Cell::Number(depth),
                            base.map_or(Cell::Null, Cell::Number),
                            Cell::Bytes(&encoded.data),
                        ],
                    )
                    .await?;
                blobs.flush(&mut loader).await?;
                let version = clock::new_id().to_string();
                let old = before.map_or("", |(text, _)| text);
                let stat = diff::stat(old, content);
                versions
                    .add(
                        &mut loader,
                        &[
                            Cell::Id(&version),
                            Cell::Id(&id),
                            Cell::Id(&file),
                            Cell::Number(*at_revision),
                            history.get(n + 1).map_or(Cell::Null, |(next, _, _)| Cell::Number(*next)),
                            Cell::Number(n as i64 + 1),
                            Cell::Number(stat.additions.into()),
                            Cell::Number(stat.deletions.into()),
                            Cell::Number(blob),
                            Cell::Text(if n == 0 { "create" } else { "update" }),
                            Cell::Text(&path),
                        ],
                    )
                    .await?;
                let side = Side { path: &path, mode: FileMode::File };
                let unified = patch::unified(old, content, before.map(|_| side), Some(side));
                diffs.add(&mut loader, &[Cell::Id(&version), Cell::Text(&unified)]).await?;
                before = Some((content, blob));
            }
            copied.push((file.clone(), id.clone(), content.clone(), history.len() as i64));
            let state = || Mutex::new(Some((history.len() as i64, content.clone())));
            states.push(File { ours: state(), copy: state(), id: file, path });
        }
        versions.flush(&mut loader).await?;
        for n in 1..=SHARED {
            let guest = (owner + n) % users;
            if guest != owner && index % OWN == n % OWN && !all[guest].projects.contains(&index) {
                all[guest].projects.push(index);
                let guest = all[guest].id.clone();
                let cells =
                    [Cell::Id(&id), Cell::Id(&guest), Cell::Text("editor"), Cell::Text(&first), Cell::Text(&first)];
                members.add(&mut loader, &cells).await?;
            }
        }
        let restore = Mutex::new(Some((synced - 1, synced)));
        made.push(Project { id, owner, sessions: session_ids, files: states, restore });
    }
    members.flush(&mut loader).await?;
    diffs.flush(&mut loader).await?;
    loader.execute(FILL).await?;
    let mut copies = Table::new(kind, "bench_files (id, project_id, content, version)");
    for (file, project, content, version) in &copied {
        let cells = [Cell::Id(file), Cell::Id(project), Cell::Text(content), Cell::Number(*version)];
        copies.add(&mut loader, &cells).await?;
    }
    copies.flush(&mut loader).await?;
    loader.execute("COMMIT").await?;
    if kind == Kind::Postgres {
        loader.execute("SELECT setval(pg_get_serial_sequence('blobs', 'id'), (SELECT max(id) FROM blobs))").await?;
        loader.execute("VACUUM ANALYZE").await?;
    }
    Ok(Data { users: all, projects: made, next_seed: AtomicI64::new(1) })
}
