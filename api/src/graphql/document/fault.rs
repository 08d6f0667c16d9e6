//! Faults of documents and variables, and their places.

use apollo_compiler::parser::SourceSpan;
use async_graphql::Pos;

/// Maximum number of reported faults of a document.
pub(super) const MAX_FAULTS: usize = 20;

/// A fault of a document or its variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The position.
    pub pos: Pos,
    /// The message for people.
    pub message: String,
    /// The kind.
    pub kind: FaultKind,
}

/// The kinds of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Invalid syntax.
    Syntax,
    /// Not valid for the schema.
    Invalid,
    /// A literal of the wrong type, with the argument's name as in errors. Also makes the document invalid.
    Literal(String),
    /// A variable's value of the wrong type, with the name of the argument or variable as in errors.
    Input(String),
}

impl Fault {
    pub(super) fn syntax(pos: Pos, message: &str) -> Self {
        Self { pos, message: format!("Syntax error: {message}."), kind: FaultKind::Syntax }
    }

    pub(super) fn invalid(pos: Pos, message: impl Into<String>) -> Self {
        Self { pos, message: message.into(), kind: FaultKind::Invalid }
    }
}

/// A step from an argument to a value inside it.
#[derive(Clone, Debug)]
pub(super) enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

/// The name of a value in errors: `input.files[3].path` is `files[3].path`.
pub(super) fn named(path: &[Step<'_>]) -> String {
    let mut named = String::new();
    for (at, step) in path.iter().enumerate() {
        match step {
            Step::Index(index) => named.push_str(&format!("[{index}]")),
            Step::Name(name) if at == 1 && named == "input" => (*name).clone_into(&mut named),
            Step::Name(name) => {
                if !named.is_empty() {
                    named.push('.');
                }
                named.push_str(name);
            }
        }
    }
    named
}

/// The line and column of a node.
pub(super) fn place(text: &str, location: Option<SourceSpan>) -> Pos {
    let before = text.get(..location.map_or(0, |location| location.offset())).unwrap_or_default();
    let mut pos = Pos { line: 1, column: 1 };
    let mut chars = before.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' | '\r' => pos = Pos { line: pos.line + 1, column: 1 },
            _ => pos.column += char.len_utf16(),
        }
    }
    pos
}
