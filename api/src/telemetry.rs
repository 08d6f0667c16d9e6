//! The log: to standard error, for people where that is a terminal and as one JSON object a line elsewhere. `RUST_LOG`
//! says how much, in the words of tracing-subscriber's `EnvFilter`.

use std::io::{IsTerminal, stderr};

use anyhow::{Context, anyhow};
use tracing_subscriber::EnvFilter;

/// What is logged where `RUST_LOG` is not set.
const DEFAULT_FILTER: &str = "info,sqlx=warn";

/// Starts logging; to be called once, before anything else.
///
/// # Errors
/// `RUST_LOG` is not a filter, or something else logs already.
pub fn init() -> anyhow::Result<()> {
    let filter = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = EnvFilter::try_new(filter.as_deref().unwrap_or(DEFAULT_FILTER))
        .context("RUST_LOG is not usable; an example is \"info,antiphon=debug\"")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = if stderr().is_terminal() { log.try_init() } else { log.json().flatten_event(true).try_init() };
    started.map_err(|error| anyhow!("the log cannot be started: {error}"))
}
