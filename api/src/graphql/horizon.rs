//! What an operation reads: the revisions that it names, and the long columns that it selects.

use std::any::TypeId;
use std::collections::HashMap;

use async_graphql::Request;

use crate::model::long_columns::LongColumns;

/// What an operation reads.
#[derive(Clone, Default)]
pub struct Horizon {
    /// The greatest revision that each root field reads as of, by its name in the response.
    of_roots: HashMap<String, (i32, String)>,
    /// Whether an argument may name a state that a replica lacks.
    pub names_a_state: bool,
    /// The long columns that it selects.
    pub long_columns: LongColumns,
}

impl Horizon {
    /// What was found when the request was prepared.
    pub fn of_request(request: &Request) -> Self {
        let found = request.data.get(&TypeId::of::<Self>()).and_then(|any| any.downcast_ref::<Self>());
        found.cloned().unwrap_or_default()
    }

    /// The greatest revision and the name of its argument.
    pub fn of(&self, root: &str) -> Option<(i32, String)> {
        self.of_roots.get(root).cloned()
    }

    /// Adds a revision that an argument below a root field gives.
    pub fn extend(&mut self, root: &str, revision: i32, argument: String) {
        let greatest = self.of_roots.entry(root.to_owned()).or_insert_with(|| (revision, argument.clone()));
        if greatest.0 < revision {
            *greatest = (revision, argument);
        }
    }
}
