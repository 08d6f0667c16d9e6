//! `streaming_messages` and `streaming_chunks`: streaming messages and their texts.

use chrono::{DateTime, Utc};
use entity::streaming_messages;
use sea_orm::QueryResult;
use uuid::Uuid;

use super::access::{self, Member, is_member, role, role_of};
use super::columns::{JSON, Long, by_keys, columns};
use super::db::{Tx, fail, unknown};
use super::sql::Sql;
use crate::model::enums::{MessageRole, ProjectRole, ProjectStatus};
use crate::model::error::Result;
use crate::model::ids::{MessageId, ProjectId, SessionId, UserId};
use crate::model::json::Json;
use crate::model::long_columns::{LongColumn, LongColumns, Needing};
use crate::model::streaming_message::{NewChunk, StreamingMessage};

fn streaming(row: streaming_messages::Model) -> Result<StreamingMessage> {
    Ok(StreamingMessage {
        id: MessageId(row.id),
        project_id: ProjectId(row.project_id),
        session_id: SessionId(row.session_id),
        author_id: UserId(row.user_id),
        role: MessageRole::from_stored(&row.role).ok_or_else(|| unknown("message role", &row.role))?,
        length: row.length,
        started_at: row.started_at.to_utc(),
        last_append_at: row.last_append_at.to_utc(),
        context_data: Json::stored(row.context_data),
        metadata: Json::stored(row.metadata),
    })
}

const LONG: [Long<streaming_messages::Column>; 2] = [
    (streaming_messages::Column::ContextData, LongColumn::StreamingContextData, JSON),
    (streaming_messages::Column::Metadata, LongColumn::StreamingMetadata, JSON),
];

/// Adds `SELECT …` of the streaming messages `g`, up to the `WHERE`.
fn select(sql: &mut Sql, needed: LongColumns) -> &mut Sql {
    columns::<streaming_messages::Entity>(sql.push("SELECT "), ("g", ""), &LONG, needed);
    sql.push(" FROM streaming_messages g WHERE ")
}

/// The selected messages, oldest first. SQLite would sort them with their long columns.
async fn all(tx: &Tx, sql: Sql) -> Result<Vec<StreamingMessage>> {
    let rows: Vec<streaming_messages::Model> = tx.all(sql).await?;
    let mut messages = rows.into_iter().map(streaming).collect::<Result<Vec<_>>>()?;
    messages.sort_by_key(|message| (message.started_at, message.id));
    Ok(messages)
}

/// The streaming messages among `ids` that the actor can see.
pub async fn by_ids(tx: &Tx, ids: &[impl Copy + Into<Needing<MessageId>>]) -> Result<Vec<StreamingMessage>> {
    let sql = by_keys(tx, ids, |sql, needed, ids: &[MessageId]| {
        select(sql, needed).push("g.id IN ").list(ids.iter().map(|id| id.0)).push(" AND ");
        is_member(sql, "g.project_id", tx.me());
    });
    let found = all(tx, sql).await?;
    access::opened(tx, found.iter().map(|message| message.project_id));
    Ok(found)
}

