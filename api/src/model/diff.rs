//! Line-by-line differences of two texts.
//!
//! Lines end at `\n` only. A lone `\r`, form feeds and U+2028 are ordinary characters.
//!
//! All work is bounded by the number of steps, not by time, so that the same two texts always give the same result: the
//! counts stored with a change agree with the diff shown a year later on a busy server.
//! 1. Common lines at both ends are removed, whatever their size.
//! 2. For up to [`EXACT_LINES`] remaining lines, Myers' algorithm with its heuristics (crate `similar`) finds the
//!    difference.
//! 3. For more lines, those that are unique on both sides and in the same order are taken as equal (patience diff), and
//!    Myers' algorithm fills the gaps until it has seen [`EXACT_LINES`]; the remaining gaps are replaced as a whole.
//! 4. For more than [`ANCHORED_LINES`], everything that differs is replaced as a whole. All results are correct; later
//!    methods are coarser.

use std::collections::HashMap;

use serde::{Serialize, Serializer};
use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices, group_diff_ops};

/// Maximum number of lines of both sides together for Myers' algorithm. Its worst cases (shuffled or repeated lines)
/// take 60 to 100 ms for this number in a release build, and 2 s for ten times as many.
const EXACT_LINES: usize = 20_000;

/// Maximum number of lines of both sides together that are compared one by one (about 50 bytes of memory each).
const ANCHORED_LINES: usize = 400_000;

/// Equal lines shown around a change.
const CONTEXT: usize = 3;

/// Size of a change, in lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Lines that only the new text has.
    pub additions: i32,
    /// Lines that only the old text has.
    pub deletions: i32,
}

/// The kind of a run of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LineOp {
    /// In both texts.
    Equal,
    /// In the new text only.
    Insert,
    /// In the old text only.
    Delete,
}

/// A run of lines, as in the API's `lineChanges`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LineChange<'a> {
    /// The kind.
    pub op: LineOp,
    /// Its first line in the old text, from 1; for an insertion the line that it precedes.
    pub old_start: u32,
    /// Its first line in the new text, from 1; for a deletion the line that now has its place.
    pub new_start: u32,
    /// The lines.
    pub lines: Lines<'a>,
}

/// The lines of a text. It keeps no list of them, which would take more memory than short lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines<'a>(&'a str);

impl<'a> Lines<'a> {
    /// The lines without their `\n`.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        self.0.split_inclusive('\n').map(|line| line.strip_suffix('\n').unwrap_or(line))
    }

    /// The number of lines.
    pub fn count(self) -> usize {
        count_lines(self.0)
    }
}

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// The text of a file; `None` if its bytes are not UTF-8.
pub fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Counts the added and deleted lines: the `+` and `-` lines of a patch.
pub fn stat(old: &str, new: &str) -> Stat {
    let mut stat = Stat::default();
    for op in Diff::new(old, new).ops.iter().filter(|op| op.tag() != DiffTag::Equal) {
        stat.additions = stat.additions.saturating_add(i32::try_from(op.new_range().len()).unwrap_or(i32::MAX));
        stat.deletions = stat.deletions.saturating_add(i32::try_from(op.old_range().len()).unwrap_or(i32::MAX));
    }
    stat
}

/// The difference as runs of lines. Runs of equal lines are cut to 3 lines of context around changes. If texts differ
/// only in the newline at the end, their last line is deleted and inserted.
pub fn line_changes<'a>(old: &'a str, new: &'a str) -> Vec<LineChange<'a>> {
    let runs = Diff::new(old, new).groups().into_iter().flat_map(|group| group.runs);
    runs.map(|run| LineChange {
        op: run.op,
        old_start: u32::try_from(run.old_line + 1).unwrap_or(u32::MAX),
        new_start: u32::try_from(run.new_line + 1).unwrap_or(u32::MAX),
        lines: Lines(run.text),
    })
    .collect()
}

