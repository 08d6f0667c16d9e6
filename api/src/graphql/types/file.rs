//! Files, their versions, and the changes between them.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Lookahead, Object, SimpleObject};
use serde_json::Value;

use super::chat::{ChatMessage, ChatSession};
use super::profile::User;
use super::project::Project;
use crate::domain::compare::{self, Between};
use crate::domain::snapshot::Preview;
use crate::graphql::context::{Caller, caller};
use crate::graphql::error::or_null;
use crate::graphql::loader::{BlameOf, Contents, Count, Part, VersionNumber, VersionsJoined, With};
use crate::graphql::names::{ChangeType, FileMode, FileType};
use crate::graphql::page::{COMPARE, Page, Paging, Total, UNPAGED, arguments, connection, int, rows, weigh};
use crate::graphql::row::Plain;
use crate::graphql::scalar::{Base64, Time};
use crate::model::diff::{self, Stat};
use crate::model::error::{Error, Result};
use crate::model::file::{self as model, ChangeFilter, Entry, Hash};
use crate::model::ids::{FileId, FolderId, MessageId, ProjectId, SessionId, Within};
use crate::model::names;
use crate::model::page::{self, Page as PageArguments, Slice};
use crate::model::path::FilePath;
use crate::model::text::shown;

/// The bytes with a hash; none for a folder or a deletion.
async fn bytes(ctx: &Context<'_>, project: ProjectId, hash: Option<Hash>) -> Result<Option<Arc<Vec<u8>>>> {
    let Some(hash) = hash else { return Ok(None) };
    let bytes = caller(ctx)?.load(Contents(project, hash)).await?.transpose()?;
    bytes.map(Some).ok_or_else(|| Error::Internal(format!("the contents {} are missing", hex::encode(hash))))
}

async fn text(ctx: &Context<'_>, project: ProjectId, hash: Option<Hash>) -> Result<Option<String>> {
    let bytes = bytes(ctx, project, hash).await?;
    Ok(bytes.and_then(|bytes| shown(&bytes).map(Cow::into_owned)))
}

async fn base64(ctx: &Context<'_>, project: ProjectId, hash: Option<Hash>) -> Result<Option<Base64>> {
    let bytes = bytes(ctx, project, hash).await?;
    Ok(bytes.filter(|bytes| diff::text_of(bytes).is_none()).map(|bytes| Base64(bytes.to_vec())))
}

/// A file or a folder: now, or as of the revision at which it was read. A folder is there when `createFile` or `syncFiles` made
/// it, and as long as something is below it. One that nobody made has no versions: it goes with the last of what is in it.
pub struct ProjectFile(pub Entry);

impl Plain for ProjectFile {
    fn is_plain(field: &str) -> bool {
        matches!(
            field,
            "id" | "path"
                | "name"
                | "parentPath"
                | "type"
                | "language"
                | "sizeBytes"
                | "mode"
                | "version"
                | "hash"
                | "isDeleted"
                | "createdAt"
                | "updatedAt"
        )
    }
}

impl From<model::File> for ProjectFile {
    fn from(file: model::File) -> Self {
        Self(Entry::File(file))
    }
}

#[Object]
impl ProjectFile {
    /// Its id: the same under every path it ever had. That of a folder that nobody made says its path.
    pub(super) async fn id(&self) -> ID {
        match &self.0 {
            Entry::File(file) => file.id.0.into(),
            Entry::Folder(folder) => {
                FolderId { project: folder.project_id, path: folder.path.clone() }.to_string().into()
            }
        }
    }

    /// Its project.
    async fn project(&self, ctx: &Context<'_>) -> Result<Project> {
        super::project(ctx, self.0.project_id()).await
    }

    /// Where it is, without a leading slash.
    async fn path(&self) -> &str {
        self.0.path().as_str()
    }

    /// The last part of its path.
    async fn name(&self) -> &str {
        self.0.path().name()
    }

    /// The folder it is in; null at the top.
    async fn parent_path(&self) -> Option<String> {
        self.0.path().parent().map(|folder| folder.as_str().to_owned())
    }

    /// File or folder.
    #[graphql(name = "type")]
    async fn file_type(&self) -> FileType {
        self.0.file().map_or(names::FileType::Folder, |file| file.file_type).into()
    }

    /// Its language, as editors name it: as it was given, or else guessed by the path.
    async fn language(&self) -> Option<&str> {
        self.0.file().and_then(|file| file.language.as_deref())
    }

    /// Size of its contents.
    async fn size_bytes(&self) -> i32 {
        self.0.file().map_or(0, |file| file.size_bytes)
    }

