//! `chat_sessions` and `chat_messages`.

use chrono::{DateTime, Utc};
use entity::chat_sessions;
use sea_orm::{FromQueryResult, QueryResult, Value};
use uuid::Uuid;

use super::access::{self, Member, is_member};
use super::cells::Cells;
use super::columns::{JSON, Long, TEXT, by_keys, columns};
use super::db::{Call, Tx, fail, unknown};
use super::door::{self, ListQuery};
use super::revision::{self, Conversation, Counts};
use super::sql::{Order, Sql, pages, union};
use super::{event, project};
use crate::model::chat::{Message, MessageFilter, Session, SessionFilter};
use crate::model::enums::MessageRole;
use crate::model::error::Result;
use crate::model::event::Event;
use crate::model::ids::{MessageId, ProjectId, ProjectSnapshotId, SessionId, UserId, Within};
use crate::model::json::Json;
use crate::model::long_columns::{LongColumn, LongColumns, Needing};
use crate::model::page::{Cursor, Key, KeyKind, Page, Slice};
use crate::model::project::Project;
use crate::model::snapshot::ProjectSnapshot;

const NEWEST_FIRST: Order = Order { columns: &[("s.revision", KeyKind::Number)], descending: true };
const OLDEST_FIRST: Order = Order { columns: &[("m.revision", KeyKind::Number)], descending: false };

const LONG_OF_SESSION: [Long<chat_sessions::Column>; 1] =
    [(chat_sessions::Column::Metadata, LongColumn::SessionMetadata, JSON)];

/// The start of a message's content, which is read if the whole is not needed.
const EXCERPT: &str = "substr(m.content, 1, 200)";

impl From<chat_sessions::Model> for Session {
    fn from(row: chat_sessions::Model) -> Self {
        Self {
            id: SessionId(row.id),
            project_id: ProjectId(row.project_id),
            author_id: UserId(row.user_id),
            revision: row.revision,
            title: row.title,
            started_at: row.started_at.to_utc(),
            ended_at: row.ended_at.map(|time| time.to_utc()),
            message_count: row.message_count,
            is_active: row.is_active,
            metadata: Json::stored(row.metadata),
            as_of: None,
        }
    }
}

/// A message in the columns of [`select_messages`].
fn selected_message(row: &QueryResult) -> Result<Message> {
    let data = |data: Option<&str>| Json::stored(data.unwrap_or("null"));
    let mut cells = Cells::at(row, "id")?;
    let (id, project_id, session_id) = (MessageId(cells.next()?), ProjectId(cells.next()?), SessionId(cells.next()?));
    let (author_id, revision, role) = (UserId(cells.next()?), cells.next()?, cells.next()?);
    Ok(Message {
        id,
        project_id,
        session_id,
        author_id,
        revision,
        role: MessageRole::from_stored(role).ok_or_else(|| unknown("message role", role))?,
        content: cells.next::<&str>()?.into(),
        timestamp: cells.next()?,
        is_checkpoint: cells.next()?,
        context_data: data(cells.next()?),
        metadata: data(cells.next()?),
        hidden_revision: cells.next()?,
    })
}

async fn sessions(tx: &Tx, sql: Sql) -> Result<Vec<Session>> {
    let rows: Vec<chat_sessions::Model> = tx.all(sql).await?;
    Ok(rows.into_iter().map(Session::from).collect())
}

/// Adds `SELECT …` of the sessions `s`, up to the `WHERE`.
fn select_sessions(sql: &mut Sql, needed: LongColumns) -> &mut Sql {
    columns::<chat_sessions::Entity>(sql.push("SELECT "), ("s", ""), &LONG_OF_SESSION, needed);
    sql.push(" FROM chat_sessions s WHERE ")
}

pub(super) async fn messages(tx: &Tx, sql: Sql) -> Result<Vec<Message>> {
    tx.rows(sql).await?.iter().map(selected_message).collect()
}

/// The sessions among `ids` in the actor's projects.
pub async fn sessions_by_ids(tx: &Tx, ids: &[impl Copy + Into<Needing<SessionId>>]) -> Result<Vec<Session>> {
    let sql = by_keys(tx, ids, |sql, needed, ids: &[SessionId]| {
        select_sessions(sql, needed).push("s.id IN ").list(ids.iter().map(|id| id.0)).push(" AND ");
        is_member(sql, "s.project_id", tx.me());
    });
    let found = sessions(tx, sql).await?;
    access::opened(tx, found.iter().map(|session| session.project_id));
    Ok(found)
}

