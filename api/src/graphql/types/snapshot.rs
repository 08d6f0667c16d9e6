//! Snapshots of a project.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject};

use super::chat::{ChatMessage, ChatSession};
use super::file::{FileDiff, ProjectFile};
use super::profile::User;
use super::project::Project;
use crate::domain::compare::Between;
use crate::graphql::context::caller;
use crate::graphql::error::{or_empty, or_null};
use crate::graphql::loader::{Count, Part};
use crate::graphql::page::{COMPARE, Page, Total, connection, weigh, weigh_part};
use crate::graphql::row::Plain;
use crate::graphql::scalar::{Text, Time};
use crate::model::error::{Error, Result};
use crate::model::file::{Entry, FileFilter, FilesOf};
use crate::model::ids::{MessageId, ReadId};
use crate::model::page::{self, List, Page as PageArguments};
use crate::model::path::FilePath;
use crate::model::search::Search;
use crate::model::snapshot as model;

/// A name for a revision of a project.
pub struct ProjectSnapshot(pub model::ProjectSnapshot);

impl Plain for ProjectSnapshot {
    fn is_plain(_: &str) -> bool {
        false
    }
}

/// A name for a revision of a project, which `restoreSnapshot` can restore.
#[Object]
impl ProjectSnapshot {
    /// Identifies the snapshot: a UUID.
    pub(super) async fn id(&self) -> ID {
        self.0.id.0.into()
    }

    /// The project as it is now.
    async fn project(&self, ctx: &Context<'_>) -> Result<Project> {
        super::project(ctx, self.0.project_id, None).await
    }

    /// The revision that it names. For a checkpoint, it moves with later changes that name the message.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// The displayed name. A checkpoint's snapshot has an automatic name, which `updateSnapshot` can replace.
    async fn name(&self) -> Option<Text<'_>> {
        self.0.name.as_deref().map(Text)
    }

    /// A description of the state.
    async fn description(&self) -> Option<Text<'_>> {
        self.0.description.as_deref().map(Text)
    }

    /// When it was created.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// Its author; null if the account no longer exists.
    async fn created_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.created_by)).await
    }

    /// The session in which it was created.
    async fn session(&self, ctx: &Context<'_>) -> Option<Result<ChatSession>> {
        or_null(super::optional_session(ctx, self.0.session_id)).await
    }

    /// The message that it was created for.
    async fn message(&self, ctx: &Context<'_>) -> Option<Result<ChatMessage>> {
        or_null(super::optional_message(ctx, self.0.message_id)).await
    }

    /// The number of files in it, without folders.
    async fn file_count(&self) -> i32 {
        self.0.file_count
    }

    /// SHA-256, lower-case hex, over `path NUL hex-sha256 LF` of its files, sorted by the bytes of their paths. Equal
    /// for equal states; a restore is checked against it.
    async fn manifest_sha256(&self) -> String {
        hex::encode(self.0.manifest)
    }

    /// Its files as of its revision, by path.
    #[graphql(complexity = "weigh(first, last, page::FILES, child_complexity)")]
    async fn files(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Keeps entries at this path or below it.")] under: Option<String>,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 500, and 20 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 500.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Page<ProjectFile>> {
        let page = PageArguments::parse(first, after, last, before, List::FILES)?;
        let under = under.map(|path| FilePath::parse(&path, "under")).transpose()?;
        let parent = FilesOf { project: self.0.project_id, at: Some(self.0.revision) };
        let keep = FileFilter { under, include_deleted: false };
        let total = Total::Files(Count { parent, keep: keep.clone() });
        let slice = caller(ctx)?.load(Part { parent, keep, page }).await?.unwrap_or_default();
        Ok(connection(List::FILES, slice, total, |file| ProjectFile(Entry::File(file), parent.at)))
    }

    /// The differences between this snapshot and the present, one entry per file, by path, ascending. A change that frees a
    /// path comes before the change that takes it, so that the diffs can be applied one after the other.
    #[graphql(complexity = "weigh_part(first, child_complexity.saturating_add(COMPARE))")]
    async fn diff(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Maximum number of files; by default all; an error if there are more than `MAX_LIST_ROWS`.")]
        first: Option<i32>,
        #[graphql(desc = "Only entries after the one with this `cursor`; or after those of this path.")] after: Option<
            String,
        >,
    ) -> Result<Vec<FileDiff>> {
        or_empty(ctx, async {
            let (project, from, to) = (self.0.project_id, self.0.revision, i32::MAX);
            let with_contents = FileDiff::wants_contents(ctx.look_ahead());
            let diffs = FileDiff::between(ctx, Between { project, from, to, with_contents }).await?;
            FileDiff::part(caller(ctx)?, diffs, first, after)
        })
        .await
    }
}

/// Which snapshots a list keeps.
#[derive(InputObject)]
pub struct ProjectSnapshotFilter {
    /// Keeps snapshots whose name or description contains this text, in any case; at most 1,000 bytes.
    search: Option<String>,
    /// Keeps snapshots of this message. The id of a message as of a revision keeps those created until then.
    message_id: Option<ID>,
}

impl TryFrom<ProjectSnapshotFilter> for model::SnapshotFilter {
    type Error = Error;

    fn try_from(filter: ProjectSnapshotFilter) -> Result<Self> {
        let message: Option<ReadId<MessageId>> =
            filter.message_id.map(|id| ReadId::parse(&id, "filter.messageId")).transpose()?;
        Ok(Self {
            until: message.and_then(|message| message.at),
            search: Search::parse(filter.search.as_deref(), "filter.search")?,
            message: message.map(|message| message.id),
        })
    }
}

/// The changes that a restore would make.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct RestorePreview {
    /// The revision that would be restored.
    pub(super) revision: i32,
    #[graphql(skip)]
    pub(super) diff: Vec<FileDiff>,
}

#[ComplexObject]
impl RestorePreview {
    /// The changes, in the order of the restore; empty if there are none.
    #[graphql(complexity = "weigh_part(first, child_complexity.saturating_add(COMPARE))")]
    async fn diff(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Maximum number of files; by default all; an error if there are more than `MAX_LIST_ROWS`.")]
        first: Option<i32>,
        #[graphql(desc = "Only entries after the one with this `cursor`; or after those of this path.")] after: Option<
            String,
        >,
    ) -> Result<Vec<FileDiff>> {
        or_empty(ctx, async { FileDiff::part(caller(ctx)?, self.diff.clone(), first, after) }).await
    }
}
