//! Files, their versions, and the changes between them.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::enums::{ChangeType, FileType};
use super::ids::{CodeChangeId, FileId, FileSnapshotId, MessageId, ProjectId, SessionId, UserId};
use super::language::set_language;
use super::path::FilePath;

/// SHA-256 of a file's bytes.
pub type Hash = [u8; 32];

/// The file type, as in git.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FileMode {
    /// A regular file.
    #[default]
    File,
    /// An executable file.
    Executable,
    /// A symbolic link; its content is the target path.
    Symlink,
}

impl FileMode {
    /// The number stored in the database.
    pub fn stored(self) -> i16 {
        match self {
            Self::File => 0,
            Self::Executable => 1,
            Self::Symlink => 2,
        }
    }

    /// The mode for a stored number; `None` if it is unknown.
    pub fn from_stored(number: i16) -> Option<Self> {
        [Self::File, Self::Executable, Self::Symlink].into_iter().find(|mode| mode.stored() == number)
    }

    /// The mode in git's notation.
    pub fn as_git(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
        }
    }

    /// The mode for git's notation; other modes count as regular files.
    pub fn from_git(text: &str) -> Self {
        match text {
            "100755" => Self::Executable,
            "120000" => Self::Symlink,
            _ => Self::File,
        }
    }
}

/// Why contents are no target of a symbolic link.
pub const NO_LINK_TARGET: &str =
    "The contents of a symbolic link are the path to which it leads: not empty, and without NUL.";

/// Whether contents can be the target of a symbolic link.
pub fn is_link_target(content: &[u8]) -> bool {
    !content.is_empty() && !content.contains(&0)
}

/// A file, now or as of a revision.
#[derive(Clone, Debug)]
pub struct File {
    /// The id, which stays the same when the file is renamed.
    pub id: FileId,
    /// The project.
    pub project_id: ProjectId,
    /// The path.
    pub path: FilePath,
    /// File or folder.
    pub file_type: FileType,
    /// The language id for editors. It follows the path unless a client set another one, which every path keeps.
    pub language: Option<String>,
    /// Size of the content.
    pub size_bytes: i32,
    /// Number of versions at that time.
    pub version: i32,
    /// The difference between `version` and the number that clients see.
    pub version_offset: i32,
    /// Hash of the content; `None` for a folder and for a deleted file.
    pub hash: Option<Hash>,
    /// The mode.
    pub mode: FileMode,
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When this version was created.
    pub updated_at: DateTime<Utc>,
}

impl File {
    /// The language that a client set; `None` if the language follows the path.
    pub fn set_language(&self) -> Option<&str> {
        set_language(self.language.as_deref(), &self.path)
    }

    /// The number of the version, as clients see it. No two versions at one path have the same number, even if they
    /// belong to two files.
    pub fn number(&self) -> i32 {
        self.version.saturating_add(self.version_offset)
    }
}

/// An implicit folder, which exists only while something is below it.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The project.
    pub project_id: ProjectId,
    /// The path.
    pub path: FilePath,
    /// Whether it has just disappeared.
    pub is_deleted: bool,
    /// When the oldest entry below it was created.
    pub created_at: DateTime<Utc>,
    /// When something below it last changed.
    pub updated_at: DateTime<Utc>,
}

/// The entry at a path: a file or folder with a row and versions, or an implicit folder.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A file or an explicitly created folder.
    File(File),
    /// An implicit folder.
    Folder(Folder),
}

impl Entry {
    /// The file or created folder.
    pub fn file(&self) -> Option<&File> {
        match self {
            Self::File(file) => Some(file),
            Self::Folder(_) => None,
        }
    }

    /// Whether it is a folder, created or not.
    pub fn is_folder(&self) -> bool {
        self.file().is_none_or(|file| file.file_type == FileType::Folder)
    }

    /// The project.
    pub fn project_id(&self) -> ProjectId {
        match self {
            Self::File(file) => file.project_id,
            Self::Folder(folder) => folder.project_id,
        }
    }

