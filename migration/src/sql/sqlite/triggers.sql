-- The triggers of SQLite: they maintain a session's message_count. On PostgreSQL the function add_message does.

CREATE TRIGGER chat_messages_added AFTER INSERT ON chat_messages BEGIN
    UPDATE chat_sessions SET message_count = message_count + 1 WHERE id = NEW.session_id;
END;
CREATE TRIGGER chat_messages_removed AFTER DELETE ON chat_messages BEGIN
    UPDATE chat_sessions SET message_count = message_count - 1 WHERE id = OLD.session_id;
END;
