//! `project_events`: the log.

use entity::project_events;

use super::access::{self, Member, is_member};
use super::columns::{Long, TEXT, columns};
use super::db::{Db, Tx, fail, unknown};
use super::sql::{Sql, union};
use crate::model::enums::EventKind;
use crate::model::error::Result;
use crate::model::event::{AsOf, Event, Moment};
use crate::model::ids::{MessageId, ProjectId, SessionId, UserId};
use crate::model::long_columns::{LongColumn, LongColumns};

fn event(row: project_events::Model) -> Result<Event> {
    Ok(Event {
        project_id: ProjectId(row.project_id),
        revision: row.revision,
        kind: EventKind::from_stored(&row.kind).ok_or_else(|| unknown("kind of event", &row.kind))?,
        created_at: row.created_at.to_utc(),
        actor_id: row.actor_id.map(UserId),
        session_id: row.session_id.map(SessionId),
        message_id: row.message_id.map(MessageId),
    })
}

/// Adds `SELECT …` of the events `e`, up to the `WHERE`. Their descriptions are read with the changes of files.
fn select(sql: &mut Sql) -> &mut Sql {
    const LONG: [Long<project_events::Column>; 1] =
        [(project_events::Column::Description, LongColumn::ChangeDescription, TEXT)];
    columns::<project_events::Entity>(sql.push("SELECT "), ("e", ""), &LONG, LongColumns::NONE);
    sql.push(" FROM project_events e WHERE ")
}

/// Events of each of these projects after a revision, oldest first, of these kinds if any are given, at most `limit`
/// per project.
pub async fn after(
    tx: &Tx,
    projects: &[Member<'_>],
    revision: i32,
    kinds: &[EventKind],
    limit: usize,
) -> Result<Vec<Event>> {
    let sql = union(projects, |sql, project| {
        select(sql).push("e.project_id = ").bind(project);
        sql.push(" AND e.revision > ").bind(revision);
        if !kinds.is_empty() {
            sql.push(" AND e.kind IN ").list(kinds.iter().map(|kind| kind.as_str()));
        }
        sql.push(" ORDER BY e.revision LIMIT ").bind(i64::try_from(limit).unwrap_or(i64::MAX));
        Ok(())
    })?;
    let rows: Vec<project_events::Model> = tx.all(sql).await?;
    rows.into_iter().map(event).collect()
}

/// The entries of these revisions.
pub async fn by_revisions(tx: &Tx, revisions: &[(Member<'_>, i32)]) -> Result<Vec<Event>> {
    let mut sql = Sql::new("");
    select(&mut sql)
        .pairs("(e.project_id, e.revision)", revisions.iter().copied())
        .push(" ORDER BY e.project_id, e.revision");
    let rows: Vec<project_events::Model> = tx.all(sql).await?;
    rows.into_iter().map(event).collect()
}

/// The newest revision of a project; `None` if the actor is not a member.
pub async fn newest(tx: &Tx, project: ProjectId) -> Result<Option<i32>> {
    let mut sql = Sql::new("SELECT p.revision AS n FROM projects p WHERE p.id = ");
    sql.bind(project.0).push(" AND ");
    is_member(&mut sql, "p.id", tx.me());
    let row = tx.row(sql).await?;
    access::opened(tx, row.iter().map(|_| project));
    row.map(|row| row.try_get("", "n").map_err(fail)).transpose()
}

/// The revisions of these moments in projects, with their times. Moments that do not exist are left out.
pub async fn at(tx: &Tx, moments: &[(Member<'_>, Moment)]) -> Result<Vec<((ProjectId, Moment), AsOf)>> {
    let numbered: Vec<(usize, &(Member<'_>, Moment))> = moments.iter().enumerate().collect();
    let sql = union(&numbered, |sql, (index, (project, moment))| {
        sql.push(&format!("SELECT {index} AS n, e.revision, e.created_at FROM project_events e WHERE e.project_id = "));
        sql.bind(*project);
        named(sql, *moment);
        sql.push(" ORDER BY e.revision DESC LIMIT 1");
        Ok(())
    })?;
    let mut found = Vec::new();
    for row in tx.rows(sql).await? {
        let index: i32 = row.try_get("", "n").map_err(fail)?;
        let as_of = AsOf {
            revision: row.try_get("", "revision").map_err(fail)?,
            time: row.try_get("", "created_at").map_err(fail)?,
        };
        let moment = usize::try_from(index).ok().and_then(|index| moments.get(index));
        found.extend(moment.map(|(project, moment)| ((project.project(), *moment), as_of)));
    }
    Ok(found)
}

/// Adds the condition that the project in `column` has reached a revision.
pub(super) fn reached<'s>(sql: &'s mut Sql, column: &str, at: i32) -> &'s mut Sql {
    sql.push("EXISTS (SELECT 1 FROM project_events x WHERE x.project_id = ").push(column).push(" AND x.revision = ");
    sql.bind(at).push(")")
}

/// Adds the condition that an entry matches a moment. For a time, all entries at or before it match.
fn named(sql: &mut Sql, moment: Moment) {
    match moment {
        Moment::Revision(revision) => sql.push(" AND e.revision = ").bind(revision),
        Moment::Time(time) => sql.push(" AND e.created_at <= ").bind(time),
        Moment::Snapshot(id) => {
            sql.push(" AND e.revision = (SELECT s.revision FROM project_snapshots s WHERE s.project_id = e.project_id AND s.deleted_revision IS NULL AND s.id = ");
            sql.bind(id.0).push(")")
        }
        Moment::Message(id) => {
            sql.push(" AND e.revision = (SELECT coalesce(s.revision, m.revision) FROM chat_messages m LEFT JOIN project_snapshots s ");
            sql.push("ON s.project_id = m.project_id AND s.created_revision = m.revision WHERE m.project_id = e.project_id AND m.id = ");
            sql.bind(id.0).push(")")
        }
    };
}

/// Whether a project has an event of one of these kinds after a revision; in a session, if one is given.
pub async fn has_after(
    tx: &Tx,
    project: Member<'_>,
    revision: i32,
    kinds: &[EventKind],
    session: Option<SessionId>,
) -> Result<bool> {
    let mut sql = Sql::new("SELECT 1 AS n FROM project_events e WHERE e.project_id = ");
    sql.bind(project).push(" AND e.revision > ").bind(revision);
    sql.push(" AND e.kind IN ").list(kinds.iter().map(|kind| kind.as_str()));
    if let Some(session) = session {
        sql.push(" AND e.session_id = ").bind(session.0);
    }
    sql.push(" LIMIT 1");
    Ok(tx.row(sql).await?.is_some())
}

/// One event of a locked project.
pub async fn one(tx: &Tx, project: ProjectId, revision: i32) -> Result<Option<Event>> {
    let Some(project) = access::member(tx, project).await? else { return Ok(None) };
    Ok(by_revisions(tx, &[(project, revision)]).await?.into_iter().next())
}

/// Notifies a channel of PostgreSQL.
pub async fn notify(db: &Db, channel: &str, payloads: &[String]) -> Result<()> {
    let mut sql = Sql::new("SELECT ");
    for (index, payload) in payloads.iter().enumerate() {
        sql.push(if index == 0 { "pg_notify(" } else { ", pg_notify(" }).bind(channel).push(", ");
        sql.bind(payload.as_str()).push(")");
    }
    db.run_as_nobody(sql).await
}
