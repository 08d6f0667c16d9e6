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
    /// What has become of a project.
    ProjectStatus = names::ProjectStatus {
        /// In use.
        Active,
        /// Put away; still readable and writable.
        Archived,
        /// Deleted; its owner can bring it back.
        Deleted,
    }
    /// What a member may do in a project.
    ProjectRole = names::ProjectRole {
        /// Everything.
        Owner,
        /// Reads and writes.
        Editor,
        /// Reads.
        Viewer,
    }
    /// Whose voice a message has.
    MessageRole = names::MessageRole {
        /// The person.
        User,
        /// The AI.
        Assistant,
        /// The service around them.
        System,
    }
    /// A file with contents, or a folder.
    FileType = names::FileType {
        /// Has contents.
        File,
        /// Has none.
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
        /// Its contents changed.
        Update,
        /// It is gone.
        Delete,
        /// It has another path; its contents may have changed as well.
        Rename,
    }
    /// What a revision of a project was.
    EventKind = names::EventKind {
        /// The project was made: always revision 1.
        ProjectCreated,
        /// Name, description, prompt, configuration or status changed.
        ProjectUpdated,
        /// A session began; its author's former one ended with it.
        SessionStarted,
        /// A session ended.
        SessionEnded,
        /// A message was added; a checkpoint's snapshot with it.
        MessageAdded,
        /// Files were created, changed, renamed or deleted.
        FilesChanged,
        /// Somebody named the present state.
        SnapshotCreated,
        /// The files were made equal to those of an earlier revision; `snapshot` is the state before.
        ProjectRestored,
        /// Somebody was invited, joined, left or has another role.
        CollaboratorsChanged,
        /// An agent configuration was saved.
        AgentConfigurationChanged,
    }
    /// What a list of projects is sorted by.
    ProjectOrderField = project::ProjectOrderField {
        /// The name, by its characters' codes.
        Name,
        /// When it was made.
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

/// What has become of a message that was begun.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// It is being written.
    Growing,
    /// It is not finished, and nothing was appended for some time.
    Interrupted,
    /// It is a message of the session.
    Finished,
    /// Nothing came of it.
    Discarded,
}

/// What a sync does with files that it does not name.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// They stay.
    Merge,
    /// They go.
    Mirror,
}
