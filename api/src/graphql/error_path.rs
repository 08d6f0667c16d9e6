//! Paths of errors inside lists. The library cuts them: a list puts its own path in place of the path of an element's field. So rows
//! keep the whole path beside it ([`keep`]), and for lists of other things the field is found by its place in the document. That finds
//! no index, so lists that can be in an element of such a list have rows.

use async_graphql::{
    PathSegment, Pos, ServerError, Value,
    parser::types::{ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet},
};

/// The extension that holds a whole path until the answer is ready. It never leaves the server.
const PATH: &str = "\0path";

/// Keeps the path of an error that is about to pass through a list.
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

/// Gives an error its whole path.
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
    /// Where the field is that has failed, or a value of its arguments.
    pos: Pos,
}

impl<'d> Finder<'d> {
    /// The names below a path that lead to the field.
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
            None => self.fields(set).into_iter().find_map(|field| self.way_to(field)),
        }
    }

    fn way_to(&self, field: &'d Field) -> Option<Vec<&'d str>> {
        let name = field.response_key().node.as_str();
        let is_it = field.alias.as_ref().unwrap_or(&field.name).pos == self.pos
            || field.name.pos == self.pos
            || field.arguments.iter().any(|(_, value)| value.pos == self.pos);
        if is_it {
            return Some(vec![name]);
        }
        let below = self.fields(&field.selection_set.node).into_iter().find_map(|field| self.way_to(field))?;
        Some([vec![name], below].concat())
    }

    /// The fields of a selection, fragments expanded.
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
