//! `blobs`: file contents, kept once a project, most of them as a small delta on the file's previous version.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use entity::blobs;

use super::blob_codec::{self, CodecError, Decoder, Encoded, Encoding};
use super::db::{Tx, fail};
use super::project::member;
use super::snapshot::hash;
use super::sql::Sql;
use crate::model::error::{Error, Result};
use crate::model::file::Hash;
use crate::model::ids::ProjectId;

/// A blob's row; it stays inside the service.
pub type BlobId = i64;

/// Blobs with everything that is needed to decode them.
#[derive(Default)]
pub struct Chains {
    rows: HashMap<BlobId, blobs::Model>,
    ids: HashMap<(ProjectId, Hash), BlobId>,
    decoded: HashMap<BlobId, Decoded>,
}

/// The bytes of a blob. Those that nobody has asked for, because they are only the base of others, are not checked: were
/// they wrong, what is based on them would be too.
struct Decoded {
    bytes: Arc<Vec<u8>>,
    checked: bool,
}

fn broken(id: BlobId, error: &CodecError) -> Error {
    Error::internal(format!("blob {id}: {error}"))
}

impl Chains {
    /// The id of the blob with this hash, where the project has it.
    pub fn find(&self, project: ProjectId, hash: &Hash) -> Option<BlobId> {
        self.ids.get(&(project, *hash)).copied()
    }

    /// How many deltas stand between a blob and its keyframe.
    pub fn depth(&self, id: BlobId) -> i16 {
        self.rows.get(&id).map_or(0, |row| row.depth)
    }

    /// The bytes of a blob. Costs time in proportion to their size times the chain's length: not for an async thread.
    ///
    /// # Errors
    /// `Internal` where the blob is missing or its bytes do not have their hash.
    pub fn decode(&mut self, id: BlobId) -> Result<Arc<Vec<u8>>> {
        self.read_chain(id)?;
        let missing = || Error::internal(format!("blob {id} is missing"));
        let row = self.rows.get(&id).ok_or_else(missing)?;
        let decoded = self.decoded.get_mut(&id).ok_or_else(missing)?;
        if !decoded.checked {
            blob_codec::check(&decoded.bytes, &hash(row.sha256.clone())?).map_err(|error| broken(id, &error))?;
            decoded.checked = true;
        }
        Ok(decoded.bytes.clone())
    }

    /// Decodes a blob and what it is based on, down to the nearest one that is decoded already.
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
        let ground = next.and_then(|id| self.decoded.get(&id)).map(|decoded| decoded.bytes.clone());
        // The decoder borrows each content for the next, so they are all made before it goes.
        let contents: Vec<OnceCell<Vec<u8>>> = chain.iter().map(|_| OnceCell::new()).collect();
        let mut decoder = Decoder::default();
        let mut base = ground.as_ref().map(|bytes| bytes.as_slice());
        for (row, content) in chain.iter().zip(&contents) {
            let encoding = Encoding::try_from(row.encoding).map_err(|error| broken(row.id, &error))?;
            let size = usize::try_from(row.size).unwrap_or_default();
            let bytes = decoder.read(encoding, &row.data, base, size).map_err(|error| broken(row.id, &error))?;
            base = Some(content.get_or_init(|| bytes));
        }
        drop(decoder);
        let ids: Vec<BlobId> = chain.iter().map(|row| row.id).collect();
        for (id, content) in ids.into_iter().zip(contents) {
            let bytes = Arc::new(content.into_inner().unwrap_or_default());
            self.decoded.insert(id, Decoded { bytes, checked: false });
        }
        Ok(())
    }

    /// Like [`Chains::decode`], by hash; `None` where there is no such blob.
    ///
    /// # Errors
    /// `Internal` where the bytes do not have their hash.
    pub fn decode_hash(&mut self, project: ProjectId, hash: &Hash) -> Result<Option<Arc<Vec<u8>>>> {
        self.find(project, hash).map(|id| self.decode(id)).transpose()
    }
}

