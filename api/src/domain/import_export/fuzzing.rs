//! The readers of git's output, for the fuzz targets.

use futures::FutureExt;

use super::commit::{Commit, Signature};
use super::git::differences;

/// Parses a commit object, and writes its signatures back.
pub fn read_commit(object: &[u8]) {
    let Commit { author, committer, .. } = Commit::parse(object);
    for signature in [author, committer] {
        let Signature { name, email, .. } = &signature;
        let raw = Signature::with_raw_date(name.clone(), email.clone(), &signature.raw_date());
        assert_eq!(raw.as_ref(), Some(&signature));
        if let Some(time) = signature.time() {
            assert_eq!(Signature::at(name.clone(), email.clone(), time).time(), Some(time));
        }
        signature.line();
    }
}

/// Reads the output of `git diff-tree` for a commit whose id is the output's first token.
pub fn read_differences(output: &[u8]) {
    let id = output.split(|byte| *byte == 0).next().unwrap_or_default();
    let id = String::from_utf8_lossy(id);
    // Bytes are always ready.
    let _ = differences(&mut &*output, &id).now_or_never();
}
