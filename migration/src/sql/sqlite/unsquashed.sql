-- Drops the triggers of the last development version.

DROP TRIGGER chat_messages_added;
DROP TRIGGER chat_messages_removed;
