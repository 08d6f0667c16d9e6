//! The list of recent messages (`recent_chat_activity`).

use super::access;
use super::chat::{keep_messages, messages, select_messages};
use super::db::{Tx, fail};
use super::sql::{Order, Sql, union};
use crate::model::chat::{Message, MessageFilter};
use crate::model::error::Result;
use crate::model::ids::{ProjectId, ReadId};
use crate::model::page::{Cursor, Key, KeyKind, Page, Slice};

/// The messages of the actor's active projects, or of one project, newest first (`recent_chat_activity`). With a
/// revision, as of that revision.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn recent(tx: &Tx, project: Option<ReadId<ProjectId>>, page: &Page) -> Result<Slice<Message>> {
    const PLACE: Order = Order { columns: &[("m.timestamp", KeyKind::Time), ("m.id", KeyKind::Id)], descending: true };
    const NEWEST_REVISION_FIRST: Order = Order { columns: &[("e.revision", KeyKind::Number)], descending: true };
    // Reads the newest messages of each project from its log, where times increase with revisions, then merges them.
    // This never scans all messages.
    let projects = active_projects(tx, project.map(|project| project.id)).await?;
    let at = project.and_then(|project| project.at);
    if projects.is_empty() {
        return Ok(Slice::empty(page));
    }
    let mut sql = union(&projects, |sql, project| {
        sql.push("SELECT m.id, m.timestamp FROM project_events e JOIN chat_messages m ON m.id = e.message_id WHERE e.project_id = ");
        sql.bind(project.0).push(" AND e.kind = 'MESSAGE_ADDED'");
        keep_messages(sql, tx, &MessageFilter { until: at, ..MessageFilter::default() });
        PLACE.between(sql, page)?;
        NEWEST_REVISION_FIRST.sorted(sql, page);
        Ok(())
    })?;
    // Whole rows, which can be large, are read only for the page.
    let direction = if page.from_end { "ASC" } else { "DESC" };
    let limit = page.limit.saturating_add(1);
    let mut select = Sql::new("");
    select_messages(&mut select, tx.needed_of(page), None).push("JOIN (SELECT id FROM (");
    sql.around(
        select.text(),
        &format!(") AS newest ORDER BY timestamp {direction}, id {direction} LIMIT {limit}) AS page ON page.id = m.id"),
    );
    let mut rows: Vec<(Cursor, Message)> = messages(tx, sql)
        .await?
        .into_iter()
        .map(|row| (Cursor(vec![Key::Time(row.timestamp), Key::Id(row.id.0)]), row))
        .collect();
    rows.sort_by_key(|(_, row)| (row.timestamp, row.id));
    if !page.from_end {
        rows.reverse();
    }
    Ok(Slice::cut(rows, page))
}

/// Total length of the list of [`recent`].
pub async fn recent_count(tx: &Tx, project: Option<ReadId<ProjectId>>) -> Result<i64> {
    if let Some(ReadId { id, at: Some(at) }) = project {
        let mut sql =
            Sql::new("SELECT count(*) AS n FROM chat_messages m JOIN projects p ON p.id = m.project_id WHERE ");
        sql.push("p.status = 'active' AND p.id = ").bind(id.0).push(" AND p.id IN ");
        access::memberships(&mut sql, tx.me());
        keep_messages(&mut sql, tx, &MessageFilter { until: Some(at), ..MessageFilter::default() });
        return tx.count(sql).await;
    }
    let project = project.map(|project| project.id);
    let mut sql = Sql::new(
        "SELECT cast(coalesce(sum(p.message_count - (SELECT count(*) FROM chat_messages m WHERE m.project_id = p.id \
         AND m.hidden_revision IS NOT NULL)), 0) AS bigint) AS n FROM projects p WHERE p.status = 'active' AND p.id IN ",
    );
    access::memberships(&mut sql, tx.me());
    if let Some(project) = project {
        sql.push(" AND p.id = ").bind(project.0);
    }
    tx.count(sql).await
}

async fn active_projects(tx: &Tx, project: Option<ProjectId>) -> Result<Vec<ProjectId>> {
    let mut sql =
        Sql::new("SELECT p.id FROM projects p WHERE p.status = 'active' AND p.message_count > 0 AND p.id IN ");
    access::memberships(&mut sql, tx.me());
    if let Some(project) = project {
        sql.push(" AND p.id = ").bind(project.0);
    }
    // A statement has a maximum number of terms. The projects that were used last have the newest messages.
    sql.push(" ORDER BY p.last_activity_at DESC LIMIT 400");
    tx.rows(sql).await?.iter().map(|row| Ok(ProjectId(row.try_get("", "id").map_err(fail)?))).collect()
}
