//! The single field of a subscription (GraphQL specification, section 5.2.3.1). It can be selected several times and in
//! fragments; it is merged into one selection before further processing.

use std::collections::HashSet;

use apollo_compiler::{
    Name, Node, Schema,
    executable::{DirectiveList, ExecutableDocument, Field, Selection, SelectionSet, Value},
};
use async_graphql::{
    Positioned, Variables,
    parser::types::{self as executed, ExecutableDocument as Executed, OperationType},
};

use super::{Fault, place, root_fields};

/// Checks that each subscription has exactly one field, which is not an introspection field.
pub fn check(schema: &Schema, document: &ExecutableDocument, text: &str) -> Vec<Fault> {
    let Some(root) = schema.root_operation(apollo_compiler::executable::OperationType::Subscription) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    for operation in document.operations.iter().filter(|operation| operation.is_subscription()) {
        let mut collector = Collector { document, text, root, fragments: HashSet::new(), fields: Vec::new() };
        if let Err(fault) = collector.collect(&operation.selection_set) {
            faults.push(fault);
            continue;
        }
        let first = collector.fields.first().map(|field| field.response_key());
        let at = |field: &Node<Field>| place(text, field.location());
        let is_other = |field: &&&Node<Field>| Some(field.response_key()) != first;
        if let Some(other) = collector.fields.iter().find(is_other) {
            faults.push(Fault::invalid(at(other), "A subscription must select only one field of Subscription."));
        }
        if let Some(meta) = collector.fields.iter().find(|field| field.name.starts_with("__")) {
            let message = "A subscription must not select an introspection field of Subscription.";
            faults.push(Fault::invalid(at(meta), message));
        }
    }
    faults
}

struct Collector<'d> {
    document: &'d ExecutableDocument,
    text: &'d str,
    root: &'d Name,
    fragments: HashSet<&'d Name>,
    fields: Vec<&'d Node<Field>>,
}

impl<'d> Collector<'d> {
    fn collect(&mut self, set: &'d SelectionSet) -> Result<(), Fault> {
        if set.ty != *self.root {
            return Ok(());
        }
        for selection in &set.selections {
            if !self.is_included(selection.directives())? {
                continue;
            }
            match selection {
                Selection::Field(field) => self.fields.push(field),
                Selection::InlineFragment(fragment) => self.collect(&fragment.selection_set)?,
                Selection::FragmentSpread(spread) => {
                    if self.fragments.insert(&spread.fragment_name)
                        && let Some(fragment) = self.document.fragments.get(&spread.fragment_name)
                    {
                        self.collect(&fragment.selection_set)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a selection is included. The condition must not depend on variables.
    fn is_included(&self, directives: &DirectiveList) -> Result<bool, Fault> {
        for (name, wanted) in [("skip", false), ("include", true)] {
            for directive in directives.iter().filter(|directive| directive.name == name) {
                match directive.specified_argument_by_name("if").map(|value| &**value) {
                    Some(Value::Boolean(is)) if *is != wanted => return Ok(false),
                    Some(Value::Variable(_)) => {
                        let message = format!("The field of a subscription cannot have @{name} with a variable.");
                        return Err(Fault::invalid(place(self.text, directive.location()), message));
                    }
                    _ => {}
                }
            }
        }
        Ok(true)
    }
}

/// Merges the single field of each subscription of a valid document, and removes unused fragments.
pub fn merge(document: &mut Executed) {
    let is_to_merge = |operation: &executed::OperationDefinition| {
        operation.ty == OperationType::Subscription && !is_plain(&operation.selection_set.node)
    };
    if !document.operations.iter().any(|(_, operation)| is_to_merge(&operation.node)) {
        return;
    }
    let operations: Vec<&mut Positioned<executed::OperationDefinition>> = match &mut document.operations {
        executed::DocumentOperations::Single(operation) => vec![operation],
        executed::DocumentOperations::Multiple(operations) => operations.values_mut().collect(),
    };
    for operation in operations.into_iter().filter(|operation| is_to_merge(&operation.node)) {
        let set = &mut operation.node.selection_set.node;
        set.items = root_fields::merged(set, &document.fragments, &Variables::default()).0;
    }
    root_fields::drop_unused(document, None);
}

/// Whether it already is a single field without a condition.
fn is_plain(set: &executed::SelectionSet) -> bool {
    match set.items.as_slice() {
        [only] => matches!(&only.node, executed::Selection::Field(field) if field.node.directives.is_empty()),
        _ => false,
    }
}
