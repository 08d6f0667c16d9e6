//! Three-way merges of texts, for a writer whose guard failed.

/// What comes of bringing two changes of one text together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// Whether the changes do not touch each other.
    pub clean: bool,
    /// Both changes; where they touch each other, both sides between conflict markers as git writes them (`<<<<<<< ours` is
    /// what is there now, `>>>>>>> theirs` what the caller sent).
    pub text: String,
}

/// Lines, both sides and the base together, up to which a merge is tried: it takes time in proportion to the lines times
/// the differences.
const MAX_LINES: usize = 60_000;

/// Merges what is there now with what a caller made of `base`; `None` where the texts are too long.
pub fn merge(base: &str, now: &str, sent: &str) -> Option<Merge> {
    let lines: usize = [base, now, sent].iter().map(|text| text.bytes().filter(|byte| *byte == b'\n').count()).sum();
    if lines > MAX_LINES {
        return None;
    }
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
        let merged = merge("a\nb\nc\nd\ne\n", "A\nb\nc\nd\ne\n", "a\nb\nc\nd\nE\n");
        assert_eq!(merged, Some(Merge { clean: true, text: "A\nb\nc\nd\nE\n".to_owned() }));
    }

    #[test]
    fn changes_of_the_same_line_are_both_shown() {
        let merged = merge("a\n", "now\n", "sent\n").unwrap();
        assert!(!merged.clean);
        let (now, sent) = (merged.text.find("now").unwrap(), merged.text.find("sent").unwrap());
        assert!(merged.text.starts_with("<<<<<<<") && now < sent, "{}", merged.text);
    }
}
