//! Calls of database functions on PostgreSQL that are sent in one string with the beginning or the end of their
//! transaction, so that they need no round trip of their own.

use sea_orm::{DbBackend, Statement, Value};

use super::{RECOVERED_AT, TRANSACTION_ID, literal};
use crate::storage::sql::Sql;

/// The most bytes of values in a string, all of which PostgreSQL parses. A byte takes two digits in it.
const MAX_TEXT: usize = 32 << 10;

/// A call of a function.
pub struct Call {
    /// The function, which is also the name of the prepared statement.
    pub(super) function: &'static str,
    values: Vec<Value>,
    is_first: bool,
}

impl Call {
    /// The first statement of a transaction. Its rows also have the id of the transaction.
    pub(super) fn first(function: &'static str, values: impl IntoIterator<Item = Value>) -> Self {
        Self { function, values: values.into_iter().collect(), is_first: true }
    }

    /// The last statement of a transaction. Its rows are not needed.
    pub(in crate::storage) fn last(function: &'static str, values: impl IntoIterator<Item = Value>) -> Self {
        Self { function, values: values.into_iter().collect(), is_first: false }
    }

    /// The statement that prepares the call, under the name of the function.
    pub(super) fn prepare(&self) -> String {
        format!("PREPARE {} AS {}", self.function, self.sql())
    }

    /// The call with its values, for a string.
    ///
    /// # Errors
    /// `Encode` for a value of an unsupported type.
    pub(super) fn text(&self, is_prepared: bool) -> sqlx::Result<String> {
        let sql = if is_prepared { format!("EXECUTE {}", self.signature()) } else { self.sql() };
        literal::render(&sql, &self.values).map_err(|error| sqlx::Error::Encode(error.message().into()))
    }

    /// The call for the protocol with parameters.
    pub(super) fn statement(self) -> Statement {
        Sql::with(&self.sql(), self.values).build(DbBackend::Postgres)
    }

    /// Whether the values fit into a string unchanged.
    pub(super) fn fits_text(&self) -> bool {
        /// Its bytes in a string. `None` for a text with NUL: a literal cannot have it, and PostgreSQL refuses it as a parameter.
        fn size(value: &Value) -> Option<usize> {
            match value {
                Value::String(Some(text)) => (!text.contains('\0')).then_some(text.len()),
                Value::Bytes(Some(bytes)) => Some(2 * bytes.len()),
                Value::Array(_, Some(values)) => values.iter().map(size).sum(),
                _ => Some(16),
            }
        }
        self.values.iter().map(size).sum::<Option<usize>>().is_some_and(|size| size <= MAX_TEXT)
    }

    /// The call with placeholders.
    fn signature(&self) -> String {
        let placeholders: Vec<_> = (1..=self.values.len()).map(|number| format!("${number}")).collect();
        format!("{}({})", self.function, placeholders.join(", "))
    }

    fn sql(&self) -> String {
        let signature = self.signature();
        if self.is_first {
            format!("SELECT {TRANSACTION_ID}, {RECOVERED_AT} AS recovered_at, f.* FROM {signature} AS f")
        } else {
            format!("SELECT {signature}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last<const N: usize>(values: [Value; N]) -> Call {
        Call::last("add_message", values)
    }

    #[test]
    fn a_call_is_executed_by_name_where_it_is_prepared() {
        let call = last([1.into(), "it's $1".into()]);
        assert_eq!(call.prepare(), "PREPARE add_message AS SELECT add_message($1, $2)");
        assert_eq!(call.text(true).unwrap(), "EXECUTE add_message('1'::integer, E'it''s $1'::text)");
        assert_eq!(call.text(false).unwrap(), "SELECT add_message('1'::integer, E'it''s $1'::text)");
        assert!(last([1.5_f64.into()]).text(true).is_err());
    }

    #[test]
    fn long_values_and_nul_are_sent_as_parameters() {
        let fits = |value: Value| last([value]).fits_text();
        assert!(fits("a".repeat(MAX_TEXT).into()) && !fits("a".repeat(MAX_TEXT + 1).into()));
        // A byte takes two digits.
        assert!(fits(vec![0_u8; MAX_TEXT / 2].into()) && !fits(vec![0_u8; MAX_TEXT / 2 + 1].into()));
        assert!(!fits(vec!["a".repeat(MAX_TEXT), "a".to_owned()].into()));
        assert!(!fits("a\0b".into()) && !fits(vec!["a\0b".to_owned()].into()));
        assert!(fits(None::<String>.into()));
    }
}
