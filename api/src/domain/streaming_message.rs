//! Messages that are being written. Their text is kept as it grows, so that a server or a client that dies loses nothing of
//! what was acknowledged; in the history there is only what was finished, as one message and one revision.
//!
//! Those who listen to a streaming message on one server share a [`Growth`]: its text is read once a wake-up, and each listener
//! takes from it what comes after what they have. So a slow one gets more at once, and nothing waits for anybody. A wake-up is
//! the project's: it says that something beside the log may have changed, and costs those who listen to the log nothing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::Stream;
use tokio::time::sleep;

use super::chat::{self, Added};
use super::events::{Cursor, Feed, gone};
use super::project::Target;
use super::write::project_is_deleted;
use super::{Services, Tx, Writer, check_json, check_name, check_text, policy};
use crate::metrics;
use crate::model::actor::Actor;
use crate::model::chat::Message;
use crate::model::clock;
use crate::model::error::{Conflict, Error, Position, Result};
use crate::model::ids::{MessageId, ProjectId};
use crate::model::json::Json;
use crate::model::names::ProjectStatus;
use crate::model::streaming_message::{
    Finish, MessageChunk, MessageEnd, NewChunk, NewStreamingMessage, Progress, StreamingMessage,
};
use crate::storage::project;
pub use crate::storage::streaming_message::{by_ids, of_sessions, texts};
use crate::storage::{chat as messages, streaming_message as storage};

/// How often other servers are woken for a project in which messages grow.
const WAKE_UP_PERIOD: Duration = Duration::from_millis(50);

/// The argument that names a streaming message.
const FIELD: &str = "messageId";

fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The projects of which other servers are to be told at the end of the period.
#[derive(Default)]
pub struct WakeUps(Mutex<HashSet<ProjectId>>);

/// Tells everybody who listens that a message has grown: those on this server at once, the others at the end of a period.
fn wake(services: &Arc<Services>, project: ProjectId) {
    if let Some(feed) = services.hub.feed_of(project) {
        feed.stir();
    }
    if lock_of(&services.wake_ups.0).insert(project) {
        let services = services.clone();
        metrics::spawn(async move {
            sleep(WAKE_UP_PERIOD).await;
            lock_of(&services.wake_ups.0).remove(&project);
            services.hub.wake_beside(project);
        });
    }
}

/// Begins a message. Answers it, or how far it is that has been begun under the same idempotency key.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but the session's author; `Conflict` for a session that has ended, a deleted project, or
/// too many messages that are growing; `PayloadTooLarge` for a value over the limit.
pub async fn start(writer: Writer, new: NewStreamingMessage) -> Result<Progress> {
    let limits = writer.limits();
    check_json(limits, "contextData", new.context_data.as_ref())?;
    check_json(limits, "metadata", new.metadata.as_ref())?;
    if let Some(key) = &new.idempotency_key {
        check_name(limits, "idempotencyKey", key)?;
    }
    let tx = writer.open().await?;
    let place = place(&tx, &new, &writer.actor).await?;
    if let Some(grown) = begun(&tx, &place).await? {
        tx.rollback().await?;
        return Ok(grown);
    }
    if place.status == ProjectStatus::Deleted {
        return Err(project_is_deleted("sessionId"));
    }
    if !place.is_active {
        return Err(chat::ended("sessionId"));
    }
    let most = limits.max_streaming_messages;
    if usize::try_from(place.growing).is_ok_and(|growing| growing >= most) {
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
        tx.commit().await?;
        writer.knows(message.id.0, place.project_id);
        wake(&writer.services, place.project_id);
        return Ok(Progress { message_id: message.id, length: 0 });
    }
    // Somebody else has begun it at the same time.
    tx.rollback().await?;
    let tx = writer.read().await?;
    let begun = begun(&tx, &self::place(&tx, &new, &writer.actor).await?).await?;
    begun.ok_or_else(|| Error::internal("a streaming message vanished"))
}

async fn place(tx: &Tx, new: &NewStreamingMessage, author: &Actor) -> Result<storage::Place> {
    let place = storage::place(tx, new.session_id, new.idempotency_key.as_deref()).await?;
    let place = place.ok_or_else(|| Error::not_found("session", "sessionId"))?;
    policy::may_write(place.role)?;
    policy::may_write_in_session(place.author_id, author.user_id)?;
    Ok(place)
}

