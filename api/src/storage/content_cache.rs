//! Contents that were read or written lately, by their project and hash, so that work on the present files need not read
//! and decode the chains that they end.
//!
//! It saves work and grants nothing: what a transaction may read, and whether it is there at all, its own rows say
//! (`storage/blob.rs`). So it does not matter whether the transaction that brought a content here was ever committed.

use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::model::error::{Error, Result};
use crate::model::file::Hash;
use crate::model::ids::ProjectId;

type Key = (ProjectId, Hash);

/// Contents up to a number of bytes in all. Clones are the same cache.
#[derive(Clone)]
pub(super) struct ContentCache(Arc<Cache<Key, Arc<Vec<u8>>, ByBytes>>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Vec<u8>>> for ByBytes {
    fn weight(&self, _: &Key, bytes: &Arc<Vec<u8>>) -> u64 {
        /// What an entry costs besides its bytes, about.
        const ENTRY: usize = 160;
        (ENTRY + bytes.len()) as u64
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
        self.0.get(&(project, *hash))
    }

    /// Keeps bytes that have this hash.
    pub(super) fn keep(&self, project: ProjectId, hash: Hash, bytes: &Arc<Vec<u8>>) {
        self.0.insert((project, hash), bytes.clone());
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