/// Similarity of two contents, from 0 to 1: the size of their common lines in any order, divided by the larger size.
/// Lines are cut after 64 bytes, so that it also works for binary contents. This is git's measure for rename detection
/// (diffcore-delta.c). Takes time and memory linear in the sizes.
pub fn similarity(old: &[u8], new: &[u8]) -> f32 {
    let largest = old.len().max(new.len());
    if largest == 0 {
        return 1.0;
    }
    let mut left: HashMap<&[u8], usize> = HashMap::new();
    for chunk in chunks(old) {
        *left.entry(chunk).or_default() += 1;
    }
    let mut shared = 0;
    for chunk in chunks(new) {
        if let Some(count) = left.get_mut(chunk).filter(|count| **count > 0) {
            *count -= 1;
            shared += chunk.len();
        }
    }
    shared as f32 / largest as f32
}

fn chunks(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line.chunks(64))
}

/// The part of two texts that contains all differences, with up to 3 equal lines at each end.
pub(super) struct Diff<'a> {
    old: &'a str,
    new: &'a str,
    /// Number of lines before that part, the same in both texts.
    skipped: usize,
    /// Edit steps from old to new, in lines of that part.
    ops: Vec<DiffOp>,
}

/// Neighbouring changes with the equal lines around them: a hunk.
pub(super) struct Group<'a> {
    pub(super) runs: Vec<Run<'a>>,
    pub(super) old_count: usize,
    pub(super) new_count: usize,
}

/// Lines of one kind. Line numbers count from 0.
pub(super) struct Run<'a> {
    pub(super) op: LineOp,
    pub(super) old_line: usize,
    pub(super) new_line: usize,
    pub(super) text: &'a str,
}

impl<'a> Diff<'a> {
    pub(super) fn new(old: &'a str, new: &'a str) -> Self {
        if old == new {
            return Self { old: "", new: "", skipped: 0, ops: vec![] };
        }
        let (prefix, suffix) = common_ends(old, new);
        let (old_middle, new_middle) = (middle(old, prefix, suffix), middle(new, prefix, suffix));
        let before = old.get(..prefix).map_or(0, |text| last_lines(text, CONTEXT));
        let after = old.get(old.len() - suffix..).map_or(0, |text| first_lines(text, CONTEXT));
        let (context_before, context_after) =
            (middle(old, before, old.len() - prefix), middle(old, old.len() - suffix, suffix - after));
        Self {
            old: middle(old, before, suffix - after),
            new: middle(new, before, suffix - after),
            skipped: old.get(..before).map_or(0, count_newlines),
            ops: steps(old_middle, new_middle, count_lines(context_before), count_lines(context_after)),
        }
    }

    pub(super) fn groups(self) -> Vec<Group<'a>> {
        let Self { mut old, mut new, skipped, ops } = self;
        let (mut old_at, mut new_at) = (0, 0);
        let mut groups = Vec::new();
        for ops in group_diff_ops(ops, CONTEXT) {
            let mut group = Group { runs: Vec::new(), old_count: 0, new_count: 0 };
            for op in ops {
                let (tag, old_range, new_range) = op.as_tag_tuple();
                take_lines(&mut old, old_range.start - old_at);
                take_lines(&mut new, new_range.start - new_at);
                let (old_text, new_text) =
                    (take_lines(&mut old, old_range.len()), take_lines(&mut new, new_range.len()));
                (old_at, new_at) = (old_range.end, new_range.end);
                group.old_count += old_range.len();
                group.new_count += new_range.len();
                let (old_line, new_line) = (skipped + old_range.start, skipped + new_range.start);
                if tag == DiffTag::Equal {
                    group.runs.push(Run { op: LineOp::Equal, old_line, new_line, text: old_text });
                    continue;
                }
                if !old_text.is_empty() {
                    group.runs.push(Run { op: LineOp::Delete, old_line, new_line, text: old_text });
                }
                if !new_text.is_empty() {
                    let old_line = old_line + old_range.len();
                    group.runs.push(Run { op: LineOp::Insert, old_line, new_line, text: new_text });
                }
            }
            groups.push(group);
        }
        groups
    }
}

