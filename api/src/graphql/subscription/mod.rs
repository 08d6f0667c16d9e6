//! The subscription root. A subscription opens a topic ([`topic`]) and is executed once for each of its items; the
//! resolver receives the item.

use async_graphql::{Context, ID, InputType, Subscription as SubscriptionRoot, Value};
use futures::Stream;
use futures::stream::{Once, once};

use super::context::caller;
use super::enums::EventKind;
use super::execution::Run;
use super::types::chat::ChatMessage;
use super::types::event::{CodeChangeSet, ProjectEvent};
use super::types::presence::Presence;
use super::types::streaming_message::{MessageChunk, StreamingMessage};
use crate::live::source::{Item, Topic};
use crate::model::enums;
use crate::model::error::{Error, Result};
use crate::model::ids::{MessageId, ProjectId, ReadId, SessionId};

/// The subscription root.
#[derive(Default)]
pub struct Subscription;

/// Subscriptions. `afterRevision` first replays everything newer than that revision and then continues live, without
/// gaps or repeats. Without it, only later events are delivered. Keep the last `revision` and pass it when you
/// reconnect. To miss nothing after a state that you have read, start with that state's `revision`. A subscription has
/// exactly one field. Delivered objects are in their present state and have plain ids, so that client caches store them
/// as the present objects.
#[expect(
    unused_variables,
    reason = "`topic` reads the arguments, before the subscription is executed for each of its events"
)]
#[SubscriptionRoot]
impl Subscription {
    /// The messages of a session, oldest first.
    async fn message_added(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The session to subscribe to. An id as of a revision, `<uuid>@<revision>`, begins after that revision."
        )]
        session_id: ID,
        #[graphql(
            desc = "The last known revision: everything newer is replayed first. Without it, and without a revision in the id, only later events are delivered."
        )]
        after_revision: Option<i32>,
    ) -> Result<impl Stream<Item = Run<ChatMessage>> + use<>> {
        match &*caller(ctx)?.delivered()? {
            Item::Message(message) => Ok(event(ChatMessage::from((**message).clone()))),
            _ => Err(another_topic()),
        }
    }

    /// The changes of files in a project. All changes of one write are delivered together.
    async fn code_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The project to subscribe to. An id as of a revision, `<uuid>@<revision>`, begins after that revision."
        )]
        project_id: ID,
        #[graphql(
            desc = "The last known revision: everything newer is replayed first. Without it, and without a revision in the id, only later events are delivered."
        )]
        after_revision: Option<i32>,
    ) -> Result<impl Stream<Item = Run<CodeChangeSet>> + use<>> {
        match &*caller(ctx)?.delivered()? {
            Item::Event(entry) => Ok(event(CodeChangeSet(entry.clone()))),
            _ => Err(another_topic()),
        }
    }

    /// The text of a streaming message: first the text after `afterOffset`, then each later part once and in order, on
    /// any server. The last part has the state FINISHED, with the message, or DISCARDED; then the subscription
    /// completes. A slow client receives longer parts. To resume, pass the last `nextOffset`.
    async fn message_stream(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The `messageId` that `startMessage` returned.")] message_id: ID,
        #[graphql(desc = "The start position in the text, in bytes of UTF-8; 0 by default.")] after_offset: Option<i32>,
    ) -> Result<impl Stream<Item = Run<MessageChunk>> + use<>> {
        match &*caller(ctx)?.delivered()? {
            Item::Text(chunk) => Ok(event(MessageChunk(chunk.clone()))),
            _ => Err(another_topic()),
        }
    }

    /// The streaming messages of a project: the present list, then the list whenever one is started, finished or
    /// discarded; an empty list if there are none. The list is not delivered for new text or when a message stalls:
    /// `messageStream` delivers the text, `ChatSession.streamingMessages` has the `state`.
    async fn streaming_messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project to subscribe to.")] project_id: ID,
    ) -> Result<impl Stream<Item = Run<Vec<StreamingMessage>>> + use<>> {
        match &*caller(ctx)?.delivered()? {
            Item::Drafts(drafts) => Ok(event(drafts.iter().cloned().map(StreamingMessage).collect())),
            _ => Err(another_topic()),
        }
    }

    /// The users who are present in a project: the present list, then the list whenever it changes. Other servers deliver
    /// a change within a few seconds. Servers on one SQLite file do not see each other's users. Subscribers of this
    /// subscription are present, too.
    async fn presence(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project to subscribe to.")] project_id: ID,
    ) -> Result<impl Stream<Item = Run<Vec<Presence>>> + use<>> {
        match &*caller(ctx)?.delivered()? {
            Item::Presence(project, people) => {
                let presence = |person| Presence { project: *project, person };
                Ok(event(people.iter().cloned().map(presence).collect()))
            }
            _ => Err(another_topic()),
        }
    }

    /// All events of a project, or those of the given kinds.
    ///
    /// A socket closes when its token expires (4403). To keep it open, send `{"type": "ping", "payload":
    /// {"Authorization": "Bearer …"}}` on it with a new token of the same user. `tokenExpiresAt` of the `pong` is the
    /// new expiry, in seconds since the epoch.
    async fn project_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The project to subscribe to. An id as of a revision, `<uuid>@<revision>`, begins after that revision."
        )]
        project_id: ID,
        #[graphql(desc = "Only events of these kinds; by default all.")] kinds: Option<Vec<EventKind>>,
        #[graphql(
            desc = "The last known revision: everything newer is replayed first. Without it, and without a revision in the id, only later events are delivered."
        )]
        after_revision: Option<i32>,
        #[graphql(
            default = false,
            desc = "First delivers the newest event (or the event of `afterRevision`; revision 0 has none), whatever its kind. The subscription is then active and delivers everything after it. A client without a known revision can wait for this event before it writes, so that it misses nothing."
        )]
        ready: bool,
    ) -> Result<impl Stream<Item = Run<ProjectEvent>> + use<>> {
        match &*caller(ctx)?.delivered()? {
            Item::Event(entry) => Ok(event(ProjectEvent(entry.clone()))),
            _ => Err(another_topic()),
        }
    }
}

