//! The changes between two texts, exactly as git finds and places them.
//!
//! A merge needs this: if both sides make the same change to repeated lines, both changes must cover the same lines of
//! the base. If they cover different lines, the merge loses or doubles lines. The method is that of git's xdiff:
//! 1. Lines that the other text lacks are changed. Lines that the other text has very often are changed, too, if many
//!    changed lines are around them.
//! 2. E. Myers' divide and conquer finds the rest ("An O(ND) Difference Algorithm and Its Variations", 1986). If the
//!    search takes long, it returns a good result instead of the shortest one.
//! 3. Each change slides down as far as its lines repeat, or less far if it then meets a change of the other text.

use std::collections::HashMap;
use std::ops::Range;

/// A line that the other text has at least this often is common, whatever the size of the text.
const MAX_COMMON: usize = 1024;
/// Number of lines around a common line that are examined.
const WINDOW: usize = 100;
/// Number of consecutive equal lines that make a good place to split.
const SNAKE: isize = 20;
/// From this cost on, the search takes a good place instead of the best one.
const GOOD_COST: isize = 256;
/// Factor by which the gain of a good place must exceed its cost.
const GOOD_GAIN: isize = 4;

/// Lines of the new text that replace lines of the old one, as ranges that count from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The replaced lines.
    pub old: Range<usize>,
    /// Their replacement.
    pub new: Range<usize>,
}

/// Finds the changes. Between two neighbouring changes there is at least one equal line. `None` if this takes more than
/// `steps` (comparisons of lines or diagonals, and slides); the steps taken are subtracted.
pub fn changes(old: &str, new: &str, steps: &mut u64) -> Option<Vec<Change>> {
    let mut numbers = HashMap::new();
    let mut old = Side::new(old, &mut numbers);
    let mut new = Side::new(new, &mut numbers);
    let (old_counts, new_counts) = (counts(&old.lines, numbers.len()), counts(&new.lines, numbers.len()));
    let prefix = old.lines.iter().zip(&new.lines).take_while(|(old, new)| old == new).count();
    let rest = old.lines.len().min(new.lines.len()) - prefix;
    let ends = old.lines.iter().rev().zip(new.lines.iter().rev()).take(rest);
    let suffix = ends.take_while(|(old, new)| old == new).count();
    old.prune(prefix..old.lines.len() - suffix, &new_counts);
    new.prune(prefix..new.lines.len() - suffix, &old_counts);
    Search::new(&mut old, &mut new, steps).run()?;
    compact(&mut old, &new, steps)?;
    compact(&mut new, &old, steps)?;
    Some(collect(&old.changed, &new.changed))
}

/// A text during a comparison.
struct Side {
    /// Lines as numbers; equal lines have equal numbers in both texts.
    lines: Vec<usize>,
    /// The lines that the other text lacks, as far as known.
    changed: Vec<bool>,
    /// The lines that take part in the search.
    kept: Vec<Kept>,
}

#[derive(Clone, Copy)]
struct Kept {
    line: usize,
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Matches {
    Nowhere,
    Sometimes,
    Often,
}

impl Side {
    fn new<'a>(text: &'a str, numbers: &mut HashMap<&'a str, usize>) -> Self {
        let number = |line| {
            let next = numbers.len();
            *numbers.entry(line).or_insert(next)
        };
        let lines: Vec<usize> = text.split_inclusive('\n').map(number).collect();
        Self { changed: vec![false; lines.len()], kept: Vec::new(), lines }
    }

    /// Removes lines from the search that are certainly changed.
    fn prune(&mut self, range: Range<usize>, other_counts: &[usize]) {
        let common = rough_root(self.lines.len()).min(MAX_COMMON);
        let start = range.start;
        let lines = self.lines.get(range).unwrap_or_default();
        let count = |line: &usize| other_counts.get(*line).copied().unwrap_or_default();
        let matches: Vec<Matches> = lines
            .iter()
            .map(|line| match count(line) {
                0 => Matches::Nowhere,
                count if count >= common => Matches::Often,
                _ => Matches::Sometimes,
            })
            .collect();
        for (index, (line, matched)) in lines.iter().zip(&matches).enumerate() {
            let is_pruned = match matched {
                Matches::Nowhere => true,
                Matches::Sometimes => false,
                Matches::Often => is_among_changes(&matches, index),
            };
            if is_pruned {
                set(&mut self.changed, start + index, true);
            } else {
                self.kept.push(Kept { line: *line, at: start + index });
            }
        }
    }
}

