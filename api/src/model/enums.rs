//! Enumerations with their representation in the database.

macro_rules! enums {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[expect(missing_docs, reason = "`graphql/enums.rs` describes the values")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($variant),+ }

        impl $name {
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

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
    ProjectStatus { Active = "active", Archived = "archived", Deleted = "deleted" }
    /// Role of a member in a project.
    ProjectRole { Owner = "owner", Editor = "editor", Viewer = "viewer" }
    /// Role of a message's author.
    MessageRole { User = "user", Assistant = "assistant", System = "system" }
    /// A file with content, or a folder.
    FileType { File = "file", Folder = "folder" }
    /// What a change did to a file.
    ChangeType { Create = "create", Update = "update", Delete = "delete", Rename = "rename" }
    /// Kind of a revision.
    EventKind {
        ProjectCreated = "PROJECT_CREATED",
        ProjectUpdated = "PROJECT_UPDATED",
        SessionStarted = "SESSION_STARTED",
        SessionEnded = "SESSION_ENDED",
        MessageAdded = "MESSAGE_ADDED",
        FilesChanged = "FILES_CHANGED",
        SnapshotCreated = "SNAPSHOT_CREATED",
        SnapshotUpdated = "SNAPSHOT_UPDATED",
        SnapshotDeleted = "SNAPSHOT_DELETED",
        ProjectRestored = "PROJECT_RESTORED",
        CollaboratorsChanged = "COLLABORATORS_CHANGED",
        AgentConfigurationChanged = "AGENT_CONFIGURATION_CHANGED",
    }
    /// Status of a delivery to a webhook.
    DeliveryStatus { Pending = "pending", Succeeded = "succeeded", Failed = "failed" }
}
