//! What imports of git histories have written. The metadata of their sessions has the key `import`, and that of their
//! messages the key `commit`.

use sea_orm::QueryResult;

use super::access::Member;
use super::chat;
use super::db::{Tx, fail};
use super::file::get;
use super::sql::{Sql, union};
use crate::model::chat::Message;
use crate::model::enums::ChangeType;
use crate::model::error::Result;
use crate::model::ids::{FileId, MessageId, ProjectId};
use crate::model::json::Json;
use crate::model::path::FilePath;

/// The condition that the session `s` is one of an import.
const IS_IMPORT: &str = "s.metadata LIKE '%\"import\":%'";

/// The end of a project's imported history.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The commit that was imported first.
    First,
    /// The commit that was imported last.
    Last,
}

/// The message of the first or the last imported commit of each project that has one. Hidden messages are left out.
pub async fn commits(tx: &Tx, projects: &[Member<'_>], edge: Edge) -> Result<Vec<Message>> {
    let sql = union(projects, |sql, project| {
        sql.push("SELECT m.id FROM chat_sessions s JOIN chat_messages m ON m.session_id = s.id WHERE ").push(IS_IMPORT);
        sql.push(" AND s.project_id = ").bind(project);
        sql.push(" AND m.hidden_revision IS NULL AND m.metadata LIKE '%\"commit\":%' ORDER BY m.revision");
        sql.push(if edge == Edge::First { " LIMIT 1" } else { " DESC LIMIT 1" });
        Ok(())
    })?;
    let rows = tx.rows(sql).await?;
    let ids = rows.iter().map(|row| Ok(MessageId(row.try_get("", "id").map_err(fail)?)));
    chat::messages_by_ids(tx, &ids.collect::<Result<Vec<_>>>()?).await
}

/// Whether an import has started a session or added a message in a locked project after a revision.
pub async fn has_written_after(tx: &Tx, project: ProjectId, revision: i32) -> Result<bool> {
    let mut sql = Sql::new("SELECT 1 AS n FROM project_events e JOIN chat_sessions s ON s.id = e.session_id WHERE ");
    sql.push(IS_IMPORT).push(" AND e.kind IN ('SESSION_STARTED', 'MESSAGE_ADDED') AND e.project_id = ");
    sql.bind(project.0).push(" AND e.revision > ").bind(revision).push(" LIMIT 1");
    Ok(tx.row(sql).await?.is_some())
}

/// The metadata of the messages of imported commits that move files in git which are edited here, with their revisions,
/// oldest first; only after a revision.
pub async fn moves(tx: &Tx, project: Member<'_>, after: i32) -> Result<Vec<(i32, Json)>> {
    let mut sql = Sql::new(
        "SELECT m.revision, m.metadata FROM chat_sessions s JOIN chat_messages m ON m.session_id = s.id WHERE ",
    );
    sql.push(IS_IMPORT).push(" AND s.project_id = ").bind(project).push(" AND m.revision > ").bind(after);
    sql.push(" AND m.metadata LIKE '%\"commit\":%' AND m.metadata LIKE '%\"moved\":%'");
    let metadata = |row: &QueryResult| Ok((get(row, "revision")?, Json::stored(get::<String>(row, "metadata")?)));
    let mut found = tx.rows(sql).await?.iter().map(metadata).collect::<Result<Vec<_>>>()?;
    found.sort_by_key(|(revision, _)| *revision);
    Ok(found)
}

/// A version of a file that has at least one version by an edit.
pub struct EditedVersion {
    /// The file.
    pub file: FileId,
    /// The path of the version.
    pub path: FilePath,
    /// The revision of the version.
    pub revision: i32,
    /// Whether an import wrote it: for a message that names a commit, in the session of an import.
    pub is_imported: bool,
    /// Whether it is a deletion.
    pub is_deletion: bool,
}

/// All versions, oldest first, of the files that have at least one version not written by an import; only of files
/// that changed after a revision.
pub async fn of_edited_files(tx: &Tx, project: Member<'_>, after: i32) -> Result<Vec<EditedVersion>> {
    const EVENTS: &str =
        " v JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision WHERE v.project_id = ";
    let imported = format!(
        "EXISTS (SELECT 1 FROM chat_messages m JOIN chat_sessions s ON s.id = m.session_id \
         WHERE m.id = e.message_id AND {IS_IMPORT} AND m.metadata LIKE '%\"commit\":%')"
    );
    let mut sql = Sql::new("SELECT v.file_id, v.path, v.change_type, v.revision, ");
    sql.push(&imported).push(" AS is_imported FROM file_snapshots").push(EVENTS).bind(project);
    sql.push(" AND v.file_id IN (SELECT v.file_id FROM file_snapshots").push(EVENTS).bind(project);
    sql.push(" AND NOT ").push(&imported).push(")");
    if after > 0 {
        sql.push(" AND v.file_id IN (SELECT w.file_id FROM file_snapshots w WHERE w.project_id = ").bind(project);
        sql.push(" AND w.revision > ").bind(after).push(")");
    }
    sql.push(" ORDER BY v.revision");
    let version = |row: &QueryResult| {
        let change_type: String = get(row, "change_type")?;
        Ok(EditedVersion {
            file: FileId(get(row, "file_id")?),
            path: FilePath::from_stored(get(row, "path")?),
            revision: get(row, "revision")?,
            is_imported: get(row, "is_imported")?,
            is_deletion: change_type == ChangeType::Delete.as_str(),
        })
    };
    tx.rows(sql).await?.iter().map(version).collect()
}
