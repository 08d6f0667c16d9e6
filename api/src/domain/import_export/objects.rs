//! Objects of git, and packs of them (gitformat-pack(5)).

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::{Digest, Sha1};

use super::git;
use crate::model::error::{Error, Result};

/// The id of an object.
pub(super) type Id = [u8; 20];

/// The id of the tree without entries.
pub(super) const EMPTY_TREE: Id = [
    0x4b, 0x82, 0x5d, 0xc6, 0x42, 0xcb, 0x6e, 0xb9, 0xa0, 0x60, 0xe5, 0x4b, 0xf8, 0xd6, 0x92, 0x88, 0xfb, 0xee, 0x49,
    0x04,
];

/// The kind of an object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Commit = 1,
    Tree = 2,
    Blob = 3,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
        }
    }
}

/// The id of an object.
pub(super) fn id(kind: Kind, content: &[u8]) -> Id {
    let mut hash = Sha1::new();
    hash.update(format!("{} {}\0", kind.name(), content.len()));
    hash.update(content);
    hash.finalize().into()
}

/// Parses an id in hex.
pub(super) fn parse_id(hex: &str) -> Option<Id> {
    let mut id = Id::default();
    hex::decode_to_slice(hex, &mut id).ok().map(|()| id)
}

/// A pack under construction, in a temporary file without a name.
pub(super) struct Pack {
    file: BufWriter<File>,
    written: HashSet<Id>,
}

impl Pack {
    /// Creates the file in a folder.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        Ok(Self { file: BufWriter::new(tempfile::tempfile_in(folder).map_err(failed)?), written: HashSet::new() })
    }

    /// Adds an object, once, and returns its id.
    pub(super) fn add(&mut self, kind: Kind, content: &[u8]) -> Result<Id> {
        let id = id(kind, content);
        if self.written.insert(id) {
            self.write(kind, content).map_err(failed)?;
        }
        Ok(id)
    }

    fn write(&mut self, kind: Kind, content: &[u8]) -> io::Result<()> {
        let mut size = content.len();
        let mut byte = (kind as u8) << 4 | (size & 0xf) as u8;
        size >>= 4;
        while size > 0 {
            self.file.write_all(&[byte | 0x80])?;
            byte = (size & 0x7f) as u8;
            size >>= 7;
        }
        self.file.write_all(&[byte])?;
        let mut encoder = ZlibEncoder::new(&mut self.file, Compression::default());
        encoder.write_all(content)?;
        encoder.finish().map(drop)
    }

    /// Stores the objects in a repository: all of them, or none if it fails.
    pub(super) async fn store(self, repository: &Path) -> Result<()> {
        if self.written.is_empty() {
            return Ok(());
        }
        let count = u32::try_from(self.written.len()).map_err(failed)?;
        let mut file = self.file.into_inner().map_err(failed)?;
        file.rewind().map_err(failed)?;
        let mut process = git::Process::start(git::command(repository).args(["index-pack", "--stdin"]), "index-pack")?;
        let mut hash = Sha1::new();
        let mut bytes = [b"PACK".as_slice(), &2_u32.to_be_bytes(), &count.to_be_bytes()].concat();
        while !bytes.is_empty() && process.write(&bytes).await {
            hash.update(&bytes);
            bytes.resize(64 * 1024, 0);
            let read = file.read(&mut bytes).map_err(failed)?;
            bytes.truncate(read);
        }
        process.write(&hash.finalize()).await;
        process.finish().await.map(drop)
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("a pack of git objects: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_git() {
        assert_eq!(id(Kind::Tree, b""), EMPTY_TREE);
        assert_eq!(hex::encode(id(Kind::Blob, b"hello\n")), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(parse_id("ce013625030ba8dba906f756967f9e9ca394464a"), Some(id(Kind::Blob, b"hello\n")));
        assert_eq!(parse_id("ce01"), None);
    }
}
