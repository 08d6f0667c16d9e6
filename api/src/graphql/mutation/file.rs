//! Files.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::domain::file::{self, Context as Conversation, Earlier, Named, NewFile, Outcome};
use crate::domain::sync::{self, Sync, SyncFile};
use crate::graphql::context::caller;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::names::{FileMode, FileType, SyncMode};
use crate::graphql::page::int;
use crate::graphql::scalar::Base64;
use crate::graphql::types::file::{CodeChange, ProjectFile};
use crate::graphql::types::project::Project;
use crate::model::error::{Error, Result};
use crate::model::ids::{FileId, FileSnapshotId, MessageId, ProjectId, SessionId};
use crate::model::names::ChangeType;
use crate::model::path::FilePath;

#[derive(Default)]
pub struct FileMutation;

/// What a new file is made of.
#[derive(InputObject)]
struct CreateFileInput {
    /// The project that the file is in.
    project_id: ID,
    /// The path of the new file. A leading slash, `.` and empty parts are dropped; `..` is refused. At most 1,024 bytes.
    path: String,
    /// A file or a folder. Folders above a file need not be made. A folder that is made stays when it is empty.
    #[graphql(name = "type", default_with = "Some(FileType::File)")]
    file_type: Option<FileType>,
    /// Its text; empty by default. At most as many bytes as the setting `MAX_FILE_BYTES` allows (10 MiB by default).
    content: Option<String>,
    /// Its bytes, in place of `content`, if they are not text.
    content_base64: Option<Base64>,
    /// What it is to a file system; a plain file if it is left out. A folder has no mode.
    mode: Option<FileMode>,
    /// Its language, as editors call it. Without it, it is guessed from the path.
    language: Option<String>,
    /// The session in which the file is made.
    session_id: Option<ID>,
    /// The message that the file is made for.
    message_id: Option<ID>,
    /// Why the file changes, to show in its history.
    change_description: Option<String>,
}

/// A file's new contents.
#[derive(InputObject)]
struct UpdateFileInput {
    /// The project that the file is in.
    project_id: ID,
    /// The path of the file to change.
    path: String,
    /// Its new text, at most as many bytes as the setting `MAX_FILE_BYTES` allows (10 MiB by default).
    content: Option<String>,
    /// Its new bytes, in place of `content`, if they are not text.
    content_base64: Option<Base64>,
    /// What it is to a file system from now on; as before if it is left out. With it the contents may be left out.
    mode: Option<FileMode>,
    /// The version that the caller read. If the file has another by now, or another file is there, nothing is written and the answer
    /// is CONFLICT.
    expected_version: Option<i32>,
    /// The session in which the file is changed.
    session_id: Option<ID>,
    /// The message that the file is changed for.
    message_id: Option<ID>,
    /// Why the file changes, to show in its history.
    change_description: Option<String>,
}

/// A file's, or a folder's, new place.
#[derive(InputObject)]
struct RenameFileInput {
    /// The project that the file is in.
    project_id: ID,
    /// The present path.
    path: String,
    /// The new path. What is below a folder moves with it.
    new_path: String,
    /// The version that the caller read. If the file has another by now, or another file is there, nothing is written and the answer
    /// is CONFLICT.
    expected_version: Option<i32>,
    /// The session in which the file is moved.
    session_id: Option<ID>,
    /// The message that the file is moved for.
    message_id: Option<ID>,
    /// Why the file changes, to show in its history.
    change_description: Option<String>,
}

/// A file, or a folder with all that is below it, that goes.
#[derive(InputObject)]
struct DeleteFileInput {
    /// The project that the file is in.
    project_id: ID,
    /// The path of the file or folder.
    path: String,
    /// The version that the caller read. If the file has another by now, or another file is there, nothing is written and the answer
    /// is CONFLICT.
    expected_version: Option<i32>,
    /// The session in which the file is deleted.
    session_id: Option<ID>,
    /// The message that the file is deleted for.
    message_id: Option<ID>,
    /// Why the file changes, to show in its history.
    change_description: Option<String>,
}

/// An earlier version that comes back. One of `snapshotId` and `version` names it.
#[derive(InputObject)]
struct RevertFileInput {
    /// The file to revert, deleted or not.
    file_id: ID,
    /// The id of the version to go back to.
    snapshot_id: Option<ID>,
    /// The number of the version to go back to.
    version: Option<i32>,
    /// The version that the caller read. If the file has another by now, or another file is there, nothing is written and the answer
    /// is CONFLICT.
    expected_version: Option<i32>,
    /// The session in which the file is changed.
    session_id: Option<ID>,
    /// The message that the file is changed for.
    message_id: Option<ID>,
}

