//! Corrects a field of introspection: the library returns null for the `interfaces` of an interface, which is a list in
//! the specification (section 4.5). The kind of the type is selected beside the field, under a name that no client can
//! use.

use async_graphql::{
    Name, Positioned, Value,
    parser::types::{DocumentOperations, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet},
};

/// Start of the name of a kind. The name of the field to correct follows.
const KIND: &str = "kind for ";

/// Selects the kinds of types whose `interfaces` are selected. Returns whether there are any.
pub fn select_kinds(document: &mut ExecutableDocument) -> bool {
    let operations: Vec<&mut Positioned<OperationDefinition>> = match &mut document.operations {
        DocumentOperations::Single(operation) => vec![operation],
        DocumentOperations::Multiple(operations) => operations.values_mut().collect(),
    };
    let operations = operations.into_iter().map(|operation| &mut operation.node.selection_set.node);
    let fragments = document.fragments.values_mut().map(|fragment| &mut fragment.node.selection_set.node);
    let mut has_any = false;
    for set in operations.chain(fragments) {
        has_any |= select_in(set);
    }
    has_any
}

fn select_in(set: &mut SelectionSet) -> bool {
    let mut kinds = Vec::new();
    let mut has_any = false;
    for selection in &mut set.items {
        let pos = selection.pos;
        match &mut selection.node {
            // Only types of introspection have a field of this name.
            Selection::Field(field) if field.node.name.node == "interfaces" => {
                let kind = Field {
                    alias: Some(Positioned::new(Name::new(format!("{KIND}{}", field.node.response_key().node)), pos)),
                    name: Positioned::new(Name::new("kind"), pos),
                    arguments: Vec::new(),
                    directives: Vec::new(),
                    selection_set: Positioned::default(),
                };
                kinds.push(Positioned::new(Selection::Field(Positioned::new(kind, pos)), pos));
                has_any |= select_in(&mut field.node.selection_set.node);
            }
            Selection::Field(field) => has_any |= select_in(&mut field.node.selection_set.node),
            Selection::InlineFragment(fragment) => has_any |= select_in(&mut fragment.node.selection_set.node),
            Selection::FragmentSpread(_) => {}
        }
    }
    has_any |= !kinds.is_empty();
    set.items.extend(kinds);
    has_any
}

/// Removes the selected kinds from a response, and corrects the lists of interfaces.
pub fn correct(value: &mut Value) {
    match value {
        Value::List(values) => values.iter_mut().for_each(correct),
        Value::Object(fields) => {
            let kinds: Vec<Name> = fields.keys().filter(|name| name.starts_with(KIND)).cloned().collect();
            for name in kinds {
                let is_interface = fields.shift_remove(&name) == Some(Value::Enum(Name::new("INTERFACE")));
                let list = name.strip_prefix(KIND).and_then(|list| fields.get_mut(list));
                if let Some(list) = list.filter(|list| is_interface && **list == Value::Null) {
                    *list = Value::List(Vec::new());
                }
            }
            fields.values_mut().for_each(correct);
        }
        _ => {}
    }
}
