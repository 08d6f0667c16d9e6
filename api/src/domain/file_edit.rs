//! Changes of files as values, and the contents that are written for them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::model::diff::{self, Stat};
use crate::model::enums::{ChangeType, FileType};
use crate::model::error::{Error, Result};
use crate::model::file::{FileMode, Hash, NO_LINK_TARGET, is_link_target};
use crate::model::ids::ProjectId;
use crate::model::path::FilePath;
use crate::model::text::shown;
use crate::storage::blob::{BlobId, BlobRef, Chains, NewBlob};
use crate::storage::blob_codec;
use crate::storage::file::FileState;

/// One change of one file.
pub(super) struct Edit {
    /// The file to change, deleted or not; `None` for a new one.
    pub(super) state: Option<FileState>,
    pub(super) change_type: ChangeType,
    /// The path after the edit (for a deletion, before it).
    pub(super) path: FilePath,
    pub(super) file_type: FileType,
    /// `None` keeps a language that a client set, and otherwise guesses it from the path.
    pub(super) language: Option<String>,
    pub(super) content: Content,
    /// `None` keeps the mode; a new file is a plain one.
    pub(super) mode: Option<FileMode>,
    /// The version of the same file whose lines are restored.
    pub(super) restores: Option<i32>,
    /// The highest version number that another file had at the new path.
    pub(super) others: i32,
}

/// The contents of a file after an edit.
#[derive(Clone)]
pub(super) enum Content {
    /// None, for a folder or a deletion.
    None,
    /// The present content.
    Same,
    /// These bytes.
    Bytes(Arc<Vec<u8>>, Hash),
    /// The content of an earlier version.
    Blob(BlobRef),
}

impl Content {
    /// The hash of the bytes, if they are given or stored.
    pub(super) fn hash(&self) -> Option<Hash> {
        match self {
            Self::Bytes(_, hash) => Some(*hash),
            Self::Blob(blob) => Some(blob.hash),
            Self::None | Self::Same => None,
        }
    }

    pub(super) fn bytes(bytes: Vec<u8>) -> Self {
        let hash = Sha256::digest(&bytes).into();
        Self::Bytes(Arc::new(bytes), hash)
    }
}

impl Edit {
    pub(super) fn create(path: FilePath, file_type: FileType, language: Option<String>, content: Content) -> Self {
        let change_type = ChangeType::Create;
        Self { state: None, change_type, path, file_type, language, content, mode: None, restores: None, others: 0 }
    }

    pub(super) fn update(state: FileState, content: Content) -> Self {
        let path = state.file.path.clone();
        Self { change_type: ChangeType::Update, ..Self::rename(state, path, content) }
    }

    pub(super) fn rename(state: FileState, path: FilePath, content: Content) -> Self {
        let file_type = state.file.file_type;
        Self { state: Some(state), change_type: ChangeType::Rename, ..Self::create(path, file_type, None, content) }
    }

    pub(super) fn delete(state: FileState) -> Self {
        Self { change_type: ChangeType::Delete, mode: Some(FileMode::File), ..Self::update(state, Content::None) }
    }

    /// Restores a deleted file to an earlier state.
    pub(super) fn revive(deleted: FileState, earlier: &FileState) -> Self {
        let path = earlier.file.path.clone();
        let edit = Self { change_type: ChangeType::Create, ..Self::rename(deleted, path, Content::of(earlier)) };
        edit.restoring(earlier)
    }
}

impl Edit {
    /// Marks the edit as restoring an earlier version of the file.
    pub(super) fn restoring(self, earlier: &FileState) -> Self {
        Self { mode: Some(earlier.file.mode), restores: Some(earlier.file.version), ..self }
    }

    /// Sets the mode, if one is given.
    pub(super) fn with_mode(self, mode: Option<FileMode>) -> Self {
        Self { mode: mode.or(self.mode), ..self }
    }

    /// The mode after the edit.
    pub(super) fn mode_after(&self) -> FileMode {
        let kept = || self.state.as_ref().filter(|state| !state.file.is_deleted).map(|state| state.file.mode);
        self.mode.or_else(kept).unwrap_or_default()
    }
}

impl Content {
    /// The content of a version.
    pub(super) fn of(version: &FileState) -> Self {
        version.blob.map_or(Self::None, Self::Blob)
    }
}

/// Checks that symbolic links have targets, except in complete versions that are restored.
pub(super) fn check_links(edits: &[Edit], chains: &mut Chains, field: &'static str) -> Result<()> {
    let links = edits.iter().filter(|edit| {
        let is_written = edit.change_type != ChangeType::Delete && edit.restores.is_none();
        is_written && edit.file_type == FileType::File && edit.mode_after() == FileMode::Symlink
    });
    for edit in links {
        let (content, own) = match &edit.content {
            Content::Bytes(bytes, _) => (Some(bytes.clone()), "content"),
            Content::Blob(blob) => (Some(chains.decode(blob.id)?), field),
            Content::Same if edit.becomes_link() => {
                (edit.live_blob().map(|blob| chains.decode(blob.id)).transpose()?, "mode")
            }
            Content::Same | Content::None => continue,
        };
        if !content.is_some_and(|content| is_link_target(&content)) {
            let field = if field == "path" { own } else { field };
            return Err(Error::bad_input(field, format!("{:?}: {NO_LINK_TARGET}", edit.path.as_str())));
        }
    }
    Ok(())
}

