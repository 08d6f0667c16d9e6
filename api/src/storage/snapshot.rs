//! `project_snapshots`.

use entity::project_snapshots;
use sea_orm::{FromQueryResult, QueryResult, Value};

use super::access::{self, Member, is_member};
use super::db::{Tx, fail};
use super::door::List;
use super::project;
use super::sql::{KeyKind, Order, Sql, pages};
use crate::model::error::{Error, Result};
use crate::model::file::Hash;
use crate::model::ids::{MessageId, ProjectId, ProjectSnapshotId, SessionId, UserId};
use crate::model::page::{Cursor, Key, Page, Slice};
use crate::model::project::Project;
use crate::model::snapshot::{ProjectSnapshot, automatic_name, first_line};

/// A snapshot with the event of the revision that made it, which says who, when and for what; of the checkpoint of an imported
/// commit with the beginning of its message.
const SELECT: &str = "SELECT s.*, e.created_at, e.actor_id, e.session_id, e.message_id, \
     e.kind = 'MESSAGE_ADDED' AS is_automatic, CASE WHEN e.kind = 'MESSAGE_ADDED' THEN (SELECT substr(m.content, 1, 1000) \
     FROM chat_messages m WHERE m.id = e.message_id AND CAST(m.metadata AS text) LIKE '%\"commit\":%') END AS committed \
     FROM project_snapshots s JOIN project_events e ON e.project_id = s.project_id AND e.revision = s.created_revision WHERE ";

const NEWEST_FIRST: Order = Order { columns: &[("s.created_revision", KeyKind::Number)], descending: true };

fn snapshot(row: &QueryResult) -> Result<ProjectSnapshot> {
    let created_at: chrono::DateTime<chrono::Utc> = row.try_get("", "created_at").map_err(fail)?;
    let created_by: Option<uuid::Uuid> = row.try_get("", "actor_id").map_err(fail)?;
    let session_id: Option<uuid::Uuid> = row.try_get("", "session_id").map_err(fail)?;
    let message_id: Option<uuid::Uuid> = row.try_get("", "message_id").map_err(fail)?;
    let is_automatic: bool = row.try_get("", "is_automatic").map_err(fail)?;
    let committed: Option<String> = row.try_get("", "committed").map_err(fail)?;
    let committed = committed.as_deref().and_then(first_line);
    let row = project_snapshots::Model::from_query_result(row, "").map_err(fail)?;
    Ok(ProjectSnapshot {
        id: ProjectSnapshotId(row.id),
        project_id: ProjectId(row.project_id),
        revision: row.revision,
        created_revision: row.created_revision,
        name: row.name.or(committed).or_else(|| is_automatic.then(|| automatic_name(created_at))),
        description: row.description,
        file_count: row.file_count,
        manifest: hash(row.manifest_sha256)?,
        created_at,
        created_by: created_by.map(UserId),
        session_id: session_id.map(SessionId),
        message_id: message_id.map(MessageId),
    })
}

/// A stored SHA-256.
pub(super) fn hash(bytes: Vec<u8>) -> Result<Hash> {
    Hash::try_from(bytes).map_err(|_| Error::internal("the database holds a hash of a wrong length"))
}

/// The snapshots among `ids` in the actor's projects.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn by_ids(tx: &Tx, ids: &[ProjectSnapshotId]) -> Result<Vec<ProjectSnapshot>> {
    let mut sql = Sql::new(SELECT);
    sql.push("s.id IN ").list(ids.iter().map(|id| id.0)).push(" AND ");
    is_member(&mut sql, "s.project_id", tx.me());
    let found = tx.rows(sql).await?.iter().map(snapshot).collect::<Result<Vec<_>>>()?;
    access::opened(tx, found.iter().map(|snapshot| snapshot.project_id));
    Ok(found)
}

/// The snapshots that these revisions made.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn by_created_revisions(tx: &Tx, revisions: &[(Member<'_>, i32)]) -> Result<Vec<ProjectSnapshot>> {
    let mut sql = Sql::new(SELECT);
    sql.pairs("(s.project_id, s.created_revision)", revisions.iter().copied());
    tx.rows(sql).await?.iter().map(snapshot).collect()
}