    /// What it is to a file system; null for a folder and for a deleted file.
    async fn mode(&self) -> Option<FileMode> {
        let file = self.0.file()?;
        file.hash.map(|_| file.mode.into())
    }

    /// How many versions it had; 0 for a folder that nobody made.
    async fn version(&self) -> i32 {
        self.0.version()
    }

    /// SHA-256 of the bytes, lower-case hex; null for a folder and for a deleted file.
    async fn hash(&self) -> Option<String> {
        self.0.hash().map(hex::encode)
    }

    /// Whether it is deleted; `revertFile` brings it back.
    async fn is_deleted(&self) -> bool {
        match &self.0 {
            Entry::File(file) => file.is_deleted,
            Entry::Folder(folder) => folder.is_deleted,
        }
    }

    /// When it was first made; of a folder that nobody made, when the oldest of what is below it was.
    async fn created_at(&self) -> Time {
        match &self.0 {
            Entry::File(file) => Time(file.created_at),
            Entry::Folder(folder) => Time(folder.created_at),
        }
    }

    /// When its version was made; of a folder that nobody made, when something below it last changed.
    async fn updated_at(&self) -> Time {
        match &self.0 {
            Entry::File(file) => Time(file.updated_at),
            Entry::Folder(folder) => Time(folder.updated_at),
        }
    }

    /// The text; null for a folder, a deleted file, and bytes that are no text. What is not UTF-8 (`contentBase64` has its bytes) is
    /// decoded by its byte order mark, or by the encoding that its first two lines declare.
    async fn content(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        or_null(text(ctx, self.0.project_id(), self.0.hash())).await
    }

    /// The bytes, where they are not UTF-8.
    async fn content_base64(&self, ctx: &Context<'_>) -> Option<Result<Base64>> {
        or_null(base64(ctx, self.0.project_id(), self.0.hash())).await
    }

    /// Says of each line which version, change, message and author wrote it; empty for a folder, a deleted file, and bytes
    /// that are not text. Looks at the last 1,000 versions.
    #[graphql(complexity = "rows(UNPAGED, child_complexity.saturating_add(COMPARE))")]
    async fn blame(&self, ctx: &Context<'_>) -> Result<Vec<BlameRange>> {
        let Some(file) = self.0.file() else { return Ok(Vec::new()) };
        let ranges = caller(ctx)?.load(BlameOf(within(file), file.version)).await?.transpose()?.unwrap_or_default();
        Ok(ranges.into_iter().map(BlameRange).collect())
    }

    /// Every version, newest first, the present one among them, also of a file that was read as of a moment in the past. A server
    /// may be set to show saves by one person in quick succession as one, the last: see `FileSnapshot.saves`.
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn versions(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(false)", desc = "Lists every save, whatever the server is set to.")]
        every_save: Option<bool>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<FileSnapshot>> {
        let selected = Versions { every_save, page: Paging { first, after, last, before } };
        let (keep, page) = selected.read(caller(ctx)?)?;
        let Some(file) = self.0.file() else { return Ok(connection(Slice::default(), Total::Known(0), FileSnapshot)) };
        let caller = caller(ctx)?;
        let parent = within(file);
        let slice = caller.load(Part { parent, keep, page }).await?.unwrap_or_default();
        // This file may be as of a revision in the past, and have more versions by now.
        let total = match keep.0 {
            0 => Total::Versions(file.id),
            _ => Total::JoinedVersions(Count { parent, keep }),
        };
        Ok(connection(slice, total, FileSnapshot))
    }
}

/// The arguments of `versions`.
#[derive(InputObject)]
struct Versions {
    every_save: Option<bool>,
    #[graphql(flatten)]
    page: Paging,
}

impl Versions {
    fn read(self, caller: &Caller) -> Result<(VersionsJoined, PageArguments)> {
        Ok((VersionsJoined(caller.join_saves_seconds(self.every_save)), self.page.parse(page::LIST)?))
    }
}

impl ProjectFile {
    /// A file by its id, and with it its versions, if they are selected.
    pub async fn find(caller: &Caller, selected: &Lookahead<'_>, id: FileId) -> Result<Option<model::File>> {
        match arguments(selected, "versions").map(|versions: Versions| versions.read(caller)) {
            Some(Ok((keep, page))) if keep.0 == 0 => caller.load_with(With { id, keep, page }, within).await,
            _ => caller.load(id).await,
        }
    }
}

/// Lines of a file that one version wrote.
pub struct BlameRange(compare::BlameRange);

#[Object]
impl BlameRange {
    /// The first line, from 1.
    async fn start_line(&self) -> i32 {
        int(i64::try_from(self.0.start_line).unwrap_or(i64::MAX))
    }

