//! The query root, one file per noun.

use async_graphql::MergedObject;

mod collaborator;
mod node;
mod profile;
mod project;

/// All queries; they only read.
#[derive(MergedObject, Default)]

pub struct Query(profile::ProfileQuery, project::ProjectQuery, collaborator::CollaboratorQuery, node::NodeQuery);
