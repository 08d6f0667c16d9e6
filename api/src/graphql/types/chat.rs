//! Sessions and messages.

use async_graphql::{Context, ID, InputObject, Lookahead, Object};

use super::code_change::CodeChange;
use super::profile::User;
use super::project::Project;
use super::snapshot::ProjectSnapshot;
use super::streaming_message::StreamingMessage;
use crate::graphql::context::{Caller, caller};
use crate::graphql::enums::MessageRole;
use crate::graphql::error::{or_empty, or_null};
use crate::graphql::loader::{ChangesFor, Count, Part, SnapshotOfEvent, StreamingIn, With};
use crate::graphql::long_columns::{of_object, of_rows};
use crate::graphql::needing::{needing, selected, without};
use crate::graphql::page::{
    Page, Paging, Total, UNPAGED, arguments, connection, cut_by_id, int, part, rows, weigh, weigh_part, whole,
};
use crate::graphql::row::{Plain, Row};
use crate::graphql::scalar::{Json, Text, Time};
use crate::model::chat::{self as model, MessageFilter, SessionFilter};
use crate::model::enums;
use crate::model::error::{Error, Result};
use crate::model::ids::{MessageId, ReadId, SessionId, Within};
use crate::model::node_id::NodeId;
use crate::model::page::{self, Cursor, Key, List, Page as PageArguments};
use crate::model::search::Search;

/// A session, now or as of a revision.
pub struct ChatSession(pub model::Session);

impl Plain for ChatSession {
    fn is_plain(field: &str) -> bool {
        matches!(field, "id" | "title" | "isActive" | "startedAt" | "endedAt" | "metadata")
    }
}

/// A part of a project's conversation, by one author. Every member can read it; only the author can write in it.
#[Object]
impl ChatSession {
    /// The id: a UUID, or `<uuid>@<revision>` for a session as of a revision.
    pub(super) async fn id(&self) -> ID {
        ReadId { id: self.0.id, at: self.at() }.to_string().into()
    }

    /// The session as it is now; null if the caller no longer has access.
    async fn present(&self, ctx: &Context<'_>) -> Option<Result<ChatSession>> {
        or_null(async { Ok(caller(ctx)?.load(needing(ctx, self.0.id)).await?.map(ChatSession)) }).await
    }

    /// Its project, as of the same revision.
    async fn project(&self, ctx: &Context<'_>) -> Result<Project> {
        super::project(ctx, self.0.project_id, self.at()).await
    }

