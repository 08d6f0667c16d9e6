//! The items of one subscriber: a topic, opened at a position, and then the items after it, each with its own position.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use super::channel::Channel;
use super::drafts::{DraftText, length_of};
use super::log_tail::{BATCH, Entries};
use super::presence::PresenceGuard;
use super::state::Live;
use crate::domain::{Needs, Services, Size, access};
use crate::model::actor::Actor;
use crate::model::chat::Message;
use crate::model::enums::EventKind;
use crate::model::error::{Error, Newest, Result};
use crate::model::event::Event;
use crate::model::ids::{MessageId, ProjectId, SessionId};
use crate::model::presence::Person;
use crate::model::streaming_message::{MessageChunk, StreamingMessage};
use crate::storage::{chat, event, streaming_message};

/// What a client can subscribe to, and the start position.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Entries of a project's log, of these kinds if any are given. They start after a revision, or without a revision
    /// after the newest entry. `ready` first delivers the entry before the start, of any kind.
    ProjectLog { project: ProjectId, kinds: Vec<EventKind>, after: Option<i32>, ready: bool },
    /// Messages of a session. They start as the entries of a log do.
    SessionMessages { session: SessionId, after: Option<i32> },
    /// The text of a streaming message, after an offset.
    MessageText { message: MessageId, after: Option<i32> },
    /// The streaming messages of a project: the present list, then the list after each change.
    Drafts { project: ProjectId },
    /// The users who subscribe to a project: the present list, then the list after each change.
    Presence { project: ProjectId },
}

/// A position in a topic, which a client can resume after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Position {
    /// In a log.
    Revision(i32),
    /// In a text, in bytes.
    Offset(i32),
}

impl Position {
    /// The revision or the offset.
    pub fn number(self) -> i32 {
        match self {
            Self::Revision(number) | Self::Offset(number) => number,
        }
    }
}

/// What a subscriber receives.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug)]
pub enum Item {
    Event(Event),
    Message(Box<Message>),
    Text(MessageChunk),
    Drafts(Vec<StreamingMessage>),
    Presence(ProjectId, Vec<Person>),
}

/// An item with the position after it, if the topic has positions.
pub type Positioned = (Arc<Item>, Option<Position>);

/// The next step of a source.
#[expect(missing_docs, reason = "the names say it")]
pub enum Next {
    Item(Positioned),
    /// No more items for now. The source has reached this revision of the log; later items can be shared.
    CaughtUp(i32),
    /// The topic has ended.
    End,
}

/// A topic that one subscriber has opened.
pub struct Source {
    live: Arc<Live>,
    actor: Actor,
    channel: Arc<Channel>,
    state: State,
    /// Items that were read and not yet delivered.
    items: VecDeque<Positioned>,
    /// Counts the subscriber as present. A source that serves several subscribers has no guard.
    presence: Option<PresenceGuard>,
}

enum State {
    Log { at: i32, selects: Selects },
    Text { text: Arc<DraftText>, id: MessageId, at: i32, is_first: bool, has_ended: bool, changes: Changes },
    Drafts { last: Option<Vec<MessageId>>, changes: Changes },
    Presence { last: Option<Vec<Person>>, changes: Changes },
}

/// Which entries of a log a source delivers.
#[derive(Clone)]
enum Selects {
    Events(Vec<EventKind>),
    MessagesOf(SessionId),
}

/// Notifies of changes of a topic, and of the members.
struct Changes {
    topic: watch::Receiver<u64>,
    members: watch::Receiver<u64>,
    /// Whether all changes up to the last notification were read.
    is_read: bool,
}

impl Changes {
    fn new(channel: &Channel, topic: watch::Receiver<u64>) -> Self {
        Self { topic, members: channel.tail.subscribe(), is_read: false }
    }

    /// Waits until there is something to read.
    async fn wait(&mut self) {
        if self.is_read {
            // The sender lives as long as the channel, which the source keeps.
            let _ = tokio::select! {
                changed = self.topic.changed() => changed,
                changed = self.members.changed() => changed,
            };
        }
        self.is_read = false;
        self.topic.mark_unchanged();
        self.members.mark_unchanged();
    }
}

