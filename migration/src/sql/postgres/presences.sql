-- Who listens to a project at which server. A server that is gone no longer says that it has seen them. Nothing is lost with
-- this table: it is written anew all the time.
CREATE UNLOGGED TABLE presences (
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    server_id uuid NOT NULL,
    since timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (project_id, user_id, server_id)
);
