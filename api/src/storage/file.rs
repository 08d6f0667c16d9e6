//! `project_files` and `file_snapshots`.

use sea_orm::QueryResult;
use uuid::Uuid;

use super::blob::{BlobId, BlobRef};
use super::db::{Me, Tx, fail, unknown};
use super::project::member;
use super::save;
use super::snapshot::hash;
use super::sql::{KeyKind, Order, Sql, pages, union};
use crate::model::error::Result;
use crate::model::file::{ChangeFilter, Entry, File, FileFilter, FileSnapshot, FilesOf, Folder, Hash};
use crate::model::ids::{FileId, FileSnapshotId, MessageId, ProjectId, SessionId, UserId};
use crate::model::names::{ChangeType, FileType};
use crate::model::page::{Cursor, Key, Page, Slice};
use crate::model::path::FilePath;

/// A version with its contents' hash and the event of its revision, which says who, when and for what.
const VERSIONS: &str = "SELECT v.id, v.project_id, v.file_id, v.revision, v.version, v.additions, v.deletions, v.change_type, \
     v.path, b.sha256, b.size, e.actor_id, e.session_id, e.message_id, e.description, e.created_at FROM file_snapshots v \
     JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision \
     LEFT JOIN blobs b ON b.id = v.blob_id ";

/// A file as of a revision, in the columns of `project_files`; goes after `SELECT` and ends inside a `WHERE`.
const FILES_AT: &str = "f.id, f.project_id, v.path AS file_path, f.file_type, f.language, coalesce(b.size, 0) AS size_bytes, \
     v.version, b.sha256 AS hash, v.change_type = 'delete' AS is_deleted, f.created_at, e.created_at AS updated_at \
     FROM file_snapshots v JOIN project_files f ON f.id = v.file_id \
     JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision \
     LEFT JOIN blobs b ON b.id = v.blob_id WHERE ";

/// The same of a file now.
const FILES_NOW: &str = "v.id, v.project_id, v.file_path, v.file_type, v.language, v.size_bytes, v.version, v.hash, \
     v.is_deleted, v.created_at, v.updated_at FROM project_files v WHERE ";

const NEWEST_CHANGE_FIRST: Order =
    Order { columns: &[("v.revision", KeyKind::Number), ("v.id", KeyKind::Id)], descending: true };
const NEWEST_VERSION_FIRST: Order = Order { columns: &[("v.version", KeyKind::Number)], descending: true };

fn get<T: sea_orm::TryGetable>(row: &QueryResult, column: &str) -> Result<T> {
    row.try_get("", column).map_err(fail)
}

fn optional_hash(row: &QueryResult, column: &str) -> Result<Option<Hash>> {
    get::<Option<Vec<u8>>>(row, column)?.map(hash).transpose()
}

/// Which of the things asked for a row answers.
fn place(row: &QueryResult) -> Result<usize> {
    Ok(usize::try_from(get::<i32>(row, "n")?).unwrap_or_default())
}

fn file_type(row: &QueryResult) -> Result<FileType> {
    let text: String = get(row, "file_type")?;
    FileType::from_stored(&text).ok_or_else(|| unknown("file type", &text))
}

fn file(row: &QueryResult) -> Result<File> {
    Ok(File {
        id: FileId(get(row, "id")?),
        project_id: ProjectId(get(row, "project_id")?),
        path: FilePath::from_stored(get(row, "file_path")?),
        file_type: file_type(row)?,
        language: get(row, "language")?,
        size_bytes: get(row, "size_bytes")?,
        version: get(row, "version")?,
        hash: optional_hash(row, "hash")?,
        is_deleted: get(row, "is_deleted")?,
        created_at: get(row, "created_at")?,
        updated_at: get(row, "updated_at")?,
    })
}