/// Edits with the contents to write for them.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) edits: Vec<(Edit, PreparedContent)>,
    pub(super) new_blobs: Vec<NewBlob>,
}

impl Prepared {
    /// Whether nothing changes.
    pub(super) fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }
}

pub(super) struct PreparedContent {
    pub(super) hash: Option<Hash>,
    pub(super) size: i32,
    pub(super) stat: Stat,
}

impl Edit {
    /// Whether a file or a program becomes a symbolic link.
    pub(super) fn becomes_link(&self) -> bool {
        let before = self.state.as_ref().map(|state| state.file.mode);
        self.mode == Some(FileMode::Symlink) && before != Some(FileMode::Symlink)
    }

    /// The content of the file before the edit.
    pub(super) fn live_blob(&self) -> Option<BlobRef> {
        self.state.as_ref().filter(|state| !state.file.is_deleted).and_then(|state| state.blob)
    }
}

pub(super) fn prepare(edits: Vec<Edit>, mut chains: Chains, project: ProjectId) -> Result<Prepared> {
    let mut prepared = Prepared { edits: Vec::with_capacity(edits.len()), ..Prepared::default() };
    let mut seen: HashSet<Hash> = HashSet::new();
    for edit in edits {
        let content = match &edit.content {
            Content::Same => {
                let file = edit.state.as_ref().map(|state| &state.file);
                let hash = file.and_then(|file| file.hash);
                PreparedContent { hash, size: file.map_or(0, |file| file.size_bytes), stat: Stat::default() }
            }
            changed => {
                // A damaged content must not block later versions.
                let live = edit.live_blob();
                let old = live.and_then(|blob| chains.decode_if_sound(blob.id));
                let bytes = match changed {
                    Content::Bytes(bytes, hash) => Some((bytes.clone(), *hash)),
                    Content::Blob(blob) => Some((chains.decode(blob.id)?, blob.hash)),
                    Content::None | Content::Same => None,
                };
                if let Some((bytes, hash)) = bytes.as_ref().filter(|(_, hash)| seen.insert(*hash)) {
                    match chains.find(project, hash) {
                        Some(id) => {
                            // Check that the content can be read back before acknowledging it.
                            chains.decode(id)?;
                        }
                        None => {
                            let base = live.zip(old.as_deref()).map(|(blob, old)| (blob.id, old.as_slice()));
                            prepared.new_blobs.push(encode(bytes, *hash, base, &chains)?);
                        }
                    }
                    chains.keep(project, *hash, bytes);
                }
                let (bytes, hash) = bytes.unzip();
                let size = to_i32(bytes.as_ref().map_or(0, |bytes| bytes.len()))?;
                // Old content is unreadable: line counts are unknown, store 0.
                let is_known = live.is_some() == old.is_some();
                let stat = if is_known { stat(old.as_deref(), bytes.as_deref()) } else { Stat::default() };
                PreparedContent { hash, size, stat }
            }
        };
        prepared.edits.push((edit, content));
    }
    Ok(prepared)
}

fn to_i32(size: usize) -> Result<i32> {
    i32::try_from(size).map_err(|_| Error::too_large("content", "A file has at most 2,147,483,647 bytes."))
}

fn encode(bytes: &[u8], hash: Hash, base: Option<(BlobId, &[u8])>, chains: &Chains) -> Result<NewBlob> {
    let base = base.filter(|(id, _)| chains.depth(*id) < blob_codec::MAX_DEPTH);
    let encoded = blob_codec::encode(bytes, base.map(|(_, bytes)| bytes));
    let base = base.filter(|_| encoded.encoding == blob_codec::Encoding::ZstdDelta).map(|(id, _)| id);
    let depth = base.map_or(0, |id| chains.depth(id) + 1);
    Ok(NewBlob { hash, size: to_i32(bytes.len())?, encoded, base, depth })
}

/// Lines added and removed; 0 if a side is not text.
fn stat(old: Option<&Vec<u8>>, new: Option<&Vec<u8>>) -> Stat {
    fn text(bytes: Option<&Vec<u8>>) -> Option<Cow<'_, str>> {
        bytes.map_or(Some(Cow::Borrowed("")), |bytes| shown(bytes))
    }
    match (text(old), text(new)) {
        (Some(old), Some(new)) => diff::stat(&old, &new),
        _ => Stat::default(),
    }
}
