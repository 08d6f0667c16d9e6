//! Entries of a project's log.

pub use crate::storage::event::{after, at, by_revisions};