fn version(row: &QueryResult) -> Result<FileSnapshot> {
    let change_type: String = get(row, "change_type")?;
    Ok(FileSnapshot {
        id: FileSnapshotId(get(row, "id")?),
        project_id: ProjectId(get(row, "project_id")?),
        file_id: FileId(get(row, "file_id")?),
        revision: get(row, "revision")?,
        version: get(row, "version")?,
        follows: get::<i32>(row, "version")? - 1,
        path: FilePath::from_stored(get(row, "path")?),
        change_type: ChangeType::from_stored(&change_type).ok_or_else(|| unknown("kind of change", &change_type))?,
        additions: get(row, "additions")?,
        deletions: get(row, "deletions")?,
        hash: optional_hash(row, "sha256")?,
        size_bytes: get::<Option<i32>>(row, "size")?.unwrap_or_default(),
        change_description: get(row, "description")?,
        created_at: get(row, "created_at")?,
        created_by: get::<Option<Uuid>>(row, "actor_id")?.map(UserId),
        session_id: get::<Option<Uuid>>(row, "session_id")?.map(SessionId),
        message_id: get::<Option<Uuid>>(row, "message_id")?.map(MessageId),
    })
}

async fn files(tx: &Tx, sql: Sql) -> Result<Vec<File>> {
    tx.rows(sql).await?.iter().map(file).collect()
}

async fn versions(tx: &Tx, sql: Sql) -> Result<Vec<FileSnapshot>> {
    tx.rows(sql).await?.iter().map(version).collect()
}

/// The rows of a list that shows saves as one.
async fn joined(tx: &Tx, mut sql: Sql, join_saves_seconds: u32) -> Result<Vec<FileSnapshot>> {
    save::with_follows(&mut sql, tx, join_saves_seconds);
    let joined = |row| Ok(FileSnapshot { follows: get(row, "follows")?, ..version(row)? });
    tx.rows(sql).await?.iter().map(if join_saves_seconds > 0 { joined } else { version }).collect()
}

/// Adds the condition that a version was valid at a revision.
fn valid_at(sql: &mut Sql, at: i32) -> &mut Sql {
    sql.push("v.revision <= ").bind(at).push(" AND (v.superseded_revision IS NULL OR v.superseded_revision > ");
    sql.bind(at).push(")")
}

/// The files among `ids`, as they are now, in the actor's projects; deleted ones too.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn by_ids(tx: &Tx, ids: &[FileId]) -> Result<Vec<File>> {
    let mut sql = Sql::new("SELECT ");
    sql.push(FILES_NOW);
    sql.push("v.id IN ").list(ids.iter().map(|id| id.0)).push(" AND ");
    member(&mut sql, "v.project_id", tx.me());
    files(tx, sql).await
}

fn folder(row: &QueryResult) -> Result<Folder> {
    Ok(Folder {
        project_id: ProjectId(get(row, "parent")?),
        path: FilePath::from_stored(get(row, "path")?),
        is_deleted: false,
        created_at: get(row, "oldest")?,
        updated_at: get(row, "newest")?,
    })
}

/// What is at these paths of the actor's projects, now or as of a revision.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn entries(tx: &Tx, at: Option<i32>, keys: &[(ProjectId, FilePath)]) -> Result<Vec<Entry>> {
    let files = by_paths(tx, at, keys).await?;
    let folders = folders_by_paths(tx, at, keys).await?;
    // Something is below a folder that was made, too.
    let nobodys =
        |folder: &Folder| !files.iter().any(|file| file.project_id == folder.project_id && file.path == folder.path);
    let folders: Vec<Folder> = folders.into_iter().filter(nobodys).collect();
    Ok(files.into_iter().map(Entry::File).chain(folders.into_iter().map(Entry::Folder)).collect())
}

/// Which of these paths have something live below them.
async fn folders_by_paths(tx: &Tx, at: Option<i32>, keys: &[(ProjectId, FilePath)]) -> Result<Vec<Folder>> {
    let mut sql = Sql::new("WITH w (project_id, path) AS (VALUES ");
    for (index, (project, path)) in keys.iter().enumerate() {
        sql.push(if index == 0 { "(" } else { ", (" }).bind(project.0).push(", ").bind(path.as_str()).push(")");
    }
    sql.push(") SELECT w.project_id AS parent, w.path, ");
    if let Some(at) = at {
        sql.push(
            "min(f.created_at) AS oldest, max(e.created_at) AS newest FROM w JOIN file_snapshots v ON v.project_id = w.project_id \
             AND v.path > w.path || '/' AND v.path < w.path || '0' JOIN project_files f ON f.id = v.file_id \
             JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision WHERE v.change_type <> 'delete' AND ",
        );
        valid_at(&mut sql, at);
    } else {
        sql.push(
            "min(v.created_at) AS oldest, max(v.updated_at) AS newest FROM w JOIN project_files v ON v.project_id = w.project_id \
             AND v.file_path > w.path || '/' AND v.file_path < w.path || '0' WHERE NOT v.is_deleted",
        );
    }
    sql.push(" AND ");
    member(&mut sql, "w.project_id", tx.me()).push(" GROUP BY w.project_id, w.path");
    tx.rows(sql).await?.iter().map(folder).collect()
}

