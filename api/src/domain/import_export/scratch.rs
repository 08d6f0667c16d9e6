//! Folders for files that are being made. SQLite needs names for its files, so a process that is killed leaves them. The folder of
//! a living process is locked: the next process that makes one there, or the next start of a server, removes the others.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;

/// How the names of these folders begin.
const PREFIX: &str = ".antiphon-";

/// A folder that only its owner can read. Dropping it removes it.
pub struct Scratch {
    folder: TempDir,
    /// Holds the lock.
    _lock: File,
}

impl Scratch {
    /// A new folder in another one.
    ///
    /// # Errors
    /// Why there is none.
    pub fn new_in(parent: &Path) -> io::Result<Self> {
        remove_abandoned(parent);
        loop {
            let only_owner = fs::Permissions::from_mode(0o700);
            let folder = tempfile::Builder::new().prefix(PREFIX).permissions(only_owner).tempdir_in(parent)?;
            // Another process can remove it before it is locked.
            let lock = match File::open(folder.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            lock.lock()?;
            if is_at(&lock, folder.path()) {
                return Ok(Self { folder, _lock: lock });
            }
        }
    }

    /// A new folder in the system's folder for temporary files.
    ///
    /// # Errors
    /// Why there is none.
    pub fn new_temporary() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn is_at(open: &File, path: &Path) -> bool {
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    let found = fs::symlink_metadata(path).map(identity);
    found.is_ok_and(|found| open.metadata().is_ok_and(|open| identity(open) == found))
}

/// Removes what killed processes of this user left in a folder.
pub fn remove_abandoned(parent: &Path) {
    let user = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let is_folder = || entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == user);
        if is_ours
            && is_folder()
            && let Ok(folder) = File::open(entry.path())
            && folder.try_lock().is_ok()
        {
            // What cannot be removed now, the next process can remove.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
