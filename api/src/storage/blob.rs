//! `blobs`: file contents, stored once per project, most of them as a small delta against the file's previous version.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use entity::blobs;
use sea_orm::Value;

use super::access::Member;
use super::blob_codec::{self, CodecError, Encoded, Encoding};
use super::content_cache::ContentCache;
use super::db::Tx;
use super::snapshot::hash;
use super::sql::{self, Sql};
use crate::model::error::{Error, Result};
use crate::model::file::Hash;
use crate::model::ids::ProjectId;

/// A blob's row id, internal to the service.
pub type BlobId = i64;

/// The content of a version that the transaction has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// The row.
    pub id: BlobId,
    /// SHA-256 of the bytes.
    pub hash: Hash,
    /// Number of deltas between the blob and its keyframe; `None` if the transaction does not see the row.
    pub depth: Option<i16>,
}

/// Blobs with their bases, which are needed to decode them.
pub struct Chains {
    rows: HashMap<BlobId, blobs::Model>,
    depths: HashMap<BlobId, i16>,
    ids: HashMap<(ProjectId, Hash), BlobId>,
    decoded: HashMap<BlobId, Decoded>,
    /// The requested blobs. Decoded bytes of their bases are not kept after use.
    wanted: HashSet<BlobId>,
    cache: ContentCache,
}

/// The bytes of a blob. Bases that were not requested are not checked: if a base were damaged, the hash of the content
/// above it would not match.
struct Decoded {
    bytes: Arc<Vec<u8>>,
    checked: bool,
}

fn broken(id: BlobId, error: &CodecError) -> Error {
    Error::internal(format!("blob {id}: {error}"))
}

impl Chains {
    fn new(cache: &ContentCache) -> Self {
        let (rows, ids, decoded, wanted) = (HashMap::new(), HashMap::new(), HashMap::new(), HashSet::new());
        Self { rows, depths: HashMap::new(), ids, decoded, wanted, cache: cache.clone() }
    }

    /// The contents of blobs whose rows the transaction sees; `None` if not all of them are cached.
    fn of_cache(cache: &ContentCache, project: ProjectId, blobs: &[BlobRef]) -> Option<Self> {
        let mut found = Self::new(cache);
        for BlobRef { id, hash, depth } in blobs.iter().copied() {
            found.depths.insert(id, depth?);
            found.decoded.insert(id, Decoded { bytes: cache.get(project, &hash)?, checked: true });
            found.ids.insert((project, hash), id);
        }
        Some(found)
    }

    /// Keeps the bytes with this hash in the content cache.
    pub fn keep(&self, project: ProjectId, hash: Hash, bytes: &Arc<Vec<u8>>) {
        self.cache.keep(project, hash, bytes);
    }

    /// The id of the blob with this hash, if the project has it.
    pub fn find(&self, project: ProjectId, hash: &Hash) -> Option<BlobId> {
        self.ids.get(&(project, *hash)).copied()
    }

    /// Total size of the decoded blobs, including their bases.
    pub fn size(&self) -> usize {
        let stored: usize = self.rows.values().map(|row| usize::try_from(row.size).unwrap_or_default()).sum();
        let cached = self.decoded.iter().filter(|(id, _)| !self.rows.contains_key(id));
        stored + cached.map(|(_, decoded)| decoded.bytes.len()).sum::<usize>()
    }

    /// Number of deltas between a blob and its keyframe.
    pub fn depth(&self, id: BlobId) -> i16 {
        self.depths.get(&id).copied().unwrap_or_default()
    }

    /// The bytes of a blob. Takes time proportional to their size times the length of the chain; do not call it in an
    /// async task.
    ///
    /// # Errors
    /// `Internal` if the blob is missing or its bytes do not match their hash.
    pub fn decode(&mut self, id: BlobId) -> Result<Arc<Vec<u8>>> {
        self.read_chain(id)?;
        let missing = || Error::internal(format!("blob {id} is missing"));
        let decoded = self.decoded.get_mut(&id).ok_or_else(missing)?;
        if !decoded.checked {
            let row = self.rows.get(&id).ok_or_else(missing)?;
            blob_codec::check(&decoded.bytes, &hash(row.sha256.clone())?).map_err(|error| broken(id, &error))?;
            decoded.checked = true;
            self.cache.keep(ProjectId(row.project_id), hash(row.sha256.clone())?, &decoded.bytes);
        }
        Ok(decoded.bytes.clone())
    }

