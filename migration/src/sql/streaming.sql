-- Messages that are being written. None is in the history before it is finished: then it is a row of chat_messages, under the
-- same id, and gone from here. `length` is in bytes of UTF-8.
CREATE TABLE growing_messages (
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
CREATE UNIQUE INDEX growing_messages_session ON growing_messages (session_id, idempotency_key);

-- Their text, in the pieces in which it came: each begins where the one before ends. One text that grows would be written
-- anew with every piece.
CREATE TABLE growing_chunks (
    message_id {uuid} NOT NULL REFERENCES growing_messages (id) ON DELETE CASCADE,
    start integer NOT NULL,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    text text NOT NULL,
    PRIMARY KEY (message_id, start)
){clustered};
