//! Patches in git's format, for `git apply` and `patch`.

use super::diff::{Diff, LineOp, count_lines, similarity};
use super::file::FileMode;

/// Approximate size of the header of a hunk, in bytes.
const HEADERS: usize = 64;

/// One side of a change: path and mode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side<'a> {
    /// The path.
    pub path: &'a str,
    /// The file mode.
    pub mode: FileMode,
}

/// A patch in git's format with 3 lines of context, for `git apply` and `patch -p1`. A side of `None` means that the
/// file does not exist. Empty if nothing differs.
///
/// Format: git-diff(1), "Generating patch text"; GNU diffutils manual, "Detailed Description of Unified Format".
pub fn unified(old: &str, new: &str, from: Option<Side<'_>>, to: Option<Side<'_>>) -> String {
    if let (Some(before), Some(after)) = (from, to)
        && [before.mode, after.mode].contains(&FileMode::Symlink)
        && (before != after || old != new)
    {
        // Replacing a file by a link is a deletion and a creation, as in git: `patch` can delete an existing link but
        // not change it.
        return unified(old, "", from, None) + &unified("", new, None, to);
    }
    unified_in_set(old, new, from, to)
}

/// As [`unified`], in a set of changes in which another change takes the old path of the file or leaves its new path. A
/// link that moves is then a rename: git applies all renames of a set at the same time, but a deletion and a creation
/// one after the other. `patch` cannot move links.
pub fn unified_in_set(old: &str, new: &str, from: Option<Side<'_>>, to: Option<Side<'_>>) -> String {
    if let (Some(before), Some(after)) = (from, to)
        && (before.mode == FileMode::Symlink) != (after.mode == FileMode::Symlink)
    {
        return unified(old, "", from, None) + &unified("", new, None, to);
    }
    let groups = Diff::new(old, new).groups();
    let header = header(old, new, from, to);
    if groups.is_empty() {
        return header;
    }
    let (Some(left), Some(right)) = (from.or(to), to.or(from)) else { return String::new() };
    let mut text = if header.is_empty() { first_line(left.path, right.path) } else { header };
    // Exactly what the lines need: a sign each. Growing would take three times the memory for a moment.
    let runs = groups.iter().flat_map(|group| &group.runs);
    text.reserve_exact(
        runs.map(|run| run.text.len() + count_lines(run.text)).sum::<usize>() + HEADERS * (groups.len() + 1),
    );
    text.push_str(&format!("--- {}\n", header_name("a/", from.map(|side| side.path))));
    text.push_str(&format!("+++ {}\n", header_name("b/", to.map(|side| side.path))));
    for group in groups {
        let (old_start, old_count) = (group.runs.first().map_or(0, |run| run.old_line), group.old_count);
        let (new_start, new_count) = (group.runs.first().map_or(0, |run| run.new_line), group.new_count);
        text.push_str(&format!("@@ -{} +{} @@\n", range(old_start, old_count), range(new_start, new_count)));
        for run in group.runs {
            let sign = match run.op {
                LineOp::Equal => ' ',
                LineOp::Insert => '+',
                LineOp::Delete => '-',
            };
            for line in run.text.split_inclusive('\n') {
                text.push(sign);
                text.push_str(line);
                if !line.ends_with('\n') {
                    text.push_str("\n\\ No newline at end of file\n");
                }
            }
        }
    }
    text
}

fn first_line(from: &str, to: &str) -> String {
    format!("diff --git {} {}\n", quoted("a/", from, " "), quoted("b/", to, " "))
}