/// How far the message is that has been begun under the same key.
async fn begun(tx: &Tx, place: &storage::Place) -> Result<Option<Progress>> {
    if let Some((message_id, length)) = place.started {
        return Ok(Some(Progress { message_id, length }));
    }
    let Some(message_id) = place.finished else { return Ok(None) };
    let message = message(tx, message_id).await?.ok_or_else(|| Error::internal("a message vanished"))?;
    Ok(Some(Progress { message_id, length: length_of(&message.content) }))
}

async fn message(tx: &Tx, id: MessageId) -> Result<Option<Message>> {
    Ok(messages::messages_by_ids(tx, &[id]).await?.into_iter().next())
}

/// The length of a text, in bytes. No text of more than an `i32` gets in.
fn length_of(text: &str) -> i32 {
    i32::try_from(text.len()).unwrap_or(i32::MAX)
}

/// Adds text at the end of a message. Text that is there already, at the place where it was sent before, is acknowledged.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but its author; `Conflict` where the text is not what is there, or begins after its
/// end, and where the message is finished, its session has ended or its project is deleted; `BadInput` for an offset that
/// cannot be; `PayloadTooLarge` over a limit.
pub async fn append(writer: Writer, chunk: NewChunk) -> Result<Progress> {
    let limits = writer.limits();
    check_text(limits, "text", &chunk.text)?;
    let (size, most) = (chunk.text.len(), limits.max_chunk_bytes);
    if size > most {
        return Err(Error::too_large("text", format!("`text` has {size} bytes; --max-chunk-bytes allows {most}.")));
    }
    let Ok(offset) = usize::try_from(chunk.offset) else {
        return Err(Error::bad_input("offset", "An offset is a number of bytes, from 0."));
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
        tx.commit().await?;
        wake(&writer.services, project);
        return Ok(Progress { message_id, length: end });
    }
    let length = repeated(&tx, &chunk, &writer.actor).await?;
    tx.rollback().await?;
    Ok(Progress { message_id, length })
}

/// How long a message is in which this text is where it was sent to, or why it cannot be.
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
    if !chunk.text.is_empty() && is_at(&state.text, chunk.offset - state.from, &chunk.text) {
        return Ok(length);
    }
    if state.status == ProjectStatus::Deleted {
        return Err(project_is_deleted(FIELD));
    }
    if !state.is_active {
        return Err(chat::ended(FIELD));
    }
    let message = if chunk.offset == length {
        // What stood in its way then is not so now.
        "Another write came first; send the chunk again.".to_owned()
    } else if chunk.offset > length {
        format!("The message has {length} bytes: the next chunk begins there, and something is missing in between.")
    } else {
        format!("The message has {length} bytes, and what is there at {} is not this text.", chunk.offset)
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

/// Makes a streaming message one of the history, as [`chat::add_message`] would. One that is finished stays as it is.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but its author; `Conflict` where it has not that length, its session has ended or its
/// project is deleted; `PayloadTooLarge` for a value over the limit.
pub async fn finish(writer: Writer, finish: Finish) -> Result<Added> {
    check_json(writer.limits(), "metadata", finish.metadata.as_ref())?;
    let id = finish.message_id;
    let write = match writer.begin(Target::StreamingMessage(id), ("message", FIELD)).await {
        Err(Error::NotFound { .. }) => return finished(&writer.read().await?, id, &writer.actor).await,
        begun => begun?,
    };
    let tx = &write.tx;
    let Some((held, key)) = storage::hold(tx, id).await? else {
        if let Some(others) = by_ids(tx, &[id]).await?.first() {
            policy::may_write_in_session(others.author_id, writer.actor.user_id)?;
        }
        let added = finished(tx, id, &writer.actor).await?;
        return write.unchanged(added).await;
    };
    let (text, _) = storage::text_from(tx, id, 0).await?.unwrap_or_default();
    let length = length_of(&text);
    if finish.length.is_some_and(|expected| expected != length) {
        let message = format!("The message has {length} bytes.");
        return Err(conflict("length", message, length));
    }
    let session = messages::conversation(tx, write.locked.id, Some(held.session_id), None).await?;
    if !session.ok_or_else(|| Error::not_found("message", FIELD))?.is_active {
        return Err(chat::ended(FIELD));
    }
    // Its key may have been given to another message meanwhile; the text is worth more.
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
        content: text,
        timestamp: write.locked.at,
        is_checkpoint: finish.is_checkpoint,
        context_data: held.context_data,
        metadata: finish.metadata.unwrap_or(held.metadata),
        folded_revision: None,
    };
    storage::remove(tx, id).await?;
    chat::add(write, message, key).await
}

