//! Subscriptions: delivers a project's changes to its subscribers.
//!
//! The log is the truth. A notification only means that there is more to read, so a lost notification causes a delay
//! and never loses an event. Each project with subscribers has a [`Channel`](channel::Channel). A channel reads each
//! change once for all subscribers. A subscriber has its own [`Source`](source::Source), and shares the execution of
//! results with others (`fan_out`).

pub mod bus;
mod changed_files;
pub mod channel;
mod drafts;
pub mod fan_out;
mod log_tail;
pub mod presence;
mod shared_read;
pub mod source;
mod state;
pub mod webhooks;

pub use self::state::Live;
