//! The enums of the API.

use async_graphql::Enum;

use crate::model::{enums, file, insights, project};

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
    /// Whether a project is active, archived or deleted.
    ProjectStatus = enums::ProjectStatus {
        /// The project is in use.
        Active,
        /// The project is archived; members can still read and write it.
        Archived,
        /// The project is deleted: members can read it, no one can change it, and its owner can restore it.
        Deleted,
    }
    /// Role of a member in a project.
    ProjectRole = enums::ProjectRole {
        /// Can do everything.
        Owner,
        /// Can read and write.
        Editor,
        /// Can read.
        Viewer,
    }
    /// Role of the author of a message.
    MessageRole = enums::MessageRole {
        /// A person.
        User,
        /// The AI assistant.
        Assistant,
        /// The application itself, for example to report an error.
        System,
    }
    /// A file with contents, or a folder.
    FileType = enums::FileType {
        /// It has contents.
        File,
        /// It has no contents of its own.
        Folder,
    }
    /// Mode of a file, as in git.
    FileMode = file::FileMode {
        /// A regular file.
        File,
        /// A regular file that can be executed.
        Executable,
        /// A symbolic link; its contents are the target path.
        Symlink,
    }
    /// What a change did to a file.
    ChangeType = enums::ChangeType {
        /// The file is new, or was restored after its deletion.
        Create,
        /// The contents of the file changed.
        Update,
        /// The file was deleted.
        Delete,
        /// The path changed, and possibly the contents.
        Rename,
    }
    /// Kind of a revision.
    EventKind = enums::EventKind {
        /// The project was created; this is always revision 1.
        ProjectCreated,
        /// Name, description, prompt, configuration or status changed.
        ProjectUpdated,
        /// A session started; the previous session of its author ended.
        SessionStarted,
        /// A user ended a session.
        SessionEnded,
        /// A message was added, with its snapshot if it is a checkpoint.
        MessageAdded,
        /// Files were created, changed, renamed or deleted.
        FilesChanged,
        /// A user named the current state.
        SnapshotCreated,
        /// A user changed the name or the description of a snapshot.
        SnapshotUpdated,
        /// A user deleted a snapshot. Its revision stays.
        SnapshotDeleted,
        /// The files were restored to an earlier revision; `snapshot` is the state before.
        ProjectRestored,
        /// A user was invited, joined, left, or got another role.
        CollaboratorsChanged,
        /// An agent configuration was saved.
        AgentConfigurationChanged,
    }
    /// Status of a delivery to a webhook.
    WebhookDeliveryStatus = enums::DeliveryStatus {
        /// It is sent again, as soon as the webhook is enabled.
        Pending,
        /// The receiver has accepted it.
        Succeeded,
        /// The receiver has not accepted it, and it is not sent again by itself.
        Failed,
    }
    /// Length of the buckets of insights.
    InsightBucket = insights::Bucket {
        /// An hour of the clock in the time zone. If the clock is set back, the hour that it repeats is two buckets. If it
        /// is set by half an hour, as on Lord Howe Island, one bucket of that day has 90 or 30 minutes.
        Hour,
        /// A day of the calendar in the time zone. If the clock changes, it has 23 or 25 hours.
        Day,
        /// A week of the calendar in the time zone, from Monday (ISO 8601).
        Week,
    }
    /// Sort key of a list of projects.
    ProjectOrderField = project::ProjectOrderField {
        /// The name, by code points.
        Name,
        /// When the project was created.
        CreatedAt,
        /// When its name, description, prompt, configuration or status last changed.
        UpdatedAt,
        /// When a member last opened it (`touchProject`).
        LastAccessedAt,
        /// When anything in it last changed.
        LastActivityAt,
    }
}

/// Sort direction.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderDirection {
    /// Smallest or oldest first.
    Asc,
    /// Largest or newest first.
    Desc,
}

/// State of a message that was started by `startMessage`.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// The message is being written.
    Streaming,
    /// The message is not finished, and nothing was appended for some time.
    Stalled,
    /// The message is complete and part of the session.
    Finished,
    /// The message was discarded.
    Discarded,
}

/// How a sync treats files that are not in it.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// Other files are kept.
    Merge,
    /// Other files are deleted.
    Mirror,
}
