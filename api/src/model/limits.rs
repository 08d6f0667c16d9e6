//! All limits of the service, each of which is a setting. An error that a request limit causes names its flag.

/// Limits on database connections.
#[derive(Clone, Debug, clap::Args)]
pub struct DatabaseLimits {
    /// Maximum number of connections to PostgreSQL, without those for notifications and migrations
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value_t = 16, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub database_connections: u32,
    /// Number of connections that read a SQLite file, in addition to the one that writes (default: the number of
    /// processors, 2 to 4)
    #[arg(long, env = "SQLITE_READERS", global = true, value_name = "N")]
    pub sqlite_readers: Option<std::num::NonZeroUsize>,
    /// Maximum number of connections that one user's operations use at once to read, and as many to write. With few
    /// connections, one is always left for others
    #[arg(long, env = "DATABASE_USER_CONNECTIONS", default_value_t = 4, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub database_user_connections: u32,
    /// Time that a request waits for others before it is refused with RATE_LIMITED, in seconds: for its user's share of
    /// the connections, for a connection, or for earlier writers of its project
    #[arg(long, env = "DATABASE_ACQUIRE_SECONDS", default_value_t = 10, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub database_acquire_seconds: u64,
    /// Time after which an idle connection is closed, in seconds
    #[arg(long, env = "DATABASE_IDLE_SECONDS", default_value_t = 600, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub database_idle_seconds: u64,
    /// Maximum age of a connection, in seconds; this also closes connections that a failover has left on the old server
    #[arg(long, env = "DATABASE_LIFETIME_SECONDS", default_value_t = 1_800, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub database_lifetime_seconds: u64,
    /// Timeout for a PostgreSQL statement, in seconds, except in migrations; 0 uses the server's own setting
    #[arg(long, env = "DATABASE_STATEMENT_SECONDS", default_value_t = 30, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub database_statement_seconds: u64,
    /// Size of the memory cache for file contents and diffs, in bytes; 0 disables it
    #[arg(long, env = "CONTENT_CACHE_BYTES", default_value_t = 32 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub content_cache_bytes: usize,
}

