//! `file_snapshots` as versions of a file, and as changes of a project.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sea_orm::QueryResult;
use uuid::Uuid;

use super::access::{self, Member, is_member};
use super::cells::Cells;
use super::columns::by_keys;
use super::db::{Tx, fail, unknown};
use super::door::{self, ListQuery};
use super::file::{FILES_NOW, below, file_from, get, mode, place};
use super::project;
use super::save;
use super::snapshot::hash;
use super::sql::{Order, ROWS_PER_STATEMENT, Sql, pages, union};
use crate::model::enums::{ChangeType, EventKind};
use crate::model::error::Result;
use crate::model::file::{ChangeDescription, ChangeFilter, File, FileSnapshot};
use crate::model::ids::{FileId, FileSnapshotId, MessageId, ProjectId, SessionId, UserId, Within};
use crate::model::long_columns::{LongColumn, LongColumns, Needing};
use crate::model::page::{Cursor, Key, KeyKind, Page, Slice};
use crate::model::path::FilePath;
use crate::model::project::Project;

/// `SELECT …` of versions `v`, and the author, time and context of the event of their revisions, up to the `WHERE`. Without
/// contents, what depends on them is left out: looking up the contents of many versions takes a quarter of the time.
fn select_versions(needed: LongColumns, has_contents: bool) -> String {
    // [`describe`] reads longer ones: all changes of a write have the same description, and SQLite would sort each with its row.
    let short = format!("CASE WHEN octet_length(e.description) <= {SHORT_BYTES} THEN e.description END");
    let description = if needed.has(LongColumn::ChangeDescription) { &short } else { "NULL" };
    let (of_content, contents) = if has_contents {
        (
            "v.additions, v.deletions, v.mode, v.restored_version, b.sha256, b.size",
            "LEFT JOIN blobs b ON b.id = v.blob_id ",
        )
    } else {
        let nulls = "NULL AS additions, NULL AS deletions, NULL AS mode, NULL AS restored_version, NULL AS sha256, NULL AS size";
        (nulls, "")
    };
    format!(
        "SELECT v.id, v.project_id, v.file_id, v.revision, v.version, v.version_offset, v.change_type, v.path, \
         e.actor_id, e.session_id, e.message_id, {description} AS description, e.description IS NOT NULL AS is_described, e.created_at, {of_content}, e.kind \
         FROM file_snapshots v \
         JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision {contents}"
    )
}

/// Descriptions of up to this many bytes are read with their rows.
const SHORT_BYTES: usize = 1000;

const NEWEST_CHANGE_FIRST: Order =
    Order { columns: &[("v.revision", KeyKind::Number), ("v.id", KeyKind::Id)], descending: true };
const NEWEST_VERSION_FIRST: Order = Order { columns: &[("v.version", KeyKind::Number)], descending: true };

fn version(row: &QueryResult) -> Result<FileSnapshot> {
    let mut cells = Cells::at(row, "id")?;
    let (id, project_id, file_id) = (FileSnapshotId(cells.next()?), ProjectId(cells.next()?), FileId(cells.next()?));
    let (revision, version, version_offset) = (cells.next()?, cells.next()?, cells.next()?);
    let change_type: &str = cells.next()?;
    let change_type = ChangeType::from_stored(change_type).ok_or_else(|| unknown("kind of change", change_type))?;
    Ok(FileSnapshot {
        id,
        project_id,
        file_id,
        revision,
        version,
        version_offset,
        follows: version - 1,
        change_type,
        path: FilePath::from_stored(cells.next()?),
        created_by: cells.next::<Option<Uuid>>()?.map(UserId),
        session_id: cells.next::<Option<Uuid>>()?.map(SessionId),
        message_id: cells.next::<Option<Uuid>>()?.map(MessageId),
        change_description: match (cells.next::<Option<&str>>()?, cells.next::<bool>()?) {
            (Some(text), _) => ChangeDescription::Text(text.into()),
            (None, true) => ChangeDescription::Unread,
            (None, false) => ChangeDescription::None,
        },
        created_at: cells.next()?,
        // The others are null in a list without contents.
        additions: cells.next::<Option<i32>>()?.unwrap_or_default(),
        deletions: cells.next::<Option<i32>>()?.unwrap_or_default(),
        mode: mode(cells.next::<Option<i16>>()?.unwrap_or_default())?,
        restores: cells.next()?,
        hash: cells.next::<Option<Vec<u8>>>()?.map(hash).transpose()?,
        size_bytes: cells.next::<Option<i32>>()?.unwrap_or_default(),
    })
}

