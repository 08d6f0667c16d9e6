//! Files.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::domain::file::{self, Context as Conversation, Earlier, Named, NewFile, Outcome};
use crate::domain::sync::{self, Sync, SyncFile};
use crate::graphql::context::caller;
use crate::graphql::enums::{FileMode, FileType, SyncMode};
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::page::int;
use crate::graphql::scalar::Base64;
use crate::graphql::types::code_change::CodeChange;
use crate::graphql::types::file::ProjectFile;
use crate::graphql::types::project::Project;
use crate::model::enums::ChangeType;
use crate::model::error::{Error, Result};
use crate::model::ids::{FileId, FileSnapshotId, MessageId, ProjectId, SessionId};
use crate::model::node_id::NodeId;
use crate::model::path::FilePath;

/// The version that `snapshotId` names. The id of coalesced autosaves is that of the last of them.
fn version_id(id: &ID) -> Result<FileSnapshotId> {
    match NodeId::parse(id, "snapshotId") {
        Ok(NodeId::CoalescedVersion(id, _)) => Ok(id),
        _ => FileSnapshotId::parse(id, "snapshotId"),
    }
}

#[derive(Default)]
pub struct FileMutation;

/// Properties of a new file or folder.
#[derive(InputObject)]
struct CreateFileInput {
    /// The project that the file is in.
    project_id: ID,
    /// The path of the new file. A leading slash, `.` and empty parts are dropped; `..` is refused. At most 1,024 bytes.
    path: String,
    /// A file or a folder. Folders above a file need not be created. A created folder is kept when it is empty.
    #[graphql(name = "type", default_with = "Some(FileType::File)")]
    file_type: Option<FileType>,
    /// The text; empty by default. The setting `MAX_FILE_BYTES` limits its size (10 MiB by default).
    content: Option<String>,
    /// The bytes, instead of `content`, if they are not text.
    content_base64: Option<Base64>,
    /// The file mode; by default a plain file. A folder has no mode.
    mode: Option<FileMode>,
    /// The language, as editors name it; by default guessed from the path. A folder has no language.
    language: Option<String>,
    /// The session in which the file is made.
    session_id: Option<ID>,
    /// The message that the file is made for.
    message_id: Option<ID>,
    /// Why the file changes, to show in its history.
    change_description: Option<String>,
}

/// A file and its new content.
#[derive(InputObject)]
struct UpdateFileInput {
    /// The project that the file is in.
    project_id: ID,
    /// The path of the file to change.
    path: String,
    /// The new text. The setting `MAX_FILE_BYTES` limits its size (10 MiB by default).
    content: Option<String>,
    /// The new bytes, instead of `content`, if they are not text.
    content_base64: Option<Base64>,
    /// The new file mode; unchanged by default. If it is given, the content can be left out.
    mode: Option<FileMode>,
    /// Precondition: the version that the caller has read. If the file has another version, or if another file is at the
    /// path, the error is CONFLICT and nothing is written.
    expected_version: Option<i32>,
    /// The session in which the file is changed.
    session_id: Option<ID>,
    /// The message that the file is changed for.
    message_id: Option<ID>,
    /// Why the file changes, to show in its history.
    change_description: Option<String>,
}

/// A file or folder and its new path.
#[derive(InputObject)]
struct RenameFileInput {
    /// The project that the file is in.
    project_id: ID,
    /// The present path.
    path: String,
    /// The new path. A folder moves with everything below it.
    new_path: String,
    /// Precondition: the version that the caller has read. If the file has another version, or if another file is at the
    /// path, the error is CONFLICT and nothing is written.
    expected_version: Option<i32>,
    /// The session in which the file is moved.
    session_id: Option<ID>,
    /// The message that the file is moved for.
    message_id: Option<ID>,
    /// Why the file changes, to show in its history.
    change_description: Option<String>,
}

/// A file, or a folder with everything below it, to delete.
#[derive(InputObject)]
struct DeleteFileInput {
    /// The project that the file is in.
    project_id: ID,
    /// The path of the file or folder.
    path: String,
    /// Precondition: the version that the caller has read. If the file has another version, or if another file is at the
    /// path, the error is CONFLICT and nothing is written.
    expected_version: Option<i32>,
    /// The session in which the file is deleted.
    session_id: Option<ID>,
    /// The message that the file is deleted for.
    message_id: Option<ID>,
    /// Why the file changes, to show in its history.
    change_description: Option<String>,
}

