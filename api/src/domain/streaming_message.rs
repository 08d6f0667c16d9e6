//! Streaming messages. Appended text is stored at once, so that a crash of a server or client loses no acknowledged
//! text. A finished message enters the history as one message and one revision.

use super::chat::{self, Added};
use super::project::Target;
use super::write::project_is_deleted;
use super::{Tx, Writer, check_json, check_name, check_text, policy};
use crate::model::actor::Actor;
use crate::model::chat::Message;
use crate::model::clock;
use crate::model::enums::ProjectStatus;
use crate::model::error::{Conflict, Error, Result};
use crate::model::event::Change;
use crate::model::ids::{MessageId, ProjectId};
use crate::model::json::Json;
use crate::model::streaming_message::{Finish, NewChunk, NewStreamingMessage, Progress, StreamingMessage};
pub use crate::storage::streaming_message::{by_ids, of_sessions, texts};
use crate::storage::{chat as messages, streaming_message as storage};

/// The argument with the id of a streaming message.
const FIELD: &str = "messageId";

fn publish(writer: &Writer, project: ProjectId) {
    (writer.services.publish)(project, Change::SideChange);
}

/// Starts a message. Returns its progress, or the progress of the message that was started with the same idempotency
/// key.
///
/// # Errors
/// `NotFound`; `Forbidden` unless the actor is the session's author; `Conflict` if the project is deleted or there are
/// too many streaming messages; `PayloadTooLarge` for a value over the limit.
pub async fn start(writer: Writer, new: NewStreamingMessage) -> Result<Progress> {
    let limits = writer.limits();
    check_json(limits, "contextData", new.context_data.as_ref())?;
    check_json(limits, "metadata", new.metadata.as_ref())?;
    if let Some(key) = &new.idempotency_key {
        check_name(limits, "idempotencyKey", key)?;
    }
    let tx = writer.open().await?;
    let place = place(&tx, &new, &writer.actor).await?;
    if let Some(progress) = begun(&tx, &place).await? {
        tx.rollback().await?;
        return Ok(progress);
    }
    if place.status == ProjectStatus::Deleted {
        return Err(project_is_deleted("sessionId"));
    }
    let most = limits.max_streaming_messages;
    if usize::try_from(place.streaming).is_ok_and(|streaming| streaming >= most) {
        let message = format!(
            "{most} messages are being streamed in this session (--max-streaming-messages): finish or discard one first."
        );
        return Err(Error::conflict("sessionId", message));
    }
    let now = clock::now();
    let message = StreamingMessage {
        id: MessageId(clock::new_id()),
        project_id: place.project_id,
        session_id: new.session_id,
        author_id: writer.actor.user_id,
        role: new.role,
        length: 0,
        started_at: now,
        last_append_at: now,
        context_data: new.context_data.clone().unwrap_or_else(Json::object),
        metadata: new.metadata.clone().unwrap_or_else(Json::object),
    };
    if storage::insert(&tx, &message, new.idempotency_key.clone()).await? {
        writer.check_horizon_in(&tx, place.project_id).await?;
        tx.commit().await?;
        writer.knows(message.id.0, place.project_id);
        publish(&writer, place.project_id);
        return Ok(Progress { message_id: message.id, length: 0 });
    }
    // A concurrent request has started it.
    tx.rollback().await?;
    let tx = writer.read().await?;
    let begun = begun(&tx, &self::place(&tx, &new, &writer.actor).await?).await?;
    begun
        .ok_or_else(|| Error::conflict("idempotencyKey", "The message of this key was discarded meanwhile: try again."))
}

async fn place(tx: &Tx, new: &NewStreamingMessage, author: &Actor) -> Result<storage::Place> {
    let place = storage::place(tx, new.session_id, new.idempotency_key.as_deref()).await?;
    let place = place.ok_or_else(|| Error::not_found("session", "sessionId"))?;
    policy::may_write(place.role)?;
    policy::may_write_in_session(place.author_id, author.user_id)?;
    Ok(place)
}