/// The sizes in bytes of the common whole lines at the beginnings and the ends of two different texts.
fn common_ends(old: &str, new: &str) -> (usize, usize) {
    let same = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
    let is_line_start = |text: &str, at: usize| at == 0 || text.as_bytes().get(at - 1) == Some(&b'\n');
    // Cut at the last common newline, not character: only whole lines can be equal.
    let prefix =
        old.as_bytes().get(..same).and_then(|text| text.iter().rposition(|b| *b == b'\n')).map_or(0, |at| at + 1);
    let rest = old.len().min(new.len()) - prefix;
    let same = old.bytes().rev().zip(new.bytes().rev()).take(rest).take_while(|(a, b)| a == b).count();
    if is_line_start(old, old.len() - same) && is_line_start(new, new.len() - same) {
        return (prefix, same);
    }
    let tail = old.as_bytes().get(old.len() - same..).unwrap_or_default();
    (prefix, tail.iter().position(|b| *b == b'\n').map_or(0, |at| same - at - 1))
}

/// The text without this many bytes at its ends, which are at line boundaries.
fn middle(text: &str, prefix: usize, suffix: usize) -> &str {
    text.get(prefix..text.len() - suffix).unwrap_or_default()
}

/// Offset of the last `count` lines of a text of whole lines.
fn last_lines(text: &str, count: usize) -> usize {
    text.rmatch_indices('\n').nth(count).map_or(0, |(at, _)| at + 1)
}

/// Offset of the end of the first `count` lines of a text.
fn first_lines(text: &str, count: usize) -> usize {
    text.split_inclusive('\n').take(count).map(str::len).sum()
}

/// Removes the first `count` lines from `text`, and returns them.
fn take_lines<'a>(text: &mut &'a str, count: usize) -> &'a str {
    let (lines, rest) = text.split_at_checked(first_lines(text, count)).unwrap_or((text, ""));
    *text = rest;
    lines
}

fn count_newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// The number of lines of a text.
pub fn count_lines(text: &str) -> usize {
    count_newlines(text) + usize::from(!text.is_empty() && !text.ends_with('\n'))
}

/// The edit steps between two texts, with this many equal lines before and after them.
fn steps(old: &str, new: &str, before: usize, after: usize) -> Vec<DiffOp> {
    let (old_len, new_len) = (count_lines(old), count_lines(new));
    let mut equal = Equal::default();
    equal.push(0, 0, before);
    if old_len + new_len <= ANCHORED_LINES {
        let mut numbers = HashMap::with_capacity(old_len + new_len);
        let (old, new) = (number_lines(old, &mut numbers), number_lines(new, &mut numbers));
        if old_len + new_len <= EXACT_LINES {
            equal.myers(&old, &new, before, before);
        } else {
            equal.anchored(&old, &new, numbers.len(), before);
        }
    }
    equal.push(before + old_len, before + new_len, after);
    equal.into_ops(before + old_len + after, before + new_len + after)
}

/// Replaces each line by a number; equal lines have equal numbers.
fn number_lines<'a>(text: &'a str, numbers: &mut HashMap<&'a str, u32>) -> Vec<u32> {
    text.split_inclusive('\n')
        .map(|line| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(line).or_insert(next)
        })
        .collect()
}

/// The runs of equal lines, in order: (first line in old, first line in new, length).
#[derive(Default)]
struct Equal(Vec<(usize, usize, usize)>);

impl Equal {
    fn push(&mut self, old: usize, new: usize, len: usize) {
        match self.0.last_mut() {
            Some((last_old, last_new, last_len)) if *last_old + *last_len == old && *last_new + *last_len == new => {
                *last_len += len;
            }
            _ if len > 0 => self.0.push((old, new, len)),
            _ => {}
        }
    }

