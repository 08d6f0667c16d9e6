//! Reads for the operator's commands: the rows of whole projects, as system transactions. Texts and numbers are
//! returned as stored, since `verify` checks whether they are valid.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use chrono::{DateTime, Utc};
use sea_orm::QueryResult;
use uuid::Uuid;

pub use super::db::Operator;
use super::db::fail;
use super::sql::Sql;
use super::writable::refuses_writes;
use crate::model::error::Result;
use crate::model::ids::{ProjectId, UserId};

/// A project's row, with the counts to check.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Debug)]
pub struct StoredProject {
    pub id: ProjectId,
    pub owner: UserId,
    pub name: String,
    pub revision: i32,
    pub last_activity_at: DateTime<Utc>,
    /// The stored counts of sessions, messages, files and changes.
    pub counts: [i32; 4],
}

/// A project that is in use.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Debug)]
pub struct LiveProject {
    pub name: String,
    pub revision: i32,
    pub last_activity_at: DateTime<Utc>,
    /// Number of users who are present; `None` on SQLite, which does not store them.
    pub users: Option<i64>,
}

/// The projects with most users who are present, seen after `since`, and then those that were changed last.
pub async fn live(operator: &Operator, since: DateTime<Utc>, limit: usize) -> Result<Vec<LiveProject>> {
    let mut sql = Sql::new("SELECT p.name, p.revision, p.last_activity_at");
    if operator.is_sqlite() {
        sql.push(", NULL AS users FROM projects p");
    } else {
        sql.push(", coalesce(r.users, 0) AS users FROM projects p LEFT JOIN (");
        sql.push("SELECT project_id, count(DISTINCT user_id) AS users FROM presences WHERE seen_at > ").bind(since);
        sql.push(" GROUP BY project_id) r ON r.project_id = p.id");
    }
    sql.push(" WHERE p.status <> 'deleted' ORDER BY users DESC, p.last_activity_at DESC LIMIT ");
    sql.bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let project = |row: &QueryResult| {
        Ok(LiveProject {
            name: row.try_get("", "name").map_err(fail)?,
            revision: row.try_get("", "revision").map_err(fail)?,
            last_activity_at: row.try_get("", "last_activity_at").map_err(fail)?,
            users: row.try_get("", "users").map_err(fail)?,
        })
    };
    operator.rows(sql).await?.iter().map(project).collect()
}

/// An entry of the log.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Debug)]
pub struct StoredEvent {
    pub revision: i32,
    pub kind: String,
    pub created_at: DateTime<Utc>,
}

/// A file's row.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Debug)]
pub struct StoredFile {
    pub id: Uuid,
    pub path: String,
    /// The last segment of the path.
    pub name: String,
    /// The path without its last segment.
    pub parent: Option<String>,
    /// `file` or `folder`.
    pub file_type: String,
    /// Size of the content in bytes.
    pub size: i32,
    /// Newest version.
    pub version: i32,
    /// SHA-256 of the content.
    pub hash: Option<Vec<u8>>,
    pub is_deleted: bool,
    /// File mode, as stored.
    pub mode: i16,
}

/// A version's row.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Debug)]
pub struct StoredVersion {
    pub id: Uuid,
    pub file_id: Uuid,
    pub revision: i32,
    /// The revision that ended it.
    pub superseded: Option<i32>,
    pub version: i32,
    pub change_type: String,
    pub path: String,
    /// The content.
    pub blob: Option<i64>,
    /// File mode, as stored.
    pub mode: i16,
}

/// A blob's row without its data.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Debug)]
pub struct StoredBlob {
    pub id: i64,
    pub sha256: Vec<u8>,
    /// Size of the decoded bytes.
    pub size: i32,
    pub encoding: i16,
    /// Number of deltas between it and its keyframe.
    pub depth: i16,
    /// The base of a delta.
    pub base: Option<i64>,
}

/// A snapshot's row.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Debug)]
pub struct StoredSnapshot {
    pub id: Uuid,
    /// The revision that it names.
    pub revision: i32,
    /// The revision that made it.
    pub created_revision: i32,
    /// The stored number of files.
    pub file_count: i32,
    /// The stored hash of its manifest.
    pub manifest: Vec<u8>,
}

