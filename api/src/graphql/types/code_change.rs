//! The changes between the versions of files.

use async_graphql::{Context, ID, InputObject, Object};
use uuid::Uuid;

use super::chat::{ChatMessage, ChatSession};
use super::file::{ProjectFile, bytes, file_of, text};
use super::profile::User;
use crate::domain::compare;
use crate::graphql::context::caller;
use crate::graphql::enums::ChangeType;
use crate::graphql::error::or_null;
use crate::graphql::loader::VersionNumber;
use crate::graphql::page::COMPARE;
use crate::graphql::row::Plain;
use crate::graphql::scalar::{MadeJson, SharedText, Text, Time};
use crate::model::diff::Stat;
use crate::model::enums;
use crate::model::error::{Error, Result};
use crate::model::file::{self as model, ChangeFilter};
use crate::model::ids::{FolderId, ReadId, Within};
use crate::model::node_id::NodeId;
use crate::model::path::FilePath;

/// One change of one file, which created a version.
pub struct CodeChange(pub model::FileSnapshot);

impl Plain for CodeChange {
    fn is_plain(field: &str) -> bool {
        matches!(
            field,
            "id" | "revision"
                | "type"
                | "path"
                | "additions"
                | "deletions"
                | "coalescedCount"
                | "changeDescription"
                | "createdAt"
        )
    }
}

/// One change of one file: the step that made a version. It never changes.
#[Object]
impl CodeChange {
    /// Identifies the change: a UUID, which differs from that of the version. Coalesced autosaves have an id that
    /// contains their number.
    pub(super) async fn id(&self) -> ID {
        match self.0.saves() {
            1 => self.0.change_id().0.into(),
            count => NodeId::CoalescedChange(self.0.id, count).to_string().into(),
        }
    }

    /// The revision that created it.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// The revisions that it undoes, oldest first; empty unless it is an undo.
    async fn undoes(&self, ctx: &Context<'_>) -> Result<Vec<i32>> {
        super::undoes(ctx, self.0.project_id, self.0.revision).await
    }

    /// The revision that undid it; null while it is effective. A redo makes it null again.
    async fn undone_by(&self, ctx: &Context<'_>) -> Option<Result<i32>> {
        or_null(super::undone_by(ctx, self.0.project_id, self.0.revision)).await
    }

    /// The kind of change.
    #[graphql(name = "type")]
    async fn change_type(&self) -> ChangeType {
        self.0.change_type.into()
    }

    /// The file as it is now.
    async fn file(&self, ctx: &Context<'_>) -> Result<ProjectFile> {
        file_of(ctx, self.0.file_id).await
    }

    /// The path of the file after the change.
    async fn path(&self) -> &str {
        self.0.path.as_str()
    }

    /// The path of the file before a rename; null for any other change.
    async fn old_path(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        or_null(async {
            if self.0.change_type != enums::ChangeType::Rename {
                return Ok(None);
            }
            Ok(before(ctx, &self.0).await?.map(|before| before.path.as_str().to_owned()))
        })
        .await
    }

    /// The text before the change; null if there was none.
    async fn old_content(&self, ctx: &Context<'_>) -> Option<Result<SharedText>> {
        or_null(async {
            let before = before(ctx, &self.0).await?;
            let size = before.as_ref().map_or(0, |before| before.size_bytes);
            text(ctx, self.0.project_id, before.and_then(|before| before.hash), size).await
        })
        .await
    }

    /// The text after the change; null if there is none.
    async fn new_content(&self, ctx: &Context<'_>) -> Option<Result<SharedText>> {
        or_null(text(ctx, self.0.project_id, self.0.hash, self.0.size_bytes)).await
    }

    /// Unified diff (3 lines of context) in git's format for `git apply` and `patch -p1`, with modes, renames and empty
    /// files. Null for bytes that are not text.
    #[graphql(complexity = "COMPARE")]
    async fn diff(&self, ctx: &Context<'_>) -> Option<Result<SharedText>> {
        or_null(unified(ctx, &self.0)).await
    }

    /// Line by line: `[{op: "equal"|"insert"|"delete", oldStart, newStart, lines}]`, with equal runs cut to 3 lines of
    /// context. Null for bytes that are not text.
    #[graphql(complexity = "COMPARE")]
    async fn line_changes(&self, ctx: &Context<'_>) -> Option<Result<MadeJson>> {
        or_null(async {
            let changes = sides(ctx, &self.0).await?.line_changes().await?;
            caller(ctx)?.reader.answer(changes.as_ref().map_or(0, String::len))?;
            Ok(changes.map(|changes| MadeJson(changes.into())))
        })
        .await
    }

    /// The number of lines that it added.
    async fn additions(&self, ctx: &Context<'_>) -> i32 {
        stat(ctx, &self.0).await.additions
    }

