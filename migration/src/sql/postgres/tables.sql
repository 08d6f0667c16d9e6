-- Tables and settings that only PostgreSQL has.

-- The members of each project by user, for row-level security: the owner, and the collaborators who have accepted.
-- Triggers on projects and project_collaborators maintain it.
CREATE TABLE project_members (
    user_id uuid NOT NULL,
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    role text NOT NULL,
    PRIMARY KEY (user_id, project_id)
);
CREATE INDEX project_members_project ON project_members (project_id);

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

-- The service compresses contents itself.
ALTER TABLE blobs ALTER COLUMN data SET STORAGE EXTERNAL;
