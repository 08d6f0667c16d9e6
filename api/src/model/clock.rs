//! The only place that reads the time, generates ids, and writes times for clients.

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use uuid::Uuid;

/// The current time in UTC, truncated to microseconds, which both databases store (SQLite compares times as text).
#[allow(clippy::disallowed_methods, reason = "the only allowed place")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// A time as all endpoints write it (RFC 3339), such as `2026-01-31T12:00:00.123456Z`.
pub fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A new id: a UUID of version 7 (RFC 9562), so that later ids sort after earlier ones.
#[allow(clippy::disallowed_methods, reason = "the only allowed place")]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}
