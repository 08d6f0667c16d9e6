//! Files.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::domain::file::{self, Context as Conversation, Earlier, Named, NewFile, Outcome};
use crate::domain::sync::{self, Sync, SyncFile};
use crate::graphql::context::caller;
use crate::graphql::names::{FileMode, FileType, SyncMode};
use crate::graphql::page::int;
use crate::graphql::scalar::Base64;
use crate::graphql::types::file::{CodeChange, ProjectFile};
use crate::model::error::{Error, Result};
use crate::model::ids::{FileId, FileSnapshotId, MessageId, ProjectId, SessionId};
use crate::model::names::ChangeType;
use crate::model::path::FilePath;

#[derive(Default)]
pub struct FileMutation;

/// What a new file is made of.
#[derive(InputObject)]
struct CreateFileInput {
    /// Its project.
    project_id: ID,
    /// Where it goes. A leading slash, `.` and empty parts are dropped; `..` is refused.
    path: String,
    /// File or folder. A folder need not be made for what is below it; one that is stays when it is empty.
    #[graphql(name = "type", default_with = "Some(FileType::File)")]
    file_type: Option<FileType>,
    /// Its text.
    content: Option<String>,
    /// Its bytes, where they are not text; in place of `content`.
    content_base64: Option<Base64>,
    /// What it is to a file system; a plain file if it is left out. A folder has no mode.
    mode: Option<FileMode>,
    /// Its language, as editors name it; guessed by the path where it is left out.
    language: Option<String>,
    /// The session in which it is made.
    session_id: Option<ID>,
    /// The message for which it is made.
    message_id: Option<ID>,
    /// Why.
    change_description: Option<String>,
}

/// A file's new contents.
#[derive(InputObject)]
struct UpdateFileInput {
    /// Its project.
    project_id: ID,
    /// Where it is.
    path: String,
    /// Its new text.
    content: Option<String>,
    /// Its new bytes, where they are not text; in place of `content`.
    content_base64: Option<Base64>,
    /// What it is to a file system from now on; as before if it is left out. With it the contents may be left out.
    mode: Option<FileMode>,
    /// The version that the caller saw: where the file has another by now, nothing is written and the answer is CONFLICT.
    expected_version: Option<i32>,
    /// The session in which it is changed.
    session_id: Option<ID>,
    /// The message for which it is changed.
    message_id: Option<ID>,
    /// Why.
    change_description: Option<String>,
}

/// A file's, or a folder's, new place.
#[derive(InputObject)]
struct RenameFileInput {
    /// Its project.
    project_id: ID,
    /// Where it is.
    path: String,
    /// Where it goes. What is below a folder goes with it.
    new_path: String,
    /// The version that the caller saw: where the file has another by now, nothing is written and the answer is CONFLICT.
    expected_version: Option<i32>,
    /// The session in which it is moved.
    session_id: Option<ID>,
    /// The message for which it is moved.
    message_id: Option<ID>,
    /// Why.
    change_description: Option<String>,
}

/// A file, or a folder with all that is below it, that goes.
#[derive(InputObject)]
struct DeleteFileInput {
    /// Its project.
    project_id: ID,
    /// Where it is.
    path: String,
    /// The version that the caller saw: where the file has another by now, nothing is written and the answer is CONFLICT.
    expected_version: Option<i32>,
    /// The session in which it is deleted.
    session_id: Option<ID>,
    /// The message for which it is deleted.
    message_id: Option<ID>,
    /// Why.
    change_description: Option<String>,
}

/// An earlier version that comes back. One of `snapshotId` and `version` names it.
#[derive(InputObject)]
struct RevertFileInput {
    /// The file, deleted or not.
    file_id: ID,
    /// The version by its id.
    snapshot_id: Option<ID>,
    /// The version by its number.
    version: Option<i32>,
    /// The version that the caller saw: where the file has another by now, nothing is written and the answer is CONFLICT.
    expected_version: Option<i32>,
    /// The session in which it is changed.
    session_id: Option<ID>,
    /// The message for which it is changed.
    message_id: Option<ID>,
}

/// One file of a sync.
#[derive(InputObject)]
struct FileInput {
    /// Where it is.
    path: String,
    /// Its text.
    content: Option<String>,
    /// Its bytes, where they are not text; in place of `content`.
    content_base64: Option<Base64>,
    /// File or folder.
    #[graphql(name = "type", default_with = "Some(FileType::File)")]
    file_type: Option<FileType>,
    /// What it is to a file system; as before if it is left out, and a plain file if it is new. A folder has no mode.
    mode: Option<FileMode>,
    /// Its language, as editors name it; guessed by the path where it is left out.
    language: Option<String>,
}

