//! Sessions and messages.

use super::project::{Locked, Target};
use super::write::{Rows, Write};
use super::{Tx, Writer, access, check_json, check_name, check_text, check_title, policy};
use crate::model::chat::{Message, NewMessage, NewSession, Session};
use crate::model::clock;
use crate::model::enums::{EventKind, MessageRole};
use crate::model::error::{Error, Result};
use crate::model::ids::{MessageId, ProjectSnapshotId, SessionId};
use crate::model::json::Json;
use crate::model::manifest::manifest;
use crate::model::snapshot::{ProjectSnapshot, automatic_name};
use crate::storage::chat::MessageRow;
pub use crate::storage::chat::{
    active_sessions, messages_by_ids, messages_count, messages_page, project_with_sessions, session_with_messages,
    sessions_by_ids, sessions_count, sessions_page,
};
pub use crate::storage::chat_activity::{recent, recent_count};
use crate::storage::revision::Named;
use crate::storage::{chat, file, snapshot};

/// Ends the actor's active session of a project, then starts one. Returns it with the revision.
///
/// # Errors
/// `NotFound`, `Forbidden` for viewers, `PayloadTooLarge` for a value over the limit.
pub async fn start_session(writer: Writer, new: NewSession) -> Result<(Session, i32)> {
    if let Some(title) = &new.title {
        check_title(writer.limits(), "title", title)?;
    }
    check_json(writer.limits(), "metadata", new.metadata.as_ref())?;
    let write = writer.begin(Target::Project(new.project_id), ("project", "projectId")).await?;
    let Locked { id: project_id, at, .. } = write.locked;
    chat::end_active(&write.tx, project_id, writer.actor.user_id, at).await?;
    let session = new_session(&write, new);
    add_session(write, session).await
}

/// Adds a session that has ended, which leaves the actor's active session as it is. Returns it with the revision.
///
/// # Errors
/// As [`start_session`].
pub(super) async fn add_ended_session(writer: Writer, new: NewSession) -> Result<(Session, i32)> {
    let write = writer.begin(Target::Project(new.project_id), ("project", "projectId")).await?;
    let session = Session { is_active: false, ended_at: Some(write.locked.at), ..new_session(&write, new) };
    add_session(write, session).await
}

fn new_session(write: &Write, new: NewSession) -> Session {
    Session {
        id: SessionId(clock::new_id()),
        project_id: write.locked.id,
        author_id: write.writer.actor.user_id,
        revision: write.locked.revision,
        title: new.title,
        started_at: write.locked.at,
        ended_at: None,
        message_count: 0,
        is_active: true,
        metadata: new.metadata.unwrap_or_else(Json::object),
        as_of: None,
    }
}

async fn add_session(mut write: Write, session: Session) -> Result<(Session, i32)> {
    chat::insert_session(&write.tx, &session).await?;
    write.writer.knows(session.id.0, session.project_id);
    write.about.session = Some(session.id);
    let revision = session.revision;
    write.commit(EventKind::SessionStarted, (session, revision)).await
}

/// Ends a session; does nothing if it has ended. Returns it with the project's revision.
///
/// # Errors
/// `NotFound`, `Forbidden` unless the actor is its author.
pub async fn end_session(writer: Writer, id: SessionId) -> Result<(Session, i32)> {
    let mut write = writer.begin(Target::Session(id), ("session", "id")).await?;
    let session = sessions_by_ids(&write.tx, &[id]).await?.into_iter().next();
    let session = session.ok_or_else(|| Error::not_found("session", "id"))?;
    policy::may_write_in_session(session.author_id, writer.actor.user_id)?;
    if !session.is_active {
        let revision = write.present_revision();
        return write.unchanged((session, revision)).await;
    }
    let Locked { revision, at, .. } = write.locked;
    chat::end(&write.tx, id, at).await?;
    write.about.session = Some(id);
    let session = Session { is_active: false, ended_at: Some(at), ..session };
    write.commit(EventKind::SessionEnded, (session, revision)).await
}

