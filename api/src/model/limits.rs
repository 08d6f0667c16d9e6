//! All limits of the service, each of which is a setting. An error that a request limit causes names its flag.

use std::num::NonZeroUsize;

use clap::ArgAction;

use super::network::Network;
use super::setting::{boolean, number};

/// Each reader is a connection that is opened when the server starts.
const MAX_SQLITE_READERS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Limits on database connections.
#[derive(Clone, Debug, clap::Args)]
pub struct DatabaseLimits {
    /// Maximum number of connections to PostgreSQL, without those for notifications and migrations. From 1 to 10000
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value_t = 16, global = true, value_name = "N", value_parser = number(1_u32..=10_000))]
    pub database_connections: u32,
    /// Number of connections that read a SQLite file, in addition to the one that writes (default: the number of
    /// processors, 2 to 4). From 1 to 64
    #[arg(long, env = "SQLITE_READERS", global = true, value_name = "N", value_parser = number(NonZeroUsize::MIN..=MAX_SQLITE_READERS))]
    pub sqlite_readers: Option<NonZeroUsize>,
    /// Maximum number of connections that one user's operations use at once to read, and as many to write. With few
    /// connections, one is always left for others. From 1 to 10000
    #[arg(long, env = "DATABASE_USER_CONNECTIONS", default_value_t = 4, global = true, value_name = "N", value_parser = number(1_u32..=10_000))]
    pub database_user_connections: u32,
    /// Time that a request waits for others, in seconds: for its user's share of the connections, for a connection, for
    /// earlier writers of its project, or, if it is a request of git, for others of git. Then the error is RATE_LIMITED,
    /// or UNAVAILABLE if the database cannot be reached. From 1 to 3600
    #[arg(long, env = "DATABASE_ACQUIRE_SECONDS", default_value_t = 10, global = true, value_name = "SECONDS", value_parser = number(1_u64..=3_600))]
    pub database_acquire_seconds: u64,
    /// Time after which an idle connection is closed, in seconds. From 1 to 86400
    #[arg(long, env = "DATABASE_IDLE_SECONDS", default_value_t = 600, global = true, value_name = "SECONDS", value_parser = number(1_u64..=86_400))]
    pub database_idle_seconds: u64,
    /// Maximum age of a connection, in seconds; this also closes connections that a failover has left on the old
    /// server. From 1 to 86400
    #[arg(long, env = "DATABASE_LIFETIME_SECONDS", default_value_t = 1_800, global = true, value_name = "SECONDS", value_parser = number(1_u64..=86_400))]
    pub database_lifetime_seconds: u64,
    /// Timeout for a PostgreSQL statement, in seconds, except in migrations; 0 uses the server's own setting.
    /// From 0 to 86400
    #[arg(long, env = "DATABASE_STATEMENT_SECONDS", default_value_t = 30, global = true, value_name = "SECONDS", value_parser = number(0_u64..=86_400))]
    pub database_statement_seconds: u64,
    /// Size of the memory cache for file contents and diffs, in bytes; 0 disables it. From 0 to 100000000000
    #[arg(long, env = "CONTENT_CACHE_BYTES", default_value_t = 32 * 1024 * 1024, global = true, value_name = "BYTES", value_parser = number(0_usize..=100_000_000_000))]
    pub content_cache_bytes: usize,
}

