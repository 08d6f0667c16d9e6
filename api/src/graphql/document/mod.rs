//! Documents as the specification has them: parsed and validated by `apollo-compiler`, checked where that is wrong (`lexer`,
//! `convert`, `rules`, `merging`), and converted once into what `async-graphql` executes. Variables are coerced before anything runs
//! (`coercion`). The library's own parser and validator judge otherwise: they execute invalid documents, and change the
//! contents of block strings.
//!
//! The judge is npm `graphql`: `clients/typescript/test/corpus.test.mjs` compares the verdicts over the served schema.

mod coercion;
mod convert;
mod lexer;
mod merging;
mod rules;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use anyhow::anyhow;
use apollo_compiler::{
    Schema, ast,
    diagnostic::ToCliReport,
    parser::{Parser, SourceSpan},
    validation::{DiagnosticList, Valid},
};
use async_graphql::{
    Pos, Variables,
    parser::types::{ExecutableDocument, OperationDefinition},
};

/// Most faults of a document that are reported at once.
const MAX_FAULTS: usize = 20;

/// Deepest recursion of the parser. The guard has refused texts that nest deeper (`guard::check_text`).
const MAX_RECURSION: usize = 512;

/// What a type says about itself, where the SDL leaves out what introspection has.
const INTROSPECTION: &str = "extend type __Type { isOneOf: Boolean }";

/// Diagnostics of `apollo-compiler` that are wrong; `subscription` has the rule.
const WRONG: [&str; 2] = ["can only have one root field", "can not specify @skip or @include on root fields"];

/// What is wrong with a document or its variables, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub pos: Pos,
    /// What, for people.
    pub message: String,
    /// Of which kind it is.
    pub kind: FaultKind,
}

/// The kinds of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The text is no GraphQL.
    Syntax,
    /// The schema cannot answer it.
    Invalid,
    /// A literal is none of its type: the argument, as errors name it. The schema cannot answer the document.
    Literal(String),
    /// The value of a variable is none of its type: the argument or variable, as errors name it.
    Input(String),
}

impl Fault {
    fn syntax(pos: Pos, message: &str) -> Self {
        Self { pos, message: format!("Syntax error: {message}."), kind: FaultKind::Syntax }
    }

    fn invalid(pos: Pos, message: impl Into<String>) -> Self {
        Self { pos, message: message.into(), kind: FaultKind::Invalid }
    }
}

/// A step from an argument to a value inside.
#[derive(Clone, Debug)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

