//! Files, their versions, and the changes between them.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Lookahead, Object, SimpleObject};

use super::blame::BlameRange;
use super::chat::{ChatMessage, ChatSession};
use super::code_change::{stat, unified};
use super::profile::User;
use super::project::Project;
use crate::domain::compare::{self, Between};
use crate::domain::snapshot::Preview;
use crate::graphql::context::{Caller, caller};
use crate::graphql::enums::{ChangeType, FileMode, FileType};
use crate::graphql::error::{or_empty, or_null};
use crate::graphql::loader::{BlameOf, Contents, Count, FileAt, Part, VersionFilter, With};
use crate::graphql::long_columns::of_rows;
use crate::graphql::page::{
    COMPARE, Page, Paging, Total, arguments, connection, cut, fields_of_rows, weigh, weigh_part,
};
use crate::graphql::row::Plain;
use crate::graphql::scalar::{Base64, SharedText, Text, Time};
use crate::model::diff;
use crate::model::enums;
use crate::model::error::{Error, Result};
use crate::model::file::{self as model, Entry, Hash};
use crate::model::ids::{FileId, FolderId, ProjectId, ReadId, Within};
use crate::model::node_id::NodeId;
use crate::model::page::{self, Cursor, List, Page as PageArguments, Slice};
use crate::model::path::FilePath;

/// The bytes with a hash, of this size; `None` for a folder or a deletion, which have no hash.
pub(super) async fn bytes(
    ctx: &Context<'_>,
    project: ProjectId,
    hash: Option<Hash>,
    size: i32,
) -> Result<Option<Arc<Vec<u8>>>> {
    let Some(hash) = hash else { return Ok(None) };
    let caller = caller(ctx)?;
    // Count the size before reading: contents are compressed in the database, so a few small rows can be very large.
    caller.reader.load(usize::try_from(size).unwrap_or_default())?;
    let bytes = caller.load(Contents(project, hash)).await?.transpose()?;
    bytes.map(Some).ok_or_else(|| Error::Internal(format!("the contents {} are missing", hex::encode(hash))))
}

pub(super) async fn text(
    ctx: &Context<'_>,
    project: ProjectId,
    hash: Option<Hash>,
    size: i32,
) -> Result<Option<SharedText>> {
    let text = bytes(ctx, project, hash, size).await?.and_then(SharedText::of);
    caller(ctx)?.reader.answer(text.as_ref().map_or(0, SharedText::size))?;
    Ok(text)
}

async fn base64(ctx: &Context<'_>, project: ProjectId, hash: Option<Hash>, size: i32) -> Result<Option<Base64>> {
    let bytes = bytes(ctx, project, hash, size).await?.filter(|bytes| diff::text_of(bytes).is_none());
    caller(ctx)?.reader.answer(bytes.as_ref().map_or(0, |bytes| bytes.len().div_ceil(3) * 4))?;
    Ok(bytes.map(|bytes| Base64(bytes.to_vec())))
}

/// A file or a folder, now or as of a revision.
pub struct ProjectFile(pub Entry, pub Option<i32>);

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
        Self(Entry::File(file), None)
    }
}

impl From<Entry> for ProjectFile {
    fn from(entry: Entry) -> Self {
        Self(entry, None)
    }
}

/// A file or a folder, now or as of a revision. A folder exists if `createFile` or `syncFiles` created it, and while it
/// contains files. A folder that was never created has no versions and disappears with its last file.
#[Object]
impl ProjectFile {
    /// The id: a UUID, the same for every path that the file has had, or `<uuid>@<revision>` for a file as of a
    /// revision. The id of a folder that was never created contains its path.
    pub(super) async fn id(&self) -> ID {
        match &self.0 {
            Entry::File(file) => ReadId { id: file.id, at: self.1 }.to_string().into(),
            Entry::Folder(folder) => {
                let project = ReadId { id: folder.project_id, at: self.1 };
                FolderId { project, path: folder.path.clone() }.to_string().into()
            }
        }
    }

