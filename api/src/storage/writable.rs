//! Checks, without writing, whether SQLite's file accepts writes.

use std::path::Path;

use rustix::fs::{Access, StatVfs, StatVfsMountFlags, access, statvfs};

/// With less free space than this, SQLite cannot write one page to each of its trees.
const LEAST_FREE_BYTES: u64 = 256 * 1024;

/// Whether a file cannot be written to, or its disk is full.
pub fn refuses_writes(file: &Path) -> bool {
    let is_full = |about: StatVfs| about.f_bavail.saturating_mul(about.f_frsize) < LEAST_FREE_BYTES;
    is_protected(file) || statvfs(folder(file)).is_ok_and(is_full)
}

/// Whether permissions or the file system prevent writing to a file or creating others next to it.
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