/// Whether there are changed lines on both sides of a common line, and more than three times as many as common ones.
fn is_among_changes(matches: &[Matches], index: usize) -> bool {
    let before = matches.get(index.saturating_sub(WINDOW)..index).unwrap_or_default();
    let after = matches.get(index + 1..matches.len().min(index + WINDOW + 1)).unwrap_or_default();
    let count = |lines: &mut dyn Iterator<Item = &Matches>| {
        let lines = lines.take_while(|line| **line != Matches::Sometimes);
        lines.fold((0, 1), |(changed, common), line| match line {
            Matches::Nowhere => (changed + 1, common),
            _ => (changed, common + 1),
        })
    };
    let (changed_before, common_before) = count(&mut before.iter().rev());
    let (changed_after, common_after) = count(&mut after.iter());
    changed_before > 0 && changed_after > 0 && changed_before + changed_after > 3 * (common_before + common_after)
}

/// A power of two near the square root.
fn rough_root(mut number: usize) -> usize {
    let mut root = 1;
    while number > 0 {
        root *= 2;
        number /= 4;
    }
    root
}

fn counts(lines: &[usize], distinct: usize) -> Vec<usize> {
    let mut counts = vec![0; distinct];
    for line in lines {
        if let Some(count) = counts.get_mut(*line) {
            *count += 1;
        }
    }
    counts
}

fn set(flags: &mut [bool], at: usize, value: bool) {
    if let Some(flag) = flags.get_mut(at) {
        *flag = value;
    }
}

/// How far a search has come on each diagonal (line of the old text minus line of the new one).
struct Reached {
    lines: Vec<isize>,
    /// The index of diagonal 0.
    zero: isize,
}

impl Reached {
    fn on(&self, diagonal: isize) -> isize {
        usize::try_from(diagonal + self.zero).ok().and_then(|index| self.lines.get(index)).copied().unwrap_or_default()
    }

    fn set(&mut self, diagonal: isize, line: isize) {
        let index = usize::try_from(diagonal + self.zero).ok();
        if let Some(reached) = index.and_then(|index| self.lines.get_mut(index)) {
            *reached = line;
        }
    }
}

/// Ranges of lines of both texts to compare.
#[derive(Clone, Copy)]
struct Area {
    old: (isize, isize),
    new: (isize, isize),
    /// Whether to find the shortest result at any cost.
    is_minimal: bool,
}

/// The place where an area is split.
struct Split {
    old: isize,
    new: isize,
    is_first_minimal: bool,
    is_second_minimal: bool,
}

/// The diagonals that one direction of a search has reached.
#[derive(Clone, Copy)]
struct Span {
    min: isize,
    max: isize,
}

impl Span {
    fn contains(self, diagonal: isize) -> bool {
        (self.min..=self.max).contains(&diagonal)
    }

    /// Every second diagonal, from the highest to the lowest.
    fn diagonals(self) -> impl Iterator<Item = isize> {
        (self.min..=self.max).rev().step_by(2)
    }

    /// Adds one diagonal at each end, up to the corners of the area, and puts `beyond` after the ends.
    fn widen(&mut self, corners: Span, reached: &mut Reached, beyond: isize) {
        if self.min > corners.min {
            self.min -= 1;
            reached.set(self.min - 1, beyond);
        } else {
            self.min += 1;
        }
        if self.max < corners.max {
            self.max += 1;
            reached.set(self.max + 1, beyond);
        } else {
            self.max -= 1;
        }
    }
}

struct Search<'a> {
    old: &'a mut Side,
    new: &'a mut Side,
    forward: Reached,
    backward: Reached,
    max_cost: isize,
    steps: &'a mut u64,
}