    /// The user who writes in the session.
    async fn author(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.author_id).await
    }

    /// A title that the client chose.
    async fn title(&self) -> Option<Text<'_>> {
        self.0.title.as_deref().map(Text)
    }

    /// When `startSession` created it.
    async fn started_at(&self) -> Time {
        Time(self.0.started_at)
    }

    /// When it ended; null while it is active.
    async fn ended_at(&self) -> Option<Time> {
        self.ended().map(Time)
    }

    /// Whether it is active. An author has at most one active session in a project; starting another ends it.
    async fn is_active(&self) -> bool {
        self.ended().is_none()
    }

    /// The number of its messages, including hidden ones.
    async fn message_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let Some(as_of) = self.0.as_of else { return Ok(self.0.message_count) };
        let keep = MessageFilter { until: Some(as_of.revision), include_hidden: true, ..MessageFilter::default() };
        Ok(int(caller(ctx)?.load(Count { parent: self.within(), keep }).await?.unwrap_or_default()))
    }

    /// Data of the client; `{}` unless the client set it.
    async fn metadata(&self) -> Json {
        Json(self.0.metadata.clone())
    }

    /// Its messages, oldest first. `last: 50` returns the newest 50.
    #[graphql(complexity = "weigh(first, last, page::MESSAGES, child_complexity)")]
    async fn messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which messages to list; without it all that are not hidden.")] filter: Option<
            ChatMessageFilter,
        >,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 500, and 50 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 500.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Page<ChatMessage>> {
        let selected = Messages { filter, page: Paging { first, after, last, before } };
        let at = self.at();
        let (keep, page) = selected.read(at, &ctx.look_ahead())?;
        let total = Total::Messages(Count { parent: self.within(), keep: keep.clone() });
        let slice = caller(ctx)?.load(Part { parent: self.within(), keep, page }).await?.unwrap_or_default();
        Ok(connection(List::MESSAGES, slice, total, |row| ChatMessage(row, at)))
    }

    /// Its messages that are checkpoints, oldest first.
    #[graphql(complexity = "weigh_part(first, child_complexity)")]
    async fn checkpoints(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Maximum number; by default all; an error if there are more than `MAX_LIST_ROWS`.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after the checkpoint with this id.")] after: Option<ID>,
    ) -> Result<Vec<ChatMessage>> {
        or_empty(ctx, async {
            let (caller, at) = (caller(ctx)?, self.at());
            let mut page = PageArguments::first(part(&caller.services.limits, first)?)
                .needing(of_object(&ctx.look_ahead(), "ChatMessage"));
            if let Some(after) = after {
                let message = caller.load(without(ReadId::<MessageId>::parse(&after, "after")?.id)).await?;
                let message = message.filter(|message| message.session_id == self.0.id);
                let message = message.ok_or_else(|| Error::bad_input("after", "No row of this list has this id."))?;
                page.after = Some(Cursor(vec![Key::Number(message.revision.into())]));
            }
            let keep = MessageFilter { is_checkpoint: Some(true), until: at, ..MessageFilter::default() };
            let slice = caller.load(Part { parent: self.within(), keep, page }).await?.unwrap_or_default();
            whole(caller, first, slice.has_next)?;
            Ok(slice.rows.into_iter().map(|(_, row)| ChatMessage(row, at)).collect())
        })
        .await
    }

    /// Its streaming messages, oldest first. The setting `MAX_STREAMING_MESSAGES` limits their number (10 by default).
    /// They are not part of the history: a session as of a revision has none.
    #[graphql(complexity = "rows(UNPAGED, child_complexity)")]
    async fn streaming_messages(&self, ctx: &Context<'_>) -> Result<Vec<StreamingMessage>> {
        if self.0.as_of.is_some() {
            return Ok(Vec::new());
        }
        let rows = caller(ctx)?.load(StreamingIn(self.within())).await?.unwrap_or_default();
        Ok(rows.into_iter().map(StreamingMessage).collect())
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
    fn read(self, until: Option<i32>, list: &Lookahead<'_>) -> Result<(MessageFilter, PageArguments)> {
        let page = self.page.parse(List::MESSAGES)?.needing(of_rows(list, "ChatMessage"));
        let keep = self.filter.map(MessageFilter::try_from).transpose()?.unwrap_or_default();
        Ok((MessageFilter { until, ..keep }, page))
    }
}

impl ChatSession {
    /// A session by its id, together with its messages if the operation selects them.
    pub async fn find(caller: &Caller, fields: &Lookahead<'_>, id: SessionId) -> Result<Option<model::Session>> {
        let id = selected(fields, id);
        let messages = arguments(fields, "messages").map(|(messages, list): (Messages, _)| messages.read(None, &list));
        match messages {
            Some(Ok((keep, page))) => {
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
                | "createdAt"
                | "timestamp"
                | "revision"
                | "isCheckpoint"
                | "contextData"
                | "metadata"
                | "isHidden"
        )
    }
}

/// One message of a session. Its text never changes.
#[Object]
impl ChatMessage {
    /// The id: a UUID, or `<uuid>@<revision>` for a message as of a revision.
    pub(super) async fn id(&self) -> ID {
        ReadId { id: self.0.id, at: self.1 }.to_string().into()
    }

    /// The message as it is now; null if the caller no longer has access.
    async fn present(&self, ctx: &Context<'_>) -> Option<Result<ChatMessage>> {
        or_null(super::optional_message(ctx, Some(self.0.id))).await
    }

    /// Its session, as of the same revision.
    async fn session(&self, ctx: &Context<'_>) -> Result<ChatSession> {
        super::session(ctx, self.0.session_id, self.1).await
    }

    /// The user who wrote it, or whose AI did.
    async fn author(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.author_id).await
    }

    /// The sender's role.
    async fn role(&self) -> MessageRole {
        self.0.role.into()
    }