    /// The file as it is now; null if it is deleted. A folder that was never created is the folder at its path, whatever
    /// its files were; null if a file has taken the path.
    async fn present(&self, ctx: &Context<'_>) -> Option<Result<ProjectFile>> {
        or_null(async {
            let caller = caller(ctx)?;
            Ok(match &self.0 {
                Entry::File(file) => caller.load(file.id).await?.filter(|file| !file.is_deleted).map(Self::from),
                Entry::Folder(folder) => {
                    let found = caller.load(FileAt(None, folder.project_id, folder.path.clone())).await?;
                    found.filter(Entry::is_folder).map(Self::from)
                }
            })
        })
        .await
    }

    /// Its project, as of the same revision.
    async fn project(&self, ctx: &Context<'_>) -> Result<Project> {
        super::project(ctx, self.0.project_id(), self.1).await
    }

    /// Its path from the root of the project, without a leading slash.
    async fn path(&self) -> &str {
        self.0.path().as_str()
    }

    /// The last part of its path.
    async fn name(&self) -> &str {
        self.0.path().name()
    }

    /// The path of its folder; null at the root of the project.
    async fn parent_path(&self) -> Option<String> {
        self.0.path().parent().map(|folder| folder.as_str().to_owned())
    }

    /// Whether it is a file or a folder.
    #[graphql(name = "type")]
    async fn file_type(&self) -> FileType {
        self.0.file().map_or(enums::FileType::Folder, |file| file.file_type).into()
    }

    /// The language, as editors name it. It is guessed from the path, and follows it, unless a client set another one,
    /// which the file keeps when it is moved. A language that was set has no history: it is also that of past states, and
    /// undo and restores do not change it.
    async fn language(&self) -> Option<&str> {
        self.0.file().and_then(|file| file.language.as_deref())
    }

    /// The size of its contents in bytes; 0 for a folder.
    async fn size_bytes(&self) -> i32 {
        self.0.file().map_or(0, |file| file.size_bytes)
    }

    /// The file mode; null for a folder and for a deleted file.
    async fn mode(&self) -> Option<FileMode> {
        let file = self.0.file()?;
        file.hash.map(|_| file.mode.into())
    }

    /// The number of its newest version. Pass it as `expectedVersion`. Numbers start at 1 and grow by 1. A file that
    /// takes the path of another file continues above the numbers of that file, so that no two versions at a path have
    /// the same number. 0 for a folder that was never created.
    async fn version(&self) -> i32 {
        self.0.number()
    }

    /// SHA-256 of the bytes, lower-case hex; null for a folder and for a deleted file.
    async fn hash(&self) -> Option<String> {
        self.0.hash().map(hex::encode)
    }

    /// Whether it is deleted. `revertFile` can restore it.
    async fn is_deleted(&self) -> bool {
        match &self.0 {
            Entry::File(file) => file.is_deleted,
            Entry::Folder(folder) => folder.is_deleted,
        }
    }

    /// When it was first created. For a folder that was never created: when its oldest content was created.
    async fn created_at(&self) -> Time {
        match &self.0 {
            Entry::File(file) => Time(file.created_at),
            Entry::Folder(folder) => Time(folder.created_at),
        }
    }

    /// When its newest version was created. For a folder that was never created: when its content last changed.
    async fn updated_at(&self) -> Time {
        match &self.0 {
            Entry::File(file) => Time(file.updated_at),
            Entry::Folder(folder) => Time(folder.updated_at),
        }
    }

    /// The text. Null for a folder, a deleted file, and bytes that are not text. Text in other encodings than UTF-8 is
    /// decoded by its byte order mark or the encoding declared in its first two lines; `contentBase64` has its bytes.
    async fn content(&self, ctx: &Context<'_>) -> Option<Result<SharedText>> {
        or_null(text(ctx, self.0.project_id(), self.0.hash(), self.0.file().map_or(0, |file| file.size_bytes))).await
    }

