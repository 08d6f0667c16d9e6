//! Metrics and logs.

use clap::{Args, ValueEnum};

use super::listen::Address;
use crate::model::setting::number;

/// Metrics and slow operations.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Observability")]
pub struct Observability {
    /// Address for operators, in the forms of --listen, with /metrics, /healthz and /readyz. It has no TLS and no
    /// sign-in, so do not expose it. Not served by default
    #[arg(long, env = "METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<Address>,
    /// Queries and mutations that take at least this long are logged as slow, in milliseconds; 0 disables this.
    /// From 0 to 86400000
    #[arg(long, env = "SLOW_OPERATION_MS", default_value_t = 1_000, value_name = "MS", value_parser = number(0_u64..=86_400_000))]
    pub slow_operation_ms: u64,
    /// The log.
    #[command(flatten)]
    pub log: Log,
}

/// Settings of the log.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Observability")]
pub struct Log {
    /// Format of the log; RUST_LOG sets its level
    #[arg(long, env = "LOG_FORMAT", value_enum, ignore_case = true, default_value_t)]
    pub log_format: LogFormat,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    #[default]
    Auto,
    /// Readable lines
    Text,
    /// One JSON object per line
    Json,
}