impl Source {
    /// Opens a topic for a subscriber. `resume` is the position to resume after, if the client sent it outside the
    /// topic.
    ///
    /// # Errors
    /// `NotFound` if the actor cannot see the topic; `PositionLost` or `BadInput` if the topic cannot start at the
    /// position.
    pub async fn open(live: Arc<Live>, actor: Actor, topic: &Topic, resume: Option<i32>) -> Result<Self> {
        let project = match topic {
            Topic::ProjectLog { project, .. } | Topic::Drafts { project } | Topic::Presence { project } => *project,
            Topic::SessionMessages { session, .. } => {
                let tx = live.services.read(&actor).await?;
                let found = chat::sessions_by_ids(&tx, &[*session]).await?.into_iter().next();
                found.ok_or_else(|| Error::not_found("session", "sessionId"))?.project_id
            }
            Topic::MessageText { message, .. } => project_of(&live.services, &actor, *message).await?,
        };
        // Subscribe before the first read, so that no change is missed between them.
        let channel = live.channels.open(project);
        let mut items = VecDeque::new();
        let state = match topic {
            Topic::ProjectLog { kinds, after, ready, .. } => {
                let at = start(&live.services, &actor, &channel, resume.or(*after)).await?;
                // A client that resumes has the event already.
                if *ready && resume.is_none() {
                    let first = entry(&live.services, &actor, project, at).await?;
                    items.extend(first.map(|first| (Arc::new(Item::Event(first)), Some(Position::Revision(at)))));
                }
                State::Log { at, selects: Selects::Events(kinds.clone()) }
            }
            Topic::SessionMessages { session, after } => {
                let at = start(&live.services, &actor, &channel, resume.or(*after)).await?;
                State::Log { at, selects: Selects::MessagesOf(*session) }
            }
            Topic::MessageText { message, after } => {
                let (text, at) = (channel.drafts.text(*message), resume.or(*after).unwrap_or(0));
                let changes = Changes::new(&channel, text.subscribe());
                State::Text { text, id: *message, at, is_first: true, has_ended: false, changes }
            }
            Topic::Drafts { .. } => {
                let changes = Changes::new(&channel, channel.drafts.subscribe());
                State::Drafts { last: None, changes }
            }
            Topic::Presence { .. } => {
                let changes = Changes::new(&channel, channel.presence.subscribe());
                State::Presence { last: None, changes }
            }
        };
        let mut source = Self { live, actor, channel, state, items, presence: None };
        source.check().await?;
        let presence = source.live.presence.enter(&source.channel.presence, source.actor.user_id);
        source.presence = Some(presence);
        Ok(source)
    }

    /// Checks that the actor can subscribe, and that the topic has the position.
    async fn check(&self) -> Result<()> {
        let services = &self.live.services;
        if let State::Text { text, at, .. } = &self.state {
            self.read_members().await?;
            text.after(services, &self.actor, *at).await?;
        } else if !matches!(self.state, State::Log { .. }) {
            self.read_members().await?;
        }
        Ok(())
    }

    /// The same topic from the same position, for several subscribers.
    pub fn share(&self) -> Option<Self> {
        let State::Log { at, selects } = &self.state else { return None };
        Some(Self {
            live: self.live.clone(),
            actor: self.actor.clone(),
            channel: self.channel.clone(),
            state: State::Log { at: *at, selects: selects.clone() },
            items: VecDeque::new(),
            presence: None,
        })
    }

    /// The channel that the source reads.
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Reads on behalf of another actor from now on.
    pub fn act_for(&mut self, actor: &Actor) {
        self.actor = actor.clone();
    }

    /// Continues after another revision of a log.
    pub fn seek(&mut self, revision: i32) {
        if let State::Log { at, .. } = &mut self.state {
            *at = revision;
            self.items.clear();
        }
    }

