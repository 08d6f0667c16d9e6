//! Three-way merges of texts, for a write whose precondition failed.

use std::borrow::Cow;
use std::ops::Range;

use super::line_diff::{Change, changes};
use super::text::{Coding, decoded};

/// The result of merging two changes of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// Whether there are no conflicts.
    pub clean: bool,
    /// The merged text. Conflicts contain both sides between git's conflict markers (`<<<<<<< ours` is the present
    /// text, `>>>>>>> theirs` the text that the caller sent).
    pub text: String,
    /// The merged text in the file's encoding, if that is not UTF-8.
    pub encoded: Option<Encoded>,
}

/// A text in an encoding other than UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The encoding.
    pub coding: Coding,
    /// The encoded text.
    pub bytes: Vec<u8>,
}

impl Merge {
    /// The content of the file with this merge.
    pub fn into_bytes(self) -> Vec<u8> {
        self.encoded.map_or(self.text.into_bytes(), |encoded| encoded.bytes)
    }
}

/// Merges contents. Texts in other encodings are decoded, and the merge is encoded again. `None` if a content is not
/// text, if it does not survive decoding and encoding, or if the merge takes too long.
pub fn merge_contents(base: &[u8], now: &[u8], sent: &[u8], steps: &mut u64) -> Option<Merge> {
    let [base, now, sent] = [base, now, sent].map(|bytes| {
        let (text, coding) = decoded(bytes)?;
        let is_exact = coding == Coding::UTF_8 || coding.encode(&text).as_deref() == Some(bytes);
        is_exact.then_some((text, coding))
    });
    let (base, now, sent) = (base?, now?, sent?);
    let coding = coding_of([&base, &now, &sent])?;
    let merged = merge(&base.0, &now.0, &sent.0, steps)?;
    if coding == Coding::UTF_8 {
        return Some(merged);
    }
    let bytes = coding.encode(&merged.text)?;
    Some(Merge { encoded: Some(Encoded { coding, bytes }), ..merged })
}

/// The encoding of a merge: the common encoding of the three texts, or the one to which a side has changed. ASCII text
/// fits any encoding that contains ASCII.
fn coding_of(texts: [&(Cow<'_, str>, Coding); 3]) -> Option<Coding> {
    let is_any = |(text, coding): &(Cow<'_, str>, Coding)| *coding == Coding::UTF_8 && text.is_ascii();
    let other = texts.iter().find(|text| !is_any(text) && text.1.is_ascii_compatible()).map(|text| text.1);
    let [base, now, sent] = texts.map(|text| if is_any(text) { other.unwrap_or(Coding::UTF_8) } else { text.1 });
    match (now == base, sent == base) {
        (true, _) => Some(sent),
        (_, true) => Some(now),
        _ => (now == sent).then_some(now),
    }
}

/// Steps that the merges of one request can take: about half a second.
pub const MAX_STEPS: u64 = 100_000_000;

/// Maximum number of lines of the three texts of a merge together. Each takes about 50 bytes of memory, however short
/// it is.
const MAX_LINES: usize = 1_000_000;

/// Merges the present text with the text that a caller made from `base`. `None` if the texts have more than
/// [`MAX_LINES`], or if this takes more than `steps`; the steps taken are subtracted.
///
/// The changes of both sides are those that git finds ([`super::line_diff`]). Their order, which of them conflict, and
/// how a conflict is written are as in `git merge-file --diff3`: markers are on separate lines with the line ends of
/// their surroundings.
pub fn merge(base: &str, now: &str, sent: &str, steps: &mut u64) -> Option<Merge> {
    let lines: usize = [base, now, sent].iter().map(|text| text.bytes().filter(|byte| *byte == b'\n').count()).sum();
    if lines > MAX_LINES {
        return None;
    }
    let (ours, theirs) = (changes(base, now, steps)?, changes(base, sent, steps)?);
    let split = |text| str::split_inclusive(text, '\n').collect::<Vec<&str>>();
    let texts = Texts { base: split(base), now: split(now), sent: split(sent) };
    let hunks = texts.hunks(&ours, &theirs);
    let clean = hunks.iter().all(|hunk| hunk.from != From::Both);
    Some(Merge { clean, text: texts.write(&hunks), encoded: None })
}

/// The side that a part of a merge comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Now,
    Sent,
    /// Both sides changed it, differently.
    Both,
}

/// A part of a merge that differs from the base, as ranges of lines.
#[derive(Clone, Debug)]
struct Hunk {
    from: From,
    base: Range<usize>,
    now: Range<usize>,
    sent: Range<usize>,
}

/// The lines of the three texts, with their line ends.
struct Texts<'a> {
    base: Vec<&'a str>,
    now: Vec<&'a str>,
    sent: Vec<&'a str>,
}

fn at<'t, 'a>(lines: &'t [&'a str], range: &Range<usize>) -> &'t [&'a str] {
    lines.get(range.clone()).unwrap_or_default()
}