    /// The bytes if they are not UTF-8; otherwise null.
    async fn content_base64(&self, ctx: &Context<'_>) -> Option<Result<Base64>> {
        or_null(base64(ctx, self.0.project_id(), self.0.hash(), self.0.file().map_or(0, |file| file.size_bytes))).await
    }

    /// The version, change, message and author of each line, in the order of the lines. Empty for a folder, a deleted
    /// file, and bytes that are not text. Only the last 1,000 versions are examined; `isBoundary` marks lines that can
    /// be older.
    #[graphql(complexity = "weigh_part(first, child_complexity.saturating_add(COMPARE))")]
    async fn blame(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Maximum number of ranges; by default all; an error if there are more than `MAX_LIST_ROWS`.")]
        first: Option<i32>,
        #[graphql(desc = "Only ranges after this line, which is the `endLine` of the last range that was read.")]
        after: Option<i32>,
    ) -> Result<Vec<BlameRange>> {
        or_empty(ctx, async {
            let Some(file) = self.0.file() else { return Ok(Vec::new()) };
            let caller = caller(ctx)?;
            let ranges = caller.load(BlameOf(within(file), file.version)).await?.transpose()?.unwrap_or_default();
            let after = line(after)?;
            let ranges = cut(caller, ranges, first, |range| range.start_line > after)?;
            Ok(ranges.into_iter().map(BlameRange).collect())
        })
        .await
    }

    /// All versions, newest first, including the present one; for a file as of a revision, those up to it. The server
    /// can show consecutive autosaves as one entry: see `FileSnapshot.coalescedCount`.
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn versions(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(false)", desc = "Lists every autosave, whatever the server's setting is.")]
        include_coalesced: Option<bool>,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 100, and 20 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Page<FileSnapshot>> {
        let selected = Versions { include_coalesced, page: Paging { first, after, last, before } };
        let (keep, page) = selected.read(caller(ctx)?, self.1, &ctx.look_ahead())?;
        let Some(file) = self.0.file() else {
            return Ok(connection(List::VERSIONS, Slice::empty(&page), Total::Known(0), FileSnapshot));
        };
        let caller = caller(ctx)?;
        let parent = within(file);
        let slice = caller.load(Part { parent, keep, page }).await?.unwrap_or_default();
        let total = match (keep.autosave_coalesce_seconds, keep.until) {
            (0, None) => Total::Versions(file.id),
            // Versions are numbered without gaps.
            (0, Some(_)) => Total::Known(file.version.into()),
            _ => Total::CoalescedVersions(Count { parent, keep }),
        };
        Ok(connection(List::VERSIONS, slice, total, FileSnapshot))
    }
}

/// The arguments of `versions`.
#[derive(InputObject)]
struct Versions {
    include_coalesced: Option<bool>,
    #[graphql(flatten)]
    page: Paging,
}

impl Versions {
    fn read(self, caller: &Caller, until: Option<i32>, list: &Lookahead<'_>) -> Result<(VersionFilter, PageArguments)> {
        /// Fields that need no content.
        const FIELDS: [&str; 11] = [
            "__typename",
            "id",
            "version",
            "revision",
            "path",
            "isDeletion",
            "changeDescription",
            "createdAt",
            "createdBy",
            "session",
            "message",
        ];
        let autosave_coalesce_seconds = caller.autosave_coalesce_seconds(self.include_coalesced);
        let page = self.page.parse(List::VERSIONS)?.needing(of_rows(list, "FileSnapshot"));
        // Only the list of all present versions can be read without contents.
        let has_contents = autosave_coalesce_seconds > 0
            || until.is_some()
            || !fields_of_rows(list).iter().all(|field| FIELDS.contains(field));
        Ok((VersionFilter { autosave_coalesce_seconds, until, has_contents }, page))
    }
}

impl ProjectFile {
    /// A file by its id, together with its versions if the operation selects them.
    pub async fn find(caller: &Caller, selected: &Lookahead<'_>, id: FileId) -> Result<Option<model::File>> {
        match arguments(selected, "versions").map(|(versions, list): (Versions, _)| versions.read(caller, None, &list))
        {
            Some(Ok((keep, page))) if keep.autosave_coalesce_seconds == 0 => {
                caller.load_with(With { id, keep, page }, within).await
            }
            _ => caller.load(id).await,
        }
    }
}

/// One version of one file.
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
                | "coalescedCount"
                | "createdAt"
        )
    }
}