/// The live files, and folders with rows, at these paths of the actor's projects, now or as of a revision.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn by_paths(tx: &Tx, at: Option<i32>, keys: &[(ProjectId, FilePath)]) -> Result<Vec<File>> {
    let pairs = keys.iter().map(|(project, path)| (project.0, path.as_str().to_owned()));
    let mut sql;
    if let Some(at) = at {
        sql = Sql::new("SELECT ");
        sql.push(FILES_AT);
        sql.pairs("(v.project_id, v.path)", pairs).push(" AND v.change_type <> 'delete' AND ");
        valid_at(&mut sql, at);
    } else {
        sql = Sql::new("SELECT ");
        sql.push(FILES_NOW);
        sql.pairs("(v.project_id, v.file_path)", pairs).push(" AND NOT v.is_deleted");
    }
    sql.push(" AND ");
    member(&mut sql, "v.project_id", tx.me());
    files(tx, sql).await
}

fn keep_files(sql: &mut Sql, me: Me, of: FilesOf, keep: &FileFilter) {
    let path = if of.at.is_some() { "v.path" } else { "v.file_path" };
    sql.push("v.project_id = ").bind(of.project.0).push(" AND ");
    member(sql, "v.project_id", me);
    if let Some(at) = of.at {
        sql.push(" AND ");
        valid_at(sql, at);
        if !keep.include_deleted {
            sql.push(" AND v.change_type <> 'delete'");
        }
    } else if !keep.include_deleted {
        sql.push(" AND NOT v.is_deleted");
    }
    if let Some(under) = &keep.under {
        // From "folder/" up to, but not with, "folder0": '0' follows '/'.
        sql.push(" AND (").push(path).push(" = ").bind(under.as_str()).push(" OR (").push(path).push(" > ");
        sql.bind(format!("{}/", under.as_str())).push(" AND ").push(path).push(" < ");
        sql.bind(format!("{}0", under.as_str())).push("))");
    }
}

/// The column that says as of which revision a row was read; -1 for now.
fn moment(at: Option<i32>) -> String {
    format!("{} AS moment", at.unwrap_or(-1))
}

/// Whose list a row is of.
fn files_of(row: &QueryResult, project: Uuid) -> Result<FilesOf> {
    let at: i32 = get(row, "moment")?;
    Ok(FilesOf { project: ProjectId(project), at: (at >= 0).then_some(at) })
}

/// The lists of the present and those of the past, which are read from other tables.
fn by_table(lists: &[FilesOf]) -> impl Iterator<Item = Vec<FilesOf>> {
    let (now, then): (Vec<_>, Vec<_>) = lists.iter().partition(|of| of.at.is_none());
    [now, then].into_iter().filter(|lists| !lists.is_empty())
}

/// The files of each project and moment, by path.
///
/// # Errors
/// `BadInput` for a cursor of another list; `Internal` where the database fails.
pub async fn page(tx: &Tx, lists: &[FilesOf], keep: &FileFilter, page: &Page) -> Result<Vec<(FilesOf, Slice<File>)>> {
    let mut found = Vec::new();
    for lists in by_table(lists) {
        let is_past = lists.iter().any(|of| of.at.is_some());
        let (select, columns): (_, &[_]) = if is_past {
            (FILES_AT, &[("v.path", KeyKind::Text), ("v.file_id", KeyKind::Id)])
        } else {
            (FILES_NOW, &[("v.file_path", KeyKind::Text), ("v.id", KeyKind::Id)])
        };
        let sql = pages(&lists, Order { columns, descending: false }, page, |sql, of| {
            sql.push("SELECT ").push(&moment(of.at)).push(", ").push(select);
            keep_files(sql, tx.me(), of, keep);
        })?;
        let rows = tx.rows(sql).await?;
        let rows = rows.iter().map(|row| {
            let (of, row) = (files_of(row, get(row, "project_id")?)?, file(row)?);
            Ok((of, Cursor(vec![Key::Text(row.path.as_str().to_owned()), Key::Id(row.id.0)]), row))
        });
        found.extend(super::group(rows.collect::<Result<_>>()?, page));
    }
    Ok(found)
}

