//! Sessions and messages.

use std::sync::Arc;

use serde_json::json;

use super::project::{Locked, Target, event_of, lock};
use super::{Services, Tx, check_json, check_name, check_optional_text, check_text, policy, write};
use crate::model::actor::Actor;
use crate::model::chat::{Message, NewMessage, NewSession, Session};
use crate::model::clock;
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::ids::{MessageId, ProjectSnapshotId, SessionId};
use crate::model::manifest::manifest;
use crate::model::names::{EventKind, MessageRole};
use crate::model::snapshot::{ProjectSnapshot, automatic_name};
pub use crate::storage::chat::{
    active_sessions, messages_by_ids, messages_count, messages_page, recent, recent_count, sessions_by_ids,
    sessions_count, sessions_page,
};
use crate::storage::project::Counts;
use crate::storage::{chat, event, snapshot};

/// Ends the actor's active session of a project, then starts one. Answers it and the revision.
///
/// # Errors
/// `NotFound`, `Forbidden` for viewers, `PayloadTooLarge` for a value over the limit.
pub async fn start_session(services: &Arc<Services>, actor: &Actor, new: NewSession) -> Result<(Session, i32)> {
    check_optional_text(&services.limits, "title", new.title.as_ref())?;
    check_json(&services.limits, "metadata", new.metadata.as_ref())?;
    let author = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let counts = Counts { sessions: 1, ..Counts::default() };
            let target = Target::Project(new.project_id);
            let locked = lock(tx, target, counts, ("project", "projectId")).await?;
            chat::end_active(tx, locked.id, author.user_id, locked.at).await?;
            let session = Session {
                id: SessionId(clock::new_id()),
                project_id: locked.id,
                author_id: author.user_id,
                revision: locked.revision,
                title: new.title,
                started_at: locked.at,
                ended_at: None,
                message_count: 0,
                is_active: true,
                metadata: new.metadata.unwrap_or_else(|| json!({})),
                as_of: None,
            };
            chat::insert_session(tx, &session).await?;
            let started =
                Event { session_id: Some(session.id), ..event_of(&author, &locked, EventKind::SessionStarted) };
            event::append(tx, &started, None).await?;
            Ok((session, locked.revision))
        })
    })
    .await
}

/// Ends a session. One that has ended stays as it is. Answers it and the project's revision.
///
/// # Errors
/// `NotFound`, `Forbidden` for anyone but its author.
pub async fn end_session(services: &Arc<Services>, actor: &Actor, id: SessionId) -> Result<(Session, i32)> {
    let author = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let locked = lock(tx, Target::Session(id), Counts::default(), ("session", "id")).await?;
            let session = sessions_by_ids(tx, &[id]).await?.into_iter().next();
            let session = session.ok_or_else(|| Error::not_found("session", "id"))?;
            policy::may_write_in_session(session.author_id, author.user_id)?;
            if !session.is_active {
                tx.abandon();
                return Ok((session, locked.revision - 1));
            }
            chat::end(tx, id, locked.at).await?;
            let ended = Event { session_id: Some(id), ..event_of(&author, &locked, EventKind::SessionEnded) };
            event::append(tx, &ended, None).await?;
            Ok((Session { is_active: false, ended_at: Some(locked.at), ..session }, locked.revision))
        })
    })
    .await
}

/// A message that was added, or had been added under the same idempotency key.
#[derive(Debug)]
pub struct Added {
    /// The message.
    pub message: Message,
    /// The snapshot of a checkpoint.
    pub snapshot: Option<ProjectSnapshot>,
    /// The revision that added the message.
    pub revision: i32,
}

