//! The API. To add a field: write its resolver on its noun's type in `types/`, its read in `loader.rs`, and print the
//! schema (`cargo run -- schema > schema.graphql`). Descriptions are the manual that users read.

pub mod arguments;
mod batch;
pub mod context;
pub mod document;
pub mod documents;
mod enums;
pub mod error;
pub mod error_path;
pub mod execution;
pub mod guard;
pub mod horizon;
pub mod json_text;
pub mod listening;
mod loader;
mod long_columns;
mod mutation;
mod needing;
mod page;
mod parent;
mod query;
pub mod reader;
mod row;
pub mod scalar;
pub mod schema;
mod subscription;
mod types;
pub mod variables;
