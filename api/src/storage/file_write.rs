//! Writes to `project_files` and `file_snapshots`. The number of statements does not depend on the number of files; on
//! PostgreSQL it is one call.

use sea_orm::Value;
use uuid::Uuid;

use super::blob::{self, NewBlob};
use super::db::{Call, Tx};
use super::revision::{self, Counts};
use super::snapshot::{self, Follow};
use super::sql::{self, ROWS_PER_STATEMENT, Sql};
use crate::model::enums::{ChangeType, FileType};
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::file::{File, FileSnapshot, Hash};

/// The changes of a project's files in one write.
pub struct FileChanges {
    /// Contents that the project does not have yet.
    pub blobs: Vec<NewBlob>,
    /// Each changed file in its new state, with its new version.
    pub files: Vec<(File, FileSnapshot)>,
    /// The snapshot of the message's checkpoint.
    pub follow: Option<Follow>,
}

/// Stores changes of files as the next revision of their locked project; on PostgreSQL the returned call does this.
pub async fn write(tx: &Tx, event: &Event, description: Option<String>, changes: FileChanges) -> Result<Option<Call>> {
    blob::measure(tx, &changes.blobs);
    if tx.is_sqlite() {
        write_file(tx, event, description, changes).await?;
        return Ok(None);
    }
    Ok(Some(call(event, description, changes)))
}

/// The call of the function that stores the changes on PostgreSQL.
fn call(event: &Event, description: Option<String>, changes: FileChanges) -> Call {
    /// An empty hash stands for no hash, since the array has no nulls.
    fn hash(hash: Option<&Hash>) -> Vec<u8> {
        hash.map(|hash| hash.to_vec()).unwrap_or_default()
    }
    fn column<T, V>(rows: &[T], of: impl Fn(&T) -> V) -> Value
    where
        Vec<V>: Into<Value>,
    {
        rows.iter().map(of).collect::<Vec<V>>().into()
    }
    let FileChanges { mut blobs, files, follow } = changes;
    let data: Vec<Vec<u8>> = blobs.iter_mut().map(|blob| std::mem::take(&mut blob.encoded.data)).collect();
    let contents: [Value; 6] = [
        column(&blobs, |blob| blob.hash.to_vec()),
        column(&blobs, |blob| blob.size),
        column(&blobs, |blob| blob.encoded.encoding as i16),
        column(&blobs, |blob| blob.depth),
        column(&blobs, |blob| blob.base.unwrap_or_default()),
        data.into(),
    ];
    let rows: [Value; 10] = [
        column(&files, |(file, _)| file.id.0),
        column(&files, |(file, _)| file.path.as_str().to_owned()),
        column(&files, |(file, _)| file.file_type.as_str().to_owned()),
        column(&files, |(file, _)| file.language.clone().unwrap_or_default()),
        column(&files, |(file, _)| file.version),
        column(&files, |(file, _)| hash(file.hash.as_ref())),
        column(&files, |(_, change)| change.id.0),
        column(&files, |(_, change)| change.change_type.as_str().to_owned()),
        column(&files, |(_, change)| change.additions),
        column(&files, |(_, change)| change.deletions),
    ];
    let follow: [Value; 3] = [
        follow.map(|follow| follow.id.0).into(),
        follow.map(|follow| follow.file_count).into(),
        follow.map(|follow| follow.manifest.to_vec()).into(),
    ];
    let exact: [Value; 3] = [
        column(&files, |(file, _)| file.mode.stored()),
        column(&files, |(_, change)| change.restores.unwrap_or_default()),
        column(&files, |(file, _)| file.version_offset),
    ];
    let values = revision::of(event, description).into_iter().chain(contents).chain(rows).chain(follow).chain(exact);
    Call::last("write_files", values)
}

/// Stores the changes on SQLite.
async fn write_file(tx: &Tx, event: &Event, description: Option<String>, changes: FileChanges) -> Result<()> {
    let FileChanges { blobs, files, follow } = changes;
    blob::insert(tx, event.project_id, blobs).await?;
    // End all old versions first, so that their paths are free for new ones.
    for sql in supersede(&files, event.revision) {
        tx.execute(sql).await?;
    }
    for sql in upsert(&files) {
        tx.execute(sql).await?;
    }
    let mut added = 0;
    for sql in insert_versions(&files) {
        added += tx.execute(sql).await?;
    }
    if added != files.len() as u64 {
        return Err(Error::internal("a content of a new version is missing"));
    }
    if let Some(follow) = follow {
        snapshot::follow(tx, follow, event.revision).await?;
    }
    revision::take(tx, event, description, counts(&files)).await
}

