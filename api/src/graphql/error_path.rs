//! Paths of errors inside lists. The library truncates them: a list replaces the path of an element's field by its own.
//! So rows store the full path in the error ([`keep`]); for other lists the field is found by its position in the
//! document. That search finds no index, so a list inside an element of such a list has rows.

use async_graphql::{
    PathSegment, Pos, ServerError, Value,
    parser::types::{ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet},
};

/// Extension with the full path until the response is complete. It is never sent to a client.
const PATH: &str = "\0path";

/// Stores the path of an error before it passes through a list.
pub fn keep(mut error: ServerError) -> ServerError {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get(PATH).is_none() {
        let path = error.path.iter().map(|segment| match segment {
            PathSegment::Field(name) => Value::String(name.clone()),
            PathSegment::Index(index) => (*index).into(),
        });
        extensions.set(PATH, Value::List(path.collect()));
    }
    error
}

/// Restores the full path of an error.
pub fn restore(error: &mut ServerError, document: &ExecutableDocument, operation: Option<&str>) {
    if let Some(extensions) = &mut error.extensions
        && let Some(Value::List(path)) = extensions.get(PATH).cloned()
    {
        extensions.unset(PATH);
        if *extensions == Default::default() {
            error.extensions = None;
        }
        error.path = path.into_iter().filter_map(segment).collect();
    }
    if let (Some(PathSegment::Index(_)), Some(pos)) = (error.path.last(), error.locations.first())
        && let Some(operation) = operation_of(document, operation)
    {
        let rest = Finder { document, pos: *pos }.rest(&operation.selection_set.node, &error.path);
        error.path.extend(rest.into_iter().flatten().map(|name| PathSegment::Field(name.to_owned())));
    }
}

fn segment(value: Value) -> Option<PathSegment> {
    match value {
        Value::String(name) => Some(PathSegment::Field(name)),
        Value::Number(index) => usize::try_from(index.as_u64()?).ok().map(PathSegment::Index),
        _ => None,
    }
}

fn operation_of<'d>(document: &'d ExecutableDocument, name: Option<&str>) -> Option<&'d OperationDefinition> {
    let mut operations = document.operations.iter();
    let chosen = match name {
        Some(_) => operations.find(|(one, _)| one.map(|one| one.as_str()) == name),
        None => operations.next(),
    };
    chosen.map(|(_, operation)| &operation.node)
}

struct Finder<'d> {
    document: &'d ExecutableDocument,
    /// Position of the failed field or of one of its argument values.
    pos: Pos,
}

impl<'d> Finder<'d> {
    /// The names from the end of `path` to the field.
    fn rest(&self, set: &'d SelectionSet, path: &[PathSegment]) -> Option<Vec<&'d str>> {
        let mut names = path.iter().filter_map(|segment| match segment {
            PathSegment::Field(name) => Some(name.as_str()),
            PathSegment::Index(_) => None,
        });
        match names.next() {
            Some(name) => {
                let below: Vec<PathSegment> = names.map(|name| PathSegment::Field(name.to_owned())).collect();
                let fields = self.fields(set).into_iter().filter(|field| field.response_key().node == name);
                fields.into_iter().find_map(|field| self.rest(&field.selection_set.node, &below))
            }
            None => self.fields(set).into_iter().find_map(|field| self.path_to(field)),
        }
    }

    fn path_to(&self, field: &'d Field) -> Option<Vec<&'d str>> {
        let name = field.response_key().node.as_str();
        let is_it = field.alias.as_ref().unwrap_or(&field.name).pos == self.pos
            || field.name.pos == self.pos
            || field.arguments.iter().any(|(_, value)| value.pos == self.pos);
        if is_it {
            return Some(vec![name]);
        }
        let below = self.fields(&field.selection_set.node).into_iter().find_map(|field| self.path_to(field))?;
        Some([vec![name], below].concat())
    }

    /// The fields of a selection set with fragments expanded.
    fn fields(&self, set: &'d SelectionSet) -> Vec<&'d Field> {
        let mut fields = Vec::new();
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => fields.push(&field.node),
                Selection::InlineFragment(fragment) => {
                    fields.extend(self.fields(&fragment.node.selection_set.node));
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) {
                        fields.extend(self.fields(&fragment.node.selection_set.node));
                    }
                }
            }
        }
        fields
    }
}