/// An earlier version to restore: `snapshotId` or `version`.
#[derive(InputObject)]
struct RevertFileInput {
    /// The file to revert, deleted or not.
    file_id: ID,
    /// The id of the version to restore: of a `FileSnapshot`, not of a `ProjectSnapshot`.
    snapshot_id: Option<ID>,
    /// The number of the version to restore.
    version: Option<i32>,
    /// Precondition: the version that the caller has read. If the file has another version, or if another file is at the
    /// path, the error is CONFLICT and nothing is written.
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
    /// The text. The setting `MAX_FILE_BYTES` limits its size (10 MiB by default). A file needs `content` or
    /// `contentBase64`. An existing file can have `mode` alone, and keeps its contents.
    content: Option<String>,
    /// The bytes, instead of `content`, if they are not text.
    content_base64: Option<Base64>,
    /// Whether it is a file or a folder.
    #[graphql(name = "type", default_with = "Some(FileType::File)")]
    file_type: Option<FileType>,
    /// The file mode; by default unchanged, and a plain file for a new file. A folder has no mode.
    mode: Option<FileMode>,
    /// The language, as editors name it; by default unchanged, and guessed from the path for a new file. A folder has no
    /// language.
    language: Option<String>,
}

/// The target state of files.
#[derive(InputObject)]
struct SyncFilesInput {
    /// The project to write to.
    project_id: ID,
    /// The session in which the files are changed.
    session_id: Option<ID>,
    /// The message that the files are changed for.
    message_id: Option<ID>,
    /// The target state of the files, each path once. The setting `MAX_SYNC_FILES` limits their number (5,000 by
    /// default).
    files: Vec<FileInput>,
    /// Paths to delete in either mode, folders with everything below them. Missing paths are skipped. A path that is
    /// also in `files` is an error (BAD_USER_INPUT).
    deletes: Option<Vec<String>>,
    /// What happens to files that are not given.
    #[graphql(default_with = "Some(SyncMode::Merge)")]
    mode: Option<SyncMode>,
    /// Precondition: the revision that the caller has read. If files have changed since, the error is CONFLICT with a
    /// list of the files, and nothing is written. Other changes in the project do not matter.
    expected_revision: Option<i32>,
    /// Why the files change, to show in their history.
    change_description: Option<String>,
}

/// Result of a write to a file.
#[derive(SimpleObject)]
struct FilePayload {
    /// The file after the write.
    file: ProjectFile,
    /// The change of the file itself. Null if nothing changed, and for a folder that was never created, which has no
    /// versions.
    change: Option<CodeChange>,
    /// All changes: of the file, and for a folder also of everything below it.
    changes: Vec<CodeChange>,
    /// The new revision, or the present one if nothing changed.
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

/// Result of a sync.
#[derive(SimpleObject)]
struct SyncPayload {
    /// The number of files that are new.
    created: i32,
    /// The number of files whose contents, mode or language changed.
    updated: i32,
    /// The number of files that were deleted.
    deleted: i32,
    /// The number of files that moved to another path with the same or a similar content.
    renamed: i32,
    /// The number of given files that already had the target state.
    unchanged: i32,
    /// All changes that were made.
    changes: Vec<CodeChange>,
    /// The project after the write.
    project: Option<Project>,
    /// The new revision, or the present one if nothing changed.
    revision: i32,
}

fn context(session: Option<ID>, message: Option<ID>, change_description: Option<String>) -> Result<Conversation> {
    Ok(Conversation {
        session_id: session.map(|id| SessionId::parse(&id, "sessionId")).transpose()?,
        message_id: message.map(|id| MessageId::parse(&id, "messageId")).transpose()?,
        change_description,
    })
}

/// The contents that the caller gave: by `content` or by `contentBase64`.
#[derive(Default)]
struct Contents {
    /// The arguments `content` in whose place the caller gave `contentBase64`.
    in_base64: Vec<String>,
}

impl Contents {
    /// The content of a file, whose arguments have this prefix.
    fn read(&mut self, text: Option<String>, bytes: Option<Base64>, prefix: &str) -> Result<Option<Vec<u8>>> {
        match (text, bytes) {
            (Some(_), Some(_)) => {
                let field = format!("{prefix}contentBase64");
                Err(Error::bad_input(field, "Give `content` or `contentBase64`, not both."))
            }
            (Some(text), None) => Ok(Some(text.into_bytes())),
            (None, None) => Ok(None),
            (None, Some(bytes)) => {
                self.in_base64.push(format!("{prefix}content"));
                Ok(Some(bytes.0))
            }
        }
    }