    /// Returns the next item. Waits for it if the topic cannot be shared. The caller can call it again after an error.
    ///
    /// # Errors
    /// `NotFound` if the actor is not a member, or is no longer one; `PositionLost` if the topic has lost the position.
    pub async fn next(&mut self) -> Result<Next> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Ok(Next::Item(item));
            }
            match &self.state {
                State::Log { .. } => {
                    if let Some(revision) = self.read_log().await? {
                        return Ok(Next::CaughtUp(revision));
                    }
                }
                State::Text { has_ended: true, .. } => return Ok(Next::End),
                State::Text { .. } => self.read_text().await?,
                State::Drafts { .. } => self.read_drafts().await?,
                State::Presence { .. } => self.read_presence().await?,
            }
        }
    }

    /// Reads the entries after the position. Returns the revision that was reached if there are no more.
    async fn read_log(&mut self) -> Result<Option<i32>> {
        let State::Log { at, selects } = &mut self.state else { return Ok(None) };
        let (services, actor) = (&self.live.services, &self.actor);
        let tail = self.channel.tail.read(services, actor).await?;
        let (found, to) = match selects.of_tail(&tail, *at) {
            Some(found) => (found, tail.to.max(*at)),
            None => {
                let mut tx = services.read_with(actor, Needs::Known, Size::Small).await?;
                let mut newest = event::newest(&tx, self.channel.project).await?;
                if tx.is_of_replica() && newest.is_none_or(|newest| newest < tail.to) {
                    drop(tx);
                    tx = services.read(actor).await?;
                    newest = event::newest(&tx, self.channel.project).await?;
                }
                let newest = newest.ok_or_else(Error::no_project)?;
                let found: Vec<(Item, i32)> = match selects {
                    Selects::Events(kinds) => {
                        let member = access::required(&tx, self.channel.project).await?;
                        let events = event::after(&tx, &[member], *at, kinds, BATCH).await?;
                        events.into_iter().map(of_event).collect()
                    }
                    Selects::MessagesOf(session) => {
                        let messages = chat::messages_after(&tx, *session, *at, BATCH).await?;
                        messages.into_iter().map(of_message).collect()
                    }
                };
                let last = found.last().map(|(_, revision)| *revision).filter(|_| found.len() == BATCH);
                (found, last.unwrap_or(newest))
            }
        };
        *at = to;
        if found.is_empty() && to >= tail.to {
            return Ok(Some(to));
        }
        let positioned = |(item, revision)| (Arc::new(item), Some(Position::Revision(revision)));
        self.items.extend(found.into_iter().map(positioned));
        Ok(None)
    }

    async fn read_text(&mut self) -> Result<()> {
        let State::Text { changes, .. } = &mut self.state else { return Ok(()) };
        changes.wait().await;
        self.follow_members().await?;
        let State::Text { text, id, at, is_first, has_ended, changes } = &mut self.state else { return Ok(()) };
        let (text, end) = text.after(&self.live.services, &self.actor, *at).await?;
        changes.is_read = true;
        *has_ended = end.is_some();
        if std::mem::take(is_first) || *has_ended || !text.is_empty() {
            let offset = *at;
            *at = at.saturating_add(length_of(&text));
            let chunk = MessageChunk { message_id: *id, offset, text, end };
            self.items.push_back((Arc::new(Item::Text(chunk)), Some(Position::Offset(*at))));
        }
        Ok(())
    }

    async fn read_drafts(&mut self) -> Result<()> {
        let State::Drafts { changes, .. } = &mut self.state else { return Ok(()) };
        changes.wait().await;
        self.follow_members().await?;
        let State::Drafts { last, changes } = &mut self.state else { return Ok(()) };
        let drafts = self.channel.drafts.list(&self.live.services, &self.actor).await?;
        changes.is_read = true;
        let ids: Vec<_> = drafts.iter().map(|message| message.id).collect();
        if last.as_ref() != Some(&ids) {
            *last = Some(ids);
            self.items.push_back((Arc::new(Item::Drafts((*drafts).clone())), None));
        }
        Ok(())
    }

    async fn read_presence(&mut self) -> Result<()> {
        let State::Presence { changes, .. } = &mut self.state else { return Ok(()) };
        changes.wait().await;
        let members = self.follow_members().await?;
        let State::Presence { last, changes } = &mut self.state else { return Ok(()) };
        let live = &self.live;
        let mut people = self.channel.presence.people(&live.services, &live.presence, &self.actor).await?;
        changes.is_read = true;
        people.retain(|person| members.members.contains(&person.user_id));
        if last.as_ref() != Some(&people) {
            *last = Some(people.clone());
            self.items.push_back((Arc::new(Item::Presence(self.channel.project, people)), None));
        }
        Ok(())
    }

    async fn read_members(&self) -> Result<Arc<Entries>> {
        match self.channel.tail.read(&self.live.services, &self.actor).await {
            // These topics have no position in the log: they continue with a new channel.
            Err(Error::PositionLost(_)) => Err(Error::Unavailable("the project's log was replaced".to_owned())),
            read => read,
        }
    }

    /// Reads the members, with a new channel if the log was replaced.
    async fn follow_members(&mut self) -> Result<Arc<Entries>> {
        if self.channel.tail.is_lost() {
            self.channel = self.live.channels.open(self.channel.project);
            let channel = &self.channel;
            match &mut self.state {
                State::Log { .. } => {}
                State::Text { text, id, changes, .. } => {
                    *text = channel.drafts.text(*id);
                    *changes = Changes::new(channel, text.subscribe());
                }
                State::Drafts { changes, .. } => *changes = Changes::new(channel, channel.drafts.subscribe()),
                State::Presence { changes, .. } => *changes = Changes::new(channel, channel.presence.subscribe()),
            }
            self.presence = Some(self.live.presence.enter(&self.channel.presence, self.actor.user_id));
        }
        self.read_members().await
    }
}

