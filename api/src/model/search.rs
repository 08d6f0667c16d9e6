//! Texts to search for. Case is ignored in every script: two characters are equal if they have the same folded form.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use super::error::{Error, Result};

/// Longest search text, in bytes.
const MAX_BYTES: usize = 1_000;

/// Most different letters outside ASCII with several forms. SQLite reads a row once for each of them.
const MAX_LETTERS: usize = 100;

/// The last character that has several forms is below this one.
const END_OF_FORMS: char = '\u{20000}';

/// The other characters with the folded form.
static FORMS: LazyLock<HashMap<char, Vec<char>>> = LazyLock::new(|| {
    let mut forms: HashMap<char, Vec<char>> = HashMap::new();
    for character in '\0'..END_OF_FORMS {
        let folded = fold(character);
        if folded != character {
            forms.entry(folded).or_default().push(character);
        }
    }
    forms
});

/// A text to search for, folded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Search(String);

impl Search {
    /// Parses a search text; an empty one means no search.
    ///
    /// # Errors
    /// `BadInput` with `field` for a text that is too long, or that no row can contain.
    pub fn parse(text: Option<&str>, field: &str) -> Result<Option<Self>> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        if text.contains('\0') {
            return Err(Error::bad_input(field, "A search text cannot contain the character NUL."));
        }
        if text.len() > MAX_BYTES {
            return Err(Error::bad_input(field, format!("A search text can have at most {MAX_BYTES} bytes.")));
        }
        let search = Self(text.chars().map(fold).collect());
        if search.letters().len() > MAX_LETTERS {
            let message = format!("A search text can have at most {MAX_LETTERS} different letters that are not ASCII.");
            return Err(Error::bad_input(field, message));
        }
        Ok(Some(search))
    }

    /// The folded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a text contains it.
    pub fn is_in(&self, text: &str) -> bool {
        let folded: String = text.chars().map(fold).collect();
        folded.contains(&self.0)
    }

    /// The letters of the text that have forms outside ASCII, each once.
    pub fn letters(&self) -> BTreeSet<char> {
        let has_forms = |letter: &char| forms(*letter).iter().any(|form| !form.is_ascii());
        self.0.chars().filter(has_forms).collect()
    }
}

/// All other characters with this folded form.
pub fn forms(folded: char) -> &'static [char] {
    FORMS.get(&folded).map_or(&[], Vec::as_slice)
}

/// The lower case of the upper case, as in Unicode's simple case folding: `Σ`, `σ` and `ς` become `σ`. Forms of several
/// characters are not used. The dotless `ı` is a letter of its own.
fn fold(character: char) -> char {
    fn only(mut characters: impl Iterator<Item = char>) -> Option<char> {
        characters.next().filter(|_| characters.next().is_none())
    }
    if character == 'ı' {
        return character;
    }
    let upper = only(character.to_uppercase()).unwrap_or(character);
    only(upper.to_lowercase()).unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_a_letter_are_folded_to_one() {
        for all in [
            "σΣς",
            "kK\u{212a}",
            "sSſ",
            "ß\u{1e9e}",
            "ǆǅǄ",
            "åÅ\u{212b}",
            "μΜµ",
            "éÉ",
            "яЯ",
            "iI",
            "ꭰᎠ",
            "𐐨𐐀",
            "ı",
            "İ",
        ] {
            let folded: BTreeSet<char> = all.chars().map(fold).collect();
            let [one] = Vec::from_iter(folded)[..] else { panic!("{all}") };
            let found: BTreeSet<char> = forms(one).iter().copied().chain([one]).collect();
            assert_eq!(found, all.chars().collect(), "{all}");
        }
    }

    #[test]
    fn a_text_is_found_in_any_case() {
        let search = Search::parse(Some("οδοσ"), "search").unwrap().unwrap();
        assert!(search.is_in("Η ΟΔΟΣ") && search.is_in("οδος") && !search.is_in("οδο"));
    }

    #[test]
    fn every_form_is_below_the_end() {
        assert!((END_OF_FORMS..=char::MAX).all(|character| fold(character) == character));
        // Folding a folded character changes nothing.
        assert!(FORMS.keys().all(|folded| fold(*folded) == *folded));
    }

    #[test]
    fn texts_are_limited() {
        let parse = |text: &str| Search::parse(Some(text), "search");
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("ÉA").unwrap().unwrap().as_str(), "éa");
        let letters: String = ('α'..='ω').chain('а'..='я').chain('ա'..='ֆ').chain('ა'..='ჰ').collect();
        assert!(letters.len() < MAX_BYTES);
        for bad in ["a\0".to_owned(), "a".repeat(MAX_BYTES + 1), letters] {
            assert!(matches!(parse(&bad), Err(Error::BadInput { .. })), "{bad}");
        }
        assert!(parse(&"語".repeat(MAX_BYTES / 3)).is_ok());
    }
}
