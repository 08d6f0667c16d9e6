//! The root fields of an operation, each response key once (GraphQL specification, section 6.3.2, "Field Collection").
//! The library runs every occurrence of a field, so a mutation that is selected twice would write twice.

use std::collections::{HashMap, HashSet};

use async_graphql::{
    Name, Positioned, Value, Variables,
    parser::types::{
        Directive, DocumentOperations, ExecutableDocument, Field, FragmentDefinition, OperationDefinition, Selection,
        SelectionSet,
    },
};
use async_graphql_value::Value as Literal;

type Fragments = HashMap<Name, Positioned<FragmentDefinition>>;

/// The operation that a request chooses by its name.
pub(super) fn chosen<'d>(
    operations: &'d mut DocumentOperations,
    name: Option<&str>,
) -> Option<&'d mut OperationDefinition> {
    let operation = match operations {
        DocumentOperations::Single(operation) => Some(operation),
        DocumentOperations::Multiple(operations) => name.and_then(|name| operations.get_mut(name)),
    };
    operation.map(|operation| &mut operation.node)
}

/// Removes the operations that a request does not choose, and the fragments that only they use: the library's validator
/// would judge them by the variables of the chosen one.
pub fn keep_chosen(document: &mut ExecutableDocument, name: Option<&str>) {
    let DocumentOperations::Multiple(operations) = &mut document.operations else { return };
    if operations.len() > 1 {
        operations.retain(|other, _| Some(other.as_str()) == name);
        drop_unused(document, name);
    }
}

/// Merges the root fields of the chosen operation that have one response key. `variables` are coerced.
pub fn merge(document: &mut ExecutableDocument, name: Option<&str>, variables: &Variables) {
    let Some(operation) = chosen(&mut document.operations, name) else { return };
    let (fields, is_repeated) = merged(&operation.selection_set.node, &document.fragments, variables);
    if is_repeated {
        operation.selection_set.node.items = fields;
        drop_unused(document, name);
    }
}

/// The included fields of a root selection, merged by response key, without fragments and conditions; and whether a
/// field occurs more than once.
pub(super) fn merged(
    set: &SelectionSet,
    fragments: &Fragments,
    variables: &Variables,
) -> (Vec<Positioned<Selection>>, bool) {
    let mut found = Collector { fragments, variables, seen: HashSet::new(), fields: Vec::new() };
    let is_repeated = found.collect(set);
    let mut merged: Vec<Positioned<Field>> = Vec::new();
    for field in found.fields {
        let same = |other: &&mut Positioned<Field>| other.node.response_key().node == field.node.response_key().node;
        if let Some(first) = merged.iter_mut().find(same) {
            first.node.selection_set.node.items.extend(field.node.selection_set.node.items.iter().cloned());
        } else {
            let mut field = field.clone();
            field.node.directives.clear();
            merged.push(field);
        }
    }
    let selection = |field: Positioned<Field>| {
        let pos = field.pos;
        Positioned::new(Selection::Field(field), pos)
    };
    (merged.into_iter().map(selection).collect(), is_repeated)
}

/// Removes the fragments, and the chosen operation's variables, that a merge has left unused: the library's validator
/// refuses them.
pub(super) fn drop_unused(document: &mut ExecutableDocument, name: Option<&str>) {
    let mut fragments = HashSet::new();
    for (_, operation) in document.operations.iter() {
        Used { fragments: &document.fragments, spreads: &mut fragments, variables: &mut HashSet::new() }
            .selections(&operation.node.selection_set.node);
    }
    let (mut variables, mut spreads) = (HashSet::new(), HashSet::new());
    if let Some(operation) = chosen(&mut document.operations, name) {
        let mut used = Used { fragments: &document.fragments, spreads: &mut spreads, variables: &mut variables };
        used.directives(&operation.directives);
        used.selections(&operation.selection_set.node);
        operation.variable_definitions.retain(|definition| variables.contains(&definition.node.name.node));
    }
    document.fragments.retain(|name, _| fragments.contains(name));
}

struct Collector<'d> {
    fragments: &'d Fragments,
    variables: &'d Variables,
    seen: HashSet<&'d Name>,
    fields: Vec<&'d Positioned<Field>>,
}

impl<'d> Collector<'d> {
    /// Collects the included fields, with each named fragment once. Returns whether a field is repeated. Every fragment
    /// on a root type applies.
    fn collect(&mut self, set: &'d SelectionSet) -> bool {
        let mut is_repeated = false;
        for selection in set.items.iter().map(|selection| &selection.node) {
            if selection.directives().iter().any(|directive| excludes(directive, self.variables)) {
                continue;
            }
            is_repeated |= match selection {
                Selection::Field(field) => {
                    let key = &field.node.response_key().node;
                    let is_repeated = self.fields.iter().any(|other| other.node.response_key().node == *key);
                    self.fields.push(field);
                    is_repeated
                }
                Selection::InlineFragment(fragment) => self.collect(&fragment.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    match self.fragments.get(name) {
                        Some(fragment) if self.seen.insert(name) => self.collect(&fragment.node.selection_set.node),
                        _ => true,
                    }
                }
            };
        }
        is_repeated
    }
}

/// Whether a directive leaves out its field or fragment.
pub(super) fn excludes(directive: &Positioned<Directive>, variables: &Variables) -> bool {
    let Some(unless) = ["include", "skip"].iter().position(|name| directive.node.name.node == *name) else {
        return false;
    };
    let is_on = match directive.node.get_argument("if").map(|value| &value.node) {
        Some(Literal::Boolean(is_on)) => Some(*is_on),
        Some(Literal::Variable(name)) => match variables.get(name) {
            Some(Value::Boolean(is_on)) => Some(*is_on),
            _ => None,
        },
        _ => None,
    };
    is_on == Some(unless == 1)
}

/// The fragments and variables that a selection uses.
struct Used<'d, 'u> {
    fragments: &'d Fragments,
    spreads: &'u mut HashSet<Name>,
    variables: &'u mut HashSet<Name>,
}

impl Used<'_, '_> {
    fn selections(&mut self, set: &SelectionSet) {
        for selection in set.items.iter().map(|selection| &selection.node) {
            self.directives(selection.directives());
            match selection {
                Selection::Field(field) => {
                    field.node.arguments.iter().for_each(|(_, value)| self.value(&value.node));
                    self.selections(&field.node.selection_set.node);
                }
                Selection::InlineFragment(fragment) => self.selections(&fragment.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if self.spreads.insert(name.clone())
                        && let Some(fragment) = self.fragments.get(name)
                    {
                        self.directives(&fragment.node.directives);
                        self.selections(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }

    fn directives(&mut self, directives: &[Positioned<Directive>]) {
        let arguments = directives.iter().flat_map(|directive| &directive.node.arguments);
        arguments.for_each(|(_, value)| self.value(&value.node));
    }

    fn value(&mut self, value: &Literal) {
        match value {
            Literal::Variable(name) => {
                self.variables.insert(name.clone());
            }
            Literal::List(items) => items.iter().for_each(|item| self.value(item)),
            Literal::Object(fields) => fields.values().for_each(|value| self.value(value)),
            _ => {}
        }
    }
}