    /// The text of the message.
    async fn content(&self) -> Text<'_> {
        Text(&self.0.content)
    }

    /// When it was added to the session.
    async fn created_at(&self) -> Time {
        Time(self.0.timestamp)
    }

    /// When it was added to the session.
    #[graphql(deprecation = "Use `createdAt`, which has the same value.")]
    async fn timestamp(&self) -> Time {
        Time(self.0.timestamp)
    }

    /// The revision of the project that added it.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// Whether it marks a state of the files. A checkpoint of the assistant has a `snapshot`.
    async fn is_checkpoint(&self) -> bool {
        self.0.is_checkpoint
    }

    /// Context for the AI; `{}` unless the client set it.
    async fn context_data(&self) -> Json {
        Json(self.0.context_data.clone())
    }

    /// Data of the client; `{}` unless the client set it.
    async fn metadata(&self) -> Json {
        Json(self.0.metadata.clone())
    }

    /// Whether a restore of its session has hidden it. Lists leave it out unless `includeHidden` is true.
    async fn is_hidden(&self) -> bool {
        self.0.hidden_revision.is_some()
    }

    /// The code changes for this message, oldest first.
    #[graphql(complexity = "weigh_part(first, child_complexity)")]
    async fn changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Maximum number; by default all; an error if there are more than `MAX_LIST_ROWS`.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after the change with this id.")] after: Option<ID>,
    ) -> Result<Vec<Row<CodeChange>>> {
        or_empty(ctx, async {
            let caller = caller(ctx)?;
            let key = ChangesFor(Within { project: self.0.project_id, id: self.0.id });
            let mut rows = caller.load(key).await?.unwrap_or_default();
            rows.retain(|row| self.1.is_none_or(|at| row.revision <= at));
            let rows = cut_by_id(caller, rows, first, after.as_ref(), |row| row.change_id().0.to_string())?;
            Ok(rows.into_iter().map(|row| Row(CodeChange(row))).collect())
        })
        .await
    }

    /// The snapshot of this checkpoint, including later changes that name the message. Null for other messages.
    async fn snapshot(&self, ctx: &Context<'_>) -> Option<Result<ProjectSnapshot>> {
        or_null(async {
            if !self.0.is_checkpoint || self.0.role != enums::MessageRole::Assistant {
                return Ok(None);
            }
            let key = SnapshotOfEvent(self.0.project_id, self.0.revision);
            Ok(caller(ctx)?.load(key).await?.map(ProjectSnapshot))
        })
        .await
    }
}

/// A message in the list of recent ones.
pub struct ChatActivity(pub model::Message, pub Option<i32>);

impl Plain for ChatActivity {
    fn is_plain(field: &str) -> bool {
        matches!(field, "id" | "excerpt")
    }
}

/// A row of the list of recent messages (`recentActivity`).
#[Object]
impl ChatActivity {
    /// The globally unique id, for `node`.
    pub(super) async fn id(&self) -> ID {
        NodeId::Activity(ReadId { id: self.0.id, at: self.1 }).to_string().into()
    }

    /// The complete message.
    async fn message(&self) -> ChatMessage {
        ChatMessage(self.0.clone(), self.1)
    }

    /// The project that the message is in.
    async fn project(&self, ctx: &Context<'_>) -> Result<Project> {
        super::project(ctx, self.0.project_id, self.1).await
    }

    /// The session that the message is in.
    async fn session(&self, ctx: &Context<'_>) -> Result<ChatSession> {
        super::session(ctx, self.0.session_id, self.1).await
    }

    /// The user who wrote the message, or whose AI did.
    async fn author(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.author_id).await
    }

    /// The first 200 characters of the message's text.
    async fn excerpt(&self) -> String {
        self.0.content.chars().take(200).collect()
    }
}

/// Which sessions a list keeps.
#[derive(InputObject)]
pub struct ChatSessionFilter {
    /// True keeps sessions that have not ended, false those that have.
    is_active: Option<bool>,
    /// Keeps sessions that started at this time or later.
    started_after: Option<Time>,
    /// Keeps sessions that started at this time or earlier.
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
    /// Keeps messages with this sender's role.
    role: Option<MessageRole>,
    /// True keeps checkpoints, false the other messages.
    is_checkpoint: Option<bool>,
    /// Keeps messages that contain this text, in any case; at most 1,000 bytes.
    search: Option<String>,
    /// Keeps messages that were added at this time or later.
    after: Option<Time>,
    /// Keeps messages that were added at this time or earlier.
    before: Option<Time>,
    /// Lists hidden messages as well; false by default.
    include_hidden: Option<bool>,
}

impl TryFrom<ChatMessageFilter> for MessageFilter {
    type Error = Error;

    fn try_from(filter: ChatMessageFilter) -> Result<Self> {
        Ok(Self {
            role: filter.role.map(Into::into),
            is_checkpoint: filter.is_checkpoint,
            search: Search::parse(filter.search.as_deref(), "filter.search")?,
            after: filter.after.map(|time| time.0),
            before: filter.before.map(|time| time.0),
            until: None,
            include_hidden: filter.include_hidden.unwrap_or(false),
        })
    }
}
