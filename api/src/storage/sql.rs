//! SQL text with its values, in the common syntax of both databases.

use sea_orm::{DbBackend, Statement, Value};

use crate::model::error::Result;
use crate::model::json::Json;
use crate::model::page::{Cursor, Key, KeyKind, Page};
use crate::model::search::{Search, forms};

/// A statement under construction. Both databases use `$1`, `$2` … as placeholders.
pub(super) struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), values: Vec::new() }
    }

    /// A complete statement with the values of its placeholders, in order.
    pub(super) fn with(text: &str, values: impl IntoIterator<Item = Value>) -> Self {
        Self { text: text.to_owned(), values: values.into_iter().collect() }
    }

    /// A call of a database function.
    pub(super) fn call(function: &str, values: impl IntoIterator<Item = Value>) -> Self {
        let mut sql = Self::new("SELECT ");
        let mut open = "(";
        sql.push(function);
        for value in values {
            sql.push(open).bind(value);
            open = ", ";
        }
        sql.push(")");
        sql
    }

    /// Adds text, which must not contain user input; use [`Sql::bind`] for that.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// The text so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The values of the placeholders so far.
    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    /// Adds text before and after the current text.
    pub(super) fn around(&mut self, before: &str, after: &str) {
        self.text = format!("{before}{}{after}", self.text);
    }

    /// Adds a placeholder with its value.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        self.text.push('$');
        self.text.push_str(&self.values.len().to_string());
        self
    }

    /// Adds `(v1, v2, …)`.
    pub(super) fn list<V: Into<Value>>(&mut self, values: impl IntoIterator<Item = V>) -> &mut Self {
        let mut open = "(";
        for value in values {
            self.push(open).bind(value);
            open = ", ";
        }
        // An empty list matches no row; `IN ()` is an error on PostgreSQL.
        self.push(if open == "(" { "(NULL)" } else { ")" })
    }

    /// Adds `columns IN ((a1, b1), …)`; an empty list matches no row.
    pub(super) fn pairs<A: Into<Value>, B: Into<Value>>(
        &mut self,
        columns: &str,
        pairs: impl IntoIterator<Item = (A, B)>,
    ) -> &mut Self {
        let mut open = "(";
        for (a, b) in pairs {
            if open == "(" {
                self.push(columns).push(" IN (VALUES ");
            }
            self.push(open).bind(a).push(", ").bind(b).push(")");
            open = ", (";
        }
        self.push(if open == "(" { "FALSE" } else { ")" })
    }

    /// Adds `VALUES (…), (…)`.
    pub(super) fn rows<const N: usize>(&mut self, rows: impl IntoIterator<Item = [Value; N]>) -> &mut Self {
        let mut before = "VALUES (";
        for row in rows {
            for value in row {
                self.push(before).bind(value);
                before = ", ";
            }
            before = "), (";
        }
        self.push(")")
    }

    pub(super) fn build(self, backend: DbBackend) -> Statement {
        let Self { text, values } = if backend == DbBackend::Sqlite { self.positional() } else { self };
        Statement::from_sql_and_values(backend, text, values)
    }

    /// The statement with unnamed placeholders, each with its own value. SQLite treats `$1` as a name and compares each
    /// name with all previous ones: 28,000 of them take over a second.
    fn positional(self) -> Self {
        let mut parts = self.text.split('$');
        let mut text = parts.next().unwrap_or_default().to_owned();
        let mut used = Vec::with_capacity(self.values.len());
        for part in parts {
            let rest = part.trim_start_matches(|character: char| character.is_ascii_digit());
            let digits = part.strip_suffix(rest).unwrap_or_default();
            let at = digits.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            used.extend(at);
            text.push(if at.is_some() { '?' } else { '$' });
            text.push_str(rest);
        }
        let is_in_order = used.len() == self.values.len() && used.iter().enumerate().all(|(at, used)| at == *used);
        let values = match is_in_order {
            true => self.values,
            false => used.iter().filter_map(|at| self.values.get(*at)).cloned().collect(),
        };
        Self { text, values }
    }
}

impl Sql {
    /// Adds the condition that `column` contains the text. The databases' own functions convert only the case of ASCII, or
    /// what their locale has: the statement lists all forms of a letter.
    pub(super) fn contains(&mut self, is_sqlite: bool, column: &str, search: &Search) -> &mut Self {
        if !is_sqlite {
            return self.push(column).push(" ~ ").bind(pattern(search.as_str()));
        }
        // GLOB would need the time of the pattern for each character of the column.
        let letters = search.letters();
        let replaced: Vec<(char, char)> = letters
            .iter()
            .flat_map(|letter| forms(*letter).iter().map(|form| (*form, *letter)))
            .filter(|(form, _)| !form.is_ascii())
            .collect();
        self.push("instr(").push(&"replace(".repeat(replaced.len())).push("lower(").push(column).push(")");
        for (form, letter) in replaced {
            self.push(", ").bind(form.to_string()).push(", ").bind(letter.to_string()).push(")");
        }
        self.push(", ").bind(search.as_str()).push(") > 0")
    }
}

