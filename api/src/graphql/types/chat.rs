//! Sessions and messages.

use async_graphql::{Context, ID, InputObject, Lookahead, Object};

use super::file::CodeChange;
use super::growing_message::GrowingMessage;
use super::profile::User;
use super::project::Project;
use super::snapshot::ProjectSnapshot;
use crate::graphql::context::{Caller, caller};
use crate::graphql::error::or_null;
use crate::graphql::loader::{ChangesFor, Count, GrowingIn, Part, SnapshotMadeAt, With};
use crate::graphql::names::MessageRole;
use crate::graphql::page::{Page, Paging, Total, UNPAGED, arguments, connection, int, rows, weigh};
use crate::graphql::row::Plain;
use crate::graphql::scalar::{Json, Time};
use crate::model::chat::{self as model, MessageFilter, SessionFilter};
use crate::model::error::{Error, Result};
use crate::model::ids::{ReadId, SessionId, Within};
use crate::model::names;
use crate::model::node_id::NodeId;
use crate::model::page::{self, Page as PageArguments};

/// One conversation within a project. Everybody in the project reads it; its author alone writes in it.
pub struct ChatSession(pub model::Session);

impl Plain for ChatSession {
    fn is_plain(field: &str) -> bool {
        matches!(field, "id" | "title" | "isActive" | "startedAt" | "endedAt" | "metadata")
    }
}

#[Object]
impl ChatSession {
    /// Its id: a UUID, and `<uuid>@<revision>` for a session that is read as of a revision.
    pub(super) async fn id(&self) -> ID {
        ReadId { id: self.0.id, at: self.at() }.to_string().into()
    }

    /// The session as it is now; null if the caller no longer sees it.
    async fn present(&self, ctx: &Context<'_>) -> Option<Result<ChatSession>> {
        or_null(async { Ok(caller(ctx)?.load(self.0.id).await?.map(ChatSession)) }).await
    }

    /// Its project, as of the same revision.
    async fn project(&self, ctx: &Context<'_>) -> Result<Project> {
        super::project(ctx, self.0.project_id, self.at()).await
    }

    /// Whose conversation it is.
    async fn author(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.author_id).await
    }

    /// Its title.
    async fn title(&self) -> Option<&str> {
        self.0.title.as_deref()
    }

    /// When it began.
    async fn started_at(&self) -> Time {
        Time(self.0.started_at)
    }

    /// When it ended; null while it goes on.
    async fn ended_at(&self) -> Option<Time> {
        self.ended().map(Time)
    }

    /// Whether it goes on. An author has one active session a project: starting another ends it.
    async fn is_active(&self) -> bool {
        self.ended().is_none()
    }

    /// How many messages it has, those too that going back has folded away.
    async fn message_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let Some(as_of) = self.0.as_of else { return Ok(self.0.message_count) };
        let keep = MessageFilter { until: Some(as_of.revision), include_folded: true, ..MessageFilter::default() };
        Ok(int(caller(ctx)?.load(Count { parent: self.within(), keep }).await?.unwrap_or_default()))
    }

    /// The client's own data.
    async fn metadata(&self) -> Json {
        Json(self.0.metadata.clone())
    }

    /// Oldest first. `last: 50` gives the newest 50.
    #[graphql(complexity = "weigh(first, last, page::MESSAGES, child_complexity)")]
    async fn messages(
        &self,
        ctx: &Context<'_>,
        filter: Option<ChatMessageFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<ChatMessage>> {
        let selected = Messages { filter, page: Paging { first, after, last, before } };
        let at = self.at();
        let (keep, page) = selected.read(at)?;
        let total = Total::Messages(Count { parent: self.within(), keep: keep.clone() });
        let slice = caller(ctx)?.load(Part { parent: self.within(), keep, page }).await?.unwrap_or_default();
        Ok(connection(slice, total, |row| ChatMessage(row, at)))
    }

    /// Its checkpoints, oldest first.
    #[graphql(complexity = "rows(UNPAGED, child_complexity)")]
    async fn checkpoints(&self, ctx: &Context<'_>) -> Result<Vec<ChatMessage>> {
        let at = self.at();
        let keep = MessageFilter { is_checkpoint: Some(true), until: at, ..MessageFilter::default() };
        let slice = caller(ctx)?.load(Part { parent: self.within(), keep, page: PageArguments::all() }).await?;
        Ok(slice.unwrap_or_default().rows.into_iter().map(|(_, row)| ChatMessage(row, at)).collect())
    }

    /// The messages that are being written in it, oldest first. They are no part of the history: of an earlier moment there are
    /// none.
    #[graphql(complexity = "rows(UNPAGED, child_complexity)")]
    async fn growing_messages(&self, ctx: &Context<'_>) -> Result<Vec<GrowingMessage>> {
        if self.0.as_of.is_some() {
            return Ok(Vec::new());
        }
        let rows = caller(ctx)?.load(GrowingIn(self.within())).await?.unwrap_or_default();
        Ok(rows.into_iter().map(GrowingMessage).collect())
    }
}

