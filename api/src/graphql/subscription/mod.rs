//! The root of subscriptions. The log is what is listened to: nothing is missed, nothing comes twice, and all comes in the
//! order of revisions.

use async_graphql::{Context, ID, Subscription as SubscriptionRoot};
use futures::{Stream, StreamExt};

use super::context::caller;
use super::execution::Run;
use super::names::EventKind;
use super::types::chat::ChatMessage;
use super::types::event::{CodeChangeSet, ProjectEvent};
use super::types::presence::Presence;
use super::types::streaming_message::{MessageChunk, StreamingMessage};
use crate::domain::{events, presence, streaming_message};
use crate::model::error::Result;
use crate::model::ids::{MessageId, ProjectId, ReadId, SessionId};
use crate::model::names;
use crate::model::presence::Person;

/// Listening. `afterRevision` replays what is newer than that revision and then goes on live, without a gap, a repeat or a
/// swap between the two; without it, only what comes after the subscription. Keep the last `revision` you saw and pass it
/// when you reconnect: nothing is ever lost. To miss nothing of what comes after a state that you have read, begin with that
/// state's `revision`. A subscription has one field, at its top.
#[derive(Default)]
pub struct Subscription;

/// Listening. `afterRevision` replays what is newer than that revision and then goes on live, without a gap or a repeat;
/// without it, only what comes after the subscription. Keep the last `revision` and pass it when you reconnect. To miss
/// nothing after a state that you have read, begin with that state's `revision`. A subscription has one field.
/// Objects in what is delivered are as they are now and have plain ids, so that a client's cache takes them as the
/// present.
#[SubscriptionRoot]
impl Subscription {
    /// The messages of a session, oldest first.
    async fn message_added(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The session to listen to. An id as of a revision, `<uuid>@<revision>`, begins after that revision."
        )]
        session_id: ID,
        #[graphql(
            desc = "The last revision that is known: what is newer is replayed first. Without it, and if the id names no revision, only what comes from now on."
        )]
        after_revision: Option<i32>,
    ) -> Result<impl Stream<Item = Result<Run<ChatMessage>>> + use<>> {
        let caller = caller(ctx)?;
        let ReadId { id: session, at } = ReadId::<SessionId>::parse(&session_id, "sessionId")?;
        let after_revision = after_revision.or(at);
        let messages =
            events::listen_to_session(&caller.services, &caller.actor, caller.cursor()?, session, after_revision)
                .await?;
        Ok(messages.map(|message| message.map(ChatMessage::from).map(Run)))
    }

    /// The changes of files in a project. All changes that one write made arrive together.
    async fn code_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The project to listen to. An id as of a revision, `<uuid>@<revision>`, begins after that revision."
        )]
        project_id: ID,
        #[graphql(
            desc = "The last revision that is known: what is newer is replayed first. Without it, and if the id names no revision, only what comes from now on."
        )]
        after_revision: Option<i32>,
    ) -> Result<impl Stream<Item = Result<Run<CodeChangeSet>>> + use<>> {
        let caller = caller(ctx)?;
        let ReadId { id: project, at } = ReadId::<ProjectId>::parse(&project_id, "projectId")?;
        let after_revision = after_revision.or(at);
        let kinds = vec![names::EventKind::FilesChanged, names::EventKind::ProjectRestored];
        let events =
            events::listen(&caller.services, &caller.actor, caller.cursor()?, project, kinds, after_revision, false)
                .await?;
        Ok(events.map(|event| event.map(CodeChangeSet).map(Run)))
    }

    /// The text of a message while it is being written: first what there is after `afterOffset`, then each piece once and
    /// in order, at any server. The last piece is FINISHED, with the message, or DISCARDED; then the subscription
    /// completes. A slow reader receives longer pieces. To go on after a reconnect, pass the last `nextOffset`.
    async fn message_stream(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The `messageId` that `startMessage` answered.")] message_id: ID,
        #[graphql(desc = "Where to begin in the text, in bytes of UTF-8; 0 by default.")] after_offset: Option<i32>,
    ) -> Result<impl Stream<Item = Result<Run<MessageChunk>>> + use<>> {
        let caller = caller(ctx)?;
        let id = ReadId::<MessageId>::parse(&message_id, "messageId")?.id;
        let chunks =
            streaming_message::listen(&caller.services, &caller.actor, caller.cursor()?, id, after_offset).await?;
        Ok(chunks.map(|chunk| chunk.map(MessageChunk).map(Run)))
    }

    /// The messages that are being written in a project, now and again each time one is started, finished or discarded;
    /// an empty list if there are none. It does not announce text or a stall: `messageStream` delivers the text,
    /// `ChatSession.streamingMessages` has the `state`.
    async fn streaming_messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project to listen to.")] project_id: ID,
    ) -> Result<impl Stream<Item = Result<Run<Vec<StreamingMessage>>>> + use<>> {
        let caller = caller(ctx)?;
        let project = ReadId::<ProjectId>::parse(&project_id, "projectId")?.id;
        let growing =
            streaming_message::listen_to_project(&caller.services, &caller.actor, caller.cursor()?, project).await?;
        Ok(growing.map(|growing| growing.map(|growing| growing.into_iter().map(StreamingMessage).collect()).map(Run)))
    }

    /// The users who listen to a project, now and again each time that changes. Another server notices within a few
    /// seconds; servers on one SQLite file do not notice each other. A listener of this subscription is listed, too.
    async fn presence(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project to listen to.")] project_id: ID,
    ) -> Result<impl Stream<Item = Result<Run<Vec<Presence>>>> + use<>> {
        let caller = caller(ctx)?;
        let project = ReadId::<ProjectId>::parse(&project_id, "projectId")?.id;
        let people = presence::listen(&caller.services, &caller.actor, caller.cursor()?, project).await?;
        let presences =
            move |people: Vec<Person>| people.into_iter().map(|person| Presence { project, person }).collect();
        Ok(people.map(move |people| people.map(presences).map(Run)))
    }

    /// Everything that happens in a project, or the kinds of it that are named.
    ///
    /// A socket ends with its token (4403). To go on, send `{"type": "ping", "payload": {"Authorization": "Bearer …"}}`
    /// on it, with a fresh token of the same user; `tokenExpiresAt` of the `pong` is when that token ends, in seconds
    /// since the epoch.
    async fn project_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The project to listen to. An id as of a revision, `<uuid>@<revision>`, begins after that revision."
        )]
        project_id: ID,
        #[graphql(desc = "Only events of these kinds. Without it all.")] kinds: Option<Vec<EventKind>>,
        #[graphql(
            desc = "The last revision that is known: what is newer is replayed first. Without it, and if the id names no revision, only what comes from now on."
        )]
        after_revision: Option<i32>,
        #[graphql(
            default = false,
            desc = "Delivers the newest event (or that of `afterRevision`) once more, at once and whatever its kind: the listener is attached and receives all that comes after it. A client that knows no revision, and must not miss what it writes next, waits for it."
        )]
        ready: bool,
    ) -> Result<impl Stream<Item = Result<Run<ProjectEvent>>> + use<>> {
        let caller = caller(ctx)?;
        let ReadId { id: project, at } = ReadId::<ProjectId>::parse(&project_id, "projectId")?;
        let after_revision = after_revision.or(at);
        let kinds = kinds.unwrap_or_default().into_iter().map(Into::into).collect();
        let cursor = caller.cursor()?;
        let events =
            events::listen(&caller.services, &caller.actor, cursor, project, kinds, after_revision, ready).await?;
        Ok(events.map(|event| event.map(ProjectEvent).map(Run)))
    }
}
