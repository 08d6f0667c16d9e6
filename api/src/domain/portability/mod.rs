//! In and out: git histories become projects, projects become git histories and archives, and a database is read back
//! whole. These are the operator's commands; no request comes here.

mod commit;
pub mod export;
mod git;
pub mod import;
mod output;
mod present;
pub mod verify;
