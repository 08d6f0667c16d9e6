//! What the server says of itself.

use clap::{Args, ValueEnum};

use super::listen::Address;

/// Metrics and slow operations.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Observability")]
pub struct Observability {
    /// Address of the operators' own, in the forms of --listen: /metrics, /healthz and /readyz, without TLS or sign-in, so not for the world. Not
    /// served where it is not given
    #[arg(long, env = "METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<Address>,
    /// Time from which on a query or mutation is logged as slow, in milliseconds; 0 logs none
    #[arg(long, env = "SLOW_OPERATION_MS", default_value_t = 1_000, value_name = "MS")]
    pub slow_operation_ms: u64,
    /// The log.
    #[command(flatten)]
    pub log: Log,
}

/// How the log is written.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Observability")]
pub struct Log {
    /// How the log is written; RUST_LOG says how much of it
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    #[default]
    Auto,
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}