/// Adds the condition that a snapshot was made at or before a revision.
fn keep(sql: &mut Sql, until: Option<i32>) -> &mut Sql {
    match until {
        Some(until) => sql.push(" AND s.created_revision <= ").bind(until),
        None => sql,
    }
}

/// The snapshots of each project, newest first, up to a revision where one is given.
///
/// # Errors
/// `BadInput` for a cursor of another list; `Internal` where the database fails.
pub async fn page(
    tx: &Tx,
    projects: &[Member<'_>],
    until: Option<i32>,
    page: &Page,
) -> Result<Vec<(ProjectId, Slice<ProjectSnapshot>)>> {
    let sql = pages(projects, NEWEST_FIRST, page, |sql, project| {
        keep(sql.push(SELECT).push("s.project_id = ").bind(project), until);
    })?;
    let rows = tx.rows(sql).await?;
    let rows = rows.iter().map(|row| {
        let row = snapshot(row)?;
        Ok((row.project_id, Cursor(vec![Key::Number(row.created_revision.into())]), row))
    });
    Ok(super::group(rows.collect::<Result<_>>()?, page))
}

/// A project of the actor's, and its snapshots as [`page`] lists them.
///
/// # Errors
/// `BadInput` for a cursor of another list; `Internal` where the database fails.
pub async fn project_with_page(
    tx: &Tx,
    project: ProjectId,
    until: Option<i32>,
    page: &Page,
) -> Result<Option<(Project, Slice<ProjectSnapshot>)>> {
    let select = |sql: &mut Sql| {
        keep(sql.push(SELECT).push("s.project_id = ").bind(project.0), until);
    };
    let read = |row: &QueryResult| {
        let row = snapshot(row)?;
        Ok((Cursor(vec![Key::Number(row.created_revision.into())]), row))
    };
    project::with_list(tx, project, List { order: NEWEST_FIRST, page, select: &select, read: &read }).await
}

/// How many snapshots each project has.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn count(tx: &Tx, projects: &[Member<'_>], until: Option<i32>) -> Result<Vec<(ProjectId, i64)>> {
    let mut sql =
        Sql::new("SELECT s.project_id AS parent, count(*) AS n FROM project_snapshots s WHERE s.project_id IN ");
    keep(sql.list(projects.iter().copied()), until).push(" GROUP BY s.project_id");
    Ok(tx.counts(sql).await?.into_iter().map(|(id, n)| (ProjectId(id), n)).collect())
}

/// Adds a snapshot. Its event is the caller's to append.
///
/// # Errors
/// `Internal` if the database fails.
pub async fn insert(tx: &Tx, new: &ProjectSnapshot) -> Result<()> {
    const INSERT: &str = "INSERT INTO project_snapshots (id, project_id, revision, created_revision, file_count, manifest_sha256, \
        name, description) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let values: [Value; 8] = [
        new.id.0.into(),
        new.project_id.0.into(),
        new.revision.into(),
        new.created_revision.into(),
        new.file_count.into(),
        new.manifest.to_vec().into(),
        new.name.clone().into(),
        new.description.clone().into(),
    ];
    tx.execute(Sql::with(INSERT, values)).await?;
    Ok(())
}

/// A checkpoint's snapshot with what was written for its message, which it follows.
#[derive(Clone, Copy, Debug)]
pub struct Follow {
    /// The snapshot.
    pub id: ProjectSnapshotId,
    /// How many files there are now.
    pub file_count: i32,
    /// Their manifest.
    pub manifest: Hash,
}

/// Lets a checkpoint's snapshot follow a revision of a locked project.
pub(super) async fn follow(tx: &Tx, follow: Follow, revision: i32) -> Result<()> {
    const FOLLOW: &str =
        "UPDATE project_snapshots SET revision = $2, file_count = $3, manifest_sha256 = $4 WHERE id = $1";
    let values: [Value; 4] =
        [follow.id.0.into(), revision.into(), follow.file_count.into(), follow.manifest.to_vec().into()];
    tx.execute(Sql::with(FOLLOW, values)).await?;
    Ok(())
}
