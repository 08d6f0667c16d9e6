//! A cache of contents by project and hash, so that work on the present files does not have to decode their chains; and
//! of diffs, by the two versions compared, which never change.
//!
//! The cache saves work and grants nothing: the rows that a transaction reads decide what it can see
//! (`storage/blob.rs`). Therefore contents of transactions that were never committed do no harm.

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

/// Contents and diffs up to a total size. Clones share the cache.
#[derive(Clone)]
pub(super) struct ContentCache(Arc<Cache<Key, Kept, ByBytes>>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Kept> for ByBytes {
    fn weight(&self, _: &Key, kept: &Kept) -> u64 {
        /// Approximate overhead of an entry in bytes.
        const ENTRY: usize = 160;
        let bytes = match kept {
            Kept::Content(bytes) => bytes.len(),
            Kept::Diff(diff) => diff.len(),
        };
        (ENTRY + bytes) as u64
    }
}

impl ContentCache {
    /// A cache of at most `bytes` bytes; with 0 it keeps nothing.
    pub(super) fn new(bytes: usize) -> Result<Self> {
        /// Approximate size of a file in bytes.
        const FILE: usize = 4096;
        let mut options = OptionsBuilder::new();
        // One shard: with many processors, each of several shards would be too small for large files.
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

    /// Keeps the bytes with this hash.
    pub(super) fn keep(&self, project: ProjectId, hash: Hash, bytes: &Arc<Vec<u8>>) {
        self.0.insert(Key::Content(project, hash), Kept::Content(bytes.clone()));
    }

    /// The diff of a version against the version that it was compared with.
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