/// The progress of the message that was started with the same key.
async fn begun(tx: &Tx, place: &storage::Place) -> Result<Option<Progress>> {
    if let Some((message_id, length)) = place.started {
        return Ok(Some(Progress { message_id, length }));
    }
    let Some(message_id) = place.finished else { return Ok(None) };
    // The author can have lost the membership after an earlier statement.
    let message = message(tx, message_id).await?.ok_or_else(|| Error::not_found("session", "sessionId"))?;
    Ok(Some(Progress { message_id, length: length_of(&message.content) }))
}

async fn message(tx: &Tx, id: MessageId) -> Result<Option<Message>> {
    Ok(messages::messages_by_ids(tx, &[id]).await?.into_iter().next())
}

/// The length of a text in bytes. Longer texts than `i32::MAX` are not accepted.
fn length_of(text: &str) -> i32 {
    i32::try_from(text.len()).unwrap_or(i32::MAX)
}

/// Appends text to a message. Text that already is at its offset is acknowledged again.
///
/// # Errors
/// `NotFound`; `Forbidden` unless the actor is the author; `Conflict` if the text differs from the existing text or
/// starts after its end, or if the message is finished or its project is deleted; `BadInput` for an impossible offset;
/// `PayloadTooLarge` over a limit.
pub async fn append(writer: Writer, chunk: NewChunk) -> Result<Progress> {
    let limits = writer.limits();
    check_text(limits, "text", &chunk.text)?;
    let (size, most) = (chunk.text.len(), limits.max_chunk_bytes);
    if size > most {
        return Err(Error::too_large("text", format!("`text` has {size} bytes; --max-chunk-bytes allows {most}.")));
    }
    let Ok(offset) = usize::try_from(chunk.offset) else {
        return Err(Error::bad_input("offset", "An offset is a number of bytes, 0 or more."));
    };
    let most = limits.max_text_bytes;
    let end = offset.saturating_add(size);
    let Some(end) = i32::try_from(end).ok().filter(|_| end <= most) else {
        let message = format!("The message would have {end} bytes; --max-text-bytes allows {most}.");
        return Err(Error::too_large("text", message));
    };
    let message_id = chunk.message_id;
    let tx = writer.open().await?;
    if let Some(project) = storage::append(&tx, &chunk, end - chunk.offset, clock::now()).await? {
        writer.check_horizon_in(&tx, project).await?;
        tx.commit().await?;
        publish(&writer, project);
        return Ok(Progress { message_id, length: end });
    }
    let length = repeated(&tx, &chunk, &writer.actor).await?;
    tx.rollback().await?;
    Ok(Progress { message_id, length })
}

/// The length of a message that has this text at its offset; otherwise the reason why it cannot be appended.
async fn repeated(tx: &Tx, chunk: &NewChunk, author: &Actor) -> Result<i32> {
    let id = chunk.message_id;
    let Some(state) = storage::state(tx, id, chunk.offset).await? else {
        let message = message(tx, id).await?.ok_or_else(|| Error::not_found("message", FIELD))?;
        policy::may_write_in_session(message.author_id, author.user_id)?;
        return if is_at(&message.content, chunk.offset, &chunk.text) {
            Ok(length_of(&message.content))
        } else {
            Err(conflict(FIELD, "The message is finished.".to_owned(), length_of(&message.content)))
        };
    };
    policy::may_write(state.role)?;
    policy::may_write_in_session(state.author_id, author.user_id)?;
    let length = state.length;
    // An empty text was appended at an end of the text, so that the next text begins there. At the present end,
    // something else is in the way.
    let is_repeated = match chunk.text.as_str() {
        "" => chunk.offset == state.from && chunk.offset < length,
        text => is_at(&state.text, chunk.offset - state.from, text),
    };
    if is_repeated {
        return Ok(length);
    }
    if state.status == ProjectStatus::Deleted {
        return Err(project_is_deleted(FIELD));
    }
    let message = if chunk.offset == length {
        // The obstacle no longer exists.
        "Another write came first; send the chunk again.".to_owned()
    } else if chunk.offset > length {
        format!("The message has {length} bytes: the next chunk must begin there, so text is missing in between.")
    } else {
        format!("The message has {length} bytes, and has different text at {}.", chunk.offset)
    };
    Err(conflict("offset", message, length))
}

