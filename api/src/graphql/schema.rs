//! The schema; built without a database.

use async_graphql::Schema;

use super::guard::Guard;
use super::mutation::Mutation;
use super::query::Query;
use super::subscription::Subscription;
use crate::model::limits::Limits;

/// The schema of the API.
pub type AppSchema = Schema<Query, Mutation, Subscription>;

/// Builds the schema; operations that cost more than `limits` allow are refused before they are validated.
pub fn build(limits: &Limits) -> AppSchema {
    Schema::build(Query::default(), Mutation::default(), Subscription).extension(Guard::new(limits)).finish()
}
