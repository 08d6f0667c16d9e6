//! Notifications between servers of one database.

use clap::{ArgAction, Args};

use super::secret::Secret;
use crate::model::setting::{boolean, number};

/// Notifications between servers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Several servers")]
pub struct Live {
    /// NATS server for notifications between servers of one database, instead of PostgreSQL's NOTIFY: nats://HOST:PORT
    /// or tls://HOST:PORT, with USER:PASSWORD@ or TOKEN@ before the host if required; separate the servers of a cluster
    /// by commas. Messages contain only project ids and revisions
    #[arg(long, env = "NATS_URL", hide_env_values = true, value_name = "URL")]
    pub nats_url: Option<Secret>,
    /// Whether servers of one PostgreSQL database notify each other by LISTEN and NOTIFY. This takes one connection.
    /// Set it to false if a pooler does not pass notifications: then only the sweep finds writes of other servers
    #[arg(long, env = "NOTIFY", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "true|false", value_parser = boolean)]
    pub notify: bool,
    /// Interval at which subscribed projects are compared with the database, in seconds: the longest delay until a
    /// subscriber sees another process's write if no notification arrives. From 1 to 3600
    #[arg(long, env = "SWEEP_SECONDS", default_value_t = 2, value_name = "SECONDS", value_parser = number(1_u64..=3_600))]
    pub sweep_seconds: u64,
}