    /// The bytes of a blob, or `None` with a log entry if they are damaged.
    pub fn decode_if_sound(&mut self, id: BlobId) -> Option<Arc<Vec<u8>>> {
        match self.decode(id) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let cause = error.cause().map_or_else(|| error.message(), str::to_owned);
                tracing::error!(blob.id = id, cause, "skipped a damaged content; `antiphon verify` lists all of them");
                None
            }
        }
    }

    /// Decodes a blob and its bases, down to the nearest one that is already decoded.
    fn read_chain(&mut self, id: BlobId) -> Result<()> {
        let mut chain = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next.filter(|id| !self.decoded.contains_key(id)) {
            let row = self.rows.get(&id).ok_or_else(|| Error::internal(format!("blob {id} is missing")))?;
            chain.push(row);
            if chain.len() > blob_codec::MAX_DEPTH as usize + 1 {
                return Err(Error::internal(format!("the chain of blob {id} does not end")));
            }
            next = row.base_id;
        }
        if chain.is_empty() {
            return Ok(());
        }
        chain.reverse();
        let mut base = next.and_then(|id| self.decoded.get(&id)).map(|decoded| decoded.bytes.clone());
        let mut contents = Vec::new();
        for row in chain {
            let encoding = Encoding::try_from(row.encoding).map_err(|error| broken(row.id, &error))?;
            let size = usize::try_from(row.size).unwrap_or_default();
            let bytes = blob_codec::read(encoding, &row.data, base.as_ref().map(|bytes| bytes.as_slice()), size);
            let bytes = Arc::new(bytes.map_err(|error| broken(row.id, &error))?);
            base = Some(bytes.clone());
            if row.id == id || self.wanted.contains(&row.id) {
                contents.push((row.id, bytes));
            }
        }
        self.decoded.extend(contents.into_iter().map(|(id, bytes)| (id, Decoded { bytes, checked: false })));
        Ok(())
    }

    /// As [`Chains::decode`], by hash; `None` if there is no such blob.
    ///
    /// # Errors
    /// `Internal` if the bytes do not match their hash.
    pub fn decode_hash(&mut self, project: ProjectId, hash: &Hash) -> Result<Option<Arc<Vec<u8>>>> {
        self.find(project, hash).map(|id| self.decode(id)).transpose()
    }
}

/// The blobs of a locked project with these ids, and the existing ones with these hashes. Nothing is read if all
/// contents are cached: the references show that the transaction sees their rows.
pub async fn of_project(tx: &Tx, project: ProjectId, blobs: &[BlobRef], hashes: &[Hash]) -> Result<Chains> {
    if hashes.is_empty()
        && let Some(cached) = Chains::of_cache(&tx.contents, project, blobs)
    {
        return Ok(cached);
    }
    let keys = blobs.iter().map(|blob| &blob.hash).chain(hashes).map(|hash| (project, *hash));
    chains(tx, keys, |sql, keys| {
        sql.push("b.project_id = ")
            .bind(project.0)
            .push(" AND b.sha256 IN ")
            .list(keys.iter().map(|key| key.1.to_vec()));
    })
    .await
}