fn is_at(text: &str, offset: i32, part: &str) -> bool {
    let rest = usize::try_from(offset).ok().and_then(|offset| text.get(offset..));
    rest.is_some_and(|rest| rest.starts_with(part))
}

fn conflict(field: &'static str, message: String, length: i32) -> Error {
    Error::Conflict(Box::new(Conflict {
        message,
        field: Some(field),
        current_length: Some(length),
        ..Conflict::default()
    }))
}

/// Adds a streaming message to the history, as [`chat::add_message`] would. Writes nothing if it is finished.
///
/// # Errors
/// `NotFound`; `Forbidden` unless the actor is the author; `Conflict` if its length differs or its project is deleted;
/// `PayloadTooLarge` for a value over the limit.
pub async fn finish(writer: Writer, finish: Finish) -> Result<Added> {
    check_json(writer.limits(), "metadata", finish.metadata.as_ref())?;
    let (id, expected) = (finish.message_id, finish.length);
    let write = match writer.begin(Target::StreamingMessage(id), ("message", FIELD)).await {
        Err(Error::NotFound { .. }) => return finished(&writer.read().await?, id, &writer.actor, expected).await,
        begun => begun?,
    };
    let tx = &write.tx;
    let Some((held, key)) = storage::hold(tx, id).await? else {
        if let Some(others) = by_ids(tx, &[id]).await?.first() {
            policy::may_write_in_session(others.author_id, writer.actor.user_id)?;
        }
        let added = finished(tx, id, &writer.actor, expected).await?;
        return write.unchanged(added).await;
    };
    let (text, _) = storage::text_from(tx, id, 0).await?.unwrap_or_default();
    check_length(&text, expected)?;
    // Another message may have taken its key in the meantime. Keep the text and drop the key.
    let key = match key {
        Some(key) if messages::message_of_key(tx, held.session_id, &key).await?.is_some() => None,
        key => key,
    };
    let message = Message {
        id,
        project_id: write.locked.id,
        session_id: held.session_id,
        author_id: held.author_id,
        revision: write.locked.revision,
        role: held.role,
        content: text.into(),
        timestamp: write.locked.at,
        is_checkpoint: finish.is_checkpoint,
        context_data: held.context_data,
        metadata: finish.metadata.unwrap_or(held.metadata),
        hidden_revision: None,
    };
    storage::remove(tx, id).await?;
    chat::add(write, message, key).await
}

/// Checks the precondition on the length of a message's text.
fn check_length(text: &str, expected: Option<i32>) -> Result<()> {
    let length = length_of(text);
    match expected {
        Some(expected) if expected != length => {
            Err(conflict("length", format!("The message has {length} bytes."), length))
        }
        _ => Ok(()),
    }
}

/// The message, if it is already finished.
async fn finished(tx: &Tx, id: MessageId, author: &Actor, expected: Option<i32>) -> Result<Added> {
    let message = message(tx, id).await?.ok_or_else(|| Error::not_found("message", FIELD))?;
    policy::may_write_in_session(message.author_id, author.user_id)?;
    check_length(&message.content, expected)?;
    chat::added_before(tx, message).await
}

/// Discards a streaming message.
///
/// # Errors
/// `NotFound`; `Forbidden` unless the actor is the author or the project's owner; `Conflict` if it is finished.
pub async fn discard(writer: Writer, id: MessageId) -> Result<()> {
    let tx = writer.open().await?;
    let Some(state) = storage::state(&tx, id, 0).await? else {
        let message = message(&tx, id).await?.ok_or_else(|| Error::not_found("message", FIELD))?;
        policy::may_write_in_session(message.author_id, writer.actor.user_id)?;
        return Err(conflict(FIELD, "The message is finished.".to_owned(), length_of(&message.content)));
    };
    policy::may_discard(state.role, state.author_id, writer.actor.user_id)?;
    if !storage::remove(&tx, id).await? {
        return Err(Error::not_found("message", FIELD));
    }
    tx.commit().await?;
    publish(&writer, state.project_id);
    Ok(())
}
