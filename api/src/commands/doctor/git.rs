//! The git program.

use super::finding::Findings;
use crate::{config::git::Git, domain::import_export::git_cache::GitCache};

pub(super) fn check(git: &Git, findings: &mut Findings) {
    if GitCache::has_git() {
        findings.fine("git", "the git program is installed");
    } else if git.git_cache_bytes > 0 {
        findings.warn(
            "git",
            "there is no git program in PATH",
            "git clients cannot clone projects, and `import --git` and `export --git` do not work",
            "install git, or set GIT_CACHE_BYTES=0",
        );
    }
}