/// Files as they are to be.
#[derive(InputObject)]
struct SyncFilesInput {
    /// The project.
    project_id: ID,
    /// The session in which they are changed.
    session_id: Option<ID>,
    /// The message for which they are changed.
    message_id: Option<ID>,
    /// The files, no path twice.
    files: Vec<FileInput>,
    /// Paths that go, a folder with all that is below it; a path that is not there is skipped. So MERGE deletes too. A path
    /// that is among `files` as well is BAD_USER_INPUT.
    deletes: Option<Vec<String>>,
    /// What becomes of files that are not given.
    #[graphql(default_with = "Some(SyncMode::Merge)")]
    mode: Option<SyncMode>,
    /// The revision that the caller saw: if files have changed since, nothing is written and the answer is CONFLICT, which lists
    /// the files. What else happened in the project does not count.
    expected_revision: Option<i32>,
    /// Why.
    change_description: Option<String>,
}

/// What a write to a file answers.
#[derive(SimpleObject)]
struct FilePayload {
    /// The file, as it is now.
    file: ProjectFile,
    /// Its change; null where nothing had to change, and for a folder that nobody made, which has no versions.
    change: Option<CodeChange>,
    /// All changes: its own, and where it is a folder those of what is below it.
    changes: Vec<CodeChange>,
    /// The revision that was made, or the present one where nothing changed.
    revision: i32,
}

impl From<Outcome> for FilePayload {
    fn from(outcome: Outcome) -> Self {
        Self {
            file: ProjectFile(outcome.file),
            change: outcome.change.map(|changed| CodeChange(changed.change)),
            changes: outcome.changes.into_iter().map(|changed| CodeChange(changed.change)).collect(),
            revision: outcome.revision,
        }
    }
}

/// What a sync answers.
#[derive(SimpleObject)]
struct SyncPayload {
    /// Files that are new.
    created: i32,
    /// Files whose contents changed.
    updated: i32,
    /// Files that went.
    deleted: i32,
    /// Files that moved: gone at one path, there at another with the same contents.
    renamed: i32,
    /// Given files that were as they are to be.
    unchanged: i32,
    /// All changes.
    changes: Vec<CodeChange>,
    /// The revision that was made, or the present one where nothing changed.
    revision: i32,
}

fn context(session: Option<ID>, message: Option<ID>, change_description: Option<String>) -> Result<Conversation> {
    Ok(Conversation {
        session_id: session.map(|id| SessionId::parse(&id, "sessionId")).transpose()?,
        message_id: message.map(|id| MessageId::parse(&id, "messageId")).transpose()?,
        change_description,
    })
}

/// The one of two ways to give contents that was taken.
fn content(text: Option<String>, bytes: Option<Base64>, prefix: &str) -> Result<Option<Vec<u8>>> {
    match (text, bytes) {
        (Some(_), Some(_)) => {
            Err(Error::bad_input(format!("{prefix}contentBase64"), "Give `content` or `contentBase64`, not both."))
        }
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, bytes) => Ok(bytes.map(|bytes| bytes.0)),
    }
}

#[Object]
impl FileMutation {
    /// Makes a file or a folder.
    async fn create_file(&self, ctx: &Context<'_>, input: CreateFileInput) -> Result<FilePayload> {
        let conversation = context(input.session_id, input.message_id, input.change_description)?;
        let new = NewFile {
            project_id: ProjectId::parse(&input.project_id, "projectId")?,
            path: FilePath::parse(&input.path, "path")?,
            file_type: input.file_type.unwrap_or(FileType::File).into(),
            content: content(input.content, input.content_base64, "")?,
            mode: input.mode.map(Into::into),
            language: input.language,
        };
        let caller = caller(ctx)?;
        let done = caller.write(|writer| file::create(writer, new, conversation));
        Ok(done.await?.into())
    }

    /// Replaces a file's contents and keeps the old ones as a version. The same contents again change nothing.
    async fn update_file(&self, ctx: &Context<'_>, input: UpdateFileInput) -> Result<FilePayload> {
        let conversation = context(input.session_id, input.message_id, input.change_description)?;
        let named = named(&input.project_id, &input.path, input.expected_version)?;
        let content = content(input.content, input.content_base64, "")?;
        let mode = input.mode.map(Into::into);
        if content.is_none() && mode.is_none() {
            return Err(Error::bad_input("content", "Give `content` or `contentBase64`."));
        }
        let caller = caller(ctx)?;
        let done = caller.write(|writer| file::update(writer, named, content, mode, conversation));
        Ok(done.await?.into())
    }

