//! Every limit the service keeps to, each a setting. An error that a limit on requests causes names it
//! by its flag.

/// Limits on connections to the database.
#[derive(Clone, Debug, clap::Args)]
pub struct DatabaseLimits {
    /// Most connections to PostgreSQL, those for its notifications and for migrations not counted
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value_t = 16, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub database_connections: u32,
    /// Connections that read a SQLite file, beside the one that writes; by default as many as processors, 2 to 4
    #[arg(long, env = "SQLITE_READERS", global = true, value_name = "N")]
    pub sqlite_readers: Option<std::num::NonZeroUsize>,
    /// Most connections that one user's operations use at once to read, and as many to write; of few connections at most all but
    /// one
    #[arg(long, env = "DATABASE_USER_CONNECTIONS", default_value_t = 4, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub database_user_connections: u32,
    /// How long a request waits for others before it is told to come again, in seconds: for its user's share of the connections,
    /// for a connection, for the writers of its project that came first
    #[arg(long, env = "DATABASE_ACQUIRE_SECONDS", default_value_t = 10, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub database_acquire_seconds: u64,
    /// How long a connection may be idle before it is closed, in seconds
    #[arg(long, env = "DATABASE_IDLE_SECONDS", default_value_t = 600, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub database_idle_seconds: u64,
    /// How long a connection is kept at most, in seconds: one that a failover has left on the old server goes by it
    #[arg(long, env = "DATABASE_LIFETIME_SECONDS", default_value_t = 1_800, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub database_lifetime_seconds: u64,
    /// How long PostgreSQL may work on one statement, in seconds, migrations aside; 0 leaves it to the server's own setting
    #[arg(long, env = "DATABASE_STATEMENT_SECONDS", default_value_t = 30, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub database_statement_seconds: u64,
    /// File contents, and diffs of them, kept in memory, in bytes; 0 keeps none
    #[arg(long, env = "CONTENT_CACHE_BYTES", default_value_t = 32 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub content_cache_bytes: usize,
}

