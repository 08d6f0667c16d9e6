//! `project_snapshots`.

use entity::project_snapshots;
use sea_orm::{FromQueryResult, QueryResult, Value};

use super::access::{self, Member, is_member};
use super::columns::{Long, TEXT, by_keys, columns};
use super::db::{Tx, fail};
use super::door::ListQuery;
use super::project;
use super::sql::{Order, Sql, pages};
use crate::model::error::{Error, Result};
use crate::model::file::Hash;
use crate::model::ids::{MessageId, ProjectId, ProjectSnapshotId, SessionId, UserId};
use crate::model::long_columns::{LongColumn, LongColumns, Needing};
use crate::model::page::{Cursor, Key, KeyKind, Page, Slice};
use crate::model::project::Project;
use crate::model::snapshot::{ProjectSnapshot, SnapshotChanges, SnapshotFilter, automatic_name, first_line};

const LONG: [Long<project_snapshots::Column>; 1] =
    [(project_snapshots::Column::Description, LongColumn::SnapshotDescription, TEXT)];

/// The author, time and context of the event of a snapshot's revision; for an imported commit, with the start of its
/// message.
const CONTEXT: &str = ", e.created_at, e.actor_id, e.session_id, e.message_id, \
     e.kind = 'MESSAGE_ADDED' AS is_automatic, CASE WHEN e.kind = 'MESSAGE_ADDED' THEN (SELECT substr(m.content, 1, 1000) \
     FROM chat_messages m WHERE m.id = e.message_id AND CAST(m.metadata AS text) LIKE '%\"commit\":%') END AS committed";

const FROM: &str = " FROM project_snapshots s JOIN project_events e ON e.project_id = s.project_id AND e.revision = s.created_revision";

const NOT_DELETED: &str = " WHERE s.deleted_revision IS NULL AND ";

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
        description: row.description.map(Into::into),
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
    Hash::try_from(bytes).map_err(|_| Error::internal("a stored hash has a wrong length"))
}

/// Adds the columns of the snapshots `s` and of their events `e`.
fn snapshot_columns(sql: &mut Sql, needed: LongColumns) -> &mut Sql {
    columns::<project_snapshots::Entity>(sql, ("s", ""), &LONG, needed);
    sql.push(CONTEXT)
}

/// Adds `SELECT …` of snapshots that are not deleted, inside the `WHERE`.
fn select(sql: &mut Sql, needed: LongColumns) -> &mut Sql {
    snapshot_columns(sql.push("SELECT "), needed).push(FROM).push(NOT_DELETED)
}

/// The snapshots among `ids` in the actor's projects that are not deleted.
pub async fn by_ids(tx: &Tx, ids: &[impl Copy + Into<Needing<ProjectSnapshotId>>]) -> Result<Vec<ProjectSnapshot>> {
    let sql = by_keys(tx, ids, |sql, needed, ids: &[ProjectSnapshotId]| {
        select(sql, needed).push("s.id IN ").list(ids.iter().map(|id| id.0)).push(" AND ");
        is_member(sql, "s.project_id", tx.me());
    });
    let found = tx.rows(sql).await?.iter().map(snapshot).collect::<Result<Vec<_>>>()?;
    access::opened(tx, found.iter().map(|snapshot| snapshot.project_id));
    Ok(found)
}

