//! Saves that lists show as one: versions of a file that its writer saved shortly after one another. All of them stay versions;
//! of such a run a list has the last row alone, which follows the version before the run.

use std::fmt::Write as _;

use super::db::Tx;
use super::sql::Sql;

/// The condition that a version, `v` with its event `e`, was saved over shortly afterwards: an edit outside of any conversation
/// and without a description, by somebody whose next version of the file is another such, so many seconds later at most.
fn saved_over(tx: &Tx, v: &str, e: &str, seconds: u32, until: Option<i32>) -> String {
    let limit = if tx.is_sqlite() {
        // Times are text there. Whole seconds are added to whole seconds: SQLite would round the rest to milliseconds.
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

/// Adds ` AND …` so that of `v`, versions with their events `e`, those are left out that were saved over shortly afterwards, as
/// far as was known at a revision. With 0 seconds every save stays.
pub(super) fn keep_last(sql: &mut Sql, tx: &Tx, seconds: u32, until: Option<i32>) {
    if seconds > 0 {
        sql.push(" AND NOT (").push(&saved_over(tx, "v", "e", seconds, until)).push(")");
    }
}

/// Adds to the rows of a list that went through [`keep_last`] the column `follows`: the version of the file that the list has
/// next, 0 where there is none.
pub(super) fn with_follows(sql: &mut Sql, tx: &Tx, seconds: u32) {
    if seconds > 0 {
        // What is between the two is older than the row, so `until` makes no difference. The walk ends at the first that stays.
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
