//! The file that an archive is written to.

use std::fs::{
    File, OpenOptions, Permissions, metadata, read_link, remove_file, rename, set_permissions, symlink_metadata,
};
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use crate::model::clock;

/// Maximum number of symbolic links to follow, as on Linux.
const MAX_LINKS: usize = 40;

/// An archive that is being written. Dropping it removes what is written so far.
pub(super) struct Output {
    /// Complete only when it is published.
    partial: PathBuf,
    target: Target,
}

enum Target {
    /// A regular file, new or replaced with its permissions.
    File { path: PathBuf, permissions: Option<Permissions> },
    /// A pipe, a device or a socket, which stays.
    Special(PathBuf),
}

impl Output {
    /// Creates the partial file. Follows symbolic links at `to`.
    pub(super) fn create(to: &Path) -> io::Result<(Self, File)> {
        let target = match metadata(to) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => Target::Special(to.to_owned()),
            Ok(found) => Target::File { path: followed(to)?, permissions: Some(found.permissions()) },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Target::File { path: followed(to)?, permissions: None }
            }
            Err(error) => return Err(error),
        };
        // Next to a regular file, so that one rename publishes it. A special file cannot be rewound, as the archive
        // needs.
        let partial = match &target {
            Target::File { path, .. } => {
                let mut name = path.as_os_str().to_owned();
                name.push(format!(".{}.part", clock::new_id()));
                PathBuf::from(name)
            }
            Target::Special(_) => std::env::temp_dir().join(format!("antiphon-{}.part", clock::new_id())),
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        if !matches!(target, Target::File { permissions: None, .. }) {
            // Only the owner can read the archive before it has the permissions of the file that it replaces.
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        let file = options.open(&partial)?;
        Ok((Self { partial, target }, file))
    }

    /// Makes the finished archive appear.
    pub(super) fn publish(self, mut file: File) -> io::Result<()> {
        match &self.target {
            Target::File { path, permissions } => {
                if let Some(permissions) = permissions {
                    set_permissions(&self.partial, permissions.clone())?;
                }
                file.sync_all()?;
                rename(&self.partial, path)
            }
            Target::Special(path) => {
                file.rewind()?;
                io::copy(&mut file, &mut OpenOptions::new().write(true).open(path)?).map(drop)
            }
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // This fails if the file is published already.
        let _ = remove_file(&self.partial);
    }
}

/// The path that the symbolic links at `path` lead to. It need not exist.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if !symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            return Ok(path);
        }
        let target = read_link(&path)?;
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    Err(io::Error::other("too many symbolic links"))
}
