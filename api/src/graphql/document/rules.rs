//! Validation rules for values and variables (GraphQL specification, sections 5.6 and 5.8). `apollo-compiler`
//! implements them in part: it ignores variables inside lists and input objects, ignores `@oneOf`, and treats a null
//! default as a value.

use std::collections::{HashMap, HashSet};

use apollo_compiler::{
    Name, Node, Schema, ast,
    executable::{
        Argument, DirectiveList, ExecutableDocument, Operation, Selection, SelectionSet, Type, Value,
        VariableDefinition,
    },
    schema::{ExtendedType, InputValueDefinition},
};

use super::{Fault, FaultKind, MAX_FAULTS, Step, named, place};

/// Directives for incremental delivery.
const INCREMENTAL: [&str; 2] = ["defer", "stream"];

/// The type that a value must have at a place in a document.
#[derive(Clone, Copy)]
struct Expected<'a> {
    ty: &'a Type,
    /// Whether null is allowed here, regardless of the type: this is an element of a list at the place of a scalar.
    is_nullable: bool,
    has_default: bool,
    /// Whether this is a field of a `@oneOf` type, in which a variable must not be null.
    is_one_of: bool,
}

impl<'a> Expected<'a> {
    fn of(definition: &'a InputValueDefinition) -> Self {
        Self {
            ty: &definition.ty,
            is_nullable: false,
            has_default: definition.default_value.is_some(),
            is_one_of: false,
        }
    }

    fn item(ty: &'a Type) -> Self {
        Self { ty, is_nullable: false, has_default: false, is_one_of: false }
    }

    fn is_non_null(&self) -> bool {
        self.ty.is_non_null() && !self.is_nullable
    }
}

/// A use of a variable.
struct Usage<'a> {
    name: &'a Name,
    at: &'a Node<Value>,
    expected: Option<Expected<'a>>,
}

/// The variables and fragments that a definition uses.
#[derive(Default)]
struct Used<'a> {
    variables: Vec<Usage<'a>>,
    fragments: Vec<&'a Name>,
}

/// Checks the values and variables of a document. Returns the offsets of integers that are ids beyond 64 bits.
///
/// # Errors
/// The faults.
pub fn check(schema: &Schema, document: &ExecutableDocument, text: &str) -> Result<HashSet<usize>, Vec<Fault>> {
    let mut walk =
        Walk { schema, text, faults: Vec::new(), used: Used::default(), path: Vec::new(), long_ids: HashSet::new() };
    let mut fragments = HashMap::new();
    for (name, fragment) in &document.fragments {
        walk.directives(&fragment.directives);
        walk.selections(&fragment.selection_set);
        fragments.insert(name, std::mem::take(&mut walk.used));
    }
    for operation in document.operations.iter() {
        for variable in &operation.variables {
            walk.default(variable);
        }
        walk.directives(&operation.directives);
        walk.selections(&operation.selection_set);
        let used = std::mem::take(&mut walk.used);
        walk.variables(operation, &used, &fragments);
        if walk.faults.len() >= MAX_FAULTS {
            break;
        }
    }
    if walk.faults.is_empty() { Ok(walk.long_ids) } else { Err(walk.faults) }
}

/// Directives for incremental delivery, also in documents with other faults.
pub fn unsupported_directives(tree: &ast::Document, text: &str) -> Vec<Fault> {
    fn of_selections<'a>(selections: &'a [ast::Selection], found: &mut Vec<&'a Node<ast::Directive>>) {
        for selection in selections {
            let (directives, inner): (_, &[_]) = match selection {
                ast::Selection::Field(field) => (&field.directives, &field.selection_set),
                ast::Selection::InlineFragment(fragment) => (&fragment.directives, &fragment.selection_set),
                ast::Selection::FragmentSpread(spread) => (&spread.directives, &[]),
            };
            found.extend(directives.iter());
            of_selections(inner, found);
        }
    }

    let mut found = Vec::new();
    for definition in &tree.definitions {
        match definition {
            ast::Definition::OperationDefinition(operation) => of_selections(&operation.selection_set, &mut found),
            ast::Definition::FragmentDefinition(fragment) => of_selections(&fragment.selection_set, &mut found),
            _ => {}
        }
    }
    found.into_iter().filter_map(|directive| unsupported(directive, text)).take(MAX_FAULTS).collect()
}

fn unsupported(directive: &Node<ast::Directive>, text: &str) -> Option<Fault> {
    INCREMENTAL.contains(&directive.name.as_str()).then(|| {
        let message =
            format!("This server does not support @{}: it sends each response as a whole.", directive.name.as_str());
        Fault::invalid(place(text, directive.location()), message)
    })
}

