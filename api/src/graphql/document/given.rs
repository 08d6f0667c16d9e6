//! What an operation selects, with the values of its variables: the arguments of its fields, and long columns.

use apollo_compiler::Schema;
use async_graphql::{
    Name, PathSegment, Pos, Positioned, Value, Variables,
    indexmap::IndexMap,
    parser::types::{ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet},
};

use super::root_fields::excludes;
use crate::graphql::long_columns;
use crate::model::long_columns::LongColumns;

/// A field and its arguments.
pub struct Given {
    /// The type that has the field.
    pub parent: String,
    /// The name of the field.
    pub name: String,
    /// Whether the field can be null.
    pub is_nullable: bool,
    /// Whether null in the field, which is below a root field, would null the root field, and no list is in between.
    pub nulls_root: bool,
    /// The path of the field in the response, without indexes.
    pub path: Vec<PathSegment>,
    /// The position of the field in the document.
    pub pos: Pos,
    /// The arguments. Absent ones are missing.
    pub arguments: IndexMap<Name, Value>,
}

/// The fields that the operation selects and gives arguments, and the long columns that it selects.
pub fn given(
    schema: &Schema,
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &Variables,
) -> (Vec<Given>, LongColumns) {
    let root = match operation.ty {
        OperationType::Query => &schema.schema_definition.query,
        OperationType::Mutation => &schema.schema_definition.mutation,
        OperationType::Subscription => &schema.schema_definition.subscription,
    };
    let mut walk = Walk {
        schema,
        document,
        variables,
        path: Vec::new(),
        found: Vec::new(),
        long: LongColumns::NONE,
        nulls_root: true,
    };
    if let Some(root) = root {
        walk.selections(root.as_str(), &operation.selection_set.node);
    }
    (walk.found, walk.long)
}

struct Walk<'a> {
    schema: &'a Schema,
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    path: Vec<PathSegment>,
    found: Vec<Given>,
    long: LongColumns,
    /// Whether null in the surrounding field would null the root field.
    nulls_root: bool,
}

impl<'a> Walk<'a> {
    fn selections(&mut self, parent: &str, set: &'a SelectionSet) {
        for selection in set.items.iter().map(|selection| &selection.node) {
            if selection.directives().iter().any(|directive| excludes(directive, self.variables)) {
                continue;
            }
            match selection {
                Selection::Field(field) => {
                    let field = &field.node;
                    let Ok(definition) = self.schema.type_field(parent, &field.name.node) else { continue };
                    if let Some(column) = long_columns::of_field(parent, &field.name.node) {
                        self.long.insert(column);
                    }
                    self.path.push(PathSegment::Field(field.response_key().node.to_string()));
                    if !field.arguments.is_empty() {
                        let arguments = field.arguments.iter();
                        let arguments = arguments.map(|(name, value)| (name.node.clone(), self.value(value)));
                        self.found.push(Given {
                            parent: parent.to_owned(),
                            name: field.name.node.to_string(),
                            is_nullable: !definition.ty.is_non_null(),
                            nulls_root: self.nulls_root && definition.ty.is_non_null(),
                            path: self.path.clone(),
                            pos: field.name.pos,
                            arguments: arguments.collect(),
                        });
                    }
                    let around = self.nulls_root;
                    let is_certain = definition.ty.is_non_null() && !definition.ty.is_list();
                    self.nulls_root &= is_certain || self.path.len() == 1;
                    self.selections(definition.ty.inner_named_type(), &field.selection_set.node);
                    self.nulls_root = around;
                    self.path.pop();
                }
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref().map(|condition| &condition.node.on.node);
                    if let Some(parent) = self.narrowed(parent, condition.map_or(parent, |name| name.as_str())) {
                        self.selections(parent, &fragment.node.selection_set.node);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) {
                        let fragment = &fragment.node;
                        if let Some(parent) = self.narrowed(parent, &fragment.type_condition.node.on.node) {
                            self.selections(parent, &fragment.selection_set.node);
                        }
                    }
                }
            }
        }
    }

    /// The type of the fields of a fragment; `None` if the fragment never applies to an object of the type around it.
    fn narrowed<'t>(&self, parent: &'t str, condition: &'t str) -> Option<&'t str> {
        if self.schema.get_object(parent).is_none() {
            return Some(condition);
        }
        (parent == condition || self.schema.is_subtype(condition, parent)).then_some(parent)
    }

    fn value(&self, value: &Positioned<async_graphql_value::Value>) -> Value {
        let value = value.node.clone();
        // A variable without a value was removed from the document before.
        let value = value.into_const_with(|name| Ok::<_, ()>(self.variables.get(&name).cloned().unwrap_or_default()));
        value.unwrap_or_default()
    }
}
