//! How servers of one database notify each other.

use clap::{ArgAction, Args};

use super::secret::Secret;

/// Notifications between servers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Several servers")]
pub struct Live {
    /// NATS by which the servers of one database notify each other, instead of PostgreSQL's NOTIFY: nats://HOST:PORT or tls://HOST:PORT, USER:PASSWORD@ or TOKEN@ before the host if it asks for one, several servers of a cluster with commas between them. Only ids of projects and their revisions go there
    #[arg(long, env = "NATS_URL", hide_env_values = true, value_name = "URL")]
    pub nats_url: Option<Secret>,
    /// Whether the servers of one PostgreSQL notify each other by LISTEN and NOTIFY, for which this one holds a connection of its own. A pooler in transaction mode does not let them through: then only the sweep finds what other servers write
    #[arg(long, env = "NOTIFY", default_value_t = true, action = ArgAction::Set, value_name = "true|false")]
    pub notify: bool,
    /// How often the projects that are listened to are compared with the database, in seconds: how late a listener receives what another process wrote, if no notification came
    #[arg(long, env = "SWEEP_SECONDS", default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub sweep_seconds: u64,
}
