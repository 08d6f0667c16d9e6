//! Closed sets of words, with the spelling that the database keeps.

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The word as the database keeps it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value of a word that the database kept; `None` where it is not one of ours.
            pub fn from_stored(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    )+};
}

impl EventKind {
    /// What a revision must be to be taken back.
    pub const UNDOABLE: [Self; 3] = [Self::FilesChanged, Self::ProjectRestored, Self::ProjectUpdated];
}

names! {
    /// What has become of a project.
    ProjectStatus {
        /// In use.
        Active = "active",
        /// Put away; still readable and writable.
        Archived = "archived",
        /// Deleted; its owner can bring it back.
        Deleted = "deleted",
    }
    /// What a member may do in a project.
    ProjectRole {
        /// Everything.
        Owner = "owner",
        /// Reads and writes.
        Editor = "editor",
        /// Reads.
        Viewer = "viewer",
    }
    /// Whose voice a message has.
    MessageRole {
        /// The person.
        User = "user",
        /// The AI.
        Assistant = "assistant",
        /// The service around them.
        System = "system",
    }
    /// A file with contents, or a folder.
    FileType {
        /// Has contents.
        File = "file",
        /// Has none.
        Folder = "folder",
    }
    /// What a change did to a file.
    ChangeType {
        /// The file is new, or back after its deletion.
        Create = "create",
        /// Its contents changed.
        Update = "update",
        /// It is gone.
        Delete = "delete",
        /// It has another path; its contents may have changed as well.
        Rename = "rename",
    }
    /// What a revision of a project was.
    EventKind {
        /// Revision 1.
        ProjectCreated = "PROJECT_CREATED",
        /// Name, description, prompt, configuration or status changed.
        ProjectUpdated = "PROJECT_UPDATED",
        /// A session began (and the author's former one ended).
        SessionStarted = "SESSION_STARTED",
        /// A session ended.
        SessionEnded = "SESSION_ENDED",
        /// A message was added.
        MessageAdded = "MESSAGE_ADDED",
        /// Files were created, changed, renamed or deleted.
        FilesChanged = "FILES_CHANGED",
        /// Somebody named the present state.
        SnapshotCreated = "SNAPSHOT_CREATED",
        /// Somebody changed the name or the description of a snapshot.
        SnapshotUpdated = "SNAPSHOT_UPDATED",
        /// Somebody deleted a snapshot.
        SnapshotDeleted = "SNAPSHOT_DELETED",
        /// The files were made equal to those of an earlier revision.
        ProjectRestored = "PROJECT_RESTORED",
        /// Somebody was invited, joined, left or has another role.
        CollaboratorsChanged = "COLLABORATORS_CHANGED",
        /// An agent configuration was saved.
        AgentConfigurationChanged = "AGENT_CONFIGURATION_CHANGED",
    }
}
