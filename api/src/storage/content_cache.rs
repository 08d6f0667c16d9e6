//! Contents that were read or written lately, by their project and hash, so that work on the present files need not read
//! and decode the chains that they end; and diffs that were made lately, by the version and the one that it was compared with,
//! which stay what they are.
//!
//! It saves work and grants nothing: what a transaction may read, and whether it is there at all, its own rows say
//! (`storage/blob.rs`). So it does not matter whether the transaction that brought a content here was ever committed.

use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::model::error::{Error, Result};
use crate::model::file::{FileSnapshot, Hash};
use crate::model::ids::{FileSnapshotId, ProjectId};

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Content(ProjectId, Hash),
    Diff(FileSnapshotId, i32),
}

#[derive(Clone)]
enum Kept {
    Content(Arc<Vec<u8>>),
    Diff(Arc<str>),
}

/// Contents and diffs up to a number of bytes in all. Clones are the same cache.
#[derive(Clone)]
pub(super) struct ContentCache(Arc<Cache<Key, Kept, ByBytes>>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Kept> for ByBytes {
    fn weight(&self, _: &Key, kept: &Kept) -> u64 {
        /// What an entry costs besides its bytes, about.
        const ENTRY: usize = 160;
        let bytes = match kept {
            Kept::Content(bytes) => bytes.len(),
            Kept::Diff(diff) => diff.len(),
        };
        (ENTRY + bytes) as u64
    }
}

impl ContentCache {
    /// A cache of at most `bytes` bytes; of 0, one that keeps nothing.
    pub(super) fn new(bytes: usize) -> Result<Self> {
        /// Bytes of a file, about.
        const FILE: usize = 4096;
        let mut options = OptionsBuilder::new();
        // A part of its own for each of many processors would be too small for large files.
        options.shards(1).estimated_items_capacity(bytes / FILE).weight_capacity(bytes as u64);
        let options = options.build().map_err(Error::internal)?;
        let (hashes, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Ok(Self(Arc::new(Cache::with_options(options, ByBytes, hashes, lifecycle))))
    }

    pub(super) fn get(&self, project: ProjectId, hash: &Hash) -> Option<Arc<Vec<u8>>> {
        match self.0.get(&Key::Content(project, *hash))? {
            Kept::Content(bytes) => Some(bytes),
            Kept::Diff(_) => None,
        }
    }

    /// Keeps bytes that have this hash.
    pub(super) fn keep(&self, project: ProjectId, hash: Hash, bytes: &Arc<Vec<u8>>) {
        self.0.insert(Key::Content(project, hash), Kept::Content(bytes.clone()));
    }

    /// The diff of a version with what it is compared with.
    pub(super) fn diff(&self, version: &FileSnapshot) -> Option<Arc<str>> {
        match self.0.get(&Key::Diff(version.id, version.follows))? {
            Kept::Diff(diff) => Some(diff),
            Kept::Content(_) => None,
        }
    }

    pub(super) fn keep_diff(&self, version: &FileSnapshot, diff: &str) {
        self.0.insert(Key::Diff(version.id, version.follows), Kept::Diff(diff.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(cache: &ContentCache, count: u8, size: usize) -> usize {
        let project = ProjectId(uuid::Uuid::nil());
        for n in 0..count {
            cache.keep(project, [n; 32], &Arc::new(vec![n; size]));
        }
        (0..count).filter(|n| cache.get(project, &[*n; 32]).is_some()).count()
    }

    #[test]
    fn it_keeps_to_its_bytes() {
        assert_eq!(kept(&ContentCache::new(0).unwrap(), 9, 10), 0);
        assert_eq!(kept(&ContentCache::new(100_000).unwrap(), 9, 10_000), 9);
        let some = kept(&ContentCache::new(100_000).unwrap(), 99, 10_000);
        assert!((5..=9).contains(&some), "{some}");
        assert_eq!(kept(&ContentCache::new(100_000).unwrap(), 1, 200_000), 0);
    }

    #[test]
    fn what_one_project_has_another_does_not_get() {
        let (cache, mine, other) = (ContentCache::new(1_000).unwrap(), uuid::Uuid::nil(), uuid::Uuid::max());
        cache.keep(ProjectId(mine), [1; 32], &Arc::new(vec![1]));
        assert!(cache.get(ProjectId(mine), &[1; 32]).is_some());
        assert!(cache.get(ProjectId(other), &[1; 32]).is_none());
    }
}
