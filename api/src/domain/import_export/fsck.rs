//! What git's check of objects refuses (`git fsck`, and each clone with `fetch.fsckObjects`). Objects that are made here
//! pass it, with every version of git: the rules are those of the newest one.

/// Why git refuses a file at a path, whatever it contains; `None` if it does not.
pub(super) fn refuse_path(path: &str) -> Option<String> {
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        // The reason follows the path.
        let it = if part == path { "it".to_owned() } else { format!("{part:?}") };
        return Some(match Special::of(part) {
            Some(Special::Folder) => format!("git keeps {it} for itself"),
            Some(Special::Modules) => format!("{it} lists submodules, which a project does not have"),
            Some(Special::Attributes) if parts.peek().is_some() => format!("for git, {it} is a file, not a folder"),
            Some(Special::Attributes) | None => continue,
        });
    }
    None
}

/// Whether git reads the file at a path as one with attributes.
pub(super) fn is_attributes(path: &str) -> bool {
    path.rsplit('/').next().and_then(Special::of) == Some(Special::Attributes)
}

/// Why git refuses a file with attributes.
pub(super) const BAD_ATTRIBUTES: &str = "git reads no attributes in a line of 2048 bytes or a file of over 100 MiB";

/// Whether git accepts a content as attributes.
pub(super) fn can_be_attributes(content: &[u8]) -> bool {
    /// git's `ATTR_MAX_FILE_SIZE` and `ATTR_MAX_LINE_LENGTH`.
    const MAX_BYTES: usize = 100 * 1024 * 1024;
    const LINE_BYTES: usize = 2048;
    content.len() <= MAX_BYTES && content.split(|byte| *byte == b'\n').all(|line| line.len() < LINE_BYTES)
}

/// A name with a meaning for git.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Special {
    Folder,
    Modules,
    Attributes,
}

impl Special {
    /// The meaning of a part of a path on any file system. Windows also takes `\` as a separator.
    fn of(part: &str) -> Option<Self> {
        part.split('\\').find_map(|name| {
            // Windows ignores what follows.
            let stem = visible(name.split(':').next().unwrap_or_default());
            let stem = stem.trim_end_matches(['.', ' ']);
            if is_git_folder(stem) {
                Some(Self::Folder)
            } else if is_name(stem, ".gitmodules", "gi7eba") {
                Some(Self::Modules)
            } else if is_name(stem, ".gitattributes", "gi7d29") {
                Some(Self::Attributes)
            } else {
                None
            }
        })
    }
}

