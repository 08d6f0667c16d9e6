//! Tools that write. Each of them adds a message that describes the write, and then makes the write for this message.
//! What can be refused is checked before the message is added. If somebody else writes in between, the write can still
//! be refused; the message then has no files.

use base64::{Engine, prelude::BASE64_STANDARD};
use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    answer::Answer,
    call::{Call, entry},
    chat_sessions::{add_message, context},
    versions::{self, parse_paths},
};
use crate::{
    domain::{
        access,
        chat::Added,
        file::{self, Changed, Context, Named, NewFile, Outcome},
        policy,
        snapshot::{self, Goal, Scope},
        undo::{self, UndoTarget},
    },
    model::{
        enums::{FileType, ProjectStatus},
        error::{Conflict, Error, Result},
        file::{Entry, File, FileMode, Hash, NO_LINK_TARGET, is_link_target},
        ids::MessageId,
        path::FilePath,
        project::Project,
    },
};

/// The result of a write.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    path: String,
    /// The new version, for `expectedVersion`; null after a deletion.
    version: Option<i32>,
    /// SHA-256 of the content, in hex.
    hash: Option<String>,
    /// Whether anything was written.
    has_changed: bool,
    /// The number of files that changed.
    changed_files: usize,
    /// The revision that the write made, or the present one.
    revision: i32,
    /// The message of the write, for `undo`.
    message_id: Option<String>,
}

impl Written {
    fn answer(text: &str, outcome: &Outcome, added: &Added) -> Result<Answer> {
        let file = &outcome.file;
        let is_deleted = match file {
            Entry::File(file) => file.is_deleted,
            Entry::Folder(folder) => folder.is_deleted,
        };
        let version = (!is_deleted).then(|| file.number());
        let written = Self {
            path: file.path().as_str().to_owned(),
            version,
            hash: file.hash().map(hex::encode),
            has_changed: !outcome.changes.is_empty(),
            changed_files: outcome.changes.len(),
            revision: outcome.revision,
            message_id: Some(added.message.id.0.to_string()),
        };
        let version = version.map(|version| format!(", version {version}")).unwrap_or_default();
        Answer::new(format!("{text}: revision {}{version}.", written.revision), &written)
    }
}

/// The project, if the caller can write to it.
async fn writable(call: &Call, id: &str) -> Result<Project> {
    let project = call.project(id).await?;
    policy::may_write(project.viewer_role)?;
    if project.status == ProjectStatus::Deleted {
        return Err(Error::conflict("projectId", "The project is deleted."));
    }
    Ok(project)
}