/// The arguments of `messages`.
#[derive(InputObject)]
struct Messages {
    filter: Option<ChatMessageFilter>,
    #[graphql(flatten)]
    page: Paging,
}

impl Messages {
    fn read(self, until: Option<i32>) -> Result<(MessageFilter, PageArguments)> {
        let page = self.page.parse(page::MESSAGES)?;
        let keep = self.filter.map(MessageFilter::try_from).transpose()?.unwrap_or_default();
        Ok((MessageFilter { until, ..keep }, page))
    }
}

impl ChatSession {
    /// A session by its id, and with it its messages, if they are selected.
    pub async fn find(caller: &Caller, selected: &Lookahead<'_>, id: SessionId) -> Result<Option<model::Session>> {
        let messages = arguments(selected, "messages").map(|messages: Messages| messages.read(None));
        match messages {
            // With the messages, the metadata would be read with each of them.
            Some(Ok((keep, page))) if !selected.field("metadata").exists() => {
                let parent = |row: &model::Session| Within { project: row.project_id, id: row.id };
                caller.load_with(With { id, keep, page }, parent).await
            }
            _ => caller.load(id).await,
        }
    }

    fn within(&self) -> Within<SessionId> {
        Within { project: self.0.project_id, id: self.0.id }
    }

    /// The revision as of which it is read; `None` is now.
    fn at(&self) -> Option<i32> {
        self.0.as_of.map(|as_of| as_of.revision)
    }

    /// When it ended, as of the moment at which it is read.
    fn ended(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        self.0.ended_at.filter(|time| self.0.as_of.is_none_or(|as_of| *time <= as_of.time))
    }
}

/// One message of a session, now or as of the revision in its second field.
pub struct ChatMessage(pub model::Message, pub Option<i32>);

impl From<model::Message> for ChatMessage {
    fn from(message: model::Message) -> Self {
        Self(message, None)
    }
}

impl Plain for ChatMessage {
    fn is_plain(field: &str) -> bool {
        matches!(
            field,
            "id" | "role"
                | "content"
                | "timestamp"
                | "revision"
                | "isCheckpoint"
                | "contextData"
                | "metadata"
                | "isFolded"
        )
    }
}

#[Object]
impl ChatMessage {
    /// Its id: a UUID, and `<uuid>@<revision>` for a message that is read as of a revision.
    pub(super) async fn id(&self) -> ID {
        ReadId { id: self.0.id, at: self.1 }.to_string().into()
    }

    /// The message as it is now; null if the caller no longer sees it.
    async fn present(&self, ctx: &Context<'_>) -> Option<Result<ChatMessage>> {
        or_null(super::optional_message(ctx, Some(self.0.id))).await
    }

    /// Its session, as of the same revision.
    async fn session(&self, ctx: &Context<'_>) -> Result<ChatSession> {
        super::session(ctx, self.0.session_id, self.1).await
    }