/// Limits on requests; see `antiphon serve --help`.
#[derive(Clone, Debug, clap::Args)]
pub struct Limits {
    /// Largest file, in bytes
    #[arg(long, env = "MAX_FILE_BYTES", default_value_t = 10 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_file_bytes: usize,
    /// Largest text other than a file (a message, a prompt, a JSON value), in bytes
    #[arg(long, env = "MAX_TEXT_BYTES", default_value_t = 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_text_bytes: usize,
    /// Largest chunk by which a message grows, in bytes
    #[arg(long, env = "MAX_CHUNK_BYTES", default_value_t = 64 * 1024, global = true, value_name = "BYTES")]
    pub max_chunk_bytes: usize,
    /// Most messages that may be growing in one session
    #[arg(long, env = "MAX_STREAMING_MESSAGES", default_value_t = 10, global = true, value_name = "N")]
    pub max_streaming_messages: usize,
    /// How long a streaming message may stand still before it is said to be interrupted, in seconds
    #[arg(long, env = "INTERRUPTED_SECONDS", default_value_t = 30, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub interrupted_seconds: u64,
    /// How long somebody who listened at a server that was killed is still said to be here by others, in seconds
    #[arg(long, env = "PRESENCE_SECONDS", default_value_t = 10, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub presence_seconds: u64,
    /// Most files in one sync
    #[arg(long, env = "MAX_SYNC_FILES", default_value_t = 5_000, global = true, value_name = "N")]
    pub max_sync_files: usize,
    /// Most rows of a list without pages (checkpoints, differences, blame, agent configurations), read at once
    #[arg(long, env = "MAX_LIST_ROWS", default_value_t = 5_000, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_list_rows: u32,
    /// Saves of one file by one person that are at most so many seconds apart are shown as one in the lists of versions and
    /// changes; 0: each is shown. Only edits outside of any session and without a description; the log keeps each
    #[arg(long, env = "JOIN_SAVES_SECONDS", default_value_t = 0, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    pub join_saves_seconds: u32,
    /// Most people who are in a project or invited to it, its owner not counted
    #[arg(long, env = "MAX_COLLABORATORS", default_value_t = 100, global = true, value_name = "N")]
    pub max_collaborators: usize,
    /// Most agent configurations of a project, deleted ones not counted
    #[arg(long, env = "MAX_AGENT_CONFIGURATIONS", default_value_t = 100, global = true, value_name = "N")]
    pub max_agent_configurations: usize,
    /// Largest HTTP request body or WebSocket message, in bytes
    #[arg(long, env = "MAX_BODY_BYTES", default_value_t = 32 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_body_bytes: usize,
    /// Largest HTTP request body without a token, in bytes, decompressed
    #[arg(long, env = "MAX_ANONYMOUS_BODY_BYTES", default_value_t = 64 * 1024, global = true, value_name = "BYTES")]
    pub max_anonymous_body_bytes: usize,
    /// How long a request body may take to come, in seconds
    #[arg(long, env = "MAX_BODY_SECONDS", default_value_t = 300, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub max_body_seconds: u64,
    /// Most values in the JSON of a request: each number, text, and element takes memory, however short it is
    #[arg(long, env = "MAX_JSON_VALUES", default_value_t = 1_000_000, global = true, value_name = "N")]
    pub max_json_values: usize,
    /// Most bytes that the request bodies and the operations of all callers take together; by default half of the memory of the
    /// machine, or of the process's control group
    #[arg(long, env = "MAX_MEMORY_BYTES", global = true, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1_048_576..))]
    pub max_memory_bytes: Option<u64>,
    /// Most operations in one batched HTTP request
    #[arg(long, env = "MAX_BATCH", default_value_t = 10, global = true, value_name = "N")]
    pub max_batch: usize,
    /// Longest GraphQL document, in bytes; what is large belongs into variables
    #[arg(long, env = "MAX_QUERY_BYTES", default_value_t = 256 * 1024, global = true, value_name = "BYTES")]
    pub max_query_bytes: usize,
    /// Most tokens of a GraphQL document: names, numbers, strings, punctuation
    #[arg(long, env = "MAX_QUERY_TOKENS", default_value_t = 10_000, global = true, value_name = "N")]
    pub max_query_tokens: usize,
    /// Deepest nesting of fields in an operation
    #[arg(long, env = "MAX_QUERY_DEPTH", default_value_t = 20, global = true, value_name = "N")]
    pub max_query_depth: usize,
    /// Most fields and fragments an operation may select, fragments expanded
    #[arg(long, env = "MAX_QUERY_FIELDS", default_value_t = 2_000, global = true, value_name = "N")]
    pub max_query_fields: usize,
    /// Most fields of Query, Mutation or Subscription in an operation
    #[arg(long, env = "MAX_ROOT_FIELDS", default_value_t = 30, global = true, value_name = "N")]
    pub max_root_fields: usize,
    /// Most aliases in an operation, fragments expanded
    #[arg(long, env = "MAX_QUERY_ALIASES", default_value_t = 100, global = true, value_name = "N")]
    pub max_query_aliases: usize,
    /// Most directives in an operation, fragments expanded
    #[arg(long, env = "MAX_QUERY_DIRECTIVES", default_value_t = 50, global = true, value_name = "N")]
    pub max_query_directives: usize,
    /// Most values that an operation's answer may have: each field counts once for every row that its lists may bring, and
    /// more where it has to compare texts
    #[arg(long, env = "MAX_QUERY_COMPLEXITY", default_value_t = 100_000, global = true, value_name = "N")]
    pub max_query_complexity: usize,
    /// Most bytes that an operation, or one event of a subscription, loads from the database, and most that it answers: contents,
    /// diffs, messages and JSON, counted each time that they are selected
    #[arg(long, env = "MAX_OPERATION_BYTES", default_value_t = 64 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_operation_bytes: usize,
    /// Longest time that an operation may take, or one event of a subscription, in seconds
    #[arg(long, env = "MAX_OPERATION_SECONDS", default_value_t = 30, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub max_operation_seconds: u64,
    /// Room for documents that clients have kept to name them by their hash (automatic persisted queries), in bytes; 0 keeps
    /// none
    #[arg(long, env = "MAX_KEPT_DOCUMENT_BYTES", default_value_t = 16 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_kept_document_bytes: usize,
    /// Room for parsed documents, so that one that is sent again is not parsed again, in bytes; 0 remembers none
    #[arg(long, env = "MAX_PARSED_DOCUMENT_BYTES", default_value_t = 16 * 1024 * 1024, global = true, value_name = "BYTES")]
    pub max_parsed_document_bytes: usize,
    /// Whether clients may ask for the schema; false also keeps it out of what is said of misspelt names
    #[arg(long, env = "INTROSPECTION", default_value_t = true, action = clap::ArgAction::Set, global = true, value_name = "BOOL")]
    pub introspection: bool,
    /// Most subscriptions and other operations under way on one WebSocket
    #[arg(long, env = "MAX_SOCKET_OPERATIONS", default_value_t = 100, global = true, value_name = "N")]
    pub max_socket_operations: usize,
    /// Most WebSockets and event streams that one user may have open at this server
    #[arg(long, env = "MAX_USER_SOCKETS", default_value_t = 2_000, global = true, value_name = "N")]
    pub max_user_sockets: usize,
    /// Most WebSockets from one address (IPv6: one /64) whose user is not known: that have not said `connection_init` yet, or
    /// said it without a token
    #[arg(long, env = "MAX_ADDRESS_SOCKETS", default_value_t = 500, global = true, value_name = "N")]
    pub max_address_sockets: usize,
    /// Most operations a second of one user, ten times as many in a burst; 0 for no limit
    #[arg(long, env = "MAX_USER_RATE", default_value_t = 1_000, global = true, value_name = "N")]
    pub max_user_rate: u32,
    /// Most operations a second from one address (IPv6: one /64) that come without a valid token, ten times as many in a burst;
    /// a token that does not hold counts as ten; 0 for no limit
    #[arg(long, env = "MAX_ADDRESS_RATE", default_value_t = 100, global = true, value_name = "N")]
    pub max_address_rate: u32,
    /// How long the head of a request may take to come, and how long a connection may be idle before the next one, in seconds: more
    /// than a proxy on the way keeps its own idle connections for
    #[arg(long, env = "MAX_HEAD_SECONDS", default_value_t = 90, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub max_head_seconds: u64,
    /// How often a WebSocket is pinged and an event stream has a heart-beat, in seconds: less than what a proxy on the way lets a
    /// connection be idle. A WebSocket's peer that is silent for three times as long is let go
    #[arg(long, env = "SOCKET_PING_SECONDS", default_value_t = 20, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub socket_ping_seconds: u64,
}