async fn versions(tx: &Tx, sql: Sql, needed: LongColumns) -> Result<Vec<FileSnapshot>> {
    let mut rows = tx.rows(sql).await?.iter().map(version).collect::<Result<Vec<_>>>()?;
    describe(tx, &mut rows, needed).await?;
    Ok(rows)
}

/// Reads the long descriptions of changes, each once, if they are needed.
async fn describe(tx: &Tx, rows: impl IntoIterator<Item = &mut FileSnapshot>, needed: LongColumns) -> Result<()> {
    if !needed.has(LongColumn::ChangeDescription) {
        return Ok(());
    }
    let is_unread = |row: &&mut FileSnapshot| matches!(row.change_description, ChangeDescription::Unread);
    let mut rows: Vec<_> = rows.into_iter().filter(is_unread).collect();
    let write = |row: &FileSnapshot| (row.project_id.0, row.revision);
    let writes: BTreeSet<(Uuid, i32)> = rows.iter().map(|row| write(row)).collect();
    let mut texts: HashMap<(Uuid, i32), Arc<str>> = HashMap::new();
    for writes in Vec::from_iter(writes).chunks(ROWS_PER_STATEMENT) {
        let mut sql = Sql::new("SELECT e.project_id, e.revision, e.description FROM project_events e WHERE ");
        sql.pairs("(e.project_id, e.revision)", writes.iter().copied()).push(" AND ");
        is_member(&mut sql, "e.project_id", tx.me());
        for row in tx.rows(sql).await? {
            let text: String = get(&row, "description")?;
            texts.insert((get(&row, "project_id")?, get(&row, "revision")?), text.into());
        }
    }
    for row in &mut rows {
        if let Some(text) = texts.get(&write(row)) {
            row.change_description = ChangeDescription::Text(text.clone());
        }
    }
    Ok(())
}

/// The rows of a list with autosave coalescing.
async fn joined(
    tx: &Tx,
    mut sql: Sql,
    autosave_coalesce_seconds: u32,
    needed: LongColumns,
) -> Result<Vec<FileSnapshot>> {
    save::with_follows(&mut sql, tx, autosave_coalesce_seconds);
    let joined = |row| Ok(FileSnapshot { follows: get(row, "follows")?, ..version(row)? });
    let read = if autosave_coalesce_seconds > 0 { joined } else { version };
    let mut rows = tx.rows(sql).await?.iter().map(read).collect::<Result<Vec<_>>>()?;
    describe(tx, &mut rows, needed).await?;
    Ok(rows)
}

/// The versions among `ids` in the actor's projects.
pub async fn versions_by_ids(tx: &Tx, ids: &[Needing<FileSnapshotId>]) -> Result<Vec<FileSnapshot>> {
    let sql = by_keys(tx, ids, |sql, needed, ids: &[FileSnapshotId]| {
        sql.push(&select_versions(needed, true)).push("WHERE v.id IN ").list(ids.iter().map(|id| id.0)).push(" AND ");
        is_member(sql, "v.project_id", tx.me());
    });
    let mut found = tx.rows(sql).await?.iter().map(version).collect::<Result<Vec<_>>>()?;
    let described = ids.iter().filter(|Needing(_, columns)| columns.has(LongColumn::ChangeDescription));
    let described: HashSet<FileSnapshotId> = described.map(|Needing(id, _)| *id).collect();
    let described: Vec<_> = found.iter_mut().filter(|row| described.contains(&row.id)).collect();
    describe(tx, described, tx.needed()).await?;
    access::opened(tx, found.iter().map(|version| version.project_id));
    Ok(found)
}

