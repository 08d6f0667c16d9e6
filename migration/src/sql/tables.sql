-- All tables, in the SQL that both databases share; {words} in braces differ and are replaced by dialect.rs. The
-- service writes all times (UTC, microseconds), never the database: SQLite compares them as text.

CREATE TABLE user_profiles (
    id {uuid} PRIMARY KEY,
    email text,
    full_name text,
    avatar_url text,
    created_at {timestamp} NOT NULL,
    updated_at {timestamp} NOT NULL
){clustered};

CREATE TABLE user_preferences (
    user_id {uuid} PRIMARY KEY REFERENCES user_profiles (id) ON DELETE CASCADE,
    editor_theme text NOT NULL,
    auto_save_enabled boolean NOT NULL,
    notification_preferences {json} NOT NULL,
    ui_preferences {json} NOT NULL,
    created_at {timestamp} NOT NULL,
    updated_at {timestamp} NOT NULL
){clustered};

-- `revision` is the only counter for everything in a project. The writes that raise it also maintain the counts in this
-- row, so that an overview never counts a history.
CREATE TABLE projects (
    id {uuid} PRIMARY KEY,
    user_id {uuid} NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    name text NOT NULL,
    description text,
    initial_prompt text NOT NULL,
    config {json} NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'archived', 'deleted')),
    revision integer NOT NULL,
    session_count integer NOT NULL,
    message_count integer NOT NULL,
    file_count integer NOT NULL,
    change_count integer NOT NULL,
    created_at {timestamp} NOT NULL,
    updated_at {timestamp} NOT NULL,
    last_accessed_at {timestamp} NOT NULL,
    last_session_at {timestamp},
    last_activity_at {timestamp} NOT NULL
);
CREATE INDEX projects_user ON projects (user_id, updated_at);

CREATE TABLE project_collaborators (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id {uuid} NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('owner', 'editor', 'viewer')),
    invited_by {uuid} REFERENCES user_profiles (id) ON DELETE SET NULL,
    invited_at {timestamp} NOT NULL,
    accepted_at {timestamp},
    PRIMARY KEY (project_id, user_id)
){clustered};
CREATE INDEX project_collaborators_user ON project_collaborators (user_id);

CREATE TABLE agent_configurations (
    id {uuid} PRIMARY KEY,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id {uuid} NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    config_name text NOT NULL,
    description text,
    stt_provider text NOT NULL,
    stt_model text NOT NULL,
    stt_config {json} NOT NULL,
    tts_provider text NOT NULL,
    tts_model text NOT NULL,
    tts_config {json} NOT NULL,
    llm_provider text NOT NULL,
    llm_model text NOT NULL,
    llm_config {json} NOT NULL,
    vad_provider text NOT NULL,
    vad_config {json} NOT NULL,
    turn_detection_config {json} NOT NULL,
    function_calls {json} NOT NULL,
    tool_integrations {json} NOT NULL,
    agent_instructions text NOT NULL,
    agent_personality {json} NOT NULL,
    required_env_vars {json} NOT NULL,
    dependencies {json} NOT NULL,
    source_files {json} NOT NULL,
    is_active boolean NOT NULL,
    version integer NOT NULL,
    created_at {timestamp} NOT NULL,
    updated_at {timestamp} NOT NULL
);
CREATE INDEX agent_configurations_project ON agent_configurations (project_id);

CREATE TABLE chat_sessions (
    id {uuid} PRIMARY KEY,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id {uuid} NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    title text,
    started_at {timestamp} NOT NULL,
    ended_at {timestamp},
    message_count integer NOT NULL,
    is_active boolean NOT NULL,
    metadata {json} NOT NULL
){clustered};
CREATE INDEX chat_sessions_project ON chat_sessions (project_id, revision);
CREATE UNIQUE INDEX chat_sessions_active ON chat_sessions (project_id, user_id) WHERE is_active;