/// The message that was finished before.
async fn finished(tx: &Tx, id: MessageId, author: &Actor) -> Result<Added> {
    let message = message(tx, id).await?.ok_or_else(|| Error::not_found("message", FIELD))?;
    policy::may_write_in_session(message.author_id, author.user_id)?;
    chat::added_before(tx, message).await
}

/// Lets nothing come of a streaming message.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but its author and the project's owner; `Conflict` where it is finished.
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
    wake(&writer.services, state.project_id);
    Ok(())
}

/// What listeners of a project share of the messages that grow there.
#[derive(Default)]
pub(super) struct Growths {
    /// Those whose text is listened to.
    heard: Mutex<HashMap<MessageId, Weak<Growth>>>,
    /// Which there are, and by which count of the feed; held by who reads for all.
    present: tokio::sync::Mutex<Option<(u64, Vec<StreamingMessage>)>>,
}

impl Growths {
    fn growth(&self, id: MessageId) -> Arc<Growth> {
        let mut all = lock_of(&self.heard);
        all.retain(|_, growth| growth.strong_count() > 0);
        let known = all.get(&id).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let growth = Arc::new(Growth { id, reading: tokio::sync::Mutex::default(), known: Mutex::default() });
            all.insert(id, Arc::downgrade(&growth));
            growth
        })
    }
}

/// A message that is listened to while it grows.
struct Growth {
    id: MessageId,
    /// Held by who reads for all.
    reading: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// When it was read, by the feed's count; none before the first time.
    read: Option<u64>,
    text: String,
    /// How long it turned out to be when it was shorter than what had been read.
    lost: Option<i32>,
    end: Option<MessageEnd>,
}

impl Growth {
    /// Reads what is new, if nobody has since the feed was stirred that many times. The actor must be a member.
    async fn read(&self, services: &Services, actor: &Actor, project: ProjectId, stirred: u64) -> Result<()> {
        let _reading = self.reading.lock().await;
        let (from, is_new) = {
            let known = lock_of(&self.known);
            if let Some(length) = known.lost {
                return Err(Error::PositionLost(Position::Length(length)));
            }
            if known.end.is_some() || known.read.is_some_and(|read| read >= stirred) {
                return Ok(());
            }
            (length_of(&known.text), known.read.is_none())
        };
        let tx = services.read_for_all(actor).await?;
        if let Some((text, length)) = storage::text_from(&tx, self.id, from).await? {
            let mut known = lock_of(&self.known);
            if length < from {
                known.lost = Some(length);
                return Err(Error::PositionLost(Position::Length(length)));
            }
            known.text.push_str(&text);
            known.read = Some(stirred);
            return Ok(());
        }
        let end = match message(&tx, self.id).await? {
            Some(message) => MessageEnd::Finished(Box::new(message)),
            None if is_new => return Err(Error::not_found("message", FIELD)),
            // It looks the same to whoever may not look any more, and that is theirs alone.
            None if !project::members(&tx, project).await?.contains(&actor.user_id) => return Err(gone()),
            None => MessageEnd::Discarded,
        };
        let mut known = lock_of(&self.known);
        if let MessageEnd::Finished(message) = &end {
            known.text.clone_from(&message.content);
        }
        known.end = Some(end);
        Ok(())
    }

    /// What comes after a place in the text, with what has become of the message.
    ///
    /// # Errors
    /// `PositionLost` where the text ends before that place; `BadInput` where it is no place between characters.
    fn after(&self, offset: i32) -> Result<(String, Option<MessageEnd>)> {
        let known = lock_of(&self.known);
        if offset > length_of(&known.text) {
            return Err(Error::PositionLost(Position::Length(length_of(&known.text))));
        }
        let rest = usize::try_from(offset).ok().and_then(|offset| known.text.get(offset..));
        let rest = rest.ok_or_else(|| {
            let message = format!("The message has {} bytes, and no character begins there.", known.text.len());
            Error::bad_input("afterOffset", message)
        })?;
        Ok((rest.to_owned(), known.end.clone()))
    }
}

