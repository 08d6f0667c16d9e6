//! The enums of the API.

use async_graphql::Enum;

use crate::model::{file, names, project};

macro_rules! enums {
    ($($(#[$doc:meta])* $name:ident = $model:path { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl From<$model> for $name {
            fn from(value: $model) -> Self {
                match value { $(<$model>::$variant => Self::$variant),+ }
            }
        }

        impl From<$name> for $model {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => <$model>::$variant),+ }
            }
        }
    )+};
}

enums! {
    /// Whether a project is in use.
    ProjectStatus = names::ProjectStatus {
        /// It is in use.
        Active,
        /// It is put away; members still read and write it.
        Archived,
        /// It is deleted: members read it, nobody writes; its owner can bring it back.
        Deleted,
    }
    /// What a member may do in a project.
    ProjectRole = names::ProjectRole {
        /// Can do everything.
        Owner,
        /// Can read and write.
        Editor,
        /// Can read.
        Viewer,
    }
    /// Who speaks in a message.
    MessageRole = names::MessageRole {
        /// A person.
        User,
        /// The AI that the person talks to.
        Assistant,
        /// The service itself, such as an error that it reports.
        System,
    }
    /// A file with contents, or a folder.
    FileType = names::FileType {
        /// It has contents.
        File,
        /// It has no contents of its own.
        Folder,
    }
    /// What a file is to a file system.
    FileMode = file::FileMode {
        /// A plain file.
        File,
        /// A file that can be run.
        Executable,
        /// A symbolic link; its contents are the path to which it leads.
        Symlink,
    }
    /// What a change did to a file.
    ChangeType = names::ChangeType {
        /// The file is new, or back after its deletion.
        Create,
        /// The contents of the file changed.
        Update,
        /// The file is deleted.
        Delete,
        /// It has another path; its contents may have changed as well.
        Rename,
    }
    /// What a revision of a project was.
    EventKind = names::EventKind {
        /// The project was made; it is always revision 1.
        ProjectCreated,
        /// Name, description, prompt, configuration or status changed.
        ProjectUpdated,
        /// A session started; the one that its author had before ended with it.
        SessionStarted,
        /// A conversation came to its end.
        SessionEnded,
        /// A message was added; a checkpoint's snapshot with it.
        MessageAdded,
        /// Files were created, changed, renamed or deleted.
        FilesChanged,
        /// A user gave the present state a name.
        SnapshotCreated,
        /// A user changed the name or the description of a snapshot.
        SnapshotUpdated,
        /// A user deleted a snapshot; the state that it named stays.
        SnapshotDeleted,
        /// The files were made equal to those of an earlier revision; `snapshot` is the state before.
        ProjectRestored,
        /// A user was invited, joined, left or has another role.
        CollaboratorsChanged,
        /// An agent configuration was saved.
        AgentConfigurationChanged,
    }
    /// What a list of projects is sorted by.
    ProjectOrderField = project::ProjectOrderField {
        /// The name, by the code points of its characters.
        Name,
        /// When the project was made.
        CreatedAt,
        /// When its name, description, prompt, configuration or status last changed.
        UpdatedAt,
        /// When a member last opened it (`touchProject`).
        LastAccessedAt,
        /// When anything in it last changed.
        LastActivityAt,
    }
}

/// Which end of a list comes first.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderDirection {
    /// Smallest or oldest first.
    Asc,
    /// Largest or newest first.
    Desc,
}

/// The state of a message that was begun by `startMessage`.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// The message is being written.
    Streaming,
    /// The message is not finished, and nothing was appended for some time.
    Stalled,
    /// The message is one of the session.
    Finished,
    /// The message was dropped.
    Discarded,
}

/// What a sync does with files that it does not name.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// Files that are not given stay.
    Merge,
    /// Files that are not given are deleted.
    Mirror,
}
