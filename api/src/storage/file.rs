//! `project_files` and `file_snapshots`.

use std::collections::{BTreeSet, HashMap};

use sea_orm::QueryResult;
use uuid::Uuid;

use super::access::{self, Member, is_member};
use super::blob::{BlobId, BlobRef};
use super::cells::Cells;
use super::db::{Tx, fail, unknown};
use super::door::ListQuery;
use super::snapshot::hash;
use super::sql::{Order, Sql, pages, union};
use super::{event, project};
use crate::model::enums::FileType;
use crate::model::error::Result;
use crate::model::file::{Entry, File, FileFilter, FileMode, FilesOf, Folder, Hash};
use crate::model::ids::{FileId, FileSnapshotId, ProjectId};
use crate::model::language::{language_of, set_language};
use crate::model::long_columns::Needing;
use crate::model::page::{Cursor, Key, KeyKind, Page, Slice};
use crate::model::path::FilePath;
use crate::model::project::Project;

/// A file as of a revision, in the columns of `project_files`. Goes after `SELECT` and ends inside a `WHERE`.
const FILES_AT: &str = "f.id, f.project_id, v.path AS file_path, f.file_path AS present_path, f.file_type, f.language, coalesce(b.size, 0) AS size_bytes, \
     v.version, b.sha256 AS hash, v.change_type = 'delete' AS is_deleted, f.created_at, e.created_at AS updated_at, v.mode, v.version_offset \
     FROM file_snapshots v JOIN project_files f ON f.id = v.file_id \
     JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision \
     LEFT JOIN blobs b ON b.id = v.blob_id WHERE ";

/// A file now, in the columns of `project_files`. Goes after `SELECT` and ends inside a `WHERE`.
pub(super) const FILES_NOW: &str = "v.id, v.project_id, v.file_path, v.file_path AS present_path, v.file_type, v.language, v.size_bytes, \
     v.version, v.hash, v.is_deleted, v.created_at, v.updated_at, v.mode, v.version_offset FROM project_files v WHERE ";

const BY_PATH_NOW: Order =
    Order { columns: &[("v.file_path", KeyKind::Text), ("v.id", KeyKind::Id)], descending: false };
const BY_PATH_THEN: Order =
    Order { columns: &[("v.path", KeyKind::Text), ("v.file_id", KeyKind::Id)], descending: false };
pub(super) fn get<T: sea_orm::TryGetable>(row: &QueryResult, column: &str) -> Result<T> {
    row.try_get("", column).map_err(fail)
}

/// The index of the request that a row answers.
pub(super) fn place(row: &QueryResult) -> Result<usize> {
    Ok(usize::try_from(get::<i32>(row, "n")?).unwrap_or_default())
}

/// A file as of a moment. Only the present language is stored: at another path, it is the one of that path, unless a
/// client set it.
fn file(row: &QueryResult) -> Result<File> {
    file_from(row, "id")
}

/// As [`file`], if the first column has another name.
pub(super) fn file_from(row: &QueryResult, first: &str) -> Result<File> {
    let mut cells = Cells::at(row, first)?;
    let (id, project_id) = (FileId(cells.next()?), ProjectId(cells.next()?));
    let (path, present) = (FilePath::from_stored(cells.next()?), FilePath::from_stored(cells.next()?));
    let file = File {
        id,
        project_id,
        path,
        file_type: {
            let stored: &str = cells.next()?;
            FileType::from_stored(stored).ok_or_else(|| unknown("file type", stored))?
        },
        language: cells.next()?,
        size_bytes: cells.next()?,
        version: cells.next()?,
        hash: cells.next::<Option<Vec<u8>>>()?.map(hash).transpose()?,
        is_deleted: cells.next()?,
        created_at: cells.next()?,
        updated_at: cells.next()?,
        mode: mode(cells.next()?)?,
        version_offset: cells.next()?,
    };
    if file.path == present || file.file_type == FileType::Folder {
        return Ok(file);
    }
    let language = set_language(file.language.as_deref(), &present).or_else(|| language_of(&file.path));
    let language = language.map(str::to_owned);
    Ok(File { language, ..file })
}

