//! The single field of a subscription (GraphQL specification, section 5.2.3.1). It can be selected several times and in
//! fragments; it is merged into one selection before further processing.

use std::collections::HashSet;

use apollo_compiler::{
    Name, Node, Schema,
    executable::{DirectiveList, ExecutableDocument, Field, Selection, SelectionSet, Value},
};
use async_graphql::{
    Name as ExecutedName, Positioned,
    parser::types::{
        self as executed, Directive, ExecutableDocument as Executed, Field as ExecutedField, OperationType,
    },
};
use async_graphql_value::Value as ExecutedValue;

use super::{Fault, place};

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
    let fragments = document.fragments.clone();
    let operations: Vec<&mut Positioned<executed::OperationDefinition>> = match &mut document.operations {
        executed::DocumentOperations::Single(operation) => vec![operation],
        executed::DocumentOperations::Multiple(operations) => operations.values_mut().collect(),
    };
    for operation in operations.into_iter().filter(|operation| is_to_merge(&operation.node)) {
        let mut fields = Vec::new();
        fields_of(&operation.node.selection_set.node, &fragments, &mut HashSet::new(), &mut fields);
        let mut fields = fields.into_iter();
        let Some(mut merged) = fields.next() else { continue };
        for other in fields {
            merged.node.selection_set.node.items.extend(other.node.selection_set.node.items);
        }
        let pos = merged.pos;
        operation.node.selection_set.node.items = vec![Positioned::new(executed::Selection::Field(merged), pos)];
    }
    let mut used = HashSet::new();
    for (_, operation) in document.operations.iter() {
        spreads_of(&operation.node.selection_set.node, &fragments, &mut used);
    }
    document.fragments.retain(|name, _| used.contains(name));
}

/// Whether it already is a single field without a condition.
fn is_plain(set: &executed::SelectionSet) -> bool {
    match set.items.as_slice() {
        [only] => matches!(&only.node, executed::Selection::Field(field) if field.node.directives.is_empty()),
        _ => false,
    }
}

type Fragments = std::collections::HashMap<ExecutedName, Positioned<executed::FragmentDefinition>>;

fn fields_of<'d>(
    set: &'d executed::SelectionSet,
    fragments: &'d Fragments,
    seen: &mut HashSet<&'d ExecutedName>,
    found: &mut Vec<Positioned<ExecutedField>>,
) {
    for selection in set.items.iter().filter(|selection| !is_excluded(selection.node.directives())) {
        match &selection.node {
            executed::Selection::Field(field) => {
                let mut field = field.clone();
                field.node.directives.clear();
                found.push(field);
            }
            executed::Selection::InlineFragment(fragment) => {
                fields_of(&fragment.node.selection_set.node, fragments, seen, found);
            }
            executed::Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                if seen.insert(name)
                    && let Some(fragment) = fragments.get(name)
                {
                    fields_of(&fragment.node.selection_set.node, fragments, seen, found);
                }
            }
        }
    }
}

fn is_excluded(directives: &[Positioned<Directive>]) -> bool {
    directives.iter().any(|directive| {
        let wanted = directive.node.name.node == "include";
        let condition = directive.node.get_argument("if").map(|value| &value.node);
        matches!(directive.node.name.node.as_str(), "include" | "skip")
            && matches!(condition, Some(ExecutedValue::Boolean(is)) if *is != wanted)
    })
}

fn spreads_of(set: &executed::SelectionSet, fragments: &Fragments, used: &mut HashSet<ExecutedName>) {
    for selection in &set.items {
        match &selection.node {
            executed::Selection::Field(field) => spreads_of(&field.node.selection_set.node, fragments, used),
            executed::Selection::InlineFragment(fragment) => {
                spreads_of(&fragment.node.selection_set.node, fragments, used);
            }
            executed::Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                if used.insert(name.clone())
                    && let Some(fragment) = fragments.get(name)
                {
                    spreads_of(&fragment.node.selection_set.node, fragments, used);
                }
            }
        }
    }
}
