//! The tree of a commit, which is read from a repository as far as it changes.

use std::collections::BTreeMap;

use super::git::{Object, Objects};
use super::objects::{Id, Kind, Pack};
use crate::model::error::{Error, Result};
use crate::model::file::FileMode;

/// Maximum size of a tree object, in bytes: about a million entries.
pub(super) const MAX_TREE_BYTES: usize = 128 * 1024 * 1024;

const FOLDER: &str = "40000";

/// A folder of a commit.
pub(super) struct Folder {
    /// The object; `None` if the folder has changed since it was written.
    id: Option<Id>,
    /// The entries by name; `None` if they are not read yet.
    entries: Option<BTreeMap<String, Entry>>,
}

enum Entry {
    File(FileMode, Id),
    Folder(Folder),
}

impl Folder {
    /// A folder without entries.
    pub(super) fn empty() -> Self {
        Self { id: None, entries: Some(BTreeMap::new()) }
    }

    /// The folder of a tree object.
    pub(super) fn stored(id: Id) -> Self {
        Self { id: Some(id), entries: None }
    }

    /// Sets a file, or removes it.
    pub(super) async fn set(&mut self, objects: &mut Objects, path: &str, file: Option<(FileMode, Id)>) -> Result<()> {
        let (folders, name) = path.rsplit_once('/').map_or((None, path), |(folders, name)| (Some(folders), name));
        let mut folder = self;
        for name in folders.iter().flat_map(|folders| folders.split('/')) {
            folder = folder.below(objects, name).await?;
        }
        let entries = folder.changed(objects).await?;
        match file {
            Some((mode, id)) => entries.insert(name.to_owned(), Entry::File(mode, id)),
            None => entries.remove(name),
        };
        Ok(())
    }

    /// The folder at a name, which replaces a file there.
    async fn below(&mut self, objects: &mut Objects, name: &str) -> Result<&mut Self> {
        let entry = self.changed(objects).await?.entry(name.to_owned());
        let entry = entry.or_insert_with(|| Entry::Folder(Self::empty()));
        if let Entry::File(..) = entry {
            *entry = Entry::Folder(Self::empty());
        }
        match entry {
            Entry::Folder(folder) => Ok(folder),
            Entry::File(..) => Err(Error::internal("a file is not a folder")),
        }
    }

    /// The entries, which the caller changes.
    async fn changed(&mut self, objects: &mut Objects) -> Result<&mut BTreeMap<String, Entry>> {
        if let (Some(id), None) = (self.id, &self.entries) {
            let tree = match objects.read(&hex::encode(id), MAX_TREE_BYTES).await? {
                Object::Bytes(bytes) => parse(&bytes),
                Object::TooLarge(_) | Object::Missing => None,
            };
            self.entries =
                Some(tree.ok_or_else(|| Error::internal(format!("the tree {} is damaged", hex::encode(id))))?);
        }
        self.id = None;
        Ok(self.entries.get_or_insert_default())
    }

    /// Adds the objects of the changed folders to a pack. Removes folders without files, as git does, and returns
    /// the id of this one.
    pub(super) fn write(&mut self, pack: &mut Pack) -> Result<Id> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        let mut listed = Vec::new();
        let entries = self.entries.get_or_insert_default();
        let mut empty = Vec::new();
        for (name, entry) in entries.iter_mut() {
            match entry {
                Entry::File(mode, id) => listed.push((name.clone(), mode.as_git(), name, *id)),
                Entry::Folder(folder) => {
                    let id = folder.write(pack)?;
                    if folder.is_empty() {
                        empty.push(name.clone());
                    } else {
                        // git sorts folders as if their names ended in a slash.
                        listed.push((format!("{name}/"), FOLDER, name, id));
                    }
                }
            }
        }
        listed.sort();
        let mut tree = Vec::new();
        for (_, mode, name, id) in listed {
            tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            tree.extend_from_slice(&id);
        }
        for name in empty {
            entries.remove(&name);
        }
        let id = pack.add(Kind::Tree, &tree)?;
        self.id = Some(id);
        Ok(id)
    }

    fn is_empty(&self) -> bool {
        self.entries.as_ref().is_some_and(BTreeMap::is_empty)
    }
}

/// An entry of a tree object.
pub(super) struct RawEntry<'t> {
    pub(super) mode: &'t [u8],
    pub(super) name: &'t [u8],
    pub(super) id: Id,
}

/// The entries of a tree object, up to the first one that is damaged.
pub(super) fn entries(mut tree: &[u8]) -> impl Iterator<Item = RawEntry<'_>> {
    std::iter::from_fn(move || {
        let (head, rest) = tree.split_at_checked(tree.iter().position(|byte| *byte == 0)?)?;
        let (mode, name) = head.split_at_checked(head.iter().position(|byte| *byte == b' ')?)?;
        let (id, rest) = rest.get(1..)?.split_first_chunk()?;
        tree = rest;
        Some(RawEntry { mode, name: name.get(1..)?, id: *id })
    })
}

/// Parses a tree object that [`Folder::write`] wrote; `None` if it is damaged.
fn parse(tree: &[u8]) -> Option<BTreeMap<String, Entry>> {
    let mut parsed = BTreeMap::new();
    let mut bytes = 0;
    for RawEntry { mode, name, id } in entries(tree) {
        bytes += mode.len() + name.len() + id.len() + 2;
        let mode = std::str::from_utf8(mode).ok()?;
        let entry = match mode {
            FOLDER => Entry::Folder(Folder::stored(id)),
            mode => Entry::File(FileMode::from_git(mode), id),
        };
        parsed.insert(std::str::from_utf8(name).ok()?.to_owned(), entry);
    }
    (bytes == tree.len()).then_some(parsed)
}
