//! What an operation reads: the revisions that it names, and the long columns that it selects.

use std::any::TypeId;
use std::collections::HashMap;

use async_graphql::{PathSegment, Pos, Request};

use crate::model::long_columns::LongColumns;

/// What an operation reads.
#[derive(Clone, Default)]
pub struct Horizon {
    /// The latest reads below the root fields, by their names in the response.
    of_roots: HashMap<String, Latest>,
    /// Whether an argument may name a state that a replica lacks.
    pub names_a_state: bool,
    /// The long columns that it selects.
    pub long_columns: LongColumns,
}

/// The read as of the greatest revision below a root field.
#[derive(Clone)]
pub struct Latest {
    /// The revision.
    pub revision: i32,
    /// The argument that gives it.
    pub argument: String,
    /// The path and the position of the field that has the argument, if its failure nulls the root field.
    pub field: Option<(Vec<PathSegment>, Pos)>,
}

impl Horizon {
    /// What was found when the request was prepared.
    pub fn of_request(request: &Request) -> Self {
        let found = request.data.get(&TypeId::of::<Self>()).and_then(|any| any.downcast_ref::<Self>());
        found.cloned().unwrap_or_default()
    }

    /// The latest read below a root field.
    pub fn of(&self, root: &str) -> Option<&Latest> {
        self.of_roots.get(root)
    }

    /// Adds a read below a root field.
    pub fn extend(&mut self, root: &str, read: Latest) {
        match self.of_roots.get_mut(root) {
            Some(latest) if latest.revision >= read.revision => {}
            Some(latest) => *latest = read,
            None => drop(self.of_roots.insert(root.to_owned(), read)),
        }
    }
}
