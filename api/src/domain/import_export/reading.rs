//! Reads the commits of an import and the files that they change.

use std::sync::Arc;

use super::git::{Difference, Object, Objects, Step};
use super::present::{After, Before, Theirs};
use crate::model::error::{Error, Result};
use crate::model::file::{FileMode, NO_LINK_TARGET, is_link_target};
use crate::model::path::FilePath;

/// Maximum size of a commit object, in bytes.
const MAX_COMMIT_BYTES: usize = 64 * 1024 * 1024;

const SUBMODULE: &str = "160000";
/// Stands for no file.
pub(super) const ABSENT: &str = "000000";

/// The changes of a commit.
#[derive(Default)]
pub(super) struct Read {
    pub(super) theirs: Vec<Theirs>,
    /// The paths that are left out, with invalid bytes replaced, and the reasons.
    pub(super) skipped: Vec<(String, String)>,
}

/// Reads the changes of a commit. Leaves out what cannot be imported, as if it were not in the commit. Stops before the
/// file with which the contents have more than `max_all` bytes.
pub(super) async fn read_changes(
    objects: &mut Objects,
    differences: Vec<Difference>,
    max_bytes: usize,
    max_all: usize,
) -> Result<Read> {
    let mut read = Read::default();
    let mut all = 0_usize;
    for difference in differences {
        let was_file = ![ABSENT, SUBMODULE].contains(&difference.old_mode.as_str());
        // Ignore the deletion of a file that was never imported.
        let before = parse_path(&difference.old_path).ok().filter(|_| was_file).map(|path| Before {
            path,
            object: difference.old_object,
            mode: FileMode::from_git(&difference.old_mode),
        });
        let mut after = None;
        if difference.new_mode != ABSENT {
            let mode = FileMode::from_git(&difference.new_mode);
            let content = match parse_path(&difference.path) {
                Err(why) => Err(why),
                Ok(_) if difference.new_mode == SUBMODULE => Err("It is a submodule.".to_owned()),
                Ok(path) => match objects.read(&difference.object, max_bytes.min(max_all - all)).await? {
                    Object::Bytes(bytes) if mode == FileMode::Symlink && !is_link_target(&bytes) => {
                        Err(NO_LINK_TARGET.to_owned())
                    }
                    Object::Bytes(bytes) => Ok((path, Arc::new(bytes))),
                    Object::TooLarge(size) if size <= max_bytes as u64 => {
                        let why =
                            format!("The changed files have more than {max_all} bytes together (MAX_BODY_BYTES).");
                        read.skipped.push((String::from_utf8_lossy(&difference.path).into_owned(), why));
                        return Ok(read);
                    }
                    Object::TooLarge(size) => Err(format!("It has {size} bytes; MAX_FILE_BYTES allows {max_bytes}.")),
                    Object::Missing => Err("Its contents are missing or damaged in the repository.".to_owned()),
                },
            };
            match content {
                Ok((path, content)) => {
                    all += content.len();
                    after = Some(After { path, content, mode });
                }
                Err(why) => read.skipped.push((String::from_utf8_lossy(&difference.path).into_owned(), why)),
            }
        }
        if before.is_some() || after.is_some() {
            read.theirs.push(Theirs { before, after });
        }
    }
    Ok(read)
}

fn parse_path(path: &[u8]) -> std::result::Result<FilePath, String> {
    match std::str::from_utf8(path) {
        Ok(text) => FilePath::parse(text, "path").map_err(|error| error.message()),
        Err(_) => Err("Its path is not UTF-8.".to_owned()),
    }
}

/// Reads a commit object.
pub(super) async fn read_commit(objects: &mut Objects, step: &Step) -> Result<Vec<u8>> {
    match objects.read(&step.commit, MAX_COMMIT_BYTES).await? {
        Object::Bytes(bytes) => Ok(bytes),
        Object::TooLarge(_) | Object::Missing => Err(Error::internal(format!("commit {} cannot be read", step.commit))),
    }
}
