//! The two authorization layers.

/// Which authorization layers are active. Not a setting: tests verify each layer alone, and a benchmark measures the
/// cost of the second one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locks {
    /// The conditions in the SQL statements and, on PostgreSQL, row-level security.
    #[default]
    Both,
    /// Only the conditions in the SQL statements.
    Application,
    /// Only row-level security.
    Database,
}
