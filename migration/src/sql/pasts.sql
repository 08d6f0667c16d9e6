-- Past states that other tables do not keep, as ranges of revisions.

-- When a message was hidden: from `revision` until `superseded_revision`. The present state is also in
-- chat_messages.folded_revision, so that lists of the present do not read this table.
CREATE TABLE chat_folds (
    message_id {uuid} NOT NULL REFERENCES chat_messages (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    superseded_revision integer,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    PRIMARY KEY (message_id, revision)
){clustered};
CREATE INDEX chat_folds_revision ON chat_folds (project_id, revision);
CREATE INDEX chat_folds_superseded ON chat_folds (project_id, superseded_revision) WHERE superseded_revision IS NOT NULL;

INSERT INTO chat_folds (message_id, revision, project_id)
SELECT id, folded_revision, project_id FROM chat_messages WHERE folded_revision IS NOT NULL;

-- The own fields of a project until a revision changed them; the present ones are in projects. Changes before this
-- table existed are missing. For times before the first stored change, its row has the state.
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
