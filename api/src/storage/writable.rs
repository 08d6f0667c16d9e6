//! Whether the database takes writes, as far as that can be known without one.

use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use super::db::{Db, fail};
use super::sql::Sql;
use crate::model::error::Result;

/// With less room than this, SQLite cannot write a page of each of its trees.
const LEAST_FREE_BYTES: u64 = 256 * 1024;

/// Whether the database refuses writes: a standby or one that is set so on PostgreSQL, a file or a disk that cannot be written to
/// on SQLite.
///
/// # Errors
/// `Unavailable` where the database does not answer.
pub async fn is_read_only(db: &Db) -> Result<bool> {
    let tx = db.operator().await?;
    let asked = if tx.is_sqlite() {
        "SELECT file FROM pragma_database_list WHERE name = 'main'"
    } else {
        // The transaction that asks is read-only itself.
        "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS read_only"
    };
    let rows = tx.rows(Sql::new(asked)).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    if !tx.is_sqlite() {
        return row.try_get("", "read_only").map_err(fail);
    }
    let file: String = row.try_get("", "file").map_err(fail)?;
    Ok(refuses_writes(Path::new(&file)))
}

/// Whether a file cannot be written to, or another be made beside it.
pub fn refuses_writes(file: &Path) -> bool {
    let folder = file.parent().unwrap_or(file);
    let is_full = |folder: &Path| {
        statvfs(folder).is_ok_and(|about| {
            about.f_flag.contains(StatVfsMountFlags::RDONLY)
                || about.f_bavail.saturating_mul(about.f_frsize) < LEAST_FREE_BYTES
        })
    };
    access(file, Access::WRITE_OK).is_err() || access(folder, Access::WRITE_OK).is_err() || is_full(folder)
}
