//! Output of the commands: results go to standard output, notes to standard error.

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};

use anyhow::Context;
use indicatif::ProgressBar;

/// Prints a note above the progress bar of a command, if it has one.
pub(super) fn note(bar: &ProgressBar, text: &str) {
    if stderr().is_terminal() {
        bar.println(text);
    } else {
        // A note can be lost: the counts at the end include it.
        let _ = writeln!(stderr(), "{text}");
    }
}

/// Writes to standard output. A closed pipe is no error: its reader has enough.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    match stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}
