//! The schema; built without a database.

use async_graphql::Schema;

use super::guard;
use super::mutation::Mutation;
use super::query::Query;
use super::subscription::Subscription;
use crate::model::limits::Limits;

/// The schema of the API.
pub type AppSchema = Schema<Query, Mutation, Subscription>;

/// Builds the schema. It weighs operations by what their lists may bring; what their documents may cost is checked before it
/// sees them (`guard`).
pub fn build(limits: &Limits) -> AppSchema {
    let schema = Schema::build(Query::default(), Mutation::default(), Subscription)
        .limit_complexity(limits.max_query_complexity);
    // Its own check of recursion counts what the guard has counted, fragments besides; it comes second.
    let schema = schema.limit_recursive_depth(limits.max_query_depth.saturating_mul(guard::NESTING));
    // What is similar to a misspelt name is the schema too.
    if limits.introspection { schema } else { schema.disable_introspection().disable_suggestions() }.finish()
}
