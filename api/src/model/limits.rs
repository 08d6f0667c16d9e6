//! Every limit the service enforces on what a request may contain, each a setting. An error that a limit causes names it
//! by its flag.

/// Limits on requests; see `antiphon serve --help`.
#[derive(Clone, Debug, clap::Args)]
pub struct Limits {
    /// Largest file, in bytes
    #[arg(long, env = "MAX_FILE_BYTES", default_value_t = 10 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_file_bytes: usize,
    /// Largest text other than a file (a message, a prompt, a JSON value), in bytes
    #[arg(long, env = "MAX_TEXT_BYTES", default_value_t = 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_text_bytes: usize,
    /// Most files in one sync
    #[arg(long, env = "MAX_SYNC_FILES", default_value_t = 5_000, global = true, value_name = "N")]
    pub max_sync_files: usize,
    /// Largest HTTP request body or WebSocket message, in bytes
    #[arg(long, env = "MAX_BODY_BYTES", default_value_t = 32 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_body_bytes: usize,
    /// Most operations in one batched HTTP request
    #[arg(long, env = "MAX_BATCH", default_value_t = 10, global = true, value_name = "N")]
    pub max_batch: usize,
    /// Deepest nesting of fields in an operation
    #[arg(long, env = "MAX_QUERY_DEPTH", default_value_t = 20, global = true, value_name = "N")]
    pub max_query_depth: usize,
    /// Most fields an operation may select, fragments expanded
    #[arg(long, env = "MAX_QUERY_FIELDS", default_value_t = 2_000, global = true, value_name = "N")]
    pub max_query_fields: usize,
    /// Most subscriptions and other operations under way on one WebSocket
    #[arg(long, env = "MAX_SOCKET_OPERATIONS", default_value_t = 100, global = true, value_name = "N")]
    pub max_socket_operations: usize,
    /// Most WebSockets and event streams that one user may have open at this server
    #[arg(long, env = "MAX_USER_SOCKETS", default_value_t = 2_000, global = true, value_name = "N")]
    pub max_user_sockets: usize,
    /// Most operations a second of one user, ten times as many in a burst; 0 for no limit
    #[arg(long, env = "MAX_USER_RATE", default_value_t = 1_000, global = true, value_name = "N")]
    pub max_user_rate: u32,
    /// Most operations a second from one address (IPv6: one /64) that come without a valid token, ten times as many in a burst;
    /// a token that does not hold counts as ten; 0 for no limit
    #[arg(long, env = "MAX_ADDRESS_RATE", default_value_t = 100, global = true, value_name = "N")]
    pub max_address_rate: u32,
    /// How often a WebSocket is pinged and an event stream has a heart-beat, in seconds: less than what a proxy on the way lets a
    /// connection be idle. A WebSocket's peer that is silent for three times as long is let go
    #[arg(long, env = "SOCKET_PING_SECONDS", default_value_t = 20, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub socket_ping_seconds: u64,
}