/// The blobs with these hashes.
pub async fn by_hashes(tx: &Tx, keys: &[(Member<'_>, Hash)]) -> Result<Chains> {
    chains(tx, keys.iter().map(|(member, hash)| (member.project(), *hash)), |sql, keys| {
        sql.pairs("(b.project_id, b.sha256)", keys.iter().map(|key| (key.0.0, key.1.to_vec())));
    })
    .await
}

/// Reads the rows of the blobs that the condition of `having` selects, and of their bases. If a content is cached, only
/// its row is read: the row shows that the transaction can see the content.
async fn chains(
    tx: &Tx,
    keys: impl Iterator<Item = (ProjectId, Hash)>,
    having: impl Fn(&mut Sql, &[(ProjectId, Hash)]),
) -> Result<Chains> {
    let mut found = Chains::new(&tx.contents);
    let (mut kept, mut missing) = (HashMap::new(), HashSet::new());
    for key in keys.collect::<HashSet<_>>() {
        match tx.contents.get(key.0, &key.1) {
            Some(bytes) => drop(kept.insert(key, bytes)),
            None => drop(missing.insert(key)),
        }
    }
    if kept.is_empty() && missing.is_empty() {
        return Ok(found);
    }
    let mut sql = Sql::new("WITH RECURSIVE chain(id, base_id, data_id) AS (");
    if !missing.is_empty() {
        sql.push("SELECT b.id, b.base_id, b.id FROM blobs b WHERE ");
        having(&mut sql, &missing.iter().copied().collect::<Vec<_>>());
    }
    if !kept.is_empty() {
        sql.push(if missing.is_empty() { "" } else { " UNION " });
        sql.push("SELECT b.id, CAST(NULL AS bigint), CAST(NULL AS bigint) FROM blobs b WHERE ");
        having(&mut sql, &kept.keys().copied().collect::<Vec<_>>());
    }
    // PostgreSQL overestimates the rows of a join with the chain and scans the whole table. Therefore a base is looked
    // up by its own select, and the rows by an array of ids.
    let is_among = |ids: &str| {
        if tx.is_sqlite() {
            format!("b.id IN (SELECT c.{ids} FROM chain c)")
        } else {
            format!("b.id = ANY (ARRAY(SELECT c.{ids} FROM chain c))")
        }
    };
    sql.push(
        " UNION SELECT c.base_id, (SELECT b.base_id FROM blobs b WHERE b.id = c.base_id), c.base_id FROM chain c \
         WHERE c.base_id IS NOT NULL) SELECT b.id, b.project_id, b.sha256, b.size, b.encoding, b.depth, b.base_id, CASE WHEN ",
    );
    sql.push(&is_among("data_id")).push(" THEN b.data ELSE ").bind(Vec::<u8>::new());
    sql.push(" END AS data FROM blobs b WHERE ").push(&is_among("id"));
    let rows: Vec<blobs::Model> = tx.all(sql).await?;
    for row in rows {
        let key = (ProjectId(row.project_id), hash(row.sha256.clone())?);
        if missing.contains(&key) {
            found.wanted.insert(row.id);
        }
        if let Some(bytes) = kept.get(&key) {
            found.decoded.insert(row.id, Decoded { bytes: bytes.clone(), checked: true });
        }
        found.ids.insert(key, row.id);
        found.depths.insert(row.id, row.depth);
        found.rows.insert(row.id, row);
    }
    Ok(found)
}

/// A blob that the project does not have yet.
pub struct NewBlob {
    /// SHA-256 of the bytes.
    pub hash: Hash,
    /// Size of the bytes.
    pub size: i32,
    /// The stored form.
    pub encoded: Encoded,
    /// The base of a delta.
    pub base: Option<BlobId>,
    /// Number of deltas between this blob and its keyframe.
    pub depth: i16,
}

/// Adds the sizes of new blobs to the metrics.
pub(super) fn measure(tx: &Tx, new: &[NewBlob]) {
    for blob in new {
        tx.metrics.blob_bytes.inc_by(u64::try_from(blob.size).unwrap_or_default());
        tx.metrics.blob_stored_bytes.inc_by(blob.encoded.data.len() as u64);
    }
}

/// Adds blobs to a locked project.
pub(super) async fn insert(tx: &Tx, project: ProjectId, new: Vec<NewBlob>) -> Result<()> {
    const COLUMNS: [&str; 7] = ["project_id", "sha256", "size", "encoding", "depth", "base_id", "data"];
    let rows = new.into_iter().map(|blob| -> [Value; 7] {
        [
            project.0.into(),
            blob.hash.to_vec().into(),
            blob.size.into(),
            (blob.encoded.encoding as i16).into(),
            blob.depth.into(),
            blob.base.into(),
            blob.encoded.data.into(),
        ]
    });
    for sql in sql::insert("blobs", COLUMNS, rows, "") {
        tx.execute(sql).await?;
    }
    Ok(())
}