/// A stored mode.
pub(super) fn mode(stored: i16) -> Result<FileMode> {
    FileMode::from_stored(stored).ok_or_else(|| unknown("mode of a file", &stored.to_string()))
}

async fn files(tx: &Tx, sql: Sql) -> Result<Vec<File>> {
    tx.rows(sql).await?.iter().map(file).collect()
}

/// Adds the condition that a version was valid at a revision.
fn valid_at(sql: &mut Sql, at: i32) -> &mut Sql {
    sql.push("v.revision <= ").bind(at).push(" AND (v.superseded_revision IS NULL OR v.superseded_revision > ");
    sql.bind(at).push(")")
}

/// The files among `ids` in the actor's projects, as they are now, including deleted ones.
pub async fn by_ids(tx: &Tx, ids: &[FileId]) -> Result<Vec<File>> {
    let mut sql = Sql::new("SELECT ");
    sql.push(FILES_NOW);
    sql.push("v.id IN ").list(ids.iter().map(|id| id.0)).push(" AND ");
    is_member(&mut sql, "v.project_id", tx.me());
    let found = files(tx, sql).await?;
    access::opened(tx, found.iter().map(|file| file.project_id));
    Ok(found)
}

/// Files of the actor's projects, each as of a revision, including the revision of its deletion. Files that did not
/// exist then are left out.
pub async fn as_of(tx: &Tx, wanted: &[(FileId, i32)]) -> Result<Vec<(i32, File)>> {
    let sql = union(wanted, |sql, (id, at)| {
        sql.push(&format!("SELECT {at} AS moment, ")).push(FILES_AT).push("v.file_id = ").bind(id.0).push(" AND ");
        valid_at(sql, at).push(" AND ");
        event::reached(sql, "v.project_id", at).push(" AND ");
        is_member(sql, "v.project_id", tx.me());
        Ok(())
    })?;
    let rows = tx.rows(sql).await?;
    let found: Vec<(i32, File)> =
        rows.iter().map(|row| Ok((get(row, "moment")?, file(row)?))).collect::<Result<_>>()?;
    access::opened(tx, found.iter().map(|(_, file)| file.project_id));
    Ok(found)
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

/// The files and folders at these paths, now or as of a revision.
pub async fn entries(tx: &Tx, at: Option<i32>, keys: &[(Member<'_>, FilePath)]) -> Result<Vec<Entry>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let files = by_paths(tx, at, keys).await?;
    let folders = folders_by_paths(tx, at, keys).await?;
    // A folder that was created can also contain files.
    let nobodys =
        |folder: &Folder| !files.iter().any(|file| file.project_id == folder.project_id && file.path == folder.path);
    let folders: Vec<Folder> = folders.into_iter().filter(nobodys).collect();
    Ok(files.into_iter().map(Entry::File).chain(folders.into_iter().map(Entry::Folder)).collect())
}

/// The paths with live files below them.
async fn folders_by_paths(tx: &Tx, at: Option<i32>, keys: &[(Member<'_>, FilePath)]) -> Result<Vec<Folder>> {
    let mut sql = Sql::new("WITH w (project_id, path) AS (VALUES ");
    for (index, (project, path)) in keys.iter().enumerate() {
        sql.push(if index == 0 { "(" } else { ", (" }).bind(*project).push(", ").bind(path.as_str()).push(")");
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
    sql.push(" GROUP BY w.project_id, w.path");
    tx.rows(sql).await?.iter().map(folder).collect()
}

/// The live files, and folders with rows, at these paths, now or as of a revision.
pub async fn by_paths(tx: &Tx, at: Option<i32>, keys: &[(Member<'_>, FilePath)]) -> Result<Vec<File>> {
    let pairs = keys.iter().map(|(project, path)| (*project, path.as_str().to_owned()));
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
    files(tx, sql).await
}

/// The files of a project at a revision, or now.
type Moment<'t> = (Member<'t>, Option<i32>);

fn keep_files(sql: &mut Sql, at: Option<i32>, keep: &FileFilter) {
    let path = if at.is_some() { "v.path" } else { "v.file_path" };
    if let Some(at) = at {
        sql.push(" AND ");
        valid_at(sql, at);
        if !keep.include_deleted {
            sql.push(" AND v.change_type <> 'delete'");
        }
    } else if !keep.include_deleted {
        sql.push(" AND NOT v.is_deleted");
    }
    if let Some(under) = &keep.under {
        sql.push(" AND (").push(path).push(" = ").bind(under.as_str()).push(" OR ");
        below(sql, path, under).push(")");
    }
}

/// Adds the condition that a path is below a folder: from "folder/" up to "folder0" exclusive, since '0' follows '/'.
pub(super) fn below<'s>(sql: &'s mut Sql, path: &str, folder: &FilePath) -> &'s mut Sql {
    sql.push("(").push(path).push(" > ").bind(format!("{}/", folder.as_str())).push(" AND ").push(path).push(" < ");
    sql.bind(format!("{}0", folder.as_str())).push(")")
}

/// The column with the revision of a row's list; -1 for now.
fn moment(at: Option<i32>) -> String {
    format!("{} AS moment", at.unwrap_or(-1))
}

/// The list that a row belongs to.
fn files_of(row: &QueryResult, project: Uuid) -> Result<FilesOf> {
    let at: i32 = get(row, "moment")?;
    Ok(FilesOf { project: ProjectId(project), at: (at >= 0).then_some(at) })
}

/// Splits the lists into those of the present and those of the past, which are read from different tables.
fn by_table<'t>(lists: &[Moment<'t>]) -> impl Iterator<Item = Vec<Moment<'t>>> {
    let (now, then): (Vec<_>, Vec<_>) = lists.iter().partition(|(_, at)| at.is_none());
    [now, then].into_iter().filter(|lists| !lists.is_empty())
}

/// The files of each project and moment, by path.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn page(
    tx: &Tx,
    lists: &[Moment<'_>],
    keep: &FileFilter,
    page: &Page,
) -> Result<Vec<(FilesOf, Slice<File>)>> {
    let mut found = Vec::new();
    for lists in by_table(lists) {
        let is_past = lists.iter().any(|(_, at)| at.is_some());
        let (select, order) = if is_past { (FILES_AT, BY_PATH_THEN) } else { (FILES_NOW, BY_PATH_NOW) };
        let sql = pages(&lists, order, page, |sql, (project, at)| {
            sql.push("SELECT ").push(&moment(at)).push(", ").push(select).push("v.project_id = ").bind(project);
            keep_files(sql, at, keep);
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

/// A project of the actor, and its present files as [`page`] returns them.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn project_with_page(
    tx: &Tx,
    project: Needing<ProjectId>,
    keep: &FileFilter,
    page: &Page,
) -> Result<Option<(Project, Slice<File>)>> {
    let select = |sql: &mut Sql| {
        sql.push("SELECT ").push(FILES_NOW).push("v.project_id = ").bind(project.0.0);
        keep_files(sql, None, keep);
    };
    let read = |row: &QueryResult| {
        let row = file(row)?;
        Ok((Cursor(vec![Key::Text(row.path.as_str().to_owned()), Key::Id(row.id.0)]), row))
    };
    project::with_list(tx, project, ListQuery { order: BY_PATH_NOW, page, select: &select, read: &read }).await
}

/// Total length of the list of [`page`], per project and moment.
pub async fn count(tx: &Tx, lists: &[Moment<'_>], keep: &FileFilter) -> Result<Vec<(FilesOf, i64)>> {
    let mut found = Vec::new();
    for lists in by_table(lists) {
        let sql = union(&lists, |sql, of| {
            let (project, at) = of;
            sql.push("SELECT ").push(&moment(at)).push(", v.project_id AS parent, count(*) AS n FROM ");
            sql.push(if at.is_some() { "file_snapshots" } else { "project_files" }).push(" v WHERE v.project_id = ");
            keep_files(sql.bind(project), at, keep);
            sql.push(" GROUP BY v.project_id");
            Ok(())
        })?;
        for row in tx.rows(sql).await? {
            found.push((files_of(&row, get(&row, "parent")?)?, get(&row, "n")?));
        }
    }
    Ok(found)
}

/// Adds the entries of a folder, or without a folder of the project's root: `c` has a row per name, `live` has the
/// files of these names. Reads everything below the folder, at any depth.
fn children(sql: &mut Sql, tx: &Tx, (project, at): Moment<'_>, parent: Option<&FilePath>) {
    let (select, path) = if at.is_some() { (FILES_AT, "v.path") } else { (FILES_NOW, "v.file_path") };
    sql.push("WITH live AS (SELECT ").push(select).push("v.project_id = ").bind(project);
    keep_files(sql, at, &FileFilter::default());
    let mut start = 0;
    if let Some(parent) = parent {
        start = parent.as_str().chars().count() + 1;
        below(sql.push(" AND "), path, parent);
    }
    let position = if tx.is_sqlite() { "instr" } else { "strpos" };
    sql.push(&format!(
        "), c AS (SELECT l.project_id, substr(l.file_path, 1, {start} + {position}(substr(l.file_path, {start} + 1) || '/', '/') - 1) \
         AS path, min(l.created_at) AS oldest, max(l.updated_at) AS newest FROM live l GROUP BY 1, 2) "
    ));
}

/// The entries of a folder, or without a folder of the root, in each project and moment, by path.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn children_page(
    tx: &Tx,
    lists: &[Moment<'_>],
    parent: Option<&FilePath>,
    page: &Page,
) -> Result<Vec<(FilesOf, Slice<Entry>)>> {
    const BY_PATH: Order = Order { columns: &[("c.path", KeyKind::Text)], descending: false };
    let sql = pages(lists, BY_PATH, page, |sql, of| {
        children(sql, tx, of, parent);
        sql.push("SELECT ")
            .push(&moment(of.1))
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

/// Total length of the list of [`children_page`], per project and moment.
pub async fn children_count(tx: &Tx, lists: &[Moment<'_>], parent: Option<&FilePath>) -> Result<Vec<(FilesOf, i64)>> {
    let sql = union(lists, |sql, of| {
        children(sql, tx, of, parent);
        sql.push("SELECT ")
            .push(&moment(of.1))
            .push(", c.project_id AS parent, count(*) AS n FROM c GROUP BY c.project_id");
        Ok(())
    })?;
    let rows = tx.rows(sql).await?;
    rows.iter().map(|row| Ok((files_of(row, get(row, "parent")?)?, get(row, "n")?))).collect()
}

/// The state of a file or folder at one version, as a write needs it.
#[derive(Clone, Debug)]
pub struct FileState {
    /// The file at that version.
    pub file: File,
    /// The content; `None` for a folder.
    pub blob: Option<BlobRef>,
}

fn state(row: &QueryResult) -> Result<FileState> {
    let file = file(row)?;
    let id: Option<BlobId> = get(row, "blob_id")?;
    let depth = get(row, "depth")?;
    let blob = id.zip(file.hash).map(|(id, hash)| BlobRef { id, hash, depth });
    Ok(FileState { file, blob })
}

const HEADS: &str = "SELECT f.id, f.project_id, f.file_path, f.file_path AS present_path, f.file_type, f.language, f.size_bytes, \
     f.version, f.hash, f.is_deleted, f.created_at, f.updated_at, f.mode, f.version_offset, v.blob_id, b.depth FROM project_files f \
     JOIN file_snapshots v ON v.file_id = f.id AND v.version = f.version LEFT JOIN blobs b ON b.id = v.blob_id WHERE ";

/// All live files and folders of a locked project.
pub async fn states(tx: &Tx, project: ProjectId) -> Result<Vec<FileState>> {
    let mut sql = Sql::new(HEADS);
    sql.push("f.project_id = ").bind(project.0).push(" AND NOT f.is_deleted");
    tx.rows(sql).await?.iter().map(state).collect()
}

/// The live files and folders of a locked project at these paths, above them and below them. Also returns whether it is
/// certain that the project has none of these contents.
pub async fn states_around(
    tx: &Tx,
    project: ProjectId,
    paths: &[FilePath],
    contents: &[Hash],
) -> Result<(Vec<FileState>, bool)> {
    let exact = paths.iter().flat_map(|path| path.ancestors().chain([path.clone()]));
    let exact: BTreeSet<String> = exact.map(|path| path.as_str().to_owned()).collect();
    let mut sql = Sql::new("SELECT EXISTS (SELECT 1 FROM blobs n WHERE n.project_id = ");
    sql.bind(project.0).push(" AND n.sha256 IN ").list(contents.iter().map(|hash| hash.to_vec())).push(") AS stored, ");
    sql.push(HEADS.trim_start_matches("SELECT "));
    sql.push("f.project_id = ").bind(project.0).push(" AND NOT f.is_deleted AND (f.file_path IN ").list(exact);
    for path in paths {
        below(sql.push(" OR "), "f.file_path", path);
    }
    sql.push(")");
    let rows = tx.rows(sql).await?;
    let are_new = rows.first().map_or(Ok(false), |row| get::<bool>(row, "stored").map(|stored| !stored))?;
    Ok((rows.iter().map(state).collect::<Result<_>>()?, are_new))
}

/// The files that were ever at these paths of a locked project, as they are now, each with the path at which it was.
/// The file that changed last comes last.
pub async fn ever_at(tx: &Tx, project: ProjectId, paths: &[FilePath]) -> Result<Vec<(FilePath, FileState)>> {
    let mut found = Vec::new();
    for paths in paths.chunks(super::sql::ROWS_PER_STATEMENT) {
        let arrivals = HEADS.replacen("SELECT ", "SELECT w.path, ", 1);
        let mut sql = Sql::new(arrivals.trim_end_matches("WHERE "));
        sql.push("JOIN (SELECT DISTINCT a.path, a.file_id FROM file_snapshots a WHERE a.project_id = ").bind(project.0);
        sql.push(" AND a.change_type IN ('create', 'rename') AND a.path IN ");
        sql.list(paths.iter().map(|path| path.as_str().to_owned()));
        sql.push(") w ON w.file_id = f.id ORDER BY f.updated_at, f.id");
        for row in tx.rows(sql).await? {
            found.push((FilePath::from_stored(get(&row, "path")?), state(&row)?));
        }
    }
    Ok(found)
}

/// All live files and folders as of a revision.
pub async fn heads_at(tx: &Tx, project: Member<'_>, at: i32) -> Result<Vec<FileState>> {
    let mut sql = Sql::new("SELECT ");
    sql.push(HELD).push("v.project_id = ").bind(project).push(" AND v.change_type <> 'delete' AND ");
    valid_at(&mut sql, at);
    tx.rows(sql).await?.iter().map(state).collect()
}

/// The changes of files at these revisions, each with the file's state before and after it, in the order of the
/// revisions.
pub async fn changed_at(tx: &Tx, project: Member<'_>, revisions: &[i32]) -> Result<Vec<ChangedAt>> {
    let mut found = Vec::new();
    for revisions in revisions.chunks(super::sql::ROWS_PER_STATEMENT) {
        let of = |sql: &mut Sql| {
            sql.push("(SELECT w.file_id, w.version, w.revision FROM file_snapshots w WHERE w.project_id = ")
                .bind(project);
            sql.push(" AND w.revision IN ").list(revisions.iter().copied()).push(") c ON c.file_id = v.file_id AND ");
        };
        let (before, after) = (HELD.replace(" WHERE ", " JOIN "), HELD.replace(" WHERE ", " JOIN "));
        let mut sql = Sql::new("SELECT c.revision AS n, ");
        of(sql.push(&after));
        sql.push("v.version = c.version ORDER BY c.revision, v.id");
        let after: Vec<(i32, FileState)> =
            tx.rows(sql).await?.iter().map(|row| Ok((get(row, "n")?, state(row)?))).collect::<Result<_>>()?;
        let mut sql = Sql::new("SELECT c.revision AS n, ");
        of(sql.push(&before));
        sql.push("v.version = c.version - 1");
        let mut before: HashMap<(i32, FileId), FileState> = HashMap::new();
        for row in tx.rows(sql).await? {
            let state = state(&row)?;
            before.insert((get(&row, "n")?, state.file.id), state);
        }
        for (revision, after) in after {
            let before = before.remove(&(revision, after.file.id));
            found.push(ChangedAt { revision, file: after.file.id, before, after });
        }
    }
    Ok(found)
}

/// A change of a file, with its states before (if it had a version) and after. Both can be deletions.
#[derive(Clone, Debug)]
pub struct ChangedAt {
    /// The revision that made it.
    pub revision: i32,
    /// The file.
    pub file: FileId,
    /// The previous version.
    pub before: Option<FileState>,
    /// The version that the change made.
    pub after: FileState,
}

/// Files of a locked project, including deleted ones.
pub async fn states_by_ids(tx: &Tx, project: ProjectId, ids: &[FileId]) -> Result<Vec<FileState>> {
    let mut sql = Sql::new(HEADS);
    sql.push("f.project_id = ").bind(project.0).push(" AND f.id IN ").list(ids.iter().map(|id| id.0));
    tx.rows(sql).await?.iter().map(state).collect()
}

/// Files as of a revision, including deleted ones. Files that did not exist yet are left out.
pub async fn heads_by_ids_at(tx: &Tx, project: Member<'_>, ids: &[FileId], at: i32) -> Result<Vec<FileState>> {
    let mut found = Vec::new();
    for ids in ids.chunks(super::sql::ROWS_PER_STATEMENT) {
        let mut sql = Sql::new("SELECT ");
        sql.push(HELD).push("v.project_id = ").bind(project).push(" AND v.file_id IN ").list(ids.iter().map(|id| id.0));
        valid_at(sql.push(" AND "), at);
        found.extend(tx.rows(sql).await?.iter().map(state).collect::<Result<Vec<FileState>>>()?);
    }
    Ok(found)
}

/// A file at one version, in the columns of [`FileState`]. Goes after `SELECT` and ends inside a `WHERE`.
const HELD: &str = "f.id, f.project_id, v.path AS file_path, f.file_path AS present_path, f.file_type, f.language, coalesce(b.size, 0) AS size_bytes, \
     v.version, b.sha256 AS hash, v.change_type = 'delete' AS is_deleted, f.created_at, f.updated_at, v.mode, v.version_offset, \
     v.blob_id, b.depth FROM file_snapshots v JOIN project_files f ON f.id = v.file_id LEFT JOIN blobs b ON b.id = v.blob_id WHERE ";

/// The state of a file of a locked project in the version with this id or number.
pub async fn state_of_version(
    tx: &Tx,
    file: FileId,
    snapshot: Option<FileSnapshotId>,
    version: Option<i32>,
) -> Result<Option<FileState>> {
    let mut sql = Sql::new("SELECT ");
    sql.push(HELD).push("v.file_id = ").bind(file.0);
    if let Some(snapshot) = snapshot {
        sql.push(" AND v.id = ").bind(snapshot.0);
    }
    if let Some(version) = version {
        sql.push(" AND v.version <= ").bind(version).push(" AND v.version + v.version_offset = ").bind(version);
    }
    tx.row(sql).await?.as_ref().map(state).transpose()
}

/// The states, at a revision, of the files of a locked project that changed after it. Files that did not exist at the
/// revision are left out.
pub async fn states_before(tx: &Tx, project: ProjectId, at: i32) -> Result<Vec<FileState>> {
    let Some(project) = access::member(tx, project).await? else { return Ok(Vec::new()) };
    let states = states_of_each(tx, &[StatesAt { project, after: at, until: i32::MAX, end: End::Start }]).await?;
    Ok(states.into_iter().map(|(_, state)| state).collect())
}

/// The files that changed in a range of revisions, at the start or the end of the range.
#[derive(Clone, Copy)]
pub struct StatesAt<'t> {
    /// Their project.
    pub project: Member<'t>,
    /// Start of the range, exclusive.
    pub after: i32,
    /// End of the range, inclusive.
    pub until: i32,
    /// The end of the range at which the files are read.
    pub end: End,
}

/// An end of a range of revisions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The earlier revision.
    Start,
    /// The later revision.
    End,
}

/// The states of files, each with the index of its request. Files that did not exist are left out.
pub async fn states_of_each(tx: &Tx, wanted: &[StatesAt<'_>]) -> Result<Vec<(usize, FileState)>> {
    let numbered: Vec<_> = wanted.iter().copied().enumerate().collect();
    let sql = union(&numbered, |sql, (index, StatesAt { project, after, until, end })| {
        // Versions are numbered without gaps, so the changes determine the version without reading the others: at the
        // earlier revision it is the one before the file's first change, at the later revision the one of its last
        // change.
        let version = if end == End::Start { "min(w.version) - 1" } else { "max(w.version)" };
        sql.push("SELECT ").push(&format!("{index} AS n, ")).push(HELD);
        sql.push("(v.file_id, v.version) IN (SELECT w.file_id, ").push(version);
        sql.push(" FROM file_snapshots w WHERE w.project_id = ").bind(project);
        sql.push(" AND w.revision > ").bind(after).push(" AND w.revision <= ").bind(until);
        sql.push(" GROUP BY w.file_id) AND v.change_type <> 'delete'");
        Ok(())
    })?;
    tx.rows(sql).await?.iter().map(|row| Ok((place(row)?, state(row)?))).collect()
}

/// The files of a locked project that changed after a revision.
pub async fn changed_after(tx: &Tx, project: ProjectId, at: i32) -> Result<Vec<FileId>> {
    let mut sql = Sql::new("SELECT DISTINCT w.file_id FROM file_snapshots w WHERE w.project_id = ");
    sql.bind(project.0).push(" AND w.revision > ").bind(at);
    tx.rows(sql).await?.iter().map(|row| Ok(FileId(get(row, "file_id")?))).collect()
}

/// Whether any file of a locked project has changed after a revision.
pub async fn has_changed_after(tx: &Tx, project: ProjectId, at: i32) -> Result<bool> {
    let mut sql = Sql::new("SELECT 1 AS n FROM file_snapshots w WHERE w.project_id = ");
    sql.bind(project.0).push(" AND w.revision > ").bind(at).push(" LIMIT 1");
    Ok(tx.row(sql).await?.is_some())
}

/// Paths and hashes of the live files of a locked project, without folders.
pub async fn manifest(tx: &Tx, project: ProjectId) -> Result<Vec<(String, Hash)>> {
    let mut sql = Sql::new(
        "SELECT f.file_path, f.hash FROM project_files f WHERE f.hash IS NOT NULL AND NOT f.is_deleted AND f.project_id = ",
    );
    sql.bind(project.0);
    tx.rows(sql).await?.iter().map(|row| Ok((get(row, "file_path")?, hash(get(row, "hash")?)?))).collect()
}
