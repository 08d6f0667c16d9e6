//! The database's rows. The tables' entities are generated from a migrated PostgreSQL database (CONTRIBUTING.md says how) and
//! never edited; the views', which the generator skips, are written by hand.

#[rustfmt::skip]
pub mod generated;
pub mod views;

pub use generated::*;