impl Texts<'_> {
    /// Combines the changes of both sides. Changes that touch or overlap become one.
    fn hunks(&self, ours: &[Change], theirs: &[Change]) -> Vec<Hunk> {
        let mut hunks: Vec<Hunk> = Vec::new();
        let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
        // Offset between the lines of a side and those of the base, after the side's last change.
        let (mut our_shift, mut their_shift) = (Shift(0), Shift(0));
        loop {
            match (ours.peek().copied(), theirs.peek().copied()) {
                (None, None) => return hunks,
                (Some(our), their) if their.is_none_or(|their| our.old.end < their.old.start) => {
                    let sent = their_shift.of(&our.old);
                    append(&mut hunks, Hunk { from: From::Now, base: our.old.clone(), now: our.new.clone(), sent });
                    our_shift = Shift::behind(our);
                    ours.next();
                }
                (our, Some(their)) if our.is_none_or(|our| their.old.end < our.old.start) => {
                    let now = our_shift.of(&their.old);
                    append(
                        &mut hunks,
                        Hunk { from: From::Sent, base: their.old.clone(), now, sent: their.new.clone() },
                    );
                    their_shift = Shift::behind(their);
                    theirs.next();
                }
                (Some(our), Some(their)) => {
                    if our.old != their.old || at(&self.now, &our.new) != at(&self.sent, &their.new) {
                        // Extend each side to the end of the other side's change.
                        let start = our.old.start.min(their.old.start);
                        let end = our.old.end.max(their.old.end);
                        let widen = |change: &Change| {
                            let first = change.new.start.saturating_sub(change.old.start - start);
                            first..change.new.end + (end - change.old.end)
                        };
                        let (now, sent) = (widen(our), widen(their));
                        append(&mut hunks, Hunk { from: From::Both, base: start..end, now, sent });
                    }
                    // The longer change can reach the next change of the other side.
                    if our.old.end >= their.old.end {
                        their_shift = Shift::behind(their);
                        theirs.next();
                    }
                    if their.old.end >= our.old.end {
                        our_shift = Shift::behind(our);
                        ours.next();
                    }
                }
                (Some(_), None) | (None, Some(_)) => return hunks,
            }
        }
    }

    fn write(&self, hunks: &[Hunk]) -> String {
        let (mut text, mut done) = (String::new(), 0);
        for hunk in hunks {
            copy(&mut text, at(&self.now, &(done..hunk.now.start)), None);
            done = hunk.now.end;
            match hunk.from {
                From::Now => copy(&mut text, at(&self.now, &hunk.now), None),
                From::Sent => copy(&mut text, at(&self.sent, &hunk.sent), None),
                From::Both => {
                    let end = self.line_end(hunk);
                    text.push_str(&format!("<<<<<<< ours{end}"));
                    copy(&mut text, at(&self.now, &hunk.now), Some(end));
                    text.push_str(&format!("||||||| original{end}"));
                    copy(&mut text, at(&self.base, &hunk.base), Some(end));
                    text.push_str(&format!("======={end}"));
                    copy(&mut text, at(&self.sent, &hunk.sent), Some(end));
                    text.push_str(&format!(">>>>>>> theirs{end}"));
                }
            }
        }
        copy(&mut text, at(&self.now, &(done..self.now.len())), None);
        text
    }

    /// The line end around a conflict: CRLF if the previous line of both sides ends in CRLF; if that is unknown, the
    /// line end of the base's first line.
    fn line_end(&self, hunk: &Hunk) -> &'static str {
        let before = |lines: &[&str], start: usize| ends_in_crlf(lines, start.saturating_sub(1));
        let sides = match before(&self.now, hunk.now.start) {
            Some(false) => Some(false),
            _ => before(&self.sent, hunk.sent.start),
        };
        let crlf = match sides {
            Some(false) => Some(false),
            _ => ends_in_crlf(&self.base, 0),
        };
        if crlf == Some(true) { "\r\n" } else { "\n" }
    }
}

/// How many more lines (or fewer, if negative) a side has than the base after a change.
#[derive(Clone, Copy)]
struct Shift(isize);

impl Shift {
    fn behind(change: &Change) -> Self {
        Self(change.new.end.cast_signed() - change.old.end.cast_signed())
    }

