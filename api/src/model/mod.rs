//! Pure values: what the service talks about, with its rules, and no I/O.

pub mod actor;
pub mod clock;
pub mod diff;
pub mod error;
pub mod ids;
pub mod language;
pub mod limits;
pub mod manifest;
pub mod path;