/// How many files [`page`] would list in all, of each project and moment.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn count(tx: &Tx, lists: &[FilesOf], keep: &FileFilter) -> Result<Vec<(FilesOf, i64)>> {
    let mut found = Vec::new();
    for lists in by_table(lists) {
        let sql = union(&lists, |sql, of| {
            sql.push("SELECT ").push(&moment(of.at)).push(", v.project_id AS parent, count(*) AS n FROM ");
            sql.push(if of.at.is_some() { "file_snapshots" } else { "project_files" }).push(" v WHERE ");
            keep_files(sql, tx.me(), of, keep);
            sql.push(" GROUP BY v.project_id");
            Ok(())
        })?;
        for row in tx.rows(sql).await? {
            found.push((files_of(&row, get(&row, "parent")?)?, get(&row, "n")?));
        }
    }
    Ok(found)
}

/// Adds what is directly in a folder (in the project, without one): `c` with a row for each name, and `live`, the files
/// from which they come. Reads what is below the folder, at any depth.
fn children(sql: &mut Sql, tx: &Tx, of: FilesOf, parent: Option<&FilePath>) {
    let (select, path) = if of.at.is_some() { (FILES_AT, "v.path") } else { (FILES_NOW, "v.file_path") };
    sql.push("WITH live AS (SELECT ").push(select);
    keep_files(sql, tx.me(), of, &FileFilter::default());
    let mut start = 0;
    if let Some(parent) = parent {
        start = parent.as_str().chars().count() + 1;
        sql.push(" AND ").push(path).push(" > ").bind(format!("{}/", parent.as_str()));
        sql.push(" AND ").push(path).push(" < ").bind(format!("{}0", parent.as_str()));
    }
    let position = if tx.is_sqlite() { "instr" } else { "strpos" };
    sql.push(&format!(
        "), c AS (SELECT l.project_id, substr(l.file_path, 1, {start} + {position}(substr(l.file_path, {start} + 1) || '/', '/') - 1) \
         AS path, min(l.created_at) AS oldest, max(l.updated_at) AS newest FROM live l GROUP BY 1, 2) "
    ));
}

/// What is directly in a folder (in the project, without one) of each project and moment, by path.
///
/// # Errors
/// `BadInput` for a cursor of another list; `Internal` where the database fails.
pub async fn children_page(
    tx: &Tx,
    lists: &[FilesOf],
    parent: Option<&FilePath>,
    page: &Page,
) -> Result<Vec<(FilesOf, Slice<Entry>)>> {
    const BY_PATH: Order = Order { columns: &[("c.path", KeyKind::Text)], descending: false };
    let sql = pages(lists, BY_PATH, page, |sql, of| {
        children(sql, tx, of, parent);
        sql.push("SELECT ")
            .push(&moment(of.at))
            .push(", c.project_id AS parent, c.path, c.oldest, c.newest, f.* FROM c ");
        sql.push("LEFT JOIN live f ON f.file_path = c.path WHERE c.path <> ''");
    })?;
    let rows = tx.rows(sql).await?;
    let rows = rows.iter().map(|row| {
        let folder = folder(row)?;
        let cursor = Cursor(vec![Key::Text(folder.path.as_str().to_owned())]);
        let is_file = get::<Option<Uuid>>(row, "id")?.is_some();
        let entry = if is_file { Entry::File(file(row)?) } else { Entry::Folder(folder) };
        Ok((files_of(row, get(row, "parent")?)?, cursor, entry))
    });
    Ok(super::group(rows.collect::<Result<_>>()?, page))
}

