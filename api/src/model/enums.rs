//! Enumerations with their representation in the database.

macro_rules! enums {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The text stored in the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value for a stored text; `None` if it is unknown.
            pub fn from_stored(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    )+};
}

impl EventKind {
    /// Kinds of revisions that can be undone.
    pub const UNDOABLE: [Self; 3] = [Self::FilesChanged, Self::ProjectRestored, Self::ProjectUpdated];
}

enums! {
    /// Status of a project.
    ProjectStatus {
        /// In use.
        Active = "active",
        /// Archived; still readable and writable.
        Archived = "archived",
        /// Deleted; the owner can restore it.
        Deleted = "deleted",
    }
    /// Role of a collaborator.
    ProjectRole {
        /// Full access.
        Owner = "owner",
        /// Can read and write.
        Editor = "editor",
        /// Can read.
        Viewer = "viewer",
    }
    /// Role of a message's author.
    MessageRole {
        /// The user.
        User = "user",
        /// The AI.
        Assistant = "assistant",
        /// The application.
        System = "system",
    }
    /// File or folder.
    FileType {
        /// Has content.
        File = "file",
        /// Has no content.
        Folder = "folder",
    }
    /// Kind of a change to a file.
    ChangeType {
        /// The file is new, or restored after its deletion.
        Create = "create",
        /// The content changed.
        Update = "update",
        /// The file was deleted.
        Delete = "delete",
        /// The path changed, and possibly the content.
        Rename = "rename",
    }
    /// Kind of a revision.
    EventKind {
        /// Revision 1.
        ProjectCreated = "PROJECT_CREATED",
        /// Name, description, prompt, configuration or status changed.
        ProjectUpdated = "PROJECT_UPDATED",
        /// A session started (and the author's previous one ended).
        SessionStarted = "SESSION_STARTED",
        /// A session ended.
        SessionEnded = "SESSION_ENDED",
        /// A message was added.
        MessageAdded = "MESSAGE_ADDED",
        /// Files were created, changed, renamed or deleted.
        FilesChanged = "FILES_CHANGED",
        /// The current state was named.
        SnapshotCreated = "SNAPSHOT_CREATED",
        /// A user changed the name or the description of a snapshot.
        SnapshotUpdated = "SNAPSHOT_UPDATED",
        /// A user deleted a snapshot.
        SnapshotDeleted = "SNAPSHOT_DELETED",
        /// The files were restored to an earlier revision.
        ProjectRestored = "PROJECT_RESTORED",
        /// Someone was invited, joined, left, or got another role.
        CollaboratorsChanged = "COLLABORATORS_CHANGED",
        /// An agent configuration was saved.
        AgentConfigurationChanged = "AGENT_CONFIGURATION_CHANGED",
    }
}