/// The versions of files with these numbers.
pub async fn versions_by_numbers(tx: &Tx, keys: &[(Member<'_>, (FileId, i32))]) -> Result<Vec<FileSnapshot>> {
    let mut sql = Sql::new(&select_versions(tx.needed(), true));
    sql.push("WHERE ").pairs("(v.file_id, v.version)", keys.iter().map(|(_, (file, version))| (file.0, *version)));
    access::inside(sql.push(" AND "), "v.project_id", keys);
    versions(tx, sql, tx.needed()).await
}

/// The versions of each file, newest first. Without contents, their hashes and sizes are left out.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn versions_page(
    tx: &Tx,
    of: &[(Member<'_>, FileId)],
    has_contents: bool,
    page: &Page,
) -> Result<Vec<(Within<FileId>, Slice<FileSnapshot>)>> {
    let number = |cursor: &Option<Cursor>| match cursor.as_ref()?.0.as_slice() {
        [Key::Number(number)] => Some(*number),
        _ => None,
    };
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX - 1) + 1;
    // Versions are numbered without gaps, so a page is a range of numbers, and one join reads the ranges of all files.
    // The ranges are computed first: with row-level security, an expression on a row's columns cannot become an index
    // condition.
    let mut sql = Sql::new("WITH w AS MATERIALIZED (SELECT f.id, ");
    if page.from_end {
        let first = number(&page.before).unwrap_or(0).max(0).saturating_add(1);
        sql.bind(first).push(" AS first, ").bind(first.saturating_add(limit)).push(" AS stop");
    } else {
        let stop = number(&page.after).unwrap_or(i64::MAX).max(0);
        for (name, less) in [("first", limit), ("stop", 0)] {
            sql.push("CASE WHEN f.version < ").bind(stop).push(" THEN f.version + 1 ELSE ").bind(stop).push(" END - ");
            sql.bind(less).push(" AS ").push(name).push(if less == 0 { "" } else { ", " });
        }
    }
    access::among(sql.push(" FROM project_files f WHERE "), ("f.project_id", "f.id"), of);
    sql.push(") ").push(&select_versions(tx.needed_of(page), has_contents));
    sql.push("JOIN w ON w.id = v.file_id AND v.version >= w.first AND v.version < w.stop WHERE TRUE");
    NEWEST_VERSION_FIRST.between(&mut sql, page)?;
    NEWEST_VERSION_FIRST.order(&mut sql, page);
    let rows = versions(tx, sql, tx.needed_of(page)).await?;
    Ok(super::group(rows.into_iter().map(version_of_file).collect(), page))
}

/// A version with the file whose list it is in, and its cursor.
fn version_of_file(row: FileSnapshot) -> (Within<FileId>, Cursor, FileSnapshot) {
    let file = Within { project: row.project_id, id: row.file_id };
    (file, Cursor(vec![Key::Number(row.version.into())]), row)
}

/// A file in one of the actor's projects, and its versions as [`versions_page`] returns them.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn file_with_versions(
    tx: &Tx,
    id: FileId,
    has_contents: bool,
    page: &Page,
) -> Result<Option<(File, Slice<FileSnapshot>)>> {
    let door = |sql: &mut Sql| {
        sql.push(&FILES_NOW.replacen("v.id", "v.id AS door_id", 1)).push("v.id = ").bind(id.0).push(" AND ");
        is_member(sql, "v.project_id", tx.me());
    };
    let row = |row: &QueryResult| {
        let row = file_from(row, "door_id")?;
        Ok((row.project_id, row))
    };
    let select = |sql: &mut Sql| {
        sql.push(&select_versions(tx.needed_of(page), has_contents)).push("WHERE v.file_id = ").bind(id.0);
    };
    let read = |row: &QueryResult| {
        let (_, place, row) = version_of_file(version(row)?);
        Ok((place, row))
    };
    let list = ListQuery { order: NEWEST_VERSION_FIRST, page, select: &select, read: &read };
    described(tx, door::open(tx, door, row, list).await?, page).await
}

/// As [`versions_page`], optionally up to a revision, with autosaves coalesced that are at most this many seconds
/// apart.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn coalesced_versions_page(
    tx: &Tx,
    of: &[(Member<'_>, FileId)],
    (autosave_coalesce_seconds, until): (u32, Option<i32>),
    page: &Page,
) -> Result<Vec<(Within<FileId>, Slice<FileSnapshot>)>> {
    let sql = pages(of, NEWEST_VERSION_FIRST, page, |sql, (project, file)| {
        sql.push(&select_versions(tx.needed_of(page), true))
            .push("WHERE v.file_id = ")
            .bind(file.0)
            .push(" AND v.project_id = ")
            .bind(project);
        if let Some(until) = until {
            sql.push(" AND v.revision <= ").bind(until);
        }
        save::keep_last(sql, tx, autosave_coalesce_seconds, until);
    })?;
    let rows = joined(tx, sql, autosave_coalesce_seconds, tx.needed_of(page)).await?;
    Ok(super::group(rows.into_iter().map(version_of_file).collect(), page))
}

/// Total length of the list of [`coalesced_versions_page`], per file.
pub async fn coalesced_versions_count(
    tx: &Tx,
    of: &[(Member<'_>, FileId)],
    (autosave_coalesce_seconds, until): (u32, Option<i32>),
) -> Result<Vec<(Within<FileId>, i64)>> {
    let mut sql = Sql::new("SELECT v.project_id, v.file_id AS parent, count(*) AS n FROM file_snapshots v ");
    sql.push("JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision WHERE ");
    access::among(&mut sql, ("v.project_id", "v.file_id"), of);
    if let Some(until) = until {
        sql.push(" AND v.revision <= ").bind(until);
    }
    save::keep_last(&mut sql, tx, autosave_coalesce_seconds, until);
    sql.push(" GROUP BY v.project_id, v.file_id");
    tx.rows(sql).await?.iter().map(|row| access::counted(row, FileId)).collect()
}

fn keep_changes(sql: &mut Sql, tx: &Tx, project: ProjectId, keep: &ChangeFilter) {
    sql.push("v.project_id = ").bind(project.0);
    for (column, id) in [("session_id", keep.session_id.map(|id| id.0)), ("message_id", keep.message_id.map(|id| id.0))]
    {
        if let Some(id) = id {
            // The same condition as in the partial indexes of project_events.
            sql.push(" AND v.revision IN (SELECT w.revision FROM project_events w WHERE w.project_id = ")
                .bind(project.0);
            sql.push(" AND w.kind IN ('FILES_CHANGED', 'PROJECT_RESTORED') AND w.")
                .push(column)
                .push(" = ")
                .bind(id)
                .push(")");
        }
    }
    if let Some(file) = keep.file_id {
        sql.push(" AND v.file_id = ").bind(file.0);
    }
    if let Some((of, folder)) = &keep.folder {
        below(sql.push(" AND "), "v.path", folder).push(" AND v.project_id = ").bind(of.0);
    }
    if let Some(path) = &keep.path {
        sql.push(" AND v.path = ").bind(path.as_str());
    }
    if let Some(change_type) = keep.change_type {
        sql.push(" AND v.change_type = ").bind(change_type.as_str());
    }
    if let Some(until) = keep.until {
        sql.push(" AND v.revision <= ").bind(until);
    }
    save::keep_last(sql, tx, keep.autosave_coalesce_seconds, keep.until);
}

/// The changes of each project, newest first (`file_change_history`).
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn changes_page(
    tx: &Tx,
    projects: &[Member<'_>],
    keep: &ChangeFilter,
    page: &Page,
) -> Result<Vec<(ProjectId, Slice<FileSnapshot>)>> {
    let sql = pages(projects, NEWEST_CHANGE_FIRST, page, |sql, project| {
        keep_changes(sql.push(&select_versions(tx.needed_of(page), true)).push("WHERE "), tx, project.project(), keep);
    })?;
    let rows = joined(tx, sql, keep.autosave_coalesce_seconds, tx.needed_of(page)).await?.into_iter();
    let rows = rows.map(|row| (row.project_id, place_of_change(&row), row));
    Ok(super::group(rows.collect(), page))
}

fn place_of_change(row: &FileSnapshot) -> Cursor {
    Cursor(vec![Key::Number(row.revision.into()), Key::Id(row.id.0)])
}

/// A project of the actor, and its changes as [`changes_page`] returns them without autosave coalescing.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn project_with_changes(
    tx: &Tx,
    project: Needing<ProjectId>,
    keep: &ChangeFilter,
    page: &Page,
) -> Result<Option<(Project, Slice<FileSnapshot>)>> {
    let select = |sql: &mut Sql| {
        keep_changes(sql.push(&select_versions(tx.needed_of(page), true)).push("WHERE "), tx, project.0, keep)
    };
    let read = |row: &QueryResult| {
        let row = version(row)?;
        Ok((place_of_change(&row), row))
    };
    let list = ListQuery { order: NEWEST_CHANGE_FIRST, page, select: &select, read: &read };
    described(tx, project::with_list(tx, project, list).await?, page).await
}

/// A row with a list, with the descriptions of the rows of the list.
async fn described<R>(
    tx: &Tx,
    mut found: Option<(R, Slice<FileSnapshot>)>,
    page: &Page,
) -> Result<Option<(R, Slice<FileSnapshot>)>> {
    if let Some((_, list)) = &mut found {
        describe(tx, list.rows.iter_mut().map(|(_, row)| row), tx.needed_of(page)).await?;
    }
    Ok(found)
}

/// Total length of the list of [`changes_page`], per project.
pub async fn changes_count(tx: &Tx, projects: &[Member<'_>], keep: &ChangeFilter) -> Result<Vec<(ProjectId, i64)>> {
    let mut sql = Sql::new("");
    for (index, project) in projects.iter().enumerate() {
        sql.push(if index == 0 { "" } else { " UNION ALL " });
        sql.push("SELECT v.project_id AS parent, count(*) AS n FROM file_snapshots v ");
        if keep.autosave_coalesce_seconds > 0 {
            sql.push("JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision ");
        }
        keep_changes(sql.push("WHERE "), tx, project.project(), keep);
        sql.push(" GROUP BY v.project_id");
    }
    Ok(tx.counts(sql).await?.into_iter().map(|(id, n)| (ProjectId(id), n)).collect())
}

/// The changes of these revisions, oldest first.
pub async fn changes_of_revisions(tx: &Tx, revisions: &[(Member<'_>, i32)]) -> Result<Vec<FileSnapshot>> {
    let mut sql = Sql::new(&select_versions(tx.needed(), true));
    sql.push("WHERE ").pairs("(v.project_id, v.revision)", revisions.iter().copied());
    sql.push(" ORDER BY v.revision, v.id");
    versions(tx, sql, tx.needed()).await
}

/// The number of changes in a revision, with the lines that they added and removed, and the first changes by path.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ChangeSummary {
    pub count: i64,
    pub additions: i64,
    pub deletions: i64,
    pub first: Vec<FileSnapshot>,
}

/// Summaries of the changes in revisions of a project, with at most `limit` changes each. Revisions without changes are left
/// out.
pub async fn summaries(
    tx: &Tx,
    project: Member<'_>,
    revisions: &[i32],
    limit: i32,
) -> Result<HashMap<i32, ChangeSummary>> {
    let mut sql = Sql::new("SELECT v.revision, count(*) AS n, CAST(sum(v.additions) AS bigint) AS additions, ");
    sql.push("CAST(sum(v.deletions) AS bigint) AS deletions FROM file_snapshots v WHERE v.project_id = ").bind(project);
    sql.push(" AND v.revision IN ").list(revisions.iter().copied()).push(" GROUP BY v.revision");
    let mut summaries = HashMap::new();
    for row in tx.rows(sql).await? {
        let get = |column: &str| row.try_get::<i64>("", column).map_err(fail);
        let (count, additions, deletions) = (get("n")?, get("additions")?, get("deletions")?);
        let revision: i32 = row.try_get("", "revision").map_err(fail)?;
        summaries.insert(revision, ChangeSummary { count, additions, deletions, first: Vec::new() });
    }
    let changed: Vec<i32> = summaries.keys().copied().collect();
    let sql = union(&changed, |sql, revision| {
        sql.push(&select_versions(tx.needed(), true))
            .push("WHERE v.project_id = ")
            .bind(project)
            .push(" AND v.revision = ")
            .bind(revision);
        sql.push(" ORDER BY v.path, v.id LIMIT ").bind(limit);
        Ok(())
    })?;
    for change in versions(tx, sql, tx.needed()).await? {
        summaries.entry(change.revision).or_default().first.push(change);
    }
    Ok(summaries)
}

/// The changes that were made for these messages, oldest first.
pub async fn changes_of_messages(tx: &Tx, messages: &[(Member<'_>, MessageId)]) -> Result<Vec<FileSnapshot>> {
    let mut sql = Sql::new(&select_versions(tx.needed(), true));
    sql.push("WHERE e.kind IN ('FILES_CHANGED', 'PROJECT_RESTORED') AND ");
    access::among(&mut sql, ("v.project_id", "e.message_id"), messages);
    sql.push(" ORDER BY v.revision, v.id");
    versions(tx, sql, tx.needed()).await
}

/// A version of one of several files.
pub struct VersionOf {
    /// The index of the file's request.
    pub place: usize,
    /// The version.
    pub version: FileSnapshot,
    /// Whether a restore or an undo wrote it.
    pub is_restored: bool,
}

/// The last versions of files up to a number, oldest first.
pub async fn versions_until(tx: &Tx, wanted: &[(Member<'_>, (FileId, i32))], limit: i32) -> Result<Vec<VersionOf>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = Sql::new("WITH w (n, project_id, id, first, last) AS (VALUES ");
    for (index, (project, (file, version))) in wanted.iter().enumerate() {
        sql.push(if index == 0 { "(" } else { ", (" }).push(&index.to_string()).push(", ").bind(*project).push(", ");
        sql.bind(file.0).push(", ").bind(version.saturating_sub(limit)).push(", ").bind(*version).push(")");
    }
    sql.push(") SELECT w.n, q.* FROM w JOIN (").push(&select_versions(tx.needed(), true));
    sql.push(") q ON q.project_id = w.project_id AND q.file_id = w.id AND q.version > w.first AND q.version <= w.last ORDER BY w.n, q.version");
    let version_of = |row: &QueryResult| {
        let is_restored = get::<String>(row, "kind")? == EventKind::ProjectRestored.as_str();
        Ok(VersionOf { place: place(row)?, version: version(row)?, is_restored })
    };
    let mut versions = tx.rows(sql).await?.iter().map(version_of).collect::<Result<Vec<_>>>()?;
    describe(tx, versions.iter_mut().map(|of| &mut of.version), tx.needed()).await?;
    Ok(versions)
}

/// For each of these versions, the newest earlier version of another file with the same path and content. A restore
/// makes such a copy of a file that has moved away.
pub async fn copied(tx: &Tx, ids: &[(Member<'_>, FileSnapshotId)]) -> Result<HashMap<FileSnapshotId, (FileId, i32)>> {
    let mut sql = Sql::new(
        "SELECT v.id, u.file_id, u.version FROM file_snapshots v JOIN file_snapshots u ON u.file_id IN \
         (SELECT a.file_id FROM file_snapshots a WHERE a.project_id = v.project_id AND a.path = v.path \
          AND a.change_type IN ('create', 'rename')) \
         AND u.project_id = v.project_id AND u.path = v.path AND u.blob_id = v.blob_id AND u.file_id <> v.file_id \
         AND u.revision < v.revision WHERE ",
    );
    access::among(&mut sql, ("v.project_id", "v.id"), ids);
    sql.push(" ORDER BY u.revision");
    let source =
        |row: &QueryResult| Ok((FileSnapshotId(get(row, "id")?), (FileId(get(row, "file_id")?), get(row, "version")?)));
    tx.rows(sql).await?.iter().map(source).collect()
}

/// Whether anything ever existed at a path or below it.
pub async fn was_ever(tx: &Tx, project: Member<'_>, path: &FilePath) -> Result<bool> {
    // Most such paths belong to a present or deleted file. An index finds it, so this table comes first.
    for (table, column) in [("project_files", "f.file_path"), ("file_snapshots", "f.path")] {
        let mut sql = Sql::new("SELECT 1 AS n FROM ");
        sql.push(table).push(" f WHERE f.project_id = ").bind(project).push(" AND (").push(column).push(" = ");
        below(sql.bind(path.as_str()).push(" OR "), column, path).push(") LIMIT 1");
        if tx.row(sql).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