/// How many entries [`children_page`] would list in all, of each project and moment.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn children_count(tx: &Tx, lists: &[FilesOf], parent: Option<&FilePath>) -> Result<Vec<(FilesOf, i64)>> {
    let sql = union(lists, |sql, of| {
        children(sql, tx, of, parent);
        sql.push("SELECT ")
            .push(&moment(of.at))
            .push(", c.project_id AS parent, count(*) AS n FROM c GROUP BY c.project_id");
        Ok(())
    })?;
    let rows = tx.rows(sql).await?;
    rows.iter().map(|row| Ok((files_of(row, get(row, "parent")?)?, get(row, "n")?))).collect()
}

/// The versions among `ids` in the actor's projects.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn versions_by_ids(tx: &Tx, ids: &[FileSnapshotId]) -> Result<Vec<FileSnapshot>> {
    let mut sql = Sql::new(VERSIONS);
    sql.push("WHERE v.id IN ").list(ids.iter().map(|id| id.0)).push(" AND ");
    member(&mut sql, "v.project_id", tx.me());
    versions(tx, sql).await
}

/// The versions with these numbers in the actor's projects.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn versions_by_numbers(tx: &Tx, keys: &[(FileId, i32)]) -> Result<Vec<FileSnapshot>> {
    let mut sql = Sql::new(VERSIONS);
    sql.push("WHERE ")
        .pairs("(v.file_id, v.version)", keys.iter().map(|(file, version)| (file.0, *version)))
        .push(" AND ");
    member(&mut sql, "v.project_id", tx.me());
    versions(tx, sql).await
}

/// The versions of each file, newest first.
///
/// # Errors
/// `BadInput` for a cursor of another list; `Internal` where the database fails.
pub async fn versions_page(tx: &Tx, of: &[FileId], page: &Page) -> Result<Vec<(FileId, Slice<FileSnapshot>)>> {
    let number = |cursor: &Option<Cursor>| match cursor.as_ref()?.0.as_slice() {
        [Key::Number(number)] => Some(*number),
        _ => None,
    };
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX - 1) + 1;
    // Versions are numbered without gaps, so a page is a range of numbers, and one join reads those of all files. The ranges
    // are made first: row-level security lets no arithmetic on a row's columns choose what is read of an index.
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
    sql.push(" FROM project_files f WHERE f.id IN ").list(of.iter().map(|id| id.0)).push(") ").push(VERSIONS);
    sql.push("JOIN w ON w.id = v.file_id AND v.version >= w.first AND v.version < w.stop WHERE ");
    member(&mut sql, "v.project_id", tx.me());
    NEWEST_VERSION_FIRST.between(&mut sql, page)?;
    NEWEST_VERSION_FIRST.order(&mut sql, page);
    let rows = versions(tx, sql).await?.into_iter();
    let rows = rows.map(|row| (row.file_id, Cursor(vec![Key::Number(row.version.into())]), row)).collect();
    Ok(super::group(rows, page))
}

/// Those of [`versions_page`] that stay where saves so many seconds apart at most are shown as one.
///
/// # Errors
/// `BadInput` for a cursor of another list; `Internal` where the database fails.
pub async fn joined_versions_page(
    tx: &Tx,
    of: &[FileId],
    join_saves_seconds: u32,
    page: &Page,
) -> Result<Vec<(FileId, Slice<FileSnapshot>)>> {
    let sql = pages(of, NEWEST_VERSION_FIRST, page, |sql, file| {
        sql.push(VERSIONS).push("WHERE v.file_id = ").bind(file.0).push(" AND ");
        member(sql, "v.project_id", tx.me());
        save::keep_last(sql, tx, join_saves_seconds, None);
    })?;
    let rows = joined(tx, sql, join_saves_seconds).await?.into_iter();
    let rows = rows.map(|row| (row.file_id, Cursor(vec![Key::Number(row.version.into())]), row)).collect();
    Ok(super::group(rows, page))
}

/// How many versions [`joined_versions_page`] would list in all, of each file.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn joined_versions_count(tx: &Tx, of: &[FileId], join_saves_seconds: u32) -> Result<Vec<(FileId, i64)>> {
    let mut sql = Sql::new("SELECT v.file_id AS parent, count(*) AS n FROM file_snapshots v JOIN project_events e ");
    sql.push("ON e.project_id = v.project_id AND e.revision = v.revision WHERE v.file_id IN ");
    sql.list(of.iter().map(|id| id.0)).push(" AND ");
    member(&mut sql, "v.project_id", tx.me());
    save::keep_last(&mut sql, tx, join_saves_seconds, None);
    sql.push(" GROUP BY v.file_id");
    Ok(tx.counts(sql).await?.into_iter().map(|(id, n)| (FileId(id), n)).collect())
}

