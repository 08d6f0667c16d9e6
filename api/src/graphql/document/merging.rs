//! Checks that fields with the same response name have the same arguments (GraphQL specification, section 5.3.2).
//! `apollo-compiler` checks the rest of that section, but compares lists of different lengths only up to the shorter
//! one.

use std::collections::{HashMap, HashSet};

use apollo_compiler::{
    Name, Node, Schema,
    executable::{Argument, ExecutableDocument, Field, Selection, SelectionSet, Value},
    schema::ExtendedType,
};

use super::{Fault, place};

/// Maximum number of sets of fields that are compared. Only documents made to be expensive exceed it within the other
/// limits.
const MAX_SETS: usize = 20_000;

/// Checks a document whose fields exist and whose fragments have no cycles.
///
/// # Errors
/// The first field whose arguments differ from an earlier one's.
pub fn check(schema: &Schema, document: &ExecutableDocument, text: &str) -> Result<(), Fault> {
    let mut merger = Merger { schema, document, text, seen: HashSet::new() };
    document.operations.iter().try_for_each(|operation| merger.sets(vec![&operation.selection_set]))
}

struct Merger<'d> {
    schema: &'d Schema,
    document: &'d ExecutableDocument,
    text: &'d str,
    /// The sets of selections that were already compared together, by their addresses.
    seen: HashSet<Vec<usize>>,
}

/// Fields with one response name, each with the type that it is selected on.
type Group<'d> = Vec<(&'d Name, &'d Node<Field>)>;

impl<'d> Merger<'d> {
    fn sets(&mut self, sets: Vec<&'d SelectionSet>) -> Result<(), Fault> {
        if !self.seen.insert(sets.iter().map(|set| std::ptr::from_ref(*set).addr()).collect()) {
            return Ok(());
        }
        if self.seen.len() > MAX_SETS {
            let pos = place(self.text, None);
            return Err(Fault::invalid(pos, "The document has too many fields to merge."));
        }
        let mut groups: HashMap<&Name, Group<'d>> = HashMap::new();
        let mut order = Vec::new();
        let mut fragments = HashSet::new();
        for set in sets {
            self.collect(set, &mut fragments, &mut |parent, field: &'d Node<Field>| {
                let key = field.response_key();
                let group = groups.entry(key).or_default();
                if group.is_empty() {
                    order.push(key);
                }
                group.push((parent, field));
            });
        }
        for key in order {
            self.group(&groups.remove(key).unwrap_or_default())?;
        }
        Ok(())
    }

    fn collect(
        &self,
        set: &'d SelectionSet,
        fragments: &mut HashSet<&'d Name>,
        found: &mut impl FnMut(&'d Name, &'d Node<Field>),
    ) {
        for selection in &set.selections {
            match selection {
                Selection::Field(field) => found(&set.ty, field),
                Selection::InlineFragment(fragment) => self.collect(&fragment.selection_set, fragments, found),
                Selection::FragmentSpread(spread) => {
                    if fragments.insert(&spread.fragment_name)
                        && let Some(fragment) = self.document.fragments.get(&spread.fragment_name)
                    {
                        self.collect(&fragment.selection_set, fragments, found);
                    }
                }
            }
        }
    }

    /// Checks fields with one response name. Fields of two different object types never occur in one object.
    fn group(&mut self, group: &Group<'d>) -> Result<(), Fault> {
        if let [(_, field)] = group.as_slice() {
            return if field.selection_set.is_empty() { Ok(()) } else { self.sets(vec![&field.selection_set]) };
        }
        let is_object = |name: &Name| matches!(self.schema.types.get(name), Some(ExtendedType::Object(_)));
        let mut objects: Vec<&Name> = Vec::new();
        for (parent, _) in group.iter().filter(|(parent, _)| is_object(parent)) {
            if !objects.contains(parent) {
                objects.push(parent);
            }
        }
        let mut meeting: Vec<Group<'d>> = Vec::new();
        if objects.is_empty() {
            meeting.push(group.clone());
        }
        for object in objects {
            meeting.push(group.iter().filter(|(parent, _)| *parent == object || !is_object(parent)).copied().collect());
        }
        for fields in meeting {
            if let Some((_, first)) = fields.first() {
                for (_, other) in &fields {
                    self.compare(first, other)?;
                }
            }
            let sets: Vec<_> =
                fields.iter().map(|(_, field)| &field.selection_set).filter(|set| !set.is_empty()).collect();
            if !sets.is_empty() {
                self.sets(sets)?;
            }
        }
        Ok(())
    }

    fn compare(&self, first: &Node<Field>, other: &Node<Field>) -> Result<(), Fault> {
        let has = |arguments: &[Node<Argument>], wanted: &Node<Argument>| {
            arguments.iter().any(|own| own.name == wanted.name && self.is_same(&own.value, &wanted.value))
        };
        if first.arguments.len() == other.arguments.len()
            && first.arguments.iter().all(|argument| has(&other.arguments, argument))
        {
            return Ok(());
        }
        let message = format!(
            "Fields \"{}\" conflict because they have differing arguments. Use different aliases on the fields.",
            other.response_key()
        );
        Err(Fault::invalid(place(self.text, other.location()), message))
    }

    /// Whether two values are equal, ignoring the order of object fields.
    fn is_same(&self, one: &Node<Value>, other: &Node<Value>) -> bool {
        match (&**one, &**other) {
            (Value::List(one), Value::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| self.is_same(one, other))
            }
            (Value::Object(one), Value::Object(other)) => {
                one.len() == other.len()
                    && one.iter().all(|(name, value)| {
                        other.iter().any(|(other_name, other)| name == other_name && self.is_same(value, other))
                    })
            }
            (Value::String(text), Value::String(other_text)) => {
                text == other_text && self.is_block(one) == self.is_block(other)
            }
            (one, other) => one == other,
        }
    }

    fn is_block(&self, value: &Node<Value>) -> bool {
        let text = value.location().and_then(|location| self.text.get(location.offset()..));
        text.is_some_and(|text| text.starts_with(r#"""""#))
    }
}