/// A session's row, with the counts to check.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Debug)]
pub struct StoredSession {
    pub id: Uuid,
    /// The stored number of messages.
    pub message_count: i32,
    /// The actual number of messages.
    pub messages: i64,
    /// Number of messages without an entry in the log.
    pub unlogged: i64,
    /// Number of messages whose hidden state does not match `hidden_messages`.
    pub wrongly_hidden: i64,
    /// Number of the AI's checkpoints without a snapshot.
    pub without_snapshot: i64,
}

fn get<T: sea_orm::TryGetable>(row: &QueryResult, column: &str) -> Result<T> {
    row.try_get("", column).map_err(fail)
}

async fn list<T>(operator: &Operator, sql: Sql, read: impl Fn(&QueryResult) -> Result<T>) -> Result<Vec<T>> {
    operator.rows(sql).await?.iter().map(read).collect()
}

/// All projects of any status, or the given one, oldest first.
pub async fn projects(operator: &Operator, only: Option<ProjectId>) -> Result<Vec<StoredProject>> {
    let mut sql = Sql::new(
        "SELECT id, user_id, name, revision, last_activity_at, session_count, message_count, file_count, change_count \
         FROM projects",
    );
    if let Some(only) = only {
        sql.push(" WHERE id = ").bind(only.0);
    }
    sql.push(" ORDER BY id");
    list(operator, sql, |row| {
        Ok(StoredProject {
            id: ProjectId(get(row, "id")?),
            owner: UserId(get(row, "user_id")?),
            name: get(row, "name")?,
            revision: get(row, "revision")?,
            last_activity_at: get(row, "last_activity_at")?,
            counts: [
                get(row, "session_count")?,
                get(row, "message_count")?,
                get(row, "file_count")?,
                get(row, "change_count")?,
            ],
        })
    })
    .await
}

/// A user's full name and e-mail, if known.
pub async fn person(operator: &Operator, id: UserId) -> Result<(Option<String>, Option<String>)> {
    let mut sql = Sql::new("SELECT full_name, email FROM user_profiles WHERE id = ");
    sql.bind(id.0);
    let found = list(operator, sql, |row| Ok((get(row, "full_name")?, get(row, "email")?))).await?;
    Ok(found.into_iter().next().unwrap_or_default())
}

/// Entries of a project's log after a revision, oldest first.
pub async fn events(operator: &Operator, project: ProjectId, after: i32, limit: i64) -> Result<Vec<StoredEvent>> {
    let mut sql = Sql::new("SELECT revision, kind, created_at FROM project_events WHERE project_id = ");
    sql.bind(project.0).push(" AND revision > ").bind(after).push(" ORDER BY revision LIMIT ").bind(limit);
    list(operator, sql, |row| {
        Ok(StoredEvent {
            revision: get(row, "revision")?,
            kind: get(row, "kind")?,
            created_at: get(row, "created_at")?,
        })
    })
    .await
}

/// All files of a project, including deleted ones.
pub async fn files(operator: &Operator, project: ProjectId) -> Result<Vec<StoredFile>> {
    let mut sql = Sql::new(
        "SELECT id, file_path, file_name, parent_path, file_type, size_bytes, version, hash, is_deleted, mode FROM project_files \
         WHERE project_id = ",
    );
    sql.bind(project.0).push(" ORDER BY file_path, id");
    list(operator, sql, |row| {
        Ok(StoredFile {
            id: get(row, "id")?,
            path: get(row, "file_path")?,
            name: get(row, "file_name")?,
            parent: get(row, "parent_path")?,
            file_type: get(row, "file_type")?,
            size: get(row, "size_bytes")?,
            version: get(row, "version")?,
            hash: get(row, "hash")?,
            is_deleted: get(row, "is_deleted")?,
            mode: get(row, "mode")?,
        })
    })
    .await
}

/// Versions of a project's files after one (given by revision and id), in the order of their revisions.
pub async fn versions(
    operator: &Operator,
    project: ProjectId,
    (revision, id): (i32, Uuid),
    limit: i64,
) -> Result<Vec<StoredVersion>> {
    let mut sql = Sql::new(
        "SELECT id, file_id, revision, superseded_revision, version, change_type, path, blob_id, mode FROM file_snapshots \
         WHERE project_id = ",
    );
    sql.bind(project.0).push(" AND (revision, id) > (").bind(revision).push(", ").bind(id);
    sql.push(") ORDER BY revision, id LIMIT ").bind(limit);
    list(operator, sql, |row| {
        Ok(StoredVersion {
            id: get(row, "id")?,
            file_id: get(row, "file_id")?,
            revision: get(row, "revision")?,
            superseded: get(row, "superseded_revision")?,
            version: get(row, "version")?,
            change_type: get(row, "change_type")?,
            path: get(row, "path")?,
            blob: get(row, "blob_id")?,
            mode: get(row, "mode")?,
        })
    })
    .await
}

