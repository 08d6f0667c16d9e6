//! Ids: one type a noun, parsed once at the door, so that they cannot be mixed up.

use uuid::Uuid;

use super::error::{Error, Result};
use super::path::FilePath;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Reads the id of something that is written to, or that has no past of its own.
            ///
            /// # Errors
            /// `BadInput` naming `field` if the text is not a UUID; of an id as of a revision it names the plain one.
            pub fn parse(text: &str, field: &str) -> Result<Self> {
                Ok(Self(parse_uuid(text, field)?))
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    )+};
}

ids! {
    /// A user: the `sub` of their token.
    UserId,
    /// A project.
    ProjectId,
    /// A chat session.
    SessionId,
    /// A chat message.
    MessageId,
    /// A file's identity, the same under every path it ever had.
    FileId,
    /// One version of one file.
    FileSnapshotId,
    /// The step that made one version of one file.
    CodeChangeId,
    /// A named revision of a project.
    ProjectSnapshotId,
    /// An agent configuration.
    AgentConfigurationId,
}

/// Something in a project, by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Within<I> {
    /// The project.
    pub project: ProjectId,
    /// The id.
    pub id: I,
}

/// Something as a reader names it: as it is now, or as of a revision. What is read as of a revision has an id of its own, so
/// that no client's cache takes the past for the present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadId<I> {
    /// The thing.
    pub id: I,
    /// The revision as of which it is read; `None` is now.
    pub at: Option<i32>,
}

impl<I: From<Uuid>> ReadId<I> {
    /// Reads an id as [`ReadId`] is written.
    ///
    /// # Errors
    /// `BadInput` naming `field` for any other text.
    pub fn parse(text: &str, field: &str) -> Result<Self> {
        let (plain, at) = split_revision(text).map_or((text, None), |(plain, at)| (plain, Some(at)));
        Ok(Self { id: parse_uuid(plain, field)?.into(), at })
    }
}

impl<I: Copy + Into<Uuid>> std::fmt::Display for ReadId<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.id.into())?;
        self.at.map_or(Ok(()), |at| write!(f, "@{at}"))
    }
}

/// Splits `<id>@<revision>`. A revision has one spelling, so that nothing has two ids.
fn split_revision(text: &str) -> Option<(&str, i32)> {
    let (plain, number) = text.rsplit_once('@')?;
    let at: i32 = number.parse().ok()?;
    (at >= 0 && at.to_string() == number).then_some((plain, at))
}

/// A folder that is there because something is below it has no row, and so no UUID: its id is its project's, a slash, and
/// its path; as of a revision, the revision follows the project's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderId {
    /// The project, with the revision as of which the folder is read.
    pub project: ReadId<ProjectId>,
    /// Where the folder is.
    pub path: FilePath,
}

impl FolderId {
    /// Reads an id as [`FolderId`] is written; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (project, rest) = text.split_once('/')?;
        let id = Self { project: ReadId::parse(project, "id").ok()?, path: FilePath::parse(rest, "id").ok()? };
        (id.path.as_str() == rest).then_some(id)
    }
}

impl std::fmt::Display for FolderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.project, self.path)
    }
}

/// Reads a UUID as clients send it: hyphenated, either case.
///
/// # Errors
/// `BadInput` naming `field` where the text is anything else.
pub fn parse_uuid(text: &str, field: &str) -> Result<Uuid> {
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == uuid::fmt::Hyphenated::LENGTH => Ok(id),
        _ if let Some((plain, at)) = split_revision(text)
            && parse_uuid(plain, field).is_ok() =>
        {
            let message = format!(
                "This id names something as it was at revision {at}, which nothing can change. The id of what it is now is `{plain}`."
            );
            Err(Error::bad_input(field, message))
        }
        _ => Err(not_an_id(field)),
    }
}

/// The error for a text that is no id of what is asked for.
pub fn not_an_id(field: &str) -> Error {
    Error::bad_input(field, "This is not an id as the API gives them out.")
}

/// A code change is the step that made a file's version, so it lives in the version's row. Its id is the version's own
/// (a UUID of version 7) with the UUID version set to 8 (RFC 9562, section 5.8: free for an application's use).
impl From<FileSnapshotId> for CodeChangeId {
    fn from(id: FileSnapshotId) -> Self {
        Self(with_version(id.0, 0x80))
    }
}

impl From<CodeChangeId> for FileSnapshotId {
    fn from(id: CodeChangeId) -> Self {
        Self(with_version(id.0, 0x70))
    }
}

impl CodeChangeId {
    /// Whether an id could be a code change's at all: of all ids that the service makes, only theirs are of version 8.
    pub fn is_one(id: Uuid) -> bool {
        id.get_version_num() == 8
    }
}

fn with_version(id: Uuid, version: u8) -> Uuid {
    let mut bytes = id.into_bytes();
    if let Some(byte) = bytes.get_mut(6) {
        *byte = (*byte & 0x0f) | version;
    }
    Uuid::from_bytes(bytes)
}
