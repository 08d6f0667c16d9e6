//! Reads a row by its id together with one of its lists in one statement. Operations often start with this.

use sea_orm::QueryResult;
use uuid::Uuid;

use super::access;
use super::cells::Cells;
use super::db::Tx;
use super::sql::{Order, Sql};
use crate::model::error::Result;
use crate::model::ids::ProjectId;
use crate::model::page::{Cursor, Page, Slice};

/// Prefix of the row's columns in the result, since the list can have columns of the same names.
pub(super) const PREFIX: &str = "door_";

/// A list of the row.
pub(super) struct ListQuery<'p, T> {
    pub(super) order: Order,
    pub(super) page: &'p Page,
    /// Adds `SELECT …`, ending inside a `WHERE`. The columns include `id`, which is never null.
    pub(super) select: &'p (dyn Fn(&mut Sql) + Sync),
    /// Reads a row of the list.
    pub(super) read: &'p (dyn Fn(&QueryResult) -> Result<(Cursor, T)> + Sync),
}

/// Reads a row and its list. `door` selects the row (ending inside a `WHERE`, with the membership condition); the list
/// is read only if the row is found.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub(super) async fn open<R, T>(
    tx: &Tx,
    door: impl FnOnce(&mut Sql),
    row: impl Fn(&QueryResult) -> Result<(ProjectId, R)>,
    ListQuery { order, page, select, read }: ListQuery<'_, T>,
) -> Result<Option<(R, Slice<T>)>> {
    // Rows of both, side by side: with a join on a condition, each row of the list would repeat the columns of the row.
    let mut sql = Sql::new("WITH door AS (SELECT ");
    door(&mut sql);
    let list = |sql: &mut Sql| {
        select(sql);
        order.page(sql.push(" AND EXISTS (SELECT 1 FROM door)"), page)
    };
    if tx.is_sqlite() {
        // In a full join SQLite would copy the whole list, with its long columns, before it returns the first row.
        list(sql.push(") SELECT list.*, door.* FROM ("))?;
        sql.push(") AS list LEFT JOIN door ON FALSE UNION ALL SELECT list.*, door.* FROM door LEFT JOIN (");
        select(&mut sql);
        sql.push(" LIMIT 0) AS list ON FALSE");
    } else {
        list(sql.push(") SELECT list.*, door.* FROM door FULL JOIN ("))?;
        sql.push(") AS list ON FALSE");
    }
    let (mut door, mut rows) = (None, Vec::new());
    for found in &tx.rows(sql).await? {
        if Cells::at(found, "id")?.next::<Option<Uuid>>()?.is_some() {
            rows.push(read(found)?);
        } else {
            door = Some(row(found)?);
        }
    }
    let Some((project, row)) = door else { return Ok(None) };
    access::opened(tx, [project]);
    // A join does not preserve the order.
    Ok(Some((row, Slice::cut(order.restore(rows, page), page))))
}