/// One file of a sync.
#[derive(InputObject)]
struct FileInput {
    /// The path of the file. A leading slash, `.` and empty parts are dropped; `..` is refused. At most 1,024 bytes.
    path: String,
    /// Its text, at most as many bytes as the setting `MAX_FILE_BYTES` allows (10 MiB by default). A file needs `content` or
    /// `contentBase64`; one that is there already may have `mode` alone, and keeps its contents.
    content: Option<String>,
    /// Its bytes, in place of `content`, if they are not text.
    content_base64: Option<Base64>,
    /// Whether it is a file or a folder.
    #[graphql(name = "type", default_with = "Some(FileType::File)")]
    file_type: Option<FileType>,
    /// What it is to a file system; as before if it is left out, and a plain file if it is new. A folder has no mode.
    mode: Option<FileMode>,
    /// Its language, as editors call it. Without it, it is guessed from the path.
    language: Option<String>,
}

/// Files as they are to be.
#[derive(InputObject)]
struct SyncFilesInput {
    /// The project to write to.
    project_id: ID,
    /// The session in which the files are changed.
    session_id: Option<ID>,
    /// The message that the files are changed for.
    message_id: Option<ID>,
    /// The files as they are to be, each path once; at most as many as the setting `MAX_SYNC_FILES` allows (5,000 by
    /// default).
    files: Vec<FileInput>,
    /// Paths to delete, a folder with all that is below it, in either mode. A path where nothing is, is skipped. A path
    /// that is in `files` as well is BAD_USER_INPUT.
    deletes: Option<Vec<String>>,
    /// What happens to files that are not given.
    #[graphql(default_with = "Some(SyncMode::Merge)")]
    mode: Option<SyncMode>,
    /// The revision that the caller read. If files have changed since, nothing is written and the answer is CONFLICT, which lists
    /// the files. What else happened in the project does not count.
    expected_revision: Option<i32>,
    /// Why the files change, to show in their history.
    change_description: Option<String>,
}

/// What a write to a file answers.
#[derive(SimpleObject)]
struct FilePayload {
    /// The file after the write.
    file: ProjectFile,
    /// The change of the file itself. Null if nothing changed, and for a folder that was never made: it has no versions.
    change: Option<CodeChange>,
    /// All changes: that of the file, and for a folder those of what is below it.
    changes: Vec<CodeChange>,
    /// The revision that was made, or the present one if nothing changed.
    revision: i32,
}

impl From<Outcome> for FilePayload {
    fn from(outcome: Outcome) -> Self {
        Self {
            file: outcome.file.into(),
            change: outcome.change.map(|changed| CodeChange(changed.change)),
            changes: outcome.changes.into_iter().map(|changed| CodeChange(changed.change)).collect(),
            revision: outcome.revision,
        }
    }
}

/// What a sync answers.
#[derive(SimpleObject)]
struct SyncPayload {
    /// The number of files that are new.
    created: i32,
    /// The number of files whose contents changed.
    updated: i32,
    /// The number of files that were deleted.
    deleted: i32,
    /// The number of files that moved: gone at one path, and at another with the same contents.
    renamed: i32,
    /// The number of given files that were already as they are to be.
    unchanged: i32,
    /// All changes that were made.
    changes: Vec<CodeChange>,
    /// The project after the write.
    project: Option<Project>,
    /// The revision that was made, or the present one if nothing changed.
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
fn content(
    text: Option<String>,
    bytes: Option<Base64>,
    mode: Option<FileMode>,
    prefix: &str,
) -> Result<Option<Vec<u8>>> {
    let field = if bytes.is_some() { "contentBase64" } else { "content" };
    let content = match (text, bytes) {
        (Some(_), Some(_)) => {
            return Err(Error::bad_input(format!("{prefix}{field}"), "Give `content` or `contentBase64`, not both."));
        }
        (Some(text), None) => Some(text.into_bytes()),
        (None, bytes) => bytes.map(|bytes| bytes.0),
    };
    let leads_nowhere = |content: &Vec<u8>| content.is_empty() || content.contains(&0);
    if mode == Some(FileMode::Symlink) && content.as_ref().is_some_and(leads_nowhere) {
        let message = "The contents of a symbolic link are the path to which it leads: not empty, and without NUL.";
        return Err(Error::bad_input(format!("{prefix}{field}"), message));
    }
    Ok(content)
}

#[Object]
impl FileMutation {
    /// Makes a file or a folder.
    async fn create_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new file or folder.")] input: CreateFileInput,
    ) -> Attempt<FilePayload> {
        attempt(async {
            let conversation = context(input.session_id, input.message_id, input.change_description)?;
            let new = NewFile {
                project_id: ProjectId::parse(&input.project_id, "projectId")?,
                path: FilePath::parse(&input.path, "path")?,
                file_type: input.file_type.unwrap_or(FileType::File).into(),
                content: content(input.content, input.content_base64, input.mode, "")?,
                mode: input.mode.map(Into::into),
                language: input.language,
            };
            let caller = caller(ctx)?;
            let done = caller.write(|writer| file::create(writer, new, conversation));
            Ok(done.await?.into())
        })
        .await
    }