/// Limits on webhooks.
#[derive(Clone, Debug, clap::Args)]
pub struct WebhookLimits {
    /// Networks and addresses that webhooks may lead to although they are not public, such as 10.1.0.0/16, separated by
    /// commas. By default a webhook leads only to public addresses
    #[arg(long, env = "WEBHOOK_ALLOW_NETWORKS", value_delimiter = ',', value_name = "NETWORKS")]
    pub webhook_allow_networks: Vec<Network>,
    /// Maximum number of webhooks of a project. From 0 to 1000
    #[arg(long, env = "MAX_WEBHOOKS", default_value_t = 20, value_name = "N", value_parser = number(0_usize..=1_000))]
    pub max_webhooks: usize,
    /// Timeout for an attempt to deliver a message to a webhook, in seconds. From 1 to 300
    #[arg(long, env = "WEBHOOK_TIMEOUT_SECONDS", default_value_t = 15, value_name = "SECONDS", value_parser = number(1_u64..=300))]
    pub webhook_timeout_seconds: u64,
    /// Time for which a failing delivery is repeated until its webhook is disabled, in seconds. From 1 to 2592000
    #[arg(long, env = "WEBHOOK_RETRY_SECONDS", default_value_t = 86_400, value_name = "SECONDS", value_parser = number(1_u64..=2_592_000))]
    pub webhook_retry_seconds: u64,
    /// Maximum number of webhooks that a server delivers to at once; a quarter of them, at least one, for the projects of a user.
    /// From 1 to 500
    #[arg(long, env = "WEBHOOK_CONCURRENCY", default_value_t = 16, value_name = "N", value_parser = number(1_usize..=500))]
    pub webhook_concurrency: usize,
    /// Number of bytes that are read of the response of a webhook that refuses a message, for the log of deliveries.
    /// From 0 to 65536
    #[arg(long, env = "WEBHOOK_RESPONSE_BYTES", default_value_t = 512, value_name = "BYTES", value_parser = number(0_u64..=65_536))]
    pub webhook_response_bytes: u64,
    /// Interval at which a server looks for webhooks that another server has left, in seconds: the longest delay after
    /// a server was killed, in addition to three timeouts of an attempt. From 1 to 3600
    #[arg(long, env = "WEBHOOK_SWEEP_SECONDS", default_value_t = 30, value_name = "SECONDS", value_parser = number(1_u64..=3_600))]
    pub webhook_sweep_seconds: u64,
}