CREATE TABLE chat_messages (
    id {uuid} PRIMARY KEY,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    session_id {uuid} NOT NULL REFERENCES chat_sessions (id) ON DELETE CASCADE,
    user_id {uuid} NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    role text NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    content text NOT NULL,
    timestamp {timestamp} NOT NULL,
    is_checkpoint boolean NOT NULL,
    context_data {json} NOT NULL,
    metadata {json} NOT NULL,
    idempotency_key text,
    -- The revision that stepped back to before this message; since then lists include the message only on request.
    folded_revision integer
);
CREATE UNIQUE INDEX chat_messages_session ON chat_messages (session_id, revision);
CREATE UNIQUE INDEX chat_messages_idempotency ON chat_messages (session_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX chat_messages_folded ON chat_messages (project_id, folded_revision) WHERE folded_revision IS NOT NULL;

-- A file's identity and its present state; deleted files are kept.
CREATE TABLE project_files (
    id {uuid} PRIMARY KEY,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    file_path text {bytewise} NOT NULL,
    file_name text NOT NULL,
    parent_path text,
    file_type text NOT NULL CHECK (file_type IN ('file', 'folder')),
    language text,
    size_bytes integer NOT NULL,
    version integer NOT NULL,
    hash {bytes},
    is_deleted boolean NOT NULL,
    created_at {timestamp} NOT NULL,
    updated_at {timestamp} NOT NULL
){clustered};
CREATE INDEX project_files_path ON project_files (project_id, file_path);

-- Contents, stored once per project: raw, compressed, or compressed against the blob in base_id. Ids are internal to
-- the service.
CREATE TABLE blobs (
    id {identity},
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    sha256 {bytes} NOT NULL,
    size integer NOT NULL,
    encoding smallint NOT NULL,
    depth smallint NOT NULL,
    base_id bigint REFERENCES blobs (id) ON DELETE CASCADE,
    data {bytes} NOT NULL
);
CREATE UNIQUE INDEX blobs_sha256 ON blobs (project_id, sha256);

-- All versions of all files, valid from `revision` until `superseded_revision`: the state at n is the rows with
-- revision <= n and (superseded_revision is null or > n). A version is the result of one change, so its row has the
-- kind and size of the change; the event of its revision has the author, the time, the session and the message.
CREATE TABLE file_snapshots (
    id {uuid} PRIMARY KEY,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    file_id {uuid} NOT NULL REFERENCES project_files (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    superseded_revision integer,
    version integer NOT NULL,
    additions integer NOT NULL,
    deletions integer NOT NULL,
    blob_id bigint REFERENCES blobs (id) ON DELETE CASCADE,
    change_type text NOT NULL CHECK (change_type IN ('create', 'update', 'delete', 'rename')),
    path text {bytewise} NOT NULL
);
CREATE UNIQUE INDEX file_snapshots_version ON file_snapshots (file_id, version);
CREATE INDEX file_snapshots_revision ON file_snapshots (project_id, revision);
CREATE UNIQUE INDEX file_snapshots_open_path ON file_snapshots (project_id, path) WHERE superseded_revision IS NULL AND change_type <> 'delete';

-- A name for a revision. `created_revision` is the write that created it (at most one per write); a checkpoint's
-- `revision` follows the writes of its message.
CREATE TABLE project_snapshots (
    id {uuid} PRIMARY KEY,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    created_revision integer NOT NULL,
    file_count integer NOT NULL,
    manifest_sha256 {bytes} NOT NULL,
    name text,
    description text
){clustered};
CREATE UNIQUE INDEX project_snapshots_created ON project_snapshots (project_id, created_revision);

-- The log: exactly one row per revision, with the author, the time, the session and the message. The changes are linked
-- by the revision.
CREATE TABLE project_events (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    kind text NOT NULL,
    actor_id {uuid} REFERENCES user_profiles (id) ON DELETE SET NULL,
    session_id {uuid} REFERENCES chat_sessions (id) ON DELETE SET NULL,
    message_id {uuid} REFERENCES chat_messages (id) ON DELETE SET NULL,
    description text,
    created_at {timestamp} NOT NULL,
    PRIMARY KEY (project_id, revision)
){clustered};
CREATE INDEX project_events_message ON project_events (message_id) WHERE message_id IS NOT NULL AND kind IN ('FILES_CHANGED', 'PROJECT_RESTORED');
CREATE INDEX project_events_session ON project_events (session_id, revision) WHERE session_id IS NOT NULL AND kind IN ('FILES_CHANGED', 'PROJECT_RESTORED');

-- A trigger maintains a session's message_count.
{message_count_trigger}