/// One version of one file. It never changes.
#[Object]
impl FileSnapshot {
    /// Identifies the version: a UUID. Coalesced autosaves have an id that contains their number.
    pub(super) async fn id(&self) -> ID {
        match self.0.saves() {
            1 => self.0.id.0.into(),
            count => NodeId::CoalescedVersion(self.0.id, count).to_string().into(),
        }
    }

    /// The file as it is now.
    async fn file(&self, ctx: &Context<'_>) -> Result<ProjectFile> {
        file_of(ctx, self.0.file_id).await
    }

    /// Its number. Numbers start at 1 and grow by 1. A file that takes the path of another file continues above the
    /// numbers of that file.
    async fn version(&self) -> i32 {
        self.0.number()
    }

    /// The revision that created it.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// The path of the file in this version.
    async fn path(&self) -> &str {
        self.0.path.as_str()
    }

    /// Whether this version is the file's deletion.
    async fn is_deletion(&self) -> bool {
        self.0.change_type == enums::ChangeType::Delete
    }

    /// The text. Null for a folder, a deletion, and bytes that are not text. Text in other encodings than UTF-8 is
    /// decoded by its byte order mark or the encoding declared in its first two lines; `contentBase64` has its bytes.
    async fn content(&self, ctx: &Context<'_>) -> Option<Result<SharedText>> {
        or_null(text(ctx, self.0.project_id, self.0.hash, self.0.size_bytes)).await
    }

    /// The bytes if they are not UTF-8; otherwise null.
    async fn content_base64(&self, ctx: &Context<'_>) -> Option<Result<Base64>> {
        or_null(base64(ctx, self.0.project_id, self.0.hash, self.0.size_bytes)).await
    }

    /// SHA-256 of the bytes, lower-case hex; null for a folder and a deletion.
    async fn hash(&self) -> Option<String> {
        self.0.hash.map(hex::encode)
    }

    /// The size of the contents in bytes.
    async fn size_bytes(&self) -> i32 {
        self.0.size_bytes
    }

    /// The file mode; null for a folder and for a deletion.
    async fn mode(&self) -> Option<FileMode> {
        self.0.hash.map(|_| self.0.mode.into())
    }