struct Walk<'a> {
    schema: &'a Schema,
    text: &'a str,
    faults: Vec<Fault>,
    used: Used<'a>,
    path: Vec<Step<'a>>,
    long_ids: HashSet<usize>,
}

impl<'a> Walk<'a> {
    fn selections(&mut self, set: &'a SelectionSet) {
        for selection in &set.selections {
            match selection {
                Selection::Field(field) => {
                    self.arguments(&field.definition.arguments, &field.arguments);
                    self.directives(&field.directives);
                    self.selections(&field.selection_set);
                }
                Selection::InlineFragment(fragment) => {
                    self.directives(&fragment.directives);
                    self.selections(&fragment.selection_set);
                }
                Selection::FragmentSpread(spread) => {
                    self.used.fragments.push(&spread.fragment_name);
                    self.directives(&spread.directives);
                }
            }
        }
    }

    fn directives(&mut self, directives: &'a DirectiveList) {
        for directive in directives.iter() {
            if let Some(fault) = unsupported(directive, self.text) {
                self.faults.push(fault);
                continue;
            }
            let definition = self.schema.directive_definitions.get(&directive.name);
            self.arguments(definition.map_or(&[], |definition| &definition.arguments), &directive.arguments);
        }
    }

    fn arguments(&mut self, definitions: &'a [Node<InputValueDefinition>], arguments: &'a [Node<Argument>]) {
        for argument in arguments {
            let definition = definitions.iter().find(|definition| definition.name == argument.name);
            self.path.push(Step::Name(&argument.name));
            self.value(definition.map(|definition| Expected::of(definition)), &argument.value, true);
            self.path.pop();
        }
    }

    fn default(&mut self, variable: &'a VariableDefinition) {
        let is_known = self.schema.types.get(variable.ty.inner_named_type()).is_some_and(ExtendedType::is_input_type);
        if let Some(value) = variable.default_value.as_ref().filter(|_| is_known) {
            self.path.push(Step::Name(&variable.name));
            self.value(Some(Expected::item(&variable.ty)), value, true);
            self.path.pop();
        }
    }

    /// Visits a value, and checks it if `is_checked`.
    fn value(&mut self, expected: Option<Expected<'a>>, value: &'a Node<Value>, is_checked: bool) {
        match (&**value, expected) {
            (Value::Variable(name), _) => self.used.variables.push(Usage { name, at: value, expected }),
            (Value::List(items), Some(place)) => {
                let is_list = place.ty.is_list();
                if is_checked && !is_list {
                    self.leaf(place, value);
                }
                let mut item = Expected::item(place.ty.item_type());
                item.is_nullable = !is_list;
                for (at, value) in items.iter().enumerate() {
                    self.path.push(Step::Index(at));
                    self.value(Some(item), value, is_checked && is_list);
                    self.path.pop();
                }
            }
            (Value::List(items), None) => items.iter().for_each(|value| self.value(None, value, false)),
            (Value::Object(fields), Some(place)) => match self.schema.types.get(place.ty.inner_named_type()) {
                Some(ExtendedType::InputObject(object)) => {
                    let is_one_of = object.directives.has("oneOf");
                    if is_checked {
                        self.object(place, object.fields.values().map(|field| &***field), fields, is_one_of, value);
                    }
                    for (name, value) in fields {
                        let definition = object.fields.get(name);
                        self.path.push(Step::Name(name));
                        if is_checked && definition.is_none() {
                            let message = format!("{} has no field \"{name}\"", object.name);
                            self.fault(value, &message);
                        }
                        let expected = definition.map(|field| Expected { is_one_of, ..Expected::of(field) });
                        self.value(expected, value, is_checked);
                        self.path.pop();
                    }
                }
                _ => {
                    if is_checked {
                        self.leaf(place, value);
                    }
                    fields.iter().for_each(|(_, value)| self.value(None, value, false));
                }
            },
            (Value::Object(fields), None) => fields.iter().for_each(|(_, value)| self.value(None, value, false)),
            (Value::Null, Some(place)) if is_checked && place.is_non_null() => {
                self.fault(value, &format!("expected {}, found null", place.ty));
            }
            (Value::Null, _) | (_, None) => {}
            (_, Some(place)) if is_checked => self.leaf(place, value),
            _ => {}
        }
    }