    /// The path.
    pub fn path(&self) -> &FilePath {
        match self {
            Self::File(file) => &file.path,
            Self::Folder(folder) => &folder.path,
        }
    }

    /// Hash of the content.
    pub fn hash(&self) -> Option<Hash> {
        self.file().and_then(|file| file.hash)
    }

    /// The number of the newest version; 0 for an implicit folder.
    pub fn number(&self) -> i32 {
        self.file().map_or(0, File::number)
    }
}

/// A version of a file, which is also the change that created it.
#[derive(Clone, Debug)]
pub struct FileSnapshot {
    /// The id of the version.
    pub id: FileSnapshotId,
    /// The project.
    pub project_id: ProjectId,
    /// The file.
    pub file_id: FileId,
    /// The revision that created it.
    pub revision: i32,
    /// Number of versions of the file up to this one.
    pub version: i32,
    /// The difference between `version` and the number that clients see.
    pub version_offset: i32,
    /// The base version for comparison, or 0: the previous version, or with coalesced autosaves the version before the
    /// first of them.
    pub follows: i32,
    /// The path of the file.
    pub path: FilePath,
    /// The kind of change.
    pub change_type: ChangeType,
    /// Number of added lines.
    pub additions: i32,
    /// Number of removed lines.
    pub deletions: i32,
    /// Hash of the content; `None` for a folder and a deletion.
    pub hash: Option<Hash>,
    /// Size of the content, in bytes.
    pub size_bytes: i32,
    /// The mode of the file.
    pub mode: FileMode,
    /// The version whose lines this one restores.
    pub restores: Option<i32>,
    /// The writer's description of the change.
    pub change_description: ChangeDescription,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// The user who created it.
    pub created_by: Option<UserId>,
    /// The session it was created in.
    pub session_id: Option<SessionId>,
    /// The message it was created for.
    pub message_id: Option<MessageId>,
}

impl FileSnapshot {
    /// The number of the version, as [`File::number`].
    pub fn number(&self) -> i32 {
        self.version.saturating_add(self.version_offset)
    }

    /// The id of the change that made this version.
    pub fn change_id(&self) -> CodeChangeId {
        self.id.into()
    }

    /// Number of versions that this entry stands for; more than 1 for coalesced autosaves.
    pub fn saves(&self) -> i32 {
        self.version - self.follows
    }

    /// The same version as the last of so many; `None` if there were not so many.
    pub fn of_saves(self, count: i32) -> Option<Self> {
        let follows = self.version.checked_sub(count).filter(|follows| *follows >= 0)?;
        Some(Self { follows, ..self })
    }
}

/// The writer's description of a change.
#[derive(Clone, Debug)]
pub enum ChangeDescription {
    /// There is none.
    None,
    /// There is one, which is not read.
    Unread,
    /// The text.
    Text(Arc<str>),
}

impl ChangeDescription {
    /// The text, if it is read.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::None | Self::Unread => None,
            Self::Text(text) => Some(text),
        }
    }
}

/// Filter for changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChangeFilter {
    /// Made in this session.
    pub session_id: Option<SessionId>,
    /// Made for this message.
    pub message_id: Option<MessageId>,
    /// Of this file.
    pub file_id: Option<FileId>,
    /// Of files that were in this folder of a project after the change.
    pub folder: Option<(ProjectId, FilePath)>,
    /// Of the file that was at this path after the change.
    pub path: Option<FilePath>,
    /// Of this kind.
    pub change_type: Option<ChangeType>,
    /// Made at or before this revision.
    pub until: Option<i32>,
    /// Return only the last of consecutive autosaves that are at most this many seconds apart; 0 returns all.
    pub autosave_coalesce_seconds: u32,
}

/// The files of a project at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilesOf {
    /// The project.
    pub project: ProjectId,
    /// The revision; `None` is the current one.
    pub at: Option<i32>,
}

/// Filter for files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileFilter {
    /// This folder and everything below it.
    pub under: Option<FilePath>,
    /// Include deleted files.
    pub include_deleted: bool,
}