/// Limits on requests; see `antiphon serve --help`.
#[derive(Clone, Debug, clap::Args)]
pub struct Limits {
    /// Maximum size of a file, in bytes. From 1 to 1000000000
    #[arg(long, env = "MAX_FILE_BYTES", default_value_t = 10 * 1024 * 1024, global = true, value_name = "BYTES", value_parser = number(1_usize..=1_000_000_000))]
    pub max_file_bytes: usize,
    /// Maximum size of a name or a title, in bytes. From 1 to 1000000
    #[arg(long, env = "MAX_NAME_BYTES", default_value_t = 16 * 1024, global = true, value_name = "BYTES", value_parser = number(1_usize..=1_000_000))]
    pub max_name_bytes: usize,
    /// Maximum size of any other text (a message, a prompt, a JSON value), in bytes. From 1 to 1000000000
    #[arg(long, env = "MAX_TEXT_BYTES", default_value_t = 10 * 1024 * 1024, global = true, value_name = "BYTES", value_parser = number(1_usize..=1_000_000_000))]
    pub max_text_bytes: usize,
    /// Maximum size of a chunk of a streaming message, in bytes. From 1 to 1000000000
    #[arg(long, env = "MAX_CHUNK_BYTES", default_value_t = 64 * 1024, global = true, value_name = "BYTES", value_parser = number(1_usize..=1_000_000_000))]
    pub max_chunk_bytes: usize,
    /// Maximum number of streaming messages per session. From 1 to 1000000
    #[arg(long, env = "MAX_STREAMING_MESSAGES", default_value_t = 10, global = true, value_name = "N", value_parser = number(1_usize..=1_000_000))]
    pub max_streaming_messages: usize,
    /// Time without a new chunk after which a streaming message counts as stalled, in seconds. From 1 to 86400
    #[arg(long, env = "STALLED_SECONDS", default_value_t = 30, global = true, value_name = "SECONDS", value_parser = number(1_u64..=86_400))]
    pub stalled_seconds: u64,
    /// Time for which the subscribers of a killed server are still shown as present, in seconds. From 1 to 3600
    #[arg(long, env = "PRESENCE_SECONDS", default_value_t = 10, global = true, value_name = "SECONDS", value_parser = number(1_u64..=3_600))]
    pub presence_seconds: u64,
    /// Maximum number of files in one sync. From 1 to 1000000
    #[arg(long, env = "MAX_SYNC_FILES", default_value_t = 5_000, global = true, value_name = "N", value_parser = number(1_usize..=1_000_000))]
    pub max_sync_files: usize,
    /// Maximum number of rows that a list without pages (checkpoints, differences, blame, agent configurations) returns
    /// at once; clients must read a longer list in parts. From 1 to 1000000
    #[arg(long, env = "MAX_LIST_ROWS", default_value_t = 5_000, global = true, value_name = "N", value_parser = number(1_u32..=1_000_000))]
    pub max_list_rows: u32,
    /// Show consecutive autosaves as one entry in the lists of versions and changes, if they are at most this many
    /// seconds apart; 0: show each. Applies to edits of one file by one person, outside of sessions and without a
    /// description. The log keeps every autosave. From 0 to 86400
    #[arg(long, env = "AUTOSAVE_COALESCE_SECONDS", default_value_t = 0, global = true, value_name = "SECONDS", value_parser = number(0_u32..=86_400))]
    pub autosave_coalesce_seconds: u32,
    /// Maximum number of collaborators and invitations of a project, without its owner. From 0 to 1000000
    #[arg(long, env = "MAX_COLLABORATORS", default_value_t = 100, global = true, value_name = "N", value_parser = number(0_usize..=1_000_000))]
    pub max_collaborators: usize,
    /// Maximum number of access tokens of a project. From 0 to 1000000
    #[arg(long, env = "MAX_ACCESS_TOKENS", default_value_t = 20, global = true, value_name = "N", value_parser = number(0_usize..=1_000_000))]
    pub max_access_tokens: usize,
    /// Maximum number of agent configurations of a project, without deleted ones. From 0 to 1000000
    #[arg(long, env = "MAX_AGENT_CONFIGURATIONS", default_value_t = 100, global = true, value_name = "N", value_parser = number(0_usize..=1_000_000))]
    pub max_agent_configurations: usize,
    /// Maximum size of an HTTP request body or WebSocket message, in bytes. From 1 to 1000000000
    #[arg(long, env = "MAX_BODY_BYTES", default_value_t = 64 * 1024 * 1024, global = true, value_name = "BYTES", value_parser = number(1_usize..=1_000_000_000))]
    pub max_body_bytes: usize,
    /// Maximum size of an HTTP request body without a token, in bytes after decompression. From 0 to 1000000000
    #[arg(long, env = "MAX_ANONYMOUS_BODY_BYTES", default_value_t = 64 * 1024, global = true, value_name = "BYTES", value_parser = number(0_usize..=1_000_000_000))]
    pub max_anonymous_body_bytes: usize,
    /// Timeout for a request body, in seconds. From 1 to 3600
    #[arg(long, env = "MAX_BODY_SECONDS", default_value_t = 300, global = true, value_name = "SECONDS", value_parser = number(1_u64..=3_600))]
    pub max_body_seconds: u64,
    /// Maximum number of values in the JSON of a request. Each number, string and element takes memory, however short
    /// it is. From 1 to 1000000000
    #[arg(long, env = "MAX_JSON_VALUES", default_value_t = 1_000_000, global = true, value_name = "N", value_parser = number(1_usize..=1_000_000_000))]
    pub max_json_values: usize,
    /// Maximum memory for the request bodies and operations of all callers together, in bytes (default: half of the
    /// memory of the machine or of the process's control group). An eighth of it is only for requests that need at most
    /// 1 MiB. From 1048576 to 100000000000000
    #[arg(long, env = "MAX_MEMORY_BYTES", global = true, value_name = "BYTES", value_parser = number(1_048_576_u64..=100_000_000_000_000))]
    pub max_memory_bytes: Option<u64>,
    /// Maximum number of operations in a batched HTTP request. From 1 to 1000
    #[arg(long, env = "MAX_BATCH", default_value_t = 10, global = true, value_name = "N", value_parser = number(1_usize..=1_000))]
    pub max_batch: usize,
    /// Maximum size of a GraphQL document, in bytes; put large values into variables. From 1 to 1000000000
    #[arg(long, env = "MAX_QUERY_BYTES", default_value_t = 256 * 1024, global = true, value_name = "BYTES", value_parser = number(1_usize..=1_000_000_000))]
    pub max_query_bytes: usize,
    /// Maximum number of tokens in a GraphQL document: names, numbers, strings, punctuation. From 1 to 1000000
    #[arg(long, env = "MAX_QUERY_TOKENS", default_value_t = 10_000, global = true, value_name = "N", value_parser = number(1_usize..=1_000_000))]
    pub max_query_tokens: usize,
    /// Maximum nesting of fields in an operation. From 1 to 1000
    #[arg(long, env = "MAX_QUERY_DEPTH", default_value_t = 20, global = true, value_name = "N", value_parser = number(1_usize..=1_000))]
    pub max_query_depth: usize,
    /// Maximum number of fields and fragments in a document, with fragments expanded in each operation. From 1 to 1000000
    #[arg(long, env = "MAX_QUERY_FIELDS", default_value_t = 2_000, global = true, value_name = "N", value_parser = number(1_usize..=1_000_000))]
    pub max_query_fields: usize,
    /// Maximum number of fields of Query, Mutation or Subscription in an operation. From 1 to 1000000
    #[arg(long, env = "MAX_ROOT_FIELDS", default_value_t = 30, global = true, value_name = "N", value_parser = number(1_usize..=1_000_000))]
    pub max_root_fields: usize,
    /// Maximum number of aliases in an operation, with fragments expanded. From 0 to 1000000
    #[arg(long, env = "MAX_QUERY_ALIASES", default_value_t = 100, global = true, value_name = "N", value_parser = number(0_usize..=1_000_000))]
    pub max_query_aliases: usize,
    /// Maximum number of directives in an operation, with fragments expanded. From 0 to 1000000
    #[arg(long, env = "MAX_QUERY_DIRECTIVES", default_value_t = 50, global = true, value_name = "N", value_parser = number(0_usize..=1_000_000))]
    pub max_query_directives: usize,
    /// Maximum number of values in an operation's result. Each field counts once for every row that its lists can
    /// return, and more if it has to compare texts. From 1 to 1000000000
    #[arg(long, env = "MAX_QUERY_COMPLEXITY", default_value_t = 100_000, global = true, value_name = "N", value_parser = number(1_usize..=1_000_000_000))]
    pub max_query_complexity: usize,
    /// Maximum number of bytes that an operation, or one event of a subscription, loads from the database, and that it
    /// returns: contents, diffs, messages and JSON, each counted as often as it is selected. From 1 to 100000000000
    #[arg(long, env = "MAX_OPERATION_BYTES", default_value_t = 64 * 1024 * 1024, global = true, value_name = "BYTES", value_parser = number(1_usize..=100_000_000_000))]
    pub max_operation_bytes: usize,
    /// Timeout for an operation, for one event of a subscription, and for git to compare a commit with its parent in an
    /// import or a push, in seconds. From 1 to 3600
    #[arg(long, env = "MAX_OPERATION_SECONDS", default_value_t = 30, global = true, value_name = "SECONDS", value_parser = number(1_u64..=3_600))]
    pub max_operation_seconds: u64,
    /// Memory for documents that clients refer to by their hash (automatic persisted queries), in bytes; 0 disables
    /// them. From 0 to 1000000000
    #[arg(long, env = "MAX_KEPT_DOCUMENT_BYTES", default_value_t = 16 * 1024 * 1024, global = true, value_name = "BYTES", value_parser = number(0_usize..=1_000_000_000))]
    pub max_kept_document_bytes: usize,
    /// Size of the cache of parsed documents, in bytes; 0 disables it. From 0 to 1000000000
    #[arg(long, env = "MAX_PARSED_DOCUMENT_BYTES", default_value_t = 16 * 1024 * 1024, global = true, value_name = "BYTES", value_parser = number(0_usize..=1_000_000_000))]
    pub max_parsed_document_bytes: usize,
    /// Whether clients can query the schema
    #[arg(long, env = "INTROSPECTION", default_value_t = true, global = true, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "true|false", value_parser = boolean)]
    pub introspection: bool,
    /// Maximum number of subscriptions and other operations running on one WebSocket. From 1 to 1000000
    #[arg(long, env = "MAX_SOCKET_OPERATIONS", default_value_t = 100, global = true, value_name = "N", value_parser = number(1_usize..=1_000_000))]
    pub max_socket_operations: usize,
    /// Maximum number of open WebSockets and event streams per user at this server. From 1 to 1000000
    #[arg(long, env = "MAX_USER_SOCKETS", default_value_t = 2_000, global = true, value_name = "N", value_parser = number(1_usize..=1_000_000))]
    pub max_user_sockets: usize,
    /// Maximum number of MCP sessions per user at this server. From 1 to 1000000
    #[arg(long, env = "MAX_MCP_SESSIONS", default_value_t = 100, global = true, value_name = "N", value_parser = number(1_usize..=1_000_000))]
    pub max_mcp_sessions: usize,
    /// Time after which an MCP session without requests and without an open event stream ends, in seconds.
    /// From 1 to 604800
    #[arg(long, env = "MCP_SESSION_SECONDS", default_value_t = 3_600, global = true, value_name = "SECONDS", value_parser = number(1_u64..=604_800))]
    pub mcp_session_seconds: u64,
    /// Maximum number of WebSockets per address (IPv6: /64) whose user is unknown, because they have not sent
    /// `connection_init` yet or sent it without a token. From 1 to 1000000
    #[arg(long, env = "MAX_ADDRESS_SOCKETS", default_value_t = 500, global = true, value_name = "N", value_parser = number(1_usize..=1_000_000))]
    pub max_address_sockets: usize,
    /// Maximum number of operations per second and user, ten times as many in a burst; 0 for no limit.
    /// From 0 to 1000000
    #[arg(long, env = "MAX_USER_RATE", default_value_t = 1_000, global = true, value_name = "N", value_parser = number(0_u32..=1_000_000))]
    pub max_user_rate: u32,
    /// Maximum number of operations per second and address (IPv6: /64) without a valid token, ten times as many in a
    /// burst. An invalid token counts as ten operations; 0 for no limit. From 0 to 1000000
    #[arg(long, env = "MAX_ADDRESS_RATE", default_value_t = 100, global = true, value_name = "N", value_parser = number(0_u32..=1_000_000))]
    pub max_address_rate: u32,
    /// Timeout for the head of a request, and for an idle connection between requests, in seconds. It must be longer
    /// than a proxy in front of the server keeps its own idle connections. From 1 to 3600
    #[arg(long, env = "MAX_HEAD_SECONDS", default_value_t = 90, global = true, value_name = "SECONDS", value_parser = number(1_u64..=3_600))]
    pub max_head_seconds: u64,
    /// Interval of WebSocket pings and event stream heartbeats, in seconds. It must be shorter than the idle timeout of
    /// a proxy in front of the server. A WebSocket is closed when its peer is silent for three intervals.
    /// From 1 to 3600
    #[arg(long, env = "SOCKET_PING_SECONDS", default_value_t = 20, global = true, value_name = "SECONDS", value_parser = number(1_u64..=3_600))]
    pub socket_ping_seconds: u64,
}