fn counts(files: &[(File, FileSnapshot)]) -> Counts {
    let mut counts = Counts::default();
    for (file, change) in files {
        counts.changes += 1;
        counts.files += match change.change_type {
            ChangeType::Create if file.file_type == FileType::File => 1,
            ChangeType::Delete if file.file_type == FileType::File => -1,
            _ => 0,
        };
    }
    counts
}

/// Ends the previous versions. Selects them by number: selecting the open ones would read all versions of the files.
fn supersede(files: &[(File, FileSnapshot)], revision: i32) -> Vec<Sql> {
    let before: Vec<_> =
        files.iter().filter(|(file, _)| file.version > 1).map(|(file, _)| (file.id.0, file.version - 1)).collect();
    let end = |before: &[(Uuid, i32)]| {
        let mut sql = Sql::with("UPDATE file_snapshots SET superseded_revision = $1 WHERE ", [revision.into()]);
        sql.pairs("(file_id, version)", before.iter().copied());
        sql
    };
    before.chunks(ROWS_PER_STATEMENT).map(end).collect()
}

/// Creates files, or updates their present state.
fn upsert(files: &[(File, FileSnapshot)]) -> Vec<Sql> {
    const COLUMNS: [&str; 15] = [
        "id",
        "project_id",
        "file_path",
        "file_name",
        "parent_path",
        "file_type",
        "language",
        "size_bytes",
        "version",
        "hash",
        "is_deleted",
        "created_at",
        "updated_at",
        "mode",
        "version_offset",
    ];
    const PRESENT: &str = " ON CONFLICT (id) DO UPDATE SET file_path = excluded.file_path, file_name = excluded.file_name, \
        parent_path = excluded.parent_path, language = excluded.language, size_bytes = excluded.size_bytes, \
        version = excluded.version, hash = excluded.hash, is_deleted = excluded.is_deleted, updated_at = excluded.updated_at, \
        mode = excluded.mode, version_offset = excluded.version_offset";
    let rows = files.iter().map(|(file, _)| -> [Value; 15] {
        [
            file.id.0.into(),
            file.project_id.0.into(),
            file.path.as_str().into(),
            file.path.name().into(),
            file.path.parent().map(|folder| folder.as_str().to_owned()).into(),
            file.file_type.as_str().into(),
            file.language.clone().into(),
            file.size_bytes.into(),
            file.version.into(),
            file.hash.map(|hash| hash.to_vec()).into(),
            file.is_deleted.into(),
            file.created_at.into(),
            file.updated_at.into(),
            file.mode.stored().into(),
            file.version_offset.into(),
        ]
    });
    sql::insert("project_files", COLUMNS, rows, PRESENT)
}

/// Adds versions. They refer to their contents by hash.
fn insert_versions(files: &[(File, FileSnapshot)]) -> Vec<Sql> {
    files.chunks(ROWS_PER_STATEMENT).map(versions).collect()
}

fn versions(files: &[(File, FileSnapshot)]) -> Sql {
    let mut sql = Sql::new(
        "WITH n (id, project_id, file_id, revision, version, additions, deletions, sha256, change_type, path, mode, restored_version, version_offset) AS (",
    );
    sql.rows(files.iter().map(|(file, change)| -> [Value; 13] {
        [
            change.id.0.into(),
            change.project_id.0.into(),
            change.file_id.0.into(),
            change.revision.into(),
            change.version.into(),
            change.additions.into(),
            change.deletions.into(),
            file.hash.map(|hash| hash.to_vec()).into(),
            change.change_type.as_str().into(),
            change.path.as_str().into(),
            change.mode.stored().into(),
            change.restores.into(),
            change.version_offset.into(),
        ]
    }));
    sql.push(
        ") INSERT INTO file_snapshots (id, project_id, file_id, revision, version, additions, deletions, blob_id, change_type, path, mode, restored_version, version_offset) \
         SELECT n.id, n.project_id, n.file_id, n.revision, n.version, n.additions, n.deletions, b.id, n.change_type, n.path, n.mode, n.restored_version, n.version_offset \
         FROM n LEFT JOIN blobs b ON b.project_id = n.project_id AND b.sha256 = n.sha256 \
         WHERE n.sha256 IS NULL OR b.id IS NOT NULL",
    );
    sql
}