/// What the blobs found so far are based on, and so on; then all of their rows. The base is looked up by a select of its own:
/// PostgreSQL takes a join there for one of many rows, and reads the whole table at every step.
const CHAINS: &str = " UNION SELECT c.base_id, (SELECT b.base_id FROM blobs b WHERE b.id = c.base_id) FROM chain c \
     WHERE c.base_id IS NOT NULL) SELECT b.* FROM chain c JOIN blobs b ON b.id = c.id";

/// The blobs of a locked project with these ids, and those with these hashes that there are.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn of_project(tx: &Tx, project: ProjectId, ids: &[BlobId], hashes: &[Hash]) -> Result<Chains> {
    if ids.is_empty() && hashes.is_empty() {
        return Ok(Chains::default());
    }
    // Two selects: with OR between them SQLite reads all of the project's blobs.
    let mut sql =
        Sql::new("WITH RECURSIVE chain(id, base_id) AS (SELECT b.id, b.base_id FROM blobs b WHERE b.project_id = ");
    sql.bind(project.0).push(" AND b.id IN ").list(ids.iter().copied());
    sql.push(" UNION SELECT b.id, b.base_id FROM blobs b WHERE b.project_id = ").bind(project.0);
    sql.push(" AND b.sha256 IN ").list(hashes.iter().map(|hash| hash.to_vec())).push(CHAINS);
    chains(tx, sql).await
}

/// The blobs with these hashes in the actor's projects.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn by_hashes(tx: &Tx, keys: &[(ProjectId, Hash)]) -> Result<Chains> {
    let mut sql = Sql::new("WITH RECURSIVE chain(id, base_id) AS (SELECT b.id, b.base_id FROM blobs b WHERE ");
    sql.pairs("(b.project_id, b.sha256)", keys.iter().map(|(project, hash)| (project.0, hash.to_vec()))).push(" AND ");
    member(&mut sql, "b.project_id", tx.me()).push(CHAINS);
    chains(tx, sql).await
}

async fn chains(tx: &Tx, sql: Sql) -> Result<Chains> {
    let rows: Vec<blobs::Model> = tx.all(sql).await?;
    let mut chains = Chains::default();
    for row in rows {
        chains.ids.insert((ProjectId(row.project_id), hash(row.sha256.clone())?), row.id);
        chains.rows.insert(row.id, row);
    }
    Ok(chains)
}

/// A blob that the project does not have yet.
pub struct NewBlob {
    /// Hash of its bytes.
    pub hash: Hash,
    /// How many bytes they are.
    pub size: i32,
    /// How they are kept.
    pub encoded: Encoded,
    /// What a delta is based on.
    pub base: Option<BlobId>,
    /// How many deltas stand between it and its keyframe.
    pub depth: i16,
}

/// Adds blobs to a locked project and answers their ids by their hashes.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn insert(tx: &Tx, project: ProjectId, new: Vec<NewBlob>) -> Result<HashMap<Hash, BlobId>> {
    let mut ids = HashMap::with_capacity(new.len());
    for blob in &new {
        tx.metrics.blob_bytes.inc_by(u64::try_from(blob.size).unwrap_or_default());
        tx.metrics.blob_stored_bytes.inc_by(blob.encoded.data.len() as u64);
    }
    let mut new = new.into_iter().peekable();
    while new.peek().is_some() {
        let mut sql = Sql::new("INSERT INTO blobs (project_id, sha256, size, encoding, depth, base_id, data) VALUES ");
        for (index, blob) in new.by_ref().take(super::ROWS_PER_INSERT).enumerate() {
            sql.push(if index == 0 { "(" } else { ", (" })
                .bind(project.0)
                .push(", ")
                .bind(blob.hash.to_vec())
                .push(", ");
            sql.bind(blob.size).push(", ").bind(blob.encoded.encoding as i16).push(", ").bind(blob.depth).push(", ");
            sql.bind(blob.base).push(", ").bind(blob.encoded.data).push(")");
        }
        sql.push(" RETURNING id, sha256");
        for row in tx.rows(sql).await? {
            let bytes: Vec<u8> = row.try_get("", "sha256").map_err(fail)?;
            ids.insert(hash(bytes)?, row.try_get("", "id").map_err(fail)?);
        }
    }
    Ok(ids)
}