    /// Who wrote it, or whose AI did.
    async fn author(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.author_id).await
    }

    /// Whose voice it is.
    async fn role(&self) -> MessageRole {
        self.0.role.into()
    }

    /// Its text.
    async fn content(&self, ctx: &Context<'_>) -> Result<&str> {
        caller(ctx)?.reader.answer(self.0.content.len())?;
        Ok(&self.0.content)
    }

    /// When it was added.
    async fn timestamp(&self) -> Time {
        Time(self.0.timestamp)
    }

    /// The revision that added it: its place in the project's history.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// Whether the state of the files belongs to it.
    async fn is_checkpoint(&self) -> bool {
        self.0.is_checkpoint
    }

    /// What the AI knew, as the client writes it.
    async fn context_data(&self) -> Json {
        Json(self.0.context_data.clone())
    }

    /// The client's own data.
    async fn metadata(&self) -> Json {
        Json(self.0.metadata.clone())
    }

    /// Whether going back has folded it away: lists leave it out unless asked by `includeFolded`.
    async fn is_folded(&self) -> bool {
        self.0.folded_revision.is_some()
    }

    /// The code changes that were made for this message, in their order.
    #[graphql(complexity = "rows(UNPAGED, child_complexity)")]
    async fn changes(&self, ctx: &Context<'_>) -> Result<Vec<CodeChange>> {
        let rows = caller(ctx)?
            .load(ChangesFor(Within { project: self.0.project_id, id: self.0.id }))
            .await?
            .unwrap_or_default();
        let rows = rows.into_iter().filter(|row| self.1.is_none_or(|at| row.revision <= at));
        Ok(rows.map(CodeChange).collect())
    }

    /// The snapshot that this checkpoint made. It follows the changes that are made for the message.
    async fn snapshot(&self, ctx: &Context<'_>) -> Option<Result<ProjectSnapshot>> {
        or_null(async {
            if !self.0.is_checkpoint || self.0.role != names::MessageRole::Assistant {
                return Ok(None);
            }
            let key = SnapshotMadeAt(self.0.project_id, self.0.revision);
            Ok(caller(ctx)?.load(key).await?.map(ProjectSnapshot))
        })
        .await
    }
}

/// A row of `recent_chat_activity`.
pub struct ChatActivity(pub model::Message, pub Option<i32>);

impl Plain for ChatActivity {
    fn is_plain(field: &str) -> bool {
        matches!(field, "id" | "excerpt")
    }
}

#[Object]
impl ChatActivity {
    /// Its id.
    pub(super) async fn id(&self) -> ID {
        NodeId::Activity(ReadId { id: self.0.id, at: self.1 }).to_string().into()
    }

    /// The message.
    async fn message(&self) -> ChatMessage {
        ChatMessage(self.0.clone(), self.1)
    }

    /// Its project.
    async fn project(&self, ctx: &Context<'_>) -> Result<Project> {
        super::project(ctx, self.0.project_id, self.1).await
    }

    /// Its session.
    async fn session(&self, ctx: &Context<'_>) -> Result<ChatSession> {
        super::session(ctx, self.0.session_id, self.1).await
    }

    /// Who wrote it, or whose AI did.
    async fn author(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.author_id).await
    }

    /// The first 200 characters.
    async fn excerpt(&self) -> String {
        self.0.content.chars().take(200).collect()
    }
}

/// Which sessions a list keeps.
#[derive(InputObject)]
pub struct ChatSessionFilter {
    /// Active, or ended.
    is_active: Option<bool>,
    /// Begun at or after this time.
    started_after: Option<Time>,
    /// Begun at or before this time.
    started_before: Option<Time>,
}

impl From<ChatSessionFilter> for SessionFilter {
    fn from(filter: ChatSessionFilter) -> Self {
        Self {
            author: None,
            is_active: filter.is_active,
            started_after: filter.started_after.map(|time| time.0),
            started_before: filter.started_before.map(|time| time.0),
            until: None,
        }
    }
}

/// Which messages a list keeps.
#[derive(InputObject)]
pub struct ChatMessageFilter {
    /// Of this voice.
    role: Option<MessageRole>,
    /// Checkpoints, or the others.
    is_checkpoint: Option<bool>,
    /// With this text, any case.
    search: Option<String>,
    /// Added at or after this time.
    after: Option<Time>,
    /// Added at or before this time.
    before: Option<Time>,
    /// Those too that going back has folded away.
    include_folded: Option<bool>,
}

impl TryFrom<ChatMessageFilter> for MessageFilter {
    type Error = Error;

    fn try_from(filter: ChatMessageFilter) -> Result<Self> {
        Ok(Self {
            role: filter.role.map(Into::into),
            is_checkpoint: filter.is_checkpoint,
            search: page::search(filter.search, "filter.search")?,
            after: filter.after.map(|time| time.0),
            before: filter.before.map(|time| time.0),
            until: None,
            include_folded: filter.include_folded.unwrap_or(false),
        })
    }
}
