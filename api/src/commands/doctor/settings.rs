//! Settings that contradict each other.

use super::finding::Findings;
use crate::config::Settings;

pub(super) fn check(settings: &Settings, findings: &mut Findings) {
    let before = findings.0.len();
    let limits = &settings.limits;
    if limits.max_file_bytes > limits.max_body_bytes {
        findings.warn(
            "settings",
            format!("MAX_FILE_BYTES ({}) exceeds MAX_BODY_BYTES ({})", limits.max_file_bytes, limits.max_body_bytes),
            "a file of that size does not fit into a request, so the lower limit applies",
            "raise MAX_BODY_BYTES above MAX_FILE_BYTES",
        );
    }
    if limits.max_text_bytes > limits.max_body_bytes {
        findings.warn(
            "settings",
            format!("MAX_TEXT_BYTES ({}) exceeds MAX_BODY_BYTES ({})", limits.max_text_bytes, limits.max_body_bytes),
            "a text of that size does not fit into a request, so the lower limit applies",
            "raise MAX_BODY_BYTES above MAX_TEXT_BYTES",
        );
    }
    let database = &settings.database;
    if database.database_idle_seconds > database.database_lifetime_seconds {
        findings.warn(
            "settings",
            "DATABASE_IDLE_SECONDS exceeds DATABASE_LIFETIME_SECONDS",
            "a connection is closed at the end of its lifetime in any case, so the idle limit has no effect",
            "lower DATABASE_IDLE_SECONDS or raise DATABASE_LIFETIME_SECONDS",
        );
    }
    if findings.0.len() == before {
        findings.fine("settings", "consistent");
    }
}
