//! A hash over all files of a project, which verifies a restore.

use sha2::{Digest, Sha256};

/// SHA-256 over `path NUL hex-sha256 LF` (lower-case hex) for each file, sorted by the bytes of the paths. Folders are
/// not included.
pub fn manifest<'a>(files: impl Iterator<Item = (&'a str, &'a [u8; 32])>) -> [u8; 32] {
    let mut files: Vec<_> = files.collect();
    files.sort_unstable();
    let mut sum = Sha256::new();
    for (path, sha256) in files {
        sum.update(path);
        sum.update(b"\0");
        sum.update(hex::encode(sha256));
        sum.update(b"\n");
    }
    sum.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_the_hash_of_the_sorted_listing() {
        let (one, two): ([u8; 32], [u8; 32]) = (Sha256::digest("1").into(), Sha256::digest("2").into());
        let hex_one = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
        let hex_two = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35";
        let listing = format!("B\0{hex_one}\na.py\0{hex_two}\na/b\0{hex_one}\n");
        let expected: [u8; 32] = Sha256::digest(listing).into();
        assert_eq!(manifest([("a/b", &one), ("B", &one), ("a.py", &two)].into_iter()), expected);
        assert_eq!(manifest([("a.py", &two), ("a/b", &one), ("B", &one)].into_iter()), expected);
    }

    #[test]
    fn the_manifest_of_no_files_is_the_hash_of_nothing() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex::encode(manifest(std::iter::empty())), empty);
    }
}