    fn object(
        &mut self,
        place: Expected<'a>,
        definitions: impl Iterator<Item = &'a InputValueDefinition>,
        fields: &'a [(Name, Node<Value>)],
        is_one_of: bool,
        value: &'a Node<Value>,
    ) {
        for definition in definitions {
            let is_required = definition.ty.is_non_null() && definition.default_value.is_none();
            if is_required && fields.iter().all(|(name, _)| *name != definition.name) {
                self.path.push(Step::Name(&definition.name));
                self.fault(value, &format!("it is required, of type {}", definition.ty));
                self.path.pop();
            }
        }
        if is_one_of && (fields.len() != 1 || fields.iter().any(|(_, value)| value.is_null())) {
            let message = format!("{} needs exactly one of its fields, not null", place.ty.inner_named_type());
            self.fault(value, &message);
        }
    }

    /// Checks a literal at the place of a scalar or an enum.
    fn leaf(&mut self, place: Expected<'a>, value: &'a Node<Value>) {
        let is_valid = match self.schema.types.get(place.ty.inner_named_type()) {
            Some(ExtendedType::Scalar(scalar)) => match (scalar.name.as_str(), &**value) {
                ("Int", Value::Int(number)) => number.try_to_i32().is_ok(),
                ("Float", Value::Int(_) | Value::Float(_)) => true,
                ("String" | "ID", Value::String(_)) => true,
                ("ID", Value::Int(number)) => {
                    if number.as_str().parse::<i64>().is_err() {
                        self.long_ids.extend(value.location().map(|location| location.offset()));
                    }
                    true
                }
                ("Boolean", Value::Boolean(_)) => true,
                ("Int" | "Float" | "String" | "ID" | "Boolean", _) => false,
                _ => true,
            },
            Some(ExtendedType::Enum(known)) => {
                matches!(&**value, Value::Enum(name) if known.values.contains_key(name))
            }
            _ => false,
        };
        if !is_valid {
            let shown: String = value.serialize().no_indent().to_string().chars().take(80).collect();
            self.fault(value, &format!("expected {}, found {shown}", place.ty));
        }
    }

    fn fault(&mut self, value: &Node<Value>, reason: &str) {
        if self.faults.len() < MAX_FAULTS {
            let field = named(&self.path);
            let message = format!("Invalid value for argument \"{field}\": {reason}.");
            self.faults.push(Fault {
                pos: place(self.text, value.location()),
                message,
                kind: FaultKind::Literal(field),
            });
        }
    }

    /// Checks that each variable used by an operation or its fragments is defined and has a suitable type.
    fn variables(&mut self, operation: &'a Operation, own: &Used<'a>, fragments: &HashMap<&Name, Used<'a>>) {
        let mut definitions: HashMap<&Name, &Node<VariableDefinition>> = HashMap::new();
        for variable in &operation.variables {
            definitions.entry(&variable.name).or_insert(variable);
        }
        let mut seen = HashSet::new();
        let mut waiting = vec![own];
        while let Some(used) = waiting.pop() {
            for usage in &used.variables {
                if self.faults.len() >= MAX_FAULTS {
                    return;
                }
                let reason = match definitions.get(usage.name) {
                    None => Some("is not defined".to_owned()),
                    Some(definition) => usage.expected.and_then(|expected| misfit(definition, expected)),
                };
                if let Some(reason) = reason {
                    let pos = place(self.text, usage.at.location());
                    self.faults.push(Fault::invalid(pos, format!("Variable \"${}\" {reason}.", usage.name)));
                }
            }
            for name in &used.fragments {
                if seen.insert(*name) {
                    waiting.extend(fragments.get(name));
                }
            }
        }
    }
}

/// Why a variable cannot be used at this place (GraphQL specification, IsVariableUsageAllowed).
fn misfit(definition: &VariableDefinition, expected: Expected<'_>) -> Option<String> {
    let own = &*definition.ty;
    let nullable = || expected.ty.clone().nullable();
    let fits = if expected.is_nullable {
        own.is_assignable_to(&nullable())
    } else if expected.ty.is_non_null() && !own.is_non_null() {
        let has_default = definition.default_value.as_ref().is_some_and(|value| !value.is_null());
        (has_default || expected.has_default) && own.is_assignable_to(&nullable())
    } else {
        own.is_assignable_to(expected.ty)
    };
    if !fits {
        return Some(format!("of type \"{own}\" is used where \"{}\" is expected", expected.ty));
    }
    (expected.is_one_of && !own.is_non_null())
        .then(|| format!("of type \"{own}\" must not be null for a field of a @oneOf type"))
}
