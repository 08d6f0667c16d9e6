-- Access tokens let machines act in one project. The owner of a token is a user of its own, a machine, and a collaborator of
-- this project alone: nothing else distinguishes what a token can do from what a member with its role can do.

-- True for the user of an access token. It never changes.
ALTER TABLE user_profiles ADD COLUMN is_machine boolean NOT NULL DEFAULT false;

-- A token's name is the name of its user, and its role the role of its collaborator, so a token ends with its membership.
-- Triggers keep its rights within those of its creator, and remove the membership with the token. The token itself is
-- known only to its holder.
CREATE TABLE access_tokens (
    id {uuid} PRIMARY KEY,
    project_id {uuid} NOT NULL,
    user_id {uuid} NOT NULL,
    created_by {uuid} NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    sha256 {bytes} NOT NULL,
    created_at {timestamp} NOT NULL,
    expires_at {timestamp},
    -- At most one use per minute is recorded.
    last_used_at {timestamp},
    FOREIGN KEY (project_id, user_id) REFERENCES project_collaborators (project_id, user_id) ON DELETE CASCADE
){clustered};
CREATE UNIQUE INDEX access_tokens_sha256 ON access_tokens (sha256);
CREATE UNIQUE INDEX access_tokens_user ON access_tokens (user_id);
CREATE INDEX access_tokens_project ON access_tokens (project_id, created_at);
