-- Tables for the writes of the loop of plain statements: those of `postgres.sql` for SQLite.

CREATE TABLE bench_projects (
    id blob PRIMARY KEY,
    user_id blob NOT NULL,
    revision integer NOT NULL,
    message_count integer NOT NULL,
    updated_at text NOT NULL,
    last_activity_at text NOT NULL
);
CREATE INDEX bench_projects_user ON bench_projects (user_id, updated_at);

CREATE TABLE bench_collaborators (
    project_id blob NOT NULL,
    user_id blob NOT NULL,
    role text NOT NULL,
    PRIMARY KEY (project_id, user_id)
) WITHOUT ROWID;

CREATE TABLE bench_sessions (
    id blob PRIMARY KEY,
    project_id blob NOT NULL REFERENCES bench_projects (id),
    user_id blob NOT NULL,
    message_count integer NOT NULL,
    is_active boolean NOT NULL
) WITHOUT ROWID;

CREATE TABLE bench_messages (
    id blob PRIMARY KEY,
    project_id blob NOT NULL REFERENCES bench_projects (id),
    session_id blob NOT NULL REFERENCES bench_sessions (id),
    user_id blob NOT NULL,
    revision integer NOT NULL,
    role text NOT NULL,
    content text NOT NULL,
    timestamp text NOT NULL,
    is_checkpoint boolean NOT NULL,
    context_data text NOT NULL,
    metadata text NOT NULL
);
CREATE UNIQUE INDEX bench_messages_session ON bench_messages (session_id, revision);

CREATE TABLE bench_events (
    project_id blob NOT NULL REFERENCES bench_projects (id),
    revision integer NOT NULL,
    kind text NOT NULL,
    actor_id blob,
    session_id blob,
    message_id blob REFERENCES bench_messages (id),
    created_at text NOT NULL,
    PRIMARY KEY (project_id, revision)
) WITHOUT ROWID;

CREATE TABLE bench_files (
    id blob PRIMARY KEY,
    project_id blob NOT NULL REFERENCES bench_projects (id),
    content text NOT NULL,
    version integer NOT NULL
);

CREATE TABLE bench_versions (
    file_id blob NOT NULL REFERENCES bench_files (id),
    version integer NOT NULL,
    content text NOT NULL,
    diff text NOT NULL,
    created_at text NOT NULL,
    PRIMARY KEY (file_id, version)
);

CREATE TABLE bench_diffs (version_id blob PRIMARY KEY, diff text NOT NULL);