fn keep_changes(sql: &mut Sql, tx: &Tx, project: ProjectId, keep: &ChangeFilter) {
    sql.push("v.project_id = ").bind(project.0).push(" AND ");
    member(sql, "v.project_id", tx.me());
    for (column, id) in [("session_id", keep.session_id.map(|id| id.0)), ("message_id", keep.message_id.map(|id| id.0))]
    {
        if let Some(id) = id {
            // In the words of the partial indexes of project_events.
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
    if let Some(path) = &keep.path {
        sql.push(" AND v.path = ").bind(path.as_str());
    }
    if let Some(change_type) = keep.change_type {
        sql.push(" AND v.change_type = ").bind(change_type.as_str());
    }
    if let Some(until) = keep.until {
        sql.push(" AND v.revision <= ").bind(until);
    }
    save::keep_last(sql, tx, keep.join_saves_seconds, keep.until);
}

/// The changes of each project, newest first (`file_change_history`).
///
/// # Errors
/// `BadInput` for a cursor of another list; `Internal` where the database fails.
pub async fn changes_page(
    tx: &Tx,
    projects: &[ProjectId],
    keep: &ChangeFilter,
    page: &Page,
) -> Result<Vec<(ProjectId, Slice<FileSnapshot>)>> {
    let sql = pages(projects, NEWEST_CHANGE_FIRST, page, |sql, project| {
        keep_changes(sql.push(VERSIONS).push("WHERE "), tx, project, keep);
    })?;
    let rows = joined(tx, sql, keep.join_saves_seconds).await?.into_iter();
    let rows = rows.map(|row| (row.project_id, Cursor(vec![Key::Number(row.revision.into()), Key::Id(row.id.0)]), row));
    Ok(super::group(rows.collect(), page))
}

/// How many changes [`changes_page`] would list in all, of each project.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn changes_count(tx: &Tx, projects: &[ProjectId], keep: &ChangeFilter) -> Result<Vec<(ProjectId, i64)>> {
    let mut sql = Sql::new("");
    for (index, project) in projects.iter().enumerate() {
        sql.push(if index == 0 { "" } else { " UNION ALL " });
        sql.push("SELECT v.project_id AS parent, count(*) AS n FROM file_snapshots v ");
        if keep.join_saves_seconds > 0 {
            sql.push("JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision ");
        }
        keep_changes(sql.push("WHERE "), tx, *project, keep);
        sql.push(" GROUP BY v.project_id");
    }
    Ok(tx.counts(sql).await?.into_iter().map(|(id, n)| (ProjectId(id), n)).collect())
}

/// The changes that these revisions made, in the order in which they were made.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn changes_of_revisions(tx: &Tx, revisions: &[(ProjectId, i32)]) -> Result<Vec<FileSnapshot>> {
    let mut sql = Sql::new(VERSIONS);
    sql.push("WHERE ")
        .pairs("(v.project_id, v.revision)", revisions.iter().map(|(project, revision)| (project.0, *revision)));
    sql.push(" AND ");
    member(&mut sql, "v.project_id", tx.me()).push(" ORDER BY v.revision, v.id");
    versions(tx, sql).await
}

/// The changes that were made for these messages, in the order in which they were made.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn changes_of_messages(tx: &Tx, messages: &[MessageId]) -> Result<Vec<FileSnapshot>> {
    let mut sql = Sql::new(VERSIONS);
    sql.push("WHERE e.kind IN ('FILES_CHANGED', 'PROJECT_RESTORED') AND e.message_id IN ")
        .list(messages.iter().map(|id| id.0));
    sql.push(" AND ");
    member(&mut sql, "v.project_id", tx.me()).push(" ORDER BY v.revision, v.id");
    versions(tx, sql).await
}

/// A file or folder at one version, with what a write needs of it.
#[derive(Clone, Debug)]
pub struct Head {
    /// The file at that version.
    pub file: File,
    /// Its contents; `None` for a folder.
    pub blob: Option<BlobRef>,
}

