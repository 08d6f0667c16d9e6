//! Ids: one type per kind of object, parsed once at the API boundary, so that they cannot be confused.

use uuid::Uuid;

use super::error::{Error, Result};
use super::path::FilePath;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Parses the id of an object, without a revision.
            ///
            /// # Errors
            /// `BadInput` with `field` if the text is not a UUID. If it is an id with a revision, the message contains
            /// the id without it.
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
    /// A user: the `sub` of the token.
    UserId,
    /// A project.
    ProjectId,
    /// A chat session.
    SessionId,
    /// A chat message.
    MessageId,
    /// A file, which keeps its id when it is renamed.
    FileId,
    /// A version of a file.
    FileSnapshotId,
    /// The change that created a version of a file.
    CodeChangeId,
    /// A named revision of a project.
    ProjectSnapshotId,
    /// An agent configuration.
    AgentConfigurationId,
    /// An access token.
    AccessTokenId,
}

/// An object in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Within<I> {
    /// The project.
    pub project: ProjectId,
    /// The id.
    pub id: I,
}

/// An id for reading, now or as of a revision. An object as of a revision has its own id, so that a client's cache does
/// not confuse it with the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadId<I> {
    /// The object.
    pub id: I,
    /// The revision to read at; `None` is the current one.
    pub at: Option<i32>,
}

impl<I: From<Uuid>> ReadId<I> {
    /// Parses the format that `Display` writes.
    ///
    /// # Errors
    /// `BadInput` with `field` for any other text.
    pub fn parse(text: &str, field: &str) -> Result<Self> {
        match split_revision(text) {
            // For a text with two revisions, the error of `parse_uuid` would advise to remove only the second one.
            Some((plain, at)) => {
                let id = parse_uuid(plain, field).map_err(|_| not_an_id(field))?;
                Ok(Self { id: id.into(), at: Some(at) })
            }
            None => Ok(Self { id: parse_uuid(text, field)?.into(), at: None }),
        }
    }
}

impl<I: Copy + Into<Uuid>> std::fmt::Display for ReadId<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.id.into())?;
        self.at.map_or(Ok(()), |at| write!(f, "@{at}"))
    }
}

/// Splits `<id>@<revision>`. Accepts only one spelling of a revision, so that no object has two ids.
fn split_revision(text: &str) -> Option<(&str, i32)> {
    let (plain, number) = text.rsplit_once('@')?;
    let at: i32 = number.parse().ok()?;
    (at >= 0 && at.to_string() == number).then_some((plain, at))
}

/// The id of an implicit folder, which has no row and therefore no UUID: the project's id, a slash, and the path. The
/// project's id can contain a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderId {
    /// The project, with the revision to read at.
    pub project: ReadId<ProjectId>,
    /// The path of the folder.
    pub path: FilePath,
}

impl FolderId {
    /// Parses the format that `Display` writes; `None` for any other text.
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

/// Parses a UUID as clients send it: with hyphens, in upper or lower case.
///
/// # Errors
/// `BadInput` with `field` for any other text.
pub fn parse_uuid(text: &str, field: &str) -> Result<Uuid> {
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == uuid::fmt::Hyphenated::LENGTH => Ok(id),
        _ if let Some((plain, at)) = split_revision(text)
            && parse_uuid(plain, field).is_ok() =>
        {
            let message = format!(
                "This id refers to revision {at}, which cannot be changed. The id of the current object is `{plain}`."
            );
            Err(Error::bad_input(field, message))
        }
        _ => Err(not_an_id(field)),
    }
}

/// The error for a text that is not an id of the expected kind.
pub fn not_an_id(field: &str) -> Error {
    Error::bad_input(field, "This is not an id of this API.")
}

/// A code change is stored in the row of the file version that it created. Its id is the version's id (a UUID of
/// version 7) with the UUID version set to 8 (RFC 9562, section 5.8: for application use).
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
    /// Whether an id can belong to a code change: only those have UUID version 8.
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
