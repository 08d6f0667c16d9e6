//! Webhooks: delivers the log of a project to URLs.
//!
//! A webhook is a subscriber with a stored position (`revision`). One server at a time delivers it, under a lease in the
//! database. Events are delivered in order: one that fails is repeated, and those after it wait. The position moves with
//! the record of a success, so that a killed server or a lost lease repeats at most one event.
//!
//! A server looks for work after a write in a project with webhooks on it, when a failed delivery is due, and in a sweep,
//! which finds what other servers have left.

mod deliverer;
mod sender;

pub use self::deliverer::Deliverer;
