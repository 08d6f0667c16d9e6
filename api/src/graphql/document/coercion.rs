//! Coerces variables to their types (GraphQL specification, section 6.1.2, CoerceVariableValues). Custom scalars check
//! their values themselves, also before execution.

use std::collections::HashSet;

use apollo_compiler::{Schema, ast, schema::ExtendedType};
use async_graphql::{
    Name, Pos, Positioned, Value, Variables,
    indexmap::IndexMap,
    parser::types::{BaseType, Directive, ExecutableDocument, OperationDefinition, Selection, SelectionSet, Type},
};
use async_graphql_value::Value as Literal;
use serde_json::Number;

use super::{Fault, FaultKind, MAX_FAULTS, Step, named, root_fields};
use crate::graphql::variables;

/// The coerced variables of an operation. An absent variable takes its default value; without one it stays absent.
///
/// # Errors
/// The values that do not have their types.
pub fn coerce(
    schema: &Schema,
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    mut given: Variables,
) -> Result<Variables, Vec<Fault>> {
    let mut coerced = Variables::default();
    let mut faults = Vec::new();
    let usage = |name| Usage { document, name, fragments: HashSet::new() }.of(operation);
    for definition in operation.variable_definitions.iter().map(|definition| &definition.node) {
        let (name, pos) = (&definition.name.node, definition.name.pos);
        let ty = &definition.var_type.node;
        let fault = |what: &str| Fault {
            pos,
            message: format!("Variable \"${name}\" of required type \"{ty}\" {what}."),
            kind: FaultKind::Input(named(&usage(name))),
        };
        match (given.remove(name), &definition.default_value) {
            (None, Some(default)) => drop(coerced.insert(name.clone(), default.node.clone())),
            (None, None) if !ty.nullable => faults.push(fault("was not provided")),
            (None, None) => {}
            (Some(Value::Null), _) if !ty.nullable => faults.push(fault("must not be null")),
            (Some(value), _) => {
                let mut variable = Variable { schema, name, pos, usage: &usage, path: Vec::new(), faults: Vec::new() };
                let value = variable.value(&Expected::Operation(ty), value);
                faults.append(&mut variable.faults);
                coerced.insert(name.clone(), value);
            }
        }
        if faults.len() >= MAX_FAULTS {
            break;
        }
    }
    if faults.is_empty() { Ok(coerced) } else { Err(faults) }
}

/// A type, from an operation or from the schema.
enum Expected<'a> {
    Operation(&'a Type),
    Schema(&'a ast::Type),
}

impl Expected<'_> {
    fn is_non_null(&self) -> bool {
        match self {
            Self::Operation(ty) => !ty.nullable,
            Self::Schema(ty) => ty.is_non_null(),
        }
    }

    /// The type of a list's elements.
    fn item(&self) -> Option<Self> {
        match self {
            Self::Operation(Type { base: BaseType::List(item), .. }) => Some(Self::Operation(item)),
            Self::Schema(ast::Type::List(item) | ast::Type::NonNullList(item)) => Some(Self::Schema(item)),
            _ => None,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Operation(ty) => {
                let mut base = &ty.base;
                loop {
                    match base {
                        BaseType::Named(name) => return name,
                        BaseType::List(item) => base = &item.base,
                    }
                }
            }
            Self::Schema(ty) => ty.inner_named_type(),
        }
    }
}

impl std::fmt::Display for Expected<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operation(ty) => ty.fmt(formatter),
            Self::Schema(ty) => ty.fmt(formatter),
        }
    }
}

/// A step from a variable to a value inside it.
enum Inside {
    Field(Name),
    Index(usize),
}

/// A variable during coercion.
struct Variable<'a> {
    schema: &'a Schema,
    name: &'a Name,
    pos: Pos,
    /// The path from an argument to the use of the variable.
    usage: &'a dyn Fn(&'a Name) -> Vec<Step<'a>>,
    path: Vec<Inside>,
    faults: Vec<Fault>,
}

