//! `project_undos` and `project_undone_files`: the revisions that a revision undoes, and the changes of files among
//! them.

use std::collections::HashMap;

use sea_orm::QueryResult;

use super::access::Member;
use super::db::Tx;
use super::file::get;
use super::sql::{self, Sql};
use crate::model::enums::EventKind;
use crate::model::error::Result;
use crate::model::event::{UndoneFiles, Undos};
use crate::model::ids::{FileId, ProjectId};

/// The undone revisions of each of these projects.
pub async fn of_projects(tx: &Tx, projects: &[Member<'_>]) -> Result<HashMap<ProjectId, Undos>> {
    let mut sql =
        Sql::new("SELECT u.project_id, u.revision, u.undone_revision FROM project_undos u WHERE u.project_id IN ");
    sql.list(projects.iter().copied()).push(" ORDER BY u.project_id, u.revision, u.undone_revision");
    let mut pairs: HashMap<ProjectId, Vec<(i32, i32)>> = HashMap::new();
    for row in tx.rows(sql).await? {
        let pair = (get(&row, "revision")?, get(&row, "undone_revision")?);
        pairs.entry(ProjectId(get(&row, "project_id")?)).or_default().push(pair);
    }
    Ok(pairs.into_iter().map(|(project, pairs)| (project, Undos::new(&pairs))).collect())
}

/// The undone changes of files of a project.
pub async fn files(tx: &Tx, project: Member<'_>) -> Result<UndoneFiles> {
    let mut sql =
        Sql::new("SELECT u.revision, u.undone_revision, u.file_id FROM project_undone_files u WHERE u.project_id = ");
    sql.bind(project);
    let row =
        |row: &QueryResult| Ok((get(row, "revision")?, get(row, "undone_revision")?, FileId(get(row, "file_id")?)));
    Ok(UndoneFiles::new(tx.rows(sql).await?.iter().map(row).collect::<Result<_>>()?))
}

/// The number of files that each of these revisions changed. Revisions without changed files are left out.
pub async fn changed_files(tx: &Tx, project: Member<'_>, revisions: &[i32]) -> Result<HashMap<i32, usize>> {
    let mut counts = HashMap::new();
    for revisions in revisions.chunks(sql::ROWS_PER_STATEMENT) {
        let mut sql = Sql::new("SELECT v.revision, count(*) AS n FROM file_snapshots v WHERE v.project_id = ");
        sql.bind(project).push(" AND v.revision IN ").list(revisions.iter().copied()).push(" GROUP BY v.revision");
        for row in tx.rows(sql).await? {
            counts.insert(get(&row, "revision")?, usize::try_from(get::<i64>(&row, "n")?).unwrap_or_default());
        }
    }
    Ok(counts)
}

/// Records the revisions, and their changes of files, that the newest revision of a locked project undoes.
pub async fn note(tx: &Tx, project: ProjectId, revision: i32, undone: &[i32], changes: &[(i32, FileId)]) -> Result<()> {
    let rows = undone.iter().map(|undone| [project.0.into(), revision.into(), (*undone).into()]);
    for sql in sql::insert("project_undos", ["project_id", "revision", "undone_revision"], rows, "") {
        tx.execute(sql).await?;
    }
    let rows = changes.iter().map(|(of, file)| [project.0.into(), revision.into(), (*of).into(), file.0.into()]);
    let columns = ["project_id", "revision", "undone_revision", "file_id"];
    for sql in sql::insert("project_undone_files", columns, rows, "") {
        tx.execute(sql).await?;
    }
    Ok(())
}

/// The revisions of a locked project before another one, newest first, that are of kinds that can be undone; at most
/// `limit`.
pub async fn candidates(tx: &Tx, project: Member<'_>, before: i32, limit: i32) -> Result<Vec<i32>> {
    let mut sql = Sql::new("SELECT e.revision FROM project_events e WHERE e.project_id = ");
    sql.bind(project).push(" AND e.revision < ").bind(before).push(" AND e.kind IN ");
    sql.list(EventKind::UNDOABLE.iter().map(|kind| kind.as_str()));
    sql.push(" ORDER BY e.revision DESC LIMIT ").bind(limit);
    tx.rows(sql).await?.iter().map(|row| get(row, "revision")).collect()
}

/// The revisions in a range that changed files in a session or for a message, newest first.
pub async fn made_in(tx: &Tx, project: Member<'_>, made: Made, (after, until): (i32, i32)) -> Result<Vec<i32>> {
    // The same condition as in the partial indexes of project_events.
    let mut sql = Sql::new("SELECT e.revision FROM project_events e WHERE e.project_id = ");
    sql.bind(project).push(" AND e.kind IN ('FILES_CHANGED', 'PROJECT_RESTORED') AND ");
    match made {
        Made::In(session) => sql.push("e.session_id = ").bind(session.0),
        Made::For(message) => sql.push("e.message_id = ").bind(message.0),
    };
    sql.push(" AND e.revision > ").bind(after).push(" AND e.revision <= ").bind(until);
    sql.push(" ORDER BY e.revision DESC");
    tx.rows(sql).await?.iter().map(|row| get(row, "revision")).collect()
}

/// The session or message of revisions.
#[derive(Clone, Copy, Debug)]
pub enum Made {
    /// In a session.
    In(crate::model::ids::SessionId),
    /// For a message.
    For(crate::model::ids::MessageId),
}