fn head(row: &QueryResult) -> Result<Head> {
    let file = file(row)?;
    let id: Option<BlobId> = get(row, "blob_id")?;
    let blob = id.zip(file.hash).map(|(id, hash)| BlobRef { id, hash });
    Ok(Head { file, blob })
}

const HEADS: &str = "SELECT f.id, f.project_id, f.file_path, f.file_type, f.language, f.size_bytes, f.version, f.hash, \
     f.is_deleted, f.created_at, f.updated_at, v.blob_id FROM project_files f \
     JOIN file_snapshots v ON v.file_id = f.id AND v.version = f.version WHERE ";

/// Every live file and folder of a locked project.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn heads(tx: &Tx, project: ProjectId) -> Result<Vec<Head>> {
    let mut sql = Sql::new(HEADS);
    sql.push("f.project_id = ").bind(project.0).push(" AND NOT f.is_deleted");
    tx.rows(sql).await?.iter().map(head).collect()
}

/// The live files and folders of a locked project that have to do with these paths: those at them, above them and
/// below them.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn heads_around(tx: &Tx, project: ProjectId, paths: &[FilePath]) -> Result<Vec<Head>> {
    let mut exact: Vec<String> = Vec::new();
    for path in paths {
        exact.push(path.as_str().to_owned());
        exact.extend(path.ancestors().map(|folder| folder.as_str().to_owned()));
    }
    exact.sort_unstable();
    exact.dedup();
    let mut sql = Sql::new(HEADS);
    sql.push("f.project_id = ").bind(project.0).push(" AND NOT f.is_deleted AND (f.file_path IN ").list(exact);
    for path in paths {
        sql.push(" OR (f.file_path > ").bind(format!("{}/", path.as_str()));
        sql.push(" AND f.file_path < ").bind(format!("{}0", path.as_str())).push(")");
    }
    sql.push(")");
    tx.rows(sql).await?.iter().map(head).collect()
}

/// Files of a locked project, deleted or not.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn heads_by_ids(tx: &Tx, project: ProjectId, ids: &[FileId]) -> Result<Vec<Head>> {
    let mut sql = Sql::new(HEADS);
    sql.push("f.project_id = ").bind(project.0).push(" AND f.id IN ").list(ids.iter().map(|id| id.0));
    tx.rows(sql).await?.iter().map(head).collect()
}

/// A file at one version, in the columns of [`Head`]; goes after `SELECT` and ends inside a `WHERE`.
const HELD: &str = "f.id, f.project_id, v.path AS file_path, f.file_type, f.language, coalesce(b.size, 0) AS size_bytes, \
     v.version, b.sha256 AS hash, v.change_type = 'delete' AS is_deleted, f.created_at, f.updated_at, v.blob_id \
     FROM file_snapshots v JOIN project_files f ON f.id = v.file_id LEFT JOIN blobs b ON b.id = v.blob_id WHERE ";

/// What a file of a locked project held in the version with this id or number.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn held_version(
    tx: &Tx,
    file: FileId,
    snapshot: Option<FileSnapshotId>,
    version: Option<i32>,
) -> Result<Option<Head>> {
    let mut sql = Sql::new("SELECT ");
    sql.push(HELD).push("v.file_id = ").bind(file.0);
    if let Some(snapshot) = snapshot {
        sql.push(" AND v.id = ").bind(snapshot.0);
    }
    if let Some(version) = version {
        sql.push(" AND v.version = ").bind(version);
    }
    tx.row(sql).await?.as_ref().map(head).transpose()
}

/// What the files of a project of the actor's held at one of two revisions, of those that changed after the earlier and not
/// after the later; files that were not there at it are missing from the answer.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn held(tx: &Tx, project: ProjectId, at: i32, between: (i32, i32)) -> Result<Vec<Head>> {
    let held = held_of_each(tx, &[(project, at, between)]).await?;
    Ok(held.into_iter().map(|(_, head)| head).collect())
}

