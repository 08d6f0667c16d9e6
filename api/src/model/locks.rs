//! The two locks on everything that is a project's.

/// What keeps from a caller what is not theirs. No setting changes it: a test shows that each lock holds alone, and a bench
/// what the second costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locks {
    /// The conditions in the service's statements and, on PostgreSQL, row-level security.
    #[default]
    Both,
    /// The statements' conditions alone.
    Application,
    /// Row-level security alone.
    Database,
}