/// git's extended header: differences other than lines; empty if there are none. For an empty file `patch` reads the
/// blob hash.
fn header(old: &str, new: &str, from: Option<Side<'_>>, to: Option<Side<'_>>) -> String {
    match (from, to) {
        (None, None) => String::new(),
        (None, Some(to)) => {
            let index = if new.is_empty() { "index 0000000..e69de29\n" } else { "" };
            format!("{}new file mode {}\n{index}", first_line(to.path, to.path), to.mode.as_git())
        }
        (Some(from), None) => {
            let index = if old.is_empty() { "index e69de29..0000000\n" } else { "" };
            format!("{}deleted file mode {}\n{index}", first_line(from.path, from.path), from.mode.as_git())
        }
        (Some(from), Some(to)) if from == to => String::new(),
        (Some(from), Some(to)) => {
            let mut text = first_line(from.path, to.path);
            // The modes show git that a link leaves its path.
            if from.mode != to.mode || from.mode == FileMode::Symlink {
                text.push_str(&format!("old mode {}\nnew mode {}\n", from.mode.as_git(), to.mode.as_git()));
            }
            if from.path != to.path {
                let percent = (similarity(old.as_bytes(), new.as_bytes()) * 100.0) as u32;
                text.push_str(&format!("similarity index {percent}%\n"));
                let (from, to) = (quoted("", from.path, " "), quoted("", to.path, " "));
                text.push_str(&format!("rename from {from}\nrename to {to}\n"));
            }
            text
        }
    }
}

/// A hunk's range from a line number that starts at 0. One line has no count; an empty range names the line before.
fn range(start: usize, count: usize) -> String {
    match count {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        _ => format!("{},{count}", start + 1),
    }
}

fn header_name(prefix: &str, path: Option<&str>) -> String {
    match path {
        None => "/dev/null".to_owned(),
        // A tab ends the name; without it `patch` ends the name at the space.
        // GNU patch removes spaces from the end of a name that is not quoted.
        Some(path) if path.ends_with(' ') => quoted(prefix, path, " "),
        Some(path) if path.contains(' ') => format!("{}\t", quoted(prefix, path, "")),
        Some(path) => quoted(prefix, path, ""),
    }
}