    /// Adds the equal lines that Myers' algorithm finds in two slices that begin at these lines.
    fn myers(&mut self, old: &[u32], new: &[u32], old_at: usize, new_at: usize) {
        for op in capture_diff_slices(Algorithm::Myers, old, new) {
            if let DiffOp::Equal { old_index, new_index, len } = op {
                self.push(old_at + old_index, new_at + new_index, len);
            }
        }
    }

    /// Adds the equal lines in parts, between the lines that are unique on both sides and in the same order.
    fn anchored(&mut self, old: &[u32], new: &[u32], distinct: usize, at: usize) {
        let mut budget = EXACT_LINES;
        let (mut old_done, mut new_done) = (0, 0);
        let ends = [(old.len(), new.len())];
        for (old_anchor, new_anchor) in anchors(old, new, distinct).into_iter().chain(ends) {
            let old_gap = old.get(old_done..old_anchor).unwrap_or_default();
            let new_gap = new.get(new_done..new_anchor).unwrap_or_default();
            let prefix = old_gap.iter().zip(new_gap).take_while(|(a, b)| a == b).count();
            self.push(at + old_done, at + new_done, prefix);
            let old_gap = old_gap.get(prefix..).unwrap_or_default();
            let new_gap = new_gap.get(prefix..).unwrap_or_default();
            let suffix = old_gap.iter().rev().zip(new_gap.iter().rev()).take_while(|(a, b)| a == b).count();
            let old_gap = old_gap.get(..old_gap.len() - suffix).unwrap_or_default();
            let new_gap = new_gap.get(..new_gap.len() - suffix).unwrap_or_default();
            let cost = old_gap.len() + new_gap.len();
            if !old_gap.is_empty() && !new_gap.is_empty() && cost <= budget {
                budget -= cost;
                self.myers(old_gap, new_gap, at + old_done + prefix, at + new_done + prefix);
            }
            self.push(at + old_anchor - suffix, at + new_anchor - suffix, suffix);
            (old_done, new_done) = (old_anchor, new_anchor);
        }
    }

    fn into_ops(self, old_len: usize, new_len: usize) -> Vec<DiffOp> {
        let mut ops = Vec::with_capacity(2 * self.0.len() + 1);
        let (mut old_at, mut new_at) = (0, 0);
        for (old_index, new_index, len) in self.0.into_iter().chain([(old_len, new_len, 0)]) {
            match (old_index - old_at, new_index - new_at) {
                (0, 0) => {}
                (old_len, 0) => ops.push(DiffOp::Delete { old_index: old_at, old_len, new_index: new_at }),
                (0, new_len) => ops.push(DiffOp::Insert { old_index: old_at, new_index: new_at, new_len }),
                (old_len, new_len) => {
                    ops.push(DiffOp::Replace { old_index: old_at, old_len, new_index: new_at, new_len });
                }
            }
            if len > 0 {
                ops.push(DiffOp::Equal { old_index, new_index, len });
            }
            (old_at, new_at) = (old_index + len, new_index + len);
        }
        ops
    }
}

/// The longest sequence of lines that are unique on both sides and in the same order: the longest increasing
/// subsequence by patience sorting (Fredman 1975).
fn anchors(old: &[u32], new: &[u32], distinct: usize) -> Vec<(usize, usize)> {
    let (old_places, new_places) = (unique_places(old, distinct), unique_places(new, distinct));
    // The pairs in the order of the old lines. `piles` holds, for each length, the pair that ends a run of that length
    // at the earliest new line; `before` holds each pair's predecessor in its run.
    let pairs: Vec<(usize, usize)> = {
        let both = old_places.into_iter().zip(new_places);
        let mut pairs: Vec<_> = both.filter_map(|(old, new)| old.zip(new)).collect();
        pairs.sort_unstable();
        pairs
    };
    let new_of = |pair: usize| pairs.get(pair).map_or(0, |(_, new)| *new);
    let mut piles: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (pair, (_, new)) in pairs.iter().enumerate() {
        let length = piles.partition_point(|top| new_of(*top) < *new);
        before.push(length.checked_sub(1).and_then(|shorter| piles.get(shorter).copied()));
        match piles.get_mut(length) {
            Some(top) => *top = pair,
            None => piles.push(pair),
        }
    }
    let last = piles.last().copied();
    let run = std::iter::successors(last, |pair| before.get(*pair).copied().flatten());
    let mut anchors: Vec<_> = run.filter_map(|pair| pairs.get(pair).copied()).collect();
    anchors.reverse();
    anchors
}