/// [`held`] for several projects or revisions at once: each row with the place of what it answers.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn held_of_each(tx: &Tx, wanted: &[(ProjectId, i32, (i32, i32))]) -> Result<Vec<(usize, Head)>> {
    let numbered: Vec<_> = wanted.iter().copied().enumerate().collect();
    let sql = union(&numbered, |sql, (index, (project, at, (after, until)))| {
        // Versions are numbered without gaps, so the changes say which one it is, however many a file has: what it held at
        // the earlier revision is the version before its first change, at the later that of its last.
        let version = if at == after { "min(w.version) - 1" } else { "max(w.version)" };
        sql.push("SELECT ").push(&format!("{index} AS n, ")).push(HELD);
        sql.push("(v.file_id, v.version) IN (SELECT w.file_id, ").push(version);
        sql.push(" FROM file_snapshots w WHERE w.project_id = ").bind(project.0);
        sql.push(" AND w.revision > ").bind(after).push(" AND w.revision <= ").bind(until);
        sql.push(" GROUP BY w.file_id) AND v.change_type <> 'delete' AND ");
        member(sql, "v.project_id", tx.me());
        Ok(())
    })?;
    tx.rows(sql).await?.iter().map(|row| Ok((place(row)?, head(row)?))).collect()
}

/// The files of a locked project that changed after a revision.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn changed_after(tx: &Tx, project: ProjectId, at: i32) -> Result<Vec<FileId>> {
    let mut sql = Sql::new("SELECT DISTINCT w.file_id FROM file_snapshots w WHERE w.project_id = ");
    sql.bind(project.0).push(" AND w.revision > ").bind(at);
    tx.rows(sql).await?.iter().map(|row| Ok(FileId(get(row, "file_id")?))).collect()
}

/// Whether any file of a locked project has changed after a revision.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn has_changed_after(tx: &Tx, project: ProjectId, at: i32) -> Result<bool> {
    let mut sql = Sql::new("SELECT 1 AS n FROM file_snapshots w WHERE w.project_id = ");
    sql.bind(project.0).push(" AND w.revision > ").bind(at).push(" LIMIT 1");
    Ok(tx.row(sql).await?.is_some())
}

/// What the files that a revision of a locked project changed had held before it; the first versions are missing.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn held_before(tx: &Tx, project: ProjectId, revision: i32) -> Result<Vec<Head>> {
    let mut sql = Sql::new("SELECT ");
    sql.push(HELD).push("v.project_id = ").bind(project.0).push(" AND v.superseded_revision = ").bind(revision);
    sql.push(" AND v.file_id IN (SELECT w.file_id FROM file_snapshots w WHERE w.project_id = ").bind(project.0);
    sql.push(" AND w.revision = ").bind(revision).push(")");
    tx.rows(sql).await?.iter().map(head).collect()
}

/// The last so many versions of files of the actor's projects up to a number: each with the place of what it answers, oldest
/// first.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn versions_until(tx: &Tx, wanted: &[(FileId, i32)], limit: i32) -> Result<Vec<(usize, FileSnapshot)>> {
    let mut sql = Sql::new("WITH w (n, id, first, last) AS (VALUES ");
    for (index, (file, version)) in wanted.iter().enumerate() {
        sql.push(if index == 0 { "(" } else { ", (" }).push(&index.to_string()).push(", ").bind(file.0).push(", ");
        sql.bind(version.saturating_sub(limit)).push(", ").bind(*version).push(")");
    }
    sql.push(") SELECT w.n, q.* FROM w JOIN (").push(VERSIONS).push("WHERE ");
    member(&mut sql, "v.project_id", tx.me());
    sql.push(") q ON q.file_id = w.id AND q.version > w.first AND q.version <= w.last ORDER BY w.n, q.version");
    tx.rows(sql).await?.iter().map(|row| Ok((place(row)?, version(row)?))).collect()
}

/// Path and hash of the live files of a locked project, folders left out.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn manifest(tx: &Tx, project: ProjectId) -> Result<Vec<(String, Hash)>> {
    let mut sql = Sql::new(
        "SELECT f.file_path, f.hash FROM project_files f WHERE f.hash IS NOT NULL AND NOT f.is_deleted AND f.project_id = ",
    );
    sql.bind(project.0);
    tx.rows(sql).await?.iter().map(|row| Ok((get(row, "file_path")?, hash(get(row, "hash")?)?))).collect()
}
