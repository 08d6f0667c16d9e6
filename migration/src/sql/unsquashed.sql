-- Renames what had another name in the last development version.

ALTER TABLE growing_messages RENAME TO streaming_messages;
DROP INDEX growing_messages_session;
CREATE UNIQUE INDEX streaming_messages_session ON streaming_messages (session_id, idempotency_key);
ALTER TABLE growing_chunks RENAME TO streaming_chunks;

ALTER TABLE chat_messages RENAME COLUMN folded_revision TO hidden_revision;
DROP INDEX chat_messages_folded;
CREATE INDEX chat_messages_hidden ON chat_messages (project_id, hidden_revision) WHERE hidden_revision IS NOT NULL;

ALTER TABLE chat_folds RENAME TO hidden_messages;
DROP INDEX chat_folds_revision;
CREATE INDEX hidden_messages_revision ON hidden_messages (project_id, revision);
DROP INDEX chat_folds_superseded;
CREATE INDEX hidden_messages_superseded ON hidden_messages (project_id, superseded_revision) WHERE superseded_revision IS NOT NULL;