    /// The last line.
    async fn end_line(&self) -> i32 {
        int(i64::try_from(self.0.end_line).unwrap_or(i64::MAX))
    }

    /// The version that wrote them.
    async fn version(&self) -> FileSnapshot {
        FileSnapshot(self.0.version.clone())
    }

    /// The change that wrote them.
    async fn change(&self) -> CodeChange {
        CodeChange(self.0.version.clone())
    }

    /// The message for which they were written.
    async fn message(&self, ctx: &Context<'_>) -> Result<Option<ChatMessage>> {
        super::optional_message(ctx, self.0.version.message_id).await
    }

    /// Who wrote them.
    async fn author(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        super::optional_user(ctx, self.0.version.created_by).await
    }
}

/// One version of one file (`file_version_history`).
pub struct FileSnapshot(pub model::FileSnapshot);

impl Plain for FileSnapshot {
    fn is_plain(field: &str) -> bool {
        matches!(
            field,
            "id" | "version"
                | "revision"
                | "path"
                | "isDeletion"
                | "hash"
                | "sizeBytes"
                | "mode"
                | "changeDescription"
                | "additions"
                | "deletions"
                | "saves"
                | "createdAt"
        )
    }
}

#[Object]
impl FileSnapshot {
    /// Its id.
    pub(super) async fn id(&self) -> ID {
        self.0.id.0.into()
    }

    /// Its file, as it is now.
    async fn file(&self, ctx: &Context<'_>) -> Result<ProjectFile> {
        file_of(ctx, self.0.file_id).await
    }

    /// Its number, from 1.
    async fn version(&self) -> i32 {
        self.0.version
    }

    /// The revision that made it.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// Where the file was.
    async fn path(&self) -> &str {
        self.0.path.as_str()
    }

    /// True where this version is the file's deletion.
    async fn is_deletion(&self) -> bool {
        self.0.change_type == names::ChangeType::Delete
    }

    /// The text; null for a folder, a deletion, and bytes that are no text. What is not UTF-8 (`contentBase64` has its bytes) is
    /// decoded by its byte order mark, or by the encoding that its first two lines declare.
    async fn content(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        or_null(text(ctx, self.0.project_id, self.0.hash)).await
    }

    /// The bytes, where they are not UTF-8.
    async fn content_base64(&self, ctx: &Context<'_>) -> Option<Result<Base64>> {
        or_null(base64(ctx, self.0.project_id, self.0.hash)).await
    }

    /// SHA-256 of the bytes, lower-case hex; null for a folder and a deletion.
    async fn hash(&self) -> Option<String> {
        self.0.hash.map(hex::encode)
    }

    /// Size of the contents.
    async fn size_bytes(&self) -> i32 {
        self.0.size_bytes
    }

    /// What the file was to a file system; null for a folder and for a deletion.
    async fn mode(&self) -> Option<FileMode> {
        self.0.hash.map(|_| self.0.mode.into())
    }

    /// Why, in the writer's words.
    async fn change_description(&self) -> Option<&str> {
        self.0.change_description.as_deref()
    }

    /// Unified diff (3 lines of context) from the version before, in git's form: `git apply` and `patch -p1` do what the change did, with modes, renames and empty files. Null
    /// for bytes that are not text.
    #[graphql(complexity = "COMPARE")]
    async fn diff(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        or_null(unified(ctx, &self.0)).await
    }

    /// Lines it added.
    async fn additions(&self, ctx: &Context<'_>) -> i32 {
        stat(ctx, &self.0).await.additions
    }

    /// Lines it removed.
    async fn deletions(&self, ctx: &Context<'_>) -> i32 {
        stat(ctx, &self.0).await.deletions
    }

    /// How many saves it stands for in the list in which it was found: 1, or more where the server shows saves as one that
    /// the same person made in quick succession, outside of any session and without a description. What is compared (`diff`,
    /// line by line and the old contents, lines added and removed) is then compared with the version before the first of them;
    /// `everySave` lists them one by one.
    async fn saves(&self) -> i32 {
        self.0.saves()
    }

    /// When it was made.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// Who made it.
    async fn created_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.created_by)).await
    }

    /// The session in which it was made.
    async fn session(&self, ctx: &Context<'_>) -> Option<Result<ChatSession>> {
        or_null(super::optional_session(ctx, self.0.session_id)).await
    }

    /// The message for which it was made.
    async fn message(&self, ctx: &Context<'_>) -> Option<Result<ChatMessage>> {
        or_null(super::optional_message(ctx, self.0.message_id)).await
    }
}