/// All blobs of a project, without their data.
pub async fn blobs(operator: &Operator, project: ProjectId) -> Result<Vec<StoredBlob>> {
    let mut sql = Sql::new("SELECT id, sha256, size, encoding, depth, base_id FROM blobs WHERE project_id = ");
    sql.bind(project.0).push(" ORDER BY id");
    list(operator, sql, |row| {
        Ok(StoredBlob {
            id: get(row, "id")?,
            sha256: get(row, "sha256")?,
            size: get(row, "size")?,
            encoding: get(row, "encoding")?,
            depth: get(row, "depth")?,
            base: get(row, "base_id")?,
        })
    })
    .await
}

/// The data of these blobs.
pub async fn blob_data(operator: &Operator, ids: &[i64]) -> Result<Vec<(i64, Vec<u8>)>> {
    let mut sql = Sql::new("SELECT id, data FROM blobs WHERE id IN ");
    sql.list(ids.iter().copied());
    list(operator, sql, |row| Ok((get(row, "id")?, get(row, "data")?))).await
}

/// All snapshots of a project, in the order of the revisions that they name.
pub async fn snapshots(operator: &Operator, project: ProjectId) -> Result<Vec<StoredSnapshot>> {
    let mut sql = Sql::new(
        "SELECT id, revision, created_revision, file_count, manifest_sha256 FROM project_snapshots WHERE project_id = ",
    );
    sql.bind(project.0).push(" ORDER BY revision, created_revision");
    list(operator, sql, |row| {
        Ok(StoredSnapshot {
            id: get(row, "id")?,
            revision: get(row, "revision")?,
            created_revision: get(row, "created_revision")?,
            file_count: get(row, "file_count")?,
            manifest: get(row, "manifest_sha256")?,
        })
    })
    .await
}

/// All sessions of a project, with the actual counts of their messages.
pub async fn sessions(operator: &Operator, project: ProjectId) -> Result<Vec<StoredSession>> {
    let mut sql = Sql::new(
        "SELECT s.id, s.message_count, count(m.id) AS messages, \
         count(CASE WHEN m.id IS NOT NULL AND e.revision IS NULL THEN 1 END) AS unlogged, \
         count(CASE WHEN coalesce(m.hidden_revision, 0) <> coalesce(f.revision, 0) THEN 1 END) AS wrongly_hidden, \
         count(CASE WHEN m.is_checkpoint AND m.role = 'assistant' AND n.id IS NULL THEN 1 END) AS without_snapshot \
         FROM chat_sessions s LEFT JOIN chat_messages m ON m.session_id = s.id \
         LEFT JOIN hidden_messages f ON f.message_id = m.id AND f.superseded_revision IS NULL \
         LEFT JOIN project_events e ON e.project_id = m.project_id AND e.revision = m.revision \
         AND e.kind = 'MESSAGE_ADDED' AND e.message_id = m.id \
         LEFT JOIN project_snapshots n ON n.project_id = m.project_id AND n.created_revision = m.revision \
         WHERE s.project_id = ",
    );
    sql.bind(project.0).push(" GROUP BY s.id, s.message_count ORDER BY s.id");
    list(operator, sql, |row| {
        Ok(StoredSession {
            id: get(row, "id")?,
            message_count: get(row, "message_count")?,
            messages: get(row, "messages")?,
            unlogged: get(row, "unlogged")?,
            wrongly_hidden: get(row, "wrongly_hidden")?,
            without_snapshot: get(row, "without_snapshot")?,
        })
    })
    .await
}