    /// Moves a file, or a folder with all that is below it.
    async fn rename_file(&self, ctx: &Context<'_>, input: RenameFileInput) -> Result<FilePayload> {
        let conversation = context(input.session_id, input.message_id, input.change_description)?;
        let named = named(&input.project_id, &input.path, input.expected_version)?;
        let new_path = FilePath::parse(&input.new_path, "newPath")?;
        let caller = caller(ctx)?;
        let done = caller.write(|writer| file::rename(writer, named, new_path, conversation));
        Ok(done.await?.into())
    }

    /// Deletes a file, or a folder with all that is below it. Its versions stay.
    async fn delete_file(&self, ctx: &Context<'_>, input: DeleteFileInput) -> Result<FilePayload> {
        let conversation = context(input.session_id, input.message_id, input.change_description)?;
        let named = named(&input.project_id, &input.path, input.expected_version)?;
        let caller = caller(ctx)?;
        let done = caller.write(|writer| file::delete(writer, named, conversation));
        Ok(done.await?.into())
    }

    /// Writes the content of an old version as a new one; brings back a deleted file.
    async fn revert_file(&self, ctx: &Context<'_>, input: RevertFileInput) -> Result<FilePayload> {
        let conversation = context(input.session_id, input.message_id, None)?;
        let id = FileId::parse(&input.file_id, "fileId")?;
        let earlier = match (input.snapshot_id, input.version) {
            (Some(snapshot), None) => Earlier::Snapshot(FileSnapshotId::parse(&snapshot, "snapshotId")?),
            (None, Some(version)) => Earlier::Version(version),
            _ => return Err(Error::bad_input("snapshotId", "Give one of `snapshotId` and `version`.")),
        };
        let expected = input.expected_version;
        let caller = caller(ctx)?;
        let done = caller.write(|writer| file::revert(writer, id, earlier, expected, conversation));
        Ok(done.await?.into())
    }

    /// Makes the project's files equal to the given ones, in one revision: creates, updates, and, with MIRROR, deletes what
    /// is not given.
    async fn sync_files(&self, ctx: &Context<'_>, input: SyncFilesInput) -> Result<SyncPayload> {
        let conversation = context(input.session_id, input.message_id, input.change_description)?;
        let mut files = Vec::with_capacity(input.files.len());
        for (at, file) in input.files.into_iter().enumerate() {
            files.push(SyncFile {
                path: FilePath::parse(&file.path, &format!("files[{at}].path"))?,
                file_type: file.file_type.unwrap_or(FileType::File).into(),
                content: content(file.content, file.content_base64, &format!("files[{at}]."))?,
                mode: file.mode.map(Into::into),
                language: file.language,
            });
        }
        let deletes = input.deletes.unwrap_or_default().into_iter().enumerate();
        let deletes = deletes.map(|(at, path)| FilePath::parse(&path, &format!("deletes[{at}]")));
        let sync = Sync {
            project_id: ProjectId::parse(&input.project_id, "projectId")?,
            files,
            deletes: deletes.collect::<Result<_>>()?,
            mirror: input.mode == Some(SyncMode::Mirror),
            expected_revision: input.expected_revision,
        };
        let caller = caller(ctx)?;
        let done = caller.write(|writer| sync::sync(writer, sync, conversation));
        let synced = done.await?;
        let count = |change_type| int(i64::try_from(synced.count(change_type)).unwrap_or(i64::MAX));
        Ok(SyncPayload {
            created: count(ChangeType::Create),
            updated: count(ChangeType::Update),
            deleted: count(ChangeType::Delete),
            renamed: count(ChangeType::Rename),
            unchanged: int(i64::try_from(synced.unchanged).unwrap_or(i64::MAX)),
            revision: synced.revision,
            changes: synced.changes.into_iter().map(|changed| CodeChange(changed.change)).collect(),
        })
    }
}

fn named(project: &ID, path: &str, expected_version: Option<i32>) -> Result<Named> {
    Ok(Named {
        project_id: ProjectId::parse(project, "projectId")?,
        path: FilePath::parse(path, "path")?,
        expected_version,
    })
}