/// The regular expression of a folded text.
fn pattern(folded: &str) -> String {
    let mut pattern = String::with_capacity(folded.len());
    for letter in folded.chars() {
        let forms = forms(letter);
        if !forms.is_empty() {
            pattern.push('[');
            pattern.push(letter);
            pattern.extend(forms);
            pattern.push(']');
        } else {
            if letter.is_ascii() && !letter.is_ascii_alphanumeric() {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
    }
    pattern
}

/// The statements that insert rows into a table in batches; `end` is appended to each.
pub(super) fn insert<const N: usize>(
    table: &str,
    columns: [&str; N],
    rows: impl IntoIterator<Item = [Value; N]>,
    end: &str,
) -> Vec<Sql> {
    let mut rows = rows.into_iter().peekable();
    let mut statements = Vec::new();
    while rows.peek().is_some() {
        let mut sql = Sql::new("INSERT INTO ");
        sql.push(table).push(" (").push(&columns.join(", ")).push(") ").rows(rows.by_ref().take(ROWS_PER_STATEMENT));
        sql.push(end);
        statements.push(sql);
    }
    statements
}

/// SQLite limits a statement to 32,766 values, and no table has more than 16 columns.
pub(super) const ROWS_PER_STATEMENT: usize = 2_000;

/// The sort order of a list: columns or expressions, all in the same direction, the last of them unique.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) columns: &'static [(&'static str, KeyKind)],
    pub(super) descending: bool,
}

impl Order {
    /// Adds ` AND …` for the page's cursors, the order, and a limit of one row more than the page, so that
    /// [`crate::model::page::Slice::cut`] can detect whether the list continues.
    pub(super) fn page(self, sql: &mut Sql, page: &Page) -> Result<()> {
        self.between(sql, page)?;
        self.sorted(sql, page);
        Ok(())
    }

    /// Adds ` AND …` for the page's cursors.
    pub(super) fn between(self, sql: &mut Sql, page: &Page) -> Result<()> {
        page.check_keys(self.columns.iter().map(|(_, kind)| *kind))?;
        for (cursor, behind) in [(&page.after, true), (&page.before, false)] {
            let Some(Cursor(keys)) = cursor else { continue };
            let columns: Vec<&str> = self.columns.iter().map(|(column, _)| *column).collect();
            sql.push(" AND (").push(&columns.join(", ")).push(if behind == self.descending { ") < " } else { ") > " });
            sql.list(keys.iter().map(value));
        }
        Ok(())
    }

    /// Adds the order and the limit.
    pub(super) fn sorted(self, sql: &mut Sql, page: &Page) {
        self.order(sql, page);
        sql.push(" LIMIT ").bind(i64::try_from(page.limit).unwrap_or(i64::MAX - 1) + 1);
    }

    /// Whether the rows of a page are read in descending order.
    fn is_backwards(self, page: &Page) -> bool {
        self.descending != page.from_end
    }

    /// The rows of a page in the order in which [`Order::order`] reads them.
    pub(super) fn restore<T>(self, mut rows: Vec<(Cursor, T)>, page: &Page) -> Vec<(Cursor, T)> {
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        if self.is_backwards(page) {
            rows.reverse();
        }
        rows
    }

    /// Adds the order, reversed if the page is counted from the end.
    pub(super) fn order(self, sql: &mut Sql, page: &Page) {
        let descending = self.is_backwards(page);
        sql.push(" ORDER BY ");
        for (index, (column, _)) in self.columns.iter().enumerate() {
            sql.push(if index == 0 { "" } else { ", " }).push(column).push(if descending { " DESC" } else { "" });
        }
    }
}

/// Selects the same page of each parent's list in one statement: `select` adds the rows of one parent, ending inside a
/// `WHERE`. (A window function would read all rows of a parent.)
pub(super) fn pages<P: Copy>(
    parents: &[P],
    order: Order,
    page: &Page,
    mut select: impl FnMut(&mut Sql, P),
) -> Result<Sql> {
    let list = |sql: &mut Sql, parent: P| {
        select(sql, parent);
        order.page(sql, page)
    };
    union(parents, list)
}

/// Combines one `SELECT` per parent, each with its own order and limit; returns no rows without parents.
pub(super) fn union<P: Copy>(parents: &[P], mut select: impl FnMut(&mut Sql, P) -> Result<()>) -> Result<Sql> {
    let mut sql = Sql::new(if parents.is_empty() { "SELECT 1 WHERE FALSE" } else { "" });
    for (index, parent) in parents.iter().enumerate() {
        sql.push(if index == 0 { "SELECT * FROM (" } else { " UNION ALL SELECT * FROM (" });
        select(&mut sql, *parent)?;
        sql.push(") AS q").push(&index.to_string());
    }
    Ok(sql)
}

/// JSON is stored as text: the databases' own JSON types would change numbers and the order of keys.
impl From<Json> for Value {
    fn from(json: Json) -> Self {
        String::from(json).into()
    }
}

fn value(key: &Key) -> Value {
    match key {
        Key::Number(number) => (*number).into(),
        Key::Text(text) => text.clone().into(),
        Key::Time(time) | Key::TimeOf(_, time) => (*time).into(),
        Key::Id(id) => (*id).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_have_no_names_on_sqlite() {
        let built = |text: &str, values: &[i32], backend| {
            let sql = Sql::with(text, values.iter().map(|value| Value::from(*value)));
            let statement = sql.build(backend);
            (statement.sql, statement.values.unwrap().0)
        };
        let values = |values: &[i32]| values.iter().map(|value| Value::from(*value)).collect::<Vec<_>>();
        let text = "SELECT $1, $2, json_extract(a, '$.b') FROM t WHERE c = $10";
        let ten: Vec<i32> = (1..=10).collect();
        let all = values(&ten);
        assert_eq!(built(text, &ten, DbBackend::Postgres), (text.to_owned(), all));
        let expected = "SELECT ?, ?, json_extract(a, '$.b') FROM t WHERE c = ?".to_owned();
        assert_eq!(built(text, &ten, DbBackend::Sqlite), (expected, values(&[1, 2, 10])));
        assert_eq!(built("$2 $1 $2", &[7, 8], DbBackend::Sqlite), ("? ? ?".to_owned(), values(&[8, 7, 8])));
        assert_eq!(built("$1 $2", &[7, 8], DbBackend::Sqlite), ("? ?".to_owned(), values(&[7, 8])));
    }
}