/// Rules for a project's team, agent configurations, numbers of versions, own fields and hidden messages that no constraint
/// enforces: the kind of object, the violation, and a query that finds the violations in the project `$`.
const RULES: &[(&str, &str, &str)] = &[
    (
        "agent configuration",
        "has versions that do not follow each other",
        "SELECT DISTINCT v.configuration_id AS id FROM agent_configuration_versions v \
         LEFT JOIN agent_configuration_versions b ON b.configuration_id = v.configuration_id AND b.version = v.version - 1 \
         WHERE v.project_id = $ AND (v.version < 1 OR v.superseded_revision <= v.revision \
         OR v.version > 1 AND b.superseded_revision IS DISTINCT FROM v.revision)",
    ),
    (
        "agent configuration",
        "has a version without an entry in the log",
        "SELECT DISTINCT v.configuration_id AS id FROM agent_configuration_versions v \
         LEFT JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision \
         AND e.kind = 'AGENT_CONFIGURATION_CHANGED' WHERE v.project_id = $ AND e.revision IS NULL",
    ),
    (
        "agent configuration",
        "differs from its newest version",
        "SELECT c.id AS id FROM agent_configurations c LEFT JOIN agent_configuration_versions v \
         ON v.configuration_id = c.id AND v.superseded_revision IS NULL WHERE c.project_id = $ \
         AND (v.version IS DISTINCT FROM c.version OR v.project_id <> c.project_id OR v.is_active <> c.is_active \
         OR v.is_deletion AND c.is_active{differs})",
    ),
    (
        "collaborator",
        "is the project's owner, or has the owner's role",
        "SELECT k.user_id AS id FROM project_collaborators k JOIN projects p ON p.id = k.project_id \
         WHERE k.project_id = $ AND (k.user_id = p.user_id OR k.role = 'owner')",
    ),
    (
        "collaborator",
        "has accepted before being invited",
        "SELECT k.user_id AS id FROM project_collaborators k WHERE k.project_id = $ AND k.accepted_at < k.invited_at",
    ),
    (
        "former collaborator",
        "has left after the newest revision",
        "SELECT f.user_id AS id FROM project_former_collaborators f JOIN projects p ON p.id = f.project_id \
         WHERE f.project_id = $ AND f.left_at > p.last_activity_at",
    ),
    (
        "version",
        "has a number, a count of lines or a restored version that cannot be",
        "SELECT v.id AS id FROM file_snapshots v LEFT JOIN file_snapshots b ON b.file_id = v.file_id AND b.version = v.version - 1 \
         WHERE v.project_id = $ AND (v.version_offset NOT BETWEEN 0 AND 1000000000 OR v.version_offset < b.version_offset \
         OR v.restored_version NOT BETWEEN 1 AND v.version - 1 OR v.additions < 0 OR v.deletions < 0)",
    ),
    (
        "file",
        "has another number than its newest version",
        "SELECT f.id AS id FROM project_files f JOIN file_snapshots v ON v.file_id = f.id AND v.version = f.version \
         WHERE f.project_id = $ AND v.version_offset <> f.version_offset",
    ),
    (
        "project",
        "has changes of its fields without an entry in the log",
        "SELECT DISTINCT v.project_id AS id FROM project_versions v LEFT JOIN project_events e ON e.project_id = v.project_id \
         AND e.revision = v.superseded_revision AND e.kind = 'PROJECT_UPDATED' WHERE v.project_id = $ AND e.revision IS NULL",
    ),
    (
        "message",
        "is hidden at a revision where it cannot be",
        "SELECT DISTINCT f.message_id AS id FROM hidden_messages f JOIN projects p ON p.id = f.project_id \
         JOIN chat_messages m ON m.id = f.message_id LEFT JOIN hidden_messages g ON g.message_id = f.message_id \
         AND g.revision < f.revision AND (g.superseded_revision IS NULL OR g.superseded_revision > f.revision) \
         WHERE f.project_id = $ AND (m.project_id <> f.project_id OR f.revision <= m.revision OR f.revision > p.revision \
         OR f.superseded_revision <= f.revision OR f.superseded_revision > p.revision OR g.revision IS NOT NULL)",
    ),
];

/// On PostgreSQL, row-level security reads a member's role from a table that follows the project and its collaborators.
const MEMBERS_RULE: (&str, &str, &str) = (
    "member",
    "has access that differs from its role in the project",
    "SELECT coalesce(m.user_id, k.user_id) AS id FROM (SELECT m.user_id, m.role FROM project_members m WHERE m.project_id = $) m \
     FULL JOIN (SELECT p.user_id, 'owner' AS role FROM projects p WHERE p.id = $ UNION ALL \
     SELECT c.user_id, c.role FROM project_collaborators c JOIN projects p ON p.id = c.project_id AND p.user_id <> c.user_id \
     WHERE c.project_id = $ AND c.accepted_at IS NOT NULL) k ON k.user_id = m.user_id WHERE m.role IS DISTINCT FROM k.role",
);