    /// The lines of the side that correspond to those of the base.
    fn of(self, base: &Range<usize>) -> Range<usize> {
        base.start.saturating_add_signed(self.0)..base.end.saturating_add_signed(self.0)
    }
}

/// Adds a hunk, or extends the previous one if they touch.
fn append(hunks: &mut Vec<Hunk>, hunk: Hunk) {
    match hunks.last_mut() {
        Some(last) if hunk.now.start <= last.now.end || hunk.sent.start <= last.sent.end => {
            if last.from != hunk.from {
                last.from = From::Both;
            }
            last.base.end = hunk.base.end;
            last.now.end = hunk.now.end;
            last.sent.end = hunk.sent.end;
        }
        _ => hunks.push(hunk),
    }
}

/// Appends lines. Adds `end` to the last one if it has no line end.
fn copy(text: &mut String, lines: &[&str], end: Option<&str>) {
    text.extend(lines.iter().copied());
    if let (Some(last), Some(end)) = (lines.last(), end)
        && !last.ends_with('\n')
    {
        text.push_str(end);
    }
}

/// Whether a line ends in CRLF. A last line without an end counts as the previous line; `None` if there is none.
fn ends_in_crlf(lines: &[&str], line: usize) -> Option<bool> {
    let text = lines.get(line)?;
    if text.ends_with('\n') {
        return Some(text.ends_with("\r\n"));
    }
    lines.get(line.checked_sub(1)?).map(|before| before.ends_with("\r\n"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_in_other_codings_merge_in_them() {
        let utf_16 = |text: &str| -> Vec<u8> {
            std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
        };
        let merged = |base: &[u8], now: &[u8], sent: &[u8]| merge_contents(base, now, sent, &mut 1_000_000);
        let both = merged(&utf_16("a\nö\nc\n"), &utf_16("A\nö\nc\n"), &utf_16("a\nö\nC\n")).unwrap();
        assert!(both.clean);
        assert_eq!(both.clone().into_bytes(), utf_16("A\nö\nC\n"));
        assert_eq!(both.encoded.unwrap().coding.name(), "UTF-16LE");
        let torn = merged(&utf_16("a\n"), &utf_16("b\n"), &utf_16("c\n")).unwrap();
        assert!(!torn.clean && torn.text.starts_with("<<<<<<< ours\nb\n"));
        assert_eq!(torn.clone().into_bytes(), utf_16(&torn.text));

        let latin = |lines: &[u8]| [&b"# coding: latin-1\n"[..], lines].concat();
        let both = merged(&latin(b"a\nb\nc\n"), &latin(b"\xe4\nb\nc\n"), &latin(b"a\nb\nC\n")).unwrap();
        assert_eq!((both.clean, both.into_bytes()), (true, latin(b"\xe4\nb\nC\n")));
        // One side changed the encoding; both changed it, differently; bytes that are not text.
        let both = merged(&utf_16("a\nb\nö\n"), &utf_16("A\nb\nö\n"), "a\nb\nü\n".as_bytes()).unwrap();
        assert_eq!((both.clean, both.into_bytes()), (true, "A\nb\nü\n".as_bytes().to_vec()));
        let both = merged(&latin(b"a\nb\nc\n"), &latin(b"\xe4\nb\nc\n"), &latin("a\nb\n日\n".as_bytes())).unwrap();
        assert_eq!((both.clean, both.into_bytes()), (true, latin("ä\nb\n日\n".as_bytes())));
        assert_eq!(merged(&utf_16("ö\n"), "ö\n".as_bytes(), &latin(b"\xf6\n")), None);
        assert_eq!(merged(b"\xff", b"a", b"b"), None);
    }

    #[test]
    fn changes_of_different_lines_come_together() {
        let merged = merge("a\nb\nc\nd\ne\n", "A\nb\nc\nd\ne\n", "a\nb\nc\nd\nE\n", &mut MAX_STEPS.clone());
        assert_eq!(merged, Some(Merge { clean: true, text: "A\nb\nc\nd\nE\n".to_owned(), encoded: None }));
    }

    #[test]
    fn texts_that_take_too_long_are_not_merged() {
        // The same lines in different orders: the worst case of the search.
        let text = |factor: u64| (0..20_000).map(|line| format!("{}\n", line * factor % 20_011)).collect::<String>();
        let (base, now, sent) = (text(1), text(7_919), text(104_729));
        assert!(merge(&base, &now, &sent, &mut MAX_STEPS.clone()).is_some());
        let mut few = 100_000;
        assert_eq!(merge(&base, &now, &sent, &mut few), None);
        assert!(few < 1_000, "{few}");
        let short = "\n".repeat(MAX_LINES / 3 + 1);
        assert_eq!(merge(&short, &format!("a{short}"), &short, &mut MAX_STEPS.clone()), None);
    }

    fn conflict(base: &str, now: &str, sent: &str) -> String {
        let merged = merge(base, now, sent, &mut MAX_STEPS.clone()).unwrap();
        assert!(!merged.clean);
        merged.text
    }

    #[test]
    fn markers_have_lines_of_their_own_that_end_as_those_around_them() {
        assert_eq!(
            conflict("a\n", "now\n", "sent\n"),
            "<<<<<<< ours\nnow\n||||||| original\na\n=======\nsent\n>>>>>>> theirs\n"
        );
        assert_eq!(conflict("a", "b", "c"), "<<<<<<< ours\nb\n||||||| original\na\n=======\nc\n>>>>>>> theirs\n");
        assert_eq!(
            conflict("1\r\na\r\n", "1\r\nb\r\n", "1\r\nc"),
            "1\r\n<<<<<<< ours\r\nb\r\n||||||| original\r\na\r\n=======\r\nc\r\n>>>>>>> theirs\r\n"
        );
        assert_eq!(conflict("a", "", "c"), "<<<<<<< ours\n||||||| original\na\n=======\nc\n>>>>>>> theirs\n");
        // One side only adds the end of the last line, the other changes the line.
        assert_eq!(conflict("a", "a\n", "b"), "<<<<<<< ours\na\n||||||| original\na\n=======\nb\n>>>>>>> theirs\n");
    }

    /// A text, and two texts made from it by edits.
    fn triples(line: &'static str) -> impl Strategy<Value = [String; 3]> {
        let line = line.prop_map(|line| line.to_owned());
        let edits = || {
            proptest::collection::vec(
                (any::<prop::sample::Index>(), 0_usize..4, proptest::collection::vec(line.clone(), 0..4)),
                0..4,
            )
        };
        let all = (
            proptest::collection::vec(line.clone(), 0..16),
            edits(),
            edits(),
            prop_oneof![3 => Just("\n"), 1 => Just("\r\n")],
            [any::<bool>(); 3],
        );
        all.prop_map(|(base, ours, theirs, end, ended)| {
            let edit = |edits: Vec<(prop::sample::Index, usize, Vec<String>)>| {
                let mut lines = base.clone();
                for (at, len, new) in edits {
                    let at = at.index(lines.len() + 1);
                    lines.splice(at..(at + len).min(lines.len()), new);
                }
                lines
            };
            let texts = [base.clone(), edit(ours), edit(theirs)];
            let mut ended = ended.into_iter();
            texts.map(|lines| lines.join(end) + if ended.next() == Some(true) && !lines.is_empty() { end } else { "" })
        })
    }

    fn git(folder: &Path, [base, now, sent]: &[String; 3]) -> Option<Merge> {
        std::fs::create_dir_all(folder).unwrap();
        for (name, text) in [("base", base), ("now", now), ("sent", sent)] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let options = ["merge-file", "-p", "-q", "--diff3", "-L", "ours", "-L", "original", "-L", "theirs"];
        let output =
            Command::new("git").args(options).args(["now", "base", "sent"]).current_dir(folder).output().ok()?;
        Some(Merge { clean: output.status.success(), text: String::from_utf8(output.stdout).unwrap(), encoded: None })
    }

    fn compare(triple: &[String; 3]) {
        let test = std::thread::current().name().unwrap_or_default().replace(':', "-");
        let folder = std::env::temp_dir().join(format!("antiphon-{test}-{}", std::process::id()));
        let [base, now, sent] = triple;
        // git may be missing on this machine.
        if let Some(expected) = git(&folder, triple) {
            assert_eq!(merge(base, now, sent, &mut MAX_STEPS.clone()), Some(expected), "{triple:?}");
        }
        let _ = std::fs::remove_dir_all(folder);
    }

    /// The number of cases, from the environment variable.
    fn cases() -> ProptestConfig {
        let cases = std::env::var("MERGE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(150);
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn merges_are_those_of_git(triple in triples("[a-z]{6}")) {
            compare(&triple);
        }

        #[test]
        fn merges_of_repeated_lines_are_those_of_git(triple in triples("[a-c]")) {
            compare(&triple);
        }

        #[test]
        fn merges_of_some_repeated_lines_are_those_of_git(triple in triples("[a-z]{2}|\\}|")) {
            compare(&triple);
        }
    }
}
