//! The columns of a row in a `SELECT`. Long ones are replaced by a blank if they are not needed.

use std::collections::BTreeMap;
use std::hash::Hash;

use sea_orm::{EntityTrait, IdenStatic, Iterable};

use super::db::Tx;
use super::sql::Sql;
use crate::model::long_columns::{LongColumn, LongColumns, Needing};

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

/// Maximum number of sets of long columns in a statement.
const MAX_SETS: usize = 8;

/// Reads objects by their keys in one statement, with one `SELECT` for each set of long columns. `select` adds it.
pub(super) fn by_keys<K: Copy + Eq + Hash>(
    tx: &Tx,
    keys: &[impl Copy + Into<Needing<K>>],
    mut select: impl FnMut(&mut Sql, LongColumns, &[K]),
) -> Sql {
    let mut sets: BTreeMap<LongColumns, Vec<K>> = BTreeMap::new();
    for Needing(key, columns) in Needing::merged(keys.iter().map(|key| -> Needing<K> { (*key).into() })) {
        sets.entry(tx.needed().and(columns)).or_default().push(key);
    }
    if sets.len() > MAX_SETS {
        let all = sets.keys().fold(LongColumns::NONE, |all, needed| all.or(*needed));
        sets = BTreeMap::from([(all, sets.into_values().flatten().collect())]);
    }
    let mut sql = Sql::new(if sets.is_empty() { "SELECT 1 WHERE FALSE" } else { "" });
    for (index, (needed, keys)) in sets.iter().enumerate() {
        sql.push(if index == 0 { "" } else { " UNION ALL " });
        select(&mut sql, *needed, keys);
    }
    sql
}