/// A message's text from a place on, as it grows: first what there is, then each piece once and in order, and at last what has
/// become of the message.
///
/// # Errors
/// `NotFound` where the actor cannot see the message; `BadInput` for an offset that is not there. The stream ends with an error
/// where the actor is no member any more, or the database fails.
pub async fn listen(
    services: &Arc<Services>,
    actor: &Actor,
    cursor: &Arc<Cursor>,
    id: MessageId,
    after_offset: Option<i32>,
) -> Result<impl Stream<Item = Result<MessageChunk>> + use<>> {
    let tx = services.read(actor).await?;
    let project = match by_ids(&tx, &[id]).await?.first() {
        Some(growing) => growing.project_id,
        None => message(&tx, id).await?.ok_or_else(|| Error::not_found("message", FIELD))?.project_id,
    };
    drop(tx);
    let feed = services.hub.feed(project);
    let mut beside = feed.beside();
    let growth = feed.growing.growth(id);
    let stirred = *beside.borrow_and_update();
    look(services, actor, &feed, &growth, stirred).await?;
    let mut at = cursor.at().or(after_offset).unwrap_or(0);
    growth.after(at)?;
    cursor.attend(services, &feed, actor.user_id);
    let (services, actor, cursor) = (services.clone(), actor.clone(), cursor.clone());
    Ok(async_stream::try_stream! {
        let mut is_first = !cursor.has_told();
        loop {
            let (text, end) = growth.after(at)?;
            let is_last = end.is_some();
            if is_first || is_last || !text.is_empty() {
                is_first = false;
                let offset = at;
                at = at.saturating_add(length_of(&text));
                cursor.advance(at);
                yield MessageChunk { message_id: id, offset, text, end };
            }
            if is_last || beside.changed().await.is_err() {
                break;
            }
            let stirred = *beside.borrow_and_update();
            look(&services, &actor, &feed, &growth, stirred).await?;
        }
    })
}

/// Reads what is new of a message, for one who may still hear it.
async fn look(services: &Services, actor: &Actor, feed: &Feed, growth: &Growth, stirred: u64) -> Result<()> {
    feed.read_members(services, actor).await?;
    growth.read(services, actor, feed.project(), stirred).await
}

/// The messages that are growing in a project of the actor's, and then again whenever one has begun or ended.
///
/// # Errors
/// `NotFound` where the actor is no member (any more); the stream ends with an error where the database fails.
pub async fn listen_to_project(
    services: &Arc<Services>,
    actor: &Actor,
    cursor: &Cursor,
    project: ProjectId,
) -> Result<impl Stream<Item = Result<Vec<StreamingMessage>>> + use<>> {
    let feed = services.hub.feed(project);
    let mut beside = feed.beside();
    feed.read_members(services, actor).await?;
    cursor.attend(services, &feed, actor.user_id);
    let (services, actor) = (services.clone(), actor.clone());
    Ok(async_stream::try_stream! {
        let mut told: Option<Vec<MessageId>> = None;
        loop {
            let stirred = *beside.borrow_and_update();
            let growing = look_at_project(&services, &actor, &feed, stirred).await?;
            let ids: Vec<_> = growing.iter().map(|message| message.id).collect();
            if told.as_ref() != Some(&ids) {
                told = Some(ids);
                yield growing;
            }
            if beside.changed().await.is_err() {
                break;
            }
        }
    })
}

/// Reads which messages are growing, if nobody has since the feed was stirred.
async fn look_at_project(
    services: &Services,
    actor: &Actor,
    feed: &Feed,
    stirred: u64,
) -> Result<Vec<StreamingMessage>> {
    feed.read_members(services, actor).await?;
    let mut present = feed.growing.present.lock().await;
    if let Some((then, growing)) = &*present
        && *then >= stirred
    {
        return Ok(growing.clone());
    }
    let growing = storage::of_project(&services.read_for_all(actor).await?, feed.project()).await?;
    *present = Some((stirred, growing.clone()));
    Ok(growing)
}
