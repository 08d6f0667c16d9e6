-- The users who subscribe to a project, per server. Entries of a server that has stopped are not renewed. The table is
-- UNLOGGED because it is rewritten continuously and can be lost.
CREATE UNLOGGED TABLE presences (
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    server_id uuid NOT NULL,
    since timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (project_id, user_id, server_id)
);