/// The actor's own active session of each project.
pub async fn active_sessions(tx: &Tx, projects: &[Member<'_>]) -> Result<Vec<Session>> {
    let mut sql = Sql::new("");
    select_sessions(&mut sql, tx.needed())
        .push("s.is_active AND s.user_id = ")
        .bind(tx.me())
        .push(" AND s.project_id IN ")
        .list(projects.iter().copied());
    sessions(tx, sql).await
}

fn keep_sessions(sql: &mut Sql, keep: &SessionFilter) {
    if let Some(author) = keep.author {
        sql.push(" AND s.user_id = ").bind(author.0);
    }
    match (keep.is_active, keep.until) {
        (None, _) => {}
        (Some(is_active), None) => {
            sql.push(if is_active { " AND s.is_active" } else { " AND NOT s.is_active" });
        }
        (Some(true), Some(then)) => {
            sql.push(" AND (s.ended_at IS NULL OR s.ended_at > ").bind(then.time).push(")");
        }
        (Some(false), Some(then)) => {
            sql.push(" AND s.ended_at <= ").bind(then.time);
        }
    }
    if let Some(time) = keep.started_after {
        sql.push(" AND s.started_at >= ").bind(time);
    }
    if let Some(time) = keep.started_before {
        sql.push(" AND s.started_at <= ").bind(time);
    }
    if let Some(then) = keep.until {
        sql.push(" AND s.revision <= ").bind(then.revision);
    }
}

/// The sessions of each project, newest first.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn sessions_page(
    tx: &Tx,
    projects: &[Member<'_>],
    keep: &SessionFilter,
    page: &Page,
) -> Result<Vec<(ProjectId, Slice<Session>)>> {
    let sql = pages(projects, NEWEST_FIRST, page, |sql, project| {
        select_sessions(sql, tx.needed_of(page)).push("s.project_id = ").bind(project);
        keep_sessions(sql, keep);
    })?;
    let rows = sessions(tx, sql).await?.into_iter();
    let rows = rows.map(|row| (row.project_id, Cursor(vec![Key::Number(row.revision.into())]), row)).collect();
    Ok(super::group(rows, page))
}

/// A project of the actor, and its sessions as [`sessions_page`] returns them.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn project_with_sessions(
    tx: &Tx,
    project: Needing<ProjectId>,
    keep: &SessionFilter,
    page: &Page,
) -> Result<Option<(Project, Slice<Session>)>> {
    let select = |sql: &mut Sql| {
        select_sessions(sql, tx.needed_of(page)).push("s.project_id = ").bind(project.0.0);
        keep_sessions(sql, keep);
    };
    let read = |row: &QueryResult| {
        let row = Session::from(chat_sessions::Model::from_query_result(row, "").map_err(fail)?);
        Ok((Cursor(vec![Key::Number(row.revision.into())]), row))
    };
    project::with_list(tx, project, ListQuery { order: NEWEST_FIRST, page, select: &select, read: &read }).await
}