/// Limits on requests; see `antiphon serve --help`.
#[derive(Clone, Debug, clap::Args)]
pub struct Limits {
    /// Maximum size of a file, in bytes
    #[arg(long, env = "MAX_FILE_BYTES", default_value_t = 10 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_file_bytes: usize,
    /// Maximum size of any other text (a message, a prompt, a JSON value), in bytes
    #[arg(long, env = "MAX_TEXT_BYTES", default_value_t = 10 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_text_bytes: usize,
    /// Maximum size of a chunk of a streaming message, in bytes
    #[arg(long, env = "MAX_CHUNK_BYTES", default_value_t = 64 * 1024, global = true, value_name = "BYTES")]
    pub max_chunk_bytes: usize,
    /// Maximum number of streaming messages per session
    #[arg(long, env = "MAX_STREAMING_MESSAGES", default_value_t = 10, global = true, value_name = "N")]
    pub max_streaming_messages: usize,
    /// Time without a new chunk after which a streaming message counts as stalled, in seconds
    #[arg(long, env = "STALLED_SECONDS", default_value_t = 30, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub stalled_seconds: u64,
    /// Time for which the subscribers of a killed server are still shown as present, in seconds
    #[arg(long, env = "PRESENCE_SECONDS", default_value_t = 10, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub presence_seconds: u64,
    /// Maximum number of files in one sync
    #[arg(long, env = "MAX_SYNC_FILES", default_value_t = 5_000, global = true, value_name = "N")]
    pub max_sync_files: usize,
    /// Maximum number of rows returned by a list without pages (checkpoints, differences, blame, agent configurations)
    #[arg(long, env = "MAX_LIST_ROWS", default_value_t = 5_000, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_list_rows: u32,
    /// Show consecutive autosaves as one entry in the lists of versions and changes, if they are at most this many
    /// seconds apart; 0: show each. Applies to edits of one file by one person, outside of sessions and without a
    /// description. The log keeps every autosave
    #[arg(long, env = "AUTOSAVE_COALESCE_SECONDS", default_value_t = 0, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    pub autosave_coalesce_seconds: u32,
    /// Maximum number of collaborators and invitations of a project, without its owner
    #[arg(long, env = "MAX_COLLABORATORS", default_value_t = 100, global = true, value_name = "N")]
    pub max_collaborators: usize,
    /// Maximum number of agent configurations of a project, without deleted ones
    #[arg(long, env = "MAX_AGENT_CONFIGURATIONS", default_value_t = 100, global = true, value_name = "N")]
    pub max_agent_configurations: usize,
    /// Maximum size of an HTTP request body or WebSocket message, in bytes
    #[arg(long, env = "MAX_BODY_BYTES", default_value_t = 64 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_body_bytes: usize,
    /// Maximum size of an HTTP request body without a token, in bytes after decompression
    #[arg(long, env = "MAX_ANONYMOUS_BODY_BYTES", default_value_t = 64 * 1024, global = true, value_name = "BYTES")]
    pub max_anonymous_body_bytes: usize,
    /// Timeout for a request body, in seconds
    #[arg(long, env = "MAX_BODY_SECONDS", default_value_t = 300, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub max_body_seconds: u64,
    /// Maximum number of values in the JSON of a request. Each number, string and element takes memory, however short
    /// it is
    #[arg(long, env = "MAX_JSON_VALUES", default_value_t = 1_000_000, global = true, value_name = "N")]
    pub max_json_values: usize,
    /// Maximum memory for the request bodies and operations of all callers together, in bytes (default: half of the
    /// memory of the machine or of the process's control group)
    #[arg(long, env = "MAX_MEMORY_BYTES", global = true, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1_048_576..))]
    pub max_memory_bytes: Option<u64>,
    /// Maximum number of operations in a batched HTTP request
    #[arg(long, env = "MAX_BATCH", default_value_t = 10, global = true, value_name = "N")]
    pub max_batch: usize,
    /// Maximum size of a GraphQL document, in bytes; put large values into variables
    #[arg(long, env = "MAX_QUERY_BYTES", default_value_t = 256 * 1024, global = true, value_name = "BYTES")]
    pub max_query_bytes: usize,
    /// Maximum number of tokens in a GraphQL document: names, numbers, strings, punctuation
    #[arg(long, env = "MAX_QUERY_TOKENS", default_value_t = 10_000, global = true, value_name = "N")]
    pub max_query_tokens: usize,
    /// Maximum nesting of fields in an operation
    #[arg(long, env = "MAX_QUERY_DEPTH", default_value_t = 20, global = true, value_name = "N")]
    pub max_query_depth: usize,
    /// Maximum number of fields and fragments in an operation, with fragments expanded
    #[arg(long, env = "MAX_QUERY_FIELDS", default_value_t = 2_000, global = true, value_name = "N")]
    pub max_query_fields: usize,
    /// Maximum number of fields of Query, Mutation or Subscription in an operation
    #[arg(long, env = "MAX_ROOT_FIELDS", default_value_t = 30, global = true, value_name = "N")]
    pub max_root_fields: usize,
    /// Maximum number of aliases in an operation, with fragments expanded
    #[arg(long, env = "MAX_QUERY_ALIASES", default_value_t = 100, global = true, value_name = "N")]
    pub max_query_aliases: usize,
    /// Maximum number of directives in an operation, with fragments expanded
    #[arg(long, env = "MAX_QUERY_DIRECTIVES", default_value_t = 50, global = true, value_name = "N")]
    pub max_query_directives: usize,
    /// Maximum number of values in an operation's result. Each field counts once for every row that its lists can
    /// return, and more if it has to compare texts
    #[arg(long, env = "MAX_QUERY_COMPLEXITY", default_value_t = 100_000, global = true, value_name = "N")]
    pub max_query_complexity: usize,
    /// Maximum number of bytes that an operation, or one event of a subscription, loads from the database, and that it
    /// returns: contents, diffs, messages and JSON, each counted as often as it is selected
    #[arg(long, env = "MAX_OPERATION_BYTES", default_value_t = 64 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_operation_bytes: usize,
    /// Timeout for an operation, or for one event of a subscription, in seconds
    #[arg(long, env = "MAX_OPERATION_SECONDS", default_value_t = 30, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub max_operation_seconds: u64,
    /// Memory for documents that clients refer to by their hash (automatic persisted queries), in bytes; 0 disables
    /// them
    #[arg(long, env = "MAX_KEPT_DOCUMENT_BYTES", default_value_t = 16 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_kept_document_bytes: usize,
    /// Size of the cache of parsed documents, in bytes; 0 disables it
    #[arg(long, env = "MAX_PARSED_DOCUMENT_BYTES", default_value_t = 16 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_parsed_document_bytes: usize,
    /// Whether clients can query the schema; false also keeps it out of error messages about misspelled names
    #[arg(long, env = "INTROSPECTION", default_value_t = true, action = clap::ArgAction::Set, global = true, value_name = "BOOL")]
    pub introspection: bool,
    /// Maximum number of subscriptions and other operations running on one WebSocket
    #[arg(long, env = "MAX_SOCKET_OPERATIONS", default_value_t = 100, global = true, value_name = "N")]
    pub max_socket_operations: usize,
    /// Maximum number of open WebSockets and event streams per user at this server
    #[arg(long, env = "MAX_USER_SOCKETS", default_value_t = 2_000, global = true, value_name = "N")]
    pub max_user_sockets: usize,
    /// Maximum number of WebSockets per address (IPv6: /64) whose user is unknown, because they have not sent
    /// `connection_init` yet or sent it without a token
    #[arg(long, env = "MAX_ADDRESS_SOCKETS", default_value_t = 500, global = true, value_name = "N")]
    pub max_address_sockets: usize,
    /// Maximum number of operations per second and user, ten times as many in a burst; 0 for no limit
    #[arg(long, env = "MAX_USER_RATE", default_value_t = 1_000, global = true, value_name = "N")]
    pub max_user_rate: u32,
    /// Maximum number of operations per second and address (IPv6: /64) without a valid token, ten times as many in a
    /// burst. An invalid token counts as ten operations; 0 for no limit
    #[arg(long, env = "MAX_ADDRESS_RATE", default_value_t = 100, global = true, value_name = "N")]
    pub max_address_rate: u32,
    /// Timeout for the head of a request, and for an idle connection between requests, in seconds. It must be longer
    /// than a proxy in front of the server keeps its own idle connections
    #[arg(long, env = "MAX_HEAD_SECONDS", default_value_t = 90, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub max_head_seconds: u64,
    /// Interval of WebSocket pings and event stream heartbeats, in seconds. It must be shorter than the idle timeout of
    /// a proxy in front of the server. A WebSocket is closed when its peer is silent for three intervals
    #[arg(long, env = "SOCKET_PING_SECONDS", default_value_t = 20, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub socket_ping_seconds: u64,
}
