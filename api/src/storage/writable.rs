//! Checks, without writing, whether the database accepts writes.

use std::path::Path;

use rustix::fs::{Access, StatVfs, StatVfsMountFlags, access, statvfs};

use super::db::{Db, fail};
use super::sql::Sql;
use crate::model::error::Result;

/// With less free space than this, SQLite cannot write one page to each of its trees.
const LEAST_FREE_BYTES: u64 = 256 * 1024;

/// Whether the database refuses writes: on PostgreSQL a standby or a read-only setting, on SQLite a read-only or full
/// disk or a read-only file.
///
/// # Errors
/// `Unavailable` if the database does not answer.
pub async fn is_read_only(db: &Db) -> Result<bool> {
    let tx = db.operator().await?;
    let asked = if tx.is_sqlite() {
        "SELECT file FROM pragma_database_list WHERE name = 'main'"
    } else {
        // This transaction is read-only itself, so read the default setting.
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

/// Whether a file cannot be written to, or its disk is full.
pub fn refuses_writes(file: &Path) -> bool {
    let is_full = |about: StatVfs| about.f_bavail.saturating_mul(about.f_frsize) < LEAST_FREE_BYTES;
    is_protected(file) || statvfs(folder(file)).is_ok_and(is_full)
}

/// Whether a file cannot be written to, or no other can be created beside it: by their permissions or their file system.
pub(super) fn is_protected(file: &Path) -> bool {
    let is_read_only = |about: StatVfs| about.f_flag.contains(StatVfsMountFlags::RDONLY);
    access(file, Access::WRITE_OK).is_err()
        || access(folder(file), Access::WRITE_OK).is_err()
        || statvfs(folder(file)).is_ok_and(is_read_only)
}

fn folder(file: &Path) -> &Path {
    let folder = file.parent().unwrap_or(file);
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}