/// The text of a write's message: the reason that the model has given, and what is done.
fn message(reason: Option<String>, what: &str) -> String {
    match reason.filter(|reason| !reason.trim().is_empty()) {
        Some(reason) => reason,
        None => what.to_owned(),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WriteFile {
    /// The id of the project.
    project_id: String,
    /// The path of the file. Folders above it need not exist.
    path: String,
    /// The whole new text.
    content: Option<String>,
    /// The new bytes in Base64, instead of `content`, if they are not text.
    content_base64: Option<String>,
    /// The version that you have read, as a precondition; 0 if there must be no file yet. A file that exists is replaced
    /// only with this or with `expectedHash`.
    expected_version: Option<i32>,
    /// SHA-256 of the content that you have read, in hex, as a precondition.
    expected_hash: Option<String>,
    /// Whether the file is executable; by default unchanged.
    executable: Option<bool>,
    /// A short reason for the change, which its history shows.
    message: Option<String>,
}

/// `write_file`.
pub async fn write_file(call: Call, arguments: WriteFile) -> Result<Answer> {
    let path = FilePath::parse(&arguments.path, "path")?;
    let content = match (arguments.content, arguments.content_base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(bytes)) => BASE64_STANDARD
            .decode(bytes)
            .map_err(|_| Error::bad_input("contentBase64", "This is not Base64 (RFC 4648, section 4)."))?,
        _ => return Err(Error::bad_input("content", "Give `content` or `contentBase64`.")),
    };
    let max = call.services.limits.max_file_bytes;
    if content.len() > max {
        let size = content.len();
        return Err(Error::too_large("content", format!("`content` has {size} bytes; --max-file-bytes allows {max}.")));
    }
    let expected_hash = arguments.expected_hash.map(|hash| parse_hash(&hash)).transpose()?;
    let mode = arguments.executable.map(|is| if is { FileMode::Executable } else { FileMode::File });
    let project = writable(&call, &arguments.project_id).await?;
    let tx = call.tx().await?;
    let present = entry(&tx, project.id, &path, None).await?;
    drop(tx);
    let present = match present {
        Some(Entry::File(file)) if file.file_type == FileType::File => Some(file),
        Some(_) => return Err(Error::bad_input("path", "This is a folder.")),
        None => None,
    };
    let replaced = check_precondition(&path, present.as_ref(), arguments.expected_version, expected_hash)?;
    let hash = Hash::from(Sha256::digest(&content));
    if let Some(file) =
        present.as_ref().filter(|file| file.hash == Some(hash) && mode.is_none_or(|mode| mode == file.mode))
    {
        return unchanged(file, project.revision);
    }
    check_link(present.as_ref(), mode, &content)?;
    if present.is_none() {
        check_place(&call, &project, &path, "path").await?;
    }
    let what = format!("{} {}", if present.is_some() { "Write" } else { "Create" }, path.as_str());
    let added = add_message(&call, project.id, "write_file", message(arguments.message, &what), false).await?;
    let context = context(&added);
    let done = match replaced {
        Some(version) => {
            let named = Named { project_id: project.id, path, expected_version: Some(version) };
            call.write(|writer| file::update(writer, named, Some(content), mode, context)).await
        }
        None => {
            let content = Some(content);
            let new =
                NewFile { project_id: project.id, path, file_type: FileType::File, content, mode, language: None };
            call.write(|writer| file::create(writer, new, context)).await
        }
    };
    Written::answer(&what, &done?, &added)
}

/// Checks the target of a symbolic link. A write without `executable` keeps a symbolic link a link.
fn check_link(present: Option<&File>, mode: Option<FileMode>, content: &[u8]) -> Result<()> {
    let is_link = mode.is_none() && present.is_some_and(|file| file.mode == FileMode::Symlink);
    if is_link && !is_link_target(content) {
        return Err(Error::bad_input("content", NO_LINK_TARGET));
    }
    Ok(())
}

fn parse_hash(text: &str) -> Result<Hash> {
    let bytes = hex::decode(text).ok().and_then(|bytes| Hash::try_from(bytes).ok());
    bytes.ok_or_else(|| Error::bad_input("expectedHash", "This is not a SHA-256 in hex: 64 digits."))
}

/// Checks the preconditions of a write. Returns the version to replace; `None` if the file is to be created.
fn check_precondition(
    path: &FilePath,
    present: Option<&File>,
    version: Option<i32>,
    hash: Option<Hash>,
) -> Result<Option<i32>> {
    let Some(file) = present else {
        if version.is_none_or(|version| version == 0) && hash.is_none() {
            return Ok(None);
        }
        let message = format!("There is no file at {:?}: it was moved or deleted.", path.as_str());
        let field = if version.is_some() { "expectedVersion" } else { "expectedHash" };
        return Err(Error::conflict(field, message));
    };
    let conflict = |field, message| {
        Err(Error::Conflict(Box::new(Conflict {
            message,
            field: Some(field),
            current_version: Some(file.number()),
            current_hash: file.hash.map(hex::encode),
            ..Conflict::default()
        })))
    };
    let (path, number) = (path.as_str(), file.number());
    if version.is_none() && hash.is_none() {
        let message =
            format!("A file exists at {path:?}: read it, and pass its version as `expectedVersion` to replace it.");
        return conflict("expectedVersion", message);
    }
    if let Some(version) = version.filter(|version| *version != number) {
        return conflict("expectedVersion", format!("{path:?} is at version {number}, not {version}."));
    }
    if hash.is_some_and(|hash| file.hash != Some(hash)) {
        return conflict("expectedHash", format!("The content of {path:?} has another hash."));
    }
    Ok(Some(number))
}

fn unchanged(file: &File, revision: i32) -> Result<Answer> {
    let written = Written {
        path: file.path.as_str().to_owned(),
        version: Some(file.number()),
        hash: file.hash.map(hex::encode),
        has_changed: false,
        changed_files: 0,
        revision,
        message_id: None,
    };
    Answer::new(format!("{} has this content already.", written.path), &written)
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rename {
    /// The id of the project.
    project_id: String,
    /// The present path of the file or folder.
    path: String,
    /// The new path.
    new_path: String,
    /// The version that you have read, as a precondition.
    expected_version: Option<i32>,
    /// A short reason for the change, which its history shows.
    message: Option<String>,
}

/// `rename`.
pub async fn rename(call: Call, arguments: Rename) -> Result<Answer> {
    let path = FilePath::parse(&arguments.path, "path")?;
    let new_path = FilePath::parse(&arguments.new_path, "newPath")?;
    let project = writable(&call, &arguments.project_id).await?;
    let what = format!("Rename {} to {}", path.as_str(), new_path.as_str());
    let named = Named { project_id: project.id, path, expected_version: arguments.expected_version };
    let (checked, to) = (named.clone(), new_path.clone());
    let planned = call.write(|writer| file::rename(writer.only_checking(), checked, to, Context::default())).await?;
    if planned.changes.is_empty() {
        return Err(Error::bad_input("newPath", "This is the present path."));
    }
    let added = add_message(&call, project.id, "rename", message(arguments.message, &what), false).await?;
    let context = context(&added);
    let done = call.write(|writer| file::rename(writer, named, new_path, context)).await?;
    Written::answer(&what, &done, &added)
}

/// Checks that a new path is not below a file.
async fn check_place(call: &Call, project: &Project, path: &FilePath, field: &'static str) -> Result<()> {
    let tx = call.tx().await?;
    let member = access::required(&tx, project.id).await?;
    let folders: Vec<_> = path.ancestors().map(|folder| (member, folder)).collect();
    let found = if folders.is_empty() { Vec::new() } else { file::by_paths(&tx, None, &folders).await? };
    match found.iter().find(|file| file.file_type == FileType::File) {
        Some(file) => {
            let (above, path) = (file.path.as_str(), path.as_str());
            Err(Error::conflict(field, format!("{above:?} is a file, so nothing can be below it: {path:?}.")))
        }
        None => Ok(()),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delete {
    /// The id of the project.
    project_id: String,
    /// The path of the file or folder.
    path: String,
    /// The version that you have read, as a precondition.
    expected_version: Option<i32>,
    /// A short reason for the change, which its history shows.
    message: Option<String>,
}

/// `delete`.
pub async fn delete(call: Call, arguments: Delete) -> Result<Answer> {
    let path = FilePath::parse(&arguments.path, "path")?;
    let project = writable(&call, &arguments.project_id).await?;
    let what = format!("Delete {}", path.as_str());
    let named = Named { project_id: project.id, path, expected_version: arguments.expected_version };
    let checked = named.clone();
    call.write(|writer| file::delete(writer.only_checking(), checked, Context::default())).await?;
    let added = add_message(&call, project.id, "delete", message(arguments.message, &what), false).await?;
    let context = context(&added);
    let done = call.write(|writer| file::delete(writer, named, context)).await?;
    Written::answer(&what, &done, &added)
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewCheckpoint {
    /// The id of the project.
    project_id: String,
    /// What the state is, or what was done.
    message: String,
}

/// A checkpoint that was made.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The message of the checkpoint, for `restore`.
    message_id: String,
    /// The snapshot of the files, for `restore`.
    snapshot_id: Option<String>,
    revision: i32,
    file_count: Option<i32>,
    /// SHA-256 over the paths and hashes of the files.
    manifest_sha256: Option<String>,
}

/// `checkpoint`.
pub async fn checkpoint(call: Call, arguments: NewCheckpoint) -> Result<Answer> {
    if arguments.message.trim().is_empty() {
        return Err(Error::bad_input("message", "Describe the state, or what was done."));
    }
    let project = writable(&call, &arguments.project_id).await?;
    let added = add_message(&call, project.id, "checkpoint", arguments.message, true).await?;
    let snapshot = added.snapshot.as_ref();
    let made = Checkpoint {
        message_id: added.message.id.0.to_string(),
        snapshot_id: snapshot.map(|snapshot| snapshot.id.0.to_string()),
        revision: added.revision,
        file_count: snapshot.map(|snapshot| snapshot.file_count),
        manifest_sha256: snapshot.map(|snapshot| hex::encode(snapshot.manifest)),
    };
    Answer::new(format!("Checkpoint: revision {}, message {}.", made.revision, made.message_id), &made)
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreState {
    /// The id of the project.
    project_id: String,
    /// The revision to restore. Give this, `snapshotId` or `messageId`.
    revision: Option<i32>,
    /// The snapshot to restore.
    snapshot_id: Option<String>,
    /// The message whose state is restored.
    message_id: Option<String>,
    /// Only these paths and everything below them; by default all files.
    paths: Option<Vec<String>>,
    /// The revision that you have seen, as a precondition: if files have changed since, nothing is written.
    expected_revision: Option<i32>,
    /// A short reason for the restore, which the history shows.
    message: Option<String>,
}

/// The result of a restore or an undo.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The revision that the write made, or the present one if nothing changed.
    revision: i32,
    /// The paths of the changed files.
    changed_paths: Vec<String>,
    file_count: i32,
    /// SHA-256 over the paths and hashes of the files.
    manifest_sha256: Option<String>,
    /// The snapshot of the state before a restore.
    backup_snapshot_id: Option<String>,
    /// The message of the write, for `undo`.
    message_id: Option<String>,
}

impl Restored {
    fn answer(what: &str, done: &snapshot::Restored, added: &Added) -> Result<Answer> {
        let changed = done.changes.iter().map(|Changed { change, .. }| change.path.as_str().to_owned());
        let restored = Self {
            revision: done.revision,
            changed_paths: changed.collect(),
            file_count: done.file_count,
            manifest_sha256: Some(hex::encode(done.manifest)),
            backup_snapshot_id: done.backup.as_ref().map(|backup| backup.id.0.to_string()),
            message_id: Some(added.message.id.0.to_string()),
        };
        let paths: String = restored.changed_paths.iter().map(|path| format!("\n{path}")).collect();
        Answer::new(format!("{what}: revision {}. Changed files:{paths}", restored.revision), &restored)
    }
}

/// `restore`.
pub async fn restore(call: Call, arguments: RestoreState) -> Result<Answer> {
    let paths = parse_paths(arguments.paths)?;
    let project = writable(&call, &arguments.project_id).await?;
    let (revision, snapshot, message_id) = (arguments.revision, arguments.snapshot_id, arguments.message_id);
    let to = versions::moment(&call, &project, revision, snapshot, message_id).await?;
    let restore = snapshot::Restore {
        goal: Goal::Revision(project.id, to),
        scope: Scope::Files,
        paths,
        session_id: None,
        expected_revision: arguments.expected_revision,
    };
    let checked = restore.clone();
    if !call.write(|writer| snapshot::check(writer, checked)).await? {
        let unchanged = Restored {
            revision: project.revision,
            changed_paths: Vec::new(),
            file_count: project.file_count,
            manifest_sha256: None,
            backup_snapshot_id: None,
            message_id: None,
        };
        return Answer::new(format!("The files are those of revision {to} already."), &unchanged);
    }
    let what = format!("Restore revision {to}");
    let added = add_message(&call, project.id, "restore", message(arguments.message, &what), false).await?;
    let context = context(&added);
    let done = call.write(|writer| snapshot::restore(writer, restore, context)).await?;
    Restored::answer(&what, &done, &added)
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UndoWrite {
    /// The id of the project.
    project_id: String,
    /// The revision to undo; without it and `messageId`, the newest change that is not undone.
    revision: Option<i32>,
    /// The message for which everything is undone that was written, instead of `revision`.
    message_id: Option<String>,
    /// The revision that you have seen, as a precondition: if files have changed since, nothing is written.
    expected_revision: Option<i32>,
    /// A short reason for the undo, which the history shows.
    message: Option<String>,
}

/// `undo`.
pub async fn undo(call: Call, arguments: UndoWrite) -> Result<Answer> {
    let message_id = arguments.message_id.map(|id| MessageId::parse(&id, "messageId")).transpose()?;
    let taken = match (arguments.revision, message_id) {
        (revision, Some(message)) => UndoTarget::Message(message, revision),
        (Some(revision), None) => UndoTarget::Revision(revision),
        (None, None) => UndoTarget::Newest,
    };
    let project = writable(&call, &arguments.project_id).await?;
    let (id, expected) = (project.id, arguments.expected_revision);
    let mut revisions = call.write(|writer| undo::check(writer, id, taken, expected)).await?;
    revisions.sort_unstable();
    let revisions: Vec<String> = revisions.iter().map(ToString::to_string).collect();
    let what = match revisions.as_slice() {
        [one] => format!("Undo revision {one}"),
        several => format!("Undo revisions {}", several.join(", ")),
    };
    let added = add_message(&call, id, "undo", message(arguments.message, &what), false).await?;
    let context = context(&added);
    let done = call.write(|writer| undo::undo(writer, id, taken, expected, context)).await?;
    Restored::answer(&what, &done, &added)
}
