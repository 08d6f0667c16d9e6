-- All tables in their present state, in the SQL that both databases share; dialect.rs replaces the {words} in braces,
-- which differ. The service writes all times (UTC, microseconds), never the database: SQLite compares them as text.

CREATE TABLE user_profiles (
    id {uuid} PRIMARY KEY,
    email text,
    full_name text,
    avatar_url text,
    created_at {timestamp} NOT NULL,
    updated_at {timestamp} NOT NULL,
    -- The fields that the user has set, which tokens no longer change, and the time of the token used last.
    own_full_name boolean NOT NULL DEFAULT false,
    own_avatar_url boolean NOT NULL DEFAULT false,
    claims_at {timestamp}
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

-- The own fields of a project until a revision changed them; the present ones are in projects.
CREATE TABLE project_versions (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    superseded_revision integer NOT NULL,
    name text NOT NULL,
    description text,
    initial_prompt text NOT NULL,
    config {json} NOT NULL,
    status text NOT NULL,
    updated_at {timestamp} NOT NULL,
    PRIMARY KEY (project_id, superseded_revision)
){clustered};

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

-- Invitations of e-mail addresses. They name no user, so that an invitation does not reveal whether an account exists.
-- A user who proves to have the address turns it into a row of project_collaborators. Addresses are trimmed and in
-- lower case.
CREATE TABLE project_invitations (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    email text NOT NULL,
    role text NOT NULL CHECK (role IN ('editor', 'viewer')),
    invited_by {uuid} REFERENCES user_profiles (id) ON DELETE SET NULL,
    invited_at {timestamp} NOT NULL,
    PRIMARY KEY (project_id, email)
){clustered};
CREATE INDEX project_invitations_email ON project_invitations (email);

-- Former members of a project; their work still shows their names.
CREATE TABLE project_former_collaborators (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id {uuid} NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    left_at {timestamp} NOT NULL,
    PRIMARY KEY (project_id, user_id)
){clustered};
CREATE INDEX project_former_collaborators_user ON project_former_collaborators (user_id);

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
){clustered};
CREATE INDEX agent_configurations_project ON agent_configurations (project_id);
CREATE UNIQUE INDEX agent_configurations_active ON agent_configurations (project_id) WHERE is_active;

-- All versions of all agent configurations, including the present ones, valid from `revision` until
-- `superseded_revision`; agent_configurations has the identity and the present state.
CREATE TABLE agent_configuration_versions (
    configuration_id {uuid} NOT NULL REFERENCES agent_configurations (id) ON DELETE CASCADE,
    version integer NOT NULL,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    superseded_revision integer,
    is_deletion boolean NOT NULL,
    is_active boolean NOT NULL,
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
    PRIMARY KEY (configuration_id, version)
){clustered};
CREATE INDEX agent_configuration_versions_revision ON agent_configuration_versions (project_id, revision);

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
    -- The revision that hid this message; lists include it only on request.
    hidden_revision integer
);
CREATE UNIQUE INDEX chat_messages_session ON chat_messages (session_id, revision);
CREATE UNIQUE INDEX chat_messages_idempotency ON chat_messages (session_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX chat_messages_hidden ON chat_messages (project_id, hidden_revision) WHERE hidden_revision IS NOT NULL;

-- When a message was hidden: from `revision` until `superseded_revision`. The present state is also in
-- chat_messages.hidden_revision, so that lists of the present do not read this table.
CREATE TABLE hidden_messages (
    message_id {uuid} NOT NULL REFERENCES chat_messages (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    superseded_revision integer,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    PRIMARY KEY (message_id, revision)
){clustered};
CREATE INDEX hidden_messages_revision ON hidden_messages (project_id, revision);
CREATE INDEX hidden_messages_superseded ON hidden_messages (project_id, superseded_revision) WHERE superseded_revision IS NOT NULL;

-- Streaming messages. A finished message moves to chat_messages, under the same id, and so enters the history. `length`
-- is in bytes of UTF-8.
CREATE TABLE streaming_messages (
    id {uuid} PRIMARY KEY,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    session_id {uuid} NOT NULL REFERENCES chat_sessions (id) ON DELETE CASCADE,
    user_id {uuid} NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    length integer NOT NULL,
    started_at {timestamp} NOT NULL,
    last_append_at {timestamp} NOT NULL,
    context_data {json} NOT NULL,
    metadata {json} NOT NULL,
    idempotency_key text
){clustered};
CREATE UNIQUE INDEX streaming_messages_session ON streaming_messages (session_id, idempotency_key);

-- The text of streaming messages, in the received chunks; each starts where the previous one ends. A single text
-- would be rewritten with every chunk.
CREATE TABLE streaming_chunks (
    message_id {uuid} NOT NULL REFERENCES streaming_messages (id) ON DELETE CASCADE,
    start integer NOT NULL,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    text text NOT NULL,
    PRIMARY KEY (message_id, start)
){clustered};

-- A file's identity and its present state, with the values of its newest version; deleted files are kept.
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
    updated_at {timestamp} NOT NULL,
    mode smallint NOT NULL DEFAULT 0,
    version_offset integer NOT NULL DEFAULT 0
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
    path text {bytewise} NOT NULL,
    -- 0: plain, 1: executable, 2: symbolic link.
    mode smallint NOT NULL DEFAULT 0,
    -- The version of the same file whose lines this version restores; null for a new version.
    restored_version integer,
    -- The number that clients see is `version + version_offset`: it never repeats at one path, also if several files are there
    -- one after the other. `version` counts the versions of one file without gaps.
    version_offset integer NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX file_snapshots_version ON file_snapshots (file_id, version);
CREATE INDEX file_snapshots_revision ON file_snapshots (project_id, revision);
CREATE UNIQUE INDEX file_snapshots_open_path ON file_snapshots (project_id, path) WHERE superseded_revision IS NULL AND change_type <> 'delete';
-- Finds the files that were ever at a path: each has a version that brought it there.
CREATE INDEX file_snapshots_arrival ON file_snapshots (project_id, path) WHERE change_type IN ('create', 'rename');

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
    description text,
    -- The revision that deleted the snapshot. The row is kept: a checkpoint still follows the writes for its message.
    deleted_revision integer
){clustered};
CREATE UNIQUE INDEX project_snapshots_created ON project_snapshots (project_id, created_revision);

-- The snapshot that a revision renamed or deleted.
CREATE TABLE project_snapshot_changes (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    snapshot_id {uuid} NOT NULL REFERENCES project_snapshots (id) ON DELETE CASCADE,
    PRIMARY KEY (project_id, revision)
){clustered};

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

-- The revisions that a revision undoes.
CREATE TABLE project_undos (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    undone_revision integer NOT NULL,
    PRIMARY KEY (project_id, revision, undone_revision)
){clustered};

-- The files for which a revision undoes the change of another.
CREATE TABLE project_undone_files (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    undone_revision integer NOT NULL,
    file_id {uuid} NOT NULL,
    PRIMARY KEY (project_id, revision, undone_revision, file_id)
){clustered};