impl Selects {
    /// The items of a tail after a revision; `None` if the log must be read.
    fn of_tail(&self, tail: &Entries, at: i32) -> Option<Vec<(Item, i32)>> {
        let mut events = tail.after(at)?;
        match self {
            Self::Events(kinds) => {
                let wanted = events.filter(|event| kinds.is_empty() || kinds.contains(&event.kind));
                Some(wanted.cloned().map(of_event).collect())
            }
            Self::MessagesOf(session) => {
                let is_ours = |event: &Event| {
                    event.kind == EventKind::MessageAdded && event.session_id.is_none_or(|id| id == *session)
                };
                (!events.any(is_ours)).then(Vec::new)
            }
        }
    }
}

fn of_event(event: Event) -> (Item, i32) {
    let revision = event.revision;
    (Item::Event(event), revision)
}

fn of_message(message: Message) -> (Item, i32) {
    let revision = message.revision;
    (Item::Message(Box::new(message)), revision)
}

/// The start position: the requested one, or the newest revision.
async fn start(services: &Services, actor: &Actor, channel: &Channel, after: Option<i32>) -> Result<i32> {
    let newest = event::newest(&services.read(actor).await?, channel.project).await?.ok_or_else(Error::no_project)?;
    // Its notification may not have arrived yet.
    channel.tail.advanced(newest);
    match after {
        None => Ok(newest),
        Some(after) if after < 0 => {
            Err(Error::bad_input("afterRevision", "Revisions begin with 1; 0 is before all of them."))
        }
        Some(after) if after > newest => Err(Error::PositionLost(Newest::Revision(newest))),
        Some(after) => Ok(after),
    }
}

async fn entry(services: &Services, actor: &Actor, project: ProjectId, revision: i32) -> Result<Option<Event>> {
    let tx = services.read(actor).await?;
    let member = access::required(&tx, project).await?;
    let found = event::after(&tx, &[member], revision.saturating_sub(1), &[], 1).await?;
    Ok(found.into_iter().find(|event| event.revision == revision))
}

async fn project_of(services: &Services, actor: &Actor, message: MessageId) -> Result<ProjectId> {
    let tx = services.read(actor).await?;
    if let Some(streaming) = streaming_message::by_ids(&tx, &[message]).await?.first() {
        return Ok(streaming.project_id);
    }
    let finished = chat::messages_by_ids(&tx, &[message]).await?.into_iter().next();
    Ok(finished.ok_or_else(|| Error::not_found("message", "messageId"))?.project_id)
}
