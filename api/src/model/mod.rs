//! Pure values: what the service talks about, with its rules, and no I/O.

pub mod actor;
pub mod agent_configuration;
pub mod chat;
pub mod clock;
pub mod collaborator;
pub mod diff;
pub mod error;
pub mod event;
pub mod file;
pub mod growing_message;
pub mod ids;
pub mod language;
pub mod limits;
pub mod locks;
pub mod manifest;
pub mod merge;
pub mod names;
pub mod page;
pub mod patch;
pub mod path;
pub mod presence;
pub mod profile;
pub mod project;
pub mod snapshot;
pub mod text;
