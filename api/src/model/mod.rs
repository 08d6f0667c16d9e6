//! Pure values: what the service talks about, with its rules, and no I/O.

pub mod actor;
pub mod clock;
pub mod error;
pub mod ids;
pub mod limits;
