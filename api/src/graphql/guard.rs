//! Cost limits of documents, checked before anything else. Parsing takes time and stack proportional to the text and
//! its nesting. Later steps take time proportional to the selections with all fragments expanded, which can be
//! exponential in the size of the document. The number of rows that the selections can return is weighed later, by the
//! types (`page::weigh`).

use std::collections::HashMap;

use async_graphql::{
    Name, Positioned,
    parser::types::{Directive, ExecutableDocument, Selection, SelectionSet},
};

use crate::model::{
    error::{Error, Result},
    limits::Limits,
};

/// Deepest nesting of brackets in a document, which the parser keeps on its stack. The same as the limit for JSON in
/// variables.
const MAX_BRACKETS: usize = 128;

/// The recursive list fields of introspection, and their deepest nesting, as in graphql-js.
const RECURSIVE_LISTS: [&str; 4] = ["fields", "interfaces", "possibleTypes", "inputFields"];
const MAX_RECURSIVE_LISTS: usize = 2;

/// Fields and fragments together can nest this many times as deep as fields alone.
pub const NESTING: usize = 2;

/// Checks the text of a document before parsing. Returns its number of tokens.
///
/// # Errors
/// `QueryTooComplex` with the name of the setting.
pub fn check_text(text: &str, limits: &Limits) -> Result<usize> {
    check_limit("The document has", text.len(), "bytes", limits.max_query_bytes, "--max-query-bytes")?;
    let (tokens, brackets) = measure(text);
    check_limit("The document has", tokens, "tokens", limits.max_query_tokens, "--max-query-tokens")?;
    if brackets > MAX_BRACKETS {
        return Err(Error::QueryTooComplex(format!(
            "The document nests brackets {brackets} deep; the limit is {MAX_BRACKETS}."
        )));
    }
    Ok(tokens)
}

/// Checks a parsed document.
///
/// # Errors
/// `QueryTooComplex` with the name of the setting; `Forbidden` for introspection if it is disabled.
pub fn check(document: &ExecutableDocument, limits: &Limits) -> Result<()> {
    let mut expander = Expander { document, known: HashMap::new() };
    let mut all = Cost::default();
    let (mut root_fields, mut aliases, mut directives) = (0, 0, 0);
    for (_, operation) in document.operations.iter() {
        let operation = &operation.node;
        let cost = expander.cost(&operation.selection_set.node);
        root_fields = root_fields.max(cost.own_fields);
        aliases = aliases.max(cost.aliases);
        let variables = operation.variable_definitions.iter().map(|variable| variable.node.directives.len());
        let own_directives = operation.directives.len().saturating_add(variables.sum());
        directives = directives.max(cost.directives.saturating_add(own_directives));
        all.add(cost);
    }
    check_limit("The document nests fields", all.depth, "deep", limits.max_query_depth, "--max-query-depth")?;
    const SELECTS: &str = "The document selects, with its fragments expanded,";
    check_limit(SELECTS, all.selections, "fields and fragments", limits.max_query_fields, "--max-query-fields")?;
    const OF_OPERATION: &str = "An operation has, with its fragments expanded,";
    check_limit(OF_OPERATION, root_fields, "fields of the root", limits.max_root_fields, "--max-root-fields")?;
    if all.nesting > limits.max_query_depth.saturating_mul(NESTING) {
        return Err(Error::QueryTooComplex(format!(
            "The document nests fields and fragments {} deep; --max-query-depth allows {}.",
            all.nesting,
            limits.max_query_depth.saturating_mul(NESTING)
        )));
    }
    check_limit(OF_OPERATION, aliases, "aliases", limits.max_query_aliases, "--max-query-aliases")?;
    check_limit(OF_OPERATION, directives, "directives", limits.max_query_directives, "--max-query-directives")?;
    if all.introspected_lists > MAX_RECURSIVE_LISTS {
        return Err(Error::QueryTooComplex(format!(
            "The introspection nests {} lists; the limit is {MAX_RECURSIVE_LISTS}.",
            all.introspected_lists
        )));
    }
    if all.introspects && !limits.introspection {
        return Err(Error::Forbidden("Introspection is disabled on this server (--introspection).".to_owned()));
    }
    Ok(())
}

fn check_limit(start: &str, given: usize, what: &str, max: usize, setting: &str) -> Result<()> {
    if given > max {
        return Err(Error::QueryTooComplex(format!("{start} {given} {what}; {setting} allows {max}.")));
    }
    Ok(())
}

/// Counts the tokens of a text (GraphQL specification, section 2.1.6), and the nesting of its brackets. For an invalid
/// text the count can be wrong, but it is never less than the number of tokens that the parser reads before it stops.
fn measure(text: &str) -> (usize, usize) {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    let (mut tokens, mut depth, mut deepest) = (0_usize, 0_usize, 0_usize);
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let length = match first {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => {
                rest = after;
                continue;
            }
            b'#' => {
                let line = after.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                rest = after.get(line.unwrap_or(after.len())..).unwrap_or_default();
                continue;
            }
            b'"' => string_length(rest),
            b'{' | b'(' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
                1
            }
            b'}' | b')' | b']' => {
                depth = depth.saturating_sub(1);
                1
            }
            _ if is_name(first) => rest.iter().position(|byte| !is_name(byte)).unwrap_or(rest.len()),
            _ => 1,
        };
        tokens += 1;
        rest = rest.get(length..).unwrap_or_default();
    }
    (tokens, deepest)
}