impl Variable<'_> {
    /// The coerced value. If it has the wrong type, records a fault and returns any value.
    fn value(&mut self, expected: &Expected<'_>, value: Value) -> Value {
        if value == Value::Null {
            if expected.is_non_null() {
                self.fault(&format!("expected {expected}, found null"));
            }
            return value;
        }
        // JSON is checked by the write that stores it.
        if let Some(why) = variables::flaw(&value).filter(|_| expected.name() != "JSON") {
            self.fault(why.trim_end_matches('.'));
            return value;
        }
        let Some(item) = expected.item() else { return self.named(expected, value) };
        let Value::List(items) = value else { return Value::List(vec![self.value(&item, value)]) };
        let items = items.into_iter().enumerate().map(|(at, value)| self.inside(Inside::Index(at), &item, value));
        Value::List(items.collect())
    }

    fn inside(&mut self, step: Inside, expected: &Expected<'_>, value: Value) -> Value {
        if self.faults.len() >= MAX_FAULTS {
            return value;
        }
        self.path.push(step);
        let value = self.value(expected, value);
        self.path.pop();
        value
    }

    fn named(&mut self, expected: &Expected<'_>, value: Value) -> Value {
        let schema = self.schema;
        match (schema.types.get(expected.name()), value) {
            (Some(ExtendedType::InputObject(object)), Value::Object(fields)) => {
                let is_one_of = object.directives.has("oneOf");
                if is_one_of && (fields.len() != 1 || fields.values().any(|value| *value == Value::Null)) {
                    self.fault(&format!("{} needs exactly one of its fields, not null", object.name));
                }
                for definition in object.fields.values() {
                    let is_required = definition.ty.is_non_null() && definition.default_value.is_none();
                    if is_required && !fields.contains_key(definition.name.as_str()) {
                        self.path.push(Inside::Field(Name::new(&definition.name)));
                        self.fault(&format!("it is required, of type {}", definition.ty));
                        self.path.pop();
                    }
                }
                let mut coerced = IndexMap::with_capacity(fields.len());
                for (name, value) in fields {
                    let value = match object.fields.get(name.as_str()) {
                        Some(definition) => {
                            self.inside(Inside::Field(name.clone()), &Expected::Schema(&definition.ty), value)
                        }
                        None => {
                            self.path.push(Inside::Field(name.clone()));
                            self.fault(&format!("{} has no field \"{name}\"", object.name));
                            self.path.pop();
                            value
                        }
                    };
                    coerced.insert(name, value);
                }
                Value::Object(coerced)
            }
            (Some(ExtendedType::Scalar(scalar)), value) => match scalar_value(&scalar.name, &value) {
                Coerced::Same => value,
                Coerced::To(value) => value,
                Coerced::No => self.unexpected(expected, value),
            },
            (Some(ExtendedType::Enum(known)), Value::String(name)) if known.values.contains_key(name.as_str()) => {
                Value::String(name)
            }
            // Invalid documents are reported elsewhere.
            (None, value) => value,
            (Some(known), value) if !known.is_input_type() => value,
            (_, value) => self.unexpected(expected, value),
        }
    }

    fn unexpected(&mut self, expected: &Expected<'_>, value: Value) -> Value {
        let shown = match &value {
            Value::Object(_) => "an object".to_owned(),
            Value::List(_) => "a list".to_owned(),
            value => value.to_string().chars().take(80).collect(),
        };
        self.fault(&format!("expected {expected}, found {shown}"));
        value
    }

    fn fault(&mut self, reason: &str) {
        let mut path = (self.usage)(self.name);
        let inside = self.path.iter().map(|step| match step {
            Inside::Field(name) => Step::Name(name),
            Inside::Index(index) => Step::Index(*index),
        });
        path.extend(inside);
        let field = named(&path);
        let message = format!("Variable \"${}\" got an invalid value for \"{field}\": {reason}.", self.name);
        self.faults.push(Fault { pos: self.pos, message, kind: FaultKind::Input(field) });
    }
}

/// Finds the first use of a variable in an operation.
struct Usage<'d> {
    document: &'d ExecutableDocument,
    name: &'d Name,
    fragments: HashSet<&'d Name>,
}

