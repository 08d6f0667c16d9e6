//! `antiphon serve`: serves until a signal stops the process.

use std::io::{IsTerminal, stdout};

use anyhow::Context;

use super::terminal::print;
use crate::{
    app::App,
    config::{Serve, Settings},
};

/// Serves until the process gets a stop signal. A second signal stops it at once.
pub(super) async fn run(settings: Settings, serve: Serve) -> anyhow::Result<()> {
    let app = App::start(settings, serve).await?;
    if let Some(link) = app.sign_in_link() {
        print(&sign_in(link, stdout().is_terminal()))?;
    }
    stop_signal().await?;
    tokio::select! {
        () = app.stop() => Ok(()),
        signal = stop_signal() => signal,
    }
}

/// Frames the sign-in link so that it stands out from the log.
fn sign_in(link: &str, is_terminal: bool) -> String {
    let (bold, plain) = if is_terminal { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
    let rule = "─".repeat(80);
    format!(
        "\n{rule}\n  Sign in here (no JWT_SECRET is set: anyone who opens the link is signed in):\n\n  {bold}{link}{plain}\n{rule}\n\n"
    )
}

/// Waits for an interrupt (Ctrl-C) or, on Unix, SIGTERM.
pub(super) async fn stop_signal() -> anyhow::Result<()> {
    let cannot = "cannot wait for signals";
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context(cannot)?;
        tokio::select! {
            signal = tokio::signal::ctrl_c() => signal.context(cannot),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.context(cannot)
}