/// A value as errors name arguments: `input.files[3].path` is `files[3].path`.
fn named(path: &[Step<'_>]) -> String {
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

/// Reads documents of one schema.
pub struct FrontEnd {
    schema: Valid<Schema>,
}

/// A document that is GraphQL; whether the schema can answer it is not known yet.
pub struct Draft {
    text: String,
    tree: ast::Document,
    /// The document, for limits on what it may cost.
    pub document: ExecutableDocument,
}

impl FrontEnd {
    /// A front end for the schema that is printed so.
    ///
    /// # Errors
    /// What is wrong with the SDL.
    pub fn new(sdl: &str) -> anyhow::Result<Self> {
        let schema =
            Schema::builder().parse(sdl, "schema.graphql").parse(INTROSPECTION, "introspection.graphql").build();
        let schema = schema.map_err(|error| anyhow!("the schema is not valid: {}", error.errors))?;
        let schema = schema.validate().map_err(|error| anyhow!("the schema is not valid: {}", error.errors))?;
        Ok(Self { schema })
    }

    /// Parses a text whose size is within the limits.
    ///
    /// # Errors
    /// Where it is no GraphQL.
    pub fn parse(&self, text: &str) -> Result<Draft, Vec<Fault>> {
        let tokens = lexer::tokens(text).map_err(|fault| vec![fault])?;
        let text = convert::without_descriptions(text, &tokens).unwrap_or_else(|| text.to_owned());
        let mut parser = Parser::new().recursion_limit(MAX_RECURSION).token_limit(text.len().saturating_add(1));
        let tree = match parser.parse_ast(text.as_str(), "query.graphql") {
            Ok(tree) => tree,
            Err(errors) => return Err(self::faults(&text, &errors.errors, FaultKind::Syntax)),
        };
        let document = convert::convert(&tree, &tokens, &HashSet::new()).map_err(|fault| vec![fault])?;
        drop(tokens);
        Ok(Draft { text, tree, document })
    }

    /// Validates a document that is within the limits, and makes the one of it that is executed.
    ///
    /// # Errors
    /// What the schema cannot answer, a stage at a time.
    pub fn validate(&self, draft: &Draft) -> Result<ExecutableDocument, Vec<Fault>> {
        let Draft { text, tree, document } = draft;
        let invalid = |errors: &DiagnosticList| self::faults(text, errors, FaultKind::Invalid);
        let typed = match tree.to_executable(&self.schema) {
            Ok(typed) => typed,
            Err(errors) => {
                let refused = rules::unsupported_directives(tree, text);
                return Err(if refused.is_empty() { invalid(&errors.errors) } else { refused });
            }
        };
        let long_ids = rules::check(&self.schema, &typed, text)?;
        let faults = subscription::check(&self.schema, &typed, text);
        if !faults.is_empty() {
            return Err(faults);
        }
        let typed = match typed.validate(&self.schema) {
            Ok(typed) => typed,
            Err(errors) => {
                let faults = invalid(&errors.errors);
                if !faults.is_empty() {
                    return Err(faults);
                }
                Valid::assume_valid(errors.partial)
            }
        };
        merging::check(&self.schema, &typed, text).map_err(|fault| vec![fault])?;
        let mut document = if long_ids.is_empty() {
            document.clone()
        } else {
            let tokens = lexer::tokens(text);
            let converted = tokens.and_then(|tokens| convert::convert(tree, &tokens, &long_ids));
            converted.map_err(|fault| vec![fault])?
        };
        subscription::merge(&mut document);
        Ok(document)
    }

    /// Coerces the variables of an operation (GraphQL specification, section 6.1.2), with defaults in place of those that are
    /// absent.
    ///
    /// # Errors
    /// Which values are none of their types.
    pub fn coerce(
        &self,
        document: &ExecutableDocument,
        operation: &OperationDefinition,
        variables: Variables,
    ) -> Result<Variables, Vec<Fault>> {
        coercion::coerce(&self.schema, document, operation, variables)
    }
}

pub use coercion::without_absent;

/// The diagnostics of `apollo-compiler`, without their pictures of the place.
fn faults(text: &str, errors: &DiagnosticList, kind: FaultKind) -> Vec<Fault> {
    let faults = errors.iter().map(|diagnostic| {
        let pos = place(text, diagnostic.error.location());
        let message = diagnostic.error.to_string();
        match kind {
            FaultKind::Syntax => {
                let reason = message.strip_prefix("syntax error: ").unwrap_or(&message);
                Fault::syntax(pos, reason.lines().next().unwrap_or_default().trim_end_matches('.'))
            }
            _ => Fault::invalid(pos, sentence(&message)),
        }
    });
    faults.filter(|fault| !WRONG.iter().any(|wrong| fault.message.contains(wrong))).take(MAX_FAULTS).collect()
}

/// A message as ours are written.
fn sentence(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default().trim_end_matches('.').replace('`', "\"");
    let mut chars = message.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// The line and column of a node.
fn place(text: &str, location: Option<SourceSpan>) -> Pos {
    let before = text.get(..location.map_or(0, |location| location.offset())).unwrap_or_default();
    let mut pos = Pos { line: 1, column: 1 };
    let mut chars = before.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' | '\r' => pos = Pos { line: pos.line + 1, column: 1 },
            _ => pos.column += 1,
        }
    }
    pos
}