    /// Why the file changed, as the writer described it.
    async fn change_description(&self) -> Option<Text<'_>> {
        self.0.change_description.text().map(Text)
    }

    /// Unified diff (3 lines of context) from the previous version, in git's format for `git apply` and `patch -p1`,
    /// with modes, renames and empty files. Null for bytes that are not text.
    #[graphql(complexity = "COMPARE")]
    async fn diff(&self, ctx: &Context<'_>) -> Option<Result<SharedText>> {
        or_null(unified(ctx, &self.0)).await
    }

    /// The number of lines that this version added.
    async fn additions(&self, ctx: &Context<'_>) -> i32 {
        stat(ctx, &self.0).await.additions
    }

    /// The number of lines that this version removed.
    async fn deletions(&self, ctx: &Context<'_>) -> i32 {
        stat(ctx, &self.0).await.deletions
    }

    /// The number of autosaves in this entry of the list: 1, or more if the server shows consecutive autosaves by one
    /// user, outside a session and without a description, as one entry. `diff`, `additions` and `deletions` then
    /// compare with the version before the first of them. `includeCoalesced` lists each of them.
    async fn coalesced_count(&self) -> i32 {
        self.0.saves()
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

/// The number of the line after which a blame continues; 0 is before all lines.
///
/// # Errors
/// `BadInput` if it is negative.
pub fn line(after: Option<i32>) -> Result<usize> {
    usize::try_from(after.unwrap_or_default()).map_err(|_| Error::bad_input("after", "Lines are numbered from 1."))
}

fn within(file: &model::File) -> Within<FileId> {
    Within { project: file.project_id, id: file.id }
}

pub(super) async fn file_of(ctx: &Context<'_>, id: FileId) -> Result<ProjectFile> {
    let file = caller(ctx)?.load(id).await?;
    file.map(ProjectFile::from).ok_or_else(|| Error::Internal("a file is referred to and missing".to_owned()))
}

/// The difference of one file between two revisions.
#[derive(SimpleObject, Clone)]
pub struct FileDiff {
    /// The place of this entry in the list, to pass as `after`.
    cursor: String,
    /// The path of the file at the later revision; for a deletion, at the earlier one. Two entries can have the same
    /// path: one file left it, and another took it.
    path: String,
    /// The path of a renamed file at the earlier revision.
    old_path: Option<String>,
    /// The kind of change of the file.
    #[graphql(name = "type")]
    change_type: ChangeType,
    /// Unified diff (3 lines of context) in git's format for `git apply` and `patch -p1`, with modes, renames and empty
    /// files. Null for bytes that are not text.
    diff: Option<String>,
    /// The number of lines added.
    additions: i32,
    /// The number of lines removed.
    deletions: i32,
}

impl FileDiff {
    /// Whether an operation selects fields that need the contents of files.
    pub(super) fn wants_contents(selected: Lookahead<'_>) -> bool {
        ["diff", "additions", "deletions"].iter().any(|field| selected.field(field).exists())
    }

    /// The path in the cursor of an entry, or in `after` itself. The entry need not exist any more.
    ///
    /// # Errors
    /// `BadInput` if `after` contains no path, or is a cursor of another list.
    pub fn path_of(after: &str) -> Result<FilePath> {
        if Cursor::is_cursor(after) {
            return Err(Cursor::foreign("after"));
        }
        let path = after.strip_prefix('/').and_then(|cursor| cursor.split_once('/')).map_or(after, |(_, path)| path);
        FilePath::parse(path, "after")
    }

    /// The requested part of a list of differences: the entries after a cursor, or after those of a path.
    pub(super) fn part(
        caller: &Caller,
        diffs: Vec<Self>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Vec<Self>> {
        let Some(after) = after else { return cut(caller, diffs, first, |_| true) };
        if let Some(at) = diffs.iter().position(|diff| diff.cursor == after) {
            return cut(caller, diffs.into_iter().skip(at + 1).collect(), first, |_| true);
        }
        let path = Self::path_of(&after)?;
        match diffs.iter().rposition(|diff| diff.path == path.as_str()) {
            Some(at) => cut(caller, diffs.into_iter().skip(at + 1).collect(), first, |_| true),
            None => cut(caller, diffs, first, |diff| diff.path.as_str() > path.as_str()),
        }
    }

    pub(super) async fn between(ctx: &Context<'_>, between: Between) -> Result<Vec<Self>> {
        let caller = caller(ctx)?;
        let diffs = caller.load(between).await?.transpose()?.unwrap_or_default();
        caller.reader.answer(diffs.iter().filter_map(|diff| diff.diff.as_ref()).map(String::len).sum())?;
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
            cursor: format!("/{}/{}", row.change_type.as_str(), row.path.as_str()),
            path: row.path.as_str().to_owned(),
            old_path: row.old_path.map(|path| path.as_str().to_owned()),
            change_type: row.change_type.into(),
            diff: row.diff,
            additions: row.additions,
            deletions: row.deletions,
        }
    }
}