/// Total length of the list of [`sessions_page`], per project.
pub async fn sessions_count(tx: &Tx, projects: &[Member<'_>], keep: &SessionFilter) -> Result<Vec<(ProjectId, i64)>> {
    let mut sql = Sql::new("SELECT s.project_id AS parent, count(*) AS n FROM chat_sessions s WHERE s.project_id IN ");
    sql.list(projects.iter().copied());
    keep_sessions(&mut sql, keep);
    sql.push(" GROUP BY s.project_id");
    Ok(tx.counts(sql).await?.into_iter().map(|(id, n)| (ProjectId(id), n)).collect())
}

/// The messages among `ids` in the actor's projects.
pub async fn messages_by_ids(tx: &Tx, ids: &[impl Copy + Into<Needing<MessageId>>]) -> Result<Vec<Message>> {
    let sql = by_keys(tx, ids, |sql, needed, ids: &[MessageId]| {
        select_messages(sql, needed, None).push("WHERE m.id IN ").list(ids.iter().map(|id| id.0)).push(" AND ");
        is_member(sql, "m.project_id", tx.me());
    });
    let found = messages(tx, sql).await?;
    access::opened(tx, found.iter().map(|message| message.project_id));
    Ok(found)
}

/// Adds a `SELECT` of messages, with their hidden state now or at a revision.
pub(super) fn select_messages(sql: &mut Sql, needed: LongColumns, until: Option<i32>) -> &mut Sql {
    let long = |column, expression: &'static str, blank| if needed.has(column) { expression } else { blank };
    let start = long(LongColumn::MessageExcerpt, EXCERPT, TEXT);
    sql.push("SELECT m.id, m.project_id, m.session_id, m.user_id, m.revision, m.role, ");
    sql.push(long(LongColumn::MessageContent, "m.content", start)).push(" AS content, m.timestamp, m.is_checkpoint, ");
    sql.push(long(LongColumn::MessageContextData, "m.context_data", JSON)).push(" AS context_data, ");
    sql.push(long(LongColumn::MessageMetadata, "m.metadata", JSON)).push(" AS metadata, ");
    match until {
        None => sql.push("m.hidden_revision"),
        Some(until) => hidden_at(sql.push("(SELECT f.revision"), until).push(") AS hidden_revision"),
    };
    sql.push(" FROM chat_messages m ")
}

/// Adds the entry of `hidden_messages` that was in force for the message `m` at a revision, from `FROM` on.
fn hidden_at(sql: &mut Sql, at: i32) -> &mut Sql {
    sql.push(" FROM hidden_messages f WHERE f.message_id = m.id AND f.revision <= ").bind(at);
    sql.push(" AND (f.superseded_revision IS NULL OR f.superseded_revision > ").bind(at).push(")")
}

/// Messages of the actor's projects, each as of a revision. Messages that did not exist then are left out.
pub async fn messages_as_of(tx: &Tx, wanted: &[Needing<(MessageId, i32)>]) -> Result<Vec<(i32, Message)>> {
    let sql = union(wanted, |sql, Needing((id, at), columns)| {
        sql.push(&format!("SELECT {at} AS moment, w.* FROM ("));
        select_messages(sql, tx.needed().and(columns), Some(at))
            .push("WHERE m.id = ")
            .bind(id.0)
            .push(" AND m.revision <= ")
            .bind(at)
            .push(" AND ");
        event::reached(sql, "m.project_id", at).push(" AND ");
        is_member(sql, "m.project_id", tx.me()).push(") AS w");
        Ok(())
    })?;
    let rows = tx.rows(sql).await?;
    let rows = rows.iter().map(|row| {
        let at: i32 = row.try_get("", "moment").map_err(fail)?;
        Ok((at, selected_message(row)?))
    });
    let found: Vec<(i32, Message)> = rows.collect::<Result<_>>()?;
    access::opened(tx, found.iter().map(|(_, message)| message.project_id));
    Ok(found)
}

pub(super) fn keep_messages(sql: &mut Sql, tx: &Tx, keep: &MessageFilter) {
    if let Some(role) = keep.role {
        sql.push(" AND m.role = ").bind(role.as_str());
    }
    if let Some(is_checkpoint) = keep.is_checkpoint {
        sql.push(if is_checkpoint { " AND m.is_checkpoint" } else { " AND NOT m.is_checkpoint" });
    }
    if let Some(search) = &keep.search {
        sql.push(" AND ").contains(tx.is_sqlite(), "m.content", search);
    }
    if let Some(time) = keep.after {
        sql.push(" AND m.timestamp >= ").bind(time);
    }
    if let Some(time) = keep.before {
        sql.push(" AND m.timestamp <= ").bind(time);
    }
    if let Some(until) = keep.until {
        sql.push(" AND m.revision <= ").bind(until);
    }
    match (keep.include_hidden, keep.until) {
        (true, _) => {}
        (false, None) => {
            sql.push(" AND m.hidden_revision IS NULL");
        }
        (false, Some(until)) => {
            hidden_at(sql.push(" AND NOT EXISTS (SELECT 1"), until).push(")");
        }
    }
}

/// The messages of each session, oldest first.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn messages_page(
    tx: &Tx,
    sessions: &[(Member<'_>, SessionId)],
    keep: &MessageFilter,
    page: &Page,
) -> Result<Vec<(Within<SessionId>, Slice<Message>)>> {
    let sql = pages(sessions, OLDEST_FIRST, page, |sql, (member, session)| {
        select_messages(sql, tx.needed_of(page), keep.until)
            .push("WHERE m.session_id = ")
            .bind(session.0)
            .push(" AND m.project_id = ")
            .bind(member);
        keep_messages(sql, tx, keep);
    })?;
    let rows = tx.rows(sql).await?;
    let rows = rows.iter().map(|row| {
        let row = selected_message(row)?;
        let parent = Within { project: row.project_id, id: row.session_id };
        Ok((parent, Cursor(vec![Key::Number(row.revision.into())]), row))
    });
    Ok(super::group(rows.collect::<Result<_>>()?, page))
}

/// A session in one of the actor's projects, and its messages as [`messages_page`] returns them.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn session_with_messages(
    tx: &Tx,
    Needing(session, long_columns): Needing<SessionId>,
    keep: &MessageFilter,
    page: &Page,
) -> Result<Option<(Session, Slice<Message>)>> {
    let door = |sql: &mut Sql| {
        let needed = tx.needed().and(long_columns);
        columns::<chat_sessions::Entity>(sql, ("s", door::PREFIX), &LONG_OF_SESSION, needed);
        sql.push(" FROM chat_sessions s WHERE s.id = ").bind(session.0).push(" AND ");
        is_member(sql, "s.project_id", tx.me());
    };
    let row = |row: &QueryResult| {
        let session = chat_sessions::Model::from_query_result(row, door::PREFIX).map_err(fail)?;
        Ok((ProjectId(session.project_id), session.into()))
    };
    let select = |sql: &mut Sql| {
        select_messages(sql, tx.needed_of(page), keep.until).push("WHERE m.session_id = ").bind(session.0);
        keep_messages(sql, tx, keep);
    };
    let read =
        |row: &QueryResult| selected_message(row).map(|row| (Cursor(vec![Key::Number(row.revision.into())]), row));
    door::open(tx, door, row, ListQuery { order: OLDEST_FIRST, page, select: &select, read: &read }).await
}

/// Total length of the list of [`messages_page`], per session.
pub async fn messages_count(
    tx: &Tx,
    sessions: &[(Member<'_>, SessionId)],
    keep: &MessageFilter,
) -> Result<Vec<(Within<SessionId>, i64)>> {
    let mut sql = Sql::new("SELECT m.project_id, m.session_id AS parent, count(*) AS n FROM chat_messages m WHERE ");
    access::among(&mut sql, ("m.project_id", "m.session_id"), sessions);
    keep_messages(&mut sql, tx, keep);
    sql.push(" GROUP BY m.project_id, m.session_id");
    tx.rows(sql).await?.iter().map(|row| access::counted(row, SessionId)).collect()
}

/// A session's messages after a revision, oldest first.
pub async fn messages_after(tx: &Tx, session: SessionId, revision: i32, limit: usize) -> Result<Vec<Message>> {
    let mut sql = Sql::new("");
    select_messages(&mut sql, tx.needed(), None)
        .push("WHERE m.session_id = ")
        .bind(session.0)
        .push(" AND m.revision > ")
        .bind(revision)
        .push(" AND ");
    is_member(&mut sql, "m.project_id", tx.me()).push(" ORDER BY m.revision LIMIT ");
    sql.bind(i64::try_from(limit).unwrap_or(i64::MAX));
    messages(tx, sql).await
}

/// Ends a user's active session of a locked project, and returns its id if there was one.
pub async fn end_active(tx: &Tx, project: ProjectId, user: UserId, now: DateTime<Utc>) -> Result<Option<SessionId>> {
    let mut sql = Sql::new("UPDATE chat_sessions SET is_active = ");
    sql.bind(false).push(", ended_at = ").bind(now).push(" WHERE is_active AND project_id = ").bind(project.0);
    sql.push(" AND user_id = ").bind(user.0).push(" RETURNING id");
    let row = tx.row(sql).await?;
    row.map(|row| Ok(SessionId(row.try_get("", "id").map_err(fail)?))).transpose()
}

/// Ends a session of the actor.
pub async fn end(tx: &Tx, session: SessionId, now: DateTime<Utc>) -> Result<()> {
    let mut sql = Sql::new("UPDATE chat_sessions SET is_active = ");
    sql.bind(false).push(", ended_at = ").bind(now).push(" WHERE id = ").bind(session.0);
    sql.push(" AND user_id = ").bind(tx.me());
    tx.execute(sql).await?;
    Ok(())
}

/// Adds a session of the actor.
pub async fn insert_session(tx: &Tx, new: &Session) -> Result<()> {
    const INSERT: &str = "INSERT INTO chat_sessions (id, project_id, user_id, revision, title, started_at, metadata, is_active, \
        ended_at, message_count) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)";
    let values: [Value; 9] = [
        new.id.0.into(),
        new.project_id.0.into(),
        new.author_id.0.into(),
        new.revision.into(),
        new.title.clone().into(),
        new.started_at.into(),
        new.metadata.clone().into(),
        new.is_active.into(),
        new.ended_at.into(),
    ];
    tx.execute(Sql::with(INSERT, values)).await?;
    Ok(())
}

/// The message with an idempotency key in a session of a locked project.
pub async fn message_of_key(tx: &Tx, session: SessionId, key: &str) -> Result<Option<Message>> {
    let mut sql = Sql::new("");
    select_messages(&mut sql, LongColumns::default(), None).push("WHERE m.session_id = ").bind(session.0);
    sql.push(" AND m.idempotency_key = ").bind(key);
    Ok(messages(tx, sql).await?.into_iter().next())
}

/// A message of the actor to be stored.
#[derive(Debug)]
pub struct MessageRow {
    /// The message.
    pub message: Message,
    /// The key with which the sender can repeat the request safely.
    pub idempotency_key: Option<String>,
    /// The snapshot of a checkpoint.
    pub snapshot: Option<ProjectSnapshot>,
}

/// Stores a message as the next revision of its locked project; on PostgreSQL the returned call does this.
pub async fn add_message(tx: &Tx, event: &Event, new: MessageRow) -> Result<Option<Call>> {
    let MessageRow { message: new, idempotency_key, snapshot } = new;
    let own: [Value; 11] = [
        new.project_id.0.into(),
        new.revision.into(),
        new.timestamp.into(),
        new.id.0.into(),
        new.session_id.0.into(),
        new.role.as_str().into(),
        new.content.as_ref().into(),
        new.is_checkpoint.into(),
        new.context_data.into(),
        new.metadata.into(),
        idempotency_key.into(),
    ];
    if tx.is_sqlite() {
        const INSERT: &str = "INSERT INTO chat_messages (project_id, revision, timestamp, id, session_id, role, content, \
            is_checkpoint, context_data, metadata, idempotency_key, user_id) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        // A trigger counts the session's messages.
        tx.execute(Sql::with(INSERT, own.into_iter().chain([new.author_id.0.into()]))).await?;
        if let Some(snapshot) = &snapshot {
            super::snapshot::insert(tx, snapshot).await?;
        }
        revision::take(tx, event, None, Counts { messages: 1, ..Counts::default() }).await?;
        return Ok(None);
    }
    let made: [Value; 3] = [
        snapshot.as_ref().map(|made| made.id.0).into(),
        snapshot.as_ref().map(|made| made.file_count).into(),
        snapshot.as_ref().map(|made| made.manifest.to_vec()).into(),
    ];
    Ok(Some(Call::last("add_message", own.into_iter().chain(made))))
}

/// Finds the session and the message that a write to `project` names; a message also determines its session. `None` if
/// the project has no such session. `message_id` is `None` if the session has no such message.
pub async fn conversation(
    tx: &Tx,
    project: ProjectId,
    session: Option<SessionId>,
    message: Option<MessageId>,
) -> Result<Option<Conversation>> {
    let mut sql = Sql::new(
        "SELECT s.id AS session_id, s.user_id, m.id AS message_id, n.id AS snapshot_id FROM chat_sessions s \
         LEFT JOIN chat_messages m ON m.session_id = s.id AND m.id = ",
    );
    sql.bind(message.map(|id| id.0));
    sql.push(" LEFT JOIN project_snapshots n ON n.project_id = m.project_id AND n.created_revision = m.revision WHERE s.id = ");
    match (session, message) {
        (Some(session), _) => sql.bind(session.0),
        (None, Some(message)) => {
            sql.push("(SELECT session_id FROM chat_messages WHERE id = ").bind(message.0).push(")")
        }
        (None, None) => return Ok(None),
    };
    sql.push(" AND s.project_id = ").bind(project.0);
    let Some(row) = tx.row(sql).await? else { return Ok(None) };
    let optional = |column: &str| row.try_get::<Option<Uuid>>("", column).map_err(fail);
    Ok(Some(Conversation {
        session_id: SessionId(row.try_get("", "session_id").map_err(fail)?),
        author_id: UserId(row.try_get("", "user_id").map_err(fail)?),
        message_id: optional("message_id")?.map(MessageId),
        snapshot_id: optional("snapshot_id")?.map(ProjectSnapshotId),
    }))
}

/// Hides, at a revision, the messages after another message in a session of the actor. Returns their number.
pub async fn hide(tx: &Tx, project: ProjectId, session: SessionId, after: i32, revision: i32) -> Result<u64> {
    let mut sql = Sql::new("UPDATE chat_messages SET hidden_revision = ");
    sql.bind(revision).push(" WHERE hidden_revision IS NULL AND session_id = ").bind(session.0);
    sql.push(" AND user_id = ").bind(tx.me()).push(" AND revision > ").bind(after);
    let hidden = tx.execute(sql).await?;
    record_hidden(tx, project, revision).await?;
    Ok(hidden)
}

/// Records in `hidden_messages` the messages that a revision has hidden.
async fn record_hidden(tx: &Tx, project: ProjectId, revision: i32) -> Result<()> {
    let mut sql = Sql::new(
        "INSERT INTO hidden_messages (message_id, revision, project_id) SELECT id, hidden_revision, project_id FROM chat_messages \
         WHERE project_id = ",
    );
    sql.bind(project.0).push(" AND hidden_revision = ").bind(revision);
    tx.execute(sql).await?;
    Ok(())
}

/// The messages that a revision hid or showed again.
#[derive(Clone, Copy, Debug)]
pub struct Hiding {
    /// The author of the messages: a revision changes one session, and a session has one author.
    pub author_id: UserId,
    /// Whether at least one message is still in the state that the revision left it in.
    pub stands: bool,
}

/// The messages that a revision of a locked project hid or showed again; `None` if there are none.
pub async fn hiding(tx: &Tx, project: ProjectId, revision: i32) -> Result<Option<Hiding>> {
    let mut sql = Sql::with(
        "SELECT m.user_id, max(CASE WHEN (f.revision = $1) = (m.hidden_revision IS NOT NULL) THEN 1 ELSE 0 END) AS stands \
         FROM hidden_messages f JOIN chat_messages m ON m.id = f.message_id WHERE f.project_id = ",
        [revision.into()],
    );
    sql.bind(project.0).push(" AND (f.revision = $1 OR f.superseded_revision = $1) GROUP BY m.user_id");
    let Some(row) = tx.row(sql).await? else { return Ok(None) };
    let author: Uuid = row.try_get("", "user_id").map_err(fail)?;
    let stands: i32 = row.try_get("", "stands").map_err(fail)?;
    Ok(Some(Hiding { author_id: UserId(author), stands: stands == 1 }))
}

/// Reverts, at `revision`, the hidden states that `undone` changed in a locked project, unless they have changed since:
/// shows the messages that it hid, and hides those that it showed. Returns both numbers.
pub async fn revert_hiding(tx: &Tx, project: ProjectId, undone: i32, revision: i32) -> Result<(u64, u64)> {
    const END: &str = "UPDATE hidden_messages SET superseded_revision = $1 WHERE superseded_revision IS NULL AND project_id = $2 \
        AND message_id IN (SELECT f.message_id FROM hidden_messages f WHERE f.project_id = $2 AND f.revision = $3)";
    const SHOW: &str = "UPDATE chat_messages SET hidden_revision = NULL WHERE hidden_revision IS NOT NULL AND project_id = $1 \
        AND id IN (SELECT f.message_id FROM hidden_messages f WHERE f.project_id = $1 AND f.revision = $2)";
    const HIDE: &str = "UPDATE chat_messages SET hidden_revision = $1 WHERE hidden_revision IS NULL AND project_id = $2 \
        AND id IN (SELECT f.message_id FROM hidden_messages f WHERE f.project_id = $2 AND f.superseded_revision = $3)";
    let values = || [revision.into(), project.0.into(), undone.into()];
    // Hide before showing, so that this statement does not match messages shown by this revision.
    let hidden = tx.execute(Sql::with(HIDE, values())).await?;
    let shown = tx.execute(Sql::with(SHOW, [project.0.into(), undone.into()])).await?;
    tx.execute(Sql::with(END, values())).await?;
    record_hidden(tx, project, revision).await?;
    Ok((shown, hidden))
}
