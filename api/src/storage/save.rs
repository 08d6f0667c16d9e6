//! Autosave coalescing: lists show a run of a file's versions, saved shortly after one another by the same user, as its
//! last row. The base version of that row is the version before the run. All versions are kept.

use std::fmt::Write as _;

use super::db::Tx;
use super::sql::Sql;

/// The condition that a version `v` with its event `e` is coalesced into the next version: both are edits outside
/// sessions, without a description and by the same user, at most `seconds` apart.
fn saved_over(tx: &Tx, v: &str, e: &str, seconds: u32, until: Option<i32>) -> String {
    let limit = if tx.is_sqlite() {
        // SQLite stores times as text. Only the whole seconds are added, since SQLite would round fractions to
        // milliseconds.
        format!(
            "strftime('%Y-%m-%dT%H:%M:%S', substr({e}.created_at, 1, 19), '+{seconds} seconds') || substr({e}.created_at, 20)"
        )
    } else {
        format!("{e}.created_at + interval '{seconds} seconds'")
    };
    let mut condition = format!(
        "{v}.change_type = 'update' AND {e}.kind = 'FILES_CHANGED' AND {e}.session_id IS NULL AND {e}.message_id IS NULL \
         AND {e}.description IS NULL AND EXISTS (SELECT 1 FROM file_snapshots n JOIN project_events o \
         ON o.project_id = n.project_id AND o.revision = n.revision WHERE n.project_id = {v}.project_id \
         AND n.revision = {v}.superseded_revision AND n.file_id = {v}.file_id \
         AND n.change_type = 'update' AND o.kind = 'FILES_CHANGED' AND o.session_id IS NULL AND o.message_id IS NULL \
         AND o.description IS NULL AND o.actor_id = {e}.actor_id AND o.created_at <= {limit}"
    );
    if let Some(until) = until {
        // Writing to a string does not fail.
        let _ = write!(condition, " AND n.revision <= {until}");
    }
    condition.push(')');
    condition
}

/// Adds ` AND …` that excludes coalesced versions `v` with events `e`, as known at a revision. With 0 seconds nothing
/// is coalesced.
pub(super) fn keep_last(sql: &mut Sql, tx: &Tx, seconds: u32, until: Option<i32>) {
    if seconds > 0 {
        sql.push(" AND NOT (").push(&saved_over(tx, "v", "e", seconds, until)).push(")");
    }
}

/// Adds the column `follows` to the rows of a list with [`keep_last`]: the base version of a row, 0 if there is none.
pub(super) fn with_follows(sql: &mut Sql, tx: &Tx, seconds: u32) {
    if seconds > 0 {
        // Versions between the two are older than the row, so `until` makes no difference. Stops at the first version
        // that is not coalesced.
        let saved_over = saved_over(tx, "u", "f", seconds, None);
        sql.around(
            &format!(
                "SELECT v.*, coalesce((SELECT u.version FROM file_snapshots u JOIN project_events f \
                 ON f.project_id = u.project_id AND f.revision = u.revision WHERE u.file_id = v.file_id \
                 AND u.version < v.version AND NOT ({saved_over}) ORDER BY u.version DESC LIMIT 1), 0) AS follows FROM ("
            ),
            ") v",
        );
    }
}