/// A message that was added now, or earlier under the same idempotency key.
#[derive(Debug)]
pub struct Added {
    /// The message.
    pub message: Message,
    /// The snapshot of a checkpoint.
    pub snapshot: Option<ProjectSnapshot>,
    /// The revision that added the message.
    pub revision: i32,
}

/// Adds a message, also to an ended session, which stays ended. An assistant's checkpoint also creates a snapshot, in
/// the same revision.
///
/// # Errors
/// `NotFound`; `Forbidden` unless the actor is the session's author; `PayloadTooLarge` for a value over the limit.
pub async fn add_message(writer: Writer, new: NewMessage) -> Result<Added> {
    let limits = writer.limits();
    check_text(limits, "content", &new.content)?;
    check_json(limits, "contextData", new.context_data.as_ref())?;
    check_json(limits, "metadata", new.metadata.as_ref())?;
    if let Some(key) = &new.idempotency_key {
        check_name(limits, "idempotencyKey", key)?;
    }
    let named = Named { session: Some(new.session_id), message: None };
    let write = writer.begin_in(Target::Session(new.session_id), named, ("session", "sessionId")).await?;
    let session = write.locked.conversation.ok_or_else(|| Error::not_found("session", "sessionId"))?;
    policy::may_write_in_session(session.author_id, writer.actor.user_id)?;
    if let Some(key) = &new.idempotency_key
        && let Some(before) = chat::message_of_key(&write.tx, new.session_id, key).await?
    {
        let added = added_before(&write.tx, before).await?;
        return write.unchanged(added).await;
    }
    let message = Message {
        id: MessageId(clock::new_id()),
        project_id: write.locked.id,
        session_id: new.session_id,
        author_id: writer.actor.user_id,
        revision: write.locked.revision,
        role: new.role,
        content: new.content.into(),
        timestamp: write.locked.at,
        is_checkpoint: new.is_checkpoint,
        context_data: new.context_data.unwrap_or_else(Json::object),
        metadata: new.metadata.unwrap_or_else(Json::object),
        hidden_revision: None,
    };
    add(write, message, new.idempotency_key).await
}

/// Whether a message creates a snapshot.
fn makes_snapshot(role: MessageRole, is_checkpoint: bool) -> bool {
    is_checkpoint && role == MessageRole::Assistant
}

/// The result for a message that was added earlier.
pub(super) async fn added_before(tx: &Tx, message: Message) -> Result<Added> {
    let made = access::member(tx, message.project_id).await?.map(|member| (member, message.revision));
    let snapshot = snapshot::by_created_revisions(tx, made.as_slice()).await?.into_iter().next();
    Ok(Added { revision: message.revision, message, snapshot })
}

/// Adds a message, with a snapshot for a checkpoint.
pub(super) async fn add(mut write: Write, message: Message, idempotency_key: Option<String>) -> Result<Added> {
    let mut snapshot = None;
    if makes_snapshot(message.role, message.is_checkpoint) {
        let files = file::manifest(&write.tx, message.project_id).await?;
        snapshot = Some(ProjectSnapshot {
            id: ProjectSnapshotId(clock::new_id()),
            project_id: message.project_id,
            revision: message.revision,
            created_revision: message.revision,
            name: None,
            description: None,
            file_count: i32::try_from(files.len()).unwrap_or(i32::MAX),
            manifest: manifest(files.iter().map(|(path, hash)| (path.as_str(), hash))),
            created_at: message.timestamp,
            created_by: Some(message.author_id),
            session_id: Some(message.session_id),
            message_id: Some(message.id),
        });
    }
    write.about.session = Some(message.session_id);
    write.about.message = Some(message.id);
    let new = MessageRow { message: message.clone(), idempotency_key, snapshot: snapshot.clone() };
    write.about.rows = Rows::Message(Box::new(new));
    // The name is derived from the time, so it is not stored.
    let named = |made| ProjectSnapshot { name: Some(automatic_name(message.timestamp)), ..made };
    let added = Added { revision: message.revision, snapshot: snapshot.map(named), message };
    write.commit(EventKind::MessageAdded, added).await
}