/// The violations of [`RULES`] in a project: kind of object, its id, and the violation.
pub async fn breaches(operator: &Operator, project: ProjectId) -> Result<Vec<(&'static str, Uuid, &'static str)>> {
    let settings = super::agent_configuration::SETTINGS.split(", ");
    let differs: String = settings.map(|column| format!(" OR v.{column} IS DISTINCT FROM c.{column}")).collect();
    let mut breaches = Vec::new();
    let members = (!operator.is_sqlite()).then_some(&MEMBERS_RULE);
    for (of, wrong, found) in RULES.iter().chain(members) {
        let mut sql = Sql::new("");
        for (index, part) in found.replace("{differs}", &differs).split('$').enumerate() {
            if index > 0 {
                sql.bind(project.0);
            }
            sql.push(part);
        }
        breaches.extend(list(operator, sql, |row| Ok((*of, get(row, "id")?, *wrong))).await?);
    }
    Ok(breaches)
}

/// The e-mail addresses that are invited to a project.
pub async fn addresses(operator: &Operator, project: ProjectId) -> Result<Vec<String>> {
    let mut sql = Sql::new("SELECT email FROM project_invitations WHERE project_id = ");
    sql.bind(project.0);
    list(operator, sql, |row| get(row, "email")).await
}

/// A project's newest revision and its members.
pub struct LogEnd {
    /// Newest revision.
    pub revision: i32,
    /// Time of the newest revision.
    pub at: DateTime<Utc>,
    /// The owner and the collaborators who have accepted.
    pub members: HashSet<UserId>,
}

/// The newest revision and the members of each of these projects. Projects that do not exist are left out. Callers use
/// the result only to decide which logs to read again, on behalf of an actor.
pub async fn log_ends(tx: &Operator, projects: &[ProjectId]) -> Result<HashMap<ProjectId, LogEnd>> {
    /// PostgreSQL allows 65,535 values in a statement, SQLite half as many.
    const AT_ONCE: usize = 10_000;
    let mut log_ends: HashMap<ProjectId, LogEnd> = HashMap::with_capacity(projects.len());
    if !tx.is_sqlite() {
        tx.be_nobody().await?;
    }
    for projects in projects.chunks(AT_ONCE) {
        let ids = || projects.iter().map(|id| id.0);
        let mut sql = Sql::new("SELECT ");
        if tx.is_sqlite() {
            sql.push("p.id, p.revision, p.last_activity_at AS at, p.user_id AS member FROM projects p WHERE p.id IN ")
                .list(ids());
            sql.push(" UNION ALL SELECT p.id, p.revision, p.last_activity_at, c.user_id FROM projects p JOIN project_collaborators c ");
            sql.push("ON c.project_id = p.id AND c.accepted_at IS NOT NULL WHERE p.id IN ").list(ids());
        } else {
            // A server's login cannot see any project directly.
            sql.push("h.* FROM latest_revisions(ARRAY(SELECT p.id::uuid FROM (VALUES ");
            for (index, id) in ids().enumerate() {
                sql.push(if index == 0 { "(" } else { ", (" }).bind(id).push(")");
            }
            sql.push(") AS p (id))) AS h");
        }
        for row in tx.rows(sql).await? {
            let id = ProjectId(row.try_get("", "id").map_err(fail)?);
            let revision = row.try_get("", "revision").map_err(fail)?;
            let member = UserId(row.try_get("", "member").map_err(fail)?);
            let at: DateTime<Utc> = row.try_get("", "at").map_err(fail)?;
            log_ends
                .entry(id)
                .or_insert_with(|| LogEnd { revision, at, members: HashSet::new() })
                .members
                .insert(member);
        }
    }
    Ok(log_ends)
}

/// Whether the database refuses writes: on PostgreSQL a standby or a read-only setting, on SQLite a read-only or full
/// disk or a read-only file.
pub async fn is_read_only(tx: &Operator) -> Result<bool> {
    let asked = if tx.is_sqlite() {
        "SELECT file FROM pragma_database_list WHERE name = 'main'"
    } else {
        // This transaction is read-only itself, so read the default setting.
        "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS read_only"
    };
    let rows = tx.rows(Sql::new(asked)).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    if !tx.is_sqlite() {
        return row.try_get("", "read_only").map_err(fail);
    }
    let file: String = row.try_get("", "file").map_err(fail)?;
    Ok(refuses_writes(Path::new(&file)))
}
