-- Streaming messages. A finished message moves to chat_messages, under the same id, and so enters the history. `length`
-- is in bytes of UTF-8.
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

-- The text of streaming messages, in the received chunks; each starts where the previous one ends. A single growing
-- text would be rewritten with every chunk.
CREATE TABLE growing_chunks (
    message_id {uuid} NOT NULL REFERENCES growing_messages (id) ON DELETE CASCADE,
    start integer NOT NULL,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    text text NOT NULL,
    PRIMARY KEY (message_id, start)
){clustered};
