//! Settings of git over HTTP.

use std::path::PathBuf;

use clap::Args;

use crate::model::setting::number;

/// Git over HTTP.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Git")]
pub struct Git {
    /// Folder for copies of the projects' histories that git clients read. It can be deleted at any time, and servers on
    /// one machine can share it (default: antiphon-git-UID in the system's folder for temporary files)
    #[arg(long, env = "GIT_CACHE", value_name = "PATH")]
    pub git_cache: Option<PathBuf>,
    /// Maximum size of these copies, in bytes; the least recently used ones are removed. 0 disables git over HTTP.
    /// From 0 to 100000000000000
    #[arg(long, env = "GIT_CACHE_BYTES", default_value_t = 1024 * 1024 * 1024, value_name = "BYTES", value_parser = number(0_u64..=100_000_000_000_000))]
    pub git_cache_bytes: u64,
    /// Maximum size of the body of a push, in bytes. From 1 to 100000000000
    #[arg(long, env = "MAX_PUSH_BYTES", default_value_t = 256 * 1024 * 1024, value_name = "BYTES", value_parser = number(1_u64..=100_000_000_000))]
    pub max_push_bytes: u64,
}