/// The snapshots that these revisions created, unless they are deleted.
pub async fn by_created_revisions(tx: &Tx, revisions: &[(Member<'_>, i32)]) -> Result<Vec<ProjectSnapshot>> {
    let mut sql = Sql::new("");
    select(&mut sql, tx.needed()).pairs("(s.project_id, s.created_revision)", revisions.iter().copied());
    tx.rows(sql).await?.iter().map(snapshot).collect()
}

/// The snapshots that these revisions created, renamed or deleted. A deleted snapshot is returned only for the revision
/// that deleted it.
pub async fn by_revisions(tx: &Tx, revisions: &[(Member<'_>, i32)]) -> Result<Vec<(i32, ProjectSnapshot)>> {
    let mut sql = Sql::new("SELECT c.event_revision, ");
    snapshot_columns(&mut sql, tx.needed())
        .push(" FROM (SELECT n.id, n.created_revision AS event_revision FROM project_snapshots n WHERE ");
    sql.pairs("(n.project_id, n.created_revision)", revisions.iter().copied());
    sql.push(" UNION ALL SELECT n.snapshot_id, n.revision FROM project_snapshot_changes n WHERE ");
    sql.pairs("(n.project_id, n.revision)", revisions.iter().copied());
    sql.push(") c JOIN project_snapshots s ON s.id = c.id JOIN project_events e ON e.project_id = s.project_id ");
    sql.push(
        "AND e.revision = s.created_revision WHERE s.deleted_revision IS NULL OR s.deleted_revision = c.event_revision",
    );
    let rows = tx.rows(sql).await?;
    rows.iter().map(|row| Ok((row.try_get("", "event_revision").map_err(fail)?, snapshot(row)?))).collect()
}

/// The displayed name.
fn shown_name(tx: &Tx) -> String {
    let (automatic, find) = match tx.is_sqlite() {
        true => ("strftime('Auto-snapshot: %Y-%m-%d %H:%M', e.created_at)", "instr"),
        false => ("to_char(e.created_at AT TIME ZONE 'UTC', '\"Auto-snapshot: \"YYYY-MM-DD HH24:MI')", "strpos"),
    };
    let (feed, spaces) = match tx.is_sqlite() {
        true => ("char(10)", "' ' || char(9, 10, 13)"),
        false => ("chr(10)", "' ' || chr(9) || chr(10) || chr(13)"),
    };
    format!(
        "coalesce(s.name, CASE WHEN e.kind = 'MESSAGE_ADDED' THEN coalesce((SELECT nullif(substr(t.text, 1, \
         {find}(t.text || {feed}, {feed}) - 1), '') FROM (SELECT ltrim(substr(m.content, 1, 1000), {spaces}) AS text \
         FROM chat_messages m WHERE m.id = e.message_id AND CAST(m.metadata AS text) LIKE '%\"commit\":%') t), {automatic}) END)"
    )
}

/// Adds the conditions of a filter.
fn keep(tx: &Tx, sql: &mut Sql, filter: &SnapshotFilter) {
    if let Some(until) = filter.until {
        sql.push(" AND s.created_revision <= ").bind(until);
    }
    if let Some(message) = filter.message {
        sql.push(" AND e.message_id = ").bind(message.0);
    }
    if let Some(search) = &filter.search {
        let name = shown_name(tx);
        sql.push(" AND (")
            .contains(tx.is_sqlite(), &name, search)
            .push(" OR ")
            .contains(tx.is_sqlite(), "s.description", search)
            .push(")");
    }
}

/// The snapshots of each project, newest first.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn page(
    tx: &Tx,
    projects: &[Member<'_>],
    filter: &SnapshotFilter,
    page: &Page,
) -> Result<Vec<(ProjectId, Slice<ProjectSnapshot>)>> {
    let sql = pages(projects, NEWEST_FIRST, page, |sql, project| {
        select(sql, tx.needed_of(page)).push("s.project_id = ").bind(project);
        keep(tx, sql, filter);
    })?;
    let rows = tx.rows(sql).await?;
    let rows = rows.iter().map(|row| {
        let row = snapshot(row)?;
        Ok((row.project_id, Cursor(vec![Key::Number(row.created_revision.into())]), row))
    });
    Ok(super::group(rows.collect::<Result<_>>()?, page))
}

/// A project of the actor, and its snapshots as [`page`] returns them.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn project_with_page(
    tx: &Tx,
    project: Needing<ProjectId>,
    filter: &SnapshotFilter,
    page: &Page,
) -> Result<Option<(Project, Slice<ProjectSnapshot>)>> {
    let select = |sql: &mut Sql| {
        select(sql, tx.needed_of(page)).push("s.project_id = ").bind(project.0.0);
        keep(tx, sql, filter);
    };
    let read = |row: &QueryResult| {
        let row = snapshot(row)?;
        Ok((Cursor(vec![Key::Number(row.created_revision.into())]), row))
    };
    project::with_list(tx, project, ListQuery { order: NEWEST_FIRST, page, select: &select, read: &read }).await
}

/// The number of snapshots per project.
pub async fn count(tx: &Tx, projects: &[Member<'_>], filter: &SnapshotFilter) -> Result<Vec<(ProjectId, i64)>> {
    let mut sql = Sql::new("SELECT s.project_id AS parent, count(*) AS n");
    sql.push(FROM).push(NOT_DELETED).push("s.project_id IN ").list(projects.iter().copied());
    keep(tx, &mut sql, filter);
    sql.push(" GROUP BY s.project_id");
    Ok(tx.counts(sql).await?.into_iter().map(|(id, n)| (ProjectId(id), n)).collect())
}

/// Renames a snapshot of a locked project.
pub async fn rename(tx: &Tx, id: ProjectSnapshotId, changes: SnapshotChanges) -> Result<()> {
    for (column, value) in [("name", changes.name), ("description", changes.description)] {
        if let Some(value) = value {
            let mut sql = Sql::new("UPDATE project_snapshots SET ");
            sql.push(column).push(" = ").bind(value).push(" WHERE id = ").bind(id.0);
            tx.execute(sql).await?;
        }
    }
    Ok(())
}

/// Deletes a snapshot of a locked project. Its revision is kept.
pub async fn delete(tx: &Tx, id: ProjectSnapshotId, revision: i32) -> Result<()> {
    const DELETE: &str = "UPDATE project_snapshots SET deleted_revision = $2 WHERE id = $1";
    tx.execute(Sql::with(DELETE, [id.0.into(), revision.into()])).await?;
    Ok(())
}

/// Records the snapshot that the newest revision of a locked project has renamed or deleted.
pub async fn note_change(tx: &Tx, project: ProjectId, revision: i32, id: ProjectSnapshotId) -> Result<()> {
    const NOTE: &str = "INSERT INTO project_snapshot_changes (project_id, revision, snapshot_id) VALUES ($1, $2, $3)";
    tx.execute(Sql::with(NOTE, [project.0.into(), revision.into(), id.0.into()])).await?;
    Ok(())
}

/// Adds a snapshot. The caller appends its event.
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
        new.description.as_deref().into(),
    ];
    tx.execute(Sql::with(INSERT, values)).await?;
    Ok(())
}

/// The new state of a checkpoint's snapshot, which includes later writes for the same message.
#[derive(Clone, Copy, Debug)]
pub struct Follow {
    /// The snapshot.
    pub id: ProjectSnapshotId,
    /// The number of files.
    pub file_count: i32,
    /// The hash of the manifest.
    pub manifest: Hash,
}

/// Moves a checkpoint's snapshot to a later revision of a locked project.
pub(super) async fn follow(tx: &Tx, follow: Follow, revision: i32) -> Result<()> {
    const FOLLOW: &str =
        "UPDATE project_snapshots SET revision = $2, file_count = $3, manifest_sha256 = $4 WHERE id = $1";
    let values: [Value; 4] =
        [follow.id.0.into(), revision.into(), follow.file_count.into(), follow.manifest.to_vec().into()];
    tx.execute(Sql::with(FOLLOW, values)).await?;
    Ok(())
}
