//! The limit on open files.

use super::finding::Findings;

/// Fewer open files than this are exhausted by the sockets of a few busy users.
const FEW_OPEN_FILES: u64 = 4096;

pub(super) fn check(findings: &mut Findings) {
    // Available only on Linux.
    let Some(most) = std::fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(open_files) else { return };
    let what = format!("this process can open {most} files");
    if most < FEW_OPEN_FILES {
        findings.warn(
            "open files",
            what,
            "each connection is an open file; when the limit is reached, new clients have to wait",
            "run `ulimit -n 65536` before the start, or set LimitNOFILE=65536 in the systemd unit",
        );
    } else {
        findings.fine("open files", what);
    }
}

/// The soft limit on open files in /proc/self/limits (proc(5)).
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::open_files;

    #[test]
    fn the_soft_limit_on_open_files_applies() {
        let limits =
            |soft: &str| format!("Limit  Soft Limit  Hard Limit  Units\nMax open files  {soft}  1048576  files \n");
        assert_eq!(open_files(&limits("1024")), Some(1024));
        assert_eq!(open_files(&limits("unlimited")), Some(u64::MAX));
        assert_eq!(open_files("Max processes 5 5 processes"), None);
    }
}