/// Adds a message. An assistant's checkpoint also makes a snapshot, in the same revision.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but the session's author; `Conflict` for a session that has ended;
/// `PayloadTooLarge` for a value over the limit.
pub async fn add_message(services: &Arc<Services>, actor: &Actor, new: NewMessage) -> Result<Added> {
    let limits = &services.limits;
    check_text(limits, "content", &new.content)?;
    check_json(limits, "contextData", new.context_data.as_ref())?;
    check_json(limits, "metadata", new.metadata.as_ref())?;
    if let Some(key) = &new.idempotency_key {
        check_name(limits, "idempotencyKey", key)?;
    }
    let author = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let counts = Counts { messages: 1, ..Counts::default() };
            let noun = ("session", "sessionId");
            let locked = lock(tx, Target::Session(new.session_id), counts, noun).await?;
            let with_files = makes_snapshot(new.role, new.is_checkpoint);
            let place = chat::place(tx, new.session_id, with_files, new.idempotency_key.as_deref()).await?;
            let place = place.ok_or_else(|| Error::not_found("session", "sessionId"))?;
            policy::may_write_in_session(place.author_id, author.user_id)?;
            if let Some(duplicate) = place.duplicate {
                let message = messages_by_ids(tx, &[duplicate]).await?.into_iter().next();
                let message = message.ok_or_else(|| Error::internal("a message vanished"))?;
                return added_before(tx, message).await;
            }
            if !place.is_active {
                return Err(ended("sessionId"));
            }
            let message = Message {
                id: MessageId(clock::new_id()),
                project_id: locked.id,
                session_id: new.session_id,
                author_id: author.user_id,
                revision: locked.revision,
                role: new.role,
                content: new.content,
                timestamp: locked.at,
                is_checkpoint: new.is_checkpoint,
                context_data: new.context_data.unwrap_or_else(|| json!({})),
                metadata: new.metadata.unwrap_or_else(|| json!({})),
                folded_revision: None,
            };
            add(tx, &locked, &place, message, new.idempotency_key).await
        })
    })
    .await
}

pub(super) fn ended(field: &'static str) -> Error {
    Error::conflict(field, "The session has ended; start another.")
}

/// Whether a message makes a snapshot.
pub(super) fn makes_snapshot(role: MessageRole, is_checkpoint: bool) -> bool {
    is_checkpoint && role == MessageRole::Assistant
}

/// Answers a message that had been added before, and makes the transaction write nothing.
pub(super) async fn added_before(tx: &Tx, message: Message) -> Result<Added> {
    let made = [(message.project_id, message.revision)];
    let snapshot = snapshot::by_created_revisions(tx, &made).await?.into_iter().next();
    tx.abandon();
    Ok(Added { revision: message.revision, message, snapshot })
}

/// Adds a message as its project's locked revision: its row, its event, and a checkpoint's snapshot of the files in `place`.
pub(super) async fn add(
    tx: &Tx,
    locked: &Locked,
    place: &chat::Place,
    message: Message,
    idempotency_key: Option<String>,
) -> Result<Added> {
    chat::insert_message(tx, &message, idempotency_key).await?;
    let added = Event {
        project_id: locked.id,
        revision: locked.revision,
        kind: EventKind::MessageAdded,
        created_at: locked.at,
        actor_id: Some(message.author_id),
        session_id: Some(message.session_id),
        message_id: Some(message.id),
    };
    event::append(tx, &added, None).await?;
    if !makes_snapshot(message.role, message.is_checkpoint) {
        return Ok(Added { revision: locked.revision, message, snapshot: None });
    }
    let mut snapshot = ProjectSnapshot {
        id: ProjectSnapshotId(clock::new_id()),
        project_id: locked.id,
        revision: locked.revision,
        created_revision: locked.revision,
        name: None,
        description: None,
        file_count: i32::try_from(place.files.len()).unwrap_or(i32::MAX),
        manifest: manifest(place.files.iter().map(|(path, hash)| (path.as_str(), hash))),
        created_at: locked.at,
        created_by: Some(message.author_id),
        session_id: Some(message.session_id),
        message_id: Some(message.id),
    };
    snapshot::insert(tx, &snapshot).await?;
    // It follows from the time, so it is not kept.
    snapshot.name = Some(automatic_name(locked.at));
    Ok(Added { revision: locked.revision, message, snapshot: Some(snapshot) })
}
