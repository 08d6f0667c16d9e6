//! Parses and validates documents according to the specification with `apollo-compiler`, corrects its mistakes
//! (`lexer`, `convert`, `rules`, `merging`), and converts each document once to the form that `async-graphql` executes.
//! Variables are coerced before execution (`coercion`). The parser of `async-graphql` is not used: it accepts invalid
//! documents, and changes the contents of block strings. Its validator checks the values of custom scalars
//! ([`FrontEnd::has_checked_variables`]).
//!
//! npm `graphql` is the reference: `clients/typescript/test/corpus.test.mjs` compares the results for the served
//! schema.

mod coercion;
mod convert;
mod fault;
mod given;
mod interfaces;
mod lexer;
mod merging;
mod root_fields;
mod rules;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use anyhow::anyhow;
use apollo_compiler::{
    Schema, ast,
    diagnostic::ToCliReport,
    parser::Parser,
    schema::ExtendedType,
    validation::{DiagnosticList, Valid},
};
use async_graphql::{
    Variables,
    parser::types::{BaseType, ExecutableDocument, OperationDefinition},
};

use crate::model::long_columns::LongColumns;

/// Maximum recursion of the parser. The guard has already refused texts that nest deeper (`guard::check_text`).
const MAX_RECURSION: usize = 512;

/// A field of introspection that the SDL lacks.
const INTROSPECTION: &str = "extend type __Type { isOneOf: Boolean }";

/// Wrong diagnostics of `apollo-compiler`; `subscription` checks these rules.
const WRONG: [&str; 2] = ["can only have one root field", "can not specify @skip or @include on root fields"];

/// Parses and validates documents for one schema.
pub struct FrontEnd {
    schema: Valid<Schema>,
}

/// A parsed document that is not validated yet.
pub struct Draft {
    text: String,
    tree: ast::Document,
    /// The document, for the cost limits.
    pub document: ExecutableDocument,
}

impl FrontEnd {
    /// Creates a front end for the printed schema.
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
    /// Syntax errors.
    pub fn parse(&self, text: &str) -> Result<Draft, Vec<Fault>> {
        let tokens = lexer::tokens(text).map_err(|fault| vec![fault])?;
        let text = convert::plain(text, &tokens).unwrap_or_else(|| text.to_owned());
        let mut parser = Parser::new().recursion_limit(MAX_RECURSION).token_limit(text.len().saturating_add(1));
        let tree = match parser.parse_ast(text.as_str(), "query.graphql") {
            Ok(tree) => tree,
            Err(errors) => return Err(self::faults(&text, &errors.errors, FaultKind::Syntax)),
        };
        let document = convert::convert(&tree, &tokens, &HashSet::new()).map_err(|fault| vec![fault])?;
        drop(tokens);
        Ok(Draft { text, tree, document })
    }

    /// Validates a document within the limits, and returns the executable document.
    ///
    /// # Errors
    /// The faults of the first stage that finds any.
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

    /// Coerces the variables of an operation (GraphQL specification, section 6.1.2), with defaults for absent ones.
    ///
    /// # Errors
    /// The values that do not have their types.
    pub fn coerce(
        &self,
        document: &ExecutableDocument,
        operation: &OperationDefinition,
        variables: Variables,
    ) -> Result<Variables, Vec<Fault>> {
        coercion::coerce(&self.schema, document, operation, variables)
    }

    /// Whether a variable can have a custom scalar whose values the library's validator checks.
    pub fn has_checked_variables(&self, document: &ExecutableDocument) -> bool {
        let operations = document.operations.iter().map(|(_, operation)| &operation.node);
        let definitions = operations.flat_map(|operation| &operation.variable_definitions);
        let mut types: Vec<&str> = definitions.map(|variable| named_type(&variable.node.var_type.node.base)).collect();
        let mut seen = HashSet::new();
        while let Some(name) = types.pop() {
            if !seen.insert(name) {
                continue;
            }
            match self.schema.types.get(name) {
                // Any value is JSON.
                Some(ExtendedType::Scalar(scalar)) if !scalar.is_built_in() && name != "JSON" => return true,
                Some(ExtendedType::InputObject(object)) => {
                    types.extend(object.fields.values().map(|field| field.ty.inner_named_type().as_str()));
                }
                _ => {}
            }
        }
        false
    }

    /// The fields with arguments, and the long columns, that an operation with these variables selects.
    pub fn given(
        &self,
        document: &ExecutableDocument,
        operation: &OperationDefinition,
        variables: &Variables,
    ) -> (Vec<Given>, LongColumns) {
        given::given(&self.schema, document, operation, variables)
    }
}

pub use coercion::without_absent;
pub use fault::{Fault, FaultKind};
use fault::{MAX_FAULTS, Step, named, place};
pub use given::Given;
pub use interfaces::{correct as correct_interfaces, select_kinds};
pub use root_fields::{keep_chosen, merge as merge_root_fields};

fn named_type(base: &BaseType) -> &str {
    match base {
        BaseType::Named(name) => name,
        BaseType::List(of) => named_type(&of.base),
    }
}

/// The diagnostics of `apollo-compiler`, without the source excerpts.
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

/// Formats a message like those of this service.
fn sentence(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default().trim_end_matches('.').replace('`', "\"");
    let mut chars = message.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
