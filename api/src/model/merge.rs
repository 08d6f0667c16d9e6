//! Three-way merges of texts, for a writer whose guard failed.

use super::diff;

/// What comes of bringing two changes of one text together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// Whether the changes do not touch each other.
    pub clean: bool,
    /// Both changes; where they touch each other, both sides between conflict markers as git writes them (`<<<<<<< ours` is
    /// what is there now, `>>>>>>> theirs` what the caller sent).
    pub text: String,
}

/// Steps that the merges of one request may take: about half a second.
pub const MAX_STEPS: u64 = 100_000_000;

/// Merges what is there now with what a caller made of `base`; `None` where that takes more than the `steps` that are left.
/// A merge takes steps in proportion to the lines and to the square of the differences (E. Myers, "An O(ND) Difference
/// Algorithm and Its Variations", 1986); the differences are counted first, for which there is a bound.
pub fn merge(base: &str, now: &str, sent: &str, steps: &mut u64) -> Option<Merge> {
    let lines = [base, now, sent].iter().map(|text| text.bytes().filter(|byte| *byte == b'\n').count() as u64).sum();
    let differences = |text| {
        let stat = diff::stat(base, text);
        u64::from(stat.additions.unsigned_abs()) + u64::from(stat.deletions.unsigned_abs())
    };
    let squares = [now, sent].map(|text| differences(text).saturating_pow(2));
    let needed = squares.into_iter().fold(lines, u64::saturating_add);
    *steps = steps.checked_sub(needed)?;
    Some(match diffy::merge(base, now, sent) {
        Ok(text) => Merge { clean: true, text },
        Err(text) => Merge { clean: false, text },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_different_lines_come_together() {
        let merged = merge("a\nb\nc\nd\ne\n", "A\nb\nc\nd\ne\n", "a\nb\nc\nd\nE\n", &mut MAX_STEPS.clone());
        assert_eq!(merged, Some(Merge { clean: true, text: "A\nb\nc\nd\nE\n".to_owned() }));
    }

    #[test]
    fn rewrites_that_take_too_long_are_not_merged() {
        let text = |who: &str| (0..20_000).map(|line| format!("{who} {line}\n")).collect::<String>();
        let mut steps = MAX_STEPS;
        assert_eq!(merge(&text("base"), &text("now"), &text("sent"), &mut steps), None);
        assert_eq!(steps, MAX_STEPS);
    }

    #[test]
    fn changes_of_the_same_line_are_both_shown() {
        let merged = merge("a\n", "now\n", "sent\n", &mut MAX_STEPS.clone()).unwrap();
        assert!(!merged.clean);
        let (now, sent) = (merged.text.find("now").unwrap(), merged.text.find("sent").unwrap());
        assert!(merged.text.starts_with("<<<<<<<") && now < sent, "{}", merged.text);
    }
}