    /// The number of lines that it removed.
    async fn deletions(&self, ctx: &Context<'_>) -> i32 {
        stat(ctx, &self.0).await.deletions
    }

    /// The number of autosaves in this entry of the list: 1, or more if the server shows consecutive autosaves by one
    /// user, outside a session and without a description, as one entry. `diff`, `additions` and `deletions` then
    /// compare with the version before the first of them. `includeCoalesced` lists each of them.
    async fn coalesced_count(&self) -> i32 {
        self.0.saves()
    }

    /// Why the file changed, as the writer described it.
    async fn change_description(&self) -> Option<Text<'_>> {
        self.0.change_description.text().map(Text)
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
}

/// The version that a change is compared with; `None` for the first version, and for one that restores a deleted file.
async fn before(ctx: &Context<'_>, change: &model::FileSnapshot) -> Result<Option<model::FileSnapshot>> {
    if change.change_type == enums::ChangeType::Create {
        return Ok(None);
    }
    caller(ctx)?.load(VersionNumber(Within { project: change.project_id, id: change.file_id }, change.follows)).await
}

/// The number of lines that a change added and removed. The lines of a version were counted when it was written. Those
/// of coalesced autosaves are counted here; 0 if a content is damaged, as for a version.
pub(super) async fn stat(ctx: &Context<'_>, change: &model::FileSnapshot) -> Stat {
    if change.saves() == 1 {
        return Stat { additions: change.additions, deletions: change.deletions };
    }
    async { sides(ctx, change).await?.stat().await }.await.unwrap_or_default()
}

pub(super) async fn unified(ctx: &Context<'_>, change: &model::FileSnapshot) -> Result<Option<SharedText>> {
    let caller = caller(ctx)?;
    let diff = compare::unified(&caller.services, change, sides(ctx, change)).await?;
    caller.reader.answer(diff.as_ref().map_or(0, String::len))?;
    Ok(diff.map(SharedText::from))
}

async fn sides(ctx: &Context<'_>, change: &model::FileSnapshot) -> Result<compare::Sides> {
    let before = before(ctx, change).await?;
    // Requested concurrently, both contents are read by one statement.
    let old_size = before.as_ref().map_or(0, |before| before.size_bytes);
    let (old, new) = futures::try_join!(
        bytes(ctx, change.project_id, before.as_ref().and_then(|before| before.hash), old_size),
        bytes(ctx, change.project_id, change.hash, change.size_bytes),
    )?;
    let is_deleted = change.change_type == enums::ChangeType::Delete;
    Ok(compare::Sides {
        old_mode: before.as_ref().map(|before| before.mode).unwrap_or_default(),
        new_mode: change.mode,
        old_path: before.map(|before| before.path),
        new_path: (!is_deleted).then(|| change.path.clone()),
        old,
        new,
        meets_others: false,
    })
}

/// Which changes a list keeps.
#[derive(InputObject)]
pub struct CodeChangeFilter {
    /// Keeps changes that were made in this session.
    session_id: Option<ID>,
    /// Keeps changes that name this message.
    message_id: Option<ID>,
    /// Keeps changes of this file. The id of a folder that was never created keeps changes after which the file was in
    /// it.
    file_id: Option<ID>,
    /// Keeps changes after which the file was at this path.
    path: Option<String>,
    /// Keeps changes of this kind.
    #[graphql(name = "type")]
    change_type: Option<ChangeType>,
}

/// Parses the id in a filter, and passes its revision, if any, to `at`.
fn read_id<I: From<Uuid>>(id: Option<ID>, field: &str, at: &mut impl FnMut(Option<i32>)) -> Result<Option<I>> {
    let id = id.map(|id| ReadId::parse(&id, field)).transpose()?;
    at(id.as_ref().and_then(|id| id.at));
    Ok(id.map(|id| id.id))
}

impl TryFrom<CodeChangeFilter> for ChangeFilter {
    type Error = Error;

    fn try_from(filter: CodeChangeFilter) -> Result<Self> {
        let mut until: Option<i32> = None;
        let mut earliest = |at: Option<i32>| until = until.into_iter().chain(at).min();
        let folder = filter.file_id.as_ref().and_then(|id| FolderId::parse(id));
        earliest(folder.as_ref().and_then(|folder| folder.project.at));
        let file_id = filter.file_id.filter(|_| folder.is_none());
        Ok(Self {
            session_id: read_id(filter.session_id, "filter.sessionId", &mut earliest)?,
            message_id: read_id(filter.message_id, "filter.messageId", &mut earliest)?,
            file_id: read_id(file_id, "filter.fileId", &mut earliest)?,
            folder: folder.map(|folder| (folder.project.id, folder.path)),
            path: filter.path.map(|path| FilePath::parse(&path, "filter.path")).transpose()?,
            change_type: filter.change_type.map(Into::into),
            until,
            autosave_coalesce_seconds: 0,
        })
    }
}
