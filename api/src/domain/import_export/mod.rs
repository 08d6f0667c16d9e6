//! Imports of git histories, exports as git repositories, archives and whole projects, repositories for git clients, and
//! verification of a whole database.

mod chain;
mod commit;
pub mod export;
mod fsck;
mod git;
pub mod git_cache;
pub mod import;
mod objects;
mod output;
pub mod place;
mod present;
pub mod project_file;
pub mod push;
mod reading;
mod record;
pub mod scratch;
mod tree;
pub mod verify;

/// The reader of repositories without a process, for the fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzing {
    use super::commit::{Commit, Signature};
    use super::git;

    /// Reads a commit and differences.
    ///
    /// # Panics
    /// If a signature is not the same after it is written and read.
    pub async fn read(commit: &[u8], mut differences: &[u8]) {
        let commit = Commit::parse(commit);
        for signature in [&commit.author, &commit.committer] {
            let (name, email) = (signature.name.clone(), signature.email.clone());
            let again = Signature::with_raw_date(name, email, &signature.raw_date());
            assert_eq!(again.map(|again| again.line()), Some(signature.line()));
            assert!(!signature.line().contains('\n') && signature.time().is_none_or(|time| time.timestamp() >= 0));
        }
        while !differences.is_empty() && git::differences(&mut differences, "c").await.is_ok() {}
    }
}