/// One change of one file: the step that made a version.
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
                | "saves"
                | "changeDescription"
                | "createdAt"
        )
    }
}

#[Object]
impl CodeChange {
    /// Its id.
    pub(super) async fn id(&self) -> ID {
        self.0.change_id().0.into()
    }

    /// The revision that made it.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// The revisions that it takes back, oldest first; empty unless it is an undo.
    async fn undoes(&self, ctx: &Context<'_>) -> Result<Vec<i32>> {
        super::undoes(ctx, self.0.project_id, self.0.revision).await
    }

    /// The revision that has taken it back; null while it stands. A redo makes it null again.
    async fn undone_by(&self, ctx: &Context<'_>) -> Option<Result<i32>> {
        or_null(super::undone_by(ctx, self.0.project_id, self.0.revision)).await
    }

    /// What it did.
    #[graphql(name = "type")]
    async fn change_type(&self) -> ChangeType {
        self.0.change_type.into()
    }

    /// Its file, as it is now.
    async fn file(&self, ctx: &Context<'_>) -> Result<ProjectFile> {
        file_of(ctx, self.0.file_id).await
    }

    /// Where the file was after the change.
    async fn path(&self) -> &str {
        self.0.path.as_str()
    }

    /// Where a rename came from.
    async fn old_path(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        or_null(async {
            if self.0.change_type != names::ChangeType::Rename {
                return Ok(None);
            }
            Ok(before(ctx, &self.0).await?.map(|before| before.path.as_str().to_owned()))
        })
        .await
    }

    /// The text before; null where there was none.
    async fn old_content(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        or_null(async {
            let before = before(ctx, &self.0).await?;
            text(ctx, self.0.project_id, before.and_then(|before| before.hash)).await
        })
        .await
    }

    /// The text after; null where there is none.
    async fn new_content(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        or_null(text(ctx, self.0.project_id, self.0.hash)).await
    }

    /// Unified diff (3 lines of context) in git's form: `git apply` and `patch -p1` do what the change did, with modes, renames and empty files. Null
    /// for bytes that are not text.
    #[graphql(complexity = "COMPARE")]
    async fn diff(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        or_null(unified(ctx, &self.0)).await
    }

    /// Line by line: `[{op: "equal"|"insert"|"delete", oldStart, newStart, lines}]`, equal runs shortened to 3 lines of
    /// context. Null for bytes that are not text.
    #[graphql(complexity = "COMPARE")]
    async fn line_changes(&self, ctx: &Context<'_>) -> Option<Result<Value>> {
        or_null(async { sides(ctx, &self.0).await?.line_changes().await }).await
    }

    /// Lines it added.
    async fn additions(&self, ctx: &Context<'_>) -> i32 {
        stat(ctx, &self.0).await.additions
    }

    /// Lines it removed.
    async fn deletions(&self, ctx: &Context<'_>) -> i32 {
        stat(ctx, &self.0).await.deletions
    }

    /// How many saves it stands for in the list in which it was found: 1, or more where the server shows saves as one that
    /// the same person made in quick succession, outside of any session and without a description. What is compared (`diff`,
    /// line by line and the old contents, lines added and removed) is then compared with the version before the first of them;
    /// `everySave` lists them one by one.
    async fn saves(&self) -> i32 {
        self.0.saves()
    }

    /// Why, in the writer's words.
    async fn change_description(&self) -> Option<&str> {
        self.0.change_description.as_deref()
    }

    /// When it was made.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// Who made it.
    async fn created_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.created_by)).await
    }

    /// The session in which it was made.
    async fn session(&self, ctx: &Context<'_>) -> Option<Result<ChatSession>> {
        or_null(super::optional_session(ctx, self.0.session_id)).await
    }

    /// The message for which it was made.
    async fn message(&self, ctx: &Context<'_>) -> Option<Result<ChatMessage>> {
        or_null(super::optional_message(ctx, self.0.message_id)).await
    }
}

fn within(file: &model::File) -> Within<FileId> {
    Within { project: file.project_id, id: file.id }
}

async fn file_of(ctx: &Context<'_>, id: FileId) -> Result<ProjectFile> {
    let file = caller(ctx)?.load(id).await?;
    file.map(ProjectFile::from).ok_or_else(|| Error::Internal("a file is referred to and missing".to_owned()))
}

