//! Paths of files within a project, normalized once at the API boundary and compared by bytes.

use super::error::{Error, Result};

/// Longest normalized path, in bytes of UTF-8.
pub const MAX_PATH_BYTES: usize = 1024;

/// The path of a file or folder within a project: segments separated by `/`, none of which is empty, `.` or `..`,
/// without control characters. Letter case, Unicode normalization and backslashes are significant. Paths are ordered by
/// bytes, as in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

impl FilePath {
    /// Parses a path from a client: `/src//./a.py` and `src/a.py` are the same path.
    ///
    /// # Errors
    /// `BadInput` with `field` if the path leaves the project (`..`), is empty, contains a control character, or is too
    /// long.
    pub fn parse(text: &str, field: &str) -> Result<Self> {
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            let code = u32::from(control);
            return Err(Error::bad_input(
                field,
                format!("A path cannot contain control characters; this one has U+{code:04X}."),
            ));
        }
        let mut path = String::new();
        for segment in text.split('/') {
            match segment {
                "" | "." => continue,
                ".." => {
                    let message = "A path cannot contain '..': start at the project's root.";
                    return Err(Error::bad_input(field, message));
                }
                _ if path.is_empty() => path.push_str(segment),
                _ => {
                    path.push('/');
                    path.push_str(segment);
                }
            }
            if path.len() > MAX_PATH_BYTES {
                return Err(Error::bad_input(
                    field,
                    format!("A path can have at most {MAX_PATH_BYTES} bytes of UTF-8."),
                ));
            }
        }
        if path.is_empty() {
            return Err(Error::bad_input(field, "A path must name a file or folder, such as 'src/main.py'."));
        }
        Ok(Self(path))
    }

    /// A path from the database, which contains only parsed ones.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The path as text, such as `src/main.py`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment, such as `main.py`.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.as_str(), |(_, name)| name)
    }

    /// The folder that contains it; `None` at the project's root.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// The folders above it, nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// Whether it is below `folder`.
    pub fn is_under(&self, folder: &Self) -> bool {
        self.below(folder).is_some()
    }

    /// Whether it is one of these, or below one.
    pub fn is_in(&self, paths: &[Self]) -> bool {
        paths.iter().any(|path| self == path || self.is_under(path))
    }

    /// The new path when `from` is moved to `to`. `None` if this path is neither `from` nor below it, or if the new
    /// path exceeds [`MAX_PATH_BYTES`].
    pub fn rebase(&self, from: &Self, to: &Self) -> Option<Self> {
        if self == from {
            return Some(to.clone());
        }
        let path = format!("{}/{}", to.0, self.below(from)?);
        (path.len() <= MAX_PATH_BYTES).then_some(Self(path))
    }

    fn below(&self, folder: &Self) -> Option<&str> {
        self.0.strip_prefix(&folder.0)?.strip_prefix('/')
    }
}

impl std::fmt::Display for FilePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> FilePath {
        FilePath::parse(text, "path").unwrap()
    }

    fn refusal(text: &str) -> String {
        match FilePath::parse(text, "files[3].path") {
            Err(Error::BadInput { field, message }) if field == "files[3].path" => message,
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn spellings_of_a_path_are_normalized() {
        for text in ["a/b.py", "/a/b.py", "./a/b.py", "//a///b.py/", "a/./b.py", "/./a/b.py/."] {
            assert_eq!(path(text).as_str(), "a/b.py", "{text:?}");
        }
    }

    #[test]
    fn distinct_names_stay_distinct() {
        for (one, other) in [("a.py", "A.py"), ("\u{e9}", "e\u{301}"), ("a/b", "a\\b"), ("a", "a "), ("a", ".a")] {
            assert_ne!(path(one), path(other));
        }
        for text in ["...", "..a", "a..", "a\u{2028}b", "C:\\x", " ", "日本/é.py"] {
            assert_eq!(path(text).as_str(), text);
        }
    }

    #[test]
    fn refusals_state_the_reason() {
        for text in ["..", "../a", "a/../b", "a/..", "/.."] {
            assert!(refusal(text).contains("'..'"), "{text:?}");
        }
        for text in ["", "/", ".", "./", "//./"] {
            assert!(refusal(text).contains("name a file"), "{text:?}");
        }
        for text in ["a\0", "a\nb", "\u{7f}", "a/\u{85}", "a\r"] {
            assert!(refusal(text).contains("control"), "{text:?}");
        }
        assert!(refusal("a\0").contains("U+0000"));
        assert!(refusal(&"é".repeat(513)).contains("1024"));
        assert_eq!(path(&"é".repeat(512)).as_str().len(), 1024);
        assert_eq!(path(&format!("//{}//", "a".repeat(1024))).as_str().len(), 1024);
    }

    #[test]
    fn paths_are_ordered_by_bytes() {
        let mut paths = ["b", "a/b", "a.py", "a", "B", "\u{e9}", "\u{1f600}", "\u{ffff}"].map(path);
        paths.sort();
        assert_eq!(paths.map(|p| p.0), ["B", "a", "a.py", "a/b", "b", "\u{e9}", "\u{ffff}", "\u{1f600}"]);
    }

    #[test]
    fn name_parent_and_ancestors() {
        let deep = path("a/b/c.py");
        assert_eq!((deep.name(), path("c.py").name()), ("c.py", "c.py"));
        assert_eq!((deep.parent(), path("c.py").parent()), (Some(path("a/b")), None));
        assert_eq!(deep.ancestors().collect::<Vec<_>>(), [path("a/b"), path("a")]);
        assert!(deep.is_under(&path("a")) && deep.is_under(&path("a/b")));
        assert!(!deep.is_under(&deep) && !path("ab/c").is_under(&path("a")) && !path("a").is_under(&deep));
    }

    #[test]
    fn moving_a_folder_moves_everything_below() {
        assert_eq!(path("a/b/c").rebase(&path("a"), &path("x/y")), Some(path("x/y/b/c")));
        assert_eq!(path("a").rebase(&path("a"), &path("x")), Some(path("x")));
        assert_eq!(path("a/b").rebase(&path("a"), &path("a/sub")), Some(path("a/sub/b")));
        assert_eq!(path("ab/c").rebase(&path("a"), &path("x")), None);
        assert_eq!(path("a/b").rebase(&path("a"), &path(&"x".repeat(1023))), None);
        assert!(path("a/b").rebase(&path("a"), &path(&"x".repeat(1022))).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_parsed_path_is_normalized(text in "[ab./\\\\é\u{2028}\u{0}\n]{0,12}") {
            if let Ok(parsed) = FilePath::parse(&text, "path") {
                prop_assert_eq!(&path(parsed.as_str()), &parsed);
                prop_assert!(parsed.as_str().split('/').all(|s| !matches!(s, "" | "." | "..")));
                prop_assert!(parsed.ancestors().all(|a| parsed.is_under(&a)));
                prop_assert_eq!(&path(&format!("/{text}/")), &parsed);
                if let Some(parent) = parsed.parent() {
                    prop_assert_eq!(path(&format!("{parent}/{}", parsed.name())), parsed);
                }
            } else {
                let held = text.split('/').any(|s| s == "..") || text.chars().any(char::is_control);
                prop_assert!(held || text.split('/').all(|s| matches!(s, "" | ".")));
            }
        }
    }
}