/// The path as git writes it: quoted if it contains a quote, a backslash, a control character or one of `special` (a
/// space, in headers where `patch` would end the name there).
fn quoted(prefix: &str, path: &str, special: &str) -> String {
    if !path.contains(|c: char| matches!(c, '"' | '\\') || c.is_ascii_control() || special.contains(c)) {
        return format!("{prefix}{path}");
    }
    let mut text = format!("\"{prefix}");
    for c in path.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            _ if c.is_ascii_control() => text.push_str(&format!("\\{:03o}", u32::from(c))),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;

    use proptest::prelude::*;

    use super::super::diff::tests::texts;
    use super::*;

    fn side(path: &str) -> Option<Side<'_>> {
        Some(Side { path, mode: FileMode::File })
    }

    #[test]
    fn what_is_made_and_deleted_and_what_is_empty() {
        assert_eq!(
            unified("", "a\nb\nc\n", None, side("x")),
            "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1,3 @@\n+a\n+b\n+c\n"
        );
        assert_eq!(
            unified("a\n", "", side("x"), None),
            "diff --git a/x b/x\ndeleted file mode 100644\n--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"
        );
        assert_eq!(
            unified("", "", None, side("x")),
            "diff --git a/x b/x\nnew file mode 100644\nindex 0000000..e69de29\n"
        );
        assert_eq!(unified("", "", side("x"), side("x")), "");
    }

    #[test]
    fn names_that_patch_understands() {
        let header = |path| unified("", "x\n", None, side(path)).lines().nth(3).unwrap().to_owned();
        assert_eq!(header("a b.py"), "+++ b/a b.py\t");
        assert_eq!(header("a b "), "+++ \"b/a b \"");
        assert_eq!(header("日本.py"), "+++ b/日本.py");
        assert_eq!(header("a\"b\\c"), "+++ \"b/a\\\"b\\\\c\"");
        assert_eq!(
            unified("x", "x", side("a"), side("b c")),
            "diff --git a/a \"b/b c\"\nsimilarity index 100%\nrename from a\nrename to \"b c\"\n"
        );
    }

    /// Runs a program in a folder with an input.
    fn run(folder: &Path, program: &str, arguments: &[&str], input: &str) {
        std::fs::write(folder.with_extension("patch"), input).unwrap();
        let output = Command::new(program)
            .args(arguments)
            .env("GIT_CEILING_DIRECTORIES", "/")
            .current_dir(folder)
            .stdin(std::fs::File::open(folder.with_extension("patch")).unwrap())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{program}: {input}{}", String::from_utf8_lossy(&said));
    }

    type Tree = std::collections::BTreeMap<String, (String, FileMode)>;

    fn write(folder: &Path, tree: &Tree) {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder).unwrap();
        for (path, (content, mode)) in tree {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if *mode == FileMode::Symlink {
                std::os::unix::fs::symlink(content, &path).unwrap();
                continue;
            }
            std::fs::write(&path, content).unwrap();
            let bits = if *mode == FileMode::Executable { 0o755 } else { 0o644 };
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).unwrap();
        }
    }

    fn read(folder: &Path, prefix: &str, tree: &mut Tree) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                read(&entry.path(), &format!("{name}/"), tree);
            } else if kind.is_symlink() {
                let target = std::fs::read_link(entry.path()).unwrap();
                tree.insert(name, (target.to_str().unwrap().to_owned(), FileMode::Symlink));
            } else {
                let mode = entry.metadata().unwrap().permissions().mode();
                let mode = if mode & 0o100 == 0 { FileMode::File } else { FileMode::Executable };
                tree.insert(name, (std::fs::read_to_string(entry.path()).unwrap(), mode));
            }
        }
    }

    /// A change of one file of each kind: created, edited, moved, deleted, with a mode.
    fn change() -> impl Strategy<Value = (Tree, Tree)> {
        let path =
            || prop_oneof!["[a-z \"\\\\é]{0,5}x", "[ab]/[ab] [ab]", Just("-x".to_owned()), Just("a\tb".to_owned())];
        let path = move || path().prop_map(|path| path.trim().to_owned()).boxed();
        let mode =
            || prop_oneof![4 => Just(FileMode::File), 2 => Just(FileMode::Executable), 1 => Just(FileMode::Symlink)];
        let modes = (mode(), mode()).prop_map(|(old, new)| {
            // `patch` cannot replace a link by a file, or the reverse, in one step.
            if (old == FileMode::Symlink) == (new == FileMode::Symlink) { (old, new) } else { (old, old) }
        });
        (texts(), path(), path(), modes, 0..5).prop_map(|((old, new), path, moved, (old_mode, new_mode), kind)| {
            let text = |text: String, mode| match mode {
                FileMode::Symlink => "t".to_owned() + &text.replace(['\n', '\r', '/'], "-"),
                _ => text,
            };
            let one = |path: &str, content, mode| Tree::from([(path.to_owned(), (text(content, mode), mode))]);
            match kind {
                0 => (Tree::new(), one(&path, new, new_mode)),
                1 => (one(&path, old, old_mode), Tree::new()),
                2 => (one(&path, old.clone(), old_mode), one(&moved, old, new_mode)),
                3 => (one(&path, old, old_mode), one(&moved, new, new_mode)),
                _ => (one(&path, old, old_mode), one(&path, new, new_mode)),
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn git_and_patch_do_what_the_change_did((before, after) in change()) {
            let folder = std::env::temp_dir().join(format!("antiphon-diff-{}", std::process::id()));
            fn sides(tree: &Tree) -> (&str, Option<Side<'_>>) {
                let first = tree.iter().next();
                first.map_or(("", None), |(path, (text, mode))| (text, Some(Side { path, mode: *mode })))
            }
            let ((old, from), (new, to)) = (sides(&before), sides(&after));
            let diff = unified(old, new, from, to);
            prop_assert_eq!(diff.is_empty(), before == after);
            let programs: [(&str, &[&str]); 2] =
                [("git", &["apply", "--whitespace=nowarn"]), ("patch", &["-p1", "--binary", "-s"])];
            for (program, arguments) in programs {
                if diff.is_empty() || Command::new(program).arg("--version").output().is_err() {
                    continue;
                }
                write(&folder, &before);
                run(&folder, program, arguments, &diff);
                let mut applied = Tree::new();
                read(&folder, "", &mut applied);
                prop_assert_eq!(&applied, &after, "{}: {}", program, diff);
            }
            let _ = std::fs::remove_dir_all(&folder);
            let _ = std::fs::remove_file(folder.with_extension("patch"));
        }
    }
}