    /// Replaces a file's contents and keeps the old ones as a version. The same contents again change nothing.
    async fn update_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file and its new contents.")] input: UpdateFileInput,
    ) -> Attempt<FilePayload> {
        attempt(async {
            let conversation = context(input.session_id, input.message_id, input.change_description)?;
            let named = named(&input.project_id, &input.path, input.expected_version)?;
            let content = content(input.content, input.content_base64, input.mode, "")?;
            let mode = input.mode.map(Into::into);
            if content.is_none() && mode.is_none() {
                return Err(Error::bad_input("content", "Give `content` or `contentBase64`."));
            }
            let caller = caller(ctx)?;
            let done = caller.write(|writer| file::update(writer, named, content, mode, conversation));
            Ok(done.await?.into())
        })
        .await
    }

    /// Moves a file, or a folder with all that is below it.
    async fn rename_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file and its new path.")] input: RenameFileInput,
    ) -> Attempt<FilePayload> {
        attempt(async {
            let conversation = context(input.session_id, input.message_id, input.change_description)?;
            let named = named(&input.project_id, &input.path, input.expected_version)?;
            let new_path = FilePath::parse(&input.new_path, "newPath")?;
            let caller = caller(ctx)?;
            let done = caller.write(|writer| file::rename(writer, named, new_path, conversation));
            Ok(done.await?.into())
        })
        .await
    }

    /// Deletes a file, or a folder with all that is below it. Its versions stay.
    async fn delete_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file to delete.")] input: DeleteFileInput,
    ) -> Attempt<FilePayload> {
        attempt(async {
            let conversation = context(input.session_id, input.message_id, input.change_description)?;
            let named = named(&input.project_id, &input.path, input.expected_version)?;
            let caller = caller(ctx)?;
            let done = caller.write(|writer| file::delete(writer, named, conversation));
            Ok(done.await?.into())
        })
        .await
    }

    /// Writes the content of an old version as a new one; brings back a deleted file.
    async fn revert_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file and the version.")] input: RevertFileInput,
    ) -> Attempt<FilePayload> {
        attempt(async {
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
        })
        .await
    }

    /// Makes the project's files equal to the given ones, in one revision: creates, updates, and, with MIRROR, deletes what
    /// is not given.
    async fn sync_files(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The files as they are to be.")] input: SyncFilesInput,
    ) -> Attempt<SyncPayload> {
        attempt(async {
            let conversation = context(input.session_id, input.message_id, input.change_description)?;
            let mut files = Vec::with_capacity(input.files.len());
            for (at, file) in input.files.into_iter().enumerate() {
                files.push(SyncFile {
                    path: FilePath::parse(&file.path, &format!("files[{at}].path"))?,
                    file_type: file.file_type.unwrap_or(FileType::File).into(),
                    content: content(file.content, file.content_base64, file.mode, &format!("files[{at}]."))?,
                    mode: file.mode.map(Into::into),
                    language: file.language,
                });
            }
            let deletes = input.deletes.unwrap_or_default().into_iter().enumerate();
            let deletes = deletes.map(|(at, path)| FilePath::parse(&path, &format!("deletes[{at}]")));
            let project = ProjectId::parse(&input.project_id, "projectId")?;
            let sync = Sync {
                project_id: project,
                files,
                deletes: deletes.collect::<Result<_>>()?,
                mirror: input.mode == Some(SyncMode::Mirror),
                expected_revision: input.expected_revision,
            };
            let caller = caller(ctx)?;
            let done = caller.write(|writer| sync::sync(writer, sync, conversation));
            let synced = done.await?;
            let project = super::project_of(ctx, project).await?;
            let count = |change_type| int(i64::try_from(synced.count(change_type)).unwrap_or(i64::MAX));
            Ok(SyncPayload {
                created: count(ChangeType::Create),
                updated: count(ChangeType::Update),
                deleted: count(ChangeType::Delete),
                renamed: count(ChangeType::Rename),
                unchanged: int(i64::try_from(synced.unchanged).unwrap_or(i64::MAX)),
                revision: synced.revision,
                project,
                changes: synced.changes.into_iter().map(|changed| CodeChange(changed.change)).collect(),
            })
        })
        .await
    }
}

fn named(project: &ID, path: &str, expected_version: Option<i32>) -> Result<Named> {
    Ok(Named {
        project_id: ProjectId::parse(project, "projectId")?,
        path: FilePath::parse(path, "path")?,
        expected_version,
    })
}
