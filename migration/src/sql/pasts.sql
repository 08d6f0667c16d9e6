-- What the tables of the present forget, as ranges of revisions.

-- When a message was folded away: from `revision` until `superseded_revision`. What is folded now is in
-- chat_messages.folded_revision too, which is all that the lists of the present read.
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

-- What a project's own fields were until a revision changed them; what they are is in projects. Changes made before this
-- table are not in it: of the time before the first one that is, it says what was there then.
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
