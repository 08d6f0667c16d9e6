//! Use cases. A write is one transaction, one revision and one event. Errors follow the convention of `model::error`.
//!
//! Reads have no use cases: the modules here re-export the functions of `storage`.

pub mod access_token;
pub mod agent_configuration;
pub mod blame;
pub mod chat;
mod checks;
pub mod collaborator;
pub mod compare;
mod edit;
pub mod events;
pub mod file;
mod file_edit;
pub mod heavy;
pub mod import_export;
pub mod insights;
mod met;
pub mod node;
pub mod past;
mod plan;
pub mod policy;
pub mod profile;
pub mod project;
mod services;
pub mod snapshot;
pub mod streaming_message;
pub mod sync;
mod turns;
pub mod undo;
pub mod webhook;
pub mod webhook_delivery;
pub mod webhook_message;
mod webhook_queue;
mod write;

pub use self::checks::check_text;
use self::checks::{check_json, check_name, check_optional_text, check_room, check_title};
pub use self::services::Services;
pub use self::write::{Horizon, Writer};
pub use crate::storage::access::{self, Member};
pub use crate::storage::db::{Needs, Size, Tx};
