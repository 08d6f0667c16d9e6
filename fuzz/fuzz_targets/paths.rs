//! A path is refused, or it is in its only form and stays inside the project.
#![no_main]

use antiphon::model::path::{FilePath, MAX_PATH_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|texts: (&str, &str)| {
    let (Ok(path), other) = (FilePath::parse(texts.0, "path"), FilePath::parse(texts.1, "path")) else { return };
    let text = path.as_str();
    assert!(!text.is_empty() && text.len() <= MAX_PATH_BYTES && !text.contains('\0'));
    assert!(text.split('/').all(|name| !matches!(name, "" | "." | "..")), "{text:?}");
    assert_eq!(FilePath::parse(text, "path").ok(), Some(path.clone()));
    for folder in path.ancestors() {
        assert!(path.is_under(&folder) && !folder.is_under(&path), "{text:?} {folder:?}");
        assert_eq!(FilePath::parse(folder.as_str(), "path").ok(), Some(folder));
    }
    if let (Ok(other), Some(parent)) = (other, path.parent())
        && let Some(moved) = path.rebase(&parent, &other)
    {
        assert_eq!(moved.name(), path.name());
        assert!(moved.is_under(&other), "{moved:?} {other:?}");
    }
});
