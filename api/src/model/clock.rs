//! The only place that reads the time and generates ids.

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

/// The current time in UTC, truncated to microseconds, which both databases store (SQLite compares times as text).
#[allow(clippy::disallowed_methods, reason = "the only allowed place")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// A new id: a UUID of version 7 (RFC 9562), so that later ids sort after earlier ones.
#[allow(clippy::disallowed_methods, reason = "the only allowed place")]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}