/// Length of the string or block string at the start of a text; the length of the text if the string does not end.
fn string_length(text: &[u8]) -> usize {
    let is_block = text.starts_with(b"\"\"\"");
    let (end, escape): (&[u8], &[u8]) = if is_block { (b"\"\"\"", b"\\\"\"\"") } else { (b"\"", b"\\") };
    let mut at = end.len();
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(escape) {
            // In a plain string the escape includes the next character.
            at += if is_block { escape.len() } else { 2 };
        } else if rest.starts_with(end) {
            return at + end.len();
        } else if !is_block && matches!(rest.first(), Some(b'\n' | b'\r')) {
            return at;
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Cost of a selection set with fragments expanded.
#[derive(Clone, Copy, Default)]
struct Cost {
    selections: usize,
    /// Fields directly in the set.
    own_fields: usize,
    depth: usize,
    /// Depth with each fragment counted as a field.
    nesting: usize,
    aliases: usize,
    directives: usize,
    introspects: bool,
    /// Nesting of the recursive introspection lists.
    lists: usize,
    /// `lists` within introspection.
    introspected_lists: usize,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.selections = self.selections.saturating_add(other.selections);
        self.own_fields = self.own_fields.saturating_add(other.own_fields);
        self.depth = self.depth.max(other.depth);
        self.nesting = self.nesting.max(other.nesting);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
        self.introspects |= other.introspects;
        self.lists = self.lists.max(other.lists);
        self.introspected_lists = self.introspected_lists.max(other.introspected_lists);
    }
}

/// Computes the cost of each fragment once, however often it is used.
struct Expander<'d> {
    document: &'d ExecutableDocument,
    /// `None` while the cost of the fragment is being computed.
    known: HashMap<&'d Name, Option<Cost>>,
}

impl<'d> Expander<'d> {
    fn cost(&mut self, selections: &'d SelectionSet) -> Cost {
        let mut sum = Cost::default();
        for selection in &selections.items {
            let (mut cost, directives): (_, &[Positioned<Directive>]) = match &selection.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let mut cost = self.cost(&field.selection_set.node);
                    cost.own_fields = 1;
                    cost.depth = cost.depth.saturating_add(1);
                    cost.aliases = cost.aliases.saturating_add(field.alias.is_some().into());
                    let name = field.name.node.as_str();
                    cost.lists = cost.lists.saturating_add(RECURSIVE_LISTS.contains(&name).into());
                    if matches!(name, "__schema" | "__type") {
                        cost.introspects = true;
                        cost.introspected_lists = cost.lists;
                    }
                    (cost, &field.directives)
                }
                Selection::InlineFragment(fragment) => {
                    (self.cost(&fragment.node.selection_set.node), &fragment.node.directives)
                }
                Selection::FragmentSpread(spread) => {
                    (self.fragment(&spread.node.fragment_name.node), &spread.node.directives)
                }
            };
            cost.selections = cost.selections.saturating_add(1);
            cost.nesting = cost.nesting.saturating_add(1);
            cost.directives = cost.directives.saturating_add(directives.len());
            sum.add(cost);
        }
        sum
    }

    fn fragment(&mut self, name: &'d Name) -> Cost {
        match self.known.get(name) {
            Some(Some(known)) => return *known,
            // The fragment uses itself, which validation refuses.
            Some(None) => return Cost::default(),
            None => {}
        }
        // Validation reports the missing fragment.
        let Some(fragment) = self.document.fragments.get(name) else { return Cost::default() };
        self.known.insert(name, None);
        let mut cost = self.cost(&fragment.node.selection_set.node);
        cost.directives = cost.directives.saturating_add(fragment.node.directives.len());
        self.known.insert(name, Some(cost));
        cost
    }
}

#[cfg(test)]
mod tests {
    use super::measure;

    #[test]
    fn tokens_are_counted_as_in_the_specification() {
        for (text, tokens, brackets) in [
            ("", 0, 0),
            ("{a}", 3, 1),
            (" , \t\r\n# { { {\n{ a , b } # }", 4, 1),
            ("query($a: [Int!]! = [1, -2]) @b { ...C }", 25, 2),
            (r#"{a(b: "c { \" \\", d: """e " \""" { f""")}"#, 11, 2),
            ("{a(b: \"\", c: \"\"\"\"\"\")}", 11, 2),
            // Invalid texts.
            ("{\"never ends", 2, 1),
            ("\"ends with the line\n a b", 3, 0),
            ("\"\"\" { { ", 1, 0),
            ("\"\\", 1, 0),
            ("}}}{", 4, 1),
            ("\u{e9}\u{1f600}", 1, 0),
        ] {
            assert_eq!(measure(text), (tokens, brackets), "{text}");
        }
    }
}
