//! The only place that reads the time and makes ids.

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

/// Now, in UTC, cut to the microseconds that both databases keep (SQLite compares times as text).
#[allow(clippy::disallowed_methods, reason = "this is the one place that may")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// A new id: a UUID of version 7 (RFC 9562), so that ids made later sort later.
#[allow(clippy::disallowed_methods, reason = "this is the one place that may")]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}