fn event<T>(item: T) -> Once<std::future::Ready<Run<T>>> {
    once(std::future::ready(Run(item)))
}

fn another_topic() -> Error {
    Error::internal("a subscription was executed for an item of another topic")
}

/// The topic that a field of [`Subscription`] opens with these arguments.
///
/// # Errors
/// `BadInput` for an invalid id.
pub fn topic(field: &str, argument: impl Fn(&str) -> Option<Value>) -> Result<Topic> {
    let project = || ReadId::<ProjectId>::parse(&read::<ID>("projectId", argument("projectId"))?, "projectId");
    let number = |name: &str| read::<Option<i32>>(name, argument(name));
    Ok(match field {
        "messageAdded" => {
            let ReadId { id, at } =
                ReadId::<SessionId>::parse(&read::<ID>("sessionId", argument("sessionId"))?, "sessionId")?;
            Topic::SessionMessages { session: id, after: number("afterRevision")?.or(at) }
        }
        "codeChanged" => {
            let (kinds, project) =
                (vec![enums::EventKind::FilesChanged, enums::EventKind::ProjectRestored], project()?);
            let after = number("afterRevision")?.or(project.at);
            Topic::ProjectLog { project: project.id, kinds, after, ready: false }
        }
        "projectEvents" => {
            let project = project()?;
            let kinds = read::<Option<Vec<EventKind>>>("kinds", argument("kinds"))?.unwrap_or_default();
            let kinds = kinds.into_iter().map(Into::into).collect();
            let after = number("afterRevision")?.or(project.at);
            let ready = read::<Option<bool>>("ready", argument("ready"))?.unwrap_or(false);
            Topic::ProjectLog { project: project.id, kinds, after, ready }
        }
        "messageStream" => {
            let message = read::<ID>("messageId", argument("messageId"))?;
            let message = ReadId::<MessageId>::parse(&message, "messageId")?.id;
            Topic::MessageText { message, after: number("afterOffset")? }
        }
        "streamingMessages" => Topic::Drafts { project: project()?.id },
        "presence" => Topic::Presence { project: project()?.id },
        _ => return Err(Error::internal("a subscription without a topic")),
    })
}

fn read<T: InputType>(name: &str, argument: Option<Value>) -> Result<T> {
    T::parse(argument).map_err(|error| Error::bad_input(name, error.into_server_error(Default::default()).message))
}
