//! The kind of object that an id belongs to.

pub use crate::storage::node::{Kind, kinds};
