//! The columns of a row in a `SELECT`. Long ones are replaced by a blank if they are not needed.

use sea_orm::{EntityTrait, IdenStatic, Iterable};

use super::sql::Sql;
use crate::model::long_columns::{LongColumn, LongColumns};

/// The blank of a text.
pub(super) const TEXT: &str = "''";

/// The blank of JSON.
pub(super) const JSON: &str = "'null'";

/// A long column of a table, and its blank.
pub(super) type Long<C> = (C, LongColumn, &'static str);

/// Adds the columns of the rows `alias`. `prefix` is added to their names in the result.
pub(super) fn columns<E: EntityTrait>(
    sql: &mut Sql,
    (alias, prefix): (&str, &str),
    long: &[Long<E::Column>],
    needed: LongColumns,
) {
    for (index, column) in E::Column::iter().enumerate() {
        let name = column.as_str();
        let is_blank = |(long, is, _): &&Long<E::Column>| long.as_str() == name && !needed.has(*is);
        sql.push(if index == 0 { "" } else { ", " });
        match long.iter().find(is_blank) {
            None => sql.push(alias).push(".").push(name),
            Some((_, _, blank)) => sql.push(blank),
        };
        sql.push(" AS ").push(prefix).push(name);
    }
}
