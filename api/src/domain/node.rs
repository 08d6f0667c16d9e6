//! What an id names.

pub use crate::storage::node::{Kind, kinds};