/// For each line number its position, if it occurs once.
fn unique_places(lines: &[u32], distinct: usize) -> Vec<Option<usize>> {
    let mut places = vec![(0_u32, 0_usize); distinct];
    for (place, line) in lines.iter().enumerate() {
        if let Some((count, at)) = places.get_mut(*line as usize) {
            *count = count.saturating_add(1);
            *at = place;
        }
    }
    places.into_iter().map(|(count, at)| (count == 1).then_some(at)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::model::file::FileMode;
    use crate::model::patch::{Side, unified};

    fn diff(old: &str, new: &str) -> String {
        let side = Some(Side { path: "f", mode: FileMode::File });
        unified(old, new, side, side)
    }

    /// Applies a unified diff strictly: all context, deleted lines, positions and counts must match.
    fn apply(old: &str, diff: &str) -> String {
        let old: Vec<&str> = old.split_inclusive('\n').collect();
        let (mut new, mut at, mut new_lines) = (String::new(), 0, 0);
        let mut lines = diff.split_inclusive('\n').skip(3).peekable();
        while let Some(header) = lines.next() {
            let ranges = header.strip_prefix("@@ -").unwrap().strip_suffix(" @@\n").unwrap();
            let [(old_start, old_count), (new_start, new_count)] = {
                let (old, new) = ranges.split_once(" +").unwrap();
                [old, new].map(|range| {
                    let (start, count) = range.split_once(',').unwrap_or((range, "1"));
                    let (start, count): (usize, usize) = (start.parse().unwrap(), count.parse().unwrap());
                    (if count == 0 { start } else { start - 1 }, count)
                })
            };
            for line in &old[at..old_start] {
                new.push_str(line);
                new_lines += 1;
            }
            at = old_start;
            assert_eq!(new_lines, new_start);
            while lines.peek().is_some_and(|line| !line.starts_with("@@")) {
                let (sign, mut line) = lines.next().unwrap().split_at(1);
                if lines.next_if_eq(&"\\ No newline at end of file\n").is_some() {
                    line = &line[..line.len() - 1];
                }
                if sign != "+" {
                    assert_eq!(old[at], line);
                    at += 1;
                }
                if sign != "-" {
                    new.push_str(line);
                    new_lines += 1;
                }
            }
            assert_eq!((at, new_lines), (old_start + old_count, new_start + new_count));
        }
        new.extend(old[at..].iter().copied());
        new
    }

    /// Checks the properties that hold for any two texts.
    fn check(old: &str, new: &str) {
        let text = diff(old, new);
        assert_eq!(text.is_empty(), old == new);
        assert_eq!(apply(old, &text), new);
        let count = |sign| text.split('\n').skip(3).filter(|line| line.starts_with(sign)).count() as i32;
        assert_eq!(stat(old, new), Stat { additions: count('+'), deletions: count('-') });

        let lines = |text: &str| text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
        let (old, new) = (lines(old), lines(new));
        let (mut old_at, mut new_at) = (0, 0);
        let changes = line_changes_owned(&old.concat(), &new.concat());
        for (op, old_start, new_start, run) in &changes {
            let (old_start, new_start) = (*old_start as usize - 1, *new_start as usize - 1);
            assert_eq!(old[old_at..old_start], new[new_at..new_start]);
            let of = |side: &[String], at: usize| {
                side[at..at + run.len()].iter().map(|l| l.trim_end_matches('\n').to_owned()).collect::<Vec<_>>()
            };
            (old_at, new_at) = (old_start, new_start);
            if *op != LineOp::Insert {
                assert_eq!(&of(&old, old_at), run);
                old_at += run.len();
            }
            if *op != LineOp::Delete {
                assert_eq!(&of(&new, new_at), run);
                new_at += run.len();
            }
            assert!(*op != LineOp::Equal || run.len() <= 2 * CONTEXT);
        }
        assert_eq!(old[old_at..], new[new_at..]);
    }

    fn line_changes_owned(old: &str, new: &str) -> Vec<(LineOp, u32, u32, Vec<String>)> {
        let owned = |lines: Lines<'_>| lines.iter().map(str::to_owned).collect();
        line_changes(old, new).into_iter().map(|c| (c.op, c.old_start, c.new_start, owned(c.lines))).collect()
    }

    #[test]
    fn as_diff_u_writes_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\n12\n13\n14\n";
        let expected = "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n@@ -11,3 +11,4 @@\n 11\n 12\n 13\n+14\n";
        assert_eq!(diff(old, new), expected);
        assert_eq!(stat(old, new), Stat { additions: 2, deletions: 1 });
    }

    #[test]
    fn empty_sides_and_single_lines() {
        assert_eq!(diff("a\n", "b\n"), "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n");
        assert_eq!(diff("same\n", "same\n"), "");
    }

    #[test]
    fn the_last_newline_counts() {
        let none = "\\ No newline at end of file\n";
        assert_eq!(diff("a", "a\n"), format!("diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n{none}+a\n"));
        assert_eq!(diff("a\n", "a"), format!("diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+a\n{none}"));
        assert_eq!(
            diff("a\nb", "c\nb"),
            format!("diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-a\n+c\n b\n{none}")
        );
        assert_eq!(stat("a", "a\n"), Stat { additions: 1, deletions: 1 });
    }

    #[test]
    fn only_lf_ends_a_line() {
        let old = "a\rb\u{2028}c\u{85}d\u{b}\u{c}e\r\nf\r\n";
        assert_eq!(
            diff(old, &old.replace("f\r", "f")),
            format!("diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n {}-f\r\n+f\n", &old[..old.len() - 3])
        );
        assert_eq!(stat("a\rb", "a\rc"), Stat { additions: 1, deletions: 1 });
        assert_eq!(line_changes("a\r\n", "b\r\n")[0].lines.iter().collect::<Vec<_>>(), ["a\r"]);
    }

    #[test]
    fn line_changes_as_the_api_has_them() {
        let changes = line_changes("1\n2\n3\n4\n5\n", "1\n2\n3\n4\nfive\nsix\n");
        assert_eq!(
            serde_json::to_value(changes).unwrap(),
            serde_json::json!([
                { "op": "equal", "oldStart": 2, "newStart": 2, "lines": ["2", "3", "4"] },
                { "op": "delete", "oldStart": 5, "newStart": 5, "lines": ["5"] },
                { "op": "insert", "oldStart": 6, "newStart": 5, "lines": ["five", "six"] },
            ])
        );
        assert!(line_changes("a", "a").is_empty());
    }

    /// `count` different lines in an order that depends on `seed`.
    fn shuffled(count: u64, seed: u64) -> String {
        let mut lines: Vec<_> = (0..count).collect();
        lines.sort_by_key(|n| (n + 1).wrapping_mul(seed | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29));
        lines.into_iter().fold(String::new(), |mut text, n| {
            writeln!(text, "line {n}").unwrap();
            text
        })
    }

    #[test]
    fn large_rewrites_are_coarse_and_correct() {
        // More lines than for Myers' algorithm, more than are compared one by one, and sizes around the limits.
        for count in [9_999, 10_001, 30_000, 210_000] {
            check(&shuffled(count, 3), &shuffled(count, 77));
        }
        check(&"\n".repeat(300_000), &"x\n".repeat(200_000));
    }

    #[test]
    fn scattered_edits_of_a_large_file_are_exact() {
        let old = shuffled(60_000, 5);
        let new: String =
            old.split_inclusive('\n')
                .enumerate()
                .flat_map(|(n, line)| {
                    if n % 1000 == 500 { ["changed\n", ""] } else { [line, if n % 997 == 3 { "new\n" } else { "" }] }
                })
                .collect();
        check(&old, &new);
        let inserted = (0..60_000).filter(|n| n % 1000 != 500 && n % 997 == 3).count() as i32;
        assert_eq!(stat(&old, &new), Stat { additions: 60 + inserted, deletions: 60 });
    }

    #[test]
    fn ends_in_common_cost_nothing() {
        let large = shuffled(500_000, 9);
        let new = format!("{large}end\n");
        assert_eq!(stat(&large, &new), Stat { additions: 1, deletions: 0 });
        assert_eq!(diff(&large, &new).lines().nth(3), Some("@@ -499998,3 +499998,4 @@"));
    }

    #[test]
    fn similarity_is_the_shared_part() {
        assert_eq!(similarity(b"", b""), 1.0);
        assert_eq!(similarity(b"a\n", b""), 0.0);
        assert_eq!(similarity(b"a\nb\n", b"b\na\n"), 1.0);
        assert_eq!(similarity(b"a\na\nb\n", b"a\nc\nd\n"), 2.0 / 6.0);
        let (old, new) = (vec![7; 640], [vec![7; 320], vec![8; 320]].concat());
        assert_eq!(similarity(&old, &new), 0.5);
    }

    #[test]
    fn text_is_utf8() {
        assert_eq!(text_of("é\0".as_bytes()), Some("é\0"));
        assert_eq!(text_of(&[0xff, b'a']), None);
    }

    pub(in crate::model) fn texts() -> impl Strategy<Value = (String, String)> {
        let line = prop_oneof![6 => "[ab]?", 2 => "[-+ @\\\\]{0,3}", 1 => "[a\r\u{2028}é]{0,3}", 1 => Just("--- a/x".to_owned())];
        let text =
            (proptest::collection::vec(line, 0..40), "\n|\r\n|").prop_map(|(lines, end)| lines.join("\n") + &end);
        let edit = (any::<prop::sample::Index>(), 0_usize..6, text.clone());
        (text.clone(), text, proptest::option::weighted(0.7, edit)).prop_map(|(old, new, edit)| match edit {
            None => (old, new),
            Some((at, len, insert)) => {
                let mut lines: Vec<&str> = old.split_inclusive('\n').collect();
                let at = at.index(lines.len() + 1);
                lines.splice(at..(at + len).min(lines.len()), [insert.as_str()]);
                let new = lines.concat();
                (old, new)
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_two_texts((old, new) in texts()) {
            check(&old, &new);
            let alike = similarity(old.as_bytes(), new.as_bytes());
            prop_assert!((0.0..=1.0).contains(&alike));
            prop_assert_eq!(alike, similarity(new.as_bytes(), old.as_bytes()));
        }

        #[test]
        fn in_parts((old, new) in texts()) {
            let mut numbers = HashMap::new();
            let (old, new) = (number_lines(&old, &mut numbers), number_lines(&new, &mut numbers));
            let mut equal = Equal::default();
            equal.anchored(&old, &new, numbers.len(), 0);
            let (mut old_at, mut new_at) = (0, 0);
            for (old_start, new_start, len) in equal.0 {
                prop_assert!(len > 0 && old_start >= old_at && new_start >= new_at);
                (old_at, new_at) = (old_start + len, new_start + len);
                prop_assert_eq!(&old[old_start..old_at], &new[new_start..new_at]);
            }
        }
    }
}
