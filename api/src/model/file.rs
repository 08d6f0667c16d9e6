//! Files, their versions, and the changes between them.

use chrono::{DateTime, Utc};

use super::ids::{CodeChangeId, FileId, FileSnapshotId, MessageId, ProjectId, SessionId, UserId};
use super::names::{ChangeType, FileType};
use super::path::FilePath;

/// SHA-256 of a file's bytes.
pub type Hash = [u8; 32];

/// What a file is to a file system, besides its contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FileMode {
    /// A plain file.
    #[default]
    File,
    /// A file that can be run.
    Executable,
    /// A symbolic link; the contents are the path to which it leads.
    Symlink,
}

impl FileMode {
    /// The number that the database keeps.
    pub fn stored(self) -> i16 {
        match self {
            Self::File => 0,
            Self::Executable => 1,
            Self::Symlink => 2,
        }
    }

    /// The mode with a number that the database kept; `None` for a number that is not one of ours.
    pub fn from_stored(number: i16) -> Option<Self> {
        [Self::File, Self::Executable, Self::Symlink].into_iter().find(|mode| mode.stored() == number)
    }

    /// The mode as git writes it.
    pub fn as_git(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
        }
    }

    /// The mode that git means; what git takes for a file counts as one.
    pub fn from_git(text: &str) -> Self {
        match text {
            "100755" => Self::Executable,
            "120000" => Self::Symlink,
            _ => Self::File,
        }
    }
}

/// A file at one moment: now, or as of a revision.
#[derive(Clone, Debug)]
pub struct File {
    /// Its identity, the same under every path it ever had.
    pub id: FileId,
    /// Its project.
    pub project_id: ProjectId,
    /// Where it is.
    pub path: FilePath,
    /// File or folder.
    pub file_type: FileType,
    /// Its language, as editors name it.
    pub language: Option<String>,
    /// Size of its contents.
    pub size_bytes: i32,
    /// How many versions it had at that moment.
    pub version: i32,
    /// Hash of its contents; `None` for a folder and for a deleted file.
    pub hash: Option<Hash>,
    /// What it is to a file system.
    pub mode: FileMode,
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// When it was first made.
    pub created_at: DateTime<Utc>,
    /// When this version was made.
    pub updated_at: DateTime<Utc>,
}

/// A folder that nobody made: it is there because something is below it, and goes with the last of that.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Its project.
    pub project_id: ProjectId,
    /// Where it is.
    pub path: FilePath,
    /// Whether it has just gone.
    pub is_deleted: bool,
    /// When the oldest of what is below it was made.
    pub created_at: DateTime<Utc>,
    /// When something below it last changed.
    pub updated_at: DateTime<Utc>,
}

/// What is at a path: a file or a folder with a row and versions of its own, or a folder without.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A file, or a folder that was made.
    File(File),
    /// A folder that is there because something is below it.
    Folder(Folder),
}

impl Entry {
    /// What has a row.
    pub fn file(&self) -> Option<&File> {
        match self {
            Self::File(file) => Some(file),
            Self::Folder(_) => None,
        }
    }

    /// Its project.
    pub fn project_id(&self) -> ProjectId {
        match self {
            Self::File(file) => file.project_id,
            Self::Folder(folder) => folder.project_id,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &FilePath {
        match self {
            Self::File(file) => &file.path,
            Self::Folder(folder) => &folder.path,
        }
    }

    /// Hash of its contents.
    pub fn hash(&self) -> Option<Hash> {
        self.file().and_then(|file| file.hash)
    }

    /// How many versions it had; a folder without a row has none.
    pub fn version(&self) -> i32 {
        self.file().map_or(0, |file| file.version)
    }
}

/// One version of one file, which is also the change that made it.
#[derive(Clone, Debug)]
pub struct FileSnapshot {
    /// The version's id.
    pub id: FileSnapshotId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its file.
    pub file_id: FileId,
    /// The revision that made it.
    pub revision: i32,
    /// Its number, from 1.
    pub version: i32,
    /// The version of the file that it is compared with; 0 without one. The one before it, or where a list shows saves as one,
    /// the one before the first of them.
    pub follows: i32,
    /// Where the file was.
    pub path: FilePath,
    /// What the change did.
    pub change_type: ChangeType,
    /// Lines the change added.
    pub additions: i32,
    /// Lines the change removed.
    pub deletions: i32,
    /// Hash of the contents; `None` for a folder and a deletion.
    pub hash: Option<Hash>,
    /// Size of the contents, in bytes.
    pub size_bytes: i32,
    /// What the file was to a file system.
    pub mode: FileMode,
    /// The version of the file whose lines this one brings back.
    pub restores: Option<i32>,
    /// Why, in the writer's words.
    pub change_description: Option<String>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Who.
    pub created_by: Option<UserId>,
    /// In which session.
    pub session_id: Option<SessionId>,
    /// For which message.
    pub message_id: Option<MessageId>,
}

impl FileSnapshot {
    /// The id of the change that made this version.
    pub fn change_id(&self) -> CodeChangeId {
        self.id.into()
    }

    /// How many saves it stands for.
    pub fn saves(&self) -> i32 {
        self.version - self.follows
    }
}

/// Which changes a list keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChangeFilter {
    /// Made in this session.
    pub session_id: Option<SessionId>,
    /// Made for this message.
    pub message_id: Option<MessageId>,
    /// Of this file.
    pub file_id: Option<FileId>,
    /// Of what was in this folder of a project after the change.
    pub folder: Option<(ProjectId, FilePath)>,
    /// Of the file that was at this path after the change.
    pub path: Option<FilePath>,
    /// Of this kind.
    pub change_type: Option<ChangeType>,
    /// Made at or before this revision.
    pub until: Option<i32>,
    /// Of saves so many seconds apart at most the last alone; 0 keeps every one.
    pub join_saves_seconds: u32,
}

/// The files of a project at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilesOf {
    /// The project.
    pub project: ProjectId,
    /// As of this revision; now without one.
    pub at: Option<i32>,
}

/// Which files a list keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileFilter {
    /// Below this folder, and the folder itself.
    pub under: Option<FilePath>,
    /// The deleted ones too.
    pub include_deleted: bool,
}