impl<'a> Search<'a> {
    fn new(old: &'a mut Side, new: &'a mut Side, steps: &'a mut u64) -> Self {
        let diagonals = old.kept.len() + new.kept.len() + 3;
        let zero = new.kept.len().cast_signed() + 1;
        let reached = || Reached { lines: vec![0; diagonals], zero };
        let max_cost = rough_root(diagonals).cast_signed().max(GOOD_COST);
        Self { forward: reached(), backward: reached(), max_cost, old, new, steps }
    }

    /// Marks the changed lines.
    fn run(mut self) -> Option<()> {
        let size = |side: &Side| (0, side.kept.len().cast_signed());
        let mut areas = vec![Area { old: size(self.old), new: size(self.new), is_minimal: false }];
        while let Some(mut area) = areas.pop() {
            while !area.is_empty() && self.is_equal(area.old.0, area.new.0) {
                (area.old.0, area.new.0) = (area.old.0 + 1, area.new.0 + 1);
            }
            while !area.is_empty() && self.is_equal(area.old.1 - 1, area.new.1 - 1) {
                (area.old.1, area.new.1) = (area.old.1 - 1, area.new.1 - 1);
            }
            if area.is_empty() {
                mark(self.old, area.old);
                mark(self.new, area.new);
                continue;
            }
            let split = self.split(area)?;
            areas.push(Area {
                old: (split.old, area.old.1),
                new: (split.new, area.new.1),
                is_minimal: split.is_second_minimal,
            });
            areas.push(Area {
                old: (area.old.0, split.old),
                new: (area.new.0, split.new),
                is_minimal: split.is_first_minimal,
            });
        }
        Some(())
    }

    fn is_equal(&self, old: isize, new: isize) -> bool {
        let line =
            |side: &Side, at: isize| usize::try_from(at).ok().and_then(|at| side.kept.get(at)).map(|kept| kept.line);
        let old = line(self.old, old);
        old.is_some() && old == line(self.new, new)
    }

    fn take(&mut self, steps: isize) -> Option<()> {
        *self.steps = self.steps.checked_sub(steps.unsigned_abs() as u64)?;
        Some(())
    }

    /// Searches from both ends until the searches meet.
    fn split(&mut self, area: Area) -> Option<Split> {
        let corners = Span { min: area.old.0 - area.new.1, max: area.old.1 - area.new.0 };
        let (first, last) = (area.old.0 - area.new.0, area.old.1 - area.new.1);
        let is_odd = (first - last) % 2 != 0;
        let (mut ahead, mut back) = (Span { min: first, max: first }, Span { min: last, max: last });
        self.forward.set(first, area.old.0);
        self.backward.set(last, area.old.1);
        for cost in 1_isize.. {
            let mut has_snake = false;
            ahead.widen(corners, &mut self.forward, -1);
            for diagonal in ahead.diagonals() {
                let (left, right) = (self.forward.on(diagonal - 1), self.forward.on(diagonal + 1));
                let start = if left >= right { left + 1 } else { right };
                let mut old = start;
                while old < area.old.1 && old - diagonal < area.new.1 && self.is_equal(old, old - diagonal) {
                    old += 1;
                }
                self.take(old - start + 1)?;
                has_snake |= old - start > SNAKE;
                self.forward.set(diagonal, old);
                if is_odd && back.contains(diagonal) && self.backward.on(diagonal) <= old {
                    return Some(Split::best(old, old - diagonal));
                }
            }
            back.widen(corners, &mut self.backward, isize::MAX);
            for diagonal in back.diagonals() {
                let (left, right) = (self.backward.on(diagonal - 1), self.backward.on(diagonal + 1));
                let start = if left < right { left } else { right - 1 };
                let mut old = start;
                while old > area.old.0 && old - diagonal > area.new.0 && self.is_equal(old - 1, old - diagonal - 1) {
                    old -= 1;
                }
                self.take(start - old + 1)?;
                has_snake |= start - old > SNAKE;
                self.backward.set(diagonal, old);
                if !is_odd && ahead.contains(diagonal) && old <= self.forward.on(diagonal) {
                    return Some(Split::best(old, old - diagonal));
                }
            }
            if area.is_minimal {
                continue;
            }
            if has_snake && cost > GOOD_COST {
                let good = self.good_ahead(area, ahead, cost).or_else(|| self.good_back(area, back, cost));
                if good.is_some() {
                    return good;
                }
            }
            if cost >= self.max_cost {
                return Some(self.furthest(area, ahead, back));
            }
        }
        None
    }