    /// An error that names the argument that the caller gave.
    fn named(&self, error: Error) -> Error {
        match error {
            Error::BadInput { field, message } if self.in_base64.contains(&field) => {
                Error::BadInput { field: field + "Base64", message }
            }
            error => error,
        }
    }
}

#[Object]
impl FileMutation {
    /// Creates a file or a folder.
    async fn create_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new file or folder.")] input: CreateFileInput,
    ) -> Attempt<FilePayload> {
        attempt(async {
            let conversation = context(input.session_id, input.message_id, input.change_description)?;
            let mut contents = Contents::default();
            let new = NewFile {
                project_id: ProjectId::parse(&input.project_id, "projectId")?,
                path: FilePath::parse(&input.path, "path")?,
                file_type: input.file_type.unwrap_or(FileType::File).into(),
                content: contents.read(input.content, input.content_base64, "")?,
                mode: input.mode.map(Into::into),
                language: input.language,
            };
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| file::create(writer, new, conversation));
            Ok(done.await.map_err(|error| contents.named(error))?.into())
        })
        .await
    }

    /// Replaces a file's content and keeps the old content as a version. Writing the same content again changes
    /// nothing.
    async fn update_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file and its new contents.")] input: UpdateFileInput,
    ) -> Attempt<FilePayload> {
        attempt(async {
            let conversation = context(input.session_id, input.message_id, input.change_description)?;
            let named = named(&input.project_id, &input.path, input.expected_version)?;
            let mut contents = Contents::default();
            let content = contents.read(input.content, input.content_base64, "")?;
            let mode = input.mode.map(Into::into);
            if content.is_none() && mode.is_none() {
                return Err(Error::bad_input("content", "Give `content` or `contentBase64`."));
            }
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| file::update(writer, named, content, mode, conversation));
            Ok(done.await.map_err(|error| contents.named(error))?.into())
        })
        .await
    }

    /// Moves a file, or a folder with everything below it.
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
            let done = caller.write(ctx, |writer| file::rename(writer, named, new_path, conversation));
            Ok(done.await?.into())
        })
        .await
    }

    /// Deletes a file, or a folder with everything below it. The versions are kept.
    async fn delete_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file to delete.")] input: DeleteFileInput,
    ) -> Attempt<FilePayload> {
        attempt(async {
            let conversation = context(input.session_id, input.message_id, input.change_description)?;
            let named = named(&input.project_id, &input.path, input.expected_version)?;
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| file::delete(writer, named, conversation));
            Ok(done.await?.into())
        })
        .await
    }

    /// Writes the content of an old version as a new one; restores a deleted file.
    async fn revert_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file and the version.")] input: RevertFileInput,
    ) -> Attempt<FilePayload> {
        attempt(async {
            let conversation = context(input.session_id, input.message_id, None)?;
            let id = FileId::parse(&input.file_id, "fileId")?;
            let earlier = match (input.snapshot_id, input.version) {
                (Some(snapshot), None) => Earlier::Snapshot(version_id(&snapshot)?),
                (None, Some(version)) => Earlier::Version(version),
                _ => return Err(Error::bad_input("snapshotId", "Give one of `snapshotId` and `version`.")),
            };
            let expected = input.expected_version;
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| file::revert(writer, id, earlier, expected, conversation));
            Ok(done.await?.into())
        })
        .await
    }

    /// Makes the project's files equal to the given ones, in one revision: creates and updates files, and with MIRROR
    /// deletes all others.
    async fn sync_files(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The target state of the files.")] input: SyncFilesInput,
    ) -> Attempt<SyncPayload> {
        attempt(async {
            let conversation = context(input.session_id, input.message_id, input.change_description)?;
            let (mut files, mut contents) = (Vec::with_capacity(input.files.len()), Contents::default());
            for (at, file) in input.files.into_iter().enumerate() {
                files.push(SyncFile {
                    path: FilePath::parse(&file.path, &format!("files[{at}].path"))?,
                    file_type: file.file_type.unwrap_or(FileType::File).into(),
                    content: contents.read(file.content, file.content_base64, &format!("files[{at}]."))?,
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
                ignores_others: false,
                allows_any_link: false,
            };
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| sync::sync(writer, sync, conversation));
            let synced = done.await.map_err(|error| contents.named(error))?;
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
