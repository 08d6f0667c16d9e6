//! What a check found, and the list to which the checks add it.

use std::{fmt, time::Duration};

/// Timeout for anything on this machine or network.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Fine,
    Warning,
    Broken,
}

/// The result of a check.
pub struct Finding {
    part: &'static str,
    state: State,
    what: String,
    /// Why it matters, and what to do; `None` if all is well.
    explanation: Option<(String, String)>,
}

impl Finding {
    /// Whether the server would not work.
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Fine => "ok",
            State::Warning => "warning",
            State::Broken => "BROKEN",
        };
        writeln!(f, "{state:<8} {}: {}", self.part, self.what)?;
        if let Some((why, advice)) = &self.explanation {
            writeln!(f, "         why it matters: {why}\n         what to do: {advice}")?;
        }
        Ok(())
    }
}

/// The results of all checks.
#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn fine(&mut self, part: &'static str, what: impl Into<String>) {
        self.0.push(Finding { part, state: State::Fine, what: what.into(), explanation: None });
    }

    pub(super) fn warn(&mut self, part: &'static str, what: impl Into<String>, why: &str, advice: &str) {
        self.add(State::Warning, part, what.into(), why, advice);
    }

    pub(super) fn broken(&mut self, part: &'static str, what: impl Into<String>, why: &str, advice: &str) {
        self.add(State::Broken, part, what.into(), why, advice);
    }

    pub(super) fn add(&mut self, state: State, part: &'static str, what: String, why: &str, advice: &str) {
        self.0.push(Finding { part, state, what, explanation: Some((why.to_owned(), advice.to_owned())) });
    }
}