impl<'d> Usage<'d> {
    /// The path from an argument to the variable, or the variable itself if it is not used.
    fn of(mut self, operation: &'d OperationDefinition) -> Vec<Step<'d>> {
        let found = self.in_directives(&operation.directives);
        let found = found.or_else(|| self.in_selections(&operation.selection_set.node));
        found.unwrap_or_else(|| vec![Step::Name(self.name)])
    }

    fn in_selections(&mut self, set: &'d SelectionSet) -> Option<Vec<Step<'d>>> {
        set.items.iter().find_map(|selection| {
            let inside = match &selection.node {
                Selection::Field(field) => {
                    let found = self.in_arguments(&field.node.arguments);
                    found.or_else(|| self.in_selections(&field.node.selection_set.node))
                }
                Selection::InlineFragment(fragment) => self.in_selections(&fragment.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let fragment = self.document.fragments.get(name).filter(|_| self.fragments.insert(name));
                    fragment.and_then(|fragment| {
                        let found = self.in_directives(&fragment.node.directives);
                        found.or_else(|| self.in_selections(&fragment.node.selection_set.node))
                    })
                }
            };
            inside.or_else(|| self.in_directives(selection.node.directives()))
        })
    }

    fn in_directives(&self, directives: &'d [Positioned<Directive>]) -> Option<Vec<Step<'d>>> {
        directives.iter().find_map(|directive| self.in_arguments(&directive.node.arguments))
    }

    fn in_arguments(&self, arguments: &'d [(Positioned<Name>, Positioned<Literal>)]) -> Option<Vec<Step<'d>>> {
        arguments.iter().find_map(|(name, value)| self.in_value(vec![Step::Name(&name.node)], &value.node))
    }

    fn in_value(&self, path: Vec<Step<'d>>, value: &'d Literal) -> Option<Vec<Step<'d>>> {
        let below = |step| [path.clone(), vec![step]].concat();
        match value {
            Literal::Variable(name) if name == self.name => Some(path),
            Literal::List(items) => {
                items.iter().enumerate().find_map(|(at, item)| self.in_value(below(Step::Index(at)), item))
            }
            Literal::Object(fields) => {
                fields.iter().find_map(|(name, value)| self.in_value(below(Step::Name(name)), value))
            }
            _ => None,
        }
    }
}

/// The result of coercing a scalar.
enum Coerced {
    Same,
    To(Value),
    No,
}

fn scalar_value(scalar: &str, value: &Value) -> Coerced {
    match (scalar, value) {
        ("Int", Value::Number(number)) => {
            let number = whole(number).and_then(|number| i32::try_from(number).ok());
            number.map_or(Coerced::No, |number| Coerced::To(Value::Number(number.into())))
        }
        ("ID", Value::Number(number)) => match whole(number) {
            Some(number) => Coerced::To(Value::String(number.to_string())),
            None => Coerced::No,
        },
        ("Float", Value::Number(_)) | ("String" | "ID", Value::String(_)) | ("Boolean", Value::Boolean(_)) => {
            Coerced::Same
        }
        ("Int" | "Float" | "String" | "ID" | "Boolean", _) => Coerced::No,
        _ => Coerced::Same,
    }
}

/// An integer, in any notation: `1.0` and `1e2` are integers.
fn whole(number: &Number) -> Option<i128> {
    if let Some(number) = number.as_i128() {
        return Some(number);
    }
    let number = number.as_f64().filter(|number| number.is_finite() && number.fract() == 0.0)?;
    // Formatting without an exponent avoids a cast.
    format!("{number:.0}").parse().ok()
}

/// Removes absent variables from a document: arguments and input fields with such a variable become absent (GraphQL
/// specification, section 6.4.1), elements of lists become null.
pub fn without_absent(document: &mut ExecutableDocument, name: Option<&str>, variables: &Variables) {
    let Some(operation) = root_fields::chosen(&mut document.operations, name) else { return };
    let mut absent = HashSet::new();
    operation.variable_definitions.retain(|definition| {
        let name = &definition.node.name.node;
        let is_there = variables.contains_key(name);
        if !is_there {
            absent.insert(name.clone());
        }
        is_there
    });
    if absent.is_empty() {
        return;
    }
    let absent = Absent(absent);
    absent.leave_directives(&mut operation.directives);
    absent.leave_selections(&mut operation.selection_set.node);
    for fragment in document.fragments.values_mut() {
        absent.leave_directives(&mut fragment.node.directives);
        absent.leave_selections(&mut fragment.node.selection_set.node);
    }
}

struct Absent(HashSet<Name>);

impl Absent {
    fn leave_selections(&self, set: &mut SelectionSet) {
        for selection in &mut set.items {
            self.leave_directives(selection.node.directives_mut());
            match &mut selection.node {
                Selection::Field(field) => {
                    self.leave_arguments(&mut field.node.arguments);
                    self.leave_selections(&mut field.node.selection_set.node);
                }
                Selection::InlineFragment(fragment) => self.leave_selections(&mut fragment.node.selection_set.node),
                Selection::FragmentSpread(_) => {}
            }
        }
    }

    fn leave_directives(&self, directives: &mut [Positioned<Directive>]) {
        for directive in directives {
            self.leave_arguments(&mut directive.node.arguments);
        }
    }

    fn leave_arguments(&self, arguments: &mut Vec<(Positioned<Name>, Positioned<Literal>)>) {
        arguments.retain_mut(|(_, value)| self.is_kept(&mut value.node));
    }

    /// Whether a value is present, after removing absent parts of it.
    fn is_kept(&self, value: &mut Literal) -> bool {
        match value {
            Literal::Variable(name) => return !self.0.contains(name),
            Literal::List(items) => {
                for item in items {
                    if !self.is_kept(item) {
                        *item = Literal::Null;
                    }
                }
            }
            Literal::Object(fields) => fields.retain(|_, value| self.is_kept(value)),
            _ => {}
        }
        true
    }
}