/// The version that a change is compared with; none for a file's first, and for one that comes back from its deletion.
async fn before(ctx: &Context<'_>, change: &model::FileSnapshot) -> Result<Option<model::FileSnapshot>> {
    if change.change_type == names::ChangeType::Create {
        return Ok(None);
    }
    caller(ctx)?.load(VersionNumber(Within { project: change.project_id, id: change.file_id }, change.follows)).await
}

/// How many lines a change added and removed. A version's own were counted when it was written; those of several saves are
/// counted here, none where a content is damaged, as then.
async fn stat(ctx: &Context<'_>, change: &model::FileSnapshot) -> Stat {
    if change.saves() == 1 {
        return Stat { additions: change.additions, deletions: change.deletions };
    }
    async { sides(ctx, change).await?.stat().await }.await.unwrap_or_default()
}

async fn unified(ctx: &Context<'_>, change: &model::FileSnapshot) -> Result<Option<String>> {
    compare::unified(&caller(ctx)?.services, change, sides(ctx, change)).await
}

async fn sides(ctx: &Context<'_>, change: &model::FileSnapshot) -> Result<compare::Sides> {
    let before = before(ctx, change).await?;
    // Asked for together, they are read by one statement.
    let (old, new) = futures::try_join!(
        bytes(ctx, change.project_id, before.as_ref().and_then(|before| before.hash)),
        bytes(ctx, change.project_id, change.hash),
    )?;
    let is_deleted = change.change_type == names::ChangeType::Delete;
    Ok(compare::Sides {
        old_mode: before.as_ref().map(|before| before.mode).unwrap_or_default(),
        new_mode: change.mode,
        old_path: before.map(|before| before.path),
        new_path: (!is_deleted).then(|| change.path.clone()),
        old,
        new,
    })
}

/// What differs in one file between two revisions.
#[derive(SimpleObject)]
pub struct FileDiff {
    /// Where the file is at the second (of a deletion: at the first).
    path: String,
    /// Where a renamed file was at the first.
    old_path: Option<String>,
    /// What happened to it.
    #[graphql(name = "type")]
    change_type: ChangeType,
    /// Unified diff (3 lines of context) in git's form: `git apply` and `patch -p1` do what the change did, with modes, renames and empty files. Null
    /// for bytes that are not text.
    diff: Option<String>,
    /// Lines added.
    additions: i32,
    /// Lines removed.
    deletions: i32,
}

impl FileDiff {
    /// Whether an operation asks for what only the contents say.
    pub(super) fn wants_contents(selected: Lookahead<'_>) -> bool {
        ["diff", "additions", "deletions"].iter().any(|field| selected.field(field).exists())
    }

    pub(super) async fn between(ctx: &Context<'_>, between: Between) -> Result<Vec<Self>> {
        let diffs = caller(ctx)?.load(between).await?.transpose()?.unwrap_or_default();
        Ok(diffs.into_iter().map(Self::from).collect())
    }

    pub(super) async fn of_restore(ctx: &Context<'_>, preview: Preview) -> Result<Vec<Self>> {
        let diffs = caller(ctx)?.load(preview).await?.transpose()?.unwrap_or_default();
        Ok(diffs.into_iter().map(Self::from).collect())
    }
}

impl From<compare::FileDiff> for FileDiff {
    fn from(row: compare::FileDiff) -> Self {
        Self {
            path: row.path.as_str().to_owned(),
            old_path: row.old_path.map(|path| path.as_str().to_owned()),
            change_type: row.change_type.into(),
            diff: row.diff,
            additions: row.additions,
            deletions: row.deletions,
        }
    }
}

/// Which changes a list keeps.
#[derive(InputObject)]
pub struct CodeChangeFilter {
    /// Made in this session.
    session_id: Option<ID>,
    /// Made for this message.
    message_id: Option<ID>,
    /// Of this file.
    file_id: Option<ID>,
    /// Of the file that was at this path after the change.
    path: Option<String>,
    /// Of this kind.
    #[graphql(name = "type")]
    change_type: Option<ChangeType>,
}

impl TryFrom<CodeChangeFilter> for ChangeFilter {
    type Error = Error;

    fn try_from(filter: CodeChangeFilter) -> Result<Self> {
        Ok(Self {
            session_id: filter.session_id.map(|id| SessionId::parse(&id, "filter.sessionId")).transpose()?,
            message_id: filter.message_id.map(|id| MessageId::parse(&id, "filter.messageId")).transpose()?,
            file_id: filter.file_id.map(|id| FileId::parse(&id, "filter.fileId")).transpose()?,
            path: filter.path.map(|path| FilePath::parse(&path, "filter.path")).transpose()?,
            change_type: filter.change_type.map(Into::into),
            until: None,
            join_saves_seconds: 0,
        })
    }
}
