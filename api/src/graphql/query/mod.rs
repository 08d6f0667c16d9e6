//! The root of queries, a file per noun.

use async_graphql::MergedObject;

mod collaborator;
mod node;
mod profile;
mod project;

/// Reading.
#[derive(MergedObject, Default)]

pub struct Query(profile::ProfileQuery, project::ProjectQuery, collaborator::CollaboratorQuery, node::NodeQuery);