/// A name without the characters that HFS+ ignores.
fn visible(name: &str) -> String {
    let is_ignored = |character: &char| matches!(character, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    name.chars().filter(|character| !is_ignored(character)).collect()
}

/// Whether some file system treats a name as `.git`: in any case, by its short name on Windows (`git~1`), or with
/// characters that HFS+ ignores.
pub(super) fn is_git_folder(name: &str) -> bool {
    let seen = visible(name).to_ascii_lowercase();
    let number = seen.strip_prefix("git~");
    seen == ".git" || number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether some file system treats a name as this one: in any case, or by one of its short names on Windows. If the usual
/// short names are taken, Windows makes one of a hash; git knows the first six characters of it.
fn is_name(name: &str, expected: &str, hash: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let Some((head, number)) = name.split_once('~') else { return name == expected };
    let is_number = !number.is_empty() && !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_usual = expected.get(1..7) == Some(head);
    is_number && (is_usual || name.len() == 8 && hash.starts_with(head))
}

/// Whether git accepts a commit object whose links are right: an author and a committer with valid names, addresses and
/// times, and no NUL.
pub(super) fn is_sound_commit(object: &[u8]) -> bool {
    let head = object.windows(2).position(|pair| pair == b"\n\n").and_then(|end| object.get(..=end)).unwrap_or(object);
    if object.contains(&0) || !head.ends_with(b"\n") {
        return false;
    }
    let mut lines = head.split(|byte| *byte == b'\n').skip_while(|line| !line.starts_with(b"author "));
    let mut next_is = |key: &[u8]| lines.next().and_then(|line| line.strip_prefix(key)).is_some_and(is_sound_signature);
    next_is(b"author ") && next_is(b"committer ")
}

/// Whether git accepts `name <email> seconds zone`.
fn is_sound_signature(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    let Some((name, rest)) = line.split_once('<') else { return false };
    let Some((email, date)) = rest.split_once("> ") else { return false };
    let Some((seconds, zone)) = date.trim_start_matches([' ', '\t']).split_once(' ') else { return false };
    let is_number =
        seconds.bytes().all(|byte| byte.is_ascii_digit()) && !(seconds.len() > 1 && seconds.starts_with('0'));
    name.ends_with(' ')
        && !name.contains('>')
        && !email.contains(['<', '>'])
        && is_number
        && seconds.parse::<i64>().is_ok()
        && is_zone(zone)
}

/// Whether git accepts an offset from UTC: a sign and four digits.
pub(super) fn is_zone(zone: &str) -> bool {
    let digits = zone.strip_prefix(['+', '-']);
    digits.is_some_and(|digits| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_meaning_for_git_are_refused_in_every_disguise() {
        for path in [
            ".git/config",
            "a/.GIT",
            ".git./x",
            ".git ",
            ".git. ./x",
            "git~1",
            "GIT~2/x",
            "git~1 .",
            ".git::$INDEX_ALLOCATION/x",
            "git~1:x",
            ".g\u{200c}it/x",
            "\u{feff}.GiT",
            "a\\.git\\x",
            "a\\git~1",
            ".gitmodules",
            "a/.GitModules/x",
            ".gitmodules. :x",
            "gitmod~1",
            "GITMOD~4. ",
            "gi7eba~1",
            "gi7eb~10",
            "gi7~1234",
            "~1000000",
            ".gitm\u{206a}odules",
            "a\\.gitmodules",
            ".gitattributes/x",
            "gitatt~1/x",
            "gi7d29~1/x",
        ] {
            assert!(refuse_path(path).is_some(), "{path:?}");
        }
        for path in [
            ".gitignore",
            "git~a",
            ".github/x",
            "git",
            ".gitx",
            "gitmodules",
            ".gitmodules.txt",
            "gitmod~",
            "gitmod~0",
            "gi7eba",
            "gi7eb~1",
            "~100000",
            ".gitattributes",
            "a/gitatt~1",
            ".mailmap",
            "con",
        ] {
            assert_eq!(refuse_path(path), None, "{path:?}");
        }
        for path in [".gitattributes", "a/.GITattributes. ", "gitatt~1", "gi7d2~10", ".gitattri\u{200d}butes"] {
            assert!(is_attributes(path), "{path:?}");
        }
        assert!(!is_attributes("gitattributes") && !is_attributes(".gitattributes/x"));
    }

    #[test]
    fn attributes_have_lines_that_git_reads() {
        let line = |bytes: usize| [b"# ".as_slice(), &vec![b'x'; bytes - 2]].concat();
        for content in [Vec::new(), line(2047), [line(2047), line(2047)].join(&b'\n'), vec![b'\n'; 5000]] {
            assert!(can_be_attributes(&content));
        }
        for content in [line(2048), [line(2), line(2048)].join(&b'\n'), vec![b'\n'; 100 * 1024 * 1024 + 1]] {
            assert!(!can_be_attributes(&content));
        }
    }

    #[test]
    fn commits_are_judged_as_git_judges_them() {
        let sound = |author: &str, rest: &str| {
            is_sound_commit(format!("tree 1\nparent 2\nauthor {author}\ncommitter B <b@x> 5 -0330\n{rest}").as_bytes())
        };
        for author in ["A <a@x> 7 +0000", " <> 0 +9999", "A <a@x> 9223372036854775807 -0000", "A <a@x>  7 +0100"] {
            assert!(sound(author, "\nm") && sound(author, "x-other a\n b\n\nm\n") && sound(author, ""), "{author}");
        }
        for author in [
            "",
            "nobody",
            "<a@x> 7 +0000",
            "A<a@x> 7 +0000",
            "A> <a@x> 7 +0000",
            "A <a<b@x> 7 +0000",
            "A <a@x>> 7 +0000",
            "A <a@x> b> 7 +0000",
            "A <a@x 7 +0000",
            "A <a@x>7 +0000",
            "A <a@x> 07 +0000",
            "A <a@x> 00 +0000",
            "A <a@x> -7 +0000",
            "A <a@x> +7 +0000",
            "A <a@x> 9223372036854775808 +0000",
            "A <a@x> 7",
            "A <a@x> 7 ",
            "A <a@x> x +0000",
            "A <a@x> 7 0000",
            "A <a@x> 7 +051800",
            "A <a@x> 7 +000",
            "A <a@x> 7 +00:0",
            "A <a@x> 7 +0000 x",
            "A <a@x> 7 +0000\nauthor A <a@x> 7 +0000",
            "A <a@x> 7 +0000\nx-other a",
        ] {
            assert!(!sound(author, "\nm"), "{author}");
        }
        assert!(!sound("A <a@x> 7 +0000", "\nm\0") && !sound("A <a@x> 7 +0000", "x-unterminated"));
        assert!(!is_sound_commit(b"tree 1\nauthor A <a@x> 7 +0000\n\nno committer"));
    }
}