    /// A place far ahead, after a row of equal lines.
    fn good_ahead(&self, area: Area, span: Span, cost: isize) -> Option<Split> {
        let middle = area.old.0 - area.new.0;
        let (mut best, mut split) = (0, None);
        for diagonal in span.diagonals() {
            let old = self.forward.on(diagonal);
            let new = old - diagonal;
            let gain = (old - area.old.0) + (new - area.new.0) - (diagonal - middle).abs();
            if gain > GOOD_GAIN * cost
                && gain > best
                && (area.old.0 + SNAKE..area.old.1).contains(&old)
                && (area.new.0 + SNAKE..area.new.1).contains(&new)
                && (1..=SNAKE).all(|back| self.is_equal(old - back, new - back))
            {
                best = gain;
                split = Some(Split { old, new, is_first_minimal: true, is_second_minimal: false });
            }
        }
        split
    }

    /// A place far back, before a row of equal lines.
    fn good_back(&self, area: Area, span: Span, cost: isize) -> Option<Split> {
        let middle = area.old.1 - area.new.1;
        let (mut best, mut split) = (0, None);
        for diagonal in span.diagonals() {
            let old = self.backward.on(diagonal);
            let new = old - diagonal;
            let gain = (area.old.1 - old) + (area.new.1 - new) - (diagonal - middle).abs();
            if gain > GOOD_GAIN * cost
                && gain > best
                && (area.old.0 + 1..=area.old.1 - SNAKE).contains(&old)
                && (area.new.0 + 1..=area.new.1 - SNAKE).contains(&new)
                && (0..SNAKE).all(|ahead| self.is_equal(old + ahead, new + ahead))
            {
                best = gain;
                split = Some(Split { old, new, is_first_minimal: false, is_second_minimal: true });
            }
        }
        split
    }

    /// The place furthest from its end, for a search that has cost too much.
    fn furthest(&self, area: Area, ahead: Span, back: Span) -> Split {
        let (mut far, mut far_old) = (-1, -1);
        for diagonal in ahead.diagonals() {
            let mut old = self.forward.on(diagonal).min(area.old.1);
            if old - diagonal > area.new.1 {
                old = area.new.1 + diagonal;
            }
            if far < old + old - diagonal {
                (far, far_old) = (old + old - diagonal, old);
            }
        }
        let (mut near, mut near_old) = (isize::MAX, isize::MAX);
        for diagonal in back.diagonals() {
            let mut old = self.backward.on(diagonal).max(area.old.0);
            if old - diagonal < area.new.0 {
                old = area.new.0 + diagonal;
            }
            if old + old - diagonal < near {
                (near, near_old) = (old + old - diagonal, old);
            }
        }
        if area.old.1 + area.new.1 - near < far - (area.old.0 + area.new.0) {
            Split { old: far_old, new: far - far_old, is_first_minimal: true, is_second_minimal: false }
        } else {
            Split { old: near_old, new: near - near_old, is_first_minimal: false, is_second_minimal: true }
        }
    }
}

impl Area {
    fn is_empty(self) -> bool {
        self.old.0 >= self.old.1 || self.new.0 >= self.new.1
    }
}

impl Split {
    fn best(old: isize, new: isize) -> Self {
        Self { old, new, is_first_minimal: true, is_second_minimal: true }
    }
}

fn mark(side: &mut Side, (start, end): (isize, isize)) {
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let kept = range.and_then(|(start, end)| side.kept.get(start..end)).unwrap_or_default();
    for kept in kept {
        set(&mut side.changed, kept.at, true);
    }
}

/// Consecutive changed lines, or the empty place before an unchanged line.
#[derive(Clone, Copy)]
struct Group {
    start: usize,
    end: usize,
}

impl Group {
    fn first(side: &Side) -> Self {
        Self { start: 0, end: side.end_from(0) }
    }

    fn is_empty(self) -> bool {
        self.start == self.end
    }

