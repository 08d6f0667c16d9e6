//! The root of subscriptions. The log is what is listened to: nothing is missed, nothing comes twice, and all comes in the
//! order of revisions.

use async_graphql::{Context, ID, Subscription as SubscriptionRoot};
use futures::{Stream, StreamExt};

use super::context::caller;
use super::execution::Run;
use super::names::EventKind;
use super::types::chat::ChatMessage;
use super::types::event::{CodeChangeSet, ProjectEvent};
use super::types::growing_message::{GrowingMessage, MessageChunk};
use super::types::presence::PersonHere;
use crate::domain::{events, growing_message, presence};
use crate::model::error::Result;
use crate::model::ids::{MessageId, ProjectId, ReadId, SessionId};
use crate::model::names;

/// Listening. `afterRevision` replays what is newer than that revision and then goes on live, without a gap, a repeat or a
/// swap between the two; without it, only what comes after the subscription. Keep the last `revision` you saw and pass it
/// when you reconnect: nothing is ever lost. To miss nothing of what comes after a state that you have read, begin with that
/// state's `revision`. A subscription has one field, at its top.
#[derive(Default)]
pub struct Subscription;

#[SubscriptionRoot]
impl Subscription {
    /// The messages of a session.
    async fn message_added(
        &self,
        ctx: &Context<'_>,
        session_id: ID,
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

    /// The changes of files. All files that one write changed arrive together.
    async fn code_changed(
        &self,
        ctx: &Context<'_>,
        project_id: ID,
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

    /// A message's text as it grows: first what there is, from `afterOffset` on (bytes of UTF-8, 0 by default), then each piece
    /// once and in order, whichever server it is written at. The last one is FINISHED, with the message, or DISCARDED; then the
    /// subscription completes. Who reads more slowly than the writer writes gets longer pieces. To go on after a reconnect, pass
    /// the last `nextOffset`.
    async fn message_stream(
        &self,
        ctx: &Context<'_>,
        message_id: ID,
        after_offset: Option<i32>,
    ) -> Result<impl Stream<Item = Result<Run<MessageChunk>>> + use<>> {
        let caller = caller(ctx)?;
        let id = ReadId::<MessageId>::parse(&message_id, "messageId")?.id;
        let chunks =
            growing_message::listen(&caller.services, &caller.actor, caller.cursor()?, id, after_offset).await?;
        Ok(chunks.map(|chunk| chunk.map(MessageChunk).map(Run)))
    }

    /// The messages that are being written in a project now, and then again whenever one has begun, was finished or discarded: an
    /// empty list where there are none. That one grows or stands still is not told here: `messageStream` tells its text, and
    /// `ChatSession.growingMessages` its `state`.
    async fn growing_messages(
        &self,
        ctx: &Context<'_>,
        project_id: ID,
    ) -> Result<impl Stream<Item = Result<Run<Vec<GrowingMessage>>>> + use<>> {
        let caller = caller(ctx)?;
        let project = ReadId::<ProjectId>::parse(&project_id, "projectId")?.id;
        let growing =
            growing_message::listen_to_project(&caller.services, &caller.actor, caller.cursor()?, project).await?;
        Ok(growing.map(|growing| growing.map(|growing| growing.into_iter().map(GrowingMessage).collect()).map(Run)))
    }

    /// Who listens to a project now, and then again whenever that has changed. Others hear of it at once, or at another server
    /// within a few seconds; servers on one SQLite file do not tell each other. Whoever listens to this is here too.
    async fn who_is_here(
        &self,
        ctx: &Context<'_>,
        project_id: ID,
    ) -> Result<impl Stream<Item = Result<Run<Vec<PersonHere>>>> + use<>> {
        let caller = caller(ctx)?;
        let project = ReadId::<ProjectId>::parse(&project_id, "projectId")?.id;
        let people = presence::listen(&caller.services, &caller.actor, caller.cursor()?, project).await?;
        Ok(people.map(|people| people.map(|people| people.into_iter().map(PersonHere).collect()).map(Run)))
    }

    /// Everything that happens in a project, or the kinds of it that are named.
    ///
    /// With `ready`, the newest event (or that of `afterRevision`) is told once more, at once and whatever its kind: the listener
    /// is attached, and will hear all that comes after it. Who knows no revision, and must not miss what they write next, waits
    /// for it.
    ///
    /// A socket ends with its token (4403). To go on, send `{"type": "ping", "payload": {"Authorization": "Bearer …"}}` on it,
    /// with a fresh token of the same user; the `pong` says in `tokenExpiresAt` when that ends, in seconds since the epoch.
    async fn project_events(
        &self,
        ctx: &Context<'_>,
        project_id: ID,
        kinds: Option<Vec<EventKind>>,
        after_revision: Option<i32>,
        #[graphql(default = false)] ready: bool,
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
