//! What an operation may cost, checked before anything else looks at it: validation and execution take time in proportion
//! to the fields that are selected once all fragments are expanded, and those can grow with the power of a document's size.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute, NextParseQuery};
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{Name, Response, ServerError, ServerResult, Variables};

use super::batch;
use super::context::Caller;
use crate::model::error::Error;
use crate::model::limits::Limits;

/// Refuses operations over the limits.
pub struct Guard {
    max_fields: usize,
    max_depth: usize,
}

impl Guard {
    /// A guard for these limits.
    pub fn new(limits: &Limits) -> Self {
        Self { max_fields: limits.max_query_fields, max_depth: limits.max_query_depth }
    }

    fn check(&self, document: &ExecutableDocument) -> Result<(), Error> {
        let mut expander = Expander { document, known: HashMap::new() };
        let (mut fields, mut depth) = (0_usize, 0);
        for (_, operation) in document.operations.iter() {
            let cost = expander.cost(&operation.node.selection_set.node);
            fields = fields.saturating_add(cost.fields);
            depth = depth.max(cost.depth);
        }
        if fields > self.max_fields {
            let max = self.max_fields;
            return Err(Error::QueryTooComplex(format!(
                "The document selects {fields} fields with its fragments expanded; --max-query-fields allows {max}."
            )));
        }
        if depth > self.max_depth {
            let max = self.max_depth;
            return Err(Error::QueryTooComplex(format!(
                "The document nests fields {depth} deep; --max-query-depth allows {max}."
            )));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Default)]
struct Cost {
    fields: usize,
    depth: usize,
}

/// Counts each fragment once, however often it is spread.
struct Expander<'d> {
    document: &'d ExecutableDocument,
    /// `None` while the fragment is being counted: a cycle, which validation refuses, adds nothing.
    known: HashMap<&'d Name, Option<Cost>>,
}

impl<'d> Expander<'d> {
    fn cost(&mut self, selections: &'d SelectionSet) -> Cost {
        let mut sum = Cost::default();
        for selection in &selections.items {
            let cost = match &selection.node {
                Selection::Field(field) => {
                    let below = self.cost(&field.node.selection_set.node);
                    Cost { fields: below.fields.saturating_add(1), depth: below.depth.saturating_add(1) }
                }
                Selection::InlineFragment(fragment) => self.cost(&fragment.node.selection_set.node),
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node),
            };
            sum.fields = sum.fields.saturating_add(cost.fields);
            sum.depth = sum.depth.max(cost.depth);
        }
        sum
    }

    fn fragment(&mut self, name: &'d Name) -> Cost {
        if let Some(known) = self.known.get(name) {
            return known.unwrap_or_default();
        }
        let Some(fragment) = self.document.fragments.get(name) else { return Cost::default() };
        self.known.insert(name, None);
        let cost = self.cost(&fragment.node.selection_set.node);
        self.known.insert(name, Some(cost));
        cost
    }
}

impl ExtensionFactory for Guard {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self { ..*self })
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Guard {
    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(ctx, query, variables).await?;
        self.check(&document).map_err(|error| {
            let error: async_graphql::Error = error.into();
            let mut refused = ServerError::new(error.message, None);
            refused.extensions = error.extensions;
            refused
        })?;
        Ok(document)
    }

    /// Not a limit, but here because each extension costs a call of every field: operations run so that their reads are
    /// gathered.
    async fn execute(&self, ctx: &ExtensionContext<'_>, name: Option<&str>, next: NextExecute<'_>) -> Response {
        let operation = next.run(ctx, name);
        match ctx.data_opt::<Caller>() {
            Some(caller) => batch::drive(&caller.wanted, &caller.reader, operation).await,
            None => operation.await,
        }
    }
}