/// The streaming messages of these sessions, oldest first.
pub async fn of_sessions(tx: &Tx, sessions: &[(Member<'_>, SessionId)]) -> Result<Vec<StreamingMessage>> {
    let mut sql = Sql::new("");
    select(&mut sql, tx.needed());
    access::among(&mut sql, ("g.project_id", "g.session_id"), sessions);
    all(tx, sql).await
}

/// The streaming messages of a project of the actor, oldest first.
pub async fn of_project(tx: &Tx, project: ProjectId) -> Result<Vec<StreamingMessage>> {
    let mut sql = Sql::new("");
    select(&mut sql, tx.needed());
    sql.push("g.project_id = ").bind(project.0).push(" AND ");
    is_member(&mut sql, "g.project_id", tx.me());
    all(tx, sql).await
}

/// The texts so far of these streaming messages. Messages without text are left out.
pub async fn texts(tx: &Tx, messages: &[(Member<'_>, MessageId)]) -> Result<Vec<(MessageId, String)>> {
    let mut sql = Sql::new("SELECT c.message_id, c.start, c.text FROM streaming_chunks c WHERE ");
    access::among(&mut sql, ("c.project_id", "c.message_id"), messages);
    let rows = tx.rows(sql).await?;
    let chunk = |row: &QueryResult| -> Result<(MessageId, i32, String)> {
        let (start, text) = (row.try_get("", "start").map_err(fail)?, row.try_get("", "text").map_err(fail)?);
        Ok((MessageId(row.try_get("", "message_id").map_err(fail)?), start, text))
    };
    let mut chunks = rows.iter().map(chunk).collect::<Result<Vec<_>>>()?;
    chunks.sort_by_key(|(id, start, _)| (*id, *start));
    let mut texts: Vec<(MessageId, String)> = Vec::new();
    for (id, _, text) in chunks {
        match texts.last_mut() {
            Some((last, before)) if *last == id => before.push_str(&text),
            _ => texts.push((id, text)),
        }
    }
    Ok(texts)
}

/// The text of a streaming message from the start of a chunk, and the total length in bytes; `None` if the message does
/// not exist (any more).
pub async fn text_from(tx: &Tx, id: MessageId, from: i32) -> Result<Option<(String, i32)>> {
    let mut sql = Sql::new(
        "SELECT c.text, g.length FROM streaming_messages g LEFT JOIN streaming_chunks c ON c.message_id = g.id ",
    );
    sql.push("AND c.start >= ").bind(from).push(" WHERE g.id = ").bind(id.0).push(" AND ");
    is_member(&mut sql, "g.project_id", tx.me()).push(" ORDER BY c.start");
    let rows = tx.rows(sql).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let length = first.try_get("", "length").map_err(fail)?;
    let mut text = String::new();
    for row in rows {
        text.push_str(row.try_get::<Option<String>>("", "text").map_err(fail)?.as_deref().unwrap_or_default());
    }
    Ok(Some((text, length)))
}

/// State of a session that the start of a streaming message must check.
#[expect(missing_docs, reason = "the names say it")]
pub struct Place {
    pub project_id: ProjectId,
    /// The author of the session.
    pub author_id: UserId,
    pub status: ProjectStatus,
    /// The actor's role.
    pub role: ProjectRole,
    /// The number of streaming messages in the session.
    pub streaming: i64,
    /// The streaming message with the same idempotency key, and its length.
    pub started: Option<(MessageId, i32)>,
    /// The finished message with the same idempotency key.
    pub finished: Option<MessageId>,
}

/// Reads [`Place`] in one statement.
pub async fn place(tx: &Tx, session: SessionId, idempotency_key: Option<&str>) -> Result<Option<Place>> {
    let mut sql = Sql::new("SELECT s.project_id, s.user_id, projects.status, ");
    role_of(&mut sql, "projects", tx.me()).push(" AS role, g.id AS started, g.length, m.id AS finished, ");
    sql.push("(SELECT count(*) FROM streaming_messages n WHERE n.session_id = s.id) AS streaming ");
    sql.push("FROM chat_sessions s JOIN projects ON projects.id = s.project_id ");
    sql.push("LEFT JOIN streaming_messages g ON g.session_id = s.id AND g.idempotency_key = ");
    sql.bind(idempotency_key.map(str::to_owned));
    sql.push(" LEFT JOIN chat_messages m ON m.session_id = s.id AND m.idempotency_key = ");
    sql.bind(idempotency_key.map(str::to_owned)).push(" WHERE s.id = ").bind(session.0).push(" AND ");
    is_member(&mut sql, "s.project_id", tx.me());
    let Some(row) = tx.row(sql).await? else { return Ok(None) };
    let id = |column: &str| row.try_get::<Option<Uuid>>("", column).map_err(fail);
    let length: Option<i32> = row.try_get("", "length").map_err(fail)?;
    Ok(Some(Place {
        project_id: ProjectId(row.try_get("", "project_id").map_err(fail)?),
        author_id: UserId(row.try_get("", "user_id").map_err(fail)?),
        status: status(&row.try_get::<String>("", "status").map_err(fail)?)?,
        role: role(&row.try_get::<String>("", "role").map_err(fail)?)?,
        streaming: row.try_get("", "streaming").map_err(fail)?,
        started: id("started")?.map(MessageId).zip(length),
        finished: id("finished")?.map(MessageId),
    }))
}

fn status(text: &str) -> Result<ProjectStatus> {
    ProjectStatus::from_stored(text).ok_or_else(|| unknown("project status", text))
}

/// Adds a streaming message of the actor; false if another has taken the idempotency key.
pub async fn insert(tx: &Tx, new: &StreamingMessage, idempotency_key: Option<String>) -> Result<bool> {
    let mut sql = Sql::new(
        "INSERT INTO streaming_messages (id, project_id, session_id, user_id, role, length, started_at, last_append_at, \
         context_data, metadata, idempotency_key) VALUES (",
    );
    sql.bind(new.id.0).push(", ").bind(new.project_id.0).push(", ").bind(new.session_id.0).push(", ");
    sql.bind(new.author_id.0).push(", ").bind(new.role.as_str()).push(", ").bind(new.length).push(", ");
    sql.bind(new.started_at).push(", ").bind(new.last_append_at).push(", ").bind(new.context_data.clone()).push(", ");
    sql.bind(new.metadata.clone()).push(", ").bind(idempotency_key);
    sql.push(") ON CONFLICT (session_id, idempotency_key) DO NOTHING");
    Ok(tx.execute(sql).await? == 1)
}

/// Appends a chunk of `bytes` bytes to a message of the actor that ends at the chunk's offset, in an active session of
/// a project in which they can write. Returns the project; `None` if a condition is not met, for which [`state`] has
/// the reason.
pub async fn append(tx: &Tx, chunk: &NewChunk, bytes: i32, now: DateTime<Utc>) -> Result<Option<ProjectId>> {
    let (id, me) = (chunk.message_id.0, tx.me());
    let mut sql = Sql::new("UPDATE streaming_messages SET length = length + ");
    sql.bind(bytes).push(", last_append_at = ").bind(now).push(" WHERE id = ").bind(id);
    sql.push(" AND length = ").bind(chunk.offset).push(" AND user_id = ").bind(me);
    sql.push(" AND EXISTS (SELECT 1 FROM projects WHERE projects.id = streaming_messages.project_id AND projects.status <> 'deleted' AND ");
    role_of(&mut sql, "projects", me).push(" <> 'viewer') RETURNING project_id");
    let Some(row) = tx.row(sql).await? else { return Ok(None) };
    let project: Uuid = row.try_get("", "project_id").map_err(fail)?;
    if bytes > 0 {
        let mut sql = Sql::new("INSERT INTO streaming_chunks (message_id, start, project_id, text) VALUES (");
        sql.bind(id).push(", ").bind(chunk.offset).push(", ").bind(project).push(", ").bind(chunk.text.clone());
        sql.push(")");
        tx.execute(sql).await?;
    }
    Ok(Some(ProjectId(project)))
}

/// State that decides whether text can be appended to a message.
#[expect(missing_docs, reason = "the names say it")]
pub struct State {
    pub project_id: ProjectId,
    /// The author of the session.
    pub author_id: UserId,
    pub status: ProjectStatus,
    /// The actor's role.
    pub role: ProjectRole,
    /// Length of the text in bytes.
    pub length: i32,
    /// Offset of `text`.
    pub from: i32,
    /// The end of the text, starting at or before the requested offset.
    pub text: String,
}

/// Reads, in one statement, the state of a streaming message that the actor can see, with its text from the chunk that
/// contains the byte at `offset`.
pub async fn state(tx: &Tx, id: MessageId, offset: i32) -> Result<Option<State>> {
    let mut sql = Sql::new("SELECT g.project_id, g.user_id, g.length, projects.status, ");
    role_of(&mut sql, "projects", tx.me()).push(" AS role, c.start, c.text FROM streaming_messages g ");
    sql.push("JOIN projects ON projects.id = g.project_id ");
    sql.push("LEFT JOIN streaming_chunks c ON c.message_id = g.id AND c.start >= ");
    sql.push("(SELECT max(d.start) FROM streaming_chunks d WHERE d.message_id = g.id AND d.start <= ").bind(offset);
    sql.push(") WHERE g.id = ").bind(id.0).push(" AND ");
    is_member(&mut sql, "g.project_id", tx.me()).push(" ORDER BY c.start");
    let rows = tx.rows(sql).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut text = String::new();
    for row in &rows {
        text.push_str(row.try_get::<Option<String>>("", "text").map_err(fail)?.as_deref().unwrap_or_default());
    }
    Ok(Some(State {
        project_id: ProjectId(row.try_get("", "project_id").map_err(fail)?),
        author_id: UserId(row.try_get("", "user_id").map_err(fail)?),
        status: status(&row.try_get::<String>("", "status").map_err(fail)?)?,
        role: role(&row.try_get::<String>("", "role").map_err(fail)?)?,
        length: row.try_get("", "length").map_err(fail)?,
        from: row.try_get::<Option<i32>>("", "start").map_err(fail)?.unwrap_or_default(),
        text,
    }))
}

/// Locks a streaming message of the actor until the transaction ends, so that no text is appended. Returns it with its
/// idempotency key; `None` if it does not exist (any more).
pub async fn hold(tx: &Tx, id: MessageId) -> Result<Option<(StreamingMessage, Option<String>)>> {
    let mut sql = Sql::new("UPDATE streaming_messages SET length = length WHERE id = ");
    sql.bind(id.0).push(" AND user_id = ").bind(tx.me()).push(" RETURNING *");
    let rows: Vec<streaming_messages::Model> = tx.all(sql).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let key = row.idempotency_key.clone();
    Ok(Some((streaming(row)?, key)))
}

/// Removes a streaming message that the actor can see, with its text; false if it does not exist (any more).
pub async fn remove(tx: &Tx, id: MessageId) -> Result<bool> {
    let mut sql = Sql::new("DELETE FROM streaming_messages WHERE id = ");
    sql.bind(id.0).push(" AND ");
    is_member(&mut sql, "streaming_messages.project_id", tx.me());
    Ok(tx.execute(sql).await? == 1)
}