    fn next(self, side: &Side) -> Option<Self> {
        let start = self.end + 1;
        (self.end < side.lines.len()).then(|| Self { start, end: side.end_from(start) })
    }

    fn previous(self, side: &Side) -> Option<Self> {
        let end = self.start.checked_sub(1)?;
        Some(Self { start: side.start_from(end), end })
    }
}

impl Side {
    fn is_changed(&self, at: usize) -> bool {
        self.changed.get(at).copied().unwrap_or_default()
    }

    fn end_from(&self, start: usize) -> usize {
        (start..).find(|at| !self.is_changed(*at)).unwrap_or(start)
    }

    fn start_from(&self, end: usize) -> usize {
        (0..end).rev().find(|at| !self.is_changed(*at)).map_or(0, |at| at + 1)
    }

    fn is_same(&self, one: usize, other: usize) -> bool {
        let line = self.lines.get(one);
        line.is_some() && line == self.lines.get(other)
    }

    /// Moves a change up by one line, if the lines allow it. A change that it touches becomes part of it.
    fn slide_up(&mut self, group: Group) -> Option<Group> {
        let (start, end) = (group.start.checked_sub(1)?, group.end.checked_sub(1)?);
        if !self.is_same(start, end) {
            return None;
        }
        set(&mut self.changed, start, true);
        set(&mut self.changed, end, false);
        Some(Group { start: self.start_from(start), end })
    }

    fn slide_down(&mut self, group: Group) -> Option<Group> {
        if !self.is_same(group.start, group.end) {
            return None;
        }
        set(&mut self.changed, group.start, false);
        set(&mut self.changed, group.end, true);
        Some(Group { start: group.start + 1, end: self.end_from(group.end + 1) })
    }
}

/// Places each change. Processes the groups of both sides in parallel: there is one unchanged line between two groups,
/// and both sides have the same unchanged lines. Each slide by one line is a step: many changes among equal lines slide
/// over each other.
fn compact(side: &mut Side, other: &Side, steps: &mut u64) -> Option<()> {
    let (mut group, mut twin) = (Group::first(side), Group::first(other));
    loop {
        if !group.is_empty() {
            (group, twin) = place(side, other, (group, twin), steps)?;
        }
        let (Some(next), Some(next_twin)) = (group.next(side), twin.next(other)) else { return Some(()) };
        (group, twin) = (next, next_twin);
    }
}

fn place(
    side: &mut Side,
    other: &Side,
    (mut group, mut twin): (Group, Group),
    steps: &mut u64,
) -> Option<(Group, Group)> {
    let (mut highest_end, mut meets_other);
    loop {
        let size = group.end - group.start;
        while let (Some(up), Some(before)) = (side.slide_up(group), twin.previous(other)) {
            (group, twin) = (up, before);
            *steps = steps.checked_sub(1)?;
        }
        highest_end = group.end;
        meets_other = !twin.is_empty();
        while let (Some(down), Some(after)) = (side.slide_down(group), twin.next(other)) {
            (group, twin) = (down, after);
            *steps = steps.checked_sub(1)?;
            meets_other |= !twin.is_empty();
        }
        // It has merged with another change of its side: slide the whole change again.
        if size == group.end - group.start {
            break;
        }
    }
    while group.end != highest_end && meets_other && twin.is_empty() {
        let (Some(up), Some(before)) = (side.slide_up(group), twin.previous(other)) else { break };
        (group, twin) = (up, before);
        *steps = steps.checked_sub(1)?;
    }
    Some((group, twin))
}

fn collect(old: &[bool], new: &[bool]) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut old_at, mut new_at) = (0, 0);
    while old_at < old.len() || new_at < new.len() {
        let run = |flags: &[bool], at: usize| flags.iter().skip(at).take_while(|flag| **flag).count();
        let (old_len, new_len) = (run(old, old_at), run(new, new_at));
        if old_len + new_len > 0 {
            changes.push(Change { old: old_at..old_at + old_len, new: new_at..new_at + new_len });
        }
        (old_at, new_at) = (old_at + old_len + 1, new_at + new_len + 1);
    }
    changes
}
