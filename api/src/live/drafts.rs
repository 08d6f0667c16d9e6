//! The list of streaming messages of a project, and the text of each, shared by the subscribers on one server. A change
//! of a text is read once. Each subscriber takes what comes after its position, so a slow subscriber receives more at
//! once.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::shared_read::SharedRead;
use crate::domain::{Needs, Services};
use crate::model::actor::Actor;
use crate::model::error::{Error, Newest, Result};
use crate::model::ids::{MessageId, ProjectId};
use crate::model::streaming_message::{MessageEnd, StreamingMessage};
use crate::storage::{chat, project, streaming_message};

/// The streaming messages of one project.
pub struct Drafts {
    project: ProjectId,
    list: SharedRead<Arc<Vec<StreamingMessage>>>,
    texts: Mutex<HashMap<MessageId, Weak<DraftText>>>,
}

impl Drafts {
    /// The streaming messages of a project, not read yet.
    pub fn new(project: ProjectId) -> Self {
        Self { project, list: SharedRead::default(), texts: Mutex::default() }
    }

    /// Makes the next callers read everything again.
    pub fn invalidate(&self) {
        self.list.invalidate();
        let texts: Vec<_> = self.texts.lock().values().cloned().collect();
        texts.iter().filter_map(Weak::upgrade).for_each(|text| text.shared.invalidate());
    }

    /// Notifies when the list may have changed.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.list.subscribe()
    }

    /// Whether the list or a text has subscribers.
    pub fn has_subscribers(&self) -> bool {
        self.list.has_subscribers() || !self.texts.lock().is_empty()
    }

    /// The streaming messages. The actor must be a member.
    pub async fn list(&self, services: &Services, actor: &Actor) -> Result<Arc<Vec<StreamingMessage>>> {
        let read = |_| async {
            let tx = services.read_for_all(actor, Needs::Present).await?;
            Ok(Arc::new(streaming_message::of_project(&tx, self.project).await?))
        };
        self.list.get(|_| true, read).await
    }

    /// The text of one streaming message.
    pub fn text(&self, id: MessageId) -> Arc<DraftText> {
        let mut texts = self.texts.lock();
        texts.retain(|_, text| text.strong_count() > 0);
        texts.get(&id).and_then(Weak::upgrade).unwrap_or_else(|| {
            let text = DraftText { id, project: self.project, shared: SharedRead::default(), text: Mutex::default() };
            let text = Arc::new(text);
            texts.insert(id, Arc::downgrade(&text));
            text
        })
    }
}

/// The text of a streaming message with subscribers.
pub struct DraftText {
    id: MessageId,
    project: ProjectId,
    shared: SharedRead<State>,
    /// Only grows.
    text: Mutex<String>,
}

/// State of the message.
#[derive(Clone)]
enum State {
    Streaming,
    Ended(MessageEnd),
    /// The text in the database is shorter than the text that was read; it has this many bytes.
    Lost(i32),
}

impl DraftText {
    /// Notifies when there may be more text.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.subscribe()
    }

    /// The text after an offset, and how the message ended, if it has. The actor must be a member.
    ///
    /// # Errors
    /// `NotFound` if the message does not exist; `PositionLost` if the text ends before the offset; `BadInput` if the
    /// offset is not between two characters.
    pub async fn after(&self, services: &Services, actor: &Actor, offset: i32) -> Result<(String, Option<MessageEnd>)> {
        let start = usize::try_from(offset)
            .map_err(|_| Error::bad_input("afterOffset", "An offset is a number of bytes, 0 or more."))?;
        let end = match self.shared.get(|_| true, |before| self.read(services, actor, before)).await? {
            State::Lost(length) => return Err(Error::PositionLost(Newest::Length(length))),
            State::Ended(end) => Some(end),
            State::Streaming => None,
        };
        let text = self.text.lock();
        let length = length_of(&text);
        if offset > length {
            return Err(Error::PositionLost(Newest::Length(length)));
        }
        let rest = text.get(start..).ok_or_else(|| {
            let message = format!("The message has {length} bytes, and no character begins there.");
            Error::bad_input("afterOffset", message)
        })?;
        Ok((rest.to_owned(), end))
    }

    async fn read(&self, services: &Services, actor: &Actor, before: Option<State>) -> Result<State> {
        let is_new = match before {
            Some(end @ (State::Ended(_) | State::Lost(_))) => return Ok(end),
            Some(State::Streaming) => false,
            None => true,
        };
        let from = length_of(&self.text.lock());
        let tx = services.read_for_all(actor, Needs::Present).await?;
        if let Some((text, length)) = streaming_message::text_from(&tx, self.id, from).await? {
            if length < from {
                return Ok(State::Lost(length));
            }
            self.text.lock().push_str(&text);
            return Ok(State::Streaming);
        }
        match chat::messages_by_ids(&tx, &[self.id]).await?.into_iter().next() {
            Some(message) => {
                *self.text.lock() = message.content.as_ref().to_owned();
                Ok(State::Ended(MessageEnd::Finished(Box::new(message))))
            }
            None if is_new => Err(Error::not_found("message", "messageId")),
            // If a removed member made this read, only that caller gets an error.
            None if !project::members(&tx, self.project).await?.contains(&actor.user_id) => Err(Error::no_project()),
            None => Ok(State::Ended(MessageEnd::Discarded)),
        }
    }
}

/// The length of a text in bytes. Longer texts than `i32::MAX` are not accepted.
pub(super) fn length_of(text: &str) -> i32 {
    i32::try_from(text.len()).unwrap_or(i32::MAX)
}
