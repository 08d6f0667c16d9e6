//! Imports of git histories, exports as git repositories and archives, and verification of a whole database. Only the
//! operator's commands use this module.

mod commit;
pub mod export;
mod git;
pub mod import;
mod output;
pub mod place;
mod present;
mod reading;
pub mod verify;
